/* What a participant answers: a line for each message. */
#include "api/codec_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const vote_names[] = {[API_VOTE_NONE] = NULL,
                                         [API_VOTE_YES] = "yes",
                                         [API_VOTE_NO] = "no",
                                         [API_VOTE_READ_ONLY] = "read_only",
                                         [API_VOTE_COMMITTED] = "committed"};

static const char *const state_names[] = {[API_STATE_NONE] = NULL,
                                          [API_STATE_COMMITTED] = "committed",
                                          [API_STATE_ABORTED] = "aborted",
                                          [API_STATE_UNKNOWN] = "unknown"};

static const char *const error_names[] = {[API_ERROR_NONE] = NULL,
                                          [API_ERROR_WRONG_COORDINATOR] = "wrong_coordinator",
                                          [API_ERROR_LOG_SET_BACK] = "log_set_back",
                                          [API_ERROR_INVALID_GTID] = "invalid_gtid",
                                          [API_ERROR_WRONG_PARTICIPANT] = "wrong_participant",
                                          [API_ERROR_PROTOCOL] = "protocol"};

static const struct {
    const char *name;
    bool retryable;
} causes[API_CAUSE_COUNT] = {
    [API_CAUSE_NONE] = {"none", false},
    [API_CAUSE_SQL_ERROR] = {"sql_error", false},
    [API_CAUSE_CONSTRAINT] = {"constraint", false},
    [API_CAUSE_EXPECTATION_FAILED] = {"expectation_failed", false},
    [API_CAUSE_CONFLICT] = {"conflict", true},
    [API_CAUSE_TIMEOUT] = {"timeout", true},
    [API_CAUSE_UNREACHABLE] = {"unreachable", true},
    [API_CAUSE_PARTICIPANT_ERROR] = {"participant_error", true},
    [API_CAUSE_CLIENT_ABORT] = {"client_abort", false},
    [API_CAUSE_NOT_SUPPORTED] = {"not_supported", false},
    [API_CAUSE_WORK_LOST] = {"work_lost", true},
};

#define STATEMENT_INDEX_MAX 1000000

const char *api_cause_name(enum api_cause_code code)
{
    return causes[code].name;
}

bool api_cause_retryable(enum api_cause_code code)
{
    return causes[code].retryable;
}

void api_cause_done(struct api_cause *cause)
{
    free(cause->detail);
    *cause = (struct api_cause){.statement = -1};
}

/* ---- Writing ---- */

void api_cause_write(struct tpc_buf *out, const struct api_cause *cause, const char *participant)
{
    api_jw_open(out, '{');
    api_jw_key(out, "code");
    api_jw_str(out, api_cause_name(cause->code));
    if (participant) {
        api_jw_key(out, "participant");
        api_jw_str(out, participant);
    }
    if (cause->statement >= 0) {
        api_jw_key(out, "statement");
        api_jw_i64(out, cause->statement);
    }
    if (cause->detail) {
        api_jw_key(out, "detail");
        api_jw_str(out, cause->detail);
    }
    if (*cause->sqlstate) {
        api_jw_key(out, "sqlstate");
        api_jw_str(out, cause->sqlstate);
    }
    api_jw_close(out, '}');
}

static void write_name(struct tpc_buf *out, const char *key, const char *name)
{
    if (name) {
        api_jw_key(out, key);
        api_jw_str(out, name);
    }
}

void api_answer_write(struct tpc_buf *out, const struct api_answer *answer)
{
    api_jw_open(out, '{');
    write_name(out, "op", api_op_name(answer->op));
    if (answer->gtid_valid) {
        api_jw_key(out, "gtid");
        api_jw_id(out, &answer->gtid);
    } else {
        write_name(out, "gtid", answer->gtid_text);
    }
    api_jw_key(out, "participant_id");
    api_jw_id(out, &answer->participant_id);
    write_name(out, "vote", vote_names[answer->vote]);
    write_name(out, "state", state_names[answer->state]);
    write_name(out, "error", error_names[answer->error]);
    if (answer->error == API_ERROR_LOG_SET_BACK) {
        api_jw_key(out, "generation_seen");
        api_jw_u64(out, answer->generation_seen);
    }
    if (answer->cause.code != API_CAUSE_NONE) {
        api_jw_key(out, "cause");
        api_cause_write(out, &answer->cause, NULL);
    }
    if (answer->results) {
        api_jw_key(out, "results");
        api_jw_raw(out, answer->results, answer->results_size);
    }
    api_jw_close(out, '}');
    tpc_buf_addc(out, '\n');
}

/* ---- Reading ---- */

/* A code we do not know is the participant's fault: what matters is that it said no. */
static enum api_cause_code cause_of(const char *name)
{
    for (int code = API_CAUSE_NONE + 1; code < API_CAUSE_COUNT; code++) {
        if (strcmp(causes[code].name, name) == 0) {
            return (enum api_cause_code)code;
        }
    }
    return API_CAUSE_PARTICIPANT_ERROR;
}

/* Five digits and capital letters, as the standard has it. What is not is passed over. */
static bool is_sqlstate(const char *text)
{
    return strlen(text) == 5 && strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5;
}

static enum tpc_rc read_cause(const struct api_json *value, const struct api_at *at,
                              struct api_cause *cause, struct api_refusal *reterr)
{
    enum { CODE, STATEMENT, DETAIL, SQLSTATE, COUNT };
    static const char *const names[COUNT] = {"code", "statement", "detail", "sqlstate"};
    const struct api_json *member[COUNT];
    const struct api_members members = {.names = names, .count = COUNT, .open = true};
    const char *code;
    enum tpc_rc rc = api_members_read(value, at, &members, member, reterr);
    if (!rc) {
        rc = api_string_read(member[CODE], API_AT(at, names[CODE]), &code, reterr);
    }
    if (rc) {
        return rc;
    }
    cause->code = cause_of(code);
    uint64_t statement;
    if (api_json_u64(member[STATEMENT], &statement) && statement < STATEMENT_INDEX_MAX) {
        cause->statement = (int)statement;
    }
    const char *sqlstate = api_json_string(member[SQLSTATE]);
    if (sqlstate && is_sqlstate(sqlstate)) {
        memcpy(cause->sqlstate, sqlstate, sizeof(cause->sqlstate));
    }
    const char *detail = api_json_string(member[DETAIL]);
    if (detail && !(cause->detail = strdup(detail))) {
        return api_refuse_memory(reterr);
    }
    return TPC_OK;
}

enum {
    OP,
    GTID,
    PARTICIPANT_ID,
    VOTE,
    STATE,
    ERROR,
    GENERATION_SEEN,
    CAUSE,
    RESULTS,
    MEMBER_COUNT
};
static const char *const member_names[MEMBER_COUNT] = {
    "op",    "gtid",   "participant_id", "vote", "state", "error", "generation_seen",
    "cause", "results"};

static enum tpc_rc read_identity(const struct api_json *const *member, struct api_answer *answer,
                                 struct api_refusal *reterr)
{
    int op = 0;
    const char *gtid;
    enum tpc_rc rc = api_choice_read(member[OP], API_AT(NULL, member_names[OP]), api_op_names,
                                     API_OP_COUNT, &op, reterr);
    answer->op = (enum api_op)op;
    if (!rc) {
        rc = api_string_read(member[GTID], API_AT(NULL, member_names[GTID]), &gtid, reterr);
    }
    if (!rc) {
        answer->gtid_valid = tpc_id_parse(gtid, strlen(gtid), &answer->gtid);
        (void)snprintf(answer->gtid_text, sizeof(answer->gtid_text), "%s", gtid);
        rc = api_id_read(member[PARTICIPANT_ID], API_AT(NULL, member_names[PARTICIPANT_ID]),
                         &answer->participant_id, reterr);
    }
    return rc;
}

/* An error that we do not know still says that nothing was done. */
static enum tpc_rc read_error(const struct api_json *const *member, struct api_answer *answer,
                              struct api_refusal *reterr)
{
    const char *name;
    enum tpc_rc rc =
        api_string_read(member[ERROR], API_AT(NULL, member_names[ERROR]), &name, reterr);
    if (rc) {
        return rc;
    }
    answer->error = API_ERROR_PROTOCOL;
    for (size_t i = 1; i < API_COUNT(error_names); i++) {
        if (strcmp(error_names[i], name) == 0) {
            answer->error = (enum api_answer_error)i;
        }
    }
    if (answer->error == API_ERROR_LOG_SET_BACK) {
        (void)api_json_u64(member[GENERATION_SEEN], &answer->generation_seen);
    }
    return TPC_OK;
}

/* The one member that an answer to this message must have. */
static enum tpc_rc read_verdict(const struct api_json *const *member, struct api_answer *answer,
                                struct api_refusal *reterr)
{
    if (member[ERROR]) {
        return read_error(member, answer, reterr);
    }
    int choice = 0;
    enum tpc_rc rc = TPC_OK;
    if (answer->op == API_OP_EXECUTE) {
        if (!member[CAUSE] && !member[RESULTS]) {
            rc = api_refuse(reterr, NULL, TPC_EINVAL,
                            "must have \"results\", \"cause\" or \"error\"");
        }
    } else if (answer->op == API_OP_PREPARE) {
        rc = api_choice_read(member[VOTE], API_AT(NULL, member_names[VOTE]), vote_names,
                             API_COUNT(vote_names), &choice, reterr);
        answer->vote = (enum api_vote)choice;
    } else {
        rc = api_choice_read(member[STATE], API_AT(NULL, member_names[STATE]), state_names,
                             API_COUNT(state_names), &choice, reterr);
        answer->state = (enum api_branch_state)choice;
    }
    return rc;
}

static enum tpc_rc keep_results(const struct api_json *value, struct api_answer *answer,
                                struct api_refusal *reterr)
{
    enum tpc_rc rc =
        api_type_read(value, API_AT(NULL, member_names[RESULTS]), API_JSON_ARRAY, reterr);
    if (rc) {
        return rc;
    }
    struct tpc_buf text = {0};
    api_json_print(&text, value);
    answer->results_size = text.size;
    answer->results = tpc_buf_take(&text);
    return answer->results ? TPC_OK : api_refuse_memory(reterr);
}

static enum tpc_rc read_answer(const struct api_json *root, struct api_answer *answer,
                               struct api_refusal *reterr)
{
    const struct api_json *member[MEMBER_COUNT];
    const struct api_members members = {.names = member_names, .count = MEMBER_COUNT, .open = true};
    enum tpc_rc rc = api_members_read(root, NULL, &members, member, reterr);
    if (!rc) {
        rc = read_identity(member, answer, reterr);
    }
    if (!rc) {
        rc = read_verdict(member, answer, reterr);
    }
    if (!rc && member[CAUSE]) {
        rc = read_cause(member[CAUSE], API_AT(NULL, member_names[CAUSE]), &answer->cause, reterr);
    } else if (answer->vote == API_VOTE_NO) {
        answer->cause.code = API_CAUSE_PARTICIPANT_ERROR; /* no reason given */
    }
    if (!rc && member[RESULTS]) {
        rc = keep_results(member[RESULTS], answer, reterr);
    }
    return rc;
}

enum tpc_rc api_answer_decode(const char *line, size_t size, struct api_answer *ret_answer,
                              struct tpc_err *reterr)
{
    *ret_answer = (struct api_answer){.cause = {.statement = -1}};
    struct api_refusal refusal = {0};
    struct api_json *root;
    enum tpc_rc rc = api_document_parse(line, size, &root, &refusal);
    if (rc) {
        return api_refusal_to_err(&refusal, reterr);
    }
    rc = read_answer(root, ret_answer, &refusal);
    api_json_free(root);
    if (rc) {
        api_answer_done(ret_answer);
        return api_refusal_to_err(&refusal, reterr);
    }
    return TPC_OK;
}

void api_answer_done(struct api_answer *answer)
{
    free(answer->cause.detail);
    free(answer->results);
    *answer = (struct api_answer){.cause = {.statement = -1}};
}
