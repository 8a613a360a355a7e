/* A line of a participant's answer: what is read is written so that it reads back the same. */
#include "tests/fuzz/codec.h"

static bool same_text(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

static void check_same(const struct api_answer *a, const struct api_answer *b)
{
    TPC_ASSERT(a->op == b->op && a->gtid_valid == b->gtid_valid);
    TPC_ASSERT(tpc_id_equal(&a->gtid, &b->gtid));
    TPC_ASSERT(tpc_id_equal(&a->participant_id, &b->participant_id));
    TPC_ASSERT(a->vote == b->vote && a->state == b->state && a->error == b->error);
    TPC_ASSERT(a->cause.code == b->cause.code && a->cause.statement == b->cause.statement);
    TPC_ASSERT(same_text(a->cause.detail, b->cause.detail));
    TPC_ASSERT(strcmp(a->cause.sqlstate, b->cause.sqlstate) == 0);
    TPC_ASSERT(fuzz_same(a->results, a->results_size, b->results, b->results_size));
    TPC_ASSERT(a->generation_seen == b->generation_seen);
}

/* A participant never says less than this. */
static void check_sense(const struct api_answer *answer)
{
    bool error = answer->error != API_ERROR_NONE;
    TPC_ASSERT(error || answer->op != API_OP_PREPARE || answer->vote != API_VOTE_NONE);
    TPC_ASSERT(error || answer->op == API_OP_PREPARE || answer->state != API_STATE_NONE);
    TPC_ASSERT(answer->vote != API_VOTE_NO || answer->cause.code != API_CAUSE_NONE);
    TPC_ASSERT(answer->results == NULL || answer->results_size == strlen(answer->results));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct api_answer answer, again;
    struct tpc_err err = {0};
    struct tpc_buf out = {0};
    if (api_answer_decode((const char *)data, size, &answer, &err) != TPC_OK) {
        TPC_ASSERT(err.rc != TPC_OK && err.text[0] != '\0');
        return 0;
    }
    check_sense(&answer);
    api_answer_write(&out, &answer);
    TPC_ASSERT(memchr(out.data, '\n', out.size) == out.data + out.size - 1);
    TPC_ASSERT(api_answer_decode(out.data, out.size, &again, &err) == TPC_OK);
    check_same(&answer, &again);
    tpc_buf_done(&out);
    api_answer_done(&answer);
    api_answer_done(&again);
    return 0;
}
