#include "cli/bench/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct cli_histogram histogram;

static int reset(void **state)
{
    (void)state;
    cli_histogram_reset(&histogram);
    return 0;
}

static void test_cli_histogram__of_nothing_says_0(void **state)
{
    (void)state;
    assert_int_equal(cli_histogram_quantile(&histogram, 500), 0);
    assert_int_equal(cli_histogram_quantile(&histogram, 1000), 0);
    assert_true(cli_histogram_mean(&histogram) == 0);
}

static void test_cli_histogram__is_exact_for_small_values(void **state)
{
    (void)state;
    for (uint64_t us = 1; us <= 100; us++) {
        cli_histogram_add(&histogram, us);
    }
    assert_int_equal(cli_histogram_quantile(&histogram, 0), 1);
    assert_int_equal(cli_histogram_quantile(&histogram, 10), 1);
    assert_int_equal(cli_histogram_quantile(&histogram, 500), 50);
    assert_int_equal(cli_histogram_quantile(&histogram, 501), 51);
    assert_int_equal(cli_histogram_quantile(&histogram, 990), 99);
    assert_int_equal(cli_histogram_quantile(&histogram, 1000), 100);
    assert_true(cli_histogram_mean(&histogram) == 50.5);
}

/* Every value by itself, at and around each power of two: never below it, at most 1/64 above. */
static void test_cli_histogram__is_within_a_64th_everywhere(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < CLI_HISTOGRAM_BITS_MAX; bit++) {
        for (int around = -1; around <= 1; around++) {
            uint64_t us = ((uint64_t)1 << bit) + (uint64_t)around;
            cli_histogram_reset(&histogram);
            cli_histogram_add(&histogram, us);
            /* Another one far above, so that the greatest does not help. */
            cli_histogram_add(&histogram, ((uint64_t)1 << CLI_HISTOGRAM_BITS_MAX) - 1);
            uint64_t told = cli_histogram_quantile(&histogram, 500);
            assert_true(told >= us);
            assert_true(told - us <= us / 64);
        }
    }
}

static void test_cli_histogram__keeps_what_is_too_long_as_the_longest(void **state)
{
    (void)state;
    cli_histogram_add(&histogram, UINT64_MAX);
    assert_int_equal(histogram.max_us, ((uint64_t)1 << CLI_HISTOGRAM_BITS_MAX) - 1);
    assert_int_equal(cli_histogram_quantile(&histogram, 500), histogram.max_us);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Against the definition, on a sorted list. */
static void test_cli_histogram__agrees_with_a_sorted_list(void **state)
{
    enum { COUNT = 10000 };
    static uint64_t values[COUNT];
    uint64_t random = 1;
    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        values[i] = (random >> 40) >> (i % 16);
        cli_histogram_add(&histogram, values[i]);
    }
    qsort(values, COUNT, sizeof values[0], compare);
    for (unsigned permille = 1; permille <= 1000; permille++) {
        uint64_t exact = values[(COUNT * permille + 999) / 1000 - 1];
        uint64_t told = cli_histogram_quantile(&histogram, permille);
        assert_true(told >= exact && told - exact <= exact / 64);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_cli_histogram__of_nothing_says_0, reset),
        cmocka_unit_test_setup(test_cli_histogram__is_exact_for_small_values, reset),
        cmocka_unit_test_setup(test_cli_histogram__is_within_a_64th_everywhere, reset),
        cmocka_unit_test_setup(test_cli_histogram__keeps_what_is_too_long_as_the_longest, reset),
        cmocka_unit_test_setup(test_cli_histogram__agrees_with_a_sorted_list, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
