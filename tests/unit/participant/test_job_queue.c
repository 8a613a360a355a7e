#include "participant/job_queue.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct part_job job_of(uint64_t began_us, uint64_t deadline_ms)
{
    return (struct part_job){.began_us = began_us,
                             .deadline_ms = deadline_ms,
                             .gtid = {{(uint8_t)began_us, (uint8_t)deadline_ms}}};
}

static void test_job_queue__the_oldest_transaction_is_first(void **state)
{
    struct part_job jobs[] = {job_of(5, 1), job_of(3, 2), job_of(9, 3), job_of(3, 1)};
    struct part_job_queue queue = {0};
    (void)state;
    for (int i = 0; i < 4; i++) {
        part_job_queue_add(&queue, &jobs[i]);
    }
    assert_int_equal(queue.count, 4);
    assert_ptr_equal(part_job_queue_take(&queue), &jobs[3]);
    assert_ptr_equal(part_job_queue_take(&queue), &jobs[1]);
    assert_ptr_equal(part_job_queue_take(&queue), &jobs[0]);
    assert_ptr_equal(part_job_queue_take(&queue), &jobs[2]);
    assert_null(part_job_queue_take(&queue));
    part_job_queue_add(&queue, &jobs[0]);
    assert_ptr_equal(queue.last, &jobs[0]);
}

static void test_job_queue__any_may_be_removed(void **state)
{
    struct part_job jobs[] = {job_of(1, 0), job_of(2, 0), job_of(3, 0)};
    struct part_job_queue queue = {0};
    (void)state;
    for (int i = 0; i < 3; i++) {
        part_job_queue_add(&queue, &jobs[i]);
    }
    assert_true(part_job_queue_remove(&queue, &jobs[2]));
    assert_false(part_job_queue_remove(&queue, &jobs[2]));
    part_job_queue_add(&queue, &jobs[2]); /* behind the new last one */
    assert_true(part_job_queue_remove(&queue, &jobs[0]));
    assert_ptr_equal(part_job_queue_take(&queue), &jobs[1]);
    assert_ptr_equal(part_job_queue_take(&queue), &jobs[2]);
    assert_null(queue.last);
}

static void test_job_queue__those_whose_time_is_over_come_out(void **state)
{
    struct part_job jobs[] = {job_of(1, 50), job_of(2, 0), job_of(3, 40), job_of(4, 60)};
    struct part_job_queue queue = {0};
    (void)state;
    assert_int_equal(part_job_queue_deadline_ms(&queue), UINT64_MAX);
    for (int i = 0; i < 4; i++) {
        part_job_queue_add(&queue, &jobs[i]);
    }
    assert_int_equal(part_job_queue_deadline_ms(&queue), 40);
    assert_null(part_job_queue_expire(&queue, 39));
    struct part_job *expired = part_job_queue_expire(&queue, 50);
    assert_ptr_equal(expired, &jobs[0]);
    assert_ptr_equal(expired->next, &jobs[2]);
    assert_null(expired->next->next);
    assert_ptr_equal(part_job_queue_take(&queue), &jobs[1]);
    assert_ptr_equal(part_job_queue_take(&queue), &jobs[3]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_queue__the_oldest_transaction_is_first),
        cmocka_unit_test(test_job_queue__any_may_be_removed),
        cmocka_unit_test(test_job_queue__those_whose_time_is_over_come_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
