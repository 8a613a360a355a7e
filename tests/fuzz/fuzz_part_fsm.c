/* Bytes as events of the participant's state machine. The first byte is the kind of world:
 *
 *   bit 0  chaos: any event in any order. Without: there are a database, a log and a coordinator
 *          that keeps its word, crashes lose what was not forced or committed, or do not, and
 *          recovery reads what is left, through the records as they are on disk.
 *   bit 1  one-phase
 *   bit 2  the coordinator decides commit, once it was told yes; else abort
 *   bit 3  operators decide by hand, and other programs write the database file
 *
 * At the end the world goes well, and the branch must end as was decided, everybody answered. */
#include "tests/fuzz/fuzz.h"

#include "participant/part_record.h"

enum { LOG_MAX = 64, OP_CRASH = PART_EVENT_COUNT, OPS };
enum job { NO_JOB, JOB_EXECUTE, JOB_PREPARE, JOB_COMMIT, JOB_ABORT, JOB_PROVE };

struct logged {
    enum wal_kind kind;
    enum part_outcome heuristic;
    bool durable;
};

struct world {
    struct part_branch now;
    bool chaos, one_phase, commit, meddled;
    bool may_meddle;
    enum job job;
    bool interactive, worked;               /* steps in any life; in this one, and not undone */
    bool in_database;                       /* the work is committed there, with its proof */
    bool step_waits, vote_waits, ack_waits; /* somebody waits for an answer */
    bool said_yes, said_no;                 /* in any life */
    bool force;                             /* the record below is being forced */
    struct logged forcing;
    struct logged log[LOG_MAX];
    unsigned log_count;
};

/* ---- The log ---- */

static bool prepared_is_durable(const struct world *w)
{
    bool found = false;
    for (unsigned i = 0; i < w->log_count; i++) {
        found |= w->log[i].kind == WAL_PART_PREPARED && w->log[i].durable;
    }
    return found;
}

/* A log that is full of repeats loses the later ones, which are lazy. */
static void append(struct world *w, struct logged entry)
{
    if (w->log_count < LOG_MAX) {
        w->log[w->log_count++] = entry;
    }
}

static void forced(struct world *w)
{
    for (unsigned i = 0; i < w->log_count; i++) {
        w->log[i].durable = true;
    }
    w->forcing.durable = true;
    append(w, w->forcing);
    w->force = false;
}

static void begin_force(struct world *w, enum wal_kind kind)
{
    TPC_ASSERT(!w->force || w->chaos);
    w->force = true;
    w->forcing = (struct logged){.kind = kind, .heuristic = (enum part_outcome)w->now.heuristic};
}

/* ---- What may be seen ---- */

static void start_job(struct world *w, enum job job)
{
    TPC_ASSERT(w->job == NO_JOB || w->chaos);
    w->job = job;
}

static void check_step(struct world *w, enum part_effect_type type)
{
    w->step_waits = false;
    TPC_ASSERT((type == PART_FX_RESULTS) == (w->now.state == PART_ACTIVE));
}

static bool is_vote(enum part_effect_type type)
{
    return type == PART_FX_VOTE_YES || type == PART_FX_VOTE_NO || type == PART_FX_VOTE_READ_ONLY ||
           type == PART_FX_VOTE_COMMITTED;
}

/* Nobody is told what is not, or may not stay so. */
static void check_answer(struct world *w, enum part_effect_type type)
{
    w->vote_waits &= !is_vote(type);
    w->ack_waits &= is_vote(type);
    if (w->chaos) {
        return;
    }
    bool prepared = w->in_database || prepared_is_durable(w) || w->meddled;
    bool committed = w->in_database || w->now.state == PART_READ_ONLY; /* nothing to commit */
    bool undone = !w->in_database || w->meddled;
    TPC_ASSERT(type != PART_FX_VOTE_YES || prepared);
    TPC_ASSERT(type != PART_FX_VOTE_COMMITTED || w->in_database);
    TPC_ASSERT(type != PART_FX_ACK_COMMITTED || committed);
    TPC_ASSERT(type != PART_FX_VOTE_NO || undone);
    TPC_ASSERT((type != PART_FX_ACK_ABORTED && type != PART_FX_ACK_UNKNOWN) || undone);
    w->said_yes |= type == PART_FX_VOTE_YES;
    w->said_no |= type == PART_FX_VOTE_NO && w->one_phase;
}

static void carry_out(struct world *w, enum part_effect_type type)
{
    TPC_ASSERT(type < PART_EFFECT_COUNT);
    switch (type) {
    case PART_FX_DB_EXECUTE:
        start_job(w, JOB_EXECUTE);
        w->interactive = true;
        break;
    case PART_FX_RESULTS:
    case PART_FX_NO_RESULTS:
        check_step(w, type);
        break;
    case PART_FX_DB_PREPARE:
        start_job(w, JOB_PREPARE);
        break;
    case PART_FX_DB_COMMIT:
        start_job(w, JOB_COMMIT);
        break;
    case PART_FX_DB_ABORT:
        start_job(w, JOB_ABORT);
        break;
    case PART_FX_DB_PROVE:
        start_job(w, JOB_PROVE);
        break;
    case PART_FX_FORCE_PREPARED:
        begin_force(w, WAL_PART_PREPARED);
        break;
    case PART_FX_FORCE_ABORTED:
        begin_force(w, WAL_PART_ABORTED);
        break;
    case PART_FX_FORCE_HEURISTIC:
        begin_force(w, WAL_PART_HEURISTIC);
        break;
    case PART_FX_FORCE_TOLD:
        begin_force(w, WAL_PART_COMMITTED);
        break;
    case PART_FX_FORCE_FORGOTTEN:
        begin_force(w, WAL_PART_FORGOTTEN);
        break;
    case PART_FX_LOG_PREPARED:
        append(w, (struct logged){.kind = WAL_PART_PREPARED});
        break;
    case PART_FX_LOG_COMMITTED:
        append(w, (struct logged){.kind = WAL_PART_COMMITTED});
        break;
    case PART_FX_LOG_ABORTED:
        append(w, (struct logged){.kind = WAL_PART_ABORTED});
        break;
    case PART_FX_VOTE_YES:
    case PART_FX_VOTE_NO:
    case PART_FX_VOTE_READ_ONLY:
    case PART_FX_VOTE_COMMITTED:
    case PART_FX_ACK_COMMITTED:
    case PART_FX_ACK_ABORTED:
    case PART_FX_ACK_UNKNOWN:
        check_answer(w, type);
        break;
    case PART_FX_ENDED:
        TPC_ASSERT(w->now.state == PART_COMMITTED || w->now.state == PART_ABORTED ||
                   w->now.state == PART_READ_ONLY);
        break;
    case PART_FX_DB_CANCEL:
    case PART_FX_ASK:
    case PART_FX_ARM_TIMER:
    case PART_FX_CANCEL_TIMER:
    case PART_FX_OPERATOR_DONE:
    case PART_FX_HALT:
    case PART_EFFECT_COUNT:
        break;
    }
}

static void check_move(const struct part_branch *before, const struct part_branch *now,
                       const struct part_event *event)
{
    TPC_ASSERT((part_allowed(before->state, event->type) & TPC_BIT(now->state)) != 0);
    if (now->state == PART_NONE) {
        return; /* nothing is known any more */
    }
    /* What was told stays, unless the database has proof of a commit (an abort of an unknown branch
     * is also how a coordinator asks about it); and so does an outcome by hand, unless it cannot be
     * carried out. */
    TPC_ASSERT(before->told == PART_NO_OUTCOME || now->told == before->told ||
               (before->state == PART_PROVING && event->type == PART_EV_DB_PROOF));
    TPC_ASSERT(before->heuristic == PART_NO_OUTCOME || now->heuristic == before->heuristic ||
               event->type == PART_EV_DB_CONFLICT || event->type == PART_EV_LOG_HEUR_ABORT ||
               (before->state == PART_HEUR_ABORTING &&
                (event->type == PART_EV_DB_PROOF || event->type == PART_EV_LOG_HEUR_COMMIT)));
    TPC_ASSERT(!before->voted_yes || now->voted_yes);
    /* Yes is said when it is durable. */
    TPC_ASSERT(before->voted_yes || !now->voted_yes || event->type == PART_EV_LOG_PREPARED ||
               (before->state == PART_LOGGING && event->type == PART_EV_FORCED) ||
               (before->state == PART_ABORTING && event->type == PART_EV_DB_PROOF) ||
               (before->state == PART_EXECUTING && event->type == PART_EV_DB_READY && event->held));
}

/* Returns whether the daemon halts. */
static bool step(struct world *w, struct part_event event)
{
    struct part_branch before = w->now;
    struct part_effects effects, untouched;
    memset(&untouched, 0x5a, sizeof untouched);
    effects = untouched;
    if (part_step(&w->now, &event, &effects) != TPC_OK) {
        TPC_ASSERT(memcmp(&before, &w->now, sizeof before) == 0);
        TPC_ASSERT(memcmp(&effects, &untouched, sizeof effects) == 0);
        return false;
    }
    TPC_ASSERT(effects.count <= PART_EFFECTS_MAX);
    check_move(&before, &w->now, &event);
    w->step_waits |= event.type == PART_EV_EXECUTE;
    w->vote_waits |= event.type == PART_EV_PREPARE;
    w->ack_waits |= event.type == PART_EV_COMMIT || event.type == PART_EV_ABORT;
    bool halt = false;
    for (unsigned i = 0; i < effects.count; i++) {
        halt |= effects.items[i] == PART_FX_HALT;
        carry_out(w, effects.items[i]);
    }
    TPC_ASSERT(!halt || event.type == PART_EV_FORCE_FAILED);
    return halt;
}

/* ---- Crash and recovery ---- */

static void fold(struct world *w, const struct logged *entry)
{
    const struct part_record written = {.gtid = {{1}}, .heuristic = entry->heuristic};
    struct tpc_buf bytes = {0};
    struct wal_record log_record;
    struct part_record record;
    TPC_ASSERT(part_record_write(&bytes, entry->kind, &written) == TPC_OK);
    TPC_ASSERT(wal_record_decode(bytes.data, bytes.size, &log_record, NULL) == TPC_OK);
    TPC_ASSERT(part_record_read(&log_record, &record, NULL) == TPC_OK);
    TPC_ASSERT(part_recover_fold(&w->now, entry->kind, &record, NULL) == TPC_OK);
    tpc_buf_done(&bytes);
}

/* Steps that nobody knows any more cannot be prepared. */
static bool is_work_lost(const struct world *w)
{
    return w->interactive && !w->worked;
}

/* The database commits in one step: when we crash meanwhile it is done, or it is not. */
static void crash_database(struct world *w, bool done)
{
    if (done &&
        (w->job == JOB_COMMIT || (w->job == JOB_PREPARE && w->one_phase && !is_work_lost(w)))) {
        TPC_ASSERT(!w->said_no);
        w->in_database = true;
    }
    w->job = NO_JOB;
    w->worked = false;
}

/* Bit 0 of @survivors: the database was done; bit 1: the record being forced is there; the others:
 * the lazy ones, up to the first that is lost. */
static void crash(struct world *w, uint8_t survivors)
{
    unsigned kept = 0;
    crash_database(w, (survivors & 1) != 0);
    uint8_t lazy = survivors >> 2;
    while (kept < w->log_count && (w->log[kept].durable || (lazy & 1) != 0)) {
        lazy = w->log[kept].durable ? lazy : lazy >> 1;
        kept++;
    }
    bool whole = kept == w->log_count;
    w->log_count = kept;
    if (w->force && whole && (survivors & 2) != 0) {
        append(w, w->forcing);
    }
    w->force = w->step_waits = w->vote_waits = w->ack_waits = false;
    memset(&w->now, 0, sizeof w->now);
    for (unsigned i = 0; i < w->log_count; i++) {
        w->log[i].durable = true;
        fold(w, &w->log[i]);
    }
    if (w->in_database && (w->now.state == PART_PREPARED || w->now.state == PART_HEUR_COMMITTING)) {
        TPC_ASSERT(!step(w, (struct part_event){.type = PART_EV_DB_PROOF}));
    }
    if (w->log_count > 0) {
        TPC_ASSERT(!step(w, (struct part_event){.type = PART_EV_RESTARTED}));
    }
}

/* ---- The world that keeps its word ---- */

static bool can_answer(const struct world *w, enum part_event_type type)
{
    bool one_phase = w->now.one_phase;
    if (w->job == JOB_PREPARE && is_work_lost(w) && !w->in_database) {
        return type == PART_EV_DB_REFUSED;
    }
    switch (w->job) {
    case JOB_EXECUTE:
        return w->in_database ? type == PART_EV_DB_PROOF
                              : type == PART_EV_DB_REFUSED || type == PART_EV_DB_EXECUTED;
    case JOB_PREPARE:
        return w->in_database
                   ? type == PART_EV_DB_PROOF || (type == PART_EV_DB_REFUSED && one_phase)
                   : type == PART_EV_DB_REFUSED || type == PART_EV_DB_READ_ONLY ||
                         type == (one_phase ? PART_EV_DB_COMMITTED : PART_EV_DB_READY);
    case JOB_COMMIT:
        return type == PART_EV_DB_COMMITTED || type == PART_EV_DB_RETRY ||
               (type == PART_EV_DB_CONFLICT && w->may_meddle && !w->in_database);
    case JOB_ABORT:
        return type == PART_EV_DB_RETRY || (type == PART_EV_DB_ABORTED && !w->in_database) ||
               (type == PART_EV_DB_PROOF && (w->in_database || (w->may_meddle && w->now.logged)));
    case JOB_PROVE:
        return type == PART_EV_DB_RETRY ||
               type == (w->in_database ? PART_EV_DB_PROOF : PART_EV_DB_NO_PROOF);
    case NO_JOB:
        break;
    }
    return false;
}

static bool can_happen(const struct world *w, enum part_event_type type)
{
    bool decided_commit = w->commit && w->said_yes;
    switch (type) {
    case PART_EV_PREPARE: /* not while the results of a step are waited for */
        return w->now.state != PART_WORKING;
    case PART_EV_EXECUTE:
    case PART_EV_TIMER:
    case PART_EV_TOLD_UNDECIDED:
        return true;
    case PART_EV_COMMIT:
    case PART_EV_TOLD_COMMIT:
        return decided_commit && !w->one_phase;
    case PART_EV_ABORT: /* in one phase it is how the outcome is asked for */
        return w->one_phase || !w->commit;
    case PART_EV_TOLD_ABORT:
        return !w->one_phase && !w->commit;
    case PART_EV_FORCED:
    case PART_EV_FORCE_FAILED:
        return w->force;
    case PART_EV_OPERATOR_COMMIT:
    case PART_EV_OPERATOR_ABORT:
    case PART_EV_FORGET:
        return w->may_meddle;
    case PART_EV_LOG_PREPARED:
    case PART_EV_LOG_COMMITTED:
    case PART_EV_LOG_ABORTED:
    case PART_EV_LOG_HEUR_COMMIT:
    case PART_EV_LOG_HEUR_ABORT:
    case PART_EV_LOG_FORGOTTEN:
    case PART_EV_RESTARTED:
    case PART_EVENT_COUNT:
        return false;
    case PART_EV_DB_EXECUTED:
    case PART_EV_DB_READY:
    case PART_EV_DB_READ_ONLY:
    case PART_EV_DB_REFUSED:
    case PART_EV_DB_COMMITTED:
    case PART_EV_DB_RETRY:
    case PART_EV_DB_CONFLICT:
    case PART_EV_DB_ABORTED:
    case PART_EV_DB_PROOF:
    case PART_EV_DB_NO_PROOF:
        return can_answer(w, type);
    }
    return false;
}

/* What becomes true by the event itself. */
static void happen(struct world *w, enum part_event_type type)
{
    if (type == PART_EV_DB_PROOF && w->job == JOB_ABORT) {
        w->in_database = w->meddled = true; /* by somebody else */
    }
    if (type >= PART_EV_DB_EXECUTED && type <= PART_EV_DB_NO_PROOF) {
        w->job = NO_JOB;
    }
    if (type == PART_EV_DB_COMMITTED) {
        TPC_ASSERT(!w->said_no); /* what was refused in one phase is not done later */
        TPC_ASSERT(w->one_phase || w->commit || w->meddled);
        w->in_database = true;
    }
    w->worked = type == PART_EV_DB_EXECUTED ||
                (w->worked && type != PART_EV_DB_REFUSED && type != PART_EV_DB_ABORTED);
    if (type == PART_EV_FORCED) {
        forced(w);
    }
    w->force &= type != PART_EV_FORCE_FAILED;
    w->meddled |= type == PART_EV_OPERATOR_COMMIT || type == PART_EV_OPERATOR_ABORT ||
                  type == PART_EV_DB_CONFLICT;
}

/* The events of interactive branches came last: what older inputs mean stays as it was. */
static unsigned op_of(unsigned number)
{
    static const unsigned last[] = {OP_CRASH, PART_EV_EXECUTE, PART_EV_DB_EXECUTED};
    unsigned op = 0;
    for (; op < PART_EVENT_COUNT; op++) {
        bool is_new = op == PART_EV_EXECUTE || op == PART_EV_DB_EXECUTED;
        if (!is_new && number-- == 0) {
            return op;
        }
    }
    return last[number];
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
    struct part_event event = {.type = (enum part_event_type)op, .one_phase = w->one_phase};
    if (w->chaos) {
        uint8_t bits = fuzz_byte(in);
        event.one_phase = (bits & 1) != 0;
        event.held = (bits & 2) != 0;
        (void)step(w, event);
        return;
    }
    if (!can_happen(w, event.type)) {
        return;
    }
    bool failed = event.type == PART_EV_FORCE_FAILED;
    struct logged forcing = w->forcing;
    happen(w, event.type);
    if (step(w, event)) {
        /* Nobody knows whether it is there. */
        TPC_ASSERT(failed);
        w->force = true;
        w->forcing = forcing;
        crash(w, fuzz_byte(in));
    }
}

/* ---- Nothing fails any more ---- */

static enum part_event_type good_news(const struct world *w)
{
    if (w->force) {
        return PART_EV_FORCED;
    }
    switch (w->job) {
    case JOB_EXECUTE:
        return w->in_database ? PART_EV_DB_PROOF : PART_EV_DB_EXECUTED;
    case JOB_PREPARE:
        return w->in_database     ? PART_EV_DB_PROOF
               : is_work_lost(w)  ? PART_EV_DB_REFUSED
               : w->now.one_phase ? PART_EV_DB_COMMITTED
                                  : PART_EV_DB_READY;
    case JOB_COMMIT:
        return PART_EV_DB_COMMITTED;
    case JOB_ABORT:
        return w->in_database ? PART_EV_DB_PROOF : PART_EV_DB_ABORTED;
    case JOB_PROVE:
        return w->in_database ? PART_EV_DB_PROOF : PART_EV_DB_NO_PROOF;
    case NO_JOB:
        break;
    }
    if (w->now.state == PART_PREPARED) {
        return w->commit ? PART_EV_TOLD_COMMIT : PART_EV_TOLD_ABORT;
    }
    return PART_EV_TIMER;
}

static void go_well(struct world *w)
{
    for (unsigned i = 0; i < 16; i++) {
        enum part_event_type type = good_news(w);
        happen(w, type);
        TPC_ASSERT(!step(w, (struct part_event){.type = type, .one_phase = w->one_phase}));
    }
    TPC_ASSERT(w->job == NO_JOB && !w->force && !w->step_waits && !w->vote_waits && !w->ack_waits);
    TPC_ASSERT(!part_in_doubt(&w->now));
    if (w->said_yes && !w->meddled && !w->one_phase) {
        TPC_ASSERT(w->in_database == w->commit);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, data + size};
    struct world w = {.log_count = 0};
    uint8_t flags = fuzz_byte(&in);
    w.chaos = (flags & 1) != 0;
    w.one_phase = (flags & 2) != 0;
    w.commit = (flags & 4) != 0;
    w.may_meddle = (flags & 8) != 0;
    while (fuzz_more(&in)) {
        one_event(&w, &in);
    }
    if (!w.chaos) {
        go_well(&w);
    }
    return 0;
}
