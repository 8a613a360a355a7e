/* The simulator's command line; `./run sim` builds it and runs it.
 *
 *   sim [--seed N] [--runs N] [--participants P] [--transactions T]   runs,
 * from seed N on sim --seed N --trace      one run, in words sim --seed N
 * --shrink     fewer participants, clients and faults that still fail, in words
 *   sim --seeds FILE          the runs of a file: arguments, # and why
 *   sim --broken NAME         status 0 when a run in a world with that defect
 * is noticed
 *   --clients LIST, --faults LIST    of the seed's only these
 *   --twice                   each run a second time: the trace must be the
 * same
 *   --seconds N               begin no run after so long, and say "stopped"
 *   --all-kinds               each kind of fault must have happened in some run
 */
#include "tests/sim/options.h"
#include "tests/sim/shrink.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RUNS_USUAL = 300, ARGUMENTS_MAX = 32 };

struct totals {
    uint64_t runs, failed, events, simulated_us, hash;
    uint64_t transactions, committed, aborted, unknown, hazards, again;
    uint64_t counts[SIM_FAULT_COUNT];
};

static void print_command(const struct sim_config *config, const char *more)
{
    struct tpc_buf command = {0};
    sim_options_print(&command, config);
    printf("  ./run sim %s %s\n", command.data, more);
    tpc_buf_done(&command);
}

static void add(struct totals *totals, const struct sim_result *result)
{
    totals->runs++;
    totals->failed += result->failed;
    totals->events += result->events;
    totals->simulated_us += result->simulated_us;
    totals->transactions += result->transactions;
    totals->committed += result->committed;
    totals->aborted += result->aborted;
    totals->unknown += result->unknown;
    totals->hazards += result->hazards;
    totals->again += result->again;
    totals->hash = sim_hash(totals->hash, result->hash);
    for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
        totals->counts[i] += result->counts[i];
    }
}

static bool is_same(const struct sim_config *config, uint64_t hash)
{
    struct sim_result second;
    sim_run(config, &second);
    free(second.faults.items);
    if (second.hash != hash) {
        printf("sim: FAILED: seed %" PRIu64 " gave another trace the second time\n", config->seed);
    }
    return second.hash == hash;
}

static void one(const struct sim_options *options, struct totals *totals)
{
    const struct sim_config *config = &options->config;
    struct sim_result result;
    sim_run(config, &result);
    add(totals, &result);
    free(result.faults.items);
    if (options->twice && !is_same(config, result.hash)) {
        totals->failed++;
    }
    if (result.failed && config->broken == SIM_BROKEN_NOTHING) {
        printf("sim: FAILED: seed %" PRIu64 ": %s\n", config->seed, result.why);
        print_command(config, config->only != NULL ? "--trace" : "--shrink");
    }
}

static void print_totals(const struct totals *totals, uint64_t took_us)
{
    printf("sim: runs %" PRIu64 ", failed %" PRIu64 ", events %" PRIu64 ", transactions %" PRIu64
           " (committed %" PRIu64 ", aborted %" PRIu64 ", unknown %" PRIu64 ", hazard %" PRIu64
           "), attempts again %" PRIu64 ", simulated %" PRIu64
           " s, took %.1f s, events/s %.0f, trace %016" PRIx64 "\n",
           totals->runs, totals->failed, totals->events, totals->transactions, totals->committed,
           totals->aborted, totals->unknown, totals->hazards, totals->again,
           totals->simulated_us / 1000000, (double)took_us / 1e6,
           (double)totals->events * 1e6 / (double)(took_us + 1), totals->hash);
    printf("sim: injected");
    for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
        printf("%s %s %" PRIu64, i > 0 ? "," : "", sim_fault_name((enum sim_fault)i),
               totals->counts[i]);
    }
    printf("\n");
}

/* What never happens in a whole set of runs is not tested. */
static bool is_complete(const struct totals *totals)
{
    bool complete = true;
    for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
        if (totals->counts[i] == 0) {
            printf("sim: FAILED: %s never happened\n", sim_fault_name((enum sim_fault)i));
            complete = false;
        }
    }
    return complete;
}

static void progress(const struct totals *totals, uint64_t runs)
{
    if (isatty(STDERR_FILENO) && (totals->runs % 16 == 0 || totals->runs == runs)) {
        fprintf(stderr, "\rsim: %" PRIu64 " of %" PRIu64 " runs, %" PRIu64 " failed%s",
                totals->runs, runs, totals->failed, totals->runs == runs ? "\n" : " ");
    }
}

static bool run_line(const struct sim_options *options, char *line, struct totals *totals)
{
    char *arguments[ARGUMENTS_MAX], *word;
    int count = 0;
    line[strcspn(line, "#\n")] = '\0';
    while ((word = strsep(&line, " ")) != NULL && count < ARGUMENTS_MAX) {
        if (*word != '\0') {
            arguments[count++] = word;
        }
    }
    struct sim_options of_line;
    if (count == 0) {
        return true;
    }
    if (!sim_options_parse(count, arguments, &of_line)) {
        return false;
    }
    of_line.config.only = of_line.config.only != NULL ? &of_line.only : NULL;
    of_line.twice = options->twice;
    one(&of_line, totals);
    free(of_line.only.items);
    return true;
}

static bool run_file(const struct sim_options *options, struct totals *totals)
{
    FILE *file = fopen(options->seeds, "r");
    char line[8192];
    bool good = file != NULL;
    while (good && fgets(line, sizeof line, file) != NULL) {
        good = run_line(options, line, totals);
    }
    if (file != NULL) {
        (void)fclose(file);
    } else {
        fprintf(stderr, "sim: there is no file %s\n", options->seeds);
    }
    return good;
}

/* In a world with a defect one run has to fail. */
static bool run_seeds(struct sim_options *options, struct totals *totals)
{
    bool broken = options->config.broken != SIM_BROKEN_NOTHING;
    uint64_t runs = options->runs;
    if (runs == 0) {
        runs = options->config.trace || options->config.only != NULL ? 1 : RUNS_USUAL;
    }
    uint64_t began_us = sim_real_us();
    for (uint64_t i = 0; i < runs && !(broken && totals->failed > 0); i++) {
        if (options->seconds > 0 && sim_real_us() - began_us > options->seconds * 1000000) {
            printf("sim: stopped after %" PRIu64 " of %" PRIu64 " runs\n", i, runs);
            break;
        }
        one(options, totals);
        progress(totals, runs);
        options->config.seed++;
    }
    return broken ? totals->failed > 0 : totals->failed == 0;
}

static int shrink(struct sim_options *options)
{
    struct sim_faults faults = {0};
    struct sim_result result;
    if (!sim_shrink(&options->config, &faults)) {
        printf("sim: seed %" PRIu64 " does not fail\n", options->config.seed);
        return 0;
    }
    options->config.trace = true;
    sim_run(&options->config, &result);
    free(result.faults.items);
    printf("sim: FAILED: %s\n", result.why);
    print_command(&options->config, "--trace");
    free(faults.items);
    return 1;
}

int main(int argc, char **argv)
{
    struct sim_options options;
    struct totals totals = {0};
    (void)setvbuf(stdout, NULL, _IOLBF, 0); /* what was said stays when a long run is ended */
    if (!sim_options_parse(argc - 1, argv + 1, &options)) {
        return 2;
    }
    if (options.shrink) {
        return shrink(&options);
    }
    uint64_t began_us = sim_real_us();
    bool good = options.seeds != NULL ? run_file(&options, &totals) && totals.failed == 0
                                      : run_seeds(&options, &totals);
    print_totals(&totals, sim_real_us() - began_us);
    good = good && (!options.all_kinds || is_complete(&totals));
    free(options.only.items);
    return good ? 0 : 1;
}
