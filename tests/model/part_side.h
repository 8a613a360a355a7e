/* Between part_side.c and part_life.c. */
#ifndef ASSENT_TESTS_MODEL_PART_SIDE_H
#define ASSENT_TESTS_MODEL_PART_SIDE_H

#include "tests/model/wlog.h"

/* A branch at its place. */
struct place {
    const struct model_config *config;
    struct world *world;
    unsigned part, txn;
    struct side *side;
    struct seat *seat;
    struct wlog log;
    unsigned elsewhere; /* the message under way names another log: SAID_*; else 0 */
};

struct place model_place_of(const struct model_config *config, struct world *world, unsigned part,
                            unsigned txn);
void model_part_pack(struct seat *seat, const struct part_branch *branch);
void model_place_free(struct seat *seat); /* branch.c, part_branch_free */
void model_place_event_sure(struct place *p, enum part_event_type type);
void model_place_take_effect(struct place *p); /* in the database */
/* The work was done once more, or is gone: a vote on it is an old one. */
void model_place_redo(struct place *p);

/* part_life.c */
void model_part_forced(const struct model_config *config, struct world *world, unsigned part);
void model_part_erase(struct place *p);
void model_part_crash(const struct model_config *config, struct world *world,
                      const struct model_move *move);
void model_part_lose_log(const struct model_config *config, struct world *world, unsigned part);
void model_part_start(const struct model_config *config, struct world *world, unsigned part);

#endif
