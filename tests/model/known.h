/* The set of all states that were reached, for several threads at a time.
 *
 * Of each it keeps a fingerprint of 128 bits, the state it was first reached from with the number
 * of the move, and where it goes when nothing goes wrong any more: about 31 bytes in all.
 *
 * That two of n states have one fingerprint, so that one is overlooked, has a probability of about
 * n² / 2^129: below 10^-20 for a thousand million. */
#ifndef ASSENT_TESTS_MODEL_KNOWN_H
#define ASSENT_TESTS_MODEL_KNOWN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KNOWN_NONE UINT32_MAX

struct known_print {
    uint64_t low, high;
};

struct known {
    uint32_t max;               /* states there is room for */
    struct known_print *prints; /* by state */
    uint32_t *parents;          /* by state; KNOWN_NONE: of none (a number that was not used) */
    uint32_t *good;             /* by state; KNOWN_NONE: all is done */
    uint8_t *moves;             /* by state: number of the move that led here */
    _Atomic uint32_t *slots;    /* hash table: 1 + state; 0: free */
    uint32_t slot_mask;
    _Atomic uint32_t used; /* numbers given out */
};

/* Room for as many states as @bytes hold; memory is taken as it is needed. Halts without any. */
void known_init(struct known *known, size_t bytes);
void known_done(struct known *known);

struct known_print known_fingerprint(const uint8_t *bytes, size_t size);

/* The number of the state, new (*ret_new) or not. From any thread, but not when known_is_full.
 * @spare is the thread's own, at first KNOWN_NONE: a number that it was given and has not used. */
uint32_t known_add(struct known *known, const struct known_print *print, uint32_t parent,
                   uint8_t move, uint32_t *spare, bool *ret_new);

/* The table is crowded: time for known_grow, when no thread is adding. */
bool known_is_crowded(const struct known *known);
void known_grow(struct known *known);
/* There is no room for another @more states. */
bool known_is_full(const struct known *known, uint32_t more);
size_t known_bytes(const struct known *known);

#endif
