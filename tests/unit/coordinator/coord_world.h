/* A transaction under test, and words to tell its story in. */
#ifndef ASSENT_TESTS_UNIT_COORDINATOR_COORD_WORLD_H
#define ASSENT_TESTS_UNIT_COORDINATOR_COORD_WORLD_H

#include "tests/unit/base/unit.h"

#include "coordinator/coord_fsm.h"

#include <string.h>

enum { WORLD_BRANCHES = 4 };

union world_txn {
    struct coord_txn txn;
    uint8_t bytes[sizeof(struct coord_txn) + WORLD_BRANCHES * sizeof(struct coord_branch)];
};

/* The log of branch @from, and the one that replaced it. */
static inline struct tpc_id world_log(unsigned from)
{
    return (struct tpc_id){{0xa0, (uint8_t)from}};
}

static inline struct tpc_id world_other_log(unsigned from)
{
    return (struct tpc_id){{0xb0, (uint8_t)from}};
}

static inline struct coord_event world_event(enum coord_event_type type, unsigned from)
{
    return (struct coord_event){
        .type = type, .from = (uint8_t)from, .participant = world_log(from)};
}

#endif
