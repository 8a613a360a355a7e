#include "cli/bench/stage.h"

#include "cli/scratch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SQL_MS = 600000, PATH_ROOM = 2 * CLI_PATH_MAX };

static const char *const names[] = {"east",  "west",  "north", "south",
                                    "upper", "lower", "inner", "outer"};
enum { NAMES = sizeof names / sizeof names[0] };

enum cli_bench_sql cli_bench_resource_sql(const char *resource)
{
    return strcmp(resource, "sqlite") == 0               ? CLI_BENCH_SQLITE
           : strncmp(resource, "postgresql://", 13) == 0 ? CLI_BENCH_POSTGRESQL
           : strncmp(resource, "mariadb://", 10) == 0    ? CLI_BENCH_MARIADB
                                                         : CLI_BENCH_SQLS;
}

static const char *resource_of(const struct cli_bench_stage *stage, unsigned index)
{
    return stage->plan->resources[index % stage->plan->resource_count];
}

/* ---- Tables, with the ordinary tools, as a user would ---- */

static void run_tool(const struct cli_bench_stage *stage, const char *const *args)
{
    char out[PATH_ROOM];
    (void)snprintf(out, sizeof out, "%s/tables.log", stage->directory);
    int status = cli_proc_run(args, out, SQL_MS);
    if (status == 127) {
        cli_die("the %s program is not installed", args[0]);
    }
    if (status != 0) {
        cli_die("%s ends with %d: see %s", args[0], status, out);
    }
}

static void write_file(const char *path, const struct tpc_buf *text)
{
    FILE *file = fopen(path, "we");
    bool good =
        file != NULL && !text->failed && fwrite(text->data, 1, text->size, file) == text->size;
    if (file == NULL || fclose(file) != 0 || !good) {
        cli_die("cannot write %s: %s", path, strerror(errno));
    }
}

/* "mariadb://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE" for the tool of the server. */
static void run_mariadb(const struct cli_bench_stage *stage, const char *url, const char *path)
{
    char words[4][320], source[PATH_ROOM + 16], copy[300];
    (void)snprintf(copy, sizeof copy, "%s", url + strlen("mariadb://"));
    char *slash = strchr(copy, '/'), *at = strrchr(copy, '@');
    char *host = at != NULL ? at + 1 : copy;
    if (slash == NULL) {
        cli_die("%s: the database is missing", url);
    }
    *slash = '\0';
    if (at != NULL) {
        *at = '\0';
    }
    char *port = strchr(host, ':'), *password = at != NULL ? strchr(copy, ':') : NULL;
    *(port != NULL ? port++ : slash) = '\0';
    *(password != NULL ? password++ : slash) = '\0';
    (void)snprintf(words[0], sizeof words[0], "--user=%s", at != NULL ? copy : "root");
    (void)snprintf(words[1], sizeof words[1], "--password=%s", password != NULL ? password : "");
    (void)snprintf(words[2], sizeof words[2], "--host=%s", host);
    (void)snprintf(words[3], sizeof words[3], "--port=%s", port != NULL ? port : "3306");
    (void)snprintf(source, sizeof source, "source %s", path);
    const char *const args[] = {"mariadb", "--protocol=tcp", words[0], words[1],  words[2],
                                words[3],  "--execute",      source,   slash + 1, NULL};
    run_tool(stage, args);
}

static void run_sql(const struct cli_bench_stage *stage, unsigned index, const struct tpc_buf *sql)
{
    const char *resource = resource_of(stage, index), *name = stage->load->members[index].name;
    char path[PATH_ROOM], database[PATH_ROOM], command[PATH_ROOM + 16];
    (void)snprintf(path, sizeof path, "%s/%s.sql", stage->directory, name);
    (void)snprintf(database, sizeof database, "%s/%s.db", stage->directory, name);
    (void)snprintf(command, sizeof command, ".read '%s'", path);
    write_file(path, sql);
    const char *const sqlite[] = {"sqlite3", "-batch", "-bail", database, command, NULL};
    const char *const psql[] = {"psql", "-Xqd", resource, "-v", "ON_ERROR_STOP=1",
                                "-f",   path,   NULL};
    switch (stage->load->members[index].sql) {
    case CLI_BENCH_SQLITE:
        run_tool(stage, sqlite);
        break;
    case CLI_BENCH_POSTGRESQL:
        run_tool(stage, psql);
        break;
    case CLI_BENCH_MARIADB:
        run_mariadb(stage, resource, path);
        break;
    case CLI_BENCH_SQLS:
        break;
    }
}

static void make_table(const struct cli_bench_stage *stage, unsigned index)
{
    struct tpc_buf sql = {0};
    cli_load_table(&stage->load->members[index], stage->load->accounts, &sql);
    run_sql(stage, index, &sql);
    tpc_buf_done(&sql);
}

static void drop_table(const struct cli_bench_stage *stage, unsigned index)
{
    struct tpc_buf sql = {0};
    cli_load_drop(&stage->load->members[index], &sql);
    run_sql(stage, index, &sql);
    tpc_buf_done(&sql);
}

/* ---- Processes ---- */

struct command {
    const char *args[CLI_ARGS_MAX * 2 + 1];
    unsigned count;
};

static void add(struct command *command, const char *a, const char *b)
{
    if (command->count + 2 > CLI_ARGS_MAX * 2) {
        cli_die("too many arguments");
    }
    command->args[command->count++] = a;
    if (b != NULL) {
        command->args[command->count++] = b;
    }
}

static const char *start(struct cli_bench_stage *stage, const char *name,
                         const struct command *command)
{
    char out[PATH_ROOM];
    struct cli_proc *proc = &stage->procs[stage->proc_count].proc;
    (void)snprintf(stage->procs[stage->proc_count++].name, CLI_BENCH_NAME, "%s", name);
    (void)snprintf(out, sizeof out, "%s/%s.log", stage->directory, name);
    cli_proc_start(proc, command->args, out);
    if (cli_proc_wait_ready(proc, CLI_START_MS) != CLI_READY) {
        cli_die("%s does not get ready: see %s", name, out);
    }
    return proc->url;
}

static const char *start_noop(struct cli_bench_stage *stage)
{
    const struct command command = {
        .args = {"/proc/self/exe", "bench", "--serve-noop", "127.0.0.1:0"}};
    return start(stage, "participants", &command);
}

static const char *start_agent(struct cli_bench_stage *stage, unsigned index)
{
    const char *name = stage->load->members[index].name, *resource = resource_of(stage, index);
    char program[PATH_ROOM], data[PATH_ROOM], file[PATH_ROOM];
    struct command command = {0};
    (void)snprintf(program, sizeof program, "%s/assent-agent", stage->programs);
    (void)snprintf(data, sizeof data, "%s/%s", stage->directory, name);
    (void)snprintf(file, sizeof file, "sqlite:%s/%s.db", stage->directory, name);
    add(&command, program, strcmp(resource, "sqlite") == 0 ? file : resource);
    add(&command, "--name", name);
    add(&command, "--data", data);
    add(&command, "--listen", "127.0.0.1:0");
    for (unsigned i = 0; stage->plan->agent_flags[i] != NULL; i++) {
        add(&command, stage->plan->agent_flags[i], NULL);
    }
    return start(stage, name, &command);
}

static void start_coordinator(struct cli_bench_stage *stage,
                              char members[CLI_BENCH_MEMBERS_MAX][PATH_ROOM])
{
    char program[PATH_ROOM], data[PATH_ROOM];
    struct command command = {0};
    (void)snprintf(program, sizeof program, "%s/assentd", stage->programs);
    (void)snprintf(data, sizeof data, "%s/coordinator", stage->directory);
    add(&command, program, NULL);
    add(&command, "--data", data);
    add(&command, "--listen", "127.0.0.1:0");
    for (unsigned i = 0; i < stage->load->member_count; i++) {
        add(&command, "--participant", members[i]);
    }
    for (unsigned i = 0; stage->plan->coordinator_flags[i] != NULL; i++) {
        add(&command, stage->plan->coordinator_flags[i], NULL);
    }
    (void)snprintf(stage->url, sizeof stage->url, "%s", start(stage, "coordinator", &command));
}

static void name_member(struct cli_bench_stage *stage, unsigned index)
{
    struct cli_load_member *member = &stage->load->members[index];
    if (index < NAMES) {
        (void)snprintf(member->name, sizeof member->name, "%s", names[index]);
    } else {
        (void)snprintf(member->name, sizeof member->name, "%s%u", names[index % NAMES],
                       1 + index / NAMES);
    }
    member->sql =
        stage->plan->noop ? CLI_BENCH_SQLITE : cli_bench_resource_sql(resource_of(stage, index));
}

void cli_bench_stage_open(struct cli_bench_stage *stage, const struct cli_bench_plan *plan,
                          struct cli_load_options *load)
{
    static char members[CLI_BENCH_MEMBERS_MAX][PATH_ROOM];
    struct tpc_err err = {0};
    *stage = (struct cli_bench_stage){.plan = plan, .load = load};
    if (cli_scratch_make("bench", plan->parent, stage->directory, sizeof stage->directory, &err) !=
            TPC_OK ||
        cli_programs_find(stage->programs, sizeof stage->programs, &err) != TPC_OK) {
        cli_die("%s", err.text);
    }
    const char *noop = plan->noop ? start_noop(stage) : NULL;
    for (unsigned i = 0; i < load->member_count; i++) {
        name_member(stage, i);
        const char *name = load->members[i].name;
        if (noop != NULL) {
            (void)snprintf(members[i], sizeof members[i], "%s=%s/%s", name, noop, name);
        } else {
            make_table(stage, i);
            (void)snprintf(members[i], sizeof members[i], "%s=%s", name, start_agent(stage, i));
        }
    }
    start_coordinator(stage, members);
}

void cli_bench_stage_close(struct cli_bench_stage *stage, bool keep)
{
    for (unsigned i = stage->proc_count; i > 0; i--) {
        struct cli_proc *proc = &stage->procs[i - 1].proc;
        cli_proc_signal(proc, SIGTERM);
        if (!cli_proc_wait(proc, CLI_STOP_MS)) {
            cli_proc_kill(proc);
        }
    }
    for (unsigned i = 0; i < stage->load->member_count && !stage->plan->noop; i++) {
        if (stage->load->members[i].sql != CLI_BENCH_SQLITE) {
            drop_table(stage, i);
        }
    }
    if (keep) {
        (void)fprintf(stderr, "Everything is still in %s\n", stage->directory);
    } else {
        cli_scratch_remove(stage->directory);
    }
}
