#include "tests/unit/wal/support.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static struct {
    struct tpc_failpoint append, force, forced, scan;
} points;

static int set_up(void **state)
{
    memset(&points, 0, sizeof points);
    points.append.name = "append";
    points.force.name = "force";
    points.forced.name = "forced";
    points.scan.name = "scan";
    return scratch_set_up(state);
}

static void arm(struct tpc_failpoint *point, enum tpc_fp_action action)
{
    atomic_store(&point->left, 1);
    atomic_store(&point->action, (int)action);
}

static struct wal_store *open_with_points(const char *directory)
{
    const struct wal_options options = {
        .directory = directory,
        .role = "coordinator",
        .failpoints = {&points.append, &points.force, &points.forced, &points.scan}};
    struct wal_store *store = NULL;

    assert_int_equal(wal_open(&options, &store, NULL), TPC_OK);
    return store;
}

static void test_store_sqlite__reads_back_in_order(void **state)
{
    struct wal_store *store = must_open(scratch);

    (void)state;
    assert_string_equal(words_of(store), "");
    must(append_word(store, 3, "a", true));
    must(append_word(store, 2, "b", false));
    must(append_word(store, 1, "c", true));
    assert_string_equal(words_of(store), "a b c");
    store->ops->close(store);
    store = must_open(scratch);
    must(append_word(store, 1, "d", true));
    assert_string_equal(words_of(store), "a b c d");
    store->ops->close(store);
}

static void test_store_sqlite__erases_by_transaction(void **state)
{
    struct wal_store *store = must_open(scratch);
    const struct tpc_id gtids[2] = {test_id(1), test_id(3)};

    (void)state;
    must(append_word(store, 1, "a", true));
    must(append_word(store, 2, "b", true));
    must(append_word(store, 1, "c", true));
    must(append_word(store, 3, "d", true));
    must(store->ops->erase(store, gtids, 2, NULL));
    assert_string_equal(words_of(store), "b");
    must(erase_all_of(store, 7));
    assert_string_equal(words_of(store), "b");
    store->ops->close(store);
}

static void test_store_sqlite__one_append_may_add_erase_and_add(void **state)
{
    struct wal_store *store = must_open(scratch);
    const struct tpc_id gone = test_id(1);
    struct wal_entry entries[3] = {{0}, {.erase = &gone, .erase_count = 1}, {0}};
    void *first = encode_word(1, "b", &entries[0].size);
    void *second = encode_word(1, "c", &entries[2].size);

    (void)state;
    entries[0].data = first;
    entries[2].data = second;
    must(append_word(store, 1, "a", true));
    must(store->ops->append(store, entries, 3, true, NULL));
    assert_string_equal(words_of(store), "c");
    store->ops->close(store);
    free(first);
    free(second);
}

static void die_with_unforced(const char *directory)
{
    struct wal_store *store = must_open(directory);

    must(append_word(store, 1, "a", true));
    must(append_word(store, 2, "b", false));
    (void)kill(getpid(), SIGKILL);
}

static void test_store_sqlite__a_killed_process_loses_nothing(void **state)
{
    (void)state;
    in_another_process(die_with_unforced, scratch);
    struct wal_store *store = must_open(scratch);
    assert_string_equal(words_of(store), "a b");
    store->ops->close(store);
}

/* After any failure: the store takes no more, and says why; a new start may. */
static void assert_poisoned(struct wal_store *store)
{
    struct tpc_err err = {0};

    assert_int_equal(append_word(store, 8, "x", false), TPC_EIO);
    assert_int_equal(append_word(store, 8, "y", true), TPC_EIO);
    assert_int_equal(erase_all_of(store, 1), TPC_EIO);
    assert_int_equal(store->ops->append(store, NULL, 0, true, &err), TPC_EIO);
    assert_non_null(strstr(err.text, "unknown"));
    store->ops->close(store);
}

static void assert_after_restart(const char *words)
{
    struct wal_store *store = must_open(scratch);

    assert_string_equal(words_of(store), words);
    must(append_word(store, 9, "z", true));
    store->ops->close(store);
}

static void test_store_sqlite__an_error_before_writing_poisons(void **state)
{
    struct wal_store *store = open_with_points(scratch);

    (void)state;
    must(append_word(store, 1, "a", true));
    arm(&points.append, TPC_FP_ERROR);
    assert_int_equal(append_word(store, 2, "b", true), TPC_EIO);
    assert_poisoned(store);
    assert_after_restart("a");
}

/* fsync failed and the row is there all the same: SQLite forgot it, and the file did not. */
static void test_store_sqlite__an_error_of_the_force_poisons_and_the_row_is_there(void **state)
{
    struct wal_store *store = open_with_points(scratch);
    struct tpc_err err = {0};
    struct wal_entry entry = {0};
    void *data = encode_word(2, "b", &entry.size);

    (void)state;
    entry.data = data;
    must(append_word(store, 1, "a", true));
    arm(&points.force, TPC_FP_ERROR);
    assert_int_equal(store->ops->append(store, &entry, 1, true, &err), TPC_EIO);
    assert_int_equal(err.rc, TPC_EIO);
    assert_non_null(strstr(err.text, "log.db"));
    assert_string_equal(words_of(store), "a");
    assert_poisoned(store);
    assert_after_restart("a b");
    free(data);
}

static void test_store_sqlite__an_unforced_append_does_not_pass_the_point_of_the_force(void **state)
{
    struct wal_store *store = open_with_points(scratch);

    (void)state;
    arm(&points.force, TPC_FP_ERROR);
    arm(&points.forced, TPC_FP_ERROR);
    must(append_word(store, 1, "a", false));
    assert_int_equal(append_word(store, 2, "b", true), TPC_EIO);
    store->ops->close(store);
}

static void test_store_sqlite__an_error_after_the_force_poisons_and_the_row_is_there(void **state)
{
    struct wal_store *store = open_with_points(scratch);

    (void)state;
    arm(&points.forced, TPC_FP_ERROR);
    assert_int_equal(append_word(store, 1, "a", true), TPC_EIO);
    assert_poisoned(store);
    assert_after_restart("a");
}

static void test_store_sqlite__an_error_of_the_scan_is_an_error(void **state)
{
    struct wal_store *store = open_with_points(scratch);
    struct tpc_err err = {0};

    (void)state;
    arm(&points.scan, TPC_FP_ERROR);
    assert_int_equal(store->ops->scan(store, NULL, NULL, &err), TPC_EIO);
    assert_non_null(strstr(err.text, "log.db"));
    assert_string_equal(words_of(store), "");
    store->ops->close(store);
}

static struct tpc_failpoint *deadly;

static void die_at_point(const char *directory)
{
    struct wal_store *store = open_with_points(directory);

    must(append_word(store, 1, "a", true));
    arm(deadly, TPC_FP_KILL);
    (void)append_word(store, 2, "b", true);
    _exit(3); /* the point was not reached */
}

static void test_store_sqlite__a_kill_at_each_point(void **state)
{
    (void)state;
    deadly = &points.append;
    in_another_process(die_at_point, scratch);
    assert_after_restart("a");
    deadly = &points.force;
    in_another_process(die_at_point, scratch);
    assert_after_restart("a z a b");
    deadly = &points.forced;
    in_another_process(die_at_point, scratch);
    assert_after_restart("a z a b z a b");
}

/* The system refuses to write on, as a full disk does. */
static void run_out_of_room(const char *directory)
{
    const struct rlimit limit = {.rlim_cur = 65536, .rlim_max = 65536};
    struct wal_store *store = must_open(directory);
    char word[30000];
    uint8_t written = 0;

    memset(word, 'x', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    must(append_word(store, 1, "a", true));
    while (append_word(store, 2, word, true) == TPC_OK) {
        assert_true(++written < 10);
    }
    assert_poisoned(store);
}

static void test_store_sqlite__no_room_poisons_and_keeps_what_was_told(void **state)
{
    struct wal_store *store;

    (void)state;
    in_another_process(run_out_of_room, scratch);
    store = must_open(scratch);
    assert_memory_equal(words_of(store), "a x", 3);
    must(erase_all_of(store, 2));
    store->ops->close(store);
    assert_after_restart("a");
}

/* log.db-wal is copied and begun anew rather than growing for ever. */
static void test_store_sqlite__the_journal_stays_bounded(void **state)
{
    struct wal_store *store = must_open(scratch);
    const size_t size = (size_t)1 << 20;
    char *word = malloc(size);

    (void)state;
    assert_non_null(word);
    memset(word, 'x', size - 1);
    word[size - 1] = '\0';
    for (uint8_t i = 0; i < 60; i++) {
        must(append_word(store, i, word, true));
        must(erase_all_of(store, i));
    }
    assert_true(size_of(in(scratch, "log.db-wal")) < 24 << 20);
    assert_true(size_of(in(scratch, "log.db")) < 24 << 20);
    must(append_word(store, 1, "a", true));
    assert_string_equal(words_of(store), "a");
    store->ops->close(store);
    assert_after_restart("a");
    free(word);
}

int main(void)
{
#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, scratch_tear_down)
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_store_sqlite__reads_back_in_order),
        STORE_TEST(test_store_sqlite__erases_by_transaction),
        STORE_TEST(test_store_sqlite__one_append_may_add_erase_and_add),
        STORE_TEST(test_store_sqlite__a_killed_process_loses_nothing),
        STORE_TEST(test_store_sqlite__an_error_before_writing_poisons),
        STORE_TEST(test_store_sqlite__an_error_of_the_force_poisons_and_the_row_is_there),
        STORE_TEST(test_store_sqlite__an_unforced_append_does_not_pass_the_point_of_the_force),
        STORE_TEST(test_store_sqlite__an_error_after_the_force_poisons_and_the_row_is_there),
        STORE_TEST(test_store_sqlite__an_error_of_the_scan_is_an_error),
        STORE_TEST(test_store_sqlite__a_kill_at_each_point),
        STORE_TEST(test_store_sqlite__no_room_poisons_and_keeps_what_was_told),
        STORE_TEST(test_store_sqlite__the_journal_stays_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
