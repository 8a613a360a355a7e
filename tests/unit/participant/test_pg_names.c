#include "participant/pg_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct tpc_id participant = {{0xaa}}, coordinator = {{0xcc}}, gtid = {{0x99, 1}};

static void test_pg_names__say_whose_a_branch_is_and_who_decides(void **state)
{
    char gid[PG_GID_TEXT];
    struct tpc_id who, which;
    (void)state;
    pg_gid_write(gid, &participant, &coordinator, &gtid);
    assert_string_equal(gid, "assent:aa000000-0000-0000-0000-000000000000:"
                             "cc000000-0000-0000-0000-000000000000:"
                             "99010000-0000-0000-0000-000000000000");
    assert_true(pg_gid_parse(gid, &participant, &who, &which));
    assert_memory_equal(&who, &coordinator, sizeof who);
    assert_memory_equal(&which, &gtid, sizeof which);
}

static void test_pg_names__of_others_are_nothing_of_ours(void **state)
{
    char gid[PG_GID_TEXT + 1];
    struct tpc_id who, which;
    (void)state;
    pg_gid_write(gid, &coordinator, &coordinator, &gtid);
    assert_false(pg_gid_parse(gid, &participant, &who, &which)); /* another agent's */
    pg_gid_write(gid, &participant, &coordinator, &gtid);
    size_t size = strlen(gid);
    for (size_t i = 0; i < size; i++) {
        char kept = gid[i];
        gid[i] = '~';
        assert_false(pg_gid_parse(gid, &participant, &who, &which));
        gid[i] = '\0';
        assert_false(pg_gid_parse(gid, &participant, &who, &which));
        gid[i] = kept;
    }
    gid[size] = 'x';
    gid[size + 1] = '\0';
    assert_false(pg_gid_parse(gid, &participant, &who, &which));
    assert_false(pg_gid_parse("", &participant, &who, &which));
}

static void test_pg_names__payload_is_read_as_it_was_written(void **state)
{
    uint8_t payload[32];
    uint64_t system_id, xid;
    (void)state;
    size_t size = pg_payload_write(payload, UINT64_MAX - 1, 77);
    assert_true(pg_payload_read(payload, size, &system_id, &xid));
    assert_true(system_id == UINT64_MAX - 1 && xid == 77);
    assert_false(pg_payload_read(payload, size - 1, &system_id, &xid));
    payload[0]++;
    assert_false(pg_payload_read(payload, size, &system_id, &xid));
}

static void test_pg_names__a_number_is_the_newest_that_ends_so(void **state)
{
    (void)state;
    assert_true(pg_full_xid(700, 800) == 700);
    assert_true(pg_full_xid(700, (UINT64_C(3) << 32) + 800) == (UINT64_C(3) << 32) + 700);
    assert_true(pg_full_xid(900, (UINT64_C(3) << 32) + 800) == (UINT64_C(2) << 32) + 900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pg_names__say_whose_a_branch_is_and_who_decides),
        cmocka_unit_test(test_pg_names__of_others_are_nothing_of_ours),
        cmocka_unit_test(test_pg_names__payload_is_read_as_it_was_written),
        cmocka_unit_test(test_pg_names__a_number_is_the_newest_that_ends_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
