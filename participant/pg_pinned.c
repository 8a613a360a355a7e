/* Interactive branches between their steps: each has a session to itself, in an open transaction,
 * from its first step until it is prepared or undone. When that session is lost the work is gone,
 * and the branch learns so with its next step. Nobody waits for such a session behind a client that
 * thinks: when all are taken, a branch is refused. */
#include "participant/pg_internal.h"

#include <stdio.h>
#include <string.h>

struct pg_session *pg_pinned_find(const struct part_pg *pg, const struct tpc_id *gtid)
{
    for (size_t i = 0; i < pg->pinned_count; i++) {
        if (pg->pinned[i].pinned && tpc_id_equal(&pg->pinned[i].pinned_by, gtid)) {
            return &pg->pinned[i];
        }
    }
    return NULL;
}

void pg_pinned_on_lost(struct pg_session *session, const char *words)
{
    if (session->pinned) {
        session->pinned = false;
        session->lost_by = session->pinned_by;
        (void)snprintf(session->lost_words, sizeof session->lost_words, "%s", words);
    }
}

static void refuse_lost(struct part_pg *pg, struct part_job *job)
{
    char words[300] = "the work that was done in the branch before is not there any more";
    for (size_t i = 0; i < pg->pinned_count; i++) {
        if (tpc_id_equal(&pg->pinned[i].lost_by, &job->gtid)) {
            size_t size = strlen(words);
            (void)snprintf(words + size, sizeof words - size, ": %s", pg->pinned[i].lost_words);
        }
    }
    pg_refuse_job(pg, job, API_CAUSE_WORK_LOST, words);
}

/* What is not prepared yet is undone where it was done. */
static bool undo(struct part_pg *pg, struct part_job *job)
{
    struct pg_session *session = pg_pinned_find(pg, &job->gtid);
    if (session == NULL || session->busy) {
        return false;
    }
    session->pinned = false;
    session->statement_timeout_ms = PG_TIMEOUT_UNKNOWN;
    pg_send(session, &(struct pg_step){.kind = PG_STEP_PLAIN}, "ROLLBACK");
    pg_sync(session, false);
    pg->stats.aborts++;
    pg_end(pg, job, PART_JOB_ABORTED);
    return true;
}

static size_t taken(const struct part_pg *pg)
{
    size_t count = pg->openers.count;
    for (size_t i = 0; i < pg->pinned_count; i++) {
        count += pg->pinned[i].pinned;
    }
    return count;
}

static void begin(struct part_pg *pg, struct part_job *job)
{
    if (taken(pg) >= pg->pinned_count) {
        pg_refuse_job(pg, job, API_CAUSE_CONFLICT,
                      "as many interactive branches are open at the server as there are sessions "
                      "for them (--open-max)");
    } else {
        part_job_queue_add(&pg->openers, job);
    }
}

bool pg_pinned_submit(struct part_pg *pg, struct part_job *job)
{
    struct pg_session *session;
    if (job->kind == PART_JOB_ABORT) {
        return undo(pg, job);
    }
    if (job->kind != PART_JOB_EXECUTE && (job->kind != PART_JOB_PREPARE || job->executed == 0)) {
        return false;
    }
    if (pg_has_past(pg, job)) {
        return true;
    }
    if (job->executed == 0) {
        begin(pg, job);
    } else if ((session = pg_pinned_find(pg, &job->gtid)) != NULL) {
        pg_branch_begin(session, job);
    } else {
        refuse_lost(pg, job);
    }
    return true;
}
