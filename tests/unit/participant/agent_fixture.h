/* A real agent on a real SQLite file, a client to talk to it, and a coordinator for it to ask. */
#ifndef ASSENT_TESTS_AGENT_FIXTURE_H
#define ASSENT_TESTS_AGENT_FIXTURE_H

#include "api/codec.h"

#include <sys/types.h>

struct agent {
    char directory[64]; /* of the log and the database; gone at the end */
    pid_t pid;          /* 0: not running */
    int log;            /* its stderr */
    char url[128];
    struct tpc_id participant_id; /* from the last answer */
};

/* Make the directory and the table accounts(id, balance) with 1: 100, 2: 50; start the agent. */
int agent_setup(void **state);
int agent_teardown(void **state);

/* Wait for "ready". @failpoints may be NULL. */
void agent_start(struct agent *agent, const char *failpoints);
void agent_kill(struct agent *agent);               /* SIGKILL */
int agent_end(struct agent *agent);                 /* SIGTERM, then its exit status */
int agent_wait(struct agent *agent);                /* until it ends by itself: its exit status */
int64_t agent_balance(struct agent *agent, int id); /* in the database */
void agent_sql(struct agent *agent, const char *sql);

/* The coordinator that the agent asks: what it answers from now on, and how often it was asked. */
void coordinator_decides(enum api_outcome outcome);
unsigned coordinator_inquiries(void);
/* Who speaks in the messages; id, generation, nonce and forgotten_below may be changed. */
extern struct api_coordinator coordinator;

struct tpc_id gtid_of(uint8_t n);

/* Send messages and gather the answers, by gtid (messages go to different ones). False when the
 * connection broke. `sql` NULL: none. */
struct sent {
    enum api_op op;
    uint8_t gtid; /* gtid_of; 0: one that is invalid */
    const char *sql;
    bool one_phase;
    const struct tpc_id *log; /* which is named; NULL: none */
};
bool agent_send(struct agent *agent, const struct sent *messages, size_t count,
                struct api_answer *ret_answers);
/* One message, which must be answered; free with api_answer_done. */
struct api_answer agent_say(struct agent *agent, enum api_op op, uint8_t gtid, const char *sql);
/* The same, but for the vote or state only. */
enum api_vote agent_prepare(struct agent *agent, uint8_t gtid, const char *sql);
enum api_branch_state agent_commit(struct agent *agent, uint8_t gtid);
enum api_branch_state agent_abort(struct agent *agent, uint8_t gtid);

/* Send a commit, and wait for its answer later: it leaves and arrives while other requests do. */
void agent_commit_begin(struct agent *agent, uint8_t gtid);
enum api_branch_state agent_commit_end(struct agent *agent, uint8_t gtid);

/* Any request; @body may be NULL. The status, or 0 when the connection broke; the answer is
 * NUL-terminated and the caller's. */
int agent_request(struct agent *agent, const char *method, const char *path, const char *body,
                  struct tpc_buf *ret_answer);
/* What GET /v1/branches/{gtid} says of the state, "" for 404; free it. */
char *agent_state(struct agent *agent, uint8_t gtid);
/* Ask again until it is @state (or @seconds are over: the test fails). */
void agent_await_state(struct agent *agent, uint8_t gtid, const char *state);

#endif
