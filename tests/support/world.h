/* A coordinator and its participants, as real daemons around real databases, in a scratch
 * directory. Each bank has the tables
 *
 *   accounts(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0))   ids from 1
 *   ledger(txn TEXT, leg TEXT, amount INTEGER, PRIMARY KEY(txn, leg))
 *
 * Addresses stay the same over restarts. What cannot be carried out ends the test (sup_die). */
#ifndef ASSENT_TESTS_SUPPORT_WORLD_H
#define ASSENT_TESTS_SUPPORT_WORLD_H

#include "tests/support/proc.h"

enum { SUP_AGENTS_MAX = 4, SUP_FLAGS_MAX = 16 };

struct sup_daemon {
    char name[16]; /* "coordinator", "east", "west", "north", "south" */
    struct sup_proc proc;
    char address[32];                 /* "127.0.0.1:41234" */
    int address_fd;                   /* keeps the port ours while the daemon is down */
    char data[SUP_PATH_MAX];          /* its log's directory */
    char db_path[SUP_PATH_MAX];       /* "": the coordinator */
    const char *flags[SUP_FLAGS_MAX]; /* more of them, NULL-terminated; may be changed */
    struct sup_world *world;
    unsigned starts;
    bool may_end; /* by itself: the test looks at how, else its next start does */
};

struct sup_world_options {
    unsigned agents;   /* default 2 */
    unsigned accounts; /* in each bank, default 10 */
    int64_t balance;   /* of each, default 100 */
    /* More flags of the daemons, NULL-terminated; borrowed for good. */
    const char *const *coordinator_flags, *const *agent_flags;
};

struct sup_world {
    struct sup_world_options options;
    char directory[SUP_PATH_MAX];
    struct sup_daemon coordinator;
    struct sup_daemon agents[SUP_AGENTS_MAX]; /* options.agents of them */
};

/* Make directory, databases and addresses; nothing runs yet. */
void sup_world_init(struct sup_world *world, const struct sup_world_options *options);
/* Start all and wait until they are ready. */
void sup_world_start(struct sup_world *world);
/* Kill what runs and take the directory away; keep it (and say where it is) when @keep. */
void sup_world_done(struct sup_world *world, bool keep);
/* The coordinator is 0, agents follow; NULL beyond the last. */
struct sup_daemon *sup_world_daemon(struct sup_world *world, unsigned index);

/* Start with @failpoints armed (NULL: none); the last run must have ended by SIGKILL or in good
 * order. True when it got ready, false when it ended before. */
bool sup_daemon_start(struct sup_daemon *daemon, const char *failpoints);
/* The same without waiting for it to be ready. */
void sup_daemon_launch(struct sup_daemon *daemon, const char *failpoints);
bool sup_daemon_is_running(struct sup_daemon *daemon);
void sup_daemon_kill(struct sup_daemon *daemon); /* SIGKILL */
void sup_daemon_stop(struct sup_daemon *daemon); /* SIGTERM */
/* Start all that are not running, ready and without failpoints. */
void sup_world_revive(struct sup_world *world);
const char *sup_daemon_url(const struct sup_daemon *daemon); /* http://127.0.0.1:41234 */

#endif
