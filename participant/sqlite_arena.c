#include "participant/sqlite_arena.h"

#include "base/memory.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 16384

struct part_arena_block {
    struct part_arena_block *next;
    size_t capacity;
    alignas(max_align_t) char data[];
};

static struct part_arena_block *add_block(struct part_arena *arena, size_t size)
{
    size_t capacity = size > BLOCK_BYTES ? size : BLOCK_BYTES;
    struct part_arena_block *block;
    size_t whole = sizeof(*block) + capacity;
    block = arena->must ? tpc_must_malloc(whole) : malloc(whole);
    if (block != NULL) {
        block->next = arena->blocks;
        block->capacity = capacity;
        arena->blocks = block;
        arena->used = 0;
    }
    return block;
}

void *part_arena_alloc(struct part_arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2) {
        return NULL;
    }
    size = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    struct part_arena_block *block = arena->blocks;
    if (block == NULL || block->capacity - arena->used < size) {
        block = add_block(arena, size);
        if (block == NULL) {
            return NULL;
        }
    }
    void *out = block->data + arena->used;
    arena->used += size;
    arena->total += size;
    memset(out, 0, size);
    return out;
}

void *part_arena_copy(struct part_arena *arena, const void *data, size_t size)
{
    char *out = part_arena_alloc(arena, size + 1);
    if (out != NULL && size > 0) {
        memcpy(out, data, size);
    }
    return out;
}

char *part_arena_string(struct part_arena *arena, const char *text)
{
    return part_arena_copy(arena, text, strlen(text));
}

static void free_blocks(struct part_arena_block *block)
{
    while (block != NULL) {
        struct part_arena_block *next = block->next;
        free(block);
        block = next;
    }
}

void part_arena_reset(struct part_arena *arena)
{
    struct part_arena_block *kept = arena->blocks;
    if (kept != NULL && kept->capacity == BLOCK_BYTES) {
        free_blocks(kept->next);
        kept->next = NULL;
    } else {
        free_blocks(kept);
        kept = NULL;
    }
    *arena = (struct part_arena){.blocks = kept};
}

void part_arena_done(struct part_arena *arena)
{
    free_blocks(arena->blocks);
    *arena = (struct part_arena){0};
}
