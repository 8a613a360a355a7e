#include "participant/part_record.h"

/* PART_EVENT_COUNT: means nothing for a branch. */
static enum part_event_type event_of(enum wal_kind kind, const struct part_record *record)
{
    switch ((int)kind) {
    case WAL_PART_PREPARED:
        return PART_EV_LOG_PREPARED;
    case WAL_PART_COMMITTED:
        return PART_EV_LOG_COMMITTED;
    case WAL_PART_ABORTED:
        return PART_EV_LOG_ABORTED;
    case WAL_PART_HEURISTIC:
        return record->heuristic == PART_COMMIT ? PART_EV_LOG_HEUR_COMMIT : PART_EV_LOG_HEUR_ABORT;
    case WAL_PART_FORGOTTEN:
        return PART_EV_LOG_FORGOTTEN;
    default:
        return PART_EVENT_COUNT;
    }
}

enum tpc_rc part_recover_fold(struct part_branch *branch, enum wal_kind kind,
                              const struct part_record *record, struct tpc_err *reterr)
{
    struct part_event event = {.type = event_of(kind, record)};
    struct part_effects effects; /* records of the past ask for nothing */
    char gtid[TPC_ID_TEXT];
    if (event.type == PART_EVENT_COUNT || part_step(branch, &event, &effects) != TPC_OK) {
        return tpc_fail(
            reterr, TPC_ECORRUPT, "branch %s: a record of kind %d cannot follow in state %s",
            tpc_id_format(&record->gtid, gtid), (int)kind, part_state_name(branch->state));
    }
    return TPC_OK;
}
