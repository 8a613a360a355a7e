/* What a coordinator tells a participant. */
#include "api/codec_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const api_op_names[API_OP_COUNT] = {[API_OP_PREPARE] = "prepare",
                                                [API_OP_COMMIT] = "commit",
                                                [API_OP_ABORT] = "abort",
                                                [API_OP_EXECUTE] = "execute"};

const char *const api_isolation_names[] = {
    [API_ISOLATION_DEFAULT] = "default", [API_ISOLATION_SERIALIZABLE] = "serializable"};

const char *api_op_name(enum api_op op)
{
    return api_op_names[op];
}

/* ---- Who speaks ---- */

static enum tpc_rc read_url(const struct api_json *value, const struct api_at *at, char *out,
                            size_t capacity, struct api_refusal *reterr)
{
    const char *url;
    enum tpc_rc rc = api_string_read(value, at, &url, reterr);
    if (rc) {
        return rc;
    }
    size_t size = strlen(url);
    if (size >= capacity || !api_url_check(url)) {
        return api_refuse(reterr, at, TPC_EINVAL,
                          "must be a URL like http://127.0.0.1:7400 of at most %zu characters",
                          capacity - 1);
    }
    memcpy(out, url, size + 1);
    return TPC_OK;
}

enum tpc_rc api_coordinator_read(const struct api_json *value, const struct api_at *at,
                                 bool needs_url, struct api_coordinator *ret_coordinator,
                                 struct api_refusal *reterr)
{
    enum { ID, GENERATION, NONCE, URL, FORGOTTEN_BELOW, COUNT };
    static const char *const names[COUNT] = {"id", "generation", "nonce", "url", "forgotten_below"};
    const struct api_json *member[COUNT];
    enum tpc_rc rc = api_members_read(
        value, at, &(struct api_members){.names = names, .count = COUNT}, member, reterr);
    if (!rc) {
        rc = api_id_read(member[ID], API_AT(at, names[ID]), &ret_coordinator->id, reterr);
    }
    if (!rc) {
        rc = api_u64_read(member[GENERATION], API_AT(at, names[GENERATION]), 0,
                          API_SAFE_INTEGER_MAX, &ret_coordinator->generation, reterr);
    }
    if (!rc) {
        rc = api_id_read(member[NONCE], API_AT(at, names[NONCE]), &ret_coordinator->nonce, reterr);
    }
    if (!rc && member[FORGOTTEN_BELOW]) {
        rc = api_id_read(member[FORGOTTEN_BELOW], API_AT(at, names[FORGOTTEN_BELOW]),
                         &ret_coordinator->forgotten_below, reterr);
    }
    if (!rc && (needs_url || member[URL])) {
        rc = read_url(member[URL], API_AT(at, names[URL]), ret_coordinator->url,
                      sizeof(ret_coordinator->url), reterr);
    }
    return rc;
}

void api_coordinator_write(struct tpc_buf *out, const struct api_coordinator *coordinator)
{
    api_jw_key(out, "coordinator");
    api_jw_open(out, '{');
    api_jw_key(out, "id");
    api_jw_id(out, &coordinator->id);
    if (*coordinator->url) {
        api_jw_key(out, "url");
        api_jw_str(out, coordinator->url);
    }
    api_jw_key(out, "generation");
    api_jw_u64(out, coordinator->generation);
    api_jw_key(out, "nonce");
    api_jw_id(out, &coordinator->nonce);
    if (!tpc_id_is_zero(&coordinator->forgotten_below)) {
        api_jw_key(out, "forgotten_below");
        api_jw_id(out, &coordinator->forgotten_below);
    }
    api_jw_close(out, '}');
}

/* ---- Reading ---- */

enum {
    OP,
    GTID,
    PARTICIPANT_ID,
    BEGAN_US,
    TIMEOUT_MS,
    ONE_PHASE,
    ISOLATION,
    EXECUTED,
    STATEMENTS,
    MEMBER_COUNT
};
static const char *const member_names[MEMBER_COUNT] = {"op",        "gtid",       "participant_id",
                                                       "began_us",  "timeout_ms", "one_phase",
                                                       "isolation", "executed",   "statements"};

/* A gtid that is none is answered on its own line; the other messages are carried out. */
static enum tpc_rc read_gtid(const struct api_json *value, const struct api_at *at,
                             struct api_message *message, struct api_refusal *reterr)
{
    const char *text;
    enum tpc_rc rc = api_string_read(value, at, &text, reterr);
    if (!rc) {
        message->gtid_valid = tpc_id_parse(text, strlen(text), &message->gtid);
        (void)snprintf(message->gtid_text, sizeof(message->gtid_text), "%s", text);
    }
    return rc;
}

/* The time-out is cut to our own limit: the coordinator may have been given a higher one. */
static enum tpc_rc read_times(const struct api_json *const *member, const struct api_at *at,
                              const struct api_codec_limits *limits, struct api_message *message,
                              struct api_refusal *reterr)
{
    enum tpc_rc rc = TPC_OK;
    message->began_us = API_SAFE_INTEGER_MAX; /* not told: younger than any */
    if (member[BEGAN_US]) {
        rc = api_u64_read(member[BEGAN_US], API_AT(at, member_names[BEGAN_US]), 0,
                          API_SAFE_INTEGER_MAX, &message->began_us, reterr);
    }
    message->timeout_ms = limits->timeout_ms_default;
    if (!rc && member[TIMEOUT_MS]) {
        rc = api_u64_read(member[TIMEOUT_MS], API_AT(at, member_names[TIMEOUT_MS]), 0,
                          API_SAFE_INTEGER_MAX, &message->timeout_ms, reterr);
    }
    if (message->timeout_ms > limits->timeout_ms_max) {
        message->timeout_ms = limits->timeout_ms_max;
    }
    return rc;
}

/* The work of an interactive branch has been done when it is prepared. */
static bool has_no_statements(const struct api_message *message)
{
    return message->op == API_OP_PREPARE && message->executed > 0;
}

/* A prepare or an execute. */
static enum tpc_rc read_work(const struct api_json *const *member, const struct api_at *at,
                             const struct api_codec_limits *limits, struct api_message *message,
                             struct api_refusal *reterr)
{
    enum tpc_rc rc = read_times(member, at, limits, message, reterr);
    if (!rc && member[EXECUTED]) {
        rc = api_u64_read(member[EXECUTED], API_AT(at, member_names[EXECUTED]), 0,
                          API_SAFE_INTEGER_MAX, &message->executed, reterr);
    }
    int isolation = API_ISOLATION_DEFAULT;
    if (!rc && member[ISOLATION]) {
        rc = api_choice_read(member[ISOLATION], API_AT(at, member_names[ISOLATION]),
                             api_isolation_names, API_ISOLATION_COUNT, &isolation, reterr);
    }
    message->isolation = (enum api_isolation)isolation;
    if (!rc && has_no_statements(message)) {
        return member[STATEMENTS]
                   ? api_refuse(reterr, API_AT(at, member_names[STATEMENTS]), TPC_EINVAL,
                                "cannot come with the prepare of an interactive branch")
                   : TPC_OK;
    }
    if (!rc) {
        rc = api_statements_read(member[STATEMENTS], API_AT(at, member_names[STATEMENTS]), limits,
                                 &message->statements, reterr);
    }
    return rc;
}

/* Members that only mean something with work are refused elsewhere. */
static enum tpc_rc refuse_work_members(const struct api_json *const *member,
                                       const struct api_at *at, enum api_op op,
                                       struct api_refusal *reterr)
{
    static const int only_work[] = {BEGAN_US, TIMEOUT_MS, ISOLATION, EXECUTED, STATEMENTS};
    for (size_t i = 0; i < API_COUNT(only_work); i++) {
        if (member[only_work[i]]) {
            return api_refuse(reterr, API_AT(at, member_names[only_work[i]]), TPC_EINVAL,
                              "is for \"prepare\" and \"execute\" only, not for \"%s\"",
                              api_op_names[op]);
        }
    }
    return TPC_OK;
}

static enum tpc_rc read_message(const struct api_json *value, const struct api_at *at,
                                const struct api_codec_limits *limits, struct api_message *message,
                                struct api_refusal *reterr)
{
    const struct api_json *member[MEMBER_COUNT];
    const struct api_members members = {.names = member_names, .count = MEMBER_COUNT};
    enum tpc_rc rc = api_members_read(value, at, &members, member, reterr);
    int op = 0;
    if (!rc) {
        rc = api_choice_read(member[OP], API_AT(at, member_names[OP]), api_op_names, API_OP_COUNT,
                             &op, reterr);
    }
    message->op = (enum api_op)op;
    if (!rc) {
        rc = read_gtid(member[GTID], API_AT(at, member_names[GTID]), message, reterr);
    }
    if (!rc && member[PARTICIPANT_ID]) {
        rc = api_id_read(member[PARTICIPANT_ID], API_AT(at, member_names[PARTICIPANT_ID]),
                         &message->participant_id, reterr);
    }
    if (!rc && member[ONE_PHASE]) {
        rc = api_bool_read(member[ONE_PHASE], API_AT(at, member_names[ONE_PHASE]),
                           &message->one_phase, reterr);
    }
    if (!rc) {
        rc = op == API_OP_PREPARE || op == API_OP_EXECUTE
                 ? read_work(member, at, limits, message, reterr)
                 : refuse_work_members(member, at, message->op, reterr);
    }
    return rc;
}

static enum tpc_rc read_messages(const struct api_json *value, const struct api_at *at,
                                 const struct api_codec_limits *limits, size_t messages_max,
                                 struct api_envelope *envelope, struct api_refusal *reterr)
{
    size_t count;
    enum tpc_rc rc = api_array_read(value, at, 1, messages_max, &count, reterr);
    if (rc) {
        return rc;
    }
    envelope->messages = calloc(count, sizeof(*envelope->messages));
    if (!envelope->messages) {
        return api_refuse_memory(reterr);
    }
    envelope->count = count;
    size_t i = 0;
    for (const struct api_json *item = api_json_first(value); item; item = api_json_next(item)) {
        rc = read_message(item, API_AT_INDEX(at, i), limits, &envelope->messages[i], reterr);
        if (rc) {
            return rc;
        }
        i++;
    }
    return TPC_OK;
}

static enum tpc_rc read_envelope(const struct api_json *root, const struct api_codec_limits *limits,
                                 size_t messages_max, struct api_envelope *envelope,
                                 struct api_refusal *reterr)
{
    enum { COORDINATOR, MESSAGES, COUNT };
    static const char *const names[COUNT] = {"coordinator", "messages"};
    const struct api_json *member[COUNT];
    enum tpc_rc rc = api_members_read(
        root, NULL, &(struct api_members){.names = names, .count = COUNT}, member, reterr);
    if (!rc) {
        rc = api_coordinator_read(member[COORDINATOR], API_AT(NULL, names[COORDINATOR]), true,
                                  &envelope->coordinator, reterr);
    }
    if (!rc) {
        rc = read_messages(member[MESSAGES], API_AT(NULL, names[MESSAGES]), limits, messages_max,
                           envelope, reterr);
    }
    return rc;
}

enum tpc_rc api_envelope_decode(const char *body, size_t size,
                                const struct api_codec_limits *limits, size_t messages_max,
                                struct api_envelope *ret_envelope, struct api_refusal *reterr)
{
    *ret_envelope = (struct api_envelope){0};
    struct api_json *root;
    enum tpc_rc rc = api_document_parse(body, size, &root, reterr);
    if (rc) {
        return rc;
    }
    struct api_codec_limits full = api_limits_or_defaults(limits);
    rc = read_envelope(root, &full, messages_max, ret_envelope, reterr);
    api_json_free(root);
    if (rc) {
        api_envelope_done(ret_envelope);
    }
    return rc;
}

void api_envelope_done(struct api_envelope *envelope)
{
    for (size_t i = 0; i < envelope->count; i++) {
        api_statements_done(&envelope->messages[i].statements);
    }
    free(envelope->messages);
    *envelope = (struct api_envelope){0};
}

/* ---- Writing ---- */

void api_envelope_begin(struct tpc_buf *out, const struct api_coordinator *coordinator)
{
    api_jw_open(out, '{');
    api_coordinator_write(out, coordinator);
    api_jw_key(out, "messages");
    api_jw_open(out, '[');
}

void api_message_write(struct tpc_buf *out, const struct api_message *message,
                       const char *statements, size_t statements_size)
{
    api_jw_open(out, '{');
    api_jw_key(out, member_names[OP]);
    api_jw_str(out, api_op_names[message->op]);
    api_jw_key(out, member_names[GTID]);
    api_jw_id(out, &message->gtid);
    if (!tpc_id_is_zero(&message->participant_id)) {
        api_jw_key(out, member_names[PARTICIPANT_ID]);
        api_jw_id(out, &message->participant_id);
    }
    if (message->op == API_OP_PREPARE || message->op == API_OP_EXECUTE) {
        api_jw_key(out, member_names[BEGAN_US]);
        api_jw_u64(out, message->began_us);
        api_jw_key(out, member_names[TIMEOUT_MS]);
        api_jw_u64(out, message->timeout_ms);
        if (message->isolation != API_ISOLATION_DEFAULT) {
            api_jw_key(out, member_names[ISOLATION]);
            api_jw_str(out, api_isolation_names[message->isolation]);
        }
        if (message->executed > 0) {
            api_jw_key(out, member_names[EXECUTED]);
            api_jw_u64(out, message->executed);
        }
    }
    if (message->one_phase) {
        api_jw_key(out, member_names[ONE_PHASE]);
        api_jw_bool(out, true);
    }
    if (statements) {
        api_jw_key(out, member_names[STATEMENTS]);
        api_jw_raw(out, statements, statements_size);
    }
    api_jw_close(out, '}');
}

void api_envelope_end(struct tpc_buf *out)
{
    api_jw_close(out, ']');
    api_jw_close(out, '}');
}
