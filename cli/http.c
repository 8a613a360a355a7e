#include "cli/http.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX         (UINT64_C(256) << 20)
#define CONNECT_TIMEOUT_MS 5000L
#define TIMEOUT_MS         30000UL

struct cli_http {
    CURL *easy;
};

struct cli_http *cli_http_new(void)
{
    struct cli_http *http = calloc(1, sizeof(*http));
    if (http == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(http);
        return NULL;
    }
    http->easy = curl_easy_init();
    if (http->easy == NULL) {
        free(http);
        return NULL;
    }
    return http;
}

void cli_http_free(struct cli_http *http)
{
    if (http != NULL) {
        curl_easy_cleanup(http->easy);
        curl_global_cleanup();
        free(http);
    }
}

void cli_answer_done(struct cli_answer *answer)
{
    tpc_buf_done(&answer->body);
}

static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
    struct tpc_buf *body = arg;
    if (body->size + size > ANSWER_MAX) {
        return 0;
    }
    tpc_buf_add(body, data, one * size);
    return body->failed ? 0 : size;
}

static struct curl_slist *headers_of(const struct cli_request *request)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    if (list != NULL && request->body != NULL) {
        curl_slist_append(list, "Content-Type: application/json");
    }
    for (size_t i = 0; i < sizeof(request->headers) / sizeof(request->headers[0]); i++) {
        if (list != NULL && request->headers[i] != NULL) {
            curl_slist_append(list, request->headers[i]);
        }
    }
    return list;
}

/* Was the connection refused before anything left? */
static enum tpc_rc rc_of(CURLcode code, CURL *easy)
{
    curl_off_t connect_us = 0;
    curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &connect_us);
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL) {
        return TPC_EINVAL;
    }
    if (code == CURLE_OUT_OF_MEMORY) {
        return TPC_ENOMEM;
    }
    if (connect_us == 0) {
        return TPC_EUNREACHABLE;
    }
    return code == CURLE_OPERATION_TIMEDOUT ? TPC_ETIMEOUT : TPC_EIO;
}

enum tpc_rc cli_http_do(struct cli_http *http, const struct cli_request *request,
                        struct cli_answer *ret_answer, struct tpc_err *reterr)
{
    *ret_answer = (struct cli_answer){0};
    CURL *easy = http->easy;
    struct curl_slist *headers = headers_of(request);
    unsigned long timeout_ms = request->timeout_ms != 0 ? request->timeout_ms : TIMEOUT_MS;
    char words[CURL_ERROR_SIZE] = "";

    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "assent/" ASSENT_VERSION);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, words);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &ret_answer->body);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, request->at_most_once ? 1L : 0L);
    if (request->body != NULL) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
    }
    CURLcode code = headers != NULL ? curl_easy_perform(easy) : CURLE_OUT_OF_MEMORY;
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    enum tpc_rc rc = TPC_OK;
    if (code != CURLE_OK) {
        rc = tpc_fail(reterr, rc_of(code, easy), "%s",
                      words[0] != '\0' ? words : curl_easy_strerror(code));
    }
    ret_answer->status = (int)status;
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
    curl_slist_free_all(headers);
    return rc;
}

void cli_http_escape(struct tpc_buf *out, const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (const char *c = text; *c != '\0'; c++) {
        if (strchr(plain, *c) != NULL) {
            tpc_buf_addc(out, *c);
        } else {
            tpc_buf_addf(out, "%%%02X", (unsigned char)*c);
        }
    }
}
