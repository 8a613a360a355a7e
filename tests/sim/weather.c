/* What comes over the world now and then, at first often: partitions, pauses,
 * signals, jumps of wall clocks, and operators who lose patience with a branch
 * in doubt. */
#include "tests/sim/sim.h"

#include "api/client.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    EVERY_FIRST_US = 2000,
    EVERY_US = 500000,
    FORGET_US = 1000000,
    PAUSE_US = 20000000,
    PARTITION_US = 30000000
};
#define JUMP_US INT64_C(3600000000)

static struct sim_node *any_node(void)
{
    return &sim.nodes[sim_between(&sim.random, 0, sim.node_count)];
}

/* One direction or both: who is heard and hears nothing is the harder case. */
static void part(void)
{
    const struct sim_node *a = any_node(), *b = any_node();
    uint64_t until_us = sim.now_us + sim_between(&sim.random, 200000, PARTITION_US);
    bool both = sim_random(&sim.random) % 2 == 0;
    sim_trace("net", "%s does not hear %s for %u ms%s", b->name, a->name,
              (unsigned)((until_us - sim.now_us) / 1000), both ? ", nor the other way round" : "");
    sim.blocked_until_us[a->index][b->index] = until_us;
    if (both) {
        sim.blocked_until_us[b->index][a->index] = until_us;
    }
}

static void stand_still(struct sim_node *node)
{
    uint64_t us = sim_between(&sim.random, 100000, PAUSE_US);
    sim_trace(node->name, "stands still for %u ms", (unsigned)(us / 1000));
    node->paused_until_us = sim.now_us + us;
}

static void cut_power(void)
{
    for (unsigned i = 0; i < sim.node_count; i++) {
        if (sim.nodes[i].up && sim_random(&sim.random) % 2 == 0) {
            sim_node_crash(&sim.nodes[i], "power", 0);
        }
    }
}

static void set_clock(struct sim_node *node)
{
    node->wall_offset_us = (int64_t)sim_between(&sim.random, 0, (uint64_t)JUMP_US * 2) - JUMP_US;
    sim_trace(node->name, "its wall clock is off by %d s now",
              (int)(node->wall_offset_us / 1000000));
}

/* ---- Operators ---- */

struct by_hand {
    struct api_call call;
    char url[128];
};

static void on_resolved(struct api_call *call, enum tpc_rc rc, const struct tpc_err *err)
{
    (void)rc, (void)err;
    api_call_done(call);
    free(call);
}

static void resolve(struct sim_node *node)
{
    struct tpc_id gtid;
    char id[TPC_ID_TEXT];
    uint64_t dice = sim_random(&sim.random);
    if (!node->up || node->coordinator || !sim_part_in_doubt(node, dice >> 1, &gtid)) {
        return;
    }
    unsigned txn = sim_resource_holds(node, &gtid);
    const char *outcome = dice % 2 == 0 ? "commit" : "abort";
    struct by_hand *hand = sim_alloc(sizeof *hand);
    sim_database_note_hand(node, &gtid, txn);
    sim_trace("operator", "resolves %s of t%u at %s: %s", tpc_id_format(&gtid, id), txn, node->name,
              outcome);
    (void)snprintf(hand->url, sizeof hand->url, "http://%s:1/v1/branches/%s/resolve", node->name,
                   id);
    hand->call = (struct api_call){
        .method = "POST", .url = hand->url, .timeout_ms = 10000, .on_done = on_resolved};
    tpc_buf_addf(&hand->call.body, "{\"outcome\":\"%s\",\"reason\":\"sim\"}", outcome);
    sim_net_start_outside(&hand->call, true);
}

static bool first_to_forget(const struct sim_node *node, struct tpc_id *ret_gtid)
{
    return node->coordinator ? sim_coord_first_hazard(node, ret_gtid)
                             : sim_part_first_hand(node, ret_gtid);
}

static void forget_one(const struct sim_node *node, const struct tpc_id *gtid)
{
    struct by_hand *hand = sim_alloc(sizeof *hand);
    char id[TPC_ID_TEXT];
    sim_trace("operator", "forgets %s at %s", tpc_id_format(gtid, id), node->name);
    (void)snprintf(hand->url, sizeof hand->url, "http://%s:1/v1/%s/%s/forget", node->name,
                   node->coordinator ? "transactions" : "branches", id);
    hand->call = (struct api_call){
        .method = "POST", .url = hand->url, .timeout_ms = 10000, .on_done = on_resolved};
    sim_net_start_outside(&hand->call, true);
}

void sim_weather_forget_hands(void)
{
    for (unsigned i = 0; i < sim.node_count; i++) {
        struct tpc_id gtid, last = {0};
        while (first_to_forget(&sim.nodes[i], &gtid)) {
            if (tpc_id_equal(&gtid, &last)) {
                sim_violation("%s does not forget an outcome by hand", sim.nodes[i].name);
            }
            last = gtid;
            forget_one(&sim.nodes[i], &gtid);
            sim_run_until(sim.now_us + FORGET_US);
        }
    }
    sim.hands_forgotten = true;
}

/* ---- Those who only look ---- */

static void on_seen(struct api_call *call, enum tpc_rc rc, const struct tpc_err *err)
{
    (void)err;
    if (rc == TPC_OK && call->status != 200 && call->status != 502 && call->status != 503) {
        sim_violation("%s answers %d", call->url, call->status);
    }
    api_call_done(call);
    free(call);
}

static void look(const struct sim_node *node)
{
    static const char *const of_coordinator[] = {
        "/v1/transactions", "/v1/transactions?limit=3&state=committed", "/v1/participants",
        "/metrics", "/readyz?verbose=1"};
    static const char *const of_participant[] = {"/v1/branches", "/v1/branches?state=prepared",
                                                 "/metrics", "/readyz?verbose=1", "/livez"};
    struct visit {
        struct api_call call;
        char url[96];
    } *visit = sim_alloc(sizeof *visit);
    unsigned which = (unsigned)(sim_random(&sim.random) % 5);
    (void)snprintf(visit->url, sizeof visit->url, "http://%s:1%s", node->name,
                   node->coordinator ? of_coordinator[which] : of_participant[which]);
    visit->call = (struct api_call){
        .method = "GET", .url = visit->url, .timeout_ms = 10000, .on_done = on_seen};
    sim_net_start_outside(&visit->call, true);
}

/* ---- All of it ---- */

static void on_weather(void *arg)
{
    (void)arg;
    if (sim.healed) {
        return;
    }
    struct sim_node *node = any_node();
    look(node);
    if (sim_fault(SIM_PARTITION, SIM_OUTSIDE)) {
        part();
    }
    if (sim_fault(SIM_PAUSE, SIM_OUTSIDE)) {
        stand_still(node);
    }
    if (sim_fault(SIM_CLOCK, SIM_OUTSIDE)) {
        set_clock(node);
    }
    if (sim_fault(SIM_POWER, SIM_OUTSIDE)) {
        cut_power();
    }
    if (node->up && node->loop != NULL && sim_fault(SIM_STOP, SIM_OUTSIDE)) {
        sim_trace(node->name, "is asked to stop");
        sim_loop_signal(node);
    }
    if (sim_fault(SIM_OPERATOR, SIM_OUTSIDE)) {
        resolve(&sim.nodes[sim_between(&sim.random, sim.coordinators, sim.node_count)]);
    }
    uint64_t next_us = sim.now_us / 8;
    next_us = next_us < EVERY_US ? next_us : EVERY_US;
    sim_at(sim.now_us + (next_us > EVERY_FIRST_US ? next_us : EVERY_FIRST_US), NULL, on_weather,
           NULL);
}

void sim_weather_start(void)
{
    sim_at(sim.now_us + EVERY_FIRST_US, NULL, on_weather, NULL);
}
