/* Documents damaged at random, with a fixed seed: no decoder may crash, leak or accept something
 * that it could not say again. Worth most under the sanitizers. */
#include "tests/unit/api/codec.h"

#define ROUNDS 3000

static const char *const seeds[] = {
    "{\"label\":\"\\u00e9\\ud83d\\ude00\",\"timeout_ms\":5000,\"ack\":\"decided\",\"isolation\":"
    "\"default\",\"branches\":[{\"participant\":\"east\",\"statements\":[{\"sql\":\"UPDATE a\","
    "\"params\":[30,-1.5e3,null,true,\"x\",{\"int64\":\"-9007199254740993\"},{\"blob\":\"AAEC\"}],"
    "\"expect\":{\"rows\":{\"min\":1,\"max\":5}}},{\"sql\":\"S\",\"expect\":{\"rows\":1}}]},"
    "{\"participant\":\"west\",\"statements\":[{\"sql\":\"T\"}]}]}",
    "{\"coordinator\":{\"id\":\"" ID_A "\",\"url\":\"http://127.0.0.1:7400\",\"generation\":7,"
    "\"nonce\":\"" ID_B "\"},\"messages\":[{\"op\":\"prepare\",\"gtid\":\"" ID_A "\",\"began_us\":"
    "1763632800123456,\"timeout_ms\":50,\"one_phase\":true,\"statements\":[{\"sql\":\"S\","
    "\"params\":[{\"blob\":\"AA==\"},\"y\",0.1]}]},{\"op\":\"commit\",\"gtid\":\"zzz\"}]}",
    "{\"op\":\"prepare\",\"gtid\":\"" ID_A "\",\"participant_id\":\"" ID_B "\",\"vote\":\"no\","
    "\"cause\":{\"code\":\"constraint\",\"statement\":1,\"detail\":\"d\",\"sqlstate\":\"23514\"},"
    "\"results\":[{\"columns\":[\"a\"],\"rows\":[[1,2.5,\"x\",null]]}]}",
    "{\"op\":\"abort\",\"gtid\":\"" ID_A "\",\"participant_id\":\"" ID_B "\",\"error\":"
    "\"log_set_back\",\"generation_seen\":3}",
    "{\"participant_id\":\"" ID_A "\",\"coordinator\":{\"id\":\"" ID_A "\",\"generation\":1,"
    "\"nonce\":\"" ID_A "\"},\"gtids\":[\"" ID_A "\",\"" ID_B "\"]}",
    "{\"coordinator_id\":\"" ID_A "\",\"decisions\":[{\"gtid\":\"" ID_A
    "\",\"outcome\":\"commit\"},"
    "{\"gtid\":\"" ID_B "\",\"outcome\":\"abort\"}]}",
    "{\"outcome\":\"commit\",\"reason\":\"r\",\"operator\":\"o\"}",
    "{\"url\":\"http://[::1]:7411/x\"}",
};

/* What hurts parsers more than a random byte. */
static const char *const splices[] = {
    "null", "[",    "]",     "{",    "}",       "\"",        "\\",
    ",",    ":",    "1e999", "-",    "0",       "{\"a\":1}", "\\ud800",
    "\xFF", "\xC3", "-0.0",  "9999", "\\u0000", "[[[[[[[[",  "18446744073709551616"};

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

static size_t below(uint64_t *state, size_t bound)
{
    return (size_t)(next_random(state) % bound);
}

/* Change @doc once. */
static void mutate(struct tpc_buf *doc, uint64_t *random)
{
    if (doc->size == 0) {
        tpc_buf_addc(doc, '{');
        return;
    }
    size_t at = below(random, doc->size);
    size_t length = below(random, doc->size - at) % 24;
    struct tpc_buf made = {0};
    tpc_buf_add(&made, doc->data, at);
    switch (below(random, 5)) {
    case 0: /* another byte */
        tpc_buf_addc(&made, (char)below(random, 256));
        tpc_buf_add(&made, doc->data + at + 1, doc->size - at - 1);
        break;
    case 1: /* a piece taken out */
        tpc_buf_add(&made, doc->data + at + length, doc->size - at - length);
        break;
    case 2: /* a piece twice */
        tpc_buf_add(&made, doc->data + at, length);
        tpc_buf_add(&made, doc->data + at, doc->size - at);
        break;
    case 3: /* cut */
        if (below(random, 8) != 0) {
            tpc_buf_add(&made, doc->data + at, doc->size - at);
        }
        break;
    default: /* a piece put in, or instead of another */
        tpc_buf_adds(&made, splices[below(random, sizeof(splices) / sizeof(splices[0]))]);
        length = below(random, 2) ? length : 0;
        tpc_buf_add(&made, doc->data + at + length, doc->size - at - length);
        break;
    }
    tpc_buf_done(doc);
    *doc = made;
}

static void check_refusal(enum tpc_rc rc, const struct api_refusal *refusal)
{
    if (rc) {
        assert_int_equal(rc, refusal->rc);
        assert_true(rc == TPC_EINVAL || rc == TPC_ESYNTAX);
        assert_true(*refusal->detail);
        struct tpc_buf out = {0};
        int status;
        api_problem_refusal(&out, refusal, &status);
        struct api_json *root = NULL;
        assert_int_equal(api_json_parse(out.data, out.size, &root, NULL), TPC_OK);
        api_json_free(root);
        tpc_buf_done(&out);
    }
}

/* Printing is a fixed point: what we print, we read, and print the same. */
static void try_json(const char *text, size_t size)
{
    struct api_json *root, *again;
    if (api_json_parse(text, size, &root, NULL)) {
        return;
    }
    struct tpc_buf first = {0}, second = {0};
    api_json_print(&first, root);
    assert_int_equal(api_json_parse(first.data, first.size, &again, NULL), TPC_OK);
    api_json_print(&second, again);
    assert_string_equal(first.data, second.data);
    tpc_buf_done(&first);
    tpc_buf_done(&second);
    api_json_free(root);
    api_json_free(again);
}

static void try_submit(const char *text, size_t size)
{
    static const struct api_codec_limits limits = {0};
    struct api_refusal refusal = {0};
    struct api_submit submit;
    check_refusal(api_submit_decode(text, size, &limits, &submit, &refusal), &refusal);
    /* What the coordinator accepts, no participant refuses. */
    for (size_t i = 0; i < submit.branch_count; i++) {
        const struct api_coordinator coordinator = {.url = "http://a"};
        const struct api_message message = {.op = API_OP_PREPARE};
        struct tpc_buf out = {0};
        api_envelope_begin(&out, &coordinator);
        api_message_write(&out, &message, submit.branches[i].statements,
                          submit.branches[i].statements_size);
        api_envelope_end(&out);
        struct api_envelope envelope;
        assert_int_equal(api_envelope_decode(out.data, out.size, &limits, 1, &envelope, NULL),
                         TPC_OK);
        api_envelope_done(&envelope);
        tpc_buf_done(&out);
    }
    api_submit_done(&submit);
}

static void try_answer(const char *text, size_t size)
{
    struct api_answer answer, back;
    struct tpc_err err = {0};
    if (api_answer_decode(text, size, &answer, &err)) {
        assert_true(*err.text);
        return;
    }
    struct tpc_buf out = {0};
    api_answer_write(&out, &answer);
    assert_int_equal(api_answer_decode(out.data, out.size, &back, &err), TPC_OK);
    assert_int_equal(back.vote, answer.vote);
    assert_int_equal(back.state, answer.state);
    assert_int_equal(back.error, answer.error);
    tpc_buf_done(&out);
    api_answer_done(&answer);
    api_answer_done(&back);
}

static void try_others(const char *text, size_t size)
{
    static const struct api_codec_limits limits = {0};
    struct api_refusal refusal = {0};
    struct api_envelope envelope;
    check_refusal(api_envelope_decode(text, size, &limits, 8, &envelope, &refusal), &refusal);
    api_envelope_done(&envelope);
    struct api_inquiry inquiry;
    check_refusal(api_inquiry_decode(text, size, 8, &inquiry, &refusal), &refusal);
    api_inquiry_done(&inquiry);
    struct api_decisions decisions;
    if (api_decisions_decode(text, size, &decisions, NULL) == TPC_OK) {
        api_decisions_done(&decisions);
    }
    struct api_resolve resolve;
    check_refusal(api_resolve_decode(text, size, &resolve, &refusal), &refusal);
    api_resolve_done(&resolve);
    char *url = NULL;
    check_refusal(api_participant_decode(text, size, &url, &refusal), &refusal);
    free(url);
    struct tpc_id *gtids = NULL;
    size_t count;
    check_refusal(api_lookup_decode(text, size, 8, &gtids, &count, &refusal), &refusal);
    free(gtids);
}

static void try_all(const char *text, size_t size)
{
    /* An exact copy lets the sanitizer see a read beyond the end. */
    char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    try_json(copy, size);
    try_submit(copy, size);
    try_answer(copy, size);
    try_others(copy, size);
    free(copy);
}

static void test_mutants__are_read_or_refused(void **state)
{
    (void)state;
    uint64_t random = UINT64_C(0x5DEECE66D1234567);
    for (int round = 0; round < ROUNDS; round++) {
        const char *seed = seeds[(size_t)round % (sizeof(seeds) / sizeof(seeds[0]))];
        struct tpc_buf doc = {0};
        tpc_buf_adds(&doc, seed);
        for (size_t left = 1 + below(&random, 6); left > 0; left--) {
            mutate(&doc, &random);
            try_all(doc.data ? doc.data : "", doc.size);
        }
        tpc_buf_done(&doc);
    }
}

static void test_mutants__every_cut_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        size_t size = strlen(seeds[i]);
        for (size_t cut = 0; cut < size; cut++) {
            struct api_json *root;
            struct tpc_err err = {0};
            char *copy = malloc(cut + 1);
            assert_non_null(copy);
            memcpy(copy, seeds[i], cut);
            assert_int_equal(api_json_parse(copy, cut, &root, &err), TPC_ESYNTAX);
            assert_non_null(strstr(err.text, "at byte"));
            free(copy);
        }
        try_all(seeds[i], size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mutants__are_read_or_refused),
        cmocka_unit_test(test_mutants__every_cut_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
