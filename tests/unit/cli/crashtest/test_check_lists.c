#include "tests/unit/cli/crashtest/histories.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* @lists NULL: the end is not known. */
static void expect(const char *words, const char *lists, const char *names)
{
    struct cli_history history;
    make_history(&history, words);
    if (lists != NULL) {
        make_lists(&history, lists);
    }
    expect_findings(&history, names);
}

static void test_cli_check_lists__good_histories(void **state)
{
    (void)state;
    expect(
        "a committed: append east 1 11, append west 1 12;"
        "b committed: read east 1 = 11, append east 1 21;"
        "c aborted: append east 1 31; d not-started: append east 1 41; e unknown: append east 1 51;"
        "r committed: read east 1 = 11 21, read west 1 = 12, read north 9 =, read east 7",
        "east 1: 11 21; west 1: 12", "");
    expect("e unknown: append east 1 51, append west 1 52", "east 1: 51; west 1: 52", "");
    /* Without the end, what was read last is known. */
    expect("a committed: append east 1 11; r committed: read east 1 = 11", NULL, "");
    expect("a committed: append east 1 11; b unknown: append east 1 21", NULL, "");
}

static void test_cli_check_lists__lost_appends(void **state)
{
    (void)state;
    expect("a committed: append east 1 11", "", "lost");
    expect("a committed: append east 1 11, append west 1 12", "east 1: 11", "lost not-atomic");
    expect("a committed: append east 1 11; b committed: read east 1 = 11, append east 1 21",
           "east 1: 21", "lost");
    expect("a unknown: append east 1 11", "", "");
}

static void test_cli_check_lists__held_though_refused(void **state)
{
    (void)state;
    expect("a aborted: append east 1 11", "east 1: 11", "held");
    expect("a not-started: append east 1 11", "east 1: 11", "held");
    expect("a unknown: append east 1 11, append west 1 12", "west 1: 12", "not-atomic");
}

static void test_cli_check_lists__doubled_appends(void **state)
{
    (void)state;
    expect("a committed: append east 1 11; b committed: append east 1 21", "east 1: 11 21 11",
           "twice dirty-write");
    expect("a committed: append east 1 11", "east 1: 11 11", "twice");
    expect("a committed: append east 1 11; r committed: read east 1 = 11 11", "east 1: 11",
           "twice prefix");
}

static void test_cli_check_lists__what_nobody_asked_for(void **state)
{
    (void)state;
    expect("a committed: append east 1 11", "east 1: 11 99", "unasked");
    expect("a committed: append east 1 11; r committed: read west 1 = 11", "east 1: 11", "unasked");
    expect("a committed: append east 1 11; r committed: read east 1 = 11 0", "east 1: 11",
           "unasked");
}

static void test_cli_check_lists__aborted_reads(void **state)
{
    (void)state;
    expect("a aborted: append east 1 11; r committed: read east 1 = 11", "", "aborted-read");
    expect("a not-started: append east 1 11; r committed: read east 1 = 11", "", "aborted-read");
    expect("a aborted: append east 1 11; r committed: read east 1 = 11", "east 1: 11",
           "aborted-read held");
    expect("a aborted: append east 1 11; r committed: read east 1 = 11", NULL, "aborted-read");
    expect("a aborted: append east 1 11; r committed: read east 1 =", "", "");
}

static void test_cli_check_lists__dirty_reads(void **state)
{
    (void)state;
    expect("a unknown: append east 1 11; r committed: read east 1 = 11", "", "dirty-read");
    expect("a unknown: append east 1 11; b committed: append east 1 21;"
           "r committed: read east 1 = 11 21",
           "east 1: 21", "dirty-read");
    expect("a unknown: append east 1 11; r committed: read east 1 = 11", "east 1: 11", "");
}

static void test_cli_check_lists__intermediate_reads(void **state)
{
    (void)state;
    expect("a beside committed: append east 1 11, append east 1 12; r beside committed: read east "
           "1 = 11",
           "east 1: 11 12", "intermediate-read single");
    expect("r beside committed: read east 1 =; a committed: append east 1 11, append east 1 12",
           "east 1: 11 12", "");
    expect("a committed: append east 1 11, append west 1 12; r committed: read east 1 = 11",
           "east 1: 11; west 1: 12", "");
    /* Its own half is what a transaction must see. */
    expect("a committed: append east 1 11, read east 1 = 11, append east 1 12", "east 1: 11 12",
           "");
}

static void test_cli_check_lists__reads_that_contradict_each_other(void **state)
{
    (void)state;
#define AB "a beside committed: append east 1 11; b beside committed: append east 1 21;"
    expect(AB "r beside committed: read east 1 = 21 11", "east 1: 11 21", "prefix");
    expect(AB "r beside committed: read east 1 = 21", "east 1: 11 21", "prefix");
    expect(AB "r beside committed: read east 1 = 21; s committed: read east 1 = 11 21", NULL,
           "prefix");
    expect(AB "r beside committed: read east 1 = 11", "east 1: 11 21", "");
#undef AB
}

static void test_cli_check_lists__internal(void **state)
{
    (void)state;
    expect("a committed: append east 1 11, read east 1 =", "east 1: 11", "internal");
    expect("a committed: append east 1 11, append east 1 12, read east 1 = 11", "east 1: 11 12",
           "internal");
    expect("a committed: read east 1 = 11, append east 1 11", "east 1: 11", "internal");
    expect("b committed: append east 1 21; a committed: append east 1 11, read east 1 = 11 21",
           "east 1: 21 11", "internal prefix");
    expect("b committed: append east 1 21;"
           "a committed: read east 1 = 21, append east 1 11, read west 1 =, append east 1 12,"
           "read east 1 = 21 11 12",
           "east 1: 21 11 12", "");
}

static void test_cli_check_lists__stale_reads(void **state)
{
    (void)state;
    expect("a committed: append east 1 11; r committed: read east 1 =", "east 1: 11", "stale-read");
    expect("a committed: append east 1 11; r beside committed: read east 1 =", "east 1: 11", "");
    expect("a unknown: append east 1 11; r committed: read east 1 =", "east 1: 11", "");
}

static void test_cli_check_lists__what_is_counted(void **state)
{
    (void)state;
    expect("t beside committed: append east 1 11, append west 1 12;"
           "r beside committed: read east 1 = 11, read west 1 =",
           "east 1: 11; west 1: 12", "fractured-read single");
    expect("t beside committed: read east 1 =, append east 1 11;"
           "u beside committed: read east 1 =, append east 1 21",
           "east 1: 11 21", "lost-update single");
    expect("t beside committed: read east 1 =, append west 1 12;"
           "u beside committed: read west 1 =, append east 1 21",
           "east 1: 21; west 1: 12", "skew");
    expect("t committed: read east 1 =, append west 1 12;"
           "u committed: read west 1 = 12, append east 1 21",
           "east 1: 21; west 1: 12", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_check_lists__good_histories),
        cmocka_unit_test(test_cli_check_lists__lost_appends),
        cmocka_unit_test(test_cli_check_lists__held_though_refused),
        cmocka_unit_test(test_cli_check_lists__doubled_appends),
        cmocka_unit_test(test_cli_check_lists__what_nobody_asked_for),
        cmocka_unit_test(test_cli_check_lists__aborted_reads),
        cmocka_unit_test(test_cli_check_lists__dirty_reads),
        cmocka_unit_test(test_cli_check_lists__intermediate_reads),
        cmocka_unit_test(test_cli_check_lists__reads_that_contradict_each_other),
        cmocka_unit_test(test_cli_check_lists__internal),
        cmocka_unit_test(test_cli_check_lists__stale_reads),
        cmocka_unit_test(test_cli_check_lists__what_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
