#include "participant/maria_internal.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

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

static void test_maria_detach__only_sessions_that_are_open_are_not_waited_for(void **state)
{
    struct maria_session sessions[] = {{.state = MARIA_READY, .thread = 41},
                                       {.state = MARIA_CONNECTING, .thread = 42},
                                       {.state = MARIA_CLOSED, .thread = 43},
                                       {.state = MARIA_READY, .thread = 44, .retires = true}};
    const struct part_maria maria = {
        .sessions = sessions, .work_count = 4, .first_thread = 40, .lost_thread = 43};
    struct tpc_buf text = {0};
    (void)state;
    maria_detach_write(&maria, 0, &text);
    assert_non_null(strstr(text.data, "ID <= 43 "));
    assert_non_null(strstr(text.data, "ID NOT IN (0,41)"));
    tpc_buf_clear(&text);
    maria_detach_write(&maria, 42, &text);
    assert_non_null(strstr(text.data, "ID = 42 AND ID NOT IN (0,41)"));
    tpc_buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maria_detach__is_not_over_before_it_is_asked_for),
        cmocka_unit_test(test_maria_detach__is_over_a_while_after_the_session_is_gone),
        cmocka_unit_test(test_maria_detach__a_session_that_stays_is_not_waited_for_without_end),
        cmocka_unit_test(test_maria_detach__an_error_says_nothing),
        cmocka_unit_test(test_maria_detach__only_sessions_that_are_open_are_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
