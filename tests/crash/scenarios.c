/* Each step takes things as it finds them: at any time the process that is to die may have died, so
 * that an answer is missing, or what a step prepared did not come about. */
#include "tests/crash/scenarios.h"

#include "base/clock.h"
#include "tests/support/http.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { WAIT_MS = 10000, LOOK_EVERY_MS = 20, LOOKS_MAX = 50, OPERATIONS_MAX = 10 };

static const struct sup_leg east1 = {STAGE_EAST, 1}, east2 = {STAGE_EAST, 2};
static const struct sup_leg west1 = {STAGE_WEST, 1}, west2 = {STAGE_WEST, 2};

static void call(struct sup_daemon *daemon, const char *method, const char *path, const char *body)
{
    (void)sup_http_status(method, sup_daemon_url(daemon), path, body);
}

/* ---- Traffic: clients beside each other, the registry, kills at rest ---- */

static void change_registry(struct stage *stage)
{
    char body[160];
    (void)snprintf(body, sizeof body, "{\"url\":\"%s\"}",
                   sup_daemon_url(stage_agent(stage, STAGE_EAST)));
    call(&stage->world.coordinator, "PUT", "/v1/participants/spare", body);
    stage_revive(stage);
    call(&stage->world.coordinator, "DELETE", "/v1/participants/spare", NULL);
    stage_revive(stage);
}

static void play_traffic(struct stage *stage)
{
    stage_load(stage, 6, 36);
    change_registry(stage);
    stage_restart(stage, &stage->world.coordinator, NULL);
    stage_load(stage, 3, 6);
    stage_restart(stage, stage_agent(stage, STAGE_EAST), NULL);
    stage_load(stage, 3, 6);
}

/* ---- Conflict: one waits with its locks, another wants them, a third is aborted ---- */

static void abort_transaction(struct stage *stage, const char *id)
{
    char path[96];
    (void)snprintf(path, sizeof path, "/v1/transactions/%s/abort", id);
    call(&stage->world.coordinator, "POST", path, NULL);
}

/* Until a transaction is at its second attempt: it was refused, and tries again. */
static void wait_for_second_attempt(struct stage *stage)
{
    static const struct timespec pause = {.tv_nsec = LOOK_EVERY_MS * 1000000L};
    const char *url = sup_daemon_url(&stage->world.coordinator);
    uint64_t until_ms = tpc_clock_mono_ms() + WAIT_MS;
    double again = 0;
    while (again == 0 && tpc_clock_mono_ms() < until_ms) {
        again = sup_metric(url, "assent_transaction_attempts_again_total", NULL);
        (void)nanosleep(&pause, NULL);
    }
}

static void play_conflict(struct stage *stage)
{
    struct sup_proc *west = &stage_agent(stage, STAGE_WEST)->proc;
    sup_proc_signal(west, SIGSTOP);
    char aborted[TPC_ID_TEXT];
    (void)stage_transfer_async(stage, east1, west1);
    stage_revive(stage);
    (void)stage_transfer_async(stage, east1, west2);
    wait_for_second_attempt(stage);
    stage_revive(stage);
    (void)snprintf(aborted, sizeof aborted, "%s", stage_transfer_async(stage, east2, west1)->id);
    stage_revive(stage);
    abort_transaction(stage, aborted);
    stage_revive(stage);
    sup_proc_signal(west, SIGCONT);
    stage_ask(stage);
    stage_revive(stage);
}

/* ---- In doubt: the coordinator dies between the votes and the outcome ---- */

static void die_deciding(struct stage *stage, const char *failpoint)
{
    stage_restart(stage, &stage->world.coordinator, failpoint);
    (void)stage_transfer(stage, east1, west1);
}

static void wait_until_settled(struct stage *stage)
{
    struct sup_report unsettled = {.quiet = true};
    for (int i = 0; i < 3; i++) {
        stage_revive(stage);
        unsettled.count = 0;
        sup_check_settled(&stage->world, WAIT_MS / 10, &unsettled);
        if (unsettled.count == 0 && sup_daemon_is_running(stage_agent(stage, STAGE_EAST)) &&
            sup_daemon_is_running(&stage->world.coordinator)) {
            return;
        }
    }
}

static void play_doubt(struct stage *stage)
{
    static const char *const failpoints[] = {"coord.decision.force=1*kill",
                                             "coord.decision.forced=1*kill"};
    for (size_t i = 0; i < 2; i++) {
        die_deciding(stage, failpoints[i]);
        stage_restart(stage, stage_agent(stage, STAGE_EAST), NULL);
        wait_until_settled(stage);
    }
}

/* ---- Proof: a participant dies after the commit of its database, before it says so ---- */

static void play_proof(struct stage *stage)
{
    struct sup_daemon *east = stage_agent(stage, STAGE_EAST);
    stage_restart(stage, east, "agent.db.committed=1*kill");
    (void)stage_transfer_async(stage, west1, east1);
    for (int looks = 0; looks < LOOKS_MAX && !sup_proc_wait(&east->proc, LOOK_EVERY_MS); looks++) {
        stage_revive_one(stage, &stage->world.coordinator);
    }
    stage_revive(stage);
    wait_until_settled(stage);
    stage_load(stage, 3, 6);
}

/* ---- One phase: the participant dies with the only vote ---- */

static void play_one_phase(struct stage *stage)
{
    static const char *const failpoints[] = {"agent.vote.send=1*kill",
                                             "agent.prepare.receive=1*kill"};
    for (size_t i = 0; i < 2; i++) {
        stage_restart(stage, stage_agent(stage, STAGE_EAST), failpoints[i]);
        (void)stage_transfer(stage, east1, east2);
        wait_until_settled(stage);
    }
    stage_load(stage, 3, 6);
}

/* ---- By hand: an operator ends a branch in doubt as its coordinator will ---- */

/* Do what the first branch that is shown at @agent needs. False when it shows none. */
static bool operate(struct sup_daemon *agent)
{
    struct sup_answer answer;
    char path[128];
    sup_http_at("GET", sup_daemon_url(agent), "/v1/branches", NULL, NULL, SUP_CALL_MS, &answer);
    const char *gtid = sup_json_text(answer.json, "items.0.gtid");
    const char *state = sup_json_text(answer.json, "items.0.state");
    bool found = *gtid != '\0', none = answer.status == 200 && !found;
    bool heuristic = strncmp(state, "heuristic_", 10) == 0;
    (void)snprintf(path, sizeof path, "/v1/branches/%s/%s", gtid, heuristic ? "forget" : "resolve");
    sup_answer_done(&answer);
    if (found) {
        call(agent, "POST", path,
             heuristic ? NULL
                       : "{\"outcome\":\"abort\",\"reason\":\"the coordinator died undecided\","
                         "\"operator\":\"test\"}");
    }
    return !none;
}

static void play_by_hand(struct stage *stage)
{
    struct sup_daemon *east = stage_agent(stage, STAGE_EAST);
    die_deciding(stage, "coord.decision.force=1*kill");
    for (int i = 0; i < OPERATIONS_MAX && operate(east); i++) {
        stage_revive_one(stage, east);
    }
    wait_until_settled(stage);
}

/* ---- Retention: what ended is forgotten ---- */

static bool is_forgotten(struct stage *stage)
{
    const char *coordinator = sup_daemon_url(&stage->world.coordinator);
    const char *east = sup_daemon_url(stage_agent(stage, STAGE_EAST));
    return sup_metric(coordinator, "assent_transactions_retained", NULL) == 0 &&
           sup_metric(east, "assent_branches_erased_total", NULL) > 0;
}

static void play_retention(struct stage *stage)
{
    static const struct timespec pause = {.tv_nsec = LOOK_EVERY_MS * 1000000L};
    uint64_t until_ms = tpc_clock_mono_ms() + WAIT_MS;
    for (int i = 0; i < 4; i++) {
        (void)stage_transfer(stage, east1, west1);
        stage_revive(stage);
    }
    while (!is_forgotten(stage) && tpc_clock_mono_ms() < until_ms) {
        (void)nanosleep(&pause, NULL);
        stage_revive(stage);
    }
    (void)stage_transfer(stage, west1, east1);
    stage_revive(stage);
    for (size_t i = 0; i < stage->history.count; i++) {
        stage->history.items[i].id[0] = '\0'; /* forgotten: nothing is said about it */
    }
}

/* ---- Silence: a participant answers nothing, and then everything at once ---- */

static void play_silence(struct stage *stage)
{
    struct sup_proc *west = &stage_agent(stage, STAGE_WEST)->proc;
    sup_proc_signal(west, SIGSTOP);
    (void)stage_transfer(stage, east1, west1);
    stage_revive(stage);
    sup_proc_signal(west, SIGCONT);
    stage_load(stage, 3, 6);
}

static const char *const quick[] = {"--ask-first", "50ms", "--ask-max", "200ms", NULL};
static const char *const forgetful[] = {"--retention", "1s", NULL};
static const char *const quick_forgetful[] = {
    "--ask-first", "50ms", "--ask-max", "200ms", "--retention", "1s", "--remember", "1s", NULL};

const struct scenario scenarios[] = {
    {"traffic", NULL, quick, play_traffic},
    {"conflict", NULL, quick, play_conflict},
    {"doubt", NULL, quick, play_doubt},
    {"proof", NULL, quick, play_proof},
    {"one-phase", NULL, quick, play_one_phase},
    {"by-hand", NULL, quick, play_by_hand},
    {"silence", NULL, quick, play_silence},
    {"retention", forgetful, quick_forgetful, play_retention},
    {NULL, NULL, NULL, NULL},
};
