/* Short plays that together pass every failpoint of every process. */
#ifndef ASSENT_CLI_CRASHTEST_SCENES_H
#define ASSENT_CLI_CRASHTEST_SCENES_H

#include "cli/crashtest/play.h"

extern const struct cli_scene cli_scenes[]; /* ended by name == NULL */

/* The scene of that name; its index in @ret_index. NULL: there is none. */
const struct cli_scene *cli_scene_find(const char *name, unsigned *ret_index);
/* Can it be played with these participants? */
bool cli_scene_fits(const struct cli_scene *scene, const struct cli_setup *setup);

/* The scenes in which processes are stopped and messages are hurt. */
#define CLI_SCENE_LOAD  "load"
#define CLI_SCENE_DOUBT "doubt"

#endif
