#include "tests/unit/base/unit.h"

#include "base/id.h"

#include <string.h>

#define TEXT "0199c0de-7a11-7c3e-9f00-5a2b1c0d0001"

static struct tpc_id id_of(const char *text)
{
    struct tpc_id id;
    assert_true(tpc_id_parse(text, strlen(text), &id));
    return id;
}

static uint64_t ms_of(const struct tpc_id *id)
{
    uint64_t ms = 0;
    for (int i = 0; i < 6; i++) {
        ms = ms << 8 | id->bytes[i];
    }
    return ms;
}

static void test_id_parse__round_trips(void **state)
{
    (void)state;
    char text[TPC_ID_TEXT];
    struct tpc_id id = id_of(TEXT);
    assert_string_equal(tpc_id_format(&id, text), TEXT);
    struct tpc_id upper = id_of("0199C0DE-7A11-7C3E-9F00-5A2B1C0D0001");
    assert_true(tpc_id_equal(&id, &upper));
}

static void test_id_parse__refuses_everything_else(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "0199c0de7a117c3e9f005a2b1c0d0001",
        "0199c0de-7a11-7c3e-9f00-5a2b1c0d000",
        "0199c0de-7a11-7c3e-9f00-5a2b1c0d00011",
        "0199c0de-7a11-7c3e-9f00_5a2b1c0d0001",
        "0199c0de-7a11-7c3e-9f00-5a2b1c0d000g",
        "0199c0de-7a11-7c3e-9f00-5a2b1c0d000\x10",
        "-199c0de-7a11-7c3e-9f00-5a2b1c0d0001",
        "{199c0de-7a11-7c3e-9f00-5a2b1c0d000}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tpc_id id = {{42}};
        assert_false(tpc_id_parse(bad[i], strlen(bad[i]), &id));
        assert_int_equal(id.bytes[0], 42);
    }
}

static void test_id_parse__needs_no_terminator(void **state)
{
    (void)state;
    struct tpc_id id;
    assert_true(tpc_id_parse(TEXT "zzz", 36, &id));
}

static void test_id_compare__orders_as_bytes(void **state)
{
    (void)state;
    struct tpc_id a = id_of("00000000-0000-0000-0000-000000000001");
    struct tpc_id b = id_of("00000000-0000-0000-0000-000000000100");
    struct tpc_id zero = {0};
    assert_true(tpc_id_compare(&a, &b) < 0);
    assert_true(tpc_id_compare(&b, &a) > 0);
    assert_true(tpc_id_is_zero(&zero));
    assert_false(tpc_id_is_zero(&a));
}

static void test_id_random__is_version_4(void **state)
{
    (void)state;
    struct tpc_id a, b;
    tpc_id_random(&a);
    tpc_id_random(&b);
    assert_int_equal(a.bytes[6] >> 4, 4);
    assert_int_equal(a.bytes[8] >> 6, 2);
    assert_false(tpc_id_equal(&a, &b));
    assert_true(tpc_random_u64() != tpc_random_u64());
}

static void test_id_gen__is_version_7_with_the_time_in_front(void **state)
{
    (void)state;
    struct tpc_id_gen gen = {0};
    struct tpc_id id;
    tpc_id_gen_next(&gen, UINT64_C(0x0199c0de7a11), &id);
    assert_true(ms_of(&id) == UINT64_C(0x0199c0de7a11));
    assert_int_equal(id.bytes[6] >> 4, 7);
    assert_int_equal(id.bytes[8] >> 6, 2);
}

static void test_id_gen__grows_within_one_millisecond_and_over_the_counter(void **state)
{
    (void)state;
    struct tpc_id_gen gen = {0};
    struct tpc_id last, next;
    tpc_id_gen_next(&gen, 1000, &last);
    for (int i = 0; i < 10000; i++) {
        tpc_id_gen_next(&gen, 1000, &next);
        assert_true(tpc_id_compare(&last, &next) < 0);
        last = next;
    }
    assert_in_range(ms_of(&last), 1002, 1010);
}

static void test_id_gen__grows_when_the_clock_is_set_back(void **state)
{
    (void)state;
    struct tpc_id_gen gen = {0};
    struct tpc_id first, second, third;
    tpc_id_gen_next(&gen, 5000, &first);
    tpc_id_gen_next(&gen, 10, &second);
    tpc_id_gen_next(&gen, 5001, &third);
    assert_true(tpc_id_compare(&first, &second) < 0);
    assert_true(tpc_id_compare(&second, &third) < 0);
    assert_true(ms_of(&third) == 5001);
}

static void test_id_gen_after__continues_above_the_log(void **state)
{
    (void)state;
    static const char *const logged[] = {
        "0199c0de-7a11-7000-8000-000000000000", "0199c0de-7a11-7ffe-bfff-ffffffffffff",
        "0199c0de-7a11-7fff-bfff-ffffffffffff", "0199c0de-7a11-4fff-bfff-ffffffffffff",
        "0199c0de-7a11-ffff-bfff-ffffffffffff",
    };
    for (size_t i = 0; i < sizeof logged / sizeof *logged; i++) {
        struct tpc_id_gen gen = {0};
        struct tpc_id id = id_of(logged[i]);
        struct tpc_id older = id_of("00000000-0001-7000-8000-000000000000");
        struct tpc_id next;
        tpc_id_gen_after(&gen, &id);
        tpc_id_gen_after(&gen, &older);
        tpc_id_gen_next(&gen, 1, &next);
        assert_true(tpc_id_compare(&id, &next) < 0);
    }
}

static void test_id_gen_floor__parts_what_was_made_from_what_will_be(void **state)
{
    (void)state;
    struct tpc_id_gen gen = {0};
    struct tpc_id made, floor;
    tpc_id_gen_floor(&gen, &floor);
    for (int i = 0; i < 10000; i++) { /* over the end of the counter too */
        tpc_id_gen_next(&gen, i < 5000 ? 1000 : 10, &made);
        assert_true(tpc_id_compare(&floor, &made) < 0);
        tpc_id_gen_floor(&gen, &floor);
        assert_true(tpc_id_compare(&made, &floor) < 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id_parse__round_trips),
        cmocka_unit_test(test_id_parse__refuses_everything_else),
        cmocka_unit_test(test_id_parse__needs_no_terminator),
        cmocka_unit_test(test_id_compare__orders_as_bytes),
        cmocka_unit_test(test_id_random__is_version_4),
        cmocka_unit_test(test_id_gen__is_version_7_with_the_time_in_front),
        cmocka_unit_test(test_id_gen__grows_within_one_millisecond_and_over_the_counter),
        cmocka_unit_test(test_id_gen__grows_when_the_clock_is_set_back),
        cmocka_unit_test(test_id_gen_after__continues_above_the_log),
        cmocka_unit_test(test_id_gen_floor__parts_what_was_made_from_what_will_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
