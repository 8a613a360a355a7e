/* The life of a transaction
 *
 * Two-phase commit, presumed abort. An interactive transaction is ACTIVE first: its branches do
 * their work step by step, and anything that goes wrong aborts it. Nothing of it is logged: after a
 * crash nobody knows it, which is abort. START sends every branch its prepare. The votes:
 *
 *   all read_only          COMMITTED at once: nothing to decide and nothing to recover.
 *   all yes or read_only   LOGGING: the commit record is being forced. From here on nothing
 *                          aborts: neither the caller, nor a time-out, nor a participant.
 *   anything else          ABORTING: whoever may hold work is told once. Nobody has to hear it:
 *                          a branch in doubt asks, and finds nothing, which is abort.
 *
 * FORCED in LOGGING is the only way to COMMITTING and so to SEND_COMMIT. There each branch is told
 * again until it answers; the end record is lazy.
 *
 * One-phase commit, for a transaction of one branch: the prepare carries the decision with it. When
 * its answer is lost only the participant knows the outcome. QUERYING forces a pending record,
 * ASKING then asks with an abort, which the participant obeys durably or answers "committed".
 *
 * The forced writes, and a crash at each:
 *
 *   commit record    Before it is durable: recovery finds nothing, the outcome is abort, nobody
 *                    was told otherwise. After: recovery finds COMMITTING and tells the branches,
 *                    again perhaps. A failed force may be either: HALT, and only a new start looks.
 *   pending record   Before it is durable: the client was told nothing, recovery finds nothing;
 *                    the branch is not in doubt, it ended one way or the other by itself. After:
 *                    recovery goes on asking, so that what the client was told comes true.
 *   end record       Lazy, never waited for. Lost: a committed branch is told once more and says
 *                    so once more; a one-phase outcome is asked for once more where it was pending,
 *                    else forgotten, as its participant may forget it; a hazard of an aborted
 *                    transaction is still shown by its participant.
 */
#include "coordinator/coord_fsm.h"

#include "base/tpc_assert.h"
#include "coordinator/coord_moves.h"

#include <string.h>

_Static_assert(sizeof(struct coord_txn) == 16, "no padding: compared as bytes");
_Static_assert(sizeof(struct coord_branch) == 18, "no padding: compared as bytes");

size_t coord_size(unsigned branch_count)
{
    return sizeof(struct coord_txn) + branch_count * sizeof(struct coord_branch);
}

void coord_init(struct coord_txn *txn, unsigned branch_count, bool one_phase)
{
    TPC_ASSERT(branch_count <= COORD_BRANCHES_MAX);
    TPC_ASSERT(!one_phase || branch_count == 1);
    memset(txn, 0, coord_size(branch_count));
    txn->branch_count = (uint8_t)branch_count;
    txn->one_phase = one_phase;
}

void coord_join(struct coord_txn *txn)
{
    TPC_ASSERT(txn->state == COORD_ACTIVE && txn->branch_count < COORD_BRANCHES_MAX);
    memset(&txn->branches[txn->branch_count], 0, sizeof txn->branches[0]);
    txn->branch_count++;
}

/* ---- Conditions of a row ---- */

static bool two_phase(const struct coord_move *m)
{
    return !m->txn->one_phase;
}

static bool one_phase(const struct coord_move *m)
{
    return m->txn->one_phase;
}

static bool commit_record(const struct coord_move *m)
{
    return !m->txn->one_phase && m->ev->branches != 0 &&
           (m->ev->branches & ~coord_all_branches(m->txn)) == 0;
}

static bool end_record(const struct coord_move *m)
{
    return (m->ev->branches & ~coord_all_branches(m->txn)) == 0;
}

static bool end_of_commit(const struct coord_move *m)
{
    return m->ev->commit && end_record(m);
}

static bool end_of_abort(const struct coord_move *m)
{
    return !m->ev->commit && end_record(m);
}

/* ---- The table: an empty cell is a protocol error ---- */

struct row {
    enum coord_state (*handle)(const struct coord_move *m);
    bool (*condition)(const struct coord_move *m);
    uint32_t to;
};

/* clang-format off */
#define TO(state)                 (UINT32_C(1) << COORD_##state)
#define ON(handler, states)       { coord_on_##handler, NULL, states }
#define IF(test, handler, states) { coord_on_##handler, test, states }
/* A repeat, or too late to change anything. */
#define LATE(state, event)        [COORD_##state][COORD_EV_##event] = ON(late, TO(state))

static const struct row table[COORD_STATE_COUNT][COORD_EVENT_COUNT] = {
[COORD_NONE][COORD_EV_OPEN]                 = IF(two_phase, open, TO(ACTIVE)),
[COORD_NONE][COORD_EV_START]                = ON(start, TO(PREPARING)),
[COORD_NONE][COORD_EV_LOG_COMMIT]           = IF(commit_record, log_commit, TO(COMMITTING)),
[COORD_NONE][COORD_EV_LOG_PENDING]          = IF(one_phase, log_pending, TO(ASKING)),
[COORD_NONE][COORD_EV_LOG_END]              = IF(end_record, log_end, TO(COMMITTED) | TO(ABORTED)),

/* Two-phase only. A step that is refused has undone its branch; of one that is lost nobody knows. */
[COORD_ACTIVE][COORD_EV_START]              = ON(start_active, TO(PREPARING) | TO(COMMITTED)),
[COORD_ACTIVE][COORD_EV_VOTE_NO]            = ON(vote_no, TO(ABORTING) | TO(ABORTED)),
[COORD_ACTIVE][COORD_EV_UNREACHABLE]        = ON(give_up, TO(ABORTING)),
[COORD_ACTIVE][COORD_EV_LOST]               = ON(give_up, TO(ABORTING)),
[COORD_ACTIVE][COORD_EV_TIMEOUT]            = ON(give_up, TO(ABORTING) | TO(ABORTED)),
[COORD_ACTIVE][COORD_EV_CLIENT_ABORT]       = ON(give_up, TO(ABORTING) | TO(ABORTED)),
LATE(ACTIVE, RETRY),
LATE(ACTIVE, GRACE),

[COORD_PREPARING][COORD_EV_VOTE_YES]        = IF(two_phase, vote,
                                                 TO(PREPARING) | TO(LOGGING) | TO(ABORTING)),
[COORD_PREPARING][COORD_EV_VOTE_READ_ONLY]  = ON(vote, TO(PREPARING) | TO(LOGGING) |
                                                          TO(COMMITTED) | TO(ABORTING)),
[COORD_PREPARING][COORD_EV_VOTE_COMMITTED]  = IF(one_phase, vote_committed, TO(COMMITTED)),
[COORD_PREPARING][COORD_EV_VOTE_NO]         = ON(vote_no, TO(ABORTING) | TO(ABORTED)),
[COORD_PREPARING][COORD_EV_UNREACHABLE]     = ON(prepare_undelivered,
                                                 TO(PREPARING) | TO(ABORTING) | TO(ABORTED)),
[COORD_PREPARING][COORD_EV_LOST]            = ON(prepare_lost,
                                                 TO(PREPARING) | TO(ABORTING) | TO(QUERYING)),
[COORD_PREPARING][COORD_EV_TIMEOUT]         = ON(give_up, TO(ABORTING) | TO(QUERYING)),
[COORD_PREPARING][COORD_EV_CLIENT_ABORT]    = ON(give_up, TO(ABORTING) | TO(QUERYING)),
LATE(PREPARING, RETRY),
LATE(PREPARING, GRACE),

/* Two-phase only. Too late to abort, whoever asks for it. */
LATE(LOGGING, VOTE_YES),
LATE(LOGGING, VOTE_READ_ONLY),
LATE(LOGGING, VOTE_NO),
LATE(LOGGING, UNREACHABLE),
LATE(LOGGING, LOST),
LATE(LOGGING, TIMEOUT),
LATE(LOGGING, CLIENT_ABORT),
LATE(LOGGING, RETRY),
LATE(LOGGING, GRACE),
[COORD_LOGGING][COORD_EV_FORCED]            = ON(forced, TO(COMMITTING)),
[COORD_LOGGING][COORD_EV_FORCE_FAILED]      = ON(force_failed, TO(LOGGING)),

/* Two-phase only. */
[COORD_COMMITTING][COORD_EV_ACK_COMMITTED]  = ON(commit_ack, TO(COMMITTING) | TO(COMMITTED)),
[COORD_COMMITTING][COORD_EV_ACK_ABORTED]    = ON(commit_ack, TO(COMMITTING) | TO(COMMITTED)),
[COORD_COMMITTING][COORD_EV_ACK_UNKNOWN]    = ON(commit_ack, TO(COMMITTING) | TO(COMMITTED)),
[COORD_COMMITTING][COORD_EV_UNREACHABLE]    = ON(commit_lost, TO(COMMITTING)),
[COORD_COMMITTING][COORD_EV_LOST]           = ON(commit_lost, TO(COMMITTING)),
[COORD_COMMITTING][COORD_EV_RETRY]          = ON(commit_retry, TO(COMMITTING)),
LATE(COMMITTING, VOTE_YES),
LATE(COMMITTING, VOTE_READ_ONLY),
LATE(COMMITTING, VOTE_NO),
LATE(COMMITTING, TIMEOUT),
LATE(COMMITTING, CLIENT_ABORT),
LATE(COMMITTING, GRACE),
[COORD_COMMITTING][COORD_EV_LOG_END]        = IF(end_of_commit, log_end, TO(COMMITTED)),
[COORD_COMMITTING][COORD_EV_RESTARTED]      = ON(restarted, TO(COMMITTING)),

[COORD_COMMITTED][COORD_EV_VOTE_YES]        = IF(two_phase, late, TO(COMMITTED)),
LATE(COMMITTED, VOTE_READ_ONLY),
[COORD_COMMITTED][COORD_EV_VOTE_COMMITTED]  = IF(one_phase, late, TO(COMMITTED)),
LATE(COMMITTED, VOTE_NO),
LATE(COMMITTED, ACK_COMMITTED),
LATE(COMMITTED, ACK_ABORTED),
LATE(COMMITTED, ACK_UNKNOWN),
LATE(COMMITTED, UNREACHABLE),
LATE(COMMITTED, LOST),
LATE(COMMITTED, TIMEOUT),
LATE(COMMITTED, CLIENT_ABORT),
LATE(COMMITTED, RETRY),
LATE(COMMITTED, GRACE),
[COORD_COMMITTED][COORD_EV_LOG_END]         = IF(end_of_commit, log_end, TO(COMMITTED)),
LATE(COMMITTED, RESTARTED),

/* One-phase only. */
[COORD_QUERYING][COORD_EV_VOTE_READ_ONLY]   = ON(query_vote, TO(QUERYING)),
[COORD_QUERYING][COORD_EV_VOTE_COMMITTED]   = ON(query_vote, TO(QUERYING)),
[COORD_QUERYING][COORD_EV_VOTE_NO]          = ON(query_vote, TO(QUERYING)),
[COORD_QUERYING][COORD_EV_UNREACHABLE]      = ON(query_undelivered, TO(QUERYING)),
[COORD_QUERYING][COORD_EV_FORCED]           = ON(query_forced,
                                                 TO(ASKING) | TO(COMMITTED) | TO(ABORTED)),
[COORD_QUERYING][COORD_EV_FORCE_FAILED]     = ON(force_failed, TO(QUERYING)),
LATE(QUERYING, LOST),
LATE(QUERYING, TIMEOUT),
LATE(QUERYING, CLIENT_ABORT),
LATE(QUERYING, RETRY),
LATE(QUERYING, GRACE),

/* One-phase only. */
[COORD_ASKING][COORD_EV_VOTE_READ_ONLY]     = ON(ask_aborted, TO(ABORTED)),
[COORD_ASKING][COORD_EV_VOTE_COMMITTED]     = ON(ask_committed, TO(COMMITTED)),
[COORD_ASKING][COORD_EV_ACK_COMMITTED]      = ON(ask_committed, TO(COMMITTED)),
[COORD_ASKING][COORD_EV_VOTE_NO]            = ON(ask_aborted, TO(ABORTED)),
[COORD_ASKING][COORD_EV_ACK_ABORTED]        = ON(ask_aborted, TO(ABORTED)),
[COORD_ASKING][COORD_EV_ACK_UNKNOWN]        = ON(ask_aborted, TO(ABORTED)),
[COORD_ASKING][COORD_EV_UNREACHABLE]        = ON(ask_lost, TO(ASKING)),
[COORD_ASKING][COORD_EV_LOST]               = ON(ask_lost, TO(ASKING)),
[COORD_ASKING][COORD_EV_RETRY]              = ON(ask, TO(ASKING)),
[COORD_ASKING][COORD_EV_RESTARTED]          = ON(ask, TO(ASKING)),
LATE(ASKING, TIMEOUT),
LATE(ASKING, CLIENT_ABORT),
LATE(ASKING, GRACE),
[COORD_ASKING][COORD_EV_LOG_END]            = IF(end_record, log_end, TO(COMMITTED) | TO(ABORTED)),

/* Two-phase only. */
[COORD_ABORTING][COORD_EV_VOTE_YES]         = ON(late_yes, TO(ABORTING)),
[COORD_ABORTING][COORD_EV_VOTE_READ_ONLY]   = ON(abort_answer, TO(ABORTING) | TO(ABORTED)),
[COORD_ABORTING][COORD_EV_VOTE_NO]          = ON(abort_answer, TO(ABORTING) | TO(ABORTED)),
[COORD_ABORTING][COORD_EV_ACK_ABORTED]      = ON(abort_answer, TO(ABORTING) | TO(ABORTED)),
[COORD_ABORTING][COORD_EV_ACK_UNKNOWN]      = ON(abort_answer, TO(ABORTING) | TO(ABORTED)),
[COORD_ABORTING][COORD_EV_UNREACHABLE]      = ON(abort_answer, TO(ABORTING) | TO(ABORTED)),
[COORD_ABORTING][COORD_EV_LOST]             = ON(abort_answer, TO(ABORTING) | TO(ABORTED)),
[COORD_ABORTING][COORD_EV_ACK_COMMITTED]    = ON(abort_committed, TO(ABORTING) | TO(ABORTED)),
[COORD_ABORTING][COORD_EV_GRACE]            = ON(grace, TO(ABORTED)),
LATE(ABORTING, TIMEOUT),
LATE(ABORTING, CLIENT_ABORT),
LATE(ABORTING, RETRY),

[COORD_ABORTED][COORD_EV_VOTE_YES]          = IF(two_phase, late_yes, TO(ABORTED)),
[COORD_ABORTED][COORD_EV_VOTE_COMMITTED]    = IF(one_phase, late_committed, TO(ABORTED)),
[COORD_ABORTED][COORD_EV_ACK_COMMITTED]     = ON(late_committed, TO(ABORTED)),
LATE(ABORTED, VOTE_READ_ONLY),
LATE(ABORTED, VOTE_NO),
LATE(ABORTED, ACK_ABORTED),
LATE(ABORTED, ACK_UNKNOWN),
LATE(ABORTED, UNREACHABLE),
LATE(ABORTED, LOST),
LATE(ABORTED, TIMEOUT),
LATE(ABORTED, CLIENT_ABORT),
LATE(ABORTED, RETRY),
LATE(ABORTED, GRACE),
[COORD_ABORTED][COORD_EV_LOG_END]           = IF(end_of_abort, log_end, TO(ABORTED)),
LATE(ABORTED, RESTARTED),
};
/* clang-format on */

uint32_t coord_allowed(enum coord_state state, enum coord_event_type type)
{
    TPC_ASSERT(state < COORD_STATE_COUNT && type < COORD_EVENT_COUNT);
    return table[state][type].to;
}

/* ---- The step ---- */

static bool has_from(enum coord_event_type type)
{
    const uint64_t with = TPC_BIT(COORD_EV_VOTE_YES) | TPC_BIT(COORD_EV_VOTE_READ_ONLY) |
                          TPC_BIT(COORD_EV_VOTE_COMMITTED) | TPC_BIT(COORD_EV_VOTE_NO) |
                          TPC_BIT(COORD_EV_UNREACHABLE) | TPC_BIT(COORD_EV_LOST) |
                          TPC_BIT(COORD_EV_ACK_COMMITTED) | TPC_BIT(COORD_EV_ACK_ABORTED) |
                          TPC_BIT(COORD_EV_ACK_UNKNOWN) | TPC_BIT(COORD_EV_RETRY);
    return (with & TPC_BIT(type)) != 0;
}

static void check_invariant(const struct coord_txn *txn)
{
    uint64_t all = coord_all_branches(txn);
    bool decided_by_vote = txn->state == COORD_LOGGING || txn->state == COORD_COMMITTING;
    bool asks = txn->state == COORD_QUERYING || txn->state == COORD_ASKING;
    uint64_t yes = coord_voters(txn, COORD_VOTE_YES);
    TPC_ASSERT((txn->hazards & ~all) == 0);
    TPC_ASSERT(!asks || txn->one_phase);
    TPC_ASSERT(!(decided_by_vote || txn->state == COORD_ABORTING || txn->state == COORD_ACTIVE) ||
               !txn->one_phase);
    TPC_ASSERT(!decided_by_vote ||
               (yes != 0 && (yes | coord_voters(txn, COORD_VOTE_READ_ONLY)) == all));
}

enum tpc_rc coord_step(struct coord_txn *txn, const struct coord_event *event,
                       struct coord_effects *out)
{
    TPC_ASSERT(txn->state < COORD_STATE_COUNT && event->type < COORD_EVENT_COUNT);
    unsigned from = has_from(event->type) ? event->from : 0;
    TPC_ASSERT(!has_from(event->type) || from < txn->branch_count);
    const struct coord_move move = {
        .txn = txn, .ev = event, .out = out, .branch = &txn->branches[from], .bit = TPC_BIT(from)};
    const struct row *row = &table[txn->state][event->type];
    if (row->handle == NULL || (row->condition != NULL && !row->condition(&move))) {
        return TPC_EPROTO;
    }
    out->count = 0;
    enum coord_state next = row->handle(&move);
    TPC_ASSERT((row->to & TPC_BIT(next)) != 0);
    txn->state = (uint8_t)next;
    check_invariant(txn);
    return TPC_OK;
}

/* ---- What may be told ---- */

enum coord_outcome coord_outcome(const struct coord_txn *txn)
{
    bool commit = txn->state == COORD_COMMITTING || txn->state == COORD_COMMITTED;
    bool abort = txn->state == COORD_ABORTING || txn->state == COORD_ABORTED;
    return commit ? COORD_COMMIT : abort ? COORD_ABORT : COORD_UNDECIDED;
}

/* A hazard that is forgotten leaves the branch's end as it was. UNKNOWN says nothing of an abort:
 * such a branch was only not heard from. */
uint64_t coord_forgotten(const struct coord_txn *txn)
{
    uint64_t other = 0;
    for (unsigned i = 0; i < txn->branch_count; i++) {
        enum coord_end end = (enum coord_end)txn->branches[i].end;
        bool differs =
            txn->state == COORD_COMMITTED
                ? end == COORD_END_ABORTED || end == COORD_END_UNKNOWN || end == COORD_END_OTHER
                : txn->state == COORD_ABORTED &&
                      (end == COORD_END_COMMITTED || end == COORD_END_OTHER);
        other |= differs ? TPC_BIT(i) : 0;
    }
    return other & ~txn->hazards;
}

static bool voted_yes(const struct coord_txn *txn, const struct tpc_id *participant)
{
    for (unsigned i = 0; i < txn->branch_count; i++) {
        const struct coord_branch *branch = &txn->branches[i];
        if (branch->vote == COORD_VOTE_YES &&
            memcmp(&branch->participant, participant, sizeof *participant) == 0) {
            return true;
        }
    }
    return false;
}

/* Of a transaction that is there only what may be told: while votes are collected or a record is
 * being forced the branch has to wait and ask again. */
enum coord_outcome coord_inquiry(const struct coord_txn *txn, const struct tpc_id *participant)
{
    enum coord_outcome outcome = txn == NULL ? COORD_ABORT : coord_outcome(txn);
    return outcome == COORD_COMMIT && !voted_yes(txn, participant) ? COORD_ABORT : outcome;
}
