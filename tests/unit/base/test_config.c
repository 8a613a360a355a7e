#include "tests/unit/base/unit.h"

#include "tests/unit/base/settings.h"

#include <stdlib.h>
#include <string.h>

/* What one load left behind. */
struct loaded {
    struct settings settings;
    struct tpc_config_result result;
    struct tpc_err err;
    enum tpc_rc rc;
};

/* Load from the words of a command line after the program's name, ended by NULL. */
static void load(struct loaded *out, const char *const *words)
{
    char *argv[16] = {(char *)"prog"};
    int argc = 1;
    for (; *words != NULL; words++) {
        argv[argc++] = (char *)*words;
    }
    *out = (struct loaded){0};
    out->rc = tpc_config_load(options, &out->settings, argc, argv, &out->result, &out->err);
}

#define LOAD(out, ...) load((out), (const char *const[]){__VA_ARGS__, NULL})

static void load_fine(struct loaded *out, const char *const *words)
{
    load(out, words);
    assert_string_equal(out->err.text, "");
    assert_int_equal(out->rc, TPC_OK);
}

#define LOAD_FINE(out, ...) load_fine((out), (const char *const[]){__VA_ARGS__, NULL})

static void done(struct loaded *loaded)
{
    tpc_config_done(options, &loaded->settings);
    tpc_config_result_done(&loaded->result);
}

static void check_error(const char *const *words, const char *expected)
{
    struct loaded loaded;
    load(&loaded, words);
    assert_int_not_equal(loaded.rc, TPC_OK);
    assert_int_equal(loaded.rc, loaded.err.rc);
    if (strstr(loaded.err.text, expected) == NULL) {
        fail_msg("says \"%s\", not \"%s\"", loaded.err.text, expected);
    }
    const struct settings zero = {0};
    assert_null(loaded.result.positional);
    assert_ptr_equal(loaded.settings.listen, zero.listen);
    assert_int_equal(loaded.settings.participants.count, 0);
}

#define CHECK_ERROR(expected, ...) check_error((const char *const[]){__VA_ARGS__, NULL}, (expected))

static int clear_environment(void **state)
{
    (void)state;
    return clearenv();
}

static void test_config_load__defaults(void **state)
{
    (void)state;
    struct loaded l;
    LOAD_FINE(&l, NULL);
    assert_string_equal(l.settings.listen, "127.0.0.1:7400");
    assert_null(l.settings.admin_listen);
    assert_int_equal(l.settings.lanes, 4);
    assert_int_equal(l.settings.timeout_ms, 10000);
    assert_int_equal(l.settings.body_bytes, 4 << 20);
    assert_true(l.settings.sync);
    assert_int_equal(l.settings.participants.count, 0);
    assert_int_equal(l.result.positional_count, 0);
    assert_false(l.result.help || l.result.check_config);
    done(&l);
}

static void test_config_load__flags_in_every_form(void **state)
{
    (void)state;
    struct loaded l;
    LOAD_FINE(&l, "submit", "--listen", "a:1", "--admin-listen=b:2", "--no-sync", "-v", "-ojson",
              "--participant", "east=http://x", "--", "--file", "-");
    assert_string_equal(l.settings.listen, "a:1");
    assert_string_equal(l.settings.admin_listen, "b:2");
    assert_false(l.settings.sync);
    assert_true(l.settings.verbose);
    assert_string_equal(l.settings.output, "json");
    assert_int_equal(l.result.positional_count, 3);
    assert_string_equal(l.result.positional[0], "submit");
    assert_string_equal(l.result.positional[1], "--file");
    assert_string_equal(l.result.positional[2], "-");
    done(&l);
    LOAD_FINE(&l, "-o", "table", "--sync=false", "--verbose=yes", "-", "--admin-listen=");
    assert_string_equal(l.settings.output, "table");
    assert_false(l.settings.sync);
    assert_true(l.settings.verbose);
    assert_string_equal(l.settings.admin_listen, "");
    assert_string_equal(l.result.positional[0], "-");
    done(&l);
}

static void test_config_load__the_last_flag_wins_but_lists_grow(void **state)
{
    (void)state;
    struct loaded l;
    LOAD_FINE(&l, "--lanes=2", "--participant=a=1", "--lanes=3", "--participant", "b=2");
    assert_int_equal(l.settings.lanes, 3);
    assert_int_equal(l.settings.participants.count, 2);
    assert_string_equal(l.settings.participants.items[0], "a=1");
    assert_string_equal(l.settings.participants.items[1], "b=2");
    done(&l);
}

static void test_config_load__flags_beat_environment(void **state)
{
    (void)state;
    struct loaded l;
    setenv("ASSENT_LANES", "7", 1);
    setenv("ASSENT_TIMEOUT", "2m", 1);
    setenv("ASSENT_ADMIN_LISTEN", "", 1);
    setenv("ASSENT_SYNC", "off", 1);
    setenv("ASSENT_OF_ANOTHER_PROGRAM", "x", 1);
    setenv("ASSENT_PARTICIPANTS", "a=1, b=2 c=3", 1);
    LOAD_FINE(&l, "--lanes=9");
    assert_int_equal(l.settings.lanes, 9);
    assert_int_equal(l.settings.timeout_ms, 120000);
    assert_null(l.settings.admin_listen);
    assert_false(l.settings.sync);
    assert_int_equal(l.settings.participants.count, 3);
    assert_string_equal(l.settings.participants.items[2], "c=3");
    done(&l);
    LOAD_FINE(&l, "--participant=only=one");
    assert_int_equal(l.settings.participants.count, 1);
    done(&l);
    setenv("ASSENT_PARTICIPANT", "d=4", 1);
    CHECK_ERROR("ASSENT_PARTICIPANT and ASSENT_PARTICIPANTS are one setting", NULL);
    unsetenv("ASSENT_PARTICIPANTS");
    LOAD_FINE(&l, NULL);
    assert_string_equal(l.settings.participants.items[0], "d=4");
    done(&l);
}

static void test_config_load__unknown_flags_are_named_and_guessed(void **state)
{
    (void)state;
    CHECK_ERROR("unknown flag --lisen; did you mean --listen?", "--lisen", "x");
    CHECK_ERROR("unknown flag --timout; did you mean --timeout?", "--timout=3s");
    CHECK_ERROR("unknown flag --check-confg; did you mean --check-config?", "--check-confg");
    CHECK_ERROR("unknown flag --zebra; --help prints", "--zebra");
    CHECK_ERROR("unknown flag -x; --help prints", "-x");
    CHECK_ERROR("unknown flag --no-listen", "--no-listen");
    CHECK_ERROR("unknown flag --no-sync", "--no-sync=true");
    CHECK_ERROR("unknown flag --", "--=x");
    CHECK_ERROR("unknown flag --letter", "--letter");
}

static void test_config_load__missing_values_are_named(void **state)
{
    (void)state;
    CHECK_ERROR("--listen needs a value: --listen=ADDR", "--listen");
    CHECK_ERROR("--listen needs a value", "--listen", "--lanes=3");
    CHECK_ERROR("--config needs a value: --config=FILE", "--config");
    CHECK_ERROR("--help takes no value", "--help=me");
}

static void test_config_load__bad_values_name_flag_or_variable_and_what_is_right(void **state)
{
    (void)state;
    CHECK_ERROR("--lanes: \"many\" is not valid; expected a whole number", "--lanes", "many");
    CHECK_ERROR("--lanes: \"0\" is not valid; expected 1 to 64", "--lanes=0");
    CHECK_ERROR("--lanes: \"65\" is not valid; expected 1 to 64", "--lanes=65");
    CHECK_ERROR("--lanes: \"-1\" is not valid", "--lanes", "-1");
    CHECK_ERROR("--lanes: \"99999999999999999999\" is not", "--lanes=99999999999999999999");
    CHECK_ERROR("--timeout: \"5ms\" is not valid; expected at least 10ms", "--timeout=5ms");
    CHECK_ERROR("--timeout: \"soon\" is not valid; expected a whole number with ms",
                "--timeout=soon");
    CHECK_ERROR("--max-body: \"4MB\" is not valid; expected a whole number of bytes",
                "--max-body=4MB");
    CHECK_ERROR("--sync: \"perhaps\" is not valid; expected true or false", "--sync=perhaps");
    setenv("ASSENT_MAX_BODY", "huge", 1);
    CHECK_ERROR("ASSENT_MAX_BODY: \"huge\" is not valid", NULL);
}

static void test_config_load__special_flags(void **state)
{
    (void)state;
    struct loaded l;
    LOAD_FINE(&l, "--check-config", "--print-config");
    assert_true(l.result.check_config && l.result.print_config);
    done(&l);
    setenv("ASSENT_LANES", "bad", 1);
    LOAD_FINE(&l, "--lanes=bad", "--help");
    assert_true(l.result.help);
    done(&l);
    LOAD_FINE(&l, "-h");
    assert_true(l.result.help);
    done(&l);
    LOAD_FINE(&l, "--version", "--unknown");
    assert_true(l.result.version);
    done(&l);
    LOAD_FINE(&l, "--list-failpoints", "--config", "/nowhere");
    assert_true(l.result.list_failpoints);
    done(&l);
}

static void test_config_load__without_failpoints_there_is_no_list_of_them(void **state)
{
    (void)state;
    static const struct tpc_opt none[] = {{0}};
    char *argv[] = {(char *)"prog", (char *)"--list-failpoints"};
    struct tpc_config_result result;
    struct tpc_err err = {0};
    assert_int_equal(tpc_config_load(none, NULL, 2, argv, &result, &err), TPC_EINVAL);
    assert_non_null(strstr(err.text, "unknown flag --list-failpoints"));
}

static void test_parse_duration__units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {
        {"0", 0},       {"17", 17},        {"250ms", 250},    {"10s", 10000},
        {"5m", 300000}, {"24h", 86400000}, {"7d", 604800000}, {"007s", 7000},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t ms = 1;
        assert_true(tpc_parse_duration(good[i].text, &ms));
        assert_true(ms == good[i].ms);
    }
    static const char *const bad[] = {"",
                                      "s",
                                      "1.5s",
                                      "-1s",
                                      " 1s",
                                      "1 s",
                                      "1s ",
                                      "10S",
                                      "1sec",
                                      "0x10",
                                      "18446744073709551616",
                                      "18446744073709551615s"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t ms = 42;
        assert_false(tpc_parse_duration(bad[i], &ms));
        assert_true(ms == 42);
    }
}

static void test_parse_size__units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"100", 100},
        {"64k", 65536},
        {"64K", 65536},
        {"4M", 4194304},
        {"4MiB", 4194304},
        {"1G", 1073741824},
        {"1GiB", 1073741824},
        {"2KiB", 2048},
        {"3m", 3145728},
        {"8g", UINT64_C(8) << 30},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t bytes = 1;
        assert_true(tpc_parse_size(good[i].text, &bytes));
        assert_true(bytes == good[i].bytes);
    }
    static const char *const bad[] = {"", "k", "1kb", "4MB", "1T", "1.5G", "99999999999999999999G"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t bytes;
        assert_false(tpc_parse_size(bad[i], &bytes));
    }
}

static void check_mask(const char *text, const char *expected)
{
    struct tpc_buf out = {0};
    tpc_config_mask(text, &out);
    assert_string_equal(out.data != NULL ? out.data : "", expected);
    tpc_buf_done(&out);
}

static void test_config_mask__hides_passwords_and_nothing_else(void **state)
{
    (void)state;
    check_mask("", "");
    check_mask("127.0.0.1:7400", "127.0.0.1:7400");
    check_mask("http://127.0.0.1:7400/a@b", "http://127.0.0.1:7400/a@b");
    check_mask("postgresql://bob@db/x", "postgresql://bob@db/x");
    check_mask("postgresql://bob:s3cret@db:5432/x", "postgresql://bob:***@db:5432/x");
    check_mask("mariadb://bob:p@ss:w@db/x", "mariadb://bob:***@db/x");
    check_mask("east=http://u:p@h/ west=http://u:q@h/",
               "east=http://u:***@h/ west=http://u:***@h/");
    check_mask("postgresql:///x?user=bob&password=s3&a=b",
               "postgresql:///x?user=bob&password=***&a=b");
    check_mask("host=db PASSWORD=s3 user=bob", "host=db PASSWORD=*** user=bob");
}

static char *text_of(void (*print)(FILE *out, const struct settings *settings),
                     const struct settings *settings)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    print(out, settings);
    fclose(out);
    return text;
}

static void print_settings(FILE *out, const struct settings *settings)
{
    tpc_config_print(options, settings, out);
}

static void print_help(FILE *out, const struct settings *settings)
{
    (void)settings;
    tpc_config_help(options, "Usage: prog [OPTION]...", out);
}

static void test_config_print__is_yaml_with_secrets_hidden(void **state)
{
    (void)state;
    struct loaded l;
    LOAD_FINE(&l, "--password=hush", "--participant=a=http://u:pw@h:1", "--output=null",
              "--failpoints=x=1*kill;\"y\"\t", "--timeout=90s", "--max-body=65536");
    char *text = text_of(print_settings, &l.settings);
    assert_string_equal(text, "listen: 127.0.0.1:7400\n"
                              "# admin-listen: (unset)\n"
                              "password: \"***\"\n"
                              "lanes: 4\n"
                              "timeout: 90s\n"
                              "max-body: 64k\n"
                              "sync: true\n"
                              "verbose: false\n"
                              "participants:\n"
                              "  - \"a=http://u:***@h:1\"\n"
                              "failpoints: \"x=1*kill;\\\"y\\\"\\x09\"\n"
                              "output: \"null\"\n");
    free(text);
    done(&l);
}

/* Raw, the first would end a line, the second be refused, and the last be no UTF-8 at all. */
static void test_config_print__escapes_what_a_yaml_reader_would_change(void **state)
{
    (void)state;
    struct loaded l;
    LOAD_FINE(&l, "--output=\xc3\xa9 \xe2\x80\xa8 \xc2\x80 \xf0\x9f\x98\x80 \xff");
    char *text = text_of(print_settings, &l.settings);
    assert_non_null(strstr(text, "output: \"\xc3\xa9 \\u2028 \\u0080 \xf0\x9f\x98\x80 "
                                 "\xef\xbf\xbd\"\n"));
    free(text);
    done(&l);
}

static void test_config_help__is_laid_out_with_defaults(void **state)
{
    (void)state;
    char *text = text_of(print_help, NULL);
    assert_memory_equal(text, "Usage: prog [OPTION]...\n\nOptions:\n", 33);
    assert_non_null(
        strstr(text, "\n  --listen ADDR             where to listen (default 127.0.0.1:7400)\n"));
    assert_non_null(strstr(text, "for health and metrics, so that these still\n"
                                 "                            answer when the main one is full\n"));
    assert_non_null(strstr(text, "\n  -v, --verbose             say more\n"));
    assert_non_null(strstr(text, "\n  --[no-]sync               force the log (default true)\n"));
    assert_non_null(strstr(text, "\n  --participant NAME=URL    a participant (may be repeated; "
                                 "`participants:` in the file)\n"));
    assert_non_null(strstr(text, "\n  --password VALUE\n  --lanes VALUE             (default 4)"));
    assert_non_null(strstr(text, "\n  --list-failpoints "));
    for (char *rest = NULL, *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        assert_true(strlen(line) <= 90);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_config_load__defaults, clear_environment),
        cmocka_unit_test_setup(test_config_load__flags_in_every_form, clear_environment),
        cmocka_unit_test_setup(test_config_load__the_last_flag_wins_but_lists_grow,
                               clear_environment),
        cmocka_unit_test_setup(test_config_load__flags_beat_environment, clear_environment),
        cmocka_unit_test_setup(test_config_load__unknown_flags_are_named_and_guessed,
                               clear_environment),
        cmocka_unit_test_setup(test_config_load__missing_values_are_named, clear_environment),
        cmocka_unit_test_setup(test_config_load__bad_values_name_flag_or_variable_and_what_is_right,
                               clear_environment),
        cmocka_unit_test_setup(test_config_load__special_flags, clear_environment),
        cmocka_unit_test_setup(test_config_load__without_failpoints_there_is_no_list_of_them,
                               clear_environment),
        cmocka_unit_test(test_parse_duration__units),
        cmocka_unit_test(test_parse_size__units),
        cmocka_unit_test(test_config_mask__hides_passwords_and_nothing_else),
        cmocka_unit_test_setup(test_config_print__is_yaml_with_secrets_hidden, clear_environment),
        cmocka_unit_test_setup(test_config_print__escapes_what_a_yaml_reader_would_change,
                               clear_environment),
        cmocka_unit_test_setup(test_config_help__is_laid_out_with_defaults, clear_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
