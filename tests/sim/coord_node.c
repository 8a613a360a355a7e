/* A node with the shipped coordinator in it. */
#include "tests/sim/sim.h"

#include "base/tpc_assert.h"
#include "coordinator/daemon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct coord_node {
    struct coord_daemon daemon;
    struct coord_settings settings;
    char listen[16];
    char participants[SIM_PARTICIPANTS_MAX][48];
    char *items[SIM_PARTICIPANTS_MAX];
};

/* In one of three seeds the small value. */
static uint64_t some(unsigned which, uint64_t usual, uint64_t small)
{
    return sim_hash(sim.config.seed, 20 + which) % 3 == 0 ? small : usual;
}

/* As main.c has them by default, but for names, places, and limits that are
 * reached. */
static void set(struct coord_node *node, const char *name)
{
    (void)snprintf(node->listen, sizeof node->listen, "%s:1", name);
    node->settings = (struct coord_settings){
        .data = node->listen,
        .listen = node->listen,
        .participants = {.items = node->items, .count = sim.participants},
        .timeout_ms = 10000,
        .timeout_max_ms = 3600000,
        .body_max_bytes = 4 << 20,
        .branches_max = 64,
        .statements_max = 1000,
        .transactions_max = some(3, 10000, 8),
        .connections_max = 1000,
        .waiters_max = some(4, 20000, 6),
        .participants_max = 256,
        .attempts_max = some(5, 100, 3),
        .batch_max = some(1, 500, 2),
        .lanes_max = some(2, 32, 1),
        .queue_max_bytes = some(6, 256 << 20, 2048),
        .retention_ms = sim.forgets ? SIM_RETENTION_MS : 3600000,
        .retained_max = 1000000,
        .keys_max = 4000000,
        .results_max_bytes = some(7, 64 << 20, 100),
        .drain_ms = 2000,
    };
    for (unsigned i = 0; i < sim.participants; i++) {
        (void)snprintf(node->participants[i], sizeof node->participants[i], "p%u=http://p%u:1",
                       i + 1, i + 1);
        node->items[i] = node->participants[i];
    }
}

void sim_coord_start(struct sim_node *node)
{
    struct coord_node *coord = tpc_must_alloc(sizeof *coord);
    struct tpc_err err = {0};
    node->daemon = coord;
    set(coord, node->name);
    if (coord_daemon_start(&coord->daemon, &coord->settings, &err) != TPC_OK) {
        sim_violation("%s does not start: %s", node->name, err.text);
    }
}

void sim_coord_stop(struct sim_node *node)
{
    struct coord_node *coord = node->daemon;
    if (coord->daemon.start_rc != TPC_OK && !node->disk.poisoned) {
        sim_violation("%s does not start: %s", node->name, coord->daemon.start_err.text);
    }
    coord_daemon_stop(&coord->daemon);
    free(coord);
    node->daemon = NULL;
}

const char *sim_coord_busy(const struct sim_node *node)
{
    const struct coord_node *coord = node->daemon;
    if (!coord->daemon.recovered) {
        return "it has not recovered";
    }
    if (coord->daemon.kept_count[COORD_KEPT_UNFINISHED] > 0) {
        return "transactions have not ended";
    }
    return coord->daemon.waiters > 0 ? "somebody waits" : NULL;
}

bool sim_coord_shows_hazard(const struct sim_node *node, const struct tpc_id *gtid,
                            const char *participant)
{
    struct coord_node *coord = node->daemon;
    const struct coord_xact *xact = coord_xact_by_gtid(&coord->daemon, gtid);
    for (unsigned i = 0; xact != NULL && i < xact->branch_count; i++) {
        if ((xact->fsm->hazards & TPC_BIT(i)) != 0 &&
            strcmp(xact->branches[i].member->name, participant) == 0) {
            return true;
        }
    }
    return false;
}

bool sim_coord_first_hazard(const struct sim_node *node, struct tpc_id *ret_gtid)
{
    const struct coord_node *coord = node->daemon;
    const struct coord_xact *xact = coord->daemon.kept[COORD_KEPT_HAZARD];
    if (xact != NULL) {
        *ret_gtid = xact->gtid;
    }
    return xact != NULL;
}
