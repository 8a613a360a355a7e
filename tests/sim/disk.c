/* In place of wal_open: each node's log lies in the store of
 * wal/store_memory.c, which knows what was forced. The shipped wal/log.c runs
 * over it, stepped: a group becomes durable when its time has come. A crash
 * leaves a prefix of what was not forced, as SQLite's log does. */
#include "tests/sim/sim.h"

#include "base/tpc_assert.h"
#include "wal/record.h"
#include "wal/wal.h"

#include <stdlib.h>
#include <string.h>

enum { FORCE_US = 1500, SLOW_US = 4000000, SURVIVORS_MAX = 64 };

struct sim_durable {
    struct tpc_id gtid;
    uint32_t kinds;
    struct sim_durable *next;
    UT_hash_handle hh;
};

/* The store that a daemon sees, for one life. */
struct sim_store {
    struct wal_store store; /* first */
    struct sim_node *node;
};

/* ---- What is durable ---- */

static void note_durable(struct sim_disk *disk, const struct tpc_id *gtid, uint32_t kinds)
{
    struct sim_durable *known;
    HASH_FIND(hh, disk->durable, gtid, sizeof *gtid, known);
    if (known == NULL) {
        known = sim_alloc(sizeof *known);
        known->gtid = *gtid;
        struct sim_owner *owner = sim_own(&sim.memory);
        HASH_ADD(hh, disk->durable, gtid, sizeof known->gtid, known);
        (void)sim_own(owner);
    }
    known->kinds |= kinds;
}

bool sim_disk_holds(const struct sim_node *node, const struct tpc_id *gtid, unsigned kind)
{
    struct sim_durable *known;
    HASH_FIND(hh, node->disk.durable, gtid, sizeof *gtid, known);
    return known != NULL && (known->kinds & 1u << kind) != 0;
}

static void note_entry(struct sim_disk *disk, const struct wal_entry *entry)
{
    struct wal_record record;
    struct tpc_err err = {0};
    if (entry->data == NULL) {
        return; /* what is erased was durable all the same */
    }
    if (wal_record_decode(entry->data, entry->size, &record, &err) != TPC_OK) {
        sim_violation("a record that cannot be read is written: %s", err.text);
    }
    struct sim_durable *item = sim_alloc(sizeof *item), **end = &disk->unforced;
    item->gtid = record.gtid;
    item->kinds = 1u << record.kind;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = item;
}

static void forget_unforced(struct sim_disk *disk, bool are_durable)
{
    while (disk->unforced != NULL) {
        struct sim_durable *item = disk->unforced;
        disk->unforced = item->next;
        if (are_durable) {
            note_durable(disk, &item->gtid, item->kinds);
        }
        free(item);
    }
}

/* ---- The store ---- */

static enum tpc_rc write_down(struct sim_disk *disk, const struct wal_entry *entries, size_t count,
                              bool force, struct tpc_err *reterr)
{
    struct sim_owner *owner = sim_own(&sim.memory);
    enum tpc_rc rc = disk->memory->ops->append(disk->memory, entries, count, force, reterr);
    for (size_t i = 0; rc == TPC_OK && i < count; i++) {
        note_entry(disk, &entries[i]);
    }
    if (rc == TPC_OK && force) {
        forget_unforced(disk, true);
    }
    (void)sim_own(owner);
    return rc;
}

/* What is there in spite of the failure is behind all that was written before,
 * which then is there too: the frames of SQLite's log are checked one after the
 * other. */
static void let_fail(struct sim_node *node, bool force)
{
    struct sim_disk *disk = &node->disk;
    bool survives = sim_between(&node->random, 0, 2) == 0;
    sim_trace(node->name, "%s append fails, and its records %s", force ? "a forced" : "an unforced",
              survives ? "are there" : "are not there");
    if (survives) {
        (void)write_down(disk, NULL, 0, true, NULL);
    }
    disk->poisoned = true;
    wal_memory_fail_next(disk->memory, survives);
}

static enum tpc_rc append(struct wal_store *store, const struct wal_entry *entries, size_t count,
                          bool force, struct tpc_err *reterr)
{
    struct sim_node *node = ((struct sim_store *)store)->node;
    struct sim_disk *disk = &node->disk;
    sim_crash_point(SIM_CRASH_INSIDE);
    if (sim_fault(SIM_FORCE_FAIL, node->index)) {
        let_fail(node, force);
    }
    bool torn = sim_fault(SIM_CRASH_INSIDE, node->index);
    bool lies = sim.config.broken == SIM_BROKEN_LYING_LOG;
    enum tpc_rc rc = write_down(disk, entries, count, force && !torn && !lies, reterr);
    if (torn) {
        sim_end_life("crash while a group is being forced");
    }
    sim_crash_point(SIM_CRASH_INSIDE);
    return rc;
}

struct scan {
    enum tpc_rc (*visit)(void *arg, uint64_t lsn, const void *data, size_t size,
                         struct tpc_err *reterr);
    void *arg;
};

static enum tpc_rc visit(void *arg, uint64_t lsn, const void *data, size_t size,
                         struct tpc_err *reterr)
{
    const struct scan *scan = arg;
    sim_crash_point(SIM_CRASH_START);
    return scan->visit(scan->arg, lsn, data, size, reterr);
}

static enum tpc_rc scan(struct wal_store *store,
                        enum tpc_rc (*visitor)(void *arg, uint64_t lsn, const void *data,
                                               size_t size, struct tpc_err *reterr),
                        void *arg, struct tpc_err *reterr)
{
    struct wal_store *memory = ((struct sim_store *)store)->node->disk.memory;
    struct scan with = {.visit = visitor, .arg = arg};
    return memory->ops->scan(memory, visit, &with, reterr);
}

static enum tpc_rc erase(struct wal_store *store, const struct tpc_id *gtids, size_t count,
                         struct tpc_err *reterr)
{
    const struct wal_entry entry = {.erase = gtids, .erase_count = count};
    return append(store, &entry, 1, false, reterr);
}

static void close_store(struct wal_store *store)
{
    free(store);
}

static const struct wal_store_ops ops = {
    .append = append, .scan = scan, .erase = erase, .close = close_store};

static void open_memory(struct sim_node *node)
{
    struct sim_owner *owner = sim_own(&sim.memory);
    struct tpc_id id;
    if (node->disk.memory != NULL) {
        wal_memory_restart(node->disk.memory);
    } else {
        tpc_id_random(&id);
        TPC_ASSERT(wal_memory_new(&id, &node->disk.memory) == TPC_OK);
    }
    (void)sim_own(owner);
}

enum tpc_rc wal_open(const struct wal_options *options, struct wal_store **ret_store,
                     struct tpc_err *reterr)
{
    struct sim_store *store = tpc_must_alloc(sizeof *store);
    (void)options;
    (void)reterr;
    sim_crash_point(SIM_CRASH_START);
    store->node = sim.current;
    open_memory(store->node);
    sim_crash_point(SIM_CRASH_START);
    store->store = (struct wal_store){.ops = &ops, .identity = store->node->disk.memory->identity};
    *ret_store = &store->store;
    return TPC_OK;
}

/* ---- The log thread ---- */

enum tpc_rc __real_wal_log_start(struct wal_store *store, const struct wal_log_options *options,
                                 struct wal_log **ret_log, struct tpc_err *reterr);
enum tpc_rc __wrap_wal_log_start(struct wal_store *store, const struct wal_log_options *options,
                                 struct wal_log **ret_log, struct tpc_err *reterr);
void __real_wal_log_stop(struct wal_log *log);
void __wrap_wal_log_stop(struct wal_log *log);

enum tpc_rc __wrap_wal_log_start(struct wal_store *store, const struct wal_log_options *options,
                                 struct wal_log **ret_log, struct tpc_err *reterr)
{
    struct wal_log_options stepped = *options;
    stepped.stepped = true;
    enum tpc_rc rc = __real_wal_log_start(store, &stepped, ret_log, reterr);
    sim.current->disk.log = rc == TPC_OK ? *ret_log : NULL;
    return rc;
}

void __wrap_wal_log_stop(struct wal_log *log)
{
    sim.current->disk.log = NULL;
    __real_wal_log_stop(log);
}

static void step(void *arg)
{
    struct sim_node *node = arg;
    if (node->disk.log != NULL && node->disk.step_at_us <= sim.now_us) {
        node->disk.step_at_us = UINT64_MAX;
        node->disk.forcing = false;
        (void)wal_log_step(node->disk.log);
    }
}

static uint64_t force_time(struct sim_node *node)
{
    if (sim_fault(SIM_FORCE_SLOW, node->index)) {
        uint64_t us = sim_between(&node->random, 100000, SLOW_US);
        sim_trace(node->name, "a force takes %u ms", (unsigned)(us / 1000));
        return us;
    }
    return sim_latency(&node->random, FORCE_US);
}

void sim_disk_after(struct sim_node *node)
{
    struct sim_disk *disk = &node->disk;
    uint64_t due_us = disk->log != NULL ? wal_log_due_us(disk->log) : UINT64_MAX;
    if (due_us == UINT64_MAX || disk->forcing) {
        return;
    }
    uint64_t at_us;
    if (due_us == 0) {
        disk->forcing = true;
        at_us = sim.now_us + force_time(node);
    } else {
        at_us = due_us - SIM_MONO_START_US;
        at_us = at_us > sim.now_us ? at_us : sim.now_us;
    }
    if (due_us == 0 || at_us < disk->step_at_us) {
        disk->step_at_us = at_us;
        sim_at(at_us, node, step, node);
    }
}

/* ---- The crash ---- */

static enum tpc_rc note_survivor(void *arg, uint64_t lsn, const void *data, size_t size,
                                 struct tpc_err *reterr)
{
    struct wal_record record;
    (void)lsn;
    enum tpc_rc rc = wal_record_decode(data, size, &record, reterr);
    if (rc == TPC_OK) {
        note_durable(arg, &record.gtid, 1u << record.kind);
    }
    return rc;
}

void sim_disk_crash(struct sim_node *node)
{
    struct sim_disk *disk = &node->disk;
    struct tpc_err err = {0};
    disk->forcing = false;
    if (disk->memory == NULL) {
        return;
    }
    uint64_t unforced = wal_memory_unforced(disk->memory);
    uint64_t kept = sim_between(&node->random, 0, unforced + 1);
    uint64_t survivors = kept >= SURVIVORS_MAX ? UINT64_MAX : TPC_BIT(kept) - 1;
    if (unforced > 0) {
        sim_trace(node->name, "of %u unforced groups %u survive", (unsigned)unforced,
                  (unsigned)kept);
    }
    wal_memory_crash(disk->memory, survivors);
    forget_unforced(disk, false);
    if (disk->memory->ops->scan(disk->memory, note_survivor, disk, &err) != TPC_OK) {
        sim_violation("%s has a log that cannot be read: %s", node->name, err.text);
    }
}
