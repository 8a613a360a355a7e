/* What each move of the table in part_fsm.c does. */
#include "participant/part_moves.h"

#include "base/tpc_assert.h"

#include <string.h>

static void emit(struct part_move *m, enum part_effect_type type)
{
    TPC_ASSERT(m->out->count < PART_EFFECTS_MAX);
    m->out->items[m->out->count++] = type;
}

/* ---- Messages ---- */

enum part_state part_on_prepare(struct part_move *m)
{
    m->branch->one_phase = m->ev->one_phase;
    emit(m, PART_FX_DB_PREPARE);
    return PART_EXECUTING;
}

/* ---- Interactive ---- */

/* A one-phase outcome rests on this branch alone: after a crash a repetition of its steps and its
 * prepare must not commit what was told to be aborted. */
static enum part_state force_tombstone(struct part_move *m)
{
    emit(m, PART_FX_FORCE_ABORTED);
    return PART_TOMBSTONING;
}

enum part_state part_on_execute(struct part_move *m)
{
    emit(m, PART_FX_CANCEL_TIMER);
    emit(m, PART_FX_DB_EXECUTE);
    return PART_WORKING;
}

enum part_state part_on_executed(struct part_move *m)
{
    if (m->branch->abort_wanted) {
        m->branch->told = PART_ABORT;
        emit(m, PART_FX_NO_RESULTS);
        emit(m, PART_FX_DB_ABORT);
        return PART_ABORTING;
    }
    emit(m, PART_FX_RESULTS);
    emit(m, PART_FX_ARM_TIMER);
    return PART_ACTIVE;
}

/* The database has undone all steps. */
enum part_state part_on_step_refused(struct part_move *m)
{
    emit(m, PART_FX_NO_RESULTS);
    if (m->branch->one_phase) {
        return force_tombstone(m);
    }
    if (m->branch->abort_wanted) {
        emit(m, PART_FX_ACK_ABORTED);
    }
    emit(m, PART_FX_ENDED);
    return PART_ABORTED;
}

/* A late repetition: the branch was committed in an earlier life. */
enum part_state part_on_step_proven(struct part_move *m)
{
    m->branch->told = PART_COMMIT;
    emit(m, PART_FX_NO_RESULTS);
    if (m->branch->abort_wanted) {
        emit(m, PART_FX_ACK_COMMITTED);
    }
    emit(m, PART_FX_LOG_COMMITTED);
    emit(m, PART_FX_ENDED);
    return PART_COMMITTED;
}

enum part_state part_on_prepare_active(struct part_move *m)
{
    emit(m, PART_FX_CANCEL_TIMER);
    return part_on_prepare(m);
}

enum part_state part_on_prepare_joins(struct part_move *m)
{
    m->branch->prepare_waits = true;
    if (m->branch->state == PART_PROVING && m->ev->one_phase) {
        /* Refusing it takes a tombstone. */
        m->branch->one_phase = true;
        m->branch->abort_wanted = true;
    }
    return m->branch->state;
}

enum part_state part_on_prepare_again(struct part_move *m)
{
    /* What an operator gave up cannot be redone, so yes would no longer be true. */
    emit(m, m->branch->heuristic == PART_ABORT ? PART_FX_VOTE_NO : PART_FX_VOTE_YES);
    return m->branch->state;
}

enum part_state part_on_prepare_committed(struct part_move *m)
{
    emit(m, m->ev->one_phase ? PART_FX_VOTE_COMMITTED : PART_FX_VOTE_YES);
    return m->branch->state;
}

enum part_state part_on_prepare_aborted(struct part_move *m)
{
    bool one_phase = m->ev->one_phase || m->branch->one_phase;
    if (one_phase && m->branch->state == PART_ABORTING) {
        m->branch->one_phase = true;
        m->branch->prepare_waits = true;
        return PART_ABORTING;
    }
    if (one_phase && !m->branch->durable_abort) {
        m->branch->prepare_waits = true;
        return force_tombstone(m);
    }
    emit(m, PART_FX_VOTE_NO);
    return m->branch->state;
}

enum part_state part_on_abort_unknown(struct part_move *m)
{
    if (m->ev->one_phase) {
        /* It may have been committed, and the record that says so is lazy. */
        m->branch->one_phase = true;
        m->branch->abort_wanted = true;
        emit(m, PART_FX_DB_PROVE);
        return PART_PROVING;
    }
    m->branch->told = PART_ABORT;
    emit(m, PART_FX_ACK_ABORTED);
    emit(m, PART_FX_ENDED);
    return PART_ABORTED;
}

enum part_state part_on_abort_executing(struct part_move *m)
{
    if (!m->branch->abort_wanted) {
        m->branch->abort_wanted = true;
        emit(m, PART_FX_DB_CANCEL);
    }
    m->branch->one_phase |= m->branch->state == PART_WORKING && m->ev->one_phase;
    return m->branch->state;
}

enum part_state part_on_abort_aborting(struct part_move *m)
{
    m->branch->one_phase |= m->ev->one_phase;
    return PART_ABORTING;
}

enum part_state part_on_abort_wanted(struct part_move *m)
{
    m->branch->abort_wanted = true;
    if (m->branch->state == PART_PROVING && m->ev->one_phase) {
        m->branch->one_phase = true;
    }
    return m->branch->state;
}

enum part_state part_on_abort_aborted(struct part_move *m)
{
    if (m->ev->one_phase && !m->branch->durable_abort) {
        emit(m, PART_FX_FORCE_ABORTED);
        return PART_TOMBSTONING;
    }
    emit(m, PART_FX_ACK_ABORTED);
    return m->branch->state;
}

/* ---- The decision ---- */

static enum part_outcome outcome_of(const struct part_move *m)
{
    return m->ev->type == PART_EV_COMMIT || m->ev->type == PART_EV_TOLD_COMMIT ||
                   m->ev->type == PART_EV_OPERATOR_COMMIT
               ? PART_COMMIT
               : PART_ABORT;
}

enum part_state part_on_decided(struct part_move *m)
{
    m->branch->told = (uint8_t)outcome_of(m);
    emit(m, PART_FX_CANCEL_TIMER);
    if (m->branch->told == PART_COMMIT) {
        emit(m, PART_FX_DB_COMMIT);
        return PART_COMMITTING;
    }
    m->branch->one_phase |= m->branch->state == PART_ACTIVE && m->ev->one_phase;
    emit(m, PART_FX_DB_ABORT);
    return PART_ABORTING;
}

/* What is said of an abort is a hazard over there. But if nothing of the branch is in the log, it
 * may have been committed in an earlier life, and then a repeated prepare was refused in this one.
 */
enum part_state part_on_commit_aborted(struct part_move *m)
{
    if (m->branch->logged || m->branch->durable_abort) {
        emit(m, PART_FX_ACK_ABORTED);
        return PART_ABORTED;
    }
    m->branch->abort_wanted = true;
    emit(m, PART_FX_DB_PROVE);
    return PART_PROVING;
}

/* The first that is told stays: a coordinator never changes its mind. */
static void note_told(struct part_move *m, enum part_outcome outcome)
{
    if (m->branch->told == PART_NO_OUTCOME) {
        m->branch->told = (uint8_t)outcome;
    }
}

enum part_state part_on_told_meanwhile(struct part_move *m)
{
    note_told(m, outcome_of(m));
    return m->branch->state;
}

/* The answer is what has been done, whatever was decided. But a commit that is acknowledged may be
 * forgotten by the coordinator, so it is recorded here first. */
static void acknowledge_heuristic(struct part_move *m)
{
    if (m->branch->told != PART_COMMIT || m->branch->told_logged) {
        emit(m, m->branch->heuristic == PART_COMMIT ? PART_FX_ACK_COMMITTED : PART_FX_ACK_ABORTED);
    } else if (!m->branch->telling && !m->branch->forgetting) {
        m->branch->telling = true;
        emit(m, PART_FX_FORCE_TOLD);
    }
}

enum part_state part_on_message_heuristic(struct part_move *m)
{
    note_told(m, outcome_of(m));
    emit(m, PART_FX_CANCEL_TIMER);
    acknowledge_heuristic(m);
    return m->branch->state;
}

enum part_state part_on_told_heuristic(struct part_move *m)
{
    note_told(m, outcome_of(m));
    emit(m, PART_FX_CANCEL_TIMER);
    return m->branch->state;
}

/* Tidings against what is done are late ones after an outcome of our own that was forgotten, or
 * else the coordinator contradicts itself. */
enum part_state part_on_told_otherwise(struct part_move *m)
{
    return m->branch->heuristic == PART_NO_OUTCOME ? PART_REFUSED
                                                   : (enum part_state)m->branch->state;
}

enum part_state part_on_timer_ask(struct part_move *m)
{
    if (m->branch->told == PART_NO_OUTCOME) {
        emit(m, PART_FX_ASK);
        emit(m, PART_FX_ARM_TIMER);
    }
    return m->branch->state;
}

/* ---- The database ---- */

enum part_state part_on_ready(struct part_move *m)
{
    if (m->branch->one_phase) {
        return PART_REFUSED; /* it was to commit, not to wait */
    }
    if (m->branch->abort_wanted) {
        m->branch->told = PART_ABORT;
        emit(m, PART_FX_DB_ABORT);
        emit(m, PART_FX_VOTE_NO);
        return PART_ABORTING;
    }
    m->branch->logged = true;
    if (!m->ev->held) {
        emit(m, PART_FX_FORCE_PREPARED);
        return PART_LOGGING;
    }
    m->branch->voted_yes = true;
    emit(m, PART_FX_LOG_PREPARED);
    emit(m, PART_FX_VOTE_YES);
    emit(m, PART_FX_ARM_TIMER);
    return PART_PREPARED;
}

/* Only queries: doing them again changes nothing, so nothing needs to be remembered. */
enum part_state part_on_read_only(struct part_move *m)
{
    emit(m, PART_FX_VOTE_READ_ONLY);
    if (m->branch->abort_wanted) {
        emit(m, PART_FX_ACK_ABORTED);
    }
    emit(m, PART_FX_ENDED);
    return PART_READ_ONLY;
}

enum part_state part_on_refused(struct part_move *m)
{
    if (m->branch->one_phase) {
        /* A repeated prepare may be refused though the first was committed and its lazy record
         * lost, so that nobody but the database knows. */
        m->branch->prepare_waits = true;
        m->branch->abort_wanted = true;
        emit(m, PART_FX_DB_PROVE);
        return PART_PROVING;
    }
    emit(m, PART_FX_VOTE_NO);
    if (m->branch->abort_wanted) {
        emit(m, PART_FX_ACK_ABORTED);
    }
    emit(m, PART_FX_ENDED);
    return PART_ABORTED;
}

/* The work was done and committed at once, or it was committed in an earlier life. */
enum part_state part_on_done_executing(struct part_move *m)
{
    if (m->ev->type == PART_EV_DB_COMMITTED && !m->branch->one_phase) {
        return PART_REFUSED;
    }
    m->branch->told = PART_COMMIT;
    emit(m, m->branch->one_phase ? PART_FX_VOTE_COMMITTED : PART_FX_VOTE_YES);
    if (m->branch->abort_wanted) {
        emit(m, PART_FX_ACK_COMMITTED);
    }
    emit(m, PART_FX_LOG_COMMITTED);
    emit(m, PART_FX_ENDED);
    return PART_COMMITTED;
}

enum part_state part_on_committed(struct part_move *m)
{
    m->branch->retrying = false;
    emit(m, PART_FX_LOG_COMMITTED);
    emit(m, PART_FX_ACK_COMMITTED);
    emit(m, PART_FX_ENDED);
    return PART_COMMITTED;
}

/* Recovery: only a decision can have committed it, and the lazy record of that was lost. */
enum part_state part_on_proof_prepared(struct part_move *m)
{
    m->branch->told = PART_COMMIT;
    emit(m, PART_FX_CANCEL_TIMER);
    emit(m, PART_FX_LOG_COMMITTED);
    emit(m, PART_FX_ENDED);
    return PART_COMMITTED;
}

enum part_state part_on_aborted(struct part_move *m)
{
    m->branch->retrying = false;
    if (m->branch->one_phase) {
        return force_tombstone(m);
    }
    if (m->branch->logged) {
        emit(m, PART_FX_LOG_ABORTED);
    }
    emit(m, PART_FX_ACK_ABORTED);
    emit(m, PART_FX_ENDED);
    return PART_ABORTED;
}

enum part_state part_on_retry(struct part_move *m)
{
    m->branch->retrying = true;
    emit(m, PART_FX_ARM_TIMER);
    if (m->branch->heuristic != PART_NO_OUTCOME) {
        emit(m, PART_FX_OPERATOR_DONE); /* it is recorded, and will be done */
    }
    return m->branch->state;
}

/* A timer that was armed for something else must not start a second job. */
enum part_state part_on_timer_again(struct part_move *m)
{
    if (!m->branch->retrying) {
        return m->branch->state;
    }
    m->branch->retrying = false;
    if (m->branch->state == PART_PROVING) {
        emit(m, PART_FX_DB_PROVE);
    } else if (m->branch->state == PART_COMMITTING || m->branch->state == PART_HEUR_COMMITTING) {
        emit(m, PART_FX_DB_COMMIT);
    } else {
        emit(m, PART_FX_DB_ABORT);
    }
    return m->branch->state;
}

/* Somebody else changed what this branch had prepared. It can only be given up, which is an
 * outcome of its own: recorded before it is acted on, like an operator's. */
enum part_state part_on_conflict(struct part_move *m)
{
    m->branch->retrying = false;
    m->branch->heuristic = PART_ABORT;
    emit(m, PART_FX_FORCE_HEURISTIC);
    return PART_RESOLVING;
}

/* Somebody else has committed at the server what was to be undone. That cannot be taken back, and
 * is shown like an operator's outcome. */
enum part_state part_on_committed_by_hand(struct part_move *m)
{
    m->branch->retrying = false;
    m->branch->heuristic = PART_COMMIT;
    m->branch->voted_yes = true; /* it was prepared, which is as much as yes to who looks there */
    if (m->branch->prepare_waits) {
        m->branch->prepare_waits = false;
        emit(m, m->branch->one_phase ? PART_FX_VOTE_COMMITTED : PART_FX_VOTE_YES);
    }
    if (!m->branch->logged) { /* the abort came before the vote */
        m->branch->logged = true;
        emit(m, PART_FX_LOG_PREPARED);
    }
    emit(m, PART_FX_FORCE_HEURISTIC);
    return PART_RESOLVING;
}

enum part_state part_on_proof_asked(struct part_move *m)
{
    m->branch->told = PART_COMMIT;
    m->branch->retrying = false;
    if (m->branch->prepare_waits) {
        m->branch->prepare_waits = false;
        emit(m, m->branch->one_phase ? PART_FX_VOTE_COMMITTED : PART_FX_VOTE_YES);
    }
    emit(m, PART_FX_ACK_COMMITTED);
    emit(m, PART_FX_LOG_COMMITTED);
    emit(m, PART_FX_ENDED);
    return PART_COMMITTED;
}

enum part_state part_on_no_proof(struct part_move *m)
{
    m->branch->retrying = false;
    if (m->branch->abort_wanted && m->branch->one_phase) {
        emit(m, PART_FX_FORCE_ABORTED);
        return PART_TOMBSTONING;
    }
    if (m->branch->prepare_waits) {
        m->branch->prepare_waits = false;
        emit(m, PART_FX_VOTE_NO);
    }
    if (m->branch->abort_wanted) {
        emit(m, PART_FX_ACK_ABORTED);
        emit(m, PART_FX_ENDED);
        return PART_ABORTED;
    }
    emit(m, PART_FX_ACK_UNKNOWN);
    memset(m->branch, 0, sizeof(*m->branch));
    return PART_NONE;
}

/* ---- The log ---- */

enum part_state part_on_prepared_forced(struct part_move *m)
{
    if (m->branch->abort_wanted) {
        m->branch->told = PART_ABORT;
        emit(m, PART_FX_DB_ABORT);
        emit(m, PART_FX_VOTE_NO);
        return PART_ABORTING;
    }
    m->branch->voted_yes = true;
    emit(m, PART_FX_VOTE_YES);
    emit(m, PART_FX_ARM_TIMER);
    return PART_PREPARED;
}

enum part_state part_on_tombstone_forced(struct part_move *m)
{
    m->branch->durable_abort = true;
    if (m->branch->prepare_waits) {
        m->branch->prepare_waits = false;
        emit(m, PART_FX_VOTE_NO);
    }
    emit(m, PART_FX_ACK_ABORTED);
    emit(m, PART_FX_ENDED);
    return PART_ABORTED;
}

enum part_state part_on_force_failed(struct part_move *m)
{
    emit(m, PART_FX_HALT);
    return m->branch->state;
}

/* ---- Outcomes of our own ---- */

enum part_state part_on_operator(struct part_move *m)
{
    m->branch->heuristic = (uint8_t)outcome_of(m);
    emit(m, PART_FX_CANCEL_TIMER);
    emit(m, PART_FX_FORCE_HEURISTIC);
    return PART_RESOLVING;
}

enum part_state part_on_operator_again(struct part_move *m)
{
    if (m->branch->heuristic != outcome_of(m)) {
        return PART_REFUSED;
    }
    if (m->branch->retrying || m->branch->state == PART_HEUR_COMMIT ||
        m->branch->state == PART_HEUR_ABORT) {
        emit(m, PART_FX_OPERATOR_DONE);
    }
    return m->branch->state;
}

enum part_state part_on_heuristic_forced(struct part_move *m)
{
    if (m->branch->heuristic == PART_COMMIT) {
        emit(m, PART_FX_DB_COMMIT);
        return PART_HEUR_COMMITTING;
    }
    emit(m, PART_FX_DB_ABORT);
    return PART_HEUR_ABORTING;
}

enum part_state part_on_heuristic_done(struct part_move *m)
{
    m->branch->retrying = false;
    emit(m, PART_FX_OPERATOR_DONE);
    acknowledge_heuristic(m);
    if (m->branch->told == PART_NO_OUTCOME) {
        /* Was it right? */
        emit(m, PART_FX_ASK);
        emit(m, PART_FX_ARM_TIMER);
    }
    return m->ev->type == PART_EV_DB_COMMITTED ? PART_HEUR_COMMIT : PART_HEUR_ABORT;
}

enum part_state part_on_forget(struct part_move *m)
{
    if (!m->branch->forgetting) {
        m->branch->forgetting = true;
        if (!m->branch->telling) {
            emit(m, PART_FX_FORCE_FORGOTTEN);
        }
    }
    return m->branch->state;
}

static enum part_state told_recorded(struct part_move *m)
{
    m->branch->telling = false;
    m->branch->told_logged = true;
    acknowledge_heuristic(m);
    if (m->branch->forgetting) {
        emit(m, PART_FX_FORCE_FORGOTTEN);
    }
    return m->branch->state;
}

/* Forgotten; or told, which was under way before. */
enum part_state part_on_recorded(struct part_move *m)
{
    if (m->branch->telling) {
        return told_recorded(m);
    }
    if (!m->branch->forgetting) {
        return PART_REFUSED;
    }
    bool commit = m->branch->heuristic == PART_COMMIT;
    m->branch->forgetting = false;
    emit(m, PART_FX_CANCEL_TIMER);
    emit(m, PART_FX_OPERATOR_DONE);
    emit(m, commit ? PART_FX_ACK_COMMITTED : PART_FX_ACK_ABORTED); /* who came meanwhile */
    emit(m, PART_FX_ENDED);
    return commit ? PART_COMMITTED : PART_ABORTED;
}

enum part_state part_on_record_failed(struct part_move *m)
{
    bool any = m->branch->forgetting || m->branch->telling;
    return any ? part_on_force_failed(m) : PART_REFUSED;
}

/* ---- Recovery ---- */

enum part_state part_on_log_prepared(struct part_move *m)
{
    m->branch->voted_yes = true; /* it may have left */
    m->branch->logged = true;
    return PART_PREPARED;
}

enum part_state part_on_log_committed(struct part_move *m)
{
    note_told(m, PART_COMMIT);
    return PART_COMMITTED;
}

enum part_state part_on_log_aborted(struct part_move *m)
{
    note_told(m, PART_ABORT);
    m->branch->durable_abort = true;
    return PART_ABORTED;
}

enum part_state part_on_log_heuristic(struct part_move *m)
{
    bool commit = m->ev->type == PART_EV_LOG_HEUR_COMMIT;
    m->branch->heuristic = commit ? PART_COMMIT : PART_ABORT;
    return commit ? PART_HEUR_COMMITTING : PART_HEUR_ABORTING;
}

/* Of a branch with an outcome of its own this record says what was decided. Nobody is told before
 * the log has been read, so what says otherwise is not this log. */
enum part_state part_on_log_told(struct part_move *m)
{
    if (m->branch->told == PART_ABORT) {
        return PART_REFUSED;
    }
    note_told(m, PART_COMMIT);
    m->branch->told_logged = true;
    return m->branch->state;
}

enum part_state part_on_log_forgotten(struct part_move *m)
{
    return m->branch->heuristic == PART_COMMIT ? PART_COMMITTED : PART_ABORTED;
}

enum part_state part_on_restarted(struct part_move *m)
{
    if (m->branch->state == PART_HEUR_COMMITTING) {
        emit(m, PART_FX_DB_COMMIT);
    } else if (m->branch->state == PART_HEUR_ABORTING) {
        emit(m, PART_FX_DB_ABORT);
    } else if (m->branch->state == PART_COMMITTED || m->branch->state == PART_ABORTED) {
        emit(m, PART_FX_ENDED);
    } else if (m->branch->told == PART_NO_OUTCOME) {
        emit(m, PART_FX_ASK);
        emit(m, PART_FX_ARM_TIMER);
    }
    return m->branch->state;
}
