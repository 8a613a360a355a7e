/* assentd: the coordinator daemon. Start, loop, drain, stop. */
#include "coordinator/daemon.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_USAGE = 2, EXIT_HALT = 70 };

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

_Noreturn void coord_halt(const char *why, const struct tpc_err *err)
{
    tpc_log(TPC_LOG_ERROR, "daemon.halt", tpc_kv_str("why", why),
            tpc_kv_str("error", err != NULL && err->text[0] != '\0' ? err->text : NULL),
            tpc_kv_str("advice", "the next start decides from what is in the log"));
    tpc_log_flush();
    _exit(EXIT_HALT);
}

/* ---- The loop ---- */

static void on_tick(uv_timer_t *timer)
{
    struct coord_daemon *daemon = timer->data;
    tpc_timers_run(&daemon->timers, tpc_clock_mono_ms());
}

static bool may_stop(const struct coord_daemon *daemon)
{
    return daemon->draining && (daemon->kept_count[COORD_KEPT_UNFINISHED] == 0 ||
                                tpc_clock_mono_ms() >= daemon->drain_until_ms);
}

/* Before the loop sleeps: what has gathered leaves in batches. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct coord_daemon *daemon = prepare->data;
    coord_links_flush(daemon);
    if (may_stop(daemon)) {
        uv_stop(daemon->loop);
    }
    uint64_t next_ms = tpc_timers_next(&daemon->timers), now_ms = tpc_clock_mono_ms();
    if (daemon->draining && daemon->drain_until_ms < next_ms) {
        next_ms = daemon->drain_until_ms;
    }
    if (next_ms != UINT64_MAX) {
        uv_update_time(daemon->loop);
        uv_timer_start(&daemon->tick, on_tick, next_ms > now_ms ? next_ms - now_ms : 0, 0);
    }
    tpc_log_flush();
}

static void on_wal_wake(uv_async_t *async)
{
    struct coord_daemon *daemon = async->data;
    wal_log_poll(daemon->log);
}

static void wake_loop(void *arg)
{
    struct coord_daemon *daemon = arg;
    uv_async_send(&daemon->wal_wake);
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct coord_daemon *daemon = signal->data;
    if (daemon->draining) {
        tpc_log(TPC_LOG_WARN, "daemon.exit", tpc_kv_str("why", "second signal"));
        tpc_log_flush();
        _exit(128 + number);
    }
    daemon->draining = true;
    daemon->drain_until_ms = tpc_clock_mono_ms() + daemon->settings->drain_ms;
    tpc_log(TPC_LOG_INFO, "daemon.drain",
            tpc_kv_uint("in_flight", daemon->kept_count[COORD_KEPT_UNFINISHED]));
    api_server_drain(daemon->server);
}

static void loop_init(struct coord_daemon *daemon)
{
    daemon->loop = uv_default_loop();
    uv_timer_init(daemon->loop, &daemon->tick);
    uv_prepare_init(daemon->loop, &daemon->prepare);
    uv_async_init(daemon->loop, &daemon->wal_wake, on_wal_wake);
    uv_signal_init(daemon->loop, &daemon->sigterm);
    uv_signal_init(daemon->loop, &daemon->sigint);
    daemon->tick.data = daemon->prepare.data = daemon->wal_wake.data = daemon;
    daemon->sigterm.data = daemon->sigint.data = daemon;
    uv_prepare_start(&daemon->prepare, on_prepare);
    uv_signal_start(&daemon->sigterm, on_signal, SIGTERM);
    uv_signal_start(&daemon->sigint, on_signal, SIGINT);
    (void)signal(SIGPIPE, SIG_IGN);
}

static void loop_done(struct coord_daemon *daemon)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&daemon->tick, (uv_handle_t *)&daemon->prepare,
                              (uv_handle_t *)&daemon->wal_wake, (uv_handle_t *)&daemon->sigterm,
                              (uv_handle_t *)&daemon->sigint};
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++) {
        uv_close(handles[i], NULL);
    }
    uv_run(daemon->loop, UV_RUN_DEFAULT);
    uv_loop_close(daemon->loop);
}

/* ---- Start ---- */

static enum tpc_rc open_log(struct coord_daemon *daemon, struct tpc_err *reterr)
{
    struct wal_options wal = {
        .directory = daemon->settings->data,
        .role = "coordinator",
        .failpoints = {.append = &coord_failpoints[COORD_FP_LOG_APPEND],
                       .force = &coord_failpoints[COORD_FP_LOG_FORCE],
                       .forced = &coord_failpoints[COORD_FP_LOG_FORCED]},
    };
    enum tpc_rc rc = wal_open(&wal, &daemon->store, reterr);
    if (rc == TPC_OK) {
        daemon->self.id = daemon->store->identity.id;
        daemon->self.generation = daemon->store->identity.generation;
        daemon->self.nonce = daemon->store->identity.nonce;
    }
    return rc;
}

static enum tpc_rc start_servers(struct coord_daemon *daemon, struct tpc_err *reterr)
{
    const struct coord_settings *settings = daemon->settings;
    struct api_server_options server = {.loop = daemon->loop,
                                        .listen = settings->listen,
                                        .connections_max = settings->connections_max,
                                        .body_max = settings->body_max_bytes,
                                        .handler = coord_handle,
                                        .arg = daemon,
                                        .receive = &coord_failpoints[COORD_FP_REQUEST_RECEIVE],
                                        .send = &coord_failpoints[COORD_FP_RESPONSE_SEND]};
    struct api_client_options client = {.loop = daemon->loop};
    enum tpc_rc rc = api_server_start(&server, &daemon->server, reterr);
    if (rc == TPC_OK && settings->admin_listen != NULL) {
        server = (struct api_server_options){.loop = daemon->loop,
                                             .listen = settings->admin_listen,
                                             .connections_max = 64,
                                             .handler = coord_handle_admin,
                                             .arg = daemon};
        rc = api_server_start(&server, &daemon->admin, reterr);
    }
    if (rc == TPC_OK) {
        rc = api_client_new(&client, &daemon->client, reterr);
    }
    const char *url = settings->advertise != NULL ? settings->advertise
                      : rc == TPC_OK              ? api_server_url(daemon->server)
                                                  : "";
    if (rc == TPC_OK && (!api_url_check(url) || strlen(url) >= sizeof daemon->self.url)) {
        rc = tpc_fail(reterr, TPC_EINVAL, "--advertise %s: write a URL such as http://host:7400",
                      url);
    }
    (void)snprintf(daemon->self.url, sizeof daemon->self.url, "%s", url);
    return rc;
}

static enum tpc_rc start_log(struct coord_daemon *daemon, struct tpc_err *reterr)
{
    struct wal_log_options log = {
        .queue_max = daemon->settings->queue_max_bytes, .wake = wake_loop, .wake_arg = daemon};
    return wal_log_start(daemon->store, &log, &daemon->log, reterr);
}

static void resume(struct coord_daemon *daemon)
{
    for (struct coord_xact *xact = daemon->kept[COORD_KEPT_UNFINISHED]; xact != NULL;
         xact = xact->kept_next) {
        coord_event(xact, &(struct coord_event){.type = COORD_EV_RESTARTED}, "RESTARTED");
    }
}

static enum tpc_rc start(struct coord_daemon *daemon, struct tpc_err *reterr)
{
    static const double seconds[] = {5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2,
                                     0.1,  0.25, 0.5,    1,    2.5,  5,      10};
    daemon->stats.duration.bounds = seconds;
    daemon->stats.duration.bound_count = sizeof seconds / sizeof seconds[0];
    enum tpc_rc rc;
    if ((rc = open_log(daemon, reterr)) != TPC_OK ||
        (rc = start_servers(daemon, reterr)) != TPC_OK ||
        (rc = coord_recovery_run(daemon, reterr)) != TPC_OK ||
        (rc = coord_registry_flags(daemon, reterr)) != TPC_OK) {
        return rc;
    }
    (void)coord_fp(COORD_FP_START_RECOVERED);
    if ((rc = start_log(daemon, reterr)) != TPC_OK) {
        return rc;
    }
    daemon->recovered = true;
    coord_registry_start(daemon);
    coord_retention_start(daemon);
    resume(daemon);
    (void)coord_fp(COORD_FP_START_READY);
    tpc_log(TPC_LOG_INFO, "daemon.ready", tpc_kv_str("url", api_server_url(daemon->server)),
            tpc_kv_str("admin_url", daemon->admin != NULL ? api_server_url(daemon->admin) : NULL),
            tpc_kv_id("coordinator", &daemon->self.id),
            tpc_kv_uint("generation", daemon->self.generation),
            tpc_kv_str("version", ASSENT_VERSION), tpc_kv_str("state", "ready"));
    return TPC_OK;
}

/* ---- Stop ---- */

static void free_transactions(struct coord_daemon *daemon)
{
    while (daemon->xacts != NULL) {
        struct coord_xact *xact = daemon->xacts;
        for (unsigned i = 0; i < xact->branch_count; i++) {
            tpc_timer_cancel(&daemon->timers, &xact->branches[i].retry);
        }
        if (!xact->ended) {
            coord_xact_mark_ended(xact);
        }
        coord_xact_remove(xact);
    }
}

/* Decided transactions that have not ended go on at the next start; undecided ones are aborted by
 * presumption. */
static void stop(struct coord_daemon *daemon)
{
    daemon->stopping = true;
    coord_waiters_drop_all(daemon);
    if (daemon->server != NULL) {
        api_server_stop(daemon->server);
    }
    if (daemon->admin != NULL) {
        api_server_stop(daemon->admin);
    }
    if (daemon->client != NULL) {
        api_client_free(daemon->client);
    }
    if (daemon->log != NULL) {
        wal_log_stop(daemon->log);
    }
    free_transactions(daemon);
    coord_registry_free(daemon);
    if (daemon->store != NULL) {
        daemon->store->ops->close(daemon->store);
    }
    tpc_timers_done(&daemon->timers);
}

static int run(const struct coord_settings *settings)
{
    struct coord_daemon daemon = {.settings = settings, .started_ms = tpc_clock_mono_ms()};
    struct tpc_err err = {0};
    loop_init(&daemon);
    enum tpc_rc rc = start(&daemon, &err);
    if (rc != TPC_OK) {
        tpc_log(TPC_LOG_ERROR, "daemon.start_failed", tpc_kv_str("error", err.text));
    } else {
        tpc_log_flush();
        uv_run(daemon.loop, UV_RUN_DEFAULT);
    }
    stop(&daemon);
    loop_done(&daemon);
    if (rc == TPC_OK) {
        tpc_log(TPC_LOG_INFO, "daemon.stopped", tpc_kv_str("state", "stopped"));
    }
    tpc_log_flush();
    return rc == TPC_OK ? 0 : 1;
}

/* ---- The command line ---- */

static enum tpc_rc setup(const struct coord_settings *settings, struct tpc_err *reterr)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    int level = -1;
    for (int i = 0; i < 4; i++) {
        if (strcmp(settings->log_level, levels[i]) == 0) {
            level = i;
        }
    }
    bool json = strcmp(settings->log_format, "json") == 0;
    if (level < 0) {
        return tpc_fail(reterr, TPC_EINVAL, "--log-level %s: use debug, info, warn or error",
                        settings->log_level);
    }
    if (!json && strcmp(settings->log_format, "logfmt") != 0) {
        return tpc_fail(reterr, TPC_EINVAL, "--log-format %s: use logfmt or json",
                        settings->log_format);
    }
    tpc_log_setup((enum tpc_log_level)level, json ? TPC_LOG_JSON : TPC_LOG_LOGFMT);
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
        return run(settings);
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
