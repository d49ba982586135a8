/* The settings of an API: what lb_open was told for all APIs, and what the configuration says of this one. */
#include "bus.h"

api_settings bus_settings(const lb_bus *bus, lb_slice api_name)
{
    const unsigned flags = route_of(bus, api_name)->flags;
    return (api_settings){
        .strict_validation = flags & LB_OPEN_STRICT_VALIDATION,
        .outgoing = flags & LB_OPEN_NO_OUTGOING_VALIDATION ? 0 : MARSHAL_VALIDATE,
        .incoming = (flags & LB_OPEN_NO_INCOMING_VALIDATION ? 0 : MARSHAL_VALIDATE) |
                    (flags & LB_OPEN_NO_CASTING ? 0 : MARSHAL_CAST),
    };
}
