#include "participant/pg_internal.h"

#include <stdio.h>
#include <string.h>

static const char *state_of(const PGresult *result)
{
    const char *state = result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    return state != NULL ? state : "";
}

bool pg_has_state(const PGresult *result, const char *sqlstate)
{
    return strcmp(state_of(result), sqlstate) == 0;
}

bool pg_is_fatal(const PGresult *result)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    return severity != NULL && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

void pg_words(const PGresult *result, const PGconn *conn, char *out, size_t size)
{
    const char *primary =
        result != NULL ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    const char *detail = result != NULL ? PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL) : NULL;
    if (primary == NULL) {
        primary = conn != NULL ? PQerrorMessage(conn) : "";
    }
    (void)snprintf(out, size, "%s%s%s%s", primary, detail != NULL ? " (" : "",
                   detail != NULL ? detail : "", detail != NULL ? ")" : "");
    for (size_t end = strlen(out); end > 0 && out[end - 1] == '\n'; end--) {
        out[end - 1] = '\0';
    }
}

bool pg_is_stale_plan(const PGresult *result)
{
    const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);
    return function != NULL && strcmp(function, "RevalidateCachedQuery") == 0;
}

static enum api_cause_code code_of(const PGresult *result)
{
    static const struct {
        const char *begin;
        enum api_cause_code code;
    } codes[] = {
        {"23", API_CAUSE_CONSTRAINT},           /* integrity constraint violation */
        {"44", API_CAUSE_CONSTRAINT},           /* WITH CHECK OPTION */
        {"40001", API_CAUSE_CONFLICT},          /* serialization failure */
        {"40P01", API_CAUSE_CONFLICT},          /* deadlock */
        {"55P03", API_CAUSE_CONFLICT},          /* lock_timeout, NOWAIT */
        {"57014", API_CAUSE_TIMEOUT},           /* statement_timeout */
        {"0A", API_CAUSE_NOT_SUPPORTED},        /* what cannot be prepared, too */
        {"25001", API_CAUSE_NOT_SUPPORTED},     /* cannot run inside a transaction block */
        {"08", API_CAUSE_PARTICIPANT_ERROR},    /* connection */
        {"53", API_CAUSE_PARTICIPANT_ERROR},    /* resources: also too many prepared transactions */
        {"55000", API_CAUSE_PARTICIPANT_ERROR}, /* prepared transactions are disabled */
        {"57", API_CAUSE_PARTICIPANT_ERROR},    /* the server stops */
        {"58", API_CAUSE_PARTICIPANT_ERROR},    /* its system */
        {"XX", API_CAUSE_PARTICIPANT_ERROR},    /* its bugs, or damage */
    };
    if (pg_is_stale_plan(result)) {
        return API_CAUSE_CONFLICT; /* the table was altered: parsed anew, it goes */
    }
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (strncmp(state_of(result), codes[i].begin, strlen(codes[i].begin)) == 0) {
            return codes[i].code;
        }
    }
    return result == NULL || *state_of(result) == '\0' ? API_CAUSE_PARTICIPANT_ERROR
                                                       : API_CAUSE_SQL_ERROR;
}

void pg_refuse(struct part_refusal *refusal, const PGresult *result, const PGconn *conn)
{
    char words[600];
    if (refusal->code != API_CAUSE_NONE) {
        return;
    }
    pg_words(result, conn, words, sizeof words);
    (void)snprintf(refusal->sqlstate, sizeof refusal->sqlstate, "%s", state_of(result));
    part_refuse(refusal, code_of(result), "%s", words);
}

bool pg_has_prepared(const PGresult *result)
{
    return PQresultStatus(result) == PGRES_COMMAND_OK &&
           strcmp(PQcmdStatus((PGresult *)result), "PREPARE TRANSACTION") == 0;
}
