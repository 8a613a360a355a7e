/* The five-minute tour, played by the real programs. What it says, it has checked. */
#include "cli/demo_stage.h"
#include "cli/out.h"

#include <stdlib.h>
#include <string.h>

enum { DEMO_KEEP };
enum { EAST, WEST, COORDINATOR };

/* The words of a command, ended by NULL. */
#define WORDS(...)    ((const char *const[]){__VA_ARGS__, NULL})
#define CRASH_KEY     "order-17"
#define READ_ACCOUNTS "SELECT owner, balance FROM accounts"

/* ---- Looking at the databases, past Assent ---- */

static void create_bank(struct cli_stage *stage, const char *database, const char *insert)
{
    char sql[512];
    snprintf(sql, sizeof(sql),
             "CREATE TABLE accounts (owner TEXT PRIMARY KEY NOT NULL,"
             " balance INTEGER NOT NULL CHECK (balance >= 0)); %s",
             insert);
    cli_stage_run(stage, 0, NULL, WORDS("sqlite3", database, sql));
}

static void expect_balance(struct cli_stage *stage, const char *database, const char *expected)
{
    struct tpc_buf said = {0};
    cli_stage_run(stage, 0, &said, WORDS("sqlite3", database, READ_ACCOUNTS));
    if (!stage->failed && (said.data == NULL || strcmp(said.data, expected) != 0)) {
        cli_stage_fail(stage, "%s should hold %s", database, expected);
    }
    tpc_buf_done(&said);
}

static void expect_balances(struct cli_stage *stage, int alice, int bob)
{
    char east[64], west[64];
    snprintf(east, sizeof(east), "alice|%d\n", alice);
    snprintf(west, sizeof(west), "bob|%d\n", bob);
    expect_balance(stage, "east.db", east);
    expect_balance(stage, "west.db", west);
}

/* ---- Scenes ---- */

static void write_transfer(struct cli_stage *stage, const char *name, int amount)
{
    char text[1024];
    snprintf(
        text, sizeof(text),
        "{ \"label\": \"alice to bob, %d\",\n"
        "  \"branches\": [\n"
        "    { \"participant\": \"east\", \"statements\": [\n"
        "      { \"sql\": \"UPDATE accounts SET balance = balance - ? WHERE owner = 'alice'\",\n"
        "        \"params\": [%d], \"expect\": {\"rows\": 1} } ] },\n"
        "    { \"participant\": \"west\", \"statements\": [\n"
        "      { \"sql\": \"UPDATE accounts SET balance = balance + ? WHERE owner = 'bob'\",\n"
        "        \"params\": [%d], \"expect\": {\"rows\": 1} } ] } ] }\n",
        amount, amount, amount);
    cli_stage_write_file(stage, name, text);
}

static void start_agent(struct cli_stage *stage, int which, const char *name, const char *resource)
{
    stage->daemons[which].name = name;
    cli_stage_start(
        stage, &stage->daemons[which],
        WORDS("assent-agent", resource, "--name", name, "--data", name, "--listen", "127.0.0.1:0"));
}

static void start_coordinator(struct cli_stage *stage, const char *listen, const char *failpoints)
{
    char east[192], west[192];
    snprintf(east, sizeof(east), "east=%s", stage->daemons[EAST].url);
    snprintf(west, sizeof(west), "west=%s", stage->daemons[WEST].url);
    stage->daemons[COORDINATOR].name = "assentd";
    cli_stage_start(stage, &stage->daemons[COORDINATOR],
                    WORDS("assentd", "--data", "assentd", "--listen", listen, "--participant", east,
                          "--participant", west, failpoints != NULL ? "--failpoints" : NULL,
                          failpoints));
    if (!stage->failed) {
        setenv("ASSENT_URL", stage->daemons[COORDINATOR].url, 1);
    }
}

/* At the address of the first start, so that everybody finds it again. */
static void restart_coordinator(struct cli_stage *stage, const char *failpoints)
{
    char url[sizeof(stage->daemons[COORDINATOR].url)];
    memcpy(url, stage->daemons[COORDINATOR].url, sizeof(url));
    const char *listen = strstr(url, "://");
    start_coordinator(stage, listen != NULL ? listen + 3 : url, failpoints);
}

static void play_start(struct cli_stage *stage)
{
    cli_stage_title(stage, "Two banks");
    cli_stage_tell(
        stage, "Two ordinary SQLite databases, made with the ordinary tool: alice has 100 at the\n"
               "east bank, bob 50 at the west bank.");
    create_bank(stage, "east.db", "INSERT INTO accounts VALUES ('alice', 100);");
    create_bank(stage, "west.db", "INSERT INTO accounts VALUES ('bob', 50);");
    cli_stage_tell(stage, "Beside each database an agent, and one coordinator that knows both.");
    start_agent(stage, EAST, "east", "sqlite:east.db");
    start_agent(stage, WEST, "west", "sqlite:west.db");
    start_coordinator(stage, "127.0.0.1:0", NULL);
    if (!stage->failed) {
        printf("$ export ASSENT_URL=%s\n\n", stage->daemons[COORDINATOR].url);
    }
}

static void play_transfer(struct cli_stage *stage)
{
    cli_stage_title(stage, "A transfer");
    cli_stage_tell(stage, "One JSON document says what to do in each database.");
    write_transfer(stage, "transfer.json", 30);
    cli_stage_run(stage, 0, NULL, WORDS("cat", "transfer.json"));
    cli_stage_run(stage, CLI_OK, NULL, WORDS("assent", "submit", "transfer.json"));
    cli_stage_tell(stage, "Both databases have it:");
    expect_balances(stage, 70, 80);
}

static void play_refusal(struct cli_stage *stage)
{
    cli_stage_title(stage, "One that must not happen");
    cli_stage_tell(
        stage,
        "Alice has 70. The west bank would take 500 for bob at once, but a CHECK constraint of\n"
        "the east bank refuses, so the west bank must not have it either.");
    write_transfer(stage, "too-much.json", 500);
    cli_stage_run(stage, CLI_ABORTED, NULL, WORDS("assent", "submit", "too-much.json"));
    cli_stage_tell(stage, "Nothing changed, anywhere:");
    expect_balances(stage, 70, 80);
}

static void expect_in_doubt(struct cli_stage *stage, int which)
{
    struct tpc_buf said = {0};
    cli_stage_run(stage, CLI_OK, &said,
                  WORDS("assent", "branch", "ls", "--agent", stage->daemons[which].url));
    if (!stage->failed && (said.data == NULL || strstr(said.data, "prepared") == NULL)) {
        cli_stage_fail(stage, "%s should be in doubt", stage->daemons[which].name);
    }
    tpc_buf_done(&said);
}

static void play_crash(struct cli_stage *stage)
{
    cli_stage_title(stage, "The crash");
    cli_stage_tell(
        stage,
        "The worst moment for a coordinator to die is when its decision is on disk and nobody\n"
        "has been told. So it starts again, with orders to kill itself right there.");
    cli_stage_stop(stage, &stage->daemons[COORDINATOR]);
    restart_coordinator(stage, "coord.decision.forced=1*kill");
    cli_stage_run(stage, CLI_UNREACHABLE, NULL,
                  WORDS("assent", "submit", "--key", CRASH_KEY, "transfer.json"));
    cli_stage_expect_killed(stage, &stage->daemons[COORDINATOR]);
    cli_stage_tell(
        stage,
        "The coordinator is dead: killed by SIGKILL. Both agents promised to commit and were\n"
        "never told whether to. They are in doubt, and say so:");
    expect_in_doubt(stage, EAST);
    expect_in_doubt(stage, WEST);
    cli_stage_tell(
        stage, "They hold on to what they promised, and neither database shows the transfer yet:");
    expect_balances(stage, 70, 80);
}

static void play_recovery(struct cli_stage *stage)
{
    cli_stage_title(stage, "The restart");
    cli_stage_tell(stage, "It reads its log, finds the decision, and tells everybody.");
    restart_coordinator(stage, NULL);
    cli_stage_tell(
        stage,
        "The caller, who never got an answer, asks again with the same key. It is not done a\n"
        "second time; the answer is the outcome that was reached:");
    cli_stage_run(stage, CLI_OK, NULL,
                  WORDS("assent", "submit", "--key", CRASH_KEY, "transfer.json"));
    expect_balances(stage, 40, 110);
    cli_stage_title(stage, "Do they agree?");
    cli_stage_tell(stage, "The coordinator's log is compared with what each database holds.");
    cli_stage_run(stage, CLI_OK, NULL, WORDS("assent", "check", "--wait", "20s"));
}

static enum cli_exit run(const struct cli_call *call)
{
    struct cli_stage stage;
    if (!cli_stage_open(&stage)) {
        return CLI_ERROR;
    }
    play_start(&stage);
    play_transfer(&stage);
    play_refusal(&stage);
    play_crash(&stage);
    play_recovery(&stage);
    cli_stage_tell(&stage, "That was it: one outcome everywhere, whatever crashes.");
    cli_stage_close(&stage, call->values[DEMO_KEEP] != NULL);
    return stage.failed ? CLI_ERROR : CLI_OK;
}

static const struct cli_flag flags[] = {
    [DEMO_KEEP] = {"keep", NULL, "leave databases, documents and logs behind", 0},
    {NULL, NULL, NULL, 0},
};

const struct cli_command cli_demo = {
    .name = "demo",
    .summary = "the five-minute tour: a transfer, a refusal, a crash",
    .detail = "Starts two agents and a coordinator on free ports of this machine, in a directory\n"
              "of their own, and takes them down again. Needs the sqlite3 program.\n",
    .flags = flags,
    .run = run,
};
