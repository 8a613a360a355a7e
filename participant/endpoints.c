/* The agent's routes. */
#include "participant/daemon.h"

#include "api/router.h"

#include <stdio.h>
#include <string.h>

void part_unavailable(struct api_request *request, const char *why)
{
    char detail[256];
    (void)snprintf(detail, sizeof detail, "%s; try again", why);
    api_respond_problem(request, 503, "unavailable", "Not now", detail, NULL);
}

static void messages(void *arg, struct api_request *request, const char *const args[])
{
    struct part_daemon *daemon = arg;
    const struct api_codec_limits limits = {
        .branches = 64,
        .statements = daemon->settings->statements_max,
        .params = 32766,
        .timeout_ms_max = daemon->settings->timeout_max_ms,
        .timeout_ms_default = 10000,
    };
    struct api_envelope envelope = {0};
    struct api_refusal refusal = {0};
    size_t size;
    const char *body = api_request_body(request, &size);
    (void)args;
    if (api_envelope_decode(body, size, &limits, daemon->settings->messages_max, &envelope,
                            &refusal) != TPC_OK) {
        api_respond_refusal(request, &refusal);
        return;
    }
    part_messages(daemon, &envelope, api_stream_begin(request, 200, "application/x-ndjson"));
}

/* ---- Operations ---- */

static void livez(void *arg, struct api_request *request, const char *const args[])
{
    struct tpc_buf out = {0};
    (void)arg, (void)args;
    tpc_buf_adds(&out, "ok\n");
    api_respond(request, 200, "text/plain; charset=utf-8", &out);
}

static void write_verbose(struct tpc_buf *out, const struct part_daemon *daemon)
{
    api_jw_open(out, '{');
    api_jw_key(out, "ready");
    api_jw_bool(out, daemon->recovered && !daemon->draining);
    api_jw_key(out, "recovered");
    api_jw_bool(out, daemon->recovered);
    api_jw_key(out, "draining");
    api_jw_bool(out, daemon->draining);
    api_jw_key(out, "version");
    api_jw_str(out, ASSENT_VERSION);
    api_jw_key(out, "name");
    api_jw_str(out, daemon->settings->name);
    api_jw_key(out, "participant_id");
    api_jw_id(out, &daemon->participant_id);
    api_jw_key(out, "generation");
    api_jw_u64(out, daemon->store->identity.generation);
    api_jw_key(out, "in_flight");
    api_jw_u64(out, daemon->recovered ? daemon->live_count : 0);
    api_jw_close(out, '}');
}

/* Ready means recovered, whoever else is down. */
static void readyz(void *arg, struct api_request *request, const char *const args[])
{
    struct part_daemon *daemon = arg;
    struct tpc_buf out = {0};
    bool ready = daemon->recovered && !daemon->draining;
    (void)args;
    if (api_request_query(request, "verbose") != NULL) {
        write_verbose(&out, daemon);
        api_respond(request, ready ? 200 : 503, NULL, &out);
        return;
    }
    tpc_buf_adds(&out, ready ? "ok\n" : daemon->draining ? "draining\n" : "recovering\n");
    api_respond(request, ready ? 200 : 503, "text/plain; charset=utf-8", &out);
}

static void openapi(void *arg, struct api_request *request, const char *const args[])
{
    struct tpc_buf out = {0};
    (void)arg, (void)args;
    tpc_buf_add(&out, part_openapi, part_openapi_size);
    api_respond(request, 200, NULL, &out);
}

static const struct api_route routes[] = {
    {"POST", "/v1/messages", messages},
    {"GET", "/v1/branches", part_list},
    {"POST", "/v1/branches/lookup", part_lookup},
    {"GET", "/v1/branches/{gtid}", part_show},
    {"POST", "/v1/branches/{gtid}/resolve", part_resolve},
    {"POST", "/v1/branches/{gtid}/forget", part_forget},
    {"GET", "/v1/doctor", part_doctor},
    {"GET", "/livez", livez},
    {"GET", "/readyz", readyz},
    {"GET", "/metrics", part_metrics},
    {"GET", "/openapi.json", openapi},
    {NULL, NULL, NULL},
};

static const struct api_route admin_routes[] = {
    {"GET", "/livez", livez},
    {"GET", "/readyz", readyz},
    {"GET", "/metrics", part_metrics},
    {NULL, NULL, NULL},
};

void part_handle(void *arg, struct api_request *request)
{
    struct part_daemon *daemon = arg;
    bool is_work = strncmp(api_request_path(request), "/v1/", 4) == 0;
    if (!daemon->recovered && is_work) {
        part_unavailable(request, "the log is being read after a start");
    } else if (daemon->draining && is_work && strcmp(api_request_method(request), "GET") != 0) {
        part_unavailable(request, "the agent is shutting down; nothing was started");
    } else {
        api_route(routes, daemon, request);
    }
}

void part_handle_admin(void *arg, struct api_request *request)
{
    api_route(admin_routes, arg, request);
}
