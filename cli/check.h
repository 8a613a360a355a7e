/* Do the coordinator's log and the participants' databases agree? */
#ifndef ASSENT_CLI_CHECK_H
#define ASSENT_CLI_CHECK_H

#include "base/id.h"
#include "cli/remote.h"

#define CHECK_BATCH     1000 /* what a participant looks up at once */
#define CHECK_SHOWN_MAX 1000 /* disagreements that are listed; all are counted */

/* Worst first: one of these is the verdict. */
enum check_verdict {
    CHECK_DISAGREES,   /* a participant holds another outcome than was decided */
    CHECK_IN_DOUBT,    /* or a hazard, a heuristic outcome, a transaction that has not ended */
    CHECK_UNREACHABLE, /* somebody could not be asked */
    CHECK_AGREES
};

struct check_branch {
    struct tpc_id id; /* of the transaction */
    struct tpc_id gtid;
    bool commit; /* what the coordinator says */
};

struct check_participant {
    char *name, *url;
    bool reachable;
    size_t in_doubt, heuristic; /* of what it holds now */
    size_t compared, disagree;  /* of the transactions that ended */
    size_t batch_count;
    struct check_branch *batch; /* to be looked up */
};

struct check_disagreement {
    struct tpc_id gtid;
    size_t participant; /* position */
    bool commit;        /* what the coordinator says */
    char state[24];     /* what the participant says */
};

struct check {
    struct cli_remote *remote;
    size_t participant_count;
    struct check_participant *participants;
    size_t committed, aborted, not_ended, hazards;
    size_t forgotten;    /* branches that ended another way, which an operator has dealt with */
    size_t unregistered; /* branches at participants that are off the registry: not compared */
    size_t disagreements;
    struct check_disagreement *shown;
};

/* Ask everybody everything. CLI_OK when the coordinator told all; participants that cannot be
 * reached are part of the findings. */
enum cli_exit cli_check_gather(struct check *check, struct cli_remote *remote);
enum check_verdict cli_check_verdict(const struct check *check);
void cli_check_done(struct check *check);

#endif
