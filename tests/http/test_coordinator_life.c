/* The coordinator killed, stopped and started again: what it remembers, and what it says. */
#include "tests/http/harness.h"

#include "base/clock.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

static const struct scripted_plan hold = {.act = SCRIPTED_HOLD};
static const struct scripted_plan silent = {.act = SCRIPTED_SILENT};
static const struct scripted_plan yes = {.vote = API_VOTE_YES};
static const struct scripted_plan committed = {.state = API_STATE_COMMITTED};

#define KEY "Idempotency-Key: \"order-17\"\r\n"

static void ask(struct stage *stage, const struct tpc_id *gtid, struct reply *reply)
{
    char body[600], text[2][TPC_ID_TEXT];
    stage_call(stage, "GET", "/readyz?verbose", "", reply);
    (void)snprintf(body, sizeof body,
                   "{\"participant_id\":\"%s\",\"coordinator\":{\"id\":\"%s\",\"generation\":1,"
                   "\"nonce\":\"%s\"},\"gtids\":[\"%s\"]}",
                   tpc_id_format(&stage->east.id, text[0]), reply_get(reply, "coordinator_id"),
                   "0199c0de-7a11-4c3e-9f00-5a2b1c0d0001", tpc_id_format(gtid, text[1]));
    reply_done(reply);
    stage_call(stage, "POST", "/v1/decisions", body, reply);
}

static void assert_replayed(struct reply *reply)
{
    char header[16];
    assert_string_equal(reply_header(reply, "Idempotent-Replayed", header, sizeof header), "true");
}

/* ---- Idempotency keys ---- */

static void test_key__replays_joins_and_refuses(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char id[TPC_ID_TEXT], header[16];
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_PREPARE, hold);
    int first = stage_begin(stage, KEY, BOTH(""));
    scripted_await(&stage->west, API_OP_PREPARE, 1);
    int second = stage_begin(stage, "Idempotency-Key: order-17\r\n", BOTH("")); /* joins */
    stage_submit(stage, KEY, BOTH(",\"ack\":\"decided\""), &reply);
    assert_int_equal(reply.status, 422);
    reply_done(&reply);
    stage_newest(stage, id);
    scripted_plan(&stage->west, API_OP_PREPARE, yes);
    scripted_release(&stage->west);
    http_end(first, &reply);
    assert_int_equal(reply.status, 201);
    assert_string_equal(reply_header(&reply, "Idempotent-Replayed", header, sizeof header), "");
    reply_done(&reply);
    http_end(second, &reply);
    assert_int_equal(reply.status, 201);
    assert_replayed(&reply);
    assert_reply(&reply, "id", id);
    reply_done(&reply);
    stage_submit(stage, KEY, BOTH(""), &reply);
    assert_int_equal(reply.status, 201);
    assert_replayed(&reply);
    assert_reply(&reply, "id", id);
    reply_done(&reply);
    assert_int_equal(scripted_count(&stage->east, API_OP_PREPARE), 1);
    stage_call(stage, "GET", "/v1/transactions?key=order-17", "", &reply);
    assert_reply(&reply, "items.0.id", id);
    assert_reply(&reply, "items.1", "");
    reply_done(&reply);
}

static void test_key__of_an_abort_may_be_tried_again(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char header[16];
    stage_start(stage, NULL);
    scripted_once(&stage->west, API_OP_PREPARE,
                  (struct scripted_plan){.vote = API_VOTE_NO, .cause = API_CAUSE_CONSTRAINT});
    stage_submit(stage, KEY, BOTH(""), &reply);
    assert_int_equal(reply.status, 409);
    reply_done(&reply);
    stage_submit(stage, KEY, BOTH(""), &reply);
    assert_int_equal(reply.status, 201);
    assert_string_equal(reply_header(&reply, "Idempotent-Replayed", header, sizeof header), "");
    reply_done(&reply);
}

static void test_key__survives_a_kill_while_committing(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char id[TPC_ID_TEXT];
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_COMMIT, hold);
    int fd = stage_begin(stage, KEY, BOTH(",\"ack\":\"decided\""));
    scripted_await(&stage->west, API_OP_COMMIT, 1);
    http_end(fd, &reply);
    assert_int_equal(reply.status, 201);
    reply_done(&reply);
    stage_newest(stage, id);
    sup_proc_kill(&stage->coord);
    stage_restart(stage);
    stage_submit(stage, KEY, BOTH(",\"ack\":\"decided\""),
                 &reply); /* what was told is told again */
    assert_int_equal(reply.status, 201);
    assert_replayed(&reply);
    assert_reply(&reply, "id", id);
    assert_reply(&reply, "state", "committing");
    reply_done(&reply);
    stage_submit(stage, KEY, BOTH(""), &reply);
    assert_int_equal(reply.status, 422);
    reply_done(&reply);
    scripted_plan(&stage->west, API_OP_COMMIT, committed);
    scripted_release(&stage->west);
    stage_await_state(stage, id, "committed");
    assert_int_equal(scripted_count(&stage->west, API_OP_PREPARE), 1);
}

/* ---- Killed at the decision ---- */

static void test_kill__after_the_decision_is_a_commit(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, (const char *const[]){"--failpoints", "coord.decision.forced=1*kill", NULL});
    stage_submit(stage, KEY, BOTH(""), &reply);
    assert_int_equal(reply.status, 0);
    reply_done(&reply);
    assert_true(sup_proc_wait(&stage->coord, SUP_STOP_MS));
    assert_int_equal(scripted_count(&stage->east, API_OP_COMMIT), 0);
    struct scripted_seen prepare = scripted_at(&stage->east, API_OP_PREPARE, 0);
    stage->flags[0] = NULL;
    stage_restart(stage);
    scripted_await(&stage->east, API_OP_COMMIT, 1);
    scripted_await(&stage->west, API_OP_COMMIT, 1);
    ask(stage, &prepare.gtid, &reply);
    assert_int_equal(reply.status, 200);
    assert_reply(&reply, "decisions.0.outcome", "commit");
    reply_done(&reply);
    stage_submit(stage, KEY, BOTH(""), &reply);
    assert_int_equal(reply.status, 201);
    assert_replayed(&reply);
    assert_reply(&reply, "began_at", reply_get(&reply, "began_at"));
    reply_done(&reply);
    assert_int_equal(scripted_count(&stage->east, API_OP_PREPARE), 1);
    struct scripted_seen commit = scripted_at(&stage->east, API_OP_COMMIT, 0);
    assert_true(tpc_id_equal(&commit.gtid, &prepare.gtid));
    assert_true(commit.generation == prepare.generation + 1);
}

static void test_kill__before_the_decision_is_an_abort(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char header[16];
    stage_start(stage, (const char *const[]){"--failpoints", "coord.decision.force=1*kill", NULL});
    stage_submit(stage, KEY, BOTH(""), &reply);
    assert_int_equal(reply.status, 0);
    reply_done(&reply);
    assert_true(sup_proc_wait(&stage->coord, SUP_STOP_MS));
    struct scripted_seen prepare = scripted_at(&stage->east, API_OP_PREPARE, 0);
    stage->flags[0] = NULL;
    stage_restart(stage);
    ask(stage, &prepare.gtid, &reply);
    assert_reply(&reply, "decisions.0.outcome", "abort");
    reply_done(&reply);
    stage_submit(stage, KEY, BOTH(""), &reply);
    assert_int_equal(reply.status, 201);
    assert_string_equal(reply_header(&reply, "Idempotent-Replayed", header, sizeof header), "");
    reply_done(&reply);
}

static void test_kill__failed_force_halts(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char id[TPC_ID_TEXT];
    stage_start(stage, (const char *const[]){"--failpoints", "coord.log.force=off", NULL});
    sup_proc_stop(&stage->coord); /* the participants are registered */
    stage->flags[1] = "coord.log.force=1*error";
    stage_restart(stage);
    stage_submit(stage, "", BOTH(""), &reply);
    assert_int_equal(reply.status, 0);
    reply_done(&reply);
    assert_true(sup_proc_wait(&stage->coord, SUP_STOP_MS));
    assert_int_equal(WEXITSTATUS(stage->coord.status), 70);
    assert_true(sup_proc_said(&stage->coord, "evt=daemon.halt"));
    assert_int_equal(scripted_count(&stage->east, API_OP_COMMIT), 0);
    stage->flags[0] = NULL;
    stage_restart(stage);
    /* The row was there: only the new start may know, and it decides for all alike. */
    stage_call(stage, "GET", "/v1/transactions", "", &reply);
    (void)snprintf(id, sizeof id, "%s", reply_get(&reply, "items.0.id"));
    reply_done(&reply);
    if (id[0] != '\0') {
        stage_await_state(stage, id, "committed");
        assert_int_equal(scripted_count(&stage->west, API_OP_COMMIT), 1);
    }
}

/* ---- One-phase commit ---- */

static void test_one_phase__one_message_and_no_forced_write(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    /* As long as it is not known which log the prepare is for, there are both phases: another log
     * would take a repetition of what this one refused for new work. */
    stage_submit(stage, "", ONE(""), &reply);
    assert_int_equal(reply.status, 201);
    assert_reply(&reply, "branches.0.vote", "yes");
    reply_done(&reply);
    assert_false(scripted_at(&stage->east, API_OP_PREPARE, 0).one_phase);
    assert_int_equal(scripted_count(&stage->east, API_OP_COMMIT), 1);
    double forced = stage_metric(stage, "assent_forced_writes_total");
    stage_submit(stage, "", ONE(""), &reply);
    assert_int_equal(reply.status, 201);
    assert_reply(&reply, "branches.0.vote", "committed");
    reply_done(&reply);
    assert_true(scripted_at(&stage->east, API_OP_PREPARE, 1).one_phase);
    assert_int_equal(scripted_count(&stage->east, API_OP_COMMIT), 1);
    assert_true(stage_metric(stage, "assent_forced_writes_total") == forced);
    /* Whose id may be known before its outcome has both phases. */
    stage_submit(stage, KEY, ONE(""), &reply);
    assert_int_equal(reply.status, 201);
    reply_done(&reply);
    assert_false(scripted_at(&stage->east, API_OP_PREPARE, 2).one_phase);
}

static void test_one_phase__lost_answer_is_asked_for(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char id[TPC_ID_TEXT];
    stage_start(stage, NULL);
    stage_submit(stage, "", ONE(""), &reply); /* its log is known from here on */
    reply_done(&reply);
    scripted_once(&stage->east, API_OP_PREPARE, silent);
    scripted_plan(&stage->east, API_OP_ABORT, hold);
    stage_submit(stage, "", ONE(""), &reply);
    assert_int_equal(reply.status, 202);
    assert_reply(&reply, "outcome", "null");
    (void)snprintf(id, sizeof id, "%s", reply_get(&reply, "id"));
    reply_done(&reply);
    scripted_await(&stage->east, API_OP_ABORT, 1);
    assert_true(scripted_at(&stage->east, API_OP_ABORT, 0).one_phase);
    sup_proc_kill(&stage->coord);
    scripted_plan(&stage->east, API_OP_ABORT, committed);
    stage_restart(stage);
    stage_await_state(stage, id, "committed");
    stage_get(stage, id, "", &reply);
    assert_reply(&reply, "hazard", "");
    reply_done(&reply);
}

static void test_one_phase__time_out_before_it_left_is_an_abort(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, (const char *const[]){"--lanes-max", "1", NULL});
    scripted_plan(&stage->east, API_OP_PREPARE, hold);
    int fd = stage_begin(stage, "", BOTH(""));
    scripted_await(&stage->east, API_OP_PREPARE, 1);
    stage_submit(stage, "", ONE(",\"timeout_ms\":50"), &reply);
    assert_int_equal(reply.status, 409);
    assert_reply(&reply, "cause.code", "timeout");
    reply_done(&reply);
    scripted_plan(&stage->east, API_OP_PREPARE, yes);
    scripted_release(&stage->east);
    http_end(fd, &reply);
    assert_int_equal(reply.status, 201);
    reply_done(&reply);
    assert_int_equal(scripted_count(&stage->east, API_OP_PREPARE), 1);
}

/* ---- Start and stop ---- */

static void test_start__until_recovered_it_says_503(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char header[16];
    stage_start(stage, (const char *const[]){"--failpoints", "coord.start.recovered=off", NULL});
    sup_proc_stop(&stage->coord);
    stage->flags[1] = "coord.start.recovered=delay(1500)";
    stage_begin_restart(stage);
    uint64_t until_ms = tpc_clock_mono_ms() + UINT64_C(1000) * PATIENCE_S;
    do {
        stage_call(stage, "GET", "/livez", "", &reply);
        int status = reply.status;
        reply_done(&reply);
        if (status == 200) {
            break;
        }
    } while (tpc_clock_mono_ms() < until_ms);
    static const char *const paths[] = {"/readyz", "/readyz?verbose", "/v1/transactions",
                                        "/v1/participants", "/metrics"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        stage_call(stage, "GET", paths[i], "", &reply);
        assert_int_equal(reply.status, 503);
        assert_string_not_equal(reply_header(&reply, "Retry-After", header, sizeof header), "");
        reply_done(&reply);
    }
    stage_submit(stage, "", BOTH(""), &reply);
    assert_int_equal(reply.status, 503);
    reply_done(&reply);
    assert_false(sup_proc_said(&stage->coord, "evt=daemon.ready"));
    stage_end_restart(stage);
    stage_submit(stage, "", BOTH(""), &reply);
    assert_int_equal(reply.status, 201);
    reply_done(&reply);
}

static void test_start__second_one_on_the_directory_is_refused(void **state)
{
    struct stage *stage = *state;
    char path[128];
    stage_start(stage, NULL);
    (void)snprintf(path, sizeof path, "%s/second.log", stage->directory);
    const char *const args[] = {"assentd", "--data", stage->data, "--listen", "127.0.0.1:0", NULL};
    assert_int_equal(sup_run(args, path), 1);
    const char *const taken[] = {
        "assentd", "--data", stage->directory, "--listen", stage->url + strlen("http://"), NULL};
    assert_int_equal(sup_run(taken, path), 1);
}

static void test_stop__waits_for_what_is_under_way(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_PREPARE, hold);
    int fd = stage_begin(stage, "", BOTH(""));
    scripted_await(&stage->west, API_OP_PREPARE, 1);
    sup_proc_signal(&stage->coord, SIGTERM);
    while (!sup_proc_said(&stage->coord, "evt=daemon.drain")) {
    }
    scripted_plan(&stage->west, API_OP_PREPARE, yes);
    scripted_release(&stage->west);
    http_end(fd, &reply);
    assert_int_equal(reply.status, 201);
    reply_done(&reply);
    assert_true(sup_proc_wait(&stage->coord, SUP_STOP_MS));
    assert_int_equal(stage->coord.status, 0);
}

static void test_stop__what_is_undecided_is_aborted_and_told_so(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, (const char *const[]){"--drain", "50ms", NULL});
    scripted_plan(&stage->west, API_OP_PREPARE, hold);
    int fd = stage_begin(stage, "", BOTH(""));
    scripted_await(&stage->west, API_OP_PREPARE, 1);
    sup_proc_stop(&stage->coord);
    http_end(fd, &reply);
    assert_int_equal(reply.status, 409);
    assert_reply(&reply, "state", "aborted");
    assert_reply(&reply, "retryable", "true");
    reply_done(&reply);
}

static void test_stop__what_is_decided_is_told_so_and_goes_on(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char id[TPC_ID_TEXT];
    stage_start(stage, (const char *const[]){"--drain", "50ms", NULL});
    scripted_plan(&stage->west, API_OP_COMMIT, hold);
    int fd = stage_begin(stage, "", BOTH(""));
    scripted_await(&stage->west, API_OP_COMMIT, 1);
    sup_proc_stop(&stage->coord);
    http_end(fd, &reply);
    assert_int_equal(reply.status, 202);
    assert_reply(&reply, "outcome", "commit");
    (void)snprintf(id, sizeof id, "%s", reply_get(&reply, "id"));
    reply_done(&reply);
    scripted_plan(&stage->west, API_OP_COMMIT, committed);
    stage_restart(stage);
    stage_await_state(stage, id, "committed");
}

static void test_stop__one_phase_is_asked_for_after_the_start(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char id[TPC_ID_TEXT];
    stage_start(stage, (const char *const[]){"--drain", "50ms", NULL});
    stage_submit(stage, "", ONE(""), &reply); /* its log is known from here on */
    reply_done(&reply);
    scripted_plan(&stage->east, API_OP_PREPARE, hold);
    scripted_plan(&stage->east, API_OP_ABORT, hold);
    int fd = stage_begin(stage, "", ONE(""));
    scripted_await(&stage->east, API_OP_PREPARE, 2);
    sup_proc_stop(&stage->coord);
    http_end(fd, &reply);
    assert_int_equal(reply.status, 202);
    (void)snprintf(id, sizeof id, "%s", reply_get(&reply, "id"));
    reply_done(&reply);
    scripted_plan(&stage->east, API_OP_ABORT, committed);
    stage_restart(stage);
    stage_await_state(stage, id, "committed");
}

static void test_stop__second_signal_ends_it_at_once(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_PREPARE, hold);
    int fd = stage_begin(stage, "", BOTH(""));
    scripted_await(&stage->west, API_OP_PREPARE, 1);
    sup_proc_signal(&stage->coord, SIGTERM);
    while (!sup_proc_said(&stage->coord, "evt=daemon.drain")) {
    }
    sup_proc_signal(&stage->coord, SIGTERM);
    assert_true(sup_proc_wait(&stage->coord, SUP_STOP_MS));
    assert_int_equal(WEXITSTATUS(stage->coord.status), 128 + SIGTERM);
    http_end(fd, &reply);
    assert_int_equal(reply.status, 0);
    reply_done(&reply);
}

static void test_stop__hanging_log_does_not_keep_it(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, (const char *const[]){"--failpoints", "coord.log.force=off", "--drain",
                                             "50ms", NULL});
    sup_proc_stop(&stage->coord);
    stage->flags[1] = "coord.log.force=1*hang";
    stage_restart(stage);
    int fd = stage_begin(stage, "", BOTH(""));
    while (!sup_proc_said(&stage->coord, "to=LOGGING")) {
    }
    sup_proc_signal(&stage->coord, SIGTERM);
    assert_false(
        sup_proc_wait(&stage->coord, 2000)); /* it waits for the log, and longer than this */
    sup_proc_signal(&stage->coord, SIGTERM);
    assert_true(sup_proc_wait(&stage->coord, SUP_STOP_MS));
    http_end(fd, &reply);
    assert_int_equal(reply.status, 0);
    reply_done(&reply);
    assert_int_equal(scripted_count(&stage->east, API_OP_COMMIT), 0);
}

/* More records than the log's queue takes, while the log is slow: none is lost, and none halts. */
static void test_log__that_is_full_holds_decisions_up_and_no_more(void **state)
{
    enum { COUNT = 2500 };
    struct stage *stage = *state;
    struct reply reply;
    char headers[320], body[600];
    stage_start(stage, (const char *const[]){"--failpoints", "coord.log.append=off",
                                             "--log-queue-max", "1M", NULL});
    sup_proc_stop(&stage->coord);
    stage->flags[1] = "coord.log.append=1*delay(4000)";
    stage_restart(stage);
    scripted_plan(&stage->west, API_OP_PREPARE, hold);
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(headers, sizeof headers,
                       "Prefer: respond-async\r\nIdempotency-Key: %0200d\r\n", i);
        (void)snprintf(body, sizeof body, BOTH(",\"timeout_ms\":60000,\"label\":\"%0200d\""), i);
        stage_submit(stage, headers, body, &reply);
        assert_int_equal(reply.status, 202);
        reply_done(&reply);
    }
    scripted_plan(&stage->west, API_OP_PREPARE, yes); /* all decisions at once */
    scripted_release(&stage->west);
    uint64_t until_ms = tpc_clock_mono_ms() + UINT64_C(1000) * PATIENCE_S;
    while (stage_metric(stage, "assent_transactions_in_flight") != 0) {
        assert_true(tpc_clock_mono_ms() < until_ms);
    }
    assert_true(stage_metric(stage, "assent_transactions_total{outcome=\"commit\"}") == COUNT);
    assert_true(stage_metric(stage, "assent_log_full_total") > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_key__replays_joins_and_refuses),
        TEST(test_key__of_an_abort_may_be_tried_again),
        TEST(test_key__survives_a_kill_while_committing),
        TEST(test_kill__after_the_decision_is_a_commit),
        TEST(test_kill__before_the_decision_is_an_abort),
        TEST(test_kill__failed_force_halts),
        TEST(test_one_phase__one_message_and_no_forced_write),
        TEST(test_one_phase__lost_answer_is_asked_for),
        TEST(test_one_phase__time_out_before_it_left_is_an_abort),
        TEST(test_start__until_recovered_it_says_503),
        TEST(test_start__second_one_on_the_directory_is_refused),
        TEST(test_stop__waits_for_what_is_under_way),
        TEST(test_stop__what_is_undecided_is_aborted_and_told_so),
        TEST(test_stop__what_is_decided_is_told_so_and_goes_on),
        TEST(test_stop__one_phase_is_asked_for_after_the_start),
        TEST(test_stop__second_signal_ends_it_at_once),
        TEST(test_stop__hanging_log_does_not_keep_it),
        TEST(test_log__that_is_full_holds_decisions_up_and_no_more),
    };
    cmocka_set_test_filter(getenv("TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
