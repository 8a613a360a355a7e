/* A file system of 4 MiB, full for real, under an agent's database, an agent's log and the
 * coordinator's log. New work is refused clearly, and when there is room again what was decided is
 * completed. Under a database the agent goes on all the time; under a log the daemon halts. */
#include "base/clock.h"
#include "tests/crash/options.h"
#include "tests/disk/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ROOM = 4 << 20,
    LOAD = 8,
    TRANSFERS_MAX = 80,
    REFUSALS_WANTED = 3,
    TRANSFER_MS = 300,
    SETTLE_MS = 20000,
    EXIT_HALTED = 70,
};

struct place {
    const char *name;
    unsigned patient;
    bool database; /* else the log */
};

static const struct place places[] = {
    {"database", 1, true}, {"agent-log", 1, false}, {"coordinator-log", 0, false}};

struct full {
    struct trial trial; /* first */
    const struct place *place;
    char directory[SUP_PATH_MAX], ballast[SUP_PATH_MAX + 16];
};

static void fill(struct full *full)
{
    static const char zeros[512];
    int fd = open(full->ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        sup_die("%s: %s", full->ballast, strerror(errno));
    }
    while (write(fd, zeros, sizeof zeros) > 0) {
    }
    if (errno != ENOSPC) {
        sup_die("%s: %s", full->ballast, strerror(errno));
    }
    (void)close(fd);
}

static struct sup_transfer *submit(struct full *full)
{
    struct trial *trial = &full->trial;
    struct sup_transfer *transfer = sup_history_add(&trial->history);
    unsigned number = (unsigned)trial->history.count;
    (void)snprintf(transfer->name, sizeof transfer->name, "full-%u", number);
    transfer->from = (struct sup_leg){number % 2, 1 + number % 4};
    transfer->to = (struct sup_leg){1 - number % 2, 1 + (number / 2) % 4};
    transfer->amount = 1;
    sup_transfer_submit(&trial->world, transfer, NULL, TRANSFER_MS);
    return transfer;
}

/* Turned away, or aborted for a cause that says whose fault it is. */
static bool is_refused(const struct sup_transfer *transfer)
{
    return transfer->told == SUP_TOLD_NOT_STARTED ||
           (transfer->told == SUP_TOLD_ABORTED &&
            (strcmp(transfer->cause, "unreachable") == 0 ||
             strcmp(transfer->cause, "participant_error") == 0));
}

static void work_until_refused(struct full *full)
{
    struct sup_report *report = &full->trial.report;
    unsigned refused = 0, transfers = 0;
    for (; transfers < TRANSFERS_MAX && refused < REFUSALS_WANTED; transfers++) {
        const struct sup_transfer *transfer = submit(full);
        (void)printf("  %s: HTTP %d %s\n", transfer->name, transfer->status, transfer->cause);
        refused += is_refused(transfer);
    }
    if (refused < REFUSALS_WANTED) {
        sup_object(report, "%u transfers on a full disk, and %u of them refused", transfers,
                   refused);
    }
}

/* The daemon, which had to halt, cannot start, or starts without need of room. */
static void check_halted(struct full *full)
{
    struct trial *trial = &full->trial;
    struct sup_proc *proc = &trial->patient->proc;
    if (!sup_proc_wait(proc, SUP_STOP_MS) || !WIFEXITED(proc->status) ||
        WEXITSTATUS(proc->status) != EXIT_HALTED) {
        sup_object(&trial->report, "%s did not halt on a full disk", trial->patient->name);
    }
    if (sup_daemon_start(trial->patient, NULL)) {
        (void)printf("  it starts on the full disk\n");
    } else if (!WIFEXITED(proc->status) ||
               (WEXITSTATUS(proc->status) != 1 && WEXITSTATUS(proc->status) != EXIT_HALTED)) {
        sup_object(&trial->report, "%s ended with status %x", trial->patient->name,
                   (unsigned)proc->status);
    }
}

static void run(struct full *full, const struct crash_options *options)
{
    struct trial *trial = &full->trial;
    trial_open(trial, full->place->patient);
    (void)snprintf(full->directory, sizeof full->directory, "%.200s/small", trial->world.directory);
    (void)snprintf(full->ballast, sizeof full->ballast, "%s/ballast", full->directory);
    mounts_tmpfs(full->directory, ROOM);
    if (full->place->database) {
        mounts_move_database(trial, full->directory);
    } else {
        mounts_move_log(trial, full->directory);
    }
    trial_start(trial);
    trial_load(trial, LOAD);
    fill(full);
    (void)printf("%s: full\n", full->place->name);
    work_until_refused(full);
    if (!full->place->database) {
        check_halted(full);
    }
    (void)unlink(full->ballast);
    if (!full->place->database && !sup_daemon_is_running(trial->patient)) {
        trial_start(trial);
    }
    sup_check_settled(&trial->world, SETTLE_MS, &trial->report);
    if (!sup_daemon_is_running(trial->patient)) {
        sup_object(&trial->report, "%s has ended", trial->patient->name);
    }
    trial_close(trial);
    (void)printf("%s: %zu of %zu committed, %u objections\n", full->place->name,
                 sup_history_told(&trial->history, SUP_TOLD_COMMITTED), trial->history.count,
                 trial->report.count);
    sup_daemon_kill(trial->patient);
    if (!options->keep) {
        (void)umount2(full->directory, MNT_DETACH);
    }
    trial_done(trial, options->keep);
}

int main(int argc, char **argv)
{
    struct crash_options options = {0};
    unsigned failures = 0;
    crash_options_parse(&options, argc, argv);
    if (!mounts_enter()) {
        return MOUNTS_SKIPPED;
    }
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct full full = {.trial = {.seed = options.seed}, .place = &places[i]};
        if (options.scenario == NULL || strcmp(options.scenario, places[i].name) == 0) {
            run(&full, &options);
            failures += full.trial.report.count > 0;
        }
    }
    return failures > 0 ? 1 : 0;
}
