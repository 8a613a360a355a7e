/* Which faults there are, how often each happens in a seed, and the list of
 * those that did. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
#define SIM_FAULT_NAME(name, text, rate) text,
    SIM_FAULT_LIST(SIM_FAULT_NAME)
#undef SIM_FAULT_NAME
};

const char *sim_fault_name(enum sim_fault fault)
{
    return names[fault];
}

void sim_faults_add(struct sim_faults *faults, struct sim_fired fired)
{
    if (faults->count == faults->capacity) {
        struct sim_owner *owner = sim_own(NULL);
        faults->capacity = faults->capacity > 0 ? 2 * faults->capacity : 64;
        faults->items = tpc_must_realloc(faults->items, faults->capacity * sizeof *faults->items);
        (void)sim_own(owner);
    }
    faults->items[faults->count++] = fired;
}

static bool parse_one(const char *text, size_t size, struct sim_fired *out)
{
    char word[64];
    unsigned where, n;
    int length = 0;
    if (size >= sizeof word) {
        return false;
    }
    memcpy(word, text, size);
    word[size] = '\0';
    char *at = strchr(word, '@');
    if (at == NULL || sscanf(at, "@%u.%u%n", &where, &n, &length) != 2 || at[length] != '\0') {
        return false;
    }
    *at = '\0';
    for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
        if (strcmp(names[i], word) == 0 && where < 256) {
            *out = (struct sim_fired){.fault = (uint8_t)i, .where = (uint8_t)where, .n = n};
            return true;
        }
    }
    return false;
}

bool sim_faults_parse(const char *text, struct sim_faults *ret_faults)
{
    while (*text != '\0') {
        size_t size = strcspn(text, ",");
        struct sim_fired fired;
        if (!parse_one(text, size, &fired)) {
            return false;
        }
        sim_faults_add(ret_faults, fired);
        text += size + (text[size] == ',');
    }
    return true;
}

void sim_faults_print(struct tpc_buf *out, const struct sim_faults *faults)
{
    for (size_t i = 0; i < faults->count; i++) {
        const struct sim_fired *fired = &faults->items[i];
        tpc_buf_addf(out, "%s%s@%u.%u", i > 0 ? "," : "", names[fired->fault], fired->where,
                     fired->n);
    }
}

static bool is_among(const struct sim_faults *faults, struct sim_fired fired)
{
    for (size_t i = 0; i < faults->count; i++) {
        const struct sim_fired *item = &faults->items[i];
        if (item->fault == fired.fault && item->where == fired.where && item->n == fired.n) {
            return true;
        }
    }
    return false;
}

bool sim_fault(enum sim_fault fault, unsigned where)
{
    if (sim.healed) {
        return false;
    }
    struct sim_fired fired = {
        .fault = (uint8_t)fault, .where = (uint8_t)where, .n = sim.chances[fault][where]++};
    uint64_t dice = sim_hash(sim_hash(sim.config.seed, (uint64_t)fault << 8 | where), fired.n);
    if (dice % 1000000 >= sim.rate[fault] ||
        (sim.config.only != NULL && !is_among(sim.config.only, fired))) {
        return false;
    }
    sim.result->counts[fault]++;
    sim_faults_add(&sim.result->faults, fired);
    return true;
}
