/* Time and what happens in it: a queue of events, ordered by time and then by
 * number. */
#include "tests/sim/sim.h"

#include "base/tpc_assert.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim_world sim;

uint64_t sim_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t sim_between(uint64_t *state, uint64_t low, uint64_t high)
{
    return low + sim_random(state) % (high - low);
}

uint64_t sim_hash(uint64_t a, uint64_t b)
{
    uint64_t state = a ^ (b + UINT64_C(0x632be59bd9b4e019)) * UINT64_C(0xff51afd7ed558ccd);
    return sim_random(&state);
}

uint64_t sim_latency(uint64_t *state, uint64_t usual_us)
{
    uint64_t dice = sim_random(state);
    uint64_t us = usual_us / 2 + dice % (usual_us + 1);
    return dice >> 59 == 0 ? us * 20 : us; /* one in 32 is an outlier */
}

void sim_violation(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    sim.owner = &sim.memory;
    sim.current = NULL;
    sim.result->failed = true;
    (void)vsnprintf(sim.result->why, sizeof sim.result->why, format, args);
    va_end(args);
    sim_trace("VIOLATION", "%s", sim.result->why);
    longjmp(sim.failed, 1);
}

/* ---- The queue ---- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->number < b->number;
}

static void push(struct sim_event event)
{
    if (sim.heap_count == sim.heap_capacity) {
        struct sim_owner *owner = sim_own(&sim.memory);
        sim.heap_capacity = sim.heap_capacity > 0 ? 2 * sim.heap_capacity : 1024;
        sim.heap = tpc_must_realloc(sim.heap, sim.heap_capacity * sizeof *sim.heap);
        (void)sim_own(owner);
    }
    size_t at = sim.heap_count++;
    while (at > 0 && before(&event, &sim.heap[(at - 1) / 2])) {
        sim.heap[at] = sim.heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sim.heap[at] = event;
}

static struct sim_event pop(void)
{
    struct sim_event first = sim.heap[0], last = sim.heap[--sim.heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < sim.heap_count && before(&sim.heap[child + 1], &sim.heap[child])) {
            child++;
        }
        if (child >= sim.heap_count || before(&last, &sim.heap[child])) {
            break;
        }
        sim.heap[at] = sim.heap[child];
        at = child;
    }
    sim.heap[at] = last;
    return first;
}

static void schedule(uint64_t at_us, struct sim_node *node, void (*run)(void *arg), void *arg,
                     bool take_arg)
{
    push((struct sim_event){.at_us = at_us > sim.now_us ? at_us : sim.now_us,
                            .number = ++sim.event_number,
                            .node = node,
                            .life = node != NULL ? node->life : 0,
                            .run = run,
                            .arg = arg,
                            .take_arg = take_arg});
}

void sim_at(uint64_t at_us, struct sim_node *node, void (*run)(void *arg), void *arg)
{
    schedule(at_us, node, run, arg, false);
}

void sim_at_take(uint64_t at_us, struct sim_node *node, void (*run)(void *arg), void *take_arg)
{
    schedule(at_us, node, run, take_arg, true);
}

/* ---- Events of nodes ---- */

void sim_enter(struct sim_node *node, void (*run)(void *arg), void *arg)
{
    TPC_ASSERT(sim.current == NULL);
    sim.current = node;
    sim.owner = &node->memory;
    node->end_why = NULL;
    if (setjmp(node->end) == 0) {
        sim_crash_point(SIM_CRASH);
        run(arg);
    }
    sim.current = NULL;
    sim.owner = &sim.memory;
    if (node->end_why != NULL) {
        sim_node_crash(node, node->end_why, 0);
    } else if (node->up && sim_loop_stopped(node)) {
        sim_node_stop_gracefully(node);
    } else if (node->up) {
        sim_disk_after(node);
        sim_loop_after(node);
    }
}

static void dispatch(const struct sim_event *event)
{
    struct sim_node *node = event->node;
    if (node == NULL) {
        event->run(event->arg);
    } else if (node->life == event->life) {
        if (node->paused_until_us > sim.now_us) {
            struct sim_event later = *event;
            later.at_us = node->paused_until_us; /* its number keeps its place among
                                                    the others */
            push(later);
            return;
        }
        sim_enter(node, event->run, event->arg);
    }
    if (event->take_arg) {
        free(event->arg);
    }
}

void sim_run_until(uint64_t until_us)
{
    while (sim.heap_count > 0 && sim.heap[0].at_us <= until_us) {
        struct sim_event event = pop();
        sim.now_us = event.at_us;
        sim.result->events++;
        dispatch(&event);
    }
    sim.now_us = until_us;
}
