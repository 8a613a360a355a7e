/* Logs of the model: a sequence of one-byte records, of which the first are durable. */
#ifndef ASSENT_TESTS_MODEL_WLOG_H
#define ASSENT_TESTS_MODEL_WLOG_H

#include "tests/model/world.h"

/* One view for both kinds of log. The columns (of the coordinator's) move with the records. */
struct wlog {
    uint8_t *records, *count, *durable;
    unsigned max;
    uint8_t *columns[PARTS_MAX];
    unsigned column_count;
};

struct wlog wlog_of_coord(const struct model_config *config, struct world *world);
struct wlog wlog_of_part(struct world *world, unsigned part);

/* Its place; the columns are zero. */
unsigned wlog_append(const struct wlog *log, unsigned record);
/* The first record whose force is waited for, or -1. */
int wlog_waiting(const struct wlog *log);
/* Another force of @txn's is under way. */
bool wlog_is_waited_for(const struct wlog *log, unsigned txn);
bool wlog_has(const struct wlog *log, unsigned kind, unsigned txn, bool durable);
/* The record at @at is durable, and all before it; nobody waits for it any more. @alone: a fault;
 * those before it are not. */
void wlog_forced(const struct wlog *log, unsigned at, bool alone);
/* @survivors of those that are not durable, the first ones, are there afterwards. */
void wlog_crash(const struct wlog *log, unsigned survivors);
/* Of the durable records those of the first transaction come first. */
void wlog_sort(const struct wlog *log);
/* The first transaction is the second one, and the other way round. */
void wlog_swap_txns(const struct wlog *log);

#endif
