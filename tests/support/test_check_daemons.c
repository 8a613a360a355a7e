/* The checkers that ask daemons, before real ones that are not as they should be. */
#include "tests/support/check.h"
#include "tests/support/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct sup_world world;
static struct sup_history history;
static struct sup_report report;

static int begin(void **state)
{
    (void)state;
    report = (struct sup_report){.quiet = true};
    sup_world_init(&world, &(struct sup_world_options){.accounts = 3});
    sup_world_start(&world);
    return 0;
}

static int end(void **state)
{
    (void)state;
    sup_world_done(&world, false);
    sup_history_done(&history);
    return 0;
}

static struct sup_transfer *submit(const char *name, const char *key)
{
    struct sup_transfer *transfer = sup_history_add(&history);
    (void)snprintf(transfer->name, sizeof transfer->name, "%s", name);
    transfer->from = (struct sup_leg){.bank = 0, .account = 1};
    transfer->to = (struct sup_leg){.bank = 1, .account = 2};
    transfer->amount = 7;
    sup_transfer_submit(&world, transfer, key, 1000);
    return transfer;
}

/* A branch that another coordinator, of which nothing is heard any more, has left at east. */
static void leave_in_doubt(void)
{
    static const char body[] =
        "{\"coordinator\":{\"id\":\"11111111-2222-4333-8444-555555555555\","
        "\"url\":\"http://127.0.0.1:1\",\"generation\":1,"
        "\"nonce\":\"66666666-2222-4333-8444-555555555555\"},\"messages\":[{\"op\":\"prepare\","
        "\"gtid\":\"0199c0de-7a11-7c3e-9f00-5a2b1c0d0001\",\"began_us\":1,\"timeout_ms\":5000,"
        "\"statements\":[{\"sql\":\"UPDATE accounts SET balance = balance + 1 WHERE id = 2\"}]}]}";
    assert_int_equal(
        sup_http_status("POST", sup_daemon_url(&world.agents[0]), "/v1/messages", body), 200);
}

static void test_sup_check__good_world_is_not_objected_to(void **state)
{
    (void)state;
    assert_int_equal(submit("t", NULL)->told, SUP_TOLD_COMMITTED);
    assert_int_equal(submit("k", "a-key")->told, SUP_TOLD_COMMITTED);
    report.quiet = false;
    sup_check_all(&world, &history, "", &report);
    assert_int_equal(report.count, 0);
}

static void test_sup_check__branch_in_doubt(void **state)
{
    (void)state;
    leave_in_doubt();
    sup_check_settled(&world, 50, &report);
    assert_int_equal(report.count, 1);
    assert_non_null(strstr(report.last, "prepared"));
    sup_check_unlocked(&world, &report);
    assert_int_equal(report.count, 2);
    sup_check_cli(&world, &report);
    assert_int_equal(report.count, 3);
}

static void test_sup_check__transaction_that_does_not_end(void **state)
{
    (void)state;
    sup_daemon_kill(&world.agents[1]);
    assert_true(sup_daemon_start(&world.agents[1], "agent.commit.receive=hang"));
    struct sup_transfer *transfer = submit("t", NULL);
    assert_int_equal(transfer->status, 202);
    sup_daemon_kill(&world.agents[1]);
    sup_check_settled(&world, 50, &report);
    assert_int_equal(report.count, 1);
    assert_non_null(strstr(report.last, "committing"));
}

static void test_sup_check__restart_that_changes_something(void **state)
{
    (void)state;
    sup_daemon_kill(&world.coordinator);
    assert_true(sup_daemon_start(&world.coordinator, "coord.decision.forced=1*kill"));
    assert_int_equal(submit("t", NULL)->told, SUP_TOLD_UNKNOWN);
    /* Not at rest: the commit is decided, and applied after the restart. */
    sup_check_restart(&world, &report);
    assert_int_equal(report.count, 1);
    assert_non_null(strstr(report.last, "restart"));
}

static void test_sup_check__transaction_shown_otherwise(void **state)
{
    struct sup_books books;
    (void)state;
    submit("t", NULL);
    sup_books_read(&books, &world);
    sup_check_shown(&world, &books, &history, &report);
    assert_int_equal(report.count, 0);
    /* An id that is unknown reads as aborted, which this one was not. */
    history.items[0].id[0] = '1';
    sup_check_shown(&world, &books, &history, &report);
    assert_int_equal(report.count, 1);
    sup_books_done(&books);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sup_check__good_world_is_not_objected_to),
        TEST(test_sup_check__branch_in_doubt),
        TEST(test_sup_check__transaction_that_does_not_end),
        TEST(test_sup_check__restart_that_changes_something),
        TEST(test_sup_check__transaction_shown_otherwise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
