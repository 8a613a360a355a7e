#include "base/clock.h"
#include "participant/sqlite_internal.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHANGES_MAX_BYTES (64u << 20)
#define EXACT_REAL        9007199254740992.0    /* integers are exact in a REAL below this */
#define LARGEST_INTEGER   9223372036854775808.0 /* as a REAL */
#define OPS_BETWEEN_LOOKS 500 /* virtual machine instructions between two calls of on_progress */

/* ---- Rows, as they change ---- */

static bool out_of_memory(struct part_capture *capture)
{
    part_refuse(&capture->refusal, API_CAUSE_PARTICIPANT_ERROR, "out of memory");
    return false;
}

typedef int read_value_fn(sqlite3 *db, int column, sqlite3_value **out);

static bool is_in_key(const struct part_table *table, size_t column)
{
    for (size_t i = 0; i < table->primary.count; i++) {
        if (table->primary.columns[i] == column) {
            return true;
        }
    }
    return false;
}

/* May it be an integer that SQLite shows as REAL? */
static bool may_be_integer(double real)
{
    return real == LARGEST_INTEGER ||
           (real >= -LARGEST_INTEGER && real < LARGEST_INTEGER && (double)(int64_t)real == real);
}

/* What SQLite shows of an old value may not be what is there. In a key an integer does as well as
 * the REAL that is equal to it. */
static bool shows_truly(const struct part_table *table, size_t column, const struct part_cell *cell)
{
    if (cell->type == PART_CELL_NULL) {
        return !table->columns[column].has_default;
    }
    if (cell->type != PART_CELL_REAL || !table->columns[column].shows_real ||
        !may_be_integer(cell->real)) {
        return true;
    }
    return is_in_key(table, column) && cell->real > -EXACT_REAL && cell->real < EXACT_REAL;
}

static const struct part_cell *copy_row(struct part_sqlite *sqlite, const struct part_table *table,
                                        int operation, bool old)
{
    struct part_capture *capture = &sqlite->capture;
    read_value_fn *read_value = old ? sqlite3_preupdate_old : sqlite3_preupdate_new;
    bool by_number = table->without_rowid && (old || operation == SQLITE_INSERT);
    struct part_cell *row =
        part_arena_alloc(&capture->arena, (table->column_count + 1) * sizeof(*row));
    for (size_t i = 0; row != NULL && i < table->column_count; i++) {
        const struct part_column *column = &table->columns[i];
        sqlite3_value *value = NULL;
        if (read_value(sqlite->db, by_number ? column->number : (int)i, &value) != SQLITE_OK ||
            part_cell_copy(&capture->arena, value, &row[i]) != TPC_OK) {
            row = NULL;
        } else if (old && !shows_truly(table, i, &row[i])) {
            row[i] = (struct part_cell){.type = PART_CELL_ANY};
        }
    }
    if (row == NULL) {
        out_of_memory(capture);
    }
    return row;
}

static bool key_is_whole(struct part_capture *capture, const struct part_table *table,
                         const struct part_cell *row)
{
    for (size_t i = 0; i < table->primary.count; i++) {
        if (row[table->primary.columns[i]].type == PART_CELL_ANY) {
            part_refuse(&capture->refusal, API_CAUSE_NOT_SUPPORTED,
                        "SQLite does not show all digits of the primary key (%s) of a row of table "
                        "%s: declare it before columns of type REAL",
                        table->columns[table->primary.columns[i]].name, table->name);
            return false;
        }
        if (row[table->primary.columns[i]].type == PART_CELL_NULL) {
            part_refuse(&capture->refusal, API_CAUSE_NOT_SUPPORTED,
                        "a row of table %s has NULL in its primary key (%s): it cannot be told "
                        "from others",
                        table->name, table->columns[table->primary.columns[i]].name);
            return false;
        }
    }
    return true;
}

/* The row called @name went from @before to @after. */
static bool note(struct part_capture *capture, const struct part_table *table,
                 const struct tpc_id *name, const struct part_cell *before,
                 const struct part_cell *after)
{
    struct part_change *change = NULL;
    HASH_FIND(hh, capture->by_row, name, sizeof(*name), change);
    if (change != NULL) {
        change->after = after;
        return true;
    }
    change = part_arena_alloc(&capture->arena, sizeof(*change));
    if (change == NULL) {
        return out_of_memory(capture);
    }
    *change = (struct part_change){.name = *name, .table = table, .before = before, .after = after};
    HASH_ADD(hh, capture->by_row, name, sizeof(change->name), change);
    *(capture->last != NULL ? &capture->last->next : &capture->first) = change;
    capture->last = change;
    return true;
}

static bool note_rows(struct part_capture *capture, const struct part_table *table,
                      const struct part_cell *before, const struct part_cell *after)
{
    struct tpc_id before_name, after_name;
    if ((before != NULL && !key_is_whole(capture, table, before)) ||
        (after != NULL && !key_is_whole(capture, table, after))) {
        return false;
    }
    if ((before != NULL && part_lockset_row(table, before, &before_name) != TPC_OK) ||
        (after != NULL && part_lockset_row(table, after, &after_name) != TPC_OK)) {
        return out_of_memory(capture);
    }
    if (before != NULL && after != NULL && tpc_id_equal(&before_name, &after_name)) {
        return note(capture, table, &before_name, before, after);
    }
    /* A row whose primary key changes is one row less and one row more. */
    return (before == NULL || note(capture, table, &before_name, before, NULL)) &&
           (after == NULL || note(capture, table, &after_name, NULL, after));
}

static bool note_change(struct part_sqlite *sqlite, int operation, const char *table_name)
{
    struct part_capture *capture = &sqlite->capture;
    const struct part_table *table = part_schema_find(&sqlite->schema, table_name);
    if (table == NULL) {
        part_refuse(&capture->refusal, API_CAUSE_NOT_SUPPORTED, "table %s is not known here",
                    table_name);
        return false;
    }
    /* Foreign-key actions come here without having been judged by the authorizer. */
    if (!part_stmts_may_write(table, &capture->refusal)) {
        return false;
    }
    if (capture->arena.total > CHANGES_MAX_BYTES) {
        part_refuse(&capture->refusal, API_CAUSE_NOT_SUPPORTED,
                    "the branch changes too much: more than %u MiB of rows",
                    CHANGES_MAX_BYTES >> 20);
        return false;
    }
    const struct part_cell *before = NULL, *after = NULL;
    if (operation != SQLITE_INSERT && (before = copy_row(sqlite, table, operation, true)) == NULL) {
        return false;
    }
    if (operation != SQLITE_DELETE && (after = copy_row(sqlite, table, operation, false)) == NULL) {
        return false;
    }
    return note_rows(capture, table, before, after);
}

static void on_preupdate(void *arg, sqlite3 *db, int operation, const char *database,
                         const char *table, sqlite3_int64 old_rowid, sqlite3_int64 new_rowid)
{
    struct part_sqlite *sqlite = arg;
    (void)database;
    (void)old_rowid;
    (void)new_rowid;
    if (sqlite->capture.job == NULL || sqlite->capture.looks_away ||
        sqlite->capture.refusal.code != API_CAUSE_NONE) {
        return;
    }
    if (!note_change(sqlite, operation, table)) {
        sqlite3_interrupt(db);
    }
}

/* Others wait, and it has had its slice. */
static bool is_preempted(struct part_sqlite *sqlite, uint64_t now_ms)
{
    struct part_capture *capture = &sqlite->capture;
    capture->preempted = sqlite->reader_stops == NULL &&
                         now_ms - capture->began_ms >= capture->job->slice_ms &&
                         atomic_load_explicit(&sqlite->urgent, memory_order_relaxed);
    return capture->preempted;
}

/* Ends a statement that runs beyond the branch's time. */
static int on_progress(void *arg)
{
    struct part_sqlite *sqlite = arg;
    struct part_job *job = sqlite->capture.job;
    if (job == NULL || sqlite->capture.looks_away) {
        return 0;
    }
    uint64_t now_ms = tpc_clock_mono_ms();
    return atomic_load_explicit(&job->cancelled, memory_order_relaxed) ||
           (job->deadline_ms != 0 && now_ms >= job->deadline_ms) ||
           (sqlite->reader_stops != NULL && atomic_load(sqlite->reader_stops)) ||
           is_preempted(sqlite, now_ms);
}

void part_capture_init(struct part_sqlite *sqlite)
{
    sqlite3_preupdate_hook(sqlite->db, on_preupdate, sqlite);
    sqlite3_progress_handler(sqlite->db, OPS_BETWEEN_LOOKS, on_progress, sqlite);
}

/* ---- Statements ---- */

static void refuse_by_code(struct part_sqlite *sqlite, int rc)
{
    struct part_capture *capture = &sqlite->capture;
    struct part_job *job = capture->job;
    const char *words = sqlite3_errmsg(sqlite->db);
    switch (rc & 0xff) {
    case SQLITE_CONSTRAINT:
        part_refuse(&capture->refusal, API_CAUSE_CONSTRAINT, "%s", words);
        return;
    case SQLITE_INTERRUPT:
        if (capture->preempted) {
            part_refuse(&capture->refusal, API_CAUSE_CONFLICT, "held up others");
        } else if (atomic_load(&job->cancelled)) {
            part_refuse(&capture->refusal, API_CAUSE_CLIENT_ABORT,
                        "the branch was aborted while its statement ran");
        } else {
            part_refuse(&capture->refusal, API_CAUSE_TIMEOUT,
                        "the time of the transaction ran out while the statement ran");
        }
        return;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        part_refuse(&capture->refusal, API_CAUSE_CONFLICT, "%s", words);
        return;
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_NOMEM:
    case SQLITE_CORRUPT:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PROTOCOL:
        part_refuse(&capture->refusal, API_CAUSE_PARTICIPANT_ERROR, "%s", words);
        return;
    default:
        part_refuse(&capture->refusal, API_CAUSE_SQL_ERROR, "%s", words);
        return;
    }
}

static bool within_result_max(struct part_sqlite *sqlite)
{
    return part_within_result_max(&sqlite->capture.refusal, sqlite->capture.job->results.size,
                                  sqlite->options.result_max);
}

/* Step to the end, writing what comes; *ret_rows: how many rows were returned. */
static bool step_all(struct part_sqlite *sqlite, sqlite3_stmt *stmt, uint64_t *ret_rows)
{
    struct tpc_buf *out = &sqlite->capture.job->results;
    bool has_rows = sqlite3_column_count(stmt) > 0;
    if (has_rows) {
        api_jw_key(out, "columns");
        part_write_columns(out, stmt);
        api_jw_key(out, "rows");
        api_jw_open(out, '[');
    }
    uint64_t rows = 0;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        rows++;
        part_write_row(out, stmt);
        if (!within_result_max(sqlite)) {
            return false;
        }
    }
    if (rc != SQLITE_DONE) {
        refuse_by_code(sqlite, rc);
    }
    /* The hook may have refused the very last row. */
    if (sqlite->capture.refusal.code != API_CAUSE_NONE) {
        return false;
    }
    if (has_rows) {
        api_jw_close(out, ']');
    }
    *ret_rows = rows;
    return true;
}

static bool run_bound(struct part_sqlite *sqlite, const struct part_stmt *kept,
                      const struct api_statement *statement)
{
    struct tpc_buf *out = &sqlite->capture.job->results;
    uint64_t rows = 0;
    api_jw_open(out, '{');
    if (!step_all(sqlite, kept->stmt, &rows)) {
        return false;
    }
    if (!kept->reads_only) {
        rows = (uint64_t)sqlite3_changes64(sqlite->db);
        api_jw_key(out, "rows_affected");
        api_jw_u64(out, rows);
        sqlite->capture.wrote = true;
    }
    api_jw_close(out, '}');
    return within_result_max(sqlite) &&
           part_meets_expectation(&sqlite->capture.refusal, statement, rows, kept->reads_only);
}

/* Tables that a serializable branch read stay as they are until it ends. */
static bool lock_reads(struct part_sqlite *sqlite, const struct part_stmt *kept)
{
    struct part_capture *capture = &sqlite->capture;
    if (!capture->serializable) {
        return true;
    }
    if (kept->reads_virtual) {
        part_refuse(&capture->refusal, API_CAUSE_NOT_SUPPORTED,
                    "a serializable branch cannot read virtual tables: they cannot be locked");
        return false;
    }
    for (size_t i = 0; i < kept->read_count; i++) {
        if (part_lockset_add(capture, &kept->reads[i]->id, PART_LOCK_S) != TPC_OK) {
            return out_of_memory(capture);
        }
    }
    return true;
}

static bool run_statement(struct part_sqlite *sqlite, const struct api_statement *statement)
{
    struct part_capture *capture = &sqlite->capture;
    struct part_stmt *kept = part_stmts_get(sqlite, statement->sql, &capture->refusal);
    if (kept == NULL) {
        return false;
    }
    int wanted = sqlite3_bind_parameter_count(kept->stmt);
    if ((size_t)wanted != statement->param_count) {
        part_refuse(&capture->refusal, API_CAUSE_SQL_ERROR,
                    "the statement has %d placeholder(s), %zu parameter(s) were given", wanted,
                    statement->param_count);
        return false;
    }
    /* Serializable ones have the table for themselves. */
    bool placed = kept->makes_keys != NULL && !capture->serializable &&
                  part_keys_place(sqlite, kept->makes_keys);
    /* SQLite may compile it again while it runs, and then asks the authorizer again. */
    sqlite->stmts.authorizes = kept;
    sqlite->stmts.refusal = &capture->refusal;
    int rc = part_bind_params(kept->stmt, statement);
    bool ok = rc == SQLITE_OK;
    if (!ok) {
        refuse_by_code(sqlite, rc);
    }
    ok = ok && run_bound(sqlite, kept, statement);
    sqlite3_reset(kept->stmt);
    sqlite3_clear_bindings(kept->stmt);
    sqlite->stmts.authorizes = NULL;
    if (placed && !part_keys_unplace(sqlite, kept->makes_keys)) {
        part_refuse(&capture->refusal, API_CAUSE_PARTICIPANT_ERROR, "a key could not be made");
        ok = false;
    }
    return ok && lock_reads(sqlite, kept);
}

static bool run_statements(struct part_sqlite *sqlite)
{
    struct part_capture *capture = &sqlite->capture;
    const struct api_statements *statements = &capture->job->statements;
    api_jw_open(&capture->job->results, '[');
    for (size_t i = 0; i < statements->count; i++) {
        if (!run_statement(sqlite, &statements->items[i])) {
            capture->refusal.statement = (int)i;
            return false;
        }
    }
    api_jw_close(&capture->job->results, ']');
    int unresolved = 0, highest = 0;
    sqlite3_db_status(sqlite->db, SQLITE_DBSTATUS_DEFERRED_FKS, &unresolved, &highest, 0);
    if (unresolved != 0) {
        part_refuse(&capture->refusal, API_CAUSE_CONSTRAINT,
                    "FOREIGN KEY constraint failed (deferred, at the end of the branch)");
    } else if (capture->job->results.failed) {
        out_of_memory(capture);
    }
    return capture->refusal.code == API_CAUSE_NONE;
}

/* ---- The whole of it ---- */

static void forget_changes(struct part_capture *capture)
{
    HASH_CLEAR(hh, capture->by_row);
    part_arena_reset(&capture->arena);
    capture->first = capture->last = NULL;
}

static void begin(struct part_capture *capture, struct part_job *job)
{
    forget_changes(capture);
    capture->wrote = capture->preempted = false;
    capture->serializable = job->isolation == API_ISOLATION_SERIALIZABLE;
    capture->began_ms = tpc_clock_mono_ms();
    capture->lock_count = 0;
    capture->refusal = (struct part_refusal){.statement = -1};
    capture->job = job;
    tpc_buf_clear(&job->results);
}

static bool apply_past(struct part_sqlite *sqlite, const struct part_capture_past *past,
                       bool carefully)
{
    struct part_capture *capture = &sqlite->capture;
    char detail[256] = "";
    switch (part_apply(sqlite, past->payload, past->size, carefully, detail, sizeof(detail))) {
    case PART_APPLIED:
        return true;
    case PART_APPLY_CONFLICT:
        part_refuse(&capture->refusal, API_CAUSE_CONFLICT,
                    "what the branch did before does not apply any more, for another program "
                    "wrote: %s",
                    detail);
        return false;
    case PART_APPLY_FAILED:
    default:
        refuse_by_code(sqlite, sqlite3_extended_errcode(sqlite->db));
        return false;
    }
}

/* The hook notes the changes of earlier steps as it noted them then, so that what comes out is the
 * work of the whole branch. Their locks stay needed. */
static bool redo_past(struct part_sqlite *sqlite, const struct part_capture_past *past)
{
    struct part_capture *capture = &sqlite->capture;
    struct part_payload payload;
    capture->wrote = past->wrote;
    if (past->size == 0) {
        return true;
    }
    enum tpc_rc rc = part_payload_open(&payload, past->payload, past->size);
    for (size_t i = 0; rc == TPC_OK && i < payload.lock_count; i++) {
        rc = part_lockset_add(capture, &payload.locks[i].name, payload.locks[i].modes);
    }
    part_payload_done(&payload);
    if (rc != TPC_OK) {
        return out_of_memory(capture);
    }
    part_write_quiet(sqlite, true);
    bool done = apply_past(sqlite, past, false);
    if (!done && capture->refusal.code == API_CAUSE_CONFLICT && !capture->preempted &&
        part_write_exec(sqlite, PART_OWN_ROLLBACK_TO) == SQLITE_OK) {
        forget_changes(capture);
        capture->refusal = (struct part_refusal){.statement = -1};
        done = apply_past(sqlite, past, true);
    }
    part_write_quiet(sqlite, false);
    return done;
}

void part_capture_run(struct part_sqlite *sqlite, struct part_job *job,
                      const struct part_capture_past *past)
{
    struct part_capture *capture = &sqlite->capture;
    begin(capture, job);
    part_write_quiet(sqlite, false);
    int rc = part_write_exec(sqlite, PART_OWN_SAVEPOINT);
    if (rc != SQLITE_OK) {
        refuse_by_code(sqlite, rc);
    } else if (past == NULL || redo_past(sqlite, past)) {
        /* Statements see no trace of other branches. */
        sqlite3_set_last_insert_rowid(sqlite->db, 0);
        (void)run_statements(sqlite);
    }
    capture->job = NULL;
    /* A refused statement may have taken the whole transaction with it (OR ROLLBACK, disk full). */
    if (rc == SQLITE_OK && sqlite3_get_autocommit(sqlite->db) == 0 &&
        (part_write_exec(sqlite, PART_OWN_ROLLBACK_TO) != SQLITE_OK ||
         part_write_exec(sqlite, PART_OWN_RELEASE) != SQLITE_OK)) {
        part_refuse(&capture->refusal, API_CAUSE_PARTICIPANT_ERROR, "%s",
                    sqlite3_errmsg(sqlite->db));
        part_write_rollback(sqlite);
    }
    if (capture->refusal.code == API_CAUSE_NONE && part_lockset_build(capture) != TPC_OK) {
        out_of_memory(capture);
    }
    if (capture->refusal.code != API_CAUSE_NONE) {
        tpc_buf_clear(&job->results);
    }
}

void part_capture_read(struct part_sqlite *reader, struct part_job *job)
{
    struct part_capture *capture = &reader->capture;
    begin(capture, job);
    reader->stmts.met_write = false;
    int rc = part_write_exec(reader, PART_OWN_BEGIN_READ);
    if (rc != SQLITE_OK) {
        refuse_by_code(reader, rc);
    } else {
        (void)run_statements(reader);
    }
    capture->job = NULL;
    part_write_rollback(reader);
    if (capture->refusal.code != API_CAUSE_NONE) {
        tpc_buf_clear(&job->results);
    }
}

void part_capture_done(struct part_sqlite *sqlite)
{
    struct part_capture *capture = &sqlite->capture;
    HASH_CLEAR(hh, capture->by_row);
    part_arena_done(&capture->arena);
    free(capture->locks);
    *capture = (struct part_capture){0};
}
