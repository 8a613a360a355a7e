/* 128-bit identifiers: transactions (UUIDv7), coordinators and participants (UUIDv4). */
#ifndef ASSENT_BASE_ID_H
#define ASSENT_BASE_ID_H

#include "base/rc.h"

#include <stddef.h>
#include <stdint.h>

#define TPC_ID_TEXT 37 /* "0199c0de-7a11-7c3e-9f00-5a2b1c0d0001" and its NUL */

struct tpc_id {
    uint8_t bytes[16];
};

/* Strict: exactly 36 characters, hyphens in place, hexadecimal in either case. @text need not be
 * terminated. False leaves @ret_id untouched. */
TPC_NODISCARD bool tpc_id_parse(const char *text, size_t length, struct tpc_id *ret_id);

/* Write the canonical lower-case form and a NUL; returns @out. */
char *tpc_id_format(const struct tpc_id *id, char out[TPC_ID_TEXT]);

int tpc_id_compare(const struct tpc_id *a, const struct tpc_id *b); /* as memcmp */
bool tpc_id_equal(const struct tpc_id *a, const struct tpc_id *b);
bool tpc_id_is_zero(const struct tpc_id *id);

/* A random UUIDv4 from getrandom(2). Asserts that the kernel has randomness. */
void tpc_id_random(struct tpc_id *out);
uint64_t tpc_random_u64(void);

/* UUIDv7 (RFC 9562, section 5.7) that only ever grows within one generator, even when the clock
 * is set back: method 1 of section 6.2, the 12 bits of rand_a as a counter. Not thread-safe. */
struct tpc_id_gen {
    uint64_t last_ms;
    uint16_t counter;
    uint16_t left;       /* of the pool, at its end */
    uint8_t random[256]; /* as much as the kernel gives at once without being interrupted */
};

/* Nothing that @gen makes afterwards is smaller than @id (for a start from a log). */
void tpc_id_gen_after(struct tpc_id_gen *gen, const struct tpc_id *id);
void tpc_id_gen_next(struct tpc_id_gen *gen, uint64_t now_ms, struct tpc_id *out);
/* All that @gen has made is smaller than @out, and nothing that it makes afterwards is. */
void tpc_id_gen_floor(const struct tpc_id_gen *gen, struct tpc_id *out);

#endif
