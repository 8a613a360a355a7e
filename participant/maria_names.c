#include "participant/maria_names.h"

#include <stdio.h>
#include <string.h>

enum { PAYLOAD_VERSION = 2, ID = TPC_ID_TEXT - 1, HEX = MARIA_HEX_TEXT - 1 };

static const char scheme[] = "assent:";
enum { SCHEME = sizeof scheme - 1 };

const char *maria_hex(char out[MARIA_HEX_TEXT], const struct tpc_id *id)
{
    for (size_t i = 0; i < sizeof id->bytes; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", (unsigned)id->bytes[i]);
    }
    return out;
}

/* By way of the form with hyphens, so that there is one reader of ids. */
bool maria_unhex(const char *text, struct tpc_id *ret_id)
{
    char canonical[TPC_ID_TEXT];
    (void)snprintf(canonical, sizeof canonical, "%.8s-%.4s-%.4s-%.4s-%.12s", text, text + 8,
                   text + 12, text + 16, text + 20);
    return tpc_id_parse(canonical, ID, ret_id);
}

const char *maria_xid_write(char out[MARIA_XID_TEXT], const struct tpc_id *participant_id,
                            const struct tpc_id *coordinator_id, const struct tpc_id *gtid)
{
    char participant[MARIA_HEX_TEXT], coordinator[MARIA_HEX_TEXT], id[TPC_ID_TEXT];
    (void)snprintf(out, MARIA_XID_TEXT, "'%s%s','%s%s',%d", scheme, tpc_id_format(gtid, id),
                   maria_hex(participant, participant_id), maria_hex(coordinator, coordinator_id),
                   MARIA_FORMAT_ID);
    return out;
}

bool maria_xid_parse(uint64_t format_id, uint64_t gtrid_size, uint64_t bqual_size, const char *data,
                     size_t size, struct tpc_id *ret_participant_id,
                     struct tpc_id *ret_coordinator_id, struct tpc_id *ret_gtid)
{
    struct tpc_id participant, coordinator, id;
    if (format_id != MARIA_FORMAT_ID || gtrid_size != SCHEME + ID || bqual_size != 2 * HEX ||
        size != SCHEME + ID + 2 * HEX || strncmp(data, scheme, SCHEME) != 0 ||
        !tpc_id_parse(data + SCHEME, ID, &id) || !maria_unhex(data + SCHEME + ID, &participant) ||
        !maria_unhex(data + SCHEME + ID + HEX, &coordinator)) {
        return false;
    }
    *ret_participant_id = participant;
    *ret_coordinator_id = coordinator;
    *ret_gtid = id;
    return true;
}

void maria_payload_pack(uint8_t out[MARIA_PAYLOAD_BYTES], const struct tpc_id *identity,
                        uint64_t thread)
{
    out[0] = PAYLOAD_VERSION;
    memcpy(out + 1, identity->bytes, sizeof identity->bytes);
    for (unsigned i = 0; i < sizeof thread; i++) {
        out[1 + sizeof identity->bytes + i] = (uint8_t)(thread >> 8 * i);
    }
}

bool maria_payload_unpack(const void *payload, size_t size, struct tpc_id *ret_identity,
                          uint64_t *ret_thread)
{
    const uint8_t *bytes = payload;
    bool knows_thread = size == MARIA_PAYLOAD_BYTES && bytes[0] == PAYLOAD_VERSION;
    if (!knows_thread && (size != MARIA_PAYLOAD_BYTES - sizeof *ret_thread || bytes[0] != 1)) {
        return false;
    }
    memcpy(ret_identity->bytes, bytes + 1, sizeof ret_identity->bytes);
    *ret_thread = 0;
    for (unsigned i = 0; knows_thread && i < sizeof *ret_thread; i++) {
        *ret_thread |= (uint64_t)bytes[1 + sizeof ret_identity->bytes + i] << 8 * i;
    }
    return true;
}

uint64_t maria_id_time_us(const struct tpc_id *gtid)
{
    uint64_t ms = 0;
    for (unsigned i = 0; i < 6; i++) {
        ms = ms << 8 | gtid->bytes[i];
    }
    return ms * 1000;
}
