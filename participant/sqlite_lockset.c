/* For every changed row:
 *
 *   table IX, row X
 *   unique key   the new values, when they are new: nobody else may come to hold them.
 *   child row    the parent's key it newly refers to, S: the parent must stay.
 *   parent row   the key that it gives up, X: nobody may come to refer to it.
 *
 * A serializable branch locks tables that it changes as those that it reads, S: which rows it
 * changes, and which it leaves alone (INSERT OR IGNORE), depends on all that are there.
 *
 * The old values of a unique key need no lock: as long as they are in the committed state, every
 * other capture that wants them fails by itself. The space of a key is locked IX or IS beside a
 * value, and whole where the value cannot be told. */
#include "base/hash.h"
#include "participant/sqlite_internal.h"

#include <stdlib.h>
#include <string.h>

enum tpc_rc part_lockset_add(struct part_capture *capture, const struct tpc_id *name, uint8_t modes)
{
    if (capture->lock_count == capture->lock_capacity) {
        size_t capacity = capture->lock_capacity == 0 ? 32 : capture->lock_capacity * 2;
        struct part_lock *locks = realloc(capture->locks, capacity * sizeof(*locks));
        if (locks == NULL) {
            return TPC_ENOMEM;
        }
        capture->locks = locks;
        capture->lock_capacity = capacity;
    }
    capture->locks[capture->lock_count++] = (struct part_lock){.name = *name, .modes = modes};
    return TPC_OK;
}

static enum tpc_rc value_name(const struct tpc_id *space, const struct part_key *key,
                              const struct part_cell *row, struct tpc_id *out)
{
    struct tpc_buf buf = {0};
    tpc_buf_add(&buf, space, sizeof(*space));
    for (size_t i = 0; i < key->count; i++) {
        part_cell_normal(&buf, &row[key->columns[i]], key->collations[i]);
    }
    bool failed = buf.failed;
    if (!failed) {
        tpc_digest(buf.data, buf.size, out);
    }
    tpc_buf_done(&buf);
    return failed ? TPC_ENOMEM : TPC_OK;
}

enum tpc_rc part_lockset_row(const struct part_table *table, const struct part_cell *row,
                             struct tpc_id *out)
{
    return value_name(&table->id, &table->primary, row, out);
}

/* SQLite does not show all of it. */
static bool has_any(const struct part_key *key, const struct part_cell *row)
{
    for (size_t i = 0; i < key->count; i++) {
        if (row[key->columns[i]].type == PART_CELL_ANY) {
            return true;
        }
    }
    return false;
}

static bool has_null(const struct part_key *key, const struct part_cell *row)
{
    for (size_t i = 0; i < key->count; i++) {
        if (row[key->columns[i]].type == PART_CELL_NULL) {
            return true;
        }
    }
    return false;
}

/* For sure. */
static bool same(const struct part_key *key, const struct part_cell *a, const struct part_cell *b)
{
    if (key->unseen) {
        return false;
    }
    for (size_t i = 0; i < key->count; i++) {
        if (!part_cell_equal(&a[key->columns[i]], &b[key->columns[i]])) {
            return false;
        }
    }
    return true;
}

/* Is the value compared as another one than it is? Then it cannot be told which. */
static bool is_converted(const struct part_key *key, const struct part_cell *row)
{
    for (size_t i = 0; key->conversions != NULL && i < key->count; i++) {
        uint8_t type = row[key->columns[i]].type;
        if ((key->conversions[i] == PART_AFF_NUMERIC && type == PART_CELL_TEXT) ||
            (key->conversions[i] == PART_AFF_TEXT &&
             (type == PART_CELL_INT || type == PART_CELL_REAL))) {
            return true;
        }
    }
    return false;
}

/* @mode, S or X, on the value that @key has in @row; on nothing when that is no value. */
static enum tpc_rc lock_value(struct part_capture *capture, const struct part_key *key,
                              const struct part_cell *row, uint8_t mode)
{
    if (key->coarse || has_any(key, row) || is_converted(key, row)) {
        return part_lockset_add(capture, &key->space, mode);
    }
    if (has_null(key, row)) {
        return TPC_OK;
    }
    struct tpc_id name;
    enum tpc_rc rc = value_name(&key->space, key, row, &name);
    rc = rc == TPC_OK ? part_lockset_add(capture, &name, mode) : rc;
    uint8_t intent = mode == PART_LOCK_S ? PART_LOCK_IS : PART_LOCK_IX;
    return rc == TPC_OK ? part_lockset_add(capture, &key->space, intent) : rc;
}

static enum tpc_rc lock_change(struct part_capture *capture, const struct part_change *change)
{
    const struct part_table *table = change->table;
    const struct part_cell *before = change->before, *after = change->after;
    uint8_t mode = capture->serializable ? PART_LOCK_IX | PART_LOCK_S : PART_LOCK_IX;
    enum tpc_rc rc = part_lockset_add(capture, &table->id, mode);
    rc = rc == TPC_OK ? part_lockset_add(capture, &change->name, PART_LOCK_X) : rc;
    const struct part_key *key = after != NULL ? table->uniques : NULL;
    for (; key != NULL && rc == TPC_OK; key = key->next) {
        if (before == NULL || key->coarse || key->partial || !same(key, before, after)) {
            rc = lock_value(capture, key, after, PART_LOCK_X);
        }
    }
    key = after != NULL ? table->children : NULL;
    for (; key != NULL && rc == TPC_OK; key = key->next) {
        if (before == NULL || !same(key, before, after)) {
            rc = lock_value(capture, key, after, PART_LOCK_S);
        }
    }
    key = before != NULL ? table->parents : NULL;
    for (; key != NULL && rc == TPC_OK; key = key->next) {
        /* REPLACE takes a row's children along, and may leave it with the key that it had. */
        if (after == NULL || capture->serializable || !same(key, before, after)) {
            rc = lock_value(capture, key, before, PART_LOCK_X);
        }
    }
    return rc;
}

enum tpc_rc part_lockset_build(struct part_capture *capture)
{
    enum tpc_rc rc = TPC_OK;
    for (const struct part_change *c = capture->first; c != NULL && rc == TPC_OK; c = c->next) {
        rc = lock_change(capture, c);
    }
    capture->lock_count = part_lock_join(capture->locks, capture->lock_count);
    return rc;
}
