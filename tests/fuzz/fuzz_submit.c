/* The body of POST /v1/transactions: what the coordinator accepts, every participant accepts, and
 * both see the same statements. */
#include "tests/fuzz/codec.h"

static void send_on(const struct api_submit_branch *branch)
{
    const struct api_coordinator coordinator = {.url = "http://a", .generation = 1};
    const struct api_message message = {.op = API_OP_PREPARE, .gtid_valid = true, .timeout_ms = 1};
    struct api_envelope envelope;
    struct api_json *statements = NULL;
    struct tpc_buf out = {0};
    TPC_ASSERT(api_json_parse(branch->statements, branch->statements_size, &statements, NULL) ==
               TPC_OK);
    api_envelope_begin(&out, &coordinator);
    api_message_write(&out, &message, branch->statements, branch->statements_size);
    api_envelope_end(&out);
    TPC_ASSERT(api_envelope_decode(out.data, out.size, &fuzz_limits, 1, &envelope, NULL) == TPC_OK);
    TPC_ASSERT(envelope.count == 1);
    TPC_ASSERT(envelope.messages[0].statements.count == api_json_count(statements));
    api_envelope_done(&envelope);
    api_json_free(statements);
    tpc_buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct api_refusal refusal = {0};
    struct api_submit submit;
    enum tpc_rc rc = api_submit_decode((const char *)data, size, &fuzz_limits, &submit, &refusal);
    if (rc != TPC_OK) {
        fuzz_check_refusal(rc, &refusal);
        return 0;
    }
    TPC_ASSERT(submit.open == (submit.branch_count == 0) &&
               submit.branch_count <= fuzz_limits.branches);
    TPC_ASSERT(submit.timeout_ms > 0 && submit.timeout_ms <= 3600000);
    for (size_t i = 0; i < submit.branch_count; i++) {
        TPC_ASSERT(api_name_check(submit.branches[i].participant));
        send_on(&submit.branches[i]);
    }
    api_submit_done(&submit);
    return 0;
}
