/* Problem documents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/problem.h"

static void test_problem__members_may_be_added(void **state)
{
    (void)state;
    struct tpc_buf out = {0};
    api_problem_begin(&out, "aborted", "The transaction was aborted", 409, "because", NULL);
    api_jw_key(&out, "retryable");
    api_jw_bool(&out, true);
    api_jw_close(&out, '}');
    assert_string_equal(out.data, "{\"type\":\"urn:assent:problem:aborted\","
                                  "\"title\":\"The transaction was aborted\",\"status\":409,"
                                  "\"detail\":\"because\",\"retryable\":true}");
    tpc_buf_done(&out);
}

static void test_problem__refusal_names_the_field(void **state)
{
    (void)state;
    struct api_refusal refusal = {
        .rc = TPC_EINVAL, .field = "branches[0].participant", .detail = "must be \"a string\""};
    struct tpc_buf out = {0};
    int status = 0;
    api_problem_refusal(&out, &refusal, &status);
    assert_int_equal(status, 422);
    assert_string_equal(out.data, "{\"type\":\"urn:assent:problem:invalid\","
                                  "\"title\":\"The request is not allowed\",\"status\":422,"
                                  "\"detail\":\"must be \\\"a string\\\"\","
                                  "\"field\":\"branches[0].participant\"}");
    tpc_buf_done(&out);
}

static void test_problem__refusal_has_the_status_of_its_code(void **state)
{
    (void)state;
    static const struct {
        enum tpc_rc rc;
        int status;
    } cases[] = {{TPC_ESYNTAX, 400}, {TPC_EINVAL, 422}, {TPC_ENOTSUP, 422},
                 {TPC_ETOOBIG, 413}, {TPC_ENOMEM, 503}, {TPC_ENOTFOUND, 404}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct api_refusal refusal = {.rc = cases[i].rc};
        struct tpc_buf out = {0};
        int status = 0;
        api_problem_refusal(&out, &refusal, &status);
        assert_int_equal(status, cases[i].status);
        struct api_json *root = NULL;
        assert_int_equal(api_json_parse(out.data, out.size, &root, NULL), TPC_OK);
        assert_non_null(api_json_string(api_json_get(root, "title")));
        assert_null(api_json_get(root, "field"));
        api_json_free(root);
        tpc_buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_problem__members_may_be_added),
        cmocka_unit_test(test_problem__refusal_names_the_field),
        cmocka_unit_test(test_problem__refusal_has_the_status_of_its_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
