/* The link to one participant: what waits for it leaves in one request as soon as a lane is free.
 *
 * Prepares and outcomes have lanes of their own, so that no decision waits behind a branch that
 * waits for a lock. So has what goes on with an interactive branch: others may wait for its locks,
 * and are not to keep its next step or its prepare from leaving.
 *
 * A request costs its time whatever is in it. While others are out the next one waits until it
 * carries half of what they wait for, so that the more is under way the more goes together. One
 * that has been out for LANE_FRESH_MS is waiting for something slow and keeps nobody: what there is
 * leaves beside it, up to lanes_max. */
#include "coordinator/daemon.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/tpc_assert.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    LANE_FRESH_MS = 20,
    LANE_SHARE = 2,
    BATCH_BYTES_MAX = 2 << 20, /* under the participants' limit for a body */
    DECISION_CALL_MS = 5000,   /* an outcome that is not acknowledged by then is told again */
    PREPARE_SLACK_MS = 2000,   /* beyond the transactions' own time-outs */
    NO_MEMORY_WAIT_MS = 100,
    PRUNE_FIRST = 1024, /* messages in a lane when it is first looked over for unwanted ones */
};

struct sent {
    struct tpc_id gtid;
    uint8_t branch;
    uint8_t op;
    bool one_phase;
    bool answered;
};

struct link_call {
    struct api_call call;
    struct coord_lane *lane;
    size_t count, first; /* all before `first` are answered */
    struct sent sent[];
};

void coord_lane_init(struct coord_lane *lane, struct coord_member *member,
                     enum coord_lane_kind kind)
{
    *lane = (struct coord_lane){.member = member, .kind = kind};
    lane->tail = &lane->head;
    lane->prune_at = PRUNE_FIRST;
}

void coord_lane_done(struct coord_lane *lane)
{
    tpc_timer_cancel(&lane->member->daemon->timers, &lane->timer);
    while (lane->head != NULL) {
        struct coord_msg *msg = lane->head;
        lane->head = msg->next;
        free(msg);
    }
    lane->tail = &lane->head;
}

/* ---- Queueing ---- */

static void mark(struct coord_lane *lane)
{
    if (!lane->dirty) {
        lane->dirty = true;
        LL_PREPEND2(lane->member->daemon->dirty_lanes[lane->kind], lane, dirty_next);
    }
}

void coord_link_wake(struct coord_member *member)
{
    for (int kind = 0; kind < COORD_LANE_COUNT; kind++) {
        mark(&member->lanes[kind]);
    }
}

static struct coord_msg *take_first(struct coord_lane *lane)
{
    struct coord_msg *msg = lane->head;
    TPC_ASSERT(msg != NULL);
    lane->head = msg->next;
    if (lane->head == NULL) {
        lane->tail = &lane->head;
    }
    lane->queued--;
    msg->next = NULL;
    return msg;
}

static void put_last(struct coord_lane *lane, struct coord_msg *msg)
{
    *lane->tail = msg;
    lane->tail = &msg->next;
    lane->queued++;
}

/* A prepare whose transaction has been decided meanwhile, or an outcome that was acknowledged
 * meanwhile, is not sent. */
static bool is_wanted(struct coord_daemon *daemon, const struct coord_msg *msg,
                      struct coord_xact **ret_xact)
{
    struct coord_xact *xact = coord_xact_by_gtid(daemon, &msg->gtid);
    *ret_xact = xact;
    switch (msg->op) {
    case API_OP_PREPARE:
        return xact != NULL && xact->fsm->state == COORD_PREPARING;
    case API_OP_EXECUTE:
        return xact != NULL && xact->fsm->state == COORD_ACTIVE;
    case API_OP_COMMIT:
        return xact != NULL && xact->fsm->state == COORD_COMMITTING &&
               xact->fsm->branches[msg->branch].end == COORD_END_NONE;
    case API_OP_ABORT:
        return true;
    case API_OP_COUNT:
    default:
        TPC_ASSERT(false);
        return false;
    }
}

/* A lane whose participant is silent for long gathers prepares that nobody waits for any more. */
static void prune(struct coord_lane *lane)
{
    struct coord_xact *ignored;
    for (size_t left = lane->queued; left > 0; left--) {
        struct coord_msg *msg = take_first(lane);
        if (is_wanted(lane->member->daemon, msg, &ignored)) {
            put_last(lane, msg);
        } else {
            free(msg);
        }
    }
    lane->prune_at = lane->queued < PRUNE_FIRST / 2 ? PRUNE_FIRST : 2 * lane->queued;
}

/* It may wait for locks. */
static bool is_work(enum api_op op)
{
    return op == API_OP_PREPARE || op == API_OP_EXECUTE;
}

static void enqueue(struct coord_member *member, enum coord_lane_kind kind,
                    const struct coord_msg *msg)
{
    struct coord_msg *copy = tpc_must_malloc(sizeof *copy); /* else nobody would send it again */
    *copy = *msg;
    copy->next = NULL;
    struct coord_lane *lane = &member->lanes[kind];
    put_last(lane, copy);
    if (lane->queued >= lane->prune_at) {
        prune(lane);
    }
    mark(lane);
}

void coord_link_send(struct coord_member *member, enum api_op op, const struct coord_xact *xact,
                     unsigned branch, bool again)
{
    enum coord_lane_kind kind = !is_work(op)                          ? COORD_LANE_DECISION
                                : xact->branches[branch].executed > 0 ? COORD_LANE_HOLDER
                                                                      : COORD_LANE_PREPARE;
    enqueue(member, kind,
            &(struct coord_msg){.op = op,
                                .gtid = xact->gtid,
                                .branch = (uint8_t)branch,
                                .one_phase = xact->fsm->one_phase,
                                .again = again});
}

void coord_link_send_stray_abort(struct coord_member *member, const struct tpc_id *gtid,
                                 bool one_phase)
{
    enqueue(member, COORD_LANE_DECISION,
            &(struct coord_msg){.op = API_OP_ABORT, .gtid = *gtid, .one_phase = one_phase});
}

/* ---- Answers ---- */

static void on_answer_error(struct coord_xact *xact, const struct sent *sent,
                            const struct api_answer *answer)
{
    static const char *const words[] = {
        [API_ERROR_WRONG_COORDINATOR] = "the branch belongs to another coordinator",
        [API_ERROR_LOG_SET_BACK] = "log set back",
        [API_ERROR_INVALID_GTID] = "the participant refused the gtid",
        [API_ERROR_WRONG_PARTICIPANT] = "another log of the participant answers than was asked",
        [API_ERROR_PROTOCOL] = "the participant does not allow this in the branch's state",
    };
    if (sent->op == API_OP_PREPARE) {
        coord_xact_set_cause(xact, sent->branch, API_CAUSE_PARTICIPANT_ERROR, words[answer->error]);
        coord_event_from(xact, COORD_EV_VOTE_NO, sent->branch, &answer->participant_id);
    } else if (sent->op == API_OP_EXECUTE) {
        coord_xact_set_cause(xact, sent->branch, API_CAUSE_PARTICIPANT_ERROR, words[answer->error]);
        coord_event_from(xact, COORD_EV_LOST, sent->branch, NULL);
    } else if (answer->error == API_ERROR_WRONG_COORDINATOR ||
               (answer->error == API_ERROR_WRONG_PARTICIPANT && sent->op == API_OP_COMMIT)) {
        coord_event_from(xact, COORD_EV_ACK_UNKNOWN, sent->branch, &answer->participant_id);
    } else {
        coord_event_from(xact, COORD_EV_LOST, sent->branch, NULL);
    }
}

static void on_vote(struct coord_xact *xact, const struct sent *sent, struct api_answer *answer)
{
    static const enum coord_event_type events[] = {
        [API_VOTE_NONE] = COORD_EV_LOST, /* an answer that leaves open what became of the work */
        [API_VOTE_YES] = COORD_EV_VOTE_YES,
        [API_VOTE_NO] = COORD_EV_VOTE_NO,
        [API_VOTE_READ_ONLY] = COORD_EV_VOTE_READ_ONLY,
        [API_VOTE_COMMITTED] = COORD_EV_VOTE_COMMITTED,
    };
    struct coord_xbranch *branch = &xact->branches[sent->branch];
    (void)coord_fp(COORD_FP_VOTE_STEP);
    if (answer->results != NULL && branch->results == NULL && !xact->ended) {
        branch->results = answer->results;
        branch->results_size = answer->results_size;
        answer->results = NULL;
    }
    bool failed = answer->vote == API_VOTE_NO || answer->vote == API_VOTE_NONE;
    if (failed && xact->cause.code == API_CAUSE_NONE && xact->fsm->state == COORD_PREPARING) {
        xact->cause = answer->cause;
        xact->cause_branch = sent->branch;
        if (xact->cause.code == API_CAUSE_NONE) {
            xact->cause.code = API_CAUSE_PARTICIPANT_ERROR;
        }
        memset(&answer->cause, 0, sizeof answer->cause);
    }
    coord_event_from(xact, events[answer->vote], sent->branch, &answer->participant_id);
}

static void on_ack(struct coord_xact *xact, const struct sent *sent,
                   const struct api_answer *answer)
{
    static const enum coord_event_type events[] = {
        [API_STATE_NONE] = COORD_EV_LOST,
        [API_STATE_COMMITTED] = COORD_EV_ACK_COMMITTED,
        [API_STATE_ABORTED] = COORD_EV_ACK_ABORTED,
        [API_STATE_UNKNOWN] = COORD_EV_ACK_UNKNOWN,
    };
    coord_event_from(xact, events[answer->state], sent->branch, &answer->participant_id);
}

static void dispatch(struct coord_member *member, const struct sent *sent,
                     struct api_answer *answer)
{
    struct coord_xact *xact = coord_xact_by_gtid(member->daemon, &sent->gtid);
    if (answer->error == API_ERROR_LOG_SET_BACK) {
        coord_halt_set_back(member->daemon);
    }
    if (xact == NULL) {
        if (answer->vote == API_VOTE_YES) { /* of an attempt that is over: abort, by presumption */
            coord_link_send_stray_abort(member, &sent->gtid, sent->one_phase);
        }
    } else if (answer->error != API_ERROR_NONE) {
        on_answer_error(xact, sent, answer);
    } else if (sent->op == API_OP_PREPARE) {
        on_vote(xact, sent, answer);
    } else if (sent->op == API_OP_EXECUTE) {
        coord_interactive_answer(xact, sent->branch, answer);
    } else {
        on_ack(xact, sent, answer);
    }
}

static struct sent *find_sent(struct link_call *link, const struct api_answer *answer)
{
    while (link->first < link->count && link->sent[link->first].answered) {
        link->first++;
    }
    for (size_t i = link->first; i < link->count; i++) {
        struct sent *sent = &link->sent[i];
        if (!sent->answered && sent->op == answer->op && tpc_id_equal(&sent->gtid, &answer->gtid)) {
            return sent;
        }
    }
    return NULL;
}

static void on_line(struct api_call *call, const char *line, size_t size)
{
    struct link_call *link = coord_container(call, struct link_call, call);
    struct coord_member *member = link->lane->member;
    struct api_answer answer = {0};
    struct tpc_err err = {0};
    if (size == 0) {
        return;
    }
    if (api_answer_decode(line, size, &answer, &err) != TPC_OK) {
        tpc_log(TPC_LOG_WARN, "link.bad_answer", tpc_kv_str("participant", member->name),
                tpc_kv_str("error", err.text));
        return;
    }
    struct sent *sent = answer.gtid_valid ? find_sent(link, &answer) : NULL;
    if (sent != NULL) {
        sent->answered = true;
        link->lane->unanswered--;
        link->lane->answered++;
        link->lane->answered_ms = tpc_clock_mono_ms();
        if (link->lane->queued > 0) {
            mark(link->lane); /* what waits may be half of what is out now */
        }
        coord_member_heard(member, &answer.participant_id);
        dispatch(member, sent, &answer);
    }
    api_answer_done(&answer);
}

/* What was sent with @link and not answered has an unknown fate, or certainly did not arrive. */
static void on_unanswered(struct link_call *link, enum coord_event_type type, const char *why)
{
    struct coord_member *member = link->lane->member;
    enum api_cause_code code =
        link->call.status != 0 && link->call.status != 200 && link->call.status != 503
            ? API_CAUSE_PARTICIPANT_ERROR
            : API_CAUSE_UNREACHABLE;
    for (size_t i = 0; i < link->count; i++) {
        const struct sent *sent = &link->sent[i];
        struct coord_xact *xact =
            sent->answered ? NULL : coord_xact_by_gtid(member->daemon, &sent->gtid);
        if (xact == NULL) {
            continue;
        }
        if (is_work((enum api_op)sent->op)) {
            if (xact->fsm->state != (sent->op == API_OP_PREPARE ? COORD_PREPARING : COORD_ACTIVE)) {
                continue; /* the outcome's own message says how that branch ends */
            }
            coord_xact_set_cause(xact, sent->branch, code, why);
        }
        coord_event_from(xact, type, sent->branch, NULL);
    }
}

static void on_done(struct api_call *call, enum tpc_rc rc, const struct tpc_err *err)
{
    struct link_call *link = coord_container(call, struct link_call, call);
    struct coord_lane *lane = link->lane;
    char why[600];
    lane->calls--;
    for (size_t i = 0; i < link->count; i++) {
        lane->unanswered -= !link->sent[i].answered;
    }
    mark(lane);
    if (lane->member->daemon->stopping) {
        api_call_done(call);
        free(link);
        return;
    }
    if (rc != TPC_OK) {
        (void)snprintf(why, sizeof why, "%s", err->text);
    } else if (call->status != 200) {
        (void)snprintf(why, sizeof why, "%s answered HTTP %d", call->url, call->status);
    } else {
        (void)snprintf(why, sizeof why, "%s did not answer a message", call->url);
    }
    if (rc != TPC_OK || call->status != 200) {
        coord_member_lost(lane->member, why);
    }
    on_unanswered(link, rc == TPC_EUNREACHABLE ? COORD_EV_UNREACHABLE : COORD_EV_LOST, why);
    api_call_done(call);
    free(link);
}

/* ---- Sending ---- */

/* Commit is for the log that voted yes: another one holds other work. A one-phase prepare is for
 * the log that it is sent to first: another one would not know that this one refused it. Whoever
 * holds something may undo it, so an abort names none. */
static bool names_log(const struct coord_msg *msg)
{
    return msg->op == API_OP_COMMIT || (msg->op == API_OP_PREPARE && msg->one_phase);
}

static uint64_t write_message(struct tpc_buf *out, const struct coord_msg *msg,
                              struct coord_xact *xact)
{
    struct api_message message = {
        .op = msg->op, .gtid_valid = true, .gtid = msg->gtid, .one_phase = msg->one_phase};
    if (names_log(msg)) {
        message.participant_id = xact->fsm->branches[msg->branch].participant;
    }
    if (!is_work(msg->op)) {
        api_message_write(out, &message, NULL, 0);
        return DECISION_CALL_MS;
    }
    struct coord_xbranch *branch = &xact->branches[msg->branch];
    uint64_t now_ms = tpc_clock_mono_ms();
    branch->sent = true;
    message.began_us = xact->began_us;
    message.timeout_ms = xact->deadline_ms > now_ms ? xact->deadline_ms - now_ms : 1;
    message.isolation = xact->isolation;
    message.executed = branch->executed;
    api_message_write(out, &message, branch->statements, branch->statements_size);
    return message.timeout_ms + PREPARE_SLACK_MS;
}

/* One that would make the request too large waits for the next. */
static bool has_room(const struct link_call *link, const struct coord_msg *msg,
                     const struct coord_xact *xact)
{
    size_t size = link->call.body.size;
    if (is_work(msg->op)) {
        size += xact->branches[msg->branch].statements_size;
    }
    return link->count == 0 || size < BATCH_BYTES_MAX;
}

/* Move what waits into @link, up to the limits of one request. */
static void fill(struct link_call *link, size_t max)
{
    struct coord_lane *lane = link->lane;
    struct coord_daemon *daemon = lane->member->daemon;
    uint64_t timeout_ms = 0;
    while (lane->head != NULL && link->count < max) {
        struct coord_msg *msg = lane->head;
        struct coord_xact *xact;
        if (is_wanted(daemon, msg, &xact)) {
            if (!has_room(link, msg, xact)) {
                break;
            }
            uint64_t ms = write_message(&link->call.body, msg, xact);
            timeout_ms = ms > timeout_ms ? ms : timeout_ms;
            link->sent[link->count++] = (struct sent){
                .gtid = msg->gtid,
                .branch = msg->branch,
                .op = (uint8_t)msg->op,
                .one_phase = msg->one_phase,
            };
            lane->unanswered++;
            daemon->stats.messages[msg->op]++;
        }
        free(take_first(lane));
    }
    link->call.timeout_ms = (uint32_t)timeout_ms;
}

static void set_failpoints(struct link_call *link)
{
    static const enum coord_failpoint send[] = {[API_OP_PREPARE] = COORD_FP_PREPARE_SEND,
                                                [API_OP_COMMIT] = COORD_FP_COMMIT_SEND,
                                                [API_OP_ABORT] = COORD_FP_ABORT_SEND,
                                                [API_OP_EXECUTE] = COORD_FP_EXECUTE_SEND};
    static const enum coord_failpoint receive[] = {[API_OP_PREPARE] = COORD_FP_VOTE_RECEIVE,
                                                   [API_OP_COMMIT] = COORD_FP_COMMIT_RECEIVE,
                                                   [API_OP_ABORT] = COORD_FP_ABORT_RECEIVE,
                                                   [API_OP_EXECUTE] = COORD_FP_EXECUTE_RECEIVE};
    link->call.send = &coord_failpoints[send[link->sent[0].op]];
    link->call.receive = &coord_failpoints[receive[link->sent[0].op]];
}

static void on_lane_timer(struct tpc_timer *timer)
{
    mark(coord_container(timer, struct coord_lane, timer));
}

static void wake_at(struct coord_lane *lane, uint64_t due_ms)
{
    lane->timer.fire = on_lane_timer;
    tpc_timer_arm(&lane->member->daemon->timers, &lane->timer, due_ms);
}

static void send_batch(struct coord_lane *lane)
{
    struct coord_daemon *daemon = lane->member->daemon;
    size_t max = lane->queued < daemon->settings->batch_max ? lane->queued
                                                            : (size_t)daemon->settings->batch_max;
    struct link_call *link = calloc(1, sizeof *link + max * sizeof link->sent[0]);
    if (link == NULL) {
        wake_at(lane, tpc_clock_mono_ms() + NO_MEMORY_WAIT_MS);
        return;
    }
    link->lane = lane;
    api_envelope_begin(&link->call.body, &daemon->self);
    fill(link, max);
    api_envelope_end(&link->call.body);
    if (link->count == 0) {
        api_call_done(&link->call);
        free(link);
        return;
    }
    link->call.method = "POST";
    link->call.url = lane->member->urls->messages;
    link->call.on_line = on_line;
    link->call.on_done = on_done;
    set_failpoints(link);
    daemon->stats.requests++;
    lane->member->requests++;
    lane->calls++;
    lane->youngest_ms = tpc_clock_mono_ms();
    if (link->call.body.failed || api_client_start(daemon->client, &link->call) != TPC_OK) {
        on_done(&link->call, TPC_ENOMEM, &(struct tpc_err){.text = "out of memory"});
    }
}

static void flush_lane(struct coord_lane *lane)
{
    struct coord_daemon *daemon = lane->member->daemon;
    while (lane->queued > 0) {
        if (lane->member->urls == NULL) {
            return; /* known from the log alone: waits for its registration */
        }
        if (lane->calls >= daemon->settings->lanes_max) {
            return;
        }
        if (lane->calls > 0 && lane->queued < lane->unanswered / LANE_SHARE &&
            tpc_clock_mono_ms() < lane->youngest_ms + LANE_FRESH_MS) {
            wake_at(lane, lane->youngest_ms + LANE_FRESH_MS);
            return;
        }
        size_t before = lane->queued;
        send_batch(lane);
        if (lane->queued == before) {
            return;
        }
    }
}

static void flush_lanes(struct coord_lane *take_lanes)
{
    struct coord_lane *next;
    for (struct coord_lane *lane = take_lanes; lane != NULL; lane = next) {
        next = lane->dirty_next;
        lane->dirty = false;
        flush_lane(lane);
    }
}

bool coord_links_flush(struct coord_daemon *daemon)
{
    struct coord_lane *lanes[COORD_LANE_COUNT];
    memcpy(lanes, daemon->dirty_lanes, sizeof lanes);
    memset(daemon->dirty_lanes, 0, sizeof daemon->dirty_lanes);
    bool done = true;
    for (int kind = 0; kind < COORD_LANE_COUNT; kind++) {
        flush_lanes(lanes[kind]);
    }
    for (int kind = 0; kind < COORD_LANE_COUNT; kind++) {
        done = done && daemon->dirty_lanes[kind] == NULL;
    }
    return done;
}
