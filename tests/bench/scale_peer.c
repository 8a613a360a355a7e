/* Participants that keep nothing and vote yes: one process, COUNT of them, each with an address of
 * its own.
 *
 *   scale_peer COUNT [DELAY_MS [RATE]]
 *
 * Each vote comes DELAY_MS after its prepare; with RATE, all of them together give at most as many
 * votes a second. Outcomes are acknowledged at once. Prints a line with an URL for each, then lives
 * until its stdin ends. */
#include "api/codec.h"
#include "api/loop.h"
#include "api/server.h"
#include "base/clock.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

enum { PEERS_MAX = 256, CONNECTIONS_MAX = 2000 };

struct peer {
    struct tpc_id id;
    struct api_server *server;
};

/* A request until its last line is written. */
struct group {
    struct api_stream *stream;
    size_t left;
};

struct vote {
    struct tpc_timer timer;
    struct group *group;
    struct peer *peer;
    struct tpc_id gtid;
    bool one_phase;
};

static struct tpc_timers timers;
static struct tpc_buf line;
static uint64_t delay_ms, rate, next_us;

static void write_line(struct group *group, const struct api_answer *answer)
{
    tpc_buf_clear(&line);
    api_answer_write(&line, answer);
    api_stream_write(group->stream, line.data, line.size);
    if (--group->left == 0) {
        api_stream_end(group->stream);
        free(group);
    }
}

static void on_vote(struct tpc_timer *timer)
{
    struct vote *vote = (struct vote *)timer;
    write_line(vote->group,
               &(struct api_answer){.op = API_OP_PREPARE,
                                    .gtid_valid = true,
                                    .gtid = vote->gtid,
                                    .participant_id = vote->peer->id,
                                    .vote = vote->one_phase ? API_VOTE_COMMITTED : API_VOTE_YES,
                                    .cause.statement = -1});
    free(vote);
}

/* When the next vote may be given. */
static uint64_t due_ms(void)
{
    uint64_t due_us = tpc_clock_mono_us();
    if (rate > 0) {
        due_us = next_us > due_us ? next_us : due_us;
        next_us = due_us + 1000000 / rate;
    }
    return due_us / 1000 + delay_ms;
}

static void act(struct peer *peer, struct group *group, const struct api_message *message)
{
    if (message->op != API_OP_PREPARE) {
        write_line(group,
                   &(struct api_answer){.op = message->op,
                                        .gtid_valid = true,
                                        .gtid = message->gtid,
                                        .participant_id = peer->id,
                                        .state = message->op == API_OP_COMMIT ? API_STATE_COMMITTED
                                                                              : API_STATE_ABORTED,
                                        .cause.statement = -1});
        return;
    }
    struct vote *vote = tpc_must_alloc(sizeof *vote);
    *vote = (struct vote){.timer.fire = on_vote,
                          .group = group,
                          .peer = peer,
                          .gtid = message->gtid,
                          .one_phase = message->one_phase};
    if (delay_ms == 0 && rate == 0) {
        on_vote(&vote->timer);
    } else {
        tpc_timer_arm(&timers, &vote->timer, due_ms());
    }
}

static void handle(void *arg, struct api_request *request)
{
    struct peer *peer = arg;
    struct api_envelope envelope = {0};
    struct api_refusal refusal = {0};
    struct tpc_buf out = {0};
    size_t size;
    const char *body = api_request_body(request, &size);
    if (strcmp(api_request_path(request), "/v1/messages") != 0) {
        tpc_buf_adds(&out, "ok\n");
        api_respond(request, 200, "text/plain", &out);
        return;
    }
    if (api_envelope_decode(body, size, &(struct api_codec_limits){0}, 1000, &envelope, &refusal) !=
        TPC_OK) {
        api_respond_refusal(request, &refusal);
        return;
    }
    struct group *group = tpc_must_alloc(sizeof *group);
    group->stream = api_stream_begin(request, 200, "application/x-ndjson");
    group->left = envelope.count;
    for (size_t i = 0; i < envelope.count; i++) {
        act(peer, group, &envelope.messages[i]);
    }
    api_envelope_done(&envelope);
}

static uint64_t before_sleep(void *arg)
{
    (void)arg;
    return UINT64_MAX;
}

static void ignore(void *arg)
{
    (void)arg;
}

static void on_signal(void *arg, int number)
{
    (void)arg;
    _exit(128 + number);
}

static void on_stdin(void *arg, unsigned events)
{
    char end;
    (void)arg, (void)events;
    if (read(STDIN_FILENO, &end, 1) <= 0) {
        _exit(0);
    }
}

int main(int argc, char **argv)
{
    static struct peer peers[PEERS_MAX];
    struct api_loop_options options = {
        .timers = &timers, .before_sleep = before_sleep, .on_wake = ignore, .on_signal = on_signal};
    struct api_loop *loop;
    struct api_poll *watch;
    struct tpc_err err = {0};
    size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    if (argc > 4 || count < 1 || count > PEERS_MAX) {
        (void)fprintf(stderr, "usage: scale_peer COUNT [DELAY_MS [RATE]]\n");
        return 2;
    }
    delay_ms = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    rate = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    if (api_loop_new(&options, &loop, &err) != TPC_OK ||
        api_poll_new(loop, STDIN_FILENO, on_stdin, NULL, &watch, &err) != TPC_OK) {
        (void)fprintf(stderr, "scale_peer: %s\n", err.text);
        return 1;
    }
    api_poll_want(watch, API_POLL_READ);
    for (size_t i = 0; i < count; i++) {
        struct api_server_options server = {.loop = api_loop_uv(loop),
                                            .listen = "127.0.0.1:0",
                                            .connections_max = CONNECTIONS_MAX,
                                            .body_max = 64 << 20,
                                            .handler = handle,
                                            .arg = &peers[i]};
        tpc_id_random(&peers[i].id);
        if (api_server_start(&server, &peers[i].server, &err) != TPC_OK) {
            (void)fprintf(stderr, "scale_peer: %s\n", err.text);
            return 1;
        }
        (void)printf("%s\n", api_server_url(peers[i].server));
    }
    (void)fflush(stdout);
    api_loop_run(loop);
    return 0;
}
