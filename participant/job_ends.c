#include "participant/job_ends.h"

#include "participant/refusal.h"

void part_job_end(struct part_job_ends *ends, struct part_job *job, enum part_job_outcome outcome)
{
    job->outcome = outcome;
    job->next = NULL;
    api_statements_done(&job->statements);
    if (ends->first == NULL) {
        ends->first = job;
        if (ends->wake != NULL) {
            ends->wake(ends->wake_arg);
        }
    } else {
        ends->last->next = job;
    }
    ends->last = job;
}

void part_job_end_as(struct part_job_ends *ends, struct part_job *job,
                     enum part_job_outcome outcome, enum api_cause_code code, const char *words)
{
    struct part_refusal refusal = {.statement = -1};
    part_refuse(&refusal, code, "%s", words);
    part_refusal_tell(&refusal, &job->cause);
    if (outcome == PART_JOB_REFUSED) {
        tpc_buf_clear(&job->results);
    }
    part_job_end(ends, job, outcome);
}

void part_job_ends_deliver(struct part_job_ends *ends)
{
    while (ends->first != NULL) {
        struct part_job *job = ends->first;
        ends->first = job->next;
        job->next = NULL;
        job->done(job);
    }
}
