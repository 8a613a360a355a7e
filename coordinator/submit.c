/* POST /v1/transactions: check everything, then begin; or join, or replay, by Idempotency-Key. What
 * is interactive goes on in interactive.c. */
#include "coordinator/daemon.h"

#include "base/clock.h"
#include "base/hash.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { WAIT_MAX_S = 86400, ENDING_MS = 5, PARAMS_MAX = 32766 };

/* The key may stand in quotes, as the header's draft standard has it. */
static bool parse_key(const char *header, struct coord_wish *wish)
{
    size_t size = strlen(header);
    if (size >= 2 && header[0] == '"' && header[size - 1] == '"') {
        header++;
        size -= 2;
    }
    if (size == 0 || size > COORD_KEY_MAX) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)header[i];
        if (c < 0x20 || c > 0x7e || c == '"' || c == '\\') {
            return false;
        }
    }
    memcpy(wish->key, header, size);
    wish->key[size] = '\0';
    wish->has_key = true;
    return true;
}

static bool is_token(const char *text, size_t size, const char *token)
{
    return size == strlen(token) && strncasecmp(text, token, size) == 0;
}

/* Unknown preferences are ignored, as RFC 7240 asks. */
static bool parse_prefer(const char *header, struct coord_wish *wish)
{
    static const char space[] = " \t";
    while (*header != '\0') {
        header += strspn(header, " \t,;");
        size_t all = strcspn(header, ",;"), size = all;
        while (size > 0 && strchr(space, header[size - 1]) != NULL) {
            size--;
        }
        if (is_token(header, size, "respond-async")) {
            wish->async = true;
        } else if (size >= 5 && is_token(header, 5, "wait=")) {
            char *end;
            unsigned long long seconds = strtoull(header + 5, &end, 10);
            if (!isdigit((unsigned char)header[5]) || end != header + size ||
                seconds > WAIT_MAX_S) {
                return false;
            }
            wish->has_wait = true;
            wish->wait_ms = seconds * 1000;
        }
        header += all;
    }
    return true;
}

bool coord_wish_read(struct api_request *request, struct coord_wish *wish)
{
    const char *key = api_request_header(request, "Idempotency-Key");
    const char *prefer = api_request_header(request, "Prefer");
    if (key != NULL && !parse_key(key, wish)) {
        coord_field_problem(request, 422, "invalid", "Idempotency-Key", "Not an Idempotency-Key",
                            "a key is 1 to %d printable ASCII characters, in quotes or not",
                            COORD_KEY_MAX);
        return false;
    }
    if (prefer != NULL && !parse_prefer(prefer, wish)) {
        coord_field_problem(request, 422, "invalid", "Prefer", "Not a wait",
                            "Prefer: wait=N takes whole seconds, at most %d", WAIT_MAX_S);
        return false;
    }
    return true;
}

void coord_wait_or_answer(struct coord_xact *xact, struct api_request *request,
                          const struct coord_wish *wish, int kind, bool replayed)
{
    bool decided = xact->ack == API_ACK_DECIDED && coord_outcome(xact->fsm) == COORD_COMMIT;
    if (xact->ended || decided || wish->async || (wish->has_wait && wish->wait_ms == 0)) {
        coord_answer(xact, request, kind, replayed);
        return;
    }
    uint64_t now_ms = tpc_clock_mono_ms();
    uint64_t left_ms = xact->deadline_ms > now_ms ? xact->deadline_ms - now_ms : 0;
    if (xact->recovered) {
        left_ms = xact->daemon->settings->timeout_ms;
    }
    uint64_t wait_ms = wish->has_wait ? wish->wait_ms : left_ms + ENDING_MS;
    struct coord_waiter *waiter = coord_waiter_add(xact, request, kind, wait_ms);
    if (waiter == NULL) {
        if (!replayed) { /* nothing has left yet, so that it ends at once */
            coord_xact_set_cause(xact, -1, API_CAUSE_CLIENT_ABORT, "no memory to wait for its end");
            coord_event(xact, &(struct coord_event){.type = COORD_EV_CLIENT_ABORT}, "CLIENT_ABORT");
        }
        coord_answer(xact, request, kind, replayed);
        return;
    }
    waiter->ack = xact->ack;
    waiter->replayed = replayed;
    waiter->has_wait = wish->has_wait;
}

struct api_codec_limits coord_limits(const struct coord_settings *settings)
{
    return (struct api_codec_limits){.branches = settings->branches_max,
                                     .statements = settings->statements_max,
                                     .params = PARAMS_MAX,
                                     .timeout_ms_max = settings->timeout_max_ms,
                                     .timeout_ms_default = settings->timeout_ms};
}

/* The log does not say when an unfinished transaction may be told; the same body does. */
static void learn_ack(struct coord_xact *xact, struct api_request *request)
{
    struct api_codec_limits limits = coord_limits(xact->daemon->settings);
    struct api_submit submit = {0};
    struct api_refusal refusal = {0};
    size_t size;
    const char *body = api_request_body(request, &size);
    if (api_submit_decode(body, size, &limits, &submit, &refusal) == TPC_OK) {
        xact->ack = submit.ack;
        api_submit_done(&submit);
    }
}

/* True when the request has been dealt with because its key is known. */
static bool replay(struct coord_daemon *daemon, struct api_request *request,
                   const struct coord_wish *wish, const struct tpc_id *digest)
{
    struct coord_key *key = NULL;
    if (wish->has_key) {
        HASH_FIND_STR(daemon->keys, wish->key, key);
    }
    if (key == NULL) {
        return false;
    }
    if (!tpc_id_equal(&key->digest, digest)) {
        coord_field_problem(request, 422, "key-reused", "Idempotency-Key",
                            "The Idempotency-Key was used for another body",
                            "send the same body again, or choose another key for this one");
        return true;
    }
    if (key->xact->recovered && !key->xact->ended) {
        learn_ack(key->xact, request);
    }
    coord_wait_or_answer(key->xact, request, wish, COORD_WAIT_SUBMIT, true);
    return true;
}

static struct coord_member *find_participant(struct coord_daemon *daemon, const char *name)
{
    struct coord_member *member = coord_member_find(daemon, name, strlen(name));
    return member != NULL && member->registered ? member : NULL;
}

struct coord_member *coord_participant_find(struct coord_daemon *daemon,
                                            struct api_request *request, const char *name,
                                            const char *field)
{
    struct coord_member *member = find_participant(daemon, name);
    if (member == NULL) {
        struct api_refusal refusal = {.rc = TPC_EINVAL};
        (void)snprintf(refusal.field, sizeof refusal.field, "%s", field);
        (void)snprintf(refusal.detail, sizeof refusal.detail,
                       "no participant is registered as '%s': GET /v1/participants lists them, "
                       "PUT /v1/participants/NAME {\"url\": …} adds one",
                       name);
        coord_refuse(request, &refusal);
    }
    return member;
}

static bool check_participants(struct coord_daemon *daemon, struct api_request *request,
                               const struct api_submit *submit)
{
    for (size_t i = 0; i < submit->branch_count; i++) {
        char field[64];
        (void)snprintf(field, sizeof field, "branches[%zu].participant", i);
        if (coord_participant_find(daemon, request, submit->branches[i].participant, field) ==
            NULL) {
            return false;
        }
    }
    return true;
}

static bool participants_have_room(struct coord_daemon *daemon, struct api_request *request,
                                   const struct api_submit *submit)
{
    for (size_t i = 0; i < submit->branch_count; i++) {
        struct coord_member *member = find_participant(daemon, submit->branches[i].participant);
        if (!coord_member_has_room(member, request, submit->timeout_ms)) {
            return false;
        }
    }
    return true;
}

/* One-phase commit leaves the coordinator without a record: only where nobody can ask about the
 * transaction later, by key or by an id told before its outcome. And the prepare must name the log
 * that it is for: a new log of a participant that lost its old one would take a repetition for new
 * work, though the old one refused it, and that was told. */
static bool may_be_one_phase(struct coord_daemon *daemon, const struct api_submit *submit,
                             const struct coord_wish *wish)
{
    if (submit->branch_count != 1 || wish->has_key || wish->async || wish->has_wait) {
        return false;
    }
    const struct coord_member *member = find_participant(daemon, submit->branches[0].participant);
    return !tpc_id_is_zero(&member->participant_id);
}

static struct coord_xact *build(struct coord_daemon *daemon, struct api_submit *submit,
                                const struct coord_wish *wish, const struct tpc_id *digest)
{
    struct coord_xact *xact = coord_xact_new(daemon, (unsigned)submit->branch_count);
    if (xact == NULL) {
        return NULL;
    }
    coord_init(xact->fsm, xact->branch_count, may_be_one_phase(daemon, submit, wish));
    coord_xact_begin(xact, submit);
    for (unsigned i = 0; i < xact->branch_count; i++) {
        struct api_submit_branch *from = &submit->branches[i];
        xact->branches[i].member = find_participant(daemon, from->participant);
        xact->branches[i].statements = from->statements;
        xact->branches[i].statements_size = from->statements_size;
        from->statements = NULL;
    }
    if (coord_xact_add(xact) != TPC_OK ||
        (wish->has_key && coord_key_set(xact, wish->key, strlen(wish->key), digest) != TPC_OK)) {
        coord_halt("out of memory while a transaction began", NULL);
    }
    return xact;
}

void coord_submit(void *arg, struct api_request *request, const char *const args[])
{
    struct coord_daemon *daemon = arg;
    struct api_codec_limits limits = coord_limits(daemon->settings);
    struct coord_wish wish = {0};
    struct api_submit submit = {0};
    struct api_refusal refusal = {0};
    struct tpc_id digest;
    size_t size;
    const char *body = api_request_body(request, &size);
    (void)args;
    if (!coord_wish_read(request, &wish)) {
        return;
    }
    tpc_digest(body, size, &digest);
    if (replay(daemon, request, &wish, &digest)) {
        return;
    }
    if (api_submit_decode(body, size, &limits, &submit, &refusal) != TPC_OK) {
        coord_refuse(request, &refusal);
        return;
    }
    if (submit.open) {
        coord_interactive_open(daemon, request, &submit, &wish);
    } else if (check_participants(daemon, request, &submit) &&
               coord_has_room(daemon, request, wish.has_key) &&
               participants_have_room(daemon, request, &submit)) {
        struct coord_xact *xact = build(daemon, &submit, &wish, &digest);
        if (xact == NULL) {
            coord_unavailable(request, "out of memory; nothing was started");
        } else {
            coord_xact_start(xact);
            coord_wait_or_answer(xact, request, &wish, COORD_WAIT_SUBMIT, false);
        }
    }
    api_submit_done(&submit);
}
