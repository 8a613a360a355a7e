/* Random processes are killed at random moments under load, sometimes several, and come back after
 * a while. At the end all invariants hold. */
#include "tests/crash/options.h"
#include "tests/support/check.h"
#include "tests/support/load.h"

#include <stdio.h>
#include <time.h>

enum { CLIENTS = 16, LIFE_MS_MAX = 250, DEATH_MS_MAX = 60, SETTLE_MS = 20000 };

static const char *const agent_flags[] = {"--ask-first", "100ms", "--ask-max", "1s", NULL};

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* A moment that depends on nothing but the seed: what it finds is up to the processes. */
static void let_pass(uint64_t ms)
{
    struct timespec pause = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)nanosleep(&pause, NULL);
}

/* One process, at times a second one, at times while it is starting. */
static void kill_some(struct sup_world *world, uint64_t *random)
{
    unsigned processes = 1 + world->options.agents;
    unsigned victims = next_random(random) % 4 == 0 ? 2 : 1;
    for (unsigned i = 0; i < victims; i++) {
        struct sup_daemon *victim =
            sup_world_daemon(world, (unsigned)(next_random(random) % processes));
        sup_daemon_kill(victim);
        if (next_random(random) % 4 == 0) {
            sup_daemon_launch(victim, NULL);
            let_pass(next_random(random) % DEATH_MS_MAX);
            sup_daemon_kill(victim);
        }
    }
    let_pass(next_random(random) % DEATH_MS_MAX);
}

static void run(struct sup_world *world, const struct crash_options *options,
                struct sup_history *history)
{
    uint64_t random = options->seed * 2654435761u + 1;
    struct sup_load_options load = {.clients = CLIENTS,
                                    .seed = options->seed,
                                    .keyed_percent = 30,
                                    .within_percent = 20,
                                    .broke_percent = 5,
                                    .faults = true,
                                    .timeout_ms = 3000};
    struct sup_load *clients = sup_load_begin(world, &load, history);
    for (uint64_t i = 0; i < options->count; i++) {
        let_pass(next_random(&random) % LIFE_MS_MAX);
        kill_some(world, &random);
        sup_world_revive(world);
        if ((i + 1) % 10 == 0) {
            (void)printf("%llu of %llu kills\n", (unsigned long long)i + 1,
                         (unsigned long long)options->count);
            (void)fflush(stdout);
        }
    }
    sup_load_end(clients, SETTLE_MS);
}

int main(int argc, char **argv)
{
    struct crash_options options = {.count = 40};
    struct sup_history history = {0};
    struct sup_report report = {0};
    struct sup_world world;
    crash_options_parse(&options, argc, argv);
    sup_world_init(&world, &(struct sup_world_options){
                               .agents = 3, .accounts = 50, .agent_flags = agent_flags});
    sup_world_start(&world);
    run(&world, &options, &history);
    (void)printf("%zu transfers: %zu committed, %zu aborted, %zu turned away, %zu unknown\n",
                 history.count, sup_history_told(&history, SUP_TOLD_COMMITTED),
                 sup_history_told(&history, SUP_TOLD_ABORTED),
                 sup_history_told(&history, SUP_TOLD_NOT_STARTED),
                 sup_history_told(&history, SUP_TOLD_UNKNOWN));
    sup_check_all(&world, &history, NULL, &report);
    if (sup_history_told(&history, SUP_TOLD_COMMITTED) == 0) {
        sup_object(&report, "nothing was committed: the run shows nothing");
    }
    if (report.count > 0) {
        (void)fprintf(stderr, "run again with: --seed %llu --count %llu\n",
                      (unsigned long long)options.seed, (unsigned long long)options.count);
    }
    sup_world_done(&world, options.keep || report.count > 0);
    sup_history_done(&history);
    return report.count > 0 ? 1 : 0;
}
