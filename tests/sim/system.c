/* What the daemons ask of the system, answered by the world (ld --wrap): the
 * clocks, randomness, the end of the process, and assertions, which are
 * violations here. */
#include "tests/sim/sim.h"

#include "base/memory.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

int __real_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);
ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags);
_Noreturn void __wrap__exit(int status);
_Noreturn void __wrap_tpc_assert_fail(const char *expression, const char *file, int line,
                                      const char *function);

/* 2026-01-01 */
#define WALL_START_US UINT64_C(1767225600000000)

uint64_t sim_real_us(void)
{
    struct timespec ts;
    (void)__real_clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
    uint64_t us = SIM_MONO_START_US + sim.now_us;
    if (clock == CLOCK_REALTIME) {
        int64_t offset_us = sim.current != NULL ? sim.current->wall_offset_us : 0;
        us = (uint64_t)((int64_t)(WALL_START_US + sim.now_us) + offset_us);
    }
    *out =
        (struct timespec){.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
    return 0;
}

ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags)
{
    uint64_t *state = sim.current != NULL ? &sim.current->random : &sim.random;
    unsigned char *bytes = out;
    (void)flags;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)sim_random(state);
    }
    return (ssize_t)size;
}

/* A daemon ends itself when a force failed, or when its drain is over: else
 * there was no reason. */
void __wrap__exit(int status)
{
    const struct sim_node *node = sim.current;
    if (node == NULL) {
        sim_violation("the simulator ended with status %d", status);
    }
    if (status == TPC_EXIT_HALT && !node->disk.poisoned) {
        sim_violation("%s halted, and no force had failed", node->name);
    }
    if (status != TPC_EXIT_HALT && !node->draining) {
        sim_violation("%s ended with status %d, and nobody had asked it to", node->name, status);
    }
    sim_end_life(status == TPC_EXIT_HALT ? "halt" : "drain over");
}

void __wrap_tpc_assert_fail(const char *expression, const char *file, int line,
                            const char *function)
{
    sim_violation("assertion failed at %s: %s, in %s at %s:%d",
                  sim.current != NULL ? sim.current->name : "the simulator", expression, function,
                  file, line);
}
