/* Jobs that have ended and whose submitters are to be told: not from within submit, so they gather
 * until the resource is polled, or until its own callback is over. Loop thread. */
#ifndef ASSENT_PARTICIPANT_JOB_ENDS_H
#define ASSENT_PARTICIPANT_JOB_ENDS_H

#include "participant/resource.h"

struct part_job_ends {
    struct part_job *first, *last;
    void (*wake)(void *arg); /* somebody is to poll; may be NULL */
    void *wake_arg;
};

/* Frees its statements. */
void part_job_end(struct part_job_ends *ends, struct part_job *job, enum part_job_outcome outcome);
/* With these words as its cause; REFUSED also drops what results there are. */
void part_job_end_as(struct part_job_ends *ends, struct part_job *job,
                     enum part_job_outcome outcome, enum api_cause_code code, const char *words);
void part_job_ends_deliver(struct part_job_ends *ends);

#endif
