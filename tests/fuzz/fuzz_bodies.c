/* The small bodies: inquiry, decisions, resolve, participant, lookup; the first byte says which. */
#include "tests/fuzz/codec.h"

#include <stdlib.h>

enum { GTIDS_MAX = 16 };

static void try_inquiry(const char *body, size_t size)
{
    struct api_refusal refusal = {0};
    struct api_inquiry inquiry, again;
    struct tpc_buf out = {0};
    enum tpc_rc rc = api_inquiry_decode(body, size, GTIDS_MAX, &inquiry, &refusal);
    if (rc != TPC_OK) {
        fuzz_check_refusal(rc, &refusal);
        return;
    }
    api_inquiry_write(&out, &inquiry);
    TPC_ASSERT(api_inquiry_decode(out.data, out.size, GTIDS_MAX, &again, NULL) == TPC_OK);
    TPC_ASSERT(tpc_id_equal(&inquiry.participant_id, &again.participant_id));
    TPC_ASSERT(tpc_id_equal(&inquiry.coordinator.id, &again.coordinator.id));
    TPC_ASSERT(inquiry.coordinator.generation == again.coordinator.generation);
    TPC_ASSERT(tpc_id_equal(&inquiry.coordinator.nonce, &again.coordinator.nonce));
    TPC_ASSERT(fuzz_same(inquiry.gtids, inquiry.count * sizeof *inquiry.gtids, again.gtids,
                         again.count * sizeof *again.gtids));
    api_inquiry_done(&inquiry);
    api_inquiry_done(&again);
    tpc_buf_done(&out);
}

static void try_decisions(const char *body, size_t size)
{
    struct tpc_err err = {0};
    struct api_decisions decisions, again;
    struct tpc_buf out = {0};
    if (api_decisions_decode(body, size, &decisions, &err) != TPC_OK) {
        TPC_ASSERT(err.rc != TPC_OK && err.text[0] != '\0');
        return;
    }
    api_decisions_write(&out, &decisions);
    TPC_ASSERT(api_decisions_decode(out.data, out.size, &again, &err) == TPC_OK);
    TPC_ASSERT(tpc_id_equal(&decisions.coordinator_id, &again.coordinator_id));
    TPC_ASSERT(decisions.count == again.count);
    for (size_t i = 0; i < decisions.count; i++) {
        TPC_ASSERT(tpc_id_equal(&decisions.items[i].gtid, &again.items[i].gtid));
        TPC_ASSERT(decisions.items[i].outcome == again.items[i].outcome);
    }
    api_decisions_done(&decisions);
    api_decisions_done(&again);
    tpc_buf_done(&out);
}

static void try_resolve(const char *body, size_t size)
{
    struct api_refusal refusal = {0};
    struct api_resolve resolve;
    enum tpc_rc rc = api_resolve_decode(body, size, &resolve, &refusal);
    if (rc != TPC_OK) {
        fuzz_check_refusal(rc, &refusal);
        return;
    }
    TPC_ASSERT(resolve.outcome == API_OUTCOME_COMMIT || resolve.outcome == API_OUTCOME_ABORT);
    TPC_ASSERT(resolve.reason != NULL && resolve.operator_name != NULL);
    api_resolve_done(&resolve);
}

static void try_participant(const char *body, size_t size)
{
    struct api_refusal refusal = {0};
    char *url = NULL;
    enum tpc_rc rc = api_participant_decode(body, size, &url, &refusal);
    if (rc != TPC_OK) {
        fuzz_check_refusal(rc, &refusal);
        return;
    }
    TPC_ASSERT(api_url_check(url));
    free(url);
}

static void try_lookup(const char *body, size_t size)
{
    struct api_refusal refusal = {0};
    struct tpc_id *gtids = NULL;
    size_t count = 0;
    enum tpc_rc rc = api_lookup_decode(body, size, GTIDS_MAX, &gtids, &count, &refusal);
    if (rc != TPC_OK) {
        fuzz_check_refusal(rc, &refusal);
        return;
    }
    TPC_ASSERT(count <= GTIDS_MAX && (count == 0 || gtids != NULL));
    free(gtids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const tries[])(const char *, size_t) = {try_inquiry, try_decisions, try_resolve,
                                                          try_participant, try_lookup};
    struct fuzz_input in = {data, data + size};
    unsigned which = fuzz_below(&in, sizeof tries / sizeof tries[0]);
    tries[which]((const char *)in.at, (size_t)(in.end - in.at));
    return 0;
}
