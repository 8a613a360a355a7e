/* A transaction as JSON. */
#include "coordinator/daemon.h"

#include "base/clock.h"

const char *coord_view_state(const struct coord_xact *xact)
{
    return xact->waiting_again ? "preparing" : coord_state_text((enum coord_state)xact->fsm->state);
}

static const char *branch_state(const struct coord_xact *xact, unsigned index)
{
    const struct coord_branch *branch = &xact->fsm->branches[index];
    switch ((enum coord_end)branch->end) {
    case COORD_END_COMMITTED:
        return "committed";
    case COORD_END_ABORTED:
        return "aborted";
    case COORD_END_UNKNOWN:
    case COORD_END_OTHER:
        return "unknown";
    case COORD_END_NONE:
    default:
        break;
    }
    switch ((enum coord_vote)branch->vote) {
    case COORD_VOTE_READ_ONLY:
        return "read_only";
    case COORD_VOTE_COMMITTED:
        return "committed";
    case COORD_VOTE_NO:
        return "aborted";
    case COORD_VOTE_YES:
        return "prepared";
    case COORD_VOTE_NONE:
    default:
        return coord_outcome(xact->fsm) == COORD_ABORT ? "aborted"
               : xact->fsm->state == COORD_ACTIVE      ? "active"
                                                       : "executing";
    }
}

static void write_branch(struct tpc_buf *out, const struct coord_xact *xact, unsigned index,
                         bool results)
{
    const struct coord_xbranch *branch = &xact->branches[index];
    const char *vote = coord_vote_name((enum coord_vote)xact->fsm->branches[index].vote);
    api_jw_open(out, '{');
    api_jw_key(out, "participant");
    api_jw_str(out, branch->member->name);
    api_jw_key(out, "gtid");
    api_jw_id(out, &xact->gtid);
    api_jw_key(out, "vote");
    api_jw_str(out, vote);
    api_jw_key(out, "state");
    api_jw_str(out, branch_state(xact, index));
    if ((coord_forgotten(xact->fsm) & (UINT64_C(1) << index)) != 0) {
        api_jw_key(out, "hazard_forgotten");
        api_jw_bool(out, true);
    }
    /* Before the outcome is known they would be a dirty read. */
    if (results && branch->results != NULL && coord_outcome(xact->fsm) == COORD_COMMIT) {
        api_jw_key(out, "results");
        api_jw_raw(out, branch->results, branch->results_size);
    }
    api_jw_close(out, '}');
}

static void write_hazards(struct tpc_buf *out, const struct coord_xact *xact)
{
    static const char *const actual[] = {[COORD_END_NONE] = "unknown",
                                         [COORD_END_COMMITTED] = "committed",
                                         [COORD_END_ABORTED] = "aborted",
                                         [COORD_END_UNKNOWN] = "unknown",
                                         [COORD_END_OTHER] = "unknown"};
    static const char *const reason[] = {
        [COORD_END_NONE] = "the branch ended another way than the transaction",
        [COORD_END_COMMITTED] = "an operator committed the branch by hand",
        [COORD_END_ABORTED] = "an operator aborted the branch by hand, or another program changed "
                              "the rows it had promised to change",
        [COORD_END_UNKNOWN] = "the participant has no proof that the branch was committed",
        [COORD_END_OTHER] = "another participant log answers than the one that voted: the "
                            "participant lost its log, or its address leads elsewhere"};
    bool commit = coord_outcome(xact->fsm) == COORD_COMMIT;
    api_jw_key(out, "hazard");
    api_jw_open(out, '[');
    for (unsigned i = 0; i < xact->branch_count; i++) {
        if ((xact->fsm->hazards & (UINT64_C(1) << i)) == 0) {
            continue;
        }
        unsigned end = xact->fsm->branches[i].end;
        api_jw_open(out, '{');
        api_jw_key(out, "participant");
        api_jw_str(out, xact->branches[i].member->name);
        api_jw_key(out, "expected");
        api_jw_str(out, commit ? "committed" : "aborted");
        api_jw_key(out, "actual");
        api_jw_str(out, actual[end]);
        api_jw_key(out, "reason");
        api_jw_str(out, reason[end]);
        api_jw_close(out, '}');
    }
    api_jw_close(out, ']');
}

static void write_outcome(struct tpc_buf *out, const struct coord_xact *xact)
{
    enum coord_outcome outcome = xact->waiting_again ? COORD_UNDECIDED : coord_outcome(xact->fsm);
    api_jw_key(out, "id");
    api_jw_id(out, &xact->id);
    api_jw_key(out, "state");
    api_jw_str(out, coord_view_state(xact));
    api_jw_key(out, "outcome");
    api_jw_str(out, outcome == COORD_COMMIT ? "commit" : outcome == COORD_ABORT ? "abort" : NULL);
}

void coord_view_members(struct tpc_buf *out, const struct coord_xact *xact, bool results)
{
    char began[TPC_TIME_TEXT];
    write_outcome(out, xact);
    api_jw_key(out, "gtid");
    api_jw_id(out, &xact->gtid);
    if (xact->label != NULL) {
        api_jw_key(out, "label");
        api_jw_str(out, xact->label);
    }
    if (xact->key != NULL) {
        api_jw_key(out, "idempotency_key");
        api_jw_str(out, xact->key->text);
    }
    api_jw_key(out, "began_at");
    api_jw_str(out, tpc_time_format(xact->began_us, began));
    uint64_t took_us = xact->took_us;
    if (!xact->ended && xact->began_mono_us != 0) {
        took_us = tpc_clock_mono_us() - xact->began_mono_us;
    }
    if (took_us != 0) {
        api_jw_key(out, "took_ms");
        uint64_t tens_us = took_us / 10; /* two places are enough */
        api_jw_double(out, (double)tens_us / 100.0);
    }
    api_jw_key(out, "attempts");
    api_jw_u64(out, xact->attempts);
    if (xact->cause.code != API_CAUSE_NONE && coord_outcome(xact->fsm) != COORD_COMMIT) {
        api_jw_key(out, "cause");
        api_cause_write(out, &xact->cause,
                        xact->cause_branch < 0 ? NULL
                                               : xact->branches[xact->cause_branch].member->name);
        api_jw_key(out, "retryable");
        api_jw_bool(out, api_cause_retryable(xact->cause.code));
    }
    if (xact->fsm->hazards != 0) {
        write_hazards(out, xact);
    }
    api_jw_key(out, "branches");
    api_jw_open(out, '[');
    for (unsigned i = 0; i < xact->branch_count; i++) {
        write_branch(out, xact, i, results);
    }
    api_jw_close(out, ']');
}

void coord_view_write(struct tpc_buf *out, const struct coord_xact *xact, bool results)
{
    api_jw_open(out, '{');
    coord_view_members(out, xact, results);
    api_jw_close(out, '}');
}
