/* A real database server of our own: made by the installed programs in a directory of its own, run
 * as an ordinary user on a free port of the loopback address, killed and started again as wanted,
 * and gone with us. Nothing of the system's own server is touched.
 *
 * A struct belongs to one thread at a time, which must live as long as the server (proc.h). */
#ifndef ASSENT_CLI_CRASHTEST_SERVER_H
#define ASSENT_CLI_CRASHTEST_SERVER_H

#include "base/buf.h"
#include "cli/crashtest/proc.h"

enum cli_engine { CLI_NO_ENGINE, CLI_ENGINE_POSTGRESQL, CLI_ENGINE_MARIADB };

bool cli_engine_parse(const char *text, size_t size, enum cli_engine *ret_engine);
const char *cli_engine_name(enum cli_engine engine); /* "postgresql" */

struct cli_server {
    enum cli_engine engine; /* CLI_NO_ENGINE: none */
    char directory[CLI_PATH_MAX];
    unsigned port;
    int port_fd; /* keeps the port ours while the server is down */
    struct cli_proc proc;
};

/* A port of the loopback address that is ours as long as the returned descriptor is open, while a
 * process that asks for it by number may listen on it. */
int cli_port_reserve(unsigned *ret_port);

/* The files of an empty server, at @directory, which is made. Takes seconds. TPC_EMISSING: its
 * programs are not installed. */
TPC_NODISCARD enum tpc_rc cli_server_create(enum cli_engine engine, const char *directory,
                                            struct tpc_err *reterr);
/* The files of a server that was stopped, once more at @directory. */
TPC_NODISCARD enum tpc_rc cli_server_copy(const struct cli_server *server, const char *directory,
                                          struct tpc_err *reterr);
/* Name the server whose files are at @directory; it does not run yet. */
void cli_server_init(struct cli_server *server, enum cli_engine engine, const char *directory);
/* Until it answers, also after it was killed. */
TPC_NODISCARD enum tpc_rc cli_server_start(struct cli_server *server, struct tpc_err *reterr);
bool cli_server_is_running(struct cli_server *server);
/* In an orderly way, so that its files may be copied. */
void cli_server_stop(struct cli_server *server);
/* At once, leaving nothing behind but its files; frees. */
void cli_server_done(struct cli_server *server);

/* What an agent is given. @out is at least 128 bytes. */
void cli_server_url(const struct cli_server *server, const char *database, char *out, size_t size);
/* The words of a command line that runs @sql as the server's administrator by its own client;
 * borrowed from @server, @database and @sql. */
enum { CLI_CLIENT_WORDS = 16 };
struct cli_client {
    char host[CLI_PATH_MAX + 16], port[16];
    const char *words[CLI_CLIENT_WORDS];
};
void cli_server_client(const struct cli_server *server, const char *database, const char *sql,
                       struct cli_client *ret_client);
/* Run it; what it prints goes to @out (may be NULL; cleared): a line a row. */
TPC_NODISCARD enum tpc_rc cli_server_run(const struct cli_server *server, const char *database,
                                         const char *sql, struct tpc_buf *out,
                                         struct tpc_err *reterr);
/* How many transactions are prepared at the server, of whomever. */
TPC_NODISCARD enum tpc_rc cli_server_prepared(const struct cli_server *server, size_t *ret_count,
                                              struct tpc_err *reterr);

#endif
