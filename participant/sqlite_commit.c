/* Committing: everything that waits for it goes into one transaction of the database, each branch
 * with its marker row in the same file, so that one fsync makes all of them and their proofs
 * durable. */
#include "participant/sqlite_internal.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct group {
    struct part_sqlite *sqlite;
    struct part_branch_entry *first;
    bool begun;   /* the write transaction was there: what fails then is the disk */
    bool unknown; /* COMMIT failed in a way that may have left it on disk all the same */
    char detail[512];
};

static void end_with(struct part_sqlite *sqlite, struct part_job *job,
                     enum part_job_outcome outcome, const char *words)
{
    struct part_refusal refusal = {.statement = -1};
    part_refuse(&refusal, API_CAUSE_PARTICIPANT_ERROR, "%s", words);
    part_sqlite_end_refused(sqlite, job, outcome, &refusal);
}

static void ended_committed(struct part_sqlite *sqlite, struct part_branch_entry *entry)
{
    struct part_job *job = entry->job;
    *(job->kind == PART_JOB_COMMIT ? &sqlite->counts.commits : &sqlite->counts.one_phase) += 1;
    part_active_note_commit(sqlite, entry);
    part_branch_drop(sqlite, entry);
    part_sqlite_end(sqlite, job, PART_JOB_COMMITTED);
}

/* A prepared change that does not apply: it is over for the branch, only the words remain. A
 * one-phase branch has promised nothing and is simply refused. */
static void ended_conflict(struct part_sqlite *sqlite, struct part_branch_entry *entry)
{
    struct part_job *job = entry->job;
    char *detail = entry->detail;
    entry->detail = NULL;
    sqlite->counts.conflicts++;
    part_branch_drop(sqlite, entry);
    struct part_refusal refusal = {.statement = -1};
    part_refuse(&refusal, API_CAUSE_CONFLICT, "%s", detail != NULL ? detail : "out of memory");
    free(detail);
    part_sqlite_end_refused(
        sqlite, job, job->kind == PART_JOB_COMMIT ? PART_JOB_CONFLICT : PART_JOB_REFUSED, &refusal);
}

static void note_stuck(struct group *group, struct part_branch_entry *entry)
{
    struct part_sqlite *sqlite = group->sqlite;
    if (group->begun) {
        sqlite->stuck += !entry->stuck;
        entry->stuck = true;
        (void)snprintf(sqlite->stuck_detail, sizeof(sqlite->stuck_detail), "%.200s", group->detail);
    }
}

/* Undo, and leave every branch as it was. */
static void ended_failed(struct group *group)
{
    struct part_sqlite *sqlite = group->sqlite;
    part_write_rollback(sqlite);
    struct part_branch_entry *entry = group->first, *next;
    for (; entry != NULL; entry = next) {
        struct part_job *job = entry->job;
        next = entry->next_in_group;
        entry->check_marker = true;
        if (job->kind == PART_JOB_COMMIT) {
            entry->job = NULL;
            note_stuck(group, entry);
            end_with(sqlite, job, PART_JOB_RETRY, group->detail);
        } else if (group->unknown) {
            /* Nobody may be told before it is known: the next try finds the marker or leaves it. */
            entry->next_in_group = sqlite->one_phase;
            sqlite->one_phase = entry;
        } else {
            part_branch_drop(sqlite, entry);
            end_with(sqlite, job, PART_JOB_REFUSED, group->detail);
        }
    }
    group->first = NULL;
}

static void take_words(struct group *group)
{
    (void)snprintf(group->detail, sizeof(group->detail), "%s", sqlite3_errmsg(group->sqlite->db));
}

static enum part_apply_result apply_entry(struct group *group, struct part_branch_entry *entry,
                                          bool carefully)
{
    struct part_sqlite *sqlite = group->sqlite;
    enum part_apply_result result = part_apply(sqlite, entry->payload, entry->payload_size,
                                               carefully, group->detail, sizeof(group->detail));
    if (result == PART_APPLIED &&
        part_write_mark(sqlite, PART_OWN_MARK, &entry->owner.gtid) != SQLITE_OK) {
        take_words(group);
        result = PART_APPLY_FAILED;
    }
    return result;
}

/* All at once, without a way back for a single one: the locks say that none will be needed, unless
 * another program could write. */
static enum part_apply_result apply_together(struct group *group)
{
    enum part_apply_result result = PART_APPLIED;
    for (struct part_branch_entry *entry = group->first; entry != NULL && result == PART_APPLIED;
         entry = entry->next_in_group) {
        result = entry->unguarded ? PART_APPLY_CONFLICT : apply_entry(group, entry, false);
        entry->result = result;
    }
    return result;
}

static enum part_apply_result apply_alone(struct group *group, struct part_branch_entry *entry)
{
    struct part_sqlite *sqlite = group->sqlite;
    enum part_apply_result result = PART_APPLY_CONFLICT;
    if (part_write_exec(sqlite, PART_OWN_SAVEPOINT) != SQLITE_OK) {
        take_words(group);
        return PART_APPLY_FAILED;
    }
    for (int i = 0; i < 2 && result == PART_APPLY_CONFLICT; i++) {
        result = apply_entry(group, entry, i == 1);
        if (result == PART_APPLIED && entry->unguarded && sqlite->options.foreign_keys) {
            result = part_foreign_check(sqlite, entry->payload, entry->payload_size, group->detail,
                                        sizeof(group->detail));
        }
        if (result == PART_APPLY_CONFLICT &&
            part_write_exec(sqlite, PART_OWN_ROLLBACK_TO) != SQLITE_OK) {
            result = PART_APPLY_FAILED;
        }
    }
    if (result != PART_APPLY_FAILED && part_write_exec(sqlite, PART_OWN_RELEASE) != SQLITE_OK) {
        take_words(group);
        result = PART_APPLY_FAILED;
    }
    entry->result = result;
    if (result == PART_APPLY_CONFLICT) {
        free(entry->detail);
        entry->detail = strdup(group->detail);
    }
    return result;
}

/* Something does not apply: find out which, so that the others do not suffer. */
static enum part_apply_result apply_one_by_one(struct group *group)
{
    for (struct part_branch_entry *entry = group->first; entry != NULL;
         entry = entry->next_in_group) {
        if (apply_alone(group, entry) == PART_APPLY_FAILED) {
            return PART_APPLY_FAILED;
        }
    }
    return PART_APPLIED;
}

static bool remove_forgotten(struct group *group)
{
    struct part_sqlite *sqlite = group->sqlite;
    for (size_t i = 0; i < sqlite->forgotten_count; i++) {
        if (part_write_mark(sqlite, PART_OWN_UNMARK, &sqlite->forgotten[i]) != SQLITE_OK) {
            take_words(group);
            return false;
        }
    }
    return true;
}

static bool apply_group(struct group *group)
{
    struct part_sqlite *sqlite = group->sqlite;
    bool quiet = false;
    for (struct part_branch_entry *entry = group->first; entry != NULL && !quiet;
         entry = entry->next_in_group) {
        quiet = part_apply_needs_quiet(sqlite, entry->payload, entry->payload_size);
    }
    if (quiet) {
        part_write_quiet(sqlite, true);
    }
    /* The way back keeps the write lock: nobody comes in between. */
    if (part_write_exec(sqlite, PART_OWN_SAVEPOINT) != SQLITE_OK) {
        take_words(group);
        return false;
    }
    enum part_apply_result result = apply_together(group);
    if (result == PART_APPLY_CONFLICT) {
        if (part_write_exec(sqlite, PART_OWN_ROLLBACK_TO) != SQLITE_OK) {
            take_words(group);
            return false;
        }
        result = apply_one_by_one(group);
    }
    return result == PART_APPLIED && remove_forgotten(group);
}

static bool commit_group(struct group *group)
{
    struct part_sqlite *sqlite = group->sqlite;
    if (tpc_fp_hit(sqlite->options.failpoints.commit)) {
        (void)snprintf(group->detail, sizeof(group->detail), "disk I/O error (failpoint)");
        return false;
    }
    /* If we crash before this returns, the file shows all of the group or none of it, each branch
     * with its marker: the commit is repeated and finds the markers or does the work. */
    int rc = part_write_exec(sqlite, PART_OWN_COMMIT);
    if (rc != SQLITE_OK) {
        take_words(group);
        group->unknown = (rc & 0xff) != SQLITE_BUSY && (rc & 0xff) != SQLITE_FULL;
        return false;
    }
    sqlite->writing = false;
    sqlite->forgotten_count = 0;
    sqlite->counts.commit_groups++;
    (void)tpc_fp_hit(sqlite->options.failpoints.committed);
    return true;
}

/* Those that are committed already, by their marker, end here. The marker is durable: every start
 * commits before it looks, and a failed commit shows none. */
static bool end_marked(struct group *group)
{
    struct part_branch_entry **at = &group->first;
    struct tpc_err err = {0};
    while (*at != NULL) {
        struct part_branch_entry *entry = *at;
        bool marked = false;
        if (entry->check_marker &&
            part_write_marked(group->sqlite, &entry->owner.gtid, &marked, &err) != TPC_OK) {
            (void)snprintf(group->detail, sizeof(group->detail), "%s", err.text);
            return false;
        }
        if (marked) {
            *at = entry->next_in_group;
            ended_committed(group->sqlite, entry);
        } else {
            at = &entry->next_in_group;
        }
    }
    return true;
}

static bool begin_group(struct group *group)
{
    struct tpc_err err = {0};
    if (tpc_fp_hit(group->sqlite->options.failpoints.apply)) {
        (void)tpc_fail(&err, TPC_EIO, "disk I/O error (failpoint)");
    } else if (part_write_begin(group->sqlite, &err) == TPC_OK) {
        group->begun = true;
        return end_marked(group);
    }
    (void)snprintf(group->detail, sizeof(group->detail), "%s", err.text);
    return false;
}

static void run_group(struct part_sqlite *sqlite, struct part_branch_entry *first)
{
    struct group group = {.sqlite = sqlite, .first = first};
    if (!begin_group(&group)) {
        ended_failed(&group);
    }
    if (group.first != NULL && (!apply_group(&group) || !commit_group(&group))) {
        ended_failed(&group);
    }
    struct part_branch_entry *entry = group.first, *next;
    for (; entry != NULL; entry = next) {
        next = entry->next_in_group;
        if (entry->result == PART_APPLIED) {
            ended_committed(sqlite, entry);
        } else {
            ended_conflict(sqlite, entry);
        }
    }
    /* Keep others out of the file while branches are prepared: no gap but the commit itself. A
     * failure shows when the lock is needed next. */
    struct tpc_err err = {0};
    if (sqlite->prepared > 0 && part_write_begin(sqlite, &err) != TPC_OK) {
        sqlite->writing = false;
    }
}

/* COMMIT for a branch that is not prepared here: only a marker can answer. */
static void end_unknown(struct part_sqlite *sqlite, struct part_job *job)
{
    struct tpc_err err = {0};
    bool marked = false;
    if (part_write_marked(sqlite, &job->gtid, &marked, &err) != TPC_OK) {
        end_with(sqlite, job, PART_JOB_RETRY, err.text);
    } else if (marked) {
        part_sqlite_end(sqlite, job, PART_JOB_COMMITTED);
    } else {
        end_with(sqlite, job, PART_JOB_CONFLICT, "no such branch is prepared here");
    }
}

void part_commit_jobs(struct part_sqlite *sqlite, struct part_job *jobs)
{
    struct part_branch_entry *first = NULL;
    while (jobs != NULL) {
        struct part_job *job = jobs;
        jobs = job->next;
        struct part_branch_entry *entry = part_branch_find(sqlite, &job->gtid);
        if (entry == NULL) {
            end_unknown(sqlite, job);
            continue;
        }
        entry->job = job;
        entry->next_in_group = first;
        first = entry;
    }
    if (first != NULL) {
        run_group(sqlite, first);
    }
}

void part_commit_one_phase(struct part_sqlite *sqlite)
{
    struct part_branch_entry *first = sqlite->one_phase;
    sqlite->one_phase = NULL;
    if (first != NULL) {
        run_group(sqlite, first);
    }
}

void part_commit_forgotten(struct part_sqlite *sqlite)
{
    struct group group = {.sqlite = sqlite};
    struct tpc_err err = {0};
    if (sqlite->forgotten_count > 0 && part_write_begin(sqlite, &err) == TPC_OK &&
        (!remove_forgotten(&group) || !commit_group(&group))) {
        part_write_rollback(sqlite);
    }
}
