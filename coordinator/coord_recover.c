/* What a log means: its records as events of the state machine, in the order they were written.
 *
 *   COMMIT        decided: COMMITTING, whoever voted yes is to be told
 *   COMMIT END    over
 *   PENDING       a one-phase outcome nobody here knows: ASKING
 *   PENDING END   over
 *   END           over without a forced record: a one-phase commit, or an abort with a hazard
 *   END END       one more hazard of an abort, or all hazards forgotten: the last one counts
 *
 * Nothing else can have been written. A transaction without a record is presumed aborted. */
#include "coordinator/coord_record.h"

#include "base/tpc_assert.h"

static const char *kind_name(enum wal_kind kind)
{
    return kind == WAL_COORD_COMMIT ? "commit" : kind == WAL_COORD_PENDING ? "pending" : "end";
}

static struct coord_event event_of(enum wal_kind kind, const struct coord_record *record)
{
    struct coord_event event = {.type = kind == WAL_COORD_COMMIT    ? COORD_EV_LOG_COMMIT
                                        : kind == WAL_COORD_PENDING ? COORD_EV_LOG_PENDING
                                                                    : COORD_EV_LOG_END,
                                .commit = record->commit};
    for (unsigned i = 0; i < record->branch_count; i++) {
        const struct coord_record_branch *branch = &record->branches[i];
        bool named = kind == WAL_COORD_COMMIT    ? branch->vote == COORD_VOTE_YES
                     : kind == WAL_COORD_PENDING ? true
                                                 : branch->end != COORD_END_NONE;
        event.branches |= named ? TPC_BIT(i) : 0;
    }
    return event;
}

/* What the event could not say. */
static void note_branches(struct coord_txn *txn, enum wal_kind kind,
                          const struct coord_record *record)
{
    for (unsigned i = 0; i < record->branch_count; i++) {
        const struct coord_record_branch *from = &record->branches[i];
        struct coord_branch *to = &txn->branches[i];
        to->participant = from->participant;
        if (kind != WAL_COORD_END) {
            continue;
        }
        to->vote = (uint8_t)from->vote;
        if (from->end != COORD_END_NONE) {
            to->end = (uint8_t)from->end;
        } else if (from->vote == COORD_VOTE_READ_ONLY || from->vote == COORD_VOTE_NO) {
            to->end = COORD_END_NONE;
        }
    }
}

enum tpc_rc coord_recover_fold(struct coord_txn *txn, enum wal_kind kind,
                               const struct coord_record *record, struct tpc_err *reterr)
{
    TPC_ASSERT(kind == WAL_COORD_COMMIT || kind == WAL_COORD_PENDING || kind == WAL_COORD_END);
    char gtid[TPC_ID_TEXT];
    if (record->one_phase != txn->one_phase ||
        (record->branch_count != 0 && record->branch_count != txn->branch_count)) {
        return tpc_fail(reterr, TPC_ECORRUPT,
                        "the log's %s record of transaction %s is about other branches than its "
                        "first record",
                        kind_name(kind), tpc_id_format(&record->gtid, gtid));
    }
    const struct coord_event event = event_of(kind, record);
    enum coord_state before = (enum coord_state)txn->state;
    struct coord_effects effects;
    if (coord_step(txn, &event, &effects) != TPC_OK) {
        return tpc_fail(reterr, TPC_ECORRUPT,
                        "the log has a %s record of transaction %s that cannot follow its earlier "
                        "ones, which make it %s",
                        kind_name(kind), tpc_id_format(&record->gtid, gtid),
                        coord_state_name(before));
    }
    TPC_ASSERT(effects.count == 0);
    note_branches(txn, kind, record);
    return TPC_OK;
}
