/* libcurl's sockets in an epoll set of our own, which is one descriptor in the loop's.
 *
 * libcurl drops its interest in a connection after each answer and takes it up again with the next
 * request. Telling the kernel each time would cost two system calls a request, so a descriptor
 * that is no longer wanted stays in the set until it has something to say. */
#include "api/client_internal.h"
#include "base/memory.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_MAX = 64 };

static struct client_watch *watch_of(struct api_client *client, int fd)
{
    size_t at = (size_t)fd;
    if (at >= client->watch_count) {
        size_t count = client->watch_count == 0 ? 64 : client->watch_count;
        while (count <= at) {
            count *= 2;
        }
        struct client_watch *watches = tpc_must_realloc(client->watches, count * sizeof(*watches));
        memset(watches + client->watch_count, 0, (count - client->watch_count) * sizeof(*watches));
        client->watches = watches;
        client->watch_count = count;
    }
    return &client->watches[at];
}

/* Descriptors that libcurl closed by itself left the set with that, and their numbers may have
 * been given away again: neither ENOENT, EBADF nor EEXIST is an error here. */
static bool control(struct api_client *client, int fd, uint32_t events, uint32_t registered)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (events == 0) {
        (void)epoll_ctl(client->epoll_fd, EPOLL_CTL_DEL, fd, &event);
        return true;
    }
    int first = registered == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    int second = registered == 0 ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    return epoll_ctl(client->epoll_fd, first, fd, &event) == 0 ||
           ((errno == ENOENT || errno == EEXIST) &&
            epoll_ctl(client->epoll_fd, second, fd, &event) == 0);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *cls, void *socket_cls)
{
    struct api_client *client = cls;
    struct client_watch *watch = watch_of(client, fd);
    (void)easy, (void)socket_cls;

    if (watch == NULL) {
        return -1;
    }
    watch->wanted = what == CURL_POLL_REMOVE ? 0
                                             : (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
                                                   (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
    if (watch->wanted == watch->registered || (watch->wanted == 0 && watch->ours)) {
        return 0;
    }
    bool done = control(client, fd, watch->wanted, watch->registered);
    watch->registered = done ? watch->wanted : 0;
    return done ? 0 : -1;
}

static curl_socket_t on_open(void *cls, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct api_client *client = cls;
    (void)purpose;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    address->protocol);
    struct client_watch *watch = fd < 0 ? NULL : watch_of(client, fd);
    if (watch == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return CURL_SOCKET_BAD;
    }
    *watch = (struct client_watch){.ours = true};
    return fd;
}

static int on_close(void *cls, curl_socket_t fd)
{
    struct api_client *client = cls;
    if ((size_t)fd < client->watch_count) {
        client->watches[fd] = (struct client_watch){0};
    }
    return close(fd);
}

static void on_timer(uv_timer_t *timer)
{
    struct api_client *client = timer->data;
    client->due = true;
    api_client_kick(client);
}

static int on_timer_set(CURLM *multi, long timeout_ms, void *cls)
{
    struct api_client *client = cls;
    (void)multi;
    if (client->freeing) {
        return 0;
    }
    if (timeout_ms > 0) {
        uv_timer_start(&client->timer, on_timer, (uint64_t)timeout_ms, 0);
        return 0;
    }
    uv_timer_stop(&client->timer);
    if (timeout_ms == 0) {
        client->due = true;
        api_client_kick(client);
    }
    return 0;
}

bool api_client_sockets_init(struct api_client *client)
{
    client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return client->epoll_fd >= 0 &&
           curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
           curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client) == CURLM_OK &&
           curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timer_set) == CURLM_OK &&
           curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client) == CURLM_OK;
}

void api_client_sockets_done(struct api_client *client)
{
    free(client->watches);
    if (client->epoll_fd >= 0) {
        close(client->epoll_fd);
    }
}

void api_client_sockets_set(struct api_client *client, void *easy)
{
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, client);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, client);
}

static void on_event(struct api_client *client, int fd, uint32_t events)
{
    struct client_watch *watch = watch_of(client, fd);
    int running, action = 0;

    if (watch == NULL || watch->registered == 0) {
        return; /* closed by an event before this one */
    }
    if (watch->wanted == 0) {
        (void)control(client, fd, 0, watch->registered);
        watch->registered = 0;
        return;
    }
    action |= events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0;
    action |= events & EPOLLOUT ? CURL_CSELECT_OUT : 0;
    action |= events & EPOLLERR ? CURL_CSELECT_ERR : 0;
    (void)curl_multi_socket_action(client->multi, fd, action, &running);
}

void api_client_sockets_poll(struct api_client *client)
{
    struct epoll_event events[EVENTS_MAX];
    int running;

    if (client->due) {
        client->due = false;
        (void)curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    if (client->ready) {
        client->ready = false;
        int count = epoll_wait(client->epoll_fd, events, EVENTS_MAX, 0);
        for (int i = 0; i < count; i++) {
            on_event(client, events[i].data.fd, events[i].events);
        }
        /* Were there more, the loop tells again: its view of the set is level-triggered. */
    }
}
