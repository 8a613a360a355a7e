#include "tests/unit/base/unit.h"

#include "base/hash.h"

#include <string.h>

/* From vectors_sip128 of the reference code: input 00 01 02 ... of the length given. */
static void check_vector(size_t length, const char *expected)
{
    uint8_t input[64];
    for (size_t i = 0; i < sizeof input; i++) {
        input[i] = (uint8_t)i;
    }
    struct tpc_id digest;
    char text[TPC_ID_TEXT];
    tpc_digest(input, length, &digest);
    assert_string_equal(tpc_id_format(&digest, text), expected);
}

static void test_digest__matches_the_published_vectors(void **state)
{
    (void)state;
    check_vector(0, "a3817f04-ba25-a8e6-6df6-7214c7550293");
    check_vector(1, "da87c1d8-6b99-af44-3476-59119b22fc45");
    check_vector(2, "8177228d-a4a4-5dc7-fca3-8bdef60affe4");
}

static void test_digest__tells_bodies_apart(void **state)
{
    (void)state;
    struct tpc_id a, b, c;
    tpc_digest("{\"x\":1}\0", 8, &a);
    tpc_digest("{\"x\":1}", 7, &b);
    tpc_digest("{\"x\":2}", 7, &c);
    assert_false(tpc_id_equal(&a, &b));
    assert_false(tpc_id_equal(&b, &c));
    tpc_digest("{\"x\":1}", 7, &c);
    assert_true(tpc_id_equal(&b, &c));
    tpc_digest(NULL, 0, &a);
    tpc_digest("", 0, &b);
    assert_true(tpc_id_equal(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digest__matches_the_published_vectors),
        cmocka_unit_test(test_digest__tells_bodies_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
