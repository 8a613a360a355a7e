/* The checkers: what a history shows that must not be, and what may be and is counted.
 *
 * Pure functions over a history and the final state in it; none trusts a word of the daemons. The
 * names of the phenomena are those of A. Adya, "Weak Consistency: A Generalized Theory and
 * Optimistic Implementations for Distributed Transactions" (MIT, 1999); how they are inferred from
 * lists to which unique values are appended is that of K. Kingsbury and P. Alvaro, "Elle: Inferring
 * Isolation Anomalies from Experimental Observations" (PVLDB 14(3), 2020). */
#ifndef ASSENT_CLI_CRASHTEST_CHECK_H
#define ASSENT_CLI_CRASHTEST_CHECK_H

#include "cli/crashtest/history.h"

/* name, what it is, is it promised never to be */
#define CLI_ANOMALY_LIST(X)                                                                        \
    X(CLI_LOST, "lost", "told committed, and not held", true)                                      \
    X(CLI_HELD, "held", "told aborted or not started, and held", true)                             \
    X(CLI_TWICE, "twice", "held more than once", true)                                             \
    X(CLI_NOT_ATOMIC, "not-atomic", "one part is held and another is not", true)                   \
    X(CLI_UNASKED, "unasked", "held or read, and nobody asked for it", true)                       \
    X(CLI_ABORTED_READ, "aborted-read", "what was aborted was read (G1a)", true)                   \
    X(CLI_DIRTY_READ, "dirty-read", "what was read is not held in the end (G1a)", true)            \
    X(CLI_INTERMEDIATE_READ, "intermediate-read", "half of a branch was read (G1b)", true)         \
    X(CLI_DIRTY_WRITE, "dirty-write", "a circle of writes over each other (G0)", true)             \
    X(CLI_CIRCULAR, "circular", "a circle of information flow (G1c)", true)                        \
    X(CLI_PREFIX, "prefix", "two reads of a list that contradict each other", true)                \
    X(CLI_INTERNAL, "internal", "a transaction does not see what it did itself", true)             \
    X(CLI_STALE_READ, "stale-read", "told committed before the read began, and not read", true)    \
    X(CLI_MONEY, "money", "the sum has changed", true)                                             \
    X(CLI_LEDGER, "ledger", "a balance is not what its ledger rows say", true)                     \
    X(CLI_OVERDRAWN, "overdrawn", "more was taken than there was", true)                           \
    X(CLI_ANSWER, "answer", "an answer that must not be", true)                                    \
    X(CLI_FRACTURED, "fractured-read", "one side of a transaction was read", false)                \
    X(CLI_LOST_UPDATE, "lost-update", "appended after a read that was not the newest (P4)", false) \
    X(CLI_SINGLE, "single", "a circle with one read that was overtaken (G-single)", false)         \
    X(CLI_SKEW, "skew", "a circle with more reads that were overtaken (G2-item)", false)

enum cli_anomaly {
#define CLI_ANOMALY_ENUM(id, name, text, forbidden) id,
    CLI_ANOMALY_LIST(CLI_ANOMALY_ENUM)
#undef CLI_ANOMALY_ENUM
        CLI_ANOMALY_COUNT
};
const char *cli_anomaly_name(enum cli_anomaly anomaly); /* "lost" */
const char *cli_anomaly_text(enum cli_anomaly anomaly);
bool cli_anomaly_forbidden(enum cli_anomaly anomaly); /* else: counted and shown */

enum { CLI_FINDINGS_KEPT = 20 }; /* of each anomaly, in words; all are counted */

struct cli_finding {
    enum cli_anomaly anomaly;
    char *text; /* heap; names the transactions, and for a circle the evidence of each step */
};

/* Zero-initialise. */
struct cli_findings {
    uint64_t counts[CLI_ANOMALY_COUNT];
    struct cli_finding *items; /* heap */
    size_t item_count;
};

void cli_find(struct cli_findings *findings, enum cli_anomaly anomaly, const char *format, ...)
    TPC_PRINTF(3, 4);
/* How many of them must not be. 0: the history is as promised. */
uint64_t cli_findings_forbidden(const struct cli_findings *findings);
void cli_findings_done(struct cli_findings *findings);

/* All of them. */
void cli_check_history(const struct cli_history *history, struct cli_findings *findings);

/* Outcomes and answers that the interface does not know (check_bank.c). */
void cli_check_answers(const struct cli_history *history, struct cli_findings *findings);
/* Transfers: told = held, once, whole, by nobody unasked; balances, ledgers, the sum; bank reads.
 */
void cli_check_bank(const struct cli_history *history, struct cli_findings *findings);

/* Lists one by one and transactions one by one (check_lists.c). */
void cli_check_lists(const struct cli_history *history, struct cli_findings *findings);
/* Circles of transactions over all lists (check_cycles.c). */
void cli_check_cycles(const struct cli_history *history, struct cli_findings *findings);

#endif
