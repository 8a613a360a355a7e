#include "tests/support/books.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUSY_MS = 5000 };

static sqlite3_stmt *query(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        sup_die("%s: %s", sql, sqlite3_errmsg(db));
    }
    return stmt;
}

static bool next(sqlite3_stmt *stmt)
{
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        sup_die("%s: %s", sqlite3_sql(stmt), sqlite3_errmsg(sqlite3_db_handle(stmt)));
    }
    return rc == SQLITE_ROW;
}

static int64_t number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = query(db, sql);
    int64_t value = next(stmt) ? sqlite3_column_int64(stmt, 0) : 0;
    sqlite3_finalize(stmt);
    return value;
}

static void *grow(void *items, size_t count, size_t size)
{
    if (count > 0 && (count & (count - 1)) != 0) {
        return items; /* room up to the next power of two */
    }
    void *more = realloc(items, (count == 0 ? 1 : 2 * count) * size);
    if (more == NULL) {
        sup_die("out of memory");
    }
    return more;
}

static void read_balances(sqlite3 *db, struct sup_bank *bank)
{
    sqlite3_stmt *stmt = query(db, "SELECT id, balance FROM accounts ORDER BY id");
    while (next(stmt)) {
        bank->balances = grow(bank->balances, bank->account_count, sizeof *bank->balances);
        bank->balances[bank->account_count++] = sqlite3_column_int64(stmt, 1);
        if (sqlite3_column_int64(stmt, 0) != (int64_t)bank->account_count) {
            sup_die("the accounts are not numbered from 1 on");
        }
    }
    sqlite3_finalize(stmt);
}

static void read_ledger(sqlite3 *db, unsigned bank, struct sup_books *books)
{
    sqlite3_stmt *stmt = query(db, "SELECT txn, leg, amount FROM ledger");
    while (next(stmt)) {
        books->rows = grow(books->rows, books->row_count, sizeof *books->rows);
        struct sup_row *row = &books->rows[books->row_count++];
        const char *leg = (const char *)sqlite3_column_text(stmt, 1);
        const char *account = strchr(leg, ':');
        (void)snprintf(row->name, sizeof row->name, "%s",
                       (const char *)sqlite3_column_text(stmt, 0));
        row->from = strncmp(leg, "from:", 5) == 0;
        row->leg.bank = bank;
        row->leg.account = account != NULL ? (unsigned)strtoul(account + 1, NULL, 10) : 0;
        row->amount = sqlite3_column_int64(stmt, 2);
    }
    sqlite3_finalize(stmt);
}

static void read_markers(sqlite3 *db, struct sup_bank *bank)
{
    if (number(db, "SELECT count(*) FROM sqlite_schema WHERE name = '_assent_applied'") == 0) {
        return;
    }
    bank->markers = (uint64_t)number(db, "SELECT count(*) FROM _assent_applied");
    bank->markers_twice =
        (uint64_t)number(db, "SELECT count(*) - count(DISTINCT gtid) FROM _assent_applied");
}

static int compare(const void *a, const void *b)
{
    const struct sup_row *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : (int)y->from - (int)x->from;
}

void sup_books_read(struct sup_books *books, const struct sup_world *world)
{
    *books = (struct sup_books){.initial_balance = world->options.balance,
                                .bank_count = world->options.agents};
    for (unsigned i = 0; i < books->bank_count; i++) {
        const char *path = world->agents[i].db_path;
        sqlite3 *db;
        if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK) {
            sup_die("%s: %s", path, sqlite3_errmsg(db));
        }
        sqlite3_busy_timeout(db, BUSY_MS);
        (void)number(db, "BEGIN"); /* all of a bank as it was in one instant */
        read_balances(db, &books->banks[i]);
        read_ledger(db, i, books);
        read_markers(db, &books->banks[i]);
        sqlite3_close(db);
    }
    if (books->row_count > 0) {
        qsort(books->rows, books->row_count, sizeof *books->rows, compare);
    }
}

void sup_books_done(struct sup_books *books)
{
    for (unsigned i = 0; i < books->bank_count; i++) {
        free(books->banks[i].balances);
    }
    free(books->rows);
    *books = (struct sup_books){0};
}

const struct sup_row *sup_books_find(const struct sup_books *books, const char *name,
                                     size_t *ret_count)
{
    size_t low = 0, high = books->row_count, end;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(books->rows[middle].name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (end = low; end < books->row_count && strcmp(books->rows[end].name, name) == 0; end++) {
    }
    *ret_count = end - low;
    return end > low ? &books->rows[low] : NULL;
}

char *sup_books_print(const struct sup_books *books)
{
    struct tpc_buf out = {0};
    for (unsigned i = 0; i < books->bank_count; i++) {
        const struct sup_bank *bank = &books->banks[i];
        for (size_t j = 0; j < bank->account_count; j++) {
            tpc_buf_addf(&out, "bank %u account %zu: %lld\n", i, j + 1,
                         (long long)bank->balances[j]);
        }
    }
    for (size_t i = 0; i < books->row_count; i++) {
        const struct sup_row *row = &books->rows[i];
        tpc_buf_addf(&out, "%s %s %u/%u %lld\n", row->name, row->from ? "from" : "to",
                     row->leg.bank, row->leg.account, (long long)row->amount);
    }
    tpc_buf_adds(&out, "end\n");
    return tpc_buf_take(&out);
}
