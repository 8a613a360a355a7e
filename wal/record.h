/* Log records, and how they look on disk (pure: no I/O).
 *
 * A record is, all integers little-endian:
 *
 *   offset size
 *   0      1    format version (1)
 *   1      1    kind (enum wal_kind)
 *   2      2    zero
 *   4      4    size of the body in bytes
 *   8      16   gtid
 *   24     n    body, a sequence of fields: tag (1), size (4), value
 *   24+n   4    CRC-32C (Castagnoli) of all that precedes
 *
 * A reader skips fields whose tag it does not know and refuses a version or kind it does not
 * know. Numbers in fields are 8 bytes. Whatever a later version changes, gtid and CRC stay where
 * they are. */
#ifndef ASSENT_WAL_RECORD_H
#define ASSENT_WAL_RECORD_H

#include "base/buf.h"
#include "base/id.h"

/* Numbers are for ever. */
enum wal_kind {
    /* coordinator */
    WAL_COORD_COMMIT = 1,    /* the decision; forced */
    WAL_COORD_END = 2,       /* every branch has ended; lazy */
    WAL_COORD_PENDING = 3,   /* one-phase branch whose outcome is being asked for; forced */
    WAL_COORD_MEMBER = 4,    /* a participant was registered (gtid zero); forced */
    WAL_COORD_NO_MEMBER = 5, /* a participant was taken off the registry; forced */
    /* participant */
    WAL_PART_PREPARED = 16, /* the work can be redone: vote yes; forced (or held by the database) */
    WAL_PART_COMMITTED = 17,   /* the database holds it; lazy, the database has the proof. After
                                  HEURISTIC: commit was decided; forced */
    WAL_PART_ABORTED = 18,     /* after PREPARED, or a one-phase tombstone (forced) */
    WAL_PART_HEURISTIC = 19,   /* an operator decides: before it is acted on; forced */
    WAL_PART_FORGOTTEN = 20,   /* a heuristic outcome was forgotten by name; forced */
    WAL_PART_COORDINATOR = 21, /* a coordinator's id, generation, nonce and address (the gtid is a
                                  key of its own); forced when the generation is new */
    WAL_PART_ATTEMPT = 22,     /* one-phase at a server: by what its commit is proved; forced */
};

#define WAL_RECORD_GTID_OFFSET 8
#define WAL_RECORD_MIN         28           /* bytes of a record without fields */
#define WAL_RECORD_MAX         (512u << 20) /* the largest whole record: half of SQLite's own limit */

/* Append a whole record to @out. */
void wal_record_begin(struct tpc_buf *out, enum wal_kind kind, const struct tpc_id *gtid);
void wal_record_add(struct tpc_buf *out, uint8_t tag, const void *value, size_t size);
void wal_record_add_u64(struct tpc_buf *out, uint8_t tag, uint64_t value);
void wal_record_add_text(struct tpc_buf *out, uint8_t tag, const char *text); /* NULL: left out */
/* Fill in size and CRC of the record begun last (it starts at @start). TPC_ENOMEM when @out failed
 * (also by a single field above WAL_RECORD_MAX), TPC_ETOOBIG when the whole is above it. */
TPC_NODISCARD enum tpc_rc wal_record_end(struct tpc_buf *out, size_t start);

/* A decoded record; everything points into the caller's bytes. */
struct wal_record {
    enum wal_kind kind;
    struct tpc_id gtid;
    const uint8_t *body;
    size_t body_size;
};

struct wal_field {
    uint8_t tag;
    const uint8_t *value;
    size_t size;
};

/* TPC_ECORRUPT for bad CRC or sizes, TPC_ENOTSUP for a newer version or unknown kind; the text
 * says which. Checks that the fields add up, so that wal_field_next cannot fail. */
TPC_NODISCARD enum tpc_rc wal_record_decode(const void *data, size_t size,
                                            struct wal_record *ret_record, struct tpc_err *reterr);

/* Iterate: start with *offset 0; false at the end. */
bool wal_field_next(const struct wal_record *record, size_t *offset, struct wal_field *ret_field);
/* TPC_ECORRUPT when the field is not 8 bytes. */
TPC_NODISCARD enum tpc_rc wal_field_u64(const struct wal_field *field, uint64_t *ret_value);
/* Copy as NUL-terminated text (caller frees). TPC_ECORRUPT when there is a NUL inside. */
TPC_NODISCARD enum tpc_rc wal_field_text(const struct wal_field *field, char **ret_text);

uint32_t wal_crc32c(const void *data, size_t size);
uint32_t wal_crc32c_portable(const void *data, size_t size); /* where there is no instruction */

#endif
