/* What a client submits. */
#include "tests/unit/api/codec.h"

static const struct api_codec_limits limits = {
    .branches = 3, .statements = 4, .params = 5, .timeout_ms_max = 60000};

static const char transfer[] =
    "{ \"label\": \"alice to bob, 30\", \"timeout_ms\": 5000, \"ack\": \"decided\",\n"
    "  \"isolation\": \"serializable\",\n"
    "  \"branches\": [\n"
    "    { \"participant\": \"east\", \"statements\": [\n"
    "      { \"sql\": \"UPDATE a SET b = b - ? WHERE id = ?\", \"params\": [30, 1.5, 30],\n"
    "        \"expect\": { \"rows\": 1 } },\n"
    "      { \"sql\": \"SELECT b FROM a\" } ] },\n"
    "    { \"participant\": \"west\", \"statements\": [\n"
    "      { \"sql\": \"X\", \"params\": [\"\\u00e9\", null, true, {\"int64\":"
    " \"9007199254740993\"}, {\"blob\": \"AAH/\"}],\n"
    "        \"expect\": {\"rows\": {\"min\": 1, \"max\": 5}} } ] } ] }";

static void refused(const char *body, const char *field, const char *words)
{
    struct api_submit submit;
    memset(&submit, 0xA5, sizeof(submit));
    struct api_refusal refusal = {0};
    assert_int_equal(api_submit_decode(body, strlen(body), &limits, &submit, &refusal), TPC_EINVAL);
    assert_refusal(&refusal, TPC_EINVAL, field, words, body);
    assert_null(submit.branches);
    assert_null(submit.label);
}

static struct api_submit accepted(const char *body)
{
    struct api_submit submit;
    struct api_refusal refusal = {0};
    enum tpc_rc rc = api_submit_decode(body, strlen(body), &limits, &submit, &refusal);
    if (rc) {
        fail_msg("%s\n  %s: %s", body, refusal.field, refusal.detail);
    }
    return submit;
}

/* The body with @param as the only parameter of the only statement. */
static const char *with_param(const char *param)
{
    static char body[4096];
    (void)snprintf(body, sizeof(body),
                   "{\"branches\":[{\"participant\":\"p\",\"statements\":[{\"sql\":\"S\"},"
                   "{\"sql\":\"S\",\"params\":[0,%s]}]}]}",
                   param);
    return body;
}

static const char *with_expect(const char *expect)
{
    static char body[4096];
    (void)snprintf(body, sizeof(body),
                   "{\"branches\":[{\"participant\":\"p\",\"statements\":[{\"sql\":\"S\","
                   "\"expect\":%s}]}]}",
                   expect);
    return body;
}

static void test_submit__whole(void **state)
{
    (void)state;
    struct api_submit submit = accepted(transfer);
    assert_string_equal(submit.label, "alice to bob, 30");
    assert_int_equal(submit.timeout_ms, 5000);
    assert_int_equal(submit.ack, API_ACK_DECIDED);
    assert_int_equal(submit.isolation, API_ISOLATION_SERIALIZABLE);
    assert_int_equal(submit.branch_count, 2);
    assert_string_equal(submit.branches[0].participant, "east");
    assert_string_equal(submit.branches[0].statements,
                        "[{\"sql\":\"UPDATE a SET b = b - ? WHERE id = ?\",\"params\":[30,1.5,30],"
                        "\"expect\":{\"rows\":1}},{\"sql\":\"SELECT b FROM a\"}]");
    assert_string_equal(submit.branches[1].participant, "west");
    assert_string_equal(submit.branches[1].statements,
                        "[{\"sql\":\"X\",\"params\":[\"\xC3\xA9\",null,true,"
                        "{\"int64\":\"9007199254740993\"},{\"blob\":\"AAH/\"}],"
                        "\"expect\":{\"rows\":{\"min\":1,\"max\":5}}}]");
    assert_int_equal(submit.branches[1].statements_size, strlen(submit.branches[1].statements));
    api_submit_done(&submit);
    assert_null(submit.branches);
}

static void test_submit__defaults(void **state)
{
    (void)state;
    struct api_submit submit =
        accepted("{\"open\":false,\"branches\":[{\"participant\":\"p\",\"statements\":"
                 "[{\"sql\":\"S\"}]}]}");
    assert_null(submit.label);
    assert_int_equal(submit.timeout_ms, 10000);
    assert_int_equal(submit.ack, API_ACK_APPLIED);
    assert_int_equal(submit.isolation, API_ISOLATION_DEFAULT);
    api_submit_done(&submit);
}

static void test_submit__malformed_is_400_with_the_offset(void **state)
{
    (void)state;
    struct api_submit submit;
    struct api_refusal refusal = {0};
    const char *body = "{\"branches\": [}";
    assert_int_equal(api_submit_decode(body, strlen(body), &limits, &submit, &refusal),
                     TPC_ESYNTAX);
    assert_refusal(&refusal, TPC_ESYNTAX, "", "at byte 14", body);
    assert_int_equal(api_submit_decode("", 0, &limits, &submit, &refusal), TPC_ESYNTAX);
    assert_int_equal(api_submit_decode(transfer, sizeof(transfer) / 2, &limits, &submit, NULL),
                     TPC_ESYNTAX);
}

static void test_submit__unknown_members_are_named(void **state)
{
    (void)state;
    refused("{\"colour\":1}", "colour", "known here: label, timeout_ms");
    refused("{\"timeout\":1}", "timeout", "is no known member");
    refused("{\"branchs\":[]}", "branchs", "did you mean \"branches\"?");
    refused("{\"branches\":[{\"participant\":\"p\",\"statements\":[{\"sql\":\"S\"}],\"x\":1}]}",
            "branches[0].x", "known here: participant, statements");
    refused("{\"branches\":[{\"participant\":\"p\",\"statements\":[{\"SQL\":\"S\"}]}]}",
            "branches[0].statements[0].SQL", "is no known member");
    refused(with_expect("{\"row\":1}"), "branches[0].statements[0].expect.row", "mean \"rows\"");
    refused(with_expect("{\"rows\":{\"mim\":1}}"), "branches[0].statements[0].expect.rows.mim",
            "mean \"min\"");
    refused(with_param("{\"int\":\"1\"}"), "branches[0].statements[1].params[1].int",
            "is no known member");
}

static void test_submit__wrong_types_are_named(void **state)
{
    (void)state;
    refused("[]", "", "must be an object, not an array");
    refused("3", "", "must be an object, not a number");
    refused("{\"label\":1}", "label", "must be a string, not a number");
    refused("{\"label\":null}", "label", "must be a string, not null");
    refused("{\"timeout_ms\":\"5s\"}", "timeout_ms", "must be a number, not a string");
    refused("{\"ack\":true}", "ack", "must be a string, not true or false");
    refused("{\"open\":1}", "open", "must be true or false, not a number");
    refused("{\"branches\":{}}", "branches", "must be an array, not an object");
    refused("{\"branches\":[3]}", "branches[0]", "must be an object, not a number");
    refused("{\"branches\":[{\"participant\":3}]}", "branches[0].participant", "must be a string");
    refused("{\"branches\":[{\"participant\":\"p\",\"statements\":\"S\"}]}",
            "branches[0].statements", "must be an array, not a string");
    refused("{\"branches\":[{\"participant\":\"p\",\"statements\":[\"S\"]}]}",
            "branches[0].statements[0]", "must be an object, not a string");
    refused("{\"branches\":[{\"participant\":\"p\",\"statements\":[{\"sql\":5}]}]}",
            "branches[0].statements[0].sql", "must be a string");
    refused("{\"branches\":[{\"participant\":\"p\",\"statements\":[{\"sql\":\"S\",\"params\":"
            "{}}]}]}",
            "branches[0].statements[0].params", "must be an array");
}

static void test_submit__what_is_required(void **state)
{
    (void)state;
    refused("{}", "branches", "is required");
    refused("{\"branches\":[]}", "branches", "must have 1 to 3 elements, has 0");
    refused("{\"branches\":[{}]}", "branches[0].participant", "is required: a string");
    refused("{\"branches\":[{\"participant\":\"p\"}]}", "branches[0].statements", "is required");
    refused("{\"branches\":[{\"participant\":\"p\",\"statements\":[]}]}", "branches[0].statements",
            "must have 1 to 4 elements, has 0");
    refused("{\"branches\":[{\"participant\":\"p\",\"statements\":[{}]}]}",
            "branches[0].statements[0].sql", "is required");
    refused("{\"branches\":[{\"participant\":\"p\",\"statements\":[{\"sql\":\"\"}]}]}",
            "branches[0].statements[0].sql", "must not be empty");
}

static void test_submit__ranges(void **state)
{
    (void)state;
    refused("{\"timeout_ms\":0}", "timeout_ms", "from 1 to 60000");
    refused("{\"timeout_ms\":60001}", "timeout_ms", "from 1 to 60000");
    refused("{\"timeout_ms\":1.5}", "timeout_ms", "whole number");
    refused("{\"timeout_ms\":-1}", "timeout_ms", "whole number");
    refused("{\"timeout_ms\":1e999}", "timeout_ms", "whole number");
    refused("{\"ack\":\"maybe\"}", "ack", "must be \"applied\" or \"decided\", not \"maybe\"");
    refused("{\"isolation\":\"snapshot\"}", "isolation",
            "must be \"default\" or \"serializable\", not \"snapshot\"");
    refused("{\"open\":true,\"branches\":[]}", "branches", "cannot come with \"open\"");
    refused("{\"branches\":[1,2,3,4]}", "branches", "must have 1 to 3 elements, has 4");
    refused("{\"branches\":[{\"participant\":\"p\",\"statements\":[1,2,3,4,5]}]}",
            "branches[0].statements", "must have 1 to 4 elements, has 5");
    refused("{\"branches\":[{\"participant\":\"p\",\"statements\":[{\"sql\":\"S\",\"params\":"
            "[1,2,3,4,5,6]}]}]}",
            "branches[0].statements[0].params", "must have 0 to 5 elements, has 6");
}

static void test_submit__open(void **state)
{
    (void)state;
    struct api_submit submit =
        accepted("{\"open\":true,\"timeout_ms\":5,\"isolation\":\"serializable\"}");
    assert_true(submit.open);
    assert_int_equal(submit.branch_count, 0);
    assert_int_equal(submit.timeout_ms, 5);
    assert_int_equal(submit.isolation, API_ISOLATION_SERIALIZABLE);
    api_submit_done(&submit);
}

static void test_execute__one_participant_and_its_statements(void **state)
{
    (void)state;
    static const char good[] = "{\"participant\":\"east\",\"statements\":[{\"sql\": \"S\"}]}";
    static const char *const bad[] = {"{\"participant\":\"east\"}",
                                      "{\"statements\":[{\"sql\":\"S\"}]}",
                                      "{\"participant\":\"east\",\"statements\":[]}", "[]"};
    const struct api_codec_limits defaults = {0};
    struct api_submit_branch work;
    struct api_refusal refusal;
    assert_int_equal(api_execute_decode(good, strlen(good), &defaults, &work, &refusal), TPC_OK);
    assert_string_equal(work.participant, "east");
    assert_string_equal(work.statements, "[{\"sql\":\"S\"}]");
    api_submit_branch_done(&work);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(api_execute_decode(bad[i], strlen(bad[i]), &defaults, &work, &refusal),
                         TPC_EINVAL);
        assert_null(work.participant);
    }
}

static void test_submit__label_has_at_most_256_characters(void **state)
{
    (void)state;
    static const char tail[] = "\",\"branches\":[{\"participant\":\"p\",\"statements\":"
                               "[{\"sql\":\"S\"}]}]}";
    struct tpc_buf body = {0};
    tpc_buf_adds(&body, "{\"label\":\"");
    for (int i = 0; i < 256; i++) {
        tpc_buf_adds(&body, "\xC3\xA9"); /* two bytes, one character */
    }
    size_t size = body.size;
    tpc_buf_adds(&body, tail);
    struct api_submit submit = accepted(body.data);
    assert_int_equal(strlen(submit.label), 512);
    api_submit_done(&submit);
    body.size = size;
    tpc_buf_addc(&body, 'x');
    tpc_buf_adds(&body, tail);
    refused(body.data, "label", "at most 256 characters, has 257");
    tpc_buf_done(&body);
}

static void test_submit__sql_has_at_most_1_mib(void **state)
{
    (void)state;
    size_t size = (size_t)1 << 20;
    struct tpc_buf body = {0};
    tpc_buf_adds(&body, "{\"branches\":[{\"participant\":\"p\",\"statements\":[{\"sql\":\"");
    char *sql = tpc_buf_reserve(&body, size);
    assert_non_null(sql);
    memset(sql, 'x', size);
    body.size += size;
    size_t end = body.size;
    tpc_buf_adds(&body, "\"}]}]}");
    struct api_submit submit = accepted(body.data);
    api_submit_done(&submit);
    body.size = end;
    tpc_buf_adds(&body, "x\"}]}]}");
    refused(body.data, "branches[0].statements[0].sql", "at most 1048576 bytes, has 1048577");
    tpc_buf_done(&body);
}

static void test_submit__participants_are_named_once(void **state)
{
    (void)state;
    refused("{\"branches\":[{\"participant\":\"p\",\"statements\":[{\"sql\":\"S\"}]},"
            "{\"participant\":\"q\",\"statements\":[{\"sql\":\"S\"}]},"
            "{\"participant\":\"p\",\"statements\":[{\"sql\":\"S\"}]}]}",
            "branches[2].participant", "\"p\" stands in branches[0] already");
    refused("{\"branches\":[{\"participant\":\"../x\",\"statements\":[{\"sql\":\"S\"}]}]}",
            "branches[0].participant", "must be a participant's name");
}

static void test_submit__numbers_a_double_cannot_hold(void **state)
{
    (void)state;
    static const char field[] = "branches[0].statements[1].params[1]";
    refused(with_param("9007199254740993"), field, "{\"int64\": \"");
    refused(with_param("-9007199254740992"), field, "cannot hold");
    refused(with_param("123456789012345678901234567890"), field, "cannot hold");
    refused(with_param("1e400"), field, "cannot hold");
    refused(with_param("-1E+309"), field, "cannot hold");
    struct api_submit submit = accepted(with_param("9007199254740991"));
    api_submit_done(&submit);
    submit = accepted(with_param("1e300,0.1,-0.0"));
    assert_non_null(strstr(submit.branches[0].statements, "[0,1e+300,0.1,-0.0]"));
    api_submit_done(&submit);
}

static void test_submit__typed_parameters(void **state)
{
    (void)state;
    static const char field[] = "branches[0].statements[1].params[1]";
    static const char int64[] = "branches[0].statements[1].params[1].int64";
    static const char blob[] = "branches[0].statements[1].params[1].blob";
    static const char *const bad_int64[] = {
        "\"\"",    "\"-\"",   "\"+1\"", "\"01\"",   "\"-0\"",
        "\"1.0\"", "\"1e3\"", "\" 1\"", "\"0x10\"", "\"9223372036854775808\"",
        "\"1 \"",  "\"x\"",
    };
    for (size_t i = 0; i < sizeof(bad_int64) / sizeof(bad_int64[0]); i++) {
        char param[80];
        (void)snprintf(param, sizeof(param), "{\"int64\":%s}", bad_int64[i]);
        refused(with_param(param), int64, "must be a decimal integer");
    }
    refused(with_param("{\"int64\":5}"), int64, "must be a string, not a number");
    static const char *const bad_blob[] = {"A",    "AA",   "AAA",      "AA=A", "A===",    "====",
                                           "AB==", "AAB=", "AA==AAAA", "AA-_", "AAAA\\n", "AA A"};
    for (size_t i = 0; i < sizeof(bad_blob) / sizeof(bad_blob[0]); i++) {
        char param[80];
        (void)snprintf(param, sizeof(param), "{\"blob\":\"%s\"}", bad_blob[i]);
        refused(with_param(param), blob, "must be base64");
    }
    refused(with_param("{}"), field, "must have one member");
    refused(with_param("{\"int64\":\"1\",\"blob\":\"\"}"), field, "must have one member");
    refused(with_param("[1]"), field, "not an array");
}

static void test_submit__expect(void **state)
{
    (void)state;
    static const char rows[] = "branches[0].statements[0].expect.rows";
    refused(with_expect("1"), "branches[0].statements[0].expect", "must be an object");
    refused(with_expect("{}"), rows, "is required");
    refused(with_expect("{\"rows\":\"1\"}"), rows, "must be a number or {");
    refused(with_expect("{\"rows\":null}"), rows, "must be a number or {");
    refused(with_expect("{\"rows\":-1}"), rows, "whole number");
    refused(with_expect("{\"rows\":1.5}"), rows, "whole number");
    refused(with_expect("{\"rows\":{}}"), rows, "must have \"min\", \"max\" or both");
    refused(with_expect("{\"rows\":{\"min\":3,\"max\":2}}"), rows, "greater");
    refused(with_expect("{\"rows\":{\"min\":\"3\"}}"), "branches[0].statements[0].expect.rows.min",
            "must be a number");
    static const char *const good[] = {"{\"rows\":0}", "{\"rows\":{\"min\":1}}",
                                       "{\"rows\":{\"max\":1}}",
                                       "{\"rows\":{\"min\":1,\"max\":1}}"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct api_submit submit = accepted(with_expect(good[i]));
        assert_non_null(strstr(submit.branches[0].statements, good[i]));
        api_submit_done(&submit);
    }
}

static void test_submit__long_paths_and_names_are_cut(void **state)
{
    (void)state;
    struct tpc_buf body = {0};
    tpc_buf_adds(&body, "{\"");
    for (int i = 0; i < 1000; i++) {
        tpc_buf_addc(&body, 'n');
    }
    tpc_buf_adds(&body, "\":1}");
    struct api_submit submit;
    struct api_refusal refusal = {0};
    assert_int_equal(api_submit_decode(body.data, body.size, &limits, &submit, &refusal),
                     TPC_EINVAL);
    assert_int_equal(strlen(refusal.field), sizeof(refusal.field) - 1);
    tpc_buf_done(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_submit__whole),
        cmocka_unit_test(test_submit__defaults),
        cmocka_unit_test(test_submit__malformed_is_400_with_the_offset),
        cmocka_unit_test(test_submit__unknown_members_are_named),
        cmocka_unit_test(test_submit__wrong_types_are_named),
        cmocka_unit_test(test_submit__what_is_required),
        cmocka_unit_test(test_submit__ranges),
        cmocka_unit_test(test_submit__open),
        cmocka_unit_test(test_execute__one_participant_and_its_statements),
        cmocka_unit_test(test_submit__label_has_at_most_256_characters),
        cmocka_unit_test(test_submit__sql_has_at_most_1_mib),
        cmocka_unit_test(test_submit__participants_are_named_once),
        cmocka_unit_test(test_submit__numbers_a_double_cannot_hold),
        cmocka_unit_test(test_submit__typed_parameters),
        cmocka_unit_test(test_submit__expect),
        cmocka_unit_test(test_submit__long_paths_and_names_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
