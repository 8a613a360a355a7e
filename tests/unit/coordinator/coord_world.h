/* A transaction under test, and words to tell its story in. */
#ifndef ASSENT_TESTS_UNIT_COORDINATOR_COORD_WORLD_H
#define ASSENT_TESTS_UNIT_COORDINATOR_COORD_WORLD_H

#include "tests/unit/base/unit.h"

#include "coordinator/coord_fsm.h"

#include "base/buf.h"
#include "base/tpc_assert.h"

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

static inline struct coord_event world_other_event(enum coord_event_type type, unsigned from)
{
    struct coord_event event = world_event(type, from);
    event.participant = world_other_log(from);
    return event;
}

/* "SEND_ABORT:01 ARM_GRACE": each effect and the branches it is for. */
static inline void world_describe(const struct coord_effects *effects, struct tpc_buf *out)
{
    tpc_buf_adds(out, "");
    for (unsigned i = 0; i < effects->count; i++) {
        const struct coord_effect *effect = &effects->items[i];
        tpc_buf_addf(out, "%s%s%s", i > 0 ? " " : "", coord_effect_name(effect->type),
                     effect->branches != 0 ? ":" : "");
        for (unsigned from = 0; from < WORLD_BRANCHES; from++) {
            if ((effect->branches & TPC_BIT(from)) != 0) {
                tpc_buf_addf(out, "%u", from);
            }
        }
    }
}

/* One line of a story: what happens, where it leads, what is to be done. */
static inline void world_step(union world_txn *world, const struct coord_event *event,
                              enum coord_state state, const char *effects)
{
    struct coord_effects out;
    struct tpc_buf text = {0};
    assert_int_equal(coord_step(&world->txn, event, &out), TPC_OK);
    world_describe(&out, &text);
    assert_string_equal(text.data, effects);
    assert_string_equal(coord_state_name((enum coord_state)world->txn.state),
                        coord_state_name(state));
    tpc_buf_done(&text);
}

#endif
