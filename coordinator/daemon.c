/* The daemon's life: start, recovery, loop, drain, stop.
 *
 * Recovery runs on a thread of the loop's pool, so that requests that come meanwhile are told to
 * come again. It alone touches the daemon then, but for the servers, until on_recovered. */
#include "coordinator/daemon.h"

#include "base/clock.h"
#include "base/log.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    GIVE_UP_MS = 1000, /* for undecided transactions to be aborted after the drain */
};

_Noreturn void coord_halt(const char *why, const struct tpc_err *err)
{
    tpc_log(TPC_LOG_ERROR, "daemon.halt", tpc_kv_str("why", why),
            tpc_kv_str("error", err != NULL && err->text[0] != '\0' ? err->text : NULL));
    tpc_log_flush_last();
    _exit(TPC_EXIT_HALT);
}

_Noreturn void coord_halt_set_back(struct coord_daemon *daemon)
{
    static const char why[] =
        "a participant knows a newer generation of this log: it was set back to an old copy. Put "
        "the newest copy of the data directory in its place";
    const struct wal_store_ops *ops = daemon->store->ops;
    struct tpc_err err = {0};
    if (ops->set_back == NULL || !ops->set_back(daemon->store, why)) {
        (void)tpc_fail(&err, TPC_EIO, "this cannot be noted in the data directory");
    }
    coord_halt(why, &err);
}

/* ---- Drain ---- */

/* What has no outcome yet gets one, for its client waits: abort, or for a one-phase transaction
 * that its outcome is being asked for. */
static void give_up_undecided(struct coord_daemon *daemon)
{
    struct coord_xact *xact, *next;
    DL_FOREACH_SAFE2(daemon->kept[COORD_KEPT_UNFINISHED], xact, next, kept_next)
    {
        if (xact->waiting_again) {
            coord_xact_give_up(xact);
        } else if (xact->fsm->state == COORD_PREPARING) {
            coord_xact_set_cause(xact, -1, API_CAUSE_TIMEOUT,
                                 "the coordinator was shut down before every branch had voted");
            coord_event(xact, &(struct coord_event){.type = COORD_EV_TIMEOUT}, "TIMEOUT");
        }
    }
}

static bool may_stop(const struct coord_daemon *daemon)
{
    return daemon->kept_count[COORD_KEPT_UNFINISHED] == 0 &&
           api_server_pending(daemon->server) == 0;
}

static void drain(struct coord_daemon *daemon)
{
    bool late = tpc_clock_mono_ms() >= daemon->drain_until_ms;
    if (may_stop(daemon) || (late && daemon->giving_up)) {
        api_loop_stop(daemon->loop);
    } else if (late) {
        daemon->giving_up = true;
        daemon->drain_until_ms = tpc_clock_mono_ms() + GIVE_UP_MS;
        give_up_undecided(daemon);
    }
}

/* ---- The loop ---- */

/* What has gathered leaves in batches. */
static uint64_t before_sleep(void *arg)
{
    struct coord_daemon *daemon = arg;
    uint64_t look_ms = UINT64_MAX;
    if (daemon->recovered) {
        if (daemon->draining) {
            drain(daemon);
            look_ms = daemon->drain_until_ms;
        }
        if (!coord_links_flush(daemon)) {
            look_ms = tpc_clock_mono_ms();
        }
    }
    tpc_log_flush();
    return look_ms;
}

static void on_wake(void *arg)
{
    struct coord_daemon *daemon = arg;
    wal_log_poll(daemon->log);
}

static void wake_loop(void *arg)
{
    struct coord_daemon *daemon = arg;
    api_loop_wake(daemon->loop);
}

static void on_signal(void *arg, int number)
{
    struct coord_daemon *daemon = arg;
    if (daemon->draining) {
        tpc_log(TPC_LOG_WARN, "daemon.exit", tpc_kv_str("why", "second signal"));
        tpc_log_flush_last();
        _exit(128 + number);
    }
    daemon->draining = true;
    daemon->drain_until_ms = tpc_clock_mono_ms() + daemon->settings->drain_ms;
    tpc_log(TPC_LOG_INFO, "daemon.drain",
            tpc_kv_uint("in_flight",
                        daemon->recovered ? daemon->kept_count[COORD_KEPT_UNFINISHED] : 0));
    if (daemon->recovered) {
        coord_interactive_give_up(daemon);
    }
    api_server_drain(daemon->server);
}

static enum tpc_rc loop_init(struct coord_daemon *daemon, struct tpc_err *reterr)
{
    struct api_loop_options options = {.arg = daemon,
                                       .timers = &daemon->timers,
                                       .before_sleep = before_sleep,
                                       .on_wake = on_wake,
                                       .on_signal = on_signal};
    return api_loop_new(&options, &daemon->loop, reterr);
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
    struct api_server_options server = {.loop = api_loop_uv(daemon->loop),
                                        .listen = settings->listen,
                                        .connections_max = settings->connections_max,
                                        .body_max = settings->body_max_bytes,
                                        .handler = coord_handle,
                                        .arg = daemon,
                                        .receive = &coord_failpoints[COORD_FP_REQUEST_RECEIVE],
                                        .send = &coord_failpoints[COORD_FP_RESPONSE_SEND]};
    struct api_client_options client = {.loop = api_loop_uv(daemon->loop)};
    enum tpc_rc rc = api_server_start(&server, &daemon->server, reterr);
    if (rc == TPC_OK && settings->admin_listen != NULL) {
        server = (struct api_server_options){.loop = api_loop_uv(daemon->loop),
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

/* On a thread of the pool. */
static void work_recover(void *arg)
{
    struct coord_daemon *daemon = arg;
    daemon->start_rc = coord_recovery_run(daemon, &daemon->start_err);
    if (daemon->start_rc == TPC_OK) {
        daemon->start_rc = coord_registry_flags(daemon, &daemon->start_err);
    }
    (void)coord_fp(COORD_FP_START_RECOVERED);
}

/* Participants ask at this address for as long as they are in doubt. */
static void object_to_address(const struct coord_daemon *daemon)
{
    const char *const any[] = {"http://0.0.0.0:", "http://[::]:"};
    for (size_t i = 0; i < sizeof any / sizeof any[0]; i++) {
        if (strncmp(daemon->self.url, any[i], strlen(any[i])) == 0) {
            tpc_log(TPC_LOG_WARN, "daemon.address", tpc_kv_str("url", daemon->self.url),
                    tpc_kv_str("why", "participants on other machines cannot ask there; "
                                      "give --advertise"));
        }
    }
}

static void serve(struct coord_daemon *daemon)
{
    daemon->recovered = true;
    coord_registry_start(daemon);
    coord_retention_start(daemon);
    resume(daemon);
    (void)coord_fp(COORD_FP_START_READY);
    if (daemon->draining) {
        return;
    }
    object_to_address(daemon);
    tpc_log(TPC_LOG_INFO, "daemon.ready", tpc_kv_str("url", api_server_url(daemon->server)),
            tpc_kv_str("admin_url", daemon->admin != NULL ? api_server_url(daemon->admin) : NULL),
            tpc_kv_id("coordinator", &daemon->self.id),
            tpc_kv_uint("generation", daemon->self.generation),
            tpc_kv_str("version", ASSENT_VERSION), tpc_kv_str("state", "ready"));
}

static void on_recovered(void *arg)
{
    struct coord_daemon *daemon = arg;
    if (daemon->start_rc == TPC_OK) {
        daemon->start_rc = start_log(daemon, &daemon->start_err);
    }
    if (daemon->start_rc == TPC_OK) {
        serve(daemon);
    } else {
        api_loop_stop(daemon->loop);
    }
}

enum tpc_rc coord_daemon_start(struct coord_daemon *daemon, const struct coord_settings *settings,
                               struct tpc_err *reterr)
{
    static const double seconds[] = {5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2,
                                     0.1,  0.25, 0.5,    1,    2.5,  5,      10};
    daemon->settings = settings;
    daemon->started_ms = tpc_clock_mono_ms();
    daemon->stats.duration.bounds = seconds;
    daemon->stats.duration.bound_count = sizeof seconds / sizeof seconds[0];
    enum tpc_rc rc = loop_init(daemon, reterr);
    if (rc == TPC_OK) {
        rc = open_log(daemon, reterr);
    }
    if (rc == TPC_OK) {
        rc = start_servers(daemon, reterr);
    }
    return rc == TPC_OK ? api_loop_work(daemon->loop, work_recover, on_recovered, daemon, reterr)
                        : rc;
}

/* ---- Stop ---- */

static void free_transactions(struct coord_daemon *daemon)
{
    coord_past_free(daemon);
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
 * presumption. What was handed to the log is written first, and told as far as it can be. */
void coord_daemon_stop(struct coord_daemon *daemon)
{
    daemon->stopping = true;
    if (daemon->log != NULL) {
        wal_log_stop(daemon->log);
        daemon->log = NULL;
    }
    coord_waiters_leave(daemon);
    if (daemon->server != NULL) {
        api_server_stop(daemon->server);
    }
    if (daemon->admin != NULL) {
        api_server_stop(daemon->admin);
    }
    if (daemon->client != NULL) {
        api_client_free(daemon->client);
    }
    free_transactions(daemon);
    coord_registry_free(daemon);
    if (daemon->store != NULL) {
        daemon->store->ops->close(daemon->store);
    }
    tpc_timers_done(&daemon->timers);
    if (daemon->loop != NULL) {
        api_loop_free(daemon->loop);
    }
}

int coord_daemon_run(const struct coord_settings *settings)
{
    struct coord_daemon daemon = {0};
    struct tpc_err err = {0};
    enum tpc_rc rc = coord_daemon_start(&daemon, settings, &err);
    if (rc == TPC_OK) {
        tpc_log_flush();
        api_loop_run(daemon.loop);
        rc = daemon.start_rc;
        err = daemon.start_err;
    }
    if (rc != TPC_OK) {
        tpc_log(TPC_LOG_ERROR, "daemon.start_failed", tpc_kv_str("error", err.text));
    }
    coord_daemon_stop(&daemon);
    if (rc == TPC_OK) {
        tpc_log(TPC_LOG_INFO, "daemon.stopped", tpc_kv_str("state", "stopped"));
    }
    tpc_log_flush_last();
    return rc == TPC_OK ? 0 : 1;
}
