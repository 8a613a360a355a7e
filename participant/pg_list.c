#include "participant/pg_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of this database only: in another one they can be neither committed nor rolled back from here. */
const char pg_list_sql[] =
    "SELECT gid, transaction::text, pg_snapshot_xmax(pg_current_snapshot())::text,"
    " floor(extract(epoch FROM prepared) * 1000000)::bigint::text"
    " FROM pg_prepared_xacts"
    " WHERE database = current_database() AND starts_with(gid, $1)";

void pg_list_prefix(const struct part_pg *pg, char out[PG_GID_TEXT])
{
    char id[TPC_ID_TEXT];
    (void)snprintf(out, PG_GID_TEXT, "assent:%s:", tpc_id_format(&pg->options.participant_id, id));
}

enum tpc_rc pg_list_read(const struct part_pg *pg, const PGresult *result,
                         struct part_found **ret_found, size_t *ret_count)
{
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        return TPC_EIO;
    }
    size_t count = 0;
    struct part_found *found = tpc_must_calloc((size_t)PQntuples(result) + 1, sizeof *found);
    for (int i = 0; i < PQntuples(result); i++) {
        struct part_found *one = &found[count];
        if (!pg_gid_parse(PQgetvalue(result, i, 0), &pg->options.participant_id,
                          &one->coordinator_id, &one->gtid)) {
            continue; /* something that somebody has named like us */
        }
        uint64_t xid = pg_full_xid((uint32_t)strtoul(PQgetvalue(result, i, 1), NULL, 10),
                                   strtoull(PQgetvalue(result, i, 2), NULL, 10));
        one->payload_size = pg_payload_write(one->payload, pg->facts.system_id, xid);
        one->at_us = strtoull(PQgetvalue(result, i, 3), NULL, 10);
        count++;
    }
    *ret_found = found;
    *ret_count = count;
    return TPC_OK;
}
