/* HTTP server on the loop thread (libmicrohttpd, external epoll, nested in the loop).
 *
 * A handler gets a whole request and answers it now or later, with one body or as a stream of
 * lines. Everything here is called on the loop thread only. */
#ifndef ASSENT_API_SERVER_H
#define ASSENT_API_SERVER_H

#include "base/buf.h"
#include "base/failpoint.h"

struct uv_loop_s;
struct api_server;
struct api_request;

struct api_server_options {
    struct uv_loop_s *loop;
    const char *listen;     /* "127.0.0.1:7400", "[::1]:0"; port 0: any free one */
    size_t connections_max; /* default 1000; beyond: refused with 503 where possible */
    size_t body_max;        /* default 4 MiB; beyond: 413 in the first callback */
    size_t stream_max;      /* unsent bytes of a stream, default 64 MiB; beyond: it is cut off */
    uint32_t header_timeout_ms; /* a request must be whole within this, default 10 s (a dripped one
                                   is cut) */
    uint32_t idle_timeout_ms;   /* kept-alive connections, default 75 s */
    /* Called with every whole request. Answers now, with api_respond or api_stream_begin, or
     * later; until then the request is @handler's. */
    void (*handler)(void *arg, struct api_request *request);
    void *arg;
    struct tpc_failpoint *receive; /* a request is here; error: the connection is broken */
    struct tpc_failpoint *send; /* an answer is about to leave; error: the connection is broken */
};

/* TPC_EBUSY when the address is taken, TPC_EINVAL when it is none; the text says what to do. Raises
 * the process's soft limit of descriptors, as far as it may, to what the connections need. */
/* Are these addresses to listen on, as far as can be told without trying? @admin_listen may be
 * NULL. */
TPC_NODISCARD enum tpc_rc api_listen_check(const char *listen, const char *admin_listen,
                                           struct tpc_err *reterr);
TPC_NODISCARD enum tpc_rc api_server_start(const struct api_server_options *options,
                                           struct api_server **ret_server, struct tpc_err *reterr);
/* The bound address, "http://127.0.0.1:7400". */
const char *api_server_url(const struct api_server *server);
/* Take no new connections and requests (503 with Retry-After on kept ones), go on with what is
 * under way. */
void api_server_drain(struct api_server *server);
/* Requests that are not answered yet. */
size_t api_server_pending(const struct api_server *server);
/* Answers what is unanswered with 503, cuts off streams that have not ended, then stops. Requests
 * and streams are gone afterwards, @server too. Its memory goes when the loop has closed its
 * handles: run it once more. Not from inside a handler. */
void api_server_stop(struct api_server *server);

struct api_server_stats {
    uint64_t requests, connections_total, refused;
    uint64_t connections; /* now */
};
void api_server_get_stats(const struct api_server *server, struct api_server_stats *out);

/* ---- The request; valid until it is answered ---- */
const char *api_request_method(const struct api_request *request);
/* As sent, without scheme, authority and query. Starts with '/'; its percent-escapes are
 * well-formed and none stands for NUL. api_route decodes it segment by segment. */
const char *api_request_path(const struct api_request *request);
const char *api_request_header(const struct api_request *request, const char *name); /* or NULL */
/* Decoded; "" when it has no value, NULL when it is absent; the first of several. */
const char *api_request_query(const struct api_request *request, const char *name);
/* Calls @visit for every query parameter, to find unknown ones. */
void api_request_each_query(const struct api_request *request,
                            void (*visit)(void *arg, const char *name, const char *value),
                            void *arg);
/* NUL-terminated too. */
const char *api_request_body(const struct api_request *request, size_t *ret_size);
/* The caller's own pointer, e.g. the transaction it waits for. */
void api_request_set_user(struct api_request *request, void *user);
void *api_request_user(const struct api_request *request);

/* ---- Answers ---- */
/* Every answer has Content-Type, Cache-Control: no-store and, with status 503, Retry-After. A
 * client that went away while it waited makes no difference: answer it all the same. */

/* Add a header to the answer; before responding. Values are copied. */
void api_request_add_header(struct api_request *request, const char *name, const char *value);
/* Answer and give the request up. Takes the contents of @body (reset to empty; may be NULL). When
 * body->failed, a 503 problem is sent instead to GET and HEAD, to others nothing: it closes.
 * @content_type NULL: application/json. */
void api_respond(struct api_request *request, int status, const char *content_type,
                 struct tpc_buf *body);

/* Answer with a problem document (api/problem.h); @field may be NULL. */
void api_respond_problem(struct api_request *request, int status, const char *type,
                         const char *title, const char *detail, const char *field);
struct api_refusal;
void api_respond_refusal(struct api_request *request, const struct api_refusal *refusal);

struct api_stream;
/* Begin an answer in pieces and give the request up. Its head leaves with the first piece; what is
 * whole by then is not chunked. Never NULL; end it in any case. @content_type must outlive it. */
struct api_stream *api_stream_begin(struct api_request *request, int status,
                                    const char *content_type);
/* Queue bytes; they leave as soon as the loop turns. When the client is gone they are dropped. */
void api_stream_write(struct api_stream *stream, const void *data, size_t size);
void api_stream_end(struct api_stream *stream); /* the stream is given up */

#endif
