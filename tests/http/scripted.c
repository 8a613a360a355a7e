#include "tests/http/scripted.h"

#include "api/router.h"
#include "tests/http/harness.h"

#include <string.h>
#include <time.h>

static struct scripted_plan plan_for(struct scripted *participant, enum api_op op)
{
    if (participant->choose != NULL) {
        return participant->choose(participant, op);
    }
    if (participant->has_once[op]) {
        participant->has_once[op] = false;
        return participant->once[op];
    }
    return participant->plan[op];
}

static void write_line(struct scripted *participant, struct api_stream *stream,
                       struct scripted_seen *seen, const struct scripted_plan *plan)
{
    struct tpc_buf line = {0};
    struct api_answer answer = {.op = seen->op,
                                .gtid_valid = true,
                                .gtid = seen->gtid,
                                .participant_id = participant->id,
                                .error = plan->error,
                                .cause = {.code = plan->cause, .statement = -1}};
    if (plan->error == API_ERROR_NONE && seen->op == API_OP_PREPARE) {
        bool commits = seen->one_phase && plan->vote == API_VOTE_YES;
        answer.vote = commits ? API_VOTE_COMMITTED : plan->vote;
        seen->told = answer.vote;
    } else if (plan->error == API_ERROR_NONE) {
        answer.state = plan->state;
    }
    char *results = plan->results != NULL ? strdup(plan->results) : NULL;
    answer.results = results;
    answer.results_size = results != NULL ? strlen(results) : 0;
    api_answer_write(&line, &answer);
    api_stream_write(stream, line.data, line.size);
    tpc_buf_done(&line);
    free(results);
}

static void note(struct scripted *participant, const struct api_message *message,
                 const struct api_coordinator *coordinator)
{
    assert_true(participant->seen_count < SCRIPTED_SEEN_MAX);
    participant->seen[participant->seen_count] =
        (struct scripted_seen){.op = message->op,
                               .gtid = message->gtid,
                               .began_us = message->began_us,
                               .timeout_ms = message->timeout_ms,
                               .one_phase = message->one_phase,
                               .participant_id = message->participant_id,
                               .generation = coordinator->generation,
                               .forgotten_below = coordinator->forgotten_below};
    participant->seen_count++;
}

/* A request with a message to be held stays open for that one alone. */
static void carry_out(struct scripted *participant, struct api_request *request,
                      const struct api_envelope *envelope)
{
    struct scripted_plan plans[1024];
    bool fail = false, hold = false;
    size_t first = participant->seen_count;
    assert_true(envelope->count <= 1024);
    for (size_t i = 0; i < envelope->count; i++) {
        note(participant, &envelope->messages[i], &envelope->coordinator);
        plans[i] = plan_for(participant, envelope->messages[i].op);
        fail |= plans[i].act == SCRIPTED_FAIL;
        hold |= plans[i].act == SCRIPTED_HOLD;
    }
    pthread_cond_broadcast(&participant->changed);
    if (fail) {
        api_respond_problem(request, 500, "broken", "Broken", "as the test wants it", NULL);
        return;
    }
    struct api_stream *stream = api_stream_begin(request, 200, "application/x-ndjson");
    for (size_t i = 0; i < envelope->count; i++) {
        if (plans[i].act == SCRIPTED_ANSWER) {
            write_line(participant, stream, &participant->seen[first + i], &plans[i]);
        } else if (plans[i].act == SCRIPTED_HOLD) {
            assert_true(participant->held_count < SCRIPTED_HELD_MAX);
            participant->held[participant->held_count++] =
                (struct scripted_held){.stream = stream, .seen = first + i};
        }
    }
    if (!hold) {
        api_stream_end(stream);
    }
}

static void handle_messages(void *arg, struct api_request *request, const char *const args[])
{
    struct scripted *participant = arg;
    struct api_envelope envelope = {0};
    struct api_refusal refusal = {0};
    size_t size;
    const char *body = api_request_body(request, &size);
    const struct api_codec_limits limits = {0};
    (void)args;
    if (api_envelope_decode(body, size, &limits, 1024, &envelope, &refusal) != TPC_OK) {
        api_respond_refusal(request, &refusal);
        return;
    }
    pthread_mutex_lock(&participant->mutex);
    participant->requests++;
    carry_out(participant, request, &envelope);
    pthread_mutex_unlock(&participant->mutex);
    api_envelope_done(&envelope);
}

static void handle_ready(void *arg, struct api_request *request, const char *const args[])
{
    (void)arg, (void)args;
    api_respond(request, 200, "text/plain", NULL);
}

static void handle(void *arg, struct api_request *request)
{
    static const struct api_route routes[] = {{"POST", "/v1/messages", handle_messages},
                                              {"GET", "/readyz", handle_ready},
                                              {NULL, NULL, NULL}};
    api_route(routes, arg, request);
}

static void end_held(struct scripted *participant, bool answer)
{
    for (size_t i = 0; i < participant->held_count; i++) {
        const struct scripted_held *held = &participant->held[i];
        struct scripted_seen *seen = &participant->seen[held->seen];
        struct scripted_plan plan = plan_for(participant, seen->op);
        if (answer && plan.act == SCRIPTED_ANSWER) {
            write_line(participant, held->stream, seen, &plan);
        }
        bool last =
            i + 1 == participant->held_count || participant->held[i + 1].stream != held->stream;
        if (last) {
            api_stream_end(held->stream);
        }
    }
    participant->held_count = 0;
}

static void on_release(uv_async_t *async)
{
    struct scripted *participant = async->data;
    pthread_mutex_lock(&participant->mutex);
    end_held(participant, true);
    pthread_mutex_unlock(&participant->mutex);
}

static void on_quit(uv_async_t *async)
{
    struct scripted *participant = async->data;
    pthread_mutex_lock(&participant->mutex);
    end_held(participant, false);
    pthread_mutex_unlock(&participant->mutex);
    api_server_stop(participant->server);
    uv_close((uv_handle_t *)&participant->quit, NULL);
    uv_close((uv_handle_t *)&participant->release, NULL);
}

static void *run(void *arg)
{
    struct scripted *participant = arg;
    (void)uv_run(&participant->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void begin(struct scripted *participant)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&participant->mutex, NULL);
    pthread_cond_init(&participant->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    tpc_id_random(&participant->id);
    participant->plan[API_OP_PREPARE] = (struct scripted_plan){.vote = API_VOTE_YES};
    participant->plan[API_OP_COMMIT] = (struct scripted_plan){.state = API_STATE_COMMITTED};
    participant->plan[API_OP_ABORT] = (struct scripted_plan){.state = API_STATE_ABORTED};
}

void scripted_start(struct scripted *participant)
{
    struct tpc_err err = {0};
    bool again = participant->url[0] != '\0';
    if (!again) {
        begin(participant);
    }
    assert_int_equal(uv_loop_init(&participant->loop), 0);
    assert_int_equal(uv_async_init(&participant->loop, &participant->quit, on_quit), 0);
    assert_int_equal(uv_async_init(&participant->loop, &participant->release, on_release), 0);
    participant->quit.data = participant->release.data = participant;
    const struct api_server_options options = {
        .loop = &participant->loop,
        .listen = again ? participant->url + strlen("http://") : "127.0.0.1:0",
        .handler = handle,
        .arg = participant};
    if (api_server_start(&options, &participant->server, &err) != TPC_OK) {
        fail_msg("%s", err.text);
    }
    (void)snprintf(participant->url, sizeof participant->url, "%s",
                   api_server_url(participant->server));
    assert_int_equal(pthread_create(&participant->thread, NULL, run, participant), 0);
    participant->running = true;
}

void scripted_stop(struct scripted *participant)
{
    if (participant->running) {
        uv_async_send(&participant->quit);
        pthread_join(participant->thread, NULL);
        assert_int_equal(uv_loop_close(&participant->loop), 0);
        participant->running = false;
    }
}

/* ---- What the test says ---- */

void scripted_plan(struct scripted *participant, enum api_op op, struct scripted_plan plan)
{
    pthread_mutex_lock(&participant->mutex);
    participant->plan[op] = plan;
    pthread_mutex_unlock(&participant->mutex);
}

void scripted_once(struct scripted *participant, enum api_op op, struct scripted_plan plan)
{
    pthread_mutex_lock(&participant->mutex);
    participant->once[op] = plan;
    participant->has_once[op] = true;
    pthread_mutex_unlock(&participant->mutex);
}

void scripted_new_log(struct scripted *participant)
{
    pthread_mutex_lock(&participant->mutex);
    tpc_id_random(&participant->id);
    pthread_mutex_unlock(&participant->mutex);
}

void scripted_release(struct scripted *participant)
{
    uv_async_send(&participant->release);
}

static const struct scripted_seen *find(const struct scripted *participant, enum api_op op,
                                        size_t index)
{
    for (size_t i = 0; i < participant->seen_count; i++) {
        if (participant->seen[i].op == op && index-- == 0) {
            return &participant->seen[i];
        }
    }
    return NULL;
}

void scripted_await(struct scripted *participant, enum api_op op, size_t count)
{
    struct timespec until;
    int waited = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&participant->mutex);
    while (find(participant, op, count - 1) == NULL && waited == 0) {
        waited = pthread_cond_timedwait(&participant->changed, &participant->mutex, &until);
    }
    pthread_mutex_unlock(&participant->mutex);
    if (waited != 0) {
        fail_msg("no %zu messages of %s within %d s", count, api_op_name(op), PATIENCE_S);
    }
}

size_t scripted_count(struct scripted *participant, enum api_op op)
{
    size_t count = 0;
    pthread_mutex_lock(&participant->mutex);
    for (size_t i = 0; i < participant->seen_count; i++) {
        count += participant->seen[i].op == op;
    }
    pthread_mutex_unlock(&participant->mutex);
    return count;
}

struct scripted_seen scripted_at(struct scripted *participant, enum api_op op, size_t index)
{
    pthread_mutex_lock(&participant->mutex);
    const struct scripted_seen *found = find(participant, op, index);
    struct scripted_seen seen = found != NULL ? *found : (struct scripted_seen){0};
    pthread_mutex_unlock(&participant->mutex);
    assert_non_null(found);
    return seen;
}
