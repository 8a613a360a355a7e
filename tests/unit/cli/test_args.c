/* The values of flags. Their words are tested on the whole program, in tests/cli. */
#include "cli/args.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_cli_args_url__gets_a_scheme_and_loses_its_slashes(void **state)
{
    static const struct {
        const char *text, *url;
    } cases[] = {
        {"http://127.0.0.1:7400", "http://127.0.0.1:7400"},
        {"127.0.0.1:7400", "http://127.0.0.1:7400"},
        {"bank.example//", "http://bank.example"},
        {"https://bank.example/assent/", "https://bank.example/assent"},
        {"[::1]:80", "http://[::1]:80"},
    };
    char out[64];
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_true(cli_args_url(cases[i].text, out, sizeof(out)));
        assert_string_equal(out, cases[i].url);
    }
}

static void test_cli_args_url__refuses_what_is_none(void **state)
{
    static const char *const cases[] = {
        "",    "/",        "http://",  "ftp://x", "a b",
        "x?y", "http://#", "file:///", "://x",    "0123456789012345678"};
    char out[20];
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_false(cli_args_url(cases[i], out, sizeof(out)));
    }
}

static void test_cli_args_duration__takes_a_number_and_a_unit(void **state)
{
    static const struct {
        const char *text;
        unsigned long ms;
    } cases[] = {{"0", 0},       {"7", 7000},    {"250ms", 250},
                 {"10s", 10000}, {"5m", 300000}, {"1h", 3600000}};
    unsigned long ms = 1;
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_true(cli_args_duration("wait", cases[i].text, &ms));
        assert_int_equal(ms, cases[i].ms);
    }
}

static void test_cli_args_duration__refuses_what_is_none(void **state)
{
    static const char *const cases[] = {"",    " 1", "-1", "+1",      "1 s",
                                        "1.5", "s",  "1d", "1000001", "99999999999999999999"};
    unsigned long ms = 42;
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_false(cli_args_duration("wait", cases[i], &ms));
    }
    assert_int_equal(ms, 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_args_url__gets_a_scheme_and_loses_its_slashes),
        cmocka_unit_test(test_cli_args_url__refuses_what_is_none),
        cmocka_unit_test(test_cli_args_duration__takes_a_number_and_a_unit),
        cmocka_unit_test(test_cli_args_duration__refuses_what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
