/* Random branches against a schema with everything that makes redoing hard.
 *
 * Two properties: what is captured and applied is what plain SQLite would have done; and however
 * many branches are prepared beside each other, in whatever order they end, restarts in between, no
 * prepared change ever fails to apply or breaks a constraint. */
#include "tests/unit/participant/sqlite_fixture.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char schema[] =
    "CREATE TABLE acc(id INTEGER PRIMARY KEY, v INTEGER CHECK(v < 90), u UNIQUE);"
    "CREATE TABLE txt(k TEXT PRIMARY KEY COLLATE NOCASE, a, b, UNIQUE(a, b));"
    "CREATE TABLE wr(a, b NOT NULL, c, PRIMARY KEY(b, a)) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX wr_c ON wr(c) WHERE a > 3;"
    "CREATE TABLE gen(id INTEGER PRIMARY KEY, a INTEGER, d AS (a * 2) VIRTUAL, e AS (a + 1) STORED,"
    " x, UNIQUE(e));"
    "CREATE UNIQUE INDEX gen_expression ON gen(x + a);"
    "CREATE TABLE parent(id INTEGER PRIMARY KEY, code TEXT UNIQUE);"
    "CREATE TABLE child(id INTEGER PRIMARY KEY,"
    " p INTEGER REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE,"
    " q TEXT REFERENCES parent(code) ON DELETE SET NULL ON UPDATE SET NULL"
    " DEFERRABLE INITIALLY DEFERRED);"
    "CREATE TABLE strict_child(id INTEGER PRIMARY KEY, p REFERENCES parent(id));"
    "CREATE TABLE tree(id INTEGER PRIMARY KEY, up INTEGER REFERENCES tree ON DELETE CASCADE);"
    "CREATE TABLE audit(id INTEGER PRIMARY KEY AUTOINCREMENT, what, old, new);"
    "CREATE TRIGGER acc_audit AFTER UPDATE ON acc WHEN new.v > 50 BEGIN"
    "  INSERT INTO audit(what, old, new) VALUES('acc', old.v, new.v);"
    "  UPDATE txt SET a = a + 1 WHERE k = 'k' || new.id; END;"
    "CREATE TRIGGER tree_audit BEFORE DELETE ON tree BEGIN"
    "  UPDATE acc SET v = v + 1 WHERE id = old.id; END;"
    "CREATE VIEW easy AS SELECT id, v FROM acc;"
    "CREATE TRIGGER easy_insert INSTEAD OF INSERT ON easy BEGIN"
    "  INSERT INTO acc(id, v, u) VALUES(new.id, new.v, new.id + 100)"
    "  ON CONFLICT(id) DO UPDATE SET v = excluded.v; END";

/* # is a small random number. */
static const char *const shapes[] = {
    "INSERT INTO acc VALUES(#, #, #)",
    "INSERT INTO acc(v, u) VALUES(#, NULL)",
    "INSERT OR REPLACE INTO acc VALUES(#, #, #)",
    "INSERT OR IGNORE INTO acc VALUES(#, #, #)",
    "INSERT INTO acc VALUES(#, #, #) ON CONFLICT(id) DO UPDATE SET u = excluded.u",
    "UPDATE acc SET v = v + # WHERE id = #",
    "UPDATE acc SET v = v * 9 WHERE id > #",
    "UPDATE acc SET u = -u WHERE u IS NOT NULL AND id < #",
    "UPDATE acc SET u = u + 1",
    "UPDATE acc SET id = # WHERE id = #",
    "UPDATE OR REPLACE acc SET u = # WHERE id = #",
    "DELETE FROM acc WHERE id = #",
    "DELETE FROM acc WHERE v = #",
    "INSERT INTO easy VALUES(#, 6#)",
    "INSERT INTO txt VALUES('k#', #, #)",
    "INSERT INTO txt VALUES('K#', #, NULL)",
    "INSERT OR REPLACE INTO txt VALUES('k#', #, #)",
    "UPDATE txt SET k = upper(k) WHERE a = #",
    "UPDATE txt SET a = #, b = b + 1.0 WHERE k = 'K#'",
    "UPDATE txt SET a = (SELECT max(a) FROM txt) - a",
    "DELETE FROM txt WHERE b = #",
    "INSERT INTO wr VALUES(#, '#', #)",
    "INSERT OR REPLACE INTO wr VALUES(#, '#', x'0#')",
    "UPDATE wr SET a = a + 1 WHERE c = #",
    "UPDATE wr SET c = #.5 WHERE a = #",
    "DELETE FROM wr WHERE a = #",
    "INSERT INTO gen(id, a, x) VALUES(#, #, #)",
    "UPDATE gen SET a = # WHERE id = #",
    "UPDATE gen SET x = x + # WHERE d > #",
    "DELETE FROM gen WHERE e = #",
    "INSERT INTO parent VALUES(#, 'c#')",
    "UPDATE parent SET id = # WHERE id = #",
    "UPDATE parent SET code = 'c#' WHERE id = #",
    "DELETE FROM parent WHERE id = #",
    "INSERT INTO child VALUES(#, #, NULL)",
    "INSERT INTO child VALUES(#, NULL, 'c#')",
    "UPDATE child SET p = # WHERE id = #",
    "DELETE FROM child WHERE id = #",
    "INSERT INTO strict_child VALUES(#, #)",
    "INSERT INTO strict_child VALUES(#, '#')",
    "DELETE FROM strict_child WHERE id = #",
    "INSERT INTO parent(code) VALUES('c#')",
    "INSERT OR IGNORE INTO parent(code) VALUES('c#')",
    "INSERT OR REPLACE INTO parent(code) VALUES('c#')",
    "INSERT INTO child(p) VALUES(#)",
    "INSERT INTO child(q) VALUES('c#'), (NULL)",
    "INSERT INTO strict_child(p) SELECT id FROM parent",
    "INSERT INTO strict_child(p) VALUES(#) RETURNING id",
    "INSERT INTO tree VALUES(#, NULL)",
    "INSERT INTO tree VALUES(#, #)",
    "UPDATE tree SET up = # WHERE id = #",
    "DELETE FROM tree WHERE id = #",
    "SELECT * FROM acc",
    "UPDATE acc SET v = #",
    "DELETE FROM txt",
    "UPDATE wr SET c = (SELECT count(*) FROM acc) + a WHERE a < #",
    "INSERT OR IGNORE INTO txt SELECT 'k' || id, v, # FROM acc",
    "INSERT INTO tree(up) SELECT max(id) FROM tree",
    "DELETE FROM child WHERE p NOT IN (SELECT p FROM strict_child)",
    "INSERT INTO parent VALUES(#, 'c#') ON CONFLICT DO NOTHING",
    "UPDATE gen SET x = (SELECT sum(v) FROM easy) WHERE id = #",
};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static const char *const dumps[] = {
    "SELECT * FROM acc ORDER BY id",
    "SELECT * FROM txt ORDER BY k, a",
    "SELECT * FROM wr ORDER BY b, a",
    "SELECT * FROM gen ORDER BY id",
    "SELECT * FROM parent ORDER BY id",
    "SELECT * FROM child ORDER BY id",
    "SELECT * FROM strict_child ORDER BY id",
    "SELECT * FROM tree ORDER BY id",
    "SELECT * FROM audit ORDER BY id",
    "PRAGMA foreign_key_check",
    "PRAGMA integrity_check",
};

static uint32_t next(uint32_t *seed, uint32_t below)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 12) % below;
}

static void make_sql(uint32_t *seed, char *out, size_t size)
{
    const char *shape = shapes[next(seed, SHAPES)];
    size_t used = 0;
    for (; *shape != '\0' && used + 2 < size; shape++) {
        out[used++] = (char)(*shape == '#' ? '0' + (char)next(seed, 8) : *shape);
    }
    out[used] = '\0';
}

static struct part_job *make_branch(uint32_t *seed, unsigned number)
{
    struct part_job *job = fx_job(PART_JOB_PREPARE, number);
    for (uint32_t i = 1 + next(seed, 5); i > 0; i--) {
        char sql[128];
        make_sql(seed, sql, sizeof(sql));
        (void)fx_add(job, sql);
    }
    return job;
}

static void dump_all(sqlite3 *db, struct tpc_buf *out)
{
    for (size_t i = 0; i < sizeof(dumps) / sizeof(dumps[0]); i++) {
        fx_dump(db, dumps[i], out);
    }
}

static bool run_plainly(sqlite3 *db, const struct part_job *job)
{
    bool ok = true;
    assert_int_equal(sqlite3_exec(db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
    for (size_t i = 0; ok && i < job->statements.count; i++) {
        ok = sqlite3_exec(db, job->statements.items[i].sql, NULL, NULL, NULL) == SQLITE_OK;
    }
    ok = ok && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
    if (!ok) {
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    return ok;
}

static void test_random__applying_is_what_sqlite_does(void **state)
{
    (void)state;
    struct fx fx;
    sqlite3 *plain = NULL;
    uint32_t seed = 1;
    fx_setup(&fx, schema);
    assert_int_equal(sqlite3_open(":memory:", &plain), SQLITE_OK);
    assert_int_equal(sqlite3_exec(plain, schema, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(plain, "PRAGMA foreign_keys=ON", NULL, NULL, NULL), SQLITE_OK);
    unsigned committed = 0;
    for (unsigned number = 1; number < 1500; number++) {
        uint32_t before = seed;
        struct part_job *job = make_branch(&seed, number);
        bool ok = run_plainly(plain, job);
        fx_submit(&fx, job);
        enum part_job_outcome outcome = fx_wait(&fx, job);
        struct tpc_buf expected = {0}, actual = {0};
        if (outcome == PART_JOB_READY) {
            assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, number), PART_JOB_COMMITTED);
            committed++;
        }
        dump_all(plain, &expected);
        dump_all(fx.other, &actual);
        if (ok != (outcome != PART_JOB_REFUSED) || strcmp(expected.data, actual.data) != 0) {
            fail_msg("seed %u: plain %d, outcome %d %s\nexpected\n%s\nactual\n%s", before, ok,
                     outcome, job->cause.detail, expected.data, actual.data);
        }
        tpc_buf_done(&expected);
        tpc_buf_done(&actual);
        fx_free(job);
    }
    assert_true(committed > 300);
    sqlite3_close(plain);
    fx_done(&fx);
}

#define BESIDE 24

/* The branches prepared beside each other. */
struct beside {
    struct fx fx;
    uint32_t seed;
    unsigned number;
    struct part_job *waiting[BESIDE]; /* submitted, perhaps ended */
    struct part_job *prepared[BESIDE];
    unsigned committed, conflicts;
};

static void settle(struct beside *b, unsigned slot)
{
    struct part_job *job = b->waiting[slot];
    if (job == NULL || !fx_is_done(&b->fx, job)) {
        return;
    }
    b->waiting[slot] = NULL;
    b->conflicts += job->cause.code == API_CAUSE_CONFLICT;
    if (job->outcome == PART_JOB_READY) {
        b->prepared[slot] = job;
    } else {
        fx_free(job);
    }
}

static void end_slot(struct beside *b, unsigned slot)
{
    struct part_job *job = b->prepared[slot];
    if (job == NULL) {
        return;
    }
    struct part_job *end = fx_job(next(&b->seed, 4) == 0 ? PART_JOB_ABORT : PART_JOB_COMMIT, 0);
    end->gtid = job->gtid;
    bool commit = end->kind == PART_JOB_COMMIT;
    fx_submit(&b->fx, end);
    enum part_job_outcome outcome = fx_wait(&b->fx, end);
    if (outcome != (commit ? PART_JOB_COMMITTED : PART_JOB_ABORTED)) {
        fail_msg("outcome %d: %s", outcome, end->cause.detail);
    }
    b->committed += commit;
    b->prepared[slot] = NULL;
    fx_free(end);
    fx_free(job);
}

static void check_constraints(struct beside *b)
{
    struct tpc_buf out = {0};
    fx_dump(b->fx.other, "PRAGMA foreign_key_check", &out);
    fx_dump(b->fx.other, "PRAGMA integrity_check", &out);
    assert_string_equal(out.data, "ok|\n");
    tpc_buf_done(&out);
}

static void restart(struct beside *b)
{
    fx_close(&b->fx); /* ends all that wait */
    for (unsigned i = 0; i < BESIDE; i++) {
        if (b->waiting[i] != NULL) {
            b->prepared[i] = b->waiting[i]->outcome == PART_JOB_READY ? b->waiting[i] : NULL;
            if (b->prepared[i] == NULL) {
                fx_free(b->waiting[i]);
            }
            b->waiting[i] = NULL;
        }
    }
    fx_reopen(&b->fx);
    for (unsigned i = 0; i < BESIDE; i++) {
        struct part_job *job = b->prepared[i];
        if (job != NULL) {
            assert_int_equal(b->fx.resource->ops->restore(b->fx.resource, &job->gtid, job->began_us,
                                                          job->payload.data, job->payload.size,
                                                          NULL),
                             TPC_OK);
        }
    }
    fx_start(&b->fx);
}

static void test_random__what_is_prepared_always_applies(void **state)
{
    (void)state;
    struct beside b = {.seed = 99};
    fx_setup(&b.fx, schema);
    for (unsigned round = 0; round < 3000; round++) {
        unsigned slot = next(&b.seed, BESIDE);
        settle(&b, slot);
        end_slot(&b, slot);
        if (b.waiting[slot] == NULL) {
            b.waiting[slot] = make_branch(&b.seed, ++b.number);
            /* Some are older than those that came before them. */
            b.waiting[slot]->began_us = next(&b.seed, 2) == 0 ? 0 : b.number;
            fx_submit(&b.fx, b.waiting[slot]);
            fx_barrier(&b.fx);
        }
        if (round % 50 == 0) {
            check_constraints(&b);
        }
        if (round % 500 == 499) {
            restart(&b);
        }
    }
    restart(&b);
    for (unsigned i = 0; i < BESIDE; i++) {
        end_slot(&b, i);
    }
    check_constraints(&b);
    print_message("%u committed, %u refused for conflict\n", b.committed, b.conflicts);
    assert_true(b.committed > 200);
    fx_done(&b.fx);
}

/* ---- Serializable branches ---- */

#define SERIAL 6

struct serial {
    struct fx fx;
    sqlite3 *plain;
    uint32_t seed;
    struct serial_branch {
        struct part_job *job;
        uint32_t seed; /* makes the statements again */
        bool ready;
    } slots[SERIAL];
    unsigned committed, beside;
};

static void compare_with_plain(struct serial *s, const struct part_job *job)
{
    struct tpc_buf expected = {0}, actual = {0};
    dump_all(s->plain, &expected);
    dump_all(s->fx.other, &actual);
    if (strcmp(expected.data, actual.data) != 0) {
        for (size_t i = 0; i < job->statements.count; i++) {
            print_error("%s\n", job->statements.items[i].sql);
        }
        fail_msg("committed %u, expected\n%s\nactual\n%s", s->committed, expected.data,
                 actual.data);
    }
    tpc_buf_done(&expected);
    tpc_buf_done(&actual);
}

static void end_serial(struct serial *s, struct serial_branch *branch)
{
    struct part_job *end = fx_job(next(&s->seed, 4) == 0 ? PART_JOB_ABORT : PART_JOB_COMMIT, 0);
    end->gtid = branch->job->gtid;
    fx_submit(&s->fx, end);
    enum part_job_outcome outcome = fx_wait(&s->fx, end);
    assert_int_equal(outcome, end->kind == PART_JOB_COMMIT ? PART_JOB_COMMITTED : PART_JOB_ABORTED);
    if (outcome == PART_JOB_COMMITTED) {
        struct part_job *again = make_branch(&branch->seed, 0);
        assert_true(run_plainly(s->plain, again));
        s->committed++;
        compare_with_plain(s, again);
        fx_free(again);
    }
    fx_free(end);
    fx_free(branch->job);
    *branch = (struct serial_branch){0};
}

static void look_at(struct serial *s, struct serial_branch *branch)
{
    if (branch->job != NULL && !branch->ready && fx_is_done(&s->fx, branch->job)) {
        branch->ready = branch->job->outcome == PART_JOB_READY;
        if (!branch->ready) {
            fx_free(branch->job);
            *branch = (struct serial_branch){0};
        }
    }
    for (unsigned i = 0; branch->ready && i < SERIAL; i++) {
        s->beside += &s->slots[i] != branch && s->slots[i].ready;
    }
}

static void test_random__serializable_branches_are_as_if_one_after_the_other(void **state)
{
    (void)state;
    struct serial s = {.seed = 4711};
    fx_setup(&s.fx, schema);
    assert_int_equal(sqlite3_open(":memory:", &s.plain), SQLITE_OK);
    assert_int_equal(sqlite3_exec(s.plain, schema, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(s.plain, "PRAGMA foreign_keys=ON", NULL, NULL, NULL), SQLITE_OK);
    for (unsigned number = 1; number < 4000; number++) {
        struct serial_branch *branch = &s.slots[next(&s.seed, SERIAL)];
        if (branch->ready) {
            end_serial(&s, branch);
        } else {
            look_at(&s, branch);
        }
        if (branch->job == NULL) {
            branch->seed = s.seed;
            branch->job = make_branch(&s.seed, number);
            branch->job->isolation = API_ISOLATION_SERIALIZABLE;
            fx_submit(&s.fx, branch->job);
            fx_barrier(&s.fx);
        }
    }
    print_message("%u committed, %u beside another\n", s.committed, s.beside);
    assert_true(s.committed > 200 && s.beside > 20);
    fx_close(&s.fx);
    for (unsigned i = 0; i < SERIAL; i++) {
        fx_free(s.slots[i].job);
    }
    sqlite3_close(s.plain);
    fx_done(&s.fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random__applying_is_what_sqlite_does),
        cmocka_unit_test(test_random__what_is_prepared_always_applies),
        cmocka_unit_test(test_random__serializable_branches_are_as_if_one_after_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
