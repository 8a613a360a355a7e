#include "participant/sqlite_internal.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check {
    struct part_sqlite *sqlite;
    char *detail;
    size_t detail_size;
};

static const char *const collations[] = {[PART_COLL_BINARY] = "BINARY",
                                         [PART_COLL_NOCASE] = "NOCASE",
                                         [PART_COLL_RTRIM] = "RTRIM",
                                         [PART_COLL_OTHER] = "BINARY" /* not asked */};

static const char *column(const struct part_table *table, const struct part_key *key, size_t i)
{
    return table->columns[key->columns[i]].quoted;
}

static const struct part_key *parent_key(const struct part_key *child)
{
    const struct part_key *key = child->parent->parents;
    while (key != NULL && !tpc_id_equal(&key->space, &child->space)) {
        key = key->next;
    }
    return key;
}

/* Rows of @table that refer by @key to nothing; the caller adds which. */
static void write_orphans(struct tpc_buf *sql, const struct part_table *table,
                          const struct part_key *key)
{
    const struct part_key *parent = parent_key(key);
    tpc_buf_addf(sql, "SELECT 1 FROM main.%s AS c WHERE NOT EXISTS (SELECT 1 FROM main.%s AS p",
                 table->quoted, key->parent->quoted);
    for (size_t i = 0; i < key->count; i++) {
        /* The plus takes the child's affinity away: only the parent's counts. */
        tpc_buf_addf(sql, "%s p.%s = +c.%s COLLATE %s", i == 0 ? " WHERE" : " AND",
                     column(key->parent, parent, i), column(table, key, i),
                     collations[key->collations[i]]);
    }
    tpc_buf_adds(sql, ")");
    for (size_t i = 0; i < key->count; i++) {
        tpc_buf_addf(sql, " AND c.%s IS NOT NULL", column(table, key, i));
    }
}

static enum part_apply_result expect_none(struct check *check, struct tpc_buf *sql,
                                          const struct part_cell *const *cells, size_t count,
                                          const struct part_table *child,
                                          const struct part_table *parent)
{
    sqlite3 *db = check->sqlite->db;
    sqlite3_stmt *stmt = NULL;
    int rc = sql->failed ? SQLITE_NOMEM : sqlite3_prepare_v2(db, sql->data, -1, &stmt, NULL);
    for (size_t i = 0; rc == SQLITE_OK && i < count; i++) {
        rc = part_cell_bind(stmt, (int)i + 1, cells[i]);
    }
    rc = rc == SQLITE_OK ? sqlite3_step(stmt) : rc;
    tpc_buf_done(sql);
    sqlite3_finalize(stmt);
    if (rc == SQLITE_DONE) {
        return PART_APPLIED;
    }
    if (rc == SQLITE_ROW) {
        (void)snprintf(check->detail, check->detail_size,
                       "a row of table %s would refer to a row of table %s that is not there: "
                       "another program wrote the file",
                       child->name, parent->name);
        return PART_APPLY_CONFLICT;
    }
    (void)snprintf(check->detail, check->detail_size, "%s", sqlite3_errmsg(db));
    return PART_APPLY_FAILED;
}

/* Some of the key's columns have no value that is shown: look at the whole table. */
static bool is_unseen(const struct part_key *child)
{
    const struct part_key *parent = parent_key(child);
    return child->unseen || parent == NULL || parent->unseen || child->count == 0;
}

static enum part_apply_result check_all(struct check *check, const struct part_table *child,
                                        const struct part_key *key)
{
    struct part_cell name = {.type = PART_CELL_TEXT,
                             .bytes = {.data = child->name, .size = strlen(child->name)}};
    const struct part_cell *cell = &name;
    struct tpc_buf sql = {0};
    tpc_buf_adds(&sql, "SELECT 1 FROM pragma_foreign_key_check(?)");
    return expect_none(check, &sql, &cell, 1, child, key->parent);
}

/* The cell of @column in a list of cells, or NULL. */
static const struct part_cell *find_cell(const struct part_payload_change *change,
                                         const struct part_cell *cells, uint16_t column_number)
{
    for (size_t i = 0; i < change->count; i++) {
        if (change->columns[i] == column_number) {
            return &cells[i];
        }
    }
    return NULL;
}

/* Or else the row referred to nothing before, if it does now: that is no doing of this change. */
static bool may_change(const struct part_payload_change *change, const struct part_key *key)
{
    bool found = change->op == PART_CHANGE_INSERT || is_unseen(key);
    for (size_t i = 0; !found && i < key->count; i++) {
        found = find_cell(change, change->after, key->columns[i]) != NULL;
    }
    return found;
}

/* The row that was put in or changed: has it its parents? */
static enum part_apply_result check_child(struct check *check, const struct part_table *table,
                                          const struct part_payload_change *change)
{
    enum part_apply_result result = PART_APPLIED;
    const struct part_cell **cells =
        calloc(table->primary.count + 1, sizeof(const struct part_cell *));
    for (size_t i = 0; cells != NULL && i < table->primary.count; i++) {
        cells[i] = change->op == PART_CHANGE_UPDATE
                       ? &change->key[i]
                       : find_cell(change, change->after, table->primary.columns[i]);
    }
    const struct part_key *key = cells != NULL ? table->children : NULL;
    for (; key != NULL && result == PART_APPLIED; key = key->next) {
        struct tpc_buf sql = {0};
        if (!may_change(change, key)) {
            continue;
        }
        if (is_unseen(key)) {
            result = check_all(check, table, key);
            continue;
        }
        write_orphans(&sql, table, key);
        for (size_t i = 0; i < table->primary.count; i++) {
            tpc_buf_addf(&sql, " AND c.%s = ?", column(table, &table->primary, i));
        }
        result = expect_none(check, &sql, cells, table->primary.count, table, key->parent);
    }
    free(cells);
    return cells != NULL ? result : PART_APPLY_FAILED;
}

/* The value of a child's column as it is compared with the parent's. */
static void write_converted(struct tpc_buf *sql, const struct part_table *child,
                            const struct part_key *key, size_t i)
{
    static const char *const as[] = {[PART_AFF_TEXT] = "TEXT", [PART_AFF_NUMERIC] = "NUMERIC"};
    if (key->conversions == NULL) {
        tpc_buf_addf(sql, "c.%s", column(child, key, i));
    } else if (key->conversions[i] == PART_AFF_BLOB) {
        tpc_buf_addf(sql, "+c.%s", column(child, key, i));
    } else {
        tpc_buf_addf(sql, "CAST(c.%s AS %s)", column(child, key, i), as[key->conversions[i]]);
    }
}

/* Rows of @child that referred to the key which @change took from its table. */
static enum part_apply_result check_orphans(struct check *check, const struct part_table *child,
                                            const struct part_key *key,
                                            const struct part_payload_change *change)
{
    if (is_unseen(key)) {
        return check_all(check, child, key);
    }
    const struct part_key *parent = parent_key(key);
    const struct part_cell **cells = calloc(key->count + 1, sizeof(const struct part_cell *));
    struct tpc_buf sql = {0};
    size_t count = 0;
    bool gone = false; /* or else the key stays */
    if (cells == NULL) {
        return PART_APPLY_FAILED;
    }
    write_orphans(&sql, child, key);
    for (size_t i = 0; i < key->count; i++) {
        const struct part_cell *before = find_cell(change, change->before, parent->columns[i]);
        gone |= before != NULL;
        if (before != NULL && before->type != PART_CELL_ANY) {
            tpc_buf_adds(&sql, " AND ");
            write_converted(&sql, child, key, i);
            tpc_buf_addf(&sql, " = ? COLLATE %s", collations[key->collations[i]]);
            cells[count++] = before;
        }
    }
    enum part_apply_result result =
        gone ? expect_none(check, &sql, cells, count, child, key->parent) : PART_APPLIED;
    tpc_buf_done(&sql);
    free(cells);
    return result;
}

/* The row that was taken out or changed: does nobody refer to what it was? */
static enum part_apply_result check_parent(struct check *check, const struct part_table *table,
                                           const struct part_payload_change *change)
{
    enum part_apply_result result = PART_APPLIED;
    const struct part_table *child = table->parents != NULL ? check->sqlite->schema.tables : NULL;
    for (; child != NULL; child = child->hh.next) {
        for (const struct part_key *key = child->children; key != NULL; key = key->next) {
            if (key->parent == table && result == PART_APPLIED) {
                result = check_orphans(check, child, key, change);
            }
        }
    }
    return result;
}

enum part_apply_result part_foreign_check(struct part_sqlite *sqlite, const void *payload,
                                          size_t size, char *detail, size_t detail_size)
{
    struct check check = {.sqlite = sqlite, .detail = detail, .detail_size = detail_size};
    struct part_payload reader;
    struct part_payload_change change;
    enum part_apply_result result =
        part_payload_open(&reader, payload, size) == TPC_OK ? PART_APPLIED : PART_APPLY_FAILED;
    while (result == PART_APPLIED && part_payload_next(&reader, &change)) {
        const struct part_table *table =
            part_schema_find(&sqlite->schema, reader.tables[change.table].name);
        if (change.op != PART_CHANGE_DELETE) {
            result = check_child(&check, table, &change);
        }
        if (change.op != PART_CHANGE_INSERT && result == PART_APPLIED) {
            result = check_parent(&check, table, &change);
        }
    }
    part_payload_done(&reader);
    return result;
}
