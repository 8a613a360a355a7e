/* The participant's state machine for one branch.
 *
 * Pure, like the coordinator's. The life of a branch, the table of all moves, and what a crash at
 * each forced write means stand at the head of part_fsm.c. */
#ifndef ASSENT_PARTICIPANT_PART_FSM_H
#define ASSENT_PARTICIPANT_PART_FSM_H

#include "base/id.h"

/* name, what GET /v1/branches calls it */
#define PART_STATE_LIST(X)                                                                         \
    X(NONE, "unknown")                                                                             \
    X(WORKING, "active")      /* interactive: the database does a step of the work */              \
    X(ACTIVE, "active")       /* interactive: the next step, or the end, is waited for */          \
    X(EXECUTING, "executing") /* the database does the work */                                     \
    X(LOGGING, "executing")   /* the prepared record is being forced: nobody was told yes */       \
    X(PREPARED, "prepared")   /* yes was said: only a decision, or an operator, ends it */         \
    X(COMMITTING, "committing")                                                                    \
    X(COMMITTED, "committed")                                                                      \
    X(READ_ONLY, "read_only")  /* nothing to commit or undo */                                     \
    X(ABORTING, "aborting")    /* the database undoes */                                           \
    X(TOMBSTONING, "aborting") /* one-phase: the refusal is made durable before it is told */      \
    X(ABORTED, "aborted")      /* a tombstone: a late prepare is refused */                        \
    X(PROVING, "unknown")      /* unknown here; the database is asked for proof */                 \
    X(RESOLVING, "prepared")   /* an operator's (or the agent's own) outcome is being forced */    \
    X(HEUR_COMMITTING, "heuristic_commit")                                                         \
    X(HEUR_COMMIT, "heuristic_commit")                                                             \
    X(HEUR_ABORTING, "heuristic_abort")                                                            \
    X(HEUR_ABORT, "heuristic_abort")

enum part_state {
#define PART_STATE_ENUM(name, text) PART_##name,
    PART_STATE_LIST(PART_STATE_ENUM)
#undef PART_STATE_ENUM
        PART_STATE_COUNT
};

#define PART_EVENT_LIST(X)                                                                         \
    X(EXECUTE)         /* message: a step of an interactive branch */                              \
    X(PREPARE)         /* message; one_phase */                                                    \
    X(COMMIT)          /* message */                                                               \
    X(ABORT)           /* message; one_phase: the tombstone must be durable before the answer */   \
    X(DB_EXECUTED)     /* a step is done, and its results are there */                             \
    X(DB_READY)        /* work done, can be redone; held: the database itself holds it durably */  \
    X(DB_READ_ONLY)    /* work done, nothing to commit */                                          \
    X(DB_REFUSED)      /* work failed and is undone */                                             \
    X(DB_COMMITTED)    /* durable in the database (commit, or one-phase) */                        \
    X(DB_RETRY)        /* failed for now, nothing changed: disk full, database gone */             \
    X(DB_CONFLICT)     /* a prepared change no longer applies */                                   \
    X(DB_ABORTED)      /* undone */                                                                \
    X(DB_PROOF)        /* the database holds proof of the branch's commit */                       \
    X(DB_NO_PROOF)     /* it does not */                                                           \
    X(FORCED)          /* the record asked for by FORCE_* is durable */                            \
    X(FORCE_FAILED)    /* nobody knows whether it is */                                            \
    X(TIMER)           /* armed by ARM_TIMER: time to ask, to try again, or to give up an          \
                          interactive branch that nobody has gone on with */                       \
    X(TOLD_COMMIT)     /* the coordinator's answer to ASK */                                       \
    X(TOLD_ABORT)      /* */                                                                       \
    X(TOLD_UNDECIDED)  /* also: no answer */                                                       \
    X(OPERATOR_COMMIT) /* */                                                                       \
    X(OPERATOR_ABORT)  /* */                                                                       \
    X(FORGET)          /* operator: a heuristic outcome has been dealt with */                     \
    X(LOG_PREPARED)    /* recovery read … */                                                     \
    X(LOG_COMMITTED)                                                                               \
    X(LOG_ABORTED)                                                                                 \
    X(LOG_HEUR_COMMIT)                                                                             \
    X(LOG_HEUR_ABORT)                                                                              \
    X(LOG_FORGOTTEN)                                                                               \
    X(RESTARTED) /* recovery has read the whole log and compared it with the database */

enum part_event_type {
#define PART_EVENT_ENUM(name) PART_EV_##name,
    PART_EVENT_LIST(PART_EVENT_ENUM)
#undef PART_EVENT_ENUM
        PART_EVENT_COUNT
};

#define PART_EFFECT_LIST(X)                                                                        \
    X(DB_EXECUTE)      /* do a step of the work */                                                 \
    X(DB_PREPARE)      /* do the work (one_phase: and commit it, with its proof) */                \
    X(DB_CANCEL)       /* stop working; DB_REFUSED (or what came first) follows */                 \
    X(DB_COMMIT)       /* */                                                                       \
    X(DB_ABORT)        /* */                                                                       \
    X(DB_PROVE)        /* */                                                                       \
    X(FORCE_PREPARED)  /* */                                                                       \
    X(FORCE_ABORTED)   /* one-phase tombstone */                                                   \
    X(FORCE_HEURISTIC) /* outcome in part_branch.heuristic */                                      \
    X(FORCE_FORGOTTEN) /* */                                                                       \
    X(FORCE_TOLD)      /* of a branch with an outcome of its own: commit was decided */            \
    X(LOG_PREPARED)    /* lazily: the database holds the branch */                                 \
    X(LOG_COMMITTED)   /* lazily */                                                                \
    X(LOG_ABORTED)     /* lazily */                                                                \
    X(RESULTS)         /* answer the step with its results … */                                  \
    X(NO_RESULTS)      /* … or that it was not done */                                           \
    X(VOTE_YES)        /* answer all that wait for the vote … */                                 \
    X(VOTE_NO)                                                                                     \
    X(VOTE_READ_ONLY)                                                                              \
    X(VOTE_COMMITTED)                                                                              \
    X(ACK_COMMITTED) /* answer all that wait for commit or abort: state … */                     \
    X(ACK_ABORTED)                                                                                 \
    X(ACK_UNKNOWN)                                                                                 \
    X(ASK)           /* put the branch in the next inquiry */                                      \
    X(ARM_TIMER)     /* with back-off; TIMER follows */                                            \
    X(CANCEL_TIMER)  /* */                                                                         \
    X(OPERATOR_DONE) /* answer the operator */                                                     \
    X(ENDED)         /* the branch holds nothing any more; may be dropped after the retention */   \
    X(HALT)          /* stop the daemon */

enum part_effect_type {
#define PART_EFFECT_ENUM(name) PART_FX_##name,
    PART_EFFECT_LIST(PART_EFFECT_ENUM)
#undef PART_EFFECT_ENUM
        PART_EFFECT_COUNT
};

enum part_outcome { PART_NO_OUTCOME, PART_COMMIT, PART_ABORT };

/* Flat: copy, hash and compare as bytes. Zeroed: a branch of which nothing is known. */
struct part_branch {
    uint8_t state; /* enum part_state */
    bool one_phase;
    bool abort_wanted;  /* an abort came while the database or the log was busy */
    bool durable_abort; /* the tombstone is in the log */
    uint8_t heuristic;  /* enum part_outcome: decided by hand, or by a change that does not apply */
    uint8_t told;       /* enum part_outcome: what the coordinator decided, as far as known */
    bool voted_yes;     /* a vote of yes may have left */
    bool logged;        /* a prepared record is in the log, or on its way into it */
    bool prepare_waits; /* PROVING, TOMBSTONING: a prepare waits for what comes out */
    bool retrying;      /* the database said "not now": the next TIMER tries again */
    bool forgetting;    /* HEUR_COMMIT, HEUR_ABORT: the forgotten record is to be forced */
    bool telling;       /* the same: that commit was decided is being forced */
    bool told_logged;   /* that commit was decided is in the log */
};

struct part_event {
    enum part_event_type type;
    bool one_phase; /* PREPARE, ABORT */
    bool held;      /* DB_READY */
};

#define PART_EFFECTS_MAX 6
struct part_effects {
    unsigned count;
    enum part_effect_type items[PART_EFFECTS_MAX];
};

/* Advance @branch by one event and put the resulting work in @out.
 *
 * Yes is never said before it is durable: VOTE_YES answers FORCED, or DB_READY with held, or
 * repeats an answer. Each message event leads, now or after later events, to exactly one VOTE_ or
 * ACK_ effect that answers it and all that joined it in the meantime.
 *
 * On TPC_EPROTO (not allowed in this state) @branch and @out are untouched. */
TPC_NODISCARD enum tpc_rc part_step(struct part_branch *branch, const struct part_event *event,
                                    struct part_effects *out);

/* Yes was said and nobody has decided: what an operator must see, and may resolve. */
bool part_in_doubt(const struct part_branch *branch);
/* An outcome of its own (an operator's, or of a change that no longer applies) that is known to
 * differ from what the coordinator decided. */
bool part_is_hazard(const struct part_branch *branch);

const char *part_state_name(enum part_state state); /* "HEUR_COMMIT" */
const char *part_state_text(enum part_state state); /* "heuristic_commit" */
const char *part_event_name(enum part_event_type type);
const char *part_effect_name(enum part_effect_type type);

/* The set of states (as bits) that @type may lead to from @state; 0: an empty cell. */
uint32_t part_allowed(enum part_state state, enum part_event_type type);

#endif
