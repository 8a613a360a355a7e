/* The five-minute tour, played by the real programs. What it says, it has checked. */
#include "cli/crashtest/server.h"
#include "cli/demo_stage.h"
#include "cli/out.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEMO_WITH, DEMO_KEEP };
enum { COORDINATOR, BANKS }; /* places in stage.daemons */
enum { BANKS_MAX = CLI_STAGE_DAEMONS - 1, PAID = 30 };

/* The words of a command, ended by NULL. */
#define WORDS(...)    ((const char *const[]){__VA_ARGS__, NULL})
#define CRASH_KEY     "order-17"
#define READ_ACCOUNTS "SELECT owner, balance FROM accounts"

struct bank {
    const char *name, *owner;
    enum cli_engine engine; /* none: SQLite */
    int balance;            /* as it must be now */
    struct cli_server server;
};

struct demo {
    struct cli_stage stage;
    struct bank banks[BANKS_MAX]; /* the first one's owner pays all others */
    unsigned count;
};

static struct cli_daemon *agent_of(struct demo *demo, unsigned bank)
{
    return &demo->stage.daemons[BANKS + bank];
}

/* ---- The databases, past Assent ---- */

/* By the database's own client. */
static void run_client(struct demo *demo, const struct bank *bank, const char *database,
                       const char *sql, struct tpc_buf *ret_output)
{
    struct cli_client client;
    char file[64];
    if (bank->engine == CLI_NO_ENGINE) {
        snprintf(file, sizeof(file), "%s.db", bank->name);
        cli_stage_run(&demo->stage, 0, ret_output, WORDS("sqlite3", file, sql));
    } else {
        cli_server_client(&bank->server, database, sql, &client);
        cli_stage_run(&demo->stage, 0, ret_output, client.words);
    }
}

static void create_bank(struct demo *demo, const struct bank *bank)
{
    char sql[512];
    bool maria = bank->engine == CLI_ENGINE_MARIADB;
    snprintf(sql, sizeof(sql),
             "CREATE TABLE accounts (owner %s PRIMARY KEY NOT NULL,"
             " balance INTEGER NOT NULL CHECK (balance >= 0))%s;"
             " INSERT INTO accounts VALUES ('%s', %d);",
             maria ? "VARCHAR(20)" : "TEXT", maria ? " ENGINE=InnoDB" : "", bank->owner,
             bank->balance);
    run_client(demo, bank, bank->name, sql, NULL);
}

/* As somebody has who comes to Assent with a server that runs already. */
static void start_server(struct demo *demo, struct bank *bank)
{
    struct cli_stage *stage = &demo->stage;
    char directory[sizeof(stage->directory) + 32], sql[128];
    struct tpc_err err = {0};
    if (stage->failed) {
        return;
    }
    printf("A %s server, made from the installed programs, on a free port.\n\n",
           cli_engine_name(bank->engine));
    fflush(stdout);
    (void)chmod(stage->directory, 0711); /* its user has to come to its files */
    snprintf(directory, sizeof(directory), "%.200s/%s", stage->directory,
             cli_engine_name(bank->engine));
    enum tpc_rc rc = cli_server_create(bank->engine, directory, &err);
    if (rc == TPC_OK) {
        cli_server_init(&bank->server, bank->engine, directory);
        rc = cli_server_start(&bank->server, &err);
    }
    if (rc != TPC_OK) {
        cli_stage_fail(stage, "%s", err.text);
        return;
    }
    snprintf(sql, sizeof(sql), "CREATE DATABASE %s", bank->name);
    run_client(demo, bank, "", sql, NULL);
    if (bank->engine == CLI_ENGINE_MARIADB) {
        snprintf(sql, sizeof(sql), "CREATE USER assent@'%%'; GRANT ALL ON %s.* TO assent@'%%'",
                 bank->name);
        run_client(demo, bank, "", sql, NULL);
    }
}

static void expect_balances(struct demo *demo)
{
    for (unsigned i = 0; i < demo->count; i++) {
        const struct bank *bank = &demo->banks[i];
        struct tpc_buf said = {0};
        char expected[64];
        snprintf(expected, sizeof(expected), "%s%c%d\n", bank->owner,
                 bank->engine == CLI_ENGINE_MARIADB ? '\t' : '|', bank->balance);
        run_client(demo, bank, bank->name, READ_ACCOUNTS, &said);
        if (!demo->stage.failed && (said.data == NULL || strcmp(said.data, expected) != 0)) {
            cli_stage_fail(&demo->stage, "%s should hold %s", bank->name, expected);
        }
        tpc_buf_done(&said);
    }
}

static void pay(struct demo *demo)
{
    demo->banks[0].balance -= PAID;
    for (unsigned i = 1; i < demo->count; i++) {
        demo->banks[i].balance += PAID / (int)(demo->count - 1);
    }
}

/* ---- Scenes ---- */

static void add_branch(struct tpc_buf *out, const struct bank *bank, int amount)
{
    bool numbered = bank->engine == CLI_ENGINE_POSTGRESQL;
    tpc_buf_addf(
        out,
        "    { \"participant\": \"%s\", \"statements\": [\n"
        "      { \"sql\": \"UPDATE accounts SET balance = balance %c %s WHERE owner = '%s'\",\n"
        "        \"params\": [%d], \"expect\": {\"rows\": 1} } ] }",
        bank->name, amount < 0 ? '-' : '+', numbered ? "$1" : "?", bank->owner, abs(amount));
}

static void write_transfer(struct demo *demo, const char *name, int amount)
{
    struct tpc_buf text = {0};
    tpc_buf_addf(&text, "{ \"label\": \"alice pays %d\",\n  \"branches\": [\n", amount);
    add_branch(&text, &demo->banks[0], -amount);
    for (unsigned i = 1; i < demo->count; i++) {
        tpc_buf_adds(&text, ",\n");
        add_branch(&text, &demo->banks[i], amount / (int)(demo->count - 1));
    }
    tpc_buf_adds(&text, " ] }\n");
    if (text.failed) {
        cli_stage_fail(&demo->stage, "out of memory");
    }
    cli_stage_write_file(&demo->stage, name, text.data);
    tpc_buf_done(&text);
}

static void start_agent(struct demo *demo, unsigned which)
{
    const struct bank *bank = &demo->banks[which];
    struct cli_daemon *daemon = agent_of(demo, which);
    char resource[128];
    snprintf(resource, sizeof(resource), "sqlite:%s.db", bank->name);
    if (bank->engine != CLI_NO_ENGINE) {
        cli_server_url(&bank->server, bank->name, resource, sizeof(resource));
    }
    daemon->name = bank->name;
    cli_stage_start(&demo->stage, daemon,
                    WORDS("assent-agent", resource, "--name", bank->name, "--data", bank->name,
                          "--listen", "127.0.0.1:0"));
}

static void start_coordinator(struct demo *demo, const char *listen, const char *failpoints)
{
    struct cli_stage *stage = &demo->stage;
    char members[BANKS_MAX][192];
    const char *words[CLI_STAGE_WORDS] = {"assentd", "--data", "assentd", "--listen", listen};
    size_t count = 5;
    for (unsigned i = 0; i < demo->count; i++) {
        snprintf(members[i], sizeof(members[i]), "%s=%s", demo->banks[i].name,
                 agent_of(demo, i)->url);
        words[count++] = "--participant";
        words[count++] = members[i];
    }
    if (failpoints != NULL) {
        words[count++] = "--failpoints";
        words[count++] = failpoints;
    }
    words[count] = NULL;
    stage->daemons[COORDINATOR].name = "assentd";
    cli_stage_start(stage, &stage->daemons[COORDINATOR], words);
    if (!stage->failed) {
        setenv("ASSENT_URL", stage->daemons[COORDINATOR].url, 1);
    }
}

/* At the address of the first start, so that everybody finds it again. */
static void restart_coordinator(struct demo *demo, const char *failpoints)
{
    char url[sizeof(demo->stage.daemons[COORDINATOR].url)];
    memcpy(url, demo->stage.daemons[COORDINATOR].url, sizeof(url));
    const char *listen = strstr(url, "://");
    start_coordinator(demo, listen != NULL ? listen + 3 : url, failpoints);
}

static void play_start(struct demo *demo)
{
    static const char *const titles[] = {"Two banks", "Three banks", "Four banks"};
    struct cli_stage *stage = &demo->stage;
    cli_stage_title(stage, titles[demo->count - 2]);
    cli_stage_tell(
        stage, "Two ordinary SQLite databases, made with the ordinary tool: alice has 100 at the\n"
               "east bank, bob 50 at the west bank.");
    for (unsigned i = 0; i < demo->count; i++) {
        if (demo->banks[i].engine != CLI_NO_ENGINE) {
            start_server(demo, &demo->banks[i]);
        }
        create_bank(demo, &demo->banks[i]);
    }
    cli_stage_tell(stage,
                   "Beside each database an agent, and one coordinator that knows them all.");
    for (unsigned i = 0; i < demo->count; i++) {
        start_agent(demo, i);
    }
    start_coordinator(demo, "127.0.0.1:0", NULL);
    if (!stage->failed) {
        printf("$ export ASSENT_URL=%s\n\n", stage->daemons[COORDINATOR].url);
    }
}

static void play_transfer(struct demo *demo)
{
    struct cli_stage *stage = &demo->stage;
    cli_stage_title(stage, "A transfer");
    cli_stage_tell(stage, "One JSON document says what to do in each database.");
    write_transfer(demo, "transfer.json", PAID);
    cli_stage_run(stage, 0, NULL, WORDS("cat", "transfer.json"));
    cli_stage_run(stage, CLI_OK, NULL, WORDS("assent", "submit", "transfer.json"));
    cli_stage_tell(stage, "All databases have it:");
    pay(demo);
    expect_balances(demo);
}

static void play_refusal(struct demo *demo)
{
    struct cli_stage *stage = &demo->stage;
    cli_stage_title(stage, "One that must not happen");
    cli_stage_tell(
        stage,
        "Alice has 70. The west bank would take its part of 600 for bob at once, but a CHECK\n"
        "constraint of the east bank refuses, so the west bank must not have it either.");
    write_transfer(demo, "too-much.json", 600);
    cli_stage_run(stage, CLI_ABORTED, NULL, WORDS("assent", "submit", "too-much.json"));
    cli_stage_tell(stage, "Nothing changed, anywhere:");
    expect_balances(demo);
}

static void expect_in_doubt(struct demo *demo, unsigned bank)
{
    struct cli_stage *stage = &demo->stage;
    struct tpc_buf said = {0};
    cli_stage_run(stage, CLI_OK, &said,
                  WORDS("assent", "branch", "ls", "--agent", agent_of(demo, bank)->url));
    if (!stage->failed && (said.data == NULL || strstr(said.data, "prepared") == NULL)) {
        cli_stage_fail(stage, "%s should be in doubt", demo->banks[bank].name);
    }
    tpc_buf_done(&said);
}

static void play_crash(struct demo *demo)
{
    struct cli_stage *stage = &demo->stage;
    cli_stage_title(stage, "The crash");
    cli_stage_tell(
        stage,
        "The worst moment for a coordinator to die is when its decision is on disk and nobody\n"
        "has been told. So it starts again, with orders to kill itself right there.");
    cli_stage_stop(stage, &stage->daemons[COORDINATOR]);
    restart_coordinator(demo, "coord.decision.forced=1*kill");
    cli_stage_run(stage, CLI_UNREACHABLE, NULL,
                  WORDS("assent", "submit", "--key", CRASH_KEY, "transfer.json"));
    cli_stage_expect_killed(stage, &stage->daemons[COORDINATOR]);
    cli_stage_tell(
        stage,
        "The coordinator is dead: killed by SIGKILL. The agents promised to commit and were\n"
        "never told whether to. They are in doubt, and say so:");
    for (unsigned i = 0; i < demo->count; i++) {
        expect_in_doubt(demo, i);
    }
    cli_stage_tell(stage,
                   "They hold on to what they promised, and no database shows the transfer yet:");
    expect_balances(demo);
}

static void play_recovery(struct demo *demo)
{
    struct cli_stage *stage = &demo->stage;
    cli_stage_title(stage, "The restart");
    cli_stage_tell(stage, "It reads its log, finds the decision, and tells everybody.");
    restart_coordinator(demo, NULL);
    cli_stage_tell(
        stage,
        "The caller, who never got an answer, asks again with the same key. It is not done a\n"
        "second time; the answer is the outcome that was reached:");
    cli_stage_run(stage, CLI_OK, NULL,
                  WORDS("assent", "submit", "--key", CRASH_KEY, "transfer.json"));
    pay(demo);
    expect_balances(demo);
    cli_stage_title(stage, "Do they agree?");
    cli_stage_tell(stage, "The coordinator's log is compared with what each database holds.");
    cli_stage_run(stage, CLI_OK, NULL, WORDS("assent", "check", "--wait", "20s"));
}

/* ---- The command ---- */

/* "postgresql,mariadb" */
static bool add_engines(struct demo *demo, const char *words)
{
    static const struct bank banks[] = {
        [CLI_ENGINE_POSTGRESQL] = {"north", "carol", CLI_ENGINE_POSTGRESQL, 50, {0}},
        [CLI_ENGINE_MARIADB] = {"south", "dave", CLI_ENGINE_MARIADB, 50, {0}}};
    for (const char *at = words; at != NULL && *at != '\0';) {
        enum cli_engine engine;
        size_t size = strcspn(at, ",");
        bool good = cli_engine_parse(at, size, &engine);
        for (unsigned i = 0; i < demo->count && good; i++) {
            good = demo->banks[i].engine != engine;
        }
        if (!good) {
            fprintf(stderr,
                    "assent demo: --with takes postgresql, mariadb, or both with a comma between, "
                    "not \"%s\"\n",
                    words);
            return false;
        }
        demo->banks[demo->count++] = banks[engine];
        at += size + (at[size] == ',');
    }
    return true;
}

static enum cli_exit run(const struct cli_call *call)
{
    struct demo demo = {.banks = {{"east", "alice", CLI_NO_ENGINE, 100, {0}},
                                  {"west", "bob", CLI_NO_ENGINE, 50, {0}}},
                        .count = 2};
    if (!add_engines(&demo, call->values[DEMO_WITH])) {
        return CLI_USAGE;
    }
    if (!cli_stage_open(&demo.stage)) {
        return CLI_ERROR;
    }
    play_start(&demo);
    play_transfer(&demo);
    play_refusal(&demo);
    play_crash(&demo);
    play_recovery(&demo);
    cli_stage_tell(&demo.stage, "That was it: one outcome everywhere, whatever crashes.");
    cli_stage_stop_all(&demo.stage);
    for (unsigned i = 0; i < demo.count; i++) {
        cli_server_done(&demo.banks[i].server);
    }
    cli_stage_close(&demo.stage, call->values[DEMO_KEEP] != NULL);
    return demo.stage.failed ? CLI_ERROR : CLI_OK;
}

static const struct cli_flag flags[] = {
    [DEMO_WITH] = {"with", "SERVERS",
                   "also at a server of its own: postgresql, mariadb, or both with a comma between",
                   0},
    [DEMO_KEEP] = {"keep", NULL, "leave databases, documents and logs behind", 0},
    {NULL, NULL, NULL, 0},
};

const struct cli_command cli_demo = {
    .name = "demo",
    .summary = "the five-minute tour: a transfer, a refusal, a crash",
    .detail = "Starts two agents and a coordinator on free ports of this machine, in a directory\n"
              "of their own, and takes them down again. Needs the sqlite3 program. --with makes\n"
              "servers there, too, from the installed programs, and an agent beside each.\n",
    .flags = flags,
    .run = run,
};
