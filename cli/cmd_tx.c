#include "cli/args.h"
#include "cli/out.h"
#include "cli/remote.h"
#include "cli/txn_view.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAGE          1000
#define LIMIT_DEFAULT 50
#define POLL_MS       20000UL /* one long poll; the coordinator bounds them */

/* ---- ls ---- */

enum { LS_STATE, LS_PARTICIPANT, LS_KEY, LS_LIMIT, LS_ALL };

static enum cli_exit list_one(void *arg, const struct api_json *txn)
{
    struct cli_listing *list = arg;
    if (list->format != CLI_TABLE) {
        struct tpc_buf json = {0};
        api_json_print(&json, txn);
        cli_list_add(list, &json);
        tpc_buf_done(&json);
        return CLI_OK;
    }
    char took[32];
    struct tpc_buf names = {0};
    const struct api_json *took_ms = api_json_get(txn, "took_ms");
    const struct api_json *b = api_json_first(api_json_get(txn, "branches"));
    for (; b != NULL; b = api_json_next(b)) {
        tpc_buf_addf(&names, "%s%s", names.size > 0 ? "," : "", cli_json_text(b, "participant"));
    }
    cli_table_add(&list->table, cli_json_text(txn, "id"));
    cli_table_add(&list->table, cli_txn_has_hazard(txn) ? "hazard" : cli_json_text(txn, "state"));
    cli_table_add(&list->table, cli_json_text(txn, "began_at"));
    cli_table_add(&list->table, api_json_type(took_ms) == API_JSON_NUMBER
                                    ? cli_duration_text(api_json_number(took_ms), took)
                                    : "");
    cli_table_add(&list->table, names.data);
    cli_table_add(&list->table, cli_json_text(txn, "label"));
    tpc_buf_done(&names);
    return CLI_OK;
}

static void add_query(struct tpc_buf *path, const char *name, const char *value)
{
    if (value != NULL) {
        tpc_buf_addf(path, "&%s=", name);
        cli_http_escape(path, value);
    }
}

static bool limit_of(const struct cli_call *call, size_t *ret_limit)
{
    *ret_limit = call->values[LS_ALL] != NULL ? SIZE_MAX : LIMIT_DEFAULT;
    if (call->values[LS_LIMIT] == NULL) {
        return true;
    }
    char *end = NULL;
    unsigned long limit = strtoul(call->values[LS_LIMIT], &end, 10);
    if (end == call->values[LS_LIMIT] || *end != '\0' || limit < 1 || limit > 1000000) {
        fprintf(stderr, "assent: --limit takes a number from 1 to 1000000, not \"%s\"\n",
                call->values[LS_LIMIT]);
        return false;
    }
    *ret_limit = limit;
    return true;
}

static enum cli_exit run_ls(const struct cli_call *call)
{
    static const char *const names[] = {"ID", "STATE", "BEGAN", "TOOK", "PARTICIPANTS", "LABEL"};
    struct cli_listing list;
    struct cli_remote remote;
    size_t limit = 0;
    if (!limit_of(call, &limit)) {
        return CLI_USAGE;
    }
    enum cli_exit result = cli_remote_init(&remote, call);
    if (result != CLI_OK) {
        return result;
    }
    struct cli_peer peer = cli_coordinator(&remote);
    struct tpc_buf path = {0};
    tpc_buf_addf(&path, "/v1/transactions?limit=%zu", limit < PAGE ? limit : (size_t)PAGE);
    add_query(&path, "state", call->values[LS_STATE]);
    add_query(&path, "participant", call->values[LS_PARTICIPANT]);
    add_query(&path, "key", call->values[LS_KEY]);
    cli_list_begin(&list, call->format, 6, names);
    result =
        path.failed ? CLI_ERROR : cli_each_item(&remote, &peer, path.data, limit, list_one, &list);
    if (result == CLI_OK) {
        cli_list_print(&list);
    }
    cli_list_done(&list);
    tpc_buf_done(&path);
    cli_remote_done(&remote);
    return result;
}

static const struct cli_flag ls_flags[] = {
    [LS_STATE] = {"state", "STATE", "only those in this state", 0},
    [LS_PARTICIPANT] = {"participant", "NAME", "only those with a branch there", 0},
    [LS_KEY] = {"key", "KEY", "only that of this idempotency key", 0},
    [LS_LIMIT] = {"limit", "N", "so many at most (50)", 0},
    [LS_ALL] = {"all", NULL, "without a limit", 0},
    {NULL, NULL, NULL, 0},
};

const struct cli_command cli_tx_ls = {
    .group = "tx",
    .name = "ls",
    .summary = "list transactions, newest first",
    .flags = ls_flags,
    .run = run_ls,
};

/* ---- show, wait, abort ---- */

static void path_of(struct tpc_buf *path, const char *id, const char *rest)
{
    tpc_buf_adds(path, "/v1/transactions/");
    cli_http_escape(path, id);
    tpc_buf_adds(path, rest);
}

static enum cli_exit run_show(const struct cli_call *call)
{
    struct cli_remote remote;
    enum cli_exit result = cli_remote_init(&remote, call);
    if (result != CLI_OK) {
        return result;
    }
    struct cli_peer peer = cli_coordinator(&remote);
    struct tpc_buf path = {0};
    struct api_json *txn = NULL;
    path_of(&path, call->words[0], "");
    result = path.failed ? CLI_ERROR : cli_remote_get(&remote, &peer, path.data, &txn);
    if (result == CLI_OK) {
        cli_print_txn(call, txn);
        result = cli_txn_has_hazard(txn) ? CLI_IN_DOUBT : CLI_OK;
    }
    api_json_free(txn);
    tpc_buf_done(&path);
    cli_remote_done(&remote);
    return result;
}

const struct cli_command cli_tx_show = {
    .group = "tx",
    .name = "show",
    .words = "ID",
    .words_min = 1,
    .words_max = 1,
    .summary = "show one transaction and its branches",
    .run = run_show,
};

enum { WAIT_TIMEOUT };

static unsigned long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (unsigned long)now.tv_sec * 1000 + (unsigned long)now.tv_nsec / 1000000;
}

/* Poll until the transaction has ended or the time is over; *ret_txn is the last that was said. */
static enum cli_exit poll_until(struct cli_remote *remote, const char *id, unsigned long timeout_ms,
                                struct api_json **ret_txn)
{
    struct cli_peer peer = cli_coordinator(remote);
    unsigned long begin = now_ms();
    enum cli_exit result = CLI_OK;
    bool more = true;
    while (result == CLI_OK && more) {
        struct tpc_buf path = {0};
        char wait[48];
        unsigned long spent = now_ms() - begin;
        unsigned long left = spent < timeout_ms ? timeout_ms - spent : 0;
        snprintf(wait, sizeof(wait), "?wait=%lums", left < POLL_MS ? left : POLL_MS);
        path_of(&path, id, wait);
        api_json_free(*ret_txn);
        *ret_txn = NULL;
        result = path.failed ? CLI_ERROR : cli_remote_get(remote, &peer, path.data, ret_txn);
        tpc_buf_done(&path);
        const char *state = cli_json_text(*ret_txn, "state");
        more = left > POLL_MS && strcmp(state, "committed") != 0 && strcmp(state, "aborted") != 0;
    }
    return result;
}

static enum cli_exit run_wait(const struct cli_call *call)
{
    unsigned long timeout_ms = 30000;
    const char *timeout = call->values[WAIT_TIMEOUT];
    struct cli_remote remote;
    if (timeout != NULL && !cli_args_duration("timeout", timeout, &timeout_ms)) {
        return CLI_USAGE;
    }
    enum cli_exit result = cli_remote_init(&remote, call);
    if (result != CLI_OK) {
        return result;
    }
    struct api_json *txn = NULL;
    result = poll_until(&remote, call->words[0], timeout_ms, &txn);
    if (result == CLI_OK) {
        cli_print_txn(call, txn);
        result = cli_txn_exit(txn);
    }
    api_json_free(txn);
    cli_remote_done(&remote);
    return result;
}

static const struct cli_flag wait_flags[] = {
    [WAIT_TIMEOUT] = {"timeout", "TIME", "give up after this (30s)", 0},
    {NULL, NULL, NULL, 0},
};

const struct cli_command cli_tx_wait = {
    .group = "tx",
    .name = "wait",
    .words = "ID",
    .words_min = 1,
    .words_max = 1,
    .summary = "wait until a transaction has ended",
    .detail = "Ends with 0 when it committed everywhere, 3 when it aborted, 4 when it has not\n"
              "ended in time or a branch ended another way than the decision.\n",
    .flags = wait_flags,
    .run = run_wait,
};

/* POST to a transaction; shows it as it is then. */
static enum cli_exit post_to(const struct cli_call *call, const char *verb,
                             const struct tpc_buf *body)
{
    struct cli_remote remote;
    enum cli_exit result = cli_remote_init(&remote, call);
    if (result != CLI_OK) {
        return result;
    }
    struct cli_peer peer = cli_coordinator(&remote);
    struct tpc_buf path = {0};
    struct api_json *txn = NULL;
    int status = 0;
    path_of(&path, call->words[0], verb);
    struct cli_request request = {
        .method = "POST", .url = path.data, .body = body->data, .body_size = body->size};
    result = path.failed || body->failed
                 ? CLI_ERROR
                 : cli_remote_send(&remote, &peer, &request, &status, &txn, NULL, false);
    if (result == CLI_OK && status != 200 && status != 202) {
        result = cli_complain_problem(&peer, status, txn);
    } else if (result == CLI_OK) {
        cli_print_txn(call, txn);
    }
    api_json_free(txn);
    tpc_buf_done(&path);
    cli_remote_done(&remote);
    return result;
}

static enum cli_exit run_abort(const struct cli_call *call)
{
    return post_to(call, "/abort", &(struct tpc_buf){0});
}

const struct cli_command cli_tx_abort = {
    .group = "tx",
    .name = "abort",
    .words = "ID",
    .words_min = 1,
    .words_max = 1,
    .summary = "abort a transaction that is not decided yet",
    .detail = "Ends with 0 when it is aborted, and with 1 when it is too late for that.\n",
    .run = run_abort,
};

/* ---- forget ---- */

enum { FORGET_REASON, FORGET_OPERATOR };

static enum cli_exit run_forget(const struct cli_call *call)
{
    char name[256];
    struct tpc_buf body = {0};
    api_jw_open(&body, '{');
    if (call->values[FORGET_REASON] != NULL) {
        api_jw_key(&body, "reason");
        api_jw_str(&body, call->values[FORGET_REASON]);
    }
    api_jw_key(&body, "operator");
    api_jw_str(&body, cli_args_operator(call->values[FORGET_OPERATOR], name, sizeof(name)));
    api_jw_close(&body, '}');
    enum cli_exit result = post_to(call, "/forget", &body);
    tpc_buf_done(&body);
    return result;
}

static const struct cli_flag forget_flags[] = {
    [FORGET_REASON] = {"reason", "TEXT", "what was done about it, for the coordinator's log", 0},
    [FORGET_OPERATOR] = {"operator", "NAME", "who (USER@host)", 0},
    {NULL, NULL, NULL, 0},
};

const struct cli_command cli_tx_forget = {
    .group = "tx",
    .name = "forget",
    .words = "ID",
    .words_min = 1,
    .words_max = 1,
    .summary = "forget a hazard: a branch that ended another way",
    .detail = "Once the databases were brought in line again. Until then the hazard is shown.\n",
    .flags = forget_flags,
    .run = run_forget,
};
