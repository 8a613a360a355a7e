/* The lives of a transaction, each line an event, where it leads and what is to be done. That no
 * other order of events does harm, and that the table is no wider than this, is test_coord_search.
 */
#include "tests/unit/coordinator/coord_world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static union world_txn world;

/* Happens: an event of branch `from`, or of nobody. */
static void on(enum coord_event_type type, unsigned from, enum coord_state state,
               const char *effects)
{
    const struct coord_event event = world_event(type, from);
    world_step(&world, &event, state, effects);
}

/* The same, said by the log that replaced the branch's own. */
static void on_other(enum coord_event_type type, unsigned from, enum coord_state state,
                     const char *effects)
{
    const struct coord_event event = world_other_event(type, from);
    world_step(&world, &event, state, effects);
}

/* Happens, and nothing comes of it. */
static void ignored(enum coord_event_type type, unsigned from)
{
    const union world_txn before = world;
    on(type, from, (enum coord_state)world.txn.state, "");
    assert_memory_equal(&world, &before, sizeof world);
}

static void refused(enum coord_event_type type, unsigned from)
{
    const union world_txn before = world;
    const struct coord_event event = world_event(type, from);
    struct coord_effects out = {.count = 77};
    assert_int_equal(coord_step(&world.txn, &event, &out), TPC_EPROTO);
    assert_memory_equal(&world, &before, sizeof world);
    assert_int_equal(out.count, 77);
}

/* What branch @from is told when it asks. */
static enum coord_outcome inquiry(unsigned from)
{
    const struct tpc_id log = world_log(from);
    return coord_inquiry(&world.txn, &log);
}

static void begin(unsigned branches)
{
    static const char *const all[] = {"", "0", "01", "012", "0123"};
    char effects[64];
    coord_init(&world.txn, branches, false);
    snprintf(effects, sizeof effects, "SEND_PREPARE:%s ARM_TIMEOUT", all[branches]);
    on(COORD_EV_START, 0, COORD_PREPARING, effects);
}

static void begin_one_phase(void)
{
    coord_init(&world.txn, 1, true);
    on(COORD_EV_START, 0, COORD_PREPARING, "SEND_PREPARE:0 ARM_TIMEOUT");
}

static void begin_logging(void)
{
    begin(2);
    on(COORD_EV_VOTE_YES, 0, COORD_PREPARING, "");
    on(COORD_EV_VOTE_YES, 1, COORD_LOGGING, "CANCEL_TIMEOUT FORCE_COMMIT");
}

static void begin_committing(void)
{
    begin_logging();
    on(COORD_EV_FORCED, 0, COORD_COMMITTING, "SEND_COMMIT:01 TELL_DECIDED");
}

static void begin_asking(void)
{
    begin_one_phase();
    on(COORD_EV_LOST, 0, COORD_QUERYING, "CANCEL_TIMEOUT FORCE_PENDING");
    on(COORD_EV_FORCED, 0, COORD_ASKING, "TELL_UNKNOWN SEND_ABORT:0");
}

/* ---- Commit ---- */

static void test_coord_step__two_writers_commit(void **state)
{
    (void)state;
    begin_committing();
    assert_int_equal(coord_outcome(&world.txn), COORD_COMMIT);
    on(COORD_EV_ACK_COMMITTED, 1, COORD_COMMITTING, "");
    on(COORD_EV_ACK_COMMITTED, 0, COORD_COMMITTED, "LOG_END TELL_ENDED");
    assert_int_equal(world.txn.hazards, 0);
    assert_int_equal(world.txn.branches[0].end, COORD_END_COMMITTED);
}

static void test_coord_step__nothing_is_told_before_the_record_is_durable(void **state)
{
    (void)state;
    begin_logging();
    assert_int_equal(coord_outcome(&world.txn), COORD_UNDECIDED);
    assert_int_equal(inquiry(0), COORD_UNDECIDED);
}

static void test_coord_step__timeout_while_logging_is_ignored(void **state)
{
    (void)state;
    begin_logging();
    ignored(COORD_EV_TIMEOUT, 0);
    ignored(COORD_EV_CLIENT_ABORT, 0);
    ignored(COORD_EV_VOTE_NO, 1);
    ignored(COORD_EV_LOST, 1);
    ignored(COORD_EV_UNREACHABLE, 0);
    on(COORD_EV_FORCED, 0, COORD_COMMITTING, "SEND_COMMIT:01 TELL_DECIDED");
}

static void test_coord_step__failed_force_halts_and_tells_nobody(void **state)
{
    (void)state;
    begin_logging();
    on(COORD_EV_FORCE_FAILED, 0, COORD_LOGGING, "HALT");
    assert_int_equal(inquiry(0), COORD_UNDECIDED);
}

static void test_coord_step__readers_are_not_told(void **state)
{
    (void)state;
    begin(3);
    on(COORD_EV_VOTE_READ_ONLY, 1, COORD_PREPARING, "");
    on(COORD_EV_VOTE_YES, 2, COORD_PREPARING, "");
    on(COORD_EV_VOTE_YES, 0, COORD_LOGGING, "CANCEL_TIMEOUT FORCE_COMMIT");
    on(COORD_EV_FORCED, 0, COORD_COMMITTING, "SEND_COMMIT:02 TELL_DECIDED");
    ignored(COORD_EV_ACK_COMMITTED, 1);
    on(COORD_EV_ACK_COMMITTED, 0, COORD_COMMITTING, "");
    on(COORD_EV_ACK_COMMITTED, 2, COORD_COMMITTED, "LOG_END TELL_ENDED");
}

static void test_coord_step__last_vote_read_only_still_forces(void **state)
{
    (void)state;
    begin(2);
    on(COORD_EV_VOTE_YES, 0, COORD_PREPARING, "");
    on(COORD_EV_VOTE_READ_ONLY, 1, COORD_LOGGING, "CANCEL_TIMEOUT FORCE_COMMIT");
}

static void test_coord_step__only_readers_need_no_record(void **state)
{
    (void)state;
    begin(2);
    on(COORD_EV_VOTE_READ_ONLY, 1, COORD_PREPARING, "");
    on(COORD_EV_VOTE_READ_ONLY, 0, COORD_COMMITTED, "CANCEL_TIMEOUT TELL_DECIDED TELL_ENDED");
}

static void test_coord_step__lost_commit_is_told_again(void **state)
{
    (void)state;
    begin_committing();
    on(COORD_EV_LOST, 0, COORD_COMMITTING, "RETRY_LATER:0");
    on(COORD_EV_UNREACHABLE, 1, COORD_COMMITTING, "RETRY_LATER:1");
    on(COORD_EV_RETRY, 0, COORD_COMMITTING, "SEND_COMMIT:0");
    on(COORD_EV_ACK_COMMITTED, 0, COORD_COMMITTING, "");
    ignored(COORD_EV_RETRY, 0);
    ignored(COORD_EV_LOST, 0);
    on(COORD_EV_RETRY, 1, COORD_COMMITTING, "SEND_COMMIT:1");
    on(COORD_EV_ACK_COMMITTED, 1, COORD_COMMITTED, "LOG_END TELL_ENDED");
    ignored(COORD_EV_RETRY, 1);
}

static void test_coord_step__late_words_do_not_move_a_commit(void **state)
{
    (void)state;
    begin_committing();
    ignored(COORD_EV_VOTE_YES, 0);
    ignored(COORD_EV_VOTE_NO, 0);
    ignored(COORD_EV_VOTE_READ_ONLY, 0);
    ignored(COORD_EV_TIMEOUT, 0);
    ignored(COORD_EV_CLIENT_ABORT, 0);
    ignored(COORD_EV_GRACE, 0);
    on(COORD_EV_ACK_COMMITTED, 0, COORD_COMMITTING, "");
    ignored(COORD_EV_ACK_COMMITTED, 0);
    ignored(COORD_EV_ACK_ABORTED, 0); /* its log forgot the branch after the retention time */
    on(COORD_EV_ACK_COMMITTED, 1, COORD_COMMITTED, "LOG_END TELL_ENDED");
    ignored(COORD_EV_ACK_UNKNOWN, 1);
    ignored(COORD_EV_ACK_COMMITTED, 0);
    ignored(COORD_EV_VOTE_YES, 0);
    ignored(COORD_EV_LOST, 0);
    ignored(COORD_EV_CLIENT_ABORT, 0);
}

static void test_coord_step__repeated_vote_counts_once(void **state)
{
    (void)state;
    begin(2);
    on(COORD_EV_VOTE_YES, 0, COORD_PREPARING, "");
    ignored(COORD_EV_VOTE_YES, 0);
    ignored(COORD_EV_LOST, 0);
    ignored(COORD_EV_UNREACHABLE, 0);
    on(COORD_EV_VOTE_READ_ONLY, 1, COORD_LOGGING, "CANCEL_TIMEOUT FORCE_COMMIT");
}

static void test_coord_step__64_branches_commit(void **state)
{
    (void)state;
    struct coord_txn *txn = calloc(1, coord_size(COORD_BRANCHES_MAX));
    struct coord_effects out;
    coord_init(txn, COORD_BRANCHES_MAX, false);
    struct coord_event event = {.type = COORD_EV_START};
    assert_int_equal(coord_step(txn, &event, &out), TPC_OK);
    assert_true(out.items[0].branches == UINT64_MAX);
    for (unsigned i = 0; i < COORD_BRANCHES_MAX; i++) {
        assert_int_equal(txn->state, COORD_PREPARING);
        event = world_event(COORD_EV_VOTE_YES, i);
        assert_int_equal(coord_step(txn, &event, &out), TPC_OK);
    }
    event.type = COORD_EV_FORCED;
    assert_int_equal(coord_step(txn, &event, &out), TPC_OK);
    assert_true(out.items[0].branches == UINT64_MAX);
    for (unsigned i = 0; i < COORD_BRANCHES_MAX; i++) {
        assert_int_equal(txn->state, COORD_COMMITTING);
        event = world_event(COORD_EV_ACK_COMMITTED, i);
        assert_int_equal(coord_step(txn, &event, &out), TPC_OK);
    }
    assert_int_equal(txn->state, COORD_COMMITTED);
    free(txn);
}

/* ---- Hazards of a commit ---- */

static void test_coord_step__branch_aborted_by_hand_is_a_hazard(void **state)
{
    (void)state;
    begin_committing();
    on(COORD_EV_ACK_ABORTED, 1, COORD_COMMITTING, "SHOW_HAZARD:1");
    ignored(COORD_EV_ACK_COMMITTED, 1);
    on(COORD_EV_ACK_COMMITTED, 0, COORD_COMMITTED, "LOG_END TELL_ENDED");
    assert_int_equal(world.txn.hazards, 2);
    assert_int_equal(world.txn.branches[1].end, COORD_END_ABORTED);
}

static void test_coord_step__commit_without_proof_is_a_hazard(void **state)
{
    (void)state;
    begin_committing();
    on(COORD_EV_ACK_COMMITTED, 1, COORD_COMMITTING, "");
    on(COORD_EV_ACK_UNKNOWN, 0, COORD_COMMITTED, "SHOW_HAZARD:0 LOG_END TELL_ENDED");
    assert_int_equal(world.txn.branches[0].end, COORD_END_UNKNOWN);
}

static void test_coord_step__answer_of_another_log_is_never_a_success(void **state)
{
    (void)state;
    begin_committing();
    on_other(COORD_EV_ACK_COMMITTED, 0, COORD_COMMITTING, "SHOW_HAZARD:0");
    assert_int_equal(world.txn.branches[0].end, COORD_END_OTHER);
    on(COORD_EV_ACK_COMMITTED, 1, COORD_COMMITTED, "LOG_END TELL_ENDED");
}

/* ---- Abort ---- */

static void test_coord_step__no_aborts_the_others(void **state)
{
    (void)state;
    begin(3);
    on(COORD_EV_VOTE_YES, 0, COORD_PREPARING, "");
    on(COORD_EV_VOTE_NO, 2, COORD_ABORTING, "CANCEL_TIMEOUT TELL_DECIDED SEND_ABORT:01 ARM_GRACE");
    assert_int_equal(inquiry(0), COORD_ABORT);
    on(COORD_EV_ACK_ABORTED, 0, COORD_ABORTING, "");
    on(COORD_EV_VOTE_NO, 1, COORD_ABORTED, "TELL_ENDED"); /* the abort overtook the prepare */
    assert_int_equal(world.txn.hazards, 0);
}

static void test_coord_step__no_of_all_that_are_left_ends_at_once(void **state)
{
    (void)state;
    begin(2);
    on(COORD_EV_VOTE_READ_ONLY, 0, COORD_PREPARING, "");
    on(COORD_EV_VOTE_NO, 1, COORD_ABORTED, "CANCEL_TIMEOUT TELL_DECIDED TELL_ENDED");
}

static void test_coord_step__timeout_and_client_abort_the_undecided(void **state)
{
    (void)state;
    begin(2);
    on(COORD_EV_VOTE_READ_ONLY, 0, COORD_PREPARING, "");
    on(COORD_EV_TIMEOUT, 0, COORD_ABORTING, "CANCEL_TIMEOUT TELL_DECIDED SEND_ABORT:1 ARM_GRACE");
    on(COORD_EV_VOTE_READ_ONLY, 1, COORD_ABORTED, "TELL_ENDED");
    begin(2);
    on(COORD_EV_CLIENT_ABORT, 0, COORD_ABORTING,
       "CANCEL_TIMEOUT TELL_DECIDED SEND_ABORT:01 ARM_GRACE");
    ignored(COORD_EV_TIMEOUT, 0);
    ignored(COORD_EV_CLIENT_ABORT, 0);
    on(COORD_EV_ACK_UNKNOWN, 0, COORD_ABORTING, "");
    on(COORD_EV_ACK_ABORTED, 1, COORD_ABORTED, "TELL_ENDED");
}

static void test_coord_step__undelivered_prepare_needs_no_abort(void **state)
{
    (void)state;
    begin(2);
    on(COORD_EV_UNREACHABLE, 1, COORD_ABORTING,
       "CANCEL_TIMEOUT TELL_DECIDED SEND_ABORT:0 ARM_GRACE");
    on(COORD_EV_UNREACHABLE, 0, COORD_ABORTED, "TELL_ENDED");
}

static void test_coord_step__lost_prepare_may_have_arrived(void **state)
{
    (void)state;
    begin(2);
    on(COORD_EV_LOST, 1, COORD_ABORTING, "CANCEL_TIMEOUT TELL_DECIDED SEND_ABORT:01 ARM_GRACE");
    on(COORD_EV_LOST, 1, COORD_ABORTING, "");
    on(COORD_EV_GRACE, 0, COORD_ABORTED, "TELL_ENDED");
    ignored(COORD_EV_GRACE, 0);
    ignored(COORD_EV_ACK_ABORTED, 0);
}

static void test_coord_step__overtaken_yes_costs_no_message(void **state)
{
    (void)state;
    begin(2);
    on(COORD_EV_VOTE_NO, 0, COORD_ABORTING, "CANCEL_TIMEOUT TELL_DECIDED SEND_ABORT:1 ARM_GRACE");
    on(COORD_EV_VOTE_YES, 1, COORD_ABORTING, "");
    on(COORD_EV_ACK_ABORTED, 1, COORD_ABORTED, "TELL_ENDED");
    ignored(COORD_EV_VOTE_YES, 1);
}

static void test_coord_step__late_yes_after_a_lost_abort_is_told(void **state)
{
    (void)state;
    begin(3);
    on(COORD_EV_VOTE_NO, 0, COORD_ABORTING, "CANCEL_TIMEOUT TELL_DECIDED SEND_ABORT:12 ARM_GRACE");
    on(COORD_EV_LOST, 1, COORD_ABORTING, "");
    on(COORD_EV_VOTE_YES, 1, COORD_ABORTING, "SEND_ABORT:1");
    on(COORD_EV_VOTE_YES, 0, COORD_ABORTING, "SEND_ABORT:0"); /* a repeated prepare was done */
    on(COORD_EV_GRACE, 0, COORD_ABORTED, "TELL_ENDED");
    on(COORD_EV_VOTE_YES, 2, COORD_ABORTED, "SEND_ABORT:2");
    ignored(COORD_EV_ACK_ABORTED, 2);
    ignored(COORD_EV_LOST, 2);
}

static void test_coord_step__contradicting_votes_abort(void **state)
{
    (void)state;
    static const char *const effects = "CANCEL_TIMEOUT TELL_DECIDED SEND_ABORT:01 ARM_GRACE";
    begin(2);
    on(COORD_EV_VOTE_YES, 0, COORD_PREPARING, "");
    on_other(COORD_EV_VOTE_YES, 0, COORD_ABORTING, effects);
    begin(2);
    on(COORD_EV_VOTE_READ_ONLY, 0, COORD_PREPARING, "");
    on(COORD_EV_VOTE_YES, 0, COORD_ABORTING, effects);
    begin(2);
    on(COORD_EV_VOTE_YES, 0, COORD_PREPARING, "");
    on(COORD_EV_VOTE_READ_ONLY, 0, COORD_ABORTING, effects);
    begin(2);
    on(COORD_EV_VOTE_YES, 0, COORD_PREPARING, "");
    on(COORD_EV_VOTE_NO, 0, COORD_ABORTING, effects);
    begin(2);
    on(COORD_EV_VOTE_READ_ONLY, 0, COORD_PREPARING, "");
    on_other(COORD_EV_VOTE_READ_ONLY, 0, COORD_PREPARING, ""); /* neither holds anything */
}

static void test_coord_step__commit_by_hand_is_a_hazard_of_an_abort(void **state)
{
    (void)state;
    begin(2);
    on(COORD_EV_VOTE_YES, 0, COORD_PREPARING, "");
    on(COORD_EV_VOTE_YES, 0, COORD_PREPARING, "");
    on(COORD_EV_TIMEOUT, 0, COORD_ABORTING, "CANCEL_TIMEOUT TELL_DECIDED SEND_ABORT:01 ARM_GRACE");
    on(COORD_EV_ACK_COMMITTED, 0, COORD_ABORTING, "SHOW_HAZARD:0");
    ignored(COORD_EV_ACK_COMMITTED, 0);
    on_other(COORD_EV_ACK_ABORTED, 1, COORD_ABORTED, "LOG_END TELL_ENDED");
    assert_int_equal(world.txn.hazards, 1);
    on(COORD_EV_ACK_COMMITTED, 1, COORD_ABORTED, "SHOW_HAZARD:1 LOG_END");
    ignored(COORD_EV_ACK_COMMITTED, 1);
    assert_int_equal(world.txn.hazards, 3);
    assert_int_equal(coord_outcome(&world.txn), COORD_ABORT);
}

/* ---- One phase ---- */

static void test_coord_step__one_phase_ends_with_its_answer(void **state)
{
    (void)state;
    begin_one_phase();
    on(COORD_EV_VOTE_COMMITTED, 0, COORD_COMMITTED,
       "CANCEL_TIMEOUT LOG_END TELL_DECIDED TELL_ENDED");
    ignored(COORD_EV_VOTE_COMMITTED, 0);
    begin_one_phase();
    on(COORD_EV_VOTE_READ_ONLY, 0, COORD_COMMITTED, "CANCEL_TIMEOUT TELL_DECIDED TELL_ENDED");
    begin_one_phase();
    on(COORD_EV_VOTE_NO, 0, COORD_ABORTED, "CANCEL_TIMEOUT TELL_DECIDED TELL_ENDED");
    begin_one_phase();
    on(COORD_EV_UNREACHABLE, 0, COORD_ABORTED, "CANCEL_TIMEOUT TELL_DECIDED TELL_ENDED");
}

static void test_coord_step__each_kind_of_vote_has_its_phase(void **state)
{
    (void)state;
    begin(2);
    refused(COORD_EV_VOTE_COMMITTED, 0);
    begin_one_phase();
    refused(COORD_EV_VOTE_YES, 0);
}

static void test_coord_step__one_phase_lost_is_unknown_until_asked(void **state)
{
    (void)state;
    static const enum coord_event_type causes[] = {COORD_EV_LOST, COORD_EV_TIMEOUT,
                                                   COORD_EV_CLIENT_ABORT};
    for (unsigned i = 0; i < 3; i++) {
        begin_one_phase();
        on(causes[i], 0, COORD_QUERYING, "CANCEL_TIMEOUT FORCE_PENDING");
        ignored(COORD_EV_TIMEOUT, 0);
        ignored(COORD_EV_CLIENT_ABORT, 0);
        assert_int_equal(coord_outcome(&world.txn), COORD_UNDECIDED);
        on(COORD_EV_FORCED, 0, COORD_ASKING, "TELL_UNKNOWN SEND_ABORT:0");
        assert_int_equal(coord_outcome(&world.txn), COORD_UNDECIDED);
        assert_int_equal(inquiry(0), COORD_UNDECIDED);
        on(COORD_EV_LOST, 0, COORD_ASKING, "RETRY_LATER:0");
        on(COORD_EV_RETRY, 0, COORD_ASKING, "SEND_ABORT:0");
        on(COORD_EV_UNREACHABLE, 0, COORD_ASKING, "RETRY_LATER:0");
        on(COORD_EV_ACK_ABORTED, 0, COORD_ABORTED, "LOG_END TELL_DECIDED TELL_ENDED");
        assert_int_equal(world.txn.hazards, 0);
    }
}

static void test_coord_step__one_phase_asked_had_committed(void **state)
{
    (void)state;
    static const enum coord_event_type answers[] = {COORD_EV_ACK_COMMITTED,
                                                    COORD_EV_VOTE_COMMITTED};
    for (unsigned i = 0; i < 2; i++) {
        begin_asking();
        on(answers[i], 0, COORD_COMMITTED, "LOG_END TELL_DECIDED TELL_ENDED");
        ignored(COORD_EV_ACK_COMMITTED, 0);
        assert_int_equal(world.txn.hazards, 0);
    }
    begin_asking();
    on(COORD_EV_VOTE_NO, 0, COORD_ABORTED, "LOG_END TELL_DECIDED TELL_ENDED");
}

/* Commit was told, the end record lost in a crash, the participant asked again; and it says aborted
 * of what only read. */
static void test_coord_step__one_phase_asked_had_only_read(void **state)
{
    (void)state;
    begin_asking();
    on(COORD_EV_VOTE_READ_ONLY, 0, COORD_ABORTED, "LOG_END TELL_DECIDED TELL_ENDED");
    ignored(COORD_EV_ACK_ABORTED, 0);
    assert_int_equal(world.txn.hazards, 0);
}

static void test_coord_step__one_phase_answer_waits_for_the_record(void **state)
{
    (void)state;
    static const struct {
        enum coord_event_type vote;
        enum coord_state end;
    } rows[] = {{COORD_EV_VOTE_COMMITTED, COORD_COMMITTED},
                {COORD_EV_VOTE_READ_ONLY, COORD_ABORTED},
                {COORD_EV_VOTE_NO, COORD_ABORTED},
                {COORD_EV_UNREACHABLE, COORD_ABORTED}};
    for (unsigned i = 0; i < 4; i++) {
        begin_one_phase();
        on(COORD_EV_TIMEOUT, 0, COORD_QUERYING, "CANCEL_TIMEOUT FORCE_PENDING");
        on(rows[i].vote, 0, COORD_QUERYING, "");
        assert_int_equal(coord_outcome(&world.txn), COORD_UNDECIDED);
        on(COORD_EV_FORCED, 0, rows[i].end, "LOG_END TELL_DECIDED TELL_ENDED");
    }
    begin_one_phase();
    on(COORD_EV_TIMEOUT, 0, COORD_QUERYING, "CANCEL_TIMEOUT FORCE_PENDING");
    on(COORD_EV_FORCE_FAILED, 0, COORD_QUERYING, "HALT");
}

static void test_coord_step__one_phase_without_proof_is_a_hazard(void **state)
{
    (void)state;
    begin_asking();
    on(COORD_EV_ACK_UNKNOWN, 0, COORD_ABORTED, "SHOW_HAZARD:0 LOG_END TELL_DECIDED TELL_ENDED");
    on(COORD_EV_ACK_COMMITTED, 0, COORD_ABORTED, "SHOW_HAZARD:0 LOG_END");
    ignored(COORD_EV_VOTE_COMMITTED, 0);
}

static void test_coord_step__one_phase_answered_by_another_log_is_a_hazard(void **state)
{
    (void)state;
    begin_asking();
    world.txn.branches[0].participant = world_log(0);
    on_other(COORD_EV_ACK_ABORTED, 0, COORD_ABORTED,
             "SHOW_HAZARD:0 LOG_END TELL_DECIDED TELL_ENDED");
    assert_int_equal(world.txn.branches[0].end, COORD_END_OTHER);
    begin_asking();
    world.txn.branches[0].participant = world_log(0);
    on_other(COORD_EV_ACK_COMMITTED, 0, COORD_COMMITTED,
             "SHOW_HAZARD:0 LOG_END TELL_DECIDED TELL_ENDED");
}

/* ---- Restart ---- */

static void test_coord_step__restart_tells_those_of_the_record(void **state)
{
    (void)state;
    coord_init(&world.txn, 3, false);
    struct coord_event event = {.type = COORD_EV_LOG_COMMIT, .branches = 5};
    world_step(&world, &event, COORD_COMMITTING, "");
    assert_int_equal(coord_outcome(&world.txn), COORD_COMMIT);
    on(COORD_EV_RESTARTED, 0, COORD_COMMITTING, "SEND_COMMIT:02");
    on(COORD_EV_ACK_COMMITTED, 0, COORD_COMMITTING, "");
    on(COORD_EV_ACK_COMMITTED, 2, COORD_COMMITTED, "LOG_END TELL_ENDED");
    ignored(COORD_EV_RESTARTED, 0);
}

static void test_coord_step__restart_goes_on_asking(void **state)
{
    (void)state;
    coord_init(&world.txn, 1, true);
    struct coord_event event = {.type = COORD_EV_LOG_PENDING, .branches = 1};
    world_step(&world, &event, COORD_ASKING, "");
    on(COORD_EV_RESTARTED, 0, COORD_ASKING, "SEND_ABORT:0");
    on(COORD_EV_ACK_ABORTED, 0, COORD_ABORTED, "LOG_END TELL_DECIDED TELL_ENDED");
}

static void test_coord_step__end_record_must_fit(void **state)
{
    (void)state;
    coord_init(&world.txn, 2, false);
    struct coord_event event = {.type = COORD_EV_LOG_COMMIT, .branches = 4};
    struct coord_effects out;
    assert_int_equal(coord_step(&world.txn, &event, &out), TPC_EPROTO);
    event.branches = 0;
    assert_int_equal(coord_step(&world.txn, &event, &out), TPC_EPROTO);
    event.branches = 3;
    world_step(&world, &event, COORD_COMMITTING, "");
    refused(COORD_EV_LOG_COMMIT, 0);
    refused(COORD_EV_LOG_END, 0); /* of an abort */
    event = (struct coord_event){.type = COORD_EV_LOG_END, .commit = true, .branches = 2};
    world_step(&world, &event, COORD_COMMITTED, "");
    assert_int_equal(world.txn.hazards, 2);
    assert_int_equal(world.txn.branches[0].end, COORD_END_COMMITTED);
}

/* ---- The rest ---- */

static void test_coord_step__every_empty_cell_refuses_and_changes_nothing(void **state)
{
    (void)state;
    unsigned empty = 0, full = 0;
    for (unsigned from = 0; from < COORD_STATE_COUNT; from++) {
        for (unsigned type = 0; type < COORD_EVENT_COUNT; type++) {
            if (coord_allowed((enum coord_state)from, (enum coord_event_type)type) != 0) {
                full++;
                continue;
            }
            for (unsigned one_phase = 0; one_phase < 2; one_phase++) {
                coord_init(&world.txn, one_phase ? 1 : 2, one_phase != 0);
                world.txn.state = (uint8_t)from;
                refused((enum coord_event_type)type, 0);
            }
            empty++;
        }
    }
    assert_int_equal(empty + full, COORD_STATE_COUNT * COORD_EVENT_COUNT);
    assert_true(full > 100);
}

static void test_coord_inquiry__presumes_abort_only_of_the_unknown(void **state)
{
    (void)state;
    static const struct tpc_id none;
    assert_int_equal(coord_inquiry(NULL, &none), COORD_ABORT);
    coord_init(&world.txn, 2, false);
    assert_int_equal(inquiry(0), COORD_UNDECIDED);
    begin(2);
    assert_int_equal(inquiry(0), COORD_UNDECIDED);
}

/* A prepare that is repeated after a restart makes a reader work again, or the log that took the
 * place of a lost one: that work is no part of what was decided, and was committed all the same. */
static void test_coord_inquiry__commit_is_for_those_on_whose_yes_it_rests(void **state)
{
    (void)state;
    begin(2);
    on(COORD_EV_VOTE_READ_ONLY, 0, COORD_PREPARING, "");
    on(COORD_EV_VOTE_YES, 1, COORD_LOGGING, "CANCEL_TIMEOUT FORCE_COMMIT");
    assert_int_equal(inquiry(0), COORD_UNDECIDED);
    on(COORD_EV_FORCED, 0, COORD_COMMITTING, "SEND_COMMIT:1 TELL_DECIDED");
    const struct tpc_id other = world_other_log(1);
    assert_int_equal(inquiry(0), COORD_ABORT);
    assert_int_equal(inquiry(1), COORD_COMMIT);
    assert_int_equal(coord_inquiry(&world.txn, &other), COORD_ABORT);
    on(COORD_EV_ACK_COMMITTED, 1, COORD_COMMITTED, "LOG_END TELL_ENDED");
    assert_int_equal(inquiry(0), COORD_ABORT);
    assert_int_equal(inquiry(1), COORD_COMMIT);
}

static void test_coord_names__say_what_they_are(void **state)
{
    (void)state;
    assert_string_equal(coord_state_name(COORD_LOGGING), "LOGGING");
    assert_string_equal(coord_state_text(COORD_LOGGING), "preparing");
    assert_string_equal(coord_state_text(COORD_ASKING), "aborting");
    assert_string_equal(coord_event_name(COORD_EV_VOTE_NO), "VOTE_NO");
    assert_string_equal(coord_effect_name(COORD_FX_HALT), "HALT");
    assert_string_equal(coord_vote_name(COORD_VOTE_READ_ONLY), "read_only");
    assert_null(coord_vote_name(COORD_VOTE_NONE));
    assert_string_equal(coord_state_name((enum coord_state)99), "?");
}

static void test_coord_step__event_from_a_branch_there_is_not_is_a_bug(void **state)
{
    (void)state;
    begin(2);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct coord_event event = world_event(COORD_EV_VOTE_YES, 2);
        struct coord_effects out;
        signal(SIGABRT, SIG_DFL);
        fclose(stderr);
        _exit(coord_step(&world.txn, &event, &out) == TPC_OK);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_coord_step__two_writers_commit),
        cmocka_unit_test(test_coord_step__nothing_is_told_before_the_record_is_durable),
        cmocka_unit_test(test_coord_step__timeout_while_logging_is_ignored),
        cmocka_unit_test(test_coord_step__failed_force_halts_and_tells_nobody),
        cmocka_unit_test(test_coord_step__readers_are_not_told),
        cmocka_unit_test(test_coord_step__last_vote_read_only_still_forces),
        cmocka_unit_test(test_coord_step__only_readers_need_no_record),
        cmocka_unit_test(test_coord_step__lost_commit_is_told_again),
        cmocka_unit_test(test_coord_step__late_words_do_not_move_a_commit),
        cmocka_unit_test(test_coord_step__repeated_vote_counts_once),
        cmocka_unit_test(test_coord_step__64_branches_commit),
        cmocka_unit_test(test_coord_step__branch_aborted_by_hand_is_a_hazard),
        cmocka_unit_test(test_coord_step__commit_without_proof_is_a_hazard),
        cmocka_unit_test(test_coord_step__answer_of_another_log_is_never_a_success),
        cmocka_unit_test(test_coord_step__no_aborts_the_others),
        cmocka_unit_test(test_coord_step__no_of_all_that_are_left_ends_at_once),
        cmocka_unit_test(test_coord_step__timeout_and_client_abort_the_undecided),
        cmocka_unit_test(test_coord_step__undelivered_prepare_needs_no_abort),
        cmocka_unit_test(test_coord_step__lost_prepare_may_have_arrived),
        cmocka_unit_test(test_coord_step__overtaken_yes_costs_no_message),
        cmocka_unit_test(test_coord_step__late_yes_after_a_lost_abort_is_told),
        cmocka_unit_test(test_coord_step__contradicting_votes_abort),
        cmocka_unit_test(test_coord_step__commit_by_hand_is_a_hazard_of_an_abort),
        cmocka_unit_test(test_coord_step__one_phase_ends_with_its_answer),
        cmocka_unit_test(test_coord_step__each_kind_of_vote_has_its_phase),
        cmocka_unit_test(test_coord_step__one_phase_lost_is_unknown_until_asked),
        cmocka_unit_test(test_coord_step__one_phase_asked_had_committed),
        cmocka_unit_test(test_coord_step__one_phase_asked_had_only_read),
        cmocka_unit_test(test_coord_step__one_phase_answer_waits_for_the_record),
        cmocka_unit_test(test_coord_step__one_phase_without_proof_is_a_hazard),
        cmocka_unit_test(test_coord_step__one_phase_answered_by_another_log_is_a_hazard),
        cmocka_unit_test(test_coord_step__restart_tells_those_of_the_record),
        cmocka_unit_test(test_coord_step__restart_goes_on_asking),
        cmocka_unit_test(test_coord_step__end_record_must_fit),
        cmocka_unit_test(test_coord_step__every_empty_cell_refuses_and_changes_nothing),
        cmocka_unit_test(test_coord_inquiry__presumes_abort_only_of_the_unknown),
        cmocka_unit_test(test_coord_inquiry__commit_is_for_those_on_whose_yes_it_rests),
        cmocka_unit_test(test_coord_names__say_what_they_are),
        cmocka_unit_test(test_coord_step__event_from_a_branch_there_is_not_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
