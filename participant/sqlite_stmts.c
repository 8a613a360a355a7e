#include "participant/sqlite_internal.h"

#include <ctype.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define KEPT_MAX 256

/* ---- What statements may do ---- */

static bool is_ours(const char *name)
{
    return strncasecmp(name, "_assent_", 8) == 0;
}

static bool is_system(const char *name)
{
    return strncasecmp(name, "sqlite_", 7) == 0;
}

static bool is_schema_table(const char *name)
{
    return strcasecmp(name, "sqlite_master") == 0 || strcasecmp(name, "sqlite_schema") == 0 ||
           strcasecmp(name, "sqlite_temp_master") == 0 ||
           strcasecmp(name, "sqlite_temp_schema") == 0;
}

static bool begins_with(const char *sql, const char *word)
{
    size_t size = strlen(word);
    return strncasecmp(sql, word, size) == 0 && !isalnum((unsigned char)sql[size]) &&
           sql[size] != '_';
}

/* Nobody is asked to authorize those that find nothing to do. */
static bool is_ddl(const char *sql)
{
    static const char *const words[] = {"CREATE", "DROP", "ALTER", "REINDEX", "ANALYZE"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (begins_with(sql, words[i])) {
            return true;
        }
    }
    return false;
}

static void refuse_ddl(struct part_refusal *refusal)
{
    part_refuse(refusal, API_CAUSE_NOT_SUPPORTED,
                "changes of the schema (CREATE, ALTER, DROP, REINDEX, ANALYZE) cannot be captured "
                "for two-phase commit; make them with another program while no branch is prepared");
}

bool part_stmts_may_write(const struct part_table *table, struct part_refusal *refusal)
{
    if (is_ours(table->name)) {
        part_refuse(refusal, API_CAUSE_NOT_SUPPORTED,
                    "table %s is the participant's own and cannot be written", table->name);
        return false;
    }
    if (table->kind == PART_TABLE_VIRTUAL) {
        part_refuse(refusal, API_CAUSE_NOT_SUPPORTED,
                    "table %s is virtual: changes of virtual tables cannot be captured",
                    table->name);
        return false;
    }
    if (table->kind == PART_TABLE_ORDINARY && table->primary.count == 0) {
        part_refuse(refusal, API_CAUSE_NOT_SUPPORTED,
                    "table %s has no declared PRIMARY KEY: its rows cannot be told apart, so "
                    "their changes cannot be promised; give it one",
                    table->name);
        return false;
    }
    if (table->misnumbered) {
        part_refuse(refusal, API_CAUSE_NOT_SUPPORTED,
                    "table %s has a generated column before its INTEGER PRIMARY KEY: SQLite does "
                    "not show its changes truly; declare the key first",
                    table->name);
        return false;
    }
    return true;
}

static int note_read(struct part_sqlite *sqlite, const char *name)
{
    struct part_stmt *stmt = sqlite->stmts.authorizes;
    const struct part_table *table = name != NULL ? part_schema_find(&sqlite->schema, name) : NULL;
    if (table == NULL || table->kind == PART_TABLE_VIEW) {
        return SQLITE_OK;
    }
    stmt->reads_virtual |= table->kind == PART_TABLE_VIRTUAL;
    for (size_t i = stmt->read_count; i-- > 0;) {
        if (stmt->reads[i] == table) {
            return SQLITE_OK;
        }
    }
    if (stmt->read_count == stmt->read_capacity) {
        size_t capacity = stmt->read_capacity == 0 ? 4 : stmt->read_capacity * 2;
        const struct part_table **reads =
            realloc(stmt->reads, capacity * sizeof(struct part_table *));
        if (reads == NULL) {
            part_refuse(sqlite->stmts.refusal, API_CAUSE_PARTICIPANT_ERROR, "out of memory");
            return SQLITE_DENY;
        }
        stmt->reads = reads;
        stmt->read_capacity = capacity;
    }
    stmt->reads[stmt->read_count++] = table;
    return SQLITE_OK;
}

static int judge_write(struct part_sqlite *sqlite, int action, const char *name,
                       const char *database)
{
    struct part_refusal *refusal = sqlite->stmts.refusal;
    if (sqlite->reader_stops != NULL) {
        sqlite->stmts.met_write = true;
        return SQLITE_DENY;
    }
    if (is_schema_table(name)) {
        refuse_ddl(refusal);
        return SQLITE_DENY;
    }
    if (is_system(name)) {
        part_refuse(refusal, API_CAUSE_NOT_SUPPORTED, "table %s is SQLite's own", name);
        return SQLITE_DENY;
    }
    if (database != NULL && strcmp(database, "main") != 0) {
        part_refuse(refusal, API_CAUSE_NOT_SUPPORTED,
                    "table %s is not in the main database: temporary and attached ones cannot "
                    "take part",
                    name);
        return SQLITE_DENY;
    }
    struct part_table *table = part_schema_find(&sqlite->schema, name);
    if (table == NULL) {
        part_refuse(refusal, API_CAUSE_NOT_SUPPORTED, "table %s is not known here", name);
        return SQLITE_DENY;
    }
    if (action == SQLITE_INSERT) {
        sqlite->stmts.authorizes->inserts = table;
    }
    return part_stmts_may_write(table, refusal) ? note_read(sqlite, name) : SQLITE_DENY;
}

static int authorize(void *arg, int action, const char *first, const char *second,
                     const char *database, const char *trigger)
{
    struct part_sqlite *sqlite = arg;
    (void)trigger;
    if (sqlite->stmts.authorizes == NULL) {
        return SQLITE_OK;
    }
    struct part_refusal *refusal = sqlite->stmts.refusal;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_FUNCTION:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_READ:
        return note_read(sqlite, first);
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
        return judge_write(sqlite, action, first, database);
    case SQLITE_PRAGMA:
        if (strcasecmp(first, "data_version") == 0 && second == NULL) {
            return SQLITE_OK; /* full-text tables ask for it when they are read */
        }
        part_refuse(refusal, API_CAUSE_NOT_SUPPORTED,
                    "PRAGMA %s is not allowed inside a transaction over several databases", first);
        return SQLITE_DENY;
    case SQLITE_ATTACH:
    case SQLITE_DETACH:
        part_refuse(refusal, API_CAUSE_NOT_SUPPORTED,
                    "ATTACH and DETACH are not allowed: give each file a participant of its own");
        return SQLITE_DENY;
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
        part_refuse(refusal, API_CAUSE_NOT_SUPPORTED,
                    "transaction control (BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE) is the "
                    "coordinator's: send the statements alone");
        return SQLITE_DENY;
    default:
        refuse_ddl(refusal);
        return SQLITE_DENY;
    }
}

void part_stmts_init(struct part_sqlite *sqlite)
{
    sqlite3_set_authorizer(sqlite->db, authorize, sqlite);
}

/* ---- Keeping them ---- */

static void drop(struct part_stmts *stmts, struct part_stmt *stmt)
{
    HASH_DEL(stmts->kept, stmt);
    sqlite3_finalize(stmt->stmt);
    free(stmt->reads);
    free(stmt->sql);
    free(stmt);
}

void part_stmts_forget(struct part_sqlite *sqlite)
{
    struct part_stmt *stmt, *next;
    HASH_ITER (hh, sqlite->stmts.kept, stmt, next) {
        drop(&sqlite->stmts, stmt);
    }
}

const char *part_stmts_skip_blank(const char *sql)
{
    for (;;) {
        if (isspace((unsigned char)*sql)) {
            sql++;
        } else if (sql[0] == '-' && sql[1] == '-') {
            sql += strcspn(sql, "\n");
        } else if (sql[0] == '/' && sql[1] == '*') {
            const char *end = strstr(sql + 2, "*/");
            sql = end != NULL ? end + 2 : sql + strlen(sql);
        } else {
            return sql;
        }
    }
}

static bool compile(struct part_sqlite *sqlite, struct part_stmt *stmt,
                    struct part_refusal *refusal)
{
    const char *start = part_stmts_skip_blank(stmt->sql), *tail = NULL;
    /* It is asked about only while it runs, and then fails for being in a transaction. */
    if (begins_with(start, "VACUUM")) {
        part_refuse(refusal, API_CAUSE_NOT_SUPPORTED, "VACUUM cannot run inside a transaction");
        return false;
    }
    if (is_ddl(start)) {
        refuse_ddl(refusal);
        return false;
    }
    int rc = sqlite3_prepare_v3(sqlite->db, stmt->sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt->stmt,
                                &tail);
    if (rc != SQLITE_OK) {
        part_refuse(refusal, rc == SQLITE_NOMEM ? API_CAUSE_PARTICIPANT_ERROR : API_CAUSE_SQL_ERROR,
                    "%s", sqlite3_errmsg(sqlite->db));
        return false;
    }
    if (stmt->stmt == NULL) {
        part_refuse(refusal, API_CAUSE_SQL_ERROR, "there is no statement in this text");
        return false;
    }
    for (tail = part_stmts_skip_blank(tail); *tail == ';'; tail = part_stmts_skip_blank(tail)) {
        tail++;
    }
    if (*tail != '\0') {
        part_refuse(refusal, API_CAUSE_NOT_SUPPORTED,
                    "more than one statement in one text: send each as a statement of its own");
        return false;
    }
    stmt->reads_only = sqlite3_stmt_readonly(stmt->stmt) != 0;
    return true;
}

struct part_stmt *part_stmts_get(struct part_sqlite *sqlite, const char *sql,
                                 struct part_refusal *refusal)
{
    struct part_stmts *stmts = &sqlite->stmts;
    struct part_stmt *stmt = NULL;
    size_t size = strlen(sql);
    HASH_FIND(hh, stmts->kept, sql, size, stmt);
    if (stmt != NULL) {
        HASH_DEL(stmts->kept, stmt);
        HASH_ADD_KEYPTR(hh, stmts->kept, stmt->sql, size, stmt);
        return stmt;
    }
    stmt = calloc(1, sizeof(*stmt));
    if (stmt == NULL || (stmt->sql = strdup(sql)) == NULL) {
        free(stmt);
        part_refuse(refusal, API_CAUSE_PARTICIPANT_ERROR, "out of memory");
        return NULL;
    }
    HASH_ADD_KEYPTR(hh, stmts->kept, stmt->sql, size, stmt);
    stmts->authorizes = stmt;
    stmts->refusal = refusal;
    bool ok = compile(sqlite, stmt, refusal);
    stmts->authorizes = NULL;
    if (ok) {
        part_keys_judge(sqlite, stmt);
    }
    if (!ok) {
        drop(stmts, stmt);
        return NULL;
    }
    if (HASH_COUNT(stmts->kept) > KEPT_MAX) {
        drop(stmts, stmts->kept);
    }
    return stmt;
}
