/* Branches in doubt ask their coordinator, in batches: one question to each at a time. */
#include "participant/daemon.h"

#include "base/log.h"
#include "base/tpc_assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { ASK_TIMEOUT_MS = 10000, ASK_BATCH_MAX = 1000 };

uint64_t part_ask_delay_ms(const struct part_daemon *daemon, unsigned tries)
{
    uint64_t first_ms = daemon->settings->ask_first_ms, max_ms = daemon->settings->ask_max_ms;
    if (tries == 0) {
        return first_ms; /* mostly the decision is here before */
    }
    uint64_t delay_ms = tries < 10 ? first_ms << tries : max_ms;
    delay_ms = delay_ms < max_ms ? delay_ms : max_ms;
    return delay_ms - tpc_random_u64() % (delay_ms / 4 + 1);
}

void part_ask(struct branch *branch)
{
    struct part_daemon *daemon = branch->daemon;
    struct coordinator *coordinator = part_coordinator_find(daemon, &branch->coordinator_id);
    struct work *work = part_branch_work(branch);
    if (coordinator == NULL || coordinator->self.url[0] == '\0') {
        part_branch_set_error(branch, "nobody has said where the coordinator is to be asked");
        return;
    }
    if (work->asking) {
        return;
    }
    if (coordinator->ask_count == coordinator->ask_capacity) {
        size_t capacity = coordinator->ask_capacity > 0 ? 2 * coordinator->ask_capacity : 64;
        struct tpc_id *more = realloc(coordinator->ask, capacity * sizeof *more);
        if (more == NULL) {
            part_halt("out of memory", NULL);
        }
        coordinator->ask = more;
        coordinator->ask_capacity = capacity;
    }
    coordinator->ask[coordinator->ask_count++] = branch->gtid;
    work->asking = true;
}

static bool wants_to_know(const struct branch *branch)
{
    enum part_state state = branch->fsm.state;
    return branch->fsm.told == PART_NO_OUTCOME &&
           (state == PART_PREPARED || state == PART_HEUR_COMMIT || state == PART_HEUR_ABORT);
}

void part_ask_all(struct coordinator *coordinator)
{
    struct branch *branch;
    DL_FOREACH (coordinator->daemon->live, branch) {
        if (wants_to_know(branch) && tpc_id_equal(&branch->coordinator_id, &coordinator->self.id)) {
            part_ask(branch);
        }
    }
}

/* ---- The answer ---- */

static struct branch *asker(struct coordinator *coordinator, const struct tpc_id *gtid)
{
    struct branch *branch = part_table_find(coordinator->daemon, gtid);
    return branch != NULL && branch->work != NULL &&
                   tpc_id_equal(&branch->coordinator_id, &coordinator->self.id)
               ? branch
               : NULL;
}

static void tell(struct coordinator *coordinator, const struct api_decision *decision)
{
    static const enum part_event_type types[] = {[API_OUTCOME_UNDECIDED] = PART_EV_TOLD_UNDECIDED,
                                                 [API_OUTCOME_COMMIT] = PART_EV_TOLD_COMMIT,
                                                 [API_OUTCOME_ABORT] = PART_EV_TOLD_ABORT};
    struct branch *branch = asker(coordinator, &decision->gtid);
    if (branch == NULL || !branch->work->asking) {
        return; /* it has ended meanwhile, or was not asked for */
    }
    branch->work->asking = false;
    part_branch_set_error(branch, NULL);
    (void)part_fp(PART_FP_DECISION_RECEIVE);
    coordinator->daemon->stats.decisions_told += decision->outcome != API_OUTCOME_UNDECIDED;
    enum part_state state = branch->fsm.state;
    if (part_event(branch, (struct part_event){.type = types[decision->outcome]}) != TPC_OK) {
        tpc_log(TPC_LOG_ERROR, "decision.contradiction", tpc_kv_id("gtid", &decision->gtid),
                tpc_kv_str("state", part_state_name(state)),
                tpc_kv_str("told", api_outcome_name(decision->outcome)));
    }
}

/* Those without an answer ask again by their timers. */
static void forget_asked(struct coordinator *coordinator, const char *error)
{
    for (size_t i = 0; i < coordinator->asked_count; i++) {
        struct branch *branch = asker(coordinator, &coordinator->asked[i]);
        if (branch != NULL && branch->work->asking) {
            branch->work->asking = false;
            part_branch_set_error(branch, error);
        }
    }
    free(coordinator->asked);
    coordinator->asked = NULL;
    coordinator->asked_count = 0;
}

static enum tpc_rc read_decisions(struct coordinator *coordinator, struct api_decisions *decisions,
                                  struct tpc_err *err)
{
    const struct api_call *call = &coordinator->call;
    if (call->status != 200) {
        return tpc_fail(err, TPC_EPROTO, "%s answered with status %d", coordinator->call_url,
                        call->status);
    }
    enum tpc_rc rc = api_decisions_decode(call->answer.data, call->answer.size, decisions, err);
    if (rc == TPC_OK && !tpc_id_equal(&decisions->coordinator_id, &coordinator->self.id)) {
        /* Its "abort" would be a presumption about transactions that it never had. */
        api_decisions_done(decisions);
        return tpc_fail(err, TPC_EPROTO, "another coordinator answers at %s",
                        coordinator->call_url);
    }
    return rc;
}

static void on_answer(struct api_call *call, enum tpc_rc rc, const struct tpc_err *call_err)
{
    struct coordinator *coordinator =
        (struct coordinator *)((char *)call - offsetof(struct coordinator, call));
    struct api_decisions decisions = {0};
    struct tpc_err err = {0};
    coordinator->calling = false;
    if (rc == TPC_OK) {
        rc = read_decisions(coordinator, &decisions, &err);
    } else {
        (void)tpc_fail(&err, rc, "%s", call_err != NULL ? call_err->text : tpc_rc_text(rc));
    }
    if (rc == TPC_OK) {
        part_coordinator_forgot(coordinator, decisions.generation, &decisions.forgotten_below);
    }
    for (size_t i = 0; rc == TPC_OK && i < decisions.count; i++) {
        tell(coordinator, &decisions.items[i]);
    }
    if (rc != TPC_OK) {
        coordinator->daemon->stats.inquiries_failed++;
        tpc_log(TPC_LOG_WARN, "inquiry.failed", tpc_kv_id("coordinator", &coordinator->self.id),
                tpc_kv_uint("branches", coordinator->asked_count), tpc_kv_str("error", err.text));
    }
    api_decisions_done(&decisions);
    api_call_done(call);
    forget_asked(coordinator, rc != TPC_OK ? err.text : "the coordinator did not say");
}

/* ---- The question ---- */

static void send_inquiry(struct part_daemon *daemon, struct coordinator *coordinator)
{
    size_t count = coordinator->ask_count < ASK_BATCH_MAX ? coordinator->ask_count : ASK_BATCH_MAX;
    coordinator->asked = part_alloc(count * sizeof *coordinator->asked);
    coordinator->asked_count = count;
    memcpy(coordinator->asked, coordinator->ask, count * sizeof *coordinator->asked);
    coordinator->ask_count -= count;
    memmove(coordinator->ask, coordinator->ask + count,
            coordinator->ask_count * sizeof *coordinator->ask);
    struct api_inquiry inquiry = {.participant_id = daemon->participant_id,
                                  .coordinator = coordinator->self,
                                  .count = count,
                                  .gtids = coordinator->asked};
    (void)snprintf(coordinator->call_url, sizeof coordinator->call_url, "%s/v1/decisions",
                   coordinator->self.url);
    coordinator->call = (struct api_call){.method = "POST",
                                          .url = coordinator->call_url,
                                          .timeout_ms = ASK_TIMEOUT_MS,
                                          .on_done = on_answer,
                                          .send = &part_failpoints[PART_FP_INQUIRY_SEND],
                                          .receive = &part_failpoints[PART_FP_INQUIRY_RECEIVE]};
    api_inquiry_write(&coordinator->call.body, &inquiry);
    daemon->stats.inquiries++;
    coordinator->calling = true;
    if (coordinator->call.body.failed ||
        api_client_start(daemon->client, &coordinator->call) != TPC_OK) {
        coordinator->calling = false;
        api_call_done(&coordinator->call);
        forget_asked(coordinator, "out of memory");
    }
}

void part_inquiries_send(struct part_daemon *daemon)
{
    struct coordinator *coordinator, *next;
    HASH_ITER (hh, daemon->coordinators, coordinator, next) {
        if (coordinator->ask_count > 0 && !coordinator->calling) {
            send_inquiry(daemon, coordinator);
        }
    }
}
