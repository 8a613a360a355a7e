/* A simulated world in one process: the shipped drivers of coordinators and
 * participants over a network, clocks, disks and databases that a seed decides
 * about.
 *
 * The daemons' own objects are linked as they ship. What they reach the world
 * through is not:
 *
 *   api/loop.h           loop.c      turns of each daemon's loop as events of
 * the world api/client.h         net.c       what is sent, lost, repeated,
 * refused, cut api/server.h         server.c    what arrives wal_open, the log
 * disk.c      forces take time, and fail; a crash leaves a prefix
 *   participant/resource.h  resource.c, database.c  rows, locks, wait-die,
 * proof base/log.h           trace.c     the trace, and the hash that two runs
 * of a seed share clock_gettime, getrandom, _exit, malloc …  system.c, memory.c
 * (wrapped by the linker)
 *
 * One world at a time, one thread, no real time and no real randomness: a seed
 * is a run. */
#ifndef ASSENT_TESTS_SIM_H
#define ASSENT_TESTS_SIM_H

#include "base/buf.h"
#include "base/id.h"
#include "base/table.h"

#include <setjmp.h>
#include <stdint.h>

enum {
    SIM_COORDINATORS_MAX = 2,
    SIM_PARTICIPANTS_MAX = 8,
    SIM_NODES_MAX = SIM_COORDINATORS_MAX + SIM_PARTICIPANTS_MAX,
    SIM_OUTSIDE = SIM_NODES_MAX, /* the place of clients and operators on the network */
    SIM_TRANSACTIONS_MAX = 64,
    SIM_ROWS = 4,              /* of each database */
    SIM_BALANCE = 100000,      /* of each row at the beginning */
    SIM_RETENTION_MS = 120000, /* in some seeds: longer than any message or outage lasts */
};

/* ---- Faults (faults.c) ---- */

/* name, chances in a million at a middling rate, what an opportunity is */
#define SIM_FAULT_LIST(X)                                                                          \
    X(LOSE, "lose", 20000)                 /* a message or an answer never arrives */              \
    X(DELAY, "delay", 20000)               /* it arrives seconds later */                          \
    X(REPEAT, "repeat", 20000)             /* a request arrives twice */                           \
    X(REFUSE, "refuse", 10000)             /* no connection */                                     \
    X(BREAK, "break", 10000)               /* broken before anything arrived */                    \
    X(CUT, "cut", 15000)                   /* broken in the middle of the answer */                \
    X(GATEWAY, "gateway", 5000)            /* something in between answers 502 instead */          \
    X(PARTITION, "partition", 60000)       /* now and then: two nodes do not hear each other */    \
    X(PAUSE, "pause", 25000)               /* now and then: a node stands still */                 \
    X(CRASH, "crash", 1500)                /* an event of a node */                                \
    X(CRASH_INSIDE, "crash-inside", 700)   /* an effect of an event */                             \
    X(CRASH_START, "crash-start", 20000)   /* a step of a start */                                 \
    X(POWER, "power", 10000)               /* now and then: several nodes crash at once */         \
    X(STOP, "stop", 10000)                 /* now and then: SIGTERM */                             \
    X(FORCE_FAIL, "force-fail", 1500)      /* an append */                                         \
    X(FORCE_SLOW, "force-slow", 15000)     /* an append */                                         \
    X(CLOCK, "clock", 15000)               /* now and then: a wall clock jumps */                  \
    X(TIMER_LATE, "timer-late", 10000)     /* a timer of a loop */                                 \
    X(DB_RETRY, "db-retry", 15000)         /* the database cannot now */                           \
    X(DB_SLOW, "db-slow", 15000)           /* it takes long */                                     \
    X(DB_FOREIGN, "db-foreign", 30000)     /* another program changes promised rows */             \
    X(SQL, "sql", 15000)                   /* a statement fails */                                 \
    X(CLIENT_ABORT, "client-abort", 60000) /* a client changes its mind */                         \
    X(OPERATOR, "operator", 15000)         /* now and then: an outcome by hand */

enum sim_fault {
#define SIM_FAULT_ENUM(name, text, rate) SIM_##name,
    SIM_FAULT_LIST(SIM_FAULT_ENUM)
#undef SIM_FAULT_ENUM
        SIM_FAULT_COUNT
};
const char *sim_fault_name(enum sim_fault fault);

/* A fault that happened: the @n-th opportunity of its kind at @where. What
 * other faults happen has no influence on that, so that a list of them can be
 * cut down. */
struct sim_fired {
    uint8_t fault;
    uint8_t where;
    uint32_t n;
};
struct sim_faults {
    struct sim_fired *items; /* malloc'ed */
    size_t count, capacity;
};
void sim_faults_add(struct sim_faults *faults, struct sim_fired fired);
/* "crash@1.23,lose@18.4"; @ret_faults is added to. False: it makes no sense. */
bool sim_faults_parse(const char *text, struct sim_faults *ret_faults);
void sim_faults_print(struct tpc_buf *out, const struct sim_faults *faults);

/* Does it happen this time? Never once the world has healed. */
bool sim_fault(enum sim_fault fault, unsigned where);
#define SIM_LINK(from, to) ((from)*16 + (to))

/* ---- What is broken on purpose, to see it found ---- */

#define SIM_BROKEN_LIST(X)                                                                         \
    X(NOTHING, "nothing")                                                                          \
    X(LYING_LOG, "lying-log")     /* says forced, and has not forced */                            \
    X(NO_PROOF, "no-proof")       /* the database keeps no proof of a commit */                    \
    X(NO_RESTORE, "no-restore")   /* the locks of prepared branches are not taken                  \
                                     after a start */                                              \
    X(KEPT_LOCKS, "kept-locks")   /* an abort does not let go of its locks */                      \
    X(LOST_WRITES, "lost-writes") /* a commit is acknowledged, and not there after a crash */      \
    X(DEAF, "deaf")               /* a participant hears nothing even after all faults have ended */

enum sim_broken {
#define SIM_BROKEN_ENUM(name, text) SIM_BROKEN_##name,
    SIM_BROKEN_LIST(SIM_BROKEN_ENUM)
#undef SIM_BROKEN_ENUM
        SIM_BROKEN_COUNT
};

/* ---- A run (world.c, run.c) ---- */

struct sim_config {
    uint64_t seed;
    unsigned participants, transactions; /* 0: by the seed */
    enum sim_broken broken;
    bool trace;
    uint64_t clients;              /* bits: who comes, of those that the seed has */
    const struct sim_faults *only; /* NULL: by the seed; else of those only these */
};

struct sim_result {
    bool failed;
    char why[512];
    uint64_t hash; /* of the trace */
    uint64_t events, simulated_us;
    unsigned participants, transactions;
    uint64_t counts[SIM_FAULT_COUNT];
    uint64_t committed, aborted, unknown, hazards; /* as the clients were told */
    uint64_t again;                                /* attempts after a conflict */
    struct sim_faults faults;                      /* malloc'ed: what happened */
};

/* Never fails but by @ret_result. */
void sim_run(const struct sim_config *config, struct sim_result *ret_result);

struct api_loop;
struct api_server;
struct wal_log;
struct wal_store;
struct sim_database;
struct sim_resource;

struct sim_block;
struct sim_owner {
    struct sim_block *first;
    size_t count;
};

struct sim_durable; /* a gtid of which durable records are known */

struct sim_disk {
    struct wal_store *memory; /* survives */
    struct wal_log *log;      /* of this life */
    uint64_t step_at_us;      /* when the next group is written; UINT64_MAX: none is
                                 queued */
    bool forcing;             /* one of it is forced */
    bool poisoned;            /* an append was made to fail in this life */
    struct sim_durable *durable;
    struct sim_durable *unforced; /* a list, oldest first */
};

struct sim_node {
    unsigned index;
    char name[8]; /* "c1", "p3" */
    bool coordinator;
    struct tpc_id forgotten_below; /* of a coordinator: as its last messages said */
    bool up;
    bool draining;
    uint64_t life; /* changes with every start and every end */
    unsigned starts, crashes;
    uint64_t paused_until_us;
    int64_t wall_offset_us;
    uint64_t random;
    struct sim_owner memory;
    jmp_buf end; /* where a life that ends goes */
    const char *end_why;
    struct api_loop *loop;
    struct api_server *server;
    void *daemon;
    struct sim_disk disk;
    struct sim_database *database; /* of a participant */
    struct sim_resource *resource; /* of a participant's life */
};

struct sim_event {
    uint64_t at_us, number;
    struct sim_node *node; /* in whose life it is; NULL: of the world */
    uint64_t life;
    void (*run)(void *arg);
    void *arg;
    bool take_arg; /* freed afterwards, whether it ran or not */
};

struct sim_world {
    struct sim_config config;
    struct sim_result *result;
    uint64_t now_us;
    struct sim_event *heap;
    size_t heap_count, heap_capacity;
    uint64_t event_number;
    uint64_t random; /* of clients, operators and the weather */
    struct sim_node nodes[SIM_NODES_MAX];
    unsigned coordinators, participants, transactions, node_count;
    uint64_t work_us; /* how long clients come */
    bool healed;
    bool forgets;                           /* what has ended is erased within the run */
    bool hand_seed;                         /* operators and other programs are about */
    bool hands_forgotten;                   /* what they did is not shown any more */
    bool by_hand[SIM_TRANSACTIONS_MAX + 4]; /* they had a hand in this transaction */
    uint64_t blocked_until_us[SIM_NODES_MAX][SIM_NODES_MAX];
    struct sim_node *current; /* whose code runs */
    struct sim_owner memory;
    struct sim_owner *owner;
    jmp_buf failed;
    uint32_t rate[SIM_FAULT_COUNT];
    uint32_t chances[SIM_FAULT_COUNT][256];
};
extern struct sim_world sim;

/* The run ends here: what must not be has been seen. */
_Noreturn void sim_violation(const char *format, ...) TPC_PRINTF(1, 2);

/* Later; see struct sim_event. An event of a node that stands still waits. */
void sim_at(uint64_t at_us, struct sim_node *node, void (*run)(void *arg), void *arg);
void sim_at_take(uint64_t at_us, struct sim_node *node, void (*run)(void *arg), void *take_arg);
/* Run events until @until_us. */
void sim_run_until(uint64_t until_us);
/* Run @run as code of @node; it may end its life. */
void sim_enter(struct sim_node *node, void (*run)(void *arg), void *arg);

uint64_t sim_random(uint64_t *state);
/* low ≤ … < high */
uint64_t sim_between(uint64_t *state, uint64_t low, uint64_t high);
uint64_t sim_hash(uint64_t a, uint64_t b);
/* How long something takes that mostly takes @usual_us. */
uint64_t sim_latency(uint64_t *state, uint64_t usual_us);

/* ---- Memory (memory.c) ---- */

/* What is allocated from now on is @owner's; returns whose it was. */
struct sim_owner *sim_own(struct sim_owner *owner);
void sim_free_all(struct sim_owner *owner);
void *sim_alloc(size_t size); /* zeroed, the world's, whoever's code runs */
char *sim_copy(const void *data, size_t size);

/* ---- System (system.c) ---- */
uint64_t sim_real_us(void); /* for the totals alone */
#define SIM_MONO_START_US UINT64_C(1000000000)

/* ---- Trace (trace.c) ---- */
void sim_trace_start(bool show);
uint64_t sim_trace_hash(void);
void sim_trace(const char *who, const char *format, ...) TPC_PRINTF(2, 3);

/* ---- Nodes (node.c; coord_node.c and part_node.c for what is in them) ---- */
void sim_nodes_init(void);
void sim_node_start(struct sim_node *node);
void sim_node_crash(struct sim_node *node, const char *why, uint64_t down_us);
void sim_node_stop_gracefully(struct sim_node *node);
/* In code of a node: its life may end here. */
void sim_crash_point(enum sim_fault fault);
_Noreturn void sim_end_life(const char *why);

void sim_coord_start(struct sim_node *node);
void sim_coord_stop(struct sim_node *node);
/* Why it is not quiet, or NULL. */
const char *sim_coord_busy(const struct sim_node *node);
/* Does it show a hazard of @gtid at the participant of that name? */
bool sim_coord_shows_hazard(const struct sim_node *node, const struct tpc_id *gtid,
                            const char *participant);
void sim_part_start(struct sim_node *node);
void sim_part_stop(struct sim_node *node);
const char *sim_part_busy(const struct sim_node *node);
/* One of its branches in doubt, by @pick; false: there is none. */
bool sim_part_in_doubt(const struct sim_node *node, uint64_t pick, struct tpc_id *ret_gtid);
/* The first outcome by hand that is shown there, of a participant's branch or
 * an ended transaction. */
bool sim_part_first_hand(const struct sim_node *node, struct tpc_id *ret_gtid);
bool sim_coord_first_hazard(const struct sim_node *node, struct tpc_id *ret_gtid);
bool sim_part_shows_hazard(const struct sim_node *node, const struct tpc_id *gtid);

/* ---- Loop (loop.c) ---- */
void sim_loop_after(struct sim_node *node); /* something ran on it */
bool sim_loop_stopped(const struct sim_node *node);
void sim_loop_signal(struct sim_node *node);

/* ---- Network (net.c, server.c) ---- */
void sim_net_init(void);
/* @node has ended: whoever talks to it finds that out, or not. */
void sim_net_cut(struct sim_node *node);
/* A request of no daemon: of a client, an operator. The call is as
 * api_client_start takes it, and lives until on_done. @repeats: it may arrive
 * twice. */
struct api_call;
void sim_net_start_outside(struct api_call *call, bool repeats);
bool sim_net_busy(void); /* a message is under way that is not about health */

struct sim_request {
    uint64_t exchange;
    const char *method, *target, *headers, *body; /* headers: lines */
    size_t body_size;
};
void sim_server_arrive(struct sim_node *node, const struct sim_request *request);
/* The answer to @exchange, piece by piece; status 0: not the first. */
void sim_net_answer(struct sim_node *from, uint64_t exchange, int status, const char *data,
                    size_t size, bool last);

/* ---- Disk (disk.c) ---- */
void sim_disk_after(struct sim_node *node);
void sim_disk_crash(struct sim_node *node);
/* Is a record of @kind about @gtid durable there? */
bool sim_disk_holds(const struct sim_node *node, const struct tpc_id *gtid, unsigned kind);

/* ---- Databases (database.c) ---- */
void sim_database_init(struct sim_node *node);
/* Times that the work of @txn, or of @gtid, was applied. */
unsigned sim_database_applied(const struct sim_node *node, unsigned txn);
bool sim_database_has(const struct sim_node *node, const struct tpc_id *gtid);
/* By a hand, or by another program in the way. */
bool sim_database_is_by_hand(const struct sim_node *node, const struct tpc_id *gtid);
void sim_database_note_hand(struct sim_node *node, const struct tpc_id *gtid, unsigned txn);
void sim_database_crash(struct sim_node *node);
size_t sim_resource_locks(const struct sim_node *node); /* rows */
/* The transaction whose work is held under @gtid; 0: none. */
unsigned sim_resource_holds(const struct sim_node *node, const struct tpc_id *gtid);
/* Violation when a row is not the sum of what was applied. Returns the sum of
 * all rows. */
int64_t sim_database_check(const struct sim_node *node);
/* Those that were noted as by hand. */
void sim_database_each_hand(const struct sim_node *node,
                            void (*visit)(void *arg, const struct tpc_id *gtid), void *arg);
void sim_database_each(const struct sim_node *node,
                       void (*visit)(void *arg, const struct tpc_id *gtid, unsigned txn),
                       void *arg);

/* ---- Clients; the weather: partitions, pauses, clocks, operators (clients.c,
 * weather.c) ---- */
void sim_weather_start(void);
/* Operators forget all outcomes by hand that are shown. */
void sim_weather_forget_hands(void);
struct sim_txn_branch {
    unsigned participant; /* from 0 */
    bool writes;
};
enum sim_told {
    SIM_TOLD_NOTHING,
    SIM_TOLD_COMMIT,
    SIM_TOLD_ABORT,
    SIM_TOLD_HAZARD,
    SIM_TOLD_UNKNOWN
};
struct sim_told_of {
    enum sim_told told;
    struct tpc_id id; /* zero: was not told */
    bool keyed;
    unsigned branch_count;
    struct sim_txn_branch branches[SIM_PARTICIPANTS_MAX];
};
void sim_clients_start(void);
/* What client @n came to know. */
struct sim_told_of sim_client(unsigned n);
const char *sim_clients_busy(void);
/* One transaction over every row of every participant; violation unless it
 * commits soon. */
void sim_clients_audit(void);

/* ---- Checks (check.c) ---- */
void sim_check_init(void);
/* What leaves a coordinator for a participant, a participant's line, an answer
 * to an inquiry. */
void sim_check_messages(struct sim_node *from, const char *body, size_t size);
void sim_check_line(struct sim_node *from, const char *line, size_t size);
void sim_check_decisions(struct sim_node *from, const char *body, size_t size);
void sim_check_commit(struct sim_node *at, const struct tpc_id *gtid, bool one_phase);
/* Attempt @gtid belongs to transaction @id. */
void sim_check_attempt(const struct tpc_id *gtid, const struct tpc_id *id);
/* Everything has come to rest. */
void sim_check_end(void);

#endif
