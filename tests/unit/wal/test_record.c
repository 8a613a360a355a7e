#include "base/tpc_assert.h"
#include "wal/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct tpc_id gtid = {{0x01, 0x99, 0xc0, 0xde, 0x7a, 0x11, 0x7c, 0x3e, 0x9f, 0x00,
                                    0x5a, 0x2b, 0x1c, 0x0d, 0x00, 0x01}};

static void build(struct tpc_buf *buf)
{
    const size_t start = buf->size;

    wal_record_begin(buf, WAL_PART_PREPARED, &gtid);
    wal_record_add_text(buf, 1, "west");
    wal_record_add_u64(buf, 2, UINT64_C(0x0102030405060708));
    wal_record_add(buf, 3, "", 0);
    wal_record_add_text(buf, 4, NULL);
    assert_int_equal(wal_record_end(buf, start), TPC_OK);
}

/* Make the CRC right again after a change, so that the check behind it is reached. */
static void seal(uint8_t *data, size_t size)
{
    const uint32_t crc = wal_crc32c(data, size - 4);

    for (size_t i = 0; i < 4; i++) {
        data[size - 4 + i] = (uint8_t)(crc >> (8 * i));
    }
}

static void test_crc32c__known_answers(void **state)
{
    uint8_t data[32];

    (void)state;
    assert_int_equal(wal_crc32c("", 0), 0);
    assert_int_equal(wal_crc32c("123456789", 9), 0xe3069283);
    /* RFC 3720, B.4 */
    memset(data, 0, sizeof data);
    assert_int_equal(wal_crc32c(data, sizeof data), 0x8a9136aa);
    memset(data, 0xff, sizeof data);
    assert_int_equal(wal_crc32c(data, sizeof data), 0x62a8ab43);
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)i;
    }
    assert_int_equal(wal_crc32c(data, sizeof data), 0x46dd794e);
}

static void test_crc32c__any_length_and_alignment_is_as_bit_by_bit(void **state)
{
    uint8_t data[67];

    (void)state;
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 37 + 11);
    }
    for (size_t start = 0; start < 9; start++) {
        for (size_t end = start; end <= sizeof data; end++) {
            uint32_t crc = UINT32_MAX;
            for (size_t i = start; i < end; i++) {
                crc ^= data[i];
                for (int bit = 0; bit < 8; bit++) {
                    crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
                }
            }
            assert_int_equal(wal_crc32c(data + start, end - start), ~crc);
            assert_int_equal(wal_crc32c_portable(data + start, end - start), ~crc);
        }
    }
}

static void test_record__bytes_are_as_described(void **state)
{
    static const uint8_t expected[] = {1,    2,    0,    0,    13,   0,    0,    0,    0x01, 0x99,
                                       0xc0, 0xde, 0x7a, 0x11, 0x7c, 0x3e, 0x9f, 0x00, 0x5a, 0x2b,
                                       0x1c, 0x0d, 0x00, 0x01, 9,    8,    0,    0,    0,    0x08,
                                       0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01};
    struct tpc_buf buf = {0};

    (void)state;
    wal_record_begin(&buf, WAL_COORD_END, &gtid);
    wal_record_add_u64(&buf, 9, UINT64_C(0x0102030405060708));
    assert_int_equal(wal_record_end(&buf, 0), TPC_OK);
    assert_int_equal(buf.size, sizeof expected + 4);
    assert_memory_equal(buf.data, expected, sizeof expected);
    tpc_buf_done(&buf);
}

static void test_record__comes_back(void **state)
{
    struct tpc_buf buf = {0};
    struct wal_record record;
    struct wal_field field;
    size_t offset = 0;
    uint64_t number = 0;
    char *text = NULL;

    (void)state;
    tpc_buf_adds(&buf, "what precedes it");
    const size_t start = buf.size;
    build(&buf);
    assert_int_equal(wal_record_decode(buf.data + start, buf.size - start, &record, NULL), TPC_OK);
    assert_int_equal(record.kind, WAL_PART_PREPARED);
    assert_true(tpc_id_equal(&record.gtid, &gtid));

    assert_true(wal_field_next(&record, &offset, &field));
    assert_int_equal(field.tag, 1);
    assert_int_equal(wal_field_text(&field, &text), TPC_OK);
    assert_string_equal(text, "west");
    free(text);
    assert_int_equal(wal_field_u64(&field, &number), TPC_ECORRUPT);
    assert_true(wal_field_next(&record, &offset, &field));
    assert_int_equal(field.tag, 2);
    assert_int_equal(wal_field_u64(&field, &number), TPC_OK);
    assert_true(number == UINT64_C(0x0102030405060708));
    assert_int_equal(wal_field_text(&field, &text), TPC_OK);
    free(text);
    assert_true(wal_field_next(&record, &offset, &field));
    assert_int_equal(field.tag, 3);
    assert_int_equal(field.size, 0);
    assert_int_equal(wal_field_text(&field, &text), TPC_OK);
    assert_string_equal(text, "");
    free(text);
    assert_false(wal_field_next(&record, &offset, &field));
    tpc_buf_done(&buf);
}

static void test_record__text_with_a_nul_inside_is_refused(void **state)
{
    const struct wal_field field = {.value = (const uint8_t *)"a\0b", .size = 3};
    char *text = NULL;

    (void)state;
    assert_int_equal(wal_field_text(&field, &text), TPC_ECORRUPT);
    assert_null(text);
}

static void test_record__every_flipped_bit_is_damage(void **state)
{
    struct tpc_buf buf = {0};
    struct wal_record record;

    (void)state;
    build(&buf);
    for (size_t i = 0; i < buf.size * 8; i++) {
        struct tpc_err err = {0};
        buf.data[i / 8] = (char)(buf.data[i / 8] ^ 1 << i % 8);
        assert_int_equal(wal_record_decode(buf.data, buf.size, &record, &err), TPC_ECORRUPT);
        assert_non_null(strstr(err.text, "checksum"));
        buf.data[i / 8] = (char)(buf.data[i / 8] ^ 1 << i % 8);
    }
    tpc_buf_done(&buf);
}

static void test_record__every_cut_is_damage(void **state)
{
    struct tpc_buf buf = {0};
    struct wal_record record;

    (void)state;
    build(&buf);
    for (size_t size = 0; size < buf.size; size++) {
        struct tpc_err err = {0};
        /* A copy of the exact size, so that a sanitizer sees a read beyond it. */
        uint8_t *cut = malloc(size + 1);
        assert_non_null(cut);
        memcpy(cut, buf.data, size);
        assert_int_equal(wal_record_decode(cut, size, &record, &err), TPC_ECORRUPT);
        assert_int_equal(err.rc, TPC_ECORRUPT);
        free(cut);
    }
    tpc_buf_done(&buf);
}

static void assert_sealed_decodes_to(size_t offset, uint8_t value, enum tpc_rc rc,
                                     const char *needle)
{
    struct tpc_buf buf = {0};
    struct wal_record record;
    struct tpc_err err = {0};

    build(&buf);
    buf.data[offset] = (char)value;
    seal((uint8_t *)buf.data, buf.size);
    assert_int_equal(wal_record_decode(buf.data, buf.size, &record, &err), rc);
    assert_non_null(strstr(err.text, needle));
    tpc_buf_done(&buf);
}

static void test_record__what_a_newer_release_wrote_is_not_supported(void **state)
{
    (void)state;
    assert_sealed_decodes_to(0, 2, TPC_ENOTSUP, "version 2");
    assert_sealed_decodes_to(0, 0, TPC_ENOTSUP, "version 0");
    assert_sealed_decodes_to(1, 6, TPC_ENOTSUP, "kind 6");
    assert_sealed_decodes_to(1, 255, TPC_ENOTSUP, "kind 255");
    assert_sealed_decodes_to(2, 1, TPC_ENOTSUP, "reserved");
    assert_sealed_decodes_to(3, 1, TPC_ENOTSUP, "reserved");
}

static void test_record__sizes_that_do_not_add_up_are_damage(void **state)
{
    (void)state;
    assert_sealed_decodes_to(4, 1, TPC_ECORRUPT, "sizes");
    assert_sealed_decodes_to(7, 0xff, TPC_ECORRUPT, "sizes");
    assert_sealed_decodes_to(25, 3, TPC_ECORRUPT, "sizes");
    assert_sealed_decodes_to(28, 0xff, TPC_ECORRUPT, "sizes");
}

static void test_record__unknown_fields_are_handed_over(void **state)
{
    struct tpc_buf buf = {0};
    struct wal_record record;
    struct wal_field field;
    size_t offset = 0;

    (void)state;
    wal_record_begin(&buf, WAL_COORD_COMMIT, &gtid);
    wal_record_add_text(&buf, 250, "of a later release");
    assert_int_equal(wal_record_end(&buf, 0), TPC_OK);
    assert_int_equal(wal_record_decode(buf.data, buf.size, &record, NULL), TPC_OK);
    assert_true(wal_field_next(&record, &offset, &field));
    assert_int_equal(field.tag, 250);
    tpc_buf_done(&buf);
}

static void test_record__a_buffer_out_of_memory_is_no_record(void **state)
{
    struct tpc_buf buf = {0};

    (void)state;
    wal_record_begin(&buf, WAL_COORD_COMMIT, &gtid);
    wal_record_add(&buf, 1, "", (size_t)WAL_RECORD_MAX + 1);
    assert_int_equal(wal_record_end(&buf, 0), TPC_ENOMEM);
    tpc_buf_done(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c__known_answers),
        cmocka_unit_test(test_crc32c__any_length_and_alignment_is_as_bit_by_bit),
        cmocka_unit_test(test_record__bytes_are_as_described),
        cmocka_unit_test(test_record__comes_back),
        cmocka_unit_test(test_record__text_with_a_nul_inside_is_refused),
        cmocka_unit_test(test_record__every_flipped_bit_is_damage),
        cmocka_unit_test(test_record__every_cut_is_damage),
        cmocka_unit_test(test_record__what_a_newer_release_wrote_is_not_supported),
        cmocka_unit_test(test_record__sizes_that_do_not_add_up_are_damage),
        cmocka_unit_test(test_record__unknown_fields_are_handed_over),
        cmocka_unit_test(test_record__a_buffer_out_of_memory_is_no_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
