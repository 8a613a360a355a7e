#include "coordinator/daemon.h"

#include "base/clock.h"

static void write_log(struct tpc_buf *out, struct coord_daemon *daemon)
{
    static const double seconds[] = {1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3,
                                     1e-2, 2.5e-2, 5e-2, 0.1,  0.25};
    static const double sizes[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
    struct wal_stats stats;
    wal_log_stats(daemon->log, &stats);
    struct api_histogram force = {
        .bounds = seconds, .bound_count = 11, .sum = (double)stats.force_us_total / 1e6};
    struct api_histogram group = {.bounds = sizes, .bound_count = 11, .sum = (double)stats.records};
    for (int i = 0; i < 12; i++) {
        force.buckets[i] = stats.force_us_bucket[i];
        group.buckets[i] = stats.group_bucket[i];
    }
    api_metric(out, "assent_forced_writes_total", "counter",
               "Forced writes of the log: one for each group that somebody waited for.");
    api_metric_u64(out, "assent_forced_writes_total", NULL, stats.forces);
    api_metric(out, "assent_forced_records_total", "counter", "Records that were forced.");
    api_metric_u64(out, "assent_forced_records_total", NULL, stats.forced_records);
    api_metric(out, "assent_log_lazy_flushes_total", "counter",
               "Writes of the log that nobody waited for.");
    api_metric_u64(out, "assent_log_lazy_flushes_total", NULL, stats.lazy_flushes);
    api_metric(out, "assent_log_full_total", "counter",
               "Times that a decision had to wait for room in the log's queue (--log-queue-max).");
    api_metric_u64(out, "assent_log_full_total", NULL, daemon->stats.log_full);
    api_metric(out, "assent_log_bytes_total", "counter", "Bytes appended to the log.");
    api_metric_u64(out, "assent_log_bytes_total", NULL, stats.bytes);
    api_metric(out, "assent_log_force_duration_seconds", "histogram", "Time of a forced write.");
    api_histogram_write(out, "assent_log_force_duration_seconds", NULL, &force);
    api_metric(out, "assent_log_group_size", "histogram", "Records in one write of the log.");
    api_histogram_write(out, "assent_log_group_size", NULL, &group);
}

static void write_transactions(struct tpc_buf *out, const struct coord_daemon *daemon)
{
    const struct coord_stats *stats = &daemon->stats;
    api_metric(out, "assent_transactions_total", "counter", "Transactions that ended.");
    api_metric_u64(out, "assent_transactions_total", "outcome=\"commit\"", stats->committed);
    api_metric_u64(out, "assent_transactions_total", "outcome=\"abort\"", stats->aborted);
    api_metric(out, "assent_aborts_total", "counter", "Aborted transactions by their cause.");
    for (int code = API_CAUSE_NONE + 1; code < API_CAUSE_COUNT; code++) {
        char label[64];
        (void)snprintf(label, sizeof label, "cause=\"%s\"",
                       api_cause_name((enum api_cause_code)code));
        api_metric_u64(out, "assent_aborts_total", label, stats->aborts_by_cause[code]);
    }
    api_metric(out, "assent_transactions_in_flight", "gauge", "Transactions that have not ended.");
    api_metric_u64(out, "assent_transactions_in_flight", NULL,
                   daemon->kept_count[COORD_KEPT_UNFINISHED]);
    api_metric(out, "assent_transactions_open", "gauge", "Interactive transactions that are open.");
    api_metric_u64(out, "assent_transactions_open", NULL, daemon->open);
    api_metric(out, "assent_transactions_retained", "gauge",
               "Ended transactions that are still known.");
    api_metric_u64(out, "assent_transactions_retained", NULL, coord_ended_count(daemon));
    api_metric(out, "assent_transaction_attempts_again_total", "counter",
               "Attempts after a refusal for conflict.");
    api_metric_u64(out, "assent_transaction_attempts_again_total", NULL, stats->attempts_again);
    api_metric(out, "assent_hazards_total", "counter",
               "Branches that ended another way than their transaction.");
    api_metric_u64(out, "assent_hazards_total", NULL, stats->hazards);
    api_metric(out, "assent_hazards", "gauge",
               "Ended transactions with a hazard that nobody has forgotten.");
    api_metric_u64(out, "assent_hazards", NULL, daemon->kept_count[COORD_KEPT_HAZARD]);
    api_metric(out, "assent_refused_total", "counter", "Submissions refused because of a limit.");
    api_metric_u64(out, "assent_refused_total", NULL, stats->refused);
    api_metric(out, "assent_transaction_duration_seconds", "histogram",
               "From the submission to the last branch's end.");
    api_histogram_write(out, "assent_transaction_duration_seconds", NULL, &stats->duration);
}

/* Decided transactions of which some branch has not confirmed its end. */
static double oldest_in_doubt_seconds(const struct coord_daemon *daemon)
{
    uint64_t now_us = tpc_clock_wall_us(), oldest_us = now_us;
    for (const struct coord_xact *xact = daemon->kept[COORD_KEPT_UNFINISHED]; xact != NULL;
         xact = xact->kept_next) {
        bool decided = xact->fsm->state == COORD_COMMITTING || xact->fsm->state == COORD_ASKING;
        if (decided && xact->began_us < oldest_us) {
            oldest_us = xact->began_us;
        }
    }
    return (double)(now_us - oldest_us) / 1e6;
}

static void write_links(struct tpc_buf *out, const struct coord_daemon *daemon)
{
    const struct coord_member *member, *next;
    api_metric(out, "assent_messages_total", "counter", "Messages sent to participants.");
    for (int op = 0; op < API_OP_COUNT; op++) {
        char label[32];
        (void)snprintf(label, sizeof label, "op=\"%s\"", api_op_name((enum api_op)op));
        api_metric_u64(out, "assent_messages_total", label, daemon->stats.messages[op]);
    }
    api_metric(out, "assent_participant_requests_total", "counter",
               "Requests to participants; each carries one message or more.");
    api_metric_u64(out, "assent_participant_requests_total", NULL, daemon->stats.requests);
    api_metric(out, "assent_participant_up", "gauge", "1 when the participant was heard from.");
    HASH_ITER (hh, daemon->members, member, next) {
        if (member->registered) {
            struct tpc_buf label = {0};
            api_metric_label(&label, "participant", member->name);
            api_metric_u64(out, "assent_participant_up", label.data, member->up ? 1 : 0);
            tpc_buf_done(&label);
        }
    }
    api_metric(out, "assent_retries_total", "counter", "Outcomes told again.");
    HASH_ITER (hh, daemon->members, member, next) {
        struct tpc_buf label = {0};
        api_metric_label(&label, "participant", member->name);
        api_metric_u64(out, "assent_retries_total", label.data, member->retries);
        tpc_buf_done(&label);
    }
}

void coord_metrics(void *arg, struct api_request *request, const char *const args[])
{
    struct coord_daemon *daemon = arg;
    struct api_server_stats server;
    struct tpc_buf out = {0};
    (void)args;
    api_server_get_stats(daemon->server, &server);
    write_transactions(&out, daemon);
    api_metric(&out, "assent_in_doubt_oldest_age_seconds", "gauge",
               "Age of the oldest decided transaction that some branch has not confirmed.");
    api_metric_double(&out, "assent_in_doubt_oldest_age_seconds", NULL,
                      oldest_in_doubt_seconds(daemon));
    write_links(&out, daemon);
    write_log(&out, daemon);
    api_metric(&out, "assent_http_requests_total", "counter", "Requests served.");
    api_metric_u64(&out, "assent_http_requests_total", NULL, server.requests);
    api_metric(&out, "assent_http_connections", "gauge", "Open connections.");
    api_metric_u64(&out, "assent_http_connections", NULL, server.connections);
    api_respond(request, 200, API_METRICS_CONTENT_TYPE, &out);
}
