/* What had ended when this coordinator started. A log may tell of a million such transactions, and
 * hardly any is ever asked for: each is kept as the end record that the log has of it, and made
 * whole again when somebody asks.
 *
 *   end record read ─▶ coord_past_add … ─▶ coord_past_seal ─▶ coord_past_wake: an ended transaction
 *                                                         └▶ coord_past_drop, oldest first
 *
 * Only what is known to its client by its gtid, has no key, and shows no hazard comes here: what
 * has to be found by something else, or to be shown, is a transaction in memory from the start. */
#include "coordinator/daemon.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/tpc_assert.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { CHUNK_FIRST = 1 << 16, CHUNK_MAX = 32 << 20, HUGE_PAGE = 2 << 20 };

/* Records one behind the other; freed when none of them is needed any more. */
struct past_chunk {
    size_t live;
    char *data;
};

struct past_entry {
    struct tpc_id gtid;
    uint32_t chunk, offset, size;
    uint8_t first_kind; /* of its records in the log */
    bool gone;
};

struct coord_past {
    struct past_chunk *chunks;
    size_t chunk_count, chunk_capacity;
    size_t chunk_size, chunk_used; /* of the last one */
    struct past_entry *entries;    /* by gtid, once it is sealed */
    size_t first, count, capacity;
    bool sorted; /* as they came */
    size_t live;
    uint64_t since_ms; /* monotonic: the retention time begins anew with a start */
};

/* In huge pages where there are any: a page fault costs more than all else that is done here. */
static char *new_chunk(size_t size)
{
    char *data = tpc_must_malloc(size);
    uintptr_t begin = ((uintptr_t)data + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    uintptr_t end = ((uintptr_t)data + size) / HUGE_PAGE * HUGE_PAGE;
    if (begin < end) {
        (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE);
    }
    return data;
}

/* Twice the last one, and room for @least. */
static size_t next_size(const struct coord_past *past, size_t least)
{
    size_t size = past->chunk_size == 0          ? CHUNK_FIRST
                  : past->chunk_size < CHUNK_MAX ? 2 * past->chunk_size
                                                 : CHUNK_MAX;
    return size > least ? size : least;
}

static char *make_room(struct coord_past *past, size_t size)
{
    if (past->chunk_count == 0 || past->chunk_used + size > past->chunk_size) {
        if (past->chunk_count == past->chunk_capacity) {
            past->chunk_capacity = past->chunk_capacity > 0 ? 2 * past->chunk_capacity : 16;
            past->chunks =
                tpc_must_realloc(past->chunks, past->chunk_capacity * sizeof *past->chunks);
        }
        past->chunk_size = next_size(past, size);
        past->chunks[past->chunk_count++] =
            (struct past_chunk){.data = new_chunk(past->chunk_size)};
        past->chunk_used = 0;
    }
    char *room = past->chunks[past->chunk_count - 1].data + past->chunk_used;
    past->chunk_used += size;
    return room;
}

void coord_past_add(struct coord_daemon *daemon, const struct tpc_id *gtid,
                    enum wal_kind first_kind, const void *record, size_t size)
{
    if (daemon->past == NULL) {
        daemon->past = tpc_must_alloc(sizeof *daemon->past);
    }
    struct coord_past *past = daemon->past;
    char *room = make_room(past, size);
    struct past_chunk *chunk = &past->chunks[past->chunk_count - 1];
    memcpy(room, record, size);
    chunk->live++;
    if (past->count == past->capacity) {
        past->capacity = past->capacity > 0 ? 2 * past->capacity : 1024;
        past->entries = tpc_must_realloc(past->entries, past->capacity * sizeof *past->entries);
    }
    past->live++;
    past->sorted = past->count == 0 ||
                   (past->sorted && tpc_id_compare(&past->entries[past->count - 1].gtid, gtid) < 0);
    past->entries[past->count++] = (struct past_entry){.gtid = *gtid,
                                                       .chunk = (uint32_t)past->chunk_count - 1,
                                                       .offset = (uint32_t)(room - chunk->data),
                                                       .size = (uint32_t)size,
                                                       .first_kind = (uint8_t)first_kind};
}

static void drop(struct coord_past *past, struct past_entry *entry)
{
    struct past_chunk *chunk = &past->chunks[entry->chunk];
    TPC_ASSERT(!entry->gone && chunk->live > 0);
    entry->gone = true;
    past->live--;
    if (--chunk->live == 0) {
        free(chunk->data);
        chunk->data = NULL;
    }
}

static int compare(const void *a, const void *b)
{
    return tpc_id_compare(&((const struct past_entry *)a)->gtid,
                          &((const struct past_entry *)b)->gtid);
}

/* Where @gtid is, or would be. */
static size_t find(const struct coord_past *past, const struct tpc_id *gtid)
{
    size_t low = past->first, high = past->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (tpc_id_compare(&past->entries[middle].gtid, gtid) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct past_entry *find_entry(const struct coord_past *past, const struct tpc_id *gtid)
{
    size_t at = past != NULL ? find(past, gtid) : 0;
    bool there = past != NULL && at < past->count && !past->entries[at].gone &&
                 tpc_id_equal(&past->entries[at].gtid, gtid);
    return there ? &past->entries[at] : NULL;
}

enum tpc_rc coord_past_seal(struct coord_daemon *daemon, struct tpc_err *reterr)
{
    struct coord_past *past = daemon->past;
    char gtid[TPC_ID_TEXT];
    if (past == NULL) {
        return TPC_OK;
    }
    past->since_ms = tpc_clock_mono_ms();
    if (!past->sorted) {
        qsort(past->entries, past->count, sizeof *past->entries, compare);
    }
    for (const struct coord_xact *xact = daemon->xacts; xact != NULL; xact = xact->next) {
        struct past_entry *entry = find_entry(past, &xact->gtid);
        if (entry != NULL && !xact->ended) {
            return tpc_fail(reterr, TPC_ECORRUPT,
                            "the log has a record of transaction %s behind its end that says that "
                            "it has not ended",
                            tpc_id_format(&xact->gtid, gtid));
        }
        if (entry != NULL) { /* a later record of the end says more */
            drop(past, entry);
        }
    }
    return TPC_OK;
}

static struct coord_xact *make_whole(struct coord_daemon *daemon, const struct past_entry *entry)
{
    struct wal_record log_record;
    struct coord_record record;
    struct tpc_err err = {0};
    const char *bytes = daemon->past->chunks[entry->chunk].data + entry->offset;
    /* They were read, and carried out, at the start. */
    if (wal_record_decode(bytes, entry->size, &log_record, &err) != TPC_OK ||
        coord_record_read(&log_record, &record, &err) != TPC_OK) {
        coord_halt("a record in memory is damaged", &err);
    }
    struct coord_xact *xact = coord_recovery_rebuild(daemon, &record);
    enum wal_kind first_kind = (enum wal_kind)entry->first_kind;
    if (xact == NULL ||
        (first_kind != WAL_COORD_END &&
         coord_recover_fold(xact->fsm, first_kind, &record, &err) != TPC_OK) ||
        coord_recover_fold(xact->fsm, WAL_COORD_END, &record, &err) != TPC_OK) {
        coord_halt("a transaction that had ended cannot be made whole again", &err);
    }
    xact->took_us = coord_recovery_took_us(&record);
    return xact;
}

struct coord_xact *coord_past_look(struct coord_daemon *daemon, const struct tpc_id *gtid)
{
    struct coord_xact *xact = make_whole(daemon, find_entry(daemon->past, gtid));
    xact->ended = true;
    return xact;
}

struct coord_xact *coord_past_wake(struct coord_daemon *daemon, const struct tpc_id *gtid)
{
    struct past_entry *entry = find_entry(daemon->past, gtid);
    if (entry == NULL) {
        return NULL;
    }
    struct coord_xact *xact = make_whole(daemon, entry);
    drop(daemon->past, entry);
    if (coord_xact_add(xact) != TPC_OK) {
        coord_halt("out of memory for a transaction that had ended", NULL);
    }
    coord_xact_mark_ended(xact);
    return xact;
}

const struct tpc_id *coord_past_below(const struct coord_daemon *daemon, const struct tpc_id *gtid)
{
    const struct coord_past *past = daemon->past;
    size_t at = past == NULL ? 0 : gtid == NULL ? past->count : find(past, gtid);
    while (past != NULL && at > past->first) {
        if (!past->entries[--at].gone) {
            return &past->entries[at].gtid;
        }
    }
    return NULL;
}

size_t coord_past_count(const struct coord_daemon *daemon)
{
    return daemon->past != NULL ? daemon->past->live : 0;
}

bool coord_past_is_older(const struct coord_daemon *daemon, uint64_t ms)
{
    return daemon->past != NULL && tpc_clock_mono_ms() - daemon->past->since_ms >= ms;
}

bool coord_past_drop(struct coord_daemon *daemon, struct tpc_id *ret_gtid)
{
    struct coord_past *past = daemon->past;
    while (past != NULL && past->first < past->count) {
        struct past_entry *entry = &past->entries[past->first++];
        if (!entry->gone) {
            *ret_gtid = entry->gtid;
            drop(past, entry);
            return true;
        }
    }
    coord_past_free(daemon);
    return false;
}

void coord_past_free(struct coord_daemon *daemon)
{
    struct coord_past *past = daemon->past;
    if (past == NULL) {
        return;
    }
    for (size_t i = 0; i < past->chunk_count; i++) {
        free(past->chunks[i].data);
    }
    free(past->chunks);
    free(past->entries);
    free(past);
    daemon->past = NULL;
}
