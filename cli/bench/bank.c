#include "cli/bench/bank.h"

#include "api/json.h"
#include "cli/http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_MS = 60000 };

/* A number, which some servers send as text, and which is {"int64": "…"} when it is large. */
static bool read_integer(const struct api_json *value, int64_t *ret_value)
{
    const struct api_json *large = value != NULL ? api_json_get(value, "int64") : NULL;
    const char *text = value != NULL ? api_json_string(large != NULL ? large : value) : NULL;
    if (text != NULL) {
        char *end;
        errno = 0;
        *ret_value = strtoll(text, &end, 10);
        return errno == 0 && end != text && *end == '\0';
    }
    if (value == NULL || api_json_type(value) != API_JSON_NUMBER) {
        return false;
    }
    *ret_value = (int64_t)api_json_number(value);
    return true;
}

/* branches[0].results[0].rows[0], three cells. */
static bool read_row(const struct api_json *answer, int64_t cells[3])
{
    static const char *const path[] = {"branches", "results", "rows"};
    const struct api_json *at = answer;
    for (size_t i = 0; i < sizeof path / sizeof path[0]; i++) {
        const struct api_json *list = at != NULL ? api_json_get(at, path[i]) : NULL;
        at = list != NULL ? api_json_first(list) : NULL;
    }
    const struct api_json *cell = at != NULL ? api_json_first(at) : NULL;
    for (unsigned i = 0; i < 3; i++) {
        if (!read_integer(cell, &cells[i])) {
            return false;
        }
        cell = api_json_next(cell);
    }
    return true;
}

static void write_request(const struct cli_load_member *member, struct tpc_buf *out)
{
    struct tpc_buf sql = {0};
    cli_load_query(member, &sql);
    api_jw_open(out, '{');
    api_jw_key(out, "branches");
    api_jw_open(out, '[');
    api_jw_open(out, '{');
    api_jw_key(out, "participant");
    api_jw_str(out, member->name);
    api_jw_key(out, "statements");
    api_jw_open(out, '[');
    api_jw_open(out, '{');
    api_jw_key(out, "sql");
    api_jw_str(out, sql.data);
    api_jw_close(out, '}');
    api_jw_close(out, ']');
    api_jw_close(out, '}');
    api_jw_close(out, ']');
    api_jw_close(out, '}');
    tpc_buf_done(&sql);
}

/* Why it was refused, in the words of whoever refused it. */
static enum tpc_rc explain(const struct cli_load_member *member, int status,
                           const struct api_json *answer, struct tpc_err *reterr)
{
    const struct api_json *cause = answer != NULL ? api_json_get(answer, "cause") : NULL;
    const struct api_json *detail =
        answer != NULL ? api_json_get(cause != NULL ? cause : answer, "detail") : NULL;
    const char *words = detail != NULL ? api_json_string(detail) : NULL;
    const struct api_json *retryable = answer != NULL ? api_json_get(answer, "retryable") : NULL;
    if (status == 503 || (retryable != NULL && api_json_bool(retryable))) {
        return tpc_fail(reterr, TPC_EBUSY, "%s: %s", member->name, words != NULL ? words : "busy");
    }
    return tpc_fail(reterr, TPC_EINVAL,
                    "the accounts of \"%s\" cannot be read (%s). Make them with: assent bench "
                    "--tables %s=%s",
                    member->name, words != NULL ? words : "unexpected answer", member->name,
                    cli_bench_sql_name(member->sql));
}

static enum tpc_rc read_member(struct cli_http *http, const char *url,
                               const struct cli_load_member *member, int64_t cells[3],
                               struct tpc_err *reterr)
{
    char address[600];
    struct tpc_buf body = {0};
    struct cli_answer answer = {0};
    struct api_json *json = NULL;
    (void)snprintf(address, sizeof address, "%s/v1/transactions", url);
    write_request(member, &body);
    const struct cli_request request = {.method = "POST",
                                        .url = address,
                                        .body = body.data,
                                        .body_size = body.size,
                                        .timeout_ms = READ_MS};
    enum tpc_rc rc = cli_http_do(http, &request, &answer, reterr);
    if (rc == TPC_OK) {
        /* What is no JSON reads as an answer without what is looked for. */
        (void)!api_json_parse(answer.body.data, answer.body.size, &json, NULL);
        bool good = answer.status == 201 && json != NULL && read_row(json, cells);
        rc = good ? TPC_OK : explain(member, answer.status, json, reterr);
    }
    if (json != NULL) {
        api_json_free(json);
    }
    cli_answer_done(&answer);
    tpc_buf_done(&body);
    return rc;
}

enum tpc_rc cli_bank_read(const char *url, const struct cli_load_options *options,
                          struct cli_bank *ret_bank, struct tpc_err *reterr)
{
    struct cli_http *http = cli_http_new();
    enum tpc_rc rc = http != NULL ? TPC_OK : tpc_fail(reterr, TPC_ENOMEM, "no memory");
    *ret_bank = (struct cli_bank){.accounts = UINT32_MAX};
    for (unsigned i = 0; i < options->member_count && rc == TPC_OK; i++) {
        int64_t cells[3]; /* count, greatest id, sum */
        rc = read_member(http, url, &options->members[i], cells, reterr);
        if (rc == TPC_OK && (cells[0] < 1 || cells[0] != cells[1])) {
            rc = tpc_fail(reterr, TPC_EINVAL, "the accounts of \"%s\" are not numbered from 1",
                          options->members[i].name);
        }
        if (rc == TPC_OK) {
            ret_bank->sums[i] = cells[2];
            ret_bank->total += cells[2];
            ret_bank->accounts =
                cells[0] < ret_bank->accounts ? (unsigned)cells[0] : ret_bank->accounts;
        }
    }
    cli_http_free(http);
    return rc;
}
