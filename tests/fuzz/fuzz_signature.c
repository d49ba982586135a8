/* Fuzzes the signature grammar. What parses must print, parse again and print the same; its JSON schema must
 * compile, and the signature made from that JSON must be one. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/base/json.h"
#include "../../src/schema/json_schema.h"
#include "../../src/schema/signature.h"
#include "../../src/schema/validator.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_printing(const signature *s)
{
    buffer first = {0}, second = {0};
    signature *again = NULL;

    signature_print(&first, s);
    require(signature_parse("fuzz", buffer_text(&first), &again, NULL) == LB_OK);
    signature_print(&second, again);
    require(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
    signature_free(again);
    buffer_free(&first);
    buffer_free(&second);
}

static void check_schema(const signature *s)
{
    arena memory = {0};
    buffer text = {0}, shown = {0};
    const lb_value *schema = NULL;
    const validator *compiled = NULL;
    signature *again = NULL;

    json_schema_of_member(&text, slice_of("fuzz"), s, false);
    require(json_parse(&memory, text.data, text.size, &schema, NULL) == LB_OK);
    require(validator_compile(&memory, lb_value_get(schema, "parameters"), &compiled, NULL) == LB_OK);
    require(validator_compile(&memory, lb_value_get(schema, "response"), &compiled, NULL) == LB_OK);
    json_schema_print_signature(&shown, s->name, lb_value_get(schema, "parameters"),
                                lb_value_get(schema, "response"));
    require(signature_parse("fuzz", buffer_text(&shown), &again, NULL) == LB_OK);
    signature_free(again);
    buffer_free(&text);
    buffer_free(&shown);
    arena_free(&memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    signature *s = NULL;
    lb_error error = {0};

    require(text);
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    if (signature_parse("fuzz", text, &s, &error) == LB_OK) {
        check_printing(s);
        check_schema(s);
    } else {
        require(error.message[0] != '\0');
    }
    signature_free(s);
    free(text);
    return 0;
}
