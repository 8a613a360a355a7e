#include "tests/unit/api/served.h"

#include "api/json.h"
#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 5000 };

/* ---- The server ---- */

static void handle_hello(void *arg, struct api_request *request, const char *const args[])
{
    struct tpc_buf body = {0};
    (void)arg, (void)args;
    tpc_buf_adds(&body, "{\"hello\":true}");
    api_respond(request, 200, "application/json", &body);
}

static void handle_echo(void *arg, struct api_request *request, const char *const args[])
{
    struct tpc_buf body = {0};
    size_t size;
    const char *data = api_request_body(request, &size);
    (void)arg, (void)args;
    tpc_buf_add(&body, data, size);
    api_respond(request, 200, "text/plain", &body);
}

static void handle_hold(void *arg, struct api_request *request, const char *const args[])
{
    struct served *served = arg;
    (void)args;
    assert_true(served->held_count < SERVED_HELD_MAX);
    api_request_set_user(request, served);
    served->held[served->held_count++] = request;
}

static void release_held(struct served *served)
{
    for (size_t i = 0; i < served->held_count; i++) {
        struct tpc_buf body = {0};
        assert_ptr_equal(api_request_user(served->held[i]), served);
        tpc_buf_addf(&body, "released %s", api_request_path(served->held[i]));
        api_respond(served->held[i], 200, "text/plain", &body);
    }
    served->held_count = 0;
}

static void handle_release(void *arg, struct api_request *request, const char *const args[])
{
    (void)args;
    release_held(arg);
    api_respond(request, 204, "text/plain", NULL);
}

static void handle_stream(void *arg, struct api_request *request, const char *const args[])
{
    struct served *served = arg;
    (void)args;
    served->stream = api_stream_begin(request, 200, "application/x-ndjson");
    api_stream_write(served->stream, "begun\n", 6);
}

static void handle_held_stream(void *arg, struct api_request *request, const char *const args[])
{
    struct served *served = arg;
    (void)args;
    served->stream = api_stream_begin(request, 200, "application/x-ndjson");
}

static void handle_stream_write(void *arg, struct api_request *request, const char *const args[])
{
    struct served *served = arg;
    size_t size;
    const char *data = api_request_body(request, &size);
    (void)args;
    api_stream_write(served->stream, data, size);
    api_respond(request, 204, "text/plain", NULL);
}

static void handle_stream_end(void *arg, struct api_request *request, const char *const args[])
{
    struct served *served = arg;
    (void)args;
    api_stream_end(served->stream);
    served->stream = NULL;
    api_respond(request, 204, "text/plain", NULL);
}

/* Its last pieces in one turn of the loop. */
static void handle_stream_finish(void *arg, struct api_request *request, const char *const args[])
{
    struct served *served = arg;
    (void)args;
    api_stream_write(served->stream, "one\n", 4);
    api_stream_write(served->stream, "two\n", 4);
    api_stream_end(served->stream);
    served->stream = NULL;
    api_respond(request, 204, "text/plain", NULL);
}

static void add_pair(void *arg, const char *name, const char *value)
{
    tpc_buf_addf(arg, "[%s=%s]", name, value);
}

static void handle_query(void *arg, struct api_request *request, const char *const args[])
{
    struct tpc_buf body = {0};
    const char *limit = api_request_query(request, "limit");
    (void)arg, (void)args;
    tpc_buf_addf(&body, "limit=%s ", limit == NULL ? "none" : limit);
    api_request_each_query(request, add_pair, &body);
    api_respond(request, 200, "text/plain", &body);
}

static void handle_item(void *arg, struct api_request *request, const char *const args[])
{
    struct tpc_buf body = {0};
    (void)arg;
    tpc_buf_addf(&body, "%s|%s", args[0], args[1]);
    api_respond(request, 200, "text/plain", &body);
}

static void handle_big(void *arg, struct api_request *request, const char *const args[])
{
    struct tpc_buf body = {0};
    size_t size = (size_t)atol(args[0]);
    (void)arg;
    memset(tpc_buf_reserve(&body, size), 'x', size);
    tpc_buf_added(&body, size);
    api_respond(request, 200, "text/plain", &body);
}

static void handle_stats(void *arg, struct api_request *request, const char *const args[])
{
    struct served *served = arg;
    struct api_server_stats stats;
    struct tpc_buf body = {0};
    (void)args;
    api_server_get_stats(served->server, &stats);
    api_jw_open(&body, '{');
    api_jw_key(&body, "requests");
    api_jw_u64(&body, stats.requests);
    api_jw_key(&body, "refused");
    api_jw_u64(&body, stats.refused);
    api_jw_key(&body, "connections");
    api_jw_u64(&body, stats.connections);
    api_jw_key(&body, "pending");
    api_jw_u64(&body, api_server_pending(served->server));
    api_jw_close(&body, '}');
    api_respond(request, 200, "application/json", &body);
}

static void handle_drain(void *arg, struct api_request *request, const char *const args[])
{
    struct served *served = arg;
    (void)args;
    api_respond(request, 202, "text/plain", NULL);
    api_server_drain(served->server);
}

static const struct api_route routes[] = {
    {"GET", "/hello", handle_hello},
    {"POST", "/echo", handle_echo},
    {"PUT", "/echo", handle_echo},
    {"GET", "/hold", handle_hold},
    {"POST", "/release", handle_release},
    {"GET", "/stream", handle_stream},
    {"POST", "/stream", handle_stream},
    {"GET", "/stream/held", handle_held_stream},
    {"POST", "/stream/finish", handle_stream_finish},
    {"POST", "/stream/write", handle_stream_write},
    {"POST", "/stream/end", handle_stream_end},
    {"GET", "/query", handle_query},
    {"GET", "/items/{a}", handle_item},
    {"GET", "/items/{a}/parts/{b}", handle_item},
    {"GET", "/big/{size}", handle_big},
    {"GET", "/stats", handle_stats},
    {"POST", "/drain", handle_drain},
    {0},
};

static void handle(void *arg, struct api_request *request)
{
    api_route(routes, arg, request);
}

static void on_quit(uv_async_t *quit)
{
    struct served *served = quit->data;
    api_server_stop(served->server);
    uv_close((uv_handle_t *)quit, NULL);
    uv_close((uv_handle_t *)&served->release, NULL);
}

static void on_release(uv_async_t *release)
{
    release_held(release->data);
}

static void *run(void *arg)
{
    struct served *served = arg;
    uv_run(&served->loop, UV_RUN_DEFAULT);
    return NULL;
}

void served_start(struct served *served)
{
    struct tpc_err err = {0};
    assert_int_equal(uv_loop_init(&served->loop), 0);
    assert_int_equal(uv_async_init(&served->loop, &served->quit, on_quit), 0);
    assert_int_equal(uv_async_init(&served->loop, &served->release, on_release), 0);
    served->quit.data = served->release.data = served;
    served->options.loop = &served->loop;
    served->options.handler = handle;
    served->options.arg = served;
    if (served->options.listen == NULL) {
        served->options.listen = "127.0.0.1:0";
    }
    if (api_server_start(&served->options, &served->server, &err) != TPC_OK) {
        fail_msg("%s", err.text);
    }
    snprintf(served->url, sizeof(served->url), "%s", api_server_url(served->server));
    served->port = atoi(strrchr(served->url, ':') + 1);
    assert_int_equal(pthread_create(&served->thread, NULL, run, served), 0);
}

void served_stop(struct served *served)
{
    uv_async_send(&served->quit);
    pthread_join(served->thread, NULL);
    assert_int_equal(uv_loop_close(&served->loop), 0);
}

/* ---- Sockets ---- */

int probe_connect(const struct served *served)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)served->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

void probe_send(int fd, const char *text)
{
    size_t size = strlen(text);
    while (size > 0) {
        ssize_t sent = send(fd, text, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return; /* the answer, or its absence, tells */
        }
        text += sent;
        size -= (size_t)sent;
    }
}

static bool read_more(int fd, struct answer *answer, size_t *size)
{
    assert_true(*size < PROBE_MAX - 1);
    ssize_t got = recv(fd, answer->data + *size, PROBE_MAX - 1 - *size, 0);
    if (got <= 0) {
        return false;
    }
    *size += (size_t)got;
    answer->data[*size] = '\0';
    return true;
}

/* Put the chunks from answer->body together in place; false when the last is not there yet. */
static bool join_chunks(struct answer *answer, size_t end)
{
    char *from = answer->body, *stop = answer->data + end;
    size_t total = 0;

    for (;;) { /* first only look, for joining is done once */
        char *line_end = memmem(from, (size_t)(stop - from), "\r\n", 2);
        if (line_end == NULL) {
            return false;
        }
        size_t size = strtoul(from, NULL, 16);
        if ((size_t)(stop - line_end) < size + 4) {
            return false;
        }
        if (size == 0) {
            break;
        }
        from = line_end + 2 + size + 2;
    }
    for (from = answer->body;;) {
        char *data = strstr(from, "\r\n") + 2;
        size_t size = strtoul(from, NULL, 16);
        if (size == 0) {
            break;
        }
        from = data + size + 2;
        memmove(answer->body + total, data, size);
        total += size;
    }
    answer->body[total] = '\0';
    answer->body_size = total;
    return true;
}

void probe_read(int fd, const char *method, struct answer *answer)
{
    char text[64];
    size_t size = 0;
    char *end = NULL;

    answer->status = 0;
    answer->data[0] = '\0';
    while ((end = strstr(answer->data, "\r\n\r\n")) == NULL) {
        if (!read_more(fd, answer, &size)) {
            return;
        }
    }
    answer->head = answer->data;
    answer->head_size = (size_t)(end + 4 - answer->data);
    answer->body = end + 4;
    int status = atoi(answer->data + strlen("HTTP/1.1 "));
    answer->chunked = answer_header(answer, "Transfer-Encoding", text, sizeof(text)) != NULL;
    bool bodiless = strcmp(method, "HEAD") == 0 || status == 204 || status == 100;
    if (answer->chunked && !bodiless) {
        while (!join_chunks(answer, size)) {
            if (!read_more(fd, answer, &size)) {
                return;
            }
        }
    } else {
        const char *length = answer_header(answer, "Content-Length", text, sizeof(text));
        answer->body_size = length == NULL || bodiless ? 0 : (size_t)atol(length);
        while (size < answer->head_size + answer->body_size) {
            if (!read_more(fd, answer, &size)) {
                return;
            }
        }
        /* Tests send one request at a time, so nothing may follow. */
        assert_int_equal(size, answer->head_size + answer->body_size);
    }
    answer->status = status;
}

const char *answer_header(const struct answer *answer, const char *name, char *out, size_t size)
{
    size_t length = strlen(name);
    const char *end = answer->data + answer->head_size;
    for (const char *line = strstr(answer->data, "\r\n") + 2; line < end;
         line = strstr(line, "\r\n") + 2) {
        if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
            const char *value = line + length + 1 + strspn(line + length + 1, " ");
            snprintf(out, size, "%.*s", (int)strcspn(value, "\r"), value);
            return out;
        }
    }
    return NULL;
}

bool probe_expect(int fd, const char *text)
{
    char seen[4096] = "";
    size_t size = 0;
    while (strstr(seen, text) == NULL) {
        ssize_t got = recv(fd, seen + size, sizeof(seen) - 1 - size, 0);
        if (got <= 0) {
            return false;
        }
        size += (size_t)got;
        seen[size] = '\0';
    }
    return true;
}

bool probe_closed(int fd)
{
    char sink[4096];
    ssize_t got;
    while ((got = recv(fd, sink, sizeof(sink), 0)) > 0) {
    }
    return got == 0 || errno == ECONNRESET;
}

void probe(const struct served *served, const char *request, struct answer *answer)
{
    int fd = probe_connect(served);
    probe_send(fd, request);
    probe_read(fd, strncmp(request, "HEAD ", 5) == 0 ? "HEAD" : "GET", answer);
    close(fd);
}

void probe_get(const struct served *served, const char *path, struct answer *answer)
{
    char request[1024];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    probe(served, request, answer);
}

void probe_post(const struct served *served, const char *path, const char *body,
                struct answer *answer)
{
    struct tpc_buf request = {0};
    tpc_buf_addf(&request, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", path,
                 strlen(body), body);
    probe(served, request.data, answer);
    tpc_buf_done(&request);
}

long probe_stat(const struct served *served, const char *name)
{
    struct answer *answer = malloc(sizeof(*answer));
    char wanted[64];
    probe_get(served, "/stats", answer);
    snprintf(wanted, sizeof(wanted), "\"%s\":", name);
    const char *at = answer->status == 200 ? strstr(answer->body, wanted) : NULL;
    long value = at == NULL ? -1 : atol(at + strlen(wanted));
    free(answer);
    return value;
}

bool probe_stat_becomes(const struct served *served, const char *name, long wanted)
{
    uint64_t until_ms = tpc_clock_mono_ms() + PATIENCE_MS;
    while (probe_stat(served, name) != wanted) {
        if (tpc_clock_mono_ms() > until_ms) {
            return false;
        }
    }
    return true;
}
