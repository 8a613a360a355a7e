/* Statements: checked at the coordinator, built at the participant, by the same code. */
#include "api/codec_read.h"

#include <stdlib.h>
#include <string.h>

#define SQL_SIZE_MAX ((size_t)1 << 20)

static void value_done(struct api_value *value)
{
    if (value->type == API_TEXT || value->type == API_BLOB) {
        free(value->bytes.data);
    }
}

void api_statements_done(struct api_statements *statements)
{
    for (size_t i = 0; i < statements->count; i++) {
        struct api_statement *statement = &statements->items[i];
        for (size_t j = 0; j < statement->param_count; j++) {
            value_done(&statement->params[j]);
        }
        free(statement->params);
        free(statement->sql);
    }
    free(statements->items);
    *statements = (struct api_statements){0};
}

static enum tpc_rc read_sql(const struct api_json *value, const struct api_at *at,
                            struct api_statement *ret_statement, struct api_refusal *reterr)
{
    const char *sql;
    enum tpc_rc rc = api_string_read(value, at, &sql, reterr);
    if (rc) {
        return rc;
    }
    size_t size = strlen(sql);
    if (size == 0) {
        return api_refuse(reterr, at, TPC_EINVAL, "must not be empty");
    }
    if (size > SQL_SIZE_MAX) {
        return api_refuse(reterr, at, TPC_EINVAL, "must have at most %zu bytes, has %zu",
                          SQL_SIZE_MAX, size);
    }
    if (ret_statement && !(ret_statement->sql = strdup(sql))) {
        return api_refuse_memory(reterr);
    }
    return TPC_OK;
}

static enum tpc_rc read_params(const struct api_json *value, const struct api_at *at, size_t max,
                               struct api_statement *ret_statement, struct api_refusal *reterr)
{
    size_t count;
    enum tpc_rc rc = value ? api_array_read(value, at, 0, max, &count, reterr) : TPC_OK;
    if (rc || !value || count == 0) {
        return rc;
    }
    struct api_value *params = NULL;
    if (ret_statement) {
        params = calloc(count, sizeof(*params));
        if (!params) {
            return api_refuse_memory(reterr);
        }
        ret_statement->params = params;
        ret_statement->param_count = count;
    }
    size_t i = 0;
    for (const struct api_json *item = api_json_first(value); item; item = api_json_next(item)) {
        rc = api_value_read(item, API_AT_INDEX(at, i), params ? &params[i] : NULL, reterr);
        if (rc) {
            return rc;
        }
        i++;
    }
    return TPC_OK;
}

static enum tpc_rc read_range(const struct api_json *value, const struct api_at *at, uint64_t *min,
                              uint64_t *max, struct api_refusal *reterr)
{
    enum { MIN, MAX, COUNT };
    static const char *const names[COUNT] = {"min", "max"};
    const struct api_json *member[COUNT];
    enum tpc_rc rc = api_members_read(
        value, at, &(struct api_members){.names = names, .count = COUNT}, member, reterr);
    if (!rc && !member[MIN] && !member[MAX]) {
        rc = api_refuse(reterr, at, TPC_EINVAL, "must have \"min\", \"max\" or both");
    }
    if (!rc && member[MIN]) {
        rc =
            api_u64_read(member[MIN], API_AT(at, names[MIN]), 0, API_SAFE_INTEGER_MAX, min, reterr);
    }
    if (!rc && member[MAX]) {
        rc =
            api_u64_read(member[MAX], API_AT(at, names[MAX]), 0, API_SAFE_INTEGER_MAX, max, reterr);
    }
    if (!rc && *min > *max) {
        rc = api_refuse(reterr, at, TPC_EINVAL, "min must not be greater than max");
    }
    return rc;
}

static enum tpc_rc read_expect(const struct api_json *value, const struct api_at *at,
                               struct api_statement *ret_statement, struct api_refusal *reterr)
{
    if (!value) {
        return TPC_OK;
    }
    static const char *const names[] = {"rows"};
    const struct api_json *rows;
    enum tpc_rc rc = api_members_read(value, at, &(struct api_members){.names = names, .count = 1},
                                      &rows, reterr);
    if (rc) {
        return rc;
    }
    const struct api_at *at_rows = API_AT(at, "rows");
    uint64_t min = 0, max = UINT64_MAX;
    if (rows && api_json_type(rows) == API_JSON_OBJECT) {
        rc = read_range(rows, at_rows, &min, &max, reterr);
    } else if (rows && api_json_type(rows) == API_JSON_NUMBER) {
        rc = api_u64_read(rows, at_rows, 0, API_SAFE_INTEGER_MAX, &min, reterr);
        max = min;
    } else {
        rc = api_refuse(reterr, at_rows, TPC_EINVAL,
                        rows ? "must be a number or {\"min\": …, \"max\": …}"
                             : "is required: a number or {\"min\": …, \"max\": …}");
    }
    if (!rc && ret_statement) {
        ret_statement->has_expect = true;
        ret_statement->expect_min = min;
        ret_statement->expect_max = max;
    }
    return rc;
}

static enum tpc_rc read_statement(const struct api_json *value, const struct api_at *at,
                                  const struct api_codec_limits *limits,
                                  struct api_statement *ret_statement, struct api_refusal *reterr)
{
    enum { SQL, PARAMS, EXPECT, COUNT };
    static const char *const names[COUNT] = {"sql", "params", "expect"};
    const struct api_json *member[COUNT];
    enum tpc_rc rc = api_members_read(
        value, at, &(struct api_members){.names = names, .count = COUNT}, member, reterr);
    if (!rc) {
        rc = read_sql(member[SQL], API_AT(at, names[SQL]), ret_statement, reterr);
    }
    if (!rc) {
        rc = read_params(member[PARAMS], API_AT(at, names[PARAMS]), limits->params, ret_statement,
                         reterr);
    }
    if (!rc) {
        rc = read_expect(member[EXPECT], API_AT(at, names[EXPECT]), ret_statement, reterr);
    }
    return rc;
}

enum tpc_rc api_statements_read(const struct api_json *value, const struct api_at *at,
                                const struct api_codec_limits *limits,
                                struct api_statements *ret_statements, struct api_refusal *reterr)
{
    size_t count;
    enum tpc_rc rc = api_array_read(value, at, 1, limits->statements, &count, reterr);
    if (rc) {
        return rc;
    }
    struct api_statement *items = NULL;
    if (ret_statements) {
        items = calloc(count, sizeof(*items));
        if (!items) {
            return api_refuse_memory(reterr);
        }
        *ret_statements = (struct api_statements){.count = count, .items = items};
    }
    size_t i = 0;
    for (const struct api_json *item = api_json_first(value); item; item = api_json_next(item)) {
        rc = read_statement(item, API_AT_INDEX(at, i), limits, items ? &items[i] : NULL, reterr);
        if (rc) {
            return rc;
        }
        i++;
    }
    return TPC_OK;
}
