#include "tests/unit/participant/sqlite_fixture.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TABLE "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1, 1)"

static void expect(struct fx *fx, enum tpc_rc rc, const char *words)
{
    struct tpc_err err = {0};
    struct part_resource *resource = NULL;
    assert_int_equal(part_resource_open(&fx->options, &resource, &err), rc);
    assert_null(resource);
    if (strstr(err.text, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    }
}

static void test_preflight__what_names_no_database_is_refused(void **state)
{
    (void)state;
    struct fx fx;
    fx_init(&fx, TABLE);
    fx.options.url = "oracle://u:p@localhost/bank";
    expect(&fx, TPC_EINVAL, "names no database");
    fx.options.url = "bank.db";
    expect(&fx, TPC_EINVAL, "sqlite:bank.db");
    fx.options.url = "sqlite:";
    expect(&fx, TPC_EINVAL, "needs a path");
    fx_done(&fx);
}

static void test_preflight__a_file_that_is_no_database(void **state)
{
    (void)state;
    struct fx fx;
    char url[128], path[120];
    fx_init(&fx, TABLE);
    (void)snprintf(path, sizeof(path), "%s/notes", fx.directory);
    (void)snprintf(url, sizeof(url), "sqlite:%s", path);
    fx.options.url = url;
    expect(&fx, TPC_ENOTFOUND, "create it first");
    assert_int_equal(access(path, F_OK), -1);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 100; i++) {
        (void)fprintf(file, "these are notes and no database, line %d\n", i);
    }
    assert_int_equal(fclose(file), 0);
    expect(&fx, TPC_ECORRUPT, "not an SQLite database");
    assert_int_equal(unlink(path), 0);
    (void)snprintf(url, sizeof(url), "sqlite:%s", fx.directory);
    expect(&fx, TPC_EINVAL, "is not a file");
    fx_done(&fx);
}

static void test_preflight__the_encoding_must_be_utf8(void **state)
{
    (void)state;
    struct fx fx;
    fx_init(&fx, "PRAGMA encoding='UTF-16'; " TABLE);
    expect(&fx, TPC_EINVAL, "encoding=UTF-16le, but promises need UTF-8");
    fx_done(&fx);
}

static void test_preflight__the_journal_becomes_a_write_ahead_log(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, TABLE);
    struct tpc_buf out = {0};
    assert_int_equal(fx_number(&fx, "SELECT count(*) FROM t"), 1);
    fx_dump(fx.other, "PRAGMA journal_mode", &out);
    assert_string_equal(out.data, "wal|\n");
    tpc_buf_done(&out);
    fx_done(&fx);
}

static void test_preflight__a_locked_file(void **state)
{
    (void)state;
    struct fx fx;
    fx_init(&fx, TABLE);
    fx_must(&fx, "BEGIN EXCLUSIVE");
    expect(&fx, TPC_EBUSY, "in use by another program");
    fx_must(&fx, "ROLLBACK");
    fx_open(&fx);
    fx_done(&fx);
}

static void test_preflight__a_file_has_one_participant(void **state)
{
    (void)state;
    struct fx fx;
    fx_setup(&fx, TABLE);
    fx_close(&fx);
    fx.options.participant_id = fx_id(77);
    expect(&fx, TPC_EINVAL, "--adopt");
    fx.options.adopt = true;
    fx_open(&fx);
    fx_close(&fx);
    fx.options.adopt = false;
    fx_open(&fx);
    fx_done(&fx);
}

static void test_preflight__a_log_that_was_set_back_is_refused(void **state)
{
    (void)state;
    struct fx fx;
    fx_init(&fx, TABLE);
    fx.options.generation = 5;
    fx_open(&fx);
    fx_close(&fx); /* its log was not whole: the start counts for nothing */
    fx.options.generation = 5;
    fx_open(&fx);
    fx_start(&fx);
    fx_reopen(&fx); /* 6 */
    fx_start(&fx);
    fx_close(&fx);
    fx.options.generation = 5;
    expect(&fx, TPC_ESETBACK, "set back");
    fx.options.generation = 6; /* another start of that number */
    expect(&fx, TPC_ESETBACK, "set back");
    fx.options.generation = 7;
    fx_open(&fx);
    fx_done(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_preflight__what_names_no_database_is_refused),
        cmocka_unit_test(test_preflight__a_file_that_is_no_database),
        cmocka_unit_test(test_preflight__the_encoding_must_be_utf8),
        cmocka_unit_test(test_preflight__the_journal_becomes_a_write_ahead_log),
        cmocka_unit_test(test_preflight__a_locked_file),
        cmocka_unit_test(test_preflight__a_file_has_one_participant),
        cmocka_unit_test(test_preflight__a_log_that_was_set_back_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
