/* What is prepared at the server, by whomever, what it locks, and who waits for it.
 *
 * XA RECOVER has the names, InnoDB's tables have the waiting, and nothing connects the two but the
 * session that has a branch. Of branches whose session is gone, and of other programs', the server
 * does not tell which it is that somebody waits for: there it is shown with each. */
#include "participant/maria_internal.h"
#include "participant/server_values.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Takes the right PROCESS; without it there is the list alone. Which is waited for has the thread 0
 * when its session is gone. */
static const char waits_sql[] =
    "SELECT b.trx_mysql_thread_id, IF(l.lock_table LIKE CONCAT('`', DATABASE(), '`.%'),"
    " SUBSTRING_INDEX(l.lock_table, '.', -1), l.lock_table), r.trx_mysql_thread_id,"
    " COALESCE(p.USER, ''), COALESCE(TIMESTAMPDIFF(MICROSECOND, r.trx_wait_started, NOW(6)) DIV"
    " 1000, 0), COALESCE(LEFT(r.trx_query, 200), '')"
    " FROM information_schema.INNODB_LOCK_WAITS w"
    " JOIN information_schema.INNODB_TRX b ON b.trx_id = w.blocking_trx_id"
    " JOIN information_schema.INNODB_TRX r ON r.trx_id = w.requesting_trx_id"
    " JOIN information_schema.INNODB_LOCKS l ON l.lock_id = w.blocking_lock_id"
    " LEFT JOIN information_schema.PROCESSLIST p ON p.ID = r.trx_mysql_thread_id LIMIT 1000";

enum { THREAD, TABLE, WAITER, USER, WAITS_MS, QUERY };

struct item {
    struct tpc_buf name;          /* its members up to the locks */
    unsigned long thread;         /* of the session that has it; 0: unknown, or none */
    struct tpc_buf locks, blocks; /* what is in the arrays */
};

struct maria_report {
    struct item *items;
    size_t count;
};

void maria_report_free(struct maria_session *session)
{
    struct maria_report *report = session->report;
    for (size_t i = 0; report != NULL && i < report->count; i++) {
        tpc_buf_done(&report->items[i].name);
        tpc_buf_done(&report->items[i].locks);
        tpc_buf_done(&report->items[i].blocks);
    }
    if (report != NULL) {
        free(report->items);
        free(report);
    }
    session->report = NULL;
}

/* ---- The list ---- */

/* As at other databases: "assent:PARTICIPANT:COORDINATOR:TRANSACTION". */
static void write_name(struct tpc_buf *out, const struct tpc_id *participant_id,
                       const struct tpc_id *coordinator_id, const struct tpc_id *gtid)
{
    char participant[TPC_ID_TEXT], coordinator[TPC_ID_TEXT], id[TPC_ID_TEXT], name[160];
    (void)snprintf(name, sizeof name, "assent:%s:%s:%s", tpc_id_format(participant_id, participant),
                   tpc_id_format(coordinator_id, coordinator), tpc_id_format(gtid, id));
    api_jw_str(out, name);
}

static unsigned long thread_of(const struct part_maria *maria, const struct tpc_id *gtid)
{
    const struct maria_held *held = maria_held_find(maria, gtid);
    return held != NULL && held->session != NULL ? held->session->thread : 0;
}

static void describe(struct item *item, const struct part_maria *maria, MYSQL_ROW row, size_t size)
{
    struct tpc_id participant, coordinator, gtid;
    struct tpc_buf *out = &item->name;
    uint64_t now_us = tpc_clock_wall_us(), at_us = now_us;
    bool ours = false;
    api_jw_key(out, "gid");
    if (maria_xid_parse(strtoull(row[0], NULL, 10), strtoull(row[1], NULL, 10),
                        strtoull(row[2], NULL, 10), row[3], size, &participant, &coordinator,
                        &gtid)) {
        write_name(out, &participant, &coordinator, &gtid);
        ours = tpc_id_equal(&participant, &maria->options.participant_id);
        at_us = maria_id_time_us(&gtid);
        item->thread = ours ? thread_of(maria, &gtid) : 0;
    } else {
        part_write_text(out, row[3], size);
    }
    api_jw_key(out, "ours");
    api_jw_bool(out, ours);
    api_jw_key(out, "age_ms");
    api_jw_u64(out, now_us > at_us ? (now_us - at_us) / 1000 : 0);
}

static void read_list(struct maria_session *session, MYSQL_RES *result)
{
    MYSQL_ROW row;
    struct maria_report *report = tpc_must_alloc(sizeof *report);
    report->items = tpc_must_calloc((size_t)mysql_num_rows(result) + 1, sizeof *report->items);
    session->report = report;
    while ((row = mysql_fetch_row(result)) != NULL) {
        describe(&report->items[report->count++], session->maria, row,
                 mysql_fetch_lengths(result)[3]);
    }
}

/* ---- Who waits ---- */

static void add_lock(struct item *item, const char *table)
{
    struct tpc_buf name = {0};
    char bare[200];
    size_t size = 0;
    for (; *table != '\0' && size + 1 < sizeof bare; table++) {
        if (*table != '`') {
            bare[size++] = *table;
        }
    }
    bare[size] = '\0';
    api_jw_str(&name, bare);
    if (!name.failed && (item->locks.data == NULL || strstr(item->locks.data, name.data) == NULL)) {
        api_jw_raw(&item->locks, name.data, name.size);
    }
    tpc_buf_done(&name);
}

static void add_wait(struct item *item, MYSQL_ROW row)
{
    struct tpc_buf *out = &item->blocks;
    add_lock(item, row[TABLE]);
    api_jw_open(out, '{');
    api_jw_key(out, "pid");
    api_jw_u64(out, strtoull(row[WAITER], NULL, 10));
    api_jw_key(out, "user");
    api_jw_str(out, row[USER]);
    api_jw_key(out, "waits_ms");
    api_jw_u64(out, strtoull(row[WAITS_MS], NULL, 10));
    api_jw_key(out, "query");
    api_jw_str(out, row[QUERY]);
    api_jw_close(out, '}');
}

static void read_waits(struct maria_session *session, MYSQL_RES *result)
{
    MYSQL_ROW row;
    struct maria_report *report = session->report;
    while ((row = mysql_fetch_row(result)) != NULL) {
        unsigned long thread = strtoul(row[THREAD], NULL, 10);
        for (size_t i = 0; i < report->count; i++) {
            if (report->items[i].thread == thread) {
                add_wait(&report->items[i], row);
            }
        }
    }
}

static void on_result(struct maria_session *session, MYSQL_RES *result)
{
    if (result != NULL && session->statement == 0) {
        read_list(session, result);
    } else if (result != NULL) {
        read_waits(session, result);
    }
}

/* ---- All of it ---- */

static void write_array(struct tpc_buf *out, const char *key, const struct tpc_buf *content)
{
    api_jw_key(out, key);
    api_jw_open(out, '[');
    if (content->size > 0) {
        api_jw_raw(out, content->data, content->size);
    }
    api_jw_close(out, ']');
}

static void write_report(const struct maria_report *report, struct tpc_buf *out)
{
    api_jw_open(out, '[');
    for (size_t i = 0; report != NULL && i < report->count; i++) {
        const struct item *item = &report->items[i];
        api_jw_open(out, '{');
        api_jw_raw(out, item->name.data, item->name.size);
        write_array(out, "locks", &item->locks);
        write_array(out, "blocks", &item->blocks);
        api_jw_close(out, '}');
        out->failed |= item->name.failed || item->locks.failed || item->blocks.failed;
    }
    api_jw_close(out, ']');
    if (out->failed) {
        tpc_no_memory();
    }
}

static void on_done(struct maria_session *session)
{
    struct part_job *job = session->job;
    struct part_job_ends *ends = &session->maria->ends;
    bool listed = session->report != NULL; /* whether or not the rest could be read */
    if (listed) {
        write_report(session->report, &job->results);
    }
    maria_decide_free(session);
    if (listed) {
        part_job_end(ends, job, PART_JOB_LISTED);
    } else {
        part_job_end_as(ends, job, PART_JOB_RETRY, API_CAUSE_PARTICIPANT_ERROR,
                        session->error.words);
    }
}

void maria_doctor(struct maria_session *session)
{
    tpc_buf_addf(&session->text, "XA RECOVER;%s", waits_sql);
    maria_send(session, on_result, on_done);
}
