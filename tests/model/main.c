/* The model checker's command line.
 *
 *   model_check [--full] [--only NAME] [--counts FILE [--record]] [--quiet] [--threads N]
 *               [--memory GIB]
 *     Status 0: every state was seen, nothing is wrong, and there are no fewer states than FILE
 *     says. --record writes FILE.
 *   model_check --faults [--full]
 *     Put each fault of MODEL_MUTANT_LIST into the drivers in turn. Status 0: each was noticed.
 *   model_check --compare
 *     Search small worlds, without and with each of those faults, both plainly and with all
 *     reductions. Status 0: the verdicts are the same.
 *   model_check --expect-violation
 *     Status 0: something is wrong (for variants of the core with a fault in them). */
#include "tests/model/runs.h"
#include "tests/model/search.h"

#include <stdlib.h>
#include <string.h>

struct options {
    bool full, record, quiet, faults, compare, expect_violation;
    const char *only, *counts, *threads, *memory;
    struct search_options search;
};

static bool parse_number(const char *text, unsigned max, unsigned *ret_number)
{
    char *end = NULL;
    unsigned long number = text != NULL ? strtoul(text, &end, 10) : 0;
    *ret_number = (unsigned)number;
    return text == NULL || (*text != '\0' && *end == '\0' && number > 0 && number <= max);
}

static bool set_limits(struct options *out)
{
    unsigned gib = 0;
    bool good = parse_number(out->memory, 1024, &gib) &&
                parse_number(out->threads, 1024, &out->search.threads);
    out->search.memory_bytes = (size_t)gib << 30;
    out->search.quiet = out->quiet || out->faults || out->compare;
    out->search.out = stdout;
    return good;
}

static bool parse(int argc, char **argv, struct options *out)
{
    const struct {
        const char *name;
        bool *flag;
        const char **value;
    } all[] = {
        {"--full", &out->full, NULL},       {"--record", &out->record, NULL},
        {"--quiet", &out->quiet, NULL},     {"--faults", &out->faults, NULL},
        {"--compare", &out->compare, NULL}, {"--expect-violation", &out->expect_violation, NULL},
        {"--only", NULL, &out->only},       {"--counts", NULL, &out->counts},
        {"--threads", NULL, &out->threads}, {"--memory", NULL, &out->memory},
    };
    for (int i = 1; i < argc; i++) {
        size_t k = 0;
        while (k < sizeof all / sizeof all[0] && strcmp(argv[i], all[k].name) != 0) {
            k++;
        }
        if (k == sizeof all / sizeof all[0] || (all[k].value != NULL && i + 1 == argc)) {
            return false;
        }
        if (all[k].flag != NULL) {
            *all[k].flag = true;
        } else {
            *all[k].value = argv[++i];
        }
    }
    return set_limits(out);
}

static bool is_wanted(const struct options *options, const struct run *run)
{
    return options->only != NULL ? strcmp(options->only, run->config.name) == 0
                                 : !run->full || options->full;
}

/* ---- How many states there were before: a drop means that something is no longer looked at ----
 */

struct counts {
    struct {
        char name[32];
        unsigned long long states;
    } lines[32];
    size_t count;
};

static void read_counts(const char *path, struct counts *out)
{
    FILE *file = fopen(path, "r");
    while (file != NULL && out->count < 32 &&
           fscanf(file, "%31s %llu\n", out->lines[out->count].name,
                  &out->lines[out->count].states) == 2) {
        out->count++;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
}

static unsigned long long *count_of(struct counts *counts, const char *name)
{
    for (size_t i = 0; i < counts->count; i++) {
        if (strcmp(counts->lines[i].name, name) == 0) {
            return &counts->lines[i].states;
        }
    }
    if (counts->count == 32) {
        return NULL;
    }
    (void)snprintf(counts->lines[counts->count].name, sizeof counts->lines[0].name, "%s", name);
    return &counts->lines[counts->count++].states;
}

static bool write_counts(const char *path, const struct counts *counts)
{
    FILE *file = fopen(path, "w");
    for (size_t i = 0; file != NULL && i < counts->count; i++) {
        fprintf(file, "%s %llu\n", counts->lines[i].name, counts->lines[i].states);
    }
    return file != NULL && fclose(file) == 0;
}

static bool has_dropped(const struct options *options, struct counts *counts, const char *name,
                        uint64_t states)
{
    unsigned long long *before = count_of(counts, name);
    if (before == NULL) {
        return false;
    }
    if (options->record) {
        *before = states;
    } else if (states < *before) {
        printf("model %s: FAILED: only %llu states, and there were %llu. If that is meant, record "
               "it: ./run model --record\n",
               name, (unsigned long long)states, *before);
        return true;
    }
    return false;
}

/* ---- What can be asked for ---- */

static bool search_all(const struct options *options)
{
    struct counts counts = {.count = 0};
    bool good = true;
    if (options->counts != NULL) {
        read_counts(options->counts, &counts);
    }
    for (size_t i = 0; i < model_run_count; i++) {
        const struct run *run = &model_runs[i];
        if (!is_wanted(options, run)) {
            continue;
        }
        struct search_result result = search_run(&run->config, &options->search);
        printf("model %s: %llu states, %llu moves, depth %u, %.1f s, %.0f MiB: %s\n",
               run->config.name, (unsigned long long)result.states,
               (unsigned long long)result.moves, result.depth, result.seconds, result.mebibytes,
               result.complete ? "all seen, nothing is wrong" : "FAILED");
        (void)fflush(stdout);
        good &= result.complete;
        if (result.complete && options->counts != NULL) {
            good &= !has_dropped(options, &counts, run->config.name, result.states);
        }
        if (!good && options->expect_violation) {
            break;
        }
    }
    if (good && options->record && options->counts != NULL) {
        good = write_counts(options->counts, &counts);
    }
    return good;
}

static const char *const fault_names[] = {
#define MODEL_MUTANT_NAME(name) #name,
    MODEL_MUTANT_LIST(MODEL_MUTANT_NAME)
#undef MODEL_MUTANT_NAME
};

static bool is_noticed(const struct options *options, enum model_mutant fault)
{
    for (size_t i = 0; i < model_run_count; i++) {
        struct run run = model_runs[i];
        if (!is_wanted(options, &run)) {
            continue;
        }
        run.config.env_mutant = fault;
        struct search_result result = search_run(&run.config, &options->search);
        if (!result.complete) {
            printf("model fault %s: noticed after %llu states\n", fault_names[fault],
                   (unsigned long long)result.states);
            return true;
        }
    }
    printf("model fault %s: NOT NOTICED\n", fault_names[fault]);
    return false;
}

/* It takes a second transaction to force the log after the first one's records are erased. */
static bool needs_full(enum model_mutant fault)
{
    return fault == MUTANT_FORCED_ALONE;
}

static bool try_faults(const struct options *options)
{
    bool good = true;
    for (unsigned fault = MUTANT_NONE + 1; fault < MUTANT_COUNT; fault++) {
        if (options->full || !needs_full((enum model_mutant)fault)) {
            good &= is_noticed(options, (enum model_mutant)fault);
            (void)fflush(stdout);
        }
    }
    return good;
}

/* There is something in @config that it can show in, and it is not that a timer is not armed: what
 * is searched greedily lets every timer fire. */
static bool can_show(const struct model_config *config, enum model_mutant fault)
{
    bool of_timers = fault == MUTANT_RETRY_NOT_ARMED || fault == MUTANT_ASK_TIMER_NOT_ARMED;
    bool of_hands = fault == MUTANT_HEURISTIC_NOT_FORCED;
    bool of_retention = fault == MUTANT_PROOF_FORGOTTEN_EARLY;
    bool of_recovery = fault == MUTANT_SERVED_TOO_EARLY || fault == MUTANT_ASKED_TOO_EARLY;
    return !of_timers && (!of_hands || config->operators) && (!of_retention || config->retention) &&
           (!of_recovery || config->downtime);
}

static bool have_same_verdict(const struct options *options, const struct run *run,
                              enum model_mutant fault)
{
    struct model_config plain = run->config, reduced;
    plain.env_mutant = fault;
    reduced = plain;
    reduced.greedy = reduced.dead = reduced.hasty = true;
    struct search_result one = search_run(&plain, &options->search);
    struct search_result other = search_run(&reduced, &options->search);
    bool same = one.complete == other.complete;
    printf("model compare %s, fault %s: %s after %llu states, reduced %s after %llu%s\n",
           plain.name, fault_names[fault], one.complete ? "none" : "found",
           (unsigned long long)one.states, other.complete ? "none" : "found",
           (unsigned long long)other.states, same ? "" : ": NOT THE SAME");
    (void)fflush(stdout);
    return same;
}

static bool compare_all(const struct options *options)
{
    bool good = true;
    for (size_t i = 0; i < model_small_run_count; i++) {
        for (unsigned fault = MUTANT_NONE; fault < MUTANT_COUNT; fault++) {
            good &= !can_show(&model_small_runs[i].config, (enum model_mutant)fault) ||
                    have_same_verdict(options, &model_small_runs[i], (enum model_mutant)fault);
        }
    }
    return good;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    if (!parse(argc, argv, &options)) {
        fprintf(stderr,
                "usage: %s [--full] [--only NAME] [--counts FILE [--record]] [--quiet]\n"
                "       [--threads N] [--memory GIB]\n"
                "       %s --faults | --compare | --expect-violation\n",
                argv[0], argv[0]);
        return 2;
    }
    bool good = options.faults    ? try_faults(&options)
                : options.compare ? compare_all(&options)
                                  : search_all(&options);
    return good != options.expect_violation ? 0 : 1;
}
