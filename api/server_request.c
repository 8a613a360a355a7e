/* From a request line to a whole request in the handler's hands. */
#include "api/server_internal.h"
#include "base/tpc_assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    SPARES_MAX = 256,
    SPARE_BODY_MAX = 64 * 1024, /* larger bodies are not kept for the next request */
    BODY_FIRST = 16 * 1024,     /* reserved on a client's word alone */
};

/* ---- Storage: requests are reused, with the buffers they have grown ---- */

static struct api_request *request_new(struct api_server *server)
{
    struct api_request *request = server->spares;
    if (request == NULL) {
        return calloc(1, sizeof(*request));
    }
    LL_DELETE(server->spares, request);
    server->spare_count--;
    return request;
}

static void request_free(struct api_request *request)
{
    tpc_buf_done(&request->target);
    tpc_buf_done(&request->body);
    tpc_buf_done(&request->headers);
    free(request);
}

static void request_recycle(struct api_server *server, struct api_request *request)
{
    if (server->spare_count >= SPARES_MAX || request->body.capacity > SPARE_BODY_MAX) {
        request_free(request);
        return;
    }
    struct tpc_buf target = request->target, body = request->body, headers = request->headers;
    tpc_buf_clear(&target);
    tpc_buf_clear(&body);
    tpc_buf_clear(&headers);
    *request = (struct api_request){.target = target, .body = body, .headers = headers};
    LL_PREPEND(server->spares, request);
    server->spare_count++;
}

void api_server_spares_free(struct api_server *server)
{
    struct api_request *request, *next;
    LL_FOREACH_SAFE(server->spares, request, next)
    {
        request_free(request);
    }
    server->spares = NULL;
}

/* ---- Headers ---- */

struct framing {
    unsigned hosts, lengths, encodings;
    bool chunked, bad_line;
    uint64_t length;
};

/* RFC 9110, section 5.6.2. What is no token, such as a name with a blank before its colon, others
 * may read another way than MHD does: that is how requests are smuggled. */
static bool is_token(const char *name, size_t size)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)name[i];
        bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        bool digit = c >= '0' && c <= '9';
        if (!letter && !digit && (c == '\0' || strchr(marks, c) == NULL)) {
            return false;
        }
    }
    return size > 0;
}

static bool name_is(const char *name, size_t size, const char *wanted, size_t wanted_size)
{
    return size == wanted_size && strncasecmp(name, wanted, size) == 0;
}

static enum MHD_Result look_at_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                      size_t name_size, const char *value, size_t value_size)
{
    struct framing *framing = cls;
    (void)kind;
    framing->bad_line |=
        !is_token(name, name_size) || (value_size > 0 && memchr(value, '\0', value_size) != NULL);
    if (name_is(name, name_size, "host", 4)) {
        framing->hosts++;
    } else if (name_is(name, name_size, "content-length", 14)) {
        framing->lengths++;
        /* MHD has refused what is no number. */
        framing->length = strtoull(value, NULL, 10);
    } else if (name_is(name, name_size, "transfer-encoding", 17)) {
        framing->encodings++;
        framing->chunked = name_is(value, value_size, "chunked", 7);
    }
    return MHD_YES;
}

static const char *framing_fault(const struct framing *framing, const char *version)
{
    bool old = strcmp(version, "HTTP/1.0") == 0;

    if (framing->bad_line) {
        return "a header line must be \"Name: value\", the name a token and the value without NUL";
    }
    if (framing->hosts > 1 || (framing->hosts == 0 && !old)) {
        return "a request must have exactly one Host header";
    }
    if (framing->encodings > 0 && framing->lengths > 0) {
        /* Two readers may disagree where such a request ends: that is how requests are smuggled. */
        return "Content-Length and Transfer-Encoding exclude each other; send one of them";
    }
    if (framing->encodings > 1 || (framing->encodings == 1 && !framing->chunked)) {
        return "the only Transfer-Encoding understood is: chunked";
    }
    if (framing->encodings == 1 && old) {
        return "HTTP/1.0 has no Transfer-Encoding; send Content-Length";
    }
    if (framing->lengths > 1) {
        return "Content-Length is given more than once";
    }
    return NULL;
}

void api_server_describe_limit(char *out, size_t size, const struct api_server *server)
{
    snprintf(out, size, "the body is over the limit of %zu bytes; send less, or raise the limit",
             server->options.body_max);
}

/* The headers are here: the only time at which MHD takes an answer before the body is read. */
static enum MHD_Result request_begin(struct api_request *request, const char *version)
{
    struct api_server *server = request->server;
    struct framing framing = {0};
    const char *fault;

    if (server->draining) {
        return api_server_refuse(request, 503, "draining", "Shutting down",
                                 "this daemon is shutting down; try again when it is back");
    }
    if (request->conn->over) {
        server->stats.refused++;
        return api_server_refuse(request, 503, "overloaded", "Too many connections",
                                 "the limit of connections is reached; try again later, or raise "
                                 "the limit");
    }
    MHD_get_connection_values_n(request->mhd, MHD_HEADER_KIND, look_at_header, &framing);
    fault = framing_fault(&framing, version);
    if (fault == NULL) {
        fault = api_server_target_split(request);
    }
    if (fault != NULL) {
        return api_server_refuse(request, 400, "malformed", "Malformed request", fault);
    }
    if (framing.length > server->options.body_max) {
        char detail[128];
        api_server_describe_limit(detail, sizeof(detail), server);
        return api_server_refuse(request, 413, "too-large", "Body too large", detail);
    }
    size_t first = framing.length < BODY_FIRST ? (size_t)framing.length : BODY_FIRST;
    return tpc_buf_reserve(&request->body, first) != NULL ? MHD_YES : MHD_NO;
}

static enum MHD_Result request_gather(struct api_request *request, const char *data, size_t *size)
{
    const struct api_server *server = request->server;

    if (*size > server->options.body_max - request->body.size) {
        char detail[128];
        api_server_describe_limit(detail, sizeof(detail), server);
        api_server_refuse_raw(request->conn, 413, "too-large", "Body too large", detail);
        return MHD_NO;
    }
    tpc_buf_add(&request->body, data, *size);
    if (request->body.failed) {
        api_server_refuse_raw(request->conn, 503, "out-of-memory", "Out of memory",
                              "there is no memory for the body; try again later");
        return MHD_NO;
    }
    *size = 0;
    return MHD_YES;
}

static enum MHD_Result request_whole(struct api_request *request)
{
    struct api_server *server = request->server;

    server->stats.requests++;
    if (server->stopping || tpc_fp_hit(server->options.receive)) {
        return MHD_NO;
    }
    request->conn->deadline_ms = SERVER_NO_DEADLINE;
    request->state = REQUEST_HANDLING;
    DL_APPEND(server->unanswered, request);
    server->unanswered_count++;
    server->options.handler(server->options.arg, request);
    if (request->broken) {
        return MHD_NO;
    }
    if (request->state == REQUEST_HANDLING) {
        request->state = REQUEST_SUSPENDED;
        MHD_suspend_connection(request->mhd);
    }
    return MHD_YES;
}

/* ---- Callbacks ---- */

void *api_server_on_uri(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    struct api_server *server = cls;
    struct server_conn *conn = api_server_conn_of(mhd);
    struct api_request *request = conn == NULL ? NULL : request_new(server);

    if (request == NULL) {
        return NULL;
    }
    request->server = server;
    request->conn = conn;
    request->mhd = mhd;
    tpc_buf_adds(&request->target, uri);
    conn->request = request;
    conn->deadline_ms = api_server_now_ms(server) + server->options.header_timeout_ms;
    return request;
}

enum MHD_Result api_server_on_access(void *cls, struct MHD_Connection *mhd, const char *url,
                                     const char *method, const char *version, const char *data,
                                     size_t *size, void **context)
{
    struct api_request *request = *context;
    (void)cls, (void)mhd, (void)url;

    if (request == NULL || request->broken || request->target.failed) {
        return MHD_NO;
    }
    if (!request->begun) {
        request->begun = true;
        request->method = method;
        return request_begin(request, version);
    }
    if (*size > 0) {
        return request_gather(request, data, size);
    }
    return request_whole(request);
}

void api_server_on_completed(void *cls, struct MHD_Connection *mhd, void **context,
                             enum MHD_RequestTerminationCode code)
{
    struct api_server *server = cls;
    struct api_request *request = *context;
    (void)mhd, (void)code;

    if (request == NULL) {
        return;
    }
    *context = NULL;
    /* MHD never ends a suspended request: the handler's pointer stays good until it answers. */
    TPC_ASSERT(request->state == REQUEST_READING || request->state == REQUEST_ANSWERED);
    if (request->state == REQUEST_ANSWERED) {
        server->unfinished--;
    }
    api_server_conn_idle(server, request->conn, server->options.idle_timeout_ms);
    request_recycle(server, request);
}

void api_server_conn_forget(struct api_server *server, struct server_conn *conn)
{
    if (conn->request != NULL) {
        request_recycle(server, conn->request);
        conn->request = NULL;
    }
}

/* ---- What the handler sees ---- */

const char *api_request_method(const struct api_request *request)
{
    return request->method;
}

const char *api_request_header(const struct api_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, name);
}

const char *api_request_body(const struct api_request *request, size_t *ret_size)
{
    *ret_size = request->body.size;
    return request->body.data;
}

void api_request_set_user(struct api_request *request, void *user)
{
    request->user = user;
}

void *api_request_user(const struct api_request *request)
{
    return request->user;
}
