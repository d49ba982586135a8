/* http(s) by libcurl, where the build has it. */
#include "fetch.h"

#ifdef LIGHTBUS_CURL
#include <curl/curl.h>
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

static void initialize(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

static bool says_json(CURL *curl, const char *url)
{
    const char *type = NULL;
    size_t path = strcspn(url, "?#");

    curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
    return (type && strcasestr(type, "json")) || (path >= 5 && strncasecmp(url + path - 5, ".json", 5) == 0);
}

lb_status fetch_url(const char *url, const char *shown, size_t most, buffer *out, bool *is_json,
                    lb_error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    receiver r = {out, most, false};
    char why[CURL_ERROR_SIZE] = "";
    long code = 0;

    pthread_once(&once, initialize);
    CURL *curl = curl_easy_init();
    if (!curl)
        return lb_error_set(error, LB_NO_MEMORY, "%s: out of memory", shown);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 3L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, PATIENCE_S);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &r);
    CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    *is_json = says_json(curl, url);
    curl_easy_cleanup(curl);
    if (r.too_large)
        return lb_error_set(error, LB_CONFIG, "%s: larger than %zu bytes", shown, most);
    if (out->failed)
        return lb_error_set(error, LB_NO_MEMORY, "%s: out of memory", shown);
    if (result != CURLE_OK)
        return lb_error_set(error, LB_SYSTEM, "%s: cannot be fetched: %s", shown,
                            *why ? why : curl_easy_strerror(result));
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
