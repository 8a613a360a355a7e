/* Scratch directories, and where the programs of this build lie. */
#ifndef ASSENT_CLI_SCRATCH_H
#define ASSENT_CLI_SCRATCH_H

#include "base/rc.h"

#include <stddef.h>

/* A new directory "assent-WHAT-XXXXXX" in @parent; NULL: in TMPDIR, else in /tmp. */
TPC_NODISCARD enum tpc_rc cli_scratch_make(const char *what, const char *parent, char *out,
                                           size_t size, struct tpc_err *reterr);
/* With all that is in it. */
void cli_scratch_remove(const char *directory);

/* The directory of this program, where the daemons lie too. */
TPC_NODISCARD enum tpc_rc cli_programs_find(char *out, size_t size, struct tpc_err *reterr);

#endif
