/* HTTP client on the loop thread (libcurl multi, nested in the loop). Never follows redirects,
 * keeps connections, HTTP/1.1 only. */
#ifndef ASSENT_API_CLIENT_H
#define ASSENT_API_CLIENT_H

#include "base/buf.h"
#include "base/failpoint.h"

struct uv_loop_s;
struct api_client;

struct api_call {
    /* The caller fills these in. */
    const char *method;  /* "POST" */
    const char *url;     /* borrowed until done */
    const char *header;  /* one more, "Name: value"; borrowed until done; NULL: none */
    struct tpc_buf body; /* taken; empty for none. Sent as application/json */
    /* On a connection of its own. On a kept one that breaks before the answer begins, libcurl sends
     * the request again by itself, and it may arrive twice. */
    bool at_most_once;
    uint32_t timeout_ms;         /* of the whole call; 0: none but connect_timeout */
    uint32_t connect_timeout_ms; /* default 2000 */
    /* Each whole line of a 200 answer's body as it comes, without '\n' and not terminated; the last
     * may lack its '\n'. NULL: gather in `answer`. */
    void (*on_line)(struct api_call *call, const char *line, size_t size);
    /* Once, the last. rc: TPC_OK when an answer came whole (see status), TPC_EUNREACHABLE when no
     * connection could be made (nothing was sent), TPC_ETIMEOUT, TPC_EIO when it broke or
     * was cancelled (what was sent may have arrived), TPC_ETOOBIG. The call may be reused or freed
     * here. */
    void (*on_done)(struct api_call *call, enum tpc_rc rc, const struct tpc_err *err);
    struct tpc_failpoint *send; /* before it leaves; error: as a broken connection */
    struct tpc_failpoint
        *receive;      /* at the first byte of the answer; error: as a broken connection */
    size_t answer_max; /* default 64 MiB; a longer line or answer: TPC_ETOOBIG */
    /* Set by the client. */
    int status; /* HTTP, 0 before there is one */
    struct tpc_buf
        answer; /* when on_line is NULL, or the status is not 200; freed by api_call_done */
    void *internal;
};
void api_call_done(struct api_call *call); /* frees body and answer */

struct api_client_options {
    struct uv_loop_s *loop;
    size_t connections_max; /* kept in the cache, default 256 */
};
TPC_NODISCARD enum tpc_rc api_client_new(const struct api_client_options *options,
                                         struct api_client **ret_client, struct tpc_err *reterr);
/* @call stays the caller's and must live until on_done. on_done is never called from inside. Calls
 * may be started and cancelled in on_line and on_done. On an error (TPC_ENOMEM; TPC_EIO while the
 * client is being freed) on_done does not come. */
TPC_NODISCARD enum tpc_rc api_client_start(struct api_client *client, struct api_call *call);
void api_client_cancel(struct api_client *client,
                       struct api_call *call); /* on_done with TPC_EIO, soon */
/* Calls under way end with TPC_EIO first. Not from on_line or on_done. Its memory goes when the
 * loop has closed its handles: run it once more. */
void api_client_free(struct api_client *client);

#endif
