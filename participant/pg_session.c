/* A connection to the server, and what was sent on it and is not answered yet.
 *
 * Always in pipeline mode: what is sent is answered in order, and after an error all is skipped up
 * to the next sync. */
#include "participant/pg_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/tpc_assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_ready(void *arg, unsigned events);

static const char xid_name[] = "assent_xid"; /* prepared, else it costs as much as the work */

/* ---- What is under way ---- */

static struct pg_step *first_step(struct pg_session *session)
{
    return session->step_count > 0 ? &session->steps[session->step_first] : NULL;
}

/* Rows one by one: results may be larger than there is memory. To be said before the first byte of
 * the answer is looked at. */
static void expect_next(struct pg_session *session)
{
    const struct pg_step *step = first_step(session);
    session->begun = false;
    if (step != NULL && step->kind == PG_STEP_EXECUTE) {
        (void)PQsetSingleRowMode(session->conn);
    }
}

void pg_push(struct pg_session *session, const struct pg_step *step)
{
    if (session->step_count == session->step_capacity) {
        size_t capacity = session->step_capacity > 0 ? 2 * session->step_capacity : 32;
        struct pg_step *more = tpc_must_calloc(capacity, sizeof *more);
        for (size_t i = 0; i < session->step_count; i++) {
            more[i] = session->steps[(session->step_first + i) % session->step_capacity];
        }
        free(session->steps);
        session->steps = more;
        session->step_first = 0;
        session->step_capacity = capacity;
    }
    size_t at = (session->step_first + session->step_count++) % session->step_capacity;
    session->steps[at] = *step;
    if (session->step_count == 1) {
        expect_next(session);
    }
}

static struct pg_step pop(struct pg_session *session)
{
    struct pg_step step = *first_step(session);
    session->step_first = (session->step_first + 1) % session->step_capacity;
    session->step_count--;
    expect_next(session);
    return step;
}

/* ---- Sending ---- */

void pg_send_params(struct pg_session *session, const struct pg_step *step, const char *sql,
                    int count, const char *const *values)
{
    if (PQsendQueryParams(session->conn, sql, count, NULL, values, NULL, NULL, 0) != 1) {
        session->failed = true;
    }
    pg_push(session, step);
}

void pg_send(struct pg_session *session, const struct pg_step *step, const char *sql)
{
    pg_send_params(session, step, sql, 0, NULL);
}

void pg_send_xid(struct pg_session *session)
{
    if (PQsendQueryPrepared(session->conn, xid_name, 0, NULL, NULL, NULL, 0) != 1) {
        session->failed = true;
    }
    pg_push(session, &(struct pg_step){.kind = PG_STEP_XID, .of_branch = true});
}

static void flush(struct pg_session *session)
{
    int rest = PQflush(session->conn);
    if (rest < 0) {
        session->failed = true;
    } else {
        api_poll_want(session->poll, API_POLL_READ | (rest > 0 ? API_POLL_WRITE : 0u));
    }
}

void pg_sync(struct pg_session *session, bool of_branch)
{
    if (PQpipelineSync(session->conn) != 1) {
        session->failed = true;
    }
    pg_push(session, &(struct pg_step){.kind = PG_STEP_SYNC, .of_branch = of_branch});
    flush(session);
}

/* ---- The end ---- */

static void tell_of_loss(struct pg_session *session, const struct pg_step *step, const char *words)
{
    if (step->job != NULL) {
        pg_decide_on_lost(session->pg, step->job, words);
    } else if (step->question != NULL) {
        step->question->answered(step->question, session, NULL);
    }
}

static void disconnect(struct pg_session *session)
{
    if (session->poll != NULL) {
        api_poll_free(session->poll);
        session->poll = NULL;
    }
    PQfinish(session->conn);
    session->conn = NULL;
    session->state = PG_CLOSED;
    session->failed = session->retires = session->begun = false;
    session->statement_timeout_ms = 0;
    pg_stmts_forget(session);
}

static void back_off(struct pg_session *session)
{
    unsigned shift = session->failures < 6 ? session->failures : 6;
    uint64_t delay_ms = (uint64_t)PG_RECONNECT_FIRST_MS << shift;
    delay_ms = delay_ms < PG_RECONNECT_MAX_MS ? delay_ms : PG_RECONNECT_MAX_MS;
    session->failures++;
    session->not_before_ms = tpc_clock_mono_ms() + delay_ms - tpc_random_u64() % (delay_ms / 4 + 1);
}

void pg_session_lose(struct pg_session *session, const char *words)
{
    struct part_pg *pg = session->pg;
    char kept[sizeof pg->trouble];
    bool was_ready = session->state == PG_READY;
    (void)snprintf(kept, sizeof kept, "%s", words); /* of the connection, perhaps */
    if (!pg->closing) {
        tpc_log(was_ready ? TPC_LOG_WARN : TPC_LOG_INFO,
                was_ready ? "pg.session_lost" : "pg.session_failed", tpc_kv_str("error", kept));
    }
    if (session->busy) {
        pg_branch_on_lost(session, kept); /* asks which session it was */
    }
    pg_pinned_on_lost(session, kept);
    size_t first = session->step_first, count = session->step_count;
    struct pg_step *steps = session->steps;
    size_t capacity = session->step_capacity;
    session->steps = NULL;
    session->step_first = session->step_count = session->step_capacity = 0;
    disconnect(session);
    if (!was_ready) {
        (void)snprintf(pg->trouble, sizeof pg->trouble, "%s", kept);
        back_off(session);
    }
    for (size_t i = 0; i < count; i++) {
        tell_of_loss(session, &steps[(first + i) % capacity], kept);
    }
    free(steps);
}

void pg_session_done(struct pg_session *session)
{
    if (session->conn != NULL) {
        pg_session_lose(session, "the agent is stopping");
    }
    free(session->steps);
    pg_stmts_forget(session);
}

static void retire(struct pg_session *session)
{
    disconnect(session);
    free(session->steps);
    session->steps = NULL;
    session->step_first = session->step_count = session->step_capacity = 0;
}

void pg_sessions_settle(struct part_pg *pg)
{
    for (size_t i = 0; i < pg_session_count(pg); i++) {
        struct pg_session *session = &pg->sessions[i];
        if (session->failed) {
            char words[300];
            pg_words(NULL, session->conn, words, sizeof words);
            pg_session_lose(session, words);
        } else if (session->retires && !session->busy && !session->pinned &&
                   session->state == PG_READY) {
            retire(session); /* what it was still to answer concerns nobody */
        }
    }
}

/* ---- The beginning ---- */

static void ignore_notice(void *arg, const PGresult *result)
{
    (void)arg, (void)result;
}

static void watch(struct pg_session *session, unsigned events)
{
    struct tpc_err err = {0};
    if (session->poll != NULL) {
        api_poll_free(session->poll);
        session->poll = NULL;
    }
    if (api_poll_new(session->pg->options.loop, PQsocket(session->conn), on_ready, session,
                     &session->poll, &err) != TPC_OK) {
        session->failed = true;
        return;
    }
    api_poll_want(session->poll, events);
}

static void begin_setup(struct pg_session *session)
{
    char lock_timeout[24];
    const char *values[1] = {lock_timeout};
    (void)snprintf(lock_timeout, sizeof lock_timeout, "%llu",
                   (unsigned long long)session->pg->options.lock_timeout_ms);
    session->state = PG_SETTING_UP;
    (void)PQsetNoticeReceiver(session->conn, ignore_notice, NULL);
    if (PQsetnonblocking(session->conn, 1) != 0 || PQenterPipelineMode(session->conn) != 1) {
        session->failed = true;
        return;
    }
    watch(session, API_POLL_READ);
    if (session->failed) {
        return;
    }
    pg_send(session, &(struct pg_step){.kind = PG_STEP_FACTS}, pg_facts_sql);
    pg_send_params(session, &(struct pg_step){.kind = PG_STEP_PLAIN}, pg_settings_sql, 1, values);
    if (PQsendPrepare(session->conn, xid_name, "SELECT pg_current_xact_id_if_assigned()", 0,
                      NULL) != 1) {
        session->failed = true;
    }
    pg_push(session, &(struct pg_step){.kind = PG_STEP_PLAIN});
    pg_sync(session, false);
}

static void go_on_connecting(struct pg_session *session)
{
    switch (PQconnectPoll(session->conn)) {
    case PGRES_POLLING_READING:
        watch(session, API_POLL_READ); /* libpq may have taken another socket */
        break;
    case PGRES_POLLING_WRITING:
        watch(session, API_POLL_WRITE);
        break;
    case PGRES_POLLING_OK:
        begin_setup(session);
        break;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE:
        session->failed = true;
        break;
    }
}

void pg_session_want(struct pg_session *session)
{
    struct part_pg *pg = session->pg;
    uint64_t now_ms = tpc_clock_mono_ms();
    if (session->state != PG_CLOSED || session->busy || now_ms < session->not_before_ms ||
        pg->closing) {
        return;
    }
    if (tpc_fp_hit(pg->options.failpoints.connect)) {
        (void)snprintf(pg->trouble, sizeof pg->trouble, "connection refused (failpoint)");
        back_off(session);
        return;
    }
    bool known = pg->host_address[0] != '\0' && session->failures < 5; /* else it may have moved */
    const char *keys[] = {"dbname", "client_encoding", "application_name",
                          known ? "hostaddr" : NULL, NULL};
    const char *values[] = {pg->url, "UTF8", pg->name, pg->host_address, NULL};
    session->conn = PQconnectStartParams(keys, values, 1);
    if (session->conn == NULL) {
        tpc_no_memory();
    }
    session->state = PG_CONNECTING;
    session->begun_ms = now_ms;
    if (PQstatus(session->conn) == CONNECTION_BAD) {
        session->failed = true;
        return;
    }
    watch(session, API_POLL_WRITE);
}

/* ---- Answers ---- */

static void on_facts(struct pg_session *session, const PGresult *result)
{
    struct pg_facts facts;
    struct tpc_err err = {0};
    struct part_pg *pg = session->pg;
    if (!pg_facts_read(result, session->conn, &facts)) {
        session->failed = true;
        return;
    }
    (void)snprintf(session->backend_start, sizeof session->backend_start, "%s",
                   facts.backend_start);
    pg->facts = facts;
    /* Decisions are carried out whatever has become of the server's settings. */
    if (!session->decides &&
        pg_facts_judge(&facts, pg->options.allow_unsafe_settings, &err) != TPC_OK) {
        pg_session_lose(session, err.text);
    }
}

static void on_sync(struct pg_session *session, const struct pg_step *step)
{
    if (session->state == PG_SETTING_UP) {
        session->state = PG_READY;
        session->failures = 0;
        session->pg->trouble[0] = '\0';
    } else if (step->of_branch && session->busy) {
        pg_branch_on_sync(session);
    }
}

static void dispatch(struct pg_session *session, const struct pg_step *step, const PGresult *result)
{
    switch (step->kind) {
    case PG_STEP_FACTS:
        on_facts(session, result);
        break;
    case PG_STEP_DECIDE:
        pg_decide_on_result(session, step, result);
        break;
    case PG_STEP_ASK:
        step->question->answered(step->question, session, result);
        break;
    case PG_STEP_PLAIN:
    case PG_STEP_PARSE:
    case PG_STEP_EXECUTE:
    case PG_STEP_XID:
    case PG_STEP_PREPARE:
    case PG_STEP_COMMIT:
    case PG_STEP_UNDO:
        if (step->of_branch && session->busy) {
            pg_branch_on_result(session, step, result);
        } else if (session->state == PG_SETTING_UP && PQresultStatus(result) == PGRES_FATAL_ERROR) {
            session->failed = true;
        }
        break;
    case PG_STEP_SYNC:
        TPC_ASSERT(!"a result");
    }
}

/* One result; false: no more can be read. */
static bool read_one(struct pg_session *session)
{
    if (session->step_count == 0 || PQisBusy(session->conn)) {
        return false;
    }
    PGresult *result = PQgetResult(session->conn);
    ExecStatusType status = PQresultStatus(result);
    if (result == NULL) {
        if (session->begun) {
            (void)pop(session);
        }
        return true;
    }
    if (status == PGRES_FATAL_ERROR &&
        (pg_is_fatal(result) || PQstatus(session->conn) == CONNECTION_BAD)) {
        char words[300];
        pg_words(result, session->conn, words, sizeof words);
        PQclear(result);
        pg_session_lose(session, words);
        return false;
    }
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
        PQclear(result);
        pg_session_lose(session, "COPY was begun, which cannot be part of a branch");
        return false;
    }
    if (status == PGRES_PIPELINE_SYNC) {
        /* When something is sent while a failed command is being answered, libpq leaves out the
         * NULL that ends its results. */
        if (session->begun) {
            (void)pop(session);
        }
        struct pg_step step = pop(session);
        TPC_ASSERT(step.kind == PG_STEP_SYNC);
        on_sync(session, &step);
    } else {
        struct pg_step *first = first_step(session), step = *first;
        session->begun = true;
        first->job = NULL; /* it has its answer, whatever becomes of the session now */
        first->question = NULL;
        dispatch(session, &step, result);
    }
    PQclear(result);
    return session->conn != NULL && !session->failed;
}

static void on_ready(void *arg, unsigned events)
{
    struct pg_session *session = arg;
    struct part_pg *pg = session->pg;
    part_job_ends_enter(&pg->ends);
    if (session->state == PG_CONNECTING) {
        go_on_connecting(session);
    } else {
        if ((events & API_POLL_WRITE) != 0) {
            flush(session);
        }
        bool good = (events & API_POLL_READ) == 0 || PQconsumeInput(session->conn) == 1;
        /* What came before the end is read all the same. */
        while (read_one(session)) {
        }
        if (!good && session->conn != NULL && session->state != PG_CLOSED) {
            session->failed = true;
        }
    }
    pg_run(pg);
    part_job_ends_offer(&pg->ends);
}
