#include "participant/job_ends.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct tpc_timers timers;
static struct part_job_ends ends;
static struct part_job jobs[8];
static unsigned wakes, told;

static void wake(void *arg)
{
    (void)arg;
    wakes++;
}

static void tell(struct part_job *job)
{
    assert_ptr_equal(job, &jobs[told]);
    told++;
}

static void begin(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        part_job_begin(&ends);
    }
}

static void end(unsigned count)
{
    while (count-- > 0) {
        part_job_end(&ends, &jobs[told + ends.count], PART_JOB_READY);
    }
}

static int set_up(void **state)
{
    (void)state;
    wakes = told = 0;
    for (unsigned i = 0; i < 8; i++) {
        jobs[i] = (struct part_job){.done = tell};
    }
    part_job_ends_init(&ends, &(struct part_resource_options){.timers = &timers, .wake = wake});
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(ends.timer.slot, 0);
    tpc_timers_done(&timers);
    return 0;
}

static void test_job_ends__one_alone_is_told_at_once(void **state)
{
    (void)state;
    begin(1);
    part_job_ends_enter(&ends);
    end(1);
    part_job_ends_offer(&ends);
    assert_int_equal(told, 1);
    assert_int_equal(wakes, 0);
}

static void end_and_offer(unsigned count)
{
    part_job_ends_enter(&ends);
    end(count);
    part_job_ends_offer(&ends);
}

static void test_job_ends__one_more_each_time_up_to_half_of_what_is_under_way(void **state)
{
    (void)state;
    begin(8);
    end_and_offer(1);
    assert_int_equal(told, 1);
    end_and_offer(1);
    assert_int_equal(told, 1);
    end_and_offer(1);
    assert_int_equal(told, 3);
    end_and_offer(1);
    assert_int_equal(told, 3);
    end_and_offer(1); /* two, where three would do; but three are under way */
    assert_int_equal(told, 5);
}

/* Most wait for the lock of the one that has ended. */
static void test_job_ends__who_waited_in_vain_does_not_wait_again_for_long(void **state)
{
    (void)state;
    begin(1000);
    end_and_offer(1);
    end_and_offer(1);
    assert_int_equal(told, 1);
    tpc_timers_run(&timers, tpc_timers_next(&timers));
    assert_int_equal(told, 2);
    for (unsigned i = 0; i < PART_ENDS_PATIENCE + 1; i++) {
        told = 0;
        end_and_offer(1);
        assert_int_equal(told, 1);
    }
    told = 0;
    end_and_offer(1); /* the next try */
    assert_int_equal(told, 0);
    tpc_timers_run(&timers, tpc_timers_next(&timers));
}

static void test_job_ends__few_are_told_when_their_time_is_over(void **state)
{
    (void)state;
    begin(8);
    end_and_offer(1);
    end_and_offer(1);
    assert_int_equal(told, 1);
    assert_true(tpc_timers_next(&timers) != UINT64_MAX);
    tpc_timers_run(&timers, tpc_timers_next(&timers));
    assert_int_equal(told, 2);
}

/* A session can be lost in a callback that offers nothing. */
static void test_job_ends__whoever_ends_one_outside_of_a_callback_wakes(void **state)
{
    (void)state;
    begin(2);
    part_job_ends_enter(&ends);
    part_job_ends_offer(&ends);
    end(1);
    assert_int_equal(wakes, 1);
    assert_int_equal(told, 0);
    part_job_ends_offer(&ends);
    assert_int_equal(told, 1);
}

static void test_job_ends__all_are_told_at_the_end(void **state)
{
    (void)state;
    begin(8);
    end_and_offer(1);
    end_and_offer(1);
    part_job_ends_deliver(&ends);
    assert_int_equal(told, 2);
}

int main(void)
{
#define ENDS_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        ENDS_TEST(test_job_ends__one_alone_is_told_at_once),
        ENDS_TEST(test_job_ends__one_more_each_time_up_to_half_of_what_is_under_way),
        ENDS_TEST(test_job_ends__who_waited_in_vain_does_not_wait_again_for_long),
        ENDS_TEST(test_job_ends__few_are_told_when_their_time_is_over),
        ENDS_TEST(test_job_ends__whoever_ends_one_outside_of_a_callback_wakes),
        ENDS_TEST(test_job_ends__all_are_told_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
