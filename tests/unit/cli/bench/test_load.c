#include "api/codec.h"
#include "cli/bench/drive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct cli_load_options options_of(enum cli_load load, unsigned members)
{
    struct cli_load_options options = {
        .load = load, .member_count = members, .accounts = 1000, .timeout_ms = 5000};
    for (unsigned i = 0; i < members; i++) {
        snprintf(options.members[i].name, sizeof options.members[i].name, "m%u", i);
        options.members[i].sql = (enum cli_bench_sql)(i % CLI_BENCH_SQLS);
    }
    return options;
}

/* The account that the only parameter of a branch's statement names. */
static uint64_t account_of(const struct api_submit_branch *branch)
{
    struct api_json *json = NULL;
    uint64_t account = 0;
    assert_int_equal(api_json_parse(branch->statements, branch->statements_size, &json, NULL),
                     TPC_OK);
    const struct api_json *params = api_json_get(api_json_first(json), "params");
    assert_int_equal(api_json_count(params), 1);
    assert_true(api_json_u64(api_json_first(params), &account));
    api_json_free(json);
    return account;
}

/* What is asked for, summed up from the statements themselves. */
static void sum_up(const struct api_submit *submit, int64_t *sums)
{
    for (size_t i = 0; i < submit->branch_count; i++) {
        const struct api_submit_branch *branch = &submit->branches[i];
        unsigned member = (unsigned)(branch->participant[1] - '0');
        sums[member] += strstr(branch->statements, "balance + 1") != NULL   ? 1
                        : strstr(branch->statements, "balance - 1") != NULL ? -1
                                                                            : 0;
    }
}

static void check_workload(enum cli_load load, unsigned members, size_t branches, uint64_t most)
{
    struct cli_load_options options = options_of(load, members);
    const struct api_codec_limits limits = {0};
    int64_t asked[CLI_BENCH_MEMBERS_MAX] = {0}, told[CLI_BENCH_MEMBERS_MAX] = {0}, total = 0;
    uint64_t random = 7, greatest = 0;
    struct tpc_buf body = {0};
    for (unsigned i = 0; i < 2000; i++) {
        struct api_submit submit;
        struct api_refusal refusal = {0};
        struct cli_load_move move = cli_load_next(&options, &random, &body);
        assert_int_equal(api_submit_decode(body.data, body.size, &limits, &submit, &refusal),
                         TPC_OK);
        assert_int_equal(submit.branch_count, branches);
        assert_int_equal(submit.timeout_ms, 5000);
        for (size_t b = 0; b < submit.branch_count; b++) {
            uint64_t account = account_of(&submit.branches[b]);
            assert_true(account >= 1 && account <= most);
            greatest = account > greatest ? account : greatest;
        }
        sum_up(&submit, asked);
        cli_load_apply(&options, &move, told);
        api_submit_done(&submit);
    }
    for (unsigned i = 0; i < members; i++) {
        assert_int_equal(asked[i], told[i]);
        total += told[i];
    }
    assert_int_equal(total, 0);
    assert_true(greatest > most * 9 / 10);
    tpc_buf_done(&body);
}

static void test_cli_load__transfer_moves_money_between_two(void **state)
{
    (void)state;
    check_workload(CLI_LOAD_TRANSFER, 2, 2, 1000);
    check_workload(CLI_LOAD_TRANSFER, 5, 2, 1000);
}

static void test_cli_load__hot_takes_ten_accounts(void **state)
{
    (void)state;
    check_workload(CLI_LOAD_HOT, 2, 2, 10);
}

static void test_cli_load__wide_takes_every_participant(void **state)
{
    (void)state;
    check_workload(CLI_LOAD_WIDE, 8, 8, 1000);
    check_workload(CLI_LOAD_WIDE, 3, 2, 1000); /* an odd one sits out */
}

static void test_cli_load__read_and_noop_change_no_sums(void **state)
{
    struct cli_load_options options = options_of(CLI_LOAD_READ, 2);
    struct cli_load_move move = {.from = 0, .to = 1};
    int64_t sums[CLI_BENCH_MEMBERS_MAX] = {0};
    (void)state;
    check_workload(CLI_LOAD_READ, 2, 2, 1000);
    cli_load_apply(&options, &move, sums);
    options.load = CLI_LOAD_NOOP;
    cli_load_apply(&options, &move, sums);
    assert_int_equal(sums[0], 0);
    assert_int_equal(sums[1], 0);
}

static void test_cli_load__speaks_each_dialect(void **state)
{
    struct cli_load_options options = options_of(CLI_LOAD_WIDE, 3);
    struct tpc_buf sql = {0};
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        tpc_buf_clear(&sql);
        cli_load_table(&options.members[i], 7, &sql);
        assert_non_null(strstr(sql.data, "CREATE TABLE assent_bench_m"));
        assert_non_null(strstr(sql.data, i == CLI_BENCH_SQLITE       ? "i < 7)"
                                         : i == CLI_BENCH_POSTGRESQL ? "generate_series(1, 7)"
                                                                     : "seq_1_to_7"));
    }
    tpc_buf_done(&sql);
}

static void test_cli_drive__arrivals_keep_to_the_clock(void **state)
{
    (void)state;
    assert_int_equal(cli_drive_due_us(5, 3, 0), 5);
    assert_int_equal(cli_drive_due_us(5, 3, 1), 5 + 333333);
    assert_int_equal(cli_drive_due_us(5, 3, 3), 5 + 1000000); /* no error adds up */
    assert_int_equal(cli_drive_due_us(0, 7, 7 * UINT64_C(86400)), UINT64_C(86400000000));
    for (uint64_t i = 0; i < 10000; i++) {
        assert_true(cli_drive_due_us(0, 777, i) < cli_drive_due_us(0, 777, i + 1));
    }
}

static void test_cli_sample__adds_up_a_metric_over_its_labels(void **state)
{
    static const char text[] = "# HELP a_total Words about a_total.\n"
                               "# TYPE a_total counter\n"
                               "a_total{op=\"commit\"} 3\n"
                               "a_total{op=\"abort\"} 4\n"
                               "a_total_more 100\n"
                               "b 5.0\n";
    (void)state;
    assert_int_equal(cli_sample_metric(text, "a_total", NULL), 7);
    assert_int_equal(cli_sample_metric(text, "a_total", "\"abort\""), 4);
    assert_int_equal(cli_sample_metric(text, "a_total", "\"none\""), 0);
    assert_int_equal(cli_sample_metric(text, "b", NULL), 5);
    assert_int_equal(cli_sample_metric(text, "c", NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_load__transfer_moves_money_between_two),
        cmocka_unit_test(test_cli_load__hot_takes_ten_accounts),
        cmocka_unit_test(test_cli_load__wide_takes_every_participant),
        cmocka_unit_test(test_cli_load__read_and_noop_change_no_sums),
        cmocka_unit_test(test_cli_load__speaks_each_dialect),
        cmocka_unit_test(test_cli_drive__arrivals_keep_to_the_clock),
        cmocka_unit_test(test_cli_sample__adds_up_a_metric_over_its_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
