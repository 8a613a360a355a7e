/* Connections and their deadlines: MHD's own time-out is of inactivity only, so that a client who
 * drips a byte now and then would outlive it. */
#include "api/server_internal.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <utlist.h>

enum {
    OVER_TIMEOUT_MS = 250, /* beyond the limit a client must ask at once to be told so */
    GRACE_MS = 250,        /* a connection younger than this may have a request on its way */
};

struct server_conn *api_server_conn_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}

static void cut(struct api_server *server, struct server_conn *conn)
{
    /* MHD sees the end of the connection and closes it. */
    (void)shutdown(conn->fd, SHUT_RDWR);
    conn->deadline_ms = SERVER_NO_DEADLINE;
    if (!conn->cut) {
        conn->cut = true;
        server->cut_count++;
    }
}

void api_server_conn_idle(struct api_server *server, struct server_conn *conn, uint64_t patience_ms)
{
    conn->request = NULL;
    conn->end_checked = false;
    conn->idle_since_ms = api_server_now_ms(server);
    conn->deadline_ms = conn->idle_since_ms + patience_ms;
}

/* Silent connections must not keep out those who have something to say: when all places are taken,
 * the idle one that would be cut next makes room. */
static bool is_full(struct api_server *server)
{
    struct server_conn *conn, *victim = NULL;

    if (server->stats.connections - server->cut_count < server->options.connections_max) {
        return false;
    }
    DL_FOREACH (server->conns, conn) {
        if (conn->request == NULL && !conn->over && !conn->cut &&
            api_server_now_ms(server) - conn->idle_since_ms >= GRACE_MS &&
            (victim == NULL || conn->deadline_ms < victim->deadline_ms)) {
            victim = conn;
        }
    }
    if (victim == NULL) {
        return true;
    }
    cut(server, victim);
    return false;
}

static void conn_open(struct api_server *server, struct MHD_Connection *mhd, void **context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct server_conn *conn = calloc(1, sizeof(*conn));
    uint64_t patience_ms = server->options.header_timeout_ms;

    *context = conn;
    if (conn == NULL) {
        /* No request can come of it: api_server_on_uri finds no connection and refuses. */
        (void)shutdown(info->connect_fd, SHUT_RDWR);
        return;
    }
    conn->mhd = mhd;
    conn->fd = info->connect_fd;
    conn->over = is_full(server);
    if (conn->over && patience_ms > OVER_TIMEOUT_MS) {
        patience_ms = OVER_TIMEOUT_MS;
    }
    api_server_conn_idle(server, conn, patience_ms);
    DL_APPEND(server->conns, conn);
    server->stats.connections++;
    server->stats.connections_total++;
}

static void conn_close(struct api_server *server, void **context)
{
    struct server_conn *conn = *context;

    *context = NULL;
    if (conn == NULL) {
        return;
    }
    if (conn->linger) {
        api_server_linger(server, conn->fd);
    }
    if (conn->cut) {
        server->cut_count--;
    }
    api_server_conn_forget(server, conn);
    DL_DELETE(server->conns, conn);
    server->stats.connections--;
    free(conn);
}

void api_server_conn_notify(void *cls, struct MHD_Connection *mhd, void **context,
                            enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        conn_open(cls, mhd, context);
    } else {
        conn_close(cls, context);
    }
}

static bool is_reading(const struct server_conn *conn)
{
    return conn->request != NULL && conn->request->state == REQUEST_READING;
}

/* A client may end its side together with its request, or with a part of it. MHD then reads what
 * there is but not the end, and would wait for more until a time-out. */
static bool has_ended(struct server_conn *conn, uint64_t now_ms)
{
    char byte;
    bool fresh = conn->request == NULL && !conn->end_checked && conn->idle_since_ms != now_ms;
    if (!fresh && !is_reading(conn)) {
        return false;
    }
    conn->end_checked = true;
    return recv(conn->fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) == 0;
}

void api_server_conns_cut_late(struct api_server *server)
{
    uint64_t now_ms = api_server_now_ms(server);
    struct server_conn *conn;

    DL_FOREACH (server->conns, conn) {
        bool ended = has_ended(conn, now_ms);
        if (conn->deadline_ms > now_ms && !ended) {
            continue;
        }
        if (is_reading(conn) && ended) {
            api_server_refuse_raw(conn, 400, "malformed", "Malformed request",
                                  "the request ended before it was whole; send it again");
        } else if (is_reading(conn)) {
            api_server_refuse_raw(conn, 408, "too-slow", "Request too slow",
                                  "the request was not whole in time; send it faster");
        }
        cut(server, conn);
    }
}
