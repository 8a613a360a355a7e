/* Counters of everything that takes part, at one moment: processor time from /proc, and /metrics.
 * What a transaction cost is the difference of two samples. */
#ifndef ASSENT_CLI_BENCH_SAMPLE_H
#define ASSENT_CLI_BENCH_SAMPLE_H

#include "api/codec.h"
#include "cli/bench/load.h"

#include <sys/types.h>

enum { CLI_SAMPLE_PROCESSES_MAX = 64 };

struct cli_sample_process {
    char name[CLI_BENCH_NAME];
    pid_t pid;
};

/* Whom to ask. */
struct cli_sample_plan {
    unsigned process_count;
    struct cli_sample_process processes[CLI_SAMPLE_PROCESSES_MAX];
    const char *coordinator_url;
    unsigned member_count;
    char member_urls[CLI_BENCH_MEMBERS_MAX][256];
};

struct cli_sample {
    bool complete; /* the coordinator told its metrics */
    uint64_t at_us;
    /* Of the process and all below it, also those that have ended; 0 when it cannot be seen. */
    uint64_t cpu_us[CLI_SAMPLE_PROCESSES_MAX];
    uint64_t committed, aborted, attempts_again, retries, refused, forced_writes, requests;
    uint64_t messages[API_OP_COUNT];
    uint64_t in_flight; /* now */
    bool member_told[CLI_BENCH_MEMBERS_MAX];
    uint64_t member_forced[CLI_BENCH_MEMBERS_MAX];
};

/* From any thread. */
void cli_sample_take(const struct cli_sample_plan *plan, struct cli_sample *ret_sample);

/* Of Prometheus text: the sum of a metric over those of its lines whose labels contain @label
 * (NULL: all). */
uint64_t cli_sample_metric(const char *text, const char *name, const char *label);

#endif
