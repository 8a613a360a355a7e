/* Records that no vote waits for, but a commit.
 *
 * A server holds a prepared branch by itself, so yes may be said at once. But once it is committed
 * there the server knows it by its number only, and without the number in our log nobody could say
 * how the branch ended. So the record is forced at once, while the vote is on its way, and the
 * commit is not sent before it is durable. A crash before that: the server still holds the branch,
 * where it is found by its name. */
#include "participant/daemon.h"

#include "base/clock.h"

#include <stdlib.h>

struct keep {
    struct wal_append append; /* first */
    struct part_daemon *daemon;
    struct tpc_id gtid;
    struct part_job *job; /* that goes on; NULL: a prepared branch's */
};

static void on_kept(struct wal_append *append, enum tpc_rc rc, const struct tpc_err *err)
{
    struct keep *keep = (struct keep *)append;
    struct part_daemon *daemon = keep->daemon;
    daemon->forces_busy--;
    if (rc != TPC_OK || part_fp(PART_FP_PG_RECORDED)) {
        part_halt("a forced write of the log failed, and nobody knows what is on disk", err);
    }
    part_retention_forced(daemon);
    if (keep->job != NULL) {
        daemon->resource->ops->proceed(daemon->resource, keep->job);
    } else {
        struct branch *branch = part_table_find(daemon, &keep->gtid);
        if (branch != NULL && branch->work != NULL) {
            branch->work->keeping = false;
            if (branch->work->commit_waits) {
                branch->work->commit_waits = false;
                part_job_start(branch, PART_JOB_COMMIT);
            }
        }
    }
    free(keep);
}

static void submit(struct part_daemon *daemon, const struct tpc_id *gtid, struct part_job *job,
                   struct tpc_buf *record)
{
    struct keep *keep = part_alloc(sizeof *keep);
    if (part_fp(PART_FP_PG_RECORD)) {
        part_halt("the log cannot be written", NULL);
    }
    keep->daemon = daemon;
    keep->gtid = *gtid;
    keep->job = job;
    keep->append = (struct wal_append){.size = record->size, .force = true, .done = on_kept};
    keep->append.data = tpc_buf_take(record); /* which forgets the size */
    daemon->forces_busy++;
    daemon->forces_begun++;
    if (wal_log_submit(daemon->log, &keep->append) != TPC_OK) {
        part_halt("the log is too slow: --log-queue-max is reached", NULL);
    }
}

void part_keep(struct branch *branch)
{
    struct tpc_buf record = {0};
    part_branch_work(branch)->keeping = true;
    part_encode(branch, WAL_PART_PREPARED, &record);
    submit(branch->daemon, &branch->gtid, NULL, &record);
}

void part_keep_attempt(struct part_job *job)
{
    struct branch *branch = job->user;
    struct tpc_buf bytes = {0};
    const struct part_record record = {.gtid = job->gtid,
                                       .coordinator_id = job->coordinator_id,
                                       .at_us = tpc_clock_wall_us(),
                                       .payload = job->payload.data,
                                       .payload_size = job->payload.size};
    if (part_record_write(&bytes, WAL_PART_ATTEMPT, &record) != TPC_OK) {
        part_halt("out of memory for a record of the log", NULL);
    }
    branch->logged = true;
    submit(branch->daemon, &job->gtid, job, &bytes);
}
