/* The work of a branch on a session.
 *
 *   statements that write   XA START, marker; statements; XA END, XA PREPARE
 *
 *   what looks like queries XA START; statements; what did they do? When they wrote: marker, and on
 *                           as above, else XA END, XA ROLLBACK
 *
 *   one phase               as these, but XA END, XA COMMIT … ONE PHASE
 *
 *   interactive             XA START, marker; statements; … statements; then as these
 *
 * Whatever is between two semicolons here is one round trip. Any error ends the whole branch: after
 * a lock that was not had in time the server has undone that statement only, and would prepare the
 * rest. */
#include "participant/maria_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/tpc_assert.h"

#include <mysqld_error.h>
#include <stdio.h>
#include <string.h>

static const char broken[] = "the connection was lost (failpoint)";

/* ---- The end ---- */

static bool is_refused(const struct maria_branch *branch)
{
    return branch->refusal.code != API_CAUSE_NONE;
}

void maria_payload_write(const struct part_maria *maria, struct part_job *job, unsigned long thread)
{
    uint8_t payload[MARIA_PAYLOAD_BYTES];
    maria_payload_pack(payload, &maria->identity, thread);
    tpc_buf_clear(&job->payload);
    tpc_buf_add(&job->payload, payload, sizeof payload);
    if (job->payload.failed) {
        tpc_no_memory();
    }
    job->held_by_database = true;
}

static void end_job(struct part_maria *maria, struct maria_branch *branch,
                    enum part_job_outcome outcome)
{
    struct part_job *job = branch->job;
    branch->job = NULL;
    job->session = NULL;
    if (outcome == PART_JOB_REFUSED) {
        maria->stats.conflicts += branch->refusal.code == API_CAUSE_CONFLICT;
        part_refusal_tell(&branch->refusal, &job->cause);
        tpc_buf_clear(&job->results);
    }
    part_job_end(&maria->ends, job, outcome);
}

static void finish(struct maria_session *session, enum part_job_outcome outcome)
{
    struct maria_branch *branch = &session->branch;
    session->busy = false;
    session->retires |= session->conn != NULL && (branch->taints || branch->stopping);
    end_job(session->maria, branch, outcome);
}

/* Until its next step the session is the branch's. */
static void stay_open(struct maria_session *session)
{
    session->branch.phase = MARIA_OPEN;
    end_job(session->maria, &session->branch, PART_JOB_EXECUTED);
}

static void hold(struct maria_session *session)
{
    struct maria_branch *branch = &session->branch;
    session->retires |= branch->taints || branch->stopping;
    branch->phase = MARIA_HELD;
    branch->held_ms = tpc_clock_mono_ms();
    struct maria_held *held = maria_held_add(session->maria, &branch->gtid);
    held->session = session;
    held->detach = (struct maria_detach){.thread = session->thread};
    maria_payload_write(session->maria, branch->job, session->thread);
    end_job(session->maria, branch, PART_JOB_READY);
}

/* ---- Texts ---- */

static const char *xid_of(const struct maria_session *session, char out[MARIA_XID_TEXT])
{
    const struct maria_branch *branch = &session->branch;
    return maria_xid_write(out, &session->maria->options.participant_id, &branch->coordinator_id,
                           &branch->gtid);
}

/* One statement or two, each with the branch's name, and @how at the end. */
static void say_xa(struct maria_session *session, const char *first, const char *second,
                   const char *how, void (*done)(struct maria_session *))
{
    char xid[MARIA_XID_TEXT];
    (void)xid_of(session, xid);
    tpc_buf_clear(&session->text);
    tpc_buf_addf(&session->text, "%s %s", first, xid);
    if (second != NULL) {
        tpc_buf_addf(&session->text, ";%s %s%s", second, xid, how);
    }
    maria_send(session, NULL, done);
}

/* ---- Rolling back ---- */

static void on_rolled_back(struct maria_session *session)
{
    struct maria_branch *branch = &session->branch;
    if (session->error.code != 0) {
        tpc_log(TPC_LOG_WARN, "maria.undo_failed", tpc_kv_id("gtid", &branch->gtid),
                tpc_kv_str("error", session->error.words));
        session->retires = true; /* which rolls it back for certain */
    }
    finish(session, branch->ends_as);
}

static void on_ended_and_rolled_back(struct maria_session *session)
{
    if (session->error.code != 0 && session->statement == 0) {
        /* It cannot be ended because the server has rolled it back, or it is ended. */
        say_xa(session, "XA ROLLBACK", NULL, "", on_rolled_back);
    } else {
        on_rolled_back(session);
    }
}

static void roll_back(struct maria_session *session, enum part_job_outcome ends_as)
{
    session->branch.phase = MARIA_ENDING;
    session->branch.ends_as = ends_as;
    say_xa(session, "XA END", "XA ROLLBACK", "", on_ended_and_rolled_back);
}

/* Refused after all though it is prepared: it was to stop, and came first. */
static void undo_prepared(struct maria_session *session)
{
    session->branch.phase = MARIA_ENDING;
    session->branch.ends_as = PART_JOB_REFUSED;
    say_xa(session, "XA ROLLBACK", NULL, "", on_rolled_back);
}

bool maria_branch_is_clean(struct maria_session *session, bool done)
{
    struct maria_branch *branch = &session->branch;
    if (session->state_flags[0] != 'T') {
        part_refuse(&branch->refusal, API_CAUSE_PARTICIPANT_ERROR,
                    "the server does not tell what the transaction has done "
                    "(session_track_transaction_info): connect to it without a proxy");
        return false;
    }
    if (strchr(session->state_flags, 'w') == NULL) {
        return true;
    }
    branch->refusal.statement = (int)branch->at;
    part_refuse(&branch->refusal, API_CAUSE_NOT_SUPPORTED,
                "it writes to a table whose engine has no transactions (also by way of a view, a "
                "trigger or a function), %s. Let its owner run: ALTER TABLE … ENGINE=InnoDB;",
                done ? "which was seen only when it was done, and IS NOT UNDONE"
                     : "so it could not be undone");
    if (done) {
        tpc_log(TPC_LOG_ERROR, "maria.not_undone", tpc_kv_id("gtid", &branch->gtid),
                tpc_kv_str("why", "a statement wrote to a table whose engine has no transactions"));
    }
    return false;
}

/* ---- Ending the work ---- */

static void on_prepared(struct maria_session *session)
{
    struct part_maria *maria = session->maria;
    struct maria_branch *branch = &session->branch;
    if (session->error.code != 0 && session->statement == 0) {
        maria_refuse(&branch->refusal, &session->error);
        roll_back(session, PART_JOB_REFUSED);
    } else if (session->error.code != 0) {
        char words[sizeof session->error.words];
        memcpy(words, session->error.words, sizeof words);
        maria_session_lose(session, words); /* what became of it is looked up */
    } else if (is_refused(branch)) {
        undo_prepared(session);
    } else if (tpc_fp_hit(maria->options.failpoints.prepared)) {
        maria_session_lose(session, broken);
    } else {
        hold(session);
    }
}

static void on_committed(struct maria_session *session)
{
    struct part_maria *maria = session->maria;
    struct maria_branch *branch = &session->branch;
    if (session->error.code != 0) {
        maria_refuse(&branch->refusal, &session->error);
        if (session->statement == 0) {
            roll_back(session, PART_JOB_REFUSED);
        } else {
            session->retires = true; /* whether it happened, its marker tells */
            finish(session, PART_JOB_REFUSED);
        }
    } else if (tpc_fp_hit(maria->options.failpoints.finished)) {
        maria_session_lose(session, broken);
    } else {
        maria->stats.one_phase++;
        maria->stats.commit_groups++;
        finish(session, PART_JOB_COMMITTED);
    }
}

static void end_writes(struct maria_session *session)
{
    struct maria_branch *branch = &session->branch;
    if (!branch->job->one_phase) {
        branch->phase = MARIA_PREPARING;
        say_xa(session, "XA END", "XA PREPARE", "", on_prepared);
        return;
    }
    branch->phase = MARIA_COMMITTING;
    if (tpc_fp_hit(session->maria->options.failpoints.finish)) {
        maria_session_lose(session, broken);
        return;
    }
    /* If we crash before the answer, the marker says what became of it. */
    say_xa(session, "XA END", "XA COMMIT", " ONE PHASE", on_committed);
}

static void refuse_by_error(struct maria_session *session, int statement)
{
    struct maria_branch *branch = &session->branch;
    if (!is_refused(branch)) {
        branch->refusal.statement = statement;
        maria_refuse(&branch->refusal, &session->error);
    }
    roll_back(session, PART_JOB_REFUSED);
}

/* There is a marker already: the branch was committed in an earlier life. */
static bool is_repetition(const struct maria_session *session)
{
    return session->error.code == ER_DUP_ENTRY || session->error.code == ER_DUP_ENTRY_WITH_KEY_NAME;
}

static void on_marked(struct maria_session *session)
{
    if (is_repetition(session)) {
        roll_back(session, PART_JOB_PROVEN);
    } else if (session->error.code != 0 || is_refused(&session->branch)) {
        refuse_by_error(session, -1);
    } else {
        session->branch.marked = true;
        end_writes(session);
    }
}

static void on_asked(struct maria_session *session)
{
    struct maria_branch *branch = &session->branch;
    if (session->error.code != 0 || is_refused(branch) || !maria_branch_is_clean(session, true)) {
        refuse_by_error(session, -1);
    } else if (strchr(session->state_flags, 'W') != NULL) {
        tpc_buf_clear(&session->text);
        maria_marker_insert(session->maria, branch->job, &session->text);
        maria_send(session, NULL, on_marked);
    } else {
        roll_back(session, PART_JOB_READ_ONLY);
    }
}

static void end_of_work(struct maria_session *session)
{
    struct maria_branch *branch = &session->branch;
    api_jw_close(&branch->job->results, ']');
    if (branch->job->kind == PART_JOB_EXECUTE) {
        stay_open(session);
        return;
    }
    if (branch->marked) {
        end_writes(session);
        return;
    }
    tpc_buf_clear(&session->text);
    tpc_buf_adds(&session->text, "SET session_track_transaction_info = 'CHARACTERISTICS'");
    maria_send(session, NULL, on_asked);
}

/* ---- Statements ---- */

static void next_statement(struct maria_session *session);

static void begin_object(struct maria_session *session)
{
    struct maria_branch *branch = &session->branch;
    if (!branch->in_statement) {
        branch->in_statement = true;
        api_jw_open(&branch->job->results, '{');
        if (mysql_stmt_field_count(session->stmt) > 0) {
            maria_write_columns(&branch->job->results, session->stmt);
        }
    }
}

static void on_row(struct maria_session *session)
{
    struct maria_branch *branch = &session->branch;
    struct tpc_buf *out = &branch->job->results;
    begin_object(session);
    branch->rows++;
    branch->refusal.statement = (int)branch->at;
    maria_write_row(out, session->stmt);
    if (is_refused(branch) ||
        !part_within_result_max(&branch->refusal, out->size, session->maria->options.result_max)) {
        session->on_row = NULL;
    }
}

static void end_object(struct maria_session *session)
{
    struct maria_branch *branch = &session->branch;
    struct tpc_buf *out = &branch->job->results;
    bool read = mysql_stmt_field_count(session->stmt) > 0;
    bool changed = !read || maria_changes_rows(branch->job->statements.items[branch->at].sql);
    begin_object(session);
    if (read) {
        api_jw_close(out, ']');
    } else {
        branch->rows = mysql_stmt_affected_rows(session->stmt);
    }
    if (changed) {
        api_jw_key(out, "rows_affected");
        api_jw_u64(out, branch->rows);
    }
    api_jw_close(out, '}');
    branch->in_statement = false;
    if (out->failed) {
        part_refuse(&branch->refusal, API_CAUSE_PARTICIPANT_ERROR, "out of memory");
    }
    branch->refusal.statement = (int)branch->at;
    if (part_within_result_max(&branch->refusal, out->size, session->maria->options.result_max) &&
        part_meets_expectation(&branch->refusal, &branch->job->statements.items[branch->at],
                               branch->rows, !changed)) {
        branch->refusal.statement = -1;
    }
}

static void on_executed(struct maria_session *session)
{
    struct maria_branch *branch = &session->branch;
    if (maria_error_is_stale(&session->error)) {
        /* The table was altered: parsed anew, it goes. The rows that came cannot be read. */
        branch->refusal.statement = (int)branch->at;
        maria_refuse(&branch->refusal, &session->error);
        maria_session_lose(session, "a statement that was kept no longer fits its table");
        return;
    }
    if (session->error.code != 0) {
        refuse_by_error(session, (int)branch->at);
        return;
    }
    if (!is_refused(branch)) {
        end_object(session);
    }
    if (is_refused(branch) || !maria_branch_is_clean(session, true)) {
        roll_back(session, PART_JOB_REFUSED);
        return;
    }
    branch->at++;
    next_statement(session);
}

static void execute(struct maria_session *session, const struct maria_stmt *stmt)
{
    struct maria_branch *branch = &session->branch;
    session->stmt = stmt->handle;
    branch->rows = 0;
    branch->refusal.statement = (int)branch->at;
    if (!maria_params_bind(session, &branch->job->statements.items[branch->at], &branch->refusal)) {
        roll_back(session, PART_JOB_REFUSED);
        return;
    }
    branch->refusal.statement = -1;
    maria_execute(session, stmt->handle, on_row, on_executed);
}

static void on_parsed(struct maria_session *session)
{
    struct maria_branch *branch = &session->branch;
    struct maria_stmt *stmt =
        maria_stmts_get(session, branch->job->statements.items[branch->at].sql);
    if (session->error.code != 0) {
        maria_stmts_drop(session, stmt);
        refuse_by_error(session, (int)branch->at);
    } else {
        execute(session, stmt);
    }
}

static void next_statement(struct maria_session *session)
{
    struct maria_branch *branch = &session->branch;
    if (is_refused(branch)) { /* it is to stop */
        roll_back(session, PART_JOB_REFUSED);
        return;
    }
    if (branch->at == branch->job->statements.count) {
        end_of_work(session);
        return;
    }
    const char *sql = branch->job->statements.items[branch->at].sql;
    struct maria_stmt *stmt = maria_stmts_get(session, sql);
    if (stmt->handle != NULL) {
        execute(session, stmt);
        return;
    }
    stmt->handle = mysql_stmt_init(session->conn);
    if (stmt->handle == NULL) {
        tpc_no_memory();
    }
    tpc_buf_clear(&session->text);
    tpc_buf_adds(&session->text, sql);
    maria_prepare(session, stmt->handle, on_parsed);
}

/* ---- The beginning ---- */

/* All statements, or why not. */
static bool judge(struct maria_branch *branch)
{
    const struct part_job *job = branch->job;
    branch->queries = true;
    for (size_t i = 0; i < job->statements.count; i++) {
        struct maria_verdict verdict;
        branch->refusal.statement = (int)i;
        if (!maria_judge(job->statements.items[i].sql, &verdict, &branch->refusal)) {
            return false;
        }
        branch->queries &= verdict.query;
        branch->taints |= verdict.taints;
    }
    branch->refusal.statement = -1;
    return true;
}

static void on_begun(struct maria_session *session)
{
    struct maria_branch *branch = &session->branch;
    if (session->error.code == 0) {
        branch->marked = !branch->queries;
        next_statement(session);
    } else if (is_repetition(session)) {
        roll_back(session, PART_JOB_PROVEN);
    } else {
        refuse_by_error(session, -1);
    }
}

/* The server gives up by itself when the agent cannot tell it to. Set anew only when the time that
 * is left is quite another than that of the branch before. */
static void limit_time(struct maria_session *session)
{
    uint64_t now_ms = tpc_clock_mono_ms(), limit_ms = 1000;
    const struct part_job *job = session->branch.job;
    uint64_t left_ms = job->deadline_ms > now_ms ? job->deadline_ms - now_ms : 1;
    while (limit_ms < left_ms + 500 && limit_ms < UINT64_C(1) << 30) {
        limit_ms *= 2;
    }
    limit_ms = job->deadline_ms == 0 ? 0 : limit_ms;
    if (limit_ms != session->statement_timeout_ms) {
        session->statement_timeout_ms = limit_ms;
        tpc_buf_addf(&session->text, "SET max_statement_time = %llu;",
                     (unsigned long long)limit_ms / 1000);
    }
}

static void on_limited(struct maria_session *session)
{
    if (session->error.code != 0) {
        refuse_by_error(session, -1);
    } else {
        next_statement(session);
    }
}

/* In the transaction that the first step began. */
static void go_on(struct maria_session *session)
{
    if (is_refused(&session->branch)) {
        roll_back(session, PART_JOB_REFUSED);
        return;
    }
    session->branch.phase = MARIA_WORKING;
    tpc_buf_clear(&session->text);
    limit_time(session);
    if (session->text.size > 0) {
        maria_send(session, NULL, on_limited);
    } else {
        next_statement(session);
    }
}

void maria_branch_examined(struct maria_session *session)
{
    struct maria_branch *branch = &session->branch;
    char xid[MARIA_XID_TEXT];
    if (branch->job->executed > 0) {
        go_on(session);
        return;
    }
    if (is_refused(branch)) {
        finish(session, PART_JOB_REFUSED);
        return;
    }
    branch->phase = MARIA_WORKING;
    tpc_buf_clear(&session->text);
    limit_time(session);
    if (branch->job->isolation == API_ISOLATION_SERIALIZABLE) {
        tpc_buf_adds(&session->text, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;");
    }
    tpc_buf_addf(&session->text, "XA START %s", xid_of(session, xid));
    if (!branch->queries) {
        tpc_buf_addc(&session->text, ';');
        maria_marker_insert(session->maria, branch->job, &session->text);
    }
    maria_send(session, NULL, on_begun);
}

void maria_branch_begin(struct maria_session *session, struct part_job *job)
{
    struct part_maria *maria = session->maria;
    bool open = job->executed > 0;
    session->branch = (struct maria_branch){.job = job,
                                            .gtid = job->gtid,
                                            .coordinator_id = job->coordinator_id,
                                            .marked = open && session->branch.marked,
                                            .taints = open && session->branch.taints,
                                            .refusal.statement = -1};
    session->busy = true;
    if (!open) {
        session->state_flags[0] = '\0';
    }
    maria->stats.prepares += job->kind == PART_JOB_PREPARE;
    job->session = session;
    tpc_buf_clear(&job->results);
    api_jw_open(&job->results, '[');
    if (!judge(&session->branch) && open) {
        roll_back(session, PART_JOB_REFUSED);
    } else if (is_refused(&session->branch)) {
        finish(session, PART_JOB_REFUSED);
    } else if (tpc_fp_hit(maria->options.failpoints.execute)) {
        maria_session_lose(session, broken);
    } else {
        maria_examine(session);
    }
}

/* ---- What ends it early ---- */

void maria_branch_undo(struct maria_session *session, struct part_job *job)
{
    session->branch.job = job;
    job->session = session;
    session->maria->stats.aborts++;
    roll_back(session, PART_JOB_ABORTED);
}

void maria_branch_on_lost(struct maria_session *session, const char *words)
{
    struct part_maria *maria = session->maria;
    struct maria_branch *branch = &session->branch;
    struct maria_held *held;
    switch (branch->phase) {
    case MARIA_PREPARING:
        maria_doubt_add(session, words);
        return;
    case MARIA_HELD:
    case MARIA_DECIDING:
        session->busy = false;
        if ((held = maria_held_find(maria, &branch->gtid)) != NULL) {
            held->session = NULL; /* the server detaches it */
        }
        if (branch->job != NULL) {
            struct part_job *job = branch->job;
            branch->job = NULL;
            part_job_end_as(&maria->ends, job, PART_JOB_RETRY, API_CAUSE_PARTICIPANT_ERROR, words);
        }
        return;
    case MARIA_OPEN:
        session->busy = false;
        maria_pinned_on_lost(session, words);
        return;
    case MARIA_EXAMINING:
    case MARIA_WORKING:
    case MARIA_COMMITTING:
    case MARIA_ENDING:
        break;
    }
    if (branch->phase == MARIA_ENDING && branch->ends_as != PART_JOB_REFUSED) {
        finish(session, branch->ends_as); /* a session that is lost rolls back too */
        return;
    }
    part_refuse(&branch->refusal, API_CAUSE_PARTICIPANT_ERROR, "%s", words);
    /* Lost while it was committed in one phase, it is not refused yet: proof is asked for. */
    finish(session, PART_JOB_REFUSED);
}

void maria_branch_stop(struct maria_session *session, enum api_cause_code code, const char *words)
{
    struct maria_branch *branch = &session->branch;
    if (branch->stopping || branch->phase > MARIA_PREPARING) {
        return;
    }
    branch->stopping = true;
    branch->stopped_ms = tpc_clock_mono_ms();
    part_refuse(&branch->refusal, code, "%s", words);
    maria_decide_kill(session->maria, session->thread);
}
