/* A test that can fail is a test: every checker is shown what it must object to. The databases are
 * real files; no daemon runs. */
#include "tests/support/check.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct sup_world world;
    struct sup_history history;
    struct sup_report report;
};

static int begin(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){.report.quiet = true};
    sup_world_init(&fixture.world, &(struct sup_world_options){.accounts = 3});
    *state = &fixture;
    return 0;
}

static int end(void **state)
{
    struct fixture *fixture = *state;
    sup_world_done(&fixture->world, false);
    sup_history_done(&fixture->history);
    return 0;
}

static void execute(struct fixture *fixture, unsigned bank, const char *sql)
{
    sqlite3 *db;
    char *error = NULL;
    assert_int_equal(sqlite3_open(fixture->world.agents[bank].db_path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK) {
        fail_msg("%s: %s", sql, error);
    }
    sqlite3_close(db);
}

/* 7 from account 1 at east to account 2 at west, as a client has seen it. */
static struct sup_transfer *asked_for(struct fixture *fixture, const char *name, enum sup_told told,
                                      int status)
{
    struct sup_transfer *transfer = sup_history_add(&fixture->history);
    (void)snprintf(transfer->name, sizeof transfer->name, "%s", name);
    transfer->from = (struct sup_leg){.bank = 0, .account = 1};
    transfer->to = (struct sup_leg){.bank = 1, .account = 2};
    transfer->amount = 7;
    transfer->told = told;
    transfer->status = status;
    return transfer;
}

#define TAKE(name)                                                                                 \
    "UPDATE accounts SET balance = balance - 7 WHERE id = 1;"                                      \
    "INSERT INTO ledger VALUES('" name "', 'from:1', -7)"
#define GIVE(name)                                                                                 \
    "UPDATE accounts SET balance = balance + 7 WHERE id = 2;"                                      \
    "INSERT INTO ledger VALUES('" name "', 'to:2', 7)"

static void move(struct fixture *fixture)
{
    execute(fixture, 0, TAKE("t"));
    execute(fixture, 1, GIVE("t"));
}

/* What each of the four finds, in this order. */
static void check(struct fixture *fixture, unsigned atomic, unsigned told, unsigned once,
                  unsigned sum)
{
    const unsigned expected[] = {atomic, told, once, sum};
    struct sup_books books;
    sup_books_read(&books, &fixture->world);
    for (size_t i = 0; i < 4; i++) {
        fixture->report.count = 0;
        switch (i) {
        case 0:
            sup_check_atomic(&books, &fixture->report);
            break;
        case 1:
            sup_check_told(&books, &fixture->history, &fixture->report);
            break;
        case 2:
            sup_check_once(&books, &fixture->report);
            break;
        default:
            sup_check_sum(&books, &fixture->report);
            break;
        }
        if (fixture->report.count != expected[i]) {
            fail_msg("checker %zu objects %u times: %s", i, fixture->report.count,
                     fixture->report.last);
        }
    }
    sup_books_done(&books);
}

static void test_sup_check__good_history_is_not_objected_to(void **state)
{
    struct fixture *fixture = *state;
    asked_for(fixture, "t", SUP_TOLD_COMMITTED, 201);
    asked_for(fixture, "refused", SUP_TOLD_ABORTED, 409);
    asked_for(fixture, "turned-away", SUP_TOLD_NOT_STARTED, 503);
    asked_for(fixture, "unknown", SUP_TOLD_UNKNOWN, 0);
    move(fixture);
    check(fixture, 0, 0, 0, 0);
    sup_check_answers(&fixture->history, NULL, &fixture->report);
    assert_int_equal(fixture->report.count, 0);
}

static void test_sup_check__unknown_outcome_may_have_happened(void **state)
{
    struct fixture *fixture = *state;
    asked_for(fixture, "t", SUP_TOLD_UNKNOWN, 0);
    move(fixture);
    check(fixture, 0, 0, 0, 0);
}

static void test_sup_check__half_a_transfer(void **state)
{
    struct fixture *fixture = *state;
    asked_for(fixture, "t", SUP_TOLD_UNKNOWN, 0);
    execute(fixture, 0, TAKE("t"));
    check(fixture, 1, 0, 0, 1);
}

static void test_sup_check__legs_that_do_not_match(void **state)
{
    struct fixture *fixture = *state;
    asked_for(fixture, "t", SUP_TOLD_COMMITTED, 201);
    move(fixture);
    execute(fixture, 1,
            "UPDATE ledger SET amount = 8;"
            "UPDATE accounts SET balance = balance + 1 WHERE id = 2");
    check(fixture, 1, 1, 0, 1);
}

static void test_sup_check__told_committed_and_lost(void **state)
{
    struct fixture *fixture = *state;
    asked_for(fixture, "t", SUP_TOLD_COMMITTED, 201);
    check(fixture, 0, 1, 0, 0);
}

static void test_sup_check__told_aborted_and_held(void **state)
{
    struct fixture *fixture = *state;
    asked_for(fixture, "t", SUP_TOLD_ABORTED, 409);
    move(fixture);
    check(fixture, 0, 1, 0, 0);
}

static void test_sup_check__told_not_started_and_held(void **state)
{
    struct fixture *fixture = *state;
    asked_for(fixture, "t", SUP_TOLD_NOT_STARTED, 503);
    move(fixture);
    check(fixture, 0, 1, 0, 0);
}

static void test_sup_check__row_that_nobody_asked_for(void **state)
{
    struct fixture *fixture = *state;
    move(fixture);
    check(fixture, 0, 1, 0, 0);
}

static void test_sup_check__other_account_than_asked_for(void **state)
{
    struct fixture *fixture = *state;
    asked_for(fixture, "t", SUP_TOLD_COMMITTED, 201)->to.account = 3;
    move(fixture);
    check(fixture, 0, 1, 0, 0);
}

static void test_sup_check__applied_twice(void **state)
{
    struct fixture *fixture = *state;
    asked_for(fixture, "t", SUP_TOLD_COMMITTED, 201);
    move(fixture);
    execute(fixture, 1, "UPDATE accounts SET balance = balance + 7 WHERE id = 2");
    check(fixture, 0, 0, 1, 1);
}

static void test_sup_check__lost_update(void **state)
{
    struct fixture *fixture = *state;
    asked_for(fixture, "t", SUP_TOLD_COMMITTED, 201);
    move(fixture);
    execute(fixture, 0, "UPDATE accounts SET balance = 100 WHERE id = 1");
    check(fixture, 0, 0, 1, 1);
}

static void test_sup_check__marker_twice(void **state)
{
    struct fixture *fixture = *state;
    execute(fixture, 0,
            "CREATE TABLE _assent_applied(gtid BLOB);"
            "INSERT INTO _assent_applied VALUES(x'01'), (x'02'), (x'02')");
    check(fixture, 0, 0, 1, 0);
}

static void test_sup_check__answers_that_must_not_be(void **state)
{
    struct fixture *fixture = *state;
    struct sup_transfer *refused = asked_for(fixture, "t", SUP_TOLD_ABORTED, 409);
    (void)snprintf(refused->cause, sizeof refused->cause, "timeout");
    sup_check_answers(&fixture->history, "conflict timeout", &fixture->report);
    assert_int_equal(fixture->report.count, 0);
    sup_check_answers(&fixture->history, "conflict time", &fixture->report);
    assert_int_equal(fixture->report.count, 1);
    asked_for(fixture, "hazard", SUP_TOLD_UNKNOWN, 500);
    asked_for(fixture, "not-understood", SUP_TOLD_UNKNOWN, 422);
    sup_check_answers(&fixture->history, NULL, &fixture->report);
    assert_int_equal(fixture->report.count, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sup_check__good_history_is_not_objected_to),
        TEST(test_sup_check__unknown_outcome_may_have_happened),
        TEST(test_sup_check__half_a_transfer),
        TEST(test_sup_check__legs_that_do_not_match),
        TEST(test_sup_check__told_committed_and_lost),
        TEST(test_sup_check__told_aborted_and_held),
        TEST(test_sup_check__told_not_started_and_held),
        TEST(test_sup_check__row_that_nobody_asked_for),
        TEST(test_sup_check__other_account_than_asked_for),
        TEST(test_sup_check__applied_twice),
        TEST(test_sup_check__lost_update),
        TEST(test_sup_check__marker_twice),
        TEST(test_sup_check__answers_that_must_not_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
