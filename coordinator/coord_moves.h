/* The handlers behind the table of coord_fsm.c, for that file alone. Each changes what is known of
 * the branches, adds effects and says to which state the transaction goes. They do not look at the
 * state (but to stay in it): the table says which handler answers what in which state. */
#ifndef ASSENT_COORDINATOR_COORD_MOVES_H
#define ASSENT_COORDINATOR_COORD_MOVES_H

#include "coordinator/coord_fsm.h"

struct coord_move {
    struct coord_txn *txn;
    const struct coord_event *ev;
    struct coord_effects *out;
    struct coord_branch *branch; /* whom the event is from, else the first */
    uint64_t bit;                /* the same as a set */
};

enum coord_state coord_on_late(const struct coord_move *m);
enum coord_state coord_on_open(const struct coord_move *m);
enum coord_state coord_on_start_active(const struct coord_move *m);
enum coord_state coord_on_start(const struct coord_move *m);
enum coord_state coord_on_vote(const struct coord_move *m);
enum coord_state coord_on_vote_committed(const struct coord_move *m);
enum coord_state coord_on_vote_no(const struct coord_move *m);
enum coord_state coord_on_prepare_undelivered(const struct coord_move *m);
enum coord_state coord_on_give_up(const struct coord_move *m);
enum coord_state coord_on_prepare_lost(const struct coord_move *m);
enum coord_state coord_on_force_failed(const struct coord_move *m);
enum coord_state coord_on_forced(const struct coord_move *m);
enum coord_state coord_on_restarted(const struct coord_move *m);
enum coord_state coord_on_commit_ack(const struct coord_move *m);
enum coord_state coord_on_commit_lost(const struct coord_move *m);
enum coord_state coord_on_commit_retry(const struct coord_move *m);
enum coord_state coord_on_query_vote(const struct coord_move *m);
enum coord_state coord_on_query_undelivered(const struct coord_move *m);
enum coord_state coord_on_query_forced(const struct coord_move *m);
enum coord_state coord_on_ask(const struct coord_move *m);
enum coord_state coord_on_ask_lost(const struct coord_move *m);
enum coord_state coord_on_ask_committed(const struct coord_move *m);
enum coord_state coord_on_ask_aborted(const struct coord_move *m);
enum coord_state coord_on_abort_answer(const struct coord_move *m);
enum coord_state coord_on_abort_committed(const struct coord_move *m);
enum coord_state coord_on_grace(const struct coord_move *m);
enum coord_state coord_on_late_yes(const struct coord_move *m);
enum coord_state coord_on_late_committed(const struct coord_move *m);
enum coord_state coord_on_log_commit(const struct coord_move *m);
enum coord_state coord_on_log_pending(const struct coord_move *m);
enum coord_state coord_on_log_end(const struct coord_move *m);

uint64_t coord_all_branches(const struct coord_txn *txn);
/* Those that voted @vote. */
uint64_t coord_voters(const struct coord_txn *txn, enum coord_vote vote);

#endif
