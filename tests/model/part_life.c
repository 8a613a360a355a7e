/* A participant's log, its end, and its next beginning. */
#include "tests/model/part_side.h"

#include "base/tpc_assert.h"
#include "participant/part_record.h"

#include <string.h>

/* ---- The log ---- */

/* retention.c, part_retention_forced: proofs may go once the erasure is durable. */
static void release_proofs(const struct model_config *config, struct world *world, unsigned part)
{
    struct wlog log = wlog_of_part(world, part);
    for (unsigned t = 0; t < config->txns; t++) {
        struct seat *seat = &world->sides[part].seats[t];
        if ((seat->job & JOB_UNPROVED) != 0 &&
            (config->env_mutant == MUTANT_FORCED_ALONE || !wlog_has(&log, REC_ERASE, t, false))) {
            seat->job ^= JOB_UNPROVED | JOB_FORGETTING;
        }
    }
}

void model_part_forced(const struct model_config *config, struct world *world, unsigned part)
{
    struct wlog log = wlog_of_part(world, part);
    unsigned at = (unsigned)wlog_waiting(&log);
    unsigned kind = log.records[at] & REC_KIND;
    unsigned t = (log.records[at] & REC_TXN) / REC_TXN;
    bool prepared = config->env_mutant == MUTANT_PREPARED_NOT_FORCED && kind == REC_PREPARED;
    bool heuristic = config->env_mutant == MUTANT_HEURISTIC_NOT_FORCED &&
                     (kind == REC_HEUR_COMMIT || kind == REC_HEUR_ABORT);
    if (prepared || heuristic) {
        log.records[at] &= (uint8_t)~REC_FORCED;
    } else {
        wlog_forced(&log, at, config->env_mutant == MUTANT_FORCED_ALONE);
    }
    release_proofs(config, world, part);
    if (!config->servers || kind != REC_PREPARED) {
        struct place p = model_place_of(config, world, part, t);
        model_place_event_sure(&p, PART_EV_FORCED);
    }
}

void model_part_erase(struct place *p)
{
    if (!wlog_has(&p->log, REC_OVER, p->txn, false) &&
        p->config->env_mutant != MUTANT_OVER_NOT_LOGGED) {
        wlog_append(&p->log, REC_OVER | p->txn * REC_TXN);
    }
    wlog_append(&p->log, REC_ERASE | p->txn * REC_TXN);
    p->seat->p_flags &= (uint8_t)~P_EXPIRES;
    p->seat->job |=
        p->config->env_mutant == MUTANT_PROOF_FORGOTTEN_EARLY ? JOB_FORGETTING : JOB_UNPROVED;
    if ((p->seat->p_flags & P_ENDED) != 0) {
        model_place_free(p->seat);
    }
}

/* ---- The end, and the next beginning ---- */

static void forget_all(const struct model_config *config, struct world *world, unsigned part)
{
    for (unsigned t = 0; t < config->txns; t++) {
        struct seat *seat = &world->sides[part].seats[t];
        seat->state = seat->outcomes = seat->bits = seat->p_flags = seat->job = 0;
        seat->db &= (uint8_t)~DB_LISTED;
    }
}

static void fail_force(struct place *p)
{
    struct part_branch branch;
    struct part_effects effects = {0};
    unsigned record = p->log.records[wlog_waiting(&p->log)], t = (record & REC_TXN) / REC_TXN;
    if (p->config->servers && (record & REC_KIND) == REC_PREPARED) {
        return; /* keep.c halts by itself */
    }
    model_part_unpack(&p->side->seats[t], p->config->one_phase, &branch);
    enum tpc_rc rc =
        part_step(&branch, &(struct part_event){.type = PART_EV_FORCE_FAILED}, &effects);
    if (rc != TPC_OK || effects.count != 1 || effects.items[0] != PART_FX_HALT) {
        model_blame("a failed force does not halt the participant at once");
    }
}

void model_part_crash(const struct model_config *config, struct world *world,
                      const struct model_move *move)
{
    struct place p = model_place_of(config, world, move->part, 0);
    if ((move->arg2 & 1) != 0) {
        fail_force(&p);
    }
    for (unsigned t = 0; t < config->txns; t++) {
        struct place at = model_place_of(config, world, move->part, t);
        if (config->servers) {
            model_server_crash(&at, (move->arg2 & (2u << t)) != 0);
        } else if ((move->arg2 & (2u << t)) != 0) {
            model_place_take_effect(&at); /* and nobody was told */
        }
    }
    wlog_crash(&p.log, move->arg);
    forget_all(config, world, move->part);
    p.side->flags |= SIDE_DOWN;
    world->crashes = (uint8_t)(world->crashes + (config->crashes_max != 0));
}

void model_part_lose_log(const struct model_config *config, struct world *world, unsigned part)
{
    struct side *side = &world->sides[part];
    memset(side->log, 0, sizeof side->log);
    side->log_count = side->log_durable = 0;
    side->flags |= SIDE_SECOND_LOG;
    for (unsigned t = 0; t < config->txns; t++) {
        struct place p = model_place_of(config, world, part, t);
        world->txns[t].past |= PAST_LOST_LOG;
        if ((p.seat->db & DB_APPLIED) == 0) {
            model_place_redo(&p); /* what was voted on is gone */
        }
    }
}

/* recovery.c, visit. */
static void fold(const struct model_config *config, struct world *world, unsigned part, unsigned at)
{
    static const enum wal_kind kinds[] = {
        [REC_PREPARED] = WAL_PART_PREPARED,    [REC_COMMITTED] = WAL_PART_COMMITTED,
        [REC_ABORTED] = WAL_PART_ABORTED,      [REC_HEUR_COMMIT] = WAL_PART_HEURISTIC,
        [REC_HEUR_ABORT] = WAL_PART_HEURISTIC, [REC_FORGOTTEN] = WAL_PART_FORGOTTEN,
    };
    unsigned record = world->sides[part].log[at], kind = record & REC_KIND;
    struct place p = model_place_of(config, world, part, (record & REC_TXN) / REC_TXN);
    if (kind == REC_OVER) {
        p.seat->job |= JOB_OVER;
        return;
    }
    struct part_record body = {
        .gtid = {{0xf0, (uint8_t)p.txn}},
        .heuristic = kind == REC_HEUR_COMMIT  ? PART_COMMIT
                     : kind == REC_HEUR_ABORT ? PART_ABORT
                                              : PART_NO_OUTCOME,
    };
    struct part_branch branch;
    struct tpc_err err = {0};
    model_part_unpack(p.seat, config->one_phase, &branch);
    if (part_recover_fold(&branch, kinds[kind], &body, &err) != TPC_OK) {
        model_blame("a participant's recovery refuses its log: %s", err.text);
        return;
    }
    p.seat->p_flags |= P_KNOWN | P_LOGGED;
    model_part_pack(p.seat, &branch);
}

/* recovery.c: compare and resume. */
void model_part_start(const struct model_config *config, struct world *world, unsigned part)
{
    bool proven[TXNS_MAX] = {false};
    world->sides[part].flags &= (uint8_t)~SIDE_DOWN;
    model_server_fence(config, world, part);
    for (unsigned at = 0; at < world->sides[part].log_count && model_wrong() == NULL; at++) {
        fold(config, world, part, at);
    }
    for (unsigned t = 0; t < config->txns; t++) {
        struct seat *seat = &world->sides[part].seats[t];
        if (config->env_mutant != MUTANT_NOT_RESTORED &&
            (seat->state == PART_PREPARED || seat->state == PART_HEUR_COMMITTING)) {
            const struct place p = model_place_of(config, world, part, t);
            proven[t] = model_place_is_proven(&p);
            seat->job |= proven[t] || config->servers ? 0 : JOB_HELD;
        }
    }
    for (unsigned t = 0; t < config->txns && model_wrong() == NULL; t++) {
        struct place p = model_place_of(config, world, part, t);
        if (proven[t]) {
            model_place_event_sure(&p, PART_EV_DB_PROOF);
        }
    }
    for (unsigned t = 0; t < config->txns && model_wrong() == NULL; t++) {
        struct place p = model_place_of(config, world, part, t);
        model_server_lose_sight(&p);
        model_server_adopt(&p);
        if ((p.seat->p_flags & (P_KNOWN | P_ENDED)) == P_KNOWN) {
            model_place_event_sure(&p, PART_EV_RESTARTED);
        }
    }
}
