/* The SQLite store: one file, DIR/log.db, in WAL mode, for one process.
 *
 *   meta    one row: format, role, id, generation, nonce, wal_follows
 *   record  lsn (ascending), gtid (a copy of the record's, for the index), data (record.h)
 *
 * Every transaction is durable when it returns (synchronous=FULL). So each was on disk before the
 * next began, and a hole in log.db-wal is damage, never an unfinished write (sqlite_journal.h).
 *
 * Three things make a log that lost something look different from a whole one:
 *
 * - IDENTITY says that there is a log, which, and a generation that it has at least. A start makes
 *   the next generation durable in the log first and in IDENTITY after it, so after a crash
 *   IDENTITY may lag behind the log, and a log that lags behind IDENTITY was set back.
 * - SQLite holds log.db-wal for optional: without it, log.db is a database, only an older one. So
 *   just before pages are copied from the one to the other, wal_follows becomes 1, and just after
 *   it becomes 0 again, which stays in log.db-wal. Whoever reads 1 and finds no log.db-wal knows
 *   that it was deleted. A clean end, or a visit by the sqlite3 shell, copies the 0 as well and
 *   may then delete log.db-wal.
 * - Every record has its own checksum, and the pages are walked at each start.
 *
 * This header is for the files of this store: store_sqlite_open.c brings it to life,
 * store_sqlite_check.c walks its pages, store_sqlite_read.c reads its records, store_sqlite.c is
 * its daily work. */
#ifndef ASSENT_WAL_STORE_SQLITE_H
#define ASSENT_WAL_STORE_SQLITE_H

#include "wal/wal.h"

#include <pthread.h>
#include <sqlite3.h>

enum wal_sqlite_statement {
    WAL_SQLITE_BEGIN,
    WAL_SQLITE_COMMIT,
    WAL_SQLITE_INSERT,
    WAL_SQLITE_ERASE,
    WAL_SQLITE_FOLLOWS,
    WAL_SQLITE_STATEMENTS
};

struct wal_sqlite_check; /* store_sqlite_check.c */

struct wal_sqlite {
    struct wal_store store; /* first */
    char *path;             /* of the directory */
    int lock_fd;
    sqlite3 *db;
    sqlite3_stmt *statements[WAL_SQLITE_STATEMENTS];
    struct wal_failpoints failpoints;
    sqlite3_int64 last_lsn;
    uint32_t checkpoint_pages, journal_pages, check_beside_pages;
    struct wal_sqlite_check *check; /* NULL: none is under way */
    struct tpc_err failure;         /* poisoned when its rc is not TPC_OK */
    struct tpc_err damage;          /* what the check beside the scan found */

    /* The journal's methods with our xSync before SQLite's own, for the failpoint in between. */
    sqlite3_io_methods journal_methods;
    const sqlite3_io_methods *journal_below;
    bool forcing;
};

#define WAL_SQLITE_RESTORE "restore the whole directory from a backup; delete nothing"

/* The failure of SQLite's last call in our words; @doing as in "open". */
enum tpc_rc wal_sqlite_fail(const struct wal_sqlite *log, const char *doing,
                            struct tpc_err *reterr);
/* Once the tables are there and the journal is open: keep the statements and count the frames. */
TPC_NODISCARD enum tpc_rc wal_sqlite_prepare(struct wal_sqlite *log, struct tpc_err *reterr);
/* The first row's first column in @out, "nothing" when there is none. To the end of what was asked:
 * some pragmas write, and it is there that they fail. */
TPC_NODISCARD enum tpc_rc wal_sqlite_ask(const struct wal_sqlite *log, const char *sql, char *out,
                                         size_t out_size, struct tpc_err *reterr);
/* Walk the pages, now. */
TPC_NODISCARD enum tpc_rc wal_sqlite_check(const struct wal_sqlite *log, struct tpc_err *reterr);
/* Walk those of log.db alone, beside what follows, or now where that cannot be. Until the end
 * nothing may be copied to it. */
TPC_NODISCARD enum tpc_rc wal_sqlite_check_begin(struct wal_sqlite *log, struct tpc_err *reterr);
/* Wait for what it says, unless none was begun: that is in log->damage, and in log->failure, for a
 * damaged log takes nothing any more. With @abandon nobody wants to know. */
void wal_sqlite_check_end(struct wal_sqlite *log, bool abandon);
/* The store's scan. The records of a log that is being walked are read ahead by a thread. */
TPC_NODISCARD enum tpc_rc wal_sqlite_scan(struct wal_store *store,
                                          enum tpc_rc (*visit)(void *arg, uint64_t lsn,
                                                               const void *data, size_t size,
                                                               struct tpc_err *reterr),
                                          void *arg, struct tpc_err *reterr);
/* A thread that takes no signals, which are for the loop thread. False: there is none. */
bool wal_sqlite_thread(pthread_t *ret_thread, void *(*run)(void *arg), void *arg, const char *name);
/* Copy everything from log.db-wal to log.db, durably; the next write begins log.db-wal anew. */
TPC_NODISCARD bool wal_sqlite_copy_journal(struct wal_sqlite *log);
/* Also of one that was opened in part. */
void wal_sqlite_close(struct wal_store *store);
extern const struct wal_store_ops wal_sqlite_ops;

#endif
