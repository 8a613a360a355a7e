#include "tests/unit/cli/crashtest/histories.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *words, const char *lists, const char *names)
{
    struct cli_history history;
    make_history(&history, words);
    make_lists(&history, lists);
    expect_findings(&history, names);
}

/* a before b at east, b before a at west. */
#define GLOBAL_G0                                                                                  \
    "a beside committed: append east 1 11, append west 1 12;"                                      \
    "b beside committed: append east 1 21, append west 1 22"

static void test_cli_check_cycles__writes_over_each_other(void **state)
{
    (void)state;
    expect(GLOBAL_G0, "east 1: 11 21; west 1: 22 12", "dirty-write");
    expect(GLOBAL_G0, "east 1: 11 21; west 1: 12 22", "");
    expect("a beside committed: append east 1 11, append east 1 12;"
           "b beside committed: append east 1 21",
           "east 1: 11 21 12", "dirty-write");
}

static void test_cli_check_cycles__information_in_a_circle(void **state)
{
    (void)state;
    /* Each reads what the other one wrote, at two participants. */
    expect("a beside committed: append east 1 11, read west 1 = 22;"
           "b beside committed: append west 1 22, read east 1 = 11",
           "east 1: 11; west 1: 22", "circular");
    expect("a beside committed: append east 1 11, read west 1 =;"
           "b beside committed: append west 1 22, read east 1 = 11",
           "east 1: 11; west 1: 22", "");
    /* Through a third one, at which a write follows a write. */
    expect("a beside committed: append east 1 11, append north 1 13;"
           "b beside committed: read east 1 = 11, append west 1 22;"
           "c beside committed: read west 1 = 22, append north 1 33",
           "east 1: 11; west 1: 22; north 1: 33 13", "circular");
    expect("a beside committed: append east 1 11, append north 1 13;"
           "b beside committed: read east 1 = 11, append west 1 22;"
           "c beside committed: read west 1 = 22, append north 1 33",
           "east 1: 11; west 1: 22; north 1: 13 33", "");
}

static void test_cli_check_cycles__the_shortest_circle_is_told_step_by_step(void **state)
{
    struct cli_history history;
    struct cli_findings findings = {0};
    (void)state;
    /* a -> b -> a, and a longer way round: a -> c -> d -> a. */
    make_history(&history,
                 "a beside committed: append east 1 11, read west 1 = 22, read west 2 = 44;"
                 "b beside committed: append west 1 22, read east 1 = 11;"
                 "c beside committed: read east 1 = 11, append north 1 33;"
                 "d beside committed: read north 1 = 33, append west 2 44");
    make_lists(&history, "east 1: 11; west 1: 22; west 2: 44; north 1: 33");
    cli_check_cycles(&history, &findings);
    assert_int_equal(findings.counts[CLI_CIRCULAR], 1);
    assert_int_equal(findings.item_count, 1);
    const char *text = findings.items[0].text;
    assert_true(strncmp(text, "a -> b -> a: ", 13) == 0 || strncmp(text, "b -> a -> b: ", 13) == 0);
    assert_non_null(strstr(text, "b read up to 11 of a (wr, list 1 at east)"));
    assert_non_null(strstr(text, "a read up to 22 of b (wr, list 1 at west)"));
    cli_findings_done(&findings);
    cli_history_done(&history);
}

static void test_cli_check_cycles__every_component_is_told_of(void **state)
{
    struct cli_history history;
    struct cli_findings findings = {0};
    (void)state;
    make_history(&history, GLOBAL_G0 ";"
                                     "c beside committed: append east 2 31, append west 2 32;"
                                     "d beside committed: append east 2 41, append west 2 42");
    make_lists(&history, "east 1: 11 21; west 1: 22 12; east 2: 31 41; west 2: 42 32");
    cli_check_cycles(&history, &findings);
    assert_int_equal(findings.counts[CLI_DIRTY_WRITE], 2);
    cli_findings_done(&findings);
    cli_history_done(&history);
}

static void test_cli_check_cycles__with_overtaken_reads_they_are_counted(void **state)
{
    (void)state;
    /* r saw b, who came after a at west, and did not see a at east. */
    expect("a beside committed: append east 1 11, append west 1 12;"
           "b beside committed: append west 1 22;"
           "r beside committed: read west 1 = 12 22, read east 1 =",
           "east 1: 11; west 1: 12 22", "fractured-read single");
    expect("a beside committed: append east 1 11, append west 1 12;"
           "b beside committed: append west 1 22;"
           "r beside committed: read west 1 =, read east 1 =",
           "east 1: 11; west 1: 12 22", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_check_cycles__writes_over_each_other),
        cmocka_unit_test(test_cli_check_cycles__information_in_a_circle),
        cmocka_unit_test(test_cli_check_cycles__the_shortest_circle_is_told_step_by_step),
        cmocka_unit_test(test_cli_check_cycles__every_component_is_told_of),
        cmocka_unit_test(test_cli_check_cycles__with_overtaken_reads_they_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
