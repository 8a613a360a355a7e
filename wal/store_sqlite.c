#include "wal/store_sqlite.h"

#include "base/tpc_assert.h"
#include "wal/directory.h"
#include "wal/record.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const statement_sql[WAL_SQLITE_STATEMENTS] = {
    [WAL_SQLITE_BEGIN] = "BEGIN IMMEDIATE",
    [WAL_SQLITE_COMMIT] = "COMMIT",
    [WAL_SQLITE_INSERT] = "INSERT INTO record(lsn, gtid, data) VALUES(?1, ?2, ?3)",
    /* Asks the record as well: a damaged index shall not lead to another transaction's. */
    [WAL_SQLITE_ERASE] = "DELETE FROM record WHERE gtid = ?1 AND substr(data, 9, 16) = ?1",
    [WAL_SQLITE_FOLLOWS] = "UPDATE meta SET wal_follows = ?1",
};

/* ---- errors and small helpers ---- */

/* The failure of the last call of SQLite in our words; @doing as in "cannot open". */
enum tpc_rc wal_sqlite_fail(const struct wal_sqlite *log, const char *doing, struct tpc_err *reterr)
{
    const int code = log->db == NULL ? SQLITE_NOMEM : sqlite3_extended_errcode(log->db);
    const char *words = log->db == NULL ? sqlite3_errstr(code) : sqlite3_errmsg(log->db);
    const int error = log->db == NULL ? 0 : sqlite3_system_errno(log->db);
    const char *reason = error == 0 ? "" : strerror(error);

    switch (code & 0xff) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return tpc_fail(reterr, TPC_ECORRUPT, "%s/log.db is damaged (%s): " WAL_SQLITE_RESTORE,
                        log->path, words);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return tpc_fail(reterr, TPC_EBUSY,
                        "%s/log.db is in use by another program, a database shell or a backup: "
                        "end that one first",
                        log->path);
    case SQLITE_NOMEM:
        return tpc_fail(reterr, TPC_ENOMEM, "cannot %s %s/log.db: out of memory", doing, log->path);
    default:
        return tpc_fail(reterr, TPC_EIO,
                        "cannot %s %s/log.db: %s%s%s: see to the disk, its room and the access "
                        "rights, then start again",
                        doing, log->path, words, error == 0 ? "" : ": ", reason);
    }
}

static bool run(const struct wal_sqlite *log, enum wal_sqlite_statement which)
{
    sqlite3_stmt *statement = log->statements[which];
    const int code = sqlite3_step(statement);

    /* Reset repeats the code, and leaves the message with the connection. */
    return sqlite3_reset(statement) == SQLITE_OK && code == SQLITE_DONE;
}

/* Nobody knows what is on disk: nothing more is written in this life. */
static enum tpc_rc poison(struct wal_sqlite *log, enum tpc_rc rc, const char *words,
                          struct tpc_err *reterr)
{
    if (log->failure.rc == TPC_OK) {
        (void)tpc_fail(&log->failure, rc,
                       "%s; whether the last records are durable is unknown, and the next start "
                       "reads what is there",
                       words);
    }
    return tpc_fail(reterr, log->failure.rc, "%s", log->failure.text);
}

static enum tpc_rc poison_by_sqlite(struct wal_sqlite *log, const char *doing,
                                    struct tpc_err *reterr)
{
    struct tpc_err err = {0};
    const enum tpc_rc rc = wal_sqlite_fail(log, doing, &err);

    return poison(log, rc, err.text, reterr);
}

/* ---- appending ---- */

static int journal_sync(sqlite3_file *file, int flags)
{
    struct wal_sqlite *log = (struct wal_sqlite *)((char *)file->pMethods -
                                                   offsetof(struct wal_sqlite, journal_methods));

    /* The records are written and not yet durable: if we crash here they are there or not, and
     * nobody was told. */
    if (log->forcing && tpc_fp_hit(log->failpoints.force)) {
        return SQLITE_IOERR_FSYNC;
    }
    return log->journal_below->xSync(file, flags);
}

/* The journal's file stays open as long as the connection. */
static enum tpc_rc watch_journal(struct wal_sqlite *log, struct tpc_err *reterr)
{
    sqlite3_file *file = NULL;

    if (sqlite3_file_control(log->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file) != SQLITE_OK ||
        file == NULL || file->pMethods == NULL) {
        return wal_sqlite_fail(log, "watch", reterr);
    }
    log->journal_below = file->pMethods;
    log->journal_methods = *file->pMethods;
    log->journal_methods.xSync = journal_sync;
    file->pMethods = &log->journal_methods;
    return TPC_OK;
}

static int on_commit(void *arg, sqlite3 *db, const char *name, int frames)
{
    struct wal_sqlite *log = arg;

    (void)db;
    (void)name;
    log->journal_pages = (uint32_t)frames;
    return SQLITE_OK;
}

enum tpc_rc wal_sqlite_prepare(struct wal_sqlite *log, struct tpc_err *reterr)
{
    for (int i = 0; i < WAL_SQLITE_STATEMENTS; i++) {
        if (sqlite3_prepare_v3(log->db, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &log->statements[i], NULL) != SQLITE_OK) {
            return wal_sqlite_fail(log, "prepare to write", reterr);
        }
    }
    /* In place of wal_autocheckpoint, which knows nothing of wal_follows. */
    (void)sqlite3_wal_hook(log->db, on_commit, log);
    return watch_journal(log, reterr);
}

static bool set_wal_follows(struct wal_sqlite *log, int value)
{
    sqlite3_stmt *statement = log->statements[WAL_SQLITE_FOLLOWS];

    return sqlite3_bind_int(statement, 1, value) == SQLITE_OK && run(log, WAL_SQLITE_FOLLOWS);
}

bool wal_sqlite_copy_journal(struct wal_sqlite *log)
{
    int frames = 0, copied = 0;

    return sqlite3_wal_checkpoint_v2(log->db, "main", SQLITE_CHECKPOINT_RESTART, &frames,
                                     &copied) == SQLITE_OK &&
           frames == copied;
}

/* A crash before the copy is complete: log.db-wal is whole and says everything. Between the copy
 * and the 0: log.db says 1, and log.db-wal is still there. */
static bool checkpoint(struct wal_sqlite *log)
{
    return set_wal_follows(log, 1) && wal_sqlite_copy_journal(log) && set_wal_follows(log, 0);
}

static bool insert(struct wal_sqlite *log, const struct wal_entry *entry)
{
    sqlite3_stmt *statement = log->statements[WAL_SQLITE_INSERT];
    const uint8_t *data = entry->data;
    bool good;

    TPC_ASSERT(entry->size >= WAL_RECORD_MIN && entry->size <= WAL_RECORD_MAX);
    good = sqlite3_bind_int64(statement, 1, ++log->last_lsn) == SQLITE_OK &&
           sqlite3_bind_blob(statement, 2, data + WAL_RECORD_GTID_OFFSET, sizeof(struct tpc_id),
                             SQLITE_STATIC) == SQLITE_OK &&
           sqlite3_bind_blob(statement, 3, data, (int)entry->size, SQLITE_STATIC) == SQLITE_OK &&
           run(log, WAL_SQLITE_INSERT);
    (void)sqlite3_clear_bindings(statement);
    return good;
}

static bool erase(struct wal_sqlite *log, const struct wal_entry *entry)
{
    sqlite3_stmt *statement = log->statements[WAL_SQLITE_ERASE];
    bool good = true;

    for (size_t i = 0; good && i < entry->erase_count; i++) {
        good = sqlite3_bind_blob(statement, 1, entry->erase[i].bytes, sizeof entry->erase[i].bytes,
                                 SQLITE_STATIC) == SQLITE_OK &&
               run(log, WAL_SQLITE_ERASE);
    }
    (void)sqlite3_clear_bindings(statement);
    return good;
}

static bool write_entries(struct wal_sqlite *log, const struct wal_entry *entries, size_t count,
                          bool force)
{
    bool good = run(log, WAL_SQLITE_BEGIN);

    for (size_t i = 0; good && i < count; i++) {
        good = entries[i].data == NULL ? erase(log, &entries[i]) : insert(log, &entries[i]);
    }
    if (good) {
        log->forcing = force;
        good = run(log, WAL_SQLITE_COMMIT);
        log->forcing = false;
    }
    return good;
}

static enum tpc_rc sqlite_append(struct wal_store *store, const struct wal_entry *entries,
                                 size_t count, bool force, struct tpc_err *reterr)
{
    struct wal_sqlite *log = (struct wal_sqlite *)store;

    wal_sqlite_check_end(log, false);
    if (log->failure.rc != TPC_OK) {
        return tpc_fail(reterr, log->failure.rc, "%s", log->failure.text);
    }
    if (tpc_fp_hit(log->failpoints.append)) {
        return poison(log, TPC_EIO, "cannot write the log: the failpoint says so", reterr);
    }
    if (!write_entries(log, entries, count, force)) {
        return poison_by_sqlite(log, "write", reterr);
    }
    /* The records are durable: if we crash here recovery finds them, though nobody was told. */
    if (force && tpc_fp_hit(log->failpoints.forced)) {
        return poison(log, TPC_EIO, "cannot tell of a forced record: the failpoint says so",
                      reterr);
    }
    /* These records are durable whatever becomes of the checkpoint; only later ones fail then. */
    if (log->journal_pages >= log->checkpoint_pages && !checkpoint(log)) {
        (void)poison_by_sqlite(log, "checkpoint", NULL);
    }
    return TPC_OK;
}

static enum tpc_rc sqlite_erase(struct wal_store *store, const struct tpc_id *gtids, size_t count,
                                struct tpc_err *reterr)
{
    const struct wal_entry entry = {.erase = gtids, .erase_count = count};

    return sqlite_append(store, &entry, 1, false, reterr);
}

void wal_sqlite_close(struct wal_store *store)
{
    struct wal_sqlite *log = (struct wal_sqlite *)store;

    wal_sqlite_check_end(log, true);
    for (int i = 0; i < WAL_SQLITE_STATEMENTS; i++) {
        (void)sqlite3_finalize(log->statements[i]);
    }
    if (log->db != NULL) {
        if (log->failure.rc != TPC_OK || store->ops == NULL) {
            /* SQLite would copy what it believes in and delete log.db-wal; but after a failure
             * only a new start may decide what is there. */
            (void)sqlite3_db_config(log->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        }
        (void)sqlite3_close(log->db);
    }
    if (log->lock_fd >= 0) {
        (void)close(log->lock_fd);
    }
    free(log->path);
    free(log);
}

static bool sqlite_set_back(struct wal_store *store, const char *why)
{
    const struct wal_sqlite *log = (const struct wal_sqlite *)store;

    return wal_set_back_write(log->path, why, NULL) == TPC_OK;
}

const struct wal_store_ops wal_sqlite_ops = {
    .append = sqlite_append,
    .scan = wal_sqlite_scan,
    .erase = sqlite_erase,
    .set_back = sqlite_set_back,
    .close = wal_sqlite_close,
};
