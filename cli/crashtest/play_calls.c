/* Single requests of a play, and what is in their answers. */
#include "cli/crashtest/play.h"

#include "cli/crashtest/workload_internal.h"
#include "cli/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALL_MS = 20000 };

struct reply {
    enum tpc_rc rc;
    int status;
    struct tpc_buf body;
    struct api_json *json; /* NULL: the body is none */
};

/* On a connection of its own: nothing is sent twice. */
static struct reply call(const char *base, const char *method, const char *path, const char *header,
                         const char *body)
{
    struct cli_http *http = cli_http_new();
    struct cli_answer answer = {0};
    struct reply reply = {.rc = TPC_ENOMEM};
    char url[640];
    (void)snprintf(url, sizeof url, "%s%s", base, path);
    struct cli_request request = {.method = method,
                                  .url = url,
                                  .headers = {header},
                                  .body = body,
                                  .body_size = body != NULL ? strlen(body) : 0,
                                  .timeout_ms = CALL_MS};
    if (http != NULL) {
        reply.rc = cli_http_do(http, &request, &answer, NULL);
    }
    cli_http_free(http);
    reply.status = reply.rc == TPC_OK ? answer.status : 0;
    reply.body = answer.body;
    if (reply.status == 0 ||
        api_json_parse(reply.body.data, reply.body.size, &reply.json, NULL) != TPC_OK) {
        reply.json = NULL;
    }
    return reply;
}

static void reply_done(struct reply *reply)
{
    tpc_buf_done(&reply->body);
    api_json_free(reply->json);
}

int cli_play_call(const char *base, const char *method, const char *path, const char *header,
                  const char *body, struct api_json **ret_json)
{
    struct reply reply = call(base, method, path, header, body);
    if (ret_json != NULL) {
        *ret_json = reply.json;
        reply.json = NULL;
    }
    reply_done(&reply);
    return reply.status;
}

/* ---- Transfers ---- */

static uint64_t next_number(const struct cli_history *history)
{
    uint64_t last = 0;
    for (size_t i = 0; i < history->count; i++) {
        last = history->txns[i].completed > last ? history->txns[i].completed : last;
    }
    return last + 1;
}

static struct cli_txn make_transfer(const struct cli_play *play, struct cli_leg from,
                                    struct cli_leg to)
{
    struct cli_txn txn = {.tries = 1, .invoked = next_number(&play->history)};
    (void)snprintf(txn.name, sizeof txn.name, "one-%zu", play->history.count);
    (void)cli_txn_add_op(&txn, CLI_OP_MOVE, from.member, from.account, -1);
    (void)cli_txn_add_op(&txn, CLI_OP_MOVE, to.member, to.account, 1);
    txn.completed = txn.invoked + 1;
    return txn;
}

static struct cli_txn *submit(struct cli_play *play, struct cli_leg from, struct cli_leg to,
                              const char *header)
{
    struct cli_txn txn = make_transfer(play, from, to);
    struct tpc_buf body = {0};
    if (!cli_play_is_over(play)) {
        cli_txn_body(&play->options, &txn, &body);
        struct reply reply = call(play->options.url, "POST", "/v1/transactions", header, body.data);
        if (reply.rc == TPC_OK) {
            (void)cli_txn_note(&play->options, &txn, reply.status, reply.json);
        } else if (reply.rc == TPC_EUNREACHABLE) {
            txn.told = CLI_TOLD_NOT_STARTED;
        }
        reply_done(&reply);
    }
    tpc_buf_done(&body);
    cli_history_add(&play->history, &txn);
    return &play->history.txns[play->history.count - 1];
}

struct cli_txn *cli_play_transfer(struct cli_play *play, struct cli_leg from, struct cli_leg to)
{
    return submit(play, from, to, NULL);
}

struct cli_txn *cli_play_transfer_async(struct cli_play *play, struct cli_leg from,
                                        struct cli_leg to)
{
    return submit(play, from, to, "Prefer: respond-async");
}

/* Post to the transaction, and note an answer that is its end. True: it goes on. */
static bool go_on(struct cli_play *play, struct cli_txn *txn, const char *word, const char *body)
{
    char path[128];
    bool commits = strcmp(word, "commit") == 0;
    (void)snprintf(path, sizeof path, "/v1/transactions/%s/%s", txn->id, word);
    struct reply reply = call(play->options.url, "POST", path, NULL, body);
    bool done = reply.rc == TPC_OK && reply.status == 200;
    if (reply.rc == TPC_OK && reply.status != 503 && (commits || !done)) {
        (void)cli_txn_note(&play->options, txn, reply.status, reply.json);
    }
    reply_done(&reply);
    cli_play_revive(play);
    return done && !commits;
}

/* A submit's body, branch by branch. */
static void work(struct cli_play *play, struct cli_txn *txn)
{
    struct tpc_buf body = {0};
    struct api_json *json = NULL;
    cli_txn_body(&play->options, txn, &body);
    bool goes_on = api_json_parse(body.data, body.size, &json, NULL) == TPC_OK;
    const struct api_json *branch = api_json_first(cli_json_at(json, "branches"));
    for (; goes_on && branch != NULL; branch = api_json_next(branch)) {
        struct tpc_buf step = {0};
        api_json_print(&step, branch);
        goes_on = go_on(play, txn, "statements", step.data);
        tpc_buf_done(&step);
    }
    if (goes_on) {
        (void)go_on(play, txn, "commit", NULL);
    }
    api_json_free(json);
    tpc_buf_done(&body);
}

struct cli_txn *cli_play_interactive(struct cli_play *play, struct cli_leg from, struct cli_leg to)
{
    struct cli_txn txn = make_transfer(play, from, to);
    if (!cli_play_is_over(play)) {
        struct reply reply = call(play->options.url, "POST", "/v1/transactions", NULL,
                                  "{\"open\":true,\"timeout_ms\":5000}");
        (void)snprintf(txn.id, sizeof txn.id, "%s", cli_json_text_at(reply.json, "id"));
        if (reply.status != 201) {
            txn.told = CLI_TOLD_NOT_STARTED; /* nothing is done before it has an id */
        }
        reply_done(&reply);
        cli_play_revive(play);
    }
    if (txn.id[0] != '\0') {
        work(play, &txn);
    }
    cli_history_add(&play->history, &txn);
    return &play->history.txns[play->history.count - 1];
}

static void ask(struct cli_play *play, struct cli_txn *txn)
{
    char path[128];
    (void)snprintf(path, sizeof path, "/v1/transactions/%s?wait=15s", txn->id);
    struct reply reply = call(cli_play_coordinator(play)->url, "GET", path, NULL, NULL);
    if (reply.rc == TPC_OK && reply.status != 503) {
        (void)cli_txn_note(&play->options, txn, reply.status, reply.json);
    }
    reply_done(&reply);
}

void cli_play_ask(struct cli_play *play)
{
    for (size_t i = 0; i < play->history.count && !cli_play_is_over(play); i++) {
        struct cli_txn *txn = &play->history.txns[i];
        if (txn->told == CLI_TOLD_UNKNOWN && txn->id[0] != '\0') {
            ask(play, txn);
        }
    }
}

/* ---- JSON ---- */

static const struct api_json *step_into(const struct api_json *json, const char *name)
{
    char *end;
    unsigned long index = strtoul(name, &end, 10);
    if (json == NULL || api_json_type(json) != API_JSON_ARRAY || *end != '\0') {
        return json != NULL ? api_json_get(json, name) : NULL;
    }
    const struct api_json *item = api_json_first(json);
    while (item != NULL && index-- > 0) {
        item = api_json_next(item);
    }
    return item;
}

const struct api_json *cli_json_at(const struct api_json *json, const char *path)
{
    while (*path != '\0') {
        char name[64];
        size_t size = strcspn(path, ".");
        (void)snprintf(name, sizeof name, "%.*s", (int)size, path);
        json = step_into(json, name);
        path += size + (path[size] == '.' ? 1 : 0);
    }
    return json;
}

const char *cli_json_text_at(const struct api_json *json, const char *path)
{
    const struct api_json *value = cli_json_at(json, path);
    const char *text = value != NULL ? api_json_string(value) : NULL;
    return text != NULL ? text : "";
}

/* ---- Metrics ---- */

static bool is_sample_of(const char *line, const char *name)
{
    size_t size = strlen(name);
    return strncmp(line, name, size) == 0 && (line[size] == ' ' || line[size] == '{');
}

double cli_play_metric(const char *base, const char *name)
{
    double sum = -1;
    struct reply reply = call(base, "GET", "/metrics", NULL, NULL);
    for (const char *line = reply.status == 200 ? reply.body.data : ""; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        const char *value = line + length;
        while (value > line && value[-1] != ' ') {
            value--;
        }
        if (is_sample_of(line, name)) {
            sum = (sum < 0 ? 0 : sum) + strtod(value, NULL);
        }
        line += length + (line[length] == '\n' ? 1 : 0);
    }
    reply_done(&reply);
    return sum;
}
