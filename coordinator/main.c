/* assentd: the coordinator daemon. Its settings and its command line. */
#include "coordinator/daemon.h"

#include <stddef.h>

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
    {OPT("open-max", TPC_OPT_UINT, open_max), .default_text = "1000", .argument = "N", .min = 1,
     .help = "most interactive transactions that are open"},
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
     .max = 1000, .help = "most requests under way to a participant, of each sort"},
    {OPT("log-queue-max", TPC_OPT_SIZE, queue_max_bytes), .default_text = "256M",
     .argument = "SIZE", .min = 1 << 20, .help = "memory for records that wait for the log"},
    {OPT("drain", TPC_OPT_DURATION, drain_ms), .default_text = "10s", .argument = "TIME",
     .help = "how long SIGTERM waits for transactions to end"},
    TPC_COMMON_OPTIONS(offsetof(struct coord_settings, common)),
    {.name = NULL},
};

static enum tpc_rc check(const void *arg, struct tpc_err *reterr)
{
    const struct coord_settings *settings = arg;
    if (settings->timeout_ms > settings->timeout_max_ms) {
        return tpc_fail(reterr, TPC_EINVAL, "--timeout is longer than --timeout-max");
    }
    const char *url = settings->advertise;
    if (url != NULL && !api_url_check(url)) {
        return tpc_fail(reterr, TPC_EINVAL,
                        "--advertise %.100s: write a URL such as http://host:7400", url);
    }
    enum tpc_rc rc = coord_registry_check(&settings->participants, reterr);
    return rc == TPC_OK ? api_listen_check(settings->listen, settings->admin_listen, reterr) : rc;
}

static int run(const void *settings, const char *word)
{
    (void)word;
    return coord_daemon_run(settings);
}

int main(int argc, char **argv)
{
    struct coord_settings settings = {0};
    struct tpc_command command = {
        .name = "assentd",
        .usage = "usage: assentd [--data DIR] [--listen ADDR] [--participant NAME=URL]…",
        .options = options,
        .settings = &settings,
        .common = &settings.common,
        .check = check,
        .run = run,
    };
    tpc_fp_register(coord_failpoints, COORD_FP_COUNT);
    return tpc_command_main(&command, argc, argv);
}
