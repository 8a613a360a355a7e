/* POST /v1/decisions: a participant in doubt asks. Rules 4, 5 and 15 of the protocol. */
#include "coordinator/daemon.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>

enum { GTIDS_MAX = 10000 };

static bool is_ours(const struct coord_daemon *daemon, const struct api_coordinator *asked)
{
    return tpc_id_equal(&asked->id, &daemon->self.id);
}

/* The participant has heard from a start of this log that the log does not know. */
static bool was_set_back(const struct coord_daemon *daemon, const struct api_coordinator *asked)
{
    return asked->generation > daemon->self.generation ||
           (asked->generation == daemon->self.generation &&
            !tpc_id_equal(&asked->nonce, &daemon->self.nonce));
}

static void hear(struct coord_daemon *daemon, const struct tpc_id *participant_id)
{
    struct coord_member *member, *next;
    HASH_ITER (hh, daemon->members, member, next) {
        if (member->registered && tpc_id_equal(&member->participant_id, participant_id)) {
            coord_member_heard(member, participant_id);
        }
    }
}

static enum api_outcome outcome_of(struct coord_daemon *daemon, const struct tpc_id *gtid,
                                   const struct tpc_id *participant_id)
{
    static const enum api_outcome outcomes[] = {[COORD_UNDECIDED] = API_OUTCOME_UNDECIDED,
                                                [COORD_COMMIT] = API_OUTCOME_COMMIT,
                                                [COORD_ABORT] = API_OUTCOME_ABORT};
    const struct coord_xact *xact = coord_xact_by_gtid(daemon, gtid);
    return outcomes[coord_inquiry(xact != NULL ? xact->fsm : NULL, participant_id)];
}

static void answer(struct coord_daemon *daemon, struct api_request *request,
                   const struct api_inquiry *inquiry)
{
    struct api_decisions decisions = {.coordinator_id = daemon->self.id,
                                      .generation = daemon->self.generation,
                                      .forgotten_below = daemon->self.forgotten_below};
    struct tpc_buf out = {0};
    decisions.items = calloc(inquiry->count + 1, sizeof *decisions.items);
    if (decisions.items == NULL) {
        coord_unavailable(request, "out of memory");
        return;
    }
    for (size_t i = 0; i < inquiry->count; i++) {
        struct api_decision *decision = &decisions.items[decisions.count++];
        decision->gtid = inquiry->gtids[i];
        decision->outcome = outcome_of(daemon, &decision->gtid, &inquiry->participant_id);
        tpc_log(TPC_LOG_INFO, "inquiry.answered", tpc_kv_id("gtid", &decision->gtid),
                tpc_kv_str("outcome", api_outcome_name(decision->outcome)));
    }
    api_decisions_write(&out, &decisions);
    free(decisions.items);
    (void)coord_fp(COORD_FP_INQUIRY_ANSWER);
    api_respond(request, 200, "application/json", &out);
}

void coord_inquire(void *arg, struct api_request *request, const char *const args[])
{
    struct coord_daemon *daemon = arg;
    struct api_inquiry inquiry = {0};
    struct api_refusal refusal = {0};
    size_t size;
    const char *body = api_request_body(request, &size);
    (void)args;
    (void)coord_fp(COORD_FP_INQUIRY_RECEIVE);
    if (api_inquiry_decode(body, size, GTIDS_MAX, &inquiry, &refusal) != TPC_OK) {
        coord_refuse(request, &refusal);
        return;
    }
    if (!is_ours(daemon, &inquiry.coordinator)) {
        char id[TPC_ID_TEXT];
        coord_problem(request, 409, "wrong-coordinator", "Another coordinator's transactions",
                      "this is coordinator %s and knows nothing of others' transactions",
                      tpc_id_format(&daemon->self.id, id));
    } else if (was_set_back(daemon, &inquiry.coordinator)) {
        coord_halt_set_back(daemon);
    } else {
        hear(daemon, &inquiry.participant_id);
        answer(daemon, request, &inquiry);
    }
    api_inquiry_done(&inquiry);
}
