/* usage: limit_pg URL URL CLIENTS ACCOUNTS WARM_UP_MS RUN_MS LOG
 *
 * The yardstick for PostgreSQL: the least that any coordinator must do for a transfer between two
 * databases. Each client has a session at both. BEGIN, UPDATE and PREPARE TRANSACTION go in one
 * pipeline to each; one forced write of the decision, shared by all that wait for one; then COMMIT
 * PREPARED at both. One thread with epoll, and one that forces the decisions. */
#include "tests/bench/decisions.h"
#include "tests/bench/yardstick.h"

#include "base/clock.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

enum { CLIENTS_MAX = 1000, BALANCE = 1000000, EVENTS = 256, WAIT_MS = 100 };

enum phase { WORKING, DECIDING, ENDING, IDLE };

struct session {
    PGconn *connection;
    bool busy, failed; /* at what was asked last */
};

struct client {
    struct session sessions[2];
    enum phase phase;
    bool aborts;
    uint64_t began_us, number;
};

static struct client clients[CLIENTS_MAX];
static struct yardstick yardstick;
static unsigned client_count, accounts, under_way;
static uint64_t numbers;
static int epoll_fd;

static const char *const tables[2] = {"east", "west"};

/* ---- Sessions ---- */

static void insist(PGconn *connection, bool good)
{
    if (!good) {
        yardstick_die("%s", PQerrorMessage(connection));
    }
}

static void run(PGconn *connection, const char *sql)
{
    PGresult *result = PQexec(connection, sql);
    ExecStatusType status = PQresultStatus(result);
    insist(connection, status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK);
    PQclear(result);
}

static int64_t ask(PGconn *connection, const char *sql)
{
    PGresult *result = PQexec(connection, sql);
    insist(connection, PQresultStatus(result) == PGRES_TUPLES_OK);
    int64_t value = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return value;
}

static PGconn *connect_to(const char *url)
{
    PGconn *connection = PQconnectdb(url);
    insist(connection, PQstatus(connection) == CONNECTION_OK);
    return connection;
}

static void make_table(const char *url, unsigned side)
{
    char sql[400];
    PGconn *connection = connect_to(url);
    (void)snprintf(
        sql, sizeof sql,
        "DROP TABLE IF EXISTS limit_%s; CREATE TABLE limit_%s (id INTEGER NOT NULL PRIMARY "
        "KEY, balance BIGINT NOT NULL); INSERT INTO limit_%s SELECT i, %d FROM "
        "generate_series(1, %u) AS n(i)",
        tables[side], tables[side], tables[side], BALANCE, accounts);
    run(connection, sql);
    PQfinish(connection);
}

static void open_session(struct session *session, const char *url, unsigned side, unsigned slot)
{
    char sql[200];
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = slot * 2 + side};
    PGconn *connection = session->connection = connect_to(url);
    /* Two transfers that wait for each other at the two databases are seen by neither. */
    run(connection, "SET lock_timeout = '500ms'");
    (void)snprintf(sql, sizeof sql,
                   "PREPARE work (int) AS UPDATE limit_%s SET balance = balance %s 1 "
                   "WHERE id = $1",
                   tables[side], side == 0 ? "-" : "+");
    run(connection, sql);
    insist(connection, PQsetnonblocking(connection, 1) == 0);
    insist(connection, PQenterPipelineMode(connection) == 1);
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, PQsocket(connection), &event) != 0) {
        yardstick_die("epoll_ctl");
    }
}

/* ---- A transfer ---- */

static void send_end(struct session *session)
{
    insist(session->connection, PQpipelineSync(session->connection) == 1);
    insist(session->connection, PQflush(session->connection) == 0);
    session->busy = true;
}

/* Both databases may be at one server, where names of prepared transactions are unique. */
static void send_words(struct session *session, const char *verb, const struct client *client)
{
    char sql[100];
    (void)snprintf(sql, sizeof sql, "%s 'limit:%s:%llu'", verb, tables[session - client->sessions],
                   (unsigned long long)client->number);
    insist(session->connection,
           PQsendQueryParams(session->connection, sql, 0, NULL, NULL, NULL, NULL, 0) == 1);
}

static void begin(struct client *client)
{
    client->phase = WORKING;
    client->aborts = false;
    client->began_us = tpc_clock_mono_us();
    client->number = ++numbers;
    under_way++;
    for (unsigned side = 0; side < 2; side++) {
        struct session *session = &client->sessions[side];
        char text[16];
        const char *const values[1] = {text};
        (void)snprintf(text, sizeof text, "%ld", 1 + random() % accounts);
        session->failed = false;
        insist(session->connection,
               PQsendQueryParams(session->connection, "BEGIN", 0, NULL, NULL, NULL, NULL, 0) == 1);
        insist(session->connection,
               PQsendQueryPrepared(session->connection, "work", 1, values, NULL, NULL, 0) == 1);
        send_words(session, "PREPARE TRANSACTION", client);
        send_end(session);
    }
}

static void end_at_both(struct client *client)
{
    client->phase = ENDING;
    for (unsigned side = 0; side < 2; side++) {
        struct session *session = &client->sessions[side];
        if (session->failed) {
            insist(session->connection, PQsendQueryParams(session->connection, "ROLLBACK", 0, NULL,
                                                          NULL, NULL, NULL, 0) == 1);
        } else {
            send_words(session, client->aborts ? "ROLLBACK PREPARED" : "COMMIT PREPARED", client);
        }
        send_end(session);
    }
}

static void after_both(struct client *client, unsigned slot)
{
    bool failed = client->sessions[0].failed || client->sessions[1].failed;
    if (client->phase == WORKING && failed) {
        client->aborts = true;
        end_at_both(client);
    } else if (client->phase == WORKING) {
        client->phase = DECIDING;
        decisions_add(client->number, slot);
    } else {
        under_way--;
        client->phase = IDLE;
        if (client->aborts) {
            yardstick.aborted++;
        } else if (failed) {
            yardstick_die("a prepared transaction cannot be committed");
        } else {
            yardstick_commit(&yardstick, client->began_us);
        }
        if (tpc_clock_mono_us() < yardstick.to_us) {
            begin(client);
        }
    }
}

/* The only thing that may go wrong is that a lock was not to be had in time. */
static void insist_conflict(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (state == NULL || strcmp(state, "55P03") != 0) {
        yardstick_die("%s", PQresultErrorMessage(result));
    }
}

/* Its last result is that of the end of the pipeline. */
static bool is_done(struct session *session)
{
    insist(session->connection, PQconsumeInput(session->connection) == 1);
    while (session->busy && PQisBusy(session->connection) == 0) {
        PGresult *result = PQgetResult(session->connection);
        ExecStatusType status = PQresultStatus(result);
        if (result != NULL && status == PGRES_FATAL_ERROR) { /* NULL: the end of a statement's */
            session->failed = true;
            insist_conflict(result);
        }
        session->busy = status != PGRES_PIPELINE_SYNC;
        PQclear(result);
    }
    return !session->busy;
}

static void on_session(unsigned slot, unsigned side)
{
    struct client *client = &clients[slot];
    if (client->sessions[side].busy && is_done(&client->sessions[side]) &&
        !client->sessions[1 - side].busy) {
        after_both(client, slot);
    }
}

static void on_decisions(void)
{
    unsigned decided[CLIENTS_MAX];
    unsigned count = decisions_take(decided);
    for (unsigned i = 0; i < count; i++) {
        end_at_both(&clients[decided[i]]);
    }
}

static void run_loop(void)
{
    struct epoll_event events[EVENTS];
    for (unsigned i = 0; i < client_count; i++) {
        begin(&clients[i]);
    }
    while (under_way > 0) {
        int count = epoll_wait(epoll_fd, events, EVENTS, WAIT_MS);
        for (int i = 0; i < count; i++) {
            if (events[i].data.u32 == UINT32_MAX) {
                on_decisions();
            } else {
                on_session(events[i].data.u32 / 2, events[i].data.u32 % 2);
            }
        }
    }
}

/* ---- The whole ---- */

static void check(char *const urls[2])
{
    int64_t total = 0;
    for (unsigned side = 0; side < 2; side++) {
        char sql[100];
        PGconn *connection = connect_to(urls[side]);
        (void)snprintf(sql, sizeof sql, "SELECT sum(balance)::bigint FROM limit_%s", tables[side]);
        total += ask(connection, sql);
        if (ask(connection, "SELECT count(*) FROM pg_prepared_xacts WHERE gid LIKE 'limit:%'") !=
            0) {
            yardstick_die("something is left prepared");
        }
        (void)snprintf(sql, sizeof sql, "DROP TABLE limit_%s", tables[side]);
        run(connection, sql);
        PQfinish(connection);
    }
    if (total != 2LL * accounts * BALANCE) {
        yardstick_die("money was made or lost");
    }
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        yardstick_die("usage: limit_pg URL URL CLIENTS ACCOUNTS WARM_UP_MS RUN_MS LOG");
    }
    client_count = yardstick_number(argv[3]);
    accounts = yardstick_number(argv[4]);
    unsigned seed;
    if (client_count > CLIENTS_MAX || getrandom(&seed, sizeof seed, 0) != sizeof seed) {
        yardstick_die("at most %d clients", CLIENTS_MAX);
    }
    srandom(seed);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, decisions_open(argv[7], client_count), &event) != 0) {
        yardstick_die("epoll_ctl");
    }
    for (unsigned side = 0; side < 2; side++) {
        make_table(argv[1 + side], side);
        for (unsigned i = 0; i < client_count; i++) {
            open_session(&clients[i].sessions[side], argv[1 + side], side, i);
        }
    }
    yardstick_begin(&yardstick, yardstick_number(argv[5]), yardstick_number(argv[6]));
    run_loop();
    for (unsigned i = 0; i < client_count * 2; i++) {
        PQfinish(clients[i / 2].sessions[i % 2].connection);
    }
    (void)decisions_close();
    check(&argv[1]);
    (void)close(epoll_fd);
    yardstick_print(&yardstick);
    return 0;
}
