/* Which coordinators have spoken to us, and in which life of their log.
 *
 * A coordinator whose log was set back to an old copy would decide again what it has decided
 * before, otherwise. It is known by its generation, or by its nonce in the same generation, and
 * nothing that it says is acted on. To be sure of that after a crash, a new pair is durable before
 * the first message under it is acted on. A crash before that: nobody was answered, and the
 * coordinator says it again.
 *
 * How far a coordinator has forgotten counts for its generation; a new one begins anew, perhaps
 * lower. Messages of older ones are refused, so what was below stays over. */
#include "participant/daemon.h"

#include "base/log.h"
#include "base/tpc_assert.h"

#include <stdlib.h>
#include <string.h>

/* Groups that wait for the record of their coordinator's new pair. */
struct identity_force {
    struct wal_append append; /* first */
    struct coordinator *coordinator;
    struct group **groups;
    size_t count;
};

struct coordinator *part_coordinator_find(const struct part_daemon *daemon, const struct tpc_id *id)
{
    struct coordinator *found = NULL;
    HASH_FIND(hh, daemon->coordinators, id, sizeof *id, found);
    return found;
}

static struct coordinator *add(struct part_daemon *daemon, const struct tpc_id *id)
{
    struct coordinator *coordinator = part_alloc(sizeof *coordinator);
    coordinator->self.id = *id;
    coordinator->daemon = daemon;
    HASH_ADD(hh, daemon->coordinators, self.id, sizeof coordinator->self.id, coordinator);
    return coordinator;
}

struct coordinator *part_coordinator_get(struct part_daemon *daemon, const struct tpc_id *id)
{
    struct coordinator *found = part_coordinator_find(daemon, id);
    return found != NULL ? found : add(daemon, id);
}

void part_coordinator_load(struct part_daemon *daemon, const struct part_coordinator_record *record)
{
    struct coordinator *coordinator = part_coordinator_get(daemon, &record->id);
    struct api_coordinator *self = &coordinator->self;
    size_t size = record->url_size < sizeof self->url - 1 ? record->url_size : sizeof self->url - 1;
    self->generation = record->generation;
    self->nonce = record->nonce;
    self->forgotten_below = coordinator->forgotten_logged = record->forgotten_below;
    coordinator->record = record->key;
    if (size > 0) {
        memcpy(self->url, record->url, size);
    }
    self->url[size] = '\0';
}

static void encode(struct coordinator *coordinator, struct tpc_buf *out)
{
    const struct api_coordinator *self = &coordinator->self;
    struct part_coordinator_record record = {.id = self->id,
                                             .generation = self->generation,
                                             .nonce = self->nonce,
                                             .forgotten_below = self->forgotten_below,
                                             .url = self->url,
                                             .url_size = strlen(self->url)};
    tpc_id_random(&record.key);
    if (part_coordinator_write(out, &record) != TPC_OK) {
        part_halt("out of memory for a record of the log", NULL);
    }
    coordinator->record = record.key;
    coordinator->forgotten_logged = self->forgotten_below;
}

/* The new record is in the log before the old one goes: at no time is there none. A crash between
 * leaves both, of which the later counts. */
static void erase_record(struct coordinator *coordinator, const struct tpc_id *old)
{
    if (!tpc_id_is_zero(old)) {
        struct tpc_id *key = part_alloc(sizeof *key);
        *key = *old;
        if (wal_log_submit_erase(coordinator->daemon->log, key, 1) != TPC_OK) {
            part_halt("the log is too slow: --log-queue-max is reached", NULL);
        }
    }
}

/* Nobody waits for it. */
static void log_lazily(struct coordinator *coordinator)
{
    struct tpc_buf record = {0};
    struct tpc_id old = coordinator->record;
    encode(coordinator, &record);
    size_t size = record.size;
    if (wal_log_submit_lazy(coordinator->daemon->log, tpc_buf_take(&record), size) != TPC_OK) {
        part_halt("the log is too slow: --log-queue-max is reached", NULL);
    }
    erase_record(coordinator, &old);
}

static void on_forced(struct wal_append *append, enum tpc_rc rc, const struct tpc_err *err)
{
    struct identity_force *force = (struct identity_force *)append;
    struct coordinator *coordinator = force->coordinator;
    coordinator->daemon->forces_busy--;
    if (rc != TPC_OK || part_fp(PART_FP_COORDINATOR_FORCED)) {
        part_halt("a forced write of the log failed, and nobody knows what is on disk", err);
    }
    part_retention_forced(coordinator->daemon);
    if (coordinator->forcing == force) {
        coordinator->forcing = NULL;
    }
    for (size_t i = 0; i < force->count; i++) {
        part_group_run(force->groups[i]);
    }
    free(force->groups);
    free(force);
    /* It has just started and knows the outcome of whatever it left behind. */
    part_ask_all(coordinator);
}

static void force_identity(struct coordinator *coordinator)
{
    struct part_daemon *daemon = coordinator->daemon;
    struct identity_force *force = part_alloc(sizeof *force);
    struct tpc_buf record = {0};
    struct tpc_id old = coordinator->record;
    if (part_fp(PART_FP_COORDINATOR_FORCE)) {
        part_halt("the log cannot be written", NULL);
    }
    encode(coordinator, &record);
    force->coordinator = coordinator;
    force->append = (struct wal_append){.size = record.size, .force = true, .done = on_forced};
    force->append.data = tpc_buf_take(&record); /* which forgets the size */
    coordinator->forcing = force;
    daemon->forces_busy++;
    daemon->forces_begun++;
    if (wal_log_submit(daemon->log, &force->append) != TPC_OK) {
        part_halt("the log is too slow: --log-queue-max is reached", NULL);
    }
    erase_record(coordinator, &old);
}

static void wait_for(struct identity_force *force, struct group *group)
{
    struct group **more = realloc(force->groups, (force->count + 1) * sizeof(struct group *));
    if (more == NULL) {
        part_halt("out of memory", NULL);
    }
    force->groups = more;
    force->groups[force->count++] = group;
}

/* Where it is to be asked. Losing that costs time only: it says it again. */
static void move(struct coordinator *coordinator, const char *url)
{
    memcpy(coordinator->self.url, url, sizeof coordinator->self.url);
    log_lazily(coordinator);
}

/* ---- How far it has forgotten ---- */

void part_coordinator_forgot(struct coordinator *coordinator, uint64_t generation,
                             const struct tpc_id *below)
{
    struct api_coordinator *self = &coordinator->self;
    if (generation == self->generation && tpc_id_compare(below, &self->forgotten_below) > 0) {
        self->forgotten_below = *below;
    }
}

/* Those of its earlier life: it does not know them any more. Of one with a step under way, too,
 * nobody will say how it ends. */
static void give_up_active(struct part_daemon *daemon, const struct tpc_id *coordinator_id)
{
    for (struct branch *branch = daemon->live, *next; branch != NULL; branch = next) {
        next = branch->next;
        if (!tpc_id_equal(&branch->coordinator_id, coordinator_id)) {
            continue;
        }
        if (branch->fsm.state == PART_ACTIVE) {
            part_branch_give_up(branch, API_CAUSE_WORK_LOST,
                                "the coordinator was started anew: what was open there is aborted");
        } else if (branch->fsm.state == PART_WORKING) {
            part_event_sure(branch, PART_EV_ABORT);
        }
    }
}

bool part_coordinator_is_over(const struct coordinator *coordinator, const struct tpc_id *gtid)
{
    return tpc_id_compare(gtid, &coordinator->self.forgotten_below) < 0;
}

void part_coordinator_log_forgotten(struct coordinator *coordinator)
{
    if (!tpc_id_equal(&coordinator->forgotten_logged, &coordinator->self.forgotten_below)) {
        log_lazily(coordinator);
    }
}

/* ---- What it says ---- */

enum part_seen part_coordinator_see(struct part_daemon *daemon, const struct api_coordinator *who,
                                    struct group *group)
{
    struct coordinator *coordinator = part_coordinator_find(daemon, &who->id);
    bool is_new = coordinator == NULL;
    if (is_new) {
        coordinator = add(daemon, &who->id);
    }
    struct api_coordinator *self = &coordinator->self;
    if (!is_new &&
        (who->generation < self->generation ||
         (who->generation == self->generation && !tpc_id_equal(&who->nonce, &self->nonce)))) {
        return PART_SEEN_SET_BACK;
    }
    if (is_new || who->generation > self->generation) {
        *self = *who;
        give_up_active(daemon, &who->id);
        tpc_log(TPC_LOG_INFO, "coordinator.seen", tpc_kv_id("coordinator", &who->id),
                tpc_kv_uint("generation", who->generation), tpc_kv_str("url", who->url));
        force_identity(coordinator);
    } else {
        part_coordinator_forgot(coordinator, who->generation, &who->forgotten_below);
        if (strcmp(who->url, self->url) != 0) {
            move(coordinator, who->url);
        }
    }
    if (coordinator->forcing != NULL) {
        wait_for(coordinator->forcing, group);
        return PART_SEEN_LATER;
    }
    return PART_SEEN;
}

void part_coordinators_free(struct part_daemon *daemon)
{
    struct coordinator *coordinator, *next;
    HASH_ITER (hh, daemon->coordinators, coordinator, next) {
        TPC_ASSERT(!coordinator->calling && coordinator->forcing == NULL);
        /* uthash walks by offsets, which the analyzer does not follow. */
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        HASH_DELETE(hh, daemon->coordinators, coordinator);
        free(coordinator->asked);
        free(coordinator->ask);
        free(coordinator->expiries);
        free(coordinator);
    }
}
