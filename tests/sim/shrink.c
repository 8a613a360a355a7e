/* From a run that fails to a small one that still does: fewer clients, then
 * fewer faults (delta debugging), again until nothing more can be left out. */
#include "tests/sim/shrink.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shrink {
    struct sim_config *config;
    struct sim_faults *faults;
    char why[512];
    uint64_t tries;
};

/* But for names, ids and numbers. */
static bool is_same(const char *a, const char *b)
{
    while (*a != '\0' && *b != '\0') {
        size_t length_a = strcspn(a, " "), length_b = strcspn(b, " ");
        bool name = strcspn(a, "0123456789") < length_a && strcspn(b, "0123456789") < length_b;
        if (!name && (length_a != length_b || strncmp(a, b, length_a) != 0)) {
            return false;
        }
        a += length_a + (a[length_a] == ' ');
        b += length_b + (b[length_b] == ' ');
    }
    return *a == *b;
}

static bool fails(struct shrink *shrink, const struct sim_config *config)
{
    struct sim_result result;
    sim_run(config, &result);
    free(result.faults.items);
    shrink->tries++;
    return result.failed && is_same(result.why, shrink->why);
}

static bool fails_with(struct shrink *shrink, const struct sim_faults *faults)
{
    struct sim_config config = *shrink->config;
    config.only = faults;
    return fails(shrink, &config);
}

/* Keep what is left when items [from, to) are taken out, if it still fails. */
static bool try_without(struct shrink *shrink, size_t from, size_t to)
{
    struct sim_faults less = {0};
    for (size_t i = 0; i < shrink->faults->count; i++) {
        if (i < from || i >= to) {
            sim_faults_add(&less, shrink->faults->items[i]);
        }
    }
    if (!fails_with(shrink, &less)) {
        free(less.items);
        return false;
    }
    free(shrink->faults->items);
    *shrink->faults = less;
    return true;
}

static bool try_without_kind(struct shrink *shrink, unsigned kind)
{
    struct sim_faults less = {0};
    for (size_t i = 0; i < shrink->faults->count; i++) {
        if (shrink->faults->items[i].fault != kind) {
            sim_faults_add(&less, shrink->faults->items[i]);
        }
    }
    if (less.count == shrink->faults->count || !fails_with(shrink, &less)) {
        free(less.items);
        return false;
    }
    free(shrink->faults->items);
    *shrink->faults = less;
    return true;
}

static bool fewer_faults(struct shrink *shrink)
{
    bool any = false;
    for (unsigned kind = 0; kind < SIM_FAULT_COUNT; kind++) {
        any |= try_without_kind(shrink, kind);
    }
    for (size_t size = (shrink->faults->count + 1) / 2; size > 0; size /= 2) {
        for (size_t from = 0; from < shrink->faults->count;) {
            if (try_without(shrink, from, from + size)) {
                any = true;
            } else {
                from += size;
            }
        }
    }
    return any;
}

static bool fewer_clients(struct shrink *shrink)
{
    bool any = false;
    for (unsigned size = SIM_TRANSACTIONS_MAX / 2; size > 0; size /= 2) {
        for (unsigned from = 0; from < SIM_TRANSACTIONS_MAX; from += size) {
            struct sim_config config = *shrink->config;
            uint64_t mask = ((UINT64_C(1) << size) - 1) << from;
            config.clients &= ~mask;
            if ((shrink->config->clients & mask) != 0 && fails(shrink, &config)) {
                shrink->config->clients = config.clients;
                any = true;
            }
        }
    }
    return any;
}

static bool fewer_participants(struct shrink *shrink, unsigned now)
{
    for (unsigned count = 2; count < now; count++) {
        struct sim_config config = *shrink->config;
        config.participants = count;
        if (fails(shrink, &config)) {
            shrink->config->participants = count;
            return true;
        }
    }
    return false;
}

bool sim_shrink(struct sim_config *config, struct sim_faults *ret_faults)
{
    struct sim_result result;
    struct shrink shrink = {.config = config, .faults = ret_faults};
    sim_run(config, &result);
    if (!result.failed) {
        free(result.faults.items);
        return false;
    }
    memcpy(shrink.why, result.why, sizeof shrink.why);
    if (fewer_participants(&shrink, result.participants)) {
        free(result.faults.items);
        sim_run(config, &result);
    }
    *ret_faults = result.faults;
    config->only = ret_faults;
    while (fewer_clients(&shrink) | fewer_faults(&shrink)) {
    }
    printf("sim: shrunk in %" PRIu64 " runs to %d clients and %zu faults\n", shrink.tries,
           __builtin_popcountll(config->clients), ret_faults->count);
    return true;
}
