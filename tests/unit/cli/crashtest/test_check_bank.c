#include "tests/unit/cli/crashtest/histories.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define T1    "t1 committed: move east 1 -7, move west 1 7"
#define MOVED "93 100 107 100; t1 east 1 -7; t1 west 1 7"

static void expect(const char *words, const char *bank, const char *names)
{
    struct cli_history history;
    make_history(&history, words);
    make_bank(&history, bank);
    expect_findings(&history, names);
}

static void test_cli_check_bank__good_histories(void **state)
{
    (void)state;
    expect(T1, MOVED, "");
    expect("t1 unknown: move east 1 -7, move west 1 7", MOVED, "");
    expect("t1 unknown: move east 1 -7, move west 1 7", "100 100 100 100", "");
    expect("t1 aborted: move east 1 -7, move west 1 7; t2 not-started: move east 1 -7",
           "100 100 100 100", "");
    expect("t1 impossible aborted: move east 1 -700, move west 1 700", "100 100 100 100", "");
    expect("t1 committed: move east 1 -7, move east 2 7",
           "93 107 100 100; t1 east 1 -7; t1 east 2 7", "");
}

static void test_cli_check_bank__told_and_held(void **state)
{
    (void)state;
    expect(T1, "100 100 100 100", "lost");
    expect("t1 aborted: move east 1 -7, move west 1 7", MOVED, "held");
    expect("t1 not-started: move east 1 -7, move west 1 7", MOVED, "held");
    expect("t1 unknown: move east 1 -7, move west 1 7", "93 100 100 100; t1 east 1 -7",
           "not-atomic money");
    expect("t1 aborted: move east 1 -7, move west 1 7", "93 100 100 100; t1 east 1 -7",
           "held not-atomic money");
}

static void test_cli_check_bank__what_nobody_asked_for(void **state)
{
    (void)state;
    expect("t2 not-started: move east 1 -7, move west 1 7", MOVED, "unasked");
    expect("t0 not-started: move east 1 -7, move west 1 7", MOVED, "unasked");
    expect("t1 committed: move east 1 -7, move west 2 7", MOVED, "unasked not-atomic");
    expect("t1 committed: move east 1 -8, move west 1 8", MOVED, "unasked");
}

static void test_cli_check_bank__once(void **state)
{
    (void)state;
    expect(T1, MOVED "; t1 west 1 7", "twice ledger");
    expect(T1, "93 100 114 100; t1 east 1 -7; t1 west 1 7", "ledger money");
    expect(T1, "100 100 107 100; t1 east 1 -7; t1 west 1 7", "ledger money");
}

static void test_cli_check_bank__overdrawn(void **state)
{
    (void)state;
    expect("t1 impossible committed: move east 1 -107, move west 1 107",
           "-7 100 207 100; t1 east 1 -107; t1 west 1 107", "overdrawn");
    expect("t1 impossible committed: move east 1 -7, move west 1 7", MOVED, "overdrawn");
}

static void test_cli_check_bank__reads(void **state)
{
    (void)state;
    expect(T1 "; r committed: balances east = 93 -7 100 0, balances west = 107 7 100 0, balances "
              "north =",
           MOVED, "");
    /* The transfer is seen on one side: counted. */
    expect(T1 "; r committed: balances east = 93 -7 100 0, balances west = 100 0 100 0, balances "
              "north =",
           MOVED, "fractured-read");
    /* Of some participants no sum is known. */
    expect(T1 "; r committed: balances east = 93 -7 100 0", MOVED, "");
    /* The balance without its ledger row: half of a branch. */
    expect(T1 "; r committed: balances east = 93 0 100 0", MOVED, "ledger");
    expect(T1 "; r committed: balances east = -3 -103 203 103", MOVED, "overdrawn");
}

static void test_cli_check_answers__what_must_not_be(void **state)
{
    (void)state;
    expect("t1 unknown status 500: move east 1 -7, move west 1 7", "100 100 100 100", "answer");
    expect("t1 unknown status 422: move east 1 -7, move west 1 7", "100 100 100 100", "answer");
    expect("t1 unknown status 202: move east 1 -7, move west 1 7", "100 100 100 100", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_check_bank__good_histories),
        cmocka_unit_test(test_cli_check_bank__told_and_held),
        cmocka_unit_test(test_cli_check_bank__what_nobody_asked_for),
        cmocka_unit_test(test_cli_check_bank__once),
        cmocka_unit_test(test_cli_check_bank__overdrawn),
        cmocka_unit_test(test_cli_check_bank__reads),
        cmocka_unit_test(test_cli_check_answers__what_must_not_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
