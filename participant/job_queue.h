/* Branches that wait for a session of a database server: the oldest transaction first, so that
 * nobody starves. Borrows the jobs; links them by part_job.next. */
#ifndef ASSENT_PARTICIPANT_JOB_QUEUE_H
#define ASSENT_PARTICIPANT_JOB_QUEUE_H

#include "participant/resource.h"

/* Zero-initialise. */
struct part_job_queue {
    struct part_job *first, *last;
    size_t count;
};

void part_job_queue_add(struct part_job_queue *queue, struct part_job *job);
struct part_job *part_job_queue_take(struct part_job_queue *queue); /* NULL when empty */
/* False when it is not in there. */
bool part_job_queue_remove(struct part_job_queue *queue, struct part_job *job);
/* Take those out whose time is over, as a list; NULL: none. */
struct part_job *part_job_queue_expire(struct part_job_queue *queue, uint64_t now_ms);
/* When the first of them expires; UINT64_MAX: none does. */
uint64_t part_job_queue_deadline_ms(const struct part_job_queue *queue);
/* Is the transaction of @a older than that of @b? Ties by gtid. */
bool part_job_is_older(const struct part_job *a, const struct part_job *b);

#endif
