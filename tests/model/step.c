#include "tests/model/step.h"

#include "base/tpc_assert.h"

#include <setjmp.h>
#include <stdlib.h>

static _Thread_local jmp_buf *on_assert;

/* In place of the one in base: the search tells how it came to this. */
_Noreturn void tpc_assert_fail(const char *expression, const char *file, int line,
                               const char *function)
{
    if (on_assert == NULL) {
        fprintf(stderr, "%s:%d: %s: %s\n", file, line, function, expression);
        abort();
    }
    model_blame("assertion failed at %s:%d, %s: %s", file, line, function, expression);
    longjmp(*on_assert, 1);
}

void step_make(const struct model_config *config, struct world *world,
               const struct model_move *move, uint8_t *order)
{
    jmp_buf here;
    on_assert = &here;
    if (setjmp(here) == 0) {
        model_apply(config, world, move);
        model_check(config, world);
    }
    on_assert = NULL;
    model_canonical(config, world, order);
}
