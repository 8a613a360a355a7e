#include "participant/maria_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct maria_verdict judged(const char *sql)
{
    struct maria_verdict verdict = {0};
    struct part_refusal refusal = {.statement = -1};
    assert_true(maria_judge(sql, &verdict, &refusal));
    return verdict;
}

static void test_maria_words__only_what_reads_and_writes_rows_is_allowed(void **state)
{
    static const char *const refused[] = {
        "COMMIT",
        "xa prepare 'a'",
        "SET autocommit = 0",
        "SET STATEMENT max_statement_time = 1 FOR SELECT 1",
        "LOCK TABLES a WRITE",
        "CREATE TABLE a (i int)",
        "CREATE TEMPORARY TABLE a (i int)",
        "RENAME TABLE a TO b",
        "OPTIMIZE TABLE a",
        "CALL p()",
        "DO f()",
        "LOAD DATA INFILE 'a' INTO TABLE b",
        "ANALYZE UPDATE a SET b = 1",
        "HANDLER a OPEN",
        "SELECT get_lock('a', 1)",
        "SELECT * FROM _assent_applied",
        "",
        " -- nothing",
        "# nothing",
        "BEGIN NOT ATOMIC COMMIT; END",
        "IF 1 THEN COMMIT; END IF",
    };
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct maria_verdict verdict;
        struct part_refusal refusal = {.statement = -1};
        assert_false(maria_judge(refused[i], &verdict, &refusal));
        assert_int_not_equal(refusal.code, API_CAUSE_NONE);
    }
}

static void test_maria_words__queries_are_told_from_what_keeps_locks(void **state)
{
    (void)state;
    assert_true(judged("SELECT 1").query);
    assert_true(judged(" (SELECT 1) UNION (SELECT 2)").query);
    assert_true(judged("WITH a AS (SELECT 1) SELECT * FROM a").query);
    assert_true(judged("SHOW TABLES").query);
    assert_true(judged("SHOW TABLES").shows);
    assert_false(judged("SELECT 1").shows);
    assert_false(judged("SELECT * FROM a FOR UPDATE").query);
    assert_false(judged("SELECT * FROM a LOCK IN SHARE MODE").query);
    assert_false(judged("INSERT INTO a VALUES (1)").query);
    assert_false(judged("REPLACE INTO a VALUES (1)").query);
}

static void test_maria_words__variables_leave_something_behind(void **state)
{
    (void)state;
    assert_true(judged("SELECT @a := 1").taints);
    assert_true(judged("SELECT 1 INTO @a").taints);
    assert_true(judged("SELECT 'a' '\\'', @a").taints);
    assert_false(judged("SELECT 'me@example.com', \"a@b\"").taints);
    assert_false(judged("SELECT 'it''s me@example.com'").taints);
}

static void test_maria_words__changes_are_told_from_queries(void **state)
{
    (void)state;
    assert_true(maria_changes_rows("insert into a values (1) returning b"));
    assert_true(maria_changes_rows("/* a */ DELETE FROM a"));
    assert_false(maria_changes_rows("SELECT 1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maria_words__only_what_reads_and_writes_rows_is_allowed),
        cmocka_unit_test(test_maria_words__queries_are_told_from_what_keeps_locks),
        cmocka_unit_test(test_maria_words__variables_leave_something_behind),
        cmocka_unit_test(test_maria_words__changes_are_told_from_queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
