#include "base/clock.h"
#include "base/tpc_assert.h"
#include "participant/sqlite_internal.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLICE_MS       20 /* the first; it doubles */
#define RESULT_DEFAULT (UINT64_C(4) << 20)
#define WAIT_DEFAULT   10000

static struct part_sqlite *of(struct part_resource *resource)
{
    return (struct part_sqlite *)resource;
}

void part_sqlite_append(struct part_job **first, struct part_job **last, struct part_job *job)
{
    job->next = NULL;
    *(*first != NULL ? &(*last)->next : first) = job;
    *last = job;
}

/* ---- Jobs that end ---- */

void part_sqlite_end(struct part_sqlite *sqlite, struct part_job *job,
                     enum part_job_outcome outcome)
{
    job->outcome = outcome;
    api_statements_done(&job->statements);
    pthread_mutex_lock(&sqlite->mutex);
    bool first = sqlite->ended == NULL;
    part_sqlite_append(&sqlite->ended, &sqlite->ended_last, job);
    pthread_mutex_unlock(&sqlite->mutex);
    if (first && sqlite->options.wake != NULL) {
        sqlite->options.wake(sqlite->options.wake_arg);
    }
}

void part_sqlite_end_refused(struct part_sqlite *sqlite, struct part_job *job,
                             enum part_job_outcome outcome, const struct part_refusal *refusal)
{
    part_refusal_tell(refusal, &job->cause);
    tpc_buf_clear(&job->results);
    part_sqlite_end(sqlite, job, outcome);
}

static void poll_ended(struct part_resource *resource)
{
    struct part_sqlite *sqlite = of(resource);
    pthread_mutex_lock(&sqlite->mutex);
    struct part_job *job = sqlite->ended;
    sqlite->ended = NULL;
    pthread_mutex_unlock(&sqlite->mutex);
    while (job != NULL) {
        struct part_job *next = job->next;
        job->done(job);
        job = next;
    }
}

/* ---- The interface ---- */

void part_sqlite_submit(struct part_sqlite *sqlite, struct part_job *job)
{
    pthread_mutex_lock(&sqlite->mutex);
    bool first = sqlite->queue == NULL;
    part_sqlite_append(&sqlite->queue, &sqlite->queue_last, job);
    atomic_store(&sqlite->urgent, true);
    if (first) {
        pthread_cond_signal(&sqlite->changed);
    }
    pthread_mutex_unlock(&sqlite->mutex);
}

static void submit(struct part_resource *resource, struct part_job *job)
{
    struct part_sqlite *sqlite = of(resource);
    job->slice_ms = SLICE_MS;
    job->writes = false;
    if (!part_readers_take(sqlite->readers, job, false)) {
        part_sqlite_submit(sqlite, job);
    }
}

static void cancel(struct part_resource *resource, struct part_job *job)
{
    struct part_sqlite *sqlite = of(resource);
    atomic_store(&job->cancelled, true);
    pthread_mutex_lock(&sqlite->mutex);
    sqlite->look_again = true;
    pthread_cond_signal(&sqlite->changed);
    pthread_mutex_unlock(&sqlite->mutex);
}

static enum tpc_rc restore(struct part_resource *resource, const struct tpc_id *gtid,
                           uint64_t began_us, const void *payload, size_t size,
                           struct tpc_err *reterr)
{
    TPC_ASSERT(!of(resource)->started);
    return part_branch_restore(of(resource), gtid, began_us, payload, size, reterr);
}

static enum tpc_rc prove(struct part_resource *resource, const struct tpc_id *gtid,
                         bool *ret_proven, struct tpc_err *reterr)
{
    struct part_sqlite *sqlite = of(resource);
    TPC_ASSERT(!sqlite->started);
    if (tpc_fp_hit(sqlite->options.failpoints.prove)) {
        return tpc_fail(reterr, TPC_EIO, "%s: disk I/O error (failpoint)", sqlite->path);
    }
    return part_write_marked(sqlite, gtid, ret_proven, reterr);
}

static enum tpc_rc start(struct part_resource *resource, struct tpc_err *reterr)
{
    struct part_sqlite *sqlite = of(resource);
    TPC_ASSERT(!sqlite->started);
    enum tpc_rc result = part_sqlite_note_start(sqlite, reterr);
    if (result != TPC_OK) {
        return result;
    }
    int rc = pthread_create(&sqlite->thread, NULL, part_turn_run, sqlite);
    if (rc != 0) {
        return tpc_fail(reterr, TPC_ENOMEM, "cannot start a thread: %s", strerror(rc));
    }
    sqlite->started = true;
    return TPC_OK;
}

static void get_stats(struct part_resource *resource, struct part_resource_stats *out)
{
    struct part_sqlite *sqlite = of(resource);
    pthread_mutex_lock(&sqlite->mutex);
    *out = sqlite->stats;
    pthread_mutex_unlock(&sqlite->mutex);
}

static void forget(struct part_resource *resource, const struct tpc_id *gtids, size_t count)
{
    struct part_sqlite *sqlite = of(resource);
    pthread_mutex_lock(&sqlite->mutex);
    size_t wanted = sqlite->forget_count + count;
    if (wanted > sqlite->forget_capacity) {
        struct tpc_id *more = realloc(sqlite->forget, 2 * wanted * sizeof(*more));
        if (more != NULL) {
            sqlite->forget = more;
            sqlite->forget_capacity = 2 * wanted;
        }
    }
    /* Out of memory: the markers stay, which costs space and nothing else. */
    if (wanted <= sqlite->forget_capacity && count > 0) {
        memcpy(sqlite->forget + sqlite->forget_count, gtids, count * sizeof(*gtids));
        sqlite->forget_count = wanted;
    }
    pthread_mutex_unlock(&sqlite->mutex);
}

void part_sqlite_free(struct part_sqlite *sqlite)
{
    if (sqlite->db != NULL) {
        part_write_rollback(sqlite);
        part_stmts_forget(sqlite);
        part_apply_forget(&sqlite->schema);
        part_keys_forget(&sqlite->schema);
        part_write_done(sqlite);
        sqlite3_close(sqlite->db);
    }
    part_schema_done(&sqlite->schema);
    part_capture_done(sqlite);
    part_locks_free(sqlite->locks);
    pthread_mutex_destroy(&sqlite->mutex);
    pthread_cond_destroy(&sqlite->changed);
    free(sqlite->forgotten);
    free(sqlite->forget);
    free(sqlite->path);
    free(sqlite);
}

static void close_resource(struct part_resource *resource)
{
    struct part_sqlite *sqlite = of(resource);
    pthread_mutex_lock(&sqlite->mutex);
    sqlite->closing = true;
    pthread_cond_signal(&sqlite->changed);
    pthread_mutex_unlock(&sqlite->mutex);
    if (sqlite->started) {
        pthread_join(sqlite->thread, NULL);
    }
    part_readers_free(sqlite->readers);
    part_turn_refuse_all(sqlite, sqlite->queue);
    part_branch_done_all(sqlite);
    poll_ended(resource);
    part_sqlite_free(sqlite);
}

static const struct part_resource_ops sqlite_ops = {
    .submit = submit,
    .cancel = cancel,
    .restore = restore,
    .prove = prove,
    .start = start,
    .poll = poll_ended,
    .stats = get_stats,
    .forget = forget,
    .close = close_resource,
};

struct part_sqlite *part_sqlite_new(const struct part_resource_options *options, const char *path)
{
    struct part_sqlite *sqlite = calloc(1, sizeof(*sqlite));
    if (sqlite == NULL) {
        return NULL;
    }
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&sqlite->mutex, NULL);
    pthread_cond_init(&sqlite->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    sqlite->base.ops = &sqlite_ops;
    sqlite->options = *options;
    sqlite->options.url = NULL;
    sqlite->options.result_max = options->result_max != 0 ? options->result_max : RESULT_DEFAULT;
    sqlite->options.waiting_max = options->waiting_max != 0 ? options->waiting_max : WAIT_DEFAULT;
    sqlite->data_version = sqlite->schema_version = -1;
    sqlite->path = strdup(path);
    if (sqlite->path == NULL || part_locks_new(&sqlite->locks) != TPC_OK) {
        part_sqlite_free(sqlite);
        return NULL;
    }
    return sqlite;
}

enum tpc_rc part_sqlite_open(const struct part_resource_options *options,
                             struct part_resource **ret_resource, struct tpc_err *reterr)
{
    TPC_ASSERT(strncmp(options->url, "sqlite:", strlen("sqlite:")) == 0);
    struct part_sqlite *sqlite = part_sqlite_new(options, options->url + strlen("sqlite:"));
    if (sqlite == NULL) {
        return tpc_fail(reterr, TPC_ENOMEM, "out of memory");
    }
    enum tpc_rc rc = part_sqlite_preflight(sqlite, reterr);
    rc = rc == TPC_OK ? part_write_init(sqlite, reterr) : rc;
    if (rc != TPC_OK) {
        part_sqlite_free(sqlite);
        return rc;
    }
    part_stmts_init(sqlite);
    part_capture_init(sqlite);
    rc = part_readers_new(sqlite);
    if (rc != TPC_OK) {
        part_sqlite_free(sqlite);
        return tpc_fail(reterr, rc, "out of memory");
    }
    *ret_resource = &sqlite->base;
    return TPC_OK;
}
