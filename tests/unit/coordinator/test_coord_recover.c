#include "tests/unit/coordinator/coord_world.h"

#include "coordinator/coord_record.h"

static union world_txn world;

static struct coord_record a_record(unsigned branches, bool one_phase, bool commit)
{
    static const char *const names[] = {"east", "west", "north", "south"};
    struct coord_record record = {.gtid = {{1}},
                                  .id = {{1}},
                                  .commit = commit,
                                  .attempts = 1,
                                  .one_phase = one_phase,
                                  .branch_count = branches};
    for (unsigned i = 0; i < branches; i++) {
        record.branches[i] =
            (struct coord_record_branch){.name = names[i],
                                         .name_size = strlen(names[i]),
                                         .participant = world_log(i),
                                         .vote = one_phase ? COORD_VOTE_NONE : COORD_VOTE_YES};
    }
    return record;
}

/* Through its bytes, as from a log. */
static enum tpc_rc fold(enum wal_kind kind, const struct coord_record *record)
{
    struct tpc_buf bytes = {0};
    struct wal_record log_record;
    struct coord_record read;
    struct tpc_err err = {0};
    const union world_txn before = world;
    assert_int_equal(coord_record_write(&bytes, kind, record), TPC_OK);
    assert_int_equal(wal_record_decode(bytes.data, bytes.size, &log_record, NULL), TPC_OK);
    assert_int_equal(coord_record_read(&log_record, &read, &err), TPC_OK);
    enum tpc_rc rc = coord_recover_fold(&world.txn, kind, &read, &err);
    if (rc != TPC_OK) {
        assert_int_equal(rc, TPC_ECORRUPT);
        assert_memory_equal(&world, &before, sizeof world);
        assert_non_null(strstr(err.text, "01000000-0000"));
    }
    tpc_buf_done(&bytes);
    return rc;
}

static void begin(unsigned branches, bool one_phase)
{
    memset(&world, 0, sizeof world);
    coord_init(&world.txn, branches, one_phase);
}

static void test_coord_recover__commit_record_without_end_is_told(void **state)
{
    (void)state;
    begin(3, false);
    struct coord_record record = a_record(3, false, true);
    record.branches[1].vote = COORD_VOTE_READ_ONLY;
    assert_int_equal(fold(WAL_COORD_COMMIT, &record), TPC_OK);
    assert_int_equal(world.txn.branches[1].vote, COORD_VOTE_READ_ONLY);
    struct coord_event event = {.type = COORD_EV_RESTARTED};
    world_step(&world, &event, COORD_COMMITTING, "SEND_COMMIT:02");
    /* Who voted is known again: an answer of another log is seen. */
    event = world_other_event(COORD_EV_ACK_COMMITTED, 0);
    world_step(&world, &event, COORD_COMMITTING, "SHOW_HAZARD:0");
}

static void test_coord_recover__ended_commit_is_what_it_was(void **state)
{
    (void)state;
    union world_txn alive;
    memset(&alive, 0, sizeof alive);
    coord_init(&alive.txn, 2, false);
    static const enum coord_event_type life[] = {COORD_EV_START,         COORD_EV_VOTE_YES,
                                                 COORD_EV_VOTE_YES,      COORD_EV_FORCED,
                                                 COORD_EV_ACK_COMMITTED, COORD_EV_ACK_UNKNOWN};
    struct coord_effects out;
    for (unsigned i = 0; i < sizeof life / sizeof life[0]; i++) {
        struct coord_event event = world_event(life[i], i % 2);
        assert_int_equal(coord_step(&alive.txn, &event, &out), TPC_OK);
    }
    begin(2, false);
    struct coord_record record = a_record(2, false, true);
    assert_int_equal(fold(WAL_COORD_COMMIT, &record), TPC_OK);
    record.branches[1].end = COORD_END_UNKNOWN;
    assert_int_equal(fold(WAL_COORD_END, &record), TPC_OK);
    assert_memory_equal(&world, &alive, sizeof world);

    /* The same from the end record alone. */
    begin(2, false);
    assert_int_equal(fold(WAL_COORD_END, &record), TPC_OK);
    assert_memory_equal(&world, &alive, sizeof world);
}

static void test_coord_recover__end_record_may_leave_out_the_branches(void **state)
{
    (void)state;
    begin(2, false);
    struct coord_record record = a_record(2, false, true);
    assert_int_equal(fold(WAL_COORD_COMMIT, &record), TPC_OK);
    record.branch_count = 0;
    assert_int_equal(fold(WAL_COORD_END, &record), TPC_OK);
    assert_int_equal(world.txn.state, COORD_COMMITTED);
    assert_int_equal(world.txn.branches[1].end, COORD_END_COMMITTED);
    assert_int_equal(world.txn.hazards, 0);

    begin(0, false);
    record.commit = false;
    assert_int_equal(fold(WAL_COORD_END, &record), TPC_OK);
    assert_int_equal(world.txn.state, COORD_ABORTED);
}

static void test_coord_recover__last_end_record_tells_the_hazards(void **state)
{
    (void)state;
    for (unsigned commit = 0; commit < 2; commit++) {
        begin(2, false);
        struct coord_record record = a_record(2, false, commit != 0);
        record.branches[1].end = COORD_END_UNKNOWN;
        assert_int_equal(fold(WAL_COORD_END, &record), TPC_OK);
        record.branches[0].end = COORD_END_OTHER;
        assert_int_equal(fold(WAL_COORD_END, &record), TPC_OK);
        assert_int_equal(world.txn.hazards, 3);
        assert_int_equal(coord_forgotten(&world.txn), 0);
        record.branches[0].end = record.branches[1].end = COORD_END_NONE;
        assert_int_equal(fold(WAL_COORD_END, &record), TPC_OK);
        assert_int_equal(world.txn.hazards, 0);
        /* After an abort UNKNOWN is no hazard, but one that was not heard from. */
        assert_int_equal(coord_forgotten(&world.txn), commit ? 3 : 1);
        assert_int_equal(coord_outcome(&world.txn), commit ? COORD_COMMIT : COORD_ABORT);
        assert_int_equal(world.txn.branches[0].end, COORD_END_OTHER); /* what happened stays */
        record.commit = !record.commit;
        assert_int_equal(fold(WAL_COORD_END, &record), TPC_ECORRUPT);
    }
}

static void test_coord_recover__pending_record_is_asked_about(void **state)
{
    (void)state;
    begin(1, true);
    struct coord_record record = a_record(1, true, false);
    assert_int_equal(fold(WAL_COORD_PENDING, &record), TPC_OK);
    assert_int_equal(coord_outcome(&world.txn), COORD_UNDECIDED);
    const union world_txn pending = world;
    struct coord_event event = {.type = COORD_EV_RESTARTED};
    world_step(&world, &event, COORD_ASKING, "SEND_ABORT:0");

    static const bool outcomes[] = {true, false};
    for (unsigned i = 0; i < 2; i++) {
        world = pending;
        record.commit = outcomes[i];
        assert_int_equal(fold(WAL_COORD_END, &record), TPC_OK);
        assert_int_equal(coord_outcome(&world.txn), outcomes[i] ? COORD_COMMIT : COORD_ABORT);
        assert_int_equal(world.txn.branches[0].end,
                         outcomes[i] ? COORD_END_COMMITTED : COORD_END_ABORTED);
    }
}

static void test_coord_recover__one_phase_commit_needs_its_end_alone(void **state)
{
    (void)state;
    begin(1, true);
    struct coord_record record = a_record(1, true, true);
    record.branches[0].vote = COORD_VOTE_READ_ONLY;
    assert_int_equal(fold(WAL_COORD_END, &record), TPC_OK);
    assert_int_equal(world.txn.state, COORD_COMMITTED);
    assert_int_equal(world.txn.branches[0].vote, COORD_VOTE_READ_ONLY);
    assert_int_equal(world.txn.branches[0].end, COORD_END_NONE);

    begin(1, true);
    world.txn.branches[0].vote = COORD_VOTE_COMMITTED; /* known before the fold, or by it */
    record.branches[0].vote = COORD_VOTE_COMMITTED;
    assert_int_equal(fold(WAL_COORD_END, &record), TPC_OK);
    assert_int_equal(world.txn.branches[0].end, COORD_END_COMMITTED);
}

static void test_coord_recover__hazards_of_an_abort_add_up(void **state)
{
    (void)state;
    begin(2, false);
    struct coord_record record = a_record(2, false, false);
    record.branches[0].end = COORD_END_COMMITTED;
    assert_int_equal(fold(WAL_COORD_END, &record), TPC_OK);
    assert_int_equal(world.txn.hazards, 1);
    record.branches[1].end = COORD_END_COMMITTED;
    assert_int_equal(fold(WAL_COORD_END, &record), TPC_OK);
    assert_int_equal(world.txn.hazards, 3);
    assert_int_equal(world.txn.branches[1].end, COORD_END_COMMITTED);
}

/* Every pair of records that does not stand at the head of coord_recover.c. */
static void test_coord_recover__impossible_order_is_damage(void **state)
{
    (void)state;
    struct coord_record commit = a_record(2, false, true), abort = a_record(2, false, false);
    struct coord_record pending = a_record(1, true, false), ended = a_record(1, true, true);
    const struct {
        enum wal_kind first, second;
        const struct coord_record *record, *then;
    } rows[] = {
        {WAL_COORD_COMMIT, WAL_COORD_COMMIT, &commit, &commit},
        {WAL_COORD_COMMIT, WAL_COORD_END, &commit, &abort},
        {WAL_COORD_END, WAL_COORD_COMMIT, &commit, &commit},
        {WAL_COORD_END, WAL_COORD_COMMIT, &abort, &commit},
        {WAL_COORD_END, WAL_COORD_END, &commit, &abort},
        {WAL_COORD_END, WAL_COORD_END, &abort, &commit},
        {WAL_COORD_PENDING, WAL_COORD_PENDING, &pending, &pending},
        {WAL_COORD_END, WAL_COORD_PENDING, &ended, &pending},
        {WAL_COORD_COMMIT, WAL_COORD_PENDING, &commit, &pending},
        {WAL_COORD_PENDING, WAL_COORD_COMMIT, &pending, &commit},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        begin(rows[i].record->branch_count, rows[i].record->one_phase);
        assert_int_equal(fold(rows[i].first, rows[i].record), TPC_OK);
        if (fold(rows[i].second, rows[i].then) != TPC_ECORRUPT) {
            fail_msg("row %u was taken", i);
        }
    }
}

static void test_coord_recover__records_must_name_the_same_branches(void **state)
{
    (void)state;
    begin(2, false);
    struct coord_record record = a_record(2, false, true);
    assert_int_equal(fold(WAL_COORD_COMMIT, &record), TPC_OK);
    record.branch_count = 1;
    assert_int_equal(fold(WAL_COORD_END, &record), TPC_ECORRUPT);
    record.one_phase = true;
    assert_int_equal(fold(WAL_COORD_END, &record), TPC_ECORRUPT);
}

static void test_coord_recover__commit_of_readers_alone_is_damage(void **state)
{
    (void)state;
    begin(1, false);
    struct coord_record record = a_record(1, false, true);
    record.branches[0].vote = COORD_VOTE_READ_ONLY;
    assert_int_equal(fold(WAL_COORD_COMMIT, &record), TPC_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_coord_recover__commit_record_without_end_is_told),
        cmocka_unit_test(test_coord_recover__ended_commit_is_what_it_was),
        cmocka_unit_test(test_coord_recover__end_record_may_leave_out_the_branches),
        cmocka_unit_test(test_coord_recover__last_end_record_tells_the_hazards),
        cmocka_unit_test(test_coord_recover__pending_record_is_asked_about),
        cmocka_unit_test(test_coord_recover__one_phase_commit_needs_its_end_alone),
        cmocka_unit_test(test_coord_recover__hazards_of_an_abort_add_up),
        cmocka_unit_test(test_coord_recover__impossible_order_is_damage),
        cmocka_unit_test(test_coord_recover__records_must_name_the_same_branches),
        cmocka_unit_test(test_coord_recover__commit_of_readers_alone_is_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
