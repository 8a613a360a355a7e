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
/* The branch is not prepared in the database any more. */
void model_place_let_go(struct place *p);
/* The database proves that the branch was committed. */
bool model_place_is_proven(const struct place *p);
/* A record of the branch that its state machine waits for, or that its vote did not wait for. */
bool model_place_is_forcing(const struct place *p);
bool model_place_is_keeping(const struct place *p);
void model_place_record(struct place *p, unsigned record);
/* The work was done once more, or is gone: a vote on it is an old one. */
void model_place_redo(struct place *p);

/* part_server.c: servers, which hold prepared branches by themselves. */
void model_server_apply(struct place *p, const struct model_move *move);
void model_server_crash(struct place *p, bool took_effect); /* of the agent, with a job under way */
void model_server_fence(const struct model_config *config, struct world *world, unsigned part);
void model_server_adopt(struct place *p); /* at the start, before its branches go on */
/* What somebody has committed there before the crash. Once the log has been read. */
void model_server_lose_sight(struct place *p);

/* part_life.c */
void model_part_forced(const struct model_config *config, struct world *world, unsigned part);
void model_part_erase(struct place *p);
void model_part_crash(const struct model_config *config, struct world *world,
                      const struct model_move *move);
void model_part_lose_log(const struct model_config *config, struct world *world, unsigned part);
void model_part_start(const struct model_config *config, struct world *world, unsigned part);

#endif
