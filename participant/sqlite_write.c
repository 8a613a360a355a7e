#include "participant/sqlite_internal.h"

#include "base/clock.h"

#include <sqlite3.h>

static const char *const own_sql[PART_OWN_COUNT] = {
    [PART_OWN_BEGIN] = "BEGIN IMMEDIATE",
    [PART_OWN_BEGIN_READ] = "BEGIN",
    [PART_OWN_COMMIT] = "COMMIT",
    [PART_OWN_ROLLBACK] = "ROLLBACK",
    [PART_OWN_SAVEPOINT] = "SAVEPOINT assent_branch",
    [PART_OWN_ROLLBACK_TO] = "ROLLBACK TO assent_branch",
    [PART_OWN_RELEASE] = "RELEASE assent_branch",
    [PART_OWN_MARK] = "INSERT INTO main._assent_applied(gtid, at_us) VALUES(?1, ?2)",
    [PART_OWN_MARKED] = "SELECT 1 FROM main._assent_applied WHERE gtid = ?1",
    [PART_OWN_UNMARK] = "DELETE FROM main._assent_applied WHERE gtid = ?1",
    [PART_OWN_DATA_VERSION] = "PRAGMA main.data_version",
    [PART_OWN_SCHEMA_VERSION] = "PRAGMA main.schema_version",
};

enum tpc_rc part_write_init(struct part_sqlite *sqlite, struct tpc_err *reterr)
{
    for (int i = 0; i < PART_OWN_COUNT; i++) {
        if (sqlite3_prepare_v3(sqlite->db, own_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &sqlite->own[i], NULL) != SQLITE_OK) {
            return tpc_fail(reterr, TPC_EIO, "%s: %s", sqlite->path, sqlite3_errmsg(sqlite->db));
        }
    }
    return TPC_OK;
}

int part_write_exec(struct part_sqlite *sqlite, enum part_own_stmt which)
{
    (void)sqlite3_step(sqlite->own[which]);
    return sqlite3_reset(sqlite->own[which]); /* the same code as the step, but OK for DONE */
}

static int read_number(struct part_sqlite *sqlite, enum part_own_stmt which, int64_t *out)
{
    sqlite3_stmt *stmt = sqlite->own[which];
    if (sqlite3_step(stmt) == SQLITE_ROW) {
        *out = sqlite3_column_int64(stmt, 0);
    }
    return sqlite3_reset(stmt);
}

/* What is known of the tables, and what was compiled with it, is only as good as the schema. */
static enum tpc_rc look_at_schema(struct part_sqlite *sqlite, struct tpc_err *reterr)
{
    int64_t data_version = 0, schema_version = 0;
    if (read_number(sqlite, PART_OWN_DATA_VERSION, &data_version) != SQLITE_OK) {
        return tpc_fail(reterr, TPC_EIO, "%s", sqlite3_errmsg(sqlite->db));
    }
    if (data_version == sqlite->data_version) {
        return TPC_OK;
    }
    part_branch_unguard(sqlite);
    if (read_number(sqlite, PART_OWN_SCHEMA_VERSION, &schema_version) != SQLITE_OK) {
        return tpc_fail(reterr, TPC_EIO, "%s", sqlite3_errmsg(sqlite->db));
    }
    if (schema_version != sqlite->schema_version) {
        part_stmts_forget(sqlite);
        part_apply_forget(&sqlite->schema);
        part_keys_forget(&sqlite->schema);
        sqlite->schema_version = -1;
        enum tpc_rc rc =
            part_schema_load(&sqlite->schema, sqlite->db, sqlite->options.foreign_keys, reterr);
        if (rc != TPC_OK) {
            return rc;
        }
        sqlite->schema_version = schema_version;
    }
    sqlite->data_version = data_version;
    return TPC_OK;
}

bool part_write_has_moved(const struct part_sqlite *sqlite)
{
    int moved = 0;
    return sqlite3_file_control(sqlite->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK &&
           moved != 0;
}

enum tpc_rc part_write_begin(struct part_sqlite *sqlite, struct tpc_err *reterr)
{
    if (!sqlite->in_place && part_write_has_moved(sqlite)) {
        return tpc_fail(reterr, TPC_EIO,
                        "%s was moved, deleted or replaced under the running agent: put it back, "
                        "or stop the agent and start it with the new path",
                        sqlite->path);
    }
    sqlite->in_place = true;
    if (sqlite->writing && sqlite3_get_autocommit(sqlite->db) == 0) {
        return TPC_OK;
    }
    sqlite->writing = false;
    int rc = sqlite->others_write ? SQLITE_BUSY : part_write_exec(sqlite, PART_OWN_BEGIN);
    if ((rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED) {
        sqlite->others_write = true;
        return tpc_fail(reterr, TPC_EBUSY, "another program is writing to %s", sqlite->path);
    }
    if (rc != SQLITE_OK) {
        return tpc_fail(reterr, TPC_EIO, "%s: %s", sqlite->path, sqlite3_errmsg(sqlite->db));
    }
    sqlite->writing = true;
    enum tpc_rc result = look_at_schema(sqlite, reterr);
    if (result != TPC_OK) {
        part_write_rollback(sqlite);
    }
    return result;
}

void part_write_rollback(struct part_sqlite *sqlite)
{
    if (sqlite3_get_autocommit(sqlite->db) == 0) {
        (void)part_write_exec(sqlite, PART_OWN_ROLLBACK);
    }
    sqlite->writing = false;
}

void part_write_quiet(struct part_sqlite *sqlite, bool quiet)
{
    if (sqlite->quiet == quiet) {
        return;
    }
    sqlite3_db_config(sqlite->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, quiet ? 0 : 1, NULL);
    if (sqlite->options.foreign_keys) {
        sqlite3_db_config(sqlite->db, SQLITE_DBCONFIG_ENABLE_FKEY, quiet ? 0 : 1, NULL);
    }
    sqlite->quiet = quiet;
}

enum tpc_rc part_write_marked(struct part_sqlite *sqlite, const struct tpc_id *gtid,
                              bool *ret_marked, struct tpc_err *reterr)
{
    sqlite3_stmt *stmt = sqlite->own[PART_OWN_MARKED];
    (void)sqlite3_bind_blob(stmt, 1, gtid->bytes, sizeof(gtid->bytes), SQLITE_STATIC);
    bool marked = sqlite3_step(stmt) == SQLITE_ROW;
    int rc = sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    if (rc != SQLITE_OK) {
        return tpc_fail(reterr, TPC_EIO, "%s: %s", sqlite->path, sqlite3_errmsg(sqlite->db));
    }
    *ret_marked = marked;
    return TPC_OK;
}

int part_write_mark(struct part_sqlite *sqlite, enum part_own_stmt which, const struct tpc_id *gtid)
{
    sqlite3_stmt *stmt = sqlite->own[which];
    (void)sqlite3_bind_blob(stmt, 1, gtid->bytes, sizeof(gtid->bytes), SQLITE_STATIC);
    if (which == PART_OWN_MARK) {
        (void)sqlite3_bind_int64(stmt, 2, (int64_t)tpc_clock_wall_us());
    }
    (void)sqlite3_step(stmt);
    int rc = sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return rc;
}

void part_write_done(struct part_sqlite *sqlite)
{
    for (int i = 0; i < PART_OWN_COUNT; i++) {
        sqlite3_finalize(sqlite->own[i]);
        sqlite->own[i] = NULL;
    }
}
