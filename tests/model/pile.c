#include "tests/model/pile.h"

#include "base/tpc_assert.h"

#include <stdlib.h>
#include <string.h>

static size_t slot_size(const struct pile *pile)
{
    return sizeof(uint32_t) + pile->item_size;
}

void pile_push(struct pile *pile, struct pile_block *take_block)
{
    take_block->next = pile->first;
    pile->first = take_block;
    pile->bytes += PILE_BLOCK_BYTES;
}

struct pile_block *pile_pop(struct pile *pile)
{
    struct pile_block *block = pile->first;
    if (block != NULL) {
        pile->first = block->next;
        pile->bytes -= PILE_BLOCK_BYTES;
    }
    return block;
}

void pile_put(struct pile *pile, uint32_t state, const uint8_t *bytes)
{
    size_t size = slot_size(pile);
    struct pile_block *block = pile->first;
    if (block == NULL || sizeof *block + (block->count + 1) * size > PILE_BLOCK_BYTES) {
        block = malloc(PILE_BLOCK_BYTES);
        TPC_ASSERT(block != NULL && sizeof *block + size <= PILE_BLOCK_BYTES);
        block->count = block->taken = 0;
        pile_push(pile, block);
    }
    uint8_t *at = block->items + block->count++ * size;
    memcpy(at, &state, sizeof state);
    memcpy(at + sizeof state, bytes, pile->item_size);
}

bool pile_take(const struct pile *pile, struct pile_block *block, uint32_t *ret_state,
               const uint8_t **ret_bytes)
{
    if (block->taken == block->count) {
        return false;
    }
    const uint8_t *at = block->items + block->taken++ * slot_size(pile);
    memcpy(ret_state, at, sizeof *ret_state);
    *ret_bytes = at + sizeof *ret_state;
    return true;
}

void pile_move(struct pile *to, struct pile *from)
{
    for (struct pile_block *block = pile_pop(from); block != NULL; block = pile_pop(from)) {
        pile_push(to, block);
    }
}

void pile_done(struct pile *pile)
{
    for (struct pile_block *block = pile_pop(pile); block != NULL; block = pile_pop(pile)) {
        free(block);
    }
}
