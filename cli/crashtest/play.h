/* One run: a world in which one process is to die at one of its failpoints, or one message is to be
 * hurt, or all is only noted (a dry run). Scenes (scenes.h) play on it, then the invariants are
 * checked (invariants.h).
 *
 * What is not as promised is kept in words. Once something makes it useless to go on (a process
 * does not start again, the crash test was cancelled) the play is over, and all of this does
 * nothing any more. */
#ifndef ASSENT_CLI_CRASHTEST_PLAY_H
#define ASSENT_CLI_CRASHTEST_PLAY_H

#include "cli/crashtest/world.h"

#include "api/json.h"

#include <pthread.h>

enum { CLI_POINT_MAX = 48 };

/* Where a failpoint was passed: in which scene, in which starts of its process. */
struct cli_hit {
    char point[CLI_POINT_MAX];
    unsigned node; /* of the world's */
    unsigned scene;
    unsigned first_start, last_start;
};

/* Zero-initialise. */
struct cli_hits {
    struct cli_hit *items; /* heap */
    size_t count;
};
void cli_hits_done(struct cli_hits *hits);

struct cli_play;

/* What a scene does to its processes; it cannot be played where that is impossible. */
enum cli_need {
    CLI_NEED_FAILPOINTS = 1, /* at the first participant */
    CLI_NEED_STOP = 2,       /* of the second participant */
    CLI_NEED_TWO = 4,        /* participants */
    CLI_NEED_AGENT = 8,      /* the first is an agent: it can be asked and operated */
};

struct cli_scene {
    const char *name;
    unsigned needs;
    const char *const *coordinator_flags, *const *agent_flags;
    void (*play)(struct cli_play *play);
};

/* What is to happen in a run. All zero: nothing, a dry run. */
struct cli_plot {
    const struct cli_scene *scene;
    unsigned scene_index;
    bool proxied; /* with a proxy in between */
    bool trace;   /* note all failpoints that are passed */
    unsigned node;
    char point[CLI_POINT_MAX]; /* where the node dies; "": nowhere */
    unsigned start;            /* from this start of it on */
    char again[CLI_POINT_MAX]; /* where it dies once more, in the start after its death */
    bool server;               /* not the node dies there, but the server that it works at */
    bool stop;                 /* it is stopped past the time-outs instead */
    unsigned stop_after;       /* transactions */
    unsigned number;           /* of the message that is hurt; 0: none */
    unsigned link;
    enum cli_message message;
    enum cli_fault fault;
};

struct cli_play {
    const struct cli_setup *setup;
    struct cli_plot plot;
    struct cli_world world;
    struct cli_history history;
    struct cli_workload_options options;
    unsigned loads; /* that were begun */
    bool fired, fired_again, stopped;
    unsigned recovery_start;   /* the start of the node after it has died; 0: not yet */
    struct cli_hits hits;      /* of a dry run */
    struct cli_hits recovery;  /* what the node passed in its recovery */
    bool noted[CLI_NODES_MAX]; /* what the present run of a process has passed */
    bool armed[CLI_NODES_MAX]; /* it runs with failpoints */
    pthread_t watcher;         /* kills the server while the node is at the point */
    bool watched;
    atomic_bool unwatched, server_died;
    bool excused[CLI_NODES_MAX]; /* it ended by itself, for its server was gone when it started */
    bool closing;                /* nothing is armed any more */
    bool over;
    unsigned violations;
    struct tpc_buf said; /* the violations, a line each */
    bool spoilt;         /* by somebody else: nothing can be said of this run */
    char spoilt_by[512];
};

/* Make the world and start all. @name becomes its directory's. */
void cli_play_open(struct cli_play *play, const struct cli_setup *setup,
                   const struct cli_plot *plot, const char *name);
/* The scene is over: whoever is down comes back, nothing is armed any more, what is late arrives.
 */
void cli_play_close(struct cli_play *play);
/* Ends all processes, and frees. The directory stays when @keep, and then holds the history too. */
void cli_play_done(struct cli_play *play, bool keep);

bool cli_play_is_over(struct cli_play *play);
void cli_play_object(struct cli_play *play, const char *format, ...) TPC_PRINTF(2, 3);
bool cli_play_is_embedded(const struct cli_play *play); /* no participant is the user's */

struct cli_node *cli_play_coordinator(struct cli_play *play);
struct cli_node *cli_play_member(struct cli_play *play, unsigned member);

/* Start with @failpoints of the scene's own (NULL: none), which come before those of the plot. Dies
 * it there while it starts, it is started again. */
void cli_play_start(struct cli_play *play, struct cli_node *node, const char *failpoints);
void cli_play_restart(struct cli_play *play, struct cli_node *node, const char *failpoints);
/* Start it when it has died; servers, too. */
void cli_play_revive_one(struct cli_play *play, struct cli_node *node);
/* Start whoever has died; kill whom the proxy wants dead. */
void cli_play_revive(struct cli_play *play);
void cli_play_nap(unsigned ms);

/* ---- Requests ---- */

struct cli_leg {
    unsigned member, account;
};
/* One transfer; the first leg takes. Valid until the next one. */
struct cli_txn *cli_play_transfer(struct cli_play *play, struct cli_leg from, struct cli_leg to);
/* The same, submitted with `Prefer: respond-async`. */
struct cli_txn *cli_play_transfer_async(struct cli_play *play, struct cli_leg from,
                                        struct cli_leg to);
/* The same, step by step in an interactive transaction. */
struct cli_txn *cli_play_interactive(struct cli_play *play, struct cli_leg from, struct cli_leg to);
/* Ask for all transactions whose ids are known and outcomes are not. */
void cli_play_ask(struct cli_play *play);
/* Transactions of @clients beside each other; who dies is started again. */
void cli_play_load(struct cli_play *play, unsigned clients, unsigned count);

/* The status, 0 for none; the JSON of the answer in @ret_json when that is not NULL (the caller
 * frees; NULL when it is none). @header and @body may be NULL. */
int cli_play_call(const char *base, const char *method, const char *path, const char *header,
                  const char *body, struct api_json **ret_json);
/* "branches.0.state": the text of a member that is a string, else "". */
const struct api_json *cli_json_at(const struct api_json *json, const char *path);
const char *cli_json_text_at(const struct api_json *json, const char *path);
/* The sum of all samples of a metric at GET /metrics of @base; -1: there are none. */
double cli_play_metric(const char *base, const char *name);

#endif
