/* The flags of lightbus run that are about the plugin internal_state. */
#include "cli.h"

#include "../config/options.h"

int ping_options(const invocation *in, char out[PING_SIZE], const char **plugins)
{
    const option *interval = option_at("plugins.internal_state.ping_interval");
    uint64_t seconds;

    *plugins = in->ping_interval || in->no_ping ? out : NULL;
    if (in->ping_interval && in->no_ping)
        return usage_error(in, "--ping-interval and --no-ping exclude each other");
    if (in->no_ping) {
        snprintf(out, PING_SIZE, "{\"internal_state\":{\"ping_enabled\":false}}");
    } else if (in->ping_interval) {
        if (!flags_count(in->ping_interval, &seconds) || (double)seconds > interval->most)
            return usage_error(in, "--ping-interval: expected whole seconds from %.0f to %.0f, got \"%s\"",
                               interval->least, interval->most, in->ping_interval);
        snprintf(out, PING_SIZE,
                 "{\"internal_state\":{\"enabled\":true,\"ping_enabled\":true,\"ping_interval\":%llu}}",
                 (unsigned long long)seconds);
    }
    return CLI_OK;
}
