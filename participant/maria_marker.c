/* The marker of a branch: a row in a table of the same database that is written inside the branch,
 * before anything else. So a read that takes a lock and does not wait for one tells for good:
 *
 *   there     the branch was committed
 *   locked    some session has it, or it is prepared, or is being undone: ask again
 *   absent    it was rolled back, or has not begun
 *
 * Nothing else at the server does: XA RECOVER and XAER_NOTA only say who has the branch now. At
 * READ COMMITTED the read leaves no lock where there is no row.
 *
 * The table has an identity of its own, the row of nobody, so that a log is not taken to another
 * server, at which the absence of a marker would mean nothing. */
#include "participant/maria_internal.h"

#include <mysqld_error.h>

#define TABLE  "`_assent_applied`"
#define NOBODY "x'00000000000000000000000000000000'"

const char maria_marker_create_sql[] =
    "CREATE TABLE IF NOT EXISTS " TABLE
    " (participant BINARY(16) NOT NULL, gtid BINARY(16) NOT NULL,"
    " coordinator BINARY(16) NOT NULL, PRIMARY KEY (participant, gtid)) ENGINE=InnoDB";
const char maria_marker_engine_sql[] =
    "SELECT ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
    " AND TABLE_NAME = '_assent_applied'";
/* Of those that begin at the same time one makes the identity. */
const char maria_marker_begin_sql[] =
    "INSERT IGNORE INTO " TABLE " VALUES (" NOBODY ", " NOBODY ", x'%s')";
const char maria_marker_identity_sql[] =
    "SELECT LOWER(HEX(coordinator)) FROM " TABLE " WHERE participant = " NOBODY
    " AND gtid = " NOBODY " LOCK IN SHARE MODE";
const char maria_marker_try_sql[] = "DELETE FROM " TABLE " WHERE participant = " NOBODY
                                    " AND gtid = x'ffffffffffffffffffffffffffffffff'";

void maria_marker_insert(const struct part_maria *maria, const struct part_job *job,
                         struct tpc_buf *out)
{
    char participant[MARIA_HEX_TEXT], gtid[MARIA_HEX_TEXT], coordinator[MARIA_HEX_TEXT];
    tpc_buf_addf(out, "INSERT INTO " TABLE " VALUES (x'%s', x'%s', x'%s')",
                 maria_hex(participant, &maria->options.participant_id),
                 maria_hex(gtid, &job->gtid), maria_hex(coordinator, &job->coordinator_id));
}

void maria_marker_probe(const struct part_maria *maria, const struct tpc_id *gtid,
                        struct tpc_buf *out)
{
    char participant[MARIA_HEX_TEXT], id[MARIA_HEX_TEXT];
    tpc_buf_addf(out,
                 "SELECT 1 FROM " TABLE
                 " WHERE participant = x'%s' AND gtid = x'%s' LOCK IN SHARE MODE NOWAIT",
                 maria_hex(participant, &maria->options.participant_id), maria_hex(id, gtid));
}

enum maria_mark maria_marker_read(uint64_t rows, const struct maria_error *error)
{
    return error->code == ER_LOCK_WAIT_TIMEOUT ? MARIA_MARK_LOCKED
           : error->code != 0                  ? MARIA_MARK_UNKNOWN
           : rows > 0                          ? MARIA_MARK_THERE
                                               : MARIA_MARK_ABSENT;
}

void maria_marker_delete(const struct part_maria *maria, const struct tpc_id *gtids, size_t count,
                         struct tpc_buf *out)
{
    char text[MARIA_HEX_TEXT];
    tpc_buf_addf(out, "DELETE FROM " TABLE " WHERE participant = x'%s' AND gtid IN (",
                 maria_hex(text, &maria->options.participant_id));
    for (size_t i = 0; i < count; i++) {
        tpc_buf_addf(out, "%sx'%s'", i > 0 ? "," : "", maria_hex(text, &gtids[i]));
    }
    tpc_buf_adds(out, ")");
}

void maria_marker_list(const struct part_maria *maria, struct tpc_buf *out)
{
    char participant[MARIA_HEX_TEXT];
    tpc_buf_addf(out, "SELECT gtid, coordinator FROM " TABLE " WHERE participant = x'%s'",
                 maria_hex(participant, &maria->options.participant_id));
}
