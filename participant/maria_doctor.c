/* What is prepared at the server, by whomever, what it locks, and who waits for it. */
#include "participant/maria_internal.h"
#include "participant/server_values.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As at other databases: "assent:PARTICIPANT:COORDINATOR:TRANSACTION". */
static void write_name(struct tpc_buf *out, const struct tpc_id *participant_id,
                       const struct tpc_id *coordinator_id, const struct tpc_id *gtid)
{
    char participant[TPC_ID_TEXT], coordinator[TPC_ID_TEXT], id[TPC_ID_TEXT], name[160];
    (void)snprintf(name, sizeof name, "assent:%s:%s:%s", tpc_id_format(participant_id, participant),
                   tpc_id_format(coordinator_id, coordinator), tpc_id_format(gtid, id));
    api_jw_key(out, "gid");
    api_jw_str(out, name);
}

static void write_one(struct tpc_buf *out, const struct part_maria *maria, MYSQL_ROW row,
                      size_t size)
{
    struct tpc_id participant, coordinator, gtid;
    uint64_t now_us = tpc_clock_wall_us(), at_us = now_us;
    bool ours = false;
    api_jw_open(out, '{');
    if (maria_xid_parse(strtoull(row[0], NULL, 10), strtoull(row[1], NULL, 10),
                        strtoull(row[2], NULL, 10), row[3], size, &participant, &coordinator,
                        &gtid)) {
        write_name(out, &participant, &coordinator, &gtid);
        ours = tpc_id_equal(&participant, &maria->options.participant_id);
        at_us = maria_id_time_us(&gtid);
    } else {
        api_jw_key(out, "gid");
        part_write_text(out, row[3], size);
    }
    api_jw_key(out, "ours");
    api_jw_bool(out, ours);
    api_jw_key(out, "age_ms");
    api_jw_u64(out, now_us > at_us ? (now_us - at_us) / 1000 : 0);
    api_jw_key(out, "locks");
    api_jw_open(out, '[');
    api_jw_close(out, ']');
    api_jw_key(out, "blocks");
    api_jw_open(out, '[');
    api_jw_close(out, ']');
    api_jw_close(out, '}');
}

static void on_list(struct maria_session *session, MYSQL_RES *result)
{
    struct tpc_buf *out = &session->job->results;
    MYSQL_ROW row;
    api_jw_open(out, '[');
    while (result != NULL && (row = mysql_fetch_row(result)) != NULL) {
        write_one(out, session->maria, row, mysql_fetch_lengths(result)[3]);
    }
    api_jw_close(out, ']');
}

static void on_listed(struct maria_session *session)
{
    struct part_job *job = session->job;
    struct part_job_ends *ends = &session->maria->ends;
    maria_decide_free(session);
    if (session->error.code != 0) {
        part_job_end_as(ends, job, PART_JOB_RETRY, API_CAUSE_PARTICIPANT_ERROR,
                        session->error.words);
    } else {
        part_job_end(ends, job, PART_JOB_LISTED);
    }
}

void maria_doctor(struct maria_session *session)
{
    tpc_buf_adds(&session->text, "XA RECOVER");
    maria_send(session, on_list, on_listed);
}
