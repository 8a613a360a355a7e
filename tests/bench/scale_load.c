/* Submit transactions over HTTP, in a closed loop or at a fixed rate, and say how it went:
 *
 *   scale_load PORT SECONDS CONNECTIONS RATE TIMEOUT_MS [async] NAME[,NAME…]…
 *
 * Each transaction goes over the participants of one argument NAME,NAME…, the arguments in turn.
 * RATE 0: each connection has one request out all the time. Otherwise as many begin a second,
 * whatever becomes of those before: one that finds no free connection waits for it, and its latency
 * counts from when it should have begun. "async": do not wait for the end (respond-async).
 *
 * One line of JSON: answers by status ("0": the connection broke), and of those with 2xx the
 * latency in ms; "refused_ms" is that of 503. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/memory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STATUSES = 600, EVENTS = 256, GRACE_US = 60000000 };

struct connection {
    int fd; /* -1: not open */
    bool busy;
    uint64_t begun_us; /* when its request should have begun */
    size_t sent;
    const struct tpc_buf *request;
    size_t received;
    char answer[16384];
};

struct latencies {
    uint32_t *us;
    size_t count, capacity;
};

static struct {
    int epoll;
    uint16_t port;
    struct connection *connections;
    size_t connection_count;
    struct connection **idle;
    size_t idle_count;
    struct tpc_buf *requests;
    size_t request_count, next_request;
    uint64_t statuses[STATUSES];
    uint64_t retry_after; /* answers 503 that say when to come again */
    struct latencies done, refused;
} load;

static void add_latency(struct latencies *to, uint64_t us)
{
    if (to->count == to->capacity) {
        to->capacity = to->capacity > 0 ? 2 * to->capacity : 4096;
        to->us = tpc_must_realloc(to->us, to->capacity * sizeof *to->us);
    }
    to->us[to->count++] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

static void make_request(struct tpc_buf *out, char *names, unsigned long timeout_ms, bool async)
{
    struct tpc_buf body = {0};
    tpc_buf_addf(&body, "{\"timeout_ms\":%lu,\"branches\":[", timeout_ms);
    const char *comma = "";
    for (char *rest = NULL, *name = strtok_r(names, ",", &rest); name != NULL;
         name = strtok_r(NULL, ",", &rest)) {
        tpc_buf_addf(&body,
                     "%s{\"participant\":\"%s\",\"statements\":[{\"sql\":"
                     "\"UPDATE accounts SET balance = balance + ? WHERE id = ?\",\"params\":[1,2],"
                     "\"expect\":{\"rows\":1}}]}",
                     comma, name);
        comma = ",";
    }
    tpc_buf_adds(&body, "]}");
    tpc_buf_addf(out,
                 "POST /v1/transactions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                 "Content-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n%s",
                 async ? "Prefer: respond-async\r\n" : "", body.size, body.data);
    tpc_buf_done(&body);
}

static void watch(struct connection *connection, int how, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    (void)epoll_ctl(load.epoll, how, connection->fd, &event);
}

static void finish(struct connection *connection, int status)
{
    uint64_t us = tpc_clock_mono_us() - connection->begun_us;
    load.statuses[status]++;
    if (status >= 200 && status < 300) {
        add_latency(&load.done, us);
    } else if (status == 503) {
        add_latency(&load.refused, us);
    }
    connection->busy = false;
    load.idle[load.idle_count++] = connection;
}

static void broken(struct connection *connection)
{
    (void)close(connection->fd);
    connection->fd = -1;
    if (connection->busy) {
        finish(connection, 0);
    }
}

static void send_rest(struct connection *connection)
{
    const struct tpc_buf *request = connection->request;
    ssize_t count = send(connection->fd, request->data + connection->sent,
                         request->size - connection->sent, MSG_NOSIGNAL);
    if (count < 0 && errno != EAGAIN && errno != EINPROGRESS && errno != ENOTCONN) {
        broken(connection);
        return;
    }
    connection->sent += count > 0 ? (size_t)count : 0;
    watch(connection, EPOLL_CTL_MOD,
          connection->sent < request->size ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void begin(struct connection *connection, uint64_t begun_us)
{
    connection->busy = true;
    connection->begun_us = begun_us;
    connection->sent = connection->received = 0;
    connection->request = &load.requests[load.next_request++ % load.request_count];
    if (connection->fd < 0) {
        struct sockaddr_in to = {.sin_family = AF_INET,
                                 .sin_port = htons(load.port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int one = 1;
        connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(connection, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
        if (connection->fd < 0 ||
            (connect(connection->fd, (struct sockaddr *)&to, sizeof to) != 0 &&
             errno != EINPROGRESS)) {
            broken(connection);
        }
        return; /* sent when it is connected */
    }
    send_rest(connection);
}

/* A whole answer? Its size, or 0. */
static size_t whole(struct connection *connection)
{
    connection->answer[connection->received] = '\0';
    const char *end = strstr(connection->answer, "\r\n\r\n");
    const char *length = strcasestr(connection->answer, "\r\nContent-Length:");
    if (end == NULL || length == NULL || length > end) {
        return 0;
    }
    size_t size = (size_t)(end + 4 - connection->answer) + strtoul(length + 17, NULL, 10);
    return connection->received >= size ? size : 0;
}

static void receive(struct connection *connection)
{
    ssize_t count = recv(connection->fd, connection->answer + connection->received,
                         sizeof connection->answer - 1 - connection->received, 0);
    if (count <= 0) {
        if (count == 0 || errno != EAGAIN) {
            broken(connection);
        }
        return;
    }
    connection->received += (size_t)count;
    if (whole(connection) == 0) {
        return;
    }
    int status = atoi(connection->answer + strlen("HTTP/1.1 "));
    load.retry_after += status == 503 && strcasestr(connection->answer, "\r\nRetry-After:") != NULL;
    bool close_it = strcasestr(connection->answer, "\r\nConnection: close") != NULL;
    finish(connection, status > 0 && status < STATUSES ? status : 0);
    if (close_it) {
        (void)close(connection->fd);
        connection->fd = -1;
    }
}

static void take_events(int wait_ms)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(load.epoll, events, EVENTS, wait_ms);
    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;
        if (connection->busy && (events[i].events & EPOLLOUT) != 0) {
            send_rest(connection);
        }
        if (connection->fd >= 0 && (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) {
            receive(connection);
        }
    }
}

static void run(double seconds, double rate)
{
    uint64_t begun_us = tpc_clock_mono_us(), sent = 0;
    uint64_t end_us = begun_us + (uint64_t)(seconds * 1e6);
    for (;;) {
        uint64_t now_us = tpc_clock_mono_us();
        bool over = now_us >= end_us;
        while (!over && load.idle_count > 0) {
            uint64_t due_us = rate > 0 ? begun_us + (uint64_t)((double)sent * 1e6 / rate) : now_us;
            if (due_us > now_us) {
                break;
            }
            sent++;
            begin(load.idle[--load.idle_count], due_us);
        }
        if (over && (load.idle_count == load.connection_count || now_us > end_us + GRACE_US)) {
            return;
        }
        take_events(rate > 0 && !over ? 1 : 20);
    }
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile(struct latencies *of, double share)
{
    return of->count > 0 ? of->us[(size_t)((double)(of->count - 1) * share)] / 1000.0 : 0;
}

static void say(const char *name, struct latencies *of)
{
    if (of->count > 0) {
        qsort(of->us, of->count, sizeof *of->us, compare);
    }
    (void)printf(", \"%s\": {\"p50\": %.2f, \"p99\": %.2f, \"max\": %.2f}", name,
                 percentile(of, 0.5), percentile(of, 0.99), percentile(of, 1));
}

static void report(double seconds)
{
    const char *comma = "";
    (void)printf("{\"per_second\": %.1f, \"statuses\": {", (double)load.done.count / seconds);
    for (int i = 0; i < STATUSES; i++) {
        if (load.statuses[i] > 0) {
            (void)printf("%s\"%d\": %llu", comma, i, (unsigned long long)load.statuses[i]);
            comma = ", ";
        }
    }
    (void)printf("}, \"retry_after\": %llu", (unsigned long long)load.retry_after);
    say("ms", &load.done);
    say("refused_ms", &load.refused);
    (void)printf("}\n");
}

int main(int argc, char **argv)
{
    bool async = argc > 6 && strcmp(argv[6], "async") == 0;
    int first = async ? 7 : 6;
    if (argc <= first) {
        (void)fprintf(stderr, "usage: scale_load PORT SECONDS CONNECTIONS RATE TIMEOUT_MS [async] "
                              "NAME[,NAME…]…\n");
        return 2;
    }
    double seconds = atof(argv[2]);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    load.port = (uint16_t)strtoul(argv[1], NULL, 10);
    load.connection_count = strtoul(argv[3], NULL, 10);
    load.connections = tpc_must_calloc(load.connection_count, sizeof *load.connections);
    load.idle = (struct connection **)tpc_must_calloc(load.connection_count, sizeof(void *));
    for (size_t i = load.connection_count; i-- > 0;) {
        load.connections[i].fd = -1;
        load.idle[load.idle_count++] = &load.connections[i];
    }
    load.request_count = (size_t)(argc - first);
    load.requests = tpc_must_calloc(load.request_count, sizeof *load.requests);
    for (size_t i = 0; i < load.request_count; i++) {
        make_request(&load.requests[i], argv[first + (int)i], strtoul(argv[5], NULL, 10), async);
    }
    run(seconds, atof(argv[4]));
    report(seconds);
    return 0;
}
