#include "participant/maria_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_maria_detach__is_not_over_before_it_is_asked_for(void **state)
{
    const struct maria_detach detach = {.thread = 7};
    (void)state;
    assert_false(maria_detach_is_over(&detach, 1000000));
}

static void test_maria_detach__is_over_a_while_after_the_session_is_gone(void **state)
{
    const struct maria_detach detach = {.asked_ms = 900, .gone_ms = 1000, .next_ms = 1250};
    (void)state;
    assert_false(maria_detach_is_over(&detach, 1000));
    assert_false(maria_detach_is_over(&detach, 1249));
    assert_true(maria_detach_is_over(&detach, 1250));
    assert_true(maria_detach_is_over(&detach, 1000000));
}

static void test_maria_detach__a_session_that_stays_is_not_waited_for_without_end(void **state)
{
    struct maria_detach detach = {.thread = 7, .asked_ms = 1000, .next_ms = 1250};
    (void)state;
    assert_false(maria_detach_is_over(&detach, 1250));
    detach.next_ms = 11000;
    assert_false(maria_detach_is_over(&detach, 10999));
    assert_true(maria_detach_is_over(&detach, 11000));
}

static void test_maria_detach__an_outage_is_no_time_in_which_it_was_seen(void **state)
{
    const struct maria_detach detach = {.thread = 7, .asked_ms = 1000, .next_ms = 1250};
    (void)state;
    assert_false(maria_detach_is_over(&detach, 20000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maria_detach__is_not_over_before_it_is_asked_for),
        cmocka_unit_test(test_maria_detach__is_over_a_while_after_the_session_is_gone),
        cmocka_unit_test(test_maria_detach__a_session_that_stays_is_not_waited_for_without_end),
        cmocka_unit_test(test_maria_detach__an_outage_is_no_time_in_which_it_was_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
