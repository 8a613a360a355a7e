#include "participant/job_ends.h"

#include "base/clock.h"
#include "base/tpc_assert.h"
#include "participant/refusal.h"

#include <stddef.h>

static void on_timer(struct tpc_timer *timer)
{
    struct part_job_ends *ends =
        (struct part_job_ends *)((char *)timer - offsetof(struct part_job_ends, timer));
    ends->target = ends->count;
    ends->patience = PART_ENDS_PATIENCE;
    part_job_ends_deliver(ends);
}

void part_job_ends_init(struct part_job_ends *ends, const struct part_resource_options *options)
{
    *ends = (struct part_job_ends){.timers = options->timers,
                                   .timer.fire = on_timer,
                                   .target = 1,
                                   .wake = options->wake,
                                   .wake_arg = options->wake_arg};
}

void part_job_begin(struct part_job_ends *ends)
{
    ends->under_way++;
}

void part_job_end(struct part_job_ends *ends, struct part_job *job, enum part_job_outcome outcome)
{
    TPC_ASSERT(ends->under_way > 0);
    job->outcome = outcome;
    job->next = NULL;
    api_statements_done(&job->statements);
    *(ends->first != NULL ? &ends->last->next : &ends->first) = job;
    ends->last = job;
    ends->count++;
    ends->under_way--;
    if (!ends->inside && ends->wake != NULL) {
        ends->wake(ends->wake_arg);
    }
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

void part_job_ends_enter(struct part_job_ends *ends)
{
    ends->inside = true;
}

void part_job_ends_offer(struct part_job_ends *ends)
{
    size_t share = ends->under_way / PART_ENDS_SHARE;
    ends->inside = false;
    if (ends->timers == NULL || ends->count >= share) {
        part_job_ends_deliver(ends);
    } else if (ends->count >= ends->target) {
        if (ends->patience > 0) {
            ends->patience--;
        } else {
            ends->target++;
        }
        part_job_ends_deliver(ends);
    } else if (ends->count > 0 && ends->timer.slot == 0) {
        tpc_timer_arm(ends->timers, &ends->timer, tpc_clock_mono_ms() + PART_ENDS_WAIT_MS);
    }
}

void part_job_ends_deliver(struct part_job_ends *ends)
{
    if (ends->timer.slot != 0) {
        tpc_timer_cancel(ends->timers, &ends->timer);
    }
    while (ends->first != NULL) {
        struct part_job *job = ends->first;
        ends->first = job->next;
        ends->count--;
        job->next = NULL;
        job->done(job);
    }
}
