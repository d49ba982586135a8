/* Stores many events on a bus, as a service that fires them does:
 *     fill URL [EVENTS]
 */
#include <lightbus.h>

#include <stdio.h>
#include <stdlib.h>

enum { TOGETHER = 64, EVENTS = 1000000 };

static const lb_member members[] = {LB_EVENT("order_placed(order_id: int, customer: str, items: list[dict])"),
                                    LB_END};
static const lb_api shop = {.name = "shop", .members = members};

static lb_pending *fire(lb_bus *bus, long number, lb_error *error)
{
    char customer[32], items[80];
    snprintf(customer, sizeof customer, "customer %ld", number);
    snprintf(items, sizeof items, "[{\"sku\": \"a%ld\", \"price\": %ld}]", number, number % 100);
    return lb_fire_begin(
        bus, "shop.order_placed",
        LB_ARGS(LB("order_id", number), LB("customer", (const char *)customer), LB("items", LB_JSON(items))),
        error);
}

static lb_status fill(lb_bus *bus, long events, lb_error *error)
{
    lb_status status = lb_register(bus, &shop, NULL, error);
    for (long begun = 0; begun < events && status == LB_OK;) {
        lb_pending *fires[TOGETHER];
        size_t count = 0;
        while (count < TOGETHER && begun < events)
            fires[count++] = fire(bus, begun++, error);
        for (size_t i = 0; i < count; i++) {
            lb_status ended = lb_fire_end(fires[i], error);
            status = status == LB_OK ? ended : status;
        }
    }
    return status;
}

int main(int argc, char **argv)
{
    lb_error error = {0};
    long events = argc > 2 ? atol(argv[2]) : EVENTS;
    if (argc < 2 || events < 1) {
        fprintf(stderr, "usage: fill URL [EVENTS]\n");
        return 2;
    }
    lb_bus *bus = lb_open(&(lb_options){.url = argv[1], .service_name = "fill"}, &error);
    lb_status status = bus ? fill(bus, events, &error) : error.status;
    if (status != LB_OK)
        fprintf(stderr, "fill: %s\n", error.message);
    lb_close(bus);
    return status == LB_OK ? 0 : 1;
}
