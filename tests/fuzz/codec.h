/* For the targets of the message codec. */
#ifndef ASSENT_TESTS_FUZZ_CODEC_H
#define ASSENT_TESTS_FUZZ_CODEC_H

#include "tests/fuzz/fuzz.h"

#include "api/codec.h"
#include "api/problem.h"

static const struct api_codec_limits fuzz_limits = {.branches = 8, .statements = 32, .params = 64};

/* A refusal says why, and makes a problem document that is JSON. */
static inline void fuzz_check_refusal(enum tpc_rc rc, const struct api_refusal *refusal)
{
    struct tpc_buf out = {0};
    struct api_json *root = NULL;
    int status = 0;
    TPC_ASSERT(rc == TPC_EINVAL || rc == TPC_ESYNTAX || rc == TPC_ETOOBIG || rc == TPC_ENOTSUP);
    TPC_ASSERT(refusal->rc == rc && refusal->detail[0] != '\0');
    api_problem_refusal(&out, refusal, &status);
    TPC_ASSERT(status >= 400 && status < 500);
    TPC_ASSERT(api_json_parse(out.data, out.size, &root, NULL) == TPC_OK);
    api_json_free(root);
    tpc_buf_done(&out);
}

static inline bool fuzz_value_same(const struct api_value *a, const struct api_value *b)
{
    if (a->type != b->type) {
        return false;
    }
    switch (a->type) {
    case API_BOOL:
        return a->boolean == b->boolean;
    case API_INT64:
        return a->int64 == b->int64;
    case API_DOUBLE:
        return memcmp(&a->real, &b->real, sizeof a->real) == 0;
    case API_TEXT:
    case API_BLOB:
        return fuzz_same(a->bytes.data, a->bytes.size, b->bytes.data, b->bytes.size);
    case API_NULL:
        break;
    }
    return true;
}

#endif
