/* Inquiries, decisions, and the bodies of a member or two. */
#include "api/codec_read.h"

#include <stdlib.h>
#include <string.h>

#define REASON_MAX           1000
#define OPERATOR_MAX         256
#define PARTICIPANT_NAME_MAX 64
#define URL_MAX              255
#define PORT_MAX             65535

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS  "0123456789"

const char *const api_outcome_names[API_OUTCOME_COUNT] = {[API_OUTCOME_UNDECIDED] = "undecided",
                                                          [API_OUTCOME_COMMIT] = "commit",
                                                          [API_OUTCOME_ABORT] = "abort"};

const char *api_outcome_name(enum api_outcome outcome)
{
    return api_outcome_names[outcome];
}

/* ---- Inquiry ---- */

static enum tpc_rc read_inquiry(const struct api_json *root, size_t gtids_max,
                                struct api_inquiry *inquiry, struct api_refusal *reterr)
{
    enum { PARTICIPANT_ID, COORDINATOR, GTIDS, COUNT };
    static const char *const names[COUNT] = {"participant_id", "coordinator", "gtids"};
    const struct api_json *member[COUNT];
    enum tpc_rc rc = api_members_read(
        root, NULL, &(struct api_members){.names = names, .count = COUNT}, member, reterr);
    if (!rc) {
        rc = api_id_read(member[PARTICIPANT_ID], API_AT(NULL, names[PARTICIPANT_ID]),
                         &inquiry->participant_id, reterr);
    }
    if (!rc) {
        rc = api_coordinator_read(member[COORDINATOR], API_AT(NULL, names[COORDINATOR]), false,
                                  &inquiry->coordinator, reterr);
    }
    if (!rc) {
        rc = api_ids_read(member[GTIDS], API_AT(NULL, names[GTIDS]), gtids_max, &inquiry->gtids,
                          &inquiry->count, reterr);
    }
    return rc;
}

enum tpc_rc api_inquiry_decode(const char *body, size_t size, size_t gtids_max,
                               struct api_inquiry *ret_inquiry, struct api_refusal *reterr)
{
    *ret_inquiry = (struct api_inquiry){0};
    struct api_json *root;
    enum tpc_rc rc = api_document_parse(body, size, &root, reterr);
    if (rc) {
        return rc;
    }
    rc = read_inquiry(root, gtids_max, ret_inquiry, reterr);
    api_json_free(root);
    if (rc) {
        api_inquiry_done(ret_inquiry);
    }
    return rc;
}

void api_inquiry_write(struct tpc_buf *out, const struct api_inquiry *inquiry)
{
    struct api_coordinator coordinator = inquiry->coordinator;
    coordinator.url[0] = '\0';
    coordinator.forgotten_below = (struct tpc_id){{0}};
    api_jw_open(out, '{');
    api_jw_key(out, "participant_id");
    api_jw_id(out, &inquiry->participant_id);
    api_coordinator_write(out, &coordinator);
    api_jw_key(out, "gtids");
    api_jw_open(out, '[');
    for (size_t i = 0; i < inquiry->count; i++) {
        api_jw_id(out, &inquiry->gtids[i]);
    }
    api_jw_close(out, ']');
    api_jw_close(out, '}');
}

void api_inquiry_done(struct api_inquiry *inquiry)
{
    free(inquiry->gtids);
    *inquiry = (struct api_inquiry){0};
}

/* ---- Decisions ---- */

void api_decisions_write(struct tpc_buf *out, const struct api_decisions *decisions)
{
    api_jw_open(out, '{');
    api_jw_key(out, "coordinator_id");
    api_jw_id(out, &decisions->coordinator_id);
    if (decisions->generation != 0) {
        api_jw_key(out, "generation");
        api_jw_u64(out, decisions->generation);
    }
    if (!tpc_id_is_zero(&decisions->forgotten_below)) {
        api_jw_key(out, "forgotten_below");
        api_jw_id(out, &decisions->forgotten_below);
    }
    api_jw_key(out, "decisions");
    api_jw_open(out, '[');
    for (size_t i = 0; i < decisions->count; i++) {
        api_jw_open(out, '{');
        api_jw_key(out, "gtid");
        api_jw_id(out, &decisions->items[i].gtid);
        api_jw_key(out, "outcome");
        api_jw_str(out, api_outcome_name(decisions->items[i].outcome));
        api_jw_close(out, '}');
    }
    api_jw_close(out, ']');
    api_jw_close(out, '}');
}

static enum tpc_rc read_decision(const struct api_json *value, const struct api_at *at,
                                 struct api_decision *decision, struct api_refusal *reterr)
{
    enum { GTID, OUTCOME, COUNT };
    static const char *const names[COUNT] = {"gtid", "outcome"};
    const struct api_json *member[COUNT];
    const struct api_members members = {.names = names, .count = COUNT, .open = true};
    enum tpc_rc rc = api_members_read(value, at, &members, member, reterr);
    int outcome = API_OUTCOME_UNDECIDED;
    if (!rc) {
        rc = api_id_read(member[GTID], API_AT(at, names[GTID]), &decision->gtid, reterr);
    }
    if (!rc) {
        rc = api_choice_read(member[OUTCOME], API_AT(at, names[OUTCOME]), api_outcome_names,
                             API_OUTCOME_COUNT, &outcome, reterr);
    }
    decision->outcome = (enum api_outcome)outcome;
    return rc;
}

static enum tpc_rc read_decision_list(const struct api_json *value, const struct api_at *at,
                                      struct api_decisions *decisions, struct api_refusal *reterr)
{
    size_t count;
    enum tpc_rc rc = api_array_read(value, at, 0, SIZE_MAX, &count, reterr);
    if (rc || count == 0) {
        return rc;
    }
    decisions->items = calloc(count, sizeof(*decisions->items));
    if (!decisions->items) {
        return api_refuse_memory(reterr);
    }
    decisions->count = count;
    size_t i = 0;
    for (const struct api_json *item = api_json_first(value); item; item = api_json_next(item)) {
        rc = read_decision(item, API_AT_INDEX(at, i), &decisions->items[i], reterr);
        if (rc) {
            return rc;
        }
        i++;
    }
    return TPC_OK;
}

static enum tpc_rc read_decisions(const struct api_json *root, struct api_decisions *decisions,
                                  struct api_refusal *reterr)
{
    enum { COORDINATOR_ID, GENERATION, FORGOTTEN_BELOW, DECISIONS, COUNT };
    static const char *const names[COUNT] = {"coordinator_id", "generation", "forgotten_below",
                                             "decisions"};
    const struct api_json *member[COUNT];
    const struct api_members members = {.names = names, .count = COUNT, .open = true};
    enum tpc_rc rc = api_members_read(root, NULL, &members, member, reterr);
    if (!rc) {
        rc = api_id_read(member[COORDINATOR_ID], API_AT(NULL, names[COORDINATOR_ID]),
                         &decisions->coordinator_id, reterr);
    }
    if (!rc && member[GENERATION]) {
        rc = api_u64_read(member[GENERATION], API_AT(NULL, names[GENERATION]), 0,
                          API_SAFE_INTEGER_MAX, &decisions->generation, reterr);
    }
    if (!rc && member[FORGOTTEN_BELOW]) {
        rc = api_id_read(member[FORGOTTEN_BELOW], API_AT(NULL, names[FORGOTTEN_BELOW]),
                         &decisions->forgotten_below, reterr);
    }
    if (!rc) {
        rc = read_decision_list(member[DECISIONS], API_AT(NULL, names[DECISIONS]), decisions,
                                reterr);
    }
    return rc;
}

enum tpc_rc api_decisions_decode(const char *body, size_t size, struct api_decisions *ret_decisions,
                                 struct tpc_err *reterr)
{
    *ret_decisions = (struct api_decisions){0};
    struct api_refusal refusal = {0};
    struct api_json *root;
    enum tpc_rc rc = api_document_parse(body, size, &root, &refusal);
    if (rc) {
        return api_refusal_to_err(&refusal, reterr);
    }
    rc = read_decisions(root, ret_decisions, &refusal);
    api_json_free(root);
    if (rc) {
        api_decisions_done(ret_decisions);
        return api_refusal_to_err(&refusal, reterr);
    }
    return TPC_OK;
}

void api_decisions_done(struct api_decisions *decisions)
{
    free(decisions->items);
    *decisions = (struct api_decisions){0};
}

/* ---- Resolve ---- */

/* Why, and who: texts, each empty when it is left out. */
static enum tpc_rc read_text(const struct api_json *member, const char *name, size_t most,
                             char **ret_text, struct api_refusal *reterr)
{
    if (member) {
        return api_text_read(member, API_AT(NULL, name), 0, most, ret_text, reterr);
    }
    *ret_text = strdup("");
    return *ret_text ? TPC_OK : api_refuse_memory(reterr);
}

static enum tpc_rc read_resolve(const struct api_json *root, bool with_outcome,
                                struct api_resolve *resolve, struct api_refusal *reterr)
{
    enum { REASON, OPERATOR, OUTCOME, COUNT };
    static const char *const names[COUNT] = {"reason", "operator", "outcome"};
    static const char *const outcomes[API_OUTCOME_COUNT] = {
        [API_OUTCOME_COMMIT] = "commit", [API_OUTCOME_ABORT] = "abort"};
    const struct api_members members = {.names = names, .count = with_outcome ? COUNT : OUTCOME};
    const struct api_json *member[COUNT];
    enum tpc_rc rc = api_members_read(root, NULL, &members, member, reterr);
    int outcome = API_OUTCOME_UNDECIDED;
    if (!rc && with_outcome) {
        rc = api_choice_read(member[OUTCOME], API_AT(NULL, names[OUTCOME]), outcomes,
                             API_OUTCOME_COUNT, &outcome, reterr);
    }
    resolve->outcome = (enum api_outcome)outcome;
    if (!rc) {
        rc = read_text(member[REASON], names[REASON], REASON_MAX, &resolve->reason, reterr);
    }
    if (!rc) {
        rc = read_text(member[OPERATOR], names[OPERATOR], OPERATOR_MAX, &resolve->operator_name,
                       reterr);
    }
    return rc;
}

static enum tpc_rc decode_resolve(const char *body, size_t size, bool with_outcome,
                                  struct api_resolve *ret_resolve, struct api_refusal *reterr)
{
    *ret_resolve = (struct api_resolve){0};
    struct api_json *root;
    enum tpc_rc rc = api_document_parse(body, size, &root, reterr);
    if (rc) {
        return rc;
    }
    rc = read_resolve(root, with_outcome, ret_resolve, reterr);
    api_json_free(root);
    if (rc) {
        api_resolve_done(ret_resolve);
    }
    return rc;
}

enum tpc_rc api_resolve_decode(const char *body, size_t size, struct api_resolve *ret_resolve,
                               struct api_refusal *reterr)
{
    return decode_resolve(body, size, true, ret_resolve, reterr);
}

enum tpc_rc api_forget_decode(const char *body, size_t size, struct api_resolve *ret_forget,
                              struct api_refusal *reterr)
{
    const char *text = size > 0 ? body : "{}";
    return decode_resolve(text, size > 0 ? size : strlen(text), false, ret_forget, reterr);
}

void api_resolve_done(struct api_resolve *resolve)
{
    free(resolve->reason);
    free(resolve->operator_name);
    *resolve = (struct api_resolve){0};
}

/* ---- Participants ---- */

bool api_name_check(const char *name)
{
    size_t size = strlen(name);
    return size > 0 && size <= PARTICIPANT_NAME_MAX && strspn(name, LETTERS DIGITS) > 0 &&
           strspn(name, LETTERS DIGITS "._-") == size;
}

/* The length of "host" or "[v6 address]" at @text, 0 when there is none. */
static size_t host_length(const char *text)
{
    if (*text != '[') {
        return strspn(text, LETTERS DIGITS "._-");
    }
    size_t inner = strspn(text + 1, DIGITS "abcdefABCDEF:.");
    return inner > 0 && text[1 + inner] == ']' ? inner + 2 : 0;
}

/* The length of ":port" at @text, 0 when there is none or it is wrong. */
static size_t port_length(const char *text)
{
    size_t digits = *text == ':' ? strspn(text + 1, DIGITS) : 0;
    if (digits == 0 || digits > 5) {
        return 0;
    }
    long port = strtol(text + 1, NULL, 10);
    return port > 0 && port <= PORT_MAX ? digits + 1 : 0;
}

bool api_url_check(const char *url)
{
    if (strlen(url) > URL_MAX) {
        return false;
    }
    if (strncmp(url, "http://", 7) == 0) {
        url += 7;
    } else if (strncmp(url, "https://", 8) == 0) {
        url += 8;
    } else {
        return false;
    }
    size_t length = host_length(url);
    if (length == 0) {
        return false;
    }
    url += length;
    url += port_length(url);
    return *url == '\0' || (*url == '/' && strspn(url, LETTERS DIGITS "/._~%-") == strlen(url));
}

static enum tpc_rc read_registration(const struct api_json *root, char **ret_url,
                                     struct api_refusal *reterr)
{
    static const char *const names[] = {"url"};
    const struct api_json *member;
    const char *url;
    enum tpc_rc rc = api_members_read(root, NULL, &(struct api_members){.names = names, .count = 1},
                                      &member, reterr);
    if (!rc) {
        rc = api_string_read(member, API_AT(NULL, "url"), &url, reterr);
    }
    if (rc) {
        return rc;
    }
    if (!api_url_check(url)) {
        return api_refuse(reterr, API_AT(NULL, "url"), TPC_EINVAL,
                          "must be like http://127.0.0.1:7411 (http or https, a host; no user, "
                          "query or fragment; at most %d characters)",
                          URL_MAX);
    }
    size_t size = strlen(url);
    while (url[size - 1] == '/') {
        size--;
    }
    *ret_url = strndup(url, size);
    return *ret_url ? TPC_OK : api_refuse_memory(reterr);
}

enum tpc_rc api_participant_decode(const char *body, size_t size, char **ret_url,
                                   struct api_refusal *reterr)
{
    struct api_json *root;
    enum tpc_rc rc = api_document_parse(body, size, &root, reterr);
    if (rc) {
        return rc;
    }
    rc = read_registration(root, ret_url, reterr);
    api_json_free(root);
    return rc;
}

/* ---- Lookup ---- */

enum tpc_rc api_lookup_decode(const char *body, size_t size, size_t gtids_max,
                              struct tpc_id **ret_gtids, size_t *ret_count,
                              struct api_refusal *reterr)
{
    static const char *const names[] = {"gtids"};
    struct api_json *root;
    const struct api_json *member;
    enum tpc_rc rc = api_document_parse(body, size, &root, reterr);
    if (rc) {
        return rc;
    }
    rc = api_members_read(root, NULL, &(struct api_members){.names = names, .count = 1}, &member,
                          reterr);
    if (!rc) {
        rc = api_ids_read(member, API_AT(NULL, "gtids"), gtids_max, ret_gtids, ret_count, reterr);
    }
    api_json_free(root);
    return rc;
}
