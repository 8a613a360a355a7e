/* assentd: the coordinator daemon. Its settings and its command line. */
#include "coordinator/daemon.h"

#include "base/config.h"
#include "base/log.h"

#include <stdio.h>

enum { EXIT_USAGE = 2 };

#define OPT(n, t, m) .name = (n), .type = (t), .offset = offsetof(struct coord_settings, m)

static const struct tpc_opt options[] = {
    {OPT("data", TPC_OPT_STRING, data), .default_text = "./assent-data", .argument = "DIR",
     .help = "the directory of the log; made when missing"},
    {OPT("listen", TPC_OPT_STRING, listen), .default_text = "127.0.0.1:7400", .argument = "ADDR",
     .help = "where to serve; port 0 takes any free one"},
    {OPT("admin-listen", TPC_OPT_STRING, admin_listen), .argument = "ADDR",
     .help = "serve /livez /readyz /metrics here too, however full the main listener is"},
    {OPT("advertise", TPC_OPT_STRING, advertise), .argument = "URL",
     .help = "where participants reach this coordinator; by default the listen address"},
    {OPT("participant", TPC_OPT_LIST, participants), .yaml_name = "participants",
     .argument = "NAME=URL", .help = "register a participant"},
    {OPT("timeout", TPC_OPT_DURATION, timeout_ms), .default_text = "10s", .argument = "TIME",
     .min = 1, .max = 86400000, .help = "of a transaction that does not say its own"},
    {OPT("timeout-max", TPC_OPT_DURATION, timeout_max_ms), .default_text = "1h", .argument = "TIME",
     .min = 1, .max = 86400000, .help = "the longest a transaction may ask for"},
    {OPT("retention", TPC_OPT_DURATION, retention_ms), .default_text = "1h", .argument = "TIME",
     .min = 1000, .help = "how long ended transactions and their keys are known"},
    {OPT("retained-max", TPC_OPT_UINT, retained_max), .default_text = "1000000", .argument = "N",
     .min = 1, .help = "most ended transactions without a key that are known"},
    {OPT("keys-max", TPC_OPT_UINT, keys_max), .default_text = "4000000", .argument = "N", .min = 1,
     .help = "most Idempotency-Keys that are known; beyond, a new one is refused"},
    {OPT("results-max", TPC_OPT_SIZE, results_max_bytes), .default_text = "64M", .argument = "SIZE",
     .help = "memory for results of ended transactions, for replays"},
    {OPT("transactions-max", TPC_OPT_UINT, transactions_max), .default_text = "10000",
     .argument = "N", .min = 1, .help = "most transactions in flight"},
    {OPT("connections-max", TPC_OPT_UINT, connections_max), .default_text = "1000", .argument = "N",
     .min = 4, .max = 100000, .help = "most connections"},
    {OPT("waiters-max", TPC_OPT_UINT, waiters_max), .default_text = "20000", .argument = "N",
     .min = 1, .help = "most requests that wait for a transaction"},
    {OPT("participants-max", TPC_OPT_UINT, participants_max), .default_text = "256",
     .argument = "N", .min = 1, .max = 10000, .help = "most registered participants"},
    {OPT("body-max", TPC_OPT_SIZE, body_max_bytes), .default_text = "4M", .argument = "SIZE",
     .min = 1024, .max = 1 << 30, .help = "largest body of a request"},
    {OPT("branches-max", TPC_OPT_UINT, branches_max), .default_text = "64", .argument = "N",
     .min = 1, .max = COORD_BRANCHES_MAX, .help = "most branches of a transaction"},
    {OPT("statements-max", TPC_OPT_UINT, statements_max), .default_text = "1000", .argument = "N",
     .min = 1, .max = 100000, .help = "most statements of a branch"},
    {OPT("attempts-max", TPC_OPT_UINT, attempts_max), .default_text = "100", .argument = "N",
     .min = 1, .max = 1000000, .help = "most attempts of a transaction refused for conflict"},
    {OPT("batch-max", TPC_OPT_UINT, batch_max), .default_text = "500", .argument = "N", .min = 1,
     .max = 1000, .help = "most messages in one request to a participant"},
    {OPT("lanes-max", TPC_OPT_UINT, lanes_max), .default_text = "32", .argument = "N", .min = 1,
     .max = 1000, .help = "most requests under way to a participant, prepares and outcomes each"},
    {OPT("log-queue-max", TPC_OPT_SIZE, queue_max_bytes), .default_text = "256M",
     .argument = "SIZE", .min = 1 << 20, .help = "memory for records that wait for the log"},
    {OPT("drain", TPC_OPT_DURATION, drain_ms), .default_text = "10s", .argument = "TIME",
     .help = "how long SIGTERM waits for transactions to end"},
    {OPT("log-level", TPC_OPT_STRING, log_level), .default_text = "info", .argument = "LEVEL",
     .help = "debug, info, warn or error"},
    {OPT("log-format", TPC_OPT_STRING, log_format), .default_text = "logfmt", .argument = "FORMAT",
     .help = "logfmt or json"},
    {OPT("failpoints", TPC_OPT_STRING, failpoints), .argument = "SPEC",
     .help = "for tests: NAME=[N*]kill|error|delay(MS)|hang|trace;…"},
    {.name = NULL},
};

/* ---- The command line ---- */

static enum tpc_rc setup(const struct coord_settings *settings, struct tpc_err *reterr)
{
    enum tpc_log_level level = TPC_LOG_INFO;
    enum tpc_log_format format = TPC_LOG_LOGFMT;
    if (!tpc_log_parse_level(settings->log_level, &level)) {
        return tpc_fail(reterr, TPC_EINVAL, "--log-level %s: use debug, info, warn or error",
                        settings->log_level);
    }
    if (!tpc_log_parse_format(settings->log_format, &format)) {
        return tpc_fail(reterr, TPC_EINVAL, "--log-format %s: use logfmt or json",
                        settings->log_format);
    }
    if (settings->timeout_ms > settings->timeout_max_ms) {
        return tpc_fail(reterr, TPC_EINVAL, "--timeout is longer than --timeout-max");
    }
    tpc_log_setup(level, format);
    return settings->failpoints != NULL ? tpc_fp_arm(settings->failpoints, reterr) : TPC_OK;
}

static int run_command(const struct tpc_config_result *result,
                       const struct coord_settings *settings)
{
    struct tpc_err err = {0};
    if (result->help) {
        tpc_config_help(options, "assentd [--data DIR] [--listen ADDR] [--participant NAME=URL]…",
                        stdout);
    } else if (result->version) {
        (void)printf("assentd %s\n", ASSENT_VERSION);
    } else if (result->list_failpoints) {
        tpc_fp_list();
    } else if (result->positional_count > 0) {
        (void)fprintf(stderr, "assentd: unexpected '%s'; see assentd --help\n",
                      result->positional[0]);
        return EXIT_USAGE;
    } else if (setup(settings, &err) != TPC_OK) {
        (void)fprintf(stderr, "assentd: %s\n", err.text);
        return EXIT_USAGE;
    } else if (result->print_config) {
        tpc_config_print(options, settings, stdout);
    } else if (result->check_config) {
        (void)printf("the configuration is good\n");
    } else {
        return coord_daemon_run(settings);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct coord_settings settings = {0};
    struct tpc_config_result result = {0};
    struct tpc_err err = {0};
    tpc_fp_register(coord_failpoints, COORD_FP_COUNT);
    if (tpc_config_load(options, &settings, argc, argv, &result, &err) != TPC_OK) {
        (void)fprintf(stderr, "assentd: %s\n", err.text);
        tpc_config_done(options, &settings);
        tpc_config_result_done(&result);
        return EXIT_USAGE;
    }
    int status = run_command(&result, &settings);
    tpc_config_done(options, &settings);
    tpc_config_result_done(&result);
    return status;
}
