/* Many clients move money between two banks; nobody dies. Nothing is refused but for a real
 * conflict, and the coordinator's forced writes are shared by groups. No times are judged. */
#include "base/clock.h"
#include "tests/crash/options.h"
#include "tests/support/check.h"
#include "tests/support/http.h"
#include "tests/support/load.h"

#include <linux/magic.h>
#include <stdio.h>
#include <sys/vfs.h>

enum { CLIENTS = 64, PATIENCE_MS = 240000 };

/* Where a force costs nothing, or a daemon computes slowly, few records wait while others are
 * forced: on a tmpfs, and with a sanitizer. */
static double forces_max(const struct sup_world *world)
{
    struct statfs where = {0};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 1;
#endif
    bool in_memory = statfs(world->directory, &where) == 0 && where.f_type == TMPFS_MAGIC;
    return in_memory ? 1 : 0.3;
}

static double run(struct sup_world *world, const struct crash_options *options,
                  struct sup_history *history)
{
    struct sup_load_options load = {.clients = CLIENTS,
                                    .count = options->count,
                                    .seed = options->seed,
                                    .keyed_percent = 10,
                                    .timeout_ms = 60000};
    uint64_t began_ms = tpc_clock_mono_ms();
    struct sup_load *clients = sup_load_begin(world, &load, history);
    if (!sup_load_wait(clients, options->count, PATIENCE_MS)) {
        sup_die("%llu transactions did not end in %d s", (unsigned long long)options->count,
                PATIENCE_MS / 1000);
    }
    sup_load_end(clients, PATIENCE_MS);
    return (double)(tpc_clock_mono_ms() - began_ms) / 1000;
}

static void check_all_committed(const struct sup_history *history, struct sup_report *report)
{
    size_t committed = sup_history_told(history, SUP_TOLD_COMMITTED);
    size_t aborted = sup_history_told(history, SUP_TOLD_ABORTED);
    sup_check_answers(history, "conflict", report);
    if (committed + aborted != history->count) {
        sup_object(report, "%zu of %zu transactions ended otherwise than with 201 or 409",
                   history->count - committed - aborted, history->count);
    }
    (void)printf("%zu committed, %zu aborted for conflict\n", committed, aborted);
}

static void check_groups(struct sup_world *world, double transactions, struct sup_report *report)
{
    const char *url = sup_daemon_url(&world->coordinator);
    double forces = sup_metric(url, "assent_forced_writes_total", NULL);
    double again = sup_metric(url, "assent_transaction_attempts_again_total", NULL);
    (void)printf("%.3f forced writes of the coordinator a transaction, %.0f attempts again\n",
                 forces / transactions, again);
    if (forces < 0 || forces / transactions >= forces_max(world)) {
        sup_object(report, "%g forced writes for %g transactions: they do not share them", forces,
                   transactions);
    }
}

int main(int argc, char **argv)
{
    struct crash_options options = {.count = 5000};
    struct sup_history history = {0};
    struct sup_report report = {0};
    struct sup_world world;
    crash_options_parse(&options, argc, argv);
    sup_world_init(&world, &(struct sup_world_options){.accounts = 1000, .balance = 1000000});
    sup_world_start(&world);
    double seconds = run(&world, &options, &history);
    (void)printf("%.0f transactions a second\n", (double)options.count / seconds);
    check_all_committed(&history, &report);
    check_groups(&world, (double)options.count, &report);
    sup_check_all(&world, &history, NULL, &report);
    sup_world_done(&world, options.keep || report.count > 0);
    sup_history_done(&history);
    return report.count > 0 ? 1 : 0;
}
