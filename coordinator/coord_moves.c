/* What each move of the state machine does; coord_fsm.c says when it is made, and why. Pure. */
#include "coordinator/coord_moves.h"

#include "base/tpc_assert.h"

#include <string.h>

/* ---- What is known of the branches ---- */

uint64_t coord_all_branches(const struct coord_txn *txn)
{
    return txn->branch_count < 64 ? TPC_BIT(txn->branch_count) - 1 : UINT64_MAX;
}

uint64_t coord_voters(const struct coord_txn *txn, enum coord_vote vote)
{
    uint64_t found = 0;
    for (unsigned i = 0; i < txn->branch_count; i++) {
        found |= txn->branches[i].vote == vote ? TPC_BIT(i) : 0;
    }
    return found;
}

static uint64_t without_end(const struct coord_txn *txn)
{
    uint64_t found = 0;
    for (unsigned i = 0; i < txn->branch_count; i++) {
        found |= txn->branches[i].end == COORD_END_NONE ? TPC_BIT(i) : 0;
    }
    return found;
}

/* Those that hold work, or may, and have not ended. */
static uint64_t commit_pending(const struct coord_txn *txn)
{
    return without_end(txn) & coord_voters(txn, COORD_VOTE_YES);
}

static uint64_t abort_pending(const struct coord_txn *txn)
{
    return without_end(txn) &
           (coord_voters(txn, COORD_VOTE_YES) | coord_voters(txn, COORD_VOTE_NONE));
}

/* ---- What a handler does ---- */

/* Another log answers than the one that voted: the participant lost its log in between. */
static bool is_other(const struct coord_move *m)
{
    static const struct tpc_id unknown;
    const struct tpc_id *known = &m->branch->participant;
    return memcmp(known, &unknown, sizeof unknown) != 0 &&
           memcmp(known, &m->ev->participant, sizeof unknown) != 0;
}

static enum coord_vote vote_of(const struct coord_event *ev)
{
    return ev->type == COORD_EV_VOTE_YES         ? COORD_VOTE_YES
           : ev->type == COORD_EV_VOTE_READ_ONLY ? COORD_VOTE_READ_ONLY
           : ev->type == COORD_EV_VOTE_COMMITTED ? COORD_VOTE_COMMITTED
                                                 : COORD_VOTE_NO;
}

/* The first vote counts. */
static void note_vote(const struct coord_move *m)
{
    if (m->branch->vote == COORD_VOTE_NONE) {
        m->branch->vote = (uint8_t)vote_of(m->ev);
        m->branch->participant = m->ev->participant;
    }
}

static void emit(const struct coord_move *m, enum coord_effect_type type, uint64_t branches)
{
    TPC_ASSERT(m->out->count < COORD_EFFECTS_MAX);
    m->out->items[m->out->count++] = (struct coord_effect){.type = type, .branches = branches};
}

/* What an answer, or its absence, says of the branch's end. */
static enum coord_end end_of(const struct coord_move *m)
{
    if (m->ev->type == COORD_EV_LOST || m->ev->type == COORD_EV_UNREACHABLE) {
        return COORD_END_UNKNOWN;
    }
    if (is_other(m)) {
        return COORD_END_OTHER;
    }
    return m->ev->type == COORD_EV_ACK_UNKNOWN     ? COORD_END_UNKNOWN
           : m->ev->type == COORD_EV_ACK_COMMITTED ? COORD_END_COMMITTED
                                                   : COORD_END_ABORTED;
}

static void note_end(const struct coord_move *m, enum coord_end end, enum coord_end expected)
{
    m->branch->end = (uint8_t)end;
    if (end != expected) {
        m->txn->hazards |= m->bit;
        emit(m, COORD_FX_SHOW_HAZARD, m->bit);
    }
}

/* ---- Moves that several handlers make ---- */

static enum coord_state decide_abort(const struct coord_move *m)
{
    uint64_t pending = abort_pending(m->txn);
    emit(m, COORD_FX_CANCEL_TIMEOUT, 0);
    emit(m, COORD_FX_TELL_DECIDED, 0);
    if (pending == 0) {
        emit(m, COORD_FX_TELL_ENDED, 0);
        return COORD_ABORTED;
    }
    emit(m, COORD_FX_SEND_ABORT, pending);
    emit(m, COORD_FX_ARM_GRACE, 0);
    return COORD_ABORTING;
}

static enum coord_state when_aborted(const struct coord_move *m)
{
    if (abort_pending(m->txn) != 0) {
        return COORD_ABORTING;
    }
    if (m->txn->hazards != 0) {
        emit(m, COORD_FX_LOG_END, 0);
    }
    emit(m, COORD_FX_TELL_ENDED, 0);
    return COORD_ABORTED;
}

static enum coord_state ask(const struct coord_move *m)
{
    emit(m, COORD_FX_SEND_ABORT, m->bit);
    return COORD_ASKING;
}

static enum coord_state end_one_phase(const struct coord_move *m, enum coord_state state)
{
    emit(m, COORD_FX_LOG_END, 0);
    emit(m, COORD_FX_TELL_DECIDED, 0);
    emit(m, COORD_FX_TELL_ENDED, 0);
    return state;
}

/* ---- Handlers: each says where the transaction goes ---- */

/* A repeat, or too late to change anything. */
enum coord_state coord_on_late(const struct coord_move *m)
{
    return (enum coord_state)m->txn->state;
}

enum coord_state coord_on_start(const struct coord_move *m)
{
    TPC_ASSERT(m->txn->branch_count > 0);
    emit(m, COORD_FX_SEND_PREPARE, coord_all_branches(m->txn));
    emit(m, COORD_FX_ARM_TIMEOUT, 0);
    return COORD_PREPARING;
}

enum coord_state coord_on_open(const struct coord_move *m)
{
    emit(m, COORD_FX_ARM_TIMEOUT, 0);
    return COORD_ACTIVE;
}

enum coord_state coord_on_start_active(const struct coord_move *m)
{
    if (m->txn->branch_count > 0) {
        return coord_on_start(m);
    }
    emit(m, COORD_FX_CANCEL_TIMEOUT, 0);
    emit(m, COORD_FX_TELL_DECIDED, 0);
    emit(m, COORD_FX_TELL_ENDED, 0);
    return COORD_COMMITTED;
}

/* Yes or read_only. */
enum coord_state coord_on_vote(const struct coord_move *m)
{
    if (m->branch->vote != COORD_VOTE_NONE) {
        bool same_vote = m->branch->vote == vote_of(m->ev);
        if (same_vote && (m->branch->vote == COORD_VOTE_READ_ONLY || !is_other(m))) {
            return COORD_PREPARING;
        }
        /* It contradicts itself: a prepare was carried out twice, or its log was lost after the
         * vote. What it holds is not what was voted on, and it is not too late. */
        m->branch->vote = COORD_VOTE_YES;
        return decide_abort(m);
    }
    note_vote(m);
    if (coord_voters(m->txn, COORD_VOTE_NONE) != 0) {
        return COORD_PREPARING;
    }
    emit(m, COORD_FX_CANCEL_TIMEOUT, 0);
    if (coord_voters(m->txn, COORD_VOTE_YES) == 0) {
        emit(m, COORD_FX_TELL_DECIDED, 0);
        emit(m, COORD_FX_TELL_ENDED, 0);
        return COORD_COMMITTED;
    }
    /* If we crash before this record is durable the outcome is abort, and nobody was told
     * otherwise. */
    emit(m, COORD_FX_FORCE_COMMIT, 0);
    return COORD_LOGGING;
}

enum coord_state coord_on_vote_committed(const struct coord_move *m)
{
    note_vote(m);
    m->branch->end = COORD_END_COMMITTED;
    emit(m, COORD_FX_CANCEL_TIMEOUT, 0);
    return end_one_phase(m, COORD_COMMITTED);
}

/* One that said yes before still has to be told. */
enum coord_state coord_on_vote_no(const struct coord_move *m)
{
    note_vote(m);
    return decide_abort(m);
}

/* The prepare never got there, so nothing is there. A vote that is in hand stays so. */
enum coord_state coord_on_prepare_undelivered(const struct coord_move *m)
{
    if (m->branch->vote != COORD_VOTE_NONE) {
        return COORD_PREPARING;
    }
    m->branch->end = COORD_END_ABORTED;
    return decide_abort(m);
}

enum coord_state coord_on_give_up(const struct coord_move *m)
{
    if (!m->txn->one_phase) {
        return decide_abort(m);
    }
    /* If we crash before this record is durable nobody was told anything, and the branch is not in
     * doubt. Once it is we may say that we ask, since we shall go on asking. */
    emit(m, COORD_FX_CANCEL_TIMEOUT, 0);
    emit(m, COORD_FX_FORCE_PENDING, 0);
    return COORD_QUERYING;
}

enum coord_state coord_on_prepare_lost(const struct coord_move *m)
{
    return m->branch->vote == COORD_VOTE_NONE ? coord_on_give_up(m) : COORD_PREPARING;
}

/* The record may be there or not, and no later force would tell. */
enum coord_state coord_on_force_failed(const struct coord_move *m)
{
    emit(m, COORD_FX_HALT, 0);
    return (enum coord_state)m->txn->state;
}

/* ---- Commit ---- */

enum coord_state coord_on_forced(const struct coord_move *m)
{
    /* If we crash from here on, recovery reads the record and tells the branches. */
    emit(m, COORD_FX_SEND_COMMIT, commit_pending(m->txn));
    emit(m, COORD_FX_TELL_DECIDED, 0);
    return COORD_COMMITTING;
}

enum coord_state coord_on_restarted(const struct coord_move *m)
{
    emit(m, COORD_FX_SEND_COMMIT, commit_pending(m->txn));
    return COORD_COMMITTING;
}

enum coord_state coord_on_commit_ack(const struct coord_move *m)
{
    if ((commit_pending(m->txn) & m->bit) == 0) {
        return COORD_COMMITTING;
    }
    note_end(m, end_of(m), COORD_END_COMMITTED);
    if (commit_pending(m->txn) != 0) {
        return COORD_COMMITTING;
    }
    emit(m, COORD_FX_LOG_END, 0);
    emit(m, COORD_FX_TELL_ENDED, 0);
    return COORD_COMMITTED;
}

enum coord_state coord_on_commit_lost(const struct coord_move *m)
{
    if ((commit_pending(m->txn) & m->bit) != 0) {
        emit(m, COORD_FX_RETRY_LATER, m->bit);
    }
    return COORD_COMMITTING;
}

enum coord_state coord_on_commit_retry(const struct coord_move *m)
{
    if ((commit_pending(m->txn) & m->bit) != 0) {
        emit(m, COORD_FX_SEND_COMMIT, m->bit);
    }
    return COORD_COMMITTING;
}

/* ---- One-phase, the answer lost ---- */

/* The answer came after all, but the pending record may become durable, so the outcome waits until
 * its end record can follow. */
enum coord_state coord_on_query_vote(const struct coord_move *m)
{
    if (!is_other(m)) {
        note_vote(m);
    }
    return COORD_QUERYING;
}

enum coord_state coord_on_query_undelivered(const struct coord_move *m)
{
    m->branch->end = COORD_END_ABORTED;
    return COORD_QUERYING;
}

enum coord_state coord_on_query_forced(const struct coord_move *m)
{
    if (m->branch->vote == COORD_VOTE_COMMITTED) {
        m->branch->end = COORD_END_COMMITTED;
        return end_one_phase(m, COORD_COMMITTED);
    }
    if (m->branch->vote == COORD_VOTE_NO || m->branch->vote == COORD_VOTE_READ_ONLY ||
        m->branch->end == COORD_END_ABORTED) {
        return end_one_phase(m, COORD_ABORTED);
    }
    /* If we crash from here on, recovery reads the record and goes on asking. */
    emit(m, COORD_FX_TELL_UNKNOWN, 0);
    return ask(m);
}

enum coord_state coord_on_ask(const struct coord_move *m)
{
    return ask(m);
}

enum coord_state coord_on_ask_lost(const struct coord_move *m)
{
    emit(m, COORD_FX_RETRY_LATER, m->bit);
    return COORD_ASKING;
}

/* The participant committed. Should another log say so, from what the database holds, then that is
 * the outcome, and a hazard all the same. */
enum coord_state coord_on_ask_committed(const struct coord_move *m)
{
    if (is_other(m)) {
        note_end(m, COORD_END_OTHER, COORD_END_COMMITTED);
        return end_one_phase(m, COORD_COMMITTED);
    }
    if (m->ev->type != COORD_EV_ACK_COMMITTED) {
        note_vote(m);
    }
    m->branch->end = COORD_END_COMMITTED;
    return end_one_phase(m, COORD_COMMITTED);
}

/* Without proof of a commit the outcome is abort: with a hazard, unless the log that was asked to
 * do the work says itself that it did not, or that there was nothing to commit. (Read_only is no
 * commit here: the participant keeps no proof of it, and when our end record is lost and we ask
 * again it says "aborted".) */
enum coord_state coord_on_ask_aborted(const struct coord_move *m)
{
    enum coord_end end = end_of(m);
    bool vote = m->ev->type == COORD_EV_VOTE_NO || m->ev->type == COORD_EV_VOTE_READ_ONLY;
    if (vote && end == COORD_END_ABORTED) {
        note_vote(m);
    }
    note_end(m, end, COORD_END_ABORTED);
    return end_one_phase(m, COORD_ABORTED);
}

/* ---- Abort ---- */

/* Any answer will do, and none too: the branch will ask. A vote of no is not noted: it says that
 * the abort overtook the prepare, not what the branch would have voted. */
enum coord_state coord_on_abort_answer(const struct coord_move *m)
{
    if ((abort_pending(m->txn) & m->bit) == 0) {
        return COORD_ABORTING;
    }
    m->branch->end = (uint8_t)end_of(m);
    if (m->ev->type == COORD_EV_VOTE_READ_ONLY) {
        note_vote(m);
    }
    return when_aborted(m);
}

/* An operator committed it by hand. Whichever log says so, something is committed. */
enum coord_state coord_on_abort_committed(const struct coord_move *m)
{
    if (m->branch->end == COORD_END_COMMITTED) {
        return COORD_ABORTING;
    }
    note_end(m, COORD_END_COMMITTED, COORD_END_ABORTED);
    return when_aborted(m);
}

enum coord_state coord_on_grace(const struct coord_move *m)
{
    uint64_t silent = abort_pending(m->txn);
    for (unsigned i = 0; i < m->txn->branch_count; i++) {
        if ((silent & TPC_BIT(i)) != 0) {
            m->txn->branches[i].end = COORD_END_UNKNOWN;
        }
    }
    return when_aborted(m);
}

/* It holds locks for nothing. When its abort is on the way, or was obeyed, the vote was overtaken
 * and one more abort would only cost messages. Else the abort was lost, or there was none. */
enum coord_state coord_on_late_yes(const struct coord_move *m)
{
    bool told = (abort_pending(m->txn) & m->bit) != 0 || m->branch->end == COORD_END_ABORTED;
    note_vote(m);
    if (!told) {
        emit(m, COORD_FX_SEND_ABORT, m->bit);
    }
    return (enum coord_state)m->txn->state;
}

enum coord_state coord_on_late_committed(const struct coord_move *m)
{
    if (m->branch->end != COORD_END_COMMITTED) {
        note_end(m, COORD_END_COMMITTED, COORD_END_ABORTED);
        emit(m, COORD_FX_LOG_END, 0);
    }
    return COORD_ABORTED;
}

/* ---- Recovery ---- */

enum coord_state coord_on_log_commit(const struct coord_move *m)
{
    for (unsigned i = 0; i < m->txn->branch_count; i++) {
        bool yes = (m->ev->branches & TPC_BIT(i)) != 0;
        m->txn->branches[i].vote = yes ? COORD_VOTE_YES : COORD_VOTE_READ_ONLY;
    }
    return COORD_COMMITTING;
}

enum coord_state coord_on_log_pending(const struct coord_move *m)
{
    (void)m;
    return COORD_ASKING;
}

/* Of a hazard the event does not tell the nature; the fold fills it in from the record. The last
 * record tells all hazards that there are: what it leaves out has been forgotten. */
enum coord_state coord_on_log_end(const struct coord_move *m)
{
    enum coord_end end = m->ev->commit ? COORD_END_COMMITTED : COORD_END_ABORTED;
    uint64_t without =
        coord_voters(m->txn, COORD_VOTE_READ_ONLY) | coord_voters(m->txn, COORD_VOTE_NO);
    uint64_t open = without_end(m->txn) & ~without;
    for (unsigned i = 0; i < m->txn->branch_count; i++) {
        if ((m->ev->branches & TPC_BIT(i)) != 0) {
            m->txn->branches[i].end = COORD_END_UNKNOWN;
        } else if ((open & TPC_BIT(i)) != 0) {
            m->txn->branches[i].end = (uint8_t)end;
        }
    }
    m->txn->hazards = m->ev->branches;
    return m->ev->commit ? COORD_COMMITTED : COORD_ABORTED;
}
