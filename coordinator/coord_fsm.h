/* The coordinator's state machine for one transaction: two-phase commit with presumed abort
 * (Mohan, Lindsay, Obermarck 1986), read-only votes, one-phase commit.
 *
 * Pure: no I/O, clock, heap, randomness. An event goes in, effects come out. The life of a
 * transaction, the table of all moves, and what a crash at each forced write means stand at the
 * head of coord_fsm.c. */
#ifndef ASSENT_COORDINATOR_COORD_FSM_H
#define ASSENT_COORDINATOR_COORD_FSM_H

#include "base/id.h"

#define COORD_BRANCHES_MAX 64

/* name, what the API calls it */
#define COORD_STATE_LIST(X)                                                                        \
    X(NONE, "none")           /* nothing known: presumed aborted */                                \
    X(ACTIVE, "active")       /* interactive: the work is done step by step; may abort */          \
    X(PREPARING, "preparing") /* prepares are out, votes come in; may still abort */               \
    X(LOGGING, "preparing")   /* all voted yes; the decision is being forced; cannot abort */      \
    X(COMMITTING,                                                                                  \
      "committing") /* the decision is durable; some branch has not said "committed" */            \
    X(COMMITTED, "committed")                                                                      \
    X(QUERYING, "aborting") /* one-phase, answer lost: "outcome is asked for" is being forced */   \
    X(ASKING, "aborting")   /* one-phase: asks the participant for as long as it takes */          \
    X(ABORTING, "aborting") /* decided abort; branches are being told */                           \
    X(ABORTED, "aborted")

enum coord_state {
#define COORD_STATE_ENUM(name, text) COORD_##name,
    COORD_STATE_LIST(COORD_STATE_ENUM)
#undef COORD_STATE_ENUM
        COORD_STATE_COUNT
};

#define COORD_EVENT_LIST(X)                                                                        \
    X(START)          /* branches are set up (coord_init, coord_join); send the prepares */        \
    X(VOTE_YES)       /* from, participant */                                                      \
    X(VOTE_READ_ONLY) /* from, participant */                                                      \
    X(VOTE_COMMITTED) /* from, participant: one-phase commit done */                               \
    X(VOTE_NO)        /* from: also a refusal to prepare or execute that is final: nothing is      \
                         there (any more) */                                                       \
    X(UNREACHABLE)    /* from: the last message was certainly not delivered */                     \
    X(LOST)           /* from: the last message or its answer was lost; it may have arrived; also  \
                         a refusal to commit or abort, and an answer that makes no sense */        \
    X(TIMEOUT)        /* the caller's time-out */                                                  \
    X(CLIENT_ABORT)   /* */                                                                        \
    X(FORCED)         /* the record asked for by FORCE_* is durable */                             \
    X(FORCE_FAILED)   /* nobody knows whether it is */                                             \
    X(ACK_COMMITTED)  /* from, participant: its branch is committed */                             \
    X(ACK_ABORTED)    /* from, participant: its branch is aborted */                               \
    X(ACK_UNKNOWN)    /* from, participant: it has no proof of a commit */                         \
    X(RETRY)          /* from: time to say it again, or the participant was heard from */          \
    X(GRACE)          /* aborts were told long enough ago: the rest will ask */                    \
    X(OPEN)           /* interactive: branches come one by one (coord_join) */                     \
    X(LOG_COMMIT)     /* recovery read a commit record */                                          \
    X(LOG_PENDING)    /* recovery read a pending record (one-phase) */                             \
    X(LOG_END)        /* recovery read an end record; `commit` is its outcome */                   \
    X(RESTARTED)      /* recovery has read the whole log */

enum coord_event_type {
#define COORD_EVENT_ENUM(name) COORD_EV_##name,
    COORD_EVENT_LIST(COORD_EVENT_ENUM)
#undef COORD_EVENT_ENUM
        COORD_EVENT_COUNT
};

#define COORD_EFFECT_LIST(X)                                                                       \
    X(SEND_PREPARE)  /* to branches */                                                             \
    X(SEND_COMMIT)   /* to branches */                                                             \
    X(SEND_ABORT)    /* to branches; with the txn's one_phase flag */                              \
    X(FORCE_COMMIT)  /* force the commit record, then FORCED */                                    \
    X(FORCE_PENDING) /* force the pending record, then FORCED */                                   \
    X(LOG_END)       /* append the end record, lazily */                                           \
    X(ARM_TIMEOUT)   /* */                                                                         \
    X(CANCEL_TIMEOUT)                                                                              \
    X(ARM_GRACE)    /* */                                                                          \
    X(RETRY_LATER)  /* RETRY for branches after a back-off */                                      \
    X(TELL_DECIDED) /* the outcome may be told (`ack: decided`) */                                 \
    X(TELL_UNKNOWN) /* one-phase: that the outcome is being asked for may be told */               \
    X(TELL_ENDED)   /* all branches have ended, or are left to ask: the last effect of a life */   \
    X(SHOW_HAZARD)  /* branches ended another way than decided */                                  \
    X(HALT)         /* stop the daemon; recovery decides from what is on disk */

enum coord_effect_type {
#define COORD_EFFECT_ENUM(name) COORD_FX_##name,
    COORD_EFFECT_LIST(COORD_EFFECT_ENUM)
#undef COORD_EFFECT_ENUM
        COORD_EFFECT_COUNT
};

enum coord_vote {
    COORD_VOTE_NONE,
    COORD_VOTE_YES,
    COORD_VOTE_NO,
    COORD_VOTE_READ_ONLY,
    COORD_VOTE_COMMITTED
};
/* What is known of a branch's end; whether that is a hazard, coord_txn.hazards says. A branch that
 * was read-only, or voted no, has none. UNKNOWN: it has no proof of a commit, or, after an abort,
 * was not heard from (it will ask). OTHER: another log answered than the one that voted. */
enum coord_end {
    COORD_END_NONE,
    COORD_END_COMMITTED,
    COORD_END_ABORTED,
    COORD_END_UNKNOWN,
    COORD_END_OTHER
};

struct coord_branch {
    struct tpc_id participant; /* of the log that voted; zero: not known */
    uint8_t vote;              /* enum coord_vote */
    uint8_t end;               /* enum coord_end */
};

/* Flat: copy, hash and compare as bytes (coord_size). */
struct coord_txn {
    uint8_t state; /* enum coord_state */
    uint8_t branch_count;
    bool one_phase;
    uint8_t reserved[5];
    uint64_t hazards; /* branches that ended another way than the transaction */
    struct coord_branch branches[];
};
size_t coord_size(unsigned branch_count);

/* Zero @txn and set it up, in COORD_NONE. @one_phase needs exactly one branch. A caller that knows
 * the log of a one-phase branch may put it into branches[0].participant: should the answer be lost,
 * and another log answer for it, then that is seen. No branches: only for recovery of an end
 * record that names none. */
void coord_init(struct coord_txn *txn, unsigned branch_count, bool one_phase);

/* Add a branch to @txn, which is in COORD_ACTIVE, and whose storage has room for it (coord_size).
 */
void coord_join(struct coord_txn *txn);

struct coord_event {
    enum coord_event_type type;
    uint8_t from;              /* branch */
    bool commit;               /* LOG_END: its outcome */
    struct tpc_id participant; /* who answered */
    uint64_t branches;         /* LOG_COMMIT, LOG_PENDING: the branches that have to be told;
                                  LOG_END: those that ended in hazard */
};

#define COORD_EFFECTS_MAX 8
struct coord_effect {
    enum coord_effect_type type;
    uint64_t branches;
};
struct coord_effects {
    unsigned count;
    struct coord_effect items[COORD_EFFECTS_MAX];
};

/* Advance @txn by one event and put the resulting work in @out.
 *
 * A decision is never announced before it is durable: SEND_COMMIT and TELL_DECIDED of a commit
 * with writers only ever answer FORCED, so the caller may carry out effects in any order.
 *
 * @event is borrowed. On TPC_EPROTO (not allowed in this state) @txn and @out are untouched. */
TPC_NODISCARD enum tpc_rc coord_step(struct coord_txn *txn, const struct coord_event *event,
                                     struct coord_effects *out);

enum coord_outcome { COORD_UNDECIDED, COORD_COMMIT, COORD_ABORT };

/* What a transaction has come to, for clients: COMMIT and ABORT only when it may be told. */
enum coord_outcome coord_outcome(const struct coord_txn *txn);

/* The branches of an ended transaction that ended another way than it, and whose hazard an operator
 * has forgotten since. */
uint64_t coord_forgotten(const struct coord_txn *txn);

/* What to answer a participant in doubt that asks about @txn (NULL: no such transaction in a whole
 * log of our own): rule 5 of the protocol. For NULL that is abort, by presumption.
 *
 * A commit is for those alone on whose yes it rests. @participant is the log that asks. If it voted
 * read_only, or another log voted in its place, then a repeated prepare has made it do work that is
 * no part of what was decided: abort. */
enum coord_outcome coord_inquiry(const struct coord_txn *txn, const struct tpc_id *participant);

const char *coord_state_name(enum coord_state state); /* "LOGGING", as in logs and diagrams */
const char *coord_state_text(enum coord_state state); /* "preparing", as in the API */
const char *coord_event_name(enum coord_event_type type);
const char *coord_effect_name(enum coord_effect_type type);
const char *coord_vote_name(enum coord_vote vote); /* "yes" "no" "read_only" "committed", NULL */

/* The table, for tests and the generator of the diagram: the set of states (as bits) that @event
 * may lead to from @state; 0: an empty cell. */
uint32_t coord_allowed(enum coord_state state, enum coord_event_type type);

#endif
