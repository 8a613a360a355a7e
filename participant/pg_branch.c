/* The work of a branch on a session.
 *
 *   statements that write       BEGIN, statements, number, PREPARE TRANSACTION: one round trip
 *   what looks like queries     BEGIN, statements, number; with a number PREPARE, else COMMIT
 *   one phase                   BEGIN, statements, number; the number into the log; COMMIT
 *   interactive                 BEGIN, statements; statements; …; then number, and as for queries
 *
 * What was prepared in vain (a statement changed another number of rows than was expected) is
 * rolled back before the branch is refused. If we crash in between, the server holds it, and it is
 * found there and asked for: nobody was told yes, so the answer is abort. */
#include "participant/pg_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/tpc_assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct pg_step plain = {.kind = PG_STEP_PLAIN, .of_branch = true};
static const struct pg_step aside = {.kind = PG_STEP_PLAIN}; /* nobody waits for it */

void pg_refuse_job(struct part_pg *pg, struct part_job *job, enum api_cause_code code,
                   const char *words)
{
    pg->stats.conflicts += code == API_CAUSE_CONFLICT;
    part_job_end_as(&pg->ends, job, PART_JOB_REFUSED, code, words);
}

/* ---- The end ---- */

static void keep(struct part_pg *pg, const struct pg_branch *branch)
{
    struct part_job *job = branch->job;
    uint8_t payload[32];
    size_t size = pg_payload_write(payload, pg->facts.system_id, branch->xid);
    tpc_buf_clear(&job->payload);
    tpc_buf_add(&job->payload, payload, size);
    if (job->payload.failed) {
        tpc_no_memory();
    }
    job->held_by_database = true;
    pg_held_add(pg, &job->gtid, job->began_us, pg->facts.system_id, branch->xid);
}

static void finish(struct pg_session *session, enum part_job_outcome outcome)
{
    struct part_pg *pg = session->pg;
    struct pg_branch *branch = &session->branch;
    struct part_job *job = branch->job;
    session->busy = false;
    session->pinned = session->pinned && outcome == PART_JOB_EXECUTED;
    session->retires |= branch->taints || branch->stopping;
    pg->executing -= job->kind == PART_JOB_PREPARE;
    job->session = NULL;
    if (outcome == PART_JOB_REFUSED) {
        pg->stats.conflicts += branch->refusal.code == API_CAUSE_CONFLICT;
        part_refusal_tell(&branch->refusal, &job->cause);
        tpc_buf_clear(&job->results);
    } else if (outcome == PART_JOB_READY) {
        keep(pg, branch);
    }
    pg_end(pg, job, outcome);
}

static bool is_refused(const struct pg_branch *branch)
{
    return branch->refusal.code != API_CAUSE_NONE;
}

/* ---- Sending ---- */

static void send_prepare(struct pg_session *session)
{
    const struct part_job *job = session->branch.job;
    char gid[PG_GID_TEXT], sql[PG_GID_TEXT + 32];
    pg_gid_write(gid, &session->pg->options.participant_id, &job->coordinator_id, &job->gtid);
    (void)snprintf(sql, sizeof sql, "PREPARE TRANSACTION '%s'", gid);
    pg_send(session, &(struct pg_step){.kind = PG_STEP_PREPARE, .of_branch = true}, sql);
}

/* Of a serializable branch that wrote nothing the server is to remember what it has read. */
static void send_undo(struct pg_session *session, enum part_job_outcome ends_as)
{
    const struct part_job *job = session->branch.job;
    char gid[PG_GID_TEXT], sql[PG_GID_TEXT + 32];
    pg_gid_write(gid, &session->pg->options.participant_id, &job->coordinator_id, &job->gtid);
    (void)snprintf(sql, sizeof sql, "%s PREPARED '%s'",
                   ends_as == PART_JOB_READ_ONLY ? "COMMIT" : "ROLLBACK", gid);
    session->branch.phase = PG_UNDOING;
    session->branch.ends_as = ends_as;
    pg_send(session, &(struct pg_step){.kind = PG_STEP_UNDO, .of_branch = true}, sql);
    pg_sync(session, true);
}

/* The server gives up by itself when the agent cannot tell it to. Set anew only when the time that
 * is left is quite another than that of the branch before. */
static void limit_time(struct pg_session *session, const struct part_job *job)
{
    uint64_t now_ms = tpc_clock_mono_ms(), limit_ms = 1000;
    uint64_t left_ms = job->deadline_ms > now_ms ? job->deadline_ms - now_ms : 1;
    while (limit_ms < left_ms + 500 && limit_ms < UINT64_C(1) << 30) {
        limit_ms *= 2;
    }
    limit_ms = job->deadline_ms == 0 ? 0 : limit_ms;
    if (limit_ms != session->statement_timeout_ms) {
        char sql[64];
        (void)snprintf(sql, sizeof sql, "SET statement_timeout = %llu",
                       (unsigned long long)limit_ms);
        session->statement_timeout_ms = limit_ms;
        pg_send(session, &aside, sql);
        pg_sync(session, false); /* else a rollback of the branch undoes it */
    }
}

/* All statements, or why not. */
static bool judge(const struct part_job *job, struct pg_branch *branch, bool *ret_queries)
{
    *ret_queries = true;
    for (size_t i = 0; i < job->statements.count; i++) {
        struct pg_verdict verdict;
        branch->refusal.statement = (int)i;
        if (!pg_judge(job->statements.items[i].sql, job->one_phase, &verdict, &branch->refusal)) {
            return false;
        }
        *ret_queries &= verdict.query;
        branch->taints |= verdict.taints;
    }
    branch->refusal.statement = -1;
    return true;
}

static void send_work(struct pg_session *session, bool queries)
{
    struct pg_branch *branch = &session->branch;
    const struct part_job *job = branch->job;
    pg_stmts_trim(session);
    limit_time(session, job);
    if (job->executed == 0) {
        session->serializable = job->isolation == API_ISOLATION_SERIALIZABLE;
        pg_send(session, &plain,
                session->serializable ? "BEGIN ISOLATION LEVEL SERIALIZABLE" : "BEGIN");
    }
    for (size_t i = 0; i < job->statements.count; i++) {
        pg_stmts_execute(session, (unsigned)i, &job->statements.items[i]);
    }
    if (job->kind == PART_JOB_PREPARE) {
        pg_send_xid(session);
    }
    branch->with_prepare = !queries && !job->one_phase && job->kind == PART_JOB_PREPARE;
    if (branch->with_prepare) {
        send_prepare(session);
    }
    pg_sync(session, true);
}

static void roll_back(struct pg_session *session)
{
    if (session->pinned) {
        session->statement_timeout_ms =
            PG_TIMEOUT_UNKNOWN; /* set between two steps, it is undone */
    }
    pg_send(session, &aside, "ROLLBACK");
    pg_sync(session, false);
    finish(session, PART_JOB_REFUSED);
}

void pg_branch_begin(struct pg_session *session, struct part_job *job)
{
    struct part_pg *pg = session->pg;
    bool queries;
    session->branch = (struct pg_branch){.job = job, .refusal.statement = -1};
    session->busy = true;
    if (job->kind == PART_JOB_EXECUTE) {
        session->pinned = true;
        session->pinned_by = job->gtid;
    }
    pg->executing += job->kind == PART_JOB_PREPARE;
    pg->stats.prepares += job->kind == PART_JOB_PREPARE;
    job->session = session;
    tpc_buf_clear(&job->results);
    api_jw_open(&job->results, '[');
    if (!judge(job, &session->branch, &queries)) {
        if (job->executed > 0) {
            roll_back(session);
        } else {
            finish(session, PART_JOB_REFUSED);
        }
        return;
    }
    if (tpc_fp_hit(pg->options.failpoints.execute)) {
        pg_session_lose(session, "server closed the connection unexpectedly (failpoint)");
        return;
    }
    send_work(session, queries);
}

/* ---- Answers ---- */

static void refuse_by(struct pg_session *session, const struct pg_step *step,
                      const PGresult *result)
{
    struct pg_branch *branch = &session->branch;
    if (!is_refused(branch)) {
        branch->refusal.statement = step->kind == PG_STEP_EXECUTE || step->kind == PG_STEP_PARSE
                                        ? (int)step->statement
                                        : -1;
        pg_refuse(&branch->refusal, result, session->conn);
        branch->taints |= pg_is_stale_plan(result);
    }
}

static void begin_object(struct pg_branch *branch, const PGresult *result)
{
    if (!branch->in_statement) {
        branch->in_statement = true;
        branch->rows = 0;
        api_jw_open(&branch->job->results, '{');
        if (PQnfields(result) > 0) {
            pg_write_columns(&branch->job->results, result);
        }
    }
}

static void add_rows(struct pg_session *session, const PGresult *result)
{
    struct pg_branch *branch = &session->branch;
    struct tpc_buf *out = &branch->job->results;
    begin_object(branch, result);
    for (int i = 0; i < PQntuples(result) && !is_refused(branch); i++) {
        branch->rows++;
        pg_write_row(out, result, i);
        (void)part_within_result_max(&branch->refusal, out->size, session->pg->options.result_max);
    }
}

static bool is_read(const PGresult *result)
{
    const char *tag = PQcmdStatus((PGresult *)result);
    return PQresultStatus(result) == PGRES_TUPLES_OK &&
           (strncmp(tag, "INSERT", 6) != 0 && strncmp(tag, "UPDATE", 6) != 0 &&
            strncmp(tag, "DELETE", 6) != 0 && strncmp(tag, "MERGE", 5) != 0);
}

static void end_object(struct pg_session *session, const struct pg_step *step,
                       const PGresult *result)
{
    struct pg_branch *branch = &session->branch;
    struct tpc_buf *out = &branch->job->results;
    add_rows(session, result);
    branch->in_statement = false;
    if (is_refused(branch)) {
        return;
    }
    branch->refusal.statement = (int)step->statement;
    bool read = is_read(result);
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        api_jw_close(out, ']');
    }
    if (!read) {
        branch->rows = strtoull(PQcmdTuples((PGresult *)result), NULL, 10);
        api_jw_key(out, "rows_affected");
        api_jw_u64(out, branch->rows);
    }
    api_jw_close(out, '}');
    if (out->failed) {
        part_refuse(&branch->refusal, API_CAUSE_PARTICIPANT_ERROR, "out of memory");
    }
    if (part_within_result_max(&branch->refusal, out->size, session->pg->options.result_max) &&
        part_meets_expectation(&branch->refusal, &branch->job->statements.items[step->statement],
                               branch->rows, read)) {
        branch->refusal.statement = -1;
    }
}

static void on_executed(struct pg_session *session, const struct pg_step *step,
                        const PGresult *result)
{
    struct pg_branch *branch = &session->branch;
    switch ((int)PQresultStatus(result)) {
    case PGRES_SINGLE_TUPLE:
        if (!is_refused(branch)) {
            branch->refusal.statement = (int)step->statement;
            add_rows(session, result);
        }
        break;
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
        if (!is_refused(branch)) {
            end_object(session, step, result);
        }
        break;
    case PGRES_EMPTY_QUERY:
        branch->refusal.statement = (int)step->statement;
        part_refuse(&branch->refusal, API_CAUSE_SQL_ERROR, "there is no statement in this text");
        break;
    case PGRES_PIPELINE_ABORTED:
        break;
    default:
        refuse_by(session, step, result);
        break;
    }
}

static void on_xid(struct pg_branch *branch, const PGresult *result)
{
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1) {
        branch->xid = PQgetisnull(result, 0, 0) ? 0 : strtoull(PQgetvalue(result, 0, 0), NULL, 10);
        branch->whole = !is_refused(branch);
    }
}

static void on_prepare(struct pg_session *session, const struct pg_step *step,
                       const PGresult *result)
{
    struct pg_branch *branch = &session->branch;
    if (pg_has_prepared(result)) {
        branch->prepared = true;
    } else if (PQresultStatus(result) == PGRES_COMMAND_OK) {
        part_refuse(&branch->refusal, API_CAUSE_PARTICIPANT_ERROR,
                    "the server rolled the transaction back when it was to prepare it (%s)",
                    PQcmdStatus((PGresult *)result));
    } else if (PQresultStatus(result) == PGRES_FATAL_ERROR) {
        refuse_by(session, step, result);
    }
}

void pg_branch_on_result(struct pg_session *session, const struct pg_step *step,
                         const PGresult *result)
{
    struct pg_branch *branch = &session->branch;
    ExecStatusType status = PQresultStatus(result);
    bool failed = status == PGRES_FATAL_ERROR || status == PGRES_NONFATAL_ERROR;
    switch ((int)step->kind) {
    case PG_STEP_PARSE:
        if (status != PGRES_COMMAND_OK) {
            pg_stmts_drop(session, step->stmt);
        }
        break;
    case PG_STEP_EXECUTE:
        on_executed(session, step, result);
        return;
    case PG_STEP_XID:
        on_xid(branch, result);
        break;
    case PG_STEP_PREPARE:
        on_prepare(session, step, result);
        return;
    case PG_STEP_COMMIT:
        branch->finished =
            status == PGRES_COMMAND_OK && strcmp(PQcmdStatus((PGresult *)result), "COMMIT") == 0;
        break;
    case PG_STEP_UNDO:
        branch->prepared &= failed;
        break;
    default:
        break;
    }
    if (failed) {
        refuse_by(session, step, result);
    }
}

/* ---- A group of answers is whole ---- */

/* Nothing was written. What a serializable branch has read holds only once it is committed. */
static void end_queries(struct pg_session *session)
{
    struct pg_branch *branch = &session->branch;
    if (session->serializable) {
        branch->phase = PG_COMMITTING;
        branch->ends_as = PART_JOB_READ_ONLY;
        pg_send(session, &(struct pg_step){.kind = PG_STEP_COMMIT, .of_branch = true}, "COMMIT");
        pg_sync(session, true);
        return;
    }
    pg_send(session, &aside, "COMMIT");
    pg_sync(session, false);
    finish(session, PART_JOB_READ_ONLY);
}

static void record(struct pg_session *session)
{
    struct part_pg *pg = session->pg;
    struct pg_branch *branch = &session->branch;
    struct part_job *job = branch->job;
    uint8_t payload[32];
    size_t size = pg_payload_write(payload, pg->facts.system_id, branch->xid);
    tpc_buf_clear(&job->payload);
    tpc_buf_add(&job->payload, payload, size);
    if (job->payload.failed) {
        tpc_no_memory();
    }
    part_proofs_get(&pg->proofs, &job->gtid)->number = branch->xid;
    branch->phase = PG_RECORDING;
    job->record(job);
}

static void prepared(struct pg_session *session)
{
    struct part_pg *pg = session->pg;
    struct pg_branch *branch = &session->branch;
    if (branch->xid == 0) {
        send_undo(session, PART_JOB_READ_ONLY); /* a write that found nothing to do */
    } else if (tpc_fp_hit(pg->options.failpoints.prepared)) {
        pg_session_lose(session, "server closed the connection unexpectedly (failpoint)");
    } else {
        api_jw_close(&branch->job->results, ']');
        finish(session, PART_JOB_READY);
    }
}

static void end_of_work(struct pg_session *session)
{
    struct pg_branch *branch = &session->branch;
    if (is_refused(branch)) {
        if (branch->prepared) {
            send_undo(session, PART_JOB_REFUSED);
        } else {
            roll_back(session);
        }
    } else if (branch->job->kind == PART_JOB_EXECUTE) {
        api_jw_close(&branch->job->results, ']');
        finish(session, PART_JOB_EXECUTED);
    } else if (branch->with_prepare) {
        prepared(session);
    } else if (branch->xid == 0) {
        api_jw_close(&branch->job->results, ']');
        end_queries(session);
    } else if (branch->job->one_phase) {
        api_jw_close(&branch->job->results, ']');
        record(session);
    } else {
        branch->phase = PG_PREPARING;
        branch->with_prepare = true;
        send_prepare(session);
        pg_sync(session, true);
    }
}

static void end_of_undo(struct pg_session *session)
{
    struct pg_branch *branch = &session->branch;
    bool gone = !branch->prepared;
    if (!gone) { /* it is found at the server later, and rolled back then */
        tpc_log(TPC_LOG_WARN, "pg.undo_failed", tpc_kv_id("gtid", &branch->job->gtid),
                tpc_kv_str("error", branch->refusal.detail));
    } else if (branch->ends_as == PART_JOB_READ_ONLY) {
        api_jw_close(&branch->job->results, ']');
    }
    finish(session, gone ? branch->ends_as : PART_JOB_REFUSED);
}

static void end_of_commit(struct pg_session *session)
{
    struct part_pg *pg = session->pg;
    struct pg_branch *branch = &session->branch;
    if (!branch->finished) {
        part_refuse(&branch->refusal, API_CAUSE_PARTICIPANT_ERROR,
                    "the server rolled the transaction back when it was to commit it");
        roll_back(session);
    } else if (branch->ends_as == PART_JOB_READ_ONLY) {
        finish(session, PART_JOB_READ_ONLY);
    } else if (tpc_fp_hit(pg->options.failpoints.finished)) {
        pg_session_lose(session, "server closed the connection unexpectedly (failpoint)");
    } else {
        part_proofs_get(&pg->proofs, &branch->job->gtid)->committed = true;
        pg->stats.one_phase++;
        pg->stats.commit_groups++;
        finish(session, PART_JOB_COMMITTED);
    }
}

void pg_branch_on_sync(struct pg_session *session)
{
    switch (session->branch.phase) {
    case PG_WORKING:
        end_of_work(session);
        break;
    case PG_PREPARING:
        if (is_refused(&session->branch) && session->branch.prepared) {
            send_undo(session, PART_JOB_REFUSED); /* it was to stop, and came first */
        } else if (is_refused(&session->branch)) {
            roll_back(session);
        } else {
            prepared(session);
        }
        break;
    case PG_COMMITTING:
        end_of_commit(session);
        break;
    case PG_UNDOING:
        end_of_undo(session);
        break;
    case PG_RECORDING:
        TPC_ASSERT(!"an answer to nothing");
    }
}

/* If we crash before the answer, the log has the number, and the server knows what became of it. */
void pg_branch_proceed(struct pg_session *session)
{
    struct pg_branch *branch = &session->branch;
    TPC_ASSERT(session->busy && branch->phase == PG_RECORDING);
    if (session->conn == NULL) {
        finish(session, PART_JOB_REFUSED); /* lost meanwhile: it was not committed */
        return;
    }
    branch->phase = PG_COMMITTING;
    branch->ends_as = PART_JOB_COMMITTED;
    if (tpc_fp_hit(session->pg->options.failpoints.finish)) {
        pg_session_lose(session, "server closed the connection unexpectedly (failpoint)");
        return;
    }
    pg_send(session, &(struct pg_step){.kind = PG_STEP_COMMIT, .of_branch = true}, "COMMIT");
    pg_sync(session, true);
}

/* ---- What ends it early ---- */

void pg_branch_on_lost(struct pg_session *session, const char *words)
{
    struct pg_branch *branch = &session->branch;
    bool may_be_prepared = branch->prepared || branch->phase == PG_PREPARING ||
                           (branch->phase == PG_WORKING && branch->with_prepare);
    /* Refused by the server, it cannot be prepared; refused by us, it can. */
    may_be_prepared &= branch->refusal.sqlstate[0] == '\0' || branch->prepared;
    if (may_be_prepared) {
        pg_doubt_add(session, words);
        return;
    }
    part_refuse(&branch->refusal, API_CAUSE_PARTICIPANT_ERROR, "%s", words);
    if (branch->phase != PG_RECORDING) {
        /* Lost while it was committed in one phase, it is not refused yet: proof is asked for. */
        finish(session, PART_JOB_REFUSED);
    }
}

static void ignore_answer(struct pg_question *question, struct pg_session *session,
                          const PGresult *result)
{
    (void)session, (void)result;
    free(question);
}

void pg_branch_stop(struct pg_session *session, enum api_cause_code code, const char *words)
{
    struct pg_branch *branch = &session->branch;
    struct pg_session *other = pg_decide_session(session->pg);
    char pid[24];
    const char *values[1] = {pid};
    if (branch->stopping || (branch->phase != PG_WORKING && branch->phase != PG_PREPARING)) {
        return;
    }
    branch->stopping = true;
    branch->stopped_ms = tpc_clock_mono_ms();
    part_refuse(&branch->refusal, code, "%s", words);
    if (other == NULL) {
        pg_session_lose(session, words);
        return;
    }
    struct pg_question *question = tpc_must_alloc(sizeof *question);
    question->answered = ignore_answer;
    (void)snprintf(pid, sizeof pid, "%d", PQbackendPID(session->conn));
    pg_send_params(other, &(struct pg_step){.kind = PG_STEP_ASK, .question = question},
                   "SELECT pg_cancel_backend($1)", 1, values);
    pg_sync(other, false);
}
