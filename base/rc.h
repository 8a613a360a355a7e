/* Return codes and error texts, shared by every layer.
 *
 * A bug asserts (tpc_assert.h), an operating error returns one of these, and an unknown durable
 * outcome halts the daemon. */
#ifndef ASSENT_BASE_RC_H
#define ASSENT_BASE_RC_H

#include <stdbool.h>

#define TPC_NODISCARD    __attribute__((warn_unused_result))
#define TPC_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* name, text, HTTP status, whether the same request may succeed later */
#define TPC_RC_LIST(X)                                                                             \
    X(TPC_OK, "success", 200, false)                                                               \
    X(TPC_ENOMEM, "out of memory", 503, true)                                                      \
    X(TPC_EINVAL, "invalid value", 422, false)                                                     \
    X(TPC_ESYNTAX, "malformed input", 400, false)                                                  \
    X(TPC_ETOOBIG, "too large", 413, false)                                                        \
    X(TPC_ENOTFOUND, "not found", 404, false)                                                      \
    X(TPC_EEXIST, "exists already", 409, false)                                                    \
    X(TPC_EPROTO, "not allowed in this state", 409, false)                                         \
    X(TPC_EBUSY, "in use", 503, true)                                                              \
    X(TPC_EFULL, "limit reached", 503, true)                                                       \
    X(TPC_EIO, "input/output error", 500, true)                                                    \
    X(TPC_ECORRUPT, "damaged data", 500, false)                                                    \
    X(TPC_EMISSING, "log is missing", 500, false)                                                  \
    X(TPC_ESETBACK, "log was set back to an old copy", 500, false)                                 \
    X(TPC_EUNREACHABLE, "unreachable", 503, true)                                                  \
    X(TPC_ETIMEOUT, "timed out", 504, true)                                                        \
    X(TPC_ENOTSUP, "not supported", 422, false)

enum tpc_rc {
#define TPC_RC_ENUM(name, text, status, retry) name,
    TPC_RC_LIST(TPC_RC_ENUM)
#undef TPC_RC_ENUM
        TPC_RC_COUNT
};

/* The first cause of a failure, in words. Zero-initialise; pass on down. */
struct tpc_err {
    enum tpc_rc rc;
    char text[512];
};

const char *tpc_rc_name(enum tpc_rc rc); /* "TPC_EIO" */
const char *tpc_rc_text(enum tpc_rc rc);
int tpc_rc_http_status(enum tpc_rc rc);
bool tpc_rc_retryable(enum tpc_rc rc);

/* Note @rc and the words in @reterr unless it already holds an earlier cause; returns @rc, so that
 * a caller can write `return tpc_fail(reterr, TPC_EIO, "...")`. @reterr may be NULL. */
enum tpc_rc tpc_fail(struct tpc_err *reterr, enum tpc_rc rc, const char *format, ...)
    TPC_PRINTF(3, 4);

#endif
