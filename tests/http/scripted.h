/* A participant that says what the test tells it to: the real protocol over HTTP, no database. Its
 * server runs in a thread of its own; everything here is called from the test's thread. */
#ifndef ASSENT_TESTS_HTTP_SCRIPTED_H
#define ASSENT_TESTS_HTTP_SCRIPTED_H

#include "api/codec.h"
#include "api/server.h"

#include <pthread.h>
#include <uv.h>

enum { SCRIPTED_SEEN_MAX = 65536, SCRIPTED_HELD_MAX = 4096 };

enum scripted_act {
    SCRIPTED_ANSWER,
    SCRIPTED_HOLD,   /* until scripted_release, which answers by the plan of then */
    SCRIPTED_SILENT, /* the answer ends without a line for it */
    SCRIPTED_FAIL,   /* HTTP 500 for the whole request */
};

struct scripted_plan {
    enum scripted_act act;
    enum api_vote vote;
    enum api_branch_state state;
    enum api_answer_error error;
    enum api_cause_code cause;
    const char *results; /* JSON, NULL: none */
};

struct scripted_seen {
    enum api_op op;
    struct tpc_id gtid;
    uint64_t began_us, timeout_ms, generation;
    bool one_phase;
    struct tpc_id forgotten_below, participant_id;
    enum api_vote told; /* of a prepare: the vote that left */
};

struct scripted_held {
    struct api_stream *stream;
    size_t seen; /* which message */
};

struct scripted {
    char url[80];
    struct tpc_id id; /* set before the start, or by scripted_new_log */
    uv_loop_t loop;
    uv_async_t quit, release;
    pthread_t thread;
    struct api_server *server;
    bool running;

    pthread_mutex_t mutex; /* guards the rest */
    pthread_cond_t changed;
    struct scripted_plan plan[API_OP_COUNT], once[API_OP_COUNT];
    bool has_once[API_OP_COUNT];
    /* When set: what to do with each message. In the participant's thread, under the mutex. */
    struct scripted_plan (*choose)(struct scripted *participant, enum api_op op);
    uint64_t seed; /* of choose */
    size_t seen_count, requests;
    struct scripted_seen seen[SCRIPTED_SEEN_MAX];
    size_t held_count;
    struct scripted_held held[SCRIPTED_HELD_MAX];
};

/* Votes yes (committed when one-phase) and does what it is told. Serves on @listen, NULL: any free
 * port of localhost; a second start takes the port of the first. */
void scripted_start(struct scripted *participant);
void scripted_stop(struct scripted *participant);
void scripted_plan(struct scripted *participant, enum api_op op, struct scripted_plan plan);
/* For the next message alone. */
void scripted_once(struct scripted *participant, enum api_op op, struct scripted_plan plan);
void scripted_new_log(struct scripted *participant);
/* Answer what was held, by the plans of now; what comes later is held or not by them too. */
void scripted_release(struct scripted *participant);
/* Wait until @count messages of @op have come in all; fails the test after 20 s. */
void scripted_await(struct scripted *participant, enum api_op op, size_t count);
size_t scripted_count(struct scripted *participant, enum api_op op);
/* The @index-th (0: the first) message of @op. */
struct scripted_seen scripted_at(struct scripted *participant, enum api_op op, size_t index);

#endif
