/* Interactive transactions: opened, worked on step by step at one participant after the other, and
 * committed or aborted by name.
 *
 * Nothing of it is logged while it is open. One step is under way at a time, so that results come
 * in the order of the work. Whatever goes wrong aborts the whole at once: what the client learnt
 * from earlier steps no longer holds, and nobody is to wait for the locks. */
#include "coordinator/daemon.h"

#include "base/clock.h"
#include "base/tpc_assert.h"

#include <stdlib.h>
#include <string.h>

static void await_next(struct coord_xact *xact)
{
    xact->deadline_ms = tpc_clock_mono_ms() + xact->timeout_ms;
    tpc_timer_arm(&xact->daemon->timers, &xact->timer, xact->deadline_ms);
}

/* ---- Open ---- */

static bool may_open(struct coord_daemon *daemon, struct api_request *request,
                     const struct coord_wish *wish)
{
    if (wish->has_key) {
        coord_field_problem(request, 422, "invalid", "Idempotency-Key",
                            "An interactive transaction takes no Idempotency-Key",
                            "it is known by its id from the first answer on; leave the header out");
        return false;
    }
    if (daemon->open >= daemon->settings->open_max) {
        coord_unavailable(request, "as many interactive transactions are open as are allowed "
                                   "(--open-max); nothing was started");
        daemon->stats.refused++;
        return false;
    }
    return coord_has_room(daemon, request, false);
}

static void answer_opened(const struct coord_xact *xact, struct api_request *request)
{
    char id[TPC_ID_TEXT], location[80];
    struct tpc_buf out = {0};
    (void)snprintf(location, sizeof location, "/v1/transactions/%s", tpc_id_format(&xact->id, id));
    api_request_add_header(request, "Location", location);
    coord_view_write(&out, xact, false);
    api_respond(request, 201, "application/json", &out);
}

void coord_interactive_open(struct coord_daemon *daemon, struct api_request *request,
                            struct api_submit *submit, const struct coord_wish *wish)
{
    if (!may_open(daemon, request, wish)) {
        return;
    }
    struct coord_xact *xact = coord_xact_new(daemon, 0);
    if (xact == NULL) {
        coord_unavailable(request, "out of memory; nothing was started");
        return;
    }
    xact->interactive = true;
    xact->last_attempt = true; /* only its client could do the work again */
    coord_xact_begin(xact, submit);
    if (coord_xact_add(xact) != TPC_OK) {
        coord_halt("out of memory while a transaction began", NULL);
    }
    daemon->open++;
    coord_event(xact, &(struct coord_event){.type = COORD_EV_OPEN}, "OPEN");
    answer_opened(xact, request);
}

/* ---- What is refused ---- */

static void answer_not_open(const struct coord_xact *xact, struct api_request *request)
{
    if (!xact->interactive) {
        coord_conflict_problem(xact, request, "not-active", "The transaction is not interactive",
                               "a transaction that was submitted whole commits by itself");
    } else if (coord_outcome(xact->fsm) == COORD_ABORT) {
        coord_conflict_problem(xact, request, "aborted", "The transaction was aborted",
                               xact->cause.detail != NULL
                                   ? xact->cause.detail
                                   : "nothing was changed anywhere: open another one");
    } else {
        coord_conflict_problem(xact, request, "not-active", "The transaction is not open any more",
                               "its commit was asked for: no work is accepted after that");
    }
}

/* The one that is open, with no step under way; NULL: it is not, and that was answered. */
static bool is_free(const struct coord_xact *xact, struct api_request *request)
{
    if (xact->fsm->state != COORD_ACTIVE) {
        answer_not_open(xact, request);
    } else if (xact->step != NULL) {
        coord_conflict_problem(xact, request, "busy", "A step of the transaction is under way",
                               "wait for its results: one step runs at a time");
    } else {
        return true;
    }
    return false;
}

/* ---- A step ---- */

static int branch_of(const struct coord_xact *xact, const struct coord_member *member)
{
    for (unsigned i = 0; i < xact->branch_count; i++) {
        if (xact->branches[i].member == member) {
            return (int)i;
        }
    }
    return -1;
}

/* The member's branch, which is added when there is none; -1: it cannot be, and that was answered.
 */
static int join(struct coord_xact *xact, struct api_request *request, struct coord_member *member)
{
    int branch = branch_of(xact, member);
    if (branch >= 0) {
        return branch;
    }
    if (xact->branch_count >= xact->daemon->settings->branches_max) {
        coord_field_problem(request, 422, "invalid", "participant", "Too many participants",
                            "the transaction has as many branches as are allowed "
                            "(--branches-max); its open steps are as they were");
    } else if (coord_xact_join(xact, member) != TPC_OK) {
        coord_unavailable(request, "out of memory; nothing was done");
    } else {
        return (int)xact->branch_count - 1;
    }
    return -1;
}

static void execute(struct coord_xact *xact, struct api_request *request,
                    struct api_submit_branch *work)
{
    struct coord_member *member =
        coord_participant_find(xact->daemon, request, work->participant, "participant");
    int index = member != NULL ? join(xact, request, member) : -1;
    if (index < 0) {
        return;
    }
    struct coord_xbranch *branch = &xact->branches[index];
    branch->statements = work->statements;
    branch->statements_size = work->statements_size;
    work->statements = NULL;
    xact->step = request;
    xact->step_branch = (unsigned)index;
    await_next(xact);
    (void)coord_fp(COORD_FP_STEP_BEGIN);
    coord_link_send(member, API_OP_EXECUTE, xact, (unsigned)index, false);
}

void coord_interactive_execute(void *arg, struct api_request *request, const char *const args[])
{
    struct coord_daemon *daemon = arg;
    struct coord_xact *xact = coord_find(daemon, request, args[0]);
    struct api_codec_limits limits = coord_limits(daemon->settings);
    struct api_submit_branch work = {0};
    struct api_refusal refusal = {0};
    size_t size;
    if (xact == NULL || !is_free(xact, request)) {
        return;
    }
    const char *body = api_request_body(request, &size);
    if (api_execute_decode(body, size, &limits, &work, &refusal) != TPC_OK) {
        coord_refuse(request, &refusal);
        return;
    }
    execute(xact, request, &work);
    api_submit_branch_done(&work);
}

static struct api_request *take_step(struct coord_xact *xact)
{
    struct coord_xbranch *branch = &xact->branches[xact->step_branch];
    struct api_request *request = xact->step;
    xact->step = NULL;
    free(branch->statements);
    branch->statements = NULL;
    branch->statements_size = 0;
    return request;
}

static void answer_results(struct api_request *request, const struct api_answer *answer)
{
    struct tpc_buf out = {0};
    api_jw_open(&out, '{');
    api_jw_key(&out, "results");
    api_jw_raw(&out, answer->results, answer->results_size);
    api_jw_close(&out, '}');
    api_respond(request, 200, "application/json", &out);
}

void coord_interactive_answer(struct coord_xact *xact, unsigned branch, struct api_answer *answer)
{
    if (xact->fsm->state != COORD_ACTIVE) {
        return; /* late: its abort says how it ends */
    }
    TPC_ASSERT(xact->step != NULL && xact->step_branch == branch);
    if (answer->results != NULL && answer->cause.code == API_CAUSE_NONE) {
        xact->branches[branch].executed++;
        struct api_request *request = take_step(xact);
        await_next(xact);
        answer_results(request, answer);
        return;
    }
    xact->cause = answer->cause;
    xact->cause_branch = (int)branch;
    memset(&answer->cause, 0, sizeof answer->cause);
    coord_event_from(xact, COORD_EV_VOTE_NO, branch, &answer->participant_id);
}

/* ---- The end ---- */

void coord_interactive_left(struct coord_xact *xact)
{
    xact->daemon->open--;
    if (xact->step != NULL) {
        answer_not_open(xact, take_step(xact));
    }
}

/* One that could not be waited for would be aborted. */
static bool may_wait(const struct coord_xact *xact, struct api_request *request,
                     const struct coord_wish *wish)
{
    struct coord_daemon *daemon = xact->daemon;
    if (xact->ended || wish->async || daemon->waiters < daemon->settings->waiters_max) {
        return true;
    }
    coord_unavailable(request, "as many requests wait for a transaction as are allowed "
                               "(--waiters-max); nothing was done");
    daemon->stats.refused++;
    return false;
}

void coord_interactive_commit(void *arg, struct api_request *request, const char *const args[])
{
    struct coord_xact *xact = coord_find(arg, request, args[0]);
    struct coord_wish wish = {0};
    if (xact == NULL || !coord_wish_read(request, &wish)) {
        return;
    }
    /* The log does not say of a decided one how it came; its outcome is the answer either way. */
    bool is_whole = !xact->interactive && !xact->recovered;
    bool begins = is_whole || xact->fsm->state == COORD_ACTIVE;
    if ((begins && !is_free(xact, request)) || !may_wait(xact, request, &wish)) {
        return;
    }
    if (begins) {
        xact->deadline_ms = tpc_clock_mono_ms() + xact->timeout_ms;
        coord_xact_start(xact);
    }
    coord_wait_or_answer(xact, request, &wish, COORD_WAIT_COMMIT, false);
}

void coord_interactive_give_up(struct coord_daemon *daemon)
{
    struct coord_xact *xact = daemon->kept[COORD_KEPT_UNFINISHED], *next;
    for (; xact != NULL; xact = next) {
        next = xact->kept_next;
        if (xact->fsm->state == COORD_ACTIVE) {
            coord_xact_set_cause(xact, -1, API_CAUSE_CLIENT_ABORT,
                                 "the coordinator was shut down while the transaction was open");
            coord_event(xact, &(struct coord_event){.type = COORD_EV_CLIENT_ABORT}, "CLIENT_ABORT");
        }
    }
}
