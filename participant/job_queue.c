#include "participant/job_queue.h"

bool part_job_is_older(const struct part_job *a, const struct part_job *b)
{
    return a->began_us != b->began_us ? a->began_us < b->began_us
                                      : tpc_id_compare(&a->gtid, &b->gtid) < 0;
}

void part_job_queue_add(struct part_job_queue *queue, struct part_job *job)
{
    struct part_job **at = &queue->first;
    queue->count++;
    if (queue->last != NULL && !part_job_is_older(job, queue->last)) {
        at = &queue->last->next; /* nearly always: it is the newest */
    }
    while (*at != NULL && !part_job_is_older(job, *at)) {
        at = &(*at)->next;
    }
    job->next = *at;
    *at = job;
    if (job->next == NULL) {
        queue->last = job;
    }
}

static void unlink_at(struct part_job_queue *queue, struct part_job **at, struct part_job *before)
{
    struct part_job *job = *at;
    *at = job->next;
    if (queue->last == job) {
        queue->last = before;
    }
    job->next = NULL;
    queue->count--;
}

struct part_job *part_job_queue_take(struct part_job_queue *queue)
{
    struct part_job *job = queue->first;
    if (job != NULL) {
        unlink_at(queue, &queue->first, NULL);
    }
    return job;
}

bool part_job_queue_remove(struct part_job_queue *queue, struct part_job *job)
{
    struct part_job *before = NULL;
    for (struct part_job **at = &queue->first; *at != NULL; at = &(*at)->next) {
        if (*at == job) {
            unlink_at(queue, at, before);
            return true;
        }
        before = *at;
    }
    return false;
}

struct part_job *part_job_queue_expire(struct part_job_queue *queue, uint64_t now_ms)
{
    struct part_job *expired = NULL, **end = &expired, *before = NULL;
    for (struct part_job **at = &queue->first; *at != NULL;) {
        struct part_job *job = *at;
        if (job->deadline_ms != 0 && job->deadline_ms <= now_ms) {
            unlink_at(queue, at, before);
            *end = job;
            end = &job->next;
        } else {
            before = job;
            at = &job->next;
        }
    }
    return expired;
}

uint64_t part_job_queue_deadline_ms(const struct part_job_queue *queue)
{
    uint64_t earliest_ms = UINT64_MAX;
    for (const struct part_job *job = queue->first; job != NULL; job = job->next) {
        if (job->deadline_ms != 0 && job->deadline_ms < earliest_ms) {
            earliest_ms = job->deadline_ms;
        }
    }
    return earliest_ms;
}
