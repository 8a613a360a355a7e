/* What happens before start, on one connection that blocks. */
#include "participant/maria_internal.h"

#include <mysqld_error.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { SECONDS = 10 };

static enum tpc_rc fail(struct part_maria *maria, const char *what, struct tpc_err *reterr)
{
    return tpc_fail(reterr, TPC_EIO, "MariaDB: %s: %s (error %u)", what,
                    mysql_error(maria->control), mysql_errno(maria->control));
}

/* The result is the caller's. */
static MYSQL_RES *ask(struct part_maria *maria, const char *sql)
{
    return mysql_query(maria->control, sql) == 0 ? mysql_store_result(maria->control) : NULL;
}

/* Names are not looked up again: that would block. But for TLS they matter. */
static void note_address(struct part_maria *maria)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (maria->url.host == NULL || maria->url.ssl_verify ||
        getpeername(mysql_get_socket(maria->control), (struct sockaddr *)&address, &size) != 0 ||
        address.ss_family == AF_UNIX) {
        return;
    }
    if (getnameinfo((struct sockaddr *)&address, size, maria->host_address,
                    sizeof maria->host_address, NULL, 0, NI_NUMERICHOST) != 0) {
        maria->host_address[0] = '\0';
    }
}

static enum tpc_rc connect_now(struct part_maria *maria, struct tpc_err *reterr)
{
    const struct maria_url *url = &maria->url;
    unsigned seconds = SECONDS;
    maria->control = maria_conn_new(maria);
    (void)mysql_options(maria->control, MYSQL_OPT_CONNECT_TIMEOUT, &seconds);
    if (mysql_real_connect(maria->control, url->host, url->user, url->password, url->database,
                           url->port, url->socket, MARIA_CONN_FLAGS) == NULL) {
        struct maria_error error;
        maria_error_take(&error, maria->control);
        return maria_explain_connect(maria, &error, reterr);
    }
    note_address(maria);
    maria->first_thread = mysql_thread_id(maria->control);
    return TPC_OK;
}

static enum tpc_rc look_at_settings(struct part_maria *maria, struct tpc_err *reterr)
{
    MYSQL_RES *result = ask(maria, maria_facts_sql);
    struct tpc_buf settings = {0};
    bool good = maria_facts_read(result, &maria->facts);
    mysql_free_result(result);
    if (!good) {
        return fail(maria, "its settings cannot be read", reterr);
    }
    enum tpc_rc rc = maria_facts_judge(&maria->facts, maria->options.allow_unsafe_settings, reterr);
    maria_settings_write(maria, true, &settings);
    if (settings.failed) {
        tpc_no_memory();
    }
    if (rc == TPC_OK && mysql_query(maria->control, settings.data) != 0) {
        rc = fail(maria, "the session cannot be set up", reterr);
    }
    tpc_buf_done(&settings);
    return rc;
}

/* ---- The table of markers ---- */

static enum tpc_rc explain_table(struct part_maria *maria, const char *what, struct tpc_err *reterr)
{
    unsigned code = mysql_errno(maria->control);
    if (code != ER_TABLEACCESS_DENIED_ERROR && code != ER_DBACCESS_DENIED_ERROR) {
        return fail(maria, what, reterr);
    }
    return tpc_fail(reterr, TPC_EINVAL,
                    "MariaDB: %s: %s. Let an administrator run: GRANT SELECT, INSERT, DELETE ON "
                    "`%s`._assent_applied TO %s;",
                    what, mysql_error(maria->control), maria->url.database, maria->facts.user);
}

static enum tpc_rc create(struct part_maria *maria, struct tpc_err *reterr)
{
    if (mysql_query(maria->control, maria_marker_create_sql) == 0) {
        return TPC_OK;
    }
    return tpc_fail(reterr, TPC_EINVAL,
                    "MariaDB: _assent_applied cannot be made: %s. Let an administrator run in this "
                    "database: %s; or GRANT CREATE ON `%s`.* TO %s;",
                    mysql_error(maria->control), maria_marker_create_sql, maria->url.database,
                    maria->facts.user);
}

static enum tpc_rc run(struct part_maria *maria, const char *sql, const char *what,
                       struct tpc_err *reterr)
{
    return mysql_query(maria->control, sql) == 0 ? TPC_OK : explain_table(maria, what, reterr);
}

/* "" when there is no such table, or none that the user may see. */
static void engine_of_table(struct part_maria *maria, char out[64])
{
    MYSQL_RES *result = ask(maria, maria_marker_engine_sql);
    MYSQL_ROW row = result != NULL ? mysql_fetch_row(result) : NULL;
    (void)snprintf(out, 64, "%s", row != NULL && row[0] != NULL ? row[0] : "");
    mysql_free_result(result);
}

static enum tpc_rc read_identity(struct part_maria *maria, struct tpc_err *reterr)
{
    MYSQL_RES *result = ask(maria, maria_marker_identity_sql);
    if (result == NULL) {
        return explain_table(maria, "_assent_applied cannot be read", reterr);
    }
    MYSQL_ROW row = mysql_fetch_row(result);
    bool good = row != NULL && row[0] != NULL && maria_unhex(row[0], &maria->identity);
    mysql_free_result(result);
    return good ? TPC_OK
                : tpc_fail(reterr, TPC_ECORRUPT,
                           "MariaDB: the table _assent_applied has lost its first row, by which it "
                           "is known: was it emptied? While nothing is in doubt, drop it: DROP "
                           "TABLE `%s`._assent_applied;",
                           maria->url.database);
}

static enum tpc_rc make_table(struct part_maria *maria, struct tpc_err *reterr)
{
    char engine[64], begin_sql[200], hex[MARIA_HEX_TEXT];
    struct tpc_id identity;
    enum tpc_rc rc = TPC_OK;
    engine_of_table(maria, engine);
    if (engine[0] == '\0') {
        rc = create(maria, reterr);
        engine_of_table(maria, engine);
    }
    if (rc == TPC_OK && engine[0] != '\0' && strcmp(engine, "InnoDB") != 0) {
        return tpc_fail(reterr, TPC_EINVAL,
                        "MariaDB: the table _assent_applied has the engine %s, which has no "
                        "transactions. Let an administrator run: ALTER TABLE `%s`._assent_applied "
                        "ENGINE=InnoDB;",
                        engine, maria->url.database);
    }
    tpc_id_random(&identity);
    (void)snprintf(begin_sql, sizeof begin_sql, maria_marker_begin_sql, maria_hex(hex, &identity));
    rc = rc == TPC_OK ? run(maria, begin_sql, "_assent_applied cannot be written", reterr) : rc;
    rc = rc == TPC_OK
             ? run(maria, maria_marker_try_sql, "_assent_applied cannot be cleaned up", reterr)
             : rc;
    return rc == TPC_OK ? read_identity(maria, reterr) : rc;
}

enum tpc_rc maria_preflight(struct part_maria *maria, struct tpc_err *reterr)
{
    enum tpc_rc rc = connect_now(maria, reterr);
    rc = rc == TPC_OK ? look_at_settings(maria, reterr) : rc;
    return rc == TPC_OK ? make_table(maria, reterr) : rc;
}

/* ---- Recovery ---- */

/* A branch that is locked is not committed yet: it is handed back, and asked for. */
enum tpc_rc maria_prove_now(struct part_maria *maria, const struct tpc_id *gtid, bool *ret_proven,
                            struct tpc_err *reterr)
{
    struct tpc_buf text = {0};
    struct maria_error error = {0};
    maria_marker_probe(maria, gtid, &text);
    if (text.failed) {
        tpc_no_memory();
    }
    MYSQL_RES *result = ask(maria, text.data);
    tpc_buf_done(&text);
    if (result == NULL) {
        maria_error_take(&error, maria->control);
    }
    enum maria_mark mark = maria_marker_read(result != NULL ? mysql_num_rows(result) : 0, &error);
    mysql_free_result(result);
    *ret_proven = mark == MARIA_MARK_THERE;
    return mark == MARIA_MARK_UNKNOWN ? fail(maria, "proof of a commit cannot be sought", reterr)
                                      : TPC_OK;
}

enum tpc_rc maria_find_now(struct part_maria *maria, struct part_found **ret_found,
                           size_t *ret_count, struct tpc_err *reterr)
{
    if (tpc_fp_hit(maria->options.failpoints.list)) {
        return tpc_fail(reterr, TPC_EIO, "MariaDB: the connection was lost (failpoint)");
    }
    MYSQL_RES *result = ask(maria, "XA RECOVER");
    enum tpc_rc rc = maria_list_read(maria, result, ret_found, ret_count);
    if (rc != TPC_OK) {
        rc = fail(maria, "what it holds prepared cannot be listed", reterr);
    }
    mysql_free_result(result);
    return rc;
}

enum tpc_rc maria_applied_now(struct part_maria *maria,
                              void (*each)(void *arg, const struct tpc_id *gtid,
                                           const struct tpc_id *coordinator_id),
                              void *arg, struct tpc_err *reterr)
{
    struct tpc_buf text = {0};
    MYSQL_RES *result = NULL;
    MYSQL_ROW row;
    maria_marker_list(maria, &text);
    if (text.failed) {
        tpc_no_memory();
    }
    if (mysql_query(maria->control, text.data) == 0) {
        result = mysql_use_result(maria->control); /* they may be many */
    }
    tpc_buf_done(&text);
    while (result != NULL && (row = mysql_fetch_row(result)) != NULL) {
        struct tpc_id gtid, coordinator_id;
        memcpy(gtid.bytes, row[0], sizeof gtid.bytes);
        memcpy(coordinator_id.bytes, row[1], sizeof coordinator_id.bytes);
        each(arg, &gtid, &coordinator_id);
    }
    enum tpc_rc rc = mysql_errno(maria->control) == 0
                         ? TPC_OK
                         : fail(maria, "what was committed cannot be listed", reterr);
    mysql_free_result(result);
    return rc;
}
