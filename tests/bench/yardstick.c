#include "tests/bench/yardstick.h"

#include "api/json.h"
#include "base/clock.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

void yardstick_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    exit(1);
}

unsigned yardstick_number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || value < 1 || value > 100000000) {
        yardstick_die("%s is no number from 1 to 100000000", text);
    }
    return (unsigned)value;
}

static uint64_t cpu_us(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

void yardstick_begin(struct yardstick *yardstick, unsigned warm_up_ms, unsigned run_ms)
{
    *yardstick = (struct yardstick){0};
    yardstick->from_us = tpc_clock_mono_us() + warm_up_ms * UINT64_C(1000);
    yardstick->to_us = yardstick->from_us + run_ms * UINT64_C(1000);
}

void yardstick_commit(struct yardstick *yardstick, uint64_t began_us)
{
    uint64_t now_us = tpc_clock_mono_us();
    if (now_us >= yardstick->from_us && now_us < yardstick->to_us) {
        if (yardstick->committed == 0) {
            yardstick->cpu_from_us = cpu_us();
        }
        yardstick->committed++;
        cli_histogram_add(&yardstick->latency, now_us - began_us);
    }
}

void yardstick_print(const struct yardstick *yardstick)
{
    static const struct {
        const char *name;
        unsigned permille;
    } quantiles[] = {{"p50", 500}, {"p95", 950}, {"p99", 990}, {"max", 1000}};
    struct tpc_buf out = {0};
    double seconds = (double)(yardstick->to_us - yardstick->from_us) / 1e6;
    double committed = yardstick->committed > 0 ? (double)yardstick->committed : 1;
    api_jw_open(&out, '{');
    api_jw_key(&out, "committed_per_s");
    api_jw_double(&out, (double)yardstick->committed / seconds);
    api_jw_key(&out, "latency_ms");
    api_jw_open(&out, '{');
    for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++) {
        api_jw_key(&out, quantiles[i].name);
        api_jw_double(
            &out, (double)cli_histogram_quantile(&yardstick->latency, quantiles[i].permille) / 1e3);
    }
    api_jw_close(&out, '}');
    api_jw_key(&out, "aborted");
    api_jw_u64(&out, yardstick->aborted);
    api_jw_key(&out, "cpu_us");
    api_jw_double(&out, (double)(cpu_us() - yardstick->cpu_from_us) / committed);
    api_jw_close(&out, '}');
    puts(out.data);
    tpc_buf_done(&out);
}
