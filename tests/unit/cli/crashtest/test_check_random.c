/* Random serial histories, in which nothing is to be found, and each with one thing put in that
 * must be. The seed is printed by what fails; ASSENT_SEED runs it again. */
#include "tests/unit/cli/crashtest/histories.h"

#include "base/clock.h"
#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MEMBERS = 3, ACCOUNTS = 4, FRESH_LIST = 1000000, FRESH_VALUE = 100000000, TRIES = 40 };

struct serial {
    struct cli_history history;
    struct cli_list *lists; /* by member, then key from 1 on */
    size_t list_count;      /* of each member */
    int64_t values;         /* appended so far */
    uint64_t random;
};

/* SplitMix64. */
static size_t below(struct serial *serial, size_t bound)
{
    uint64_t z = serial->random += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (size_t)((z ^ (z >> 31)) % bound);
}

/* ---- A serial history ---- */

static struct cli_list *list_of(struct serial *serial, const struct cli_op *op)
{
    return &serial->lists[op->member * serial->list_count + (size_t)op->key - 1];
}

static void append(struct cli_list *list, int64_t value)
{
    struct cli_op values = {.count = list->count, .values = list->values};
    cli_op_add_value(&values, value);
    list->count = values.count;
    list->values = values.values;
}

/* What the lists hold, with what the transaction itself appended up to @at. */
static void read_list(struct serial *serial, struct cli_txn *txn, size_t at)
{
    struct cli_op *read = &txn->ops[at];
    const struct cli_list *list = list_of(serial, read);
    read->seen = true;
    for (size_t i = 0; i < list->count; i++) {
        cli_op_add_value(read, list->values[i]);
    }
    for (size_t i = 0; i < at; i++) {
        const struct cli_op *op = &txn->ops[i];
        if (op->kind == CLI_OP_APPEND && op->member == read->member && op->key == read->key) {
            cli_op_add_value(read, op->value);
        }
    }
}

static void apply(struct serial *serial, const struct cli_txn *txn)
{
    for (size_t i = 0; i < txn->op_count; i++) {
        const struct cli_op *op = &txn->ops[i];
        if (op->kind == CLI_OP_APPEND) {
            append(list_of(serial, op), op->value);
        } else if (op->kind == CLI_OP_MOVE) {
            struct cli_row row = {.member = op->member, .account = op->key, .amount = op->value};
            memcpy(row.txn, txn->name, sizeof row.txn);
            cli_history_add_row(&serial->history, &row);
            serial->history.final.balances[op->member][op->key - 1] += op->value;
        }
    }
}

static void choose(struct serial *serial, struct cli_txn *txn)
{
    if (below(serial, 5) == 0) {
        unsigned from = (unsigned)below(serial, MEMBERS);
        cli_txn_add_op(txn, CLI_OP_MOVE, from, 1 + (int64_t)below(serial, ACCOUNTS), -1);
        cli_txn_add_op(txn, CLI_OP_MOVE, (from + 1) % MEMBERS, 1 + (int64_t)below(serial, ACCOUNTS),
                       1);
        return;
    }
    for (size_t ops = 1 + below(serial, 4); ops > 0; ops--) {
        bool read = below(serial, 2) == 0;
        size_t window = serial->history.count / 20 + below(serial, 3);
        cli_txn_add_op(txn, read ? CLI_OP_READ : CLI_OP_APPEND, (unsigned)below(serial, MEMBERS),
                       1 + (int64_t)(window % serial->list_count), read ? 0 : ++serial->values);
    }
}

static void add_txn(struct serial *serial)
{
    struct cli_history *history = &serial->history;
    struct cli_txn txn = {.invoked = 2 * history->count + 1, .completed = 2 * history->count + 2};
    size_t dice = below(serial, 20);
    (void)snprintf(txn.name, sizeof txn.name, "t%zu", history->count);
    choose(serial, &txn);
    bool applied = dice >= 3;
    txn.told = dice == 0   ? CLI_TOLD_ABORTED
               : dice == 1 ? CLI_TOLD_NOT_STARTED
               : dice < 5  ? CLI_TOLD_UNKNOWN
                           : CLI_TOLD_COMMITTED;
    for (size_t i = 0; i < txn.op_count && txn.told == CLI_TOLD_COMMITTED; i++) {
        if (txn.ops[i].kind == CLI_OP_READ) {
            read_list(serial, &txn, i);
        }
    }
    if (applied) {
        apply(serial, &txn);
    }
    cli_history_add(history, &txn);
}

static void make_serial(struct serial *serial, uint64_t seed, size_t count)
{
    *serial = (struct serial){.random = seed, .list_count = 3 + count / 20};
    serial->history = (struct cli_history){
        .members = {"east", "west", "north"}, .member_count = MEMBERS, .balance = 1000000};
    for (unsigned i = 0; i < MEMBERS * ACCOUNTS; i++) {
        cli_history_add_balance(&serial->history, i / ACCOUNTS, serial->history.balance);
    }
    serial->lists = tpc_must_calloc(MEMBERS * serial->list_count, sizeof *serial->lists);
    while (serial->history.count < count) {
        add_txn(serial);
    }
    for (size_t i = 0; i < MEMBERS * serial->list_count; i++) {
        struct cli_list *list = &serial->lists[i];
        list->member = (unsigned)(i / serial->list_count);
        list->key = 1 + (int64_t)(i % serial->list_count);
        cli_history_add_list(&serial->history, list);
    }
    free(serial->lists);
    serial->history.final.has_bank = serial->history.final.has_lists = true;
}

/* ---- What is put in: true when it could be ---- */

/* A transaction that was told so and has an operation of that kind; NULL: tried in vain. */
static struct cli_txn *find(struct serial *serial, enum cli_told told, enum cli_op_kind kind,
                            struct cli_op **ret_op)
{
    for (size_t tries = 0; tries < 10 * serial->history.count; tries++) {
        struct cli_txn *txn = &serial->history.txns[below(serial, serial->history.count)];
        size_t at = below(serial, txn->op_count);
        if (txn->told == told && txn->ops[at].kind == kind) {
            *ret_op = &txn->ops[at];
            return txn;
        }
    }
    return NULL;
}

static struct cli_list *final_list(struct serial *serial, const struct cli_op *op)
{
    struct cli_final *final = &serial->history.final;
    for (size_t i = 0; i < final->list_count; i++) {
        if (final->lists[i].member == op->member && final->lists[i].key == op->key) {
            return &final->lists[i];
        }
    }
    return NULL;
}

static bool remove_value(int64_t *values, size_t *count, int64_t value)
{
    for (size_t i = 0; i < *count; i++) {
        if (values[i] == value) {
            memmove(values + i, values + i + 1, (*count - i - 1) * sizeof *values);
            (*count)--;
            return true;
        }
    }
    return false;
}

static bool put_lost(struct serial *serial)
{
    struct cli_op *op;
    if (find(serial, CLI_TOLD_COMMITTED, CLI_OP_APPEND, &op) == NULL) {
        return false;
    }
    struct cli_list *list = final_list(serial, op);
    return remove_value(list->values, &list->count, op->value);
}

static bool put_held(struct serial *serial)
{
    struct cli_op *op;
    struct cli_txn *txn = find(serial, CLI_TOLD_COMMITTED, CLI_OP_APPEND, &op);
    if (txn != NULL) {
        txn->told = CLI_TOLD_ABORTED;
    }
    return txn != NULL;
}

static bool put_held_row(struct serial *serial)
{
    struct cli_op *op;
    struct cli_txn *txn = find(serial, CLI_TOLD_COMMITTED, CLI_OP_MOVE, &op);
    if (txn != NULL) {
        txn->told = CLI_TOLD_NOT_STARTED;
    }
    return txn != NULL;
}

static bool put_twice(struct serial *serial)
{
    struct cli_op *op;
    if (find(serial, CLI_TOLD_COMMITTED, CLI_OP_APPEND, &op) == NULL) {
        return false;
    }
    append(final_list(serial, op), op->value);
    return true;
}

static bool put_row_twice(struct serial *serial)
{
    struct cli_final *final = &serial->history.final;
    if (final->row_count == 0) {
        return false;
    }
    struct cli_row row = final->rows[below(serial, final->row_count)];
    cli_history_add_row(&serial->history, &row);
    return true;
}

static bool put_money(struct serial *serial)
{
    serial->history.final.balances[below(serial, MEMBERS)][below(serial, ACCOUNTS)]++;
    return true;
}

static bool put_missing_row(struct serial *serial)
{
    struct cli_final *final = &serial->history.final;
    if (final->row_count == 0) {
        return false;
    }
    final->rows[below(serial, final->row_count)] = final->rows[final->row_count - 1];
    final->row_count--;
    return true;
}

static bool put_unasked(struct serial *serial)
{
    append(&serial->history.final.lists[below(serial, serial->history.final.list_count)],
           FRESH_VALUE);
    return true;
}

/* A read, after which a value of a transaction that was told @told and did not happen is seen. */
static bool put_read_of(struct serial *serial, enum cli_told told)
{
    for (size_t tries = 0; tries < TRIES; tries++) {
        struct cli_op *value, *read;
        struct cli_txn *writer = find(serial, told, CLI_OP_APPEND, &value);
        struct cli_txn *reader = find(serial, CLI_TOLD_COMMITTED, CLI_OP_READ, &read);
        if (writer == NULL || reader == NULL) {
            return false;
        }
        struct cli_list held = *final_list(serial, value);
        bool applied = false;
        for (size_t i = 0; i < held.count; i++) {
            applied = applied || held.values[i] == value->value;
        }
        if (!applied) {
            struct cli_op *more = cli_txn_add_op(reader, CLI_OP_READ, value->member, value->key, 0);
            more->seen = true;
            cli_op_add_value(more, value->value);
            return true;
        }
    }
    return false;
}

static bool put_aborted_read(struct serial *serial)
{
    return put_read_of(serial, CLI_TOLD_ABORTED);
}

static bool put_dirty_read(struct serial *serial)
{
    return put_read_of(serial, CLI_TOLD_UNKNOWN);
}

static bool put_prefix(struct serial *serial)
{
    for (size_t tries = 0; tries < TRIES; tries++) {
        struct cli_op *op;
        if (find(serial, CLI_TOLD_COMMITTED, CLI_OP_READ, &op) == NULL) {
            return false;
        }
        if (op->count >= 2) {
            int64_t first = op->values[0];
            op->values[0] = op->values[1];
            op->values[1] = first;
            return true;
        }
    }
    return false;
}

/* Two committed transactions, the one before the other. */
static bool find_two(struct serial *serial, struct cli_txn **ret_first, struct cli_txn **ret_second)
{
    struct cli_op *op;
    *ret_first = find(serial, CLI_TOLD_COMMITTED, CLI_OP_APPEND, &op);
    *ret_second = find(serial, CLI_TOLD_COMMITTED, CLI_OP_READ, &op);
    if (*ret_first == NULL || *ret_second == NULL || *ret_first == *ret_second) {
        return false;
    }
    if ((*ret_first)->invoked > (*ret_second)->invoked) {
        struct cli_txn *later = *ret_first;
        *ret_first = *ret_second;
        *ret_second = later;
    }
    return true;
}

/* Lists that nobody else knows. */
static void add_append(struct cli_txn *txn, unsigned member, int64_t value)
{
    cli_txn_add_op(txn, CLI_OP_APPEND, member, FRESH_LIST, FRESH_VALUE + value);
}

/* The first values 1, 2, …, or none. */
static void add_read(struct cli_txn *txn, unsigned member, int64_t count)
{
    struct cli_op *op = cli_txn_add_op(txn, CLI_OP_READ, member, FRESH_LIST, 0);
    op->seen = true;
    for (int64_t i = 1; i <= count; i++) {
        cli_op_add_value(op, FRESH_VALUE + i);
    }
}

static void add_final(struct serial *serial, unsigned member, int64_t first, int64_t second)
{
    struct cli_list list = {.member = member, .key = FRESH_LIST};
    append(&list, FRESH_VALUE + first);
    if (second != 0) {
        append(&list, FRESH_VALUE + second);
    }
    cli_history_add_list(&serial->history, &list);
}

static bool put_circular(struct serial *serial)
{
    struct cli_txn *first, *second;
    if (!find_two(serial, &first, &second)) {
        return false;
    }
    first->completed = second->completed; /* beside each other */
    second->invoked = first->invoked;
    add_append(second, 0, 1);
    add_read(first, 0, 1);
    add_append(first, 1, 2);
    add_append(second, 1, 3);
    add_final(serial, 0, 1, 0);
    add_final(serial, 1, 2, 3);
    return true;
}

static bool put_dirty_write(struct serial *serial)
{
    struct cli_txn *first, *second;
    if (!find_two(serial, &first, &second)) {
        return false;
    }
    add_append(first, 0, 1);
    add_append(second, 0, 2);
    add_append(first, 1, 3);
    add_append(second, 1, 4);
    add_final(serial, 0, 1, 2);
    add_final(serial, 1, 4, 3);
    return true;
}

static bool put_intermediate_read(struct serial *serial)
{
    struct cli_txn *first, *second;
    if (!find_two(serial, &first, &second)) {
        return false;
    }
    add_append(first, 0, 1);
    add_append(first, 0, 2);
    add_read(second, 0, 1);
    add_final(serial, 0, 1, 2);
    return true;
}

static bool put_stale_read(struct serial *serial)
{
    struct cli_txn *first, *second;
    if (!find_two(serial, &first, &second)) {
        return false;
    }
    add_append(first, 0, 1);
    add_read(second, 0, 0);
    add_final(serial, 0, 1, 0);
    return true;
}

static bool put_internal(struct serial *serial)
{
    struct cli_op *op;
    struct cli_txn *txn = find(serial, CLI_TOLD_COMMITTED, CLI_OP_APPEND, &op);
    if (txn == NULL) {
        return false;
    }
    add_append(txn, 0, 1);
    add_read(txn, 0, 0);
    add_final(serial, 0, 1, 0);
    return true;
}

static bool put_not_atomic(struct serial *serial)
{
    struct cli_op *op;
    struct cli_txn *txn = find(serial, CLI_TOLD_UNKNOWN, CLI_OP_APPEND, &op);
    if (txn == NULL) {
        return false;
    }
    add_append(txn, 0, 1);
    add_append(txn, 1, 2);
    add_final(serial, 1, 2, 0);
    return true;
}

static bool put_fractured_read(struct serial *serial)
{
    struct cli_txn *first, *second;
    if (!find_two(serial, &first, &second)) {
        return false;
    }
    second->invoked = first->invoked;
    add_append(first, 0, 1);
    add_append(first, 1, 2);
    add_read(second, 0, 1);
    add_read(second, 1, 0);
    add_final(serial, 0, 1, 0);
    add_final(serial, 1, 2, 0);
    return true;
}

static const struct {
    const char *name;
    enum cli_anomaly anomaly;
    bool (*put)(struct serial *serial);
} kinds[] = {
    {"lost", CLI_LOST, put_lost},
    {"held", CLI_HELD, put_held},
    {"held row", CLI_HELD, put_held_row},
    {"twice", CLI_TWICE, put_twice},
    {"row twice", CLI_TWICE, put_row_twice},
    {"money", CLI_MONEY, put_money},
    {"missing row", CLI_LEDGER, put_missing_row},
    {"missing row", CLI_NOT_ATOMIC, put_missing_row},
    {"unasked", CLI_UNASKED, put_unasked},
    {"aborted read", CLI_ABORTED_READ, put_aborted_read},
    {"dirty read", CLI_DIRTY_READ, put_dirty_read},
    {"prefix", CLI_PREFIX, put_prefix},
    {"circular", CLI_CIRCULAR, put_circular},
    {"dirty write", CLI_DIRTY_WRITE, put_dirty_write},
    {"intermediate read", CLI_INTERMEDIATE_READ, put_intermediate_read},
    {"stale read", CLI_STALE_READ, put_stale_read},
    {"internal", CLI_INTERNAL, put_internal},
    {"not atomic", CLI_NOT_ATOMIC, put_not_atomic},
    {"fractured read", CLI_FRACTURED, put_fractured_read},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* ---- Tests ---- */

static uint64_t first_seed(void)
{
    const char *text = getenv("ASSENT_SEED");
    return text != NULL ? strtoull(text, NULL, 10) : tpc_random_u64() % 1000000;
}

static void expect_nothing(const struct cli_history *history, uint64_t seed)
{
    struct cli_findings findings = {0};
    cli_check_history(history, &findings);
    if (findings.item_count > 0) {
        fail_msg("ASSENT_SEED=%llu: %s: %s", (unsigned long long)seed,
                 cli_anomaly_name(findings.items[0].anomaly), findings.items[0].text);
    }
    cli_findings_done(&findings);
}

static void test_cli_check_history__in_serial_ones_nothing_is_found(void **state)
{
    (void)state;
    uint64_t seed = first_seed();
    for (uint64_t end = seed + 50; seed < end; seed++) {
        struct serial serial;
        make_serial(&serial, seed, 200);
        expect_nothing(&serial.history, seed);
        cli_history_done(&serial.history);
    }
}

static void test_cli_check_history__what_is_put_in_is_found(void **state)
{
    (void)state;
    unsigned done[KINDS] = {0};
    uint64_t seed = first_seed();
    for (uint64_t end = seed + 10 * KINDS; seed < end; seed++) {
        struct serial serial;
        struct cli_findings findings = {0};
        size_t kind = seed % KINDS;
        make_serial(&serial, seed, 200);
        if (kinds[kind].put(&serial)) {
            done[kind]++;
            cli_check_history(&serial.history, &findings);
            if (findings.counts[kinds[kind].anomaly] == 0) {
                fail_msg("ASSENT_SEED=%llu: %s is not found", (unsigned long long)seed,
                         kinds[kind].name);
            }
        }
        cli_findings_done(&findings);
        cli_history_done(&serial.history);
    }
    for (size_t i = 0; i < KINDS; i++) {
        if (done[i] == 0) {
            fail_msg("%s was never put in", kinds[i].name);
        }
    }
}

static void test_cli_check_history__of_a_hundred_thousand(void **state)
{
    struct serial serial;
    (void)state;
    make_serial(&serial, 1, 100000);
    uint64_t began_ms = tpc_clock_mono_ms();
    expect_nothing(&serial.history, 1);
    print_message("100000 transactions were checked in %.1f s\n",
                  (double)(tpc_clock_mono_ms() - began_ms) / 1000);
    cli_history_done(&serial.history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_check_history__in_serial_ones_nothing_is_found),
        cmocka_unit_test(test_cli_check_history__what_is_put_in_is_found),
        cmocka_unit_test(test_cli_check_history__of_a_hundred_thousand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
