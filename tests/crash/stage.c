#include "tests/crash/stage.h"

#include "tests/support/http.h"
#include "tests/support/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    STARTS_MAX = 4,     /* two of them may die */
    TRANSFER_MS = 1500, /* the time-out of single transfers */
    LOOK_EVERY_MS = 5,
    LOAD_MS = 60000,
    PATIENCE_MS = 20000,
};

/* ---- Which points were passed ---- */

static void note_hit(struct stage *stage, unsigned process, const char *point, size_t size,
                     unsigned start)
{
    struct stage_hits *hits = stage->hits;
    for (size_t i = 0; i < hits->count; i++) {
        struct stage_hit *hit = &hits->items[i];
        if (hit->process == process && hit->scenario == stage->scenario &&
            strlen(hit->point) == size && strncmp(hit->point, point, size) == 0) {
            hit->last_start = start;
            return;
        }
    }
    if (hits->count == hits->capacity) {
        size_t capacity = hits->capacity > 0 ? 2 * hits->capacity : 128;
        struct stage_hit *more = realloc(hits->items, capacity * sizeof *more);
        if (more == NULL) {
            sup_die("out of memory");
        }
        hits->items = more;
        hits->capacity = capacity;
    }
    struct stage_hit *hit = &hits->items[hits->count++];
    *hit = (struct stage_hit){
        .process = process, .scenario = stage->scenario, .first_start = start, .last_start = start};
    (void)snprintf(hit->point, sizeof hit->point, "%.*s", (int)size, point);
}

void stage_hits_done(struct stage_hits *hits)
{
    free(hits->items);
    *hits = (struct stage_hits){0};
}

static void note_hits(struct stage *stage, unsigned process, const struct sup_daemon *daemon)
{
    static const char mark[] = "evt=failpoint.hit name=";
    char *output = sup_proc_output(&daemon->proc);
    for (const char *at = output; (at = strstr(at, mark)) != NULL;) {
        at += sizeof mark - 1;
        note_hit(stage, process, at, strcspn(at, " \n"), daemon->starts);
    }
    free(output);
}

static unsigned index_of(const struct stage *stage, const struct sup_daemon *daemon)
{
    return daemon == &stage->world.coordinator ? 0 : 1 + (unsigned)(daemon - stage->world.agents);
}

/* A run of @daemon has ended, or is about to be looked at no more. */
static void note_end(struct stage *stage, struct sup_daemon *daemon)
{
    unsigned process = index_of(stage, daemon);
    char mark[STAGE_POINT_MAX + 32];
    if (daemon->starts == 0 || stage->noted[process]) {
        return;
    }
    stage->noted[process] = true;
    if (stage->hits != NULL) {
        note_hits(stage, process, daemon);
    }
    if (stage->target == daemon && !stage->fired) {
        (void)snprintf(mark, sizeof mark, "name=%s action=kill", stage->point);
        stage->fired = sup_proc_said(&daemon->proc, mark);
    }
}

/* ---- Processes ---- */

/* A process that dies closes its connections before it can be seen to have ended. */
static bool is_down(struct sup_daemon *daemon)
{
    if (sup_daemon_is_running(daemon) && daemon->starts > 0 &&
        sup_proc_said(&daemon->proc, " action=kill")) {
        (void)sup_proc_wait(&daemon->proc, SUP_STOP_MS);
    }
    return !sup_daemon_is_running(daemon);
}

static void launch(struct stage *stage, struct sup_daemon *daemon, const char *failpoints)
{
    char spec[256] = "";
    size_t size = 0;
    note_end(stage, daemon);
    stage->noted[index_of(stage, daemon)] = false;
    if (stage->hits != NULL) {
        size = (size_t)snprintf(spec, sizeof spec, "*=trace;");
    }
    if (failpoints != NULL) {
        size += (size_t)snprintf(spec + size, sizeof spec - size, "%s;", failpoints);
    }
    if (daemon == stage->target && !stage->fired && daemon->starts + 1 >= stage->arm_start) {
        size += (size_t)snprintf(spec + size, sizeof spec - size, "%s=1*kill;", stage->point);
    } else if (daemon == stage->target && stage->fired && stage->again != NULL) {
        size += (size_t)snprintf(spec + size, sizeof spec - size, "%s=1*kill;", stage->again);
        stage->again = NULL;
    }
    if (size > 0) {
        spec[size - 1] = '\0';
    }
    stage->armed[index_of(stage, daemon)] = size > 0;
    sup_daemon_launch(daemon, size > 0 ? spec : NULL);
}

void stage_start(struct stage *stage, struct sup_daemon *daemon, const char *failpoints)
{
    for (int tries = 0; tries < STARTS_MAX; tries++) {
        launch(stage, daemon, failpoints);
        if (sup_proc_wait_ready(&daemon->proc, SUP_START_MS)) {
            return;
        }
        if (!sup_proc_was_killed(&daemon->proc)) {
            break;
        }
    }
    sup_die("%s does not start:\n%s", daemon->name, sup_proc_output(&daemon->proc));
}

void stage_kill(struct stage *stage, struct sup_daemon *daemon)
{
    sup_daemon_kill(daemon);
    note_end(stage, daemon);
}

void stage_restart(struct stage *stage, struct sup_daemon *daemon, const char *failpoints)
{
    stage_kill(stage, daemon);
    stage_start(stage, daemon, failpoints);
}

void stage_revive_one(struct stage *stage, struct sup_daemon *daemon)
{
    if (is_down(daemon)) {
        stage_start(stage, daemon, NULL);
    }
}

void stage_revive(struct stage *stage)
{
    struct sup_daemon *daemon;
    for (unsigned i = 0; (daemon = sup_world_daemon(&stage->world, i)) != NULL; i++) {
        stage_revive_one(stage, daemon);
    }
}

struct sup_daemon *stage_agent(struct stage *stage, unsigned bank)
{
    return &stage->world.agents[bank];
}

/* ---- The stage ---- */

void stage_init(struct stage *stage, const struct scenario *scenario, unsigned index, uint64_t seed)
{
    *stage = (struct stage){.seed = seed, .scenario = index};
    sup_world_init(&stage->world,
                   &(struct sup_world_options){.accounts = STAGE_ACCOUNTS,
                                               .coordinator_flags = scenario->coordinator_flags,
                                               .agent_flags = scenario->agent_flags});
}

void stage_arm(struct stage *stage, unsigned process, const char *point, unsigned arm_start)
{
    stage->target = sup_world_daemon(&stage->world, process);
    stage->point = point;
    stage->arm_start = arm_start;
}

void stage_open(struct stage *stage)
{
    stage_revive(stage);
}

void stage_close(struct stage *stage)
{
    struct sup_daemon *daemon;
    stage_revive(stage);
    for (unsigned i = 0; (daemon = sup_world_daemon(&stage->world, i)) != NULL; i++) {
        note_end(stage, daemon);
    }
    stage->hits = NULL;
    stage->target = NULL;
    for (unsigned i = 0; (daemon = sup_world_daemon(&stage->world, i)) != NULL; i++) {
        if (stage->armed[i]) {
            stage_restart(stage, daemon, NULL);
        }
    }
    stage_ask(stage);
}

void stage_done(struct stage *stage, bool keep)
{
    sup_world_done(&stage->world, keep);
    sup_history_done(&stage->history);
}

/* ---- Transfers ---- */

static struct sup_transfer *new_transfer(struct stage *stage, struct sup_leg from,
                                         struct sup_leg to)
{
    struct sup_transfer *transfer = sup_history_add(&stage->history);
    (void)snprintf(transfer->name, sizeof transfer->name, "one-%zu", stage->history.count);
    transfer->from = from;
    transfer->to = to;
    transfer->amount = 1;
    return transfer;
}

struct sup_transfer *stage_transfer(struct stage *stage, struct sup_leg from, struct sup_leg to)
{
    struct sup_transfer *transfer = new_transfer(stage, from, to);
    sup_transfer_submit(&stage->world, transfer, NULL, TRANSFER_MS);
    return transfer;
}

struct sup_transfer *stage_transfer_async(struct stage *stage, struct sup_leg from,
                                          struct sup_leg to)
{
    struct sup_transfer *transfer = new_transfer(stage, from, to);
    struct tpc_buf body = {0};
    struct sup_answer answer;
    sup_transfer_body(&stage->world, transfer, PATIENCE_MS, &body);
    transfer->tries = 1;
    sup_http_at("POST", sup_daemon_url(&stage->world.coordinator), "/v1/transactions",
                "Prefer: respond-async", body.data, PATIENCE_MS, &answer);
    if (answer.rc == TPC_OK) {
        (void)sup_transfer_note(transfer, answer.status, answer.json);
    }
    sup_answer_done(&answer);
    tpc_buf_done(&body);
    return transfer;
}

static void ask(struct stage *stage, struct sup_transfer *transfer)
{
    struct sup_answer answer;
    char path[128];
    (void)snprintf(path, sizeof path, "/v1/transactions/%s?wait=20s", transfer->id);
    sup_http_at("GET", sup_daemon_url(&stage->world.coordinator), path, NULL, NULL, 2 * PATIENCE_MS,
                &answer);
    if (answer.rc == TPC_OK && answer.status != 503) {
        (void)sup_transfer_note(transfer, answer.status, answer.json);
    }
    sup_answer_done(&answer);
}

void stage_ask(struct stage *stage)
{
    for (size_t i = 0; i < stage->history.count; i++) {
        struct sup_transfer *transfer = &stage->history.items[i];
        /* Of a transaction in one phase the coordinator keeps nothing. */
        bool kept = transfer->keyed || transfer->from.bank != transfer->to.bank;
        if (transfer->told == SUP_TOLD_UNKNOWN && transfer->id[0] != '\0' && kept) {
            ask(stage, transfer);
        }
    }
}

void stage_load(struct stage *stage, unsigned clients, unsigned count)
{
    char prefix[16];
    (void)snprintf(prefix, sizeof prefix, "load%u", stage->loads++);
    struct sup_load_options options = {.clients = clients,
                                       .count = count,
                                       .seed = stage->seed + stage->loads,
                                       .prefix = prefix,
                                       .keyed_percent = 30,
                                       .within_percent = 20,
                                       .broke_percent = 10,
                                       .faults = true,
                                       .timeout_ms = TRANSFER_MS};
    struct sup_load *load = sup_load_begin(&stage->world, &options, &stage->history);
    for (unsigned looks = 0; !sup_load_wait(load, count, LOOK_EVERY_MS); looks++) {
        stage_revive(stage);
        if (looks > LOAD_MS / LOOK_EVERY_MS) {
            sup_die("%u transfers do not end", count);
        }
    }
    sup_load_end(load, PATIENCE_MS);
    stage_revive(stage);
}
