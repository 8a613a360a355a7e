/* What branches write to the log and do in the database. */
#include "participant/daemon.h"

#include "base/clock.h"
#include "base/tpc_assert.h"

#include <stdlib.h>
#include <string.h>

/* ---- The log ---- */

static enum part_failpoint force_point(enum wal_kind kind)
{
    switch ((int)kind) {
    case WAL_PART_PREPARED:
        return PART_FP_PREPARED_FORCE;
    case WAL_PART_ABORTED:
        return PART_FP_ABORTED_FORCE;
    case WAL_PART_HEURISTIC:
    case WAL_PART_COMMITTED: /* forced of a branch with an outcome of its own alone */
        return PART_FP_HEURISTIC_FORCE;
    default:
        return PART_FP_FORGOTTEN_FORCE;
    }
}

static enum part_failpoint forced_point(enum part_state state)
{
    switch ((int)state) {
    case PART_LOGGING:
        return PART_FP_PREPARED_FORCED;
    case PART_TOMBSTONING:
        return PART_FP_ABORTED_FORCED;
    case PART_RESOLVING:
        return PART_FP_HEURISTIC_FORCED;
    default:
        return PART_FP_FORGOTTEN_FORCED;
    }
}

void part_encode(struct branch *branch, enum wal_kind kind, struct tpc_buf *out)
{
    const struct by_hand *hand = &branch->by_hand;
    struct part_record record = {
        .gtid = branch->gtid,
        .coordinator_id = branch->coordinator_id,
        .began_us = branch->began_us,
        .at_us = kind == WAL_PART_PREPARED ? branch->at_us : tpc_clock_wall_us(),
        .heuristic = branch->fsm.heuristic,
        .operator_name = hand->operator_name,
        .operator_name_size = hand->operator_name != NULL ? strlen(hand->operator_name) : 0,
        .reason = hand->reason,
        .reason_size = hand->reason != NULL ? strlen(hand->reason) : 0,
    };
    if (kind == WAL_PART_PREPARED) {
        record.payload = branch->work->payload.data;
        record.payload_size = branch->work->payload.size;
    }
    if (part_record_write(out, kind, &record) != TPC_OK) {
        part_halt("out of memory for a record of the log", NULL);
    }
    if (kind == WAL_PART_PREPARED) {
        tpc_buf_done(&branch->work->payload); /* the database has it, or finds it in the log */
    }
    branch->logged = true;
}

static void on_forced(struct wal_append *append, enum tpc_rc rc, const struct tpc_err *err)
{
    struct work *work = (struct work *)((char *)append - offsetof(struct work, append));
    struct branch *branch = work->branch;
    struct part_daemon *daemon = branch->daemon;
    work->force_busy = false;
    daemon->forces_busy--;
    if (rc == TPC_OK && part_fp(forced_point(branch->fsm.state))) {
        rc = TPC_EIO;
    }
    if (rc != TPC_OK) {
        if (err != NULL) {
            part_halt("a forced write of the log failed, and nobody knows what is on disk", err);
        }
        part_event_sure(branch, PART_EV_FORCE_FAILED);
        return;
    }
    part_retention_forced(daemon);
    part_event_sure(branch, PART_EV_FORCED);
}

void part_force(struct branch *branch, enum wal_kind kind)
{
    struct part_daemon *daemon = branch->daemon;
    struct work *work = part_branch_work(branch);
    struct tpc_buf record = {0};
    TPC_ASSERT(!work->force_busy);
    if (part_fp(force_point(kind))) {
        part_halt("the log cannot be written", NULL);
    }
    part_encode(branch, kind, &record);
    work->append = (struct wal_append){.size = record.size, .force = true, .done = on_forced};
    work->append.data = tpc_buf_take(&record); /* which forgets the size */
    work->force_busy = true;
    daemon->forces_busy++;
    daemon->forces_begun++;
    /* Nothing was queued and nobody was told, but without the log nothing goes on. */
    if (wal_log_submit(daemon->log, &work->append) != TPC_OK) {
        part_halt("the log is too slow: --log-queue-max is reached", NULL);
    }
}

void part_log(struct branch *branch, enum wal_kind kind)
{
    struct tpc_buf record = {0};
    (void)part_branch_work(branch);
    if (kind == WAL_PART_PREPARED && branch->daemon->resource->ops->learn != NULL) {
        part_keep(branch); /* the database holds it, and the proof needs the log */
        return;
    }
    if ((kind == WAL_PART_COMMITTED && part_fp(PART_FP_COMMITTED_LOG)) ||
        (kind == WAL_PART_ABORTED && part_fp(PART_FP_ABORTED_LOG))) {
        part_halt("the log cannot be written", NULL);
    }
    part_encode(branch, kind, &record);
    size_t size = record.size;
    /* The order of records matters: an aborted branch's locks are free for the next one. */
    if (wal_log_submit_lazy(branch->daemon->log, tpc_buf_take(&record), size) != TPC_OK) {
        part_halt("the log is too slow: --log-queue-max is reached", NULL);
    }
}

/* ---- The database ---- */

static struct part_event event_of(const struct part_job *job)
{
    switch (job->outcome) {
    case PART_JOB_EXECUTED:
        return (struct part_event){.type = PART_EV_DB_EXECUTED};
    case PART_JOB_READY:
        return (struct part_event){.type = PART_EV_DB_READY, .held = job->held_by_database};
    case PART_JOB_READ_ONLY:
        return (struct part_event){.type = PART_EV_DB_READ_ONLY};
    case PART_JOB_REFUSED:
        return (struct part_event){.type = PART_EV_DB_REFUSED};
    case PART_JOB_COMMITTED:
        return (struct part_event){.type = PART_EV_DB_COMMITTED};
    case PART_JOB_PROVEN:
        return (struct part_event){.type = PART_EV_DB_PROOF};
    case PART_JOB_RETRY:
        return (struct part_event){.type = PART_EV_DB_RETRY};
    case PART_JOB_CONFLICT:
        return (struct part_event){.type = PART_EV_DB_CONFLICT};
    case PART_JOB_ABORTED:
        return (struct part_event){.type = PART_EV_DB_ABORTED};
    case PART_JOB_NO_PROOF:
        return (struct part_event){.type = PART_EV_DB_NO_PROOF};
    case PART_JOB_LISTED:
        break;
    }
    TPC_ASSERT(!"an outcome");
}

static void keep_results(struct branch *branch, struct part_job *job)
{
    free(branch->results);
    branch->results_size = job->results.size;
    branch->results = NULL;
    if (branch->results_size > 0) { /* else it was refused, after it had begun perhaps */
        branch->results = tpc_buf_take(&job->results);
    }
}

/* The outcome is nobody's decision: the agent found it. */
static void note_others(struct branch *branch, const char *detail)
{
    free(branch->by_hand.operator_name);
    free(branch->by_hand.reason);
    branch->by_hand = (struct by_hand){
        .operator_name = part_strdup("agent"),
        .reason = part_strdup(detail != NULL ? detail : "the change no longer applies"),
        .at_us = tpc_clock_wall_us()};
}

/* Take what the job brought out of it: the next one uses the same storage. */
static void harvest(struct branch *branch, struct part_job *job)
{
    struct work *work = branch->work;
    if (job->kind == PART_JOB_PREPARE || job->kind == PART_JOB_EXECUTE) {
        keep_results(branch, job);
        tpc_buf_done(&work->payload);
        work->payload = job->payload;
        job->payload = (struct tpc_buf){0};
        api_cause_done(&branch->cause);
        branch->cause = job->cause;
        job->cause = (struct api_cause){.statement = -1};
        branch->at_us = tpc_clock_wall_us();
    }
    bool by_others = job->outcome == PART_JOB_CONFLICT ||
                     (job->kind == PART_JOB_ABORT && job->outcome == PART_JOB_PROVEN);
    if (job->outcome == PART_JOB_RETRY || by_others) {
        part_branch_set_error(branch, job->cause.detail);
    }
    if (by_others) {
        branch->daemon->stats.conflicts_applied += job->outcome == PART_JOB_CONFLICT;
        note_others(branch, job->cause.detail);
    }
    api_cause_done(&job->cause);
    tpc_buf_done(&job->results);
    tpc_buf_done(&job->payload);
}

static void on_job_done(struct part_job *job)
{
    struct branch *branch = job->user;
    branch->work->job_busy = false;
    job->statements = (struct api_statements){0}; /* the resource has freed them */
    branch->daemon->jobs_busy--;
    struct part_event event = event_of(job);
    harvest(branch, job);
    enum tpc_rc rc = part_event(branch, event);
    TPC_ASSERT(rc == TPC_OK); /* the database said what it cannot say */
}

void part_job_start(struct branch *branch, enum part_job_kind kind)
{
    struct part_daemon *daemon = branch->daemon;
    struct work *work = part_branch_work(branch);
    struct part_job *job = &work->job;
    TPC_ASSERT(!work->job_busy);
    if (kind == PART_JOB_COMMIT && work->keeping) {
        work->commit_waits = true;
        return;
    }
    job->kind = kind;
    job->gtid = branch->gtid;
    job->coordinator_id = branch->coordinator_id;
    job->began_us = branch->began_us;
    job->one_phase = branch->fsm.one_phase;
    job->done = on_job_done;
    job->record = part_keep_attempt;
    job->cause.statement = -1;
    atomic_store(&job->cancelled, false);
    work->job_busy = true;
    daemon->jobs_busy++;
    daemon->resource->ops->submit(daemon->resource, job);
}

void part_job_cancel(struct branch *branch)
{
    struct part_daemon *daemon = branch->daemon;
    daemon->resource->ops->cancel(daemon->resource, &branch->work->job);
}
