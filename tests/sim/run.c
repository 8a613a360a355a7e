/* One run: work under faults, healing, the checks, a restart of all, the checks
 * again. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    REST_EVERY_US = 500000,
    FORGET_MORE_US = 20000000,
    REST_US = 300000000, /* after healing, all is at rest by then at the latest */
};

/* ---- What the seed says ---- */

/* Each kind of fault is off in some seeds, rare in some, common in some: a
 * world in which all of them happen all the time never gets far. One seed in
 * sixteen has none. */
static void choose_rates(const struct sim_config *config)
{
    static const uint32_t rates[] = {
#define SIM_FAULT_RATE(name, text, rate) rate,
        SIM_FAULT_LIST(SIM_FAULT_RATE)
#undef SIM_FAULT_RATE
    };
    static const uint32_t times[] = {0, 0, 0, 1, 1, 4, 4, 4, 4, 16}; /* quarters */
    bool calm = sim_hash(config->seed, 11) % 16 == 0;
    sim.hand_seed = sim_hash(config->seed, 12) % 5 == 0;
    for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
        uint32_t rate = rates[i] / 4 * times[sim_hash(config->seed, 100 + i) % 10];
        bool by_hand = i == SIM_OPERATOR || i == SIM_DB_FOREIGN;
        sim.rate[i] = calm || (by_hand && !sim.hand_seed) ? 0 : rate;
    }
}

/* Of the second time only what a single daemon can meet: its past is erased
 * meanwhile. */
static void only_crashes(void)
{
    static const enum sim_fault kept[] = {SIM_CRASH,      SIM_CRASH_INSIDE, SIM_CRASH_START,
                                          SIM_FORCE_FAIL, SIM_FORCE_SLOW,   SIM_POWER,
                                          SIM_STOP,       SIM_TIMER_LATE};
    uint32_t rates[SIM_FAULT_COUNT] = {0};
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        rates[kept[i]] = sim.rate[kept[i]];
    }
    memcpy(sim.rate, rates, sizeof rates);
}

static void choose(const struct sim_config *config)
{
    uint64_t state = sim_hash(config->seed, 1);
    unsigned participants = 2 + (unsigned)(sim_random(&state) % 7);
    unsigned transactions = 1 + (unsigned)(sim_random(&state) % SIM_TRANSACTIONS_MAX);
    sim.coordinators = 1 + (unsigned)(sim_random(&state) % 2);
    sim.work_us = UINT64_C(10000) << sim_random(&state) % 12; /* 10 ms to 20 s */
    sim.participants = config->participants > 0 ? config->participants : participants;
    sim.transactions = config->transactions > 0 ? config->transactions : transactions;
    sim.forgets = sim_random(&state) % 4 == 0;
    sim.random = sim_hash(config->seed, 2);
    choose_rates(config);
}

/* ---- The course of it ---- */

static void heal(void)
{
    sim_trace("world", "all faults end");
    sim.healed = true;
    memset(sim.blocked_until_us, 0, sizeof sim.blocked_until_us);
    for (unsigned i = 0; i < sim.node_count; i++) {
        if (sim.nodes[i].up && sim.nodes[i].disk.poisoned) {
            sim_node_crash(&sim.nodes[i], "its disk is mended", 0); /* it may not know yet */
        }
    }
}

static const char *node_busy(const struct sim_node *node)
{
    if (node->paused_until_us > sim.now_us) {
        return "it stands still";
    }
    if (!node->up || node->daemon == NULL || node->draining) {
        return "it is down";
    }
    return node->coordinator ? sim_coord_busy(node) : sim_part_busy(node);
}

/* Violation unless everybody is at rest in time. */
static void await_rest(void)
{
    uint64_t end_us = sim.now_us + REST_US;
    const char *why = NULL, *who = "clients";
    do {
        sim_run_until(sim.now_us + REST_EVERY_US);
        why = sim_clients_busy();
        who = "clients";
        for (unsigned i = 0; i < sim.node_count && why == NULL; i++) {
            why = node_busy(&sim.nodes[i]);
            who = sim.nodes[i].name;
        }
        if (why == NULL && sim_net_busy()) {
            why = "messages are under way";
        }
        if (why == NULL) {
            return;
        }
    } while (sim.now_us < end_us);
    sim_violation("no rest after %d s without faults, %s: %s", REST_US / 1000000, who, why);
}

struct snapshot {
    int64_t sums[SIM_PARTICIPANTS_MAX];
    unsigned applied[SIM_PARTICIPANTS_MAX][SIM_TRANSACTIONS_MAX + 1];
};

static void take_snapshot(struct snapshot *out)
{
    memset(out, 0, sizeof *out);
    for (unsigned i = 0; i < sim.participants; i++) {
        const struct sim_node *node = &sim.nodes[sim.coordinators + i];
        out->sums[i] = sim_database_check(node);
        for (unsigned n = 1; n <= sim.transactions; n++) {
            out->applied[i][n] = sim_database_applied(node, n);
        }
    }
}

static void restart_all(void)
{
    struct snapshot before, after;
    take_snapshot(&before);
    for (unsigned i = 0; i < sim.node_count; i++) {
        sim_node_crash(&sim.nodes[i], "all crash", UINT64_C(1000) * (i + 1));
    }
    await_rest();
    take_snapshot(&after);
    if (memcmp(&before, &after, sizeof before) != 0) {
        sim_violation("a restart when all was at rest has changed something");
    }
}

/* The retention time passes, with crashes. */
static void forget(void)
{
    sim_trace("world", "what has ended is forgotten, under crashes");
    only_crashes();
    sim.healed = false;
    sim_weather_start();
    sim_run_until(sim.now_us + (uint64_t)SIM_RETENTION_MS * 1000 + FORGET_MORE_US);
    heal();
    await_rest();
    sim_check_end();
    sim_clients_audit();
    await_rest();
}

static void run(void)
{
    sim_nodes_init();
    for (unsigned i = 0; i < sim.node_count; i++) {
        sim_node_start(&sim.nodes[i]);
    }
    sim_clients_start();
    sim_weather_start();
    sim_run_until(sim.work_us + sim_between(&sim.random, 1000000, 15000000));
    heal();
    await_rest();
    sim_check_end();
    sim_weather_forget_hands();
    sim_clients_audit();
    await_rest();
    if (sim.forgets) {
        forget();
    }
    restart_all();
    sim_check_end();
    sim_clients_audit();
}

void sim_run(const struct sim_config *config, struct sim_result *ret_result)
{
    memset(&sim, 0, sizeof sim);
    memset(ret_result, 0, sizeof *ret_result);
    sim.config = *config;
    sim.result = ret_result;
    sim.owner = &sim.memory;
    sim_trace_start(config->trace);
    sim_net_init();
    sim_check_init();
    choose(config);
    if (setjmp(sim.failed) == 0) {
        run();
    }
    ret_result->hash = sim_trace_hash();
    ret_result->simulated_us = sim.now_us;
    ret_result->participants = sim.participants;
    ret_result->transactions = sim.transactions;
    for (unsigned i = 0; i < sim.node_count; i++) {
        sim_free_all(&sim.nodes[i].memory);
    }
    sim_free_all(&sim.memory);
    sim.owner = NULL;
}
