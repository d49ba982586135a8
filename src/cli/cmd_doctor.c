/* lightbus doctor: looks for what is wrong with the set-up, and says what to do about it. It changes nothing.
 */
#include "doctor.h"

static void tell_error(doctor_printer *p, const char *check, const char *found, const char *advice)
{
    const lb_finding finding = {.level = LB_FINDING_ERROR, .check = check, .found = found, .advice = advice};

    doctor_print(&finding, p);
}

static void check_bus(invocation *in, int check_ms, doctor_printer *p)
{
    lb_error error = {0};
    lb_bus *bus = cli_try_open(in, (lb_options){0}, &error);

    if (!bus) {
        tell_error(p, "bus", error.message, "the rest can be checked when the bus can be opened");
        return;
    }
    lb_log_set_level(LB_LOG_CRITICAL); /* it is all in the findings */
    if (set_up_without_serving(in, bus) != CLI_OK)
        tell_error(p, "bus module", "it cannot be set up, for the reason printed apart", NULL);
    lb_diagnose(bus, check_ms, doctor_print, p);
    lb_close(bus);
}

static int doctor(invocation *in)
{
    doctor_printer printer;
    int check_ms = 0;

    if (in->count)
        return usage_error(in, "unexpected argument \"%s\"", in->arguments[0]);
    if (in->timeout && !flags_seconds(in->timeout, &check_ms))
        return usage_error(in, "--timeout: expected seconds above 0, got \"%s\"", in->timeout);
    doctor_printer_open(&printer, in->json != NULL);
    if (doctor_check_process(in, doctor_print, &printer))
        check_bus(in, check_ms, &printer);
    return doctor_printer_close(&printer, in);
}

static const flag flags[] = {
    {"json", NULL, "all findings as one JSON object", offsetof(invocation, json), 0, false},
    {"timeout", "SECONDS", "how long each check may take (5)", offsetof(invocation, timeout), 0, false},
    {"bus", "PATH", "compares the APIs of this bus module as well", offsetof(invocation, bus), 'b', true},
    {0},
};

const command cmd_doctor = {
    .name = "doctor",
    .summary = "Looks for what is wrong with the set-up.",
    .arguments = "",
    .details = "It checks this process, the transports and what lies on them, and says what to\n"
               "do. Nothing is changed.\n\n"
               "  lightbus doctor --url redis://127.0.0.1:6379/0\n"
               "  lightbus doctor --json | jq '.findings[] | select(.level == \"error\")'\n",
    .exit_codes = "0: nothing is wrong, 1: warnings or errors",
    .flags = flags,
    .run = doctor,
};
