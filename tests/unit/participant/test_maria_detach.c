#include "participant/maria_internal.h"

#include "base/clock.h"

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
    struct maria_session session = {.found_rows = 1};
    struct maria_detach detach = {.thread = 7, .asked_ms = tpc_clock_mono_ms()};
    (void)state;
    assert_false(maria_detach_answered(&session, &detach));
    detach.asked_ms -= 10000;
    assert_true(maria_detach_answered(&session, &detach));
    session.found_rows = 0;
    assert_false(maria_detach_answered(&session, &detach));
    assert_true(detach.gone_ms != 0);
}

static void test_maria_detach__an_error_says_nothing(void **state)
{
    const struct maria_session session = {.error.code = 1};
    struct maria_detach detach = {.thread = 7, .asked_ms = tpc_clock_mono_ms()};
    (void)state;
    assert_false(maria_detach_answered(&session, &detach));
    assert_true(detach.gone_ms == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maria_detach__is_not_over_before_it_is_asked_for),
        cmocka_unit_test(test_maria_detach__is_over_a_while_after_the_session_is_gone),
        cmocka_unit_test(test_maria_detach__a_session_that_stays_is_not_waited_for_without_end),
        cmocka_unit_test(test_maria_detach__an_error_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
