/* The client in the loop. As with the server, what must be done is noted as `dirty` and done once a
 * loop turn: after all events were taken (check), or before the loop waits (prepare). */
#include "api/client_internal.h"
#include "base/memory.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <utlist.h>

enum { ROUNDS_MAX = 16, CONNECTIONS_MAX = 256 };

void api_call_done(struct api_call *call)
{
    tpc_buf_done(&call->body);
    tpc_buf_done(&call->answer);
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* only its being active matters: the loop polls without waiting */
}

void api_client_kick(struct api_client *client)
{
    if (!client->dirty && !client->freeing) {
        client->dirty = true;
        uv_idle_start(&client->idle, on_idle);
    }
}

/* ---- A turn ---- */

static void finish(struct client_transfer *transfer, CURLcode result)
{
    struct api_client *client = transfer->client;

    if (transfer->active) {
        curl_multi_remove_handle(client->multi, transfer->easy);
        transfer->active = false;
        DL_DELETE(client->active, transfer);
    } else {
        DL_DELETE(client->starting, transfer);
    }
    if (transfer->cancelled) {
        client->cancel_count--;
    }
    api_client_transfer_finish(transfer, (int)result);
}

static void start_all(struct api_client *client)
{
    while (client->starting != NULL) {
        struct client_transfer *transfer = client->starting;
        if (transfer->cancelled) {
            finish(transfer, CURLE_ABORTED_BY_CALLBACK);
            continue;
        }
        transfer->broken = tpc_fp_hit(transfer->call->send);
        if (transfer->broken || !api_client_transfer_set(transfer) ||
            curl_multi_add_handle(client->multi, transfer->easy) != CURLM_OK) {
            finish(transfer, CURLE_FAILED_INIT);
            continue;
        }
        DL_DELETE(client->starting, transfer);
        DL_APPEND(client->active, transfer);
        transfer->active = transfer->started = true;
    }
}

static void finish_done(struct api_client *client)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(client->multi, &left)) != NULL;) {
        struct client_transfer *transfer = NULL;
        CURLcode result = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
        finish(transfer, result);
    }
}

static void finish_cancelled(struct api_client *client)
{
    struct client_transfer *transfer = client->active;
    while (transfer != NULL && client->cancel_count > 0) {
        struct client_transfer *next = transfer->next;
        if (transfer->cancelled) {
            /* on_done may change the list, but for `next`, which it can only mark. */
            finish(transfer, CURLE_ABORTED_BY_CALLBACK);
        }
        transfer = next;
    }
}

static void run(struct api_client *client)
{
    for (int round = 0; client->dirty && round < ROUNDS_MAX; round++) {
        client->dirty = false;
        start_all(client);
        api_client_sockets_poll(client);
        finish_done(client);
        finish_cancelled(client);
        client->dirty = client->dirty || client->starting != NULL || client->due;
    }
    if (client->dirty) {
        uv_idle_start(&client->idle, on_idle);
    } else {
        uv_idle_stop(&client->idle);
    }
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct api_client *client = prepare->data;
    if (client->dirty) {
        run(client);
    }
}

static void on_check(uv_check_t *check)
{
    struct api_client *client = check->data;
    if (client->dirty) {
        run(client);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct api_client *client = poll->data;
    (void)status, (void)events;
    client->ready = true;
    api_client_kick(client);
}

/* ---- Calls ---- */

enum tpc_rc api_client_start(struct api_client *client, struct api_call *call)
{
    if (client->freeing) {
        return TPC_EIO;
    }
    struct client_transfer *transfer = api_client_transfer_new(client);
    if (transfer == NULL) {
        return TPC_ENOMEM;
    }
    transfer->call = call;
    call->internal = transfer;
    call->status = 0;
    tpc_buf_clear(&call->answer);
    DL_APPEND(client->starting, transfer);
    api_client_kick(client);
    return TPC_OK;
}

void api_client_cancel(struct api_client *client, struct api_call *call)
{
    struct client_transfer *transfer = call->internal;
    if (transfer == NULL || transfer->cancelled) {
        return;
    }
    transfer->cancelled = true;
    client->cancel_count++;
    api_client_kick(client);
}

/* ---- Life ---- */

static void free_parts(struct api_client *client)
{
    struct client_transfer *transfer, *next;
    LL_FOREACH_SAFE(client->spares, transfer, next)
    {
        api_client_transfer_free(transfer);
    }
    curl_multi_cleanup(client->multi);
    curl_slist_free_all(client->headers);
    curl_slist_free_all(client->headers_with_body);
    api_client_sockets_done(client);
}

static void global_init(void)
{
    /* After a failed allocation it goes on with tables that have no slots. */
    (void)curl_global_init_mem(CURL_GLOBAL_DEFAULT, tpc_must_malloc, free, tpc_must_realloc,
                               tpc_must_strdup, tpc_must_calloc);
}

static bool add_header(struct curl_slist **list, const char *header)
{
    struct curl_slist *longer = curl_slist_append(*list, header);
    if (longer != NULL) {
        *list = longer;
    }
    return longer != NULL;
}

static bool init_parts(struct api_client *client, size_t connections_max)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, global_init);

    client->epoll_fd = -1;
    client->multi = curl_multi_init();
    if (client->multi == NULL || !api_client_sockets_init(client)) {
        return false;
    }
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS,
                      (long)(connections_max == 0 ? CONNECTIONS_MAX : connections_max));
    curl_multi_setopt(client->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    /* An empty Expect: no round trip of asking whether a body is welcome. */
    return add_header(&client->headers, "Expect:") &&
           add_header(&client->headers_with_body, "Expect:") &&
           add_header(&client->headers_with_body, "Content-Type: application/json") &&
           uv_poll_init(client->loop, &client->poll, client->epoll_fd) == 0;
}

enum tpc_rc api_client_new(const struct api_client_options *options, struct api_client **ret_client,
                           struct tpc_err *reterr)
{
    struct api_client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        return tpc_fail(reterr, TPC_ENOMEM, "no memory for the HTTP client");
    }
    client->loop = options->loop;
    if (!init_parts(client, options->connections_max)) {
        free_parts(client);
        free(client);
        return tpc_fail(reterr, TPC_ENOMEM, "cannot set up the HTTP client");
    }
    uv_timer_init(client->loop, &client->timer);
    uv_prepare_init(client->loop, &client->prepare);
    uv_check_init(client->loop, &client->check);
    uv_idle_init(client->loop, &client->idle);
    client->handles = 5;
    client->poll.data = client->timer.data = client;
    client->prepare.data = client->check.data = client->idle.data = client;
    uv_poll_start(&client->poll, UV_READABLE, on_poll);
    uv_prepare_start(&client->prepare, on_prepare);
    uv_check_start(&client->check, on_check);
    *ret_client = client;
    return TPC_OK;
}

static void on_closed(uv_handle_t *handle)
{
    struct api_client *client = handle->data;
    if (--client->handles == 0) {
        free(client);
    }
}

static void finish_all(struct api_client *client)
{
    while (client->starting != NULL || client->active != NULL) {
        struct client_transfer *transfer =
            client->starting != NULL ? client->starting : client->active;
        if (!transfer->cancelled) {
            transfer->cancelled = true;
            client->cancel_count++;
        }
        finish(transfer, CURLE_ABORTED_BY_CALLBACK);
    }
}

void api_client_free(struct api_client *client)
{
    client->freeing = true;
    finish_all(client);
    uv_poll_stop(&client->poll);
    free_parts(client);
    uv_close((uv_handle_t *)&client->poll, on_closed);
    uv_close((uv_handle_t *)&client->timer, on_closed);
    uv_close((uv_handle_t *)&client->prepare, on_closed);
    uv_close((uv_handle_t *)&client->check, on_closed);
    uv_close((uv_handle_t *)&client->idle, on_closed);
}
