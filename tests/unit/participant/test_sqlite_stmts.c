/* What is refused, with which cause and in which words; what comes back. */
#include "tests/unit/participant/sqlite_fixture.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define SCHEMA                                                                                     \
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER CHECK(v < 1000), u TEXT UNIQUE NOT NULL);"   \
    "INSERT INTO t VALUES(1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c');"                                   \
    "CREATE TABLE nokey(a, b);"                                                                    \
    "CREATE TABLE logged(id INTEGER PRIMARY KEY);"                                                 \
    "CREATE TRIGGER logging AFTER INSERT ON logged BEGIN INSERT INTO nokey VALUES(new.id, 0); "    \
    "END;"                                                                                         \
    "CREATE TABLE nullable(a TEXT PRIMARY KEY, b);"                                                \
    "CREATE TABLE old_child(p REFERENCES t(id) ON DELETE CASCADE);"                                \
    "INSERT INTO old_child VALUES(3);"                                                             \
    "CREATE VIRTUAL TABLE words USING fts5(word);"                                                 \
    "CREATE VIEW both AS SELECT t.id, t.v FROM t"

static void test_stmts__what_cannot_be_promised_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *words;
    } cases[] = {
        {"CREATE TABLE x(a INTEGER PRIMARY KEY)", "schema"},
        {"CREATE TEMP TABLE x(a INTEGER PRIMARY KEY)", "schema"},
        {"CREATE INDEX x ON t(v)", "schema"},
        {"CREATE VIEW x AS SELECT 1", "schema"},
        {"CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END", "schema"},
        {"CREATE VIRTUAL TABLE x USING fts5(a)", "schema"},
        {"DROP TABLE t", "schema"},
        {"ALTER TABLE t ADD COLUMN x", "schema"},
        {"REINDEX", "schema"},
        {"ANALYZE", "schema"},
        {"VACUUM", "VACUUM"},
        {" /* so */ vacuum", "VACUUM"},
        {"PRAGMA synchronous=OFF", "PRAGMA synchronous"},
        {"PRAGMA user_version", "PRAGMA user_version"},
        {"ATTACH ':memory:' AS x", "ATTACH"},
        {"DETACH main", "ATTACH and DETACH"},
        {"BEGIN", "transaction control"},
        {"COMMIT", "transaction control"},
        {"ROLLBACK", "transaction control"},
        {"SAVEPOINT s", "transaction control"},
        {"RELEASE assent_branch", "transaction control"},
        {"ROLLBACK TO assent_branch", "transaction control"},
        {"INSERT INTO nokey VALUES(1, 2)", "table nokey has no declared PRIMARY KEY"},
        {"UPDATE nokey SET a = 1", "table nokey has no declared PRIMARY KEY"},
        {"DELETE FROM nokey", "table nokey has no declared PRIMARY KEY"},
        {"INSERT INTO logged VALUES(1)", "table nokey has no declared PRIMARY KEY"},
        {"DELETE FROM t WHERE id = 3", "table old_child has no declared PRIMARY KEY"},
        {"INSERT INTO nullable VALUES(NULL, 1)", "NULL in its primary key (a)"},
        {"INSERT INTO words VALUES('x')", "table words is virtual"},
        {"DELETE FROM _assent_applied", "_assent_applied is the participant's own"},
        {"UPDATE _assent_meta SET value = 0", "_assent_meta is the participant's own"},
        {"SELECT 1; SELECT 2", "more than one statement"},
        {"UPDATE t SET v = 1; DROP TABLE t", "more than one statement"},
    };
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fx_refused(&fx, cases[i].sql, API_CAUSE_NOT_SUPPORTED, cases[i].words);
    }
    assert_int_equal(fx_number(&fx, "SELECT count(*) FROM t"), 3);
    fx_done(&fx);
}

static void test_stmts__errors_keep_the_words_of_the_database(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    fx_refused(&fx, "SELEKT 1", API_CAUSE_SQL_ERROR, "near \"SELEKT\": syntax error");
    fx_refused(&fx, "SELECT * FROM nowhere", API_CAUSE_SQL_ERROR, "no such table: nowhere");
    fx_refused(&fx, "SELECT oops FROM t", API_CAUSE_SQL_ERROR, "no such column: oops");
    fx_refused(&fx, "DELETE FROM words_data", API_CAUSE_SQL_ERROR, "may not be modified");
    fx_refused(&fx, "DELETE FROM sqlite_schema", API_CAUSE_SQL_ERROR, "may not be modified");
    fx_refused(&fx, "SELECT ?", API_CAUSE_SQL_ERROR, "1 placeholder(s), 0 parameter(s)");
    fx_refused(&fx, "", API_CAUSE_SQL_ERROR, "no statement");
    fx_refused(&fx, "-- only this", API_CAUSE_SQL_ERROR, "no statement");
    fx_refused(&fx, "SELECT abs(-9223372036854775808)", API_CAUSE_SQL_ERROR, "integer overflow");
    fx_refused(&fx, "UPDATE t SET v = 1000", API_CAUSE_CONSTRAINT, "CHECK constraint failed: v");
    fx_refused(&fx, "INSERT INTO t VALUES(9, 1, 'a')", API_CAUSE_CONSTRAINT,
               "UNIQUE constraint failed: t.u");
    fx_refused(&fx, "INSERT INTO t VALUES(9, 1, NULL)", API_CAUSE_CONSTRAINT,
               "NOT NULL constraint failed: t.u");
    fx_refused(&fx, "INSERT OR ROLLBACK INTO t VALUES(9, 1, 'a')", API_CAUSE_CONSTRAINT, "UNIQUE");
    assert_int_equal(fx_vote(&fx, 1, "UPDATE t SET v = 5;  -- with a comment"), PART_JOB_READY);
    fx_done(&fx);
}

static void test_stmts__the_failing_statement_is_told(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    struct part_job *job = FX_PREPARE(&fx, 1, "UPDATE t SET v = 7", "SELECT 1", "SELECT oops");
    assert_int_equal(job->outcome, PART_JOB_REFUSED);
    assert_int_equal(job->cause.statement, 2);
    fx_free(job);
    job = FX_PREPARE(&fx, 2, "SELECT v FROM t WHERE id = 1");
    assert_string_equal(job->results.data, "[{\"columns\":[\"v\"],\"rows\":[[1]]}]");
    fx_free(job);
    fx_done(&fx);
}

static void test_stmts__expectations(void **state)
{
    (void)state;
    static const struct {
        const char *sql;
        uint64_t min, max;
        const char *words; /* NULL: met */
    } cases[] = {
        {"UPDATE t SET v = 4 WHERE id = 1", 1, 1, NULL},
        {"UPDATE t SET v = 4 WHERE id = 99", 1, 1, "expected 1 row(s), the statement changed 0"},
        {"SELECT * FROM t", 1, 2, "expected 1 to 2 row(s), the statement returned 3"},
        {"SELECT * FROM t", 4, UINT64_MAX, "expected at least 4 row(s)"},
        {"SELECT * FROM t", 3, 3, NULL},
        {"UPDATE t SET v = 3 WHERE id = 2 RETURNING u", 1, 1, NULL},
    };
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct part_job *job = fx_job(PART_JOB_PREPARE, 1);
        struct api_statement *statement = fx_add(job, cases[i].sql);
        statement->has_expect = true;
        statement->expect_min = cases[i].min;
        statement->expect_max = cases[i].max;
        fx_submit(&fx, job);
        enum part_job_outcome outcome = fx_wait(&fx, job);
        if (cases[i].words != NULL) {
            assert_int_equal(outcome, PART_JOB_REFUSED);
            assert_int_equal(job->cause.code, API_CAUSE_EXPECTATION_FAILED);
            assert_non_null(strstr(job->cause.detail, cases[i].words));
        } else {
            assert_int_not_equal(outcome, PART_JOB_REFUSED);
            assert_int_equal(fx_end(&fx, PART_JOB_ABORT, 1), PART_JOB_ABORTED);
        }
        fx_free(job);
    }
    fx_done(&fx);
}

static void test_stmts__values_come_back_as_they_went(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    struct part_job *job = fx_job(PART_JOB_PREPARE, 1);
    struct api_statement *statement = fx_add(job, "SELECT ?, ?, ?, x'00ff', 1.5, NULL, typeof(?2)");
    fx_int(statement, 9007199254740993);
    fx_text(statement, "gr\xc3\xbc\xc3\x9f \"dich\"");
    fx_int(statement, -1);
    (void)fx_add(job, "INSERT INTO t VALUES(7, 8, 'x') RETURNING id, u");
    fx_submit(&fx, job);
    assert_int_equal(fx_wait(&fx, job), PART_JOB_READY);
    assert_string_equal(
        job->results.data,
        "[{\"columns\":[\"?\",\"?\",\"?\",\"x'00ff'\",\"1.5\",\"NULL\",\"typeof(?2)\"],"
        "\"rows\":[[{\"int64\":\"9007199254740993\"},\"gr\xc3\xbc\xc3\x9f \\\"dich\\\"\",-1,"
        "{\"blob\":\"AP8=\"},1.5,null,\"text\"]]},"
        "{\"columns\":[\"id\",\"u\"],\"rows\":[[7,\"x\"]],\"rows_affected\":1}]");
    fx_free(job);
    fx_done(&fx);
}

static void test_stmts__results_have_a_limit(void **state)
{
    (void)state;
    struct fx fx;
    fx_init(&fx, SCHEMA);
    fx.options.result_max = 1000;
    fx_open(&fx);
    fx_start(&fx);
    fx_refused(&fx,
               "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
               " SELECT i FROM n LIMIT 100000000",
               API_CAUSE_NOT_SUPPORTED, "limit of 1000 bytes");
    assert_int_equal(fx_vote(&fx, 1, "SELECT * FROM t"), PART_JOB_READ_ONLY);
    fx_done(&fx);
}

#define ENDLESS                                                                                    \
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"

static void test_stmts__a_runaway_ends_with_the_deadline(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    struct part_job *job = fx_job(PART_JOB_PREPARE, 1);
    job->deadline_ms = tpc_clock_mono_ms() + 30;
    (void)fx_add(job, ENDLESS);
    fx_submit(&fx, job);
    assert_int_equal(fx_wait(&fx, job), PART_JOB_REFUSED);
    assert_int_equal(job->cause.code, API_CAUSE_TIMEOUT);
    fx_free(job);
    assert_int_equal(fx_vote(&fx, 2, "SELECT 1"), PART_JOB_READ_ONLY);
    fx_done(&fx);
}

static void test_stmts__a_runaway_ends_when_cancelled(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    struct part_job *job = fx_job(PART_JOB_PREPARE, 1);
    (void)fx_add(job, "UPDATE t SET v = 5");
    (void)fx_add(job, ENDLESS);
    fx_submit(&fx, job);
    fx.resource->ops->cancel(fx.resource, job);
    assert_int_equal(fx_wait(&fx, job), PART_JOB_REFUSED);
    assert_int_equal(job->cause.code, API_CAUSE_CLIENT_ABORT);
    fx_free(job);
    fx_done(&fx);
}

static void test_stmts__a_slow_query_holds_nobody_up(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    struct part_job *slow[3], *late[2];
    for (unsigned i = 0; i < 3; i++) {
        slow[i] = fx_job(PART_JOB_PREPARE, 100 + i);
        (void)fx_add(slow[i], ENDLESS);
        fx_submit(&fx, slow[i]);
    }
    assert_int_equal(fx_vote(&fx, 1, "SELECT count(*) FROM t"), PART_JOB_READ_ONLY);
    assert_int_equal(fx_vote(&fx, 2, "WITH w(x) AS (SELECT 1) UPDATE t SET v = 3"), PART_JOB_READY);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 2), PART_JOB_COMMITTED);
    for (unsigned i = 0; i < 2; i++) { /* more than there are readers */
        late[i] = fx_job(PART_JOB_PREPARE, 200 + i);
        (void)fx_add(late[i], i == 0 ? ENDLESS : "SELECT sum(v) FROM t");
        fx_submit(&fx, late[i]);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_false(fx_is_done(&fx, slow[i]));
        fx.resource->ops->cancel(fx.resource, slow[i]);
        assert_int_equal(fx_wait(&fx, slow[i]), PART_JOB_REFUSED);
        fx_free(slow[i]);
    }
    assert_int_equal(fx_wait(&fx, late[1]), PART_JOB_READ_ONLY);
    assert_non_null(strstr(late[1]->results.data, "[[9]]"));
    fx_close(&fx);
    assert_int_equal(late[0]->outcome, PART_JOB_REFUSED);
    fx_free(late[0]);
    fx_free(late[1]);
    fx_done(&fx);
}

static void test_stmts__not_even_more_slow_queries_than_readers_hold_anybody_up(void **state)
{
    (void)state;
    struct fx fx;
    struct part_job *slow[9];
    fx_setup(&fx, SCHEMA);
    for (unsigned i = 0; i < 9; i++) {
        slow[i] = fx_job(PART_JOB_PREPARE, 100 + i);
        slow[i]->deadline_ms = tpc_clock_mono_ms() + 3600000;
        (void)fx_add(slow[i], ENDLESS);
        fx_submit(&fx, slow[i]);
    }
    assert_int_equal(fx_vote(&fx, 1, "SELECT count(*) FROM t"), PART_JOB_READ_ONLY);
    assert_int_equal(fx_vote(&fx, 2, "UPDATE t SET v = 3"), PART_JOB_READY);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 2), PART_JOB_COMMITTED);
    for (unsigned i = 9; i-- > 0;) {
        assert_false(fx_is_done(&fx, slow[i]));
        fx.resource->ops->cancel(fx.resource, slow[i]);
        assert_int_equal(fx_wait(&fx, slow[i]), PART_JOB_REFUSED);
        assert_int_equal(slow[i]->cause.code, API_CAUSE_CLIENT_ABORT);
        fx_free(slow[i]);
    }
    fx_done(&fx);
}

static void test_stmts__a_slow_change_is_begun_anew_rather_than_hold_others_up(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    struct part_job *slow = fx_job(PART_JOB_PREPARE, 100);
    slow->deadline_ms = tpc_clock_mono_ms() + 20000;
    (void)fx_add(slow, "UPDATE t SET v = (" ENDLESS ") WHERE id = 1");
    fx_submit(&fx, slow);
    for (unsigned i = 1; i < 5; i++) {
        assert_int_equal(fx_vote(&fx, i, "UPDATE t SET v = 3 WHERE id = 2"), PART_JOB_READY);
        assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, i), PART_JOB_COMMITTED);
    }
    assert_false(fx_is_done(&fx, slow));
    fx.resource->ops->cancel(fx.resource, slow);
    assert_int_equal(fx_wait(&fx, slow), PART_JOB_REFUSED);
    assert_int_equal(slow->cause.code, API_CAUSE_CLIENT_ABORT);
    fx_free(slow);
    fx_done(&fx);
}

static void test_stmts__branches_see_no_trace_of_each_other(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    struct part_job *job =
        FX_PREPARE(&fx, 1, "INSERT INTO t VALUES(50, 0, 'fifty')", "SELECT last_insert_rowid()");
    assert_non_null(strstr(job->results.data, "[[50]]"));
    fx_free(job);
    job = FX_PREPARE(&fx, 2, "SELECT last_insert_rowid()");
    assert_non_null(strstr(job->results.data, "[[0]]"));
    fx_free(job);
    fx_done(&fx);
}

static void test_stmts__more_texts_than_are_kept(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    for (unsigned i = 0; i < 600; i++) {
        char sql[64];
        (void)snprintf(sql, sizeof(sql), "SELECT %u", i % 300);
        assert_int_equal(fx_vote(&fx, 1, sql), PART_JOB_READ_ONLY);
    }
    fx_done(&fx);
}

static void test_stmts__another_schema_is_noticed(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    fx_refused(&fx, "INSERT INTO nokey VALUES(1, 2)", API_CAUSE_NOT_SUPPORTED, "PRIMARY KEY");
    assert_int_equal(fx_vote(&fx, 1, "SELECT * FROM t"), PART_JOB_READ_ONLY);
    fx_must(&fx, "DROP TABLE nokey; CREATE TABLE nokey(a INTEGER PRIMARY KEY, b);"
                 "ALTER TABLE t ADD COLUMN w DEFAULT 'new'");
    assert_int_equal(fx_vote(&fx, 2, "INSERT INTO nokey VALUES(1, 2)"), PART_JOB_READY);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 2), PART_JOB_COMMITTED);
    assert_int_equal(fx_vote(&fx, 3, "UPDATE t SET v = 77, w = 'x' WHERE id = 1"), PART_JOB_READY);
    assert_int_equal(fx_vote(&fx, 4, "UPDATE t SET v = 78 WHERE id = 2"), PART_JOB_READY);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 3), PART_JOB_COMMITTED);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 4), PART_JOB_COMMITTED);
    assert_int_equal(fx_number(&fx, "SELECT count(*) FROM t WHERE w = 'new'"), 2);
    fx_done(&fx);
}

static void test_stmts__serializable_locks_what_was_read(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    struct part_job *job = fx_job(PART_JOB_PREPARE, 1);
    job->isolation = API_ISOLATION_SERIALIZABLE;
    (void)fx_add(job, "SELECT count(*) FROM both");
    fx_submit(&fx, job);
    assert_int_equal(fx_wait(&fx, job), PART_JOB_READY);
    fx_free(job);
    fx_refused(&fx, "UPDATE t SET v = 5 WHERE id = 1", API_CAUSE_CONFLICT, "older");
    assert_int_equal(fx_vote(&fx, 3, "SELECT * FROM t"), PART_JOB_READ_ONLY);
    assert_int_equal(fx_vote(&fx, 4, "INSERT INTO nullable VALUES('x', 1)"), PART_JOB_READY);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    assert_int_equal(fx_vote(&fx, 5, "UPDATE t SET v = 5 WHERE id = 1"), PART_JOB_READY);
    fx_done(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stmts__what_cannot_be_promised_is_refused),
        cmocka_unit_test(test_stmts__errors_keep_the_words_of_the_database),
        cmocka_unit_test(test_stmts__the_failing_statement_is_told),
        cmocka_unit_test(test_stmts__expectations),
        cmocka_unit_test(test_stmts__values_come_back_as_they_went),
        cmocka_unit_test(test_stmts__results_have_a_limit),
        cmocka_unit_test(test_stmts__a_runaway_ends_with_the_deadline),
        cmocka_unit_test(test_stmts__a_runaway_ends_when_cancelled),
        cmocka_unit_test(test_stmts__a_slow_query_holds_nobody_up),
        cmocka_unit_test(test_stmts__not_even_more_slow_queries_than_readers_hold_anybody_up),
        cmocka_unit_test(test_stmts__a_slow_change_is_begun_anew_rather_than_hold_others_up),
        cmocka_unit_test(test_stmts__branches_see_no_trace_of_each_other),
        cmocka_unit_test(test_stmts__more_texts_than_are_kept),
        cmocka_unit_test(test_stmts__another_schema_is_noticed),
        cmocka_unit_test(test_stmts__serializable_locks_what_was_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
