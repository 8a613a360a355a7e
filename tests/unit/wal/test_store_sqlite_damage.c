/* Damaged files of the SQLite store. */
#include "tests/unit/wal/support.h"

#include "wal/directory.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

static void test_open__any_flipped_or_lost_byte_of_identity_is_noticed(void **state)
{
    (void)state;
    live(scratch, "a");
    copy_file(in(scratch, "IDENTITY"), in(scratch, "copy"));
    const off_t size = size_of(in(scratch, "copy"));
    for (off_t i = 0; i < size; i++) {
        flip_byte(in(scratch, "IDENTITY"), i);
        assert_refused(scratch, i == 16 || i == 17 ? TPC_ENOTSUP : TPC_ECORRUPT,
                       "IDENTITY is damaged");
        copy_file(in(scratch, "copy"), in(scratch, "IDENTITY"));
    }
    for (off_t i = 0; i < size; i++) {
        assert_int_equal(truncate(in(scratch, "IDENTITY"), i), 0);
        assert_refused(scratch, i == 16 || i == 17 ? TPC_ENOTSUP : TPC_ECORRUPT,
                       "IDENTITY is damaged");
        copy_file(in(scratch, "copy"), in(scratch, "IDENTITY"));
    }
    assert_words(scratch, "a");
}

static void test_open__a_log_that_is_no_database_is_damaged(void **state)
{
    (void)state;
    live(scratch, "a");
    flip_byte(in(scratch, "log.db"), 3);
    assert_refused(scratch, TPC_ECORRUPT, "log.db is damaged");
    assert_refused(scratch, TPC_ECORRUPT, "delete nothing");
}

static void test_open__another_database_is_no_log(void **state)
{
    sqlite3 *db = NULL;

    (void)state;
    live(scratch, "a");
    assert_int_equal(unlink(in(scratch, "log.db")), 0);
    assert_int_equal(sqlite3_open(in(scratch, "log.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE account(id)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_refused(scratch, TPC_ECORRUPT, "another program");
}

static void test_open__a_log_of_a_newer_release_is_not_supported(void **state)
{
    sqlite3 *db = NULL;

    (void)state;
    live(scratch, "a");
    assert_int_equal(sqlite3_open(in(scratch, "log.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE meta SET format = 2", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_refused(scratch, TPC_ENOTSUP, "format 2");
}

static void test_open__a_log_cut_short_is_damaged(void **state)
{
    (void)state;
    live(scratch, "a");
    copy_file(in(scratch, "log.db"), in(scratch, "copy"));
    const off_t size = size_of(in(scratch, "copy"));
    for (off_t cut = 1; cut < size; cut += 1000) {
        copy_file(in(scratch, "copy"), in(scratch, "log.db"));
        assert_int_equal(truncate(in(scratch, "log.db"), cut), 0);
        assert_refused(scratch, TPC_ECORRUPT, "log.db is damaged");
    }
}

static enum tpc_rc see_nothing(void *arg, uint64_t lsn, const void *data, size_t size,
                               struct tpc_err *reterr)
{
    (void)arg;
    (void)lsn;
    (void)data;
    (void)size;
    (void)reterr;
    return TPC_OK;
}

static void test_scan__a_flipped_byte_in_a_record_is_damage(void **state)
{
    struct wal_store *store;
    struct tpc_err err = {0};

    (void)state;
    live(scratch, "needle");
    const off_t offset = find_last(in(scratch, "log.db"), "needle", 6);
    assert_true(offset > 0);
    flip_byte(in(scratch, "log.db"), offset + 2);
    store = must_open(scratch);
    assert_int_equal(store->ops->scan(store, see_nothing, NULL, &err), TPC_ECORRUPT);
    assert_non_null(strstr(err.text, "checksum of record 1"));
    assert_non_null(strstr(err.text, "restore the whole directory"));
    store->ops->close(store);
}

/* The rule that counts: a damaged file is refused, or says all that it said before. */
static void flip_bytes(off_t step)
{
    struct wal_store *store = must_open(scratch);
    char expected[WORDS_MAX];
    unsigned refused = 0, harmless = 0;

    for (uint8_t i = 0; i < 60; i++) {
        char word[16];
        (void)snprintf(word, sizeof word, "word-%d", i);
        must(append_word(store, i, word, true));
    }
    (void)snprintf(expected, sizeof expected, "%s", words_of(store));
    store->ops->close(store);
    copy_file(in(scratch, "log.db"), in(scratch, "copy"));
    copy_file(in(scratch, "IDENTITY"), in(scratch, "copy.identity"));
    const off_t size = size_of(in(scratch, "copy"));
    for (off_t i = 0; i < size; i += i < 100 ? 1 : step) {
        struct tpc_err err = {0};
        copy_file(in(scratch, "copy"), in(scratch, "log.db"));
        copy_file(in(scratch, "copy.identity"), in(scratch, "IDENTITY"));
        (void)unlink(in(scratch, "log.db-wal"));
        flip_byte(in(scratch, "log.db"), i);
        enum tpc_rc rc = try_open(scratch, &store, &err);
        if (rc == TPC_OK) {
            rc = store->ops->scan(store, see_nothing, NULL, &err);
            if (rc == TPC_OK) {
                assert_string_equal(words_of(store), expected);
                harmless++;
            }
            store->ops->close(store);
        }
        refused += rc != TPC_OK;
    }
    assert_true(refused > 10 && harmless > 10);
}

static void test_open__no_flipped_byte_loses_a_record_silently(void **state)
{
    (void)state;
    flip_bytes(61);
}

static void test_open__no_flipped_byte_of_a_large_log_loses_a_record_silently(void **state)
{
    (void)state;
    check_beside_pages = 1;
    flip_bytes(601);
}

static off_t page_of_index(void)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *row = NULL;

    assert_int_equal(sqlite3_open(in(scratch, "log.db"), &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db, "SELECT rootpage FROM sqlite_master WHERE name = 'record_gtid'", -1,
                           &row, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    const off_t page = sqlite3_column_int(row, 0);
    (void)sqlite3_finalize(row);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return (page - 1) * 4096;
}

/* The scan does not read the index, and its pages are checked beside it. */
static void test_scan__a_damaged_page_of_a_large_log_is_damage(void **state)
{
    struct wal_store *store;
    struct tpc_err err = {0};

    (void)state;
    live(scratch, "a");
    flip_byte(in(scratch, "log.db"), page_of_index());
    assert_refused(scratch, TPC_ECORRUPT, "log.db is damaged");
    check_beside_pages = 1;
    store = must_open(scratch);
    assert_int_equal(store->ops->scan(store, see_nothing, NULL, &err), TPC_ECORRUPT);
    assert_non_null(strstr(err.text, "log.db is damaged"));
    assert_non_null(strstr(err.text, "restore the whole directory"));
    assert_int_equal(append_word(store, 2, "b", true), TPC_ECORRUPT);
    assert_int_equal(store->ops->scan(store, see_nothing, NULL, &err), TPC_ECORRUPT);
    store->ops->close(store);
}

static void test_append__a_damaged_large_log_takes_nothing(void **state)
{
    struct wal_store *store;

    (void)state;
    live(scratch, "a");
    flip_byte(in(scratch, "log.db"), page_of_index());
    check_beside_pages = 1;
    store = must_open(scratch);
    assert_int_equal(append_word(store, 2, "b", true), TPC_ECORRUPT);
    assert_int_equal(store->ops->scan(store, see_nothing, NULL, NULL), TPC_ECORRUPT);
    store->ops->close(store);
}

static int read_records(void)
{
    sqlite3 *db = NULL;
    int code = sqlite3_open(in(scratch, "log.db"), &db);

    code = code == SQLITE_OK ? sqlite3_exec(db, "SELECT * FROM record", NULL, NULL, NULL) : code;
    (void)sqlite3_close(db);
    return code;
}

/* Closing a file that is open twice would take its locks away, but SQLite knows that. */
static void test_scan__a_large_log_stays_locked(void **state)
{
    (void)state;
    live(scratch, "a");
    check_beside_pages = 1;
    struct wal_store *store = must_open(scratch);
    assert_string_equal(words_of(store), "a");
    const pid_t child = fork();
    if (child == 0) {
        _exit(read_records() == SQLITE_BUSY ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    must(append_word(store, 2, "b", true));
    store->ops->close(store);
    assert_words(scratch, "a b");
}

static void test_open__a_hole_in_the_journal_is_damage(void **state)
{
    unsigned refused = 0;

    (void)state;
    live(scratch, "a");
    in_another_process(die, scratch);
    copy_file(in(scratch, "log.db-wal"), in(scratch, "copy"));
    const off_t size = size_of(in(scratch, "copy"));
    /* All but the last transaction, which cannot be told from an unfinished one. Where the
     * frame itself says that a transaction ends there is the one exception (bytes 4 to 7 of its
     * head), for then the next seems to be one with it. */
    const off_t last = find_last(in(scratch, "copy"), "d", 1) / 4120 * 4120;
    for (off_t i = 32; i < last - (off_t)4 * 4120; i += 301) {
        flip_byte(in(scratch, "log.db-wal"), i);
        assert_refused(scratch, TPC_ECORRUPT, "log.db-wal is damaged (frame");
        copy_file(in(scratch, "copy"), in(scratch, "log.db-wal"));
        refused++;
    }
    assert_true(size > 0 && refused > 10);
    assert_words(scratch, "a b c d");
}

static void test_open__an_unfinished_end_of_the_journal_is_none(void **state)
{
    (void)state;
    live(scratch, "a");
    in_another_process(die, scratch);
    const off_t size = size_of(in(scratch, "log.db-wal"));
    assert_int_equal(truncate(in(scratch, "log.db-wal"), size - 100), 0);
    assert_words(scratch, "a b c");
    live(scratch, "e");
    assert_words(scratch, "a b c e");
}

int main(void)
{
#define DAMAGE_TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)
    const struct CMUnitTest tests[] = {
        DAMAGE_TEST(test_open__any_flipped_or_lost_byte_of_identity_is_noticed),
        DAMAGE_TEST(test_open__a_log_that_is_no_database_is_damaged),
        DAMAGE_TEST(test_open__another_database_is_no_log),
        DAMAGE_TEST(test_open__a_log_of_a_newer_release_is_not_supported),
        DAMAGE_TEST(test_open__a_log_cut_short_is_damaged),
        DAMAGE_TEST(test_scan__a_flipped_byte_in_a_record_is_damage),
        DAMAGE_TEST(test_open__no_flipped_byte_loses_a_record_silently),
        DAMAGE_TEST(test_open__no_flipped_byte_of_a_large_log_loses_a_record_silently),
        DAMAGE_TEST(test_scan__a_damaged_page_of_a_large_log_is_damage),
        DAMAGE_TEST(test_append__a_damaged_large_log_takes_nothing),
        DAMAGE_TEST(test_scan__a_large_log_stays_locked),
        DAMAGE_TEST(test_open__a_hole_in_the_journal_is_damage),
        DAMAGE_TEST(test_open__an_unfinished_end_of_the_journal_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
