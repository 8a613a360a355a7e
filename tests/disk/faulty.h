/* A trial whose patient has the disk of disk.h. */
#ifndef ASSENT_TESTS_DISK_FAULTY_H
#define ASSENT_TESTS_DISK_FAULTY_H

#include "tests/disk/disk.h"
#include "tests/disk/trial.h"

enum { FAULTY_VARIABLES = 10 };

struct faulty {
    struct trial trial;
    struct disk_state *state;
    char variables[FAULTY_VARIABLES][SUP_PATH_MAX + 32];
    const char *environment[FAULTY_VARIABLES + 1];
    size_t variable_count;
};

struct faulty_plan {
    const char *fault; /* as in ASSENT_DISK_FAULT */
    uint64_t at, again, from, seed;
    bool sticky;
};

/* trial_open, with this disk for the patient from its first start on. */
void faulty_open(struct faulty *faulty, unsigned patient, const struct faulty_plan *plan);
/* No more faults. */
void faulty_lift(struct faulty *faulty);
void faulty_done(struct faulty *faulty, bool keep);

#endif
