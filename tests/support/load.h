/* Clients that move money, each one transfer after the other, in a thread of their own. */
#ifndef ASSENT_TESTS_SUPPORT_LOAD_H
#define ASSENT_TESTS_SUPPORT_LOAD_H

#include "tests/support/history.h"

struct sup_load_options {
    unsigned clients;        /* default 8 */
    uint64_t count;          /* transfers in all; 0: until sup_load_end */
    uint64_t seed;           /* which transfers these are */
    const char *prefix;      /* of their names; unique in a history */
    unsigned keyed_percent;  /* with an Idempotency-Key: asked again until the outcome is known */
    unsigned within_percent; /* within one bank: one-phase when not keyed */
    unsigned broke_percent;  /* of more than anybody has: refused */
    bool faults;             /* connections may break: send each request at most once */
    int64_t amount_max;      /* default 5 */
    uint32_t timeout_ms;     /* of each transaction, default 10 s */
};

struct sup_load;

/* Begin. @world's addresses and @history belong to the load until sup_load_end. */
struct sup_load *sup_load_begin(struct sup_world *world, const struct sup_load_options *options,
                                struct sup_history *history);
/* Until @count transfers have ended; false after @timeout_ms. */
bool sup_load_wait(struct sup_load *load, uint64_t count, uint64_t timeout_ms);
/* Begin no more transfers, let those under way end (keyed ones within @patience_ms, so what died
 * should be back), and free. */
void sup_load_end(struct sup_load *load, uint64_t patience_ms);

#endif
