/* A daemon dies as it makes its N-th system call of a kind, or that call fails, by `strace
 * --inject`: once in a life that begins with an empty directory, once in one that begins with
 * recovery. N goes from 1 until a run is clean: the daemon makes no such call any more. Where it
 * ended, which it may do by SIGKILL, with 70 or by a refused start, it is started again, and all
 * invariants hold.
 *
 * Without --full a quarter of the faults in turn, and few N of them; --scenario CALL is that call
 * alone, --scenario CALL:FAULT that fault, --point N that N.
 *
 * strace counts for each thread by itself, so it strikes at the first thread to get that far, and
 * at others later. */
#include "base/clock.h"
#include "tests/crash/options.h"
#include "tests/disk/trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STRACE "/usr/bin/strace"
#define KILL   "kill"

enum { SKIPPED = 77, WORDS = 24, FAR = 12, LIVES = 2, QUARTER = 4 };

/* What changes files and what talks. */
static const struct fault {
    const char *call, *error; /* KILL, or what the call fails with instead of being made */
    const char *file;         /* of the data directory, alone; NULL: any */
} faults[] = {
    {"pwrite64", KILL, NULL},
    {"recvfrom", "ECONNRESET", NULL},
    {"fdatasync", "EIO", NULL},
    {"sendmsg", KILL, NULL},
    {"fsync", KILL, NULL},
    {"pwrite64", "EIO", NULL},
    {"connect", "ECONNREFUSED", NULL},
    {"write", KILL, NULL},
    {"fdatasync", KILL, NULL},
    {"sendto", "ECONNRESET", NULL},
    {"pwrite64", "ENOSPC", NULL},
    {"recvfrom", KILL, NULL},
    {"sendto", KILL, NULL},
    {"accept4", "EMFILE", NULL},
    {"fsync", "EIO", NULL},
    {"read", KILL, NULL},
    {"rename", KILL, NULL},
    {"sendmsg", "ECONNRESET", NULL},
    {"pread64", "EIO", NULL},
    {"writev", KILL, NULL},
    {"ftruncate", KILL, NULL},
    {"recvfrom", "EINTR", NULL},
    {"rename", "EIO", NULL},
    /* The others that write are the loop's own wake-ups, which cannot fail. */
    {"write", "ENOSPC", "IDENTITY.new"},
    {"unlink", KILL, NULL},
    {"epoll_wait", "EINTR", NULL},
    {"pwrite64", "EINTR", NULL},
    {"ftruncate", "EIO", NULL},
    {"unlink", "EIO", NULL},
    {"accept4", "ECONNABORTED", NULL},
    {"writev", "ECONNRESET", NULL},
    {"socket", "EMFILE", NULL},
};

enum { FAULTS = sizeof faults / sizeof faults[0] };

struct driver {
    struct crash_options options;
    unsigned patient;
    const struct fault *fault;
    unsigned life; /* which start of the patient is watched: 1 or 2 */
    char expression[64], injection[64], output[SUP_PATH_MAX + 16], file[SUP_PATH_MAX + 32];
    const char *wrapper[WORDS];
    bool clean[FAULTS][LIVES];
    unsigned runs, struck, deaths, halts, refusals, failures;
};

static const char *const environment[] = {"ASAN_OPTIONS=detect_leaks=0",
                                          NULL}; /* not when traced */

static bool may_trace(void)
{
    return access(STRACE, X_OK) == 0 &&
           system(STRACE " -q -o /dev/null -f true >/dev/null 2>&1") == 0;
}

static bool kills(const struct fault *fault)
{
    return strcmp(fault->error, KILL) == 0;
}

static void make_wrapper(struct driver *driver, const struct trial *trial, uint64_t at)
{
    const struct fault *fault = driver->fault;
    const char *const words[WORDS] = {
        STRACE,           "-D", "-f", "-q", "-o", driver->output, "-e", driver->expression, "-e",
        driver->injection};
    (void)snprintf(driver->output, sizeof driver->output, "%s/strace", trial->world.directory);
    (void)snprintf(driver->expression, sizeof driver->expression, "trace=%s", fault->call);
    (void)snprintf(driver->injection, sizeof driver->injection, "inject=%s:%s%s:when=%llu",
                   fault->call,
                   kills(fault) ? "signal=SIG" : "error=", kills(fault) ? "KILL" : fault->error,
                   (unsigned long long)at);
    memcpy(driver->wrapper, words, sizeof words);
    const char **next = driver->wrapper + 10;
    if (fault->file != NULL) {
        (void)snprintf(driver->file, sizeof driver->file, "%.200s/%s", trial->patient->data,
                       fault->file);
        *next++ = "-P";
        *next++ = driver->file;
    }
    *next = "--";
}

static void on_start(struct trial *trial, unsigned refused)
{
    struct driver *driver = trial->arg;
    bool watched = refused == 0 && trial->kills == 0 && trial->patient->starts + 1 == driver->life;
    trial->patient->proc.wrapper = watched ? driver->wrapper : NULL;
    trial->patient->proc.environment = watched ? environment : NULL;
}

/* What strace marks in what it wrote. */
static bool is_struck(const struct driver *driver)
{
    char line[4096];
    bool found = false;
    FILE *file = fopen(driver->output, "re");
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        found = strstr(line, "(INJECTED)") != NULL;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return found;
}

/* True when it struck. */
static bool run(struct driver *driver, uint64_t at)
{
    struct trial trial = {.seed = driver->options.seed, .arg = driver, .prepare = on_start};
    const struct fault *fault = driver->fault;
    uint64_t began_ms = tpc_clock_mono_ms();
    trial_open(&trial, driver->patient);
    make_wrapper(driver, &trial, at);
    trial_play(&trial);
    bool struck = kills(fault) ? trial.kills > 0 : is_struck(driver);
    unsigned killed = trial.kills;
    trial_close(&trial);
    (void)printf("%s at %s %llu of life %u, %s: %s, %u halts, %u refused starts, %zu of %zu "
                 "committed, %.1f s\n",
                 driver->options.process, fault->call, (unsigned long long)at, driver->life,
                 fault->error, struck ? "struck" : "clean", trial.halts, trial.refusals,
                 sup_history_told(&trial.history, SUP_TOLD_COMMITTED), trial.history.count,
                 (double)(tpc_clock_mono_ms() - began_ms) / 1000);
    (void)fflush(stdout);
    driver->runs++;
    driver->struck += struck;
    driver->deaths += killed;
    driver->halts += trial.halts;
    driver->refusals += trial.refusals;
    if (trial.report.count > 0) {
        driver->failures++;
        (void)fprintf(stderr,
                      "run again with: --seed %llu --process %s --scenario %s:%s --point %llu\n",
                      (unsigned long long)driver->options.seed, driver->options.process,
                      fault->call, fault->error, (unsigned long long)at);
    }
    trial_done(&trial, driver->options.keep || trial.report.count > 0);
    return struck;
}

static void strike(struct driver *driver, size_t index, unsigned life, uint64_t at)
{
    bool *clean = &driver->clean[index][life - 1];
    if (!*clean && !crash_options_is_over(&driver->options)) {
        driver->fault = &faults[index];
        driver->life = life;
        *clean = !run(driver, at);
    }
}

static bool is_chosen(const struct crash_options *options, const struct fault *fault)
{
    char name[64];
    (void)snprintf(name, sizeof name, "%s:%s", fault->call, fault->error);
    return options->scenario == NULL || strcmp(options->scenario, fault->call) == 0 ||
           strcmp(options->scenario, name) == 0;
}

/* N by N, so that what fits in --seconds is of all faults. */
static void strike_everywhere(struct driver *driver)
{
    unsigned runs_before;
    uint64_t at = 0;
    do {
        runs_before = driver->runs;
        at++;
        for (size_t i = 0; i < FAULTS; i++) {
            for (unsigned life = 1; life <= LIVES && is_chosen(&driver->options, &faults[i]);
                 life++) {
                strike(driver, i, life, at);
            }
        }
    } while (driver->runs > runs_before);
}

static void strike_here_and_there(struct driver *driver)
{
    const struct crash_options *options = &driver->options;
    for (size_t i = 0; i < FAULTS; i++) {
        if (options->scenario != NULL ? !is_chosen(options, &faults[i])
                                      : (i + options->seed) % QUARTER != 0) {
            continue;
        }
        unsigned life = 1 + (unsigned)((options->seed / QUARTER + i) % LIVES);
        for (uint64_t at = 1 + options->seed % 5; !driver->clean[i][life - 1]; at *= FAR) {
            strike(driver, i, life, at);
        }
    }
}

static void strike_at(struct driver *driver, uint64_t at)
{
    for (size_t i = 0; i < FAULTS; i++) {
        for (unsigned life = 1; life <= LIVES && is_chosen(&driver->options, &faults[i]); life++) {
            strike(driver, i, life, at);
        }
    }
}

static unsigned count_clean(const struct driver *driver)
{
    unsigned count = 0;
    for (size_t i = 0; i < FAULTS; i++) {
        count += driver->clean[i][0] + driver->clean[i][1];
    }
    return count;
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
    if (options->point != NULL) {
        strike_at(&driver, strtoull(options->point, NULL, 10));
    } else if (options->full) {
        strike_everywhere(&driver);
    } else {
        strike_here_and_there(&driver);
    }
    (void)printf(
        "%u runs of %s, %u struck, %u deaths, %u halts, %u refused starts, %u of %u faults "
        "until clean, %u failures%s\n",
        driver.runs, options->process, driver.struck, driver.deaths, driver.halts, driver.refusals,
        count_clean(&driver), (unsigned)FAULTS * LIVES, driver.failures, options->stopped);
    return driver.failures > 0 || driver.struck == 0 ? 1 : 0;
}
