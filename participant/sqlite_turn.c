#include "base/clock.h"
#include "base/tpc_assert.h"
#include "participant/sqlite_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CAPTURES_US 2000 /* captures in a row before commits get their turn again */
#define RETRY_MS    100  /* for what could not be done at once: the write lock, a commit */

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
    uint64_t reader_ms = part_readers_next_deadline_ms(sqlite->readers);
    until = reader_ms < until ? reader_ms : until;
    bool unfinished = sqlite->one_phase != NULL || (sqlite->prepared > 0 && !sqlite->writing);
    uint64_t retry = tpc_clock_mono_ms() + RETRY_MS;
    for (const struct part_job *job = sqlite->again; job != NULL; job = job->next) {
        until = job->not_before_ms < until ? job->not_before_ms : until;
    }
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
    sqlite->stats.prepares += atomic_load(&sqlite->reads);
    sqlite->stats.locks_held = part_locks_held(sqlite->locks);
    sqlite->stats.branches_held = sqlite->prepared;
    sqlite->stats.waiting = sqlite->waiting;
}

static void sort_in(struct turn *turn, struct part_job *job)
{
    switch (job->kind) {
    case PART_JOB_COMMIT:
        part_sqlite_append(&turn->commits, &turn->commits_last, job);
        return;
    case PART_JOB_EXECUTE:
    case PART_JOB_PREPARE:
        part_sqlite_append(&turn->prepares, &turn->prepares_last, job);
        return;
    case PART_JOB_ABORT:
    case PART_JOB_PROVE:
        part_sqlite_append(&turn->others, &turn->others_last, job);
        return;
    case PART_JOB_LIST:
    case PART_JOB_EXAMINE:
        break;
    }
    TPC_ASSERT(!"a job for a file");
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
    atomic_store(&sqlite->urgent, false);
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

/* Those that were stopped for the sake of others, once those have had their turn. */
static void queue_again(struct part_sqlite *sqlite, struct turn *turn)
{
    uint64_t now_ms = tpc_clock_mono_ms();
    for (struct part_job **at = &sqlite->again; *at != NULL;) {
        struct part_job *job = *at;
        if (atomic_load(&job->cancelled) || now_ms >= job->not_before_ms) {
            *at = job->next;
            part_sqlite_append(&turn->prepares, &turn->prepares_last, job);
        } else {
            at = &job->next;
        }
    }
}

static void do_prepares(struct part_sqlite *sqlite, struct turn *turn)
{
    uint64_t until = tpc_clock_mono_us() + CAPTURES_US;
    sqlite->capture.preempted = false;
    struct tpc_err err = {0};
    enum tpc_rc rc = turn->prepares != NULL ? part_write_begin(sqlite, &err) : TPC_OK;
    while (turn->prepares != NULL && !sqlite->capture.preempted &&
           (rc != TPC_OK || tpc_clock_mono_us() < until)) {
        struct part_job *job = turn->prepares;
        turn->prepares = job->next;
        if (turn->prepares != NULL) {
            atomic_store(&sqlite->urgent, true);
        }
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
    sqlite->others_write = false;
    sqlite->in_place = false;
    part_commit_jobs(sqlite, turn->commits);
    turn->commits = NULL;
    do_others(sqlite, turn);
    part_branch_expire_waiting(sqlite);
    part_readers_expire(sqlite->readers);
    part_branch_wake_waiting(sqlite);
    queue_again(sqlite, turn);
    do_prepares(sqlite, turn);
    sqlite->in_place = false;
    part_commit_one_phase(sqlite);
    if (sqlite->prepared > 0) {
        struct tpc_err err = {0};
        (void)!part_write_begin(sqlite, &err); /* tried again after RETRY_MS */
    }
}

static bool is_work(const struct part_job *job)
{
    return job->kind == PART_JOB_PREPARE || job->kind == PART_JOB_EXECUTE;
}

void part_turn_refuse_all(struct part_sqlite *sqlite, struct part_job *job)
{
    struct part_refusal refusal = {.statement = -1};
    part_refuse(&refusal, API_CAUSE_PARTICIPANT_ERROR, "the participant is stopping");
    while (job != NULL) {
        struct part_job *next = job->next;
        part_sqlite_end_refused(sqlite, job, is_work(job) ? PART_JOB_REFUSED : PART_JOB_RETRY,
                                &refusal);
        job = next;
    }
}

void *part_turn_run(void *arg)
{
    struct part_sqlite *sqlite = arg;
    struct turn turn = {0};
    for (take_turn(sqlite, &turn); !turn.closing; take_turn(sqlite, &turn)) {
        do_turn(sqlite, &turn);
    }
    part_turn_refuse_all(sqlite, turn.commits);
    part_turn_refuse_all(sqlite, turn.others);
    part_turn_refuse_all(sqlite, turn.prepares);
    part_turn_refuse_all(sqlite, sqlite->again);
    return NULL;
}
