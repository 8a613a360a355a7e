/* Sessions that were lost while they prepared: is the branch prepared or not?
 *
 * The session at the server may live on for a while and prepare yet. While it does, the marker is
 * locked and XA RECOVER does not have the branch, so the question is asked again. What XA RECOVER
 * has is a yes, unless it is unwanted meanwhile: then it is rolled back and refused. No marker at
 * all: it was rolled back. When nobody can be asked before the branch's time is over it is refused:
 * nobody was told yes, and what the server holds of it is found later. */
#include "participant/maria_internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { ASK_AGAIN_MS = 50, WITHOUT_DEADLINE_MS = 10000 };

static void leave(struct maria_doubt *doubt)
{
    LL_DELETE(doubt->maria->doubts, doubt);
    free(doubt);
}

static void refuse(struct maria_doubt *doubt)
{
    struct part_job *job = doubt->branch.job;
    struct part_refusal *refusal = &doubt->branch.refusal;
    part_refuse(refusal, API_CAUSE_PARTICIPANT_ERROR, "%s", doubt->words);
    part_refusal_tell(refusal, &job->cause);
    tpc_buf_clear(&job->results);
    part_job_end(&doubt->maria->ends, job, PART_JOB_REFUSED);
    leave(doubt);
}

/* Another session ends it, once the server has noticed that its own is gone. */
static void accept(struct maria_doubt *doubt)
{
    struct part_job *job = doubt->branch.job;
    maria_held_add(doubt->maria, &job->gtid)->detach = doubt->detach;
    maria_payload_write(doubt->maria, job, doubt->detach.thread);
    part_job_end(&doubt->maria->ends, job, PART_JOB_READY);
    leave(doubt);
}

void maria_doubt_on_lost(struct maria_doubt *doubt)
{
    doubt->asking = false;
    doubt->not_before_ms = tpc_clock_mono_ms() + ASK_AGAIN_MS;
}

static bool is_unwanted(const struct maria_doubt *doubt)
{
    return doubt->branch.refusal.code != API_CAUSE_NONE ||
           atomic_load(&doubt->branch.job->cancelled);
}

/* The marker tells whether it was done. */
static void on_undone(struct maria_session *session)
{
    struct maria_doubt *doubt = session->doubt;
    maria_decide_free(session);
    doubt->undone |= session->error.code == 0;
    if (session->error.code != 0) {
        doubt->detach = (struct maria_detach){.thread = doubt->detach.thread};
    }
    maria_doubt_on_lost(doubt);
}

static void undo(struct maria_session *session)
{
    const struct maria_doubt *doubt = session->doubt;
    const struct part_maria *maria = session->maria;
    char xid[MARIA_XID_TEXT];
    tpc_buf_clear(&session->text);
    tpc_buf_addf(&session->text, "XA ROLLBACK %s",
                 maria_xid_write(xid, &maria->options.participant_id, &doubt->branch.coordinator_id,
                                 &doubt->branch.gtid));
    maria_send(session, NULL, on_undone);
}

static void on_detach_known(struct maria_session *session)
{
    struct maria_doubt *doubt = session->doubt;
    if (maria_detach_answered(session, &doubt->detach)) {
        undo(session);
        return;
    }
    maria_decide_free(session);
    maria_doubt_on_lost(doubt);
}

/* No earlier than another session may. */
static void undo_when_detached(struct maria_session *session)
{
    struct maria_doubt *doubt = session->doubt;
    if (maria_detach_is_over(&doubt->detach, tpc_clock_mono_ms())) {
        undo(session);
    } else if (!maria_detach_ask(session, &doubt->detach, on_detach_known)) {
        maria_decide_free(session);
        maria_doubt_on_lost(doubt);
    }
}

static void on_list(struct maria_session *session, MYSQL_RES *result)
{
    struct maria_doubt *doubt = session->doubt;
    struct part_found *found = NULL;
    size_t count = 0;
    if (maria_list_read(session->maria, result, &found, &count) == TPC_OK) {
        for (size_t i = 0; i < count; i++) {
            doubt->listed |= tpc_id_equal(&found[i].gtid, &doubt->branch.gtid);
        }
    }
    free(found);
}

static void on_listed(struct maria_session *session)
{
    struct maria_doubt *doubt = session->doubt;
    if (session->error.code == 0 && doubt->listed && is_unwanted(doubt)) {
        undo_when_detached(session);
        return;
    }
    maria_decide_free(session);
    if (session->error.code == 0 && doubt->listed) {
        doubt->asking = false;
        accept(doubt);
        return;
    }
    if (session->error.code == 0 && doubt->undone) {
        maria_tell_lost(&doubt->branch.gtid);
        doubt->undone = false; /* told once */
    }
    maria_doubt_on_lost(doubt);
}

static void on_probed(struct maria_session *session)
{
    struct maria_doubt *doubt = session->doubt;
    enum maria_mark mark = maria_marker_read(session->found_rows, &session->error);
    if (mark == MARIA_MARK_LOCKED) {
        doubt->listed = false;
        tpc_buf_clear(&session->text);
        tpc_buf_adds(&session->text, "XA RECOVER");
        maria_send(session, on_list, on_listed);
        return;
    }
    maria_decide_free(session);
    doubt->asking = false;
    if (mark == MARIA_MARK_ABSENT) {
        refuse(doubt);
    } else if (mark == MARIA_MARK_THERE) { /* by somebody else's hand, but for good */
        part_job_end(&doubt->maria->ends, doubt->branch.job, PART_JOB_PROVEN);
        leave(doubt);
    } else {
        maria_doubt_on_lost(doubt);
    }
}

bool maria_doubt_ask(struct maria_session *session, uint64_t now_ms)
{
    struct maria_doubt *doubt;
    LL_FOREACH (session->maria->doubts, doubt) {
        if (!doubt->asking && now_ms >= doubt->not_before_ms) {
            session->busy = true;
            session->doubt = doubt;
            doubt->asking = true;
            tpc_buf_clear(&session->text);
            maria_marker_probe(session->maria, &doubt->branch.gtid, &session->text);
            maria_send(session, NULL, on_probed);
            return true;
        }
    }
    return false;
}

void maria_doubt_add(struct maria_session *session, const char *words)
{
    struct part_maria *maria = session->maria;
    struct maria_doubt *doubt = tpc_must_alloc(sizeof *doubt);
    doubt->maria = maria;
    doubt->branch = session->branch;
    doubt->detach.thread = session->thread;
    (void)snprintf(doubt->words, sizeof doubt->words, "%s", words);
    if (doubt->branch.job->deadline_ms == 0) {
        doubt->branch.job->deadline_ms = tpc_clock_mono_ms() + WITHOUT_DEADLINE_MS;
    }
    doubt->branch.job->session = NULL;
    session->busy = false;
    LL_PREPEND(maria->doubts, doubt);
}

void maria_doubts_expire(struct part_maria *maria, uint64_t now_ms)
{
    struct maria_doubt *doubt, *next;
    LL_FOREACH_SAFE(maria->doubts, doubt, next)
    {
        if (!doubt->asking && (now_ms >= doubt->branch.job->deadline_ms || maria->closing)) {
            refuse(doubt);
            if (maria->options.relist != NULL && !maria->closing) {
                maria->options.relist(maria->options.relist_arg); /* the server may hold it */
            }
        }
    }
}

uint64_t maria_doubts_next_ms(const struct part_maria *maria)
{
    uint64_t next_ms = UINT64_MAX;
    const struct maria_doubt *doubt;
    LL_FOREACH (maria->doubts, doubt) {
        uint64_t due_ms = doubt->branch.job->deadline_ms;
        if (doubt->not_before_ms > 0 && doubt->not_before_ms < due_ms) {
            due_ms = doubt->not_before_ms;
        }
        if (!doubt->asking && due_ms < next_ms) {
            next_ms = due_ms;
        }
    }
    return next_ms;
}

void maria_doubts_done(struct part_maria *maria)
{
    struct maria_doubt *doubt, *next;
    LL_FOREACH_SAFE(maria->doubts, doubt, next)
    {
        refuse(doubt);
    }
}
