/* Time. Nothing that is correct depends on it: clocks only say when to try again. */
#ifndef ASSENT_BASE_CLOCK_H
#define ASSENT_BASE_CLOCK_H

#include <stdint.h>

uint64_t tpc_clock_mono_us(void); /* CLOCK_MONOTONIC */
uint64_t tpc_clock_mono_ms(void);
uint64_t tpc_clock_wall_us(void); /* since 1970, CLOCK_REALTIME */

#define TPC_TIME_TEXT 32
/* "2026-11-20T10:00:00.123Z"; returns @out. */
char *tpc_time_format(uint64_t wall_us, char out[TPC_TIME_TEXT]);

#endif
