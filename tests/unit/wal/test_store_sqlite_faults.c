/* A life of the store on a disk (tests/disk) whose N-th operation fails, for N from 1 until none
 * fails any more. Whatever the life made of it, the next one on a good disk opens the log and has
 * all that was told. */
#include "tests/disk/disk.h"
#include "tests/unit/wal/support.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORDS = 5 };

static struct disk_state faults;

static int set_up(void **state)
{
    disk.state = &faults; /* SQLite's disk from the first open on */
    disk.seed = 1;
    return scratch_set_up(state);
}

static void arm(enum disk_fault fault, uint64_t at, bool sticky)
{
    disk.fault = fault;
    disk.at = at;
    disk.sticky = sticky;
    atomic_store(&faults.operations, 0);
    atomic_store(&faults.strikes, 0);
}

/* Open, append words with checkpoints in between. How many are durable, by what it says. */
static size_t life(const char *directory, bool *ret_opened)
{
    const struct wal_options options = {
        .directory = directory, .role = "coordinator", .checkpoint_pages = 5};
    struct wal_store *store = NULL;
    struct tpc_err err = {0};
    size_t told = 0;
    const enum tpc_rc rc = wal_open(&options, &store, &err);

    *ret_opened = rc == TPC_OK;
    if (rc != TPC_OK) {
        /* A disk that failed is not told as damage: that asks for a backup of what is whole. */
        assert_int_equal(rc, TPC_EIO);
        assert_non_null(strstr(err.text, "start again"));
        return 0;
    }
    while (told < WORDS) {
        const char word[2] = {(char)('a' + told), '\0'};
        if (append_word(store, 1, word, true) != TPC_OK) {
            break;
        }
        told++;
    }
    store->ops->close(store);
    return told;
}

static void assert_recovers(const char *directory, size_t told)
{
    struct wal_store *store = must_open(directory);
    const char *words = words_of(store);
    const size_t count = (strlen(words) + 1) / 2;

    assert_true(count == told || count == told + 1);
    assert_memory_equal(words, "a b c d e", strlen(words));
    assert_int_equal(erase_all_of(store, 1), TPC_OK);
    store->ops->close(store);
}

/* In a @first life the log is made. */
static void fail_each(enum disk_fault fault, bool sticky, bool first)
{
    char directory[2 * SCRATCH_MAX];
    unsigned refused = 0, cut_short = 0;
    uint64_t at = 0;
    bool struck = true;

    (void)snprintf(directory, sizeof directory, "%s/log", scratch);
    while (struck) {
        bool opened;
        arm(fault, ++at, sticky);
        const size_t told = life(directory, &opened);
        struck = atomic_load(&faults.strikes) > 0;
        refused += !opened;
        cut_short += opened && told < WORDS;
        assert_true(struck || told == WORDS);
        arm(DISK_NONE, 0, false);
        assert_recovers(directory, told);
        if (first) {
            remove_scratch(directory);
        }
    }
    print_message("%llu operations failed: %u starts refused, %u lives cut short\n",
                  (unsigned long long)at - 1, refused, cut_short);
    assert_true(refused > 5 && cut_short > 5);
}

static void test_store_sqlite_faults__an_error_at_each_operation_of_the_first_life(void **state)
{
    (void)state;
    fail_each(DISK_EIO, false, true);
}

static void test_store_sqlite_faults__no_room_at_each_operation_of_the_first_life(void **state)
{
    (void)state;
    fail_each(DISK_ENOSPC, false, true);
}

static void test_store_sqlite_faults__errors_from_each_operation_of_the_first_life_on(void **state)
{
    (void)state;
    fail_each(DISK_EIO, true, true);
}

static void test_store_sqlite_faults__no_room_from_each_operation_of_the_first_life_on(void **state)
{
    (void)state;
    fail_each(DISK_ENOSPC, true, true);
}

static void test_store_sqlite_faults__an_error_at_each_operation_of_a_later_life(void **state)
{
    (void)state;
    fail_each(DISK_EIO, false, false);
}

static void test_store_sqlite_faults__no_room_at_each_operation_of_a_later_life(void **state)
{
    (void)state;
    fail_each(DISK_ENOSPC, false, false);
}

static void test_store_sqlite_faults__errors_from_each_operation_of_a_later_life_on(void **state)
{
    (void)state;
    fail_each(DISK_EIO, true, false);
}

int main(void)
{
#define FAULT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, scratch_tear_down)
    const struct CMUnitTest tests[] = {
        FAULT_TEST(test_store_sqlite_faults__an_error_at_each_operation_of_the_first_life),
        FAULT_TEST(test_store_sqlite_faults__no_room_at_each_operation_of_the_first_life),
        FAULT_TEST(test_store_sqlite_faults__errors_from_each_operation_of_the_first_life_on),
        FAULT_TEST(test_store_sqlite_faults__no_room_from_each_operation_of_the_first_life_on),
        FAULT_TEST(test_store_sqlite_faults__an_error_at_each_operation_of_a_later_life),
        FAULT_TEST(test_store_sqlite_faults__no_room_at_each_operation_of_a_later_life),
        FAULT_TEST(test_store_sqlite_faults__errors_from_each_operation_of_a_later_life_on),
    };

    /* A thousand starts, and nobody cuts the power. */
    if (access("/dev/shm", W_OK) == 0) {
        (void)setenv("TMPDIR", "/dev/shm", 0);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
