#include "participant/sqlite_internal.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_MS 1000 /* how long another program's write is waited for */

/* SQLite makes and removes files beside the database. */
static enum tpc_rc look_at_directory(const char *path, struct tpc_err *reterr)
{
    const char *slash = strrchr(path, '/');
    int length = slash != NULL ? (int)(slash - path) + 1 : 0;
    char *directory = NULL;
    if (asprintf(&directory, "%.*s.", length, path) < 0) {
        return tpc_fail(reterr, TPC_ENOMEM, "out of memory");
    }
    bool good = access(directory, W_OK | X_OK) == 0;
    free(directory);
    return good
               ? TPC_OK
               : tpc_fail(reterr, TPC_EIO,
                          "the directory of %s is not writable for this user, and SQLite keeps its "
                          "journal there: change its owner or mode",
                          path);
}

static enum tpc_rc look_at_file(const char *path, struct tpc_err *reterr)
{
    struct stat info;
    if (*path == '\0') {
        return tpc_fail(reterr, TPC_EINVAL, "sqlite: needs a path, e.g. sqlite:bank.db");
    }
    if (stat(path, &info) != 0) {
        return errno == ENOENT
                   ? tpc_fail(reterr, TPC_ENOTFOUND,
                              "there is no database %s; create it first, e.g. with: sqlite3 %s "
                              "'CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INTEGER)'",
                              path, path)
                   : tpc_fail(reterr, TPC_EIO, "%s: %s", path, strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        return tpc_fail(reterr, TPC_EINVAL, "%s is not a file", path);
    }
    if (access(path, R_OK | W_OK) != 0) {
        return tpc_fail(reterr, TPC_EIO,
                        "%s is not readable and writable for this user: change its owner or mode",
                        path);
    }
    return look_at_directory(path, reterr);
}

static enum tpc_rc fail(struct part_sqlite *sqlite, const char *what, struct tpc_err *reterr)
{
    int code = sqlite3_errcode(sqlite->db) & 0xff;
    const char *words = sqlite3_errmsg(sqlite->db), *path = sqlite->path;
    switch (code) {
    case SQLITE_NOTADB:
        return tpc_fail(reterr, TPC_ECORRUPT,
                        "%s is not an SQLite database (or an encrypted one); nothing was changed",
                        path);
    case SQLITE_CORRUPT:
        return tpc_fail(reterr, TPC_ECORRUPT,
                        "%s is damaged (%s): restore it from a backup, or see what "
                        "sqlite3 %s .recover can save",
                        path, words, path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return tpc_fail(reterr, TPC_EBUSY,
                        "%s is in use by another program that writes to it or holds it locked: end "
                        "that program's transaction and start again",
                        path);
    default:
        return tpc_fail(reterr, TPC_EIO, "%s: %s: %s", path, what, words);
    }
}

/* The first column of the first row as text, "" when there is none. To the end of what was asked:
 * some pragmas write, and it is there that they fail. */
static enum tpc_rc ask(struct part_sqlite *sqlite, const char *sql, char *out, size_t size,
                       struct tpc_err *reterr)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(sqlite->db, sql, -1, &stmt, NULL);
    out[0] = '\0';
    if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        (void)snprintf(out, size, "%s", text != NULL ? text : "");
    }
    while (rc == SQLITE_ROW) {
        rc = sqlite3_step(stmt);
    }
    enum tpc_rc result = rc == SQLITE_DONE ? TPC_OK : fail(sqlite, sql, reterr);
    sqlite3_finalize(stmt);
    return result;
}

static enum tpc_rc set(struct part_sqlite *sqlite, const char *sql, struct tpc_err *reterr)
{
    return sqlite3_exec(sqlite->db, sql, NULL, NULL, NULL) == SQLITE_OK ? TPC_OK
                                                                        : fail(sqlite, sql, reterr);
}

static enum tpc_rc insist(struct part_sqlite *sqlite, const char *setting, const char *wanted,
                          const char *command, struct tpc_err *reterr)
{
    char sql[64], value[64];
    (void)snprintf(sql, sizeof(sql), "PRAGMA main.%s", setting);
    enum tpc_rc rc = ask(sqlite, sql, value, sizeof(value), reterr);
    if (rc != TPC_OK || strcasecmp(value, wanted) == 0 || sqlite->options.allow_unsafe_settings) {
        return rc;
    }
    return tpc_fail(reterr, TPC_EINVAL,
                    "%s has %s=%s, but promises need %s%s%s%s (--allow-unsafe-settings starts all "
                    "the same)",
                    sqlite->path, setting, value, wanted, *command != '\0' ? ": sqlite3 " : "",
                    *command != '\0' ? sqlite->path : "", command);
}

static enum tpc_rc settings(struct part_sqlite *sqlite, struct tpc_err *reterr)
{
    char text[64];
    sqlite3_busy_timeout(sqlite->db, BUSY_MS);
    sqlite3_db_config(sqlite->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_limit(sqlite->db, SQLITE_LIMIT_ATTACHED, 0);
    /* The first that reads the file. */
    enum tpc_rc rc = ask(sqlite, "PRAGMA schema_version", text, sizeof(text), reterr);
    rc = rc == TPC_OK ? insist(sqlite, "encoding", "UTF-8", "", reterr) : rc;
    /* Readers do not block the participant, nor it them, and a commit is one fsync. */
    rc =
        rc == TPC_OK ? ask(sqlite, "PRAGMA main.journal_mode=WAL", text, sizeof(text), reterr) : rc;
    rc = rc == TPC_OK ? insist(sqlite, "journal_mode", "wal", " 'PRAGMA journal_mode=WAL'", reterr)
                      : rc;
    rc = rc == TPC_OK ? set(sqlite,
                            "PRAGMA main.synchronous=FULL; PRAGMA temp_store=MEMORY;"
                            "PRAGMA main.cache_size=-16384",
                            reterr)
                      : rc;
    rc = rc == TPC_OK ? insist(sqlite, "synchronous", "2", "", reterr) : rc;
    if (rc == TPC_OK) {
        rc =
            set(sqlite,
                sqlite->options.foreign_keys ? "PRAGMA foreign_keys=ON" : "PRAGMA foreign_keys=OFF",
                reterr);
    }
    return rc;
}

/* ---- Whose file this is ---- */

static enum tpc_rc refuse_other(struct part_sqlite *sqlite, const char *owner,
                                struct tpc_err *reterr)
{
    return tpc_fail(
        reterr, TPC_EINVAL,
        "%s belongs to participant %s, not to the one of this data directory: start "
        "with the --data directory that it was used with. If that one is lost for good, "
        "branches that it had promised are lost too; --adopt takes the file over",
        sqlite->path, owner);
}

/* Sets @ret_same where it is ours already. */
static enum tpc_rc compare_owner(struct part_sqlite *sqlite, bool *ret_same, struct tpc_err *reterr)
{
    char owner[64], generation[32], self[TPC_ID_TEXT];
    *ret_same = false;
    enum tpc_rc rc = ask(sqlite, "SELECT value FROM main._assent_meta WHERE key = 'participant_id'",
                         owner, sizeof(owner), reterr);
    if (rc == TPC_OK) {
        rc = ask(sqlite, "SELECT value FROM main._assent_meta WHERE key = 'generation'", generation,
                 sizeof(generation), reterr);
    }
    if (rc != TPC_OK || owner[0] == '\0') {
        return rc;
    }
    if (strcmp(owner, tpc_id_format(&sqlite->options.participant_id, self)) != 0) {
        return sqlite->options.adopt ? TPC_OK : refuse_other(sqlite, owner, reterr);
    }
    *ret_same = true;
    /* Every start has a generation of its own: to have seen this one too is to know of another. */
    if (strtoull(generation, NULL, 10) >= sqlite->options.generation) {
        return tpc_fail(reterr, TPC_ESETBACK,
                        "the log of this participant was set back to an old copy: %s has seen its "
                        "start %s, this is start %llu. Put the newest data directory in its place",
                        sqlite->path, generation, (unsigned long long)sqlite->options.generation);
    }
    return TPC_OK;
}

static enum tpc_rc note_owner(struct part_sqlite *sqlite, struct tpc_err *reterr)
{
    char sql[256], self[TPC_ID_TEXT];
    (void)snprintf(sql, sizeof(sql),
                   "INSERT OR REPLACE INTO main._assent_meta VALUES('participant_id', '%s'),"
                   " ('generation', 0)",
                   tpc_id_format(&sqlite->options.participant_id, self));
    return set(sqlite, sql, reterr);
}

/* Not before the log is known to be whole: a copy of it that is put in its place has the same
 * generation before it. */
enum tpc_rc part_sqlite_note_start(struct part_sqlite *sqlite, struct tpc_err *reterr)
{
    char sql[128];
    (void)snprintf(sql, sizeof(sql),
                   "INSERT OR REPLACE INTO main._assent_meta VALUES('generation', %llu)",
                   (unsigned long long)sqlite->options.generation);
    return set(sqlite, sql, reterr);
}

/* The commit at its end also makes durable whatever the last run left in the write-ahead log: a
 * marker that is seen after it was not lost to a crash of the machine. It has to change something
 * for that: SQLite does not write a value that is there already. */
static enum tpc_rc own_tables(struct part_sqlite *sqlite, struct tpc_err *reterr)
{
    bool same;
    enum tpc_rc rc = set(sqlite, "BEGIN IMMEDIATE", reterr);
    rc = rc == TPC_OK ? set(sqlite,
                            "CREATE TABLE IF NOT EXISTS main._assent_meta("
                            "key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
                            "CREATE TABLE IF NOT EXISTS main._assent_applied("
                            "gtid BLOB PRIMARY KEY, at_us INTEGER NOT NULL) WITHOUT ROWID",
                            reterr)
                      : rc;
    rc = rc == TPC_OK ? compare_owner(sqlite, &same, reterr) : rc;
    rc = rc == TPC_OK && !same ? note_owner(sqlite, reterr) : rc;
    rc = rc == TPC_OK
             ? set(sqlite,
                   "INSERT OR REPLACE INTO main._assent_meta SELECT 'opened', 1 + coalesce("
                   "(SELECT value FROM main._assent_meta WHERE key = 'opened'), 0)",
                   reterr)
             : rc;
    rc = rc == TPC_OK ? set(sqlite, "COMMIT", reterr) : rc;
    if (rc != TPC_OK && sqlite3_get_autocommit(sqlite->db) == 0) {
        (void)sqlite3_exec(sqlite->db, "ROLLBACK", NULL, NULL, NULL);
    }
    return rc;
}

enum tpc_rc part_sqlite_preflight(struct part_sqlite *sqlite, struct tpc_err *reterr)
{
    enum tpc_rc rc = look_at_file(sqlite->path, reterr);
    if (rc != TPC_OK) {
        return rc;
    }
    if (sqlite3_open_v2(sqlite->path, &sqlite->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                        NULL) != SQLITE_OK) {
        return sqlite->db != NULL ? fail(sqlite, "cannot open", reterr)
                                  : tpc_fail(reterr, TPC_ENOMEM, "out of memory");
    }
    rc = settings(sqlite, reterr);
    return rc == TPC_OK ? own_tables(sqlite, reterr) : rc;
}
