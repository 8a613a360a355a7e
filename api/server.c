/* The daemon of libmicrohttpd inside the loop.
 *
 * Its epoll set is one descriptor in the loop's. What must be done is noted as `dirty` and done
 * once a loop turn, after all events were taken (check) or, for what came of timers and of other
 * check callbacks, before the loop waits (prepare): many connections are resumed for one MHD_run.
 */
#include "api/server_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <utlist.h>

enum {
    OTHER_DESCRIPTORS = 4096, /* of the client, the log, the databases */
    /* How often deadlines are looked at. Longer than 500, and libmicrohttpd would not accept again
     * after it was full. */
    TICK_MS = 250,
    ROUNDS_MAX = 16,    /* of MHD_run in one loop turn */
    OVER_PLACES = 64,   /* for connections beyond the limit, to tell them so */
    STOP_WAIT_MS = 500, /* for clients to take their last answers */
    STOP_POLL_MS = 10,
};

uint64_t api_server_now_ms(const struct api_server *server)
{
    return uv_now(server->options.loop);
}

uint64_t api_server_clock_ms(void)
{
    return uv_hrtime() / 1000000;
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* only its being active matters: the loop polls without waiting */
}

void api_server_kick(struct api_server *server)
{
    if (!server->dirty && !server->stopping) {
        server->dirty = true;
        uv_idle_start(&server->idle, on_idle);
    }
}

static bool more_to_do(struct api_server *server)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    return server->dirty ||
           (MHD_get_timeout(server->daemon, &timeout_ms) == MHD_YES && timeout_ms == 0);
}

/* An answer passes MHD in several rounds: built, sent, next request read. */
static void run(struct api_server *server)
{
    if (!server->dirty) {
        return;
    }
    for (int round = 0; round < ROUNDS_MAX; round++) {
        server->dirty = false;
        server->ran_before_ms = server->ran_ms;
        server->ran_ms = api_server_clock_ms();
        api_server_streams_begin(server, false);
        (void)MHD_run(server->daemon);
        if (!more_to_do(server)) {
            uv_idle_stop(&server->idle);
            return;
        }
    }
    server->dirty = true;
    uv_idle_start(&server->idle, on_idle);
}

static void on_prepare(uv_prepare_t *prepare)
{
    run(prepare->data);
}

static void on_check(uv_check_t *check)
{
    run(check->data);
}

static void on_poll(uv_poll_t *poll_handle, int status, int events)
{
    (void)status, (void)events;
    api_server_kick(poll_handle->data);
}

static void on_tick(uv_timer_t *tick)
{
    api_server_conns_cut_late(tick->data);
    api_server_kick(tick->data);
}

static void set_defaults(struct api_server_options *options)
{
    if (options->connections_max == 0) {
        options->connections_max = 1000;
    }
    if (options->body_max == 0) {
        options->body_max = (size_t)4 * 1024 * 1024;
    }
    if (options->stream_max == 0) {
        options->stream_max = (size_t)64 * 1024 * 1024;
    }
    if (options->header_timeout_ms == 0) {
        options->header_timeout_ms = 10000;
    }
    if (options->idle_timeout_ms == 0) {
        options->idle_timeout_ms = 75000;
    }
}

/* The usual limit of 1024 descriptors would be reached before the limit of connections is. */
static void make_room_for_descriptors(const struct api_server *server)
{
    rlim_t wanted = server->options.connections_max + OVER_PLACES + OTHER_DESCRIPTORS;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted) {
        limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static struct MHD_Daemon *start_daemon(struct api_server *server, int fd)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        api_server_on_access, server, MHD_OPTION_EXTERNAL_LOGGER, api_server_on_log, server,
        MHD_OPTION_LISTEN_SOCKET, (MHD_socket)fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(server->options.connections_max + OVER_PLACES), MHD_OPTION_NOTIFY_CONNECTION,
        api_server_conn_notify, server, MHD_OPTION_URI_LOG_CALLBACK, api_server_on_uri, server,
        MHD_OPTION_NOTIFY_COMPLETED, api_server_on_completed, server, MHD_OPTION_END);
}

static void init_handles(struct api_server *server)
{
    uv_loop_t *loop = server->options.loop;
    uv_timer_init(loop, &server->tick);
    uv_prepare_init(loop, &server->prepare);
    uv_check_init(loop, &server->check);
    uv_idle_init(loop, &server->idle);
    server->tick.data = server->prepare.data = server->check.data = server->idle.data = server;
    server->handles = 4;
    uv_timer_start(&server->tick, on_tick, TICK_MS, TICK_MS);
    uv_prepare_start(&server->prepare, on_prepare);
    uv_check_start(&server->check, on_check);
}

enum tpc_rc api_server_start(const struct api_server_options *options,
                             struct api_server **ret_server, struct tpc_err *reterr)
{
    struct api_server *server = calloc(1, sizeof(*server));
    if (server == NULL) {
        return tpc_fail(reterr, TPC_ENOMEM, "no memory for the HTTP server");
    }
    server->options = *options;
    set_defaults(&server->options);
    make_room_for_descriptors(server);

    int fd;
    enum tpc_rc rc =
        api_server_listen(options->listen, server->url, sizeof(server->url), &fd, reterr);
    if (rc != TPC_OK) {
        free(server);
        return rc;
    }
    server->daemon = start_daemon(server, fd);
    if (server->daemon == NULL) {
        /* It has closed the socket. */
        free(server);
        return tpc_fail(reterr, TPC_EIO, "cannot start the HTTP server: %s", strerror(errno));
    }
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL || uv_poll_init(server->options.loop, &server->poll, info->listen_fd) != 0) {
        MHD_stop_daemon(server->daemon);
        free(server);
        return tpc_fail(reterr, TPC_EIO, "cannot watch the HTTP server's sockets");
    }
    init_handles(server);
    server->handles++;
    server->poll.data = server;
    uv_poll_start(&server->poll, UV_READABLE, on_poll);
    api_server_kick(server);
    *ret_server = server;
    return TPC_OK;
}

const char *api_server_url(const struct api_server *server)
{
    return server->url;
}

size_t api_server_pending(const struct api_server *server)
{
    return server->unanswered_count;
}

void api_server_get_stats(const struct api_server *server, struct api_server_stats *out)
{
    *out = server->stats;
}

void api_server_drain(struct api_server *server)
{
    if (!server->draining) {
        server->draining = true;
        MHD_socket fd = MHD_quiesce_daemon(server->daemon);
        if (fd != MHD_INVALID_SOCKET) {
            close(fd);
        }
        api_server_kick(server);
    }
}

/* ---- Stopping ---- */

static void on_closed(uv_handle_t *handle)
{
    struct api_server *server = handle->data;
    if (--server->handles == 0) {
        free(server);
    }
}

/* MHD aborts the process when it is stopped with a suspended connection. */
static void answer_all(struct api_server *server)
{
    struct api_request *request, *next;
    api_server_streams_begin(server, true);
    DL_FOREACH_SAFE(server->unanswered, request, next)
    {
        api_respond_problem(request, 503, "draining", "Shutting down",
                            "this daemon is shutting down; the outcome of the request is not "
                            "known here, ask again when it is back",
                            NULL);
    }
    api_server_streams_break(server);
}

static void let_them_leave(struct api_server *server)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct pollfd ready = {.fd = info->listen_fd, .events = POLLIN};

    for (int waited_ms = 0; waited_ms < STOP_WAIT_MS; waited_ms += STOP_POLL_MS) {
        for (int round = 0; round < ROUNDS_MAX; round++) {
            (void)MHD_run(server->daemon);
            if (!more_to_do(server)) {
                break;
            }
        }
        if (server->unfinished == 0) {
            return;
        }
        (void)poll(&ready, 1, STOP_POLL_MS);
    }
}

void api_server_stop(struct api_server *server)
{
    api_server_drain(server);
    server->stopping = true;
    server->dirty = false;
    answer_all(server);
    let_them_leave(server);
    uv_poll_stop(&server->poll);
    MHD_stop_daemon(server->daemon);
    api_server_linger_stop(server);
    api_server_spares_free(server);
    uv_close((uv_handle_t *)&server->poll, on_closed);
    uv_close((uv_handle_t *)&server->tick, on_closed);
    uv_close((uv_handle_t *)&server->prepare, on_closed);
    uv_close((uv_handle_t *)&server->check, on_closed);
    uv_close((uv_handle_t *)&server->idle, on_closed);
}
