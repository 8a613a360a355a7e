#include "base/memory.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Noreturn void tpc_no_memory(void)
{
    tpc_log(TPC_LOG_ERROR, "daemon.halt", tpc_kv_str("why", "out of memory"),
            tpc_kv_str("advice", "the next start goes by what is in the log and the database"));
    tpc_log_flush_last();
    _exit(TPC_EXIT_HALT);
}

static void *checked(void *memory, size_t size)
{
    if (memory == NULL && size > 0) {
        tpc_no_memory();
    }
    return memory;
}

void *tpc_must_alloc(size_t size)
{
    return checked(calloc(1, size), size);
}

void *tpc_must_malloc(size_t size)
{
    return checked(malloc(size), size);
}

void *tpc_must_calloc(size_t count, size_t size)
{
    return checked(calloc(count, size), count > 0 ? size : 0);
}

void *tpc_must_realloc(void *memory, size_t size)
{
    return checked(realloc(memory, size), size);
}

char *tpc_must_strdup(const char *text)
{
    return checked(strdup(text), 1);
}
