#include <lightbus.h>
#include <stdio.h>
#include <string.h>

static const lb_member members[] = {
    LB_EVENT("ordered(number: int, email: str)"),
    LB_END,
};
static const lb_api shop = {.name = "shop", .members = members};

/* What can never be handled is rejected, with the reason. What fails for now would be tried again: LB_RETRY. */
static lb_status send_invoice(const lb_event *event, void *data)
{
    const char *email = lb_get_str(event, "email");

    if (!strchr(email, '@'))
        return lb_event_fail(event, LB_REJECT, "no address for the invoice: \"%s\"", email);
    printf("Invoice %d to %s\n", (int)lb_get_int(event, "number"), email);
    return LB_OK;
}

lb_status lb_setup(lb_bus *bus, lb_error *error)
{
    const lb_listen_options once = {.deduplicate_ms = 24 * 3600 * 1000};
    lb_status status = lb_register(bus, &shop, NULL, error);

    return status == LB_OK ? lb_listen(bus, "shop.ordered", "invoices", send_invoice, NULL, &once, error)
                           : status;
}
