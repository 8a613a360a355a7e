/* Groups, failures and other programs at the file. */
#include "tests/unit/participant/sqlite_fixture.h"

#include "base/clock.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define ACCOUNTS                                                                                   \
    "CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INTEGER, note);"                        \
    "INSERT INTO accounts VALUES(1, 100, ''), (2, 100, ''), (3, 100, ''), (4, 100, '')"
#define SUM "SELECT sum(balance) FROM accounts"

static struct tpc_failpoint points[] = {
    {.name = "test.capture"},   {.name = "test.captured"}, {.name = "test.apply"},
    {.name = "test.commit"},    {.name = "test.prove"},    {.name = "test.restore"},
    {.name = "test.committed"},
};

static void setup_with_points(struct fx *fx)
{
    fx_init(fx, ACCOUNTS ";CREATE TABLE owners(id INTEGER PRIMARY KEY,"
                         " account REFERENCES accounts)");
    fx->options.failpoints.capture = &points[0];
    fx->options.failpoints.captured = &points[1];
    fx->options.failpoints.apply = &points[2];
    fx->options.failpoints.commit = &points[3];
    fx->options.failpoints.prove = &points[4];
    fx->options.failpoints.restore = &points[5];
    fx->options.failpoints.committed = &points[6];
    fx_open(fx);
    fx_start(fx);
}

static void arm(const char *spec)
{
    assert_int_equal(tpc_fp_arm(spec, NULL), TPC_OK);
}

/* Submit commits of branches first..last at once. */
static void commit_together(struct fx *fx, unsigned first, unsigned last,
                            enum part_job_outcome *outcomes)
{
    struct part_job *jobs[64];
    for (unsigned i = first; i <= last; i++) {
        jobs[i - first] = fx_job(PART_JOB_COMMIT, i);
    }
    for (unsigned i = first; i <= last; i++) {
        fx_submit(fx, jobs[i - first]);
    }
    for (unsigned i = first; i <= last; i++) {
        outcomes[i - first] = fx_wait(fx, jobs[i - first]);
        if (outcomes[i - first] == PART_JOB_CONFLICT) {
            assert_non_null(strstr(jobs[i - first]->cause.detail, "accounts"));
        }
        fx_free(jobs[i - first]);
    }
}

static void test_commit__a_group_is_one_transaction(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    assert_int_equal(fx_vote(&fx, 1, "UPDATE accounts SET balance = 1 WHERE id = 1"), 0);
    assert_int_equal(fx_vote(&fx, 2, "UPDATE accounts SET balance = 2 WHERE id = 2"), 0);
    assert_int_equal(fx_vote(&fx, 3, "DELETE FROM accounts WHERE id = 3"), 0);
    enum part_job_outcome outcomes[3];
    commit_together(&fx, 1, 3, outcomes);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(outcomes[i], PART_JOB_COMMITTED);
    }
    assert_int_equal(fx_number(&fx, SUM), 103);
    struct part_resource_stats stats;
    fx_barrier(&fx);
    fx.resource->ops->stats(fx.resource, &stats);
    assert_int_equal(stats.commits, 3);
    assert_true(stats.commit_groups <= 3);
    fx_done(&fx);
}

static void test_commit__errors_are_retried_and_lose_nothing(void **state)
{
    (void)state;
    static const char *const specs[] = {"test.apply=1*error", "test.commit=1*error"};
    struct fx fx;
    setup_with_points(&fx);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(
            fx_vote(&fx, 1 + i, "UPDATE accounts SET balance = balance - 1 WHERE id = 1"), 0);
        arm(specs[i]);
        assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1 + i), PART_JOB_RETRY);
        assert_int_equal(fx_number(&fx, SUM), 400 - (int)i);
        if (i == 0) {
            fx_refused(&fx, "UPDATE accounts SET balance = 0", API_CAUSE_CONFLICT, "older");
        } else { /* the disk is the cause to be told */
            fx_refused(&fx, "UPDATE accounts SET balance = 0", API_CAUSE_PARTICIPANT_ERROR,
                       "what was decided comes first");
        }
        assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1 + i), PART_JOB_COMMITTED);
        assert_int_equal(fx_number(&fx, SUM), 399 - (int)i);
    }
    fx_done(&fx);
}

static void test_commit__nothing_goes_to_a_file_that_was_moved(void **state)
{
    (void)state;
    struct fx fx;
    setup_with_points(&fx);
    char elsewhere[112];
    (void)snprintf(elsewhere, sizeof(elsewhere), "%s-moved", fx.path);
    assert_int_equal(fx_vote(&fx, 1, "UPDATE accounts SET balance = balance - 1 WHERE id = 1"), 0);
    assert_int_equal(rename(fx.path, elsewhere), 0);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_RETRY);
    fx_refused(&fx, "UPDATE accounts SET balance = 0", API_CAUSE_PARTICIPANT_ERROR, "was moved");
    fx_refused(&fx, "SELECT * FROM accounts", API_CAUSE_PARTICIPANT_ERROR, "was moved");
    assert_int_equal(rename(elsewhere, fx.path), 0);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    assert_int_equal(fx_number(&fx, SUM), 399);
    fx_done(&fx);
}

static void test_commit__one_phase_errors_are_refusals(void **state)
{
    (void)state;
    struct fx fx;
    setup_with_points(&fx);
    arm("test.commit=1*error");
    struct part_job *job = fx_job(PART_JOB_PREPARE, 1);
    job->one_phase = true;
    (void)fx_add(job, "UPDATE accounts SET balance = 0");
    fx_submit(&fx, job);
    assert_int_equal(fx_wait(&fx, job), PART_JOB_REFUSED);
    assert_int_equal(job->cause.code, API_CAUSE_PARTICIPANT_ERROR);
    fx_free(job);
    assert_int_equal(fx_number(&fx, SUM), 400);
    assert_int_equal(fx_vote(&fx, 2, "UPDATE accounts SET balance = 0"), PART_JOB_READY);
    fx_done(&fx);
}

static void test_prepare__errors_are_refusals(void **state)
{
    (void)state;
    struct fx fx;
    setup_with_points(&fx);
    arm("test.capture=1*error");
    fx_refused(&fx, "SELECT 1", API_CAUSE_PARTICIPANT_ERROR, "failpoint");
    arm("test.captured=1*error");
    fx_refused(&fx, "UPDATE accounts SET balance = 0", API_CAUSE_PARTICIPANT_ERROR, "failpoint");
    assert_int_equal(fx_vote(&fx, 2, "UPDATE accounts SET balance = 0"), PART_JOB_READY);
    arm("test.prove=1*error");
    assert_int_equal(fx_end(&fx, PART_JOB_PROVE, 1), PART_JOB_RETRY);
    fx_done(&fx);
}

/* Files cannot grow any more: as a full disk. */
static void limit_files(rlim_t size)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_commit__a_full_disk_loses_nothing(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(fx_vote(&fx, 1, "UPDATE accounts SET balance = 7 WHERE id = 1"), 0);
    assert_int_equal(fx_vote(&fx, 2, "UPDATE accounts SET note = zeroblob(50000) WHERE id = 2"), 0);
    limit_files(20000);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 2), PART_JOB_RETRY);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 2), PART_JOB_RETRY);
    limit_files(RLIM_INFINITY);
    assert_int_equal(fx_number(&fx, SUM), 400);
    enum part_job_outcome outcomes[2];
    commit_together(&fx, 1, 2, outcomes);
    assert_int_equal(outcomes[0], PART_JOB_COMMITTED);
    assert_int_equal(outcomes[1], PART_JOB_COMMITTED);
    assert_int_equal(fx_number(&fx, "SELECT length(note) FROM accounts WHERE id = 2"), 50000);
    assert_int_equal(fx_number(&fx, SUM), 307);
    fx_done(&fx);
}

static void test_commit__a_full_disk_refuses_new_work(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(fx_vote(&fx, 1, "UPDATE accounts SET note = zeroblob(50000) WHERE id = 1"), 0);
    limit_files(20000);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_RETRY);
    fx_refused(&fx, "UPDATE accounts SET balance = 8 WHERE id = 2", API_CAUSE_PARTICIPANT_ERROR,
               "cannot be written");
    assert_int_equal(fx_vote(&fx, 2, SUM), PART_JOB_READ_ONLY);
    limit_files(RLIM_INFINITY);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    assert_int_equal(fx_vote(&fx, 3, "UPDATE accounts SET balance = 8 WHERE id = 2"), 0);
    fx_done(&fx);
}

/* ---- Other programs ---- */

static void test_others__write_while_nothing_is_prepared(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    assert_int_equal(fx_vote(&fx, 1, "UPDATE accounts SET balance = 7 WHERE id = 1"), 0);
    sqlite3_busy_timeout(fx.other, 0);
    assert_int_equal(fx_exec(&fx, "UPDATE accounts SET balance = 8 WHERE id = 2"), SQLITE_BUSY);
    assert_int_equal(fx_number(&fx, SUM), 400);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    sqlite3_busy_timeout(fx.other, 5000);
    fx_must(&fx, "UPDATE accounts SET balance = 8 WHERE id = 2");
    struct part_job *job = FX_PREPARE(&fx, 2, SUM);
    assert_non_null(strstr(job->results.data, "[[215]]"));
    fx_free(job);
    fx_done(&fx);
}

static void restore(struct fx *fx, const struct part_job *job)
{
    assert_int_equal(fx->resource->ops->restore(fx->resource, &job->gtid, job->began_us,
                                                job->payload.data, job->payload.size, NULL),
                     TPC_OK);
}

/* In the moment in which nobody holds the write lock. */
static void test_others__a_change_that_no_longer_applies_is_shown_alone(void **state)
{
    (void)state;
    static const char *const work[] = {
        "UPDATE accounts SET balance = 11 WHERE id = 1",
        "UPDATE accounts SET balance = 22 WHERE id = 2", "DELETE FROM accounts WHERE id = 3",
        "INSERT INTO accounts VALUES(5, 55, '')", "UPDATE accounts SET balance = 44 WHERE id = 4"};
    struct fx fx;
    struct part_job *jobs[5];
    fx_setup(&fx, ACCOUNTS);
    for (unsigned i = 0; i < 5; i++) {
        jobs[i] = FX_PREPARE(&fx, i + 1, work[i]);
        assert_int_equal(jobs[i]->outcome, PART_JOB_READY);
    }
    fx_reopen(&fx);
    fx_must(&fx, "UPDATE accounts SET balance = 1000 WHERE id = 2;"
                 "UPDATE accounts SET note = 'seen' WHERE id = 3;"
                 "INSERT INTO accounts VALUES(5, 5000, 'mine');"
                 "UPDATE accounts SET note = 'elsewhere' WHERE id = 4");
    for (unsigned i = 0; i < 5; i++) {
        restore(&fx, jobs[i]);
        fx_free(jobs[i]);
    }
    fx_start(&fx);
    enum part_job_outcome outcomes[5];
    commit_together(&fx, 1, 5, outcomes);
    assert_int_equal(outcomes[0], PART_JOB_COMMITTED);
    assert_int_equal(outcomes[1], PART_JOB_CONFLICT);
    assert_int_equal(outcomes[2], PART_JOB_CONFLICT);
    assert_int_equal(outcomes[3], PART_JOB_CONFLICT);
    assert_int_equal(outcomes[4], PART_JOB_COMMITTED);
    assert_int_equal(fx_number(&fx, SUM), 11 + 1000 + 100 + 5000 + 44);
    assert_int_equal(fx_number(&fx, "SELECT count(*) FROM _assent_applied"), 2);
    fx_done(&fx);
}

static void test_others__an_altered_table_is_noticed(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    struct part_job *job = FX_PREPARE(&fx, 1, "UPDATE accounts SET balance = 11 WHERE id = 1");
    fx_reopen(&fx);
    fx_must(&fx, "ALTER TABLE accounts DROP COLUMN note");
    restore(&fx, job);
    fx_free(job);
    fx_start(&fx);
    job = fx_job(PART_JOB_COMMIT, 1);
    fx_submit(&fx, job);
    assert_int_equal(fx_wait(&fx, job), PART_JOB_CONFLICT);
    assert_non_null(strstr(job->cause.detail, "accounts was altered"));
    fx_free(job);
    fx_done(&fx);
}

static void test_others__a_long_write_makes_captures_and_commits_wait_and_fail_softly(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    struct part_job *job = FX_PREPARE(&fx, 1, "UPDATE accounts SET balance = 11 WHERE id = 1");
    fx_reopen(&fx);
    restore(&fx, job);
    fx_free(job);
    fx_start(&fx);
    fx_must(&fx, "BEGIN IMMEDIATE; UPDATE accounts SET balance = 22 WHERE id = 2");
    assert_int_equal(fx_vote(&fx, 7, "SELECT 1"), PART_JOB_READ_ONLY);
    fx_refused(&fx, "DELETE FROM accounts WHERE id = 4", API_CAUSE_CONFLICT,
               "another program is writing");
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_RETRY);
    fx_must(&fx, "COMMIT");
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_COMMITTED);
    assert_int_equal(fx_number(&fx, SUM), 11 + 22 + 200);
    fx_done(&fx);
}

/* Nobody enforces foreign keys while applying, and locks do not bind other programs. */
static void test_others__a_broken_reference_is_shown(void **state)
{
    (void)state;
    static const char *const work[] = {
        "INSERT INTO child VALUES(1, 1, NULL)",      "DELETE FROM parent WHERE id = 2",
        "UPDATE child SET p = 3 WHERE id = 9",       "UPDATE parent SET code = 'x' WHERE id = 4",
        "INSERT INTO child VALUES(5, 5, 'five')",    "UPDATE parent SET note = 'y' WHERE id = 6",
        "UPDATE parent SET code = 'z' WHERE id = 7",
    };
    static const bool applies[] = {false, false, false, false, true, true, true};
    enum { WORK = sizeof(work) / sizeof(work[0]) };
    struct fx fx;
    struct part_job *jobs[WORK];
    fx_setup(&fx, "CREATE TABLE parent(id INTEGER PRIMARY KEY, code TEXT UNIQUE, note);"
                  "CREATE TABLE child(id INTEGER PRIMARY KEY, p REFERENCES parent,"
                  " q TEXT REFERENCES parent(code) ON UPDATE CASCADE);"
                  "INSERT INTO parent VALUES(1, 'one', ''), (2, 'two', ''), (3, 'three', ''),"
                  " (4, 'four', ''), (5, 'five', ''), (6, 'six', ''), (7, 'seven', '');"
                  "INSERT INTO child VALUES(9, NULL, NULL), (10, NULL, 'seven')");
    for (unsigned i = 0; i < WORK; i++) {
        jobs[i] = FX_PREPARE(&fx, i + 1, work[i]);
        assert_int_equal(jobs[i]->outcome, PART_JOB_READY);
    }
    fx_reopen(&fx);
    fx_must(&fx, "DELETE FROM parent WHERE id IN (1, 3);"
                 "INSERT INTO child VALUES(20, 2, NULL), (21, NULL, 'four'), (22, 6, 'six')");
    for (unsigned i = 0; i < WORK; i++) {
        restore(&fx, jobs[i]);
        fx_free(jobs[i]);
    }
    fx_start(&fx);
    for (unsigned i = 0; i < WORK; i++) {
        struct part_job *job = fx_job(PART_JOB_COMMIT, i + 1);
        fx_submit(&fx, job);
        assert_int_equal(fx_wait(&fx, job), applies[i] ? PART_JOB_COMMITTED : PART_JOB_CONFLICT);
        if (!applies[i]) {
            assert_non_null(strstr(job->cause.detail, "another program wrote the file"));
        }
        fx_free(job);
    }
    struct tpc_buf out = {0};
    fx_dump(fx.other, "PRAGMA foreign_key_check", &out);
    assert_int_equal(out.size, 0);
    tpc_buf_done(&out);
    fx_done(&fx);
}

struct reference {
    const char *schema, *work, *meanwhile;
    enum part_job_outcome outcome;
};

/* SQLite compares a child's value by the affinity and the collation of the parent's key. */
static void test_others__references_are_compared_as_sqlite_does(void **state)
{
    (void)state;
    static const struct reference cases[] = {
        {"CREATE TABLE p(id INTEGER PRIMARY KEY); INSERT INTO p VALUES(1);"
         "ALTER TABLE p ADD COLUMN code TEXT DEFAULT 'x'; CREATE UNIQUE INDEX p_code ON p(code);"
         "CREATE TABLE c(id INTEGER PRIMARY KEY, code REFERENCES p(code))",
         "DELETE FROM p", "INSERT INTO c VALUES(1, 'x')", PART_JOB_CONFLICT},
        {"CREATE TABLE p(id TEXT PRIMARY KEY); INSERT INTO p VALUES('1'), ('01');"
         "CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p)",
         "INSERT INTO c VALUES(1, 1)", "DELETE FROM p WHERE id = '1'", PART_JOB_CONFLICT},
        {"CREATE TABLE p(k TEXT, PRIMARY KEY(k COLLATE NOCASE)); INSERT INTO p VALUES('a');"
         "CREATE TABLE c(id INTEGER PRIMARY KEY, k TEXT REFERENCES p)",
         "INSERT INTO c VALUES(1, 'A')", "", PART_JOB_COMMITTED},
        {"CREATE TABLE p(k TEXT, PRIMARY KEY(k COLLATE NOCASE)); INSERT INTO p VALUES('a');"
         "CREATE TABLE c(id INTEGER PRIMARY KEY, k TEXT REFERENCES p)",
         "DELETE FROM p", "INSERT INTO c VALUES(1, 'A')", PART_JOB_CONFLICT},
        /* Broken before, which is not this branch's affair. */
        {"CREATE TABLE p(id INTEGER PRIMARY KEY);"
         "CREATE TABLE c(id INTEGER PRIMARY KEY, p TEXT REFERENCES p, v);"
         "INSERT INTO c VALUES(1, 7, 0), (2, 8, 0)",
         "UPDATE c SET v = 1", "UPDATE c SET p = NULL WHERE id = 2", PART_JOB_COMMITTED},
        {"CREATE TABLE p(id INTEGER PRIMARY KEY); INSERT INTO p VALUES(5);"
         "CREATE TABLE c(id INTEGER PRIMARY KEY, p TEXT REFERENCES p)",
         "DELETE FROM p", "INSERT INTO c VALUES(1, '05')", PART_JOB_CONFLICT},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fx fx;
        fx_setup(&fx, cases[i].schema);
        struct part_job *job = FX_PREPARE(&fx, 1, cases[i].work);
        assert_int_equal(job->outcome, PART_JOB_READY);
        fx_reopen(&fx);
        fx_must(&fx, cases[i].meanwhile);
        restore(&fx, job);
        fx_free(job);
        fx_start(&fx);
        if (fx_end(&fx, PART_JOB_COMMIT, 1) != cases[i].outcome) {
            fail_msg("%s; %s; %s", cases[i].schema, cases[i].work, cases[i].meanwhile);
        }
        fx_done(&fx);
    }
}

/* While the agent, having committed branch 1, rests before it takes the write lock again. */
static void begin_in_the_gap(struct fx *fx)
{
    arm("test.committed=1*delay(300)");
    struct part_job *job = fx_job(PART_JOB_COMMIT, 1);
    fx_submit(fx, job);
    fx_must(fx, "BEGIN IMMEDIATE");
    assert_int_equal(fx_number(fx, "SELECT count(*) FROM _assent_applied"), 1);
    assert_int_equal(fx_wait(fx, job), PART_JOB_COMMITTED);
    fx_free(job);
}

static void test_others__many_that_wait_are_not_held_up_one_by_one(void **state)
{
    (void)state;
    enum { WAITING = 30 };
    struct fx fx;
    struct part_job *jobs[WAITING];
    setup_with_points(&fx);
    struct part_job *young = fx_job(PART_JOB_PREPARE, 1);
    young->began_us = 1000;
    (void)fx_add(young, "UPDATE accounts SET balance = 1 WHERE id = 1");
    fx_submit(&fx, young);
    assert_int_equal(fx_wait(&fx, young), PART_JOB_READY);
    fx_free(young);
    for (unsigned i = 0; i < WAITING; i++) {
        jobs[i] = fx_job(PART_JOB_PREPARE, 200 - i); /* each older than the one before */
        (void)fx_add(jobs[i], "UPDATE accounts SET balance = 2 WHERE id = 1");
        fx_submit(&fx, jobs[i]);
    }
    fx_barrier(&fx);
    uint64_t began_ms = tpc_clock_mono_ms();
    begin_in_the_gap(&fx);
    for (unsigned i = 0; i < WAITING; i++) {
        assert_int_equal(fx_wait(&fx, jobs[i]), PART_JOB_REFUSED);
        assert_int_equal(jobs[i]->cause.code, API_CAUSE_CONFLICT);
        fx_free(jobs[i]);
    }
    assert_true(tpc_clock_mono_ms() - began_ms < 8000);
    fx_must(&fx, "ROLLBACK");
    assert_int_equal(fx_vote(&fx, 201, "UPDATE accounts SET balance = 3"), PART_JOB_READY);
    fx_done(&fx);
}

static void test_others__what_they_break_in_the_gap_is_shown(void **state)
{
    (void)state;
    struct fx fx;
    setup_with_points(&fx);
    assert_int_equal(fx_vote(&fx, 1, "UPDATE accounts SET balance = 1 WHERE id = 1"), 0);
    assert_int_equal(fx_vote(&fx, 2, "INSERT INTO owners VALUES(1, 2)"), 0);
    assert_int_equal(fx_vote(&fx, 3, "INSERT INTO owners VALUES(2, 3)"), 0);
    begin_in_the_gap(&fx);
    fx_must(&fx, "DELETE FROM accounts WHERE id = 2; COMMIT");
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 2), PART_JOB_CONFLICT);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 3), PART_JOB_COMMITTED);
    assert_int_equal(fx_number(&fx, "SELECT account FROM owners"), 3);
    fx_done(&fx);
}

static void test_others__a_table_with_other_columns_in_their_places_is_noticed(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, ACCOUNTS);
    struct part_job *job = FX_PREPARE(&fx, 1, "INSERT INTO accounts VALUES(9, 100, 'x')");
    fx_reopen(&fx);
    fx_must(&fx, "ALTER TABLE accounts DROP COLUMN balance; ALTER TABLE accounts ADD COLUMN debt");
    restore(&fx, job);
    fx_free(job);
    fx_start(&fx);
    assert_int_equal(fx_end(&fx, PART_JOB_COMMIT, 1), PART_JOB_CONFLICT);
    fx_done(&fx);
}

int main(void)
{
    tpc_fp_register(points, sizeof(points) / sizeof(points[0]));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commit__a_group_is_one_transaction),
        cmocka_unit_test(test_commit__errors_are_retried_and_lose_nothing),
        cmocka_unit_test(test_commit__nothing_goes_to_a_file_that_was_moved),
        cmocka_unit_test(test_commit__one_phase_errors_are_refusals),
        cmocka_unit_test(test_prepare__errors_are_refusals),
        cmocka_unit_test(test_commit__a_full_disk_loses_nothing),
        cmocka_unit_test(test_commit__a_full_disk_refuses_new_work),
        cmocka_unit_test(test_others__write_while_nothing_is_prepared),
        cmocka_unit_test(test_others__a_change_that_no_longer_applies_is_shown_alone),
        cmocka_unit_test(test_others__a_broken_reference_is_shown),
        cmocka_unit_test(test_others__references_are_compared_as_sqlite_does),
        cmocka_unit_test(test_others__many_that_wait_are_not_held_up_one_by_one),
        cmocka_unit_test(test_others__what_they_break_in_the_gap_is_shown),
        cmocka_unit_test(test_others__a_table_with_other_columns_in_their_places_is_noticed),
        cmocka_unit_test(test_others__an_altered_table_is_noticed),
        cmocka_unit_test(test_others__a_long_write_makes_captures_and_commits_wait_and_fail_softly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
