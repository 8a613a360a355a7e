/* The branches that participants hold: in doubt, or ended by hand and not forgotten. */
#ifndef ASSENT_CLI_BRANCH_LIST_H
#define ASSENT_CLI_BRANCH_LIST_H

#include "cli/out.h"
#include "cli/remote.h"

struct cli_branch_list {
    struct cli_remote *remote;
    struct cli_listing list;
    const char *state;       /* only those in this state; NULL: all */
    const char *participant; /* the one whose branches are being added */
    enum cli_exit worst;     /* of the participants so far */
};

void cli_branch_list_begin(struct cli_branch_list *list, struct cli_remote *remote,
                           const char *state);
/* Add those of one participant; what goes wrong is complained of and kept in `worst`. */
void cli_branch_list_peer(struct cli_branch_list *list, const struct cli_peer *peer);
/* Show what was gathered and free; returns `worst`. */
enum cli_exit cli_branch_list_end(struct cli_branch_list *list);

#endif
