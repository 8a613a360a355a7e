/* Between the files of the conformance suite; nobody else includes this. */
#ifndef ASSENT_CLI_CRASHTEST_CONFORMANCE_INTERNAL_H
#define ASSENT_CLI_CRASHTEST_CONFORMANCE_INTERNAL_H

#include "cli/crashtest/conformance.h"
#include "cli/crashtest/conformance_endpoint.h"
#include "cli/http.h"

enum cli_work { CLI_WORK_NONE, CLI_WORK_WRITES, CLI_WORK_READS, CLI_WORK_REFUSED, CLI_WORK_COUNT };

enum { CLI_SAID_MAX = 8 };

struct cli_suite {
    struct cli_conformance_options options;
    struct cli_http *http;
    struct cli_endpoint *endpoint;
    struct api_coordinator self;
    struct tpc_id_gen gtids;
    struct tpc_buf works[CLI_WORK_COUNT]; /* statements as JSON; empty: there is no such work */
    struct tpc_id participant_id;         /* zero: not heard of yet */
    /* Of the check that runs. */
    bool failed, skipped;
    char expected[256], came[1024]; /* the first that was not as it should be; or why skipped */
    struct tpc_id open;             /* the branch that it is about */
    bool held;                      /* it said yes, and has not been told how it ends */
    unsigned long timeout_ms;       /* of a prepare */
    uint64_t began_us;              /* of a prepare: its age */
    /* Of the checks that need a restart, which share one (conformance_restart.c). */
    struct cli_restart {
        bool done, failed;
        bool held; /* the prepared one has not been told how it ends */
        struct tpc_id committed, one_phase, refused, prepared;
        unsigned asked; /* about the prepared one, before the restart */
        struct tpc_buf seen;
    } restart;
};

/* One check. */
struct cli_conformance_check {
    const char *name;
    const char *what;   /* "a repeated commit is answered as the first" */
    const char *clause; /* of docs/protocol.md */
    void (*run)(struct cli_suite *suite);
};
extern const struct cli_conformance_check cli_conformance_basics[];  /* ended by name == NULL */
extern const struct cli_conformance_check cli_conformance_doubts[];  /* in doubt, operators */
extern const struct cli_conformance_check cli_conformance_restart[]; /* what survives */

/* ---- Asking (conformance_ask.c); what cannot be asked fails the check ---- */

struct cli_say {
    enum api_op op;
    struct tpc_id gtid;
    const char *bad_gtid; /* instead of it */
    enum cli_work work;
    bool one_phase;
    const struct tpc_id *log; /* the participant that it is for; NULL: not said */
};

struct cli_said {
    bool good; /* the line could be read */
    struct api_answer answer;
    char line[512]; /* as it came, cut */
};

void cli_suite_gtid(struct cli_suite *suite, struct tpc_id *ret_gtid);
/* Send @count messages as @who (NULL: ourselves) in one request. @ret_said gets the lines in the
 * order of the messages. False, and the check has failed, when not exactly one line came for each.
 */
bool cli_suite_send(struct cli_suite *suite, const struct api_coordinator *who,
                    const struct cli_say *messages, size_t count, struct cli_said *ret_said);
/* One message as ourselves. */
bool cli_suite_say(struct cli_suite *suite, enum api_op op, const struct tpc_id *gtid,
                   enum cli_work work, bool one_phase, struct cli_said *ret_said);
void cli_said_done(struct cli_said *said, size_t count);

/* GET or POST of @path; the status, 0 when there is no answer. @ret_json may be NULL. */
int cli_suite_call(struct cli_suite *suite, const char *method, const char *path, const char *body,
                   struct api_json **ret_json);

/* ---- Expecting; each returns whether it is so, and the check has failed otherwise ---- */

bool cli_expect(struct cli_suite *suite, bool is_so, const char *expected, const char *format, ...)
    TPC_PRINTF(4, 5);
/* Send one message and expect an answer: one of "yes", "no", "read_only", "committed", "aborted",
 * "unknown", the name of an error, or several of them with "|" between. */
bool cli_expect_answer(struct cli_suite *suite, enum api_op op, const struct tpc_id *gtid,
                       enum cli_work work, bool one_phase, const char *answers);
bool cli_expect_said(struct cli_suite *suite, const struct cli_said *said, const char *answers);
/* A branch that writes is prepared; its gtid is suite->open. */
bool cli_prepare(struct cli_suite *suite);
/* What "reads" shows now, as text; "" when there is no such work. False: the check has failed. */
bool cli_look(struct cli_suite *suite, struct tpc_buf *ret_seen);
/* What is seen now must be as in @before (or, with @changed, not). */
bool cli_expect_seen(struct cli_suite *suite, const struct tpc_buf *before, bool changed);
bool cli_needs(struct cli_suite *suite, enum cli_work work); /* else the check is skipped */
void cli_skip(struct cli_suite *suite, const char *why);

#endif
