/* A life of the SQLite adapter on a disk (tests/disk) whose N-th operation fails, for N from 1
 * until none fails any more: what it said is what the file holds, then and in the next life. */
#include "tests/disk/disk.h"
#include "tests/unit/participant/sqlite_fixture.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { TWO_PHASE = 1, ONE_PHASE, UNDONE };

#define SCHEMA                                                                                     \
    "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO t VALUES(1,0),(2,0),(3,0)"

static struct disk_state faults;

/* What was said of each branch. */
struct told {
    bool opened, started;
    enum part_job_outcome prepared, committed, one_phase, undone;
    struct tpc_buf payload;
};

static void arm(enum disk_fault fault, uint64_t at)
{
    disk.state = &faults;
    disk.fault = fault;
    disk.at = at;
    disk.seed = at;
    disk.unsynced = true;
    atomic_store(&faults.operations, 0);
    atomic_store(&faults.strikes, 0);
}

static enum part_job_outcome end_one_phase(struct fx *fx, unsigned number, const char *sql)
{
    struct part_job *job = fx_job(PART_JOB_PREPARE, number);
    (void)fx_add(job, sql);
    job->one_phase = true;
    fx_submit(fx, job);
    const enum part_job_outcome outcome = fx_wait(fx, job);
    fx_free(job);
    return outcome;
}

static void live(struct fx *fx, struct told *told)
{
    struct tpc_err err = {0};
    const enum tpc_rc rc = part_resource_open(&fx->options, &fx->resource, &err);
    told->opened = rc == TPC_OK;
    if (!told->opened) {
        fx->resource = NULL;
        /* Nothing that asks for a backup of what is whole. */
        if (rc != TPC_EIO) {
            fail_msg("%s", err.text);
        }
        return;
    }
    told->started = fx->resource->ops->start(fx->resource, NULL) == TPC_OK;
    if (!told->started) {
        return;
    }
    struct part_job *job = FX_PREPARE(fx, TWO_PHASE, "UPDATE t SET n = n + 1 WHERE id = 1");
    told->prepared = job->outcome;
    told->payload = job->payload;
    job->payload = (struct tpc_buf){0};
    fx_free(job);
    told->committed = told->prepared == PART_JOB_READY ? fx_end(fx, PART_JOB_COMMIT, TWO_PHASE)
                                                       : PART_JOB_REFUSED;
    told->one_phase = end_one_phase(fx, ONE_PHASE, "UPDATE t SET n = n + 1 WHERE id = 2");
    told->undone = fx_vote(fx, UNDONE, "UPDATE t SET n = n + 1 WHERE id = 3");
    if (told->undone == PART_JOB_READY) {
        assert_int_equal(fx_end(fx, PART_JOB_ABORT, UNDONE), PART_JOB_ABORTED);
    }
}

static void check_said(const struct told *told)
{
    assert_true(told->prepared == PART_JOB_READY || told->prepared == PART_JOB_REFUSED);
    assert_true(told->prepared == PART_JOB_REFUSED || told->committed == PART_JOB_COMMITTED ||
                told->committed == PART_JOB_RETRY);
    assert_true(told->one_phase == PART_JOB_COMMITTED || told->one_phase == PART_JOB_REFUSED);
}

static bool is_proven(struct fx *fx, unsigned number)
{
    bool proven = false;
    const struct tpc_id gtid = fx_id(number);
    assert_int_equal(fx->resource->ops->prove(fx->resource, &gtid, &proven, NULL), TPC_OK);
    return proven;
}

/* The disk is a good one again. */
static void live_again(struct fx *fx, struct told *told)
{
    const struct tpc_id gtid = fx_id(TWO_PHASE);
    const bool promised = told->started && told->prepared == PART_JOB_READY;
    fx_open(fx);
    if (told->started) {
        check_said(told);
        assert_int_equal(is_proven(fx, ONE_PHASE), told->one_phase == PART_JOB_COMMITTED);
    }
    if (promised) {
        assert_int_equal(fx->resource->ops->restore(fx->resource, &gtid, TWO_PHASE,
                                                    told->payload.data, told->payload.size, NULL),
                         TPC_OK);
    }
    fx_start(fx);
    if (promised) {
        assert_int_equal(fx_end(fx, PART_JOB_COMMIT, TWO_PHASE), PART_JOB_COMMITTED);
    }
    assert_int_equal(fx_number(fx, "SELECT n FROM t WHERE id = 1"), promised);
    assert_int_equal(fx_number(fx, "SELECT n FROM t WHERE id = 2"),
                     told->started && told->one_phase == PART_JOB_COMMITTED);
    assert_int_equal(fx_number(fx, "SELECT n FROM t WHERE id = 3"), 0);
}

/* By the file itself: what SQLite would do at the next start does not count. */
static void assert_wal_mode(struct fx *fx)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_open(fx->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA journal_mode", -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(stmt, 0), "wal");
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

static void fail_each(enum disk_fault fault)
{
    unsigned refused = 0, retried = 0;
    uint64_t at = 0;
    bool struck = true;
    while (struck) {
        struct fx fx;
        struct told told = {0};
        arm(DISK_NONE, 0);
        fx_init(&fx, SCHEMA);
        arm(fault, ++at);
        live(&fx, &told);
        struck = atomic_load(&faults.strikes) > 0;
        arm(DISK_NONE, 0);
        if (told.opened) {
            assert_wal_mode(&fx);
        }
        fx_close(&fx);
        live_again(&fx, &told);
        refused += !told.opened || !told.started;
        retried += told.started && told.committed == PART_JOB_RETRY;
        tpc_buf_done(&told.payload);
        fx_done(&fx);
    }
    print_message("%llu operations failed: %u starts refused, %u commits to be tried again\n",
                  (unsigned long long)at - 1, refused, retried);
    assert_true(refused > 5 && retried > 2);
}

static void test_sqlite_faults__an_error_at_each_operation(void **state)
{
    (void)state;
    fail_each(DISK_EIO);
}

static void test_sqlite_faults__no_room_at_each_operation(void **state)
{
    (void)state;
    fail_each(DISK_ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sqlite_faults__an_error_at_each_operation),
        cmocka_unit_test(test_sqlite_faults__no_room_at_each_operation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
