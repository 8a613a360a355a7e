#include "cli/crashtest/workload_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct cli_member members[] = {
    {"east", CLI_SQLITE}, {"west", CLI_POSTGRESQL}, {"north", CLI_MARIADB}};

static struct cli_workload_options options_of(enum cli_workload_kind kind)
{
    struct cli_workload_options options = {
        .members = members, .member_count = 3, .kind = kind, .timeout_ms = 1500};
    cli_workload_default(&options);
    return options;
}

/* ---- What is asked ---- */

static void expect_body(const struct cli_txn *txn, const char *expected)
{
    const struct cli_workload_options options = options_of(CLI_WORKLOAD_BOTH);
    struct tpc_buf body = {0};
    struct api_json *json = NULL;
    cli_txn_body(&options, txn, &body);
    assert_false(body.failed);
    assert_int_equal(api_json_parse(body.data, body.size, &json, NULL), TPC_OK);
    assert_string_equal(body.data, expected);
    api_json_free(json);
    tpc_buf_done(&body);
}

static void test_cli_txn_body__lists_in_each_dialect(void **state)
{
    struct cli_txn txn = {.name = "t"};
    (void)state;
    cli_txn_add_op(&txn, CLI_OP_APPEND, 1, 5, 17);
    cli_txn_add_op(&txn, CLI_OP_READ, 0, 5, 0);
    cli_txn_add_op(&txn, CLI_OP_APPEND, 2, 6, 18);
    cli_txn_add_op(&txn, CLI_OP_READ, 1, 5, 0);
    expect_body(&txn, "{\"label\":\"t\",\"timeout_ms\":1500,\"branches\":["
                      "{\"participant\":\"east\",\"statements\":["
                      "{\"sql\":\"SELECT list FROM crashtest_lists WHERE id = ?\",\"params\":[5],"
                      "\"expect\":{\"rows\":1}}]},"
                      "{\"participant\":\"west\",\"statements\":["
                      "{\"sql\":\"UPDATE crashtest_lists SET list = list || $1 WHERE id = $2\","
                      "\"params\":[\",17\",5],\"expect\":{\"rows\":1}},"
                      "{\"sql\":\"SELECT list FROM crashtest_lists WHERE id = $1\",\"params\":[5],"
                      "\"expect\":{\"rows\":1}}]},"
                      "{\"participant\":\"north\",\"statements\":["
                      "{\"sql\":\"UPDATE crashtest_lists SET list = CONCAT(list, ?) WHERE id = ?\","
                      "\"params\":[\",18\",6],\"expect\":{\"rows\":1}}]}]}");
    cli_txn_done(&txn);
}

static void test_cli_txn_body__a_transfer(void **state)
{
    struct cli_txn txn = {.name = "t"};
    (void)state;
    cli_txn_add_op(&txn, CLI_OP_MOVE, 0, 1, -3);
    cli_txn_add_op(&txn, CLI_OP_MOVE, 1, 2, 3);
    expect_body(
        &txn, "{\"label\":\"t\",\"timeout_ms\":1500,\"branches\":["
              "{\"participant\":\"east\",\"statements\":["
              "{\"sql\":\"UPDATE crashtest_accounts SET balance = balance - ? WHERE id = ? AND "
              "balance >= "
              "?\",\"params\":[3,1,3],\"expect\":{\"rows\":1}},"
              "{\"sql\":\"INSERT INTO crashtest_ledger(txn, account, amount) VALUES (?, ?, ?)\","
              "\"params\":[\"t\",1,-3],\"expect\":{\"rows\":1}}]},"
              "{\"participant\":\"west\",\"statements\":["
              "{\"sql\":\"UPDATE crashtest_accounts SET balance = balance + $1 WHERE id = $2\","
              "\"params\":[3,2],\"expect\":{\"rows\":1}},"
              "{\"sql\":\"INSERT INTO crashtest_ledger(txn, account, amount) VALUES ($1, $2, $3)\","
              "\"params\":[\"t\",2,3],\"expect\":{\"rows\":1}}]}]}");
    cli_txn_done(&txn);
}

static uint64_t next_number(void *arg)
{
    return ++*(uint64_t *)arg;
}

static void choose(uint64_t seed, enum cli_workload_kind kind, unsigned count, struct cli_txn *out)
{
    const struct cli_workload_options options = options_of(kind);
    uint64_t sequence = 0;
    struct cli_chooser chooser = {
        .options = &options, .random = seed, .next = next_number, .arg = &sequence};
    for (unsigned i = 0; i < count; i++) {
        out[i] = (struct cli_txn){0};
        cli_choose_txn(&chooser, i, &out[i]);
    }
}

enum { CHOSEN = 2000 };

static void test_cli_choose_txn__a_seed_tells_all(void **state)
{
    static struct cli_txn one[CHOSEN], two[CHOSEN];
    (void)state;
    choose(7, CLI_WORKLOAD_BOTH, CHOSEN, one);
    choose(7, CLI_WORKLOAD_BOTH, CHOSEN, two);
    for (size_t i = 0; i < CHOSEN; i++) {
        assert_int_equal(one[i].op_count, two[i].op_count);
        assert_int_equal(one[i].keyed, two[i].keyed);
        for (size_t j = 0; j < one[i].op_count; j++) {
            assert_int_equal(one[i].ops[j].kind, two[i].ops[j].kind);
            assert_int_equal(one[i].ops[j].member, two[i].ops[j].member);
            assert_int_equal(one[i].ops[j].key, two[i].ops[j].key);
            assert_int_equal(one[i].ops[j].value, two[i].ops[j].value);
        }
        cli_txn_done(&one[i]);
        cli_txn_done(&two[i]);
    }
}

/* What there must be some of in every workload, and what none may be. */
static void test_cli_choose_txn__all_sorts(void **state)
{
    static struct cli_txn txns[CHOSEN];
    size_t within = 0, between = 0, impossible = 0, banks = 0, appends = 0, reads = 0, keyed = 0;
    int64_t last = 0;
    (void)state;
    choose(8, CLI_WORKLOAD_BOTH, CHOSEN, txns);
    for (size_t i = 0; i < CHOSEN; i++) {
        const struct cli_op *ops = txns[i].ops;
        keyed += txns[i].keyed;
        impossible += txns[i].impossible;
        for (size_t j = 0; j < txns[i].op_count; j++) {
            assert_true(ops[j].member < 3);
            appends += ops[j].kind == CLI_OP_APPEND;
            reads += ops[j].kind == CLI_OP_READ;
            banks += ops[j].kind == CLI_OP_BALANCES;
            if (ops[j].kind == CLI_OP_APPEND) {
                assert_true(ops[j].value > last); /* so none is there twice */
                last = ops[j].value;
            }
        }
        if (ops[0].kind == CLI_OP_MOVE) {
            assert_int_equal(txns[i].op_count, 2);
            assert_int_equal(ops[0].value, -ops[1].value);
            assert_true(ops[0].member != ops[1].member || ops[0].key != ops[1].key);
            within += ops[0].member == ops[1].member;
            between += ops[0].member != ops[1].member;
        }
        cli_txn_done(&txns[i]);
    }
    assert_true(within > 0 && between > 0 && impossible > 0 && banks > 0 && appends > 0);
    assert_true(reads > 0 && keyed > 0);
}

/* ---- What is told ---- */

static bool note(struct cli_txn *txn, int status, const char *text)
{
    const struct cli_workload_options options = options_of(CLI_WORKLOAD_BOTH);
    struct api_json *json = NULL;
    if (text != NULL) {
        assert_int_equal(api_json_parse(text, strlen(text), &json, NULL), TPC_OK);
    }
    bool known = cli_txn_note(&options, txn, status, json);
    api_json_free(json);
    return known;
}

static void test_cli_txn_note__results_go_to_their_reads(void **state)
{
    struct cli_txn txn = {.tries = 1};
    (void)state;
    cli_txn_add_op(&txn, CLI_OP_MOVE, 0, 1, -3);
    cli_txn_add_op(&txn, CLI_OP_READ, 0, 5, 0);
    cli_txn_add_op(&txn, CLI_OP_READ, 1, 6, 0);
    cli_txn_add_op(&txn, CLI_OP_BALANCES, 1, 0, 0);
    cli_txn_add_op(&txn, CLI_OP_READ, 2, 7, 0);
    assert_true(note(
        &txn, 201,
        "{\"id\":\"0199c0de-7a11-7c3e-9f00-5a2b1c0d0001\",\"state\":\"committed\",\"branches\":["
        "{\"participant\":\"west\",\"results\":[{\"columns\":[\"list\"],\"rows\":[[\"\"]]},"
        "{\"columns\":[\"id\",\"b\",\"s\"],\"rows\":[[1,90,-10],[2,105,5]]}]},"
        "{\"participant\":\"east\",\"results\":[{\"rows_affected\":1},{\"rows_affected\":1},"
        "{\"columns\":[\"list\"],\"rows\":[[\",4,9\"]]}]},"
        "{\"participant\":\"north\"}]}"));
    assert_int_equal(txn.told, CLI_TOLD_COMMITTED);
    assert_string_equal(txn.id, "0199c0de-7a11-7c3e-9f00-5a2b1c0d0001");
    assert_true(txn.ops[1].seen && txn.ops[2].seen && txn.ops[3].seen);
    assert_false(txn.ops[4].seen); /* a repeated answer may come without results */
    assert_int_equal(txn.ops[1].count, 2);
    assert_int_equal(txn.ops[1].values[0], 4);
    assert_int_equal(txn.ops[1].values[1], 9);
    assert_int_equal(txn.ops[2].count, 0);
    assert_int_equal(txn.ops[3].count, 4);
    assert_int_equal(txn.ops[3].values[1], -10);
    assert_int_equal(txn.ops[3].values[2], 105);
    cli_txn_done(&txn);
}

#define COMMITTED "{\"state\":\"committed\"}"
#define ABORTED   "{\"state\":\"aborted\",\"cause\":{\"code\":\"conflict\"}}"

static void test_cli_txn_note__outcomes(void **state)
{
    static const struct {
        int status;
        const char *text;
        unsigned tries;
        bool keyed, branches;
        enum cli_told told;
    } cases[] = {
        {201, COMMITTED, 1, false, true, CLI_TOLD_COMMITTED},
        {200, COMMITTED, 1, false, true, CLI_TOLD_COMMITTED},
        {200, ABORTED, 1, false, true, CLI_TOLD_ABORTED},
        {200, "{\"state\":\"committing\"}", 1, false, true, CLI_TOLD_UNKNOWN},
        {202, "{\"state\":\"preparing\"}", 1, false, true, CLI_TOLD_UNKNOWN},
        {409, ABORTED, 1, false, true, CLI_TOLD_ABORTED},
        {404, NULL, 1, false, true, CLI_TOLD_ABORTED},
        {404, NULL, 1, true, false, CLI_TOLD_ABORTED},
        /* Of one branch without a key nothing is recorded. */
        {404, NULL, 1, false, false, CLI_TOLD_UNKNOWN},
        {503, NULL, 1, false, true, CLI_TOLD_NOT_STARTED},
        /* An earlier request may have begun it. */
        {503, NULL, 2, true, true, CLI_TOLD_UNKNOWN},
        {500, "{\"outcome\":\"commit\"}", 1, false, true, CLI_TOLD_UNKNOWN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cli_txn txn = {.tries = cases[i].tries, .keyed = cases[i].keyed};
        cli_txn_add_op(&txn, CLI_OP_MOVE, 0, 1, -3);
        cli_txn_add_op(&txn, CLI_OP_MOVE, cases[i].branches ? 1 : 0, 2, 3);
        bool known = note(&txn, cases[i].status, cases[i].text);
        if (txn.told != cases[i].told || known != (txn.told != CLI_TOLD_UNKNOWN)) {
            fail_msg("case %zu: told %s", i, cli_told_name(txn.told));
        }
        cli_txn_done(&txn);
    }
}

static void expect_list(const char *text, const char *expected)
{
    struct cli_op op = {0};
    struct tpc_buf words = {0};
    cli_list_parse(text, &op);
    for (size_t i = 0; i < op.count; i++) {
        tpc_buf_addf(&words, "%lld ", (long long)op.values[i]);
    }
    assert_string_equal(words.data != NULL ? words.data : "", expected);
    tpc_buf_done(&words);
    free(op.values);
}

static void test_cli_list_parse__what_is_no_list_ends_in_zero(void **state)
{
    (void)state;
    expect_list("", "");
    expect_list(",1", "1 ");
    expect_list(",1,22,333", "1 22 333 ");
    expect_list("1", "0 ");
    expect_list(",", "0 ");
    expect_list(",1,", "1 0 ");
    expect_list(",1,,2", "1 0 ");
    expect_list(",1x,2", "0 ");
    expect_list(",1,99999999999999999999", "1 0 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_txn_body__lists_in_each_dialect),
        cmocka_unit_test(test_cli_txn_body__a_transfer),
        cmocka_unit_test(test_cli_choose_txn__a_seed_tells_all),
        cmocka_unit_test(test_cli_choose_txn__all_sorts),
        cmocka_unit_test(test_cli_txn_note__results_go_to_their_reads),
        cmocka_unit_test(test_cli_txn_note__outcomes),
        cmocka_unit_test(test_cli_list_parse__what_is_no_list_ends_in_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
