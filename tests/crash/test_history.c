/* Bank and lists beside each other at three participants, while processes die: the clients' history
 * is as promised. */
#include "cli/crashtest/check.h"
#include "cli/crashtest/workload.h"
#include "tests/crash/options.h"
#include "tests/support/world.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AGENTS = 3, KILLS = 8, PATIENCE_MS = 240000, SETTLE_MS = 60000 };

static const struct cli_member members[AGENTS] = {
    {"east", CLI_SQLITE}, {"west", CLI_SQLITE}, {"north", CLI_SQLITE}};

static void make_tables(const struct sup_world *world)
{
    struct tpc_buf sql = {0};
    cli_workload_tables(CLI_SQLITE, &sql);
    for (unsigned i = 0; i < AGENTS; i++) {
        const char *path = world->agents[i].db_path;
        sqlite3 *db;
        if (sqlite3_open(path, &db) != SQLITE_OK ||
            sqlite3_exec(db, sql.data, NULL, NULL, NULL) != SQLITE_OK) {
            sup_die("%s: %s", path, sqlite3_errmsg(db));
        }
        sqlite3_close(db);
    }
    tpc_buf_done(&sql);
}

/* One after the other dies and comes back, at even steps of the work. */
static void run(struct sup_world *world, const struct cli_workload_options *options,
                struct cli_history *history)
{
    struct cli_workload *workload = cli_workload_begin(options, history);
    for (uint64_t i = 1; i <= KILLS; i++) {
        if (!cli_workload_wait(workload, i * options->count / (KILLS + 1), PATIENCE_MS)) {
            sup_die("the clients do not get on");
        }
        sup_daemon_kill(sup_world_daemon(world, (unsigned)((options->seed + i) % (AGENTS + 1))));
        sup_world_revive(world);
    }
    if (!cli_workload_wait(workload, options->count, PATIENCE_MS)) {
        sup_die("the clients do not end");
    }
    cli_workload_end(workload, SETTLE_MS);
}

static size_t count_seen(const struct cli_history *history, enum cli_op_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < history->count; i++) {
        for (size_t j = 0; j < history->txns[i].op_count; j++) {
            count += history->txns[i].ops[j].kind == kind && history->txns[i].ops[j].seen;
        }
    }
    return count;
}

static int judge(const struct cli_history *history)
{
    struct cli_findings findings = {0};
    cli_check_history(history, &findings);
    for (unsigned i = 0; i < CLI_ANOMALY_COUNT; i++) {
        if (findings.counts[i] > 0) {
            (void)printf("%s: %llu\n", cli_anomaly_name((enum cli_anomaly)i),
                         (unsigned long long)findings.counts[i]);
        }
    }
    for (size_t i = 0; i < findings.item_count; i++) {
        if (cli_anomaly_forbidden(findings.items[i].anomaly)) {
            (void)fprintf(stderr, "violation: %s: %s\n",
                          cli_anomaly_name(findings.items[i].anomaly), findings.items[i].text);
        }
    }
    bool good = cli_findings_forbidden(&findings) == 0;
    cli_findings_done(&findings);
    size_t committed = cli_history_told(history, CLI_TOLD_COMMITTED);
    size_t lists = count_seen(history, CLI_OP_READ);
    size_t banks = count_seen(history, CLI_OP_BALANCES);
    (void)printf("%zu transactions: %zu committed, %zu aborted, %zu not started, %zu unknown; %zu "
                 "lists and %zu banks were read\n",
                 history->count, committed, cli_history_told(history, CLI_TOLD_ABORTED),
                 cli_history_told(history, CLI_TOLD_NOT_STARTED),
                 cli_history_told(history, CLI_TOLD_UNKNOWN), lists, banks);
    if (committed == 0 || lists == 0 || banks == 0 || history->final.row_count == 0) {
        (void)fprintf(stderr, "such a run shows nothing\n");
        good = false;
    }
    return good ? 0 : 1;
}

static void keep_history(const struct sup_world *world, const struct cli_history *history)
{
    char path[SUP_PATH_MAX + 16];
    struct tpc_err err = {0};
    (void)snprintf(path, sizeof path, "%s/history", world->directory);
    FILE *file = fopen(path, "we");
    if (file == NULL || cli_history_write(history, file, &err) != TPC_OK || fclose(file) != 0) {
        (void)fprintf(stderr, "%s: %s\n", path, err.text);
    }
}

int main(int argc, char **argv)
{
    struct crash_options options = {.count = 1500};
    struct cli_history history = {0};
    struct sup_world world;
    struct tpc_err err = {0};
    crash_options_parse(&options, argc, argv);
    sup_world_init(&world, &(struct sup_world_options){.agents = AGENTS});
    make_tables(&world);
    sup_world_start(&world);
    const struct cli_workload_options load = {.url = sup_daemon_url(&world.coordinator),
                                              .members = members,
                                              .member_count = AGENTS,
                                              .seed = options.seed,
                                              .count = options.count,
                                              .timeout_ms = 5000};
    if (cli_workload_reset(&load, SETTLE_MS, &err) != TPC_OK) {
        sup_die("reset: %s", err.text);
    }
    run(&world, &load, &history);
    if (cli_workload_read_final(&load, SETTLE_MS, &history, &err) != TPC_OK) {
        sup_die("final: %s", err.text);
    }
    int failed = judge(&history);
    if (options.keep || failed != 0) {
        keep_history(&world, &history);
    }
    sup_world_done(&world, options.keep || failed != 0);
    cli_history_done(&history);
    return failed;
}
