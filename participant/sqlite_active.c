/* Interactive branches, between their steps.
 *
 * SQLite has one writer, so none can be left in an open transaction while its client thinks. After
 * each step what the branch has changed so far is kept as a payload, with the locks of all rows
 * that it touches, and undone; the next step does it again first. Its locks are held, so that it
 * still applies, unless another program writes; then the step is refused for conflict.
 *
 * What a step reads may be out of date when the next one writes. So that no update is lost, a row
 * that another branch changed since this one began is not written (first committer wins, as under
 * snapshot isolation: Berenson et al., A Critique of ANSI SQL Isolation Levels, 1995). Reads
 * themselves see what is committed when they run. A serializable branch holds locks on the tables
 * that it reads. */
#include "participant/sqlite_internal.h"

#include <stdlib.h>
#include <string.h>

enum { RECENT_MAX = 100000 };

/* When a row was changed last, by the number of the commit. */
struct part_recent {
    struct tpc_id name;
    uint64_t change;
    UT_hash_handle hh;
};

static void forget_recent(struct part_sqlite *sqlite)
{
    struct part_recent *recent, *next;
    HASH_ITER (hh, sqlite->recent, recent, next) {
        /* uthash walks by offsets, which the analyzer does not follow. */
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        HASH_DEL(sqlite->recent, recent);
        free(recent);
    }
}

/* Committed before, by this gtid? What was committed is not refused. */
static bool is_proven(struct part_sqlite *sqlite, struct part_job *job)
{
    struct tpc_err err = {0};
    bool marked = false;
    if (part_write_marked(sqlite, &job->gtid, &marked, &err) == TPC_OK && marked) {
        part_sqlite_end(sqlite, job, PART_JOB_PROVEN);
        return true;
    }
    return false;
}

struct part_branch_entry *part_active_find(struct part_sqlite *sqlite, struct part_job *job)
{
    struct part_branch_entry *entry = part_branch_find(sqlite, &job->gtid);
    if (entry != NULL && entry->active) {
        return entry;
    }
    if (!is_proven(sqlite, job)) {
        struct part_refusal refusal = {.statement = -1};
        part_refuse(&refusal, API_CAUSE_WORK_LOST,
                    "the work that was done in the branch before is not there any more");
        part_sqlite_end_refused(sqlite, job, PART_JOB_REFUSED, &refusal);
    }
    return NULL;
}

bool part_active_is_late(struct part_sqlite *sqlite, const struct part_branch_entry *entry)
{
    struct part_capture *capture = &sqlite->capture;
    bool late = entry->unguarded && (capture->wrote || capture->serializable);
    for (const struct part_change *c = capture->first; c != NULL && !late; c = c->next) {
        struct part_recent *recent = NULL;
        HASH_FIND(hh, sqlite->recent, &c->name, sizeof(c->name), recent);
        late = recent != NULL && recent->change > entry->since;
    }
    if (late) {
        part_refuse(
            &capture->refusal, API_CAUSE_CONFLICT,
            "a row that the branch %s was changed by another one since it began: read it again "
            "in a new transaction",
            capture->wrote ? "writes" : "read");
    }
    return late;
}

bool part_active_keep(struct part_sqlite *sqlite, struct part_branch_entry *entry)
{
    struct tpc_buf payload = {0};
    if (!part_payload_write(&payload, &sqlite->capture)) {
        tpc_buf_done(&payload);
        return false;
    }
    part_keys_note(sqlite);
    if (!entry->active) {
        entry->active = true;
        entry->unguarded = false;
        entry->since = sqlite->changes;
        sqlite->active++;
    }
    entry->job = NULL;
    entry->wrote = sqlite->capture.wrote;
    free(entry->payload);
    entry->payload_size = payload.size;
    entry->payload = tpc_buf_take(&payload);
    return true;
}

void part_active_leave(struct part_sqlite *sqlite, struct part_branch_entry *entry)
{
    if (!entry->active) {
        return;
    }
    entry->active = false;
    sqlite->active--;
    if (sqlite->active == 0) {
        forget_recent(sqlite);
    }
}

static bool note(struct part_sqlite *sqlite, const struct tpc_id *name)
{
    struct part_recent *recent = NULL;
    HASH_FIND(hh, sqlite->recent, name, sizeof(*name), recent);
    if (recent == NULL) {
        recent = calloc(1, sizeof(*recent));
        if (recent == NULL) {
            return false;
        }
        recent->name = *name;
        HASH_ADD(hh, sqlite->recent, name, sizeof(recent->name), recent);
    }
    recent->change = sqlite->changes;
    return true;
}

static bool note_all(struct part_sqlite *sqlite, const struct part_branch_entry *entry)
{
    struct part_payload payload;
    bool noted = part_payload_open(&payload, entry->payload, entry->payload_size) == TPC_OK &&
                 HASH_COUNT(sqlite->recent) + payload.lock_count <= RECENT_MAX;
    for (size_t i = 0; noted && i < payload.lock_count; i++) {
        noted = (payload.locks[i].modes & PART_LOCK_X) == 0 || note(sqlite, &payload.locks[i].name);
    }
    part_payload_done(&payload);
    return noted;
}

void part_active_note_commit(struct part_sqlite *sqlite, const struct part_branch_entry *entry)
{
    if (sqlite->active == 0) {
        return;
    }
    sqlite->changes++;
    if (!note_all(sqlite, entry)) {
        /* No room to tell which rows: any may have changed. */
        for (struct part_branch_entry *other = sqlite->branches; other != NULL;
             other = other->hh.next) {
            other->unguarded |= other->active;
        }
        forget_recent(sqlite);
    }
}
