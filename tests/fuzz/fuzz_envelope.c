/* The body of POST /v1/messages: what is read is written so that it reads back the same. */
#include "tests/fuzz/codec.h"

enum { MESSAGES_MAX = 8 };

static void write_expect(struct tpc_buf *out, const struct api_statement *statement)
{
    api_jw_key(out, "expect");
    api_jw_open(out, '{');
    api_jw_key(out, "rows");
    api_jw_open(out, '{');
    api_jw_key(out, "min");
    api_jw_u64(out, statement->expect_min);
    if (statement->expect_max != UINT64_MAX) {
        api_jw_key(out, "max");
        api_jw_u64(out, statement->expect_max);
    }
    api_jw_close(out, '}');
    api_jw_close(out, '}');
}

static void write_statements(struct tpc_buf *out, const struct api_statements *statements)
{
    api_jw_open(out, '[');
    for (size_t i = 0; i < statements->count; i++) {
        const struct api_statement *statement = &statements->items[i];
        api_jw_open(out, '{');
        api_jw_key(out, "sql");
        api_jw_str(out, statement->sql);
        api_jw_key(out, "params");
        api_jw_open(out, '[');
        for (size_t p = 0; p < statement->param_count; p++) {
            api_value_write(out, &statement->params[p]);
        }
        api_jw_close(out, ']');
        if (statement->has_expect) {
            write_expect(out, statement);
        }
        api_jw_close(out, '}');
    }
    api_jw_close(out, ']');
}

static void check_statements(const struct api_statements *a, const struct api_statements *b)
{
    TPC_ASSERT(a->count == b->count);
    for (size_t i = 0; i < a->count; i++) {
        const struct api_statement *x = &a->items[i], *y = &b->items[i];
        TPC_ASSERT(strcmp(x->sql, y->sql) == 0 && x->param_count == y->param_count);
        TPC_ASSERT(x->has_expect == y->has_expect);
        TPC_ASSERT(!x->has_expect ||
                   (x->expect_min == y->expect_min && x->expect_max == y->expect_max));
        for (size_t p = 0; p < x->param_count; p++) {
            TPC_ASSERT(fuzz_value_same(&x->params[p], &y->params[p]));
        }
    }
}

static void check_message(const struct api_message *a, const struct api_message *b)
{
    TPC_ASSERT(a->op == b->op && a->one_phase == b->one_phase && a->isolation == b->isolation);
    TPC_ASSERT(tpc_id_equal(&a->gtid, &b->gtid));
    TPC_ASSERT(a->op != API_OP_PREPARE ||
               (a->began_us == b->began_us && a->timeout_ms == b->timeout_ms));
    check_statements(&a->statements, &b->statements);
}

/* Those messages whose gtid cannot be said again are left out. */
static void round_trip(const struct api_envelope *envelope)
{
    struct tpc_buf out = {0}, statements = {0};
    const struct api_message *sent[MESSAGES_MAX];
    size_t count = 0;
    api_envelope_begin(&out, &envelope->coordinator);
    for (size_t i = 0; i < envelope->count; i++) {
        const struct api_message *message = &envelope->messages[i];
        if (message->gtid_valid) {
            bool prepare = message->op == API_OP_PREPARE;
            tpc_buf_clear(&statements);
            write_statements(&statements, &message->statements);
            api_message_write(&out, message, prepare ? statements.data : NULL, statements.size);
            sent[count++] = message;
        }
    }
    api_envelope_end(&out);
    tpc_buf_done(&statements);
    struct api_envelope again;
    enum tpc_rc rc =
        api_envelope_decode(out.data, out.size, &fuzz_limits, MESSAGES_MAX, &again, NULL);
    TPC_ASSERT(rc == TPC_OK || count == 0);
    TPC_ASSERT(again.count == count);
    for (size_t i = 0; i < count; i++) {
        check_message(sent[i], &again.messages[i]);
    }
    TPC_ASSERT(count == 0 || memcmp(&again.coordinator.id, &envelope->coordinator.id,
                                    sizeof again.coordinator.id) == 0);
    TPC_ASSERT(count == 0 || again.coordinator.generation == envelope->coordinator.generation);
    TPC_ASSERT(count == 0 || strcmp(again.coordinator.url, envelope->coordinator.url) == 0);
    api_envelope_done(&again);
    tpc_buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct api_refusal refusal = {0};
    struct api_envelope envelope;
    enum tpc_rc rc = api_envelope_decode((const char *)data, size, &fuzz_limits, MESSAGES_MAX,
                                         &envelope, &refusal);
    if (rc != TPC_OK) {
        fuzz_check_refusal(rc, &refusal);
        TPC_ASSERT(envelope.count == 0 && envelope.messages == NULL);
        return 0;
    }
    TPC_ASSERT(envelope.count <= MESSAGES_MAX);
    round_trip(&envelope);
    api_envelope_done(&envelope);
    return 0;
}
