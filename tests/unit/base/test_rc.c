#include "tests/unit/base/unit.h"

#include "base/rc.h"

#include <string.h>

static void test_rc__every_code_has_name_text_and_status(void **state)
{
    (void)state;
    for (int i = 0; i < TPC_RC_COUNT; i++) {
        assert_non_null(tpc_rc_name((enum tpc_rc)i));
        assert_true(strlen(tpc_rc_text((enum tpc_rc)i)) > 0);
        assert_in_range(tpc_rc_http_status((enum tpc_rc)i), 200, 599);
    }
    assert_string_equal(tpc_rc_name(TPC_EIO), "TPC_EIO");
    assert_int_equal(tpc_rc_http_status(TPC_ETOOBIG), 413);
    assert_true(tpc_rc_retryable(TPC_EFULL));
    assert_false(tpc_rc_retryable(TPC_EINVAL));
}

static void test_rc__a_stray_number_is_an_unknown_error(void **state)
{
    (void)state;
    assert_string_equal(tpc_rc_name((enum tpc_rc)99), "TPC_UNKNOWN");
    assert_int_equal(tpc_rc_http_status((enum tpc_rc)99), 500);
}

static void test_fail__keeps_the_first_cause(void **state)
{
    (void)state;
    struct tpc_err err = {0};
    assert_int_equal(tpc_fail(&err, TPC_EIO, "disk %d", 1), TPC_EIO);
    assert_int_equal(tpc_fail(&err, TPC_EFULL, "later"), TPC_EFULL);
    assert_int_equal(err.rc, TPC_EIO);
    assert_string_equal(err.text, "disk 1");
    assert_int_equal(tpc_fail(NULL, TPC_EBUSY, "nobody asks"), TPC_EBUSY);
}

static void test_fail__cuts_a_long_text(void **state)
{
    (void)state;
    struct tpc_err err = {0};
    assert_int_equal(tpc_fail(&err, TPC_EIO, "%0600d", 1), TPC_EIO);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rc__every_code_has_name_text_and_status),
        cmocka_unit_test(test_rc__a_stray_number_is_an_unknown_error),
        cmocka_unit_test(test_fail__keeps_the_first_cause),
        cmocka_unit_test(test_fail__cuts_a_long_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
