/* Locks in memory for captured branches: who may be prepared beside whom.
 *
 * Pure but for memory: no database, no clock, no thread. A branch asks once for everything that it
 * needs and gets all of it or nothing, so that no branch waits here while it holds something here.
 * Across participants it may: therefore wait-die. An older branch (began_us, then gtid) waits for
 * younger holders; one that is younger than a holder in its way is refused. */
#ifndef ASSENT_PARTICIPANT_SQLITE_LOCKS_H
#define ASSENT_PARTICIPANT_SQLITE_LOCKS_H

#include "base/id.h"

/* Bits. Tables and key spaces take all four; rows take X, key values S or X. */
enum part_lock_mode {
    PART_LOCK_IS = 1, /* S on something inside */
    PART_LOCK_IX = 2, /* X on something inside */
    PART_LOCK_S = 4,
    PART_LOCK_X = 8,
};

struct part_lock {
    struct tpc_id name; /* a digest of what is locked; equal names only ever make it too careful */
    uint8_t modes;      /* set of part_lock_mode */
};

/* Sort @locks by name and join those of one name; returns how many are left. */
size_t part_lock_join(struct part_lock *locks, size_t count);

enum part_lock_state { PART_LOCK_IDLE, PART_LOCK_HOLDING, PART_LOCK_WAITING };

/* One branch; in the caller's storage, kept until released. */
struct part_lock_owner {
    struct tpc_id gtid;
    uint64_t began_us;
    /* It holds nothing at any other participant (one-phase), so nobody can wait for it in a circle:
     * it may wait for older ones too. */
    bool alone;
    /* The manager's */
    enum part_lock_state state;
    struct part_lock_ref *refs;
    size_t count;
    uint64_t turn; /* when it first waited; 0: never */
    struct part_lock_owner *prev, *next;
};

struct part_locks;

TPC_NODISCARD enum tpc_rc part_locks_new(struct part_locks **ret_locks);
/* Every owner must have been released. */
void part_locks_free(struct part_locks *locks);

enum part_lock_answer { PART_LOCK_GRANTED, PART_LOCK_WAIT, PART_LOCK_DIE };

/* Ask for @wanted (joined, copied) on behalf of an idle @owner.
 *
 * WAIT: it stands in the queue until released or handed out by part_locks_next. Who is younger and
 * gets in the way of one that waits is refused, so that no stream of arrivals overtakes it.
 * @ret_other (may be NULL) is one that stands in the way. On TPC_ENOMEM nothing changed. */
TPC_NODISCARD enum tpc_rc part_locks_acquire(struct part_locks *locks,
                                             struct part_lock_owner *owner,
                                             const struct part_lock *wanted, size_t count,
                                             enum part_lock_answer *ret_answer,
                                             const struct part_lock_owner **ret_other);
/* Ask for @wanted (joined, copied; all that it holds among them) on behalf of one that holds. WAIT
 * and DIE change nothing: it does not stand in the queue, but asks again. On TPC_ENOMEM it may hold
 * nothing any more. */
TPC_NODISCARD enum tpc_rc part_locks_extend(struct part_locks *locks, struct part_lock_owner *owner,
                                            const struct part_lock *wanted, size_t count,
                                            enum part_lock_answer *ret_answer,
                                            const struct part_lock_owner **ret_other);
/* Hold @held without asking: at restart, for branches that were prepared together before. */
TPC_NODISCARD enum tpc_rc part_locks_restore(struct part_locks *locks,
                                             struct part_lock_owner *owner,
                                             const struct part_lock *held, size_t count);
/* Give up what @owner holds or waits for; it is idle again. It keeps its place in the queue should
 * it have to wait again. Nothing to do for an idle one. */
void part_locks_release(struct part_locks *locks, struct part_lock_owner *owner);

/* Walk the queue, first come first: the next after @*cursor (0: start) with no holder in its way,
 * or with one that is older and came later, so that it has to die. It is released (idle), to be
 * captured anew and to ask again, before the next call. NULL at the end. */
struct part_lock_owner *part_locks_next(struct part_locks *locks, uint64_t *cursor);
/* Since it was asked last: has anybody got what a younger one waits for? Then the queue has to be
 * walked, or that one would wait for an older one, which may wait for it at another participant. */
bool part_locks_overtaken(struct part_locks *locks);
/* The queue, first come first, for deadlines and the like; NULL: empty. Next by ->next. */
struct part_lock_owner *part_locks_queue(const struct part_locks *locks);
size_t part_locks_held(const struct part_locks *locks); /* locks held by all */

#endif
