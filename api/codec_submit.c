/* What a client submits. The statements are checked here and sent on as text: only the participant
 * builds them. */
#include "api/codec_read.h"

#include <stdlib.h>
#include <string.h>

#define LABEL_MAX 256

static const char *const ack_names[] = {
    [API_ACK_APPLIED] = "applied", [API_ACK_DECIDED] = "decided"};

static enum tpc_rc read_participant(const struct api_json *value, const struct api_at *at,
                                    struct api_submit *submit, size_t index,
                                    struct api_refusal *reterr)
{
    const char *name;
    enum tpc_rc rc = api_string_read(value, at, &name, reterr);
    if (rc) {
        return rc;
    }
    if (!api_name_check(name)) {
        return api_refuse(reterr, at, TPC_EINVAL,
                          "must be a participant's name: 1 to 64 letters, digits, '.', '_' or '-', "
                          "beginning with a letter or digit");
    }
    for (size_t i = 0; i < index; i++) {
        const char *other = submit->branches[i].participant; /* never NULL: it was read before */
        if (other != NULL && strcmp(other, name) == 0) {
            return api_refuse(reterr, at, TPC_EINVAL,
                              "\"%s\" stands in branches[%zu] already: each participant once, with "
                              "all its statements in one branch",
                              name, i);
        }
    }
    submit->branches[index].participant = strdup(name);
    return submit->branches[index].participant ? TPC_OK : api_refuse_memory(reterr);
}

static enum tpc_rc keep_statements(const struct api_json *value, struct api_submit_branch *branch,
                                   struct api_refusal *reterr)
{
    struct tpc_buf text = {0};
    api_json_print(&text, value);
    branch->statements_size = text.size;
    branch->statements = tpc_buf_take(&text);
    return branch->statements ? TPC_OK : api_refuse_memory(reterr);
}

static enum tpc_rc read_branch(const struct api_json *value, const struct api_at *at,
                               const struct api_codec_limits *limits, struct api_submit *submit,
                               size_t index, struct api_refusal *reterr)
{
    enum { PARTICIPANT, STATEMENTS, COUNT };
    static const char *const names[COUNT] = {"participant", "statements"};
    const struct api_json *member[COUNT];
    enum tpc_rc rc = api_members_read(
        value, at, &(struct api_members){.names = names, .count = COUNT}, member, reterr);
    if (!rc) {
        rc = read_participant(member[PARTICIPANT], API_AT(at, names[PARTICIPANT]), submit, index,
                              reterr);
    }
    if (!rc) {
        rc = api_statements_read(member[STATEMENTS], API_AT(at, names[STATEMENTS]), limits, NULL,
                                 reterr);
    }
    return rc ? rc : keep_statements(member[STATEMENTS], &submit->branches[index], reterr);
}

static enum tpc_rc read_branches(const struct api_json *value, const struct api_at *at,
                                 const struct api_codec_limits *limits, struct api_submit *submit,
                                 struct api_refusal *reterr)
{
    size_t count;
    enum tpc_rc rc = api_array_read(value, at, 1, limits->branches, &count, reterr);
    if (rc) {
        return rc;
    }
    submit->branches = calloc(count, sizeof(*submit->branches));
    if (!submit->branches) {
        return api_refuse_memory(reterr);
    }
    submit->branch_count = count;
    size_t i = 0;
    for (const struct api_json *item = api_json_first(value); item; item = api_json_next(item)) {
        rc = read_branch(item, API_AT_INDEX(at, i), limits, submit, i, reterr);
        if (rc) {
            return rc;
        }
        i++;
    }
    return TPC_OK;
}

static enum tpc_rc read_choices(const struct api_json *ack, const struct api_json *isolation,
                                struct api_submit *submit, struct api_refusal *reterr)
{
    int choice = API_ACK_APPLIED;
    enum tpc_rc rc = TPC_OK;
    if (ack) {
        rc = api_choice_read(ack, API_AT(NULL, "ack"), ack_names, API_COUNT(ack_names), &choice,
                             reterr);
    }
    submit->ack = (enum api_ack)choice;
    choice = API_ISOLATION_DEFAULT;
    if (!rc && isolation) {
        rc = api_choice_read(isolation, API_AT(NULL, "isolation"), api_isolation_names,
                             API_ISOLATION_COUNT, &choice, reterr);
    }
    submit->isolation = (enum api_isolation)choice;
    return rc;
}

static enum tpc_rc read_open(const struct api_json *value, const struct api_json *branches,
                             struct api_submit *submit, struct api_refusal *reterr)
{
    enum tpc_rc rc =
        value ? api_bool_read(value, API_AT(NULL, "open"), &submit->open, reterr) : TPC_OK;
    if (!rc && submit->open && branches) {
        rc = api_refuse(reterr, API_AT(NULL, "branches"), TPC_EINVAL,
                        "cannot come with \"open\": the work of an interactive transaction is sent "
                        "to its /statements, one participant at a time");
    }
    return rc;
}

static enum tpc_rc read_submit(const struct api_json *root, const struct api_codec_limits *limits,
                               struct api_submit *submit, struct api_refusal *reterr)
{
    enum { LABEL, TIMEOUT_MS, ACK, ISOLATION, BRANCHES, OPEN, COUNT };
    static const char *const names[COUNT] = {"label",     "timeout_ms", "ack",
                                             "isolation", "branches",   "open"};
    const struct api_json *member[COUNT];
    enum tpc_rc rc = api_members_read(
        root, NULL, &(struct api_members){.names = names, .count = COUNT}, member, reterr);
    if (!rc) {
        rc = read_open(member[OPEN], member[BRANCHES], submit, reterr);
    }
    if (!rc && member[LABEL]) {
        rc = api_text_read(member[LABEL], API_AT(NULL, names[LABEL]), 0, LABEL_MAX, &submit->label,
                           reterr);
    }
    submit->timeout_ms = limits->timeout_ms_default;
    if (!rc && member[TIMEOUT_MS]) {
        rc = api_u64_read(member[TIMEOUT_MS], API_AT(NULL, names[TIMEOUT_MS]), 1,
                          limits->timeout_ms_max, &submit->timeout_ms, reterr);
    }
    if (!rc) {
        rc = read_choices(member[ACK], member[ISOLATION], submit, reterr);
    }
    if (!rc && !submit->open) {
        rc = read_branches(member[BRANCHES], API_AT(NULL, names[BRANCHES]), limits, submit, reterr);
    }
    return rc;
}

enum tpc_rc api_submit_decode(const char *body, size_t size, const struct api_codec_limits *limits,
                              struct api_submit *ret_submit, struct api_refusal *reterr)
{
    *ret_submit = (struct api_submit){0};
    struct api_json *root;
    enum tpc_rc rc = api_document_parse(body, size, &root, reterr);
    if (rc) {
        return rc;
    }
    struct api_codec_limits full = api_limits_or_defaults(limits);
    rc = read_submit(root, &full, ret_submit, reterr);
    api_json_free(root);
    if (rc) {
        api_submit_done(ret_submit);
    }
    return rc;
}

enum tpc_rc api_execute_decode(const char *body, size_t size, const struct api_codec_limits *limits,
                               struct api_submit_branch *ret_branch, struct api_refusal *reterr)
{
    *ret_branch = (struct api_submit_branch){0};
    struct api_submit submit = {.branches = ret_branch, .branch_count = 1};
    struct api_json *root;
    enum tpc_rc rc = api_document_parse(body, size, &root, reterr);
    if (rc) {
        return rc;
    }
    struct api_codec_limits full = api_limits_or_defaults(limits);
    rc = read_branch(root, NULL, &full, &submit, 0, reterr);
    api_json_free(root);
    if (rc) {
        api_submit_branch_done(ret_branch);
    }
    return rc;
}

void api_submit_branch_done(struct api_submit_branch *branch)
{
    free(branch->participant);
    free(branch->statements);
    *branch = (struct api_submit_branch){0};
}

void api_submit_done(struct api_submit *submit)
{
    for (size_t i = 0; i < submit->branch_count; i++) {
        api_submit_branch_done(&submit->branches[i]);
    }
    free(submit->branches);
    free(submit->label);
    *submit = (struct api_submit){0};
}
