#include "base/clock.h"

#include "base/tpc_assert.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t now_us(clockid_t clock)
{
    struct timespec ts;
    TPC_ASSERT(clock_gettime(clock, &ts) == 0);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t tpc_clock_mono_us(void)
{
    return now_us(CLOCK_MONOTONIC);
}

uint64_t tpc_clock_mono_ms(void)
{
    return now_us(CLOCK_MONOTONIC) / 1000;
}

uint64_t tpc_clock_wall_us(void)
{
    return now_us(CLOCK_REALTIME);
}

char *tpc_time_format(uint64_t wall_us, char out[TPC_TIME_TEXT])
{
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    char day[TPC_TIME_TEXT - 5];
    /* Five-digit years do not fit RFC 3339, and no caller has one but by a damaged record. */
    if (gmtime_r(&seconds, &tm) == NULL || tm.tm_year > 9999 - 1900) {
        memcpy(out, "9999-12-31T23:59:59.999Z", sizeof "9999-12-31T23:59:59.999Z");
        return out;
    }
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, TPC_TIME_TEXT, "%s.%03uZ", day, (unsigned)(wall_us / 1000 % 1000));
    return out;
}
