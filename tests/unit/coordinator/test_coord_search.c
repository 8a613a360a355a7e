/* Every state that any order of events whatever can lead to: two branches with two-phase commit,
 * one with one-phase, each from nothing and from each record of the log. The search ends by itself,
 * since a transaction that was seen before is not looked at again. */
#include "tests/unit/coordinator/coord_world.h"

#include "base/tpc_assert.h"

#include <stdlib.h>
#include <uthash.h>

/* A transaction and what has been let out of it. */
struct seen {
    uint8_t bytes[sizeof(union world_txn)];
    uint8_t durable; /* the commit record is in the log */
    uint8_t told;    /* enum coord_outcome */
    uint8_t sent_commit, sent_abort, ended;
};

struct node {
    struct seen seen;
    struct node *next;
    UT_hash_handle hh;
};

struct search {
    struct node *known, *queue, **tail;
    unsigned count;
    uint32_t reached[COORD_STATE_COUNT][COORD_EVENT_COUNT]; /* as coord_allowed, but seen */
};

static void remember(struct search *search, const struct seen *seen)
{
    struct node *node;
    HASH_FIND(hh, search->known, seen, sizeof *seen, node);
    if (node == NULL) {
        node = calloc(1, sizeof *node);
        assert_non_null(node);
        memcpy(&node->seen, seen, sizeof *seen);
        HASH_ADD(hh, search->known, seen, sizeof node->seen, node);
        *search->tail = node;
        search->tail = &node->next;
        search->count++;
    }
}

static void check_effect(struct seen *now, const struct coord_txn *txn,
                         const struct coord_effect *effect)
{
    switch (effect->type) {
    case COORD_FX_SEND_COMMIT:
        assert_true(now->durable);
        assert_int_equal(coord_outcome(txn), COORD_COMMIT);
        now->sent_commit = true;
        break;
    case COORD_FX_SEND_ABORT:
        assert_int_not_equal(coord_outcome(txn), COORD_COMMIT);
        assert_true(txn->one_phase || coord_outcome(txn) == COORD_ABORT);
        now->sent_abort = true;
        break;
    case COORD_FX_TELL_DECIDED:
        assert_int_equal(now->told, COORD_UNDECIDED);
        now->told = (uint8_t)coord_outcome(txn);
        assert_int_not_equal(now->told, COORD_UNDECIDED);
        break;
    case COORD_FX_TELL_UNKNOWN:
        assert_int_equal(coord_outcome(txn), COORD_UNDECIDED);
        break;
    case COORD_FX_TELL_ENDED:
        assert_true(txn->state == COORD_COMMITTED || txn->state == COORD_ABORTED);
        assert_false(now->ended);
        now->ended = true;
        break;
    case COORD_FX_SHOW_HAZARD:
        assert_int_equal(effect->branches & ~txn->hazards, 0);
        break;
    case COORD_FX_RETRY_LATER:
        assert_true(txn->state == COORD_COMMITTING || txn->state == COORD_ASKING);
        break;
    case COORD_FX_SEND_PREPARE:
    case COORD_FX_FORCE_COMMIT:
    case COORD_FX_FORCE_PENDING:
    case COORD_FX_LOG_END:
    case COORD_FX_ARM_TIMEOUT:
    case COORD_FX_CANCEL_TIMEOUT:
    case COORD_FX_ARM_GRACE:
    case COORD_FX_HALT:
    case COORD_EFFECT_COUNT:
        break;
    }
}

static bool of_recovery(enum coord_event_type type)
{
    return type >= COORD_EV_LOG_COMMIT;
}

static bool of_branch(enum coord_event_type type)
{
    return (type >= COORD_EV_VOTE_YES && type <= COORD_EV_LOST) ||
           (type >= COORD_EV_ACK_COMMITTED && type <= COORD_EV_RETRY);
}

static void check_move(const struct coord_txn *before, const struct coord_txn *txn,
                       struct seen *now, const struct coord_event *event,
                       const struct coord_effects *effects)
{
    if ((before->state == COORD_LOGGING && event->type == COORD_EV_FORCED) ||
        event->type == COORD_EV_LOG_COMMIT) {
        now->durable = true;
    }
    for (unsigned i = 0; i < effects->count; i++) {
        check_effect(now, txn, &effects->items[i]);
    }
    if (of_recovery(event->type) && now->told == COORD_UNDECIDED) {
        now->told = (uint8_t)coord_outcome(txn);
    }
    /* What is told was announced, and stays; nobody hears both. */
    assert_int_equal(now->told, coord_outcome(txn));
    assert_false(now->sent_commit && now->sent_abort);
    /* A hazard stays until it is forgotten by name, which only the log can tell. */
    assert_true((before->hazards & ~txn->hazards) == 0 || event->type == COORD_EV_LOG_END);
    if (before->state == COORD_LOGGING) {
        assert_true(txn->state == COORD_LOGGING || txn->state == COORD_COMMITTING);
    }
    for (unsigned i = 0; i < txn->branch_count; i++) {
        const struct coord_branch *branch = &txn->branches[i];
        bool no_part = coord_outcome(txn) == COORD_COMMIT && branch->vote != COORD_VOTE_YES;
        if (!tpc_id_is_zero(&branch->participant)) { /* else only the record's event was read */
            assert_int_equal(coord_inquiry(txn, &branch->participant),
                             no_part ? COORD_ABORT : coord_outcome(txn));
        }
    }
}

static void step(struct search *search, const struct seen *before, const struct coord_event *event)
{
    struct seen now = *before;
    union world_txn was, is;
    memcpy(was.bytes, before->bytes, sizeof was);
    memcpy(is.bytes, before->bytes, sizeof is);
    struct coord_effects effects;
    memset(&effects, 0x5a, sizeof effects);
    struct coord_effects untouched = effects;
    if (coord_step(&is.txn, event, &effects) != TPC_OK) {
        assert_memory_equal(&is, &was, sizeof is);
        assert_memory_equal(&effects, &untouched, sizeof effects);
        return;
    }
    search->reached[was.txn.state][event->type] |= UINT32_C(1) << is.txn.state;
    check_move(&was.txn, &is.txn, &now, event, &effects);
    memcpy(now.bytes, is.bytes, sizeof is);
    remember(search, &now);
}

/* All that can be said by an event of one type. */
static void step_all(struct search *search, const struct seen *before, enum coord_event_type type)
{
    union world_txn world;
    memcpy(world.bytes, before->bytes, sizeof world);
    unsigned count = world.txn.branch_count;
    if (count == 0) { /* interactive, and nothing was done yet */
        struct coord_event event = {.type = type};
        if (!of_branch(type) && !of_recovery(type) &&
            !(type == COORD_EV_START && world.txn.state == COORD_NONE)) {
            step(search, before, &event);
        }
        return;
    }
    for (unsigned from = 0; from < count; from++) {
        for (unsigned variant = 0; variant < 4; variant++) {
            for (uint64_t branches = 0; branches < TPC_BIT(count) + 1; branches++) {
                struct coord_event event = world_event(type, from);
                event.participant = variant & 1 ? world_other_log(from) : world_log(from);
                event.commit = (variant & 2) != 0;
                event.branches = branches;
                step(search, before, &event);
                if (!of_recovery(type)) {
                    break;
                }
            }
            if (type == COORD_EV_START || (!of_recovery(type) && variant == 1)) {
                break;
            }
        }
    }
}

static void search_from(struct search *search, unsigned branch_count, bool one_phase, bool preset)
{
    union world_txn world = {.bytes = {0}};
    coord_init(&world.txn, branch_count, one_phase);
    if (preset) {
        world.txn.branches[0].participant = world_log(0);
    }
    struct seen start = {0};
    memcpy(start.bytes, world.bytes, sizeof world);
    search->tail = &search->queue;
    remember(search, &start);
    for (struct node *node = search->queue; node != NULL; node = node->next) {
        for (unsigned type = 0; type < COORD_EVENT_COUNT; type++) {
            step_all(search, &node->seen, (enum coord_event_type)type);
        }
    }
    HASH_CLEAR(hh, search->known);
    while (search->queue != NULL) {
        struct node *node = search->queue;
        search->queue = node->next;
        free(node);
    }
}

static void test_coord_step__no_order_of_events_breaks_a_promise(void **state)
{
    (void)state;
    struct search search = {0};
    search_from(&search, 1, false, false);
    search_from(&search, 2, false, false);
    unsigned two_phase = search.count;
    search_from(&search, 0, false, false);
    assert_int_equal(search.count - two_phase, 4); /* none, active, committed, aborted */
    two_phase = search.count;
    search_from(&search, 1, true, false);
    search_from(&search, 1, true, true);
    print_message("%u states with two branches, %u with one phase\n", two_phase,
                  search.count - two_phase);
    assert_true(two_phase > 1000);

    /* All the while every row was used, and each of its ways: the table says what happens. */
    unsigned rows = 0;
    for (unsigned from = 0; from < COORD_STATE_COUNT; from++) {
        for (unsigned type = 0; type < COORD_EVENT_COUNT; type++) {
            uint32_t allowed = coord_allowed((enum coord_state)from, (enum coord_event_type)type);
            if (search.reached[from][type] != allowed) {
                fail_msg("%s %s: reached %x of %x", coord_state_name((enum coord_state)from),
                         coord_event_name((enum coord_event_type)type), search.reached[from][type],
                         allowed);
            }
            rows += allowed != 0;
        }
    }
    print_message("%u rows\n", rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_coord_step__no_order_of_events_breaks_a_promise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
