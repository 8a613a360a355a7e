/* Jobs that have ended and whose submitters are to be told: not from within submit, so they gather
 * until the resource is polled, or until its own callback is over.
 *
 * Each that is told alone costs a forced write, an answer and a request of its own, so that those
 * of many that are under way are told together, or what there is after PART_ENDS_WAIT_MS. How many
 * is found out: one more each time they came in time, up to half of what is under way; as many as
 * came when the time was over, and no more for PART_ENDS_PATIENCE times after that, since most of
 * what is under way may wait for the very one that has ended. With one or two under way nothing
 * waits. (PostgreSQL's commit_delay and commit_siblings serve the same end.) Loop thread. */
#ifndef ASSENT_PARTICIPANT_JOB_ENDS_H
#define ASSENT_PARTICIPANT_JOB_ENDS_H

#include "base/timers.h"
#include "participant/resource.h"

enum { PART_ENDS_WAIT_MS = 12, PART_ENDS_SHARE = 2, PART_ENDS_PATIENCE = 16 };

struct part_job_ends {
    struct part_job *first, *last;
    size_t count;              /* of those */
    size_t under_way;          /* were submitted, and have not ended */
    size_t target;             /* so many are told together */
    unsigned patience;         /* how often before that grows again */
    bool inside;               /* a callback that offers them at its end */
    struct tpc_timers *timers; /* NULL: nothing waits */
    struct tpc_timer timer;
    void (*wake)(void *arg); /* somebody is to poll; may be NULL */
    void *wake_arg;
};

void part_job_ends_init(struct part_job_ends *ends, const struct part_resource_options *options);
/* A job was submitted: it ends once. */
void part_job_begin(struct part_job_ends *ends);
/* Frees its statements. */
void part_job_end(struct part_job_ends *ends, struct part_job *job, enum part_job_outcome outcome);
/* With these words as its cause; REFUSED also drops what results there are. */
void part_job_end_as(struct part_job_ends *ends, struct part_job *job,
                     enum part_job_outcome outcome, enum api_cause_code code, const char *words);
/* A callback of the resource begins, which ends in part_job_ends_offer: nobody needs to be woken.
 */
void part_job_ends_enter(struct part_job_ends *ends);
/* Tell them when they are enough, else soon. */
void part_job_ends_offer(struct part_job_ends *ends);
void part_job_ends_deliver(struct part_job_ends *ends); /* all, now */

#endif
