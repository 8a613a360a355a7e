#include "tests/model/wlog.h"

#include "base/tpc_assert.h"

#include <string.h>

struct wlog wlog_of_coord(const struct model_config *config, struct world *world)
{
    struct wlog log = {.records = world->log,
                       .count = &world->log_count,
                       .durable = &world->log_durable,
                       .max = CLOG_MAX,
                       .column_count = config->parts};
    for (unsigned i = 0; i < config->parts; i++) {
        log.columns[i] = world->sides[i].columns;
    }
    return log;
}

struct wlog wlog_of_part(struct world *world, unsigned part)
{
    struct side *side = &world->sides[part];
    return (struct wlog){.records = side->log,
                         .count = &side->log_count,
                         .durable = &side->log_durable,
                         .max = PLOG_MAX};
}

unsigned wlog_append(const struct wlog *log, unsigned record)
{
    TPC_ASSERT(*log->count < log->max);
    log->records[*log->count] = (uint8_t)record;
    return (*log->count)++;
}

static void cut_byte(uint8_t *bytes, unsigned at, unsigned count)
{
    memmove(bytes + at, bytes + at + 1, count - at - 1);
    bytes[count - 1] = 0;
}

static void cut(const struct wlog *log, unsigned at)
{
    cut_byte(log->records, at, *log->count);
    for (unsigned i = 0; i < log->column_count; i++) {
        cut_byte(log->columns[i], at, *log->count);
    }
    *log->durable = (uint8_t)(*log->durable - (at < *log->durable));
    (*log->count)--;
}

/* A durable erasure and what it erases are gone: all but that the transaction is over. */
static void settle(const struct wlog *log)
{
    for (unsigned at = 0; at < *log->durable; at++) {
        uint8_t record = log->records[at];
        if ((record & REC_KIND) != REC_ERASE) {
            continue;
        }
        cut(log, at);
        for (unsigned i = at; i-- > 0;) {
            if ((log->records[i] & REC_TXN) == (record & REC_TXN) &&
                (log->records[i] & REC_KIND) != REC_OVER) {
                cut(log, i);
            }
        }
        at = UINT32_MAX; /* from the beginning */
    }
}

int wlog_waiting(const struct wlog *log)
{
    for (unsigned i = 0; i < *log->count; i++) {
        if ((log->records[i] & REC_FORCED) != 0) {
            return (int)i;
        }
    }
    return -1;
}

bool wlog_is_waited_for(const struct wlog *log, unsigned txn)
{
    for (unsigned i = 0; i < *log->count; i++) {
        if ((log->records[i] & REC_FORCED) != 0 && (log->records[i] & REC_TXN) / REC_TXN == txn) {
            return true;
        }
    }
    return false;
}

bool wlog_has(const struct wlog *log, unsigned kind, unsigned txn, bool durable)
{
    for (unsigned i = 0; i < (durable ? *log->durable : *log->count); i++) {
        if ((log->records[i] & REC_KIND) == kind && (log->records[i] & REC_TXN) / REC_TXN == txn) {
            return true;
        }
    }
    return false;
}

static void swap_bytes(uint8_t *one, uint8_t *other)
{
    uint8_t swap = *one;
    *one = *other;
    *other = swap;
}

static void swap(const struct wlog *log, unsigned at)
{
    swap_bytes(&log->records[at - 1], &log->records[at]);
    for (unsigned i = 0; i < log->column_count; i++) {
        swap_bytes(&log->columns[i][at - 1], &log->columns[i][at]);
    }
}

void wlog_forced(const struct wlog *log, unsigned at, bool alone)
{
    log->records[at] &= (uint8_t)~REC_FORCED;
    for (; alone && at > *log->durable; at--) {
        swap(log, at);
    }
    if (*log->durable < at + 1) {
        *log->durable = (uint8_t)(at + 1);
    }
    settle(log);
}

void wlog_crash(const struct wlog *log, unsigned survivors)
{
    for (unsigned lost = *log->count - *log->durable - survivors; lost > 0; lost--) {
        cut(log, *log->count - 1u);
    }
    for (unsigned i = 0; i < *log->count; i++) {
        log->records[i] &= (uint8_t)~REC_FORCED;
    }
    *log->durable = *log->count;
    settle(log);
}

void wlog_sort(const struct wlog *log)
{
    for (unsigned i = 1; i < *log->durable; i++) {
        for (unsigned at = i;
             at > 0 && (log->records[at - 1] & REC_TXN) > (log->records[at] & REC_TXN); at--) {
            swap(log, at);
        }
    }
}

void wlog_swap_txns(const struct wlog *log)
{
    for (unsigned i = 0; i < *log->count; i++) {
        log->records[i] ^= REC_TXN;
    }
    wlog_sort(log);
}
