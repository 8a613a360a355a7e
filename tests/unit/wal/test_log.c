#include "tests/unit/wal/support.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A store with a gate before it: an append reports that it has begun and waits to be let in. */
struct gate {
    struct wal_store store;
    struct wal_store *inner;
    sem_t arrived, open;
    size_t last_count;
};

static enum tpc_rc gate_append(struct wal_store *store, const struct wal_entry *entries,
                               size_t count, bool force, struct tpc_err *reterr)
{
    struct gate *gate = (struct gate *)store;

    gate->last_count = count;
    (void)sem_post(&gate->arrived);
    while (sem_wait(&gate->open) != 0) {
        assert_int_equal(errno, EINTR);
    }
    return gate->inner->ops->append(gate->inner, entries, count, force, reterr);
}

static const struct wal_store_ops gate_ops = {.append = gate_append};

/* One log over a gate over a store, and what was reported. */
struct fixture {
    char scratch[SCRATCH_MAX]; /* empty: the store is in memory */
    struct gate gate;
    struct wal_log *log;
    int woken; /* eventfd */
    char told[WORDS_MAX];
};

struct waiter {
    struct wal_append append; /* first */
    struct fixture *fixture;
    char word[8];
    struct waiter *then; /* submitted by the callback of this one */
};

static struct fixture fixture;

static void wake(void *arg)
{
    const struct fixture *f = arg;
    const uint64_t one = 1;

    assert_int_equal(write(f->woken, &one, sizeof one), sizeof one);
}

static void start(struct wal_store *inner, const struct wal_log_options *options)
{
    struct wal_log_options all = *options;

    fixture.gate.store.ops = &gate_ops;
    fixture.gate.inner = inner;
    assert_int_equal(sem_init(&fixture.gate.arrived, 0, 0), 0);
    assert_int_equal(sem_init(&fixture.gate.open, 0, 0), 0);
    fixture.woken = eventfd(0, EFD_CLOEXEC);
    assert_true(fixture.woken >= 0);
    all.wake = wake;
    all.wake_arg = &fixture;
    assert_int_equal(wal_log_start(&fixture.gate.store, &all, &fixture.log, NULL), TPC_OK);
}

static void start_in_memory(const struct wal_log_options *options)
{
    const struct tpc_id id = test_id(200);
    struct wal_store *inner = NULL;

    assert_int_equal(wal_memory_new(&id, &inner), TPC_OK);
    start(inner, options);
}

static int set_up(void **state)
{
    (void)state;
    memset(&fixture, 0, sizeof fixture);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture.gate.inner->ops->close(fixture.gate.inner);
    (void)sem_destroy(&fixture.gate.arrived);
    (void)sem_destroy(&fixture.gate.open);
    (void)close(fixture.woken);
    if (fixture.scratch[0] != '\0') {
        remove_scratch(fixture.scratch);
    }
    return 0;
}

static void let_in(unsigned appends)
{
    while (appends-- > 0) {
        assert_int_equal(sem_post(&fixture.gate.open), 0);
    }
}

static void await_append(void)
{
    while (sem_wait(&fixture.gate.arrived) != 0) {
        assert_int_equal(errno, EINTR);
    }
}

static void tell(struct wal_append *append, enum tpc_rc rc, const struct tpc_err *err);

static enum tpc_rc submit_waiter(struct waiter *waiter, bool force)
{
    waiter->append.data = encode_word(1, waiter->word, &waiter->append.size);
    waiter->append.force = force;
    waiter->append.done = tell;
    return wal_log_submit(waiter->fixture->log, &waiter->append);
}

/* Note what was told, as " word" or " word!" for a failure. */
static void tell(struct wal_append *append, enum tpc_rc rc, const struct tpc_err *err)
{
    struct waiter *waiter = (struct waiter *)append;

    (void)strcat(waiter->fixture->told, " ");
    (void)strcat(waiter->fixture->told, waiter->word);
    assert_null(append->data);
    assert_true((rc == TPC_OK) == (err == NULL));
    if (rc != TPC_OK) {
        assert_true(err->text[0] != '\0');
        (void)strcat(waiter->fixture->told, "!");
    }
    if (waiter->then != NULL) {
        assert_int_equal(submit_waiter(waiter->then, true), TPC_OK);
    }
    free(waiter);
}

static struct waiter *new_waiter(const char *word)
{
    struct waiter *waiter = calloc(1, sizeof *waiter);

    assert_non_null(waiter);
    waiter->fixture = &fixture;
    (void)strncat(waiter->word, word, sizeof waiter->word - 1);
    return waiter;
}

static void submit(const char *word, bool force)
{
    assert_int_equal(submit_waiter(new_waiter(word), force), TPC_OK);
}

static void submit_lazy(const char *word)
{
    size_t size;
    void *data = encode_word(1, word, &size);

    assert_int_equal(wal_log_submit_lazy(fixture.log, data, size), TPC_OK);
}

/* Deliver until @expected was told. */
static void await_told(const char *expected)
{
    while (strlen(fixture.told) < strlen(expected)) {
        struct pollfd fd = {.fd = fixture.woken, .events = POLLIN};
        uint64_t count;
        assert_int_equal(poll(&fd, 1, 30000), 1);
        assert_int_equal(read(fixture.woken, &count, sizeof count), sizeof count);
        wal_log_poll(fixture.log);
    }
    assert_string_equal(fixture.told, expected);
}

static void test_log__tells_in_order_of_submission(void **state)
{
    (void)state;
    start_in_memory(&(struct wal_log_options){0});
    let_in(10);
    submit("a", true);
    submit("b", false);
    submit("c", true);
    await_told(" a b c");
    wal_log_stop(fixture.log);
    assert_string_equal(words_of(fixture.gate.inner), "a b c");
}

static void test_log__nothing_is_told_before_poll(void **state)
{
    (void)state;
    start_in_memory(&(struct wal_log_options){0});
    let_in(1);
    submit("a", true);
    struct pollfd fd = {.fd = fixture.woken, .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 30000), 1);
    assert_string_equal(fixture.told, "");
    wal_log_poll(fixture.log);
    assert_string_equal(fixture.told, " a");
    wal_log_stop(fixture.log);
}

static void group_of_64(void)
{
    struct wal_stats stats;
    char word[16];
    char expected[WORDS_MAX] = " 00";

    submit("00", true);
    await_append(); /* the log thread is busy with the first */
    for (int i = 1; i < 64; i++) {
        (void)snprintf(word, sizeof word, "%02d", i);
        submit(word, true);
        (void)strcat(strcat(expected, " "), word);
    }
    let_in(2);
    await_told(expected);
    assert_int_equal(fixture.gate.last_count, 63);
    wal_log_stats(fixture.log, &stats);
    assert_int_equal(stats.forces, 2);
    assert_int_equal(stats.lazy_flushes, 0);
    assert_int_equal(stats.records, 64);
    assert_int_equal(stats.forced_records, 64);
    assert_true(stats.bytes > (uint64_t)64 * WAL_RECORD_MIN);
    assert_int_equal(stats.group_bucket[0], 1); /* 1 */
    assert_int_equal(stats.group_bucket[6], 1); /* 33..64 */
    wal_log_stop(fixture.log);
    assert_string_equal(words_of(fixture.gate.inner), expected + 1);
}

static void test_log__all_that_waits_shares_one_force(void **state)
{
    (void)state;
    start_in_memory(&(struct wal_log_options){0});
    group_of_64();
}

static void test_log__all_that_waits_shares_one_force_on_disk(void **state)
{
    (void)state;
    make_scratch(fixture.scratch);
    start(must_open(fixture.scratch), &(struct wal_log_options){0});
    group_of_64();
}

/* "a" alone, and three that wait meanwhile; lets @appends in. */
static void group_of_three(unsigned appends)
{
    submit("a", true);
    await_append();
    submit("b", true);
    submit("c", true);
    submit("d", true);
    let_in(appends);
    await_told(" a b c d");
}

static void test_log__groups_are_no_larger_than_allowed(void **state)
{
    struct wal_stats stats;

    (void)state;
    start_in_memory(&(struct wal_log_options){.group_max = 2});
    group_of_three(3);
    wal_log_stats(fixture.log, &stats);
    assert_int_equal(stats.forces, 3);
    wal_log_stop(fixture.log);
}

static void test_log__one_alone_after_one_alone_waits_for_nobody(void **state)
{
    (void)state;
    start_in_memory(&(struct wal_log_options){.gather_ms = 3600000}); /* an hour */
    let_in(2);
    submit("a", true);
    await_told(" a");
    submit("b", true);
    await_told(" a b");
    wal_log_stop(fixture.log);
}

static void test_log__a_group_waits_to_be_nearly_as_large_as_the_last(void **state)
{
    struct wal_stats stats;

    (void)state;
    start_in_memory(&(struct wal_log_options){.gather_ms = 3600000});
    group_of_three(4);
    submit("e", true);
    submit("f", true); /* one less is enough */
    await_told(" a b c d e f");
    wal_log_stats(fixture.log, &stats);
    assert_int_equal(stats.forces, 3);
    wal_log_stop(fixture.log);
}

static void test_log__what_gathers_is_written_in_time(void **state)
{
    (void)state;
    start_in_memory(&(struct wal_log_options){.gather_ms = 1});
    group_of_three(3);
    submit("e", true); /* alone */
    await_told(" a b c d e");
    wal_log_stop(fixture.log);
}

/* One that takes an hour says little where others are fast. */
static void test_log__what_gathers_waits_for_a_share_of_a_transaction(void **state)
{
    (void)state;
    start_in_memory(&(struct wal_log_options){.gather_ms = 3600000});
    for (int i = 0; i < 100; i++) {
        wal_log_pace(fixture.log, 600);
    }
    wal_log_pace(fixture.log, UINT64_C(3600000000));
    group_of_three(3);
    submit("e", true); /* alone */
    await_told(" a b c d e");
    wal_log_stop(fixture.log);
}

static void test_log__what_gathers_is_written_at_the_end(void **state)
{
    (void)state;
    start_in_memory(&(struct wal_log_options){.gather_ms = 3600000});
    group_of_three(3);
    submit("e", true);
    wal_log_stop(fixture.log);
    assert_string_equal(words_of(fixture.gate.inner), "a b c d e");
}

static void test_log__lazy_ones_ride_along(void **state)
{
    struct wal_stats stats;

    (void)state;
    /* They would lie for an hour. */
    start_in_memory(&(struct wal_log_options){.lazy_ms = 3600000});
    let_in(1);
    submit_lazy("a");
    submit("b", false);
    submit_lazy("c");
    submit("d", true);
    await_told(" b d");
    wal_log_stats(fixture.log, &stats);
    assert_int_equal(stats.forces, 1);
    assert_int_equal(stats.lazy_flushes, 0);
    assert_int_equal(stats.records, 4);
    assert_int_equal(stats.forced_records, 1);
    wal_log_stop(fixture.log);
    assert_int_equal(wal_memory_unforced(fixture.gate.inner), 0);
    assert_string_equal(words_of(fixture.gate.inner), "a b c d");
}

static void test_log__lazy_ones_alone_are_written_in_time(void **state)
{
    struct wal_stats stats;

    (void)state;
    start_in_memory(&(struct wal_log_options){.lazy_ms = 1});
    let_in(1);
    submit_lazy("a");
    submit("b", false);
    await_told(" b");
    wal_log_stats(fixture.log, &stats);
    assert_int_equal(stats.forces, 0);
    assert_int_equal(stats.lazy_flushes, 1);
    wal_log_stop(fixture.log);
    assert_int_equal(wal_memory_unforced(fixture.gate.inner), 1);
}

static void test_log__a_force_without_a_record_makes_durable_what_came_before(void **state)
{
    struct waiter *flush = calloc(1, sizeof *flush);
    struct wal_stats stats;

    (void)state;
    start_in_memory(&(struct wal_log_options){.lazy_ms = 3600000});
    let_in(1);
    submit_lazy("a");
    assert_non_null(flush);
    *flush = (struct waiter){
        .append = {.force = true, .done = tell}, .fixture = &fixture, .word = "flush"};
    assert_int_equal(wal_log_submit(fixture.log, &flush->append), TPC_OK);
    await_told(" flush");
    assert_int_equal(wal_memory_unforced(fixture.gate.inner), 0);
    wal_log_stats(fixture.log, &stats);
    assert_int_equal(stats.forces, 1);
    assert_int_equal(stats.records, 1);
    wal_log_stop(fixture.log);
    assert_string_equal(words_of(fixture.gate.inner), "a");
}

static void test_log__an_erasure_keeps_its_place(void **state)
{
    struct tpc_id *gtids = malloc(sizeof *gtids);

    (void)state;
    assert_non_null(gtids);
    *gtids = test_id(1);
    start_in_memory(&(struct wal_log_options){0});
    submit("a", true);
    await_append();
    submit_lazy("b");
    assert_int_equal(wal_log_submit_erase(fixture.log, gtids, 1), TPC_OK);
    submit("c", true); /* of the same transaction, after the erasure */
    let_in(2);
    await_told(" a c");
    wal_log_stop(fixture.log);
    assert_string_equal(words_of(fixture.gate.inner), "c");
}

static void test_log__a_failed_append_fails_all_that_follow(void **state)
{
    struct wal_stats stats;

    (void)state;
    start_in_memory(&(struct wal_log_options){0});
    submit("a", true);
    await_append();
    submit("b", true);
    submit("c", false);
    submit_lazy("d");
    let_in(1);
    await_append(); /* the group of b: the inner store is ours until it is let in */
    wal_memory_fail_next(fixture.gate.inner, false);
    submit("e", true);
    let_in(1); /* and no more: nothing is tried again, nor anything new */
    await_told(" a b! c! e!");
    submit("f", true);
    submit_lazy("g");
    await_told(" a b! c! e! f!");
    wal_log_stats(fixture.log, &stats);
    assert_int_equal(stats.forces, 1);
    assert_int_equal(stats.records, 1);
    wal_log_stop(fixture.log);
    assert_string_equal(words_of(fixture.gate.inner), "a");
}

static void test_log__a_callback_may_submit(void **state)
{
    struct waiter *first = new_waiter("a");

    (void)state;
    first->then = new_waiter("b");
    start_in_memory(&(struct wal_log_options){0});
    let_in(2);
    assert_int_equal(submit_waiter(first, true), TPC_OK);
    await_told(" a b");
    wal_log_stop(fixture.log);
}

static void test_log__a_full_queue_takes_nothing(void **state)
{
    struct waiter *refused = new_waiter("c");
    struct tpc_id *gtids = malloc(sizeof *gtids);
    size_t size;
    void *data = encode_word(1, "d", &size);

    (void)state;
    assert_non_null(gtids);
    *gtids = test_id(1);
    start_in_memory(&(struct wal_log_options){.queue_max = size + 1});
    submit("a", true);
    await_append(); /* out of the queue */
    submit("b", true);
    assert_int_equal(submit_waiter(refused, true), TPC_EFULL);
    assert_null(refused->append.data);
    free(refused);
    assert_int_equal(wal_log_submit_lazy(fixture.log, data, size), TPC_EFULL);
    assert_int_equal(wal_log_submit_erase(fixture.log, gtids, 1), TPC_EFULL);
    let_in(3);
    await_told(" a b");
    submit("e", true);
    await_told(" a b e");
    wal_log_stop(fixture.log);
}

static void test_log__stop_writes_and_tells_what_is_queued(void **state)
{
    (void)state;
    start_in_memory(&(struct wal_log_options){.lazy_ms = 3600000, .group_max = 2});
    let_in(10);
    submit_lazy("a");
    submit_lazy("b");
    submit("c", false);
    wal_log_stop(fixture.log);
    assert_string_equal(fixture.told, " c");
    assert_string_equal(words_of(fixture.gate.inner), "a b c");
}

static void test_log__stepped_it_writes_a_group_at_a_time(void **state)
{
    (void)state;
    start_in_memory(&(struct wal_log_options){.stepped = true, .lazy_ms = 3600000});
    let_in(10);
    assert_true(wal_log_due_us(fixture.log) == UINT64_MAX);
    assert_false(wal_log_step(fixture.log));
    submit_lazy("a");
    assert_true(wal_log_due_us(fixture.log) > tpc_clock_mono_us());
    submit("b", true);
    assert_int_equal(wal_log_due_us(fixture.log), 0);
    assert_true(wal_log_step(fixture.log));
    submit("c", true);
    await_told(" b");
    assert_true(wal_log_step(fixture.log));
    await_told(" b c");
    submit("d", false);
    wal_log_stop(fixture.log);
    assert_string_equal(words_of(fixture.gate.inner), "a b c d");
}

int main(void)
{
#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_log__tells_in_order_of_submission),
        LOG_TEST(test_log__nothing_is_told_before_poll),
        LOG_TEST(test_log__all_that_waits_shares_one_force),
        LOG_TEST(test_log__all_that_waits_shares_one_force_on_disk),
        LOG_TEST(test_log__groups_are_no_larger_than_allowed),
        LOG_TEST(test_log__one_alone_after_one_alone_waits_for_nobody),
        LOG_TEST(test_log__a_group_waits_to_be_nearly_as_large_as_the_last),
        LOG_TEST(test_log__what_gathers_is_written_in_time),
        LOG_TEST(test_log__what_gathers_waits_for_a_share_of_a_transaction),
        LOG_TEST(test_log__what_gathers_is_written_at_the_end),
        LOG_TEST(test_log__lazy_ones_ride_along),
        LOG_TEST(test_log__lazy_ones_alone_are_written_in_time),
        LOG_TEST(test_log__a_force_without_a_record_makes_durable_what_came_before),
        LOG_TEST(test_log__an_erasure_keeps_its_place),
        LOG_TEST(test_log__a_failed_append_fails_all_that_follow),
        LOG_TEST(test_log__a_callback_may_submit),
        LOG_TEST(test_log__a_full_queue_takes_nothing),
        LOG_TEST(test_log__stop_writes_and_tells_what_is_queued),
        LOG_TEST(test_log__stepped_it_writes_a_group_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
