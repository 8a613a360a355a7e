/* What the checkers found, for people and programs. */
#ifndef ASSENT_CLI_CRASHTEST_CHECK_SHOW_H
#define ASSENT_CLI_CRASHTEST_CHECK_SHOW_H

#include "cli/cli.h"
#include "cli/crashtest/check.h"

/* To stdout: how many transactions were told what, what was found and how often, and what must not
 * be in words. */
void cli_findings_show(const struct cli_history *history, const struct cli_findings *findings,
                       enum cli_format format);

/* `assent crashtest --check FILE`: read a history and check it. CLI_ERROR: it is not as promised,
 * or cannot be read (said on stderr). */
enum cli_exit cli_crashtest_check(const char *path, enum cli_format format);

#endif
