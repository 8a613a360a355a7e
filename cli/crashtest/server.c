#include "cli/crashtest/server.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    MAKE_MS = 120000,
    START_MS = 60000,
    ENDS_MAX = 10,  /* by itself, … */
    ENDS_MS = 5000, /* … for at least so long */
    CLIENT_MS = 30000,
    LOOK_EVERY_MS = 20,
};

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static const char *const names[] = {
    [CLI_NO_ENGINE] = "", [CLI_ENGINE_POSTGRESQL] = "postgresql", [CLI_ENGINE_MARIADB] = "mariadb"};

bool cli_engine_parse(const char *text, size_t size, enum cli_engine *ret_engine)
{
    for (unsigned i = CLI_ENGINE_POSTGRESQL; i <= CLI_ENGINE_MARIADB; i++) {
        if (strlen(names[i]) == size && memcmp(names[i], text, size) == 0) {
            *ret_engine = (enum cli_engine)i;
            return true;
        }
    }
    return false;
}

const char *cli_engine_name(enum cli_engine engine)
{
    return names[engine];
}

/* ---- Addresses ---- */

int cli_port_reserve(unsigned *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&address, size) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        cli_die("no free port: %s", strerror(errno));
    }
    *ret_port = ntohs(address.sin_port);
    return fd;
}

/* ---- Programs ---- */

/* Debian has PostgreSQL's off the PATH, in a directory of each version. */
static bool find_program(enum cli_engine engine, const char *name, char *out, size_t size)
{
    glob_t found = {0};
    char pattern[64];
    (void)snprintf(pattern, sizeof pattern, "/usr/lib/postgresql/*/bin/%s", name);
    bool is_there = engine == CLI_ENGINE_POSTGRESQL && glob(pattern, 0, NULL, &found) == 0;
    if (is_there) {
        (void)snprintf(out, size, "%s", found.gl_pathv[found.gl_pathc - 1]);
    }
    globfree(&found);
    static const char *const places[] = {"/usr/sbin", "/usr/bin", "/usr/local/sbin",
                                         "/usr/local/bin"};
    for (size_t i = 0; i < sizeof places / sizeof places[0] && !is_there; i++) {
        (void)snprintf(out, size, "%s/%s", places[i], name);
        is_there = access(out, X_OK) == 0;
    }
    return is_there;
}

static enum tpc_rc need_program(enum cli_engine engine, const char *name, char *out, size_t size,
                                struct tpc_err *reterr)
{
    return find_program(engine, name, out, size)
               ? TPC_OK
               : tpc_fail(reterr, TPC_EMISSING,
                          "%s is not installed: on Debian, apt-get install %s", name,
                          engine == CLI_ENGINE_POSTGRESQL ? "postgresql" : "mariadb-server");
}

/* Servers refuse to be run by root. The words before their command line; empty when we are not. */
static const char *const *as_ordinary(void)
{
    static const char *const words[] = {"setpriv",        "--reuid=nobody",   "--regid=nogroup",
                                        "--clear-groups", "--pdeathsig=KILL", NULL};
    static const char *const none[] = {NULL};
    return geteuid() == 0 ? words : none;
}

static void give_away(const char *path)
{
    const struct passwd *nobody = geteuid() == 0 ? getpwnam("nobody") : NULL;
    if (nobody != NULL && chown(path, nobody->pw_uid, nobody->pw_gid) != 0) {
        cli_die("%s: %s", path, strerror(errno));
    }
}

/* As the ordinary user, to the end. */
static enum tpc_rc run(const char *const *words, const char *log, struct tpc_err *reterr)
{
    const char *args[CLI_ARGS_MAX + 1];
    const char *const *before = as_ordinary();
    size_t count = 0;
    for (; *before != NULL; before++) {
        args[count++] = *before;
    }
    for (; *words != NULL && count < CLI_ARGS_MAX; words++) {
        args[count++] = *words;
    }
    args[count] = NULL;
    int status = cli_proc_run(args, log, MAKE_MS);
    return status == 0 ? TPC_OK
                       : tpc_fail(reterr, TPC_EIO, "%s ends with %d: see %s", args[0], status, log);
}

/* ---- Files ---- */

struct paths {
    char data[CLI_PATH_MAX + 16], log[CLI_PATH_MAX + 16], socket[CLI_PATH_MAX + 16];
};

static struct paths paths_of(const char *directory)
{
    struct paths paths;
    (void)snprintf(paths.data, sizeof paths.data, "%s/data", directory);
    (void)snprintf(paths.log, sizeof paths.log, "%s/log", directory);
    (void)snprintf(paths.socket, sizeof paths.socket, "%s/sock", directory);
    return paths;
}

static void make_directory(const char *directory)
{
    if (mkdir(directory, 0711) != 0) {
        cli_die("%s: %s", directory, strerror(errno));
    }
    give_away(directory);
}

static enum tpc_rc create_postgresql(const struct paths *paths, struct tpc_err *reterr)
{
    char initdb[CLI_PATH_MAX];
    enum tpc_rc rc = need_program(CLI_ENGINE_POSTGRESQL, "initdb", initdb, sizeof initdb, reterr);
    return rc == TPC_OK ? run(WORDS(initdb, "-D", paths->data, "-A", "trust", "-U", "assent",
                                    "--no-sync", "--locale=C.UTF-8"),
                              paths->log, reterr)
                        : rc;
}

static enum tpc_rc create_mariadb(const char *directory, const struct paths *paths,
                                  struct tpc_err *reterr)
{
    char install[CLI_PATH_MAX], data[CLI_PATH_MAX + 32], tmp[CLI_PATH_MAX + 32];
    (void)snprintf(data, sizeof data, "--datadir=%s", paths->data);
    (void)snprintf(tmp, sizeof tmp, "--tmpdir=%s", directory);
    enum tpc_rc rc =
        need_program(CLI_ENGINE_MARIADB, "mariadb-install-db", install, sizeof install, reterr);
    return rc == TPC_OK ? run(WORDS(install, "--no-defaults", data, tmp, "--skip-test-db",
                                    "--auth-root-authentication-method=normal",
                                    "--skip-name-resolve", "--innodb-log-file-size=8M"),
                              paths->log, reterr)
                        : rc;
}

enum tpc_rc cli_server_create(enum cli_engine engine, const char *directory, struct tpc_err *reterr)
{
    struct paths paths = paths_of(directory);
    make_directory(directory);
    return engine == CLI_ENGINE_POSTGRESQL ? create_postgresql(&paths, reterr)
                                           : create_mariadb(directory, &paths, reterr);
}

enum tpc_rc cli_server_copy(const struct cli_server *server, const char *directory,
                            struct tpc_err *reterr)
{
    struct paths from = paths_of(server->directory), to = paths_of(directory);
    make_directory(directory);
    int status =
        cli_proc_run(WORDS("cp", "-a", "--reflink=auto", from.data, to.data), to.log, MAKE_MS);
    return status == 0
               ? TPC_OK
               : tpc_fail(reterr, TPC_EIO, "%s cannot be copied: see %s", from.data, to.log);
}

void cli_server_init(struct cli_server *server, enum cli_engine engine, const char *directory)
{
    *server = (struct cli_server){.engine = engine};
    (void)snprintf(server->directory, sizeof server->directory, "%s", directory);
    server->port_fd = cli_port_reserve(&server->port);
}

/* ---- Run ---- */

static enum tpc_rc launch(struct cli_server *server, struct tpc_err *reterr)
{
    struct paths paths = paths_of(server->directory);
    bool maria = server->engine == CLI_ENGINE_MARIADB;
    char program[CLI_PATH_MAX], port[24], data[sizeof paths.data + 16],
        sock[sizeof paths.socket + 16], tmp[CLI_PATH_MAX + 16], pid[CLI_PATH_MAX + 24];
    enum tpc_rc rc = need_program(server->engine, maria ? "mariadbd" : "postgres", program,
                                  sizeof program, reterr);
    if (rc != TPC_OK) {
        return rc;
    }
    (void)snprintf(port, sizeof port, maria ? "--port=%u" : "%u", server->port);
    (void)snprintf(data, sizeof data, "--datadir=%s", paths.data);
    (void)snprintf(sock, sizeof sock, "--socket=%s", paths.socket);
    (void)snprintf(tmp, sizeof tmp, "--tmpdir=%s", server->directory);
    (void)snprintf(pid, sizeof pid, "--pid-file=%s/pid", server->directory);
    const char *const *words =
        maria ? WORDS(program, "--no-defaults", data, sock, port, pid, tmp,
                      "--bind-address=127.0.0.1", "--skip-name-resolve",
                      "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M",
                      "--character-set-server=utf8mb4", "--max-connections=200")
              : WORDS(program, "-D", paths.data, "-p", port, "-k", server->directory, "-c",
                      "listen_addresses=127.0.0.1", "-c", "shared_buffers=16MB", "-c",
                      "logging_collector=off", "-c", "max_prepared_transactions=100");
    server->proc.wrapper = as_ordinary();
    cli_proc_start(&server->proc, words, paths.log);
    return TPC_OK;
}

static bool answers(const struct cli_server *server)
{
    struct tpc_err err = {0};
    return cli_server_run(server, "", "SELECT 1", NULL, &err) == TPC_OK;
}

enum tpc_rc cli_server_start(struct cli_server *server, struct tpc_err *reterr)
{
    static const struct timespec pause = {.tv_nsec = LOOK_EVERY_MS * 1000000L};
    uint64_t began_ms = tpc_clock_mono_ms();
    unsigned ends = 0;
    enum tpc_rc rc = launch(server, reterr);
    while (rc == TPC_OK && !answers(server)) {
        uint64_t took_ms = tpc_clock_mono_ms() - began_ms;
        bool ended = cli_proc_has_ended(&server->proc);
        ends += ended;
        if (took_ms >= START_MS || (took_ms >= ENDS_MS && ends >= ENDS_MAX)) {
            return tpc_fail(reterr, TPC_EIO, "the %s server does not start: see %s/log",
                            names[server->engine], server->directory);
        }
        /* After a kill the last of its processes may still be ending. */
        if (ended) {
            rc = launch(server, reterr);
        }
        (void)nanosleep(&pause, NULL);
    }
    return rc;
}

bool cli_server_is_running(struct cli_server *server)
{
    return !cli_proc_has_ended(&server->proc);
}

static void end_by(struct cli_server *server, int number)
{
    cli_proc_signal(&server->proc, number);
    if (!cli_proc_wait(&server->proc, CLI_STOP_MS)) {
        cli_proc_kill(&server->proc);
    }
}

void cli_server_stop(struct cli_server *server)
{
    end_by(server, server->engine == CLI_ENGINE_POSTGRESQL ? SIGINT : SIGTERM);
}

/* SIGKILL would leave PostgreSQL's shared memory behind. */
void cli_server_done(struct cli_server *server)
{
    if (server->engine == CLI_NO_ENGINE) {
        return;
    }
    end_by(server, server->engine == CLI_ENGINE_POSTGRESQL ? SIGQUIT : SIGKILL);
    (void)close(server->port_fd);
    *server = (struct cli_server){0};
}

/* ---- Its own client ---- */

void cli_server_url(const struct cli_server *server, const char *database, char *out, size_t size)
{
    (void)snprintf(out, size, "%s://assent@127.0.0.1:%u/%s", names[server->engine], server->port,
                   database);
}

static void fill(struct cli_client *client, const char *const *words)
{
    size_t count = 0;
    for (; words[count] != NULL && count < CLI_CLIENT_WORDS - 1; count++) {
        client->words[count] = words[count];
    }
    client->words[count] = NULL;
}

void cli_server_client(const struct cli_server *server, const char *database, const char *sql,
                       struct cli_client *ret_client)
{
    struct cli_client *client = ret_client;
    if (server->engine == CLI_ENGINE_POSTGRESQL) {
        (void)snprintf(client->host, sizeof client->host, "%s", server->directory);
        (void)snprintf(client->port, sizeof client->port, "%u", server->port);
        fill(client,
             WORDS("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", client->host, "-p", client->port,
                   "-U", "assent", "-d", database[0] != '\0' ? database : "postgres", "-c", sql));
    } else {
        (void)snprintf(client->host, sizeof client->host, "%s/sock", server->directory);
        fill(client, WORDS("mariadb", "--no-defaults", "--batch", "--skip-column-names", "--raw",
                           "-S", client->host, "-u", "root", "-e", sql, database));
    }
}

static void read_all(const char *path, struct tpc_buf *out)
{
    char bytes[4096];
    FILE *file = fopen(path, "re");
    size_t got = file != NULL ? 1 : 0;
    while (got > 0) {
        got = fread(bytes, 1, sizeof bytes, file);
        tpc_buf_add(out, bytes, got);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
}

enum tpc_rc cli_server_run(const struct cli_server *server, const char *database, const char *sql,
                           struct tpc_buf *out, struct tpc_err *reterr)
{
    struct cli_client client;
    struct tpc_buf said = {0};
    char path[CLI_PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/client", server->directory);
    (void)unlink(path);
    cli_server_client(server, database, sql, &client);
    int status = cli_proc_run(client.words, path, CLIENT_MS);
    read_all(path, &said);
    enum tpc_rc rc = TPC_OK;
    if (status == 127) {
        rc = tpc_fail(reterr, TPC_EMISSING, "%s is not installed", client.words[0]);
    } else if (status != 0) {
        rc = tpc_fail(reterr, TPC_EIO, "%s: %.300s", client.words[0],
                      said.data != NULL ? said.data : "failed");
    } else if (out != NULL) {
        tpc_buf_clear(out);
        tpc_buf_add(out, said.data != NULL ? said.data : "", said.size);
    }
    tpc_buf_done(&said);
    return rc;
}

enum tpc_rc cli_server_prepared(const struct cli_server *server, size_t *ret_count,
                                struct tpc_err *reterr)
{
    struct tpc_buf lines = {0};
    enum tpc_rc rc =
        cli_server_run(server, "",
                       server->engine == CLI_ENGINE_POSTGRESQL ? "SELECT gid FROM pg_prepared_xacts"
                                                               : "XA RECOVER FORMAT='SQL'",
                       &lines, reterr);
    *ret_count = 0;
    for (size_t i = 0; i < lines.size; i++) {
        *ret_count += lines.data[i] == '\n';
    }
    tpc_buf_done(&lines);
    return rc;
}
