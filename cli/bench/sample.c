#include "cli/bench/sample.h"

#include "base/clock.h"
#include "cli/http.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { METRICS_MS = 5000, TREE_MAX = 4096 };

/* ---- Metrics ---- */

uint64_t cli_sample_metric(const char *text, const char *name, const char *label)
{
    size_t size = strlen(name);
    double sum = 0;
    for (const char *line = text; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n');
        if (strncmp(line, name, size) == 0 && (line[size] == ' ' || line[size] == '{')) {
            const char *labels_end = line[size] == '{' ? strchr(line, '}') : line + size;
            const char *found = label != NULL ? strstr(line, label) : line;
            if (labels_end != NULL && found != NULL && found <= labels_end) {
                sum += strtod(labels_end + (*labels_end == '}'), NULL);
            }
        }
        line = end != NULL ? end + 1 : NULL;
    }
    return (uint64_t)sum;
}

/* The text of /metrics; NULL when it is not told. Points into @answer. */
static const char *get_metrics(struct cli_http *http, const char *url, struct cli_answer *answer)
{
    char address[300];
    (void)snprintf(address, sizeof address, "%s/metrics", url);
    const struct cli_request request = {.method = "GET", .url = address, .timeout_ms = METRICS_MS};
    bool told = cli_http_do(http, &request, answer, NULL) == TPC_OK && answer->status == 200;
    return told ? answer->body.data : NULL;
}

static void read_coordinator(const char *text, struct cli_sample *sample)
{
    sample->committed = cli_sample_metric(text, "assent_transactions_total", "\"commit\"");
    sample->aborted = cli_sample_metric(text, "assent_transactions_total", "\"abort\"");
    sample->attempts_again =
        cli_sample_metric(text, "assent_transaction_attempts_again_total", NULL);
    sample->retries = cli_sample_metric(text, "assent_retries_total", NULL);
    sample->refused = cli_sample_metric(text, "assent_refused_total", NULL);
    sample->forced_writes = cli_sample_metric(text, "assent_forced_writes_total", NULL);
    sample->requests = cli_sample_metric(text, "assent_participant_requests_total", NULL);
    sample->in_flight = cli_sample_metric(text, "assent_transactions_in_flight", NULL);
    for (int op = 0; op < API_OP_COUNT; op++) {
        char label[32];
        (void)snprintf(label, sizeof label, "\"%s\"", api_op_name((enum api_op)op));
        sample->messages[op] = cli_sample_metric(text, "assent_messages_total", label);
    }
}

/* ---- Processor time ---- */

struct process {
    pid_t pid, parent;
    uint64_t ticks; /* its own, and of children that it has waited for */
};

/* /proc/PID/stat, whose second field is a name in parentheses that may contain anything. */
static bool read_process(pid_t pid, struct process *out)
{
    char path[64], text[1024];
    unsigned long long times[4];
    int parent;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    size_t got = file != NULL ? fread(text, 1, sizeof text - 1, file) : 0;
    text[got] = '\0';
    if (file != NULL) {
        (void)fclose(file);
    }
    const char *rest = strrchr(text, ')');
    if (rest == NULL ||
        sscanf(rest + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu", &parent,
               &times[0], &times[1], &times[2], &times[3]) != 5) {
        return false;
    }
    *out = (struct process){
        .pid = pid, .parent = parent, .ticks = times[0] + times[1] + times[2] + times[3]};
    return true;
}

static size_t read_processes(struct process *out, size_t max)
{
    DIR *directory = opendir("/proc");
    size_t count = 0;
    for (const struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        if (isdigit((unsigned char)entry->d_name[0]) && count < max) {
            count += read_process((pid_t)atoi(entry->d_name), &out[count]);
        }
    }
    if (directory != NULL) {
        (void)closedir(directory);
    }
    return count;
}

static bool is_below(const struct process *all, size_t count, const struct process *process,
                     pid_t ancestor)
{
    pid_t pid = process->pid;
    for (unsigned depth = 0; pid > 1 && depth < 16; depth++) {
        if (pid == ancestor) {
            return true;
        }
        size_t i = 0;
        while (i < count && all[i].pid != pid) {
            i++;
        }
        pid = i < count ? all[i].parent : 0;
    }
    return false;
}

/* This process is only itself: what it has started is named beside it. */
static uint64_t ticks_of(const struct process *all, size_t count, pid_t pid)
{
    uint64_t ticks = 0;
    for (size_t i = 0; i < count; i++) {
        if (all[i].pid == pid || (pid != getpid() && is_below(all, count, &all[i], pid))) {
            ticks += all[i].ticks;
        }
    }
    return ticks;
}

static void read_times(const struct cli_sample_plan *plan, struct cli_sample *sample)
{
    struct process *all = calloc(TREE_MAX, sizeof *all);
    size_t count = all != NULL ? read_processes(all, TREE_MAX) : 0;
    uint64_t us_per_tick = 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
    for (unsigned i = 0; i < plan->process_count; i++) {
        sample->cpu_us[i] = ticks_of(all, count, plan->processes[i].pid) * us_per_tick;
    }
    free(all);
}

void cli_sample_take(const struct cli_sample_plan *plan, struct cli_sample *ret_sample)
{
    struct cli_http *http = cli_http_new();
    *ret_sample = (struct cli_sample){.at_us = tpc_clock_mono_us()};
    read_times(plan, ret_sample);
    if (http == NULL) {
        return;
    }
    struct cli_answer answer = {0};
    const char *text = get_metrics(http, plan->coordinator_url, &answer);
    ret_sample->complete = text != NULL;
    if (text != NULL) {
        read_coordinator(text, ret_sample);
    }
    cli_answer_done(&answer);
    for (unsigned i = 0; i < plan->member_count; i++) {
        answer = (struct cli_answer){0};
        text = get_metrics(http, plan->member_urls[i], &answer);
        ret_sample->member_told[i] = text != NULL;
        ret_sample->member_forced[i] =
            text != NULL ? cli_sample_metric(text, "assent_forced_writes_total", NULL) : 0;
        cli_answer_done(&answer);
    }
    cli_http_free(http);
}
