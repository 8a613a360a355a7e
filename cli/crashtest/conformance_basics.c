/* What is asked in messages and answered at once. */
#include "cli/crashtest/conformance_internal.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { RIVAL_MS = 200 };

#define PREPARE API_OP_PREPARE
#define COMMIT  API_OP_COMMIT
#define ABORT   API_OP_ABORT
#define WRITES  CLI_WORK_WRITES
#define NOTHING CLI_WORK_NONE

static bool answers(struct cli_suite *suite, enum api_op op, enum cli_work work,
                    const char *expected)
{
    return cli_expect_answer(suite, op, &suite->open, work, false, expected);
}

static bool answers_one_phase(struct cli_suite *suite, enum api_op op, enum cli_work work,
                              const char *expected)
{
    return cli_expect_answer(suite, op, &suite->open, work, true, expected);
}

static void new_branch(struct cli_suite *suite)
{
    cli_suite_gtid(suite, &suite->open);
}

/* ---- Operations ---- */

static void check_ready(struct cli_suite *suite)
{
    int status = cli_suite_call(suite, "GET", "/readyz", NULL, NULL);
    cli_expect(suite, status == 200, "200 to GET /readyz", "%d", status);
}

static void check_live(struct cli_suite *suite)
{
    int status = cli_suite_call(suite, "GET", "/livez", NULL, NULL);
    if (status == 404) {
        cli_skip(suite, "it has no /livez");
    } else {
        cli_expect(suite, status == 200, "200 to GET /livez", "%d", status);
    }
}

/* ---- Two phases ---- */

static void check_commit(struct cli_suite *suite)
{
    struct tpc_buf before = {0};
    if (cli_look(suite, &before) && cli_prepare(suite) && cli_expect_seen(suite, &before, false) &&
        answers(suite, COMMIT, NOTHING, "committed")) {
        (void)cli_expect_seen(suite, &before, true);
    }
    tpc_buf_done(&before);
}

static void check_commit_again(struct cli_suite *suite)
{
    struct tpc_buf after = {0};
    if (cli_prepare(suite) && answers(suite, COMMIT, NOTHING, "committed") &&
        cli_look(suite, &after) && answers(suite, COMMIT, NOTHING, "committed") &&
        answers(suite, COMMIT, NOTHING, "committed")) {
        (void)cli_expect_seen(suite, &after, false);
    }
    tpc_buf_done(&after);
}

static void check_prepare_again(struct cli_suite *suite)
{
    struct tpc_buf before = {0}, after = {0};
    if (cli_look(suite, &before) && cli_prepare(suite) && answers(suite, PREPARE, WRITES, "yes") &&
        answers(suite, PREPARE, WRITES, "yes") && answers(suite, ABORT, NOTHING, "aborted") &&
        cli_expect_seen(suite, &before, false) && cli_prepare(suite) &&
        answers(suite, COMMIT, NOTHING, "committed") && cli_look(suite, &after) &&
        answers(suite, PREPARE, WRITES, "yes")) {
        (void)cli_expect_seen(suite, &after, false);
    }
    tpc_buf_done(&before);
    tpc_buf_done(&after);
}

static void check_abort(struct cli_suite *suite)
{
    struct tpc_buf before = {0};
    if (cli_look(suite, &before) && cli_prepare(suite) &&
        answers(suite, ABORT, NOTHING, "aborted") && answers(suite, ABORT, NOTHING, "aborted") &&
        answers(suite, PREPARE, WRITES, "no")) {
        (void)cli_expect_seen(suite, &before, false);
    }
    tpc_buf_done(&before);
}

static void check_commit_after_abort(struct cli_suite *suite)
{
    struct tpc_buf before = {0};
    if (cli_look(suite, &before) && cli_prepare(suite) &&
        answers(suite, ABORT, NOTHING, "aborted") &&
        answers(suite, COMMIT, NOTHING, "aborted|unknown|protocol")) {
        (void)cli_expect_seen(suite, &before, false);
    }
    tpc_buf_done(&before);
}

static void check_refused(struct cli_suite *suite)
{
    struct cli_said said = {0};
    new_branch(suite);
    if (cli_needs(suite, CLI_WORK_REFUSED) &&
        cli_suite_say(suite, PREPARE, &suite->open, CLI_WORK_REFUSED, false, &said) &&
        cli_expect_said(suite, &said, "no")) {
        (void)cli_expect(suite, strstr(said.line, "\"cause\"") != NULL, "a cause with the no", "%s",
                         said.line);
        (void)answers(suite, PREPARE, CLI_WORK_REFUSED, "no");
        (void)answers(suite, COMMIT, NOTHING, "aborted|unknown|protocol");
    }
    cli_said_done(&said, 1);
}

static void check_reads(struct cli_suite *suite)
{
    struct cli_said said = {0};
    new_branch(suite);
    if (cli_needs(suite, CLI_WORK_READS) &&
        cli_suite_say(suite, PREPARE, &suite->open, CLI_WORK_READS, false, &said) &&
        cli_expect_said(suite, &said, "read_only|yes")) {
        (void)cli_expect(suite, said.answer.results != NULL, "results of what was read", "%s",
                         said.line);
    }
    cli_said_done(&said, 1);
}

/* ---- What is not known ---- */

static void check_commit_unknown(struct cli_suite *suite)
{
    new_branch(suite);
    (void)answers(suite, COMMIT, NOTHING, "unknown");
}

static void check_abort_unknown(struct cli_suite *suite)
{
    new_branch(suite);
    if (answers(suite, ABORT, NOTHING, "aborted") && cli_needs(suite, WRITES)) {
        (void)answers(suite, PREPARE, WRITES, "no");
    }
}

static void check_invalid_gtid(struct cli_suite *suite)
{
    struct cli_say messages[3] = {{.op = ABORT}, {.op = ABORT, .bad_gtid = "17"}, {.op = COMMIT}};
    struct cli_said said[3] = {0};
    cli_suite_gtid(suite, &messages[0].gtid);
    cli_suite_gtid(suite, &messages[2].gtid);
    if (cli_suite_send(suite, NULL, messages, 3, said)) {
        (void)cli_expect_said(suite, &said[0], "aborted");
        (void)cli_expect_said(suite, &said[1], "invalid_gtid");
        (void)cli_expect_said(suite, &said[2], "unknown");
    }
    cli_said_done(said, 3);
}

static void check_batch(struct cli_suite *suite)
{
    struct cli_say messages[5] = {{.op = PREPARE, .work = WRITES},
                                  {.op = ABORT},
                                  {.op = COMMIT},
                                  {.op = ABORT},
                                  {.op = COMMIT}};
    static const char *const expected[5] = {"yes", "aborted", "unknown", "aborted", "unknown"};
    struct cli_said said[5] = {0};
    if (!cli_needs(suite, WRITES)) {
        return;
    }
    for (size_t i = 0; i < 5; i++) {
        cli_suite_gtid(suite, &messages[i].gtid);
    }
    suite->open = messages[0].gtid;
    bool good = cli_suite_send(suite, NULL, messages, 5, said);
    for (size_t i = 0; i < 5 && good; i++) {
        (void)cli_expect_said(suite, &said[i], expected[i]);
    }
    cli_said_done(said, 5);
}

/* ---- One phase ---- */

static void check_one_phase(struct cli_suite *suite)
{
    struct tpc_buf before = {0}, after = {0};
    new_branch(suite);
    if (cli_needs(suite, WRITES) && cli_look(suite, &before) &&
        answers_one_phase(suite, PREPARE, WRITES, "committed") &&
        cli_expect_seen(suite, &before, true) && cli_look(suite, &after) &&
        answers_one_phase(suite, PREPARE, WRITES, "committed") &&
        answers_one_phase(suite, ABORT, NOTHING, "committed")) {
        (void)cli_expect_seen(suite, &after, false);
    }
    tpc_buf_done(&before);
    tpc_buf_done(&after);
}

static void check_one_phase_refused(struct cli_suite *suite)
{
    struct tpc_buf before = {0};
    new_branch(suite);
    if (cli_needs(suite, WRITES) && cli_needs(suite, CLI_WORK_REFUSED) &&
        cli_look(suite, &before) && answers_one_phase(suite, PREPARE, CLI_WORK_REFUSED, "no") &&
        answers_one_phase(suite, PREPARE, CLI_WORK_REFUSED, "no") &&
        answers_one_phase(suite, ABORT, NOTHING, "aborted")) {
        (void)cli_expect_seen(suite, &before, false);
    }
    tpc_buf_done(&before);
}

static void check_one_phase_overtaken(struct cli_suite *suite)
{
    new_branch(suite);
    if (cli_needs(suite, WRITES) && answers_one_phase(suite, ABORT, NOTHING, "aborted")) {
        (void)answers_one_phase(suite, PREPARE, WRITES, "no");
    }
}

static void check_one_phase_reads(struct cli_suite *suite)
{
    new_branch(suite);
    if (cli_needs(suite, CLI_WORK_READS)) {
        (void)answers_one_phase(suite, PREPARE, CLI_WORK_READS, "read_only|committed");
    }
}

/* ---- Beside each other ---- */

/* An older branch that wants what the prepared one holds, on a connection of its own. */
struct rival {
    struct cli_suite suite; /* a copy, so that it fails by itself */
    struct tpc_id gtid;
    struct cli_said said;
};

static void *run_rival(void *arg)
{
    struct rival *rival = arg;
    (void)cli_suite_say(&rival->suite, PREPARE, &rival->gtid, WRITES, false, &rival->said);
    return NULL;
}

/* It may wait, or be refused; the decision of the one that it waits for must come through. */
static void check_conflict(struct cli_suite *suite)
{
    struct rival rival = {.suite = *suite};
    pthread_t thread;
    if (!cli_prepare(suite)) {
        return;
    }
    cli_suite_gtid(suite, &rival.gtid);
    rival.suite.open = rival.gtid;
    rival.suite.began_us--; /* older, so it should wait and not be refused */
    rival.suite.participant_id = suite->participant_id;
    rival.suite.http = cli_http_new();
    if (!cli_expect(suite,
                    rival.suite.http != NULL &&
                        pthread_create(&thread, NULL, run_rival, &rival) == 0,
                    "a second connection", "none could be made")) {
        cli_http_free(rival.suite.http);
        return;
    }
    /* Time to begin waiting. Should it come later it finds nothing to wait for, which is right too.
     */
    nanosleep(&(struct timespec){.tv_nsec = RIVAL_MS * 1000000L}, NULL);
    bool committed = answers(suite, COMMIT, NOTHING, "committed");
    pthread_join(thread, NULL);
    cli_http_free(rival.suite.http);
    if (committed &&
        cli_expect(suite, !rival.suite.failed, rival.suite.expected, "%s", rival.suite.came)) {
        (void)cli_expect_said(suite, &rival.said, "yes|no");
    }
    suite->open = rival.gtid;
    suite->held = rival.suite.held;
    cli_said_done(&rival.said, 1);
}

/* ---- Other coordinators, and other starts of ours ---- */

/* One message of @who about the branch that is prepared. */
static bool says(struct cli_suite *suite, const struct api_coordinator *who, enum api_op op,
                 const char *expected)
{
    const struct cli_say message = {.op = op, .gtid = suite->open};
    struct cli_said said = {0};
    bool good =
        cli_suite_send(suite, who, &message, 1, &said) && cli_expect_said(suite, &said, expected);
    if (good && said.answer.error == API_ERROR_LOG_SET_BACK) {
        good = cli_expect(suite, said.answer.generation_seen == suite->self.generation,
                          "the generation that was seen, as generation_seen", "%s", said.line);
    }
    cli_said_done(&said, 1);
    return good;
}

/* Nothing has changed: the branch is still prepared, and ours. */
static void commits_all_the_same(struct cli_suite *suite)
{
    if (answers(suite, PREPARE, WRITES, "yes")) {
        (void)answers(suite, COMMIT, NOTHING, "committed");
    }
}

static void check_wrong_coordinator(struct cli_suite *suite)
{
    struct api_coordinator other = suite->self;
    tpc_id_random(&other.id);
    tpc_id_random(&other.nonce);
    if (cli_prepare(suite) && says(suite, &other, COMMIT, "wrong_coordinator") &&
        says(suite, &other, ABORT, "wrong_coordinator")) {
        commits_all_the_same(suite);
    }
}

static void check_set_back(struct cli_suite *suite)
{
    struct api_coordinator old = suite->self;
    old.generation--;
    tpc_id_random(&old.nonce);
    if (cli_prepare(suite) && says(suite, &old, COMMIT, "log_set_back") &&
        says(suite, &old, ABORT, "log_set_back")) {
        commits_all_the_same(suite);
    }
}

static void check_other_nonce(struct cli_suite *suite)
{
    struct api_coordinator copy = suite->self;
    tpc_id_random(&copy.nonce);
    if (cli_prepare(suite) && says(suite, &copy, COMMIT, "log_set_back") &&
        says(suite, &copy, ABORT, "log_set_back")) {
        commits_all_the_same(suite);
    }
}

static void check_next_generation(struct cli_suite *suite)
{
    struct api_coordinator before = suite->self;
    if (!cli_prepare(suite)) {
        return;
    }
    suite->self.generation++;
    tpc_id_random(&suite->self.nonce);
    cli_endpoint_be(suite->endpoint, &suite->self);
    if (answers(suite, COMMIT, NOTHING, "committed")) {
        (void)says(suite, &before, COMMIT, "log_set_back");
    }
}

/* ---- Other logs of the participant, and forgetting ---- */

static bool says_for(struct cli_suite *suite, enum api_op op, const struct tpc_id *gtid,
                     const struct tpc_id *log, const char *expected)
{
    bool prepares = op == PREPARE;
    const struct cli_say message = {.op = op,
                                    .gtid = *gtid,
                                    .work = prepares ? WRITES : NOTHING,
                                    .one_phase = prepares,
                                    .log = log};
    struct cli_said said = {0};
    bool good =
        cli_suite_send(suite, NULL, &message, 1, &said) && cli_expect_said(suite, &said, expected);
    cli_said_done(&said, 1);
    return good;
}

static void check_wrong_participant(struct cli_suite *suite)
{
    struct tpc_id other, gtid;
    struct tpc_buf before = {0};
    tpc_id_random(&other);
    cli_suite_gtid(suite, &gtid);
    if (cli_look(suite, &before) && cli_needs(suite, WRITES) &&
        says_for(suite, PREPARE, &gtid, &other, "wrong_participant") && cli_prepare(suite) &&
        says_for(suite, COMMIT, &suite->open, &other, "wrong_participant") &&
        answers(suite, PREPARE, WRITES, "yes") && cli_expect_seen(suite, &before, false) &&
        says_for(suite, COMMIT, &suite->open, &suite->participant_id, "committed")) {
        /* Of what it has done it finds the proof, whichever log was meant. */
        (void)says_for(suite, COMMIT, &suite->open, &other, "committed");
    }
    tpc_buf_done(&before);
}

/* Whether it forgets or not: what has been done is not done again, and later ones are taken. */
static void check_forgotten(struct cli_suite *suite)
{
    struct tpc_buf seen = {0};
    if (!cli_prepare(suite) || !answers(suite, COMMIT, NOTHING, "committed") ||
        !cli_look(suite, &seen)) {
        tpc_buf_done(&seen);
        return;
    }
    struct tpc_id done = suite->open;
    cli_suite_gtid(suite, &suite->self.forgotten_below);
    cli_endpoint_be(suite->endpoint, &suite->self);
    if (cli_expect_answer(suite, PREPARE, &done, WRITES, false, "yes|no") &&
        cli_expect_seen(suite, &seen, false) && cli_prepare(suite) &&
        answers(suite, COMMIT, NOTHING, "committed")) {
        (void)cli_expect_seen(suite, &seen, true);
    }
    tpc_buf_done(&seen);
}

#define MESSAGES "Messages"
#define OWN      "Write a participant of your own"
#define IDENTITY "Identity"

const struct cli_conformance_check cli_conformance_basics[] = {
    {"ready", "GET /readyz is 200 when it takes work", OWN, check_ready},
    {"live", "GET /livez is 200 while it runs", OWN, check_live},
    {"commit", "what was prepared is seen after the commit, and not before", OWN ": commit",
     check_commit},
    {"commit-again", "a repeated commit is answered as the first, and done once",
     OWN ": repeated messages", check_commit_again},
    {"prepare-again", "a repeated prepare is answered as the first, and done once",
     OWN ": repeated messages", check_prepare_again},
    {"abort", "what was prepared is gone after the abort, and its prepare is refused",
     OWN ": abort", check_abort},
    {"commit-after-abort", "what was aborted is never said to be committed", OWN ": commit",
     check_commit_after_abort},
    {"refused", "work that fails is a no with a cause", OWN ": prepare", check_refused},
    {"reads", "a branch that only reads gives its results", OWN ": prepare", check_reads},
    {"commit-unknown", "the commit of an unknown branch is answered unknown",
     OWN ": commit of a branch that is not prepared here", check_commit_unknown},
    {"abort-unknown", "the abort of an unknown branch leaves a note: its prepare is refused",
     OWN ": abort", check_abort_unknown},
    {"invalid-gtid", "a gtid that is no UUID is refused on its own line", MESSAGES,
     check_invalid_gtid},
    {"batch", "a group of messages is answered with one line for each", MESSAGES, check_batch},
    {"one-phase", "a prepare with one_phase is done at once, and once",
     OWN ": prepare with one_phase", check_one_phase},
    {"one-phase-refused", "a refusal with one_phase stays one", OWN ": prepare with one_phase",
     check_one_phase_refused},
    {"one-phase-overtaken", "an abort with one_phase that comes first refuses the prepare",
     OWN ": abort", check_one_phase_overtaken},
    {"one-phase-reads", "a branch that only reads may have one phase", MESSAGES,
     check_one_phase_reads},
    {"conflict", "a branch that waits for another one does not hold up that one's commit",
     OWN ": wait or refuse by age", check_conflict},
    {"wrong-coordinator", "another coordinator is refused, and nothing changes", IDENTITY,
     check_wrong_coordinator},
    {"wrong-participant", "what is for another log than its own is refused, and nothing changes",
     OWN ": messages for another log", check_wrong_participant},
    {"forgotten", "what the coordinator has forgotten is not done again", "Forgetting",
     check_forgotten},
    {"set-back", "a lower generation is refused, and nothing changes", IDENTITY, check_set_back},
    {"other-nonce", "the same generation with another nonce is refused, and nothing changes",
     IDENTITY, check_other_nonce},
    {"next-generation", "the next start of the coordinator decides, and the one before no more",
     IDENTITY, check_next_generation},
    {NULL, NULL, NULL, NULL},
};
