/* A daemon dies as it makes its N-th system call of a kind, by `strace --inject`: once in a life
 * that begins with an empty directory, once in one that begins with recovery. N goes from 1 until
 * the daemon does not die any more. Without --full half of the calls, and few N of them; --scenario
 * CALL is that call alone, --point N that N alone.
 * The daemon is started again, and all invariants hold.
 *
 * strace counts for each thread by itself, so a run dies at the first thread to get that far. */
#include "base/clock.h"
#include "tests/crash/options.h"
#include "tests/disk/trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STRACE "/usr/bin/strace"

enum { SKIPPED = 77, WORDS = 16, FAR = 12 };

/* What changes files and what talks; the first three are what SQLite and IDENTITY do to disks. */
static const char *const calls[] = {"pwrite64", "fsync",  "fdatasync", "write",
                                    "sendmsg",  "sendto", "writev",    "recvfrom",
                                    "read",     "rename", "ftruncate", "unlink"};

struct driver {
    struct crash_options options;
    unsigned patient;
    const char *call;
    unsigned life; /* which start of the patient is watched: 1 or 2 */
    char expression[64], injection[64];
    const char *wrapper[WORDS];
    unsigned runs, deaths, failures;
};

static const char *const environment[] = {"ASAN_OPTIONS=detect_leaks=0",
                                          NULL}; /* not when traced */

static bool may_trace(void)
{
    return access(STRACE, X_OK) == 0 &&
           system(STRACE " -q -o /dev/null -f true >/dev/null 2>&1") == 0;
}

static void make_wrapper(struct driver *driver, uint64_t at)
{
    const char *const words[WORDS] = {STRACE, "-D",
                                      "-f",   "-q",

                                      "-o",   "/dev/null",
                                      "-e",   driver->expression,
                                      "-e",   driver->injection,
                                      "--"};
    (void)snprintf(driver->expression, sizeof driver->expression, "trace=%s", driver->call);
    (void)snprintf(driver->injection, sizeof driver->injection,
                   "inject=%s:signal=SIGKILL:when=%llu", driver->call, (unsigned long long)at);
    memcpy(driver->wrapper, words, sizeof words);
}

static void on_start(struct trial *trial, unsigned refused)
{
    struct driver *driver = trial->arg;
    bool watched = trial->kills == 0 && trial->patient->starts + 1 == driver->life;
    (void)refused;
    trial->patient->proc.wrapper = watched ? driver->wrapper : NULL;
    trial->patient->proc.environment = watched ? environment : NULL;
}

/* True when it died. */
static bool run(struct driver *driver, uint64_t at)
{
    struct trial trial = {.seed = driver->options.seed, .arg = driver, .prepare = on_start};
    uint64_t began_ms = tpc_clock_mono_ms();
    make_wrapper(driver, at);
    trial_open(&trial, driver->patient);
    trial_play(&trial);
    bool died = trial.kills > 0;
    trial_close(&trial);
    (void)printf("%s at %s %llu of life %u: %s, %zu of %zu committed, %.1f s\n",
                 driver->options.process, driver->call, (unsigned long long)at, driver->life,
                 died ? "died" : "lived", sup_history_told(&trial.history, SUP_TOLD_COMMITTED),
                 trial.history.count, (double)(tpc_clock_mono_ms() - began_ms) / 1000);
    (void)fflush(stdout);
    driver->runs++;
    driver->deaths += died;
    if (trial.report.count > 0) {
        driver->failures++;
        (void)fprintf(stderr,
                      "run again with: --seed %llu --process %s --scenario %s --point %llu\n",
                      (unsigned long long)driver->options.seed, driver->options.process,
                      driver->call, (unsigned long long)at);
    }
    trial_done(&trial, driver->options.keep || trial.report.count > 0);
    return died;
}

static void kill_at(struct driver *driver, unsigned life)
{
    const char *point = driver->options.point;
    driver->life = life;
    if (point != NULL) {
        (void)run(driver, strtoull(point, NULL, 10));
        return;
    }
    bool full = driver->options.full;
    for (uint64_t at = full ? 1 : 1 + driver->options.seed % 5; run(driver, at);) {
        at = full ? at + 1 : at * FAR;
    }
}

static void kill_in(struct driver *driver, size_t index)
{
    unsigned first = 1 + (unsigned)((driver->options.seed / 2 + index) % 2);
    kill_at(driver, first);
    if (driver->options.full || driver->options.scenario != NULL) {
        kill_at(driver, 3 - first);
    }
}

int main(int argc, char **argv)
{
    struct driver driver = {.options = {.process = "coordinator"}};
    crash_options_parse(&driver.options, argc, argv);
    const struct crash_options *options = &driver.options;
    driver.patient = strcmp(options->process, "coordinator") == 0 ? 0 : 1;
    if (!may_trace()) {
        (void)printf("skipped: there is no " STRACE ", or it may not trace here\n");
        return SKIPPED;
    }
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        const char *chosen = options->scenario;
        driver.call = calls[i];
        if (chosen != NULL ? strcmp(chosen, calls[i]) == 0
                           : options->full || (i + options->seed) % 2 == 0) {
            kill_in(&driver, i);
        }
    }
    (void)printf("%u runs, %u deaths, %u failures\n", driver.runs, driver.deaths, driver.failures);
    return driver.failures > 0 || driver.deaths == 0 ? 1 : 0;
}
