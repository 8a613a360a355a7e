/* A queue of timers as an intrusive binary heap: no allocation for each timer, and time is an
 * argument, so that a simulator can run it. One thread. */
#ifndef ASSENT_BASE_TIMERS_H
#define ASSENT_BASE_TIMERS_H

#include "base/rc.h"

#include <stddef.h>
#include <stdint.h>

struct tpc_timer {
    uint64_t due_ms;
    size_t slot; /* 1 + index in the heap; 0: not armed */
    void (*fire)(struct tpc_timer *timer);
};

struct tpc_timers {
    struct tpc_timer **heap;
    size_t count, capacity;
};

void tpc_timers_done(struct tpc_timers *timers);
/* Arm or move @timer. The heap grows by doubling; out of memory ends the process,
 * unless tpc_timers_reserve has made room before. */
void tpc_timer_arm(struct tpc_timers *timers, struct tpc_timer *timer, uint64_t due_ms);
void tpc_timer_cancel(struct tpc_timers *timers, struct tpc_timer *timer); /* no-op when unarmed */
TPC_NODISCARD enum tpc_rc tpc_timers_reserve(struct tpc_timers *timers, size_t count);
/* Fire all that are due at @now_ms (each is unarmed first, and may be armed again, or cancel
 * others). Fires at most as many as were armed at the start, so that one which arms itself in the
 * past cannot hold up the loop: tpc_timers_next then still says a time that is due. */
void tpc_timers_run(struct tpc_timers *timers, uint64_t now_ms);
/* When the next is due; UINT64_MAX when none. */
uint64_t tpc_timers_next(const struct tpc_timers *timers);

#endif
