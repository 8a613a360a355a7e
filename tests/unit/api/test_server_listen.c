#include "api/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <uv.h>

#include <cmocka.h>

static void handle(void *arg, struct api_request *request)
{
    (void)arg;
    api_respond(request, 200, NULL, NULL);
}

static enum tpc_rc listen_on(uv_loop_t *loop, const char *listen, struct api_server **ret_server,
                             struct tpc_err *err)
{
    struct api_server_options options = {.loop = loop, .listen = listen, .handler = handle};
    *err = (struct tpc_err){0};
    return api_server_start(&options, ret_server, err);
}

static void test_api_server_start__says_where_it_listens(void **state)
{
    static const char *const pairs[][2] = {{"127.0.0.1:0", "http://127.0.0.1:"},
                                           {"localhost:0", "http://127.0.0.1:"},
                                           {"0.0.0.0:0", "http://0.0.0.0:"},
                                           {"[::1]:0", "http://[::1]:"}};
    struct api_server *server;
    struct tpc_err err;
    uv_loop_t loop;
    (void)state;
    uv_loop_init(&loop);
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        enum tpc_rc rc = listen_on(&loop, pairs[i][0], &server, &err);
        if (pairs[i][0][0] == '[' && rc != TPC_OK) {
            continue; /* a machine without IPv6 */
        }
        assert_int_equal(rc, TPC_OK);
        const char *url = api_server_url(server);
        assert_memory_equal(url, pairs[i][1], strlen(pairs[i][1]));
        assert_true(atoi(url + strlen(pairs[i][1])) > 0);
        api_server_stop(server);
        uv_run(&loop, UV_RUN_DEFAULT);
    }
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_api_server_start__taken_address_is_busy(void **state)
{
    struct api_server *first, *second;
    struct tpc_err err;
    uv_loop_t loop;
    char address[64], wanted[200];
    (void)state;
    uv_loop_init(&loop);
    assert_int_equal(listen_on(&loop, "127.0.0.1:0", &first, &err), TPC_OK);
    snprintf(address, sizeof(address), "%s", api_server_url(first) + strlen("http://"));
    assert_int_equal(listen_on(&loop, address, &second, &err), TPC_EBUSY);
    snprintf(wanted, sizeof(wanted),
             "address %s is in use; stop the other process or choose another with --listen "
             "or --admin-listen",
             address);
    assert_string_equal(err.text, wanted);
    api_server_stop(first);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_api_server_start__what_is_no_address_is_invalid(void **state)
{
    static const char *const texts[] = {"",
                                        "7400",
                                        ":7400",
                                        "127.0.0.1",
                                        "127.0.0.1:",
                                        "host:7400",
                                        "127.0.0.1:x",
                                        "127.0.0.1:-1",
                                        "127.0.0.1:1x",
                                        "127.0.0.1:65536",
                                        "::1:7400",
                                        "[::1]",
                                        "[::1:7400",
                                        "[]:7400",
                                        "[127.0.0.1]:7400",
                                        "1.2.3:7400",
                                        "127.0.0.1:7400:7",
                                        "127.0.0.1: 7400",
                                        "192.0.2.1:7400"};
    struct api_server *server;
    struct tpc_err err;
    uv_loop_t loop;
    (void)state;
    uv_loop_init(&loop);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(listen_on(&loop, texts[i], &server, &err), TPC_EINVAL);
        assert_non_null(strstr(err.text, texts[i]));
    }
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_api_server_start__has_descriptors_for_its_connections(void **state)
{
    struct rlimit before, after;
    struct api_server *server;
    struct tpc_err err;
    uv_loop_t loop;
    (void)state;
    uv_loop_init(&loop);
    getrlimit(RLIMIT_NOFILE, &before);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = 256, .rlim_max = before.rlim_max});
    assert_int_equal(listen_on(&loop, "127.0.0.1:0", &server, &err), TPC_OK);
    getrlimit(RLIMIT_NOFILE, &after);
    assert_true(after.rlim_cur > 1000 || after.rlim_cur == before.rlim_max);
    setrlimit(RLIMIT_NOFILE, &before);
    api_server_stop(server);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_server_start__says_where_it_listens),
        cmocka_unit_test(test_api_server_start__taken_address_is_busy),
        cmocka_unit_test(test_api_server_start__has_descriptors_for_its_connections),
        cmocka_unit_test(test_api_server_start__what_is_no_address_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
