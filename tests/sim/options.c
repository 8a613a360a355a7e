#include "tests/sim/options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const broken_names[] = {
#define SIM_BROKEN_NAME(name, text) text,
    SIM_BROKEN_LIST(SIM_BROKEN_NAME)
#undef SIM_BROKEN_NAME
};

static const char usage[] =
    "usage: simulate [--seed N] [--runs N] [--seconds N] [--all-kinds] [--twice] [--trace]\n"
    "       simulate --seed N --shrink | --seeds FILE\n"
    "  --participants N, --transactions N, --clients N,N…  of a smaller world\n"
    "  --faults NAME,NAME…   only these, as they are named in the counts\n"
    "  --broken DEFECT       a world with this defect, which must be noticed\n";

static bool parse_number(const char *text, uint64_t *out)
{
    char *end;
    *out = strtoull(text, &end, 10);
    return *text != '\0' && *end == '\0';
}

static bool parse_broken(const char *text, enum sim_broken *out)
{
    for (unsigned i = 0; i < SIM_BROKEN_COUNT; i++) {
        if (strcmp(broken_names[i], text) == 0) {
            *out = (enum sim_broken)i;
            return true;
        }
    }
    return false;
}

/* "3,17"; "0": none */
static bool parse_clients(const char *text, uint64_t *out)
{
    *out = 0;
    while (*text != '\0') {
        char *end;
        unsigned long n = strtoul(text, &end, 10);
        if (end == text || n > SIM_TRANSACTIONS_MAX || (*end != ',' && *end != '\0')) {
            return false;
        }
        *out |= n > 0 ? UINT64_C(1) << (n - 1) : 0;
        text = end + (*end == ',');
    }
    return true;
}

static bool parse_value(struct sim_options *options, const char *name, const char *value)
{
    uint64_t number = 0;
    if (strcmp(name, "--seeds") == 0) {
        options->seeds = value;
        return true;
    }
    if (strcmp(name, "--broken") == 0) {
        return parse_broken(value, &options->config.broken);
    }
    if (strcmp(name, "--clients") == 0) {
        return parse_clients(value, &options->config.clients);
    }
    if (strcmp(name, "--faults") == 0) {
        options->config.only = &options->only;
        return sim_faults_parse(value, &options->only);
    }
    if (!parse_number(value, &number)) {
        return false;
    }
    if (strcmp(name, "--seed") == 0) {
        options->config.seed = number;
    } else if (strcmp(name, "--runs") == 0) {
        options->runs = number;
    } else if (strcmp(name, "--seconds") == 0) {
        options->seconds = number;
    } else if (strcmp(name, "--participants") == 0 && number <= SIM_PARTICIPANTS_MAX) {
        options->config.participants = (unsigned)number;
    } else if (strcmp(name, "--transactions") == 0 && number <= SIM_TRANSACTIONS_MAX) {
        options->config.transactions = (unsigned)number;
    } else {
        return false;
    }
    return true;
}

bool sim_options_parse(int count, char *const arguments[], struct sim_options *ret_options)
{
    *ret_options = (struct sim_options){.config = {.seed = 1, .clients = UINT64_MAX}};
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"--trace", &ret_options->config.trace},
                 {"--shrink", &ret_options->shrink},
                 {"--twice", &ret_options->twice},
                 {"--all-kinds", &ret_options->all_kinds}};
    for (int i = 0; i < count; i++) {
        bool known = false;
        for (size_t k = 0; k < sizeof flags / sizeof flags[0]; k++) {
            if (strcmp(arguments[i], flags[k].name) == 0) {
                *flags[k].flag = known = true;
            }
        }
        if (known) {
            continue;
        }
        if (i + 1 == count || !parse_value(ret_options, arguments[i], arguments[i + 1])) {
            fprintf(stderr, "sim: %s%s%s is not understood\n%s", arguments[i],
                    i + 1 < count ? " " : "", i + 1 < count ? arguments[i + 1] : "", usage);
            return false;
        }
        i++;
    }
    return true;
}

void sim_options_print(struct tpc_buf *out, const struct sim_config *config)
{
    tpc_buf_addf(out, "--seed %" PRIu64, config->seed);
    if (config->participants > 0) {
        tpc_buf_addf(out, " --participants %u", config->participants);
    }
    if (config->transactions > 0) {
        tpc_buf_addf(out, " --transactions %u", config->transactions);
    }
    if (config->broken != SIM_BROKEN_NOTHING) {
        tpc_buf_addf(out, " --broken %s", broken_names[config->broken]);
    }
    if (config->clients == 0) {
        tpc_buf_adds(out, " --clients 0");
    }
    for (unsigned n = 1; config->clients != UINT64_MAX && n <= SIM_TRANSACTIONS_MAX; n++) {
        if ((config->clients & UINT64_C(1) << (n - 1)) != 0) {
            bool first = (config->clients & ((UINT64_C(1) << (n - 1)) - 1)) == 0;
            tpc_buf_addf(out, "%s%u", first ? " --clients " : ",", n);
        }
    }
    if (config->only != NULL) {
        tpc_buf_adds(out, " --faults '");
        sim_faults_print(out, config->only);
        tpc_buf_adds(out, "'");
    }
}
