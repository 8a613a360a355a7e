/* The world of the model: one coordinator, up to three participants with a database each, a
 * network, and all that may go wrong between them.
 *
 * The shipped state machines and recovery folds are linked in; this is what stands around them.
 * What the two drivers do is told again here, plainly: coord_side.c follows coordinator/driver.c,
 * link.c, watermark.c and recovery.c; part_side.c follows participant/driver.c, effects.c,
 * messages.c, recovery.c, retention.c and the SQLite resource.
 *
 * The network is the set of all that was ever said: whoever is up may hear anything in it at any
 * time, any number of times, or never. So every message may be lost, repeated, late or overtaken. A
 * log is the sequence of its records, of which a crash leaves the durable ones and any number of
 * those after them, in order. A timer may fire whenever its owner is alive.
 *
 * What a branch has done carries a digest, of which only that matters whether it is the one of the
 * work that is there now: a vote, and what was counted of it, becomes an old one (SAID_YES_OLD,
 * PAST_VOTED_OLD) when the work is done again or is lost.
 *
 * Each state is a flat struct. Participants are interchangeable and sorted (model_canonical), and
 * what no longer matters is zero, so that equal situations are equal bytes. */
#ifndef ASSENT_TESTS_MODEL_WORLD_H
#define ASSENT_TESTS_MODEL_WORLD_H

#include "coordinator/coord_fsm.h"
#include "participant/part_fsm.h"

#include <stdio.h>

enum {
    PARTS_MAX = 3,
    TXNS_MAX = 2,
    CLOG_MAX = 10, /* records in the coordinator's log */
    PLOG_MAX = 14, /* and in a participant's */
};

/* ---- What may happen ---- */

enum model_work { /* what the database may say to a prepare */
                  WORK_READY = 1,
                  WORK_READ_ONLY = 2,
                  WORK_REFUSED = 4,
};

struct model_config {
    const char *name;
    unsigned parts, txns;
    bool one_phase;       /* with one participant */
    unsigned work;        /* set of model_work */
    bool fickle;          /* what only read may write when it is done again */
    unsigned crashes_max; /* 0: any number */
    bool no_crashes;
    bool operators;           /* decide and forget by hand */
    bool lost_logs;           /* a participant may lose its log, once */
    bool retention;           /* logs, memory and proofs are cleaned up */
    bool db_trouble;          /* "not now", and prepared changes that no longer apply */
    bool undelivered;         /* connections may be refused, and messages wait for their link */
    bool loose_answers;       /* an answer may come again, and after the life of its question */
    bool downtime;            /* between a crash and the next start others move */
    bool servers;             /* the databases prepare by themselves, and stay up */
    bool lost_sessions;       /* and do later what was sent to them, or never */
    bool meddlers;            /* somebody ends there what is prepared, past its agent */
    bool greedy, dead, hasty; /* reductions: reduce.c */
    unsigned env_mutant;      /* enum model_mutant: a fault in the drivers */
};

/* Faults that a driver or a database could have; each has to be noticed. */
#define MODEL_MUTANT_LIST(X)                                                                       \
    X(NONE)                                                                                        \
    X(COMMIT_NOT_FORCED)     /* "durable" is reported before the record is */                      \
    X(PREPARED_NOT_FORCED)   /* the same at the participant */                                     \
    X(HEURISTIC_NOT_FORCED)  /* the same for an outcome by hand */                                 \
    X(FORCED_ALONE)          /* a force leaves out what was appended before */                     \
    X(NO_MARKER)             /* a commit leaves no proof in the database */                        \
    X(MARKER_IGNORED)        /* a commit does not look for one */                                  \
    X(PROOF_FORGOTTEN_EARLY) /* proofs go before the erasure is durable */                         \
    X(SERVED_TOO_EARLY)      /* a participant answers before its recovery is complete */           \
    X(ASKED_TOO_EARLY)       /* the coordinator answers inquiries before it */                     \
    X(NOT_RESTORED)          /* recovery leaves out the database's part */                         \
    X(FORGOTTEN_EARLY)       /* the coordinator says "forgotten" of an end that is not durable */  \
    X(ERASED_EARLY)          /* a participant goes by its own clock, and erases before it */       \
    X(OVER_NOT_LOGGED)       /* it does not record that T is over before it erases */              \
    X(NAME_IGNORED)          /* a participant does what another log was told */                    \
    X(COMMIT_BEFORE_RECORD)  /* a server commits what no record of ours names yet */               \
    X(NOT_FENCED)            /* sessions of an earlier life go on at a server */                   \
    X(DROPPED_WHILE_LISTED)  /* what an old list has and memory has not is taken for unknown */    \
    X(NOT_ADOPTED)           /* what a server holds and the log does not know is left there */     \
    X(GONE_IS_COMMITTED)     /* what a server does not know any more is taken for committed */     \
    X(RETRY_NOT_ARMED)       /* an outcome that was lost is not told again */                      \
    X(ASK_TIMER_NOT_ARMED)   /* who is in doubt asks once only */

enum model_mutant {
#define MODEL_MUTANT_ENUM(name) MUTANT_##name,
    MODEL_MUTANT_LIST(MODEL_MUTANT_ENUM)
#undef MODEL_MUTANT_ENUM
        MUTANT_COUNT
};

/* ---- A state of the world ---- */

/* struct seat.c_flags */
enum {
    C_SENT = 1,         /* the prepare has left, in this life of the coordinator */
    C_QUEUED = 2,       /* it waits for its link */
    C_OUT_PREPARE = 4,  /* it is unanswered */
    C_OUT_DECISION = 8, /* a commit or abort is */
    C_RETRY = 16,       /* the timer is armed */
    C_HAZARD = 32,
};

/* struct seat.to_part; the log that is named, 2: after the first was lost */
enum {
    SAID_PREPARE = 1,
    SAID_COMMIT_1 = 2,
    SAID_ABORT = 4,
    SAID_COMMIT_2 = 8,
    SAID_PREPARE_1 = 16,
    SAID_PREPARE_2 = 32,
    SAID_PREPARES = SAID_PREPARE | SAID_PREPARE_1 | SAID_PREPARE_2,
    SAID_COMMITS = SAID_COMMIT_1 | SAID_COMMIT_2,
};

/* struct seat.from_part: of one log of the participant. OLD: of work that was done again since. */
enum {
    SAID_YES = 1,
    SAID_YES_OLD = 2,
    SAID_NO = 4,
    SAID_READ_ONLY = 8,
    SAID_DONE = 16, /* vote: committed */
    SAID_COMMITTED = 32,
    SAID_ABORTED = 64,
    SAID_UNKNOWN = 128,
};

/* struct seat.p_flags */
enum {
    P_KNOWN = 1,   /* in the table */
    P_VOTES = 2,   /* a prepare waits for its answer */
    P_ACKS = 4,    /* a commit or abort does */
    P_TIMER = 8,   /* armed */
    P_ASKING = 16, /* an inquiry is under way */
    P_ENDED = 32,
    P_LOGGED = 64,  /* has records */
    P_EXPIRES = 128 /* is in the ring of those to be erased */
};

/* struct seat.job: what the database does for it */
enum {
    JOB_NONE,
    JOB_PREPARE,
    JOB_COMMIT,
    JOB_ABORT,
    JOB_PROVE,
    JOB_KIND = 7,
    JOB_CANCELLED = 8,
    JOB_HELD = 16,       /* the branch is prepared in the resource's memory and has its locks */
    JOB_UNPROVED = 32,   /* its proof goes when the erasure of its records is durable */
    JOB_FORGETTING = 64, /* its proof is to go */
    JOB_OVER = 128,      /* not the database's: it knows that the coordinator has forgotten T */
};

/* struct seat.bits, and with it seat.outcomes: struct part_branch */
enum {
    BIT_ONE_PHASE = 1,
    BIT_ABORT_WANTED = 2,
    BIT_DURABLE_ABORT = 4,
    BIT_VOTED_YES = 8,
    BIT_LOGGED = 16,
    BIT_PREPARE_WAITS = 32,
    BIT_RETRYING = 64,
    BIT_FORGETTING = 128,
    OUTCOME_TELLING = 16, /* above heuristic and told */
    OUTCOME_LOGGED = 32,
};

/* struct seat.db: what is in the file, or at the server */
enum {
    DB_MARKER = 1, /* proof: of a server, that the branch's transaction number was committed */
    DB_APPLIED = 2,
    DB_PREPARED = 4,     /* the server holds the branch */
    DB_LATE = 8,         /* its PREPARE is under way and nobody waits for it, … */
    DB_LATE_COMMIT = 16, /* … its COMMIT PREPARED */
    DB_LISTED = 32,      /* the agent's: it was in the list that is about to be compared */
};

/* struct seat.past: what nobody knows but the checker */
enum {
    PAST_VOTED = 1,      /* its yes was counted … */
    PAST_VOTED_OLD = 2,  /* … for work that was done again since, or lost */
    PAST_READ_ONLY = 4,  /* its read_only was counted */
    PAST_OPERATED = 8,   /* an outcome of its own was acted on */
    PAST_SHOWN = 16,     /* a hazard was shown */
    PAST_FORGOTTEN = 32, /* and forgotten by name */
    PAST_READER = 64,    /* its statements only read, … */
    PAST_WRITER = 128,   /* … or may write: where that is a property of the statements */
};

/* What one participant and the coordinator know of one branch. */
struct seat {
    uint8_t who, vote, end, c_flags; /* coordinator: which log voted (0: not known), … */
    uint8_t to_part, from_part[2];   /* network */
    uint8_t state, outcomes, bits;   /* participant: struct part_branch, packed */
    uint8_t p_flags, job;
    uint8_t db, past;
};

/* struct side.flags */
enum { SIDE_DOWN = 1, SIDE_SECOND_LOG = 2 };

struct side {
    uint8_t flags;
    uint8_t log_count, log_durable;
    uint8_t log[PLOG_MAX];     /* MODEL_RECORD */
    uint8_t columns[CLOG_MAX]; /* this participant's part of the coordinator's records */
    struct seat seats[TXNS_MAX];
};

/* struct ctxn.flags */
enum {
    T_KNOWN = 1, /* in the table */
    T_TIMER = 2,
    T_ENDED = 4,
    T_RECOVERED = 8,
    T_LOGGED = 16
};

/* struct ctxn.past */
enum {
    PAST_SUBMITTED = 1,
    PAST_DURABLE = 2, /* its commit record was */
    PAST_TOLD_COMMIT = 4,
    PAST_TOLD_ABORT = 8,
    PAST_BY_HAND = 16, /* an operator took part … */
    PAST_LOST_LOG = 32,
    PAST_CONFLICT = 64,
    PAST_UNSEEN = 128, /* what was committed past its agent, which died before it could know */
};

struct ctxn {
    uint8_t state, flags, past;
};

struct world {
    bool down; /* the coordinator */
    uint8_t crashes;
    uint8_t log_count, log_durable;
    uint8_t log[CLOG_MAX];
    struct ctxn txns[TXNS_MAX];
    struct side sides[PARTS_MAX];
};

/* A record in a log: what, whose, and whether its force is waited for. The coordinator's END keeps
 * its outcome, and of each branch vote, end and log in side.columns. */
enum {
    REC_COMMIT = 1,
    REC_PENDING,
    REC_END,
    REC_PREPARED,
    REC_COMMITTED,
    REC_ABORTED,
    REC_HEUR_COMMIT,
    REC_HEUR_ABORT,
    REC_FORGOTTEN,
    REC_ERASE,
    REC_OVER, /* that the coordinator has forgotten T: stays when the rest is erased */
    REC_KIND = 15,
    REC_TXN = 16,
    REC_OUTCOME = 32,
    REC_FORCED = 64,
};

/* ---- Moves ---- */

#define MODEL_MOVE_LIST(X)                                                                         \
    X(SUBMIT)       /* arg: its one participant has been heard of */                               \
    X(SEND)         /* a prepare leaves */                                                         \
    X(SEND_REFUSED) /* or finds nobody there */                                                    \
    X(HEAR)         /* arg: SAID_*, of log arg2 */                                                 \
    X(LOST)         /* arg: C_OUT_* */                                                             \
    X(UNDELIVERED)                                                                                 \
    X(TXN_TIMER)                                                                                   \
    X(CLIENT_ABORT)                                                                                \
    X(RETRY)                                                                                       \
    X(COORD_FORCED)                                                                                \
    X(COORD_ERASE)                                                                                 \
    X(COORD_CRASH) /* arg: how many unforced records survive; arg2: by a failed force */           \
    X(COORD_START)                                                                                 \
    X(DELIVER)  /* arg: SAID_* */                                                                  \
    X(JOB_DONE) /* arg: enum model_job_end */                                                      \
    X(PART_FORCED)                                                                                 \
    X(PART_TIMER)                                                                                  \
    X(ASK)                                                                                         \
    X(ASK_LOST)                                                                                    \
    X(OPERATOR) /* arg: enum part_event_type */                                                    \
    X(DROP)     /* out of memory */                                                                \
    X(LEARN)    /* that the coordinator has forgotten T */                                         \
    X(PART_ERASE)                                                                                  \
    X(UNMARK)                                                                                      \
    X(LATE)       /* what a lost session had sent is carried out; arg: DB_LATE… */               \
    X(LATE_FAILS) /* or is not */                                                                  \
    X(LIST)       /* the server is asked what it holds */                                          \
    X(COMPARE)    /* the answer comes */                                                           \
    X(MEDDLE)     /* somebody commits, or else (arg 0) rolls back, what it holds */                \
    X(PART_CRASH) /* as COORD_CRASH; bit 1+t: the job of t took effect; MODEL_LOSES_LOG */         \
    X(PART_START)

enum model_move_type {
#define MODEL_MOVE_ENUM(name) MOVE_##name,
    MODEL_MOVE_LIST(MODEL_MOVE_ENUM)
#undef MODEL_MOVE_ENUM
        MOVE_COUNT
};

enum model_job_end {
    JOB_READY,
    JOB_READ_ONLY,
    JOB_REFUSED,
    JOB_DONE, /* committed, undone, or proof looked up: what the job was for */
    JOB_RETRY,
    JOB_CONFLICT,
    JOB_LOST, /* the session was lost: what the server makes of it shows later */
};

enum { MODEL_LOSES_LOG = 128 };

struct model_move {
    uint8_t type, part, txn, arg, arg2;
};

enum { MOVES_MAX = 192 };
struct model_moves {
    unsigned count;
    struct model_move items[MOVES_MAX];
};

/* All that may happen next, in an order that depends on @world alone. */
void model_moves(const struct model_config *config, const struct world *world,
                 struct model_moves *out);
/* Of @moves, all those of @world, the one that happens next when nothing goes wrong any more;
 * false: nothing, all is done. */
bool model_good_move(const struct model_config *config, const struct world *world,
                     const struct model_moves *moves, struct model_move *ret_move);
/* Make it happen. What is wrong with that, or with the world afterwards, is in model_wrong(). */
void model_apply(const struct model_config *config, struct world *world,
                 const struct model_move *move);

/* ---- Judgement ---- */

/* NULL: nothing since the last model_right. */
const char *model_wrong(void);
void model_right(void);
void model_blame(const char *format, ...) TPC_PRINTF(1, 2); /* keeps the first */
/* In every state. */
void model_check(const struct model_config *config, const struct world *world);
/* When all is done that can be without anything going wrong. */
void model_check_end(const struct model_config *config, const struct world *world);

/* ---- States as bytes ---- */

enum { PACKED_MAX = sizeof(struct world) };
size_t model_pack_size(const struct model_config *config);
void model_pack(const struct model_config *config, const struct world *world, uint8_t *out);
void model_unpack(const struct model_config *config, const uint8_t *bytes, struct world *out);

/* Who stands where. */
struct model_names {
    uint8_t parts[PARTS_MAX], txns[TXNS_MAX];
};
/* Sort the participants, and with config.dead the transactions. @names (may be NULL) are sorted
 * along. */
void model_canonical(const struct model_config *config, struct world *world,
                     struct model_names *names);

/* ---- The story, as a log tells it ---- */

/* Where the moves are told, or NULL; @names says what everything is called. For one thread. */
void model_tell(FILE *story, const struct model_names *names);
/* From any thread: what happens now is only a trial. */
void model_hush(bool hushed);
FILE *model_story(void);
char model_name(unsigned part);
unsigned model_txn_name(unsigned txn);
void model_tell_move(const struct model_config *config, const struct model_move *move);
/* A move that is made together with the last one told. */
void model_tell_also(const struct model_config *config, const struct model_move *move);

/* ---- Between the files ---- */

/* coord_side.c */
void model_coord_event(const struct model_config *config, struct world *world, unsigned txn,
                       enum coord_event_type type, unsigned part, uint8_t who);
/* After every move: what can no longer matter is gone. */
void model_settle(const struct model_config *config, struct world *world);
void model_coord_apply(const struct model_config *config, struct world *world,
                       const struct model_move *move);
enum coord_outcome model_inquiry(const struct model_config *config, const struct world *world,
                                 unsigned txn, unsigned part);
enum coord_outcome model_outcome(const struct world *world, unsigned txn);
/* watermark.c: it will neither tell nor ask anything about it any more, also after a crash. */
bool model_forgotten(const struct model_config *config, const struct world *world, unsigned txn);

/* part_side.c */
bool model_part_holds(const struct model_config *config, const struct seat *seat);
void model_part_apply(const struct model_config *config, struct world *world,
                      const struct model_move *move);
bool model_part_allows(const struct world *world, unsigned part, unsigned txn,
                       enum part_event_type type);
void model_part_unpack(const struct seat *seat, bool one_phase, struct part_branch *out);

/* world.c: logs */
/* The place of the first record whose force is waited for, or -1. */
int model_first_forced(const uint8_t *log, unsigned count);
/* Take out record @index. */
void model_log_cut(uint8_t *log, unsigned *count, unsigned *durable, unsigned index);

static inline uint8_t model_log_id(const struct side *side)
{
    return (side->flags & SIDE_SECOND_LOG) != 0 ? 2 : 1;
}

static inline struct tpc_id model_id(uint8_t who, unsigned part)
{
    return who == 0 ? (struct tpc_id){{0}} : (struct tpc_id){{who, (uint8_t)(part + 1)}};
}

#endif
