/* Interactive branches between their steps: each has a session to itself, in an open transaction,
 * from its first step until its decision. When that session is lost the work is gone, and the
 * branch learns so with its next step. Nobody waits for such a session behind a client that thinks:
 * when all are taken, a branch is refused. */
#include "participant/maria_internal.h"

#include <stdio.h>
#include <string.h>

static struct maria_session *find(const struct part_maria *maria, const struct tpc_id *gtid)
{
    for (size_t i = 0; i < maria->pinned_count; i++) {
        struct maria_session *session = &maria->pinned[i];
        if (session->busy && session->branch.phase == MARIA_OPEN &&
            tpc_id_equal(&session->branch.gtid, gtid)) {
            return session;
        }
    }
    return NULL;
}

void maria_pinned_on_lost(struct maria_session *session, const char *words)
{
    session->lost_by = session->branch.gtid;
    (void)snprintf(session->lost_words, sizeof session->lost_words, "%s", words);
}

static void refuse_lost(struct part_maria *maria, struct part_job *job)
{
    char words[300] = "the work that was done in the branch before is not there any more";
    for (size_t i = 0; i < maria->pinned_count; i++) {
        if (tpc_id_equal(&maria->pinned[i].lost_by, &job->gtid)) {
            size_t size = strlen(words);
            (void)snprintf(words + size, sizeof words - size, ": %s", maria->pinned[i].lost_words);
        }
    }
    maria_refuse_job(maria, job, API_CAUSE_WORK_LOST, words);
}

static size_t taken(const struct part_maria *maria)
{
    size_t count = maria->openers.count;
    for (size_t i = 0; i < maria->pinned_count; i++) {
        count += maria->pinned[i].busy;
    }
    return count;
}

static void begin(struct part_maria *maria, struct part_job *job)
{
    if (taken(maria) >= maria->pinned_count) {
        maria_refuse_job(
            maria, job, API_CAUSE_CONFLICT,
            "as many interactive branches are open at the server as there are sessions for them "
            "(--open-max)");
    } else {
        part_job_queue_add(&maria->openers, job);
    }
}

bool maria_pinned_submit(struct part_maria *maria, struct part_job *job)
{
    struct maria_session *session = find(maria, &job->gtid);
    if (job->kind == PART_JOB_ABORT) {
        if (session != NULL) {
            maria_branch_undo(session, job);
        }
        return session != NULL;
    }
    if (job->kind != PART_JOB_EXECUTE && (job->kind != PART_JOB_PREPARE || job->executed == 0)) {
        return false;
    }
    if (job->executed == 0) {
        begin(maria, job);
    } else if (session != NULL) {
        maria_branch_begin(session, job);
    } else {
        refuse_lost(maria, job);
    }
    return true;
}
