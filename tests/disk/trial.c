#include "tests/disk/trial.h"

#include "base/clock.h"
#include "tests/support/load.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum {
    ACCOUNTS = 4,
    CLIENTS = 3,
    FIRST_LOAD = 10,
    SECOND_LOAD = 4,
    TRANSFER_MS = 1500,
    LOOK_EVERY_MS = 5,
    LOAD_MS = 60000,
    PATIENCE_MS = 20000,
    SETTLE_MS = 3000,
    REFUSALS_MAX = 6,
    EXIT_HALTED = 70,
    EXIT_UNLOADED = 127, /* the dynamic linker could not start it, when that is what was struck */
};

static const char *const agent_flags[] = {"--ask-first", "50ms", "--ask-max", "200ms", NULL};

/* ---- The patient ---- */

static void examine(struct trial *trial)
{
    const struct sup_proc *proc = &trial->patient->proc;
    int status = proc->status;
    if (sup_proc_was_killed(proc)) {
        trial->kills++;
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_HALTED) {
        trial->halts++;
    } else if (WIFEXITED(status) &&
               (WEXITSTATUS(status) == 1 || WEXITSTATUS(status) == EXIT_UNLOADED)) {
        trial->refusals++;
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        char *output = sup_proc_output(proc);
        size_t size = strlen(output);
        sup_object(&trial->report, "%s ended with status %x and these words:\n%s",
                   trial->patient->name, (unsigned)status,
                   output + (size > 2000 ? size - 2000 : 0));
        free(output);
    }
}

void trial_start(struct trial *trial)
{
    for (unsigned refused = 0; refused < REFUSALS_MAX; refused++) {
        if (trial->prepare != NULL) {
            trial->prepare(trial, refused);
        }
        if (sup_daemon_start(trial->patient, NULL)) {
            return;
        }
        examine(trial);
    }
    char *output = sup_proc_output(&trial->patient->proc);
    sup_die("%s does not start (see %s):\n%s", trial->patient->name, trial->world.directory,
            output);
}

void trial_revive(struct trial *trial)
{
    if (!sup_daemon_is_running(trial->patient)) {
        examine(trial);
        trial_start(trial);
    }
}

void trial_stop(struct trial *trial)
{
    sup_proc_signal(&trial->patient->proc, SIGTERM);
    if (!sup_proc_wait(&trial->patient->proc, SUP_STOP_MS)) {
        sup_die("%s does not end", trial->patient->name);
    }
    examine(trial);
}

/* ---- The world ---- */

void trial_open(struct trial *trial, unsigned patient)
{
    struct sup_daemon *daemon;
    sup_world_init(&trial->world,
                   &(struct sup_world_options){.accounts = ACCOUNTS, .agent_flags = agent_flags});
    trial->patient = sup_world_daemon(&trial->world, patient);
    trial->patient->may_end = true;
    for (unsigned i = 0; (daemon = sup_world_daemon(&trial->world, i)) != NULL; i++) {
        if (daemon != trial->patient && !sup_daemon_start(daemon, NULL)) {
            sup_die("%s does not start", daemon->name);
        }
    }
}

void trial_load(struct trial *trial, unsigned count)
{
    char prefix[16];
    uint64_t until_ms = tpc_clock_mono_ms() + LOAD_MS;
    (void)snprintf(prefix, sizeof prefix, "load%u", trial->loads++);
    struct sup_load_options options = {.clients = CLIENTS,
                                       .count = count,
                                       .seed = trial->seed + trial->loads,
                                       .prefix = prefix,
                                       .keyed_percent = 30,
                                       .within_percent = 20,
                                       .broke_percent = 10,
                                       .faults = true,
                                       .timeout_ms = TRANSFER_MS};
    struct sup_load *load = sup_load_begin(&trial->world, &options, &trial->history);
    while (!sup_load_wait(load, count, LOOK_EVERY_MS)) {
        if (trial->look != NULL) {
            trial->look(trial);
        }
        trial_revive(trial);
        if (tpc_clock_mono_ms() > until_ms) {
            sup_die("%u transfers do not end (see %s)", count, trial->world.directory);
        }
    }
    sup_load_end(load, PATIENCE_MS);
}

void trial_play(struct trial *trial)
{
    trial_start(trial);
    trial_load(trial, FIRST_LOAD);
    trial_revive(trial);
    trial_stop(trial);
    trial_start(trial);
    trial_load(trial, SECOND_LOAD);
}

void trial_close(struct trial *trial)
{
    if (sup_daemon_is_running(trial->patient)) {
        sup_daemon_kill(trial->patient);
    } else {
        examine(trial);
    }
    trial->prepare = NULL;
    trial->patient->proc.environment = NULL;
    trial->patient->proc.wrapper = NULL;
    trial_start(trial);
    trial->patient->may_end = false;
    sup_check_all(&trial->world, &trial->history, NULL, &trial->report);
}

bool trial_objects(struct trial *trial)
{
    struct sup_books books;
    trial->report.quiet = true;
    trial->patient->proc.environment = NULL;
    trial->patient->proc.wrapper = NULL;
    if (!sup_daemon_start(trial->patient, NULL)) {
        char *output = sup_proc_output(&trial->patient->proc);
        (void)printf("the start is refused: %s", output);
        free(output);
        return true;
    }
    sup_check_settled(&trial->world, SETTLE_MS, &trial->report);
    trial->report.count = 0; /* a lie may leave something open for ever, which shows below */
    sup_books_read(&books, &trial->world);
    sup_check_atomic(&books, &trial->report);
    sup_check_told(&books, &trial->history, &trial->report);
    sup_check_shown(&trial->world, &books, &trial->history, &trial->report);
    sup_books_done(&books);
    return trial->report.count > 0;
}

void trial_done(struct trial *trial, bool keep)
{
    sup_world_done(&trial->world, keep);
    sup_history_done(&trial->history);
}
