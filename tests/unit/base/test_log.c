#include "tests/unit/base/unit.h"

#include "base/log.h"
#include "base/tpc_assert.h"
#include "tests/unit/base/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, LINES = 300 };

/* The one line that was written, from its evt on; the time in front is checked for its shape. */
static char *line_of(enum tpc_log_format format, const char *key, const char *value)
{
    struct capture capture;
    tpc_log_setup(TPC_LOG_DEBUG, format);
    capture_begin(&capture, STDERR_FILENO);
    tpc_log(TPC_LOG_WARN, "x", tpc_kv_str(key, value));
    char *text = capture_end(&capture);
    const char *evt = strstr(text, format == TPC_LOG_JSON ? ",\"evt\":\"x\"" : " evt=x");
    assert_non_null(evt);
    evt += strlen(format == TPC_LOG_JSON ? ",\"evt\":\"x\"" : " evt=x");
    char *rest = strdup(evt);
    assert_non_null(rest);
    assert_int_equal(rest[strlen(rest) - 1], '\n');
    rest[strlen(rest) - 1] = '\0';
    free(text);
    return rest;
}

static void check_value(enum tpc_log_format format, const char *value, const char *expected)
{
    char *line = line_of(format, "k", value);
    assert_string_equal(line, expected);
    free(line);
}

static void test_log__logfmt_begins_with_time_level_and_event(void **state)
{
    (void)state;
    struct capture capture;
    struct tpc_id id = {{0x01, 0x99}};
    tpc_log_setup(TPC_LOG_INFO, TPC_LOG_LOGFMT);
    capture_begin(&capture, STDERR_FILENO);
    tpc_log(TPC_LOG_ERROR, "txn.move", tpc_kv_id("gtid", &id), tpc_kv_int("n", -5),
            tpc_kv_uint("u", UINT64_MAX), tpc_kv_str("gone", NULL), tpc_kv_str("to", "LOGGING"));
    char *text = capture_end(&capture);
    assert_memory_equal(text, "ts=20", 5);
    assert_int_equal(text[13], 'T');
    assert_int_equal(text[26], 'Z');
    assert_string_equal(text + 27,
                        " level=error evt=txn.move gtid=01990000-0000-0000-0000-000000000000 n=-5 "
                        "u=18446744073709551615 to=LOGGING\n");
    free(text);
}

static void test_log__json_begins_with_time_level_and_event(void **state)
{
    (void)state;
    struct capture capture;
    struct tpc_id id = {{0x01, 0x99}};
    tpc_log_setup(TPC_LOG_INFO, TPC_LOG_JSON);
    capture_begin(&capture, STDERR_FILENO);
    tpc_log(TPC_LOG_WARN, "txn.move", tpc_kv_id("gtid", &id), tpc_kv_int("n", -5),
            tpc_kv_uint("u", 7), tpc_kv_str("gone", NULL));
    char *text = capture_end(&capture);
    assert_memory_equal(text, "{\"ts\":\"20", 9);
    assert_string_equal(text + 31, "\",\"level\":\"warn\",\"evt\":\"txn.move\",\"gtid\":"
                                   "\"01990000-0000-0000-0000-000000000000\",\"n\":-5,\"u\":7}\n");
    free(text);
}

static void test_log__logfmt_quotes_what_would_be_misread(void **state)
{
    (void)state;
    check_value(TPC_LOG_LOGFMT, "plain-1.2/3:4", " k=plain-1.2/3:4");
    check_value(TPC_LOG_LOGFMT, "", " k=\"\"");
    check_value(TPC_LOG_LOGFMT, "two words", " k=\"two words\"");
    check_value(TPC_LOG_LOGFMT, "a=b", " k=\"a=b\"");
    check_value(TPC_LOG_LOGFMT, "say \"hi\"", " k=\"say \\\"hi\\\"\"");
    check_value(TPC_LOG_LOGFMT, "a\nevt=forged", " k=\"a\\nevt=forged\"");
    check_value(TPC_LOG_LOGFMT, "t\tr\re\x1b d\x7f", " k=\"t\\tr\\u000de\\u001b d\\u007f\"");
    check_value(TPC_LOG_LOGFMT, "back\\slash", " k=\"back\\\\slash\"");
    check_value(TPC_LOG_LOGFMT, "gr\xc3\xbc\xc3\x9f", " k=gr\xc3\xbc\xc3\x9f");
}

static void test_log__json_escapes(void **state)
{
    (void)state;
    check_value(TPC_LOG_JSON, "plain", ",\"k\":\"plain\"}");
    check_value(TPC_LOG_JSON, "\"\\\n\t\x01", ",\"k\":\"\\\"\\\\\\n\\t\\u0001\"}");
    check_value(TPC_LOG_JSON, "\xf0\x9f\x98\x80", ",\"k\":\"\xf0\x9f\x98\x80\"}");
}

static void test_log__replaces_what_is_not_utf8(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\xff",         "\x80",
        "\xc0\xaf",     "\xe0\x80\xaf",
        "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xc3",         "\xf0\x80\x80\xaf",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *line = line_of(TPC_LOG_JSON, "k", bad[i]);
        const char *s = line + strlen(",\"k\":\"");
        for (size_t n = 0; n < strlen(bad[i]); n++, s += 3) {
            assert_memory_equal(s, "\xef\xbf\xbd", 3);
        }
        assert_string_equal(s, "\"}");
        free(line);
    }
}

static void test_log__gathers_until_flush_or_warning(void **state)
{
    (void)state;
    struct capture capture;
    char before = 0;
    tpc_log_setup(TPC_LOG_INFO, TPC_LOG_LOGFMT);
    capture_begin(&capture, STDERR_FILENO);
    tpc_log(TPC_LOG_DEBUG, "never", tpc_kv_int("n", 0));
    tpc_log(TPC_LOG_INFO, "first", tpc_kv_int("n", 1));
    ssize_t early = pread(capture.file, &before, 1, 0);
    tpc_log_flush();
    ssize_t flushed = pread(capture.file, &before, 1, 0);
    tpc_log(TPC_LOG_INFO, "second", tpc_kv_int("n", 2));
    tpc_log(TPC_LOG_WARN, "third", tpc_kv_int("n", 3));
    char *text = capture_end(&capture);
    assert_int_equal(early, 0);
    assert_int_equal(flushed, 1);
    assert_null(strstr(text, "never"));
    const char *first = strstr(text, "evt=first");
    const char *second = strstr(text, "evt=second");
    const char *third = strstr(text, "evt=third");
    assert_true(first != NULL && second > first && third > second);
    free(text);
}

static void test_log__keeps_errno(void **state)
{
    (void)state;
    char *line;
    errno = EXDEV;
    line = line_of(TPC_LOG_LOGFMT, "k", "v");
    assert_int_equal(errno, EXDEV);
    free(line);
}

static void *write_lines(void *arg)
{
    for (int i = 0; i < LINES; i++) {
        tpc_log(i % 50 == 0 ? TPC_LOG_WARN : TPC_LOG_INFO, "line", tpc_kv_str("who", arg),
                tpc_kv_int("n", i));
    }
    return NULL;
}

static void test_log__threads_write_whole_lines(void **state)
{
    (void)state;
    static char names[THREADS][2] = {"a", "b", "c", "d"};
    struct capture capture;
    pthread_t threads[THREADS];
    tpc_log_setup(TPC_LOG_INFO, TPC_LOG_LOGFMT);
    capture_begin(&capture, STDERR_FILENO);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, names[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    tpc_log_flush();
    char *text = capture_end(&capture);
    int next[THREADS] = {0};
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char who;
        int n;
        assert_int_equal(sscanf(line, "ts=%*s level=%*s evt=line who=%c n=%d", &who, &n), 2);
        assert_int_equal(n, next[who - 'a']++);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(next[i], LINES);
    }
    free(text);
}

/* Read all that is in the pipe for now. */
static size_t drain(int fd, char *out, size_t size)
{
    size_t got = 0;
    ssize_t n;
    while (got < size && (n = read(fd, out + got, size - got)) > 0) {
        got += (size_t)n;
    }
    return got;
}

static void test_log__a_stuck_reader_gets_the_rest_later_and_hears_of_losses(void **state)
{
    (void)state;
    enum { BIG_LINES = 300 };
    static char text[4 * 1024 * 1024];
    static char filler[4000];
    memset(filler, 'f', sizeof filler - 1);
    int fds[2];
    assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    fcntl(fds[1], F_SETPIPE_SZ, 4096);
    tpc_log_setup(TPC_LOG_INFO, TPC_LOG_LOGFMT);
    int saved = dup(STDERR_FILENO);
    dup2(fds[1], STDERR_FILENO);
    for (int i = 0; i < BIG_LINES; i++) {
        tpc_log(TPC_LOG_INFO, "big", tpc_kv_int("n", i), tpc_kv_str("f", filler));
    }
    size_t got = 0;
    size_t more;
    while (tpc_log_flush(), (more = drain(fds[0], text + got, sizeof text - got)) > 0) {
        got += more;
    }
    tpc_log(TPC_LOG_WARN, "after", tpc_kv_int("n", 1));
    got += drain(fds[0], text + got, sizeof text - 1 - got);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fds[0]);
    close(fds[1]);
    text[got] = '\0';
    uint64_t lost = 0;
    int whole = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        int n;
        sscanf(line, "ts=%*s level=warn evt=log.lost lines=%" SCNu64, &lost);
        if (sscanf(line, "ts=%*s level=info evt=big n=%d f=", &n) == 1) {
            assert_int_equal(n, whole++);
            assert_string_equal(strstr(line, " f=") + 3, filler);
        }
    }
    assert_in_range(whole, 200, BIG_LINES - 1);
    assert_int_equal(whole + (int)lost, BIG_LINES);
}

static void test_log_parse__knows_its_words(void **state)
{
    (void)state;
    enum tpc_log_level level = TPC_LOG_INFO;
    enum tpc_log_format format = TPC_LOG_LOGFMT;
    assert_true(tpc_log_parse_level("error", &level));
    assert_int_equal(level, TPC_LOG_ERROR);
    assert_false(tpc_log_parse_level("loud", &level));
    assert_int_equal(level, TPC_LOG_ERROR);
    assert_true(tpc_log_parse_format("json", &format));
    assert_int_equal(format, TPC_LOG_JSON);
    assert_false(tpc_log_parse_format("xml", &format));
}

static void test_assert__tells_what_led_there_and_aborts(void **state)
{
    (void)state;
    struct capture capture;
    tpc_log_setup(TPC_LOG_INFO, TPC_LOG_LOGFMT);
    capture_begin(&capture, STDERR_FILENO);
    pid_t child = fork();
    if (child == 0) {
        tpc_log(TPC_LOG_INFO, "before", tpc_kv_int("n", 1));
        TPC_ASSERT(1 + 1 == 3);
        _exit(0);
    }
    int status = 0;
    pid_t waited = waitpid(child, &status, 0);
    char *text = capture_end(&capture);
    assert_int_equal(waited, child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "evt=before n=1\nassertion failed: 1 + 1 == 3, in "));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log__logfmt_begins_with_time_level_and_event),
        cmocka_unit_test(test_log__json_begins_with_time_level_and_event),
        cmocka_unit_test(test_log__logfmt_quotes_what_would_be_misread),
        cmocka_unit_test(test_log__json_escapes),
        cmocka_unit_test(test_log__replaces_what_is_not_utf8),
        cmocka_unit_test(test_log__gathers_until_flush_or_warning),
        cmocka_unit_test(test_log__keeps_errno),
        cmocka_unit_test(test_log__threads_write_whole_lines),
        cmocka_unit_test(test_log__a_stuck_reader_gets_the_rest_later_and_hears_of_losses),
        cmocka_unit_test(test_log_parse__knows_its_words),
        cmocka_unit_test(test_assert__tells_what_led_there_and_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
