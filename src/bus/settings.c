/* The settings of an API. The handle's flags hold for all APIs; who asks names the API, so that settings per
 * API need no other callers. */
#include "bus.h"

api_settings bus_settings(const lb_bus *bus, lb_slice api_name)
{
    (void)api_name;
    return (api_settings){
        .strict_validation = bus->flags & LB_OPEN_STRICT_VALIDATION,
        .outgoing = bus->flags & LB_OPEN_NO_OUTGOING_VALIDATION ? 0 : MARSHAL_VALIDATE,
        .incoming = (bus->flags & LB_OPEN_NO_INCOMING_VALIDATION ? 0 : MARSHAL_VALIDATE) |
                    (bus->flags & LB_OPEN_NO_CASTING ? 0 : MARSHAL_CAST),
    };
}
