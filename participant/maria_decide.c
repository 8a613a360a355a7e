/* XA COMMIT and XA ROLLBACK, and the questions whether a commit happened.
 *
 * A branch whose session is still there is ended on that session, and on no other: to others the
 * server says XAER_NOTA. The rest is for the sessions that are kept for decisions. They look at the
 * marker first. While it is locked they wait until the server has let go of the branch, and look at
 * the marker again afterwards: neither XAER_NOTA nor OK is taken for "done". */
#include "participant/maria_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/tpc_assert.h"

#include <mysqld_error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FORGET_BATCH_MAX = 500, UNHEARD_MAX = 3 };

static const char broken[] = "the connection was lost (failpoint)";
static const char unheeded[] = "the server said that it carried out the decision, and did not";
static const char lost[] =
    "the server gives the branch to nobody, and keeps its locks: end the session that has it (SHOW "
    "PROCESSLIST), or restart the server";

void maria_tell_lost(const struct tpc_id *gtid)
{
    tpc_log(TPC_LOG_ERROR, "maria.lost", tpc_kv_id("gtid", gtid), tpc_kv_str("advice", lost));
}

void maria_decide_free(struct maria_session *session)
{
    session->busy = false;
    session->job = NULL;
    session->doubt = NULL;
    maria_report_free(session);
}

static void end(struct part_maria *maria, struct part_job *job, enum part_job_outcome outcome,
                const char *words)
{
    if (words != NULL) {
        part_job_end_as(&maria->ends, job, outcome, API_CAUSE_PARTICIPANT_ERROR, words);
    } else {
        part_job_end(&maria->ends, job, outcome);
    }
}

static void decided(struct part_maria *maria, struct part_job *job)
{
    bool commit = job->kind == PART_JOB_COMMIT;
    maria_held_drop(maria, &job->gtid);
    maria->stats.commits += commit;
    maria->stats.aborts += !commit;
    end(maria, job, commit ? PART_JOB_COMMITTED : PART_JOB_ABORTED, NULL);
}

static void write_xa(const struct part_maria *maria, const struct part_job *job, bool commit,
                     struct tpc_buf *out)
{
    char xid[MARIA_XID_TEXT];
    tpc_buf_clear(out);
    tpc_buf_addf(
        out, "%s %s", commit ? "XA COMMIT" : "XA ROLLBACK",
        maria_xid_write(xid, &maria->options.participant_id, &job->coordinator_id, &job->gtid));
}

/* The decision and, in the same round trip, the question for its marker: the server can say OK and
 * not do it. */
static void write_decision(const struct part_maria *maria, const struct part_job *job,
                           struct tpc_buf *out)
{
    write_xa(maria, job, job->kind == PART_JOB_COMMIT, out);
    tpc_buf_addc(out, ';');
    maria_marker_probe(maria, &job->gtid, out);
}

/* Why the decision that was sent is not known to be carried out; NULL: it is. */
static const char *failure_of(const struct maria_session *session, const struct part_job *job)
{
    bool said_so = session->error.code == 0 || session->statement > 0;
    enum maria_mark mark = maria_marker_read(session->found_rows, &session->error);
    if (!said_so || mark == MARIA_MARK_UNKNOWN) {
        return session->error.words;
    }
    return mark == (job->kind == PART_JOB_COMMIT ? MARIA_MARK_THERE : MARIA_MARK_ABSENT) ? NULL
                                                                                         : unheeded;
}

static bool hits_before(const struct part_maria *maria, const struct part_job *job)
{
    return tpc_fp_hit(job->kind == PART_JOB_COMMIT ? maria->options.failpoints.decide
                                                   : maria->options.failpoints.roll_back);
}

static bool hits_after(const struct part_maria *maria, const struct part_job *job)
{
    return job->kind == PART_JOB_COMMIT && tpc_fp_hit(maria->options.failpoints.decided);
}

/* ---- On the session that prepared it ---- */

static void on_own_decided(struct maria_session *session)
{
    struct part_maria *maria = session->maria;
    struct part_job *job = session->branch.job;
    const char *failure = failure_of(session, job);
    if (failure != NULL) {
        /* What it was, and whether it happened, shows when it is tried again: elsewhere, for a
         * session with a prepared branch is closed and never used for anything else. */
        char words[sizeof session->error.words];
        (void)snprintf(words, sizeof words, "%s", failure);
        maria_session_lose(session, words);
    } else if (hits_after(maria, job)) {
        maria_session_lose(session, broken);
    } else {
        session->busy = false;
        session->branch.job = NULL;
        maria->stats.commit_groups += job->kind == PART_JOB_COMMIT;
        decided(maria, job);
    }
}

static void decide_own(struct maria_session *session, struct part_job *job)
{
    session->branch.job = job;
    session->branch.phase = MARIA_DECIDING;
    if (hits_before(session->maria, job)) {
        maria_session_lose(session, broken);
        return;
    }
    write_decision(session->maria, job, &session->text);
    maria_send(session, NULL, on_own_decided);
}

/* ---- What became of it? ---- */

static const char still_there[] = "another session of the server still has the branch";

static void conclude_otherwise(struct part_maria *maria, struct part_job *job, enum maria_mark mark,
                               const char *words)
{
    if (mark == MARIA_MARK_UNKNOWN) {
        end(maria, job, PART_JOB_RETRY, words);
        return;
    }
    maria_held_drop(maria, &job->gtid);
    if (job->kind == PART_JOB_COMMIT) {
        end(maria, job, PART_JOB_CONFLICT,
            "the prepared transaction was rolled back at the server by somebody else, or the "
            "database was restored from a backup");
    } else {
        end(maria, job, PART_JOB_PROVEN,
            "it was to be rolled back, but somebody else has committed the prepared transaction at "
            "the server");
    }
}

static void conclude_proof(struct part_maria *maria, struct part_job *job, enum maria_mark mark,
                           const char *words)
{
    if (mark == MARIA_MARK_THERE || mark == MARIA_MARK_ABSENT) {
        end(maria, job, mark == MARIA_MARK_THERE ? PART_JOB_PROVEN : PART_JOB_NO_PROOF, NULL);
    } else {
        end(maria, job, PART_JOB_RETRY, mark == MARIA_MARK_LOCKED ? still_there : words);
    }
}

static void on_probed(struct maria_session *session)
{
    struct part_maria *maria = session->maria;
    struct part_job *job = session->job;
    enum maria_mark mark = maria_marker_read(session->found_rows, &session->error);
    maria_decide_free(session);
    conclude_proof(maria, job, mark, session->error.words);
}

static void probe(struct maria_session *session, void (*done)(struct maria_session *))
{
    tpc_buf_clear(&session->text);
    maria_marker_probe(session->maria, &session->job->gtid, &session->text);
    maria_send(session, NULL, done);
}

/* ---- On a session for decisions: carried out ---- */

static bool is_not_there(const struct maria_session *session)
{
    return session->error.code == ER_XAER_NOTA || session->error.code == ER_XA_RBROLLBACK;
}

/* Done by somebody else, or not done: the marker tells when it is tried again. */
static void not_decided(struct maria_session *session, struct part_job *job, const char *failure)
{
    struct maria_held *held = maria_held_find(session->maria, &job->gtid);
    const char *words = is_not_there(session) ? still_there : failure;
    if (held != NULL) {
        held->unheard += is_not_there(session) && held->detach.gone_ms != 0;
        if (!held->lost && (failure == unheeded || held->unheard >= UNHEARD_MAX)) {
            held->lost = true;
            maria_tell_lost(&job->gtid);
        }
        words = held->lost ? lost : words;
        held->detach = (struct maria_detach){.thread = held->detach.thread};
    }
    end(session->maria, job, PART_JOB_RETRY, words);
}

static void on_decided(struct maria_session *session)
{
    struct part_maria *maria = session->maria;
    struct part_job *job = session->job;
    if (session->error.code == 0 && hits_after(maria, job)) {
        maria_session_lose(session, broken);
        return;
    }
    maria_decide_free(session);
    const char *failure = failure_of(session, job);
    if (failure == NULL) {
        maria->stats.commit_groups += job->kind == PART_JOB_COMMIT;
        decided(maria, job);
    } else {
        not_decided(session, job, failure);
    }
}

static void on_leftover_undone(struct maria_session *session)
{
    struct part_job *job = session->job;
    maria_decide_free(session);
    if (job->kind == PART_JOB_ABORT && session->error.code != 0 && !is_not_there(session)) {
        end(session->maria, job, PART_JOB_RETRY, session->error.words);
    } else {
        decided(session->maria, job);
    }
}

/* Its marker says that it was done. What the server may still hold under this name is something
 * else, without a marker. */
static void undo_leftover(struct maria_session *session)
{
    if (hits_before(session->maria, session->job)) {
        maria_session_lose(session, broken);
        return;
    }
    write_xa(session->maria, session->job, false, &session->text);
    maria_send(session, NULL, on_leftover_undone);
}

static void carry_out_elsewhere(struct maria_session *session)
{
    if (hits_before(session->maria, session->job)) {
        maria_session_lose(session, broken);
        return;
    }
    write_decision(session->maria, session->job, &session->text);
    maria_send(session, NULL, on_decided);
}

/* ---- On a session for decisions: when the server has let go of the branch ---- */

static void put_off(struct maria_session *session)
{
    struct part_maria *maria = session->maria;
    struct part_job *job = session->job;
    maria_decide_free(session);
    job->next = NULL;
    *(maria->detaching != NULL ? &maria->detaching_last->next : &maria->detaching) = job;
    maria->detaching_last = job;
}

static void on_detach_known(struct maria_session *session)
{
    struct maria_held *held = maria_held_find(session->maria, &session->job->gtid);
    if (held != NULL && maria_detach_answered(session, &held->detach)) {
        carry_out_elsewhere(session);
    } else {
        put_off(session);
    }
}

static void decide_when_detached(struct maria_session *session)
{
    struct maria_held *held = maria_held_add(session->maria, &session->job->gtid);
    if (maria_detach_is_over(&held->detach, tpc_clock_mono_ms())) {
        carry_out_elsewhere(session);
    } else if (!maria_detach_ask(session, &held->detach, on_detach_known)) {
        put_off(session);
    }
}

static void on_looked_up(struct maria_session *session)
{
    struct part_job *job = session->job;
    enum maria_mark mark = maria_marker_read(session->found_rows, &session->error);
    if (mark == MARIA_MARK_LOCKED) { /* only what has its marker with it is committed */
        decide_when_detached(session);
    } else if (mark == (job->kind == PART_JOB_COMMIT ? MARIA_MARK_THERE : MARIA_MARK_ABSENT)) {
        undo_leftover(session);
    } else {
        maria_decide_free(session);
        conclude_otherwise(session->maria, job, mark, session->error.words);
    }
}

/* ---- On a session for decisions: lists ---- */

static void on_list(struct maria_session *session, MYSQL_RES *result)
{
    struct part_job *job = session->job;
    if (result != NULL &&
        maria_list_read(session->maria, result, &job->found, &job->found_count) != TPC_OK) {
        session->unfit = true;
    }
}

static void on_listed(struct maria_session *session)
{
    struct part_job *job = session->job;
    struct part_maria *maria = session->maria;
    maria_decide_free(session);
    if (session->error.code != 0) {
        end(maria, job, PART_JOB_RETRY, session->error.words);
    } else {
        end(maria, job, PART_JOB_LISTED, NULL);
    }
}

static void carry_out(struct maria_session *session, struct part_job *job)
{
    const struct part_maria *maria = session->maria;
    session->busy = true;
    session->job = job;
    tpc_buf_clear(&session->text);
    switch ((int)job->kind) {
    case PART_JOB_COMMIT:
    case PART_JOB_ABORT:
        probe(session, on_looked_up);
        break;
    case PART_JOB_PROVE:
        if (tpc_fp_hit(maria->options.failpoints.ask)) {
            maria_session_lose(session, broken);
            return;
        }
        probe(session, on_probed);
        break;
    case PART_JOB_LIST:
        if (tpc_fp_hit(maria->options.failpoints.list)) {
            maria_session_lose(session, broken);
            return;
        }
        tpc_buf_adds(&session->text, "XA RECOVER");
        maria_send(session, on_list, on_listed);
        break;
    case PART_JOB_EXAMINE:
        maria_doctor(session);
        break;
    default:
        TPC_ASSERT(!"a decision");
    }
}

/* ---- What nobody waits for ---- */

static void on_aside_done(struct maria_session *session)
{
    maria_decide_free(session);
}

static bool kill_one(struct maria_session *session)
{
    struct part_maria *maria = session->maria;
    if (maria->kill_count == 0) {
        return false;
    }
    session->busy = true;
    tpc_buf_clear(&session->text);
    tpc_buf_addf(&session->text, "KILL QUERY %lu", maria->kills[--maria->kill_count]);
    maria_send(session, NULL, on_aside_done);
    return true;
}

/* If we crash before that, markers stay that nobody asks for. */
static bool forget_some(struct maria_session *session)
{
    struct part_maria *maria = session->maria;
    size_t count = maria->forget_count < FORGET_BATCH_MAX ? maria->forget_count : FORGET_BATCH_MAX;
    if (count == 0) {
        return false;
    }
    session->busy = true;
    maria->forget_count -= count;
    tpc_buf_clear(&session->text);
    maria_marker_delete(maria, maria->forgets + maria->forget_count, count, &session->text);
    maria_send(session, NULL, on_aside_done);
    return true;
}

void maria_decide_kill(struct part_maria *maria, unsigned long thread)
{
    if (maria->kill_count == maria->kill_capacity) {
        maria->kill_capacity = 2 * maria->kill_capacity + 16;
        maria->kills = tpc_must_realloc(maria->kills, maria->kill_capacity * sizeof *maria->kills);
    }
    maria->kills[maria->kill_count++] = thread;
}

/* ---- Who does it ---- */

void maria_decide_on_lost(struct maria_session *session, const char *words)
{
    struct part_maria *maria = session->maria;
    struct part_job *job = session->job;
    struct maria_doubt *doubt = session->doubt;
    maria_decide_free(session);
    if (job != NULL) {
        struct maria_held *held = maria_held_find(maria, &job->gtid);
        if (held != NULL) {
            held->detach.asked_ms = 0; /* an outage is no time in which somebody was seen */
        }
        end(maria, job, PART_JOB_RETRY, words); /* whether it was done shows then */
    }
    if (doubt != NULL) {
        doubt->detach.asked_ms = 0;
        maria_doubt_on_lost(doubt);
    }
}

static struct maria_session *idle(struct part_maria *maria)
{
    for (size_t i = 0; i < maria->decider_count; i++) {
        struct maria_session *session = &maria->deciders[i];
        if (session->state == MARIA_READY && !session->busy && !session->failed) {
            return session;
        }
    }
    return NULL;
}

/* Is one of them open, or about to be? Begins to open those that are not. */
static bool any_alive(struct part_maria *maria)
{
    bool any = false;
    for (size_t i = 0; i < maria->decider_count; i++) {
        maria_session_want(&maria->deciders[i]);
        any |= maria->deciders[i].state != MARIA_CLOSED;
    }
    return any;
}

static struct part_job *take(struct part_maria *maria)
{
    struct part_job *job = maria->decisions;
    maria->decisions = job->next;
    job->next = NULL;
    return job;
}

static void add(struct part_maria *maria, struct part_job *job)
{
    job->next = NULL;
    *(maria->decisions != NULL ? &maria->decisions_last->next : &maria->decisions) = job;
    maria->decisions_last = job;
}

/* They wait equally long, so the first is the next. */
uint64_t maria_decide_next_ms(const struct part_maria *maria)
{
    const struct maria_held *held =
        maria->detaching != NULL ? maria_held_find(maria, &maria->detaching->gtid) : NULL;
    return maria->detaching == NULL ? UINT64_MAX : held != NULL ? held->detach.next_ms : 0;
}

static void take_up_detached(struct part_maria *maria, uint64_t now_ms)
{
    while (maria_decide_next_ms(maria) <= now_ms) {
        struct part_job *job = maria->detaching;
        maria->detaching = job->next;
        add(maria, job);
    }
}

static void end_all(struct part_maria *maria, const char *words)
{
    while (maria->decisions != NULL) {
        end(maria, take(maria), PART_JOB_RETRY, words);
    }
}

void maria_decide_done(struct part_maria *maria, const char *words)
{
    take_up_detached(maria, UINT64_MAX - 1);
    end_all(maria, words);
}

void maria_decide_run(struct part_maria *maria)
{
    struct maria_session *session;
    uint64_t now_ms = tpc_clock_mono_ms();
    take_up_detached(maria, now_ms);
    while ((session = idle(maria)) != NULL) {
        if (kill_one(session) || maria_doubt_ask(session, now_ms)) {
            continue;
        }
        if (maria->decisions != NULL) {
            carry_out(session, take(maria));
        } else if (!forget_some(session)) {
            break;
        }
    }
    if (maria->decisions == NULL || any_alive(maria)) {
        return;
    }
    end_all(maria, maria->trouble[0] != '\0' ? maria->trouble : "the server is unreachable");
}

void maria_decide_submit(struct part_maria *maria, struct part_job *job)
{
    const struct maria_held *held = maria_held_find(maria, &job->gtid);
    struct maria_session *session = held != NULL ? held->session : NULL;
    bool decision = job->kind == PART_JOB_COMMIT || job->kind == PART_JOB_ABORT;
    if (decision && session != NULL && session->branch.phase == MARIA_HELD) {
        decide_own(session, job);
        return;
    }
    if (decision && session != NULL) {
        end(maria, job, PART_JOB_RETRY, "it is being ended");
        return;
    }
    add(maria, job);
}
