/* The coordinator's routes. */
#include "coordinator/daemon.h"

#include "api/problem.h"
#include "api/router.h"
#include "base/clock.h"

#include <stdarg.h>
#include <string.h>

enum { WAIT_MAX_MS = 300000, ABORT_WAIT_MS = 10000 };

/* ---- Problems ---- */

static void respond(struct api_request *request, int status, const char *type, const char *field,
                    const char *title, const char *format, va_list args)
{
    struct tpc_buf detail = {0};
    tpc_buf_vaddf(&detail, format, args);
    api_respond_problem(request, status, type, title, detail.data, field);
    tpc_buf_done(&detail);
}

void coord_problem(struct api_request *request, int status, const char *type, const char *title,
                   const char *format, ...)
{
    va_list args;
    va_start(args, format);
    respond(request, status, type, NULL, title, format, args);
    va_end(args);
}

void coord_field_problem(struct api_request *request, int status, const char *type,
                         const char *field, const char *title, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    respond(request, status, type, field, title, format, args);
    va_end(args);
}

void coord_refuse(struct api_request *request, const struct api_refusal *refusal)
{
    struct tpc_buf out = {0};
    int status;
    api_problem_refusal(&out, refusal, &status);
    api_respond(request, status, API_PROBLEM_CONTENT_TYPE, &out);
}

void coord_unavailable(struct api_request *request, const char *why)
{
    api_request_add_header(request, "Retry-After", "1");
    coord_problem(request, 503, "unavailable", "Not now", "%s; try again", why);
}

static void unknown_transaction(struct api_request *request, const char *id)
{
    struct tpc_buf out = {0}, detail = {0};
    tpc_buf_addf(&detail,
                 "no transaction '%s' is known: it was never begun here, or was aborted before a "
                 "restart, or ended longer ago than the retention time or before the newest "
                 "--retained-max",
                 id);
    api_problem_begin(&out, "not-found", "No such transaction", 404, detail.data, NULL);
    api_jw_key(&out, "known");
    api_jw_bool(&out, false);
    api_jw_close(&out, '}');
    tpc_buf_done(&detail);
    api_respond(request, 404, API_PROBLEM_CONTENT_TYPE, &out);
}

struct coord_xact *coord_find(struct coord_daemon *daemon, struct api_request *request,
                              const char *text)
{
    struct tpc_id id;
    struct coord_xact *xact = NULL;
    if (tpc_id_parse(text, strlen(text), &id)) {
        xact = coord_xact_find(daemon, &id);
        if (xact == NULL) {
            xact = coord_xact_by_gtid(daemon, &id);
        }
    }
    if (xact == NULL) {
        unknown_transaction(request, text);
    }
    return xact;
}

/* ---- One transaction ---- */

static void get_transaction(void *arg, struct api_request *request, const char *const args[])
{
    struct coord_daemon *daemon = arg;
    struct coord_xact *xact = coord_find(daemon, request, args[0]);
    uint64_t wait_ms = 0;
    if (xact == NULL) {
        return; /* answered, and the request is gone */
    }
    const char *wait = api_request_query(request, "wait");
    if (wait != NULL && (!tpc_parse_duration(wait, &wait_ms) || wait_ms > WAIT_MAX_MS)) {
        coord_field_problem(request, 422, "invalid", "wait", "Not a wait",
                            "wait is a duration such as 30s, at most 5m");
        return;
    }
    if (xact->ended || wait_ms == 0 ||
        coord_waiter_add(xact, request, COORD_WAIT_GET, wait_ms) == NULL) {
        coord_answer(xact, request, COORD_WAIT_GET, false);
    }
}

static void abort_transaction(void *arg, struct api_request *request, const char *const args[])
{
    struct coord_xact *xact = coord_find(arg, request, args[0]);
    if (xact == NULL) {
        return;
    }
    if (coord_outcome(xact->fsm) == COORD_COMMIT || xact->fsm->state == COORD_LOGGING) {
        coord_problem(request, 409, "already-decided", "The transaction can no longer be aborted",
                      "every branch voted yes and the decision is taken: undo a committed "
                      "transaction with another one");
        return;
    }
    if (xact->ended) {
        coord_answer(xact, request, COORD_WAIT_ABORT, false);
        return;
    }
    if (coord_waiter_add(xact, request, COORD_WAIT_ABORT, ABORT_WAIT_MS) == NULL) {
        coord_unavailable(request, "too many requests wait (--waiters-max), or memory ran out; "
                                   "nothing was done");
        return;
    }
    xact->last_attempt = true;
    if (xact->waiting_again) {
        coord_xact_give_up(xact);
        return;
    }
    if (xact->fsm->state == COORD_PREPARING || xact->fsm->state == COORD_ACTIVE) {
        coord_xact_set_cause(xact, -1, API_CAUSE_CLIENT_ABORT, "aborted on request");
    }
    coord_event(xact, &(struct coord_event){.type = COORD_EV_CLIENT_ABORT}, "CLIENT_ABORT");
}

/* ---- Operations ---- */

static void livez(void *arg, struct api_request *request, const char *const args[])
{
    struct tpc_buf out = {0};
    (void)arg;
    (void)args;
    tpc_buf_adds(&out, "ok\n");
    api_respond(request, 200, "text/plain; charset=utf-8", &out);
}

static void write_members_up(struct tpc_buf *out, const struct coord_daemon *daemon)
{
    const struct coord_member *member, *next;
    api_jw_key(out, "in_flight");
    api_jw_u64(out, daemon->kept_count[COORD_KEPT_UNFINISHED]);
    api_jw_key(out, "participants");
    api_jw_open(out, '{');
    HASH_ITER (hh, daemon->members, member, next) {
        if (member->registered) {
            api_jw_key(out, member->name);
            api_jw_str(out, member->up ? "up" : "down");
        }
    }
    api_jw_close(out, '}');
}

static void write_verbose(struct tpc_buf *out, const struct coord_daemon *daemon)
{
    api_jw_open(out, '{');
    api_jw_key(out, "ready");
    api_jw_bool(out, daemon->recovered && !daemon->draining);
    api_jw_key(out, "recovered");
    api_jw_bool(out, daemon->recovered);
    api_jw_key(out, "draining");
    api_jw_bool(out, daemon->draining);
    api_jw_key(out, "version");
    api_jw_str(out, ASSENT_VERSION);
    api_jw_key(out, "coordinator_id");
    api_jw_id(out, &daemon->self.id);
    api_jw_key(out, "generation");
    api_jw_u64(out, daemon->self.generation);
    if (daemon->recovered) {
        write_members_up(out, daemon);
    }
    api_jw_close(out, '}');
}

/* Ready means recovered, whoever else is down. */
static void readyz(void *arg, struct api_request *request, const char *const args[])
{
    struct coord_daemon *daemon = arg;
    struct tpc_buf out = {0};
    bool ready = daemon->recovered && !daemon->draining;
    (void)args;
    if (!ready) {
        api_request_add_header(request, "Retry-After", "1");
    }
    if (api_request_query(request, "verbose") != NULL) {
        write_verbose(&out, daemon);
        api_respond(request, ready ? 200 : 503, "application/json", &out);
        return;
    }
    tpc_buf_adds(&out, ready ? "ok\n" : daemon->draining ? "draining\n" : "recovering\n");
    api_respond(request, ready ? 200 : 503, "text/plain; charset=utf-8", &out);
}

static void openapi(void *arg, struct api_request *request, const char *const args[])
{
    struct tpc_buf out = {0};
    (void)arg;
    (void)args;
    tpc_buf_add(&out, coord_openapi, coord_openapi_size);
    api_respond(request, 200, "application/json", &out);
}

static const struct api_route routes[] = {
    {"POST", "/v1/transactions", coord_submit},
    {"GET", "/v1/transactions", coord_list},
    {"GET", "/v1/transactions/{id}", get_transaction},
    {"POST", "/v1/transactions/{id}/statements", coord_interactive_execute},
    {"POST", "/v1/transactions/{id}/commit", coord_interactive_commit},
    {"POST", "/v1/transactions/{id}/abort", abort_transaction},
    {"POST", "/v1/transactions/{id}/forget", coord_forget},
    {"GET", "/v1/participants", coord_participants_list},
    {"GET", "/v1/participants/{name}", coord_participants_get},
    {"PUT", "/v1/participants/{name}", coord_participants_put},
    {"DELETE", "/v1/participants/{name}", coord_participants_delete},
    {"POST", "/v1/decisions", coord_inquire},
    {"GET", "/livez", livez},
    {"GET", "/readyz", readyz},
    {"GET", "/metrics", coord_metrics},
    {"GET", "/openapi.json", openapi},
    {NULL, NULL, NULL},
};

static const struct api_route admin_routes[] = {
    {"GET", "/livez", livez},
    {"GET", "/readyz", readyz},
    {"GET", "/metrics", coord_metrics},
    {NULL, NULL, NULL},
};

static bool is_new_work(struct api_request *request)
{
    return strcmp(api_request_method(request), "GET") != 0 &&
           strcmp(api_request_path(request), "/v1/decisions") != 0;
}

/* Until the log has been read there is nothing to answer from. */
static bool is_too_early(const struct coord_daemon *daemon, struct api_request *request)
{
    const char *path = api_request_path(request);
    return !daemon->recovered && strcmp(path, "/livez") != 0 && strcmp(path, "/readyz") != 0;
}

void coord_handle(void *arg, struct api_request *request)
{
    struct coord_daemon *daemon = arg;
    if (is_too_early(daemon, request)) {
        coord_unavailable(request, "the log is being read after a start; nothing was started");
    } else if (daemon->draining && is_new_work(request)) {
        coord_unavailable(request, "the coordinator is shutting down; nothing was started");
    } else {
        api_route(routes, daemon, request);
    }
}

void coord_handle_admin(void *arg, struct api_request *request)
{
    if (is_too_early(arg, request)) {
        coord_unavailable(request, "the log is being read after a start");
    } else {
        api_route(admin_routes, arg, request);
    }
}
