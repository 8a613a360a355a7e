/* A world in which one process is to die at one of its failpoints, or in which all failpoints are
 * noted (a dry run). Scenarios (scenarios.h) play on it. */
#ifndef ASSENT_TESTS_CRASH_STAGE_H
#define ASSENT_TESTS_CRASH_STAGE_H

#include "tests/support/check.h"

enum { STAGE_EAST = 0, STAGE_WEST = 1, STAGE_ACCOUNTS = 4, STAGE_POINT_MAX = 48 };

/* Where a failpoint was passed: in which scenario, in which starts of its process. */
struct stage_hit {
    char point[STAGE_POINT_MAX];
    unsigned process; /* as sup_world_daemon counts */
    unsigned scenario;
    unsigned first_start, last_start;
};

struct stage_hits {
    struct stage_hit *items;
    size_t count, capacity;
};

struct stage;

struct scenario {
    const char *name;
    const char *const *coordinator_flags, *const *agent_flags;
    void (*play)(struct stage *stage);
};

struct stage {
    struct sup_world world;
    struct sup_history history;
    uint64_t seed;
    unsigned loads; /* that were begun */
    /* The process that is to die. NULL: none. */
    struct sup_daemon *target;
    const char *point;
    unsigned arm_start; /* armed from this start of it on */
    const char *again;  /* NULL, or where it dies once more, in the start after its death */
    bool fired;
    struct stage_hits *hits;        /* of a dry run, else NULL */
    unsigned scenario;              /* index, for the hits */
    bool noted[SUP_AGENTS_MAX + 1]; /* what the present run of a process has passed */
    bool armed[SUP_AGENTS_MAX + 1]; /* it runs with failpoints */
};

/* Make the world and start all. @point NULL: nobody is to die; @hits not NULL: note all points. */
void stage_init(struct stage *stage, const struct scenario *scenario, unsigned index,
                uint64_t seed);
void stage_arm(struct stage *stage, unsigned process, const char *point, unsigned arm_start);
void stage_open(struct stage *stage);
/* The scenario is over: whoever is down comes back, and nothing is armed or noted any more. */
void stage_close(struct stage *stage);
void stage_done(struct stage *stage, bool keep);

struct sup_daemon *stage_agent(struct stage *stage, unsigned bank);
/* Start with @failpoints of the scenario's own (NULL: none), which come before the armed one. Dies
 * it at the armed one while it starts, it is started again. */
void stage_start(struct stage *stage, struct sup_daemon *daemon, const char *failpoints);
void stage_kill(struct stage *stage, struct sup_daemon *daemon);
void stage_restart(struct stage *stage, struct sup_daemon *daemon, const char *failpoints);
/* Start it when it has died. */
void stage_revive_one(struct stage *stage, struct sup_daemon *daemon);
/* Start whoever has died. */
void stage_revive(struct stage *stage);

/* One transfer; the first leg takes. Valid until the next one. */
struct sup_transfer *stage_transfer(struct stage *stage, struct sup_leg from, struct sup_leg to);
/* The same, submitted with `Prefer: respond-async`. */
struct sup_transfer *stage_transfer_async(struct stage *stage, struct sup_leg from,
                                          struct sup_leg to);
/* Ask for all transfers whose ids are known and outcomes are not. */
void stage_ask(struct stage *stage);
/* Transfers of @clients beside each other; who dies is started again. */
void stage_load(struct stage *stage, unsigned clients, unsigned count);

void stage_hits_done(struct stage_hits *hits);

#endif
