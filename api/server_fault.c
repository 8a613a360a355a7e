/* What libmicrohttpd refuses by itself, in the words of this API.
 *
 * It answers a request that it cannot read before any callback could, with a page of HTML. But
 * first it writes to its log, and so it is caught there: the answer is sent past it, and the way
 * shut for its own. The log does not say which connection it speaks of. That is the only one which
 * has just received something, or else nobody can tell and the page goes out. */
#include "api/server_internal.h"

#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

enum {
    UINT64_DIGITS = 20, /* so long a number may not fit */
    RECENT_MS = 250,    /* a request of many parts is read in many rounds */
};

/* Nothing may follow: what MHD is about to say fails, and it closes. */
static void refuse(struct server_conn *conn, int status, const char *type, const char *title,
                   const char *detail)
{
    api_server_refuse_raw(conn, status, type, title, detail);
    (void)shutdown(conn->fd, SHUT_WR);
    conn->refused = true;
}

/* ---- A Content-Length that is no number, which MHD refuses by sending the head twice ---- */

static void refuse_bad_length(struct api_request *request)
{
    const char *value = NULL;
    size_t size = 0;

    if (MHD_lookup_connection_value_n(request->mhd, MHD_HEADER_KIND, "Content-Length", 14, &value,
                                      &size) != MHD_YES) {
        return;
    }
    if (size == 0 || strspn(value, "0123456789") != size) {
        refuse(request->conn, 400, "malformed", "Malformed request",
               "Content-Length must be a number of bytes");
    } else if (size >= UINT64_DIGITS) {
        char detail[128];
        api_server_describe_limit(detail, sizeof(detail), request->server);
        refuse(request->conn, 413, "too-large", "Body too large", detail);
    } else {
        return;
    }
    request->broken = true;
}

static void refuse_bad_lengths(struct api_server *server)
{
    struct server_conn *conn;
    DL_FOREACH (server->conns, conn) {
        struct api_request *request = conn->request;
        if (request != NULL && !request->begun && !request->broken) {
            refuse_bad_length(request);
        }
    }
}

/* ---- All else ---- */

static bool has_received(const struct server_conn *conn, uint64_t within_ms)
{
    struct tcp_info info;
    socklen_t size = sizeof(info);
    return getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
           info.tcpi_last_data_recv <= within_ms;
}

/* How far a request has been read when MHD refuses it so. */
static bool fits(const struct server_conn *conn, unsigned status, bool in_body)
{
    const struct api_request *request = conn->request;
    if (request != NULL && request->state != REQUEST_READING) {
        return false;
    }
    switch (status) {
    case 414:
        return request == NULL; /* in the request line */
    case 431:
        return request != NULL && !request->begun; /* in the headers, or the query */
    default:
        return in_body == (request != NULL && request->begun);
    }
}

static struct server_conn *find_refused(struct api_server *server, unsigned status, bool in_body)
{
    uint64_t within_ms = api_server_clock_ms() - server->ran_before_ms + RECENT_MS;
    struct server_conn *conn, *found = NULL;

    DL_FOREACH (server->conns, conn) {
        if (!fits(conn, status, in_body) || !has_received(conn, within_ms)) {
            continue;
        }
        if (found != NULL) {
            return NULL;
        }
        found = conn;
    }
    return found;
}

static void refuse_unread(const struct api_server *server, struct server_conn *conn,
                          unsigned status, bool in_body)
{
    if (status == 400) {
        refuse(conn, 400, "malformed", "Malformed request",
               in_body ? "the body is not what Transfer-Encoding: chunked asks for"
                       : "the request line must be \"METHOD /path HTTP/1.1\" and each header line "
                         "\"Name: value\"");
    } else if (status == 413) {
        char detail[128];
        api_server_describe_limit(detail, sizeof(detail), server);
        refuse(conn, 413, "too-large", "Body too large", detail);
    } else if (status == 414) {
        refuse(conn, 414, "too-large", "URL too long",
               "the URL is over the limit of about 30000 bytes; send a shorter one");
    } else if (status == 431) {
        refuse(conn, 431, "too-large", "Headers too large",
               "the URL and the headers are over the limit of about 30000 bytes in all; send fewer "
               "or shorter ones");
    } else if (status == 505) {
        refuse(conn, 505, "malformed", "HTTP version not supported",
               "speak HTTP/1.1 (or HTTP/1.0)");
    }
}

void api_server_on_log(void *cls, const char *format, va_list args)
{
    struct api_server *server = cls;

    refuse_bad_lengths(server);
    if (strncmp(format, "Error processing request", 24) == 0) {
        unsigned status = va_arg(args, unsigned);
        bool in_body = strstr(va_arg(args, const char *), "chunk") != NULL;
        struct server_conn *conn = find_refused(server, status, in_body);
        if (conn != NULL && !conn->refused) {
            refuse_unread(server, conn, status, in_body);
        }
    }
}
