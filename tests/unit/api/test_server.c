/* The server as an ordinary client sees it. */
#include "tests/unit/api/served.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct answer answer;
static char text[256];

static int begin(void **state)
{
    static struct served served;
    served = (struct served){0};
    served_start(&served);
    *state = &served;
    return 0;
}

static int end(void **state)
{
    served_stop(*state);
    return 0;
}

static void test_api_server__every_answer_has_type_and_is_not_stored(void **state)
{
    probe_get(*state, "/hello", &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "{\"hello\":true}");
    assert_string_equal(answer_header(&answer, "Content-Type", text, sizeof(text)),
                        "application/json");
    assert_string_equal(answer_header(&answer, "Cache-Control", text, sizeof(text)), "no-store");

    probe_get(*state, "/nowhere", &answer);
    assert_int_equal(answer.status, 404);
    assert_string_equal(answer_header(&answer, "Content-Type", text, sizeof(text)),
                        "application/problem+json");
    assert_string_equal(answer_header(&answer, "Cache-Control", text, sizeof(text)), "no-store");
}

static void test_api_server__body_comes_back_whole(void **state)
{
    probe_post(*state, "/echo", "some body", &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "some body");
    probe_post(*state, "/echo", "", &answer);
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body_size, 0);
}

static void test_api_server__chunked_body_comes_back_whole(void **state)
{
    probe(*state,
          "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
          "5\r\nhello\r\n7;ext=1\r\n, world\r\n0\r\n\r\n",
          &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "hello, world");
}

static void test_api_server__thousand_requests_on_one_connection(void **state)
{
    int fd = probe_connect(*state);
    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof(text),
                 "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n%05d", i);
        probe_send(fd, text);
        probe_read(fd, "POST", &answer);
        assert_int_equal(answer.status, 200);
        assert_int_equal(atoi(answer.body), i);
    }
    close(fd);
    assert_true(probe_stat_becomes(*state, "connections", 1));
}

static void test_api_server__head_is_get_without_body(void **state)
{
    int fd = probe_connect(*state);
    probe_send(fd, "HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    probe_read(fd, "HEAD", &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer_header(&answer, "Content-Length", text, sizeof(text)), "14");
    probe_send(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    probe_read(fd, "GET", &answer);
    assert_int_equal(answer.status, 200);
    close(fd);
}

static void test_api_server__old_client_gets_an_answer_and_a_close(void **state)
{
    int fd = probe_connect(*state);
    probe_send(fd, "GET /hello HTTP/1.0\r\n\r\n");
    probe_read(fd, "GET", &answer);
    assert_int_equal(answer.status, 200);
    assert_true(probe_closed(fd));
    close(fd);
}

static void test_api_server__expect_continue_is_answered(void **state)
{
    int fd = probe_connect(*state);
    probe_send(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
                   "Expect: 100-continue\r\n\r\n");
    probe_read(fd, "POST", &answer);
    assert_int_equal(answer.status, 100);
    probe_send(fd, "body");
    probe_read(fd, "POST", &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "body");
    close(fd);
}

static void test_api_server__query_is_decoded(void **state)
{
    probe_get(*state, "/query?limit=10&a=b%20c+d&flag&e%3D=%26&limit=2", &answer);
    assert_string_equal(answer.body, "limit=10 [limit=10][a=b c d][flag=][e==&][limit=2]");
    probe_get(*state, "/query?", &answer);
    assert_string_equal(answer.body, "limit=none ");
    probe_get(*state, "/query?a&b&c&d&e&f&g&h&i&j&k&l", &answer);
    assert_string_equal(answer.body, "limit=none [a=][b=][c=][d=][e=][f=][g=][h=][i=][j=][k=][l=]");
}

static void test_api_server__absolute_target_is_its_path(void **state)
{
    probe(*state, "GET http://anything/items/7 HTTP/1.1\r\nHost: anything\r\n\r\n", &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "7|");
}

static void test_api_server__large_answer_is_whole(void **state)
{
    probe_get(*state, "/big/200000", &answer);
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body_size, 200000);
}

static void test_api_server__large_body_is_read_quickly(void **state)
{
    size_t size = (size_t)4 << 20;
    struct tpc_buf request = {0};
    tpc_buf_addf(&request, "PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", size);
    memset(tpc_buf_reserve(&request, size), 'y', size);
    tpc_buf_added(&request, size);
    int fd = probe_connect(*state);
    probe_send(fd, request.data);
    tpc_buf_done(&request);
    size_t got = 0;
    static char sink[64 * 1024];
    for (ssize_t part; got < size && (part = read(fd, sink, sizeof(sink))) > 0;) {
        got += (size_t)part;
    }
    assert_true(got >= size);
    close(fd);
}

static void test_api_server__unanswered_request_waits_and_others_go_on(void **state)
{
    int first = probe_connect(*state), second = probe_connect(*state);
    probe_send(first, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    probe_send(second, "GET /hold?two HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(probe_stat_becomes(*state, "pending", 3)); /* with the one that asks */
    probe_post(*state, "/release", "", &answer);
    assert_int_equal(answer.status, 204);
    for (int i = 0; i < 2; i++) {
        probe_read(i == 0 ? first : second, "GET", &answer);
        assert_int_equal(answer.status, 200);
        assert_string_equal(answer.body, "released /hold");
    }
    probe_send(first, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    probe_read(first, "GET", &answer);
    assert_int_equal(answer.status, 200);
    close(first);
    close(second);
}

static void test_api_server__client_gone_while_it_waited_is_forgotten(void **state)
{
    for (int i = 0; i < 8; i++) {
        int fd = probe_connect(*state);
        probe_send(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_true(probe_stat_becomes(*state, "pending", 2 + i));
        if (i % 2 == 0) {
            struct linger reset = {.l_onoff = 1};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        }
        close(fd);
    }
    probe_post(*state, "/release", "", &answer);
    assert_true(probe_stat_becomes(*state, "pending", 1));
    assert_true(probe_stat_becomes(*state, "connections", 1));
}

static void test_api_server__stream_line_arrives_before_the_next_is_written(void **state)
{
    int fd = probe_connect(*state);
    probe_send(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(probe_expect(fd, "begun\n"));
    for (int i = 0; i < 20; i++) {
        char line[32];
        snprintf(line, sizeof(line), "line %d\n", i);
        probe_post(*state, "/stream/write", line, &answer);
        assert_int_equal(answer.status, 204);
        assert_true(probe_expect(fd, line));
    }
    probe_post(*state, "/stream/end", "", &answer);
    assert_true(probe_expect(fd, "0\r\n\r\n"));
    probe_send(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    probe_read(fd, "GET", &answer);
    assert_int_equal(answer.status, 200);
    close(fd);
}

static void test_api_server__stream_that_is_whole_at_once_is_not_chunked(void **state)
{
    int fd = probe_connect(*state);
    probe_send(fd, "GET /stream/held HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(probe_stat_becomes(*state, "pending", 2));
    struct answer finished = {0};
    probe_post(*state, "/stream/finish", "", &finished);
    probe_read(fd, "GET", &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "one\ntwo\n");
    assert_string_equal(answer_header(&answer, "Content-Length", text, sizeof(text)), "8");
    assert_string_equal(answer_header(&answer, "Content-Type", text, sizeof(text)),
                        "application/x-ndjson");
    probe_send(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    probe_read(fd, "GET", &answer);
    assert_int_equal(answer.status, 200);
    close(fd);
}

static void test_api_server__stream_that_has_said_nothing_is_cut_by_stop(void **state)
{
    int fd = probe_connect(*state);
    probe_send(fd, "GET /stream/held HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(probe_stat_becomes(*state, "pending", 2));
    uv_async_send(&((struct served *)*state)->quit);
    assert_false(probe_expect(fd, "0\r\n\r\n"));
    close(fd);
}

static void test_api_server__stream_client_gone_is_harmless(void **state)
{
    int fd = probe_connect(*state);
    probe_send(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(probe_expect(fd, "\r\n\r\n"));
    close(fd);
    for (int i = 0; i < 4; i++) {
        probe_post(*state, "/stream/write", "into the void\n", &answer);
        assert_int_equal(answer.status, 204);
    }
    assert_true(probe_stat_becomes(*state, "connections", 1));
    probe_post(*state, "/stream/end", "", &answer);
    assert_int_equal(answer.status, 204);
}

static void test_api_server__head_of_a_stream_has_no_body(void **state)
{
    int fd = probe_connect(*state);
    probe_send(fd, "HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    probe_read(fd, "HEAD", &answer);
    assert_int_equal(answer.status, 200);
    probe_post(*state, "/stream/write", "nobody reads this\n", &answer);
    probe_post(*state, "/stream/end", "", &answer);
    assert_int_equal(answer.status, 204);
    close(fd);
}

static void test_api_server__stream_to_an_old_client_ends_with_the_connection(void **state)
{
    int fd = probe_connect(*state);
    probe_send(fd, "GET /stream HTTP/1.0\r\n\r\n");
    assert_true(probe_expect(fd, "\r\n\r\n"));
    probe_post(*state, "/stream/write", "plain\n", &answer);
    assert_true(probe_expect(fd, "plain\n"));
    probe_post(*state, "/stream/end", "", &answer);
    assert_true(probe_closed(fd));
    close(fd);
}

static void test_api_server__drained_answers_what_waits_and_refuses_new(void **state)
{
    int waiting = probe_connect(*state), kept = probe_connect(*state);
    probe_send(waiting, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(probe_stat_becomes(*state, "pending", 2));
    probe_send(kept, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    probe_read(kept, "GET", &answer);
    probe_post(*state, "/drain", "", &answer);
    assert_int_equal(answer.status, 202);
    probe_send(kept, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    probe_read(kept, "GET", &answer);
    assert_int_equal(answer.status, 503);
    assert_non_null(answer_header(&answer, "Retry-After", text, sizeof(text)));
    assert_true(probe_closed(kept));
    close(kept);
    /* Stopping answers the one that waits. */
    uv_async_send(&((struct served *)*state)->quit);
    probe_read(waiting, "GET", &answer);
    assert_int_equal(answer.status, 503);
    assert_string_equal(answer_header(&answer, "Connection", text, sizeof(text)), "close");
    close(waiting);
}

static void test_api_server__stop_cuts_streams_and_answers_what_waits(void **state)
{
    int waiting = probe_connect(*state), streaming = probe_connect(*state);
    probe_send(waiting, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    probe_send(streaming, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(probe_expect(streaming, "\r\n\r\n"));
    assert_true(probe_stat_becomes(*state, "pending", 2));
    uv_async_send(&((struct served *)*state)->quit);
    probe_read(waiting, "GET", &answer);
    assert_int_equal(answer.status, 503);
    /* Not a clean end: whoever reads must know that lines are missing. */
    assert_false(probe_expect(streaming, "0\r\n\r\n"));
    close(waiting);
    close(streaming);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_api_server__every_answer_has_type_and_is_not_stored),
        TEST(test_api_server__body_comes_back_whole),
        TEST(test_api_server__chunked_body_comes_back_whole),
        TEST(test_api_server__thousand_requests_on_one_connection),
        TEST(test_api_server__head_is_get_without_body),
        TEST(test_api_server__old_client_gets_an_answer_and_a_close),
        TEST(test_api_server__expect_continue_is_answered),
        TEST(test_api_server__query_is_decoded),
        TEST(test_api_server__absolute_target_is_its_path),
        TEST(test_api_server__large_answer_is_whole),
        TEST(test_api_server__large_body_is_read_quickly),
        TEST(test_api_server__unanswered_request_waits_and_others_go_on),
        TEST(test_api_server__client_gone_while_it_waited_is_forgotten),
        TEST(test_api_server__stream_line_arrives_before_the_next_is_written),
        TEST(test_api_server__stream_that_is_whole_at_once_is_not_chunked),
        TEST(test_api_server__stream_that_has_said_nothing_is_cut_by_stop),
        TEST(test_api_server__stream_client_gone_is_harmless),
        TEST(test_api_server__head_of_a_stream_has_no_body),
        TEST(test_api_server__stream_to_an_old_client_ends_with_the_connection),
        TEST(test_api_server__drained_answers_what_waits_and_refuses_new),
        TEST(test_api_server__stop_cuts_streams_and_answers_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
