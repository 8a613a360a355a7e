/* The table of transactions: those in flight, and those that ended within the retention time. */
#include "coordinator/daemon.h"

#include "base/clock.h"
#include "base/tpc_assert.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* In small steps: an erasure is carried out with a group of forced records, which wait for it. */
enum { RETENTION_TICK_MS = 1000, RETENTION_MORE_MS = 5, RETENTION_STEP_MAX = 100 };

/* In one step of the retention. */
struct dropped {
    size_t seen, count;
    struct tpc_id *gtids; /* those with records in the log */
};

struct coord_xact *coord_xact_new(struct coord_daemon *daemon, unsigned branch_count)
{
    struct coord_xact *xact = calloc(1, sizeof *xact);
    if (xact == NULL) {
        return NULL;
    }
    xact->fsm = calloc(1, coord_size(branch_count));
    xact->branches = calloc(branch_count + 1, sizeof *xact->branches);
    if (xact->fsm == NULL || xact->branches == NULL) {
        free(xact->fsm);
        free(xact->branches);
        free(xact);
        return NULL;
    }
    xact->daemon = daemon;
    xact->branch_count = branch_count;
    xact->cause_branch = -1;
    for (unsigned i = 0; i < branch_count; i++) {
        xact->branches[i].xact = xact;
        xact->branches[i].index = (uint8_t)i;
    }
    coord_init(xact->fsm, branch_count, false);
    return xact;
}

/* Ids only grow, so the place of a new one is at or near the end, and that of one from the past at
 * or near the front. */
static void insert_by_id(struct coord_daemon *daemon, struct coord_xact *xact)
{
    struct coord_xact *after = daemon->xacts != NULL ? daemon->xacts->prev : NULL;
    struct coord_xact *before = daemon->xacts;
    while (after != NULL && tpc_id_compare(&after->id, &xact->id) > 0) {
        if (tpc_id_compare(&before->id, &xact->id) > 0) {
            DL_PREPEND_ELEM(daemon->xacts, before, xact);
            return;
        }
        before = before->next;
        after = after == daemon->xacts ? NULL : after->prev;
    }
    if (after == NULL) {
        DL_PREPEND(daemon->xacts, xact);
    } else {
        DL_APPEND_ELEM(daemon->xacts, after, xact);
    }
}

static void keep(struct coord_xact *xact, enum coord_kept kept)
{
    struct coord_daemon *daemon = xact->daemon;
    xact->kept = kept;
    DL_APPEND2(daemon->kept[kept], xact, kept_prev, kept_next);
    daemon->kept_count[kept]++;
}

static void unkeep(struct coord_xact *xact)
{
    struct coord_daemon *daemon = xact->daemon;
    DL_DELETE2(daemon->kept[xact->kept], xact, kept_prev, kept_next);
    daemon->kept_count[xact->kept]--;
}

enum tpc_rc coord_xact_add(struct coord_xact *xact)
{
    struct coord_daemon *daemon = xact->daemon;
    HASH_ADD(hh_id, daemon->by_id, id, sizeof xact->id, xact);
    HASH_ADD(hh_gtid, daemon->by_gtid, gtid, sizeof xact->gtid, xact);
    insert_by_id(daemon, xact);
    keep(xact, COORD_KEPT_UNFINISHED);
    for (unsigned i = 0; i < xact->branch_count; i++) {
        xact->branches[i].member->users++;
    }
    return TPC_OK;
}

void coord_xact_begin(struct coord_xact *xact, struct api_submit *submit)
{
    xact->began_us = tpc_clock_wall_us();
    xact->began_mono_us = tpc_clock_mono_us();
    xact->timeout_ms = submit->timeout_ms;
    xact->deadline_ms = tpc_clock_mono_ms() + submit->timeout_ms;
    xact->ack = submit->ack;
    xact->isolation = submit->isolation;
    xact->label = submit->label;
    submit->label = NULL;
    tpc_id_gen_next(&xact->daemon->ids, xact->began_us / 1000, &xact->id);
    xact->gtid = xact->id;
}

/* Nothing points into the old storage: no timer of a branch is armed before the decision. */
enum tpc_rc coord_xact_join(struct coord_xact *xact, struct coord_member *member)
{
    unsigned count = xact->branch_count + 1;
    struct coord_txn *fsm = realloc(xact->fsm, coord_size(count));
    if (fsm == NULL) {
        return TPC_ENOMEM;
    }
    xact->fsm = fsm;
    struct coord_xbranch *branches = realloc(xact->branches, count * sizeof *branches);
    if (branches == NULL) {
        return TPC_ENOMEM;
    }
    xact->branches = branches;
    branches[count - 1] =
        (struct coord_xbranch){.xact = xact, .member = member, .index = (uint8_t)(count - 1)};
    coord_join(fsm);
    xact->branch_count = count;
    member->users++;
    return TPC_OK;
}

void coord_xact_regtid(struct coord_xact *xact, const struct tpc_id *gtid)
{
    struct coord_daemon *daemon = xact->daemon;
    HASH_DELETE(hh_gtid, daemon->by_gtid, xact);
    xact->gtid = *gtid;
    HASH_ADD(hh_gtid, daemon->by_gtid, gtid, sizeof xact->gtid, xact);
}

struct coord_xact *coord_xact_find(struct coord_daemon *daemon, const struct tpc_id *id)
{
    struct coord_xact *xact;
    HASH_FIND(hh_id, daemon->by_id, id, sizeof *id, xact);
    return xact != NULL ? xact : coord_past_wake(daemon, id);
}

struct coord_xact *coord_xact_in_memory(struct coord_daemon *daemon, const struct tpc_id *gtid)
{
    struct coord_xact *xact;
    HASH_FIND(hh_gtid, daemon->by_gtid, gtid, sizeof *gtid, xact);
    return xact;
}

struct coord_xact *coord_xact_by_gtid(struct coord_daemon *daemon, const struct tpc_id *gtid)
{
    struct coord_xact *xact = coord_xact_in_memory(daemon, gtid);
    return xact != NULL ? xact : coord_past_wake(daemon, gtid);
}

static size_t results_size(const struct coord_xact *xact)
{
    size_t size = 0;
    for (unsigned i = 0; i < xact->branch_count; i++) {
        size += xact->branches[i].results_size;
    }
    return size;
}

static void drop_results(struct coord_xact *xact)
{
    struct coord_daemon *daemon = xact->daemon;
    if (xact->results_kept == 0) {
        return;
    }
    for (unsigned i = 0; i < xact->branch_count; i++) {
        free(xact->branches[i].results);
        xact->branches[i].results = NULL;
        xact->branches[i].results_size = 0;
    }
    DL_DELETE2(daemon->results, xact, results_prev, results_next);
    daemon->results_kept -= xact->results_kept;
    xact->results_kept = 0;
}

/* What was answered may be asked for again: results stay as long as there is room for them. */
static void keep_results(struct coord_xact *xact)
{
    struct coord_daemon *daemon = xact->daemon;
    xact->results_kept = results_size(xact);
    if (xact->results_kept > 0) {
        DL_APPEND2(daemon->results, xact, results_prev, results_next);
        daemon->results_kept += xact->results_kept;
    }
}

void coord_results_make_room(struct coord_daemon *daemon)
{
    while (daemon->results_kept > daemon->settings->results_max_bytes) {
        drop_results(daemon->results);
    }
}

void coord_xact_keep_again(struct coord_xact *xact)
{
    unkeep(xact);
    xact->ended_ms = tpc_clock_mono_ms();
    keep(xact, xact->fsm->hazards != 0 ? COORD_KEPT_HAZARD
               : xact->key != NULL     ? COORD_KEPT_KEYED
                                       : COORD_KEPT_PLAIN);
}

size_t coord_ended_count(const struct coord_daemon *daemon)
{
    return coord_past_count(daemon) + daemon->kept_count[COORD_KEPT_PLAIN] +
           daemon->kept_count[COORD_KEPT_KEYED] + daemon->kept_count[COORD_KEPT_HAZARD];
}

void coord_xact_mark_ended(struct coord_xact *xact)
{
    TPC_ASSERT(!xact->ended);
    xact->ended = true;
    coord_xact_keep_again(xact);
    for (unsigned i = 0; i < xact->branch_count; i++) {
        xact->branches[i].member->users--;
        free(xact->branches[i].statements);
        xact->branches[i].statements = NULL;
        xact->branches[i].statements_size = 0;
    }
    keep_results(xact);
}

void coord_xact_set_cause(struct coord_xact *xact, int branch, enum api_cause_code code,
                          const char *detail)
{
    if (xact->cause.code != API_CAUSE_NONE) {
        return; /* the first one decided */
    }
    xact->cause.code = code;
    xact->cause.statement = -1;
    xact->cause.detail = detail != NULL ? strdup(detail) : NULL;
    xact->cause_branch = branch;
}

/* ---- Idempotency keys ---- */

enum tpc_rc coord_key_set(struct coord_xact *xact, const char *text, size_t size,
                          const struct tpc_id *digest)
{
    struct coord_key *key = calloc(1, sizeof *key);
    if (key == NULL || (key->text = strndup(text, size)) == NULL) {
        free(key);
        return TPC_ENOMEM;
    }
    key->digest = *digest;
    key->xact = xact;
    xact->key = key;
    struct coord_key *old;
    HASH_FIND_STR(xact->daemon->keys, key->text, old);
    if (old != NULL) { /* an older log may hold a key twice when the first use aborted */
        HASH_DEL(xact->daemon->keys, old);
        old->xact->key = NULL;
        free(old->text);
        free(old);
    }
    HASH_ADD_KEYPTR(hh, xact->daemon->keys, key->text, strlen(key->text), key);
    return TPC_OK;
}

void coord_key_drop(struct coord_xact *xact)
{
    if (xact->key != NULL) {
        HASH_DEL(xact->daemon->keys, xact->key);
        free(xact->key->text);
        free(xact->key);
        xact->key = NULL;
    }
}

/* ---- The end ---- */

void coord_xact_remove(struct coord_xact *xact)
{
    struct coord_daemon *daemon = xact->daemon;
    TPC_ASSERT(xact->ended && xact->waiters == NULL && !xact->forcing);
    drop_results(xact);
    coord_key_drop(xact);
    HASH_DELETE(hh_id, daemon->by_id, xact);
    HASH_DELETE(hh_gtid, daemon->by_gtid, xact);
    DL_DELETE(daemon->xacts, xact);
    unkeep(xact);
    tpc_timer_cancel(&daemon->timers, &xact->timer);
    coord_xact_free(xact);
}

void coord_xact_free(struct coord_xact *xact)
{
    api_cause_done(&xact->cause);
    free(xact->label);
    free(xact->branches);
    free(xact->fsm);
    free(xact);
}

/* If we crash before the records are erased they are read again and erased a retention later. */
static void erase(struct coord_daemon *daemon, struct tpc_id *take_gtids, size_t count)
{
    if (count == 0) {
        free(take_gtids);
        return;
    }
    (void)coord_fp(COORD_FP_RETENTION_ERASE);
    if (wal_log_submit_erase(daemon->log, take_gtids, count) != TPC_OK) {
        return; /* the log is full: they are erased after the next start */
    }
}

/* Remove from the front of a list what is too old, and what is more than @max. */
static void drop_old(struct coord_daemon *daemon, enum coord_kept kept, size_t max,
                     struct dropped *dropped)
{
    uint64_t now_ms = tpc_clock_mono_ms(), retention_ms = daemon->settings->retention_ms;
    struct coord_xact *xact, *next;
    DL_FOREACH_SAFE2(daemon->kept[kept], xact, next, kept_next)
    {
        bool old = now_ms - xact->ended_ms >= retention_ms || daemon->kept_count[kept] > max;
        if (!old || dropped->seen == RETENTION_STEP_MAX) {
            break;
        }
        dropped->seen++;
        if (xact->end_unlogged) {
            continue; /* watermark.c will find it here */
        }
        if (xact->logged) {
            dropped->gtids[dropped->count++] = xact->gtid;
        }
        coord_xact_remove(xact);
    }
}

/* Those of the past, which are older than all in the lists. */
static void drop_past(struct coord_daemon *daemon, struct dropped *dropped)
{
    const struct coord_settings *settings = daemon->settings;
    bool old = coord_past_is_older(daemon, settings->retention_ms);
    while (dropped->seen < RETENTION_STEP_MAX &&
           (old || coord_past_count(daemon) + daemon->kept_count[COORD_KEPT_PLAIN] >
                       settings->retained_max) &&
           coord_past_drop(daemon, &dropped->gtids[dropped->count])) {
        dropped->seen++;
        dropped->count++;
    }
}

static void on_retention(struct tpc_timer *timer)
{
    struct coord_daemon *daemon = coord_container(timer, struct coord_daemon, retention);
    struct dropped dropped = {.gtids = calloc(RETENTION_STEP_MAX, sizeof *dropped.gtids)};
    if (dropped.gtids != NULL) {
        drop_past(daemon, &dropped);
        drop_old(daemon, COORD_KEPT_PLAIN, daemon->settings->retained_max, &dropped);
        drop_old(daemon, COORD_KEPT_KEYED, SIZE_MAX, &dropped);
        erase(daemon, dropped.gtids, dropped.count);
    }
    uint64_t now_ms = tpc_clock_mono_ms();
    if (now_ms >= daemon->watermark_due_ms) { /* it looks at all that is in flight */
        daemon->watermark_due_ms = now_ms + RETENTION_TICK_MS;
        coord_watermark_update(daemon);
    }
    bool more = dropped.seen == RETENTION_STEP_MAX;
    tpc_timer_arm(&daemon->timers, timer, now_ms + (more ? RETENTION_MORE_MS : RETENTION_TICK_MS));
}

void coord_retention_start(struct coord_daemon *daemon)
{
    coord_watermark_update(daemon);
    daemon->retention.fire = on_retention;
    tpc_timer_arm(&daemon->timers, &daemon->retention, tpc_clock_mono_ms() + RETENTION_TICK_MS);
}

/* ---- Records ---- */

void coord_record_fill(const struct coord_xact *xact, struct coord_record *out)
{
    memset(out, 0, offsetof(struct coord_record, branches));
    out->gtid = xact->gtid;
    out->id = xact->id;
    out->commit = coord_outcome(xact->fsm) != COORD_ABORT;
    out->began_us = xact->began_us;
    out->ended_us = tpc_clock_wall_us();
    out->attempts = xact->attempts;
    out->one_phase = xact->fsm->one_phase;
    out->label = xact->label;
    out->label_size = xact->label != NULL ? strlen(xact->label) : 0;
    if (xact->key != NULL) {
        out->has_key = true;
        out->key = xact->key->text;
        out->key_size = strlen(xact->key->text);
        out->body_digest = xact->key->digest;
    }
    out->branch_count = xact->branch_count;
    for (unsigned i = 0; i < xact->branch_count; i++) {
        const struct coord_branch *branch = &xact->fsm->branches[i];
        out->branches[i] = (struct coord_record_branch){
            .name = xact->branches[i].member->name,
            .name_size = strlen(xact->branches[i].member->name),
            .participant = branch->participant,
            .vote = (enum coord_vote)branch->vote,
            .end = (xact->fsm->hazards & TPC_BIT(i)) != 0 ? (enum coord_end)branch->end
                                                          : COORD_END_NONE,
        };
    }
}
