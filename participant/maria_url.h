/* mariadb://USER:PASSWORD@HOST:PORT/DATABASE?socket=PATH&ssl_ca=FILE&ssl_verify=on. Pure. */
#ifndef ASSENT_PARTICIPANT_MARIA_URL_H
#define ASSENT_PARTICIPANT_MARIA_URL_H

#include "base/rc.h"

#include <stdbool.h>

struct maria_url {
    char *user, *password, *host; /* NULL when they are not given */
    char *database;
    char *socket; /* NULL: the library's own, when the host is none or localhost without a port */
    char *ssl_ca; /* NULL: no TLS */
    bool ssl_verify;
    unsigned port; /* 0: not given */
};

/* What is percent-encoded is decoded. On failure @ret_url is zeroed; the message has no password.
 */
TPC_NODISCARD enum tpc_rc maria_url_parse(const char *text, struct maria_url *ret_url,
                                          struct tpc_err *reterr);
void maria_url_done(struct maria_url *url);

#endif
