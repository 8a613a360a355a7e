/* A node with the shipped participant in it. */
#include "tests/sim/sim.h"

#include "participant/daemon.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

struct part_node {
    struct part_daemon daemon;
    struct part_settings settings;
    char listen[16];
};

/* As main.c has them by default, but for names and places. */
static void set(struct part_node *node, char *name)
{
    (void)snprintf(node->listen, sizeof node->listen, "%s:1", name);
    node->settings = (struct part_settings){
        .name = name,
        .data = name, /* nobody looks there */
        .listen = node->listen,
        .foreign_keys = true,
        .retention_ms = sim.forgets ? SIM_RETENTION_MS : 86400000,
        .retained_max = 1000000,
        .remember_ms = sim_hash(sim.config.seed, 31) % 3 == 0 ? 1000 : 3600000,
        .remembered_max = sim_hash(sim.config.seed, 32) % 3 == 0 ? 5 : 100000,
        .branches_max = sim_hash(sim.config.seed, 33) % 4 == 0 ? 3 : 10000,
        .messages_max = 1000,
        .statements_max = 1000,
        .connections_max = 1000,
        .body_max_bytes = 64 << 20,
        .result_max_bytes = 4 << 20,
        .waiting_max = 10000,
        .queue_max_bytes = 1 << 30,
        .ask_first_ms = 2000,
        .ask_max_ms = 15000,
        .drain_ms = 2000,
        .timeout_max_ms = 3600000,
    };
}

void sim_part_start(struct sim_node *node)
{
    struct part_node *part = tpc_must_alloc(sizeof *part);
    struct tpc_err err = {0};
    node->daemon = part;
    set(part, node->name);
    if (part_daemon_start(&part->daemon, &part->settings, "sim:", &err) != TPC_OK) {
        sim_violation("%s does not start: %s", node->name, err.text);
    }
}

void sim_part_stop(struct sim_node *node)
{
    struct part_node *part = node->daemon;
    if (part->daemon.failed && !node->disk.poisoned) {
        sim_violation("%s cannot read what is in its log", node->name);
    }
    part_daemon_stop(&part->daemon);
    free(part);
    node->daemon = NULL;
}

const char *sim_part_busy(const struct sim_node *node)
{
    const struct part_node *part = node->daemon;
    const struct branch *branch;
    if (!part->daemon.recovered) {
        return "it has not recovered";
    }
    DL_FOREACH (part->daemon.live, branch) {
        enum part_state state = branch->fsm.state;
        bool by_hand = state == PART_HEUR_COMMIT || state == PART_HEUR_ABORT;
        if (!by_hand || branch->fsm.told == PART_NO_OUTCOME) {
            return part_in_doubt(&branch->fsm) ? "a branch is in doubt" : "a branch has not ended";
        }
    }
    return sim_resource_locks(node) > 0 ? "rows are locked" : NULL;
}

bool sim_part_in_doubt(const struct sim_node *node, uint64_t pick, struct tpc_id *ret_gtid)
{
    const struct part_node *part = node->daemon;
    const struct branch *branch;
    uint64_t count = 0;
    DL_FOREACH (part->daemon.live, branch) {
        count += branch->fsm.state == PART_PREPARED;
    }
    if (!part->daemon.recovered || count == 0) {
        return false;
    }
    pick %= count;
    DL_FOREACH (part->daemon.live, branch) {
        if (branch->fsm.state == PART_PREPARED && pick-- == 0) {
            *ret_gtid = branch->gtid;
            return true;
        }
    }
    return false;
}

bool sim_part_shows_hazard(const struct sim_node *node, const struct tpc_id *gtid)
{
    const struct part_node *part = node->daemon;
    const struct branch *branch = part_table_find(&part->daemon, gtid);
    return branch != NULL && part_is_hazard(&branch->fsm);
}

bool sim_part_first_hand(const struct sim_node *node, struct tpc_id *ret_gtid)
{
    const struct part_node *part = node->daemon;
    const struct branch *branch;
    DL_FOREACH (part->daemon.live, branch) {
        if (branch->fsm.state == PART_HEUR_COMMIT || branch->fsm.state == PART_HEUR_ABORT) {
            *ret_gtid = branch->gtid;
            return true;
        }
    }
    return false;
}
