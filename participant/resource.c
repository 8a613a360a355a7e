#include "participant/resource.h"

#include "base/config.h"

#include <string.h>
#include <unistd.h>

enum { SESSIONS_MIN = 2, SESSIONS_MAX = 1000 };

size_t part_session_count(uint64_t wanted, uint64_t a_core, uint64_t connections)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t count = wanted;
    if (count == 0) {
        count = a_core * (cores > 0 ? (uint64_t)cores : 1);
        count = count < connections / 2 ? count : connections / 2;
    }
    return count < SESSIONS_MIN ? SESSIONS_MIN : count > SESSIONS_MAX ? SESSIONS_MAX : count;
}

static bool has_scheme(const char *url, const char *scheme)
{
    return strncmp(url, scheme, strlen(scheme)) == 0;
}

enum tpc_rc part_resource_open(const struct part_resource_options *options,
                               struct part_resource **ret_resource, struct tpc_err *reterr)
{
    const char *url = options->url;
    if (has_scheme(url, "sqlite:")) {
        return part_sqlite_open(options, ret_resource, reterr);
    }
    if (has_scheme(url, "postgresql://") || has_scheme(url, "postgres://")) {
        return part_pg_open(options, ret_resource, reterr);
    }
    if (has_scheme(url, "mariadb://") || has_scheme(url, "mysql://")) {
        return part_maria_open(options, ret_resource, reterr);
    }
    /* It may be meant for a URL and hold a password. */
    struct tpc_buf shown = {0};
    tpc_config_mask(url, &shown);
    enum tpc_rc rc = tpc_fail(reterr, TPC_EINVAL,
                              "\"%s\" names no database: give sqlite:PATH, e.g. sqlite:bank.db, "
                              "postgresql://USER@HOST/DATABASE or mariadb://USER@HOST/DATABASE",
                              shown.data != NULL ? shown.data : "");
    tpc_buf_done(&shown);
    return rc;
}
