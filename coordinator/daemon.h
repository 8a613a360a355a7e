/* What the parts of the coordinator daemon share. One loop thread owns all of it. */
#ifndef ASSENT_COORDINATOR_DAEMON_H
#define ASSENT_COORDINATOR_DAEMON_H

#include "api/client.h"
#include "api/codec.h"
#include "api/loop.h"
#include "api/metrics.h"
#include "api/server.h"
#include "base/command.h"
#include "base/config.h"
#include "base/table.h"
#include "base/timers.h"
#include "coordinator/coord_fsm.h"
#include "coordinator/coord_record.h"
#include "coordinator/failpoints.h"
#include "wal/wal.h"

struct coord_settings {
    char *data;
    char *listen;
    char *admin_listen;
    char *advertise;
    struct tpc_list participants;
    struct tpc_common_settings common;
    uint64_t timeout_ms, timeout_max_ms;
    uint64_t body_max_bytes, branches_max, statements_max;
    uint64_t transactions_max; /* in flight */
    uint64_t open_max;         /* interactive ones that are open */
    uint64_t connections_max;
    uint64_t waiters_max; /* requests that wait for a transaction */
    uint64_t participants_max;
    uint64_t attempts_max;
    uint64_t batch_max;       /* messages in one request to a participant */
    uint64_t lanes_max;       /* requests under way to one participant, of each sort */
    uint64_t queue_max_bytes; /* of records waiting for the log */
    uint64_t retention_ms, retained_max, keys_max;
    uint64_t results_max_bytes; /* kept for replays, in all */
    uint64_t drain_ms;
};

struct coord_daemon;
struct coord_past;
struct coord_xact;
struct coord_member;

/* ---- Participants (registry.c) and the links to them (link.c) ---- */

enum coord_lane_kind {
    COORD_LANE_DECISION,
    COORD_LANE_HOLDER, /* what goes on with an interactive branch that may hold locks */
    COORD_LANE_PREPARE,
    COORD_LANE_COUNT
};

/* A message that waits for its link. Statements are looked up when it leaves: what was aborted in
 * the meantime is not sent. */
struct coord_msg {
    enum api_op op;
    struct tpc_id gtid;
    uint8_t branch;
    bool one_phase;
    bool again; /* a repetition */
    struct coord_msg *next;
};

struct coord_lane {
    struct coord_member *member;
    enum coord_lane_kind kind;
    struct coord_msg *head, **tail;
    size_t queued;
    size_t calls;         /* under way */
    size_t unanswered;    /* messages in them */
    uint64_t answered;    /* since the start */
    uint64_t answered_ms; /* when the last one was */
    uint64_t youngest_ms; /* when the last one left */
    size_t prune_at;      /* queued */
    struct tpc_timer timer;
    bool dirty; /* it may be that something can leave */
    struct coord_lane *dirty_next;
};

/* Calls under way borrow these, so that those of earlier registrations live as long as the member.
 */
struct coord_urls {
    char *base, *messages, *ready;
    struct coord_urls *older;
};

/* How many prepares a participant that is behind had answered when (admission.c). */
enum { COORD_PACE_MARKS = 10 };
struct coord_pace {
    size_t count; /* of marks, the oldest first; 0: it is not behind */
    struct coord_pace_mark {
        uint64_t at_ms; /* monotonic */
        uint64_t answered;
    } marks[COORD_PACE_MARKS];
};

struct coord_member {
    struct coord_daemon *daemon;
    char *name;
    struct coord_urls *urls; /* NULL: known from the log alone */
    bool registered;
    bool up, ever_heard;
    struct tpc_id participant_id; /* of its last answer; zero: none yet */
    uint64_t heard_ms;            /* monotonic */
    uint64_t retries, requests;
    char last_error[256];
    size_t users; /* branches of transactions in memory that have not ended */
    struct coord_lane lanes[COORD_LANE_COUNT];
    struct coord_pace pace;
    struct api_call probe;
    bool probing;
    bool appending; /* a change of its registration is being forced */
    UT_hash_handle hh;
};

/* ---- Transactions ---- */

struct coord_xbranch {
    struct coord_xact *xact;
    struct coord_member *member;
    uint8_t index;
    bool sent;         /* its prepare, or a step of its work, has left in this attempt */
    uint64_t executed; /* steps that are done, of an interactive transaction */
    uint32_t backoff_ms;
    struct tpc_timer retry;
    char *statements;
    size_t statements_size;
    char *results;
    size_t results_size;
};

struct coord_waiter {
    struct coord_xact *xact;
    struct api_request *request;
    enum { COORD_WAIT_SUBMIT, COORD_WAIT_COMMIT, COORD_WAIT_GET, COORD_WAIT_ABORT } kind;
    enum api_ack ack;
    bool replayed;
    bool has_wait; /* the client said how long it waits (Prefer) */
    struct tpc_timer timer;
    struct coord_waiter *prev, *next;
};

struct coord_key {
    char *text;
    struct tpc_id digest;
    struct coord_xact *xact;
    UT_hash_handle hh;
};

/* Every transaction is in one of these lists. */
enum coord_kept {
    COORD_KEPT_UNFINISHED,
    COORD_KEPT_PLAIN,  /* ended, by time */
    COORD_KEPT_KEYED,  /* ended, by time: its key must be known for the retention time */
    COORD_KEPT_HAZARD, /* ended: shown until it is forgotten by name */
    COORD_KEPT_COUNT
};

/* A transaction as its client knows it: `id` stays, `gtid` is that of the present attempt. */
struct coord_xact {
    struct coord_daemon *daemon;
    struct tpc_id id, gtid;
    struct coord_txn *fsm;
    unsigned branch_count;
    struct coord_xbranch *branches;
    char *label;
    struct coord_key *key;
    uint64_t began_us;      /* wall clock, first attempt */
    uint64_t began_mono_us; /* 0: recovered */
    uint64_t took_us;
    uint64_t ended_ms;    /* monotonic */
    uint64_t deadline_ms; /* monotonic */
    uint64_t timeout_ms;
    uint32_t attempts;
    enum api_ack ack;
    enum api_isolation isolation;
    bool interactive;
    struct api_request *step; /* waits for the results of the step that is under way, or NULL */
    unsigned step_branch;     /* whose that is */
    bool waiting_again;       /* refused for conflict; the next attempt is due */
    bool last_attempt;        /* its client wants it aborted: there is no next one */
    bool ended;
    bool logged;       /* has records in the log */
    bool end_unlogged; /* it has ended, and the log had no room for the record */
    bool recovered;
    struct api_cause cause;
    int cause_branch;       /* -1: none */
    struct tpc_timer timer; /* time-out, then grace, or the next attempt */
    struct coord_waiter *waiters;
    struct wal_append append;
    bool forcing;
    size_t results_kept;
    struct coord_xact *prev, *next; /* all, by id; daemon->xacts is the oldest */
    enum coord_kept kept;           /* in which list of the daemon */
    struct coord_xact *kept_prev, *kept_next;
    struct coord_xact *results_prev, *results_next; /* ended, with results, by time */
    UT_hash_handle hh_id, hh_gtid;
};

struct coord_stats {
    uint64_t committed, aborted, hazards;
    uint64_t attempts_again;
    uint64_t messages[API_OP_COUNT];
    uint64_t requests;
    uint64_t refused;
    uint64_t log_full; /* records that had to wait for room */
    uint64_t aborts_by_cause[API_CAUSE_COUNT];
    struct api_histogram duration;
};

/* Transactions that have ended, but not yet durably (watermark.c). */
struct coord_ends {
    bool any;
    struct tpc_id lowest;   /* of their gtids */
    uint64_t durable_after; /* when as many forces are done */
    uint64_t since_ms;
};

struct coord_daemon {
    const struct coord_settings *settings;
    struct api_loop *loop;
    struct tpc_timers timers;
    uint64_t now_ms; /* of this loop turn */
    struct api_server *server, *admin;
    struct api_client *client;
    struct wal_store *store;
    struct wal_log *log;
    struct api_coordinator self;
    struct tpc_id_gen ids;
    enum tpc_rc start_rc; /* of the start; the recovery's until it is over */
    struct tpc_err start_err;
    bool recovered; /* until then nothing below may be touched but by the recovery */
    bool draining, giving_up, stopping;
    uint64_t drain_until_ms;
    uint64_t started_ms;

    struct coord_member *members; /* hash by name */
    struct coord_lane *dirty_lanes[COORD_LANE_COUNT];
    struct coord_xact *by_id, *by_gtid; /* hashes */
    struct coord_xact *xacts;           /* list by id, oldest first */
    struct coord_past *past;            /* NULL: none */
    struct coord_xact *kept[COORD_KEPT_COUNT];
    size_t kept_count[COORD_KEPT_COUNT];
    size_t waiters;
    size_t open; /* interactive transactions that are */
    size_t results_kept;
    struct coord_xact *results; /* list of the ended ones that still have theirs, oldest first */
    struct coord_key *keys;
    struct tpc_timer retention;
    uint64_t watermark_due_ms;
    struct coord_ends ends[2]; /* [0] waits for its force, [1] gathers meanwhile */
    size_t ends_unlogged;
    uint64_t forces_begun, forces_done;
    struct wal_append flush;
    bool flushing;
    struct tpc_timer probes;
    struct coord_stats stats;
};

#define coord_container(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* daemon.c */
int coord_daemon_run(const struct coord_settings *settings); /* the exit status */
/* The parts of that, around the loop. @daemon is zeroed, and the caller's; @settings are borrowed
 * until the stop. When the loop is to run, recovery is under way on a thread. Its failure stops the
 * loop and stands in daemon->start_rc. After a failed start, too, it is to be stopped. */
TPC_NODISCARD enum tpc_rc coord_daemon_start(struct coord_daemon *daemon,
                                             const struct coord_settings *settings,
                                             struct tpc_err *reterr);
void coord_daemon_stop(struct coord_daemon *daemon); /* once the loop has stopped */
_Noreturn void coord_halt(const char *why, const struct tpc_err *err);
/* A participant knows a later start of this log: it halts, and no later start serves from it. */
_Noreturn void coord_halt_set_back(struct coord_daemon *daemon);

/* recovery.c: read the log into memory; nothing is sent yet. */
TPC_NODISCARD enum tpc_rc coord_recovery_run(struct coord_daemon *daemon, struct tpc_err *reterr);

/* An ended transaction as its record says, in no table and no list; NULL: no memory. */
struct coord_xact *coord_recovery_rebuild(struct coord_daemon *daemon,
                                          const struct coord_record *record);
uint64_t coord_recovery_took_us(const struct coord_record *record);

/* past.c: what had ended when this coordinator started, and nobody has asked for since. */

/* While the log is read: one whose end record is @record. @first_kind: of the first that the log
 * had of it. */
void coord_past_add(struct coord_daemon *daemon, const struct tpc_id *gtid,
                    enum wal_kind first_kind, const void *record, size_t size);
/* The log has been read. TPC_ECORRUPT: a record that cannot follow the end. */
TPC_NODISCARD enum tpc_rc coord_past_seal(struct coord_daemon *daemon, struct tpc_err *reterr);
/* Make one an ended transaction like others; NULL: there is none. */
struct coord_xact *coord_past_wake(struct coord_daemon *daemon, const struct tpc_id *gtid);
/* The same of one that is there, for a look: it goes with coord_xact_free. */
struct coord_xact *coord_past_look(struct coord_daemon *daemon, const struct tpc_id *gtid);
/* The gtid of the newest below @gtid (NULL: of all); NULL: there is none. */
const struct tpc_id *coord_past_below(const struct coord_daemon *daemon, const struct tpc_id *gtid);
size_t coord_past_count(const struct coord_daemon *daemon);
bool coord_past_is_older(const struct coord_daemon *daemon, uint64_t ms);
/* Forget the oldest; false: there is none. */
bool coord_past_drop(struct coord_daemon *daemon, struct tpc_id *ret_gtid);
void coord_past_free(struct coord_daemon *daemon);

/* registry.c */
struct coord_member *coord_member_find(struct coord_daemon *daemon, const char *name, size_t size);
/* Find or make; NULL when memory ran out. A new one is not registered. */
struct coord_member *coord_member_get(struct coord_daemon *daemon, const char *name, size_t size);
TPC_NODISCARD enum tpc_rc coord_member_set(struct coord_member *member, const char *url);
/* Is each of @flags a NAME=URL? */
TPC_NODISCARD enum tpc_rc coord_registry_check(const struct tpc_list *flags,
                                               struct tpc_err *reterr);
TPC_NODISCARD enum tpc_rc coord_registry_flags(struct coord_daemon *daemon, struct tpc_err *reterr);
void coord_member_heard(struct coord_member *member, const struct tpc_id *participant_id);
void coord_member_lost(struct coord_member *member, const char *why);
void coord_registry_start(struct coord_daemon *daemon);
void coord_registry_free(struct coord_daemon *daemon);
void coord_participants_list(void *arg, struct api_request *request, const char *const args[]);
void coord_participants_get(void *arg, struct api_request *request, const char *const args[]);
void coord_participants_put(void *arg, struct api_request *request, const char *const args[]);
void coord_participants_delete(void *arg, struct api_request *request, const char *const args[]);

/* link.c: batches at every hop, never waits to batch. */
void coord_lane_init(struct coord_lane *lane, struct coord_member *member,
                     enum coord_lane_kind kind);
void coord_lane_done(struct coord_lane *lane);
void coord_link_send(struct coord_member *member, enum api_op op, const struct coord_xact *xact,
                     unsigned branch, bool again);
/* Abort a branch of which this coordinator knows nothing any more. */
void coord_link_send_stray_abort(struct coord_member *member, const struct tpc_id *gtid,
                                 bool one_phase);
void coord_link_wake(struct coord_member *member); /* it has an address now */
/* False: there is more to do at once, for a call could not be started. */
bool coord_links_flush(struct coord_daemon *daemon);

/* submit.c: what the headers of a submit or commit ask for. */
enum { COORD_KEY_MAX = 255 };
struct coord_wish {
    char key[COORD_KEY_MAX + 1];
    bool has_key;
    bool async;    /* Prefer: respond-async */
    bool has_wait; /* Prefer: wait=N */
    uint64_t wait_ms;
};
/* False: the headers make no sense, and that was answered. */
bool coord_wish_read(struct api_request *request, struct coord_wish *wish);
/* Answer @request at once, or when @xact has come as far as it waits for; @kind: COORD_WAIT_SUBMIT
 * or COORD_WAIT_COMMIT. */
void coord_wait_or_answer(struct coord_xact *xact, struct api_request *request,
                          const struct coord_wish *wish, int kind, bool replayed);
struct api_codec_limits coord_limits(const struct coord_settings *settings);

/* admission.c: what is begun, and what is refused at once. */

/* False: there is no room for one more transaction, whichever, and that was answered. */
bool coord_has_room(struct coord_daemon *daemon, struct api_request *request, bool has_key);
/* False: @member is too far behind for work that has to be done within @timeout_ms, and that was
 * answered. */
bool coord_member_has_room(struct coord_member *member, struct api_request *request,
                           uint64_t timeout_ms);

/* NULL: there is none of that name, and that was answered, with @field as the culprit. */
struct coord_member *coord_participant_find(struct coord_daemon *daemon,
                                            struct api_request *request, const char *name,
                                            const char *field);

/* interactive.c: transactions whose work comes step by step. */
void coord_interactive_open(struct coord_daemon *daemon, struct api_request *request,
                            struct api_submit *submit, const struct coord_wish *wish);
void coord_interactive_execute(void *arg, struct api_request *request, const char *const args[]);
void coord_interactive_commit(void *arg, struct api_request *request, const char *const args[]);
/* The step's results are here: @answer is borrowed, but for what is taken out of it. */
void coord_interactive_answer(struct coord_xact *xact, unsigned branch, struct api_answer *answer);
/* It is not open any more; answers the step that was under way. */
void coord_interactive_left(struct coord_xact *xact);
/* Abort all that are open: the daemon stops. */
void coord_interactive_give_up(struct coord_daemon *daemon);

/* driver.c: events into the state machine, effects out of it. */
void coord_event(struct coord_xact *xact, const struct coord_event *event, const char *cause);
void coord_event_from(struct coord_xact *xact, enum coord_event_type type, unsigned branch,
                      const struct tpc_id *participant);
void coord_xact_start(struct coord_xact *xact);
/* Between two attempts: there will be no other. */
void coord_xact_give_up(struct coord_xact *xact);

/* Append its end record; lazy. */
void coord_log_end(struct coord_xact *xact);

/* watermark.c: how far this coordinator has forgotten, in self.forgotten_below. */
/* The end record of a transaction with a forced record was handed to the log. */
void coord_watermark_ended(struct coord_daemon *daemon, const struct tpc_id *gtid);
void coord_watermark_forced(struct coord_daemon *daemon); /* in order of daemon->forces_begun */
void coord_watermark_update(struct coord_daemon *daemon);

/* xact.c: the table of transactions. */
struct coord_xact *coord_xact_new(struct coord_daemon *daemon, unsigned branch_count);
/* It begins now: what @submit says of the whole (its label is taken), a new id and gtid. */
void coord_xact_begin(struct coord_xact *xact, struct api_submit *submit);
TPC_NODISCARD enum tpc_rc coord_xact_add(struct coord_xact *xact); /* id and gtid are set */
/* Add a branch to an interactive one that is open; TPC_ENOMEM: nothing changed. */
TPC_NODISCARD enum tpc_rc coord_xact_join(struct coord_xact *xact, struct coord_member *member);
void coord_xact_regtid(struct coord_xact *xact, const struct tpc_id *gtid);
/* By the id its client knows, or the gtid of its last attempt. One that had ended before the start
 * is made whole; NULL: there is none. */
struct coord_xact *coord_xact_find(struct coord_daemon *daemon, const struct tpc_id *id);
struct coord_xact *coord_xact_by_gtid(struct coord_daemon *daemon, const struct tpc_id *gtid);
/* The same, but for those that had ended before the start. */
struct coord_xact *coord_xact_in_memory(struct coord_daemon *daemon, const struct tpc_id *gtid);
void coord_xact_remove(struct coord_xact *xact); /* and free */
void coord_xact_free(struct coord_xact *xact);   /* one that is in no table */
void coord_xact_mark_ended(struct coord_xact *xact);
/* Its hazards have changed: kept for the retention time from now on, or until they are forgotten.
 */
void coord_xact_keep_again(struct coord_xact *xact);
size_t coord_ended_count(const struct coord_daemon *daemon);
/* Drop the oldest results beyond the limit, once they have been told. */
void coord_results_make_room(struct coord_daemon *daemon);
void coord_xact_set_cause(struct coord_xact *xact, int branch, enum api_cause_code code,
                          const char *detail);
TPC_NODISCARD enum tpc_rc coord_key_set(struct coord_xact *xact, const char *text, size_t size,
                                        const struct tpc_id *digest);
void coord_key_drop(struct coord_xact *xact);
void coord_retention_start(struct coord_daemon *daemon);
void coord_record_fill(const struct coord_xact *xact, struct coord_record *out);

/* waiters.c: who waits for a transaction, and what they are told.
 * NULL: as many wait as may, or memory ran out. */
TPC_NODISCARD struct coord_waiter *
coord_waiter_add(struct coord_xact *xact, struct api_request *request, int kind, uint64_t wait_ms);
void coord_waiters_decided(struct coord_xact *xact);
void coord_waiters_unknown(struct coord_xact *xact);
void coord_waiters_ended(struct coord_xact *xact);
/* The daemon stops: tell those who still wait what is known. */
void coord_waiters_leave(struct coord_daemon *daemon);
void coord_answer(struct coord_xact *xact, struct api_request *request, int kind, bool replayed);
/* 409 with the transaction in it. */
void coord_conflict_problem(const struct coord_xact *xact, struct api_request *request,
                            const char *type, const char *title, const char *detail);

/* view.c: a transaction as JSON. */
void coord_view_write(struct tpc_buf *out, const struct coord_xact *xact, bool results);
void coord_view_members(struct tpc_buf *out, const struct coord_xact *xact, bool results);
const char *coord_view_state(const struct coord_xact *xact);

/* The transaction of an id or gtid; NULL: there is none, and that was answered. */
struct coord_xact *coord_find(struct coord_daemon *daemon, struct api_request *request,
                              const char *text);

/* endpoints.c, submit.c, inquiry.c, forget.c */
void coord_forget(void *arg, struct api_request *request, const char *const args[]);
void coord_handle(void *arg, struct api_request *request);
void coord_handle_admin(void *arg, struct api_request *request);
void coord_submit(void *arg, struct api_request *request, const char *const args[]);
void coord_list(void *arg, struct api_request *request, const char *const args[]);
void coord_inquire(void *arg, struct api_request *request, const char *const args[]);
void coord_problem(struct api_request *request, int status, const char *type, const char *title,
                   const char *format, ...) TPC_PRINTF(5, 6);
/* The same about one member, query parameter or header. */
void coord_field_problem(struct api_request *request, int status, const char *type,
                         const char *field, const char *title, const char *format, ...)
    TPC_PRINTF(6, 7);
void coord_refuse(struct api_request *request, const struct api_refusal *refusal);
void coord_unavailable(struct api_request *request, const char *why);

/* docs/openapi.json, embedded by the build */
extern const unsigned char coord_openapi[];
extern const size_t coord_openapi_size;

/* metrics.c */
void coord_metrics(void *arg, struct api_request *request, const char *const args[]);

#endif
