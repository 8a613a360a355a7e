/* A participant's driver and its database, as far as they bear on what may happen. */
#include "tests/model/part_side.h"

#include "base/tpc_assert.h"
#include "participant/part_record.h"

#include <string.h>

/* ---- The state machine's struct, packed ---- */

void model_part_unpack(const struct seat *seat, bool one_phase, struct part_branch *out)
{
    (void)one_phase;
    *out = (struct part_branch){
        .state = seat->state,
        .one_phase = (seat->bits & BIT_ONE_PHASE) != 0,
        .abort_wanted = (seat->bits & BIT_ABORT_WANTED) != 0,
        .durable_abort = (seat->bits & BIT_DURABLE_ABORT) != 0,
        .heuristic = seat->outcomes & 3,
        .told = seat->outcomes >> 2 & 3,
        .telling = (seat->outcomes & OUTCOME_TELLING) != 0,
        .told_logged = (seat->outcomes & OUTCOME_LOGGED) != 0,
        .voted_yes = (seat->bits & BIT_VOTED_YES) != 0,
        .logged = (seat->bits & BIT_LOGGED) != 0,
        .prepare_waits = (seat->bits & BIT_PREPARE_WAITS) != 0,
        .retrying = (seat->bits & BIT_RETRYING) != 0,
        .forgetting = (seat->bits & BIT_FORGETTING) != 0,
    };
}

void model_part_pack(struct seat *seat, const struct part_branch *branch)
{
    seat->state = branch->state;
    seat->outcomes =
        (uint8_t)(branch->heuristic | branch->told << 2 | (branch->telling ? OUTCOME_TELLING : 0) |
                  (branch->told_logged ? OUTCOME_LOGGED : 0));
    seat->bits =
        (uint8_t)((branch->one_phase ? BIT_ONE_PHASE : 0) |
                  (branch->abort_wanted ? BIT_ABORT_WANTED : 0) |
                  (branch->durable_abort ? BIT_DURABLE_ABORT : 0) |
                  (branch->voted_yes ? BIT_VOTED_YES : 0) | (branch->logged ? BIT_LOGGED : 0) |
                  (branch->prepare_waits ? BIT_PREPARE_WAITS : 0) |
                  (branch->retrying ? BIT_RETRYING : 0) |
                  (branch->forgetting ? BIT_FORGETTING : 0));
    seat->past |= part_is_hazard(branch) ? PAST_SHOWN : 0;
    /* What the machine keeps and the model does not would be lost between two events. */
    struct part_branch again;
    model_part_unpack(seat, false, &again);
    TPC_ASSERT(memcmp(&again, branch, sizeof again) == 0);
}

/* ---- A branch at its place ---- */

struct place model_place_of(const struct model_config *config, struct world *world, unsigned part,
                            unsigned txn)
{
    struct side *side = &world->sides[part];
    return (struct place){.config = config,
                          .world = world,
                          .part = part,
                          .txn = txn,
                          .side = side,
                          .seat = &side->seats[txn],
                          .log = wlog_of_part(world, part)};
}

/* branch.c, part_branch_free. The ring of those to be erased, and what is to be done about the
 * proof, are not the branch's. */
void model_place_free(struct seat *seat)
{
    if ((seat->p_flags & (P_VOTES | P_ACKS)) != 0) {
        model_blame("a branch is dropped while messages wait for its answer");
    }
    seat->state = seat->outcomes = seat->bits = 0;
    seat->p_flags &= P_EXPIRES;
    seat->job &= JOB_UNPROVED | JOB_FORGETTING | JOB_OVER;
}

/* ---- What the database holds, and what the log is at ---- */

bool model_part_holds(const struct model_config *config, const struct seat *seat)
{
    return config->servers ? (seat->db & DB_PREPARED) != 0 : (seat->job & JOB_HELD) != 0;
}

void model_place_let_go(struct place *p)
{
    p->seat->job &= (uint8_t)~JOB_HELD;
    p->seat->db &= (uint8_t)~DB_PREPARED;
}

/* A server knows it by a number, and the number is in our record alone. */
bool model_place_is_proven(const struct place *p)
{
    return (p->seat->db & DB_MARKER) != 0 && p->config->env_mutant != MUTANT_MARKER_IGNORED &&
           (!p->config->servers || wlog_has(&p->log, REC_PREPARED, p->txn, false));
}

static bool waits_for(const struct place *p, bool kept)
{
    for (unsigned i = 0; i < *p->log.count; i++) {
        unsigned record = p->log.records[i];
        bool keeps = p->config->servers && (record & REC_KIND) == REC_PREPARED;
        if ((record & REC_FORCED) != 0 && (record & REC_TXN) / REC_TXN == p->txn && keeps == kept) {
            return true;
        }
    }
    return false;
}

bool model_place_is_forcing(const struct place *p)
{
    return waits_for(p, false);
}

/* keep.c: a commit waits for it. */
bool model_place_is_keeping(const struct place *p)
{
    return waits_for(p, true) && p->config->env_mutant != MUTANT_COMMIT_BEFORE_RECORD;
}

/* ---- Effects ---- */

/* messages.c, part_reply_state. Another log than was named: the coordinator takes that for a no, or
 * for "unknown". */
static unsigned said_elsewhere(const struct place *p, unsigned what)
{
    bool prepare = (p->elsewhere & SAID_PREPARES) != 0;
    if (what == SAID_COMMITTED) {
        return prepare ? SAID_DONE : SAID_COMMITTED;
    }
    return prepare ? SAID_NO : SAID_UNKNOWN;
}

static void say(struct place *p, unsigned waits, unsigned what)
{
    what = p->elsewhere != 0 ? said_elsewhere(p, what) : what;
    if ((p->seat->p_flags & waits) != 0) {
        p->seat->p_flags &= (uint8_t)~waits;
        p->seat->from_part[model_log_id(p->side) - 1] |= (uint8_t)what;
        bool burnt = p->config->meddlers && (p->seat->past & PAST_OPERATED) != 0;
        if (what == SAID_YES && !wlog_has(&p->log, REC_PREPARED, p->txn, true) &&
            (p->seat->db & (DB_APPLIED | DB_PREPARED)) == 0 && !burnt) {
            model_blame("yes is said before the work is durable");
        }
    }
}

static void start_job(struct place *p, unsigned kind)
{
    if ((p->seat->job & JOB_KIND) != JOB_NONE) {
        model_blame("a participant's database is given two jobs of one branch at a time");
    }
    p->seat->job &= (uint8_t) ~(JOB_KIND | JOB_CANCELLED);
    p->seat->job |= (uint8_t)kind;
}

void model_place_record(struct place *p, unsigned record)
{
    /* The same again says nothing new. */
    if (record != REC_COMMITTED || !wlog_has(&p->log, REC_COMMITTED, p->txn, false)) {
        wlog_append(&p->log, record | p->txn * REC_TXN);
    }
    p->seat->p_flags |= P_LOGGED;
}

static void force(struct place *p, unsigned kind)
{
    if (model_place_is_forcing(p)) {
        model_blame("a participant forces two records of one branch at a time");
    }
    model_place_record(p, kind | REC_FORCED);
}

static bool carry_out_answer(struct place *p, enum part_effect_type effect)
{
    switch ((int)effect) {
    case PART_FX_VOTE_YES:
        say(p, P_VOTES, SAID_YES);
        return true;
    case PART_FX_VOTE_NO:
        say(p, P_VOTES, SAID_NO);
        return true;
    case PART_FX_VOTE_READ_ONLY:
        say(p, P_VOTES, SAID_READ_ONLY);
        return true;
    case PART_FX_VOTE_COMMITTED:
        say(p, P_VOTES, SAID_DONE);
        return true;
    case PART_FX_ACK_COMMITTED:
        say(p, P_ACKS, SAID_COMMITTED);
        return true;
    case PART_FX_ACK_ABORTED:
        say(p, P_ACKS, SAID_ABORTED);
        return true;
    case PART_FX_ACK_UNKNOWN:
        say(p, P_ACKS, SAID_UNKNOWN);
        return true;
    default:
        return false;
    }
}

static bool carry_out_work(struct place *p, enum part_effect_type effect)
{
    switch ((int)effect) {
    case PART_FX_DB_PREPARE:
        start_job(p, JOB_PREPARE);
        return true;
    case PART_FX_DB_CANCEL:
        p->seat->job |= JOB_CANCELLED;
        return true;
    case PART_FX_DB_COMMIT:
        start_job(p, JOB_COMMIT);
        return true;
    case PART_FX_DB_ABORT:
        start_job(p, JOB_ABORT);
        return true;
    case PART_FX_DB_PROVE:
        start_job(p, JOB_PROVE);
        return true;
    default:
        return false;
    }
}

static bool carry_out_record(struct place *p, enum part_effect_type effect)
{
    struct part_branch branch;
    switch ((int)effect) {
    case PART_FX_FORCE_PREPARED:
        force(p, REC_PREPARED);
        return true;
    case PART_FX_FORCE_ABORTED:
        force(p, REC_ABORTED);
        return true;
    case PART_FX_FORCE_HEURISTIC:
        model_part_unpack(p->seat, false, &branch);
        force(p, branch.heuristic == PART_COMMIT ? REC_HEUR_COMMIT : REC_HEUR_ABORT);
        return true;
    case PART_FX_FORCE_FORGOTTEN:
        force(p, REC_FORGOTTEN);
        return true;
    case PART_FX_FORCE_TOLD:
        force(p, REC_COMMITTED);
        return true;
    case PART_FX_LOG_PREPARED:
        model_place_record(p, REC_PREPARED | REC_FORCED); /* keep.c */
        return true;
    case PART_FX_LOG_COMMITTED:
        model_place_record(p, REC_COMMITTED);
        return true;
    case PART_FX_LOG_ABORTED:
        model_place_record(p, REC_ABORTED);
        return true;
    default:
        return false;
    }
}

static void carry_out(struct place *p, enum part_effect_type effect)
{
    if (carry_out_answer(p, effect) || carry_out_work(p, effect) || carry_out_record(p, effect)) {
        return;
    }
    switch ((int)effect) {
    case PART_FX_ASK:
        p->seat->p_flags |= P_ASKING;
        break;
    case PART_FX_ARM_TIMER:
        if (p->config->env_mutant != MUTANT_ASK_TIMER_NOT_ARMED) {
            p->seat->p_flags |= P_TIMER;
        }
        break;
    case PART_FX_CANCEL_TIMER:
        p->seat->p_flags &= (uint8_t)~P_TIMER;
        break;
    case PART_FX_ENDED:
    case PART_FX_OPERATOR_DONE:
        break;
    case PART_FX_HALT:
        model_blame("a participant halts without a failed force");
        break;
    default:
        TPC_ASSERT(!"an effect");
    }
}

/* ---- Events: driver.c ---- */

/* retention.c, part_retain. */
static void retain(struct place *p)
{
    if ((p->seat->job & JOB_KIND) != JOB_NONE || model_place_is_forcing(p)) {
        model_blame("a branch has ended while its database or log is at work for it");
    }
    if ((p->seat->job & JOB_HELD) != 0) {
        model_blame("a branch has ended and holds its locks");
    }
    p->seat->p_flags &= (uint8_t) ~(P_TIMER | P_ASKING);
    p->seat->p_flags |= P_ENDED;
    p->seat->p_flags |= (p->seat->p_flags & P_LOGGED) != 0 ? P_EXPIRES : 0;
}

static void log_move(const struct place *p, enum part_state from, enum part_event_type cause)
{
    if (model_story() != NULL && p->seat->state != from) {
        fprintf(model_story(), "    evt=branch.move gtid=T%u agent=%c from=%s to=%s cause=%s\n",
                model_txn_name(p->txn), model_name(p->part), part_state_name(from),
                part_state_name((enum part_state)p->seat->state), part_event_name(cause));
    }
}

static bool event(struct place *p, struct part_event ev)
{
    struct part_branch branch;
    struct part_effects effects;
    enum part_state from = (enum part_state)p->seat->state;
    model_part_unpack(p->seat, p->config->one_phase, &branch);
    if (part_step(&branch, &ev, &effects) != TPC_OK) {
        return false;
    }
    model_part_pack(p->seat, &branch);
    log_move(p, from, ev.type);
    bool has_ended = false;
    for (unsigned i = 0; i < effects.count; i++) {
        carry_out(p, effects.items[i]);
        has_ended |= effects.items[i] == PART_FX_ENDED;
    }
    if (p->seat->state == PART_NONE) {
        model_place_free(p->seat);
    } else if (has_ended) {
        retain(p);
    } else if (p->seat->state == PART_TOMBSTONING || p->seat->state == PART_PROVING) {
        p->seat->p_flags &= (uint8_t)~P_ENDED;
    }
    return true;
}

void model_place_event_sure(struct place *p, enum part_event_type type)
{
    if (!event(p, (struct part_event){.type = type})) {
        model_blame("%s cannot happen to a branch that is %s", part_event_name(type),
                    part_state_name((enum part_state)p->seat->state));
    }
}

bool model_part_allows(const struct world *world, unsigned part, unsigned txn,
                       enum part_event_type type)
{
    struct part_branch branch;
    struct part_effects effects;
    model_part_unpack(&world->sides[part].seats[txn], false, &branch);
    return part_step(&branch, &(struct part_event){.type = type}, &effects) == TPC_OK;
}

/* ---- Messages ---- */

static void job_done(struct place *p, enum model_job_end end);

/* messages.c, run_elsewhere; the database is asked and answers at once. */
static void deliver_elsewhere(struct place *p, unsigned said)
{
    unsigned state = p->seat->state;
    p->elsewhere = said;
    if (state == PART_PROVING || state == PART_TOMBSTONING) {
        return; /* as well later */
    }
    if ((p->seat->p_flags & P_KNOWN) != 0 && state != PART_COMMITTED && state != PART_ABORTED) {
        p->seat->from_part[model_log_id(p->side) - 1] |= (uint8_t)said_elsewhere(p, SAID_UNKNOWN);
        return;
    }
    p->seat->p_flags |= P_KNOWN | P_ACKS;
    (void)event(p, (struct part_event){.type = PART_EV_COMMIT});
    if (p->seat->state == PART_PROVING) {
        job_done(p, JOB_DONE);
    }
}

static unsigned named(unsigned said)
{
    return (said & (SAID_PREPARE_1 | SAID_COMMIT_1)) != 0   ? 1
           : (said & (SAID_PREPARE_2 | SAID_COMMIT_2)) != 0 ? 2
                                                            : 0;
}

static void deliver(struct place *p, unsigned said)
{
    bool prepare = (said & SAID_PREPARES) != 0;
    enum part_event_type type = prepare                      ? PART_EV_PREPARE
                                : (said & SAID_COMMITS) != 0 ? PART_EV_COMMIT
                                                             : PART_EV_ABORT;
    uint8_t waits = prepare ? P_VOTES : P_ACKS;
    if (named(said) != 0 && named(said) != model_log_id(p->side) &&
        p->config->env_mutant != MUTANT_NAME_IGNORED) {
        deliver_elsewhere(p, said);
        return;
    }
    uint8_t before = p->seat->p_flags;
    p->seat->p_flags |= P_KNOWN | waits;
    if (prepare && (before & P_KNOWN) == 0 && (p->seat->job & JOB_OVER) != 0) {
        say(p, P_VOTES, SAID_NO); /* messages.c, refuse_over */
        p->seat->p_flags = before;
        return;
    }
    if (!event(p, (struct part_event){.type = type, .one_phase = p->config->one_phase})) {
        /* The answer is "not allowed in this state", which is as good as none. */
        p->seat->p_flags = before | P_KNOWN;
        if (model_story() != NULL) {
            fprintf(model_story(), "    evt=message.refused gtid=T%u agent=%c state=%s\n",
                    model_txn_name(p->txn), model_name(p->part),
                    part_state_name((enum part_state)p->seat->state));
        }
    }
}

static void ask(struct place *p)
{
    static const enum part_event_type types[] = {[COORD_UNDECIDED] = PART_EV_TOLD_UNDECIDED,
                                                 [COORD_COMMIT] = PART_EV_TOLD_COMMIT,
                                                 [COORD_ABORT] = PART_EV_TOLD_ABORT};
    p->seat->p_flags &= (uint8_t)~P_ASKING;
    enum coord_outcome outcome = model_inquiry(p->config, p->world, p->txn, p->part);
    if (model_story() != NULL) {
        fprintf(model_story(), "    evt=inquiry.answered gtid=T%u agent=%c outcome=%s\n",
                model_txn_name(p->txn), model_name(p->part),
                part_event_name(types[outcome]) + sizeof "TOLD_" - 1);
    }
    if (!event(p, (struct part_event){.type = types[outcome]}) &&
        (p->side->flags & SIDE_SECOND_LOG) == 0) {
        model_blame("the coordinator says %s to a branch that is %s",
                    part_event_name(types[outcome]),
                    part_state_name((enum part_state)p->seat->state));
    }
}

/* ---- The database ---- */

/* The work becomes visible, once, with its proof in the same file. */
void model_place_take_effect(struct place *p)
{
    struct part_branch branch;
    const struct ctxn *txn = &p->world->txns[p->txn];
    model_part_unpack(p->seat, p->config->one_phase, &branch);
    if ((p->seat->db & DB_APPLIED) != 0) {
        model_blame("the work of a branch is applied a second time");
    }
    p->seat->db |= DB_APPLIED;
    p->seat->db |= p->config->env_mutant != MUTANT_NO_MARKER ? DB_MARKER : 0;
    bool late = p->config->servers && (p->seat->past & PAST_OPERATED) != 0; /* sent by hand */
    if (branch.heuristic != PART_NO_OUTCOME || late || p->config->one_phase) {
        return;
    }
    if ((txn->past & PAST_DURABLE) == 0) {
        model_blame("a branch is committed before the decision is durable");
    } else if ((p->seat->past & PAST_VOTED) == 0 && (p->side->flags & SIDE_SECOND_LOG) == 0) {
        model_blame("a branch is committed whose work is not what was voted on");
    }
}

void model_place_redo(struct place *p)
{
    for (unsigned i = 0; i < 2; i++) {
        if ((p->seat->from_part[i] & SAID_YES) != 0) {
            p->seat->from_part[i] ^= SAID_YES | SAID_YES_OLD;
            p->seat->from_part[i] |= SAID_YES_OLD;
        }
    }
    if ((p->seat->past & PAST_VOTED) != 0) {
        p->seat->past ^= PAST_VOTED | PAST_VOTED_OLD;
    }
}

static struct part_event prepare_done(struct place *p, enum model_job_end end)
{
    if (!p->config->fickle && (end == JOB_READY || end == JOB_READ_ONLY || end == JOB_DONE)) {
        p->seat->past |= end == JOB_READ_ONLY ? PAST_READER : PAST_WRITER;
    }
    switch (end) {
    case JOB_READY:
        model_place_redo(p);
        p->seat->job |= p->config->servers ? 0 : JOB_HELD;
        p->seat->db |= p->config->servers ? DB_PREPARED : 0;
        return (struct part_event){.type = PART_EV_DB_READY, .held = p->config->servers};
    case JOB_READ_ONLY:
        return (struct part_event){.type = PART_EV_DB_READ_ONLY};
    case JOB_DONE:
        if ((p->seat->db & DB_MARKER) != 0) {
            return (struct part_event){.type = PART_EV_DB_PROOF};
        }
        model_place_take_effect(p);
        return (struct part_event){.type = PART_EV_DB_COMMITTED};
    case JOB_LOST:
        p->seat->db |= DB_LATE;
        break;
    case JOB_REFUSED:
    case JOB_RETRY:
    case JOB_CONFLICT:
        break;
    }
    return (struct part_event){.type = PART_EV_DB_REFUSED};
}

static struct part_event commit_done(struct place *p, enum model_job_end end)
{
    if (end == JOB_RETRY || end == JOB_LOST) {
        p->seat->db |= end == JOB_LOST ? DB_LATE_COMMIT : 0;
        return (struct part_event){.type = PART_EV_DB_RETRY};
    }
    bool held = model_part_holds(p->config, p->seat), marked = model_place_is_proven(p);
    if (p->config->servers && !held && p->config->env_mutant == MUTANT_GONE_IS_COMMITTED) {
        return (struct part_event){.type = PART_EV_DB_COMMITTED};
    }
    model_place_let_go(p);
    if (end == JOB_CONFLICT || (!held && !marked)) {
        p->world->txns[p->txn].past |= end == JOB_CONFLICT ? PAST_CONFLICT : 0;
        return (struct part_event){.type = PART_EV_DB_CONFLICT};
    }
    if (!marked) {
        model_place_take_effect(p);
    }
    return (struct part_event){.type = PART_EV_DB_COMMITTED};
}

static void job_done(struct place *p, enum model_job_end end)
{
    struct part_event ev = {0};
    unsigned kind = p->seat->job & JOB_KIND;
    p->seat->job &= (uint8_t) ~(JOB_KIND | JOB_CANCELLED);
    if (kind == JOB_PREPARE) {
        ev = prepare_done(p, end);
    } else if (kind == JOB_COMMIT) {
        ev = commit_done(p, end);
    } else if (end == JOB_RETRY) {
        ev.type = PART_EV_DB_RETRY;
    } else if (kind == JOB_PROVE) {
        ev.type = model_place_is_proven(p) ? PART_EV_DB_PROOF : PART_EV_DB_NO_PROOF;
    } else if (p->config->servers && !model_part_holds(p->config, p->seat) &&
               (p->seat->db & DB_MARKER) != 0) {
        ev.type = PART_EV_DB_PROOF; /* its number is known while it is to be undone */
    } else {
        model_place_let_go(p);
        ev.type = PART_EV_DB_ABORTED;
    }
    if (!event(p, ev)) {
        model_blame("%s cannot happen to a branch that is %s", part_event_name(ev.type),
                    part_state_name((enum part_state)p->seat->state));
    }
}

/* ---- Moves ---- */

static void by_hand(struct place *p, enum part_event_type type)
{
    if (!event(p, (struct part_event){.type = type})) {
        return;
    }
    p->world->txns[p->txn].past |= PAST_BY_HAND;
    p->seat->past |= type == PART_EV_FORGET ? PAST_FORGOTTEN : PAST_OPERATED;
}

void model_part_apply(const struct model_config *config, struct world *world,
                      const struct model_move *move)
{
    struct place p = model_place_of(config, world, move->part, move->txn);
    switch (move->type) {
    case MOVE_DELIVER:
        deliver(&p, move->arg);
        break;
    case MOVE_JOB_DONE:
        job_done(&p, (enum model_job_end)move->arg);
        break;
    case MOVE_PART_FORCED:
        model_part_forced(config, world, move->part);
        break;
    case MOVE_PART_TIMER:
        p.seat->p_flags &= (uint8_t)~P_TIMER;
        model_place_event_sure(&p, PART_EV_TIMER);
        break;
    case MOVE_ASK:
        ask(&p);
        break;
    case MOVE_ASK_LOST:
        p.seat->p_flags &= (uint8_t)~P_ASKING;
        break;
    case MOVE_OPERATOR:
        by_hand(&p, (enum part_event_type)move->arg);
        break;
    case MOVE_DROP:
        model_place_free(p.seat);
        break;
    case MOVE_LEARN:
        p.seat->job |= JOB_OVER;
        break;
    case MOVE_PART_ERASE:
        model_part_erase(&p);
        break;
    case MOVE_UNMARK:
        p.seat->db &= (uint8_t)~DB_MARKER;
        p.seat->job &= (uint8_t)~JOB_FORGETTING;
        break;
    case MOVE_LATE:
    case MOVE_LATE_FAILS:
    case MOVE_LIST:
    case MOVE_COMPARE:
    case MOVE_MEDDLE:
        model_server_apply(&p, move);
        break;
    case MOVE_PART_CRASH:
        model_part_crash(config, world, move);
        if ((move->arg2 & MODEL_LOSES_LOG) != 0) {
            model_part_lose_log(config, world, move->part);
        }
        if (!config->downtime) {
            model_part_start(config, world, move->part); /* as at the coordinator */
        }
        break;
    case MOVE_PART_START:
        model_part_start(config, world, move->part);
        break;
    default:
        TPC_ASSERT(false);
    }
}
