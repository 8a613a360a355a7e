/* In place of api/server.h: requests as they arrived, and the answers handed to
 * the network. */
#include "tests/sim/sim.h"

#include "api/problem.h"
#include "api/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utlist.h>

enum { PAIRS_MAX = 4 };

/* Headers, or parameters of the query. */
struct pairs {
    size_t count;
    struct {
        const char *name, *value;
    } items[PAIRS_MAX];
};

struct api_server {
    struct api_server_options options;
    struct sim_node *node;
    char url[64];
    bool draining;
    struct api_request *unanswered;
    size_t pending;
    struct api_stream *streams;
    struct api_server_stats stats;
};

struct api_request {
    struct api_server *server;
    uint64_t exchange;
    char *method, *path, *query, *headers, *body;
    size_t body_size;
    struct pairs header, param;
    void *user;
    struct api_request *prev, *next;
};

struct api_stream {
    struct api_server *server;
    uint64_t exchange;
    struct api_stream *prev, *next;
};

/* ---- The server ---- */

enum tpc_rc api_server_start(const struct api_server_options *options,
                             struct api_server **ret_server, struct tpc_err *reterr)
{
    struct api_server *server = tpc_must_alloc(sizeof *server);
    (void)reterr;
    server->options = *options;
    server->node = sim.current;
    (void)snprintf(server->url, sizeof server->url, "http://%s", options->listen);
    sim.current->server = server;
    *ret_server = server;
    return TPC_OK;
}

const char *api_server_url(const struct api_server *server)
{
    return server->url;
}

void api_server_drain(struct api_server *server)
{
    server->draining = true;
}

size_t api_server_pending(const struct api_server *server)
{
    return server->pending;
}

void api_server_stop(struct api_server *server)
{
    while (server->unanswered != NULL) {
        api_respond_problem(server->unanswered, 503, "draining", "Stopping",
                            "the server stops; what became of the request is not known", NULL);
    }
    while (server->streams != NULL) {
        struct api_stream *stream = server->streams;
        DL_DELETE(server->streams, stream);
        free(stream); /* sim_net_cut breaks its connection */
    }
    server->node->server = NULL;
    free(server);
}

void api_server_get_stats(const struct api_server *server, struct api_server_stats *out)
{
    *out = server->stats;
}

/* ---- The request ---- */

/* "Name: value", a line each, or "name=value&…": cut up in place. */
static void split(char *text, const char *between, char within, struct pairs *out)
{
    char *item;
    while ((item = strsep(&text, between)) != NULL && out->count < PAIRS_MAX) {
        char *value = strchr(item, within);
        if (value != NULL) {
            *value++ = '\0';
            value += strspn(value, " ");
        }
        if (*item != '\0') {
            out->items[out->count].name = item;
            out->items[out->count++].value = value != NULL ? value : "";
        }
    }
}

static void request_free(struct api_request *request)
{
    free(request->method);
    free(request->path);
    free(request->query);
    free(request->headers);
    free(request->body);
    free(request);
}

void sim_server_arrive(struct sim_node *node, const struct sim_request *from)
{
    struct api_server *server = node->server;
    struct api_request *request = tpc_must_alloc(sizeof *request);
    const char *query = strchr(from->target, '?');
    request->server = server;
    request->exchange = from->exchange;
    request->method = tpc_must_strdup(from->method);
    request->path = strndup(from->target,
                            query != NULL ? (size_t)(query - from->target) : strlen(from->target));
    request->query = tpc_must_strdup(query != NULL ? query + 1 : "");
    request->headers = tpc_must_strdup(from->headers);
    request->body = tpc_must_malloc(from->body_size + 1);
    memcpy(request->body, from->body, from->body_size + 1);
    request->body_size = from->body_size;
    split(request->headers, "\n", ':', &request->header);
    split(request->query, "&", '=', &request->param);
    server->stats.requests++;
    DL_APPEND(server->unanswered, request);
    server->pending++;
    if (server->draining) {
        api_respond_problem(request, 503, "draining", "Draining",
                            "the server is draining; nothing was started", NULL);
    } else {
        server->options.handler(server->options.arg, request);
    }
}

const char *api_request_method(const struct api_request *request)
{
    return request->method;
}

const char *api_request_path(const struct api_request *request)
{
    return request->path;
}

const char *api_request_header(const struct api_request *request, const char *name)
{
    for (size_t i = 0; i < request->header.count; i++) {
        if (strcasecmp(request->header.items[i].name, name) == 0) {
            return request->header.items[i].value;
        }
    }
    return NULL;
}

const char *api_request_query(const struct api_request *request, const char *name)
{
    for (size_t i = 0; i < request->param.count; i++) {
        if (strcmp(request->param.items[i].name, name) == 0) {
            return request->param.items[i].value;
        }
    }
    return NULL;
}

void api_request_each_query(const struct api_request *request,
                            void (*visit)(void *arg, const char *name, const char *value),
                            void *arg)
{
    for (size_t i = 0; i < request->param.count; i++) {
        visit(arg, request->param.items[i].name, request->param.items[i].value);
    }
}

const char *api_request_body(const struct api_request *request, size_t *ret_size)
{
    *ret_size = request->body_size;
    return request->body;
}

void api_request_set_user(struct api_request *request, void *user)
{
    request->user = user;
}

void *api_request_user(const struct api_request *request)
{
    return request->user;
}

/* ---- Answers ---- */

void api_request_add_header(struct api_request *request, const char *name, const char *value)
{
    (void)request, (void)name, (void)value; /* no daemon and no client here looks at them */
}

static struct api_server *answered(struct api_request *request)
{
    struct api_server *server = request->server;
    DL_DELETE(server->unanswered, request);
    server->pending--;
    return server;
}

void api_respond(struct api_request *request, int status, const char *content_type,
                 struct tpc_buf *body)
{
    struct tpc_buf none = {0};
    (void)content_type;
    body = body != NULL ? body : &none;
    sim_crash_point(SIM_CRASH_INSIDE);
    struct sim_node *node = answered(request)->node;
    if (node->coordinator && status == 200 && strcmp(request->path, "/v1/decisions") == 0) {
        sim_check_decisions(node, body->data, body->size);
    }
    sim_net_answer(node, request->exchange, status, body->data, body->size, true);
    tpc_buf_done(body);
    request_free(request);
    sim_crash_point(SIM_CRASH_INSIDE);
}

void api_respond_problem(struct api_request *request, int status, const char *type,
                         const char *title, const char *detail, const char *field)
{
    struct tpc_buf body = {0};
    api_problem_begin(&body, type, title, status, detail, field);
    api_jw_close(&body, '}');
    api_respond(request, status, API_PROBLEM_CONTENT_TYPE, &body);
}

void api_respond_refusal(struct api_request *request, const struct api_refusal *refusal)
{
    struct tpc_buf body = {0};
    int status = 500;
    api_problem_refusal(&body, refusal, &status);
    api_respond(request, status, API_PROBLEM_CONTENT_TYPE, &body);
}

struct api_stream *api_stream_begin(struct api_request *request, int status,
                                    const char *content_type)
{
    struct api_stream *stream = tpc_must_alloc(sizeof *stream);
    (void)content_type;
    stream->server = answered(request);
    stream->exchange = request->exchange;
    DL_APPEND(stream->server->streams, stream);
    sim_net_answer(stream->server->node, stream->exchange, status, NULL, 0, false);
    request_free(request);
    return stream;
}

void api_stream_write(struct api_stream *stream, const void *data, size_t size)
{
    struct sim_node *node = stream->server->node;
    sim_crash_point(SIM_CRASH_INSIDE);
    sim_check_line(node, data, size);
    sim_net_answer(node, stream->exchange, 0, data, size, false);
    sim_crash_point(SIM_CRASH_INSIDE);
}

void api_stream_end(struct api_stream *stream)
{
    DL_DELETE(stream->server->streams, stream);
    sim_net_answer(stream->server->node, stream->exchange, 0, NULL, 0, true);
    free(stream);
}
