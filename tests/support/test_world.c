/* The stage itself: daemons come up, answer, die, come back at the same address, and end. */
#include "tests/support/http.h"
#include "tests/support/world.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct sup_world world;

static int begin(void **state)
{
    (void)state;
    sup_world_init(&world, &(struct sup_world_options){0});
    sup_world_start(&world);
    return 0;
}

static int end(void **state)
{
    struct stat info;
    (void)state;
    sup_world_done(&world, false);
    assert_int_not_equal(stat(world.directory, &info), 0);
    return 0;
}

static void test_sup_world__daemon_is_found_again_after_a_kill(void **state)
{
    const char *url = sup_daemon_url(&world.coordinator);
    char before[80];
    (void)state;
    (void)snprintf(before, sizeof before, "%s", url);
    assert_int_equal(sup_http_status("GET", url, "/readyz", NULL), 200);
    sup_daemon_kill(&world.coordinator);
    assert_true(sup_proc_was_killed(&world.coordinator.proc));
    assert_int_equal(sup_http_status("GET", url, "/readyz", NULL), 0);
    sup_world_revive(&world);
    assert_string_equal(sup_daemon_url(&world.coordinator), before);
    assert_int_equal(sup_http_status("GET", url, "/readyz", NULL), 200);
}

static void test_sup_world__failpoint_at_the_start_ends_it(void **state)
{
    (void)state;
    sup_daemon_stop(&world.coordinator);
    assert_false(sup_daemon_start(&world.coordinator, "coord.start.ready=1*kill"));
    assert_true(sup_proc_was_killed(&world.coordinator.proc));
    assert_true(sup_proc_said(&world.coordinator.proc, "name=coord.start.ready"));
    sup_world_revive(&world);
}

static void test_sup_world__money_moves(void **state)
{
    static const char body[] =
        "{\"branches\":[{\"participant\":\"east\",\"statements\":[{\"sql\":"
        "\"UPDATE accounts SET balance = balance - 30 WHERE id = 1\",\"expect\":{\"rows\":1}}]},"
        "{\"participant\":\"west\",\"statements\":[{\"sql\":"
        "\"UPDATE accounts SET balance = balance + 30 WHERE id = 1 RETURNING balance\"}]}]}";
    const char *url = sup_daemon_url(&world.coordinator);
    struct sup_answer answer;
    (void)state;
    sup_http_at("POST", url, "/v1/transactions", NULL, body, SUP_CALL_MS, &answer);
    assert_int_equal(answer.status, 201);
    assert_string_equal(sup_json_text(answer.json, "branches.1.participant"), "west");
    assert_string_equal(sup_json_text(answer.json, "branches.1.state"), "committed");
    sup_answer_done(&answer);
    assert_true(sup_metric(url, "assent_transactions_total", "commit") == 1);
    assert_true(sup_metric(url, "assent_no_such_metric", NULL) == -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sup_world__daemon_is_found_again_after_a_kill),
        cmocka_unit_test(test_sup_world__failpoint_at_the_start_ends_it),
        cmocka_unit_test(test_sup_world__money_moves),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
