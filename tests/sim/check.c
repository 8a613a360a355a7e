/* What must hold, while it runs and at the end. */
#include "tests/sim/sim.h"

#include "api/codec.h"
#include "wal/record.h"

#include <inttypes.h>
#include <string.h>

/* What a coordinator has let out about an attempt, and whose attempt it is. */
struct attempt {
    struct tpc_id gtid;
    struct tpc_id id; /* of the transaction; zero: the same */
    bool commit_sent, abort_sent;
    const struct sim_node *by; /* the coordinator that sent a message of it; NULL: none did */
    UT_hash_handle hh;
};

static struct attempt *attempts;

void sim_check_init(void)
{
    attempts = NULL;
}

static struct attempt *attempt_of(const struct tpc_id *gtid)
{
    struct attempt *attempt;
    HASH_FIND(hh, attempts, gtid, sizeof *gtid, attempt);
    if (attempt == NULL) {
        struct sim_owner *owner = sim_own(&sim.memory);
        attempt = sim_alloc(sizeof *attempt);
        attempt->gtid = *gtid;
        HASH_ADD(hh, attempts, gtid, sizeof attempt->gtid, attempt);
        (void)sim_own(owner);
    }
    return attempt;
}

void sim_check_attempt(const struct tpc_id *gtid, const struct tpc_id *id)
{
    attempt_of(gtid)->id = *id;
    sim.result->again++;
}

static struct tpc_id id_of(const struct tpc_id *gtid)
{
    struct attempt *attempt = attempt_of(gtid);
    return tpc_id_is_zero(&attempt->id) ? attempt->gtid : attempt->id;
}

/* ---- While it runs ---- */

/* Rule 1: nothing that leaves reveals commit before it is durable. And never
 * two outcomes. */
static void check_commit_leaves(struct sim_node *from, const struct tpc_id *gtid, const char *how)
{
    char id[TPC_ID_TEXT];
    struct attempt *attempt = attempt_of(gtid);
    if (!sim_disk_holds(from, gtid, WAL_COORD_COMMIT)) {
        sim_violation("%s tells the commit of %s in %s before it is durable", from->name,
                      tpc_id_format(gtid, id), how);
    }
    attempt->commit_sent = true;
    if (attempt->abort_sent) {
        sim_violation("%s tells commit of %s, and told abort before", from->name,
                      tpc_id_format(gtid, id));
    }
}

static void check_abort_leaves(struct sim_node *from, const struct tpc_id *gtid)
{
    char id[TPC_ID_TEXT];
    struct attempt *attempt = attempt_of(gtid);
    attempt->abort_sent = true;
    if (attempt->commit_sent || sim_disk_holds(from, gtid, WAL_COORD_COMMIT)) {
        sim_violation("%s tells abort of %s, which is committed", from->name,
                      tpc_id_format(gtid, id));
    }
}

void sim_check_messages(struct sim_node *from, const char *body, size_t size)
{
    const struct api_codec_limits limits = {0};
    struct sim_owner *owner = sim_own(&sim.memory);
    struct api_envelope envelope;
    struct api_refusal refusal = {0};
    if (api_envelope_decode(body, size, &limits, 1000, &envelope, &refusal) != TPC_OK) {
        sim_violation("%s sends what cannot be read: %s", from->name, refusal.detail);
    }
    from->forgotten_below = envelope.coordinator.forgotten_below;
    for (size_t i = 0; i < envelope.count; i++) {
        const struct api_message *message = &envelope.messages[i];
        char id[TPC_ID_TEXT];
        attempt_of(&message->gtid)->by = from;
        sim_trace("net", "  %s %s%s", api_op_name(message->op), tpc_id_format(&message->gtid, id),
                  message->one_phase ? " in one phase" : "");
        if (message->op == API_OP_COMMIT) {
            check_commit_leaves(from, &message->gtid, "a message");
        } else if (message->op == API_OP_ABORT && !message->one_phase) {
            check_abort_leaves(from, &message->gtid);
        }
    }
    api_envelope_done(&envelope);
    (void)sim_own(owner);
}

void sim_check_decisions(struct sim_node *from, const char *body, size_t size)
{
    struct sim_owner *owner = sim_own(&sim.memory);
    struct api_decisions decisions;
    struct tpc_err err = {0};
    if (api_decisions_decode(body, size, &decisions, &err) != TPC_OK) {
        sim_violation("%s answers what cannot be read: %s", from->name, err.text);
    }
    for (size_t i = 0; i < decisions.count; i++) {
        const struct api_decision *decision = &decisions.items[i];
        if (decision->outcome == API_OUTCOME_COMMIT) {
            check_commit_leaves(from, &decision->gtid, "an answer");
        } else if (decision->outcome == API_OUTCOME_ABORT) {
            check_abort_leaves(from, &decision->gtid);
        }
    }
    api_decisions_done(&decisions);
    (void)sim_own(owner);
}

/* Its coordinator has said that it forgot it: a prepare that comes now is late, nobody waits for
 * its answer, and no says nothing of what became of the transaction. */
static bool is_over(const struct tpc_id *gtid)
{
    const struct sim_node *by = attempt_of(gtid)->by;
    return by != NULL && tpc_id_compare(gtid, &by->forgotten_below) < 0;
}

/* Rule 2: durable before yes. And what is said to be done is done. */
static void check_answer(struct sim_node *from, const struct api_answer *answer)
{
    bool has = sim_database_has(from, &answer->gtid);
    bool by_hand = sim_database_is_by_hand(from, &answer->gtid);
    char id[TPC_ID_TEXT];
    (void)tpc_id_format(&answer->gtid, id);
    if (answer->vote == API_VOTE_YES && !has && !by_hand &&
        !sim_disk_holds(from, &answer->gtid, WAL_PART_PREPARED)) {
        sim_violation("%s votes yes for %s before that is durable", from->name, id);
    }
    if (!has && (answer->vote == API_VOTE_COMMITTED || answer->state == API_STATE_COMMITTED)) {
        sim_violation("%s says that %s is committed, and the database does not have it", from->name,
                      id);
    }
    if (has && ((answer->vote == API_VOTE_NO && !is_over(&answer->gtid)) ||
                answer->state == API_STATE_ABORTED)) {
        sim_violation("%s says that %s is aborted, and the database has it", from->name, id);
    }
    if (has && answer->state == API_STATE_UNKNOWN) {
        sim_violation("%s says that it does not know %s, and the database has it", from->name, id);
    }
}

void sim_check_line(struct sim_node *from, const char *line, size_t size)
{
    struct sim_owner *owner = sim_own(&sim.memory);
    struct api_answer answer;
    struct tpc_err err = {0};
    if (size == 0 || line[size - 1] != '\n' ||
        api_answer_decode(line, size - 1, &answer, &err) != TPC_OK) {
        sim_violation("%s answers what cannot be read: %s", from->name, err.text);
    }
    sim_trace("net", "  %.*s", (int)size - 1, line);
    if (answer.gtid_valid && answer.error == API_ERROR_NONE) {
        check_answer(from, &answer);
    }
    api_answer_done(&answer);
    (void)sim_own(owner);
}

void sim_check_commit(struct sim_node *at, const struct tpc_id *gtid, bool one_phase)
{
    char id[TPC_ID_TEXT];
    if (one_phase || sim_database_is_by_hand(at, gtid)) {
        return;
    }
    for (unsigned i = 0; i < sim.coordinators; i++) {
        if (sim_disk_holds(&sim.nodes[i], gtid, WAL_COORD_COMMIT)) {
            return;
        }
    }
    sim_violation("%s commits %s, and no coordinator has durably decided that", at->name,
                  tpc_id_format(gtid, id));
}

/* ---- At the end ---- */

static const struct sim_node *participant(unsigned index)
{
    return &sim.nodes[sim.coordinators + index];
}

static void check_transaction(unsigned n)
{
    struct sim_told_of told = sim_client(n);
    unsigned writers = 0, applied = 0;
    for (unsigned i = 0; i < told.branch_count; i++) {
        const struct sim_node *node = participant(told.branches[i].participant);
        unsigned times = sim_database_applied(node, n);
        if (times > 1 && !sim.by_hand[n]) {
            sim_violation("the work of t%u was applied %u times at %s", n, times, node->name);
        }
        writers += told.branches[i].writes;
        applied += times;
    }
    if (sim.by_hand[n]) {
        return;
    }
    if (applied != 0 && applied != writers) {
        sim_violation("t%u is applied at %u of %u participants", n, applied, writers);
    }
    if (told.told == SIM_TOLD_COMMIT && applied != writers) {
        sim_violation("t%u was told to be committed, and is not", n);
    }
    /* Under a key that was sent twice, another transaction may have committed:
     * check_held. */
    if (told.told == SIM_TOLD_ABORT && applied != 0 && !told.keyed) {
        sim_violation("t%u was told to be aborted, and is committed", n);
    }
    if (told.told == SIM_TOLD_HAZARD) {
        sim_violation("t%u was told of a hazard, and nobody has done anything by hand", n);
    }
}

struct held {
    const struct sim_node *node;
};

/* A transaction that was told to be aborted by its id; under its key there may
 * be another. */
static void check_held(void *arg, const struct tpc_id *gtid, unsigned txn)
{
    const struct held *held = arg;
    char text[TPC_ID_TEXT];
    if (txn == 0 || txn > sim.transactions) {
        return;
    }
    struct sim_told_of told = sim_client(txn);
    struct tpc_id id = id_of(gtid);
    if (told.told == SIM_TOLD_ABORT && tpc_id_equal(&told.id, &id) &&
        !sim_database_is_by_hand(held->node, gtid)) {
        sim_violation("t%u was told to be aborted as %s, and %s has it", txn,
                      tpc_id_format(&id, text), held->node->name);
    }
}

/* Rule 11: what was done by hand and differs from the decision is shown until
 * it is forgotten. */
static void check_shown(void *arg, const struct tpc_id *gtid)
{
    const struct held *held = arg;
    char text[TPC_ID_TEXT];
    bool decided = false, shown = sim_part_shows_hazard(held->node, gtid);
    for (unsigned i = 0; i < sim.coordinators; i++) {
        decided |= sim_disk_holds(&sim.nodes[i], gtid, WAL_COORD_COMMIT);
        shown |= sim_coord_shows_hazard(&sim.nodes[i], gtid, held->node->name);
    }
    if (sim_database_has(held->node, gtid) != decided && !shown) {
        sim_violation("%s has another outcome of %s than was decided, and nobody shows it",
                      held->node->name, tpc_id_format(gtid, text));
    }
}

static int64_t check_databases(void)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < sim.participants; i++) {
        struct held held = {.node = participant(i)};
        sum += sim_database_check(held.node);
        sim_database_each(held.node, check_held, &held);
        if (!sim.hands_forgotten) {
            sim_database_each_hand(held.node, check_shown, &held);
        }
    }
    return sum;
}

/* A hazard is somebody's doing. */
static void check_no_hazard(void)
{
    struct tpc_id gtid;
    char id[TPC_ID_TEXT];
    for (unsigned i = 0; i < sim.node_count; i++) {
        const struct sim_node *node = &sim.nodes[i];
        bool any = node->coordinator ? sim_coord_first_hazard(node, &gtid)
                                     : sim_part_first_hand(node, &gtid);
        if (any) {
            sim_violation("%s shows a hazard of %s, and nobody has done anything by hand",
                          node->name, tpc_id_format(&gtid, id));
        }
    }
}

void sim_check_end(void)
{
    int64_t expected = (int64_t)SIM_BALANCE * SIM_ROWS * sim.participants;
    for (unsigned n = 1; n <= sim.transactions; n++) {
        check_transaction(n);
    }
    int64_t sum = check_databases();
    for (unsigned n = 1; n <= sim.transactions; n++) {
        struct sim_told_of told = sim_client(n);
        if (told.branch_count == 1 && told.branches[0].writes) {
            expected += sim_database_applied(participant(told.branches[0].participant), n);
        }
    }
    if (!sim.hand_seed) {
        check_no_hazard();
    }
    if (sum != expected && !sim.hand_seed) {
        sim_violation("there is %" PRId64 " in all, and %" PRId64 " was", sum, expected);
    }
}
