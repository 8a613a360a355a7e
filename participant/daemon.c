/* The daemon's life: start, recovery, loop, drain, stop. */
#include "participant/daemon.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- The loop ---- */

/* Nothing is under way for anybody, nor waits to be tried again. Branches in doubt stay so until
 * the next start. */
static bool may_stop(const struct part_daemon *daemon)
{
    return daemon->draining && daemon->jobs_busy == 0 && daemon->forces_busy == 0 &&
           daemon->groups == 0 && api_server_pending(daemon->server) == 0;
}

/* What has gathered leaves in batches. */
static uint64_t before_sleep(void *arg)
{
    struct part_daemon *daemon = arg;
    if (daemon->recovered) {
        part_inquiries_send(daemon);
    }
    if (daemon->failed || (daemon->recovered && may_stop(daemon))) {
        api_loop_stop(daemon->loop);
    } else if (daemon->draining && tpc_clock_mono_ms() >= daemon->drain_until_ms) {
        tpc_log(TPC_LOG_WARN, "daemon.exit", tpc_kv_str("why", "--drain is over"));
        tpc_log_flush();
        _exit(0); /* as safe as at any other time */
    }
    tpc_log_flush();
    return daemon->draining ? daemon->drain_until_ms : UINT64_MAX;
}

static void on_wake(void *arg)
{
    struct part_daemon *daemon = arg;
    if (daemon->recovered) {
        daemon->resource->ops->poll(daemon->resource);
        wal_log_poll(daemon->log);
    }
}

void part_wake(void *arg)
{
    struct part_daemon *daemon = arg;
    api_loop_wake(daemon->loop);
}

static void on_signal(void *arg, int number)
{
    struct part_daemon *daemon = arg;
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

static enum tpc_rc loop_init(struct part_daemon *daemon, struct tpc_err *reterr)
{
    struct api_loop_options options = {.arg = daemon,
                                       .timers = &daemon->timers,
                                       .before_sleep = before_sleep,
                                       .on_wake = on_wake,
                                       .on_signal = on_signal};
    return api_loop_new(&options, &daemon->loop, reterr);
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

/* The calls of database servers of different kinds have points of their own. */
static struct tpc_failpoint *server_point(const char *url, enum part_failpoint pg,
                                          enum part_failpoint maria)
{
    return &part_failpoints[strncmp(url, "postgres", 8) == 0 ? pg : maria];
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
        .sessions = settings->sessions,
        .open_max = settings->open_max,
        .lock_timeout_ms = settings->lock_timeout_ms,
        .name = settings->name,
        .loop = daemon->loop,
        .timers = &daemon->timers,
        .wake = part_wake,
        .wake_arg = daemon,
        .relist = part_compare_soon,
        .relist_arg = daemon,
        .failpoints = {.capture = &part_failpoints[PART_FP_DB_CAPTURE],
                       .captured = &part_failpoints[PART_FP_DB_CAPTURED],
                       .apply = &part_failpoints[PART_FP_DB_APPLY],
                       .commit = &part_failpoints[PART_FP_DB_COMMIT],
                       .committed = &part_failpoints[PART_FP_DB_COMMITTED],
                       .undo = &part_failpoints[PART_FP_DB_UNDO],
                       .prove = &part_failpoints[PART_FP_DB_PROVE],
                       .restore = &part_failpoints[PART_FP_DB_RESTORE],
                       .connect = server_point(url, PART_FP_PG_CONNECT, PART_FP_MARIA_CONNECT),
                       .execute = server_point(url, PART_FP_PG_EXECUTE, PART_FP_MARIA_EXECUTE),
                       .prepared = server_point(url, PART_FP_PG_PREPARED, PART_FP_MARIA_PREPARED),
                       .finish = server_point(url, PART_FP_PG_FINISH, PART_FP_MARIA_FINISH),
                       .finished = server_point(url, PART_FP_PG_FINISHED, PART_FP_MARIA_FINISHED),
                       .decide = server_point(url, PART_FP_PG_DECIDE, PART_FP_MARIA_DECIDE),
                       .decided = server_point(url, PART_FP_PG_DECIDED, PART_FP_MARIA_DECIDED),
                       .roll_back =
                           server_point(url, PART_FP_PG_ROLL_BACK, PART_FP_MARIA_ROLL_BACK),
                       .ask = server_point(url, PART_FP_PG_ASK, PART_FP_MARIA_ASK),
                       .list = server_point(url, PART_FP_PG_LIST, PART_FP_MARIA_LIST)},
    };
    return part_resource_open(&resource, &daemon->resource, reterr);
}

static enum tpc_rc start_servers(struct part_daemon *daemon, struct tpc_err *reterr)
{
    const struct part_settings *settings = daemon->settings;
    struct api_server_options server = {.loop = api_loop_uv(daemon->loop),
                                        .listen = settings->listen,
                                        .connections_max = settings->connections_max,
                                        .body_max = settings->body_max_bytes,
                                        .handler = part_handle,
                                        .arg = daemon,
                                        .receive = &part_failpoints[PART_FP_REQUEST_RECEIVE],
                                        .send = &part_failpoints[PART_FP_RESPONSE_SEND]};
    struct api_client_options client = {.loop = api_loop_uv(daemon->loop)};
    enum tpc_rc rc = api_server_start(&server, &daemon->server, reterr);
    if (rc == TPC_OK && settings->admin_listen != NULL) {
        server = (struct api_server_options){.loop = api_loop_uv(daemon->loop),
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
    part_compare_start(daemon);
    on_wake(daemon); /* what came before is not told again */
    (void)part_fp(PART_FP_START_READY);
    tpc_log(TPC_LOG_INFO, "daemon.ready", tpc_kv_str("name", daemon->settings->name),
            tpc_kv_str("url", api_server_url(daemon->server)),
            tpc_kv_str("admin_url", daemon->admin != NULL ? api_server_url(daemon->admin) : NULL),
            tpc_kv_id("participant", &daemon->participant_id),
            tpc_kv_uint("generation", daemon->store->identity.generation),
            tpc_kv_str("version", ASSENT_VERSION), tpc_kv_str("state", "ready"));
    tpc_log_flush();
}

/* Each start has a greater generation, so that one of the next would not be noticed. */
static void note_set_back(struct part_daemon *daemon, const struct tpc_err *err)
{
    struct wal_store *store = daemon->store;
    if (store->ops->set_back != NULL && !store->ops->set_back(store, err->text)) {
        tpc_log(TPC_LOG_ERROR, "log.set_back_unnoted",
                tpc_kv_str("advice", "do not start again before the newest copy of the data "
                                     "directory is in its place"));
    }
}

enum tpc_rc part_daemon_start(struct part_daemon *daemon, const struct part_settings *settings,
                              const char *url, struct tpc_err *reterr)
{
    enum tpc_rc rc;
    daemon->settings = settings;
    if ((rc = loop_init(daemon, reterr)) == TPC_OK && (rc = open_log(daemon, reterr)) == TPC_OK &&
        (rc = open_resource(daemon, url, reterr)) == TPC_OK &&
        (rc = start_servers(daemon, reterr)) == TPC_OK) {
        part_recovery_start(daemon, on_recovered);
    }
    if (rc == TPC_ESETBACK && daemon->store != NULL) {
        note_set_back(daemon, reterr);
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
void part_daemon_stop(struct part_daemon *daemon)
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
    free(daemon->unproved);
    tpc_buf_done(&daemon->line);
    if (daemon->store != NULL) {
        daemon->store->ops->close(daemon->store);
    }
    tpc_timers_done(&daemon->timers);
    if (daemon->loop != NULL) {
        api_loop_free(daemon->loop);
    }
}

int part_daemon_run(const struct part_settings *settings, const char *url)
{
    struct part_daemon daemon = {0};
    struct tpc_err err = {0};
    enum tpc_rc rc = part_daemon_start(&daemon, settings, url, &err);
    if (rc != TPC_OK) {
        tpc_log(TPC_LOG_ERROR, "daemon.start_failed", tpc_kv_str("error", err.text));
    } else {
        api_loop_run(daemon.loop);
    }
    bool good = rc == TPC_OK && !daemon.failed;
    part_daemon_stop(&daemon);
    if (good) {
        tpc_log(TPC_LOG_INFO, "daemon.stopped", tpc_kv_str("state", "stopped"));
    }
    tpc_log_flush();
    return good ? 0 : 1;
}
