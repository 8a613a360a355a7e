/* Branches as operators see them. */
#include "participant/daemon.h"

#include "api/problem.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 1000 };

/* ---- One branch ---- */

static const char *outcome_name(enum part_outcome outcome)
{
    return outcome == PART_COMMIT ? "commit" : outcome == PART_ABORT ? "abort" : NULL;
}

static void write_optional(struct tpc_buf *out, const char *key, const char *text)
{
    if (text != NULL) {
        api_jw_key(out, key);
        api_jw_str(out, text);
    }
}

static void write_time(struct tpc_buf *out, const char *key, uint64_t wall_us)
{
    char text[TPC_TIME_TEXT];
    write_optional(out, key, wall_us != 0 ? tpc_time_format(wall_us, text) : NULL);
}

static void write_coordinator(struct tpc_buf *out, const struct branch *branch)
{
    const struct coordinator *coordinator =
        part_coordinator_find(branch->daemon, &branch->coordinator_id);
    api_jw_key(out, "coordinator");
    api_jw_open(out, '{');
    api_jw_key(out, "id");
    api_jw_id(out, &branch->coordinator_id);
    if (coordinator != NULL) {
        write_optional(out, "url", coordinator->self.url);
    }
    api_jw_close(out, '}');
}

static void write_by_hand(struct tpc_buf *out, const struct branch *branch)
{
    api_jw_key(out, "resolved");
    api_jw_open(out, '{');
    write_optional(out, "outcome", outcome_name(branch->fsm.heuristic));
    write_optional(out, "operator", branch->by_hand.operator_name);
    write_optional(out, "reason", branch->by_hand.reason);
    write_time(out, "at", branch->by_hand.at_us);
    api_jw_close(out, '}');
}

void part_branch_write(struct tpc_buf *out, const struct branch *branch)
{
    uint64_t now_us = tpc_clock_wall_us();
    api_jw_open(out, '{');
    api_jw_key(out, "gtid");
    api_jw_id(out, &branch->gtid);
    api_jw_key(out, "state");
    api_jw_str(out, part_state_text(branch->fsm.state));
    api_jw_key(out, "age_ms");
    api_jw_u64(out, now_us > branch->at_us ? (now_us - branch->at_us) / 1000 : 0);
    write_time(out, "began_at", branch->began_us);
    write_coordinator(out, branch);
    write_optional(out, "decided", outcome_name(branch->fsm.told));
    if (branch->fsm.heuristic != PART_NO_OUTCOME) {
        write_by_hand(out, branch);
        api_jw_key(out, "hazard");
        api_jw_bool(out, part_is_hazard(&branch->fsm));
    }
    write_optional(out, "last_error", branch->last_error);
    api_jw_close(out, '}');
}

struct branch *part_branch_of_request(struct part_daemon *daemon, struct api_request *request,
                                      const char *text)
{
    struct tpc_id gtid;
    struct branch *branch = NULL;
    struct tpc_buf out = {0};
    if (tpc_id_parse(text, strlen(text), &gtid)) {
        branch = part_table_find(daemon, &gtid);
    }
    if (branch != NULL) {
        return branch;
    }
    api_problem_begin(&out, "not-found", "No such branch", 404,
                      "no branch of this transaction is known here: it never was, or it ended "
                      "longer ago than the retention time",
                      NULL);
    api_jw_key(&out, "known");
    api_jw_bool(&out, false);
    api_jw_close(&out, '}');
    api_respond(request, 404, API_PROBLEM_CONTENT_TYPE, &out);
    return NULL;
}

void part_show(void *arg, struct api_request *request, const char *const args[])
{
    struct branch *branch = part_branch_of_request(arg, request, args[0]);
    struct tpc_buf out = {0};
    if (branch != NULL) {
        part_branch_write(&out, branch);
        api_respond(request, 200, NULL, &out);
    }
}

/* ---- The list, by gtid: the oldest first ---- */

struct filter {
    const char *state; /* NULL: all that have not ended */
    size_t limit;
    bool has_cursor;
    struct tpc_id cursor; /* go on after this one */
    const char *unknown;  /* a query parameter that does not exist */
};

static void visit_query(void *arg, const char *name, const char *value)
{
    struct filter *filter = arg;
    (void)value;
    if (strcmp(name, "state") != 0 && strcmp(name, "limit") != 0 && strcmp(name, "cursor") != 0) {
        filter->unknown = name;
    }
}

static bool is_state(const char *text)
{
    for (unsigned state = 0; state < PART_STATE_COUNT; state++) {
        if (strcmp(text, part_state_text(state)) == 0) {
            return true;
        }
    }
    return false;
}

static bool parse_limit(const char *text, size_t *ret_limit)
{
    char *end;
    unsigned long limit = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || limit < 1 || limit > LIMIT_MAX) {
        return false;
    }
    *ret_limit = limit;
    return true;
}

static bool parse_filter(struct api_request *request, struct filter *filter)
{
    const char *limit = api_request_query(request, "limit");
    const char *cursor = api_request_query(request, "cursor");
    *filter = (struct filter){.limit = LIMIT_DEFAULT, .has_cursor = cursor != NULL};
    filter->state = api_request_query(request, "state");
    api_request_each_query(request, visit_query, filter);
    if (filter->unknown != NULL) {
        api_respond_problem(request, 422, "invalid", "Unknown query parameter",
                            "write state, limit or cursor", filter->unknown);
    } else if (filter->state != NULL && !is_state(filter->state)) {
        api_respond_problem(request, 422, "invalid", "Unknown state",
                            "state is one of executing prepared committing committed read_only "
                            "aborting aborted heuristic_commit heuristic_abort unknown",
                            "state");
    } else if (limit != NULL && !parse_limit(limit, &filter->limit)) {
        api_respond_problem(request, 422, "invalid", "Not a limit",
                            "limit is a number from 1 to 1000", "limit");
    } else if (cursor != NULL && !tpc_id_parse(cursor, strlen(cursor), &filter->cursor)) {
        api_respond_problem(request, 422, "invalid", "Not a cursor",
                            "send next_cursor of the last answer as it was", "cursor");
    } else {
        return true;
    }
    return false;
}

static int compare(const void *a, const void *b)
{
    const struct branch *const *x = a, *const *y = b;
    return tpc_id_compare(&(*x)->gtid, &(*y)->gtid);
}

static size_t collect(struct branch *list, const struct filter *filter, struct branch **found)
{
    struct branch *branch;
    size_t count = 0;
    DL_FOREACH (list, branch) {
        if ((filter->state == NULL ||
             strcmp(filter->state, part_state_text(branch->fsm.state)) == 0) &&
            (!filter->has_cursor || tpc_id_compare(&branch->gtid, &filter->cursor) > 0)) {
            found[count++] = branch;
        }
    }
    return count;
}

void part_list(void *arg, struct api_request *request, const char *const args[])
{
    struct part_daemon *daemon = arg;
    struct filter filter;
    struct tpc_buf out = {0};
    (void)args;
    if (!parse_filter(request, &filter)) {
        return;
    }
    struct branch **found =
        part_alloc((daemon->live_count + daemon->ended_count + 1) * sizeof(struct branch *));
    size_t count = collect(daemon->live, &filter, found);
    if (filter.state != NULL) {
        count += collect(daemon->ended, &filter, found + count);
    }
    qsort(found, count, sizeof(struct branch *), compare);
    api_jw_open(&out, '{');
    api_jw_key(&out, "items");
    api_jw_open(&out, '[');
    for (size_t i = 0; i < count && i < filter.limit; i++) {
        part_branch_write(&out, found[i]);
    }
    api_jw_close(&out, ']');
    api_jw_key(&out, "next_cursor");
    if (count > filter.limit) {
        api_jw_id(&out, &found[filter.limit - 1]->gtid);
    } else {
        api_jw_null(&out);
    }
    api_jw_close(&out, '}');
    free(found);
    api_respond(request, 200, NULL, &out);
}
