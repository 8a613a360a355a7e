/* Histories as JSON lines. */
#include "cli/crashtest/history.h"

#include "api/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const op_names[CLI_OP_COUNT] = {
    [CLI_OP_APPEND] = "append",
    [CLI_OP_READ] = "read",
    [CLI_OP_MOVE] = "move",
    [CLI_OP_BALANCES] = "balances",
};

/* ---- Writing ---- */

static void write_values(struct tpc_buf *out, const int64_t *values, size_t count)
{
    api_jw_key(out, "values");
    api_jw_open(out, '[');
    for (size_t i = 0; i < count; i++) {
        api_jw_i64(out, values[i]);
    }
    api_jw_close(out, ']');
}

static void write_text(struct tpc_buf *out, const char *name, const char *text)
{
    if (text[0] != '\0') {
        api_jw_key(out, name);
        api_jw_str(out, text);
    }
}

static void write_number(struct tpc_buf *out, const char *name, int64_t value)
{
    api_jw_key(out, name);
    api_jw_i64(out, value);
}

static void write_flag(struct tpc_buf *out, const char *name, bool value)
{
    if (value) {
        api_jw_key(out, name);
        api_jw_bool(out, true);
    }
}

static void write_op(struct tpc_buf *out, const struct cli_history *history,
                     const struct cli_op *op)
{
    api_jw_open(out, '{');
    write_text(out, "op", op_names[op->kind]);
    write_text(out, "at", history->members[op->member]);
    if (op->kind != CLI_OP_BALANCES) {
        write_number(out, "key", op->key);
    }
    if (op->kind == CLI_OP_APPEND || op->kind == CLI_OP_MOVE) {
        write_number(out, "value", op->value);
    } else if (op->seen) {
        write_values(out, op->values, op->count);
    }
    api_jw_close(out, '}');
}

static void write_txn(struct tpc_buf *out, const struct cli_history *history,
                      const struct cli_txn *txn)
{
    api_jw_open(out, '{');
    write_text(out, "txn", txn->name);
    write_number(out, "client", txn->client);
    write_number(out, "invoked", (int64_t)txn->invoked);
    write_number(out, "completed", (int64_t)txn->completed);
    write_text(out, "told", cli_told_name(txn->told));
    write_number(out, "status", txn->status);
    write_text(out, "cause", txn->cause);
    write_text(out, "id", txn->id);
    write_number(out, "tries", txn->tries);
    write_flag(out, "keyed", txn->keyed);
    write_flag(out, "impossible", txn->impossible);
    api_jw_key(out, "ops");
    api_jw_open(out, '[');
    for (size_t i = 0; i < txn->op_count; i++) {
        write_op(out, history, &txn->ops[i]);
    }
    api_jw_close(out, ']');
    api_jw_close(out, '}');
}

static void write_head(struct tpc_buf *out, const struct cli_history *history)
{
    api_jw_open(out, '{');
    write_number(out, "history", 1);
    write_number(out, "seed", (int64_t)history->seed);
    write_number(out, "balance", history->balance);
    api_jw_key(out, "members");
    api_jw_open(out, '[');
    for (unsigned i = 0; i < history->member_count; i++) {
        api_jw_str(out, history->members[i]);
    }
    api_jw_close(out, ']');
    api_jw_close(out, '}');
}

static void begin_final(struct tpc_buf *out, const char *what, const char *member)
{
    api_jw_open(out, '{');
    write_text(out, "final", what);
    write_text(out, "at", member);
}

static bool put_line(FILE *out, struct tpc_buf *line)
{
    tpc_buf_addc(line, '\n');
    bool put = !line->failed && fwrite(line->data, 1, line->size, out) == line->size;
    tpc_buf_clear(line);
    return put;
}

static bool put_bank(FILE *out, struct tpc_buf *line, const struct cli_history *history)
{
    const struct cli_final *final = &history->final;
    bool good = true;
    for (unsigned i = 0; good && i < history->member_count; i++) {
        begin_final(line, "balances", history->members[i]);
        write_values(line, final->balances[i], final->account_counts[i]);
        api_jw_close(line, '}');
        good = put_line(out, line);
    }
    for (size_t i = 0; good && i < final->row_count; i++) {
        const struct cli_row *row = &final->rows[i];
        begin_final(line, "row", history->members[row->member]);
        write_text(line, "txn", row->txn);
        write_number(line, "key", row->account);
        write_number(line, "value", row->amount);
        api_jw_close(line, '}');
        good = put_line(out, line);
    }
    return good;
}

static bool put_lists(FILE *out, struct tpc_buf *line, const struct cli_history *history)
{
    const struct cli_final *final = &history->final;
    bool good = true;
    /* Also tells a reader that lists were read, when all are empty. */
    begin_final(line, "lists", "");
    api_jw_close(line, '}');
    good = put_line(out, line);
    for (size_t i = 0; good && i < final->list_count; i++) {
        const struct cli_list *list = &final->lists[i];
        begin_final(line, "list", history->members[list->member]);
        write_number(line, "key", list->key);
        write_values(line, list->values, list->count);
        api_jw_close(line, '}');
        good = put_line(out, line);
    }
    return good;
}

enum tpc_rc cli_history_write(const struct cli_history *history, FILE *out, struct tpc_err *reterr)
{
    struct tpc_buf line = {0};
    write_head(&line, history);
    bool good = put_line(out, &line);
    for (size_t i = 0; good && i < history->count; i++) {
        write_txn(&line, history, &history->txns[i]);
        good = put_line(out, &line);
    }
    good = good && (!history->final.has_bank || put_bank(out, &line, history)) &&
           (!history->final.has_lists || put_lists(out, &line, history)) && fflush(out) == 0;
    tpc_buf_done(&line);
    return good ? TPC_OK
                : tpc_fail(reterr, TPC_EIO, "cannot write the history: %s", strerror(errno));
}

/* ---- Reading; a member that is missing or of another kind makes the line bad ---- */

struct reader {
    struct cli_history *history;
    const struct api_json *line;
    const char *wrong; /* the first member that is; NULL: none */
};

static void be_wrong(struct reader *reader, const char *name)
{
    if (reader->wrong == NULL) {
        reader->wrong = name;
    }
}

static int64_t number_of(struct reader *reader, const struct api_json *value, const char *name)
{
    double number = value != NULL ? api_json_number(value) : 0;
    if (value == NULL || api_json_type(value) != API_JSON_NUMBER ||
        api_json_is_unsafe_integer(value) || !(number >= -9e15 && number <= 9e15)) {
        be_wrong(reader, name);
        return 0;
    }
    return (int64_t)number;
}

static int64_t read_number(struct reader *reader, const struct api_json *object, const char *name)
{
    return number_of(reader, api_json_get(object, name), name);
}

static uint64_t read_natural(struct reader *reader, const struct api_json *object, const char *name)
{
    int64_t number = read_number(reader, object, name);
    if (number < 0) {
        be_wrong(reader, name);
    }
    return number < 0 ? 0 : (uint64_t)number;
}

static void read_text(struct reader *reader, const struct api_json *object, const char *name,
                      bool needed, char *out, size_t size)
{
    const struct api_json *value = api_json_get(object, name);
    const char *text = value != NULL ? api_json_string(value) : NULL;
    out[0] = '\0';
    if (text != NULL && strlen(text) < size) {
        memcpy(out, text, strlen(text) + 1);
    } else if (value != NULL || needed) {
        be_wrong(reader, name);
    }
}

static bool read_flag(const struct api_json *object, const char *name)
{
    const struct api_json *value = api_json_get(object, name);
    return value != NULL && api_json_type(value) == API_JSON_BOOL && api_json_bool(value);
}

static unsigned read_member(struct reader *reader, const struct api_json *object)
{
    char name[CLI_MEMBER_NAME];
    read_text(reader, object, "at", true, name, sizeof(name));
    for (unsigned i = 0; i < reader->history->member_count; i++) {
        if (strcmp(reader->history->members[i], name) == 0) {
            return i;
        }
    }
    be_wrong(reader, "at");
    return 0;
}

static const struct api_json *read_array(struct reader *reader, const struct api_json *object,
                                         const char *name)
{
    const struct api_json *array = api_json_get(object, name);
    if (array == NULL || api_json_type(array) != API_JSON_ARRAY) {
        be_wrong(reader, name);
        return NULL;
    }
    return api_json_first(array);
}

static void read_values(struct reader *reader, const struct api_json *object, struct cli_op *op)
{
    for (const struct api_json *value = read_array(reader, object, "values"); value != NULL;
         value = api_json_next(value)) {
        cli_op_add_value(op, number_of(reader, value, "values"));
    }
}

static void read_head(struct reader *reader)
{
    struct cli_history *history = reader->history;
    if (read_number(reader, reader->line, "history") != 1) {
        be_wrong(reader, "history");
    }
    history->seed = read_natural(reader, reader->line, "seed");
    history->balance = read_number(reader, reader->line, "balance");
    for (const struct api_json *value = read_array(reader, reader->line, "members"); value != NULL;
         value = api_json_next(value)) {
        const char *name = api_json_string(value);
        if (name == NULL || strlen(name) >= CLI_MEMBER_NAME ||
            history->member_count == CLI_MEMBERS_MAX) {
            be_wrong(reader, "members");
            return;
        }
        strcpy(history->members[history->member_count++], name);
    }
}

static void read_op(struct reader *reader, const struct api_json *object, struct cli_txn *txn)
{
    char name[16];
    unsigned kind = 0;
    read_text(reader, object, "op", true, name, sizeof(name));
    while (kind < CLI_OP_COUNT && strcmp(op_names[kind], name) != 0) {
        kind++;
    }
    if (kind == CLI_OP_COUNT) {
        be_wrong(reader, "op");
        return;
    }
    bool writes = kind == CLI_OP_APPEND || kind == CLI_OP_MOVE;
    struct cli_op *op =
        cli_txn_add_op(txn, (enum cli_op_kind)kind, read_member(reader, object),
                       kind != CLI_OP_BALANCES ? read_number(reader, object, "key") : 0,
                       writes ? read_number(reader, object, "value") : 0);
    op->seen = !writes && api_json_get(object, "values") != NULL;
    if (op->seen) {
        read_values(reader, object, op);
    }
}

static void read_txn(struct reader *reader)
{
    const struct api_json *line = reader->line;
    struct cli_txn txn = {0};
    char told[16];
    read_text(reader, line, "txn", true, txn.name, sizeof(txn.name));
    txn.client = (unsigned)read_natural(reader, line, "client");
    txn.invoked = read_natural(reader, line, "invoked");
    txn.completed = read_natural(reader, line, "completed");
    txn.status = (int)read_natural(reader, line, "status");
    txn.tries = (unsigned)read_natural(reader, line, "tries");
    txn.keyed = read_flag(line, "keyed");
    txn.impossible = read_flag(line, "impossible");
    read_text(reader, line, "cause", false, txn.cause, sizeof(txn.cause));
    read_text(reader, line, "id", false, txn.id, sizeof(txn.id));
    read_text(reader, line, "told", true, told, sizeof(told));
    unsigned code = 0;
    while (code < CLI_TOLD_COUNT && strcmp(cli_told_name((enum cli_told)code), told) != 0) {
        code++;
    }
    if (code == CLI_TOLD_COUNT) {
        be_wrong(reader, "told");
    } else {
        txn.told = (enum cli_told)code;
    }
    for (const struct api_json *op = read_array(reader, line, "ops"); op != NULL;
         op = api_json_next(op)) {
        read_op(reader, op, &txn);
    }
    cli_history_add(reader->history, &txn);
}

static void read_final(struct reader *reader, const char *what)
{
    struct cli_history *history = reader->history;
    struct cli_op values = {0};
    if (strcmp(what, "lists") == 0) {
        history->final.has_lists = true;
    } else if (strcmp(what, "balances") == 0) {
        unsigned member = read_member(reader, reader->line);
        read_values(reader, reader->line, &values);
        for (size_t i = 0; i < values.count; i++) {
            cli_history_add_balance(history, member, values.values[i]);
        }
        free(values.values);
        history->final.has_bank = true;
    } else if (strcmp(what, "row") == 0) {
        struct cli_row row = {.member = read_member(reader, reader->line),
                              .account = read_number(reader, reader->line, "key"),
                              .amount = read_number(reader, reader->line, "value")};
        read_text(reader, reader->line, "txn", true, row.txn, sizeof(row.txn));
        cli_history_add_row(history, &row);
    } else if (strcmp(what, "list") == 0) {
        read_values(reader, reader->line, &values);
        struct cli_list list = {.member = read_member(reader, reader->line),
                                .key = read_number(reader, reader->line, "key"),
                                .count = values.count,
                                .values = values.values};
        cli_history_add_list(history, &list);
    } else {
        be_wrong(reader, "final");
    }
}

static enum tpc_rc read_line(struct cli_history *history, const char *text, size_t size,
                             size_t number, struct tpc_err *reterr)
{
    struct tpc_err err = {0};
    struct api_json *root = NULL;
    if (api_json_parse(text, size, &root, &err) != TPC_OK) {
        return tpc_fail(reterr, err.rc, "line %zu: %s", number, err.text);
    }
    struct reader reader = {.history = history, .line = root};
    const struct api_json *final = api_json_get(root, "final");
    if (number == 1) {
        read_head(&reader);
    } else if (final != NULL && api_json_string(final) != NULL) {
        read_final(&reader, api_json_string(final));
    } else {
        read_txn(&reader);
    }
    enum tpc_rc rc = reader.wrong == NULL ? TPC_OK
                                          : tpc_fail(reterr, TPC_EINVAL, "line %zu: %s is wrong",
                                                     number, reader.wrong);
    api_json_free(root);
    return rc;
}

enum tpc_rc cli_history_read(FILE *in, struct cli_history *ret_history, struct tpc_err *reterr)
{
    char *text = NULL;
    size_t capacity = 0, number = 0;
    ssize_t size;
    enum tpc_rc rc = TPC_OK;
    *ret_history = (struct cli_history){0};
    while (rc == TPC_OK && (size = getline(&text, &capacity, in)) > 0) {
        rc = read_line(ret_history, text, (size_t)size, ++number, reterr);
    }
    if (rc == TPC_OK && ferror(in)) {
        rc = tpc_fail(reterr, TPC_EIO, "cannot read the history: %s", strerror(errno));
    } else if (rc == TPC_OK && number == 0) {
        rc = tpc_fail(reterr, TPC_ESYNTAX, "there is no history in it");
    }
    free(text);
    if (rc != TPC_OK) {
        cli_history_done(ret_history);
    }
    return rc;
}
