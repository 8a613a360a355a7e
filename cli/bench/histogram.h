/* Latencies in buckets that grow with them (pure).
 *
 * The idea is HdrHistogram's (hdrhistogram.org): 64 buckets for each doubling, so that any value is
 * known to better than 1.6 % in memory that does not depend on how many there are. */
#ifndef ASSENT_CLI_BENCH_HISTOGRAM_H
#define ASSENT_CLI_BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
    CLI_HISTOGRAM_HALF_BITS = 6,
    CLI_HISTOGRAM_BITS_MAX = 36, /* 2^36 µs are 19 hours; longer counts as that */
    CLI_HISTOGRAM_BUCKETS = (CLI_HISTOGRAM_BITS_MAX - CLI_HISTOGRAM_HALF_BITS + 1)
                            << CLI_HISTOGRAM_HALF_BITS,
};

/* Zero-initialise. */
struct cli_histogram {
    uint64_t count, sum_us, max_us;
    uint64_t buckets[CLI_HISTOGRAM_BUCKETS];
};

void cli_histogram_add(struct cli_histogram *histogram, uint64_t us);
/* The least value that @permille of all do not exceed, rounded up to its bucket's end but never
 * above the greatest. 0 when there are none. */
uint64_t cli_histogram_quantile(const struct cli_histogram *histogram, unsigned permille);
double cli_histogram_mean(const struct cli_histogram *histogram);
/* Forget everything. */
void cli_histogram_reset(struct cli_histogram *histogram);

#endif
