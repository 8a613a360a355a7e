/* usage: memory_test coordinator|agent [--full] [--stage once|sticky|start] [--from N] [--seconds
 * N]
 *                    [--keep]
 *
 * The N-th allocation of one process fails, or all from the N-th on, for N = 1, 2, … until the
 * scenario is over before one fails. The process may go on, or halt with a message; it is started
 * again then. Nothing that was told may be wrong, nothing may hang or crash.
 *
 * By default a sample of N, so that it ends in well under a minute; with --full all, and the start
 * of the process too. */
#include "tests/memory/nomem.h"
#include "tests/memory/scenario.h"

#include "base/clock.h"
#include "tests/support/http.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    EXIT_HALT = 70,
    SETTLE_MS = 15000,
    LOOK_MS = 500,
    LIFE = 10, /* runs to an end in good order */
    SAMPLES = 60,
    STICKY_SAMPLES = 20,
    START_SAMPLES = 20,
    OBJECTIONS_MAX = 10
};

static const char *const agent_flags[] = {"--ask-first", "50ms", "--ask-max", "200ms", NULL};

struct test {
    struct sup_world world;
    struct sup_history history;
    struct sup_report report;
    struct sup_daemon *target;
    struct nomem_control *control;
    char control_path[SUP_PATH_MAX + 16], control_variable[SUP_PATH_MAX + 32];
    char asan_options[SUP_PATH_MAX];
    const char *environment[5];
    bool full;
    const char *stage; /* NULL: all */
    unsigned from;
    uint64_t seconds, began_ms; /* begin no run after that; 0: no bound */
    bool stopped;
    unsigned runs, halts, went_on, starts, not_started;
};

/* ---- The process that has no memory ---- */

static void make_control(struct test *test)
{
    (void)snprintf(test->control_path, sizeof test->control_path, "%s/nomem",
                   test->world.directory);
    int fd = open(test->control_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof *test->control) != 0) {
        sup_die("%s cannot be made", test->control_path);
    }
    test->control = mmap(NULL, sizeof *test->control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (test->control == MAP_FAILED) {
        sup_die("%s cannot be mapped", test->control_path);
    }
    (void)close(fd);
    (void)snprintf(test->control_variable, sizeof test->control_variable, "NOMEM_CONTROL=%s",
                   test->control_path);
    test->environment[0] = "LD_PRELOAD=" MEMORY_PRELOAD;
    test->environment[1] = test->control_variable;
    /* The sanitizer of addresses, where there is one, comes after our library, and looks for leaks
     * whenever the process ends in good order. */
    const char *asan = getenv("ASAN_OPTIONS");
    (void)snprintf(test->asan_options, sizeof test->asan_options,
                   "ASAN_OPTIONS=verify_asan_link_order=0%s%.200s", asan != NULL ? ":" : "",
                   asan != NULL ? asan : "");
    test->environment[2] = test->asan_options;
    test->environment[3] = "LSAN_OPTIONS=print_suppressions=0:suppressions=" MEMORY_LEAKS;
}

static void arm(struct test *test, uint64_t fail_at, bool sticky)
{
    atomic_store(&test->control->seen, 0);
    atomic_store(&test->control->failed, 0);
    atomic_store(&test->control->fail_at, fail_at);
    atomic_store(&test->control->sticky, sticky);
    atomic_store(&test->control->armed, true);
}

/* Returns how many allocations there were. */
static uint64_t disarm(struct test *test)
{
    atomic_store(&test->control->armed, false);
    return atomic_load(&test->control->seen);
}

/* What it said from the last allocation that failed. */
static const char *last_trace(const char *output)
{
    static const char mark[] = "nomem: allocation";
    const char *last = output;
    for (const char *at = output; (at = strstr(at, mark)) != NULL; at += sizeof mark - 1) {
        last = at;
    }
    return last;
}

/* Did it end as it may: by itself, with words? */
static void check_end(struct test *test, const char *name, bool at_start)
{
    const struct sup_proc *proc = &test->target->proc;
    bool exited = WIFEXITED(proc->status);
    int code = exited ? WEXITSTATUS(proc->status) : 0;
    char *output = sup_proc_output(proc);
    bool good = exited && (code == EXIT_HALT ? sup_proc_said(proc, "evt=daemon.halt")
                                             : at_start && code != 0 && *output != '\0');
    if (!good) {
        sup_object(&test->report, "%s: the process ended by %s %d:\n%s", name,
                   exited ? "exit" : "signal", exited ? code : WTERMSIG(proc->status),
                   last_trace(output));
    }
    free(output);
}

/* All run again, with memory. True when that took a start. */
static bool revive(struct test *test, const char *name)
{
    if (sup_proc_said(&test->target->proc, "evt=daemon.halt")) {
        (void)sup_proc_wait(&test->target->proc,
                            SUP_STOP_MS); /* connections close before it ends */
    }
    bool ended = !sup_daemon_is_running(test->target);
    if (ended) {
        check_end(test, name, false);
        sup_daemon_launch(test->target, NULL);
        if (!sup_proc_wait_ready(&test->target->proc, SUP_START_MS)) {
            char *output = sup_proc_output(&test->target->proc);
            sup_die("%s: %s does not start again:\n%s", name, test->target->name, output);
        }
    }
    sup_world_revive(&test->world);
    return ended;
}

/* Whatever failed for want of memory may make it halt a while later: it is looked after until
 * nothing is open any more. */
static void settle(struct test *test, const char *name)
{
    uint64_t until_ms = tpc_clock_mono_ms() + SETTLE_MS;
    struct sup_report open = {.quiet = true};
    bool halted = false;
    do {
        halted = revive(test, name) || halted;
        open.count = 0;
        sup_check_settled(&test->world, LOOK_MS, &open);
    } while (open.count > 0 && tpc_clock_mono_ms() < until_ms);
    if (open.count > 0) {
        sup_object(&test->report, "%s: %s", name, open.last);
    }
    test->halts += halted;
    test->went_on += !halted;
}

/* What was allocated and forgotten on the way shows at an end in good order. */
static void end_well(struct test *test, const char *name)
{
    sup_proc_signal(&test->target->proc, SIGTERM);
    if (!sup_proc_wait(&test->target->proc, SUP_STOP_MS)) {
        sup_die("%s: %s does not end", name, test->target->name);
    }
    if (!WIFEXITED(test->target->proc.status) || WEXITSTATUS(test->target->proc.status) != 0) {
        char *output = sup_proc_output(&test->target->proc);
        sup_object(&test->report, "%s: %s ends at SIGTERM with status %x:\n%s", name,
                   test->target->name, (unsigned)test->target->proc.status, last_trace(output));
        free(output);
    }
    sup_world_revive(&test->world);
}

/* ---- One run ---- */

/* False when it was over before an allocation failed. */
static bool run(struct test *test, uint64_t fail_at, bool sticky)
{
    char name[32];
    unsigned objections = test->report.count;
    (void)snprintf(name, sizeof name, "%s%llu", sticky ? "from" : "at",
                   (unsigned long long)fail_at);
    arm(test, fail_at, sticky);
    memory_scenario(&test->world, &test->history, name, &test->report);
    (void)disarm(test);
    bool fired = atomic_load(&test->control->failed) > 0;
    test->runs++;
    settle(test, name);
    if (test->runs % LIFE == 0) {
        end_well(test, name);
    }
    if (test->report.count > objections) {
        (void)fprintf(stderr, "above: %s\n", name);
    }
    return fired;
}

static uint64_t count_allocations(struct test *test)
{
    memory_scenario(&test->world, &test->history, "warm", &test->report); /* fill the caches */
    arm(test, 0, false);
    memory_scenario(&test->world, &test->history, "dry", &test->report);
    return disarm(test);
}

static bool is_over(struct test *test)
{
    test->stopped = test->stopped || (test->seconds != 0 &&
                                      tpc_clock_mono_ms() > test->began_ms + test->seconds * 1000);
    return test->stopped || test->report.count >= OBJECTIONS_MAX;
}

static void run_all(struct test *test, uint64_t count, unsigned samples, bool sticky)
{
    uint64_t step = test->full || count < samples ? 1 : count / samples;
    for (uint64_t at = test->from; !is_over(test) && run(test, at, sticky); at += step) {
        if (test->runs % 20 == 0) {
            (void)printf("%u runs, N %llu of about %llu\n", test->runs, (unsigned long long)at,
                         (unsigned long long)count);
            (void)fflush(stdout);
        }
    }
}

/* ---- The start ---- */

static bool start(struct test *test, uint64_t fail_at)
{
    char name[32];
    (void)snprintf(name, sizeof name, "start%llu", (unsigned long long)fail_at);
    sup_daemon_kill(test->target);
    arm(test, fail_at, true);
    sup_daemon_launch(test->target, NULL);
    bool ready = sup_proc_wait_ready(&test->target->proc, SUP_START_MS);
    (void)disarm(test);
    test->starts++;
    if (!ready) {
        check_end(test, name, true);
        test->not_started++;
        sup_daemon_launch(test->target, NULL);
        ready = sup_proc_wait_ready(&test->target->proc, SUP_START_MS);
    }
    if (!ready) {
        sup_die("%s: %s does not start again", name, test->target->name);
    }
    return atomic_load(&test->control->failed) > 0;
}

static void run_starts(struct test *test)
{
    sup_daemon_kill(test->target);
    arm(test, 0, false);
    sup_daemon_launch(test->target, NULL);
    (void)sup_proc_wait_ready(&test->target->proc, SUP_START_MS);
    uint64_t count = disarm(test);
    uint64_t step = test->full || count < START_SAMPLES ? 1 : count / START_SAMPLES;
    (void)printf("%llu allocations in a start\n", (unsigned long long)count);
    for (uint64_t at = test->from; !is_over(test) && start(test, at); at += step) {
    }
}

/* ---- Together ---- */

static bool is_wanted(const struct test *test, const char *stage)
{
    return test->stage == NULL || strcmp(test->stage, stage) == 0;
}

static void play(struct test *test)
{
    uint64_t count = count_allocations(test);
    (void)printf("%llu allocations in the scenario\n", (unsigned long long)count);
    if (is_wanted(test, "once")) {
        run_all(test, count, SAMPLES, false);
    }
    if (is_wanted(test, "sticky")) {
        run_all(test, count, STICKY_SAMPLES, true);
    }
    if (is_wanted(test, "start")) {
        run_starts(test);
    }
    if (test->report.count < OBJECTIONS_MAX) {
        sup_check_all(&test->world, &test->history, NULL, &test->report);
    }
    (void)printf(
        "%u runs of %s (%s): %u went on, %u halted; %u starts, %u of them refused; %u failures",
        test->runs, test->target->name, test->stage != NULL ? test->stage : "all stages",
        test->went_on, test->halts, test->starts, test->not_started, test->report.count);
    if (test->stopped) {
        (void)printf(", stopped after %llu s", (unsigned long long)test->seconds);
    }
    (void)printf("\n");
}

static void parse(struct test *test, int argc, char **argv, bool *ret_keep)
{
    for (int i = 2; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--full") == 0) {
            test->full = true;
        } else if (strcmp(argv[i], "--keep") == 0) {
            *ret_keep = true;
        } else if (strcmp(argv[i], "--stage") == 0) {
            test->stage = value;
            i++;
        } else if (strcmp(argv[i], "--from") == 0 && atoi(value) > 0) {
            test->from = (unsigned)atoi(value);
            i++;
        } else if (strcmp(argv[i], "--seconds") == 0 && atoi(value) > 0) {
            test->seconds = (uint64_t)atoi(value);
            i++;
        } else {
            argc = 0;
        }
    }
    if (argc < 2) {
        (void)fprintf(stderr,
                      "usage: %s coordinator|agent [--full] [--stage once|sticky|start] "
                      "[--from N] [--seconds N] [--keep]\n",
                      argv[0]);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static struct test test = {.from = 1};
    bool keep = false;
    test.began_ms = tpc_clock_mono_ms();
    parse(&test, argc, argv, &keep);
    sup_world_init(&test.world, &(struct sup_world_options){
                                    .agents = 2, .balance = 1000000, .agent_flags = agent_flags});
    test.target = strcmp(argv[1], "agent") == 0 ? &test.world.agents[0] : &test.world.coordinator;
    make_control(&test);
    test.target->may_end = true;
    test.target->proc.environment = test.environment;
    sup_world_start(&test.world);
    play(&test);
    bool failed = test.report.count > 0;
    sup_world_done(&test.world, keep || failed);
    sup_history_done(&test.history);
    return failed ? 1 : 0;
}
