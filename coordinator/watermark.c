/* How far this coordinator has forgotten: below which gtid it will neither begin, nor tell, nor ask
 * anything any more, also after a crash. It says so with every message, and participants keep the
 * proof of what they did until then, whatever any clock says.
 *
 * Held back by
 *   - what has not ended: votes, decisions and questions are under way;
 *   - what has ended but not durably so: without its end record recovery would find the decision
 *     and tell every branch again. An end record is lazy, and durable with the next forced one;
 *   - hazards, until an operator has forgotten them: he may want to look at what is there.
 *
 * What has left no record in the log is over when it has ended. What begins later has a greater
 * gtid, since the generator only grows, in one life. After a restart with a clock that was set back
 * it may begin lower, for aborted transactions have no records. That is why the watermark is of one
 * generation, as the first message of a new one tells. */
#include "coordinator/daemon.h"

#include "base/clock.h"

enum { FLUSH_AFTER_MS = 60000 }; /* no forced record has come along to make ends durable */

/* ---- What has ended, and when that is durable ---- */

static void lower(struct tpc_id *lowest, const struct tpc_id *gtid)
{
    if (tpc_id_compare(gtid, lowest) < 0) {
        *lowest = *gtid;
    }
}

/* All of [1] has been handed to the log: a force that begins now makes it durable. */
static void close_batch(struct coord_daemon *daemon)
{
    struct coord_ends *ends = daemon->ends;
    if (!ends[0].any && ends[1].any) {
        ends[0] = ends[1];
        ends[0].durable_after = daemon->forces_begun + 1;
        ends[0].since_ms = tpc_clock_mono_ms();
        ends[1].any = false;
    }
}

void coord_watermark_ended(struct coord_daemon *daemon, const struct tpc_id *gtid)
{
    struct coord_ends *gathering = &daemon->ends[1];
    if (!gathering->any) {
        gathering->any = true;
        gathering->lowest = *gtid;
    }
    lower(&gathering->lowest, gtid);
    close_batch(daemon);
}

void coord_watermark_forced(struct coord_daemon *daemon)
{
    struct coord_ends *waiting = &daemon->ends[0];
    daemon->forces_done++;
    if (waiting->any && daemon->forces_done >= waiting->durable_after) {
        waiting->any = false;
        close_batch(daemon);
    }
}

static void on_flushed(struct wal_append *append, enum tpc_rc rc, const struct tpc_err *err)
{
    struct coord_daemon *daemon = coord_container(append, struct coord_daemon, flush);
    if (rc != TPC_OK) {
        coord_halt("the log could not be forced", err);
    }
    daemon->flushing = false;
    coord_watermark_forced(daemon);
}

/* Where nothing is forced any more (one-phase commits force nothing) ends would never be durable.
 */
static void flush_ends(struct coord_daemon *daemon)
{
    const struct coord_ends *waiting = &daemon->ends[0];
    uint64_t after_ms = daemon->settings->retention_ms < FLUSH_AFTER_MS
                            ? daemon->settings->retention_ms
                            : FLUSH_AFTER_MS;
    if (!waiting->any || daemon->flushing || tpc_clock_mono_ms() - waiting->since_ms < after_ms) {
        return;
    }
    daemon->flush = (struct wal_append){.force = true, .done = on_flushed};
    if (wal_log_submit(daemon->log, &daemon->flush) == TPC_OK) {
        daemon->flushing = true;
        daemon->forces_begun++;
    }
}

/* Those for whose end record the log had no room. */
static void log_ends_again(struct coord_daemon *daemon)
{
    for (int kept = COORD_KEPT_PLAIN; kept < COORD_KEPT_COUNT; kept++) {
        struct coord_xact *xact = daemon->kept[kept];
        for (; xact != NULL && daemon->ends_unlogged > 0; xact = xact->kept_next) {
            if (xact->end_unlogged) {
                xact->end_unlogged = false;
                daemon->ends_unlogged--;
                coord_log_end(xact);
                if (xact->end_unlogged) {
                    return; /* still no room */
                }
            }
        }
    }
}

/* ---- The watermark ---- */

static void lower_to_list(struct tpc_id *lowest, const struct coord_daemon *daemon,
                          enum coord_kept kept)
{
    const struct coord_xact *xact;
    for (xact = daemon->kept[kept]; xact != NULL; xact = xact->kept_next) {
        lower(lowest, &xact->gtid);
    }
}

void coord_watermark_update(struct coord_daemon *daemon)
{
    struct tpc_id lowest;
    log_ends_again(daemon);
    flush_ends(daemon);
    if (daemon->ends_unlogged > 0) {
        return;
    }
    tpc_id_gen_floor(&daemon->ids, &lowest);
    lower_to_list(&lowest, daemon, COORD_KEPT_UNFINISHED);
    lower_to_list(&lowest, daemon, COORD_KEPT_HAZARD);
    for (int i = 0; i < 2; i++) {
        if (daemon->ends[i].any) {
            lower(&lowest, &daemon->ends[i].lowest);
        }
    }
    /* What was told stays true: a hazard that shows itself after the end is late for it. */
    if (tpc_id_compare(&lowest, &daemon->self.forgotten_below) > 0) {
        daemon->self.forgotten_below = lowest;
    }
}
