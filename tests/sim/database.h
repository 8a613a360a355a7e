/* A database of a few numbered rows: what of it is durable, and survives every
 * crash. */
#ifndef ASSENT_TESTS_SIM_DATABASE_H
#define ASSENT_TESTS_SIM_DATABASE_H

#include "tests/sim/sim.h"

struct sim_write {
    unsigned row;
    int64_t before, after;
};

struct sim_change {
    unsigned txn;
    unsigned count;
    struct sim_write writes[SIM_ROWS];
};

/* The proof of a commit is there, for the resource. */
bool sim_database_proves(const struct sim_database *database, const struct tpc_id *gtid);
void sim_database_forget(struct sim_database *database, const struct tpc_id *gtid);
int64_t sim_database_row(const struct sim_database *database, unsigned row);
/* Does the change still apply? */
bool sim_database_fits(const struct sim_database *database, const struct sim_change *change);
/* With proof. Violation when @gtid was applied before. */
void sim_database_apply(struct sim_node *node, const struct tpc_id *gtid,
                        const struct sim_change *change);
/* Another program changes a row that @change wants to change. */
void sim_database_meddle(struct sim_node *node, const struct sim_change *change);

#endif
