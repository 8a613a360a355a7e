/* What a client is told of a transaction, and when. */
#include "tests/http/harness.h"

#include <signal.h>
#include <string.h>

static const struct scripted_plan hold = {.act = SCRIPTED_HOLD};
static const struct scripted_plan silent = {.act = SCRIPTED_SILENT};
static const struct scripted_plan yes = {.vote = API_VOTE_YES};
static const struct scripted_plan committed = {.state = API_STATE_COMMITTED};

/* ---- Commit ---- */

static void test_submit__both_vote_yes_and_commit(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char id[64], header[128];
    stage_start(stage, NULL);
    scripted_plan(
        &stage->east, API_OP_PREPARE,
        (struct scripted_plan){.vote = API_VOTE_YES, .results = "[{\"rows_affected\":1}]"});
    stage_submit(stage, "", BOTH(",\"label\":\"a to b\""), &reply);
    assert_int_equal(reply.status, 201);
    assert_reply(&reply, "state", "committed");
    assert_reply(&reply, "outcome", "commit");
    assert_reply(&reply, "label", "a to b");
    assert_reply(&reply, "attempts", "1");
    assert_reply(&reply, "branches.0.participant", "east");
    assert_reply(&reply, "branches.0.vote", "yes");
    assert_reply(&reply, "branches.0.state", "committed");
    assert_reply(&reply, "branches.0.results.0.rows_affected", "1");
    assert_reply(&reply, "branches.1.state", "committed");
    (void)snprintf(id, sizeof id, "/v1/transactions/%s", reply_get(&reply, "id"));
    assert_string_equal(reply_header(&reply, "Location", header, sizeof header), id);
    reply_done(&reply);
    assert_int_equal(scripted_count(&stage->east, API_OP_PREPARE), 1);
    assert_int_equal(scripted_count(&stage->east, API_OP_COMMIT), 1);
    assert_int_equal(scripted_count(&stage->east, API_OP_ABORT), 0);
    assert_true(stage_metric(stage, "assent_transactions_total{outcome=\"commit\"}") == 1);
    assert_true(stage_metric(stage, "assent_forced_writes_total") == 1);
}

static void test_submit__read_only_branch_is_told_nothing(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_PREPARE, (struct scripted_plan){.vote = API_VOTE_READ_ONLY});
    stage_submit(stage, "", BOTH(""), &reply);
    assert_int_equal(reply.status, 201);
    assert_reply(&reply, "branches.1.vote", "read_only");
    assert_reply(&reply, "branches.1.state", "read_only");
    reply_done(&reply);
    assert_int_equal(scripted_count(&stage->west, API_OP_COMMIT), 0);
}

static void test_submit__applied_waits_for_every_branch(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char id[TPC_ID_TEXT];
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_COMMIT, hold);
    int fd = stage_begin(stage, "", BOTH(""));
    scripted_await(&stage->west, API_OP_COMMIT, 1);
    stage_newest(stage, id);
    stage_get(stage, id, "", &reply);
    assert_reply(&reply, "state", "committing");
    assert_reply(&reply, "outcome", "commit");
    reply_done(&reply);
    assert_false(http_is_answered(fd));
    scripted_plan(&stage->west, API_OP_COMMIT, committed);
    scripted_release(&stage->west);
    http_end(fd, &reply);
    assert_int_equal(reply.status, 201);
    reply_done(&reply);
}

static void test_submit__decided_is_told_before_it_is_applied(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_COMMIT, hold);
    stage_submit(stage, "", BOTH(",\"ack\":\"decided\""), &reply);
    assert_int_equal(reply.status, 201);
    assert_reply(&reply, "outcome", "commit");
    char id[64];
    (void)snprintf(id, sizeof id, "%s", reply_get(&reply, "id"));
    reply_done(&reply);
    scripted_plan(&stage->west, API_OP_COMMIT, committed);
    scripted_release(&stage->west);
    stage_await_state(stage, id, "committed");
}

static void test_submit__commit_is_told_again_until_it_is_heard(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_once(&stage->west, API_OP_COMMIT, silent);
    stage_submit(stage, "", BOTH(""), &reply);
    assert_int_equal(reply.status, 201);
    reply_done(&reply);
    assert_int_equal(scripted_count(&stage->west, API_OP_COMMIT), 2);
    assert_int_equal(scripted_count(&stage->east, API_OP_COMMIT), 1);
}

/* ---- Abort ---- */

static void test_submit__a_no_aborts_everywhere(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_plan(
        &stage->west, API_OP_PREPARE,
        (struct scripted_plan){.vote = API_VOTE_NO, .cause = API_CAUSE_EXPECTATION_FAILED});
    stage_submit(stage, "", BOTH(""), &reply);
    assert_int_equal(reply.status, 409);
    assert_reply(&reply, "state", "aborted");
    assert_reply(&reply, "outcome", "abort");
    assert_reply(&reply, "retryable", "false");
    assert_reply(&reply, "cause.code", "expectation_failed");
    assert_reply(&reply, "cause.participant", "west");
    assert_string_not_equal(reply_get(&reply, "id"), "");
    reply_done(&reply);
    assert_int_equal(scripted_count(&stage->west, API_OP_ABORT), 0);
    assert_int_equal(scripted_count(&stage->east, API_OP_COMMIT), 0);
    assert_true(stage_metric(stage, "assent_forced_writes_total") == 0);
    assert_true(stage_metric(stage, "assent_aborts_total{cause=\"expectation_failed\"}") == 1);
}

static void test_submit__time_out_aborts_and_names_who_was_silent(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_PREPARE, hold);
    stage_submit(stage, "", BOTH(",\"timeout_ms\":150"), &reply);
    assert_int_equal(reply.status, 409);
    assert_reply(&reply, "cause.code", "timeout");
    assert_reply(&reply, "cause.participant", "west");
    assert_reply(&reply, "retryable", "true");
    reply_done(&reply);
    scripted_await(&stage->east, API_OP_ABORT, 1);
    scripted_await(&stage->west, API_OP_ABORT, 1);
}

static void test_submit__late_yes_gets_an_abort(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_PREPARE, hold);
    scripted_plan(&stage->west, API_OP_ABORT, silent);
    stage_submit(stage, "", BOTH(",\"timeout_ms\":100"), &reply);
    assert_int_equal(reply.status, 409);
    reply_done(&reply);
    scripted_await(&stage->west, API_OP_ABORT, 1);
    scripted_plan(&stage->west, API_OP_PREPARE, yes);
    scripted_release(&stage->west);
    scripted_await(&stage->west, API_OP_ABORT, 2);
}

static void test_submit__unreachable_participant_aborts_at_once(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_stop(&stage->west);
    stage_submit(stage, "", BOTH(",\"timeout_ms\":15000"), &reply);
    assert_int_equal(reply.status, 409);
    assert_reply(&reply, "cause.code", "unreachable");
    assert_reply(&reply, "cause.participant", "west");
    assert_reply(&reply, "retryable", "true");
    assert_non_null(strstr(reply_get(&reply, "cause.detail"), stage->west.url));
    reply_done(&reply);
    scripted_await(&stage->east, API_OP_ABORT, 1);
    scripted_start(&stage->west);
    stage_submit(stage, "", BOTH(""), &reply);
    assert_int_equal(reply.status, 201);
    reply_done(&reply);
}

static void test_submit__broken_participant_is_its_error(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_PREPARE, (struct scripted_plan){.act = SCRIPTED_FAIL});
    stage_submit(stage, "", BOTH(""), &reply);
    assert_int_equal(reply.status, 409);
    assert_reply(&reply, "cause.code", "participant_error");
    assert_reply(&reply, "cause.participant", "west");
    assert_non_null(strstr(reply_get(&reply, "cause.detail"), "HTTP 500"));
    reply_done(&reply);
}

static void test_submit__conflict_is_tried_again_with_its_first_age(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_once(&stage->west, API_OP_PREPARE,
                  (struct scripted_plan){.vote = API_VOTE_NO, .cause = API_CAUSE_CONFLICT});
    stage_submit(stage, "", BOTH(""), &reply);
    assert_int_equal(reply.status, 201);
    assert_reply(&reply, "attempts", "2");
    struct scripted_seen first = scripted_at(&stage->east, API_OP_PREPARE, 0);
    struct scripted_seen second = scripted_at(&stage->east, API_OP_PREPARE, 1);
    assert_true(first.began_us == second.began_us);
    assert_false(tpc_id_equal(&first.gtid, &second.gtid));
    char text[TPC_ID_TEXT];
    assert_reply(&reply, "id", tpc_id_format(&first.gtid, text));
    assert_reply(&reply, "gtid", tpc_id_format(&second.gtid, text));
    reply_done(&reply);
    struct scripted_seen aborted = scripted_at(&stage->east, API_OP_ABORT, 0);
    assert_true(tpc_id_equal(&aborted.gtid, &first.gtid));
}

static void test_submit__yes_of_an_attempt_that_is_over_gets_an_abort(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_once(&stage->west, API_OP_PREPARE,
                  (struct scripted_plan){.vote = API_VOTE_NO, .cause = API_CAUSE_CONFLICT});
    scripted_once(&stage->east, API_OP_PREPARE, hold);
    stage_submit(stage, "", BOTH(""), &reply);
    assert_int_equal(reply.status, 201);
    reply_done(&reply);
    struct scripted_seen first = scripted_at(&stage->east, API_OP_PREPARE, 0);
    size_t before = scripted_count(&stage->east, API_OP_ABORT);
    scripted_release(&stage->east);
    scripted_await(&stage->east, API_OP_ABORT, before + 1);
    struct scripted_seen stray = scripted_at(&stage->east, API_OP_ABORT, before);
    assert_true(tpc_id_equal(&stray.gtid, &first.gtid));
}

/* ---- How long a client waits ---- */

static void test_wait__respond_async_answers_at_once(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char header[128];
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_PREPARE, hold);
    stage_submit(stage, "Prefer: respond-async\r\n", BOTH(""), &reply);
    assert_int_equal(reply.status, 202);
    assert_reply(&reply, "state", "preparing");
    assert_reply(&reply, "outcome", "null");
    assert_string_not_equal(reply_header(&reply, "Location", header, sizeof header), "");
    char id[64];
    (void)snprintf(id, sizeof id, "%s", reply_get(&reply, "id"));
    reply_done(&reply);
    scripted_plan(&stage->west, API_OP_PREPARE, yes);
    scripted_release(&stage->west);
    stage_await_state(stage, id, "committed");
}

static void test_wait__prefer_wait_ends_in_202(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_PREPARE, hold);
    stage_submit(stage, "Prefer: wait=1\r\n", BOTH(""), &reply);
    assert_int_equal(reply.status, 202);
    reply_done(&reply);
    stage_submit(stage, "Prefer: wait=1x\r\n", BOTH(""), &reply);
    assert_int_equal(reply.status, 422);
    reply_done(&reply);
    stage_submit(stage, "Prefer: handling=lenient, respond-asynchronously, wait=0\r\n", BOTH(""),
                 &reply);
    assert_int_equal(reply.status, 202);
    reply_done(&reply);
    scripted_plan(&stage->west, API_OP_PREPARE, yes);
    scripted_release(&stage->west);
}

static void test_wait__results_are_not_shown_before_the_commit(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char id[TPC_ID_TEXT];
    stage_start(stage, NULL);
    scripted_plan(
        &stage->east, API_OP_PREPARE,
        (struct scripted_plan){.vote = API_VOTE_YES, .results = "[{\"rows_affected\":1}]"});
    scripted_plan(&stage->west, API_OP_PREPARE, hold);
    stage_submit(stage, "Prefer: respond-async\r\n", BOTH(""), &reply);
    reply_done(&reply);
    stage_newest(stage, id);
    scripted_await(&stage->west, API_OP_PREPARE, 1);
    do {
        stage_get(stage, id, "", &reply);
        if (strcmp(reply_get(&reply, "branches.0.vote"), "yes") == 0) {
            break;
        }
        reply_done(&reply);
    } while (true);
    assert_reply(&reply, "branches.0.results", "");
    reply_done(&reply);
    scripted_plan(&stage->west, API_OP_PREPARE, yes);
    scripted_release(&stage->west);
    stage_await_state(stage, id, "committed");
    stage_get(stage, id, "", &reply);
    assert_reply(&reply, "branches.0.results.0.rows_affected", "1");
    reply_done(&reply);
}

static void test_wait__time_out_after_the_decision_is_202(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_COMMIT, hold);
    stage_submit(stage, "", BOTH(",\"timeout_ms\":200"), &reply);
    assert_int_equal(reply.status, 202);
    assert_reply(&reply, "state", "committing");
    assert_reply(&reply, "outcome", "commit");
    assert_reply(&reply, "branches.0.state", "committed");
    assert_reply(&reply, "branches.1.state", "prepared");
    char id[64];
    (void)snprintf(id, sizeof id, "%s", reply_get(&reply, "id"));
    reply_done(&reply);
    scripted_plan(&stage->west, API_OP_COMMIT, committed);
    scripted_release(&stage->west);
    stage_await_state(stage, id, "committed");
}

static void test_wait__get_holds_until_the_end(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char id[TPC_ID_TEXT], path[128];
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_PREPARE, hold);
    stage_submit(stage, "Prefer: respond-async\r\n", BOTH(""), &reply);
    reply_done(&reply);
    stage_newest(stage, id);
    stage_get(stage, id, "?wait=50ms", &reply);
    assert_int_equal(reply.status, 200);
    assert_reply(&reply, "state", "preparing");
    reply_done(&reply);
    (void)snprintf(path, sizeof path, "/v1/transactions/%s?wait=30s", id);
    int fd = http_begin(stage->url, "GET", path, "", "");
    scripted_await(&stage->west, API_OP_PREPARE, 1);
    scripted_plan(&stage->west, API_OP_PREPARE, yes);
    scripted_release(&stage->west);
    http_end(fd, &reply);
    assert_int_equal(reply.status, 200);
    assert_reply(&reply, "state", "committed");
    reply_done(&reply);
    stage_get(stage, id, "?wait=soon", &reply);
    assert_int_equal(reply.status, 422);
    reply_done(&reply);
    stage_get(stage, "0199c0de-7a11-7c3e-9f00-5a2b1c0d0001", "", &reply);
    assert_int_equal(reply.status, 404);
    assert_reply(&reply, "known", "false");
    reply_done(&reply);
}

/* ---- The abort endpoint ---- */

static void abort_newest(struct stage *stage, struct reply *reply)
{
    char id[TPC_ID_TEXT], path[128];
    stage_newest(stage, id);
    (void)snprintf(path, sizeof path, "/v1/transactions/%s/abort", id);
    stage_call(stage, "POST", path, "", reply);
}

static void test_abort__undecided_is_aborted_and_decided_is_not(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_PREPARE, hold);
    int fd = stage_begin(stage, "", BOTH(""));
    scripted_await(&stage->west, API_OP_PREPARE, 1);
    abort_newest(stage, &reply);
    assert_int_equal(reply.status, 200);
    assert_reply(&reply, "state", "aborted");
    reply_done(&reply);
    http_end(fd, &reply);
    assert_int_equal(reply.status, 409);
    assert_reply(&reply, "cause.code", "client_abort");
    reply_done(&reply);
    abort_newest(stage, &reply); /* once more */
    assert_int_equal(reply.status, 200);
    reply_done(&reply);

    scripted_plan(&stage->west, API_OP_PREPARE, yes);
    scripted_plan(&stage->west, API_OP_COMMIT, hold);
    fd = stage_begin(stage, "", BOTH(""));
    scripted_await(&stage->west, API_OP_COMMIT, 1);
    abort_newest(stage, &reply);
    assert_int_equal(reply.status, 409);
    reply_done(&reply);
    scripted_plan(&stage->west, API_OP_COMMIT, committed);
    scripted_release(&stage->west);
    http_end(fd, &reply);
    assert_int_equal(reply.status, 201);
    reply_done(&reply);
    abort_newest(stage, &reply);
    assert_int_equal(reply.status, 409);
    reply_done(&reply);
}

static void test_abort__stops_the_attempts_after_a_conflict(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_PREPARE,
                  (struct scripted_plan){.vote = API_VOTE_NO, .cause = API_CAUSE_CONFLICT});
    scripted_plan(&stage->east, API_OP_ABORT, hold);
    int fd = stage_begin(stage, "", BOTH(""));
    scripted_await(&stage->east, API_OP_ABORT, 1);
    abort_newest(stage, &reply);
    assert_int_equal(reply.status, 200);
    assert_reply(&reply, "state", "aborted");
    assert_reply(&reply, "attempts", "1");
    reply_done(&reply);
    http_end(fd, &reply);
    assert_int_equal(reply.status, 409);
    reply_done(&reply);
    scripted_plan(&stage->east, API_OP_ABORT, (struct scripted_plan){.state = API_STATE_ABORTED});
    scripted_release(&stage->east);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_submit__both_vote_yes_and_commit),
        TEST(test_submit__read_only_branch_is_told_nothing),
        TEST(test_submit__applied_waits_for_every_branch),
        TEST(test_submit__decided_is_told_before_it_is_applied),
        TEST(test_submit__commit_is_told_again_until_it_is_heard),
        TEST(test_submit__a_no_aborts_everywhere),
        TEST(test_submit__time_out_aborts_and_names_who_was_silent),
        TEST(test_submit__late_yes_gets_an_abort),
        TEST(test_submit__unreachable_participant_aborts_at_once),
        TEST(test_submit__broken_participant_is_its_error),
        TEST(test_submit__conflict_is_tried_again_with_its_first_age),
        TEST(test_submit__yes_of_an_attempt_that_is_over_gets_an_abort),
        TEST(test_wait__respond_async_answers_at_once),
        TEST(test_wait__prefer_wait_ends_in_202),
        TEST(test_wait__results_are_not_shown_before_the_commit),
        TEST(test_wait__time_out_after_the_decision_is_202),
        TEST(test_wait__get_holds_until_the_end),
        TEST(test_abort__undecided_is_aborted_and_decided_is_not),
        TEST(test_abort__stops_the_attempts_after_a_conflict),
    };
    cmocka_set_test_filter(getenv("TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
