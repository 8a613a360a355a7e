#include "tests/unit/wal/support.h"

#include "wal/directory.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

/* As die, after log.db-wal was copied and begun anew at least once. */
static void die_after_checkpoint(const char *directory)
{
    struct wal_store *store = must_open(directory);
    const size_t size = (size_t)4 << 20;
    char *word = malloc(size);

    assert_non_null(word);
    memset(word, 'x', size - 1);
    word[size - 1] = '\0';
    for (uint8_t i = 10; i < 15; i++) {
        must(append_word(store, i, word, true));
        must(erase_all_of(store, i));
    }
    free(word);
    must(append_word(store, 1, "b", true));
    must(append_word(store, 2, "c", true));
    (void)kill(getpid(), SIGKILL);
}

static void remove_file(const char *name)
{
    assert_int_equal(unlink(in(scratch, name)), 0);
}

/* As it is while the log is being made. */
static void unfinish_identity(void)
{
    struct wal_identity_file file;

    must(wal_identity_read(scratch, &file, NULL));
    file.generation = 0;
    file.nonce = (struct tpc_id){{0}};
    must(wal_identity_write(scratch, &file, NULL));
}

/* ---- making and opening ---- */

static void test_open__makes_the_directory_and_those_above_it(void **state)
{
    char deep[2 * SCRATCH_MAX];
    struct stat status;

    (void)state;
    (void)snprintf(deep, sizeof deep, "%s/a/b//c/", scratch);
    live(deep, "x");
    assert_int_equal(stat(in(scratch, "a/b/c"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(stat(in(scratch, "a/b/c/log.db"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void test_open__each_start_is_a_new_generation(void **state)
{
    struct wal_store *store = must_open(scratch);
    const struct wal_identity first = store->identity;

    (void)state;
    assert_true(first.created);
    assert_int_equal(first.generation, 1);
    assert_false(tpc_id_is_zero(&first.id));
    assert_false(tpc_id_is_zero(&first.nonce));
    store->ops->close(store);

    store = must_open(scratch);
    assert_false(store->identity.created);
    assert_int_equal(store->identity.generation, 2);
    assert_true(tpc_id_equal(&store->identity.id, &first.id));
    assert_false(tpc_id_equal(&store->identity.nonce, &first.nonce));
    store->ops->close(store);
}

static void test_open__a_log_of_the_other_role_is_refused(void **state)
{
    const struct wal_options options = {.directory = scratch, .role = "participant"};
    struct wal_store *store = NULL;
    struct tpc_err err = {0};

    (void)state;
    live(scratch, "a");
    assert_int_equal(wal_open(&options, &store, &err), TPC_EINVAL);
    assert_non_null(strstr(err.text, "of a coordinator, and this is a participant"));
    assert_words(scratch, "a");
}

static void test_open__a_place_that_cannot_be_made_is_named(void **state)
{
    struct wal_store *store = NULL;
    struct tpc_err err = {0}, empty = {0};
    FILE *file = fopen(in(scratch, "file"), "w");

    (void)state;
    assert_non_null(file);
    (void)fclose(file);
    assert_int_equal(try_open(in(scratch, "file"), &store, &err), TPC_EINVAL);
    assert_non_null(strstr(err.text, "no directory"));
    assert_refused(in(scratch, "file/below"), TPC_EIO, "Not a directory");
    assert_int_equal(try_open("", &store, &empty), TPC_EINVAL);
    assert_non_null(strstr(empty.text, "empty"));
}

/* ---- exclusive use ---- */

static void hold(const char *directory, int ready, int release)
{
    struct wal_store *store = must_open(directory);
    char byte = 'x';

    assert_int_equal(write(ready, &byte, 1), 1);
    assert_int_equal(read(release, &byte, 1), 0);
    store->ops->close(store);
    _exit(0);
}

static void test_open__a_second_process_is_told_who_holds_it(void **state)
{
    int ready[2], release[2], status;
    char byte, words[64];

    (void)state;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(pipe2(release, O_CLOEXEC), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(60);
        (void)close(release[1]);
        hold(scratch, ready[1], release[0]);
    }
    (void)close(release[0]);
    (void)close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)snprintf(words, sizeof words, "process %ld", (long)pid);
    assert_refused(scratch, TPC_EBUSY, words);
    (void)close(release[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    (void)close(ready[0]);
    assert_words(scratch, "");
}

static void test_open__a_second_store_in_one_process_is_refused(void **state)
{
    struct wal_store *store = must_open(scratch);

    (void)state;
    assert_refused(scratch, TPC_EBUSY, "in use");
    must(append_word(store, 1, "a", true));
    store->ops->close(store);
    assert_words(scratch, "a");
}

static void test_open__another_program_at_the_file_is_refused(void **state)
{
    sqlite3 *db = NULL;

    (void)state;
    live(scratch, "a");
    assert_int_equal(sqlite3_open(in(scratch, "log.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "SELECT * FROM record", NULL, NULL, NULL), SQLITE_OK);
    assert_refused(scratch, TPC_EBUSY, "another program");
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_words(scratch, "a");
}

static void test_open__another_program_waits_outside(void **state)
{
    struct wal_store *store = must_open(scratch);
    sqlite3 *db = NULL;

    (void)state;
    assert_int_equal(sqlite3_open(in(scratch, "log.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "SELECT * FROM record", NULL, NULL, NULL), SQLITE_BUSY);
    (void)sqlite3_close(db);
    store->ops->close(store);
}

/* ---- what is missing, exchanged or old ---- */

static void test_open__a_deleted_log_is_missing(void **state)
{
    (void)state;
    live(scratch, "a");
    remove_file("log.db");
    assert_refused(scratch, TPC_EMISSING, "log.db is missing");
    assert_refused(scratch, TPC_EMISSING, "generation 1");
}

static void test_open__an_emptied_log_is_missing(void **state)
{
    (void)state;
    live(scratch, "a");
    assert_int_equal(truncate(in(scratch, "log.db"), 0), 0);
    assert_refused(scratch, TPC_EMISSING, "log.db is empty");
}

static void test_open__a_deleted_log_and_its_journal_are_missing(void **state)
{
    (void)state;
    in_another_process(die, scratch);
    remove_file("log.db");
    assert_refused(scratch, TPC_EMISSING, "log.db is missing");
    remove_file("log.db-wal");
    assert_refused(scratch, TPC_EMISSING, "log.db is missing");
}

static void test_open__a_deleted_identity_is_missing(void **state)
{
    (void)state;
    in_another_process(die, scratch);
    remove_file("IDENTITY");
    assert_refused(scratch, TPC_EMISSING, "IDENTITY is missing");
    remove_file("log.db");
    assert_refused(scratch, TPC_EMISSING, "IDENTITY is missing");
}

static void test_open__an_empty_directory_is_another_log(void **state)
{
    struct wal_store *store = must_open(scratch);
    const struct tpc_id id = store->identity.id;

    (void)state;
    store->ops->close(store);
    remove_file("log.db");
    remove_file("IDENTITY");
    store = must_open(scratch);
    assert_true(store->identity.created);
    assert_false(tpc_id_equal(&store->identity.id, &id));
    store->ops->close(store);
}

static void test_open__files_of_two_logs_are_told_apart(void **state)
{
    char other[2 * SCRATCH_MAX];

    (void)state;
    (void)snprintf(other, sizeof other, "%s/other", scratch);
    live(scratch, "a");
    live(other, "b");
    copy_file(in(other, "log.db"), in(scratch, "log.db"));
    assert_refused(scratch, TPC_ECORRUPT, "two different logs");
}

static void test_open__a_log_set_back_to_an_older_copy_is_noticed(void **state)
{
    (void)state;
    live(scratch, "a");
    copy_file(in(scratch, "log.db"), in(scratch, "copy"));
    live(scratch, "b");
    copy_file(in(scratch, "copy"), in(scratch, "log.db"));
    assert_refused(scratch, TPC_ESETBACK, "generation 1, and IDENTITY knows of 2");
}

static void test_open__a_copy_that_went_its_own_way_is_noticed(void **state)
{
    char other[2 * SCRATCH_MAX];

    (void)state;
    (void)snprintf(other, sizeof other, "%s/other", scratch);
    live(scratch, "a");
    assert_int_equal(mkdir(other, 0700), 0);
    copy_file(in(scratch, "log.db"), in(other, "log.db"));
    copy_file(in(scratch, "IDENTITY"), in(other, "IDENTITY"));
    live(scratch, "b");
    live(other, "c");
    copy_file(in(other, "log.db"), in(scratch, "log.db"));
    assert_refused(scratch, TPC_ESETBACK, "two different starts");
}

static void test_open__a_deleted_journal_is_noticed_in_the_first_round(void **state)
{
    (void)state;
    live(scratch, "a");
    in_another_process(die, scratch);
    remove_file("log.db-wal");
    assert_refused(scratch, TPC_ESETBACK, "log.db-wal was deleted");
}

static void test_open__a_deleted_journal_is_noticed_in_a_later_round(void **state)
{
    (void)state;
    live(scratch, "a");
    in_another_process(die_after_checkpoint, scratch);
    copy_file(in(scratch, "log.db-wal"), in(scratch, "copy"));
    remove_file("log.db-wal");
    assert_refused(scratch, TPC_EMISSING, "log.db-wal, which holds the newest records, is missing");
    copy_file(in(scratch, "copy"), in(scratch, "log.db-wal"));
    assert_int_equal(truncate(in(scratch, "log.db-wal"), 0), 0);
    assert_refused(scratch, TPC_EMISSING, "log.db-wal, which holds the newest records, is missing");
    copy_file(in(scratch, "copy"), in(scratch, "log.db-wal"));
    flip_byte(in(scratch, "log.db-wal"), 17);
    assert_refused(scratch, TPC_ECORRUPT, "log.db-wal, which holds the newest records, is damaged");
    copy_file(in(scratch, "copy"), in(scratch, "log.db-wal"));
    assert_words(scratch, "a b c");
}

/* Somebody looked into the log of a dead daemon; that harms nothing. */
static void test_open__a_visit_by_a_database_shell_is_harmless(void **state)
{
    sqlite3 *db = NULL;

    (void)state;
    live(scratch, "a");
    in_another_process(die_after_checkpoint, scratch);
    assert_int_equal(sqlite3_open(in(scratch, "log.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "SELECT * FROM record", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(size_of(in(scratch, "log.db-wal")), -1);
    assert_words(scratch, "a b c");
}

/* ---- crashes while opening, made by hand; test_store_sqlite_crash does them all ---- */

static void test_open__goes_on_where_the_making_stopped(void **state)
{
    struct wal_store *store = must_open(scratch);
    const struct tpc_id id = store->identity.id;

    (void)state;
    store->ops->close(store);
    /* before log.db */
    remove_file("log.db");
    unfinish_identity();
    store = must_open(scratch);
    assert_true(store->identity.created);
    assert_true(tpc_id_equal(&store->identity.id, &id));
    assert_int_equal(store->identity.generation, 1);
    store->ops->close(store);
    /* before its first page */
    assert_int_equal(truncate(in(scratch, "log.db"), 0), 0);
    unfinish_identity();
    store = must_open(scratch);
    assert_true(store->identity.created);
    store->ops->close(store);
    /* before the second IDENTITY */
    unfinish_identity();
    store = must_open(scratch);
    assert_true(store->identity.created);
    assert_int_equal(store->identity.generation, 2);
    store->ops->close(store);
}

static void test_open__identity_may_lag_behind_the_log(void **state)
{
    struct wal_store *store;

    (void)state;
    live(scratch, "a");
    copy_file(in(scratch, "IDENTITY"), in(scratch, "copy"));
    live(scratch, "b");
    live(scratch, "c");
    copy_file(in(scratch, "copy"), in(scratch, "IDENTITY"));
    store = must_open(scratch);
    assert_int_equal(store->identity.generation, 4);
    assert_string_equal(words_of(store), "a b c");
    store->ops->close(store);
}

int main(void)
{
#define OPEN_TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)
    const struct CMUnitTest tests[] = {
        OPEN_TEST(test_open__makes_the_directory_and_those_above_it),
        OPEN_TEST(test_open__each_start_is_a_new_generation),
        OPEN_TEST(test_open__a_log_of_the_other_role_is_refused),
        OPEN_TEST(test_open__a_place_that_cannot_be_made_is_named),
        OPEN_TEST(test_open__a_second_process_is_told_who_holds_it),
        OPEN_TEST(test_open__a_second_store_in_one_process_is_refused),
        OPEN_TEST(test_open__another_program_at_the_file_is_refused),
        OPEN_TEST(test_open__another_program_waits_outside),
        OPEN_TEST(test_open__a_deleted_log_is_missing),
        OPEN_TEST(test_open__an_emptied_log_is_missing),
        OPEN_TEST(test_open__a_deleted_log_and_its_journal_are_missing),
        OPEN_TEST(test_open__a_deleted_identity_is_missing),
        OPEN_TEST(test_open__an_empty_directory_is_another_log),
        OPEN_TEST(test_open__files_of_two_logs_are_told_apart),
        OPEN_TEST(test_open__a_log_set_back_to_an_older_copy_is_noticed),
        OPEN_TEST(test_open__a_copy_that_went_its_own_way_is_noticed),
        OPEN_TEST(test_open__a_deleted_journal_is_noticed_in_the_first_round),
        OPEN_TEST(test_open__a_deleted_journal_is_noticed_in_a_later_round),
        OPEN_TEST(test_open__a_visit_by_a_database_shell_is_harmless),
        OPEN_TEST(test_open__goes_on_where_the_making_stopped),
        OPEN_TEST(test_open__identity_may_lag_behind_the_log),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
