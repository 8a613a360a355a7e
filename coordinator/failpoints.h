/* The coordinator's failpoints. */
#ifndef ASSENT_COORDINATOR_FAILPOINTS_H
#define ASSENT_COORDINATOR_FAILPOINTS_H

#include "base/failpoint.h"

/* name on the command line, where it lies */
#define COORD_FAILPOINT_LIST(X)                                                                    \
    X(START_SCAN, "coord.start.scan")           /* recovery reads a record */                      \
    X(START_RECOVERED, "coord.start.recovered") /* the fold is done, nothing was sent */           \
    X(START_READY, "coord.start.ready")         /* about to serve */                               \
    X(REQUEST_RECEIVE, "coord.request.receive") /* a whole request is here */                      \
    X(RESPONSE_SEND, "coord.response.send")     /* before an answer leaves */                      \
    X(SUBMIT_BEGIN, "coord.submit.begin")       /* a transaction exists, nothing was sent */       \
    X(STEP_BEGIN, "coord.step.begin")           /* interactive: before a step is queued */         \
    X(EXECUTE_SEND, "coord.execute.send")       /* before steps leave */                           \
    X(EXECUTE_RECEIVE, "coord.execute.receive") /* at the first byte of their results */           \
    X(PREPARE_SEND, "coord.prepare.send")       /* before prepares leave */                        \
    X(VOTE_RECEIVE, "coord.vote.receive")       /* at the first byte of the votes */               \
    X(VOTE_STEP, "coord.vote.step")             /* before a vote is acted on */                    \
    X(DECISION_FORCE, "coord.decision.force")   /* before the decision is handed to the log */     \
    X(DECISION_FORCED, "coord.decision.forced") /* durable, before its first effect */             \
    X(PENDING_FORCE, "coord.pending.force")     /* one-phase, answer lost: before the record */    \
    X(PENDING_FORCED, "coord.pending.forced")   /* durable, before its first effect */             \
    X(COMMIT_SEND, "coord.commit.send")         /* before commits leave */                         \
    X(COMMIT_RECEIVE, "coord.commit.receive")   /* at the first byte of the answer */              \
    X(ABORT_SEND, "coord.abort.send")           /* before aborts leave */                          \
    X(ABORT_RECEIVE, "coord.abort.receive")     /* at the first byte of the answer */              \
    X(END_LOG, "coord.end.log")                 /* all ended, before the end record */             \
    X(RETRY_SEND, "coord.retry.send")           /* before an outcome is told again */              \
    X(ATTEMPT_AGAIN, "coord.attempt.again")     /* before a refused transaction is tried again */  \
    X(INQUIRY_RECEIVE, "coord.inquiry.receive") /* a participant in doubt asks */                  \
    X(INQUIRY_ANSWER, "coord.inquiry.answer")   /* before it is answered */                        \
    X(MEMBER_FORCE, "coord.member.force")       /* before a registration is logged */              \
    X(MEMBER_FORCED, "coord.member.forced")     /* durable, nobody told */                         \
    X(LOG_APPEND, "coord.log.append")           /* before a group of records is written */         \
    X(LOG_FORCE, "coord.log.force")             /* written, before they are durable */             \
    X(LOG_FORCED, "coord.log.forced")           /* durable, nobody told */                         \
    X(RETENTION_ERASE, "coord.retention.erase") /* before old records are erased */

enum coord_failpoint {
#define COORD_FAILPOINT_ENUM(name, text) COORD_FP_##name,
    COORD_FAILPOINT_LIST(COORD_FAILPOINT_ENUM)
#undef COORD_FAILPOINT_ENUM
        COORD_FP_COUNT
};

extern struct tpc_failpoint coord_failpoints[COORD_FP_COUNT];

static inline bool coord_fp(enum coord_failpoint point)
{
    return tpc_fp_hit(&coord_failpoints[point]);
}

#endif
