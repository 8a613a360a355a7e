/* The record codec (pure: no I/O, no clock). */
#include "wal/record.h"

#include "base/tpc_assert.h"

#include <stdlib.h>
#include <string.h>

enum {
    VERSION = 1,
    OFFSET_KIND = 1,
    OFFSET_ZERO = 2,
    OFFSET_BODY_SIZE = 4,
    HEADER_SIZE = 24,
    CRC_SIZE = 4,
    FIELD_HEADER_SIZE = 5,
    NUMBER_SIZE = 8,
};

_Static_assert(WAL_RECORD_GTID_OFFSET == HEADER_SIZE - sizeof(struct tpc_id),
               "gtid ends the header");
_Static_assert(WAL_RECORD_MIN == HEADER_SIZE + CRC_SIZE, "a record without fields");

static void store_u32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint32_t load_u32(const uint8_t *bytes)
{
    uint32_t value = 0;
    for (int i = 3; i >= 0; i--) {
        value = value << 8 | bytes[i];
    }
    return value;
}

void wal_record_begin(struct tpc_buf *out, enum wal_kind kind, const struct tpc_id *gtid)
{
    uint8_t header[HEADER_SIZE] = {VERSION, (uint8_t)kind};

    memcpy(header + WAL_RECORD_GTID_OFFSET, gtid->bytes, sizeof gtid->bytes);
    tpc_buf_add(out, header, sizeof header);
}

void wal_record_add(struct tpc_buf *out, uint8_t tag, const void *value, size_t size)
{
    uint8_t header[FIELD_HEADER_SIZE] = {tag};

    if (size > WAL_RECORD_MAX) {
        out->failed = true;
        return;
    }
    store_u32(header + 1, (uint32_t)size);
    tpc_buf_add(out, header, sizeof header);
    if (size > 0) {
        tpc_buf_add(out, value, size);
    }
}

void wal_record_add_u64(struct tpc_buf *out, uint8_t tag, uint64_t value)
{
    uint8_t bytes[NUMBER_SIZE];

    for (int i = 0; i < NUMBER_SIZE; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    wal_record_add(out, tag, bytes, sizeof bytes);
}

void wal_record_add_text(struct tpc_buf *out, uint8_t tag, const char *text)
{
    if (text != NULL) {
        wal_record_add(out, tag, text, strlen(text));
    }
}

enum tpc_rc wal_record_end(struct tpc_buf *out, size_t start)
{
    uint8_t crc[CRC_SIZE];

    if (out->failed) {
        return TPC_ENOMEM;
    }
    TPC_ASSERT(out->size >= start && out->size - start >= HEADER_SIZE);
    const size_t size = out->size - start;
    if (size > WAL_RECORD_MAX - CRC_SIZE) {
        return TPC_ETOOBIG;
    }
    store_u32((uint8_t *)out->data + start + OFFSET_BODY_SIZE, (uint32_t)(size - HEADER_SIZE));
    store_u32(crc, wal_crc32c(out->data + start, size));
    tpc_buf_add(out, crc, sizeof crc);
    return out->failed ? TPC_ENOMEM : TPC_OK;
}

static bool known_kind(uint8_t kind)
{
    switch ((enum wal_kind)kind) {
    case WAL_COORD_COMMIT:
    case WAL_COORD_END:
    case WAL_COORD_PENDING:
    case WAL_COORD_MEMBER:
    case WAL_COORD_NO_MEMBER:
    case WAL_PART_PREPARED:
    case WAL_PART_COMMITTED:
    case WAL_PART_ABORTED:
    case WAL_PART_HEURISTIC:
    case WAL_PART_FORGOTTEN:
    case WAL_PART_COORDINATOR:
    case WAL_PART_ATTEMPT:
        return true;
    }
    return false;
}

static bool fields_add_up(const uint8_t *body, size_t size)
{
    while (size > 0) {
        if (size < FIELD_HEADER_SIZE || load_u32(body + 1) > size - FIELD_HEADER_SIZE) {
            return false;
        }
        const size_t field = FIELD_HEADER_SIZE + load_u32(body + 1);
        body += field;
        size -= field;
    }
    return true;
}

enum tpc_rc wal_record_decode(const void *data, size_t size, struct wal_record *ret_record,
                              struct tpc_err *reterr)
{
    const uint8_t *bytes = data;

    if (size < WAL_RECORD_MIN) {
        return tpc_fail(reterr, TPC_ECORRUPT, "the record has %zu bytes, fewer than its header",
                        size);
    }
    /* First of all the checksum, which every version has at its end: a damaged byte shall not
     * pass for a newer version. */
    if (load_u32(bytes + size - CRC_SIZE) != wal_crc32c(bytes, size - CRC_SIZE)) {
        return tpc_fail(reterr, TPC_ECORRUPT, "the checksum of the record is wrong");
    }
    if (bytes[0] != VERSION) {
        return tpc_fail(reterr, TPC_ENOTSUP,
                        "the record was written by a newer release: it has format version %u",
                        bytes[0]);
    }
    if (!known_kind(bytes[OFFSET_KIND])) {
        return tpc_fail(reterr, TPC_ENOTSUP,
                        "the record was written by a newer release: it is of the unknown kind %u",
                        bytes[OFFSET_KIND]);
    }
    if (bytes[OFFSET_ZERO] != 0 || bytes[OFFSET_ZERO + 1] != 0) {
        return tpc_fail(reterr, TPC_ENOTSUP,
                        "the record was written by a newer release: it uses reserved bytes");
    }
    const size_t body_size = load_u32(bytes + OFFSET_BODY_SIZE);
    if (body_size != size - WAL_RECORD_MIN || !fields_add_up(bytes + HEADER_SIZE, body_size)) {
        return tpc_fail(reterr, TPC_ECORRUPT, "the sizes in the record do not add up");
    }
    ret_record->kind = (enum wal_kind)bytes[OFFSET_KIND];
    memcpy(ret_record->gtid.bytes, bytes + WAL_RECORD_GTID_OFFSET, sizeof ret_record->gtid.bytes);
    ret_record->body = bytes + HEADER_SIZE;
    ret_record->body_size = body_size;
    return TPC_OK;
}

bool wal_field_next(const struct wal_record *record, size_t *offset, struct wal_field *ret_field)
{
    if (*offset == record->body_size) {
        return false;
    }
    TPC_ASSERT(*offset < record->body_size && record->body_size - *offset >= FIELD_HEADER_SIZE);
    const uint8_t *header = record->body + *offset;
    const size_t size = load_u32(header + 1);
    TPC_ASSERT(size <= record->body_size - *offset - FIELD_HEADER_SIZE);
    *ret_field =
        (struct wal_field){.tag = header[0], .value = header + FIELD_HEADER_SIZE, .size = size};
    *offset += FIELD_HEADER_SIZE + size;
    return true;
}

enum tpc_rc wal_field_u64(const struct wal_field *field, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (field->size != NUMBER_SIZE) {
        return TPC_ECORRUPT;
    }
    for (int i = NUMBER_SIZE - 1; i >= 0; i--) {
        value = value << 8 | field->value[i];
    }
    *ret_value = value;
    return TPC_OK;
}

enum tpc_rc wal_field_text(const struct wal_field *field, char **ret_text)
{
    char *text;

    if (field->size > 0 && memchr(field->value, '\0', field->size) != NULL) {
        return TPC_ECORRUPT;
    }
    text = malloc(field->size + 1);
    if (text == NULL) {
        return TPC_ENOMEM;
    }
    if (field->size > 0) {
        memcpy(text, field->value, field->size);
    }
    text[field->size] = '\0';
    *ret_text = text;
    return TPC_OK;
}
