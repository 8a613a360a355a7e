#include "participant/part_fsm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* ---- Traces: one event a line, with the effects and the state it must lead to ---- */

#define PLAIN(name)     ((struct part_event){.type = PART_EV_##name})
#define ONE_PHASE(name) ((struct part_event){.type = PART_EV_##name, .one_phase = true})
#define HELD(name)      ((struct part_event){.type = PART_EV_##name, .held = true})

static const char *effects_text(const struct part_effects *effects)
{
    static char text[256];
    text[0] = '\0';
    for (unsigned i = 0; i < effects->count; i++) {
        strncat(text, i > 0 ? " " : "", sizeof(text) - strlen(text) - 1);
        strncat(text, part_effect_name(effects->items[i]), sizeof(text) - strlen(text) - 1);
    }
    return text;
}

static void expect(struct part_branch *branch, struct part_event event, const char *effects,
                   enum part_state state)
{
    struct part_effects out;
    assert_int_equal(part_step(branch, &event, &out), TPC_OK);
    assert_string_equal(effects_text(&out), effects);
    assert_string_equal(part_state_name(branch->state), part_state_name(state));
}

static void expect_refused(struct part_branch *branch, struct part_event event)
{
    struct part_branch before = *branch;
    struct part_effects out = {.count = 99};
    assert_int_equal(part_step(branch, &event, &out), TPC_EPROTO);
    assert_memory_equal(branch, &before, sizeof(before));
    assert_int_equal(out.count, 99);
}

static struct part_branch prepared(void)
{
    struct part_branch b = {0};
    expect(&b, PLAIN(PREPARE), "DB_PREPARE", PART_EXECUTING);
    expect(&b, PLAIN(DB_READY), "FORCE_PREPARED", PART_LOGGING);
    expect(&b, PLAIN(FORCED), "VOTE_YES ARM_TIMER", PART_PREPARED);
    return b;
}

static void test_part_step__commit(void **state)
{
    (void)state;
    struct part_branch b = prepared();
    expect(&b, PLAIN(PREPARE), "VOTE_YES", PART_PREPARED);
    expect(&b, PLAIN(COMMIT), "CANCEL_TIMER DB_COMMIT", PART_COMMITTING);
    expect(&b, PLAIN(COMMIT), "", PART_COMMITTING);
    expect(&b, PLAIN(DB_RETRY), "ARM_TIMER", PART_COMMITTING);
    expect(&b, PLAIN(TIMER), "DB_COMMIT", PART_COMMITTING);
    expect(&b, PLAIN(TIMER), "", PART_COMMITTING);
    expect(&b, PLAIN(DB_COMMITTED), "LOG_COMMITTED ACK_COMMITTED ENDED", PART_COMMITTED);
    expect(&b, PLAIN(COMMIT), "ACK_COMMITTED", PART_COMMITTED);
    expect(&b, PLAIN(PREPARE), "VOTE_YES", PART_COMMITTED);
}

static void test_part_step__abort_of_a_prepared_branch(void **state)
{
    (void)state;
    struct part_branch b = prepared();
    expect(&b, PLAIN(ABORT), "CANCEL_TIMER DB_ABORT", PART_ABORTING);
    expect(&b, PLAIN(PREPARE), "VOTE_NO", PART_ABORTING);
    expect(&b, PLAIN(DB_ABORTED), "LOG_ABORTED ACK_ABORTED ENDED", PART_ABORTED);
    expect(&b, PLAIN(ABORT), "ACK_ABORTED", PART_ABORTED);
    expect(&b, PLAIN(COMMIT), "ACK_ABORTED", PART_ABORTED);
}

static void test_part_step__abort_while_executing_cancels_once(void **state)
{
    (void)state;
    struct part_branch b = {0};
    expect(&b, PLAIN(PREPARE), "DB_PREPARE", PART_EXECUTING);
    expect(&b, PLAIN(ABORT), "DB_CANCEL", PART_EXECUTING);
    expect(&b, PLAIN(ABORT), "", PART_EXECUTING);
    struct part_branch ready = b;
    expect(&b, PLAIN(DB_REFUSED), "VOTE_NO ACK_ABORTED ENDED", PART_ABORTED);
    expect(&ready, PLAIN(DB_READY), "DB_ABORT VOTE_NO", PART_ABORTING);
    expect(&ready, PLAIN(DB_ABORTED), "ACK_ABORTED ENDED", PART_ABORTED);
}

static void test_part_step__abort_while_logging_waits_for_the_force(void **state)
{
    (void)state;
    struct part_branch b = {0};
    expect(&b, PLAIN(PREPARE), "DB_PREPARE", PART_EXECUTING);
    expect(&b, PLAIN(DB_READY), "FORCE_PREPARED", PART_LOGGING);
    expect(&b, PLAIN(ABORT), "", PART_LOGGING);
    expect_refused(&b, PLAIN(COMMIT));
    expect(&b, PLAIN(FORCED), "DB_ABORT VOTE_NO", PART_ABORTING);
    expect(&b, PLAIN(DB_ABORTED), "LOG_ABORTED ACK_ABORTED ENDED", PART_ABORTED);
}

static void test_part_step__failed_force_halts(void **state)
{
    (void)state;
    struct part_branch b = {0};
    expect(&b, PLAIN(PREPARE), "DB_PREPARE", PART_EXECUTING);
    expect(&b, PLAIN(DB_READY), "FORCE_PREPARED", PART_LOGGING);
    expect(&b, PLAIN(FORCE_FAILED), "HALT", PART_LOGGING);
}

static void test_part_step__database_that_holds_it_needs_no_force(void **state)
{
    (void)state;
    struct part_branch b = {0};
    expect(&b, PLAIN(PREPARE), "DB_PREPARE", PART_EXECUTING);
    expect(&b, HELD(DB_READY), "LOG_PREPARED VOTE_YES ARM_TIMER", PART_PREPARED);
}

static void test_part_step__late_prepare_meets_the_tombstone(void **state)
{
    (void)state;
    struct part_branch b = {0};
    expect(&b, PLAIN(ABORT), "ACK_ABORTED ENDED", PART_ABORTED);
    expect(&b, PLAIN(PREPARE), "VOTE_NO", PART_ABORTED);
    expect(&b, ONE_PHASE(PREPARE), "FORCE_ABORTED", PART_TOMBSTONING);
    expect(&b, PLAIN(FORCED), "VOTE_NO ACK_ABORTED ENDED", PART_ABORTED);
    expect(&b, ONE_PHASE(PREPARE), "VOTE_NO", PART_ABORTED);
}

static void test_part_step__read_only(void **state)
{
    (void)state;
    struct part_branch b = {0};
    expect(&b, PLAIN(PREPARE), "DB_PREPARE", PART_EXECUTING);
    struct part_branch wanted = b;
    expect(&b, PLAIN(DB_READ_ONLY), "VOTE_READ_ONLY ENDED", PART_READ_ONLY);
    expect(&b, PLAIN(PREPARE), "VOTE_READ_ONLY", PART_READ_ONLY);
    expect(&b, PLAIN(ABORT), "ACK_ABORTED", PART_READ_ONLY);
    expect(&wanted, PLAIN(ABORT), "DB_CANCEL", PART_EXECUTING);
    expect(&wanted, PLAIN(DB_READ_ONLY), "VOTE_READ_ONLY ACK_ABORTED ENDED", PART_READ_ONLY);
}

static void test_part_step__one_phase(void **state)
{
    (void)state;
    struct part_branch b = {0};
    expect(&b, ONE_PHASE(PREPARE), "DB_PREPARE", PART_EXECUTING);
    expect_refused(&b, PLAIN(DB_READY));
    struct part_branch refused = b;
    expect(&b, PLAIN(DB_COMMITTED), "VOTE_COMMITTED LOG_COMMITTED ENDED", PART_COMMITTED);
    expect(&b, ONE_PHASE(PREPARE), "VOTE_COMMITTED", PART_COMMITTED);
    expect(&b, ONE_PHASE(ABORT), "ACK_COMMITTED", PART_COMMITTED);
    expect(&refused, PLAIN(DB_REFUSED), "DB_PROVE", PART_PROVING);
    struct part_branch ghost = refused;
    expect(&ghost, PLAIN(DB_PROOF), "VOTE_COMMITTED ACK_COMMITTED LOG_COMMITTED ENDED",
           PART_COMMITTED);
    expect(&refused, PLAIN(DB_NO_PROOF), "FORCE_ABORTED", PART_TOMBSTONING);
    expect(&refused, ONE_PHASE(PREPARE), "", PART_TOMBSTONING);
    expect(&refused, PLAIN(FORCED), "VOTE_NO ACK_ABORTED ENDED", PART_ABORTED);
    expect(&refused, ONE_PHASE(ABORT), "ACK_ABORTED", PART_ABORTED);
}

/* Committed, and its lazy record lost in a crash; then the prepare comes again, and the database is
 * short of something: abort was told, and the work was there. */
static void test_part_step__one_phase_refusal_of_what_was_committed_before(void **state)
{
    (void)state;
    struct part_branch b = {0};
    expect(&b, ONE_PHASE(PREPARE), "DB_PREPARE", PART_EXECUTING);
    expect(&b, ONE_PHASE(ABORT), "DB_CANCEL", PART_EXECUTING);
    expect(&b, PLAIN(DB_REFUSED), "DB_PROVE", PART_PROVING);
    expect(&b, PLAIN(DB_RETRY), "ARM_TIMER", PART_PROVING);
    expect(&b, PLAIN(TIMER), "DB_PROVE", PART_PROVING);
    expect(&b, PLAIN(DB_PROOF), "VOTE_COMMITTED ACK_COMMITTED LOG_COMMITTED ENDED", PART_COMMITTED);
}

/* The same in two phases, the coordinator not having heard of the commit: a hazard was shown where
 * there was none. */
static void test_part_step__commit_after_a_repeated_prepare_was_refused(void **state)
{
    (void)state;
    struct part_branch b = {0};
    expect(&b, PLAIN(PREPARE), "DB_PREPARE", PART_EXECUTING);
    expect(&b, PLAIN(DB_REFUSED), "VOTE_NO ENDED", PART_ABORTED);
    expect(&b, PLAIN(COMMIT), "DB_PROVE", PART_PROVING);
    struct part_branch refused = b;
    expect(&b, PLAIN(DB_PROOF), "ACK_COMMITTED LOG_COMMITTED ENDED", PART_COMMITTED);
    expect(&refused, PLAIN(DB_NO_PROOF), "ACK_ABORTED ENDED", PART_ABORTED);
}

static void test_part_step__two_phase_work_is_not_committed_by_itself(void **state)
{
    (void)state;
    struct part_branch b = {0};
    expect(&b, PLAIN(PREPARE), "DB_PREPARE", PART_EXECUTING);
    expect_refused(&b, PLAIN(DB_COMMITTED));
}

static void test_part_step__ghost_of_a_committed_branch(void **state)
{
    (void)state;
    struct part_branch b = {0};
    expect(&b, PLAIN(PREPARE), "DB_PREPARE", PART_EXECUTING);
    expect(&b, PLAIN(DB_PROOF), "VOTE_YES LOG_COMMITTED ENDED", PART_COMMITTED);
    struct part_branch one = {0};
    expect(&one, ONE_PHASE(PREPARE), "DB_PREPARE", PART_EXECUTING);
    expect(&one, ONE_PHASE(ABORT), "DB_CANCEL", PART_EXECUTING);
    expect(&one, PLAIN(DB_PROOF), "VOTE_COMMITTED ACK_COMMITTED LOG_COMMITTED ENDED",
           PART_COMMITTED);
}

static void test_part_step__commit_of_an_unknown_branch_takes_proof(void **state)
{
    (void)state;
    static const struct part_branch none;
    struct part_branch b = {0};
    expect(&b, PLAIN(COMMIT), "DB_PROVE", PART_PROVING);
    expect(&b, PLAIN(COMMIT), "", PART_PROVING);
    struct part_branch lost = b;
    struct part_branch ghost = b;
    expect(&b, PLAIN(DB_PROOF), "ACK_COMMITTED LOG_COMMITTED ENDED", PART_COMMITTED);
    expect(&lost, PLAIN(DB_RETRY), "ARM_TIMER", PART_PROVING);
    expect(&lost, PLAIN(TIMER), "DB_PROVE", PART_PROVING);
    expect(&lost, PLAIN(DB_NO_PROOF), "ACK_UNKNOWN", PART_NONE);
    assert_memory_equal(&lost, &none, sizeof(none));
    expect(&ghost, PLAIN(PREPARE), "", PART_PROVING);
    expect(&ghost, PLAIN(DB_NO_PROOF), "VOTE_NO ACK_UNKNOWN", PART_NONE);
}

static void test_part_step__one_phase_abort_is_answered_from_proof(void **state)
{
    (void)state;
    struct part_branch b = {0};
    expect(&b, ONE_PHASE(ABORT), "DB_PROVE", PART_PROVING);
    expect(&b, ONE_PHASE(PREPARE), "", PART_PROVING);
    struct part_branch committed = b;
    expect(&b, PLAIN(DB_NO_PROOF), "FORCE_ABORTED", PART_TOMBSTONING);
    expect(&b, PLAIN(FORCED), "VOTE_NO ACK_ABORTED ENDED", PART_ABORTED);
    expect(&committed, PLAIN(DB_PROOF), "VOTE_COMMITTED ACK_COMMITTED LOG_COMMITTED ENDED",
           PART_COMMITTED);
}

static void test_part_step__in_doubt_asks_until_told(void **state)
{
    (void)state;
    struct part_branch b = prepared();
    assert_true(part_in_doubt(&b));
    expect(&b, PLAIN(TIMER), "ASK ARM_TIMER", PART_PREPARED);
    expect(&b, PLAIN(TOLD_UNDECIDED), "", PART_PREPARED);
    struct part_branch aborted = b;
    expect(&b, PLAIN(TOLD_COMMIT), "CANCEL_TIMER DB_COMMIT", PART_COMMITTING);
    assert_false(part_in_doubt(&b));
    expect_refused(&b, PLAIN(TOLD_ABORT));
    expect(&aborted, PLAIN(TOLD_ABORT), "CANCEL_TIMER DB_ABORT", PART_ABORTING);
    expect_refused(&aborted, PLAIN(TOLD_COMMIT));
}

static void test_part_step__operator_commits(void **state)
{
    (void)state;
    struct part_branch b = prepared();
    expect(&b, PLAIN(OPERATOR_COMMIT), "CANCEL_TIMER FORCE_HEURISTIC", PART_RESOLVING);
    assert_true(part_in_doubt(&b));
    expect(&b, PLAIN(OPERATOR_COMMIT), "", PART_RESOLVING);
    expect_refused(&b, PLAIN(OPERATOR_ABORT));
    expect_refused(&b, PLAIN(FORGET));
    expect(&b, PLAIN(FORCED), "DB_COMMIT", PART_HEUR_COMMITTING);
    expect(&b, PLAIN(DB_COMMITTED), "OPERATOR_DONE ACK_COMMITTED ASK ARM_TIMER", PART_HEUR_COMMIT);
    expect(&b, PLAIN(TIMER), "ASK ARM_TIMER", PART_HEUR_COMMIT);
    assert_false(part_is_hazard(&b));
    expect(&b, PLAIN(TOLD_ABORT), "CANCEL_TIMER", PART_HEUR_COMMIT);
    assert_true(part_is_hazard(&b));
    expect(&b, PLAIN(ABORT), "CANCEL_TIMER ACK_COMMITTED", PART_HEUR_COMMIT);
    expect(&b, PLAIN(TIMER), "", PART_HEUR_COMMIT);
    expect_refused(&b, PLAIN(FORCED));
    expect(&b, PLAIN(FORGET), "FORCE_FORGOTTEN", PART_HEUR_COMMIT);
    expect(&b, PLAIN(FORGET), "", PART_HEUR_COMMIT);
    expect(&b, PLAIN(FORCED), "CANCEL_TIMER OPERATOR_DONE ACK_COMMITTED ENDED", PART_COMMITTED);
    expect(&b, PLAIN(TOLD_ABORT), "", PART_COMMITTED); /* late */
}

static void test_part_step__operator_aborts_and_the_decision_comes_meanwhile(void **state)
{
    (void)state;
    struct part_branch b = prepared();
    expect(&b, PLAIN(OPERATOR_ABORT), "CANCEL_TIMER FORCE_HEURISTIC", PART_RESOLVING);
    expect(&b, PLAIN(COMMIT), "", PART_RESOLVING);
    expect(&b, PLAIN(FORCED), "DB_ABORT", PART_HEUR_ABORTING);
    expect(&b, PLAIN(DB_ABORTED), "OPERATOR_DONE FORCE_TOLD", PART_HEUR_ABORT);
    expect(&b, PLAIN(FORCED), "ACK_ABORTED", PART_HEUR_ABORT);
    assert_true(part_is_hazard(&b));
    expect(&b, PLAIN(PREPARE), "VOTE_NO", PART_HEUR_ABORT);
    expect(&b, PLAIN(OPERATOR_ABORT), "OPERATOR_DONE", PART_HEUR_ABORT);
    expect(&b, PLAIN(FORGET), "FORCE_FORGOTTEN", PART_HEUR_ABORT);
    expect(&b, PLAIN(FORCE_FAILED), "HALT", PART_HEUR_ABORT);
    expect(&b, PLAIN(FORCED), "CANCEL_TIMER OPERATOR_DONE ACK_ABORTED ENDED", PART_ABORTED);
}

/* It was acknowledged, the coordinator forgot it in time, the agent was started again, asked, and
 * heard "abort": a hazard was shown where there was none. */
static void
test_part_step__decision_is_recorded_before_an_outcome_by_hand_is_acknowledged(void **state)
{
    (void)state;
    struct part_branch b = prepared();
    expect(&b, PLAIN(OPERATOR_COMMIT), "CANCEL_TIMER FORCE_HEURISTIC", PART_RESOLVING);
    expect(&b, PLAIN(FORCED), "DB_COMMIT", PART_HEUR_COMMITTING);
    expect(&b, PLAIN(DB_COMMITTED), "OPERATOR_DONE ACK_COMMITTED ASK ARM_TIMER", PART_HEUR_COMMIT);
    expect(&b, PLAIN(COMMIT), "CANCEL_TIMER FORCE_TOLD", PART_HEUR_COMMIT);
    expect(&b, PLAIN(COMMIT), "CANCEL_TIMER", PART_HEUR_COMMIT);
    struct part_branch forgotten = b;
    expect(&b, PLAIN(FORCED), "ACK_COMMITTED", PART_HEUR_COMMIT);
    expect(&b, PLAIN(COMMIT), "CANCEL_TIMER ACK_COMMITTED", PART_HEUR_COMMIT);
    expect(&forgotten, PLAIN(FORGET), "", PART_HEUR_COMMIT);
    struct part_branch failed = forgotten;
    expect(&failed, PLAIN(FORCE_FAILED), "HALT", PART_HEUR_COMMIT);
    expect(&forgotten, PLAIN(FORCED), "ACK_COMMITTED FORCE_FORGOTTEN", PART_HEUR_COMMIT);
    expect(&forgotten, PLAIN(FORCED), "CANCEL_TIMER OPERATOR_DONE ACK_COMMITTED ENDED",
           PART_COMMITTED);

    struct part_branch again = {0};
    expect(&again, PLAIN(LOG_PREPARED), "", PART_PREPARED);
    expect(&again, PLAIN(LOG_HEUR_COMMIT), "", PART_HEUR_COMMITTING);
    expect(&again, PLAIN(LOG_COMMITTED), "", PART_HEUR_COMMITTING);
    expect(&again, PLAIN(DB_PROOF), "", PART_HEUR_COMMIT);
    expect(&again, PLAIN(RESTARTED), "", PART_HEUR_COMMIT); /* and does not ask */
    assert_false(part_is_hazard(&again));
}

static void test_part_step__change_that_no_longer_applies_is_recorded_first(void **state)
{
    (void)state;
    struct part_branch b = prepared();
    expect(&b, PLAIN(COMMIT), "CANCEL_TIMER DB_COMMIT", PART_COMMITTING);
    expect(&b, PLAIN(DB_CONFLICT), "FORCE_HEURISTIC", PART_RESOLVING);
    assert_false(part_in_doubt(&b));
    expect(&b, PLAIN(FORCED), "DB_ABORT", PART_HEUR_ABORTING);
    expect(&b, PLAIN(DB_ABORTED), "OPERATOR_DONE FORCE_TOLD", PART_HEUR_ABORT);
    expect(&b, PLAIN(FORCED), "ACK_ABORTED", PART_HEUR_ABORT);
    assert_true(part_is_hazard(&b));
}

static void test_part_step__what_others_commit_against_an_abort_is_a_hazard(void **state)
{
    (void)state;
    struct part_branch b = prepared();
    expect(&b, PLAIN(ABORT), "CANCEL_TIMER DB_ABORT", PART_ABORTING);
    expect(&b, PLAIN(DB_PROOF), "FORCE_HEURISTIC", PART_RESOLVING);
    assert_false(part_in_doubt(&b));
    expect(&b, PLAIN(FORCED), "DB_COMMIT", PART_HEUR_COMMITTING);
    expect(&b, PLAIN(DB_COMMITTED), "OPERATOR_DONE ACK_COMMITTED", PART_HEUR_COMMIT);
    assert_true(part_is_hazard(&b));
}

static void test_part_step__the_same_before_the_vote_is_recorded_whole(void **state)
{
    (void)state;
    struct part_branch b = {0};
    expect(&b, PLAIN(PREPARE), "DB_PREPARE", PART_EXECUTING);
    expect(&b, PLAIN(ABORT), "DB_CANCEL", PART_EXECUTING);
    expect(&b, (struct part_event){.type = PART_EV_DB_READY, .held = true}, "DB_ABORT VOTE_NO",
           PART_ABORTING);
    expect(&b, PLAIN(DB_PROOF), "LOG_PREPARED FORCE_HEURISTIC", PART_RESOLVING);
}

static void test_part_step__what_others_commit_against_an_operator_stays(void **state)
{
    (void)state;
    struct part_branch b = prepared();
    expect(&b, PLAIN(OPERATOR_ABORT), "CANCEL_TIMER FORCE_HEURISTIC", PART_RESOLVING);
    expect(&b, PLAIN(FORCED), "DB_ABORT", PART_HEUR_ABORTING);
    expect(&b, PLAIN(DB_PROOF), "FORCE_HEURISTIC", PART_RESOLVING);
    struct part_branch again = {0};
    expect(&again, PLAIN(LOG_PREPARED), "", PART_PREPARED);
    expect(&again, PLAIN(LOG_HEUR_ABORT), "", PART_HEUR_ABORTING);
    expect(&again, PLAIN(LOG_HEUR_COMMIT), "", PART_HEUR_COMMITTING);
    assert_int_equal(again.heuristic, PART_COMMIT);
}

static void test_part_step__operator_is_not_kept_while_the_database_is_away(void **state)
{
    (void)state;
    struct part_branch b = prepared();
    expect(&b, PLAIN(OPERATOR_COMMIT), "CANCEL_TIMER FORCE_HEURISTIC", PART_RESOLVING);
    expect(&b, PLAIN(FORCED), "DB_COMMIT", PART_HEUR_COMMITTING);
    expect(&b, PLAIN(DB_RETRY), "ARM_TIMER OPERATOR_DONE", PART_HEUR_COMMITTING);
    expect(&b, PLAIN(OPERATOR_COMMIT), "OPERATOR_DONE", PART_HEUR_COMMITTING);
    expect(&b, PLAIN(TIMER), "DB_COMMIT", PART_HEUR_COMMITTING);
    expect(&b, PLAIN(DB_CONFLICT), "FORCE_HEURISTIC", PART_RESOLVING);
}

static void test_part_step__restart(void **state)
{
    (void)state;
    struct part_branch b = {0};
    expect(&b, PLAIN(LOG_PREPARED), "", PART_PREPARED);
    struct part_branch proven = b, committed = b, resolved = b;
    expect(&b, PLAIN(RESTARTED), "ASK ARM_TIMER", PART_PREPARED);
    expect(&proven, PLAIN(DB_PROOF), "CANCEL_TIMER LOG_COMMITTED ENDED", PART_COMMITTED);
    expect(&committed, PLAIN(LOG_COMMITTED), "", PART_COMMITTED);
    expect(&committed, PLAIN(RESTARTED), "ENDED", PART_COMMITTED);
    expect(&resolved, PLAIN(LOG_HEUR_COMMIT), "", PART_HEUR_COMMITTING);
    struct part_branch done = resolved;
    expect(&resolved, PLAIN(LOG_HEUR_ABORT), "", PART_HEUR_ABORTING);
    expect(&resolved, PLAIN(RESTARTED), "DB_ABORT", PART_HEUR_ABORTING);
    expect(&done, PLAIN(DB_PROOF), "", PART_HEUR_COMMIT);
    expect(&done, PLAIN(RESTARTED), "ASK ARM_TIMER", PART_HEUR_COMMIT);
    struct part_branch tombstone = {0};
    expect(&tombstone, PLAIN(LOG_ABORTED), "", PART_ABORTED);
    expect(&tombstone, ONE_PHASE(ABORT), "ACK_ABORTED", PART_ABORTED);
}

static void test_part_step__empty_cells_change_nothing(void **state)
{
    (void)state;
    unsigned empty = 0;
    for (unsigned s = 0; s < PART_STATE_COUNT; s++) {
        for (unsigned e = 0; e < PART_EVENT_COUNT; e++) {
            if (part_allowed(s, e) == 0) {
                struct part_branch b = {.state = (uint8_t)s};
                expect_refused(&b, (struct part_event){.type = e});
                empty++;
            }
        }
    }
    print_message("%u empty cells\n", empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_part_step__commit),
        cmocka_unit_test(test_part_step__abort_of_a_prepared_branch),
        cmocka_unit_test(test_part_step__abort_while_executing_cancels_once),
        cmocka_unit_test(test_part_step__abort_while_logging_waits_for_the_force),
        cmocka_unit_test(test_part_step__failed_force_halts),
        cmocka_unit_test(test_part_step__database_that_holds_it_needs_no_force),
        cmocka_unit_test(test_part_step__late_prepare_meets_the_tombstone),
        cmocka_unit_test(test_part_step__read_only),
        cmocka_unit_test(test_part_step__one_phase),
        cmocka_unit_test(test_part_step__one_phase_refusal_of_what_was_committed_before),
        cmocka_unit_test(test_part_step__commit_after_a_repeated_prepare_was_refused),
        cmocka_unit_test(test_part_step__two_phase_work_is_not_committed_by_itself),
        cmocka_unit_test(test_part_step__ghost_of_a_committed_branch),
        cmocka_unit_test(test_part_step__commit_of_an_unknown_branch_takes_proof),
        cmocka_unit_test(test_part_step__one_phase_abort_is_answered_from_proof),
        cmocka_unit_test(test_part_step__in_doubt_asks_until_told),
        cmocka_unit_test(test_part_step__operator_commits),
        cmocka_unit_test(test_part_step__operator_aborts_and_the_decision_comes_meanwhile),
        cmocka_unit_test(
            test_part_step__decision_is_recorded_before_an_outcome_by_hand_is_acknowledged),
        cmocka_unit_test(test_part_step__change_that_no_longer_applies_is_recorded_first),
        cmocka_unit_test(test_part_step__what_others_commit_against_an_abort_is_a_hazard),
        cmocka_unit_test(test_part_step__the_same_before_the_vote_is_recorded_whole),
        cmocka_unit_test(test_part_step__what_others_commit_against_an_operator_stays),
        cmocka_unit_test(test_part_step__operator_is_not_kept_while_the_database_is_away),
        cmocka_unit_test(test_part_step__restart),
        cmocka_unit_test(test_part_step__empty_cells_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
