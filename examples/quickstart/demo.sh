#!/bin/bash
# Shows Lightbus at work: two services and a client, on a local bus of their own that vanishes with this script.
# Usage: examples/quickstart/demo.sh BUILD_DIR
# It checks what it shows: the exit code is 1 when a result or an event is missing.
set -u

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:-build}" 2>/dev/null && pwd) || { echo "Usage: $0 BUILD_DIR" >&2; exit 2; }
lightbus=$build/lightbus
work=$(mktemp -d "${TMPDIR:-/tmp}/lightbus-demo.XXXXXX") || exit 1
pids=()

bold='' dim='' green='' red='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR-}" ] && [ "${TERM-dumb}" != dumb ]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi

# ---- What the steps are made of

finish() {
    local pid
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null
    done
    for pid in "${pids[@]}"; do
        wait "$pid" 2>/dev/null
    done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    printf '\n%s%s%s\n' "$red" "$1" "$plain" >&2
    [ -n "${2-}" ] && [ -s "$2" ] && sed 's/^/    /' "$2" >&2
    exit 1
}

step() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }
command_line() { printf '\n    %s$%s %s\n' "$dim" "$plain" "$1"; }
indent() { sed 's/^./    &/'; }

# wait_for FILE TEXT WHAT PID: until the file holds the text; the process PID is to write it, within 20 seconds.
wait_for() {
    local end=$((SECONDS + 20))
    until grep -qF -- "$2" "$1" 2>/dev/null; do
        kill -0 "$4" 2>/dev/null || fail "$3 ended early:" "$1"
        ((SECONDS < end)) || fail "$3 took too long:" "$1"
        sleep 0.05
    done
}

# Prints the lines of a file that are new since the last time.
declare -A shown
show_new() {
    local from=$((${shown[$1]:-0} + 1))
    tail -n "+$from" "$1" | indent
    shown[$1]=$(wc -l <"$1")
}

# serve FOLDER: starts `lightbus run` there, and shows what it says when it is ready.
serve() {
    local log=$work/$1.log
    command_line "cd $1 && LIGHTBUS_SERVICE_NAME=$1 lightbus run"
    (cd "$here/$1" && LIGHTBUS_SERVICE_NAME=$1 exec "$lightbus" run) >"$log" 2>&1 &
    pids+=($!)
    wait_for "$log" "Ready." "the service in $1" $!
    show_new "$log"
}

# ---- The demonstration

for tool in pkg-config "${CC:-cc}"; do
    command -v "${tool%% *}" >/dev/null || fail "$tool is missing: run tools/setup"
done
[ -x "$lightbus" ] || fail "$lightbus is missing: build it with make"
export PATH=$build:$PATH XDG_CACHE_HOME=$work/cache
export PKG_CONFIG_PATH=$build${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
export XDG_RUNTIME_DIR=$work/run # where the local bus lies
mkdir -m 700 "$XDG_RUNTIME_DIR"
unset LIGHTBUS_URL LIGHTBUS_SERVICE_NAME LIGHTBUS_PROCESS_NAME LIGHTBUS_MODULE

step "Two services and a client"
echo
echo "They talk through a folder on this machine. No server runs."
echo "The sources are in ${here#"$PWD"/}."

step "1. The service auth_service serves the API \"auth\""
echo "   Its bus.c is compiled on the fly."
serve auth_service

step "2. The service greeting_service listens to auth's event user_registered"
serve greeting_service

step "3. A call from the command line"
echo "   The password goes to auth_service, the answer comes back."
command_line "lightbus call auth.check_password username=admin password=secret"
result=$(lightbus call auth.check_password username=admin password=secret 2>"$work/call.log") ||
    fail "the call failed:" "$work/call.log"
echo "$result" | indent
[ "$result" = true ] || fail "expected: true"

step "4. A mistake is found before anything is sent"
command_line "lightbus call auth.check_password username=admin"
lightbus call auth.check_password username=admin >"$work/mistake.log" 2>&1 && fail "it was not found"
fold -s -w 76 "$work/mistake.log" | sed 's/ *$//' | indent

step "5. A client in C calls, then fires the event"
# shellcheck disable=SC2016 # shown, not run
command_line 'cc client.c $(pkg-config --cflags --libs lightbus) -o client && ./client'
# shellcheck disable=SC2046,SC2086 # flags are words
${CC:-cc} "$here/client.c" $(pkg-config --cflags --libs lightbus) -Wl,-rpath,"$build" ${CFLAGS-} \
    -o "$work/client" ||
    fail "client.c does not compile"
"$work/client" >"$work/client.log" 2>&1 || fail "the client failed:" "$work/client.log"
indent <"$work/client.log"
grep -qx "Password valid!" "$work/client.log" || fail "expected: Password valid!"

echo
echo "   ... and greeting_service has heard it:"
echo
wait_for "$work/greeting_service.log" "A new user: adam <adam@example.com>" "the event" "${pids[1]}"
show_new "$work/greeting_service.log"

step "6. SIGTERM: the services finish what they have begun, and end"
for i in 0 1; do
    kill "${pids[$i]}"
done
wait "${pids[0]}" || fail "auth_service ended with a failure:" "$work/auth_service.log"
wait "${pids[1]}" || fail "greeting_service ended with a failure:" "$work/greeting_service.log"
echo
show_new "$work/auth_service.log"
show_new "$work/greeting_service.log"

printf '\n%sAll of it worked.%s docs/tutorial.md builds the same from an empty folder.\n' "$green" "$plain"
