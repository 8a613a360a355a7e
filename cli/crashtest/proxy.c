/* A thread for each link accepts connections, and a thread for each connection serves it. All of
 * them end when the proxy's `end` becomes readable, which it then stays. */
#include "cli/crashtest/proxy.h"

#include "base/buf.h"
#include "base/memory.h"
#include "cli/crashtest/proc.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BACKLOG = 128,
    PATIENCE_MS = 5000, /* for the answer to a message that nobody waits for */
    NOBODY = -1,
};

struct link {
    struct cli_proxy *proxy;
    unsigned index;
    int listen_fd;
    struct sockaddr_storage to;
    socklen_t to_size;
    pthread_t thread;
    unsigned counts[CLI_MESSAGE_COUNT];
};

struct cli_proxy {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct link links[CLI_LINKS_MAX];
    int end, release;     /* eventfds; written once and never read */
    unsigned connections; /* threads that serve one */
    bool ending, armed, fired, kill_wanted;
    unsigned held; /* late messages that have not arrived */
    unsigned link, number;
    enum cli_message kind;
    enum cli_fault fault;
};

struct connection {
    struct link *link;
    int client, upstream; /* NOBODY: none */
    struct tpc_buf request, answer;
    size_t request_size; /* of the first in `request` */
};

static const struct {
    const char *name, *text;
} faults[CLI_FAULT_COUNT] = {
#define CLI_FAULT_ENTRY(id, name, text) [id] = {name, text},
    CLI_FAULT_LIST(CLI_FAULT_ENTRY)
#undef CLI_FAULT_ENTRY
};

const char *cli_fault_name(enum cli_fault fault)
{
    return faults[fault].name;
}

const char *cli_fault_text(enum cli_fault fault)
{
    return faults[fault].text;
}

/* ---- Sockets ---- */

static void hang_up(int *fd)
{
    if (*fd != NOBODY) {
        (void)close(*fd);
        *fd = NOBODY;
    }
}

static bool send_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent <= 0 && errno != EINTR) {
            return false;
        }
        if (sent > 0) {
            data += sent;
            size -= (size_t)sent;
        }
    }
    return true;
}

/* Add what has come; false at its end. */
static bool receive(int fd, struct tpc_buf *into)
{
    enum { AT_ONCE = 65536 };
    char *to = tpc_buf_reserve(into, AT_ONCE);
    ssize_t got = to != NULL ? recv(fd, to, AT_ONCE, 0) : -1;
    if (got > 0) {
        tpc_buf_added(into, (size_t)got);
    }
    return got > 0;
}

static bool has_hung_up(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static int call_upstream(const struct link *link)
{
    int fd = socket(link->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&link->to, link->to_size) != 0) {
        hang_up(&fd);
    }
    if (fd >= 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    return fd >= 0 ? fd : NOBODY;
}

enum { CLIENT = 1, UPSTREAM = 2, OTHER = 4 };

/* Which of them can be read; NOBODY is never. 0: the proxy ends, or @timeout_ms (-1: none) are
 * over. */
static unsigned wait_for(const struct connection *connection, int client, int upstream, int other,
                         int timeout_ms)
{
    struct pollfd fds[] = {{.fd = connection->link->proxy->end, .events = POLLIN},
                           {.fd = client, .events = POLLIN},
                           {.fd = upstream, .events = POLLIN},
                           {.fd = other, .events = POLLIN}};
    int ready;
    do {
        ready = poll(fds, 4, timeout_ms);
    } while (ready < 0 && errno == EINTR);
    if (ready <= 0 || fds[0].revents != 0) {
        return 0;
    }
    return (fds[1].revents != 0 ? CLIENT : 0U) | (fds[2].revents != 0 ? UPSTREAM : 0U) |
           (fds[3].revents != 0 ? OTHER : 0U);
}

/* ---- One message ---- */

/* Until a whole request is there. False when either end has closed. */
static bool read_request(struct connection *connection)
{
    enum cli_whole whole;
    while ((whole = cli_wire_whole(connection->request.data, connection->request.size, false,
                                   &connection->request_size)) == CLI_PART) {
        unsigned ready = wait_for(connection, connection->client, connection->upstream, NOBODY, -1);
        if ((ready & UPSTREAM) != 0 || (ready & CLIENT) == 0 ||
            !receive(connection->client, &connection->request)) {
            return false;
        }
    }
    return whole == CLI_WHOLE;
}

/* Until the answer is whole; with @pass on, each part goes to the client as it comes. False when
 * somebody has hung up before, or after @timeout_ms (-1: none) of silence. */
static bool read_answer(struct connection *connection, int upstream, bool pass, int timeout_ms)
{
    struct tpc_buf *answer = &connection->answer;
    size_t size;
    tpc_buf_clear(answer);
    while (cli_wire_whole(answer->data, answer->size, true, &size) == CLI_PART) {
        size_t had = answer->size;
        unsigned ready =
            wait_for(connection, pass ? connection->client : NOBODY, upstream, NOBODY, timeout_ms);
        if ((ready & UPSTREAM) != 0) {
            if (!receive(upstream, answer) ||
                (pass && !send_all(connection->client, answer->data + had, answer->size - had))) {
                return false;
            }
        } else if (ready == 0 || has_hung_up(connection->client)) {
            return false;
        }
    }
    return true;
}

static bool send_request(struct connection *connection, size_t size)
{
    if (connection->upstream == NOBODY) {
        connection->upstream = call_upstream(connection->link);
    }
    return connection->upstream != NOBODY &&
           send_all(connection->upstream, connection->request.data, size);
}

static bool pass_on(struct connection *connection)
{
    return send_request(connection, connection->request_size) &&
           read_answer(connection, connection->upstream, true, -1);
}

/* ---- Faults ---- */

/* On a connection of its own; what it answers stays in connection->answer. */
static bool send_again(struct connection *connection)
{
    int fd = call_upstream(connection->link);
    bool good = fd != NOBODY && send_all(fd, connection->request.data, connection->request_size) &&
                read_answer(connection, fd, false, PATIENCE_MS);
    hang_up(&fd);
    return good;
}

static bool repeat(struct connection *connection)
{
    bool good = pass_on(connection);
    if (good) {
        (void)send_again(connection);
    }
    return good;
}

/* The sender hears nothing, and may give up; the message arrives all the same. */
static void hold(struct connection *connection)
{
    struct cli_proxy *proxy = connection->link->proxy;
    unsigned ready;
    do {
        ready = wait_for(connection, connection->client, NOBODY, proxy->release, -1);
        if ((ready & CLIENT) != 0 && (ready & OTHER) == 0) {
            hang_up(&connection->client);
        }
    } while (ready != 0 && (ready & OTHER) == 0);
    if (ready != 0 && send_again(connection) && connection->client != NOBODY) {
        (void)send_all(connection->client, connection->answer.data, connection->answer.size);
    }
    (void)pthread_mutex_lock(&proxy->mutex);
    proxy->held--;
    (void)pthread_cond_broadcast(&proxy->changed);
    (void)pthread_mutex_unlock(&proxy->mutex);
}

static void wait_for_kill(struct cli_proxy *proxy)
{
    (void)pthread_mutex_lock(&proxy->mutex);
    proxy->kill_wanted = true;
    while (proxy->kill_wanted && !proxy->ending) {
        (void)pthread_cond_wait(&proxy->changed, &proxy->mutex);
    }
    (void)pthread_mutex_unlock(&proxy->mutex);
}

/* The answer, after something was done about it; the connection is over. */
static void end_with_answer(struct connection *connection, enum cli_fault fault)
{
    if (!send_request(connection, connection->request_size) ||
        !read_answer(connection, connection->upstream, false, -1)) {
        return;
    }
    if (fault == CLI_FAULT_KILL_AFTER) {
        wait_for_kill(connection->link->proxy);
    }
    if (fault != CLI_FAULT_DROP_ANSWER) {
        size_t size = connection->answer.size;
        (void)send_all(connection->client, connection->answer.data,
                       fault == CLI_FAULT_CUT_ANSWER ? size / 2 : size);
    }
}

/* The fault that is to be done to the request, or CLI_FAULT_COUNT. */
static enum cli_fault count(struct connection *connection)
{
    unsigned counts[CLI_MESSAGE_COUNT];
    struct link *link = connection->link;
    struct cli_proxy *proxy = link->proxy;
    bool hit = false;
    cli_wire_count(connection->request.data, connection->request_size, counts);
    (void)pthread_mutex_lock(&proxy->mutex);
    for (unsigned kind = 0; kind < CLI_MESSAGE_COUNT; kind++) {
        unsigned before = link->counts[kind];
        link->counts[kind] += counts[kind];
        hit = hit ||
              (proxy->armed && !proxy->fired && proxy->link == link->index && proxy->kind == kind &&
               before < proxy->number && proxy->number <= link->counts[kind]);
    }
    proxy->fired = proxy->fired || hit;
    proxy->held += hit && proxy->fault == CLI_FAULT_DELAY;
    enum cli_fault fault = hit ? proxy->fault : CLI_FAULT_COUNT;
    (void)pthread_mutex_unlock(&proxy->mutex);
    return fault;
}

/* False when the connection is over. */
static bool treat(struct connection *connection)
{
    enum cli_fault fault = count(connection);
    switch (fault) {
    case CLI_FAULT_COUNT:
        return pass_on(connection);
    case CLI_FAULT_REPEAT:
        return repeat(connection);
    case CLI_FAULT_DROP:
        return false;
    case CLI_FAULT_DELAY:
        hold(connection);
        return false;
    case CLI_FAULT_CUT:
        (void)send_request(connection, connection->request_size / 2);
        return false;
    case CLI_FAULT_KILL_BEFORE:
        wait_for_kill(connection->link->proxy);
        return false;
    case CLI_FAULT_DROP_ANSWER:
    case CLI_FAULT_CUT_ANSWER:
    case CLI_FAULT_KILL_AFTER:
    default:
        end_with_answer(connection, fault);
        return false;
    }
}

/* ---- Threads ---- */

static void *serve(void *arg)
{
    struct connection *connection = arg;
    struct cli_proxy *proxy = connection->link->proxy;
    while (read_request(connection) && treat(connection)) {
        tpc_buf_consume(&connection->request, connection->request_size);
    }
    hang_up(&connection->client);
    hang_up(&connection->upstream);
    tpc_buf_done(&connection->request);
    tpc_buf_done(&connection->answer);
    free(connection);
    (void)pthread_mutex_lock(&proxy->mutex);
    proxy->connections--;
    (void)pthread_cond_broadcast(&proxy->changed);
    (void)pthread_mutex_unlock(&proxy->mutex);
    return NULL;
}

static void begin_serving(struct link *link, int fd)
{
    struct connection *connection = tpc_must_calloc(1, sizeof *connection);
    pthread_t thread;
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *connection = (struct connection){.link = link, .client = fd, .upstream = NOBODY};
    (void)pthread_mutex_lock(&link->proxy->mutex);
    link->proxy->connections++;
    (void)pthread_mutex_unlock(&link->proxy->mutex);
    if (pthread_create(&thread, NULL, serve, connection) != 0 || pthread_detach(thread) != 0) {
        cli_die("the proxy cannot start a thread");
    }
}

static void *accept_all(void *arg)
{
    struct link *link = arg;
    for (;;) {
        struct pollfd fds[] = {{.fd = link->proxy->end, .events = POLLIN},
                               {.fd = link->listen_fd, .events = POLLIN}};
        if (poll(fds, 2, -1) > 0 && fds[0].revents != 0) {
            return NULL;
        }
        int fd = accept4(link->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            begin_serving(link, fd);
        }
    }
}

/* ---- The proxy ---- */

struct cli_proxy *cli_proxy_new(void)
{
    struct cli_proxy *proxy = tpc_must_calloc(1, sizeof *proxy);
    (void)pthread_mutex_init(&proxy->mutex, NULL);
    (void)pthread_cond_init(&proxy->changed, NULL);
    proxy->end = eventfd(0, EFD_CLOEXEC);
    proxy->release = eventfd(0, EFD_CLOEXEC);
    if (proxy->end < 0 || proxy->release < 0) {
        cli_die("eventfd: %s", strerror(errno));
    }
    return proxy;
}

static void resolve(struct link *link, const char *url)
{
    char host[256] = "", port[8] = "80";
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (sscanf(url, "http://[%200[^]]]:%7[0-9]", host, port) < 1 &&
        sscanf(url, "http://%200[^:/]:%7[0-9]", host, port) < 1) {
        cli_die("the proxy can pass on to http:// alone, not to %s", url);
    }
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0) {
        cli_die("%s: %s", url, gai_strerror(rc));
    }
    memcpy(&link->to, found->ai_addr, found->ai_addrlen);
    link->to_size = found->ai_addrlen;
    freeaddrinfo(found);
}

void cli_proxy_add(struct cli_proxy *proxy, unsigned index, const char *url, char *ret_url,
                   size_t size)
{
    struct link *link = &proxy->links[index];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t address_size = sizeof address;
    *link = (struct link){.proxy = proxy, .index = index};
    resolve(link, url);
    link->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (link->listen_fd < 0 ||
        bind(link->listen_fd, (struct sockaddr *)&address, address_size) != 0 ||
        listen(link->listen_fd, BACKLOG) != 0 ||
        getsockname(link->listen_fd, (struct sockaddr *)&address, &address_size) != 0) {
        cli_die("the proxy cannot listen: %s", strerror(errno));
    }
    const char *path = strchr(url + strlen("http://"), '/');
    (void)snprintf(ret_url, size, "http://127.0.0.1:%u%s", ntohs(address.sin_port),
                   path != NULL ? path : "");
    if (pthread_create(&link->thread, NULL, accept_all, link) != 0) {
        cli_die("the proxy cannot start a thread");
    }
}

void cli_proxy_free(struct cli_proxy *proxy)
{
    if (proxy == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&proxy->mutex);
    proxy->ending = true;
    (void)eventfd_write(proxy->end, 1);
    (void)pthread_cond_broadcast(&proxy->changed);
    (void)pthread_mutex_unlock(&proxy->mutex);
    for (unsigned i = 0; i < CLI_LINKS_MAX; i++) {
        if (proxy->links[i].proxy != NULL) {
            (void)pthread_join(proxy->links[i].thread, NULL);
            (void)close(proxy->links[i].listen_fd);
        }
    }
    (void)pthread_mutex_lock(&proxy->mutex);
    while (proxy->connections > 0) {
        (void)pthread_cond_wait(&proxy->changed, &proxy->mutex);
    }
    (void)pthread_mutex_unlock(&proxy->mutex);
    (void)close(proxy->end);
    (void)close(proxy->release);
    (void)pthread_cond_destroy(&proxy->changed);
    (void)pthread_mutex_destroy(&proxy->mutex);
    free(proxy);
}

void cli_proxy_arm(struct cli_proxy *proxy, unsigned link, enum cli_message kind, unsigned number,
                   enum cli_fault fault)
{
    (void)pthread_mutex_lock(&proxy->mutex);
    for (unsigned i = 0; i < CLI_LINKS_MAX; i++) {
        memset(proxy->links[i].counts, 0, sizeof proxy->links[i].counts);
    }
    proxy->armed = true;
    proxy->link = link;
    proxy->kind = kind;
    proxy->number = number;
    proxy->fault = fault;
    (void)pthread_mutex_unlock(&proxy->mutex);
}

bool cli_proxy_fired(struct cli_proxy *proxy)
{
    (void)pthread_mutex_lock(&proxy->mutex);
    bool fired = proxy->fired;
    (void)pthread_mutex_unlock(&proxy->mutex);
    return fired;
}

unsigned cli_proxy_count(struct cli_proxy *proxy, unsigned link, enum cli_message kind)
{
    (void)pthread_mutex_lock(&proxy->mutex);
    unsigned counted = proxy->links[link].counts[kind];
    (void)pthread_mutex_unlock(&proxy->mutex);
    return counted;
}

bool cli_proxy_wants_kill(struct cli_proxy *proxy, unsigned *ret_link)
{
    (void)pthread_mutex_lock(&proxy->mutex);
    bool wanted = proxy->kill_wanted;
    *ret_link = proxy->link;
    (void)pthread_mutex_unlock(&proxy->mutex);
    return wanted;
}

void cli_proxy_killed(struct cli_proxy *proxy)
{
    (void)pthread_mutex_lock(&proxy->mutex);
    proxy->kill_wanted = false;
    (void)pthread_cond_broadcast(&proxy->changed);
    (void)pthread_mutex_unlock(&proxy->mutex);
}

void cli_proxy_release(struct cli_proxy *proxy)
{
    (void)eventfd_write(proxy->release, 1);
    (void)pthread_mutex_lock(&proxy->mutex);
    proxy->armed = false;
    while (proxy->held > 0) { /* not for ever: it does not wait longer than PATIENCE_MS */
        (void)pthread_cond_wait(&proxy->changed, &proxy->mutex);
    }
    (void)pthread_mutex_unlock(&proxy->mutex);
}
