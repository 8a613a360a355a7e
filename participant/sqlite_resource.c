#include "base/clock.h"
#include "base/tpc_assert.h"
#include "participant/sqlite_internal.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CAPTURES_US    2000 /* captures in a row before commits get their turn again */
#define RETRY_MS       100  /* for what could not be done at once: the write lock, a commit */
#define RESULT_DEFAULT (UINT64_C(4) << 20)
#define WAIT_DEFAULT   10000

static struct part_sqlite *of(struct part_resource *resource)
{
    return (struct part_sqlite *)resource;
}

static void append(struct part_job **first, struct part_job **last, struct part_job *job)
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
    append(&sqlite->ended, &sqlite->ended_last, job);
    pthread_mutex_unlock(&sqlite->mutex);
    if (first && sqlite->options.wake != NULL) {
        sqlite->options.wake(sqlite->options.wake_arg);
    }
}

void part_sqlite_end_refused(struct part_sqlite *sqlite, struct part_job *job,
                             enum part_job_outcome outcome, const struct part_refusal *refusal)
{
    api_cause_done(&job->cause);
    job->cause = (struct api_cause){
        .code = refusal->code, .statement = refusal->statement, .detail = strdup(refusal->detail)};
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

/* ---- The adapter thread ---- */

/* What is to be done in one turn. */
struct turn {
    struct part_job *commits, *commits_last;
    struct part_job *others, *others_last; /* aborts and proofs */
    struct part_job *prepares, *prepares_last;
    bool closing;
};

static uint64_t wait_until_ms(struct part_sqlite *sqlite)
{
    uint64_t until = part_branch_next_deadline_ms(sqlite);
    bool unfinished = sqlite->one_phase != NULL || (sqlite->prepared > 0 && !sqlite->writing);
    uint64_t retry = tpc_clock_mono_ms() + RETRY_MS;
    return unfinished && retry < until ? retry : until;
}

static bool has_news(const struct part_sqlite *sqlite)
{
    return sqlite->queue != NULL || sqlite->closing || sqlite->look_again;
}

/* With the mutex held. */
static void wait_for_news(struct part_sqlite *sqlite)
{
    uint64_t until = wait_until_ms(sqlite);
    struct timespec at = {.tv_sec = (time_t)(until / 1000),
                          .tv_nsec = (long)(until % 1000) * 1000000};
    while (!has_news(sqlite)) {
        if (until == UINT64_MAX) {
            pthread_cond_wait(&sqlite->changed, &sqlite->mutex);
        } else if (pthread_cond_timedwait(&sqlite->changed, &sqlite->mutex, &at) != 0) {
            return;
        }
    }
}

/* Let other programs write while nothing is prepared and nothing is asked for. */
static void rest(struct part_sqlite *sqlite)
{
    pthread_mutex_lock(&sqlite->mutex);
    bool busy = sqlite->queue != NULL;
    pthread_mutex_unlock(&sqlite->mutex);
    if (!busy && sqlite->prepared == 0) {
        part_commit_forgotten(sqlite);
        part_write_rollback(sqlite);
    }
}

static void take_forgotten(struct part_sqlite *sqlite)
{
    size_t wanted = sqlite->forgotten_count + sqlite->forget_count;
    if (wanted > sqlite->forgotten_capacity) {
        struct tpc_id *more = realloc(sqlite->forgotten, wanted * sizeof(*more));
        if (more == NULL) {
            return; /* next time */
        }
        sqlite->forgotten = more;
        sqlite->forgotten_capacity = wanted;
    }
    if (sqlite->forget_count > 0) {
        memcpy(sqlite->forgotten + sqlite->forgotten_count, sqlite->forget,
               sqlite->forget_count * sizeof(*sqlite->forget));
    }
    sqlite->forgotten_count = wanted;
    sqlite->forget_count = 0;
}

static void publish_stats(struct part_sqlite *sqlite)
{
    sqlite->stats = sqlite->counts;
    sqlite->stats.locks_held = part_locks_held(sqlite->locks);
    sqlite->stats.branches_held = sqlite->prepared;
    sqlite->stats.waiting = sqlite->waiting;
}

static void sort_in(struct turn *turn, struct part_job *job)
{
    switch (job->kind) {
    case PART_JOB_COMMIT:
        append(&turn->commits, &turn->commits_last, job);
        return;
    case PART_JOB_PREPARE:
        append(&turn->prepares, &turn->prepares_last, job);
        return;
    case PART_JOB_ABORT:
    case PART_JOB_PROVE:
        append(&turn->others, &turn->others_last, job);
        return;
    }
}

/* Take everything that is queued; wait for it when there is nothing else to do. */
static void take_turn(struct part_sqlite *sqlite, struct turn *turn)
{
    if (turn->prepares == NULL) {
        rest(sqlite);
    }
    pthread_mutex_lock(&sqlite->mutex);
    publish_stats(sqlite);
    if (turn->prepares == NULL && !sqlite->released) {
        wait_for_news(sqlite);
    }
    struct part_job *job = sqlite->queue;
    sqlite->queue = NULL;
    sqlite->look_again = false;
    turn->closing = sqlite->closing;
    take_forgotten(sqlite);
    pthread_mutex_unlock(&sqlite->mutex);
    while (job != NULL) {
        struct part_job *next = job->next;
        sort_in(turn, job);
        job = next;
    }
}

static void do_others(struct part_sqlite *sqlite, struct turn *turn)
{
    while (turn->others != NULL) {
        struct part_job *job = turn->others;
        turn->others = job->next;
        if (job->kind == PART_JOB_ABORT) {
            part_branch_abort(sqlite, job);
        } else {
            part_branch_prove(sqlite, job);
        }
    }
}

static void do_prepares(struct part_sqlite *sqlite, struct turn *turn)
{
    uint64_t until = tpc_clock_mono_us() + CAPTURES_US;
    struct tpc_err err = {0};
    enum tpc_rc rc = turn->prepares != NULL ? part_write_begin(sqlite, &err) : TPC_OK;
    while (turn->prepares != NULL && (rc != TPC_OK || tpc_clock_mono_us() < until)) {
        struct part_job *job = turn->prepares;
        turn->prepares = job->next;
        if (rc == TPC_OK) {
            part_branch_prepare(sqlite, job);
        } else {
            /* It was waited for once, which is enough for all of them. */
            struct part_refusal refusal = {.statement = -1};
            part_refuse(&refusal,
                        rc == TPC_EBUSY ? API_CAUSE_CONFLICT : API_CAUSE_PARTICIPANT_ERROR, "%s",
                        err.text);
            part_sqlite_end_refused(sqlite, job, PART_JOB_REFUSED, &refusal);
        }
    }
}

/* Commits first: they let locks go, and what is captured after them starts from the newest state.
 * Captures never see a change that is applied and not committed, since no group is left open. */
static void do_turn(struct part_sqlite *sqlite, struct turn *turn)
{
    part_commit_jobs(sqlite, turn->commits);
    turn->commits = NULL;
    do_others(sqlite, turn);
    part_branch_expire_waiting(sqlite);
    part_branch_wake_waiting(sqlite);
    do_prepares(sqlite, turn);
    part_commit_one_phase(sqlite);
    if (sqlite->prepared > 0) {
        struct tpc_err err = {0};
        (void)!part_write_begin(sqlite, &err); /* tried again after RETRY_MS */
    }
}

static void refuse_rest(struct part_sqlite *sqlite, struct part_job *job)
{
    struct part_refusal refusal = {.statement = -1};
    part_refuse(&refusal, API_CAUSE_PARTICIPANT_ERROR, "the participant is stopping");
    while (job != NULL) {
        struct part_job *next = job->next;
        part_sqlite_end_refused(sqlite, job,
                                job->kind == PART_JOB_PREPARE ? PART_JOB_REFUSED : PART_JOB_RETRY,
                                &refusal);
        job = next;
    }
}

static void *run(void *arg)
{
    struct part_sqlite *sqlite = arg;
    struct turn turn = {0};
    for (take_turn(sqlite, &turn); !turn.closing; take_turn(sqlite, &turn)) {
        do_turn(sqlite, &turn);
    }
    refuse_rest(sqlite, turn.commits);
    refuse_rest(sqlite, turn.others);
    refuse_rest(sqlite, turn.prepares);
    return NULL;
}

/* ---- The interface ---- */

static void submit(struct part_resource *resource, struct part_job *job)
{
    struct part_sqlite *sqlite = of(resource);
    pthread_mutex_lock(&sqlite->mutex);
    bool first = sqlite->queue == NULL;
    append(&sqlite->queue, &sqlite->queue_last, job);
    if (first) {
        pthread_cond_signal(&sqlite->changed);
    }
    pthread_mutex_unlock(&sqlite->mutex);
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
    int rc = pthread_create(&sqlite->thread, NULL, run, sqlite);
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

static void free_sqlite(struct part_sqlite *sqlite)
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
    refuse_rest(sqlite, sqlite->queue);
    part_branch_done_all(sqlite);
    poll_ended(resource);
    free_sqlite(sqlite);
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

static struct part_sqlite *make(const struct part_resource_options *options)
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
    sqlite->path = strdup(options->url + strlen("sqlite:"));
    if (sqlite->path == NULL || part_locks_new(&sqlite->locks) != TPC_OK) {
        free_sqlite(sqlite);
        return NULL;
    }
    return sqlite;
}

enum tpc_rc part_sqlite_open(const struct part_resource_options *options,
                             struct part_resource **ret_resource, struct tpc_err *reterr)
{
    TPC_ASSERT(strncmp(options->url, "sqlite:", strlen("sqlite:")) == 0);
    struct part_sqlite *sqlite = make(options);
    if (sqlite == NULL) {
        return tpc_fail(reterr, TPC_ENOMEM, "out of memory");
    }
    enum tpc_rc rc = part_sqlite_preflight(sqlite, reterr);
    rc = rc == TPC_OK ? part_write_init(sqlite, reterr) : rc;
    if (rc != TPC_OK) {
        free_sqlite(sqlite);
        return rc;
    }
    part_stmts_init(sqlite);
    part_capture_init(sqlite);
    *ret_resource = &sqlite->base;
    return TPC_OK;
}
