/* What clients asked for and what they were told. */
#ifndef ASSENT_TESTS_SUPPORT_HISTORY_H
#define ASSENT_TESTS_SUPPORT_HISTORY_H

#include "base/buf.h"
#include "base/id.h"
#include "tests/support/world.h"

enum { SUP_NAME_MAX = 48 };

enum sup_told {
    SUP_TOLD_UNKNOWN,     /* no answer, or one that leaves it open: either is right */
    SUP_TOLD_COMMITTED,   /* 201 */
    SUP_TOLD_ABORTED,     /* 409 of type "aborted" */
    SUP_TOLD_NOT_STARTED, /* 503, or nobody took the connection */
};

/* One end of a transfer: a row (name, "from:ACCOUNT" or "to:ACCOUNT", amount) in a bank's ledger.
 */
struct sup_leg {
    unsigned bank, account;
};

struct sup_transfer {
    char name[SUP_NAME_MAX]; /* unique: ledger.txn */
    struct sup_leg from, to; /* of one bank: a transaction with a single branch */
    int64_t amount;
    bool unguarded; /* let the CHECK of the table refuse what the account does not hold */
    /* What came of it. */
    enum sup_told told;
    int status;               /* of the last answer */
    char cause[32];           /* of an abort: cause.code */
    char id[TPC_ID_TEXT];     /* "" when none was told */
    unsigned tries, attempts; /* requests by the client, attempts of the coordinator */
    bool keyed;
};

struct sup_history {
    struct sup_transfer *items;
    size_t count, capacity;
};

struct sup_transfer *sup_history_add(struct sup_history *history); /* valid until the next */
void sup_history_done(struct sup_history *history);
size_t sup_history_told(const struct sup_history *history, enum sup_told told);

/* The body of POST /v1/transactions for @transfer; @timeout_ms 0: the default. */
void sup_transfer_body(const struct sup_world *world, const struct sup_transfer *transfer,
                       uint32_t timeout_ms, struct tpc_buf *out);
/* Note an answer (status and JSON body, which may be NULL). True when the outcome is known now. */
struct api_json;
bool sup_transfer_note(struct sup_transfer *transfer, int status, const struct api_json *json);

/* Submit and wait for the answer, without repetition; @key may be NULL. */
void sup_transfer_submit(struct sup_world *world, struct sup_transfer *transfer, const char *key,
                         uint32_t timeout_ms);

#endif
