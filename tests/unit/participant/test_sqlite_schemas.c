/* Random branches over random schemas, beside each other, with restarts in between: what is
 * committed is what SQLite itself makes of the same statements, one branch after the other in the
 * order of the commits. The branches are serializable, which is what makes that so. With
 * ASSENT_SEED=N in the environment only that world is run. */
#include "tests/unit/participant/sqlite_fixture.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TABLES_MAX = 4, COLUMNS_MAX = 6, SLOTS = 4, SCHEMAS = 60, STEPS = 120 };

struct table {
    char name[16];
    unsigned columns;
    bool generated[COLUMNS_MAX];
    /* References that SQLite itself lets REPLACE break. */
    bool refers_to_itself, is_parent;
    bool ordered; /* the order of its rows is that of its key, at both sides */
    unsigned keys;
};

struct world {
    uint32_t seed, began_as;
    struct table tables[TABLES_MAX];
    unsigned count;
    char schema[4096];
    struct fx fx;
    sqlite3 *plain;
    struct slot {
        struct part_job *job;
        char *sql[4];
        bool waited, ready;
    } slots[SLOTS];
};

static unsigned total_committed, total_beside;

/* ---- Dice ---- */

static uint32_t roll(struct world *w, uint32_t below)
{
    w->seed = w->seed * 1664525u + 1013904223u;
    return (w->seed >> 11) % below;
}

static const char *one_of(struct world *w, const char *const *list, uint32_t count)
{
    return list[roll(w, count)];
}
#define ONE_OF(w, ...)                                                                             \
    one_of((w), (const char *const[]){__VA_ARGS__},                                                \
           (uint32_t)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))

static const char *literal(struct world *w)
{
    return ONE_OF(w, "0", "1", "2", "3", "4", "1.0", "2.5", "'1'", "'01'", "'a'", "'A'", "'a '",
                  "'b'", "x'61'", "NULL", "-1", "9007199254740993", "''");
}

/* ---- A schema ---- */

static void add_column(struct world *w, struct table *t, struct tpc_buf *sql, unsigned i)
{
    tpc_buf_addf(sql, "%sc%u %s", i > 0 ? ", " : "", i,
                 ONE_OF(w, "", "INTEGER", "TEXT", "REAL", "BLOB", "NUMERIC"));
    t->generated[i] = i > 1 && roll(w, 8) == 0;
    if (t->generated[i]) {
        tpc_buf_addf(sql, " AS (c%u || 'g') %s", roll(w, 2), ONE_OF(w, "VIRTUAL", "STORED"));
    } else if (roll(w, 5) == 0) {
        tpc_buf_addf(sql, " DEFAULT %s", ONE_OF(w, "1", "'a'", "NULL", "2.5"));
    }
    tpc_buf_adds(sql, ONE_OF(w, "", "", "", " COLLATE NOCASE", " COLLATE RTRIM"));
    tpc_buf_adds(sql, ONE_OF(w, "", "", "", "", " UNIQUE"));
}

static void add_foreign_key(struct world *w, struct tpc_buf *sql, unsigned child, unsigned columns)
{
    unsigned parent = roll(w, child + 1); /* itself, too */
    if (w->tables[parent].keys != 1) {
        return;
    }
    w->tables[child].refers_to_itself = parent == child;
    w->tables[parent].is_parent = true;
    tpc_buf_addf(sql, ", FOREIGN KEY(c%u) REFERENCES t%u%s ON DELETE %s ON UPDATE %s%s",
                 roll(w, columns), parent, roll(w, 2) == 0 ? "(c0)" : "",
                 ONE_OF(w, "CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT", "NO ACTION"),
                 ONE_OF(w, "CASCADE", "SET NULL", "NO ACTION"),
                 ONE_OF(w, "", " DEFERRABLE INITIALLY DEFERRED"));
}

static void add_table(struct world *w, struct tpc_buf *sql, unsigned number)
{
    struct table *t = &w->tables[number];
    (void)snprintf(t->name, sizeof(t->name), "t%u", number);
    t->columns = 2 + roll(w, COLUMNS_MAX - 1);
    t->keys = roll(w, 4) == 0 ? 2 : 1;
    bool is_rowid = t->keys == 1 && roll(w, 2) == 0, without_rowid = !is_rowid && roll(w, 2) == 0;
    t->ordered = is_rowid || without_rowid;
    tpc_buf_addf(sql, "CREATE TABLE %s(", t->name);
    for (unsigned i = 0; i < t->columns; i++) {
        if (i == 0 && is_rowid) {
            tpc_buf_adds(sql, "c0 INTEGER PRIMARY KEY");
        } else {
            add_column(w, t, sql, i);
        }
    }
    if (!is_rowid) {
        tpc_buf_addf(sql, ", PRIMARY KEY(%s)", t->keys == 2 ? "c1, c0" : "c0");
    }
    if (number > 0 || roll(w, 2) == 0) {
        add_foreign_key(w, sql, number, t->columns);
    }
    tpc_buf_adds(sql, without_rowid ? ") WITHOUT ROWID;" : ");");
}

static void add_extras(struct world *w, struct tpc_buf *sql, unsigned number)
{
    const struct table *t = &w->tables[number];
    unsigned other = roll(w, w->count);
    switch (roll(w, w->tables[other].ordered ? 6 : 3)) {
    case 0:
        tpc_buf_addf(sql, "CREATE UNIQUE INDEX %s_i ON %s(c%u, c%u);", t->name, t->name,
                     roll(w, t->columns), roll(w, t->columns));
        break;
    case 1:
        tpc_buf_addf(sql, "CREATE UNIQUE INDEX %s_i ON %s(c%u) WHERE c%u > 1;", t->name, t->name,
                     roll(w, t->columns), roll(w, t->columns));
        break;
    case 2:
        tpc_buf_addf(sql, "CREATE UNIQUE INDEX %s_i ON %s(lower(c%u));", t->name, t->name,
                     roll(w, t->columns));
        break;
    case 3:
        tpc_buf_addf(sql,
                     "CREATE TRIGGER %s_t AFTER %s ON %s BEGIN"
                     " UPDATE OR IGNORE t%u SET c1 = coalesce(c1, 0) + 1 WHERE c0 = %s; END;",
                     t->name, ONE_OF(w, "INSERT", "UPDATE", "DELETE"), t->name, roll(w, w->count),
                     literal(w));
        break;
    default:
        break;
    }
}

static void make_schema(struct world *w)
{
    struct tpc_buf sql = {0};
    w->count = 1 + roll(w, TABLES_MAX);
    /* References that are broken from the start would outweigh those that a branch breaks. */
    tpc_buf_adds(&sql, "PRAGMA foreign_keys=ON;");
    for (unsigned i = 0; i < w->count; i++) {
        add_table(w, &sql, i);
    }
    for (unsigned i = 0; i < w->count; i++) {
        add_extras(w, &sql, i);
    }
    /* Rows from before a column. */
    if (roll(w, 3) == 0 && w->tables[0].columns < COLUMNS_MAX) {
        struct table *t = &w->tables[0];
        tpc_buf_addf(&sql,
                     "INSERT OR IGNORE INTO t0(c0, c1) VALUES(1, 2), (2, 3);"
                     "ALTER TABLE t0 ADD COLUMN c%u DEFAULT %s;",
                     t->columns, ONE_OF(w, "'a'", "7"));
        t->generated[t->columns++] = false;
    }
    assert_true(sql.size < sizeof(w->schema));
    memcpy(w->schema, sql.data, sql.size);
    w->schema[sql.size] = '\0';
    tpc_buf_done(&sql);
}

/* ---- A statement ---- */

static void add_condition(struct world *w, const struct table *t, struct tpc_buf *sql)
{
    if (!t->ordered || t->keys == 2) {
        tpc_buf_addf(sql, " WHERE c0 = %s", literal(w));
        tpc_buf_addf(sql, t->keys == 2 ? " AND c1 = %s" : "", literal(w));
    } else if (roll(w, 4) != 0) {
        tpc_buf_addf(sql, " WHERE c%u %s %s", roll(w, t->columns), ONE_OF(w, "=", "IS", "<", ">="),
                     literal(w));
    }
}

static void add_value(struct world *w, const struct table *t, struct tpc_buf *sql)
{
    switch (roll(w, 6)) {
    case 0:
        tpc_buf_addf(sql, "c%u", roll(w, t->columns));
        break;
    case 1:
        tpc_buf_addf(sql, "c%u + 1", roll(w, t->columns));
        break;
    case 2:
        tpc_buf_addf(sql, "(SELECT max(c1) FROM t%u)", roll(w, w->count));
        break;
    default:
        tpc_buf_adds(sql, literal(w));
        break;
    }
}

static void add_columns(const struct table *t, struct tpc_buf *sql)
{
    const char *glue = "";
    for (unsigned i = 0; i < t->columns; i++) {
        if (!t->generated[i]) {
            tpc_buf_addf(sql, "%sc%u", glue, i);
            glue = ", ";
        }
    }
}

static const char *conflict_clause(struct world *w, bool may_replace)
{
    const char *clause = ONE_OF(w, "", "", "OR REPLACE ", "OR IGNORE ");
    return !may_replace && strcmp(clause, "OR REPLACE ") == 0 ? "" : clause;
}

static void add_insert(struct world *w, const struct table *t, struct tpc_buf *sql)
{
    const char *glue = "";
    tpc_buf_addf(sql, "INSERT %sINTO %s(", conflict_clause(w, !t->refers_to_itself), t->name);
    add_columns(t, sql);
    tpc_buf_adds(sql, ") VALUES(");
    for (unsigned i = 0; i < t->columns; i++) {
        if (!t->generated[i]) {
            tpc_buf_addf(sql, "%s%s", glue, literal(w));
            glue = ", ";
        }
    }
    tpc_buf_adds(sql, ")");
    tpc_buf_adds(sql, ONE_OF(w, "", "", "", " ON CONFLICT DO NOTHING",
                             " ON CONFLICT DO UPDATE SET c1 = excluded.c1"));
}

static char *make_statement(struct world *w)
{
    const struct table *t = &w->tables[roll(w, w->count)];
    struct tpc_buf sql = {0};
    switch (roll(w, 8)) {
    case 0:
        tpc_buf_addf(&sql, "DELETE FROM %s", t->name);
        add_condition(w, t, &sql);
        break;
    case 1:
    case 2:
    case 3: {
        unsigned column = roll(w, t->columns);
        column = t->generated[column] ? 0 : column;
        tpc_buf_addf(&sql, "UPDATE %s%s SET c%u = ", conflict_clause(w, !t->is_parent), t->name,
                     column);
        add_value(w, t, &sql);
        add_condition(w, t, &sql);
        break;
    }
    default:
        add_insert(w, t, &sql);
        break;
    }
    tpc_buf_addc(&sql, '\0');
    return tpc_buf_take(&sql);
}

/* ---- Both sides ---- */

static bool run_plainly(sqlite3 *db, char *const *sql)
{
    bool ok = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK;
    for (size_t i = 0; ok && i < 4 && sql[i] != NULL; i++) {
        ok = sqlite3_exec(db, sql[i], NULL, NULL, NULL) == SQLITE_OK;
    }
    ok = ok && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
    if (!ok) {
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    return ok;
}

static void dump(struct world *w, sqlite3 *db, struct tpc_buf *out)
{
    for (unsigned i = 0; i < w->count; i++) {
        char sql[160];
        size_t used = (size_t)snprintf(sql, sizeof(sql), "SELECT '%s'", w->tables[i].name);
        for (unsigned c = 0; c < w->tables[i].columns; c++) {
            used += (size_t)snprintf(sql + used, sizeof(sql) - used, ", quote(c%u)", c);
        }
        (void)snprintf(sql + used, sizeof(sql) - used, " FROM %s ORDER BY 2, 3", w->tables[i].name);
        fx_dump(db, sql, out);
    }
    fx_dump(db, "PRAGMA foreign_key_check", out);
    fx_dump(db, "PRAGMA integrity_check", out);
    tpc_buf_addc(out, '\0');
}

static void complain(struct world *w, const struct slot *slot, const char *what)
{
    print_error("ASSENT_SEED=%u\n%s\n", w->began_as, w->schema);
    for (size_t i = 0; i < 4 && slot->sql[i] != NULL; i++) {
        print_error("  %s\n", slot->sql[i]);
    }
    fail_msg("%s", what);
}

static void compare(struct world *w, const struct slot *slot)
{
    struct tpc_buf expected = {0}, actual = {0};
    dump(w, w->plain, &expected);
    dump(w, w->fx.other, &actual);
    if (strcmp(expected.data, actual.data) != 0) {
        print_error("expected\n%s\nactual\n%s\n", expected.data, actual.data);
        complain(w, slot, "SQLite alone makes something else of it");
    }
    tpc_buf_done(&expected);
    tpc_buf_done(&actual);
}

/* ---- Branches ---- */

static void drop(struct slot *slot)
{
    fx_free(slot->job);
    for (size_t i = 0; i < 4; i++) {
        free(slot->sql[i]);
    }
    *slot = (struct slot){0};
}

static void begin(struct world *w, struct slot *slot, unsigned number)
{
    slot->job = fx_job(PART_JOB_PREPARE, number);
    slot->job->isolation = API_ISOLATION_SERIALIZABLE;
    slot->job->began_us = roll(w, 2) == 0 ? number : 1;
    for (uint32_t i = 0, count = 1 + roll(w, 3); i < count; i++) {
        slot->sql[i] = make_statement(w);
        (void)fx_add(slot->job, slot->sql[i]);
    }
    fx_submit(&w->fx, slot->job);
    fx_barrier(&w->fx);
}

static unsigned others(const struct world *w, const struct slot *slot)
{
    unsigned count = 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        count += &w->slots[i] != slot && w->slots[i].job != NULL;
    }
    return count;
}

static void look_at(struct world *w, struct slot *slot)
{
    if (!fx_is_done(&w->fx, slot->job)) {
        slot->waited = true;
        return;
    }
    enum api_cause_code code = slot->job->cause.code;
    slot->ready = slot->job->outcome == PART_JOB_READY;
    total_beside += slot->ready && others(w, slot) > 0;
    if (slot->ready) {
        return;
    }
    if (!slot->waited && others(w, slot) == 0 &&
        (code == API_CAUSE_CONSTRAINT || code == API_CAUSE_SQL_ERROR) &&
        run_plainly(w->plain, slot->sql)) {
        print_error("%s\n", slot->job->cause.detail);
        complain(w, slot, "refused, but SQLite alone does it");
    }
    drop(slot);
}

static void end(struct world *w, struct slot *slot)
{
    struct part_job *job = fx_job(roll(w, 4) == 0 ? PART_JOB_ABORT : PART_JOB_COMMIT, 0);
    job->gtid = slot->job->gtid;
    fx_submit(&w->fx, job);
    enum part_job_outcome outcome = fx_wait(&w->fx, job);
    if (outcome != (job->kind == PART_JOB_COMMIT ? PART_JOB_COMMITTED : PART_JOB_ABORTED)) {
        print_error("outcome %d: %s\n", outcome, job->cause.detail);
        complain(w, slot, "what was promised is not kept");
    }
    fx_free(job);
    if (outcome == PART_JOB_COMMITTED) {
        if (!run_plainly(w->plain, slot->sql)) {
            print_error("%s\n", sqlite3_errmsg(w->plain));
            complain(w, slot, "SQLite alone refuses it");
        }
        total_committed++;
        compare(w, slot);
    }
    drop(slot);
}

static void restart(struct world *w)
{
    fx_close(&w->fx);
    fx_reopen(&w->fx);
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *slot = &w->slots[i];
        struct part_job *job = slot->job;
        if (job != NULL && job->outcome == PART_JOB_READY) {
            slot->ready = true;
            assert_int_equal(w->fx.resource->ops->restore(w->fx.resource, &job->gtid, job->began_us,
                                                          job->payload.data, job->payload.size,
                                                          NULL),
                             TPC_OK);
        } else {
            drop(slot);
        }
    }
    fx_start(&w->fx);
}

static bool open_world(struct world *w)
{
    sqlite3 *trial = NULL;
    make_schema(w);
    bool ok = sqlite3_open(":memory:", &trial) == SQLITE_OK &&
              sqlite3_exec(trial, w->schema, NULL, NULL, NULL) == SQLITE_OK;
    sqlite3_close(trial);
    if (ok) {
        fx_setup(&w->fx, w->schema);
        assert_int_equal(sqlite3_open(":memory:", &w->plain), SQLITE_OK);
        assert_int_equal(sqlite3_exec(w->plain, w->schema, NULL, NULL, NULL), SQLITE_OK);
    }
    return ok;
}

static bool run_world(uint32_t seed)
{
    struct world w = {.seed = seed, .began_as = seed};
    if (!open_world(&w)) {
        return false;
    }
    for (unsigned step = 1; step <= STEPS; step++) {
        struct slot *slot = &w.slots[roll(&w, SLOTS)];
        if (slot->job == NULL) {
            begin(&w, slot, step);
            look_at(&w, slot);
        } else if (slot->ready) {
            end(&w, slot);
        } else {
            look_at(&w, slot); /* it waited */
        }
        if (step % 40 == 0) {
            restart(&w);
        }
    }
    fx_close(&w.fx);
    for (unsigned i = 0; i < SLOTS; i++) {
        drop(&w.slots[i]);
    }
    sqlite3_close(w.plain);
    fx_done(&w.fx);
    return true;
}

static void test_schemas__commits_are_what_sqlite_makes_of_them_in_their_order(void **state)
{
    (void)state;
    const char *only = getenv("ASSENT_SEED");
    uint32_t seed = only != NULL ? (uint32_t)strtoul(only, NULL, 10) : 1;
    for (unsigned schemas = 0; schemas < (only != NULL ? 1 : SCHEMAS); seed++) {
        schemas += run_world(seed);
    }
    print_message("%u committed, %u beside others\n", total_committed, total_beside);
    assert_true(only != NULL || (total_committed > 500 && total_beside > 100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schemas__commits_are_what_sqlite_makes_of_them_in_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
