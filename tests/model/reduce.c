/* Three reductions, each for the runs that ask for it.
 *
 * Greedy. Some bits of a state only say what may still happen: what was ever said (to_part,
 * from_part), which calls are open for an answer (C_OUT_…), who waits for one (P_VOTES, P_ACKS),
 * and that an inquiry is under way (P_ASKING). No move needs one of them to be absent, and what a
 * move does with them is either to set or clear them whatever they were, or to keep a part of them.
 * No check is content because one of them is set. So of two states that are equal but for such
 * bits, the one with more of them can do whatever the other can, and ends in a state with at least
 * as much: all that can go wrong after the one can go wrong after the other. (Whether a timer is
 * armed makes no difference either: it may fire whenever its owner is alive.) Therefore
 *   - a move that only adds such bits is made at once, for the state before it can do no more;
 *   - a state that has less than the one it came from is not looked at: a message, an answer or a
 *     timer was lost, or a process that held nothing else has crashed.
 * What this leaves out is that the lesser states, too, end well when nothing goes wrong any more.
 *
 * Dead. What no later move and no check looks at is made zero: which branch voted what in a
 * transaction that is over, answers that change nothing when they are heard, what the machine of a
 * branch that has ended remembers of the way there. In a log the order of durable records of
 * different transactions says nothing, as each is folded alone. Where the coordinator has aborted
 * or forgotten a transaction without a commit record, there can be none any more (its gtid is never
 * used again), and which votes were counted for it says nothing.
 *
 * Hasty. The coordinator does not wait for the answers to an abort: the time for that is over as
 * soon as it begins. Whatever could happen before that can happen after it, to the same effect: in
 * ABORTING an answer does nothing but to end the waiting, unless it is "committed", which is a
 * hazard before and after, or a late yes, which after it has one more abort sent. The client was
 * told before.
 *
 * Dead and hasty lean on what there is to happen: without operators, retention, lost logs,
 * one-phase commit, trouble in the database and answers out of the blue. And all of it leans on the
 * drivers and machines being such as they are said to be here: that something late "does nothing"
 * is seen in the runs without reductions. A test compares verdicts with and without. */
#include "tests/model/reduce.h"

#include "tests/model/wlog.h"

#include <string.h>

#define MOVE(name, ...) ((struct model_move){.type = MOVE_##name, __VA_ARGS__})

bool reduce_applies(const struct model_config *config)
{
    bool plain = !config->operators && !config->retention && !config->lost_logs &&
                 !config->one_phase && !config->db_trouble && !config->loose_answers;
    return plain || (!config->dead && !config->hasty);
}

/* ---- Dead ---- */

/* Of a branch that has ended, without an outcome of its own. */
static void forget_branch(struct seat *seat)
{
    if ((seat->outcomes & 3) != 0) {
        return;
    }
    if (seat->state == PART_ABORTED) {
        seat->outcomes = 0;
        seat->bits &= BIT_LOGGED | BIT_DURABLE_ABORT;
    } else if (seat->state == PART_COMMITTED || seat->state == PART_READ_ONLY) {
        seat->bits = 0;
    }
}

static void forget_seat(const struct ctxn *txn, struct seat *seat)
{
    bool known = (txn->flags & T_KNOWN) != 0, submitted = (txn->past & PAST_SUBMITTED) != 0;
    bool committing = txn->state == COORD_COMMITTING, committed = txn->state == COORD_COMMITTED;
    bool over = txn->state == COORD_ABORTED || (submitted && !known);
    if (committing || committed) {
        seat->c_flags &= (uint8_t)~C_OUT_PREPARE;
    }
    if (committed || (committing && seat->end != COORD_END_NONE)) {
        seat->c_flags &= (uint8_t)~C_OUT_DECISION;
    }
    if (txn->state == COORD_ABORTED && (seat->c_flags & C_HAZARD) == 0) {
        seat->vote = COORD_VOTE_NONE;
        seat->who = 0;
        seat->end = COORD_END_UNKNOWN;
        seat->from_part[0] &= SAID_YES | SAID_YES_OLD | SAID_COMMITTED;
        seat->from_part[1] = 0;
    }
    if (over && (txn->past & (PAST_DURABLE | PAST_TOLD_COMMIT)) == 0) {
        seat->past &= (uint8_t) ~(PAST_VOTED | PAST_VOTED_OLD | PAST_READ_ONLY);
    }
    forget_branch(seat);
}

void reduce_dead(const struct model_config *config, struct world *world)
{
    if (!config->dead) {
        return;
    }
    for (unsigned k = 0; k < config->parts * config->txns; k++) {
        unsigned i = k / config->txns, t = k % config->txns;
        forget_seat(&world->txns[t], &world->sides[i].seats[t]);
    }
    if (config->txns > 1) {
        struct wlog log = wlog_of_coord(config, world);
        wlog_sort(&log);
        for (unsigned i = 0; i < config->parts; i++) {
            log = wlog_of_part(world, i);
            wlog_sort(&log);
        }
    }
}

/* ---- Greedy ---- */

enum {
    C_MORE = C_OUT_PREPARE | C_OUT_DECISION,
    C_ARMED = C_RETRY,
    P_MORE = P_VOTES | P_ACKS | P_ASKING,
    P_ARMED = P_TIMER,
};

static bool is_subset(unsigned one, unsigned other)
{
    return (one & ~other) == 0;
}

static bool is_seat_less(const struct seat *one, const struct seat *other)
{
    struct seat rest = *one;
    rest.c_flags =
        (uint8_t)((one->c_flags & ~(C_MORE | C_ARMED)) | (other->c_flags & (C_MORE | C_ARMED)));
    rest.p_flags =
        (uint8_t)((one->p_flags & ~(P_MORE | P_ARMED)) | (other->p_flags & (P_MORE | P_ARMED)));
    rest.to_part = other->to_part;
    rest.from_part[0] = other->from_part[0];
    rest.from_part[1] = other->from_part[1];
    return memcmp(&rest, other, sizeof rest) == 0 && is_subset(one->to_part, other->to_part) &&
           is_subset(one->from_part[0], other->from_part[0]) &&
           is_subset(one->from_part[1], other->from_part[1]) &&
           is_subset(one->c_flags & C_MORE, other->c_flags) &&
           is_subset(one->p_flags & P_MORE, other->p_flags);
}

static bool is_txn_same(const struct ctxn *one, const struct ctxn *other)
{
    return one->state == other->state && one->past == other->past &&
           ((one->flags ^ other->flags) & ~T_TIMER) == 0;
}

bool reduce_is_less(const struct model_config *config, const struct world *world,
                    const struct world *other)
{
    /* Fewer crashes to come are less, too. */
    bool less = config->greedy && world->down == other->down && world->crashes >= other->crashes &&
                world->log_count == other->log_count && world->log_durable == other->log_durable &&
                memcmp(world->log, other->log, sizeof world->log) == 0;
    for (unsigned t = 0; less && t < config->txns; t++) {
        less = is_txn_same(&world->txns[t], &other->txns[t]);
    }
    for (unsigned i = 0; less && i < config->parts; i++) {
        less = memcmp(&world->sides[i], &other->sides[i], offsetof(struct side, seats)) == 0;
    }
    for (unsigned k = 0; less && k < config->parts * config->txns; k++) {
        unsigned i = k / config->txns, t = k % config->txns;
        less = is_seat_less(&world->sides[i].seats[t], &other->sides[i].seats[t]);
    }
    return less;
}

/* @move is made if nothing is lost by it, or if it shows that something is wrong. */
static void try_gain(const struct model_config *config, struct world *world,
                     const struct model_move *move)
{
    struct world next = *world;
    if (model_wrong() != NULL) {
        return;
    }
    model_hush(true);
    model_apply(config, &next, move);
    model_hush(false);
    if (config->dead) {
        forget_seat(&next.txns[move->txn], &next.sides[move->part].seats[move->txn]);
    }
    if (model_wrong() == NULL &&
        (memcmp(&next, world, sizeof next) == 0 || !reduce_is_less(config, world, &next))) {
        return;
    }
    model_tell_also(config, move);
    *world = next;
}

static void gain_seat(const struct model_config *config, struct world *world, unsigned part,
                      unsigned txn)
{
    const struct side *side = &world->sides[part];
    const struct seat *seat = &side->seats[txn];
    uint8_t p = (uint8_t)part, t = (uint8_t)txn;
    if (!world->down && (seat->c_flags & (C_RETRY | C_OUT_DECISION)) == C_RETRY) {
        try_gain(config, world, &MOVE(RETRY, .part = p, .txn = t));
    }
    if ((side->flags & SIDE_DOWN) != 0) {
        return;
    }
    if ((seat->p_flags & (P_TIMER | P_ASKING)) == P_TIMER) {
        try_gain(config, world, &MOVE(PART_TIMER, .part = p, .txn = t));
    }
    for (unsigned said = 1; said < 256; said <<= 1) {
        if ((seat->to_part & said) != 0) {
            try_gain(config, world, &MOVE(DELIVER, .part = p, .txn = t, .arg = (uint8_t)said));
        }
    }
}

void reduce_gain(const struct model_config *config, const struct world *before, struct world *world)
{
    for (unsigned k = 0; config->greedy && k < config->parts * config->txns; k++) {
        unsigned i = k / config->txns, t = k % config->txns;
        const struct side *side = &world->sides[i], *was = &before->sides[i];
        if (memcmp(&side->seats[t], &was->seats[t], sizeof side->seats[t]) != 0 ||
            side->flags != was->flags || world->down != before->down) {
            gain_seat(config, world, i, t);
        }
    }
}

/* ---- Hasty ---- */

void reduce_wait(const struct model_config *config, struct world *world)
{
    for (unsigned t = 0; config->hasty && t < config->txns && model_wrong() == NULL; t++) {
        if (world->txns[t].state == COORD_ABORTING) {
            const struct model_move grace = MOVE(TXN_TIMER, .txn = (uint8_t)t);
            model_tell_also(config, &grace);
            model_apply(config, world, &grace);
            model_check(config, world);
        }
    }
}
