/* In place of api/client.h: requests and answers as they cross a network that
 * loses, delays, repeats and cuts them.
 *
 * An exchange is one request and its answer. It is known by its number, so that
 * whatever is still on its way when an end has gone finds nobody. A request
 * that arrives twice is two exchanges, of which one has no client. */
#include "tests/sim/sim.h"

#include "api/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HOP_US = 300,
    LONG_US = 15000000,
    CONNECT_MS = 2000,
};

struct exchange {
    uint64_t id;
    struct sim_node *from; /* NULL: from outside */
    unsigned place;        /* of the sender */
    struct sim_node *to;
    struct api_call *call; /* NULL: its client is gone, or knows enough */
    struct api_client *client;
    bool arriving, at_server; /* the request is on its way, is there */
    bool cut;                 /* nothing more of the answer arrives */
    uint64_t last_us;         /* when the last piece of the answer arrives: they keep
                                 their order */
    char *method, *target, *headers, *body;
    size_t body_size;
    struct tpc_buf partial; /* of a line */
    UT_hash_handle hh;
};

struct api_client {
    struct sim_node *node;
};

/* A piece of an answer, or why there is none. */
struct piece {
    uint64_t id;
    int status;
    bool last;
    enum tpc_rc rc;
    size_t size;
    char data[];
};

static struct exchange *exchanges;
static uint64_t last_id;

void sim_net_init(void)
{
    exchanges = NULL;
    last_id = 0;
}

bool sim_net_busy(void)
{
    const struct exchange *x, *next;
    HASH_ITER (hh, exchanges, x, next) {
        if (strcmp(x->target, "/readyz") != 0) {
            return true;
        }
    }
    return false;
}

static struct exchange *find(uint64_t id)
{
    struct exchange *x;
    HASH_FIND(hh, exchanges, &id, sizeof id, x);
    return x;
}

static void release(struct exchange *x)
{
    if (x->call != NULL || x->arriving || x->at_server) {
        return;
    }
    HASH_DELETE(hh, exchanges, x);
    free(x->method);
    free(x->target);
    free(x->headers);
    free(x->body);
    tpc_buf_done(&x->partial);
    free(x);
}

static void finish(struct exchange *x, enum tpc_rc rc)
{
    struct api_call *call = x->call;
    struct tpc_err err = {0};
    if (rc != TPC_OK) {
        (void)tpc_fail(&err, rc, "%s: %s", x->to->name,
                       rc == TPC_EUNREACHABLE ? "no connection"
                       : rc == TPC_ETIMEOUT   ? "no answer in time"
                                              : "the connection broke");
    }
    x->call = NULL;
    release(x);
    call->on_done(call, rc, &err);
}

/* ---- Answers, at the client ---- */

static void deliver_lines(uint64_t id, struct exchange *x, const struct piece *piece)
{
    struct sim_owner *owner = sim_own(&sim.memory);
    tpc_buf_add(&x->partial, piece->data, piece->size);
    (void)sim_own(owner);
    char *end;
    while (x != NULL && x->call != NULL && x->partial.size > 0 &&
           (end = memchr(x->partial.data, '\n', x->partial.size)) != NULL) {
        size_t size = (size_t)(end - x->partial.data);
        char *line = sim_copy(x->partial.data, size);
        tpc_buf_consume(&x->partial, size + 1);
        x->call->on_line(x->call, line, size);
        free(line);
        x = find(id); /* it may have been cancelled */
    }
}

static void on_piece(void *arg)
{
    const struct piece *piece = arg;
    struct exchange *x = find(piece->id);
    if (x == NULL || x->call == NULL) {
        return;
    }
    if (piece->status != 0) {
        x->call->status = piece->status;
    }
    if (x->call->status == 200 && x->call->on_line != NULL) {
        deliver_lines(piece->id, x, piece);
    } else if (piece->size > 0) {
        tpc_buf_add(&x->call->answer, piece->data, piece->size);
    }
    x = find(piece->id);
    if (piece->last && x != NULL && x->call != NULL) {
        finish(x, piece->rc);
    }
}

static void send_piece(struct exchange *x, uint64_t at_us, const struct piece *head,
                       const char *data)
{
    struct piece *piece = sim_alloc(sizeof *piece + head->size);
    *piece = *head;
    piece->id = x->id;
    if (head->size > 0) {
        memcpy(piece->data, data, head->size);
    }
    x->last_us = at_us > x->last_us ? at_us : x->last_us;
    sim_at_take(x->last_us, x->from, on_piece, piece);
}

static void fail_at(struct exchange *x, uint64_t at_us, enum tpc_rc rc)
{
    x->cut = true;
    send_piece(x, at_us, &(struct piece){.last = true, .rc = rc}, NULL);
}

/* ---- Answers, on their way ---- */

static bool is_blocked(unsigned from, unsigned to)
{
    return from < SIM_NODES_MAX && to < SIM_NODES_MAX &&
           sim.blocked_until_us[from][to] > sim.now_us;
}

/* True: it does not arrive, or not as it was sent. */
static bool spoil_answer(struct sim_node *from, struct exchange *x, const struct piece *head,
                         const char *data)
{
    unsigned link = SIM_LINK(from->index, x->place);
    uint64_t at_us = sim.now_us + sim_latency(&from->random, HOP_US);
    if (is_blocked(from->index, x->place) || sim_fault(SIM_LOSE, link)) {
        sim_trace("net", "the answer %s > #%u is lost", from->name, (unsigned)x->id);
        x->cut = true;
        return true;
    }
    if (sim_fault(SIM_CUT, link)) {
        struct piece half = *head;
        sim_trace("net", "the answer %s > #%u is cut", from->name, (unsigned)x->id);
        half.last = false;
        half.size /= 2;
        send_piece(x, at_us, &half, data);
        fail_at(x, at_us, TPC_EIO);
        return true;
    }
    if (head->status != 0 && sim_fault(SIM_GATEWAY, link)) {
        sim_trace("net", "the answer %s > #%u becomes 502", from->name, (unsigned)x->id);
        send_piece(x, at_us, &(struct piece){.status = 502, .last = true}, NULL);
        x->cut = true;
        return true;
    }
    return false;
}

void sim_net_answer(struct sim_node *from, uint64_t exchange, int status, const char *data,
                    size_t size, bool last)
{
    struct exchange *x = find(exchange);
    struct piece head = {.status = status, .last = last, .size = size};
    if (x == NULL) {
        return;
    }
    if (last) {
        x->at_server = false;
    }
    if (x->call == NULL) {
        release(x);
        return;
    }
    if (x->cut || spoil_answer(from, x, &head, data)) {
        return;
    }
    uint64_t at_us = sim.now_us + sim_latency(&from->random, HOP_US);
    if (sim_fault(SIM_DELAY, SIM_LINK(from->index, x->place))) {
        at_us += sim_between(&from->random, 1000, LONG_US);
        sim_trace("net", "the answer %s > #%u takes %u ms", from->name, (unsigned)x->id,
                  (unsigned)((at_us - sim.now_us) / 1000));
    }
    send_piece(x, at_us, &head, data);
}

void sim_net_cut(struct sim_node *node)
{
    struct exchange *x, *next;
    HASH_ITER (hh, exchanges, x, next) {
        if (x->from == node) {
            x->call = NULL;
        }
        if (x->to == node && x->at_server) {
            x->at_server = false;
            if (x->call != NULL && !x->cut) {
                fail_at(x, sim.now_us + sim_latency(&sim.random, HOP_US), TPC_EIO);
            }
        }
        release(x);
    }
}

/* ---- Requests ---- */

struct arrival {
    uint64_t id;
    struct sim_node *to;
    struct sim_request request;
};

static void hand_over(void *arg)
{
    struct arrival *arrival = arg;
    sim_server_arrive(arrival->to, &arrival->request);
}

static void on_arrival(void *arg)
{
    struct exchange *x = find(*(uint64_t *)arg);
    if (x == NULL) {
        return;
    }
    struct sim_node *to = x->to;
    if (to->up && to->paused_until_us > sim.now_us) {
        uint64_t *id = sim_alloc(sizeof *id);
        *id = x->id;
        sim_at_take(to->paused_until_us, NULL, on_arrival, id);
        return;
    }
    x->arriving = false;
    if (!to->up || to->server == NULL) {
        if (x->call != NULL) {
            fail_at(x, sim.now_us + HOP_US, TPC_EUNREACHABLE);
        }
        release(x);
        return;
    }
    x->at_server = true;
    struct arrival arrival = {.to = to,
                              .request = {.exchange = x->id,
                                          .method = x->method,
                                          .target = x->target,
                                          .headers = x->headers,
                                          .body = x->body,
                                          .body_size = x->body_size}};
    sim_enter(to, hand_over, &arrival);
}

static void deliver(struct exchange *x)
{
    uint64_t *state = x->from != NULL ? &x->from->random : &sim.random;
    uint64_t *id = sim_alloc(sizeof *id);
    uint64_t at_us = sim.now_us + sim_latency(state, HOP_US);
    if (sim_fault(SIM_DELAY, SIM_LINK(x->place, x->to->index))) {
        at_us += sim_between(state, 1000, LONG_US);
        sim_trace("net", "#%u takes %u ms to %s", (unsigned)x->id,
                  (unsigned)((at_us - sim.now_us) / 1000), x->to->name);
    }
    x->arriving = true;
    *id = x->id;
    sim_at_take(at_us, NULL, on_arrival, id);
}

/* Its client hears of only one. */
static void deliver_again(const struct exchange *x)
{
    struct exchange *copy = sim_alloc(sizeof *copy);
    *copy = (struct exchange){.id = ++last_id,
                              .from = x->from,
                              .place = x->place,
                              .to = x->to,
                              .method = sim_copy(x->method, strlen(x->method)),
                              .target = sim_copy(x->target, strlen(x->target)),
                              .headers = sim_copy(x->headers, strlen(x->headers)),
                              .body = sim_copy(x->body, x->body_size),
                              .body_size = x->body_size};
    HASH_ADD(hh, exchanges, id, sizeof copy->id, copy);
    sim_trace("net", "#%u is repeated as #%u", (unsigned)x->id, (unsigned)copy->id);
    deliver(copy);
}

/* One that never hears anything again: when that is the fault. */
static bool is_deaf(const struct sim_node *node)
{
    return sim.config.broken == SIM_BROKEN_DEAF && sim.healed && node->index == sim.coordinators;
}

static void send_request(struct exchange *x, bool repeats)
{
    unsigned link = SIM_LINK(x->place, x->to->index);
    uint64_t soon_us = sim.now_us + HOP_US;
    if (is_blocked(x->place, x->to->index)) {
        uint32_t ms = x->call->connect_timeout_ms > 0 ? x->call->connect_timeout_ms : CONNECT_MS;
        fail_at(x, sim.now_us + (uint64_t)ms * 1000, TPC_EUNREACHABLE);
    } else if (!x->to->up || sim_fault(SIM_REFUSE, link)) {
        fail_at(x, soon_us, TPC_EUNREACHABLE);
    } else if (sim_fault(SIM_BREAK, link)) {
        sim_trace("net", "#%u breaks before it arrives", (unsigned)x->id);
        fail_at(x, soon_us, TPC_EIO);
    } else if (is_deaf(x->to) || sim_fault(SIM_LOSE, link)) {
        sim_trace("net", "#%u is lost", (unsigned)x->id);
    } else {
        deliver(x);
        if (repeats && sim_fault(SIM_REPEAT, link)) {
            deliver_again(x);
        }
    }
}

static void on_timeout(void *arg)
{
    struct exchange *x = find(*(const uint64_t *)arg);
    if (x != NULL && x->call != NULL) {
        finish(x, TPC_ETIMEOUT);
    }
}

/* "http://p1:1/v1/messages" */
static void find_way(struct exchange *x, const char *url)
{
    const char *host = url + strlen("http://");
    const char *target = strchr(host, '/');
    for (unsigned i = 0; i < sim.node_count; i++) {
        size_t size = strlen(sim.nodes[i].name);
        if (strncmp(host, sim.nodes[i].name, size) == 0 && host[size] == ':') {
            x->to = &sim.nodes[i];
        }
    }
    if (strncmp(url, "http://", 7) != 0 || target == NULL || x->to == NULL) {
        sim_violation("nobody is at %s", url);
    }
    x->target = sim_copy(target, strlen(target));
}

static void start(struct api_call *call, struct sim_node *from, struct api_client *client,
                  bool repeats)
{
    struct exchange *x = sim_alloc(sizeof *x);
    struct sim_owner *owner = sim_own(&sim.memory);
    x->id = ++last_id;
    x->from = from;
    x->place = from != NULL ? from->index : SIM_OUTSIDE;
    x->call = call;
    x->client = client;
    find_way(x, call->url);
    x->method = strdup(call->method);
    x->headers = strdup(call->header != NULL ? call->header : "");
    x->body = sim_copy(call->body.data, call->body.size);
    x->body_size = call->body.size;
    HASH_ADD(hh, exchanges, id, sizeof x->id, x);
    (void)sim_own(owner);
    call->status = 0;
    call->internal = x;
    sim_trace("net", "#%u %s > %s %s %s, %zu bytes", (unsigned)x->id,
              from != NULL ? from->name : "outside", x->to->name, x->method, x->target,
              x->body_size);
    if (from != NULL && from->coordinator && strcmp(x->target, "/v1/messages") == 0) {
        sim_check_messages(from, x->body, x->body_size);
    }
    if (call->timeout_ms > 0) {
        uint64_t *id = sim_alloc(sizeof *id);
        *id = x->id;
        sim_at_take(sim.now_us + (uint64_t)call->timeout_ms * 1000, from, on_timeout, id);
    }
    owner = sim_own(&sim.memory);
    send_request(x, repeats);
    (void)sim_own(owner);
}

void sim_net_start_outside(struct api_call *call, bool repeats)
{
    start(call, NULL, NULL, repeats);
}

/* ---- api/client.h ---- */

enum tpc_rc api_client_new(const struct api_client_options *options, struct api_client **ret_client,
                           struct tpc_err *reterr)
{
    (void)options;
    (void)reterr;
    *ret_client = tpc_must_alloc(sizeof **ret_client);
    (*ret_client)->node = sim.current;
    return TPC_OK;
}

enum tpc_rc api_client_start(struct api_client *client, struct api_call *call)
{
    sim_crash_point(SIM_CRASH_INSIDE);
    start(call, client->node, client, !call->at_most_once);
    sim_crash_point(SIM_CRASH_INSIDE);
    return TPC_OK;
}

void api_client_cancel(struct api_client *client, struct api_call *call)
{
    (void)client;
    fail_at(call->internal, sim.now_us + 1, TPC_EIO);
}

void api_client_free(struct api_client *client)
{
    struct exchange *x, *next;
    HASH_ITER (hh, exchanges, x, next) {
        if (x->client == client && x->call != NULL) {
            finish(x, TPC_EIO);
        }
    }
    free(client);
}

void api_call_done(struct api_call *call)
{
    tpc_buf_done(&call->body);
    tpc_buf_done(&call->answer);
}
