/* The SQLite resource from inside: what its files share. All of it belongs to the adapter thread,
 * but for the members between `mutex` and `stats` of struct part_sqlite.
 *
 * Life of a branch here: captured (its statements run in a savepoint of the open write transaction,
 * the changed rows are noted by the preupdate hook, the savepoint is rolled back) → locked →
 * prepared (in memory; the payload is in the agent's log) → applied together with others and
 * committed with its marker row → released. Nothing in the file shows a branch before that commit.
 *
 * Why the preupdate hook itself and not a session on top of it: the hook shows whole rows, so the
 * values of unique and foreign keys are at hand for the locks, rows are noted without reading them
 * again, and statements can be kept prepared (a session must be there before they are). */
#ifndef ASSENT_PARTICIPANT_SQLITE_INTERNAL_H
#define ASSENT_PARTICIPANT_SQLITE_INTERNAL_H

#include "participant/refusal.h"
#include "participant/resource.h"
#include "participant/sqlite_locks.h"
#include "participant/sqlite_schema.h"
#include "participant/sqlite_values.h"

#include <pthread.h>

struct sqlite3;

/* ---- sqlite_stmts.c: the clients' statements, kept prepared, and what they may do ---- */

struct part_stmt {
    char *sql;
    struct sqlite3_stmt *stmt;
    bool reads_only, reads_virtual;
    struct part_table *inserts;    /* the table that rows are put into; of several the last */
    struct part_table *makes_keys; /* inserts, when SQLite makes its keys and nothing reads it */
    size_t read_count, read_capacity;
    const struct part_table **reads; /* tables named by the authorizer, written ones too */
    UT_hash_handle hh;
};

struct part_stmts {
    struct part_stmt *kept;       /* least recently used first */
    struct part_stmt *authorizes; /* whose compilation is being judged; NULL: one of our own */
    struct part_refusal *refusal; /* where the judgement goes */
    bool met_write;               /* a reader was given a statement that writes */
};

struct part_sqlite;

/* Install the authorizer. */
void part_stmts_init(struct part_sqlite *sqlite);
/* NULL when refused. Belongs to the cache; valid until the next call. */
struct part_stmt *part_stmts_get(struct part_sqlite *sqlite, const char *sql,
                                 struct part_refusal *refusal);
/* Drop all, e.g. because the schema changed. */
void part_stmts_forget(struct part_sqlite *sqlite);
const char *part_stmts_skip_blank(const char *sql); /* past white space and comments */
/* May rows of @table be written? If not, the reason is in @refusal. */
bool part_stmts_may_write(const struct part_table *table, struct part_refusal *refusal);

/* ---- sqlite_capture.c ---- */

/* What became of one row in the end. */
struct part_change {
    struct tpc_id name; /* of the row's lock */
    const struct part_table *table;
    const struct part_cell *before, *after; /* all stored columns; NULL: no such row */
    struct part_change *next;               /* in order of first touch */
    UT_hash_handle hh;
};

struct part_capture {
    struct part_job *job; /* NULL: nothing is being captured */
    struct part_arena arena;
    struct part_change *by_row;
    struct part_change *first, *last;
    bool serializable;
    bool wrote;      /* a statement that may write ran */
    bool looks_away; /* the hook is not to note what happens */
    struct part_lock *locks;
    size_t lock_count, lock_capacity;
    struct part_refusal refusal;
    uint64_t began_ms;
    bool preempted; /* stopped because it held others up: nothing was found out */
};

/* Install the hooks. */
void part_capture_init(struct part_sqlite *sqlite);
/* What an interactive branch did in earlier steps. */
struct part_capture_past {
    const void *payload;
    size_t size; /* 0: nothing */
    bool wrote;
};

/* Do again what is @past (NULL: nothing), run the job's statements and undo all of it, inside the
 * open write transaction. The results are in the job, changes and locks in sqlite->capture until
 * the next call; or sqlite->capture.refusal is set: conflict, when others have changed what is
 * past. The write transaction may be gone afterwards (sqlite3_get_autocommit). */
void part_capture_run(struct part_sqlite *sqlite, struct part_job *job,
                      const struct part_capture_past *past);
/* Run the job's statements on a snapshot, by a reader. */
void part_capture_read(struct part_sqlite *reader, struct part_job *job);
void part_capture_done(struct part_sqlite *sqlite);

/* ---- sqlite_lockset.c: what a capture must lock so that it still applies later ---- */

/* The name of a row's lock. @row: all stored columns. */
TPC_NODISCARD enum tpc_rc part_lockset_row(const struct part_table *table,
                                           const struct part_cell *row, struct tpc_id *out);
/* Add to capture->locks what its changes need, and join them. */
TPC_NODISCARD enum tpc_rc part_lockset_build(struct part_capture *capture);
TPC_NODISCARD enum tpc_rc part_lockset_add(struct part_capture *capture, const struct tpc_id *name,
                                           uint8_t modes);

/* ---- sqlite_payload.c: the captured change as bytes, for the log and for applying ---- */

enum part_change_op { PART_CHANGE_INSERT = 1, PART_CHANGE_UPDATE, PART_CHANGE_DELETE };

/* False when memory ran out or it changes more than 256 tables. */
TPC_NODISCARD bool part_payload_write(struct tpc_buf *out, const struct part_capture *capture);

/* One change, read back. Cells lie in the payload. */
struct part_payload_change {
    enum part_change_op op;
    size_t table;
    size_t key_count; /* UPDATE: the primary key before */
    size_t count;     /* UPDATE: changed columns; else all that are written */
    uint16_t *columns;
    struct part_cell *key, *before, *after; /* before: UPDATE, DELETE; after: UPDATE, INSERT */
};

struct part_payload {
    const uint8_t *at, *end;
    size_t lock_count;
    struct part_lock *locks;
    size_t table_count;
    struct part_payload_table {
        char *name;
        uint16_t column_count;
        struct tpc_id shape;
    } * tables;
    size_t changes_left;
    /* The above, and the change that was read last. What was promised is not given up, nor taken
     * for damaged, for want of memory: that ends the process. */
    struct part_arena arena, change_arena;
};

/* Read everything but the changes. TPC_ECORRUPT. Always call part_payload_done. */
TPC_NODISCARD enum tpc_rc part_payload_open(struct part_payload *payload, const void *data,
                                            size_t size);
/* The next change, valid until the one after it; false at the end or when it makes no sense
 * (changes_left tells which: not 0). */
bool part_payload_next(struct part_payload *payload, struct part_payload_change *out);
void part_payload_done(struct part_payload *payload);

/* ---- sqlite_apply.c ---- */

enum part_apply_result {
    PART_APPLIED,
    PART_APPLY_CONFLICT, /* the file is not what it was when the change was captured */
    PART_APPLY_FAILED,   /* disk full and the like: the transaction must be rolled back */
};

/* Apply a payload inside the open write transaction, triggers and foreign keys being off.
 * @carefully: rows exchange the values of unique keys, so take all out before putting any in. */
enum part_apply_result part_apply(struct part_sqlite *sqlite, const void *payload, size_t size,
                                  bool carefully, char *detail, size_t detail_size);
/* Does applying touch tables with triggers or foreign keys? */
bool part_apply_needs_quiet(const struct part_sqlite *sqlite, const void *payload, size_t size);
/* Finalize what is kept prepared with the tables. */
void part_apply_forget(struct part_schema *schema);

/* Put @row (all stored columns) into @table or take it out again; not for committing. */
enum part_apply_result part_apply_row(struct part_sqlite *sqlite, struct part_table *table,
                                      enum part_change_op op, struct part_cell *row);

/* ---- sqlite_foreign.c ---- */

/* A change that was just applied, and during whose preparation others may have written: does every
 * foreign key that it touches still hold? Its locks do not bind other programs, and the keys are
 * not enforced while applying. */
enum part_apply_result part_foreign_check(struct part_sqlite *sqlite, const void *payload,
                                          size_t size, char *detail, size_t detail_size);

/* ---- sqlite_keys.c: keys that SQLite makes (max + 1), for branches beside each other ---- */

/* Fill stmt->makes_keys: look at its program. */
void part_keys_judge(struct part_sqlite *sqlite, struct part_stmt *stmt);
/* Before it runs: make SQLite start above the keys that were made for prepared branches. True:
 * call part_keys_unplace after it. */
bool part_keys_place(struct part_sqlite *sqlite, struct part_table *table);
/* False: the transaction is not to be used further. */
bool part_keys_unplace(struct part_sqlite *sqlite, struct part_table *table);
/* Remember the keys of the rows in sqlite->capture, which is prepared now. */
void part_keys_note(struct part_sqlite *sqlite);
void part_keys_forget(struct part_schema *schema);

/* ---- sqlite_preflight.c ---- */

/* Open sqlite->db, check and set what the promises rest on, make our two tables. */
TPC_NODISCARD enum tpc_rc part_sqlite_preflight(struct part_sqlite *sqlite, struct tpc_err *reterr);
/* From here on the database knows of this start. */
TPC_NODISCARD enum tpc_rc part_sqlite_note_start(struct part_sqlite *sqlite,
                                                 struct tpc_err *reterr);

/* ---- sqlite_write.c: the write transaction and our own statements ---- */

enum part_own_stmt {
    PART_OWN_BEGIN,
    PART_OWN_BEGIN_READ,
    PART_OWN_COMMIT,
    PART_OWN_ROLLBACK,
    PART_OWN_SAVEPOINT,
    PART_OWN_ROLLBACK_TO,
    PART_OWN_RELEASE,
    PART_OWN_MARK,
    PART_OWN_MARKED,
    PART_OWN_UNMARK,
    PART_OWN_DATA_VERSION,
    PART_OWN_SCHEMA_VERSION,
    PART_OWN_COUNT
};

/* Prepare them; call after the preflight. */
TPC_NODISCARD enum tpc_rc part_write_init(struct part_sqlite *sqlite, struct tpc_err *reterr);
/* Has the open file lost its name? What is written to it then is lost with the last process that
 * has it open, and another file under that name knows nothing of what is promised here. */
bool part_write_has_moved(const struct part_sqlite *sqlite);
/* Take the write lock unless it is held, and notice what others did in the meantime. TPC_EBUSY when
 * another program holds it, TPC_EIO also when the file has lost its name. */
TPC_NODISCARD enum tpc_rc part_write_begin(struct part_sqlite *sqlite, struct tpc_err *reterr);
void part_write_rollback(struct part_sqlite *sqlite);
/* Triggers and foreign keys off (to apply) or on (to capture). Both ways cost compiling every
 * statement again, so only where it matters. */
void part_write_quiet(struct part_sqlite *sqlite, bool quiet);
/* Run one of those without parameters; SQLite's code. */
int part_write_exec(struct part_sqlite *sqlite, enum part_own_stmt which);
/* TPC_EIO when it could not be found out. */
TPC_NODISCARD enum tpc_rc part_write_marked(struct part_sqlite *sqlite, const struct tpc_id *gtid,
                                            bool *ret_marked, struct tpc_err *reterr);
/* Add or remove a marker row; SQLite's code. */
int part_write_mark(struct part_sqlite *sqlite, enum part_own_stmt which,
                    const struct tpc_id *gtid);
void part_write_done(struct part_sqlite *sqlite);

/* ---- sqlite_branch.c: prepare, abort, prove, restore ---- */

struct part_branch_entry {
    struct part_lock_owner owner; /* first: a lock owner is a branch */
    struct part_job *job;         /* that waits for locks or for the commit; NULL: prepared */
    char *payload;
    size_t payload_size;
    bool active;       /* interactive: it holds its locks, and its payload is what it did so far */
    bool wrote;        /* the same: a step of it may have written */
    uint64_t since;    /* the same: sqlite->changes when it began */
    bool check_marker; /* a commit may have happened already */
    bool unguarded;    /* others may have written since it was captured */
    bool stuck;        /* it is to be committed, and the database could not be written */
    /* sqlite_commit.c's */
    enum part_apply_result result;
    char *detail;
    struct part_branch_entry *next_in_group;
    UT_hash_handle hh; /* by owner.gtid */
};

struct part_branch_entry *part_branch_find(struct part_sqlite *sqlite, const struct tpc_id *gtid);
/* Another program wrote: none of the prepared can be taken for granted. */
void part_branch_unguard(struct part_sqlite *sqlite);
/* Let the branch's locks go and forget it. */
void part_branch_drop(struct part_sqlite *sqlite, struct part_branch_entry *entry);
/* Capture, lock; the job ends, or waits, or (one-phase) stands in sqlite->one_phase. */
void part_branch_prepare(struct part_sqlite *sqlite, struct part_job *job);
void part_branch_abort(struct part_sqlite *sqlite, struct part_job *job);
void part_branch_prove(struct part_sqlite *sqlite, struct part_job *job);
/* Capture anew those that waited and need not any longer. */
void part_branch_wake_waiting(struct part_sqlite *sqlite);
/* End those that waited and were cancelled, or whose time is over. */
void part_branch_expire_waiting(struct part_sqlite *sqlite);
uint64_t part_branch_next_deadline_ms(struct part_sqlite *sqlite); /* UINT64_MAX: none */
TPC_NODISCARD enum tpc_rc part_branch_restore(struct part_sqlite *sqlite, const struct tpc_id *gtid,
                                              uint64_t began_us, const void *payload, size_t size,
                                              struct tpc_err *reterr);
/* Free all; jobs that wait end refused. */
void part_branch_done_all(struct part_sqlite *sqlite);

/* ---- sqlite_active.c: interactive branches, between their steps ---- */

/* When an interactive branch waits for a younger one it asks for its locks again after this. */
#define PART_ACTIVE_AGAIN_MS 10

/* The branch that @job goes on with; NULL: its work is not there, or was committed already, and the
 * job has ended. */
struct part_branch_entry *part_active_find(struct part_sqlite *sqlite, struct part_job *job);
/* Captured, and not its first step: does it change a row that another branch has changed since it
 * began? Then what it read of it is out of date, and it must not overwrite it. A serializable one
 * need not even write, for its locks do not bind other programs. Refuses. */
bool part_active_is_late(struct part_sqlite *sqlite, const struct part_branch_entry *entry);
/* Captured, with all locks: keep what it did until its next step. False: no memory. */
bool part_active_keep(struct part_sqlite *sqlite, struct part_branch_entry *entry);
/* It is prepared, or over. */
void part_active_leave(struct part_sqlite *sqlite, struct part_branch_entry *entry);
/* @entry, whose payload is at hand, was committed. */
void part_active_note_commit(struct part_sqlite *sqlite, const struct part_branch_entry *entry);

/* ---- sqlite_commit.c ---- */

/* Commit the branches of these COMMIT jobs (by ->next) together. Every job ends. */
void part_commit_jobs(struct part_sqlite *sqlite, struct part_job *jobs);
/* Commit together what stands in sqlite->one_phase. */
void part_commit_one_phase(struct part_sqlite *sqlite);
/* Remove the markers in sqlite->forgotten in a transaction of their own. */
void part_commit_forgotten(struct part_sqlite *sqlite);

/* ---- sqlite_readers.c: branches of queries, each on a thread and a connection of its own, so that
 * a slow one holds nobody up. Not for serializable ones: those lock. ---- */

struct part_readers;

TPC_NODISCARD enum tpc_rc part_readers_new(struct part_sqlite *sqlite);
/* True: the job is a reader's, which ends it or submits it anew (job->writes). Any thread.
 *
 * When all readers are busy the adapter takes a query, as one that may be slow never makes another
 * wait; there it gets a slice of time, and only then it waits for a reader (@may_wait). */
bool part_readers_take(struct part_readers *readers, struct part_job *job, bool may_wait);
/* The adapter's: end those that wait for a reader and were cancelled, or whose time is over. */
void part_readers_expire(struct part_readers *readers);
uint64_t part_readers_next_deadline_ms(struct part_readers *readers); /* UINT64_MAX: none */
/* Stops what runs; all jobs end refused. */
void part_readers_free(struct part_readers *readers);

/* ---- sqlite_turn.c: the adapter thread ---- */

void *part_turn_run(void *sqlite);
void part_turn_refuse_all(struct part_sqlite *sqlite, struct part_job *jobs);

/* ---- sqlite_resource.c: the interface ---- */

struct part_sqlite {
    struct part_resource base;
    struct part_resource_options options; /* url and path are copies */
    char *path;
    struct sqlite3 *db;
    struct sqlite3_stmt *own[PART_OWN_COUNT];
    struct part_schema schema;
    int64_t data_version, schema_version; /* when last looked */
    bool writing;                         /* the write transaction is open */
    bool in_place;     /* the file was seen at its path since the turn, or its last part, began */
    bool others_write; /* it was waited for in vain in this turn, which is enough */
    bool quiet;        /* triggers and foreign keys are off */
    struct part_stmts stmts;
    struct part_capture capture;
    struct part_locks *locks;
    struct part_branch_entry *branches; /* prepared, active, waiting for their commit or locks */
    size_t prepared, active, waiting;
    struct part_recent *recent; /* rows that changed while there were active branches */
    uint64_t changes;           /* commits that were noted there */
    bool released; /* locks went, or came to older ones, since the queue was looked through */
    size_t stuck;  /* branches that are; new work is refused, for it would be so too */
    char stuck_detail[256]; /* why, the last time */
    struct part_branch_entry *one_phase;
    struct part_job *again;   /* preempted captures, to be begun anew */
    struct tpc_id *forgotten; /* markers to be removed along with the next commit */
    size_t forgotten_count, forgotten_capacity;
    struct part_resource_stats counts;

    /* A reader is one of these too, with little but a connection. */
    const atomic_bool *reader_stops; /* NULL: the adapter itself */
    struct part_readers *readers;

    pthread_t thread;
    bool started;
    atomic_bool urgent; /* something was submitted since the queue was taken */
    atomic_ullong reads;
    pthread_mutex_t mutex; /* of the members below */
    pthread_cond_t changed;
    struct part_job *queue, *queue_last; /* submitted */
    struct part_job *ended, *ended_last; /* to be delivered by poll */
    struct tpc_id *forget;               /* asked for by part_resource.forget */
    size_t forget_count, forget_capacity;
    bool closing, look_again; /* look_again: a job that waits was cancelled */
    struct part_resource_stats stats;
};

void part_sqlite_append(struct part_job **first, struct part_job **last, struct part_job *job);
/* Put it in the queue; any thread. */
void part_sqlite_submit(struct part_sqlite *sqlite, struct part_job *job);
/* A resource or a reader with all its parts empty, for the file @path; NULL: no memory. */
struct part_sqlite *part_sqlite_new(const struct part_resource_options *options, const char *path);
void part_sqlite_free(struct part_sqlite *sqlite);
/* Hand a job back, with any outcome; any thread that has it. */
void part_sqlite_end(struct part_sqlite *sqlite, struct part_job *job,
                     enum part_job_outcome outcome);
void part_sqlite_end_refused(struct part_sqlite *sqlite, struct part_job *job,
                             enum part_job_outcome outcome, const struct part_refusal *refusal);

#endif
