/* POST /v1/transactions/{id}/forget: an operator has dealt with a hazard. It is shown until then,
 * and the transaction with it is kept until then. */
#include "coordinator/daemon.h"

#include "base/log.h"

#include <stdlib.h>

struct forgetting {
    struct wal_append append;
    struct coord_xact *xact; /* stays: `forcing` is set, and hazards are not subject to retention */
    struct api_request *request;
    uint64_t hazards; /* those that were shown when it was asked for */
};

/* If we crash before the record is durable the hazard is shown again, and nobody was told that it
 * is forgotten. */
static void on_forgotten(struct wal_append *append, enum tpc_rc rc, const struct tpc_err *err)
{
    struct forgetting *forgetting = coord_container(append, struct forgetting, append);
    struct coord_xact *xact = forgetting->xact;
    if (rc != TPC_OK) {
        coord_halt("the record of a forgotten hazard could not be forced", err);
    }
    xact->forcing = false;
    xact->fsm->hazards &= ~forgetting->hazards;
    coord_xact_keep_again(xact);
    coord_answer(xact, forgetting->request, COORD_WAIT_GET, false);
    free(forgetting);
}

static enum tpc_rc log_forgotten(struct forgetting *forgetting)
{
    struct coord_xact *xact = forgetting->xact;
    struct coord_record record;
    struct tpc_buf buf = {0};
    coord_record_fill(xact, &record);
    for (unsigned i = 0; i < record.branch_count; i++) {
        record.branches[i].end = COORD_END_NONE;
    }
    enum tpc_rc rc = coord_record_write(&buf, WAL_COORD_END, &record);
    if (rc == TPC_OK) {
        forgetting->append =
            (struct wal_append){.size = buf.size, .force = true, .done = on_forgotten};
        forgetting->append.data = tpc_buf_take(&buf);
        rc = wal_log_submit(xact->daemon->log, &forgetting->append);
    }
    tpc_buf_done(&buf);
    xact->forcing = rc == TPC_OK;
    xact->logged = xact->logged || rc == TPC_OK;
    return rc;
}

static void forget(struct coord_xact *xact, struct api_request *request,
                   const struct api_resolve *who)
{
    struct forgetting *forgetting = calloc(1, sizeof *forgetting);
    if (forgetting == NULL) {
        coord_unavailable(request, "out of memory");
        return;
    }
    tpc_log(TPC_LOG_WARN, "txn.forget", tpc_kv_id("gtid", &xact->gtid), tpc_kv_id("id", &xact->id),
            tpc_kv_str("operator", who->operator_name), tpc_kv_str("reason", who->reason));
    *forgetting =
        (struct forgetting){.xact = xact, .request = request, .hazards = xact->fsm->hazards};
    if (log_forgotten(forgetting) != TPC_OK) {
        free(forgetting);
        coord_unavailable(request, "the log is full");
    }
}

void coord_forget(void *arg, struct api_request *request, const char *const args[])
{
    struct coord_xact *xact = coord_find(arg, request, args[0]);
    struct api_resolve who = {0};
    struct api_refusal refusal = {0};
    size_t size;
    if (xact == NULL) {
        return;
    }
    const char *body = api_request_body(request, &size);
    if (api_forget_decode(body, size, &who, &refusal) != TPC_OK) {
        coord_refuse(request, &refusal);
    } else if (xact->fsm->hazards == 0) {
        coord_problem(request, 409, "no-hazard", "There is no hazard to forget",
                      "every branch ended, or will end, as the transaction did");
    } else if (!xact->ended) {
        coord_problem(request, 409, "not-ended", "The transaction has not ended",
                      "it is %s: a hazard can be forgotten once every branch has ended",
                      coord_view_state(xact));
    } else if (xact->forcing) {
        coord_unavailable(request, "it is being forgotten");
    } else {
        forget(xact, request, &who);
    }
    api_resolve_done(&who);
}
