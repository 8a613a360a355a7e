/* HTTP requests, one at a time (libcurl). */
#ifndef ASSENT_CLI_HTTP_H
#define ASSENT_CLI_HTTP_H

#include "base/buf.h"

struct cli_http; /* keeps connections between requests */

struct cli_request {
    const char *method;
    const char *url;
    const char *headers[4]; /* "Prefer: wait=5"; NULL: unused */
    const char *body;       /* NULL for none; sent as application/json */
    size_t body_size;
    unsigned long timeout_ms; /* of the whole; 0: 30 s */
    /* On a connection of its own. On a kept one that breaks before the answer begins, libcurl sends
     * the request again by itself, and it may arrive twice. */
    bool at_most_once;
};

struct cli_answer {
    int status;
    struct tpc_buf body;
};

/* NULL when memory is short. */
struct cli_http *cli_http_new(void);
void cli_http_free(struct cli_http *http);

/* TPC_OK when an answer of any status came; TPC_EUNREACHABLE when no connection could be made, so
 * nothing was sent; TPC_ETIMEOUT or TPC_EIO when it broke off, and what was sent may have arrived.
 * No redirects, no proxy. Free @ret_answer with cli_answer_done whatever came out. */
TPC_NODISCARD enum tpc_rc cli_http_do(struct cli_http *http, const struct cli_request *request,
                                      struct cli_answer *ret_answer, struct tpc_err *reterr);
void cli_answer_done(struct cli_answer *answer);

/* Add @text percent-encoded, for a path segment or a query value. */
void cli_http_escape(struct tpc_buf *out, const char *text);

#endif
