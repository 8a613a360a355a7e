#include "cli/txn_view.h"

#include "cli/out.h"

#include <string.h>

bool cli_txn_has_hazard(const struct api_json *txn)
{
    const struct api_json *hazard = api_json_get(txn, "hazard");
    return hazard != NULL && api_json_count(hazard) > 0;
}

enum cli_exit cli_txn_exit(const struct api_json *txn)
{
    const char *state = cli_json_text(txn, "state");
    if (cli_txn_has_hazard(txn)) {
        return CLI_IN_DOUBT;
    }
    if (strcmp(state, "committed") == 0) {
        return CLI_OK;
    }
    /* A transaction that is aborting cannot commit any more. */
    if (strcmp(state, "aborted") == 0 || strcmp(state, "aborting") == 0) {
        return CLI_ABORTED;
    }
    return CLI_IN_DOUBT;
}

static void print_head(const struct api_json *txn)
{
    char took[32];
    const struct api_json *took_ms = api_json_get(txn, "took_ms");
    const struct api_json *attempts = api_json_get(txn, "attempts");
    const char *label = cli_json_text(txn, "label");
    cli_print_state(cli_json_text(txn, "state"));
    fputs("  ", stdout);
    cli_print_state(cli_json_text(txn, "id"));
    if (label[0] != '\0') {
        fputs("  ", stdout);
        cli_print_state(label);
    }
    if (took_ms != NULL && api_json_type(took_ms) == API_JSON_NUMBER) {
        printf("  %s", cli_duration_text(api_json_number(took_ms), took));
    }
    if (attempts != NULL && api_json_number(attempts) > 1) {
        printf("  %.0f attempts", api_json_number(attempts));
    }
    putchar('\n');
}

/* What a statement did, in a few words. */
static void add_result(struct tpc_buf *out, const struct api_json *result)
{
    const struct api_json *affected = api_json_get(result, "rows_affected");
    const struct api_json *rows = api_json_get(result, "rows");
    double count = affected != NULL ? api_json_number(affected)
                   : rows != NULL   ? (double)api_json_count(rows)
                                    : 0;
    tpc_buf_addf(out, "%s%.0f row%s%s", out->size > 0 ? ", " : "", count, count == 1 ? "" : "s",
                 affected != NULL ? "" : " read");
}

static void print_branches(const struct api_json *branches)
{
    static const char *const names[] = {"PARTICIPANT", "VOTE", "STATE", "RESULTS"};
    struct cli_table table;
    cli_table_begin(&table, 4, names);
    for (const struct api_json *b = api_json_first(branches); b != NULL; b = api_json_next(b)) {
        struct tpc_buf results = {0};
        const struct api_json *list = api_json_get(b, "results");
        const struct api_json *first = list != NULL ? api_json_first(list) : NULL;
        for (const struct api_json *r = first; r != NULL; r = api_json_next(r)) {
            add_result(&results, r);
        }
        cli_table_add(&table, cli_json_text(b, "participant"));
        cli_table_add(&table, cli_json_text(b, "vote"));
        cli_table_add(&table, cli_json_text(b, "state"));
        cli_table_add(&table, results.data);
        tpc_buf_done(&results);
    }
    cli_table_print(&table);
    cli_table_done(&table);
}

/* The rows that a statement returned. */
static void print_rows(const char *participant, size_t index, const struct api_json *result)
{
    const struct api_json *columns = api_json_get(result, "columns");
    const struct api_json *rows = api_json_get(result, "rows");
    size_t count = columns != NULL ? api_json_count(columns) : 0;
    if (count == 0 || rows == NULL) {
        return;
    }
    printf("\n%s, statement %zu:\n", participant, index);
    if (count > CLI_COLUMNS_MAX) {
        count = CLI_COLUMNS_MAX;
    }
    const char *names[CLI_COLUMNS_MAX] = {NULL};
    const struct api_json *column = api_json_first(columns);
    for (size_t i = 0; i < count && column != NULL; i++, column = api_json_next(column)) {
        names[i] = api_json_string(column);
    }
    struct cli_table table;
    struct tpc_buf scratch = {0};
    cli_table_begin(&table, count, names);
    for (const struct api_json *row = api_json_first(rows); row != NULL; row = api_json_next(row)) {
        const struct api_json *cell = api_json_first(row);
        for (size_t i = 0; i < count; i++) {
            cli_table_add(&table, cli_json_cell(&scratch, cell));
            cell = cell != NULL ? api_json_next(cell) : NULL;
        }
    }
    cli_table_print(&table);
    cli_table_done(&table);
    tpc_buf_done(&scratch);
}

static void print_all_rows(const struct api_json *branches)
{
    for (const struct api_json *b = api_json_first(branches); b != NULL; b = api_json_next(b)) {
        const struct api_json *results = api_json_get(b, "results");
        size_t index = 0;
        const struct api_json *r = results != NULL ? api_json_first(results) : NULL;
        for (; r != NULL; r = api_json_next(r)) {
            print_rows(cli_json_text(b, "participant"), index++, r);
        }
    }
}

static void print_cause(const struct api_json *txn)
{
    const struct api_json *cause = api_json_get(txn, "cause");
    if (cause == NULL || api_json_type(cause) != API_JSON_OBJECT) {
        return;
    }
    const char *participant = cli_json_text(cause, "participant");
    const struct api_json *statement = api_json_get(cause, "statement");
    const struct api_json *retryable = api_json_get(txn, "retryable");
    printf("cause: ");
    cli_print_state(cli_json_text(cause, "code"));
    if (participant[0] != '\0') {
        printf(" at ");
        cli_print_state(participant);
    }
    if (statement != NULL && api_json_type(statement) == API_JSON_NUMBER) {
        printf(", statement %.0f", api_json_number(statement));
    }
    if (cli_json_text(cause, "detail")[0] != '\0') {
        printf(": ");
        cli_print_state(cli_json_text(cause, "detail"));
    }
    if (retryable != NULL && api_json_bool(retryable)) {
        printf(" (worth trying again)");
    }
    putchar('\n');
}

static void print_hazard(const struct api_json *txn)
{
    const struct api_json *hazard = api_json_get(txn, "hazard");
    const struct api_json *h = hazard != NULL ? api_json_first(hazard) : NULL;
    for (; h != NULL; h = api_json_next(h)) {
        cli_print_state("hazard");
        printf(": ");
        cli_print_state(cli_json_text(h, "participant"));
        printf(" should be ");
        cli_print_state(cli_json_text(h, "expected"));
        printf(" and is ");
        cli_print_state(cli_json_text(h, "actual"));
        printf(": ");
        cli_print_state(cli_json_text(h, "reason"));
        putchar('\n');
    }
}

void cli_print_txn(const struct cli_call *call, const struct api_json *txn)
{
    if (call->format != CLI_TABLE) {
        cli_print_json(call->format, txn);
        return;
    }
    print_head(txn);
    print_cause(txn);
    print_hazard(txn);
    const struct api_json *branches = api_json_get(txn, "branches");
    if (branches != NULL && api_json_count(branches) > 0) {
        print_branches(branches);
        print_all_rows(branches);
    }
}
