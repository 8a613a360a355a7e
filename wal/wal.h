/* The log: an interface of few blocking calls (struct wal_store), its stores, and the log thread
 * that groups forced writes (struct wal_log). Nothing above this header may know which store is
 * in use. */
#ifndef ASSENT_WAL_WAL_H
#define ASSENT_WAL_WAL_H

#include "base/failpoint.h"
#include "base/id.h"
#include "base/rc.h"

#include <stdint.h>

/* Who this log belongs to. Every start makes a new pair (generation + 1, random nonce), durable
 * before wal_open returns. */
struct wal_identity {
    struct tpc_id
        id; /* random, made when the log was created: the coordinator's or participant's */
    uint64_t generation;
    struct tpc_id nonce;
    bool created; /* this start made the log */
};

/* One step of an append: a record to add, or (data NULL) the erasure of all records of some
 * transactions that were added before it. */
struct wal_entry {
    const void *data; /* an encoded record (record.h) */
    size_t size;
    const struct tpc_id *erase;
    size_t erase_count;
};

struct wal_store;

struct wal_store_ops {
    /* Carry out all of @entries in order in one transaction: after a crash all of them are there
     * or none. With @force they, and all that was appended before, are durable on return. After
     * any failure the store is poisoned: every later append fails, since nobody knows what is on
     * disk; only a new start may read it. */
    enum tpc_rc (*append)(struct wal_store *store, const struct wal_entry *entries, size_t count,
                          bool force, struct tpc_err *reterr);
    /* Hand every record in order of appending to @visit, with its sequence number; stops at the
     * first that returns other than TPC_OK and returns that. What @visit is given was checked
     * by its CRC; TPC_ECORRUPT, with the file and what to do, when that fails, or when the pages of
     * a large log, which are walked beside this, are damaged: nothing that was handed over counts
     * then. Not while a log thread runs. */
    enum tpc_rc (*scan)(struct wal_store *store,
                        enum tpc_rc (*visit)(void *arg, uint64_t lsn, const void *data, size_t size,
                                             struct tpc_err *reterr),
                        void *arg, struct tpc_err *reterr);
    /* Delete every record of these transactions, unforced. */
    enum tpc_rc (*erase)(struct wal_store *store, const struct tpc_id *gtids, size_t count,
                         struct tpc_err *reterr);
    /* Somebody outside knows a later start of this log, as @why says: no later start may take it
     * for the newest, however many generations it makes. Durable when it returns true. NULL: the
     * store is nowhere that it could be set back. Any thread. */
    bool (*set_back)(struct wal_store *store, const char *why);
    void (*close)(struct wal_store *store);
};

struct wal_store {
    const struct wal_store_ops *ops;
    struct wal_identity identity;
};

/* Names of the points at which the store can be made to fail; any may be NULL. */
struct wal_failpoints {
    struct tpc_failpoint *append; /* before anything is written; error: the append fails, EIO */
    struct tpc_failpoint
        *force; /* written, not yet durable; error: EIO, and the row may be there */
    struct tpc_failpoint *forced; /* durable, nobody told */
    struct tpc_failpoint *scan;   /* while recovery reads */
};

struct wal_options {
    const char *directory; /* created (0700) when missing */
    const char *role;      /* "coordinator" or "participant": a log of the other role is refused */
    struct wal_failpoints failpoints;
    uint32_t
        checkpoint_pages; /* log.db-wal is copied to log.db when it has as many; default 4000 */
    uint32_t check_beside_pages; /* a log.db of as many is checked beside its scan; default 16384 */
};

/* Open or create the SQLite store in @options->directory: DIR/LOCK (flock: TPC_EBUSY names the
 * holder's pid), DIR/IDENTITY (id and generation, to notice a missing or older log: TPC_EMISSING,
 * TPC_ESETBACK), DIR/log.db (journal_mode=WAL, synchronous=FULL read back, locking_mode=EXCLUSIVE).
 * TPC_ESETBACK also where set_back was called in an earlier life; TPC_ECORRUPT for a damaged one,
 * TPC_ENOTSUP for one of a newer release, TPC_EINVAL for one of the other role. Every text says
 * what to do. Whatever an earlier start's failed force left is forced again before this returns.
 * The pages are checked; those of a large log by the end of the first scan, before which nothing is
 * appended. Call from the thread that starts; afterwards one thread at a time.
 *
 * What is noticed: log.db or IDENTITY deleted or exchanged alone, log.db-wal deleted or emptied
 * alone after a crash, log.db set back to an older copy alone, damaged pages and records.
 * What is not: the whole directory set back to an older copy (participants notice it by the
 * generation), and an end cut off log.db-wal (SQLite takes it for an unfinished write). */
TPC_NODISCARD enum tpc_rc wal_open(const struct wal_options *options, struct wal_store **ret_store,
                                   struct tpc_err *reterr);

/* The in-memory store, for tests and the simulator: no clock, no randomness, so that one history
 * of calls always ends in one state.
 *
 * wal_memory_crash loses what was not forced: of the unforced appends and erasures each survives
 * as a whole or not by the bits of @survivors (bit 0: the oldest; from the 65th on none does);
 * what survived is durable from then on. wal_memory_unforced says how many there are.
 * After a failed append (wal_memory_fail_next) the store is poisoned until the restart; its records
 * are there, durably, or not by @survives.
 * wal_memory_restart gives it a new generation and nonce, as a new start does. */
TPC_NODISCARD enum tpc_rc wal_memory_new(const struct tpc_id *id, struct wal_store **ret_store);
void wal_memory_crash(struct wal_store *store, uint64_t survivors);
void wal_memory_restart(struct wal_store *store);
void wal_memory_fail_next(struct wal_store *store, bool survives);
uint64_t wal_memory_unforced(const struct wal_store *store);
/* An independent copy, for a search that branches. */
TPC_NODISCARD enum tpc_rc wal_memory_clone(const struct wal_store *store,
                                           struct wal_store **ret_store);

/* ---- The log thread ----
 *
 * Takes everything that is queued, appends it as one group with one force, and reports. Unforced
 * entries ride along with the next forced group, or are written by themselves after lazy_ms. Where
 * forced ones come in numbers, the next group waits until it is nearly as large as the last, a
 * quarter of what a transaction takes at most, as far as that is known (wal_log_pace), and
 * gather_ms.
 */

struct wal_log;

/* One append under way. The owner keeps it alive until done is called. */
struct wal_append {
    /* The encoded record, malloc'ed; taken by wal_log_submit, also on failure. NULL, with force:
     * nothing is added, but what was submitted before is durable when done is called. */
    void *data;
    size_t size;
    bool force;
    /* Called by wal_log_poll, in order of submission, @append is the owner's again. With force
     * the record is durable then, else it is written and can be lost in a crash. rc other than
     * TPC_OK: the outcome is unknown, the daemon must halt; all later ones fail as well. */
    void (*done)(struct wal_append *append, enum tpc_rc rc, const struct tpc_err *err);
    struct wal_append *next; /* the log's */
    enum tpc_rc rc;          /* the log's */
};

struct wal_log_options {
    uint32_t lazy_ms;        /* default 50 */
    uint32_t gather_ms;      /* a group waits no longer for as many as the last had, default 20 */
    uint32_t group_max;      /* most records in one group, default 1024 */
    size_t queue_max;        /* most bytes queued, default 256 MiB */
    void (*wake)(void *arg); /* called from the log thread when wal_log_poll has work */
    void *wake_arg;
    bool stepped; /* no thread: the owner calls wal_log_step, as a simulator does */
};

/* Counters since start, of what succeeded. */
struct wal_stats {
    uint64_t forces;       /* groups with at least one forced record: fsyncs waited for */
    uint64_t lazy_flushes; /* groups without */
    uint64_t records, forced_records;
    uint64_t bytes;
    uint64_t force_us_total;
    uint64_t
        force_us_bucket[12]; /* upper bounds: 100us 250us 500us 1ms 2.5 5 10 25 50 100 250ms inf */
    uint64_t group_bucket[12]; /* records a group: 1 2 4 8 ... 1024 inf */
};

/* @store is borrowed until wal_log_stop; nobody else may use it meanwhile. */
TPC_NODISCARD enum tpc_rc wal_log_start(struct wal_store *store,
                                        const struct wal_log_options *options,
                                        struct wal_log **ret_log, struct tpc_err *reterr);
/* TPC_EFULL when queue_max is reached (nothing queued; take_append->data is freed all the same). */
TPC_NODISCARD enum tpc_rc wal_log_submit(struct wal_log *log, struct wal_append *append);
/* Queue @take_data (malloc'ed) unforced, nobody waits. */
TPC_NODISCARD enum tpc_rc wal_log_submit_lazy(struct wal_log *log, void *take_data, size_t size);
/* Queue a deletion of all records of these transactions, unforced. Takes @take_gtids (malloc'ed).
 */
TPC_NODISCARD enum tpc_rc wal_log_submit_erase(struct wal_log *log, struct tpc_id *take_gtids,
                                               size_t count);
/* A transaction that the log serves took so long, from its beginning to its end: groups wait no
 * longer than a share of that. Loop thread. */
void wal_log_pace(struct wal_log *log, uint64_t took_us);
/* Deliver completions; on the loop thread. A callback may submit. */
void wal_log_poll(struct wal_log *log);
void wal_log_stats(struct wal_log *log, struct wal_stats *out); /* any thread */
/* Of a stepped log. When the thread would write the next group, by tpc_clock_mono_us; 0: now;
 * UINT64_MAX: nothing is queued. */
uint64_t wal_log_due_us(struct wal_log *log);
/* Write the next group as the thread would, and wake. False: nothing is queued. */
bool wal_log_step(struct wal_log *log);
/* Write what is queued, end the thread, deliver the last completions (whose callbacks may not
 * submit), free @log. Does not close the store. */
void wal_log_stop(struct wal_log *log);

#endif
