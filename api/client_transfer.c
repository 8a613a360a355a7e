/* One call on one easy handle. */
#include "api/client_internal.h"
#include "base/tpc_assert.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    SPARES_MAX = 256,
    LINE_KEEP_SIZE = 64 * 1024,
    CONNECT_TIMEOUT_MS = 2000,
    /* Under the idle time-out of our server, so that a request does not meet a closing door. */
    CONNECTION_AGE_MAX_S = 60,
    BUFFER_SIZE = 32 * 1024,
};

#define ANSWER_MAX ((size_t)64 * 1024 * 1024)

/* ---- What comes back ---- */

static bool too_big(struct client_transfer *transfer, size_t held, size_t size)
{
    size_t limit = transfer->call->answer_max == 0 ? ANSWER_MAX : transfer->call->answer_max;
    transfer->too_big = size > limit - held;
    return transfer->too_big;
}

/* Every line that is whole in @data, put together with what was left of the data before. */
static bool take_lines(struct client_transfer *transfer, const char *data, size_t size)
{
    struct api_call *call = transfer->call;

    while (size > 0) {
        const char *end = memchr(data, '\n', size);
        size_t part = end == NULL ? size : (size_t)(end - data);
        if (too_big(transfer, transfer->line.size, part)) {
            return false;
        }
        if (end == NULL) {
            tpc_buf_add(&transfer->line, data, size);
            return !transfer->line.failed;
        }
        if (transfer->line.size == 0) {
            call->on_line(call, data, part);
        } else {
            tpc_buf_add(&transfer->line, data, part);
            if (transfer->line.failed) {
                return false;
            }
            call->on_line(call, transfer->line.data, transfer->line.size);
            tpc_buf_clear(&transfer->line);
        }
        if (transfer->cancelled) {
            return false;
        }
        data += part + 1;
        size -= part + 1;
    }
    return true;
}

static size_t on_header(char *data, size_t one, size_t size, void *cls)
{
    struct client_transfer *transfer = cls;
    (void)one;

    if (!transfer->received) {
        transfer->received = true;
        transfer->broken = tpc_fp_hit(transfer->call->receive);
    }
    /* libcurl takes a head without its end, when the connection ends there, for a whole answer.
     * What comes after body bytes are trailers. */
    if (transfer->call->status == 0) {
        transfer->head_whole = size > 0 && (data[0] == '\r' || data[0] == '\n');
    }
    return transfer->broken || transfer->cancelled ? 0 : size;
}

static void note_status(struct client_transfer *transfer)
{
    long status = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    transfer->call->status = (int)status;
}

static size_t on_data(char *data, size_t one, size_t size, void *cls)
{
    struct client_transfer *transfer = cls;
    struct api_call *call = transfer->call;
    bool taken;
    (void)one;

    if (transfer->cancelled) {
        return 0;
    }
    if (call->status == 0) {
        note_status(transfer);
    }
    if (call->on_line != NULL && call->status == 200) {
        taken = take_lines(transfer, data, size);
    } else {
        taken = !too_big(transfer, call->answer.size, size);
        if (taken) {
            tpc_buf_add(&call->answer, data, size);
            taken = !call->answer.failed;
        }
    }
    return taken ? size : 0; /* another number than @size ends the transfer */
}

/* ---- Easy handles ---- */

static void set_once(struct api_client *client, struct client_transfer *transfer)
{
    CURL *easy = transfer->easy;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*"); /* whatever the environment says */
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)CONNECTION_AGE_MAX_S);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)BUFFER_SIZE);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "assent/" ASSENT_VERSION);
    api_client_sockets_set(client, easy);
}

struct client_transfer *api_client_transfer_new(struct api_client *client)
{
    struct client_transfer *transfer = client->spares;
    if (transfer != NULL) {
        LL_DELETE(client->spares, transfer);
        client->spare_count--;
        return transfer;
    }
    transfer = calloc(1, sizeof(*transfer));
    if (transfer == NULL) {
        return NULL;
    }
    _Static_assert(sizeof(transfer->error) >= CURL_ERROR_SIZE, "room for libcurl's words");
    transfer->client = client;
    transfer->easy = curl_easy_init();
    if (transfer->easy == NULL) {
        free(transfer);
        return NULL;
    }
    set_once(client, transfer);
    return transfer;
}

void api_client_transfer_free(struct client_transfer *transfer)
{
    curl_easy_cleanup(transfer->easy);
    free(transfer->own_header);
    tpc_buf_done(&transfer->line);
    free(transfer);
}

static void recycle(struct client_transfer *transfer)
{
    struct api_client *client = transfer->client;

    if (client->spare_count >= SPARES_MAX) {
        api_client_transfer_free(transfer);
        return;
    }
    if (transfer->line.capacity > LINE_KEEP_SIZE) {
        tpc_buf_done(&transfer->line);
    } else {
        tpc_buf_clear(&transfer->line);
    }
    free(transfer->own_header);
    transfer->own_header = NULL;
    transfer->call = NULL;
    transfer->started = transfer->active = false;
    transfer->received = transfer->head_whole = false;
    transfer->cancelled = transfer->broken = transfer->too_big = false;
    transfer->error[0] = '\0';
    LL_PREPEND(client->spares, transfer);
    client->spare_count++;
}

/* @shared with the call's own header in front of it; NULL when memory ran out. */
static struct curl_slist *headers_of(struct client_transfer *transfer, struct curl_slist *shared)
{
    if (transfer->call->header == NULL) {
        return shared;
    }
    transfer->own_header = malloc(sizeof(*transfer->own_header));
    if (transfer->own_header != NULL) {
        *transfer->own_header =
            (struct curl_slist){.data = (char *)transfer->call->header, .next = shared};
    }
    return transfer->own_header;
}

bool api_client_transfer_set(struct client_transfer *transfer)
{
    struct api_call *call = transfer->call;
    CURL *easy = transfer->easy;
    bool post = strcmp(call->method, "POST") == 0, head = strcmp(call->method, "HEAD") == 0;
    bool with_body = post || call->body.size > 0;
    bool get = strcmp(call->method, "GET") == 0 && !with_body;
    uint32_t connect_ms =
        call->connect_timeout_ms == 0 ? CONNECT_TIMEOUT_MS : call->connect_timeout_ms;

    curl_easy_setopt(easy, CURLOPT_NOBODY, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, get || post || head ? NULL : call->method);
    if (head) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (with_body) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.size);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body.size == 0 ? "" : call->body.data);
    }
    struct curl_slist *headers = headers_of(
        transfer, with_body ? transfer->client->headers_with_body : transfer->client->headers);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, call->at_most_once ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, call->at_most_once ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    return headers != NULL && curl_easy_setopt(easy, CURLOPT_URL, call->url) == CURLE_OK;
}

/* ---- The end ---- */

static enum tpc_rc outcome(struct client_transfer *transfer, CURLcode result,
                           struct tpc_err *reterr)
{
    const char *url = transfer->call->url;
    long sent_bytes = 0;

    if (transfer->cancelled) {
        return tpc_fail(reterr, TPC_EIO, "%s: the call was given up", url);
    }
    if (transfer->too_big) {
        return tpc_fail(reterr, TPC_ETOOBIG, "%s: the answer is over its limit", url);
    }
    if (transfer->broken || (result == CURLE_OK && !transfer->head_whole)) {
        return tpc_fail(reterr, TPC_EIO, "%s: the connection broke", url);
    }
    if (transfer->line.failed || transfer->call->answer.failed) {
        return tpc_fail(reterr, TPC_EIO, "%s: no memory for the answer", url);
    }
    if (result == CURLE_OK) {
        return TPC_OK;
    }
    const char *words = transfer->error[0] != '\0' ? transfer->error : curl_easy_strerror(result);
    if (transfer->started) {
        curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &sent_bytes);
    }
    if (sent_bytes == 0) {
        return tpc_fail(reterr, TPC_EUNREACHABLE, "%s: %s", url, words);
    }
    if (result == CURLE_OPERATION_TIMEDOUT) {
        return tpc_fail(reterr, TPC_ETIMEOUT, "%s: %s", url, words);
    }
    return tpc_fail(reterr, TPC_EIO, "%s: %s", url, words);
}

void api_client_transfer_finish(struct client_transfer *transfer, int result)
{
    struct api_call *call = transfer->call;
    struct tpc_err err = {0};

    TPC_ASSERT(!transfer->active);
    if (transfer->head_whole) {
        note_status(transfer); /* an answer may have no body */
    }
    if (result == CURLE_OK && transfer->line.size > 0 && !transfer->cancelled) {
        call->on_line(call, transfer->line.data, transfer->line.size);
    }
    enum tpc_rc rc = outcome(transfer, (CURLcode)result, &err);
    call->internal = NULL;
    recycle(transfer);
    call->on_done(call, rc, &err);
}
