/* What is injected, from what was found and what is wanted. */
#include "cli/crashtest/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct cli_setup setup;

static int begin(void **state)
{
    (void)state;
    setup = (struct cli_setup){.spec_count = 2};
    (void)strcpy(setup.specs[0].name, "east");
    (void)strcpy(setup.specs[1].name, "shop");
    setup.specs[1].url = "http://127.0.0.1:1";
    return 0;
}

static struct cli_plan plan_of(unsigned rows)
{
    return (struct cli_plan){.setup = &setup,
                             .choice = {.rows = rows, .message = CLI_MESSAGE_COUNT}};
}

static void add_hits(struct cli_plan *plan, const struct cli_hit *hits, size_t count)
{
    cli_plan_add_dry_runs(plan);
    plan->items[0].hits.items = calloc(count, sizeof *hits);
    assert_non_null(plan->items[0].hits.items);
    memcpy(plan->items[0].hits.items, hits, count * sizeof *hits);
    plan->items[0].hits.count = count;
    cli_plan_gather_hits(plan);
}

static unsigned count_row(const struct cli_plan *plan, unsigned row)
{
    unsigned count = 0;
    for (size_t i = 0; i < plan->count; i++) {
        count += plan->items[i].row == row;
    }
    return count;
}

static const struct cli_hit found[] = {
    {.point = "a.one", .node = 0, .scene = 0, .first_start = 1, .last_start = 3},
    {.point = "a.one", .node = 0, .scene = 2, .first_start = 2, .last_start = 2},
};

static void test_cli_plan_add_kills__each_point_once(void **state)
{
    struct cli_plan plan = plan_of(CLI_ROWS_ALL);
    (void)state;
    add_hits(&plan, found, 2);
    cli_plan_add_kills(&plan, 0, "a.one\na.two\n");
    assert_int_equal(count_row(&plan, CLI_ROW_KILL), 2);
    const struct cli_injection *one = &plan.items[plan.count - 2], *two = one + 1;
    assert_string_equal(one->plot.point, "a.one");
    assert_int_equal(one->plot.start, 1);
    assert_string_equal(two->plot.point, "a.two");
    assert_int_equal(two->plot.start, 0); /* never passed */
    cli_plan_done(&plan);
}

static void test_cli_plan_add_kills__not_at_points_of_another_resource(void **state)
{
    struct cli_plan plan = plan_of(CLI_ROWS_ALL);
    (void)state;
    add_hits(&plan, found, 2);
    cli_plan_add_kills(&plan, 1, "agent.db.commit\nagent.pg.decide\n"); /* SQLite, ours */
    assert_int_equal(count_row(&plan, CLI_ROW_KILL), 1);
    cli_plan_add_kills(&plan, 2, "agent.db.commit\nagent.pg.decide\n"); /* the user's */
    assert_int_equal(count_row(&plan, CLI_ROW_KILL), 3);
    cli_plan_done(&plan);
}

static void test_cli_plan_add_kills__in_full_in_every_start_of_every_scene(void **state)
{
    struct cli_plan plan = plan_of(CLI_ROWS_ALL);
    (void)state;
    plan.choice.full = true;
    add_hits(&plan, found, 2);
    cli_plan_add_kills(&plan, 0, "a.one\n");
    assert_int_equal(count_row(&plan, CLI_ROW_KILL), 4);
    cli_plan_done(&plan);
}

static void test_cli_plan_next_try__goes_on_to_other_scenes(void **state)
{
    struct cli_plan plan = plan_of(CLI_ROWS_ALL);
    struct cli_plot plot;
    unsigned scenes[2] = {0}, try = 0;
    (void)state;
    add_hits(&plan, found, 2);
    cli_plan_add_kills(&plan, 0, "a.one\n");
    const struct cli_injection *item = &plan.items[plan.count - 1];
    while (cli_plan_next_try(&plan, item, try, &plot)) {
        scenes[plot.scene_index == 2]++;
        try++;
    }
    assert_true(scenes[0] > 1 && scenes[1] > 0);
    cli_plan_done(&plan);
}

static void test_cli_plan_add_recoveries__each_point_once_with_some_death(void **state)
{
    struct cli_plan plan = plan_of(CLI_ROWS_ALL);
    static const struct cli_hit passed[] = {{.point = "a.scan"}, {.point = "a.ready"}};
    (void)state;
    add_hits(&plan, found, 2);
    cli_plan_add_kills(&plan, 0, "a.one\na.one\n");
    for (size_t i = plan.count - 2; i < plan.count; i++) {
        plan.items[i].hits.items = malloc(sizeof passed);
        assert_non_null(plan.items[i].hits.items);
        memcpy(plan.items[i].hits.items, passed, sizeof passed);
        plan.items[i].hits.count = 2;
    }
    cli_plan_add_recoveries(&plan);
    assert_int_equal(count_row(&plan, CLI_ROW_RECOVERY), 2);
    assert_string_equal(plan.items[plan.count - 1].plot.again, "a.ready");
    cli_plan_done(&plan);
}

static void test_cli_plan_add_messages__kills_nobody_who_is_not_ours(void **state)
{
    struct cli_plan plan = plan_of(CLI_ROWS_ALL);
    (void)state;
    plan.messages[CLI_LINK_MEMBERS + 1][CLI_MESSAGE_PREPARE] = 9;
    cli_plan_add_messages(&plan);
    assert_int_equal(count_row(&plan, CLI_ROW_FAULTS + CLI_FAULT_DROP), 2);
    assert_int_equal(count_row(&plan, CLI_ROW_FAULTS + CLI_FAULT_KILL_AFTER), 0);
    setup.specs[1].command = "shop";
    cli_plan_add_messages(&plan);
    assert_int_equal(count_row(&plan, CLI_ROW_FAULTS + CLI_FAULT_KILL_AFTER), 2);
    cli_plan_done(&plan);
}

static void test_cli_plot_flags__choose_it_again(void **state)
{
    struct cli_plan plan = plan_of(CLI_ROWS_ALL);
    struct tpc_buf flags = {0};
    (void)state;
    add_hits(&plan, found, 2);
    assert_true(cli_choice_point(&plan.choice, "a.one@2+a.scan"));
    cli_plan_add_kills(&plan, 0, "a.one\na.two\n");
    assert_int_equal(count_row(&plan, CLI_ROW_RECOVERY), 1);
    const struct cli_injection *item = &plan.items[plan.count - 1];
    cli_plot_flags(&setup, item->row, &item->plot, &flags);
    assert_string_equal(flags.data, "--only recovery --scene traffic --process coordinator --point "
                                    "a.one@2+a.scan");
    tpc_buf_done(&flags);
    cli_plan_done(&plan);
}

static void test_cli_choice__refuses_what_it_does_not_know(void **state)
{
    struct cli_choice choice = {0};
    struct tpc_err err = {0};
    (void)state;
    assert_int_equal(cli_rows_parse("kill,stop", &err), 1 << CLI_ROW_KILL | 1 << CLI_ROW_STOP);
    assert_int_equal(cli_rows_parse("kill,dorp", &err), 0);
    assert_non_null(strstr(err.text, "drop"));
    assert_true(cli_choice_message(&choice, "prepare"));
    assert_true(cli_choice_message(&choice, "commit:12"));
    assert_int_equal(choice.number, 12);
    assert_false(cli_choice_message(&choice, "commit:"));
    assert_false(cli_choice_message(&choice, "commit:x"));
    assert_false(cli_choice_message(&choice, "comit:1"));
    assert_false(cli_choice_point(&choice, ""));
    assert_false(cli_choice_point(&choice, "a.one@x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_cli_plan_add_kills__each_point_once, begin),
        cmocka_unit_test_setup(test_cli_plan_add_kills__not_at_points_of_another_resource, begin),
        cmocka_unit_test_setup(test_cli_plan_add_kills__in_full_in_every_start_of_every_scene,
                               begin),
        cmocka_unit_test_setup(test_cli_plan_next_try__goes_on_to_other_scenes, begin),
        cmocka_unit_test_setup(test_cli_plan_add_recoveries__each_point_once_with_some_death,
                               begin),
        cmocka_unit_test_setup(test_cli_plan_add_messages__kills_nobody_who_is_not_ours, begin),
        cmocka_unit_test_setup(test_cli_plot_flags__choose_it_again, begin),
        cmocka_unit_test(test_cli_choice__refuses_what_it_does_not_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
