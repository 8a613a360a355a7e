#include "participant/maria_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/tpc_assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SESSIONS_A_CORE = 8, RESULT_DEFAULT = 4 << 20, WAIT_DEFAULT = 10000, OPEN_DEFAULT = 32 };

static struct part_maria *of(struct part_resource *resource)
{
    return (struct part_maria *)resource;
}

void maria_refuse_job(struct part_maria *maria, struct part_job *job, enum api_cause_code code,
                      const char *words)
{
    maria->stats.conflicts += code == API_CAUSE_CONFLICT;
    part_job_end_as(&maria->ends, job, PART_JOB_REFUSED, code, words);
}

/* ---- What the server holds ---- */

struct maria_held *maria_held_find(const struct part_maria *maria, const struct tpc_id *gtid)
{
    struct maria_held *held = NULL;
    HASH_FIND(hh, maria->held, gtid, sizeof *gtid, held);
    return held;
}

struct maria_held *maria_held_add(struct part_maria *maria, const struct tpc_id *gtid)
{
    struct maria_held *held = maria_held_find(maria, gtid);
    if (held == NULL) {
        held = tpc_must_alloc(sizeof *held);
        held->gtid = *gtid;
        HASH_ADD(hh, maria->held, gtid, sizeof held->gtid, held);
    }
    return held;
}

void maria_held_drop(struct part_maria *maria, const struct tpc_id *gtid)
{
    struct maria_held *held = maria_held_find(maria, gtid);
    if (held != NULL) {
        /* uthash walks by offsets, which the analyzer does not follow. */
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference,clang-analyzer-unix.Malloc) */
        HASH_DEL(maria->held, held);
        free(held);
    }
}

/* ---- Branches that wait for a session ---- */

static void expire(struct part_maria *maria, struct part_job_queue *queue, uint64_t now_ms)
{
    struct part_job *job = part_job_queue_expire(queue, now_ms);
    while (job != NULL) {
        struct part_job *next = job->next;
        maria_refuse_job(
            maria, job, API_CAUSE_TIMEOUT,
            "the time of the transaction ran out while the branch waited for a session of the "
            "server (--sessions)");
        job = next;
    }
}

/* An idle one of these sessions, which @wanted branches wait for; NULL: none, but some may be on
 * their way. */
static struct maria_session *idle_session(struct maria_session *sessions, size_t count,
                                          size_t wanted, bool *ret_alive)
{
    size_t coming = 0;
    *ret_alive = false;
    for (size_t i = 0; i < count; i++) {
        struct maria_session *session = &sessions[i];
        if (session->state == MARIA_READY && !session->busy && !session->retires &&
            !session->failed) {
            *ret_alive = true;
            return session;
        }
        *ret_alive |= session->state != MARIA_CLOSED;
        coming += session->state == MARIA_CONNECTING || session->state == MARIA_SETTING_UP;
    }
    for (size_t i = 0; i < count && coming < wanted; i++) {
        if (sessions[i].state == MARIA_CLOSED) {
            maria_session_want(&sessions[i]);
            coming += sessions[i].state != MARIA_CLOSED;
            *ret_alive |= sessions[i].state != MARIA_CLOSED;
        }
    }
    return NULL;
}

static void hand_out(struct part_maria *maria, struct part_job_queue *queue,
                     struct maria_session *sessions, size_t count)
{
    while (queue->first != NULL) {
        bool alive;
        struct maria_session *session = idle_session(sessions, count, queue->count, &alive);
        if (session == NULL && alive) {
            return;
        }
        if (session == NULL) {
            maria_refuse_job(maria, part_job_queue_take(queue), API_CAUSE_PARTICIPANT_ERROR,
                             maria->trouble[0] != '\0' ? maria->trouble
                                                       : "the server is unreachable");
        } else {
            maria_branch_begin(session, part_job_queue_take(queue));
        }
    }
}

static bool is_held(const struct maria_session *session)
{
    return session->busy && !session->decides && session->branch.phase == MARIA_HELD;
}

/* When its branch has to go to the server's keeping, for others wait for the session: they may be
 * what the decision waits for, by way of other participants. */
static uint64_t let_go_ms(const struct maria_session *session)
{
    return is_held(session) && session->maria->queue.count > 0
               ? session->branch.held_ms + MARIA_LET_GO_MS
               : UINT64_MAX;
}

static void let_go(struct maria_session *session)
{
    struct maria_held *held = maria_held_find(session->maria, &session->branch.gtid);
    TPC_ASSERT(held != NULL && held->session == session);
    held->session = NULL;
    session->busy = false;
    session->retires = true; /* which closes it, and that detaches the branch */
}

/* One for each that waits and finds no session on its way. */
static void let_go_of_some(struct part_maria *maria, uint64_t now_ms)
{
    size_t wanted = maria->queue.count;
    for (size_t i = 0; i < maria->work_count; i++) {
        const struct maria_session *session = &maria->work[i];
        bool free_soon =
            !session->busy && (session->state != MARIA_CLOSED || session->not_before_ms <= now_ms);
        wanted -= wanted > 0 && free_soon;
    }
    for (size_t i = 0; i < maria->work_count && wanted > 0; i++) {
        if (let_go_ms(&maria->work[i]) <= now_ms) {
            let_go(&maria->work[i]);
            wanted--;
        }
    }
}

/* ---- Time ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t session_next_ms(const struct maria_session *session)
{
    if (session->state == MARIA_CONNECTING || session->state == MARIA_SETTING_UP) {
        return session->begun_ms + MARIA_CONNECT_MS;
    }
    if (session->decides || !session->busy || session->branch.phase > MARIA_PREPARING) {
        return UINT64_MAX;
    }
    if (session->branch.stopping) {
        return session->branch.stopped_ms + MARIA_STOP_MS;
    }
    return session->branch.job->deadline_ms != 0 ? session->branch.job->deadline_ms : UINT64_MAX;
}

/* A session for decisions is opened again before anybody needs it. */
static uint64_t reopen_ms(const struct maria_session *session)
{
    return session->decides && session->state == MARIA_CLOSED ? session->not_before_ms : UINT64_MAX;
}

static void look_at(struct maria_session *session, uint64_t now_ms)
{
    if (now_ms < session_next_ms(session)) {
        return;
    }
    if (session->state != MARIA_READY) {
        maria_session_lose(session, "the server does not answer: see whether it is up, and whether "
                                    "a firewall lies between");
    } else if (session->branch.stopping) {
        maria_session_lose(session, "the server does not end a statement that was cancelled");
    } else {
        maria_branch_stop(session, API_CAUSE_TIMEOUT,
                          "the time of the transaction ran out while its statements ran");
    }
}

static void arm(struct part_maria *maria)
{
    uint64_t next_ms =
        earlier(part_job_queue_deadline_ms(&maria->queue), maria_doubts_next_ms(maria));
    next_ms = earlier(next_ms, maria_decide_next_ms(maria));
    next_ms = earlier(next_ms, part_job_queue_deadline_ms(&maria->openers));
    for (size_t i = 0; i < maria_session_count(maria); i++) {
        const struct maria_session *session = &maria->sessions[i];
        next_ms = earlier(next_ms, session_next_ms(session));
        next_ms = earlier(next_ms, reopen_ms(session));
        next_ms = earlier(next_ms, let_go_ms(session));
    }
    if (next_ms == UINT64_MAX) {
        tpc_timer_cancel(maria->options.timers, &maria->timer);
    } else if (maria->timer.slot == 0 || maria->timer.due_ms != next_ms) {
        tpc_timer_arm(maria->options.timers, &maria->timer, next_ms);
    }
}

void maria_run(struct part_maria *maria)
{
    uint64_t now_ms = tpc_clock_mono_ms();
    maria_sessions_settle(maria);
    expire(maria, &maria->queue, now_ms);
    expire(maria, &maria->openers, now_ms);
    let_go_of_some(maria, now_ms);
    maria_sessions_settle(maria);
    hand_out(maria, &maria->openers, maria->pinned, maria->pinned_count);
    hand_out(maria, &maria->queue, maria->work, maria->work_count);
    maria_doubts_expire(maria, now_ms);
    maria_decide_run(maria);
    maria_sessions_settle(maria);
    arm(maria);
}

static void on_timer(struct tpc_timer *timer)
{
    struct part_maria *maria =
        (struct part_maria *)((char *)timer - offsetof(struct part_maria, timer));
    uint64_t now_ms = tpc_clock_mono_ms();
    part_job_ends_enter(&maria->ends);
    for (size_t i = 0; i < maria_session_count(maria); i++) {
        look_at(&maria->sessions[i], now_ms);
        if (reopen_ms(&maria->sessions[i]) <= now_ms) {
            maria_session_want(&maria->sessions[i]);
        }
    }
    maria_run(maria);
    part_job_ends_offer(&maria->ends);
}

/* ---- The interface ---- */

static void submit(struct part_resource *resource, struct part_job *job)
{
    struct part_maria *maria = of(resource);
    job->session = NULL;
    part_job_begin(&maria->ends);
    if (maria_pinned_submit(maria, job)) {
        maria_run(maria);
        return;
    }
    if (job->kind != PART_JOB_PREPARE) {
        maria_decide_submit(maria, job);
    } else if (maria->queue.count >= maria->options.waiting_max) {
        maria_refuse_job(maria, job, API_CAUSE_CONFLICT,
                         "too many branches wait for a session of the server (--waiting-max)");
        return;
    } else {
        maria->stats.waits++;
        part_job_queue_add(&maria->queue, job);
    }
    maria_run(maria);
}

static void cancel(struct part_resource *resource, struct part_job *job)
{
    struct part_maria *maria = of(resource);
    static const char words[] = "the branch was aborted before it was voted on";
    atomic_store(&job->cancelled, true);
    if (job->session != NULL) {
        maria_branch_stop(job->session, API_CAUSE_CLIENT_ABORT, words);
    } else if (part_job_queue_remove(&maria->queue, job) ||
               part_job_queue_remove(&maria->openers, job)) {
        maria_refuse_job(maria, job, API_CAUSE_CLIENT_ABORT, words);
    }
    maria_run(maria);
}

static enum tpc_rc restore(struct part_resource *resource, const struct tpc_id *gtid,
                           uint64_t began_us, const void *payload, size_t size,
                           struct tpc_err *reterr)
{
    struct part_maria *maria = of(resource);
    struct tpc_id identity;
    uint64_t thread;
    char text[TPC_ID_TEXT];
    (void)began_us;
    if (tpc_fp_hit(maria->options.failpoints.restore)) {
        return tpc_fail(reterr, TPC_EIO, "restore of a branch failed (failpoint)");
    }
    if (!maria_payload_unpack(payload, size, &identity, &thread)) {
        return tpc_fail(reterr, TPC_ECORRUPT,
                        "the record of branch %s makes no sense here: was this log another "
                        "database's?",
                        tpc_id_format(gtid, text));
    }
    if (!tpc_id_equal(&identity, &maria->identity)) {
        return tpc_fail(reterr, TPC_EINVAL,
                        "branch %s is in doubt and prepared at another database than this, which "
                        "has another table _assent_applied: start the agent with that one's "
                        "address, or with another --data directory",
                        tpc_id_format(gtid, text));
    }
    maria_held_add(maria, gtid)->detach.thread = (unsigned long)thread;
    return TPC_OK;
}

static enum tpc_rc prove(struct part_resource *resource, const struct tpc_id *gtid,
                         bool *ret_proven, struct tpc_err *reterr)
{
    struct part_maria *maria = of(resource);
    TPC_ASSERT(!maria->started);
    if (tpc_fp_hit(maria->options.failpoints.prove)) {
        return tpc_fail(reterr, TPC_EIO, "the connection was lost (failpoint)");
    }
    return maria_prove_now(maria, gtid, ret_proven, reterr);
}

static enum tpc_rc find(struct part_resource *resource, struct part_found **ret_found,
                        size_t *ret_count, struct tpc_err *reterr)
{
    return maria_find_now(of(resource), ret_found, ret_count, reterr);
}

static enum tpc_rc applied(struct part_resource *resource,
                           void (*each)(void *arg, const struct tpc_id *gtid,
                                        const struct tpc_id *coordinator_id),
                           void *arg, struct tpc_err *reterr)
{
    return maria_applied_now(of(resource), each, arg, reterr);
}

static enum tpc_rc start(struct part_resource *resource, struct tpc_err *reterr)
{
    struct part_maria *maria = of(resource);
    (void)reterr;
    TPC_ASSERT(!maria->started);
    maria->started = true;
    mysql_close(maria->control);
    maria->control = NULL;
    return TPC_OK;
}

static void poll(struct part_resource *resource)
{
    part_job_ends_offer(&of(resource)->ends);
}

static void get_stats(struct part_resource *resource, struct part_resource_stats *out)
{
    struct part_maria *maria = of(resource);
    *out = maria->stats;
    out->branches_held = HASH_COUNT(maria->held);
    out->waiting = maria->queue.count;
}

static void forget(struct part_resource *resource, const struct tpc_id *gtids, size_t count)
{
    struct part_maria *maria = of(resource);
    if (maria->forget_count + count > maria->forget_capacity) {
        maria->forget_capacity = 2 * (maria->forget_count + count);
        maria->forgets =
            tpc_must_realloc(maria->forgets, maria->forget_capacity * sizeof *maria->forgets);
    }
    memcpy(maria->forgets + maria->forget_count, gtids, count * sizeof *gtids);
    maria->forget_count += count;
    maria_run(maria);
}

static void free_all(struct part_maria *maria)
{
    struct maria_held *held, *next;
    HASH_ITER (hh, maria->held, held, next) {
        maria_held_drop(maria, &held->gtid);
    }
    if (maria->control != NULL) {
        mysql_close(maria->control);
    }
    maria_url_done(&maria->url);
    free(maria->kills);
    free(maria->forgets);
    free(maria->sessions);
    free(maria->name);
    free(maria);
}

static void close_resource(struct part_resource *resource)
{
    struct part_maria *maria = of(resource);
    struct part_job *job;
    maria->closing = true;
    while ((job = part_job_queue_take(&maria->queue)) != NULL ||
           (job = part_job_queue_take(&maria->openers)) != NULL) {
        maria_refuse_job(maria, job, API_CAUSE_PARTICIPANT_ERROR, "the participant is stopping");
    }
    for (size_t i = 0; i < maria_session_count(maria); i++) {
        maria_session_done(&maria->sessions[i]);
    }
    maria_doubts_done(maria);
    maria_decide_done(maria, "the participant is stopping");
    if (maria->options.timers != NULL) {
        tpc_timer_cancel(maria->options.timers, &maria->timer);
    }
    part_job_ends_deliver(&maria->ends);
    free_all(maria);
}

static const struct part_resource_ops maria_ops = {
    .submit = submit,
    .cancel = cancel,
    .restore = restore,
    .prove = prove,
    .start = start,
    .find = find,
    .applied = applied,
    .poll = poll,
    .stats = get_stats,
    .forget = forget,
    .close = close_resource,
};

/* One of four for decisions, for those are short. A branch keeps its session until it is decided,
 * and so they are more than at a server where it does not. Those of interactive branches are opened
 * when they are needed, beside the others: a client that thinks keeps nobody from working. */
static void make_sessions(struct part_maria *maria)
{
    size_t count =
        part_session_count(maria->options.sessions, SESSIONS_A_CORE, maria->facts.connections_max);
    maria->decider_count = count / 4 > 1 ? count / 4 : 1;
    maria->work_count = count - maria->decider_count;
    maria->pinned_count =
        (size_t)(maria->options.open_max != 0 ? maria->options.open_max : OPEN_DEFAULT);
    maria->sessions = tpc_must_calloc(maria_session_count(maria), sizeof *maria->sessions);
    maria->work = maria->sessions;
    maria->deciders = maria->work + maria->work_count;
    maria->pinned = maria->deciders + maria->decider_count;
    for (struct maria_session *s = maria->sessions;
         s < maria->sessions + maria_session_count(maria); s++) {
        s->maria = maria;
        s->decides = s >= maria->deciders && s < maria->pinned;
    }
}

static void warn(const struct part_maria *maria)
{
    if (maria->facts.binlog) {
        tpc_log(TPC_LOG_WARN, "maria.binlog",
                tpc_kv_str("advice", "the server writes a binary log, and this version of MariaDB "
                                     "does not bring it in line with prepared transactions after "
                                     "a crash: a replica may then differ. Take log_bin out of its "
                                     "configuration where there is no replica"));
    }
    if (maria->facts.connections_max < maria->work_count + maria->decider_count + 1) {
        tpc_log(TPC_LOG_WARN, "maria.few_connections",
                tpc_kv_uint("max_connections", maria->facts.connections_max),
                tpc_kv_uint("sessions", maria->work_count + maria->decider_count),
                tpc_kv_str("advice", "let an administrator run SET GLOBAL max_connections = 500; "
                                     "and write it into the configuration, or lower --sessions"));
    }
}

enum tpc_rc part_maria_open(const struct part_resource_options *options,
                            struct part_resource **ret_resource, struct tpc_err *reterr)
{
    struct part_maria *maria = tpc_must_alloc(sizeof *maria);
    char name[80];
    const char *password = getenv("MYSQL_PWD");
    (void)snprintf(name, sizeof name, "assent-agent %.48s",
                   options->name != NULL ? options->name : "");
    maria->base.ops = &maria_ops;
    maria->options = *options;
    maria->options.url = NULL;
    maria->options.result_max = options->result_max != 0 ? options->result_max : RESULT_DEFAULT;
    maria->options.waiting_max = options->waiting_max != 0 ? options->waiting_max : WAIT_DEFAULT;
    part_job_ends_init(&maria->ends, &maria->options);
    maria->ends.timers = NULL; /* told at once: here gathering was not measured to gain anything */
    maria->name = tpc_must_strdup(name);
    maria->timer.fire = on_timer;
    enum tpc_rc rc = maria_url_parse(options->url, &maria->url, reterr);
    if (rc == TPC_OK && maria->url.password == NULL && password != NULL) {
        maria->url.password = tpc_must_strdup(password);
    }
    rc = rc == TPC_OK ? maria_preflight(maria, reterr) : rc;
    if (rc != TPC_OK) {
        free_all(maria);
        return rc;
    }
    make_sessions(maria);
    warn(maria);
    *ret_resource = &maria->base;
    return TPC_OK;
}
