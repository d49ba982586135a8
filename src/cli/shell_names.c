/* What dotted names mean on a bus. The name of an API may have dots itself, and an API may have a procedure
 * named "fire" or "listen": what the schemas say goes before what the words suggest. */
#include "shell.h"

#include <string.h>

#include "arguments.h"

static const lb_value *half_of(const lb_value *schemas, const char *api, const char *half)
{
    return lb_value_get(lb_value_get(schemas, api), half);
}

const char *shell_bare_path(const lb_value *schemas, const char *path)
{
    lb_value_iterator it = lb_value_iterate(schemas);
    if (strncmp(path, "bus.", 4) != 0)
        return path;
    while (lb_value_next(&it))
        if (strcmp(it.name, "bus") == 0 || strncmp(it.name, "bus.", 4) == 0)
            return path;
    return path + 4;
}

/* auth.user_registered.listen, split as `whole` into auth.user_registered and listen. */
static lb_status resolve_event(arena *memory, const lb_value *schemas, const target *whole,
                               shell_target *result, lb_error *error)
{
    const lb_value *member;
    target event;
    result->verb = strcmp(whole->member, "fire") == 0 ? SHELL_FIRE : SHELL_LISTEN;
    result->name = whole->api;
    if (result->verb == SHELL_LISTEN && lb_value_get(schemas, whole->api)) {
        result->name = arena_printf(memory, "%s.*", whole->api);
        return result->name ? LB_OK : lb_error_set(error, LB_NO_MEMORY, "out of memory");
    }
    if (!strchr(whole->api, '.'))
        return target_find(schemas, whole, "events", &member, error);
    lb_status status = target_split(memory, whole->api, &event, error);
    if (status == LB_OK && lb_value_get(half_of(schemas, event.api, "rpcs"), event.member))
        return lb_error_set(error, LB_USAGE, "%s is an RPC, not an event: call it with %s(...)", whole->api,
                            whole->api);
    return status == LB_OK ? target_find(schemas, &event, "events", &member, error) : status;
}

lb_status shell_resolve(arena *memory, const lb_value *schemas, const char *path, shell_target *result,
                        lb_error *error)
{
    const lb_value *member;
    target whole;
    path = shell_bare_path(schemas, path);
    if (!strchr(path, '.'))
        return lb_error_set(error, LB_USAGE, "expected API.PROCEDURE(...), API.EVENT.fire(...) or .listen()");
    lb_status status = target_split(memory, path, &whole, error);
    if (status != LB_OK)
        return status;
    *result = (shell_target){SHELL_CALL_RPC, path};
    if (lb_value_get(half_of(schemas, whole.api, "rpcs"), whole.member))
        return LB_OK;
    if (strcmp(whole.member, "fire") == 0 || strcmp(whole.member, "listen") == 0)
        return resolve_event(memory, schemas, &whole, result, error);
    if (lb_value_get(half_of(schemas, whole.api, "events"), whole.member))
        return lb_error_set(error, LB_USAGE,
                            "%s is an event: fire it with %s.fire(...), hear it with %s.listen()", path, path,
                            path);
    return target_find(schemas, &whole, "rpcs", &member, error);
}
