/* Answers that come in pieces. Every loop turn's writes leave as one chunk.
 *
 * The head waits for the first piece. An answer that is whole by the end of that turn leaves with
 * it in one piece, with a Content-Length: one system call where chunks take three.
 *
 * A stream has two owners: its writer until api_stream_end, and MHD until it drops the response;
 * before its head is sent it has its request in MHD's place. */
#include "api/server_internal.h"
#include "base/tpc_assert.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

enum {
    STREAM_BLOCK_SIZE = 4096,      /* MHD's buffer for clients that know no chunks */
    STREAM_KEEP_SIZE = 256 * 1024, /* more is given back as soon as it is sent */
};

/* What a writer gets when there was no memory: it takes everything and keeps nothing. */
static struct api_stream nowhere;

static void wake(struct api_stream *stream)
{
    if (stream->suspended) {
        stream->suspended = false;
        MHD_resume_connection(stream->conn->mhd);
        api_server_kick(stream->server);
    }
}

static void sent_all(struct api_stream *stream)
{
    stream->sent = 0;
    if (stream->pending.capacity > STREAM_KEEP_SIZE) {
        tpc_buf_done(&stream->pending);
    } else {
        tpc_buf_clear(&stream->pending);
    }
}

/* MHD asks for more. A reader that returned 0 without suspending would be asked again at once. */
static ssize_t on_read(void *cls, uint64_t position, char *out, size_t size)
{
    struct api_stream *stream = cls;
    struct server_conn *conn = stream->conn;
    size_t left = stream->pending.size - stream->sent;
    (void)position;

    if (stream->broken) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    if (left > 0) {
        size = size < left ? size : left;
        memcpy(out, stream->pending.data + stream->sent, size);
        stream->sent += size;
        if (size == left) {
            sent_all(stream);
        }
        conn->deadline_ms =
            api_server_now_ms(stream->server) + stream->server->options.idle_timeout_ms;
        return (ssize_t)size;
    }
    if (stream->ended) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    stream->suspended = true;
    conn->deadline_ms = SERVER_NO_DEADLINE;
    MHD_suspend_connection(conn->mhd);
    return 0;
}

static void stream_free(struct api_stream *stream)
{
    tpc_buf_done(&stream->pending);
    free(stream);
}

static void on_dropped(void *cls)
{
    struct api_stream *stream = cls;

    DL_DELETE(stream->server->streams, stream);
    stream->conn = NULL;
    if (stream->ended) {
        stream_free(stream);
    }
}

/* The client of a stream that has a head reads what comes, whole or cut off. */
static struct MHD_Response *response_of_pieces(struct api_stream *stream,
                                               const struct api_request *request)
{
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, STREAM_BLOCK_SIZE, on_read, stream, on_dropped);
    if (response != NULL) {
        stream->conn = request->conn;
        DL_APPEND(stream->server->streams, stream);
    }
    return response;
}

static struct MHD_Response *response_of_whole(struct api_stream *stream)
{
    size_t size = stream->pending.size;
    char *data = tpc_buf_take(&stream->pending);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(data == NULL ? 0 : size, data, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(data);
    }
    return response;
}

/* Send the head, and with it what there is. */
static void begin(struct api_stream *stream)
{
    struct api_request *request = stream->request;
    bool whole = stream->ended && !stream->broken;
    size_t size = stream->pending.size;

    DL_DELETE(stream->server->begun, stream);
    stream->request = NULL;
    struct MHD_Response *response =
        whole ? response_of_whole(stream) : response_of_pieces(stream, request);
    if (response != NULL) {
        api_server_add_headers(request, response, stream->status, stream->content_type);
    }
    api_server_answer(request, stream->status, response, whole ? size : 0);
    if (stream->ended && stream->conn == NULL) {
        stream_free(stream);
    }
}

void api_server_streams_begin(struct api_server *server, bool all)
{
    struct api_stream *stream, *next;
    DL_FOREACH_SAFE(server->begun, stream, next)
    {
        if (all || stream->pending.size > 0 || stream->ended || stream->broken) {
            begin(stream);
        }
    }
}

struct api_stream *api_stream_begin(struct api_request *request, int status,
                                    const char *content_type)
{
    struct api_server *server = request->server;
    struct api_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL) {
        api_server_answer(request, status, NULL, 0);
        return &nowhere;
    }
    stream->server = server;
    stream->status = status;
    stream->content_type = content_type;
    if (strcmp(request->method, "HEAD") == 0) {
        /* MHD would send the last chunk all the same, in front of the next answer. */
        struct MHD_Response *response =
            MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
        if (response != NULL) {
            api_server_add_headers(request, response, status, content_type);
        }
        api_server_answer(request, status, response, 0);
        return stream;
    }
    stream->request = request;
    DL_APPEND(server->begun, stream);
    return stream;
}

void api_stream_write(struct api_stream *stream, const void *data, size_t size)
{
    struct api_server *server = stream->server;

    TPC_ASSERT(!stream->ended);
    if ((stream->conn == NULL && stream->request == NULL) || stream->broken) {
        return;
    }
    if (tpc_fp_hit(server->options.send) ||
        size > server->options.stream_max - (stream->pending.size - stream->sent)) {
        stream->broken = true;
    } else {
        tpc_buf_add(&stream->pending, data, size);
        stream->broken = stream->pending.failed;
    }
    if (stream->request != NULL) {
        api_server_kick(server);
        return;
    }
    if (stream->broken && !stream->suspended) {
        /* The client reads nothing, so MHD asks for nothing. */
        (void)shutdown(stream->conn->fd, SHUT_RDWR);
    }
    wake(stream);
}

void api_stream_end(struct api_stream *stream)
{
    TPC_ASSERT(!stream->ended);
    if (stream == &nowhere) {
        return;
    }
    stream->ended = true;
    if (stream->request != NULL) {
        api_server_kick(stream->server);
        return;
    }
    if (stream->conn == NULL) {
        stream_free(stream);
        return;
    }
    wake(stream);
}

void api_server_streams_break(struct api_server *server)
{
    struct api_stream *stream;
    DL_FOREACH (server->streams, stream) {
        stream->broken = !stream->ended || stream->broken;
        /* Given up in its writer's place: stopping the server does that. */
        stream->ended = true;
        wake(stream);
    }
}
