/* What clients asked for, what they were told, in which order, and what the databases held in the
 * end: all that the checkers (check.h) judge by.
 *
 * As a file a history is JSON lines: first {"history":1, …} with the members and the sizes, then a
 * line for each transaction ({"txn": …}), then the final state ({"final": …}). */
#ifndef ASSENT_CLI_CRASHTEST_HISTORY_H
#define ASSENT_CLI_CRASHTEST_HISTORY_H

#include "base/buf.h"
#include "base/id.h"

#include <stdio.h>

enum { CLI_MEMBERS_MAX = 16, CLI_MEMBER_NAME = 65, CLI_TXN_NAME = 40 };

enum cli_told {
    CLI_TOLD_UNKNOWN,     /* no answer, or one that leaves it open: either is right */
    CLI_TOLD_COMMITTED,   /* 201 */
    CLI_TOLD_ABORTED,     /* 409 */
    CLI_TOLD_NOT_STARTED, /* 503, or nobody took the connection */
    CLI_TOLD_COUNT
};
const char *cli_told_name(enum cli_told told); /* "committed" */

enum cli_op_kind {
    CLI_OP_APPEND,   /* value to the list @key; no two appends of a history have the same value */
    CLI_OP_READ,     /* the list @key; its values in their order */
    CLI_OP_MOVE,     /* value (may be negative) to the balance of account @key, and a ledger row */
    CLI_OP_BALANCES, /* of all accounts of a member: for each its balance, then the sum of its
                        ledger rows */
    CLI_OP_COUNT
};

struct cli_op {
    enum cli_op_kind kind;
    unsigned member; /* index of the participant */
    int64_t key, value;
    bool seen;       /* the result of a read was told: values are what it read */
    size_t count;    /* of values */
    int64_t *values; /* heap */
};

struct cli_txn {
    char name[CLI_TXN_NAME]; /* unique in the history: ledger.txn */
    unsigned client;
    struct cli_op *ops; /* heap; in the order of their execution within each member */
    size_t op_count;
    bool keyed;      /* with an Idempotency-Key: asked again until the outcome is known */
    bool impossible; /* asks for what no account holds: must not commit */
    /* What came of it. Moments are numbers of one sequence for all clients: whatever completed
     * before another was invoked has the lower one. */
    uint64_t invoked, completed;
    enum cli_told told;
    int status;           /* of the last answer, 0: none */
    char cause[32];       /* of an abort: cause.code */
    char id[TPC_ID_TEXT]; /* "" when none was told */
    unsigned tries;       /* requests by the client */
};

/* A ledger row: member and account of one end of a transfer. */
struct cli_row {
    char txn[CLI_TXN_NAME];
    unsigned member;
    int64_t account, amount;
};

struct cli_list {
    unsigned member;
    int64_t key;
    size_t count;
    int64_t *values; /* heap */
};

/* What the databases held when all had ended. */
struct cli_final {
    bool has_bank, has_lists;           /* it was read to its end */
    int64_t *balances[CLI_MEMBERS_MAX]; /* heap; of account 1 at index 0 */
    size_t account_counts[CLI_MEMBERS_MAX];
    struct cli_row *rows; /* heap */
    size_t row_count;
    struct cli_list *lists; /* heap; a list that is empty may be missing */
    size_t list_count;
};

/* Zero-initialise, then set what is above the line. */
struct cli_history {
    char members[CLI_MEMBERS_MAX][CLI_MEMBER_NAME];
    unsigned member_count;
    uint64_t seed;
    int64_t balance; /* of every account at the beginning */
    /* ---- */
    struct cli_txn *txns; /* heap; in the order of their ends */
    size_t count;
    struct cli_final final;
};

/* Not thread-safe, like all here. The history owns the transaction's memory from here on. */
void cli_history_add(struct cli_history *history, const struct cli_txn *take_txn);
void cli_history_add_row(struct cli_history *history, const struct cli_row *row);
/* @take_list's values belong to the history from here on. */
void cli_history_add_list(struct cli_history *history, const struct cli_list *take_list);
void cli_history_add_balance(struct cli_history *history, unsigned member, int64_t balance);
void cli_history_done(struct cli_history *history);
void cli_final_done(struct cli_final *final);

struct cli_op *cli_txn_add_op(struct cli_txn *txn, enum cli_op_kind kind, unsigned member,
                              int64_t key, int64_t value); /* valid until the next */
void cli_op_add_value(struct cli_op *op, int64_t value);
void cli_txn_done(struct cli_txn *txn);

size_t cli_history_told(const struct cli_history *history, enum cli_told told);

/* TPC_EIO when it cannot be written. */
TPC_NODISCARD enum tpc_rc cli_history_write(const struct cli_history *history, FILE *out,
                                            struct tpc_err *reterr);
/* TPC_ESYNTAX and TPC_EINVAL name the line; then @ret_history is empty. */
TPC_NODISCARD enum tpc_rc cli_history_read(FILE *in, struct cli_history *ret_history,
                                           struct tpc_err *reterr);

#endif
