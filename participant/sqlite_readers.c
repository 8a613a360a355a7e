#include "base/clock.h"
#include "participant/sqlite_internal.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define READERS_MAX 4
#define BUSY_MS     1000

struct part_readers {
    struct part_sqlite *sqlite;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct part_job *queue, *queue_last;
    size_t queued;
    size_t count, idle; /* threads */
    pthread_t threads[READERS_MAX];
    atomic_bool stops;
};

/* ---- One reader ---- */

static struct part_sqlite *open_reader(struct part_readers *readers)
{
    struct part_sqlite *reader = part_sqlite_new(&readers->sqlite->options, readers->sqlite->path);
    if (reader == NULL) {
        return NULL;
    }
    reader->reader_stops = &readers->stops;
    if (sqlite3_open_v2(reader->path, &reader->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                        NULL) != SQLITE_OK ||
        sqlite3_exec(reader->db, "PRAGMA query_only=ON; PRAGMA temp_store=MEMORY", NULL, NULL,
                     NULL) != SQLITE_OK ||
        part_write_init(reader, NULL) != TPC_OK) {
        part_sqlite_free(reader);
        return NULL;
    }
    sqlite3_busy_timeout(reader->db, BUSY_MS);
    sqlite3_db_config(reader->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_limit(reader->db, SQLITE_LIMIT_ATTACHED, 0);
    part_stmts_init(reader);
    part_capture_init(reader);
    return reader;
}

static void end(struct part_readers *readers, struct part_job *job,
                const struct part_refusal *refusal)
{
    atomic_fetch_add(&readers->sqlite->reads, 1);
    if (refusal->code == API_CAUSE_NONE) {
        part_sqlite_end(readers->sqlite, job, PART_JOB_READ_ONLY);
    } else {
        part_sqlite_end_refused(readers->sqlite, job, PART_JOB_REFUSED, refusal);
    }
}

static bool is_over(struct part_job *job, struct part_refusal *refusal)
{
    if (atomic_load(&job->cancelled)) {
        part_refuse(refusal, API_CAUSE_CLIENT_ABORT, "the branch was aborted before it ran");
    } else if (job->deadline_ms != 0 && tpc_clock_mono_ms() >= job->deadline_ms) {
        part_refuse(refusal, API_CAUSE_TIMEOUT,
                    "the time of the transaction ran out while the branch waited");
    }
    return refusal->code != API_CAUSE_NONE;
}

static void read_job(struct part_readers *readers, struct part_sqlite *reader, struct part_job *job)
{
    struct part_refusal refusal = {.statement = -1};
    const struct part_resource_options *options = &readers->sqlite->options;
    if (atomic_load(&readers->stops)) {
        part_refuse(&refusal, API_CAUSE_PARTICIPANT_ERROR, "the participant is stopping");
    } else if (is_over(job, &refusal)) {
        /* so it is */
    } else if (tpc_fp_hit(options->failpoints.capture)) {
        part_refuse(&refusal, API_CAUSE_PARTICIPANT_ERROR, "disk I/O error (failpoint)");
    } else {
        bool moved = part_write_has_moved(reader); /* the adapter says what to do */
        if (!moved) {
            part_capture_read(reader, job);
        }
        if (moved || reader->stmts.met_write) {
            job->writes = true;
            part_sqlite_submit(readers->sqlite, job);
            return;
        }
        refusal = reader->capture.refusal;
        if (tpc_fp_hit(options->failpoints.captured)) {
            part_refuse(&refusal, API_CAUSE_PARTICIPANT_ERROR, "disk I/O error (failpoint)");
        }
    }
    end(readers, job, &refusal);
}

static void *run(void *arg)
{
    struct part_readers *readers = arg;
    struct part_sqlite *reader = open_reader(readers);
    pthread_mutex_lock(&readers->mutex);
    while (readers->queue != NULL || !atomic_load(&readers->stops)) {
        if (readers->queue == NULL) {
            readers->idle++;
            pthread_cond_wait(&readers->changed, &readers->mutex);
            readers->idle--;
            continue;
        }
        struct part_job *job = readers->queue;
        readers->queue = job->next;
        readers->queued--;
        pthread_mutex_unlock(&readers->mutex);
        if (reader != NULL) {
            read_job(readers, reader, job);
        } else {
            job->writes = true; /* the adapter can do it as well */
            part_sqlite_submit(readers->sqlite, job);
        }
        pthread_mutex_lock(&readers->mutex);
    }
    pthread_mutex_unlock(&readers->mutex);
    if (reader != NULL) {
        part_sqlite_free(reader);
    }
    return NULL;
}

/* ---- All of them ---- */

enum tpc_rc part_readers_new(struct part_sqlite *sqlite)
{
    struct part_readers *readers = calloc(1, sizeof(*readers));
    if (readers == NULL) {
        return TPC_ENOMEM;
    }
    readers->sqlite = sqlite;
    pthread_mutex_init(&readers->mutex, NULL);
    pthread_cond_init(&readers->changed, NULL);
    sqlite->readers = readers;
    return TPC_OK;
}

/* By its first word; WITH shows only when it is compiled. */
static bool may_be_query(const char *sql)
{
    static const char *const words[] = {"SELECT", "VALUES", "WITH", "EXPLAIN"};
    const char *start = part_stmts_skip_blank(sql);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strncasecmp(start, words[i], strlen(words[i])) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_query(const struct part_job *job)
{
    if (job->kind != PART_JOB_PREPARE || job->executed > 0 ||
        job->isolation == API_ISOLATION_SERIALIZABLE) {
        return false;
    }
    for (size_t i = 0; i < job->statements.count; i++) {
        if (!may_be_query(job->statements.items[i].sql)) {
            return false;
        }
    }
    return true;
}

bool part_readers_take(struct part_readers *readers, struct part_job *job, bool may_wait)
{
    if (job->writes || !is_query(job)) {
        return false;
    }
    pthread_mutex_lock(&readers->mutex);
    bool taken = readers->idle > readers->queued || (may_wait && readers->count > 0);
    if (!taken && readers->count < READERS_MAX &&
        pthread_create(&readers->threads[readers->count], NULL, run, readers) == 0) {
        readers->count++;
        taken = true;
    }
    if (taken) {
        part_sqlite_append(&readers->queue, &readers->queue_last, job);
        readers->queued++;
        pthread_cond_signal(&readers->changed);
    }
    pthread_mutex_unlock(&readers->mutex);
    return taken;
}

static struct part_job *unlink_over(struct part_readers *readers)
{
    struct part_job *over = NULL, *over_last = NULL, *queue, *next;
    uint64_t now_ms = tpc_clock_mono_ms();
    pthread_mutex_lock(&readers->mutex);
    queue = readers->queue;
    readers->queue = NULL;
    for (; queue != NULL; queue = next) {
        next = queue->next;
        if (atomic_load(&queue->cancelled) ||
            (queue->deadline_ms != 0 && now_ms >= queue->deadline_ms)) {
            part_sqlite_append(&over, &over_last, queue);
            readers->queued--;
        } else {
            part_sqlite_append(&readers->queue, &readers->queue_last, queue);
        }
    }
    pthread_mutex_unlock(&readers->mutex);
    return over;
}

void part_readers_expire(struct part_readers *readers)
{
    struct part_job *next;
    for (struct part_job *job = unlink_over(readers); job != NULL; job = next) {
        struct part_refusal refusal = {.statement = -1};
        next = job->next;
        (void)is_over(job, &refusal);
        end(readers, job, &refusal);
    }
}

uint64_t part_readers_next_deadline_ms(struct part_readers *readers)
{
    uint64_t earliest = UINT64_MAX;
    pthread_mutex_lock(&readers->mutex);
    for (const struct part_job *job = readers->queue; job != NULL; job = job->next) {
        if (job->deadline_ms != 0 && job->deadline_ms < earliest) {
            earliest = job->deadline_ms;
        }
    }
    pthread_mutex_unlock(&readers->mutex);
    return earliest;
}

void part_readers_free(struct part_readers *readers)
{
    if (readers == NULL) {
        return;
    }
    pthread_mutex_lock(&readers->mutex);
    atomic_store(&readers->stops, true);
    pthread_cond_broadcast(&readers->changed);
    size_t count = readers->count;
    pthread_mutex_unlock(&readers->mutex);
    for (size_t i = 0; i < count; i++) {
        pthread_join(readers->threads[i], NULL);
    }
    pthread_mutex_destroy(&readers->mutex);
    pthread_cond_destroy(&readers->changed);
    free(readers);
}
