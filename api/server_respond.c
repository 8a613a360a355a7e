/* Answers with one body. */
#include "api/problem.h"
#include "api/server_internal.h"
#include "base/tpc_assert.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

/* A client must take at least so many bytes in a millisecond, or it is cut. */
enum { SLOWEST_BYTES_PER_MS = 64 };

#define RETRY_AFTER_S "1"

static void problem(struct tpc_buf *out, int status, const char *type, const char *title,
                    const char *detail, const char *field)
{
    api_problem_begin(out, type, title, status, detail, field);
    api_jw_close(out, '}');
}

static struct MHD_Response *response_of(struct tpc_buf *body, size_t *ret_size)
{
    size_t size = body->size;
    char *data = tpc_buf_take(body);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(data == NULL ? 0 : size, data, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(data);
    }
    *ret_size = size;
    return response;
}

void api_server_add_headers(struct api_request *request, struct MHD_Response *response, int status,
                            const char *content_type)
{
    bool retry_after = false;
    const char *at = request->headers.data;
    const char *end = at == NULL ? NULL : at + request->headers.size;

    while (at != end) {
        const char *value = at + strlen(at) + 1;
        retry_after |= strcasecmp(at, "Retry-After") == 0;
        (void)MHD_add_response_header(response, at, value);
        at = value + strlen(value) + 1;
    }
    if (status == 503 && !retry_after) {
        (void)MHD_add_response_header(response, "Retry-After", RETRY_AFTER_S);
    }
    if (request->server->draining) {
        (void)MHD_add_response_header(response, "Connection", "close");
    }
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    (void)MHD_add_response_header(response, "Content-Type", content_type);
}

void api_server_answer(struct api_request *request, int status, struct MHD_Response *take_response,
                       size_t size)
{
    struct api_server *server = request->server;
    bool suspended = request->state == REQUEST_SUSPENDED;

    TPC_ASSERT(suspended || request->state == REQUEST_HANDLING);
    if (take_response == NULL || tpc_fp_hit(server->options.send) ||
        MHD_queue_response(request->mhd, (unsigned)status, take_response) != MHD_YES) {
        request->broken = true;
    }
    if (take_response != NULL) {
        MHD_destroy_response(take_response);
    }
    request->state = REQUEST_ANSWERED;
    server->unfinished++;
    DL_DELETE(server->unanswered, request);
    server->unanswered_count--;
    request->conn->deadline_ms =
        api_server_now_ms(server) + server->options.idle_timeout_ms + size / SLOWEST_BYTES_PER_MS;
    if (suspended) {
        MHD_resume_connection(request->mhd);
        api_server_kick(server);
    }
}

void api_request_add_header(struct api_request *request, const char *name, const char *value)
{
    tpc_buf_add(&request->headers, name, strlen(name) + 1);
    tpc_buf_add(&request->headers, value, strlen(value) + 1);
}

/* There is no memory for the answer. To a question it can be said so; of anything else 503 would
 * say that nothing was done, and that may be wrong: the connection closes without an answer, and
 * the client knows that it does not know. */
static void instead(struct api_request *request, struct tpc_buf *body)
{
    bool asks = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
    tpc_buf_done(body);
    tpc_buf_clear(&request->headers);
    body->failed = !asks;
    problem(body, 503, "out-of-memory", "Out of memory",
            "there was no memory for the answer; ask again later", NULL);
}

void api_respond(struct api_request *request, int status, const char *content_type,
                 struct tpc_buf *body)
{
    struct tpc_buf none = {0};
    size_t size = 0;

    if (body == NULL) {
        body = &none;
    }
    if (body->failed || request->headers.failed) {
        status = 503;
        content_type = API_PROBLEM_CONTENT_TYPE;
        instead(request, body);
    }
    struct MHD_Response *response = body->failed ? NULL : response_of(body, &size);
    tpc_buf_done(body);
    if (response != NULL) {
        api_server_add_headers(request, response, status,
                               content_type == NULL ? "application/json" : content_type);
    }
    api_server_answer(request, status, response, size);
}

void api_respond_problem(struct api_request *request, int status, const char *type,
                         const char *title, const char *detail, const char *field)
{
    struct tpc_buf body = {0};
    problem(&body, status, type, title, detail, field);
    api_respond(request, status, API_PROBLEM_CONTENT_TYPE, &body);
}

void api_respond_refusal(struct api_request *request, const struct api_refusal *refusal)
{
    struct tpc_buf body = {0};
    int status = 500;
    api_problem_refusal(&body, refusal, &status);
    api_respond(request, status, API_PROBLEM_CONTENT_TYPE, &body);
}

enum MHD_Result api_server_refuse(struct api_request *request, int status, const char *type,
                                  const char *title, const char *detail)
{
    struct tpc_buf body = {0};
    enum MHD_Result result = MHD_NO;
    size_t size;

    problem(&body, status, type, title, detail, NULL);
    struct MHD_Response *response = response_of(&body, &size);
    if (response != NULL) {
        api_server_add_headers(request, response, status, API_PROBLEM_CONTENT_TYPE);
        result = MHD_queue_response(request->mhd, (unsigned)status, response);
        MHD_destroy_response(response);
    }
    /* MHD closes after an answer that was given before the body. */
    request->conn->linger = true;
    return result;
}

void api_server_refuse_raw(struct server_conn *conn, int status, const char *type,
                           const char *title, const char *detail)
{
    struct tpc_buf body = {0}, all = {0};

    problem(&body, status, type, title, detail, NULL);
    tpc_buf_addf(&all,
                 "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: %s\r\n"
                 "Cache-Control: no-store\r\n%sContent-Length: %zu\r\n\r\n",
                 status, title, API_PROBLEM_CONTENT_TYPE,
                 status == 503 ? "Retry-After: " RETRY_AFTER_S "\r\n" : "", body.size);
    if (body.data != NULL) {
        tpc_buf_add(&all, body.data, body.size);
    }
    if (!body.failed && !all.failed) {
        /* It fits the socket's buffer, for nothing else was sent since the last answer. */
        (void)send(conn->fd, all.data, all.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        conn->linger = true;
    }
    tpc_buf_done(&body);
    tpc_buf_done(&all);
}
