#include "participant/maria_internal.h"

#include <stdlib.h>

enum { COLUMNS = 4 };

enum tpc_rc maria_list_read(const struct part_maria *maria, MYSQL_RES *result,
                            struct part_found **ret_found, size_t *ret_count)
{
    MYSQL_ROW row;
    size_t count = 0;
    if (result == NULL || mysql_num_fields(result) != COLUMNS) {
        return TPC_EIO;
    }
    struct part_found *found = tpc_must_calloc((size_t)mysql_num_rows(result) + 1, sizeof *found);
    while ((row = mysql_fetch_row(result)) != NULL) {
        struct part_found *one = &found[count];
        struct tpc_id participant;
        if (!maria_xid_parse(strtoull(row[0], NULL, 10), strtoull(row[1], NULL, 10),
                             strtoull(row[2], NULL, 10), row[3], mysql_fetch_lengths(result)[3],
                             &participant, &one->coordinator_id, &one->gtid) ||
            !tpc_id_equal(&participant, &maria->options.participant_id)) {
            continue; /* another agent's, or another program's */
        }
        maria_payload_pack(one->payload, &maria->identity, 0);
        one->payload_size = MARIA_PAYLOAD_BYTES;
        one->at_us = maria_id_time_us(&one->gtid); /* about: the server does not tell */
        count++;
    }
    *ret_found = found;
    *ret_count = count;
    return TPC_OK;
}
