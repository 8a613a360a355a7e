#include "cli/out.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* What the calls between begin_capture and end_capture wrote to stdout. */
static FILE *captured;
static int real_stdout;

static void begin_capture(void)
{
    fflush(stdout);
    real_stdout = dup(STDOUT_FILENO);
    captured = tmpfile();
    assert_non_null(captured);
    assert_true(dup2(fileno(captured), STDOUT_FILENO) >= 0);
}

static const char *end_capture(char *out, size_t size)
{
    fflush(stdout);
    assert_true(dup2(real_stdout, STDOUT_FILENO) >= 0);
    close(real_stdout);
    rewind(captured);
    size_t got = fread(out, 1, size - 1, captured);
    out[got] = '\0';
    fclose(captured);
    return out;
}

static const char *print_two_columns(const char *const *cells, size_t count, char *out, size_t size)
{
    static const char *const names[] = {"NAME", "STATE"};
    struct cli_table table;
    cli_table_begin(&table, 2, names);
    for (size_t i = 0; i < count; i++) {
        cli_table_add(&table, cells[i]);
    }
    begin_capture();
    cli_table_print(&table);
    cli_table_done(&table);
    return end_capture(out, size);
}

static void test_cli_table__is_as_wide_as_its_cells(void **state)
{
    static const char *const cells[] = {"east", "committed", "a long name", "", NULL, "x"};
    char out[512];
    (void)state;
    assert_string_equal(print_two_columns(cells, 6, out, sizeof(out)), "NAME         STATE\n"
                                                                       "east         committed\n"
                                                                       "a long name  -\n"
                                                                       "-            x\n");
}

static void test_cli_table__counts_characters_not_bytes(void **state)
{
    static const char *const cells[] = {"Zürich", "x"};
    char out[512];
    (void)state;
    assert_string_equal(print_two_columns(cells, 2, out, sizeof(out)),
                        "NAME    STATE\nZürich  x\n");
}

static void test_cli_table__lets_no_control_character_pass(void **state)
{
    static const char *const cells[] = {"\033[31mred\033[0m", "\xc2\x9b"
                                                              "2J\r\n\x7f"};
    char out[512];
    (void)state;
    print_two_columns(cells, 2, out, sizeof(out));
    assert_string_equal(strchr(out, '\n') + 1, "?[31mred?[0m  ?2J???\n");
}

static void test_cli_list__is_one_document_or_a_line_for_each(void **state)
{
    static const char *const names[] = {"NAME"};
    static const struct {
        enum cli_format format;
        const char *said;
    } cases[] = {{CLI_JSON, "{\n  \"items\": [\n    {\n      \"a\": [1,2]\n    },\n"
                            "    {}\n  ]\n}\n"},
                 {CLI_NDJSON, "{\"a\":[1,2]}\n{}\n"}};
    char out[512];
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct cli_listing list;
        struct tpc_buf json = {0};
        begin_capture();
        cli_list_begin(&list, cases[i].format, 1, names);
        tpc_buf_adds(&json, "{\"a\":[1,2]}");
        cli_list_add(&list, &json);
        tpc_buf_clear(&json);
        tpc_buf_adds(&json, "{}");
        cli_list_add(&list, &json);
        cli_list_print(&list);
        cli_list_done(&list);
        tpc_buf_done(&json);
        assert_string_equal(end_capture(out, sizeof(out)), cases[i].said);
    }
}

static void test_cli_print_json__keeps_what_a_double_cannot_hold(void **state)
{
    static const char text[] = "{\"n\":9007199254740993,\"e\":{},\"s\":\"\\u001b\\\"\"}";
    struct api_json *json = NULL;
    char out[512];
    (void)state;
    assert_int_equal(api_json_parse(text, strlen(text), &json, NULL), TPC_OK);
    begin_capture();
    cli_print_json(CLI_NDJSON, json);
    assert_string_equal(end_capture(out, sizeof(out)),
                        "{\"n\":9007199254740993,\"e\":{},\"s\":\"\\u001b\\\"\"}\n");
    api_json_free(json);
}

static void test_cli_duration_text__chooses_its_unit(void **state)
{
    static const struct {
        double ms;
        const char *text;
    } cases[] = {{0.04, "0.0 ms"},   {3.21, "3.2 ms"}, {1234, "1.2 s"},    {61000, "61 s"},
                 {600000, "10 min"}, {7200000, "2 h"}, {86400000, "24 h"}, {172800000.0, "2 d"}};
    char out[32];
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_string_equal(cli_duration_text(cases[i].ms, out), cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_table__is_as_wide_as_its_cells),
        cmocka_unit_test(test_cli_table__counts_characters_not_bytes),
        cmocka_unit_test(test_cli_table__lets_no_control_character_pass),
        cmocka_unit_test(test_cli_list__is_one_document_or_a_line_for_each),
        cmocka_unit_test(test_cli_print_json__keeps_what_a_double_cannot_hold),
        cmocka_unit_test(test_cli_duration_text__chooses_its_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
