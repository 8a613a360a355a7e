/* The points at which a test can make the agent die, fail, wait or hang. */
#ifndef ASSENT_PARTICIPANT_FAILPOINTS_H
#define ASSENT_PARTICIPANT_FAILPOINTS_H

#include "base/failpoint.h"

#define PART_FAILPOINT_LIST(X)                                                                     \
    X(START_SCAN, "agent.start.scan")           /* recovery reads a record */                      \
    X(START_PROVE, "agent.start.prove")         /* before proof of a branch in doubt is sought */  \
    X(START_RESTORE, "agent.start.restore")     /* before a branch's locks are taken again */      \
    X(START_RECOVERED, "agent.start.recovered") /* log and database are compared, nobody asked */  \
    X(START_READY, "agent.start.ready")         /* about to serve */                               \
    X(REQUEST_RECEIVE, "agent.request.receive") /* a whole request is here */                      \
    X(RESPONSE_SEND, "agent.response.send")     /* before an answer leaves */                      \
    X(EXECUTE_RECEIVE, "agent.execute.receive") /* before a step is acted on */                    \
    X(STEP_SEND, "agent.step.send")             /* before its results leave; error: lost */        \
    X(PREPARE_RECEIVE, "agent.prepare.receive") /* before a prepare is acted on */                 \
    X(COMMIT_RECEIVE, "agent.commit.receive")   /* before a commit is acted on */                  \
    X(ABORT_RECEIVE, "agent.abort.receive")     /* before an abort is acted on */                  \
    X(VOTE_SEND, "agent.vote.send")             /* before a vote leaves; error: it is lost */      \
    X(ACK_SEND, "agent.ack.send")               /* before an end is told; error: it is lost */     \
    X(PREPARED_FORCE, "agent.prepared.force")   /* before the record is handed to the log */       \
    X(PREPARED_FORCED, "agent.prepared.forced") /* durable, nobody told */                         \
    X(ABORTED_FORCE, "agent.aborted.force")     /* one-phase: before the tombstone */              \
    X(ABORTED_FORCED, "agent.aborted.forced")   /* durable, nobody told */                         \
    X(HEURISTIC_FORCE, "agent.heuristic.force") /* before an outcome by hand is recorded */        \
    X(HEURISTIC_FORCED, "agent.heuristic.forced") /* durable, not acted on */                      \
    X(FORGOTTEN_FORCE, "agent.forgotten.force")   /* before the forgetting is recorded */          \
    X(FORGOTTEN_FORCED, "agent.forgotten.forced")                                                  \
    X(COORDINATOR_FORCE, "agent.coordinator.force") /* before a new coordinator is recorded */     \
    X(COORDINATOR_FORCED, "agent.coordinator.forced")                                              \
    X(COMMITTED_LOG, "agent.committed.log")       /* committed, before the lazy record */          \
    X(ABORTED_LOG, "agent.aborted.log")           /* undone, before the lazy record */             \
    X(INQUIRY_SEND, "agent.inquiry.send")         /* before the coordinator is asked */            \
    X(INQUIRY_RECEIVE, "agent.inquiry.receive")   /* at the first byte of its answer */            \
    X(DECISION_RECEIVE, "agent.decision.receive") /* before a told decision is acted on */         \
    X(DB_CAPTURE, "agent.db.capture")             /* before a branch's statements run */           \
    X(DB_CAPTURED, "agent.db.captured")           /* after they ran, before the vote */            \
    X(DB_APPLY, "agent.db.apply")                 /* before a group of commits is applied */       \
    X(DB_COMMIT, "agent.db.commit")               /* applied, before the database's commit */      \
    X(DB_COMMITTED, "agent.db.committed")         /* durable in the database, nobody told */       \
    X(DB_UNDO, "agent.db.undo")                   /* before a branch is undone */                  \
    X(DB_PROVE, "agent.db.prove")                 /* before proof is looked up */                  \
    X(DB_RESTORE, "agent.db.restore")             /* while locks are taken again */                \
    X(PG_CONNECT, "agent.pg.connect")             /* before a session is opened */                 \
    X(PG_EXECUTE, "agent.pg.execute")             /* before a branch's statements are sent */      \
    X(PG_PREPARED, "agent.pg.prepared")         /* the server has prepared it, before the vote */  \
    X(PG_RECORD, "agent.pg.record")             /* before its number goes to the log */            \
    X(PG_RECORDED, "agent.pg.recorded")         /* durable: it may be committed */                 \
    X(PG_FINISH, "agent.pg.finish")             /* one-phase: before the commit is sent */         \
    X(PG_FINISHED, "agent.pg.finished")         /* one-phase: committed, nobody told */            \
    X(PG_DECIDE, "agent.pg.decide")             /* before COMMIT PREPARED is sent */               \
    X(PG_DECIDED, "agent.pg.decided")           /* committed, nobody told */                       \
    X(PG_ROLL_BACK, "agent.pg.roll_back")       /* before ROLLBACK PREPARED is sent */             \
    X(PG_ASK, "agent.pg.ask")                   /* before the server is asked for proof */         \
    X(PG_LIST, "agent.pg.list")                 /* before it is asked what it holds */             \
    X(MARIA_CONNECT, "agent.maria.connect")     /* before a session is opened */                   \
    X(MARIA_EXECUTE, "agent.maria.execute")     /* before a branch's work is begun */              \
    X(MARIA_PREPARED, "agent.maria.prepared")   /* the server has prepared it, before the vote */  \
    X(MARIA_FINISH, "agent.maria.finish")       /* one-phase: before the commit is sent */         \
    X(MARIA_FINISHED, "agent.maria.finished")   /* one-phase: committed, nobody told */            \
    X(MARIA_DECIDE, "agent.maria.decide")       /* before XA COMMIT is sent */                     \
    X(MARIA_DECIDED, "agent.maria.decided")     /* committed, nobody told */                       \
    X(MARIA_ROLL_BACK, "agent.maria.roll_back") /* before XA ROLLBACK is sent */                   \
    X(MARIA_ASK, "agent.maria.ask")             /* before a marker is looked for */                \
    X(MARIA_LIST, "agent.maria.list")           /* before it is asked what it holds */             \
    X(LOG_APPEND, "agent.log.append")           /* before a group of records is written */         \
    X(LOG_FORCE, "agent.log.force")             /* written, before they are durable */             \
    X(LOG_FORCED, "agent.log.forced")           /* durable, nobody told */                         \
    X(RETENTION_ERASE, "agent.retention.erase") /* before old records are erased */

enum part_failpoint {
#define PART_FAILPOINT_ENUM(name, text) PART_FP_##name,
    PART_FAILPOINT_LIST(PART_FAILPOINT_ENUM)
#undef PART_FAILPOINT_ENUM
        PART_FP_COUNT
};

extern struct tpc_failpoint part_failpoints[PART_FP_COUNT];

static inline bool part_fp(enum part_failpoint point)
{
    return tpc_fp_hit(&part_failpoints[point]);
}

#endif
