/* What goes to stdout: tables for people, JSON for programs. */
#ifndef ASSENT_CLI_OUT_H
#define ASSENT_CLI_OUT_H

#include "api/json.h"
#include "cli/cli.h"

#include <stdio.h>

#define CLI_COLUMNS_MAX 10

/* Columns are as wide as their widest cell. Control characters are shown as '?', so that what a
 * server says cannot drive the terminal. Words for states come in colour when stdout is a
 * terminal and NO_COLOR is not set. Zero-initialise. */
struct cli_table {
    size_t columns;
    size_t cells;
    size_t widths[CLI_COLUMNS_MAX];
    struct tpc_buf text; /* the cells, each ended by a NUL */
};

void cli_table_begin(struct cli_table *table, size_t columns, const char *const *names);
/* The next cell, row by row; NULL and "" show as a dash. */
void cli_table_add(struct cli_table *table, const char *text);
void cli_table_addf(struct cli_table *table, const char *format, ...) TPC_PRINTF(2, 3);
void cli_table_print(const struct cli_table *table);
void cli_table_done(struct cli_table *table);

/* Print @text as it may be shown, in the colour of the state it names, without a line end. */
void cli_print_state(const char *text);

/* Text of JSON for a cell: strings as they are, null and absent as "", all else compact. Valid
 * until @scratch changes. */
const char *cli_json_cell(struct tpc_buf *scratch, const struct api_json *value);
/* The string member of an object, "" when there is none. */
const char *cli_json_text(const struct api_json *object, const char *name);

/* One document: indented for CLI_JSON, a line for CLI_NDJSON. */
void cli_print_json(enum cli_format format, const struct api_json *value);

/* Many things of one kind: rows of a table, {"items": […]}, or a line each. Zero-initialise. */
struct cli_listing {
    enum cli_format format;
    struct cli_table table; /* with CLI_TABLE: fill a row for each thing */
    struct tpc_buf json;
};
void cli_list_begin(struct cli_listing *list, enum cli_format format, size_t columns,
                    const char *const *names);
/* With the JSON formats: one thing, as JSON. */
void cli_list_add(struct cli_listing *list, const struct tpc_buf *json);
void cli_list_print(const struct cli_listing *list);
void cli_list_done(struct cli_listing *list);

/* "3.2 ms", "12 s", "5 min", "3 h", "2 d" */
const char *cli_duration_text(double ms, char out[32]);

#endif
