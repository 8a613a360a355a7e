#include "tests/unit/base/unit.h"

#include "base/suggest.h"

#include <string.h>

static const char *nearest(const char *word)
{
    static const char *const known[] = {"listen", "admin-listen", "data", "log-level", "name"};
    struct tpc_suggest suggest;
    tpc_suggest_init(&suggest, word, strlen(word));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        tpc_suggest_offer(&suggest, known[i]);
    }
    return suggest.nearest;
}

static void test_suggest__finds_the_nearest(void **state)
{
    (void)state;
    assert_string_equal(nearest("lisen"), "listen");
    assert_string_equal(nearest("dta"), "data");
    assert_string_equal(nearest("admin_listen"), "admin-listen");
    assert_string_equal(nearest("loglevel"), "log-level");
}

static void test_suggest__is_silent_on_other_words(void **state)
{
    (void)state;
    assert_null(nearest("zebra"));
    assert_null(nearest(""));
    assert_null(nearest("x"));
    assert_null(nearest("listen-listen-listen-listen-listen-listen-listen-listen-listen-listen-x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suggest__finds_the_nearest),
        cmocka_unit_test(test_suggest__is_silent_on_other_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
