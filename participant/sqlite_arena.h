/* Memory that is freed all at once: what a capture gathers, what is known of a schema. */
#ifndef ASSENT_PARTICIPANT_SQLITE_ARENA_H
#define ASSENT_PARTICIPANT_SQLITE_ARENA_H

#include "base/rc.h"

#include <stddef.h>

/* Zero-initialise before use. */
struct part_arena {
    struct part_arena_block *blocks;
    size_t used;  /* in the newest block */
    size_t total; /* handed out since the last reset */
    bool must;    /* running out of memory ends the process (base/memory.h) */
};

/* Zeroed and aligned for any type; NULL when memory ran out, unless it must not. */
void *part_arena_alloc(struct part_arena *arena, size_t size);
void *part_arena_copy(struct part_arena *arena, const void *data, size_t size);
char *part_arena_string(struct part_arena *arena, const char *text);
/* Forget everything, but keep one block of ordinary size for the next use. */
void part_arena_reset(struct part_arena *arena);
void part_arena_done(struct part_arena *arena);

#endif
