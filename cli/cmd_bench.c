/* assent bench: the words of its command line. */
#include "cli/args.h"
#include "cli/bench/bench.h"
#include "cli/bench/noop.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FLAG_CLIENTS,
    FLAG_RATE,
    FLAG_SECONDS,
    FLAG_WARM_UP,
    FLAG_ACK,
    FLAG_TIMEOUT,
    FLAG_ACCOUNTS,
    FLAG_RESOURCE,
    FLAG_PARTICIPANTS,
    FLAG_PARTICIPANT,
    FLAG_COORDINATOR_FLAG,
    FLAG_AGENT_FLAG,
    FLAG_PID,
    FLAG_DIRECTORY,
    FLAG_KEEP,
    FLAG_TABLES,
    FLAG_SERVE_NOOP,
};

enum {
    CLIENTS = 16,
    CLIENTS_MAX = 20000,
    CLIENTS_AT_RATE = 256,
    RATE_MAX = 1000000,
    SECONDS = 10,
    SECONDS_MAX = 86400,
    WARM_UP_MS = 2000,
    ACCOUNTS = 10000,
    ACCOUNTS_MAX = 10000000,
    TIMEOUT_MS = 10000,
};

static enum cli_exit complain(const char *what, const char *value)
{
    (void)fprintf(stderr, "assent bench: %s, not \"%s\"\nSee: assent bench --help\n", what, value);
    return CLI_USAGE;
}

/* A whole number in these bounds; what was not given leaves it as it is. */
static bool parse_number(const char *text, unsigned least, unsigned most, unsigned *ret_value)
{
    if (text == NULL) {
        return true;
    }
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || value < least ||
        value > most) {
        return false;
    }
    *ret_value = (unsigned)value;
    return true;
}

static enum cli_exit read_numbers(const struct cli_call *call, struct cli_bench *bench)
{
    const struct {
        size_t flag;
        unsigned least, most;
        unsigned *value;
        const char *words;
    } numbers[] = {
        {FLAG_RATE, 1, RATE_MAX, &bench->drive.rate, "--rate takes a number a second"},
        {FLAG_CLIENTS, 1, CLIENTS_MAX, &bench->drive.clients,
         "--clients takes a number up to 20000"},
        {FLAG_ACCOUNTS, 1, ACCOUNTS_MAX, &bench->drive.load.accounts,
         "--accounts takes a number up to 10000000"},
        {FLAG_PARTICIPANTS, 2, CLI_BENCH_MEMBERS_MAX, &bench->drive.load.member_count,
         "--participants takes a number from 2 to 32"},
    };
    unsigned seconds = SECONDS;
    unsigned long warm_up_ms = WARM_UP_MS, timeout_ms = TIMEOUT_MS;
    bench->drive.clients = call->values[FLAG_RATE] != NULL ? CLIENTS_AT_RATE : CLIENTS;
    bench->drive.load.accounts = ACCOUNTS;
    bench->drive.load.member_count = cli_load_members(bench->drive.load.load);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (!parse_number(call->values[numbers[i].flag], numbers[i].least, numbers[i].most,
                          numbers[i].value)) {
            return complain(numbers[i].words, call->values[numbers[i].flag]);
        }
    }
    if (!parse_number(call->values[FLAG_SECONDS], 1, SECONDS_MAX, &seconds)) {
        return complain("--seconds takes a whole number", call->values[FLAG_SECONDS]);
    }
    if ((call->values[FLAG_WARM_UP] != NULL &&
         !cli_args_duration("warm-up", call->values[FLAG_WARM_UP], &warm_up_ms)) ||
        (call->values[FLAG_TIMEOUT] != NULL &&
         !cli_args_duration("timeout", call->values[FLAG_TIMEOUT], &timeout_ms))) {
        return CLI_USAGE;
    }
    bench->drive.run_us = seconds * UINT64_C(1000000);
    bench->drive.warm_up_us = warm_up_ms * UINT64_C(1000);
    bench->drive.load.timeout_ms = (unsigned)timeout_ms;
    return CLI_OK;
}

/* ---- Who takes part ---- */

/* "NAME[=DIALECT]" */
static enum cli_exit read_member(const char *value, const char *flag,
                                 struct cli_load_member *ret_member)
{
    char words[128];
    size_t size = strcspn(value, "=");
    enum cli_bench_sql sql =
        value[size] == '=' ? cli_bench_sql_parse(value + size + 1) : CLI_BENCH_SQLITE;
    if (size == 0 || size >= sizeof ret_member->name || sql == CLI_BENCH_SQLS) {
        (void)snprintf(words, sizeof words, "--%s takes NAME or NAME=sqlite|postgresql|mariadb",
                       flag);
        return complain(words, value);
    }
    (void)snprintf(ret_member->name, sizeof ret_member->name, "%.*s", (int)size, value);
    ret_member->sql = sql;
    return CLI_OK;
}

static enum cli_exit add_member(struct cli_load_options *load, const char *value)
{
    if (load->member_count == CLI_BENCH_MEMBERS_MAX) {
        return complain("--participant can be given 32 times", value);
    }
    return read_member(value, "participant", &load->members[load->member_count++]);
}

static enum cli_exit add_pid(struct cli_bench *bench, const char *value)
{
    const char *number = strchr(value, '=');
    unsigned pid = 0;
    if (number == NULL || number == value || (size_t)(number - value) >= CLI_BENCH_NAME ||
        !parse_number(number + 1, 1, INT32_MAX, &pid) ||
        bench->pid_count == CLI_SAMPLE_PROCESSES_MAX) {
        return complain("--pid takes NAME=PID", value);
    }
    struct cli_sample_process *process = &bench->pids[bench->pid_count++];
    (void)snprintf(process->name, sizeof process->name, "%.*s", (int)(number - value), value);
    process->pid = (pid_t)pid;
    return CLI_OK;
}

static enum cli_exit add_resource(struct cli_bench_plan *plan, const char *value)
{
    if (cli_bench_resource_sql(value) == CLI_BENCH_SQLS ||
        plan->resource_count == CLI_BENCH_MEMBERS_MAX) {
        return complain("--resource takes sqlite, or a postgresql:// or mariadb:// URL", value);
    }
    plan->resources[plan->resource_count++] = value;
    return CLI_OK;
}

static enum cli_exit add_extra(const char **extras, const char *value)
{
    size_t count = 0;
    while (extras[count] != NULL) {
        count++;
    }
    if (count == CLI_BENCH_EXTRA_MAX) {
        return complain("so many flags cannot be handed on", value);
    }
    extras[count] = value;
    return CLI_OK;
}

static enum cli_exit read_many(const struct cli_call *call, struct cli_bench *bench)
{
    enum cli_exit result = CLI_OK;
    if (call->values[FLAG_PARTICIPANT] != NULL) {
        bench->drive.load.member_count = 0;
    }
    for (size_t i = 0; i < call->many_count && result == CLI_OK; i++) {
        const char *value = call->many[i].value;
        switch (call->many[i].flag) {
        case FLAG_PARTICIPANT:
            result = add_member(&bench->drive.load, value);
            break;
        case FLAG_PID:
            result = add_pid(bench, value);
            break;
        case FLAG_RESOURCE:
            result = add_resource(&bench->plan, value);
            break;
        case FLAG_COORDINATOR_FLAG:
            result = add_extra(bench->plan.coordinator_flags, value);
            break;
        default:
            result = add_extra(bench->plan.agent_flags, value);
            break;
        }
    }
    if (bench->plan.resource_count == 0) {
        bench->plan.resources[bench->plan.resource_count++] = "sqlite";
    }
    return result;
}

/* With --participant the load goes to a coordinator that runs; without, everything is started. */
static enum cli_exit read_place(const struct cli_call *call, struct cli_bench *bench)
{
    static const size_t ours[] = {FLAG_RESOURCE,   FLAG_PARTICIPANTS, FLAG_COORDINATOR_FLAG,
                                  FLAG_AGENT_FLAG, FLAG_DIRECTORY,    FLAG_KEEP,
                                  FLAG_ACCOUNTS};
    if (call->values[FLAG_PARTICIPANT] == NULL) {
        if (call->url_given) {
            return complain("name participants of it with --participant to load a coordinator",
                            call->url);
        }
        bench->plan.noop = bench->drive.load.load == CLI_LOAD_NOOP;
        bench->plan.parent = call->values[FLAG_DIRECTORY];
        return call->values[FLAG_RESOURCE] != NULL && bench->plan.noop
                   ? complain("noop has participants of its own and takes no --resource",
                              call->values[FLAG_RESOURCE])
                   : CLI_OK;
    }
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (call->values[ours[i]] != NULL) {
            (void)fprintf(stderr,
                          "assent bench: --participant is for a coordinator that runs already, and "
                          "--%s for one that is started here\n",
                          call->command->flags[ours[i]].name);
            return CLI_USAGE;
        }
    }
    if (bench->drive.load.member_count < 2) {
        return complain("a transaction needs two participants: give --participant twice",
                        call->values[FLAG_PARTICIPANT]);
    }
    bench->url = call->url;
    return CLI_OK;
}

/* ---- What else there is ---- */

static enum cli_exit print_tables(const struct cli_call *call)
{
    struct cli_load_member member;
    struct tpc_buf text = {0};
    unsigned accounts = ACCOUNTS;
    enum cli_exit result = read_member(call->values[FLAG_TABLES], "tables", &member);
    if (result == CLI_OK &&
        !parse_number(call->values[FLAG_ACCOUNTS], 1, ACCOUNTS_MAX, &accounts)) {
        result = complain("--accounts takes a number up to 10000000", call->values[FLAG_ACCOUNTS]);
    }
    if (result == CLI_OK) {
        cli_load_table(&member, accounts, &text);
        (void)fputs(text.data != NULL ? text.data : "", stdout);
        tpc_buf_done(&text);
    }
    return result;
}

static enum cli_exit serve_noop(const char *listen)
{
    struct tpc_err err = {0};
    if (cli_noop_serve(listen, &err) != TPC_OK) {
        (void)fprintf(stderr, "assent bench: %s\n", err.text);
        return CLI_ERROR;
    }
    return CLI_OK;
}

static enum cli_exit read_words(const struct cli_call *call, struct cli_bench *bench)
{
    const char *ack = call->values[FLAG_ACK];
    bench->drive.load.load = call->word_count > 0 ? cli_load_parse(call->words[0]) : CLI_LOAD_COUNT;
    if (bench->drive.load.load == CLI_LOAD_COUNT) {
        return complain("a workload is transfer, hot, wide, noop or read",
                        call->word_count > 0 ? call->words[0] : "");
    }
    if (ack != NULL && strcmp(ack, "applied") != 0 && strcmp(ack, "decided") != 0) {
        return complain("--ack takes applied or decided", ack);
    }
    bench->drive.load.decided = ack != NULL && strcmp(ack, "decided") == 0;
    bench->drive.live = isatty(STDERR_FILENO);
    bench->format = call->format;
    bench->keep = call->values[FLAG_KEEP] != NULL;
    return CLI_OK;
}

static enum cli_exit run(const struct cli_call *call)
{
    static struct cli_bench bench;
    if (call->values[FLAG_TABLES] != NULL) {
        return print_tables(call);
    }
    if (call->values[FLAG_SERVE_NOOP] != NULL) {
        return serve_noop(call->values[FLAG_SERVE_NOOP]);
    }
    enum cli_exit result = read_words(call, &bench);
    result = result == CLI_OK ? read_numbers(call, &bench) : result;
    result = result == CLI_OK ? read_many(call, &bench) : result;
    result = result == CLI_OK ? read_place(call, &bench) : result;
    return result == CLI_OK ? cli_bench_run(&bench) : result;
}

static const struct cli_flag flags[] = {
    [FLAG_CLIENTS] = {"clients", "N", "at once (16; at a rate 256, at most)", 0},
    [FLAG_RATE] = {"rate", "N", "so many a second, whatever becomes of them", 0},
    [FLAG_SECONDS] = {"seconds", "N", "measured (10)", 0},
    [FLAG_WARM_UP] = {"warm-up", "TIME", "before that (2s)", 0},
    [FLAG_ACK] = {"ack", "WHEN", "answers come when a transaction is applied (default) or decided",
                  0},
    [FLAG_TIMEOUT] = {"timeout", "TIME", "of a transaction (10s)", 0},
    [FLAG_ACCOUNTS] = {"accounts", "N", "of each participant (10000)", 0},
    [FLAG_RESOURCE] = {"resource", "RESOURCE…",
                       "what participants are around, in turn: sqlite (the default), or the "
                       "postgresql:// or mariadb:// URL of a database",
                       0},
    [FLAG_PARTICIPANTS] = {"participants", "N", "how many (2; wide 8)", 0},
    [FLAG_PARTICIPANT] = {"participant", "NAME[=DIALECT]…",
                          "a participant of the coordinator at --url; nothing is started", 0},
    [FLAG_COORDINATOR_FLAG] = {"coordinator-flag", "FLAG…", "handed on to assentd", 0},
    [FLAG_AGENT_FLAG] = {"agent-flag", "FLAG…", "handed on to each assent-agent", 0},
    [FLAG_PID] = {"pid", "NAME=PID…", "count the processor time of this process and all below it",
                  0},
    [FLAG_DIRECTORY] = {"directory", "DIR", "where logs and databases are made (TMPDIR)", 0},
    [FLAG_KEEP] = {"keep", NULL, "leave them behind", 0},
    [FLAG_TABLES] = {"tables", "NAME[=DIALECT]", "print a participant's table, as SQL", 0},
    [FLAG_SERVE_NOOP] = {"serve-noop", "ADDRESS",
                         "be a participant that keeps nothing, at any path of ADDRESS", 0},
    {NULL, NULL, NULL, 0},
};

const struct cli_command cli_bench = {
    .name = "bench",
    .words = "WORKLOAD",
    .words_max = 1,
    .summary = "load generator with percentiles",
    .detail =
        "Workloads:\n"
        "  transfer   a row updated at each of two participants\n"
        "  hot        the same, all on ten accounts: conflicts, waits, retries\n"
        "  wide       a row updated at every participant\n"
        "  noop       two participants that vote yes and keep nothing: the coordinator alone\n"
        "  read       a SELECT at each of two participants\n\n"
        "Starts a coordinator and agents around SQLite files in a directory of its own; with\n"
        "--resource around databases at servers, in which it makes tables and drops them again.\n"
        "With --participant it loads the coordinator at --url; its tables are made before, from\n"
        "what --tables prints.\n\n"
        "Clients begin a transaction when their last one has ended. With --rate transactions "
        "begin\n"
        "by the clock, and latency counts from when they should have begun.\n\n"
        "In the end the accounts are added up: exit status 1 when money was made or lost, or a\n"
        "participant does not hold what was told. Needs sqlite3, psql or mariadb for the tables.\n",
    .flags = flags,
    .run = run,
};
