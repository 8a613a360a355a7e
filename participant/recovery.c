/* The start: what the log says, compared with what the database holds.
 *
 * On a thread of its own, so that the loop can say "not yet" meanwhile. It only reads, so a crash
 * in here changes nothing. Nothing is answered before it is done: until the locks of the branches
 * in doubt are back, new work could take what they have promised.
 *
 * A log may tell of a million branches that were committed. No more of them are kept in memory than
 * afterwards: of the others their gtids, until the database has been looked at. */
#include "participant/daemon.h"

#include "base/clock.h"
#include "base/log.h"
#include "participant/proofs.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct recovery {
    struct part_daemon *daemon;
    void (*done)(struct part_daemon *daemon);
    size_t records;
    struct tpc_id highest;   /* gtid so far */
    struct part_proofs past; /* committed, and not in memory any more */
    uint64_t began_ms;
    enum tpc_rc rc;
    struct tpc_err err;
};

/* ---- The log ---- */

static char *copy_text(const char *text, size_t size)
{
    char *copy = NULL;
    if (size > 0) {
        copy = part_alloc(size + 1);
        memcpy(copy, text, size);
    }
    return copy;
}

static void keep_prepared(struct branch *branch, const struct part_record *record)
{
    struct work *work = part_branch_work(branch);
    branch->began_us = record->began_us;
    tpc_buf_clear(&work->payload);
    tpc_buf_add(&work->payload, record->payload, record->payload_size);
    if (work->payload.failed) {
        part_halt("out of memory for what the log holds", NULL);
    }
}

/* A server proves a commit by a number that only our log connects with the branch. */
static enum tpc_rc teach(struct part_daemon *daemon, enum wal_kind kind,
                         const struct part_record *record, bool committed, struct tpc_err *reterr)
{
    struct part_resource *resource = daemon->resource;
    bool has_payload = kind == WAL_PART_PREPARED || kind == WAL_PART_ATTEMPT;
    if (resource->ops->learn == NULL || (!has_payload && !committed)) {
        return TPC_OK;
    }
    return resource->ops->learn(resource, &record->gtid, has_payload ? record->payload : NULL,
                                has_payload ? record->payload_size : 0, committed, reterr);
}

/* What the state machine does not keep. */
static void keep(struct branch *branch, enum wal_kind kind, const struct part_record *record)
{
    branch->logged = true;
    branch->at_us = kind == WAL_PART_HEURISTIC ? branch->at_us : record->at_us;
    if (!tpc_id_is_zero(&record->coordinator_id)) {
        branch->coordinator_id = record->coordinator_id;
    }
    if (kind == WAL_PART_PREPARED) {
        keep_prepared(branch, record);
    } else if (kind == WAL_PART_HEURISTIC) {
        free(branch->by_hand.operator_name);
        free(branch->by_hand.reason);
        branch->by_hand = (struct by_hand){
            .operator_name = copy_text(record->operator_name, record->operator_name_size),
            .reason = copy_text(record->reason, record->reason_size),
            .at_us = record->at_us};
    } else {
        part_branch_trim(branch);
    }
}

/* Its commit was logged once more: it is as if it had been kept. */
static struct branch *bring_back(struct recovery *recovery, const struct tpc_id *gtid)
{
    struct branch *branch = part_table_add(recovery->daemon, gtid);
    branch->fsm.state = PART_COMMITTED;
    branch->expires = true;
    part_proofs_remove(&recovery->past, gtid);
    return branch;
}

static struct branch *find_or_add(struct recovery *recovery, const struct tpc_id *gtid)
{
    if (tpc_id_compare(gtid, &recovery->highest) > 0) { /* then it is the first of its gtid */
        recovery->highest = *gtid;
        return part_table_add(recovery->daemon, gtid);
    }
    struct branch *branch = part_table_find(recovery->daemon, gtid);
    if (branch == NULL && part_proofs_find(&recovery->past, gtid) != NULL) {
        branch = bring_back(recovery, gtid);
    }
    return branch != NULL ? branch : part_table_add(recovery->daemon, gtid);
}

static bool is_known(const struct recovery *recovery, const struct tpc_id *gtid)
{
    return part_table_find(recovery->daemon, gtid) != NULL ||
           part_proofs_find(&recovery->past, gtid) != NULL;
}

/* Those that are in daemon->ended now were all committed. */
static void retain_committed(struct recovery *recovery, struct branch *branch)
{
    struct part_daemon *daemon = recovery->daemon;
    if (!branch->ended && daemon->ended_count > 0 &&
        daemon->ended_count >= daemon->settings->remembered_max) {
        struct branch *oldest = daemon->ended;
        (void)part_proofs_get(&recovery->past, &oldest->gtid);
        part_branch_free(oldest);
    }
    part_event_sure(branch, PART_EV_RESTARTED);
}

static enum tpc_rc visit(void *arg, uint64_t lsn, const void *data, size_t size,
                         struct tpc_err *reterr)
{
    struct recovery *recovery = arg;
    struct part_daemon *daemon = recovery->daemon;
    struct wal_record log_record;
    (void)lsn;
    enum tpc_rc rc = wal_record_decode(data, size, &log_record, reterr);
    recovery->records++;
    if (rc == TPC_OK && log_record.kind == WAL_PART_COORDINATOR) {
        struct part_coordinator_record coordinator;
        rc = part_coordinator_read(&log_record, &coordinator, reterr);
        if (rc == TPC_OK) {
            part_coordinator_load(daemon, &coordinator);
        }
        return rc;
    }
    struct part_record record;
    if (rc != TPC_OK || (rc = part_record_read(&log_record, &record, reterr)) != TPC_OK) {
        return rc;
    }
    if (log_record.kind == WAL_PART_ATTEMPT) {
        part_retain_unknown(daemon, &record.coordinator_id, &record.gtid);
        return teach(daemon, log_record.kind, &record, false, reterr);
    }
    struct branch *branch = find_or_add(recovery, &record.gtid);
    rc = part_recover_fold(&branch->fsm, log_record.kind, &record, reterr);
    if (rc == TPC_OK) {
        keep(branch, log_record.kind, &record);
        bool committed = branch->fsm.state == PART_COMMITTED;
        if (committed) {
            retain_committed(recovery, branch);
        }
        rc = teach(daemon, log_record.kind, &record, committed, reterr);
    }
    return rc;
}

/* ---- The database ---- */

/* The lazy record of its commit may be lost; the proof is not. */
static enum tpc_rc restore(struct part_daemon *daemon, struct branch *branch,
                           struct tpc_err *reterr)
{
    const struct part_resource_ops *ops = daemon->resource->ops;
    struct work *work = part_branch_work(branch);
    (void)part_fp(PART_FP_START_PROVE);
    enum tpc_rc rc = ops->prove(daemon->resource, &branch->gtid, &work->proven, reterr);
    if (rc == TPC_OK && !work->proven) {
        (void)part_fp(PART_FP_START_RESTORE);
        rc = ops->restore(daemon->resource, &branch->gtid, branch->began_us, work->payload.data,
                          work->payload.size, reterr);
    }
    tpc_buf_done(&work->payload);
    return rc;
}

/* What was given up by hand is not restored: its locks may have been others' since. */
static bool holds_promise(const struct branch *branch)
{
    return branch->fsm.state == PART_PREPARED || branch->fsm.state == PART_HEUR_COMMITTING;
}

/* What the server holds under our name, and the log does not know: the record was lost. */
static enum tpc_rc adopt_all(struct recovery *recovery, struct tpc_err *reterr)
{
    struct part_resource *resource = recovery->daemon->resource;
    struct part_found *found = NULL;
    size_t count = 0;
    if (resource->ops->find == NULL) {
        return TPC_OK;
    }
    enum tpc_rc rc = resource->ops->find(resource, &found, &count, reterr);
    for (size_t i = 0; rc == TPC_OK && i < count; i++) {
        if (!is_known(recovery, &found[i].gtid)) {
            rc = part_adopt(recovery->daemon, &found[i], reterr);
        }
    }
    free(found);
    return rc;
}

static void retain_applied(void *arg, const struct tpc_id *gtid,
                           const struct tpc_id *coordinator_id)
{
    struct recovery *recovery = arg;
    if (!is_known(recovery, gtid)) {
        part_retain_unknown(recovery->daemon, coordinator_id, gtid);
    }
}

/* Proofs of branches that the log has lost are to be dropped in time like all others. */
static enum tpc_rc retain_all(struct recovery *recovery, struct tpc_err *reterr)
{
    struct part_resource *resource = recovery->daemon->resource;
    return resource->ops->applied != NULL
               ? resource->ops->applied(resource, retain_applied, recovery, reterr)
               : TPC_OK;
}

static enum tpc_rc compare(struct recovery *recovery, struct tpc_err *reterr)
{
    struct part_daemon *daemon = recovery->daemon;
    struct branch *branch;
    enum tpc_rc rc = TPC_OK;
    DL_FOREACH (daemon->live, branch) {
        if (rc == TPC_OK && holds_promise(branch)) {
            rc = restore(daemon, branch, reterr);
        }
    }
    rc = rc == TPC_OK ? adopt_all(recovery, reterr) : rc;
    rc = rc == TPC_OK ? retain_all(recovery, reterr) : rc;
    return rc == TPC_OK ? daemon->resource->ops->start(daemon->resource, reterr) : rc;
}

static void read_all(void *arg)
{
    struct recovery *recovery = arg;
    struct part_daemon *daemon = recovery->daemon;
    recovery->rc = daemon->store->ops->scan(daemon->store, visit, recovery, &recovery->err);
    if (recovery->rc == TPC_OK) {
        recovery->rc = compare(recovery, &recovery->err);
    }
    part_proofs_done(&recovery->past);
}

/* ---- The loop goes on from here ---- */

static void resume(struct part_daemon *daemon, size_t *ret_in_doubt)
{
    struct branch *branch, *next;
    DL_FOREACH_SAFE(daemon->live, branch, next)
    {
        if (branch->work != NULL && branch->work->proven) {
            branch->work->proven = false;
            part_event_sure(branch, PART_EV_DB_PROOF);
        }
    }
    DL_FOREACH_SAFE(daemon->live, branch, next)
    {
        *ret_in_doubt += part_in_doubt(&branch->fsm);
        if (branch->adopted) {
            branch->adopted = false;
            part_keep(branch);
        }
        part_event_sure(branch, PART_EV_RESTARTED);
    }
}

static void on_read(void *arg)
{
    struct recovery *recovery = arg;
    struct part_daemon *daemon = recovery->daemon;
    void (*done)(struct part_daemon *) = recovery->done;
    size_t in_doubt = 0;
    if (recovery->rc == TPC_OK) {
        struct wal_log_options log = {
            .queue_max = daemon->settings->queue_max_bytes, .wake = part_wake, .wake_arg = daemon};
        recovery->rc = wal_log_start(daemon->store, &log, &daemon->log, &recovery->err);
    }
    if (recovery->rc != TPC_OK) {
        tpc_log(TPC_LOG_ERROR, "daemon.start_failed", tpc_kv_str("error", recovery->err.text));
        daemon->failed = true;
    } else {
        (void)part_fp(PART_FP_START_RECOVERED);
        resume(daemon, &in_doubt);
        tpc_log(TPC_LOG_INFO, "daemon.recovered", tpc_kv_uint("records", recovery->records),
                tpc_kv_uint("branches", HASH_COUNT(daemon->branches)),
                tpc_kv_uint("in_doubt", in_doubt),
                tpc_kv_uint("took_ms", tpc_clock_mono_ms() - recovery->began_ms));
    }
    free(recovery);
    done(daemon);
}

void part_recovery_start(struct part_daemon *daemon, void (*done)(struct part_daemon *daemon))
{
    struct recovery *recovery = part_alloc(sizeof *recovery);
    recovery->daemon = daemon;
    recovery->done = done;
    recovery->began_ms = tpc_clock_mono_ms();
    struct tpc_err err = {0};
    if (api_loop_work(daemon->loop, read_all, on_read, recovery, &err) != TPC_OK) {
        part_halt("the log cannot be read", &err);
    }
}
