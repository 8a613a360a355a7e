/* The clients' statements, kept prepared in each session: by text and types of parameters. */
#include "participant/pg_internal.h"
#include "participant/server_values.h"

#include <stdio.h>
#include <string.h>

enum { BYTEA = 17, BINARY = 1 };

void pg_stmts_drop(struct pg_session *session, struct pg_stmt *stmt)
{
    /* uthash walks by offsets, which the analyzer does not follow. */
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference,clang-analyzer-unix.Malloc) */
    HASH_DEL(session->stmts, stmt);
    free(stmt->key);
    free(stmt);
}

void pg_stmts_forget(struct pg_session *session)
{
    struct pg_stmt *stmt, *next;
    HASH_ITER (hh, session->stmts, stmt, next) {
        pg_stmts_drop(session, stmt);
    }
}

void pg_stmts_trim(struct pg_session *session)
{
    while (HASH_COUNT(session->stmts) > PG_KEPT_MAX) {
        char sql[64];
        (void)snprintf(sql, sizeof sql, "DEALLOCATE %s", session->stmts->name);
        pg_send(session, &(struct pg_step){.kind = PG_STEP_PLAIN}, sql);
        pg_stmts_drop(session, session->stmts);
    }
}

/* ---- Parameters ---- */

/* What the server cannot tell from the statement itself: bytes are sent as they are. */
struct params {
    struct tpc_buf texts; /* numbers and truth values, each with its NUL */
    size_t *offsets;
    const char **values;
    int *sizes, *formats;
    Oid *types;
};

static void params_done(struct params *params)
{
    tpc_buf_done(&params->texts);
    free(params->offsets);
    free((void *)params->values);
    free(params->sizes);
    free(params->formats);
    free(params->types);
}

static void params_init(struct params *params, const struct api_statement *statement)
{
    size_t count = statement->param_count;
    *params = (struct params){.offsets = tpc_must_calloc(count + 1, sizeof(size_t)),
                              .values = tpc_must_calloc(count + 1, sizeof(char *)),
                              .sizes = tpc_must_calloc(count + 1, sizeof(int)),
                              .formats = tpc_must_calloc(count + 1, sizeof(int)),
                              .types = tpc_must_calloc(count + 1, sizeof(Oid))};
    for (size_t i = 0; i < count; i++) {
        params->offsets[i] = params->texts.size;
        part_text_of(&params->texts, &statement->params[i]);
    }
    if (params->texts.failed) {
        tpc_no_memory();
    }
    for (size_t i = 0; i < count; i++) {
        const struct api_value *value = &statement->params[i];
        bool bytes = value->type == API_TEXT || value->type == API_BLOB;
        params->values[i] = value->type == API_NULL ? NULL
                            : bytes                 ? value->bytes.data
                                                    : params->texts.data + params->offsets[i];
        params->sizes[i] = bytes ? (int)value->bytes.size : 0;
        params->formats[i] = value->type == API_BLOB ? BINARY : 0;
        params->types[i] = value->type == API_BLOB ? BYTEA : 0;
    }
}

/* ---- Statements ---- */

/* A text means the same to the server for all types of parameters that it infers by itself. */
static char *key_of(const struct api_statement *statement)
{
    size_t size = strlen(statement->sql), count = statement->param_count;
    char *key = tpc_must_malloc(count + size + 2);
    for (size_t i = 0; i < count; i++) {
        key[i] = statement->params[i].type == API_BLOB ? 'b' : '?';
    }
    key[count] = '|';
    memcpy(key + count + 1, statement->sql, size + 1);
    return key;
}

static struct pg_stmt *get(struct pg_session *session, unsigned index,
                           const struct api_statement *statement, const struct params *params)
{
    char *key = key_of(statement);
    size_t size = strlen(key);
    struct pg_stmt *stmt = NULL;
    HASH_FIND(hh, session->stmts, key, size, stmt);
    if (stmt != NULL) {
        HASH_DEL(session->stmts, stmt);
        HASH_ADD_KEYPTR(hh, session->stmts, stmt->key, size, stmt); /* the latest is last */
        free(key);
        return stmt;
    }
    stmt = tpc_must_alloc(sizeof *stmt);
    stmt->key = key;
    (void)snprintf(stmt->name, sizeof stmt->name, "assent_%u", ++session->names);
    HASH_ADD_KEYPTR(hh, session->stmts, stmt->key, size, stmt);
    if (PQsendPrepare(session->conn, stmt->name, statement->sql, (int)statement->param_count,
                      params->types) != 1) {
        session->failed = true;
    }
    pg_push(session,
            &(struct pg_step){
                .kind = PG_STEP_PARSE, .of_branch = true, .statement = index, .stmt = stmt});
    return stmt;
}

void pg_stmts_execute(struct pg_session *session, unsigned index,
                      const struct api_statement *statement)
{
    struct params params;
    params_init(&params, statement);
    const struct pg_stmt *stmt = get(session, index, statement, &params);
    if (PQsendQueryPrepared(session->conn, stmt->name, (int)statement->param_count, params.values,
                            params.sizes, params.formats, 0) != 1) {
        session->failed = true;
    }
    params_done(&params);
    pg_push(session,
            &(struct pg_step){.kind = PG_STEP_EXECUTE, .of_branch = true, .statement = index});
}
