/* Log records. The first byte says what the rest is:
 *
 *   even   a whole record: damage must be noticed, or what was read is a record
 *   odd    a record but for its size and CRC, which are put right first, so that the bodies are
 *          reached
 *
 * What a body's reader accepts is written so that it reads back the same. */
#include "tests/fuzz/fuzz.h"

#include "coordinator/coord_record.h"
#include "participant/part_record.h"

static void store_u32(char *out, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        out[i] = (char)(uint8_t)(value >> (8 * i));
    }
}

/* @bytes with the right size in its header and the right CRC behind it. */
static void put_right(const uint8_t *bytes, size_t size, struct tpc_buf *out)
{
    char crc[4];
    if (size < WAL_RECORD_MIN - sizeof crc) {
        return;
    }
    tpc_buf_add(out, bytes, size);
    store_u32(out->data + 4, (uint32_t)(size - (WAL_RECORD_MIN - sizeof crc)));
    store_u32(crc, wal_crc32c(out->data, out->size));
    tpc_buf_add(out, crc, sizeof crc);
}

static void decode_again(const struct tpc_buf *bytes, struct wal_record *out)
{
    TPC_ASSERT(wal_record_decode(bytes->data, bytes->size, out, NULL) == TPC_OK);
}

static void try_transaction(const struct wal_record *log_record)
{
    struct coord_record record, again;
    struct wal_record second;
    struct tpc_buf out = {0};
    struct tpc_err err = {0};
    if (coord_record_read(log_record, &record, &err) != TPC_OK) {
        TPC_ASSERT(err.rc == TPC_ECORRUPT && err.text[0] != '\0');
        return;
    }
    TPC_ASSERT(coord_record_write(&out, log_record->kind, &record) == TPC_OK);
    decode_again(&out, &second);
    TPC_ASSERT(coord_record_read(&second, &again, NULL) == TPC_OK);
    TPC_ASSERT(tpc_id_equal(&record.id, &again.id) && record.commit == again.commit);
    TPC_ASSERT(record.began_us == again.began_us && record.ended_us == again.ended_us);
    TPC_ASSERT(record.attempts == again.attempts && record.one_phase == again.one_phase);
    TPC_ASSERT(fuzz_same(record.label, record.label_size, again.label, again.label_size));
    TPC_ASSERT(record.has_key == again.has_key);
    TPC_ASSERT(fuzz_same(record.key, record.key_size, again.key, again.key_size));
    TPC_ASSERT(tpc_id_equal(&record.body_digest, &again.body_digest));
    TPC_ASSERT(record.branch_count == again.branch_count);
    for (unsigned i = 0; i < record.branch_count; i++) {
        const struct coord_record_branch *a = &record.branches[i], *b = &again.branches[i];
        TPC_ASSERT(fuzz_same(a->name, a->name_size, b->name, b->name_size));
        TPC_ASSERT(tpc_id_equal(&a->participant, &b->participant));
        TPC_ASSERT(a->vote == b->vote && a->end == b->end);
    }
    tpc_buf_done(&out);
}

static void try_member(const struct wal_record *log_record)
{
    struct coord_member_record member, again;
    struct wal_record second;
    struct tpc_buf out = {0};
    if (coord_member_read(log_record, &member, NULL) != TPC_OK) {
        return;
    }
    TPC_ASSERT(coord_member_write(&out, log_record->kind, &member) == TPC_OK);
    decode_again(&out, &second);
    TPC_ASSERT(coord_member_read(&second, &again, NULL) == TPC_OK);
    TPC_ASSERT(fuzz_same(member.name, member.name_size, again.name, again.name_size));
    TPC_ASSERT(log_record->kind == WAL_COORD_NO_MEMBER ||
               fuzz_same(member.url, member.url_size, again.url, again.url_size));
    tpc_buf_done(&out);
}

static void try_branch(const struct wal_record *log_record)
{
    struct part_record record, again;
    struct wal_record second;
    struct tpc_buf out = {0};
    struct tpc_err err = {0};
    enum wal_kind kind = log_record->kind;
    if (part_record_read(log_record, &record, &err) != TPC_OK) {
        TPC_ASSERT(err.rc == TPC_ECORRUPT && err.text[0] != '\0');
        return;
    }
    TPC_ASSERT(part_record_write(&out, kind, &record) == TPC_OK);
    decode_again(&out, &second);
    TPC_ASSERT(part_record_read(&second, &again, NULL) == TPC_OK);
    TPC_ASSERT(tpc_id_equal(&record.gtid, &again.gtid) && record.at_us == again.at_us);
    if (kind == WAL_PART_PREPARED || kind == WAL_PART_COMMITTED || kind == WAL_PART_ABORTED) {
        TPC_ASSERT(tpc_id_equal(&record.coordinator_id, &again.coordinator_id));
    }
    if (kind == WAL_PART_PREPARED) {
        TPC_ASSERT(record.began_us == again.began_us);
        TPC_ASSERT(
            fuzz_same(record.payload, record.payload_size, again.payload, again.payload_size));
    }
    if (kind == WAL_PART_HEURISTIC) {
        TPC_ASSERT(record.heuristic == PART_COMMIT || record.heuristic == PART_ABORT);
        TPC_ASSERT(record.heuristic == again.heuristic);
        TPC_ASSERT(fuzz_same(record.operator_name, record.operator_name_size, again.operator_name,
                             again.operator_name_size));
        TPC_ASSERT(fuzz_same(record.reason, record.reason_size, again.reason, again.reason_size));
    }
    tpc_buf_done(&out);
}

static void try_coordinator(const struct wal_record *log_record)
{
    struct part_coordinator_record coordinator, again;
    struct wal_record second;
    struct tpc_buf out = {0};
    if (part_coordinator_read(log_record, &coordinator, NULL) != TPC_OK) {
        return;
    }
    TPC_ASSERT(part_coordinator_write(&out, &coordinator) == TPC_OK);
    decode_again(&out, &second);
    TPC_ASSERT(part_coordinator_read(&second, &again, NULL) == TPC_OK);
    TPC_ASSERT(tpc_id_equal(&coordinator.id, &again.id));
    TPC_ASSERT(coordinator.generation == again.generation);
    TPC_ASSERT(tpc_id_equal(&coordinator.nonce, &again.nonce));
    TPC_ASSERT(fuzz_same(coordinator.url, coordinator.url_size, again.url, again.url_size));
    tpc_buf_done(&out);
}

static void try_record(const void *bytes, size_t size)
{
    struct wal_record record;
    struct tpc_err err = {0};
    enum tpc_rc rc = wal_record_decode(bytes, size, &record, &err);
    if (rc != TPC_OK) {
        TPC_ASSERT(rc == TPC_ECORRUPT || rc == TPC_ENOTSUP);
        TPC_ASSERT(err.rc == rc && err.text[0] != '\0');
        return;
    }
    TPC_ASSERT(record.body_size == size - WAL_RECORD_MIN);
    try_transaction(&record);
    try_member(&record);
    try_branch(&record);
    try_coordinator(&record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tpc_buf bytes = {0};
    if (size < 1) {
        return 0;
    }
    if (data[0] % 2 == 0) {
        try_record(data + 1, size - 1);
        return 0;
    }
    put_right(data + 1, size - 1, &bytes);
    if (bytes.size > 0) {
        try_record(bytes.data, bytes.size);
    }
    tpc_buf_done(&bytes);
    return 0;
}
