/* Events into the state machine, effects out of it: the only place that steps a transaction. */
#include "coordinator/daemon.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/tpc_assert.h"

#include <stdlib.h>
#include <string.h>

enum {
    GRACE_MS = 500,       /* how long an abort waits for its acknowledgements */
    RETRY_FIRST_MS = 100, /* telling an outcome again: first, and at most */
    RETRY_MAX_MS = 5000,
    AGAIN_FIRST_MS = 2, /* a transaction refused for conflict: first, and at most */
    AGAIN_MAX_MS = 64,
    FORCE_AGAIN_MS = 10, /* a record for which the log had no room */
};

static void on_txn_timer(struct tpc_timer *timer);
static void on_retry_timer(struct tpc_timer *timer);

/* Half fixed, half random. */
static uint64_t jitter(uint64_t ms)
{
    return ms / 2 + tpc_random_u64() % (ms / 2 + 1);
}

static void log_move(const struct coord_xact *xact, enum coord_state from, const char *cause,
                     const char *participant)
{
    tpc_log(TPC_LOG_INFO, "txn.move", tpc_kv_id("gtid", &xact->gtid),
            tpc_kv_str("from", coord_state_name(from)),
            tpc_kv_str("to", coord_state_name((enum coord_state)xact->fsm->state)),
            tpc_kv_str("cause", cause), tpc_kv_str("participant", participant));
}

static void arm(struct coord_xact *xact, uint64_t due_ms)
{
    xact->timer.fire = on_txn_timer;
    tpc_timer_arm(&xact->daemon->timers, &xact->timer, due_ms);
}

/* ---- Records ---- */

static void on_forced(struct wal_append *append, enum tpc_rc rc, const struct tpc_err *err)
{
    struct coord_xact *xact = coord_container(append, struct coord_xact, append);
    xact->forcing = false;
    if (rc != TPC_OK) {
        tpc_log(TPC_LOG_ERROR, "log.failed", tpc_kv_id("gtid", &xact->gtid),
                tpc_kv_str("error", err->text));
        coord_event(xact, &(struct coord_event){.type = COORD_EV_FORCE_FAILED}, "FORCE_FAILED");
        return;
    }
    coord_watermark_forced(xact->daemon);
    (void)coord_fp(xact->fsm->state == COORD_LOGGING ? COORD_FP_DECISION_FORCED
                                                     : COORD_FP_PENDING_FORCED);
    coord_event(xact, &(struct coord_event){.type = COORD_EV_FORCED}, "FORCED");
}

/* COMMIT: if we crash before this is durable the outcome is abort, by presumption, and nobody was
 * told otherwise; after it, recovery tells every branch.
 * PENDING: if we crash before this is durable nobody was told the transaction's id, so nobody can
 * take our not knowing it for an abort; after it, recovery asks the participant.
 *
 * A record that could not even be queued is certainly not there: it is tried again. */
static void force(struct coord_xact *xact)
{
    enum wal_kind kind = xact->fsm->state == COORD_LOGGING ? WAL_COORD_COMMIT : WAL_COORD_PENDING;
    struct coord_record record;
    struct tpc_buf buf = {0};
    if (coord_fp(kind == WAL_COORD_COMMIT ? COORD_FP_DECISION_FORCE : COORD_FP_PENDING_FORCE)) {
        coord_event(xact, &(struct coord_event){.type = COORD_EV_FORCE_FAILED}, "FORCE_FAILED");
        return;
    }
    coord_record_fill(xact, &record);
    enum tpc_rc rc = coord_record_write(&buf, kind, &record);
    if (rc == TPC_OK) {
        xact->append = (struct wal_append){.size = buf.size, .force = true, .done = on_forced};
        xact->append.data = tpc_buf_take(&buf);
        rc = wal_log_submit(xact->daemon->log, &xact->append);
    }
    tpc_buf_done(&buf);
    xact->forcing = rc == TPC_OK;
    xact->logged = xact->logged || rc == TPC_OK;
    xact->daemon->forces_begun += rc == TPC_OK;
    if (rc != TPC_OK) {
        xact->daemon->stats.log_full++;
        arm(xact, tpc_clock_mono_ms() + FORCE_AGAIN_MS);
    }
}

/* Lazy: if it is lost, recovery tells every branch once more and they say so again. Participants
 * keep what they need for that until it is durable (watermark.c). */
void coord_log_end(struct coord_xact *xact)
{
    struct coord_daemon *daemon = xact->daemon;
    struct coord_record record;
    struct tpc_buf buf = {0};
    if (daemon->stopping) {
        return; /* the log is closed */
    }
    (void)coord_fp(COORD_FP_END_LOG);
    coord_record_fill(xact, &record);
    enum tpc_rc rc = coord_record_write(&buf, WAL_COORD_END, &record);
    if (rc == TPC_OK) {
        size_t size = buf.size;
        rc = wal_log_submit_lazy(daemon->log, tpc_buf_take(&buf), size);
    }
    tpc_buf_done(&buf);
    if (rc == TPC_OK && xact->logged) {
        coord_watermark_ended(daemon, &xact->gtid);
    } else if (xact->logged && !xact->end_unlogged) {
        xact->end_unlogged = true;
        daemon->ends_unlogged++;
    }
    xact->logged = xact->logged || rc == TPC_OK;
}

/* ---- Sending ---- */

static void send_to(struct coord_xact *xact, enum api_op op, uint64_t branches, bool again)
{
    for (unsigned i = 0; i < xact->branch_count; i++) {
        if ((branches & TPC_BIT(i)) != 0) {
            coord_link_send(xact->branches[i].member, op, xact, i, again);
        }
    }
}

/* A branch whose prepare has not left yet needs no abort: that message is dropped where it waits.
 * Returns those branches. */
static uint64_t send_abort(struct coord_xact *xact, uint64_t branches, bool again)
{
    uint64_t unsent = 0;
    for (unsigned i = 0; i < xact->branch_count; i++) {
        if ((branches & TPC_BIT(i)) != 0 && !xact->branches[i].sent && !xact->recovered) {
            unsent |= TPC_BIT(i);
        }
    }
    send_to(xact, API_OP_ABORT, branches & ~unsent, again);
    return unsent;
}

static void retry_later(struct coord_xact *xact, uint64_t branches)
{
    struct coord_daemon *daemon = xact->daemon;
    for (unsigned i = 0; i < xact->branch_count; i++) {
        struct coord_xbranch *branch = &xact->branches[i];
        if ((branches & TPC_BIT(i)) == 0 || branch->retry.slot != 0) {
            continue;
        }
        uint32_t backoff_ms = branch->backoff_ms == 0 ? RETRY_FIRST_MS : branch->backoff_ms * 2;
        branch->backoff_ms = backoff_ms < RETRY_MAX_MS ? backoff_ms : RETRY_MAX_MS;
        branch->retry.fire = on_retry_timer;
        tpc_timer_arm(&daemon->timers, &branch->retry,
                      tpc_clock_mono_ms() + jitter(branch->backoff_ms));
    }
}

static void on_retry_timer(struct tpc_timer *timer)
{
    struct coord_xbranch *branch = coord_container(timer, struct coord_xbranch, retry);
    (void)coord_fp(COORD_FP_RETRY_SEND);
    branch->member->retries++;
    coord_event_from(branch->xact, COORD_EV_RETRY, branch->index, NULL);
}

/* ---- Endings ---- */

/* Not when somebody wants its end, nor when a branch of this attempt was committed by hand: that is
 * a hazard of this gtid, to be shown. */
static bool may_go_on(const struct coord_xact *xact)
{
    return xact->fsm->hazards == 0 && !xact->last_attempt && !xact->daemon->draining &&
           tpc_clock_mono_ms() < xact->deadline_ms;
}

static bool wants_another_attempt(const struct coord_xact *xact)
{
    return xact->fsm->state == COORD_ABORTED && xact->cause.code == API_CAUSE_CONFLICT &&
           xact->attempts < xact->daemon->settings->attempts_max && may_go_on(xact);
}

static void schedule_again(struct coord_xact *xact)
{
    unsigned shift = xact->attempts < 6 ? xact->attempts : 6;
    uint64_t backoff_ms = (uint64_t)AGAIN_FIRST_MS << shift;
    xact->waiting_again = true;
    tpc_timer_arm(&xact->daemon->timers, &xact->timer,
                  tpc_clock_mono_ms() +
                      jitter(backoff_ms < AGAIN_MAX_MS ? backoff_ms : AGAIN_MAX_MS));
}

static void count_end(struct coord_xact *xact)
{
    struct coord_stats *stats = &xact->daemon->stats;
    bool commit = coord_outcome(xact->fsm) == COORD_COMMIT;
    if (commit) {
        stats->committed++;
    } else {
        stats->aborted++;
        stats->aborts_by_cause[xact->cause.code]++;
    }
    if (xact->began_mono_us != 0) {
        xact->took_us = tpc_clock_mono_us() - xact->began_mono_us;
        if (xact->logged && !xact->daemon->stopping) {
            wal_log_pace(xact->daemon->log, xact->took_us);
        }
        api_histogram_add(&stats->duration, (double)xact->took_us / 1e6);
    }
}

static void finish(struct coord_xact *xact)
{
    tpc_timer_cancel(&xact->daemon->timers, &xact->timer);
    for (unsigned i = 0; i < xact->branch_count; i++) {
        tpc_timer_cancel(&xact->daemon->timers, &xact->branches[i].retry);
    }
    count_end(xact);
    if (coord_outcome(xact->fsm) == COORD_ABORT) {
        coord_key_drop(xact); /* it may be tried again */
    }
    coord_xact_mark_ended(xact);
    coord_waiters_ended(xact);
    coord_results_make_room(xact->daemon);
}

void coord_xact_give_up(struct coord_xact *xact)
{
    TPC_ASSERT(xact->waiting_again);
    xact->waiting_again = false;
    finish(xact);
}

static void on_ended(struct coord_xact *xact)
{
    if (wants_another_attempt(xact)) {
        schedule_again(xact);
    } else {
        finish(xact);
    }
}

static void begin_attempt(struct coord_xact *xact)
{
    struct coord_daemon *daemon = xact->daemon;
    bool one_phase = xact->fsm->one_phase;
    struct tpc_id gtid;
    (void)coord_fp(COORD_FP_ATTEMPT_AGAIN);
    tpc_id_gen_next(&daemon->ids, tpc_clock_wall_us() / 1000, &gtid);
    tpc_log(TPC_LOG_INFO, "txn.again", tpc_kv_id("gtid", &gtid), tpc_kv_id("id", &xact->id),
            tpc_kv_id("refused", &xact->gtid), tpc_kv_uint("attempt", xact->attempts + 1));
    coord_xact_regtid(xact, &gtid);
    coord_init(xact->fsm, xact->branch_count, one_phase);
    for (unsigned i = 0; i < xact->branch_count; i++) {
        free(xact->branches[i].results);
        xact->branches[i].results = NULL;
        xact->branches[i].results_size = 0;
        xact->branches[i].sent = false;
        xact->branches[i].backoff_ms = 0;
    }
    api_cause_done(&xact->cause);
    memset(&xact->cause, 0, sizeof xact->cause);
    xact->cause_branch = -1;
    xact->waiting_again = false;
    daemon->stats.attempts_again++;
    coord_xact_start(xact);
}

/* Who was waited for. */
static void set_timeout_cause(struct coord_xact *xact)
{
    struct tpc_buf text = {0};
    int silent = -1;
    for (unsigned i = 0; i < xact->branch_count; i++) {
        if (xact->fsm->branches[i].vote == COORD_VOTE_NONE) {
            tpc_buf_addf(&text, "%s'%s'", text.size > 0 ? ", " : "",
                         xact->branches[i].member->name);
            silent = silent < 0 ? (int)i : silent;
        }
    }
    tpc_buf_addf(&text, " had not voted when the time-out of %llu ms ran out",
                 (unsigned long long)xact->timeout_ms);
    coord_xact_set_cause(xact, silent, API_CAUSE_TIMEOUT, text.failed ? NULL : text.data);
    tpc_buf_done(&text);
}

/* Nobody went on with it, or a participant is silent. */
static void set_idle_cause(struct coord_xact *xact)
{
    struct tpc_buf text = {0};
    int silent = xact->step != NULL ? (int)xact->step_branch : -1;
    if (silent >= 0) {
        tpc_buf_addf(&text, "'%s' did not answer a step", xact->branches[silent].member->name);
    } else {
        tpc_buf_adds(&text, "nobody went on with the interactive transaction");
    }
    tpc_buf_addf(&text, " within its time-out of %llu ms", (unsigned long long)xact->timeout_ms);
    coord_xact_set_cause(xact, silent, API_CAUSE_TIMEOUT, text.failed ? NULL : text.data);
    tpc_buf_done(&text);
}

static void on_txn_timer(struct tpc_timer *timer)
{
    struct coord_xact *xact = coord_container(timer, struct coord_xact, timer);
    if (xact->waiting_again) {
        if (may_go_on(xact)) {
            begin_attempt(xact);
        } else {
            coord_xact_give_up(xact);
        }
    } else if (xact->fsm->state == COORD_ABORTING) {
        coord_event(xact, &(struct coord_event){.type = COORD_EV_GRACE}, "GRACE");
    } else if (xact->fsm->state == COORD_LOGGING || xact->fsm->state == COORD_QUERYING) {
        force(xact);
    } else {
        if (xact->fsm->state == COORD_PREPARING) {
            set_timeout_cause(xact);
        } else if (xact->fsm->state == COORD_ACTIVE) {
            set_idle_cause(xact);
        }
        coord_event(xact, &(struct coord_event){.type = COORD_EV_TIMEOUT}, "TIMEOUT");
    }
}

static void show_hazard(struct coord_xact *xact, uint64_t branches)
{
    static const char *const ends[] = {[COORD_END_NONE] = "none",
                                       [COORD_END_COMMITTED] = "committed",
                                       [COORD_END_ABORTED] = "aborted",
                                       [COORD_END_UNKNOWN] = "unknown",
                                       [COORD_END_OTHER] = "other_log"};
    xact->daemon->stats.hazards++;
    for (unsigned i = 0; i < xact->branch_count; i++) {
        if ((branches & TPC_BIT(i)) != 0) {
            tpc_log(TPC_LOG_ERROR, "txn.hazard", tpc_kv_id("gtid", &xact->gtid),
                    tpc_kv_str("participant", xact->branches[i].member->name),
                    tpc_kv_str("decided",
                               coord_outcome(xact->fsm) == COORD_COMMIT ? "commit" : "abort"),
                    tpc_kv_str("end", ends[xact->fsm->branches[i].end]));
        }
    }
    if (xact->ended) {
        coord_xact_keep_again(xact);
    }
}

/* ---- Effects ---- */

/* Returns the branches that turn out never to have been reached by their prepare. */
static uint64_t carry_out(struct coord_xact *xact, const struct coord_effect *effect, bool again)
{
    switch (effect->type) {
    case COORD_FX_SEND_PREPARE:
        send_to(xact, API_OP_PREPARE, effect->branches, false);
        break;
    case COORD_FX_SEND_COMMIT:
        send_to(xact, API_OP_COMMIT, effect->branches, again);
        break;
    case COORD_FX_SEND_ABORT:
        return send_abort(xact, effect->branches, again);
    case COORD_FX_FORCE_COMMIT:
    case COORD_FX_FORCE_PENDING:
        force(xact);
        break;
    case COORD_FX_LOG_END:
        coord_log_end(xact);
        break;
    case COORD_FX_ARM_TIMEOUT:
        arm(xact, xact->deadline_ms);
        break;
    case COORD_FX_CANCEL_TIMEOUT:
        tpc_timer_cancel(&xact->daemon->timers, &xact->timer);
        break;
    case COORD_FX_ARM_GRACE:
        arm(xact, tpc_clock_mono_ms() + GRACE_MS);
        break;
    case COORD_FX_RETRY_LATER:
        retry_later(xact, effect->branches);
        break;
    case COORD_FX_TELL_DECIDED:
        coord_waiters_decided(xact);
        break;
    case COORD_FX_TELL_UNKNOWN:
        coord_waiters_unknown(xact);
        break;
    case COORD_FX_TELL_ENDED:
        on_ended(xact);
        break;
    case COORD_FX_SHOW_HAZARD:
        show_hazard(xact, effect->branches);
        break;
    case COORD_FX_HALT:
        coord_halt(
            "a record could not be forced: nobody knows whether it is durable; the next start "
            "decides from what is in the log",
            NULL);
    case COORD_EFFECT_COUNT:
    default:
        TPC_ASSERT(false);
    }
    return 0;
}

static void step(struct coord_xact *xact, const struct coord_event *event, const char *cause,
                 const char *participant)
{
    enum coord_state from = (enum coord_state)xact->fsm->state;
    struct coord_effects effects = {0};
    struct tpc_id gtid = xact->gtid;
    if (coord_step(xact->fsm, event, &effects) != TPC_OK) {
        tpc_log(TPC_LOG_DEBUG, "txn.ignored", tpc_kv_id("gtid", &gtid),
                tpc_kv_str("state", coord_state_name(from)), tpc_kv_str("event", cause),
                tpc_kv_str("participant", participant));
        return;
    }
    if (xact->fsm->state != from) {
        log_move(xact, from, cause, participant);
    }
    if (from == COORD_ACTIVE && xact->fsm->state != COORD_ACTIVE) {
        coord_interactive_left(xact);
    }
    if (from == COORD_PREPARING && xact->fsm->state == COORD_ABORTING) {
        coord_xact_set_cause(xact, event->from, API_CAUSE_PARTICIPANT_ERROR,
                             "the participant voted twice, and not the same");
    }
    uint64_t unsent = 0;
    for (unsigned i = 0; i < effects.count; i++) {
        unsent |= carry_out(xact, &effects.items[i], event->type == COORD_EV_RETRY);
    }
    for (unsigned i = 0; i < xact->branch_count; i++) {
        if ((unsent & TPC_BIT(i)) != 0 && tpc_id_equal(&gtid, &xact->gtid)) {
            coord_event_from(xact, COORD_EV_UNREACHABLE, i, NULL);
        }
    }
}

/* A one-phase prepare that still waits to be sent is dropped there: nobody has to be asked. */
static bool is_undelivered(const struct coord_xact *xact, const struct coord_event *event)
{
    return (event->type == COORD_EV_TIMEOUT || event->type == COORD_EV_CLIENT_ABORT) &&
           xact->fsm->one_phase && xact->fsm->state == COORD_PREPARING && !xact->branches[0].sent;
}

void coord_event(struct coord_xact *xact, const struct coord_event *event, const char *cause)
{
    const struct coord_event undelivered = {.type = COORD_EV_UNREACHABLE};
    step(xact, is_undelivered(xact, event) ? &undelivered : event, cause, NULL);
}

void coord_event_from(struct coord_xact *xact, enum coord_event_type type, unsigned branch,
                      const struct tpc_id *participant)
{
    struct coord_event event = {.type = type, .from = (uint8_t)branch};
    if (participant != NULL) {
        event.participant = *participant;
    }
    step(xact, &event, coord_event_name(type), xact->branches[branch].member->name);
}

void coord_xact_start(struct coord_xact *xact)
{
    xact->attempts++;
    if (xact->fsm->one_phase) { /* should its answer be lost: the log that has to be asked */
        xact->fsm->branches[0].participant = xact->branches[0].member->participant_id;
    }
    (void)coord_fp(COORD_FP_SUBMIT_BEGIN);
    coord_event(xact, &(struct coord_event){.type = COORD_EV_START}, "START");
}
