/* What is asked of the server when a session begins, what promises need, and what to run where it
 * is not so. */
#include "participant/pg_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION_MIN = 150000 };

const char pg_facts_sql[] =
    "SELECT current_setting('max_prepared_transactions'), current_setting('fsync'),"
    " current_setting('full_page_writes'), current_setting('synchronous_commit'),"
    " pg_is_in_recovery(), current_setting('default_transaction_read_only'),"
    " has_table_privilege('pg_catalog.pg_prepared_xacts', 'SELECT'),"
    " (SELECT system_identifier FROM pg_control_system()),"
    " (SELECT backend_start FROM pg_stat_get_activity(pg_backend_pid())),"
    " current_database(), current_user, current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int"
    " - coalesce(current_setting('reserved_connections', true), '0')::int";

/* A commit is durable when it is told, whatever others are content with; nobody else's settings
 * change what is written and read; and the server soon notices that the agent is gone, or its
 * machine: what an interactive branch has locked is free then. */
const char pg_settings_sql[] =
    "SELECT set_config('synchronous_commit', 'on', false) WHERE"
    " current_setting('synchronous_commit') IN ('off', 'local')"
    " UNION ALL SELECT set_config('lock_timeout', $1, false)"
    " UNION ALL SELECT set_config('statement_timeout', '0', false)"
    " UNION ALL SELECT set_config('idle_in_transaction_session_timeout', '0', false)"
    " UNION ALL SELECT set_config('idle_session_timeout', '0', false)"
    " UNION ALL SELECT set_config('client_connection_check_interval', '1000', false)"
    " UNION ALL SELECT set_config('tcp_keepalives_idle', '30', false)"
    " UNION ALL SELECT set_config('tcp_keepalives_interval', '10', false)"
    " UNION ALL SELECT set_config('tcp_keepalives_count', '3', false)"
    " UNION ALL SELECT set_config('datestyle', 'ISO', false)"
    " UNION ALL SELECT set_config('bytea_output', 'hex', false)"
    " UNION ALL SELECT set_config('extra_float_digits', '1', false)";

static void copy(const PGresult *result, int column, char *out, size_t size)
{
    (void)snprintf(out, size, "%s", PQgetvalue(result, 0, column));
}

bool pg_facts_read(const PGresult *result, const PGconn *conn, struct pg_facts *ret_facts)
{
    struct pg_facts facts = {.version = PQserverVersion(conn)};
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1 ||
        PQnfields(result) != 12) {
        return false;
    }
    facts.max_prepared = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    copy(result, 1, facts.fsync, sizeof facts.fsync);
    copy(result, 2, facts.full_page_writes, sizeof facts.full_page_writes);
    copy(result, 3, facts.synchronous_commit, sizeof facts.synchronous_commit);
    facts.standby = PQgetvalue(result, 0, 4)[0] == 't';
    facts.read_only = strcmp(PQgetvalue(result, 0, 5), "on") == 0;
    facts.sees_prepared = PQgetvalue(result, 0, 6)[0] == 't';
    facts.system_id = strtoull(PQgetvalue(result, 0, 7), NULL, 10);
    copy(result, 8, facts.backend_start, sizeof facts.backend_start);
    copy(result, 9, facts.database, sizeof facts.database);
    copy(result, 10, facts.user, sizeof facts.user);
    facts.connections_max = strtoull(PQgetvalue(result, 0, 11), NULL, 10);
    *ret_facts = facts;
    return true;
}

/* ---- Settings ---- */

static enum tpc_rc refuse_setting(const char *setting, const char *value, const char *why,
                                  const char *command, struct tpc_err *reterr)
{
    return tpc_fail(reterr, TPC_EINVAL,
                    "the server has %s = %s, %s. Let a superuser run: %s "
                    "(--allow-unsafe-settings starts all the same)",
                    setting, value, why, command);
}

static enum tpc_rc judge_safety(const struct pg_facts *facts, struct tpc_err *reterr)
{
    if (strcmp(facts->fsync, "on") != 0) {
        return refuse_setting("fsync", facts->fsync, "so a power cut can undo what was promised",
                              "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf();", reterr);
    }
    if (strcmp(facts->full_page_writes, "on") != 0) {
        return refuse_setting("full_page_writes", facts->full_page_writes,
                              "so a power cut can damage what was promised",
                              "ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf();",
                              reterr);
    }
    if (strcmp(facts->synchronous_commit, "off") == 0) {
        return refuse_setting("synchronous_commit", facts->synchronous_commit,
                              "so it tells of commits that are not durable",
                              "ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf();",
                              reterr);
    }
    return TPC_OK;
}

enum tpc_rc pg_facts_judge(const struct pg_facts *facts, bool allow_unsafe, struct tpc_err *reterr)
{
    if (facts->version < VERSION_MIN) {
        return tpc_fail(
            reterr, TPC_ENOTSUP,
            "the server is PostgreSQL %d.%d: 15 is the oldest version that is supported. "
            "Upgrade it (pg_upgrade)",
            facts->version / 10000, facts->version % 10000);
    }
    if (facts->standby) {
        return tpc_fail(reterr, TPC_EINVAL,
                        "the server is a standby, which is read-only: name the primary's address, "
                        "or let a superuser promote this one: SELECT pg_promote();");
    }
    if (facts->read_only) {
        return tpc_fail(
            reterr, TPC_EINVAL,
            "transactions are read-only here (default_transaction_read_only = on). Run: "
            "ALTER DATABASE \"%s\" SET default_transaction_read_only = off; and look "
            "whether the role or the server has it too",
            facts->database);
    }
    if (facts->max_prepared == 0) {
        return tpc_fail(reterr, TPC_EINVAL,
                        "the server has max_prepared_transactions = 0, so it cannot prepare "
                        "anything. Let a superuser run: ALTER SYSTEM SET max_prepared_transactions "
                        "= 200; and restart the server");
    }
    if (!facts->sees_prepared) {
        return tpc_fail(reterr, TPC_EINVAL,
                        "%s may not read pg_prepared_xacts, which shows what is in doubt. Let a "
                        "superuser run in this database: GRANT SELECT ON "
                        "pg_catalog.pg_prepared_xacts TO \"%s\";",
                        facts->user, facts->user);
    }
    return allow_unsafe ? TPC_OK : judge_safety(facts, reterr);
}

/* ---- Connections that did not come about ---- */

struct explanation {
    const char *words; /* of the client library or the server */
    enum tpc_rc rc;
    const char *advice;
};

static const struct explanation explanations[] = {
    {"Connection refused", TPC_EUNREACHABLE,
     "nobody listens there: start the server, or correct host and port"},
    {"No such file or directory", TPC_EUNREACHABLE,
     "there is no server with a socket there: start it, or correct host and port"},
    {"could not translate host name", TPC_EUNREACHABLE, "correct the host's name"},
    {"timeout expired", TPC_EUNREACHABLE,
     "the server does not answer: see whether it is up, and "
     "whether a firewall lies between"},
    {"password authentication failed", TPC_EINVAL,
     "the password is wrong; give the right one in PGPASSWORD or ~/.pgpass, or let a superuser set "
     "it: ALTER ROLE … PASSWORD '…';"},
    {"no password supplied", TPC_EINVAL,
     "the server wants a password: give it in PGPASSWORD or ~/.pgpass"},
    {"authentication failed", TPC_EINVAL,
     "the server does not let this user in this way: see its pg_hba.conf, then SELECT "
     "pg_reload_conf();"},
    {"no pg_hba.conf entry", TPC_EINVAL,
     "let the administrator add a line for this user, database and address to pg_hba.conf, then: "
     "SELECT pg_reload_conf();"},
    {"permission denied for database", TPC_EINVAL,
     "let its owner run: GRANT CONNECT ON DATABASE … TO …;"},
    {"is not permitted to log in", TPC_EINVAL, "let a superuser run: ALTER ROLE … LOGIN;"},
    {"too many c", TPC_EBUSY, "lower --sessions, or raise the server's max_connections"},
    {"remaining connection slots", TPC_EBUSY,
     "lower --sessions, or raise the server's max_connections"},
    {"the database system is", TPC_EBUSY, "the server starts or stops: try again in a moment"},
    {"server closed the connection", TPC_EUNREACHABLE, "see the server's log"},
};

static const struct explanation *explain_missing(const char *words)
{
    static const struct explanation database = {
        "", TPC_ENOTFOUND, "create it first: createdb …, or name one of those that psql -l lists"};
    static const struct explanation role = {
        "", TPC_ENOTFOUND, "let a superuser create it: CREATE ROLE … LOGIN PASSWORD '…';"};
    if (strstr(words, "does not exist") == NULL) {
        return NULL;
    }
    return strstr(words, "database \"") != NULL ? &database
           : strstr(words, "role \"") != NULL   ? &role
                                                : NULL;
}

enum tpc_rc pg_explain_connect(const PGconn *conn, struct tpc_err *reterr)
{
    char words[300];
    pg_words(NULL, conn, words, sizeof words);
    const struct explanation *found = explain_missing(words);
    for (size_t i = 0; found == NULL && i < sizeof explanations / sizeof explanations[0]; i++) {
        if (strstr(words, explanations[i].words) != NULL) {
            found = &explanations[i];
        }
    }
    return tpc_fail(reterr, found != NULL ? found->rc : TPC_EIO, "PostgreSQL: %s%s%s", words,
                    found != NULL ? "; " : "", found != NULL ? found->advice : "");
}
