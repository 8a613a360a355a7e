#include "tests/unit/participant/agent_fixture.h"

#include "api/client.h"
#include "api/server.h"
#include "base/clock.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000 };

/* ---- The loop, the client, the coordinator ---- */

static uv_loop_t *loop;
static struct api_client *client;
static struct api_server *server;
static enum api_outcome outcome;
static unsigned inquiries;
struct api_coordinator coordinator;

static void on_inquiry(void *arg, struct api_request *request)
{
    struct api_inquiry inquiry;
    struct api_refusal refusal = {0};
    struct tpc_buf out = {0};
    size_t size;
    const char *body = api_request_body(request, &size);
    (void)arg;
    inquiries++;
    if (api_inquiry_decode(body, size, 1000, &inquiry, &refusal) != TPC_OK) {
        api_respond_refusal(request, &refusal);
        return;
    }
    struct api_decision items[16];
    struct api_decisions decisions = {.coordinator_id = coordinator.id,
                                      .generation = coordinator.generation,
                                      .forgotten_below = coordinator.forgotten_below,
                                      .items = items};
    for (size_t i = 0; i < inquiry.count && i < 16; i++) {
        items[decisions.count++] =
            (struct api_decision){.gtid = inquiry.gtids[i], .outcome = outcome};
    }
    api_decisions_write(&out, &decisions);
    api_inquiry_done(&inquiry);
    api_respond(request, 200, NULL, &out);
}

void coordinator_decides(enum api_outcome decision)
{
    outcome = decision;
}

unsigned coordinator_inquiries(void)
{
    return inquiries;
}

static void loop_setup(void)
{
    struct tpc_err err = {0};
    loop = uv_default_loop();
    struct api_server_options options = {
        .loop = loop, .listen = "127.0.0.1:0", .handler = on_inquiry};
    if (api_client_new(&(struct api_client_options){.loop = loop}, &client, &err) != TPC_OK ||
        api_server_start(&options, &server, &err) != TPC_OK) {
        fail_msg("%s", err.text);
    }
    outcome = API_OUTCOME_UNDECIDED;
    inquiries = 0;
    coordinator = (struct api_coordinator){.generation = 7};
    memset(coordinator.id.bytes, 0xc0, sizeof(coordinator.id.bytes));
    memset(coordinator.nonce.bytes, 7, sizeof(coordinator.nonce.bytes));
    (void)snprintf(coordinator.url, sizeof(coordinator.url), "%s", api_server_url(server));
}

static void loop_teardown(void)
{
    api_client_free(client);
    api_server_stop(server);
    uv_run(loop, UV_RUN_DEFAULT);
}

/* ---- The agent ---- */

static void run_agent(const struct agent *agent, const char *failpoints, int log)
{
    char resource[96], data[96];
    (void)snprintf(resource, sizeof(resource), "sqlite:%s/accounts.db", agent->directory);
    (void)snprintf(data, sizeof(data), "%s/log", agent->directory);
    (void)dup2(log, STDERR_FILENO);
    (void)execl(ASSENT_AGENT, "assent-agent", resource, "--name", "east", "--data", data,
                "--listen", "127.0.0.1:0", "--ask-first", "50ms", "--ask-max", "200ms",
                failpoints != NULL ? "--failpoints" : NULL, failpoints, NULL);
    _exit(127);
}

/* What the agent says until it says `ready`. */
static void await_ready(struct agent *agent)
{
    char text[16384];
    size_t size = 0;
    uint64_t until_ms = tpc_clock_mono_ms() + PATIENCE_MS;
    while (tpc_clock_mono_ms() < until_ms) {
        struct pollfd fd = {.fd = agent->log, .events = POLLIN};
        if (poll(&fd, 1, 1000) <= 0) {
            continue;
        }
        ssize_t got = read(agent->log, text + size, sizeof(text) - 1 - size);
        if (got <= 0) {
            break;
        }
        size += (size_t)got;
        text[size] = '\0';
        const char *ready = strstr(text, "evt=daemon.ready");
        const char *url = ready != NULL ? strstr(ready, " url=") : NULL;
        if (url != NULL && strchr(url, '\n') != NULL) {
            assert_int_equal(sscanf(url, " url=%127s", agent->url), 1);
            return;
        }
    }
    fail_msg("the agent is not ready: %.*s", (int)size, text);
}

void agent_start(struct agent *agent, const char *failpoints)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    (void)fcntl(ends[0], F_SETPIPE_SZ, 1 << 20); /* nobody reads it later */
    agent->pid = fork();
    if (agent->pid == 0) {
        run_agent(agent, failpoints, ends[1]);
    }
    assert_true(agent->pid > 0);
    close(ends[1]);
    agent->log = ends[0];
    await_ready(agent);
}

int agent_wait(struct agent *agent)
{
    int status = 0;
    assert_int_equal(waitpid(agent->pid, &status, 0), agent->pid);
    agent->pid = 0;
    close(agent->log);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void agent_kill(struct agent *agent)
{
    kill(agent->pid, SIGKILL);
    assert_int_equal(agent_wait(agent), -SIGKILL);
}

int agent_end(struct agent *agent)
{
    kill(agent->pid, SIGTERM);
    return agent_wait(agent);
}

static sqlite3 *open_database(struct agent *agent)
{
    char path[96];
    sqlite3 *db;
    (void)snprintf(path, sizeof(path), "%s/accounts.db", agent->directory);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, PATIENCE_MS);
    return db;
}

void agent_sql(struct agent *agent, const char *sql)
{
    sqlite3 *db = open_database(agent);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

int64_t agent_balance(struct agent *agent, int id)
{
    sqlite3 *db = open_database(agent);
    sqlite3_stmt *stmt;
    assert_int_equal(
        sqlite3_prepare_v2(db, "SELECT balance FROM accounts WHERE id = ?", -1, &stmt, NULL),
        SQLITE_OK);
    sqlite3_bind_int(stmt, 1, id);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t balance = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return balance;
}

int agent_setup(void **state)
{
    static struct agent agent;
    agent = (struct agent){.directory = "/tmp/assent-agent-XXXXXX"};
    assert_non_null(mkdtemp(agent.directory));
    agent_sql(&agent, "PRAGMA journal_mode = WAL;"
                      "CREATE TABLE accounts(id INTEGER PRIMARY KEY,"
                      " balance INTEGER NOT NULL CHECK(balance >= 0));"
                      "INSERT INTO accounts VALUES (1, 100), (2, 50)");
    loop_setup();
    agent_start(&agent, NULL);
    *state = &agent;
    return 0;
}

int agent_teardown(void **state)
{
    struct agent *agent = *state;
    char command[96];
    if (agent->pid != 0) {
        agent_kill(agent);
    }
    loop_teardown();
    (void)snprintf(command, sizeof(command), "rm -r %s", agent->directory);
    return system(command);
}

/* ---- Requests ---- */

struct exchange {
    struct api_call call; /* first */
    bool done;
    enum tpc_rc rc;
};

static void on_done(struct api_call *call, enum tpc_rc rc, const struct tpc_err *err)
{
    struct exchange *exchange = (struct exchange *)call;
    (void)err;
    exchange->done = true;
    exchange->rc = rc;
}

static int perform(struct agent *agent, const char *method, const char *path, struct tpc_buf body,
                   struct tpc_buf *ret_answer)
{
    char url[256];
    (void)snprintf(url, sizeof(url), "%s%s", agent->url, path);
    struct exchange exchange = {.call = {.method = method,
                                         .url = url,
                                         .body = body,
                                         .timeout_ms = PATIENCE_MS,
                                         .on_done = on_done}};
    assert_int_equal(api_client_start(client, &exchange.call), TPC_OK);
    while (!exchange.done) {
        uv_run(loop, UV_RUN_ONCE);
    }
    *ret_answer = exchange.call.answer;
    exchange.call.answer = (struct tpc_buf){0};
    int status = exchange.rc == TPC_OK ? exchange.call.status : 0;
    api_call_done(&exchange.call);
    return status;
}

int agent_request(struct agent *agent, const char *method, const char *path, const char *body,
                  struct tpc_buf *ret_answer)
{
    struct tpc_buf buf = {0};
    if (body != NULL) {
        tpc_buf_adds(&buf, body);
    }
    return perform(agent, method, path, buf, ret_answer);
}

struct tpc_id gtid_of(uint8_t n)
{
    struct tpc_id gtid = {{0x01, 0x99, 0xc0, 0xde, 0, 0, 0x70, 0, 0x80}};
    gtid.bytes[15] = n;
    return gtid;
}

static void write_message(struct tpc_buf *out, const struct sent *sent)
{
    struct api_message message = {.op = sent->op,
                                  .gtid_valid = true,
                                  .gtid = gtid_of(sent->gtid),
                                  .began_us = 1763632800000000 + sent->gtid,
                                  .timeout_ms = 5000,
                                  .one_phase = sent->one_phase};
    if (sent->log != NULL) {
        message.participant_id = *sent->log;
    }
    struct tpc_buf statements = {0};
    if (sent->gtid == 0) {
        static const char invalid[] = "{\"op\":\"commit\",\"gtid\":\"nonsense\"}";
        api_jw_raw(out, invalid, sizeof(invalid) - 1);
        return;
    }
    if (sent->sql != NULL) {
        tpc_buf_adds(&statements, "[{\"sql\":");
        api_jw_str(&statements, sent->sql);
        tpc_buf_adds(&statements, "}]");
    }
    api_message_write(out, &message, statements.data, statements.size);
    tpc_buf_done(&statements);
}

static void keep_answer(struct agent *agent, const char *line, const struct sent *messages,
                        size_t count, struct api_answer *ret_answers)
{
    struct api_answer answer;
    assert_int_equal(api_answer_decode(line, strlen(line), &answer, NULL), TPC_OK);
    agent->participant_id = answer.participant_id;
    for (size_t i = 0; i < count; i++) {
        struct tpc_id gtid = gtid_of(messages[i].gtid);
        if (answer.gtid_valid ? tpc_id_equal(&answer.gtid, &gtid) : messages[i].gtid == 0) {
            ret_answers[i] = answer;
            return;
        }
    }
    fail_msg("an answer to nothing: %s", line);
}

bool agent_send(struct agent *agent, const struct sent *messages, size_t count,
                struct api_answer *ret_answers)
{
    struct tpc_buf body = {0}, answer;
    memset(ret_answers, 0, count * sizeof(*ret_answers));
    api_envelope_begin(&body, &coordinator);
    for (size_t i = 0; i < count; i++) {
        write_message(&body, &messages[i]);
    }
    api_envelope_end(&body);
    int status = perform(agent, "POST", "/v1/messages", body, &answer);
    assert_true(status == 200 || status == 0);
    char *rest = NULL;
    for (char *line = answer.data != NULL ? strtok_r(answer.data, "\n", &rest) : NULL; line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        keep_answer(agent, line, messages, count, ret_answers);
    }
    tpc_buf_done(&answer);
    return status == 200;
}

struct api_answer agent_say(struct agent *agent, enum api_op op, uint8_t gtid, const char *sql)
{
    struct api_answer answer;
    assert_true(agent_send(agent, &(struct sent){.op = op, .gtid = gtid, .sql = sql}, 1, &answer));
    assert_false(tpc_id_is_zero(&answer.participant_id));
    return answer;
}

enum api_vote agent_prepare(struct agent *agent, uint8_t gtid, const char *sql)
{
    struct api_answer answer = agent_say(agent, API_OP_PREPARE, gtid, sql);
    enum api_vote vote = answer.vote;
    api_answer_done(&answer);
    return vote;
}

enum api_branch_state agent_commit(struct agent *agent, uint8_t gtid)
{
    struct api_answer answer = agent_say(agent, API_OP_COMMIT, gtid, NULL);
    enum api_branch_state state = answer.state;
    api_answer_done(&answer);
    return state;
}

static struct exchange commit;
static char commit_url[256];

void agent_commit_begin(struct agent *agent, uint8_t gtid)
{
    (void)snprintf(commit_url, sizeof(commit_url), "%s/v1/messages", agent->url);
    commit = (struct exchange){.call = {.method = "POST",
                                        .url = commit_url,
                                        .timeout_ms = 2 * PATIENCE_MS,
                                        .on_done = on_done}};
    api_envelope_begin(&commit.call.body, &coordinator);
    write_message(&commit.call.body, &(struct sent){.op = API_OP_COMMIT, .gtid = gtid});
    api_envelope_end(&commit.call.body);
    assert_int_equal(api_client_start(client, &commit.call), TPC_OK);
}

enum api_branch_state agent_commit_end(struct agent *agent, uint8_t gtid)
{
    struct api_answer answer = {0};
    while (!commit.done) {
        uv_run(loop, UV_RUN_ONCE);
    }
    assert_int_equal(commit.rc, TPC_OK); /* the connection lasted */
    assert_non_null(commit.call.answer.data);
    commit.call.answer.data[strcspn(commit.call.answer.data, "\n")] = '\0';
    keep_answer(agent, commit.call.answer.data, &(struct sent){.gtid = gtid}, 1, &answer);
    api_call_done(&commit.call);
    enum api_branch_state state = answer.state;
    api_answer_done(&answer);
    return state;
}

enum api_branch_state agent_abort(struct agent *agent, uint8_t gtid)
{
    struct api_answer answer = agent_say(agent, API_OP_ABORT, gtid, NULL);
    enum api_branch_state state = answer.state;
    api_answer_done(&answer);
    return state;
}

char *agent_state(struct agent *agent, uint8_t gtid)
{
    struct tpc_id id = gtid_of(gtid);
    char path[64], text[TPC_ID_TEXT];
    struct tpc_buf answer;
    struct api_json *root = NULL;
    char *state = NULL;
    (void)snprintf(path, sizeof(path), "/v1/branches/%s", tpc_id_format(&id, text));
    if (agent_request(agent, "GET", path, NULL, &answer) == 200) {
        assert_int_equal(api_json_parse(answer.data, answer.size, &root, NULL), TPC_OK);
        state = strdup(api_json_string(api_json_get(root, "state")));
        api_json_free(root);
    }
    tpc_buf_done(&answer);
    return state != NULL ? state : strdup("");
}

void agent_await_state(struct agent *agent, uint8_t gtid, const char *state)
{
    uint64_t until_ms = tpc_clock_mono_ms() + PATIENCE_MS;
    for (;;) {
        char *now = agent_state(agent, gtid);
        bool reached = strcmp(now, state) == 0;
        if (!reached && tpc_clock_mono_ms() > until_ms) {
            fail_msg("state is %s, not %s", now, state);
        }
        free(now);
        if (reached) {
            return;
        }
    }
}
