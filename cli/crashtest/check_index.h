/* What the checkers of lists look things up in: who appended which value, and in which order the
 * values of each list came (its version order). */
#ifndef ASSENT_CLI_CRASHTEST_CHECK_INDEX_H
#define ASSENT_CLI_CRASHTEST_CHECK_INDEX_H

#include "cli/crashtest/check.h"

#define CLI_NOWHERE SIZE_MAX

struct cli_append {
    int64_t value;
    size_t txn, op;  /* indices in the history */
    size_t list;     /* index of the list it was asked for */
    size_t position; /* in that list's order; CLI_NOWHERE: it is not there */
};

/* The order of one list: what it held in the end, or without a final state the longest that was
 * read. */
struct cli_order {
    unsigned member;
    int64_t key;
    size_t count;
    const int64_t *values;             /* borrowed from the history */
    const struct cli_append **appends; /* of each value; NULL: nobody asked for it here */
};

struct cli_index {
    const struct cli_history *history;
    struct cli_append *appends; /* by value */
    size_t append_count;
    struct cli_order *orders; /* by member, then key; of all lists that are named anywhere */
    size_t order_count;
};

/* @history is borrowed. */
void cli_index_init(struct cli_index *index, const struct cli_history *history);
void cli_index_done(struct cli_index *index);

/* NULL when nobody asked for it. */
const struct cli_append *cli_index_append(const struct cli_index *index, int64_t value);
const struct cli_order *cli_index_order(const struct cli_index *index, unsigned member,
                                        int64_t key);
/* Is what @op read how the list was at some time: the first values of @order? */
bool cli_order_has_prefix(const struct cli_order *order, const struct cli_op *op);

static inline const struct cli_txn *cli_append_txn(const struct cli_index *index,
                                                   const struct cli_append *append)
{
    return &index->history->txns[append->txn];
}

#endif
