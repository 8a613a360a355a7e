/* The agent as a coordinator and an operator meet it. */
#include "tests/unit/participant/agent_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TAKE_30 "UPDATE accounts SET balance = balance - 30 WHERE id = 1"
#define TAKE_1  "UPDATE accounts SET balance = balance - 1 WHERE id = 1"

/* ---- Messages ---- */

static void test_agent__commit_and_every_repetition(void **state)
{
    struct agent *agent = *state;
    for (int i = 0; i < 2; i++) {
        struct api_answer answer = agent_say(agent, API_OP_PREPARE, 1, TAKE_30);
        assert_int_equal(answer.vote, API_VOTE_YES);
        assert_string_equal(answer.results, "[{\"rows_affected\":1}]");
        api_answer_done(&answer);
    }
    assert_int_equal(agent_balance(agent, 1), 100);
    assert_int_equal(agent_commit(agent, 1), API_STATE_COMMITTED);
    assert_int_equal(agent_balance(agent, 1), 70);
    assert_int_equal(agent_commit(agent, 1), API_STATE_COMMITTED);
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    assert_int_equal(agent_balance(agent, 1), 70);
    agent_kill(agent);
    agent_start(agent, NULL);
    assert_int_equal(agent_commit(agent, 1), API_STATE_COMMITTED);
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    assert_int_equal(agent_balance(agent, 1), 70);
}

static void test_agent__abort_and_tombstone(void **state)
{
    struct agent *agent = *state;
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    assert_int_equal(agent_abort(agent, 1), API_STATE_ABORTED);
    assert_int_equal(agent_abort(agent, 1), API_STATE_ABORTED);
    assert_int_equal(agent_abort(agent, 2), API_STATE_ABORTED);
    assert_int_equal(agent_prepare(agent, 2, TAKE_30), API_VOTE_NO);
    assert_int_equal(agent_prepare(agent, 3, TAKE_30), API_VOTE_YES); /* the locks are free */
    assert_int_equal(agent_balance(agent, 1), 100);
}

static void test_agent__commit_without_proof_is_unknown(void **state)
{
    struct agent *agent = *state;
    assert_int_equal(agent_commit(agent, 9), API_STATE_UNKNOWN);
}

static void test_agent__refusal_says_why(void **state)
{
    struct agent *agent = *state;
    struct api_answer answer =
        agent_say(agent, API_OP_PREPARE, 1, "UPDATE accounts SET balance = -1 WHERE id = 1");
    assert_int_equal(answer.vote, API_VOTE_NO);
    assert_int_equal(answer.cause.code, API_CAUSE_CONSTRAINT);
    api_answer_done(&answer);
    assert_int_equal(agent_prepare(agent, 2, "SELECT * FROM accounts"), API_VOTE_READ_ONLY);
}

static void test_agent__one_group_many_lines(void **state)
{
    struct agent *agent = *state;
    struct sent messages[] = {
        {.op = API_OP_PREPARE, .gtid = 1, .sql = TAKE_30},
        {.op = API_OP_ABORT, .gtid = 2},
        {.op = API_OP_COMMIT, .gtid = 0},
        {.op = API_OP_PREPARE,
         .gtid = 3,
         .sql = "UPDATE accounts SET balance = 1 WHERE id = 2",
         .one_phase = true},
    };
    struct api_answer answers[4];
    assert_true(agent_send(agent, messages, 4, answers));
    assert_int_equal(answers[0].vote, API_VOTE_YES);
    assert_int_equal(answers[1].state, API_STATE_ABORTED);
    assert_int_equal(answers[2].error, API_ERROR_INVALID_GTID);
    assert_int_equal(answers[3].vote, API_VOTE_COMMITTED);
    for (int i = 0; i < 4; i++) {
        api_answer_done(&answers[i]);
    }
    assert_int_equal(agent_balance(agent, 2), 1);
}

static void test_agent__refusal_in_one_phase_outlives_a_crash(void **state)
{
    struct agent *agent = *state;
    struct sent prepare = {.op = API_OP_PREPARE, .gtid = 1, .one_phase = true};
    struct api_answer answer;
    prepare.sql = "UPDATE accounts SET balance = balance - 200 WHERE id = 1";
    assert_true(agent_send(agent, &prepare, 1, &answer));
    assert_int_equal(answer.vote, API_VOTE_NO);
    api_answer_done(&answer);
    agent_kill(agent);
    agent_sql(agent, "UPDATE accounts SET balance = 1000 WHERE id = 1");
    agent_start(agent, NULL);
    assert_true(agent_send(agent, &prepare, 1, &answer));
    assert_int_equal(answer.vote, API_VOTE_NO);
    api_answer_done(&answer);
    assert_int_equal(agent_balance(agent, 1), 1000);
}

/* ---- Messages for another log ---- */

/* Its log is lost, and it begins a new one on the same database. Returns what the old one was. */
static struct tpc_id lose_log(struct agent *agent)
{
    char command[96];
    struct tpc_id old = agent->participant_id;
    agent_kill(agent);
    (void)snprintf(command, sizeof(command), "rm -r %s/log", agent->directory);
    assert_int_equal(system(command), 0);
    setenv("ASSENT_ADOPT", "true", 1);
    agent_start(agent, NULL);
    unsetenv("ASSENT_ADOPT");
    return old;
}

static void test_agent__refusal_of_a_log_that_is_lost_stays_one(void **state)
{
    struct agent *agent = *state;
    struct sent prepare = {.op = API_OP_PREPARE, .gtid = 1, .one_phase = true};
    struct api_answer answer;
    prepare.sql = "UPDATE accounts SET balance = balance - 200 WHERE id = 1";
    assert_true(agent_send(agent, &prepare, 1, &answer));
    assert_int_equal(answer.vote, API_VOTE_NO);
    api_answer_done(&answer);
    struct tpc_id lost = lose_log(agent);
    agent_sql(agent, "UPDATE accounts SET balance = 1000 WHERE id = 1");
    prepare.log = &lost;
    assert_true(agent_send(agent, &prepare, 1, &answer));
    assert_int_equal(answer.error, API_ERROR_WRONG_PARTICIPANT);
    assert_false(tpc_id_equal(&answer.participant_id, &lost));
    api_answer_done(&answer);
    assert_int_equal(agent_balance(agent, 1), 1000);
}

static void test_agent__commit_of_a_log_that_is_lost_is_told_from_the_proof(void **state)
{
    struct agent *agent = *state;
    struct sent prepare = {.op = API_OP_PREPARE, .gtid = 1, .sql = TAKE_30, .one_phase = true};
    struct api_answer answer;
    assert_true(agent_send(agent, &prepare, 1, &answer));
    assert_int_equal(answer.vote, API_VOTE_COMMITTED);
    api_answer_done(&answer);
    struct tpc_id lost = lose_log(agent);
    prepare.log = &lost;
    for (int i = 0; i < 2; i++) {
        assert_true(agent_send(agent, &prepare, 1, &answer));
        assert_int_equal(answer.vote, API_VOTE_COMMITTED);
        api_answer_done(&answer);
    }
    assert_int_equal(agent_balance(agent, 1), 70);
}

/* What this log was asked to do once more is not what that one voted on. */
static void test_agent__commit_is_for_the_log_that_voted(void **state)
{
    struct agent *agent = *state;
    struct api_answer answer;
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    struct tpc_id lost = lose_log(agent);
    struct sent commit[] = {{.op = API_OP_COMMIT, .gtid = 1, .log = &lost},
                            {.op = API_OP_COMMIT, .gtid = 2, .log = &lost}};
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    struct api_answer answers[2];
    assert_true(agent_send(agent, commit, 2, answers));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(answers[i].error, API_ERROR_WRONG_PARTICIPANT);
        api_answer_done(&answers[i]);
    }
    assert_int_equal(agent_balance(agent, 1), 100);
    agent_await_state(agent, 1, "prepared");
    commit[0].log = &agent->participant_id;
    assert_true(agent_send(agent, commit, 1, &answer));
    assert_int_equal(answer.state, API_STATE_COMMITTED);
    api_answer_done(&answer);
    assert_int_equal(agent_balance(agent, 1), 70);
}

/* ---- Coordinators ---- */

static void test_agent__another_coordinator_changes_nothing(void **state)
{
    struct agent *agent = *state;
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    struct tpc_id own = coordinator.id;
    coordinator.id.bytes[0] ^= 1;
    struct api_answer answer = agent_say(agent, API_OP_COMMIT, 1, NULL);
    assert_int_equal(answer.error, API_ERROR_WRONG_COORDINATOR);
    api_answer_done(&answer);
    coordinator.id = own;
    assert_int_equal(agent_commit(agent, 1), API_STATE_COMMITTED);
}

static void expect_set_back(struct agent *agent)
{
    struct api_answer answer = agent_say(agent, API_OP_ABORT, 1, NULL);
    assert_int_equal(answer.error, API_ERROR_LOG_SET_BACK);
    assert_int_equal(answer.generation_seen, 7);
    api_answer_done(&answer);
}

static void test_agent__log_that_was_set_back_is_refused(void **state)
{
    struct agent *agent = *state;
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    for (int i = 0; i < 2; i++) {
        coordinator.generation = 6;
        expect_set_back(agent);
        coordinator.generation = 7;
        coordinator.nonce.bytes[0] ^= 1;
        expect_set_back(agent);
        coordinator.nonce.bytes[0] ^= 1;
        agent_kill(agent);
        agent_start(agent, NULL);
    }
    coordinator.generation = 8;
    coordinator.nonce.bytes[0] ^= 1;
    assert_int_equal(agent_commit(agent, 1), API_STATE_COMMITTED);
}

/* ---- In doubt ---- */

static void test_agent__in_doubt_asks_after_a_restart(void **state)
{
    struct agent *agent = *state;
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    agent_kill(agent);
    agent_start(agent, NULL);
    assert_int_equal(agent_prepare(agent, 2, TAKE_30), API_VOTE_NO); /* the locks are back */
    while (coordinator_inquiries() < 2) {
        agent_await_state(agent, 1, "prepared");
    }
    coordinator_decides(API_OUTCOME_COMMIT);
    agent_await_state(agent, 1, "committed");
    assert_int_equal(agent_balance(agent, 1), 70);
}

static void test_agent__in_doubt_is_told_abort(void **state)
{
    struct agent *agent = *state;
    coordinator_decides(API_OUTCOME_ABORT);
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    agent_await_state(agent, 1, "aborted");
    assert_int_equal(agent_balance(agent, 1), 100);
}

static void test_agent__in_doubt_believes_its_own_coordinator_alone(void **state)
{
    struct agent *agent = *state;
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    coordinator.id.bytes[0] ^= 1;
    coordinator_decides(API_OUTCOME_ABORT);
    unsigned before = coordinator_inquiries();
    while (coordinator_inquiries() < before + 3) { /* of which two have been answered */
        agent_await_state(agent, 1, "prepared");
    }
    coordinator_decides(API_OUTCOME_COMMIT);
    coordinator.id.bytes[0] ^= 1;
    agent_await_state(agent, 1, "committed");
    assert_int_equal(agent_balance(agent, 1), 70);
}

static int post_branch(struct agent *agent, const char *verb, const char *body)
{
    struct tpc_id id = gtid_of(1);
    char path[96], text[TPC_ID_TEXT];
    struct tpc_buf answer;
    (void)snprintf(path, sizeof(path), "/v1/branches/%s/%s", tpc_id_format(&id, text), verb);
    int status = agent_request(agent, "POST", path, body, &answer);
    tpc_buf_done(&answer);
    return status;
}

static void test_agent__outcome_by_hand(void **state)
{
    static const char commit[] = "{\"outcome\":\"commit\",\"reason\":\"test\",\"operator\":\"me\"}";
    struct agent *agent = *state;
    struct tpc_buf answer;
    assert_int_equal(post_branch(agent, "resolve", commit), 404);
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    assert_int_equal(post_branch(agent, "forget", "{}"), 409);
    assert_int_equal(post_branch(agent, "resolve", commit), 200);
    assert_int_equal(agent_balance(agent, 1), 70);
    agent_kill(agent);
    agent_start(agent, NULL);
    agent_await_state(agent, 1, "heuristic_commit");
    assert_int_equal(agent_abort(agent, 1), API_STATE_COMMITTED);
    assert_int_equal(agent_request(agent, "GET", "/v1/branches", NULL, &answer), 200);
    assert_non_null(strstr(answer.data, "\"operator\":\"me\",\"reason\":\"test\""));
    assert_non_null(strstr(answer.data, "\"hazard\":true"));
    tpc_buf_done(&answer);
    assert_int_equal(post_branch(agent, "forget", "{}"), 200);
    assert_int_equal(agent_request(agent, "GET", "/v1/branches", NULL, &answer), 200);
    assert_string_equal(answer.data, "{\"items\":[],\"next_cursor\":null}");
    tpc_buf_done(&answer);
    assert_int_equal(agent_balance(agent, 1), 70);
}

/* ---- Failures ---- */

static void test_agent__failed_force_halts_without_an_answer(void **state)
{
    struct agent *agent = *state;
    struct sent prepare = {.op = API_OP_PREPARE, .gtid = 1, .sql = TAKE_30};
    struct api_answer answer;
    assert_int_equal(agent_abort(agent, 9), API_STATE_ABORTED); /* the coordinator is known */
    assert_int_equal(agent_end(agent), 0);
    agent_start(agent, "agent.log.force=error");
    assert_false(agent_send(agent, &prepare, 1, &answer));
    assert_int_equal(answer.vote, API_VOTE_NONE);
    assert_int_equal(agent_wait(agent), 70);
    coordinator_decides(API_OUTCOME_ABORT);
    agent_start(agent, NULL);
    assert_int_equal(agent_abort(agent, 1), API_STATE_ABORTED);
    assert_int_equal(agent_balance(agent, 1), 100);
}

static void test_agent__killed_between_force_and_vote_is_in_doubt(void **state)
{
    struct agent *agent = *state;
    struct sent prepare = {.op = API_OP_PREPARE, .gtid = 1, .sql = TAKE_30};
    struct api_answer answer;
    assert_int_equal(agent_end(agent), 0);
    agent_start(agent, "agent.prepared.forced=kill");
    assert_false(agent_send(agent, &prepare, 1, &answer));
    assert_int_equal(agent_wait(agent), -SIGKILL);
    agent_start(agent, NULL);
    agent_await_state(agent, 1, "prepared");
    assert_int_equal(agent_commit(agent, 1), API_STATE_COMMITTED);
    assert_int_equal(agent_balance(agent, 1), 70);
}

static void test_agent__killed_after_the_commit_does_it_once(void **state)
{
    struct agent *agent = *state;
    struct sent commit = {.op = API_OP_COMMIT, .gtid = 1};
    struct api_answer answer;
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    agent_kill(agent);
    agent_start(agent, "agent.committed.log=kill");
    assert_false(agent_send(agent, &commit, 1, &answer));
    assert_int_equal(agent_wait(agent), -SIGKILL);
    agent_start(agent, NULL);
    assert_int_equal(agent_commit(agent, 1), API_STATE_COMMITTED);
    assert_int_equal(agent_balance(agent, 1), 70);
}

static void test_agent__commit_of_a_failing_database_is_tried_again(void **state)
{
    struct agent *agent = *state;
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    agent_kill(agent);
    agent_start(agent, "agent.db.commit=2*error");
    assert_int_equal(agent_commit(agent, 1), API_STATE_COMMITTED);
    assert_int_equal(agent_balance(agent, 1), 70);
}

static void test_agent__lost_vote_is_said_again(void **state)
{
    struct agent *agent = *state;
    struct sent prepare = {.op = API_OP_PREPARE, .gtid = 1, .sql = TAKE_30};
    struct api_answer answer;
    assert_int_equal(agent_end(agent), 0);
    agent_start(agent, "agent.vote.send=1*error");
    (void)agent_send(agent, &prepare, 1, &answer);
    assert_int_equal(answer.vote, API_VOTE_NONE);
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
}

/* ---- Operations ---- */

static void test_agent__lookup_asks_the_database(void **state)
{
    struct agent *agent = *state;
    struct tpc_id one = gtid_of(1), two = gtid_of(2);
    char body[128], a[TPC_ID_TEXT], b[TPC_ID_TEXT];
    struct tpc_buf answer;
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    assert_int_equal(agent_commit(agent, 1), API_STATE_COMMITTED);
    (void)snprintf(body, sizeof(body), "{\"gtids\":[\"%s\",\"%s\"]}", tpc_id_format(&one, a),
                   tpc_id_format(&two, b));
    assert_int_equal(agent_request(agent, "POST", "/v1/branches/lookup", body, &answer), 200);
    assert_non_null(strstr(answer.data, "\"state\":\"committed\"},"));
    assert_non_null(strstr(answer.data, "\"state\":\"unknown\"}]"));
    tpc_buf_done(&answer);
}

static void await_metric(struct agent *agent, const char *line)
{
    for (bool found = false; !found;) {
        struct tpc_buf answer;
        assert_int_equal(agent_request(agent, "GET", "/metrics", NULL, &answer), 200);
        found = strstr(answer.data, line) != NULL;
        tpc_buf_done(&answer);
    }
}

static void start_forgetful(struct agent *agent)
{
    setenv("ASSENT_RETENTION", "1s", 1);
    setenv("ASSENT_RETAINED_MAX", "1", 1);
    agent_start(agent, NULL);
    unsetenv("ASSENT_RETENTION");
    unsetenv("ASSENT_RETAINED_MAX");
}

static void test_agent__nothing_is_forgotten_before_the_coordinator_has(void **state)
{
    struct agent *agent = *state;
    struct tpc_buf answer;
    agent_kill(agent);
    start_forgetful(agent);
    for (uint8_t gtid = 1; gtid <= 3; gtid++) { /* the time is over, and there are too many */
        assert_int_equal(agent_prepare(agent, gtid, TAKE_30), API_VOTE_YES);
        assert_int_equal(agent_commit(agent, gtid), API_STATE_COMMITTED);
    }
    await_metric(agent, "\nassent_branches_overdue 3\n");
    assert_int_equal(agent_request(agent, "GET", "/metrics", NULL, &answer), 200);
    assert_non_null(strstr(answer.data, "\nassent_branches_erased_total 0\n"));
    tpc_buf_done(&answer);
    agent_kill(agent);
    start_forgetful(agent);
    assert_int_equal(agent_commit(agent, 1), API_STATE_COMMITTED);
    coordinator.forgotten_below = gtid_of(3);
    assert_int_equal(agent_commit(agent, 3), API_STATE_COMMITTED);
    await_metric(agent, "\nassent_branches_erased_total 2\n");
    await_metric(agent, "\nassent_branches_logged 1\n");
    assert_int_equal(agent_commit(agent, 3), API_STATE_COMMITTED);
}

/* What it is told by an answer to an inquiry counts as well. */
static void test_agent__asking_tells_how_far_the_coordinator_has_forgotten(void **state)
{
    struct agent *agent = *state;
    agent_kill(agent);
    start_forgetful(agent);
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    assert_int_equal(agent_commit(agent, 1), API_STATE_COMMITTED);
    assert_int_equal(agent_prepare(agent, 2, TAKE_30), API_VOTE_YES);
    coordinator.forgotten_below = gtid_of(2);
    await_metric(agent, "\nassent_branches_erased_total 1\n");
}

static void expect_late_prepare_refused(struct agent *agent, uint8_t gtid)
{
    struct sent late = {.op = API_OP_PREPARE, .gtid = gtid, .sql = TAKE_30, .one_phase = true};
    struct api_answer answer;
    assert_true(agent_send(agent, &late, 1, &answer));
    assert_int_equal(answer.vote, API_VOTE_NO);
    api_answer_done(&answer);
}

/* Its proof is gone, and done once more it would be done twice. */
static void test_agent__prepare_of_a_forgotten_transaction_is_refused(void **state)
{
    struct agent *agent = *state;
    struct sent once = {.op = API_OP_PREPARE, .gtid = 1, .sql = TAKE_30, .one_phase = true};
    struct api_answer answer;
    agent_kill(agent);
    start_forgetful(agent);
    assert_true(agent_send(agent, &once, 1, &answer));
    assert_int_equal(answer.vote, API_VOTE_COMMITTED);
    api_answer_done(&answer);
    struct tpc_id before = coordinator.forgotten_below;
    coordinator.forgotten_below = gtid_of(2);
    assert_int_equal(agent_prepare(agent, 2, TAKE_30), API_VOTE_YES);
    await_metric(agent, "\nassent_branches_erased_total 1\n");
    assert_int_equal(agent_commit(agent, 2), API_STATE_COMMITTED);
    /* Its force makes the erasure durable, and the proof goes with the next commit. */
    assert_int_equal(agent_prepare(agent, 3, "UPDATE accounts SET balance = 1 WHERE id = 2"),
                     API_VOTE_YES);
    assert_int_equal(agent_commit(agent, 3), API_STATE_COMMITTED);
    coordinator.forgotten_below = before; /* as it was when the late message left */
    expect_late_prepare_refused(agent, 1);
    agent_kill(agent);
    agent_start(agent, NULL);
    expect_late_prepare_refused(agent, 1);
    assert_int_equal(agent_balance(agent, 1), 40);
    coordinator.generation++; /* which may begin with smaller gtids: its clock was set back */
    memset(coordinator.nonce.bytes, 8, sizeof(coordinator.nonce.bytes));
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
}

/* Out of memory after a second: what is repeated afterwards is begun anew. */
static void start_short_of_memory(struct agent *agent)
{
    agent_kill(agent);
    setenv("ASSENT_REMEMBER", "1s", 1);
    start_forgetful(agent);
    unsetenv("ASSENT_REMEMBER");
}

/* In the log a second life would follow upon the end of the first, and no start would take that. */
static void test_agent__aborted_branch_is_remembered_as_long_as_it_is_in_the_log(void **state)
{
    struct agent *agent = *state;
    start_short_of_memory(agent);
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    assert_int_equal(agent_abort(agent, 1), API_STATE_ABORTED);
    assert_int_equal(agent_prepare(agent, 2, TAKE_30), API_VOTE_YES);
    assert_int_equal(agent_commit(agent, 2), API_STATE_COMMITTED);
    await_metric(agent, "\nassent_branches_remembered 1\n");
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_NO);
    agent_kill(agent);
    agent_start(agent, NULL);
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_NO);
    assert_int_equal(agent_balance(agent, 1), 70);
}

static void test_agent__ended_branches_are_forgotten_after_the_retention_time(void **state)
{
    struct agent *agent = *state;
    struct sent refused = {.op = API_OP_ABORT, .gtid = 2, .one_phase = true};
    struct api_answer answer;
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    assert_int_equal(agent_commit(agent, 1), API_STATE_COMMITTED);
    assert_true(agent_send(agent, &refused, 1, &answer));
    assert_int_equal(agent_end(agent), 0);
    start_forgetful(agent);
    coordinator.forgotten_below = gtid_of(3);
    assert_int_equal(agent_abort(agent, 9), API_STATE_ABORTED);
    await_metric(agent, "\nassent_branches_erased_total 2\n");
    /* The proof goes after the next forced write, which makes the erasure durable, and with the
     * next commit in the database. */
    assert_int_equal(agent_prepare(agent, 3, TAKE_30), API_VOTE_YES);
    assert_int_equal(agent_commit(agent, 3), API_STATE_COMMITTED);
    agent_kill(agent);
    agent_start(agent, NULL);
    assert_int_equal(agent_commit(agent, 3), API_STATE_COMMITTED);
    assert_int_equal(agent_commit(agent, 1), API_STATE_UNKNOWN);
    assert_int_equal(agent_balance(agent, 1), 40);
}

/* A prepare that is repeated after it would be done again, and its records contradict the first. */
static void test_agent__abort_is_remembered_as_long_as_its_records(void **state)
{
    struct agent *agent = *state;
    assert_int_equal(agent_end(agent), 0);
    setenv("ASSENT_REMEMBERED_MAX", "1", 1);
    agent_start(agent, NULL);
    unsetenv("ASSENT_REMEMBERED_MAX");
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    assert_int_equal(agent_abort(agent, 1), API_STATE_ABORTED);
    for (uint8_t gtid = 2; gtid <= 3; gtid++) {
        assert_int_equal(agent_prepare(agent, gtid, TAKE_30), API_VOTE_YES);
        assert_int_equal(agent_commit(agent, gtid), API_STATE_COMMITTED);
    }
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_NO);
    assert_int_equal(agent_balance(agent, 1), 40);
}

static void start_with_room_for_two(struct agent *agent)
{
    agent_kill(agent);
    setenv("ASSENT_REMEMBERED_MAX", "2", 1);
    agent_start(agent, NULL);
    unsetenv("ASSENT_REMEMBERED_MAX");
}

/* Recovery keeps the gtids of the others until it has compared them with the database. */
static void test_agent__start_keeps_no_more_in_memory_than_it_may(void **state)
{
    struct agent *agent = *state;
    start_with_room_for_two(agent);
    for (uint8_t gtid = 1; gtid <= 5; gtid++) {
        assert_int_equal(agent_prepare(agent, gtid, TAKE_1), API_VOTE_YES);
        assert_int_equal(agent_commit(agent, gtid), API_STATE_COMMITTED);
    }
    assert_int_equal(agent_prepare(agent, 6, TAKE_1), API_VOTE_YES);
    for (int life = 0; life < 2; life++) {
        start_with_room_for_two(agent);
        await_metric(agent, "\nassent_branches_remembered 2\n");
        await_metric(agent, "\nassent_branches_logged 5\n");
        /* From the proof, which is logged once more. */
        assert_int_equal(agent_prepare(agent, 1, TAKE_1), API_VOTE_YES);
        assert_int_equal(agent_commit(agent, 1), API_STATE_COMMITTED);
        assert_int_equal(agent_balance(agent, 1), 95);
    }
    assert_int_equal(agent_commit(agent, 6), API_STATE_COMMITTED);
    assert_int_equal(agent_balance(agent, 1), 94);
}

static void test_agent__metrics_and_health(void **state)
{
    struct agent *agent = *state;
    struct tpc_buf answer;
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    assert_int_equal(agent_request(agent, "GET", "/metrics", NULL, &answer), 200);
    assert_non_null(strstr(answer.data, "\nassent_branches{state=\"prepared\"} 1\n"));
    assert_non_null(strstr(answer.data, "\nassent_messages_total{op=\"prepare\"} 1\n"));
    assert_non_null(strstr(answer.data, "\nassent_in_doubt_oldest_age_seconds 0."));
    tpc_buf_done(&answer);
    assert_int_equal(agent_request(agent, "GET", "/readyz", NULL, &answer), 200);
    tpc_buf_done(&answer);
    assert_int_equal(agent_request(agent, "GET", "/v1/branches?state=nonsense", NULL, &answer),
                     422);
    tpc_buf_done(&answer);
    assert_int_equal(agent_end(agent), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, agent_setup, agent_teardown)

/* It was the end of the process by an assertion: somebody waited for the acknowledgement. */
static void test_agent__stop_waits_for_a_commit_that_is_tried_again(void **state)
{
    struct agent *agent = *state;
    agent_kill(agent);
    agent_start(agent, "agent.db.commit=5*error");
    assert_int_equal(agent_prepare(agent, 1, TAKE_30), API_VOTE_YES);
    agent_commit_begin(agent, 1);
    agent_await_state(agent, 1, "committing");
    assert_int_equal(agent_end(agent), 0);
    assert_int_equal(agent_commit_end(agent, 1), API_STATE_COMMITTED);
    assert_int_equal(agent_balance(agent, 1), 70);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_agent__commit_and_every_repetition),
        TEST(test_agent__abort_and_tombstone),
        TEST(test_agent__commit_without_proof_is_unknown),
        TEST(test_agent__refusal_says_why),
        TEST(test_agent__one_group_many_lines),
        TEST(test_agent__refusal_in_one_phase_outlives_a_crash),
        TEST(test_agent__refusal_of_a_log_that_is_lost_stays_one),
        TEST(test_agent__commit_of_a_log_that_is_lost_is_told_from_the_proof),
        TEST(test_agent__commit_is_for_the_log_that_voted),
        TEST(test_agent__another_coordinator_changes_nothing),
        TEST(test_agent__log_that_was_set_back_is_refused),
        TEST(test_agent__in_doubt_asks_after_a_restart),
        TEST(test_agent__in_doubt_is_told_abort),
        TEST(test_agent__in_doubt_believes_its_own_coordinator_alone),
        TEST(test_agent__outcome_by_hand),
        TEST(test_agent__failed_force_halts_without_an_answer),
        TEST(test_agent__killed_between_force_and_vote_is_in_doubt),
        TEST(test_agent__killed_after_the_commit_does_it_once),
        TEST(test_agent__commit_of_a_failing_database_is_tried_again),
        TEST(test_agent__stop_waits_for_a_commit_that_is_tried_again),
        TEST(test_agent__lost_vote_is_said_again),
        TEST(test_agent__lookup_asks_the_database),
        TEST(test_agent__nothing_is_forgotten_before_the_coordinator_has),
        TEST(test_agent__asking_tells_how_far_the_coordinator_has_forgotten),
        TEST(test_agent__prepare_of_a_forgotten_transaction_is_refused),
        TEST(test_agent__aborted_branch_is_remembered_as_long_as_it_is_in_the_log),
        TEST(test_agent__ended_branches_are_forgotten_after_the_retention_time),
        TEST(test_agent__abort_is_remembered_as_long_as_its_records),
        TEST(test_agent__start_keeps_no_more_in_memory_than_it_may),
        TEST(test_agent__metrics_and_health),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
