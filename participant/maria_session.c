/* A connection to the server, and the call that is under way on it: one at a time, for MariaDB has
 * no pipeline. A call is a text, or a statement of a client; it is carried out by the library's own
 * coroutines, each of which says for what it waits. */
#include "participant/maria_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/tpc_assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_ready(void *arg, unsigned events);

/* ---- The library's coroutines ---- */

static const char *host_of(const struct maria_session *session)
{
    const struct part_maria *maria = session->maria;
    bool known = maria->host_address[0] != '\0' && session->failures < 5; /* else it has moved */
    return known ? maria->host_address : maria->url.host;
}

static int begin(struct maria_session *session)
{
    const struct maria_url *url = &session->maria->url;
    switch (session->op) {
    case MARIA_OP_CONNECT:
        return mysql_real_connect_start(&session->ret.connected, session->conn, host_of(session),
                                        url->user, url->password, url->database, url->port,
                                        url->socket, MARIA_CONN_FLAGS);
    case MARIA_OP_QUERY:
        return mysql_real_query_start(&session->ret.status, session->conn, session->text.data,
                                      session->text.size);
    case MARIA_OP_STORE:
        return mysql_store_result_start(&session->ret.result, session->conn);
    case MARIA_OP_NEXT:
        return mysql_next_result_start(&session->ret.status, session->conn);
    case MARIA_OP_PREPARE:
        return mysql_stmt_prepare_start(&session->ret.status, session->stmt, session->text.data,
                                        session->text.size);
    case MARIA_OP_EXECUTE:
        return mysql_stmt_execute_start(&session->ret.status, session->stmt);
    case MARIA_OP_FETCH:
        return mysql_stmt_fetch_start(&session->ret.status, session->stmt);
    case MARIA_OP_FREE:
        return mysql_stmt_free_result_start(&session->ret.flag, session->stmt);
    case MARIA_OP_NONE:
        break;
    }
    TPC_ASSERT(!"a call");
}

static int resume(struct maria_session *session, int events)
{
    switch (session->op) {
    case MARIA_OP_CONNECT:
        return mysql_real_connect_cont(&session->ret.connected, session->conn, events);
    case MARIA_OP_QUERY:
        return mysql_real_query_cont(&session->ret.status, session->conn, events);
    case MARIA_OP_STORE:
        return mysql_store_result_cont(&session->ret.result, session->conn, events);
    case MARIA_OP_NEXT:
        return mysql_next_result_cont(&session->ret.status, session->conn, events);
    case MARIA_OP_PREPARE:
        return mysql_stmt_prepare_cont(&session->ret.status, session->stmt, events);
    case MARIA_OP_EXECUTE:
        return mysql_stmt_execute_cont(&session->ret.status, session->stmt, events);
    case MARIA_OP_FETCH:
        return mysql_stmt_fetch_cont(&session->ret.status, session->stmt, events);
    case MARIA_OP_FREE:
        return mysql_stmt_free_result_cont(&session->ret.flag, session->stmt, events);
    case MARIA_OP_NONE:
        break;
    }
    TPC_ASSERT(!"a call");
}

static void watch(struct maria_session *session, unsigned events)
{
    struct tpc_err err = {0};
    if (session->poll != NULL && session->state == MARIA_CONNECTING) {
        api_poll_free(session->poll); /* the library may have taken another socket */
        session->poll = NULL;
    }
    if (session->poll == NULL &&
        api_poll_new(session->maria->options.loop, mysql_get_socket(session->conn), on_ready,
                     session, &session->poll, &err) != TPC_OK) {
        session->failed = true;
        return;
    }
    api_poll_want(session->poll, events);
}

static void wait_for(struct maria_session *session, int what)
{
    watch(session, ((what & (MYSQL_WAIT_READ | MYSQL_WAIT_EXCEPT)) != 0 ? API_POLL_READ : 0u) |
                       ((what & MYSQL_WAIT_WRITE) != 0 ? API_POLL_WRITE : 0u));
}

/* ---- What follows upon a step ---- */

/* The call is over. Whoever waited for it may begin the next one. */
static void call_ends(struct maria_session *session)
{
    void (*done)(struct maria_session *) = session->done;
    session->op = MARIA_OP_NONE;
    session->done = NULL;
    maria_params_done(session);
    if (maria_error_is_loss(&session->error)) {
        char words[sizeof session->error.words];
        memcpy(words, session->error.words, sizeof words);
        maria_session_lose(session, words);
    } else {
        done(session);
    }
}

static void call_fails(struct maria_session *session)
{
    bool of_stmt = session->op >= MARIA_OP_PREPARE;
    if (of_stmt) {
        maria_error_take_stmt(&session->error, session->stmt);
    } else {
        maria_error_take(&session->error, session->conn);
    }
    if (session->error.code == 0) {
        session->error = (struct maria_error){.code = 2000, .words = "an error without a number"};
    }
    call_ends(session);
}

static void note_state(struct maria_session *session)
{
    const char *text;
    size_t size;
    if (mysql_session_track_get_first(session->conn, SESSION_TRACK_TRANSACTION_STATE, &text,
                                      &size) == 0) {
        (void)snprintf(session->state_flags, sizeof session->state_flags, "%.*s", (int)size, text);
    }
}

static void on_stored(struct maria_session *session)
{
    MYSQL_RES *result = session->ret.result;
    if (result == NULL && mysql_errno(session->conn) != 0) {
        call_fails(session);
        return;
    }
    session->found_rows = result != NULL ? mysql_num_rows(result) : 0;
    note_state(session);
    if (session->on_result != NULL) {
        session->on_result(session, result);
    }
    mysql_free_result(result);
    if (mysql_more_results(session->conn)) {
        session->statement++;
        session->op = MARIA_OP_NEXT;
    } else {
        call_ends(session);
    }
}

static void on_executed(struct maria_session *session)
{
    note_state(session);
    if (mysql_stmt_field_count(session->stmt) > 0) {
        session->op = session->on_row != NULL ? MARIA_OP_FETCH : MARIA_OP_FREE;
    } else {
        call_ends(session);
    }
}

static void on_fetched(struct maria_session *session)
{
    if (session->ret.status == MYSQL_NO_DATA) {
        session->op = MARIA_OP_FREE;
    } else if (session->ret.status != 0 && session->ret.status != MYSQL_DATA_TRUNCATED) {
        call_fails(session);
    } else {
        session->on_row(session);
        session->op = session->on_row != NULL ? MARIA_OP_FETCH : MARIA_OP_FREE;
    }
}

static void step_ends(struct maria_session *session)
{
    switch (session->op) {
    case MARIA_OP_CONNECT:
        if (session->ret.connected == NULL) {
            call_fails(session);
        } else {
            call_ends(session);
        }
        break;
    case MARIA_OP_QUERY:
    case MARIA_OP_NEXT:
        if (session->ret.status != 0) {
            call_fails(session);
        } else {
            session->op = MARIA_OP_STORE;
        }
        break;
    case MARIA_OP_STORE:
        on_stored(session);
        break;
    case MARIA_OP_PREPARE:
        if (session->ret.status != 0) {
            call_fails(session);
        } else {
            call_ends(session);
        }
        break;
    case MARIA_OP_EXECUTE:
        if (session->ret.status != 0) {
            call_fails(session);
        } else {
            on_executed(session);
        }
        break;
    case MARIA_OP_FETCH:
        on_fetched(session);
        break;
    case MARIA_OP_FREE:
        call_ends(session);
        break;
    case MARIA_OP_NONE:
        TPC_ASSERT(!"a call");
    }
}

/* Until something is to be waited for. @events: what a step that waits waited for; 0: a new one. */
static void go(struct maria_session *session, int events)
{
    session->running = true;
    while (session->conn != NULL && session->op != MARIA_OP_NONE && !session->failed) {
        int what = events != 0 ? resume(session, events) : begin(session);
        events = 0;
        if (what != 0) {
            wait_for(session, what);
            session->running = false;
            return;
        }
        step_ends(session);
    }
    session->running = false;
    if (session->conn != NULL && session->op == MARIA_OP_NONE && !session->failed) {
        watch(session, API_POLL_READ); /* the end of the connection is noticed */
    }
}

static void call(struct maria_session *session, enum maria_op op,
                 void (*done)(struct maria_session *))
{
    TPC_ASSERT(session->op == MARIA_OP_NONE && session->conn != NULL);
    session->op = op;
    session->done = done;
    session->statement = 0;
    session->error = (struct maria_error){0};
    if (!session->running) {
        go(session, 0);
    }
}

void maria_send(struct maria_session *session,
                void (*on_result)(struct maria_session *, MYSQL_RES *),
                void (*done)(struct maria_session *))
{
    if (session->text.failed) {
        tpc_no_memory();
    }
    session->on_result = on_result;
    call(session, MARIA_OP_QUERY, done);
}

void maria_prepare(struct maria_session *session, MYSQL_STMT *stmt,
                   void (*done)(struct maria_session *))
{
    if (session->text.failed) {
        tpc_no_memory();
    }
    session->stmt = stmt;
    call(session, MARIA_OP_PREPARE, done);
}

void maria_execute(struct maria_session *session, MYSQL_STMT *stmt,
                   void (*on_row)(struct maria_session *), void (*done)(struct maria_session *))
{
    session->stmt = stmt;
    session->on_row = on_row;
    call(session, MARIA_OP_EXECUTE, done);
}

/* ---- The end ---- */

static void disconnect(struct maria_session *session)
{
    if (session->poll != NULL) {
        api_poll_free(session->poll);
        session->poll = NULL;
    }
    mysql_close(session->conn); /* statements know then that they have no server any more */
    session->conn = NULL;
    session->op = MARIA_OP_NONE;
    session->done = NULL;
    session->stmt = NULL;
    session->state = MARIA_CLOSED;
    session->failed = session->retires = false;
    session->statement_timeout_ms = 0;
    maria_params_done(session);
    maria_stmts_forget(session);
}

static void back_off(struct maria_session *session)
{
    unsigned shift = session->failures < 6 ? session->failures : 6;
    uint64_t delay_ms = (uint64_t)MARIA_RECONNECT_FIRST_MS << shift;
    delay_ms = delay_ms < MARIA_RECONNECT_MAX_MS ? delay_ms : MARIA_RECONNECT_MAX_MS;
    session->failures++;
    session->not_before_ms = tpc_clock_mono_ms() + delay_ms - tpc_random_u64() % (delay_ms / 4 + 1);
}

void maria_session_lose(struct maria_session *session, const char *words)
{
    struct part_maria *maria = session->maria;
    char kept[sizeof maria->trouble];
    bool was_ready = session->state == MARIA_READY;
    (void)snprintf(kept, sizeof kept, "%s", words); /* of the connection, perhaps */
    if (!maria->closing) {
        tpc_log(was_ready ? TPC_LOG_WARN : TPC_LOG_INFO,
                was_ready ? "maria.session_lost" : "maria.session_failed",
                tpc_kv_str("error", kept));
    }
    if (!session->decides && session->thread > maria->lost_thread) {
        maria->lost_thread = session->thread;
    }
    disconnect(session);
    if (!was_ready) {
        (void)snprintf(maria->trouble, sizeof maria->trouble, "%s", kept);
        back_off(session);
    }
    if (session->busy && session->decides) {
        maria_decide_on_lost(session, kept);
    } else if (session->busy) {
        maria_branch_on_lost(session, kept);
    }
}

void maria_session_done(struct maria_session *session)
{
    if (session->conn != NULL) {
        maria_session_lose(session, "the agent is stopping");
    }
    maria_stmts_forget(session);
    tpc_buf_done(&session->text);
}

void maria_sessions_settle(struct part_maria *maria)
{
    for (size_t i = 0; i < maria_session_count(maria); i++) {
        struct maria_session *session = &maria->sessions[i];
        if (session->failed) {
            maria_session_lose(session, "its connection cannot be used any more");
        } else if (session->retires && !session->busy && session->state == MARIA_READY) {
            disconnect(session);
        }
    }
}

/* ---- The beginning ---- */

static void on_setting(struct maria_session *session, MYSQL_RES *result)
{
    struct part_maria *maria = session->maria;
    struct maria_facts facts;
    struct tpc_err err = {0};
    if (session->statement > 0) {
        return;
    }
    if (!maria_facts_read(result, &facts)) {
        (void)snprintf(maria->trouble, sizeof maria->trouble, "its settings cannot be read");
        session->unfit = true;
        return;
    }
    maria->facts = facts;
    /* Decisions are carried out whatever has become of the server's settings. */
    if (!session->decides &&
        maria_facts_judge(&facts, maria->options.allow_unsafe_settings, &err) != TPC_OK) {
        (void)snprintf(maria->trouble, sizeof maria->trouble, "%s", err.text);
        session->unfit = true;
    }
}

static void on_set_up(struct maria_session *session)
{
    if (session->error.code != 0 || session->unfit) {
        char words[sizeof session->maria->trouble];
        (void)snprintf(words, sizeof words, "%s",
                       session->unfit ? session->maria->trouble : session->error.words);
        session->unfit = false;
        maria_session_lose(session, words);
        return;
    }
    session->state = MARIA_READY;
    session->failures = 0;
    session->maria->trouble[0] = '\0';
    if (session->decides && session->maria->options.relist != NULL) {
        /* It may have been restarted, and then holds what it has brought back. */
        session->maria->options.relist(session->maria->options.relist_arg);
    }
}

static void on_connected(struct maria_session *session)
{
    if (session->error.code != 0) {
        struct tpc_err err = {0};
        (void)maria_explain_connect(session->maria, &session->error, &err);
        maria_session_lose(session, err.text);
        return;
    }
    session->state = MARIA_SETTING_UP;
    session->thread = mysql_thread_id(session->conn);
    if (session->thread < session->maria->first_thread) { /* it was restarted */
        session->maria->first_thread = session->thread;
        session->maria->lost_thread = 0;
    }
    tpc_buf_clear(&session->text);
    tpc_buf_addf(&session->text, "%s;", maria_facts_sql);
    maria_settings_write(session->maria, session->decides, &session->text);
    maria_send(session, on_setting, on_set_up);
}

MYSQL *maria_conn_new(const struct part_maria *maria)
{
    MYSQL *conn = mysql_init(NULL);
    const struct maria_url *url = &maria->url;
    my_bool off = 0, verify = url->ssl_verify;
    unsigned local_infile = 0, tcp = MYSQL_PROTOCOL_TCP;
    if (conn == NULL) {
        tpc_no_memory();
    }
    (void)mysql_options(conn, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    (void)mysql_options(conn, MYSQL_OPT_LOCAL_INFILE, &local_infile);
    (void)mysql_options(conn, MYSQL_OPT_RECONNECT, &off);
    (void)mysql_options4(conn, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", maria->name);
    if (url->port != 0 && url->socket == NULL) {
        (void)mysql_options(conn, MYSQL_OPT_PROTOCOL, &tcp);
    }
    if (url->ssl_ca != NULL) {
        (void)mysql_ssl_set(conn, NULL, NULL, url->ssl_ca, NULL, NULL);
    }
    (void)mysql_options(conn, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
    return conn;
}

void maria_session_want(struct maria_session *session)
{
    struct part_maria *maria = session->maria;
    uint64_t now_ms = tpc_clock_mono_ms();
    if (session->state != MARIA_CLOSED || session->busy || now_ms < session->not_before_ms ||
        maria->closing) {
        return;
    }
    if (tpc_fp_hit(maria->options.failpoints.connect)) {
        (void)snprintf(maria->trouble, sizeof maria->trouble, "connection refused (failpoint)");
        back_off(session);
        return;
    }
    session->conn = maria_conn_new(maria);
    (void)mysql_options(session->conn, MYSQL_OPT_NONBLOCK, NULL);
    session->state = MARIA_CONNECTING;
    session->begun_ms = now_ms;
    call(session, MARIA_OP_CONNECT, on_connected);
}

/* ---- Answers ---- */

static void on_ready(void *arg, unsigned events)
{
    struct maria_session *session = arg;
    struct part_maria *maria = session->maria;
    int what = ((events & API_POLL_READ) != 0 ? MYSQL_WAIT_READ : 0) |
               ((events & API_POLL_WRITE) != 0 ? MYSQL_WAIT_WRITE : 0);
    part_job_ends_enter(&maria->ends);
    if (session->op == MARIA_OP_NONE) {
        /* Nothing was asked: it says good-bye. */
        maria_session_lose(session, "the server closed the connection");
    } else {
        go(session, what);
    }
    maria_run(maria);
    part_job_ends_offer(&maria->ends);
}
