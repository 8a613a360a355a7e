/* Bytes as events of the coordinator's state machine. The first byte is the number of branches, the
 * second the kind of world:
 *
 *   bit 0  one-phase (and one branch)
 *   bit 1  chaos: any event in any order, also those of recovery. Without: there is a log, forces
 *          end only when they began, and a crash loses what was not forced, or does not; recovery
 *          reads what is left, through the records as they are on disk.
 *
 * At the end the world goes well, and the transaction must end. */
#include "tests/fuzz/fuzz.h"

#include "coordinator/coord_record.h"

enum { BRANCHES_MAX = COORD_BRANCHES_MAX, LOG_MAX = 16, OP_CRASH = COORD_EVENT_COUNT, OPS };

union txn {
    struct coord_txn txn;
    uint8_t bytes[sizeof(struct coord_txn) + BRANCHES_MAX * sizeof(struct coord_branch)];
};

struct logged {
    enum wal_kind kind;
    bool durable;
    struct coord_record record;
};

struct world {
    struct coord_txn *txn;
    bool chaos, one_phase, gone;
    bool durable; /* a commit record is */
    bool ended;   /* TELL_ENDED in this life */
    bool wrote;   /* some branch voted yes before it was told */
    enum coord_outcome told;
    bool forcing;
    struct logged force;
    struct logged log[LOG_MAX];
    unsigned log_count;
};

static const struct tpc_id gtid = {{1, 2, 3}};

/* ---- The log ---- */

static void fill_record(const struct coord_txn *txn, struct coord_record *out)
{
    memset(out, 0, sizeof *out);
    out->gtid = out->id = gtid;
    out->attempts = 1;
    out->commit = coord_outcome(txn) != COORD_ABORT;
    out->one_phase = txn->one_phase;
    out->branch_count = txn->branch_count;
    for (unsigned i = 0; i < txn->branch_count; i++) {
        bool hazard = (txn->hazards & TPC_BIT(i)) != 0;
        out->branches[i] = (struct coord_record_branch){
            .name = "east",
            .name_size = 4,
            .participant = txn->branches[i].participant,
            .vote = (enum coord_vote)txn->branches[i].vote,
            .end = hazard ? (enum coord_end)txn->branches[i].end : COORD_END_NONE};
    }
}

/* When the log is full of repeated ends, later ones are as good as lost. */
static void append(struct world *w, const struct logged *entry)
{
    if (w->log_count < LOG_MAX) {
        w->log[w->log_count++] = *entry;
    }
}

static void forced(struct world *w)
{
    w->force.durable = true;
    for (unsigned i = 0; i < w->log_count; i++) {
        w->log[i].durable = true;
    }
    append(w, &w->force);
    w->forcing = false;
}

/* ---- What may be seen ---- */

static uint64_t all_of(const struct coord_txn *txn)
{
    return txn->branch_count < 64 ? TPC_BIT(txn->branch_count) - 1 : UINT64_MAX;
}

static bool anyone_voted_yes(const struct coord_txn *txn)
{
    bool yes = false;
    for (unsigned i = 0; i < txn->branch_count; i++) {
        yes |= txn->branches[i].vote == COORD_VOTE_YES;
    }
    return yes;
}

static bool is_final(const struct coord_txn *txn)
{
    return txn->state == COORD_COMMITTED || txn->state == COORD_ABORTED;
}

static void check_send_commit(const struct world *w, uint64_t branches)
{
    TPC_ASSERT(w->durable && branches != 0);
    for (unsigned i = 0; i < w->txn->branch_count; i++) {
        TPC_ASSERT((branches & TPC_BIT(i)) == 0 || w->txn->branches[i].vote == COORD_VOTE_YES);
    }
}

static void check_told(struct world *w)
{
    const struct coord_txn *txn = w->txn;
    enum coord_outcome outcome = coord_outcome(txn);
    TPC_ASSERT(outcome != COORD_UNDECIDED);
    w->wrote = !txn->one_phase && anyone_voted_yes(txn);
    TPC_ASSERT(outcome == COORD_ABORT || !w->wrote || w->durable);
    TPC_ASSERT(w->told == COORD_UNDECIDED || w->told == outcome);
    w->told = outcome;
}

static void carry_out(struct world *w, const struct coord_effect *effect, bool is_last)
{
    const struct coord_txn *txn = w->txn;
    TPC_ASSERT(effect->type < COORD_EFFECT_COUNT && (effect->branches & ~all_of(txn)) == 0);
    switch (effect->type) {
    case COORD_FX_SEND_COMMIT:
        check_send_commit(w, effect->branches);
        break;
    case COORD_FX_SEND_ABORT:
        TPC_ASSERT(effect->branches != 0 && !w->durable);
        TPC_ASSERT(txn->one_phase || coord_outcome(txn) == COORD_ABORT);
        break;
    case COORD_FX_FORCE_COMMIT:
    case COORD_FX_FORCE_PENDING:
        TPC_ASSERT(!w->forcing || w->chaos);
        w->forcing = true;
        w->force.kind =
            effect->type == COORD_FX_FORCE_COMMIT ? WAL_COORD_COMMIT : WAL_COORD_PENDING;
        fill_record(txn, &w->force.record);
        break;
    case COORD_FX_LOG_END: {
        struct logged end = {.kind = WAL_COORD_END};
        fill_record(txn, &end.record);
        append(w, &end);
        break;
    }
    case COORD_FX_TELL_DECIDED:
        check_told(w);
        break;
    case COORD_FX_TELL_UNKNOWN:
        TPC_ASSERT(txn->one_phase && coord_outcome(txn) == COORD_UNDECIDED);
        break;
    case COORD_FX_TELL_ENDED:
        TPC_ASSERT(is_final(txn) && is_last && !w->ended);
        w->ended = true;
        break;
    case COORD_FX_SHOW_HAZARD:
        TPC_ASSERT((effect->branches & ~txn->hazards) == 0);
        break;
    case COORD_FX_SEND_PREPARE:
    case COORD_FX_RETRY_LATER:
        TPC_ASSERT(effect->branches != 0);
        break;
    case COORD_FX_ARM_TIMEOUT:
    case COORD_FX_CANCEL_TIMEOUT:
    case COORD_FX_ARM_GRACE:
    case COORD_FX_HALT:
    case COORD_EFFECT_COUNT:
        break;
    }
}

/* A commit is for those alone on whose yes it rests. A participant that never answered has no id
 * to ask with; only in chaos others have none either. */
static void check_inquiries(const struct world *w)
{
    for (unsigned i = 0; i < w->txn->branch_count; i++) {
        const struct coord_branch *branch = &w->txn->branches[i];
        if (tpc_id_is_zero(&branch->participant)) {
            continue;
        }
        bool no_part = w->told == COORD_COMMIT && branch->vote != COORD_VOTE_YES;
        TPC_ASSERT(coord_inquiry(w->txn, &branch->participant) ==
                   (no_part ? COORD_ABORT : w->told));
    }
}

/* Returns whether the daemon halts. */
static bool step(struct world *w, const struct coord_event *event)
{
    union txn before;
    memcpy(&before, w->txn, coord_size(w->txn->branch_count));
    struct coord_effects effects, untouched;
    memset(&untouched, 0x5a, sizeof untouched);
    effects = untouched;
    if (coord_step(w->txn, event, &effects) != TPC_OK) {
        TPC_ASSERT(memcmp(&before, w->txn, coord_size(before.txn.branch_count)) == 0);
        TPC_ASSERT(memcmp(&effects, &untouched, sizeof effects) == 0);
        return false;
    }
    TPC_ASSERT(effects.count <= COORD_EFFECTS_MAX);
    TPC_ASSERT((coord_allowed(before.txn.state, event->type) & TPC_BIT(w->txn->state)) != 0);
    TPC_ASSERT(before.txn.state != COORD_LOGGING || w->txn->state == COORD_LOGGING ||
               event->type == COORD_EV_FORCED);
    /* An end record that follows another one is that of a hazard that was forgotten by name. */
    TPC_ASSERT(event->type == COORD_EV_LOG_END || (before.txn.hazards & ~w->txn->hazards) == 0);
    w->durable |= (before.txn.state == COORD_LOGGING && event->type == COORD_EV_FORCED) ||
                  event->type == COORD_EV_LOG_COMMIT;
    bool halt = false;
    for (unsigned i = 0; i < effects.count; i++) {
        halt |= effects.items[i].type == COORD_FX_HALT;
        carry_out(w, &effects.items[i], i + 1 == effects.count);
    }
    if (event->type >= COORD_EV_LOG_COMMIT && w->told == COORD_UNDECIDED) {
        w->told = coord_outcome(w->txn);
    }
    TPC_ASSERT(w->told == coord_outcome(w->txn));
    check_inquiries(w);
    return halt;
}

/* ---- Crash and recovery ---- */

static void fold(struct world *w, const struct logged *entry, bool first)
{
    struct coord_txn *txn = w->txn;
    struct tpc_buf bytes = {0};
    struct wal_record log_record;
    struct coord_record record;
    TPC_ASSERT(coord_record_write(&bytes, entry->kind, &entry->record) == TPC_OK);
    TPC_ASSERT(wal_record_decode(bytes.data, bytes.size, &log_record, NULL) == TPC_OK);
    TPC_ASSERT(coord_record_read(&log_record, &record, NULL) == TPC_OK);
    if (first) {
        coord_init(txn, record.branch_count, record.one_phase);
        for (unsigned i = 0; i < record.branch_count; i++) {
            txn->branches[i].participant = record.branches[i].participant;
            txn->branches[i].vote = (uint8_t)record.branches[i].vote;
        }
    }
    TPC_ASSERT(coord_recover_fold(txn, entry->kind, &record, NULL) == TPC_OK);
    tpc_buf_done(&bytes);
}

/* Bit 0 of @survivors: the record that was being forced is there; the others: the lazy ones, up to
 * the first that is lost, for a log loses its end. */
static void crash(struct world *w, uint8_t survivors)
{
    unsigned kept = 0;
    while (kept < w->log_count && (w->log[kept].durable || (survivors >>= 1 & 1) != 0)) {
        kept++;
    }
    bool whole = kept == w->log_count;
    w->log_count = kept;
    if (w->forcing && whole && (survivors & 1) != 0) {
        append(w, &w->force);
    }
    w->forcing = w->ended = w->durable = false;
    for (unsigned i = 0; i < w->log_count; i++) {
        w->log[i].durable = true;
        w->durable |= w->log[i].kind == WAL_COORD_COMMIT;
        fold(w, &w->log[i], i == 0);
    }
    w->gone = w->log_count == 0;
    static const struct tpc_id anybody;
    enum coord_outcome after = w->gone ? coord_inquiry(NULL, &anybody) : coord_outcome(w->txn);
    /* Read-only commits leave nothing behind, and of a one-phase outcome the participant has the
     * proof; what writers were told stays. */
    TPC_ASSERT(w->told != COORD_COMMIT || !w->wrote || after == COORD_COMMIT);
    TPC_ASSERT(w->told != COORD_ABORT || w->one_phase || after == COORD_ABORT);
    w->told = after;
    if (!w->gone) {
        TPC_ASSERT(!step(w, &(struct coord_event){.type = COORD_EV_RESTARTED}));
    }
}

/* ---- Input ---- */

/* The event of interactive transactions came last: what older inputs mean stays as it was. */
static unsigned op_of(unsigned number)
{
    unsigned op = number < COORD_EV_OPEN ? number : number + 1;
    return op < OPS ? op : COORD_EV_OPEN;
}

static void one_event(struct world *w, struct fuzz_input *in)
{
    unsigned op = op_of(fuzz_below(in, OPS));
    if (op == OP_CRASH) {
        uint8_t survivors = fuzz_byte(in);
        if (!w->chaos) {
            crash(w, survivors);
        }
        return;
    }
    uint8_t who = fuzz_byte(in);
    struct coord_event event = {.type = (enum coord_event_type)op,
                                .from = (uint8_t)(who % w->txn->branch_count),
                                .commit = (who & 1) != 0,
                                .participant = {{who >= 0xf0 ? 0xb0 : 0xa0}}};
    event.participant.bytes[1] = event.from;
    if (op >= COORD_EV_LOG_COMMIT) {
        if (!w->chaos) {
            return;
        }
        event.branches = fuzz_u64(in) & (who >= 0xf0 ? UINT64_MAX : all_of(w->txn));
    }
    bool of_force = op == COORD_EV_FORCED || op == COORD_EV_FORCE_FAILED;
    if (of_force && !w->chaos && !w->forcing) {
        return;
    }
    if (op == COORD_EV_FORCED && !w->chaos) {
        forced(w);
    }
    if (step(w, &event) && !w->chaos) {
        crash(w, who);
    }
}

static void deliver(struct world *w, enum coord_event_type type, unsigned from)
{
    struct coord_event event = {
        .type = type, .from = (uint8_t)from, .participant = w->txn->branches[from].participant};
    (void)step(w, &event);
}

/* Nothing fails any more. */
static void go_well(struct world *w)
{
    for (unsigned round = 0; round < 4 && !is_final(w->txn); round++) {
        enum coord_event_type type = COORD_EVENT_COUNT;
        switch ((enum coord_state)w->txn->state) {
        case COORD_NONE:
            type = COORD_EV_START;
            break;
        case COORD_ACTIVE:
        case COORD_PREPARING:
            type = COORD_EV_TIMEOUT;
            break;
        case COORD_LOGGING:
        case COORD_QUERYING:
            TPC_ASSERT(w->forcing);
            type = COORD_EV_FORCED;
            break;
        case COORD_ABORTING:
            type = COORD_EV_GRACE;
            break;
        case COORD_ASKING:
            type = COORD_EV_ACK_ABORTED;
            break;
        case COORD_COMMITTING:
            for (unsigned i = 0; i < w->txn->branch_count; i++) {
                deliver(w, COORD_EV_ACK_COMMITTED, i);
            }
            continue;
        case COORD_COMMITTED:
        case COORD_ABORTED:
        case COORD_STATE_COUNT:
            continue;
        }
        deliver(w, type, 0);
    }
    TPC_ASSERT(is_final(w->txn));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, data + size};
    static union txn storage;
    static struct world w;
    memset(&w, 0, sizeof w);
    w.txn = &storage.txn;
    unsigned branches = 1 + fuzz_below(&in, BRANCHES_MAX);
    uint8_t flags = fuzz_byte(&in);
    w.one_phase = (flags & 1) != 0;
    w.chaos = (flags & 2) != 0;
    coord_init(w.txn, w.one_phase ? 1 : branches, w.one_phase);
    while (fuzz_more(&in) && !w.gone) {
        one_event(&w, &in);
    }
    if (!w.gone) {
        go_well(&w);
    }
    return 0;
}
