/* Clients that ask the coordinator for transactions, through its HTTP API as anybody would, and
 * note what they ask for and are told.
 *
 * The bank moves money between accounts, within a participant and between them; the lists get
 * unique values appended and are read. The tables are those of cli_workload_tables; that they hold
 * the beginning is cli_workload_reset's work, through the API too, so any participant that takes
 * SQL will do. */
#ifndef ASSENT_CLI_CRASHTEST_WORKLOAD_H
#define ASSENT_CLI_CRASHTEST_WORKLOAD_H

#include "cli/crashtest/history.h"

enum cli_workload_kind { CLI_WORKLOAD_BOTH, CLI_WORKLOAD_BANK, CLI_WORKLOAD_LISTS };

enum cli_dialect { CLI_SQLITE, CLI_POSTGRESQL, CLI_MARIADB };
/* "sqlite" "postgresql" "mariadb"; false leaves @ret_dialect untouched. */
TPC_NODISCARD bool cli_dialect_parse(const char *name, enum cli_dialect *ret_dialect);

struct cli_member {
    const char *name; /* as it is registered */
    enum cli_dialect dialect;
};

/* 0: the default. */
struct cli_workload_options {
    const char *url; /* of the coordinator; the same over its restarts; copied */
    const struct cli_member *members;
    unsigned member_count;
    enum cli_workload_kind kind;
    uint64_t seed;
    unsigned clients;   /* threads, default 8 */
    uint64_t count;     /* transactions in all; 0: until cli_workload_end */
    const char *prefix; /* of their names; another one for each workload of a history */
    unsigned accounts;  /* of each member, default 10 */
    int64_t balance;    /* of each at the beginning, default 100 */
    unsigned lists;     /* of each member, default 64 */
    int keyed_percent;  /* with an Idempotency-Key, default 30; negative: none, here and below */
    int within_percent; /* at one participant (one-phase when not keyed), default 20 */
    int impossible_percent;   /* of the transfers; must be refused; default 5 */
    int read_percent;         /* transactions that only read, default 20 */
    unsigned long timeout_ms; /* of each transaction, default 10 s */
};

/* CREATE TABLE statements, each ended by ";\n": for a shell of the database. */
void cli_workload_tables(enum cli_dialect dialect, struct tpc_buf *out);

/* Empty the tables and fill in the beginning, at every member; repeats what does not come through.
 * The coordinator must be there. */
TPC_NODISCARD enum tpc_rc cli_workload_reset(const struct cli_workload_options *options,
                                             unsigned long patience_ms, struct tpc_err *reterr);

struct cli_workload;

/* Begin. @history (whose beginning is filled in here) belongs to the workload until
 * cli_workload_end; several may follow each other in one history. @options' other texts are
 * borrowed as long. */
struct cli_workload *cli_workload_begin(const struct cli_workload_options *options,
                                        struct cli_history *history);
/* Until @count transactions have ended; false after @timeout_ms. Also tells how far it is. */
bool cli_workload_wait(struct cli_workload *workload, uint64_t count, unsigned long timeout_ms);
uint64_t cli_workload_ended(struct cli_workload *workload); /* transactions up to now; any thread */
/* Begin no more, let those under way end (keyed ones within @patience_ms, so what died should be
 * back), and free. */
void cli_workload_end(struct cli_workload *workload, unsigned long patience_ms);

/* Read what the databases hold into history->final (what was there is gone). All must have ended.
 */
TPC_NODISCARD enum tpc_rc cli_workload_read_final(const struct cli_workload_options *options,
                                                  unsigned long patience_ms,
                                                  struct cli_history *history,
                                                  struct tpc_err *reterr);

#endif
