/* Whole states that wait for their turn, in blocks that change hands between threads as one. */
#ifndef ASSENT_TESTS_MODEL_PILE_H
#define ASSENT_TESTS_MODEL_PILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PILE_BLOCK_BYTES = 32 << 10 };

struct pile_block {
    struct pile_block *next;
    uint32_t count, taken; /* items in it, and how many of them have had their turn */
    uint8_t items[];
};

/* Not for several threads at a time. Zeroed, but for item_size: empty. */
struct pile {
    size_t item_size; /* of the bytes alone */
    size_t bytes;     /* in memory */
    struct pile_block *first;
};

void pile_put(struct pile *pile, uint32_t state, const uint8_t *bytes);
/* The next of @block; false: that was the last. @ret_bytes is borrowed. */
bool pile_take(const struct pile *pile, struct pile_block *block, uint32_t *ret_state,
               const uint8_t **ret_bytes);
/* A block of its own, or NULL. It goes back with pile_push, or is freed. */
struct pile_block *pile_pop(struct pile *pile);
void pile_push(struct pile *pile, struct pile_block *take_block);
/* All that is in @from is in @to afterwards. */
void pile_move(struct pile *to, struct pile *from);
void pile_done(struct pile *pile);

#endif
