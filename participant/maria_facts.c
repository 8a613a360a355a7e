/* What is asked of the server when a session begins, what promises need, and what to run where it
 * is not so. */
#include "participant/maria_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NUMBER_MIN = 100500 }; /* from here on a prepared branch outlives its session */

const char maria_facts_sql[] =
    "SELECT VERSION(), @@innodb_flush_log_at_trx_commit, @@innodb_force_recovery,"
    " @@innodb_doublewrite, @@innodb_flush_method, @@read_only, @@innodb_read_only,"
    " @@tx_read_only, @@log_bin, @@max_connections, CURRENT_USER(),"
    " COALESCE((SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_VARIABLES"
    " WHERE VARIABLE_NAME = 'WSREP_ON'), 'OFF')";

enum { COLUMNS = 12 };

static bool is_on(const char *text)
{
    return strcmp(text, "1") == 0 || strcasecmp(text, "ON") == 0;
}

/* "10.11.6-MariaDB-0+deb12u1" */
static unsigned number_of(const char *version)
{
    unsigned major = 0, minor = 0, patch = 0;
    if (strcasestr(version, "mariadb") == NULL ||
        sscanf(version, "%u.%u.%u", &major, &minor, &patch) != 3) {
        return 0;
    }
    return major * 10000 + minor * 100 + patch;
}

/* As it stands in GRANT: 'user'@'host' of user@host. */
static void quote_user(const char *name, char *out, size_t size)
{
    const char *at = strrchr(name, '@');
    size_t user = at != NULL ? (size_t)(at - name) : strlen(name);
    (void)snprintf(out, size, "'%.*s'@'%s'", (int)user, name, at != NULL ? at + 1 : "%");
}

bool maria_facts_read(MYSQL_RES *result, struct maria_facts *ret_facts)
{
    MYSQL_ROW row = result != NULL ? mysql_fetch_row(result) : NULL;
    struct maria_facts facts = {0};
    if (row == NULL || mysql_num_fields(result) != COLUMNS) {
        return false;
    }
    for (int i = 0; i < COLUMNS; i++) {
        if (row[i] == NULL) {
            return false;
        }
    }
    (void)snprintf(facts.version, sizeof facts.version, "%s", row[0]);
    facts.number = number_of(row[0]);
    facts.flush_log = (unsigned)strtoul(row[1], NULL, 10);
    facts.force_recovery = (unsigned)strtoul(row[2], NULL, 10);
    facts.double_write = is_on(row[3]);
    facts.no_sync = strcasecmp(row[4], "nosync") == 0;
    facts.read_only = is_on(row[5]) || is_on(row[6]);
    facts.session_read_only = is_on(row[7]);
    facts.binlog = is_on(row[8]);
    facts.connections_max = strtoull(row[9], NULL, 10);
    quote_user(row[10], facts.user, sizeof facts.user);
    facts.cluster = is_on(row[11]);
    *ret_facts = facts;
    return true;
}

/* ---- Settings ---- */

static enum tpc_rc refuse_setting(const char *setting, const char *why, const char *command,
                                  struct tpc_err *reterr)
{
    return tpc_fail(reterr, TPC_EINVAL,
                    "the server has %s, %s. Let an administrator run: %s "
                    "(--allow-unsafe-settings starts all the same)",
                    setting, why, command);
}

static enum tpc_rc judge_safety(const struct maria_facts *facts, struct tpc_err *reterr)
{
    char setting[64];
    if (facts->flush_log != 1) {
        (void)snprintf(setting, sizeof setting, "innodb_flush_log_at_trx_commit = %u",
                       facts->flush_log);
        return refuse_setting(setting, "so it tells of commits that are not durable",
                              "SET GLOBAL innodb_flush_log_at_trx_commit = 1; and write it into "
                              "its configuration",
                              reterr);
    }
    if (!facts->double_write) {
        return refuse_setting("innodb_doublewrite = OFF",
                              "so a power cut can damage what was promised",
                              "write innodb_doublewrite = ON into its configuration, and restart "
                              "it",
                              reterr);
    }
    if (facts->no_sync) {
        return refuse_setting("innodb_flush_method = nosync",
                              "so a power cut can undo what was promised",
                              "write innodb_flush_method = O_DIRECT into its configuration, and "
                              "restart it",
                              reterr);
    }
    return TPC_OK;
}

enum tpc_rc maria_facts_judge(const struct maria_facts *facts, bool allow_unsafe,
                              struct tpc_err *reterr)
{
    if (facts->number < NUMBER_MIN) {
        return tpc_fail(reterr, TPC_ENOTSUP,
                        "the server is %s%s: MariaDB 10.5 is the oldest version that keeps a "
                        "prepared transaction when its session is lost; 10.11 is what this is "
                        "made for. Upgrade it",
                        facts->number == 0 ? "not MariaDB, but " : "MariaDB ", facts->version);
    }
    if (facts->cluster) {
        return tpc_fail(reterr, TPC_ENOTSUP,
                        "the server is a node of a Galera cluster (wsrep_on = ON), which has no XA "
                        "transactions: name a server of its own");
    }
    if (facts->read_only) {
        return tpc_fail(reterr, TPC_EINVAL,
                        "the server is read-only (read_only or innodb_read_only = ON). Name the "
                        "primary's address, or let an administrator run: SET GLOBAL read_only = "
                        "OFF;");
    }
    if (facts->session_read_only) {
        return tpc_fail(reterr, TPC_EINVAL,
                        "transactions are read-only here (tx_read_only = ON). Let an administrator "
                        "run: SET GLOBAL tx_read_only = OFF;");
    }
    if (facts->force_recovery > 0) {
        return tpc_fail(reterr, TPC_EINVAL,
                        "the server has innodb_force_recovery = %u, which is for getting data out "
                        "of it. Take it out of its configuration, and restart it",
                        facts->force_recovery);
    }
    return allow_unsafe ? TPC_OK : judge_safety(facts, reterr);
}

/* Seconds are all that it knows. The server does not end a session that is idle or keeps a branch;
 * what is looked at is the newest that is committed, without locks on what is not there. */
void maria_settings_write(const struct part_maria *maria, bool decides, struct tpc_buf *out)
{
    uint64_t seconds = (maria->options.lock_timeout_ms + 999) / 1000;
    tpc_buf_addf(out,
                 "SET autocommit = 1, innodb_lock_wait_timeout = %llu, lock_wait_timeout = %llu,"
                 " wait_timeout = 31536000, idle_transaction_timeout = 0,"
                 " idle_write_transaction_timeout = 0, idle_readonly_transaction_timeout = 0,"
                 " max_statement_time = 0, session_track_transaction_info = 'CHARACTERISTICS'%s",
                 (unsigned long long)seconds, (unsigned long long)seconds,
                 decides ? ", tx_isolation = 'READ-COMMITTED'" : "");
}
