/* Outcomes by hand. */
#include "participant/daemon.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

void part_operators_answer(struct branch *branch)
{
    struct operator_wait *wait, *next;
    LL_FOREACH_SAFE(branch->operators, wait, next)
    {
        struct tpc_buf out = {0};
        part_branch_write(&out, branch);
        api_respond(wait->request, 200, NULL, &out);
        free(wait);
    }
    branch->operators = NULL;
}

static void refuse(struct branch *branch, struct api_request *request, const char *type,
                   const char *advice)
{
    char detail[256];
    (void)snprintf(detail, sizeof detail, "the branch is %s: %s",
                   part_state_text(branch->fsm.state), advice);
    api_respond_problem(request, 409, type, "Not allowed in this state", detail, NULL);
}

/* Step with the request waiting for the outcome: the answer may come at once, and the branch may
 * be gone afterwards. */
static bool step_for(struct branch *branch, struct api_request *request, enum part_event_type type)
{
    struct operator_wait *wait = part_alloc(sizeof *wait);
    wait->request = request;
    LL_PREPEND(branch->operators, wait);
    if (part_event(branch, (struct part_event){.type = type}) == TPC_OK) {
        return true;
    }
    LL_DELETE(branch->operators, wait);
    free(wait);
    return false;
}

static void note_operator(struct branch *branch, struct api_resolve *resolve)
{
    free(branch->by_hand.operator_name);
    free(branch->by_hand.reason);
    branch->by_hand = (struct by_hand){.operator_name = resolve->operator_name,
                                       .reason = resolve->reason,
                                       .at_us = tpc_clock_wall_us()};
    resolve->operator_name = NULL;
    resolve->reason = NULL;
}

void part_resolve(void *arg, struct api_request *request, const char *const args[])
{
    struct api_refusal refusal = {0};
    struct api_resolve resolve = {0};
    size_t size;
    const char *body = api_request_body(request, &size);
    struct branch *branch = part_branch_of_request(arg, request, args[0]);
    if (branch == NULL) {
        return;
    }
    if (api_resolve_decode(body, size, &resolve, &refusal) != TPC_OK) {
        api_respond_refusal(request, &refusal);
        return;
    }
    bool commit = resolve.outcome == API_OUTCOME_COMMIT;
    if (part_in_doubt(&branch->fsm) && branch->fsm.state == PART_PREPARED) {
        tpc_log(TPC_LOG_WARN, "branch.resolve", tpc_kv_id("gtid", &branch->gtid),
                tpc_kv_str("outcome", commit ? "commit" : "abort"),
                tpc_kv_str("operator", resolve.operator_name),
                tpc_kv_str("reason", resolve.reason));
        note_operator(branch, &resolve);
    }
    if (!step_for(branch, request, commit ? PART_EV_OPERATOR_COMMIT : PART_EV_OPERATOR_ABORT)) {
        refuse(branch, request, "not-in-doubt", "only a branch in doubt is decided by hand");
    }
    api_resolve_done(&resolve);
}

void part_forget(void *arg, struct api_request *request, const char *const args[])
{
    struct branch *branch = part_branch_of_request(arg, request, args[0]);
    if (branch == NULL) {
        return;
    }
    tpc_log(TPC_LOG_WARN, "branch.forget", tpc_kv_id("gtid", &branch->gtid),
            tpc_kv_str("state", part_state_text(branch->fsm.state)));
    if (!step_for(branch, request, PART_EV_FORGET)) {
        refuse(branch, request, "not-heuristic",
               "only an outcome by hand that has been carried out is forgotten");
    }
}
