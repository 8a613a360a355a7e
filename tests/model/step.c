#include "tests/model/step.h"

#include "base/tpc_assert.h"
#include "tests/model/reduce.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

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

static bool is_more(const struct model_config *config, const struct world *before,
                    struct world *world, const struct model_move *move)
{
    model_apply(config, world, move);
    if (memcmp(world, before, sizeof *world) == 0) {
        return false;
    }
    model_check(config, world);
    reduce_wait(config, world);
    reduce_dead(config, world);
    return !reduce_is_less(config, world, before);
}

bool step_make(const struct model_config *config, struct world *world,
               const struct model_move *move, bool whole, struct model_names *names)
{
    const struct world before = *world;
    volatile bool more = true;
    jmp_buf here;
    on_assert = &here;
    if (setjmp(here) == 0) {
        more = is_more(config, &before, world, move);
        if (whole || more) {
            reduce_gain(config, &before, world);
        }
    }
    on_assert = NULL;
    if (whole || more) {
        model_canonical(config, world, names);
    }
    return more;
}
