#include "base/clock.h"
#include "base/tpc_assert.h"
#include "participant/sqlite_internal.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct part_branch_entry *part_branch_find(struct part_sqlite *sqlite, const struct tpc_id *gtid)
{
    struct part_branch_entry *entry = NULL;
    HASH_FIND(hh, sqlite->branches, gtid, sizeof(*gtid), entry);
    return entry;
}

static struct part_branch_entry *make(struct part_sqlite *sqlite, const struct tpc_id *gtid,
                                      uint64_t began_us)
{
    struct part_branch_entry *entry = calloc(1, sizeof(*entry));
    if (entry != NULL) {
        entry->owner.gtid = *gtid;
        entry->owner.began_us = began_us;
        HASH_ADD(hh, sqlite->branches, owner.gtid, sizeof(entry->owner.gtid), entry);
    }
    return entry;
}

void part_branch_unguard(struct part_sqlite *sqlite)
{
    for (struct part_branch_entry *entry = sqlite->branches; entry != NULL;
         entry = entry->hh.next) {
        entry->unguarded = true;
    }
}

void part_branch_drop(struct part_sqlite *sqlite, struct part_branch_entry *entry)
{
    sqlite->released |= entry->owner.state == PART_LOCK_HOLDING;
    sqlite->prepared -= entry->owner.state == PART_LOCK_HOLDING && !entry->active;
    part_active_leave(sqlite, entry);
    sqlite->waiting -= entry->owner.state == PART_LOCK_WAITING;
    sqlite->stuck -= entry->stuck;
    part_locks_release(sqlite->locks, &entry->owner);
    /* uthash walks by offsets, which the analyzer does not follow. */
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference,clang-analyzer-unix.Malloc) */
    HASH_DEL(sqlite->branches, entry);
    free(entry->payload);
    free(entry->detail);
    free(entry);
}

/* ---- Prepare ---- */

static void refuse(struct part_sqlite *sqlite, struct part_job *job, enum api_cause_code code,
                   const char *words)
{
    struct part_refusal refusal = {.statement = -1};
    part_refuse(&refusal, code, "%s", words);
    part_sqlite_end_refused(sqlite, job, PART_JOB_REFUSED, &refusal);
}

static bool over(struct part_sqlite *sqlite, struct part_job *job)
{
    if (atomic_load(&job->cancelled)) {
        refuse(sqlite, job, API_CAUSE_CLIENT_ABORT,
               "the branch was aborted before it was voted on");
        return true;
    }
    if (job->deadline_ms != 0 && tpc_clock_mono_ms() >= job->deadline_ms) {
        refuse(sqlite, job, API_CAUSE_TIMEOUT,
               "the time of the transaction ran out while the branch waited");
        return true;
    }
    return false;
}

/* See whether the work was done before, and take the write lock. Proof comes first: what was
 * committed is not refused, however late or unwanted its repetition is. False: the job has
 * ended. */
static bool may_capture(struct part_sqlite *sqlite, struct part_job *job)
{
    struct tpc_err err = {0};
    bool marked = false;
    enum tpc_rc rc = part_write_marked(sqlite, &job->gtid, &marked, &err);
    if (rc == TPC_OK && marked) {
        part_sqlite_end(sqlite, job, PART_JOB_PROVEN);
        return false;
    }
    if (over(sqlite, job)) {
        return false;
    }
    rc = rc == TPC_OK ? part_write_begin(sqlite, &err) : rc;
    if (rc != TPC_OK) {
        refuse(sqlite, job, rc == TPC_EBUSY ? API_CAUSE_CONFLICT : API_CAUSE_PARTICIPANT_ERROR,
               err.text);
        return false;
    }
    if (tpc_fp_hit(sqlite->options.failpoints.capture)) {
        refuse(sqlite, job, API_CAUSE_PARTICIPANT_ERROR, "disk I/O error (failpoint)");
        return false;
    }
    return true;
}

static void refuse_conflict(struct part_sqlite *sqlite, struct part_job *job,
                            const struct part_lock_owner *other)
{
    char words[160], gtid[TPC_ID_TEXT];
    (void)snprintf(words, sizeof(words),
                   "rows that it needs belong to transaction %s, which is older and not decided",
                   tpc_id_format(&other->gtid, gtid));
    sqlite->counts.conflicts++;
    refuse(sqlite, job, API_CAUSE_CONFLICT, words);
}

/* The captured branch holds its locks: keep what will be applied, and vote. */
static void keep(struct part_sqlite *sqlite, struct part_branch_entry *entry, struct part_job *job)
{
    struct tpc_buf payload = {0};
    part_active_leave(sqlite, entry);
    free(entry->payload);
    entry->payload = NULL;
    sqlite->prepared++;
    if (!part_payload_write(&payload, &sqlite->capture)) {
        bool failed = payload.failed;
        tpc_buf_done(&payload);
        part_branch_drop(sqlite, entry);
        refuse(sqlite, job, failed ? API_CAUSE_PARTICIPANT_ERROR : API_CAUSE_NOT_SUPPORTED,
               failed ? "out of memory" : "the branch changes too many tables");
        return;
    }
    part_keys_note(sqlite);
    entry->payload_size = payload.size;
    if (job->one_phase) {
        entry->payload = tpc_buf_take(&payload);
        entry->job = job;
        entry->next_in_group = sqlite->one_phase;
        sqlite->one_phase = entry;
        return;
    }
    entry->job = NULL;
    entry->payload = malloc(payload.size);
    if (entry->payload == NULL) {
        tpc_buf_done(&payload);
        part_branch_drop(sqlite, entry);
        refuse(sqlite, job, API_CAUSE_PARTICIPANT_ERROR, "out of memory");
        return;
    }
    memcpy(entry->payload, payload.data, payload.size);
    tpc_buf_done(&job->payload);
    job->payload = payload;
    job->held_by_database = false;
    part_sqlite_end(sqlite, job, PART_JOB_READY);
}

static void stand_in_queue(struct part_sqlite *sqlite, struct part_branch_entry *entry,
                           struct part_job *job)
{
    sqlite->waiting++;
    sqlite->counts.waits++;
    entry->job = job;
    if (sqlite->waiting > sqlite->options.waiting_max) {
        part_branch_drop(sqlite, entry);
        refuse(sqlite, job, API_CAUSE_CONFLICT,
               "too many branches wait for locks at this participant already");
    }
}

/* An active branch keeps its locks, so it cannot stand in the queue. */
static void ask_again_later(struct part_sqlite *sqlite, struct part_job *job)
{
    sqlite->counts.waits++;
    job->not_before_ms = tpc_clock_mono_ms() + PART_ACTIVE_AGAIN_MS;
    job->next = sqlite->again;
    sqlite->again = job;
}

static void keep_step(struct part_sqlite *sqlite, struct part_branch_entry *entry,
                      struct part_job *job)
{
    if (part_active_keep(sqlite, entry)) {
        part_sqlite_end(sqlite, job, PART_JOB_EXECUTED);
    } else {
        part_branch_drop(sqlite, entry);
        refuse(sqlite, job, API_CAUSE_PARTICIPANT_ERROR, "out of memory");
    }
}

/* Captured: now see who is in the way. */
static void ask_for_locks(struct part_sqlite *sqlite, struct part_branch_entry *entry,
                          struct part_job *job)
{
    struct part_capture *capture = &sqlite->capture;
    enum part_lock_answer answer = PART_LOCK_DIE;
    const struct part_lock_owner *other = NULL;
    entry->owner.alone = job->one_phase;
    enum tpc_rc rc = entry->active
                         ? part_locks_extend(sqlite->locks, &entry->owner, capture->locks,
                                             capture->lock_count, &answer, &other)
                         : part_locks_acquire(sqlite->locks, &entry->owner, capture->locks,
                                              capture->lock_count, &answer, &other);
    if (rc != TPC_OK) {
        part_branch_drop(sqlite, entry);
        refuse(sqlite, job, API_CAUSE_PARTICIPANT_ERROR, "out of memory");
        return;
    }
    sqlite->released |= part_locks_overtaken(sqlite->locks);
    switch (answer) {
    case PART_LOCK_GRANTED:
        if (job->kind == PART_JOB_EXECUTE) {
            keep_step(sqlite, entry, job);
        } else {
            keep(sqlite, entry, job);
        }
        return;
    case PART_LOCK_WAIT:
        if (entry->active) {
            ask_again_later(sqlite, job);
        } else {
            stand_in_queue(sqlite, entry, job);
        }
        return;
    case PART_LOCK_DIE:
        part_branch_drop(sqlite, entry);
        refuse_conflict(sqlite, job, other);
        return;
    }
}

/* It was stopped because it held others up. A query can wait for a reader. For others: they have as
 * long as it had; then it has twice as long, up to a share of the time that it has left. */
static void try_again_later(struct part_sqlite *sqlite, struct part_job *job)
{
    uint64_t now_ms = tpc_clock_mono_ms();
    if (part_readers_take(sqlite->readers, job, true)) {
        return;
    }
    uint64_t left_ms = job->deadline_ms > now_ms ? job->deadline_ms - now_ms : UINT32_MAX;
    job->not_before_ms = now_ms + job->slice_ms;
    if (job->slice_ms < left_ms / 8) {
        job->slice_ms *= 2;
    }
    job->next = sqlite->again;
    sqlite->again = job;
}

static void capture_entry(struct part_sqlite *sqlite, struct part_branch_entry *entry,
                          struct part_job *job)
{
    struct part_capture *capture = &sqlite->capture;
    if (!may_capture(sqlite, job)) {
        part_branch_drop(sqlite, entry);
        return;
    }
    const struct part_capture_past past = {
        .payload = entry->payload, .size = entry->payload_size, .wrote = entry->wrote};
    part_capture_run(sqlite, job, entry->active ? &past : NULL);
    if (capture->preempted) {
        if (!entry->active) {
            part_branch_drop(sqlite, entry);
        }
        try_again_later(sqlite, job);
        return;
    }
    if (tpc_fp_hit(sqlite->options.failpoints.captured)) {
        part_refuse(&capture->refusal, API_CAUSE_PARTICIPANT_ERROR, "disk I/O error (failpoint)");
    }
    if (capture->refusal.code == API_CAUSE_NONE && entry->active) {
        (void)part_active_is_late(sqlite, entry);
    }
    if (capture->refusal.code != API_CAUSE_NONE) {
        part_branch_drop(sqlite, entry);
        part_sqlite_end_refused(sqlite, job, PART_JOB_REFUSED, &capture->refusal);
        return;
    }
    if (job->kind == PART_JOB_PREPARE && !capture->wrote &&
        job->isolation != API_ISOLATION_SERIALIZABLE) {
        part_branch_drop(sqlite, entry);
        part_sqlite_end(sqlite, job, PART_JOB_READ_ONLY);
        return;
    }
    if (capture->wrote && sqlite->stuck > 0) {
        part_refuse(&capture->refusal, API_CAUSE_PARTICIPANT_ERROR,
                    "the database cannot be written (%s), and what was decided comes first",
                    sqlite->stuck_detail);
        part_branch_drop(sqlite, entry);
        part_sqlite_end_refused(sqlite, job, PART_JOB_REFUSED, &capture->refusal);
        return;
    }
    ask_for_locks(sqlite, entry, job);
}

void part_branch_prepare(struct part_sqlite *sqlite, struct part_job *job)
{
    sqlite->counts.prepares += job->kind == PART_JOB_PREPARE;
    if (job->executed > 0) {
        struct part_branch_entry *active = part_active_find(sqlite, job);
        if (active != NULL) {
            capture_entry(sqlite, active, job);
        }
        return;
    }
    TPC_ASSERT(part_branch_find(sqlite, &job->gtid) == NULL);
    struct part_branch_entry *entry = make(sqlite, &job->gtid, job->began_us);
    if (entry == NULL) {
        refuse(sqlite, job, API_CAUSE_PARTICIPANT_ERROR, "out of memory");
        return;
    }
    capture_entry(sqlite, entry, job);
}

void part_branch_wake_waiting(struct part_sqlite *sqlite)
{
    if (!sqlite->released) {
        return;
    }
    sqlite->released = false;
    uint64_t cursor = 0;
    struct part_lock_owner *owner;
    while ((owner = part_locks_next(sqlite->locks, &cursor)) != NULL) {
        struct part_branch_entry *entry = (struct part_branch_entry *)owner;
        struct part_job *job = entry->job;
        entry->job = NULL;
        sqlite->waiting--;
        capture_entry(sqlite, entry, job);
    }
}

void part_branch_expire_waiting(struct part_sqlite *sqlite)
{
    struct part_lock_owner *owner = part_locks_queue(sqlite->locks);
    while (owner != NULL) {
        struct part_branch_entry *entry = (struct part_branch_entry *)owner;
        owner = owner->next;
        if (over(sqlite, entry->job)) {
            part_branch_drop(sqlite, entry);
        }
    }
}

uint64_t part_branch_next_deadline_ms(struct part_sqlite *sqlite)
{
    uint64_t earliest = UINT64_MAX;
    for (struct part_lock_owner *owner = part_locks_queue(sqlite->locks); owner != NULL;
         owner = owner->next) {
        const struct part_job *job = ((struct part_branch_entry *)owner)->job;
        if (job->deadline_ms != 0 && job->deadline_ms < earliest) {
            earliest = job->deadline_ms;
        }
    }
    return earliest;
}

/* ---- Abort, prove, restore ---- */

void part_branch_abort(struct part_sqlite *sqlite, struct part_job *job)
{
    if (tpc_fp_hit(sqlite->options.failpoints.undo)) {
        struct part_refusal refusal = {.statement = -1};
        part_refuse(&refusal, API_CAUSE_PARTICIPANT_ERROR, "disk I/O error (failpoint)");
        part_sqlite_end_refused(sqlite, job, PART_JOB_RETRY, &refusal);
        return;
    }
    struct part_branch_entry *entry = part_branch_find(sqlite, &job->gtid);
    if (entry != NULL) {
        TPC_ASSERT(entry->job == NULL);
        part_branch_drop(sqlite, entry);
    }
    sqlite->counts.aborts++;
    part_sqlite_end(sqlite, job, PART_JOB_ABORTED);
}

void part_branch_prove(struct part_sqlite *sqlite, struct part_job *job)
{
    struct part_refusal refusal = {.statement = -1};
    struct tpc_err err = {0};
    bool marked = false;
    enum tpc_rc rc = tpc_fp_hit(sqlite->options.failpoints.prove)
                         ? tpc_fail(&err, TPC_EIO, "disk I/O error (failpoint)")
                         : part_write_marked(sqlite, &job->gtid, &marked, &err);
    if (rc != TPC_OK) {
        part_refuse(&refusal, API_CAUSE_PARTICIPANT_ERROR, "%s", err.text);
        part_sqlite_end_refused(sqlite, job, PART_JOB_RETRY, &refusal);
        return;
    }
    part_sqlite_end(sqlite, job, marked ? PART_JOB_PROVEN : PART_JOB_NO_PROOF);
}

enum tpc_rc part_branch_restore(struct part_sqlite *sqlite, const struct tpc_id *gtid,
                                uint64_t began_us, const void *payload, size_t size,
                                struct tpc_err *reterr)
{
    struct part_payload reader;
    if (tpc_fp_hit(sqlite->options.failpoints.restore)) {
        return tpc_fail(reterr, TPC_EIO, "restore of a branch failed (failpoint)");
    }
    enum tpc_rc rc = part_payload_open(&reader, payload, size);
    struct part_branch_entry *entry = rc == TPC_OK && part_branch_find(sqlite, gtid) == NULL
                                          ? make(sqlite, gtid, began_us)
                                          : NULL;
    if (entry != NULL) {
        entry->payload = malloc(size);
        rc = entry->payload != NULL
                 ? part_locks_restore(sqlite->locks, &entry->owner, reader.locks, reader.lock_count)
                 : TPC_ENOMEM;
    }
    part_payload_done(&reader);
    char text[TPC_ID_TEXT];
    if (entry == NULL || rc != TPC_OK) {
        if (entry != NULL) {
            part_branch_drop(sqlite, entry);
        }
        rc = rc == TPC_OK ? TPC_ECORRUPT : rc;
        return tpc_fail(reterr, rc, "the prepared branch %s cannot be restored: %s",
                        tpc_id_format(gtid, text), tpc_rc_text(rc));
    }
    memcpy(entry->payload, payload, size);
    entry->payload_size = size;
    entry->check_marker = entry->unguarded = true;
    sqlite->prepared++;
    return TPC_OK;
}

void part_branch_done_all(struct part_sqlite *sqlite)
{
    struct part_branch_entry *entry, *next;
    HASH_ITER (hh, sqlite->branches, entry, next) {
        struct part_job *job = entry->job;
        part_branch_drop(sqlite, entry);
        if (job != NULL) {
            refuse(sqlite, job, API_CAUSE_PARTICIPANT_ERROR, "the participant is stopping");
        }
    }
    sqlite->one_phase = NULL;
}
