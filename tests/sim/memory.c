/* Whose memory it is: a daemon that dies gives back all of its own, and one
 * that stops must have given it back by itself. Every allocation of the program
 * goes through here (ld --wrap). */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

/* In front of what the caller sees; keeps its alignment. */
struct sim_block {
    struct sim_block *prev, *next;
    struct sim_owner *owner;
    size_t size;
};
_Static_assert(sizeof(struct sim_block) % 16 == 0, "alignment");

void *__real_malloc(size_t size);
void __real_free(void *memory);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_reallocarray(void *memory, size_t count, size_t size);
void __wrap_free(void *memory);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);

static struct sim_owner process;

static void link_in(struct sim_block *block, struct sim_owner *owner)
{
    block->owner = owner;
    block->prev = NULL;
    block->next = owner->first;
    if (owner->first != NULL) {
        owner->first->prev = block;
    }
    owner->first = block;
    owner->count++;
}

static void take_out(struct sim_block *block)
{
    struct sim_owner *owner = block->owner;
    if (block->prev != NULL) {
        block->prev->next = block->next;
    } else {
        owner->first = block->next;
    }
    if (block->next != NULL) {
        block->next->prev = block->prev;
    }
    owner->count--;
}

void *__wrap_malloc(size_t size)
{
    struct sim_block *block = __real_malloc(sizeof *block + size);
    if (block == NULL) {
        return NULL;
    }
    block->size = size;
    link_in(block, sim.owner != NULL ? sim.owner : &process);
    return block + 1;
}

void __wrap_free(void *memory)
{
    if (memory != NULL) {
        struct sim_block *block = (struct sim_block *)memory - 1;
        take_out(block);
        __real_free(block);
    }
}

void *__wrap_calloc(size_t count, size_t size)
{
    void *memory = __wrap_malloc(count * size);
    return memory != NULL ? memset(memory, 0, count * size) : NULL;
}

void *__wrap_realloc(void *memory, size_t size)
{
    if (memory == NULL) {
        return __wrap_malloc(size);
    }
    struct sim_block *block = (struct sim_block *)memory - 1;
    struct sim_owner *owner = block->owner;
    take_out(block);
    block = __real_realloc(block, sizeof *block + size);
    if (block == NULL) {
        abort();
    }
    block->size = size;
    link_in(block, owner);
    return block + 1;
}

void *__wrap_reallocarray(void *memory, size_t count, size_t size)
{
    return __wrap_realloc(memory, count * size);
}

char *__wrap_strndup(const char *text, size_t size)
{
    size_t length = strnlen(text, size);
    char *copy = __wrap_malloc(length + 1);
    if (copy != NULL) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

char *__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, strlen(text));
}

struct sim_owner *sim_own(struct sim_owner *owner)
{
    struct sim_owner *before = sim.owner;
    sim.owner = owner;
    return before;
}

void sim_free_all(struct sim_owner *owner)
{
    while (owner->first != NULL) {
        __wrap_free(owner->first + 1);
    }
}

void *sim_alloc(size_t size)
{
    struct sim_owner *owner = sim_own(&sim.memory);
    void *memory = tpc_must_calloc(1, size);
    (void)sim_own(owner);
    return memory;
}

char *sim_copy(const void *data, size_t size)
{
    char *copy = sim_alloc(size + 1);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}
