/* Between the files of the workload; nobody else includes this. */
#ifndef ASSENT_CLI_CRASHTEST_WORKLOAD_INTERNAL_H
#define ASSENT_CLI_CRASHTEST_WORKLOAD_INTERNAL_H

#include "cli/crashtest/workload.h"

#include "api/json.h"

#define CLI_ACCOUNTS_TABLE "crashtest_accounts"
#define CLI_LEDGER_TABLE   "crashtest_ledger"
#define CLI_LISTS_TABLE    "crashtest_lists"

/* What was not given is the default. */
void cli_workload_default(struct cli_workload_options *options);

/* ---- What to ask for (workload_choose.c) ---- */

struct cli_chooser {
    const struct cli_workload_options *options; /* with defaults */
    uint64_t random;                            /* state */
    uint64_t (*next)(void *arg);                /* the next number of the history's sequence */
    void *arg;
};
/* Fill in @txn's operations, keyed and impossible. @number is how many were begun before. */
void cli_choose_txn(struct cli_chooser *chooser, uint64_t number, struct cli_txn *txn);

/* ---- How it is said (workload_sql.c) ---- */

/* The body of POST /v1/transactions. */
void cli_txn_body(const struct cli_workload_options *options, const struct cli_txn *txn,
                  struct tpc_buf *out);
/* Note an answer: @status and the body, which may be NULL. True when the outcome is known now. */
bool cli_txn_note(const struct cli_workload_options *options, struct cli_txn *txn, int status,
                  const struct api_json *json);
/* ",1,2" → 1, 2; what is no number becomes 0, which nobody appends. */
void cli_list_parse(const char *text, struct cli_op *op);

/* One statement with its parameters as JSON text ("1,\"a\""); @sql has '?' for placeholders.
 * @expect < 0: any number of rows. A comma is put before all but the first of an array. */
void cli_statement_write(struct tpc_buf *out, enum cli_dialect dialect, const char *sql,
                         const char *params, int expect);

#endif
