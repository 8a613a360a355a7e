#include "base/timers.h"

#include "base/memory.h"
#include "base/tpc_assert.h"

#include <stdlib.h>

enum { TIMERS_FIRST = 64 };

void tpc_timers_done(struct tpc_timers *timers)
{
    for (size_t i = 0; i < timers->count; i++) {
        timers->heap[i]->slot = 0;
    }
    free(timers->heap);
    *timers = (struct tpc_timers){0};
}

enum tpc_rc tpc_timers_reserve(struct tpc_timers *timers, size_t count)
{
    if (count <= timers->capacity) {
        return TPC_OK;
    }
    struct tpc_timer **heap = reallocarray(timers->heap, count, sizeof(struct tpc_timer *));
    if (heap == NULL) {
        return TPC_ENOMEM;
    }
    timers->heap = heap;
    timers->capacity = count;
    return TPC_OK;
}

static void put(struct tpc_timers *timers, size_t index, struct tpc_timer *timer)
{
    timers->heap[index] = timer;
    timer->slot = index + 1;
}

static void sift_up(struct tpc_timers *timers, size_t index)
{
    struct tpc_timer *timer = timers->heap[index];
    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (timers->heap[parent]->due_ms <= timer->due_ms) {
            break;
        }
        put(timers, index, timers->heap[parent]);
        index = parent;
    }
    put(timers, index, timer);
}

static void sift_down(struct tpc_timers *timers, size_t index)
{
    struct tpc_timer *timer = timers->heap[index];
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= timers->count) {
            break;
        }
        if (child + 1 < timers->count &&
            timers->heap[child + 1]->due_ms < timers->heap[child]->due_ms) {
            child++;
        }
        if (timer->due_ms <= timers->heap[child]->due_ms) {
            break;
        }
        put(timers, index, timers->heap[child]);
        index = child;
    }
    put(timers, index, timer);
}

void tpc_timer_arm(struct tpc_timers *timers, struct tpc_timer *timer, uint64_t due_ms)
{
    timer->due_ms = due_ms;
    if (timer->slot == 0) {
        if (timers->count == timers->capacity) {
            size_t capacity = timers->capacity > 0 ? 2 * timers->capacity : TIMERS_FIRST;
            if (tpc_timers_reserve(timers, capacity) != TPC_OK) {
                tpc_no_memory();
            }
        }
        put(timers, timers->count++, timer);
    }
    TPC_ASSERT(timers->heap[timer->slot - 1] == timer);
    sift_up(timers, timer->slot - 1);
    sift_down(timers, timer->slot - 1);
}

void tpc_timer_cancel(struct tpc_timers *timers, struct tpc_timer *timer)
{
    if (timer->slot == 0) {
        return;
    }
    size_t index = timer->slot - 1;
    TPC_ASSERT(index < timers->count && timers->heap[index] == timer);
    timer->slot = 0;
    struct tpc_timer *last = timers->heap[--timers->count];
    if (last != timer) {
        put(timers, index, last);
        sift_up(timers, index);
        sift_down(timers, last->slot - 1);
    }
}

void tpc_timers_run(struct tpc_timers *timers, uint64_t now_ms)
{
    for (size_t left = timers->count; left > 0; left--) {
        if (tpc_timers_next(timers) > now_ms || timers->count == 0) {
            return;
        }
        struct tpc_timer *timer = timers->heap[0];
        tpc_timer_cancel(timers, timer);
        timer->fire(timer);
    }
}

uint64_t tpc_timers_next(const struct tpc_timers *timers)
{
    return timers->count > 0 ? timers->heap[0]->due_ms : UINT64_MAX;
}
