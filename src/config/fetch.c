/* http(s) by libcurl, where the build has it. It is loaded when it is needed: with all that it brings along it
 * doubles the memory of a worker at rest, and most never fetch anything. */
#include "fetch.h"

#ifdef LIGHTBUS_CURL
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <strings.h>

#define PATIENCE_S 5L

typedef struct receiver {
    buffer *out;
    size_t most;
    bool too_large;
} receiver;

static size_t receive(char *data, size_t unit, size_t count, void *user)
{
    receiver *r = user;

    if (r->out->size + unit * count > r->most) {
        r->too_large = true;
        return 0;
    }
    buffer_add(r->out, data, unit * count);
    return r->out->failed ? 0 : unit * count;
}

static struct {
    void *library; /* NULL: not there */
    __typeof__(curl_global_init) *global_init;
    __typeof__(curl_easy_init) *init;
    __typeof__(curl_easy_setopt) *setopt;
    __typeof__(curl_easy_perform) *perform;
    __typeof__(curl_easy_getinfo) *getinfo;
    __typeof__(curl_easy_cleanup) *cleanup;
    __typeof__(curl_easy_strerror) *strerror;
} lib;

static void load(void)
{
    const struct {
        void *function;
        const char *name;
    } wanted[] = {
        {&lib.global_init, "curl_global_init"}, {&lib.init, "curl_easy_init"},
        {&lib.setopt, "curl_easy_setopt"},      {&lib.perform, "curl_easy_perform"},
        {&lib.getinfo, "curl_easy_getinfo"},    {&lib.cleanup, "curl_easy_cleanup"},
        {&lib.strerror, "curl_easy_strerror"},
    };
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; library && i < sizeof wanted / sizeof *wanted; i++) {
        void *found = dlsym(library, wanted[i].name);
        if (!found)
            return;
        memcpy(wanted[i].function, &found, sizeof found);
    }
    if (library && lib.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
        lib.library = library;
}

static bool says_json(CURL *curl, const char *url)
{
    const char *type = NULL;
    size_t path = strcspn(url, "?#");

    lib.getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
    return (type && strcasestr(type, "json")) || (path >= 5 && strncasecmp(url + path - 5, ".json", 5) == 0);
}

lb_status fetch_url(const char *url, const char *shown, size_t most, buffer *out, bool *is_json,
                    lb_error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    receiver r = {out, most, false};
    char why[CURL_ERROR_SIZE] = "";
    long code = 0;

    pthread_once(&once, load);
    if (!lib.library)
        return lb_error_set(error, LB_UNSUPPORTED, "%s: libcurl.so.4 is not on this machine: expected a file",
                            shown);
    CURL *curl = lib.init();
    if (!curl)
        return lb_error_set(error, LB_NO_MEMORY, "%s: out of memory", shown);
    lib.setopt(curl, CURLOPT_URL, url);
    lib.setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    lib.setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    lib.setopt(curl, CURLOPT_MAXREDIRS, 3L);
    lib.setopt(curl, CURLOPT_TIMEOUT, PATIENCE_S);
    lib.setopt(curl, CURLOPT_NOSIGNAL, 1L);
    lib.setopt(curl, CURLOPT_ERRORBUFFER, why);
    lib.setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    lib.setopt(curl, CURLOPT_WRITEDATA, &r);
    CURLcode result = lib.perform(curl);
    lib.getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    *is_json = says_json(curl, url);
    lib.cleanup(curl);
    if (r.too_large)
        return lb_error_set(error, LB_CONFIG, "%s: larger than %zu bytes", shown, most);
    if (out->failed)
        return lb_error_set(error, LB_NO_MEMORY, "%s: out of memory", shown);
    if (result != CURLE_OK)
        return lb_error_set(error, LB_SYSTEM, "%s: cannot be fetched: %s", shown,
                            *why ? why : lib.strerror(result));
    if (code != 200)
        return lb_error_set(error, LB_SYSTEM, "%s: the server answered with status %ld, expected 200", shown,
                            code);
    return LB_OK;
}

#else

lb_status fetch_url(const char *url, const char *shown, size_t most, buffer *out, bool *is_json,
                    lb_error *error)
{
    (void)url, (void)most, (void)out, (void)is_json;
    return lb_error_set(error, LB_UNSUPPORTED, "%s: this lightbus was built without libcurl: expected a file",
                        shown);
}

#endif
