/* One short life of a world in which one daemon, the patient, meets faults: transfers, an end in
 * good order, a start, transfers; whoever ends is started again. Then, without faults, all
 * invariants. */
#ifndef ASSENT_TESTS_DISK_TRIAL_H
#define ASSENT_TESTS_DISK_TRIAL_H

#include "tests/support/check.h"

struct trial {
    struct sup_world world;
    struct sup_history history;
    struct sup_report report;
    struct sup_daemon *patient;
    uint64_t seed;
    unsigned loads;
    /* Of the driver. */
    void *arg;
    /* The patient is about to be started, or started and in vain @refused times since it ran the
     * last time; here its environment is set. NULL: nothing to do. */
    void (*prepare)(struct trial *trial, unsigned refused);
    /* Every few ms while transfers are under way. NULL: nothing to do. */
    void (*look)(struct trial *trial);
    /* How the patient may end beside by SIGKILL: 0 at SIGTERM, 1 when it cannot start, 70. */
    unsigned halts, refusals, kills;
};

/* Make the world and start the others than the patient (as sup_world_daemon counts). */
void trial_open(struct trial *trial, unsigned patient);
/* Start the patient until it stays up. */
void trial_start(struct trial *trial);
/* If it has ended: object to how, if that is not allowed, and start it again. */
void trial_revive(struct trial *trial);
/* SIGTERM, whatever comes of it. */
void trial_stop(struct trial *trial);
/* @count transfers of few clients. */
void trial_load(struct trial *trial, unsigned count);
/* All of it; the caller goes on with trial_close. */
void trial_play(struct trial *trial);
/* No more faults (the driver has seen to that): kill the patient, start it without environment and
 * wrapper, and check. */
void trial_close(struct trial *trial);
/* After the transfers, the patient being down: start it once without environment and wrapper. Is
 * that refused, or does anything contradict what was told? Nothing is printed as a violation. */
bool trial_objects(struct trial *trial);
void trial_done(struct trial *trial, bool keep);

#endif
