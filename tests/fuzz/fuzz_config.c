/* Configurations of any bytes: refused with a place, or a configuration whose every option can be read. The
 * first byte says JSON ("j") or YAML. */
#include <stdio.h>
#include <stdlib.h>

#include "config/config.h"
#include "config/options.h"

#include <lightbus/log.h>

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void no_log(lb_log_level level, const char *message, void *data)
{
    (void)level;
    (void)message;
    (void)data;
}

static void read_all(const config *c, const option *dict, const char *path, lb_slice api)
{
    for (const option *o = dict->members; o && o->name; o++) {
        char below[200];
        snprintf(below, sizeof below, "%s%s%s%s", path, *path ? "." : "", o->name,
                 o->kind == OPTION_APIS ? ".*" : "");
        require(option_at(below) != NULL);
        if (o->members && !(o->or_bool && config_says(c, below, api)))
            read_all(c, o, below, api);
        else if (o->kind == OPTION_INT && config_says(c, below, api))
            require((double)config_int(c, below, api) >= o->least &&
                    (double)config_int(c, below, api) <= o->most);
        else if (o->kind == OPTION_STR && config_says(c, below, api))
            require(*config_str(c, below, api));
    }
    config_validates(c, true, api);
}

static void read_transports(const config *c, lb_slice api)
{
    transport_choice choices[TRANSPORT_KINDS];
    arena memory = {0};
    lb_error error = {0};

    if (config_transports(c, api, NULL, "redis://h", &memory, choices, &error) == LB_OK)
        for (int i = 0; i < TRANSPORT_KINDS; i++)
            require(choices[i].url != NULL);
    else
        require(error.message[0] != '\0');
    arena_free(&memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    config *c = NULL;
    lb_error error = {0};
    bool is_json = size && data[0] == 'j';

    lb_log_to(no_log, NULL);
    if (!size)
        return 0;
    if (config_parse("fuzz", (lb_slice){(const char *)data + 1, size - 1}, is_json, &c, &error) != LB_OK) {
        require(!c && error.status == LB_CONFIG && strncmp(error.message, "fuzz:", 5) == 0);
        return 0;
    }
    lb_slice api = config_api(c, 0);
    read_all(c, &config_options, "", api);
    read_transports(c, api);
    read_transports(c, (lb_slice){NULL, 0});
    config_free(c);
    return 0;
}
