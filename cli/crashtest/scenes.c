/* Each step takes things as it finds them: at any time the process that is to die may have died, so
 * that an answer is missing, or what a step prepared did not come about. */
#include "cli/crashtest/scenes.h"

#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { EAST = 0, WEST = 1 }; /* the first and the second participant, however they are called */
enum { WAIT_MS = 10000, LOOK_EVERY_MS = 20, RETENTION_LOOK_MS = 300, LOOKS_MAX = 50, ROUNDS = 3 };

static const struct cli_leg east1 = {EAST, 1}, east2 = {EAST, 2};
static const struct cli_leg west1 = {WEST, 1}, west2 = {WEST, 2};

static void call(struct cli_play *play, const struct cli_node *node, const char *method,
                 const char *path, const char *body)
{
    if (!cli_play_is_over(play)) {
        (void)cli_play_call(node->url, method, path, NULL, body, NULL);
    }
}

/* Of what the coordinator tells to end. */
static bool has_settled(struct cli_play *play)
{
    static const char *const states[] = {"preparing", "committing", "aborting"};
    bool settled = true;
    for (size_t i = 0; i < 3 && settled; i++) {
        struct api_json *json = NULL;
        char path[64];
        (void)snprintf(path, sizeof path, "/v1/transactions?state=%s", states[i]);
        int status = cli_play_call(cli_play_coordinator(play)->url, "GET", path, NULL, NULL, &json);
        const struct api_json *items = cli_json_at(json, "items");
        settled = status == 200 && items != NULL && api_json_count(items) == 0;
        api_json_free(json);
    }
    struct api_json *json = NULL;
    int status = settled ? cli_play_call(cli_play_member(play, EAST)->url, "GET",
                                         "/v1/branches?state=prepared", NULL, NULL, &json)
                         : 0;
    const struct api_json *items = cli_json_at(json, "items");
    settled = settled && (status == 404 || (items != NULL && api_json_count(items) == 0));
    api_json_free(json);
    return settled;
}

static void wait_until_settled(struct cli_play *play)
{
    uint64_t until_ms = tpc_clock_mono_ms() + WAIT_MS;
    cli_play_revive(play);
    while (!cli_play_is_over(play) && !has_settled(play) && tpc_clock_mono_ms() < until_ms) {
        cli_play_nap(LOOK_EVERY_MS);
        cli_play_revive(play);
    }
}

/* ---- Traffic: clients beside each other, the registry, kills at rest ---- */

static void change_registry(struct cli_play *play)
{
    char body[300];
    (void)snprintf(body, sizeof body, "{\"url\":\"%s\"}", cli_play_member(play, EAST)->url);
    call(play, cli_play_coordinator(play), "PUT", "/v1/participants/spare", body);
    cli_play_revive(play);
    call(play, cli_play_coordinator(play), "DELETE", "/v1/participants/spare", NULL);
    cli_play_revive(play);
}

static void play_traffic(struct cli_play *play)
{
    cli_play_load(play, play->setup->clients, 6 * play->setup->clients);
    change_registry(play);
    cli_play_restart(play, cli_play_coordinator(play), NULL);
    cli_play_load(play, 3, 6);
    cli_play_restart(play, cli_play_member(play, EAST), NULL);
    cli_play_load(play, 3, 6);
}

/* The same without the kills. */
static void play_load(struct cli_play *play)
{
    cli_play_load(play, play->setup->clients, 8 * play->setup->clients);
}

/* ---- Conflict: one waits with its locks, another wants them, a third is aborted ---- */

static void abort_transaction(struct cli_play *play, const char *id)
{
    char path[96];
    (void)snprintf(path, sizeof path, "/v1/transactions/%s/abort", id);
    call(play, cli_play_coordinator(play), "POST", path, NULL);
}

/* Until a transaction is at its second attempt: it was refused, and tries again. */
static void wait_for_second_attempt(struct cli_play *play)
{
    uint64_t until_ms = tpc_clock_mono_ms() + WAIT_MS / 10;
    while (!cli_play_is_over(play) && tpc_clock_mono_ms() < until_ms &&
           cli_play_metric(cli_play_coordinator(play)->url,
                           "assent_transaction_attempts_again_total") <= 0) {
        cli_play_nap(LOOK_EVERY_MS);
        cli_play_revive_one(play, cli_play_coordinator(play));
    }
}

static void play_conflict(struct cli_play *play)
{
    struct cli_proc *west = &cli_play_member(play, WEST)->proc;
    char aborted[TPC_ID_TEXT];
    cli_proc_signal(west, SIGSTOP);
    (void)cli_play_transfer_async(play, east1, west1);
    cli_play_revive(play);
    (void)cli_play_transfer_async(play, east1, west2);
    wait_for_second_attempt(play);
    cli_play_revive(play);
    (void)snprintf(aborted, sizeof aborted, "%s", cli_play_transfer_async(play, east2, west1)->id);
    cli_play_revive(play);
    abort_transaction(play, aborted);
    cli_play_revive(play);
    cli_proc_signal(west, SIGCONT);
    cli_play_ask(play);
    cli_play_revive(play);
}

/* ---- In doubt: the coordinator dies between the votes and the outcome ---- */

static void die_deciding(struct cli_play *play, const char *failpoint)
{
    cli_play_restart(play, cli_play_coordinator(play), failpoint);
    (void)cli_play_transfer(play, east1, west1);
}

static void play_doubt(struct cli_play *play)
{
    static const char *const failpoints[] = {"coord.decision.force=1*kill",
                                             "coord.decision.forced=1*kill"};
    for (size_t i = 0; i < 2; i++) {
        die_deciding(play, failpoints[i]);
        cli_play_restart(play, cli_play_member(play, EAST), NULL);
        wait_until_settled(play);
    }
}

/* ---- Proof: a participant dies after the commit of its database, before it says so ---- */

static void play_proof(struct cli_play *play)
{
    static const char *const committed[] = {[CLI_NO_ENGINE] = "agent.db.committed=1*kill",
                                            [CLI_ENGINE_POSTGRESQL] = "agent.pg.decided=1*kill",
                                            [CLI_ENGINE_MARIADB] = "agent.maria.decided=1*kill"};
    struct cli_node *east = cli_play_member(play, EAST);
    cli_play_restart(play, east, committed[play->setup->specs[EAST].engine]);
    (void)cli_play_transfer_async(play, west1, east1);
    for (int looks = 0; looks < LOOKS_MAX && !cli_proc_wait(&east->proc, LOOK_EVERY_MS); looks++) {
        cli_play_revive_one(play, cli_play_coordinator(play));
    }
    cli_play_revive(play);
    wait_until_settled(play);
    cli_play_load(play, 3, 6);
}

/* ---- One phase: the participant dies with the only vote ---- */

static void play_one_phase(struct cli_play *play)
{
    static const char *const failpoints[] = {"agent.vote.send=1*kill",
                                             "agent.prepare.receive=1*kill"};
    for (size_t i = 0; i < 2; i++) {
        (void)cli_play_transfer(play, east2, east1); /* its log is known from here on */
        cli_play_restart(play, cli_play_member(play, EAST), failpoints[i]);
        (void)cli_play_transfer(play, east1, east2);
        wait_until_settled(play);
    }
    cli_play_load(play, 3, 6);
}

/* ---- By hand: an operator ends a branch in doubt as its coordinator will ---- */

/* Do what the first branch that is shown at @agent needs. False when it shows none. */
static bool operate(struct cli_play *play, struct cli_node *agent)
{
    struct api_json *json = NULL;
    char path[128];
    int status = cli_play_call(agent->url, "GET", "/v1/branches", NULL, NULL, &json);
    const char *gtid = cli_json_text_at(json, "items.0.gtid");
    const char *state = cli_json_text_at(json, "items.0.state");
    bool found = *gtid != '\0', none = status == 200 && !found;
    bool heuristic = strncmp(state, "heuristic_", 10) == 0;
    (void)snprintf(path, sizeof path, "/v1/branches/%s/%s", gtid, heuristic ? "forget" : "resolve");
    api_json_free(json);
    if (found) {
        call(play, agent, "POST", path,
             heuristic ? NULL
                       : "{\"outcome\":\"abort\",\"reason\":\"the coordinator died undecided\","
                         "\"operator\":\"crashtest\"}");
    }
    return !none;
}

static void play_by_hand(struct cli_play *play)
{
    struct cli_node *east = cli_play_member(play, EAST);
    die_deciding(play, "coord.decision.force=1*kill");
    uint64_t until_ms = tpc_clock_mono_ms() + WAIT_MS;
    while (!cli_play_is_over(play) && operate(play, east) && tpc_clock_mono_ms() < until_ms) {
        cli_play_nap(LOOK_EVERY_MS);
        cli_play_revive_one(play, east);
    }
    wait_until_settled(play);
}

/* ---- Retention: what ended is forgotten ---- */

static bool is_forgotten(struct cli_play *play)
{
    return cli_play_metric(cli_play_member(play, EAST)->url, "assent_branches_erased_total") > 0;
}

/* From here on participants keep what ended: it is going to be compared with what the coordinator
 * knows. That has to be nothing of before, when they kept it no longer than the coordinator did;
 * and what it forgot it would know again after a crash, but for the forced records that follow. */
static void remember_again(struct cli_play *play)
{
    const struct cli_node *coordinator = &play->world.nodes[0];
    uint64_t until_ms = tpc_clock_mono_ms() + WAIT_MS;
    for (unsigned i = 0; i < play->setup->spec_count; i++) {
        struct cli_node *node = cli_play_member(play, i);
        for (size_t j = 0; node->flags[j] != NULL; j++) {
            if (strcmp(node->flags[j], "--retention") == 0) {
                node->flags[j] = NULL; /* it, and what follows */
                break;
            }
        }
        cli_play_restart(play, node, NULL);
    }
    while (!cli_play_is_over(play) && tpc_clock_mono_ms() < until_ms &&
           cli_play_metric(coordinator->url, "assent_transactions_retained") != 0) {
        cli_play_nap(RETENTION_LOOK_MS);
        cli_play_revive(play);
    }
    for (int i = 0; i < ROUNDS; i++) {
        (void)cli_play_transfer(play, west1, east1);
        cli_play_revive(play);
    }
}

static void play_retention(struct cli_play *play)
{
    uint64_t until_ms = tpc_clock_mono_ms() + WAIT_MS;
    for (int i = 0; i < ROUNDS; i++) {
        (void)cli_play_transfer(play, east1, west1);
        cli_play_revive(play);
    }
    /* What the coordinator has forgotten, participants learn with the next message. */
    while (!cli_play_is_over(play) && !is_forgotten(play) && tpc_clock_mono_ms() < until_ms) {
        (void)cli_play_transfer(play, west1, east1);
        cli_play_nap(RETENTION_LOOK_MS);
        cli_play_revive(play);
    }
    remember_again(play);
    for (size_t i = 0; i < play->history.count; i++) {
        play->history.txns[i].id[0] = '\0'; /* forgotten: nothing is said about it */
    }
}

/* ---- Interactive: work that comes step by step ---- */

static void play_interactive(struct cli_play *play)
{
    for (int i = 0; i < ROUNDS; i++) {
        (void)cli_play_interactive(play, i % 2 == 0 ? east1 : west1, i % 2 == 0 ? west1 : east1);
        cli_play_revive(play);
    }
    cli_play_ask(play);
    wait_until_settled(play);
}

/* ---- Silence: a participant answers nothing, and then everything at once ---- */

static void play_silence(struct cli_play *play)
{
    struct cli_proc *west = &cli_play_member(play, WEST)->proc;
    cli_proc_signal(west, SIGSTOP);
    (void)cli_play_transfer(play, east1, west1);
    cli_play_revive(play);
    cli_proc_signal(west, SIGCONT);
    cli_play_load(play, 3, 6);
}

static const char *const quick[] = {"--ask-first", "50ms", "--ask-max", "200ms", NULL};
static const char *const forgetful[] = {"--retention", "1s", NULL};
static const char *const quick_forgetful[] = {
    "--ask-first", "50ms", "--ask-max", "200ms", "--retention", "1s", "--remember", "1s", NULL};

const struct cli_scene cli_scenes[] = {
    {"traffic", 0, NULL, quick, play_traffic},
    {CLI_SCENE_LOAD, 0, NULL, quick, play_load},
    {"conflict", CLI_NEED_TWO | CLI_NEED_STOP, NULL, quick, play_conflict},
    {CLI_SCENE_DOUBT, CLI_NEED_TWO, NULL, quick, play_doubt},
    {"proof", CLI_NEED_TWO | CLI_NEED_FAILPOINTS | CLI_NEED_AGENT, NULL, quick, play_proof},
    {"one-phase", CLI_NEED_FAILPOINTS | CLI_NEED_AGENT, NULL, quick, play_one_phase},
    {"by-hand", CLI_NEED_TWO | CLI_NEED_AGENT, NULL, quick, play_by_hand},
    {"interactive", CLI_NEED_TWO | CLI_NEED_AGENT, NULL, quick, play_interactive},
    {"silence", CLI_NEED_TWO | CLI_NEED_STOP, NULL, quick, play_silence},
    {"retention", CLI_NEED_TWO | CLI_NEED_AGENT, forgetful, quick_forgetful, play_retention},
    {NULL, 0, NULL, NULL, NULL},
};

const struct cli_scene *cli_scene_find(const char *name, unsigned *ret_index)
{
    for (unsigned i = 0; cli_scenes[i].name != NULL; i++) {
        if (strcmp(cli_scenes[i].name, name) == 0) {
            *ret_index = i;
            return &cli_scenes[i];
        }
    }
    return NULL;
}

bool cli_scene_fits(const struct cli_scene *scene, const struct cli_setup *setup)
{
    const struct cli_spec *first = &setup->specs[0], *second = &setup->specs[1];
    bool two = setup->spec_count >= 2;
    bool may_stop = two && (second->url == NULL || second->command != NULL);
    return ((scene->needs & CLI_NEED_TWO) == 0 || two) &&
           ((scene->needs & CLI_NEED_STOP) == 0 || may_stop) &&
           ((scene->needs & CLI_NEED_FAILPOINTS) == 0 || first->url == NULL ||
            first->has_failpoints) &&
           ((scene->needs & CLI_NEED_AGENT) == 0 || first->url == NULL);
}
