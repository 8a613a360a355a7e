#include "tests/unit/base/unit.h"

#include "tests/unit/base/settings.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[] = "/tmp/assent-config-XXXXXX";
static char path[64];

static int make_directory(void **state)
{
    (void)state;
    clearenv();
    if (mkdtemp(directory) == NULL) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/f.yaml", directory);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(directory);
}

static void write_file(const char *text, size_t size)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static enum tpc_rc load(const char *extra, struct settings *settings, struct tpc_err *reterr)
{
    char *argv[] = {(char *)"prog", (char *)"--config", path, (char *)extra};
    struct tpc_config_result result;
    *settings = (struct settings){0};
    enum tpc_rc rc =
        tpc_config_load(options, settings, extra != NULL ? 4 : 3, argv, &result, reterr);
    tpc_config_result_done(&result);
    return rc;
}

static void load_fine(const char *text, const char *extra, struct settings *settings)
{
    struct tpc_err err = {0};
    write_file(text, strlen(text));
    enum tpc_rc rc = load(extra, settings, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(rc, TPC_OK);
}

static void check_bytes(const char *text, size_t size, const char *expected)
{
    struct settings settings;
    struct tpc_err err = {0};
    write_file(text, size);
    assert_int_not_equal(load(NULL, &settings, &err), TPC_OK);
    const char *words = err.text;
    if (strncmp(words, path, strlen(path)) == 0) {
        words += strlen(path);
    }
    if (strncmp(words, expected, strlen(expected)) != 0) {
        fail_msg("\"%s\" says \"%s\", not \"%s\"", text, words, expected);
    }
}

static void check_error(const char *text, const char *expected)
{
    check_bytes(text, strlen(text), expected);
}

static void test_yaml__every_type(void **state)
{
    (void)state;
    struct settings s;
    load_fine("# a comment\n"
              "listen: 0.0.0.0:1\n"
              "admin-listen: \"quoted: # not a comment\"\n"
              "lanes: 8\n"
              "timeout: 250ms\n"
              "max-body: '64k'\n"
              "sync: off\n"
              "participants:\n"
              "  east: http://e:1\n"
              "  west: http://w:2\n",
              NULL, &s);
    assert_string_equal(s.listen, "0.0.0.0:1");
    assert_string_equal(s.admin_listen, "quoted: # not a comment");
    assert_int_equal(s.lanes, 8);
    assert_int_equal(s.timeout_ms, 250);
    assert_int_equal(s.body_bytes, 65536);
    assert_false(s.sync);
    assert_int_equal(s.participants.count, 2);
    assert_string_equal(s.participants.items[0], "east=http://e:1");
    assert_string_equal(s.participants.items[1], "west=http://w:2");
    tpc_config_done(options, &s);
}

static void test_yaml__lists_by_either_name_as_sequences(void **state)
{
    (void)state;
    struct settings s;
    load_fine("participant: [east=http://e:1, \"west=http://w:2\"]\n", NULL, &s);
    assert_int_equal(s.participants.count, 2);
    assert_string_equal(s.participants.items[1], "west=http://w:2");
    tpc_config_done(options, &s);
    load_fine("participants: []\n", NULL, &s);
    assert_int_equal(s.participants.count, 0);
    tpc_config_done(options, &s);
}

static void test_yaml__an_empty_file_changes_nothing(void **state)
{
    (void)state;
    static const char *const empty[] = {"", "# nothing\n", "---\n", "{}\n", "---\n...\n", "~"};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        struct settings s;
        load_fine(empty[i], NULL, &s);
        assert_int_equal(s.lanes, 4);
        tpc_config_done(options, &s);
    }
}

static void test_yaml__stronger_sources_win(void **state)
{
    (void)state;
    struct settings s;
    setenv("ASSENT_LANES", "5", 1);
    load_fine("lanes: 8\ntimeout: 1s\nparticipants: {a: b}\n", "--participant=c=d", &s);
    assert_int_equal(s.lanes, 5);
    assert_int_equal(s.timeout_ms, 1000);
    assert_int_equal(s.participants.count, 1);
    assert_string_equal(s.participants.items[0], "c=d");
    tpc_config_done(options, &s);
    unsetenv("ASSENT_LANES");
}

static void test_yaml__the_file_may_be_named_by_a_variable(void **state)
{
    (void)state;
    struct settings s = {0};
    struct tpc_config_result result;
    struct tpc_err err = {0};
    char *argv[] = {(char *)"prog"};
    write_file("lanes: 8\n", 9);
    setenv("ASSENT_CONFIG", path, 1);
    assert_int_equal(tpc_config_load(options, &s, 1, argv, &result, &err), TPC_OK);
    unsetenv("ASSENT_CONFIG");
    assert_int_equal(s.lanes, 8);
    tpc_config_result_done(&result);
    tpc_config_done(options, &s);
}

static void test_yaml__unknown_and_duplicate_keys(void **state)
{
    (void)state;
    check_error("listen: a\n\n  \nlisen: b\n",
                ":4:1: unknown key \"lisen\"; did you mean \"listen\"?");
    check_error("admin_listen: b\n", ":1:1: unknown key \"admin_listen\"; did you mean");
    check_error("partcipants: {}\n",
                ":1:1: unknown key \"partcipants\"; did you mean \"participants\"?");
    check_error("zebra: 1\n", ":1:1: unknown key \"zebra\"; --help");
    check_error("config: x\n", ":1:1: unknown key \"config\"");
    check_error("lanes: 1\nlisten: x\nlanes: 1\n",
                ":3:1: duplicate key \"lanes\", already given on line 1");
    check_error("participants: {a: b}\nparticipant: [c=d]\n",
                ":2:1: duplicate key \"participant\", already given on line 1");
    check_error("participants:\n  a: b\n  a: c\n", ":3:3: participants: \"a\" is given twice");
}

static void test_yaml__bad_values_with_line_and_column(void **state)
{
    (void)state;
    check_error("lanes: many\n", ":1:8: lanes: \"many\" is not valid; expected a whole number");
    check_error("listen: x\ntimeout:   5ms\n", ":2:12: timeout: \"5ms\" is not valid; expected at");
    check_error("listen:\nlanes: 1\n", ":1:8: listen has no value");
    check_error("listen: ~\n", ":1:9: listen has no value");
    check_error("listen: [a]\n", ":1:9: listen: expected a plain value here");
    check_error("listen: {a: b}\n", ":1:9: listen: expected a plain value here");
    check_error("listen: \"a\\0b\"\n", ":1:9: listen: a NUL is not allowed");
    check_error("participants: x\n", ":1:15: participants: expected a list");
    check_error("participants: [[a]]\n", ":1:16: participants: expected a plain value here");
    check_error("participants: {a: {b: c}}\n", ":1:19: participants: expected a plain value here");
    check_error("participants: {a=b: c}\n", ":1:16: participants: a name may not hold \"=\"");
    check_error("participants:\n  east:\n", ":2:8: participants has no value");
}

static void test_yaml__what_is_no_flat_mapping(void **state)
{
    (void)state;
    check_error("- a\n", ":1:1: expected settings");
    check_error("just words\n", ":1:1: expected settings");
    check_error("[a]: b\n", ":1:1: expected the name of a setting");
    check_error("lanes: 1\n---\nlanes: 2\n", ":2:1: a second document is not allowed");
    check_error("lanes: &x 1\n", ":1:8: anchors and aliases are not supported");
    check_error("lanes: *x\n", ":1:8: anchors and aliases are not supported");
    check_error("lanes: !!int 1\n", ":1:8: tags are not supported");
    check_error("participants: !x [a=b]\n", ":1:15: tags are not supported");
}

static void test_yaml__malformed_text(void **state)
{
    (void)state;
    check_error("listen: \"open\n", ":2:1: found unexpected end of stream");
    check_error("listen: a\n\tlanes: 1\n", ":2:");
    check_error("participants: [a\n", ":2:1: ");
    check_error("listen: a: b\n", ":1:10: mapping values are not allowed");
    check_bytes("listen: \xff\n", 10, ": invalid leading UTF-8 octet, at byte 9");
    check_bytes("listen: a\0b\n", 12, ": control characters are not allowed, at byte 10");
}

static void test_yaml__files_that_cannot_be_read(void **state)
{
    (void)state;
    struct settings s;
    struct tpc_err err = {0};
    unlink(path);
    assert_int_equal(load(NULL, &s, &err), TPC_EIO);
    assert_non_null(strstr(err.text, "cannot open settings file"));
    assert_non_null(strstr(err.text, "No such file"));
    size_t size = 1100000;
    char *big = malloc(size);
    assert_non_null(big);
    memset(big, '#', size);
    write_file(big, size);
    free(big);
    err = (struct tpc_err){0};
    assert_int_equal(load(NULL, &s, &err), TPC_ETOOBIG);
    char *argv[] = {(char *)"prog", (char *)"--config", directory};
    struct tpc_config_result result;
    err = (struct tpc_err){0};
    assert_int_equal(tpc_config_load(options, &s, 3, argv, &result, &err), TPC_EIO);
    assert_non_null(strstr(err.text, "cannot read settings file"));
}

static void test_yaml__what_is_printed_can_be_read_again(void **state)
{
    (void)state;
    struct settings first, second;
    load_fine("listen: \"x: \\\"y\\\" # \\x01 gr\xc3\xbc\"\n"
              "admin-listen: 'null'\nfailpoints: ''\noutput: '- a'\n"
              "timeout: 36h\nmax-body: 3G\nlanes: 64\nparticipants: {a: 'b:', c: '...'}\n",
              NULL, &first);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    tpc_config_print(options, &first, out);
    fclose(out);
    struct tpc_err err = {0};
    enum tpc_rc rc = load(NULL, &second, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(rc, TPC_OK);
    assert_string_equal(first.listen, second.listen);
    assert_string_equal(second.admin_listen, "null");
    assert_string_equal(second.failpoints, "");
    assert_string_equal(second.output, "- a");
    assert_true(second.timeout_ms == first.timeout_ms);
    assert_true(second.body_bytes == first.body_bytes);
    assert_string_equal(second.participants.items[0], "a=b:");
    assert_string_equal(second.participants.items[1], "c=...");
    tpc_config_done(options, &first);
    tpc_config_done(options, &second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yaml__every_type),
        cmocka_unit_test(test_yaml__lists_by_either_name_as_sequences),
        cmocka_unit_test(test_yaml__an_empty_file_changes_nothing),
        cmocka_unit_test(test_yaml__stronger_sources_win),
        cmocka_unit_test(test_yaml__the_file_may_be_named_by_a_variable),
        cmocka_unit_test(test_yaml__unknown_and_duplicate_keys),
        cmocka_unit_test(test_yaml__bad_values_with_line_and_column),
        cmocka_unit_test(test_yaml__what_is_no_flat_mapping),
        cmocka_unit_test(test_yaml__malformed_text),
        cmocka_unit_test(test_yaml__files_that_cannot_be_read),
        cmocka_unit_test(test_yaml__what_is_printed_can_be_read_again),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
