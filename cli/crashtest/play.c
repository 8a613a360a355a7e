#include "cli/crashtest/play.h"

#include "base/clock.h"
#include "base/memory.h"
#include "cli/crashtest/workload_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    STARTS_MAX = 4,     /* two of them may die */
    TRANSFER_MS = 1500, /* the time-out of transactions */
    STOP_MARGIN_MS = 500,
    LOOK_EVERY_MS = 5,
    LOAD_MS = 60000,
    PATIENCE_MS = 20000,
    SAID_LINES_MAX = 40,
    WATCH_EVERY_MS = 2,
};

/* How long an agent stands at a failpoint, so that its server can be killed meanwhile. */
#define SERVER_DELAY "1*delay(300)"

/* ---- Verdicts ---- */

void cli_play_object(struct cli_play *play, const char *format, ...)
{
    va_list args;
    if (play->violations++ >= SAID_LINES_MAX) {
        return;
    }
    va_start(args, format);
    tpc_buf_vaddf(&play->said, format, args);
    va_end(args);
    tpc_buf_addc(&play->said, '\n');
}

bool cli_play_is_over(struct cli_play *play)
{
    play->over = play->over || atomic_load(play->setup->cancelled);
    return play->over;
}

/* Nothing that follows can be judged any more. */
static void give_up(struct cli_play *play, const struct cli_node *node, const char *what)
{
    enum { SHOWN = 1500 };
    char *output = cli_proc_output(&node->proc);
    size_t size = strlen(output);
    cli_play_object(play, "%s %s; its log ends with:\n%s", node->name, what,
                    output + (size > SHOWN ? size - SHOWN : 0));
    free(output);
    play->over = true;
}

/* ---- Which points were passed ---- */

static void note_hit(struct cli_hits *hits, const struct cli_hit *new_hit)
{
    for (size_t i = 0; i < hits->count; i++) {
        struct cli_hit *hit = &hits->items[i];
        if (hit->node == new_hit->node && hit->scene == new_hit->scene &&
            strcmp(hit->point, new_hit->point) == 0) {
            hit->last_start = new_hit->last_start;
            return;
        }
    }
    hits->items = tpc_must_realloc(hits->items, (hits->count + 1) * sizeof *hits->items);
    hits->items[hits->count++] = *new_hit;
}

void cli_hits_done(struct cli_hits *hits)
{
    free(hits->items);
    *hits = (struct cli_hits){0};
}

static unsigned index_of(const struct cli_play *play, const struct cli_node *node)
{
    return (unsigned)(node - play->world.nodes);
}

static void note_hits(struct cli_play *play, const struct cli_node *node, struct cli_hits *hits)
{
    static const char mark[] = "evt=failpoint.hit name=";
    char *output = cli_proc_output(&node->proc);
    for (const char *at = output; (at = strstr(at, mark)) != NULL;) {
        struct cli_hit hit = {.node = index_of(play, node),
                              .scene = play->plot.scene_index,
                              .first_start = node->starts,
                              .last_start = node->starts};
        at += sizeof mark - 1;
        (void)snprintf(hit.point, sizeof hit.point, "%.*s", (int)strcspn(at, " \n"), at);
        note_hit(hits, &hit);
    }
    free(output);
}

static bool is_target(const struct cli_play *play, const struct cli_node *node)
{
    return play->plot.point[0] != '\0' && index_of(play, node) == play->plot.node;
}

static bool has_died_at(const struct cli_node *node, const char *point)
{
    char mark[CLI_POINT_MAX + 32];
    (void)snprintf(mark, sizeof mark, "name=%s action=kill", point);
    return cli_proc_said(&node->proc, mark);
}

/* A run of @node has ended, or is about to be looked at no more. */
static void note_end(struct cli_play *play, struct cli_node *node)
{
    bool *noted = &play->noted[index_of(play, node)];
    if (node->starts == 0 || *noted || !cli_node_is_ours(node)) {
        return;
    }
    *noted = true;
    if (play->plot.trace && !play->closing) {
        note_hits(play, node, &play->hits);
    }
    if (is_target(play, node) && node->starts == play->recovery_start) {
        note_hits(play, node, &play->recovery);
        play->fired_again = play->plot.again[0] != '\0' && has_died_at(node, play->plot.again);
    }
    if (is_target(play, node) && !play->fired && !play->plot.server &&
        has_died_at(node, play->plot.point)) {
        play->fired = true;
        play->recovery_start = node->starts + 1;
    }
}

/* ---- Processes ---- */

struct cli_node *cli_play_coordinator(struct cli_play *play)
{
    return &play->world.nodes[0];
}

struct cli_node *cli_play_member(struct cli_play *play, unsigned member)
{
    return &play->world.nodes[1 + member];
}

bool cli_play_is_embedded(const struct cli_play *play)
{
    return !cli_setup_is_alone(play->setup);
}

/* A process that dies closes its connections before it can be seen to have ended. */
static bool is_down(const struct cli_play *play, struct cli_node *node)
{
    if (play->armed[index_of(play, node)] && cli_node_is_running(node) && node->starts > 0 &&
        cli_proc_said(&node->proc, " action=kill")) {
        (void)cli_proc_wait(&node->proc, CLI_STOP_MS);
    }
    return !cli_node_is_running(node);
}

static void add_point(struct tpc_buf *spec, const char *point, const char *action)
{
    tpc_buf_addf(spec, "%s%s=%s", spec->size > 0 ? ";" : "", point, action);
}

/* The failpoints of its next start. */
static void arm(struct cli_play *play, const struct cli_node *node, const char *failpoints,
                struct tpc_buf *spec)
{
    const struct cli_plot *plot = &play->plot;
    bool recovers = is_target(play, node) && node->starts + 1 == play->recovery_start;
    if (!cli_node_has_failpoints(node) || play->closing) {
        return;
    }
    if (plot->trace || recovers) {
        add_point(spec, "*", "trace");
    }
    if (failpoints != NULL) {
        tpc_buf_addf(spec, "%s%s", spec->size > 0 ? ";" : "", failpoints);
    }
    if (is_target(play, node) && !play->fired && node->starts + 1 >= plot->start) {
        add_point(spec, plot->point, plot->server ? SERVER_DELAY : "1*kill");
    } else if (recovers && plot->again[0] != '\0') {
        add_point(spec, plot->again, "1*kill");
    }
}

/* ---- Servers ---- */

/* While the agent stands at the failpoint, its server is killed. On a thread of its own, for the
 * one that plays may be waiting for what the agent answers. */
static void *watch(void *arg)
{
    struct cli_play *play = arg;
    const struct cli_node *node = &play->world.nodes[play->plot.node];
    struct cli_proc whole = {0}; /* all it ever said */
    char mark[CLI_POINT_MAX + 32];
    (void)snprintf(mark, sizeof mark, "name=%s action=delay", play->plot.point);
    (void)snprintf(whole.out_path, sizeof whole.out_path, "%.200s/%s.log", play->world.directory,
                   node->name);
    while (!atomic_load(&play->unwatched)) {
        if (access(whole.out_path, R_OK) == 0 && cli_proc_said(&whole, mark)) {
            cli_proc_signal(&node->server.proc, SIGKILL);
            atomic_store(&play->server_died, true);
            break;
        }
        cli_play_nap(WATCH_EVERY_MS);
    }
    return NULL;
}

static void begin_to_watch(struct cli_play *play)
{
    if (play->plot.server && play->world.nodes[play->plot.node].server.engine != CLI_NO_ENGINE) {
        play->watched = pthread_create(&play->watcher, NULL, watch, play) == 0;
        if (!play->watched) {
            cli_die("cannot start a thread");
        }
    }
}

static void end_watching(struct cli_play *play)
{
    if (play->watched) {
        atomic_store(&play->unwatched, true);
        (void)pthread_join(play->watcher, NULL);
        play->watched = false;
        play->fired = atomic_load(&play->server_died);
    }
}

/* Before the agents that work at them. */
static void revive_servers(struct cli_play *play)
{
    for (unsigned i = 0; i < play->world.node_count; i++) {
        struct cli_server *server = &play->world.nodes[i].server;
        struct tpc_err err = {0};
        if (server->engine == CLI_NO_ENGINE || cli_play_is_over(play) ||
            cli_server_is_running(server)) {
            continue;
        }
        end_watching(play); /* it has done its work */
        if (cli_server_start(server, &err) != TPC_OK) {
            /* Whether our processes would have kept their promises nobody will know. */
            play->spoilt = true;
            (void)snprintf(play->spoilt_by, sizeof play->spoilt_by, "%s", err.text);
            play->over = true;
        }
    }
}

/* ---- Nodes ---- */

static void launch(struct cli_play *play, struct cli_node *node, const char *failpoints)
{
    struct tpc_buf spec = {0};
    unsigned index = index_of(play, node);
    note_end(play, node);
    play->noted[index] = false;
    if (node->starts > 0 && !play->excused[index] && !cli_proc_was_killed(&node->proc) &&
        !cli_proc_ended_in_order(&node->proc)) {
        give_up(play, node, "has ended by itself");
        return;
    }
    play->excused[index] = false;
    arm(play, node, failpoints, &spec);
    play->armed[index] = spec.size > 0;
    cli_node_launch(node, spec.data);
    tpc_buf_done(&spec);
}

void cli_play_start(struct cli_play *play, struct cli_node *node, const char *failpoints)
{
    for (int tries = 0; tries < STARTS_MAX && !cli_play_is_over(play); tries++) {
        revive_servers(play);
        launch(play, node, failpoints);
        enum cli_ready ready = play->over ? CLI_READY : cli_node_wait_ready(node);
        if (ready == CLI_READY) {
            return;
        }
        bool *excused = &play->excused[index_of(play, node)];
        *excused = ready == CLI_ENDED && node->server.engine != CLI_NO_ENGINE &&
                   !cli_server_is_running(&node->server);
        if (ready == CLI_LATE || (!*excused && !cli_proc_was_killed(&node->proc))) {
            give_up(play, node, "does not start");
            return;
        }
    }
    if (!play->over) {
        give_up(play, node, "does not start");
    }
}

void cli_play_restart(struct cli_play *play, struct cli_node *node, const char *failpoints)
{
    if (!cli_play_is_over(play) && cli_node_is_ours(node)) {
        cli_proc_kill(&node->proc);
        note_end(play, node);
        cli_play_start(play, node, failpoints);
    }
}

void cli_play_revive_one(struct cli_play *play, struct cli_node *node)
{
    revive_servers(play);
    if (!cli_play_is_over(play) && is_down(play, node)) {
        cli_play_start(play, node, NULL);
    }
}

static void kill_receiver(struct cli_play *play)
{
    unsigned link;
    if (play->world.proxy != NULL && cli_proxy_wants_kill(play->world.proxy, &link)) {
        struct cli_node *node =
            &play->world.nodes[link >= CLI_LINK_MEMBERS ? 1 + link - CLI_LINK_MEMBERS : 0];
        cli_proc_kill(&node->proc);
        cli_proxy_killed(play->world.proxy);
    }
}

void cli_play_revive(struct cli_play *play)
{
    kill_receiver(play);
    revive_servers(play);
    for (unsigned i = 0; i < play->world.node_count; i++) {
        cli_play_revive_one(play, &play->world.nodes[i]);
    }
}

void cli_play_nap(unsigned ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)nanosleep(&pause, NULL);
}

/* ---- The play ---- */

static void init_options(struct cli_play *play)
{
    play->options = (struct cli_workload_options){.url = cli_world_url(&play->world),
                                                  .members = play->setup->members,
                                                  .member_count = play->setup->spec_count,
                                                  .seed = play->setup->seed,
                                                  .accounts = CLI_ACCOUNTS,
                                                  .balance = CLI_BALANCE,
                                                  .lists = CLI_LISTS,
                                                  .timeout_ms = TRANSFER_MS};
    play->history.member_count = play->setup->spec_count;
    play->history.seed = play->setup->seed;
    play->history.balance = CLI_BALANCE;
    for (unsigned i = 0; i < play->setup->spec_count; i++) {
        (void)snprintf(play->history.members[i], sizeof play->history.members[i], "%s",
                       play->setup->specs[i].name);
    }
}

/* The databases of our agents are copies of one that holds the beginning. The user's own are put
 * back to it by an undisturbed coordinator, before the play begins. */
static void reset_tables(struct cli_play *play)
{
    struct tpc_err err = {0};
    struct cli_workload_options direct = play->options;
    direct.url = cli_play_coordinator(play)->url;
    play->closing = true;
    cli_play_revive(play);
    play->closing = false;
    if (!play->over && cli_workload_reset(&direct, PATIENCE_MS, &err) != TPC_OK) {
        cli_play_object(play, "the tables cannot be set up: %s", err.text);
        play->over = true;
    }
    for (unsigned i = 0; i < play->world.node_count; i++) {
        cli_proc_kill(&play->world.nodes[i].proc);
        play->world.nodes[i].starts = 0;
        play->noted[i] = false;
    }
}

void cli_play_open(struct cli_play *play, const struct cli_setup *setup,
                   const struct cli_plot *plot, const char *name)
{
    *play = (struct cli_play){.setup = setup, .plot = *plot};
    cli_world_init(&play->world, setup, name, plot->scene->coordinator_flags,
                   plot->scene->agent_flags, plot->proxied);
    init_options(play);
    if (!cli_play_is_embedded(play)) {
        reset_tables(play);
    }
    if (play->world.proxy != NULL) {
        cli_proxy_arm(play->world.proxy, plot->link, plot->message, plot->number, plot->fault);
    }
    begin_to_watch(play);
    cli_play_revive(play);
}

void cli_play_close(struct cli_play *play)
{
    end_watching(play);
    cli_play_revive(play);
    for (unsigned i = 0; i < play->world.node_count; i++) {
        note_end(play, &play->world.nodes[i]);
    }
    play->closing = true;
    for (unsigned i = 0; i < play->world.node_count; i++) {
        if (play->armed[i]) {
            cli_play_restart(play, &play->world.nodes[i], NULL);
        }
    }
    if (play->world.proxy != NULL) {
        cli_proxy_release(play->world.proxy);
        play->fired = play->fired || cli_proxy_fired(play->world.proxy);
    }
    play->fired = play->fired || play->stopped;
    cli_play_ask(play);
}

/* For `assent crashtest --check`. */
static void keep_history(const struct cli_play *play)
{
    char path[CLI_PATH_MAX + 16];
    struct tpc_err err = {0};
    (void)snprintf(path, sizeof path, "%s/history", play->world.directory);
    FILE *file = fopen(path, "we");
    if (file == NULL || cli_history_write(&play->history, file, &err) != TPC_OK) {
        (void)fprintf(stderr, "assent crashtest: %s: %s\n", path,
                      err.text[0] != '\0' ? err.text : strerror(errno));
    }
    if (file != NULL) {
        (void)fclose(file);
    }
}

void cli_play_done(struct cli_play *play, bool keep)
{
    if (keep) {
        keep_history(play);
    }
    end_watching(play);
    cli_world_done(&play->world, keep);
    cli_history_done(&play->history);
    cli_hits_done(&play->hits);
    cli_hits_done(&play->recovery);
    tpc_buf_done(&play->said);
}

/* ---- Load ---- */

/* Past the time-outs of everything that is under way, and then as if nothing had been. */
static void stop_for_a_while(struct cli_play *play)
{
    struct cli_node *node = &play->world.nodes[play->plot.node];
    uint64_t until_ms = tpc_clock_mono_ms() + TRANSFER_MS + STOP_MARGIN_MS;
    cli_proc_signal(&node->proc, SIGSTOP);
    while (tpc_clock_mono_ms() < until_ms && !cli_play_is_over(play)) {
        cli_play_nap(LOOK_EVERY_MS);
    }
    cli_proc_signal(&node->proc, SIGCONT);
    play->stopped = true;
}

/* So that no client waits for somebody who is not there. */
static void end_all(struct cli_play *play)
{
    for (unsigned i = 0; i < play->world.node_count; i++) {
        cli_proc_kill(&play->world.nodes[i].proc);
    }
    if (play->world.proxy != NULL) {
        cli_proxy_free(play->world.proxy);
        play->world.proxy = NULL;
    }
}

void cli_play_load(struct cli_play *play, unsigned clients, unsigned count)
{
    char prefix[16];
    struct cli_workload_options options = play->options;
    uint64_t until_ms = tpc_clock_mono_ms() + LOAD_MS;
    if (cli_play_is_over(play)) {
        return;
    }
    (void)snprintf(prefix, sizeof prefix, "load%u", play->loads++);
    options.prefix = prefix;
    options.seed = play->setup->seed + play->loads;
    options.clients = clients;
    options.count = count;
    options.impossible_percent = 10;
    struct cli_workload *load = cli_workload_begin(&options, &play->history);
    while (!cli_workload_wait(load, count, LOOK_EVERY_MS) && !cli_play_is_over(play)) {
        cli_play_revive(play);
        if (play->plot.stop && !play->stopped &&
            cli_workload_ended(load) >= play->plot.stop_after) {
            stop_for_a_while(play);
        }
        if (!play->over && tpc_clock_mono_ms() > until_ms) {
            cli_play_object(play, "%u transactions do not end in %d s", count, LOAD_MS / 1000);
            play->over = true;
        }
    }
    if (play->over) {
        end_all(play);
    }
    cli_workload_end(load, play->over ? 0 : PATIENCE_MS);
    cli_play_revive(play);
}
