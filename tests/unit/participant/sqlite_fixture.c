#include "tests/unit/participant/sqlite_fixture.h"

#include "base/clock.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 20

static void wake(void *arg)
{
    struct fx *fx = arg;
    (void)sem_post(&fx->woken);
}

/* ---- The directory ---- */

/* Of the test that runs: one that fails does not come to fx_done. */
static char directory_left[64];

static void remove_directory(const char *directory)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        char path[112];
        (void)snprintf(path, sizeof(path), "%s/bank.db%s", directory, suffixes[i]);
        (void)unlink(path);
    }
    (void)rmdir(directory);
}

static void remove_what_is_left(void)
{
    if (directory_left[0] != '\0') {
        remove_directory(directory_left);
        directory_left[0] = '\0';
    }
}

static void make_directory(struct fx *fx)
{
    static bool registered;
    if (!registered) {
        registered = true;
        assert_int_equal(atexit(remove_what_is_left), 0);
    }
    remove_what_is_left(); /* of the test before */
    assert_non_null(mkdtemp(fx->directory));
    (void)snprintf(directory_left, sizeof(directory_left), "%s", fx->directory);
}

void fx_init(struct fx *fx, const char *schema)
{
    *fx = (struct fx){.directory = "/tmp/assent-sqlite-XXXXXX"};
    make_directory(fx);
    (void)snprintf(fx->path, sizeof(fx->path), "%s/bank.db", fx->directory);
    (void)snprintf(fx->url, sizeof(fx->url), "sqlite:%s", fx->path);
    assert_int_equal(sem_init(&fx->woken, 0, 0), 0);
    assert_int_equal(sqlite3_open(fx->path, &fx->other), SQLITE_OK);
    sqlite3_busy_timeout(fx->other, 5000);
    fx_must(fx, schema);
    fx->options = (struct part_resource_options){.url = fx->url,
                                                 .participant_id = fx_id(1000),
                                                 .generation = 1,
                                                 .foreign_keys = true,
                                                 .wake = wake,
                                                 .wake_arg = fx};
}

void fx_open(struct fx *fx)
{
    struct tpc_err err = {0};
    if (part_resource_open(&fx->options, &fx->resource, &err) != TPC_OK) {
        fail_msg("%s", err.text);
    }
}

void fx_start(struct fx *fx)
{
    assert_int_equal(fx->resource->ops->start(fx->resource, NULL), TPC_OK);
}

void fx_setup(struct fx *fx, const char *schema)
{
    fx_init(fx, schema);
    fx_open(fx);
    fx_start(fx);
}

void fx_close(struct fx *fx)
{
    if (fx->resource != NULL) {
        fx->resource->ops->close(fx->resource);
        fx->resource = NULL;
        fx->options.generation++;
    }
}

void fx_reopen(struct fx *fx)
{
    fx_close(fx);
    fx_open(fx);
}

void fx_done(struct fx *fx)
{
    fx_close(fx);
    sqlite3_close(fx->other);
    remove_directory(fx->directory);
    directory_left[0] = '\0';
    assert_int_equal(access(fx->directory, F_OK), -1);
    (void)sem_destroy(&fx->woken);
}

struct tpc_id fx_id(unsigned number)
{
    struct tpc_id id = {.bytes = {1}};
    id.bytes[14] = (uint8_t)(number >> 8);
    id.bytes[15] = (uint8_t)number;
    return id;
}

/* ---- Jobs ---- */

static void on_done(struct part_job *job)
{
    job->user = job;
}

struct part_job *fx_job(enum part_job_kind kind, unsigned number)
{
    struct part_job *job = calloc(1, sizeof(*job));
    assert_non_null(job);
    job->kind = kind;
    job->gtid = fx_id(number);
    job->coordinator_id = fx_id(2000);
    job->began_us = number;
    job->done = on_done;
    return job;
}

struct api_statement *fx_add(struct part_job *job, const char *sql)
{
    struct api_statements *list = &job->statements;
    list->items = realloc(list->items, (list->count + 1) * sizeof(*list->items));
    assert_non_null(list->items);
    struct api_statement *statement = &list->items[list->count++];
    *statement = (struct api_statement){.sql = strdup(sql), .expect_max = UINT64_MAX};
    return statement;
}

static struct api_value *add_param(struct api_statement *statement)
{
    statement->params =
        realloc(statement->params, (statement->param_count + 1) * sizeof(*statement->params));
    assert_non_null(statement->params);
    return &statement->params[statement->param_count++];
}

void fx_int(struct api_statement *statement, int64_t value)
{
    *add_param(statement) = (struct api_value){.type = API_INT64, .int64 = value};
}

void fx_text(struct api_statement *statement, const char *value)
{
    *add_param(statement) = (struct api_value){
        .type = API_TEXT, .bytes = {.data = strdup(value), .size = strlen(value)}};
}

void fx_submit(struct fx *fx, struct part_job *job)
{
    fx->resource->ops->submit(fx->resource, job);
}

bool fx_is_done(struct fx *fx, struct part_job *job)
{
    fx->resource->ops->poll(fx->resource);
    return job->user != NULL;
}

enum part_job_outcome fx_wait(struct fx *fx, struct part_job *job)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    while (!fx_is_done(fx, job)) {
        if (sem_timedwait(&fx->woken, &until) != 0 && errno == ETIMEDOUT) {
            fail_msg("a job did not end");
        }
    }
    return job->outcome;
}

void fx_free(struct part_job *job)
{
    if (job != NULL) {
        api_statements_done(&job->statements);
        api_cause_done(&job->cause);
        tpc_buf_done(&job->results);
        tpc_buf_done(&job->payload);
        free(job);
    }
}

struct part_job *fx_prepare(struct fx *fx, unsigned number, const char *const *sql)
{
    struct part_job *job = fx_job(PART_JOB_PREPARE, number);
    for (; *sql != NULL; sql++) {
        (void)fx_add(job, *sql);
    }
    fx_submit(fx, job);
    (void)fx_wait(fx, job);
    return job;
}

enum part_job_outcome fx_vote(struct fx *fx, unsigned number, const char *sql)
{
    struct part_job *job = FX_PREPARE(fx, number, sql);
    enum part_job_outcome outcome = job->outcome;
    if (outcome == PART_JOB_REFUSED) {
        print_message("refused: %s\n", job->cause.detail);
    }
    fx_free(job);
    return outcome;
}

enum part_job_outcome fx_end(struct fx *fx, enum part_job_kind kind, unsigned number)
{
    struct part_job *job = fx_job(kind, number);
    fx_submit(fx, job);
    enum part_job_outcome outcome = fx_wait(fx, job);
    fx_free(job);
    return outcome;
}

void fx_refused(struct fx *fx, const char *sql, enum api_cause_code code, const char *words)
{
    struct part_job *job = FX_PREPARE(fx, 65000, sql);
    assert_int_equal(job->outcome, PART_JOB_REFUSED);
    if (job->cause.code != code || strstr(job->cause.detail, words) == NULL) {
        fail_msg("%s: %s \"%s\", not %s \"%s\"", sql, api_cause_name(job->cause.code),
                 job->cause.detail, api_cause_name(code), words);
    }
    assert_int_equal(job->results.size, 0);
    fx_free(job);
}

void fx_barrier(struct fx *fx)
{
    fx_refused(fx, "BEGIN", API_CAUSE_NOT_SUPPORTED, "transaction control");
}

/* ---- The other program ---- */

int fx_exec(struct fx *fx, const char *sql)
{
    return sqlite3_exec(fx->other, sql, NULL, NULL, NULL);
}

void fx_must(struct fx *fx, const char *sql)
{
    if (fx_exec(fx, sql) != SQLITE_OK) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(fx->other));
    }
}

int64_t fx_number(struct fx *fx, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(fx->other, sql, -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_ROW) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(fx->other));
    }
    int64_t number = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return number;
}

void fx_dump(struct sqlite3 *db, const char *sql, struct tpc_buf *out)
{
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(stmt); i++) {
            const char *text = (const char *)sqlite3_column_text(stmt, i);
            tpc_buf_addf(out, "%s|", text != NULL ? text : "NULL");
        }
        tpc_buf_addc(out, '\n');
    }
    sqlite3_finalize(stmt);
}
