#include "participant/maria_internal.h"

#include <errmsg.h>
#include <mysqld_error.h>
#include <stdio.h>
#include <string.h>

void maria_error_take(struct maria_error *error, MYSQL *conn)
{
    error->code = mysql_errno(conn);
    (void)snprintf(error->sqlstate, sizeof error->sqlstate, "%s", mysql_sqlstate(conn));
    (void)snprintf(error->words, sizeof error->words, "%s", mysql_error(conn));
}

void maria_error_take_stmt(struct maria_error *error, MYSQL_STMT *stmt)
{
    error->code = mysql_stmt_errno(stmt);
    (void)snprintf(error->sqlstate, sizeof error->sqlstate, "%s", mysql_stmt_sqlstate(stmt));
    (void)snprintf(error->words, sizeof error->words, "%s", mysql_stmt_error(stmt));
}

bool maria_error_is_loss(const struct maria_error *error)
{
    switch (error->code) {
    case CR_CONNECTION_ERROR:
    case CR_CONN_HOST_ERROR:
    case CR_SERVER_GONE_ERROR:
    case CR_SERVER_LOST:
    case CR_SERVER_LOST_EXTENDED:
    case CR_MALFORMED_PACKET:
    case CR_COMMANDS_OUT_OF_SYNC:
    case ER_CONNECTION_KILLED:
    case ER_SERVER_SHUTDOWN:
    case ER_NET_READ_ERROR:
    case ER_NET_READ_INTERRUPTED:
    case ER_NET_ERROR_ON_WRITE:
    case ER_NET_WRITE_INTERRUPTED:
    case ER_NET_PACKET_TOO_LARGE:
    case ER_NET_PACKETS_OUT_OF_ORDER:
        return true;
    default:
        return false;
    }
}

bool maria_error_is_stale(const struct maria_error *error)
{
    return error->code == CR_NEW_STMT_METADATA || error->code == ER_NEED_REPREPARE;
}

/* By number where the server's SQLSTATE says only HY000. */
static enum api_cause_code code_of(const struct maria_error *error)
{
    switch (error->code) {
    case ER_LOCK_WAIT_TIMEOUT:
    case ER_LOCK_DEADLOCK:
    case ER_XA_RBTIMEOUT:
    case ER_XA_RBDEADLOCK:
    case ER_XA_RBROLLBACK:
    case ER_XAER_DUPID:
    case ER_CHECKREAD: /* innodb_snapshot_isolation: changed since it was read */
    case ER_NEED_REPREPARE:
    case CR_NEW_STMT_METADATA:
        return API_CAUSE_CONFLICT;
    case ER_STATEMENT_TIMEOUT:
    case ER_QUERY_INTERRUPTED:
        return API_CAUSE_TIMEOUT;
    case ER_XAER_RMFAIL: /* the statement would commit implicitly */
    case ER_NOT_SUPPORTED_YET:
    case ER_UNSUPPORTED_PS:
    case ER_CANT_CHANGE_TX_CHARACTERISTICS:
        return API_CAUSE_NOT_SUPPORTED;
    case ER_CONSTRAINT_FAILED:
        return API_CAUSE_CONSTRAINT;
    case ER_OPTION_PREVENTS_STATEMENT: /* read-only */
    case ER_DISK_FULL:
    case ER_RECORD_FILE_FULL:
    case ER_LOCK_TABLE_FULL:
    case ER_OUTOFMEMORY:
    case ER_OUT_OF_RESOURCES:
    case ER_ERROR_DURING_COMMIT:
    case ER_XAER_RMERR:
    case ER_XAER_NOTA:
    case ER_MAX_PREPARED_STMT_COUNT_REACHED:
        return API_CAUSE_PARTICIPANT_ERROR;
    default:
        break;
    }
    if (error->code >= CR_MIN_ERROR && error->code <= CR_MAX_ERROR) {
        return API_CAUSE_PARTICIPANT_ERROR; /* of the connection */
    }
    return strncmp(error->sqlstate, "23", 2) == 0 ? API_CAUSE_CONSTRAINT : API_CAUSE_SQL_ERROR;
}

void maria_refuse(struct part_refusal *refusal, const struct maria_error *error)
{
    if (refusal->code != API_CAUSE_NONE) {
        return;
    }
    (void)snprintf(refusal->sqlstate, sizeof refusal->sqlstate, "%s", error->sqlstate);
    part_refuse(refusal, code_of(error), "%s (error %u)", error->words, error->code);
}

/* ---- Connections that did not come about ---- */

static const struct {
    unsigned code;
    enum tpc_rc rc;
    const char *advice;
} explanations[] = {
    {CR_CONNECTION_ERROR, TPC_EUNREACHABLE,
     "there is no server with a socket there: start it, or correct ?socket=PATH"},
    {CR_CONN_HOST_ERROR, TPC_EUNREACHABLE,
     "nobody listens there: start the server, or correct host and port (and see its bind_address)"},
    {CR_UNKNOWN_HOST, TPC_EUNREACHABLE, "correct the host's name"},
    {CR_SERVER_GONE_ERROR, TPC_EUNREACHABLE, "see the server's log"},
    {CR_SERVER_LOST, TPC_EUNREACHABLE, "see the server's log"},
    {CR_SERVER_LOST_EXTENDED, TPC_EUNREACHABLE, "see the server's log"},
    {ER_ACCESS_DENIED_ERROR, TPC_EINVAL,
     "the user or the password is wrong; give the right one in MYSQL_PWD, or let an administrator "
     "run: CREATE USER … IDENTIFIED BY '…'; or ALTER USER … IDENTIFIED BY '…';"},
    {ER_ACCESS_DENIED_NO_PASSWORD_ERROR, TPC_EINVAL,
     "the user logs in by another way than a password: let an administrator run ALTER USER … "
     "IDENTIFIED BY '…';"},
    {ER_HOST_NOT_PRIVILEGED, TPC_EINVAL,
     "let an administrator run: CREATE USER 'USER'@'THIS HOST' IDENTIFIED BY '…';"},
    {ER_HOST_IS_BLOCKED, TPC_EINVAL, "let an administrator run: FLUSH HOSTS;"},
    {ER_BAD_DB_ERROR, TPC_ENOTFOUND,
     "create it first: CREATE DATABASE …; or name one of those that SHOW DATABASES lists"},
    {ER_DBACCESS_DENIED_ERROR, TPC_EINVAL,
     "let an administrator run: GRANT SELECT, INSERT, UPDATE, DELETE ON DATABASE.* TO USER;"},
    {ER_CON_COUNT_ERROR, TPC_EBUSY, "lower --sessions, or raise the server's max_connections"},
    {ER_TOO_MANY_USER_CONNECTIONS, TPC_EBUSY,
     "lower --sessions, or raise the server's max_user_connections"},
    {ER_USER_LIMIT_REACHED, TPC_EBUSY, "lower --sessions, or raise the user's limits"},
    {ER_SERVER_SHUTDOWN, TPC_EBUSY, "the server stops: try again in a moment"},
};

enum tpc_rc maria_explain_connect(const struct part_maria *maria, const struct maria_error *error,
                                  struct tpc_err *reterr)
{
    const struct maria_url *url = &maria->url;
    bool by_socket = url->socket != NULL || url->host == NULL ||
                     (strcmp(url->host, "localhost") == 0 && url->port == 0);
    unsigned code = error->code;
    if (code == CR_CONNECTION_ERROR && !by_socket) {
        code = CR_CONN_HOST_ERROR; /* the library has one for both */
    }
    for (size_t i = 0; i < sizeof explanations / sizeof explanations[0]; i++) {
        if (explanations[i].code == code) {
            return tpc_fail(reterr, explanations[i].rc, "MariaDB: %s (error %u); %s", error->words,
                            error->code, explanations[i].advice);
        }
    }
    return tpc_fail(reterr, TPC_EIO, "MariaDB: %s (error %u)", error->words, error->code);
}
