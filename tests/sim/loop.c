/* In place of api/loop.c: the turns of a daemon's loop are events. After
 * whatever ran on it the loop turns: a moment later, so that more may gather.
 */
#include "tests/sim/sim.h"

#include "api/loop.h"
#include "base/clock.h"

#include <signal.h>
#include <stdlib.h>

enum { TURN_US = 60, WAKE_US = 20, WORK_US = 3000, LATE_US = 5000000 };

struct api_loop {
    struct api_loop_options options;
    struct sim_node *node;
    bool stopped, wake_due;
    bool turn_due;       /* it is to turn before it sleeps */
    bool turning;        /* it has just done so */
    uint64_t tick_at_us; /* UINT64_MAX: none is to come */
    void (*work)(void *arg);
    void (*worked)(void *arg);
    void *work_arg;
};

enum tpc_rc api_loop_new(const struct api_loop_options *options, struct api_loop **ret_loop,
                         struct tpc_err *reterr)
{
    struct api_loop *loop = tpc_must_alloc(sizeof *loop);
    (void)reterr;
    loop->options = *options;
    loop->node = sim.current;
    loop->tick_at_us = UINT64_MAX;
    sim.current->loop = loop;
    *ret_loop = loop;
    return TPC_OK;
}

struct uv_loop_s *api_loop_uv(struct api_loop *loop)
{
    return (struct uv_loop_s *)(void *)loop; /* nobody looks into it */
}

void api_loop_run(struct api_loop *loop)
{
    sim_violation("%s ran its loop by itself", loop->node->name);
}

void api_loop_stop(struct api_loop *loop)
{
    loop->stopped = true;
}

void api_loop_free(struct api_loop *loop)
{
    loop->node->loop = NULL;
    free(loop);
}

bool sim_loop_stopped(const struct sim_node *node)
{
    return node->loop != NULL && node->loop->stopped;
}

static void on_wake(void *arg)
{
    struct api_loop *loop = ((struct sim_node *)arg)->loop;
    loop->wake_due = false;
    loop->options.on_wake(loop->options.arg);
}

void api_loop_wake(struct api_loop *loop)
{
    if (!loop->wake_due) {
        loop->wake_due = true;
        sim_at(sim.now_us + sim_latency(&loop->node->random, WAKE_US), loop->node, on_wake,
               loop->node);
    }
}

/* ---- Timers ---- */

static void on_tick(void *arg)
{
    struct api_loop *loop = ((struct sim_node *)arg)->loop;
    loop->tick_at_us = UINT64_MAX;
    tpc_timers_run(loop->options.timers, tpc_clock_mono_ms());
}

static void tick_at(struct api_loop *loop, uint64_t due_ms)
{
    uint64_t at_us = due_ms * 1000 > SIM_MONO_START_US ? due_ms * 1000 - SIM_MONO_START_US : 0;
    at_us = at_us > sim.now_us ? at_us : sim.now_us + 1;
    if (at_us >= loop->tick_at_us) {
        return;
    }
    loop->tick_at_us = at_us;
    if (sim_fault(SIM_TIMER_LATE, loop->node->index)) {
        uint64_t late_us = sim_between(&loop->node->random, 1000, LATE_US);
        sim_trace(loop->node->name, "its next timer is late by %u ms", (unsigned)(late_us / 1000));
        at_us += late_us;
    }
    sim_at(at_us, loop->node, on_tick, loop->node);
}

static void on_turn(void *arg)
{
    struct api_loop *loop = ((struct sim_node *)arg)->loop;
    loop->turn_due = false;
    uint64_t look_ms = loop->options.before_sleep(loop->options.arg);
    uint64_t next_ms = tpc_timers_next(loop->options.timers);
    next_ms = look_ms < next_ms ? look_ms : next_ms;
    if (next_ms != UINT64_MAX) {
        tick_at(loop, next_ms);
    }
    loop->turning = true;
}

void sim_loop_after(struct sim_node *node)
{
    struct api_loop *loop = node->loop;
    bool slept = loop->turning;
    loop->turning = false;
    if (slept || loop->turn_due) {
        return;
    }
    loop->turn_due = true;
    sim_at(sim.now_us + sim_latency(&node->random, TURN_US), node, on_turn, node);
}

/* ---- Signals ---- */

static void on_signal(void *arg)
{
    struct sim_node *node = arg;
    if (!node->draining) {
        node->draining = true;
        node->loop->options.on_signal(node->loop->options.arg, SIGTERM);
    }
}

void sim_loop_signal(struct sim_node *node)
{
    sim_at(sim.now_us, node, on_signal, node);
}

/* ---- The thread of the start ---- */

static void on_worked(void *arg)
{
    struct api_loop *loop = ((struct sim_node *)arg)->loop;
    loop->worked(loop->work_arg);
}

static void on_work(void *arg)
{
    struct sim_node *node = arg;
    struct api_loop *loop = node->loop;
    loop->work(loop->work_arg);
    sim_at(sim.now_us + sim_latency(&node->random, WORK_US), node, on_worked, node);
}

enum tpc_rc api_loop_work(struct api_loop *loop, void (*work)(void *arg), void (*done)(void *arg),
                          void *arg, struct tpc_err *reterr)
{
    (void)reterr;
    loop->work = work;
    loop->worked = done;
    loop->work_arg = arg;
    sim_at(sim.now_us + sim_latency(&loop->node->random, WORK_US), loop->node, on_work, loop->node);
    return TPC_OK;
}
