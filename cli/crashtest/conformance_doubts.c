/* Branches in doubt: the questions that a participant asks, the answers that it believes, and what
 * operators see and do. */
#include "cli/crashtest/conformance_internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    LOOK_EVERY_MS = 100,
    SHORT_MS = 2000, /* a prepare's time-out, which must not end a branch in doubt */
    SHORT_MS_MAX = 32000,
    ITEMS_MAX = 10000,
};

static bool answers(struct cli_suite *suite, enum api_op op, const char *expected)
{
    return cli_expect_answer(suite, op, &suite->open,
                             op == API_OP_PREPARE ? CLI_WORK_WRITES : CLI_WORK_NONE, false,
                             expected);
}

static bool is_asked(struct cli_suite *suite, unsigned count, struct cli_asked *ret_asked)
{
    bool asked = cli_endpoint_wait(suite->endpoint, &suite->open, count, suite->options.patience_ms,
                                   ret_asked);
    return cli_expect(suite, asked, "a question to POST /v1/decisions",
                      "none of the branch in %lu ms (%u before)", suite->options.patience_ms,
                      count - 1);
}

/* ---- Questions ---- */

/* Prepare with a time-out that will be over soon; a longer one where the work takes longer. */
static bool prepare_briefly(struct cli_suite *suite)
{
    struct cli_said said = {0};
    bool again = cli_needs(suite, CLI_WORK_WRITES);
    for (suite->timeout_ms = SHORT_MS; again; suite->timeout_ms *= 2) {
        cli_suite_gtid(suite, &suite->open);
        bool good =
            cli_suite_say(suite, API_OP_PREPARE, &suite->open, CLI_WORK_WRITES, false, &said);
        bool yes = good && said.answer.vote == API_VOTE_YES;
        again = good && !yes && suite->timeout_ms < SHORT_MS_MAX;
        if (good && !again) {
            (void)cli_expect_said(suite, &said, "yes");
        }
        cli_said_done(&said, 1);
        if (yes) {
            return true;
        }
    }
    return false;
}

static void check_asks(struct cli_suite *suite)
{
    struct cli_asked asked;
    char id[TPC_ID_TEXT], wrong[256];
    uint64_t began_ms = tpc_clock_mono_ms();
    if (!prepare_briefly(suite) || !is_asked(suite, 1, &asked)) {
        return;
    }
    cli_expect(suite, tpc_id_equal(&asked.participant_id, &suite->participant_id),
               "the participant_id of the answers in the question", "%s",
               tpc_id_format(&asked.participant_id, id));
    cli_expect(suite, asked.as_remembered,
               "the coordinator's generation and nonce in the question as they were sent",
               "others");
    (void)is_asked(suite, 2, NULL); /* it was told "undecided" */
    cli_endpoint_complaint(suite->endpoint, wrong);
    cli_expect(suite, wrong[0] == '\0', "a question that can be understood", "%s", wrong);
    /* Whatever time has passed. */
    uint64_t took_ms = tpc_clock_mono_ms() - began_ms;
    if (took_ms <= suite->timeout_ms) {
        (void)cli_endpoint_wait(suite->endpoint, &suite->open, UINT32_MAX,
                                (unsigned long)(suite->timeout_ms + LOOK_EVERY_MS - took_ms), NULL);
    }
    if (answers(suite, API_OP_PREPARE, "yes")) {
        (void)answers(suite, API_OP_COMMIT, "committed");
    }
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = LOOK_EVERY_MS * 1000000L}, NULL);
}

/* Until what is read differs from @before. */
static bool wait_until_seen(struct cli_suite *suite, const struct tpc_buf *before)
{
    uint64_t until_ms = tpc_clock_mono_ms() + suite->options.patience_ms;
    struct tpc_buf now = {0};
    bool changed = false;
    while (!changed && cli_look(suite, &now) && tpc_clock_mono_ms() < until_ms) {
        changed = now.size != before->size || memcmp(now.data, before->data, now.size) != 0;
        if (!changed) {
            nap();
        }
    }
    tpc_buf_done(&now);
    return cli_expect(suite, changed, "that the work is seen once commit was the answer",
                      "it is not, after %lu ms", suite->options.patience_ms);
}

static void check_told_commit(struct cli_suite *suite)
{
    struct tpc_buf before = {0}, after = {0};
    bool good = cli_look(suite, &before) && cli_prepare(suite);
    if (good) {
        cli_endpoint_decide(suite->endpoint, &suite->open, API_OUTCOME_COMMIT);
        good = is_asked(suite, 1, NULL);
    }
    if (good && suite->works[CLI_WORK_READS].size > 0) {
        good = wait_until_seen(suite, &before);
    }
    if (good && cli_look(suite, &after) && answers(suite, API_OP_COMMIT, "committed") &&
        suite->works[CLI_WORK_READS].size > 0) {
        (void)cli_expect_seen(suite, &after, false);
    }
    tpc_buf_done(&before);
    tpc_buf_done(&after);
}

static void check_told_abort(struct cli_suite *suite)
{
    struct tpc_buf before = {0};
    struct cli_said said = {0};
    uint64_t until_ms = tpc_clock_mono_ms() + suite->options.patience_ms;
    bool good = cli_look(suite, &before) && cli_prepare(suite), gone = false;
    if (good) {
        cli_endpoint_decide(suite->endpoint, &suite->open, API_OUTCOME_ABORT);
        good = is_asked(suite, 1, NULL);
    }
    while (good && !gone && tpc_clock_mono_ms() < until_ms) {
        good = cli_suite_say(suite, API_OP_PREPARE, &suite->open, CLI_WORK_WRITES, false, &said) &&
               cli_expect_said(suite, &said, "yes|no");
        gone = good && said.answer.vote == API_VOTE_NO;
        cli_said_done(&said, 1);
        if (good && !gone) {
            nap();
        }
    }
    if (good &&
        cli_expect(suite, gone, "that the branch is undone once abort was the answer",
                   "its prepare is still answered yes after %lu ms", suite->options.patience_ms)) {
        (void)cli_expect_seen(suite, &before, false);
    }
    tpc_buf_done(&before);
}

static void check_told_by_another(struct cli_suite *suite)
{
    struct tpc_id other;
    tpc_id_random(&other);
    /* Before the prepare, so that even the first question is answered by another. */
    cli_endpoint_pretend(suite->endpoint, &other);
    if (!cli_prepare(suite)) {
        cli_endpoint_pretend(suite->endpoint, NULL);
        return;
    }
    if (is_asked(suite, 1, NULL)) {
        /* A second question says that the answer to the first one was not believed. */
        (void)cli_endpoint_wait(suite->endpoint, &suite->open, 2, suite->options.patience_ms, NULL);
        if (answers(suite, API_OP_PREPARE, "yes")) {
            (void)is_asked(suite, 2, NULL);
        }
    }
    cli_endpoint_pretend(suite->endpoint, NULL);
    (void)answers(suite, API_OP_COMMIT, "committed");
}

/* ---- Operators ---- */

/* The state of the branch in GET @path; "" when it is not there. False: the check is over. */
static bool shown_state(struct cli_suite *suite, const char *path, char *out, size_t size)
{
    struct api_json *json = NULL;
    char mine[TPC_ID_TEXT];
    int status = cli_suite_call(suite, "GET", path, NULL, &json);
    out[0] = '\0';
    if (status == 404) {
        cli_skip(suite, "it has no /v1/branches");
    }
    bool good = status != 404 && cli_expect(suite, status == 200 && json != NULL,
                                            "200 and JSON to GET /v1/branches", "%d", status);
    const struct api_json *items = good ? api_json_get(json, "items") : NULL;
    tpc_id_format(&suite->open, mine);
    for (const struct api_json *item = items != NULL ? api_json_first(items) : NULL; item != NULL;
         item = api_json_next(item)) {
        const struct api_json *gtid = api_json_get(item, "gtid");
        const struct api_json *state = api_json_get(item, "state");
        if (gtid != NULL && api_json_string(gtid) != NULL && state != NULL &&
            api_json_string(state) != NULL && strcmp(api_json_string(gtid), mine) == 0) {
            snprintf(out, size, "%s", api_json_string(state));
        }
    }
    api_json_free(json);
    return good;
}

static bool expect_shown(struct cli_suite *suite, const char *path, const char *state)
{
    char shown[32], expected[96];
    snprintf(expected, sizeof(expected), "%s in GET %s",
             state[0] != '\0' ? state : "nothing of the branch", path);
    return shown_state(suite, path, shown, sizeof(shown)) &&
           cli_expect(suite, strcmp(shown, state) == 0, expected, "%s",
                      shown[0] != '\0' ? shown : "nothing of the branch");
}

static void check_branches(struct cli_suite *suite)
{
    static const char path[] = "/v1/branches?state=prepared";
    if (cli_prepare(suite) && expect_shown(suite, path, "prepared") &&
        answers(suite, API_OP_COMMIT, "committed")) {
        (void)expect_shown(suite, path, "");
    }
}

static int post(struct cli_suite *suite, const char *what, const char *body)
{
    char path[96], gtid[TPC_ID_TEXT];
    snprintf(path, sizeof(path), "/v1/branches/%s/%s", tpc_id_format(&suite->open, gtid), what);
    return cli_suite_call(suite, "POST", path, body, NULL);
}

/* Against the decision, which must be found out. */
static void check_resolve(struct cli_suite *suite)
{
    struct tpc_buf before = {0};
    if (!cli_look(suite, &before) || !cli_prepare(suite)) {
        tpc_buf_done(&before);
        return;
    }
    int status = post(suite, "resolve",
                      "{\"outcome\":\"abort\",\"reason\":\"conformance\",\"operator\":\"assent\"}");
    if (status == 404 || status == 405 || status == 501) {
        cli_skip(suite, "it has no resolve");
    } else if (cli_expect(suite, status == 200, "200 to resolve", "%d", status) &&
               expect_shown(suite, "/v1/branches", "heuristic_abort") &&
               cli_expect_seen(suite, &before, false) && answers(suite, API_OP_COMMIT, "aborted") &&
               expect_shown(suite, "/v1/branches", "heuristic_abort")) {
        status = post(suite, "forget", NULL);
        if (cli_expect(suite, status == 200, "200 to forget", "%d", status)) {
            (void)expect_shown(suite, "/v1/branches", "");
        }
    }
    tpc_buf_done(&before);
}

static void check_lookup(struct cli_suite *suite)
{
    struct api_json *json = NULL;
    struct tpc_id unknown;
    char body[192], mine[TPC_ID_TEXT], other[TPC_ID_TEXT];
    if (!cli_prepare(suite) || !answers(suite, API_OP_COMMIT, "committed")) {
        return;
    }
    cli_suite_gtid(suite, &unknown);
    snprintf(body, sizeof(body), "{\"gtids\":[\"%s\",\"%s\"]}", tpc_id_format(&suite->open, mine),
             tpc_id_format(&unknown, other));
    int status = cli_suite_call(suite, "POST", "/v1/branches/lookup", body, &json);
    if (status == 404) {
        cli_skip(suite, "it has no /v1/branches/lookup");
    } else if (cli_expect(suite, status == 200 && json != NULL, "200 and JSON to the lookup", "%d",
                          status)) {
        struct tpc_buf text = {0};
        api_json_print(&text, json);
        const char *said = text.data != NULL ? text.data : "";
        cli_expect(suite,
                   strstr(said, mine) != NULL && strstr(said, other) != NULL &&
                       strstr(said, "\"committed\"") != NULL && strstr(said, "\"unknown\"") != NULL,
                   "committed for the one, unknown for the other", "%.600s", said);
        tpc_buf_done(&text);
    }
    api_json_free(json);
}

#define OWN "Write a participant of your own"

const struct cli_conformance_check cli_conformance_doubts[] = {
    {"asks", "a branch in doubt asks, again while undecided, and no time-out ends it",
     OWN ": never end a branch that voted yes because of a time-out", check_asks},
    {"told-commit", "told commit when it asks, it does it, and once", OWN ": at the start",
     check_told_commit},
    {"told-abort", "told abort when it asks, it undoes it", OWN ": at the start", check_told_abort},
    {"told-by-another", "the answer of another coordinator is not believed", OWN ": at the start",
     check_told_by_another},
    {"branches", "GET /v1/branches shows what is in doubt", OWN, check_branches},
    {"resolve", "an outcome by hand is shown, and told to the coordinator, until it is forgotten",
     "The rules: 11", check_resolve},
    {"lookup", "POST /v1/branches/lookup tells how branches ended", OWN, check_lookup},
    {NULL, NULL, NULL, NULL},
};
