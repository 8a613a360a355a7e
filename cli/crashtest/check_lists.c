#include "cli/crashtest/check_index.h"

#include "base/memory.h"

#include <stdlib.h>

/* How far a fractured read is looked for beyond what was read; it is counted, not judged. */
enum { LOOK_AHEAD = 64 };

struct lists {
    const struct cli_history *history;
    struct cli_findings *findings;
    struct cli_index index;
    /* Of each order, from each position on: the earliest completion of a transaction that was told
     * committed, and whose. Only with a final state. */
    uint64_t **earliest;
};

/* "list 5 at east" */
#define LIST_FORMAT        "list %lld at %s"
#define LIST_OF(lists, op) (long long)(op)->key, (lists)->history->members[(op)->member]
#define TXN_FORMAT         "%s (%s)"
#define TXN_OF(txn)        (txn)->name, (txn)->id

static bool is_refused(const struct cli_txn *txn)
{
    return txn->told == CLI_TOLD_ABORTED || txn->told == CLI_TOLD_NOT_STARTED;
}

/* ---- Told against held ---- */

static void check_held(struct lists *lists, const struct cli_txn *txn, const size_t *positions)
{
    size_t held = 0, missing = 0;
    const struct cli_op *one_held = NULL, *one_missing = NULL;
    for (size_t i = 0; i < txn->op_count; i++) {
        const struct cli_op *op = &txn->ops[i];
        if (op->kind != CLI_OP_APPEND) {
            continue;
        }
        if (positions[i] != CLI_NOWHERE) {
            held++;
            one_held = op;
            continue;
        }
        missing++;
        one_missing = op;
        if (txn->told == CLI_TOLD_COMMITTED) {
            cli_find(lists->findings, CLI_LOST,
                     TXN_FORMAT ": told committed, and its %lld is not in " LIST_FORMAT,
                     TXN_OF(txn), (long long)op->value, LIST_OF(lists, op));
        }
    }
    if (held > 0 && is_refused(txn)) {
        cli_find(lists->findings, CLI_HELD,
                 TXN_FORMAT ": told %s (HTTP %d %s), and its %lld is in " LIST_FORMAT, TXN_OF(txn),
                 cli_told_name(txn->told), txn->status, txn->cause, (long long)one_held->value,
                 LIST_OF(lists, one_held));
    }
    if (held > 0 && missing > 0) {
        cli_find(lists->findings, CLI_NOT_ATOMIC,
                 TXN_FORMAT ", told %s: its %lld is in " LIST_FORMAT
                            ", and its %lld is not in " LIST_FORMAT,
                 TXN_OF(txn), cli_told_name(txn->told), (long long)one_held->value,
                 LIST_OF(lists, one_held), (long long)one_missing->value,
                 LIST_OF(lists, one_missing));
    }
}

static void check_all_held(struct lists *lists)
{
    size_t room = 0;
    size_t *positions = NULL;
    for (size_t i = 0; i < lists->history->count; i++) {
        const struct cli_txn *txn = &lists->history->txns[i];
        if (txn->op_count > room) {
            room = txn->op_count;
            positions = tpc_must_realloc(positions, room * sizeof(*positions));
        }
        for (size_t j = 0; j < txn->op_count; j++) {
            if (txn->ops[j].kind == CLI_OP_APPEND) {
                positions[j] = cli_index_append(&lists->index, txn->ops[j].value)->position;
            }
        }
        check_held(lists, txn, positions);
    }
    free(positions);
}

/* ---- Values of a list, in the end or as read ---- */

/* @txn NULL: in the end. */
static void check_value(struct lists *lists, const struct cli_op *list, const struct cli_txn *txn,
                        int64_t value)
{
    const struct cli_append *append = cli_index_append(&lists->index, value);
    const struct cli_order *order = append != NULL ? &lists->index.orders[append->list] : NULL;
    const struct cli_txn *writer = append != NULL ? cli_append_txn(&lists->index, append) : NULL;
    if (order == NULL || order->member != list->member || order->key != list->key) {
        cli_find(lists->findings, CLI_UNASKED,
                 "%lld is in " LIST_FORMAT "%s%s, and nobody asked for it", (long long)value,
                 LIST_OF(lists, list), txn != NULL ? " as read by " : "",
                 txn != NULL ? txn->name : "");
    } else if (txn != NULL && is_refused(writer)) {
        cli_find(lists->findings, CLI_ABORTED_READ,
                 TXN_FORMAT " read %lld in " LIST_FORMAT " of " TXN_FORMAT ", which was told %s",
                 TXN_OF(txn), (long long)value, LIST_OF(lists, list), TXN_OF(writer),
                 cli_told_name(writer->told));
    } else if (txn != NULL && append->position == CLI_NOWHERE && lists->history->final.has_lists &&
               writer->told == CLI_TOLD_UNKNOWN && writer != txn) {
        cli_find(lists->findings, CLI_DIRTY_READ,
                 TXN_FORMAT " read %lld in " LIST_FORMAT " of " TXN_FORMAT
                            ", and it is not there in the end",
                 TXN_OF(txn), (long long)value, LIST_OF(lists, list), TXN_OF(writer));
    }
}

static int compare_values(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void check_twice(struct lists *lists, const struct cli_op *list, const struct cli_txn *txn)
{
    int64_t *sorted = tpc_must_calloc(list->count + 1, sizeof(*sorted));
    for (size_t i = 0; i < list->count; i++) {
        sorted[i] = list->values[i];
    }
    qsort(sorted, list->count, sizeof(*sorted), compare_values);
    for (size_t i = 1; i < list->count; i++) {
        const struct cli_append *append = cli_index_append(&lists->index, sorted[i]);
        if (sorted[i] == sorted[i - 1] && append != NULL) {
            cli_find(lists->findings, CLI_TWICE,
                     "%s: its %lld is in " LIST_FORMAT " more than once%s%s",
                     cli_append_txn(&lists->index, append)->name, (long long)sorted[i],
                     LIST_OF(lists, list), txn != NULL ? " as read by " : "",
                     txn != NULL ? txn->name : "");
        }
    }
    free(sorted);
}

static void check_orders(struct lists *lists)
{
    for (size_t i = 0; i < lists->index.order_count; i++) {
        const struct cli_order *order = &lists->index.orders[i];
        struct cli_op list = {.member = order->member,
                              .key = order->key,
                              .count = order->count,
                              .values = (int64_t *)order->values};
        for (size_t j = 0; j < list.count; j++) {
            if (order->appends[j] == NULL) {
                check_value(lists, &list, NULL, list.values[j]);
            }
        }
        check_twice(lists, &list, NULL);
    }
}

/* ---- Reads ---- */

/* Without what is not held (which was objected to by itself), is it how the list was at some time?
 */
static bool agrees(struct lists *lists, const struct cli_order *order, const struct cli_op *op)
{
    size_t at = 0;
    for (size_t i = 0; i < op->count; i++) {
        const struct cli_append *append = cli_index_append(&lists->index, op->values[i]);
        bool held = append != NULL && append->position != CLI_NOWHERE &&
                    &lists->index.orders[append->list] == order;
        if (held && (at == order->count || order->values[at++] != op->values[i])) {
            return false;
        }
    }
    return true;
}

static void check_read_values(struct lists *lists, const struct cli_txn *txn,
                              const struct cli_op *op, const struct cli_order *order)
{
    bool prefix = cli_order_has_prefix(order, op);
    for (size_t i = 0; i < op->count; i++) {
        const struct cli_append *append = prefix ? order->appends[i] : NULL;
        if (append == NULL || is_refused(cli_append_txn(&lists->index, append))) {
            check_value(lists, op, txn, op->values[i]);
        }
    }
    if (prefix) {
        return;
    }
    check_twice(lists, op, txn);
    if (!agrees(lists, order, op)) {
        cli_find(lists->findings, CLI_PREFIX,
                 TXN_FORMAT " read " LIST_FORMAT " in another order than %s", TXN_OF(txn),
                 LIST_OF(lists, op),
                 lists->history->final.has_lists ? "it is in the end" : "others did");
    }
}

/* The last value that was read, and the transaction of it appended another one to the list later.
 */
static void check_intermediate(struct lists *lists, const struct cli_txn *txn,
                               const struct cli_op *op)
{
    const struct cli_append *last =
        op->count > 0 ? cli_index_append(&lists->index, op->values[op->count - 1]) : NULL;
    const struct cli_txn *writer = last != NULL ? cli_append_txn(&lists->index, last) : txn;
    for (size_t i = writer != txn ? last->op + 1 : writer->op_count; i < writer->op_count; i++) {
        const struct cli_op *later = &writer->ops[i];
        if (later->kind == CLI_OP_APPEND && later->member == op->member && later->key == op->key) {
            cli_find(lists->findings, CLI_INTERMEDIATE_READ,
                     TXN_FORMAT " read " LIST_FORMAT " up to %lld, and " TXN_FORMAT
                                ", whose that is, appended %lld as well",
                     TXN_OF(txn), LIST_OF(lists, op), (long long)last->value, TXN_OF(writer),
                     (long long)later->value);
            return;
        }
    }
}

static bool same_list(const struct cli_op *a, const struct cli_op *b)
{
    return a->member == b->member && a->key == b->key;
}

/* What the transaction appended before it read must be the last there, and nothing that it appended
 * afterwards may be. @at is the read. */
static void check_internal(struct lists *lists, const struct cli_txn *txn, size_t at)
{
    const struct cli_op *read = &txn->ops[at];
    size_t left = read->count;
    for (size_t i = at; i-- > 0;) {
        const struct cli_op *op = &txn->ops[i];
        if (op->kind != CLI_OP_APPEND || !same_list(op, read)) {
            continue;
        }
        if (left == 0 || read->values[left - 1] != op->value) {
            cli_find(lists->findings, CLI_INTERNAL,
                     TXN_FORMAT " appended %lld to " LIST_FORMAT " and did not read it at the end",
                     TXN_OF(txn), (long long)op->value, LIST_OF(lists, read));
            return;
        }
        left--;
    }
    for (size_t i = at + 1; i < txn->op_count; i++) {
        for (size_t j = 0; j < left && txn->ops[i].kind == CLI_OP_APPEND; j++) {
            if (same_list(&txn->ops[i], read) && read->values[j] == txn->ops[i].value) {
                cli_find(lists->findings, CLI_INTERNAL,
                         TXN_FORMAT " read %lld in " LIST_FORMAT " before it appended it",
                         TXN_OF(txn), (long long)read->values[j], LIST_OF(lists, read));
            }
        }
    }
}

static void check_stale(struct lists *lists, const struct cli_txn *txn, const struct cli_op *op,
                        const struct cli_order *order)
{
    uint64_t *earliest = lists->earliest[order - lists->index.orders];
    if (earliest == NULL || op->count >= order->count || earliest[op->count] >= txn->invoked) {
        return;
    }
    for (size_t i = op->count; i < order->count; i++) {
        const struct cli_txn *writer =
            order->appends[i] != NULL ? cli_append_txn(&lists->index, order->appends[i]) : NULL;
        if (writer != NULL && writer->told == CLI_TOLD_COMMITTED &&
            writer->completed < txn->invoked) {
            cli_find(lists->findings, CLI_STALE_READ,
                     TXN_FORMAT " did not read %lld in " LIST_FORMAT ", and " TXN_FORMAT
                                " had been told committed before it began",
                     TXN_OF(txn), (long long)order->values[i], LIST_OF(lists, op), TXN_OF(writer));
            return;
        }
    }
}

/* ---- What is counted ---- */

/* @txn has not read @order[i], the value of another one: did it read a value of that one elsewhere?
 */
static bool saw_elsewhere(struct lists *lists, const struct cli_txn *txn,
                          const struct cli_append *unseen)
{
    const struct cli_txn *writer = cli_append_txn(&lists->index, unseen);
    for (size_t i = 0; i < writer->op_count; i++) {
        const struct cli_op *op = &writer->ops[i];
        bool elsewhere = op->kind == CLI_OP_APPEND && !same_list(op, &writer->ops[unseen->op]);
        size_t position =
            elsewhere ? cli_index_append(&lists->index, op->value)->position : CLI_NOWHERE;
        for (size_t j = 0; position != CLI_NOWHERE && j < txn->op_count; j++) {
            const struct cli_op *read = &txn->ops[j];
            if (read->kind == CLI_OP_READ && read->seen && same_list(read, op) &&
                position < read->count && read->values[position] == op->value) {
                return true;
            }
        }
    }
    return false;
}

static void count_fractured(struct lists *lists, const struct cli_txn *txn,
                            const struct cli_op *read, const struct cli_order *order)
{
    for (size_t i = read->count; i < order->count && i < read->count + LOOK_AHEAD; i++) {
        const struct cli_append *unseen = order->appends[i];
        if (unseen != NULL && cli_append_txn(&lists->index, unseen) != txn &&
            saw_elsewhere(lists, txn, unseen)) {
            cli_find(lists->findings, CLI_FRACTURED,
                     TXN_FORMAT " read of " TXN_FORMAT ", but not its %lld in " LIST_FORMAT,
                     TXN_OF(txn), TXN_OF(cli_append_txn(&lists->index, unseen)),
                     (long long)unseen->value, LIST_OF(lists, read));
            return;
        }
    }
}

/* @at is a read; does the transaction append to the list later, and others came between? */
static void count_lost_update(struct lists *lists, const struct cli_txn *txn, size_t at)
{
    const struct cli_op *read = &txn->ops[at];
    for (size_t i = at + 1; i < txn->op_count; i++) {
        const struct cli_op *op = &txn->ops[i];
        if (op->kind != CLI_OP_APPEND || !same_list(op, read)) {
            continue;
        }
        size_t position = cli_index_append(&lists->index, op->value)->position;
        if (position != CLI_NOWHERE && position > read->count) {
            cli_find(lists->findings, CLI_LOST_UPDATE,
                     TXN_FORMAT " read %zu values of " LIST_FORMAT " and appended %lld after %zu",
                     TXN_OF(txn), read->count, LIST_OF(lists, read), (long long)op->value,
                     position);
        }
        return;
    }
}

/* ---- All of it ---- */

static void check_read(struct lists *lists, const struct cli_txn *txn, size_t at)
{
    const struct cli_op *op = &txn->ops[at];
    const struct cli_order *order = cli_index_order(&lists->index, op->member, op->key);
    check_read_values(lists, txn, op, order);
    check_intermediate(lists, txn, op);
    check_internal(lists, txn, at);
    if (cli_order_has_prefix(order, op)) {
        check_stale(lists, txn, op, order);
        count_fractured(lists, txn, op, order);
        count_lost_update(lists, txn, at);
    }
}

static void find_earliest(struct lists *lists)
{
    const struct cli_index *index = &lists->index;
    lists->earliest = tpc_must_calloc(index->order_count + 1, sizeof(uint64_t *));
    for (size_t i = 0; lists->history->final.has_lists && i < index->order_count; i++) {
        const struct cli_order *order = &index->orders[i];
        uint64_t *earliest = tpc_must_calloc(order->count + 1, sizeof(uint64_t));
        earliest[order->count] = UINT64_MAX;
        for (size_t j = order->count; j-- > 0;) {
            const struct cli_txn *writer =
                order->appends[j] != NULL ? cli_append_txn(index, order->appends[j]) : NULL;
            bool told = writer != NULL && writer->told == CLI_TOLD_COMMITTED;
            earliest[j] =
                told && writer->completed < earliest[j + 1] ? writer->completed : earliest[j + 1];
        }
        lists->earliest[i] = earliest;
    }
}

void cli_check_lists(const struct cli_history *history, struct cli_findings *findings)
{
    struct lists lists = {.history = history, .findings = findings};
    cli_index_init(&lists.index, history);
    find_earliest(&lists);
    check_orders(&lists);
    if (history->final.has_lists) {
        check_all_held(&lists);
    }
    for (size_t i = 0; i < history->count; i++) {
        const struct cli_txn *txn = &history->txns[i];
        for (size_t j = 0; j < txn->op_count; j++) {
            if (txn->ops[j].kind == CLI_OP_READ && txn->ops[j].seen) {
                check_read(&lists, txn, j);
            }
        }
    }
    for (size_t i = 0; i < lists.index.order_count; i++) {
        free(lists.earliest[i]);
    }
    free(lists.earliest);
    cli_index_done(&lists.index);
}
