/* Applying: each change becomes one statement, kept prepared with its table, that names the old
 * values in its WHERE clause. If it does not change exactly one row, somebody else wrote the file
 * since the capture. */
#include "participant/sqlite_internal.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_MAX 64 /* statements a table */
#define GROUP    64 /* terms of a condition between parentheses */

/* The same operation on the same columns, comparing the same ones. */
struct part_kept {
    struct part_kept *next;
    sqlite3_stmt *stmt;
    size_t shape_size;
    uint16_t shape[];
};

struct apply {
    struct part_sqlite *sqlite;
    struct part_payload payload;
    struct part_table **tables;
    uint16_t *shape; /* of the change under way */
    size_t shape_size, shape_capacity;
    char *detail;
    size_t detail_size;
};

/* ---- Statements by shape ---- */

#define COMPARE 0x8000u /* flag beside a column's number: its old value is compared */

static void make_shape(struct apply *apply, const struct part_payload_change *change)
{
    if (apply->shape_capacity < change->count + 1) {
        uint16_t *shape = tpc_must_realloc(apply->shape, (change->count + 1) * sizeof(*shape));
        apply->shape = shape;
        apply->shape_capacity = change->count + 1;
    }
    apply->shape[0] = (uint16_t)change->op;
    for (size_t i = 0; i < change->count; i++) {
        bool compare = change->op != PART_CHANGE_INSERT && change->before[i].type != PART_CELL_ANY;
        apply->shape[i + 1] = (uint16_t)(change->columns[i] | (compare ? COMPARE : 0));
    }
    apply->shape_size = change->count + 1;
}

static void write_insert(struct tpc_buf *sql, const struct part_table *table,
                         const uint16_t *columns, size_t count)
{
    tpc_buf_addf(sql, "INSERT OR ABORT INTO main.%s(", table->quoted);
    for (size_t i = 0; i < count; i++) {
        tpc_buf_addf(sql, "%s%s", i > 0 ? ", " : "", table->columns[columns[i]].quoted);
    }
    tpc_buf_adds(sql, ") VALUES(");
    for (size_t i = 0; i < count; i++) {
        tpc_buf_adds(sql, i > 0 ? ", ?" : "?");
    }
    tpc_buf_adds(sql, ")");
}

static void write_glue(struct tpc_buf *sql, size_t terms)
{
    if (terms > 0) {
        tpc_buf_adds(sql, terms % GROUP == 0 ? ") AND (" : " AND ");
    }
}

/* In groups, since SQLite takes a chain of more than 1000 for too deep. */
static void write_where(struct tpc_buf *sql, const struct part_table *table, const uint16_t *shape,
                        size_t count, bool with_key)
{
    size_t terms = 0;
    tpc_buf_adds(sql, " WHERE (");
    for (size_t i = 0; with_key && i < table->primary.count; i++) {
        write_glue(sql, terms++);
        tpc_buf_addf(sql, "%s = ?", table->columns[table->primary.columns[i]].quoted);
    }
    for (size_t i = 0; i < count; i++) {
        if ((shape[i] & COMPARE) != 0) {
            write_glue(sql, terms++);
            tpc_buf_addf(sql, "%s IS ?", table->columns[shape[i] & ~COMPARE].quoted);
        }
    }
    tpc_buf_adds(sql, ")");
}

static void write_sql(struct tpc_buf *sql, const struct apply *apply,
                      const struct part_table *table)
{
    const uint16_t *shape = apply->shape + 1;
    size_t count = apply->shape_size - 1;
    switch ((enum part_change_op)apply->shape[0]) {
    case PART_CHANGE_INSERT:
        write_insert(sql, table, shape, count);
        break;
    case PART_CHANGE_UPDATE:
        tpc_buf_addf(sql, "UPDATE OR ABORT main.%s SET ", table->quoted);
        for (size_t i = 0; i < count; i++) {
            tpc_buf_addf(sql, "%s%s = ?", i > 0 ? ", " : "",
                         table->columns[shape[i] & ~COMPARE].quoted);
        }
        write_where(sql, table, shape, count, true);
        break;
    case PART_CHANGE_DELETE:
        /* The primary key is among the columns. */
        tpc_buf_addf(sql, "DELETE FROM main.%s", table->quoted);
        write_where(sql, table, shape, count, false);
        break;
    }
}

static struct part_kept *make_kept(struct apply *apply, const struct part_table *table)
{
    struct part_kept *kept =
        tpc_must_alloc(sizeof(*kept) + apply->shape_size * sizeof(apply->shape[0]));
    struct tpc_buf sql = {0};
    write_sql(&sql, apply, table);
    if (sql.failed) {
        tpc_no_memory();
    }
    if (sqlite3_prepare_v3(apply->sqlite->db, sql.data, (int)sql.size, SQLITE_PREPARE_PERSISTENT,
                           &kept->stmt, NULL) != SQLITE_OK) {
        free(kept);
        kept = NULL;
    } else {
        kept->shape_size = apply->shape_size;
        memcpy(kept->shape, apply->shape, apply->shape_size * sizeof(apply->shape[0]));
    }
    tpc_buf_done(&sql);
    return kept;
}

/* The statement for apply->shape, moved to the front of its table's list. */
static sqlite3_stmt *find_stmt(struct apply *apply, struct part_table *table)
{
    size_t bytes = apply->shape_size * sizeof(apply->shape[0]), count = 0;
    struct part_kept **at = &table->kept, *kept = NULL;
    for (; *at != NULL; at = &(*at)->next, count++) {
        if ((*at)->shape_size == apply->shape_size &&
            memcmp((*at)->shape, apply->shape, bytes) == 0) {
            kept = *at;
            *at = kept->next;
            break;
        }
        if (count == KEPT_MAX) {
            struct part_kept *last = *at;
            *at = NULL;
            sqlite3_finalize(last->stmt);
            free(last);
            break;
        }
    }
    if (kept == NULL) {
        kept = make_kept(apply, table);
    }
    if (kept == NULL) {
        return NULL;
    }
    kept->next = table->kept;
    table->kept = kept;
    return kept->stmt;
}

void part_apply_forget(struct part_schema *schema)
{
    struct part_table *table, *next;
    HASH_ITER (hh, schema->tables, table, next) {
        while (table->kept != NULL) {
            struct part_kept *kept = table->kept;
            table->kept = kept->next;
            sqlite3_finalize(kept->stmt);
            free(kept);
        }
    }
}

/* ---- One change ---- */

static enum part_apply_result failed(struct apply *apply, int rc, const struct part_table *table)
{
    int kind = rc & 0xff;
    bool conflict = kind == SQLITE_CONSTRAINT || kind == SQLITE_ERROR || kind == SQLITE_MISMATCH;
    (void)snprintf(apply->detail, apply->detail_size,
                   conflict ? "the change of table %s no longer applies: %s" : "table %s: %s",
                   table->name, sqlite3_errmsg(apply->sqlite->db));
    return conflict ? PART_APPLY_CONFLICT : PART_APPLY_FAILED;
}

static enum part_apply_result vanished(struct apply *apply, const struct part_table *table)
{
    (void)snprintf(apply->detail, apply->detail_size,
                   "a row of table %s is not what it was when the change was prepared: another "
                   "program wrote the file",
                   table->name);
    return PART_APPLY_CONFLICT;
}

static int bind_change(sqlite3_stmt *stmt, const struct part_payload_change *change)
{
    int rc = SQLITE_OK, index = 1;
    for (size_t i = 0; change->op != PART_CHANGE_DELETE && i < change->count; i++) {
        rc = rc == SQLITE_OK ? part_cell_bind(stmt, index++, &change->after[i]) : rc;
    }
    for (size_t i = 0; i < change->key_count; i++) {
        rc = rc == SQLITE_OK ? part_cell_bind(stmt, index++, &change->key[i]) : rc;
    }
    for (size_t i = 0; change->op != PART_CHANGE_INSERT && i < change->count; i++) {
        if (change->before[i].type != PART_CELL_ANY && rc == SQLITE_OK) {
            rc = part_cell_bind(stmt, index++, &change->before[i]);
        }
    }
    return rc;
}

static enum part_apply_result apply_change(struct apply *apply,
                                           const struct part_payload_change *change)
{
    struct part_table *table = apply->tables[change->table];
    if (change->op == PART_CHANGE_UPDATE && change->key_count != table->primary.count) {
        return vanished(apply, table);
    }
    make_shape(apply, change);
    sqlite3_stmt *stmt = find_stmt(apply, table);
    if (stmt == NULL) {
        return failed(apply, sqlite3_errcode(apply->sqlite->db), table);
    }
    int rc = bind_change(stmt, change);
    rc = rc == SQLITE_OK ? sqlite3_step(stmt) : rc;
    enum part_apply_result result = PART_APPLIED;
    if (rc != SQLITE_DONE) {
        result = failed(apply, rc, table);
    } else if (sqlite3_changes(apply->sqlite->db) != 1) {
        result = vanished(apply, table);
    }
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return result;
}

/* ---- All changes ---- */

static enum part_apply_result makes_no_sense(struct apply *apply)
{
    (void)snprintf(apply->detail, apply->detail_size, "the prepared change cannot be read");
    return PART_APPLY_CONFLICT;
}

static enum part_apply_result apply_in_order(struct apply *apply)
{
    struct part_payload_change change;
    enum part_apply_result result = PART_APPLIED;
    while (result == PART_APPLIED && part_payload_next(&apply->payload, &change)) {
        result = apply_change(apply, &change);
    }
    return result == PART_APPLIED && apply->payload.changes_left != 0 ? makes_no_sense(apply)
                                                                      : result;
}

/* A row that was taken out, to be put in again as it becomes. */
struct taken {
    struct part_payload_change deletion, insertion;
    struct taken *next;
};

static size_t written_columns(const struct part_table *table, uint16_t *out)
{
    size_t count = 0;
    for (size_t i = 0; i < table->column_count; i++) {
        if (!table->columns[i].generated) {
            out[count++] = (uint16_t)i;
        }
    }
    return count;
}

enum part_apply_result part_apply_row(struct part_sqlite *sqlite, struct part_table *table,
                                      enum part_change_op op, struct part_cell *row)
{
    char detail[512];
    struct apply apply = {
        .sqlite = sqlite, .tables = &table, .detail = detail, .detail_size = sizeof(detail)};
    struct part_payload_change change = {.op = op};
    change.columns = calloc(table->column_count + 1, sizeof(*change.columns));
    change.before = change.after = calloc(table->column_count + 1, sizeof(*row));
    enum part_apply_result result = PART_APPLY_FAILED;
    if (change.columns != NULL && change.before != NULL) {
        change.count = written_columns(table, change.columns);
        for (size_t i = 0; i < change.count; i++) {
            change.before[i] = row[change.columns[i]];
        }
        result = apply_change(&apply, &change);
    }
    free(change.columns);
    free(change.before);
    free(apply.shape);
    return result;
}

static struct taken *make_taken(struct part_arena *arena, const struct part_table *table,
                                const struct part_payload_change *update)
{
    struct taken *taken = part_arena_alloc(arena, sizeof(*taken));
    uint16_t *columns = part_arena_alloc(arena, table->column_count * sizeof(*columns));
    struct part_cell *before =
        part_arena_alloc(arena, table->column_count * sizeof(struct part_cell));
    struct part_cell *after =
        part_arena_alloc(arena, table->column_count * sizeof(struct part_cell));
    if (taken == NULL || columns == NULL || before == NULL || after == NULL) {
        return NULL;
    }
    size_t count = written_columns(table, columns);
    taken->deletion = (struct part_payload_change){.op = PART_CHANGE_DELETE,
                                                   .table = update->table,
                                                   .count = count,
                                                   .columns = columns,
                                                   .before = before};
    taken->insertion = taken->deletion;
    taken->insertion.op = PART_CHANGE_INSERT;
    taken->insertion.before = NULL;
    taken->insertion.after = after;
    return taken;
}

/* Read the row that @update is about and merge its new values. SQLITE_ROW, or SQLITE_DONE when
 * there is none with the old values. */
static int read_row(struct apply *apply, struct part_arena *arena, const struct part_table *table,
                    const struct part_payload_change *update, struct taken *taken)
{
    struct tpc_buf sql = {0};
    sqlite3_stmt *stmt = NULL;
    const char *glue = "SELECT ";
    for (size_t i = 0; i < taken->deletion.count; i++, glue = ", ") {
        tpc_buf_addf(&sql, "%s%s", glue, table->columns[taken->deletion.columns[i]].quoted);
    }
    tpc_buf_addf(&sql, " FROM main.%s", table->quoted);
    write_where(&sql, table, NULL, 0, true);
    int rc = sql.failed ? SQLITE_NOMEM
                        : sqlite3_prepare_v2(apply->sqlite->db, sql.data, -1, &stmt, NULL);
    for (size_t i = 0; rc == SQLITE_OK && i < update->key_count; i++) {
        rc = part_cell_bind(stmt, (int)i + 1, &update->key[i]);
    }
    rc = rc == SQLITE_OK ? sqlite3_step(stmt) : rc;
    size_t changed = 0;
    for (size_t i = 0; rc == SQLITE_ROW && i < taken->deletion.count; i++) {
        sqlite3_value *value = sqlite3_column_value(stmt, (int)i);
        if (part_cell_copy(arena, value, &taken->deletion.before[i]) != TPC_OK) {
            rc = SQLITE_NOMEM;
        }
        taken->insertion.after[i] = taken->deletion.before[i];
        if (changed < update->count && update->columns[changed] == taken->deletion.columns[i]) {
            const struct part_cell *before = &update->before[changed];
            if (before->type != PART_CELL_ANY &&
                !part_cell_equal(before, &taken->deletion.before[i])) {
                rc = SQLITE_DONE;
            }
            taken->insertion.after[i] = update->after[changed++];
        }
    }
    sqlite3_finalize(stmt);
    tpc_buf_done(&sql);
    return rc;
}

static enum part_apply_result take_out(struct apply *apply, struct part_arena *arena,
                                       const struct part_payload_change *update,
                                       struct taken **list)
{
    const struct part_table *table = apply->tables[update->table];
    if (update->key_count != table->primary.count) {
        return vanished(apply, table);
    }
    struct taken *taken = make_taken(arena, table, update);
    int rc = taken != NULL ? read_row(apply, arena, table, update, taken) : SQLITE_NOMEM;
    if (rc == SQLITE_DONE) {
        return vanished(apply, table);
    }
    if (rc != SQLITE_ROW) {
        return failed(apply, rc, table);
    }
    taken->next = *list;
    *list = taken;
    return apply_change(apply, &taken->deletion);
}

static enum part_apply_result apply_carefully(struct apply *apply)
{
    struct part_arena arena = {.must = true};
    struct taken *list = NULL;
    struct part_payload_change change;
    const uint8_t *start = apply->payload.at;
    size_t count = apply->payload.changes_left;
    enum part_apply_result result = PART_APPLIED;
    while (result == PART_APPLIED && part_payload_next(&apply->payload, &change)) {
        if (change.op == PART_CHANGE_DELETE) {
            result = apply_change(apply, &change);
        } else if (change.op == PART_CHANGE_UPDATE) {
            result = take_out(apply, &arena, &change, &list);
        }
    }
    if (result == PART_APPLIED && apply->payload.changes_left != 0) {
        result = makes_no_sense(apply);
    }
    for (; result == PART_APPLIED && list != NULL; list = list->next) {
        result = apply_change(apply, &list->insertion);
    }
    apply->payload.at = start;
    apply->payload.changes_left = count;
    while (result == PART_APPLIED && part_payload_next(&apply->payload, &change)) {
        if (change.op == PART_CHANGE_INSERT) {
            result = apply_change(apply, &change);
        }
    }
    part_arena_done(&arena);
    return result;
}

static enum part_apply_result find_tables(struct apply *apply)
{
    struct part_payload *payload = &apply->payload;
    apply->tables =
        part_arena_alloc(&payload->arena, (payload->table_count + 1) * sizeof(struct part_table *));
    for (size_t i = 0; apply->tables != NULL && i < payload->table_count; i++) {
        struct part_table *table =
            part_schema_find(&apply->sqlite->schema, payload->tables[i].name);
        if (table == NULL || table->column_count != payload->tables[i].column_count ||
            !tpc_id_equal(&table->shape, &payload->tables[i].shape)) {
            (void)snprintf(apply->detail, apply->detail_size,
                           "table %s was altered after the change was prepared",
                           payload->tables[i].name);
            return PART_APPLY_CONFLICT;
        }
        apply->tables[i] = table;
    }
    return apply->tables != NULL ? PART_APPLIED : PART_APPLY_FAILED;
}

enum part_apply_result part_apply(struct part_sqlite *sqlite, const void *payload, size_t size,
                                  bool carefully, char *detail, size_t detail_size)
{
    struct apply apply = {.sqlite = sqlite, .detail = detail, .detail_size = detail_size};
    enum tpc_rc rc = part_payload_open(&apply.payload, payload, size);
    enum part_apply_result result;
    if (rc == TPC_OK) {
        result = find_tables(&apply);
        if (result == PART_APPLIED) {
            result = carefully ? apply_carefully(&apply) : apply_in_order(&apply);
        }
    } else {
        result = makes_no_sense(&apply);
    }
    part_payload_done(&apply.payload);
    free(apply.shape);
    return result;
}

bool part_apply_needs_quiet(const struct part_sqlite *sqlite, const void *payload, size_t size)
{
    struct part_payload reader;
    bool quiet = false;
    if (part_payload_open(&reader, payload, size) == TPC_OK) {
        for (size_t i = 0; i < reader.table_count; i++) {
            const struct part_table *table =
                part_schema_find(&sqlite->schema, reader.tables[i].name);
            quiet |= table != NULL && (table->has_triggers || table->has_foreign_keys);
        }
    }
    part_payload_done(&reader);
    return quiet;
}
