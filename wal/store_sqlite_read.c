/* The records, in their order. Those of a large log are read ahead by a thread of its own: SQLite
 * takes about as long for them as recovery does. */
#include "wal/store_sqlite.h"

#include "base/memory.h"
#include "wal/record.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_ROWS = 1024, BATCH_BYTES = 256 << 10, BATCHES = 4 };

typedef enum tpc_rc visit_fn(void *arg, uint64_t lsn, const void *data, size_t size,
                             struct tpc_err *reterr);

/* ---- A record ---- */

/* Sizes, checksum, and the same transaction in the column. */
static bool record_is_whole(const uint8_t *data, size_t size, const void *gtid, size_t gtid_size)
{
    uint32_t crc = 0;

    if (data == NULL || gtid == NULL || size < WAL_RECORD_MIN ||
        gtid_size != sizeof(struct tpc_id) ||
        memcmp(data + WAL_RECORD_GTID_OFFSET, gtid, gtid_size) != 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof crc; i++) {
        crc |= (uint32_t)data[size - sizeof crc + i] << (8 * i);
    }
    return crc == wal_crc32c(data, size - sizeof crc);
}

/* What SQLite found in one step. @last_lsn is that of the row before. */
static enum tpc_rc check_row(const struct wal_sqlite *log, sqlite3_stmt *rows, uint64_t last_lsn,
                             struct tpc_err *reterr)
{
    const uint64_t lsn = (uint64_t)sqlite3_column_int64(rows, 0);
    const void *gtid = sqlite3_column_blob(rows, 1);
    const void *data = sqlite3_column_blob(rows, 2);

    if ((gtid == NULL || data == NULL) && sqlite3_errcode(log->db) == SQLITE_NOMEM) {
        return wal_sqlite_fail(log, "read", reterr);
    }
    if (!record_is_whole(data, (size_t)sqlite3_column_bytes(rows, 2), gtid,
                         (size_t)sqlite3_column_bytes(rows, 1))) {
        return tpc_fail(reterr, TPC_ECORRUPT,
                        "%s/log.db is damaged (the checksum of record %" PRIu64
                        " is wrong): " WAL_SQLITE_RESTORE,
                        log->path, lsn);
    }
    if (lsn <= last_lsn || lsn > INT64_MAX) {
        return tpc_fail(reterr, TPC_ECORRUPT,
                        "%s/log.db is damaged (record %" PRIu64 " comes after record %" PRIu64
                        "): " WAL_SQLITE_RESTORE,
                        log->path, lsn, last_lsn);
    }
    return TPC_OK;
}

/* The next row is current in @rows, or @ret_done. @lsn is that of the row before, and becomes its.
 */
static enum tpc_rc next_row(const struct wal_sqlite *log, sqlite3_stmt *rows, uint64_t *lsn,
                            bool *ret_done, struct tpc_err *reterr)
{
    if (tpc_fp_hit(log->failpoints.scan)) {
        return tpc_fail(reterr, TPC_EIO, "cannot read %s/log.db: the failpoint says so", log->path);
    }
    const int code = sqlite3_step(rows);
    *ret_done = code == SQLITE_DONE;
    if (code != SQLITE_ROW) {
        return code == SQLITE_DONE ? TPC_OK : wal_sqlite_fail(log, "read", reterr);
    }
    const enum tpc_rc rc = check_row(log, rows, *lsn, reterr);
    *lsn = (uint64_t)sqlite3_column_int64(rows, 0);
    return rc;
}

static enum tpc_rc scan_at_once(const struct wal_sqlite *log, sqlite3_stmt *rows, visit_fn *visit,
                                void *arg, struct tpc_err *reterr)
{
    uint64_t lsn = 0;
    bool done = false;
    enum tpc_rc rc = TPC_OK;

    while (rc == TPC_OK && (rc = next_row(log, rows, &lsn, &done, reterr)) == TPC_OK && !done) {
        rc = visit(arg, lsn, sqlite3_column_blob(rows, 2), (size_t)sqlite3_column_bytes(rows, 2),
                   reterr);
    }
    return rc;
}

/* ---- Ahead ---- */

struct batch {
    struct {
        uint64_t lsn;
        size_t at, size; /* in `data` */
    } rows[BATCH_ROWS];
    size_t count, used, capacity;
    uint8_t *data;
    bool last;
    struct tpc_err err; /* after the rows; its rc is TPC_OK where all is well */
};

/* Batches go round: the reader fills them, the caller of the scan empties them. */
struct ahead {
    const struct wal_sqlite *log;
    sqlite3_stmt *rows;
    uint64_t lsn; /* the reader's */
    pthread_t thread;
    pthread_mutex_t mutex; /* of what follows; of a batch it decides whose it is */
    pthread_cond_t changed;
    size_t filled, emptied; /* batches so far */
    bool unwanted;
    struct batch batches[BATCHES];
};

static void keep_row(struct batch *batch, uint64_t lsn, const void *data, size_t size)
{
    if (batch->used + size > batch->capacity) {
        batch->capacity = 2 * (batch->used + size) + BATCH_BYTES;
        batch->data = tpc_must_realloc(batch->data, batch->capacity);
    }
    memcpy(batch->data + batch->used, data, size);
    batch->rows[batch->count].lsn = lsn;
    batch->rows[batch->count].at = batch->used;
    batch->rows[batch->count].size = size;
    batch->used += size;
    batch->count++;
}

static void fill(struct ahead *ahead, struct batch *batch)
{
    batch->count = batch->used = 0;
    while (!batch->last && batch->count < BATCH_ROWS && batch->used < BATCH_BYTES) {
        batch->err.rc = next_row(ahead->log, ahead->rows, &ahead->lsn, &batch->last, &batch->err);
        batch->last = batch->last || batch->err.rc != TPC_OK;
        if (!batch->last) {
            keep_row(batch, ahead->lsn, sqlite3_column_blob(ahead->rows, 2),
                     (size_t)sqlite3_column_bytes(ahead->rows, 2));
        }
    }
}

static void *read_ahead(void *arg)
{
    struct ahead *ahead = arg;
    bool last = false;

    (void)pthread_mutex_lock(&ahead->mutex);
    while (!last && !ahead->unwanted) {
        if (ahead->filled - ahead->emptied == BATCHES) {
            (void)pthread_cond_wait(&ahead->changed, &ahead->mutex);
            continue;
        }
        struct batch *batch = &ahead->batches[ahead->filled % BATCHES];
        (void)pthread_mutex_unlock(&ahead->mutex);
        fill(ahead, batch);
        last = batch->last;
        (void)pthread_mutex_lock(&ahead->mutex);
        ahead->filled++;
        (void)pthread_cond_signal(&ahead->changed);
    }
    (void)pthread_mutex_unlock(&ahead->mutex);
    return NULL;
}

static struct batch *await_batch(struct ahead *ahead)
{
    (void)pthread_mutex_lock(&ahead->mutex);
    while (ahead->filled == ahead->emptied) {
        (void)pthread_cond_wait(&ahead->changed, &ahead->mutex);
    }
    struct batch *batch = &ahead->batches[ahead->emptied % BATCHES];
    (void)pthread_mutex_unlock(&ahead->mutex);
    return batch;
}

static void give_back(struct ahead *ahead, bool unwanted)
{
    (void)pthread_mutex_lock(&ahead->mutex);
    ahead->emptied++;
    ahead->unwanted = unwanted;
    (void)pthread_cond_signal(&ahead->changed);
    (void)pthread_mutex_unlock(&ahead->mutex);
}

static enum tpc_rc empty(const struct batch *batch, visit_fn *visit, void *arg,
                         struct tpc_err *reterr)
{
    enum tpc_rc rc = TPC_OK;

    for (size_t i = 0; i < batch->count && rc == TPC_OK; i++) {
        rc = visit(arg, batch->rows[i].lsn, batch->data + batch->rows[i].at, batch->rows[i].size,
                   reterr);
    }
    return rc == TPC_OK && batch->err.rc != TPC_OK
               ? tpc_fail(reterr, batch->err.rc, "%s", batch->err.text)
               : rc;
}

static enum tpc_rc visit_all(struct ahead *ahead, visit_fn *visit, void *arg,
                             struct tpc_err *reterr)
{
    enum tpc_rc rc = TPC_OK;
    bool last = false;

    while (!last) {
        const struct batch *batch = await_batch(ahead);
        rc = empty(batch, visit, arg, reterr);
        last = batch->last || rc != TPC_OK;
        give_back(ahead, last);
    }
    (void)pthread_join(ahead->thread, NULL);
    return rc;
}

static enum tpc_rc scan_ahead(const struct wal_sqlite *log, sqlite3_stmt *rows, visit_fn *visit,
                              void *arg, struct tpc_err *reterr)
{
    struct ahead *ahead = tpc_must_alloc(sizeof *ahead);
    enum tpc_rc rc;

    ahead->log = log;
    ahead->rows = rows;
    (void)pthread_mutex_init(&ahead->mutex, NULL);
    (void)pthread_cond_init(&ahead->changed, NULL);
    rc = wal_sqlite_thread(&ahead->thread, read_ahead, ahead, "log reader")
             ? visit_all(ahead, visit, arg, reterr)
             : scan_at_once(log, rows, visit, arg, reterr);
    for (size_t i = 0; i < BATCHES; i++) {
        free(ahead->batches[i].data);
    }
    (void)pthread_cond_destroy(&ahead->changed);
    (void)pthread_mutex_destroy(&ahead->mutex);
    free(ahead);
    return rc;
}

/* ---- All of it ---- */

enum tpc_rc wal_sqlite_scan(struct wal_store *store, visit_fn *visit, void *arg,
                            struct tpc_err *reterr)
{
    struct wal_sqlite *log = (struct wal_sqlite *)store;
    sqlite3_stmt *rows = NULL;
    enum tpc_rc rc;

    if (sqlite3_prepare_v2(log->db, "SELECT lsn, gtid, data FROM record ORDER BY lsn", -1, &rows,
                           NULL) != SQLITE_OK) {
        return wal_sqlite_fail(log, "read", reterr);
    }
    /* It is large where its pages are walked beside this. */
    rc = log->check != NULL ? scan_ahead(log, rows, visit, arg, reterr)
                            : scan_at_once(log, rows, visit, arg, reterr);
    (void)sqlite3_finalize(rows);
    wal_sqlite_check_end(log, false);
    return rc != TPC_OK || log->damage.rc == TPC_OK
               ? rc
               : tpc_fail(reterr, log->damage.rc, "%s", log->damage.text);
}
