/* The client against the server, both in one loop. */
#include "api/client.h"
#include "api/server.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

enum { PATIENCE_MS = 10000, URL_SIZE = 128 };

static struct world {
    uv_loop_t loop;
    uv_timer_t patience;
    struct api_server *server;
    struct api_client *client;
    struct api_stream *stream;
    struct api_request *held;
    struct tpc_failpoint server_receive, server_send;
} world;

struct tried {
    struct api_call call; /* first: on_done gets it back */
    char url[URL_SIZE];
    int done, lines;
    enum tpc_rc rc;
    struct tpc_err err;
    char line[256]; /* the last */
    bool cancel_on_line, write_on_line;
    int again; /* times to repeat */
};

/* ---- The server ---- */

static void handle(void *arg, struct api_request *request)
{
    const char *path = api_request_path(request);
    struct tpc_buf body = {0};
    size_t size;
    (void)arg;

    if (strcmp(path, "/hold") == 0) {
        world.held = request;
    } else if (strcmp(path, "/stream") == 0) {
        world.stream = api_stream_begin(request, 200, "application/x-ndjson");
    } else if (strcmp(path, "/fail") == 0) {
        api_respond_problem(request, 409, "test", "Refused", "as the test wants it", NULL);
    } else if (strcmp(path, "/method") == 0) {
        tpc_buf_adds(&body, api_request_method(request));
        api_respond(request, 200, "text/plain", &body);
    } else if (strcmp(path, "/header") == 0) {
        const char *key = api_request_header(request, "Idempotency-Key");
        tpc_buf_adds(&body, key != NULL ? key : "none");
        api_respond(request, 200, "text/plain", &body);
    } else {
        const char *data = api_request_body(request, &size);
        tpc_buf_add(&body, data, size);
        api_respond(request, 200, "application/json", &body);
    }
}

static void serve(const char *listen)
{
    struct api_server_options options = {.loop = &world.loop,
                                         .listen = listen,
                                         .handler = handle,
                                         .receive = &world.server_receive,
                                         .send = &world.server_send};
    struct tpc_err err = {0};
    if (api_server_start(&options, &world.server, &err) != TPC_OK) {
        fail_msg("%s", err.text);
    }
}

static void on_patience(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("nothing came of it in %d ms", PATIENCE_MS);
}

static int begin(void **state)
{
    struct api_client_options options = {.loop = &world.loop};
    struct tpc_err err = {0};
    (void)state;
    memset(&world, 0, sizeof(world));
    uv_loop_init(&world.loop);
    uv_timer_init(&world.loop, &world.patience);
    uv_timer_start(&world.patience, on_patience, PATIENCE_MS, 0);
    serve("127.0.0.1:0");
    assert_int_equal(api_client_new(&options, &world.client, &err), TPC_OK);
    return 0;
}

static int end(void **state)
{
    (void)state;
    if (world.client != NULL) {
        api_client_free(world.client);
    }
    if (world.server != NULL) {
        api_server_stop(world.server);
    }
    uv_close((uv_handle_t *)&world.patience, NULL);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    return 0;
}

/* ---- Calls ---- */

static void start(struct tried *tried);

static void on_line(struct api_call *call, const char *line, size_t size)
{
    struct tried *tried = (struct tried *)call;
    tried->lines++;
    snprintf(tried->line, sizeof(tried->line), "%.*s", (int)size, line);
    if (tried->cancel_on_line) {
        api_client_cancel(world.client, call);
    } else if (tried->write_on_line && tried->lines < 10) {
        char next[32];
        snprintf(next, sizeof(next), "line %d\n", tried->lines);
        api_stream_write(world.stream, next, strlen(next));
    } else if (tried->write_on_line) {
        api_stream_end(world.stream);
    }
}

static void on_done(struct api_call *call, enum tpc_rc rc, const struct tpc_err *err)
{
    struct tried *tried = (struct tried *)call;
    tried->done++;
    tried->rc = rc;
    tried->err = *err;
    if (tried->again > 0) {
        tried->again--;
        start(tried);
    }
}

static void start(struct tried *tried)
{
    assert_int_equal(api_client_start(world.client, &tried->call), TPC_OK);
}

static void prepare(struct tried *tried, const char *method, const char *path)
{
    *tried = (struct tried){.call = {.method = method, .on_done = on_done}};
    snprintf(tried->url, sizeof(tried->url), "%s%s",
             path[0] == '/' ? api_server_url(world.server) : "", path);
    tried->call.url = tried->url;
}

static void run_until_done(const struct tried *tried, int count)
{
    while (tried->done < count) {
        uv_run(&world.loop, UV_RUN_ONCE);
    }
}

static void call(struct tried *tried)
{
    start(tried);
    assert_int_equal(tried->done, 0);
    run_until_done(tried, 1);
}

static void run_until_seen(void *const *place)
{
    while (*place == NULL) {
        uv_run(&world.loop, UV_RUN_ONCE);
    }
}

/* ---- A server that plays a part: it reads one request, sends its text and closes ---- */

struct actor {
    pthread_t thread;
    int fd, port;
    const char *text;
};

static void *act(void *arg)
{
    struct actor *actor = arg;
    char request[4096] = "";
    size_t size = 0;
    int fd = accept(actor->fd, NULL, NULL);

    while (fd >= 0 && strstr(request, "\r\n\r\n") == NULL) {
        ssize_t got = recv(fd, request + size, sizeof(request) - 1 - size, 0);
        if (got <= 0) {
            break;
        }
        size += (size_t)got;
        request[size] = '\0';
    }
    (void)send(fd, actor->text, strlen(actor->text), MSG_NOSIGNAL);
    close(fd);
    return NULL;
}

static int listen_somewhere(int backlog, int *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    if (backlog >= 0) {
        assert_int_equal(listen(fd, backlog), 0);
    }
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void call_actor(struct tried *tried, const char *text, bool by_lines)
{
    struct actor actor = {.text = text};
    char url[URL_SIZE];

    actor.fd = listen_somewhere(4, &actor.port);
    assert_int_equal(pthread_create(&actor.thread, NULL, act, &actor), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/", actor.port);
    prepare(tried, "GET", url);
    tried->call.on_line = by_lines ? on_line : NULL;
    call(tried);
    shutdown(actor.fd, SHUT_RDWR);
    pthread_join(actor.thread, NULL);
    close(actor.fd);
}

/* ---- Tests ---- */

static void test_api_client__body_comes_back(void **state)
{
    struct tried tried;
    (void)state;
    prepare(&tried, "POST", "/echo");
    tpc_buf_adds(&tried.call.body, "{\"a\":1}");
    call(&tried);
    assert_int_equal(tried.rc, TPC_OK);
    assert_int_equal(tried.call.status, 200);
    assert_string_equal(tried.call.answer.data, "{\"a\":1}");
    api_call_done(&tried.call);
}

static void test_api_client__methods_are_sent_as_given(void **state)
{
    static const char *const methods[] = {"GET", "DELETE", "POST", "PUT", "GET", "HEAD", "GET"};
    struct tried tried;
    (void)state;
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        prepare(&tried, methods[i], "/method");
        if (strcmp(methods[i], "PUT") == 0) {
            tpc_buf_adds(&tried.call.body, "{}");
        }
        call(&tried);
        assert_int_equal(tried.rc, TPC_OK);
        bool head = strcmp(methods[i], "HEAD") == 0;
        assert_string_equal(head ? "HEAD" : tried.call.answer.data, methods[i]);
        api_call_done(&tried.call);
    }
}

static void test_api_client__header_is_sent_with_its_call_alone(void **state)
{
    static const char *const methods[] = {"POST", "GET"};
    struct tried tried;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        prepare(&tried, methods[i % 2], "/header");
        tried.call.header = i < 2 ? "Idempotency-Key: once" : NULL;
        call(&tried);
        assert_string_equal(tried.call.answer.data, i < 2 ? "once" : "none");
        api_call_done(&tried.call);
    }
}

static void test_api_client__kept_connection_is_not_used_for_at_most_once(void **state)
{
    struct api_server_stats stats;
    struct tried tried;
    (void)state;
    for (int i = 0; i < 4; i++) {
        prepare(&tried, "POST", "/echo");
        tried.call.at_most_once = i % 2 == 1;
        call(&tried);
        assert_int_equal(tried.rc, TPC_OK);
        api_call_done(&tried.call);
    }
    api_server_get_stats(world.server, &stats);
    assert_int_equal(stats.connections_total, 3);
}

static void test_api_client__thousand_calls_use_one_connection(void **state)
{
    struct api_server_stats stats;
    struct tried tried;
    (void)state;
    prepare(&tried, "POST", "/echo");
    tpc_buf_adds(&tried.call.body, "x");
    tried.again = 999;
    start(&tried);
    run_until_done(&tried, 1000);
    assert_int_equal(tried.rc, TPC_OK);
    assert_string_equal(tried.call.answer.data, "x");
    api_server_get_stats(world.server, &stats);
    assert_int_equal(stats.requests, 1000);
    assert_int_equal(stats.connections_total, 1);
    api_call_done(&tried.call);
}

static void test_api_client__concurrent_calls_keep_their_answers(void **state)
{
    enum { CALLS = 64, EACH = 50 };
    static struct tried tried[CALLS];
    struct api_server_stats stats;
    (void)state;
    for (int i = 0; i < CALLS; i++) {
        prepare(&tried[i], "POST", "/echo");
        tpc_buf_addf(&tried[i].call.body, "{\"call\":%d}", i);
        tried[i].again = EACH - 1;
        start(&tried[i]);
    }
    for (int i = 0; i < CALLS; i++) {
        run_until_done(&tried[i], EACH);
        assert_int_equal(tried[i].rc, TPC_OK);
        assert_string_equal(tried[i].call.answer.data, tried[i].call.body.data);
        api_call_done(&tried[i].call);
    }
    api_server_get_stats(world.server, &stats);
    assert_int_equal(stats.requests, CALLS * EACH);
    assert_true(stats.connections_total <= CALLS);
}

static void test_api_client__large_body_and_answer(void **state)
{
    size_t size = (size_t)3 << 20;
    struct tried tried;
    (void)state;
    prepare(&tried, "POST", "/echo");
    memset(tpc_buf_reserve(&tried.call.body, size), 'z', size);
    tpc_buf_added(&tried.call.body, size);
    call(&tried);
    assert_int_equal(tried.rc, TPC_OK);
    assert_int_equal(tried.call.answer.size, size);
    api_call_done(&tried.call);
}

static void test_api_client__line_comes_before_the_next_is_written(void **state)
{
    struct tried tried;
    (void)state;
    prepare(&tried, "POST", "/stream");
    tried.call.on_line = on_line;
    tried.write_on_line = true;
    start(&tried);
    run_until_seen((void **)&world.stream);
    api_stream_write(world.stream, "line ", 5);
    api_stream_write(world.stream, "0\n", 2);
    run_until_done(&tried, 1);
    assert_int_equal(tried.rc, TPC_OK);
    assert_int_equal(tried.lines, 10);
    assert_string_equal(tried.line, "line 9");
    api_call_done(&tried.call);
}

static void test_api_client__last_line_may_lack_its_end(void **state)
{
    struct tried tried;
    (void)state;
    call_actor(&tried,
               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
               "3\r\none\r\n2\r\n\nt\r\n6\r\nwo\n\nfo\r\n2\r\nur\r\n0\r\n\r\n",
               true);
    assert_int_equal(tried.rc, TPC_OK);
    assert_int_equal(tried.lines, 4);
    assert_string_equal(tried.line, "four");
    api_call_done(&tried.call);
}

static void test_api_client__refusal_is_gathered_though_lines_are_wanted(void **state)
{
    struct tried tried;
    (void)state;
    prepare(&tried, "POST", "/fail");
    tried.call.on_line = on_line;
    call(&tried);
    assert_int_equal(tried.rc, TPC_OK);
    assert_int_equal(tried.call.status, 409);
    assert_int_equal(tried.lines, 0);
    assert_non_null(strstr(tried.call.answer.data, "as the test wants it"));
    api_call_done(&tried.call);
}

static void test_api_client__nobody_there_is_unreachable(void **state)
{
    struct tried tried;
    char url[URL_SIZE];
    int port, fd = listen_somewhere(-1, &port);
    (void)state;
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/", port);
    prepare(&tried, "POST", url);
    call(&tried);
    assert_int_equal(tried.rc, TPC_EUNREACHABLE);
    assert_int_equal(tried.call.status, 0);
    assert_non_null(strstr(tried.err.text, url));
    api_call_done(&tried.call);
    close(fd);
}

static void test_api_client__silence_at_connecting_is_unreachable(void **state)
{
    struct tried tried;
    char url[URL_SIZE];
    int port, fd = listen_somewhere(0, &port);
    (void)state;
    /* One waits to be accepted, and there is room for no other. */
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(first, (struct sockaddr *)&address, sizeof(address)), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/", port);
    prepare(&tried, "POST", url);
    tried.call.connect_timeout_ms = 100;
    call(&tried);
    assert_int_equal(tried.rc, TPC_EUNREACHABLE);
    api_call_done(&tried.call);
    close(first);
    close(fd);
}

static void test_api_client__senseless_url_is_unreachable(void **state)
{
    static const char *const urls[] = {"ftp://127.0.0.1/", "http://", "nonsense://x",
                                       "http://[::1"};
    struct tried tried;
    (void)state;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        prepare(&tried, "GET", urls[i]);
        call(&tried);
        assert_int_equal(tried.rc, TPC_EUNREACHABLE);
        api_call_done(&tried.call);
    }
}

static void test_api_client__server_dying_in_an_answer_is_an_io_error(void **state)
{
    static const char *const texts[] = {
        "", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfive\n\r\n",
        "this is no HTTP\r\n\r\n"};
    struct tried tried;
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        call_actor(&tried, texts[i], true);
        assert_int_equal(tried.rc, TPC_EIO);
        api_call_done(&tried.call);
    }
}

static void test_api_client__stopped_server_breaks_a_stream(void **state)
{
    struct tried tried;
    (void)state;
    prepare(&tried, "POST", "/stream");
    tried.call.on_line = on_line;
    start(&tried);
    run_until_seen((void **)&world.stream);
    api_stream_write(world.stream, "only this\n", 10);
    while (tried.lines == 0) {
        uv_run(&world.loop, UV_RUN_ONCE);
    }
    api_server_stop(world.server);
    world.server = NULL;
    run_until_done(&tried, 1);
    assert_int_equal(tried.rc, TPC_EIO);
    api_call_done(&tried.call);
}

static void test_api_client__no_answer_is_a_timeout(void **state)
{
    struct tried tried;
    (void)state;
    prepare(&tried, "GET", "/hold");
    tried.call.timeout_ms = 50;
    call(&tried);
    assert_int_equal(tried.rc, TPC_ETIMEOUT);
    assert_non_null(world.held);
    api_respond(world.held, 200, NULL, NULL); /* to nobody */
    api_call_done(&tried.call);
    prepare(&tried, "GET", "/method");
    call(&tried);
    assert_int_equal(tried.rc, TPC_OK);
    api_call_done(&tried.call);
}

static void test_api_client__cancelled_call_ends_soon(void **state)
{
    struct tried unsent, waiting, streaming;
    (void)state;
    prepare(&unsent, "GET", "/hold");
    start(&unsent);
    api_client_cancel(world.client, &unsent.call);
    api_client_cancel(world.client, &unsent.call);
    assert_int_equal(unsent.done, 0);
    run_until_done(&unsent, 1);
    assert_int_equal(unsent.rc, TPC_EIO);
    assert_null(world.held);

    prepare(&waiting, "GET", "/hold");
    start(&waiting);
    run_until_seen((void **)&world.held);
    api_client_cancel(world.client, &waiting.call);
    run_until_done(&waiting, 1);
    assert_int_equal(waiting.rc, TPC_EIO);
    api_client_cancel(world.client, &waiting.call); /* too late: nothing */
    api_respond(world.held, 200, NULL, NULL);

    prepare(&streaming, "POST", "/stream");
    streaming.call.on_line = on_line;
    streaming.cancel_on_line = true;
    start(&streaming);
    run_until_seen((void **)&world.stream);
    api_stream_write(world.stream, "one\ntwo\nthree\n", 14);
    run_until_done(&streaming, 1);
    assert_int_equal(streaming.rc, TPC_EIO);
    assert_int_equal(streaming.lines, 1);
    api_stream_end(world.stream);
    api_call_done(&unsent.call);
    api_call_done(&waiting.call);
    api_call_done(&streaming.call);
}

static void test_api_client__freed_client_ends_its_calls(void **state)
{
    struct tried waiting, unsent;
    (void)state;
    prepare(&waiting, "GET", "/hold");
    prepare(&unsent, "GET", "/method");
    start(&waiting);
    run_until_seen((void **)&world.held);
    start(&unsent);
    api_client_free(world.client);
    world.client = NULL;
    assert_int_equal(waiting.done, 1);
    assert_int_equal(waiting.rc, TPC_EIO);
    assert_int_equal(unsent.done, 1);
    api_respond(world.held, 200, NULL, NULL);
    api_call_done(&waiting.call);
    api_call_done(&unsent.call);
}

static void test_api_client__answer_over_its_limit(void **state)
{
    struct tried tried;
    (void)state;
    prepare(&tried, "POST", "/echo");
    tpc_buf_adds(&tried.call.body, "0123456789");
    tried.call.answer_max = 9;
    call(&tried);
    assert_int_equal(tried.rc, TPC_ETOOBIG);
    tried.call.answer_max = 10;
    tried.done = 0;
    call(&tried);
    assert_int_equal(tried.rc, TPC_OK);
    api_call_done(&tried.call);

    prepare(&tried, "POST", "/echo");
    tried.call.on_line = on_line;
    tpc_buf_adds(&tried.call.body, "short\nshort\nnot so short\n");
    tried.call.answer_max = 9;
    call(&tried);
    assert_int_equal(tried.rc, TPC_ETOOBIG);
    assert_int_equal(tried.lines, 2);
    api_call_done(&tried.call);
}

static void test_api_client__restarted_server_is_found_again(void **state)
{
    struct tried tried;
    char listen[64];
    (void)state;
    for (int i = 0; i < 5; i++) {
        prepare(&tried, "GET", "/method");
        call(&tried);
        assert_int_equal(tried.rc, TPC_OK);
        api_call_done(&tried.call);
        snprintf(listen, sizeof(listen), "%s", api_server_url(world.server) + strlen("http://"));
        api_server_stop(world.server);
        serve(listen);
    }
}

static void test_api_client__failpoints_break_the_connection(void **state)
{
    struct tpc_failpoint armed = {.name = "test", .action = TPC_FP_ERROR, .left = -1};
    struct tpc_failpoint *points[] = {NULL, NULL, &world.server_receive, &world.server_send};
    struct tried tried;
    (void)state;
    for (int i = 0; i < 4; i++) {
        prepare(&tried, "GET", "/method");
        tried.call.send = i == 0 ? &armed : NULL;
        tried.call.receive = i == 1 ? &armed : NULL;
        if (points[i] != NULL) {
            points[i]->name = "test";
            points[i]->left = -1;
            points[i]->action = TPC_FP_ERROR;
        }
        call(&tried);
        assert_int_equal(tried.rc, TPC_EIO);
        api_call_done(&tried.call);
        if (points[i] != NULL) {
            points[i]->action = TPC_FP_OFF;
        }
    }
    /* An answer that leaves later, and a stream's line. */
    prepare(&tried, "GET", "/hold");
    start(&tried);
    run_until_seen((void **)&world.held);
    world.server_send.action = TPC_FP_ERROR;
    api_respond(world.held, 200, NULL, NULL);
    run_until_done(&tried, 1);
    assert_int_equal(tried.rc, TPC_EIO);
    world.server_send.action = TPC_FP_OFF;
    prepare(&tried, "GET", "/stream");
    start(&tried);
    run_until_seen((void **)&world.stream);
    world.server_send.action = TPC_FP_ERROR;
    api_stream_write(world.stream, "lost\n", 5);
    run_until_done(&tried, 1);
    assert_int_equal(tried.rc, TPC_EIO);
    api_stream_end(world.stream);
    api_call_done(&tried.call);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_api_client__body_comes_back),
        TEST(test_api_client__methods_are_sent_as_given),
        TEST(test_api_client__kept_connection_is_not_used_for_at_most_once),
        TEST(test_api_client__header_is_sent_with_its_call_alone),
        TEST(test_api_client__thousand_calls_use_one_connection),
        TEST(test_api_client__concurrent_calls_keep_their_answers),
        TEST(test_api_client__large_body_and_answer),
        TEST(test_api_client__line_comes_before_the_next_is_written),
        TEST(test_api_client__last_line_may_lack_its_end),
        TEST(test_api_client__refusal_is_gathered_though_lines_are_wanted),
        TEST(test_api_client__nobody_there_is_unreachable),
        TEST(test_api_client__silence_at_connecting_is_unreachable),
        TEST(test_api_client__senseless_url_is_unreachable),
        TEST(test_api_client__server_dying_in_an_answer_is_an_io_error),
        TEST(test_api_client__stopped_server_breaks_a_stream),
        TEST(test_api_client__no_answer_is_a_timeout),
        TEST(test_api_client__cancelled_call_ends_soon),
        TEST(test_api_client__freed_client_ends_its_calls),
        TEST(test_api_client__answer_over_its_limit),
        TEST(test_api_client__restarted_server_is_found_again),
        TEST(test_api_client__failpoints_break_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
