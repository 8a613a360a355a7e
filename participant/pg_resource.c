#include "participant/pg_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/tpc_assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SESSIONS_A_CORE = 6, RESULT_DEFAULT = 4 << 20, WAIT_DEFAULT = 10000, OPEN_DEFAULT = 32 };

static struct part_pg *of(struct part_resource *resource)
{
    return (struct part_pg *)resource;
}

/* ---- Jobs that end ---- */

void pg_end(struct part_pg *pg, struct part_job *job, enum part_job_outcome outcome)
{
    part_job_end(&pg->ends, job, outcome);
}

/* ---- What the server holds ---- */

struct pg_held *pg_held_find(const struct part_pg *pg, const struct tpc_id *gtid)
{
    struct pg_held *held = NULL;
    HASH_FIND(hh, pg->held, gtid, sizeof *gtid, held);
    return held;
}

void pg_held_add(struct part_pg *pg, const struct tpc_id *gtid, uint64_t began_us,
                 uint64_t system_id, uint64_t xid)
{
    struct pg_held *held = pg_held_find(pg, gtid);
    if (held == NULL) {
        held = tpc_must_alloc(sizeof *held);
        held->gtid = *gtid;
        HASH_ADD(hh, pg->held, gtid, sizeof held->gtid, held);
    }
    held->began_us = began_us;
    held->system_id = system_id;
    held->xid = xid;
}

void pg_held_drop(struct part_pg *pg, const struct tpc_id *gtid)
{
    struct pg_held *held = pg_held_find(pg, gtid);
    if (held != NULL) {
        /* uthash walks by offsets, which the analyzer does not follow. */
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference,clang-analyzer-unix.Malloc) */
        HASH_DEL(pg->held, held);
        free(held);
    }
}

/* ---- Branches that wait for a session ---- */

static void expire(struct part_pg *pg, struct part_job_queue *queue, uint64_t now_ms)
{
    struct part_job *job = part_job_queue_expire(queue, now_ms);
    while (job != NULL) {
        struct part_job *next = job->next;
        pg_refuse_job(pg, job, API_CAUSE_TIMEOUT,
                      "the time of the transaction ran out while the branch waited for a session "
                      "of the server (--sessions)");
        job = next;
    }
}

static bool is_full(const struct part_pg *pg)
{
    return HASH_COUNT(pg->held) + pg->executing >= pg->facts.max_prepared;
}

/* Does somebody younger hold one of the server's places? */
static bool may_wait_for_place(const struct part_pg *pg, const struct part_job *job)
{
    for (const struct pg_held *held = pg->held; held != NULL; held = held->hh.next) {
        if (held->began_us > job->began_us) {
            return true;
        }
    }
    for (size_t i = 0; i < pg->work_count; i++) {
        if (pg->work[i].busy && part_job_is_older(job, pg->work[i].branch.job)) {
            return true;
        }
    }
    return false;
}

/* The server has no place for one more prepared transaction. Whoever waited here for an older one
 * might hold a place elsewhere that that one waits for: only the older waits for the younger. */
static void wait_or_die(struct part_pg *pg)
{
    struct part_job *waits = NULL, *job;
    while ((job = part_job_queue_take(&pg->queue)) != NULL) {
        if (may_wait_for_place(pg, job)) {
            job->next = waits;
            waits = job;
        } else {
            pg_refuse_job(pg, job, API_CAUSE_CONFLICT,
                          "all places for prepared transactions at the server are taken "
                          "(max_prepared_transactions)");
        }
    }
    while ((job = waits) != NULL) {
        waits = job->next;
        part_job_queue_add(&pg->queue, job);
    }
}

/* An idle one of these sessions, which @wanted branches wait for; NULL: none, but some may be on
 * their way. */
static struct pg_session *idle_session(struct pg_session *sessions, size_t count, size_t wanted,
                                       bool *ret_alive)
{
    size_t coming = 0;
    *ret_alive = false;
    for (size_t i = 0; i < count; i++) {
        struct pg_session *session = &sessions[i];
        if (session->state == PG_READY && !session->busy && !session->pinned && !session->retires &&
            !session->failed) {
            *ret_alive = true;
            return session;
        }
        *ret_alive |= session->state != PG_CLOSED;
        coming += session->state == PG_CONNECTING || session->state == PG_SETTING_UP;
    }
    for (size_t i = 0; i < count && coming < wanted; i++) {
        if (sessions[i].state == PG_CLOSED) {
            pg_session_want(&sessions[i]);
            coming += sessions[i].state != PG_CLOSED;
            *ret_alive |= sessions[i].state != PG_CLOSED;
        }
    }
    return NULL;
}

static void refuse_unreachable(struct part_pg *pg, struct part_job *job)
{
    pg_refuse_job(pg, job, API_CAUSE_PARTICIPANT_ERROR,
                  pg->trouble[0] != '\0' ? pg->trouble : "the server is unreachable");
}

static void open_interactive(struct part_pg *pg)
{
    while (pg->openers.first != NULL) {
        bool alive;
        struct pg_session *session =
            idle_session(pg->pinned, pg->pinned_count, pg->openers.count, &alive);
        if (session != NULL) {
            pg_branch_begin(session, part_job_queue_take(&pg->openers));
        } else if (alive) {
            return;
        } else {
            refuse_unreachable(pg, part_job_queue_take(&pg->openers));
        }
    }
}

static void hand_out(struct part_pg *pg)
{
    while (pg->queue.first != NULL) {
        bool alive;
        struct pg_session *session =
            idle_session(pg->work, pg->work_count, pg->queue.count, &alive);
        if (session == NULL && alive) {
            return;
        }
        if (session == NULL) {
            refuse_unreachable(pg, part_job_queue_take(&pg->queue));
        } else if (is_full(pg)) {
            wait_or_die(pg);
            return;
        } else {
            pg_branch_begin(session, part_job_queue_take(&pg->queue));
        }
    }
}

/* ---- Time ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t session_next_ms(const struct pg_session *session)
{
    if (session->state == PG_CONNECTING || session->state == PG_SETTING_UP) {
        return session->begun_ms + PG_CONNECT_MS;
    }
    if (session->busy && session->branch.stopping) {
        return session->branch.stopped_ms + PG_STOP_MS;
    }
    if (session->busy && session->branch.phase <= PG_PREPARING &&
        session->branch.job->deadline_ms != 0) {
        return session->branch.job->deadline_ms;
    }
    return UINT64_MAX;
}

/* A session for decisions is opened again before anybody needs it. */
static uint64_t reopen_ms(const struct pg_session *session)
{
    return session->decides && session->state == PG_CLOSED ? session->not_before_ms : UINT64_MAX;
}

static void look_at(struct pg_session *session, uint64_t now_ms)
{
    if (now_ms < session_next_ms(session)) {
        return;
    }
    if (session->state != PG_READY) {
        pg_session_lose(session, "timeout expired: the server does not answer");
    } else if (session->branch.stopping) {
        pg_session_lose(session, "the server does not end a statement that was cancelled");
    } else {
        pg_branch_stop(session, API_CAUSE_TIMEOUT,
                       "the time of the transaction ran out while its statements ran");
    }
}

static void arm(struct part_pg *pg)
{
    uint64_t next_ms = earlier(part_job_queue_deadline_ms(&pg->queue), pg_doubts_next_ms(pg));
    next_ms = earlier(next_ms, part_job_queue_deadline_ms(&pg->openers));
    for (size_t i = 0; i < pg_session_count(pg); i++) {
        next_ms = earlier(next_ms, session_next_ms(&pg->sessions[i]));
        next_ms = earlier(next_ms, reopen_ms(&pg->sessions[i]));
    }
    if (next_ms == UINT64_MAX) {
        tpc_timer_cancel(pg->options.timers, &pg->timer);
    } else if (pg->timer.slot == 0 || pg->timer.due_ms != next_ms) {
        tpc_timer_arm(pg->options.timers, &pg->timer, next_ms);
    }
}

void pg_run(struct part_pg *pg)
{
    uint64_t now_ms = tpc_clock_mono_ms();
    pg_sessions_settle(pg);
    expire(pg, &pg->queue, now_ms);
    expire(pg, &pg->openers, now_ms);
    open_interactive(pg);
    hand_out(pg);
    pg_decide_run(pg);
    pg_doubts_run(pg, now_ms);
    pg_sessions_settle(pg);
    arm(pg);
}

static void on_timer(struct tpc_timer *timer)
{
    struct part_pg *pg = (struct part_pg *)((char *)timer - offsetof(struct part_pg, timer));
    uint64_t now_ms = tpc_clock_mono_ms();
    part_job_ends_enter(&pg->ends);
    for (size_t i = 0; i < pg_session_count(pg); i++) {
        look_at(&pg->sessions[i], now_ms);
        if (reopen_ms(&pg->sessions[i]) <= now_ms) {
            pg_session_want(&pg->sessions[i]);
        }
    }
    pg_run(pg);
    part_job_ends_offer(&pg->ends);
}

/* ---- The interface ---- */

bool pg_has_past(struct part_pg *pg, struct part_job *job)
{
    const struct part_proof *proof = part_proofs_find(&pg->proofs, &job->gtid);
    if (proof == NULL) {
        return false;
    }
    if (proof->committed) {
        pg_end(pg, job, PART_JOB_PROVEN);
    } else {
        pg_refuse_job(pg, job, API_CAUSE_PARTICIPANT_ERROR,
                      "this branch was begun before, and may have been committed");
    }
    return true;
}

static void submit(struct part_resource *resource, struct part_job *job)
{
    struct part_pg *pg = of(resource);
    job->session = NULL;
    part_job_begin(&pg->ends);
    if (pg_pinned_submit(pg, job)) {
        pg_run(pg);
        return;
    }
    if (job->kind != PART_JOB_PREPARE) {
        pg_decide_submit(pg, job);
    } else if (pg_has_past(pg, job)) {
        return;
    } else if (pg->queue.count >= pg->options.waiting_max) {
        pg_refuse_job(pg, job, API_CAUSE_CONFLICT,
                      "too many branches wait for a session of the server (--waiting-max)");
        return;
    } else {
        pg->stats.waits++;
        part_job_queue_add(&pg->queue, job);
    }
    pg_run(pg);
}

static void cancel(struct part_resource *resource, struct part_job *job)
{
    struct part_pg *pg = of(resource);
    static const char words[] = "the branch was aborted before it was voted on";
    atomic_store(&job->cancelled, true);
    if (job->session != NULL) {
        pg_branch_stop(job->session, API_CAUSE_CLIENT_ABORT, words);
    } else if (part_job_queue_remove(&pg->queue, job) || part_job_queue_remove(&pg->openers, job)) {
        pg_refuse_job(pg, job, API_CAUSE_CLIENT_ABORT, words);
    }
    pg_run(pg);
}

static enum tpc_rc restore(struct part_resource *resource, const struct tpc_id *gtid,
                           uint64_t began_us, const void *payload, size_t size,
                           struct tpc_err *reterr)
{
    struct part_pg *pg = of(resource);
    uint64_t system_id, xid;
    char text[TPC_ID_TEXT];
    if (tpc_fp_hit(pg->options.failpoints.restore)) {
        return tpc_fail(reterr, TPC_EIO, "restore of a branch failed (failpoint)");
    }
    if (!pg_payload_read(payload, size, &system_id, &xid)) {
        return tpc_fail(reterr, TPC_ECORRUPT,
                        "the record of branch %s makes no sense here: was "
                        "this log another database's?",
                        tpc_id_format(gtid, text));
    }
    if (system_id != pg->facts.system_id) {
        return tpc_fail(
            reterr, TPC_EINVAL,
            "branch %s is in doubt and prepared at the server with the system identifier "
            "%llu, but this is %llu: start the agent with that server's address, or "
            "with another --data directory",
            tpc_id_format(gtid, text), (unsigned long long)system_id,
            (unsigned long long)pg->facts.system_id);
    }
    pg_held_add(pg, gtid, began_us, system_id, xid);
    return TPC_OK;
}

static enum tpc_rc prove(struct part_resource *resource, const struct tpc_id *gtid,
                         bool *ret_proven, struct tpc_err *reterr)
{
    struct part_pg *pg = of(resource);
    TPC_ASSERT(!pg->started);
    if (tpc_fp_hit(pg->options.failpoints.prove)) {
        return tpc_fail(reterr, TPC_EIO, "server closed the connection unexpectedly (failpoint)");
    }
    return pg_prove_now(pg, gtid, ret_proven, reterr);
}

static enum tpc_rc learn(struct part_resource *resource, const struct tpc_id *gtid,
                         const void *payload, size_t size, bool committed, struct tpc_err *reterr)
{
    struct part_pg *pg = of(resource);
    uint64_t system_id, xid = 0;
    char text[TPC_ID_TEXT];
    if (payload != NULL && !pg_payload_read(payload, size, &system_id, &xid)) {
        return tpc_fail(reterr, TPC_ECORRUPT,
                        "the record of branch %s makes no sense here: was "
                        "this log another database's?",
                        tpc_id_format(gtid, text));
    }
    struct part_proof *proof = part_proofs_get(&pg->proofs, gtid);
    proof->committed |= committed;
    if (payload != NULL) {
        proof->number = system_id == pg->facts.system_id ? xid : 0;
    }
    return TPC_OK;
}

static enum tpc_rc find(struct part_resource *resource, struct part_found **ret_found,
                        size_t *ret_count, struct tpc_err *reterr)
{
    return pg_find_now(of(resource), ret_found, ret_count, reterr);
}

static enum tpc_rc start(struct part_resource *resource, struct tpc_err *reterr)
{
    struct part_pg *pg = of(resource);
    (void)reterr;
    TPC_ASSERT(!pg->started);
    pg->started = true;
    PQfinish(pg->control);
    pg->control = NULL;
    return TPC_OK;
}

static void poll(struct part_resource *resource)
{
    part_job_ends_offer(&of(resource)->ends);
}

static void get_stats(struct part_resource *resource, struct part_resource_stats *out)
{
    struct part_pg *pg = of(resource);
    *out = pg->stats;
    out->branches_held = HASH_COUNT(pg->held);
    out->waiting = pg->queue.count;
}

static void forget(struct part_resource *resource, const struct tpc_id *gtids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        part_proofs_remove(&of(resource)->proofs, &gtids[i]);
    }
}

static void proceed(struct part_resource *resource, struct part_job *job)
{
    struct part_pg *pg = of(resource);
    pg_branch_proceed(job->session);
    pg_run(pg);
}

static void free_all(struct part_pg *pg)
{
    struct pg_held *held, *next;
    HASH_ITER (hh, pg->held, held, next) {
        pg_held_drop(pg, &held->gtid);
    }
    PQfinish(pg->control);
    part_proofs_done(&pg->proofs);
    free(pg->sessions);
    free(pg->url);
    free(pg->name);
    free(pg);
}

static void close_resource(struct part_resource *resource)
{
    struct part_pg *pg = of(resource);
    struct part_job *job;
    pg->closing = true;
    while ((job = part_job_queue_take(&pg->queue)) != NULL ||
           (job = part_job_queue_take(&pg->openers)) != NULL) {
        pg_refuse_job(pg, job, API_CAUSE_PARTICIPANT_ERROR, "the participant is stopping");
    }
    for (size_t i = 0; i < pg_session_count(pg); i++) {
        pg_session_done(&pg->sessions[i]);
    }
    pg_doubts_done(pg);
    while ((job = pg->decisions) != NULL) {
        pg->decisions = job->next;
        pg_retry(pg, job, "the participant is stopping");
    }
    if (pg->options.timers != NULL) {
        tpc_timer_cancel(pg->options.timers, &pg->timer);
    }
    part_job_ends_deliver(&pg->ends);
    free_all(pg);
}

static const struct part_resource_ops pg_ops = {
    .submit = submit,
    .cancel = cancel,
    .restore = restore,
    .prove = prove,
    .start = start,
    .learn = learn,
    .find = find,
    .proceed = proceed,
    .poll = poll,
    .stats = get_stats,
    .forget = forget,
    .close = close_resource,
};

/* One of four for decisions, for those are short. Those that pin are opened when they are needed,
 * beside the others: a client that thinks keeps nobody from working. */
static void make_sessions(struct part_pg *pg)
{
    size_t count =
        part_session_count(pg->options.sessions, SESSIONS_A_CORE, pg->facts.connections_max);
    pg->decider_count = count / 4 > 1 ? count / 4 : 1;
    pg->work_count = count - pg->decider_count;
    pg->pinned_count = (size_t)(pg->options.open_max != 0 ? pg->options.open_max : OPEN_DEFAULT);
    pg->sessions = tpc_must_calloc(pg_session_count(pg), sizeof *pg->sessions);
    pg->work = pg->sessions;
    pg->deciders = pg->work + pg->work_count;
    pg->pinned = pg->deciders + pg->decider_count;
    for (struct pg_session *s = pg->sessions; s < pg->sessions + pg_session_count(pg); s++) {
        s->pg = pg;
        s->decides = s >= pg->deciders && s < pg->pinned;
    }
}

static void warn(const struct part_pg *pg)
{
    size_t sessions = pg->work_count + pg->decider_count;
    if (pg->facts.connections_max < sessions + 1) {
        tpc_log(TPC_LOG_WARN, "pg.few_connections",
                tpc_kv_uint("max_connections", pg->facts.connections_max),
                tpc_kv_uint("sessions", sessions),
                tpc_kv_str("advice", "let a superuser run ALTER SYSTEM SET max_connections = 200; "
                                     "and restart the server, or lower --sessions"));
    }
    if (pg->facts.max_prepared < 2 * pg->work_count) {
        tpc_log(TPC_LOG_WARN, "pg.few_places",
                tpc_kv_uint("max_prepared_transactions", pg->facts.max_prepared),
                tpc_kv_uint("sessions", sessions),
                tpc_kv_str("advice", "transactions will be refused while all places are taken: let "
                                     "a superuser run ALTER SYSTEM SET max_prepared_transactions = "
                                     "200; and restart the server, or lower --sessions"));
    }
}

enum tpc_rc part_pg_open(const struct part_resource_options *options,
                         struct part_resource **ret_resource, struct tpc_err *reterr)
{
    struct part_pg *pg = tpc_must_alloc(sizeof *pg);
    char name[64], id[TPC_ID_TEXT];
    /* The server keeps 63 bytes of it. */
    (void)snprintf(name, sizeof name, "assent-agent %.12s %s",
                   options->name != NULL ? options->name : "",
                   tpc_id_format(&options->participant_id, id));
    pg->base.ops = &pg_ops;
    pg->options = *options;
    pg->options.url = NULL;
    pg->options.result_max = options->result_max != 0 ? options->result_max : RESULT_DEFAULT;
    pg->options.waiting_max = options->waiting_max != 0 ? options->waiting_max : WAIT_DEFAULT;
    part_job_ends_init(&pg->ends, &pg->options);
    pg->url = tpc_must_strdup(options->url);
    pg->name = tpc_must_strdup(name);
    pg->timer.fire = on_timer;
    enum tpc_rc rc = pg_preflight(pg, reterr);
    rc = rc == TPC_OK ? pg_fence_now(pg, reterr) : rc;
    if (rc != TPC_OK) {
        free_all(pg);
        return rc;
    }
    make_sessions(pg);
    warn(pg);
    *ret_resource = &pg->base;
    return TPC_OK;
}
