/* Where an HTTP message ends, and what it is. */
#include "cli/crashtest/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define POST(path) "POST " path " HTTP/1.1\r\nHost: x\r\ncontent-length: 2\r\n\r\n{}"

/* Every shorter beginning is a part, and what follows is not counted. */
static void expect_whole(const char *text, bool answer)
{
    char more[1024];
    size_t size = 0, whole = strlen(text);
    for (size_t i = 0; i < whole; i++) {
        assert_int_equal(cli_wire_whole(text, i, answer, &size), CLI_PART);
    }
    (void)snprintf(more, sizeof more, "%sHTTP/1.1 200 OK\r\n", text);
    assert_int_equal(cli_wire_whole(more, strlen(more), answer, &size), CLI_WHOLE);
    assert_int_equal(size, whole);
}

static void test_cli_wire_whole__ends_where_its_length_says(void **state)
{
    (void)state;
    expect_whole(POST("/v1/messages"), false);
    expect_whole("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", false);
    expect_whole("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", true);
    expect_whole("HTTP/1.1 204 No Content\r\n\r\n", true);
}

static void test_cli_wire_whole__ends_with_the_last_chunk(void **state)
{
    (void)state;
    expect_whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                 true);
    expect_whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA;x=y\r\n0123456789\r\n"
                 "0\r\n\r\n",
                 true);
}

static void test_cli_wire_whole__an_answer_without_a_length_ends_with_its_connection(void **state)
{
    static const char text[] = "HTTP/1.1 200 OK\r\n\r\nabc";
    size_t size;
    (void)state;
    assert_int_equal(cli_wire_whole(text, sizeof text - 1, true, &size), CLI_PART);
}

static void test_cli_wire_whole__refuses_what_is_no_chunk(void **state)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n";
    size_t size;
    (void)state;
    assert_int_equal(cli_wire_whole(text, sizeof text - 1, true, &size), CLI_MALFORMED);
}

static void expect_count(const char *text, enum cli_message kind, unsigned count)
{
    unsigned counts[CLI_MESSAGE_COUNT];
    cli_wire_count(text, strlen(text), counts);
    assert_int_equal(counts[kind], count);
}

static void test_cli_wire_count__knows_requests_by_their_path(void **state)
{
    (void)state;
    expect_count(POST("/v1/decisions"), CLI_MESSAGE_INQUIRY, 1);
    expect_count(POST("/v1/transactions"), CLI_MESSAGE_POST, 1);
    expect_count(
        "POST /v1/transactions HTTP/1.1\r\nIdempotency-Key: a\r\nContent-Length: 0\r\n\r\n",
        CLI_MESSAGE_SUBMIT, 1);
    expect_count("GET /v1/transactions/1?wait=1s HTTP/1.1\r\n\r\n", CLI_MESSAGE_ASK, 1);
    expect_count("GET /readyz HTTP/1.1\r\n\r\n", CLI_MESSAGE_PROBE, 1);
    expect_count("GET /metrics HTTP/1.1\r\n\r\n", CLI_MESSAGE_OTHER, 1);
}

static void test_cli_wire_count__counts_the_messages_of_a_batch(void **state)
{
    static const char body[] = "{\"messages\":[{\"op\":\"prepare\"},{\"op\":\"commit\"},"
                               "{\"op\":\"prepare\",\"statements\":[{\"sql\":\"'abort'\"}]}]}";
    char text[512];
    (void)state;
    (void)snprintf(text, sizeof text,
                   "POST /shop/v1/messages HTTP/1.1\r\nContent-Length: %zu\r\n\r\n%s",
                   sizeof body - 1, body);
    expect_count(text, CLI_MESSAGE_PREPARE, 2);
    expect_count(text, CLI_MESSAGE_COMMIT, 1);
    expect_count(text, CLI_MESSAGE_ABORT, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_wire_whole__ends_where_its_length_says),
        cmocka_unit_test(test_cli_wire_whole__ends_with_the_last_chunk),
        cmocka_unit_test(test_cli_wire_whole__an_answer_without_a_length_ends_with_its_connection),
        cmocka_unit_test(test_cli_wire_whole__refuses_what_is_no_chunk),
        cmocka_unit_test(test_cli_wire_count__knows_requests_by_their_path),
        cmocka_unit_test(test_cli_wire_count__counts_the_messages_of_a_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
