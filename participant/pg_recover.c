/* What happens before start, on one connection that blocks. */
#include "participant/pg_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FENCE_MS = 30000 };

/* Our sessions are told by the id at the end of their name (pg_session_name). One that the server
 * still has and we have not cannot do anything any more, once it is gone. */
static const char fence_sql[] =
    "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE usename = current_user AND pid <> pg_backend_pid()"
    " AND application_name LIKE 'assent-agent %' AND right(application_name, 36) = $1";

static void ignore_notice(void *arg, const PGresult *result)
{
    (void)arg, (void)result;
}

static enum tpc_rc fail(struct part_pg *pg, PGresult *result, const char *what,
                        struct tpc_err *reterr)
{
    char words[300];
    pg_words(result, pg->control, words, sizeof words);
    PQclear(result);
    return tpc_fail(reterr, TPC_EIO, "PostgreSQL: %s: %s", what, words);
}

static void note_address(struct part_pg *pg)
{
    const char *host = PQhost(pg->control), *address = PQhostaddr(pg->control);
    /* With several hosts the next session may have to go to another. */
    if (host != NULL && host[0] != '/' && address != NULL && strchr(pg->url, ',') == NULL) {
        (void)snprintf(pg->host_address, sizeof pg->host_address, "%s", address);
    }
}

enum tpc_rc pg_preflight(struct part_pg *pg, struct tpc_err *reterr)
{
    const char *keys[] = {"connect_timeout", "dbname", "client_encoding", "application_name", NULL};
    const char *values[] = {"10", pg->url, "UTF8", pg->name, NULL};
    pg->control = PQconnectdbParams(keys, values, 1);
    if (pg->control == NULL) {
        return tpc_fail(reterr, TPC_ENOMEM, "out of memory");
    }
    if (PQstatus(pg->control) != CONNECTION_OK) {
        return pg_explain_connect(pg->control, reterr);
    }
    (void)PQsetNoticeReceiver(pg->control, ignore_notice, NULL);
    PGresult *result = PQexec(pg->control, pg_facts_sql);
    if (!pg_facts_read(result, pg->control, &pg->facts)) {
        if (PQserverVersion(pg->control) < 150000 && PQresultStatus(result) == PGRES_FATAL_ERROR) {
            pg->facts.version = PQserverVersion(pg->control);
            PQclear(result);
            return pg_facts_judge(&pg->facts, false, reterr);
        }
        return fail(pg, result, "its settings cannot be read", reterr);
    }
    PQclear(result);
    note_address(pg);
    return pg_facts_judge(&pg->facts, pg->options.allow_unsafe_settings, reterr);
}

enum tpc_rc pg_fence_now(struct part_pg *pg, struct tpc_err *reterr)
{
    static const struct timespec pause = {.tv_nsec = 20000000};
    char id[TPC_ID_TEXT];
    const char *values[1] = {tpc_id_format(&pg->options.participant_id, id)};
    uint64_t until_ms = tpc_clock_mono_ms() + FENCE_MS;
    for (bool first = true;; first = false) {
        PGresult *result = PQexecParams(pg->control, fence_sql, 1, NULL, values, NULL, NULL, 0);
        if (PQresultStatus(result) != PGRES_TUPLES_OK) {
            return fail(pg, result, "sessions of an earlier run of this agent cannot be ended",
                        reterr);
        }
        int left = PQntuples(result);
        if (left > 0 && tpc_clock_mono_ms() >= until_ms) {
            enum tpc_rc rc = tpc_fail(
                reterr, TPC_EIO,
                "PostgreSQL: %d session(s) of an earlier run of this agent do not end, say that of "
                "pid %s; see pg_stat_activity, and start the agent again once they are gone",
                left, PQgetvalue(result, 0, 0));
            PQclear(result);
            return rc;
        }
        PQclear(result);
        if (left == 0) {
            return TPC_OK;
        }
        if (first) {
            tpc_log(TPC_LOG_INFO, "pg.sessions_ended", tpc_kv_uint("sessions", (uint64_t)left));
        }
        nanosleep(&pause, NULL);
    }
}

enum tpc_rc pg_prove_now(struct part_pg *pg, const struct tpc_id *gtid, bool *ret_proven,
                         struct tpc_err *reterr)
{
    const struct part_proof *proof = part_proofs_find(&pg->proofs, gtid);
    char text[24];
    const char *values[1] = {text};
    *ret_proven = proof != NULL && proof->committed;
    if (proof == NULL || proof->committed || proof->number == 0) {
        return TPC_OK;
    }
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)proof->number);
    PGresult *result = PQexecParams(pg->control, "SELECT pg_xact_status($1::xid8)", 1, NULL, values,
                                    NULL, NULL, 0);
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        *ret_proven = strcmp(PQgetvalue(result, 0, 0), "committed") == 0;
    } else if (!pg_has_state(result, "22023")) { /* in its future: another history */
        return fail(pg, result, "proof of a commit cannot be sought", reterr);
    }
    PQclear(result);
    return TPC_OK;
}

enum tpc_rc pg_find_now(struct part_pg *pg, struct part_found **ret_found, size_t *ret_count,
                        struct tpc_err *reterr)
{
    char prefix[PG_GID_TEXT];
    const char *values[1] = {prefix};
    pg_list_prefix(pg, prefix);
    if (tpc_fp_hit(pg->options.failpoints.list)) {
        return tpc_fail(reterr, TPC_EIO,
                        "PostgreSQL: server closed the connection unexpectedly "
                        "(failpoint)");
    }
    PGresult *result = PQexecParams(pg->control, pg_list_sql, 1, NULL, values, NULL, NULL, 0);
    if (pg_list_read(pg, result, ret_found, ret_count) != TPC_OK) {
        return fail(pg, result, "what it holds prepared cannot be listed", reterr);
    }
    PQclear(result);
    return TPC_OK;
}
