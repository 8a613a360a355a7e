/* A database server: it holds prepared branches by itself, also while the agent is down, and does
 * what was sent to it on a session that is lost since. After compare.c, keep.c and the PostgreSQL
 * resource. */
#include "tests/model/part_side.h"

#include "base/tpc_assert.h"
#include "participant/part_record.h"

static void be_prepared(struct place *p)
{
    if ((p->seat->db & DB_PREPARED) == 0) {
        model_place_redo(p);
        p->seat->db |= DB_PREPARED;
    }
}

static void be_committed(struct place *p)
{
    if ((p->seat->db & DB_PREPARED) != 0) {
        p->seat->db &= (uint8_t)~DB_PREPARED;
        model_place_take_effect(p);
    }
}

void model_server_crash(struct place *p, bool took_effect)
{
    switch (p->seat->job & JOB_KIND) {
    case JOB_PREPARE:
        if (took_effect) {
            be_prepared(p);
        } else if (p->config->lost_sessions && (p->config->work & WORK_READY) != 0) {
            p->seat->db |= DB_LATE;
        }
        break;
    case JOB_COMMIT:
        if (took_effect) {
            be_committed(p);
        } else if (p->config->lost_sessions && !model_place_is_keeping(p)) {
            p->seat->db |= DB_LATE_COMMIT;
        }
        break;
    case JOB_ABORT:
        p->seat->db &= (uint8_t) ~(took_effect ? DB_PREPARED : 0);
        break;
    default:
        break;
    }
}

/* The sessions of an earlier life are ended before anything else is asked. */
void model_server_fence(const struct model_config *config, struct world *world, unsigned part)
{
    for (unsigned t = 0; t < config->txns && config->env_mutant != MUTANT_NOT_FENCED; t++) {
        world->sides[part].seats[t].db &= (uint8_t) ~(DB_LATE | DB_LATE_COMMIT);
    }
}

/* compare.c, part_adopt */
static void adopt(struct place *p)
{
    const struct part_record record = {.gtid = {{0xf0, (uint8_t)p->txn}}};
    struct part_branch branch;
    struct tpc_err err = {0};
    model_part_unpack(p->seat, false, &branch);
    if (part_recover_fold(&branch, WAL_PART_PREPARED, &record, &err) != TPC_OK) {
        model_blame("what the server holds cannot be taken up: %s", err.text);
        return;
    }
    p->seat->p_flags |= P_KNOWN;
    model_part_pack(p->seat, &branch);
    model_place_record(p, REC_PREPARED | REC_FORCED);
}

void model_server_adopt(struct place *p)
{
    if ((p->seat->db & DB_PREPARED) != 0 && (p->seat->p_flags & P_KNOWN) == 0 &&
        p->config->env_mutant != MUTANT_NOT_ADOPTED) {
        adopt(p);
    }
}

/* compare.c, compare_one */
static void compare(struct place *p)
{
    unsigned state = p->seat->state;
    p->seat->db &= (uint8_t)~DB_LISTED;
    if ((p->seat->p_flags & P_KNOWN) == 0) {
        if (p->config->env_mutant != MUTANT_NOT_ADOPTED) {
            adopt(p);
            model_place_event_sure(p, PART_EV_RESTARTED);
        }
    } else if (state == PART_ABORTED || state == PART_HEUR_ABORT || state == PART_COMMITTED ||
               state == PART_HEUR_COMMIT) {
        p->seat->db &= (uint8_t)~DB_PREPARED;
    }
}

static void meddle(struct place *p, bool commits)
{
    p->world->txns[p->txn].past |= PAST_BY_HAND;
    p->seat->past |= PAST_OPERATED;
    if (commits) {
        be_committed(p);
    } else {
        p->seat->db &= (uint8_t)~DB_PREPARED;
    }
}

/* After its next start the agent takes it for what was decided, or for nothing of ours. */
void model_server_lose_sight(struct place *p)
{
    unsigned state = p->seat->state;
    if (p->config->meddlers && (p->seat->db & DB_APPLIED) != 0 &&
        (p->seat->past & PAST_OPERATED) != 0 && state != PART_HEUR_COMMITTING &&
        state != PART_HEUR_ABORTING && state != PART_HEUR_COMMIT) {
        p->world->txns[p->txn].past |= PAST_UNSEEN;
    }
}

void model_server_apply(struct place *p, const struct model_move *move)
{
    switch (move->type) {
    case MOVE_LATE:
    case MOVE_LATE_FAILS:
        p->seat->db &= (uint8_t)~move->arg;
        if (move->type == MOVE_LATE && move->arg == DB_LATE) {
            be_prepared(p);
        } else if (move->type == MOVE_LATE) {
            be_committed(p);
        }
        break;
    case MOVE_LIST:
        p->seat->db |= DB_LISTED;
        break;
    case MOVE_COMPARE:
        compare(p);
        break;
    case MOVE_MEDDLE:
        meddle(p, move->arg != 0);
        break;
    default:
        TPC_ASSERT(false);
    }
}
