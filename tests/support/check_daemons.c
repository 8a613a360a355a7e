#include "tests/support/check.h"

#include "base/clock.h"
#include "tests/support/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    LOOK_EVERY_MS = 10,
    SETTLE_MS = 30000,
    STOP_MS = 8000, /* shorter than --drain */
    ROUNDS = 3,
    TOUCH_MS = 1000,     /* the time-out of the transaction that touches every row */
    SHOWN_SAMPLES = 200, /* transactions asked for by their ids */
};

/* ---- Nothing in doubt ---- */

/* "" when nothing is unsettled at @base, else what is. */
static void look_at_list(const char *base, const char *path, char *out, size_t size)
{
    struct sup_answer answer;
    out[0] = '\0';
    sup_http_at("GET", base, path, NULL, NULL, SUP_CALL_MS, &answer);
    const struct api_json *items = sup_json_at(answer.json, "items");
    if (answer.status != 200 || items == NULL) {
        (void)snprintf(out, size, "GET %s%s answers %d", base, path, answer.status);
    } else if (api_json_count(items) > 0) {
        const char *gtid = sup_json_text(items, "0.gtid");
        (void)snprintf(out, size, "GET %s%s shows %s, state %s", base, path, gtid,
                       sup_json_text(items, "0.state"));
    }
    sup_answer_done(&answer);
}

static void look(struct sup_world *world, char *out, size_t size)
{
    static const char *const transactions[] = {
        "/v1/transactions?state=active", "/v1/transactions?state=preparing",
        "/v1/transactions?state=committing", "/v1/transactions?state=aborting"};
    static const char *const branches[] = {"/v1/branches?state=prepared",
                                           "/v1/branches?state=heuristic_commit",
                                           "/v1/branches?state=heuristic_abort", "/v1/branches"};
    out[0] = '\0';
    for (size_t i = 0; i < 4 && out[0] == '\0'; i++) {
        look_at_list(sup_daemon_url(&world->coordinator), transactions[i], out, size);
    }
    for (size_t i = 0; i / 4 < world->options.agents && out[0] == '\0'; i++) {
        look_at_list(sup_daemon_url(&world->agents[i / 4]), branches[i % 4], out, size);
    }
}

void sup_check_settled(struct sup_world *world, uint64_t timeout_ms, struct sup_report *report)
{
    static const struct timespec pause = {.tv_nsec = LOOK_EVERY_MS * 1000000L};
    uint64_t until_ms = tpc_clock_mono_ms() + timeout_ms;
    char found[512];
    look(world, found, sizeof found);
    while (found[0] != '\0' && tpc_clock_mono_ms() < until_ms) {
        (void)nanosleep(&pause, NULL);
        look(world, found, sizeof found);
    }
    if (found[0] != '\0') {
        sup_object(report, "unsettled: %s", found);
    }
}

/* ---- Shown ---- */

static void check_shown(struct sup_world *world, const struct sup_books *books,
                        const struct sup_transfer *transfer, struct sup_report *report)
{
    struct sup_answer answer;
    char path[128];
    size_t rows;
    (void)sup_books_find(books, transfer->name, &rows);
    (void)snprintf(path, sizeof path, "/v1/transactions/%s", transfer->id);
    sup_http_at("GET", sup_daemon_url(&world->coordinator), path, NULL, NULL, SUP_CALL_MS, &answer);
    const char *state = sup_json_text(answer.json, "state");
    bool committed = answer.status == 200 && strcmp(state, "committed") == 0;
    bool aborted = answer.status == 404 || (answer.status == 200 && strcmp(state, "aborted") == 0);
    if (!committed && !aborted) {
        sup_object(report, "%s (%s): shown with HTTP %d, state '%s'", transfer->name, transfer->id,
                   answer.status, state);
    } else if ((transfer->told == SUP_TOLD_COMMITTED || rows > 0) && !committed) {
        /* One-phase transactions leave the coordinator without a record. */
        bool one_phase = transfer->from.bank == transfer->to.bank && !transfer->keyed;
        if (!one_phase || answer.status != 404) {
            sup_object(report, "%s (%s): held, and shown with HTTP %d, state '%s'", transfer->name,
                       transfer->id, answer.status, state);
        }
    } else if ((transfer->told == SUP_TOLD_ABORTED || rows == 0) && !aborted) {
        sup_object(report, "%s (%s): not held, and shown as %s", transfer->name, transfer->id,
                   state);
    }
    sup_answer_done(&answer);
}

void sup_check_shown(struct sup_world *world, const struct sup_books *books,
                     const struct sup_history *history, struct sup_report *report)
{
    size_t step = 1 + history->count / SHOWN_SAMPLES;
    for (size_t i = 0; i < history->count; i += step) {
        if (history->items[i].id[0] != '\0') {
            check_shown(world, books, &history->items[i], report);
        }
    }
}

/* ---- No lock left ---- */

/* True when it committed at its first attempt. */
static bool touch_all(struct sup_world *world, int by, struct sup_answer *ret_answer)
{
    struct tpc_buf body = {0};
    tpc_buf_addf(&body, "{\"timeout_ms\":%d,\"branches\":[", TOUCH_MS);
    for (unsigned i = 0; i < world->options.agents; i++) {
        tpc_buf_addf(&body,
                     "%s{\"participant\":\"%s\",\"statements\":[{\"sql\":\"UPDATE accounts SET "
                     "balance = balance + ?\",\"params\":[%d],\"expect\":{\"rows\":%u}}]}",
                     i > 0 ? "," : "", world->agents[i].name, by, world->options.accounts);
    }
    tpc_buf_adds(&body, "]}");
    sup_http_at("POST", sup_daemon_url(&world->coordinator), "/v1/transactions", NULL, body.data,
                SUP_CALL_MS, ret_answer);
    tpc_buf_done(&body);
    const struct api_json *attempts = sup_json_at(ret_answer->json, "attempts");
    return ret_answer->status == 201 && attempts != NULL && api_json_number(attempts) == 1;
}

/* There and back. */
static bool try_all_rows(struct sup_world *world, char *why, size_t size)
{
    bool good = true, there = true;
    for (int by = 1; by >= -1 && there; by -= 2) {
        struct sup_answer answer;
        if (!touch_all(world, by, &answer)) {
            good = false;
            (void)snprintf(why, size, "HTTP %d: %.600s", answer.status,
                           answer.body.data != NULL ? answer.body.data : "");
        }
        there = answer.status == 201;
        sup_answer_done(&answer);
    }
    return good;
}

void sup_check_unlocked(struct sup_world *world, struct sup_report *report)
{
    char why[800];
    for (int round = 0; round < ROUNDS; round++) {
        struct sup_report unsettled = {.quiet = true};
        if (try_all_rows(world, why, sizeof why)) {
            return;
        }
        /* A late prepare of a coordinator that is dead may have come in between, which holds its
         * rows until its outcome is asked for. */
        sup_check_settled(world, TOUCH_MS, &unsettled);
    }
    sup_object(report, "a transaction on every row does not commit at once: %s", why);
}

/* ---- Restarts, the command ---- */

void sup_check_restart(struct sup_world *world, struct sup_report *report)
{
    struct sup_books books;
    struct sup_daemon *daemon;
    sup_books_read(&books, world);
    char *before = sup_books_print(&books);
    sup_books_done(&books);
    for (unsigned i = 0; (daemon = sup_world_daemon(world, i)) != NULL; i++) {
        sup_daemon_kill(daemon);
    }
    sup_world_revive(world);
    sup_check_settled(world, SETTLE_MS, report);
    sup_books_read(&books, world);
    char *after = sup_books_print(&books);
    sup_books_done(&books);
    if (strcmp(before, after) != 0) {
        sup_object(report, "a restart at rest has changed what the databases hold");
    }
    free(before);
    free(after);
}

void sup_check_cli(struct sup_world *world, struct sup_report *report)
{
    const char *const args[] = {"assent", "--url", sup_daemon_url(&world->coordinator), "check",
                                NULL};
    char out[SUP_PATH_MAX];
    (void)snprintf(out, sizeof out, "%.200s/check.log", world->directory);
    int status = sup_run(args, out);
    if (status != 0) {
        sup_object(report, "assent check ends with %d: see %s", status, out);
    }
}

void sup_check_stop(struct sup_world *world, struct sup_report *report)
{
    struct sup_daemon *daemon;
    for (unsigned i = 0; (daemon = sup_world_daemon(world, i)) != NULL; i++) {
        uint64_t began_ms = tpc_clock_mono_ms();
        sup_daemon_stop(daemon);
        if (tpc_clock_mono_ms() - began_ms > STOP_MS) {
            sup_object(report, "%s has nothing to do and takes %llu ms to stop", daemon->name,
                       (unsigned long long)(tpc_clock_mono_ms() - began_ms));
        }
    }
}

static void check_books(struct sup_world *world, const struct sup_history *history,
                        struct sup_report *report)
{
    struct sup_books books;
    sup_books_read(&books, world);
    sup_check_atomic(&books, report);
    sup_check_told(&books, history, report);
    sup_check_once(&books, report);
    sup_check_sum(&books, report);
    sup_check_shown(world, &books, history, report);
    sup_books_done(&books);
}

void sup_check_all(struct sup_world *world, const struct sup_history *history, const char *causes,
                   struct sup_report *report)
{
    sup_check_settled(world, SETTLE_MS, report);
    sup_check_answers(history, causes, report);
    check_books(world, history, report);
    sup_check_unlocked(world, report);
    sup_check_cli(world, report);
    sup_check_restart(world, report);
    check_books(world, history, report);
    sup_check_stop(world, report);
}
