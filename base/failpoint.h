/* Named points at which a test makes the process die, fail, wait or hang.
 *
 * A daemon declares its points as one array and registers it at start; library layers are handed
 * pointers to points in their options (NULL: none). Unarmed, a point costs one load. */
#ifndef ASSENT_BASE_FAILPOINT_H
#define ASSENT_BASE_FAILPOINT_H

#include "base/rc.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum tpc_fp_action {
    TPC_FP_OFF,
    TPC_FP_KILL,
    TPC_FP_ERROR,
    TPC_FP_DELAY,
    TPC_FP_HANG,
    TPC_FP_TRACE
};

struct tpc_failpoint {
    const char *name;  /* "coord.decision.forced"; initialise only this */
    atomic_int action; /* enum tpc_fp_action */
    atomic_int left;   /* times still to act; -1: without end */
    _Atomic uint32_t delay_ms;
    atomic_bool told; /* that it acted, on the log */
};

/* Register a daemon's @points (static storage, call before arming). */
void tpc_fp_register(struct tpc_failpoint *points, size_t count);

/* Arm from "name=action;name=3*action": actions kill, error, delay(MS), hang, trace, off. A name
 * may be `*` for all; later parts win. Every action logs `evt=failpoint.hit name=… action=…` as
 * a warning the first time, before it acts; `trace` does nothing else. TPC_EINVAL names the
 * unknown point or action, and then nothing is armed. Any thread, though meant for the start. */
TPC_NODISCARD enum tpc_rc tpc_fp_arm(const char *spec, struct tpc_err *reterr);

/* Print the registered names on stdout, one a line, sorted. */
void tpc_fp_list(void);

bool tpc_fp_act(struct tpc_failpoint *point);

/* True when the operation that follows is to fail as the system would report it. Does not return
 * for kill (SIGKILL to itself) and hang; sleeps for delay. @point may be NULL. Any thread. */
static inline bool tpc_fp_hit(struct tpc_failpoint *point)
{
    return point != NULL &&
           atomic_load_explicit(&point->action, memory_order_relaxed) != TPC_FP_OFF &&
           tpc_fp_act(point);
}

#endif
