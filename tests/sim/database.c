#include "tests/sim/database.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { MEDDLED = 7 };

/* A commit that happened. */
struct applied {
    struct tpc_id gtid;
    struct sim_change change;
    bool proof; /* until it is forgotten */
    struct applied *prev, *next;
    UT_hash_handle hh;
};

struct by_hand {
    struct tpc_id gtid;
    UT_hash_handle hh;
};

struct sim_database {
    int64_t rows[SIM_ROWS];
    int64_t meddled[SIM_ROWS]; /* by other programs, in sum */
    struct applied *by_gtid;
    struct applied *applied; /* list, oldest first */
    struct by_hand *by_hand;
};

void sim_database_init(struct sim_node *node)
{
    node->database = sim_alloc(sizeof *node->database);
    for (unsigned row = 0; row < SIM_ROWS; row++) {
        node->database->rows[row] = SIM_BALANCE;
    }
}

static struct applied *find(const struct sim_database *database, const struct tpc_id *gtid)
{
    struct applied *found;
    HASH_FIND(hh, database->by_gtid, gtid, sizeof *gtid, found);
    return found;
}

/* ---- For the resource ---- */

bool sim_database_proves(const struct sim_database *database, const struct tpc_id *gtid)
{
    const struct applied *found = find(database, gtid);
    return found != NULL && found->proof && sim.config.broken != SIM_BROKEN_NO_PROOF;
}

void sim_database_forget(struct sim_database *database, const struct tpc_id *gtid)
{
    struct applied *found = find(database, gtid);
    if (found != NULL) {
        found->proof = false;
    }
}

int64_t sim_database_row(const struct sim_database *database, unsigned row)
{
    return database->rows[row];
}

bool sim_database_fits(const struct sim_database *database, const struct sim_change *change)
{
    for (unsigned i = 0; i < change->count; i++) {
        if (database->rows[change->writes[i].row] != change->writes[i].before) {
            return false;
        }
    }
    return true;
}

void sim_database_apply(struct sim_node *node, const struct tpc_id *gtid,
                        const struct sim_change *change)
{
    struct sim_database *database = node->database;
    char id[TPC_ID_TEXT];
    if (find(database, gtid) != NULL) {
        sim_violation("%s applies %s twice", node->name, tpc_id_format(gtid, id));
    }
    struct sim_owner *owner = sim_own(&sim.memory);
    struct applied *item = sim_alloc(sizeof *item);
    *item = (struct applied){.gtid = *gtid, .change = *change, .proof = true};
    HASH_ADD(hh, database->by_gtid, gtid, sizeof item->gtid, item);
    DL_APPEND(database->applied, item);
    (void)sim_own(owner);
    for (unsigned i = 0; i < change->count; i++) {
        database->rows[change->writes[i].row] = change->writes[i].after;
    }
    sim_trace(node->name, "the database has %s, of transaction %u", tpc_id_format(gtid, id),
              change->txn);
}

void sim_database_meddle(struct sim_node *node, const struct sim_change *change)
{
    unsigned row = change->writes[0].row;
    sim_trace(node->name, "another program changes row %u", row);
    node->database->rows[row] += MEDDLED;
    node->database->meddled[row] += MEDDLED;
}

/* Only one that is broken loses anything: its last commit. */
void sim_database_crash(struct sim_node *node)
{
    struct sim_database *database = node->database;
    if (sim.config.broken != SIM_BROKEN_LOST_WRITES || database->applied == NULL) {
        return;
    }
    struct applied *last = database->applied->prev;
    for (unsigned i = 0; i < last->change.count; i++) {
        database->rows[last->change.writes[i].row] = last->change.writes[i].before;
    }
    HASH_DELETE(hh, database->by_gtid, last);
    DL_DELETE(database->applied, last);
    free(last);
}

/* ---- For the checks ---- */

unsigned sim_database_applied(const struct sim_node *node, unsigned txn)
{
    const struct applied *item;
    unsigned times = 0;
    DL_FOREACH (node->database->applied, item) {
        times += item->change.txn == txn;
    }
    return times;
}

bool sim_database_has(const struct sim_node *node, const struct tpc_id *gtid)
{
    return find(node->database, gtid) != NULL;
}

void sim_database_each(const struct sim_node *node,
                       void (*visit)(void *arg, const struct tpc_id *gtid, unsigned txn), void *arg)
{
    const struct applied *item;
    DL_FOREACH (node->database->applied, item) {
        visit(arg, &item->gtid, item->change.txn);
    }
}

void sim_database_note_hand(struct sim_node *node, const struct tpc_id *gtid, unsigned txn)
{
    sim.by_hand[txn] = true;
    if (!sim_database_is_by_hand(node, gtid)) {
        struct sim_owner *owner = sim_own(&sim.memory);
        struct by_hand *item = sim_alloc(sizeof *item);
        item->gtid = *gtid;
        HASH_ADD(hh, node->database->by_hand, gtid, sizeof item->gtid, item);
        (void)sim_own(owner);
    }
}

bool sim_database_is_by_hand(const struct sim_node *node, const struct tpc_id *gtid)
{
    const struct by_hand *found;
    HASH_FIND(hh, node->database->by_hand, gtid, sizeof *gtid, found);
    return found != NULL;
}

void sim_database_each_hand(const struct sim_node *node,
                            void (*visit)(void *arg, const struct tpc_id *gtid), void *arg)
{
    struct by_hand *item, *next;
    HASH_ITER (hh, node->database->by_hand, item, next) {
        visit(arg, &item->gtid);
    }
}

int64_t sim_database_check(const struct sim_node *node)
{
    const struct sim_database *database = node->database;
    int64_t expected[SIM_ROWS], sum = 0;
    const struct applied *item;
    for (unsigned row = 0; row < SIM_ROWS; row++) {
        expected[row] = SIM_BALANCE + database->meddled[row];
    }
    DL_FOREACH (database->applied, item) {
        for (unsigned i = 0; i < item->change.count; i++) {
            const struct sim_write *write = &item->change.writes[i];
            expected[write->row] += write->after - write->before;
        }
    }
    for (unsigned row = 0; row < SIM_ROWS; row++) {
        if (database->rows[row] != expected[row]) {
            sim_violation("row %u of %s is %" PRId64 ", and what was applied makes it %" PRId64,
                          row, node->name, database->rows[row], expected[row]);
        }
        sum += database->rows[row] - database->meddled[row];
    }
    return sum;
}
