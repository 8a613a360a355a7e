/* assent crashtest: the words of its command line. */
#include "cli/args.h"
#include "cli/crashtest/check_show.h"
#include "cli/crashtest/conformance.h"
#include "cli/crashtest/crashtest.h"

#include "base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    FLAG_ONLY,
    FLAG_PROCESS,
    FLAG_POINT,
    FLAG_MESSAGE,
    FLAG_SCENE,
    FLAG_SEED,
    FLAG_FULL,
    FLAG_TIME_LIMIT,
    FLAG_VIOLATIONS,
    FLAG_CLIENTS,
    FLAG_AGENTS,
    FLAG_JOBS,
    FLAG_SERVER,
    FLAG_PARTICIPANT,
    FLAG_COMMAND,
    FLAG_DIALECT,
    FLAG_LIST,
    FLAG_KEEP,
    FLAG_REPORT,
    FLAG_CONFORMANCE,
    FLAG_STATEMENTS,
    FLAG_RESTART,
    FLAG_LISTEN,
    FLAG_PATIENCE,
    FLAG_CHECK,
    FLAG_TABLES,
};

#define DIALECTS "a dialect is sqlite, postgresql or mariadb"

enum { AGENTS = 2, CLIENTS = 6, CLIENTS_MAX = 256, JOBS_MAX = 32, VIOLATIONS = 5 };

static enum cli_exit complain(const char *what, const char *value)
{
    (void)fprintf(stderr, "assent crashtest: %s, not \"%s\"\nSee: assent crashtest --help\n", what,
                  value);
    return CLI_USAGE;
}

static bool parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *ret_value)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = text != NULL ? strtoull(text, &end, 10) : 0;
    if (text == NULL) {
        return true;
    }
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || value < least ||
        value > most) {
        return false;
    }
    *ret_value = value;
    return true;
}

/* ---- Participants ---- */

static const char *const agent_names[] = {"east",  "west",  "north", "south",
                                          "upper", "lower", "inner", "outer"};
enum { AGENTS_MAX = sizeof agent_names / sizeof agent_names[0] };

static struct cli_spec *find_spec(struct cli_setup *setup, const char *name, size_t size)
{
    for (unsigned i = 0; i < setup->spec_count; i++) {
        if (strlen(setup->specs[i].name) == size && memcmp(setup->specs[i].name, name, size) == 0) {
            return &setup->specs[i];
        }
    }
    return NULL;
}

/* An agent of ours beside a server of ours. */
static enum cli_exit add_server(struct cli_setup *setup, const char *value)
{
    static const enum cli_dialect dialects[] = {
        [CLI_ENGINE_POSTGRESQL] = CLI_POSTGRESQL, [CLI_ENGINE_MARIADB] = CLI_MARIADB};
    size_t size = strcspn(value, "=");
    const char *engine = value + size + (value[size] == '=');
    struct cli_spec spec = {0};
    if (size == 0 || size >= CLI_MEMBER_NAME ||
        !cli_engine_parse(engine, strlen(engine), &spec.engine)) {
        return complain("--server takes NAME=postgresql or NAME=mariadb", value);
    }
    if (find_spec(setup, value, size) != NULL || setup->spec_count == CLI_MEMBERS_MAX) {
        return complain("--server takes each name once, and 16 in all", value);
    }
    spec.dialect = dialects[spec.engine];
    (void)snprintf(spec.name, sizeof spec.name, "%.*s", (int)size, value);
    setup->specs[setup->spec_count++] = spec;
    return CLI_OK;
}

static enum cli_exit add_participant(struct cli_setup *setup, const char *value)
{
    size_t size = strcspn(value, "=");
    const char *url = value + size + (value[size] == '=');
    bool good = size > 0 && size < CLI_MEMBER_NAME && strncmp(url, "http://", 7) == 0 &&
                url[7] != '\0' && strlen(url) < 200;
    if (!good) {
        return complain("--participant takes NAME=http://HOST:PORT", value);
    }
    if (find_spec(setup, value, size) != NULL || setup->spec_count == CLI_MEMBERS_MAX) {
        return complain("--participant takes each name once, and 16 in all", value);
    }
    struct cli_spec *spec = &setup->specs[setup->spec_count++];
    *spec = (struct cli_spec){.url = url, .dialect = CLI_SQLITE};
    (void)snprintf(spec->name, sizeof spec->name, "%.*s", (int)size, value);
    return CLI_OK;
}

/* NAME=VALUE of a participant that was named. */
static enum cli_exit describe(struct cli_setup *setup, size_t flag, const char *value)
{
    size_t size = strcspn(value, "=");
    struct cli_spec *spec = find_spec(setup, value, size);
    const char *what = value + size + (value[size] == '=');
    if (spec == NULL || spec->url == NULL || *what == '\0') {
        return complain(flag == FLAG_COMMAND
                            ? "--participant-command takes NAME=COMMAND, NAME as in --participant"
                            : "--dialect takes NAME=DIALECT, NAME as in --participant",
                        value);
    }
    if (flag == FLAG_COMMAND) {
        spec->command = what;
    } else if (!cli_dialect_parse(what, &spec->dialect)) {
        return complain(DIALECTS, what);
    }
    return CLI_OK;
}

/* Agents first: some scenes need one in the first place. */
static void add_agents(struct cli_setup *setup, unsigned count)
{
    for (unsigned i = 0; count > 0 && i < AGENTS_MAX; i++) {
        if (find_spec(setup, agent_names[i], strlen(agent_names[i])) == NULL) {
            struct cli_spec *spec = &setup->specs[setup->spec_count++];
            *spec = (struct cli_spec){.dialect = CLI_SQLITE};
            (void)snprintf(spec->name, sizeof spec->name, "%s", agent_names[i]);
            count--;
        }
    }
}

static enum cli_exit read_participants(const struct cli_call *call, struct cli_setup *setup)
{
    uint64_t agents = AGENTS, named = 0;
    enum cli_exit result = CLI_OK;
    for (size_t i = 0; i < call->many_count && result == CLI_OK; i++) {
        named += call->many[i].flag == FLAG_PARTICIPANT || call->many[i].flag == FLAG_SERVER;
        result =
            call->many[i].flag == FLAG_SERVER ? add_server(setup, call->many[i].value) : CLI_OK;
    }
    if (result != CLI_OK) {
        return result;
    }
    agents = named >= AGENTS ? 0 : AGENTS - named;
    if (!parse_number(call->values[FLAG_AGENTS], named == 0 ? 2 : 0, AGENTS_MAX, &agents)) {
        return complain(
            "--agents takes a number up to 8, and without --participant and --server at "
            "least 2",
            call->values[FLAG_AGENTS]);
    }
    add_agents(setup, (unsigned)agents);
    for (size_t i = 0; i < call->many_count && result == CLI_OK; i++) {
        if (call->many[i].flag == FLAG_PARTICIPANT) {
            result = add_participant(setup, call->many[i].value);
        }
    }
    for (size_t i = 0; i < call->many_count && result == CLI_OK; i++) {
        if (call->many[i].flag != FLAG_PARTICIPANT && call->many[i].flag != FLAG_SERVER) {
            result = describe(setup, call->many[i].flag, call->many[i].value);
        }
    }
    return result;
}

/* ---- What is wanted ---- */

static enum cli_exit read_choice(const struct cli_call *call, struct cli_crashtest *test)
{
    struct cli_choice *choice = &test->choice;
    struct tpc_err err = {0};
    unsigned index;
    *choice = (struct cli_choice){.rows = CLI_ROWS_ALL,
                                  .process = call->values[FLAG_PROCESS],
                                  .scene = call->values[FLAG_SCENE],
                                  .message = CLI_MESSAGE_COUNT,
                                  .full = call->values[FLAG_FULL] != NULL};
    if (call->values[FLAG_ONLY] != NULL) {
        choice->rows = cli_rows_parse(call->values[FLAG_ONLY], &err);
    }
    if (choice->rows == 0) {
        (void)fprintf(stderr, "assent crashtest: %s\n", err.text);
        return CLI_USAGE;
    }
    if (choice->process != NULL && strcmp(choice->process, "coordinator") != 0 &&
        find_spec(&test->setup, choice->process, strlen(choice->process)) == NULL) {
        return complain("--process takes coordinator or a participant", choice->process);
    }
    if (choice->scene != NULL && cli_scene_find(choice->scene, &index) == NULL) {
        return complain("there is no such scene", choice->scene);
    }
    const char *point = call->values[FLAG_POINT], *message = call->values[FLAG_MESSAGE];
    if (point != NULL && !cli_choice_point(choice, point)) {
        return complain("--point takes a failpoint", point);
    }
    if (message != NULL && !cli_choice_message(choice, message)) {
        return complain("--message takes KIND or KIND:N, a kind being prepare, commit, abort, "
                        "inquiry, submit, post, ask, probe or other",
                        message);
    }
    return CLI_OK;
}

static enum cli_exit read_numbers(const struct cli_call *call, struct cli_crashtest *test)
{
    uint64_t clients = CLIENTS, jobs = 0, violations = VIOLATIONS,
             seed = tpc_clock_wall_us() % 1000000;
    unsigned long limit_ms = 0;
    if (!parse_number(call->values[FLAG_CLIENTS], 1, CLIENTS_MAX, &clients)) {
        return complain("--clients takes a number up to 256", call->values[FLAG_CLIENTS]);
    }
    if (!parse_number(call->values[FLAG_VIOLATIONS], 1, UINT32_MAX, &violations)) {
        return complain("--violations takes a number from 1", call->values[FLAG_VIOLATIONS]);
    }
    if (!parse_number(call->values[FLAG_JOBS], 1, JOBS_MAX, &jobs)) {
        return complain("--jobs takes a number up to 32", call->values[FLAG_JOBS]);
    }
    if (!parse_number(call->values[FLAG_SEED], 0, UINT32_MAX, &seed)) {
        return complain("--seed takes a number", call->values[FLAG_SEED]);
    }
    if (call->values[FLAG_TIME_LIMIT] != NULL &&
        !cli_args_duration("time-limit", call->values[FLAG_TIME_LIMIT], &limit_ms)) {
        return CLI_USAGE;
    }
    test->setup.clients = (unsigned)clients;
    test->setup.seed = seed;
    test->jobs = (unsigned)jobs;
    test->violations_max = (unsigned)violations;
    test->time_limit_ms = limit_ms;
    return CLI_OK;
}

/* ---- How it was said ---- */

static void add_word(struct tpc_buf *out, const char *flag, const char *value)
{
    tpc_buf_addf(out, "--%s '", flag);
    for (const char *c = value; *c != '\0'; c++) {
        if (*c == '\'') {
            tpc_buf_adds(out, "'\\''");
        } else {
            tpc_buf_addc(out, *c);
        }
    }
    tpc_buf_adds(out, "' ");
}

/* The flags that describe the configuration, once more. */
static void write_flags(const struct cli_call *call, struct tpc_buf *out)
{
    static const size_t single[] = {FLAG_AGENTS, FLAG_CLIENTS};
    for (size_t i = 0; i < sizeof single / sizeof single[0]; i++) {
        if (call->values[single[i]] != NULL) {
            tpc_buf_addf(out, "--%s %s ", call->command->flags[single[i]].name,
                         call->values[single[i]]);
        }
    }
    for (size_t i = 0; i < call->many_count; i++) {
        add_word(out, call->command->flags[call->many[i].flag].name, call->many[i].value);
    }
}

/* ---- What else there is beside the crash test ---- */

/* Of the flags only those whose bits are set in @mask may be given with @flag. */
static bool goes_with(const struct cli_call *call, size_t flag, unsigned mask)
{
    for (size_t i = 0; call->command->flags[i].name != NULL; i++) {
        if (call->values[i] != NULL && i != flag && (mask >> i & 1) == 0) {
            (void)fprintf(stderr, "assent crashtest: --%s and --%s do not go together\n",
                          call->command->flags[flag].name, call->command->flags[i].name);
            return false;
        }
    }
    return true;
}

static enum cli_exit run_conformance(const struct cli_call *call)
{
    char url[512];
    struct cli_conformance_options options = {.url = url,
                                              .only = call->values[FLAG_ONLY],
                                              .work = call->values[FLAG_STATEMENTS],
                                              .listen = call->values[FLAG_LISTEN],
                                              .restart = call->values[FLAG_RESTART],
                                              .format = call->format};
    const char *patience = call->values[FLAG_PATIENCE];
    bool good = goes_with(call, FLAG_CONFORMANCE,
                          1U << FLAG_ONLY | 1U << FLAG_STATEMENTS | 1U << FLAG_LISTEN |
                              1U << FLAG_RESTART | 1U << FLAG_PATIENCE) &&
                cli_args_url(call->values[FLAG_CONFORMANCE], url, sizeof url) &&
                (patience == NULL || cli_args_duration("patience", patience, &options.patience_ms));
    return good ? cli_conformance_run(&options) : CLI_USAGE;
}

static enum cli_exit run_tables(const struct cli_call *call)
{
    enum cli_dialect dialect;
    struct tpc_buf text = {0};
    if (!cli_dialect_parse(call->values[FLAG_TABLES], &dialect)) {
        return complain(DIALECTS, call->values[FLAG_TABLES]);
    }
    if (!goes_with(call, FLAG_TABLES, 0)) {
        return CLI_USAGE;
    }
    cli_workload_tables(dialect, &text);
    (void)fputs(text.data != NULL ? text.data : "", stdout);
    tpc_buf_done(&text);
    return CLI_OK;
}

static enum cli_exit run_check(const struct cli_call *call)
{
    return goes_with(call, FLAG_CHECK, 0)
               ? cli_crashtest_check(call->values[FLAG_CHECK], call->format)
               : CLI_USAGE;
}

static enum cli_exit run_crashtest(const struct cli_call *call)
{
    struct cli_crashtest test = {.list = call->values[FLAG_LIST] != NULL,
                                 .keep = call->values[FLAG_KEEP] != NULL,
                                 .format = call->format,
                                 .report_path = call->values[FLAG_REPORT]};
    struct tpc_buf flags = {0};
    enum cli_exit result = read_participants(call, &test.setup);
    result = result == CLI_OK ? read_choice(call, &test) : result;
    result = result == CLI_OK ? read_numbers(call, &test) : result;
    if (result == CLI_OK) {
        write_flags(call, &flags);
        test.flags = flags.data != NULL ? flags.data : "";
        result = cli_crashtest_run(&test);
    }
    tpc_buf_done(&flags);
    return result;
}

static enum cli_exit run(const struct cli_call *call)
{
    static const size_t conformance_only[] = {FLAG_STATEMENTS, FLAG_RESTART, FLAG_LISTEN,
                                              FLAG_PATIENCE};
    if (call->values[FLAG_CONFORMANCE] != NULL) {
        return run_conformance(call);
    }
    for (size_t i = 0; i < sizeof conformance_only / sizeof conformance_only[0]; i++) {
        if (call->values[conformance_only[i]] != NULL) {
            return complain("--conformance is missing for this flag",
                            call->command->flags[conformance_only[i]].name);
        }
    }
    return call->values[FLAG_CHECK] != NULL    ? run_check(call)
           : call->values[FLAG_TABLES] != NULL ? run_tables(call)
                                               : run_crashtest(call);
}

static const struct cli_flag flags[] = {
    [FLAG_ONLY] = {"only", "WHAT[,WHAT]",
                   "kill, recovery, server, stop, network, or one kind of message fault", 0},
    [FLAG_PROCESS] = {"process", "NAME", "only what happens to it: coordinator, or a participant",
                      0},
    [FLAG_POINT] = {"point", "NAME", "only kills at this failpoint; A+B: at A, then at B", 0},
    [FLAG_MESSAGE] = {"message", "KIND[:N]", "only faults of these messages, say prepare:1", 0},
    [FLAG_SCENE] = {"scene", "NAME", "only in this scene", 0},
    [FLAG_SEED] = {"seed", "N", "what clients ask for, and which recoveries are tried", 0},
    [FLAG_FULL] = {"full", NULL, "every point in every scene and start, every message: hours", 0},
    [FLAG_TIME_LIMIT] = {"time-limit", "TIME", "begin no further runs after 30s, 10m, 2h", 0},
    [FLAG_VIOLATIONS] = {"violations", "N", "end after so many (5)", 0},
    [FLAG_CLIENTS] = {"clients", "N", "beside each other (6)", 0},
    [FLAG_AGENTS] = {"agents", "N", "SQLite agents of its own (2, less what is named)", 0},
    [FLAG_JOBS] = {"jobs", "N", "runs beside each other (one for each processor)", 0},
    [FLAG_SERVER] = {"server", "NAME=KIND…",
                     "an agent beside a PostgreSQL or MariaDB server of its own, made from the "
                     "installed programs: postgresql or mariadb",
                     0},
    [FLAG_PARTICIPANT] = {"participant", "NAME=URL…", "a participant of yours, and where it serves",
                          0},
    [FLAG_COMMAND] = {"participant-command", "NAME=COMMAND…",
                      "starts it; without, it must run and is never killed", 0},
    [FLAG_DIALECT] = {"dialect", "NAME=DIALECT…", "its SQL: sqlite, postgresql or mariadb", 0},
    [FLAG_LIST] = {"list", NULL, "say what would be injected, and inject nothing", 0},
    [FLAG_KEEP] = {"keep", NULL, "leave all logs and databases behind", 0},
    [FLAG_REPORT] = {"report", "FILE", "write the report there too, as JSON", 0},
    [FLAG_CONFORMANCE] = {"conformance", "URL", "does this participant keep to the protocol?", 0},
    [FLAG_STATEMENTS] = {"statements", "FILE|JSON", "its work, for --conformance (SQL)", 0},
    [FLAG_RESTART] = {"restart-command", "COMMAND", "kills and starts it, for --conformance", 0},
    [FLAG_LISTEN] = {"listen", "ADDRESS", "where it may ask, for --conformance (127.0.0.1)", 0},
    [FLAG_PATIENCE] = {"patience", "TIME", "how long --conformance waits for it (30s)", 0},
    [FLAG_CHECK] = {"check", "FILE", "check a history that was kept", 0},
    [FLAG_TABLES] = {"tables", "DIALECT", "print the tables that clients use, as SQL", 0},
    {NULL, NULL, NULL, 0},
};

const struct cli_command cli_crashtest = {
    .name = "crashtest",
    .summary = "kill everything, everywhere; prove nothing broke",
    .detail =
        "Starts a coordinator and two SQLite agents in a directory of its own, lets clients move\n"
        "money and append to lists, and finds in runs without a fault at which points each "
        "process\n"
        "can be killed and which messages travel. Then, in a new world each time, it kills a\n"
        "process at each point, and again in the recovery from that, stops it past the time-outs,\n"
        "and loses, repeats, delays and cuts messages. After each run whoever died is started\n"
        "again, and everything that is promised has to hold: whole, as it was told, once, nothing\n"
        "in doubt, no lock left. Takes about three minutes on two processors; needs sqlite3.\n\n"
        "Instead, --conformance looks whether a participant, of whatever make, keeps to the\n"
        "protocol (docs/protocol.md), and --check looks at a history that was kept.\n\n"
        "Exit status 1: something did not hold. It is told with its seed, a command that repeats\n"
        "it, and a directory with the logs and databases of that run.\n",
    .flags = flags,
    .run = run,
};
