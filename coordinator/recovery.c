/* Recovery: read the whole log into memory, then let the state machine say what to send.
 *
 * Transactions with a commit record and no end record go on committing; a pending record without
 * an end goes on asking; all else is forgotten, which is abort. */
#include "coordinator/daemon.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

struct fold {
    struct coord_daemon *daemon;
    uint64_t records;
    struct tpc_id highest; /* gtid so far */
};

static enum tpc_rc fold_member(struct fold *fold, const struct wal_record *log_record,
                               struct tpc_err *reterr)
{
    struct coord_member_record record;
    enum tpc_rc rc = coord_member_read(log_record, &record, reterr);
    if (rc != TPC_OK) {
        return rc;
    }
    struct coord_member *member = coord_member_get(fold->daemon, record.name, record.name_size);
    if (member == NULL) {
        return tpc_fail(reterr, TPC_ENOMEM, "out of memory");
    }
    if (log_record->kind == WAL_COORD_NO_MEMBER) {
        member->registered = false;
        return TPC_OK;
    }
    char *url = strndup(record.url, record.url_size);
    rc = url != NULL ? coord_member_set(member, url) : TPC_ENOMEM;
    free(url);
    return rc;
}

struct coord_xact *coord_recovery_rebuild(struct coord_daemon *daemon,
                                          const struct coord_record *record)
{
    struct coord_xact *xact = coord_xact_new(daemon, record->branch_count);
    if (xact == NULL) {
        return NULL;
    }
    coord_init(xact->fsm, record->branch_count, record->one_phase);
    xact->id = record->id;
    xact->gtid = record->gtid;
    xact->began_us = record->began_us;
    xact->attempts = record->attempts;
    xact->recovered = true;
    xact->logged = true;
    xact->ack = API_ACK_APPLIED;
    if (record->label_size > 0) {
        xact->label = tpc_must_alloc(record->label_size + 1);
        memcpy(xact->label, record->label, record->label_size);
    }
    for (unsigned i = 0; i < record->branch_count; i++) {
        const struct coord_record_branch *branch = &record->branches[i];
        xact->branches[i].member = coord_member_get(daemon, branch->name, branch->name_size);
        if (xact->branches[i].member == NULL) {
            return NULL;
        }
        xact->fsm->branches[i].participant = branch->participant;
        xact->fsm->branches[i].vote = (uint8_t)branch->vote;
    }
    return xact;
}

static enum tpc_rc add_rebuilt(struct coord_xact *xact, const struct coord_record *record,
                               struct tpc_err *reterr)
{
    enum tpc_rc rc = coord_xact_add(xact);
    if (rc == TPC_OK && record->has_key) {
        rc = coord_key_set(xact, record->key, record->key_size, &record->body_digest);
    }
    if (rc != TPC_OK) {
        return tpc_fail(reterr, rc, "out of memory");
    }
    return TPC_OK;
}

uint64_t coord_recovery_took_us(const struct coord_record *record)
{
    return record->ended_us > record->began_us ? record->ended_us - record->began_us : 0;
}

/* Is its end record all that has to be kept of it? */
static bool may_be_past(const struct coord_xact *xact, const struct coord_record *record)
{
    return xact->key == NULL && xact->fsm->hazards == 0 && record->branch_count > 0 &&
           tpc_id_equal(&record->id, &record->gtid);
}

static enum tpc_rc fold_transaction(struct fold *fold, const struct wal_record *log_record,
                                    const void *data, size_t size, struct tpc_err *reterr)
{
    struct coord_record record;
    enum tpc_rc rc = coord_record_read(log_record, &record, reterr);
    if (rc != TPC_OK) {
        return rc;
    }
    tpc_id_gen_after(&fold->daemon->ids, &record.gtid);
    struct coord_xact *xact = NULL;
    if (tpc_id_compare(&record.gtid, &fold->highest) > 0) { /* so it is the first of its gtid */
        fold->highest = record.gtid;
    } else {
        xact = coord_xact_in_memory(fold->daemon, &record.gtid);
    }
    if (xact == NULL) {
        xact = coord_recovery_rebuild(fold->daemon, &record);
        if (xact == NULL) {
            return tpc_fail(reterr, TPC_ENOMEM, "out of memory");
        }
        rc = add_rebuilt(xact, &record, reterr);
    }
    bool begun = rc == TPC_OK && xact->fsm->state != COORD_NONE;
    enum wal_kind first_kind = !begun                                 ? WAL_COORD_END
                               : xact->fsm->state == COORD_COMMITTING ? WAL_COORD_COMMIT
                                                                      : WAL_COORD_PENDING;
    if (rc == TPC_OK) {
        rc = coord_recover_fold(xact->fsm, log_record->kind, &record, reterr);
    }
    if (rc == TPC_OK && log_record->kind == WAL_COORD_END && !xact->ended) {
        xact->took_us = coord_recovery_took_us(&record);
        if (!record.commit) {
            coord_key_drop(xact);
        }
        coord_xact_mark_ended(xact);
        if (may_be_past(xact, &record)) {
            coord_past_add(fold->daemon, &record.gtid, first_kind, data, size);
            coord_xact_remove(xact);
        }
    } else if (rc == TPC_OK && xact->ended) {
        coord_xact_keep_again(xact); /* one more hazard, or all forgotten */
    }
    return rc;
}

static enum tpc_rc visit(void *arg, uint64_t lsn, const void *data, size_t size,
                         struct tpc_err *reterr)
{
    struct fold *fold = arg;
    struct wal_record record;
    enum tpc_rc rc = wal_record_decode(data, size, &record, reterr);
    fold->records++;
    if (coord_fp(COORD_FP_START_SCAN)) {
        rc = tpc_fail(reterr, TPC_EIO, "could not read the log");
    }
    if (rc == TPC_OK) {
        bool member = record.kind == WAL_COORD_MEMBER || record.kind == WAL_COORD_NO_MEMBER;
        rc = member ? fold_member(fold, &record, reterr)
                    : fold_transaction(fold, &record, data, size, reterr);
    }
    if (rc != TPC_OK) {
        tpc_log(TPC_LOG_ERROR, "recovery.record", tpc_kv_uint("lsn", lsn),
                tpc_kv_str("error", reterr->text));
    }
    return rc;
}

enum tpc_rc coord_recovery_run(struct coord_daemon *daemon, struct tpc_err *reterr)
{
    struct fold fold = {.daemon = daemon};
    uint64_t began_ms = tpc_clock_mono_ms();
    enum tpc_rc rc = daemon->store->ops->scan(daemon->store, visit, &fold, reterr);
    if (rc == TPC_OK) {
        rc = coord_past_seal(daemon, reterr);
    }
    if (rc == TPC_OK) {
        tpc_log(TPC_LOG_INFO, "recovery.done", tpc_kv_uint("records", fold.records),
                tpc_kv_uint("unfinished", daemon->kept_count[COORD_KEPT_UNFINISHED]),
                tpc_kv_uint("ended", coord_ended_count(daemon)),
                tpc_kv_uint("took_ms", tpc_clock_mono_ms() - began_ms));
    }
    return rc;
}
