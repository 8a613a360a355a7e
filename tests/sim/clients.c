/* The clients: each has one transaction, a transfer between rows of some
 * participants, and wants to know what became of it. Some have a key and ask
 * again with it; those without give up when an answer is lost, for they cannot
 * know. */
#include "tests/sim/sim.h"

#include "api/client.h"
#include "api/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    AUDIT = SIM_TRANSACTIONS_MAX + 1, /* and above: those that touch everything, at the end */
    AGAIN_US = 500000,
    PATIENCE_MS = 40000,
    AUDIT_US = 60000000,
};

struct client {
    unsigned number; /* from 1 */
    unsigned coordinator;
    uint64_t random;
    struct sim_told_of told;
    bool async, decided;
    bool over;
    bool asking; /* it knows an id, and asks how that one ended */
    struct tpc_buf body;
    char url[128], header[96];
    struct api_call call, abort_call;
    char abort_url[128];
    bool aborting;
};

static struct client *clients[AUDIT + 3];

static void submit(void *arg);
static void ask(void *arg);

/* ---- What it wants ---- */

static void add_branch(struct client *client, unsigned participant, int64_t delta, bool all_rows)
{
    struct tpc_buf *out = &client->body;
    uint64_t dice = sim_random(&client->random);
    unsigned row = dice % 2 == 0 ? 0 : (unsigned)(dice >> 1) % SIM_ROWS; /* one is hot */
    tpc_buf_addf(out, "{\"participant\":\"p%u\",\"statements\":[", participant + 1);
    if (delta == 0 && !all_rows) {
        tpc_buf_addf(out, "{\"sql\":\"read %u %u\"}", row, client->number);
    }
    for (unsigned i = 0; i < SIM_ROWS && all_rows; i++) {
        tpc_buf_addf(out, "%s{\"sql\":\"add %u 0 %u\"}", i > 0 ? "," : "", i, client->number);
    }
    if (delta != 0) {
        tpc_buf_addf(out, "{\"sql\":\"add %u %" PRId64 " %u\"}", row, delta, client->number);
    }
    tpc_buf_adds(out, sim_fault(SIM_SQL, client->number) ? ",{\"sql\":\"fail\"}]}" : "]}");
}

static void write_head(struct client *client, uint64_t timeout_ms)
{
    tpc_buf_addf(&client->body, "{\"label\":\"t%u\",\"timeout_ms\":%" PRIu64 "%s,\"branches\":[",
                 client->number, timeout_ms, client->decided ? ",\"ack\":\"decided\"" : "");
}

/* Who takes part, mostly two of them; and what each gets, in sum nothing. */
static void choose(struct client *client)
{
    static const uint64_t timeouts_ms[] = {300, 2000, 10000, 10000, 30000};
    unsigned count = 1 + (unsigned)(sim_random(&client->random) % 4 != 0);
    while (count < sim.participants && count > 1 && sim_random(&client->random) % 3 == 0) {
        count++;
    }
    count = count < sim.participants ? count : sim.participants;
    unsigned first = (unsigned)sim_between(&client->random, 0, sim.participants);
    bool reads_only = sim_random(&client->random) % 16 == 0;
    write_head(client, timeouts_ms[sim_random(&client->random) % 5]);
    int64_t left = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned participant = (first + i) % sim.participants;
        bool reads = reads_only || (i > 0 && i + 1 < count && sim_random(&client->random) % 3 == 0);
        int64_t delta = i + 1 == count ? -left : (int64_t)sim_between(&client->random, 1, 100) - 50;
        delta = reads ? 0 : count == 1 ? 1 : delta;
        left += delta;
        client->told.branches[i] =
            (struct sim_txn_branch){.participant = participant, .writes = delta != 0};
        if (i > 0) {
            tpc_buf_addc(&client->body, ',');
        }
        add_branch(client, participant, delta, false);
    }
    client->told.branch_count = count;
    tpc_buf_adds(&client->body, "]}");
}

/* ---- The end ---- */

static void end(struct client *client, enum sim_told told)
{
    static const char *const words[] = {"nothing", "commit", "abort", "hazard", "unknown"};
    client->over = true;
    client->told.told = told;
    sim_trace("client", "t%u is told: %s", client->number, words[told]);
    switch (told) {
    case SIM_TOLD_COMMIT:
        sim.result->committed++;
        break;
    case SIM_TOLD_ABORT:
        sim.result->aborted++;
        break;
    case SIM_TOLD_HAZARD:
        sim.result->hazards++;
        break;
    case SIM_TOLD_NOTHING:
    case SIM_TOLD_UNKNOWN:
        sim.result->unknown++;
        break;
    }
}

static void later(struct client *client, void (*what)(void *arg))
{
    sim_at(sim.now_us + sim_latency(&client->random, AGAIN_US), NULL, what, client);
}

/* Without a key it cannot ask for what it has no id of. */
static void lost_sight(struct client *client)
{
    if (client->asking) {
        later(client, ask);
    } else if (client->told.keyed) {
        later(client, submit);
    } else {
        end(client, SIM_TOLD_UNKNOWN);
    }
}

/* ---- Answers ---- */

static const char *text_of(const struct api_json *root, const char *name)
{
    const struct api_json *value = api_json_get(root, name);
    const char *text = value != NULL ? api_json_string(value) : NULL;
    return text != NULL ? text : "";
}

static void note_id(struct client *client, const struct api_json *root)
{
    const char *text = text_of(root, "id");
    (void)!tpc_id_parse(text, strlen(text), &client->told.id);
}

static void maybe_abort(struct client *client);

/* A view of the transaction: ended, or to be asked for again. */
static void read_view(struct client *client, const struct api_json *root)
{
    const char *outcome = text_of(root, "outcome"), *state = text_of(root, "state");
    note_id(client, root);
    if (api_json_get(root, "hazard") != NULL) {
        end(client, SIM_TOLD_HAZARD);
    } else if (strcmp(outcome, "commit") == 0) {
        end(client, SIM_TOLD_COMMIT);
    } else if (strcmp(outcome, "abort") == 0 && strcmp(state, "aborted") == 0) {
        end(client, SIM_TOLD_ABORT);
    } else {
        client->asking = true;
        later(client, ask);
        maybe_abort(client);
    }
}

/* Nothing was started, or it is not known whether. */
static void read_refusal(struct client *client, const struct api_json *root)
{
    bool not_started = strstr(text_of(root, "detail"), "nothing was started") != NULL;
    if (not_started && !client->asking) {
        later(client, submit);
    } else {
        lost_sight(client);
    }
}

static void read_answer(struct client *client, const struct api_call *call,
                        const struct api_json *root)
{
    switch (call->status) {
    case 200:
    case 201:
    case 202:
    case 500:
        read_view(client, root);
        break;
    case 409:
        note_id(client, root);
        if (strcmp(text_of(root, "type"), "urn:assent:problem:aborted") != 0) {
            sim_violation("t%u is told 409 %s", client->number, text_of(root, "type"));
        }
        end(client, SIM_TOLD_ABORT);
        break;
    case 404: /* its id was told, so it began here, and is not known: aborted
                 before a restart */
        if (!client->asking) {
            sim_violation("t%u: the coordinator does not know a path", client->number);
        }
        end(client, SIM_TOLD_ABORT);
        break;
    case 503:
        read_refusal(client, root);
        break;
    default:
        sim_violation("t%u is told %d %s", client->number, call->status, text_of(root, "detail"));
    }
}

static void on_answer(struct api_call *call, enum tpc_rc rc, const struct tpc_err *err)
{
    struct client *client = (struct client *)((char *)call - offsetof(struct client, call));
    struct api_json *root = NULL;
    struct tpc_err json_err = {0};
    (void)err;
    if (rc == TPC_EUNREACHABLE && !client->asking) {
        later(client, submit);
    } else if (rc != TPC_OK || call->status == 502) {
        lost_sight(client);
    } else if (api_json_parse(call->answer.data, call->answer.size, &root, &json_err) != TPC_OK) {
        sim_violation("t%u is told %d and no JSON: %s", client->number, call->status,
                      json_err.text);
    } else {
        read_answer(client, call, root);
        api_json_free(root);
    }
    api_call_done(call);
}

/* ---- Questions ---- */

static void submit(void *arg)
{
    struct client *client = arg;
    client->call = (struct api_call){.method = "POST",
                                     .url = client->url,
                                     .header = client->header,
                                     .timeout_ms = PATIENCE_MS,
                                     .on_done = on_answer};
    (void)snprintf(client->url, sizeof client->url, "http://c%u:1/v1/transactions",
                   client->coordinator + 1);
    tpc_buf_add(&client->call.body, client->body.data, client->body.size);
    sim_net_start_outside(&client->call, client->told.keyed);
}

static void ask(void *arg)
{
    struct client *client = arg;
    char id[TPC_ID_TEXT];
    (void)snprintf(client->url, sizeof client->url, "http://c%u:1/v1/transactions/%s?wait=5s",
                   client->coordinator + 1, tpc_id_format(&client->told.id, id));
    client->call = (struct api_call){
        .method = "GET", .url = client->url, .timeout_ms = 10000, .on_done = on_answer};
    sim_net_start_outside(&client->call, true);
}

static void on_aborted(struct api_call *call, enum tpc_rc rc, const struct tpc_err *err)
{
    struct client *client = (struct client *)((char *)call - offsetof(struct client, abort_call));
    (void)rc, (void)err; /* how it ended, the client asks for */
    client->aborting = false;
    api_call_done(call);
}

static void maybe_abort(struct client *client)
{
    char id[TPC_ID_TEXT];
    if (client->aborting || !sim_fault(SIM_CLIENT_ABORT, client->number)) {
        return;
    }
    client->aborting = true;
    sim_trace("client", "t%u wants it aborted", client->number);
    (void)snprintf(client->abort_url, sizeof client->abort_url,
                   "http://c%u:1/v1/transactions/%s/abort", client->coordinator + 1,
                   tpc_id_format(&client->told.id, id));
    client->abort_call = (struct api_call){
        .method = "POST", .url = client->abort_url, .timeout_ms = 10000, .on_done = on_aborted};
    sim_net_start_outside(&client->abort_call, true);
}

/* ---- All of them ---- */

static struct client *make(unsigned number)
{
    struct client *client = sim_alloc(sizeof *client);
    client->number = number;
    client->random = sim_hash(sim.config.seed, 5000 + number);
    client->coordinator = (unsigned)(sim_random(&client->random) % sim.coordinators);
    client->told.keyed = sim_random(&client->random) % 2 != 0;
    client->async = sim_random(&client->random) % 4 == 0;
    client->decided = sim_random(&client->random) % 3 == 0;
    int size = 0;
    if (client->told.keyed) {
        size = snprintf(client->header, sizeof client->header, "Idempotency-Key: k%u\n", number);
    }
    (void)snprintf(client->header + size, sizeof client->header - (size_t)size, "%s",
                   client->async ? "Prefer: respond-async" : "");
    clients[number] = client;
    return client;
}

void sim_clients_start(void)
{
    memset(clients, 0, sizeof clients);
    for (unsigned n = 1; n <= sim.transactions; n++) {
        struct client *client = make(n);
        choose(client);
        client->over = (sim.config.clients & UINT64_C(1) << (n - 1)) == 0;
        if (!client->over) {
            sim_at(sim_between(&client->random, 0, sim.work_us), NULL, submit, client);
        }
    }
}

struct sim_told_of sim_client(unsigned n)
{
    return clients[n]->told;
}

const char *sim_clients_busy(void)
{
    for (unsigned n = 1; n <= sim.transactions; n++) {
        if (!clients[n]->over) {
            return "a client has no answer";
        }
    }
    return NULL;
}

void sim_clients_audit(void)
{
    unsigned number = AUDIT;
    while (clients[number] != NULL) {
        number++;
    }
    struct client *client = make(number);
    client->async = client->decided = false;
    write_head(client, 30000);
    for (unsigned i = 0; i < sim.participants; i++) {
        client->told.branches[i] = (struct sim_txn_branch){.participant = i, .writes = true};
        if (i > 0) {
            tpc_buf_addc(&client->body, ',');
        }
        add_branch(client, i, 0, true);
    }
    client->told.branch_count = sim.participants;
    tpc_buf_adds(&client->body, "]}");
    submit(client);
    for (uint64_t end_us = sim.now_us + AUDIT_US; !client->over && sim.now_us < end_us;) {
        sim_run_until(sim.now_us + 100000);
    }
    if (client->told.told != SIM_TOLD_COMMIT) {
        sim_violation("a transaction over every row does not commit when all is at rest");
    }
}
