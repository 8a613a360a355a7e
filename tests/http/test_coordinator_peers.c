/* What the coordinator makes of its participants' answers and questions; hazards; the registry; the
 * list. */
#include "tests/http/harness.h"

#include <string.h>
#include <sys/wait.h>

static const struct scripted_plan hold = {.act = SCRIPTED_HOLD};
static const struct scripted_plan silent = {.act = SCRIPTED_SILENT};
static const struct scripted_plan no = {.vote = API_VOTE_NO, .cause = API_CAUSE_CONSTRAINT};
static const struct scripted_plan committed = {.state = API_STATE_COMMITTED};
static const struct scripted_plan aborted = {.state = API_STATE_ABORTED};
static const struct scripted_plan unknown = {.state = API_STATE_UNKNOWN};

/* ---- Hazards ---- */

static void assert_hazard(const struct reply *reply, const char *expected, const char *actual)
{
    assert_reply(reply, "hazard.0.participant", "west");
    assert_reply(reply, "hazard.0.expected", expected);
    assert_reply(reply, "hazard.0.actual", actual);
    assert_string_not_equal(reply_get(reply, "hazard.0.reason"), "");
    assert_reply(reply, "hazard.1", "");
}

static void submit_with_hazard(struct stage *stage, const char *actual, char id[TPC_ID_TEXT])
{
    struct reply reply;
    stage_submit(stage, "Idempotency-Key: \"h\"\r\n", BOTH(""), &reply);
    assert_int_equal(reply.status, 500);
    assert_reply(&reply, "type", "urn:assent:problem:hazard");
    assert_reply(&reply, "outcome", "commit");
    assert_hazard(&reply, "committed", actual);
    (void)snprintf(id, TPC_ID_TEXT, "%s", reply_get(&reply, "id"));
    reply_done(&reply);
}

static void post(struct stage *stage, const char *id, const char *verb, const char *body,
                 struct reply *reply)
{
    char path[128];
    (void)snprintf(path, sizeof path, "/v1/transactions/%s/%s", id, verb);
    stage_call(stage, "POST", path, body, reply);
}

static void test_hazard__no_proof_of_the_commit(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char id[TPC_ID_TEXT];
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_COMMIT, unknown);
    submit_with_hazard(stage, "unknown", id);
    assert_true(stage_metric(stage, "assent_hazards") == 1);
    stage_submit(stage, "Idempotency-Key: \"h\"\r\n", BOTH(""), &reply);
    assert_int_equal(reply.status, 500);
    reply_done(&reply);
    sup_proc_kill(&stage->coord); /* shown also after it */
    stage_restart(stage);
    stage_await_state(stage, id, "committed");
    stage_get(stage, id, "", &reply);
    assert_int_equal(reply.status, 200);
    assert_hazard(&reply, "committed", "unknown");
    reply_done(&reply);
}

static void test_hazard__aborted_by_hand(void **state)
{
    struct stage *stage = *state;
    char id[TPC_ID_TEXT];
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_COMMIT, aborted);
    submit_with_hazard(stage, "aborted", id);
}

static void test_hazard__another_coordinator_has_the_branch(void **state)
{
    struct stage *stage = *state;
    char id[TPC_ID_TEXT];
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_COMMIT,
                  (struct scripted_plan){.error = API_ERROR_WRONG_COORDINATOR});
    submit_with_hazard(stage, "unknown", id);
}

static void test_hazard__another_log_answers(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_COMMIT, hold);
    int fd = stage_begin(stage, "", BOTH(""));
    scripted_await(&stage->west, API_OP_COMMIT, 1);
    scripted_new_log(&stage->west);
    scripted_plan(&stage->west, API_OP_COMMIT, committed);
    scripted_release(&stage->west);
    http_end(fd, &reply);
    assert_int_equal(reply.status, 500);
    assert_hazard(&reply, "committed", "unknown");
    reply_done(&reply);
}

static void test_hazard__commit_was_for_a_log_that_is_lost(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    struct tpc_id voted = stage->west.id;
    scripted_plan(&stage->west, API_OP_COMMIT, hold);
    int fd = stage_begin(stage, "", BOTH(""));
    scripted_await(&stage->west, API_OP_COMMIT, 1);
    struct scripted_seen commit = scripted_at(&stage->west, API_OP_COMMIT, 0);
    assert_memory_equal(&commit.participant_id, &voted, sizeof voted);
    scripted_new_log(&stage->west);
    sup_proc_kill(&stage->coord);
    http_end(fd, &reply);
    reply_done(&reply);
    scripted_plan(&stage->west, API_OP_COMMIT,
                  (struct scripted_plan){.error = API_ERROR_WRONG_PARTICIPANT});
    stage_restart(stage); /* the log knows whom it was for */
    char id[TPC_ID_TEXT];
    stage_await_state(stage, tpc_id_format(&commit.gtid, id), "committed");
    commit = scripted_at(&stage->west, API_OP_COMMIT, 1);
    assert_memory_equal(&commit.participant_id, &voted, sizeof voted);
    stage_get(stage, id, "", &reply);
    assert_hazard(&reply, "committed", "unknown");
    reply_done(&reply);
}

/* It did nothing, and its answer says which log to name the next time. */
static void test_refusal__one_phase_for_another_log_is_an_abort(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    stage_submit(stage, "", ONE(""), &reply);
    assert_int_equal(reply.status, 201);
    reply_done(&reply);
    struct tpc_id old = stage->east.id;
    scripted_new_log(&stage->east);
    scripted_once(&stage->east, API_OP_PREPARE,
                  (struct scripted_plan){.error = API_ERROR_WRONG_PARTICIPANT});
    stage_submit(stage, "", ONE(""), &reply);
    assert_int_equal(reply.status, 409);
    assert_reply(&reply, "cause.code", "participant_error");
    assert_reply(&reply, "retryable", "true");
    reply_done(&reply);
    stage_submit(stage, "", ONE(""), &reply);
    assert_int_equal(reply.status, 201);
    reply_done(&reply);
    struct scripted_seen seen = scripted_at(&stage->east, API_OP_PREPARE, 0);
    assert_true(tpc_id_is_zero(&seen.participant_id));
    seen = scripted_at(&stage->east, API_OP_PREPARE, 1);
    assert_memory_equal(&seen.participant_id, &old, sizeof old);
    seen = scripted_at(&stage->east, API_OP_PREPARE, 2);
    assert_memory_equal(&seen.participant_id, &stage->east.id, sizeof old);
}

static void test_hazard__committed_by_hand_before_the_abort(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_plan(&stage->east, API_OP_PREPARE, no);
    scripted_plan(&stage->west, API_OP_ABORT, committed);
    stage_submit(stage, "", BOTH(""), &reply);
    assert_int_equal(reply.status, 500);
    assert_reply(&reply, "outcome", "abort");
    assert_hazard(&reply, "aborted", "committed");
    reply_done(&reply);
}

static void test_forget__clears_a_hazard_for_good(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char id[TPC_ID_TEXT];
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_COMMIT, unknown);
    submit_with_hazard(stage, "unknown", id);
    post(stage, id, "forget", "{\"because\":1}", &reply);
    assert_int_equal(reply.status, 422);
    reply_done(&reply);
    post(stage, id, "forget", "{\"reason\":\"put right\",\"operator\":\"ann\"}", &reply);
    assert_int_equal(reply.status, 200);
    assert_reply(&reply, "hazard", "");
    assert_reply(&reply, "branches.0.hazard_forgotten", "");
    assert_reply(&reply, "branches.1.hazard_forgotten", "true");
    assert_reply(&reply, "outcome", "commit");
    reply_done(&reply);
    assert_true(stage_metric(stage, "assent_hazards") == 0);
    assert_true(sup_proc_said(&stage->coord, "operator=ann"));
    post(stage, id, "forget", "", &reply);
    assert_int_equal(reply.status, 409);
    assert_reply(&reply, "type", "urn:assent:problem:no-hazard");
    reply_done(&reply);
    sup_proc_kill(&stage->coord);
    stage_restart(stage);
    stage_get(stage, id, "", &reply);
    assert_int_equal(reply.status, 200);
    assert_reply(&reply, "state", "committed");
    assert_reply(&reply, "hazard", "");
    assert_reply(&reply, "branches.1.hazard_forgotten", "true");
    reply_done(&reply);
    stage_submit(stage, "Idempotency-Key: \"h\"\r\n", BOTH(""), &reply);
    assert_int_equal(reply.status, 201);
    reply_done(&reply);
}

static void test_forget__waits_for_the_end(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char id[TPC_ID_TEXT];
    stage_start(stage, (const char *const[]){"--drain", "50ms", NULL});
    scripted_plan(&stage->west, API_OP_COMMIT, unknown);
    scripted_plan(&stage->east, API_OP_COMMIT, silent);
    stage_submit(stage, "Prefer: wait=1\r\n", BOTH(""), &reply);
    assert_int_equal(reply.status, 500); /* known already */
    (void)snprintf(id, sizeof id, "%s", reply_get(&reply, "id"));
    assert_reply(&reply, "state", "committing");
    reply_done(&reply);
    post(stage, id, "forget", "", &reply);
    assert_int_equal(reply.status, 409);
    assert_reply(&reply, "type", "urn:assent:problem:not-ended");
    reply_done(&reply);
    post(stage, "0199c0de-7a11-7c3e-9f00-5a2b1c0d0001", "forget", "", &reply);
    assert_int_equal(reply.status, 404);
    reply_done(&reply);
}

/* ---- Refusals and questions ---- */

static void test_refusal__wrong_coordinator_is_an_abort(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_PREPARE,
                  (struct scripted_plan){.error = API_ERROR_WRONG_COORDINATOR});
    stage_submit(stage, "", BOTH(""), &reply);
    assert_int_equal(reply.status, 409);
    assert_reply(&reply, "cause.code", "participant_error");
    assert_reply(&reply, "cause.participant", "west");
    assert_non_null(strstr(reply_get(&reply, "cause.detail"), "another coordinator"));
    reply_done(&reply);
}

static void assert_halted(struct stage *stage)
{
    assert_true(sup_proc_wait(&stage->coord, SUP_STOP_MS));
    assert_int_equal(WEXITSTATUS(stage->coord.status), 70);
    assert_true(sup_proc_said(&stage->coord, "set back"));
}

static void test_refusal__log_set_back_halts(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_PREPARE,
                  (struct scripted_plan){.error = API_ERROR_LOG_SET_BACK});
    stage_submit(stage, "", BOTH(""), &reply);
    assert_int_equal(reply.status, 0);
    reply_done(&reply);
    assert_halted(stage);
}

static void ask(struct stage *stage, const char *coordinator, unsigned generation, const char *gtid,
                struct reply *reply)
{
    char body[600], text[TPC_ID_TEXT];
    (void)snprintf(body, sizeof body,
                   "{\"participant_id\":\"%s\",\"coordinator\":{\"id\":\"%s\",\"generation\":%u,"
                   "\"nonce\":\"0199c0de-7a11-4c3e-9f00-5a2b1c0d0001\"},\"gtids\":[\"%s\"]}",
                   tpc_id_format(&stage->east.id, text), coordinator, generation, gtid);
    stage_call(stage, "POST", "/v1/decisions", body, reply);
}

static void test_decisions__undecided_commit_abort_and_set_back(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char own[TPC_ID_TEXT], id[TPC_ID_TEXT];
    const char *never = "0199c0de-7a11-7c3e-9f00-5a2b1c0d0001";
    stage_start(stage, NULL);
    stage_call(stage, "GET", "/readyz?verbose", "", &reply);
    (void)snprintf(own, sizeof own, "%s", reply_get(&reply, "coordinator_id"));
    reply_done(&reply);
    scripted_plan(&stage->west, API_OP_PREPARE, hold);
    int fd = stage_begin(stage, "", BOTH(""));
    scripted_await(&stage->west, API_OP_PREPARE, 1);
    stage_newest(stage, id);
    ask(stage, own, 0, id, &reply);
    assert_int_equal(reply.status, 200);
    assert_reply(&reply, "coordinator_id", own);
    assert_reply(&reply, "decisions.0.outcome", "undecided");
    reply_done(&reply);
    scripted_plan(&stage->west, API_OP_PREPARE, (struct scripted_plan){.vote = API_VOTE_YES});
    scripted_release(&stage->west);
    http_end(fd, &reply);
    assert_int_equal(reply.status, 201);
    reply_done(&reply);
    ask(stage, own, 0, id, &reply);
    assert_reply(&reply, "decisions.0.outcome", "commit");
    assert_reply(&reply, "generation", "1");
    assert_string_not_equal(reply_get(&reply, "forgotten_below"), "");
    reply_done(&reply);
    ask(stage, own, 0, never, &reply);
    assert_reply(&reply, "decisions.0.outcome", "abort");
    reply_done(&reply);
    ask(stage, never, 0, id, &reply);
    assert_int_equal(reply.status, 409);
    reply_done(&reply);
    ask(stage, own, 2, id, &reply); /* it knows a start that this log does not */
    assert_int_equal(reply.status, 0);
    reply_done(&reply);
    assert_halted(stage);
}

/* ---- The registry ---- */

static void test_registry__is_kept_in_the_log(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char body[128];
    stage_start(stage, NULL);
    (void)snprintf(body, sizeof body, "{\"url\":\"%s/\"}", stage->west.url);
    stage_call(stage, "PUT", "/v1/participants/north", body, &reply);
    assert_int_equal(reply.status, 201);
    assert_reply(&reply, "url", stage->west.url);
    reply_done(&reply);
    double forced = stage_metric(stage, "assent_forced_writes_total");
    stage_call(stage, "PUT", "/v1/participants/north", body, &reply); /* says nothing new */
    assert_int_equal(reply.status, 200);
    reply_done(&reply);
    assert_true(stage_metric(stage, "assent_forced_writes_total") == forced);
    stage_call(stage, "PUT", "/v1/participants/-", body, &reply);
    assert_int_equal(reply.status, 422);
    reply_done(&reply);
    stage_call(stage, "DELETE", "/v1/participants/east", "", &reply);
    assert_int_equal(reply.status, 204);
    reply_done(&reply);
    stage_submit(stage, "", BOTH(""), &reply);
    assert_int_equal(reply.status, 422);
    assert_reply(&reply, "field", "branches[0].participant");
    reply_done(&reply);
    sup_proc_kill(&stage->coord);
    stage_restart(stage); /* --participant registers east again */
    stage_call(stage, "GET", "/v1/participants", "", &reply);
    assert_reply(&reply, "items.3", "");
    assert_string_not_equal(reply_get(&reply, "items.2.name"), "");
    reply_done(&reply);
    stage_call(stage, "GET", "/v1/participants/north", "", &reply);
    assert_int_equal(reply.status, 200);
    assert_reply(&reply, "url", stage->west.url);
    reply_done(&reply);
    stage_submit(stage, "", BOTH(""), &reply);
    assert_int_equal(reply.status, 201);
    reply_done(&reply);
}

static void test_registry__in_use_is_not_taken_off(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, NULL);
    scripted_plan(&stage->west, API_OP_PREPARE, hold);
    int fd = stage_begin(stage, "", BOTH(""));
    scripted_await(&stage->west, API_OP_PREPARE, 1);
    stage_call(stage, "DELETE", "/v1/participants/west", "", &reply);
    assert_int_equal(reply.status, 409);
    reply_done(&reply);
    scripted_plan(&stage->west, API_OP_PREPARE, no);
    scripted_release(&stage->west);
    http_end(fd, &reply);
    assert_int_equal(reply.status, 409);
    reply_done(&reply);
    stage_call(stage, "DELETE", "/v1/participants/west", "", &reply);
    assert_int_equal(reply.status, 204);
    reply_done(&reply);
}

static void test_registry__full_counts_those_that_are_registered(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char path[64];
    stage_start(stage, (const char *const[]){"--participants-max", "3", NULL});
    for (int i = 0; i < 4; i++) {
        (void)snprintf(path, sizeof path, "/v1/participants/p%d", i);
        stage_call(stage, "PUT", path, "{\"url\":\"http://127.0.0.1:1\"}", &reply);
        assert_int_equal(reply.status, 201);
        reply_done(&reply);
        stage_call(stage, "PUT", "/v1/participants/more", "{\"url\":\"http://127.0.0.1:1\"}",
                   &reply);
        assert_int_equal(reply.status, 503);
        reply_done(&reply);
        stage_call(stage, "DELETE", path, "", &reply);
        assert_int_equal(reply.status, 204);
        reply_done(&reply);
    }
}

/* ---- The list, limits ---- */

static void test_list__newest_first_with_filters_and_a_cursor(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char path[160], last[TPC_ID_TEXT] = "";
    stage_start(stage, NULL);
    for (int i = 0; i < 5; i++) {
        scripted_once(&stage->west, API_OP_PREPARE,
                      i == 2 ? no : (struct scripted_plan){.vote = API_VOTE_YES});
        stage_submit(stage, "", BOTH(""), &reply);
        assert_int_equal(reply.status, i == 2 ? 409 : 201);
        reply_done(&reply);
    }
    (void)snprintf(path, sizeof path, "/v1/transactions?limit=2");
    int seen = 0;
    do {
        stage_call(stage, "GET", path, "", &reply);
        assert_int_equal(reply.status, 200);
        for (const struct api_json *item = api_json_first(api_json_get(reply.json, "items"));
             item != NULL; item = api_json_next(item)) {
            const char *id = api_json_string(api_json_get(item, "id"));
            assert_true(last[0] == '\0' || strcmp(id, last) < 0);
            (void)snprintf(last, sizeof last, "%s", id);
            seen++;
        }
        (void)snprintf(path, sizeof path, "/v1/transactions?limit=2&cursor=%s",
                       reply_get(&reply, "next_cursor"));
        bool more = strcmp(reply_get(&reply, "next_cursor"), "null") != 0;
        reply_done(&reply);
        if (!more) {
            break;
        }
    } while (seen < 100);
    assert_int_equal(seen, 5);
    stage_call(stage, "GET", "/v1/transactions?state=aborted&participant=west", "", &reply);
    assert_reply(&reply, "items.0.state", "aborted");
    assert_reply(&reply, "items.1", "");
    reply_done(&reply);
    stage_call(stage, "GET", "/v1/transactions?participant=nobody", "", &reply);
    assert_reply(&reply, "items", "[]");
    reply_done(&reply);
    stage_call(stage, "GET", "/v1/transactions?cursor=00000000-0000-0000-0000-000000000001", "",
               &reply);
    assert_reply(&reply, "items", "[]");
    assert_reply(&reply, "next_cursor", "null");
    reply_done(&reply);
}

static void test_limits__refuse_before_anything_is_started(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, (const char *const[]){"--transactions-max", "1", "--keys-max", "1", NULL});
    scripted_plan(&stage->west, API_OP_PREPARE, hold);
    int fd = stage_begin(stage, "Idempotency-Key: a\r\n", BOTH(""));
    scripted_await(&stage->west, API_OP_PREPARE, 1);
    stage_submit(stage, "", BOTH(""), &reply);
    assert_int_equal(reply.status, 503);
    reply_done(&reply);
    scripted_plan(&stage->west, API_OP_PREPARE, (struct scripted_plan){.vote = API_VOTE_YES});
    scripted_release(&stage->west);
    http_end(fd, &reply);
    assert_int_equal(reply.status, 201);
    reply_done(&reply);
    stage_submit(stage, "Idempotency-Key: b\r\n", BOTH(""), &reply);
    assert_int_equal(reply.status, 503);
    reply_done(&reply);
    stage_submit(stage, "", BOTH(""), &reply);
    assert_int_equal(reply.status, 201);
    reply_done(&reply);
    assert_int_equal(scripted_count(&stage->east, API_OP_PREPARE), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_hazard__no_proof_of_the_commit),
        TEST(test_hazard__aborted_by_hand),
        TEST(test_hazard__another_coordinator_has_the_branch),
        TEST(test_hazard__another_log_answers),
        TEST(test_hazard__commit_was_for_a_log_that_is_lost),
        TEST(test_refusal__one_phase_for_another_log_is_an_abort),
        TEST(test_hazard__committed_by_hand_before_the_abort),
        TEST(test_forget__clears_a_hazard_for_good),
        TEST(test_forget__waits_for_the_end),
        TEST(test_refusal__wrong_coordinator_is_an_abort),
        TEST(test_refusal__log_set_back_halts),
        TEST(test_decisions__undecided_commit_abort_and_set_back),
        TEST(test_registry__is_kept_in_the_log),
        TEST(test_registry__in_use_is_not_taken_off),
        TEST(test_registry__full_counts_those_that_are_registered),
        TEST(test_list__newest_first_with_filters_and_a_cursor),
        TEST(test_limits__refuse_before_anything_is_started),
    };
    cmocka_set_test_filter(getenv("TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
