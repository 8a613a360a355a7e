#include "cli/bench/drive.h"

#include "base/clock.h"
#include "base/id.h"
#include "cli/bench/pump.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    LOOK_EVERY_US = 100000, /* at a signal, at what is paused */
    LINE_EVERY_US = 1000000,
    SAMPLER_LOOKS_US = 2000,
    GRACE_US = 10000000, /* beyond the time-out of the last transaction */
};

#define PATH "/v1/transactions"

struct slot {
    uint64_t intended_us;
    uint64_t resume_us; /* not before */
    struct cli_load_move move;
    bool busy;
};

struct drive {
    const struct cli_drive_plan *plan;
    struct cli_drive_result *result;
    struct cli_pump *pump;
    struct slot *slots;
    unsigned *free_slots, free_count, paused;
    struct tpc_buf body;
    uint64_t random;
    uint64_t start_us, from_us;
    _Atomic uint64_t to_us;    /* the sampler looks at it */
    _Atomic uint64_t finished; /* and at this, which counts commits and aborts */
    uint64_t arrivals;         /* that were sent */
    struct cli_histogram recent;
    uint64_t recent_since_us;
};

/* ---- Samples, on a thread of their own: the load goes on meanwhile ---- */

static void wait_until(struct drive *drive, bool end)
{
    static const struct timespec pause = {.tv_nsec = SAMPLER_LOOKS_US * 1000L};
    uint64_t due_us;
    do {
        uint64_t to_us = atomic_load(&drive->to_us);
        due_us = end || to_us < drive->from_us ? to_us : drive->from_us;
        (void)nanosleep(&pause, NULL);
    } while (tpc_clock_mono_us() < due_us);
}

static void *sampler(void *arg)
{
    struct drive *drive = arg;
    wait_until(drive, false);
    uint64_t finished = atomic_load(&drive->finished);
    cli_sample_take(&drive->plan->sample, &drive->result->before);
    wait_until(drive, true);
    drive->result->finished = atomic_load(&drive->finished) - finished;
    cli_sample_take(&drive->plan->sample, &drive->result->after);
    return NULL;
}

/* ---- The live line ---- */

static void show_line(struct drive *drive, uint64_t now_us)
{
    uint64_t past_us = now_us - drive->recent_since_us;
    if (past_us < LINE_EVERY_US) {
        return;
    }
    const struct cli_histogram *recent = &drive->recent;
    (void)fprintf(stderr, "\r%s %3.0f s  %8.0f tx/s  p50 %.2f ms  p99 %.2f ms   ",
                  now_us < drive->from_us ? "warm-up" : "running",
                  (double)(now_us - drive->start_us) / 1e6,
                  (double)recent->count * 1e6 / (double)past_us,
                  (double)cli_histogram_quantile(recent, 500) / 1e3,
                  (double)cli_histogram_quantile(recent, 990) / 1e3);
    cli_histogram_reset(&drive->recent);
    drive->recent_since_us = now_us;
}

/* ---- Answers ---- */

static void give_up(struct drive *drive, enum tpc_rc rc, const char *words)
{
    if (drive->result->rc == TPC_OK) {
        drive->result->rc = tpc_fail(&drive->result->err, rc, "%s", words);
    }
}

/* The detail of a problem document. */
static void give_up_for(struct drive *drive, const struct cli_pump_answer *answer)
{
    struct api_json *json = NULL;
    char words[400];
    const struct api_json *detail = NULL;
    if (api_json_parse(answer->body, answer->body_size, &json, NULL) == TPC_OK) {
        detail = api_json_get(json, "detail");
    }
    const char *text = detail != NULL ? api_json_string(detail) : NULL;
    (void)snprintf(words, sizeof words, "the coordinator answers %d: %.300s", answer->status,
                   text != NULL ? text : "?");
    give_up(drive, TPC_EINVAL, words);
    if (json != NULL) {
        api_json_free(json);
    }
}

static enum api_cause_code cause_of(const struct cli_pump_answer *answer)
{
    static const char mark[] = "\"code\":\"";
    const char *code = memmem(answer->body, answer->body_size, mark, sizeof mark - 1);
    for (int i = API_CAUSE_NONE + 1; code != NULL && i < API_CAUSE_COUNT; i++) {
        const char *name = api_cause_name((enum api_cause_code)i);
        if (strncmp(code + sizeof mark - 1, name, strlen(name)) == 0) {
            return (enum api_cause_code)i;
        }
    }
    return API_CAUSE_NONE;
}

static void note_commit(struct drive *drive, const struct slot *slot, bool counts, uint64_t now_us)
{
    struct cli_drive_result *result = drive->result;
    uint64_t latency_us = now_us - slot->intended_us;
    cli_load_apply(&drive->plan->load, &slot->move, result->sums);
    result->told++;
    cli_histogram_add(&drive->recent, latency_us);
    result->committed += now_us >= drive->from_us && now_us < drive->to_us;
    if (counts) {
        cli_histogram_add(&result->latency, latency_us);
    }
}

/* Nothing was begun. A client in a closed loop waits as long as it was asked to. */
static void note_refusal(struct drive *drive, struct slot *slot,
                         const struct cli_pump_answer *answer, bool counts, uint64_t now_us)
{
    drive->result->refused += counts;
    if (drive->plan->rate == 0) {
        unsigned seconds = answer->retry_after_s > 0 ? answer->retry_after_s : 1;
        slot->resume_us = now_us + seconds * UINT64_C(1000000);
        drive->paused++;
    }
}

static bool is_counted(const struct drive *drive, const struct slot *slot)
{
    return slot->intended_us >= drive->from_us && slot->intended_us < drive->to_us;
}

static void release(struct drive *drive, unsigned index)
{
    drive->slots[index].busy = false;
    if (drive->slots[index].resume_us == 0) {
        drive->free_slots[drive->free_count++] = index;
    }
}

static void on_answer(void *arg, unsigned index, const struct cli_pump_answer *answer)
{
    struct drive *drive = arg;
    struct cli_drive_result *result = drive->result;
    struct slot *slot = &drive->slots[index];
    uint64_t now_us = tpc_clock_mono_us();
    bool counts = is_counted(drive, slot);
    result->ended += counts;
    drive->finished += answer->status == 201 || answer->status == 409;
    switch (answer->status) {
    case 201:
        note_commit(drive, slot, counts, now_us);
        break;
    case 409:
        result->aborts[cause_of(answer)] += counts;
        break;
    case 503:
        note_refusal(drive, slot, answer, counts, now_us);
        break;
    case 202:
        result->late += counts;
        result->unknown++;
        break;
    case 500:
        result->hazards++;
        result->unknown++;
        break;
    default:
        result->unknown++;
        give_up_for(drive, answer);
        break;
    }
    release(drive, index);
}

static void on_broken(void *arg, unsigned index)
{
    struct drive *drive = arg;
    drive->result->broken += is_counted(drive, &drive->slots[index]);
    drive->result->unknown++;
    release(drive, index);
}

/* ---- Requests ---- */

static void begin(struct drive *drive, uint64_t intended_us)
{
    unsigned index = drive->free_slots[--drive->free_count];
    struct slot *slot = &drive->slots[index];
    struct tpc_err err = {0};
    slot->move = cli_load_next(&drive->plan->load, &drive->random, &drive->body);
    slot->intended_us = intended_us;
    slot->busy = true;
    enum tpc_rc rc = cli_pump_post(drive->pump, index, PATH, &drive->body, &err);
    if (rc != TPC_OK) {
        give_up(drive, rc, err.text);
        release(drive, index);
    }
}

uint64_t cli_drive_due_us(uint64_t start_us, unsigned rate, uint64_t number)
{
    return start_us + number / rate * 1000000 + number % rate * 1000000 / rate;
}

static uint64_t next_due_us(const struct drive *drive)
{
    return cli_drive_due_us(drive->start_us, drive->plan->rate, drive->arrivals);
}

static void wake_paused(struct drive *drive, uint64_t now_us)
{
    for (unsigned i = 0; drive->paused > 0 && i < drive->plan->clients; i++) {
        struct slot *slot = &drive->slots[i];
        if (slot->resume_us != 0 && slot->resume_us <= now_us) {
            slot->resume_us = 0;
            drive->paused--;
            drive->free_slots[drive->free_count++] = i;
        }
    }
}

/* What is to begin now. Returns when there will be something again, at the latest. */
static uint64_t begin_due(struct drive *drive, uint64_t now_us)
{
    uint64_t to_us = drive->to_us;
    if (drive->plan->rate == 0) {
        while (now_us < to_us && drive->free_count > 0 && drive->result->rc == TPC_OK) {
            begin(drive, tpc_clock_mono_us());
        }
        return UINT64_MAX;
    }
    uint64_t due_us = next_due_us(drive);
    while (due_us <= now_us && due_us < to_us && drive->free_count > 0 &&
           drive->result->rc == TPC_OK) {
        drive->arrivals++;
        begin(drive, due_us);
        due_us = next_due_us(drive);
    }
    /* With no client free, the next answer is what is waited for. */
    return due_us < to_us && drive->free_count > 0 ? due_us : UINT64_MAX;
}

static bool is_under_way(const struct drive *drive)
{
    return drive->free_count + drive->paused < drive->plan->clients;
}

static bool has_arrivals(const struct drive *drive)
{
    return drive->plan->rate > 0 && next_due_us(drive) < drive->to_us;
}

static void end_early(struct drive *drive, uint64_t now_us)
{
    if (now_us < drive->to_us) {
        atomic_store(&drive->to_us, now_us);
    }
}

static void run_loop(struct drive *drive)
{
    for (;;) {
        uint64_t now_us = tpc_clock_mono_us();
        if (*drive->plan->interrupted || drive->result->rc != TPC_OK) {
            end_early(drive, now_us);
        }
        bool over = now_us >= drive->to_us;
        bool late = now_us >= drive->to_us + drive->plan->load.timeout_ms * 1000ULL + GRACE_US;
        if (over && (late || drive->result->rc != TPC_OK ||
                     (!is_under_way(drive) && !has_arrivals(drive)))) {
            return;
        }
        wake_paused(drive, now_us);
        uint64_t due_us = begin_due(drive, now_us);
        now_us = tpc_clock_mono_us();
        uint64_t wait_us = due_us > now_us ? due_us - now_us : 0;
        uint64_t left_us = drive->to_us > now_us ? drive->to_us - now_us : LOOK_EVERY_US;
        wait_us = wait_us < left_us ? wait_us : left_us;
        cli_pump_turn(drive->pump, wait_us < LOOK_EVERY_US ? wait_us : LOOK_EVERY_US);
        if (drive->plan->live) {
            show_line(drive, now_us);
        }
    }
}

/* What has not ended by now, or was not even sent. */
static void count_rest(struct drive *drive)
{
    uint64_t now_us = tpc_clock_mono_us();
    for (unsigned i = 0; i < drive->plan->clients; i++) {
        if (drive->slots[i].busy) {
            cli_pump_cancel(drive->pump, i);
            on_broken(drive, i);
        }
    }
    for (; has_arrivals(drive); drive->arrivals++) {
        uint64_t due_us = next_due_us(drive);
        if (due_us >= drive->from_us) {
            drive->result->unsent++;
            cli_histogram_add(&drive->result->latency, now_us - due_us);
        }
    }
}

static bool prepare(struct drive *drive)
{
    const struct cli_pump_events events = {
        .arg = drive, .on_answer = on_answer, .on_broken = on_broken};
    unsigned clients = drive->plan->clients;
    drive->slots = calloc(clients, sizeof *drive->slots);
    drive->free_slots = calloc(clients, sizeof *drive->free_slots);
    if (drive->slots == NULL || drive->free_slots == NULL) {
        give_up(drive, TPC_ENOMEM, "no memory for so many clients");
        return false;
    }
    /* The last is taken first. */
    for (unsigned i = 0; i < clients; i++) {
        drive->free_slots[drive->free_count++] = clients - 1 - i;
    }
    drive->result->rc =
        cli_pump_new(drive->plan->url, clients, &events, &drive->pump, &drive->result->err);
    return drive->result->rc == TPC_OK;
}

void cli_drive(const struct cli_drive_plan *plan, struct cli_drive_result *result)
{
    struct drive drive = {.plan = plan, .result = result, .random = tpc_random_u64()};
    pthread_t thread;
    *result = (struct cli_drive_result){0};
    if (prepare(&drive)) {
        drive.start_us = drive.recent_since_us = tpc_clock_mono_us();
        drive.from_us = drive.start_us + plan->warm_up_us;
        atomic_init(&drive.to_us, drive.from_us + plan->run_us);
        bool samples = pthread_create(&thread, NULL, sampler, &drive) == 0;
        run_loop(&drive);
        count_rest(&drive);
        if (samples) {
            (void)pthread_join(thread, NULL);
        }
        uint64_t to_us = drive.to_us;
        result->seconds = to_us > drive.from_us ? (double)(to_us - drive.from_us) / 1e6 : 0;
        if (plan->live) {
            (void)fputs("\r\033[K", stderr);
        }
    }
    cli_pump_free(drive.pump);
    tpc_buf_done(&drive.body);
    free(drive.slots);
    free(drive.free_slots);
}
