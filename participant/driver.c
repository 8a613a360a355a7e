/* One event into the state machine, and its effects out into the world. */
#include "participant/daemon.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/tpc_assert.h"

#include <stdlib.h>

enum {
    RETRY_FIRST_MS = 50,
    RETRY_MAX_MS = 5000,
    RESULTS_KEPT = 65536, /* of a prepared branch, for a repeated prepare */
};

/* ---- Answers ---- */

static void vote(struct branch *branch, enum api_vote how)
{
    while (branch->votes != NULL) {
        struct reply *reply = branch->votes;
        branch->votes = reply->next;
        part_reply_vote(branch, reply, how);
    }
    if (branch->results_size > RESULTS_KEPT) {
        free(branch->results);
        branch->results = NULL;
        branch->results_size = 0;
    }
}

static void answer_steps(struct branch *branch, bool done)
{
    branch->executed += done;
    while (branch->steps != NULL) {
        struct reply *reply = branch->steps;
        branch->steps = reply->next;
        part_reply_step(branch, reply, done);
    }
}

static void acknowledge(struct branch *branch, enum api_branch_state state)
{
    while (branch->acks != NULL) {
        struct reply *reply = branch->acks;
        branch->acks = reply->next;
        part_reply_state(branch, reply, state);
    }
}

/* ---- Timers ---- */

static void arm(struct branch *branch)
{
    struct part_daemon *daemon = branch->daemon;
    struct work *work = part_branch_work(branch);
    uint64_t delay_ms;
    if (branch->fsm.state == PART_ACTIVE) {
        delay_ms = branch->idle_ms;
        work->overdue = false;
    } else if (branch->fsm.retrying) {
        unsigned shift = work->tries < 7 ? work->tries : 7;
        delay_ms = (uint64_t)RETRY_FIRST_MS << shift;
        delay_ms = delay_ms < RETRY_MAX_MS ? delay_ms : RETRY_MAX_MS;
        delay_ms -= tpc_random_u64() % (delay_ms / 4 + 1);
    } else {
        delay_ms = part_ask_delay_ms(daemon, work->tries);
    }
    work->tries++;
    tpc_timer_arm(&daemon->timers, &work->timer, tpc_clock_mono_ms() + delay_ms);
}

static void disarm(struct branch *branch)
{
    if (branch->work != NULL) {
        tpc_timer_cancel(&branch->daemon->timers, &branch->work->timer);
    }
}

/* ---- Effects ---- */

static bool work_in_database(struct branch *branch, enum part_effect_type effect)
{
    switch ((int)effect) {
    case PART_FX_DB_EXECUTE:
        part_job_start(branch, PART_JOB_EXECUTE);
        return true;
    case PART_FX_DB_PREPARE:
        part_job_start(branch, PART_JOB_PREPARE);
        return true;
    case PART_FX_DB_CANCEL:
        part_job_cancel(branch);
        return true;
    case PART_FX_DB_COMMIT:
        part_job_start(branch, PART_JOB_COMMIT);
        return true;
    case PART_FX_DB_ABORT:
        part_job_start(branch, PART_JOB_ABORT);
        return true;
    case PART_FX_DB_PROVE:
        part_job_start(branch, PART_JOB_PROVE);
        return true;
    default:
        return false;
    }
}

static bool write_log(struct branch *branch, enum part_effect_type effect)
{
    switch ((int)effect) {
    case PART_FX_FORCE_PREPARED:
        part_force(branch, WAL_PART_PREPARED);
        return true;
    case PART_FX_FORCE_ABORTED:
        part_force(branch, WAL_PART_ABORTED);
        return true;
    case PART_FX_FORCE_HEURISTIC:
        part_force(branch, WAL_PART_HEURISTIC);
        return true;
    case PART_FX_FORCE_FORGOTTEN:
        part_force(branch, WAL_PART_FORGOTTEN);
        return true;
    case PART_FX_FORCE_TOLD:
        part_force(branch, WAL_PART_COMMITTED);
        return true;
    case PART_FX_LOG_PREPARED:
        part_log(branch, WAL_PART_PREPARED);
        return true;
    case PART_FX_LOG_COMMITTED:
        part_log(branch, WAL_PART_COMMITTED);
        return true;
    case PART_FX_LOG_ABORTED:
        part_log(branch, WAL_PART_ABORTED);
        return true;
    default:
        return false;
    }
}

static bool answer(struct branch *branch, enum part_effect_type effect)
{
    switch ((int)effect) {
    case PART_FX_RESULTS:
        answer_steps(branch, true);
        return true;
    case PART_FX_NO_RESULTS:
        answer_steps(branch, false);
        return true;
    case PART_FX_VOTE_YES:
        vote(branch, API_VOTE_YES);
        return true;
    case PART_FX_VOTE_NO:
        vote(branch, API_VOTE_NO);
        return true;
    case PART_FX_VOTE_READ_ONLY:
        vote(branch, API_VOTE_READ_ONLY);
        return true;
    case PART_FX_VOTE_COMMITTED:
        vote(branch, API_VOTE_COMMITTED);
        return true;
    case PART_FX_ACK_COMMITTED:
        acknowledge(branch, API_STATE_COMMITTED);
        return true;
    case PART_FX_ACK_ABORTED:
        acknowledge(branch, API_STATE_ABORTED);
        return true;
    case PART_FX_ACK_UNKNOWN:
        acknowledge(branch, API_STATE_UNKNOWN);
        return true;
    case PART_FX_OPERATOR_DONE:
        part_operators_answer(branch);
        return true;
    default:
        return false;
    }
}

static void carry_out(struct branch *branch, enum part_effect_type effect)
{
    if (work_in_database(branch, effect) || write_log(branch, effect) || answer(branch, effect)) {
        return;
    }
    switch ((int)effect) {
    case PART_FX_ASK:
        part_ask(branch);
        break;
    case PART_FX_ARM_TIMER:
        arm(branch);
        break;
    case PART_FX_CANCEL_TIMER:
        disarm(branch);
        break;
    case PART_FX_ENDED: /* after all others */
        break;
    case PART_FX_HALT:
        part_halt("a forced write of the log failed, and nobody knows what is on disk", NULL);
    default:
        TPC_ASSERT(!"an effect");
    }
}

static void log_move(const struct branch *branch, enum part_state from, enum part_event_type cause)
{
    enum part_state to = branch->fsm.state;
    tpc_log(TPC_LOG_INFO, "branch.move", tpc_kv_id("gtid", &branch->gtid),
            tpc_kv_str("from", part_state_name(from)), tpc_kv_str("to", part_state_name(to)),
            tpc_kv_str("cause", part_event_name(cause)));
    if (part_is_hazard(&branch->fsm) && (to == PART_HEUR_COMMIT || to == PART_HEUR_ABORT)) {
        tpc_log(TPC_LOG_ERROR, "branch.hazard", tpc_kv_id("gtid", &branch->gtid),
                tpc_kv_str("state", part_state_text(to)),
                tpc_kv_str("decided", branch->fsm.told == PART_COMMIT ? "commit" : "abort"),
                tpc_kv_str("operator", branch->by_hand.operator_name),
                tpc_kv_str("reason", branch->by_hand.reason));
    }
}

static void settle(struct branch *branch, enum part_state from, bool has_ended)
{
    if (branch->fsm.state != from && branch->work != NULL) {
        branch->work->tries = 0;
    }
    if (branch->fsm.state == PART_NONE) {
        part_branch_free(branch);
    } else if (has_ended) {
        part_retain(branch);
    } else if (branch->fsm.state == PART_TOMBSTONING || branch->fsm.state == PART_PROVING) {
        part_branch_mark(branch, false);
    }
}

enum tpc_rc part_event(struct branch *branch, struct part_event event)
{
    struct part_effects effects;
    enum part_state from = branch->fsm.state;
    bool was_hazard = part_is_hazard(&branch->fsm);
    enum tpc_rc rc = part_step(&branch->fsm, &event, &effects);
    if (rc != TPC_OK) {
        return rc;
    }
    if (branch->fsm.state != from || part_is_hazard(&branch->fsm) != was_hazard) {
        log_move(branch, from, event.type);
    }
    bool has_ended = false;
    for (unsigned i = 0; i < effects.count; i++) {
        carry_out(branch, effects.items[i]);
        has_ended |= effects.items[i] == PART_FX_ENDED;
    }
    settle(branch, from, has_ended);
    return TPC_OK;
}

void part_event_sure(struct branch *branch, enum part_event_type type)
{
    enum tpc_rc rc = part_event(branch, (struct part_event){.type = type});
    TPC_ASSERT(rc == TPC_OK);
}
