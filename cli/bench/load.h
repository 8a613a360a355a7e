/* What clients ask for, and what the accounts must hold afterwards (pure).
 *
 * Every participant has a table of accounts of its own, numbered from 1. A transfer takes one unit
 * from an account and gives it to one of another participant, so that the sum over all stays. */
#ifndef ASSENT_CLI_BENCH_LOAD_H
#define ASSENT_CLI_BENCH_LOAD_H

#include "base/buf.h"

#include <stdint.h>

enum {
    CLI_BENCH_MEMBERS_MAX = 32,
    CLI_BENCH_NAME = 65,
    CLI_BENCH_BALANCE = 1000000,
    CLI_BENCH_HOT = 10, /* accounts that `hot` is about */
};

/* name, participants of its own, what it is */
#define CLI_LOAD_LIST(X)                                                                           \
    X(TRANSFER, "transfer", 2, "a row updated at each of two participants")                        \
    X(HOT, "hot", 2, "the same, all on ten accounts: conflicts, waits, retries")                   \
    X(WIDE, "wide", 8, "a row updated at every participant")                                       \
    X(NOOP, "noop", 2, "two participants that vote yes and keep nothing")                          \
    X(READ, "read", 2, "a SELECT at each of two participants")

enum cli_load {
#define CLI_LOAD_ENUM(id, name, members, what) CLI_LOAD_##id,
    CLI_LOAD_LIST(CLI_LOAD_ENUM)
#undef CLI_LOAD_ENUM
        CLI_LOAD_COUNT
};
const char *cli_load_name(enum cli_load load);
const char *cli_load_what(enum cli_load load);
unsigned cli_load_members(enum cli_load load);
/* CLI_LOAD_COUNT: there is none of this name. */
enum cli_load cli_load_parse(const char *name);

enum cli_bench_sql { CLI_BENCH_SQLITE, CLI_BENCH_POSTGRESQL, CLI_BENCH_MARIADB, CLI_BENCH_SQLS };
const char *cli_bench_sql_name(enum cli_bench_sql sql);
/* CLI_BENCH_SQLS: there is none of this name. */
enum cli_bench_sql cli_bench_sql_parse(const char *name);

struct cli_load_member {
    char name[CLI_BENCH_NAME];
    enum cli_bench_sql sql;
};

struct cli_load_options {
    enum cli_load load;
    unsigned member_count;
    struct cli_load_member members[CLI_BENCH_MEMBERS_MAX];
    unsigned accounts; /* of each participant */
    unsigned timeout_ms;
    bool decided; /* answer when it is decided, not applied */
};

/* Whose accounts give and get; of `wide`, where in the circle of all the half begins that gives. */
struct cli_load_move {
    unsigned from, to;
};

/* The next transaction. @random is the caller's, any value at first. */
struct cli_load_move cli_load_next(const struct cli_load_options *options, uint64_t *random,
                                   struct tpc_buf *out);
/* What its commit adds to the sums of the participants. */
void cli_load_apply(const struct cli_load_options *options, const struct cli_load_move *move,
                    int64_t sums[CLI_BENCH_MEMBERS_MAX]);

/* The table of a participant and what it holds in the beginning, as SQL; and how to read it:
 * a row of the number of accounts, the greatest id and the sum. */
void cli_load_table(const struct cli_load_member *member, unsigned accounts, struct tpc_buf *out);
void cli_load_query(const struct cli_load_member *member, struct tpc_buf *out);
void cli_load_drop(const struct cli_load_member *member, struct tpc_buf *out);

#endif
