/* Calls and results from the wire. One that has no problem must have what its receiver relies on, and a call
 * must come back the same after it was encoded. */
#include <lightbus/transport.h>
#include <stdint.h>
#include <stdlib.h>

#include "transports/redis/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Compared as text: NaN does not equal itself. */
static bool same_value(const lb_value *a, const lb_value *b)
{
    buffer first = {0}, second = {0};
    json_write(&first, a);
    json_write(&second, b);
    bool equal = slice_equal((lb_slice){first.data, first.size}, (lb_slice){second.data, second.size});
    buffer_free(&first);
    buffer_free(&second);
    return equal;
}

static bool same(const lb_rpc_message *a, const lb_rpc_message *b)
{
    bool equal = slice_equal(a->id, b->id) && slice_equal(a->api_name, b->api_name) &&
                 slice_equal(a->procedure_name, b->procedure_name) &&
                 slice_equal(a->return_path, b->return_path) && a->kwargs_count == b->kwargs_count;
    for (size_t i = 0; equal && i < a->kwargs_count; i++)
        equal = slice_equal(a->kwargs[i].name, b->kwargs[i].name) &&
                same_value(a->kwargs[i].value, b->kwargs[i].value);
    return equal;
}

/* Encodes what was decoded, with the values as JSON again. */
static void check_call(const lb_rpc_message *call)
{
    arena a = {0};
    buffer json = {0}, blob = {0};
    lb_kwarg *kwargs = calloc(call->kwargs_count + 1, sizeof *kwargs);
    size_t *ends = calloc(call->kwargs_count + 1, sizeof *ends);
    require(kwargs && ends);
    for (size_t i = 0; i < call->kwargs_count; i++) {
        json_write(&json, call->kwargs[i].value);
        ends[i] = json.size;
    }
    for (size_t i = 0; i < call->kwargs_count; i++) {
        size_t start = i ? ends[i - 1] : 0;
        kwargs[i] = (lb_kwarg){.name = call->kwargs[i].name, .json = {json.data + start, ends[i] - start}};
    }
    lb_rpc_message copy = *call, back;
    copy.kwargs = kwargs;
    encode_call(&blob, &copy);
    require(!blob.failed && decode_call(&a, (lb_slice){blob.data, blob.size}, 1 << 24, &back));
    require(!back.problem && same(call, &back));
    buffer_free(&json);
    buffer_free(&blob);
    free(kwargs);
    free(ends);
    arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    arena a = {0};
    lb_slice text = {(const char *)data, size};
    lb_rpc_message call;
    lb_result_message result;
    if (decode_call(&a, text, 1 << 20, &call) && !call.problem) {
        require(call.id.size && call.api_name.size && call.procedure_name.size);
        require(call.return_path.size > strlen(RETURN_SCHEME));
        check_call(&call);
    }
    if (decode_result(&a, text, 1 << 20, &result))
        require(result.problem ? result.status == LB_MALFORMED : result.rpc_message_id.size > 0);
    arena_free(&a);
    return 0;
}
