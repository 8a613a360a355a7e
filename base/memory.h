/* Memory without which nothing sensible can go on.
 *
 * Where running out can be refused or made up for, code allocates by itself and checks. Everywhere
 * else it allocates with these, which do not come back without memory: they end the process with a
 * message, and the next start goes by what is durable. So do the libraries that are not to be
 * trusted with a failed allocation (libcurl 7.88 divides by zero after one, libuv aborts without a
 * word, uthash exits). Any thread. */
#ifndef ASSENT_BASE_MEMORY_H
#define ASSENT_BASE_MEMORY_H

#include <stddef.h>

enum { TPC_EXIT_HALT = 70 };

/* `evt=daemon.halt why="out of memory"`, and exit. */
_Noreturn void tpc_no_memory(void);

/* As their namesakes; tpc_must_alloc returns zeros. The caller frees with free. */
void *tpc_must_alloc(size_t size);
void *tpc_must_malloc(size_t size);
void *tpc_must_calloc(size_t count, size_t size);
void *tpc_must_realloc(void *memory, size_t size);
char *tpc_must_strdup(const char *text);

#endif
