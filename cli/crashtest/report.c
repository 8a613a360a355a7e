#include "cli/crashtest/crashtest.h"

#include "api/json.h"
#include "base/clock.h"
#include "cli/out.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR_WIDTH = 24, LINE_WIDTH = 78 };

void cli_report_tally(const struct cli_crashtest *test, struct cli_tally tallies[CLI_ROW_COUNT])
{
    memset(tallies, 0, CLI_ROW_COUNT * sizeof *tallies);
    for (size_t i = 0; i < test->plan.count; i++) {
        const struct cli_injection *item = &test->plan.items[i];
        struct cli_tally *tally = &tallies[item->row];
        tally->points++;
        tally->runs += item->runs;
        tally->spoilt += item->spoilt;
        tally->fired += item->fired;
        tally->violations += item->violations > 0;
    }
}

/* ---- Failpoints that did not fire ---- */

/* Fired as it was wanted, or in another way of dying there. */
static bool has_fired(const struct cli_plan *plan, const struct cli_injection *item)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct cli_injection *other = &plan->items[i];
        if (other->row == CLI_ROW_KILL && other->fired && other->plot.node == item->plot.node &&
            strcmp(other->plot.point, item->plot.point) == 0) {
            return true;
        }
    }
    return false;
}

bool cli_report_is_unfired(const struct cli_crashtest *test, const struct cli_injection *item)
{
    return item->row == CLI_ROW_KILL && item->done && item->violations == 0 && !item->fired &&
           !has_fired(&test->plan, item);
}

/* An error where all scenes can be played; elsewhere it is only said. */
static bool unfired_is_error(const struct cli_crashtest *test)
{
    return !cli_setup_is_alone(&test->setup) && test->choice.scene == NULL;
}

/* ---- Progress ---- */

static bool has_terminal(void)
{
    return isatty(STDERR_FILENO) == 1;
}

void cli_report_progress(const struct cli_crashtest *test, uint64_t began_ms, bool more_to_come)
{
    struct tpc_buf what = {0};
    size_t done = 0, total = test->plan.count;
    const struct cli_injection *now = NULL;
    char bar[BAR_WIDTH + 1], left[32] = "";
    if (!has_terminal()) {
        return;
    }
    for (size_t i = 0; i < test->plan.count; i++) {
        done += test->plan.items[i].done;
        now = test->plan.items[i].taken && !test->plan.items[i].done ? &test->plan.items[i] : now;
    }
    if (now != NULL) {
        cli_plot_print(&test->setup, now->row, &now->plot, &what);
    }
    uint64_t took_ms = tpc_clock_mono_ms() - began_ms;
    if (done > 0 && done < total && !more_to_come) {
        (void)cli_duration_text((double)took_ms * (double)(total - done) / (double)done, left);
    }
    size_t full = total > 0 ? BAR_WIDTH * done / total : 0;
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', full);
    bar[BAR_WIDTH] = '\0';
    (void)fprintf(stderr, "\r\033[K[%s] %zu/%zu%s%s%s  %.*s", bar, done, total,
                  more_to_come ? "+" : "", left[0] != '\0' ? ", left " : "", left,
                  LINE_WIDTH - BAR_WIDTH - 26, what.data != NULL ? what.data : "");
    (void)fflush(stderr);
    tpc_buf_done(&what);
}

void cli_report_progress_end(void)
{
    if (has_terminal()) {
        (void)fputs("\r\033[K", stderr);
    }
}

/* ---- Violations ---- */

/* The command that does it again. */
static void print_command(const struct cli_crashtest *test, const struct cli_injection *item,
                          struct tpc_buf *out)
{
    tpc_buf_addf(out, "assent crashtest %s--seed %llu ", test->flags,
                 (unsigned long long)test->setup.seed);
    cli_plot_flags(&test->setup, item->row, &item->plot, out);
}

void cli_report_violation(const struct cli_crashtest *test, const struct cli_injection *item)
{
    struct tpc_buf what = {0}, command = {0};
    cli_report_progress_end();
    cli_plot_print(&test->setup, item->row, &item->plot, &what);
    print_command(test, item, &command);
    (void)fprintf(stderr, "violation: %s\n%s  logs and databases: %s\n  again: %s\n", what.data,
                  item->said != NULL ? item->said : "", item->directory, command.data);
    tpc_buf_done(&what);
    tpc_buf_done(&command);
}

void cli_report_spoilt(const struct cli_crashtest *test, unsigned row, const struct cli_play *play)
{
    struct tpc_buf what = {0};
    cli_report_progress_end();
    cli_plot_print(&test->setup, row, &play->plot, &what);
    (void)fprintf(stderr, "not judged: %s\n  %s\n", what.data, play->spoilt_by);
    tpc_buf_done(&what);
}

/* ---- The table ---- */

static void print_table(const struct cli_crashtest *test)
{
    static const char *const columns[] = {"injected", "points", "runs", "fired", "violations", ""};
    struct cli_tally tallies[CLI_ROW_COUNT];
    struct cli_table table = {0};
    cli_report_tally(test, tallies);
    cli_table_begin(&table, 6, columns);
    for (unsigned row = 0; row < CLI_ROW_COUNT; row++) {
        const struct cli_tally *tally = &tallies[row];
        if (tally->points > 0) {
            cli_table_add(&table, cli_row_name(row));
            cli_table_addf(&table, "%u", tally->points);
            cli_table_addf(&table, "%u", tally->runs);
            cli_table_addf(&table, "%u", tally->fired);
            cli_table_addf(&table, "%u", tally->violations);
            cli_table_add(&table, cli_row_text(row));
        }
    }
    cli_table_print(&table);
    cli_table_done(&table);
}

static void print_unfired(const struct cli_crashtest *test)
{
    for (size_t i = 0; i < test->plan.count; i++) {
        const struct cli_injection *item = &test->plan.items[i];
        if (cli_report_is_unfired(test, item)) {
            (void)printf("%s: nobody died there: %s\n", item->plot.point,
                         item->plot.start == 0 ? "no scene that was played passes it"
                                               : "it was passed in the dry run alone");
        }
    }
}

static void print_counted(const struct cli_crashtest *test)
{
    for (unsigned i = 0; i < CLI_ANOMALY_COUNT; i++) {
        if (!cli_anomaly_forbidden((enum cli_anomaly)i) && test->counts[i] > 0) {
            (void)printf("seen, and not promised otherwise: %llu × %s, %s\n",
                         (unsigned long long)test->counts[i], cli_anomaly_name((enum cli_anomaly)i),
                         cli_anomaly_text((enum cli_anomaly)i));
        }
    }
}

static unsigned count_violated(const struct cli_crashtest *test)
{
    unsigned count = 0;
    for (size_t i = 0; i < test->plan.count; i++) {
        count += test->plan.items[i].violations > 0;
    }
    return count;
}

static unsigned count_unfired(const struct cli_crashtest *test)
{
    unsigned count = 0;
    for (size_t i = 0; i < test->plan.count; i++) {
        count += cli_report_is_unfired(test, &test->plan.items[i]);
    }
    return count;
}

static void print_spoilt(const struct cli_crashtest *test)
{
    unsigned count = 0;
    for (size_t i = 0; i < test->plan.count; i++) {
        count += test->plan.items[i].spoilt;
    }
    if (count > 0) {
        (void)printf("runs that were not judged, for their server did not start again: %u\n",
                     count);
    }
}

static void print_all(const struct cli_crashtest *test)
{
    char took[32];
    unsigned violated = count_violated(test);
    print_table(test);
    (void)putchar('\n');
    print_unfired(test);
    print_spoilt(test);
    print_counted(test);
    for (size_t i = 0; i < test->plan.count; i++) {
        if (test->plan.items[i].violations > 0) {
            struct tpc_buf command = {0};
            print_command(test, &test->plan.items[i], &command);
            (void)printf("did not hold: %s\n  again: %s\n", test->plan.items[i].directory,
                         command.data);
            tpc_buf_done(&command);
        }
    }
    (void)printf("Seed %llu, %s. ", (unsigned long long)test->setup.seed,
                 cli_duration_text((double)test->took_ms, took));
    if (!test->complete) {
        (void)printf("Not all was injected: %s. ", test->why);
    }
    (void)printf(violated > 0     ? "%u injections broke a promise.\n"
                 : test->complete ? "Everything that is promised held.\n"
                                  : "So far everything that is promised held.\n",
                 violated);
}

/* ---- JSON ---- */

static void write_rows(const struct cli_crashtest *test, struct tpc_buf *out)
{
    struct cli_tally tallies[CLI_ROW_COUNT];
    cli_report_tally(test, tallies);
    api_jw_key(out, "injected");
    api_jw_open(out, '[');
    for (unsigned row = 0; row < CLI_ROW_COUNT; row++) {
        const struct cli_tally *tally = &tallies[row];
        if (tally->points > 0) {
            api_jw_open(out, '{');
            api_jw_key(out, "injection");
            api_jw_str(out, cli_row_name(row));
            api_jw_key(out, "points");
            api_jw_u64(out, tally->points);
            api_jw_key(out, "runs");
            api_jw_u64(out, tally->runs);
            api_jw_key(out, "not_judged");
            api_jw_u64(out, tally->spoilt);
            api_jw_key(out, "fired");
            api_jw_u64(out, tally->fired);
            api_jw_key(out, "violations");
            api_jw_u64(out, tally->violations);
            api_jw_close(out, '}');
        }
    }
    api_jw_close(out, ']');
}

static void write_lines(const char *text, struct tpc_buf *out)
{
    api_jw_open(out, '[');
    for (const char *line = text != NULL ? text : ""; *line != '\0';) {
        size_t size = strcspn(line, "\n");
        api_jw_strn(out, line, size);
        line += size + (line[size] == '\n');
    }
    api_jw_close(out, ']');
}

static void write_violations(const struct cli_crashtest *test, struct tpc_buf *out)
{
    api_jw_key(out, "violations");
    api_jw_open(out, '[');
    for (size_t i = 0; i < test->plan.count; i++) {
        const struct cli_injection *item = &test->plan.items[i];
        struct tpc_buf what = {0}, command = {0};
        if (item->violations == 0) {
            continue;
        }
        cli_plot_print(&test->setup, item->row, &item->plot, &what);
        print_command(test, item, &command);
        api_jw_open(out, '{');
        api_jw_key(out, "injection");
        api_jw_str(out, cli_row_name(item->row));
        api_jw_key(out, "what");
        api_jw_str(out, what.data);
        api_jw_key(out, "found");
        write_lines(item->said, out);
        api_jw_key(out, "directory");
        api_jw_str(out, item->directory);
        api_jw_key(out, "again");
        api_jw_str(out, command.data);
        api_jw_close(out, '}');
        tpc_buf_done(&what);
        tpc_buf_done(&command);
    }
    api_jw_close(out, ']');
}

static void write_unfired(const struct cli_crashtest *test, struct tpc_buf *out)
{
    api_jw_key(out, "not_fired");
    api_jw_open(out, '[');
    for (size_t i = 0; i < test->plan.count; i++) {
        if (cli_report_is_unfired(test, &test->plan.items[i])) {
            api_jw_str(out, test->plan.items[i].plot.point);
        }
    }
    api_jw_close(out, ']');
}

static void write_counted(const struct cli_crashtest *test, struct tpc_buf *out)
{
    api_jw_key(out, "counted");
    api_jw_open(out, '{');
    for (unsigned i = 0; i < CLI_ANOMALY_COUNT; i++) {
        api_jw_key(out, cli_anomaly_name((enum cli_anomaly)i));
        api_jw_u64(out, test->counts[i]);
    }
    api_jw_close(out, '}');
}

static void write_json(const struct cli_crashtest *test, struct tpc_buf *out)
{
    api_jw_open(out, '{');
    api_jw_key(out, "version");
    api_jw_str(out, ASSENT_VERSION);
    api_jw_key(out, "seed");
    api_jw_u64(out, test->setup.seed);
    api_jw_key(out, "took_ms");
    api_jw_u64(out, test->took_ms);
    api_jw_key(out, "complete");
    api_jw_bool(out, test->complete);
    api_jw_key(out, "incomplete_because");
    api_jw_str(out, test->why);
    write_rows(test, out);
    write_violations(test, out);
    write_unfired(test, out);
    write_counted(test, out);
    api_jw_close(out, '}');
}

static bool write_file(const char *path, const struct tpc_buf *json)
{
    FILE *file = fopen(path, "we");
    bool good = file != NULL && fprintf(file, "%s\n", json->data) > 0;
    good = (file == NULL || fclose(file) == 0) && good;
    if (!good) {
        (void)fprintf(stderr, "assent crashtest: cannot write %s: %s\n", path, strerror(errno));
    }
    return good;
}

/* ---- All of it ---- */

static void print_list(const struct cli_crashtest *test)
{
    if (!test->complete) {
        (void)fprintf(stderr, "assent crashtest: nothing is listed: %s\n", test->why);
        return;
    }
    for (size_t i = 0; i < test->plan.count; i++) {
        struct tpc_buf what = {0};
        if (test->plan.items[i].row != CLI_ROW_NOTHING) {
            cli_plot_print(&test->setup, test->plan.items[i].row, &test->plan.items[i].plot, &what);
            (void)puts(what.data);
        }
        tpc_buf_done(&what);
    }
}

/* What was asked for does not come up at all. That everything held would be no news. */
static bool is_of_nothing(const struct cli_crashtest *test)
{
    bool nothing = test->complete && count_violated(test) == 0 &&
                   (test->choice.rows & ~(1U << CLI_ROW_NOTHING)) != 0;
    for (size_t i = 0; i < test->plan.count; i++) {
        nothing = nothing && test->plan.items[i].row == CLI_ROW_NOTHING;
    }
    if (nothing) {
        (void)fputs("assent crashtest: nothing to inject: what was asked for does not come up in "
                    "these scenes\n",
                    stderr);
    }
    return nothing;
}

enum cli_exit cli_report(const struct cli_crashtest *test)
{
    struct tpc_buf json = {0};
    struct api_json *parsed = NULL;
    bool good = true;
    write_json(test, &json);
    if (json.failed || api_json_parse(json.data, json.size, &parsed, NULL) != TPC_OK) {
        (void)fputs("assent crashtest: out of memory for the report\n", stderr);
        good = false;
    } else if (test->format != CLI_TABLE) {
        cli_print_json(test->format, parsed);
    } else if (test->list) {
        print_list(test);
    } else {
        print_all(test);
    }
    if (good && test->report_path != NULL) {
        good = write_file(test->report_path, &json);
    }
    api_json_free(parsed);
    tpc_buf_done(&json);
    return good && !is_of_nothing(test) && !test->interrupted && test->given_up == 0 &&
                   count_violated(test) == 0 &&
                   (count_unfired(test) == 0 || !unfired_is_error(test))
               ? CLI_OK
               : CLI_ERROR;
}
