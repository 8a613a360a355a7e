/* Participants that answer at random, or not; clients that submit, wait, abort and go away; kills.
 * What was told and what was sent must agree in the end. usage: http_coordinator_chaos [SEED] */
#include "tests/http/harness.h"

#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CLIENTS = 8, ROUNDS = 5, REQUESTS_A_ROUND = 300, TOLD_MAX = 4096, SETTLE_MS = 30000 };

struct told {
    struct tpc_id gtid;
    int status;
};

static struct chaos {
    struct stage *stage;
    char url[80];
    uint64_t seed;
    atomic_int requests, goal;
    atomic_bool over;
    pthread_mutex_t mutex;
    size_t told_count;
    struct told told[TOLD_MAX];
} chaos = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* splitmix64 */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static struct scripted_plan choose(struct scripted *participant, enum api_op op)
{
    static const enum api_cause_code causes[] = {API_CAUSE_CONFLICT, API_CAUSE_CONFLICT,
                                                 API_CAUSE_CONSTRAINT};
    struct scripted_plan plan = {
        .vote = API_VOTE_YES,
        .state = op == API_OP_ABORT ? API_STATE_ABORTED : API_STATE_COMMITTED,
        .results = op == API_OP_PREPARE ? "[{\"rows_affected\":1}]" : NULL};
    uint64_t dice = draw(&participant->seed) % 100;
    if (dice < 5) {
        plan.act = SCRIPTED_SILENT;
    } else if (dice < 8) {
        plan.act = SCRIPTED_FAIL;
    } else if (dice < 11) {
        plan.act = SCRIPTED_HOLD;
    } else if (dice < 20 && op == API_OP_PREPARE) {
        plan.vote = API_VOTE_NO;
        plan.results = NULL;
        plan.cause = causes[dice % 3];
    } else if (dice < 25 && op == API_OP_PREPARE) {
        plan.vote = API_VOTE_READ_ONLY;
    } else if (dice < 13) {
        plan.state = API_STATE_UNKNOWN;
    } else if (dice < 16) {
        plan.error = API_ERROR_PROTOCOL;
    }
    return plan;
}

/* ---- Clients ---- */

static void remember(const struct reply *reply)
{
    const struct api_json *gtid = api_json_get(reply->json, "gtid");
    const char *text = gtid != NULL ? api_json_string(gtid) : NULL;
    pthread_mutex_lock(&chaos.mutex);
    if (text != NULL && chaos.told_count < TOLD_MAX &&
        tpc_id_parse(text, strlen(text), &chaos.told[chaos.told_count].gtid)) {
        chaos.told[chaos.told_count++].status = reply->status;
    }
    pthread_mutex_unlock(&chaos.mutex);
}

/* The answer may be a transaction's that has ended meanwhile, or not. */
static void meddle(const struct reply *reply, uint64_t dice)
{
    const struct api_json *id = api_json_get(reply->json, "id");
    struct reply other;
    char path[128];
    if (id == NULL || api_json_string(id) == NULL) {
        return;
    }
    const char *verb = dice < 40 ? "/abort" : dice < 60 ? "/forget" : "?wait=20ms";
    (void)snprintf(path, sizeof path, "/v1/transactions/%s%s", api_json_string(id), verb);
    http_call(chaos.url, dice < 60 ? "POST" : "GET", path, "", "", &other);
    reply_done(&other);
}

/* False: nobody was there. */
static bool submit_one(uint64_t *seed)
{
    static const char *const bodies[] = {BOTH(",\"timeout_ms\":300"), BOTH(",\"timeout_ms\":60"),
                                         BOTH(",\"ack\":\"decided\",\"timeout_ms\":300"),
                                         ONE(",\"timeout_ms\":200"), ONE(",\"timeout_ms\":40")};
    char key[64] = "";
    struct reply reply;
    uint64_t dice = draw(seed) % 100;
    if (dice < 30) {
        (void)snprintf(key, sizeof key, "Idempotency-Key: k%u\r\n", (unsigned)(draw(seed) % 200));
    } else if (dice < 45) {
        (void)snprintf(key, sizeof key, "Prefer: respond-async\r\n");
    }
    /* A key has its body. */
    uint64_t which = dice < 30 ? strlen(key) % 2 : draw(seed) % 5;
    int fd = http_begin(chaos.url, "POST", "/v1/transactions", key, bodies[which]);
    if (dice > 95 && fd >= 0) {
        (void)close(fd); /* gone before the answer */
        return true;
    }
    http_end(fd, &reply);
    bool there = reply.status != 0;
    if (reply.status == 201 || reply.status == 409) {
        remember(&reply);
    }
    if (there && draw(seed) % 4 == 0) {
        meddle(&reply, draw(seed) % 100);
    }
    reply_done(&reply);
    return there;
}

static void *client(void *arg)
{
    uint64_t seed = *(const uint64_t *)arg;
    while (!atomic_load(&chaos.over)) {
        if (submit_one(&seed)) {
            atomic_fetch_add(&chaos.requests, 1);
        } else {
            (void)usleep(1000); /* it is being started again */
        }
    }
    return NULL;
}

/* ---- What must hold ---- */

struct seen_at {
    bool prepared, yes, read_only, commit, abort, one_phase;
};

static int compare_seen(const void *a, const void *b)
{
    const struct scripted_seen *one = a, *two = b;
    return tpc_id_compare(&one->gtid, &two->gtid);
}

static struct seen_at look(const struct scripted *participant, const struct tpc_id *gtid)
{
    struct seen_at at = {0};
    size_t low = 0, high = participant->seen_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (tpc_id_compare(&participant->seen[middle].gtid, gtid) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < participant->seen_count && tpc_id_equal(&participant->seen[low].gtid, gtid);
         low++) {
        const struct scripted_seen *seen = &participant->seen[low];
        at.one_phase |= seen->one_phase;
        at.prepared |= seen->op == API_OP_PREPARE;
        at.commit |= seen->op == API_OP_COMMIT;
        at.abort |= seen->op == API_OP_ABORT;
        at.yes |= seen->told == API_VOTE_YES;
        at.read_only |= seen->told == API_VOTE_READ_ONLY;
    }
    return at;
}

static void check_gtid(struct stage *stage, const struct tpc_id *gtid)
{
    struct seen_at east = look(&stage->east, gtid), west = look(&stage->west, gtid);
    bool commit = east.commit || west.commit, abort = east.abort || west.abort;
    bool voted = (east.yes || east.read_only || !east.prepared) &&
                 (west.yes || west.read_only || !west.prepared);
    char text[TPC_ID_TEXT];
    if ((commit && (abort || !voted)) || (east.commit && !east.yes) || (west.commit && !west.yes)) {
        fail_msg("%s was told to commit and abort, or without the votes",
                 tpc_id_format(gtid, text));
    }
}

static void check_told(struct stage *stage, const struct told *told)
{
    struct seen_at east = look(&stage->east, &told->gtid), west = look(&stage->west, &told->gtid);
    char text[TPC_ID_TEXT];
    bool one_phase = east.one_phase || west.one_phase;
    bool applied = (east.commit || !east.yes) && (west.commit || !west.yes);
    if (!one_phase && (told->status == 201 ? !applied : east.commit || west.commit)) {
        fail_msg("%s was answered %d, and that is not what the participants were told",
                 tpc_id_format(&told->gtid, text), told->status);
    }
}

static bool nothing_unfinished(struct stage *stage)
{
    return stage_metric(stage, "assent_transactions_in_flight") == 0 &&
           stage_metric(stage, "assent_in_doubt_oldest_age_seconds") == 0;
}

static void settle(struct stage *stage)
{
    struct scripted *both[] = {&stage->east, &stage->west};
    uint64_t until_ms = tpc_clock_mono_ms() + SETTLE_MS;
    for (size_t i = 0; i < 2; i++) {
        pthread_mutex_lock(&both[i]->mutex);
        both[i]->choose = NULL;
        pthread_mutex_unlock(&both[i]->mutex);
        scripted_release(both[i]);
    }
    while (!nothing_unfinished(stage)) {
        assert_true(tpc_clock_mono_ms() < until_ms);
        for (size_t i = 0; i < 2; i++) {
            scripted_release(both[i]);
        }
    }
}

static void play(struct stage *stage)
{
    pthread_t clients[CLIENTS];
    uint64_t seeds[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++) {
        seeds[i] = chaos.seed + i;
        assert_int_equal(pthread_create(&clients[i], NULL, client, &seeds[i]), 0);
    }
    for (int round = 1; round <= ROUNDS; round++) {
        while (atomic_load(&chaos.requests) < round * REQUESTS_A_ROUND) {
            scripted_release(&stage->east);
            scripted_release(&stage->west);
            (void)usleep(2000); /* how often what is held is let go */
        }
        if (round < ROUNDS) {
            sup_proc_kill(&stage->coord);
            stage_restart(stage);
        }
    }
    atomic_store(&chaos.over, true);
    for (size_t i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i], NULL);
    }
}

static void test_chaos__what_is_told_is_what_is_done(void **state)
{
    struct stage *stage = *state;
    stage_start(stage, (const char *const[]){"--retention", "1s", "--results-max", "2k",
                                             "--retained-max", "200", "--batch-max", "7", NULL});
    (void)snprintf(chaos.url, sizeof chaos.url, "%s", stage->url);
    stage->east.seed = chaos.seed + 1000;
    stage->west.seed = chaos.seed + 2000;
    stage->east.choose = stage->west.choose = choose;
    play(stage);
    settle(stage);
    struct scripted *both[] = {&stage->east, &stage->west};
    for (size_t i = 0; i < 2; i++) {
        scripted_stop(both[i]);
        qsort(both[i]->seen, both[i]->seen_count, sizeof both[i]->seen[0], compare_seen);
    }
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < both[i]->seen_count; j++) {
            check_gtid(stage, &both[i]->seen[j].gtid);
        }
    }
    for (size_t i = 0; i < chaos.told_count; i++) {
        check_told(stage, &chaos.told[i]);
    }
    (void)fprintf(stderr, "seed %llu: %d requests, %zu outcomes told, %zu and %zu messages\n",
                  (unsigned long long)chaos.seed, atomic_load(&chaos.requests), chaos.told_count,
                  stage->east.seen_count, stage->west.seen_count);
    assert_true(chaos.told_count > 100);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(
        test_chaos__what_is_told_is_what_is_done, stage_setup, stage_teardown)};
    chaos.seed = argc > 1 ? strtoull(argv[1], NULL, 10) : tpc_clock_wall_us() % 1000000;
    (void)fprintf(stderr, "seed %llu\n", (unsigned long long)chaos.seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
