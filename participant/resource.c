#include "participant/resource.h"

#include <string.h>

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
    if (has_scheme(url, "postgresql:") || has_scheme(url, "postgres:") ||
        has_scheme(url, "mariadb:") || has_scheme(url, "mysql:")) {
        return tpc_fail(reterr, TPC_ENOTSUP,
                        "this build wraps SQLite files only (sqlite:PATH); PostgreSQL and MariaDB "
                        "are not supported yet");
    }
    return tpc_fail(reterr, TPC_EINVAL,
                    "\"%s\" names no database: give sqlite:PATH, e.g. sqlite:bank.db", url);
}
