/* A transaction as the coordinator describes it: shown, and read for its outcome. */
#ifndef ASSENT_CLI_TXN_VIEW_H
#define ASSENT_CLI_TXN_VIEW_H

#include "api/json.h"
#include "cli/cli.h"

/* Show one in the format of @call on stdout. @txn is a transaction, or a problem document that
 * tells of one. */
void cli_print_txn(const struct cli_call *call, const struct api_json *txn);

/* What the process ends with for one: committed, aborted, or in doubt for anything that has not
 * ended and for a hazard. */
enum cli_exit cli_txn_exit(const struct api_json *txn);

/* Is there a member `hazard` with something in it? */
bool cli_txn_has_hazard(const struct api_json *txn);

#endif
