#include "tests/support/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PRINTED_MAX = 20 };

void sup_object(struct sup_report *report, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(report->last, sizeof report->last, format, args);
    va_end(args);
    if (!report->quiet && report->count < PRINTED_MAX) {
        (void)fprintf(stderr, "violation: %s\n", report->last);
    } else if (!report->quiet && report->count == PRINTED_MAX) {
        (void)fprintf(stderr, "violation: more of them\n");
    }
    report->count++;
}

/* ---- Atomic ---- */

static void check_legs(const struct sup_row *rows, size_t count, struct sup_report *report)
{
    if (count != 2) {
        sup_object(report, "%s: %zu of 2 legs are there, the first at bank %u", rows[0].name, count,
                   rows[0].leg.bank);
    } else if (!rows[0].from || rows[1].from || rows[0].amount + rows[1].amount != 0) {
        sup_object(report, "%s: the legs %lld and %lld do not belong together", rows[0].name,
                   (long long)rows[0].amount, (long long)rows[1].amount);
    }
}

void sup_check_atomic(const struct sup_books *books, struct sup_report *report)
{
    for (size_t i = 0; i < books->row_count;) {
        size_t count;
        const struct sup_row *rows = sup_books_find(books, books->rows[i].name, &count);
        check_legs(rows, count, report);
        i += count;
    }
}

/* ---- Told = held ---- */

static bool is_leg(const struct sup_row *row, const struct sup_leg *leg, int64_t amount)
{
    return row->leg.bank == leg->bank && row->leg.account == leg->account && row->amount == amount;
}

static void check_transfer(const struct sup_transfer *transfer, const struct sup_row *rows,
                           size_t count, struct sup_report *report)
{
    static const char *const words[] = {[SUP_TOLD_ABORTED] = "told aborted",
                                        [SUP_TOLD_NOT_STARTED] = "told that nothing was started"};
    switch (transfer->told) {
    case SUP_TOLD_COMMITTED:
        if (count == 0) {
            sup_object(report, "%s (%s): told committed, and no bank holds it", transfer->name,
                       transfer->id);
        }
        break;
    case SUP_TOLD_ABORTED:
    case SUP_TOLD_NOT_STARTED:
        if (count != 0) {
            sup_object(report, "%s (%s): %s (HTTP %d %s), and bank %u holds it", transfer->name,
                       transfer->id, words[transfer->told], transfer->status, transfer->cause,
                       rows[0].leg.bank);
        }
        break;
    case SUP_TOLD_UNKNOWN:
    default:
        break;
    }
    if (count == 2 && (!is_leg(&rows[0], &transfer->from, -transfer->amount) ||
                       !is_leg(&rows[1], &transfer->to, transfer->amount))) {
        sup_object(report, "%s: held otherwise than it was asked for", transfer->name);
    }
}

void sup_check_told(const struct sup_books *books, const struct sup_history *history,
                    struct sup_report *report)
{
    size_t known = 0;
    for (size_t i = 0; i < history->count; i++) {
        size_t count;
        const struct sup_row *rows = sup_books_find(books, history->items[i].name, &count);
        check_transfer(&history->items[i], rows, count, report);
        known += count;
    }
    if (known != books->row_count) {
        sup_object(report, "%zu ledger rows are of no transfer that was asked for",
                   books->row_count - known);
    }
}

/* ---- Exactly once ---- */

static void check_bank(const struct sup_books *books, unsigned index, struct sup_report *report)
{
    const struct sup_bank *bank = &books->banks[index];
    int64_t *expected = calloc(bank->account_count + 1, sizeof *expected);
    if (expected == NULL) {
        sup_die("out of memory");
    }
    for (size_t i = 0; i < books->row_count; i++) {
        const struct sup_leg *leg = &books->rows[i].leg;
        if (leg->bank != index) {
            continue;
        }
        if (leg->account < 1 || leg->account > bank->account_count) {
            sup_object(report, "%s: no account %u at bank %u", books->rows[i].name, leg->account,
                       index);
            continue;
        }
        expected[leg->account - 1] += books->rows[i].amount;
    }
    for (size_t i = 0; i < bank->account_count; i++) {
        int64_t moved = bank->balances[i] - books->initial_balance;
        if (moved != expected[i]) {
            sup_object(report, "bank %u account %zu: changed by %lld, its ledger rows say %lld",
                       index, i + 1, (long long)moved, (long long)expected[i]);
        }
    }
    free(expected);
    if (bank->markers_twice != 0) {
        sup_object(report, "bank %u: %llu markers are there more than once", index,
                   (unsigned long long)bank->markers_twice);
    }
}

void sup_check_once(const struct sup_books *books, struct sup_report *report)
{
    for (unsigned i = 0; i < books->bank_count; i++) {
        check_bank(books, i, report);
    }
}

void sup_check_sum(const struct sup_books *books, struct sup_report *report)
{
    int64_t sum = 0, expected = 0;
    for (unsigned i = 0; i < books->bank_count; i++) {
        for (size_t j = 0; j < books->banks[i].account_count; j++) {
            sum += books->banks[i].balances[j];
            expected += books->initial_balance;
        }
    }
    if (sum != expected) {
        sup_object(report, "there were %lld in all, and there are %lld", (long long)expected,
                   (long long)sum);
    }
}

/* ---- Answers ---- */

static bool has_word(const char *words, const char *word)
{
    size_t size = strlen(word);
    for (const char *at = words; size > 0 && (at = strstr(at, word)) != NULL; at += size) {
        if ((at == words || at[-1] == ' ') && (at[size] == ' ' || at[size] == '\0')) {
            return true;
        }
    }
    return false;
}

void sup_check_answers(const struct sup_history *history, const char *causes,
                       struct sup_report *report)
{
    for (size_t i = 0; i < history->count; i++) {
        const struct sup_transfer *transfer = &history->items[i];
        switch (transfer->status) {
        case 0:
        case 200:
        case 201:
        case 202:
        case 404:
        case 503:
            break;
        case 409:
            if (causes != NULL && !has_word(causes, transfer->cause)) {
                sup_object(report, "%s (%s): refused because of '%s'", transfer->name, transfer->id,
                           transfer->cause);
            }
            break;
        default:
            sup_object(report, "%s (%s): HTTP %d", transfer->name, transfer->id, transfer->status);
        }
    }
}
