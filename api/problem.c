#include "api/problem.h"

#include <stdio.h>

enum { FIELD_SIZE = sizeof(((struct api_refusal *)0)->field) }; /* a client's own words: cut */

void api_problem_begin(struct tpc_buf *out, const char *type, const char *title, int status,
                       const char *detail, const char *field)
{
    api_jw_open(out, '{');
    api_jw_key(out, "type");
    tpc_buf_addf(out, "\"urn:assent:problem:%s\"", type); /* a plain word */
    api_jw_key(out, "title");
    api_jw_str(out, title);
    api_jw_key(out, "status");
    api_jw_i64(out, status);
    if (detail && *detail) {
        api_jw_key(out, "detail");
        api_jw_str(out, detail);
    }
    if (field && *field) {
        char cut[FIELD_SIZE];
        (void)snprintf(cut, sizeof(cut), "%s", field);
        api_jw_key(out, "field");
        api_jw_str(out, cut);
    }
}

struct kind {
    enum tpc_rc rc;
    const char *type;
    const char *title;
};

void api_problem_refusal(struct tpc_buf *out, const struct api_refusal *refusal, int *ret_status)
{
    static const struct kind kinds[] = {
        {TPC_ESYNTAX, "malformed", "The request is not understood"},
        {TPC_EINVAL, "invalid", "The request is not allowed"},
        {TPC_ENOTSUP, "not-supported", "This is not supported"},
        {TPC_ETOOBIG, "too-large", "The request is too large"},
        {TPC_ENOMEM, "out-of-memory", "No memory for the request: try again later"},
    };
    struct kind kind = {refusal->rc, "error", tpc_rc_text(refusal->rc)};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (kinds[i].rc == refusal->rc) {
            kind = kinds[i];
        }
    }
    *ret_status = tpc_rc_http_status(refusal->rc);
    api_problem_begin(out, kind.type, kind.title, *ret_status, refusal->detail, refusal->field);
    api_jw_close(out, '}');
}
