#include "tests/unit/base/unit.h"

#include "base/timers.h"

#include <stdlib.h>

enum { MANY = 500 };

struct owner {
    struct tpc_timer timer;
    int fired;
    struct tpc_timers *timers; /* for those that arm themselves again */
    uint64_t again_ms;
    struct tpc_timer *victim; /* for those that cancel another */
};

static uint64_t last_due_ms;

static void on_fire(struct tpc_timer *timer)
{
    struct owner *owner = (struct owner *)timer;
    assert_int_equal(timer->slot, 0);
    assert_true(timer->due_ms >= last_due_ms);
    last_due_ms = timer->due_ms;
    owner->fired++;
    if (owner->again_ms > 0) {
        tpc_timer_arm(owner->timers, timer, owner->again_ms);
    }
    if (owner->victim != NULL) {
        tpc_timer_cancel(owner->timers, owner->victim);
    }
}

static int begin(void **state)
{
    (void)state;
    last_due_ms = 0;
    return 0;
}

static void test_timers_run__fires_in_order_of_time(void **state)
{
    (void)state;
    struct tpc_timers timers = {0};
    static struct owner owners[MANY];
    srand(1);
    for (size_t i = 0; i < MANY; i++) {
        owners[i] = (struct owner){.timer.fire = on_fire};
        tpc_timer_arm(&timers, &owners[i].timer, (uint64_t)(rand() % 1000));
    }
    for (size_t i = 0; i < MANY; i += 3) {
        tpc_timer_arm(&timers, &owners[i].timer, (uint64_t)(rand() % 1000));
    }
    for (size_t i = 1; i < MANY; i += 3) {
        tpc_timer_cancel(&timers, &owners[i].timer);
    }
    tpc_timers_run(&timers, 500);
    assert_true(tpc_timers_next(&timers) > 500);
    tpc_timers_run(&timers, 1000);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(owners[i].fired, i % 3 == 1 ? 0 : 1);
    }
    assert_true(tpc_timers_next(&timers) == UINT64_MAX);
    tpc_timers_done(&timers);
}

static void test_timer_cancel__is_a_no_op_when_unarmed(void **state)
{
    (void)state;
    struct tpc_timers timers = {0};
    struct owner owner = {.timer.fire = on_fire};
    tpc_timer_cancel(&timers, &owner.timer);
    tpc_timer_arm(&timers, &owner.timer, 5);
    tpc_timer_cancel(&timers, &owner.timer);
    tpc_timer_cancel(&timers, &owner.timer);
    tpc_timers_run(&timers, 10);
    assert_int_equal(owner.fired, 0);
    tpc_timers_done(&timers);
}

static void test_timers_run__one_that_arms_itself_in_the_past_ends(void **state)
{
    (void)state;
    struct tpc_timers timers = {0};
    struct owner owner = {.timer.fire = on_fire, .timers = &timers, .again_ms = 5};
    tpc_timer_arm(&timers, &owner.timer, 5);
    tpc_timers_run(&timers, 10);
    assert_int_equal(owner.fired, 1);
    assert_true(tpc_timers_next(&timers) == 5);
    tpc_timers_done(&timers);
    assert_int_equal(owner.timer.slot, 0);
}

static void test_timers_run__a_handler_may_cancel_another(void **state)
{
    (void)state;
    struct tpc_timers timers = {0};
    struct owner second = {.timer.fire = on_fire};
    struct owner first = {.timer.fire = on_fire, .timers = &timers, .victim = &second.timer};
    tpc_timer_arm(&timers, &second.timer, 6);
    tpc_timer_arm(&timers, &first.timer, 5);
    tpc_timers_run(&timers, 10);
    assert_int_equal(first.fired, 1);
    assert_int_equal(second.fired, 0);
    tpc_timers_done(&timers);
}

static void test_timers_run__an_empty_queue_is_quiet(void **state)
{
    (void)state;
    struct tpc_timers timers = {0};
    tpc_timers_run(&timers, UINT64_MAX);
    assert_int_equal(tpc_timers_reserve(&timers, 10), TPC_OK);
    assert_int_equal(tpc_timers_reserve(&timers, 5), TPC_OK);
    assert_int_equal(timers.capacity, 10);
    tpc_timers_run(&timers, 0);
    tpc_timers_done(&timers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_timers_run__fires_in_order_of_time, begin),
        cmocka_unit_test_setup(test_timer_cancel__is_a_no_op_when_unarmed, begin),
        cmocka_unit_test_setup(test_timers_run__one_that_arms_itself_in_the_past_ends, begin),
        cmocka_unit_test_setup(test_timers_run__a_handler_may_cancel_another, begin),
        cmocka_unit_test_setup(test_timers_run__an_empty_queue_is_quiet, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
