/* assent-agent: the participant daemon. Its settings and its command line. */
#include "participant/daemon.h"

#include <stddef.h>

#define OPT(n, t, m) .name = (n), .type = (t), .offset = offsetof(struct part_settings, m)

/* clang-format off */
static const struct tpc_opt options[] = {
    {OPT("name", TPC_OPT_STRING, name), .argument = "NAME",
     .help = "what this participant is called; needed"},
    {OPT("listen", TPC_OPT_STRING, listen), .default_text = "127.0.0.1:7411", .argument = "ADDR",
     .help = "where to serve; port 0 takes any free one"},
    {OPT("admin-listen", TPC_OPT_STRING, admin_listen), .argument = "ADDR",
     .help = "serve /livez /readyz /metrics here too, however full the main listener is"},
    {OPT("data", TPC_OPT_STRING, data), .argument = "DIR",
     .help = "the directory of the log, made when missing; by default ./assent-agent-NAME"},
    {OPT("foreign-keys", TPC_OPT_BOOL, foreign_keys), .default_text = "true",
     .help = "enforce foreign keys"},
    {OPT("allow-unsafe-settings", TPC_OPT_BOOL, allow_unsafe_settings),
     .help = "start in spite of settings of the database that can break the promises"},
    {OPT("adopt", TPC_OPT_BOOL, adopt),
     .help = "take over a database that another participant's log belongs to"},
    {OPT("retention", TPC_OPT_DURATION, retention_ms), .default_text = "24h", .argument = "TIME",
     .min = 1000, .help = "how long at least the log and the database know ended branches"},
    {OPT("retained-max", TPC_OPT_UINT, retained_max), .default_text = "1000000", .argument = "N",
     .min = 1, .help = "beyond as many the log drops ended branches that are forgotten elsewhere"},
    {OPT("remember", TPC_OPT_DURATION, remember_ms), .default_text = "1h", .argument = "TIME",
     .min = 1000, .help = "how long answers are kept in memory for repeated messages"},
    {OPT("remembered-max", TPC_OPT_UINT, remembered_max), .default_text = "100000",
     .argument = "N", .min = 1, .help = "most ended branches in memory"},
    {OPT("branches-max", TPC_OPT_UINT, branches_max), .default_text = "10000", .argument = "N",
     .min = 1, .help = "most branches in flight"},
    {OPT("messages-max", TPC_OPT_UINT, messages_max), .default_text = "1000", .argument = "N",
     .min = 1, .max = 100000, .help = "most messages in a request"},
    {OPT("statements-max", TPC_OPT_UINT, statements_max), .default_text = "1000", .argument = "N",
     .min = 1, .max = 100000, .help = "most statements of a branch"},
    {OPT("connections-max", TPC_OPT_UINT, connections_max), .default_text = "1000",
     .argument = "N", .min = 4, .max = 100000, .help = "most connections"},
    {OPT("body-max", TPC_OPT_SIZE, body_max_bytes), .default_text = "64M", .argument = "SIZE",
     .min = 1024, .max = 1 << 30, .help = "largest body of a request: a batch of messages"},
    {OPT("result-max", TPC_OPT_SIZE, result_max_bytes), .default_text = "4M", .argument = "SIZE",
     .min = 1, .max = 1 << 30, .help = "largest results of a branch"},
    {OPT("waiting-max", TPC_OPT_UINT, waiting_max), .default_text = "10000", .argument = "N",
     .min = 1, .help = "most branches that wait for locks"},
    {OPT("sessions", TPC_OPT_UINT, sessions), .argument = "N", .min = 2, .max = 1000,
     .help = "sessions at a database server, one of four for decisions; by default six a core, "
             "eight at MariaDB, and half of what the server allows at most"},
    {OPT("open-max", TPC_OPT_UINT, open_max), .default_text = "32", .argument = "N", .min = 1,
     .max = 1000,
     .help = "most interactive branches that are open at a database server, each with a session of "
             "its own beside those"},
    {OPT("lock-timeout", TPC_OPT_DURATION, lock_timeout_ms), .default_text = "500ms",
     .argument = "TIME", .min = 1, .max = 86400000,
     .help = "how long a statement at a database server waits for a lock before it is a conflict"},
    {OPT("log-queue-max", TPC_OPT_SIZE, queue_max_bytes), .default_text = "1G",
     .argument = "SIZE", .min = 1 << 20, .help = "memory for records that wait for the log"},
    {OPT("timeout-max", TPC_OPT_DURATION, timeout_max_ms), .default_text = "1h",
     .argument = "TIME", .min = 1, .max = 86400000, .help = "the longest time-out of a branch"},
    {OPT("ask-first", TPC_OPT_DURATION, ask_first_ms), .default_text = "2s", .argument = "TIME",
     .min = 10, .max = 3600000, .help = "in doubt: the first question to the coordinator"},
    {OPT("ask-max", TPC_OPT_DURATION, ask_max_ms), .default_text = "15s", .argument = "TIME",
     .min = 10, .max = 3600000, .help = "in doubt: the longest pause between questions"},
    {OPT("drain", TPC_OPT_DURATION, drain_ms), .default_text = "10s", .argument = "TIME",
     .help = "how long SIGTERM waits for what is under way"},
    TPC_COMMON_OPTIONS(offsetof(struct part_settings, common)),
    {.name = NULL},
};
/* clang-format on */

static enum tpc_rc check(const void *arg, struct tpc_err *reterr)
{
    const struct part_settings *settings = arg;
    if (settings->name == NULL || !api_name_check(settings->name)) {
        return tpc_fail(reterr, TPC_EINVAL,
                        "--name %s: give it a name of 1 to 64 letters, digits, '.', '_' and '-'",
                        settings->name != NULL ? settings->name : "is missing");
    }
    return api_listen_check(settings->listen, settings->admin_listen, reterr);
}

static int run(const void *settings, const char *resource)
{
    return part_daemon_run(settings, resource);
}

int main(int argc, char **argv)
{
    struct part_settings settings = {0};
    struct tpc_command command = {
        .name = "assent-agent",
        .usage = "usage: assent-agent RESOURCE --name NAME [--listen ADDR] [--data DIR]",
        .options = options,
        .settings = &settings,
        .common = &settings.common,
        .missing =
            "RESOURCE is missing, such as sqlite:accounts.db, postgresql://user@host/database or "
            "mariadb://user@host/database",
        .check = check,
        .run = run,
    };
    tpc_fp_register(part_failpoints, PART_FP_COUNT);
    return tpc_command_main(&command, argc, argv);
}
