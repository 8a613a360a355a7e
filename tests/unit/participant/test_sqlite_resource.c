/* Prepare, commit, abort, restart: the life of branches at a real file. */
#include "tests/unit/participant/sqlite_fixture.h"

#include <string.h>

#define ACCOUNTS                                                                                   \
    "CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL"                       \
    " CHECK(balance >= 0));"                                                                       \
    "INSERT INTO accounts VALUES(1, 100), (2, 100), (3, 100)"
#define BALANCE_OF_1 "SELECT balance FROM accounts WHERE id = 1"

static void test_prepare__changes_nothing_until_commit(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    struct part_job *job =
        FX_PREPARE(&fx, 1, "UPDATE accounts SET balance = balance - 30 WHERE id = 1", BALANCE_OF_1);
    assert_int_equal(job->outcome, PART_JOB_READY);
    assert_string_equal(job->results.data,
                        "[{\"rows_affected\":1},{\"columns\":[\"balance\"],\"rows\":[[70]]}]");
    assert_true(job->payload.size > 0);
    assert_false(job->held_by_database);
    assert_int_equal(fx_number(&fx, BALANCE_OF_1), 100);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    assert_int_equal(fx_number(&fx, BALANCE_OF_1), 70);
    assert_int_equal(fx_number(&fx, "SELECT count(*) FROM _assent_applied"), 1);
    fx_free(job);
    fx_done(&fx);
}

static void test_commit__twice_applies_once(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    assert_int_equal(fx_vote(&fx, 1, "UPDATE accounts SET balance = balance - 30 WHERE id = 1"),
                     PART_JOB_READY);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    assert_int_equal(fx_number(&fx, BALANCE_OF_1), 70);
    assert_int_equal(fx_end(&fx, PART_JOB_PROVE, 1), PART_JOB_PROVEN);
    assert_int_equal(fx_end(&fx, PART_JOB_PROVE, 2), PART_JOB_NO_PROOF);
    assert_int_equal(fx_vote(&fx, 1, "UPDATE accounts SET balance = 0"), PART_JOB_PROVEN);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 2), PART_JOB_CONFLICT);
    fx_done(&fx);
}

static void test_abort__undoes_and_lets_locks_go(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    assert_int_equal(fx_vote(&fx, 1, "UPDATE accounts SET balance = 1 WHERE id = 1"),
                     PART_JOB_READY);
    assert_int_equal(fx_end(&fx, PART_JOB_ABORT, 1), PART_JOB_ABORTED);
    assert_int_equal(fx_end(&fx, PART_JOB_ABORT, 1), PART_JOB_ABORTED);
    assert_int_equal(fx_vote(&fx, 2, "UPDATE accounts SET balance = 2 WHERE id = 1"),
                     PART_JOB_READY);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 2), PART_JOB_COMMITTED);
    assert_int_equal(fx_number(&fx, BALANCE_OF_1), 2);
    fx_done(&fx);
}

static void test_prepare__queries_alone_are_read_only(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    assert_int_equal(fx_vote(&fx, 1, BALANCE_OF_1), PART_JOB_READ_ONLY);
    assert_int_equal(fx_vote(&fx, 2, "UPDATE accounts SET balance = 5 WHERE id = 77"),
                     PART_JOB_READY);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 2), PART_JOB_COMMITTED);
    fx_done(&fx);
}

static void test_conflict__the_younger_is_refused_and_the_older_waits(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    assert_int_equal(fx_vote(&fx, 5, "UPDATE accounts SET balance = balance - 30 WHERE id = 1"),
                     PART_JOB_READY);
    fx_refused(&fx, "UPDATE accounts SET balance = 0 WHERE id = 1", API_CAUSE_CONFLICT, "older");
    struct part_job *older = fx_job(PART_JOB_PREPARE, 2);
    (void)fx_add(older, "UPDATE accounts SET balance = balance - 1 WHERE id = 1");
    (void)fx_add(older, BALANCE_OF_1);
    fx_submit(&fx, older);
    fx_barrier(&fx);
    assert_false(fx_is_done(&fx, older));
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 5), PART_JOB_COMMITTED);
    assert_int_equal(fx_wait(&fx, older), PART_JOB_READY);
    assert_non_null(strstr(older->results.data, "[[69]]"));
    fx_free(older);
    fx_done(&fx);
}

/* It held nothing when the oldest came, but it would wait for it now. */
static void test_conflict__one_that_is_overtaken_is_refused_at_once(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    assert_int_equal(fx_vote(&fx, 9, "UPDATE accounts SET balance = 9 WHERE id = 1"),
                     PART_JOB_READY);
    struct part_job *waiting = fx_job(PART_JOB_PREPARE, 5);
    (void)fx_add(waiting, "UPDATE accounts SET balance = 8 WHERE id < 3");
    fx_submit(&fx, waiting);
    assert_int_equal(fx_vote(&fx, 1, "UPDATE accounts SET balance = 7 WHERE id = 2"),
                     PART_JOB_READY);
    assert_int_equal(fx_wait(&fx, waiting), PART_JOB_REFUSED);
    assert_int_equal(waiting->cause.code, API_CAUSE_CONFLICT);
    fx_free(waiting);
    fx_done(&fx);
}

static void test_conflict__waiting_ends_with_the_deadline_or_a_cancel(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    assert_int_equal(fx_vote(&fx, 5, "UPDATE accounts SET balance = 9 WHERE id = 1"),
                     PART_JOB_READY);
    struct part_job *late = fx_job(PART_JOB_PREPARE, 2), *dropped = fx_job(PART_JOB_PREPARE, 1);
    late->deadline_ms = 1; /* long ago */
    (void)fx_add(late, "UPDATE accounts SET balance = 8 WHERE id = 1");
    (void)fx_add(dropped, "UPDATE accounts SET balance = 7 WHERE id = 1");
    fx_submit(&fx, late);
    fx_submit(&fx, dropped);
    assert_int_equal(fx_wait(&fx, late), PART_JOB_REFUSED);
    assert_int_equal(late->cause.code, API_CAUSE_TIMEOUT);
    assert_false(fx_is_done(&fx, dropped));
    fx.resource->ops->cancel(fx.resource, dropped);
    assert_int_equal(fx_wait(&fx, dropped), PART_JOB_REFUSED);
    assert_int_equal(dropped->cause.code, API_CAUSE_CLIENT_ABORT);
    fx_free(late);
    fx_free(dropped);
    fx_done(&fx);
}

static void test_one_phase__commits_at_once_with_its_marker(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    struct part_job *job = fx_job(PART_JOB_PREPARE, 3);
    job->one_phase = true;
    (void)fx_add(job, "UPDATE accounts SET balance = balance + 1");
    fx_submit(&fx, job);
    assert_int_equal(fx_wait(&fx, job), PART_JOB_COMMITTED);
    assert_string_equal(job->results.data, "[{\"rows_affected\":3}]");
    fx_free(job);
    assert_int_equal(fx_number(&fx, "SELECT sum(balance) FROM accounts"), 303);
    assert_int_equal(fx_end(&fx, PART_JOB_PROVE, 3), PART_JOB_PROVEN);
    fx_done(&fx);
}

static void test_one_phase__waits_for_an_older_branch(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    assert_int_equal(fx_vote(&fx, 1, "UPDATE accounts SET balance = 9 WHERE id = 1"),
                     PART_JOB_READY);
    struct part_job *job = fx_job(PART_JOB_PREPARE, 3);
    job->one_phase = true;
    (void)fx_add(job, "UPDATE accounts SET balance = balance + 1 WHERE id = 1");
    fx_submit(&fx, job);
    fx_barrier(&fx);
    assert_false(fx_is_done(&fx, job));
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    assert_int_equal(fx_wait(&fx, job), PART_JOB_COMMITTED);
    assert_int_equal(fx_number(&fx, BALANCE_OF_1), 10);
    fx_free(job);
    fx_done(&fx);
}

static void restore(struct fx *fx, unsigned number, const struct tpc_buf *payload)
{
    struct tpc_id id = fx_id(number);
    assert_int_equal(
        fx->resource->ops->restore(fx->resource, &id, number, payload->data, payload->size, NULL),
        TPC_OK);
}

static void test_restore__holds_the_locks_and_commits_the_change(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    struct part_job *job =
        FX_PREPARE(&fx, 1, "UPDATE accounts SET balance = balance - 30 WHERE id = 1");
    fx_reopen(&fx);
    restore(&fx, 1, &job->payload);
    fx_start(&fx);
    fx_refused(&fx, "UPDATE accounts SET balance = 0 WHERE id = 1", API_CAUSE_CONFLICT, "older");
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    assert_int_equal(fx_number(&fx, BALANCE_OF_1), 70);
    fx_free(job);
    fx_done(&fx);
}

static void test_restore__finds_the_marker_of_a_commit_before_the_crash(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    struct part_job *job =
        FX_PREPARE(&fx, 1, "UPDATE accounts SET balance = balance - 30 WHERE id = 1");
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    fx_reopen(&fx);
    bool proven = false;
    struct tpc_id id = fx_id(1);
    assert_int_equal(fx.resource->ops->prove(fx.resource, &id, &proven, NULL), TPC_OK);
    assert_true(proven);
    restore(&fx, 1, &job->payload);
    fx_start(&fx);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    assert_int_equal(fx_number(&fx, BALANCE_OF_1), 70);
    fx_free(job);
    fx_done(&fx);
}

static void test_restore__damage_is_noticed(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    struct part_job *job = FX_PREPARE(&fx, 1, "UPDATE accounts SET balance = 1");
    fx_reopen(&fx);
    struct tpc_id id = fx_id(1);
    for (size_t size = 0; size < 60; size++) {
        assert_int_equal(
            fx.resource->ops->restore(fx.resource, &id, 1, job->payload.data, size, NULL),
            TPC_ECORRUPT);
    }
    fx_free(job);
    fx_done(&fx);
}

static void test_forget__removes_markers(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    assert_int_equal(fx_vote(&fx, 1, "UPDATE accounts SET balance = 1 WHERE id = 1"),
                     PART_JOB_READY);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    struct tpc_id id = fx_id(1);
    fx.resource->ops->forget(fx.resource, &id, 1);
    assert_int_equal(fx_vote(&fx, 2, "UPDATE accounts SET balance = 2 WHERE id = 1"),
                     PART_JOB_READY);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 2), PART_JOB_COMMITTED);
    assert_int_equal(fx_end(&fx, PART_JOB_PROVE, 1), PART_JOB_NO_PROOF);
    assert_int_equal(fx_end(&fx, PART_JOB_PROVE, 2), PART_JOB_PROVEN);
    fx_done(&fx);
}

static void test_close__ends_what_waits(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    assert_int_equal(fx_vote(&fx, 5, "UPDATE accounts SET balance = 9 WHERE id = 1"),
                     PART_JOB_READY);
    struct part_job *job = fx_job(PART_JOB_PREPARE, 2);
    (void)fx_add(job, "UPDATE accounts SET balance = 8 WHERE id = 1");
    fx_submit(&fx, job);
    fx_close(&fx);
    assert_non_null(job->user);
    assert_int_equal(job->outcome, PART_JOB_REFUSED);
    fx_free(job);
    fx_done(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prepare__changes_nothing_until_commit),
        cmocka_unit_test(test_commit__twice_applies_once),
        cmocka_unit_test(test_abort__undoes_and_lets_locks_go),
        cmocka_unit_test(test_prepare__queries_alone_are_read_only),
        cmocka_unit_test(test_conflict__the_younger_is_refused_and_the_older_waits),
        cmocka_unit_test(test_conflict__one_that_is_overtaken_is_refused_at_once),
        cmocka_unit_test(test_conflict__waiting_ends_with_the_deadline_or_a_cancel),
        cmocka_unit_test(test_one_phase__commits_at_once_with_its_marker),
        cmocka_unit_test(test_one_phase__waits_for_an_older_branch),
        cmocka_unit_test(test_restore__holds_the_locks_and_commits_the_change),
        cmocka_unit_test(test_restore__finds_the_marker_of_a_commit_before_the_crash),
        cmocka_unit_test(test_restore__damage_is_noticed),
        cmocka_unit_test(test_forget__removes_markers),
        cmocka_unit_test(test_close__ends_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
