/* Sessions that were lost while they prepared: is the branch prepared or not?
 *
 * The session at the server may live on for a while and prepare yet. So it is ended first, and once
 * it is gone pg_prepared_xacts tells for good. What is there with all its results is a yes; what is
 * there without them is rolled back and refused. When nobody can be asked before the branch's time
 * is over it is refused: nobody was told yes, and what the server holds of it is found later. */
#include "participant/pg_internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { ASK_AGAIN_MS = 50, WITHOUT_DEADLINE_MS = 10000 };

static const char end_sql[] = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                              " WHERE pid = $1 AND backend_start = $2::timestamptz";
static const char held_sql[] = "SELECT 1 FROM pg_prepared_xacts WHERE gid = $1";

static void leave(struct pg_doubt *doubt)
{
    LL_DELETE(doubt->pg->doubts, doubt);
    free(doubt);
}

static void refuse(struct pg_doubt *doubt)
{
    struct part_job *job = doubt->branch.job;
    struct part_refusal *refusal = &doubt->branch.refusal;
    part_refuse(refusal, API_CAUSE_PARTICIPANT_ERROR, "%s", doubt->words);
    part_refusal_tell(refusal, &job->cause);
    tpc_buf_clear(&job->results);
    pg_end(doubt->pg, job, PART_JOB_REFUSED);
    leave(doubt);
}

static void accept(struct pg_doubt *doubt)
{
    struct part_pg *pg = doubt->pg;
    struct part_job *job = doubt->branch.job;
    uint8_t payload[32];
    size_t size = pg_payload_write(payload, pg->facts.system_id, doubt->branch.xid);
    api_jw_close(&job->results, ']');
    tpc_buf_clear(&job->payload);
    tpc_buf_add(&job->payload, payload, size);
    if (job->payload.failed) {
        tpc_no_memory();
    }
    job->held_by_database = true;
    pg_held_add(pg, &job->gtid, job->began_us, pg->facts.system_id, doubt->branch.xid);
    pg_end(pg, job, PART_JOB_READY);
    leave(doubt);
}

static bool is_yes(const struct pg_doubt *doubt)
{
    return doubt->branch.whole && doubt->branch.xid != 0 &&
           doubt->branch.refusal.code == API_CAUSE_NONE &&
           !atomic_load(&doubt->branch.job->cancelled);
}

static void on_undone(struct pg_question *question, struct pg_session *session,
                      const PGresult *result)
{
    struct pg_doubt *doubt = question->doubt;
    (void)session;
    doubt->asking = false;
    if (result == NULL) {
        doubt->not_before_ms = tpc_clock_mono_ms() + ASK_AGAIN_MS;
    } else {
        refuse(doubt);
    }
}

static void undo(struct pg_doubt *doubt, struct pg_session *session)
{
    char gid[PG_GID_TEXT], sql[PG_GID_TEXT + 32];
    const struct part_job *job = doubt->branch.job;
    pg_gid_write(gid, &doubt->pg->options.participant_id, &job->coordinator_id, &job->gtid);
    (void)snprintf(sql, sizeof sql, "ROLLBACK PREPARED '%s'", gid);
    doubt->held.answered = on_undone;
    doubt->asking = true;
    pg_send(session, &(struct pg_step){.kind = PG_STEP_ASK, .question = &doubt->held}, sql);
    pg_sync(session, false);
}

static void on_ended(struct pg_question *question, struct pg_session *session,
                     const PGresult *result)
{
    (void)session;
    question->doubt->gone = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 0;
}

static void on_held(struct pg_question *question, struct pg_session *session,
                    const PGresult *result)
{
    struct pg_doubt *doubt = question->doubt;
    doubt->asking = false;
    if (PQresultStatus(result) != PGRES_TUPLES_OK || (PQntuples(result) == 0 && !doubt->gone)) {
        doubt->not_before_ms = tpc_clock_mono_ms() + ASK_AGAIN_MS;
    } else if (PQntuples(result) == 0) {
        refuse(doubt);
    } else if (is_yes(doubt)) {
        accept(doubt);
    } else {
        undo(doubt, session);
    }
}

static void ask(struct pg_doubt *doubt, struct pg_session *session)
{
    char gid[PG_GID_TEXT], pid[24];
    const char *who[2] = {pid, doubt->backend_start}, *what[1] = {gid};
    const struct part_job *job = doubt->branch.job;
    pg_gid_write(gid, &doubt->pg->options.participant_id, &job->coordinator_id, &job->gtid);
    (void)snprintf(pid, sizeof pid, "%d", doubt->backend_pid);
    doubt->asking = true;
    doubt->gone = false;
    doubt->ended.answered = on_ended;
    doubt->held.answered = on_held;
    pg_send_params(session, &(struct pg_step){.kind = PG_STEP_ASK, .question = &doubt->ended},
                   end_sql, 2, who);
    pg_send_params(session, &(struct pg_step){.kind = PG_STEP_ASK, .question = &doubt->held},
                   held_sql, 1, what);
    pg_sync(session, false);
}

void pg_doubt_add(struct pg_session *session, const char *words)
{
    struct part_pg *pg = session->pg;
    struct pg_doubt *doubt = tpc_must_alloc(sizeof *doubt);
    doubt->pg = pg;
    doubt->branch = session->branch;
    doubt->backend_pid = PQbackendPID(session->conn);
    memcpy(doubt->backend_start, session->backend_start, sizeof doubt->backend_start);
    (void)snprintf(doubt->words, sizeof doubt->words, "%s", words);
    doubt->ended.doubt = doubt->held.doubt = doubt;
    if (doubt->branch.job->deadline_ms == 0) {
        doubt->branch.job->deadline_ms = tpc_clock_mono_ms() + WITHOUT_DEADLINE_MS;
    }
    doubt->branch.job->session = NULL;
    session->busy = false;
    pg->executing--;
    LL_PREPEND(pg->doubts, doubt);
}

void pg_doubts_run(struct part_pg *pg, uint64_t now_ms)
{
    struct pg_doubt *doubt, *next;
    LL_FOREACH_SAFE(pg->doubts, doubt, next)
    {
        struct pg_session *session = pg_decide_session(pg);
        if (doubt->asking || now_ms < doubt->not_before_ms) {
            continue;
        }
        if (now_ms >= doubt->branch.job->deadline_ms || pg->closing) {
            refuse(doubt);
        } else if (session != NULL) {
            ask(doubt, session);
        }
    }
}

uint64_t pg_doubts_next_ms(const struct part_pg *pg)
{
    uint64_t next_ms = UINT64_MAX;
    const struct pg_doubt *doubt;
    LL_FOREACH (pg->doubts, doubt) {
        uint64_t due_ms =
            doubt->not_before_ms > 0 ? doubt->not_before_ms : doubt->branch.job->deadline_ms;
        due_ms = due_ms < doubt->branch.job->deadline_ms ? due_ms : doubt->branch.job->deadline_ms;
        if (!doubt->asking && due_ms < next_ms) {
            next_ms = due_ms;
        }
    }
    return next_ms;
}

void pg_doubts_done(struct part_pg *pg)
{
    struct pg_doubt *doubt, *next;
    LL_FOREACH_SAFE(pg->doubts, doubt, next)
    {
        refuse(doubt);
    }
}
