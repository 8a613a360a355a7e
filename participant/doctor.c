/* GET /v1/doctor: what the database server holds prepared, ours and others', with what it costs. */
#include "participant/daemon.h"

#include <stdlib.h>

struct visit {
    struct api_request *request;
    struct part_daemon *daemon;
    struct part_job job;
};

static void answer(struct visit *visit, const struct tpc_buf *items)
{
    struct tpc_buf out = {0};
    api_jw_open(&out, '{');
    api_jw_key(&out, "participant_id");
    api_jw_id(&out, &visit->daemon->participant_id);
    api_jw_key(&out, "items");
    if (items->size > 0) {
        api_jw_raw(&out, items->data, items->size);
    } else {
        api_jw_open(&out, '[');
        api_jw_close(&out, ']');
    }
    api_jw_close(&out, '}');
    api_respond(visit->request, 200, NULL, &out);
}

static void on_examined(struct part_job *job)
{
    struct visit *visit = job->user;
    visit->daemon->jobs_busy--;
    if (job->outcome == PART_JOB_LISTED) {
        answer(visit, &job->results);
    } else {
        part_unavailable(visit->request,
                         job->cause.detail != NULL ? job->cause.detail : "the server is away");
    }
    api_cause_done(&job->cause);
    tpc_buf_done(&job->results);
    free(visit);
}

void part_doctor(void *arg, struct api_request *request, const char *const args[])
{
    struct part_daemon *daemon = arg;
    struct visit *visit = part_alloc(sizeof *visit);
    (void)args;
    visit->request = request;
    visit->daemon = daemon;
    if (daemon->resource->ops->find == NULL) { /* a file holds nothing that the log does not know */
        answer(visit, &(struct tpc_buf){0});
        free(visit);
        return;
    }
    visit->job.kind = PART_JOB_EXAMINE;
    visit->job.cause.statement = -1;
    visit->job.user = visit;
    visit->job.done = on_examined;
    daemon->jobs_busy++;
    daemon->resource->ops->submit(daemon->resource, &visit->job);
}
