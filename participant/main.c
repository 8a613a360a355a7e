/* assent-agent: the participant daemon. Start, loop, drain, stop. */
#include "participant/daemon.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
     .min = 1000, .help = "how long the log and the database know ended branches"},
    {OPT("retained-max", TPC_OPT_UINT, retained_max), .default_text = "1000000", .argument = "N",
     .min = 1, .help = "most ended branches that the log knows"},
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
    {OPT("log-level", TPC_OPT_STRING, log_level), .default_text = "info", .argument = "LEVEL",
     .help = "debug, info, warn or error"},
    {OPT("log-format", TPC_OPT_STRING, log_format), .default_text = "logfmt", .argument = "FORMAT",
     .help = "logfmt or json"},
    {OPT("failpoints", TPC_OPT_STRING, failpoints), .argument = "SPEC",
     .help = "for tests: NAME=[N*]kill|error|delay(MS)|hang|trace;…"},
    {.name = NULL},
};
/* clang-format on */

/* ---- The loop ---- */

static void on_tick(uv_timer_t *timer)
{
    struct part_daemon *daemon = timer->data;
    tpc_timers_run(&daemon->timers, tpc_clock_mono_ms());
}

/* Nothing is under way for anybody. Branches in doubt stay so until the next start. */
static bool may_stop(const struct part_daemon *daemon)
{
    return daemon->draining && daemon->jobs_busy == 0 && daemon->forces_busy == 0 &&
           api_server_pending(daemon->server) == 0;
}

/* Before the loop sleeps: what has gathered leaves in batches. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct part_daemon *daemon = prepare->data;
    uint64_t now_ms = tpc_clock_mono_ms();
    if (daemon->recovered) {
        part_inquiries_send(daemon);
    }
    if (daemon->failed || (daemon->recovered && may_stop(daemon))) {
        uv_stop(daemon->loop);
    } else if (daemon->draining && now_ms >= daemon->drain_until_ms) {
        tpc_log(TPC_LOG_WARN, "daemon.exit", tpc_kv_str("why", "--drain is over"));
        tpc_log_flush();
        _exit(0); /* as safe as at any other time */
    }
    uint64_t next_ms = tpc_timers_next(&daemon->timers);
    if (daemon->draining && daemon->drain_until_ms < next_ms) {
        next_ms = daemon->drain_until_ms;
    }
    if (next_ms != UINT64_MAX) {
        uv_update_time(daemon->loop);
        uv_timer_start(&daemon->tick, on_tick, next_ms > now_ms ? next_ms - now_ms : 0, 0);
    }
    tpc_log_flush();
}

static void on_wake(uv_async_t *async)
{
    struct part_daemon *daemon = async->data;
    if (daemon->recovered) {
        daemon->resource->ops->poll(daemon->resource);
        wal_log_poll(daemon->log);
    }
}

void part_wake(void *arg)
{
    struct part_daemon *daemon = arg;
    uv_async_send(&daemon->wake);
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct part_daemon *daemon = signal->data;
    if (daemon->draining) {
        tpc_log(TPC_LOG_WARN, "daemon.exit", tpc_kv_str("why", "second signal"));
        tpc_log_flush();
        _exit(128 + number);
    }
    daemon->draining = true;
    daemon->drain_until_ms = tpc_clock_mono_ms() + daemon->settings->drain_ms;
    tpc_log(TPC_LOG_INFO, "daemon.drain",
            tpc_kv_uint("pending", api_server_pending(daemon->server)));
    api_server_drain(daemon->server);
}

static void loop_init(struct part_daemon *daemon)
{
    daemon->loop = uv_default_loop();
    uv_timer_init(daemon->loop, &daemon->tick);
    uv_prepare_init(daemon->loop, &daemon->prepare);
    uv_async_init(daemon->loop, &daemon->wake, on_wake);
    uv_signal_init(daemon->loop, &daemon->sigterm);
    uv_signal_init(daemon->loop, &daemon->sigint);
    daemon->tick.data = daemon->prepare.data = daemon->wake.data = daemon;
    daemon->sigterm.data = daemon->sigint.data = daemon;
    uv_prepare_start(&daemon->prepare, on_prepare);
    uv_signal_start(&daemon->sigterm, on_signal, SIGTERM);
    uv_signal_start(&daemon->sigint, on_signal, SIGINT);
    (void)signal(SIGPIPE, SIG_IGN);
}

static void loop_done(struct part_daemon *daemon)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&daemon->tick, (uv_handle_t *)&daemon->prepare,
                              (uv_handle_t *)&daemon->wake, (uv_handle_t *)&daemon->sigterm,
                              (uv_handle_t *)&daemon->sigint};
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++) {
        uv_close(handles[i], NULL);
    }
    uv_run(daemon->loop, UV_RUN_DEFAULT);
    uv_loop_close(daemon->loop);
}

/* ---- Start ---- */

static enum tpc_rc open_log(struct part_daemon *daemon, struct tpc_err *reterr)
{
    struct tpc_buf directory = {0};
    if (daemon->settings->data != NULL) {
        tpc_buf_adds(&directory, daemon->settings->data);
    } else {
        tpc_buf_addf(&directory, "./assent-agent-%s", daemon->settings->name);
    }
    struct wal_options wal = {
        .directory = directory.data,
        .role = "participant",
        .failpoints = {.append = &part_failpoints[PART_FP_LOG_APPEND],
                       .force = &part_failpoints[PART_FP_LOG_FORCE],
                       .forced = &part_failpoints[PART_FP_LOG_FORCED],
                       .scan = &part_failpoints[PART_FP_START_SCAN]},
    };
    enum tpc_rc rc = directory.failed ? tpc_fail(reterr, TPC_ENOMEM, "out of memory")
                                      : wal_open(&wal, &daemon->store, reterr);
    if (rc == TPC_OK) {
        daemon->participant_id = daemon->store->identity.id;
    }
    tpc_buf_done(&directory);
    return rc;
}

static enum tpc_rc open_resource(struct part_daemon *daemon, const char *url,
                                 struct tpc_err *reterr)
{
    const struct part_settings *settings = daemon->settings;
    struct part_resource_options resource = {
        .url = url,
        .participant_id = daemon->participant_id,
        .generation = daemon->store->identity.generation,
        .foreign_keys = settings->foreign_keys,
        .allow_unsafe_settings = settings->allow_unsafe_settings,
        .adopt = settings->adopt,
        .result_max = settings->result_max_bytes,
        .waiting_max = settings->waiting_max,
        .wake = part_wake,
        .wake_arg = daemon,
        .failpoints = {.capture = &part_failpoints[PART_FP_DB_CAPTURE],
                       .captured = &part_failpoints[PART_FP_DB_CAPTURED],
                       .apply = &part_failpoints[PART_FP_DB_APPLY],
                       .commit = &part_failpoints[PART_FP_DB_COMMIT],
                       .committed = &part_failpoints[PART_FP_DB_COMMITTED],
                       .undo = &part_failpoints[PART_FP_DB_UNDO],
                       .prove = &part_failpoints[PART_FP_DB_PROVE],
                       .restore = &part_failpoints[PART_FP_DB_RESTORE]},
    };
    return part_resource_open(&resource, &daemon->resource, reterr);
}

static enum tpc_rc start_servers(struct part_daemon *daemon, struct tpc_err *reterr)
{
    const struct part_settings *settings = daemon->settings;
    struct api_server_options server = {.loop = daemon->loop,
                                        .listen = settings->listen,
                                        .connections_max = settings->connections_max,
                                        .body_max = settings->body_max_bytes,
                                        .handler = part_handle,
                                        .arg = daemon,
                                        .receive = &part_failpoints[PART_FP_REQUEST_RECEIVE],
                                        .send = &part_failpoints[PART_FP_RESPONSE_SEND]};
    struct api_client_options client = {.loop = daemon->loop};
    enum tpc_rc rc = api_server_start(&server, &daemon->server, reterr);
    if (rc == TPC_OK && settings->admin_listen != NULL) {
        server = (struct api_server_options){.loop = daemon->loop,
                                             .listen = settings->admin_listen,
                                             .connections_max = 64,
                                             .handler = part_handle_admin,
                                             .arg = daemon};
        rc = api_server_start(&server, &daemon->admin, reterr);
    }
    return rc == TPC_OK ? api_client_new(&client, &daemon->client, reterr) : rc;
}

static void on_recovered(struct part_daemon *daemon)
{
    if (daemon->failed) {
        return;
    }
    daemon->recovered = true;
    part_retention_start(daemon);
    on_wake(&daemon->wake); /* what came before is not told again */
    (void)part_fp(PART_FP_START_READY);
    tpc_log(TPC_LOG_INFO, "daemon.ready", tpc_kv_str("name", daemon->settings->name),
            tpc_kv_str("url", api_server_url(daemon->server)),
            tpc_kv_str("admin_url", daemon->admin != NULL ? api_server_url(daemon->admin) : NULL),
            tpc_kv_id("participant", &daemon->participant_id),
            tpc_kv_uint("generation", daemon->store->identity.generation),
            tpc_kv_str("version", ASSENT_VERSION), tpc_kv_str("state", "ready"));
    tpc_log_flush();
}

static enum tpc_rc start(struct part_daemon *daemon, const char *url, struct tpc_err *reterr)
{
    enum tpc_rc rc;
    if ((rc = open_log(daemon, reterr)) == TPC_OK &&
        (rc = open_resource(daemon, url, reterr)) == TPC_OK &&
        (rc = start_servers(daemon, reterr)) == TPC_OK) {
        part_recovery_start(daemon, on_recovered);
    }
    return rc;
}

/* ---- Stop ---- */

static void free_branches(struct part_daemon *daemon)
{
    struct branch *branch, *next;
    HASH_ITER (hh, daemon->branches, branch, next) {
        part_branch_free(branch);
    }
}

/* Only when nothing is under way, or nothing has begun. */
static void stop(struct part_daemon *daemon)
{
    if (daemon->server != NULL) {
        api_server_stop(daemon->server);
    }
    if (daemon->admin != NULL) {
        api_server_stop(daemon->admin);
    }
    if (daemon->client != NULL) {
        api_client_free(daemon->client);
    }
    if (daemon->resource != NULL) {
        daemon->resource->ops->close(daemon->resource);
    }
    if (daemon->log != NULL) {
        wal_log_stop(daemon->log);
    }
    free_branches(daemon);
    part_coordinators_free(daemon);
    free(daemon->expiries);
    free(daemon->unproved);
    tpc_buf_done(&daemon->line);
    if (daemon->store != NULL) {
        daemon->store->ops->close(daemon->store);
    }
    tpc_timers_done(&daemon->timers);
}

static int run(const struct part_settings *settings, const char *url)
{
    struct part_daemon daemon = {.settings = settings};
    struct tpc_err err = {0};
    loop_init(&daemon);
    enum tpc_rc rc = start(&daemon, url, &err);
    if (rc != TPC_OK) {
        tpc_log(TPC_LOG_ERROR, "daemon.start_failed", tpc_kv_str("error", err.text));
    } else {
        uv_run(daemon.loop, UV_RUN_DEFAULT);
    }
    bool good = rc == TPC_OK && !daemon.failed;
    stop(&daemon);
    loop_done(&daemon);
    if (good) {
        tpc_log(TPC_LOG_INFO, "daemon.stopped", tpc_kv_str("state", "stopped"));
    }
    tpc_log_flush();
    return good ? 0 : 1;
}

/* ---- The command line ---- */

static enum tpc_rc setup(const struct part_settings *settings, struct tpc_err *reterr)
{
    enum tpc_log_level level;
    enum tpc_log_format format;
    if (!tpc_log_parse_level(settings->log_level, &level)) {
        return tpc_fail(reterr, TPC_EINVAL, "--log-level %s: use debug, info, warn or error",
                        settings->log_level);
    }
    if (!tpc_log_parse_format(settings->log_format, &format)) {
        return tpc_fail(reterr, TPC_EINVAL, "--log-format %s: use logfmt or json",
                        settings->log_format);
    }
    if (settings->name == NULL || !api_name_check(settings->name)) {
        return tpc_fail(reterr, TPC_EINVAL,
                        "--name %s: give it a name of 1 to 64 letters, digits, '.', '_' and '-'",
                        settings->name != NULL ? settings->name : "is missing");
    }
    tpc_log_setup(level, format);
    return settings->failpoints != NULL ? tpc_fp_arm(settings->failpoints, reterr) : TPC_OK;
}

static int usage(const char *what, const char *detail)
{
    (void)fprintf(stderr, "assent-agent: %s%s; see assent-agent --help\n", what, detail);
    return PART_EXIT_USAGE;
}

static int run_command(const struct tpc_config_result *result, const struct part_settings *settings)
{
    struct tpc_err err = {0};
    if (result->help) {
        tpc_config_help(options, "assent-agent RESOURCE --name NAME [--listen ADDR] [--data DIR]",
                        stdout);
    } else if (result->version) {
        (void)printf("assent-agent %s\n", ASSENT_VERSION);
    } else if (result->list_failpoints) {
        tpc_fp_list();
    } else if (result->print_config) {
        tpc_config_print(options, settings, stdout);
    } else if (result->positional_count == 0) {
        return usage("RESOURCE is missing, such as sqlite:accounts.db", "");
    } else if (result->positional_count > 1) {
        return usage("unexpected ", result->positional[1]);
    } else if (setup(settings, &err) != TPC_OK) {
        return usage(err.text, "");
    } else if (result->check_config) {
        (void)printf("the configuration is good\n");
    } else {
        return run(settings, result->positional[0]);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct part_settings settings = {0};
    struct tpc_config_result result = {0};
    struct tpc_err err = {0};
    tpc_fp_register(part_failpoints, PART_FP_COUNT);
    if (tpc_config_load(options, &settings, argc, argv, &result, &err) != TPC_OK) {
        (void)fprintf(stderr, "assent-agent: %s\n", err.text);
        tpc_config_done(options, &settings);
        tpc_config_result_done(&result);
        return PART_EXIT_USAGE;
    }
    int status = run_command(&result, &settings);
    tpc_config_done(options, &settings);
    tpc_config_result_done(&result);
    return status;
}
