#include "participant/part_record.h"

#include "base/tpc_assert.h"

#include <string.h>

enum {
    TAG_COORDINATOR_ID = 1,
    TAG_BEGAN = 2,
    TAG_AT = 3,
    TAG_PAYLOAD = 4,
    TAG_HEURISTIC = 5,
    TAG_OPERATOR = 6,
    TAG_REASON = 7,
    TAG_GENERATION = 8,
    TAG_NONCE = 9,
    TAG_URL = 10,
    TAG_FORGOTTEN_BELOW = 11,
};

#define SEEN(tag) ((uint32_t)TPC_BIT(tag))

static void add_bytes(struct tpc_buf *out, uint8_t tag, const void *value, size_t size)
{
    if (size > 0) {
        wal_record_add(out, tag, value, size);
    }
}

enum tpc_rc part_record_write(struct tpc_buf *out, enum wal_kind kind,
                              const struct part_record *record)
{
    size_t start = out->size;
    wal_record_begin(out, kind, &record->gtid);
    if (kind == WAL_PART_PREPARED || kind == WAL_PART_COMMITTED || kind == WAL_PART_ABORTED ||
        kind == WAL_PART_ATTEMPT) {
        wal_record_add(out, TAG_COORDINATOR_ID, record->coordinator_id.bytes,
                       sizeof(record->coordinator_id.bytes));
    }
    if (kind == WAL_PART_PREPARED) {
        wal_record_add_u64(out, TAG_BEGAN, record->began_us);
    }
    if (kind == WAL_PART_PREPARED || kind == WAL_PART_ATTEMPT) {
        add_bytes(out, TAG_PAYLOAD, record->payload, record->payload_size);
    }
    wal_record_add_u64(out, TAG_AT, record->at_us);
    if (kind == WAL_PART_HEURISTIC) {
        wal_record_add_u64(out, TAG_HEURISTIC, record->heuristic);
        add_bytes(out, TAG_OPERATOR, record->operator_name, record->operator_name_size);
        add_bytes(out, TAG_REASON, record->reason, record->reason_size);
    }
    return wal_record_end(out, start);
}

static enum tpc_rc read_id(const struct wal_field *field, struct tpc_id *ret_id)
{
    if (field->size != sizeof(ret_id->bytes)) {
        return TPC_ECORRUPT;
    }
    memcpy(ret_id->bytes, field->value, sizeof(ret_id->bytes));
    return TPC_OK;
}

static enum tpc_rc read_heuristic(const struct wal_field *field, enum part_outcome *ret_outcome)
{
    uint64_t value = 0;
    if (wal_field_u64(field, &value) != TPC_OK || (value != PART_COMMIT && value != PART_ABORT)) {
        return TPC_ECORRUPT;
    }
    *ret_outcome = (enum part_outcome)value;
    return TPC_OK;
}

static enum tpc_rc read_field(const struct wal_field *field, struct part_record *record)
{
    switch (field->tag) {
    case TAG_COORDINATOR_ID:
        return read_id(field, &record->coordinator_id);
    case TAG_BEGAN:
        return wal_field_u64(field, &record->began_us);
    case TAG_AT:
        return wal_field_u64(field, &record->at_us);
    case TAG_PAYLOAD:
        record->payload = field->value;
        record->payload_size = field->size;
        return TPC_OK;
    case TAG_HEURISTIC:
        return read_heuristic(field, &record->heuristic);
    case TAG_OPERATOR:
        record->operator_name = (const char *)field->value;
        record->operator_name_size = field->size;
        return TPC_OK;
    case TAG_REASON:
        record->reason = (const char *)field->value;
        record->reason_size = field->size;
        return TPC_OK;
    default:
        return TPC_OK; /* of a newer version */
    }
}

/* The fields without which a record of @kind means nothing; 0: not a branch's record. */
static uint32_t required(enum wal_kind kind)
{
    switch ((int)kind) {
    case WAL_PART_PREPARED:
        return SEEN(TAG_COORDINATOR_ID) | SEEN(TAG_BEGAN) | SEEN(TAG_AT);
    case WAL_PART_COMMITTED:
    case WAL_PART_ABORTED:
        return SEEN(TAG_COORDINATOR_ID) | SEEN(TAG_AT);
    case WAL_PART_HEURISTIC:
        return SEEN(TAG_HEURISTIC) | SEEN(TAG_AT);
    case WAL_PART_FORGOTTEN:
        return SEEN(TAG_AT);
    case WAL_PART_ATTEMPT:
        return SEEN(TAG_COORDINATOR_ID) | SEEN(TAG_AT) | SEEN(TAG_PAYLOAD);
    default:
        return 0;
    }
}

enum tpc_rc part_record_read(const struct wal_record *log_record, struct part_record *ret_record,
                             struct tpc_err *reterr)
{
    uint32_t needed = required(log_record->kind);
    if (needed == 0) {
        return tpc_fail(reterr, TPC_ECORRUPT, "a record of kind %d does not belong to a branch",
                        (int)log_record->kind);
    }
    struct part_record record = {.gtid = log_record->gtid};
    struct wal_field field;
    for (size_t offset = 0; wal_field_next(log_record, &offset, &field);) {
        if (read_field(&field, &record) != TPC_OK) {
            return tpc_fail(reterr, TPC_ECORRUPT,
                            "field %u of a branch's record of kind %d makes no sense",
                            (unsigned)field.tag, (int)log_record->kind);
        }
        needed &= field.tag < 32 ? ~SEEN(field.tag) : UINT32_MAX;
    }
    if (needed != 0 || (log_record->kind == WAL_PART_ATTEMPT && record.payload_size == 0)) {
        return tpc_fail(reterr, TPC_ECORRUPT, "a branch's record of kind %d lacks a field",
                        (int)log_record->kind);
    }
    *ret_record = record;
    return TPC_OK;
}

enum tpc_rc part_coordinator_write(struct tpc_buf *out,
                                   const struct part_coordinator_record *coordinator)
{
    size_t start = out->size;
    wal_record_begin(out, WAL_PART_COORDINATOR, &coordinator->key);
    wal_record_add(out, TAG_COORDINATOR_ID, coordinator->id.bytes, sizeof(coordinator->id.bytes));
    wal_record_add_u64(out, TAG_GENERATION, coordinator->generation);
    wal_record_add(out, TAG_NONCE, coordinator->nonce.bytes, sizeof(coordinator->nonce.bytes));
    add_bytes(out, TAG_URL, coordinator->url, coordinator->url_size);
    if (!tpc_id_is_zero(&coordinator->forgotten_below)) {
        add_bytes(out, TAG_FORGOTTEN_BELOW, coordinator->forgotten_below.bytes,
                  sizeof(coordinator->forgotten_below.bytes));
    }
    return wal_record_end(out, start);
}

static enum tpc_rc read_coordinator_field(const struct wal_field *field,
                                          struct part_coordinator_record *coordinator)
{
    switch (field->tag) {
    case TAG_COORDINATOR_ID:
        return read_id(field, &coordinator->id);
    case TAG_GENERATION:
        return wal_field_u64(field, &coordinator->generation);
    case TAG_NONCE:
        return read_id(field, &coordinator->nonce);
    case TAG_URL:
        coordinator->url = (const char *)field->value;
        coordinator->url_size = field->size;
        return TPC_OK;
    case TAG_FORGOTTEN_BELOW:
        return read_id(field, &coordinator->forgotten_below);
    default:
        return TPC_OK;
    }
}

enum tpc_rc part_coordinator_read(const struct wal_record *log_record,
                                  struct part_coordinator_record *ret_coordinator,
                                  struct tpc_err *reterr)
{
    uint32_t needed = SEEN(TAG_COORDINATOR_ID) | SEEN(TAG_GENERATION) | SEEN(TAG_NONCE);
    if (log_record->kind != WAL_PART_COORDINATOR) {
        return tpc_fail(reterr, TPC_ECORRUPT, "a record of kind %d does not name a coordinator",
                        (int)log_record->kind);
    }
    struct part_coordinator_record coordinator = {.key = log_record->gtid};
    struct wal_field field;
    for (size_t offset = 0; wal_field_next(log_record, &offset, &field);) {
        if (read_coordinator_field(&field, &coordinator) != TPC_OK) {
            return tpc_fail(reterr, TPC_ECORRUPT,
                            "field %u of a coordinator's record makes no sense",
                            (unsigned)field.tag);
        }
        needed &= field.tag < 32 ? ~SEEN(field.tag) : UINT32_MAX;
    }
    if (needed != 0) {
        return tpc_fail(reterr, TPC_ECORRUPT, "a coordinator's record lacks a field");
    }
    *ret_coordinator = coordinator;
    return TPC_OK;
}
