#include "base/log.h"
#include "base/tpc_assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void tpc_assert_fail(const char *expression, const char *file, int line,
                               const char *function)
{
    /* What led here is worth as much as the place itself. */
    tpc_log_flush_last();
    fprintf(stderr, "assertion failed: %s, in %s at %s:%d\n", expression, function, file, line);
    fflush(stderr);
    abort();
}
