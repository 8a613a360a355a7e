#include "cli/bench/bench.h"

#include "base/clock.h"
#include "cli/bench/bank.h"
#include "cli/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SETTLE_MS = 60000, LOOK_EVERY_MS = 50 };

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* ---- Who takes part ---- */

static void add_process(struct cli_sample_plan *plan, const char *name, pid_t pid)
{
    if (plan->process_count < CLI_SAMPLE_PROCESSES_MAX) {
        struct cli_sample_process *process = &plan->processes[plan->process_count++];
        (void)snprintf(process->name, sizeof process->name, "%s", name);
        process->pid = pid;
    }
}

static void add_processes(struct cli_bench *bench, const struct cli_bench_stage *stage)
{
    struct cli_sample_plan *plan = &bench->drive.sample;
    add_process(plan, "bench", getpid());
    for (unsigned i = stage->proc_count; i > 0; i--) {
        add_process(plan, stage->procs[i - 1].name, stage->procs[i - 1].proc.pid);
    }
    for (unsigned i = 0; i < bench->pid_count; i++) {
        add_process(plan, bench->pids[i].name, bench->pids[i].pid);
    }
}

/* Where the participants serve, for their metrics. */
static enum cli_exit find_members(struct cli_bench *bench)
{
    const struct cli_load_options *load = &bench->drive.load;
    struct cli_sample_plan *plan = &bench->drive.sample;
    struct cli_call call = {.format = CLI_TABLE};
    struct cli_remote remote;
    (void)snprintf(call.url, sizeof call.url, "%s", bench->drive.url);
    enum cli_exit result = cli_remote_init(&remote, &call);
    if (result != CLI_OK) {
        return result;
    }
    for (unsigned i = 0; i < load->member_count && result == CLI_OK; i++) {
        char url[512];
        result = cli_find_participant(&remote, load->members[i].name, url);
        if (result == CLI_OK) {
            (void)snprintf(plan->member_urls[i], sizeof plan->member_urls[i], "%.255s", url);
        }
    }
    plan->member_count = load->member_count;
    cli_remote_done(&remote);
    return result;
}

/* ---- The money ---- */

static bool matches(const struct cli_bench *bench, const struct cli_bank *before,
                    const struct cli_bank *after, const struct cli_drive_result *result,
                    struct cli_bench_money *money)
{
    money->after = after->total;
    money->found[0] = '\0';
    if (after->total != before->total) {
        (void)snprintf(money->found, sizeof money->found, "%lld units were %s",
                       llabs((long long)(after->total - before->total)),
                       after->total > before->total ? "made" : "lost");
        return false;
    }
    for (unsigned i = 0; money->exact && i < bench->drive.load.member_count; i++) {
        int64_t expected = before->sums[i] + result->sums[i];
        if (after->sums[i] != expected) {
            (void)snprintf(money->found, sizeof money->found,
                           "%s holds %lld and should hold %lld by what was told",
                           bench->drive.load.members[i].name, (long long)after->sums[i],
                           (long long)expected);
            return false;
        }
    }
    return true;
}

/* What was only decided may still be on its way, and what broke off, too. */
static bool is_quiet(const struct cli_bench *bench)
{
    struct cli_sample sample;
    cli_sample_take(&bench->drive.sample, &sample);
    return sample.complete && sample.in_flight == 0;
}

/* Until it matches, or nothing is under way that could make it match. */
static void check_money(const struct cli_bench *bench, const struct cli_bank *before,
                        const struct cli_drive_result *result, struct cli_bench_money *money)
{
    static const struct timespec pause = {.tv_nsec = LOOK_EVERY_MS * 1000000L};
    uint64_t until_ms = tpc_clock_mono_ms() + SETTLE_MS;
    bool final = false;
    money->checked = true;
    money->before = before->total;
    money->exact = result->unknown == 0;
    while (!money->kept && !final && tpc_clock_mono_ms() < until_ms) {
        struct cli_bank after;
        struct tpc_err err = {0};
        bool quiet = is_quiet(bench);
        enum tpc_rc rc = cli_bank_read(bench->drive.url, &bench->drive.load, &after, &err);
        money->kept = rc == TPC_OK && matches(bench, before, &after, result, money);
        final = quiet && rc == TPC_OK;
        if (rc != TPC_OK) {
            (void)snprintf(money->found, sizeof money->found, "%.500s", err.text);
        }
        if (!money->kept && !final) {
            (void)nanosleep(&pause, NULL);
        }
    }
}

/* ---- The run ---- */

static enum cli_exit complain(const char *words)
{
    (void)fprintf(stderr, "assent bench: %s\n", words);
    return CLI_ERROR;
}

static enum cli_exit measure(struct cli_bench *bench)
{
    static struct cli_drive_result result;
    struct cli_bench_money money = {0};
    struct cli_bank before;
    struct tpc_err err = {0};
    bool has_money = bench->drive.load.load != CLI_LOAD_NOOP;
    if (has_money) {
        if (cli_bank_read(bench->drive.url, &bench->drive.load, &before, &err) != TPC_OK) {
            return complain(err.text);
        }
        bench->drive.load.accounts = before.accounts;
    }
    cli_drive(&bench->drive, &result);
    if (has_money) {
        check_money(bench, &before, &result, &money);
    }
    if (result.rc != TPC_OK) {
        (void)complain(result.err.text);
    } else {
        cli_bench_report(bench, &result, &money);
    }
    if (has_money && !money.kept) {
        (void)complain(money.found);
    }
    bool good = result.rc == TPC_OK && result.hazards == 0 && (!has_money || money.kept);
    return good && result.told == 0 && !interrupted ? complain("nothing was committed")
           : good                                   ? CLI_OK
                                                    : CLI_ERROR;
}

enum cli_exit cli_bench_run(struct cli_bench *bench)
{
    static struct cli_bench_stage stage;
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    bench->drive.interrupted = &interrupted;
    bench->drive.url = bench->url;
    if (bench->url == NULL) {
        cli_bench_stage_open(&stage, &bench->plan, &bench->drive.load);
        bench->drive.url = stage.url;
    }
    bench->drive.sample.coordinator_url = bench->drive.url;
    add_processes(bench, &stage);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    enum cli_exit result = find_members(bench);
    result = result == CLI_OK ? measure(bench) : result;
    if (bench->url == NULL) {
        cli_bench_stage_close(&stage, bench->keep || result != CLI_OK);
    }
    return result;
}
