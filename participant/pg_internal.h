/* The PostgreSQL resource from inside: what its files share. All of it runs on the loop thread, but
 * for what happens before `start` (pg_preflight.c, pg_recover.c), which has the resource for itself
 * and blocks.
 *
 * Life of a branch here: it waits for a session → its statements and PREPARE TRANSACTION go out in
 * one pipeline → the server holds it durably, under a name that says whose it is and who decides →
 * COMMIT PREPARED or ROLLBACK PREPARED, on a session that is kept for decisions, so that none waits
 * behind a statement that waits for a lock.
 *
 * What proves a commit: the number of the server's transaction, which is in the agent's log before
 * the commit is sent, and pg_xact_status. That a name is gone from pg_prepared_xacts proves
 * nothing.
 *
 * In one phase (no PREPARE): the statements, then the number into the log, then COMMIT. */
#ifndef ASSENT_PARTICIPANT_PG_INTERNAL_H
#define ASSENT_PARTICIPANT_PG_INTERNAL_H

#include "api/loop.h"
#include "base/table.h"
#include "participant/job_ends.h"
#include "participant/job_queue.h"
#include "participant/proofs.h"
#include "participant/refusal.h"
#include "participant/resource.h"

#include <libpq-fe.h>

enum {
    PG_GID_TEXT = 120, /* "assent:" and three ids */
    PG_START_TEXT = 48,
    PG_CONNECT_MS = 10000,
    PG_RECONNECT_FIRST_MS = 50,
    PG_RECONNECT_MAX_MS = 2000,
    PG_KEPT_MAX = 256,  /* prepared statements of a session */
    PG_DEPTH_MAX = 128, /* decisions under way on a session */
    PG_STOP_MS = 2000,  /* from a cancellation until the session is given up */
};

struct part_pg;
struct pg_session;

/* ---- pg_names.c: what branches are called at the server, and their numbers ---- */

void pg_gid_write(char out[PG_GID_TEXT], const struct tpc_id *participant_id,
                  const struct tpc_id *coordinator_id, const struct tpc_id *gtid);
/* False when it is not a branch of @participant_id. */
bool pg_gid_parse(const char *gid, const struct tpc_id *participant_id,
                  struct tpc_id *ret_coordinator_id, struct tpc_id *ret_gtid);
/* The payload of a record: the server's own identity, and its number of the transaction. */
size_t pg_payload_write(uint8_t out[32], uint64_t system_id, uint64_t xid);
TPC_NODISCARD bool pg_payload_read(const void *payload, size_t size, uint64_t *ret_system_id,
                                   uint64_t *ret_xid);
/* The 64 bits of the xid that ends in @xid32, the newest below @next. */
uint64_t pg_full_xid(uint32_t xid32, uint64_t next);

/* ---- pg_words.c: what statements may do ---- */

struct pg_verdict {
    bool query;  /* it looks like a mere query */
    bool taints; /* it may leave something behind in the session */
};
TPC_NODISCARD bool pg_judge(const char *sql, bool one_phase, struct pg_verdict *ret_verdict,
                            struct part_refusal *refusal);

/* ---- pg_error.c: the server's errors as causes ---- */

/* The words of an error result, or of the connection's end. */
void pg_words(const PGresult *result, const PGconn *conn, char *out, size_t size);
bool pg_has_state(const PGresult *result, const char *sqlstate);
/* The session ends with this error, so nobody knows what else it did. */
bool pg_is_fatal(const PGresult *result);
/* A statement that was kept no longer fits its table, which was altered. */
bool pg_is_stale_plan(const PGresult *result);
void pg_refuse(struct part_refusal *refusal, const PGresult *result, const PGconn *conn);
/* Did PREPARE TRANSACTION prepare? In a failed transaction it succeeds and has rolled back: only
 * the tag tells. */
bool pg_has_prepared(const PGresult *result);

/* ---- pg_values.c ---- */

/* Write {"columns":[…],"rows":[. */
void pg_write_columns(struct tpc_buf *out, const PGresult *result);
void pg_write_row(struct tpc_buf *out, const PGresult *result, int row);

/* ---- pg_facts.c: what is asked of the server when a session begins ---- */

struct pg_facts {
    int version; /* 150004 */
    uint64_t max_prepared;
    uint64_t connections_max; /* for others than superusers */
    uint64_t system_id;
    char fsync[8], full_page_writes[8], synchronous_commit[16];
    bool standby, read_only, sees_prepared;
    char backend_start[PG_START_TEXT];
    char database[64], user[64];
};
extern const char pg_facts_sql[];
/* Makes the session one that can be relied upon; $1: --lock-timeout. */
extern const char pg_settings_sql[];
TPC_NODISCARD bool pg_facts_read(const PGresult *result, const PGconn *conn,
                                 struct pg_facts *ret_facts);
/* Can promises be kept with these? Names the setting and the command that mends it. */
TPC_NODISCARD enum tpc_rc pg_facts_judge(const struct pg_facts *facts, bool allow_unsafe,
                                         struct tpc_err *reterr);
/* Why a connection did not come about, and what to run. */
enum tpc_rc pg_explain_connect(const PGconn *conn, struct tpc_err *reterr);

/* ---- pg_session.c: connections, and what is under way on them ---- */

struct pg_stmt {
    char *key; /* a letter for the type of each parameter, '|', and the text */
    char name[24];
    UT_hash_handle hh;
};

enum pg_step_kind {
    PG_STEP_FACTS,
    PG_STEP_PLAIN, /* its error, of a branch, refuses that */
    PG_STEP_PARSE,
    PG_STEP_EXECUTE,
    PG_STEP_XID,
    PG_STEP_PREPARE,
    PG_STEP_COMMIT, /* one-phase */
    PG_STEP_UNDO,
    PG_STEP_DECIDE,
    PG_STEP_ASK,
    PG_STEP_SYNC,
};

/* A question to the server from within; the asker's storage until it is answered. */
struct pg_question {
    /* @result NULL: the session was lost. */
    void (*answered)(struct pg_question *question, struct pg_session *session,
                     const PGresult *result);
    struct part_job *job;
    struct pg_doubt *doubt;
};

/* Something that was sent and has not been answered whole. */
struct pg_step {
    enum pg_step_kind kind;
    bool of_branch;               /* of the session's, and not of one before it */
    unsigned statement;           /* EXECUTE, PARSE */
    struct pg_stmt *stmt;         /* PARSE */
    struct part_job *job;         /* DECIDE */
    struct pg_question *question; /* ASK */
};

enum pg_phase {
    PG_WORKING,    /* the statements, and PREPARE when it went out with them */
    PG_PREPARING,  /* PREPARE alone */
    PG_RECORDING,  /* one-phase: until the number is in the log */
    PG_COMMITTING, /* one-phase; a serializable branch of queries */
    PG_UNDOING,    /* what was prepared in vain */
};

struct pg_branch {
    struct part_job *job;
    enum pg_phase phase;
    struct part_refusal refusal;
    bool with_prepare; /* PREPARE went out with the statements */
    bool prepared;     /* and the server said so */
    bool whole;        /* all before PREPARE is answered, and good */
    bool finished;     /* COMMIT was answered, and good */
    bool taints;
    bool stopping;                 /* it is being cancelled */
    uint64_t stopped_ms;           /* since then */
    enum part_job_outcome ends_as; /* UNDOING, COMMITTING */
    uint64_t xid;                  /* 0: none, so nothing was written */
    uint64_t rows;                 /* of the statement that is being answered */
    bool in_statement;             /* its object is begun */
};

#define PG_TIMEOUT_UNKNOWN UINT64_MAX

enum pg_session_state { PG_CLOSED, PG_CONNECTING, PG_SETTING_UP, PG_READY };

struct pg_session {
    struct part_pg *pg;
    bool decides; /* for decisions, else for work */
    enum pg_session_state state;
    PGconn *conn;
    struct api_poll *poll;
    struct pg_step *steps; /* a ring */
    size_t step_first, step_count, step_capacity;
    bool begun;   /* the first step is being answered */
    bool failed;  /* sending failed: it is lost as soon as nobody stands on it */
    bool retires; /* not to be used again */
    bool busy;    /* `branch` is under way */
    struct pg_branch branch;
    bool pinned;                      /* by an interactive branch, … */
    struct tpc_id pinned_by, lost_by; /* … by this one; lost under this one … */
    char lost_words[200];             /* … because of this */
    bool serializable;                /* what it has begun for that branch */
    struct pg_stmt *stmts;            /* least recently used first */
    unsigned names;
    uint64_t statement_timeout_ms; /* as set in it; 0: none; or PG_TIMEOUT_UNKNOWN */
    char backend_start[PG_START_TEXT];
    uint64_t begun_ms;      /* CONNECTING, SETTING_UP */
    uint64_t not_before_ms; /* CLOSED: the next try */
    unsigned failures;
};

/* Queue a command without parameters, one with, and the question for the branch's number. The step
 * is copied. */
void pg_send(struct pg_session *session, const struct pg_step *step, const char *sql);
void pg_send_xid(struct pg_session *session);
void pg_send_params(struct pg_session *session, const struct pg_step *step, const char *sql,
                    int count, const char *const *values);
/* End of a group: what comes after it is carried out although something before it failed. */
void pg_sync(struct pg_session *session, bool of_branch);
void pg_push(struct pg_session *session, const struct pg_step *step);
/* Begin to connect, when it is closed and its time has come. */
void pg_session_want(struct pg_session *session);
/* It is gone, for this reason; who waited for something on it is told. */
void pg_session_lose(struct pg_session *session, const char *words);
void pg_session_done(struct pg_session *session);
/* Lose what failed while it was being used, and what may be used no more. */
void pg_sessions_settle(struct part_pg *pg);

/* ---- pg_stmts.c: statements kept prepared in a session ---- */

void pg_stmts_forget(struct pg_session *session);
void pg_stmts_drop(struct pg_session *session, struct pg_stmt *stmt);
/* Make room: sends DEALLOCATE for those that were not used for longest. */
void pg_stmts_trim(struct pg_session *session);
/* Send the statement, parsed before if need be. */
void pg_stmts_execute(struct pg_session *session, unsigned index,
                      const struct api_statement *statement);

/* ---- pg_pinned.c: interactive branches between their steps ---- */

/* The session that @gtid has done its steps on; NULL: none. */
struct pg_session *pg_pinned_find(const struct part_pg *pg, const struct tpc_id *gtid);
/* A step, or what follows on steps: the prepare, or the abort of what is not prepared. False: the
 * job is none of these. */
bool pg_pinned_submit(struct part_pg *pg, struct part_job *job);
void pg_pinned_on_lost(struct pg_session *session, const char *words);

/* ---- pg_branch.c: the work ---- */

/* On a session that is idle, or pinned by this branch. */
void pg_branch_begin(struct pg_session *session, struct part_job *job);
void pg_branch_on_result(struct pg_session *session, const struct pg_step *step,
                         const PGresult *result);
void pg_branch_on_sync(struct pg_session *session);
void pg_branch_on_lost(struct pg_session *session, const char *words);
void pg_branch_proceed(struct pg_session *session);
/* Its time is over, or it is unwanted. */
void pg_branch_stop(struct pg_session *session, enum api_cause_code code, const char *words);
void pg_refuse_job(struct part_pg *pg, struct part_job *job, enum api_cause_code code,
                   const char *words);

/* ---- pg_doubt.c: sessions that were lost while they prepared ---- */

struct pg_doubt {
    struct pg_branch branch;
    int backend_pid;
    char backend_start[PG_START_TEXT];
    bool asking, gone; /* the session at the server is */
    bool undoing;
    uint64_t not_before_ms;
    char words[300]; /* of the session's end */
    struct pg_question ended, held;
    struct part_pg *pg;
    struct pg_doubt *next;
};
void pg_doubt_add(struct pg_session *session, const char *words);
void pg_doubts_run(struct part_pg *pg, uint64_t now_ms);
uint64_t pg_doubts_next_ms(const struct part_pg *pg);
void pg_doubts_done(struct part_pg *pg);

/* ---- pg_decide.c: decisions and questions about them ---- */

void pg_decide_submit(struct part_pg *pg, struct part_job *job);
/* Send what waits; false: no session. */
void pg_decide_run(struct part_pg *pg);
void pg_decide_on_result(struct pg_session *session, const struct pg_step *step,
                         const PGresult *result);
void pg_decide_on_lost(struct part_pg *pg, struct part_job *job, const char *words);
/* A session for decisions that is ready; NULL: none. */
struct pg_session *pg_decide_session(struct part_pg *pg);
void pg_retry(struct part_pg *pg, struct part_job *job, const char *words);

/* ---- pg_list.c: what the server holds under our name ---- */

extern const char pg_list_sql[]; /* $1: the beginning of our names */
enum tpc_rc pg_list_read(const struct part_pg *pg, const PGresult *result,
                         struct part_found **ret_found, size_t *ret_count);
void pg_list_prefix(const struct part_pg *pg, char out[PG_GID_TEXT]);

/* ---- pg_examine.c: what is prepared there at all ---- */

extern const char pg_examine_sql[]; /* $1: the beginning of our names */
/* As a JSON array. */
TPC_NODISCARD bool pg_examine_read(const PGresult *result, struct tpc_buf *out);

/* ---- pg_recover.c: before start ---- */

enum tpc_rc pg_preflight(struct part_pg *pg, struct tpc_err *reterr);
/* End what the server still has of sessions of an earlier run, and wait until they are gone: what
 * such a session was sent could be carried out after it was asked about, or done again. */
enum tpc_rc pg_fence_now(struct part_pg *pg, struct tpc_err *reterr);
enum tpc_rc pg_prove_now(struct part_pg *pg, const struct tpc_id *gtid, bool *ret_proven,
                         struct tpc_err *reterr);
enum tpc_rc pg_find_now(struct part_pg *pg, struct part_found **ret_found, size_t *ret_count,
                        struct tpc_err *reterr);

/* ---- pg_resource.c ---- */

/* A branch that the server holds prepared, as far as we know. */
struct pg_held {
    struct tpc_id gtid;
    uint64_t began_us;
    uint64_t system_id, xid;
    UT_hash_handle hh;
};

struct part_pg {
    struct part_resource base;
    struct part_resource_options options;
    char *url, *name;
    char host_address[64];       /* as resolved at first; "" when it is not to be used */
    PGconn *control;             /* before start */
    struct pg_facts facts;       /* the newest */
    struct pg_session *sessions; /* first those for work, then for decisions, then those that pin */
    struct pg_session *work, *deciders, *pinned;
    size_t work_count, decider_count, pinned_count;
    struct part_job_queue queue;   /* branches that wait for a session */
    struct part_job_queue openers; /* interactive ones, for their first step */
    struct part_job *decisions, *decisions_last;
    struct part_job_ends ends;
    struct pg_held *held;
    size_t executing; /* branches that may become held */
    struct pg_doubt *doubts;
    struct part_proofs proofs;
    struct tpc_timer timer;
    struct part_resource_stats stats;
    char trouble[400]; /* why sessions cannot be opened, "" when they can */
    bool started, closing;
};

static inline size_t pg_session_count(const struct part_pg *pg)
{
    return pg->work_count + pg->decider_count + pg->pinned_count;
}
/* Was the branch begun in an earlier life, by the log? Then the job has ended with what is known.
 */
TPC_NODISCARD bool pg_has_past(struct part_pg *pg, struct part_job *job);
void pg_end(struct part_pg *pg, struct part_job *job, enum part_job_outcome outcome);
/* Hand branches that wait to sessions, and arm the timer. */
void pg_run(struct part_pg *pg);
struct pg_held *pg_held_find(const struct part_pg *pg, const struct tpc_id *gtid);
void pg_held_add(struct part_pg *pg, const struct tpc_id *gtid, uint64_t began_us,
                 uint64_t system_id, uint64_t xid);
void pg_held_drop(struct part_pg *pg, const struct tpc_id *gtid);

#endif
