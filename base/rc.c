#include "base/rc.h"

#include <stdarg.h>
#include <stdio.h>

struct rc_row {
    const char *name;
    const char *text;
    int http_status;
    bool retryable;
};

static const struct rc_row rows[] = {
#define TPC_RC_ROW(name, text, status, retry) [name] = {#name, text, status, retry},
    TPC_RC_LIST(TPC_RC_ROW)
#undef TPC_RC_ROW
};

static const struct rc_row *row_of(enum tpc_rc rc)
{
    static const struct rc_row unknown = {"TPC_UNKNOWN", "unknown error", 500, false};
    return (unsigned)rc < TPC_RC_COUNT ? &rows[rc] : &unknown;
}

const char *tpc_rc_name(enum tpc_rc rc)
{
    return row_of(rc)->name;
}

const char *tpc_rc_text(enum tpc_rc rc)
{
    return row_of(rc)->text;
}

int tpc_rc_http_status(enum tpc_rc rc)
{
    return row_of(rc)->http_status;
}

bool tpc_rc_retryable(enum tpc_rc rc)
{
    return row_of(rc)->retryable;
}

enum tpc_rc tpc_fail(struct tpc_err *reterr, enum tpc_rc rc, const char *format, ...)
{
    if (reterr != NULL && reterr->rc == TPC_OK) {
        va_list args;
        va_start(args, format);
        reterr->rc = rc;
        vsnprintf(reterr->text, sizeof reterr->text, format, args);
        va_end(args);
    }
    return rc;
}
