/* Short plays that together pass every failpoint of every process. */
#ifndef ASSENT_TESTS_CRASH_SCENARIOS_H
#define ASSENT_TESTS_CRASH_SCENARIOS_H

#include "tests/crash/stage.h"

extern const struct scenario scenarios[]; /* ended by name == NULL */

#endif
