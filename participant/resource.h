/* A resource wraps one existing database. It never decides anything; it does work, keeps promises
 * and proves outcomes.
 *
 * Jobs are asynchronous: submitted on the loop thread, done on the resource's own thread (or by a
 * non-blocking client library), and handed back by `poll` on the loop thread. Of one branch at most
 * one job is under way. */
#ifndef ASSENT_PARTICIPANT_RESOURCE_H
#define ASSENT_PARTICIPANT_RESOURCE_H

#include "api/codec.h"
#include "base/failpoint.h"

#include <stdatomic.h>

enum part_job_kind {
    PART_JOB_PREPARE, /* do the statements; be able to redo or undo them whatever happens */
    PART_JOB_COMMIT,  /* make a prepared branch permanent, exactly once, with proof */
    PART_JOB_ABORT,   /* undo a prepared branch and let its locks go */
    PART_JOB_PROVE,   /* is there proof that this branch was committed? */
    PART_JOB_EXECUTE, /* interactive: do the statements after those of earlier steps, and keep what
                         was done, with its locks, for the next step or PREPARE or ABORT */
    PART_JOB_LIST,    /* what does the server hold prepared under our name? */
    PART_JOB_EXAMINE, /* what does it hold prepared, whose, and whom does it block? */
};

enum part_job_outcome {
    /* PREPARE */
    PART_JOB_READY, /* payload is set; held_by_database as it is */
    PART_JOB_READ_ONLY,
    PART_JOB_REFUSED,   /* also EXECUTE: cause is set; nothing is left of the work, all steps */
    PART_JOB_COMMITTED, /* one_phase, or COMMIT: durable, with proof */
    PART_JOB_PROVEN,    /* EXECUTE, PREPARE or PROVE: this gtid was committed before. ABORT: by
                           somebody else; cause.detail says so */
    /* COMMIT, ABORT, PROVE */
    PART_JOB_RETRY, /* not now; cause.detail says why. Nothing changed */
    /* COMMIT */
    PART_JOB_CONFLICT, /* the prepared change no longer applies; cause.detail says why */
    /* ABORT, PROVE */
    PART_JOB_ABORTED,
    PART_JOB_NO_PROOF,
    PART_JOB_EXECUTED, /* EXECUTE: results are set */
    PART_JOB_LISTED,   /* LIST, EXAMINE: found or results (a JSON array) are set */
};

/* A branch that a server holds prepared under our name, as the server tells it. */
struct part_found {
    struct tpc_id gtid, coordinator_id;
    uint64_t at_us; /* wall clock: when it was prepared */
    size_t payload_size;
    uint8_t payload[32]; /* for the prepared record, as a job's */
};

/* The submitter owns a job and keeps it alive until done. */
struct part_job {
    enum part_job_kind kind;
    struct tpc_id gtid;
    struct tpc_id coordinator_id;
    /* EXECUTE, PREPARE: in */
    uint64_t executed; /* steps done before; PREPARE: more than none: there are no statements, the
                          work is that of the steps. REFUSED when they are not known (any more) */
    uint64_t began_us; /* age for wait-die; ties by gtid: the smaller is older */
    uint64_t deadline_ms; /* tpc_clock_mono_ms; give up (cause timeout) when it has passed */
    enum api_isolation isolation;
    bool one_phase;
    struct api_statements statements; /* taken: freed by the resource */
    atomic_bool cancelled;            /* set by part_resource.cancel */
    /* out */
    enum part_job_outcome outcome;
    struct api_cause cause; /* the submitter frees: api_cause_done */
    struct tpc_buf results; /* JSON array; the submitter frees */
    struct tpc_buf
        payload; /* READY: what `restore` needs after a crash; goes into the prepared record */
    bool held_by_database;    /* READY: the database holds it durably; the record may be lazy */
    struct part_found *found; /* LISTED; the submitter frees */
    size_t found_count;
    /* PREPARE with one_phase, at a server: it is about to be committed, and @payload has what
     * proves that afterwards. Make it durable in the log, then call `proceed`. On the loop thread.
     */
    void (*record)(struct part_job *job);
    /* On the loop thread, from poll. The job may be freed or reused. */
    void (*done)(struct part_job *job);
    void *user;
    /* The resource's */
    struct part_job *next;
    uint32_t slice_ms;      /* how long it may hold up others before it is begun anew */
    uint64_t not_before_ms; /* when it may be: others have their turn until then */
    bool writes;            /* it was tried as a branch of queries, and is none */
    void *session;          /* of the server, that works on it */
};

struct part_resource;

struct part_resource_stats {
    uint64_t prepares, commits, commit_groups, aborts, conflicts, waits, one_phase;
    uint64_t locks_held, branches_held, waiting;
};

struct part_resource_ops {
    void (*submit)(struct part_resource *resource, struct part_job *job);
    /* Make an EXECUTE or PREPARE job end soon, refused. It still ends through done. */
    void (*cancel)(struct part_resource *resource, struct part_job *job);
    /* Before start: hand back a branch that is prepared by the log. Its locks are held from here.
     * TPC_ECORRUPT when the payload makes no sense. At a server also later, on the loop thread, for
     * what a PART_JOB_LIST has found. */
    enum tpc_rc (*restore)(struct part_resource *resource, const struct tpc_id *gtid,
                           uint64_t began_us, const void *payload, size_t size,
                           struct tpc_err *reterr);
    /* Before start, blocking: is there proof of this branch's commit? */
    enum tpc_rc (*prove)(struct part_resource *resource, const struct tpc_id *gtid,
                         bool *ret_proven, struct tpc_err *reterr);
    /* After all restores, the log being whole: take jobs from now on. The database may note the
     * start. */
    enum tpc_rc (*start)(struct part_resource *resource, struct tpc_err *reterr);
    /* NULL where the database itself holds every proof; else before start, of each branch in the
     * log: the payload of its record (NULL: it has none), and whether it was committed.
     * TPC_ECORRUPT when the payload makes no sense. */
    enum tpc_rc (*learn)(struct part_resource *resource, const struct tpc_id *gtid,
                         const void *payload, size_t size, bool committed, struct tpc_err *reterr);
    /* NULL where nothing can be there that the log does not know; else before start, blocking, what
     * PART_JOB_LIST tells. The caller frees. */
    enum tpc_rc (*find)(struct part_resource *resource, struct part_found **ret_found,
                        size_t *ret_count, struct tpc_err *reterr);
    /* NULL where the log knows of every proof that the database holds; else before start, blocking:
     * all of them. The log may not know of a branch whose lazy records were lost. */
    enum tpc_rc (*applied)(struct part_resource *resource,
                           void (*each)(void *arg, const struct tpc_id *gtid,
                                        const struct tpc_id *coordinator_id),
                           void *arg, struct tpc_err *reterr);
    /* What `record` of a job asked for is durable. */
    void (*proceed)(struct part_resource *resource, struct part_job *job);
    void (*poll)(struct part_resource *resource); /* deliver done jobs; loop thread */
    void (*stats)(struct part_resource *resource, struct part_resource_stats *out);
    /* Forget the proofs of these branches (their coordinator never asks for them again). */
    void (*forget)(struct part_resource *resource, const struct tpc_id *gtids, size_t count);
    void (*close)(struct part_resource *resource); /* what is queued ends refused; frees */
};

struct part_resource {
    const struct part_resource_ops *ops;
};

struct part_resource_options {
    const char *url;              /* "sqlite:PATH", "postgresql://…", "mariadb://…" */
    struct tpc_id participant_id; /* of our log */
    uint64_t generation;          /* of our log */
    bool foreign_keys;            /* default true */
    bool allow_unsafe_settings;
    bool adopt;              /* take over a file that another participant id has wrapped */
    uint64_t result_max;     /* bytes of results a branch, default 4 MiB */
    uint64_t waiting_max;    /* branches waiting for locks, default 10000 */
    void (*wake)(void *arg); /* from any thread: poll has work */
    void *wake_arg;
    /* Servers: */
    void (*relist)(void *arg); /* what the server holds is to be listed anew; may be NULL */
    void *relist_arg;
    struct api_loop *loop;     /* watches their sockets, from start on */
    struct tpc_timers *timers; /* of the loop thread */
    const char *name;          /* the agent's, for the server's lists of its sessions */
    uint64_t sessions;         /* most; 0: six a core, eight at MariaDB */
    uint64_t open_max;         /* beside them, for interactive branches; 0: 32 */
    uint64_t lock_timeout_ms;  /* how long a statement waits for a lock before it is a conflict */
    struct {
        struct tpc_failpoint *capture;   /* before a branch's statements run; error: refused */
        struct tpc_failpoint *captured;  /* after they ran, before the vote */
        struct tpc_failpoint *apply;     /* before a group of commits is applied; error: retry */
        struct tpc_failpoint *commit;    /* applied, before COMMIT; error: retry */
        struct tpc_failpoint *committed; /* after COMMIT, nobody told */
        struct tpc_failpoint *undo;      /* before a branch is undone */
        struct tpc_failpoint *prove;     /* before proof is looked up */
        struct tpc_failpoint *restore;   /* while locks are rebuilt */
        /* Servers; error: as if the session broke. */
        struct tpc_failpoint *connect;   /* before a session is opened */
        struct tpc_failpoint *execute;   /* before a branch's statements are sent */
        struct tpc_failpoint *prepared;  /* the server has prepared it, before the vote */
        struct tpc_failpoint *finish;    /* one-phase: recorded, before the commit is sent */
        struct tpc_failpoint *finished;  /* one-phase: committed, nobody told */
        struct tpc_failpoint *decide;    /* before a prepared branch is committed */
        struct tpc_failpoint *decided;   /* committed, nobody told */
        struct tpc_failpoint *roll_back; /* before a prepared branch is rolled back */
        struct tpc_failpoint *ask;       /* before the server is asked for proof */
        struct tpc_failpoint *list;      /* before it is asked what it holds */
    } failpoints;
};

/* Open by the scheme of options->url, with a preflight that names the setting and the command that
 * mends it. TPC_EINVAL: unknown scheme; TPC_ENOTFOUND, TPC_EIO, TPC_ECORRUPT (no database), …. */
TPC_NODISCARD enum tpc_rc part_resource_open(const struct part_resource_options *options,
                                             struct part_resource **ret_resource,
                                             struct tpc_err *reterr);
/* How many sessions to have at a server: @wanted, or for 0 @a_core for each core of this machine,
 * but half of the @connections that it allows at most, for it has others to serve. 2 to 1000. */
size_t part_session_count(uint64_t wanted, uint64_t a_core, uint64_t connections);
TPC_NODISCARD enum tpc_rc part_pg_open(const struct part_resource_options *options,
                                       struct part_resource **ret_resource, struct tpc_err *reterr);
TPC_NODISCARD enum tpc_rc part_maria_open(const struct part_resource_options *options,
                                          struct part_resource **ret_resource,
                                          struct tpc_err *reterr);
TPC_NODISCARD enum tpc_rc part_sqlite_open(const struct part_resource_options *options,
                                           struct part_resource **ret_resource,
                                           struct tpc_err *reterr);

#endif
