#include "participant/part_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct tpc_id id_of(uint8_t n)
{
    struct tpc_id id = {{n}};
    return id;
}

static void assert_text(const char *text, size_t size, const char *expected)
{
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(text, expected, size);
}

/* Through the log's own codec and back; the caller frees @buf. */
static struct part_record carried(struct tpc_buf *buf, enum wal_kind kind,
                                  const struct part_record *record)
{
    struct wal_record log_record;
    struct part_record read;
    assert_int_equal(part_record_write(buf, kind, record), TPC_OK);
    assert_int_equal(wal_record_decode(buf->data, buf->size, &log_record, NULL), TPC_OK);
    assert_int_equal(log_record.kind, kind);
    assert_int_equal(part_record_read(&log_record, &read, NULL), TPC_OK);
    assert_true(tpc_id_equal(&read.gtid, &record->gtid));
    return read;
}

static void test_part_record__prepared_comes_back(void **state)
{
    (void)state;
    struct tpc_buf buf = {0};
    struct part_record record = {.gtid = id_of(1),
                                 .coordinator_id = id_of(2),
                                 .began_us = 1763632800123456,
                                 .payload = "a\0b",
                                 .payload_size = 3};
    struct part_record read = carried(&buf, WAL_PART_PREPARED, &record);
    assert_true(tpc_id_equal(&read.coordinator_id, &record.coordinator_id));
    assert_int_equal(read.began_us, record.began_us);
    assert_int_equal(read.payload_size, 3);
    assert_memory_equal(read.payload, "a\0b", 3);
    tpc_buf_done(&buf);
}

static void test_part_record__ends_come_back(void **state)
{
    (void)state;
    static const enum wal_kind kinds[] = {WAL_PART_COMMITTED, WAL_PART_ABORTED, WAL_PART_FORGOTTEN};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct tpc_buf buf = {0};
        struct part_record record = {.gtid = id_of(1), .coordinator_id = id_of(2), .at_us = 77};
        struct part_record read = carried(&buf, kinds[i], &record);
        assert_int_equal(read.at_us, 77);
        assert_int_equal(tpc_id_is_zero(&read.coordinator_id), kinds[i] == WAL_PART_FORGOTTEN);
        tpc_buf_done(&buf);
    }
}

static void test_part_record__heuristic_says_who_and_why(void **state)
{
    (void)state;
    struct tpc_buf buf = {0};
    struct part_record record = {.gtid = id_of(1),
                                 .at_us = 5,
                                 .heuristic = PART_ABORT,
                                 .operator_name = "mary",
                                 .operator_name_size = 4,
                                 .reason = "the site burnt down",
                                 .reason_size = 19};
    struct part_record read = carried(&buf, WAL_PART_HEURISTIC, &record);
    assert_int_equal(read.heuristic, PART_ABORT);
    assert_text(read.operator_name, read.operator_name_size, "mary");
    assert_text(read.reason, read.reason_size, "the site burnt down");
    tpc_buf_done(&buf);
}

static void test_part_record__coordinator_comes_back(void **state)
{
    (void)state;
    struct tpc_buf buf = {0};
    struct part_coordinator_record record = {.key = id_of(5),
                                             .id = id_of(3),
                                             .generation = 7,
                                             .nonce = id_of(4),
                                             .forgotten_below = id_of(6),
                                             .url = "http://h:1",
                                             .url_size = 10};
    struct wal_record log_record;
    struct part_coordinator_record read;
    struct part_record branch;
    assert_int_equal(part_coordinator_write(&buf, &record), TPC_OK);
    assert_int_equal(wal_record_decode(buf.data, buf.size, &log_record, NULL), TPC_OK);
    assert_int_equal(part_coordinator_read(&log_record, &read, NULL), TPC_OK);
    assert_true(tpc_id_equal(&read.id, &record.id));
    assert_true(tpc_id_equal(&read.nonce, &record.nonce));
    assert_int_equal(read.generation, 7);
    assert_true(tpc_id_equal(&read.key, &record.key));
    assert_true(tpc_id_equal(&read.forgotten_below, &record.forgotten_below));
    assert_text(read.url, read.url_size, "http://h:1");
    assert_int_equal(part_record_read(&log_record, &branch, NULL), TPC_ECORRUPT);
    tpc_buf_done(&buf);
}

/* A record of @kind with one field. */
static enum tpc_rc read_one_field(enum wal_kind kind, uint8_t tag, const void *value, size_t size)
{
    struct tpc_buf buf = {0};
    struct tpc_id gtid = id_of(1);
    struct wal_record log_record;
    struct part_record read;
    struct part_coordinator_record coordinator;
    struct tpc_err err = {0};
    wal_record_begin(&buf, kind, &gtid);
    wal_record_add(&buf, tag, value, size);
    assert_int_equal(wal_record_end(&buf, 0), TPC_OK);
    assert_int_equal(wal_record_decode(buf.data, buf.size, &log_record, NULL), TPC_OK);
    enum tpc_rc rc = kind == WAL_PART_COORDINATOR
                         ? part_coordinator_read(&log_record, &coordinator, &err)
                         : part_record_read(&log_record, &read, &err);
    assert_int_equal(rc == TPC_OK, err.text[0] == '\0');
    tpc_buf_done(&buf);
    return rc;
}

static void test_part_record__fields_are_checked(void **state)
{
    (void)state;
    static const uint8_t bytes[16] = {9};
    assert_int_equal(read_one_field(WAL_PART_FORGOTTEN, 3, bytes, 8), TPC_OK);
    assert_int_equal(read_one_field(WAL_PART_FORGOTTEN, 3, bytes, 7), TPC_ECORRUPT);
    assert_int_equal(read_one_field(WAL_PART_FORGOTTEN, 200, bytes, 8), TPC_ECORRUPT);
    assert_int_equal(read_one_field(WAL_PART_PREPARED, 1, bytes, 16), TPC_ECORRUPT);
    assert_int_equal(read_one_field(WAL_PART_PREPARED, 1, bytes, 15), TPC_ECORRUPT);
    assert_int_equal(read_one_field(WAL_PART_HEURISTIC, 5, bytes, 8), TPC_ECORRUPT);
    assert_int_equal(read_one_field(WAL_PART_COORDINATOR, 9, bytes, 4), TPC_ECORRUPT);
    assert_int_equal(read_one_field(WAL_PART_COORDINATOR, 9, bytes, 16), TPC_ECORRUPT);
    assert_int_equal(read_one_field(WAL_COORD_END, 3, bytes, 8), TPC_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_part_record__prepared_comes_back),
        cmocka_unit_test(test_part_record__ends_come_back),
        cmocka_unit_test(test_part_record__heuristic_says_who_and_why),
        cmocka_unit_test(test_part_record__coordinator_comes_back),
        cmocka_unit_test(test_part_record__fields_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
