/* POST /v1/messages: a group of messages in, a line for each out, as soon as it is done. */
#include "participant/daemon.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/tpc_assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct group {
    struct part_daemon *daemon;
    struct api_stream *stream;
    struct api_envelope envelope;
    size_t outstanding; /* lines to come, and one while the group is being run */
    struct reply replies[];
};

/* ---- Answers ---- */

static void give_up(struct group *group)
{
    if (--group->outstanding == 0) {
        group->daemon->groups--;
        api_stream_end(group->stream);
        api_envelope_done(&group->envelope);
        free(group);
    }
}

static void answer(struct reply *reply, struct api_answer *line)
{
    struct group *group = reply->group;
    struct part_daemon *daemon = group->daemon;
    line->op = reply->op;
    line->participant_id = daemon->participant_id;
    daemon->stats.votes[line->vote]++;
    daemon->stats.errors += line->error != API_ERROR_NONE;
    bool is_vote = reply->op == API_OP_PREPARE && line->error == API_ERROR_NONE;
    bool is_step = reply->op == API_OP_EXECUTE && line->error == API_ERROR_NONE;
    if (!part_fp(is_vote ? PART_FP_VOTE_SEND : is_step ? PART_FP_STEP_SEND : PART_FP_ACK_SEND)) {
        tpc_buf_clear(&daemon->line);
        api_answer_write(&daemon->line, line);
        /* Without memory the line is lost, as on the wire. */
        if (!daemon->line.failed) {
            api_stream_write(group->stream, daemon->line.data, daemon->line.size);
        }
    }
    give_up(group);
}

static void answer_error(struct reply *reply, const struct api_message *message,
                         enum api_answer_error error, uint64_t generation_seen)
{
    struct api_answer line = {.gtid_valid = message->gtid_valid,
                              .gtid = message->gtid,
                              .error = error,
                              .cause.statement = -1,
                              .generation_seen = generation_seen};
    memcpy(line.gtid_text, message->gtid_text, sizeof line.gtid_text);
    answer(reply, &line);
}

/* Why it was refused, borrowed. */
static struct api_cause refusal_of(const struct branch *branch)
{
    static char told_abort[] = "the transaction was aborted before this message came, or during it";
    static char forgotten[] = "refused before a restart; the reason is not known any more";
    if (branch->cause.code != API_CAUSE_NONE) {
        return branch->cause;
    }
    bool told =
        (branch->fsm.told == PART_ABORT || branch->fsm.abort_wanted) && !branch->fsm.durable_abort;
    return (struct api_cause){.code = told ? API_CAUSE_CLIENT_ABORT : API_CAUSE_WORK_LOST,
                              .statement = -1,
                              .detail = told ? told_abort : forgotten};
}

void part_reply_vote(struct branch *branch, struct reply *reply, enum api_vote vote)
{
    struct api_answer line = {
        .gtid_valid = true, .gtid = branch->gtid, .vote = vote, .cause.statement = -1};
    if (vote == API_VOTE_NO) {
        line.cause = refusal_of(branch);
    } else {
        line.results = branch->results;
        line.results_size = branch->results_size;
    }
    answer(reply, &line);
}

void part_reply_step(struct branch *branch, struct reply *reply, bool done)
{
    static char too_late[] = "no work is accepted after the prepare of the branch";
    struct api_answer line = {.gtid_valid = true, .gtid = branch->gtid, .cause.statement = -1};
    enum part_state state = branch->fsm.state;
    if (done) {
        line.results = branch->results;
        line.results_size = branch->results_size;
    } else if (state == PART_ABORTED || state == PART_ABORTING || state == PART_TOMBSTONING) {
        line.cause = refusal_of(branch);
    } else {
        line.cause =
            (struct api_cause){.code = API_CAUSE_WORK_LOST, .statement = -1, .detail = too_late};
    }
    answer(reply, &line);
}

/* A step or a prepare that does not follow on what was done here: steps were lost in between. */
static void answer_work_lost(struct part_daemon *daemon, struct reply *reply,
                             const struct api_message *message)
{
    static char detail[] = "the participant does not have the work that was done in the branch "
                           "before: it was restarted, or gave the branch up";
    struct api_answer line = {
        .gtid_valid = true,
        .gtid = message->gtid,
        .vote = message->op == API_OP_PREPARE ? API_VOTE_NO : API_VOTE_NONE,
        .cause = {.code = API_CAUSE_WORK_LOST, .statement = -1, .detail = detail}};
    daemon->stats.refused++;
    answer(reply, &line);
}

void part_reply_state(struct branch *branch, struct reply *reply, enum api_branch_state state)
{
    struct api_answer line = {.gtid_valid = true, .gtid = branch->gtid, .cause.statement = -1};
    if (!reply->elsewhere) {
        line.state = state;
    } else if (state != API_STATE_COMMITTED) {
        line.error = API_ERROR_WRONG_PARTICIPANT;
    } else if (reply->op == API_OP_PREPARE) {
        line.vote = API_VOTE_COMMITTED;
    } else {
        line.state = API_STATE_COMMITTED;
    }
    answer(reply, &line);
}

/* ---- Messages ---- */

static void refuse_full(struct part_daemon *daemon, struct reply *reply,
                        const struct api_message *message)
{
    char detail[128];
    struct api_answer line = {.gtid_valid = true,
                              .gtid = message->gtid,
                              .vote = message->op == API_OP_PREPARE ? API_VOTE_NO : API_VOTE_NONE,
                              .cause = {.code = API_CAUSE_PARTICIPANT_ERROR, .statement = -1}};
    (void)snprintf(detail, sizeof detail, "%zu branches are in flight (--branches-max)",
                   daemon->live_count);
    line.cause.detail = detail;
    daemon->stats.refused++;
    answer(reply, &line);
}

/* It is late: nobody waits for its answer, and what it asks for may have been done before. */
static bool is_over(struct part_daemon *daemon, const struct tpc_id *coordinator_id,
                    const struct api_message *message)
{
    const struct coordinator *coordinator = part_coordinator_find(daemon, coordinator_id);
    return part_coordinator_is_over(coordinator, &message->gtid);
}

static void refuse_over(struct reply *reply, const struct api_message *message)
{
    static char detail[] = "the transaction is over, and its coordinator has forgotten it";
    struct api_answer line = {
        .gtid_valid = true,
        .gtid = message->gtid,
        .vote = API_VOTE_NO,
        .cause = {.code = API_CAUSE_CLIENT_ABORT, .statement = -1, .detail = detail}};
    answer(reply, &line);
}

static void take_work(struct branch *branch, struct api_message *message)
{
    struct work *work = part_branch_work(branch);
    struct part_job *job = &work->job;
    work->asking = false; /* what was asked about an idle branch is not to be told any more */
    branch->began_us = message->began_us;
    branch->idle_ms = message->timeout_ms;
    job->executed = message->executed;
    job->deadline_ms = tpc_clock_mono_ms() + message->timeout_ms;
    job->isolation = message->isolation;
    job->statements = message->statements;
    message->statements = (struct api_statements){0};
}

static enum part_event_type event_type(enum api_op op)
{
    switch (op) {
    case API_OP_PREPARE:
        return PART_EV_PREPARE;
    case API_OP_COMMIT:
        return PART_EV_COMMIT;
    case API_OP_ABORT:
        return PART_EV_ABORT;
    case API_OP_EXECUTE:
        return PART_EV_EXECUTE;
    case API_OP_COUNT:
        break;
    }
    TPC_ASSERT(!"an operation");
}

static struct reply **waiting_list(struct branch *branch, const struct reply *reply)
{
    if (reply->elsewhere) {
        return &branch->acks;
    }
    return reply->op == API_OP_PREPARE   ? &branch->votes
           : reply->op == API_OP_EXECUTE ? &branch->steps
                                         : &branch->acks;
}

/* Hand @message to its branch, on whose list @reply waits already: the answer may come at once. */
static void step(struct branch *branch, struct reply *reply, const struct api_message *message)
{
    struct reply **list = waiting_list(branch, reply);
    struct part_event event = {.type = reply->elsewhere ? PART_EV_COMMIT : event_type(message->op),
                               .one_phase = message->one_phase && !reply->elsewhere};
    reply->next = *list;
    *list = reply;
    enum tpc_rc rc = part_event(branch, event);
    if (rc != TPC_OK) {
        *list = reply->next;
        tpc_log(TPC_LOG_WARN, "message.refused", tpc_kv_id("gtid", &message->gtid),
                tpc_kv_str("op", api_op_name(message->op)),
                tpc_kv_str("state", part_state_name(branch->fsm.state)));
        answer_error(reply, message, API_ERROR_PROTOCOL, 0);
    }
}

static bool is_work(const struct api_message *message)
{
    return message->op == API_OP_PREPARE || message->op == API_OP_EXECUTE;
}

/* Of a branch that is not there, a prepare of an interactive one goes to the database all the same:
 * it may have the proof that it was committed. */
static bool has_lost_work(const struct branch *branch, const struct api_message *message)
{
    if (branch == NULL) {
        return message->op == API_OP_EXECUTE && message->executed > 0;
    }
    bool is_interactive = branch->fsm.state == PART_ACTIVE || branch->fsm.state == PART_WORKING;
    return is_work(message) && is_interactive && message->executed != branch->executed;
}

/* True: @message is dealt with. A repetition of the last step has its results. */
static bool answer_from_steps(struct branch *branch, struct reply *reply,
                              const struct api_message *message)
{
    bool is_active = branch != NULL && branch->fsm.state == PART_ACTIVE;
    if (is_active && message->op == API_OP_EXECUTE && message->executed + 1 == branch->executed) {
        part_reply_step(branch, reply, true);
        return true;
    }
    if (!has_lost_work(branch, message)) {
        return false;
    }
    if (is_active) {
        part_branch_give_up(branch, API_CAUSE_WORK_LOST, "a step of the branch was lost");
    }
    answer_work_lost(reply->group->daemon, reply, message);
    return true;
}

static enum part_failpoint receive_point(enum api_op op)
{
    switch (op) {
    case API_OP_PREPARE:
        return PART_FP_PREPARE_RECEIVE;
    case API_OP_COMMIT:
        return PART_FP_COMMIT_RECEIVE;
    case API_OP_ABORT:
        return PART_FP_ABORT_RECEIVE;
    case API_OP_EXECUTE:
    case API_OP_COUNT:
        break;
    }
    return PART_FP_EXECUTE_RECEIVE;
}

/* A commit changes nothing of such a branch, and says how it ended. */
static bool only_tells(const struct branch *branch)
{
    enum part_state state = branch->fsm.state;
    return state == PART_COMMITTED || state == PART_ABORTED || state == PART_PROVING ||
           state == PART_TOMBSTONING;
}

/* @message is for another log, which is gone. What that one has committed in this database it left
 * a proof of; more than that cannot be told, and nothing may be done. */
static void run_elsewhere(struct part_daemon *daemon, struct branch *branch, struct reply *reply,
                          const struct api_message *message, const struct tpc_id *coordinator_id)
{
    if (message->op == API_OP_EXECUTE || (branch != NULL && !only_tells(branch))) {
        answer_error(reply, message, API_ERROR_WRONG_PARTICIPANT, 0);
        return;
    }
    if (branch == NULL) {
        branch = part_table_add(daemon, &message->gtid);
        branch->coordinator_id = *coordinator_id;
    }
    reply->elsewhere = true;
    step(branch, reply, message);
}

static bool is_elsewhere(const struct part_daemon *daemon, const struct api_message *message)
{
    return !tpc_id_is_zero(&message->participant_id) &&
           !tpc_id_equal(&message->participant_id, &daemon->participant_id);
}

static void run_message(struct group *group, size_t index)
{
    struct part_daemon *daemon = group->daemon;
    struct api_message *message = &group->envelope.messages[index];
    struct reply *reply = &group->replies[index];
    const struct tpc_id *coordinator_id = &group->envelope.coordinator.id;
    daemon->stats.messages[message->op]++;
    if (!message->gtid_valid) {
        answer_error(reply, message, API_ERROR_INVALID_GTID, 0);
        return;
    }
    (void)part_fp(receive_point(message->op));
    struct branch *branch = part_table_find(daemon, &message->gtid);
    if (branch != NULL && !tpc_id_equal(&branch->coordinator_id, coordinator_id)) {
        answer_error(reply, message, API_ERROR_WRONG_COORDINATOR, 0);
        return;
    }
    if (is_elsewhere(daemon, message)) {
        run_elsewhere(daemon, branch, reply, message, coordinator_id);
        return;
    }
    if (branch == NULL && message->op == API_OP_PREPARE &&
        is_over(daemon, coordinator_id, message)) {
        refuse_over(reply, message);
        return;
    }
    if (answer_from_steps(branch, reply, message)) {
        return;
    }
    if (branch == NULL && is_work(message) &&
        daemon->live_count >= daemon->settings->branches_max) {
        refuse_full(daemon, reply, message);
        return;
    }
    if (branch == NULL) {
        branch = part_table_add(daemon, &message->gtid);
        branch->coordinator_id = *coordinator_id;
    }
    if (is_work(message) && (branch->fsm.state == PART_NONE || branch->fsm.state == PART_ACTIVE)) {
        take_work(branch, message);
    }
    step(branch, reply, message);
}

void part_group_run(struct group *group)
{
    for (size_t i = 0; i < group->envelope.count; i++) {
        run_message(group, i);
    }
    give_up(group);
}

static void refuse_set_back(struct group *group)
{
    const struct api_coordinator *who = &group->envelope.coordinator;
    const struct coordinator *seen = part_coordinator_find(group->daemon, &who->id);
    tpc_log(TPC_LOG_ERROR, "coordinator.set_back", tpc_kv_id("coordinator", &who->id),
            tpc_kv_uint("generation", who->generation),
            tpc_kv_uint("generation_seen", seen->self.generation), tpc_kv_str("url", who->url),
            tpc_kv_str("advice", "its log is an old copy: nothing of it is acted on"));
    for (size_t i = 0; i < group->envelope.count; i++) {
        answer_error(&group->replies[i], &group->envelope.messages[i], API_ERROR_LOG_SET_BACK,
                     seen->self.generation);
    }
    give_up(group);
}

void part_messages(struct part_daemon *daemon, struct api_envelope *take_envelope,
                   struct api_stream *stream)
{
    size_t count = take_envelope->count;
    struct group *group = part_alloc(sizeof *group + count * sizeof group->replies[0]);
    daemon->groups++;
    group->daemon = daemon;
    group->stream = stream;
    group->envelope = *take_envelope;
    *take_envelope = (struct api_envelope){0};
    group->outstanding = count + 1;
    for (size_t i = 0; i < count; i++) {
        group->replies[i] = (struct reply){.group = group, .op = group->envelope.messages[i].op};
    }
    switch (part_coordinator_see(daemon, &group->envelope.coordinator, group)) {
    case PART_SEEN:
        part_group_run(group);
        break;
    case PART_SEEN_LATER:
        break;
    case PART_SEEN_SET_BACK:
        refuse_set_back(group);
        break;
    }
}
