#include "participant/sql_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_words(const char *sql, const char *first, const char *second)
{
    char word[PART_SQL_WORD_MAX];
    const char *at = sql;
    assert_string_equal(part_sql_word(&at, word), first);
    assert_string_equal(part_sql_word(&at, word), second);
}

static void test_sql_words__blanks_comments_and_empty_statements_are_skipped(void **state)
{
    (void)state;
    assert_words("select 1", "SELECT", "");
    assert_words(" \t\r\n;;set/**/local x", "SET", "LOCAL");
    assert_words("/* a /* b */ c */ -- d\n--\nCommit prepared 'x'", "COMMIT", "PREPARED");
    assert_words("/* never ended", "", "");
    assert_words("-- to the end", "", "");
    assert_words("(select 1)", "", "");
    assert_words("a23456789012345678901234567890123456789 b", "A234567890123456789012345678901",
                 "B");
    assert_words("", "", "");
}

static void test_sql_words__are_found_as_whole_words(void **state)
{
    (void)state;
    assert_true(part_sql_mentions("WITH a AS (Insert INTO b) SELECT", "insert"));
    assert_true(part_sql_mentions("into", "INTO"));
    assert_false(part_sql_mentions("inserted, an_insert, insert2", "insert"));
    assert_true(part_sql_mentions("inserted insert", "insert"));
    assert_false(part_sql_mentions("", "insert"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sql_words__blanks_comments_and_empty_statements_are_skipped),
        cmocka_unit_test(test_sql_words__are_found_as_whole_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
