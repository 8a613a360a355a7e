/* For tests: a server in a thread of its own, and sockets that speak to it byte by byte. */
#ifndef ASSENT_TESTS_UNIT_API_SERVED_H
#define ASSENT_TESTS_UNIT_API_SERVED_H

#include "api/router.h"
#include "api/server.h"

#include <pthread.h>
#include <uv.h>

enum { SERVED_HELD_MAX = 64, PROBE_MAX = 256 * 1024 };

struct served {
    struct api_server_options options; /* what is 0 gets the default */
    uv_loop_t loop;
    uv_async_t quit, release; /* send: as served_stop begins; as POST /release */
    pthread_t thread;
    struct api_server *server;
    char url[80];
    int port;
    /* The server's thread only. */
    struct api_request *held[SERVED_HELD_MAX];
    size_t held_count;
    struct api_stream *stream;
};

/* Routes: GET /hello; POST /echo; GET /hold (unanswered until POST /release); GET /stream, POST
 * /stream/write, POST /stream/end; GET /query; GET /items/{a}/parts/{b}; GET /stats; GET /big/{n}
 * (n bytes); POST /drain. */
void served_start(struct served *served);
/* Ends the server, with what is pending, and its thread. */
void served_stop(struct served *served);

struct answer {
    int status;
    bool chunked;
    size_t head_size, body_size; /* head with its empty line */
    char *head, *body;           /* NUL-terminated; chunks put together */
    char data[PROBE_MAX];
};

int probe_connect(const struct served *served);
void probe_send(int fd, const char *text);
/* One whole answer, or status 0 when the connection ended or 5 s went by before its end. @method
 * "HEAD": has no body. */
void probe_read(int fd, const char *method, struct answer *answer);
/* Read until @text was seen. */
bool probe_expect(int fd, const char *text);
/* True when the server closes within 5 s. */
bool probe_closed(int fd);
/* Send @request on a new connection and read the answer. */
void probe(const struct served *served, const char *request, struct answer *answer);
/* The same for a GET of @path, or a POST with @body. */
void probe_get(const struct served *served, const char *path, struct answer *answer);
void probe_post(const struct served *served, const char *path, const char *body,
                struct answer *answer);
/* A number in GET /stats, -1 when that was refused. */
long probe_stat(const struct served *served, const char *name);
/* Ask until it is @wanted, 5 s at most. */
bool probe_stat_becomes(const struct served *served, const char *name, long wanted);
const char *answer_header(const struct answer *answer, const char *name, char *out, size_t size);

#endif
