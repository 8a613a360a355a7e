/* Inquiries, decisions, and the bodies of a member or two. */
#include "tests/unit/api/codec.h"

static void test_inquiry__through(void **state)
{
    (void)state;
    struct tpc_id gtids[] = {id_of(ID_A), id_of(ID_B)};
    struct api_inquiry inquiry = {.participant_id = id_of(ID_C),
                                  .coordinator = {.id = id_of(ID_B),
                                                  .generation = 7,
                                                  .nonce = id_of(ID_A),
                                                  .forgotten_below = id_of(ID_A),
                                                  .url = "http://not-sent"},
                                  .count = 2,
                                  .gtids = gtids};
    struct tpc_buf out = {0};
    api_inquiry_write(&out, &inquiry);
    assert_string_equal(out.data, "{\"participant_id\":\"" ID_C "\",\"coordinator\":{\"id\":\"" ID_B
                                  "\",\"generation\":7,\"nonce\":\"" ID_A "\"},\"gtids\":[\"" ID_A
                                  "\",\"" ID_B "\"]}");
    struct api_inquiry back;
    assert_int_equal(api_inquiry_decode(out.data, out.size, 2, &back, NULL), TPC_OK);
    assert_id(&back.participant_id, ID_C);
    assert_id(&back.coordinator.id, ID_B);
    assert_id(&back.coordinator.nonce, ID_A);
    assert_int_equal(back.coordinator.generation, 7);
    assert_string_equal(back.coordinator.url, "");
    assert_int_equal(back.count, 2);
    assert_id(&back.gtids[1], ID_B);
    api_inquiry_done(&back);

    struct api_refusal refusal = {0};
    assert_int_equal(api_inquiry_decode(out.data, out.size, 1, &back, &refusal), TPC_EINVAL);
    assert_refusal(&refusal, TPC_EINVAL, "gtids", "must have 0 to 1 elements, has 2", out.data);
    tpc_buf_done(&out);
}

/* A participant may send back the whole object that it was told. */
static void test_inquiry__may_repeat_what_the_coordinator_said(void **state)
{
    (void)state;
    static const char body[] = "{\"participant_id\":\"" ID_A "\",\"coordinator\":{\"id\":\"" ID_B
                               "\",\"url\":\"http://a\",\"generation\":1,\"nonce\":\"" ID_C
                               "\",\"forgotten_below\":\"" ID_A "\"},\"gtids\":[]}";
    struct api_inquiry inquiry;
    assert_int_equal(api_inquiry_decode(body, strlen(body), 9, &inquiry, NULL), TPC_OK);
    assert_id(&inquiry.coordinator.id, ID_B);
    api_inquiry_done(&inquiry);
}

static void test_inquiry__refusals(void **state)
{
    (void)state;
    static const struct {
        const char *body, *field, *words;
    } cases[] = {
        {"{}", "participant_id", "is required"},
        {"{\"participant_id\":\"" ID_A "\"}", "coordinator", "is required"},
        {"{\"participant_id\":\"" ID_A "\",\"coordinator\":{\"id\":\"" ID_A
         "\",\"generation\":1,\"nonce\":\"" ID_A "\"},\"gtids\":[\"" ID_A "\",\"x\"]}",
         "gtids[1]", "must be a UUID"},
        {"{\"participants\":1}", "participants", "is no known member"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct api_inquiry inquiry;
        struct api_refusal refusal = {0};
        assert_int_equal(
            api_inquiry_decode(cases[i].body, strlen(cases[i].body), 9, &inquiry, &refusal),
            TPC_EINVAL);
        assert_refusal(&refusal, TPC_EINVAL, cases[i].field, cases[i].words, cases[i].body);
        assert_null(inquiry.gtids);
    }
}

static void test_decisions__through(void **state)
{
    (void)state;
    struct api_decision items[] = {{id_of(ID_A), API_OUTCOME_COMMIT},
                                   {id_of(ID_B), API_OUTCOME_ABORT},
                                   {id_of(ID_C), API_OUTCOME_UNDECIDED}};
    struct api_decisions decisions = {.coordinator_id = id_of(ID_C),
                                      .generation = 7,
                                      .forgotten_below = id_of(ID_B),
                                      .count = 3,
                                      .items = items};
    struct tpc_buf out = {0};
    api_decisions_write(&out, &decisions);
    assert_string_equal(out.data, "{\"coordinator_id\":\"" ID_C "\",\"generation\":7,"
                                  "\"forgotten_below\":\"" ID_B "\",\"decisions\":["
                                  "{\"gtid\":\"" ID_A "\",\"outcome\":\"commit\"},"
                                  "{\"gtid\":\"" ID_B "\",\"outcome\":\"abort\"},"
                                  "{\"gtid\":\"" ID_C "\",\"outcome\":\"undecided\"}]}");
    struct api_decisions back;
    assert_int_equal(api_decisions_decode(out.data, out.size, &back, NULL), TPC_OK);
    assert_id(&back.coordinator_id, ID_C);
    assert_int_equal(back.generation, 7);
    assert_id(&back.forgotten_below, ID_B);
    assert_int_equal(back.count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(back.items[i].outcome, items[i].outcome);
        assert_true(tpc_id_equal(&back.items[i].gtid, &items[i].gtid));
    }
    api_decisions_done(&back);
    tpc_buf_done(&out);
}

static void test_decisions__refusals(void **state)
{
    (void)state;
    static const struct {
        const char *body, *words;
    } cases[] = {
        {"{}", "coordinator_id is required"},
        {"{\"coordinator_id\":\"" ID_A "\"}", "decisions is required"},
        {"{\"coordinator_id\":\"" ID_A "\",\"decisions\":[{\"gtid\":\"" ID_A
         "\",\"outcome\":\"maybe\"}]}",
         "decisions[0].outcome must be"},
        {"{", "at byte 1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct api_decisions decisions;
        struct tpc_err err = {0};
        assert_int_not_equal(
            api_decisions_decode(cases[i].body, strlen(cases[i].body), &decisions, &err), TPC_OK);
        assert_non_null(strstr(err.text, cases[i].words));
        assert_null(decisions.items);
    }
}

static void test_resolve(void **state)
{
    (void)state;
    static const char body[] =
        "{\"outcome\":\"commit\",\"reason\":\"the bank called\",\"operator\":\"eve\"}";
    struct api_resolve resolve;
    assert_int_equal(api_resolve_decode(body, strlen(body), &resolve, NULL), TPC_OK);
    assert_int_equal(resolve.outcome, API_OUTCOME_COMMIT);
    assert_string_equal(resolve.reason, "the bank called");
    assert_string_equal(resolve.operator_name, "eve");
    api_resolve_done(&resolve);

    static const char brief[] = "{\"outcome\":\"abort\"}";
    assert_int_equal(api_resolve_decode(brief, strlen(brief), &resolve, NULL), TPC_OK);
    assert_int_equal(resolve.outcome, API_OUTCOME_ABORT);
    assert_string_equal(resolve.reason, "");
    assert_string_equal(resolve.operator_name, "");
    api_resolve_done(&resolve);

    static const char *const bad[] = {"{}", "{\"outcome\":\"undecided\"}", "{\"outcome\":1}",
                                      "{\"outcome\":\"commit\",\"reason\":5}",
                                      "{\"outcome\":\"commit\",\"why\":\"x\"}"};
    static const char *const fields[] = {"outcome", "outcome", "outcome", "reason", "why"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct api_refusal refusal = {0};
        assert_int_equal(api_resolve_decode(bad[i], strlen(bad[i]), &resolve, &refusal),
                         TPC_EINVAL);
        assert_string_equal(refusal.field, fields[i]);
        assert_null(resolve.reason);
    }
}

static void test_forget(void **state)
{
    (void)state;
    static const char body[] = "{\"reason\":\"put right\",\"operator\":\"eve\"}";
    struct api_resolve forget;
    assert_int_equal(api_forget_decode(body, strlen(body), &forget, NULL), TPC_OK);
    assert_string_equal(forget.reason, "put right");
    assert_string_equal(forget.operator_name, "eve");
    api_resolve_done(&forget);

    assert_int_equal(api_forget_decode("", 0, &forget, NULL), TPC_OK);
    assert_string_equal(forget.reason, "");
    assert_string_equal(forget.operator_name, "");
    api_resolve_done(&forget);

    static const char bad[] = "{\"outcome\":\"commit\"}";
    struct api_refusal refusal = {0};
    assert_int_equal(api_forget_decode(bad, strlen(bad), &forget, &refusal), TPC_EINVAL);
    assert_string_equal(refusal.field, "outcome");
}

static void test_participant(void **state)
{
    (void)state;
    static const char body[] = "{\"url\":\"http://127.0.0.1:7411/\"}";
    char *url = NULL;
    assert_int_equal(api_participant_decode(body, strlen(body), &url, NULL), TPC_OK);
    assert_string_equal(url, "http://127.0.0.1:7411");
    free(url);
    struct api_refusal refusal = {0};
    static const char bad[] = "{\"url\":\"127.0.0.1:7411\"}";
    assert_int_equal(api_participant_decode(bad, strlen(bad), &url, &refusal), TPC_EINVAL);
    assert_refusal(&refusal, TPC_EINVAL, "url", "must be like http://", bad);
    assert_int_equal(api_participant_decode("{}", 2, &url, &refusal), TPC_EINVAL);
    assert_refusal(&refusal, TPC_EINVAL, "url", "is required", "{}");
}

static void test_url_check(void **state)
{
    (void)state;
    static const char *const good[] = {"http://a",           "http://127.0.0.1:7400",
                                       "https://[::1]:7400", "http://host.example:1/",
                                       "http://h/a/b%20c",   "http://my_host-1:65535"};
    static const char *const bad[] = {
        "",           "http://",        "http:///x",      "ftp://a",       "HTTP//a",
        "http://u@h", "http://u:p@h",   "http://h?x=1",   "http://h/?x=1", "http://h/#f",
        "http://h:0", "http://h:65536", "http://h:",      "http://h:12x",  "http://[::1",
        "http://h h", "http://h/\n",    "http://\xC3\xA9"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(api_url_check(good[i]));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (api_url_check(bad[i])) {
            fail_msg("%s", bad[i]);
        }
    }
    char longest[300] = "http://";
    memset(longest + 7, 'a', 248);
    assert_true(api_url_check(longest));
    longest[255] = 'a';
    assert_false(api_url_check(longest));
}

static void test_name_check(void **state)
{
    (void)state;
    assert_true(api_name_check("east"));
    assert_true(api_name_check("7.a_B-c"));
    assert_false(api_name_check(""));
    assert_false(api_name_check("-a"));
    assert_false(api_name_check(".."));
    assert_false(api_name_check("a/b"));
    assert_false(api_name_check("a b"));
    assert_false(api_name_check("\xC3\xA9"));
    char name[66] = "";
    memset(name, 'a', 64);
    assert_true(api_name_check(name));
    name[64] = 'a';
    assert_false(api_name_check(name));
}

static void test_lookup(void **state)
{
    (void)state;
    static const char body[] = "{\"gtids\":[\"" ID_B "\"]}";
    struct tpc_id *gtids = NULL;
    size_t count = 0;
    assert_int_equal(api_lookup_decode(body, strlen(body), 1, &gtids, &count, NULL), TPC_OK);
    assert_int_equal(count, 1);
    assert_id(&gtids[0], ID_B);
    free(gtids);
    assert_int_equal(api_lookup_decode("{\"gtids\":[]}", 12, 1, &gtids, &count, NULL), TPC_OK);
    assert_int_equal(count, 0);
    assert_null(gtids);
    struct api_refusal refusal = {0};
    assert_int_equal(api_lookup_decode("{\"gtids\":[7]}", 13, 1, &gtids, &count, &refusal),
                     TPC_EINVAL);
    assert_refusal(&refusal, TPC_EINVAL, "gtids[0]", "must be a string", "[7]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inquiry__through),
        cmocka_unit_test(test_inquiry__may_repeat_what_the_coordinator_said),
        cmocka_unit_test(test_inquiry__refusals),
        cmocka_unit_test(test_decisions__through),
        cmocka_unit_test(test_decisions__refusals),
        cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_forget),
        cmocka_unit_test(test_participant),
        cmocka_unit_test(test_url_check),
        cmocka_unit_test(test_name_check),
        cmocka_unit_test(test_lookup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
