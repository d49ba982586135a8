/* A user's program, built from an empty folder against what was installed. */
#include <lightbus.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    lb_value *value = NULL;
    lb_error error = {0};

    if (lb_value_parse("{\"a\": 1}", 8, &value, &error)) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    printf("%s %d\n", lb_version(), (int)lb_value_int(lb_value_get(value, "a")));
    lb_value_free(value);
    return strcmp(lb_version(), LIGHTBUS_VERSION) != 0;
}
