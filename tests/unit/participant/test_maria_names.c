#include "participant/maria_names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct tpc_id participant = {{0xaa}}, coordinator = {{0xcc}}, gtid = {{0x99, 1}};

#define GTRID "assent:99010000-0000-0000-0000-000000000000"
#define BQUAL "aa000000000000000000000000000000cc000000000000000000000000000000"

static void test_maria_names__say_whose_a_branch_is_and_who_decides(void **state)
{
    char xid[MARIA_XID_TEXT];
    struct tpc_id who, whose, which;
    (void)state;
    assert_string_equal(maria_xid_write(xid, &participant, &coordinator, &gtid),
                        "'" GTRID "','" BQUAL "',1095978580");
    assert_true(strlen(GTRID) <= 64 && strlen(BQUAL) <= 64); /* what XA allows */
    assert_true(maria_xid_parse(MARIA_FORMAT_ID, 43, 64, GTRID BQUAL, 107, &whose, &who, &which));
    assert_memory_equal(&whose, &participant, sizeof whose);
    assert_memory_equal(&who, &coordinator, sizeof who);
    assert_memory_equal(&which, &gtid, sizeof which);
}

static void test_maria_names__of_others_are_none(void **state)
{
    char data[] = GTRID BQUAL;
    struct tpc_id who, whose, which;
    (void)state;
    assert_false(maria_xid_parse(1, 43, 64, data, 107, &whose, &who, &which));
    assert_false(maria_xid_parse(MARIA_FORMAT_ID, 42, 65, data, 107, &whose, &who, &which));
    assert_false(maria_xid_parse(MARIA_FORMAT_ID, 43, 64, data, 106, &whose, &who, &which));
    assert_false(maria_xid_parse(MARIA_FORMAT_ID, 0, 0, "", 0, &whose, &who, &which));
    for (size_t i = 0; i < 107; i++) {
        char kept = data[i];
        data[i] = '~';
        assert_false(maria_xid_parse(MARIA_FORMAT_ID, 43, 64, data, 107, &whose, &who, &which));
        data[i] = kept;
    }
}

static void test_maria_names__payloads_say_which_markers_and_whose_session(void **state)
{
    uint8_t payload[MARIA_PAYLOAD_BYTES];
    struct tpc_id identity;
    uint64_t thread;
    (void)state;
    maria_payload_pack(payload, &participant, UINT64_C(0xfedcba9876543210));
    assert_true(maria_payload_unpack(payload, sizeof payload, &identity, &thread));
    assert_memory_equal(&identity, &participant, sizeof identity);
    assert_true(thread == UINT64_C(0xfedcba9876543210));
    assert_false(maria_payload_unpack(payload, sizeof payload - 1, &identity, &thread));
    payload[0]--; /* as it was written before it had the session */
    assert_true(maria_payload_unpack(payload, sizeof payload - 8, &identity, &thread));
    assert_true(thread == 0);
    payload[0] += 2;
    assert_false(maria_payload_unpack(payload, sizeof payload, &identity, &thread));
}

static void test_maria_names__the_time_of_a_transaction_is_in_its_id(void **state)
{
    const struct tpc_id id = {{0x01, 0x99, 0xc0, 0xde, 0x7a, 0x11, 0x7c}};
    (void)state;
    assert_int_equal(maria_id_time_us(&id), UINT64_C(0x0199c0de7a11) * 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maria_names__say_whose_a_branch_is_and_who_decides),
        cmocka_unit_test(test_maria_names__of_others_are_none),
        cmocka_unit_test(test_maria_names__payloads_say_which_markers_and_whose_session),
        cmocka_unit_test(test_maria_names__the_time_of_a_transaction_is_in_its_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
