/* A whole log of sound records in any order, folded as the daemons' recovery does. Whatever stands
 * in it, the daemon refuses it or comes to a state in which it can go on.
 *
 * Records are written from the input: kind, which of two transactions, and what is in it. */
#include "tests/fuzz/fuzz.h"

#include "coordinator/coord_record.h"
#include "participant/part_record.h"

enum { TRANSACTIONS = 2, RECORDS_MAX = 64 };

union txn {
    struct coord_txn txn;
    uint8_t bytes[sizeof(struct coord_txn) + COORD_BRANCHES_MAX * sizeof(struct coord_branch)];
};

struct transaction {
    struct coord_txn *txn;
    bool known;
    struct part_branch branch;
};

static struct tpc_id id_of(unsigned which)
{
    return (struct tpc_id){{0x01, 0x90, [15] = (uint8_t)(which + 1)}};
}

static void make_record(struct fuzz_input *in, unsigned which, struct coord_record *out)
{
    *out = (struct coord_record){.gtid = id_of(which), .id = id_of(which)};
    uint8_t flags = fuzz_byte(in);
    out->commit = (flags & 1) != 0;
    out->one_phase = (flags & 2) != 0;
    out->attempts = 1;
    out->branch_count = flags >> 4;
    for (unsigned i = 0; i < out->branch_count; i++) {
        uint8_t byte = fuzz_byte(in);
        out->branches[i] = (struct coord_record_branch){
            .name = "east",
            .name_size = 4,
            .vote = (enum coord_vote)(byte % (COORD_VOTE_COMMITTED + 1)),
            .end = (enum coord_end)(byte / 8 % (COORD_END_OTHER + 1)),
            .participant = id_of(byte >> 7)};
    }
}

/* As the daemon does: the first record of a transaction sets it up. */
static void set_up(struct transaction *t, const struct coord_record *record)
{
    coord_init(t->txn, record->branch_count, record->one_phase);
    for (unsigned i = 0; i < record->branch_count; i++) {
        t->txn->branches[i].participant = record->branches[i].participant;
        t->txn->branches[i].vote = (uint8_t)record->branches[i].vote;
    }
    t->known = true;
}

/* False: the daemon does not start with such a log. */
static bool fold_coordinator(struct transaction *t, const struct wal_record *log_record)
{
    struct coord_record record;
    struct tpc_err err = {0};
    if (coord_record_read(log_record, &record, &err) != TPC_OK) {
        return false;
    }
    if (!t->known) {
        set_up(t, &record);
    }
    union txn before;
    memcpy(&before, t->txn, coord_size(t->txn->branch_count));
    if (coord_recover_fold(t->txn, log_record->kind, &record, &err) != TPC_OK) {
        TPC_ASSERT(err.rc == TPC_ECORRUPT);
        TPC_ASSERT(memcmp(&before, t->txn, coord_size(t->txn->branch_count)) == 0);
        return false;
    }
    return true;
}

static bool fold_participant(struct transaction *t, const struct wal_record *log_record)
{
    struct part_record record;
    struct tpc_err err = {0};
    struct part_branch before = t->branch;
    if (part_record_read(log_record, &record, &err) != TPC_OK) {
        return false;
    }
    if (part_recover_fold(&t->branch, log_record->kind, &record, &err) != TPC_OK) {
        TPC_ASSERT(err.rc == TPC_ECORRUPT);
        TPC_ASSERT(memcmp(&before, &t->branch, sizeof before) == 0);
        return false;
    }
    return true;
}

static bool one_record(struct fuzz_input *in, struct transaction *transactions)
{
    static const enum wal_kind kinds[] = {WAL_COORD_COMMIT,   WAL_COORD_PENDING,  WAL_COORD_END,
                                          WAL_PART_PREPARED,  WAL_PART_COMMITTED, WAL_PART_ABORTED,
                                          WAL_PART_HEURISTIC, WAL_PART_FORGOTTEN};
    uint8_t byte = fuzz_byte(in);
    enum wal_kind kind = kinds[byte % 8];
    unsigned which = byte / 8 % TRANSACTIONS;
    struct transaction *t = &transactions[which];
    struct tpc_buf bytes = {0};
    struct wal_record log_record;
    bool coordinator = kind <= WAL_COORD_PENDING, good;
    if (coordinator) {
        struct coord_record record;
        make_record(in, which, &record);
        TPC_ASSERT(coord_record_write(&bytes, kind, &record) == TPC_OK);
    } else {
        const struct part_record record = {.gtid = id_of(which),
                                           .heuristic = byte & 0x80 ? PART_COMMIT : PART_ABORT};
        TPC_ASSERT(part_record_write(&bytes, kind, &record) == TPC_OK);
    }
    TPC_ASSERT(wal_record_decode(bytes.data, bytes.size, &log_record, NULL) == TPC_OK);
    good = coordinator ? fold_coordinator(t, &log_record) : fold_participant(t, &log_record);
    tpc_buf_done(&bytes);
    return good;
}

/* The coordinator goes on: every branch says that it has done what it is told, and that is all. */
static void finish_coordinator(struct coord_txn *txn)
{
    struct coord_effects effects;
    struct coord_event event = {.type = COORD_EV_RESTARTED};
    TPC_ASSERT(coord_step(txn, &event, &effects) == TPC_OK);
    for (unsigned i = 0; i < txn->branch_count; i++) {
        event = (struct coord_event){.from = (uint8_t)i,
                                     .participant = txn->branches[i].participant,
                                     .type = txn->state == COORD_COMMITTING ? COORD_EV_ACK_COMMITTED
                                                                            : COORD_EV_ACK_ABORTED};
        TPC_ASSERT(coord_step(txn, &event, &effects) == TPC_OK);
    }
    TPC_ASSERT(txn->state == COORD_COMMITTED || txn->state == COORD_ABORTED);
}

static void finish_participant(struct part_branch *branch)
{
    struct part_effects effects;
    struct part_event event = {.type = PART_EV_RESTARTED};
    if (part_allowed((enum part_state)branch->state, PART_EV_RESTARTED) == 0) {
        TPC_ASSERT(branch->state == PART_NONE);
        return;
    }
    TPC_ASSERT(part_step(branch, &event, &effects) == TPC_OK);
    TPC_ASSERT(part_in_doubt(branch) == (branch->state == PART_PREPARED));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, data + size};
    static _Alignas(struct coord_txn) uint8_t storage[TRANSACTIONS][sizeof(union txn)];
    struct transaction transactions[TRANSACTIONS];
    memset(transactions, 0, sizeof transactions);
    for (unsigned i = 0; i < TRANSACTIONS; i++) {
        transactions[i].txn = (struct coord_txn *)storage[i];
    }
    for (unsigned i = 0; i < RECORDS_MAX && fuzz_more(&in); i++) {
        if (!one_record(&in, transactions)) {
            return 0;
        }
    }
    for (unsigned i = 0; i < TRANSACTIONS; i++) {
        if (transactions[i].known) {
            finish_coordinator(transactions[i].txn);
        }
        finish_participant(&transactions[i].branch);
    }
    return 0;
}
