/* Clients that do what they should not. */
#include "base/clock.h"
#include "tests/unit/api/served.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define HOST "Host: x\r\n"

enum { SHORT_TIMEOUT_MS = 300, BODY_MAX = 64 * 1024, CONNECTIONS = 6 };

static struct served served;
static struct answer answer;
static char text[256];

static int begin(void **state)
{
    (void)state;
    served = (struct served){.options = {.header_timeout_ms = SHORT_TIMEOUT_MS,
                                         .idle_timeout_ms = 30000,
                                         .body_max = BODY_MAX,
                                         .stream_max = (size_t)8 * 1024 * 1024,
                                         .connections_max = CONNECTIONS}};
    served_start(&served);
    return 0;
}

static void serves_again(void)
{
    uint64_t until_ms = tpc_clock_mono_ms() + 5000;
    do {
        probe_get(&served, "/hello", &answer);
        assert_true(tpc_clock_mono_ms() < until_ms);
    } while (answer.status == 503);
    assert_int_equal(answer.status, 200);
}

static int end(void **state)
{
    (void)state;
    /* Whatever was done to it, it serves others, as soon as it has noticed who is gone. */
    serves_again();
    served_stop(&served);
    return 0;
}

/* The answer is a problem document, and the connection is closed after it. */
static void refused(const char *request, int status, const char *word)
{
    int fd = probe_connect(&served);
    probe_send(fd, request);
    probe_read(fd, "POST", &answer);
    assert_int_equal(answer.status, status);
    assert_string_equal(answer_header(&answer, "Content-Type", text, sizeof(text)),
                        "application/problem+json");
    assert_string_equal(answer_header(&answer, "Cache-Control", text, sizeof(text)), "no-store");
    assert_string_equal(answer_header(&answer, "Connection", text, sizeof(text)), "close");
    if (strstr(answer.body, word) == NULL) {
        fail_msg("no \"%s\" in %s", word, answer.body);
    }
    assert_true(probe_closed(fd));
    close(fd);
}

static void test_api_server__smuggling_is_refused(void **state)
{
    (void)state;
    refused("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
            "0\r\n\r\n",
            400, "exclude each other");
    refused("POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\ncontent-length: 5\r\n\r\n"
            "0\r\n\r\n",
            400, "exclude each other");
    refused("POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", 400, "chunked");
    refused("POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 400,
            "chunked");
    refused("POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n"
            "Transfer-Encoding: identity\r\n\r\n",
            400, "chunked");
    refused("POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n", 400, "chunked");
    refused("POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "HTTP/1.0");
    refused("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            400, "more than once");
}

static void test_api_server__host_is_asked_for_once(void **state)
{
    (void)state;
    refused("GET /hello HTTP/1.1\r\n\r\n", 400, "Host");
    refused("GET /hello HTTP/1.1\r\n" HOST HOST "\r\n", 400, "Host");
}

static void test_api_server__bad_targets_are_refused(void **state)
{
    static const char *const targets[] = {"/hello%0",     "/hello%zz",   "/hello%00x", "/query?a=%",
                                          "/query?a=%00", "/query?%1=b", "hello",      "*"};
    (void)state;
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n" HOST "\r\n", targets[i]);
        refused(text, 400, "malformed");
    }
}

static void test_api_server__lengths_that_are_no_number_are_400(void **state)
{
    static const char *const lengths[] = {"abc", "-1", "1x", "0x10", ""};
    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        snprintf(text, sizeof(text), "POST /echo HTTP/1.1\r\n" HOST "Content-Length: %s\r\n\r\n",
                 lengths[i]);
        probe(&served, text, &answer);
        assert_int_equal(answer.status, 400);
    }
    probe(&served, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999999\r\n\r\n",
          &answer);
    assert_int_equal(answer.status, 413);
}

static void test_api_server__announced_body_over_the_limit_is_413_at_once(void **state)
{
    (void)state;
    refused("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 65537\r\n\r\n", 413, "65536");
    /* Nobody is told to go on and send it. */
    refused("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 65537\r\n"
            "Expect: 100-continue\r\n\r\n",
            413, "65536");
}

static void test_api_server__413_reaches_a_client_that_sends_all_first(void **state)
{
    static char body[8 * 1024 * 1024 + 1];
    (void)state;
    memset(body, 'b', sizeof(body) - 1);
    for (int i = 0; i < 5; i++) {
        int fd = probe_connect(&served);
        snprintf(text, sizeof(text), "POST /echo HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n",
                 sizeof(body) - 1);
        probe_send(fd, text);
        probe_send(fd, body);
        probe_read(fd, "POST", &answer);
        assert_int_equal(answer.status, 413);
        close(fd);
    }
}

static void test_api_server__chunks_piling_up_over_the_limit_are_413(void **state)
{
    static char chunk[8 + 4096 + 3] = "1000\r\n";
    int fd = probe_connect(&served);
    (void)state;
    memset(chunk + 6, 'c', 4096);
    memcpy(chunk + 6 + 4096, "\r\n", 3);
    probe_send(fd, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 64; i++) {
        probe_send(fd, chunk);
    }
    probe_read(fd, "POST", &answer);
    assert_int_equal(answer.status, 413);
    assert_true(probe_closed(fd));
    close(fd);
}

static void test_api_server__body_of_just_the_limit_is_taken(void **state)
{
    static char body[BODY_MAX + 1];
    (void)state;
    memset(body, 'b', BODY_MAX);
    probe_post(&served, "/echo", body, &answer);
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body_size, BODY_MAX);
}

static void test_api_server__broken_chunks_end_the_request(void **state)
{
    static const char *const bodies[] = {"zz\r\n", "5\r\nhelloXY", "fffffffffffffffff\r\n", ";\r\n",
                                         "-5\r\nhello\r\n0\r\n\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        int fd = probe_connect(&served);
        probe_send(fd, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
        probe_send(fd, bodies[i]);
        probe_read(fd, "POST", &answer);
        assert_true(answer.status == 400 || answer.status == 413);
        assert_true(probe_closed(fd));
        close(fd);
    }
}

static void test_api_server__garbage_ends_the_connection(void **state)
{
    static const char *const texts[] = {
        "\x16\x03\x01\x02",       "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n", "\xff\xfe\xfd\r\n\r\n",
        "GET /\r\n\r\n",          ("GET /hello HTTP/1.1\r\n" HOST ": empty\r\n\r\n")};
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int fd = probe_connect(&served);
        probe_send(fd, texts[i]);
        shutdown(fd, SHUT_WR);
        assert_true(probe_closed(fd));
        close(fd);
    }
}

static void test_api_server__end_sent_with_the_request_is_seen(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        int fd = probe_connect(&served);
        probe_send(fd, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
        shutdown(fd, SHUT_WR);
        probe_read(fd, "GET", &answer);
        assert_int_equal(answer.status, 200);
        assert_true(probe_closed(fd));
        close(fd);
    }
}

static void test_api_server__header_without_end_is_refused(void **state)
{
    struct tpc_buf request = {0};
    (void)state;
    tpc_buf_adds(&request, "GET /hello HTTP/1.1\r\n" HOST "X: ");
    for (int i = 0; i < 8192; i++) {
        tpc_buf_adds(&request, "0123456789abcdef");
    }
    int fd = probe_connect(&served);
    probe_send(fd, request.data);
    probe_read(fd, "GET", &answer);
    assert_true(answer.status == 0 || answer.status == 431 || answer.status == 414);
    assert_true(probe_closed(fd));
    close(fd);
    tpc_buf_done(&request);
}

/* A byte now and then, until the server has had enough. */
static void drip(const char *request, int status)
{
    uint64_t began_ms = tpc_clock_mono_ms();
    int fd = probe_connect(&served);
    struct timeval pause = {.tv_usec = 20000};
    char got;

    probe_send(fd, request);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &pause, sizeof(pause));
    while (recv(fd, &got, 1, MSG_PEEK) < 0 && errno == EAGAIN) {
        assert_true(tpc_clock_mono_ms() - began_ms < 5000);
        probe_send(fd, "y");
    }
    pause = (struct timeval){.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &pause, sizeof(pause));
    probe_read(fd, "GET", &answer);
    assert_int_equal(answer.status, status);
    assert_true(probe_closed(fd));
    assert_true(tpc_clock_mono_ms() - began_ms >= SHORT_TIMEOUT_MS);
    close(fd);
}

static void test_api_server__dripped_requests_are_cut(void **state)
{
    (void)state;
    drip("", 0);
    drip("GET /hello HTTP/1.1\r\n" HOST "X-Slow: ", 408);
    drip("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 60000\r\n\r\n", 408);
}

static void test_api_server__waiting_for_an_answer_is_not_slow(void **state)
{
    int fd = probe_connect(&served), silent = probe_connect(&served);
    (void)state;
    probe_send(fd, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    /* A connection that sends nothing is cut; by then the other is past that time, too. */
    assert_true(probe_closed(silent));
    close(silent);
    probe_post(&served, "/release", "", &answer);
    probe_read(fd, "GET", &answer);
    assert_int_equal(answer.status, 200);
    close(fd);
}

static void test_api_server__beyond_the_limit_is_503_and_recovers(void **state)
{
    int kept[CONNECTIONS];
    (void)state;
    for (int i = 0; i < CONNECTIONS; i++) {
        kept[i] = probe_connect(&served);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < CONNECTIONS; i++) {
            probe_send(kept[i], "GET /hold HTTP/1.1\r\n" HOST "\r\n");
        }
        refused("GET /hello HTTP/1.1\r\n" HOST "\r\n", 503, "limit of connections");
        assert_non_null(answer_header(&answer, "Retry-After", text, sizeof(text)));
        if (round == 2) {
            close(kept[0]); /* nobody notices as long as it waits */
            refused("GET /hello HTTP/1.1\r\n" HOST "\r\n", 503, "limit of connections");
        }
        uv_async_send(&served.release);
        for (int i = round == 2 ? 1 : 0; i < CONNECTIONS; i++) {
            probe_read(kept[i], "GET", &answer);
            assert_int_equal(answer.status, 200);
        }
    }
    serves_again();
    for (int i = 1; i < CONNECTIONS; i++) {
        close(kept[i]);
    }
    assert_true(probe_stat_becomes(&served, "connections", 1));
}

static void test_api_server__idle_connections_make_room(void **state)
{
    int kept[CONNECTIONS];
    (void)state;
    for (int i = 0; i < CONNECTIONS; i++) {
        kept[i] = probe_connect(&served);
        probe_send(kept[i], "GET /hello HTTP/1.1\r\n" HOST "\r\n");
        probe_read(kept[i], "GET", &answer);
        assert_int_equal(answer.status, 200);
    }
    /* Refused as long as they may still bring something; then the one that was idle longest has to
     * go. */
    serves_again();
    assert_true(probe_closed(kept[0]));
    for (int i = 0; i < CONNECTIONS; i++) {
        close(kept[i]);
    }
}

static void test_api_server__flood_of_connections_is_survived(void **state)
{
    enum { FLOOD = 200 };
    int flood[FLOOD];
    (void)state;
    for (int i = 0; i < FLOOD; i++) {
        flood[i] = probe_connect(&served);
    }
    /* More than the server has any place for: they say nothing, and are cut one after another. */
    serves_again();
    for (int i = 0; i < FLOOD; i++) {
        close(flood[i]);
    }
}

static void test_api_server__stream_nobody_reads_is_cut(void **state)
{
    static char line[60000];
    int small = 4096, fd = probe_connect(&served);
    (void)state;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    probe_send(fd, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
    assert_true(probe_stat_becomes(&served, "pending", 1));
    memset(line, 'l', sizeof(line) - 2);
    line[sizeof(line) - 2] = '\n';
    for (int i = 0; i < 400; i++) {
        probe_post(&served, "/stream/write", line, &answer);
        assert_int_equal(answer.status, 204);
    }
    assert_true(probe_stat_becomes(&served, "connections", 1));
    probe_post(&served, "/stream/end", "", &answer);
    assert_int_equal(answer.status, 204);
    close(fd);
}

static void test_api_server__pipelined_requests_are_answered_in_turn(void **state)
{
    int fd = probe_connect(&served);
    (void)state;
    probe_send(fd, "GET /items/1 HTTP/1.1\r\n" HOST "\r\nGET /items/2 HTTP/1.1\r\n" HOST
                   "\r\nGET /hold HTTP/1.1\r\n" HOST "\r\nGET /items/3 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(probe_expect(fd, "2|"));
    assert_true(probe_stat_becomes(&served, "pending", 2));
    probe_post(&served, "/release", "", &answer);
    assert_true(probe_expect(fd, "3|"));
    close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_api_server__smuggling_is_refused),
        TEST(test_api_server__host_is_asked_for_once),
        TEST(test_api_server__bad_targets_are_refused),
        TEST(test_api_server__lengths_that_are_no_number_are_400),
        TEST(test_api_server__announced_body_over_the_limit_is_413_at_once),
        TEST(test_api_server__413_reaches_a_client_that_sends_all_first),
        TEST(test_api_server__chunks_piling_up_over_the_limit_are_413),
        TEST(test_api_server__body_of_just_the_limit_is_taken),
        TEST(test_api_server__broken_chunks_end_the_request),
        TEST(test_api_server__garbage_ends_the_connection),
        TEST(test_api_server__end_sent_with_the_request_is_seen),
        TEST(test_api_server__header_without_end_is_refused),
        TEST(test_api_server__dripped_requests_are_cut),
        TEST(test_api_server__waiting_for_an_answer_is_not_slow),
        TEST(test_api_server__beyond_the_limit_is_503_and_recovers),
        TEST(test_api_server__idle_connections_make_room),
        TEST(test_api_server__flood_of_connections_is_survived),
        TEST(test_api_server__stream_nobody_reads_is_cut),
        TEST(test_api_server__pipelined_requests_are_answered_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
