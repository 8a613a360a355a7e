/* What a coordinator tells a participant, and the statements as the participant gets them. */
#include "tests/unit/api/codec.h"

static const struct api_codec_limits limits = {.statements = 4, .params = 8};

#define COORDINATOR                                                                                \
    "\"coordinator\":{\"id\":\"" ID_C "\",\"url\":\"http://127.0.0.1:7400\",\"generation\":7,"     \
    "\"nonce\":\"" ID_B "\"}"

static const char *with_messages(const char *messages)
{
    static char body[8192];
    (void)snprintf(body, sizeof(body), "{" COORDINATOR ",\"messages\":[%s]}", messages);
    return body;
}

/* A prepare with @params as the parameters of its only statement. */
static const char *with_params(const char *params)
{
    static char message[4096];
    (void)snprintf(message, sizeof(message),
                   "{\"op\":\"prepare\",\"gtid\":\"" ID_A "\",\"statements\":[{\"sql\":\"S\","
                   "\"params\":[%s]}]}",
                   params);
    return with_messages(message);
}

static void refused(const char *body, const char *field, const char *words)
{
    struct api_envelope envelope;
    memset(&envelope, 0xA5, sizeof(envelope));
    struct api_refusal refusal = {0};
    assert_int_equal(api_envelope_decode(body, strlen(body), &limits, 5, &envelope, &refusal),
                     TPC_EINVAL);
    assert_refusal(&refusal, TPC_EINVAL, field, words, body);
    assert_null(envelope.messages);
}

static struct api_envelope accepted(const char *body)
{
    struct api_envelope envelope;
    struct api_refusal refusal = {0};
    enum tpc_rc rc = api_envelope_decode(body, strlen(body), &limits, 5, &envelope, &refusal);
    if (rc) {
        fail_msg("%s\n  %s: %s", body, refusal.field, refusal.detail);
    }
    return envelope;
}

static void test_envelope__whole(void **state)
{
    (void)state;
    struct api_envelope envelope = accepted(with_messages(
        "{\"op\":\"prepare\",\"gtid\":\"" ID_A "\",\"began_us\":1763632800123456,"
        "\"timeout_ms\":5000,\"one_phase\":true,\"isolation\":\"serializable\","
        "\"statements\":[{\"sql\":\"S\",\"params\":[1],\"expect\":{\"rows\":2}},{\"sql\":\"T\","
        "\"expect\":{\"rows\":{\"min\":1}}}]},"
        "{\"op\":\"commit\",\"gtid\":\"" ID_B "\"},"
        "{\"op\":\"abort\",\"gtid\":\"" ID_C "\",\"one_phase\":true}"));
    assert_id(&envelope.coordinator.id, ID_C);
    assert_id(&envelope.coordinator.nonce, ID_B);
    assert_int_equal(envelope.coordinator.generation, 7);
    assert_string_equal(envelope.coordinator.url, "http://127.0.0.1:7400");
    assert_int_equal(envelope.count, 3);
    const struct api_message *prepare = &envelope.messages[0];
    assert_int_equal(prepare->op, API_OP_PREPARE);
    assert_true(prepare->gtid_valid);
    assert_id(&prepare->gtid, ID_A);
    assert_int_equal(prepare->began_us, 1763632800123456);
    assert_int_equal(prepare->timeout_ms, 5000);
    assert_true(prepare->one_phase);
    assert_int_equal(prepare->isolation, API_ISOLATION_SERIALIZABLE);
    assert_int_equal(prepare->statements.count, 2);
    const struct api_statement *statement = prepare->statements.items;
    assert_string_equal(statement[0].sql, "S");
    assert_int_equal(statement[0].param_count, 1);
    assert_true(statement[0].has_expect);
    assert_int_equal(statement[0].expect_min, 2);
    assert_int_equal(statement[0].expect_max, 2);
    assert_int_equal(statement[1].param_count, 0);
    assert_int_equal(statement[1].expect_min, 1);
    assert_true(statement[1].expect_max == UINT64_MAX);
    assert_int_equal(envelope.messages[1].op, API_OP_COMMIT);
    assert_false(envelope.messages[1].one_phase);
    assert_int_equal(envelope.messages[2].op, API_OP_ABORT);
    assert_true(envelope.messages[2].one_phase);
    api_envelope_done(&envelope);
}

static void test_envelope__what_is_not_told(void **state)
{
    (void)state;
    struct api_envelope envelope = accepted(with_params(""));
    const struct api_message *prepare = envelope.messages;
    assert_true(prepare->began_us == (UINT64_C(1) << 53) - 1);
    assert_int_equal(prepare->timeout_ms, 10000);
    assert_false(prepare->one_phase);
    assert_int_equal(prepare->isolation, API_ISOLATION_DEFAULT);
    assert_false(prepare->statements.items[0].has_expect);
    assert_null(prepare->statements.items[0].params);
    api_envelope_done(&envelope);
}

static void test_envelope__steps_of_an_interactive_branch(void **state)
{
    (void)state;
    struct api_envelope envelope =
        accepted(with_messages("{\"op\":\"execute\",\"gtid\":\"" ID_A
                               "\",\"executed\":2,\"statements\":[{\"sql\":\"S\"}]},"
                               "{\"op\":\"prepare\",\"gtid\":\"" ID_A "\",\"executed\":3}"));
    assert_int_equal(envelope.messages[0].op, API_OP_EXECUTE);
    assert_int_equal(envelope.messages[0].executed, 2);
    assert_int_equal(envelope.messages[0].statements.count, 1);
    assert_int_equal(envelope.messages[1].executed, 3);
    assert_int_equal(envelope.messages[1].statements.count, 0);
    api_envelope_done(&envelope);
    refused(with_messages("{\"op\":\"prepare\",\"gtid\":\"" ID_A
                          "\",\"executed\":1,\"statements\":[{\"sql\":\"S\"}]}"),
            "messages[0].statements", "cannot come with the prepare of an interactive branch");
    refused(with_messages("{\"op\":\"execute\",\"gtid\":\"" ID_A "\",\"executed\":1}"),
            "messages[0].statements", "is required");
    refused(with_messages("{\"op\":\"commit\",\"gtid\":\"" ID_A "\",\"executed\":1}"),
            "messages[0].executed", "only, not for \"commit\"");
}

static void test_envelope__a_long_timeout_is_cut(void **state)
{
    (void)state;
    struct api_envelope envelope = accepted(with_messages(
        "{\"op\":\"prepare\",\"gtid\":\"" ID_A "\",\"timeout_ms\":9000000000,\"statements\":"
        "[{\"sql\":\"S\"}]}"));
    assert_int_equal(envelope.messages[0].timeout_ms, 3600000);
    api_envelope_done(&envelope);
}

static void test_envelope__invalid_gtid_spares_the_others(void **state)
{
    (void)state;
    struct api_envelope envelope = accepted(with_messages(
        "{\"op\":\"commit\",\"gtid\":\"x'; DROP TABLE t; --\"},"
        "{\"op\":\"commit\",\"gtid\":\"" ID_B "\"},"
        "{\"op\":\"abort\",\"gtid\":\"012345678901234567890123456789012345678901234567890123456789"
        "0123456789\"}"));
    assert_false(envelope.messages[0].gtid_valid);
    assert_string_equal(envelope.messages[0].gtid_text, "x'; DROP TABLE t; --");
    assert_true(envelope.messages[1].gtid_valid);
    assert_false(envelope.messages[2].gtid_valid);
    assert_int_equal(strlen(envelope.messages[2].gtid_text), 63);
    api_envelope_done(&envelope);
}

static void test_envelope__refusals_name_the_field(void **state)
{
    (void)state;
    refused("{}", "coordinator", "is required");
    refused("{\"messages\":[],\"x\":1}", "x", "is no known member");
    refused("{" COORDINATOR "}", "messages", "is required");
    refused(with_messages(""), "messages", "must have 1 to 5 elements, has 0");
    refused(with_messages("1,2,3,4,5,6"), "messages", "must have 1 to 5 elements, has 6");
    refused(with_messages("1"), "messages[0]", "must be an object");
    refused(with_messages("{\"gtid\":\"" ID_A "\"}"), "messages[0].op", "is required");
    refused(with_messages("{\"op\":\"commit\",\"gtid\":\"" ID_A "\"},"
                          "{\"op\":\"vote\",\"gtid\":\"" ID_A "\"}"),
            "messages[1].op",
            "must be \"prepare\" or \"commit\" or \"abort\" or \"execute\", not \"vote\"");
    refused(with_messages("{\"op\":\"commit\"}"), "messages[0].gtid", "is required");
    refused(with_messages("{\"op\":\"commit\",\"gtid\":5}"), "messages[0].gtid",
            "must be a string");
    refused(with_messages("{\"op\":\"commit\",\"gtid\":\"" ID_A "\",\"statements\":[]}"),
            "messages[0].statements",
            "is for \"prepare\" and \"execute\" only, not for \"commit\"");
    refused(with_messages("{\"op\":\"prepare\",\"gtid\":\"" ID_A "\"}"), "messages[0].statements",
            "is required");
    refused(with_messages("{\"op\":\"prepare\",\"gtid\":\"" ID_A "\",\"began_us\":-1}"),
            "messages[0].began_us", "whole number");
    refused(with_messages("{\"op\":\"prepare\",\"gtid\":\"" ID_A "\",\"one_phase\":1}"),
            "messages[0].one_phase", "must be true or false");
    refused(with_messages("{\"op\":\"prepare\",\"gtid\":\"" ID_A "\",\"isolation\":\"none\"}"),
            "messages[0].isolation", "must be \"default\" or");
    refused(with_params("1,\"x\",9007199254740993"), "messages[0].statements[0].params[2]",
            "int64");
}

static void coordinator_refused(const char *coordinator, const char *field, const char *words)
{
    char body[1024];
    (void)snprintf(body, sizeof(body), "{\"coordinator\":%s,\"messages\":[]}", coordinator);
    refused(body, field, words);
}

static void test_envelope__coordinator_is_checked(void **state)
{
    (void)state;
    coordinator_refused("1", "coordinator", "must be an object");
    coordinator_refused("{\"id\":\"x\"}", "coordinator.id", "must be a UUID");
    coordinator_refused("{\"id\":\"" ID_A "\"}", "coordinator.generation", "is required");
    coordinator_refused("{\"id\":\"" ID_A "\",\"generation\":1.5}", "coordinator.generation",
                        "whole number");
    coordinator_refused("{\"id\":\"" ID_A "\",\"generation\":1}", "coordinator.nonce",
                        "is required");
    coordinator_refused("{\"id\":\"" ID_A "\",\"generation\":1,\"nonce\":\"" ID_B "\"}",
                        "coordinator.url", "is required");
    coordinator_refused("{\"id\":\"" ID_A "\",\"generation\":1,\"nonce\":\"" ID_B
                        "\",\"url\":\"file:///etc\"}",
                        "coordinator.url", "must be a URL");
}

static void test_envelope__malformed_is_400(void **state)
{
    (void)state;
    struct api_envelope envelope;
    struct api_refusal refusal = {0};
    assert_int_equal(api_envelope_decode("{", 1, &limits, 5, &envelope, &refusal), TPC_ESYNTAX);
    assert_refusal(&refusal, TPC_ESYNTAX, "", "at byte 1", "{");
}

static void test_statements__every_type_of_parameter(void **state)
{
    (void)state;
    struct api_envelope envelope =
        accepted(with_params("null,false,-5,1.5,\"\\u00e9\",{\"int64\":\"-9223372036854775808\"},"
                             "{\"blob\":\"AAEC/w==\"},3.0"));
    const struct api_value *params = envelope.messages[0].statements.items[0].params;
    assert_int_equal(params[0].type, API_NULL);
    assert_int_equal(params[1].type, API_BOOL);
    assert_false(params[1].boolean);
    assert_int_equal(params[2].type, API_INT64);
    assert_int_equal(params[2].int64, -5);
    assert_int_equal(params[3].type, API_DOUBLE);
    assert_true(params[3].real == 1.5);
    assert_int_equal(params[4].type, API_TEXT);
    assert_string_equal(params[4].bytes.data, "\xC3\xA9");
    assert_int_equal(params[4].bytes.size, 2);
    assert_int_equal(params[5].type, API_INT64);
    assert_true(params[5].int64 == INT64_MIN);
    assert_int_equal(params[6].type, API_BLOB);
    assert_int_equal(params[6].bytes.size, 4);
    assert_memory_equal(params[6].bytes.data, "\x00\x01\x02\xFF", 5);
    assert_int_equal(params[7].type, API_INT64);
    assert_int_equal(params[7].int64, 3);
    api_envelope_done(&envelope);

    envelope = accepted(with_params("9007199254740991,-9007199254740991,1e22,-0.0,0,"
                                    "{\"blob\":\"\"},\"\",5e-324"));
    params = envelope.messages[0].statements.items[0].params;
    assert_int_equal(params[0].int64, 9007199254740991);
    assert_int_equal(params[1].int64, -9007199254740991);
    assert_int_equal(params[2].type, API_DOUBLE);
    assert_int_equal(params[3].type, API_DOUBLE);
    assert_int_equal(params[4].type, API_INT64);
    assert_int_equal(params[5].bytes.size, 0);
    assert_int_equal(params[6].bytes.size, 0);
    assert_true(params[7].real > 0);
    api_envelope_done(&envelope);
}

static void test_value_write__as_parameters_are_written(void **state)
{
    (void)state;
    const struct api_value values[] = {
        {.type = API_NULL},
        {.type = API_BOOL, .boolean = true},
        {.type = API_INT64, .int64 = 9007199254740991},
        {.type = API_INT64, .int64 = 9007199254740992},
        {.type = API_INT64, .int64 = INT64_MIN},
        {.type = API_DOUBLE, .real = 0.1},
        {.type = API_TEXT, .bytes = {.data = (char[]){"a\"b"}, .size = 3}},
        {.type = API_BLOB, .bytes = {.data = (char[]){"\x00\x01\x02\xFF"}, .size = 4}},
        {.type = API_BLOB, .bytes = {.data = (char[]){"abc"}, .size = 3}},
        {.type = API_BLOB, .bytes = {.data = (char[]){"ab"}, .size = 2}},
        {.type = API_BLOB, .bytes = {.data = NULL, .size = 0}},
    };
    struct tpc_buf out = {0};
    api_jw_open(&out, '[');
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        api_value_write(&out, &values[i]);
    }
    api_jw_close(&out, ']');
    assert_string_equal(
        out.data, "[null,true,9007199254740991,{\"int64\":\"9007199254740992\"},"
                  "{\"int64\":\"-9223372036854775808\"},0.1,\"a\\\"b\",{\"blob\":\"AAEC/w==\"},"
                  "{\"blob\":\"YWJj\"},{\"blob\":\"YWI=\"},{\"blob\":\"\"}]");
    tpc_buf_done(&out);
}

static void test_message_write__reads_back(void **state)
{
    (void)state;
    struct api_coordinator coordinator = {.id = id_of(ID_C),
                                          .generation = 7,
                                          .nonce = id_of(ID_B),
                                          .forgotten_below = id_of(ID_A),
                                          .url = "http://[::1]:7400"};
    static const char statements[] = "[{\"sql\":\"S\",\"params\":[1,\"x\"]}]";
    const struct api_message messages[] = {
        {.op = API_OP_PREPARE,
         .gtid = id_of(ID_A),
         .began_us = 1763632800123456,
         .timeout_ms = 5000,
         .one_phase = true,
         .isolation = API_ISOLATION_SERIALIZABLE},
        {.op = API_OP_COMMIT, .gtid = id_of(ID_B), .participant_id = id_of(ID_C)},
    };
    struct tpc_buf out = {0};
    api_envelope_begin(&out, &coordinator);
    api_message_write(&out, &messages[0], statements, sizeof(statements) - 1);
    api_message_write(&out, &messages[1], NULL, 0);
    api_envelope_end(&out);
    assert_string_equal(
        out.data,
        "{\"coordinator\":{\"id\":\"" ID_C "\",\"url\":\"http://[::1]:7400\","
        "\"generation\":7,\"nonce\":\"" ID_B "\",\"forgotten_below\":\"" ID_A "\"},\"messages\":["
        "{\"op\":\"prepare\",\"gtid\":\"" ID_A "\",\"began_us\":1763632800123456,"
        "\"timeout_ms\":5000,\"isolation\":\"serializable\",\"one_phase\":true,"
        "\"statements\":[{\"sql\":\"S\",\"params\":[1,\"x\"]}]},"
        "{\"op\":\"commit\",\"gtid\":\"" ID_B "\",\"participant_id\":\"" ID_C "\"}]}");
    struct api_envelope envelope = accepted(out.data);
    assert_int_equal(envelope.count, 2);
    assert_true(tpc_id_is_zero(&envelope.messages[0].participant_id));
    assert_id(&envelope.messages[1].participant_id, ID_C);
    assert_string_equal(envelope.coordinator.url, coordinator.url);
    assert_id(&envelope.coordinator.forgotten_below, ID_A);
    assert_true(envelope.messages[0].one_phase);
    assert_int_equal(envelope.messages[0].began_us, 1763632800123456);
    assert_int_equal(envelope.messages[0].statements.items[0].param_count, 2);
    api_envelope_done(&envelope);
    tpc_buf_done(&out);
}

/* What the coordinator keeps of a client's statements is what the participant builds. */
static void test_statements__survive_the_way_through(void **state)
{
    (void)state;
    static const char body[] =
        "{\"branches\":[{\"participant\":\"p\",\"statements\":[{\"sql\":\"a\\n\\\"\\u20ac\","
        "\"params\":[0.1, 1e22, 1.7976931348623157e308, -0.0, 9007199254740991, 4e-320]}]}]}";
    struct api_submit submit;
    assert_int_equal(api_submit_decode(body, strlen(body), &limits, &submit, NULL), TPC_OK);
    struct api_coordinator coordinator = {.url = "http://a"};
    struct api_message message = {.op = API_OP_PREPARE};
    struct tpc_buf out = {0};
    api_envelope_begin(&out, &coordinator);
    api_message_write(&out, &message, submit.branches[0].statements,
                      submit.branches[0].statements_size);
    api_envelope_end(&out);
    struct api_envelope envelope = accepted(out.data);
    const struct api_statement *statement = envelope.messages[0].statements.items;
    assert_string_equal(statement->sql, "a\n\"\xE2\x82\xAC");
    static const double doubles[] = {0.1, 1e22, 1.7976931348623157e308, -0.0, 0, 4e-320};
    for (size_t i = 0; i < 6; i++) {
        if (i != 4) {
            assert_int_equal(statement->params[i].type, API_DOUBLE);
            assert_memory_equal(&statement->params[i].real, &doubles[i], sizeof(double));
        }
    }
    assert_int_equal(statement->params[4].int64, 9007199254740991);
    api_envelope_done(&envelope);
    tpc_buf_done(&out);
    api_submit_done(&submit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_envelope__whole),
        cmocka_unit_test(test_envelope__what_is_not_told),
        cmocka_unit_test(test_envelope__steps_of_an_interactive_branch),
        cmocka_unit_test(test_envelope__a_long_timeout_is_cut),
        cmocka_unit_test(test_envelope__invalid_gtid_spares_the_others),
        cmocka_unit_test(test_envelope__refusals_name_the_field),
        cmocka_unit_test(test_envelope__coordinator_is_checked),
        cmocka_unit_test(test_envelope__malformed_is_400),
        cmocka_unit_test(test_statements__every_type_of_parameter),
        cmocka_unit_test(test_value_write__as_parameters_are_written),
        cmocka_unit_test(test_message_write__reads_back),
        cmocka_unit_test(test_statements__survive_the_way_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
