/* What two branches prepared beside each other must not do to constraints, and schemas that make
 * capturing hard. */
#include "tests/unit/participant/sqlite_fixture.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Two beside each other ---- */

struct pair {
    const char *schema, *first, *second;
};

static void check_constraints(struct fx *fx, const struct pair *pair, const char *order)
{
    struct tpc_buf out = {0};
    fx_dump(fx->other, "PRAGMA foreign_key_check", &out);
    fx_dump(fx->other, "PRAGMA integrity_check", &out);
    if (strcmp(out.data, "ok|\n") != 0) {
        fail_msg("%s; %s; %s (%s): %s", pair->schema, pair->first, pair->second, order, out.data);
    }
    tpc_buf_done(&out);
}

static void commit_if_ready(struct fx *fx, unsigned number, enum part_job_outcome vote,
                            const struct pair *pair)
{
    if (vote == PART_JOB_READY && fx_end(fx, PART_JOB_COMMIT, number) != PART_JOB_COMMITTED) {
        fail_msg("%s; %s; %s: a prepared change did not apply", pair->schema, pair->first,
                 pair->second);
    }
}

static enum part_job_outcome vote(struct fx *fx, unsigned number, const char *sql)
{
    struct part_job *job = FX_PREPARE(fx, number, sql);
    enum part_job_outcome outcome = job->outcome;
    fx_free(job);
    return outcome;
}

static void run_pair(const struct pair *pair, bool reverse)
{
    struct fx fx;
    fx_setup(&fx, pair->schema);
    enum part_job_outcome first = fx_vote(&fx, 1, pair->first);
    assert_int_equal(first, PART_JOB_READY);
    enum part_job_outcome second = vote(&fx, 2, pair->second);
    if (reverse) {
        commit_if_ready(&fx, 2, second, pair);
        commit_if_ready(&fx, 1, first, pair);
    } else {
        commit_if_ready(&fx, 1, first, pair);
        commit_if_ready(&fx, 2, second, pair);
    }
    check_constraints(&fx, pair, reverse ? "reverse" : "in order");
    fx_done(&fx);
}

static const struct pair pairs[] = {
    /* A key of the parent that is older than the column it stands in. */
    {"CREATE TABLE p(id INTEGER PRIMARY KEY); INSERT INTO p VALUES(1);"
     "ALTER TABLE p ADD COLUMN code TEXT DEFAULT 'x'; CREATE UNIQUE INDEX p_code ON p(code);"
     "CREATE TABLE c(id INTEGER PRIMARY KEY, code REFERENCES p(code))",
     "INSERT INTO c VALUES(1, 'x')", "DELETE FROM p"},
    /* A foreign key whose own value is not stored. */
    {"CREATE TABLE p(id INTEGER PRIMARY KEY); INSERT INTO p VALUES(2);"
     "CREATE TABLE c(id INTEGER PRIMARY KEY, a, v INTEGER AS (a + 1) REFERENCES p)",
     "INSERT INTO c(id, a) VALUES(1, 1)", "DELETE FROM p"},
    {"CREATE TABLE p(id INTEGER PRIMARY KEY); INSERT INTO p VALUES(2);"
     "CREATE TABLE c(id INTEGER PRIMARY KEY, a, v INTEGER AS (a + 1) REFERENCES p);"
     "INSERT INTO c(id, a) VALUES(1, NULL)",
     "UPDATE c SET a = 1", "DELETE FROM p"},
    /* One of the parent's that is not. */
    {"CREATE TABLE p(id INTEGER PRIMARY KEY, a INTEGER, v INTEGER AS (a + 1) UNIQUE);"
     "INSERT INTO p(id, a) VALUES(1, 1);"
     "CREATE TABLE c(id INTEGER PRIMARY KEY, v INTEGER REFERENCES p(v))",
     "INSERT INTO c VALUES(1, 2)", "DELETE FROM p"},
    {"CREATE TABLE p(id INTEGER PRIMARY KEY, a INTEGER, v INTEGER AS (a + 1) UNIQUE);"
     "INSERT INTO p(id, a) VALUES(1, 1);"
     "CREATE TABLE c(id INTEGER PRIMARY KEY, v INTEGER REFERENCES p(v))",
     "INSERT INTO c VALUES(1, 2)", "UPDATE p SET a = 7"},
    /* The index of the primary key compares otherwise than its column. */
    {"CREATE TABLE p(k TEXT, PRIMARY KEY(k COLLATE NOCASE)); INSERT INTO p VALUES('a');"
     "CREATE TABLE c(id INTEGER PRIMARY KEY, k TEXT REFERENCES p)",
     "INSERT INTO c VALUES(1, 'A')", "DELETE FROM p"},
    /* No conversion at the child, but at the parent. */
    {"CREATE TABLE p(id INTEGER PRIMARY KEY); INSERT INTO p VALUES(1);"
     "CREATE TABLE c(id INTEGER PRIMARY KEY, p ANY REFERENCES p) STRICT",
     "INSERT INTO c VALUES(1, '1')", "DELETE FROM p"},
    {"CREATE TABLE p(id TEXT PRIMARY KEY); INSERT INTO p VALUES('1');"
     "CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p)",
     "INSERT INTO c VALUES(1, 1)", "DELETE FROM p"},
    {"CREATE TABLE p(id PRIMARY KEY); INSERT INTO p VALUES(1.0);"
     "CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p)",
     "INSERT INTO c VALUES(1, 1)", "DELETE FROM p"},
    {"CREATE TABLE p(id REAL PRIMARY KEY); INSERT INTO p VALUES(1);"
     "CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p)",
     "INSERT INTO c VALUES(1, 1)", "DELETE FROM p"},
    {"CREATE TABLE p(a TEXT COLLATE NOCASE, b TEXT COLLATE RTRIM, PRIMARY KEY(a, b));"
     "INSERT INTO p VALUES('Aa', 'b');"
     "CREATE TABLE c(id INTEGER PRIMARY KEY, b TEXT, a TEXT, FOREIGN KEY(b, a) REFERENCES p(b, a))",
     "INSERT INTO c VALUES(1, 'b  ', 'aA')", "DELETE FROM p"},
    {"CREATE TABLE p(id INTEGER PRIMARY KEY); INSERT INTO p VALUES(1);"
     "CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p ON UPDATE CASCADE)",
     "INSERT INTO c VALUES(1, 1)", "UPDATE p SET id = 2"},
    {"CREATE TABLE t(id INTEGER PRIMARY KEY, up REFERENCES t ON DELETE CASCADE);"
     "INSERT INTO t VALUES(1, NULL), (2, 1)",
     "INSERT INTO t VALUES(3, 2)", "DELETE FROM t WHERE id = 1"},
    {"CREATE TABLE p(id INTEGER PRIMARY KEY); INSERT INTO p VALUES(0), (1);"
     "CREATE TABLE c(id INTEGER PRIMARY KEY, p DEFAULT 0 REFERENCES p ON DELETE SET DEFAULT);"
     "INSERT INTO c VALUES(1, 1)",
     "DELETE FROM p WHERE id = 1", "DELETE FROM p WHERE id = 0"},
    {"CREATE TABLE p(id INTEGER PRIMARY KEY, code UNIQUE); INSERT INTO p VALUES(1, 'a');"
     "CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p(code) DEFERRABLE INITIALLY DEFERRED)",
     "INSERT INTO c VALUES(1, 'a')", "INSERT OR REPLACE INTO p VALUES(1, 'b')"},
    {"CREATE TABLE p(id INTEGER PRIMARY KEY, code UNIQUE); INSERT INTO p VALUES(1, 'a');"
     "CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p(code) ON DELETE CASCADE)",
     "INSERT INTO c VALUES(1, 'a')", "INSERT OR REPLACE INTO p VALUES(2, 'a')"},
    /* Equal under the collation only. */
    {"CREATE TABLE t(id INTEGER PRIMARY KEY, k TEXT COLLATE NOCASE UNIQUE)",
     "INSERT INTO t VALUES(1, 'abc')", "INSERT INTO t VALUES(2, 'ABC')"},
    {"CREATE TABLE t(id INTEGER PRIMARY KEY, k TEXT COLLATE NOCASE UNIQUE)",
     "INSERT INTO t VALUES(1, 'a' || char(0) || 'b')",
     "INSERT INTO t VALUES(2, 'A' || char(0) || 'c')"},
    {"CREATE TABLE t(id INTEGER PRIMARY KEY, k); CREATE UNIQUE INDEX t_k ON t(k COLLATE RTRIM)",
     "INSERT INTO t VALUES(1, 'abc')", "INSERT INTO t VALUES(2, 'abc  ')"},
    {"CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY, v)", "INSERT INTO t VALUES('a', 1)",
     "INSERT INTO t VALUES('A', 2)"},
    {"CREATE TABLE t(k TEXT, v, PRIMARY KEY(k COLLATE NOCASE)) WITHOUT ROWID",
     "INSERT INTO t VALUES('a', 1)", "INSERT INTO t VALUES('A', 2)"},
    {"CREATE TABLE t(k PRIMARY KEY, v)", "INSERT INTO t VALUES(1, 1)",
     "INSERT INTO t VALUES(1.0, 2)"},
    {"CREATE TABLE t(k PRIMARY KEY, v)", "INSERT INTO t VALUES(9007199254740992, 1)",
     "INSERT INTO t VALUES(9007199254740992.0, 2)"},
    {"CREATE TABLE t(id INTEGER PRIMARY KEY, k REAL UNIQUE)", "INSERT INTO t VALUES(1, 3)",
     "INSERT INTO t VALUES(2, '3.0')"},
    {"CREATE TABLE t(id INTEGER PRIMARY KEY, k UNIQUE)", "INSERT INTO t VALUES(1, -0.0)",
     "INSERT INTO t VALUES(2, 0)"},
    /* Unique keys that are not columns, or not of all rows. */
    {"CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); CREATE UNIQUE INDEX t_a ON t(a + 0)",
     "INSERT INTO t VALUES(1, '1', 1)", "INSERT INTO t VALUES(2, 1, 1)"},
    {"CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); CREATE UNIQUE INDEX t_a ON t(a) WHERE b;"
     "INSERT INTO t VALUES(1, 1, 0), (2, 1, 0)",
     "UPDATE t SET b = 1 WHERE id = 1", "UPDATE t SET b = 1 WHERE id = 2"},
    {"CREATE TABLE t(id INTEGER PRIMARY KEY, a, v AS (abs(a)) UNIQUE)",
     "INSERT INTO t(id, a) VALUES(1, 1)", "INSERT INTO t(id, a) VALUES(2, -1)"},
    {"CREATE TABLE t(id INTEGER PRIMARY KEY, a, v AS (abs(a)) STORED UNIQUE)",
     "INSERT INTO t(id, a) VALUES(1, 1)", "INSERT INTO t(id, a) VALUES(2, -1)"},
    {"CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, UNIQUE(a, b)); INSERT INTO t VALUES(1, 1, 1),"
     " (2, 2, 2)",
     "UPDATE t SET a = 3 WHERE id = 1", "UPDATE t SET a = 3, b = 1 WHERE id = 2"},
    {"CREATE TABLE t(id INTEGER PRIMARY KEY, k UNIQUE ON CONFLICT REPLACE)",
     "INSERT INTO t VALUES(1, 5)", "INSERT INTO t VALUES(2, 5)"},
    {"CREATE TABLE t(id INTEGER PRIMARY KEY ON CONFLICT IGNORE, k)", "INSERT INTO t VALUES(1, 5)",
     "INSERT INTO t VALUES(1, 6)"},
    /* A trigger does it. */
    {"CREATE TABLE t(id INTEGER PRIMARY KEY, k); CREATE TABLE l(k PRIMARY KEY);"
     "CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT OR REPLACE INTO l VALUES(new.k); END",
     "INSERT INTO t VALUES(1, 5)", "INSERT INTO t VALUES(2, 5)"},
};

static void test_lockset__no_pair_breaks_a_constraint(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        run_pair(&pairs[i], false);
        run_pair(&pairs[i], true);
    }
}

/* ---- One alone ---- */

/* Its statements do what they do in SQLite itself. */
struct alone {
    const char *schema, *dump;
    const char *sql[5];
};

static const struct alone alones[] = {
    /* The old value of a column that is younger than the row does not show. */
    {"CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES(1), (2);"
     "ALTER TABLE t ADD COLUMN v DEFAULT 'x'",
     "SELECT id, quote(v) FROM t",
     {"UPDATE t SET v = NULL WHERE id = 1", "UPDATE t SET v = 'x' WHERE id = 2"}},
    {"CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES(1), (2);"
     "ALTER TABLE t ADD COLUMN v DEFAULT 'x'",
     "SELECT id, quote(v) FROM t",
     {"DELETE FROM t WHERE id = 1", "INSERT INTO t VALUES(1, NULL)"}},
    {"CREATE TABLE t(k TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO t VALUES(1), (2);"
     "ALTER TABLE t ADD COLUMN v INTEGER NOT NULL DEFAULT 7;"
     "ALTER TABLE t ADD COLUMN w DEFAULT 8",
     "SELECT k, quote(v), quote(w) FROM t",
     {"UPDATE t SET w = NULL", "UPDATE t SET v = v + 1 WHERE k = '1'",
      "DELETE FROM t WHERE k = 2"}},
    {"CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES(1), (2);"
     "ALTER TABLE t ADD COLUMN v UNIQUE_ DEFAULT 'x'",
     "SELECT id, quote(v) FROM t",
     {"UPDATE t SET id = id + 1"}},
    /* Generated columns before others. */
    {"CREATE TABLE t(v AS (a), a, w AS (b) STORED, x AS (a || b), b, PRIMARY KEY(b)) WITHOUT ROWID;"
     "INSERT INTO t VALUES(1, 'b'), (2, 'c'), (3, 'd')",
     "SELECT * FROM t",
     {"UPDATE t SET a = 9 WHERE b = 'b'", "UPDATE t SET b = 'x' WHERE a = 2",
      "DELETE FROM t WHERE b = 'd'", "INSERT INTO t VALUES(70, 'n')"}},
    {"CREATE TABLE t(id INTEGER PRIMARY KEY, v REAL AS (a), a INTEGER, b REAL);"
     "INSERT INTO t VALUES(1, 9007199254740993, 1), (2, 9007199254740993, 2)",
     "SELECT id, a, b FROM t",
     {"UPDATE t SET a = a + 2 WHERE id = 1", "DELETE FROM t WHERE id = 2"}},
    {"CREATE TABLE t(id INTEGER PRIMARY KEY, b REAL, c NUMERIC, d);"
     "INSERT INTO t VALUES(1, 3, 3.0, 3.0), (2, 1e300, -0.0, 9e999)",
     "SELECT id, quote(b), quote(c), quote(d), typeof(c), typeof(d) FROM t",
     {"UPDATE t SET b = 4 WHERE id = 1", "UPDATE t SET b = 4.5, c = '7', d = '7' WHERE id = 2",
      "DELETE FROM t WHERE id = 1", "INSERT INTO t VALUES(3, '5', '5.0', 5.0)"}},
    {"CREATE TABLE t(b, a REAL, k TEXT, PRIMARY KEY(k)) WITHOUT ROWID;"
     "INSERT INTO t VALUES(5, 5, 'x'), (1.5, 1.5, 'y')",
     "SELECT quote(a), quote(b), typeof(b), k FROM t",
     {"UPDATE t SET a = 6, b = 5.0", "UPDATE t SET b = 6", "DELETE FROM t WHERE k = 'x'"}},
    /* Bytes of all kinds. */
    {"CREATE TABLE t(k PRIMARY KEY, v);"
     "INSERT INTO t VALUES(x'', ''), ('', x''), (x'00', 'a' || char(0) || 'b')",
     "SELECT hex(k), typeof(k), hex(v), typeof(v) FROM t ORDER BY 1, 2",
     {"UPDATE t SET v = x'61' WHERE v = ''", "DELETE FROM t WHERE v = x''",
      "UPDATE t SET v = CAST(x'ff00fe' AS TEXT) WHERE k = x'00'",
      "INSERT INTO t VALUES('k', x'')"}},
    /* Values that exchange places. */
    {"CREATE TABLE t(id INTEGER PRIMARY KEY, u INTEGER UNIQUE, n);"
     "INSERT INTO t VALUES(1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c')",
     "SELECT * FROM t",
     {"UPDATE t SET u = -u", "UPDATE t SET u = 50 + u", "UPDATE t SET id = 6 - id",
      "UPDATE t SET u = 60 - u", "UPDATE t SET id = -id, n = n || '!'"}},
    {"CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY, n) WITHOUT ROWID;"
     "INSERT INTO t VALUES('abc', 1)",
     "SELECT * FROM t",
     {"UPDATE t SET k = 'ABC'", "UPDATE t SET n = 2", "DELETE FROM t WHERE k = 'abc'",
      "INSERT INTO t VALUES('aBc', 3)"}},
    {"CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, n); INSERT INTO t VALUES(5, 'a')",
     "SELECT * FROM t",
     {"DELETE FROM t", "INSERT INTO t(n) VALUES('b')", "INSERT INTO t(n) VALUES('c')"}},
    {"CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); INSERT INTO t VALUES(1, 1, 1), (2, 2, 2);"
     "CREATE TABLE o(id INTEGER PRIMARY KEY, a); INSERT INTO o VALUES(1, 7), (2, 8)",
     "SELECT * FROM t ORDER BY id",
     {"UPDATE t SET a = o.a FROM o WHERE o.id = t.id", "INSERT INTO t SELECT id + 2, b, a FROM t",
      "WITH d AS (SELECT max(id) AS m FROM t) DELETE FROM t WHERE id = (SELECT m FROM d)",
      "INSERT INTO t VALUES(1, 0, 0), (9, 9, 9) ON CONFLICT DO UPDATE SET b = excluded.b RETURNING "
      "*"}},
    /* Names that need quotes. */
    {"CREATE TABLE \"a \"\"b\"\" select\"(\"id\" INTEGER PRIMARY KEY, \"where\" UNIQUE, \"x'y\", "
     "[a b]);"
     "INSERT INTO \"a \"\"b\"\" select\" VALUES(1, 2, 3, 4), (2, 3, 4, 5)",
     "SELECT * FROM \"a \"\"b\"\" select\"",
     {"UPDATE \"a \"\"b\"\" select\" SET \"where\" = 5 - \"where\"",
      "DELETE FROM \"A \"\"B\"\" SELECT\" WHERE id = 2"}},
    {"CREATE TABLE t(a, b, c, PRIMARY KEY(c, a)); INSERT INTO t VALUES(1, 2, 3), (4, 5, 6)",
     "SELECT a, b, c FROM t ORDER BY 1",
     {"UPDATE t SET c = 9 WHERE a = 1", "UPDATE t SET b = NULL", "DELETE FROM t WHERE a = 4"}},
};

static void run_alone(const struct alone *alone)
{
    struct fx fx;
    sqlite3 *plain = NULL;
    fx_setup(&fx, alone->schema);
    assert_int_equal(sqlite3_open(":memory:", &plain), SQLITE_OK);
    assert_int_equal(sqlite3_exec(plain, alone->schema, NULL, NULL, NULL), SQLITE_OK);
    for (unsigned i = 0; i < 5 && alone->sql[i] != NULL; i++) {
        struct tpc_buf expected = {0}, actual = {0};
        struct part_job *job = FX_PREPARE(&fx, i + 1, alone->sql[i]);
        bool ok = sqlite3_exec(plain, alone->sql[i], NULL, NULL, NULL) == SQLITE_OK;
        if ((job->outcome == PART_JOB_READY) != ok) {
            fail_msg("%s; %s: %s", alone->schema, alone->sql[i], job->cause.detail);
        }
        enum part_job_outcome end = ok ? fx_end(&fx, PART_JOB_COMMIT, i + 1) : PART_JOB_COMMITTED;
        fx_dump(plain, alone->dump, &expected);
        fx_dump(fx.other, alone->dump, &actual);
        tpc_buf_addc(&expected, '\0');
        tpc_buf_addc(&actual, '\0');
        if (end != PART_JOB_COMMITTED || strcmp(expected.data, actual.data) != 0) {
            fail_msg("%s; %s: outcome %d, expected\n%s\nis\n%s", alone->schema, alone->sql[i], end,
                     expected.data, actual.data);
        }
        tpc_buf_done(&expected);
        tpc_buf_done(&actual);
        fx_free(job);
    }
    sqlite3_close(plain);
    fx_done(&fx);
}

static void test_capture__one_alone_does_what_sqlite_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(alones) / sizeof(alones[0]); i++) {
        run_alone(&alones[i]);
    }
}

static void test_capture__a_table_whose_changes_do_not_show_is_refused(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, "CREATE TABLE t(v AS (a * 2), a INTEGER, id INTEGER PRIMARY KEY, b);"
                  "CREATE TABLE w(r REAL, id INTEGER, PRIMARY KEY(id)) WITHOUT ROWID;"
                  "INSERT INTO w VALUES(1, 9007199254740991), (2, 9007199254740993)");
    fx_refused(&fx, "INSERT INTO t(a) VALUES(1)", API_CAUSE_NOT_SUPPORTED,
               "generated column before its INTEGER PRIMARY KEY");
    assert_int_equal(fx_vote(&fx, 1, "UPDATE w SET r = 9 WHERE r = 1"), PART_JOB_READY);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    fx_refused(&fx, "UPDATE w SET r = 9 WHERE r = 2", API_CAUSE_NOT_SUPPORTED, "all digits");
    fx_refused(&fx, "DELETE FROM w WHERE r = 2", API_CAUSE_NOT_SUPPORTED, "all digits");
    fx_done(&fx);
}

static void test_apply__a_row_may_have_as_many_columns_as_sqlite_lets_it(void **state)
{
    (void)state;
    struct tpc_buf schema = {0};
    tpc_buf_adds(&schema, "CREATE TABLE t(id INTEGER PRIMARY KEY");
    for (unsigned i = 1; i < 2000; i++) {
        tpc_buf_addf(&schema, ", c%u", i);
    }
    tpc_buf_adds(&schema, "); INSERT INTO t(id) VALUES(1), (2)");
    tpc_buf_addc(&schema, '\0');
    struct fx fx;
    fx_setup(&fx, schema.data);
    assert_int_equal(fx_vote(&fx, 1, "UPDATE t SET c1 = 1, c1999 = 2 WHERE id = 1"),
                     PART_JOB_READY);
    assert_int_equal(fx_vote(&fx, 2, "DELETE FROM t WHERE id = 2"), PART_JOB_READY);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 2), PART_JOB_COMMITTED);
    assert_int_equal(fx_number(&fx, "SELECT count(*) FROM t"), 1);
    tpc_buf_done(&schema);
    fx_done(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lockset__no_pair_breaks_a_constraint),
        cmocka_unit_test(test_capture__one_alone_does_what_sqlite_does),
        cmocka_unit_test(test_capture__a_table_whose_changes_do_not_show_is_refused),
        cmocka_unit_test(test_apply__a_row_may_have_as_many_columns_as_sqlite_lets_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
