/* Statements that a session has not seen before: do they touch tables whose engine has no
 * transactions? What is written there stays when the branch is rolled back. Their words do not
 * tell, for there are views, triggers and functions. EXPLAIN does: it opens and locks what the
 * statement would write, does nothing, and the server's own record of the transaction then says
 * what kind of tables there were. In a transaction of its own, which is rolled back; or in that of
 * the branch, if that is open. */
#include "participant/maria_internal.h"

#include <mysqld_error.h>

static const char ask_sql[] = "SET session_track_transaction_info = 'CHARACTERISTICS'";

static void next(struct maria_session *session);

static void say(struct maria_session *session, const char *sql,
                void (*done)(struct maria_session *))
{
    tpc_buf_clear(&session->text);
    tpc_buf_adds(&session->text, sql);
    maria_send(session, NULL, done);
}

static struct maria_stmt *current(struct maria_session *session)
{
    const struct maria_branch *branch = &session->branch;
    return maria_stmts_get(session, branch->job->statements.items[branch->at].sql);
}

static void on_over(struct maria_session *session)
{
    session->branch.at = 0;
    session->retires |= session->error.code != 0;
    maria_branch_examined(session);
}

static void on_told(struct maria_session *session)
{
    struct maria_branch *branch = &session->branch;
    if (session->error.code != 0) {
        branch->refusal.statement = -1;
        maria_refuse(&branch->refusal, &session->error);
    } else if (maria_branch_is_clean(session, false)) {
        current(session)->examined = true;
        branch->at++;
    }
    next(session);
}

static void close_stmt(struct maria_session *session)
{
    MYSQL_STMT *stmt = session->stmt;
    session->stmt = NULL;
    (void)mysql_stmt_close(stmt);
}

/* What cannot be explained cannot be done either, but for one reason. */
static void refuse_by_error(struct maria_session *session)
{
    struct part_refusal *refusal = &session->branch.refusal;
    refusal->statement = (int)session->branch.at;
    if (session->error.code == ER_VIEW_NO_EXPLAIN) {
        part_refuse(refusal, API_CAUSE_NOT_SUPPORTED,
                    "whether the tables behind the view have transactions is not shown to the "
                    "agent's user (%s). Let an administrator run: GRANT SELECT, SHOW VIEW ON "
                    "`%s`.* TO %s;",
                    session->error.words, session->maria->url.database, session->maria->facts.user);
    }
    maria_refuse(refusal, &session->error);
}

static void on_explained(struct maria_session *session)
{
    close_stmt(session);
    if (session->error.code != 0) {
        refuse_by_error(session);
        next(session);
    } else {
        say(session, ask_sql, on_told);
    }
}

static void on_prepared(struct maria_session *session)
{
    struct maria_branch *branch = &session->branch;
    if (session->error.code != 0) {
        on_explained(session);
        return;
    }
    branch->refusal.statement = (int)branch->at;
    if (!maria_params_bind(session, &branch->job->statements.items[branch->at], &branch->refusal)) {
        close_stmt(session);
        next(session);
        return;
    }
    branch->refusal.statement = -1;
    maria_execute(session, session->stmt, NULL, on_explained);
}

static bool is_due(struct maria_session *session)
{
    const struct maria_branch *branch = &session->branch;
    struct maria_verdict verdict;
    struct part_refusal ignored = {.statement = -1};
    const char *sql = branch->job->statements.items[branch->at].sql;
    return maria_judge(sql, &verdict, &ignored) && !verdict.shows && !current(session)->examined;
}

static void next(struct maria_session *session)
{
    struct maria_branch *branch = &session->branch;
    const struct api_statements *statements = &branch->job->statements;
    bool refused = branch->refusal.code != API_CAUSE_NONE;
    while (!refused && branch->at < statements->count && !is_due(session)) {
        branch->at++;
    }
    if (refused || branch->at == statements->count) {
        if (branch->job->executed > 0) {
            branch->at = 0;
            maria_branch_examined(session);
        } else {
            say(session, "ROLLBACK", on_over);
        }
        return;
    }
    MYSQL_STMT *stmt = mysql_stmt_init(session->conn);
    if (stmt == NULL) {
        tpc_no_memory();
    }
    tpc_buf_clear(&session->text);
    tpc_buf_addf(&session->text, "EXPLAIN %s", statements->items[branch->at].sql);
    maria_prepare(session, stmt, on_prepared);
}

static void on_begun(struct maria_session *session)
{
    if (session->error.code != 0) {
        maria_refuse(&session->branch.refusal, &session->error);
    }
    next(session);
}

void maria_examine(struct maria_session *session)
{
    struct maria_branch *branch = &session->branch;
    branch->at = 0;
    while (branch->at < branch->job->statements.count && !is_due(session)) {
        branch->at++;
    }
    if (branch->at == branch->job->statements.count) {
        branch->at = 0;
        maria_branch_examined(session);
        return;
    }
    if (branch->job->executed > 0) {
        next(session);
    } else {
        say(session, "START TRANSACTION", on_begun);
    }
}
