/* Small histories written down by hand, in words:
 *
 *   "t1 committed: append east 1 11, read west 2 = 5 6; t2 aborted keyed: move east 3 -7"
 *
 * Transactions are told of in order, so that each completes before the next is invoked, unless
 * "beside" stands before its outcome: then it was invoked at the beginning. Members are east, west
 * and north. A read without '=' has no result; "balances east = 100 0 90 -10". */
#ifndef ASSENT_TESTS_UNIT_CLI_CRASHTEST_HISTORIES_H
#define ASSENT_TESTS_UNIT_CLI_CRASHTEST_HISTORIES_H

#include "cli/crashtest/check.h"

/* Every account began with 100. */
void make_history(struct cli_history *history, const char *words);
/* The lists in the end: "east 1: 11 12; west 2:". All others are empty. */
void make_lists(struct cli_history *history, const char *words);
/* Two accounts for each of east and west, and the ledgers: "93 100 107 100; t1 east 1 -7; t1 west 1
 * 7"
 */
void make_bank(struct cli_history *history, const char *words);

/* Check @history with all checkers: exactly the anomalies called in @names (words, "" for none) are
 * found, forbidden or not; prints what was found where that is not so. Frees the history. */
void expect_findings(struct cli_history *history, const char *names);

#endif
