/* Bringing the SQLite store to life: find out whether what lies in the directory is our log, whole
 * and the newest, or make one, and begin the next generation.
 *
 * Making one goes IDENTITY with generation 0, log.db, IDENTITY with generation 1: whoever finds
 * generation 0 knows that nothing was ever served from here, and makes what is missing. */
#include "wal/store_sqlite.h"

#include "base/tpc_assert.h"
#include "wal/directory.h"
#include "wal/sqlite_journal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FORMAT = 1 };
/* 16 MiB: rare enough to cost little, small enough to start fast. */
enum { CHECKPOINT_PAGES = 4000 };
/* 64 MiB: the walk of a smaller one is short beside the rest of a start. */
enum { CHECK_BESIDE_PAGES = 16384, PAGE_SIZE = 4096 };
enum { ANSWER_MAX = 256 };

static const char settings_sql[] = "PRAGMA locking_mode=EXCLUSIVE;"
                                   "PRAGMA cell_size_check=ON;"
                                   "PRAGMA secure_delete=OFF;"
                                   "PRAGMA cache_size=-16384;"
                                   "PRAGMA synchronous=FULL;"
                                   "PRAGMA journal_size_limit=67108864;";

static const char schema_sql[] =
    "CREATE TABLE IF NOT EXISTS meta(one INTEGER PRIMARY KEY CHECK (one = 1),"
    " format INTEGER NOT NULL, role TEXT NOT NULL, id BLOB NOT NULL,"
    " generation INTEGER NOT NULL, nonce BLOB NOT NULL, wal_follows INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS record(lsn INTEGER PRIMARY KEY, gtid BLOB NOT NULL,"
    " data BLOB NOT NULL);"
    "CREATE INDEX IF NOT EXISTS record_gtid ON record(gtid);";

/* The row of the table meta. */
struct meta {
    struct wal_identity_file file;
    sqlite3_int64 format;
    bool wal_follows;
};

/* ---- what lies in the directory ---- */

static off_t file_size(const struct wal_sqlite *log, const char *name)
{
    char path[PATH_MAX];
    struct stat status;

    (void)snprintf(path, sizeof path, "%s/%s", log->path, name);
    return stat(path, &status) == 0 ? status.st_size : -1;
}

static enum tpc_rc make_identity(const struct wal_sqlite *log, const char *role,
                                 struct wal_identity_file *ret_file, struct tpc_err *reterr)
{
    *ret_file = (struct wal_identity_file){0};
    (void)snprintf(ret_file->role, sizeof ret_file->role, "%s", role);
    tpc_id_random(&ret_file->id);
    /* A crash before this is durable leaves an empty directory; after it, generation 0. */
    return wal_identity_write(log->path, ret_file, reterr);
}

/* Read IDENTITY, or make it in a directory that holds no log. */
static enum tpc_rc find_identity(const struct wal_sqlite *log, const char *role,
                                 struct wal_identity_file *ret_file, struct tpc_err *reterr)
{
    enum tpc_rc rc = wal_identity_read(log->path, ret_file, reterr);

    if (rc == TPC_EMISSING) {
        if (file_size(log, "log.db") >= 0 || file_size(log, "log.db-wal") >= 0) {
            return tpc_fail(reterr, TPC_EMISSING,
                            "%s/IDENTITY is missing, though the log is there, so nobody can tell "
                            "whether the log is the newest: " WAL_SQLITE_RESTORE,
                            log->path);
        }
        return make_identity(log, role, ret_file, reterr);
    }
    if (rc != TPC_OK) {
        return rc;
    }
    if (strcmp(ret_file->role, role) != 0) {
        return tpc_fail(reterr, TPC_EINVAL,
                        "%s is the data directory of a %s, and this is a %s: give it a data "
                        "directory of its own",
                        log->path, ret_file->role, role);
    }
    if (ret_file->generation > 0 && file_size(log, "log.db") <= 0) {
        return tpc_fail(reterr, TPC_EMISSING,
                        "%s/log.db is %s, but %s/IDENTITY says that there is a log, in generation "
                        "%" PRIu64 ": " WAL_SQLITE_RESTORE,
                        log->path, file_size(log, "log.db") < 0 ? "missing" : "empty", log->path,
                        ret_file->generation);
    }
    return TPC_OK;
}

static enum tpc_rc look_at_journal(const struct wal_sqlite *log, enum wal_journal_state *ret_state,
                                   struct tpc_err *reterr)
{
    char name[PATH_MAX];
    uint64_t frame;
    enum tpc_rc rc;

    (void)snprintf(name, sizeof name, "%s/log.db-wal", log->path);
    rc = wal_journal_look(name, ret_state, &frame, reterr);
    if (rc == TPC_OK && *ret_state == WAL_JOURNAL_HOLE) {
        rc = tpc_fail(reterr, TPC_ECORRUPT,
                      "%s is damaged (frame %" PRIu64 " of it): " WAL_SQLITE_RESTORE, name, frame);
    }
    return rc;
}

/* ---- the database ---- */

static enum tpc_rc execute(const struct wal_sqlite *log, const char *sql, struct tpc_err *reterr)
{
    if (sqlite3_exec(log->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        return wal_sqlite_fail(log, "open", reterr);
    }
    return TPC_OK;
}

/* The answer to @sql is @expected. */
static enum tpc_rc insist(const struct wal_sqlite *log, const char *sql, const char *expected,
                          enum tpc_rc otherwise, const char *words, struct tpc_err *reterr)
{
    char found[ANSWER_MAX];
    enum tpc_rc rc = wal_sqlite_ask(log, sql, found, sizeof found, reterr);

    if (rc == TPC_OK && strcmp(found, expected) != 0) {
        rc = tpc_fail(reterr, otherwise, "%s/log.db %s (%s)", log->path, words, found);
    }
    return rc;
}

/* For its owner only, whatever the umask; SQLite gives log.db-wal the same mode. */
static void make_private(const char *name)
{
    const int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd >= 0) {
        (void)close(fd); /* SQLite says what is wrong when it could not be made */
    }
}

static enum tpc_rc open_database(struct wal_sqlite *log, bool create, struct tpc_err *reterr)
{
    char name[PATH_MAX];
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                      (create ? SQLITE_OPEN_CREATE : 0);
    enum tpc_rc rc;

    (void)snprintf(name, sizeof name, "%s/log.db", log->path);
    if (create) {
        make_private(name);
    }
    if (sqlite3_open_v2(name, &log->db, flags, NULL) != SQLITE_OK) {
        return wal_sqlite_fail(log, "open", reterr);
    }
    rc = execute(log, settings_sql, reterr);
    if (rc == TPC_OK && !create) {
        /* Asked before it is set, which would change what somebody else may want back. */
        rc = insist(log, "PRAGMA journal_mode", "wal", TPC_ECORRUPT,
                    "is damaged or was put there by another program: " WAL_SQLITE_RESTORE, reterr);
    }
    if (rc == TPC_OK) {
        rc = insist(log, "PRAGMA journal_mode=WAL", "wal", TPC_EIO,
                    "cannot be kept in WAL mode: put the data directory on a local file system",
                    reterr);
    }
    if (rc == TPC_OK) {
        rc = insist(log, "PRAGMA synchronous", "2", TPC_EIO,
                    "cannot be written with synchronous=FULL: use SQLite as Debian builds it",
                    reterr);
    }
    return rc;
}

/* A crash in here leaves IDENTITY at generation 0, and the next start does it again; or the
 * committed tables, which it takes as they are. */
static enum tpc_rc make_tables(const struct wal_sqlite *log, const struct wal_identity_file *file,
                               struct tpc_err *reterr)
{
    char id[2 * sizeof file->id.bytes + 1];
    char *insert;
    enum tpc_rc rc;

    for (size_t i = 0; i < sizeof file->id.bytes; i++) {
        (void)snprintf(id + 2 * i, 3, "%02x", file->id.bytes[i]);
    }
    insert = sqlite3_mprintf("INSERT OR IGNORE INTO meta VALUES(1, %d, %Q, x'%s', 0, x'%032d', 0)",
                             FORMAT, file->role, id, 0);
    if (insert == NULL) {
        return tpc_fail(reterr, TPC_ENOMEM, "cannot make %s/log.db: out of memory", log->path);
    }
    rc = execute(log, "BEGIN IMMEDIATE", reterr);
    if (rc == TPC_OK) {
        rc = execute(log, schema_sql, reterr);
    }
    if (rc == TPC_OK) {
        rc = execute(log, insert, reterr);
    }
    if (rc == TPC_OK) {
        rc = execute(log, "COMMIT", reterr);
    }
    sqlite3_free(insert);
    return rc;
}

static bool column_id(sqlite3_stmt *row, int column, struct tpc_id *ret_id)
{
    const void *blob = sqlite3_column_blob(row, column);

    if (blob == NULL || sqlite3_column_bytes(row, column) != (int)sizeof ret_id->bytes) {
        return false;
    }
    memcpy(ret_id->bytes, blob, sizeof ret_id->bytes);
    return true;
}

static enum tpc_rc read_meta(struct wal_sqlite *log, struct meta *ret_meta, struct tpc_err *reterr)
{
    sqlite3_stmt *row = NULL;
    enum tpc_rc rc = TPC_OK;
    bool good = false;
    int code = sqlite3_prepare_v2(log->db,
                                  "SELECT format, role, id, generation, nonce, wal_follows,"
                                  " (SELECT max(lsn) FROM record) FROM meta WHERE one = 1",
                                  -1, &row, NULL);

    if (code == SQLITE_OK) {
        code = sqlite3_step(row);
    }
    if (code == SQLITE_ROW) {
        const char *role = (const char *)sqlite3_column_text(row, 1);
        good = role != NULL && column_id(row, 2, &ret_meta->file.id) &&
               column_id(row, 4, &ret_meta->file.nonce);
        ret_meta->format = sqlite3_column_int64(row, 0);
        (void)snprintf(ret_meta->file.role, sizeof ret_meta->file.role, "%s", good ? role : "");
        ret_meta->file.generation = (uint64_t)sqlite3_column_int64(row, 3);
        ret_meta->wal_follows = sqlite3_column_int(row, 5) != 0;
        log->last_lsn = sqlite3_column_int64(row, 6);
    }
    if ((code != SQLITE_ROW && code != SQLITE_DONE && (code & 0xff) != SQLITE_ERROR) ||
        (!good && sqlite3_errcode(log->db) == SQLITE_NOMEM)) {
        rc = wal_sqlite_fail(log, "read", reterr);
    }
    (void)sqlite3_finalize(row);
    if (rc == TPC_OK && !good) {
        rc = tpc_fail(reterr, TPC_ECORRUPT,
                      "%s/log.db is damaged or was put there by another program (it lacks the "
                      "table of its identity): " WAL_SQLITE_RESTORE,
                      log->path);
    }
    return rc;
}

/* ---- is it ours, whole and the newest? ---- */

static enum tpc_rc compare_ids(const struct wal_sqlite *log, const struct meta *meta,
                               const struct wal_identity_file *file, struct tpc_err *reterr)
{
    char mine[TPC_ID_TEXT], other[TPC_ID_TEXT];

    if (meta->format != FORMAT) {
        return tpc_fail(reterr, TPC_ENOTSUP,
                        "%s/log.db has format %lld and this release knows format %d: install the "
                        "release that wrote it",
                        log->path, (long long)meta->format, FORMAT);
    }
    if (!tpc_id_equal(&meta->file.id, &file->id) || strcmp(meta->file.role, file->role) != 0) {
        return tpc_fail(reterr, TPC_ECORRUPT,
                        "%s holds the files of two different logs: log.db is that of %s %s, and "
                        "IDENTITY that of %s %s: put back the files that belong together, or "
                        "restore the whole directory from a backup; delete nothing",
                        log->path, meta->file.role, tpc_id_format(&meta->file.id, other),
                        file->role, tpc_id_format(&file->id, mine));
    }
    return TPC_OK;
}

static enum tpc_rc compare_ages(const struct wal_sqlite *log, const struct meta *meta,
                                const struct wal_identity_file *file,
                                enum wal_journal_state journal, struct tpc_err *reterr)
{
    const char *about = journal == WAL_JOURNAL_GOOD      ? ""
                        : journal == WAL_JOURNAL_USELESS ? " (and log.db-wal is damaged)"
                                                         : " (or log.db-wal was deleted)";

    if (meta->file.generation < file->generation) {
        return tpc_fail(reterr, TPC_ESETBACK,
                        "%s/log.db was set back to an older copy%s: it is of generation %" PRIu64
                        ", and IDENTITY knows of %" PRIu64 ": put back the newest log.db and "
                        "log.db-wal, or restore the whole directory from a backup; delete nothing",
                        log->path, about, meta->file.generation, file->generation);
    }
    if (meta->file.generation == file->generation &&
        !tpc_id_equal(&meta->file.nonce, &file->nonce)) {
        return tpc_fail(reterr, TPC_ESETBACK,
                        "%s/log.db is not the copy that IDENTITY was written for: both are of "
                        "generation %" PRIu64 ", of two different starts: put back the files that "
                        "belong together, or " WAL_SQLITE_RESTORE,
                        log->path, file->generation);
    }
    if (meta->wal_follows && journal != WAL_JOURNAL_GOOD) {
        return tpc_fail(reterr, journal == WAL_JOURNAL_USELESS ? TPC_ECORRUPT : TPC_EMISSING,
                        "%s/log.db-wal, which holds the newest records, is %s: put it back, "
                        "or " WAL_SQLITE_RESTORE,
                        log->path, journal == WAL_JOURNAL_USELESS ? "damaged" : "missing");
    }
    return TPC_OK;
}

/* Of a large log the answer comes at the end of its scan. */
static enum tpc_rc check_pages(struct wal_sqlite *log, struct tpc_err *reterr)
{
    if (file_size(log, "log.db") < (off_t)log->check_beside_pages * PAGE_SIZE) {
        return wal_sqlite_check(log, reterr);
    }
    return wal_sqlite_copy_journal(log) ? wal_sqlite_check_begin(log, reterr)
                                        : wal_sqlite_fail(log, "bring up to date", reterr);
}

/* ---- the next generation ---- */

static enum tpc_rc begin_generation(struct wal_sqlite *log, const struct meta *meta,
                                    const struct wal_identity_file *before, struct tpc_err *reterr)
{
    struct wal_identity_file file = meta->file;
    sqlite3_stmt *update = NULL;
    bool good;

    file.generation++;
    tpc_id_random(&file.nonce);
    /* What an earlier start could not force is forced here, by writing it to another file. A
     * crash in here changes nothing that a reader could see. It comes before the new
     * generation, which so begins log.db-wal anew and cannot be overtaken by frames that were
     * left unfinished behind its end. */
    if (!wal_sqlite_copy_journal(log)) {
        return wal_sqlite_fail(log, "bring up to date", reterr);
    }
    good =
        sqlite3_prepare_v2(log->db, "UPDATE meta SET generation = ?1, nonce = ?2, wal_follows = 0",
                           -1, &update, NULL) == SQLITE_OK &&
        sqlite3_bind_int64(update, 1, (sqlite3_int64)file.generation) == SQLITE_OK &&
        sqlite3_bind_blob(update, 2, file.nonce.bytes, sizeof file.nonce.bytes, SQLITE_STATIC) ==
            SQLITE_OK &&
        sqlite3_step(update) == SQLITE_DONE;
    if (sqlite3_finalize(update) != SQLITE_OK || !good) {
        return wal_sqlite_fail(log, "begin a generation in", reterr);
    }
    /* A crash here: IDENTITY lags behind the log, by as many generations as there were such
     * crashes. Nobody was told of these generations; the next start takes a higher one. */
    log->store.identity = (struct wal_identity){.id = file.id,
                                                .generation = file.generation,
                                                .nonce = file.nonce,
                                                .created = before->generation == 0};
    return wal_identity_write(log->path, &file, reterr);
}

static enum tpc_rc open_log(struct wal_sqlite *log, const char *role, struct tpc_err *reterr)
{
    struct wal_identity_file file;
    struct meta meta = {0};
    enum wal_journal_state journal = WAL_JOURNAL_NONE;
    enum tpc_rc rc = find_identity(log, role, &file, reterr);

    if (rc == TPC_OK) {
        rc = look_at_journal(log, &journal, reterr);
    }
    if (rc == TPC_OK) {
        rc = open_database(log, file.generation == 0, reterr);
    }
    if (rc == TPC_OK && file.generation == 0) {
        rc = make_tables(log, &file, reterr);
    }
    if (rc == TPC_OK) {
        rc = read_meta(log, &meta, reterr);
    }
    if (rc == TPC_OK) {
        rc = compare_ids(log, &meta, &file, reterr);
    }
    if (rc == TPC_OK) {
        rc = compare_ages(log, &meta, &file, journal, reterr);
    }
    if (rc == TPC_OK) {
        rc = check_pages(log, reterr);
    }
    if (rc == TPC_OK) {
        rc = begin_generation(log, &meta, &file, reterr);
    }
    return rc == TPC_OK ? wal_sqlite_prepare(log, reterr) : rc;
}

enum tpc_rc wal_open(const struct wal_options *options, struct wal_store **ret_store,
                     struct tpc_err *reterr)
{
    struct wal_sqlite *log = calloc(1, sizeof *log);
    enum tpc_rc rc;

    TPC_ASSERT(strlen(options->role) < WAL_ROLE_MAX);
    if (log != NULL) {
        log->lock_fd = -1;
        log->failpoints = options->failpoints;
        log->checkpoint_pages =
            options->checkpoint_pages > 0 ? options->checkpoint_pages : CHECKPOINT_PAGES;
        log->check_beside_pages =
            options->check_beside_pages > 0 ? options->check_beside_pages : CHECK_BESIDE_PAGES;
        log->path = strdup(options->directory);
    }
    if (log == NULL || log->path == NULL) {
        free(log);
        return tpc_fail(reterr, TPC_ENOMEM, "no memory to open the log");
    }
    rc = wal_directory_make(log->path, reterr);
    if (rc == TPC_OK) {
        rc = wal_directory_lock(log->path, &log->lock_fd, reterr);
    }
    if (rc == TPC_OK) {
        rc = wal_set_back_check(log->path, reterr);
    }
    if (rc == TPC_OK) {
        rc = open_log(log, options->role, reterr);
    }
    if (rc != TPC_OK) {
        wal_sqlite_close(&log->store);
        return rc;
    }
    log->store.ops = &wal_sqlite_ops;
    *ret_store = &log->store;
    return TPC_OK;
}
