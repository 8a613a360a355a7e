/* What a database server holds prepared under our name, compared with what we know: at start, and
 * every while. A prepare may come about at the server after its session was lost and the vote was
 * no, and the record of a branch that was prepared may be lost with our memory. */
#include "participant/daemon.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>

enum { COMPARE_MS = 30000, FIRST_MS = 1000, SOON_MS = 100 };

static enum tpc_rc fold(struct branch *branch, const struct part_found *found,
                        struct tpc_err *reterr)
{
    const struct part_record record = {.gtid = found->gtid,
                                       .coordinator_id = found->coordinator_id};
    struct work *work = part_branch_work(branch);
    tpc_buf_clear(&work->payload);
    tpc_buf_add(&work->payload, found->payload, found->payload_size);
    if (work->payload.failed) {
        part_halt("out of memory for a branch that the server holds", NULL);
    }
    branch->coordinator_id = found->coordinator_id;
    branch->began_us = branch->at_us = found->at_us;
    return part_recover_fold(&branch->fsm, WAL_PART_PREPARED, &record, reterr);
}

enum tpc_rc part_adopt(struct part_daemon *daemon, const struct part_found *found,
                       struct tpc_err *reterr)
{
    struct part_resource *resource = daemon->resource;
    struct branch *branch = part_table_add(daemon, &found->gtid);
    enum tpc_rc rc = fold(branch, found, reterr);
    rc = rc == TPC_OK ? resource->ops->restore(resource, &found->gtid, found->at_us, found->payload,
                                               found->payload_size, reterr)
                      : rc;
    if (rc != TPC_OK) {
        return rc;
    }
    branch->logged = true;
    tpc_log(TPC_LOG_WARN, "branch.found", tpc_kv_id("gtid", &found->gtid),
            tpc_kv_id("coordinator", &found->coordinator_id),
            tpc_kv_str("advice", "the server holds it prepared and the log did not know it: its "
                                 "coordinator is asked"));
    if (!daemon->recovered) {
        branch->adopted = true;
    } else {
        part_keep(branch);
        part_event_sure(branch, PART_EV_RESTARTED);
    }
    return TPC_OK;
}

/* ---- What has ended here and is prepared there ---- */

static void on_settled(struct part_job *job)
{
    struct part_daemon *daemon = job->user;
    daemon->jobs_busy--;
    daemon->settling--;
    api_cause_done(&job->cause); /* what failed is found again */
    free(job);
}

/* Nobody waits for it. Of a branch that was aborted it is what a lost session prepared late. Of one
 * that was committed it cannot be what was committed, which is not there any more: it is the same
 * work once more. But where the database has the proof it can tell that from a branch that it has
 * brought back after a crash of its own, and commit that again. */
static void settle(struct part_daemon *daemon, const struct part_found *found, bool committed)
{
    bool commit = committed && daemon->resource->ops->learn == NULL;
    struct part_job *job = part_alloc(sizeof *job);
    tpc_log(TPC_LOG_WARN, "branch.left_prepared", tpc_kv_id("gtid", &found->gtid),
            tpc_kv_str("now", commit ? "commit" : "abort"));
    job->kind = commit ? PART_JOB_COMMIT : PART_JOB_ABORT;
    job->gtid = found->gtid;
    job->coordinator_id = found->coordinator_id;
    job->cause.statement = -1;
    job->user = daemon;
    job->done = on_settled;
    daemon->jobs_busy++;
    daemon->settling++;
    daemon->resource->ops->submit(daemon->resource, job);
}

static void compare_one(struct part_daemon *daemon, const struct part_found *found)
{
    struct branch *branch = part_table_find(daemon, &found->gtid);
    struct tpc_err err = {0};
    if (branch == NULL) {
        if (part_adopt(daemon, found, &err) != TPC_OK) {
            part_halt("a branch that the server holds cannot be taken up", &err);
        }
    } else if (branch->fsm.state == PART_ABORTED || branch->fsm.state == PART_HEUR_ABORT) {
        settle(daemon, found, false);
    } else if (branch->fsm.state == PART_COMMITTED || branch->fsm.state == PART_HEUR_COMMIT) {
        settle(daemon, found, true);
    }
}

static void on_listed(struct part_job *job)
{
    struct part_daemon *daemon = job->user;
    daemon->jobs_busy--;
    daemon->listing = false;
    for (size_t i = 0; i < job->found_count && !daemon->draining; i++) {
        compare_one(daemon, &job->found[i]);
    }
    api_cause_done(&job->cause);
    free(job->found);
    free(job);
    tpc_timer_arm(&daemon->timers, &daemon->compare, tpc_clock_mono_ms() + COMPARE_MS);
}

static void on_timer(struct tpc_timer *timer)
{
    struct part_daemon *daemon =
        (struct part_daemon *)((char *)timer - offsetof(struct part_daemon, compare));
    if (daemon->draining) {
        return;
    }
    if (daemon->settling > 0) { /* what is being ended would be found once more */
        tpc_timer_arm(&daemon->timers, &daemon->compare, tpc_clock_mono_ms() + SOON_MS);
        return;
    }
    struct part_job *job = part_alloc(sizeof *job);
    job->kind = PART_JOB_LIST;
    job->cause.statement = -1;
    job->user = daemon;
    job->done = on_listed;
    daemon->listing = true;
    daemon->jobs_busy++;
    daemon->resource->ops->submit(daemon->resource, job);
}

void part_compare_start(struct part_daemon *daemon)
{
    if (daemon->resource->ops->find != NULL) {
        daemon->compare.fire = on_timer;
        tpc_timer_arm(&daemon->timers, &daemon->compare, tpc_clock_mono_ms() + FIRST_MS);
    }
}

void part_compare_soon(void *arg)
{
    struct part_daemon *daemon = arg;
    uint64_t soon_ms = tpc_clock_mono_ms() + SOON_MS;
    if (daemon->compare.slot != 0 && daemon->compare.due_ms > soon_ms) {
        tpc_timer_arm(&daemon->timers, &daemon->compare, soon_ms);
    }
}
