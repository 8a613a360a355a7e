/* Fewer states with the same verdicts. Why each reduction is sound stands at the head of reduce.c.
 */
#ifndef ASSENT_TESTS_MODEL_REDUCE_H
#define ASSENT_TESTS_MODEL_REDUCE_H

#include "tests/model/world.h"

/* Each does nothing where @config does not ask for it. What is wrong with what happens in them is
 * in model_wrong(). */

/* Whatever can come of @world can come of @other as well. */
bool reduce_is_less(const struct model_config *config, const struct world *world,
                    const struct world *other);
/* Let everything happen to @world that only makes more possible. What is as it was in @before, of
 * which that is done, is not looked at again. */
void reduce_gain(const struct model_config *config, const struct world *before,
                 struct world *world);
/* Nobody waits for the answers to an abort. */
void reduce_wait(const struct model_config *config, struct world *world);
/* What can no longer matter becomes zero, and what is in an order that does not matter is sorted.
 * (That of the participants and transactions is model_canonical's.) */
void reduce_dead(const struct model_config *config, struct world *world);
/* Whether @config is one that the arguments hold for. */
bool reduce_applies(const struct model_config *config);

#endif
