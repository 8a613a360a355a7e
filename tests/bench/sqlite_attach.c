/* usage: sqlite_attach MODE DIRECTORY ACCOUNTS WARM_UP_MS RUN_MS
 *
 * The yardstick for SQLite: the same transfers by one process, which has both files attached to one
 * connection and changes them in one transaction. MODE is the journal mode: `delete`, with which
 * that is atomic across the files, or `wal`, with which it is not when the machine fails in between
 * (sqlite.org/lang_attach.html). */
#include "tests/bench/yardstick.h"

#include "base/clock.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

enum { BALANCE = 1000000 };

static sqlite3 *database;

static void run(const char *sql)
{
    char *error = NULL;
    if (sqlite3_exec(database, sql, NULL, NULL, &error) != SQLITE_OK) {
        yardstick_die("%s: %s", sql, error);
    }
}

static sqlite3_stmt *compile(const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v3(database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) !=
        SQLITE_OK) {
        yardstick_die("%s: %s", sql, sqlite3_errmsg(database));
    }
    return statement;
}

static void step(sqlite3_stmt *statement, int wanted)
{
    if (sqlite3_step(statement) != wanted) {
        yardstick_die("%s: %s", sqlite3_sql(statement), sqlite3_errmsg(database));
    }
}

static void make(const char *schema, const char *mode, unsigned accounts)
{
    char sql[600];
    (void)snprintf(sql, sizeof sql,
                   "PRAGMA %s.journal_mode = %s; PRAGMA %s.synchronous = FULL;"
                   "CREATE TABLE %s.accounts (id INTEGER PRIMARY KEY, balance BIGINT NOT NULL);"
                   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %u)"
                   " INSERT INTO %s.accounts SELECT i, %d FROM n",
                   schema, mode, schema, schema, accounts, schema, BALANCE);
    run(sql);
}

static void check(unsigned accounts)
{
    sqlite3_stmt *sum = compile("SELECT (SELECT sum(balance) FROM east.accounts) +"
                                " (SELECT sum(balance) FROM west.accounts)");
    step(sum, SQLITE_ROW);
    if (sqlite3_column_int64(sum, 0) != 2LL * accounts * BALANCE) {
        yardstick_die("money was made or lost");
    }
    (void)sqlite3_finalize(sum);
}

static void transfer(sqlite3_stmt *const statements[4], unsigned accounts)
{
    for (unsigned i = 0; i < 4; i++) {
        if (i == 1 || i == 2) {
            unsigned account;
            sqlite3_randomness(sizeof account, &account);
            (void)sqlite3_bind_int64(statements[i], 1, 1 + account % accounts);
        }
        step(statements[i], SQLITE_DONE);
        (void)sqlite3_reset(statements[i]);
    }
}

int main(int argc, char **argv)
{
    static struct yardstick yardstick;
    char sql[600];
    if (argc != 6 || (strcmp(argv[1], "delete") != 0 && strcmp(argv[1], "wal") != 0)) {
        yardstick_die("usage: sqlite_attach delete|wal DIRECTORY ACCOUNTS WARM_UP_MS RUN_MS");
    }
    unsigned accounts = yardstick_number(argv[3]);
    if (sqlite3_open(":memory:", &database) != SQLITE_OK) {
        yardstick_die("no memory");
    }
    (void)snprintf(sql, sizeof sql,
                   "ATTACH '%.250s/east.db' AS east; ATTACH '%.250s/west.db' AS west", argv[2],
                   argv[2]);
    run(sql);
    make("east", argv[1], accounts);
    make("west", argv[1], accounts);
    sqlite3_stmt *const statements[4] = {
        compile("BEGIN IMMEDIATE"),
        compile("UPDATE east.accounts SET balance = balance - 1 WHERE id = ?"),
        compile("UPDATE west.accounts SET balance = balance + 1 WHERE id = ?"), compile("COMMIT")};
    yardstick_begin(&yardstick, yardstick_number(argv[4]), yardstick_number(argv[5]));
    uint64_t now_us;
    while ((now_us = tpc_clock_mono_us()) < yardstick.to_us) {
        transfer(statements, accounts);
        yardstick_commit(&yardstick, now_us);
    }
    check(accounts);
    for (unsigned i = 0; i < 4; i++) {
        (void)sqlite3_finalize(statements[i]);
    }
    (void)sqlite3_close(database);
    yardstick_print(&yardstick);
    return 0;
}
