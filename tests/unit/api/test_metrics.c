#include "api/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_api_metric__text_is_as_prometheus_reads_it(void **state)
{
    struct tpc_buf out = {0}, labels = {0};
    (void)state;
    api_metric(&out, "assent_up", "gauge", "Whether it runs.");
    api_metric_u64(&out, "assent_up", NULL, UINT64_MAX);
    api_metric_label(&labels, "participant", "a\"b\\c\nd");
    api_metric_label(&labels, "op", "commit");
    api_metric_double(&out, "assent_age_seconds", labels.data, 0.25);
    api_metric_double(&out, "assent_age_seconds", "", INFINITY);
    assert_string_equal(out.data,
                        "# HELP assent_up Whether it runs.\n# TYPE assent_up gauge\n"
                        "assent_up 18446744073709551615\n"
                        "assent_age_seconds{participant=\"a\\\"b\\\\c\\nd\",op=\"commit\"} 0.25\n"
                        "assent_age_seconds +Inf\n");
    tpc_buf_done(&out);
    tpc_buf_done(&labels);
}

static void test_api_histogram__buckets_add_up(void **state)
{
    static const double bounds[] = {0.001, 0.1, 1};
    struct api_histogram histogram = {.bounds = bounds, .bound_count = 3};
    struct tpc_buf out = {0};
    (void)state;
    api_histogram_add(&histogram, 0.001);
    api_histogram_add(&histogram, 0.0625);
    api_histogram_add(&histogram, 0.5);
    api_histogram_add(&histogram, 50);
    api_histogram_write(&out, "x_seconds", NULL, &histogram);
    assert_string_equal(out.data, "x_seconds_bucket{le=\"0.001\"} 1\n"
                                  "x_seconds_bucket{le=\"0.1\"} 2\n"
                                  "x_seconds_bucket{le=\"1\"} 3\n"
                                  "x_seconds_bucket{le=\"+Inf\"} 4\n"
                                  "x_seconds_sum 50.5635\n"
                                  "x_seconds_count 4\n");
    tpc_buf_clear(&out);
    api_histogram_write(&out, "x", "a=\"b\"", &(struct api_histogram){.bounds = bounds});
    assert_string_equal(out.data, "x_bucket{a=\"b\",le=\"+Inf\"} 0\n"
                                  "x_sum{a=\"b\"} 0\n"
                                  "x_count{a=\"b\"} 0\n");
    tpc_buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_metric__text_is_as_prometheus_reads_it),
        cmocka_unit_test(test_api_histogram__buckets_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
