/* Closing gently. A socket that is closed with unread bytes resets the connection, and the reset
 * may overtake the answer that says why. */
#include "api/server_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

enum {
    LINGER_COUNT_MAX = 64,
    LINGER_MS = 2000,
    LINGER_READ_SIZE = 64 * 1024,
    LINGER_BYTES_MAX = 64 * 1024 * 1024,
};

struct server_linger {
    struct server_linger *prev, *next;
    struct api_server *server;
    uv_poll_t poll;
    uv_timer_t timer;
    int fd, handles;
    size_t bytes;
};

static void on_closed(uv_handle_t *handle)
{
    struct server_linger *linger = handle->data;
    if (--linger->handles == 0) {
        close(linger->fd);
        free(linger);
    }
}

static void linger_end(struct server_linger *linger)
{
    if (linger->server == NULL) {
        return;
    }
    DL_DELETE(linger->server->lingering, linger);
    linger->server->linger_count--;
    linger->server = NULL;
    uv_close((uv_handle_t *)&linger->poll, on_closed);
    uv_close((uv_handle_t *)&linger->timer, on_closed);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct server_linger *linger = poll->data;
    static char sink[LINGER_READ_SIZE];
    (void)events;

    ssize_t size = status < 0 ? 0 : recv(linger->fd, sink, sizeof(sink), MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    linger->bytes += size > 0 ? (size_t)size : 0;
    if (size <= 0 || linger->bytes > LINGER_BYTES_MAX) {
        linger_end(linger);
    }
}

static void on_timer(uv_timer_t *timer)
{
    linger_end(timer->data);
}

void api_server_linger(struct api_server *server, int fd)
{
    if (server->stopping || server->linger_count >= LINGER_COUNT_MAX) {
        return;
    }
    struct server_linger *linger = calloc(1, sizeof(*linger));
    int copy = linger == NULL ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) {
        free(linger);
        return;
    }
    if (uv_poll_init(server->options.loop, &linger->poll, copy) != 0) {
        close(copy);
        free(linger);
        return;
    }
    linger->server = server;
    linger->fd = copy;
    linger->handles = 2;
    linger->poll.data = linger;
    linger->timer.data = linger;
    uv_timer_init(server->options.loop, &linger->timer);
    DL_APPEND(server->lingering, linger);
    server->linger_count++;
    uv_timer_start(&linger->timer, on_timer, LINGER_MS, 0);
    uv_poll_start(&linger->poll, UV_READABLE, on_readable);
}

void api_server_linger_stop(struct api_server *server)
{
    struct server_linger *linger, *next;
    DL_FOREACH_SAFE(server->lingering, linger, next)
    {
        linger_end(linger);
    }
}
