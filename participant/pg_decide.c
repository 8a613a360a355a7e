/* COMMIT PREPARED, ROLLBACK PREPARED, and the questions whether a commit happened.
 *
 * Many may be under way on one session: each has a sync of its own, so that the failure of one is
 * not its neighbours'. */
#include "participant/pg_internal.h"

#include "base/clock.h"
#include "base/tpc_assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void pg_retry(struct part_pg *pg, struct part_job *job, const char *words)
{
    part_job_end_as(&pg->ends, job, PART_JOB_RETRY, API_CAUSE_PARTICIPANT_ERROR, words);
}

void pg_decide_on_lost(struct part_pg *pg, struct part_job *job, const char *words)
{
    pg_retry(pg, job, words); /* whether it was carried out shows when it is tried again */
}

/* ---- What became of a transaction? ---- */

struct inquiry {
    struct pg_question question;
    struct part_pg *pg;
};

enum status { STATUS_COMMITTED, STATUS_ABORTED, STATUS_RUNS, STATUS_FORGOTTEN };

static enum status status_of(const PGresult *result)
{
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1 ||
        PQgetisnull(result, 0, 0)) {
        return STATUS_FORGOTTEN; /* too long ago, or of another history of the server */
    }
    const char *text = PQgetvalue(result, 0, 0);
    return strcmp(text, "committed") == 0 ? STATUS_COMMITTED
           : strcmp(text, "aborted") == 0 ? STATUS_ABORTED
                                          : STATUS_RUNS;
}

static void commit_proven(struct part_pg *pg, struct part_job *job)
{
    part_proofs_get(&pg->proofs, &job->gtid)->committed = true;
    pg_held_drop(pg, &job->gtid);
    pg->stats.commits++;
    pg_end(pg, job, PART_JOB_COMMITTED);
}

static void commit_impossible(struct part_pg *pg, struct part_job *job, const char *words)
{
    part_job_end_as(&pg->ends, job, PART_JOB_CONFLICT, API_CAUSE_PARTICIPANT_ERROR, words);
}

static void conclude_commit(struct part_pg *pg, struct part_job *job, enum status status)
{
    switch (status) {
    case STATUS_COMMITTED:
        commit_proven(pg, job);
        break;
    case STATUS_ABORTED:
        commit_impossible(
            pg, job, "the prepared transaction was rolled back at the server by somebody else");
        break;
    case STATUS_RUNS:
        pg_retry(pg, job, "the server is at it still");
        break;
    case STATUS_FORGOTTEN:
        commit_impossible(pg, job,
                          "the prepared transaction is gone from the server, which does not know "
                          "any more how it ended: was it restored from a backup?");
        break;
    }
}

static void conclude_abort(struct part_pg *pg, struct part_job *job, enum status status)
{
    if (status == STATUS_COMMITTED) {
        part_job_end_as(&pg->ends, job, PART_JOB_PROVEN, API_CAUSE_PARTICIPANT_ERROR,
                        "it was to be rolled back, but somebody else has committed the prepared "
                        "transaction at the server");
    } else if (status == STATUS_RUNS) {
        pg_retry(pg, job, "the server is at it still");
    } else {
        pg_held_drop(pg, &job->gtid);
        pg->stats.aborts++;
        pg_end(pg, job, PART_JOB_ABORTED);
    }
}

static void conclude_proof(struct part_pg *pg, struct part_job *job, enum status status)
{
    if (status == STATUS_RUNS) {
        pg_retry(pg, job, "the server is at it still");
    } else if (status == STATUS_COMMITTED) {
        part_proofs_get(&pg->proofs, &job->gtid)->committed = true;
        pg_end(pg, job, PART_JOB_PROVEN);
    } else {
        pg_end(pg, job, PART_JOB_NO_PROOF);
    }
}

static void on_status(struct pg_question *question, struct pg_session *session,
                      const PGresult *result)
{
    struct part_pg *pg = ((struct inquiry *)question)->pg;
    struct part_job *job = question->job;
    (void)session;
    free(question);
    if (result == NULL) {
        pg_retry(pg, job, "the session was lost");
    } else if (job->kind == PART_JOB_COMMIT) {
        conclude_commit(pg, job, status_of(result));
    } else if (job->kind == PART_JOB_ABORT) {
        conclude_abort(pg, job, status_of(result));
    } else {
        conclude_proof(pg, job, status_of(result));
    }
}

static void ask_status(struct pg_session *session, struct part_job *job, uint64_t xid)
{
    struct inquiry *inquiry = tpc_must_alloc(sizeof *inquiry);
    char text[24];
    const char *values[1] = {text};
    inquiry->question = (struct pg_question){.answered = on_status, .job = job};
    inquiry->pg = session->pg;
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)xid);
    pg_send_params(session, &(struct pg_step){.kind = PG_STEP_ASK, .question = &inquiry->question},
                   "SELECT pg_xact_status($1::xid8)", 1, values);
    pg_sync(session, false);
}

/* ---- Decisions ---- */

static void decided(struct part_pg *pg, struct part_job *job)
{
    const struct pg_held *held = pg_held_find(pg, &job->gtid);
    uint64_t xid = held != NULL ? held->xid : 0;
    if (job->kind == PART_JOB_ABORT) {
        pg_held_drop(pg, &job->gtid);
        pg->stats.aborts++;
        pg_end(pg, job, PART_JOB_ABORTED);
        return;
    }
    if (tpc_fp_hit(pg->options.failpoints.decided)) {
        pg_retry(pg, job, "server closed the connection unexpectedly (failpoint)");
        return;
    }
    struct part_proof *proof = part_proofs_get(&pg->proofs, &job->gtid);
    proof->number = xid;
    pg->stats.commit_groups++;
    commit_proven(pg, job);
}

/* Not there: that it is gone proves nothing, the transaction's number does. */
static void not_there(struct pg_session *session, struct part_job *job)
{
    struct part_pg *pg = session->pg;
    const struct pg_held *held = pg_held_find(pg, &job->gtid);
    const struct part_proof *proof = part_proofs_find(&pg->proofs, &job->gtid);
    uint64_t xid = held != NULL && held->xid != 0 ? held->xid : proof != NULL ? proof->number : 0;
    if (held != NULL && held->system_id != pg->facts.system_id) {
        pg_retry(pg, job,
                 "it was prepared at another server than the one that answers here now: start the "
                 "agent with that one's address");
    } else if (proof != NULL && proof->committed && job->kind == PART_JOB_COMMIT) {
        commit_proven(pg, job);
    } else if (xid != 0) {
        ask_status(session, job, xid);
    } else if (job->kind == PART_JOB_COMMIT) {
        conclude_commit(pg, job, STATUS_FORGOTTEN);
    } else {
        conclude_abort(pg, job, STATUS_FORGOTTEN);
    }
}

void pg_decide_on_result(struct pg_session *session, const struct pg_step *step,
                         const PGresult *result)
{
    if (PQresultStatus(result) == PGRES_COMMAND_OK) {
        decided(session->pg, step->job);
    } else if (pg_has_state(result, "42704")) {
        not_there(session, step->job);
    } else {
        char words[300];
        pg_words(result, session->conn, words, sizeof words);
        pg_retry(session->pg, step->job, words);
    }
}

static void send_decision(struct pg_session *session, struct part_job *job)
{
    struct part_pg *pg = session->pg;
    char gid[PG_GID_TEXT], sql[PG_GID_TEXT + 32];
    bool commit = job->kind == PART_JOB_COMMIT;
    if (tpc_fp_hit(commit ? pg->options.failpoints.decide : pg->options.failpoints.roll_back)) {
        pg_retry(pg, job, "server closed the connection unexpectedly (failpoint)");
        return;
    }
    pg_gid_write(gid, &pg->options.participant_id, &job->coordinator_id, &job->gtid);
    (void)snprintf(sql, sizeof sql, "%s PREPARED '%s'", commit ? "COMMIT" : "ROLLBACK", gid);
    pg_send(session, &(struct pg_step){.kind = PG_STEP_DECIDE, .job = job}, sql);
    pg_sync(session, false);
}

/* ---- Proof and list ---- */

static void prove(struct pg_session *session, struct part_job *job)
{
    struct part_pg *pg = session->pg;
    const struct part_proof *proof = part_proofs_find(&pg->proofs, &job->gtid);
    if (tpc_fp_hit(pg->options.failpoints.ask)) {
        pg_retry(pg, job, "server closed the connection unexpectedly (failpoint)");
    } else if (proof == NULL || (proof->number == 0 && !proof->committed)) {
        pg_end(pg, job, PART_JOB_NO_PROOF);
    } else if (proof->committed) {
        pg_end(pg, job, PART_JOB_PROVEN);
    } else {
        ask_status(session, job, proof->number);
    }
}

static void on_list(struct pg_question *question, struct pg_session *session,
                    const PGresult *result)
{
    struct part_pg *pg = ((struct inquiry *)question)->pg;
    struct part_job *job = question->job;
    char words[300] = "the session was lost";
    free(question);
    if (result != NULL &&
        (job->kind == PART_JOB_EXAMINE
             ? pg_examine_read(result, &job->results)
             : pg_list_read(pg, result, &job->found, &job->found_count) == TPC_OK)) {
        pg_end(pg, job, PART_JOB_LISTED);
        return;
    }
    if (result != NULL) {
        pg_words(result, session->conn, words, sizeof words);
    }
    pg_retry(pg, job, words);
}

static void list(struct pg_session *session, struct part_job *job)
{
    struct inquiry *inquiry;
    char prefix[PG_GID_TEXT];
    const char *values[1] = {prefix};
    if (tpc_fp_hit(session->pg->options.failpoints.list)) {
        pg_retry(session->pg, job, "server closed the connection unexpectedly (failpoint)");
        return;
    }
    inquiry = tpc_must_alloc(sizeof *inquiry);
    inquiry->question = (struct pg_question){.answered = on_list, .job = job};
    inquiry->pg = session->pg;
    pg_list_prefix(session->pg, prefix);
    pg_send_params(session, &(struct pg_step){.kind = PG_STEP_ASK, .question = &inquiry->question},
                   job->kind == PART_JOB_EXAMINE ? pg_examine_sql : pg_list_sql, 1, values);
    pg_sync(session, false);
}

/* ---- Who does it ---- */

struct pg_session *pg_decide_session(struct part_pg *pg)
{
    struct pg_session *best = NULL;
    for (size_t i = 0; i < pg->decider_count; i++) {
        struct pg_session *session = &pg->deciders[i];
        if (session->state == PG_READY && !session->failed && session->step_count < PG_DEPTH_MAX &&
            (best == NULL || session->step_count < best->step_count)) {
            best = session;
        }
    }
    return best;
}

static void carry_out(struct pg_session *session, struct part_job *job)
{
    switch ((int)job->kind) {
    case PART_JOB_COMMIT:
    case PART_JOB_ABORT:
        send_decision(session, job);
        break;
    case PART_JOB_PROVE:
        prove(session, job);
        break;
    case PART_JOB_LIST:
    case PART_JOB_EXAMINE:
        list(session, job);
        break;
    default:
        TPC_ASSERT(!"a decision");
    }
}

/* Is one of them open, or about to be? Begins to open those that are not. */
static bool any_alive(struct part_pg *pg)
{
    bool any = false;
    for (size_t i = 0; i < pg->decider_count; i++) {
        pg_session_want(&pg->deciders[i]);
        any |= pg->deciders[i].state != PG_CLOSED;
    }
    return any;
}

static struct part_job *take(struct part_pg *pg)
{
    struct part_job *job = pg->decisions;
    pg->decisions = job->next;
    job->next = NULL;
    return job;
}

void pg_decide_run(struct part_pg *pg)
{
    struct pg_session *session;
    while (pg->decisions != NULL && (session = pg_decide_session(pg)) != NULL) {
        carry_out(session, take(pg));
    }
    if (pg->decisions == NULL || any_alive(pg)) {
        return;
    }
    while (pg->decisions != NULL) {
        pg_retry(pg, take(pg), pg->trouble[0] != '\0' ? pg->trouble : "the server is unreachable");
    }
}

void pg_decide_submit(struct part_pg *pg, struct part_job *job)
{
    job->next = NULL;
    *(pg->decisions != NULL ? &pg->decisions_last->next : &pg->decisions) = job;
    pg->decisions_last = job;
}
