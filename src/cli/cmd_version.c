/* lightbus version */
#include "cli.h"

#include <lightbus/version.h>

static int version(invocation *in)
{
    if (in->count)
        return usage_error(in, "unexpected argument \"%s\"", in->arguments[0]);
    printf("lightbus %s\n", lb_version());
    return finish_output(in);
}

static const flag flags[] = {{0}};

const command cmd_version = {
    .name = "version",
    .summary = "Shows the version of the library.",
    .arguments = "",
    .flags = flags,
    .offline = true,
    .run = version,
};
