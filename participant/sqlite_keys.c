/* A row without a key gets one from SQLite: the largest in the table and one more. Branches that
 * are captured on the same committed state would all get the same, and stand in each other's way
 * for no reason that their clients know of.
 *
 * So while such a statement runs, the row with the largest key that was made for a prepared branch
 * lies in the table (it is valid: it was captured; values of unique keys are replaced, so that it
 * is in nobody's way), and is taken out again at once. The statement must be one that cannot see
 * it: it makes its keys itself and reads the table by no means, which its program shows. Where any
 * of this is not so, nothing is done, and such branches wait for each other or die as others do. */
#include "participant/sqlite_internal.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Judging a program ---- */

static bool is_one_of(const char *opcode, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (strcmp(opcode, *list) == 0) {
            return true;
        }
    }
    return false;
}

/* All that looks at a row or moves to one; p1 is the cursor. */
static bool looks_at_rows(const char *opcode)
{
    static const char *const list[] = {"Rewind",    "Last",    "Next",     "Prev",  "Column",
                                       "Rowid",     "Delete",  "Count",    "Clear", "RowData",
                                       "NotExists", "Found",   "NotFound", "Sort",  "Offset",
                                       "IfSmaller", "RowCell", NULL};
    return strncmp(opcode, "Seek", 4) == 0 || strcmp(opcode, "DeferredSeek") == 0 ||
           is_one_of(opcode, list);
}

struct program {
    const struct part_table *table;
    bool opened; /* the table was */
    int cursor;  /* at the table; -1: none */
    bool makes_keys, unfit;
};

static bool is_index_of(const struct part_table *table, int64_t root_page)
{
    for (size_t i = 0; i < table->index_count; i++) {
        if (table->index_pages[i] == root_page) {
            return true;
        }
    }
    return false;
}

static void judge_open(struct program *program, bool writes, int cursor, int64_t root_page)
{
    /* To write, indexes are opened with their table; to read, often without. */
    program->unfit |= !writes && is_index_of(program->table, root_page);
    if (root_page == program->table->root_page) {
        program->unfit |= program->opened || !writes;
        program->opened = true;
        program->cursor = cursor;
    } else if (cursor == program->cursor) {
        program->cursor = -1; /* used anew, for sqlite_sequence */
    }
}

static void judge_step(struct program *program, const char *opcode, int p1, int64_t p2)
{
    /* Triggers run, or it is not clear what is opened. A key that is given shows by itself: it is
     * looked for (NotExists) before its row goes in. */
    static const char *const never[] = {"Program", "VOpen", "OpenDup", "ReopenIdx", NULL};
    program->unfit |= is_one_of(opcode, never);
    if (strcmp(opcode, "OpenRead") == 0 || strcmp(opcode, "OpenWrite") == 0) {
        judge_open(program, opcode[4] == 'W', p1, p2);
    } else if (program->cursor == p1 && looks_at_rows(opcode)) {
        program->unfit = true;
    } else if (program->cursor == p1 && strcmp(opcode, "NewRowid") == 0) {
        program->makes_keys = true;
    }
}

void part_keys_judge(struct part_sqlite *sqlite, struct part_stmt *stmt)
{
    struct part_table *table = stmt->inserts;
    if (table == NULL || !table->makes_keys || table->has_triggers ||
        sqlite3_stmt_isexplain(stmt->stmt) != 0) {
        return;
    }
    for (const struct part_key *key = table->uniques; key != NULL; key = key->next) {
        if (key->coarse) {
            return; /* the row could be in the way all the same */
        }
    }
    struct program program = {.table = table, .cursor = -1};
    struct tpc_buf sql = {0};
    sqlite3_stmt *explain = NULL;
    tpc_buf_adds(&sql, "EXPLAIN ");
    tpc_buf_adds(&sql, stmt->sql);
    if (!sql.failed && sqlite3_prepare_v2(sqlite->db, sql.data, -1, &explain, NULL) == SQLITE_OK) {
        while (sqlite3_step(explain) == SQLITE_ROW) {
            judge_step(&program, (const char *)sqlite3_column_text(explain, 1),
                       sqlite3_column_int(explain, 2), sqlite3_column_int64(explain, 3));
        }
    }
    sqlite3_finalize(explain);
    tpc_buf_done(&sql);
    if (program.makes_keys && !program.unfit) {
        stmt->makes_keys = table;
        table->made.wanted = true;
    }
}

/* ---- The row ---- */

static bool is_unique(const struct part_table *table, size_t column)
{
    for (const struct part_key *key = table->uniques; key != NULL; key = key->next) {
        for (size_t i = 0; i < key->count; i++) {
            if (key->columns[i] == column) {
                return true;
            }
        }
    }
    return false;
}

/* Keep @row, which the highest key belongs to. */
static void keep_row(struct part_table *table, const struct part_cell *row, int64_t key)
{
    tpc_buf_clear(&table->made.row);
    for (size_t i = 0; i < table->column_count; i++) {
        char text[64];
        struct part_cell cell = row[i];
        if (is_unique(table, i)) {
            (void)snprintf(text, sizeof(text), "assent-%016llx",
                           (unsigned long long)tpc_random_u64());
            cell = (struct part_cell){.type = PART_CELL_TEXT,
                                      .bytes = {.data = text, .size = strlen(text)}};
        }
        part_cell_encode(&table->made.row, &cell);
    }
    table->made.key = key;
    if (table->made.row.failed) {
        tpc_buf_done(&table->made.row);
    }
}

void part_keys_note(struct part_sqlite *sqlite)
{
    for (const struct part_change *c = sqlite->capture.first; c != NULL; c = c->next) {
        struct part_table *table = part_schema_find(&sqlite->schema, c->table->name);
        if (!table->made.wanted || c->before != NULL || c->after == NULL) {
            continue;
        }
        const struct part_cell *key = &c->after[table->primary.columns[0]];
        if (key->type == PART_CELL_INT &&
            (table->made.row.size == 0 || key->integer > table->made.key)) {
            keep_row(table, c->after, key->integer);
        }
    }
}

static bool change_row(struct part_sqlite *sqlite, struct part_table *table, enum part_change_op op)
{
    struct part_cell *row = calloc(table->column_count + 1, sizeof(*row));
    const uint8_t *at = (const uint8_t *)table->made.row.data;
    const uint8_t *end = at + table->made.row.size;
    bool ok = row != NULL;
    for (size_t i = 0; ok && i < table->column_count; i++) {
        ok = part_cell_decode(&at, end, &row[i]);
    }
    sqlite->capture.looks_away = true;
    ok = ok && part_apply_row(sqlite, table, op, row) == PART_APPLIED;
    sqlite->capture.looks_away = false;
    free(row);
    return ok;
}

bool part_keys_place(struct part_sqlite *sqlite, struct part_table *table)
{
    int unresolved = 0, highest = 0;
    sqlite3_db_status(sqlite->db, SQLITE_DBSTATUS_DEFERRED_FKS, &unresolved, &highest, 0);
    /* A child of this branch that waits for its parent must not find it in the row. */
    if (table->made.row.size == 0 || unresolved != 0) {
        return false;
    }
    if (sqlite->prepared > 0 && change_row(sqlite, table, PART_CHANGE_INSERT)) {
        return true;
    }
    /* Nobody is prepared, or the key is committed by now. */
    tpc_buf_done(&table->made.row);
    return false;
}

bool part_keys_unplace(struct part_sqlite *sqlite, struct part_table *table)
{
    return sqlite3_get_autocommit(sqlite->db) != 0 || change_row(sqlite, table, PART_CHANGE_DELETE);
}

void part_keys_forget(struct part_schema *schema)
{
    for (struct part_table *table = schema->tables; table != NULL; table = table->hh.next) {
        tpc_buf_done(&table->made.row);
        table->made.wanted = false;
    }
}
