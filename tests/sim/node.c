/* The lives of the daemons: start, crash, stop, and the next start. */
#include "tests/sim/sim.h"

#include "base/tpc_assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DOWN_LONG_US = 20000000 };

void sim_nodes_init(void)
{
    sim.node_count = sim.coordinators + sim.participants;
    for (unsigned i = 0; i < sim.node_count; i++) {
        struct sim_node *node = &sim.nodes[i];
        node->index = i;
        node->coordinator = i < sim.coordinators;
        (void)snprintf(node->name, sizeof node->name, "%c%u", node->coordinator ? 'c' : 'p',
                       1 + (node->coordinator ? i : i - sim.coordinators));
        node->random = sim_hash(sim.config.seed, i + 1000);
        node->disk.step_at_us = UINT64_MAX;
        if (!node->coordinator) {
            sim_database_init(node);
        }
    }
}

static void begin(void *arg)
{
    struct sim_node *node = arg;
    if (node->coordinator) {
        sim_coord_start(node);
    } else {
        sim_part_start(node);
    }
}

void sim_node_start(struct sim_node *node)
{
    node->up = true;
    node->life++;
    node->starts++;
    node->disk.poisoned = false;
    sim_trace(node->name, "starts for the %u. time", node->starts);
    sim_enter(node, begin, node);
}

static void start_again(void *arg)
{
    struct sim_node *node = arg;
    if (!node->up) {
        sim_node_start(node);
    }
}

static uint64_t down_time(struct sim_node *node)
{
    uint64_t dice = sim_random(&node->random);
    if (sim.healed) {
        return 1000 + dice % 100000;
    }
    return 1000 + dice % (dice >> 61 == 0 ? DOWN_LONG_US : 1000000);
}

/* What is left of a life: what is durable. */
static void bury(struct sim_node *node, uint64_t down_us)
{
    node->up = false;
    node->draining = false;
    node->life++;
    node->loop = NULL;
    node->server = NULL;
    node->daemon = NULL;
    node->resource = NULL;
    node->disk.log = NULL;
    node->disk.step_at_us = UINT64_MAX;
    node->paused_until_us = 0;
    sim_free_all(&node->memory);
    sim_at(sim.now_us + (down_us > 0 ? down_us : down_time(node)), NULL, start_again, node);
}

void sim_node_crash(struct sim_node *node, const char *why, uint64_t down_us)
{
    sim_trace(node->name, "ends: %s", why);
    node->crashes++;
    sim_net_cut(node);
    sim_disk_crash(node);
    if (!node->coordinator) {
        sim_database_crash(node);
    }
    bury(node, down_us);
}

void sim_node_stop_gracefully(struct sim_node *node)
{
    sim_trace(node->name, "stops");
    sim.current = node;
    sim.owner = &node->memory;
    node->end_why = NULL;
    if (setjmp(node->end) == 0) {
        if (node->coordinator) {
            sim_coord_stop(node);
        } else {
            sim_part_stop(node);
        }
    }
    sim.current = NULL;
    sim.owner = &sim.memory;
    if (node->end_why != NULL) {
        sim_node_crash(node, node->end_why, 0);
        return;
    }
    if (node->memory.count > 0) {
        sim_violation("%s stopped, and left %zu blocks of memory", node->name, node->memory.count);
    }
    sim_net_cut(node);
    bury(node, 0);
}

void sim_end_life(const char *why)
{
    struct sim_node *node = sim.current;
    TPC_ASSERT(node != NULL);
    node->end_why = why;
    longjmp(node->end, 1);
}

void sim_crash_point(enum sim_fault fault)
{
    if (sim.current != NULL && sim_fault(fault, sim.current->index)) {
        sim_end_life(sim_fault_name(fault));
    }
}
