#include "participant/resource.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static void test_session_count__is_what_was_wanted(void **state)
{
    (void)state;
    assert_int_equal(part_session_count(16, 6, 10), 16);
    assert_int_equal(part_session_count(2, 6, 1000), 2);
    assert_int_equal(part_session_count(UINT64_MAX, 6, 10), 1000);
}

static void test_session_count__grows_with_the_cores(void **state)
{
    (void)state;
    assert_int_equal(part_session_count(0, 6, 1000000), 6 * sysconf(_SC_NPROCESSORS_ONLN));
}

static void test_session_count__leaves_half_of_the_connections_to_others(void **state)
{
    (void)state;
    assert_int_equal(part_session_count(0, 500, 97), 48);
    assert_int_equal(part_session_count(0, 500, 3), 2);
    assert_int_equal(part_session_count(0, 500, 0), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_count__is_what_was_wanted),
        cmocka_unit_test(test_session_count__grows_with_the_cores),
        cmocka_unit_test(test_session_count__leaves_half_of_the_connections_to_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
