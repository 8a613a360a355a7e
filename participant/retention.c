/* What is kept of branches after their end, and for how long.
 *
 * In memory: their answers, for messages that are repeated. In the log: that they ended. In the
 * database: the proof of their commit. An abort is held by nothing but the log, so it stays in
 * memory until it is erased there: a prepare that is repeated after it would be done again, and in
 * the log a second life would follow upon the first.
 *
 * The proof may go only after the erasure is durable: a log that still says "prepared" and a
 * database that does not say "committed" would be taken for a branch in doubt, and be committed
 * twice. The log keeps its order, so the next forced write makes the erasure durable too. */
#include "participant/daemon.h"

#include "base/clock.h"
#include "base/tpc_assert.h"

#include <stdlib.h>
#include <utlist.h>

enum { CHECK_MS = 1000, ERASE_BATCH_MAX = 1000, SKIPPED_MAX = 8 };

/* ---- Memory ---- */

static void drop_from_memory(struct part_daemon *daemon)
{
    const struct part_settings *settings = daemon->settings;
    uint64_t now_ms = tpc_clock_mono_ms();
    for (int skipped = 0; daemon->ended != NULL && skipped < SKIPPED_MAX;) {
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

static void add_expiry(struct part_daemon *daemon, const struct branch *branch)
{
    if (daemon->expiry_count == daemon->expiry_capacity) {
        size_t capacity = daemon->expiry_capacity > 0 ? 2 * daemon->expiry_capacity : 1024;
        struct expiry *more = part_alloc(capacity * sizeof *more);
        for (size_t i = 0; i < daemon->expiry_count; i++) {
            more[i] = daemon->expiries[(daemon->expiry_first + i) % daemon->expiry_capacity];
        }
        free(daemon->expiries);
        daemon->expiries = more;
        daemon->expiry_first = 0;
        daemon->expiry_capacity = capacity;
    }
    size_t at = (daemon->expiry_first + daemon->expiry_count++) % daemon->expiry_capacity;
    /* The time begins anew with a start: however long this agent was down, its coordinators get to
     * ask how their branches ended before it forgets. */
    uint64_t at_us = daemon->recovered ? branch->at_us : tpc_clock_wall_us();
    daemon->expiries[at] = (struct expiry){.gtid = branch->gtid, .at_us = at_us};
}

static bool expired(const struct part_daemon *daemon, uint64_t now_us)
{
    const struct expiry *first = &daemon->expiries[daemon->expiry_first];
    return daemon->expiry_count > 0 &&
           (daemon->expiry_count > daemon->settings->retained_max ||
            (now_us > first->at_us &&
             now_us - first->at_us >= daemon->settings->retention_ms * 1000));
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

static void erase_batch(struct part_daemon *daemon)
{
    uint64_t now_us = tpc_clock_wall_us();
    if (!expired(daemon, now_us)) {
        return;
    }
    (void)part_fp(PART_FP_RETENTION_ERASE);
    struct tpc_id *gtids = part_alloc(ERASE_BATCH_MAX * sizeof *gtids);
    struct tpc_id *copy = part_alloc(ERASE_BATCH_MAX * sizeof *copy);
    size_t count = 0;
    while (count < ERASE_BATCH_MAX && expired(daemon, now_us)) {
        const struct tpc_id gtid = daemon->expiries[daemon->expiry_first].gtid;
        daemon->expiry_first = (daemon->expiry_first + 1) % daemon->expiry_capacity;
        daemon->expiry_count--;
        if (forget_branch(daemon, &gtid)) {
            gtids[count] = copy[count] = gtid;
            count++;
        }
    }
    daemon->stats.erased += count;
    daemon->unproved = copy;
    daemon->unproved_count = count;
    daemon->unproved_after = daemon->forces_begun + 1;
    if (wal_log_submit_erase(daemon->log, gtids, count) != TPC_OK) {
        part_halt("the log is too slow: --log-queue-max is reached", NULL);
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
    erase_batch(daemon);
}

static void on_check(struct tpc_timer *timer)
{
    struct part_daemon *daemon =
        (struct part_daemon *)((char *)timer - offsetof(struct part_daemon, retention));
    drop_from_memory(daemon);
    if (daemon->unproved == NULL) {
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
        branch->at_us = tpc_clock_wall_us();
    }
    if (branch->logged && !branch->expires) {
        branch->expires = true;
        add_expiry(daemon, branch);
    }
    if (daemon->ended_count > daemon->settings->remembered_max) {
        drop_from_memory(daemon);
    }
}
