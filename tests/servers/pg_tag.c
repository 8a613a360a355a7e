/* usage: pg_tag URL; is it told apart whether PREPARE TRANSACTION has prepared? In a transaction
 * that failed it succeeds, and rolls back. */
#include "participant/pg_internal.h"

#include <stdio.h>

static bool good = true;

static void expect(PGconn *conn, const char *sql, bool prepared)
{
    PGresult *result = PQexec(conn, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK || pg_has_prepared(result) != prepared) {
        (void)fprintf(stderr, "%s: %s, \"%s\", taken for prepared: %d\n", sql,
                      PQresStatus(PQresultStatus(result)), PQcmdStatus(result),
                      pg_has_prepared(result));
        good = false;
    }
    PQclear(result);
}

static void run(PGconn *conn, const char *sql)
{
    PQclear(PQexec(conn, sql));
}

int main(int argc, char **argv)
{
    PGconn *conn = argc == 2 ? PQconnectdb(argv[1]) : NULL;
    if (conn == NULL || PQstatus(conn) != CONNECTION_OK) {
        (void)fputs("usage: pg_tag URL of a server that runs\n", stderr);
        return 2;
    }
    run(conn, "BEGIN");
    run(conn, "SELECT 1 / 0");
    expect(conn, "PREPARE TRANSACTION 'pg_tag'", false);
    run(conn, "BEGIN");
    expect(conn, "PREPARE TRANSACTION 'pg_tag'", true);
    expect(conn, "ROLLBACK PREPARED 'pg_tag'", false);
    PQfinish(conn);
    return good ? 0 : 1;
}
