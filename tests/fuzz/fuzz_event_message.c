/* Entries of a stream, and of its dead letters: the input is cut into fields, each with a byte for its size
 * before it. An event that has no problem must have what its receiver relies on, one that has must be fit to be
 * shown. */
#include <lightbus/transport.h>
#include <stdint.h>
#include <stdlib.h>

#include "transports/redis/codec.h"
#include "transports/redis/listener.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* A list of fields in the arena. */
static reply *cut(arena *a, const uint8_t *data, size_t size)
{
    reply *first = NULL, **link = &first;
    while (size) {
        size_t piece = *data++;
        size--;
        piece = piece < size ? piece : size;
        reply *field = arena_alloc(a, sizeof *field);
        char *text = arena_copy(a, (const char *)data, piece);
        require(field && text);
        *field = (reply){.type = REDIS_REPLY_STRING, .as.text = {piece == 255 ? NULL : text, piece}};
        *link = field;
        link = &field->next;
        data += piece, size -= piece;
    }
    return first;
}

static void require_event(const lb_event_message *event)
{
    require(event->id.size && event->api_name.size && event->event_name.size);
    for (size_t i = 0; i < event->kwargs_count; i++)
        require(event->kwargs[i].name.size && event->kwargs[i].value);
}

static void try_letter(arena *a, const reply *fields)
{
    lb_event_message event = {0};
    lb_dead_letter letter;
    require(decode_letter(a, fields, 4096, &event, &letter));
    require(letter.group.data && letter.consumer.data && letter.reason.data && event.native_id.data);
    if (!event.problem)
        require_event(&event);
    for (size_t i = 0; i < event.kwargs_count && event.problem; i++)
        require(event.kwargs[i].name.data && lb_value_type_of(event.kwargs[i].value) == LB_TYPE_STR);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    arena fields = {0}, decoded_into = {0};
    lb_event_message event = {0};
    const reply *cut_up = cut(&fields, data, size);
    entry_id id;
    if (entry_id_parse((lb_slice){(const char *)data, size}, &id)) {
        char text[ENTRY_ID_TEXT];
        entry_id again;
        require(entry_id_parse((lb_slice){text, entry_id_text(text, id)}, &again) &&
                entry_id_compare(id, again) == 0);
    }
    if (decode_event(&decoded_into, cut_up, 4096, &event) == DECODED && !event.problem)
        require_event(&event);
    try_letter(&decoded_into, cut_up);
    arena_free(&fields);
    arena_free(&decoded_into);
    return 0;
}
