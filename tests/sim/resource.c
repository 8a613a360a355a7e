/* In place of the SQLite adapter: a resource over the simulated database, with
 * its rules. A branch takes the locks of all rows that it writes at once; who
 * is older waits, who is younger is refused. The change goes into the log as
 * values before and after, so that work which is lost, or done twice, is seen
 * in the rows. */
#include "tests/sim/database.h"

#include "base/clock.h"
#include "participant/resource.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { JOB_US = 200, TELL_US = 100, SLOW_US = 5000000 };

/* A branch that is prepared. */
struct hold {
    struct tpc_id gtid;
    uint64_t began_us;
    bool open; /* its rows are not locked: only when that is the fault */
    struct sim_change change;
    struct hold *prev, *next;
};

struct sim_resource {
    struct part_resource resource; /* first */
    struct part_resource_options options;
    struct sim_node *node;
    bool started;
    struct hold *holds;
    struct part_job *waiting; /* for locks, through part_job.next */
    struct part_job *done;
};

static struct sim_resource *resource_of(struct part_resource *resource)
{
    return (struct sim_resource *)resource;
}

static struct hold *find_hold(const struct sim_resource *resource, const struct tpc_id *gtid)
{
    struct hold *hold;
    DL_FOREACH (resource->holds, hold) {
        if (tpc_id_equal(&hold->gtid, gtid)) {
            return hold;
        }
    }
    return NULL;
}

/* ---- The end of a job ---- */

static void tell(void *arg)
{
    const struct sim_node *node = arg;
    struct sim_resource *resource = node->resource;
    resource->options.wake(resource->options.wake_arg);
}

static void finish(struct sim_resource *resource, struct part_job *job,
                   enum part_job_outcome outcome)
{
    job->outcome = outcome;
    api_statements_done(&job->statements);
    LL_APPEND(resource->done, job);
    sim_at(sim.now_us + sim_latency(&resource->node->random, TELL_US), resource->node, tell,
           resource->node);
    sim_crash_point(SIM_CRASH_INSIDE);
}

static void refuse(struct sim_resource *resource, struct part_job *job, enum api_cause_code code,
                   const char *detail)
{
    job->cause = (struct api_cause){.code = code, .statement = 0, .detail = strdup(detail)};
    finish(resource, job, PART_JOB_REFUSED);
}

static void retry(struct sim_resource *resource, struct part_job *job)
{
    sim_trace(resource->node->name, "the database cannot now");
    job->cause = (struct api_cause){
        .code = API_CAUSE_PARTICIPANT_ERROR, .statement = -1, .detail = strdup("not now")};
    finish(resource, job, PART_JOB_RETRY);
}

/* ---- Prepare ---- */

static bool add_write(const struct sim_resource *resource, struct sim_change *change, unsigned row,
                      int64_t delta)
{
    struct sim_write *write = NULL;
    for (unsigned i = 0; i < change->count; i++) {
        if (change->writes[i].row == row) {
            write = &change->writes[i];
        }
    }
    if (write == NULL) {
        int64_t before = sim_database_row(resource->node->database, row);
        write = &change->writes[change->count++];
        *write = (struct sim_write){.row = row, .before = before, .after = before};
    }
    write->after += delta;
    return write->after >= 0;
}

/* "add ROW DELTA TXN", "read ROW TXN", "fail". NULL, or why it is refused. */
static const char *run_statements(const struct sim_resource *resource, const struct part_job *job,
                                  struct sim_change *ret_change)
{
    *ret_change = (struct sim_change){0};
    for (size_t i = 0; i < job->statements.count; i++) {
        unsigned row = 0, txn = 0;
        int64_t delta = 0;
        const char *sql = job->statements.items[i].sql;
        if (strcmp(sql, "fail") == 0) {
            return "the statement fails";
        }
        if (sscanf(sql, "add %u %" SCNd64 " %u", &row, &delta, &txn) == 3) {
            ret_change->txn = txn;
            if (!add_write(resource, ret_change, row, delta)) {
                return "a balance would be negative";
            }
        } else if (sscanf(sql, "read %u %u", &row, &txn) != 2) {
            sim_violation("a statement has become \"%s\"", sql);
        }
    }
    return NULL;
}

static bool is_locked_by(const struct hold *hold, const struct sim_change *change)
{
    for (unsigned i = 0; i < hold->change.count && !hold->open; i++) {
        for (unsigned j = 0; j < change->count; j++) {
            if (hold->change.writes[i].row == change->writes[j].row) {
                return true;
            }
        }
    }
    return false;
}

static bool is_older(const struct part_job *job, const struct hold *hold)
{
    return job->began_us != hold->began_us ? job->began_us < hold->began_us
                                           : tpc_id_compare(&job->gtid, &hold->gtid) < 0;
}

enum locks { LOCKS_FREE, LOCKS_WAIT, LOCKS_DIE };

static enum locks try_locks(const struct sim_resource *resource, const struct part_job *job,
                            const struct sim_change *change)
{
    enum locks locks = LOCKS_FREE;
    const struct hold *hold;
    DL_FOREACH (resource->holds, hold) {
        if (is_locked_by(hold, change)) {
            if (!is_older(job, hold)) {
                return LOCKS_DIE;
            }
            locks = LOCKS_WAIT;
        }
    }
    return locks;
}

static struct hold *add_hold(struct sim_resource *resource, const struct tpc_id *gtid,
                             uint64_t began_us, const struct sim_change *change)
{
    struct hold *hold = tpc_must_alloc(sizeof *hold);
    *hold = (struct hold){.gtid = *gtid, .began_us = began_us, .change = *change};
    DL_APPEND(resource->holds, hold);
    return hold;
}

static void done_work(struct sim_resource *resource, struct part_job *job,
                      const struct sim_change *change)
{
    tpc_buf_addf(&job->results, "[{\"rows\":%u}]", change->count);
    if (change->count == 0) {
        finish(resource, job, PART_JOB_READ_ONLY);
    } else if (job->one_phase) {
        sim_check_commit(resource->node, &job->gtid, true);
        sim_database_apply(resource->node, &job->gtid, change);
        finish(resource, job, PART_JOB_COMMITTED);
    } else {
        (void)add_hold(resource, &job->gtid, job->began_us, change);
        tpc_buf_addf(&job->payload, "%u", change->txn);
        for (unsigned i = 0; i < change->count; i++) {
            const struct sim_write *write = &change->writes[i];
            tpc_buf_addf(&job->payload, " %u %" PRId64 " %" PRId64, write->row, write->before,
                         write->after);
        }
        finish(resource, job, PART_JOB_READY);
    }
}

static void on_deadline(void *arg);

static void prepare(struct sim_resource *resource, struct part_job *job, bool waited)
{
    struct sim_change change;
    if (job->cancelled) {
        refuse(resource, job, API_CAUSE_CLIENT_ABORT, "cancelled");
    } else if (sim_database_proves(resource->node->database, &job->gtid)) {
        finish(resource, job, PART_JOB_PROVEN);
    } else if (tpc_clock_mono_ms() > job->deadline_ms) {
        refuse(resource, job, API_CAUSE_TIMEOUT, "the time-out has passed");
    } else {
        const char *why = run_statements(resource, job, &change);
        if (why != NULL) {
            refuse(resource, job, API_CAUSE_EXPECTATION_FAILED, why);
            return;
        }
        switch (try_locks(resource, job, &change)) {
        case LOCKS_FREE:
            done_work(resource, job, &change);
            break;
        case LOCKS_DIE:
            refuse(resource, job, API_CAUSE_CONFLICT, "an older transaction holds a row");
            break;
        case LOCKS_WAIT:
            LL_APPEND(resource->waiting, job);
            if (!waited) {
                sim_at((job->deadline_ms + 1) * 1000 - SIM_MONO_START_US, resource->node,
                       on_deadline, resource->node);
            }
            break;
        }
    }
}

/* Some locks are free, a time has passed, or one is not wanted any more: the
 * oldest first. */
static void look_again(struct sim_resource *resource)
{
    struct part_job *all = resource->waiting;
    resource->waiting = NULL;
    while (all != NULL) {
        struct part_job *oldest = all, *job;
        LL_FOREACH (all, job) {
            if (job->began_us < oldest->began_us) {
                oldest = job;
            }
        }
        LL_DELETE(all, oldest);
        oldest->next = NULL;
        prepare(resource, oldest, true);
    }
}

static void on_deadline(void *arg)
{
    look_again(((struct sim_node *)arg)->resource);
}

/* ---- Commit, abort, proof ---- */

static void let_go(struct sim_resource *resource, struct hold *take_hold)
{
    DL_DELETE(resource->holds, take_hold);
    free(take_hold);
    look_again(resource);
}

static void commit(struct sim_resource *resource, struct part_job *job)
{
    struct sim_node *node = resource->node;
    struct hold *hold = find_hold(resource, &job->gtid);
    if (hold == NULL && sim_database_proves(node->database, &job->gtid)) {
        finish(resource, job, PART_JOB_COMMITTED);
        return;
    }
    if (hold == NULL) {
        sim_violation("%s is to commit work that it does not hold", node->name);
    }
    if (sim_fault(SIM_DB_FOREIGN, node->index)) {
        sim_database_meddle(node, &hold->change);
        sim_database_note_hand(node, &job->gtid, hold->change.txn);
    }
    if (!sim_database_fits(node->database, &hold->change)) {
        if (!sim_database_is_by_hand(node, &job->gtid)) {
            sim_violation("rows that a branch at %s holds have changed", node->name);
        }
        job->cause = (struct api_cause){
            .code = API_CAUSE_CONFLICT, .statement = -1, .detail = strdup("changed meanwhile")};
        finish(resource, job, PART_JOB_CONFLICT);
        return;
    }
    sim_check_commit(node, &job->gtid, false);
    sim_database_apply(node, &job->gtid, &hold->change);
    let_go(resource, hold);
    finish(resource, job, PART_JOB_COMMITTED);
}

static void undo(struct sim_resource *resource, struct part_job *job)
{
    struct hold *hold = find_hold(resource, &job->gtid);
    if (sim_database_has(resource->node, &job->gtid)) {
        sim_violation("%s is to abort what it has committed", resource->node->name);
    }
    if (hold != NULL && sim.config.broken != SIM_BROKEN_KEPT_LOCKS) {
        let_go(resource, hold);
    }
    finish(resource, job, PART_JOB_ABORTED);
}

struct begun {
    struct sim_node *node;
    struct part_job *job;
};

static void begin(void *arg)
{
    const struct begun *begun = arg;
    struct sim_resource *resource = begun->node->resource;
    struct part_job *job = begun->job;
    sim_crash_point(SIM_CRASH_INSIDE);
    if (job->kind == PART_JOB_PREPARE) {
        prepare(resource, job, false);
    } else if (sim_fault(SIM_DB_RETRY, begun->node->index)) {
        retry(resource, job);
    } else if (job->kind == PART_JOB_COMMIT) {
        commit(resource, job);
    } else if (job->kind == PART_JOB_ABORT) {
        undo(resource, job);
    } else {
        bool proven = sim_database_proves(begun->node->database, &job->gtid);
        finish(resource, job, proven ? PART_JOB_PROVEN : PART_JOB_NO_PROOF);
    }
}

/* ---- participant/resource.h ---- */

static void submit(struct part_resource *of, struct part_job *job)
{
    struct sim_resource *resource = resource_of(of);
    struct sim_node *node = resource->node;
    if (!resource->started) {
        sim_violation("%s takes work before its locks are back", node->name);
    }
    struct begun *begun = sim_alloc(sizeof *begun);
    *begun = (struct begun){.node = node, .job = job};
    job->next = NULL;
    uint64_t us = sim_latency(&node->random, JOB_US);
    if (sim_fault(SIM_DB_SLOW, node->index)) {
        us = sim_between(&node->random, 10000, SLOW_US);
        sim_trace(node->name, "the database takes %u ms", (unsigned)(us / 1000));
    }
    sim_at_take(sim.now_us + us, node, begin, begun);
}

static void cancel(struct part_resource *of, struct part_job *job)
{
    job->cancelled = true;
    look_again(resource_of(of));
}

static enum tpc_rc restore(struct part_resource *of, const struct tpc_id *gtid, uint64_t began_us,
                           const void *payload, size_t size, struct tpc_err *reterr)
{
    struct sim_resource *resource = resource_of(of);
    struct sim_change change = {0};
    char *copy = sim_copy(payload, size), *at = copy;
    (void)reterr;
    sim_crash_point(SIM_CRASH_START);
    change.txn = (unsigned)strtoul(at, &at, 10);
    while (*at == ' ' && change.count < SIM_ROWS) {
        struct sim_write *write = &change.writes[change.count++];
        write->row = (unsigned)strtoul(at, &at, 10);
        write->before = strtoll(at, &at, 10);
        write->after = strtoll(at, &at, 10);
    }
    if (*at != '\0' || change.count == 0 || find_hold(resource, gtid) != NULL) {
        sim_violation("%s restores \"%s\"", resource->node->name, copy);
    }
    free(copy);
    struct hold *hold;
    DL_FOREACH (resource->holds, hold) {
        if (is_locked_by(hold, &change)) {
            sim_violation("two prepared branches at %s hold the same row", resource->node->name);
        }
    }
    hold = add_hold(resource, gtid, began_us, &change);
    hold->open = sim.config.broken == SIM_BROKEN_NO_RESTORE;
    return TPC_OK;
}

static enum tpc_rc prove(struct part_resource *of, const struct tpc_id *gtid, bool *ret_proven,
                         struct tpc_err *reterr)
{
    (void)reterr;
    sim_crash_point(SIM_CRASH_START);
    *ret_proven = sim_database_proves(resource_of(of)->node->database, gtid);
    return TPC_OK;
}

static enum tpc_rc start(struct part_resource *of, struct tpc_err *reterr)
{
    (void)reterr;
    resource_of(of)->started = true;
    return TPC_OK;
}

static void poll(struct part_resource *of)
{
    struct sim_resource *resource = resource_of(of);
    struct part_job *job = resource->done, *next;
    resource->done = NULL;
    for (; job != NULL; job = next) {
        next = job->next;
        job->next = NULL;
        job->done(job);
    }
}

static void stats(struct part_resource *of, struct part_resource_stats *out)
{
    (void)of;
    *out = (struct part_resource_stats){0};
}

static void forget(struct part_resource *of, const struct tpc_id *gtids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sim_database_forget(resource_of(of)->node->database, &gtids[i]);
    }
}

static void close_resource(struct part_resource *of)
{
    struct sim_resource *resource = resource_of(of);
    struct hold *hold, *next;
    DL_FOREACH_SAFE(resource->holds, hold, next)
    {
        free(hold);
    }
    resource->node->resource = NULL;
    free(resource);
}

size_t sim_resource_locks(const struct sim_node *node)
{
    const struct hold *hold;
    size_t count = 0;
    if (node->resource != NULL) {
        DL_FOREACH (node->resource->holds, hold) {
            count += hold->change.count;
        }
    }
    return count;
}

unsigned sim_resource_holds(const struct sim_node *node, const struct tpc_id *gtid)
{
    const struct hold *hold = node->resource != NULL ? find_hold(node->resource, gtid) : NULL;
    return hold != NULL ? hold->change.txn : 0;
}

enum tpc_rc part_resource_open(const struct part_resource_options *options,
                               struct part_resource **ret_resource, struct tpc_err *reterr)
{
    static const struct part_resource_ops ops = {.submit = submit,
                                                 .cancel = cancel,
                                                 .restore = restore,
                                                 .prove = prove,
                                                 .start = start,
                                                 .poll = poll,
                                                 .stats = stats,
                                                 .forget = forget,
                                                 .close = close_resource};
    struct sim_resource *resource = tpc_must_alloc(sizeof *resource);
    (void)reterr;
    resource->resource.ops = &ops;
    resource->options = *options;
    resource->node = sim.current;
    sim.current->resource = resource;
    *ret_resource = &resource->resource;
    return TPC_OK;
}
