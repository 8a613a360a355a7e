#include "participant/daemon.h"

#include "base/clock.h"

#include <stdio.h>
#include <utlist.h>

static void counter(struct tpc_buf *out, const char *name, const char *help, uint64_t value)
{
    api_metric(out, name, "counter", help);
    api_metric_u64(out, name, NULL, value);
}

static void gauge(struct tpc_buf *out, const char *name, const char *help, uint64_t value)
{
    api_metric(out, name, "gauge", help);
    api_metric_u64(out, name, NULL, value);
}

static void write_log(struct tpc_buf *out, const struct wal_stats *stats)
{
    static const double seconds[] = {1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3,
                                     1e-2, 2.5e-2, 5e-2, 0.1,  0.25};
    static const double sizes[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
    struct api_histogram force = {
        .bounds = seconds, .bound_count = 11, .sum = (double)stats->force_us_total / 1e6};
    struct api_histogram group = {
        .bounds = sizes, .bound_count = 11, .sum = (double)stats->records};
    for (int i = 0; i < 12; i++) {
        force.buckets[i] = stats->force_us_bucket[i];
        group.buckets[i] = stats->group_bucket[i];
    }
    counter(out, "assent_forced_records_total", "Records of the log that were forced.",
            stats->forced_records);
    counter(out, "assent_log_lazy_flushes_total", "Writes of the log that nobody waited for.",
            stats->lazy_flushes);
    counter(out, "assent_log_bytes_total", "Bytes appended to the log.", stats->bytes);
    api_metric(out, "assent_log_force_duration_seconds", "histogram", "Time of a forced write.");
    api_histogram_write(out, "assent_log_force_duration_seconds", NULL, &force);
    api_metric(out, "assent_log_group_size", "histogram", "Records in one write of the log.");
    api_histogram_write(out, "assent_log_group_size", NULL, &group);
}

static void write_resource(struct tpc_buf *out, const struct part_resource_stats *stats)
{
    counter(out, "assent_resource_prepares_total", "Branches whose work was done.",
            stats->prepares);
    counter(out, "assent_resource_commits_total", "Branches that were committed.", stats->commits);
    counter(out, "assent_resource_commit_groups_total",
            "Transactions of the database that committed them.", stats->commit_groups);
    counter(out, "assent_resource_aborts_total", "Branches that were undone.", stats->aborts);
    counter(out, "assent_resource_one_phase_total", "Branches that were committed in one phase.",
            stats->one_phase);
    counter(out, "assent_resource_conflicts_total", "Branches refused for conflict.",
            stats->conflicts);
    counter(out, "assent_resource_waits_total", "Branches that had to wait for locks.",
            stats->waits);
    gauge(out, "assent_resource_locks_held", "Locks that are held.", stats->locks_held);
    gauge(out, "assent_resource_branches_held", "Branches that hold locks.", stats->branches_held);
    gauge(out, "assent_resource_waiting", "Branches that wait for locks.", stats->waiting);
}

static void write_branches(struct tpc_buf *out, const struct part_daemon *daemon)
{
    static const char *const texts[] = {"executing", "prepared",         "committing",
                                        "aborting",  "heuristic_commit", "heuristic_abort",
                                        "unknown"};
    uint64_t counts[PART_STATE_COUNT] = {0};
    uint64_t now_us = tpc_clock_wall_us(), oldest_us = now_us, hazards = 0;
    const struct branch *branch;
    DL_FOREACH (daemon->live, branch) {
        counts[branch->fsm.state]++;
        hazards += part_is_hazard(&branch->fsm);
        if (part_in_doubt(&branch->fsm) && branch->at_us < oldest_us) {
            oldest_us = branch->at_us;
        }
    }
    api_metric(out, "assent_in_doubt_oldest_age_seconds", "gauge",
               "Age of the oldest branch that voted yes and knows no outcome.");
    api_metric_double(out, "assent_in_doubt_oldest_age_seconds", NULL,
                      (double)(now_us - oldest_us) / 1e6);
    api_metric(out, "assent_branches", "gauge", "Branches that have not ended, by state.");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char label[64];
        uint64_t count = 0;
        for (unsigned state = 0; state < PART_STATE_COUNT; state++) {
            count += strcmp(part_state_text(state), texts[i]) == 0 ? counts[state] : 0;
        }
        (void)snprintf(label, sizeof label, "state=\"%s\"", texts[i]);
        api_metric_u64(out, "assent_branches", label, count);
    }
    gauge(out, "assent_branches_remembered", "Ended branches whose answers are in memory.",
          daemon->ended_count);
    gauge(out, "assent_branches_logged", "Ended branches whose records are in the log.",
          daemon->expiry_count);
    gauge(out, "assent_branches_overdue",
          "Ended branches that are kept beyond --retention, since their coordinators have not said "
          "that they have forgotten them.",
          part_retention_overdue(daemon));
    gauge(out, "assent_hazards",
          "Branches that are known to have ended another way than was decided.", hazards);
}

static void write_messages(struct tpc_buf *out, const struct part_daemon *daemon)
{
    static const char *const votes[] = {[API_VOTE_YES] = "yes",
                                        [API_VOTE_NO] = "no",
                                        [API_VOTE_READ_ONLY] = "read_only",
                                        [API_VOTE_COMMITTED] = "committed"};
    const struct part_stats *stats = &daemon->stats;
    char label[64];
    api_metric(out, "assent_messages_total", "counter", "Messages from coordinators.");
    for (int op = 0; op < API_OP_COUNT; op++) {
        (void)snprintf(label, sizeof label, "op=\"%s\"", api_op_name((enum api_op)op));
        api_metric_u64(out, "assent_messages_total", label, stats->messages[op]);
    }
    api_metric(out, "assent_votes_total", "counter", "Votes, repeated ones too.");
    for (int vote = API_VOTE_YES; vote <= API_VOTE_COMMITTED; vote++) {
        (void)snprintf(label, sizeof label, "vote=\"%s\"", votes[vote]);
        api_metric_u64(out, "assent_votes_total", label, stats->votes[vote]);
    }
    counter(out, "assent_message_errors_total", "Messages answered with an error.", stats->errors);
    counter(out, "assent_refused_total", "Prepares refused because of a limit.", stats->refused);
    counter(out, "assent_inquiries_total", "Questions to coordinators.", stats->inquiries);
    counter(out, "assent_inquiries_failed_total", "Of these, those without an answer.",
            stats->inquiries_failed);
    counter(out, "assent_decisions_told_total", "Outcomes learnt by asking.",
            stats->decisions_told);
    counter(out, "assent_changes_lost_total", "Prepared changes that no longer applied.",
            stats->conflicts_applied);
    counter(out, "assent_branches_erased_total", "Ended branches erased from the log.",
            stats->erased);
}

void part_metrics(void *arg, struct api_request *request, const char *const args[])
{
    struct part_daemon *daemon = arg;
    struct api_server_stats server;
    struct tpc_buf out = {0};
    (void)args;
    api_server_get_stats(daemon->server, &server);
    if (daemon->recovered) {
        struct wal_stats log;
        struct part_resource_stats resource = {0};
        wal_log_stats(daemon->log, &log);
        daemon->resource->ops->stats(daemon->resource, &resource);
        counter(&out, "assent_forced_writes_total",
                "Forced writes: of the log, and commits of the database.",
                log.forces + resource.commit_groups);
        write_branches(&out, daemon);
        write_messages(&out, daemon);
        write_log(&out, &log);
        write_resource(&out, &resource);
    }
    counter(&out, "assent_http_requests_total", "Requests served.", server.requests);
    gauge(&out, "assent_http_connections", "Open connections.", server.connections);
    api_respond(request, 200, API_METRICS_CONTENT_TYPE, &out);
}
