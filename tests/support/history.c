#include "tests/support/history.h"

#include "tests/support/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE_MS = 10000 };

struct sup_transfer *sup_history_add(struct sup_history *history)
{
    if (history->count == history->capacity) {
        size_t capacity = history->capacity > 0 ? 2 * history->capacity : 256;
        struct sup_transfer *more = realloc(history->items, capacity * sizeof *more);
        if (more == NULL) {
            sup_die("out of memory");
        }
        history->items = more;
        history->capacity = capacity;
    }
    struct sup_transfer *transfer = &history->items[history->count++];
    *transfer = (struct sup_transfer){0};
    return transfer;
}

void sup_history_done(struct sup_history *history)
{
    free(history->items);
    *history = (struct sup_history){0};
}

size_t sup_history_told(const struct sup_history *history, enum sup_told told)
{
    size_t count = 0;
    for (size_t i = 0; i < history->count; i++) {
        count += history->items[i].told == told;
    }
    return count;
}

/* ---- The request ---- */

static void write_leg(struct tpc_buf *out, const struct sup_transfer *transfer, bool from)
{
    const struct sup_leg *leg = from ? &transfer->from : &transfer->to;
    long long amount = (long long)transfer->amount;
    if (from && !transfer->unguarded) {
        tpc_buf_addf(out,
                     "{\"sql\":\"UPDATE accounts SET balance = balance - ? WHERE id = ? AND "
                     "balance >= ?\",\"params\":[%lld,%u,%lld],\"expect\":{\"rows\":1}}",
                     amount, leg->account, amount);
    } else {
        tpc_buf_addf(out,
                     "{\"sql\":\"UPDATE accounts SET balance = balance + ? WHERE id = ?\","
                     "\"params\":[%lld,%u],\"expect\":{\"rows\":1}}",
                     from ? -amount : amount, leg->account);
    }
    tpc_buf_addf(out,
                 ",{\"sql\":\"INSERT INTO ledger VALUES(?,?,?)\","
                 "\"params\":[\"%s\",\"%s:%u\",%lld]}",
                 transfer->name, from ? "from" : "to", leg->account, from ? -amount : amount);
}

static void begin_branch(const struct sup_world *world, unsigned bank, struct tpc_buf *out)
{
    tpc_buf_addf(out, "{\"participant\":\"%s\",\"statements\":[", world->agents[bank].name);
}

void sup_transfer_body(const struct sup_world *world, const struct sup_transfer *transfer,
                       uint32_t timeout_ms, struct tpc_buf *out)
{
    tpc_buf_addf(out, "{\"label\":\"%s\",", transfer->name);
    if (timeout_ms != 0) {
        tpc_buf_addf(out, "\"timeout_ms\":%u,", timeout_ms);
    }
    tpc_buf_adds(out, "\"branches\":[");
    begin_branch(world, transfer->from.bank, out);
    write_leg(out, transfer, true);
    if (transfer->from.bank == transfer->to.bank) {
        tpc_buf_adds(out, ",");
    } else {
        tpc_buf_adds(out, "]},");
        begin_branch(world, transfer->to.bank, out);
    }
    write_leg(out, transfer, false);
    tpc_buf_adds(out, "]}]}");
}

/* ---- The answer ---- */

static void note_cause(struct sup_transfer *transfer, const struct api_json *json)
{
    (void)snprintf(transfer->cause, sizeof transfer->cause, "%s",
                   sup_json_text(json, "cause.code"));
}

/* A transaction that was seen by its id. */
static bool note_state(struct sup_transfer *transfer, const struct api_json *json)
{
    const char *state = sup_json_text(json, "state");
    if (strcmp(state, "committed") == 0) {
        transfer->told = SUP_TOLD_COMMITTED;
    } else if (strcmp(state, "aborted") == 0) {
        transfer->told = SUP_TOLD_ABORTED;
        note_cause(transfer, json);
    }
    return transfer->told != SUP_TOLD_UNKNOWN;
}

bool sup_transfer_note(struct sup_transfer *transfer, int status, const struct api_json *json)
{
    const char *id = sup_json_text(json, "id");
    const struct api_json *attempts = json != NULL ? api_json_get(json, "attempts") : NULL;
    transfer->status = status;
    if (*id != '\0') {
        (void)snprintf(transfer->id, sizeof transfer->id, "%s", id);
    }
    if (attempts != NULL) {
        transfer->attempts = (unsigned)api_json_number(attempts);
    }
    switch (status) {
    case 200: /* asked for by its id */
        return note_state(transfer, json);
    case 201:
        transfer->told = SUP_TOLD_COMMITTED;
        return true;
    case 404: /* the id was told and is not known: forgotten by a crash, which is abort */
    case 409:
        transfer->told = SUP_TOLD_ABORTED;
        note_cause(transfer, json);
        return true;
    case 503:
        /* Of this request; an earlier one of the same transfer may have begun it. */
        if (transfer->tries <= 1) {
            transfer->told = SUP_TOLD_NOT_STARTED;
            return true;
        }
        return false;
    default:
        return false;
    }
}

void sup_transfer_submit(struct sup_world *world, struct sup_transfer *transfer, const char *key,
                         uint32_t timeout_ms)
{
    struct tpc_buf body = {0};
    struct sup_answer answer;
    char header[128];
    sup_transfer_body(world, transfer, timeout_ms, &body);
    if (key != NULL) {
        (void)snprintf(header, sizeof header, "Idempotency-Key: %s", key);
        transfer->keyed = true;
    }
    transfer->tries++;
    sup_http_at("POST", sup_daemon_url(&world->coordinator), "/v1/transactions",
                key != NULL ? header : NULL, body.data, timeout_ms + PATIENCE_MS, &answer);
    if (answer.rc == TPC_OK) {
        (void)sup_transfer_note(transfer, answer.status, answer.json);
    } else if (answer.rc == TPC_EUNREACHABLE && transfer->tries == 1) {
        transfer->told = SUP_TOLD_NOT_STARTED;
    }
    sup_answer_done(&answer);
    tpc_buf_done(&body);
}
