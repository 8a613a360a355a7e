#include "cli/crashtest/workload_internal.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/tpc_assert.h"
#include "cli/http.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PAUSE_MS = 10,        /* before a client asks again */
    AWAY_MS = 100,        /* before one that nobody answered comes with another transaction */
    CALL_SLACK_MS = 5000, /* how much longer than the transaction a client waits */
};

struct client {
    struct cli_workload *workload;
    unsigned number;
    pthread_t thread;
    struct cli_http *http;
    struct cli_chooser chooser;
};

struct cli_workload {
    struct cli_workload_options options;
    char url[512]; /* options.url: whoever restarts the coordinator may write its own anew */
    struct cli_history *history; /* under the mutex */
    struct client *clients;
    pthread_mutex_t mutex;
    pthread_cond_t ended; /* one more transaction has ended, or all clients have */
    uint64_t ended_count; /* under the mutex */
    unsigned active;      /* clients; under the mutex */
    _Atomic uint64_t begun, sequence;
    atomic_bool stopping;
    _Atomic uint64_t give_up_ms; /* keyed ones too */
};

static void nap(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)ms * 1000000}, NULL);
}

static uint64_t next_number(void *arg)
{
    struct cli_workload *workload = arg;
    return 1 + atomic_fetch_add(&workload->sequence, 1);
}

/* ---- One transaction ---- */

static bool may_ask_again(const struct client *client, const struct cli_txn *txn)
{
    return (txn->keyed || txn->id[0] != '\0') &&
           tpc_clock_mono_ms() < atomic_load(&client->workload->give_up_ms);
}

static bool note_answer(struct client *client, struct cli_txn *txn, bool asking, enum tpc_rc rc,
                        const struct cli_answer *answer)
{
    struct api_json *json = NULL;
    if (rc == TPC_EUNREACHABLE && txn->tries == 1 && !asking) {
        txn->told = CLI_TOLD_NOT_STARTED;
    }
    if (rc != TPC_OK || (asking && answer->status == 503)) {
        return txn->told != CLI_TOLD_UNKNOWN; /* asked by its id, neither of these says anything */
    }
    if (api_json_parse(answer->body.data, answer->body.size, &json, NULL) != TPC_OK) {
        json = NULL;
    }
    bool known = cli_txn_note(&client->workload->options, txn, answer->status, json);
    api_json_free(json);
    return known;
}

/* One request. True when there is nothing more to ask. */
static bool ask(struct client *client, struct cli_txn *txn, const struct tpc_buf *body)
{
    const struct cli_workload_options *options = &client->workload->options;
    struct cli_request request = {.method = "POST",
                                  .body = body->data,
                                  .body_size = body->size,
                                  .at_most_once = !txn->keyed,
                                  .timeout_ms = options->timeout_ms + CALL_SLACK_MS};
    struct cli_answer answer;
    char url[640], header[64];
    bool asking = txn->id[0] != '\0' && !txn->keyed;
    if (asking) {
        request = (struct cli_request){.method = "GET", .timeout_ms = request.timeout_ms};
        snprintf(url, sizeof(url), "%s/v1/transactions/%s?wait=1s", options->url, txn->id);
    } else {
        snprintf(url, sizeof(url), "%s/v1/transactions", options->url);
        txn->tries++;
    }
    request.url = url;
    if (txn->keyed) {
        snprintf(header, sizeof(header), "Idempotency-Key: %s", txn->name);
        request.headers[0] = header;
    }
    enum tpc_rc rc = cli_http_do(client->http, &request, &answer, NULL);
    bool known = note_answer(client, txn, asking, rc, &answer);
    bool open =
        rc != TPC_OK || answer.status == 200 || answer.status == 202 || answer.status == 503;
    cli_answer_done(&answer);
    return known || !open || !may_ask_again(client, txn);
}

static void end_txn(struct client *client, struct cli_txn *txn)
{
    struct cli_workload *workload = client->workload;
    bool turned_away = txn->told == CLI_TOLD_NOT_STARTED || txn->told == CLI_TOLD_UNKNOWN;
    txn->completed = next_number(workload);
    pthread_mutex_lock(&workload->mutex);
    cli_history_add(workload->history, txn);
    workload->ended_count++;
    pthread_cond_broadcast(&workload->ended);
    pthread_mutex_unlock(&workload->mutex);
    if (turned_away) {
        nap(AWAY_MS);
    }
}

static void do_txn(struct client *client, uint64_t number)
{
    const struct cli_workload_options *options = &client->workload->options;
    struct cli_txn txn = {.client = client->number};
    struct tpc_buf body = {0};
    snprintf(txn.name, sizeof(txn.name), "%.16s-%u-%llu", options->prefix, client->number,
             (unsigned long long)number);
    cli_choose_txn(&client->chooser, number, &txn);
    cli_txn_body(options, &txn, &body);
    if (body.failed) {
        tpc_no_memory();
    }
    txn.invoked = next_number(client->workload);
    while (!ask(client, &txn, &body)) {
        nap(PAUSE_MS);
    }
    tpc_buf_done(&body);
    end_txn(client, &txn);
}

/* ---- Clients ---- */

static void *run(void *arg)
{
    struct client *client = arg;
    struct cli_workload *workload = client->workload;
    while (!atomic_load(&workload->stopping)) {
        uint64_t number = atomic_fetch_add(&workload->begun, 1);
        if (workload->options.count != 0 && number >= workload->options.count) {
            break;
        }
        do_txn(client, number);
    }
    pthread_mutex_lock(&workload->mutex);
    workload->active--;
    pthread_cond_broadcast(&workload->ended);
    pthread_mutex_unlock(&workload->mutex);
    return NULL;
}

/* Numbers and values go on after those of an earlier workload. */
static uint64_t last_number(const struct cli_history *history)
{
    uint64_t last = 0;
    for (size_t i = 0; i < history->count; i++) {
        last = history->txns[i].completed > last ? history->txns[i].completed : last;
    }
    return last;
}

static void begin_history(const struct cli_workload_options *options, struct cli_history *history)
{
    history->member_count = options->member_count;
    history->seed = options->seed;
    history->balance = options->balance;
    for (unsigned i = 0; i < options->member_count; i++) {
        snprintf(history->members[i], sizeof(history->members[i]), "%s", options->members[i].name);
    }
}

static void init_waiting(struct cli_workload *workload)
{
    pthread_condattr_t monotonic;
    pthread_mutex_init(&workload->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&workload->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

struct cli_workload *cli_workload_begin(const struct cli_workload_options *options,
                                        struct cli_history *history)
{
    struct cli_workload *workload = tpc_must_alloc(sizeof(*workload));
    workload->options = *options;
    cli_workload_default(&workload->options);
    snprintf(workload->url, sizeof(workload->url), "%s", options->url);
    workload->options.url = workload->url;
    TPC_ASSERT(options->member_count > 0 && options->member_count <= CLI_MEMBERS_MAX);
    begin_history(&workload->options, history);
    workload->history = history;
    workload->active = workload->options.clients;
    atomic_store(&workload->sequence, last_number(history));
    atomic_store(&workload->give_up_ms, UINT64_MAX);
    init_waiting(workload);
    workload->clients = tpc_must_calloc(workload->options.clients, sizeof(*workload->clients));
    for (unsigned i = 0; i < workload->options.clients; i++) {
        struct client *client = &workload->clients[i];
        *client = (struct client){.workload = workload, .number = i, .http = cli_http_new()};
        client->chooser = (struct cli_chooser){.options = &workload->options,
                                               .random = options->seed * 1024 + i,
                                               .next = next_number,
                                               .arg = workload};
        if (client->http == NULL || pthread_create(&client->thread, NULL, run, client) != 0) {
            tpc_no_memory();
        }
    }
    return workload;
}

bool cli_workload_wait(struct cli_workload *workload, uint64_t count, unsigned long timeout_ms)
{
    uint64_t until_ms = tpc_clock_mono_ms() + timeout_ms;
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1000),
                             .tv_nsec = (long)(until_ms % 1000) * 1000000};
    int rc = 0;
    pthread_mutex_lock(&workload->mutex);
    while (workload->ended_count < count && workload->active > 0 && rc == 0) {
        rc = pthread_cond_timedwait(&workload->ended, &workload->mutex, &until);
    }
    bool reached = workload->ended_count >= count;
    pthread_mutex_unlock(&workload->mutex);
    return reached;
}

uint64_t cli_workload_ended(struct cli_workload *workload)
{
    pthread_mutex_lock(&workload->mutex);
    uint64_t count = workload->ended_count;
    pthread_mutex_unlock(&workload->mutex);
    return count;
}

void cli_workload_end(struct cli_workload *workload, unsigned long patience_ms)
{
    atomic_store(&workload->give_up_ms, tpc_clock_mono_ms() + patience_ms);
    atomic_store(&workload->stopping, true);
    for (unsigned i = 0; i < workload->options.clients; i++) {
        pthread_join(workload->clients[i].thread, NULL);
        cli_http_free(workload->clients[i].http);
    }
    pthread_cond_destroy(&workload->ended);
    pthread_mutex_destroy(&workload->mutex);
    free(workload->clients);
    free(workload);
}
