#include "cli/crashtest/history.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static const char *const told_names[] = {
    [CLI_TOLD_UNKNOWN] = "unknown",
    [CLI_TOLD_COMMITTED] = "committed",
    [CLI_TOLD_ABORTED] = "aborted",
    [CLI_TOLD_NOT_STARTED] = "not started",
};

const char *cli_told_name(enum cli_told told)
{
    return told_names[told];
}

/* Room for one more of @size after @count; capacities are powers of two, so none is kept. */
static void *grow(void *items, size_t count, size_t size)
{
    if (count > 0 && (count & (count - 1)) != 0) {
        return items;
    }
    return tpc_must_realloc(items, (count == 0 ? 1 : 2 * count) * size);
}

struct cli_op *cli_txn_add_op(struct cli_txn *txn, enum cli_op_kind kind, unsigned member,
                              int64_t key, int64_t value)
{
    txn->ops = grow(txn->ops, txn->op_count, sizeof(*txn->ops));
    struct cli_op *op = &txn->ops[txn->op_count++];
    *op = (struct cli_op){.kind = kind, .member = member, .key = key, .value = value};
    return op;
}

void cli_op_add_value(struct cli_op *op, int64_t value)
{
    op->values = grow(op->values, op->count, sizeof(*op->values));
    op->values[op->count++] = value;
}

void cli_txn_done(struct cli_txn *txn)
{
    for (size_t i = 0; i < txn->op_count; i++) {
        free(txn->ops[i].values);
    }
    free(txn->ops);
    *txn = (struct cli_txn){0};
}

void cli_history_add(struct cli_history *history, const struct cli_txn *take_txn)
{
    history->txns = grow(history->txns, history->count, sizeof(*history->txns));
    history->txns[history->count++] = *take_txn;
}

void cli_history_add_row(struct cli_history *history, const struct cli_row *row)
{
    struct cli_final *final = &history->final;
    final->rows = grow(final->rows, final->row_count, sizeof(*final->rows));
    final->rows[final->row_count++] = *row;
}

void cli_history_add_list(struct cli_history *history, const struct cli_list *take_list)
{
    struct cli_final *final = &history->final;
    final->lists = grow(final->lists, final->list_count, sizeof(*final->lists));
    final->lists[final->list_count++] = *take_list;
}

void cli_history_add_balance(struct cli_history *history, unsigned member, int64_t balance)
{
    struct cli_final *final = &history->final;
    size_t *count = &final->account_counts[member];
    final->balances[member] = grow(final->balances[member], *count, sizeof(balance));
    final->balances[member][(*count)++] = balance;
}

void cli_final_done(struct cli_final *final)
{
    for (size_t i = 0; i < CLI_MEMBERS_MAX; i++) {
        free(final->balances[i]);
    }
    for (size_t i = 0; i < final->list_count; i++) {
        free(final->lists[i].values);
    }
    free(final->rows);
    free(final->lists);
    *final = (struct cli_final){0};
}

void cli_history_done(struct cli_history *history)
{
    for (size_t i = 0; i < history->count; i++) {
        cli_txn_done(&history->txns[i]);
    }
    free(history->txns);
    cli_final_done(&history->final);
    *history = (struct cli_history){0};
}

size_t cli_history_told(const struct cli_history *history, enum cli_told told)
{
    size_t count = 0;
    for (size_t i = 0; i < history->count; i++) {
        count += history->txns[i].told == told;
    }
    return count;
}
