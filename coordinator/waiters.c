/* Who waits for a transaction, and what they are told when. */
#include "coordinator/daemon.h"

#include "api/problem.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

static bool is_submit(int kind)
{
    return kind == COORD_WAIT_SUBMIT || kind == COORD_WAIT_COMMIT;
}

static void drop(struct coord_waiter *waiter)
{
    struct coord_xact *xact = waiter->xact;
    tpc_timer_cancel(&xact->daemon->timers, &waiter->timer);
    DL_DELETE(xact->waiters, waiter);
    xact->daemon->waiters--;
    free(waiter);
}

static void tell(struct coord_waiter *waiter)
{
    struct coord_xact *xact = waiter->xact;
    struct api_request *request = waiter->request;
    int kind = (int)waiter->kind;
    bool replayed = waiter->replayed;
    drop(waiter);
    coord_answer(xact, request, kind, replayed);
}

/* The wait is over before the transaction is. An abort in progress is about to end by itself, and
 * then its outcome is the answer. */
static void on_wait_over(struct tpc_timer *timer)
{
    struct coord_waiter *waiter = coord_container(timer, struct coord_waiter, timer);
    struct coord_xact *xact = waiter->xact;
    bool ending = xact->fsm->state == COORD_ABORTING || xact->fsm->state == COORD_ABORTED ||
                  xact->fsm->state == COORD_QUERYING;
    if (is_submit((int)waiter->kind) && !waiter->has_wait && ending) {
        return;
    }
    tell(waiter);
}

struct coord_waiter *coord_waiter_add(struct coord_xact *xact, struct api_request *request,
                                      int kind, uint64_t wait_ms)
{
    bool room = xact->daemon->waiters < xact->daemon->settings->waiters_max;
    struct coord_waiter *waiter = room ? calloc(1, sizeof *waiter) : NULL;
    if (waiter == NULL) {
        return NULL;
    }
    waiter->xact = xact;
    waiter->request = request;
    waiter->kind = kind;
    waiter->timer.fire = on_wait_over;
    DL_APPEND(xact->waiters, waiter);
    xact->daemon->waiters++;
    tpc_timer_arm(&xact->daemon->timers, &waiter->timer, tpc_clock_mono_ms() + wait_ms);
    return waiter;
}

void coord_waiters_decided(struct coord_xact *xact)
{
    struct coord_waiter *waiter, *next;
    bool commit = coord_outcome(xact->fsm) == COORD_COMMIT;
    DL_FOREACH_SAFE(xact->waiters, waiter, next)
    {
        /* An abort may still become another attempt: it is told when it has ended. */
        if (is_submit((int)waiter->kind) && waiter->ack == API_ACK_DECIDED && commit) {
            tell(waiter);
        }
    }
}

void coord_waiters_unknown(struct coord_xact *xact)
{
    struct coord_waiter *waiter, *next;
    DL_FOREACH_SAFE(xact->waiters, waiter, next)
    {
        if (waiter->kind != COORD_WAIT_GET) {
            tell(waiter);
        }
    }
}

void coord_waiters_ended(struct coord_xact *xact)
{
    struct coord_waiter *waiter, *next;
    DL_FOREACH_SAFE(xact->waiters, waiter, next)
    {
        tell(waiter);
    }
}

/* An undecided one-phase transaction has no record, so that its id would lead to a wrong answer:
 * the server's own, that nothing is known, has to do. */
void coord_waiters_leave(struct coord_daemon *daemon)
{
    for (struct coord_xact *xact = daemon->kept[COORD_KEPT_UNFINISHED]; xact != NULL;
         xact = xact->kept_next) {
        bool nameless = xact->fsm->state == COORD_PREPARING || xact->fsm->state == COORD_QUERYING;
        struct coord_waiter *waiter, *next;
        DL_FOREACH_SAFE(xact->waiters, waiter, next)
        {
            if (nameless && xact->fsm->one_phase) {
                drop(waiter);
            } else {
                tell(waiter);
            }
        }
    }
}

/* ---- Answers ---- */

static void add_location(struct api_request *request, const struct coord_xact *xact)
{
    char id[TPC_ID_TEXT], location[80];
    (void)snprintf(location, sizeof location, "/v1/transactions/%s", tpc_id_format(&xact->id, id));
    api_request_add_header(request, "Location", location);
}

static void answer_view(const struct coord_xact *xact, struct api_request *request, int status)
{
    struct tpc_buf out = {0};
    coord_view_write(&out, xact, true);
    api_respond(request, status, "application/json", &out);
}

static const char *abort_advice(const struct coord_xact *xact)
{
    if (xact->cause.detail != NULL && xact->cause.detail[0] != '\0') {
        return xact->cause.detail;
    }
    return api_cause_retryable(xact->cause.code)
               ? "nothing was changed anywhere; the same request may succeed when sent again"
               : "nothing was changed anywhere";
}

static void answer_problem(const struct coord_xact *xact, struct api_request *request,
                           const char *type, const char *title, int status, const char *detail)
{
    struct tpc_buf out = {0};
    api_problem_begin(&out, type, title, status, detail, NULL);
    if (xact->cause.code == API_CAUSE_NONE) {
        api_jw_key(&out, "retryable");
        api_jw_bool(&out, false);
    }
    coord_view_members(&out, xact, false);
    api_jw_close(&out, '}');
    api_respond(request, status, API_PROBLEM_CONTENT_TYPE, &out);
}

void coord_conflict_problem(const struct coord_xact *xact, struct api_request *request,
                            const char *type, const char *title, const char *detail)
{
    answer_problem(xact, request, type, title, 409, detail);
}

/* @done: the status of a commit. */
static void answer_submit(const struct coord_xact *xact, struct api_request *request, int done)
{
    enum coord_outcome outcome = coord_outcome(xact->fsm);
    bool decided = xact->ack == API_ACK_DECIDED;
    add_location(request, xact);
    if (xact->fsm->hazards != 0) {
        answer_problem(xact, request, "hazard", "A branch ended another way than the transaction",
                       500, "see 'hazard' for the participants, and repair their data by hand");
    } else if (outcome == COORD_COMMIT && (xact->ended || decided)) {
        answer_view(xact, request, done);
    } else if (outcome == COORD_ABORT && xact->ended) {
        answer_problem(xact, request, "aborted", "The transaction was aborted", 409,
                       abort_advice(xact));
    } else {
        answer_view(xact, request, 202);
    }
}

static void answer_abort(const struct coord_xact *xact, struct api_request *request)
{
    if (coord_outcome(xact->fsm) == COORD_COMMIT) {
        answer_problem(xact, request, "already-decided", "The transaction is committed", 409,
                       "a committed transaction cannot be aborted: undo it with another one");
    } else {
        answer_view(xact, request, xact->ended ? 200 : 202);
    }
}

void coord_answer(struct coord_xact *xact, struct api_request *request, int kind, bool replayed)
{
    if (replayed) {
        api_request_add_header(request, "Idempotent-Replayed", "true");
    }
    if (kind == COORD_WAIT_SUBMIT || kind == COORD_WAIT_COMMIT) {
        answer_submit(xact, request, kind == COORD_WAIT_SUBMIT ? 201 : 200);
    } else if (kind == COORD_WAIT_ABORT) {
        answer_abort(xact, request);
    } else {
        answer_view(xact, request, 200);
    }
}
