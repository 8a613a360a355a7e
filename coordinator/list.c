/* GET /v1/transactions: newest first, with filters and a cursor. */
#include "coordinator/daemon.h"

#include <stdlib.h>
#include <string.h>

enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 1000, EXAMINED_MAX = 20000 };

struct filter {
    const char *state, *participant, *key;
    size_t limit;
    bool has_cursor;
    struct tpc_id cursor; /* go on below this id */
    const char *unknown;  /* a query parameter that does not exist */
};

static void visit_query(void *arg, const char *name, const char *value)
{
    static const char *const known[] = {"state", "participant", "key", "limit", "cursor"};
    struct filter *filter = arg;
    (void)value;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(name, known[i]) == 0) {
            return;
        }
    }
    filter->unknown = name;
}

static bool is_state(const char *text)
{
    static const char *const states[] = {"active",    "preparing", "committing",
                                         "committed", "aborting",  "aborted"};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        if (strcmp(text, states[i]) == 0) {
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
    *filter = (struct filter){.limit = LIMIT_DEFAULT};
    filter->state = api_request_query(request, "state");
    filter->participant = api_request_query(request, "participant");
    filter->key = api_request_query(request, "key");
    api_request_each_query(request, visit_query, filter);
    if (filter->unknown != NULL) {
        coord_field_problem(request, 422, "invalid", filter->unknown, "Unknown query parameter",
                            "write state, participant, key, limit or cursor");
    } else if (filter->state != NULL && !is_state(filter->state)) {
        coord_field_problem(
            request, 422, "invalid", "state", "Unknown state",
            "state is one of active preparing committing committed aborting aborted");
    } else if (limit != NULL && !parse_limit(limit, &filter->limit)) {
        coord_field_problem(request, 422, "invalid", "limit", "Not a limit",
                            "limit is a number from 1 to %d", LIMIT_MAX);
    } else if (cursor != NULL && !tpc_id_parse(cursor, strlen(cursor), &filter->cursor)) {
        coord_field_problem(request, 422, "invalid", "cursor", "Not a cursor",
                            "send next_cursor of the last answer as it was");
    } else {
        filter->has_cursor = cursor != NULL;
        return true;
    }
    return false;
}

static bool has_participant(const struct coord_xact *xact, const char *name)
{
    for (unsigned i = 0; i < xact->branch_count; i++) {
        if (strcmp(xact->branches[i].member->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool matches(const struct coord_xact *xact, const struct filter *filter)
{
    return (filter->state == NULL || strcmp(filter->state, coord_view_state(xact)) == 0) &&
           (filter->participant == NULL || has_participant(xact, filter->participant)) &&
           (filter->key == NULL ||
            (xact->key != NULL && strcmp(filter->key, xact->key->text) == 0));
}

/* Where the list goes on: the newest one not yet listed of those in memory, and of the past. */
struct place {
    struct coord_xact *xact;
    const struct tpc_id *past;
};

static bool is_end(const struct place *place)
{
    return place->xact == NULL && place->past == NULL;
}

static bool is_in_past(const struct place *place)
{
    return place->past != NULL &&
           (place->xact == NULL || tpc_id_compare(place->past, &place->xact->id) > 0);
}

static const struct tpc_id *place_id(const struct place *place)
{
    return is_in_past(place) ? place->past : &place->xact->id;
}

static size_t write_if_matching(struct tpc_buf *out, struct coord_daemon *daemon,
                                const struct place *place, const struct filter *filter)
{
    bool in_past = is_in_past(place);
    struct coord_xact *xact = in_past ? coord_past_look(daemon, place->past) : place->xact;
    bool match = matches(xact, filter);
    if (match) {
        coord_view_write(out, xact, false);
    }
    if (in_past) {
        coord_xact_free(xact);
    }
    return match;
}

static void advance(struct coord_daemon *daemon, struct place *place, const struct filter *filter)
{
    if (is_in_past(place)) {
        place->past = coord_past_below(daemon, place->past);
    } else {
        bool last = place->xact == daemon->xacts || filter->key != NULL;
        place->xact = last ? NULL : place->xact->prev;
    }
}

static struct coord_xact *newest_below(struct coord_daemon *daemon, const struct tpc_id *cursor)
{
    struct coord_xact *xact = daemon->xacts != NULL ? daemon->xacts->prev : NULL;
    if (xact == NULL || tpc_id_compare(cursor, &daemon->xacts->id) <= 0) {
        return NULL;
    }
    struct coord_xact *at = coord_xact_find(daemon, cursor);
    if (at != NULL) {
        return at == daemon->xacts ? NULL : at->prev;
    }
    while (xact != NULL && tpc_id_compare(&xact->id, cursor) >= 0) {
        xact = xact == daemon->xacts ? NULL : xact->prev;
    }
    return xact;
}

/* The newest below the cursor; with a key, the only one it can be. */
static struct place first(struct coord_daemon *daemon, const struct filter *filter)
{
    struct coord_key *key = NULL;
    if (filter->key != NULL) {
        HASH_FIND_STR(daemon->keys, filter->key, key);
        bool after = key != NULL && filter->has_cursor &&
                     tpc_id_compare(&key->xact->id, &filter->cursor) >= 0;
        return (struct place){.xact = key != NULL && !after ? key->xact : NULL};
    }
    if (!filter->has_cursor) {
        return (struct place){.xact = daemon->xacts != NULL ? daemon->xacts->prev : NULL,
                              .past = coord_past_below(daemon, NULL)};
    }
    return (struct place){.xact = newest_below(daemon, &filter->cursor),
                          .past = coord_past_below(daemon, &filter->cursor)};
}

void coord_list(void *arg, struct api_request *request, const char *const args[])
{
    struct coord_daemon *daemon = arg;
    struct filter filter;
    struct tpc_buf out = {0};
    size_t found = 0, examined = 0;
    const struct tpc_id *last = NULL;
    (void)args;
    if (!parse_filter(request, &filter)) {
        return;
    }
    api_jw_open(&out, '{');
    api_jw_key(&out, "items");
    api_jw_open(&out, '[');
    struct place place = first(daemon, &filter);
    while (!is_end(&place) && found < filter.limit && examined < EXAMINED_MAX) {
        examined++;
        found += write_if_matching(&out, daemon, &place, &filter);
        last = place_id(&place);
        advance(daemon, &place, &filter);
    }
    api_jw_close(&out, ']');
    api_jw_key(&out, "next_cursor");
    if (!is_end(&place) && last != NULL) {
        api_jw_id(&out, last);
    } else {
        api_jw_null(&out);
    }
    api_jw_close(&out, '}');
    api_respond(request, 200, "application/json", &out);
}
