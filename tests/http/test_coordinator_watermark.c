/* What the coordinator says of how far it has forgotten. */
#include "tests/http/harness.h"

#include "base/clock.h"

#include <string.h>

static const char *const soon[] = {"--retention", "1s", NULL};
static const struct scripted_plan silent = {.act = SCRIPTED_SILENT};
static const struct scripted_plan committed = {.state = API_STATE_COMMITTED};
static const struct scripted_plan unknown = {.state = API_STATE_UNKNOWN};
static const char two_phase[] = "Prefer: wait=20\r\n"; /* which an id that is told makes it */

static struct scripted_seen last_prepare(struct scripted *participant)
{
    size_t count = scripted_count(participant, API_OP_PREPARE);
    return scripted_at(participant, API_OP_PREPARE, count - 1);
}

/* Commit one more at east: what came with its prepare. */
static struct tpc_id watermark(struct stage *stage, const char *headers)
{
    struct reply reply;
    stage_submit(stage, headers, ONE(""), &reply);
    assert_int_equal(reply.status, 201);
    reply_done(&reply);
    struct scripted_seen seen = last_prepare(&stage->east);
    assert_true(tpc_id_compare(&seen.forgotten_below, &seen.gtid) <= 0);
    return seen.forgotten_below;
}

/* Until all below @gtid is forgotten. */
static struct tpc_id await_watermark(struct stage *stage, const char *headers,
                                     const struct tpc_id *gtid)
{
    uint64_t until_ms = tpc_clock_mono_ms() + PATIENCE_S * 1000;
    struct tpc_id now = watermark(stage, headers), before = now;
    while (tpc_id_compare(&now, gtid) < 0) {
        assert_true(tpc_clock_mono_ms() < until_ms);
        now = watermark(stage, headers);
        assert_true(tpc_id_compare(&before, &now) <= 0);
        before = now;
    }
    return now;
}

/* It has passed all before @held, and stays there. */
static void assert_held(struct stage *stage, const struct tpc_id *held)
{
    struct tpc_id now = await_watermark(stage, two_phase, held);
    assert_memory_equal(&now, held, sizeof now);
}

static void assert_rises(struct stage *stage, const char *headers)
{
    struct tpc_id last = last_prepare(&stage->east).gtid;
    memset(last.bytes + 8, 0xff, sizeof last.bytes - 8); /* between it and the next */
    (void)await_watermark(stage, headers, &last);
}

static void test_watermark__rises_over_what_has_ended(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, soon);
    stage_submit(stage, "", BOTH(""), &reply);
    reply_done(&reply);
    (void)watermark(stage, two_phase);
    assert_rises(stage, two_phase);
}

static void test_watermark__waits_for_the_last_confirmation(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, soon);
    (void)watermark(stage, two_phase);
    scripted_plan(&stage->west, API_OP_COMMIT, silent);
    int fd = stage_begin(stage, "", BOTH(""));
    scripted_await(&stage->west, API_OP_COMMIT, 1);
    struct tpc_id held = last_prepare(&stage->west).gtid;
    assert_held(stage, &held);
    sup_proc_kill(&stage->coord);
    http_end(fd, &reply);
    reply_done(&reply);
    stage_restart(stage);
    assert_held(stage, &held);
    scripted_plan(&stage->west, API_OP_COMMIT, committed);
    assert_rises(stage, two_phase);
}

static void test_watermark__waits_for_hazards_to_be_forgotten(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    char path[128], id[TPC_ID_TEXT];
    stage_start(stage, soon);
    scripted_once(&stage->west, API_OP_COMMIT, unknown);
    stage_submit(stage, "", BOTH(""), &reply);
    assert_int_equal(reply.status, 500);
    reply_done(&reply);
    struct tpc_id held = last_prepare(&stage->west).gtid;
    assert_held(stage, &held);
    (void)snprintf(path, sizeof path, "/v1/transactions/%s/forget", tpc_id_format(&held, id));
    stage_call(stage, "POST", path, "", &reply);
    assert_int_equal(reply.status, 200);
    reply_done(&reply);
    assert_rises(stage, two_phase);
}

/* One-phase commits force nothing, so the end of what came before has to be forced by itself. */
static void test_watermark__rises_without_further_decisions(void **state)
{
    struct stage *stage = *state;
    struct reply reply;
    stage_start(stage, soon);
    stage_submit(stage, "", BOTH(""), &reply);
    reply_done(&reply);
    assert_rises(stage, "");
    assert_true(last_prepare(&stage->east).one_phase);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_watermark__rises_over_what_has_ended),
        TEST(test_watermark__waits_for_the_last_confirmation),
        TEST(test_watermark__waits_for_hazards_to_be_forgotten),
        TEST(test_watermark__rises_without_further_decisions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
