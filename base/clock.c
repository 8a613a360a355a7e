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

/* Without the milliseconds. */
static void format_second(uint64_t second, char out[TPC_TIME_TEXT])
{
    time_t seconds = (time_t)second;
    struct tm tm;
    /* Five-digit years do not fit RFC 3339, and no caller has one but by a damaged record. */
    if (gmtime_r(&seconds, &tm) == NULL || tm.tm_year > 9999 - 1900) {
        memcpy(out, "9999-12-31T23:59:59.999Z", sizeof "9999-12-31T23:59:59.999Z");
        return;
    }
    strftime(out, TPC_TIME_TEXT, "%Y-%m-%dT%H:%M:%S.000Z", &tm);
}

/* Most are of the same second as the one before, and only their milliseconds differ. */
char *tpc_time_format(uint64_t wall_us, char out[TPC_TIME_TEXT])
{
    enum { MS_AT = sizeof "9999-12-31T23:59:59." - 1 };
    static _Thread_local uint64_t last_second = UINT64_MAX;
    static _Thread_local char last[TPC_TIME_TEXT];
    uint64_t second = wall_us / 1000000;
    unsigned ms = (unsigned)(wall_us / 1000 % 1000);
    if (second != last_second) {
        format_second(second, last);
        last_second = second;
    }
    memcpy(out, last, TPC_TIME_TEXT);
    if (out[MS_AT] == '0') { /* else it is the end of the calendar */
        out[MS_AT] = (char)('0' + ms / 100);
        out[MS_AT + 1] = (char)('0' + ms / 10 % 10);
        out[MS_AT + 2] = (char)('0' + ms % 10);
    }
    return out;
}
