/* The log thread: one transaction and one force for all that waited.
 *
 *   loop thread                        log thread
 *   wal_log_submit ──▶ queue ────────▶ takes all, store->append(force)
 *   wal_log_poll   ◀── finished ◀───── hands back, wakes the loop
 *
 * While nothing forced waits, unforced entries lie in the queue for lazy_ms at most: mostly a
 * forced one comes along and takes them with it at no cost.
 *
 * A force costs its time however many share it. Where they come in numbers (the last group had
 * several) the next group waits until it is nearly as large, but no longer than a quarter of what a
 * transaction takes, gather_ms at most; one that comes alone after one that came alone never waits.
 * (PostgreSQL's commit_delay and commit_siblings.)
 *
 * Everything keeps the order in which it was submitted. After a failed append nobody knows what is
 * on disk, so nothing is written any more: all that is queued, and all that comes, is handed back
 * as failed. */
#include "wal/wal.h"

#include "base/clock.h"
#include "base/tpc_assert.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LAZY_MS = 50, GATHER_MS = 20, GROUP_MAX = 1024 };
enum { PACE_SHARE = 4, PACE_WEIGHT = 16 }; /* the mean is over about as many as the weight says */
#define QUEUE_MAX_BYTES ((size_t)256 << 20)

/* What nobody waits for: a record without a callback, or an erasure. */
struct lazy {
    struct wal_append append; /* first: the queue holds these; done is NULL */
    struct tpc_id *erase;
    size_t erase_count;
};

struct queue {
    struct wal_append *head, *tail;
};

struct wal_log {
    struct wal_store *store;
    struct wal_log_options options;
    pthread_t thread;
    uint64_t pace_us; /* the loop thread's; 0: unknown */

    pthread_mutex_t mutex; /* guards all that follows down to the blank line */
    pthread_cond_t work;
    struct queue waiting;
    struct queue finished;
    size_t waiting_bytes;
    size_t waiting_forced;
    size_t siblings;        /* so many forced ones are waited for */
    uint64_t gather_due_us; /* but no longer than this */
    uint64_t lazy_due_us;   /* when the queue's entries are written at the latest */
    bool stopping;
    struct tpc_err failure; /* of the append that failed; rc TPC_OK: none did */
    struct wal_stats stats;

    struct wal_entry *entries; /* group_max of them, the log thread's */
};

static void push(struct queue *queue, struct wal_append *append)
{
    append->next = NULL;
    if (queue->tail == NULL) {
        queue->head = append;
    } else {
        queue->tail->next = append;
    }
    queue->tail = append;
}

static struct wal_append *pop(struct queue *queue)
{
    struct wal_append *append = queue->head;

    if (append != NULL) {
        queue->head = append->next;
        if (queue->head == NULL) {
            queue->tail = NULL;
        }
        append->next = NULL;
    }
    return append;
}

static size_t weight(const struct wal_append *append)
{
    if (append->done == NULL) {
        const struct lazy *lazy = (const struct lazy *)append;
        return sizeof *lazy + append->size + lazy->erase_count * sizeof *lazy->erase;
    }
    return append->size;
}

static void free_lazy(struct lazy *lazy)
{
    free(lazy->append.data);
    free(lazy->erase);
    free(lazy);
}

/* ---- the log thread ---- */

static void wait_until(struct wal_log *log, uint64_t due_us)
{
    const struct timespec due = {.tv_sec = (time_t)(due_us / 1000000),
                                 .tv_nsec = (long)(due_us % 1000000) * 1000};
    (void)pthread_cond_timedwait(&log->work, &log->mutex, &due);
}

/* Wait until there is reason to write a group. False: time to end. */
static bool await_group(struct wal_log *log)
{
    while (!log->stopping) {
        const bool forced = log->waiting_forced > 0;
        if (log->waiting.head == NULL) {
            (void)pthread_cond_wait(&log->work, &log->mutex);
        } else if ((forced && log->waiting_forced >= log->siblings) ||
                   tpc_clock_mono_us() >= (forced ? log->gather_due_us : log->lazy_due_us)) {
            break;
        } else {
            wait_until(log, forced ? log->gather_due_us : log->lazy_due_us);
        }
    }
    return log->waiting.head != NULL;
}

/* Take the next group off the queue; returns how many of it are forced. */
static size_t take_group(struct wal_log *log, struct queue *group)
{
    size_t forced = 0;
    *group = (struct queue){0};
    for (uint32_t i = 0; i < log->options.group_max && log->waiting.head != NULL; i++) {
        struct wal_append *append = pop(&log->waiting);
        log->waiting_bytes -= weight(append);
        forced += append->force;
        push(group, append);
    }
    log->waiting_forced -= forced;
    if (forced > 0) {
        log->siblings = forced - 1;
        log->gather_due_us = 0; /* those that are left have waited already */
    }
    return forced;
}

static enum tpc_rc write_group(struct wal_log *log, const struct queue *group, bool force,
                               struct tpc_err *reterr)
{
    size_t count = 0;

    for (struct wal_append *append = group->head; append != NULL; append = append->next) {
        struct wal_entry *entry = &log->entries[count++];
        *entry = (struct wal_entry){.data = append->data, .size = append->size};
        if (append->done == NULL && append->data == NULL) {
            const struct lazy *lazy = (const struct lazy *)append;
            entry->erase = lazy->erase;
            entry->erase_count = lazy->erase_count;
        }
    }
    return log->store->ops->append(log->store, log->entries, count, force, reterr);
}

static void count_group(struct wal_stats *stats, const struct queue *group, size_t forced,
                        uint64_t took_us)
{
    static const uint64_t bounds_us[] = {100,   250,   500,   1000,   2500,  5000,
                                         10000, 25000, 50000, 100000, 250000};
    uint64_t records = 0;
    size_t bucket = 0;

    for (const struct wal_append *append = group->head; append != NULL; append = append->next) {
        records += append->data != NULL;
        stats->bytes += append->size;
    }
    stats->records += records;
    stats->forced_records += forced;
    while (bucket < 11 && records > TPC_BIT(bucket)) {
        bucket++;
    }
    stats->group_bucket[bucket]++;
    if (forced == 0) {
        stats->lazy_flushes++;
        return;
    }
    stats->forces++;
    stats->force_us_total += took_us;
    for (bucket = 0; bucket < sizeof bounds_us / sizeof *bounds_us; bucket++) {
        if (took_us <= bounds_us[bucket]) {
            break;
        }
    }
    stats->force_us_bucket[bucket]++;
}

/* Hand the members of @group back with @rc. True when the loop has to be woken. */
static bool finish_group(struct wal_log *log, struct queue *group, enum tpc_rc rc)
{
    const bool was_empty = log->finished.head == NULL;
    struct wal_append *append;

    while ((append = pop(group)) != NULL) {
        if (append->done == NULL) {
            free_lazy((struct lazy *)append);
            continue;
        }
        free(append->data);
        append->data = NULL;
        append->rc = rc;
        push(&log->finished, append);
    }
    return was_empty && log->finished.head != NULL;
}

/* With the mutex, which is let go meanwhile. */
static void write_next(struct wal_log *log)
{
    struct queue group;
    const size_t forced = take_group(log, &group);
    struct tpc_err failure = log->failure; /* only one thread writes it */
    enum tpc_rc rc = failure.rc;
    if (rc == TPC_OK) {
        (void)pthread_mutex_unlock(&log->mutex);
        const uint64_t began_us = tpc_clock_mono_us();
        /* A crash in here: each record of the group is there or not, nobody was told of
         * any, and recovery takes what it finds. */
        rc = write_group(log, &group, forced > 0, &failure);
        const uint64_t took_us = tpc_clock_mono_us() - began_us;
        (void)pthread_mutex_lock(&log->mutex);
        if (rc == TPC_OK) {
            count_group(&log->stats, &group, forced, took_us);
        } else {
            failure.rc = rc;
            log->failure = failure;
        }
    }
    const bool wake = finish_group(log, &group, rc);
    (void)pthread_mutex_unlock(&log->mutex);
    if (wake && log->options.wake != NULL) {
        log->options.wake(log->options.wake_arg);
    }
    (void)pthread_mutex_lock(&log->mutex);
}

static void *run(void *arg)
{
    struct wal_log *log = arg;

    (void)pthread_mutex_lock(&log->mutex);
    while (await_group(log)) {
        write_next(log);
    }
    (void)pthread_mutex_unlock(&log->mutex);
    return NULL;
}

/* ---- without a thread ---- */

uint64_t wal_log_due_us(struct wal_log *log)
{
    (void)pthread_mutex_lock(&log->mutex);
    const uint64_t due_us = log->waiting.head == NULL ? UINT64_MAX
                            : log->waiting_forced > 0 ? 0
                                                      : log->lazy_due_us;
    (void)pthread_mutex_unlock(&log->mutex);
    return due_us;
}

bool wal_log_step(struct wal_log *log)
{
    TPC_ASSERT(log->options.stepped);
    (void)pthread_mutex_lock(&log->mutex);
    const bool any = log->waiting.head != NULL;
    if (any) {
        write_next(log);
    }
    (void)pthread_mutex_unlock(&log->mutex);
    return any;
}

/* ---- the loop thread ---- */

/* The mean, of which one that takes much longer than others tells little. */
void wal_log_pace(struct wal_log *log, uint64_t took_us)
{
    const uint64_t most_us = 2 * log->pace_us + 1;

    if (log->pace_us == 0) {
        log->pace_us = took_us;
    } else {
        took_us = took_us < most_us ? took_us : most_us;
        log->pace_us += took_us / PACE_WEIGHT - log->pace_us / PACE_WEIGHT;
    }
}

static uint64_t gather_us(const struct wal_log *log)
{
    const uint64_t most_us = (uint64_t)log->options.gather_ms * 1000;
    const uint64_t share_us = log->pace_us / PACE_SHARE;

    return log->pace_us == 0 || share_us > most_us ? most_us : share_us;
}

/* Put @append in the queue unless that is full. */
static enum tpc_rc enqueue(struct wal_log *log, struct wal_append *append)
{
    enum tpc_rc rc = TPC_EFULL;

    (void)pthread_mutex_lock(&log->mutex);
    TPC_ASSERT(!log->stopping);
    const size_t bytes = weight(append);
    if (bytes <= log->options.queue_max && log->waiting_bytes <= log->options.queue_max - bytes) {
        const bool was_empty = log->waiting.head == NULL;
        if (was_empty) {
            log->lazy_due_us = tpc_clock_mono_us() + (uint64_t)log->options.lazy_ms * 1000;
        }
        push(&log->waiting, append);
        log->waiting_bytes += bytes;
        log->waiting_forced += append->force;
        if (append->force && log->waiting_forced == 1) {
            log->gather_due_us = tpc_clock_mono_us() + gather_us(log);
        }
        /* One signal for the first that waits, for the first that cannot wait long, and for the
         * one that makes them enough. */
        if (was_empty ||
            (append->force && (log->waiting_forced == 1 || log->waiting_forced == log->siblings))) {
            (void)pthread_cond_signal(&log->work);
        }
        rc = TPC_OK;
    }
    (void)pthread_mutex_unlock(&log->mutex);
    return rc;
}

enum tpc_rc wal_log_submit(struct wal_log *log, struct wal_append *append)
{
    enum tpc_rc rc;

    TPC_ASSERT((append->data != NULL || append->force) && append->done != NULL);
    rc = enqueue(log, append);
    if (rc != TPC_OK) {
        free(append->data);
        append->data = NULL;
    }
    return rc;
}

static enum tpc_rc submit_lazy(struct wal_log *log, const struct lazy *lazy)
{
    struct lazy *copy = malloc(sizeof *copy);
    enum tpc_rc rc;

    if (copy == NULL) {
        free(lazy->append.data);
        free(lazy->erase);
        return TPC_ENOMEM;
    }
    *copy = *lazy;
    rc = enqueue(log, &copy->append);
    if (rc != TPC_OK) {
        free_lazy(copy);
    }
    return rc;
}

enum tpc_rc wal_log_submit_lazy(struct wal_log *log, void *take_data, size_t size)
{
    TPC_ASSERT(take_data != NULL);
    return submit_lazy(log, &(struct lazy){.append = {.data = take_data, .size = size}});
}

enum tpc_rc wal_log_submit_erase(struct wal_log *log, struct tpc_id *take_gtids, size_t count)
{
    TPC_ASSERT(take_gtids != NULL);
    return submit_lazy(log, &(struct lazy){.erase = take_gtids, .erase_count = count});
}

void wal_log_poll(struct wal_log *log)
{
    struct queue finished;
    struct tpc_err failure;
    struct wal_append *append;

    (void)pthread_mutex_lock(&log->mutex);
    finished = log->finished;
    log->finished = (struct queue){0};
    failure = log->failure;
    (void)pthread_mutex_unlock(&log->mutex);
    while ((append = pop(&finished)) != NULL) {
        append->done(append, append->rc, append->rc == TPC_OK ? NULL : &failure);
    }
}

void wal_log_stats(struct wal_log *log, struct wal_stats *out)
{
    (void)pthread_mutex_lock(&log->mutex);
    *out = log->stats;
    (void)pthread_mutex_unlock(&log->mutex);
}

/* Signals are for the loop thread. */
static int start_thread(struct wal_log *log)
{
    sigset_t all, before;
    int error;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&log->thread, NULL, run, log);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) {
        (void)pthread_setname_np(log->thread, "log");
    }
    return error;
}

static void free_log(struct wal_log *log)
{
    (void)pthread_cond_destroy(&log->work);
    (void)pthread_mutex_destroy(&log->mutex);
    free(log->entries);
    free(log);
}

enum tpc_rc wal_log_start(struct wal_store *store, const struct wal_log_options *options,
                          struct wal_log **ret_log, struct tpc_err *reterr)
{
    struct wal_log *log = calloc(1, sizeof *log);
    pthread_condattr_t monotonic;
    int error;

    if (log == NULL) {
        return tpc_fail(reterr, TPC_ENOMEM, "no memory to start the log");
    }
    log->store = store;
    log->options = *options;
    log->options.lazy_ms = options->lazy_ms > 0 ? options->lazy_ms : LAZY_MS;
    log->options.gather_ms = options->gather_ms > 0 ? options->gather_ms : GATHER_MS;
    log->options.group_max = options->group_max > 0 ? options->group_max : GROUP_MAX;
    log->options.queue_max = options->queue_max > 0 ? options->queue_max : QUEUE_MAX_BYTES;
    (void)pthread_mutex_init(&log->mutex, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&log->work, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    log->entries = calloc(log->options.group_max, sizeof *log->entries);
    if (log->entries == NULL) {
        free_log(log);
        return tpc_fail(reterr, TPC_ENOMEM, "no memory to start the log");
    }
    error = options->stepped ? 0 : start_thread(log);
    if (error != 0) {
        free_log(log);
        return tpc_fail(reterr, TPC_ENOMEM, "cannot start the log thread: %s", strerror(error));
    }
    *ret_log = log;
    return TPC_OK;
}

void wal_log_stop(struct wal_log *log)
{
    (void)pthread_mutex_lock(&log->mutex);
    log->stopping = true;
    (void)pthread_cond_signal(&log->work);
    (void)pthread_mutex_unlock(&log->mutex);
    if (log->options.stepped) {
        while (wal_log_step(log)) {
        }
    } else {
        (void)pthread_join(log->thread, NULL);
    }
    wal_log_poll(log);
    free_log(log);
}
