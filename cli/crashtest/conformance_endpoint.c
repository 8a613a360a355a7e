#include "cli/crashtest/conformance_endpoint.h"

#include "api/loop.h"
#include "api/router.h"
#include "base/clock.h"
#include "base/memory.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { GTIDS_MAX = 10000, COMPLAINT_SIZE = 256 };

struct known {
    struct tpc_id gtid;
    enum api_outcome outcome;
    struct cli_asked asked;
};

struct cli_endpoint {
    struct tpc_timers timers; /* none is armed */
    struct api_loop *loop;
    struct api_server *server;
    pthread_t thread;
    bool stopping; /* under the mutex, like all below */
    pthread_mutex_t mutex;
    pthread_cond_t asked; /* somebody has */
    struct api_coordinator self;
    struct tpc_id pretended; /* zero: nobody */
    struct known *known;
    size_t known_count;
    char complaint[COMPLAINT_SIZE];
};

static struct known *known_of(struct cli_endpoint *endpoint, const struct tpc_id *gtid)
{
    for (size_t i = 0; i < endpoint->known_count; i++) {
        if (tpc_id_equal(&endpoint->known[i].gtid, gtid)) {
            return &endpoint->known[i];
        }
    }
    endpoint->known =
        tpc_must_realloc(endpoint->known, (endpoint->known_count + 1) * sizeof(*endpoint->known));
    endpoint->known[endpoint->known_count] = (struct known){.gtid = *gtid};
    return &endpoint->known[endpoint->known_count++];
}

/* ---- Answers, on the loop's thread ---- */

static void answer(struct cli_endpoint *endpoint, struct api_request *request,
                   const struct api_inquiry *inquiry)
{
    bool pretending = !tpc_id_is_zero(&endpoint->pretended);
    struct api_decisions decisions = {
        .coordinator_id = pretending ? endpoint->pretended : endpoint->self.id,
        .count = inquiry->count,
        .items = tpc_must_calloc(inquiry->count + 1, sizeof(*decisions.items))};
    struct tpc_buf body = {0};
    for (size_t i = 0; i < inquiry->count; i++) {
        struct known *known = known_of(endpoint, &inquiry->gtids[i]);
        const struct api_coordinator *who = &inquiry->coordinator;
        known->asked.count++;
        known->asked.participant_id = inquiry->participant_id;
        known->asked.as_remembered = tpc_id_equal(&who->nonce, &endpoint->self.nonce) &&
                                     who->generation == endpoint->self.generation;
        decisions.items[i] = (struct api_decision){
            .gtid = inquiry->gtids[i], .outcome = pretending ? API_OUTCOME_ABORT : known->outcome};
    }
    api_decisions_write(&body, &decisions);
    free(decisions.items);
    pthread_cond_broadcast(&endpoint->asked);
    api_respond(request, 200, NULL, &body);
}

static void on_inquiry(void *arg, struct api_request *request, const char *const args[])
{
    struct cli_endpoint *endpoint = arg;
    struct api_refusal refusal = {0};
    struct api_inquiry inquiry;
    size_t size;
    const char *body = api_request_body(request, &size);
    (void)args;
    pthread_mutex_lock(&endpoint->mutex);
    if (api_inquiry_decode(body, size, GTIDS_MAX, &inquiry, &refusal) != TPC_OK) {
        snprintf(endpoint->complaint, sizeof(endpoint->complaint), "%.60s: %.180s", refusal.field,
                 refusal.detail);
        api_respond_refusal(request, &refusal);
    } else if (!tpc_id_equal(&inquiry.coordinator.id, &endpoint->self.id)) {
        api_respond_problem(request, 409, "wrong-coordinator", "Of another coordinator",
                            "ask the one that the branch remembers", NULL);
    } else {
        answer(endpoint, request, &inquiry);
    }
    api_inquiry_done(&inquiry);
    pthread_mutex_unlock(&endpoint->mutex);
}

static void handle(void *arg, struct api_request *request)
{
    static const struct api_route routes[] = {{"POST", "/v1/decisions", on_inquiry},
                                              {NULL, NULL, NULL}};
    api_route(routes, arg, request);
}

/* ---- The thread ---- */

static void on_wake(void *arg)
{
    struct cli_endpoint *endpoint = arg;
    pthread_mutex_lock(&endpoint->mutex);
    bool stopping = endpoint->stopping;
    pthread_mutex_unlock(&endpoint->mutex);
    if (stopping) {
        api_loop_stop(endpoint->loop);
    }
}

static void on_signal(void *arg, int number)
{
    (void)arg;
    _exit(128 + number);
}

static uint64_t before_sleep(void *arg)
{
    (void)arg;
    return UINT64_MAX;
}

static void *run(void *arg)
{
    struct cli_endpoint *endpoint = arg;
    api_loop_run(endpoint->loop);
    return NULL;
}

static enum tpc_rc open_all(struct cli_endpoint *endpoint, const char *listen,
                            struct tpc_err *reterr)
{
    const struct api_loop_options loop = {.arg = endpoint,
                                          .timers = &endpoint->timers,
                                          .before_sleep = before_sleep,
                                          .on_wake = on_wake,
                                          .on_signal = on_signal};
    enum tpc_rc rc = api_loop_new(&loop, &endpoint->loop, reterr);
    if (rc == TPC_OK) {
        const struct api_server_options server = {.loop = api_loop_uv(endpoint->loop),
                                                  .listen = listen,
                                                  .handler = handle,
                                                  .arg = endpoint};
        rc = api_server_start(&server, &endpoint->server, reterr);
    }
    if (rc == TPC_OK && pthread_create(&endpoint->thread, NULL, run, endpoint) != 0) {
        api_server_stop(endpoint->server);
        endpoint->server = NULL;
        rc = tpc_fail(reterr, TPC_ENOMEM, "no thread");
    }
    if (rc != TPC_OK && endpoint->loop != NULL) {
        api_loop_free(endpoint->loop);
    }
    return rc;
}

enum tpc_rc cli_endpoint_start(const char *listen, struct cli_endpoint **ret_endpoint,
                               struct tpc_err *reterr)
{
    struct cli_endpoint *endpoint = tpc_must_alloc(sizeof(*endpoint));
    pthread_condattr_t monotonic;
    pthread_mutex_init(&endpoint->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&endpoint->asked, &monotonic);
    pthread_condattr_destroy(&monotonic);
    enum tpc_rc rc = open_all(endpoint, listen, reterr);
    if (rc != TPC_OK) {
        pthread_cond_destroy(&endpoint->asked);
        pthread_mutex_destroy(&endpoint->mutex);
        free(endpoint);
        return rc;
    }
    *ret_endpoint = endpoint;
    return TPC_OK;
}

void cli_endpoint_stop(struct cli_endpoint *endpoint)
{
    pthread_mutex_lock(&endpoint->mutex);
    endpoint->stopping = true;
    pthread_mutex_unlock(&endpoint->mutex);
    api_loop_wake(endpoint->loop);
    pthread_join(endpoint->thread, NULL);
    api_server_stop(endpoint->server);
    api_loop_free(endpoint->loop);
    tpc_timers_done(&endpoint->timers);
    pthread_cond_destroy(&endpoint->asked);
    pthread_mutex_destroy(&endpoint->mutex);
    free(endpoint->known);
    free(endpoint);
}

const char *cli_endpoint_url(const struct cli_endpoint *endpoint)
{
    return api_server_url(endpoint->server);
}

/* ---- What is said, and what was asked ---- */

void cli_endpoint_be(struct cli_endpoint *endpoint, const struct api_coordinator *coordinator)
{
    pthread_mutex_lock(&endpoint->mutex);
    endpoint->self = *coordinator;
    pthread_mutex_unlock(&endpoint->mutex);
}

void cli_endpoint_decide(struct cli_endpoint *endpoint, const struct tpc_id *gtid,
                         enum api_outcome outcome)
{
    pthread_mutex_lock(&endpoint->mutex);
    known_of(endpoint, gtid)->outcome = outcome;
    pthread_mutex_unlock(&endpoint->mutex);
}

void cli_endpoint_pretend(struct cli_endpoint *endpoint, const struct tpc_id *id)
{
    pthread_mutex_lock(&endpoint->mutex);
    endpoint->pretended = id != NULL ? *id : (struct tpc_id){0};
    pthread_mutex_unlock(&endpoint->mutex);
}

bool cli_endpoint_wait(struct cli_endpoint *endpoint, const struct tpc_id *gtid, unsigned count,
                       unsigned long timeout_ms, struct cli_asked *ret_asked)
{
    uint64_t until_ms = tpc_clock_mono_ms() + timeout_ms;
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1000),
                             .tv_nsec = (long)(until_ms % 1000) * 1000000};
    int rc = 0;
    pthread_mutex_lock(&endpoint->mutex);
    while (known_of(endpoint, gtid)->asked.count < count && rc == 0) {
        rc = pthread_cond_timedwait(&endpoint->asked, &endpoint->mutex, &until);
    }
    struct cli_asked asked = known_of(endpoint, gtid)->asked;
    pthread_mutex_unlock(&endpoint->mutex);
    if (ret_asked != NULL) {
        *ret_asked = asked;
    }
    return asked.count >= count;
}

void cli_endpoint_complaint(struct cli_endpoint *endpoint, char *out)
{
    pthread_mutex_lock(&endpoint->mutex);
    memcpy(out, endpoint->complaint, COMPLAINT_SIZE);
    pthread_mutex_unlock(&endpoint->mutex);
}
