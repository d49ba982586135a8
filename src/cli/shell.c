/* What the shell knows: the schemas of the bus, as fresh as they are needed, and its variables. */
#include "shell.h"

#include <string.h>

#include "../base/clock.h"

enum { LEAVE_ALONE_MS = 10000 };

lb_status shell_look(shell *s, int age_ms, lb_error *error)
{
    lb_value *schemas;
    if (age_ms && s->schemas_at && clock_now() - s->schemas_at < age_ms * CLOCK_MS)
        return LB_OK;
    lb_status status = lb_schema_dump(s->bus, &schemas, error);
    if (status != LB_OK) {
        s->schemas_at = clock_in_ms(LEAVE_ALONE_MS); /* nobody waits for it at every key */
        return status;
    }
    lb_value_free(s->schemas);
    s->schemas = schemas;
    s->schemas_at = clock_now();
    return LB_OK;
}

static const lb_value *get_variable(const void *data, lb_slice name)
{
    return map_get(data, name.data, name.size);
}

static const char *next_variable(const void *data, const char *name)
{
    map_entry *e = map_next(data, NULL);
    while (name && e && e->key != name)
        e = map_next(data, e);
    if (name && e)
        e = map_next(data, e);
    return e ? e->key : NULL;
}

shell_scope shell_scope_of(const shell *s) { return (shell_scope){get_variable, next_variable, &s->variables}; }

bool shell_set_variable(shell *s, const char *name, lb_value *value)
{
    lb_value *before = map_get(&s->variables, name, strlen(name));
    if (!map_put(&s->variables, name, strlen(name), value)) {
        lb_value_free(value);
        return false;
    }
    lb_value_free(before);
    return true;
}
