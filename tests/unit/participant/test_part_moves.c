/* Every world that one branch, its database and its log can reach, by breadth-first search: the
 * machine itself, what is under way, who waits, and what is true. Each move is checked, and each
 * cell of the table must have been used. */
#include "participant/part_fsm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum job { NO_JOB, JOB_EXECUTE, JOB_PREPARE, JOB_COMMIT, JOB_ABORT, JOB_PROVE };

/* All bytes: compared and kept as such. */
struct world {
    struct part_branch branch;
    uint8_t job; /* enum job */
    bool force;  /* a record is being forced */
    bool armed;  /* the timer */
    bool step_waits, vote_waits, ack_waits, operator_waits;
    bool in_database; /* the fact: this branch's work is committed there */
    bool recovering;
};

#define WORLDS_MAX 20000
static struct world worlds[WORLDS_MAX];
static size_t world_count;
static uint32_t reached[PART_STATE_COUNT][PART_EVENT_COUNT];

static void visit(const struct world *world)
{
    for (size_t i = 0; i < world_count; i++) {
        if (memcmp(&worlds[i], world, sizeof(*world)) == 0) {
            return;
        }
    }
    assert_true(world_count < WORLDS_MAX);
    worlds[world_count++] = *world;
}

/* Could the world send this event now? */
static bool can_happen(const struct world *w, const struct part_event *ev)
{
    bool proof_read = w->recovering && w->in_database;
    switch (ev->type) {
    case PART_EV_ABORT:
        /* What was committed in one phase is aborted (asked for) in one phase; what was committed
         * in two is never aborted. */
        return !w->recovering && (ev->one_phase || !w->in_database || w->branch.state != PART_NONE);
    case PART_EV_PREPARE: /* not while the results of a step are waited for */
        return !w->recovering && w->branch.state != PART_WORKING;
    case PART_EV_EXECUTE:
    case PART_EV_COMMIT:
    case PART_EV_TIMER: /* at any time, or late, or twice */
    case PART_EV_TOLD_COMMIT:
    case PART_EV_TOLD_ABORT:
    case PART_EV_TOLD_UNDECIDED:
    case PART_EV_OPERATOR_COMMIT:
    case PART_EV_OPERATOR_ABORT:
    case PART_EV_FORGET:
        return !w->recovering;
    case PART_EV_DB_EXECUTED:
        return w->job == JOB_EXECUTE && !w->in_database;
    case PART_EV_DB_READY:
        return w->job == JOB_PREPARE && !w->in_database && !w->branch.one_phase;
    case PART_EV_DB_REFUSED: /* cancelled, or too late: before it looked for proof */
        return (w->job == JOB_EXECUTE && !w->in_database) ||
               (w->job == JOB_PREPARE && (!w->in_database || w->branch.one_phase));
    case PART_EV_DB_READ_ONLY:
        return w->job == JOB_PREPARE && !w->in_database;
    case PART_EV_DB_COMMITTED:
        return w->job == JOB_COMMIT ||
               (w->job == JOB_PREPARE && !w->in_database && w->branch.one_phase);
    case PART_EV_DB_RETRY:
        return w->job == JOB_COMMIT || w->job == JOB_ABORT || w->job == JOB_PROVE;
    case PART_EV_DB_CONFLICT:
        return w->job == JOB_COMMIT && !w->in_database;
    case PART_EV_DB_ABORTED:
        return w->job == JOB_ABORT;
    case PART_EV_DB_PROOF: /* of an abort: somebody else has committed it */
        return proof_read || w->job == JOB_ABORT ||
               (w->in_database &&
                (w->job == JOB_EXECUTE || w->job == JOB_PREPARE || w->job == JOB_PROVE));
    case PART_EV_DB_NO_PROOF:
        return w->job == JOB_PROVE && !w->in_database;
    case PART_EV_FORCED:
    case PART_EV_FORCE_FAILED:
        return w->force;
    case PART_EV_LOG_PREPARED:
    case PART_EV_LOG_HEUR_COMMIT:
        return w->recovering;
    case PART_EV_LOG_ABORTED:
    case PART_EV_LOG_HEUR_ABORT:
        return w->recovering && !w->in_database;
    case PART_EV_LOG_FORGOTTEN: /* only what was done is forgotten */
        return w->recovering && w->in_database == (w->branch.heuristic == PART_COMMIT);
    case PART_EV_LOG_COMMITTED: /* or what was decided, of a branch with an outcome of its own */
        return w->recovering && (w->in_database || w->branch.state == PART_HEUR_ABORTING);
    case PART_EV_RESTARTED: /* the proof has been looked for */
        return w->recovering && !(w->in_database && (w->branch.state == PART_PREPARED ||
                                                     w->branch.state == PART_HEUR_COMMITTING));
    case PART_EVENT_COUNT:
        break;
    }
    return false;
}

static void before(struct world *w, const struct part_event *ev)
{
    w->step_waits |= ev->type == PART_EV_EXECUTE;
    w->vote_waits |= ev->type == PART_EV_PREPARE;
    w->ack_waits |= ev->type == PART_EV_COMMIT || ev->type == PART_EV_ABORT;
    w->operator_waits |= ev->type == PART_EV_OPERATOR_COMMIT ||
                         ev->type == PART_EV_OPERATOR_ABORT || ev->type == PART_EV_FORGET;
    w->in_database |= ev->type == PART_EV_DB_COMMITTED || ev->type == PART_EV_DB_PROOF;
    w->armed &= ev->type != PART_EV_TIMER;
    w->recovering &= ev->type != PART_EV_RESTARTED;
    if (ev->type >= PART_EV_DB_EXECUTED && ev->type <= PART_EV_DB_NO_PROOF) {
        w->job = NO_JOB;
    }
    if (ev->type == PART_EV_FORCED) {
        w->force = false;
    }
}

static void start_job(struct world *w, enum job job)
{
    assert_int_equal(w->job, NO_JOB);
    assert_false(w->force);
    w->job = (uint8_t)job;
}

static void start_force(struct world *w)
{
    assert_int_equal(w->job, NO_JOB);
    assert_false(w->force);
    w->force = true;
}

static void vote(struct world *w, enum part_effect_type type)
{
    if (type == PART_FX_VOTE_YES) {
        assert_true(w->branch.voted_yes || w->branch.state == PART_COMMITTED);
        assert_true(w->branch.logged || w->in_database);
    } else if (type == PART_FX_VOTE_COMMITTED) {
        assert_true(w->in_database);
    } else if (type == PART_FX_VOTE_NO) {
        assert_false(w->in_database);
        assert_true(!w->branch.one_phase || w->branch.durable_abort);
    }
    w->vote_waits = false;
}

static void work_in_database(struct world *w, enum part_effect_type type)
{
    assert_true(type != PART_FX_DB_ABORT || !w->in_database);
    start_job(w, type == PART_FX_DB_EXECUTE   ? JOB_EXECUTE
                 : type == PART_FX_DB_PREPARE ? JOB_PREPARE
                 : type == PART_FX_DB_COMMIT  ? JOB_COMMIT
                 : type == PART_FX_DB_ABORT   ? JOB_ABORT
                                              : JOB_PROVE);
}

static void carry_out(struct world *w, enum part_effect_type type)
{
    switch (type) {
    case PART_FX_DB_EXECUTE:
    case PART_FX_DB_PREPARE:
    case PART_FX_DB_COMMIT:
    case PART_FX_DB_ABORT:
    case PART_FX_DB_PROVE:
        work_in_database(w, type);
        break;
    case PART_FX_DB_CANCEL:
        assert_true(w->job == JOB_EXECUTE || w->job == JOB_PREPARE);
        break;
    case PART_FX_FORCE_PREPARED:
    case PART_FX_FORCE_ABORTED:
    case PART_FX_FORCE_HEURISTIC:
    case PART_FX_FORCE_FORGOTTEN:
    case PART_FX_FORCE_TOLD:
        start_force(w);
        break;
    case PART_FX_RESULTS:
        assert_int_equal(w->branch.state, PART_ACTIVE);
        w->step_waits = false;
        break;
    case PART_FX_NO_RESULTS:
        assert_int_not_equal(w->branch.state, PART_ACTIVE);
        w->step_waits = false;
        break;
    case PART_FX_VOTE_YES:
    case PART_FX_VOTE_NO:
    case PART_FX_VOTE_READ_ONLY:
    case PART_FX_VOTE_COMMITTED:
        vote(w, type);
        break;
    case PART_FX_ACK_COMMITTED:
        assert_true(w->in_database || w->branch.state == PART_READ_ONLY);
        w->ack_waits = false;
        break;
    case PART_FX_ACK_ABORTED:
    case PART_FX_ACK_UNKNOWN:
        assert_false(w->in_database);
        w->ack_waits = false;
        break;
    case PART_FX_ARM_TIMER:
        w->armed = true;
        break;
    case PART_FX_CANCEL_TIMER:
        w->armed = false;
        break;
    case PART_FX_OPERATOR_DONE:
        w->operator_waits = false;
        break;
    case PART_FX_LOG_PREPARED:
    case PART_FX_LOG_COMMITTED:
    case PART_FX_LOG_ABORTED:
    case PART_FX_ASK:
    case PART_FX_ENDED:
    case PART_FX_HALT:
        break;
    case PART_EFFECT_COUNT:
        fail();
    }
}

static void check(const struct world *w)
{
    const struct part_branch *b = &w->branch;
    bool asks = b->state == PART_PREPARED || b->state == PART_ACTIVE ||
                ((b->state == PART_HEUR_COMMIT || b->state == PART_HEUR_ABORT) &&
                 b->told == PART_NO_OUTCOME);
    if (!w->recovering) {
        assert_true(!asks || w->armed);
    }
    assert_true(!b->retrying || w->armed);
    /* Whoever asked has been answered once nothing is under way. */
    if (w->job == NO_JOB && !w->force && !b->retrying) {
        assert_false(w->step_waits);
        assert_false(w->vote_waits);
        assert_false(w->ack_waits);
        assert_false(w->operator_waits);
    }
}

static void try_event(const struct world *from, struct part_event ev)
{
    if (!can_happen(from, &ev)) {
        return;
    }
    struct world w = *from;
    struct part_effects out;
    enum part_state state = w.branch.state;
    if (part_step(&w.branch, &ev, &out) != TPC_OK) {
        assert_memory_equal(&w, from, sizeof(w));
        /* What is under way must be able to end. */
        assert_false(ev.type >= PART_EV_DB_EXECUTED && ev.type <= PART_EV_FORCE_FAILED &&
                     !from->recovering);
        return;
    }
    reached[state][ev.type] |= UINT32_C(1) << w.branch.state;
    before(&w, &ev);
    bool halted = false;
    for (unsigned i = 0; i < out.count; i++) {
        carry_out(&w, out.items[i]);
        halted |= out.items[i] == PART_FX_HALT;
    }
    if (halted) {
        return;
    }
    check(&w);
    visit(&w);
}

static void test_part_step__in_every_reachable_world(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct world first = {.in_database = (i & 1) != 0, .recovering = (i & 2) != 0};
        visit(&first);
    }
    for (size_t i = 0; i < world_count; i++) {
        struct world from = worlds[i];
        for (unsigned e = 0; e < PART_EVENT_COUNT; e++) {
            try_event(&from, (struct part_event){.type = e});
            try_event(&from, (struct part_event){.type = e, .one_phase = true});
            try_event(&from, (struct part_event){.type = e, .held = true});
        }
    }
    unsigned cells = 0;
    for (unsigned s = 0; s < PART_STATE_COUNT; s++) {
        for (unsigned e = 0; e < PART_EVENT_COUNT; e++) {
            if (reached[s][e] != part_allowed(s, e)) {
                fail_msg("%s + %s: may lead to %x, led to %x", part_state_name(s),
                         part_event_name(e), part_allowed(s, e), reached[s][e]);
            }
            cells += reached[s][e] != 0;
        }
    }
    print_message("%zu worlds, %u cells used\n", world_count, cells);
    assert_true(world_count > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_part_step__in_every_reachable_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
