/* POST /v1/branches/lookup: how did these end here? For those that are not in memory the database
 * is asked for proof. */
#include "participant/daemon.h"

#include <stdlib.h>

enum { LOOKUP_MAX = 1000 };

struct lookup {
    struct api_request *request;
    struct part_daemon *daemon;
    size_t count, outstanding;
    bool failed; /* the database did not answer */
    struct lookup_item {
        struct lookup *lookup;
        struct tpc_id gtid;
        const char *state;
        struct part_job job;
    } items[];
};

static void answer(struct lookup *lookup)
{
    struct tpc_buf out = {0};
    if (lookup->failed) {
        part_unavailable(lookup->request, "the database cannot be asked for proof");
        free(lookup);
        return;
    }
    api_jw_open(&out, '{');
    api_jw_key(&out, "participant_id");
    api_jw_id(&out, &lookup->daemon->participant_id);
    api_jw_key(&out, "items");
    api_jw_open(&out, '[');
    for (size_t i = 0; i < lookup->count; i++) {
        api_jw_open(&out, '{');
        api_jw_key(&out, "gtid");
        api_jw_id(&out, &lookup->items[i].gtid);
        api_jw_key(&out, "state");
        api_jw_str(&out, lookup->items[i].state);
        api_jw_close(&out, '}');
    }
    api_jw_close(&out, ']');
    api_jw_close(&out, '}');
    api_respond(lookup->request, 200, NULL, &out);
    free(lookup);
}

static void on_proof(struct part_job *job)
{
    struct lookup_item *item = job->user;
    struct lookup *lookup = item->lookup;
    lookup->daemon->jobs_busy--;
    lookup->failed |= job->outcome == PART_JOB_RETRY;
    if (job->outcome == PART_JOB_PROVEN) {
        item->state = "committed";
    }
    api_cause_done(&job->cause);
    tpc_buf_done(&job->results);
    tpc_buf_done(&job->payload);
    if (--lookup->outstanding == 0) {
        answer(lookup);
    }
}

static void look_up(struct lookup_item *item)
{
    struct part_daemon *daemon = item->lookup->daemon;
    const struct branch *branch = part_table_find(daemon, &item->gtid);
    if (branch != NULL) {
        item->state = part_state_text(branch->fsm.state);
        return;
    }
    item->state = "unknown";
    item->job.kind = PART_JOB_PROVE;
    item->job.gtid = item->gtid;
    item->job.cause.statement = -1;
    item->job.user = item;
    item->job.done = on_proof;
    item->lookup->outstanding++;
    daemon->jobs_busy++;
    daemon->resource->ops->submit(daemon->resource, &item->job);
}

void part_lookup(void *arg, struct api_request *request, const char *const args[])
{
    struct part_daemon *daemon = arg;
    struct api_refusal refusal = {0};
    struct tpc_id *gtids = NULL;
    size_t count = 0, size;
    const char *body = api_request_body(request, &size);
    (void)args;
    if (api_lookup_decode(body, size, LOOKUP_MAX, &gtids, &count, &refusal) != TPC_OK) {
        api_respond_refusal(request, &refusal);
        return;
    }
    struct lookup *lookup = part_alloc(sizeof *lookup + count * sizeof lookup->items[0]);
    lookup->request = request;
    lookup->daemon = daemon;
    lookup->count = count;
    lookup->outstanding = 1;
    for (size_t i = 0; i < count; i++) {
        lookup->items[i].lookup = lookup;
        lookup->items[i].gtid = gtids[i];
        look_up(&lookup->items[i]);
    }
    free(gtids);
    if (--lookup->outstanding == 0) {
        answer(lookup);
    }
}
