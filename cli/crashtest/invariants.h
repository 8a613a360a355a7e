/* What holds after every run. */
#ifndef ASSENT_CLI_CRASHTEST_INVARIANTS_H
#define ASSENT_CLI_CRASHTEST_INVARIANTS_H

#include "cli/crashtest/check.h"
#include "cli/crashtest/play.h"

/* Nothing stays in doubt; what was told is what is held, whole and once (check.h); what is shown is
 * what is held; no lock is left; `assent check` agrees; another restart changes nothing; everybody
 * ends in good order. The play must have been closed; nothing runs afterwards. What is found is
 * objected to, and what is allowed and counted is added to @counts. */
void cli_check_play(struct cli_play *play, uint64_t counts[CLI_ANOMALY_COUNT]);

#endif
