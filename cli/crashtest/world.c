#include "cli/crashtest/world.h"

#include "base/clock.h"
#include "cli/crashtest/workload_internal.h"
#include "cli/http.h"
#include "cli/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SETUP_MS = 60000, LOOK_EVERY_MS = 10, LOOK_MS = 1000 };

#define TEMPLATE "empty.db"

/* ---- The setup ---- */

/* The tables and what they hold at the beginning. */
static void write_beginning(enum cli_dialect dialect, struct tpc_buf *sql)
{
    cli_workload_tables(dialect, sql);
    for (int i = 1; i <= CLI_ACCOUNTS; i++) {
        tpc_buf_addf(sql, "INSERT INTO " CLI_ACCOUNTS_TABLE "(id, balance) VALUES (%d, %d);\n", i,
                     CLI_BALANCE);
    }
    for (int i = 1; i <= CLI_LISTS; i++) {
        tpc_buf_addf(sql, "INSERT INTO " CLI_LISTS_TABLE "(id, list) VALUES (%d, '');\n", i);
    }
}

/* With the ordinary tool, as a user would. */
static enum tpc_rc make_template(const struct cli_setup *setup, struct tpc_err *reterr)
{
    struct tpc_buf sql = {0};
    char path[2 * CLI_PATH_MAX], out[2 * CLI_PATH_MAX];
    tpc_buf_adds(&sql, "BEGIN;\n");
    write_beginning(CLI_SQLITE, &sql);
    tpc_buf_adds(&sql, "COMMIT;\n");
    (void)snprintf(path, sizeof path, "%s/" TEMPLATE, setup->directory);
    (void)snprintf(out, sizeof out, "%s/sqlite3.log", setup->directory);
    const char *const args[] = {"sqlite3", "-batch", path, sql.data, NULL};
    int status = cli_proc_run(args, out, SETUP_MS);
    tpc_buf_done(&sql);
    if (status == 127) {
        return tpc_fail(reterr, TPC_EMISSING, "the sqlite3 program is not installed");
    }
    return status == 0 ? TPC_OK
                       : tpc_fail(reterr, TPC_EIO, "sqlite3 ends with %d: see %s", status, out);
}

/* A server with the bank in it, of whose files every world gets a copy. */
static enum tpc_rc make_server_template(struct cli_setup *setup, const struct cli_spec *spec,
                                        struct tpc_err *reterr)
{
    struct cli_server *server = &setup->templates[spec->engine];
    struct tpc_buf sql = {0};
    char directory[2 * CLI_PATH_MAX];
    if (server->engine != CLI_NO_ENGINE) {
        return TPC_OK;
    }
    (void)snprintf(directory, sizeof directory, "%.200s/empty-%s", setup->directory,
                   cli_engine_name(spec->engine));
    enum tpc_rc rc = cli_server_create(spec->engine, directory, reterr);
    if (rc != TPC_OK) {
        return rc;
    }
    cli_server_init(server, spec->engine, directory);
    rc = cli_server_start(server, reterr);
    if (rc == TPC_OK && spec->engine == CLI_ENGINE_MARIADB) {
        rc = cli_server_run(
            server, "", "CREATE USER assent@'%'; GRANT ALL ON " CLI_SERVER_BANK ".* TO assent@'%'",
            NULL, reterr);
    }
    rc = rc == TPC_OK ? cli_server_run(server, "", "CREATE DATABASE " CLI_SERVER_BANK, NULL, reterr)
                      : rc;
    write_beginning(spec->dialect, &sql);
    rc = rc == TPC_OK ? cli_server_run(server, CLI_SERVER_BANK, sql.data, NULL, reterr) : rc;
    tpc_buf_done(&sql);
    cli_server_stop(server);
    return rc;
}

static enum tpc_rc make_templates(struct cli_setup *setup, struct tpc_err *reterr)
{
    enum tpc_rc rc = TPC_OK;
    bool file = false;
    for (unsigned i = 0; i < setup->spec_count && rc == TPC_OK; i++) {
        const struct cli_spec *spec = &setup->specs[i];
        file = file || (spec->url == NULL && spec->engine == CLI_NO_ENGINE);
        if (spec->engine != CLI_NO_ENGINE) {
            /* The servers' user has to come to their files. */
            (void)chmod(setup->directory, 0711);
            rc = make_server_template(setup, spec, reterr);
        }
    }
    return rc == TPC_OK && file ? make_template(setup, reterr) : rc;
}

enum tpc_rc cli_setup_open(struct cli_setup *setup, struct tpc_err *reterr)
{
    enum tpc_rc rc =
        cli_scratch_make("crashtest", NULL, setup->directory, sizeof setup->directory, reterr);
    rc = rc == TPC_OK ? cli_programs_find(setup->programs, sizeof setup->programs, reterr) : rc;
    if (rc != TPC_OK) {
        return rc;
    }
    for (unsigned i = 0; i < setup->spec_count; i++) {
        const struct cli_spec *spec = &setup->specs[i];
        setup->members[i] = (struct cli_member){.name = spec->name, .dialect = spec->dialect};
    }
    return make_templates(setup, reterr);
}

void cli_setup_close(struct cli_setup *setup, bool keep)
{
    for (unsigned i = 0; i <= CLI_ENGINE_MARIADB; i++) {
        cli_server_done(&setup->templates[i]);
    }
    if (!keep && setup->directory[0] != '\0') {
        cli_scratch_remove(setup->directory);
    }
}

bool cli_setup_is_alone(const struct cli_setup *setup)
{
    for (unsigned i = 0; i < setup->spec_count; i++) {
        if (setup->specs[i].url != NULL) {
            return true;
        }
    }
    return false;
}

/* ---- The world ---- */

static void reserve_address(struct cli_node *node)
{
    unsigned port;
    node->address_fd = cli_port_reserve(&port);
    (void)snprintf(node->address, sizeof node->address, "127.0.0.1:%u", port);
    (void)snprintf(node->url, sizeof node->url, "http://127.0.0.1:%u", port);
}

static void copy_template(const struct cli_node *node)
{
    char from[2 * CLI_PATH_MAX], to[2 * CLI_PATH_MAX], bytes[65536];
    (void)snprintf(from, sizeof from, "%s/" TEMPLATE, node->world->setup->directory);
    (void)snprintf(to, sizeof to, "%s/%s.db", node->world->directory, node->name);
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ssize_t got = in >= 0 && out >= 0 ? 1 : -1;
    while (got > 0) {
        got = read(in, bytes, sizeof bytes);
        if (got > 0 && write(out, bytes, (size_t)got) != got) {
            got = -1;
        }
    }
    if (got < 0) {
        cli_die("%s: %s", to, strerror(errno));
    }
    (void)close(in);
    (void)close(out);
}

static void init_server(struct cli_node *node)
{
    const struct cli_server *from = &node->world->setup->templates[node->spec->engine];
    char directory[2 * CLI_PATH_MAX];
    struct tpc_err err = {0};
    (void)chmod(node->world->directory, 0711);
    (void)snprintf(directory, sizeof directory, "%.200s/%s-%s", node->world->directory, node->name,
                   cli_engine_name(node->spec->engine));
    if (cli_server_copy(from, directory, &err) != TPC_OK) {
        cli_die("%s", err.text);
    }
    cli_server_init(&node->server, node->spec->engine, directory);
    if (cli_server_start(&node->server, &err) != TPC_OK) {
        cli_die("%s", err.text);
    }
}

static void init_node(struct cli_world *world, const struct cli_spec *spec,
                      const char *const *flags)
{
    struct cli_node *node = &world->nodes[world->node_count++];
    *node = (struct cli_node){.world = world, .spec = spec, .address_fd = -1};
    (void)snprintf(node->name, sizeof node->name, "%s", spec != NULL ? spec->name : "coordinator");
    for (size_t i = 0; flags != NULL && flags[i] != NULL && i < CLI_NODE_FLAGS_MAX - 1; i++) {
        node->flags[i] = flags[i];
    }
    if (spec != NULL && spec->url != NULL) {
        (void)snprintf(node->url, sizeof node->url, "%s", spec->url);
        return;
    }
    reserve_address(node);
    if (spec != NULL && spec->engine != CLI_NO_ENGINE) {
        init_server(node);
    } else if (spec != NULL) {
        copy_template(node);
    }
}

static void init_proxy(struct cli_world *world)
{
    const struct cli_node *coordinator = &world->nodes[0];
    world->proxy = cli_proxy_new();
    cli_proxy_add(world->proxy, CLI_LINK_CLIENTS, coordinator->url, world->client_url,
                  sizeof world->client_url);
    cli_proxy_add(world->proxy, CLI_LINK_INQUIRIES, coordinator->url, world->inquiry_url,
                  sizeof world->inquiry_url);
    for (unsigned i = 0; i < world->setup->spec_count; i++) {
        cli_proxy_add(world->proxy, CLI_LINK_MEMBERS + i, world->nodes[1 + i].url,
                      world->member_urls[i], sizeof world->member_urls[i]);
    }
}

void cli_world_init(struct cli_world *world, const struct cli_setup *setup, const char *name,
                    const char *const *coordinator_flags, const char *const *agent_flags,
                    bool proxied)
{
    *world = (struct cli_world){.setup = setup};
    (void)snprintf(world->directory, sizeof world->directory, "%.170s/%.80s", setup->directory,
                   name);
    if (mkdir(world->directory, 0700) != 0) {
        cli_die("%s: %s", world->directory, strerror(errno));
    }
    init_node(world, NULL, coordinator_flags);
    for (unsigned i = 0; i < setup->spec_count; i++) {
        init_node(world, &setup->specs[i], agent_flags);
        memcpy(world->member_urls[i], world->nodes[1 + i].url, sizeof world->member_urls[i]);
    }
    if (proxied) {
        init_proxy(world);
    }
}

void cli_world_done(struct cli_world *world, bool keep)
{
    for (unsigned i = 0; i < world->node_count; i++) {
        cli_proc_kill(&world->nodes[i].proc);
        cli_server_done(&world->nodes[i].server);
        if (world->nodes[i].address_fd >= 0) {
            (void)close(world->nodes[i].address_fd);
        }
    }
    cli_proxy_free(world->proxy);
    world->proxy = NULL;
    if (!keep) {
        cli_scratch_remove(world->directory);
    }
}

const char *cli_world_url(const struct cli_world *world)
{
    return world->proxy != NULL ? world->client_url : world->nodes[0].url;
}

/* ---- Nodes ---- */

bool cli_node_is_ours(const struct cli_node *node)
{
    return node->spec == NULL || node->spec->url == NULL || node->spec->command != NULL;
}

bool cli_node_has_failpoints(const struct cli_node *node)
{
    return node->spec == NULL || node->spec->url == NULL || node->spec->has_failpoints;
}

struct command {
    const char *args[CLI_ARGS_MAX + 1];
    size_t count;
};

static void add(struct command *command, const char *word)
{
    if (command->count == CLI_ARGS_MAX) {
        cli_die("more than %d arguments", CLI_ARGS_MAX);
    }
    command->args[command->count++] = word;
}

static void add_option(struct command *command, const char *flag, const char *value)
{
    add(command, flag);
    add(command, value);
}

static void add_flags(struct command *command, const struct cli_node *node)
{
    for (size_t i = 0; node->flags[i] != NULL; i++) {
        add(command, node->flags[i]);
    }
}

struct texts {
    char program[2048], data[2 * CLI_PATH_MAX], resource[2 * CLI_PATH_MAX];
    char members[CLI_MEMBERS_MAX][CLI_MEMBER_NAME + 260];
};

static void write_coordinator(const struct cli_node *node, struct texts *texts,
                              struct command *command)
{
    const struct cli_world *world = node->world;
    (void)snprintf(texts->program, sizeof texts->program, "%s/assentd", world->setup->programs);
    add(command, texts->program);
    add_option(command, "--data", texts->data);
    add_option(command, "--listen", node->address);
    if (world->proxy != NULL) {
        add_option(command, "--advertise", world->inquiry_url);
    }
    for (unsigned i = 0; i < world->setup->spec_count; i++) {
        (void)snprintf(texts->members[i], sizeof texts->members[i], "%s=%s",
                       world->setup->specs[i].name, world->member_urls[i]);
        add_option(command, "--participant", texts->members[i]);
    }
    add_flags(command, node);
}

static void write_agent(const struct cli_node *node, struct texts *texts, struct command *command)
{
    (void)snprintf(texts->program, sizeof texts->program, "%s/assent-agent",
                   node->world->setup->programs);
    if (node->server.engine != CLI_NO_ENGINE) {
        cli_server_url(&node->server, CLI_SERVER_BANK, texts->resource, sizeof texts->resource);
    } else {
        (void)snprintf(texts->resource, sizeof texts->resource, "sqlite:%s/%s.db",
                       node->world->directory, node->name);
    }
    add(command, texts->program);
    add(command, texts->resource);
    add_option(command, "--name", node->name);
    add_option(command, "--data", texts->data);
    add_option(command, "--listen", node->address);
    add_flags(command, node);
}

/* The user's own, by a shell that it takes the place of. */
static void write_command(const struct cli_node *node, struct texts *texts, struct command *command)
{
    (void)snprintf(texts->program, sizeof texts->program, "exec %s", node->spec->command);
    add(command, "/bin/sh");
    add_option(command, "-c", texts->program);
}

void cli_node_launch(struct cli_node *node, const char *failpoints)
{
    struct texts texts;
    struct command command = {0};
    char out[2 * CLI_PATH_MAX], variable[600];
    const char *const environment[] = {variable, NULL};
    (void)snprintf(texts.data, sizeof texts.data, "%s/%s", node->world->directory, node->name);
    (void)snprintf(out, sizeof out, "%s/%s.log", node->world->directory, node->name);
    (void)snprintf(variable, sizeof variable, "ASSENT_FAILPOINTS=%s",
                   failpoints != NULL ? failpoints : "");
    if (node->spec == NULL) {
        write_coordinator(node, &texts, &command);
    } else if (node->spec->url == NULL) {
        write_agent(node, &texts, &command);
    } else {
        write_command(node, &texts, &command);
    }
    node->starts++;
    node->proc.environment = environment;
    cli_proc_start(&node->proc, command.args, out);
    node->proc.environment = NULL;
}

/* Does anything answer at its address? */
static bool answers(const struct cli_node *node)
{
    struct cli_http *http = cli_http_new();
    struct cli_answer answer = {0};
    char url[sizeof node->url + 16];
    bool good = false;
    (void)snprintf(url, sizeof url, "%s/readyz", node->url);
    if (http != NULL) {
        struct cli_request request = {.method = "GET", .url = url, .timeout_ms = LOOK_MS};
        good = cli_http_do(http, &request, &answer, NULL) == TPC_OK && answer.status != 503;
        cli_answer_done(&answer);
    }
    cli_http_free(http);
    return good;
}

enum cli_ready cli_node_wait_ready(struct cli_node *node)
{
    static const struct timespec pause = {.tv_nsec = LOOK_EVERY_MS * 1000000L};
    uint64_t until_ms = tpc_clock_mono_ms() + CLI_START_MS;
    if (node->spec == NULL || node->spec->url == NULL) {
        return cli_proc_wait_ready(&node->proc, CLI_START_MS);
    }
    while (!answers(node)) {
        if (node->spec->command != NULL && cli_proc_has_ended(&node->proc)) {
            return CLI_ENDED;
        }
        (void)nanosleep(&pause, NULL);
        if (tpc_clock_mono_ms() >= until_ms) {
            return CLI_LATE;
        }
    }
    return CLI_READY;
}

bool cli_node_is_running(struct cli_node *node)
{
    return !cli_node_is_ours(node) || !cli_proc_has_ended(&node->proc);
}
