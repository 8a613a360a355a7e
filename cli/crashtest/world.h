/* A coordinator and its participants as real processes, in a directory of their own.
 *
 * A participant is an agent around an SQLite file or beside a database server that is made here, or
 * the user's own: started by
 * a command line of the user's (and then also killed), or running somewhere and left alone.
 * Addresses stay the same over restarts. Between all of them there may be a proxy (proxy.h). */
#ifndef ASSENT_CLI_CRASHTEST_WORLD_H
#define ASSENT_CLI_CRASHTEST_WORLD_H

#include "cli/crashtest/proc.h"
#include "cli/crashtest/proxy.h"
#include "cli/crashtest/server.h"
#include "cli/crashtest/workload.h"

#include <stdatomic.h>

enum {
    CLI_NODES_MAX = CLI_MEMBERS_MAX + 1,
    CLI_NODE_FLAGS_MAX = 16,
    /* What each participant's tables hold at the beginning. */
    CLI_ACCOUNTS = 10,
    CLI_BALANCE = 100,
    CLI_LISTS = 64,
};

/* A participant as it was asked for. */
struct cli_spec {
    char name[CLI_MEMBER_NAME];
    const char *url;     /* where it serves; NULL: an agent of ours */
    const char *command; /* starts it; NULL: it runs already, or is ours */
    enum cli_dialect dialect;
    enum cli_engine engine; /* of the server beside which our agent works; none: SQLite */
    bool has_failpoints;
};

/* What all worlds of a crash test have in common. */
struct cli_setup {
    char programs[CLI_PATH_MAX];  /* where assentd and assent-agent lie */
    char directory[CLI_PATH_MAX]; /* worlds are below it */
    struct cli_spec specs[CLI_MEMBERS_MAX];
    struct cli_member members[CLI_MEMBERS_MAX]; /* the same, for the workload */
    unsigned spec_count;
    struct cli_server templates[CLI_ENGINE_MARIADB + 1]; /* of servers; stopped */
    unsigned clients;
    uint64_t seed;
    atomic_bool *cancelled; /* end soon */
};

struct cli_world;

struct cli_node {
    char name[CLI_MEMBER_NAME];  /* "coordinator", else as the participant is called */
    const struct cli_spec *spec; /* NULL: the coordinator */
    struct cli_proc proc;
    char address[32];         /* of ours: "127.0.0.1:41234" */
    int address_fd;           /* keeps the port ours while the process is down; -1: none */
    struct cli_server server; /* what it works at, if that is ours */
    char url[256];            /* where it serves */
    const char *flags[CLI_NODE_FLAGS_MAX]; /* more of them, NULL-terminated; may be changed */
    struct cli_world *world;
    unsigned starts;
};

struct cli_world {
    const struct cli_setup *setup;
    char directory[CLI_PATH_MAX];
    struct cli_node nodes[CLI_NODES_MAX]; /* the coordinator is the first */
    unsigned node_count;
    struct cli_proxy *proxy;                /* NULL: none */
    char client_url[80], inquiry_url[80];   /* of the proxy: to the coordinator, for clients and for
                                               participants */
    char member_urls[CLI_MEMBERS_MAX][256]; /* where the coordinator reaches them */
};

/* Where this program lies, a directory for the worlds, and the empty database of our agents.
 * What goes wrong is said in @reterr. specs are set by the caller before. */
TPC_NODISCARD enum tpc_rc cli_setup_open(struct cli_setup *setup, struct tpc_err *reterr);
void cli_setup_close(struct cli_setup *setup, bool keep);
/* No node of a world can be started beside one of another world. */
bool cli_setup_is_alone(const struct cli_setup *setup);

/* Make directory, databases and addresses; nothing runs yet. @name becomes the directory's. */
void cli_world_init(struct cli_world *world, const struct cli_setup *setup, const char *name,
                    const char *const *coordinator_flags, const char *const *agent_flags,
                    bool proxied);
/* Kill what runs; take the directory away unless @keep. */
void cli_world_done(struct cli_world *world, bool keep);

/* Where clients call the coordinator: through the proxy when there is one. */
const char *cli_world_url(const struct cli_world *world);
/* May it be killed, stopped and started here? */
bool cli_node_is_ours(const struct cli_node *node);
bool cli_node_has_failpoints(const struct cli_node *node);
/* Start without waiting, with @failpoints armed (NULL: none). It must have ended. */
void cli_node_launch(struct cli_node *node, const char *failpoints);
enum cli_ready cli_node_wait_ready(struct cli_node *node);
bool cli_node_is_running(struct cli_node *node); /* true of what is not ours */
/* The database that a server of ours has for its agent. */
#define CLI_SERVER_BANK "bank"

#endif
