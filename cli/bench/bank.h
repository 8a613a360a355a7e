/* What the accounts hold, asked of the databases through the coordinator. */
#ifndef ASSENT_CLI_BENCH_BANK_H
#define ASSENT_CLI_BENCH_BANK_H

#include "cli/bench/load.h"

struct cli_bank {
    int64_t sums[CLI_BENCH_MEMBERS_MAX];
    int64_t total;
    unsigned accounts; /* the least that a participant has */
};

/* TPC_EINVAL when a table is not there or not as it should be, with words that say how to make it;
 * TPC_EUNREACHABLE, TPC_EBUSY: try again. */
TPC_NODISCARD enum tpc_rc cli_bank_read(const char *url, const struct cli_load_options *options,
                                        struct cli_bank *ret_bank, struct tpc_err *reterr);

#endif
