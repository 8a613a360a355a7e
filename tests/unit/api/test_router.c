#include "tests/unit/api/served.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct served served;
static struct answer answer;
static char text[256];

static int begin(void **state)
{
    (void)state;
    served = (struct served){0};
    served_start(&served);
    return 0;
}

static int end(void **state)
{
    (void)state;
    served_stop(&served);
    return 0;
}

static void test_api_route__arguments_are_decoded(void **state)
{
    (void)state;
    probe_get(&served, "/items/a%2Fb/parts/%7e%41", &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "a/b|~A");
    probe_get(&served, "/items/one", &answer);
    assert_string_equal(answer.body, "one|");
    probe_get(&served, "/%69tems/one", &answer);
    assert_string_equal(answer.body, "one|");
}

static void test_api_route__unknown_paths_are_404(void **state)
{
    static const char *const paths[] = {
        "/",         "/hell",   "/hello/",         "/hello/x",       "//hello",
        "/items",    "/items/", "/items//parts/1", "/items/1/parts", "/a/b/c/d/e/f/g/h/i/j/k",
        "/hello%2F", "/HELLO"};
    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        probe_get(&served, paths[i], &answer);
        assert_int_equal(answer.status, 404);
        assert_non_null(strstr(answer.body, "urn:assent:problem:not-found"));
    }
    snprintf(text, sizeof(text), "/%0200d", 0);
    probe_get(&served, text, &answer);
    assert_int_equal(answer.status, 404);
}

static void test_api_route__other_methods_are_405_with_allow(void **state)
{
    (void)state;
    probe(&served, "DELETE /hello HTTP/1.1\r\nHost: x\r\n\r\n", &answer);
    assert_int_equal(answer.status, 405);
    assert_string_equal(answer_header(&answer, "Allow", text, sizeof(text)), "GET, HEAD");
    assert_non_null(strstr(answer.body, "urn:assent:problem:method-not-allowed"));
    probe(&served, "BREW /echo HTTP/1.1\r\nHost: x\r\n\r\n", &answer);
    assert_int_equal(answer.status, 405);
    assert_string_equal(answer_header(&answer, "Allow", text, sizeof(text)), "POST, PUT");
    probe(&served, "HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\n", &answer);
    assert_int_equal(answer.status, 405);
    probe(&served, "get /hello HTTP/1.1\r\nHost: x\r\n\r\n", &answer);
    assert_int_equal(answer.status, 405);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_api_route__arguments_are_decoded),
        TEST(test_api_route__unknown_paths_are_404),
        TEST(test_api_route__other_methods_are_405_with_allow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
