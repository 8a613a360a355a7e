/* What the server's files share. MHD is GNU libmicrohttpd.
 *
 * The life of a request: on_uri (request line is here) -> on_access, first call (headers are here;
 * refused early or gathered) -> further calls (body) -> last call (whole: the handler runs). What
 * the handler did not answer is suspended, and resumed by api_respond or api_stream_begin. All on
 * the loop thread. */
#ifndef ASSENT_API_SERVER_INTERNAL_H
#define ASSENT_API_SERVER_INTERNAL_H

#include "api/server.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <uv.h>

#define SERVER_NO_DEADLINE UINT64_MAX

struct server_conn {
    struct server_conn *prev, *next;
    struct MHD_Connection *mhd;
    int fd;
    bool over;        /* came when all places were taken: refused at its first request */
    bool linger;      /* answered before it was read to its end: close it gently */
    bool cut;         /* shut down; MHD will notice */
    bool end_checked; /* since it became idle */
    bool refused;     /* past MHD */
    uint64_t idle_since_ms, deadline_ms;
    struct api_request *request; /* the one under way */
};

enum request_state {
    REQUEST_READING,
    REQUEST_HANDLING,  /* the handler is running */
    REQUEST_SUSPENDED, /* the handler left it unanswered */
    REQUEST_ANSWERED,
};

struct api_request {
    struct api_request *prev, *next; /* among the unanswered, or (next) the spare ones */
    struct api_server *server;
    struct server_conn *conn;
    struct MHD_Connection *mhd;
    const char *method;
    enum request_state state;
    bool begun;            /* the headers were looked at */
    bool broken;           /* to be closed without an answer */
    struct tpc_buf target; /* path, then the query's names and values, each ended by a NUL */
    size_t query_offset, query_count;
    struct tpc_buf body;
    struct tpc_buf headers; /* of the answer: name NUL value NUL ... */
    void *user;
};

struct api_stream {
    struct api_stream *prev, *next;
    struct api_server *server;
    struct api_request *request; /* until the head is sent */
    int status;
    const char *content_type;
    struct server_conn *conn; /* NULL: no head was sent, or the client is gone */
    struct tpc_buf pending;
    size_t sent;    /* of pending */
    bool suspended; /* waits for something to send */
    bool ended;     /* given up by its writer */
    bool broken;    /* to be cut off without an end */
};

struct api_server {
    struct api_server_options options;
    char url[80];
    struct MHD_Daemon *daemon;
    uv_poll_t poll; /* of the daemon's epoll set */
    uv_timer_t tick;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;                 /* keeps the loop from waiting while dirty */
    int handles;                    /* still open */
    bool dirty;                     /* MHD_run is due */
    uint64_t ran_ms, ran_before_ms; /* when MHD_run began, the last time and the one before */
    bool draining, stopping;
    struct server_conn *conns;
    struct api_request *unanswered;
    struct api_stream *begun;   /* those whose heads wait for the first piece */
    struct api_stream *streams; /* those whose heads are sent */
    struct api_request *spares;
    size_t spare_count, unanswered_count;
    size_t unfinished; /* answers that are not wholly sent */
    size_t cut_count;  /* of conns */
    struct server_linger *lingering;
    size_t linger_count;
    struct api_server_stats stats;
};

/* server_listen.c */
struct server_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t size;
};
TPC_NODISCARD enum tpc_rc api_server_address_parse(const char *text,
                                                   struct server_address *ret_address,
                                                   struct tpc_err *reterr);
/* A listening socket, and in @url what it is bound to. */
TPC_NODISCARD enum tpc_rc api_server_listen(const char *text, char *url, size_t url_size,
                                            int *ret_fd, struct tpc_err *reterr);

/* server.c: MHD_run is due before the loop may wait again. */
void api_server_kick(struct api_server *server);
uint64_t api_server_now_ms(const struct api_server *server);

uint64_t api_server_clock_ms(void); /* not the loop's, which stands still in a turn */

/* server_conn.c */
void api_server_conn_notify(void *cls, struct MHD_Connection *mhd, void **context,
                            enum MHD_ConnectionNotificationCode code);
struct server_conn *api_server_conn_of(struct MHD_Connection *mhd);
/* @conn has no request: it must bring one, or is cut after @patience_ms. */
void api_server_conn_idle(struct api_server *server, struct server_conn *conn,
                          uint64_t patience_ms);
void api_server_conns_cut_late(struct api_server *server);
/* server_linger.c: read what a refused client still sends for a while, so that closing does not
 * reset the connection before the client has read its answer. Takes over a copy of @fd. */
void api_server_linger(struct api_server *server, int fd);
void api_server_linger_stop(struct api_server *server);

/* server_request.c: the callbacks of MHD. */
void *api_server_on_uri(void *cls, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result api_server_on_access(void *cls, struct MHD_Connection *mhd, const char *url,
                                     const char *method, const char *version, const char *data,
                                     size_t *size, void **context);
void api_server_on_completed(void *cls, struct MHD_Connection *mhd, void **context,
                             enum MHD_RequestTerminationCode code);
/* @conn is at its end. MHD does not complete every request that it refused by itself. */
void api_server_conn_forget(struct api_server *server, struct server_conn *conn);
void api_server_spares_free(struct api_server *server);
void api_server_describe_limit(char *out, size_t size, const struct api_server *server);

/* server_fault.c: the callback of MHD's log. */
void api_server_on_log(void *cls, const char *format, va_list args);

/* server_target.c: split @request->target into path and query, decoding the query. The reason why
 * not, or NULL. */
const char *api_server_target_split(struct api_request *request);

/* server_respond.c */
/* Refuse a request of which the headers are here but not the body. */
enum MHD_Result api_server_refuse(struct api_request *request, int status, const char *type,
                                  const char *title, const char *detail);
/* The same past MHD, which takes no answer in the middle of a request; the connection must be
 * closed after it. */
void api_server_refuse_raw(struct server_conn *conn, int status, const char *type,
                           const char *title, const char *detail);
void api_server_add_headers(struct api_request *request, struct MHD_Response *response, int status,
                            const char *content_type);
/* Queue @take_response (NULL: there was no memory) with a body of @size bytes and give the request
 * up. */
void api_server_answer(struct api_request *request, int status, struct MHD_Response *take_response,
                       size_t size);

/* server_stream.c */
/* Send the heads of the streams that have something to send, or of @all. */
void api_server_streams_begin(struct api_server *server, bool all);
/* Cut all streams off. */
void api_server_streams_break(struct api_server *server);

#endif
