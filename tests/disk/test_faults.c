/* Power cuts at every boundary of a sync, and I/O errors at every operation, of one daemon.
 *
 * A run without faults counts the boundaries or operations. Then one run for each of them (a sample
 * without --full; --point N is that one alone), in each mode: it strikes there, the daemon ends or
 * goes on, is started again where it ended, and all invariants hold. Of the runs with a power cut
 * most have another one while the daemon recovers from the first.
 *
 * A disk that lies about its syncs breaks promises that cannot be kept on it: the scenario "lies"
 * insists that the checks object. */
#include "base/clock.h"
#include "tests/crash/options.h"
#include "tests/disk/faulty.h"
#include "tests/support/load.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODES = 7, SAMPLES = 3, AGAIN_MAX = 8, STUCK_MS = 1000 };

struct mode {
    const char *name, *scenario, *fault;
    bool sticky;
    enum { BOUNDARIES, OPERATIONS, OPERATIONS_FOR_ROOM, COUNTS } counts_as;
};

static const struct mode modes[MODES] = {
    {"lose", "power", "lose", false, BOUNDARIES},
    {"reorder", "power", "reorder", false, BOUNDARIES},
    {"tear", "power", "tear", false, BOUNDARIES},
    {"eio", "errors", "eio", false, OPERATIONS},
    {"enospc", "errors", "enospc", false, OPERATIONS_FOR_ROOM},
    {"eio-sticky", "errors", "eio", true, OPERATIONS},
    {"enospc-sticky", "errors", "enospc", true, OPERATIONS_FOR_ROOM},
};

struct driver {
    struct crash_options options;
    unsigned patient;
    const char *patient_name;
    uint64_t counts[COUNTS];
    uint64_t struck_ms; /* when a sticky fault was first seen in this run */
    unsigned points, runs, struck, halts, refusals, lost, failures;
};

/* ---- A sticky fault ends when it stopped the daemon from starting, or after a while ---- */

static void on_start(struct trial *trial, unsigned refused)
{
    if (refused > 0) {
        faulty_lift((struct faulty *)trial);
    }
}

static void on_look(struct trial *trial)
{
    struct driver *driver = trial->arg;
    struct faulty *faulty = (struct faulty *)trial;
    if (driver->struck_ms == 0 && atomic_load(&faulty->state->strikes) > 0) {
        driver->struck_ms = tpc_clock_mono_ms();
    }
    if (driver->struck_ms != 0 && tpc_clock_mono_ms() > driver->struck_ms + STUCK_MS) {
        faulty_lift(faulty);
    }
}

/* ---- One run ---- */

static uint64_t run(struct driver *driver, const struct mode *mode, uint64_t at)
{
    struct faulty faulty = {
        .trial = {
            .seed = driver->options.seed, .arg = driver, .prepare = on_start, .look = on_look}};
    struct faulty_plan plan = {
        .fault = mode->fault, .at = at, .seed = driver->options.seed + at, .sticky = mode->sticky};
    bool power = mode->counts_as == BOUNDARIES;
    plan.again = power && at != 0 ? (plan.seed + (uint64_t)mode->name[0]) % (AGAIN_MAX + 1) : 0;
    uint64_t began_ms = tpc_clock_mono_ms();
    driver->struck_ms = 0;
    faulty_open(&faulty, driver->patient, &plan);
    trial_play(&faulty.trial);
    if (atomic_load(&faulty.state->overwritten) > 0) {
        sup_object(&faulty.trial.report, "a log that could not be forced was written again");
    }
    faulty_lift(&faulty);
    trial_close(&faulty.trial);
    const struct trial *trial = &faulty.trial;
    uint64_t count = atomic_load(power ? &faulty.state->boundaries : &faulty.state->operations);
    uint64_t strikes = atomic_load(&faulty.state->strikes);
    driver->runs++;
    driver->struck += strikes > 0;
    driver->halts += trial->halts;
    driver->refusals += trial->refusals;
    driver->lost += (unsigned)atomic_load(&faulty.state->lost);
    driver->failures += trial->report.count > 0;
    (void)printf("%s %s at %llu of %llu: %llu strikes, %u halts, %u refused starts, %llu writes "
                 "lost; %zu of %zu committed, %.1f s\n",
                 driver->patient_name, mode->name, (unsigned long long)at,
                 (unsigned long long)count, (unsigned long long)strikes, trial->halts,
                 trial->refusals, (unsigned long long)atomic_load(&faulty.state->lost),
                 sup_history_told(&trial->history, SUP_TOLD_COMMITTED), trial->history.count,
                 (double)(tpc_clock_mono_ms() - began_ms) / 1000);
    (void)fflush(stdout);
    if (trial->report.count > 0) {
        (void)fprintf(stderr,
                      "run again with: --seed %llu --process %s --scenario %s --point %llu\n",
                      (unsigned long long)driver->options.seed, driver->patient_name, mode->name,
                      (unsigned long long)at);
    }
    faulty_done(&faulty, driver->options.keep || trial->report.count > 0);
    return count;
}

/* Modes of one scenario differ in what strikes, at the same boundaries or operations. */
static uint64_t count_of(struct driver *driver, const struct mode *mode)
{
    uint64_t *count = &driver->counts[mode->counts_as];
    if (*count == 0) {
        *count = run(driver, mode, 0);
    }
    return *count;
}

static void run_sample(struct driver *driver, const struct mode *mode)
{
    struct crash_options *options = &driver->options;
    if (options->point != NULL) {
        (void)run(driver, mode, strtoull(options->point, NULL, 10));
        return;
    }
    uint64_t count = count_of(driver, mode);
    uint64_t samples = options->count != 0 ? options->count : SAMPLES;
    uint64_t step = count < samples ? 1 : count / samples;
    for (uint64_t at = 1 + options->seed % step; at <= count; at += step) {
        /* Odd boundaries come before a sync, when there is something to lose. */
        (void)run(driver, mode, mode->counts_as == BOUNDARIES && step > 1 ? at | 1 : at);
    }
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    return b == 0 ? a : common_divisor(b, a % b);
}

/* The @index-th of 1 to @count, in an order of which each beginning is spread over all of them. */
static uint64_t spread(uint64_t index, uint64_t count)
{
    uint64_t stride = count * 618 / 1000 + 1;
    while (common_divisor(stride, count) != 1) {
        stride++;
    }
    return 1 + index * stride % count;
}

/* Every point, the modes in turn, until the time is over. */
static void run_all(struct driver *driver, const struct mode *const *chosen, size_t modes_chosen)
{
    bool more = true;
    for (uint64_t i = 0; more; i++) {
        more = false;
        for (size_t m = 0; m < modes_chosen; m++) {
            uint64_t count = count_of(driver, chosen[m]);
            driver->points += i == 0 ? (unsigned)count : 0;
            if (i < count && !crash_options_is_over(&driver->options)) {
                (void)run(driver, chosen[m], spread(i, count));
                more = true;
            }
        }
    }
}

static void run_modes(struct driver *driver)
{
    const struct crash_options *options = &driver->options;
    const struct mode *chosen[MODES];
    size_t count = 0;
    for (size_t i = 0; i < MODES; i++) {
        if (strcmp(options->scenario, modes[i].name) == 0 ||
            strcmp(options->scenario, modes[i].scenario) == 0) {
            chosen[count++] = &modes[i];
        }
    }
    if (options->full && options->point == NULL) {
        run_all(driver, chosen, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        run_sample(driver, chosen[i]);
    }
}

/* ---- Lies ---- */

/* The patient dies in the middle of the transfers, and is started again after them. */
static bool cut_once(struct driver *driver, unsigned patient, const char *fault)
{
    struct faulty faulty = {.trial = {.seed = driver->options.seed}};
    struct trial *trial = &faulty.trial;
    struct faulty_plan plan = {.fault = fault, .from = 24, .at = 60};
    faulty_open(&faulty, patient, &plan);
    trial_start(trial);
    struct sup_load_options options = {
        .clients = 3, .seed = driver->options.seed, .faults = true, .timeout_ms = 1000};
    struct sup_load *load = sup_load_begin(&trial->world, &options, &trial->history);
    if (!sup_proc_wait(&trial->patient->proc, SUP_STOP_MS)) {
        sup_die("the power was not cut");
    }
    sup_load_end(load, 0);
    bool objected = trial_objects(trial);
    (void)printf("%s %s: %zu of %zu committed, %llu writes lost, %u objections%s%s\n",
                 trial->patient->name, fault, sup_history_told(&trial->history, SUP_TOLD_COMMITTED),
                 trial->history.count, (unsigned long long)atomic_load(&faulty.state->lost),
                 trial->report.count, trial->report.count > 0 ? ", the last: " : "",
                 trial->report.last);
    faulty_done(&faulty, driver->options.keep);
    return objected;
}

static void run_lies(struct driver *driver)
{
    for (unsigned patient = 0; patient < 2; patient++) {
        if (!cut_once(driver, patient, "lie")) {
            (void)fprintf(stderr, "nobody noticed that syncs were lies\n");
            driver->failures++;
        }
        if (cut_once(driver, patient, "lose")) {
            (void)fprintf(stderr, "an objection without a lie\n");
            driver->failures++;
        }
    }
}

int main(int argc, char **argv)
{
    struct driver driver = {.options = {.scenario = "power", .process = "coordinator"}};
    crash_options_parse(&driver.options, argc, argv);
    const struct crash_options *options = &driver.options;
    driver.patient_name = options->process;
    driver.patient = strcmp(options->process, "coordinator") == 0 ? 0 : 1;
    if (strcmp(options->scenario, "lies") == 0) {
        run_lies(&driver);
        return driver.failures > 0 ? 1 : 0;
    }
    run_modes(&driver);
    (void)printf("%u runs", driver.runs);
    if (driver.points > 0) {
        (void)printf(" for %u points", driver.points);
    }
    (void)printf(" of %s (%s), %u with faults, %u halts, %u refused starts, %u writes lost, "
                 "%u failures%s\n",
                 driver.patient_name, options->scenario, driver.struck, driver.halts,
                 driver.refusals, driver.lost, driver.failures, options->stopped);
    bool sampled = options->point == NULL && strcmp(options->scenario, "power") == 0;
    if (driver.struck == 0 || (sampled && driver.lost == 0)) {
        (void)fprintf(stderr, "nothing was struck or lost: this shows nothing\n");
        driver.failures++;
    }
    return driver.failures > 0 ? 1 : 0;
}
