/* The coordinator's driver, as far as it bears on what may happen. */
#include "tests/model/wlog.h"

#include "base/tpc_assert.h"
#include "coordinator/coord_record.h"

#include <string.h>

union txn {
    struct coord_txn txn;
    uint8_t bytes[sizeof(struct coord_txn) + PARTS_MAX * sizeof(struct coord_branch)];
};

/* ---- The state machine's struct, unpacked and packed ---- */

static void unpack(const struct model_config *config, const struct world *world, unsigned t,
                   union txn *out)
{
    coord_init(&out->txn, config->parts, config->one_phase);
    out->txn.state = world->txns[t].state;
    for (unsigned i = 0; i < config->parts; i++) {
        const struct seat *seat = &world->sides[i].seats[t];
        out->txn.branches[i] = (struct coord_branch){
            .participant = model_id(seat->who, i), .vote = seat->vote, .end = seat->end};
        out->txn.hazards |= (seat->c_flags & C_HAZARD) != 0 ? TPC_BIT(i) : 0;
    }
}

static void pack(const struct model_config *config, struct world *world, unsigned t,
                 const union txn *from)
{
    world->txns[t].state = from->txn.state;
    for (unsigned i = 0; i < config->parts; i++) {
        const struct coord_branch *branch = &from->txn.branches[i];
        struct seat *seat = &world->sides[i].seats[t];
        seat->who = branch->participant.bytes[0];
        seat->vote = branch->vote;
        seat->end = branch->end;
        seat->c_flags &= (uint8_t)~C_HAZARD;
        if ((from->txn.hazards & TPC_BIT(i)) != 0) {
            seat->c_flags |= C_HAZARD;
            seat->past |= PAST_SHOWN;
        }
    }
    /* What the machine keeps and the model does not would be lost between two events. */
    union txn again;
    unpack(config, world, t, &again);
    TPC_ASSERT(memcmp(again.bytes, from->bytes, coord_size(config->parts)) == 0);
}

enum coord_outcome model_outcome(const struct world *world, unsigned txn)
{
    struct coord_txn none = {.state = world->txns[txn].state};
    return coord_outcome(&none);
}

/* ---- Records ---- */

static unsigned log_record(const struct model_config *config, struct world *world, unsigned t,
                           unsigned record)
{
    struct wlog log = wlog_of_coord(config, world);
    unsigned at = wlog_append(&log, record | t * REC_TXN);
    bool hazards = (record & REC_KIND) == REC_END;
    for (unsigned i = 0; i < config->parts; i++) {
        const struct seat *seat = &world->sides[i].seats[t];
        unsigned end = hazards && (seat->c_flags & C_HAZARD) != 0 ? seat->end : COORD_END_NONE;
        world->sides[i].columns[at] = (uint8_t)(seat->vote | end << 3 | (unsigned)seat->who << 6);
    }
    world->txns[t].flags |= T_LOGGED;
    return at;
}

static void force(const struct model_config *config, struct world *world, unsigned t, unsigned kind)
{
    struct wlog log = wlog_of_coord(config, world);
    if (wlog_is_waited_for(&log, t)) {
        model_blame("the coordinator forces two records of one transaction at a time");
    }
    log_record(config, world, t, kind | REC_FORCED);
}

static void read_record(const struct model_config *config, const struct world *world, unsigned at,
                        struct coord_record *out)
{
    uint8_t record = world->log[at];
    out->gtid = out->id = (struct tpc_id){{0xf0, (uint8_t)((record & REC_TXN) != 0)}};
    out->commit = (record & REC_OUTCOME) != 0;
    out->one_phase = config->one_phase;
    out->attempts = 1;
    out->branch_count = config->parts;
    for (unsigned i = 0; i < config->parts; i++) {
        uint8_t column = world->sides[i].columns[at];
        out->branches[i] = (struct coord_record_branch){
            .participant = model_id(column >> 6, i),
            .vote = (enum coord_vote)(column & 7),
            .end = (enum coord_end)(column >> 3 & 7),
        };
    }
}

/* ---- Effects ---- */

/* link.c, names_log. */
static uint8_t named(const struct model_config *config, const struct seat *seat, uint8_t message)
{
    if (message == SAID_COMMIT_1) {
        return seat->who == 2 ? SAID_COMMIT_2 : SAID_COMMIT_1;
    }
    if (message == SAID_PREPARE && config->one_phase && seat->who != 0) {
        return seat->who == 2 ? SAID_PREPARE_2 : SAID_PREPARE_1;
    }
    return message;
}

static void send_to(const struct model_config *config, struct world *world, unsigned t,
                    uint64_t branches, uint8_t message)
{
    for (unsigned i = 0; i < config->parts; i++) {
        if ((branches & TPC_BIT(i)) != 0) {
            struct seat *seat = &world->sides[i].seats[t];
            seat->to_part |= named(config, seat, message);
            seat->c_flags |= message != SAID_PREPARE ? C_OUT_DECISION : 0;
        }
    }
}

/* Returns those whose prepare has not left: driver.c, send_abort. */
static uint64_t send_abort(const struct model_config *config, struct world *world, unsigned t,
                           uint64_t branches)
{
    uint64_t unsent = 0;
    for (unsigned i = 0; i < config->parts; i++) {
        if ((branches & TPC_BIT(i)) != 0 && (world->sides[i].seats[t].c_flags & C_SENT) == 0 &&
            (world->txns[t].flags & T_RECOVERED) == 0) {
            unsent |= TPC_BIT(i);
        }
    }
    send_to(config, world, t, branches & ~unsent, SAID_ABORT);
    return unsent;
}

static void set_flags(const struct model_config *config, struct world *world, unsigned t,
                      uint64_t branches, uint8_t flags)
{
    for (unsigned i = 0; i < config->parts; i++) {
        if ((branches & TPC_BIT(i)) != 0) {
            world->sides[i].seats[t].c_flags |= flags;
        }
    }
}

static void tell(struct world *world, unsigned t)
{
    enum coord_outcome outcome = model_outcome(world, t);
    if (outcome == COORD_UNDECIDED) {
        model_blame("an outcome is told before there is one");
    }
    world->txns[t].past |= outcome == COORD_COMMIT ? PAST_TOLD_COMMIT : PAST_TOLD_ABORT;
}

static void finish(const struct model_config *config, struct world *world, unsigned t)
{
    world->txns[t].flags |= T_ENDED;
    world->txns[t].flags &= (uint8_t)~T_TIMER;
    for (unsigned i = 0; i < config->parts; i++) {
        world->sides[i].seats[t].c_flags &= (uint8_t)~C_RETRY;
    }
}

static uint64_t carry_out(const struct model_config *config, struct world *world, unsigned t,
                          const struct coord_effect *effect)
{
    struct ctxn *txn = &world->txns[t];
    switch (effect->type) {
    case COORD_FX_SEND_PREPARE:
        if (config->undelivered) {
            set_flags(config, world, t, effect->branches, C_QUEUED);
        } else {
            send_to(config, world, t, effect->branches, SAID_PREPARE);
            set_flags(config, world, t, effect->branches, C_SENT | C_OUT_PREPARE);
        }
        break;
    case COORD_FX_SEND_COMMIT:
        if ((txn->past & PAST_DURABLE) == 0) {
            model_blame("commit is sent before its record is durable");
        }
        send_to(config, world, t, effect->branches, SAID_COMMIT_1);
        break;
    case COORD_FX_SEND_ABORT:
        return send_abort(config, world, t, effect->branches);
    case COORD_FX_FORCE_COMMIT:
        force(config, world, t, REC_COMMIT | REC_OUTCOME);
        break;
    case COORD_FX_FORCE_PENDING:
        force(config, world, t, REC_PENDING | REC_OUTCOME);
        break;
    case COORD_FX_LOG_END:
        log_record(config, world, t,
                   REC_END | (model_outcome(world, t) == COORD_ABORT ? 0 : REC_OUTCOME));
        break;
    case COORD_FX_ARM_TIMEOUT:
    case COORD_FX_ARM_GRACE:
        txn->flags |= T_TIMER;
        break;
    case COORD_FX_CANCEL_TIMEOUT:
        txn->flags &= (uint8_t)~T_TIMER;
        break;
    case COORD_FX_RETRY_LATER:
        if (config->env_mutant != MUTANT_RETRY_NOT_ARMED) {
            set_flags(config, world, t, effect->branches, C_RETRY);
        }
        break;
    case COORD_FX_TELL_DECIDED:
        tell(world, t);
        break;
    case COORD_FX_TELL_UNKNOWN:
        break;
    case COORD_FX_TELL_ENDED:
        tell(world, t);
        finish(config, world, t);
        break;
    case COORD_FX_SHOW_HAZARD:
        break;
    case COORD_FX_HALT:
        model_blame("the coordinator halts without a failed force");
        break;
    case COORD_EFFECT_COUNT:
    default:
        TPC_ASSERT(false);
    }
    return 0;
}

/* ---- Events ---- */

static void log_move(const struct world *world, unsigned t, enum coord_state from,
                     enum coord_event_type cause, unsigned part)
{
    if (model_story() != NULL && world->txns[t].state != from) {
        fprintf(model_story(), "    evt=txn.move gtid=T%u from=%s to=%s cause=%s participant=%c\n",
                model_txn_name(t), coord_state_name(from),
                coord_state_name((enum coord_state)world->txns[t].state), coord_event_name(cause),
                model_name(part));
    }
}

/* Which vote it was that counted: the last work's, or that of work which is gone. */
static void note_counted(struct seat *seat, enum coord_event_type type, bool old)
{
    if (type == COORD_EV_VOTE_YES) {
        seat->past |= old ? PAST_VOTED_OLD : PAST_VOTED;
    } else if (type == COORD_EV_VOTE_READ_ONLY) {
        seat->past |= PAST_READ_ONLY;
    }
}

static void event(const struct model_config *config, struct world *world, unsigned t,
                  enum coord_event_type type, unsigned part, uint8_t who, bool old)
{
    union txn txn;
    struct coord_effects effects = {0};
    struct seat *seat = &world->sides[part].seats[t];
    enum coord_state from = (enum coord_state)world->txns[t].state;
    unpack(config, world, t, &txn);
    struct coord_event ev = {
        .type = type, .from = (uint8_t)part, .participant = model_id(who, part)};
    if (coord_step(&txn.txn, &ev, &effects) != TPC_OK) {
        return;
    }
    uint8_t vote_before = seat->vote;
    pack(config, world, t, &txn);
    if (vote_before == COORD_VOTE_NONE && seat->vote != COORD_VOTE_NONE) {
        note_counted(seat, type, old);
    }
    log_move(world, t, from, type, part);
    uint64_t unsent = 0;
    for (unsigned i = 0; i < effects.count; i++) {
        unsent |= carry_out(config, world, t, &effects.items[i]);
    }
    for (unsigned i = 0; i < config->parts; i++) {
        if (world->txns[t].state != COORD_PREPARING) {
            /* It is dropped where it waits. */
            world->sides[i].seats[t].c_flags &= (uint8_t)~C_QUEUED;
        }
        if ((unsent & TPC_BIT(i)) != 0) {
            event(config, world, t, COORD_EV_UNREACHABLE, i, 0, false);
        }
    }
}

void model_coord_event(const struct model_config *config, struct world *world, unsigned txn,
                       enum coord_event_type type, unsigned part, uint8_t who)
{
    event(config, world, txn, type, part, who, false);
}

enum coord_outcome model_inquiry(const struct model_config *config, const struct world *world,
                                 unsigned txn, unsigned part)
{
    union txn known;
    struct tpc_id asker = model_id(model_log_id(&world->sides[part]), part);
    unpack(config, world, txn, &known);
    return coord_inquiry((world->txns[txn].flags & T_KNOWN) != 0 ? &known.txn : NULL, &asker);
}

/* ---- Messages ---- */

/* An answer to a call that is over, or of another life, has nowhere to go. */
static void hang_up(const struct model_config *config, struct world *world)
{
    const uint8_t votes = SAID_YES | SAID_YES_OLD | SAID_NO | SAID_READ_ONLY | SAID_DONE;
    for (unsigned i = 0; i < config->parts * config->txns; i++) {
        struct seat *seat = &world->sides[i / config->txns].seats[i % config->txns];
        uint8_t open = (uint8_t)(((seat->c_flags & C_OUT_PREPARE) != 0 ? votes : 0) |
                                 ((seat->c_flags & C_OUT_DECISION) != 0 ? (uint8_t)~votes : 0));
        seat->from_part[0] &= open;
        seat->from_part[1] &= open;
    }
}

void model_settle(const struct model_config *config, struct world *world)
{
    if (!config->loose_answers) {
        hang_up(config, world);
    }
}

/* link.c, dispatch: the answer @said to a prepare or a decision. */
static void hear(const struct model_config *config, struct world *world,
                 const struct model_move *move)
{
    unsigned t = move->txn;
    struct seat *seat = &world->sides[move->part].seats[t];
    bool vote = (move->arg & (SAID_YES | SAID_YES_OLD | SAID_NO | SAID_READ_ONLY | SAID_DONE)) != 0;
    bool open = (seat->c_flags & C_OUT_PREPARE) != 0;
    seat->c_flags &= (uint8_t) ~(vote ? C_OUT_PREPARE : C_OUT_DECISION);
    if ((world->txns[t].flags & T_KNOWN) == 0) {
        if (open && (move->arg & (SAID_YES | SAID_YES_OLD)) != 0) {
            seat->to_part |= SAID_ABORT; /* of an attempt that is over */
        }
        return;
    }
    enum coord_event_type type = move->arg == SAID_NO          ? COORD_EV_VOTE_NO
                                 : move->arg == SAID_READ_ONLY ? COORD_EV_VOTE_READ_ONLY
                                 : move->arg == SAID_DONE      ? COORD_EV_VOTE_COMMITTED
                                 : move->arg == SAID_COMMITTED ? COORD_EV_ACK_COMMITTED
                                 : move->arg == SAID_ABORTED   ? COORD_EV_ACK_ABORTED
                                 : move->arg == SAID_UNKNOWN   ? COORD_EV_ACK_UNKNOWN
                                                               : COORD_EV_VOTE_YES;
    event(config, world, t, type, move->part, move->arg2, move->arg == SAID_YES_OLD);
}

static void lost(const struct model_config *config, struct world *world,
                 const struct model_move *move, enum coord_event_type type)
{
    world->sides[move->part].seats[move->txn].c_flags &= (uint8_t)~move->arg;
    if (move->arg == C_OUT_DECISION || world->txns[move->txn].state == COORD_PREPARING) {
        model_coord_event(config, world, move->txn, type, move->part, 0);
    }
}

static void send(const struct model_config *config, struct world *world,
                 const struct model_move *move)
{
    struct seat *seat = &world->sides[move->part].seats[move->txn];
    seat->c_flags &= (uint8_t)~C_QUEUED;
    seat->c_flags |= C_SENT;
    if (move->type == MOVE_SEND) {
        seat->c_flags |= C_OUT_PREPARE;
        seat->to_part |= named(config, seat, SAID_PREPARE);
    } else {
        model_coord_event(config, world, move->txn, COORD_EV_UNREACHABLE, move->part, 0);
    }
}

/* driver.c: on_txn_timer and is_undelivered. */
static void timer(const struct model_config *config, struct world *world, unsigned t,
                  enum coord_event_type type)
{
    struct ctxn *txn = &world->txns[t];
    if (type == COORD_EV_TIMEOUT) {
        txn->flags &= (uint8_t)~T_TIMER;
        type = txn->state == COORD_ABORTING ? COORD_EV_GRACE : type;
    }
    bool undelivered = type != COORD_EV_GRACE && config->one_phase &&
                       txn->state == COORD_PREPARING &&
                       (world->sides[0].seats[t].c_flags & C_SENT) == 0;
    model_coord_event(config, world, t, undelivered ? COORD_EV_UNREACHABLE : type, 0, 0);
}

/* ---- The log, the end, and the next beginning ---- */

static void forced(const struct model_config *config, struct world *world)
{
    struct wlog log = wlog_of_coord(config, world);
    unsigned at = (unsigned)wlog_waiting(&log);
    unsigned t = (log.records[at] & REC_TXN) / REC_TXN;
    bool commit = (log.records[at] & REC_KIND) == REC_COMMIT;
    if (config->env_mutant == MUTANT_COMMIT_NOT_FORCED && commit) {
        log.records[at] &= (uint8_t)~REC_FORCED;
        world->txns[t].past |= PAST_DURABLE; /* as it believes */
    } else {
        wlog_forced(&log, at, config->env_mutant == MUTANT_FORCED_ALONE);
    }
    if (commit) {
        world->txns[t].past |= PAST_DURABLE;
    }
    model_coord_event(config, world, t, COORD_EV_FORCED, 0, 0);
}

/* xact.c: coord_xact_remove and erase. */
static void forget_txn(const struct model_config *config, struct world *world, unsigned t,
                       uint8_t kept_flags)
{
    struct ctxn *txn = &world->txns[t];
    txn->flags = 0;
    txn->state = COORD_NONE;
    for (unsigned i = 0; i < config->parts; i++) {
        struct seat *seat = &world->sides[i].seats[t];
        seat->who = seat->vote = seat->end = 0;
        seat->c_flags &= kept_flags;
    }
}

static void erase(const struct model_config *config, struct world *world, unsigned t)
{
    struct wlog log = wlog_of_coord(config, world);
    if ((world->txns[t].flags & T_LOGGED) != 0) {
        wlog_append(&log, REC_ERASE | t * REC_TXN);
    }
    forget_txn(config, world, t, C_OUT_PREPARE | C_OUT_DECISION);
}

static void crash(const struct model_config *config, struct world *world,
                  const struct model_move *move)
{
    struct wlog log = wlog_of_coord(config, world);
    wlog_crash(&log, move->arg);
    for (unsigned t = 0; t < config->txns; t++) {
        forget_txn(config, world, t, 0);
        if (wlog_has(&log, REC_COMMIT, t, true)) {
            world->txns[t].past |= PAST_DURABLE;
        }
    }
    world->down = true;
    world->crashes = (uint8_t)(world->crashes + (config->crashes_max != 0));
}

bool model_forgotten(const struct model_config *config, const struct world *world, unsigned txn)
{
    struct wlog log = wlog_of_coord(config, (struct world *)(uintptr_t)world);
    const struct ctxn *state = &world->txns[txn];
    bool begun = wlog_has(&log, REC_COMMIT, txn, false) || wlog_has(&log, REC_PENDING, txn, false);
    bool ended = wlog_has(&log, REC_END, txn, config->env_mutant != MUTANT_FORGOTTEN_EARLY);
    for (unsigned i = 0; i < config->parts; i++) {
        if ((world->sides[i].seats[txn].c_flags & C_HAZARD) != 0) {
            return false;
        }
    }
    return !world->down && (state->past & PAST_SUBMITTED) != 0 &&
           (state->flags & (T_KNOWN | T_ENDED)) != T_KNOWN && (!begun || ended);
}

/* A force that failed: the machine must say halt, and nothing else. */
static void fail_force(const struct model_config *config, struct world *world)
{
    struct wlog log = wlog_of_coord(config, world);
    int at = wlog_waiting(&log);
    unsigned t = (log.records[at] & REC_TXN) / REC_TXN;
    union txn txn;
    struct coord_effects effects = {0};
    unpack(config, world, t, &txn);
    enum tpc_rc rc =
        coord_step(&txn.txn, &(struct coord_event){.type = COORD_EV_FORCE_FAILED}, &effects);
    if (rc != TPC_OK || effects.count != 1 || effects.items[0].type != COORD_FX_HALT) {
        model_blame("a failed force does not halt the coordinator at once");
    }
}

/* recovery.c: rebuild, and the fold. */
static void fold(const struct model_config *config, struct world *world, unsigned at)
{
    static _Thread_local struct coord_record record;
    static const enum wal_kind kinds[] = {[REC_COMMIT] = WAL_COORD_COMMIT,
                                          [REC_PENDING] = WAL_COORD_PENDING,
                                          [REC_END] = WAL_COORD_END};
    unsigned t = (world->log[at] & REC_TXN) / REC_TXN;
    struct ctxn *state = &world->txns[t];
    union txn txn;
    struct tpc_err err = {0};
    read_record(config, world, at, &record);
    unpack(config, world, t, &txn);
    for (unsigned i = 0; (state->flags & T_KNOWN) == 0 && i < config->parts; i++) {
        txn.txn.branches[i].participant = record.branches[i].participant;
        txn.txn.branches[i].vote = (uint8_t)record.branches[i].vote;
    }
    state->flags |= T_KNOWN | T_RECOVERED | T_LOGGED;
    if (coord_recover_fold(&txn.txn, kinds[world->log[at] & REC_KIND], &record, &err) != TPC_OK) {
        model_blame("the coordinator's recovery refuses its log: %s", err.text);
        return;
    }
    pack(config, world, t, &txn);
    if ((world->log[at] & REC_KIND) == REC_END) {
        finish(config, world, t);
    }
}

static void start(const struct model_config *config, struct world *world)
{
    world->down = false;
    for (unsigned at = 0; at < world->log_count; at++) {
        fold(config, world, at);
    }
    for (unsigned t = 0; t < config->txns && model_wrong() == NULL; t++) {
        if ((world->txns[t].flags & (T_KNOWN | T_ENDED)) == T_KNOWN) {
            model_coord_event(config, world, t, COORD_EV_RESTARTED, 0, 0);
        }
    }
}

static void submit(const struct model_config *config, struct world *world, unsigned t, bool heard)
{
    world->txns[t].past |= PAST_SUBMITTED;
    world->txns[t].flags |= T_KNOWN;
    if (config->one_phase && heard) {
        world->sides[0].seats[t].who = model_log_id(&world->sides[0]);
    }
    model_coord_event(config, world, t, COORD_EV_START, 0, 0);
}

void model_coord_apply(const struct model_config *config, struct world *world,
                       const struct model_move *move)
{
    switch (move->type) {
    case MOVE_SUBMIT:
        submit(config, world, move->txn, move->arg != 0);
        break;
    case MOVE_SEND:
    case MOVE_SEND_REFUSED:
        send(config, world, move);
        break;
    case MOVE_HEAR:
        hear(config, world, move);
        break;
    case MOVE_LOST:
        lost(config, world, move, COORD_EV_LOST);
        break;
    case MOVE_UNDELIVERED:
        lost(config, world, move, COORD_EV_UNREACHABLE);
        break;
    case MOVE_TXN_TIMER:
        timer(config, world, move->txn, COORD_EV_TIMEOUT);
        break;
    case MOVE_CLIENT_ABORT:
        timer(config, world, move->txn, COORD_EV_CLIENT_ABORT);
        break;
    case MOVE_RETRY:
        world->sides[move->part].seats[move->txn].c_flags &= (uint8_t)~C_RETRY;
        model_coord_event(config, world, move->txn, COORD_EV_RETRY, move->part, 0);
        break;
    case MOVE_COORD_FORCED:
        forced(config, world);
        break;
    case MOVE_COORD_ERASE:
        erase(config, world, move->txn);
        break;
    case MOVE_COORD_CRASH:
        if (move->arg2 != 0) {
            fail_force(config, world);
        }
        crash(config, world, move);
        if (!config->downtime) {
            /* What others do meanwhile they may as well have done before, or do afterwards. */
            start(config, world);
        }
        break;
    case MOVE_COORD_START:
        start(config, world);
        break;
    default:
        TPC_ASSERT(false);
    }
}
