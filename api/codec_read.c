#include "api/codec_read.h"

#include "base/suggest.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BRANCHES_MAX           64
#define STATEMENTS_DEFAULT     1000
#define PARAMS_DEFAULT         32766
#define TIMEOUT_MS_MAX_DEFAULT UINT64_C(3600000)
#define TIMEOUT_MS_DEFAULT     UINT64_C(10000)

/* ---- Refusing ---- */

/* Append the path of @at to the @used characters in @out; returns the new length. */
static size_t write_path(char *out, size_t capacity, const struct api_at *at)
{
    if (!at) {
        out[0] = '\0';
        return 0;
    }
    size_t used = write_path(out, capacity, at->up);
    int length = at->name ? snprintf(out + used, capacity - used, used ? ".%s" : "%s", at->name)
                          : snprintf(out + used, capacity - used, "[%zu]", at->index);
    used += length > 0 ? (size_t)length : 0;
    return used < capacity ? used : capacity - 1;
}

enum tpc_rc api_refuse(struct api_refusal *reterr, const struct api_at *at, enum tpc_rc rc,
                       const char *format, ...)
{
    if (!reterr) {
        return rc;
    }
    reterr->rc = rc;
    (void)write_path(reterr->field, sizeof(reterr->field), at);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(reterr->detail, sizeof(reterr->detail), format, args);
    va_end(args);
    return rc;
}

enum tpc_rc api_refuse_memory(struct api_refusal *reterr)
{
    return api_refuse(reterr, NULL, TPC_ENOMEM, "no memory to read the request");
}

enum tpc_rc api_refusal_to_err(const struct api_refusal *refusal, struct tpc_err *reterr)
{
    return tpc_fail(reterr, refusal->rc, "%s%s%s", refusal->field, *refusal->field ? " " : "",
                    refusal->detail);
}

static enum tpc_rc wrong_type(const struct api_json *value, const struct api_at *at,
                              const char *wanted, struct api_refusal *reterr)
{
    if (!value) {
        return api_refuse(reterr, at, TPC_EINVAL, "is required: %s", wanted);
    }
    return api_refuse(reterr, at, TPC_EINVAL, "must be %s, not %s", wanted,
                      api_json_type_name(api_json_type(value)));
}

/* ---- Whole documents ---- */

enum tpc_rc api_document_parse(const char *body, size_t size, struct api_json **ret_root,
                               struct api_refusal *reterr)
{
    struct tpc_err err = {0};
    enum tpc_rc rc = api_json_parse(body, size, ret_root, &err);
    return rc ? api_refuse(reterr, NULL, rc, "%s", err.text) : TPC_OK;
}

static enum tpc_rc unknown_member(const struct api_json *member, const struct api_at *at,
                                  const struct api_members *members, struct api_refusal *reterr)
{
    const char *name = api_json_name(member);
    struct tpc_suggest suggest;
    tpc_suggest_init(&suggest, name, strlen(name));
    struct tpc_buf known = {0};
    for (size_t i = 0; i < members->count; i++) {
        tpc_suggest_offer(&suggest, members->names[i]);
        tpc_buf_addf(&known, "%s%s", i ? ", " : "", members->names[i]);
    }
    enum tpc_rc rc = api_refuse(
        reterr, API_AT(at, name), TPC_EINVAL, "is no known member%s%s%s; known here: %s",
        suggest.nearest ? ": did you mean \"" : "", suggest.nearest ? suggest.nearest : "",
        suggest.nearest ? "\"?" : "", known.data ? known.data : "");
    tpc_buf_done(&known);
    return rc;
}

enum tpc_rc api_members_read(const struct api_json *value, const struct api_at *at,
                             const struct api_members *members, const struct api_json **ret_members,
                             struct api_refusal *reterr)
{
    enum tpc_rc rc = api_type_read(value, at, API_JSON_OBJECT, reterr);
    if (rc) {
        return rc;
    }
    memset(ret_members, 0, members->count * sizeof(struct api_json *));
    for (const struct api_json *member = api_json_first(value); member;
         member = api_json_next(member)) {
        const char *name = api_json_name(member);
        size_t i = 0;
        while (i < members->count && strcmp(name, members->names[i]) != 0) {
            i++;
        }
        if (i < members->count) {
            bool absent = members->open && api_json_type(member) == API_JSON_NULL;
            ret_members[i] = absent ? NULL : member;
        } else if (!members->open) {
            return unknown_member(member, at, members, reterr);
        }
    }
    return TPC_OK;
}

/* ---- Single values ---- */

enum tpc_rc api_type_read(const struct api_json *value, const struct api_at *at,
                          enum api_json_type type, struct api_refusal *reterr)
{
    if (value && api_json_type(value) == type) {
        return TPC_OK;
    }
    return wrong_type(value, at, api_json_type_name(type), reterr);
}

enum tpc_rc api_string_read(const struct api_json *value, const struct api_at *at,
                            const char **ret_text, struct api_refusal *reterr)
{
    enum tpc_rc rc = api_type_read(value, at, API_JSON_STRING, reterr);
    if (!rc) {
        *ret_text = api_json_string(value);
    }
    return rc;
}

static size_t count_characters(const char *text)
{
    size_t count = 0;
    for (; *text; text++) {
        count += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return count;
}

enum tpc_rc api_text_read(const struct api_json *value, const struct api_at *at, size_t min,
                          size_t max, char **ret_text, struct api_refusal *reterr)
{
    const char *text;
    enum tpc_rc rc = api_string_read(value, at, &text, reterr);
    if (rc) {
        return rc;
    }
    size_t count = count_characters(text);
    if (count < min) {
        return api_refuse(reterr, at, TPC_EINVAL, "must not be empty");
    }
    if (count > max) {
        return api_refuse(reterr, at, TPC_EINVAL, "must have at most %zu characters, has %zu", max,
                          count);
    }
    char *copy = strdup(text);
    if (!copy) {
        return api_refuse_memory(reterr);
    }
    *ret_text = copy;
    return TPC_OK;
}

enum tpc_rc api_u64_read(const struct api_json *value, const struct api_at *at, uint64_t min,
                         uint64_t max, uint64_t *ret_value, struct api_refusal *reterr)
{
    enum tpc_rc rc = api_type_read(value, at, API_JSON_NUMBER, reterr);
    if (rc) {
        return rc;
    }
    uint64_t number;
    if (!api_json_u64(value, &number) || number < min || number > max) {
        return api_refuse(reterr, at, TPC_EINVAL, "must be a whole number from %llu to %llu",
                          (unsigned long long)min, (unsigned long long)max);
    }
    *ret_value = number;
    return TPC_OK;
}

enum tpc_rc api_bool_read(const struct api_json *value, const struct api_at *at, bool *ret_value,
                          struct api_refusal *reterr)
{
    enum tpc_rc rc = api_type_read(value, at, API_JSON_BOOL, reterr);
    if (!rc) {
        *ret_value = api_json_bool(value);
    }
    return rc;
}

enum tpc_rc api_id_read(const struct api_json *value, const struct api_at *at,
                        struct tpc_id *ret_id, struct api_refusal *reterr)
{
    const char *text;
    enum tpc_rc rc = api_string_read(value, at, &text, reterr);
    if (!rc && !tpc_id_parse(text, strlen(text), ret_id)) {
        rc = api_refuse(reterr, at, TPC_EINVAL,
                        "must be a UUID like 0199c0de-7a11-7c3e-9f00-5a2b1c0d0001");
    }
    return rc;
}

enum tpc_rc api_choice_read(const struct api_json *value, const struct api_at *at,
                            const char *const *names, size_t count, int *ret_choice,
                            struct api_refusal *reterr)
{
    const char *text;
    enum tpc_rc rc = api_string_read(value, at, &text, reterr);
    if (rc) {
        return rc;
    }
    struct tpc_buf known = {0};
    for (size_t i = 0; i < count; i++) {
        if (names[i] && strcmp(names[i], text) == 0) {
            *ret_choice = (int)i;
            return TPC_OK;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (names[i]) {
            tpc_buf_addf(&known, "%s\"%s\"", known.size ? " or " : "", names[i]);
        }
    }
    rc = api_refuse(reterr, at, TPC_EINVAL, "must be %s, not \"%.60s\"",
                    known.data ? known.data : "", text);
    tpc_buf_done(&known);
    return rc;
}

enum tpc_rc api_array_read(const struct api_json *value, const struct api_at *at, size_t min,
                           size_t max, size_t *ret_count, struct api_refusal *reterr)
{
    enum tpc_rc rc = api_type_read(value, at, API_JSON_ARRAY, reterr);
    if (rc) {
        return rc;
    }
    size_t count = api_json_count(value);
    if (count < min || count > max) {
        return api_refuse(reterr, at, TPC_EINVAL, "must have %zu to %zu elements, has %zu", min,
                          max, count);
    }
    *ret_count = count;
    return TPC_OK;
}

enum tpc_rc api_ids_read(const struct api_json *value, const struct api_at *at, size_t max,
                         struct tpc_id **ret_ids, size_t *ret_count, struct api_refusal *reterr)
{
    size_t count = 0;
    enum tpc_rc rc = api_array_read(value, at, 0, max, &count, reterr);
    if (rc) {
        return rc;
    }
    struct tpc_id *ids = NULL;
    if (count > 0 && !(ids = calloc(count, sizeof(*ids)))) {
        return api_refuse_memory(reterr);
    }
    const struct api_json *item = api_json_first(value);
    for (size_t i = 0; item; item = api_json_next(item), i++) {
        rc = api_id_read(item, API_AT_INDEX(at, i), &ids[i], reterr);
        if (rc) {
            free(ids);
            return rc;
        }
    }
    *ret_ids = ids;
    *ret_count = count;
    return TPC_OK;
}

/* ---- Limits ---- */

static uint64_t or_default(uint64_t value, uint64_t fallback)
{
    return value ? value : fallback;
}

struct api_codec_limits api_limits_or_defaults(const struct api_codec_limits *limits)
{
    struct api_codec_limits l = *limits;
    l.branches = or_default(l.branches, BRANCHES_MAX);
    l.branches = l.branches < BRANCHES_MAX ? l.branches : BRANCHES_MAX;
    l.statements = or_default(l.statements, STATEMENTS_DEFAULT);
    l.params = or_default(l.params, PARAMS_DEFAULT);
    l.timeout_ms_max = or_default(l.timeout_ms_max, TIMEOUT_MS_MAX_DEFAULT);
    l.timeout_ms_default = or_default(l.timeout_ms_default, TIMEOUT_MS_DEFAULT);
    if (l.timeout_ms_default > l.timeout_ms_max) {
        l.timeout_ms_default = l.timeout_ms_max;
    }
    return l;
}
