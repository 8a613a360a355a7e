#include "cli/crashtest/check_index.h"

#include "base/memory.h"
#include "base/tpc_assert.h"

#include <stdlib.h>
#include <string.h>

static int compare_appends(const void *a, const void *b)
{
    const struct cli_append *x = a, *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

static int compare_orders(const void *a, const void *b)
{
    const struct cli_order *x = a, *y = b;
    int order = (x->member > y->member) - (x->member < y->member);
    return order != 0 ? order : (x->key > y->key) - (x->key < y->key);
}

const struct cli_append *cli_index_append(const struct cli_index *index, int64_t value)
{
    const struct cli_append wanted = {.value = value};
    return index->append_count > 0 ? bsearch(&wanted, index->appends, index->append_count,
                                             sizeof(wanted), compare_appends)
                                   : NULL;
}

const struct cli_order *cli_index_order(const struct cli_index *index, unsigned member, int64_t key)
{
    const struct cli_order wanted = {.member = member, .key = key};
    return index->order_count > 0
               ? bsearch(&wanted, index->orders, index->order_count, sizeof(wanted), compare_orders)
               : NULL;
}

bool cli_order_has_prefix(const struct cli_order *order, const struct cli_op *op)
{
    return op->count <= order->count &&
           (op->count == 0 || memcmp(op->values, order->values, op->count * sizeof(int64_t)) == 0);
}

static bool is_of_list(const struct cli_op *op)
{
    return op->kind == CLI_OP_APPEND || op->kind == CLI_OP_READ;
}

static size_t count_ops(const struct cli_history *history, size_t *ret_appends)
{
    size_t count = 0;
    *ret_appends = 0;
    for (size_t i = 0; i < history->count; i++) {
        for (size_t j = 0; j < history->txns[i].op_count; j++) {
            count += is_of_list(&history->txns[i].ops[j]);
            *ret_appends += history->txns[i].ops[j].kind == CLI_OP_APPEND;
        }
    }
    return count;
}

/* Every list once, the longest of what is known of it. */
static void merge_orders(struct cli_index *index)
{
    size_t kept = 0;
    qsort(index->orders, index->order_count, sizeof(*index->orders), compare_orders);
    for (size_t i = 0; i < index->order_count; i++) {
        struct cli_order *order = &index->orders[i];
        struct cli_order *last = kept > 0 ? &index->orders[kept - 1] : NULL;
        if (last == NULL || compare_orders(last, order) != 0) {
            index->orders[kept++] = *order;
        } else if (order->count > last->count) {
            *last = *order;
        }
    }
    index->order_count = kept;
}

static void gather(struct cli_index *index)
{
    const struct cli_history *history = index->history;
    const struct cli_final *final = &history->final;
    for (size_t i = 0; i < history->count; i++) {
        for (size_t j = 0; j < history->txns[i].op_count; j++) {
            const struct cli_op *op = &history->txns[i].ops[j];
            if (op->kind == CLI_OP_APPEND) {
                index->appends[index->append_count++] = (struct cli_append){
                    .value = op->value, .txn = i, .op = j, .position = CLI_NOWHERE};
            }
            if (is_of_list(op)) {
                struct cli_order *order = &index->orders[index->order_count++];
                *order = (struct cli_order){.member = op->member, .key = op->key};
                if (op->seen && !final->has_lists) {
                    order->count = op->count;
                    order->values = op->values;
                }
            }
        }
    }
    for (size_t i = 0; i < final->list_count; i++) {
        const struct cli_list *list = &final->lists[i];
        index->orders[index->order_count++] = (struct cli_order){
            .member = list->member, .key = list->key, .count = list->count, .values = list->values};
    }
}

/* Each append knows its list, and each value of a list its append. */
static void link_both(struct cli_index *index)
{
    for (size_t i = 0; i < index->append_count; i++) {
        struct cli_append *append = &index->appends[i];
        const struct cli_op *op = &cli_append_txn(index, append)->ops[append->op];
        const struct cli_order *order = cli_index_order(index, op->member, op->key);
        TPC_ASSERT(order != NULL);
        append->list = (size_t)(order - index->orders);
    }
    for (size_t i = 0; i < index->order_count; i++) {
        struct cli_order *order = &index->orders[i];
        order->appends = tpc_must_calloc(order->count + 1, sizeof(const struct cli_append *));
        for (size_t j = 0; j < order->count; j++) {
            struct cli_append *append =
                (struct cli_append *)cli_index_append(index, order->values[j]);
            if (append != NULL && append->list == i) {
                order->appends[j] = append;
                append->position = append->position == CLI_NOWHERE ? j : append->position;
            }
        }
    }
}

void cli_index_init(struct cli_index *index, const struct cli_history *history)
{
    size_t appends, ops = count_ops(history, &appends);
    *index = (struct cli_index){.history = history};
    index->appends = tpc_must_calloc(appends + 1, sizeof(*index->appends));
    index->orders = tpc_must_calloc(ops + history->final.list_count + 1, sizeof(*index->orders));
    gather(index);
    qsort(index->appends, index->append_count, sizeof(*index->appends), compare_appends);
    merge_orders(index);
    link_both(index);
}

void cli_index_done(struct cli_index *index)
{
    for (size_t i = 0; i < index->order_count; i++) {
        free(index->orders[i].appends);
    }
    free(index->appends);
    free(index->orders);
    *index = (struct cli_index){0};
}
