/* The clients' statements, kept prepared in each session, by their text. */
#include "participant/maria_internal.h"

#include <stdlib.h>
#include <string.h>

void maria_stmts_drop(struct maria_session *session, struct maria_stmt *stmt)
{
    if (stmt->handle != NULL) {
        (void)mysql_stmt_close(stmt->handle); /* tells the server, and waits for nothing */
    }
    /* uthash walks by offsets, which the analyzer does not follow. */
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference,clang-analyzer-unix.Malloc) */
    HASH_DEL(session->stmts, stmt);
    free(stmt->sql);
    free(stmt);
}

void maria_stmts_forget(struct maria_session *session)
{
    struct maria_stmt *stmt, *next;
    HASH_ITER (hh, session->stmts, stmt, next) {
        maria_stmts_drop(session, stmt);
    }
}

struct maria_stmt *maria_stmts_get(struct maria_session *session, const char *sql)
{
    struct maria_stmt *stmt = NULL;
    size_t size = strlen(sql);
    HASH_FIND(hh, session->stmts, sql, size, stmt);
    if (stmt != NULL) {
        HASH_DEL(session->stmts, stmt);
    } else {
        while (HASH_COUNT(session->stmts) >= MARIA_KEPT_MAX) {
            maria_stmts_drop(session, session->stmts);
        }
        stmt = tpc_must_alloc(sizeof *stmt);
        stmt->sql = tpc_must_strdup(sql);
    }
    HASH_ADD_KEYPTR(hh, session->stmts, stmt->sql, size, stmt); /* the latest is last */
    return stmt;
}
