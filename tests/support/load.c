#include "tests/support/load.h"

#include "api/client.h"
#include "base/clock.h"
#include "tests/support/http.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

enum {
    CLIENTS_MAX = 1024,
    PAUSE_MS = 10,        /* before a client that was turned away comes again */
    CALL_SLACK_MS = 5000, /* how much longer than the transaction a client waits */
    MONEY_NOBODY_HAS = 1000000000,
};

struct client {
    struct api_call call;
    struct sup_load *load;
    unsigned number;
    uint64_t random;
    size_t at; /* in the history */
    char url[256], header[128];
    bool asking; /* by the id that was told, instead of submitting */
    bool active;
    uv_timer_t pause;
};

struct sup_load {
    struct sup_world *world;
    char url[64]; /* of the coordinator; the test's thread rewrites its own at restarts */
    struct sup_load_options options;
    struct sup_history *history;
    struct client *clients;
    struct api_client *http;
    uv_loop_t loop;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t ended; /* one more transfer has ended, or all clients have */
    uint64_t ended_count; /* under the mutex */
    uint64_t begun_count;
    unsigned active_count;
    bool gone; /* under the mutex: no client is active */
    atomic_bool stopping;
    _Atomic uint64_t give_up_ms; /* keyed ones too */
};

static void begin_transfer(struct client *client);
static void send_request(struct client *client);

/* SplitMix64. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static unsigned below(struct client *client, unsigned bound)
{
    return (unsigned)(next_random(&client->random) % bound);
}

static struct sup_transfer *transfer_of(struct client *client)
{
    return &client->load->history->items[client->at];
}

/* ---- The end of a transfer ---- */

static void become_inactive(struct client *client)
{
    struct sup_load *load = client->load;
    client->active = false;
    if (--load->active_count > 0) {
        return;
    }
    for (unsigned i = 0; i < load->options.clients; i++) {
        uv_close((uv_handle_t *)&load->clients[i].pause, NULL);
    }
    uv_stop(&load->loop);
}

static void end_transfer(struct client *client, bool pause);

static void on_pause_over(uv_timer_t *timer)
{
    struct client *client = timer->data;
    if (client->at == SIZE_MAX) {
        begin_transfer(client);
    } else {
        send_request(client);
    }
}

static void pause_then(struct client *client)
{
    uv_timer_start(&client->pause, on_pause_over, PAUSE_MS, 0);
}

static void end_transfer(struct client *client, bool pause)
{
    struct sup_load *load = client->load;
    client->at = SIZE_MAX;
    (void)pthread_mutex_lock(&load->mutex);
    load->ended_count++;
    (void)pthread_cond_broadcast(&load->ended);
    (void)pthread_mutex_unlock(&load->mutex);
    if (pause) {
        pause_then(client);
    } else {
        begin_transfer(client);
    }
}

/* ---- Answers ---- */

static bool may_ask_again(const struct client *client, const struct sup_transfer *transfer)
{
    uint64_t give_up_ms = atomic_load(&client->load->give_up_ms);
    return (transfer->keyed || transfer->id[0] != '\0') && tpc_clock_mono_ms() < give_up_ms;
}

static bool note_answer(struct sup_transfer *transfer, const struct api_call *call, enum tpc_rc rc)
{
    struct api_json *json = NULL;
    if (rc == TPC_EUNREACHABLE && transfer->tries == 1) {
        transfer->told = SUP_TOLD_NOT_STARTED;
    }
    if (rc != TPC_OK) {
        return transfer->told != SUP_TOLD_UNKNOWN;
    }
    if (api_json_parse(call->answer.data, call->answer.size, &json, NULL) != TPC_OK) {
        json = NULL;
    }
    bool known = sup_transfer_note(transfer, call->status, json);
    api_json_free(json);
    return known;
}

static void on_done(struct api_call *call, enum tpc_rc rc, const struct tpc_err *err)
{
    struct client *client = (struct client *)call;
    struct sup_transfer *transfer = transfer_of(client);
    (void)err;
    /* Asked by its id: neither silence nor 503 says anything. */
    bool silent = client->asking && (rc != TPC_OK || call->status == 503);
    bool known = !silent && note_answer(transfer, call, rc);
    bool open = rc != TPC_OK || call->status == 200 || call->status == 202 || call->status == 503;
    api_call_done(call);
    if (known) {
        end_transfer(client, transfer->told == SUP_TOLD_NOT_STARTED);
    } else if (open && may_ask_again(client, transfer)) {
        pause_then(client);
    } else {
        end_transfer(client, true);
    }
}

/* ---- Requests ---- */

static void choose(struct client *client, struct sup_transfer *transfer)
{
    const struct sup_load_options *options = &client->load->options;
    const struct sup_world_options *world = &client->load->world->options;
    (void)snprintf(transfer->name, sizeof transfer->name, "%.20s-%u-%llu",
                   options->prefix != NULL ? options->prefix : "t", client->number,
                   (unsigned long long)client->load->begun_count);
    transfer->from =
        (struct sup_leg){below(client, world->agents), 1 + below(client, world->accounts)};
    transfer->to =
        (struct sup_leg){below(client, world->agents), 1 + below(client, world->accounts)};
    if (below(client, 100) < options->within_percent) {
        transfer->to.bank = transfer->from.bank;
        transfer->to.account = 1 + transfer->from.account % world->accounts;
    } else if (transfer->to.bank == transfer->from.bank) {
        transfer->to.bank = (transfer->from.bank + 1) % world->agents;
    }
    transfer->amount = 1 + (int64_t)below(client, (unsigned)options->amount_max);
    if (below(client, 100) < options->broke_percent) {
        transfer->amount = MONEY_NOBODY_HAS;
        transfer->unguarded = below(client, 2) == 0;
    }
    transfer->keyed = below(client, 100) < options->keyed_percent;
}

static void begin_transfer(struct client *client)
{
    struct sup_load *load = client->load;
    bool all = load->options.count != 0 && load->begun_count == load->options.count;
    if (all || atomic_load(&load->stopping)) {
        become_inactive(client);
        return;
    }
    struct sup_transfer *transfer = sup_history_add(load->history);
    client->at = (size_t)(transfer - load->history->items);
    load->begun_count++;
    choose(client, transfer);
    send_request(client);
}

static void send_request(struct client *client)
{
    struct sup_load *load = client->load;
    struct sup_transfer *transfer = transfer_of(client);
    const char *base = load->url;
    uint32_t timeout_ms = load->options.timeout_ms;
    client->call = (struct api_call){
        .url = client->url, .on_done = on_done, .at_most_once = load->options.faults};
    client->asking = transfer->id[0] != '\0' && !transfer->keyed;
    if (client->asking) {
        client->call.method = "GET";
        (void)snprintf(client->url, sizeof client->url, "%s/v1/transactions/%s?wait=1s", base,
                       transfer->id);
    } else {
        client->call.method = "POST";
        (void)snprintf(client->url, sizeof client->url, "%s/v1/transactions", base);
        sup_transfer_body(load->world, transfer, timeout_ms, &client->call.body);
        transfer->tries++;
    }
    if (transfer->keyed) {
        (void)snprintf(client->header, sizeof client->header, "Idempotency-Key: %s",
                       transfer->name);
        client->call.header = client->header;
    }
    client->call.timeout_ms = timeout_ms + CALL_SLACK_MS;
    if (api_client_start(load->http, &client->call) != TPC_OK) {
        sup_die("a client cannot call");
    }
}

/* ---- The thread ---- */

static void *run(void *arg)
{
    struct sup_load *load = arg;
    load->active_count = load->options.clients;
    for (unsigned i = 0; i < load->options.clients; i++) {
        begin_transfer(&load->clients[i]);
    }
    uv_run(&load->loop, UV_RUN_DEFAULT);
    api_client_free(load->http);
    uv_run(&load->loop, UV_RUN_DEFAULT);
    (void)pthread_mutex_lock(&load->mutex);
    load->gone = true;
    (void)pthread_cond_broadcast(&load->ended);
    (void)pthread_mutex_unlock(&load->mutex);
    return NULL;
}

static void init_clients(struct sup_load *load)
{
    struct sup_load_options *options = &load->options;
    options->clients = options->clients != 0 ? options->clients : 8;
    options->amount_max = options->amount_max != 0 ? options->amount_max : 5;
    options->timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : 10000;
    load->clients = calloc(options->clients, sizeof *load->clients);
    if (load->clients == NULL || options->clients > CLIENTS_MAX) {
        sup_die("cannot make %u clients", options->clients);
    }
    for (unsigned i = 0; i < options->clients; i++) {
        struct client *client = &load->clients[i];
        client->load = load;
        client->number = i;
        client->random = options->seed * CLIENTS_MAX + i;
        client->active = true;
        uv_timer_init(&load->loop, &client->pause);
        client->pause.data = client;
    }
}

struct sup_load *sup_load_begin(struct sup_world *world, const struct sup_load_options *options,
                                struct sup_history *history)
{
    struct sup_load *load = calloc(1, sizeof *load);
    struct tpc_err err = {0};
    pthread_condattr_t monotonic;
    if (load == NULL || uv_loop_init(&load->loop) != 0 ||
        api_client_new(&(struct api_client_options){.loop = &load->loop}, &load->http, &err) !=
            TPC_OK) {
        sup_die("no load: %s", err.text);
    }
    load->world = world;
    (void)snprintf(load->url, sizeof load->url, "%s", sup_daemon_url(&world->coordinator));
    load->options = *options;
    load->history = history;
    atomic_store(&load->give_up_ms, UINT64_MAX);
    (void)pthread_mutex_init(&load->mutex, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&load->ended, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    init_clients(load);
    if (pthread_create(&load->thread, NULL, run, load) != 0) {
        sup_die("no thread");
    }
    return load;
}

bool sup_load_wait(struct sup_load *load, uint64_t count, uint64_t timeout_ms)
{
    uint64_t until_ms = tpc_clock_mono_ms() + timeout_ms;
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1000),
                             .tv_nsec = (long)(until_ms % 1000) * 1000000};
    int rc = 0;
    (void)pthread_mutex_lock(&load->mutex);
    while (load->ended_count < count && !load->gone && rc == 0) {
        rc = pthread_cond_timedwait(&load->ended, &load->mutex, &until);
    }
    bool reached = load->ended_count >= count;
    (void)pthread_mutex_unlock(&load->mutex);
    return reached;
}

void sup_load_end(struct sup_load *load, uint64_t patience_ms)
{
    atomic_store(&load->give_up_ms, tpc_clock_mono_ms() + patience_ms);
    atomic_store(&load->stopping, true);
    (void)pthread_join(load->thread, NULL);
    if (uv_loop_close(&load->loop) != 0) {
        sup_die("the load left something open");
    }
    (void)pthread_cond_destroy(&load->ended);
    (void)pthread_mutex_destroy(&load->mutex);
    free(load->clients);
    free(load);
}
