#include "cli/crashtest/invariants.h"

#include "base/clock.h"
#include "cli/crashtest/workload_internal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOOK_EVERY_MS = 10,
    SETTLE_MS = 30000,
    READ_MS = 20000,
    ROUNDS = 3,
    TOUCH_MS = 10000,   /* the time-out of the transaction that touches every row */
    UNLOCK_MS = 1000,   /* until a late prepare is asked for */
    SHOWN_SAMPLES = 50, /* transactions asked for by their ids */
    CHECK_MS = 60000,
};

/* ---- Nothing in doubt ---- */

/* "" when nothing is unsettled at @base, else what is. A participant of the user's need not have
 * the list. */
static void look_at_list(const char *base, const char *path, bool optional, char *out, size_t size)
{
    struct api_json *json = NULL;
    int status = cli_play_call(base, "GET", path, NULL, NULL, &json);
    const struct api_json *items = cli_json_at(json, "items");
    out[0] = '\0';
    if (status != 200 || items == NULL) {
        if (!optional || status == 0 || status == 503) {
            (void)snprintf(out, size, "GET %s%s answers %d", base, path, status);
        }
    } else if (api_json_count(items) > 0) {
        const char *gtid = cli_json_text_at(items, "0.gtid");
        (void)snprintf(out, size, "GET %s%s shows %s, state %s", base, path,
                       *gtid != '\0' ? gtid : cli_json_text_at(items, "0.id"),
                       cli_json_text_at(items, "0.state"));
    }
    api_json_free(json);
}

static void look(struct cli_play *play, char *out, size_t size)
{
    static const char *const transactions[] = {
        "/v1/transactions?state=active", "/v1/transactions?state=preparing",
        "/v1/transactions?state=committing", "/v1/transactions?state=aborting"};
    out[0] = '\0';
    for (size_t i = 0; i < 4 && out[0] == '\0'; i++) {
        look_at_list(cli_play_coordinator(play)->url, transactions[i], false, out, size);
    }
    for (unsigned i = 0; i < play->setup->spec_count && out[0] == '\0'; i++) {
        look_at_list(cli_play_member(play, i)->url, "/v1/branches",
                     play->setup->specs[i].url != NULL, out, size);
    }
}

static bool settle(struct cli_play *play, uint64_t timeout_ms, char *found, size_t size)
{
    uint64_t until_ms = tpc_clock_mono_ms() + timeout_ms;
    look(play, found, size);
    while (found[0] != '\0' && !cli_play_is_over(play) && tpc_clock_mono_ms() < until_ms) {
        cli_play_nap(LOOK_EVERY_MS);
        look(play, found, size);
    }
    return found[0] == '\0';
}

static void check_settled(struct cli_play *play)
{
    char found[512];
    if (!settle(play, SETTLE_MS, found, sizeof found) && !play->over) {
        cli_play_object(play, "unsettled: %s", found);
    }
}

/* ---- The history ---- */

static struct cli_workload_options direct(struct cli_play *play)
{
    struct cli_workload_options options = play->options;
    options.url = cli_play_coordinator(play)->url;
    return options;
}

static bool read_final(struct cli_play *play)
{
    struct tpc_err err = {0};
    struct cli_workload_options options = direct(play);
    options.timeout_ms = READ_MS;
    if (cli_workload_read_final(&options, READ_MS, &play->history, &err) != TPC_OK) {
        cli_play_object(play, "what the databases hold cannot be read: %s", err.text);
        return false;
    }
    return true;
}

static void check_history(struct cli_play *play, uint64_t counts[CLI_ANOMALY_COUNT])
{
    struct cli_findings findings = {0};
    if (!read_final(play)) {
        return;
    }
    cli_check_history(&play->history, &findings);
    for (size_t i = 0; i < findings.item_count; i++) {
        const struct cli_finding *item = &findings.items[i];
        if (cli_anomaly_forbidden(item->anomaly)) {
            cli_play_object(play, "%s: %s", cli_anomaly_name(item->anomaly), item->text);
        }
    }
    for (unsigned i = 0; i < CLI_ANOMALY_COUNT; i++) {
        counts[i] += findings.counts[i];
    }
    cli_findings_done(&findings);
}

/* ---- Shown ---- */

static bool is_held(const struct cli_play *play, const struct cli_txn *txn)
{
    const struct cli_final *final = &play->history.final;
    for (size_t i = 0; i < final->row_count; i++) {
        if (strcmp(final->rows[i].txn, txn->name) == 0) {
            return true;
        }
    }
    return false;
}

static bool moves(const struct cli_txn *txn)
{
    return txn->op_count > 0 && txn->ops[0].kind == CLI_OP_MOVE;
}

static bool has_branches(const struct cli_txn *txn)
{
    for (size_t i = 1; i < txn->op_count; i++) {
        if (txn->ops[i].member != txn->ops[0].member) {
            return true;
        }
    }
    return false;
}

static void check_one_shown(struct cli_play *play, const struct cli_txn *txn)
{
    struct api_json *json = NULL;
    char path[128];
    (void)snprintf(path, sizeof path, "/v1/transactions/%s", txn->id);
    int status = cli_play_call(cli_play_coordinator(play)->url, "GET", path, NULL, NULL, &json);
    const char *state = cli_json_text_at(json, "state");
    bool held = is_held(play, txn);
    bool committed = status == 200 && strcmp(state, "committed") == 0;
    bool aborted = status == 404 || (status == 200 && strcmp(state, "aborted") == 0);
    if (!committed && !aborted) {
        cli_play_object(play, "%s (%s): shown with HTTP %d, state '%s'", txn->name, txn->id, status,
                        state);
    } else if (held && !committed) {
        /* One-phase transactions leave the coordinator without a record. */
        if (txn->keyed || has_branches(txn) || status != 404) {
            cli_play_object(play, "%s (%s): held, and shown with HTTP %d, state '%s'", txn->name,
                            txn->id, status, state);
        }
    } else if (!held && !aborted) {
        cli_play_object(play, "%s (%s): not held, and shown as %s", txn->name, txn->id, state);
    }
    api_json_free(json);
}

static void check_shown(struct cli_play *play)
{
    const struct cli_history *history = &play->history;
    size_t step = 1 + history->count / SHOWN_SAMPLES;
    for (size_t i = 0; i < history->count && history->final.has_bank; i += step) {
        const struct cli_txn *txn = &history->txns[i];
        if (txn->id[0] != '\0' && moves(txn)) {
            check_one_shown(play, txn);
        }
    }
}

/* ---- No lock left ---- */

/* True when it committed, at whatever attempt of the coordinator; else @why. */
static bool touch_all(struct cli_play *play, int by, char *why, size_t size)
{
    struct tpc_buf body = {0};
    struct api_json *json = NULL;
    char params[16];
    (void)snprintf(params, sizeof params, "%d", by);
    tpc_buf_addf(&body, "{\"label\":\"every row\",\"timeout_ms\":%d,\"branches\":[", TOUCH_MS);
    for (unsigned i = 0; i < play->setup->spec_count; i++) {
        enum cli_dialect dialect = play->setup->specs[i].dialect;
        tpc_buf_addf(&body, "%s{\"participant\":\"%s\",\"statements\":[", i > 0 ? "," : "",
                     play->setup->specs[i].name);
        cli_statement_write(&body, dialect,
                            "UPDATE " CLI_ACCOUNTS_TABLE " SET balance = balance + ?", params,
                            CLI_ACCOUNTS);
        cli_statement_write(&body, dialect,
                            by > 0 ? "UPDATE " CLI_LISTS_TABLE " SET id = id + 1000000"
                                   : "UPDATE " CLI_LISTS_TABLE " SET id = id - 1000000",
                            "", CLI_LISTS);
        tpc_buf_adds(&body, "]}");
    }
    tpc_buf_adds(&body, "]}");
    int status = cli_play_call(cli_play_coordinator(play)->url, "POST", "/v1/transactions", NULL,
                               body.data, &json);
    tpc_buf_done(&body);
    if (status != 201) {
        (void)snprintf(why, size, "HTTP %d, %s: %.600s", status,
                       cli_json_text_at(json, "cause.code"),
                       cli_json_text_at(json, "cause.detail"));
    }
    api_json_free(json);
    return status == 201;
}

/* A late prepare of a coordinator that is dead may have come in between, which holds its rows until
 * its outcome is asked for: so more times than once. */
static bool touch_until_good(struct cli_play *play, int by)
{
    char why[800] = "", found[512];
    bool good = false;
    for (int round = 0; round < ROUNDS && !good && !cli_play_is_over(play); round++) {
        good = touch_all(play, by, why, sizeof why);
        if (!good) {
            (void)settle(play, UNLOCK_MS, found, sizeof found);
        }
    }
    if (!good && !play->over) {
        cli_play_object(play, "a transaction on every row does not commit: %s", why);
    }
    return good;
}

/* There and back. */
static void check_unlocked(struct cli_play *play)
{
    if (touch_until_good(play, 1) && !touch_until_good(play, -1)) {
        play->over = true; /* the rows are not what they were: nothing can be compared */
    }
}

/* ---- Restarts, the command, the end ---- */

/* All that the databases hold, as text; the caller frees. */
static char *print_final(const struct cli_final *final)
{
    struct tpc_buf out = {0};
    for (unsigned i = 0; i < CLI_MEMBERS_MAX; i++) {
        for (size_t j = 0; j < final->account_counts[i]; j++) {
            tpc_buf_addf(&out, "%u/%zu: %lld\n", i, j + 1, (long long) final->balances[i][j]);
        }
    }
    for (size_t i = 0; i < final->row_count; i++) {
        const struct cli_row *row = &final->rows[i];
        tpc_buf_addf(&out, "%s %u/%lld %lld\n", row->txn, row->member, (long long)row->account,
                     (long long)row->amount);
    }
    for (size_t i = 0; i < final->list_count; i++) {
        const struct cli_list *list = &final->lists[i];
        tpc_buf_addf(&out, "list %u/%lld:", list->member, (long long)list->key);
        for (size_t j = 0; j < list->count; j++) {
            tpc_buf_addf(&out, " %lld", (long long)list->values[j]);
        }
        tpc_buf_addc(&out, '\n');
    }
    tpc_buf_adds(&out, "end\n");
    return tpc_buf_take(&out);
}

static void check_restart(struct cli_play *play)
{
    char *before = print_final(&play->history.final);
    for (unsigned i = 0; i < play->world.node_count; i++) {
        cli_proc_kill(&play->world.nodes[i].proc);
        cli_proc_kill(&play->world.nodes[i].server.proc);
    }
    cli_play_revive(play);
    check_settled(play);
    if (!cli_play_is_over(play) && read_final(play)) {
        char *after = print_final(&play->history.final);
        if (before == NULL || after == NULL || strcmp(before, after) != 0) {
            cli_play_object(play, "a restart at rest has changed what the databases hold");
        }
        free(after);
    }
    free(before);
}

/* What the participants do not know of, their servers may still hold. */
static void check_servers(struct cli_play *play)
{
    for (unsigned i = 0; i < play->world.node_count && !play->over; i++) {
        const struct cli_node *node = &play->world.nodes[i];
        size_t left = 0;
        struct tpc_err err = {0};
        if (node->server.engine == CLI_NO_ENGINE) {
            continue;
        }
        if (cli_server_prepared(&node->server, &left, &err) != TPC_OK) {
            cli_play_object(play, "the server of %s: %s", node->name, err.text);
        } else if (left > 0) {
            cli_play_object(play, "the server of %s still holds %zu prepared", node->name, left);
        }
    }
}

static void check_command(struct cli_play *play)
{
    char program[2 * CLI_PATH_MAX], out[2 * CLI_PATH_MAX];
    const char *const args[] = {program, "--url", cli_play_coordinator(play)->url, "check", NULL};
    (void)snprintf(program, sizeof program, "%s/assent", play->setup->programs);
    (void)snprintf(out, sizeof out, "%s/check.log", play->world.directory);
    int status = cli_proc_run(args, out, CHECK_MS);
    if (status != 0) {
        cli_play_object(play, "assent check ends with %d: see %s", status, out);
    }
}

/* With a sanitizer this is also the search for leaks. */
static void check_end(struct cli_play *play)
{
    for (unsigned i = 0; i < play->world.node_count; i++) {
        struct cli_node *node = &play->world.nodes[i];
        bool assent = node->spec == NULL || node->spec->url == NULL;
        cli_proc_signal(&node->proc, SIGTERM);
        if (assent &&
            (!cli_proc_wait(&node->proc, CLI_STOP_MS) || !cli_proc_ended_in_order(&node->proc))) {
            cli_play_object(play, "%s does not end in good order after SIGTERM", node->name);
        }
    }
}

void cli_check_play(struct cli_play *play, uint64_t counts[CLI_ANOMALY_COUNT])
{
    if (cli_play_is_over(play)) {
        return;
    }
    check_settled(play);
    check_history(play, counts);
    check_shown(play);
    check_unlocked(play);
    if (cli_play_is_embedded(play)) {
        check_command(play);
    }
    check_servers(play);
    if (!cli_play_is_over(play)) {
        check_restart(play);
    }
    if (!cli_play_is_over(play)) {
        check_end(play);
    }
}
