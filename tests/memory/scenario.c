#include "tests/memory/scenario.h"

#include "base/clock.h"
#include "tests/support/http.h"

#include <stdio.h>
#include <string.h>

enum { TRANSACTION_MS = 1500, ANSWER_MS = 8000, WORTH = 100000000 };

struct play {
    struct sup_world *world;
    struct sup_history *history;
    const char *name;
    struct sup_report *report;
};

static const struct sup_leg east1 = {0, 1}, east2 = {0, 2}, west1 = {1, 1};

/* ---- Transfers ---- */

static void check_time(const struct play *play, const char *what, uint64_t began_ms)
{
    if (tpc_clock_mono_ms() - began_ms >= ANSWER_MS) {
        sup_object(play->report, "%s: %s hangs", play->name, what);
    }
}

static void submit(const struct play *play, struct sup_transfer *transfer, const char *key)
{
    uint64_t began_ms = tpc_clock_mono_ms();
    sup_transfer_submit(play->world, transfer, key, TRANSACTION_MS);
    check_time(play, transfer->name, began_ms);
}

static struct sup_transfer *transfer(const struct play *play, const char *suffix,
                                     struct sup_leg from, struct sup_leg to, int64_t amount)
{
    struct sup_transfer *made = sup_history_add(play->history);
    (void)snprintf(made->name, sizeof made->name, "%s-%s", play->name, suffix);
    made->from = from;
    made->to = to;
    made->amount = amount;
    made->unguarded = amount > 1;
    return made;
}

static void move_money(const struct play *play)
{
    submit(play, transfer(play, "there", east1, west1, 1), NULL);
    submit(play, transfer(play, "within", east1, east2, 1), NULL);
    submit(play, transfer(play, "broke", east2, west1, WORTH), NULL);
    struct sup_transfer *keyed = transfer(play, "back", west1, east1, 1);
    submit(play, keyed, keyed->name);
    submit(play, keyed, keyed->name);
}

/* ---- Other requests ---- */

/* Whatever is answered with success is whole. */
static void call(const struct play *play, const struct sup_daemon *daemon, const char *method,
                 const char *path, const char *body)
{
    struct sup_answer answer;
    char what[256];
    uint64_t began_ms = tpc_clock_mono_ms();
    (void)snprintf(what, sizeof what, "%s %s of %s", method, path, daemon->name);
    sup_http_at(method, sup_daemon_url(daemon), path, NULL, body, ANSWER_MS, &answer);
    check_time(play, what, began_ms);
    bool text = strcmp(path, "/metrics") == 0 || answer.status == 204;
    bool whole = text || answer.json != NULL;
    if (answer.status != 0 && !whole) {
        sup_object(play->report, "%s: %s answers HTTP %d with no JSON: %.200s", play->name, what,
                   answer.status, answer.body.data != NULL ? answer.body.data : "");
    }
    sup_answer_done(&answer);
}

/* Two branches that only look: both results are there when it is said to have gone well. */
static void read_balances(const struct play *play)
{
    static const char body[] =
        "{\"timeout_ms\":1500,\"branches\":["
        "{\"participant\":\"east\",\"statements\":[{\"sql\":\"SELECT count(*) FROM accounts\"}]},"
        "{\"participant\":\"west\",\"statements\":[{\"sql\":\"SELECT count(*) FROM accounts\"}]}]}";
    struct sup_answer answer;
    uint64_t began_ms = tpc_clock_mono_ms();
    sup_http_at("POST", sup_daemon_url(&play->world->coordinator), "/v1/transactions", NULL, body,
                ANSWER_MS, &answer);
    check_time(play, "reading", began_ms);
    for (unsigned i = 0; answer.status == 201 && i < 2; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "branches.%u.results.0.rows.0.0", i);
        const struct api_json *value = sup_json_at(answer.json, path);
        if (value == NULL || api_json_number(value) != play->world->options.accounts) {
            sup_object(play->report, "%s: reading shows %s", play->name, answer.body.data);
        }
    }
    sup_answer_done(&answer);
}

static void ask_coordinator(const struct play *play)
{
    const struct sup_daemon *coordinator = &play->world->coordinator;
    const struct sup_transfer *first = &play->history->items[play->history->count - 4];
    char path[96], body[160];
    (void)snprintf(path, sizeof path, "/v1/transactions/%s", first->id);
    (void)snprintf(body, sizeof body, "{\"url\":\"%s\"}", sup_daemon_url(&play->world->agents[0]));
    call(play, coordinator, "GET", path, NULL);
    call(play, coordinator, "GET", "/v1/transactions?limit=5", NULL);
    call(play, coordinator, "PUT", "/v1/participants/spare", body);
    call(play, coordinator, "GET", "/v1/participants", NULL);
    call(play, coordinator, "DELETE", "/v1/participants/spare", NULL);
    call(play, coordinator, "POST", "/v1/transactions", "{\"branches\":7}");
    call(play, coordinator, "GET", "/v1/nowhere", NULL);
    call(play, coordinator, "GET", "/metrics", NULL);
}

static void ask_agent(const struct play *play)
{
    static const char messages[] =
        "{\"coordinator\":{\"id\":\"0199c0de-7a11-4c3e-9f00-5a2b1c0d0001\",\"url\":"
        "\"http://127.0.0.1:1\",\"generation\":1,\"nonce\":"
        "\"0199c0de-7a11-4c3e-9f00-5a2b1c0d0002\"},\"messages\":[]}";
    const struct sup_daemon *agent = &play->world->agents[0];
    call(play, agent, "GET", "/v1/branches", NULL);
    call(play, agent, "GET", "/v1/branches?state=committed&limit=3", NULL);
    call(play, agent, "POST", "/v1/messages", messages);
    call(play, agent, "POST", "/v1/branches/lookup",
         "{\"gtids\":[\"0199c0de-7a11-7c3e-9f00-5a2b1c0d0001\"]}");
    call(play, agent, "GET", "/v1/nowhere", NULL);
    call(play, agent, "GET", "/metrics", NULL);
}

void memory_scenario(struct sup_world *world, struct sup_history *history, const char *name,
                     struct sup_report *report)
{
    const struct play play = {world, history, name, report};
    move_money(&play);
    read_balances(&play);
    ask_coordinator(&play);
    ask_agent(&play);
}
