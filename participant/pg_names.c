#include "participant/pg_internal.h"

#include "base/id.h"

#include <stdio.h>
#include <string.h>

enum { PAYLOAD_VERSION = 1, PAYLOAD_BYTES = 17 };

static const char scheme[] = "assent:";

void pg_gid_write(char out[PG_GID_TEXT], const struct tpc_id *participant_id,
                  const struct tpc_id *coordinator_id, const struct tpc_id *gtid)
{
    char participant[TPC_ID_TEXT], coordinator[TPC_ID_TEXT], id[TPC_ID_TEXT];
    (void)snprintf(out, PG_GID_TEXT, "%s%s:%s:%s", scheme,
                   tpc_id_format(participant_id, participant),
                   tpc_id_format(coordinator_id, coordinator), tpc_id_format(gtid, id));
}

bool pg_gid_parse(const char *gid, const struct tpc_id *participant_id,
                  struct tpc_id *ret_coordinator_id, struct tpc_id *ret_gtid)
{
    enum { ID = TPC_ID_TEXT - 1, SCHEME = sizeof scheme - 1 };
    struct tpc_id participant, coordinator, id;
    const char *first = gid + SCHEME, *second = first + ID + 1, *third = second + ID + 1;
    if (strlen(gid) != SCHEME + 3 * ID + 2 || strncmp(gid, scheme, SCHEME) != 0 ||
        first[ID] != ':' || second[ID] != ':' || !tpc_id_parse(first, ID, &participant) ||
        !tpc_id_parse(second, ID, &coordinator) || !tpc_id_parse(third, ID, &id) ||
        !tpc_id_equal(&participant, participant_id)) {
        return false;
    }
    *ret_coordinator_id = coordinator;
    *ret_gtid = id;
    return true;
}

static void put_u64(uint8_t *out, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        out[i] = (uint8_t)(value >> 8 * i);
    }
}

static uint64_t get_u64(const uint8_t *in)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++) {
        value |= (uint64_t)in[i] << 8 * i;
    }
    return value;
}

size_t pg_payload_write(uint8_t out[32], uint64_t system_id, uint64_t xid)
{
    out[0] = PAYLOAD_VERSION;
    put_u64(out + 1, system_id);
    put_u64(out + 9, xid);
    return PAYLOAD_BYTES;
}

bool pg_payload_read(const void *payload, size_t size, uint64_t *ret_system_id, uint64_t *ret_xid)
{
    const uint8_t *bytes = payload;
    if (size != PAYLOAD_BYTES || bytes[0] != PAYLOAD_VERSION) {
        return false;
    }
    *ret_system_id = get_u64(bytes + 1);
    *ret_xid = get_u64(bytes + 9);
    return true;
}

uint64_t pg_full_xid(uint32_t xid32, uint64_t next)
{
    uint64_t full = (next & ~UINT64_C(0xffffffff)) | xid32;
    return full >= next && full > UINT32_MAX ? full - (UINT64_C(1) << 32) : full;
}
