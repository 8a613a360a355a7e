#include "tests/unit/cli/crashtest/histories.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *written(const struct cli_history *history)
{
    struct tpc_err err = {0};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(cli_history_write(history, out, &err), TPC_OK);
    assert_int_equal(fclose(out), 0);
    return text;
}

static enum tpc_rc read_text(const char *text, struct cli_history *history, struct tpc_err *err)
{
    FILE *in = fmemopen((char *)text, strlen(text), "r");
    assert_non_null(in);
    *err = (struct tpc_err){0};
    enum tpc_rc rc = cli_history_read(in, history, err);
    assert_int_equal(fclose(in), 0);
    return rc;
}

static void test_cli_history__what_is_written_is_read(void **state)
{
    struct cli_history history, again;
    struct tpc_err err;
    (void)state;
    make_history(&history, "t1 committed: append east 1 11, read west 2 = 5 6, read north 3 =;"
                           "t2 keyed aborted: move east 1 -7, move west 2 7;"
                           "t3 impossible unknown status 500: move east 1 -700;"
                           "t4 not-started: balances east, balances west = 100 0 90 -10");
    strcpy(history.txns[1].cause, "constraint");
    strcpy(history.txns[1].id, "0199c0de-7a11-7c3e-9f00-5a2b1c0d0001");
    make_lists(&history, "east 1: 11; west 2: 5 6");
    make_bank(&history, "93 100 107 100; t2 east 1 -7; t2 west 2 7");
    char *first = written(&history);
    assert_int_equal(read_text(first, &again, &err), TPC_OK);
    assert_int_equal(again.count, 4);
    assert_int_equal(again.txns[0].ops[1].count, 2);
    assert_true(again.txns[0].ops[2].seen);
    assert_false(again.txns[3].ops[0].seen);
    assert_string_equal(again.txns[1].cause, "constraint");
    assert_true(again.final.has_bank && again.final.has_lists);
    char *second = written(&again);
    assert_string_equal(first, second);
    free(first);
    free(second);
    cli_history_done(&history);
    cli_history_done(&again);
}

static void test_cli_history__without_an_end(void **state)
{
    struct cli_history history, again;
    struct tpc_err err;
    (void)state;
    make_history(&history, "t1 committed: append east 1 11");
    char *text = written(&history);
    assert_int_equal(read_text(text, &again, &err), TPC_OK);
    assert_false(again.final.has_bank);
    assert_false(again.final.has_lists);
    free(text);
    cli_history_done(&history);
    cli_history_done(&again);
}

static void test_cli_history__bad_lines_are_named(void **state)
{
#define HEAD "{\"history\":1,\"seed\":1,\"balance\":100,\"members\":[\"east\"]}\n"
#define TXN                                                                                        \
    "{\"txn\":\"t\",\"client\":0,\"invoked\":1,\"completed\":2,\"told\":\"committed\","            \
    "\"status\":201,\"tries\":1,\"ops\":["
    static const struct {
        const char *text, *words;
    } bad[] = {
        {"\n", "line 1: "},
        {"{\"history\":2,\"seed\":1,\"balance\":100,\"members\":[]}\n", "line 1: history is wrong"},
        {HEAD "{}\n", "line 2: txn is wrong"},
        {HEAD TXN "]\n", "line 2: "},
        {HEAD TXN "{\"op\":\"append\",\"at\":\"west\",\"key\":1,\"value\":1}]}\n",
         "line 2: at is wrong"},
        {HEAD TXN "{\"op\":\"add\",\"at\":\"east\",\"key\":1,\"value\":1}]}\n",
         "line 2: op is wrong"},
        {HEAD TXN "{\"op\":\"append\",\"at\":\"east\",\"key\":1,\"value\":\"1\"}]}\n",
         "line 2: value is wrong"},
        {HEAD "{\"final\":\"row\",\"at\":\"east\",\"key\":1,\"value\":1}\n",
         "line 2: txn is wrong"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct cli_history history;
        struct tpc_err err;
        assert_int_not_equal(read_text(bad[i].text, &history, &err), TPC_OK);
        if (strncmp(err.text, bad[i].words, strlen(bad[i].words)) != 0) {
            fail_msg("'%s' instead of '%s'", err.text, bad[i].words);
        }
        assert_int_equal(history.count, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_history__what_is_written_is_read),
        cmocka_unit_test(test_cli_history__without_an_end),
        cmocka_unit_test(test_cli_history__bad_lines_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
