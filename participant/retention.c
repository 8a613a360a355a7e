/* What is kept of branches after their end, and for how long.
 *
 * In memory: their answers, for messages that are repeated. In the log: that they ended. In the
 * database: the proof of their commit. An abort is held by nothing but the log, so it stays in
 * memory until it is erased there: a prepare that is repeated after it would be done again, and in
 * the log a second life would follow upon the first.
 *
 * Nothing goes before the coordinator has said that it has forgotten the transaction, however long
 * that takes: until then it may ask once more how the branch ended. The retention time comes on top
 * of that, for people who ask. Once records and proof are gone, a prepare that is late would be
 * done again; so how far the coordinator has forgotten is in the log before the erasure, and what
 * is below is refused.
 *
 * While a server is asked what it holds prepared nothing is dropped: the answer may have what has
 * ended since, which must not be taken for unknown.
 *
 * The proof may go only after the erasure is durable: a log that still says "prepared" and a
 * database that does not say "committed" would be taken for a branch in doubt, and be committed
 * twice. The log keeps its order, so the next forced write makes the erasure durable too. */
#include "participant/daemon.h"

#include "base/clock.h"
#include "base/tpc_assert.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { CHECK_MS = 1000, ERASE_BATCH_MAX = 1000, SKIPPED_MAX = 8 };

/* ---- Memory ---- */

static void drop_from_memory(struct part_daemon *daemon)
{
    const struct part_settings *settings = daemon->settings;
    uint64_t now_ms = tpc_clock_mono_ms();
    for (int skipped = 0; !daemon->listing && daemon->ended != NULL && skipped < SKIPPED_MAX;) {
        struct branch *branch = daemon->ended;
        bool old = now_ms - branch->ended_ms >= settings->remember_ms;
        if (!old && daemon->ended_count <= settings->remembered_max) {
            return;
        }
        if (branch->fsm.state == PART_ABORTED && branch->expires) {
            /* Out of the way of those behind it, until it is erased. */
            DL_DELETE(daemon->ended, branch);
            DL_APPEND(daemon->ended, branch);
            branch->ended_ms = now_ms;
            skipped++;
        } else {
            part_branch_free(branch);
        }
    }
}

/* ---- The log ---- */

static void add_expiry(struct coordinator *coordinator, const struct tpc_id *gtid)
{
    if (coordinator->expiry_count == coordinator->expiry_capacity) {
        size_t capacity = coordinator->expiry_capacity > 0 ? 2 * coordinator->expiry_capacity : 256;
        struct expiry *more = part_alloc(capacity * sizeof *more);
        for (size_t i = 0; i < coordinator->expiry_count; i++) {
            more[i] =
                coordinator
                    ->expiries[(coordinator->expiry_first + i) % coordinator->expiry_capacity];
        }
        free(coordinator->expiries);
        coordinator->expiries = more;
        coordinator->expiry_first = 0;
        coordinator->expiry_capacity = capacity;
    }
    size_t at =
        (coordinator->expiry_first + coordinator->expiry_count++) % coordinator->expiry_capacity;
    /* The time begins anew with a start. */
    coordinator->expiries[at] = (struct expiry){.gtid = *gtid, .at_ms = tpc_clock_mono_ms()};
    coordinator->daemon->expiry_count++;
}

/* May the first of its branches go? One behind it that may go sooner waits for it. */
static bool expired(const struct coordinator *coordinator)
{
    const struct part_daemon *daemon = coordinator->daemon;
    if (coordinator->expiry_count == 0) {
        return false;
    }
    const struct expiry *first = &coordinator->expiries[coordinator->expiry_first];
    return part_coordinator_is_over(coordinator, &first->gtid) &&
           (daemon->expiry_count > daemon->settings->retained_max ||
            tpc_clock_mono_ms() - first->at_ms >= daemon->settings->retention_ms);
}

size_t part_retention_overdue(const struct part_daemon *daemon)
{
    uint64_t now_ms = tpc_clock_mono_ms();
    size_t overdue = 0;
    for (struct coordinator *one = daemon->coordinators; one != NULL; one = one->hh.next) {
        size_t low = 0, high = one->expiry_count;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            const struct expiry *expiry =
                &one->expiries[(one->expiry_first + middle) % one->expiry_capacity];
            if (now_ms - expiry->at_ms >= daemon->settings->retention_ms) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        overdue += low;
    }
    return overdue;
}

/* False: a repeated prepare has brought the branch back. It lives on the proof of its commit, and
 * expires when it has ended once more. */
static bool forget_branch(struct part_daemon *daemon, const struct tpc_id *gtid)
{
    struct branch *branch = part_table_find(daemon, gtid);
    if (branch == NULL) {
        return true;
    }
    branch->expires = false;
    branch->logged = true;
    if (!branch->ended) {
        return false;
    }
    part_branch_free(branch);
    return true;
}

/* Move those that may go into @gtids, which has room for ERASE_BATCH_MAX. */
static size_t take_expired(struct part_daemon *daemon, struct tpc_id *gtids)
{
    struct coordinator *one, *next;
    size_t count = 0;
    HASH_ITER (hh, daemon->coordinators, one, next) {
        if (count < ERASE_BATCH_MAX && expired(one)) {
            part_coordinator_log_forgotten(one);
        }
        while (count < ERASE_BATCH_MAX && expired(one)) {
            const struct tpc_id gtid = one->expiries[one->expiry_first].gtid;
            one->expiry_first = (one->expiry_first + 1) % one->expiry_capacity;
            one->expiry_count--;
            daemon->expiry_count--;
            if (forget_branch(daemon, &gtid)) {
                gtids[count++] = gtid;
            }
        }
    }
    return count;
}

/* Where the database holds every proof, hardly anything is forced: then the erasure is by itself.
 */
struct erasure_force {
    struct wal_append append; /* first */
    struct part_daemon *daemon;
};

static void on_erased(struct wal_append *append, enum tpc_rc rc, const struct tpc_err *err)
{
    struct erasure_force *force = (struct erasure_force *)append;
    struct part_daemon *daemon = force->daemon;
    daemon->forces_busy--;
    if (rc != TPC_OK) {
        part_halt("a forced write of the log failed, and nobody knows what is on disk", err);
    }
    free(force);
    part_retention_forced(daemon);
}

static void force_erasure(struct part_daemon *daemon)
{
    struct erasure_force *force = part_alloc(sizeof *force);
    force->daemon = daemon;
    force->append = (struct wal_append){.force = true, .done = on_erased};
    daemon->forces_busy++;
    daemon->forces_begun++;
    if (wal_log_submit(daemon->log, &force->append) != TPC_OK) {
        part_halt("the log is too slow: --log-queue-max is reached", NULL);
    }
}

static void erase_batch(struct part_daemon *daemon)
{
    struct coordinator *one = daemon->coordinators;
    while (one != NULL && !expired(one)) {
        one = one->hh.next;
    }
    if (one == NULL) {
        return;
    }
    (void)part_fp(PART_FP_RETENTION_ERASE);
    struct tpc_id *gtids = part_alloc(ERASE_BATCH_MAX * sizeof *gtids);
    size_t count = take_expired(daemon, gtids);
    daemon->stats.erased += count;
    daemon->unproved = part_alloc(ERASE_BATCH_MAX * sizeof *gtids);
    memcpy(daemon->unproved, gtids, count * sizeof *gtids);
    daemon->unproved_count = count;
    daemon->unproved_after = daemon->forces_begun + 1;
    if (wal_log_submit_erase(daemon->log, gtids, count) != TPC_OK) {
        part_halt("the log is too slow: --log-queue-max is reached", NULL);
    }
    if (count == ERASE_BATCH_MAX) {
        force_erasure(daemon); /* there are more */
    }
}

void part_retention_forced(struct part_daemon *daemon)
{
    daemon->forces_done++;
    if (daemon->unproved == NULL || daemon->forces_done < daemon->unproved_after) {
        return;
    }
    daemon->resource->ops->forget(daemon->resource, daemon->unproved, daemon->unproved_count);
    free(daemon->unproved);
    daemon->unproved = NULL;
    daemon->unproved_count = 0;
    if (!daemon->listing) {
        erase_batch(daemon);
    }
}

static void on_check(struct tpc_timer *timer)
{
    struct part_daemon *daemon =
        (struct part_daemon *)((char *)timer - offsetof(struct part_daemon, retention));
    drop_from_memory(daemon);
    if (daemon->unproved != NULL && daemon->forces_begun < daemon->unproved_after) {
        force_erasure(daemon);
    } else if (daemon->unproved == NULL && !daemon->listing) {
        erase_batch(daemon);
    }
    tpc_timer_arm(&daemon->timers, timer, tpc_clock_mono_ms() + CHECK_MS);
}

void part_retention_start(struct part_daemon *daemon)
{
    daemon->retention.fire = on_check;
    tpc_timer_arm(&daemon->timers, &daemon->retention, tpc_clock_mono_ms() + CHECK_MS);
}

void part_retain(struct branch *branch)
{
    struct part_daemon *daemon = branch->daemon;
    bool was_ended = branch->ended;
    part_branch_mark(branch, true);
    part_branch_trim(branch);
    if (!was_ended && daemon->recovered) {
        uint64_t now_us = tpc_clock_wall_us();
        if (branch->logged && now_us > branch->at_us) {
            wal_log_pace(daemon->log, now_us - branch->at_us);
        }
        branch->at_us = now_us;
    }
    if (branch->logged && !branch->expires) {
        branch->expires = true;
        add_expiry(part_coordinator_get(daemon, &branch->coordinator_id), &branch->gtid);
    }
    if (daemon->ended_count > daemon->settings->remembered_max) {
        drop_from_memory(daemon);
    }
}

void part_retain_unknown(struct part_daemon *daemon, const struct tpc_id *coordinator_id,
                         const struct tpc_id *gtid)
{
    add_expiry(part_coordinator_get(daemon, coordinator_id), gtid);
}
