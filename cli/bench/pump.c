#include "cli/bench/pump.h"

#include "base/tpc_assert.h"
#include "cli/crashtest/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_AT_ONCE = 256, READ_AT_ONCE = 16384, CONNECT_SECONDS = 10 };

struct line {
    int fd; /* -1: not connected */
    bool busy;
    size_t sent;
    struct tpc_buf out, in;
};

struct cli_pump {
    struct cli_pump_events events;
    struct sockaddr_storage address;
    socklen_t address_size;
    char authority[256];
    int epoll_fd;
    unsigned slots;
    struct line lines[];
};

/* ---- Connections ---- */

/* "http://HOST[:PORT][/…]" */
static bool split_url(const char *url, char host[256], char port[8], char authority[256])
{
    const char *at = url + 7;
    size_t size = strncmp(url, "http://", 7) == 0 ? strcspn(at, "/") : 0;
    if (size == 0 || size >= 256) {
        return false;
    }
    (void)snprintf(authority, 256, "%.*s", (int)size, at);
    bool bracketed = authority[0] == '[';
    const char *host_end = bracketed ? strchr(authority, ']') : authority + strcspn(authority, ":");
    if (host_end == NULL) {
        return false;
    }
    (void)snprintf(host, 256, "%.*s", (int)(host_end - authority - bracketed),
                   authority + bracketed);
    const char *colon = strchr(host_end, ':');
    (void)snprintf(port, 8, "%s", colon != NULL ? colon + 1 : "80");
    return true;
}

/* As many descriptors as connections, as far as we may. */
static void make_room(unsigned slots)
{
    enum { OTHERS = 64 };
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < slots + OTHERS) {
        limit.rlim_cur = slots + OTHERS < limit.rlim_max ? slots + OTHERS : limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

enum tpc_rc cli_pump_new(const char *url, unsigned slots, const struct cli_pump_events *events,
                         struct cli_pump **ret_pump, struct tpc_err *reterr)
{
    char host[256], port[8], authority[256];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (!split_url(url, host, port, authority)) {
        return tpc_fail(reterr, TPC_EINVAL, "%s: a plain http:// URL is needed", url);
    }
    int failed = getaddrinfo(host, port, &hints, &found);
    if (failed != 0) {
        return tpc_fail(reterr, TPC_EUNREACHABLE, "%s: %s", host, gai_strerror(failed));
    }
    make_room(slots);
    struct cli_pump *pump = calloc(1, sizeof *pump + slots * sizeof pump->lines[0]);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (pump == NULL || epoll_fd < 0) {
        freeaddrinfo(found);
        free(pump);
        return tpc_fail(reterr, TPC_ENOMEM, "no memory or no descriptors for %u clients", slots);
    }
    pump->events = *events;
    pump->epoll_fd = epoll_fd;
    pump->slots = slots;
    pump->address_size = found->ai_addrlen;
    memcpy(&pump->address, found->ai_addr, found->ai_addrlen);
    memcpy(pump->authority, authority, sizeof pump->authority);
    freeaddrinfo(found);
    for (unsigned i = 0; i < slots; i++) {
        pump->lines[i].fd = -1;
    }
    *ret_pump = pump;
    return TPC_OK;
}

static void hang_up(struct line *line)
{
    if (line->fd >= 0) {
        (void)close(line->fd); /* which takes it out of the epoll set */
        line->fd = -1;
    }
    line->busy = false;
    tpc_buf_clear(&line->in);
}

static enum tpc_rc call_up(struct cli_pump *pump, unsigned slot, struct tpc_err *reterr)
{
    const struct timeval patience = {.tv_sec = CONNECT_SECONDS};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.u32 = slot};
    int on = 1;
    int fd = socket(pump->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return tpc_fail(reterr, TPC_EUNREACHABLE, "no socket for client %u: %s", slot + 1,
                        strerror(errno));
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&pump->address, pump->address_size) != 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0 ||
        epoll_ctl(pump->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        enum tpc_rc rc = tpc_fail(reterr, TPC_EUNREACHABLE, "cannot connect to %s: %s",
                                  pump->authority, strerror(errno));
        (void)close(fd);
        return rc;
    }
    pump->lines[slot].fd = fd;
    return TPC_OK;
}

/* ---- Requests ---- */

/* False: the connection is broken. */
static bool send_rest(struct line *line)
{
    while (line->sent < line->out.size) {
        ssize_t sent =
            send(line->fd, line->out.data + line->sent, line->out.size - line->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return errno == EAGAIN;
        }
        line->sent += sent > 0 ? (size_t)sent : 0;
    }
    return true;
}

enum tpc_rc cli_pump_post(struct cli_pump *pump, unsigned slot, const char *path,
                          const struct tpc_buf *body, struct tpc_err *reterr)
{
    struct line *line = &pump->lines[slot];
    TPC_ASSERT(slot < pump->slots && !line->busy);
    tpc_buf_clear(&line->out);
    tpc_buf_addf(&line->out,
                 "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
                 "Content-Length: %zu\r\n\r\n",
                 path, pump->authority, body->size);
    tpc_buf_add(&line->out, body->data, body->size);
    if (line->out.failed || body->failed) {
        return tpc_fail(reterr, TPC_ENOMEM, "no memory for a request");
    }
    /* A kept connection that the server closed while it was idle is made anew, once. */
    for (unsigned tries = 0; tries < 2; tries++) {
        enum tpc_rc rc = line->fd < 0 ? call_up(pump, slot, reterr) : TPC_OK;
        if (rc != TPC_OK) {
            return rc;
        }
        line->sent = 0;
        if (send_rest(line)) {
            line->busy = true;
            return TPC_OK;
        }
        hang_up(line);
    }
    return tpc_fail(reterr, TPC_EUNREACHABLE, "%s closes connections at once", pump->authority);
}

void cli_pump_cancel(struct cli_pump *pump, unsigned slot)
{
    hang_up(&pump->lines[slot]);
}

/* ---- Answers ---- */

static void parse_head(const char *data, size_t head_size, struct cli_pump_answer *answer)
{
    answer->status = head_size > 12 ? atoi(data + 9) : 0;
    if (answer->status == 503) {
        const char *header = memmem(data, head_size, "\r\nRetry-After: ", 15);
        answer->retry_after_s = header != NULL ? (unsigned)atoi(header + 15) : 0;
    }
}

static void answered(struct cli_pump *pump, unsigned slot, size_t size)
{
    struct line *line = &pump->lines[slot];
    struct cli_pump_answer answer = {0};
    const char *end = memmem(line->in.data, size, "\r\n\r\n", 4);
    size_t head_size = (size_t)(end - line->in.data) + 4;
    parse_head(line->in.data, head_size, &answer);
    bool closes = memmem(line->in.data, head_size, "Connection: close", 17) != NULL;
    answer.body = line->in.data + head_size;
    answer.body_size = size - head_size;
    /* The event may send on this line, and the answer is in its buffer. */
    struct tpc_buf kept = line->in;
    line->in = (struct tpc_buf){0};
    line->busy = false;
    if (closes) {
        hang_up(line);
    }
    pump->events.on_answer(pump->events.arg, slot, &answer);
    TPC_ASSERT(line->in.data == NULL);
    line->in = kept;
    tpc_buf_clear(&line->in);
}

static void lost(struct cli_pump *pump, unsigned slot)
{
    bool was_busy = pump->lines[slot].busy;
    hang_up(&pump->lines[slot]);
    if (was_busy) {
        pump->events.on_broken(pump->events.arg, slot);
    }
}

static void receive(struct cli_pump *pump, unsigned slot)
{
    struct line *line = &pump->lines[slot];
    ssize_t got;
    do {
        char *to = tpc_buf_reserve(&line->in, READ_AT_ONCE);
        got = to != NULL ? recv(line->fd, to, READ_AT_ONCE, 0) : 0;
        tpc_buf_added(&line->in, got > 0 ? (size_t)got : 0);
    } while (got == READ_AT_ONCE || (got < 0 && errno == EINTR));
    bool closed = got == 0 || (got < 0 && errno != EAGAIN);
    size_t size;
    enum cli_whole whole = line->busy && line->in.size > 0
                               ? cli_wire_whole(line->in.data, line->in.size, true, &size)
                               : CLI_PART;
    if (whole == CLI_WHOLE) {
        answered(pump, slot, size);
    } else if (closed || whole == CLI_MALFORMED || (!line->busy && line->in.size > 0)) {
        lost(pump, slot);
    }
}

void cli_pump_turn(struct cli_pump *pump, uint64_t timeout_us)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    const struct timespec timeout = {.tv_sec = (time_t)(timeout_us / 1000000),
                                     .tv_nsec = (long)(timeout_us % 1000000) * 1000};
    int count = epoll_pwait2(pump->epoll_fd, events, EVENTS_AT_ONCE, &timeout, NULL);
    for (int i = 0; i < count; i++) {
        struct line *line = &pump->lines[events[i].data.u32];
        if (line->fd >= 0 && (events[i].events & EPOLLOUT) != 0 && line->busy && !send_rest(line)) {
            lost(pump, events[i].data.u32);
        }
        if (line->fd >= 0 && (events[i].events & ~(uint32_t)EPOLLOUT) != 0) {
            receive(pump, events[i].data.u32);
        }
    }
}

void cli_pump_free(struct cli_pump *pump)
{
    for (unsigned i = 0; pump != NULL && i < pump->slots; i++) {
        hang_up(&pump->lines[i]);
        tpc_buf_done(&pump->lines[i].in);
        tpc_buf_done(&pump->lines[i].out);
    }
    if (pump != NULL) {
        (void)close(pump->epoll_fd);
    }
    free(pump);
}
