/* The beginning and the end of a workload's tables, through the API. */
#include "cli/crashtest/workload_internal.h"

#include "base/clock.h"
#include "base/id.h"
#include "cli/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { AGAIN_MS = 50, ROWS_AT_ONCE = 500, INSERTED_AT_ONCE = 100, SQL_MAX = 512 };
enum what { BALANCES, LEDGER, LISTS };

struct talk {
    struct cli_workload_options options;
    struct cli_http *http;
    uint64_t until_ms;
    struct tpc_err *reterr;
};

static enum tpc_rc begin_talk(struct talk *talk, const struct cli_workload_options *options,
                              unsigned long patience_ms, struct tpc_err *reterr)
{
    *talk = (struct talk){.options = *options,
                          .http = cli_http_new(),
                          .until_ms = tpc_clock_mono_ms() + patience_ms,
                          .reterr = reterr};
    cli_workload_default(&talk->options);
    return talk->http != NULL ? TPC_OK : tpc_fail(reterr, TPC_ENOMEM, "no HTTP client");
}

enum step { DONE, AGAIN, NEVER };

/* One request. With NEVER @talk->reterr says why, as it does with AGAIN when there is no more time.
 * @ret_json may be NULL. */
static enum step try_once(struct talk *talk, const struct cli_request *request,
                          struct api_json **ret_json)
{
    struct tpc_err err = {0};
    struct cli_answer answer;
    struct api_json *json = NULL;
    enum step step = tpc_clock_mono_ms() < talk->until_ms ? AGAIN : NEVER;
    enum tpc_rc rc = cli_http_do(talk->http, request, &answer, &err);
    if (rc == TPC_OK && api_json_parse(answer.body.data, answer.body.size, &json, NULL) != TPC_OK) {
        json = NULL;
    }
    const struct api_json *retry = json != NULL ? api_json_get(json, "retryable") : NULL;
    if (rc == TPC_OK && answer.status == 201) {
        step = DONE;
    } else if (rc == TPC_OK && (answer.status == 400 || answer.status == 422 ||
                                (retry != NULL && !api_json_bool(retry)))) {
        step = NEVER;
    }
    if (step == NEVER && rc != TPC_OK) {
        (void)tpc_fail(talk->reterr, rc, "%s: %s", talk->options.url, err.text);
    } else if (step == NEVER) {
        (void)tpc_fail(talk->reterr, TPC_EPROTO, "%s: status %d: %.400s", talk->options.url,
                       answer.status, answer.body.data != NULL ? answer.body.data : "");
    }
    cli_answer_done(&answer);
    if (step == DONE && ret_json != NULL) {
        *ret_json = json;
        return step;
    }
    api_json_free(json);
    return step;
}

/* A transaction of @member alone with these statements, until it has committed. One that writes
 * (@ret_json is NULL) under a key of its own, so that none of its repetitions comes late; one that
 * reads without, for a repeated answer may come without results. */
static enum tpc_rc transact(struct talk *talk, const struct cli_member *member,
                            const struct tpc_buf *statements, struct api_json **ret_json)
{
    struct tpc_buf body = {0};
    struct tpc_id key;
    char url[600], header[80], text[TPC_ID_TEXT];
    enum step step = AGAIN;
    tpc_id_random(&key);
    snprintf(url, sizeof(url), "%s/v1/transactions", talk->options.url);
    snprintf(header, sizeof(header), "Idempotency-Key: %s", tpc_id_format(&key, text));
    tpc_buf_adds(&body, "{\"label\":\"crashtest tables\",\"branches\":[{\"participant\":");
    api_jw_str(&body, member->name);
    tpc_buf_addf(&body, ",\"statements\":[%s]}]}", statements->data);
    const struct cli_request request = {.method = "POST",
                                        .url = url,
                                        .headers = {ret_json == NULL ? header : NULL},
                                        .body = body.data,
                                        .body_size = body.size};
    while (!body.failed && (step = try_once(talk, &request, ret_json)) == AGAIN) {
        nanosleep(&(struct timespec){.tv_nsec = AGAIN_MS * 1000000L}, NULL);
    }
    enum tpc_rc rc = step == DONE ? TPC_OK : tpc_fail(talk->reterr, TPC_ENOMEM, "out of memory");
    tpc_buf_done(&body);
    return rc == TPC_OK ? TPC_OK : talk->reterr != NULL ? talk->reterr->rc : rc;
}

/* ---- The beginning ---- */

static void add_statement(struct tpc_buf *out, const struct cli_member *member, const char *sql,
                          const char *params)
{
    cli_statement_write(out, member->dialect, sql, params, -1);
}

/* Rows (1, @value), (2, @value), … of @table. */
static void add_rows(struct tpc_buf *out, const struct cli_member *member, const char *table,
                     const char *column, unsigned count, const char *value)
{
    for (unsigned first = 1; first <= count; first += INSERTED_AT_ONCE) {
        struct tpc_buf sql = {0};
        tpc_buf_addf(&sql, "INSERT INTO %s(id, %s) VALUES ", table, column);
        for (unsigned id = first; id <= count && id < first + INSERTED_AT_ONCE; id++) {
            tpc_buf_addf(&sql, "%s(%u, %s)", id > first ? ", " : "", id, value);
        }
        if (sql.failed) {
            out->failed = true;
        } else {
            add_statement(out, member, sql.data, "");
        }
        tpc_buf_done(&sql);
    }
}

enum tpc_rc cli_workload_reset(const struct cli_workload_options *options,
                               unsigned long patience_ms, struct tpc_err *reterr)
{
    struct talk talk;
    struct tpc_err ignored = {0};
    enum tpc_rc rc = begin_talk(&talk, options, patience_ms, reterr != NULL ? reterr : &ignored);
    for (unsigned i = 0; rc == TPC_OK && i < options->member_count; i++) {
        const struct cli_member *member = &options->members[i];
        struct tpc_buf statements = {0};
        char balance[32];
        if (talk.options.kind != CLI_WORKLOAD_LISTS) {
            snprintf(balance, sizeof(balance), "%lld", (long long)talk.options.balance);
            add_statement(&statements, member, "DELETE FROM " CLI_LEDGER_TABLE, "");
            add_statement(&statements, member, "DELETE FROM " CLI_ACCOUNTS_TABLE, "");
            add_rows(&statements, member, CLI_ACCOUNTS_TABLE, "balance", talk.options.accounts,
                     balance);
        }
        if (talk.options.kind != CLI_WORKLOAD_BANK) {
            add_statement(&statements, member, "DELETE FROM " CLI_LISTS_TABLE, "");
            add_rows(&statements, member, CLI_LISTS_TABLE, "list", talk.options.lists, "''");
        }
        rc = statements.failed ? tpc_fail(reterr, TPC_ENOMEM, "out of memory")
                               : transact(&talk, member, &statements, NULL);
        tpc_buf_done(&statements);
    }
    cli_http_free(talk.http);
    return rc;
}

/* ---- The end ---- */

/* The cells of a row that was read: numbers, or text where @text is given. */
static const char *cell_text(const struct api_json *row, unsigned column)
{
    const struct api_json *cell = api_json_first(row);
    while (cell != NULL && column-- > 0) {
        cell = api_json_next(cell);
    }
    const char *text = cell != NULL ? api_json_string(cell) : NULL;
    return text != NULL ? text : "";
}

static int64_t cell_number(const struct api_json *row, unsigned column)
{
    const struct api_json *cell = api_json_first(row);
    while (cell != NULL && column-- > 0) {
        cell = api_json_next(cell);
    }
    return cell != NULL ? (int64_t)api_json_number(cell) : 0;
}

static void keep_row(struct cli_history *history, unsigned member, enum what what,
                     const struct api_json *row)
{
    struct cli_op values = {0};
    struct cli_row kept = {
        .member = member, .account = cell_number(row, 1), .amount = cell_number(row, 2)};
    struct cli_list list = {.member = member, .key = cell_number(row, 0)};
    switch (what) {
    case BALANCES:
        cli_history_add_balance(history, member, cell_number(row, 1));
        break;
    case LEDGER:
        snprintf(kept.txn, sizeof(kept.txn), "%s", cell_text(row, 0));
        cli_history_add_row(history, &kept);
        break;
    case LISTS:
    default:
        cli_list_parse(cell_text(row, 1), &values);
        list.count = values.count;
        list.values = values.values;
        cli_history_add_list(history, &list);
        break;
    }
}

/* What comes after the last row that was kept. */
static void ask_for(struct tpc_buf *out, const struct cli_member *member, enum what what,
                    const struct api_json *last)
{
    char sql[SQL_MAX], params[192];
    long long id = last != NULL ? (long long)cell_number(last, what == LEDGER ? 1 : 0) : 0;
    if (what == LEDGER) {
        const char *txn = last != NULL ? cell_text(last, 0) : "";
        snprintf(params, sizeof(params), "\"%s\",\"%s\",%lld", txn, txn, id);
        snprintf(sql, sizeof(sql),
                 "SELECT txn, account, amount FROM " CLI_LEDGER_TABLE
                 " WHERE txn > ? OR (txn = ? AND account > ?) ORDER BY txn, account LIMIT %d",
                 ROWS_AT_ONCE);
    } else {
        bool lists = what == LISTS;
        snprintf(params, sizeof(params), "%lld", id);
        snprintf(sql, sizeof(sql), "SELECT id, %s FROM %s WHERE id > ? ORDER BY id LIMIT %d",
                 lists ? "list" : "balance", lists ? CLI_LISTS_TABLE : CLI_ACCOUNTS_TABLE,
                 ROWS_AT_ONCE);
    }
    cli_statement_write(out, member->dialect, sql, params, -1);
}

/* {"branches": [{"results": [{"rows": [[…], …]}]}]} → the rows; NULL when there are no results. */
static const struct api_json *rows_of(const struct api_json *json)
{
    static const char *const path[] = {"branches", "results"};
    for (size_t i = 0; json != NULL && i < 2; i++) {
        json = api_json_get(json, path[i]);
        json = json != NULL ? api_json_first(json) : NULL;
    }
    return json != NULL ? api_json_get(json, "rows") : NULL;
}

static enum tpc_rc read_table(struct talk *talk, unsigned member, enum what what,
                              struct cli_history *history)
{
    const struct cli_member *where = &talk->options.members[member];
    struct tpc_buf statement = {0};
    enum tpc_rc rc;
    size_t count;
    ask_for(&statement, where, what, NULL);
    do {
        struct api_json *json = NULL;
        const struct api_json *last = NULL;
        count = 0;
        rc = transact(talk, where, &statement, &json);
        const struct api_json *rows = rows_of(json);
        if (rc == TPC_OK && rows == NULL) {
            rc = tpc_fail(talk->reterr, TPC_EPROTO, "%s: no results of a SELECT", where->name);
        }
        for (const struct api_json *row = rows != NULL ? api_json_first(rows) : NULL; row != NULL;
             row = api_json_next(row)) {
            keep_row(history, member, what, row);
            last = row;
            count++;
        }
        tpc_buf_clear(&statement);
        ask_for(&statement, where, what, last);
        api_json_free(json);
    } while (rc == TPC_OK && count == ROWS_AT_ONCE);
    tpc_buf_done(&statement);
    return rc;
}

enum tpc_rc cli_workload_read_final(const struct cli_workload_options *options,
                                    unsigned long patience_ms, struct cli_history *history,
                                    struct tpc_err *reterr)
{
    struct talk talk;
    struct tpc_err ignored = {0};
    enum tpc_rc rc = begin_talk(&talk, options, patience_ms, reterr != NULL ? reterr : &ignored);
    bool bank = options->kind != CLI_WORKLOAD_LISTS, lists = options->kind != CLI_WORKLOAD_BANK;
    cli_final_done(&history->final);
    for (unsigned i = 0; rc == TPC_OK && i < options->member_count; i++) {
        if (bank) {
            rc = read_table(&talk, i, BALANCES, history);
            rc = rc == TPC_OK ? read_table(&talk, i, LEDGER, history) : rc;
        }
        if (lists && rc == TPC_OK) {
            rc = read_table(&talk, i, LISTS, history);
        }
    }
    history->final.has_bank = bank && rc == TPC_OK;
    history->final.has_lists = lists && rc == TPC_OK;
    cli_http_free(talk.http);
    return rc;
}
