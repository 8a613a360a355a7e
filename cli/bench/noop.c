#include "cli/bench/noop.h"

#include "api/codec.h"
#include "api/loop.h"
#include "api/router.h"
#include "api/server.h"
#include "base/hash.h"

#include <stdio.h>
#include <string.h>

enum { MESSAGES_MAX = 100000, BODY_MAX = 64 << 20, CONNECTIONS = 1000 };

struct noop {
    struct api_loop *loop;
    struct api_server *server;
    struct tpc_timers timers;
    struct tpc_id id; /* of this start; a participant's own is made of it and its name */
};

static struct tpc_id participant_id(const struct noop *noop, const char *name)
{
    struct tpc_buf text = {0};
    struct tpc_id id;
    tpc_buf_add(&text, noop->id.bytes, sizeof noop->id.bytes);
    tpc_buf_adds(&text, name);
    tpc_digest(text.data, text.size, &id);
    tpc_buf_done(&text);
    return id;
}

static void write_answer(struct tpc_buf *out, const struct api_message *message,
                         const struct tpc_id *id)
{
    static char results[] = "[{\"rows_affected\":1}]";
    struct api_answer answer = {.op = message->op,
                                .gtid_valid = message->gtid_valid,
                                .gtid = message->gtid,
                                .participant_id = *id,
                                .cause.statement = -1};
    if (!message->gtid_valid) {
        memcpy(answer.gtid_text, message->gtid_text, sizeof answer.gtid_text);
        answer.error = API_ERROR_INVALID_GTID;
    } else if (message->op == API_OP_PREPARE || message->op == API_OP_EXECUTE) {
        answer.vote = message->op == API_OP_EXECUTE ? API_VOTE_NONE
                      : message->one_phase          ? API_VOTE_COMMITTED
                                                    : API_VOTE_YES;
        answer.results = results;
        answer.results_size = sizeof results - 1;
    } else {
        answer.state = message->op == API_OP_COMMIT ? API_STATE_COMMITTED : API_STATE_ABORTED;
    }
    api_answer_write(out, &answer);
}

static void on_messages(void *arg, struct api_request *request, const char *const args[])
{
    const struct noop *noop = arg;
    struct tpc_id id = participant_id(noop, args[0]);
    const struct api_codec_limits limits = {0};
    struct api_envelope envelope;
    struct api_refusal refusal = {0};
    struct tpc_buf out = {0};
    size_t size;
    const char *body = api_request_body(request, &size);
    if (api_envelope_decode(body, size, &limits, MESSAGES_MAX, &envelope, &refusal) != TPC_OK) {
        api_respond_refusal(request, &refusal);
        return;
    }
    for (size_t i = 0; i < envelope.count; i++) {
        write_answer(&out, &envelope.messages[i], &id);
    }
    api_envelope_done(&envelope);
    api_respond(request, 200, "application/x-ndjson", &out);
}

static void on_ready(void *arg, struct api_request *request, const char *const args[])
{
    struct tpc_buf out = {0};
    (void)arg, (void)args;
    tpc_buf_adds(&out, "{\"ready\":true}");
    api_respond(request, 200, NULL, &out);
}

/* It holds nothing, and knows of nothing that ended. */
static void on_branches(void *arg, struct api_request *request, const char *const args[])
{
    struct tpc_buf out = {0};
    (void)arg, (void)args;
    tpc_buf_adds(&out, "{\"items\":[],\"next_cursor\":null}");
    api_respond(request, 200, NULL, &out);
}

static void on_request(void *arg, struct api_request *request)
{
    static const struct api_route routes[] = {
        {"POST", "/{name}/v1/messages", on_messages},
        {"GET", "/{name}/v1/branches", on_branches},
        {"GET", "/{name}/readyz", on_ready},
        {"GET", "/readyz", on_ready},
        {NULL, NULL, NULL},
    };
    api_route(routes, arg, request);
}

static void on_signal(void *arg, int number)
{
    struct noop *noop = arg;
    (void)number;
    api_loop_stop(noop->loop);
}

static uint64_t before_sleep(void *arg)
{
    (void)arg;
    return UINT64_MAX;
}

static void on_wake(void *arg)
{
    (void)arg; /* there is no other thread */
}

enum tpc_rc cli_noop_serve(const char *listen, struct tpc_err *reterr)
{
    struct noop noop = {0};
    const struct api_loop_options loop = {.arg = &noop,
                                          .timers = &noop.timers,
                                          .before_sleep = before_sleep,
                                          .on_wake = on_wake,
                                          .on_signal = on_signal};
    tpc_id_random(&noop.id);
    enum tpc_rc rc = api_loop_new(&loop, &noop.loop, reterr);
    if (rc != TPC_OK) {
        return rc;
    }
    const struct api_server_options server = {.loop = api_loop_uv(noop.loop),
                                              .listen = listen,
                                              .connections_max = CONNECTIONS,
                                              .body_max = BODY_MAX,
                                              .handler = on_request,
                                              .arg = &noop};
    rc = api_server_start(&server, &noop.server, reterr);
    if (rc == TPC_OK) {
        (void)fprintf(stderr, "evt=daemon.ready name=noop url=%s\n", api_server_url(noop.server));
        api_loop_run(noop.loop);
        api_server_stop(noop.server);
    }
    api_loop_free(noop.loop);
    return rc;
}
