/* What is prepared at the server, by whomever, what it locks, and who waits for it. */
#include "participant/pg_internal.h"

/* A prepared transaction's locks have no process; the lock on its own number tells under which
 * virtual transaction the others are. Who waits for a row of it waits for the end of its number. */
const char pg_examine_sql[] =
    "SELECT json_build_object('gid', p.gid, 'ours', starts_with(p.gid, $1),"
    " 'database', p.database, 'owner', p.owner,"
    " 'prepared_at', to_char(p.prepared AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'),"
    " 'age_ms', greatest(0, extract(epoch FROM clock_timestamp() - p.prepared) * 1000)::bigint,"
    " 'locks', (SELECT coalesce(json_agg(DISTINCT l.relation::regclass::text), '[]') FROM pg_locks "
    "l"
    "  WHERE l.pid IS NULL AND l.virtualtransaction IN (SELECT x.virtualtransaction"
    "  FROM pg_locks x WHERE x.pid IS NULL AND x.locktype = 'transactionid'"
    "  AND x.transactionid = p.transaction)"
    "  AND l.relation IS NOT NULL AND l.database ="
    "  (SELECT oid FROM pg_database WHERE datname = current_database())),"
    " 'blocks', (SELECT coalesce(json_agg(json_build_object('pid', a.pid, 'user', a.usename,"
    "  'application', a.application_name, 'waits_ms',"
    "  greatest(0, extract(epoch FROM clock_timestamp() - a.query_start) * 1000)::bigint,"
    "  'query', left(a.query, 200))), '[]')"
    "  FROM pg_locks w JOIN pg_stat_activity a USING (pid) WHERE NOT w.granted"
    "  AND w.locktype = 'transactionid' AND w.transactionid = p.transaction))::text"
    " FROM pg_prepared_xacts p ORDER BY p.prepared LIMIT 1000";

bool pg_examine_read(const PGresult *result, struct tpc_buf *out)
{
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        return false;
    }
    api_jw_open(out, '[');
    for (int i = 0; i < PQntuples(result); i++) {
        api_jw_raw(out, PQgetvalue(result, i, 0), (size_t)PQgetlength(result, i, 0));
    }
    api_jw_close(out, ']');
    return true;
}
