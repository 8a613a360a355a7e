/* Interactive branches at the SQLite resource: steps, what they hold in between, and their end. */
#include "tests/unit/participant/sqlite_fixture.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA                                                                                     \
    "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL CHECK (n >= 0), u TEXT UNIQUE);"   \
    "INSERT INTO t VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c')"
#define SUM "SELECT sum(n) FROM t"

static struct part_job *begin_step(struct fx *fx, unsigned number, unsigned executed,
                                   const char *sql)
{
    struct part_job *job = fx_job(PART_JOB_EXECUTE, number);
    job->executed = executed;
    (void)fx_add(job, sql);
    fx_submit(fx, job);
    return job;
}

/* The step's results; NULL: it was refused, for @code. */
static void step(struct fx *fx, unsigned number, unsigned executed, const char *sql,
                 const char *results, enum api_cause_code code)
{
    struct part_job *job = begin_step(fx, number, executed, sql);
    assert_int_equal(fx_wait(fx, job), results != NULL ? PART_JOB_EXECUTED : PART_JOB_REFUSED);
    if (results != NULL) {
        assert_string_equal(job->results.data, results);
    } else {
        assert_int_equal(job->cause.code, code);
        assert_int_equal(job->results.size, 0);
    }
    fx_free(job);
}

static void does(struct fx *fx, unsigned number, unsigned executed, const char *sql)
{
    step(fx, number, executed, sql, "[{\"rows_affected\":1}]", API_CAUSE_NONE);
}

static void refused(struct fx *fx, unsigned number, unsigned executed, const char *sql,
                    enum api_cause_code code)
{
    step(fx, number, executed, sql, NULL, code);
}

static struct part_job *prepare(struct fx *fx, unsigned number, unsigned executed)
{
    struct part_job *job = fx_job(PART_JOB_PREPARE, number);
    job->executed = executed;
    fx_submit(fx, job);
    (void)fx_wait(fx, job);
    return job;
}

static enum part_job_outcome vote(struct fx *fx, unsigned number, unsigned executed)
{
    struct part_job *job = prepare(fx, number, executed);
    enum part_job_outcome outcome = job->outcome;
    fx_free(job);
    return outcome;
}

static void test_active__steps_build_on_each_other_and_are_committed_as_one(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    does(&fx, 1, 0, "UPDATE t SET n = n - 5 WHERE id = 1");
    step(&fx, 1, 1, "SELECT n FROM t WHERE id = 1", "[{\"columns\":[\"n\"],\"rows\":[[5]]}]",
         API_CAUSE_NONE);
    does(&fx, 1, 2, "INSERT INTO t VALUES (4, 40, 'd')");
    does(&fx, 1, 3, "UPDATE t SET n = n + 1 WHERE id = 4");
    does(&fx, 1, 4, "DELETE FROM t WHERE id = 3");
    assert_int_equal(fx_number(&fx, SUM), 60);
    assert_int_equal(vote(&fx, 1, 5), PART_JOB_READY);
    assert_int_equal(fx_number(&fx, SUM), 60);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    assert_int_equal(fx_number(&fx, SUM), 66);
    assert_int_equal(fx_number(&fx, "SELECT count(*) FROM _assent_applied"), 1);
    /* Repetitions that come late do nothing. */
    struct part_job *late = begin_step(&fx, 1, 1, "UPDATE t SET n = 0");
    assert_int_equal(fx_wait(&fx, late), PART_JOB_PROVEN);
    fx_free(late);
    assert_int_equal(vote(&fx, 1, 5), PART_JOB_PROVEN);
    assert_int_equal(fx_number(&fx, SUM), 66);
    fx_done(&fx);
}

static void test_active__unique_values_change_hands_between_steps(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    does(&fx, 1, 0, "UPDATE t SET u = 'x' WHERE id = 1");
    does(&fx, 1, 1, "UPDATE t SET u = 'a' WHERE id = 2");
    does(&fx, 1, 2, "UPDATE t SET u = 'b' WHERE id = 1");
    does(&fx, 1, 3, "UPDATE t SET n = 0 WHERE id = 1");
    assert_int_equal(vote(&fx, 1, 4), PART_JOB_READY);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    assert_int_equal(fx_number(&fx, "SELECT id FROM t WHERE u = 'a'"), 2);
    assert_int_equal(fx_number(&fx, "SELECT id FROM t WHERE u = 'b'"), 1);
    fx_done(&fx);
}

static void test_active__what_it_changed_is_locked_until_its_end(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    does(&fx, 1, 0, "UPDATE t SET n = 11 WHERE id = 1");
    does(&fx, 1, 1, "UPDATE t SET n = 21 WHERE id = 2");
    fx_refused(&fx, "UPDATE t SET n = 0 WHERE id = 1", API_CAUSE_CONFLICT, "older");
    fx_refused(&fx, "UPDATE t SET n = 0 WHERE id = 2", API_CAUSE_CONFLICT, "older");
    assert_int_equal(fx_vote(&fx, 5, "UPDATE t SET n = 31 WHERE id = 3"), PART_JOB_READY);
    assert_int_equal(fx_end(&fx, PART_JOB_ABORT, 1), PART_JOB_ABORTED);
    assert_int_equal(fx_vote(&fx, 6, "UPDATE t SET n = 12 WHERE id = 1"), PART_JOB_READY);
    fx_done(&fx);
}

static void test_active__a_step_that_fails_undoes_all(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    does(&fx, 1, 0, "UPDATE t SET n = 11 WHERE id = 1");
    refused(&fx, 1, 1, "UPDATE t SET n = -1 WHERE id = 2", API_CAUSE_CONSTRAINT);
    refused(&fx, 1, 1, "SELECT 1", API_CAUSE_WORK_LOST);
    assert_int_equal(vote(&fx, 1, 1), PART_JOB_REFUSED);
    assert_int_equal(fx_vote(&fx, 5, "UPDATE t SET n = 0 WHERE id = 1"), PART_JOB_READY);
    fx_done(&fx);
}

static void test_active__steps_are_lost_with_a_restart(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    does(&fx, 1, 0, "UPDATE t SET n = 11 WHERE id = 1");
    fx_reopen(&fx);
    fx_start(&fx);
    refused(&fx, 1, 1, "UPDATE t SET n = 12 WHERE id = 1", API_CAUSE_WORK_LOST);
    struct part_job *job = prepare(&fx, 1, 1);
    assert_int_equal(job->outcome, PART_JOB_REFUSED);
    assert_int_equal(job->cause.code, API_CAUSE_WORK_LOST);
    fx_free(job);
    assert_int_equal(fx_number(&fx, SUM), 60);
    fx_done(&fx);
}

static void test_active__a_vote_survives_a_restart(void **state)
{
    (void)state;
    struct fx fx;
    struct tpc_err err = {0};
    fx_setup(&fx, SCHEMA);
    does(&fx, 1, 0, "UPDATE t SET n = 11 WHERE id = 1");
    does(&fx, 1, 1, "UPDATE t SET n = 21 WHERE id = 2");
    struct part_job *job = prepare(&fx, 1, 2);
    assert_int_equal(job->outcome, PART_JOB_READY);
    fx_close(&fx);
    fx_open(&fx);
    assert_int_equal(fx.resource->ops->restore(fx.resource, &job->gtid, job->began_us,
                                               job->payload.data, job->payload.size, &err),
                     TPC_OK);
    fx_start(&fx);
    fx_refused(&fx, "UPDATE t SET n = 0 WHERE id = 2", API_CAUSE_CONFLICT, "older");
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    assert_int_equal(fx_number(&fx, SUM), 62);
    fx_free(job);
    fx_done(&fx);
}

static void test_active__no_update_is_lost(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    step(&fx, 1, 0, "SELECT n FROM t WHERE id = 1", "[{\"columns\":[\"n\"],\"rows\":[[10]]}]",
         API_CAUSE_NONE);
    step(&fx, 2, 0, "SELECT n FROM t WHERE id = 3", "[{\"columns\":[\"n\"],\"rows\":[[30]]}]",
         API_CAUSE_NONE);
    assert_int_equal(fx_vote(&fx, 9, "UPDATE t SET n = n + 1 WHERE id = 1"), PART_JOB_READY);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 9), PART_JOB_COMMITTED);
    refused(&fx, 1, 1, "UPDATE t SET n = 100 WHERE id = 1", API_CAUSE_CONFLICT);
    does(&fx, 2, 1, "UPDATE t SET n = 31 WHERE id = 3"); /* that one did not change */
    does(&fx, 3, 0, "UPDATE t SET n = 12 WHERE id = 1"); /* began after the change */
    assert_int_equal(fx_end(&fx, PART_JOB_ABORT, 2), PART_JOB_ABORTED);
    assert_int_equal(fx_end(&fx, PART_JOB_ABORT, 3), PART_JOB_ABORTED);
    fx_done(&fx);
}

static void test_active__other_programs_may_write_and_are_noticed(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    does(&fx, 1, 0, "UPDATE t SET n = 11 WHERE id = 1");
    step(&fx, 2, 0, "SELECT n FROM t WHERE id = 2", "[{\"columns\":[\"n\"],\"rows\":[[20]]}]",
         API_CAUSE_NONE);
    fx_must(&fx, "PRAGMA busy_timeout = 10000");
    fx_must(&fx, "UPDATE t SET n = 99 WHERE id IN (1, 2)");
    refused(&fx, 1, 1, "SELECT 1", API_CAUSE_CONFLICT);
    refused(&fx, 2, 1, "UPDATE t SET n = 21 WHERE id = 2", API_CAUSE_CONFLICT);
    assert_int_equal(fx_number(&fx, SUM), 228);
    fx_done(&fx);
}

static void test_active__the_older_waits_with_its_locks(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    does(&fx, 1, 0, "UPDATE t SET n = 11 WHERE id = 1");
    does(&fx, 2, 0, "UPDATE t SET n = 21 WHERE id = 2");
    struct part_job *waits = begin_step(&fx, 1, 1, "UPDATE t SET n = 22 WHERE id = 2");
    fx_barrier(&fx);
    assert_false(fx_is_done(&fx, waits));
    refused(&fx, 2, 1, "UPDATE t SET n = 12 WHERE id = 1", API_CAUSE_CONFLICT); /* and is undone */
    assert_int_equal(fx_wait(&fx, waits), PART_JOB_EXECUTED);
    fx_free(waits);
    assert_int_equal(vote(&fx, 1, 2), PART_JOB_READY);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    assert_int_equal(fx_number(&fx, SUM), 63);
    fx_done(&fx);
}

static void test_active__the_younger_ends_while_the_older_waits_for_it(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    does(&fx, 2, 0, "UPDATE t SET n = 21 WHERE id = 2");
    struct part_job *waits = begin_step(&fx, 1, 0, "UPDATE t SET n = n + 1 WHERE id = 2");
    fx_barrier(&fx);
    assert_false(fx_is_done(&fx, waits));
    does(&fx, 2, 1, "UPDATE t SET n = 31 WHERE id = 3");
    assert_int_equal(vote(&fx, 2, 2), PART_JOB_READY);
    assert_false(fx_is_done(&fx, waits));
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 2), PART_JOB_COMMITTED);
    assert_int_equal(fx_wait(&fx, waits), PART_JOB_EXECUTED);
    fx_free(waits);
    assert_int_equal(vote(&fx, 1, 1), PART_JOB_READY);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    assert_int_equal(fx_number(&fx, SUM), 10 + 22 + 31);
    fx_done(&fx);
}

static void test_active__a_step_that_waits_can_be_cancelled(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    does(&fx, 1, 0, "UPDATE t SET n = 11 WHERE id = 1");
    does(&fx, 2, 0, "UPDATE t SET n = 21 WHERE id = 2");
    struct part_job *waits = begin_step(&fx, 1, 1, "UPDATE t SET n = 22 WHERE id = 2");
    fx_barrier(&fx);
    fx.resource->ops->cancel(fx.resource, waits);
    assert_int_equal(fx_wait(&fx, waits), PART_JOB_REFUSED);
    assert_int_equal(waits->cause.code, API_CAUSE_CLIENT_ABORT);
    fx_free(waits);
    does(&fx, 2, 1, "UPDATE t SET n = 12 WHERE id = 1"); /* its locks are gone */
    assert_int_equal(fx_end(&fx, PART_JOB_ABORT, 2), PART_JOB_ABORTED);
    fx_done(&fx);
}

static void test_active__only_reads(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    step(&fx, 1, 0, "SELECT 1", "[{\"columns\":[\"1\"],\"rows\":[[1]]}]", API_CAUSE_NONE);
    step(&fx, 1, 1, "SELECT 2", "[{\"columns\":[\"2\"],\"rows\":[[2]]}]", API_CAUSE_NONE);
    assert_int_equal(vote(&fx, 1, 2), PART_JOB_READ_ONLY);
    assert_int_equal(fx_vote(&fx, 5, "UPDATE t SET n = 0"), PART_JOB_READY);
    fx_done(&fx);
}

/* Ends with @outcome. */
static void read_serializably(struct fx *fx, unsigned number, unsigned executed,
                              enum part_job_outcome outcome)
{
    struct part_job *job = fx_job(PART_JOB_EXECUTE, number);
    job->executed = executed;
    job->isolation = API_ISOLATION_SERIALIZABLE;
    (void)fx_add(job, SUM);
    fx_submit(fx, job);
    assert_int_equal(fx_wait(fx, job), outcome);
    fx_free(job);
}

static void test_active__serializable_notices_that_others_wrote(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    read_serializably(&fx, 1, 0, PART_JOB_EXECUTED);
    read_serializably(&fx, 1, 1, PART_JOB_EXECUTED);
    fx_must(&fx, "PRAGMA busy_timeout = 10000");
    fx_must(&fx, "UPDATE t SET n = 99 WHERE id = 1");
    read_serializably(&fx, 1, 2, PART_JOB_REFUSED); /* else it saw two sums */
    assert_int_equal(fx_vote(&fx, 5, "UPDATE t SET n = 0"), PART_JOB_READY);
    fx_done(&fx);
}

static void test_active__serializable_keeps_what_it_read(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, SCHEMA);
    read_serializably(&fx, 1, 0, PART_JOB_EXECUTED);
    does(&fx, 1, 1, "UPDATE t SET n = 11 WHERE id = 1"); /* what it read stays locked */
    fx_refused(&fx, "UPDATE t SET n = 0 WHERE id = 3", API_CAUSE_CONFLICT, "older");
    assert_int_equal(fx_end(&fx, PART_JOB_ABORT, 1), PART_JOB_ABORTED);
    assert_int_equal(fx_vote(&fx, 5, "UPDATE t SET n = 0 WHERE id = 3"), PART_JOB_READY);
    fx_done(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_active__steps_build_on_each_other_and_are_committed_as_one),
        cmocka_unit_test(test_active__unique_values_change_hands_between_steps),
        cmocka_unit_test(test_active__what_it_changed_is_locked_until_its_end),
        cmocka_unit_test(test_active__a_step_that_fails_undoes_all),
        cmocka_unit_test(test_active__steps_are_lost_with_a_restart),
        cmocka_unit_test(test_active__a_vote_survives_a_restart),
        cmocka_unit_test(test_active__no_update_is_lost),
        cmocka_unit_test(test_active__other_programs_may_write_and_are_noticed),
        cmocka_unit_test(test_active__the_older_waits_with_its_locks),
        cmocka_unit_test(test_active__the_younger_ends_while_the_older_waits_for_it),
        cmocka_unit_test(test_active__a_step_that_waits_can_be_cancelled),
        cmocka_unit_test(test_active__only_reads),
        cmocka_unit_test(test_active__serializable_notices_that_others_wrote),
        cmocka_unit_test(test_active__serializable_keeps_what_it_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
