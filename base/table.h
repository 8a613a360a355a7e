/* uthash, which cannot tell of running out of memory: it ends the process with a message. */
#ifndef ASSENT_BASE_TABLE_H
#define ASSENT_BASE_TABLE_H

#include "base/memory.h"

#include <stdlib.h>

#define uthash_malloc(size)       tpc_must_malloc(size)
#define uthash_free(memory, size) free(memory)
#define uthash_fatal(words)       tpc_no_memory()
#include <uthash.h>

#endif
