/* The life of a branch.
 *
 *   NONE ─▶ EXECUTING ─▶ LOGGING ─▶ PREPARED ─▶ COMMITTING ─▶ COMMITTED
 *               │            │          └──────▶ ABORTING ──▶ ABORTED
 *               └────────────┴──────────────────────┴────────────▲
 *
 * An interactive branch comes to EXECUTING by way of WORKING ⇄ ACTIVE: its work is done in steps,
 * whose results are told. Nothing of it is in the log, and it is given up when nobody goes on and
 * the coordinator does not say either that it is still open.
 *
 * The work is done first (EXECUTING), then the record from which it can be redone is forced
 * (LOGGING), then yes is said. A participant aborts on its own only up to there. PREPARED is in
 * doubt: it asks the coordinator until it is told, or until an operator decides, which is forced
 * before it is acted on (RESOLVING) and shown until it is forgotten by name (HEUR_…). The same way
 * goes what was done behind our back: a change that no longer applies, or one that was to be undone
 * and that somebody has committed at the server. A database that holds the branch durably by itself
 * skips LOGGING.
 *
 * One-phase: the database commits with the work, so there is no vote to keep. What has to be kept
 * is a refusal: a one-phase prepare that is repeated after a restart must not commit what was told
 * to be refused, so the tombstone is forced before it is told (TOMBSTONING).
 *
 * What the log does not know is answered from the database's proof only: a commit of an unknown
 * branch or of one that was refused, and whatever would end as refused in one phase (PROVING).
 *
 * What a crash means at each forced write:
 *
 *   FORCE_PREPARED   Nobody was told yes. With the record, recovery takes the branch for in doubt
 *                    and asks; without it the branch is unknown, which is abort. Both are right.
 *   FORCE_ABORTED    Nobody was told. Without the record the branch is unknown, and a repeated
 *                    prepare does the work afresh: nobody was told that it was refused.
 *   FORCE_HEURISTIC  Nothing was done. With the record, recovery does it; without it the branch is
 *                    in doubt as before, and the operator, who got no answer, asks again.
 *   FORCE_FORGOTTEN  Without the record the heuristic outcome is shown again.
 *   FORCE_TOLD       The commit was not acknowledged, so the coordinator keeps the decision, and
 * says it again. Once it is acknowledged it may be forgotten there, and who asked then, after a
 * restart, would hear "abort" by presumption.
 *
 * Lazy records save work and hold no promise: the database has the proof of LOG_COMMITTED and
 * LOG_PREPARED, and without LOG_ABORTED recovery asks, and is told abort. */
#include "participant/part_moves.h"

#include "base/tpc_assert.h"

struct cell {
    uint32_t to; /* the states it may lead to; 0: an empty cell */
    /* NULL: always to `next`, with no more than one effect. */
    enum part_state (*on)(struct part_move *m);
    enum part_state next;
    unsigned effect_count;
    enum part_effect_type effect;
};

/* clang-format off */
#define TO(name)       ((uint32_t)TPC_BIT(PART_##name))
#define ON(f, where)   {.on = part_on_##f, .to = (where)}
#define GO(name)       {.to = TO(name), .next = PART_##name}
#define SAY(fx, name)  {.to = TO(name), .next = PART_##name, .effect_count = 1, .effect = PART_FX_##fx}
/* The answer to what is under way answers this too; or a timer or tidings that came late. */
#define STAY(name)     GO(name)

static const struct cell table[PART_STATE_COUNT][PART_EVENT_COUNT] = {
[PART_NONE] = {
    [PART_EV_EXECUTE]         = SAY(DB_EXECUTE, WORKING),
    [PART_EV_PREPARE]         = ON(prepare,           TO(EXECUTING)),
    [PART_EV_COMMIT]          = SAY(DB_PROVE, PROVING),
    [PART_EV_ABORT]           = ON(abort_unknown,     TO(ABORTED) | TO(PROVING)),
    [PART_EV_TIMER]           = STAY(NONE),
    [PART_EV_LOG_PREPARED]    = ON(log_prepared,      TO(PREPARED)),
    [PART_EV_LOG_COMMITTED]   = ON(log_committed,     TO(COMMITTED)), /* one-phase */
    [PART_EV_LOG_ABORTED]     = ON(log_aborted,       TO(ABORTED)),   /* one-phase */
},
[PART_WORKING] = { /* no prepare can come: the coordinator waits for the results */
    [PART_EV_EXECUTE]         = STAY(WORKING),
    [PART_EV_ABORT]           = ON(abort_executing,   TO(WORKING)),
    [PART_EV_DB_EXECUTED]     = ON(executed,          TO(ACTIVE) | TO(ABORTING)),
    [PART_EV_DB_REFUSED]      = ON(step_refused,      TO(ABORTED) | TO(TOMBSTONING)),
    [PART_EV_DB_PROOF]        = ON(step_proven,       TO(COMMITTED)),
    [PART_EV_TIMER]           = STAY(WORKING),
},
[PART_ACTIVE] = {
    [PART_EV_EXECUTE]         = ON(execute,           TO(WORKING)),
    [PART_EV_PREPARE]         = ON(prepare_active,    TO(EXECUTING)),
    [PART_EV_ABORT]           = ON(decided,           TO(ABORTING)),
    [PART_EV_TIMER]           = SAY(DB_ABORT, ABORTING),
    [PART_EV_TOLD_ABORT]      = ON(decided,           TO(ABORTING)),
    [PART_EV_TOLD_UNDECIDED]  = SAY(ARM_TIMER, ACTIVE), /* its client is at work elsewhere */
},
[PART_EXECUTING] = { /* a commit cannot come: nobody was told yes */
    [PART_EV_EXECUTE]         = SAY(NO_RESULTS, EXECUTING),
    [PART_EV_PREPARE]         = STAY(EXECUTING),
    [PART_EV_ABORT]           = ON(abort_executing,   TO(EXECUTING)),
    [PART_EV_DB_READY]        = ON(ready,             TO(LOGGING) | TO(PREPARED) | TO(ABORTING)),
    [PART_EV_DB_READ_ONLY]    = ON(read_only,         TO(READ_ONLY)),
    [PART_EV_DB_REFUSED]      = ON(refused,           TO(ABORTED) | TO(PROVING)),
    [PART_EV_DB_COMMITTED]    = ON(done_executing,    TO(COMMITTED)),
    [PART_EV_DB_PROOF]        = ON(done_executing,    TO(COMMITTED)),
    [PART_EV_TIMER]           = STAY(EXECUTING),
},
[PART_LOGGING] = {
    [PART_EV_EXECUTE]         = SAY(NO_RESULTS, LOGGING),
    [PART_EV_PREPARE]         = STAY(LOGGING),
    [PART_EV_ABORT]           = ON(abort_wanted,      TO(LOGGING)),
    [PART_EV_FORCED]          = ON(prepared_forced,   TO(PREPARED) | TO(ABORTING)),
    [PART_EV_FORCE_FAILED]    = ON(force_failed,      TO(LOGGING)),
    [PART_EV_TIMER]           = STAY(LOGGING),
},
[PART_PREPARED] = {
    [PART_EV_EXECUTE]         = SAY(NO_RESULTS, PREPARED),
    [PART_EV_PREPARE]         = ON(prepare_again,     TO(PREPARED)),
    [PART_EV_COMMIT]          = ON(decided,           TO(COMMITTING)),
    [PART_EV_ABORT]           = ON(decided,           TO(ABORTING)),
    [PART_EV_DB_PROOF]        = ON(proof_prepared,    TO(COMMITTED)),
    [PART_EV_TIMER]           = ON(timer_ask,         TO(PREPARED)),
    [PART_EV_TOLD_COMMIT]     = ON(decided,           TO(COMMITTING)),
    [PART_EV_TOLD_ABORT]      = ON(decided,           TO(ABORTING)),
    [PART_EV_TOLD_UNDECIDED]  = STAY(PREPARED),
    [PART_EV_OPERATOR_COMMIT] = ON(operator,          TO(RESOLVING)),
    [PART_EV_OPERATOR_ABORT]  = ON(operator,          TO(RESOLVING)),
    [PART_EV_LOG_COMMITTED]   = ON(log_committed,     TO(COMMITTED)),
    [PART_EV_LOG_ABORTED]     = ON(log_aborted,       TO(ABORTED)),
    [PART_EV_LOG_HEUR_COMMIT] = ON(log_heuristic,     TO(HEUR_COMMITTING)),
    [PART_EV_LOG_HEUR_ABORT]  = ON(log_heuristic,     TO(HEUR_ABORTING)),
    [PART_EV_RESTARTED]       = ON(restarted,         TO(PREPARED)),
},
[PART_COMMITTING] = {
    [PART_EV_EXECUTE]         = SAY(NO_RESULTS, COMMITTING),
    [PART_EV_PREPARE]         = ON(prepare_again,     TO(COMMITTING)),
    [PART_EV_COMMIT]          = STAY(COMMITTING),
    [PART_EV_ABORT]           = STAY(COMMITTING), /* hears what is true */
    [PART_EV_DB_COMMITTED]    = ON(committed,         TO(COMMITTED)),
    [PART_EV_DB_RETRY]        = ON(retry,             TO(COMMITTING)),
    [PART_EV_DB_CONFLICT]     = ON(conflict,          TO(RESOLVING)),
    [PART_EV_TIMER]           = ON(timer_again,       TO(COMMITTING)),
    [PART_EV_TOLD_COMMIT]     = STAY(COMMITTING),
    [PART_EV_TOLD_UNDECIDED]  = STAY(COMMITTING),
},
[PART_COMMITTED] = {
    [PART_EV_EXECUTE]         = SAY(NO_RESULTS, COMMITTED),
    [PART_EV_PREPARE]         = ON(prepare_committed, TO(COMMITTED)),
    [PART_EV_COMMIT]          = SAY(ACK_COMMITTED, COMMITTED),
    [PART_EV_ABORT]           = SAY(ACK_COMMITTED, COMMITTED),
    [PART_EV_TIMER]           = STAY(COMMITTED),
    [PART_EV_TOLD_COMMIT]     = STAY(COMMITTED),
    [PART_EV_TOLD_ABORT]      = ON(told_otherwise,    TO(COMMITTED)),
    [PART_EV_TOLD_UNDECIDED]  = STAY(COMMITTED),
    [PART_EV_LOG_COMMITTED]   = ON(log_committed,     TO(COMMITTED)),
    [PART_EV_RESTARTED]       = ON(restarted,         TO(COMMITTED)),
},
[PART_READ_ONLY] = {
    [PART_EV_EXECUTE]         = SAY(NO_RESULTS, READ_ONLY),
    [PART_EV_PREPARE]         = SAY(VOTE_READ_ONLY, READ_ONLY),
    [PART_EV_COMMIT]          = SAY(ACK_COMMITTED, READ_ONLY),
    [PART_EV_ABORT]           = SAY(ACK_ABORTED, READ_ONLY),
    [PART_EV_TIMER]           = STAY(READ_ONLY),
},
[PART_ABORTING] = {
    [PART_EV_EXECUTE]         = SAY(NO_RESULTS, ABORTING),
    [PART_EV_PREPARE]         = ON(prepare_aborted,   TO(ABORTING)),
    [PART_EV_COMMIT]          = STAY(ABORTING), /* hears what is true */
    [PART_EV_ABORT]           = ON(abort_aborting,    TO(ABORTING)),
    [PART_EV_DB_RETRY]        = ON(retry,             TO(ABORTING)),
    [PART_EV_DB_ABORTED]      = ON(aborted,           TO(ABORTED) | TO(TOMBSTONING)),
    [PART_EV_DB_PROOF]        = ON(committed_by_hand, TO(RESOLVING)),
    [PART_EV_TIMER]           = ON(timer_again,       TO(ABORTING)),
    [PART_EV_TOLD_ABORT]      = STAY(ABORTING),
    [PART_EV_TOLD_UNDECIDED]  = STAY(ABORTING),
},
[PART_TOMBSTONING] = {
    [PART_EV_EXECUTE]         = SAY(NO_RESULTS, TOMBSTONING),
    [PART_EV_PREPARE]         = ON(prepare_joins,     TO(TOMBSTONING)),
    [PART_EV_COMMIT]          = STAY(TOMBSTONING),
    [PART_EV_ABORT]           = ON(abort_wanted,      TO(TOMBSTONING)),
    [PART_EV_FORCED]          = ON(tombstone_forced,  TO(ABORTED)),
    [PART_EV_FORCE_FAILED]    = ON(force_failed,      TO(TOMBSTONING)),
    [PART_EV_TIMER]           = STAY(TOMBSTONING),
},
[PART_ABORTED] = {
    [PART_EV_EXECUTE]         = SAY(NO_RESULTS, ABORTED),
    [PART_EV_PREPARE]         = ON(prepare_aborted,   TO(ABORTED) | TO(TOMBSTONING)),
    [PART_EV_COMMIT]          = ON(commit_aborted,    TO(ABORTED) | TO(PROVING)),
    [PART_EV_ABORT]           = ON(abort_aborted,     TO(ABORTED) | TO(TOMBSTONING)),
    [PART_EV_TIMER]           = STAY(ABORTED),
    [PART_EV_TOLD_COMMIT]     = ON(told_otherwise,    TO(ABORTED)),
    [PART_EV_TOLD_ABORT]      = STAY(ABORTED),
    [PART_EV_TOLD_UNDECIDED]  = STAY(ABORTED),
    [PART_EV_LOG_ABORTED]     = ON(log_aborted,       TO(ABORTED)),
    [PART_EV_RESTARTED]       = ON(restarted,         TO(ABORTED)),
},
[PART_PROVING] = {
    [PART_EV_EXECUTE]         = SAY(NO_RESULTS, PROVING),
    [PART_EV_PREPARE]         = ON(prepare_joins,     TO(PROVING)),
    [PART_EV_COMMIT]          = STAY(PROVING),
    [PART_EV_ABORT]           = ON(abort_wanted,      TO(PROVING)),
    [PART_EV_DB_RETRY]        = ON(retry,             TO(PROVING)),
    [PART_EV_DB_PROOF]        = ON(proof_asked,       TO(COMMITTED)),
    [PART_EV_DB_NO_PROOF]     = ON(no_proof,          TO(NONE) | TO(ABORTED) | TO(TOMBSTONING)),
    [PART_EV_TIMER]           = ON(timer_again,       TO(PROVING)),
},
[PART_RESOLVING] = {
    [PART_EV_EXECUTE]         = SAY(NO_RESULTS, RESOLVING),
    [PART_EV_PREPARE]         = ON(prepare_again,     TO(RESOLVING)),
    [PART_EV_COMMIT]          = ON(told_meanwhile,    TO(RESOLVING)),
    [PART_EV_ABORT]           = ON(told_meanwhile,    TO(RESOLVING)),
    [PART_EV_FORCED]          = ON(heuristic_forced,  TO(HEUR_COMMITTING) | TO(HEUR_ABORTING)),
    [PART_EV_FORCE_FAILED]    = ON(force_failed,      TO(RESOLVING)),
    [PART_EV_TIMER]           = STAY(RESOLVING),
    [PART_EV_TOLD_COMMIT]     = ON(told_meanwhile,    TO(RESOLVING)),
    [PART_EV_TOLD_ABORT]      = ON(told_meanwhile,    TO(RESOLVING)),
    [PART_EV_TOLD_UNDECIDED]  = STAY(RESOLVING),
    [PART_EV_OPERATOR_COMMIT] = ON(operator_again,    TO(RESOLVING)),
    [PART_EV_OPERATOR_ABORT]  = ON(operator_again,    TO(RESOLVING)),
},
[PART_HEUR_COMMITTING] = {
    [PART_EV_EXECUTE]         = SAY(NO_RESULTS, HEUR_COMMITTING),
    [PART_EV_PREPARE]         = ON(prepare_again,     TO(HEUR_COMMITTING)),
    [PART_EV_COMMIT]          = ON(told_meanwhile,    TO(HEUR_COMMITTING)),
    [PART_EV_ABORT]           = ON(told_meanwhile,    TO(HEUR_COMMITTING)),
    [PART_EV_DB_COMMITTED]    = ON(heuristic_done,    TO(HEUR_COMMIT)),
    [PART_EV_DB_RETRY]        = ON(retry,             TO(HEUR_COMMITTING)),
    [PART_EV_DB_CONFLICT]     = ON(conflict,          TO(RESOLVING)),
    [PART_EV_DB_PROOF]        = GO(HEUR_COMMIT),
    [PART_EV_TIMER]           = ON(timer_again,       TO(HEUR_COMMITTING)),
    [PART_EV_TOLD_COMMIT]     = ON(told_meanwhile,    TO(HEUR_COMMITTING)),
    [PART_EV_TOLD_ABORT]      = ON(told_meanwhile,    TO(HEUR_COMMITTING)),
    [PART_EV_TOLD_UNDECIDED]  = STAY(HEUR_COMMITTING),
    [PART_EV_OPERATOR_COMMIT] = ON(operator_again,    TO(HEUR_COMMITTING)),
    [PART_EV_LOG_COMMITTED]   = ON(log_told,          TO(HEUR_COMMITTING)),
    [PART_EV_LOG_HEUR_ABORT]  = ON(log_heuristic,     TO(HEUR_ABORTING)), /* it did not apply */
    [PART_EV_LOG_FORGOTTEN]   = ON(log_forgotten,     TO(COMMITTED)),
    [PART_EV_RESTARTED]       = ON(restarted,         TO(HEUR_COMMITTING)),
},
[PART_HEUR_COMMIT] = {
    [PART_EV_EXECUTE]         = SAY(NO_RESULTS, HEUR_COMMIT),
    [PART_EV_PREPARE]         = ON(prepare_again,     TO(HEUR_COMMIT)),
    [PART_EV_COMMIT]          = ON(message_heuristic, TO(HEUR_COMMIT)),
    [PART_EV_ABORT]           = ON(message_heuristic, TO(HEUR_COMMIT)),
    [PART_EV_FORCED]          = ON(recorded,          TO(HEUR_COMMIT) | TO(COMMITTED)),
    [PART_EV_FORCE_FAILED]    = ON(record_failed,     TO(HEUR_COMMIT)),
    [PART_EV_TIMER]           = ON(timer_ask,         TO(HEUR_COMMIT)),
    [PART_EV_TOLD_COMMIT]     = ON(told_heuristic,    TO(HEUR_COMMIT)),
    [PART_EV_TOLD_ABORT]      = ON(told_heuristic,    TO(HEUR_COMMIT)),
    [PART_EV_TOLD_UNDECIDED]  = STAY(HEUR_COMMIT),
    [PART_EV_OPERATOR_COMMIT] = ON(operator_again,    TO(HEUR_COMMIT)),
    [PART_EV_FORGET]          = ON(forget,            TO(HEUR_COMMIT)),
    [PART_EV_RESTARTED]       = ON(restarted,         TO(HEUR_COMMIT)),
},
[PART_HEUR_ABORTING] = {
    [PART_EV_EXECUTE]         = SAY(NO_RESULTS, HEUR_ABORTING),
    [PART_EV_PREPARE]         = ON(prepare_again,     TO(HEUR_ABORTING)),
    [PART_EV_COMMIT]          = ON(told_meanwhile,    TO(HEUR_ABORTING)),
    [PART_EV_ABORT]           = ON(told_meanwhile,    TO(HEUR_ABORTING)),
    [PART_EV_DB_RETRY]        = ON(retry,             TO(HEUR_ABORTING)),
    [PART_EV_DB_ABORTED]      = ON(heuristic_done,    TO(HEUR_ABORT)),
    [PART_EV_DB_PROOF]        = ON(committed_by_hand, TO(RESOLVING)),
    [PART_EV_TIMER]           = ON(timer_again,       TO(HEUR_ABORTING)),
    [PART_EV_TOLD_COMMIT]     = ON(told_meanwhile,    TO(HEUR_ABORTING)),
    [PART_EV_TOLD_ABORT]      = ON(told_meanwhile,    TO(HEUR_ABORTING)),
    [PART_EV_TOLD_UNDECIDED]  = STAY(HEUR_ABORTING),
    [PART_EV_OPERATOR_ABORT]  = ON(operator_again,    TO(HEUR_ABORTING)),
    [PART_EV_LOG_COMMITTED]   = ON(log_told,          TO(HEUR_ABORTING)),
    [PART_EV_LOG_HEUR_COMMIT] = ON(log_heuristic,     TO(HEUR_COMMITTING)), /* it was there */
    [PART_EV_LOG_FORGOTTEN]   = ON(log_forgotten,     TO(ABORTED)),
    [PART_EV_RESTARTED]       = ON(restarted,         TO(HEUR_ABORTING)),
},
[PART_HEUR_ABORT] = {
    [PART_EV_EXECUTE]         = SAY(NO_RESULTS, HEUR_ABORT),
    [PART_EV_PREPARE]         = ON(prepare_again,     TO(HEUR_ABORT)),
    [PART_EV_COMMIT]          = ON(message_heuristic, TO(HEUR_ABORT)),
    [PART_EV_ABORT]           = ON(message_heuristic, TO(HEUR_ABORT)),
    [PART_EV_FORCED]          = ON(recorded,          TO(HEUR_ABORT) | TO(ABORTED)),
    [PART_EV_FORCE_FAILED]    = ON(record_failed,     TO(HEUR_ABORT)),
    [PART_EV_TIMER]           = ON(timer_ask,         TO(HEUR_ABORT)),
    [PART_EV_TOLD_COMMIT]     = ON(told_heuristic,    TO(HEUR_ABORT)),
    [PART_EV_TOLD_ABORT]      = ON(told_heuristic,    TO(HEUR_ABORT)),
    [PART_EV_TOLD_UNDECIDED]  = STAY(HEUR_ABORT),
    [PART_EV_OPERATOR_ABORT]  = ON(operator_again,    TO(HEUR_ABORT)),
    [PART_EV_FORGET]          = ON(forget,            TO(HEUR_ABORT)),
},
};
/* clang-format on */

/* What holds in every state; a breach is a bug, and the log is safer than this memory. */
static void check(const struct part_branch *branch)
{
    switch ((enum part_state)branch->state) {
    case PART_PREPARED:
    case PART_COMMITTING:
        TPC_ASSERT(branch->voted_yes && branch->logged && !branch->one_phase);
        break;
    case PART_RESOLVING:
        TPC_ASSERT(branch->voted_yes && branch->heuristic != PART_NO_OUTCOME);
        break;
    case PART_HEUR_COMMITTING:
    case PART_HEUR_COMMIT:
        TPC_ASSERT(!branch->told_logged || branch->told == PART_COMMIT);
        TPC_ASSERT(branch->voted_yes && branch->heuristic == PART_COMMIT);
        break;
    case PART_HEUR_ABORTING:
    case PART_HEUR_ABORT:
        TPC_ASSERT(!branch->told_logged || branch->told == PART_COMMIT);
        TPC_ASSERT(branch->voted_yes && branch->heuristic == PART_ABORT);
        break;
    case PART_WORKING:
    case PART_ACTIVE:
    case PART_EXECUTING:
    case PART_LOGGING:
    case PART_PROVING:
    case PART_READ_ONLY:
        TPC_ASSERT(!branch->voted_yes && branch->heuristic == PART_NO_OUTCOME);
        break;
    case PART_NONE:
    case PART_COMMITTED:
    case PART_ABORTING:
    case PART_TOMBSTONING:
    case PART_ABORTED:
        break;
    case PART_STATE_COUNT:
        TPC_ASSERT(!"a state");
    }
}

enum tpc_rc part_step(struct part_branch *branch, const struct part_event *event,
                      struct part_effects *out)
{
    TPC_ASSERT(branch->state < PART_STATE_COUNT && event->type < PART_EVENT_COUNT);
    const struct cell *cell = &table[branch->state][event->type];
    if (cell->to == 0) {
        return TPC_EPROTO;
    }
    struct part_branch next = *branch;
    struct part_effects effects = {.count = cell->effect_count, .items = {cell->effect}};
    enum part_state to = cell->next;
    if (cell->on != NULL) {
        to = cell->on(&(struct part_move){&next, event, &effects});
    }
    if (to == PART_REFUSED) {
        return TPC_EPROTO;
    }
    TPC_ASSERT((cell->to & TPC_BIT(to)) != 0);
    next.state = (uint8_t)to;
    check(&next);
    *branch = next;
    *out = effects;
    return TPC_OK;
}

uint32_t part_allowed(enum part_state state, enum part_event_type type)
{
    TPC_ASSERT(state < PART_STATE_COUNT && type < PART_EVENT_COUNT);
    return table[state][type].to;
}

bool part_in_doubt(const struct part_branch *branch)
{
    return branch->state == PART_PREPARED ||
           (branch->state == PART_RESOLVING && branch->told == PART_NO_OUTCOME);
}

bool part_is_hazard(const struct part_branch *branch)
{
    return branch->heuristic != PART_NO_OUTCOME && branch->told != PART_NO_OUTCOME &&
           branch->heuristic != branch->told;
}
