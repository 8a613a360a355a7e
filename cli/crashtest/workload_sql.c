#include "cli/crashtest/workload_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Tables ---- */

static const char *const dialect_names[] = {
    [CLI_SQLITE] = "sqlite", [CLI_POSTGRESQL] = "postgresql", [CLI_MARIADB] = "mariadb"};

bool cli_dialect_parse(const char *name, enum cli_dialect *ret_dialect)
{
    for (unsigned i = 0; i < sizeof(dialect_names) / sizeof(dialect_names[0]); i++) {
        if (strcmp(dialect_names[i], name) == 0) {
            *ret_dialect = (enum cli_dialect)i;
            return true;
        }
    }
    return false;
}

void cli_workload_tables(enum cli_dialect dialect, struct tpc_buf *out)
{
    /* In MariaDB a key needs a length, and InnoDB the tables. */
    const char *number = dialect == CLI_SQLITE ? "INTEGER" : "BIGINT";
    const char *text = dialect == CLI_MARIADB ? "VARCHAR(64)" : "TEXT";
    const char *end = dialect == CLI_MARIADB ? ") ENGINE=InnoDB" : ")";
    tpc_buf_addf(out,
                 "CREATE TABLE " CLI_ACCOUNTS_TABLE "(id %s PRIMARY KEY NOT NULL, balance %s NOT "
                 "NULL CHECK (balance >= 0)%s;\n",
                 number, number, end);
    tpc_buf_addf(out,
                 "CREATE TABLE " CLI_LEDGER_TABLE "(txn %s NOT NULL, account %s NOT NULL, amount "
                 "%s NOT NULL, PRIMARY KEY (txn, account)%s;\n"
                 "CREATE INDEX " CLI_LEDGER_TABLE "_account ON " CLI_LEDGER_TABLE "(account);\n",
                 text, number, number, end);
    tpc_buf_addf(out,
                 "CREATE TABLE " CLI_LISTS_TABLE "(id %s PRIMARY KEY NOT NULL, list %s NOT NULL%s;"
                 "\n",
                 number, dialect == CLI_MARIADB ? "LONGTEXT" : "TEXT", end);
}

/* ---- Statements ---- */

void cli_statement_write(struct tpc_buf *out, enum cli_dialect dialect, const char *sql,
                         const char *params, int expect)
{
    struct tpc_buf text = {0};
    unsigned number = 0;
    for (const char *c = sql; *c != '\0'; c++) {
        if (*c == '?' && dialect == CLI_POSTGRESQL) {
            tpc_buf_addf(&text, "$%u", ++number);
        } else {
            tpc_buf_addc(&text, *c);
        }
    }
    api_jw_open(out, '{');
    api_jw_key(out, "sql");
    api_jw_strn(out, text.data, text.size);
    if (params[0] != '\0') {
        tpc_buf_addf(out, ",\"params\":[%s]", params);
    }
    if (expect >= 0) {
        tpc_buf_addf(out, ",\"expect\":{\"rows\":%d}", expect);
    }
    api_jw_close(out, '}');
    out->failed = out->failed || text.failed;
    tpc_buf_done(&text);
}

static void write_move(struct tpc_buf *out, enum cli_dialect dialect, const struct cli_txn *txn,
                       const struct cli_op *op)
{
    char params[128];
    long long amount = (long long)op->value, account = (long long)op->key;
    /* Of what must be refused, some is left to the CHECK of the table. */
    if (amount < 0 && !(txn->impossible && amount % 2 != 0)) {
        snprintf(params, sizeof(params), "%lld,%lld,%lld", -amount, account, -amount);
        cli_statement_write(out, dialect,
                            "UPDATE " CLI_ACCOUNTS_TABLE
                            " SET balance = balance - ? WHERE id = ? AND balance >= ?",
                            params, 1);
    } else {
        snprintf(params, sizeof(params), "%lld,%lld", amount, account);
        cli_statement_write(out, dialect,
                            "UPDATE " CLI_ACCOUNTS_TABLE " SET balance = balance + ? WHERE id = ?",
                            params, 1);
    }
    snprintf(params, sizeof(params), "\"%s\",%lld,%lld", txn->name, account, amount);
    cli_statement_write(out, dialect,
                        "INSERT INTO " CLI_LEDGER_TABLE "(txn, account, amount) VALUES (?, ?, ?)",
                        params, 1);
}

static void write_balances(struct tpc_buf *out, enum cli_dialect dialect)
{
    static const char *const types[] = {
        [CLI_SQLITE] = "INTEGER", [CLI_POSTGRESQL] = "BIGINT", [CLI_MARIADB] = "SIGNED"};
    char sql[320];
    /* In one statement, for within one a database shows one state at any isolation level. */
    snprintf(sql, sizeof(sql),
             "SELECT a.id, a.balance, CAST((SELECT COALESCE(SUM(l.amount), 0) FROM " //
             CLI_LEDGER_TABLE " l WHERE l.account = a.id) AS %s) FROM " CLI_ACCOUNTS_TABLE
             " a ORDER BY a.id",
             types[dialect]);
    cli_statement_write(out, dialect, sql, "", -1);
}

static void write_op(struct tpc_buf *out, enum cli_dialect dialect, const struct cli_txn *txn,
                     const struct cli_op *op)
{
    char params[64];
    switch (op->kind) {
    case CLI_OP_APPEND:
        snprintf(params, sizeof(params), "\",%lld\",%lld", (long long)op->value,
                 (long long)op->key);
        cli_statement_write(out, dialect,
                            dialect == CLI_MARIADB ? "UPDATE " CLI_LISTS_TABLE
                                                     " SET list = CONCAT(list, ?) WHERE id = ?"
                                                   : "UPDATE " CLI_LISTS_TABLE
                                                     " SET list = list || ? WHERE id = ?",
                            params, 1);
        break;
    case CLI_OP_READ:
        snprintf(params, sizeof(params), "%lld", (long long)op->key);
        cli_statement_write(out, dialect, "SELECT list FROM " CLI_LISTS_TABLE " WHERE id = ?",
                            params, 1);
        break;
    case CLI_OP_MOVE:
        write_move(out, dialect, txn, op);
        break;
    case CLI_OP_BALANCES:
    case CLI_OP_COUNT:
    default:
        write_balances(out, dialect);
        break;
    }
}

static bool touches(const struct cli_txn *txn, unsigned member)
{
    for (size_t i = 0; i < txn->op_count; i++) {
        if (txn->ops[i].member == member) {
            return true;
        }
    }
    return false;
}

void cli_txn_body(const struct cli_workload_options *options, const struct cli_txn *txn,
                  struct tpc_buf *out)
{
    tpc_buf_addf(out, "{\"label\":\"%s\",\"timeout_ms\":%lu,\"branches\":", txn->name,
                 options->timeout_ms);
    api_jw_open(out, '[');
    for (unsigned i = 0; i < options->member_count; i++) {
        if (!touches(txn, i)) {
            continue;
        }
        api_jw_open(out, '{');
        api_jw_key(out, "participant");
        api_jw_str(out, options->members[i].name);
        api_jw_key(out, "statements");
        api_jw_open(out, '[');
        for (size_t j = 0; j < txn->op_count; j++) {
            if (txn->ops[j].member == i) {
                write_op(out, options->members[i].dialect, txn, &txn->ops[j]);
            }
        }
        api_jw_close(out, ']');
        api_jw_close(out, '}');
    }
    tpc_buf_adds(out, "]}");
}

/* ---- Answers ---- */

static const char *text_of(const struct api_json *object, const char *name)
{
    const struct api_json *value = object != NULL ? api_json_get(object, name) : NULL;
    const char *text = value != NULL ? api_json_string(value) : NULL;
    return text != NULL ? text : "";
}

void cli_list_parse(const char *text, struct cli_op *op)
{
    while (*text != '\0') {
        char *end = (char *)text;
        errno = 0;
        long long value = *text == ',' ? strtoll(text + 1, &end, 10) : 0;
        if (end <= text + 1 || (*end != ',' && *end != '\0') || errno != 0) {
            cli_op_add_value(op, 0);
            return;
        }
        cli_op_add_value(op, value);
        text = end;
    }
}

static void note_result(struct cli_op *op, const struct api_json *result)
{
    const struct api_json *rows = api_json_get(result, "rows");
    const struct api_json *row = rows != NULL ? api_json_first(rows) : NULL;
    if (row == NULL || op->seen) {
        return;
    }
    op->seen = true;
    if (op->kind == CLI_OP_READ) {
        const struct api_json *cell = api_json_first(row);
        const char *text = cell != NULL ? api_json_string(cell) : NULL;
        cli_list_parse(text != NULL ? text : "?", op);
        return;
    }
    for (; row != NULL; row = api_json_next(row)) {
        const struct api_json *id = api_json_first(row);
        const struct api_json *balance = id != NULL ? api_json_next(id) : NULL;
        const struct api_json *sum = balance != NULL ? api_json_next(balance) : NULL;
        cli_op_add_value(op, balance != NULL ? (int64_t)api_json_number(balance) : 0);
        cli_op_add_value(op, sum != NULL ? (int64_t)api_json_number(sum) : 0);
    }
}

/* The results of one branch go to the operations at that member, in order. */
static void note_branch(struct cli_txn *txn, unsigned member, const struct api_json *results)
{
    const struct api_json *result = api_json_first(results);
    for (size_t i = 0; i < txn->op_count && result != NULL; i++) {
        struct cli_op *op = &txn->ops[i];
        if (op->member != member) {
            continue;
        }
        if (op->kind == CLI_OP_READ || op->kind == CLI_OP_BALANCES) {
            note_result(op, result);
        } else if (op->kind == CLI_OP_MOVE) {
            result = api_json_next(result); /* two statements */
        }
        result = result != NULL ? api_json_next(result) : NULL;
    }
}

static void note_results(const struct cli_workload_options *options, struct cli_txn *txn,
                         const struct api_json *json)
{
    const struct api_json *branches = api_json_get(json, "branches");
    for (const struct api_json *b = branches != NULL ? api_json_first(branches) : NULL; b != NULL;
         b = api_json_next(b)) {
        const struct api_json *results = api_json_get(b, "results");
        for (unsigned i = 0; results != NULL && i < options->member_count; i++) {
            if (strcmp(options->members[i].name, text_of(b, "participant")) == 0) {
                note_branch(txn, i, results);
            }
        }
    }
}

static void note_abort(struct cli_txn *txn, const struct api_json *json)
{
    const struct api_json *cause = json != NULL ? api_json_get(json, "cause") : NULL;
    txn->told = CLI_TOLD_ABORTED;
    snprintf(txn->cause, sizeof(txn->cause), "%s", text_of(cause, "code"));
}

static void note_commit(const struct cli_workload_options *options, struct cli_txn *txn,
                        const struct api_json *json)
{
    txn->told = CLI_TOLD_COMMITTED;
    if (json != NULL) {
        note_results(options, txn, json);
    }
}

/* More than one, so not committed in one phase. */
static bool has_branches(const struct cli_txn *txn)
{
    for (size_t i = 1; i < txn->op_count; i++) {
        if (txn->ops[i].member != txn->ops[0].member) {
            return true;
        }
    }
    return false;
}

bool cli_txn_note(const struct cli_workload_options *options, struct cli_txn *txn, int status,
                  const struct api_json *json)
{
    const char *id = text_of(json, "id");
    txn->status = status;
    if (*id != '\0') {
        snprintf(txn->id, sizeof(txn->id), "%s", id);
    }
    switch (status) {
    case 200: /* asked for by its id */
        if (strcmp(text_of(json, "state"), "committed") == 0) {
            note_commit(options, txn, json);
        } else if (strcmp(text_of(json, "state"), "aborted") == 0) {
            note_abort(txn, json);
        }
        break;
    case 201:
        note_commit(options, txn, json);
        break;
    case 404: /* the id was told and is not known: forgotten by a crash, which is abort, unless the
                 coordinator kept no record of it at all */
        if (txn->keyed || has_branches(txn)) {
            note_abort(txn, json);
        }
        break;
    case 409:
        note_abort(txn, json);
        break;
    case 503:
        /* Of this request; an earlier one of the same transaction may have begun it. */
        txn->told = txn->tries <= 1 ? CLI_TOLD_NOT_STARTED : CLI_TOLD_UNKNOWN;
        break;
    default:
        break;
    }
    return txn->told != CLI_TOLD_UNKNOWN;
}
