/* The MariaDB resource from inside: what its files share. All of it runs on the loop thread, but
 * for what happens before `start` (maria_recover.c), which has the resource for itself and blocks.
 *
 * Life of a branch here: it waits for a session → XA START and the marker, a row of our own that
 * says which branch this is → its statements, one by one → XA END and XA PREPARE → the session
 * keeps it, for as long as the session lives no other one may end it → XA COMMIT or XA ROLLBACK
 * there. A session that keeps a prepared branch is never used for anything else and never reset: a
 * reset lets the server forget to whom the branch belongs, and a later XA COMMIT says OK and
 * commits nothing. When the session is needed for others, or lost, it is closed, the server
 * detaches the branch, and a session that is kept for decisions ends it once the server has let go
 * of it (maria_detach.c).
 *
 * What proves a commit: the marker, in the table _assent_applied of the same database. It is in the
 * branch, so it is there when the branch was committed, locked while the branch is there in
 * whatever state, on whatever session, and neither when it was rolled back. That the server does
 * not know a branch (XAER_NOTA) proves nothing: it says so of a branch that another session still
 * has.
 *
 * In one phase (no PREPARE) it is XA COMMIT … ONE PHASE, with the same proof. */
#ifndef ASSENT_PARTICIPANT_MARIA_INTERNAL_H
#define ASSENT_PARTICIPANT_MARIA_INTERNAL_H

#include "api/loop.h"
#include "base/table.h"
#include "participant/job_ends.h"
#include "participant/job_queue.h"
#include "participant/maria_names.h"
#include "participant/maria_url.h"
#include "participant/refusal.h"
#include "participant/resource.h"

#include <mysql.h>

enum {
    MARIA_CONNECT_MS = 10000,
    MARIA_RECONNECT_FIRST_MS = 50,
    MARIA_RECONNECT_MAX_MS = 2000,
    MARIA_KEPT_MAX = 256, /* prepared statements of a session */
    MARIA_STOP_MS = 2000, /* from a cancellation until the session is given up */
    /* A prepared branch has its session for so long when others wait for one. Ended elsewhere it
     * takes longer, so that is for what may wait for others. */
    MARIA_LET_GO_MS = 100,
};

struct part_maria;
struct maria_session;

/* ---- maria_words.c: what statements may do ---- */

struct maria_verdict {
    bool query;  /* it looks like a mere query */
    bool shows;  /* SHOW and the like: it touches no table */
    bool taints; /* it may leave something behind in the session */
};
TPC_NODISCARD bool maria_judge(const char *sql, struct maria_verdict *ret_verdict,
                               struct part_refusal *refusal);

/* INSERT … RETURNING has rows, too. */
bool maria_changes_rows(const char *sql);

/* ---- maria_error.c: the server's errors as causes ---- */

struct maria_error {
    unsigned code; /* 0: none */
    char sqlstate[6];
    char words[600];
};
void maria_error_take(struct maria_error *error, MYSQL *conn);
void maria_error_take_stmt(struct maria_error *error, MYSQL_STMT *stmt);
/* The session has ended with it. */
bool maria_error_is_loss(const struct maria_error *error);
/* A statement that was kept no longer fits its table, which was altered. */
bool maria_error_is_stale(const struct maria_error *error);
void maria_refuse(struct part_refusal *refusal, const struct maria_error *error);
/* Why a connection did not come about, and what to run. */
enum tpc_rc maria_explain_connect(const struct part_maria *maria, const struct maria_error *error,
                                  struct tpc_err *reterr);

/* ---- maria_facts.c: what is asked of the server when a session begins ---- */

struct maria_facts {
    char version[64];
    unsigned number; /* 101106: 10.11.6; 0: not MariaDB */
    unsigned flush_log, force_recovery;
    bool double_write, no_sync, read_only, session_read_only, binlog, cluster;
    uint64_t connections_max;
    char user[256]; /* as it stands in GRANT */
};
extern const char maria_facts_sql[];
TPC_NODISCARD bool maria_facts_read(MYSQL_RES *result, struct maria_facts *ret_facts);
/* Can promises be kept with these? Names the setting and the command that mends it. */
TPC_NODISCARD enum tpc_rc maria_facts_judge(const struct maria_facts *facts, bool allow_unsafe,
                                            struct tpc_err *reterr);
/* Make the session one that can be relied upon. */
void maria_settings_write(const struct part_maria *maria, bool decides, struct tpc_buf *out);

/* ---- maria_marker.c: the proof ---- */

enum maria_mark {
    MARIA_MARK_THERE,  /* the branch was committed */
    MARIA_MARK_LOCKED, /* it is neither committed nor rolled back yet */
    MARIA_MARK_ABSENT, /* it was rolled back, or never begun */
    MARIA_MARK_UNKNOWN,
};
void maria_marker_insert(const struct part_maria *maria, const struct part_job *job,
                         struct tpc_buf *out);
void maria_marker_probe(const struct part_maria *maria, const struct tpc_id *gtid,
                        struct tpc_buf *out);
/* What the probe said: its rows, or its error. */
enum maria_mark maria_marker_read(uint64_t rows, const struct maria_error *error);
void maria_marker_delete(const struct part_maria *maria, const struct tpc_id *gtids, size_t count,
                         struct tpc_buf *out);
void maria_marker_list(const struct part_maria *maria, struct tpc_buf *out);
extern const char maria_marker_create_sql[], maria_marker_engine_sql[], maria_marker_begin_sql[],
    maria_marker_identity_sql[], maria_marker_try_sql[];

/* ---- maria_session.c: connections, and what is under way on them ---- */

enum maria_op {
    MARIA_OP_NONE,
    MARIA_OP_CONNECT,
    MARIA_OP_QUERY, /* a text, then for each statement in it: */
    MARIA_OP_STORE,
    MARIA_OP_NEXT,
    MARIA_OP_PREPARE, /* a statement of a client */
    MARIA_OP_EXECUTE,
    MARIA_OP_FETCH,
    MARIA_OP_FREE,
};

struct maria_stmt {
    char *sql;
    MYSQL_STMT *handle; /* NULL: not prepared yet */
    bool examined;      /* it touches no table whose engine has no transactions */
    UT_hash_handle hh;
};

struct maria_params; /* maria_values.c: values on their way to the server */

enum maria_phase {
    MARIA_EXAMINING, /* in a transaction that is rolled back */
    MARIA_WORKING,
    MARIA_PREPARING,
    MARIA_COMMITTING, /* one-phase */
    MARIA_ENDING,     /* it is rolled back, whether refused or read-only */
    MARIA_HELD,       /* prepared: it waits for its decision */
    MARIA_DECIDING,
    MARIA_OPEN, /* interactive: it waits for its next step, without a job */
};

struct maria_branch {
    struct tpc_id gtid, coordinator_id;
    struct part_job *job; /* HELD: none; DECIDING: the decision */
    enum maria_phase phase;
    struct part_refusal refusal;
    unsigned at;       /* the statement that is examined or done */
    bool queries;      /* they all look like mere queries: without a marker so far */
    bool marked;       /* the marker is in it */
    bool in_statement; /* its object is begun */
    uint64_t rows;     /* of that statement */
    bool taints;
    bool stopping;                 /* it is being cancelled */
    uint64_t stopped_ms;           /* since then */
    enum part_job_outcome ends_as; /* ENDING */
    uint64_t held_ms;              /* HELD: since when */
};

enum maria_session_state { MARIA_CLOSED, MARIA_CONNECTING, MARIA_SETTING_UP, MARIA_READY };

struct maria_session {
    struct part_maria *maria;
    bool decides; /* for decisions, else for work */
    enum maria_session_state state;
    MYSQL *conn;
    unsigned long thread; /* at the server; that of the last connection */
    struct api_poll *poll;
    enum maria_op op;
    bool running; /* its calls are being carried out further down the stack */
    bool failed;  /* it is lost as soon as nobody stands on it */
    bool retires; /* not to be used again */
    bool unfit;   /* SETTING_UP: the server's settings break promises */
    bool busy;    /* `branch` is under way, or held; of a decider: `job` or a question */
    /* The call that is under way. */
    struct tpc_buf text;
    unsigned statement; /* of the text: which is being answered */
    MYSQL_STMT *stmt;
    struct maria_params *params;
    union {
        int status;
        my_bool flag;
        MYSQL *connected;
        MYSQL_RES *result;
    } ret;
    void (*on_result)(struct maria_session *session,
                      MYSQL_RES *result); /* of a text; may be NULL */
    void (*on_row)(struct maria_session *session);
    void (*done)(struct maria_session *session); /* also when `error` is set */
    struct maria_error error;                    /* of the call; `statement` says of which */
    char state_flags[16]; /* what the transaction has done so far, as the server tracks it */
    uint64_t found_rows;  /* of the last result of a text */
    /* Work */
    struct maria_branch branch;
    struct tpc_id lost_by;    /* it was lost while this branch was open, … */
    char lost_words[200];     /* … because of this */
    struct maria_stmt *stmts; /* least recently used first */
    uint64_t statement_timeout_ms;
    /* Decisions */
    struct part_job *job;
    struct maria_doubt *doubt;
    struct maria_report *report;
    uint64_t begun_ms;      /* CONNECTING, SETTING_UP */
    uint64_t not_before_ms; /* CLOSED: the next try */
    unsigned failures;
};

/* Begin a call: what is in session->text, one or more statements with ';' between. After the first
 * that fails none is done. */
void maria_send(struct maria_session *session,
                void (*on_result)(struct maria_session *session, MYSQL_RES *result),
                void (*done)(struct maria_session *session));
/* Begin a call: prepare the statement in session->text. */
void maria_prepare(struct maria_session *session, MYSQL_STMT *stmt,
                   void (*done)(struct maria_session *session));
/* Begin a call: a prepared statement. @on_row for each row, to be read from session->stmt, until it
 * sets session->on_row to NULL; NULL: rows are passed over. */
void maria_execute(struct maria_session *session, MYSQL_STMT *stmt,
                   void (*on_row)(struct maria_session *session),
                   void (*done)(struct maria_session *session));
/* Begin to connect, when it is closed and its time has come. */
void maria_session_want(struct maria_session *session);
/* It is gone, for this reason; who waited for something on it is told. */
void maria_session_lose(struct maria_session *session, const char *words);
void maria_session_done(struct maria_session *session);
/* Lose what failed while it was being used, and what may be used no more. */
void maria_sessions_settle(struct part_maria *maria);
/* Clients' statements are prepared, of which each is one. Rows that are changed are counted as
 * other databases do, also those that were so before. */
#define MARIA_CONN_FLAGS (CLIENT_MULTI_STATEMENTS | CLIENT_FOUND_ROWS)
/* A connection that is not open yet; also for the one that blocks. */
MYSQL *maria_conn_new(const struct part_maria *maria);

/* ---- maria_stmts.c: statements kept prepared in a session ---- */

void maria_stmts_forget(struct maria_session *session);
struct maria_stmt *maria_stmts_get(struct maria_session *session, const char *sql);
void maria_stmts_drop(struct maria_session *session, struct maria_stmt *stmt);

/* ---- maria_values.c ---- */

/* Bind the parameters of a statement that is prepared; they stay in session->params. False, and
 * refused, when they are not as many as it has. */
TPC_NODISCARD bool maria_params_bind(struct maria_session *session,
                                     const struct api_statement *statement,
                                     struct part_refusal *refusal);
void maria_params_done(struct maria_session *session);
/* Write {"columns":[…],"rows":[. */
void maria_write_columns(struct tpc_buf *out, MYSQL_STMT *stmt);
void maria_write_row(struct tpc_buf *out, MYSQL_STMT *stmt);

/* ---- maria_examine.c: does a statement touch tables without transactions? ---- */

/* Before the work of a branch with statements that this session has not seen before; goes on with
 * maria_branch_examined. */
void maria_examine(struct maria_session *session);

/* ---- maria_pinned.c: interactive branches between their steps ---- */

/* A step, or what follows on steps: the prepare, or the abort of what is not prepared. False: the
 * job is none of these. */
bool maria_pinned_submit(struct part_maria *maria, struct part_job *job);
void maria_pinned_on_lost(struct maria_session *session, const char *words);

/* ---- maria_branch.c: the work ---- */

/* On a session that is idle, or in which this branch is open. */
void maria_branch_begin(struct maria_session *session, struct part_job *job);
void maria_branch_examined(struct maria_session *session);
/* Undo what is open, for @job. */
void maria_branch_undo(struct maria_session *session, struct part_job *job);
/* Has it written to a table whose engine has no transactions? Then refuse it. */
bool maria_branch_is_clean(struct maria_session *session, bool done);
void maria_branch_on_lost(struct maria_session *session, const char *words);
/* Its time is over, or it is unwanted. */
void maria_branch_stop(struct maria_session *session, enum api_cause_code code, const char *words);
/* @thread: the server's session that prepared it. */
void maria_payload_write(const struct part_maria *maria, struct part_job *job,
                         unsigned long thread);

/* ---- maria_detach.c: when another session may end what a session has prepared ---- */

/* Zero-initialise, and set the thread. */
struct maria_detach {
    unsigned long thread; /* of the session that prepared it; 0: not known */
    uint64_t asked_ms;    /* since when it is asked for; 0: not yet */
    uint64_t gone_ms;     /* since when it is; 0: as far as we know it is there */
    uint64_t next_ms;     /* to be looked at again */
};
/* The question whether that session is still there; 0: any that it may have been. */
void maria_detach_write(const struct part_maria *maria, unsigned long thread, struct tpc_buf *out);
bool maria_detach_is_over(const struct maria_detach *detach, uint64_t now_ms);
/* Ask on @session whether that one is gone; false: nothing has to be asked. */
bool maria_detach_ask(struct maria_session *session, struct maria_detach *detach,
                      void (*done)(struct maria_session *));
/* To be called by @done. True: it is still there, and is not waited for any longer. */
bool maria_detach_answered(const struct maria_session *session, struct maria_detach *detach);

/* ---- maria_doubt.c: sessions that were lost while they prepared ---- */

struct maria_doubt {
    struct maria_branch branch;
    bool asking;
    uint64_t not_before_ms;
    bool listed; /* XA RECOVER has it */
    bool undone; /* the server said that it rolled it back */
    struct maria_detach detach;
    char words[300]; /* of the session's end */
    struct part_maria *maria;
    struct maria_doubt *next;
};
void maria_doubt_add(struct maria_session *session, const char *words);
/* Refuse those whose time is over. */
void maria_doubts_expire(struct part_maria *maria, uint64_t now_ms);
void maria_doubt_on_lost(struct maria_doubt *doubt);
/* Ask about one whose turn it is; false: there is none. */
bool maria_doubt_ask(struct maria_session *session, uint64_t now_ms);
uint64_t maria_doubts_next_ms(const struct part_maria *maria);
void maria_doubts_done(struct part_maria *maria);

/* ---- maria_decide.c: decisions and questions about them ---- */

/* Tell the log that the server keeps the locks of what it does not know any more. */
void maria_tell_lost(const struct tpc_id *gtid);

void maria_decide_submit(struct part_maria *maria, struct part_job *job);
/* Begin what waits. */
void maria_decide_run(struct part_maria *maria);
uint64_t maria_decide_next_ms(const struct part_maria *maria);
/* All that waits is to be tried again. */
void maria_decide_done(struct part_maria *maria, const char *words);
void maria_decide_on_lost(struct maria_session *session, const char *words);
/* A session for decisions that is idle; NULL: none. */
struct maria_session *maria_decide_session(struct part_maria *maria);
/* Cancel what runs on that session of the server. */
void maria_decide_kill(struct part_maria *maria, unsigned long thread);
/* The session is free for the next one. */
void maria_decide_free(struct maria_session *session);

/* ---- maria_list.c: what the server holds under our name, and at all ---- */

enum tpc_rc maria_list_read(const struct part_maria *maria, MYSQL_RES *result,
                            struct part_found **ret_found, size_t *ret_count);

/* ---- maria_doctor.c ---- */

/* PART_JOB_EXAMINE: what is prepared at the server, whose it is, and whom it blocks. */
void maria_doctor(struct maria_session *session);
void maria_report_free(struct maria_session *session);

/* ---- maria_recover.c: before start ---- */

enum tpc_rc maria_preflight(struct part_maria *maria, struct tpc_err *reterr);
enum tpc_rc maria_prove_now(struct part_maria *maria, const struct tpc_id *gtid, bool *ret_proven,
                            struct tpc_err *reterr);
enum tpc_rc maria_applied_now(struct part_maria *maria,
                              void (*each)(void *arg, const struct tpc_id *gtid,
                                           const struct tpc_id *coordinator_id),
                              void *arg, struct tpc_err *reterr);
enum tpc_rc maria_find_now(struct part_maria *maria, struct part_found **ret_found,
                           size_t *ret_count, struct tpc_err *reterr);

/* ---- maria_resource.c ---- */

/* A branch that the server holds prepared, as far as we know. */
struct maria_held {
    struct tpc_id gtid;
    struct maria_session *session; /* that prepared it; NULL: another one ends it */
    struct maria_detach detach;    /* once the server has let go of it */
    unsigned unheard;              /* times that the server did not know it though nobody has it */
    bool lost;                     /* the server keeps it for good */
    UT_hash_handle hh;
};

struct part_maria {
    struct part_resource base;
    struct part_resource_options options;
    struct maria_url url;
    char *name;
    char host_address[64]; /* as resolved at first; "" when it is not to be used */
    MYSQL *control;        /* before start */
    struct maria_facts facts;
    unsigned long first_thread;     /* of this run of ours, or of the server */
    unsigned long lost_thread;      /* the highest of those for work that were lost in it */
    struct tpc_id identity;         /* of the table of markers */
    struct maria_session *sessions; /* first those for work, then for decisions, then those that an
                                       interactive branch has for itself */
    struct maria_session *work, *deciders, *pinned;
    size_t work_count, decider_count, pinned_count;
    struct part_job_queue queue;   /* branches that wait for a session */
    struct part_job_queue openers; /* interactive ones, for their first step */
    struct part_job *decisions, *decisions_last;
    struct part_job *detaching, *detaching_last; /* decisions that wait for that, in their order */
    unsigned long *kills; /* sessions of which the statement is to be cancelled */
    size_t kill_count, kill_capacity;
    struct tpc_id *forgets; /* markers that nobody asks for any more */
    size_t forget_count, forget_capacity;
    struct part_job_ends ends;
    struct maria_held *held;
    struct maria_doubt *doubts;
    struct tpc_timer timer;
    struct part_resource_stats stats;
    char trouble[600]; /* why sessions cannot be opened, "" when they can */
    bool started, closing;
};

static inline size_t maria_session_count(const struct part_maria *maria)
{
    return maria->work_count + maria->decider_count + maria->pinned_count;
}
void maria_refuse_job(struct part_maria *maria, struct part_job *job, enum api_cause_code code,
                      const char *words);
/* Hand branches that wait to sessions, and arm the timer. */
void maria_run(struct part_maria *maria);
struct maria_held *maria_held_find(const struct part_maria *maria, const struct tpc_id *gtid);
struct maria_held *maria_held_add(struct part_maria *maria, const struct tpc_id *gtid);
void maria_held_drop(struct part_maria *maria, const struct tpc_id *gtid);

#endif
