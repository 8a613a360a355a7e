/* The moves of the participant's state machine, for the table in part_fsm.c alone. */
#ifndef ASSENT_PARTICIPANT_PART_MOVES_H
#define ASSENT_PARTICIPANT_PART_MOVES_H

#include "participant/part_fsm.h"

struct part_move {
    struct part_branch *branch; /* a copy: kept only when the move is allowed */
    const struct part_event *ev;
    struct part_effects *out;
};

/* Returned by a move that, having looked at the branch, does not allow the event. */
#define PART_REFUSED PART_STATE_COUNT

/* Each returns the next state, one of those its cell allows. */
enum part_state part_on_execute(struct part_move *m);
enum part_state part_on_executed(struct part_move *m);
enum part_state part_on_step_refused(struct part_move *m);
enum part_state part_on_step_proven(struct part_move *m);
enum part_state part_on_prepare_active(struct part_move *m);
enum part_state part_on_prepare(struct part_move *m);
enum part_state part_on_prepare_joins(struct part_move *m);
enum part_state part_on_prepare_again(struct part_move *m);
enum part_state part_on_prepare_committed(struct part_move *m);
enum part_state part_on_prepare_aborted(struct part_move *m);
enum part_state part_on_abort_unknown(struct part_move *m);
enum part_state part_on_abort_executing(struct part_move *m);
enum part_state part_on_abort_aborting(struct part_move *m);
enum part_state part_on_abort_wanted(struct part_move *m);
enum part_state part_on_abort_aborted(struct part_move *m);
enum part_state part_on_commit_aborted(struct part_move *m);
enum part_state part_on_decided(struct part_move *m);
enum part_state part_on_told_meanwhile(struct part_move *m);
enum part_state part_on_message_heuristic(struct part_move *m);
enum part_state part_on_told_heuristic(struct part_move *m);
enum part_state part_on_told_otherwise(struct part_move *m);
enum part_state part_on_timer_ask(struct part_move *m);
enum part_state part_on_ready(struct part_move *m);
enum part_state part_on_read_only(struct part_move *m);
enum part_state part_on_refused(struct part_move *m);
enum part_state part_on_done_executing(struct part_move *m);
enum part_state part_on_committed(struct part_move *m);
enum part_state part_on_proof_prepared(struct part_move *m);
enum part_state part_on_aborted(struct part_move *m);
enum part_state part_on_retry(struct part_move *m);
enum part_state part_on_timer_again(struct part_move *m);
enum part_state part_on_conflict(struct part_move *m);
enum part_state part_on_committed_by_hand(struct part_move *m);
enum part_state part_on_proof_asked(struct part_move *m);
enum part_state part_on_no_proof(struct part_move *m);
enum part_state part_on_prepared_forced(struct part_move *m);
enum part_state part_on_tombstone_forced(struct part_move *m);
enum part_state part_on_force_failed(struct part_move *m);
enum part_state part_on_operator(struct part_move *m);
enum part_state part_on_operator_again(struct part_move *m);
enum part_state part_on_heuristic_forced(struct part_move *m);
enum part_state part_on_heuristic_done(struct part_move *m);
enum part_state part_on_forget(struct part_move *m);
enum part_state part_on_recorded(struct part_move *m);
enum part_state part_on_record_failed(struct part_move *m);
enum part_state part_on_log_prepared(struct part_move *m);
enum part_state part_on_log_committed(struct part_move *m);
enum part_state part_on_log_aborted(struct part_move *m);
enum part_state part_on_log_heuristic(struct part_move *m);
enum part_state part_on_log_told(struct part_move *m);
enum part_state part_on_log_forgotten(struct part_move *m);
enum part_state part_on_restarted(struct part_move *m);

#endif
