/* Every failpoint of every process, and a kill at each.
 *
 * A dry run of all scenarios shows which points are passed where. Then for each point a scenario
 * that passes it is played with the process dying there, once at its first chance and once in its
 * last start of the scenario, and there once more while it recovers from that. Whoever died is
 * started again, and at the end all invariants hold. A point that no scenario passes, or at which
 * nobody died, is a failure. */
#include "base/clock.h"
#include "tests/crash/options.h"
#include "tests/crash/scenarios.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS_MAX = 256, TRIES = 3, FAILURES_MAX = 5 };

static const char *const process_names[] = {"coordinator", "east"};
static const char *const programs[] = {"assentd", "assent-agent"};

struct matrix {
    struct crash_options options;
    struct stage_hits hits;
    char points[2][POINTS_MAX][STAGE_POINT_MAX]; /* by process */
    size_t point_count[2];
    unsigned runs, failures;
};

/* ---- The points ---- */

static void read_points(struct matrix *matrix, unsigned process, const char *directory)
{
    char path[SUP_PATH_MAX], line[STAGE_POINT_MAX];
    const char *const args[] = {programs[process], "--list-failpoints", NULL};
    (void)snprintf(path, sizeof path, "%.200s/points-%s", directory, process_names[process]);
    if (sup_run(args, path) != 0) {
        sup_die("%s --list-failpoints fails", programs[process]);
    }
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        sup_die("%s cannot be read", path);
    }
    while (fgets(line, sizeof line, file) != NULL) {
        size_t *count = &matrix->point_count[process];
        line[strcspn(line, "\n")] = '\0';
        if (*count == POINTS_MAX) {
            sup_die("more than %d points", POINTS_MAX);
        }
        (void)snprintf(matrix->points[process][(*count)++], STAGE_POINT_MAX, "%s", line);
    }
    (void)fclose(file);
    if (matrix->point_count[process] == 0) {
        sup_die("%s lists no points", programs[process]);
    }
}

static bool is_chosen(const char *choice, const char *name)
{
    return choice == NULL || strcmp(choice, name) == 0;
}

/* ---- One run ---- */

static void say(const char *what, const struct stage *stage, uint64_t began_ms)
{
    (void)printf("%s: %zu transfers, %.1f s\n", what, stage->history.count,
                 (double)(tpc_clock_mono_ms() - began_ms) / 1000);
    (void)fflush(stdout);
}

static void dry_run(struct matrix *matrix, unsigned index)
{
    const struct scenario *scenario = &scenarios[index];
    struct sup_report report = {0};
    struct stage stage;
    char what[64];
    uint64_t began_ms = tpc_clock_mono_ms();
    stage_init(&stage, scenario, index, matrix->options.seed);
    for (unsigned process = 0; process < 2; process++) {
        if (matrix->point_count[process] == 0) {
            read_points(matrix, process, stage.world.directory);
        }
    }
    stage.hits = &matrix->hits;
    stage_open(&stage);
    scenario->play(&stage);
    stage_close(&stage);
    sup_check_all(&stage.world, &stage.history, NULL, &report);
    (void)snprintf(what, sizeof what, "dry run of %s", scenario->name);
    say(what, &stage, began_ms);
    matrix->failures += report.count > 0;
    stage_done(&stage, matrix->options.keep || report.count > 0);
}

/* One death: where, in which scenario, from which start of the process on, and perhaps where it
 * dies once more in the start after that. */
struct death {
    const struct stage_hit *hit;
    unsigned start;
    const char *again;
};

/* True when the process died at the point. */
static bool play(struct matrix *matrix, const struct death *death, uint64_t seed)
{
    const struct stage_hit *hit = death->hit;
    const struct scenario *scenario = &scenarios[hit->scenario];
    struct sup_report report = {0};
    struct stage stage;
    char what[256];
    uint64_t began_ms = tpc_clock_mono_ms();
    stage_init(&stage, scenario, hit->scenario, seed);
    stage_arm(&stage, hit->process, hit->point, death->start);
    stage.again = death->again;
    stage_open(&stage);
    scenario->play(&stage);
    stage_close(&stage);
    bool fired = stage.fired;
    sup_check_all(&stage.world, &stage.history, NULL, &report);
    (void)snprintf(what, sizeof what, "%s at %s, start %u of %s%s%s%s", process_names[hit->process],
                   hit->point, death->start, scenario->name,
                   death->again != NULL ? ", then at " : "",
                   death->again != NULL ? death->again : "", fired ? "" : ": did not die");
    say(what, &stage, began_ms);
    if (report.count > 0) {
        matrix->failures++;
        (void)fprintf(stderr, "run again with: --seed %llu --process %s --point %s --scenario %s\n",
                      (unsigned long long)seed, process_names[hit->process], hit->point,
                      scenario->name);
    }
    matrix->runs++;
    stage_done(&stage, matrix->options.keep || report.count > 0);
    return fired;
}

static bool play_until_fired(struct matrix *matrix, const struct death *death)
{
    for (unsigned tries = 0; tries < TRIES; tries++) {
        if (play(matrix, death, matrix->options.seed + tries)) {
            return true;
        }
    }
    return false;
}

/* ---- All of them ---- */

/* One of the points of recovery, another one each time. */
static const char *recovery_point(const struct matrix *matrix, unsigned process)
{
    size_t count = matrix->point_count[process];
    for (size_t i = 0; i < count; i++) {
        const char *point =
            matrix->points[process][(matrix->options.seed + matrix->runs + i) % count];
        if (strstr(point, ".start.") != NULL) {
            return point;
        }
    }
    return NULL;
}

static void kill_in(struct matrix *matrix, const struct stage_hit *hit, bool *fired)
{
    struct death death = {.hit = hit, .start = 1};
    *fired = play_until_fired(matrix, &death) || *fired;
    for (unsigned start = 2; start <= hit->last_start; start++) {
        if (start == hit->last_start || matrix->options.full) {
            death.start = start;
            death.again = recovery_point(matrix, hit->process);
            *fired = play_until_fired(matrix, &death) || *fired;
        }
    }
}

/* In the first scenario that passes the point, or in all of them. */
static void kill_at(struct matrix *matrix, unsigned process, const char *point)
{
    bool found = false, fired = false;
    for (size_t i = 0; i < matrix->hits.count && matrix->failures < FAILURES_MAX; i++) {
        struct stage_hit hit = matrix->hits.items[i];
        if (hit.process == process && strcmp(hit.point, point) == 0 &&
            (!fired || matrix->options.full)) {
            found = true;
            kill_in(matrix, &hit, &fired);
        }
    }
    if (!fired) {
        (void)fprintf(stderr, "%s: %s at %s\n", found ? "nobody died" : "no scenario passes",
                      process_names[process], point);
        matrix->failures++;
    }
}

int main(int argc, char **argv)
{
    static struct matrix matrix;
    crash_options_parse(&matrix.options, argc, argv);
    const struct crash_options *options = &matrix.options;
    for (unsigned i = 0; scenarios[i].name != NULL; i++) {
        if (is_chosen(options->scenario, scenarios[i].name)) {
            dry_run(&matrix, i);
        }
    }
    for (unsigned process = 0; process < 2; process++) {
        if (!is_chosen(options->process, process_names[process])) {
            continue;
        }
        for (size_t i = 0; i < matrix.point_count[process] && matrix.failures < FAILURES_MAX; i++) {
            if (is_chosen(options->point, matrix.points[process][i]) &&
                !crash_options_is_over(&matrix.options)) {
                kill_at(&matrix, process, matrix.points[process][i]);
            }
        }
    }
    (void)printf("%u runs, %u failures%s\n", matrix.runs, matrix.failures, options->stopped);
    stage_hits_done(&matrix.hits);
    return matrix.failures > 0 ? 1 : 0;
}
