/* Formats of addresses: hosts, e-mail, URIs; and the resolution of one URI against another. */
#ifndef SCHEMA_VALIDATOR_ADDRESS_H
#define SCHEMA_VALIDATOR_ADDRESS_H

#include <lightbus/value.h>
#include <stdbool.h>

#include "../base/arena.h"

bool address_is_hex(char c);
bool address_is_ipv4(lb_slice text);
bool address_is_ipv6(lb_slice text);
bool address_is_hostname(lb_slice text);
bool address_is_idn_hostname(lb_slice text);
bool address_is_email(lb_slice text);
bool address_is_idn_email(lb_slice text);
bool address_is_uri(lb_slice text);
bool address_is_uri_reference(lb_slice text);
bool address_is_iri(lb_slice text);
bool address_is_iri_reference(lb_slice text);

/* The reference, seen from the base (RFC 3986, section 5), without its fragment, in the arena; data NULL when
 * memory is short. */
lb_slice address_resolve(arena *memory, lb_slice base, lb_slice reference);
/* What follows the first '#'; data NULL when there is none. */
lb_slice address_fragment(lb_slice reference);

#endif
