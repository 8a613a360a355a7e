/* The registry of participants: kept in the log, known by name, watched for being up. */
#include "coordinator/daemon.h"

#include "api/problem.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

enum { PROBE_EVERY_MS = 2000, PROBE_TIMEOUT_MS = 2000 };

struct coord_member *coord_member_find(struct coord_daemon *daemon, const char *name, size_t size)
{
    struct coord_member *member;
    HASH_FIND(hh, daemon->members, name, size, member);
    return member;
}

struct coord_member *coord_member_get(struct coord_daemon *daemon, const char *name, size_t size)
{
    struct coord_member *member = coord_member_find(daemon, name, size);
    if (member != NULL) {
        return member;
    }
    member = calloc(1, sizeof *member);
    if (member == NULL || (member->name = strndup(name, size)) == NULL) {
        free(member);
        return NULL;
    }
    member->daemon = daemon;
    for (int kind = 0; kind < COORD_LANE_COUNT; kind++) {
        coord_lane_init(&member->lanes[kind], member, (enum coord_lane_kind)kind);
    }
    HASH_ADD_KEYPTR(hh, daemon->members, member->name, size, member);
    return member;
}

static char *join(const char *url, const char *path)
{
    struct tpc_buf buf = {0};
    tpc_buf_addf(&buf, "%s%s", url, path);
    return tpc_buf_take(&buf);
}

static void urls_free(struct coord_urls *urls)
{
    while (urls != NULL) {
        struct coord_urls *older = urls->older;
        free(urls->base);
        free(urls->messages);
        free(urls->ready);
        free(urls);
        urls = older;
    }
}

enum tpc_rc coord_member_set(struct coord_member *member, const char *url)
{
    struct coord_urls *urls = calloc(1, sizeof *urls);
    if (urls == NULL) {
        return TPC_ENOMEM;
    }
    urls->base = strdup(url);
    urls->messages = join(url, "/v1/messages");
    urls->ready = join(url, "/readyz");
    if (urls->base == NULL || urls->messages == NULL || urls->ready == NULL) {
        urls_free(urls);
        return TPC_ENOMEM;
    }
    urls->older = member->urls;
    member->urls = urls;
    member->registered = true;
    coord_link_wake(member);
    return TPC_OK;
}

/* ---- Health ---- */

static void retry_waiting(struct coord_member *member)
{
    struct coord_daemon *daemon = member->daemon;
    for (struct coord_xact *xact = daemon->kept[COORD_KEPT_UNFINISHED]; xact != NULL;
         xact = xact->kept_next) {
        for (unsigned i = 0; i < xact->branch_count; i++) {
            struct coord_xbranch *branch = &xact->branches[i];
            if (branch->member == member && branch->retry.slot != 0) {
                branch->backoff_ms = 0;
                tpc_timer_arm(&daemon->timers, &branch->retry, tpc_clock_mono_ms());
            }
        }
    }
}

void coord_member_heard(struct coord_member *member, const struct tpc_id *participant_id)
{
    member->heard_ms = tpc_clock_mono_ms();
    if (participant_id != NULL && !tpc_id_is_zero(participant_id)) {
        member->participant_id = *participant_id;
    }
    if (!member->up) {
        member->up = true;
        member->last_error[0] = '\0';
        tpc_log(TPC_LOG_INFO, "participant.up", tpc_kv_str("participant", member->name));
        retry_waiting(member);
    }
}

void coord_member_lost(struct coord_member *member, const char *why)
{
    (void)snprintf(member->last_error, sizeof member->last_error, "%s", why);
    if (member->up || !member->ever_heard) {
        tpc_log(TPC_LOG_WARN, "participant.down", tpc_kv_str("participant", member->name),
                tpc_kv_str("error", why));
    }
    member->ever_heard = true;
    member->up = false;
}

static void on_probe(struct api_call *call, enum tpc_rc rc, const struct tpc_err *err)
{
    struct coord_member *member = coord_container(call, struct coord_member, probe);
    char why[300];
    member->probing = false;
    if (rc == TPC_OK && call->status == 200) {
        member->ever_heard = true;
        coord_member_heard(member, NULL);
    } else if (!member->daemon->stopping) {
        if (rc == TPC_OK) {
            (void)snprintf(why, sizeof why, "%s answered HTTP %d", call->url, call->status);
        }
        coord_member_lost(member, rc == TPC_OK ? why : err->text);
    }
    api_call_done(call);
}

static void probe(struct coord_member *member)
{
    member->probe = (struct api_call){.method = "GET",
                                      .url = member->urls->ready,
                                      .timeout_ms = PROBE_TIMEOUT_MS,
                                      .on_done = on_probe};
    member->probing = api_client_start(member->daemon->client, &member->probe) == TPC_OK;
}

static void on_probes(struct tpc_timer *timer)
{
    struct coord_daemon *daemon = coord_container(timer, struct coord_daemon, probes);
    struct coord_member *member, *next;
    uint64_t now_ms = tpc_clock_mono_ms();
    HASH_ITER (hh, daemon->members, member, next) {
        bool quiet = !member->up || now_ms - member->heard_ms >= PROBE_EVERY_MS;
        if (member->registered && quiet && !member->probing) {
            probe(member);
        }
    }
    tpc_timer_arm(&daemon->timers, timer, now_ms + PROBE_EVERY_MS);
}

void coord_registry_start(struct coord_daemon *daemon)
{
    daemon->probes.fire = on_probes;
    tpc_timer_arm(&daemon->timers, &daemon->probes, tpc_clock_mono_ms());
}

void coord_registry_free(struct coord_daemon *daemon)
{
    struct coord_member *next;
    struct coord_member *member = daemon->members;
    HASH_CLEAR(hh, daemon->members);
    for (; member != NULL; member = next) {
        next = member->hh.next;
        for (int kind = 0; kind < COORD_LANE_COUNT; kind++) {
            coord_lane_done(&member->lanes[kind]);
        }
        urls_free(member->urls);
        free(member->name);
        free(member);
    }
}

/* ---- Registration ---- */

/* The slashes at the end of a URL say nothing. */
static size_t url_length(const char *url)
{
    size_t size = strlen(url);
    while (size > 0 && url[size - 1] == '/') {
        size--;
    }
    return size;
}

/* Before the log thread runs. If we crash before the record is durable the next start has the flag
 * again. */
static enum tpc_rc register_flag(struct coord_daemon *daemon, const char *name, const char *url,
                                 struct tpc_err *reterr)
{
    struct coord_member *member = coord_member_get(daemon, name, strlen(name));
    struct tpc_buf buf = {0};
    const struct coord_member_record record = {
        .name = name, .name_size = strlen(name), .url = url, .url_size = strlen(url)};
    if (member == NULL) {
        return tpc_fail(reterr, TPC_ENOMEM, "out of memory");
    }
    if (member->registered && strcmp(member->urls->base, url) == 0) {
        return TPC_OK;
    }
    enum tpc_rc rc = coord_member_write(&buf, WAL_COORD_MEMBER, &record);
    if (rc == TPC_OK) {
        const struct wal_entry entry = {.data = buf.data, .size = buf.size};
        rc = daemon->store->ops->append(daemon->store, &entry, 1, true, reterr);
    }
    if (rc == TPC_OK) {
        rc = coord_member_set(member, url);
    }
    tpc_buf_done(&buf);
    return rc != TPC_OK ? tpc_fail(reterr, rc, "could not register participant %s", name) : TPC_OK;
}

/* Split NAME=URL. The caller frees both, of a failure too. */
static enum tpc_rc split_flag(const char *item, char **ret_name, char **ret_url,
                              struct tpc_err *reterr)
{
    const char *equals = strchr(item, '=');
    const char *url = equals != NULL ? equals + 1 : "";
    *ret_name = strndup(item, equals != NULL ? (size_t)(equals - item) : 0);
    *ret_url = strndup(url, url_length(url));
    if (*ret_name == NULL || *ret_url == NULL) {
        return tpc_fail(reterr, TPC_ENOMEM, "out of memory");
    }
    if (!api_name_check(*ret_name) || !api_url_check(*ret_url)) {
        return tpc_fail(reterr, TPC_EINVAL,
                        "--participant %.100s: write NAME=URL, e.g. east=http://127.0.0.1:7411",
                        item);
    }
    return TPC_OK;
}

enum tpc_rc coord_registry_check(const struct tpc_list *flags, struct tpc_err *reterr)
{
    enum tpc_rc rc = TPC_OK;
    for (size_t i = 0; i < flags->count && rc == TPC_OK; i++) {
        char *name, *url;
        rc = split_flag(flags->items[i], &name, &url, reterr);
        free(name);
        free(url);
    }
    return rc;
}

enum tpc_rc coord_registry_flags(struct coord_daemon *daemon, struct tpc_err *reterr)
{
    const struct tpc_list *flags = &daemon->settings->participants;
    enum tpc_rc rc = TPC_OK;
    for (size_t i = 0; i < flags->count && rc == TPC_OK; i++) {
        char *name, *url;
        rc = split_flag(flags->items[i], &name, &url, reterr);
        rc = rc == TPC_OK ? register_flag(daemon, name, url, reterr) : rc;
        free(name);
        free(url);
    }
    return rc;
}

static void write_member(struct tpc_buf *out, const struct coord_member *member)
{
    api_jw_open(out, '{');
    api_jw_key(out, "name");
    api_jw_str(out, member->name);
    api_jw_key(out, "url");
    api_jw_str(out, member->urls->base);
    api_jw_key(out, "up");
    api_jw_bool(out, member->up);
    api_jw_key(out, "participant_id");
    if (tpc_id_is_zero(&member->participant_id)) {
        api_jw_null(out);
    } else {
        api_jw_id(out, &member->participant_id);
    }
    api_jw_key(out, "unfinished_branches");
    api_jw_u64(out, member->users);
    api_jw_key(out, "last_error");
    api_jw_str(out, member->last_error[0] != '\0' ? member->last_error : NULL);
    api_jw_close(out, '}');
}

void coord_participants_list(void *arg, struct api_request *request, const char *const args[])
{
    struct coord_daemon *daemon = arg;
    struct coord_member *member, *next;
    struct tpc_buf out = {0};
    (void)args;
    api_jw_open(&out, '{');
    api_jw_key(&out, "items");
    api_jw_open(&out, '[');
    HASH_ITER (hh, daemon->members, member, next) {
        if (member->registered) {
            write_member(&out, member);
        }
    }
    api_jw_close(&out, ']');
    api_jw_key(&out, "next_cursor");
    api_jw_null(&out);
    api_jw_close(&out, '}');
    api_respond(request, 200, "application/json", &out);
}

static struct coord_member *find_registered(struct coord_daemon *daemon, const char *name)
{
    struct coord_member *member = coord_member_find(daemon, name, strlen(name));
    return member != NULL && member->registered ? member : NULL;
}

static size_t count_registered(const struct coord_daemon *daemon)
{
    const struct coord_member *member, *next;
    size_t count = 0;
    HASH_ITER (hh, daemon->members, member, next) {
        count += member->registered;
    }
    return count;
}

static void unknown_participant(struct api_request *request, const char *name)
{
    coord_problem(request, 404, "not-found", "No such participant",
                  "no participant is registered as '%s': GET /v1/participants lists them", name);
}

void coord_participants_get(void *arg, struct api_request *request, const char *const args[])
{
    const struct coord_member *member = find_registered(arg, args[0]);
    struct tpc_buf out = {0};
    if (member == NULL) {
        unknown_participant(request, args[0]);
        return;
    }
    write_member(&out, member);
    api_respond(request, 200, "application/json", &out);
}

struct registration {
    struct wal_append append;
    struct coord_member *member;
    struct api_request *request;
    char *url; /* NULL: taken off */
};

/* If we crash before the record is durable the client was told nothing and asks again. */
static void on_registered(struct wal_append *append, enum tpc_rc rc, const struct tpc_err *err)
{
    struct registration *registration = coord_container(append, struct registration, append);
    struct coord_member *member = registration->member;
    if (rc != TPC_OK) {
        coord_halt("a registration could not be forced", err);
    }
    (void)coord_fp(COORD_FP_MEMBER_FORCED);
    struct tpc_buf out = {0};
    bool created = !member->registered;
    member->appending = false;
    if (registration->url == NULL) {
        member->registered = false;
        api_respond(registration->request, 204, NULL, NULL);
    } else if (coord_member_set(member, registration->url) != TPC_OK) {
        coord_halt("out of memory while registering a participant", NULL);
    } else {
        write_member(&out, member);
        api_respond(registration->request, created ? 201 : 200, "application/json", &out);
        if (!member->probing && !member->daemon->stopping) {
            probe(member);
        }
    }
    free(registration->url);
    free(registration);
}

static void log_registration(struct coord_member *member, struct api_request *request,
                             char *take_url)
{
    struct registration *registration = calloc(1, sizeof *registration);
    struct tpc_buf buf = {0};
    struct coord_member_record record = {.name = member->name, .name_size = strlen(member->name)};
    if (take_url != NULL) {
        record.url = take_url;
        record.url_size = strlen(take_url);
    }
    (void)coord_fp(COORD_FP_MEMBER_FORCE);
    if (registration == NULL ||
        coord_member_write(&buf, take_url != NULL ? WAL_COORD_MEMBER : WAL_COORD_NO_MEMBER,
                           &record) != TPC_OK) {
        free(registration);
        free(take_url);
        tpc_buf_done(&buf);
        coord_unavailable(request, "out of memory");
        return;
    }
    registration->member = member;
    registration->request = request;
    registration->url = take_url;
    registration->append =
        (struct wal_append){.size = buf.size, .force = true, .done = on_registered};
    registration->append.data = tpc_buf_take(&buf);
    member->appending = true;
    if (wal_log_submit(member->daemon->log, &registration->append) != TPC_OK) {
        member->appending = false;
        free(take_url);
        free(registration);
        coord_unavailable(request, "the log is full");
    }
}

void coord_participants_put(void *arg, struct api_request *request, const char *const args[])
{
    struct coord_daemon *daemon = arg;
    struct api_refusal refusal = {0};
    size_t size;
    const char *body = api_request_body(request, &size);
    char *url = NULL;
    if (!api_name_check(args[0])) {
        coord_field_problem(request, 422, "invalid", "name", "Not a participant's name",
                            "a name is 1 to 64 letters, digits, '.', '_' or '-', and begins with a "
                            "letter or digit");
        return;
    }
    if (api_participant_decode(body, size, &url, &refusal) != TPC_OK) {
        coord_refuse(request, &refusal);
        return;
    }
    struct coord_member *member = find_registered(daemon, args[0]);
    if (member == NULL && count_registered(daemon) >= daemon->settings->participants_max) {
        free(url);
        coord_unavailable(request, "the registry is full (--participants-max)");
        return;
    }
    if (member != NULL && !member->appending && strcmp(member->urls->base, url) == 0) {
        struct tpc_buf out = {0}; /* it is so already: an agent may say it at each start */
        free(url);
        write_member(&out, member);
        api_respond(request, 200, "application/json", &out);
        return;
    }
    member = coord_member_get(daemon, args[0], strlen(args[0]));
    if (member == NULL || member->appending) {
        free(url);
        coord_unavailable(request,
                          member == NULL ? "out of memory" : "another registration is under way");
        return;
    }
    log_registration(member, request, url);
}

void coord_participants_delete(void *arg, struct api_request *request, const char *const args[])
{
    struct coord_member *member = find_registered(arg, args[0]);
    if (member == NULL) {
        unknown_participant(request, args[0]);
    } else if (member->users > 0) {
        coord_problem(request, 409, "participant-in-use", "The participant is in use",
                      "%zu branches at '%s' have not ended: wait for them, or resolve them",
                      member->users, member->name);
    } else if (member->appending) {
        coord_unavailable(request, "another registration is under way");
    } else {
        log_registration(member, request, NULL);
    }
}
