#include "cli/bench/histogram.h"

#include "base/tpc_assert.h"

#include <string.h>

enum { HALF = 1 << CLI_HISTOGRAM_HALF_BITS };

/* Below 2 * HALF each value has a bucket of its own. Above, a value's highest bit says in which
 * doubling it lies, and the HALF_BITS bits after that in which bucket of it. */
static unsigned bucket_of(uint64_t us)
{
    unsigned highest = 63U - (unsigned)__builtin_clzll(us | 1);
    if (highest <= CLI_HISTOGRAM_HALF_BITS) {
        return (unsigned)us;
    }
    unsigned shift = highest - CLI_HISTOGRAM_HALF_BITS;
    return (shift << CLI_HISTOGRAM_HALF_BITS) + (unsigned)(us >> shift);
}

/* The greatest value that falls into it. */
static uint64_t end_of(unsigned bucket)
{
    if (bucket < 2 * HALF) {
        return bucket;
    }
    unsigned shift = (bucket >> CLI_HISTOGRAM_HALF_BITS) - 1;
    uint64_t first = (uint64_t)(bucket - (shift << CLI_HISTOGRAM_HALF_BITS)) << shift;
    return first + ((uint64_t)1 << shift) - 1;
}

void cli_histogram_add(struct cli_histogram *histogram, uint64_t us)
{
    const uint64_t most = ((uint64_t)1 << CLI_HISTOGRAM_BITS_MAX) - 1;
    us = us < most ? us : most;
    histogram->count++;
    histogram->sum_us += us;
    histogram->max_us = us > histogram->max_us ? us : histogram->max_us;
    histogram->buckets[bucket_of(us)]++;
}

uint64_t cli_histogram_quantile(const struct cli_histogram *histogram, unsigned permille)
{
    TPC_ASSERT(permille <= 1000);
    uint64_t wanted = (histogram->count * permille + 999) / 1000, seen = 0;
    wanted = wanted > 0 ? wanted : 1;
    for (unsigned i = 0; i < CLI_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= wanted) {
            uint64_t end = end_of(i);
            return end < histogram->max_us ? end : histogram->max_us;
        }
    }
    return 0;
}

double cli_histogram_mean(const struct cli_histogram *histogram)
{
    return histogram->count > 0 ? (double)histogram->sum_us / (double)histogram->count : 0;
}

void cli_histogram_reset(struct cli_histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
}
