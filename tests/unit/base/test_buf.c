#include "tests/unit/base/unit.h"

#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

static void test_buf_add__keeps_a_nul_after_the_bytes(void **state)
{
    (void)state;
    struct tpc_buf buf = {0};
    tpc_buf_adds(&buf, "ab");
    tpc_buf_addc(&buf, 'c');
    tpc_buf_add(&buf, "\0d", 2);
    assert_int_equal(buf.size, 5);
    assert_memory_equal(buf.data, "abc\0d", 6);
    tpc_buf_done(&buf);
    assert_null(buf.data);
}

static void test_buf_add__nothing_is_nothing(void **state)
{
    (void)state;
    struct tpc_buf buf = {0};
    tpc_buf_add(&buf, NULL, 0);
    assert_int_equal(buf.size, 0);
    assert_false(buf.failed);
    char *text = tpc_buf_take(&buf);
    assert_string_equal(text, "");
    free(text);
}

static void test_buf_addf__grows_over_its_first_try(void **state)
{
    (void)state;
    struct tpc_buf buf = {0};
    char big[1000];
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = '\0';
    for (int i = 0; i < 100; i++) {
        tpc_buf_addf(&buf, "%s%d", big, 7);
    }
    assert_int_equal(buf.size, 100000);
    assert_int_equal(strlen(buf.data), 100000);
    assert_int_equal(buf.data[99999], '7');
    tpc_buf_done(&buf);
}

static void test_buf_consume__removes_from_the_front(void **state)
{
    (void)state;
    struct tpc_buf buf = {0};
    tpc_buf_consume(&buf, 3);
    tpc_buf_adds(&buf, "hello world");
    tpc_buf_consume(&buf, 6);
    assert_string_equal(buf.data, "world");
    tpc_buf_consume(&buf, 99);
    assert_int_equal(buf.size, 0);
    assert_string_equal(buf.data, "");
    tpc_buf_done(&buf);
}

static void test_buf_reserve__then_added(void **state)
{
    (void)state;
    struct tpc_buf buf = {0};
    char *at = tpc_buf_reserve(&buf, 3);
    assert_non_null(at);
    memset(at, 'x', 3);
    tpc_buf_added(&buf, 2);
    assert_string_equal(buf.data, "xx");
    tpc_buf_done(&buf);
}

static void test_buf_reserve__too_much_is_remembered_until_clear(void **state)
{
    (void)state;
    struct tpc_buf buf = {0};
    tpc_buf_adds(&buf, "kept");
    assert_null(tpc_buf_reserve(&buf, SIZE_MAX));
    assert_true(buf.failed);
    tpc_buf_adds(&buf, "more");
    assert_string_equal(buf.data, "kept");
    tpc_buf_clear(&buf);
    assert_false(buf.failed);
    tpc_buf_adds(&buf, "again");
    assert_string_equal(buf.data, "again");
    tpc_buf_done(&buf);
}

static void test_buf_take__is_null_when_failed_or_never_written(void **state)
{
    (void)state;
    struct tpc_buf buf = {0};
    assert_null(tpc_buf_take(&buf));
    tpc_buf_adds(&buf, "x");
    buf.failed = true;
    assert_null(tpc_buf_take(&buf));
    assert_false(buf.failed);
    tpc_buf_adds(&buf, "y");
    char *text = tpc_buf_take(&buf);
    assert_string_equal(text, "y");
    assert_null(buf.data);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_add__keeps_a_nul_after_the_bytes),
        cmocka_unit_test(test_buf_add__nothing_is_nothing),
        cmocka_unit_test(test_buf_addf__grows_over_its_first_try),
        cmocka_unit_test(test_buf_consume__removes_from_the_front),
        cmocka_unit_test(test_buf_reserve__then_added),
        cmocka_unit_test(test_buf_reserve__too_much_is_remembered_until_clear),
        cmocka_unit_test(test_buf_take__is_null_when_failed_or_never_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
