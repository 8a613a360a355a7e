#include "cli/crashtest/check.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

/* ---- Answers ---- */

void cli_check_answers(const struct cli_history *history, struct cli_findings *findings)
{
    for (size_t i = 0; i < history->count; i++) {
        const struct cli_txn *txn = &history->txns[i];
        switch (txn->status) {
        case 0: /* none came */
        case 200:
        case 201:
        case 202:
        case 404:
        case 409:
        case 503:
            break;
        default:
            cli_find(findings, CLI_ANSWER, "%s (%s): HTTP %d", txn->name, txn->id, txn->status);
        }
    }
}

/* ---- Ledgers against what was told; both by name ---- */

struct books {
    const struct cli_history *history;
    struct cli_findings *findings;
    const struct cli_txn **txns;
    const struct cli_row **rows;
    size_t row_count;
};

static int compare_txns(const void *a, const void *b)
{
    const struct cli_txn *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int compare_rows(const void *a, const void *b)
{
    const struct cli_row *const *x = a, *const *y = b;
    int order = strcmp((*x)->txn, (*y)->txn);
    order = order != 0 ? order : (int)(*x)->member - (int)(*y)->member;
    return order != 0 ? order : ((*x)->account > (*y)->account) - ((*x)->account < (*y)->account);
}

static void init_books(struct books *books, const struct cli_history *history,
                       struct cli_findings *findings)
{
    const struct cli_final *final = &history->final;
    *books =
        (struct books){.history = history, .findings = findings, .row_count = final->row_count};
    books->txns = tpc_must_calloc(history->count + 1, sizeof(const struct cli_txn *));
    books->rows = tpc_must_calloc(final->row_count + 1, sizeof(const struct cli_row *));
    for (size_t i = 0; i < history->count; i++) {
        books->txns[i] = &history->txns[i];
    }
    for (size_t i = 0; i < final->row_count; i++) {
        books->rows[i] = &final->rows[i];
    }
    qsort(books->txns, history->count, sizeof(const struct cli_txn *), compare_txns);
    qsort(books->rows, final->row_count, sizeof(const struct cli_row *), compare_rows);
}

static const char *member_of(const struct books *books, unsigned member)
{
    return books->history->members[member];
}

static size_t count_rows(const struct cli_row *const *rows, size_t count, const struct cli_op *op)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        found += rows[i]->member == op->member && rows[i]->account == op->key;
    }
    return found;
}

static const struct cli_op *asked_for(const struct cli_txn *txn, const struct cli_row *row)
{
    for (size_t i = 0; i < txn->op_count; i++) {
        const struct cli_op *op = &txn->ops[i];
        if (op->kind == CLI_OP_MOVE && op->member == row->member && op->key == row->account) {
            return op;
        }
    }
    return NULL;
}

static void check_rows(const struct books *books, const struct cli_txn *txn,
                       const struct cli_row *const *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct cli_op *op = asked_for(txn, rows[i]);
        if (op == NULL || op->value != rows[i]->amount) {
            cli_find(books->findings, CLI_UNASKED,
                     "%s (%s): %lld to account %lld at %s is not what it asked for", txn->name,
                     txn->id, (long long)rows[i]->amount, (long long)rows[i]->account,
                     member_of(books, rows[i]->member));
        }
    }
}

static void check_told(const struct books *books, const struct cli_txn *txn,
                       const struct cli_row *const *rows, size_t count)
{
    bool refused = txn->told == CLI_TOLD_ABORTED || txn->told == CLI_TOLD_NOT_STARTED;
    if (txn->told == CLI_TOLD_COMMITTED && count == 0) {
        cli_find(books->findings, CLI_LOST, "%s (%s): told committed, and no participant holds it",
                 txn->name, txn->id);
    } else if (refused && count > 0) {
        cli_find(books->findings, CLI_HELD, "%s (%s): told %s (HTTP %d %s), and %s holds it",
                 txn->name, txn->id, cli_told_name(txn->told), txn->status, txn->cause,
                 member_of(books, rows[0]->member));
    }
    if (txn->impossible && (txn->told == CLI_TOLD_COMMITTED || count > 0)) {
        cli_find(books->findings, CLI_OVERDRAWN, "%s (%s): took what no account holds", txn->name,
                 txn->id);
    }
}

/* The rows of one transaction, and what it asked for. */
static void check_transfer(const struct books *books, const struct cli_txn *txn,
                           const struct cli_row *const *rows, size_t count)
{
    const struct cli_op *missing = NULL;
    bool moves = false;
    for (size_t i = 0; i < txn->op_count; i++) {
        const struct cli_op *op = &txn->ops[i];
        if (op->kind != CLI_OP_MOVE) {
            continue;
        }
        size_t found = count_rows(rows, count, op);
        moves = true;
        missing = found == 0 ? op : missing;
        if (found > 1) {
            cli_find(books->findings, CLI_TWICE, "%s (%s): account %lld at %s has it %zu times",
                     txn->name, txn->id, (long long)op->key, member_of(books, op->member), found);
        }
    }
    check_rows(books, txn, rows, count);
    if (moves) {
        check_told(books, txn, rows, count);
    }
    if (missing != NULL && count > 0) {
        cli_find(books->findings, CLI_NOT_ATOMIC, "%s (%s, told %s): %s holds it, and %s does not",
                 txn->name, txn->id, cli_told_name(txn->told), member_of(books, rows[0]->member),
                 member_of(books, missing->member));
    }
}

static void check_ledgers(const struct books *books)
{
    size_t at = 0;
    for (size_t i = 0; i < books->history->count; i++) {
        const struct cli_txn *txn = books->txns[i];
        size_t end;
        int order = -1;
        while (at < books->row_count && (order = strcmp(books->rows[at]->txn, txn->name)) < 0) {
            cli_find(books->findings, CLI_UNASKED,
                     "%s: a ledger row at %s, and nobody asked for it", books->rows[at]->txn,
                     member_of(books, books->rows[at]->member));
            at++;
        }
        end = at;
        while (end < books->row_count && strcmp(books->rows[end]->txn, txn->name) == 0) {
            end++;
        }
        check_transfer(books, txn, books->rows + at, end - at);
        at = end;
    }
    for (; at < books->row_count; at++) {
        cli_find(books->findings, CLI_UNASKED, "%s: a ledger row at %s, and nobody asked for it",
                 books->rows[at]->txn, member_of(books, books->rows[at]->member));
    }
}

/* ---- Balances ---- */

static void check_balances(const struct books *books, unsigned member, int64_t *sum)
{
    const struct cli_final *final = &books->history->final;
    size_t count = final->account_counts[member];
    int64_t *moved = tpc_must_calloc(count + 1, sizeof(*moved));
    for (size_t i = 0; i < final->row_count; i++) {
        const struct cli_row *row = &final->rows[i];
        if (row->member == member && row->account >= 1 && (size_t)row->account <= count) {
            moved[row->account - 1] += row->amount;
        }
    }
    for (size_t i = 0; i < count; i++) {
        int64_t balance = final->balances[member][i];
        *sum += balance - books->history->balance;
        if (balance - books->history->balance != moved[i]) {
            cli_find(books->findings, CLI_LEDGER,
                     "account %zu at %s: changed by %lld, its ledger rows say %lld", i + 1,
                     member_of(books, member), (long long)(balance - books->history->balance),
                     (long long)moved[i]);
        }
        if (balance < 0) {
            cli_find(books->findings, CLI_OVERDRAWN, "account %zu at %s: %lld", i + 1,
                     member_of(books, member), (long long)balance);
        }
    }
    free(moved);
}

static void check_final(const struct books *books)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < books->history->member_count; i++) {
        check_balances(books, i, &sum);
    }
    if (sum != 0) {
        cli_find(books->findings, CLI_MONEY, "there is %lld %s than there was",
                 (long long)(sum > 0 ? sum : -sum), sum > 0 ? "more" : "less");
    }
}

/* ---- What was read while it ran ---- */

/* Values: of each account its balance, then the sum of its ledger rows. Returns what all differ
 * from the beginning. */
static int64_t check_balances_read(const struct cli_history *history, const struct cli_txn *txn,
                                   const struct cli_op *op, struct cli_findings *findings)
{
    int64_t sum = 0;
    for (size_t i = 0; i + 1 < op->count; i += 2) {
        int64_t balance = op->values[i], rows = op->values[i + 1];
        sum += balance - history->balance;
        if (balance - history->balance != rows) {
            cli_find(findings, CLI_LEDGER,
                     "%s (%s) read account %zu at %s as changed by %lld, with ledger rows of %lld",
                     txn->name, txn->id, i / 2 + 1, history->members[op->member],
                     (long long)(balance - history->balance), (long long)rows);
        }
        if (balance < 0) {
            cli_find(findings, CLI_OVERDRAWN, "%s (%s) read %lld in account %zu at %s", txn->name,
                     txn->id, (long long)balance, i / 2 + 1, history->members[op->member]);
        }
    }
    return sum;
}

static void check_reads(const struct cli_history *history, const struct cli_txn *txn,
                        struct cli_findings *findings)
{
    unsigned members = 0;
    int64_t sum = 0;
    for (size_t i = 0; i < txn->op_count; i++) {
        const struct cli_op *op = &txn->ops[i];
        if (op->kind == CLI_OP_BALANCES && op->seen) {
            sum += check_balances_read(history, txn, op, findings);
            members++;
        }
    }
    if (members == history->member_count && sum != 0) {
        cli_find(findings, CLI_FRACTURED, "%s (%s) read %lld %s than there is at all participants",
                 txn->name, txn->id, (long long)(sum > 0 ? sum : -sum), sum > 0 ? "more" : "less");
    }
}

void cli_check_bank(const struct cli_history *history, struct cli_findings *findings)
{
    for (size_t i = 0; i < history->count; i++) {
        check_reads(history, &history->txns[i], findings);
    }
    if (!history->final.has_bank) {
        return;
    }
    struct books books;
    init_books(&books, history, findings);
    check_ledgers(&books);
    check_final(&books);
    free(books.txns);
    free(books.rows);
}
