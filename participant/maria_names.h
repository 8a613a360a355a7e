/* What branches are called at MariaDB. An XA name has three parts:
 *
 *   gtrid     "assent:" and the transaction's id, as everybody writes it
 *   bqual     the agent's id and the coordinator's, in hexadecimal without hyphens
 *   formatID  "ASNT" as a number, so that names of other programs are told apart
 *
 * Pure. */
#ifndef ASSENT_PARTICIPANT_MARIA_NAMES_H
#define ASSENT_PARTICIPANT_MARIA_NAMES_H

#include "base/id.h"

enum {
    MARIA_FORMAT_ID = 0x41534e54,
    MARIA_XID_TEXT = 128, /* 'gtrid','bqual',formatID and a NUL */
    MARIA_HEX_TEXT = 33,
    MARIA_PAYLOAD_BYTES = 25,
};

/* As it stands in statements; returns @out. */
const char *maria_xid_write(char out[MARIA_XID_TEXT], const struct tpc_id *participant_id,
                            const struct tpc_id *coordinator_id, const struct tpc_id *gtid);
/* From a row of XA RECOVER, whose @data is gtrid and bqual one after the other. False when it is no
 * branch of an agent. */
TPC_NODISCARD bool maria_xid_parse(uint64_t format_id, uint64_t gtrid_size, uint64_t bqual_size,
                                   const char *data, size_t size, struct tpc_id *ret_participant_id,
                                   struct tpc_id *ret_coordinator_id, struct tpc_id *ret_gtid);
/* 32 digits; returns @out. */
const char *maria_hex(char out[MARIA_HEX_TEXT], const struct tpc_id *id);

/* The reverse, of 32 digits at least. */
TPC_NODISCARD bool maria_unhex(const char *text, struct tpc_id *ret_id);

/* The payload of a record: which table of markers has the proof, and which session of the server
 * prepared the branch (0: not known). */
void maria_payload_pack(uint8_t out[MARIA_PAYLOAD_BYTES], const struct tpc_id *identity,
                        uint64_t thread);
TPC_NODISCARD bool maria_payload_unpack(const void *payload, size_t size,
                                        struct tpc_id *ret_identity, uint64_t *ret_thread);
/* When a UUIDv7 was made, in microseconds of the wall clock. */
uint64_t maria_id_time_us(const struct tpc_id *gtid);

#endif
