#include "participant/maria_url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void assert_same(const char *got, const char *wanted)
{
    if (wanted == NULL) {
        assert_null(got);
    } else {
        assert_non_null(got);
        assert_string_equal(got, wanted);
    }
}

static void assert_parsed(const char *text, const struct maria_url *wanted)
{
    struct maria_url url;
    struct tpc_err err = {0};
    assert_int_equal(maria_url_parse(text, &url, &err), TPC_OK);
    assert_same(url.user, wanted->user);
    assert_same(url.password, wanted->password);
    assert_same(url.host, wanted->host);
    assert_same(url.database, wanted->database);
    assert_same(url.socket, wanted->socket);
    assert_same(url.ssl_ca, wanted->ssl_ca);
    assert_int_equal(url.port, wanted->port);
    assert_int_equal(url.ssl_verify, wanted->ssl_verify);
    maria_url_done(&url);
}

static void test_maria_url__parts_are_told_apart_and_decoded(void **state)
{
    (void)state;
    assert_parsed("mariadb://host/bank", &(struct maria_url){.host = "host", .database = "bank"});
    assert_parsed(
        "mariadb://me:pa:s@s%3f%25@host:3307/a%2fb",
        &(struct maria_url){
            .user = "me", .password = "pa:s@s?%", .host = "host", .port = 3307, .database = "a/b"});
    assert_parsed("mysql://me@/bank?socket=/run/m%20s/sock",
                  &(struct maria_url){.user = "me", .database = "bank", .socket = "/run/m s/sock"});
    assert_parsed("mariadb://[::1]:3306/bank?ssl_ca=/ca.pem&ssl_verify=on",
                  &(struct maria_url){.host = "::1",
                                      .port = 3306,
                                      .database = "bank",
                                      .ssl_ca = "/ca.pem",
                                      .ssl_verify = true});
    assert_parsed("mariadb://:@h/d?socket=a&socket=b&ssl_verify=off",
                  &(struct maria_url){
                      .user = "", .password = "", .host = "h", .database = "d", .socket = "b"});
}

static void test_maria_url__what_is_none_is_refused_without_its_password(void **state)
{
    static const char *const none[] = {
        "mariadb:me:s3cret@host/bank",
        "mariadb://me:s3cret@host",
        "mariadb://me:s3cret@host/",
        "mariadb://me:s3cret@host:/bank",
        "mariadb://me:s3cret@host:0/bank",
        "mariadb://me:s3cret@host:65536/bank",
        "mariadb://me:s3cret@host:33x/bank",
        "mariadb://me:s3cret%@host/bank",
        "mariadb://me:s3cret%0@host/bank",
        "mariadb://me:s3cret%00@host/bank",
        "mariadb://me:s3cret@h%zz/bank",
        "mariadb://me:s3cret@host/b%nk",
        "mariadb://me:s3cret@[::1/bank",
        "mariadb://me:s3cret@host/bank?",
        "mariadb://me:s3cret@host/bank?socket",
        "mariadb://me:s3cret@host/bank?socket=",
        "mariadb://me:s3cret@host/bank?x=y",
        "mariadb://me:s3cret@host/bank?ssl_verify=1",
    };
    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        struct maria_url url;
        struct tpc_err err = {0};
        assert_int_equal(maria_url_parse(none[i], &url, &err), TPC_EINVAL);
        assert_null(strstr(err.text, "s3cret"));
        assert_null(url.user);
        assert_null(url.socket);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maria_url__parts_are_told_apart_and_decoded),
        cmocka_unit_test(test_maria_url__what_is_none_is_refused_without_its_password),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
