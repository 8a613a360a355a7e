/* The in-memory store: what a disk does to unforced writes, without a disk.
 *
 * Every append or erasure since the last force has a number, from 1. A record knows which one
 * brought it and which one took it away; 0 is "long since durable" and "not erased". A force makes
 * everything durable, a crash lets each of the numbered survive or not. */
#include "wal/wal.h"

#include "base/tpc_assert.h"
#include "wal/record.h"

#include <stdlib.h>
#include <string.h>

struct memory_record {
    uint64_t lsn;
    uint64_t added_by;
    uint64_t erased_by;
    uint8_t *data;
    size_t size;
};

struct memory_store {
    struct wal_store store; /* first */
    struct memory_record *records;
    size_t count, capacity;
    uint64_t last_lsn;
    uint64_t unforced; /* the number of the last unforced operation */
    bool poisoned;
    bool fail_next, fail_survives;
};

static struct memory_store *memory_of(struct wal_store *store)
{
    return (struct memory_store *)store;
}

static enum tpc_rc reserve(struct memory_store *memory, size_t count)
{
    if (count > memory->capacity - memory->count) {
        const size_t capacity = memory->count + count + memory->capacity;
        struct memory_record *grown = realloc(memory->records, capacity * sizeof *grown);
        if (grown == NULL) {
            return TPC_ENOMEM;
        }
        memory->records = grown;
        memory->capacity = capacity;
    }
    return TPC_OK;
}

static enum tpc_rc add_record(struct memory_store *memory, const struct wal_entry *entry,
                              uint64_t number)
{
    uint8_t *data;

    TPC_ASSERT(entry->size >= WAL_RECORD_MIN);
    data = malloc(entry->size);
    if (data == NULL || reserve(memory, 1) != TPC_OK) {
        free(data);
        return TPC_ENOMEM;
    }
    memcpy(data, entry->data, entry->size);
    memory->records[memory->count++] = (struct memory_record){
        .lsn = ++memory->last_lsn, .added_by = number, .data = data, .size = entry->size};
    return TPC_OK;
}

static void mark_erased(struct memory_store *memory, const struct tpc_id *gtid, uint64_t number)
{
    for (size_t i = 0; i < memory->count; i++) {
        struct memory_record *record = &memory->records[i];
        if (record->erased_by == 0 &&
            memcmp(record->data + WAL_RECORD_GTID_OFFSET, gtid->bytes, sizeof gtid->bytes) == 0) {
            record->erased_by = number;
        }
    }
}

/* Which of the unforced operations are settled, and which of these happened for good. */
struct verdict {
    uint64_t from;      /* all from this number on are settled */
    uint64_t survivors; /* bit 0 is number 1; the rest never happened */
    bool all;
};

static bool happened(const struct verdict *verdict, uint64_t number)
{
    return verdict->all || (number <= 64 && (verdict->survivors & TPC_BIT(number - 1)) != 0);
}

static void settle(struct memory_store *memory, const struct verdict *verdict)
{
    size_t kept = 0;

    for (size_t i = 0; i < memory->count; i++) {
        struct memory_record record = memory->records[i];
        const bool added = record.added_by != 0 && record.added_by >= verdict->from;
        const bool erased = record.erased_by != 0 && record.erased_by >= verdict->from;
        if ((added && !happened(verdict, record.added_by)) ||
            (erased && happened(verdict, record.erased_by))) {
            free(record.data);
            continue;
        }
        record.added_by = added ? 0 : record.added_by;
        record.erased_by = erased ? 0 : record.erased_by;
        memory->records[kept++] = record;
    }
    memory->count = kept;
    memory->unforced = verdict->from - 1;
}

static enum tpc_rc memory_append(struct wal_store *store, const struct wal_entry *entries,
                                 size_t count, bool force, struct tpc_err *reterr)
{
    struct memory_store *memory = memory_of(store);
    const uint64_t number = memory->unforced + 1;

    if (memory->poisoned) {
        return tpc_fail(reterr, TPC_EIO, "an earlier append failed: start again");
    }
    for (size_t i = 0; i < count; i++) {
        if (entries[i].data == NULL) {
            for (size_t j = 0; j < entries[i].erase_count; j++) {
                mark_erased(memory, &entries[i].erase[j], number);
            }
        } else if (add_record(memory, &entries[i], number) != TPC_OK) {
            settle(memory, &(struct verdict){.from = number});
            memory->poisoned = true;
            return tpc_fail(reterr, TPC_ENOMEM, "no memory for the log");
        }
    }
    if (memory->fail_next) {
        settle(memory, &(struct verdict){.from = number, .all = memory->fail_survives});
        memory->fail_next = false;
        memory->poisoned = true;
        return tpc_fail(reterr, TPC_EIO, "the append was made to fail");
    }
    memory->unforced = number;
    if (force) {
        settle(memory, &(struct verdict){.from = 1, .all = true});
    }
    return TPC_OK;
}

static enum tpc_rc memory_erase(struct wal_store *store, const struct tpc_id *gtids, size_t count,
                                struct tpc_err *reterr)
{
    const struct wal_entry entry = {.erase = gtids, .erase_count = count};

    return memory_append(store, &entry, 1, false, reterr);
}

static enum tpc_rc memory_scan(struct wal_store *store,
                               enum tpc_rc (*visit)(void *arg, uint64_t lsn, const void *data,
                                                    size_t size, struct tpc_err *reterr),
                               void *arg, struct tpc_err *reterr)
{
    const struct memory_store *memory = memory_of(store);

    for (size_t i = 0; i < memory->count; i++) {
        const struct memory_record *record = &memory->records[i];
        if (record->erased_by == 0) {
            enum tpc_rc rc = visit(arg, record->lsn, record->data, record->size, reterr);
            if (rc != TPC_OK) {
                return rc;
            }
        }
    }
    return TPC_OK;
}

static void memory_close(struct wal_store *store)
{
    struct memory_store *memory = memory_of(store);

    for (size_t i = 0; i < memory->count; i++) {
        free(memory->records[i].data);
    }
    free(memory->records);
    free(memory);
}

static const struct wal_store_ops memory_ops = {
    .append = memory_append,
    .scan = memory_scan,
    .erase = memory_erase,
    .close = memory_close,
};

/* Different for every id and generation, and the same in every run. */
static void make_nonce(struct wal_identity *identity)
{
    identity->nonce = identity->id;
    for (size_t i = 0; i < sizeof identity->generation; i++) {
        identity->nonce.bytes[i] ^= (uint8_t)(identity->generation >> (8 * i));
        identity->nonce.bytes[i + 8] ^= 0xa5;
    }
}

enum tpc_rc wal_memory_new(const struct tpc_id *id, struct wal_store **ret_store)
{
    struct memory_store *memory = calloc(1, sizeof *memory);

    if (memory == NULL) {
        return TPC_ENOMEM;
    }
    memory->store.ops = &memory_ops;
    memory->store.identity = (struct wal_identity){.id = *id, .generation = 1, .created = true};
    make_nonce(&memory->store.identity);
    *ret_store = &memory->store;
    return TPC_OK;
}

void wal_memory_crash(struct wal_store *store, uint64_t survivors)
{
    settle(memory_of(store), &(struct verdict){.from = 1, .survivors = survivors});
}

void wal_memory_restart(struct wal_store *store)
{
    struct memory_store *memory = memory_of(store);

    memory->poisoned = false;
    memory->fail_next = false;
    store->identity.generation++;
    store->identity.created = false;
    make_nonce(&store->identity);
}

void wal_memory_fail_next(struct wal_store *store, bool survives)
{
    struct memory_store *memory = memory_of(store);

    memory->fail_next = true;
    memory->fail_survives = survives;
}

uint64_t wal_memory_unforced(const struct wal_store *store)
{
    return ((const struct memory_store *)store)->unforced;
}

enum tpc_rc wal_memory_clone(const struct wal_store *store, struct wal_store **ret_store)
{
    const struct memory_store *from = (const struct memory_store *)store;
    struct memory_store *copy = malloc(sizeof *copy);

    if (copy == NULL) {
        return TPC_ENOMEM;
    }
    *copy = *from;
    copy->records = NULL;
    copy->count = copy->capacity = 0;
    if (reserve(copy, from->count) != TPC_OK) {
        memory_close(&copy->store);
        return TPC_ENOMEM;
    }
    for (size_t i = 0; i < from->count; i++) {
        struct memory_record record = from->records[i];
        record.data = malloc(record.size);
        if (record.data == NULL) {
            memory_close(&copy->store);
            return TPC_ENOMEM;
        }
        memcpy(record.data, from->records[i].data, record.size);
        copy->records[copy->count++] = record;
    }
    *ret_store = &copy->store;
    return TPC_OK;
}
