/* The agent from within: what its files share. Everything runs on the loop thread, except
 * recovery's reading, which has the daemon for itself until it is done. */
#ifndef ASSENT_PARTICIPANT_DAEMON_H
#define ASSENT_PARTICIPANT_DAEMON_H

#include "api/client.h"
#include "api/codec.h"
#include "api/loop.h"
#include "api/metrics.h"
#include "api/server.h"
#include "base/command.h"
#include "base/table.h"
#include "base/timers.h"
#include "participant/failpoints.h"
#include "participant/part_record.h"
#include "participant/resource.h"
#include "wal/wal.h"

enum { PART_EXIT_HALT = TPC_EXIT_HALT };

struct part_settings {
    char *name, *data, *listen, *admin_listen;
    struct tpc_common_settings common;
    bool foreign_keys, allow_unsafe_settings, adopt;
    uint64_t retention_ms;     /* of ended branches in the log */
    uint64_t retained_max;     /* most of them in the log */
    uint64_t remember_ms;      /* of ended branches with their answers in memory */
    uint64_t remembered_max;   /* most of them in memory */
    uint64_t branches_max;     /* in flight */
    uint64_t messages_max;     /* in a request */
    uint64_t statements_max;   /* in a branch */
    uint64_t connections_max;  /* */
    uint64_t body_max_bytes;   /* */
    uint64_t result_max_bytes; /* of one branch */
    uint64_t waiting_max;      /* branches that wait for locks */
    uint64_t sessions;         /* at a database server; 0: by the number of cores */
    uint64_t open_max;         /* interactive branches there, each with a session of its own */
    uint64_t lock_timeout_ms;  /* there */
    uint64_t queue_max_bytes;  /* of the log */
    uint64_t ask_first_ms;     /* in doubt: first inquiry, then with back-off … */
    uint64_t ask_max_ms;       /* … up to this */
    uint64_t drain_ms;
    uint64_t timeout_max_ms;
};

struct part_daemon;
struct branch;
struct group;

/* ---- Who waits ---- */

/* One message of a group, until its line is written. */
struct reply {
    struct group *group;
    enum api_op op;
    bool elsewhere;     /* the message names another log */
    struct reply *next; /* waits for the same branch */
};

/* An operator's request, until his outcome is done. */
struct operator_wait {
    struct api_request *request;
    struct operator_wait *next;
};

/* ---- A branch ---- */

/* What a branch needs while something is under way; ended ones do without. */
struct work {
    struct branch *branch;
    struct part_job job;
    struct wal_append append;
    struct tpc_timer timer;
    struct tpc_buf payload; /* for the prepared record; at start for restore */
    unsigned tries;         /* of the timer, since the state began */
    bool job_busy, force_busy;
    bool keeping;      /* the record that proves its commit is on its way to the disk … */
    bool commit_waits; /* … and the commit waits for it */
    bool asking;       /* in an inquiry, or queued for one */
    bool proven;       /* at start: the database has the proof */
    bool overdue;      /* interactive: nobody went on, and the coordinator was asked about it */
};

/* Who decided by hand, and why. */
struct by_hand {
    char *operator_name, *reason;
    uint64_t at_us;
};

struct branch {
    struct tpc_id gtid;
    struct part_branch fsm;
    bool ended;   /* in daemon->ended, else in daemon->live */
    bool logged;  /* records are in the log */
    bool expires; /* in its coordinator's expiries */
    bool adopted; /* found at the server at start; its record is to be written again */
    struct tpc_id coordinator_id;
    uint64_t began_us; /* wall clock: the transaction's start, its age for wait-die */
    uint64_t at_us;    /* wall clock: when it came, or was prepared; after the end: when it ended */
    uint64_t ended_ms; /* monotonic */
    struct part_daemon *daemon;
    struct work *work; /* NULL when nothing is under way */
    uint64_t executed; /* steps that are done, of an interactive branch */
    uint64_t idle_ms;  /* how long it waits for the next */
    struct reply *steps, *votes, *acks;
    struct operator_wait *operators;
    char *results; /* for a repeated prepare */
    size_t results_size;
    struct api_cause cause; /* of a refusal */
    char *last_error;
    struct by_hand by_hand;
    struct branch *prev, *next;
    UT_hash_handle hh;
};

/* A branch that ended, until its records are erased. */
struct expiry {
    struct tpc_id gtid;
    uint64_t at_ms; /* monotonic: when it ended, or this agent started */
};

/* ---- A coordinator ---- */

struct coordinator {
    struct api_coordinator self;    /* the newest that was seen */
    struct tpc_id record;           /* the key of its record in the log; zero: none */
    struct tpc_id forgotten_logged; /* forgotten_below in that record */
    struct expiry *expiries;        /* a ring, the oldest first */
    size_t expiry_first, expiry_count, expiry_capacity;
    struct identity_force *forcing; /* the newest record under way, or NULL */
    struct api_call call;           /* inquiry */
    bool calling;
    char call_url[300];
    struct tpc_id *asked; /* in the call */
    size_t asked_count;
    struct tpc_id *ask; /* queued */
    size_t ask_count, ask_capacity;
    struct part_daemon *daemon;
    UT_hash_handle hh;
};

struct part_stats {
    uint64_t messages[API_OP_COUNT];
    uint64_t votes[API_VOTE_COMMITTED + 1];
    uint64_t refused; /* for limits */
    uint64_t errors;  /* answers with an error */
    uint64_t inquiries, inquiries_failed;
    uint64_t decisions_told;
    uint64_t conflicts_applied; /* prepared changes that no longer applied */
    uint64_t erased;
};

struct part_daemon {
    const struct part_settings *settings;
    struct api_loop *loop;
    struct tpc_timers timers;
    struct wal_store *store;
    struct wal_log *log;
    struct part_resource *resource;
    struct api_server *server, *admin;
    struct api_client *client;
    struct tpc_id participant_id;

    struct branch *branches;     /* by gtid */
    struct branch *live, *ended; /* lists; ended: the oldest first */
    size_t live_count, ended_count;
    size_t jobs_busy, forces_busy;
    size_t settling; /* of these jobs: what was left prepared at a server (compare.c) */
    size_t groups;   /* requests with messages that are not all answered */
    struct coordinator *coordinators; /* by id */

    size_t expiry_count; /* of all coordinators */
    struct tpc_timer retention;
    struct tpc_timer compare;
    bool listing; /* the server is asked what it holds: what ends now may be in the answer */
    /* Proofs to be dropped once the erasure of their records is durable. */
    struct tpc_id *unproved;
    size_t unproved_count;
    uint64_t unproved_after; /* when this many forces are done */
    uint64_t forces_begun, forces_done;

    struct tpc_buf line;
    struct part_stats stats;
    bool recovered, draining, failed;
    uint64_t drain_until_ms;
};

/* Nobody knows what is durable, or the daemon cannot go on: say so, answer nobody, exit. The next
 * start reads what is there. */
_Noreturn void part_halt(const char *why, const struct tpc_err *err);
/* From any thread: the log or the database has something for the loop. */
void part_wake(void *arg);
int part_daemon_run(const struct part_settings *settings, const char *url); /* the exit status */
/* The parts of that, around the loop. @daemon is zeroed, and the caller's; @settings are borrowed
 * until the stop. When the loop is to run, recovery is under way on a thread. Its failure stops the
 * loop and sets daemon->failed. After a failed start, too, it is to be stopped. */
TPC_NODISCARD enum tpc_rc part_daemon_start(struct part_daemon *daemon,
                                            const struct part_settings *settings, const char *url,
                                            struct tpc_err *reterr);
void part_daemon_stop(struct part_daemon *daemon); /* once the loop has stopped */
/* Memory that must be there: halts when it is not. */
void *part_alloc(size_t size);
char *part_strdup(const char *text);

/* ---- branch.c: the table ---- */
struct branch *part_table_find(const struct part_daemon *daemon, const struct tpc_id *gtid);
struct branch *part_table_add(struct part_daemon *daemon, const struct tpc_id *gtid);
struct work *part_branch_work(struct branch *branch); /* never NULL */
/* Undo an interactive branch that waits for its next step. */
void part_branch_give_up(struct branch *branch, enum api_cause_code code, const char *why);
void part_branch_free(struct branch *branch); /* nobody waits, nothing is under way */
void part_branch_set_error(struct branch *branch, const char *text); /* NULL: none */
/* Move to the list that @ended says. */
void part_branch_mark(struct branch *branch, bool ended);
/* Drop what an ended branch no longer needs. */
void part_branch_trim(struct branch *branch);

/* ---- driver.c: one event, and what follows from it ---- */
/* TPC_EPROTO: not allowed in this state, nothing happened. @branch may be gone afterwards. */
TPC_NODISCARD enum tpc_rc part_event(struct branch *branch, struct part_event event);
/* The same for events that only a bug makes impossible. */
void part_event_sure(struct branch *branch, enum part_event_type type);

/* ---- effects.c: the log and the database ---- */
void part_force(struct branch *branch, enum wal_kind kind);
void part_log(struct branch *branch, enum wal_kind kind);
/* The record of @kind in @out. */
void part_encode(struct branch *branch, enum wal_kind kind, struct tpc_buf *out);
void part_job_start(struct branch *branch, enum part_job_kind kind);
void part_job_cancel(struct branch *branch);

/* ---- keep.c: records that no vote waits for, but a commit ---- */

/* What a server holds of the branch, and by what the commit is proved: forced, but nobody waits. */
void part_keep(struct branch *branch);
/* The same of a branch that is committed in one phase; the job goes on when it is durable. */
void part_keep_attempt(struct part_job *job);

/* ---- messages.c ---- */
/* Act on all messages of @take_envelope; a line for each goes into @stream, which is ended. */
void part_messages(struct part_daemon *daemon, struct api_envelope *take_envelope,
                   struct api_stream *stream);
/* The group's coordinator is recorded: go on. */
void part_group_run(struct group *group);
/* Write the answer to one message, and give it up. */
void part_reply_step(struct branch *branch, struct reply *reply, bool done);
void part_reply_vote(struct branch *branch, struct reply *reply, enum api_vote vote);
void part_reply_state(struct branch *branch, struct reply *reply, enum api_branch_state state);

/* ---- coordinators.c: who has spoken to us ---- */
enum part_seen { PART_SEEN, PART_SEEN_LATER, PART_SEEN_SET_BACK };
/* Compare with what was seen before. PART_SEEN_LATER: @group is run once that is recorded. */
enum part_seen part_coordinator_see(struct part_daemon *daemon, const struct api_coordinator *who,
                                    struct group *group);
struct coordinator *part_coordinator_find(const struct part_daemon *daemon,
                                          const struct tpc_id *id);
struct coordinator *part_coordinator_get(struct part_daemon *daemon, const struct tpc_id *id);
/* It has said, in @generation, how far it has forgotten. */
void part_coordinator_forgot(struct coordinator *coordinator, uint64_t generation,
                             const struct tpc_id *below);
/* Nothing but late messages will come about this transaction, and nobody waits for an answer. */
bool part_coordinator_is_over(const struct coordinator *coordinator, const struct tpc_id *gtid);
/* Have it in the log how far it has forgotten, before what comes after in the log. */
void part_coordinator_log_forgotten(struct coordinator *coordinator);
/* Recovery: what the log says. */
void part_coordinator_load(struct part_daemon *daemon,
                           const struct part_coordinator_record *record);
void part_coordinators_free(struct part_daemon *daemon);

/* ---- inquiry.c ---- */
void part_ask(struct branch *branch);               /* in the next inquiry */
void part_ask_all(struct coordinator *coordinator); /* all that are in doubt, now */
void part_inquiries_send(struct part_daemon *daemon);
uint64_t part_ask_delay_ms(const struct part_daemon *daemon, unsigned tries);

/* ---- retention.c ---- */
void part_retention_start(struct part_daemon *daemon);
void part_retain(struct branch *branch); /* it has ended */
/* Ended branches that are kept for longer than the retention time, for want of a coordinator that
 * has forgotten them. */
size_t part_retention_overdue(const struct part_daemon *daemon);
void part_retention_forced(struct part_daemon *daemon); /* a force is done */

/* The log has a record of it that is no branch's state; it goes when its time is over. */
void part_retain_unknown(struct part_daemon *daemon, const struct tpc_id *coordinator_id,
                         const struct tpc_id *gtid);

/* ---- compare.c: what the server holds, and what we know ---- */
/* A branch that is unknown here: it is in doubt. At start (the daemon is not recovered) the caller
 * writes its record and lets it ask. */
TPC_NODISCARD enum tpc_rc part_adopt(struct part_daemon *daemon, const struct part_found *found,
                                     struct tpc_err *reterr);
void part_compare_start(struct part_daemon *daemon);
/* Sooner than it would be: the server may have brought something back. @arg: the daemon. */
void part_compare_soon(void *arg);

/* ---- recovery.c ---- */
/* Read the log and compare it with the database, on another thread; then @done on the loop. */
void part_recovery_start(struct part_daemon *daemon, void (*done)(struct part_daemon *daemon));

/* ---- operator.c ---- */
void part_resolve(void *arg, struct api_request *request, const char *const args[]);
void part_forget(void *arg, struct api_request *request, const char *const args[]);
void part_operators_answer(struct branch *branch);

/* ---- view.c, lookup.c, metrics.c, endpoints.c ---- */
void part_branch_write(struct tpc_buf *out, const struct branch *branch);
struct branch *part_branch_of_request(struct part_daemon *daemon, struct api_request *request,
                                      const char *text);
void part_list(void *arg, struct api_request *request, const char *const args[]);
void part_show(void *arg, struct api_request *request, const char *const args[]);
void part_lookup(void *arg, struct api_request *request, const char *const args[]);
void part_doctor(void *arg, struct api_request *request, const char *const args[]);
void part_metrics(void *arg, struct api_request *request, const char *const args[]);
/* docs/openapi-participant.json, embedded by the build */
extern const unsigned char part_openapi[];
extern const size_t part_openapi_size;
void part_handle(void *arg, struct api_request *request);
void part_handle_admin(void *arg, struct api_request *request);
void part_unavailable(struct api_request *request, const char *why);

#endif
