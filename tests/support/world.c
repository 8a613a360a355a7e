#include "tests/support/world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <netinet/in.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Banks ---- */

static void make_bank(const struct sup_daemon *agent)
{
    const struct sup_world_options *options = &agent->world->options;
    char sql[640];
    sqlite3 *db;
    (void)snprintf(sql, sizeof sql,
                   "CREATE TABLE accounts(id INTEGER PRIMARY KEY,"
                   " balance INTEGER NOT NULL CHECK (balance >= 0));"
                   "CREATE TABLE ledger(txn TEXT, leg TEXT, amount INTEGER,"
                   " PRIMARY KEY(txn, leg));"
                   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %u)"
                   " INSERT INTO accounts SELECT i, %lld FROM n",
                   options->accounts, (long long)options->balance);
    if (sqlite3_open(agent->db_path, &db) != SQLITE_OK ||
        sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        sup_die("%s: %s", agent->db_path, sqlite3_errmsg(db));
    }
    sqlite3_close(db);
}

/* ---- Addresses ---- */

/* A socket that is bound and does not listen keeps the port from everybody who does not ask for
 * it by number, while a daemon (with SO_REUSEADDR, as this one) may listen on it. */
static void reserve_address(struct sup_daemon *daemon)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&address, size) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        sup_die("no free port: %s", strerror(errno));
    }
    daemon->address_fd = fd;
    (void)snprintf(daemon->address, sizeof daemon->address, "127.0.0.1:%u",
                   ntohs(address.sin_port));
    (void)snprintf(daemon->proc.url, sizeof daemon->proc.url, "http://%s", daemon->address);
}

/* ---- The world ---- */

static void init_daemon(struct sup_world *world, struct sup_daemon *daemon, const char *name,
                        const char *const *flags)
{
    daemon->world = world;
    (void)snprintf(daemon->name, sizeof daemon->name, "%s", name);
    (void)snprintf(daemon->data, sizeof daemon->data, "%.200s/%s", world->directory, name);
    for (size_t i = 0; flags != NULL && flags[i] != NULL && i < SUP_FLAGS_MAX - 1; i++) {
        daemon->flags[i] = flags[i];
    }
    reserve_address(daemon);
}

void sup_world_init(struct sup_world *world, const struct sup_world_options *options)
{
    static const char *const names[SUP_AGENTS_MAX] = {"east", "west", "north", "south"};
    const char *parent = getenv("TMPDIR");
    *world = (struct sup_world){.options = *options};
    world->options.agents = options->agents != 0 ? options->agents : 2;
    world->options.accounts = options->accounts != 0 ? options->accounts : 10;
    world->options.balance = options->balance != 0 ? options->balance : 100;
    (void)snprintf(world->directory, sizeof world->directory, "%.150s/assent-test-XXXXXX",
                   parent != NULL && *parent != '\0' ? parent : "/tmp");
    if (mkdtemp(world->directory) == NULL) {
        sup_die("%s: %s", world->directory, strerror(errno));
    }
    init_daemon(world, &world->coordinator, "coordinator", options->coordinator_flags);
    for (unsigned i = 0; i < world->options.agents; i++) {
        struct sup_daemon *agent = &world->agents[i];
        init_daemon(world, agent, names[i], options->agent_flags);
        (void)snprintf(agent->db_path, sizeof agent->db_path, "%.200s/%s.db", world->directory,
                       names[i]);
        make_bank(agent);
    }
}

struct sup_daemon *sup_world_daemon(struct sup_world *world, unsigned index)
{
    if (index == 0) {
        return &world->coordinator;
    }
    return index <= world->options.agents ? &world->agents[index - 1] : NULL;
}

void sup_world_start(struct sup_world *world)
{
    sup_world_revive(world);
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info, (void)type, (void)at;
    return remove(path);
}

void sup_world_done(struct sup_world *world, bool keep)
{
    struct sup_daemon *daemon;
    for (unsigned i = 0; (daemon = sup_world_daemon(world, i)) != NULL; i++) {
        sup_proc_kill(&daemon->proc);
        (void)close(daemon->address_fd);
    }
    if (keep) {
        (void)fprintf(stderr, "logs and databases: %s\n", world->directory);
    } else {
        (void)nftw(world->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
}

/* ---- Daemons ---- */

struct command {
    const char *args[SUP_ARGS_MAX + 1];
    size_t count;
};

static void add(struct command *command, const char *word)
{
    if (command->count == SUP_ARGS_MAX) {
        sup_die("more than %d arguments", SUP_ARGS_MAX);
    }
    command->args[command->count++] = word;
}

static void add_option(struct command *command, const char *name, const char *value)
{
    add(command, name);
    add(command, value);
}

void sup_daemon_launch(struct sup_daemon *daemon, const char *failpoints)
{
    struct sup_world *world = daemon->world;
    struct command command = {0};
    char resource[SUP_PATH_MAX + 16], members[SUP_AGENTS_MAX][128], out[SUP_PATH_MAX];
    bool agent = daemon->db_path[0] != '\0';
    if (daemon->starts > 0 && !daemon->may_end) {
        sup_proc_expect_good_end(&daemon->proc);
    }
    add(&command, agent ? "assent-agent" : "assentd");
    if (agent) {
        (void)snprintf(resource, sizeof resource, "sqlite:%s", daemon->db_path);
        add(&command, resource);
        add_option(&command, "--name", daemon->name);
    }
    for (unsigned i = 0; !agent && i < world->options.agents; i++) {
        (void)snprintf(members[i], sizeof members[i], "%s=%s", world->agents[i].name,
                       sup_daemon_url(&world->agents[i]));
        add_option(&command, "--participant", members[i]);
    }
    add_option(&command, "--data", daemon->data);
    add_option(&command, "--listen", daemon->address);
    for (size_t i = 0; daemon->flags[i] != NULL; i++) {
        add(&command, daemon->flags[i]);
    }
    if (failpoints != NULL) {
        add_option(&command, "--failpoints", failpoints);
    }
    (void)snprintf(out, sizeof out, "%.200s/%s.log", world->directory, daemon->name);
    daemon->starts++;
    sup_proc_start(&daemon->proc, command.args, out);
}

bool sup_daemon_start(struct sup_daemon *daemon, const char *failpoints)
{
    sup_daemon_launch(daemon, failpoints);
    return sup_proc_wait_ready(&daemon->proc, SUP_START_MS);
}

bool sup_daemon_is_running(struct sup_daemon *daemon)
{
    return !sup_proc_has_ended(&daemon->proc);
}

void sup_daemon_kill(struct sup_daemon *daemon)
{
    sup_proc_kill(&daemon->proc);
}

void sup_daemon_stop(struct sup_daemon *daemon)
{
    sup_proc_stop(&daemon->proc);
}

void sup_world_revive(struct sup_world *world)
{
    bool launched[SUP_AGENTS_MAX + 1] = {false};
    struct sup_daemon *daemon;
    for (unsigned i = 0; (daemon = sup_world_daemon(world, i)) != NULL; i++) {
        if (!sup_daemon_is_running(daemon)) {
            sup_daemon_launch(daemon, NULL);
            launched[i] = true;
        }
    }
    for (unsigned i = 0; (daemon = sup_world_daemon(world, i)) != NULL; i++) {
        if (launched[i] && !sup_proc_wait_ready(&daemon->proc, SUP_START_MS)) {
            char *output = sup_proc_output(&daemon->proc);
            sup_die("%s did not start:\n%s", daemon->name, output);
        }
    }
}

const char *sup_daemon_url(const struct sup_daemon *daemon)
{
    return daemon->proc.url;
}
