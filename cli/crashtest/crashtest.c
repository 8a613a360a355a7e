#include "cli/crashtest/crashtest.h"

#include "base/clock.h"
#include "base/memory.h"
#include "cli/crashtest/invariants.h"
#include "cli/crashtest/workload_internal.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    JOBS_MAX = 32,
    SPOILT_MAX = 3, /* then an injection is given up */
    LOOK_EVERY_MS = 200,
    LIST_MS = 10000,
    ASK_COMMAND_MS = 3000,
    PREPARE_MS = 20000,
};

static atomic_bool cancelled;

static void on_interrupt(int number)
{
    (void)number;
    atomic_store(&cancelled, true);
}

/* One crash test under way. */
struct engine {
    struct cli_crashtest *test;
    pthread_mutex_t mutex; /* of all below, and of what is in the items */
    pthread_cond_t changed;
    size_t next;      /* item */
    unsigned run;     /* number of the last */
    unsigned working; /* threads */
    unsigned failures, spoilt;
    uint64_t began_ms;
    uint64_t limit_ms; /* of what is under way; 0: none */
};

/* ---- One run ---- */

/* Note what came of it. False when it was broken off, and says nothing. */
static bool note_run(struct engine *engine, struct cli_injection *item, struct cli_play *play,
                     uint64_t counts[CLI_ANOMALY_COUNT])
{
    bool broken_off = atomic_load(&cancelled);
    (void)pthread_mutex_lock(&engine->mutex);
    bool spoilt = play->violations == 0 && play->spoilt;
    item->runs += !broken_off;
    for (unsigned i = 0; i < CLI_ANOMALY_COUNT && !broken_off && !spoilt; i++) {
        engine->test->counts[i] += counts[i];
    }
    if (!broken_off && spoilt) {
        item->spoilt++;
        engine->spoilt++;
        cli_report_spoilt(engine->test, item->row, play);
    }
    if (!broken_off && play->violations > 0) {
        item->violations = play->violations;
        item->said = tpc_buf_take(&play->said);
        (void)snprintf(item->directory, sizeof item->directory, "%s", play->world.directory);
        engine->failures++;
    }
    (void)pthread_mutex_unlock(&engine->mutex);
    return !broken_off;
}

static bool has_fired(const struct cli_injection *item, const struct cli_play *play)
{
    return item->row == CLI_ROW_NOTHING ||
           (item->row == CLI_ROW_RECOVERY ? play->fired_again : play->fired);
}

/* True when it need not be tried again. */
static bool run_once(struct engine *engine, struct cli_injection *item, const struct cli_plot *plot)
{
    struct cli_play play;
    uint64_t counts[CLI_ANOMALY_COUNT] = {0};
    char name[32];
    (void)pthread_mutex_lock(&engine->mutex);
    (void)snprintf(name, sizeof name, "run-%u", ++engine->run);
    (void)pthread_mutex_unlock(&engine->mutex);
    cli_play_open(&play, &engine->test->setup, plot, name);
    plot->scene->play(&play);
    cli_play_close(&play);
    cli_check_play(&play, counts);
    bool good = note_run(engine, item, &play, counts), violated = play.violations > 0;
    (void)pthread_mutex_lock(&engine->mutex);
    bool spoilt = good && !violated && play.spoilt;
    item->fired = good && !spoilt && has_fired(item, &play);
    if (item->fired) {
        item->plot = *plot;
    }
    if (item->fired && (item->row == CLI_ROW_NOTHING || item->row == CLI_ROW_KILL)) {
        struct cli_hits *hits = item->row == CLI_ROW_KILL ? &play.recovery : &play.hits;
        item->hits = *hits;
        *hits = (struct cli_hits){0};
    }
    if (good && !spoilt && item->row == CLI_ROW_NOTHING && play.world.proxy != NULL) {
        cli_plan_note_messages(&engine->test->plan, plot->scene_index, play.world.proxy);
    }
    (void)pthread_mutex_unlock(&engine->mutex);
    bool enough = !good || violated || item->fired;
    cli_play_done(&play, engine->test->keep || (good && violated) || spoilt);
    return enough;
}

static void run_item(struct engine *engine, struct cli_injection *item)
{
    struct cli_plot plot;
    bool never_passed = item->row == CLI_ROW_KILL && item->plot.start == 0, enough = never_passed;
    for (unsigned try = 0; !enough && item->spoilt < SPOILT_MAX &&
                           cli_plan_next_try(&engine->test->plan, item, try, &plot);) {
        unsigned spoilt = item->spoilt;
        enough = run_once(engine, item, &plot);
        try += item->spoilt == spoilt;
    }
    (void)pthread_mutex_lock(&engine->mutex);
    item->done = !atomic_load(&cancelled) && item->spoilt < SPOILT_MAX;
    if (item->violations > 0) {
        cli_report_violation(engine->test, item);
    }
    (void)pthread_mutex_unlock(&engine->mutex);
}

/* ---- Many ---- */

static bool is_over_time(const struct engine *engine)
{
    return engine->limit_ms != 0 && tpc_clock_mono_ms() - engine->began_ms >= engine->limit_ms;
}

/* The next one to be run, NULL when there is none any more. */
static struct cli_injection *take(struct engine *engine)
{
    struct cli_plan *plan = &engine->test->plan;
    struct cli_injection *item = NULL;
    (void)pthread_mutex_lock(&engine->mutex);
    if (engine->next < plan->count && !atomic_load(&cancelled) && !is_over_time(engine) &&
        engine->failures < engine->test->violations_max) {
        item = &plan->items[engine->next++];
        item->taken = true;
    }
    (void)pthread_mutex_unlock(&engine->mutex);
    return item;
}

static void *work(void *arg)
{
    struct engine *engine = arg;
    struct cli_injection *item;
    while ((item = take(engine)) != NULL) {
        run_item(engine, item);
    }
    (void)pthread_mutex_lock(&engine->mutex);
    engine->working--;
    (void)pthread_cond_broadcast(&engine->changed);
    (void)pthread_mutex_unlock(&engine->mutex);
    return NULL;
}

static void wait_for_workers(struct engine *engine, bool more_to_come)
{
    (void)pthread_mutex_lock(&engine->mutex);
    while (engine->working > 0) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_EVERY_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        (void)pthread_cond_timedwait(&engine->changed, &engine->mutex, &until);
        cli_report_progress(engine->test, engine->began_ms, more_to_come);
    }
    (void)pthread_mutex_unlock(&engine->mutex);
}

/* Everything that is in the plan and was not run. */
static void run_all(struct engine *engine, bool more_to_come)
{
    pthread_t threads[JOBS_MAX];
    unsigned jobs = engine->test->jobs;
    engine->working = jobs;
    for (unsigned i = 0; i < jobs; i++) {
        if (pthread_create(&threads[i], NULL, work, engine) != 0) {
            cli_die("cannot start a thread");
        }
    }
    wait_for_workers(engine, more_to_come);
    for (unsigned i = 0; i < jobs; i++) {
        (void)pthread_join(threads[i], NULL);
    }
}

/* ---- Failpoints ---- */

/* What @args print when they end with 0, a name a line; NULL otherwise. The caller frees. */
static char *list_points(const struct cli_setup *setup, const char *const *args, uint64_t limit_ms)
{
    char path[2 * CLI_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/points", setup->directory);
    (void)unlink(path);
    struct cli_proc proc = {0};
    cli_proc_start(&proc, args, path);
    bool ended = cli_proc_wait(&proc, limit_ms);
    cli_proc_kill(&proc);
    char *names = ended && cli_proc_ended_in_order(&proc) ? cli_proc_output(&proc) : NULL;
    bool good = names != NULL && names[0] != '\0';
    for (const char *c = good ? names : ""; *c != '\0'; c++) {
        good = good && (islower((unsigned char)*c) || *c == '.' || *c == '_' || *c == '\n');
    }
    if (!good) {
        free(names);
        return NULL;
    }
    return names;
}

static char *points_of(const struct cli_setup *setup, unsigned node)
{
    const struct cli_spec *spec = node > 0 ? &setup->specs[node - 1] : NULL;
    char program[2048];
    if (spec != NULL && spec->url != NULL) {
        const char *const args[] = {"/bin/sh", "-c", program, NULL};
        (void)snprintf(program, sizeof program, "exec %s --list-failpoints",
                       spec->command != NULL ? spec->command : "false");
        return spec->command != NULL ? list_points(setup, args, ASK_COMMAND_MS) : NULL;
    }
    const char *const args[] = {program, "--list-failpoints", NULL};
    (void)snprintf(program, sizeof program, "%s/%s", setup->programs,
                   spec == NULL ? "assentd" : "assent-agent");
    char *names = list_points(setup, args, LIST_MS);
    if (names == NULL) {
        cli_die("%s --list-failpoints fails", program);
    }
    return names;
}

/* ---- The whole ---- */

static enum tpc_rc open_setup(struct cli_crashtest *test, struct tpc_err *reterr)
{
    struct cli_setup *setup = &test->setup;
    enum tpc_rc rc = cli_setup_open(setup, reterr);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    setup->cancelled = &cancelled;
    if (test->jobs == 0) {
        test->jobs = processors > 2 ? (unsigned)processors : 2;
    }
    test->jobs = cli_setup_is_alone(setup) ? 1 : test->jobs < JOBS_MAX ? test->jobs : JOBS_MAX;
    for (unsigned i = 0; rc == TPC_OK && i < setup->spec_count; i++) {
        char *names = setup->specs[i].url != NULL ? points_of(setup, 1 + i) : NULL;
        setup->specs[i].has_failpoints = names != NULL;
        free(names);
    }
    return rc;
}

/* Participants of the user's own have the tables, and are reached. Else a run would only say that
 * nothing works. */
static bool rehearse(struct cli_crashtest *test)
{
    unsigned index;
    struct cli_plot plot = {.scene = cli_scene_find(CLI_SCENE_LOAD, &index)};
    struct cli_play play;
    if (!cli_setup_is_alone(&test->setup)) {
        return true;
    }
    cli_play_open(&play, &test->setup, &plot, "rehearsal");
    bool good = play.violations == 0, broken_off = atomic_load(&cancelled);
    if (!good) {
        (void)fprintf(
            stderr,
            "assent crashtest: %sDoes every participant serve where it was said, and does "
            "it have the tables that\n`assent crashtest --tables sqlite` prints (or "
            "postgresql, mariadb)?\nThe logs are in %s\n",
            play.said.data, play.world.directory);
    }
    cli_play_done(&play, !good || test->keep);
    return good && !broken_off;
}

/* Of agents that are alike one is enough, when no other is asked for. */
static void add_kills(struct cli_plan *plan)
{
    for (unsigned node = 0; node <= plan->setup->spec_count; node++) {
        if (!cli_plan_is_like_earlier(plan->setup, node) || plan->choice.full ||
            plan->choice.process != NULL) {
            char *names = points_of(plan->setup, node);
            cli_plan_add_kills(plan, node, names);
            free(names);
        }
    }
}

/* Does one of the lines of @names say @point, which has @size bytes? */
static bool has_line(const char *names, const char *point, size_t size)
{
    for (const char *line = names; line != NULL && *line != '\0';) {
        size_t length = strcspn(line, "\n");
        if (length == size && memcmp(line, point, size) == 0) {
            return true;
        }
        line += length + (line[length] == '\n');
    }
    return false;
}

/* A point that no process has would be a test of nothing, which always holds. */
static bool knows_point(const struct cli_crashtest *test, const char *point)
{
    bool found = point[0] == '\0';
    for (unsigned node = 0; node <= test->setup.spec_count && !found; node++) {
        char *names = points_of(&test->setup, node);
        found = has_line(names, point, strlen(point));
        free(names);
    }
    if (!found) {
        (void)fprintf(stderr,
                      "assent crashtest: no process has a failpoint \"%s\"; assentd and "
                      "assent-agent --list-failpoints\nname theirs\n",
                      point);
    }
    return found;
}

static void inject_all(struct engine *engine)
{
    struct cli_crashtest *test = engine->test;
    struct cli_plan *plan = &test->plan;
    bool again = cli_plan_wants(plan, CLI_ROW_RECOVERY) && plan->choice.again[0] == '\0';
    cli_plan_add_dry_runs(plan);
    run_all(engine, true);
    size_t dry_runs = plan->count;
    cli_plan_gather_hits(plan);
    if (cli_plan_wants(plan, CLI_ROW_KILL) || cli_plan_wants(plan, CLI_ROW_RECOVERY)) {
        add_kills(plan);
    }
    if (cli_plan_wants(plan, CLI_ROW_SERVER)) {
        cli_plan_add_servers(plan);
    }
    if (cli_plan_wants(plan, CLI_ROW_STOP)) {
        cli_plan_add_stops(plan);
    }
    cli_plan_add_messages(plan);
    if (test->list) {
        return;
    }
    /* Of little time half is for the recoveries, of which nothing is known before. */
    engine->limit_ms = again ? test->time_limit_ms / 2 : test->time_limit_ms;
    cli_plan_shuffle(plan, dry_runs);
    run_all(engine, again);
    engine->limit_ms = test->time_limit_ms;
    engine->next = plan->count;
    if (again) {
        cli_plan_add_recoveries(plan);
        cli_plan_shuffle(plan, engine->next);
        run_all(engine, false);
    }
}

static void judge_completeness(struct engine *engine)
{
    struct cli_crashtest *test = engine->test;
    test->took_ms = tpc_clock_mono_ms() - engine->began_ms;
    test->complete = true;
    for (size_t i = 0; i < test->plan.count; i++) {
        const struct cli_injection *item = &test->plan.items[i];
        bool only_said = test->list && item->row != CLI_ROW_NOTHING;
        test->complete = test->complete && (item->done || only_said);
        test->given_up += item->spoilt >= SPOILT_MAX;
    }
    bool enough = engine->failures >= test->violations_max;
    test->interrupted = atomic_load(&cancelled);
    if (!test->complete) {
        test->why = test->interrupted    ? "interrupted"
                    : enough             ? "enough violations"
                    : test->given_up > 0 ? "a server did not come up again, several times"
                                         : "stopped when its time was over";
    }
}

enum cli_exit cli_crashtest_run(struct cli_crashtest *test)
{
    struct engine engine = {.test = test, .began_ms = tpc_clock_mono_ms()};
    struct sigaction action = {.sa_handler = on_interrupt};
    struct tpc_err err = {0};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)pthread_mutex_init(&engine.mutex, NULL);
    (void)pthread_cond_init(&engine.changed, NULL);
    test->plan.choice = test->choice;
    test->plan.setup = &test->setup;
    enum cli_exit result = CLI_ERROR;
    bool keep = test->keep;
    if (open_setup(test, &err) != TPC_OK) {
        (void)fprintf(stderr, "assent crashtest: %s\n", err.text);
    } else if (!knows_point(test, test->choice.point) || !knows_point(test, test->choice.again)) {
        result = CLI_USAGE;
    } else if (!rehearse(test)) {
        keep = true;
    } else {
        inject_all(&engine);
        cli_report_progress_end();
        judge_completeness(&engine);
        result = cli_report(test);
    }
    cli_setup_close(&test->setup, keep || engine.failures > 0 || engine.spoilt > 0);
    cli_plan_done(&test->plan);
    (void)pthread_cond_destroy(&engine.changed);
    (void)pthread_mutex_destroy(&engine.mutex);
    return result;
}
