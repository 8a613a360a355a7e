#include "cli/crashtest/conformance_internal.h"

#include "base/clock.h"
#include "cli/out.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATIENCE_MS = 30000,
    TIMEOUT_MS = 60000,
    WORK_BYTES_MAX = 1 << 20,
    FIRST_GENERATION = 5,
    BEGAN_US = 1000
};

static const char default_work[] =
    "{\"writes\":[{\"sql\":\"UPDATE crashtest_accounts SET balance = balance + 1 WHERE id = 1\","
    "\"expect\":{\"rows\":1}}],"
    "\"reads\":[{\"sql\":\"SELECT balance FROM crashtest_accounts WHERE id = 1\"}],"
    "\"refused\":[{\"sql\":\"UPDATE crashtest_accounts SET balance = balance - 1000000000 "
    "WHERE id = 1\"}]}";

/* ---- The work ---- */

static bool read_file(const char *path, struct tpc_buf *out)
{
    FILE *file = fopen(path, "re");
    char bytes[4096];
    size_t got = 1;
    while (file != NULL && got > 0 && out->size <= WORK_BYTES_MAX) {
        got = fread(bytes, 1, sizeof(bytes), file);
        tpc_buf_add(out, bytes, got);
    }
    bool good = file != NULL && !ferror(file) && !out->failed && out->size <= WORK_BYTES_MAX;
    if (!good) {
        fprintf(stderr, "assent crashtest: cannot read %s: %s\n", path,
                file != NULL && errno == 0 ? "too large" : strerror(errno));
    }
    if (file != NULL) {
        fclose(file);
    }
    return good;
}

static bool take_work(struct cli_suite *suite, const struct api_json *member)
{
    static const char *const names[CLI_WORK_COUNT] = {"", "writes", "reads", "refused"};
    for (unsigned i = 1; i < CLI_WORK_COUNT; i++) {
        if (strcmp(api_json_name(member), names[i]) != 0) {
            continue;
        }
        if (api_json_type(member) == API_JSON_ARRAY) {
            api_json_print(&suite->works[i], member);
        }
        return api_json_type(member) == API_JSON_ARRAY || api_json_type(member) == API_JSON_NULL;
    }
    return false;
}

static bool read_work(struct cli_suite *suite)
{
    struct tpc_buf text = {0};
    struct tpc_err err = {0};
    struct api_json *root = NULL;
    const char *work = suite->options.work != NULL ? suite->options.work : default_work;
    bool good = true;
    if (work[0] == '{') {
        tpc_buf_adds(&text, work);
    } else {
        good = read_file(work, &text);
    }
    if (good && api_json_parse(text.data, text.size, &root, &err) != TPC_OK) {
        fprintf(stderr, "assent crashtest: --statements: %s\n", err.text);
        good = false;
    }
    const struct api_json *member = root != NULL ? api_json_first(root) : NULL;
    for (; good && member != NULL; member = api_json_next(member)) {
        good = take_work(suite, member);
        if (!good) {
            fprintf(stderr, "assent crashtest: --statements has the members writes, reads and "
                            "refused, each a list of statements or null\n");
        }
    }
    api_json_free(root);
    tpc_buf_done(&text);
    return good;
}

/* ---- What came out ---- */

static const char *result_of(const struct cli_suite *suite)
{
    return suite->failed ? "fail" : suite->skipped ? "skip" : "pass";
}

static void add_member(struct tpc_buf *out, const char *name, const char *value)
{
    if (value[0] != '\0') {
        api_jw_key(out, name);
        api_jw_str(out, value);
    }
}

static void write_json(struct tpc_buf *out, const struct cli_suite *suite,
                       const struct cli_conformance_check *check)
{
    api_jw_open(out, '{');
    add_member(out, "name", check->name);
    add_member(out, "result", result_of(suite));
    add_member(out, "what", check->what);
    add_member(out, "clause", check->clause);
    if (suite->failed) {
        add_member(out, "expected", suite->expected);
        add_member(out, "came", suite->came);
    } else if (suite->skipped) {
        add_member(out, "why", suite->came);
    }
    api_jw_close(out, '}');
}

/* What another program said, so that it cannot drive the terminal. */
static void print_quoted(const char *label, const char *text)
{
    printf("      %-9s ", label);
    for (const char *c = text; *c != '\0'; c++) {
        putchar((unsigned char)*c < 0x20 || *c == 0x7f ? ' ' : *c);
    }
    putchar('\n');
}

static void print_line(const struct cli_suite *suite, const struct cli_conformance_check *check)
{
    cli_print_state(result_of(suite));
    printf("  %-19s  %s\n", check->name, check->what);
    if (suite->failed) {
        print_quoted("expected", suite->expected);
        print_quoted("came", suite->came);
        printf("      see docs/protocol.md, %s\n", check->clause);
    } else if (suite->skipped) {
        print_quoted("because", suite->came);
    }
    fflush(stdout);
}

struct outcome {
    struct tpc_buf json; /* the checks, with -o json */
    unsigned passed, failed, skipped;
};

static void tell(struct outcome *outcome, const struct cli_suite *suite,
                 const struct cli_conformance_check *check)
{
    outcome->failed += suite->failed;
    outcome->skipped += suite->skipped;
    outcome->passed += !suite->failed && !suite->skipped;
    if (suite->options.format == CLI_TABLE) {
        print_line(suite, check);
    } else if (suite->options.format == CLI_JSON) {
        write_json(&outcome->json, suite, check);
    } else {
        struct tpc_buf line = {0};
        write_json(&line, suite, check);
        printf("%s\n", line.data != NULL ? line.data : "");
        fflush(stdout);
        tpc_buf_done(&line);
    }
}

static void tell_end(struct outcome *outcome, const struct cli_suite *suite)
{
    char id[TPC_ID_TEXT];
    struct api_json *document = NULL;
    if (suite->options.format == CLI_TABLE) {
        printf("%u passed, %u failed, %u skipped\n", outcome->passed, outcome->failed,
               outcome->skipped);
        if (suite->works[CLI_WORK_READS].size == 0) {
            puts("Without \"reads\" nobody looked at what the work does.");
        }
    }
    if (suite->options.format == CLI_JSON) {
        struct tpc_buf text = {0};
        api_jw_open(&text, '{');
        add_member(&text, "url", suite->options.url);
        add_member(&text, "participant_id", tpc_id_format(&suite->participant_id, id));
        tpc_buf_addf(&text, ",\"passed\":%u,\"failed\":%u,\"skipped\":%u,\"checks\":[%s]}",
                     outcome->passed, outcome->failed, outcome->skipped,
                     outcome->json.data != NULL ? outcome->json.data : "");
        if (api_json_parse(text.data, text.size, &document, NULL) == TPC_OK) {
            cli_print_json(CLI_JSON, document);
        }
        api_json_free(document);
        tpc_buf_done(&text);
    }
    tpc_buf_done(&outcome->json);
}

/* ---- Running ---- */

/* End what a check has left, so that the next one finds its rows free. */
static void end_branch(struct cli_suite *suite, const struct tpc_id *gtid)
{
    struct cli_said said = {0};
    cli_endpoint_decide(suite->endpoint, gtid, API_OUTCOME_ABORT);
    (void)cli_suite_say(suite, API_OP_ABORT, gtid, CLI_WORK_NONE, false, &said);
    cli_said_done(&said, 1);
}

/* Is @name among @names, which have commas between? */
static bool is_wanted(const char *names, const char *name)
{
    size_t size = strlen(name);
    for (const char *at = names; at != NULL && *at != '\0'; at += *at == ',') {
        if (strcspn(at, ",") == size && memcmp(at, name, size) == 0) {
            return true;
        }
        at += strcspn(at, ",");
    }
    return names == NULL;
}

static void run_check(struct cli_suite *suite, struct outcome *outcome,
                      const struct cli_conformance_check *check)
{
    suite->failed = suite->skipped = suite->held = false;
    suite->open = (struct tpc_id){0};
    suite->expected[0] = suite->came[0] = '\0';
    suite->timeout_ms = TIMEOUT_MS;
    suite->began_us = BEGAN_US;
    check->run(suite);
    tell(outcome, suite, check);
    if (suite->held) {
        end_branch(suite, &suite->open);
    }
}

static const struct cli_conformance_check *const groups[] = {
    cli_conformance_basics, cli_conformance_doubts, cli_conformance_restart};
enum { GROUPS = sizeof(groups) / sizeof(groups[0]) };

static void run_all(struct cli_suite *suite, struct outcome *outcome)
{
    for (size_t i = 0; i < GROUPS; i++) {
        for (const struct cli_conformance_check *check = groups[i]; check->name != NULL; check++) {
            if (is_wanted(suite->options.only, check->name)) {
                run_check(suite, outcome, check);
            }
        }
    }
    if (suite->restart.held) {
        end_branch(suite, &suite->restart.prepared);
    }
}

static enum cli_exit open_suite(struct cli_suite *suite)
{
    struct tpc_err err = {0};
    const char *listen = suite->options.listen != NULL ? suite->options.listen : "127.0.0.1:0";
    if (!read_work(suite)) {
        return CLI_USAGE;
    }
    suite->http = cli_http_new();
    if (suite->http == NULL || cli_endpoint_start(listen, &suite->endpoint, &err) != TPC_OK) {
        fprintf(stderr, "assent crashtest: %s\n", err.text[0] != '\0' ? err.text : "out of memory");
        return CLI_ERROR;
    }
    tpc_id_random(&suite->self.id);
    tpc_id_random(&suite->self.nonce);
    suite->self.generation = FIRST_GENERATION;
    snprintf(suite->self.url, sizeof(suite->self.url), "%s", cli_endpoint_url(suite->endpoint));
    cli_endpoint_be(suite->endpoint, &suite->self);
    if (cli_suite_call(suite, "GET", "/readyz", NULL, NULL) == 0) {
        fprintf(stderr, "assent crashtest: nobody answers at %s\n", suite->options.url);
        return CLI_UNREACHABLE;
    }
    return CLI_OK;
}

/* Is there a check of each of the names in @only? */
static bool are_checks(const char *only)
{
    for (const char *at = only; only != NULL && *at != '\0'; at += *at == ',') {
        size_t size = strcspn(at, ",");
        bool found = false;
        for (size_t i = 0; i < GROUPS; i++) {
            for (const struct cli_conformance_check *check = groups[i]; check->name != NULL;
                 check++) {
                found =
                    found || (strlen(check->name) == size && memcmp(check->name, at, size) == 0);
            }
        }
        if (!found) {
            fprintf(stderr, "assent crashtest: there is no check \"%.*s\"\n", (int)size, at);
            return false;
        }
        at += size;
    }
    return true;
}

enum cli_exit cli_conformance_run(const struct cli_conformance_options *options)
{
    struct cli_suite suite = {.options = *options};
    struct outcome outcome = {0};
    if (!are_checks(options->only)) {
        return CLI_USAGE;
    }
    suite.options.patience_ms = options->patience_ms != 0 ? options->patience_ms : PATIENCE_MS;
    enum cli_exit result = open_suite(&suite);
    if (result == CLI_OK) {
        run_all(&suite, &outcome);
        tell_end(&outcome, &suite);
        result = outcome.failed > 0 ? CLI_ERROR : CLI_OK;
    }
    if (suite.endpoint != NULL) {
        cli_endpoint_stop(suite.endpoint);
    }
    cli_http_free(suite.http);
    tpc_buf_done(&suite.restart.seen);
    for (unsigned i = 0; i < CLI_WORK_COUNT; i++) {
        tpc_buf_done(&suite.works[i]);
    }
    return result;
}
