/* What a participant answers. */
#include "tests/unit/api/codec.h"

#define HEAD(op) "{\"op\":\"" op "\",\"gtid\":\"" ID_A "\",\"participant_id\":\"" ID_C "\""

static struct api_answer decoded(const char *line)
{
    struct api_answer answer;
    struct tpc_err err = {0};
    if (api_answer_decode(line, strlen(line), &answer, &err)) {
        fail_msg("%s\n  %s", line, err.text);
    }
    return answer;
}

static void refused(const char *line, enum tpc_rc rc, const char *words)
{
    struct api_answer answer;
    memset(&answer, 0xA5, sizeof(answer));
    struct tpc_err err = {0};
    assert_int_equal(api_answer_decode(line, strlen(line), &answer, &err), rc);
    if (!strstr(err.text, words)) {
        fail_msg("%s\n  %s", line, err.text);
    }
    assert_null(answer.results);
    assert_null(answer.cause.detail);
}

/* Write @answer, compare, and read it back. */
static struct api_answer through(const struct api_answer *answer, const char *line)
{
    struct tpc_buf out = {0};
    api_answer_write(&out, answer);
    assert_string_equal(out.data, line);
    struct api_answer back = decoded(out.data);
    tpc_buf_done(&out);
    assert_int_equal(back.op, answer->op);
    assert_int_equal(back.vote, answer->vote);
    assert_int_equal(back.state, answer->state);
    assert_int_equal(back.error, answer->error);
    assert_int_equal(back.cause.code, answer->cause.code);
    assert_int_equal(back.gtid_valid, answer->gtid_valid);
    return back;
}

static struct api_answer answer_to(enum api_op op)
{
    return (struct api_answer){.op = op,
                               .gtid_valid = true,
                               .gtid = id_of(ID_A),
                               .participant_id = id_of(ID_C),
                               .cause = {.statement = -1}};
}

static void test_answer__votes(void **state)
{
    (void)state;
    struct api_answer yes = answer_to(API_OP_PREPARE);
    yes.vote = API_VOTE_YES;
    yes.results = (char[]){"[{\"rows_affected\":1},{\"columns\":[\"b\"],\"rows\":[[70]]}]"};
    yes.results_size = strlen(yes.results);
    struct api_answer back =
        through(&yes, HEAD("prepare") ",\"vote\":\"yes\",\"results\":[{\"rows_affected\":1},"
                                      "{\"columns\":[\"b\"],\"rows\":[[70]]}]}\n");
    assert_string_equal(back.results, yes.results);
    assert_int_equal(back.results_size, yes.results_size);
    assert_id(&back.gtid, ID_A);
    assert_id(&back.participant_id, ID_C);
    assert_int_equal(back.cause.statement, -1);
    api_answer_done(&back);

    static const char *const names[] = {"read_only", "committed"};
    for (int i = 0; i < 2; i++) {
        char line[300];
        (void)snprintf(line, sizeof(line), HEAD("prepare") ",\"vote\":\"%s\"}\n", names[i]);
        struct api_answer vote = answer_to(API_OP_PREPARE);
        vote.vote = (enum api_vote)(API_VOTE_READ_ONLY + i);
        back = through(&vote, line);
        assert_null(back.results);
        api_answer_done(&back);
    }
}

static void test_answer__no_with_its_cause(void **state)
{
    (void)state;
    struct api_answer no = answer_to(API_OP_PREPARE);
    no.vote = API_VOTE_NO;
    no.cause = (struct api_cause){.code = API_CAUSE_CONSTRAINT,
                                  .statement = 2,
                                  .detail = (char[]){"CHECK constraint failed: \"b\""},
                                  .sqlstate = "23514"};
    struct api_answer back = through(
        &no, HEAD("prepare") ",\"vote\":\"no\",\"cause\":{\"code\":\"constraint\",\"statement\":2,"
                             "\"detail\":\"CHECK constraint failed: \\\"b\\\"\","
                             "\"sqlstate\":\"23514\"}}\n");
    assert_int_equal(back.cause.statement, 2);
    assert_string_equal(back.cause.detail, no.cause.detail);
    assert_string_equal(back.cause.sqlstate, "23514");
    api_answer_done(&back);

    no.cause = (struct api_cause){.code = API_CAUSE_CONFLICT, .statement = -1};
    back = through(&no, HEAD("prepare") ",\"vote\":\"no\",\"cause\":{\"code\":\"conflict\"}}\n");
    assert_null(back.cause.detail);
    assert_string_equal(back.cause.sqlstate, "");
    api_answer_done(&back);
}

static void test_answer__states(void **state)
{
    (void)state;
    static const char *const names[] = {NULL, "committed", "aborted", "unknown"};
    for (int i = 1; i < 4; i++) {
        char line[300];
        (void)snprintf(line, sizeof(line), HEAD("commit") ",\"state\":\"%s\"}\n", names[i]);
        struct api_answer answer = answer_to(API_OP_COMMIT);
        answer.state = (enum api_branch_state)i;
        struct api_answer back = through(&answer, line);
        api_answer_done(&back);
    }
}

static void test_answer__steps(void **state)
{
    (void)state;
    struct api_answer done = answer_to(API_OP_EXECUTE);
    done.results = (char[]){"[{\"rows_affected\":1}]"};
    done.results_size = strlen(done.results);
    struct api_answer back =
        through(&done, HEAD("execute") ",\"results\":[{\"rows_affected\":1}]}\n");
    assert_string_equal(back.results, done.results);
    api_answer_done(&back);

    struct api_answer refused = answer_to(API_OP_EXECUTE);
    refused.cause = (struct api_cause){.code = API_CAUSE_WORK_LOST, .statement = -1};
    back = through(&refused, HEAD("execute") ",\"cause\":{\"code\":\"work_lost\"}}\n");
    assert_null(back.results);
    api_answer_done(&back);
}

static void test_answer__errors(void **state)
{
    (void)state;
    struct api_answer answer = answer_to(API_OP_ABORT);
    answer.error = API_ERROR_LOG_SET_BACK;
    answer.generation_seen = 9;
    struct api_answer back =
        through(&answer, HEAD("abort") ",\"error\":\"log_set_back\",\"generation_seen\":9}\n");
    assert_int_equal(back.generation_seen, 9);
    api_answer_done(&back);

    answer.error = API_ERROR_WRONG_COORDINATOR;
    back = through(&answer, HEAD("abort") ",\"error\":\"wrong_coordinator\"}\n");
    api_answer_done(&back);
    answer.error = API_ERROR_PROTOCOL;
    back = through(&answer, HEAD("abort") ",\"error\":\"protocol\"}\n");
    api_answer_done(&back);

    answer.error = API_ERROR_INVALID_GTID;
    answer.gtid_valid = false;
    strcpy(answer.gtid_text, "x'\"\xC3"); /* cut within a character */
    back = through(&answer, "{\"op\":\"abort\",\"gtid\":\"x'\\\"\xEF\xBF\xBD\",\"participant_id\":"
                            "\"" ID_C "\",\"error\":\"invalid_gtid\"}\n");
    api_answer_done(&back);
}

static void test_answer__a_newer_participant_may_say_more(void **state)
{
    (void)state;
    struct api_answer answer =
        decoded(HEAD("prepare") ",\"vote\":\"no\",\"mood\":{\"a\":[1]},\"results\":null,"
                                "\"state\":null,\"cause\":{\"code\":\"tired\",\"detail\":\"zzz\","
                                "\"statement\":\"x\",\"sqlstate\":\"1234567\",\"more\":1}}");
    assert_int_equal(answer.vote, API_VOTE_NO);
    assert_int_equal(answer.cause.code, API_CAUSE_PARTICIPANT_ERROR);
    assert_string_equal(answer.cause.detail, "zzz");
    assert_string_equal(answer.cause.sqlstate, "");
    assert_int_equal(answer.cause.statement, -1);
    assert_null(answer.results);
    api_answer_done(&answer);

    answer = decoded(HEAD("prepare") ",\"vote\":\"no\"}");
    assert_int_equal(answer.cause.code, API_CAUSE_PARTICIPANT_ERROR);
    api_answer_done(&answer);

    answer = decoded(HEAD("commit") ",\"error\":\"on_holiday\",\"state\":\"committed\"}");
    assert_int_equal(answer.error, API_ERROR_PROTOCOL);
    assert_int_equal(answer.state, API_STATE_NONE); /* an error is never a success */
    api_answer_done(&answer);
}

static void test_answer__results_keep_every_digit(void **state)
{
    (void)state;
    struct api_answer answer = decoded(HEAD(
        "prepare") ",\"vote\":\"yes\",\"results\":[ {\"rows\": [[9007199254740993, 1e999]]} ]}");
    assert_string_equal(answer.results, "[{\"rows\":[[9007199254740993,1e999]]}]");
    api_answer_done(&answer);
}

static void test_answer__what_is_refused(void **state)
{
    (void)state;
    refused("", TPC_ESYNTAX, "at byte 0");
    refused(HEAD("prepare") ",\"vote\":\"yes\"", TPC_ESYNTAX, "found the end");
    refused("[]", TPC_EINVAL, "must be an object");
    refused("{}", TPC_EINVAL, "op is required");
    refused(HEAD("vote") "}", TPC_EINVAL, "op must be \"prepare\" or");
    refused(HEAD("execute") "}", TPC_EINVAL, "must have \"results\", \"cause\" or \"error\"");
    refused(HEAD("execute") ",\"results\":{}}", TPC_EINVAL, "results must be an array");
    refused("{\"op\":\"commit\"}", TPC_EINVAL, "gtid is required");
    refused("{\"op\":\"commit\",\"gtid\":\"" ID_A "\"}", TPC_EINVAL, "participant_id is required");
    refused("{\"op\":\"commit\",\"gtid\":\"" ID_A "\",\"participant_id\":\"me\"}", TPC_EINVAL,
            "participant_id must be a UUID");
    refused(HEAD("prepare") "}", TPC_EINVAL, "vote is required");
    refused(HEAD("prepare") ",\"state\":\"committed\"}", TPC_EINVAL, "vote is required");
    refused(HEAD("prepare") ",\"vote\":\"maybe\"}", TPC_EINVAL, "vote must be \"yes\" or \"no\"");
    refused(HEAD("commit") "}", TPC_EINVAL, "state is required");
    refused(HEAD("commit") ",\"vote\":\"committed\"}", TPC_EINVAL, "state is required");
    refused(HEAD("commit") ",\"state\":\"done\"}", TPC_EINVAL, "state must be \"committed\"");
    refused(HEAD("prepare") ",\"vote\":\"no\",\"cause\":{}}", TPC_EINVAL, "cause.code is required");
    refused(HEAD("prepare") ",\"vote\":\"no\",\"cause\":{\"code\":\"conflict\",\"detail\":\"d\"},"
                            "\"results\":{}}",
            TPC_EINVAL, "results must be an array");
}

static void test_cause__names_and_retries(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool retryable;
    } expected[] = {
        {"sql_error", false},        {"constraint", false},   {"expectation_failed", false},
        {"conflict", true},          {"timeout", true},       {"unreachable", true},
        {"participant_error", true}, {"client_abort", false}, {"not_supported", false},
        {"work_lost", true}};
    for (int code = API_CAUSE_NONE + 1; code < API_CAUSE_COUNT; code++) {
        assert_string_equal(api_cause_name((enum api_cause_code)code), expected[code - 1].name);
        assert_int_equal(api_cause_retryable((enum api_cause_code)code),
                         expected[code - 1].retryable);
    }
    struct api_cause cause = {.code = API_CAUSE_TIMEOUT, .statement = -1};
    struct tpc_buf out = {0};
    api_cause_write(&out, &cause, "east");
    assert_string_equal(out.data, "{\"code\":\"timeout\",\"participant\":\"east\"}");
    tpc_buf_done(&out);
    cause.detail = strdup("x");
    api_cause_done(&cause);
    assert_null(cause.detail);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer__votes),
        cmocka_unit_test(test_answer__no_with_its_cause),
        cmocka_unit_test(test_answer__states),
        cmocka_unit_test(test_answer__steps),
        cmocka_unit_test(test_answer__errors),
        cmocka_unit_test(test_answer__a_newer_participant_may_say_more),
        cmocka_unit_test(test_answer__results_keep_every_digit),
        cmocka_unit_test(test_answer__what_is_refused),
        cmocka_unit_test(test_cause__names_and_retries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
