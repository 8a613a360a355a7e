/* What may happen next. */
#include "tests/model/part_side.h"

#include "base/tpc_assert.h"

static void add(struct model_moves *out, struct model_move move)
{
    TPC_ASSERT(out->count < MOVES_MAX);
    out->items[out->count++] = move;
}

#define MOVE(name, ...) ((struct model_move){.type = MOVE_##name, __VA_ARGS__})

static bool may_crash(const struct model_config *config, const struct world *world)
{
    return !config->no_crashes &&
           (config->crashes_max == 0 || world->crashes < config->crashes_max);
}

/* ---- The coordinator ---- */

static void add_answers(const struct world *world, unsigned part, unsigned txn,
                        struct model_moves *out)
{
    const struct seat *seat = &world->sides[part].seats[txn];
    for (unsigned log = 0; log < 2; log++) {
        for (unsigned said = 1; said < 256; said <<= 1) {
            if ((seat->from_part[log] & said) != 0) {
                add(out, MOVE(HEAR, .part = (uint8_t)part, .txn = (uint8_t)txn,
                              .arg = (uint8_t)said, .arg2 = (uint8_t)(log + 1)));
            }
        }
    }
}

static void add_link(const struct model_config *config, const struct world *world, unsigned part,
                     unsigned txn, struct model_moves *out)
{
    const struct seat *seat = &world->sides[part].seats[txn];
    uint8_t p = (uint8_t)part, t = (uint8_t)txn;
    if ((seat->c_flags & C_QUEUED) != 0) {
        add(out, MOVE(SEND, .part = p, .txn = t));
        if (config->undelivered) {
            add(out, MOVE(SEND_REFUSED, .part = p, .txn = t));
        }
    }
    add_answers(world, part, txn, out);
    if ((seat->c_flags & C_OUT_PREPARE) != 0) {
        add(out, MOVE(LOST, .part = p, .txn = t, .arg = C_OUT_PREPARE));
    }
    if ((seat->c_flags & C_OUT_DECISION) != 0) {
        add(out, MOVE(LOST, .part = p, .txn = t, .arg = C_OUT_DECISION));
        if (config->undelivered) {
            add(out, MOVE(UNDELIVERED, .part = p, .txn = t, .arg = C_OUT_DECISION));
        }
    }
    if ((world->txns[txn].flags & (T_KNOWN | T_ENDED)) == T_KNOWN) {
        add(out, MOVE(RETRY, .part = p, .txn = t));
    }
}

static void add_txn(const struct model_config *config, const struct world *world, unsigned txn,
                    struct model_moves *out)
{
    const struct ctxn *state = &world->txns[txn];
    uint8_t t = (uint8_t)txn;
    if ((state->past & PAST_SUBMITTED) == 0) {
        /* A log that is not known is not committed to in one phase. The model does so all the same
         * where that does no harm: where no log is lost. */
        if (!config->one_phase || !config->lost_logs) {
            add(out, MOVE(SUBMIT, .txn = t));
        }
        if (config->one_phase) {
            add(out, MOVE(SUBMIT, .txn = t, .arg = 1)); /* the participant was heard of before */
        }
    }
    if ((state->flags & (T_KNOWN | T_ENDED)) == T_KNOWN) {
        add(out, MOVE(TXN_TIMER, .txn = t));
        add(out, MOVE(CLIENT_ABORT, .txn = t));
    }
    bool hazards = false;
    for (unsigned i = 0; i < config->parts; i++) {
        add_link(config, world, i, txn, out);
        hazards |= (world->sides[i].seats[txn].c_flags & C_HAZARD) != 0;
    }
    if (config->retention && (state->flags & T_ENDED) != 0 && !hazards) {
        add(out, MOVE(COORD_ERASE, .txn = t));
    }
}

static void add_coord(const struct model_config *config, const struct world *world,
                      struct model_moves *out)
{
    struct wlog log = wlog_of_coord(config, (struct world *)(uintptr_t)world);
    if (world->down) {
        add(out, MOVE(COORD_START));
        return;
    }
    for (unsigned t = 0; t < config->txns; t++) {
        add_txn(config, world, t, out);
    }
    bool forcing = wlog_waiting(&log) >= 0;
    if (forcing) {
        add(out, MOVE(COORD_FORCED));
    }
    for (unsigned k = 0; may_crash(config, world) && k <= (unsigned)*log.count - *log.durable;
         k++) {
        add(out, MOVE(COORD_CRASH, .arg = (uint8_t)k, .arg2 = forcing && k == 0));
    }
}

/* ---- Participants ---- */

static void add_prepare_ends(const struct place *place, struct model_moves *out)
{
    const struct model_config *config = place->config;
    const struct seat *seat = place->seat;
    bool cancelled = (seat->job & JOB_CANCELLED) != 0, marked = model_place_is_proven(place);
    bool taken = (seat->db & DB_PREPARED) != 0; /* by an attempt that came late */
    struct model_move move =
        MOVE(JOB_DONE, .part = (uint8_t)place->part, .txn = (uint8_t)place->txn);
    bool may_write = config->fickle || (seat->past & PAST_READER) == 0;
    bool may_read = config->fickle || (seat->past & PAST_WRITER) == 0;
    if (!marked && !taken && may_write && (config->work & WORK_READY) != 0) {
        move.arg = config->one_phase ? JOB_DONE : JOB_READY;
        add(out, move);
    }
    if (!marked && may_read && (config->work & WORK_READ_ONLY) != 0) {
        move.arg = JOB_READ_ONLY;
        add(out, move);
    }
    if (marked) {
        move.arg = JOB_DONE;
        add(out, move);
    }
    if (cancelled || taken || (config->work & WORK_REFUSED) != 0) {
        move.arg = JOB_REFUSED;
        add(out, move);
    }
    if (config->lost_sessions && !marked && may_write && (config->work & WORK_READY) != 0) {
        move.arg = JOB_LOST;
        add(out, move);
    }
}

static void add_job_ends(const struct place *place, struct model_moves *out)
{
    const struct model_config *config = place->config;
    const struct seat *seat = place->seat;
    struct model_move move =
        MOVE(JOB_DONE, .part = (uint8_t)place->part, .txn = (uint8_t)place->txn);
    unsigned kind = seat->job & JOB_KIND;
    bool holds = model_part_holds(config, seat);
    if (kind == JOB_PREPARE) {
        add_prepare_ends(place, out);
    } else if (kind != JOB_NONE && !(kind == JOB_COMMIT && model_place_is_keeping(place))) {
        move.arg = JOB_DONE;
        add(out, move);
        if (config->db_trouble) {
            move.arg = JOB_RETRY;
            add(out, move);
        }
        if (config->db_trouble && kind == JOB_COMMIT && holds) {
            move.arg = JOB_CONFLICT;
            add(out, move);
        }
        if (config->lost_sessions && kind == JOB_COMMIT && holds) {
            move.arg = JOB_LOST;
            add(out, move);
        }
    }
}

static void add_operator(const struct world *world, unsigned part, unsigned txn,
                         struct model_moves *out)
{
    static const enum part_event_type types[] = {PART_EV_OPERATOR_COMMIT, PART_EV_OPERATOR_ABORT,
                                                 PART_EV_FORGET};
    for (unsigned i = 0; i < 3; i++) {
        if (model_part_allows(world, part, txn, types[i])) {
            add(out, MOVE(OPERATOR, .part = (uint8_t)part, .txn = (uint8_t)txn,
                          .arg = (uint8_t)types[i]));
        }
    }
}

/* Nothing is asked of any clock. */
static bool may_expire(const struct model_config *config, const struct world *world, unsigned part,
                       unsigned txn)
{
    const struct side *side = &world->sides[part];
    for (unsigned t = 0; t < config->txns; t++) {
        if ((side->seats[t].job & JOB_UNPROVED) != 0) {
            return false; /* one batch at a time */
        }
    }
    const struct seat *seat = &side->seats[txn];
    bool lives = (seat->p_flags & (P_KNOWN | P_ENDED)) == P_KNOWN;
    bool over = (seat->job & JOB_OVER) != 0 || config->env_mutant == MUTANT_ERASED_EARLY;
    return (seat->p_flags & P_EXPIRES) != 0 && over && !lives;
}

static void add_retention(const struct model_config *config, const struct world *world,
                          unsigned part, unsigned txn, struct model_moves *out)
{
    const struct seat *seat = &world->sides[part].seats[txn];
    struct part_branch branch;
    uint8_t p = (uint8_t)part, t = (uint8_t)txn;
    model_part_unpack(seat, config->one_phase, &branch);
    bool listing = (seat->db & DB_LISTED) != 0 && config->env_mutant != MUTANT_DROPPED_WHILE_LISTED;
    if ((seat->p_flags & P_ENDED) != 0 && !listing &&
        !(branch.state == PART_ABORTED && (seat->p_flags & P_EXPIRES) != 0)) {
        add(out, MOVE(DROP, .part = p, .txn = t));
    }
    if ((seat->job & JOB_OVER) == 0 && model_forgotten(config, world, txn)) {
        add(out, MOVE(LEARN, .part = p, .txn = t));
    }
    if (!listing && may_expire(config, world, part, txn)) {
        add(out, MOVE(PART_ERASE, .part = p, .txn = t));
    }
    if ((seat->job & JOB_FORGETTING) != 0) {
        add(out, MOVE(UNMARK, .part = p, .txn = t));
    }
}

static void add_branch(const struct model_config *config, const struct world *world, unsigned part,
                       unsigned txn, struct model_moves *out)
{
    const struct place place = model_place_of(config, (struct world *)(uintptr_t)world, part, txn);
    const struct seat *seat = place.seat;
    uint8_t p = (uint8_t)part, t = (uint8_t)txn;
    for (unsigned said = SAID_PREPARE; said <= SAID_PREPARE_2; said <<= 1) {
        if ((seat->to_part & said) != 0) {
            add(out, MOVE(DELIVER, .part = p, .txn = t, .arg = (uint8_t)said));
        }
    }
    add_job_ends(&place, out);
    if ((seat->p_flags & P_KNOWN) != 0) {
        add(out, MOVE(PART_TIMER, .part = p, .txn = t));
    }
    if ((seat->p_flags & P_ASKING) != 0) {
        add(out, MOVE(ASK_LOST, .part = p, .txn = t));
        if (!world->down || config->env_mutant == MUTANT_ASKED_TOO_EARLY) {
            add(out, MOVE(ASK, .part = p, .txn = t));
        }
    }
    if (config->operators && (seat->p_flags & P_KNOWN) != 0) {
        add_operator(world, part, txn, out);
    }
    if (config->retention) {
        add_retention(config, world, part, txn, out);
    }
}

/* And its record says by what its commit is proved: before that there is no time for anybody. */
static bool is_known_to_be_prepared(const struct model_config *config, const struct world *world,
                                    unsigned part, unsigned txn)
{
    const struct place p = model_place_of(config, (struct world *)(uintptr_t)world, part, txn);
    unsigned state = p.seat->state;
    bool known = state == PART_PREPARED || state == PART_COMMITTING || state == PART_ABORTING ||
                 state == PART_RESOLVING || state == PART_HEUR_COMMITTING ||
                 state == PART_HEUR_ABORTING;
    return known && wlog_has(&p.log, REC_PREPARED, txn, true);
}

static void add_server(const struct model_config *config, const struct world *world, unsigned part,
                       unsigned txn, struct model_moves *out)
{
    const struct seat *seat = &world->sides[part].seats[txn];
    uint8_t p = (uint8_t)part, t = (uint8_t)txn;
    for (unsigned late = DB_LATE; late <= DB_LATE_COMMIT; late <<= 1) {
        if ((seat->db & late) != 0) {
            add(out, MOVE(LATE, .part = p, .txn = t, .arg = (uint8_t)late));
            add(out, MOVE(LATE_FAILS, .part = p, .txn = t, .arg = (uint8_t)late));
        }
    }
    if ((world->sides[part].flags & SIDE_DOWN) != 0) {
        return;
    }
    if (config->meddlers && (seat->db & DB_PREPARED) != 0 &&
        is_known_to_be_prepared(config, world, part, txn)) {
        add(out, MOVE(MEDDLE, .part = p, .txn = t, .arg = 1));
        add(out, MOVE(MEDDLE, .part = p, .txn = t));
    }
    if ((seat->db & DB_LISTED) != 0) {
        add(out, MOVE(COMPARE, .part = p, .txn = t));
    } else if ((seat->db & DB_PREPARED) != 0) {
        add(out, MOVE(LIST, .part = p, .txn = t));
    }
}

/* Bit t: the database is committing something for branch t. */
static unsigned taking_effect(const struct model_config *config, const struct world *world,
                              unsigned part)
{
    unsigned found = 0;
    for (unsigned t = 0; t < config->txns; t++) {
        const struct place place =
            model_place_of(config, (struct world *)(uintptr_t)world, part, t);
        const struct seat *seat = place.seat;
        unsigned kind = seat->job & JOB_KIND;
        bool commits =
            kind == JOB_COMMIT && model_part_holds(config, seat) && !model_place_is_keeping(&place);
        bool at_once = kind == JOB_PREPARE && config->one_phase &&
                       (config->work & WORK_READY) != 0 && (seat->past & PAST_READER) == 0;
        bool prepares = config->servers && kind == JOB_PREPARE && (seat->db & DB_PREPARED) == 0 &&
                        (config->work & WORK_READY) != 0;
        bool undoes = config->servers && kind == JOB_ABORT && (seat->db & DB_PREPARED) != 0;
        bool some = commits || at_once || prepares || undoes;
        found |= (seat->db & DB_MARKER) == 0 && some ? 1u << t : 0;
    }
    return found;
}

static void add_part(const struct model_config *config, const struct world *world, unsigned part,
                     struct model_moves *out)
{
    const struct side *side = &world->sides[part];
    struct wlog log = wlog_of_part((struct world *)(uintptr_t)world, part);
    uint8_t p = (uint8_t)part;
    bool down = (side->flags & SIDE_DOWN) != 0;
    for (unsigned t = 0; config->servers && t < config->txns; t++) {
        add_server(config, world, part, t, out);
    }
    if (down) {
        add(out, MOVE(PART_START, .part = p));
        if (config->env_mutant != MUTANT_SERVED_TOO_EARLY) {
            return;
        }
    }
    for (unsigned t = 0; t < config->txns; t++) {
        add_branch(config, world, part, t, out);
    }
    bool forcing = wlog_waiting(&log) >= 0;
    if (forcing) {
        add(out, MOVE(PART_FORCED, .part = p));
    }
    unsigned effects = taking_effect(config, world, part);
    if (!down && may_crash(config, world) && config->lost_logs &&
        (side->flags & SIDE_SECOND_LOG) == 0) {
        add(out, MOVE(PART_CRASH, .part = p, .arg2 = MODEL_LOSES_LOG));
    }
    for (unsigned k = 0;
         !down && may_crash(config, world) && k <= (unsigned)*log.count - *log.durable; k++) {
        for (unsigned some = 0; some <= effects; some++) {
            if ((some & ~effects) == 0) {
                add(out, MOVE(PART_CRASH, .part = p, .arg = (uint8_t)k,
                              .arg2 = (uint8_t)((forcing && k == 0 && some == 0) | some << 1)));
            }
        }
    }
}

void model_moves(const struct model_config *config, const struct world *world,
                 struct model_moves *out)
{
    out->count = 0;
    add_coord(config, world, out);
    for (unsigned i = 0; i < config->parts; i++) {
        add_part(config, world, i, out);
    }
}

/* ---- Nothing goes wrong any more ---- */

static bool find(const struct model_moves *moves, enum model_move_type type,
                 struct model_move *ret_move)
{
    for (unsigned i = 0; i < moves->count; i++) {
        if (moves->items[i].type == type) {
            *ret_move = moves->items[i];
            return true;
        }
    }
    return false;
}

static bool find_job_end(const struct model_moves *moves, struct model_move *ret_move)
{
    return find(moves, MOVE_JOB_DONE, ret_move); /* the best end is the first */
}

/* What is late comes; what is held and has no branch any more, or none that waits, is found. */
static bool find_server(const struct model_config *config, const struct world *world,
                        const struct model_moves *moves, struct model_move *ret_move)
{
    if (find(moves, MOVE_LATE, ret_move) || find(moves, MOVE_COMPARE, ret_move)) {
        return true;
    }
    for (unsigned i = 0; config->servers && i < moves->count; i++) {
        *ret_move = moves->items[i];
        const struct seat *seat = &world->sides[ret_move->part].seats[ret_move->txn];
        if (ret_move->type == MOVE_LIST && (seat->p_flags & (P_KNOWN | P_ENDED)) != P_KNOWN) {
            return true;
        }
    }
    return false;
}

/* An unanswered message is answered, or else delivered, unless it is being worked on. */
static bool find_message(const struct model_config *config, const struct world *world,
                         struct model_move *ret_move)
{
    const unsigned votes = SAID_YES | SAID_NO | SAID_READ_ONLY | SAID_DONE;
    const unsigned acks = SAID_COMMITTED | SAID_ABORTED | SAID_UNKNOWN;
    for (unsigned i = 0; i < config->parts * config->txns; i++) {
        uint8_t p = (uint8_t)(i / config->txns), t = (uint8_t)(i % config->txns);
        const struct side *side = &world->sides[p];
        const struct seat *seat = &side->seats[t];
        unsigned said = seat->from_part[model_log_id(side) - 1];
        bool all_over = (world->txns[t].flags & T_ENDED) != 0 &&
                        (seat->p_flags & (P_KNOWN | P_ENDED)) != P_KNOWN;
        bool prepare = (seat->c_flags & C_OUT_PREPARE) != 0;
        if ((!prepare && (seat->c_flags & C_OUT_DECISION) == 0) || (config->dead && all_over)) {
            continue;
        }
        unsigned answers = said & (prepare ? votes : acks);
        *ret_move = MOVE(HEAR, .part = p, .txn = t, .arg = (uint8_t)(answers & -answers),
                         .arg2 = model_log_id(side));
        if (answers != 0) {
            return true;
        }
        if ((seat->p_flags & (prepare ? P_VOTES : P_ACKS)) != 0) {
            continue;
        }
        unsigned sent = seat->to_part & (prepare ? SAID_PREPARES : SAID_COMMITS | SAID_ABORT);
        unsigned commits = sent & SAID_COMMITS;
        *ret_move = MOVE(DELIVER, .part = p, .txn = t,
                         .arg = (uint8_t)(commits != 0 ? commits & -commits : sent & -sent));
        if (sent == 0 || (!prepare && seat->state == PART_EXECUTING)) {
            *ret_move =
                MOVE(LOST, .part = p, .txn = t, .arg = prepare ? C_OUT_PREPARE : C_OUT_DECISION);
        }
        return true;
    }
    return false;
}

static bool find_timer(const struct model_config *config, const struct world *world,
                       struct model_move *ret_move)
{
    for (unsigned t = 0; t < config->txns; t++) {
        for (unsigned i = 0; i < config->parts; i++) {
            if ((world->sides[i].seats[t].c_flags & C_RETRY) != 0) {
                *ret_move = MOVE(RETRY, .part = (uint8_t)i, .txn = (uint8_t)t);
                return true;
            }
        }
        if ((world->txns[t].flags & T_TIMER) != 0) {
            *ret_move = MOVE(TXN_TIMER, .txn = (uint8_t)t);
            return true;
        }
    }
    for (unsigned i = 0; i < config->parts * config->txns; i++) {
        uint8_t p = (uint8_t)(i / config->txns), t = (uint8_t)(i % config->txns);
        if ((world->sides[p].seats[t].p_flags & P_TIMER) != 0) {
            *ret_move = MOVE(PART_TIMER, .part = p, .txn = t);
            return true;
        }
    }
    return false;
}

bool model_good_move(const struct model_config *config, const struct world *world,
                     const struct model_moves *moves, struct model_move *ret_move)
{
    return find(moves, MOVE_COORD_START, ret_move) || find(moves, MOVE_PART_START, ret_move) ||
           find(moves, MOVE_COORD_FORCED, ret_move) || find(moves, MOVE_PART_FORCED, ret_move) ||
           find_job_end(moves, ret_move) || find_server(config, world, moves, ret_move) ||
           find(moves, MOVE_SEND, ret_move) || find_message(config, world, ret_move) ||
           find(moves, MOVE_ASK, ret_move) || find_timer(config, world, ret_move);
}

void model_apply(const struct model_config *config, struct world *world,
                 const struct model_move *move)
{
    if (move->type <= MOVE_COORD_START) {
        model_coord_apply(config, world, move);
    } else {
        model_part_apply(config, world, move);
    }
    model_settle(config, world);
}
