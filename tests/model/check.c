/* What must hold: the rules of the protocol, as conditions on a state of the world. */
#include "tests/model/wlog.h"

static bool excused(const struct ctxn *txn)
{
    return (txn->past & (PAST_BY_HAND | PAST_LOST_LOG | PAST_CONFLICT)) != 0;
}

/* ---- In every state ---- */

static void check_told(const struct model_config *config, const struct world *world, unsigned t)
{
    const struct ctxn *txn = &world->txns[t];
    enum coord_outcome shown =
        (txn->flags & T_KNOWN) != 0 ? model_outcome(world, t) : COORD_UNDECIDED;
    bool commit = (txn->past & PAST_TOLD_COMMIT) != 0 || shown == COORD_COMMIT;
    bool abort = (txn->past & PAST_TOLD_ABORT) != 0 || shown == COORD_ABORT;
    bool voted = false;
    for (unsigned i = 0; i < config->parts; i++) {
        voted |= (world->sides[i].seats[t].past & (PAST_VOTED | PAST_VOTED_OLD)) != 0;
    }
    if (commit && abort) {
        model_blame("T%u: commit was told, and abort too", model_txn_name(t));
    }
    if (!config->one_phase && commit && voted && (txn->past & PAST_DURABLE) == 0) {
        model_blame("T%u: commit is told before its record is durable", model_txn_name(t));
    }
    if (!config->one_phase && abort && (txn->past & PAST_DURABLE) != 0) {
        model_blame("T%u: abort is told, and commit is in the log", model_txn_name(t));
    }
}

/* What has been promised to be applied is still there to be applied. */
static void check_kept(const struct model_config *config, const struct world *world, unsigned part,
                       unsigned t)
{
    const struct side *side = &world->sides[part];
    const struct seat *seat = &side->seats[t];
    const struct ctxn *txn = &world->txns[t];
    struct wlog log = wlog_of_part((struct world *)(uintptr_t)world, part);
    bool can =
        config->servers ? model_part_holds(config, seat) : wlog_has(&log, REC_PREPARED, t, true);
    if ((txn->past & PAST_DURABLE) != 0 && (seat->past & PAST_VOTED) != 0 &&
        (seat->db & DB_APPLIED) == 0 && !excused(txn) &&
        (!can || wlog_has(&log, REC_ABORTED, t, true))) {
        model_blame("T%u is decided commit, and %c cannot do its work any more", model_txn_name(t),
                    model_name(part));
    }
}

/* The end of a commit is told when every branch has applied it, so that the caller reads it. */
static void check_ended(const struct world *world, unsigned part, unsigned t)
{
    const struct seat *seat = &world->sides[part].seats[t];
    const struct ctxn *txn = &world->txns[t];
    if ((txn->flags & T_ENDED) != 0 && txn->state == COORD_COMMITTED &&
        (seat->past & PAST_VOTED) != 0 && (seat->db & DB_APPLIED) == 0 && !excused(txn)) {
        model_blame("T%u has ended as committed, and %c has not applied it", model_txn_name(t),
                    model_name(part));
    }
}

/* Where no record is made of it, what is told is what the database has. */
static void check_one_phase(const struct world *world, unsigned t)
{
    const struct ctxn *txn = &world->txns[t];
    const struct seat *seat = &world->sides[0].seats[t];
    bool applied = (seat->db & DB_APPLIED) != 0;
    if (excused(txn)) {
        return;
    }
    if ((txn->past & PAST_TOLD_ABORT) != 0 && applied) {
        model_blame("T%u: abort was told, and %c has applied it", model_txn_name(t), model_name(0));
    }
    if ((txn->past & PAST_TOLD_COMMIT) != 0 && !applied && (seat->past & PAST_READ_ONLY) == 0) {
        model_blame("T%u: commit was told, and %c has not applied it", model_txn_name(t),
                    model_name(0));
    }
}

static void check_branch(const struct model_config *config, const struct world *world,
                         unsigned part, unsigned t)
{
    const struct seat *seat = &world->sides[part].seats[t];
    const struct ctxn *txn = &world->txns[t];
    struct part_branch branch;
    model_part_unpack(seat, config->one_phase, &branch);
    bool durable = (txn->past & PAST_DURABLE) != 0;
    bool applied = (seat->db & DB_APPLIED) != 0;
    if (((seat->c_flags & C_HAZARD) != 0 || part_is_hazard(&branch)) && !excused(txn)) {
        model_blame("T%u: a hazard at %c, and nobody is to blame", model_txn_name(t),
                    model_name(part));
    }
    if (config->one_phase) {
        return;
    }
    if ((txn->past & PAST_TOLD_ABORT) != 0 && applied && (seat->past & PAST_OPERATED) == 0) {
        model_blame("T%u: abort was told, and %c has applied it", model_txn_name(t),
                    model_name(part));
    }
    if (branch.told == PART_COMMIT && !durable &&
        !((seat->past & PAST_OPERATED) != 0 && branch.state == PART_COMMITTED)) {
        model_blame("T%u: %c believes in a commit that was not decided", model_txn_name(t),
                    model_name(part));
    }
    if (branch.told == PART_ABORT && durable && (seat->past & PAST_VOTED) != 0) {
        model_blame("T%u: %c believes in an abort, and commit was decided", model_txn_name(t),
                    model_name(part));
    }
    check_kept(config, world, part, t);
    check_ended(world, part, t);
}

void model_check(const struct model_config *config, const struct world *world)
{
    for (unsigned t = 0; t < config->txns; t++) {
        check_told(config, world, t);
        if (config->one_phase) {
            check_one_phase(world, t);
        }
        for (unsigned i = 0; i < config->parts; i++) {
            check_branch(config, world, i, t);
        }
    }
}

/* ---- When all is done ---- */

static void check_rest(const struct model_config *config, const struct world *world, unsigned part,
                       unsigned t)
{
    const struct seat *seat = &world->sides[part].seats[t];
    struct part_branch branch;
    model_part_unpack(seat, config->one_phase, &branch);
    bool ended = (seat->p_flags & (P_KNOWN | P_ENDED)) != P_KNOWN;
    bool by_hand = branch.state == PART_HEUR_COMMIT || branch.state == PART_HEUR_ABORT;
    if (!ended && !(by_hand && branch.told != PART_NO_OUTCOME)) {
        model_blame("T%u is %s at %c for ever", model_txn_name(t), part_state_name(seat->state),
                    model_name(part));
    }
    if (model_part_holds(config, seat)) {
        model_blame("T%u holds its locks at %c for ever", model_txn_name(t), model_name(part));
    }
    if ((seat->p_flags & (P_VOTES | P_ACKS)) != 0) {
        model_blame("T%u: a message is never answered by %c", model_txn_name(t), model_name(part));
    }
}

static void check_outcome(const struct model_config *config, const struct world *world,
                          unsigned part, unsigned t)
{
    const struct seat *seat = &world->sides[part].seats[t];
    const struct ctxn *txn = &world->txns[t];
    bool applied = (seat->db & DB_APPLIED) != 0;
    bool shown = (seat->past & (PAST_SHOWN | PAST_FORGOTTEN)) != 0;
    bool burnt = (seat->past & PAST_OPERATED) != 0 &&
                 (world->sides[part].flags & SIDE_SECOND_LOG) != 0; /* what was done by hand */
    bool commit =
        config->one_phase ? (txn->past & PAST_TOLD_COMMIT) != 0 : (txn->past & PAST_DURABLE) != 0;
    bool told = !config->one_phase || (txn->past & (PAST_TOLD_COMMIT | PAST_TOLD_ABORT)) != 0;
    bool wants = commit && (seat->past & PAST_READ_ONLY) == 0;
    burnt |= (txn->past & PAST_UNSEEN) != 0;
    if (applied && (seat->past & PAST_VOTED_OLD) != 0 && !shown && !burnt) {
        model_blame("T%u: %c has applied other work than was voted on, and nobody is told",
                    model_txn_name(t), model_name(part));
    }
    if (told && applied != wants && !shown && !burnt) {
        model_blame("T%u %s, %c %s, and nobody is told", model_txn_name(t),
                    commit ? "is committed" : "is aborted", model_name(part),
                    applied ? "has applied it" : "has not applied it");
    }
}

void model_check_end(const struct model_config *config, const struct world *world)
{
    for (unsigned t = 0; t < config->txns; t++) {
        if ((world->txns[t].flags & (T_KNOWN | T_ENDED)) == T_KNOWN) {
            model_blame("T%u never ends at the coordinator: it is %s", model_txn_name(t),
                        coord_state_name((enum coord_state)world->txns[t].state));
        }
        for (unsigned i = 0; i < config->parts; i++) {
            check_rest(config, world, i, t);
            check_outcome(config, world, i, t);
        }
    }
}
