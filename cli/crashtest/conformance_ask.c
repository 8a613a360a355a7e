#include "cli/crashtest/conformance_internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cli_suite_gtid(struct cli_suite *suite, struct tpc_id *ret_gtid)
{
    tpc_id_gen_next(&suite->gtids, tpc_clock_wall_us() / 1000, ret_gtid);
}

void cli_skip(struct cli_suite *suite, const char *why)
{
    if (!suite->failed && !suite->skipped) {
        suite->skipped = true;
        snprintf(suite->came, sizeof(suite->came), "%s", why);
    }
}

bool cli_needs(struct cli_suite *suite, enum cli_work work)
{
    static const char *const names[] = {"", "writes", "reads", "refused"};
    char why[64];
    bool there = suite->works[work].size > 0;
    if (!there) {
        snprintf(why, sizeof(why), "the statements have no \"%s\"", names[work]);
        cli_skip(suite, why);
    }
    return there;
}

bool cli_expect(struct cli_suite *suite, bool is_so, const char *expected, const char *format, ...)
{
    if (!is_so && !suite->failed) {
        va_list args;
        suite->failed = true;
        suite->skipped = false;
        snprintf(suite->expected, sizeof(suite->expected), "%s", expected);
        va_start(args, format);
        vsnprintf(suite->came, sizeof(suite->came), format, args);
        va_end(args);
    }
    return is_so;
}

/* ---- Messages ---- */

static void write_one(struct cli_suite *suite, struct tpc_buf *out, const struct cli_say *say)
{
    const struct tpc_buf *work = &suite->works[say->work];
    struct api_message message = {.op = say->op,
                                  .gtid_valid = true,
                                  .gtid = say->gtid,
                                  .began_us = suite->began_us,
                                  .timeout_ms = suite->timeout_ms,
                                  .one_phase = say->one_phase};
    if (say->log != NULL) {
        message.participant_id = *say->log;
    }
    if (say->bad_gtid != NULL) {
        api_jw_open(out, '{');
        api_jw_key(out, "op");
        api_jw_str(out, api_op_name(say->op));
        api_jw_key(out, "gtid");
        api_jw_str(out, say->bad_gtid);
        api_jw_close(out, '}');
        return;
    }
    api_message_write(out, &message, say->work != CLI_WORK_NONE ? work->data : NULL, work->size);
}

static bool is_about(const struct api_answer *answer, const struct cli_say *say)
{
    if (answer->op != say->op) {
        return false;
    }
    return say->bad_gtid != NULL
               ? !answer->gtid_valid && strcmp(answer->gtid_text, say->bad_gtid) == 0
               : answer->gtid_valid && tpc_id_equal(&answer->gtid, &say->gtid);
}

static bool check_participant(struct cli_suite *suite, const struct tpc_id *id)
{
    char before[TPC_ID_TEXT], now[TPC_ID_TEXT];
    if (tpc_id_is_zero(&suite->participant_id)) {
        suite->participant_id = *id;
    }
    return cli_expect(suite, tpc_id_equal(&suite->participant_id, id),
                      "the same participant_id in every answer", "%s, and before %s",
                      tpc_id_format(id, now), tpc_id_format(&suite->participant_id, before));
}

/* Is there a branch to be ended when the check is over? */
static void note_held(struct cli_suite *suite, const struct api_answer *answer)
{
    if (answer->gtid_valid && tpc_id_equal(&answer->gtid, &suite->open)) {
        suite->held = (suite->held || answer->vote == API_VOTE_YES) &&
                      answer->state == API_STATE_NONE && answer->vote != API_VOTE_NO;
    }
}

/* One line of the answer to the message that it is about. */
static bool take_line(struct cli_suite *suite, const struct cli_say *messages, size_t count,
                      const char *line, size_t size, struct cli_said *ret_said)
{
    struct tpc_err err = {0};
    struct api_answer answer;
    if (!cli_expect(suite, api_answer_decode(line, size, &answer, &err) == TPC_OK,
                    "a line that can be understood", "%.200s: %.*s", err.text,
                    (int)(size < 600 ? size : 600), line)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!ret_said[i].good && is_about(&answer, &messages[i])) {
            ret_said[i].good = true;
            ret_said[i].answer = answer;
            note_held(suite, &answer);
            snprintf(ret_said[i].line, sizeof(ret_said[i].line), "%.*s", (int)size, line);
            return check_participant(suite, &answer.participant_id);
        }
    }
    api_answer_done(&answer);
    return cli_expect(suite, false, "one line for each message, with its op and gtid", "%.*s",
                      (int)(size < 800 ? size : 800), line);
}

static bool take_lines(struct cli_suite *suite, const struct cli_say *messages, size_t count,
                       const struct cli_answer *answer, struct cli_said *ret_said)
{
    const char *at = answer->body.data != NULL ? answer->body.data : "";
    size_t lines = 0;
    while (*at != '\0') {
        size_t size = strcspn(at, "\n");
        if (size > 0 && !take_line(suite, messages, count, at, size, ret_said)) {
            return false;
        }
        lines += size > 0;
        at += size + (at[size] == '\n');
    }
    return cli_expect(suite, lines == count, "one line for each message",
                      "%zu lines for %zu: %.800s", lines, count,
                      answer->body.data != NULL ? answer->body.data : "");
}

bool cli_suite_send(struct cli_suite *suite, const struct api_coordinator *who,
                    const struct cli_say *messages, size_t count, struct cli_said *ret_said)
{
    struct tpc_buf body = {0};
    struct tpc_err err = {0};
    struct cli_answer answer = {0};
    char url[600];
    memset(ret_said, 0, count * sizeof(*ret_said));
    snprintf(url, sizeof(url), "%s/v1/messages", suite->options.url);
    api_envelope_begin(&body, who != NULL ? who : &suite->self);
    for (size_t i = 0; i < count; i++) {
        write_one(suite, &body, &messages[i]);
    }
    api_envelope_end(&body);
    const struct cli_request request = {.method = "POST",
                                        .url = url,
                                        .body = body.data,
                                        .body_size = body.size,
                                        .timeout_ms = suite->options.patience_ms};
    enum tpc_rc rc = body.failed ? TPC_ENOMEM : cli_http_do(suite->http, &request, &answer, &err);
    bool good = cli_expect(suite, rc == TPC_OK, "an answer to POST /v1/messages", "%.300s",
                           rc == TPC_ENOMEM ? "out of memory" : err.text) &&
                cli_expect(suite, answer.status == 200, "status 200", "%d: %.500s", answer.status,
                           answer.body.data != NULL ? answer.body.data : "") &&
                take_lines(suite, messages, count, &answer, ret_said);
    cli_answer_done(&answer);
    tpc_buf_done(&body);
    return good;
}

bool cli_suite_say(struct cli_suite *suite, enum api_op op, const struct tpc_id *gtid,
                   enum cli_work work, bool one_phase, struct cli_said *ret_said)
{
    const struct cli_say message = {.op = op, .gtid = *gtid, .work = work, .one_phase = one_phase};
    return cli_suite_send(suite, NULL, &message, 1, ret_said);
}

void cli_said_done(struct cli_said *said, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (said[i].good) {
            api_answer_done(&said[i].answer);
        }
    }
}

int cli_suite_call(struct cli_suite *suite, const char *method, const char *path, const char *body,
                   struct api_json **ret_json)
{
    struct cli_answer answer;
    char url[700];
    snprintf(url, sizeof(url), "%s%s", suite->options.url, path);
    const struct cli_request request = {.method = method,
                                        .url = url,
                                        .body = body,
                                        .body_size = body != NULL ? strlen(body) : 0,
                                        .timeout_ms = suite->options.patience_ms};
    int status = cli_http_do(suite->http, &request, &answer, NULL) == TPC_OK ? answer.status : 0;
    if (ret_json != NULL &&
        (answer.body.size == 0 ||
         api_json_parse(answer.body.data, answer.body.size, ret_json, NULL) != TPC_OK)) {
        *ret_json = NULL;
    }
    cli_answer_done(&answer);
    return status;
}

/* ---- Expecting answers ---- */

static const char *answer_word(const struct api_answer *answer)
{
    static const char *const votes[] = {"", "yes", "no", "read_only", "committed"};
    static const char *const states[] = {"", "committed", "aborted", "unknown"};
    static const char *const errors[] = {[API_ERROR_WRONG_COORDINATOR] = "wrong_coordinator",
                                         [API_ERROR_WRONG_PARTICIPANT] = "wrong_participant",
                                         [API_ERROR_LOG_SET_BACK] = "log_set_back",
                                         [API_ERROR_INVALID_GTID] = "invalid_gtid",
                                         [API_ERROR_PROTOCOL] = "protocol"};
    bool named =
        answer->error < sizeof(errors) / sizeof(errors[0]) && errors[answer->error] != NULL;
    return answer->error != API_ERROR_NONE ? (named ? errors[answer->error] : "another error")
           : answer->vote != API_VOTE_NONE ? votes[answer->vote]
                                           : states[answer->state];
}

/* Is @word among @words, which have '|' between them? */
static bool is_among(const char *word, const char *words)
{
    size_t size = strlen(word);
    for (const char *at = words; *at != '\0'; at += at[strcspn(at, "|")] == '|') {
        if (strncmp(at, word, size) == 0 && (at[size] == '|' || at[size] == '\0')) {
            return true;
        }
        at += strcspn(at, "|");
    }
    return false;
}

bool cli_expect_said(struct cli_suite *suite, const struct cli_said *said, const char *answers)
{
    char expected[160];
    snprintf(expected, sizeof(expected), "%s to %s", answers, api_op_name(said->answer.op));
    return cli_expect(suite, is_among(answer_word(&said->answer), answers), expected, "%s",
                      said->line);
}

bool cli_expect_answer(struct cli_suite *suite, enum api_op op, const struct tpc_id *gtid,
                       enum cli_work work, bool one_phase, const char *answers)
{
    struct cli_said said;
    bool good = cli_suite_say(suite, op, gtid, work, one_phase, &said) &&
                cli_expect_said(suite, &said, answers);
    cli_said_done(&said, 1);
    return good;
}

bool cli_prepare(struct cli_suite *suite)
{
    suite->held = false;
    cli_suite_gtid(suite, &suite->open);
    return cli_needs(suite, CLI_WORK_WRITES) &&
           cli_expect_answer(suite, API_OP_PREPARE, &suite->open, CLI_WORK_WRITES, false, "yes");
}

/* ---- What is seen ---- */

bool cli_look(struct cli_suite *suite, struct tpc_buf *ret_seen)
{
    struct cli_said said;
    struct tpc_id gtid;
    tpc_buf_clear(ret_seen);
    if (suite->works[CLI_WORK_READS].size == 0) {
        return true;
    }
    cli_suite_gtid(suite, &gtid);
    bool good = cli_suite_say(suite, API_OP_PREPARE, &gtid, CLI_WORK_READS, false, &said) &&
                cli_expect_said(suite, &said, "read_only|yes");
    if (good && said.answer.results != NULL) {
        tpc_buf_add(ret_seen, said.answer.results, said.answer.results_size);
    }
    bool held = good && said.answer.vote == API_VOTE_YES;
    cli_said_done(&said, 1);
    return good && (!held ||
                    cli_expect_answer(suite, API_OP_ABORT, &gtid, CLI_WORK_NONE, false, "aborted"));
}

bool cli_expect_seen(struct cli_suite *suite, const struct tpc_buf *before, bool changed)
{
    struct tpc_buf now = {0};
    bool good = cli_look(suite, &now);
    bool same = before->size == now.size &&
                (now.size == 0 || memcmp(before->data, now.data, now.size) == 0);
    if (good && suite->works[CLI_WORK_READS].size > 0) {
        good = cli_expect(suite, same != changed,
                          changed ? "that the work is seen" : "that what is read is as before",
                          "%.400s, and before %.400s", now.data != NULL ? now.data : "nothing",
                          before->data != NULL ? before->data : "nothing");
    }
    tpc_buf_done(&now);
    return good;
}
