/* Keys that SQLite makes, for branches that are prepared beside each other. */
#include "tests/unit/participant/sqlite_fixture.h"

#include <stdio.h>
#include <string.h>

#define SCHEMA                                                                                     \
    "CREATE TABLE accounts(id INTEGER PRIMARY KEY);"                                               \
    "INSERT INTO accounts VALUES(1), (2);"                                                         \
    "CREATE TABLE ledger(id INTEGER PRIMARY KEY AUTOINCREMENT,"                                    \
    " account INTEGER NOT NULL REFERENCES accounts, amount INTEGER CHECK(amount > 0),"             \
    " reference TEXT NOT NULL UNIQUE);"                                                            \
    "INSERT INTO ledger VALUES(10, 1, 5, 'first');"                                                \
    "CREATE TABLE plain(id INTEGER PRIMARY KEY, v)"

static void expect_key(struct fx *fx, unsigned number, const char *sql, int64_t key)
{
    char text[32];
    struct part_job *job = FX_PREPARE(fx, number, sql, "SELECT last_insert_rowid()");
    if (job->outcome != PART_JOB_READY) {
        fail_msg("%s: %s", sql, job->cause.detail);
    }
    (void)snprintf(text, sizeof(text), "[[%lld]]", (long long)key);
    if (strstr(job->results.data, text) == NULL) {
        fail_msg("%s: %s, not %s", sql, job->results.data, text);
    }
    fx_free(job);
}

static void test_keys__branches_beside_each_other_get_their_own(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    static const char insert[] = "INSERT INTO ledger(account, amount, reference) VALUES(1, 2, ?)";
    for (unsigned i = 1; i <= 5; i++) {
        char text[16];
        struct part_job *job = fx_job(PART_JOB_PREPARE, i);
        (void)snprintf(text, sizeof(text), "r%u", i);
        fx_text(fx_add(job, insert), text);
        fx_submit(&fx, job);
        assert_int_equal(fx_wait(&fx, job), PART_JOB_READY);
        fx_free(job);
    }
    expect_key(&fx, 6, "INSERT INTO plain(v) VALUES('a')", 1);
    expect_key(&fx, 7, "INSERT INTO plain(v) VALUES('a'), ('b') RETURNING id", 3);
    expect_key(&fx, 8, "INSERT INTO plain(v) VALUES('a')", 4);
    assert_int_equal(fx_end(&fx, PART_JOB_ABORT, 3), PART_JOB_ABORTED);
    static const unsigned order[] = {8, 5, 4, 1, 6, 2, 7};
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, order[i]), PART_JOB_COMMITTED);
    }
    struct tpc_buf out = {0};
    fx_dump(fx.other, "SELECT id, reference FROM ledger ORDER BY id", &out);
    fx_dump(fx.other, "SELECT * FROM plain ORDER BY id", &out);
    fx_dump(fx.other, "SELECT seq FROM sqlite_sequence", &out);
    assert_string_equal(out.data, "10|first|\n11|r1|\n12|r2|\n14|r4|\n15|r5|\n"
                                  "1|a|\n2|a|\n3|b|\n4|a|\n15|\n");
    tpc_buf_done(&out);
    fx_done(&fx);
}

static void test_keys__statements_never_see_rows_of_others(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    expect_key(&fx, 1, "INSERT INTO plain(v) VALUES('hidden')", 1);
    struct part_job *job = FX_PREPARE(&fx, 2, "SELECT count(*) FROM plain");
    assert_non_null(strstr(job->results.data, "[[0]]"));
    fx_free(job);
    /* These would see it, so they get the key that is taken, and the younger is refused. */
    static const char *const sql[] = {
        "INSERT INTO plain(v) SELECT count(*) FROM plain",
        "INSERT INTO plain(v) VALUES((SELECT max(id) FROM plain))",
        "INSERT INTO plain(id, v) VALUES(1, 'x')",
        "INSERT OR IGNORE INTO plain(id, v) VALUES(1, 'x')",
        "INSERT OR REPLACE INTO plain(id, v) VALUES(1, 'x')",
        "INSERT INTO plain(id, v) VALUES(1, 'x') ON CONFLICT DO NOTHING",
        "INSERT INTO plain(id, v) VALUES(1, 'x') ON CONFLICT(id) DO UPDATE SET v = 'y'",
    };
    for (size_t i = 0; i < sizeof(sql) / sizeof(sql[0]); i++) {
        fx_refused(&fx, sql[i], API_CAUSE_CONFLICT, "older");
    }
    fx_refused(&fx, "INSERT INTO ledger(account, amount, reference) VALUES(1, 2, 'first')",
               API_CAUSE_CONSTRAINT, "UNIQUE");
    fx_done(&fx);
}

static void test_keys__unique_values_of_others_are_a_conflict_and_no_violation(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    expect_key(&fx, 1, "INSERT INTO ledger(account, amount, reference) VALUES(1, 2, 'x')", 11);
    fx_refused(&fx, "INSERT INTO ledger(account, amount, reference) VALUES(2, 3, 'x')",
               API_CAUSE_CONFLICT, "older");
    fx_refused(&fx, "INSERT OR IGNORE INTO ledger(account, amount, reference) VALUES(2, 3, 'x')",
               API_CAUSE_CONFLICT, "older");
    expect_key(&fx, 2, "INSERT INTO ledger(account, amount, reference) VALUES(2, 3, 'y')", 12);
    fx_done(&fx);
}

/* An index alone can answer, without the table. */
static void test_keys__statements_do_not_see_rows_of_others_by_an_index(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx,
             "CREATE TABLE indexed(id INTEGER PRIMARY KEY, v, w);"
             "CREATE INDEX indexed_v ON indexed(v); CREATE UNIQUE INDEX indexed_w ON indexed(w)");
    expect_key(&fx, 1, "INSERT INTO indexed(v) VALUES('hidden')", 1);
    static const char *const sql[] = {
        "INSERT INTO indexed(v) SELECT max(v) FROM indexed",
        "INSERT INTO indexed(v) SELECT count(*) FROM indexed",
        "INSERT INTO indexed(v) VALUES((SELECT v FROM indexed WHERE v > ''))",
        "INSERT INTO indexed(v) SELECT 'x' WHERE NOT EXISTS (SELECT 1 FROM indexed WHERE w IS "
        "NULL)",
    };
    for (size_t i = 0; i < sizeof(sql) / sizeof(sql[0]); i++) {
        fx_refused(&fx, sql[i], API_CAUSE_CONFLICT, "older");
    }
    expect_key(&fx, 2, "INSERT INTO indexed(v, w) VALUES('seen', 5)", 2);
    fx_done(&fx);
}

/* A child that came before its parent must not find another branch's. */
static void test_keys__children_that_wait_for_a_parent_are_left_alone(void **state)
{
    (void)state;
    static const char *const actions[] = {"CASCADE", "SET NULL", "NO ACTION"};
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        struct fx fx;
        char schema[256];
        (void)snprintf(schema, sizeof(schema),
                       "CREATE TABLE p(id INTEGER PRIMARY KEY, v);"
                       "CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE %s"
                       " DEFERRABLE INITIALLY DEFERRED)",
                       actions[i]);
        fx_setup(&fx, schema);
        expect_key(&fx, 1, "INSERT INTO p(v) VALUES('x')", 1);
        struct part_job *job = FX_PREPARE(&fx, 2, "INSERT INTO c VALUES(1, 1)",
                                          "INSERT INTO p(v) VALUES('y')", "SELECT * FROM c");
        assert_int_equal(fx_end(&fx, PART_JOB_ABORT, 1), PART_JOB_ABORTED);
        if (job->outcome == PART_JOB_READY) {
            assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 2), PART_JOB_COMMITTED);
        }
        struct tpc_buf out = {0};
        fx_dump(fx.other, "PRAGMA foreign_key_check", &out);
        assert_int_equal(out.size, 0);
        tpc_buf_done(&out);
        fx_free(job);
        fx_done(&fx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys__branches_beside_each_other_get_their_own),
        cmocka_unit_test(test_keys__statements_never_see_rows_of_others),
        cmocka_unit_test(test_keys__statements_do_not_see_rows_of_others_by_an_index),
        cmocka_unit_test(test_keys__children_that_wait_for_a_parent_are_left_alone),
        cmocka_unit_test(test_keys__unique_values_of_others_are_a_conflict_and_no_violation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
