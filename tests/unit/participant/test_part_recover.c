#include "participant/part_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void fold(struct part_branch *branch, enum wal_kind kind, enum part_outcome heuristic,
                 enum part_state state)
{
    struct part_record record = {.heuristic = heuristic};
    assert_int_equal(part_recover_fold(branch, kind, &record, NULL), TPC_OK);
    assert_string_equal(part_state_name(branch->state), part_state_name(state));
}

static void fold_refused(struct part_branch *branch, enum wal_kind kind)
{
    struct part_record record = {0};
    struct part_branch before = *branch;
    struct tpc_err err = {0};
    assert_int_equal(part_recover_fold(branch, kind, &record, &err), TPC_ECORRUPT);
    assert_memory_equal(branch, &before, sizeof(before));
    assert_non_null(strstr(err.text, part_state_name(before.state)));
}

static void test_part_recover_fold__branch_in_doubt_and_its_ends(void **state)
{
    (void)state;
    struct part_branch b = {0};
    fold(&b, WAL_PART_PREPARED, 0, PART_PREPARED);
    struct part_branch aborted = b;
    fold(&b, WAL_PART_COMMITTED, 0, PART_COMMITTED);
    fold(&b, WAL_PART_COMMITTED, 0, PART_COMMITTED);
    fold_refused(&b, WAL_PART_ABORTED);
    fold_refused(&b, WAL_PART_PREPARED);
    fold(&aborted, WAL_PART_ABORTED, 0, PART_ABORTED);
    fold_refused(&aborted, WAL_PART_COMMITTED);
    fold_refused(&aborted, WAL_PART_FORGOTTEN);
}

static void test_part_recover_fold__outcome_by_hand_until_forgotten(void **state)
{
    (void)state;
    struct part_branch b = {0};
    fold(&b, WAL_PART_PREPARED, 0, PART_PREPARED);
    fold(&b, WAL_PART_HEURISTIC, PART_COMMIT, PART_HEUR_COMMITTING);
    struct part_branch conflict = b;
    fold(&b, WAL_PART_FORGOTTEN, 0, PART_COMMITTED);
    fold(&conflict, WAL_PART_HEURISTIC, PART_ABORT, PART_HEUR_ABORTING);
    fold(&conflict, WAL_PART_FORGOTTEN, 0, PART_ABORTED);
}

static void test_part_recover_fold__what_was_decided_meanwhile(void **state)
{
    (void)state;
    struct part_branch b = {0}, aborted = {0};
    fold(&b, WAL_PART_PREPARED, 0, PART_PREPARED);
    fold(&b, WAL_PART_HEURISTIC, PART_COMMIT, PART_HEUR_COMMITTING);
    fold(&b, WAL_PART_COMMITTED, 0, PART_HEUR_COMMITTING);
    assert_int_equal(b.told, PART_COMMIT);
    fold(&b, WAL_PART_FORGOTTEN, 0, PART_COMMITTED);
    fold(&aborted, WAL_PART_PREPARED, 0, PART_PREPARED);
    fold(&aborted, WAL_PART_HEURISTIC, PART_ABORT, PART_HEUR_ABORTING);
    fold(&aborted, WAL_PART_COMMITTED, 0, PART_HEUR_ABORTING);
    assert_true(part_is_hazard(&aborted));
}

static void test_part_recover_fold__one_phase_leaves_only_its_end(void **state)
{
    (void)state;
    struct part_branch committed = {0}, aborted = {0}, none = {0};
    fold(&committed, WAL_PART_COMMITTED, 0, PART_COMMITTED);
    fold(&aborted, WAL_PART_ABORTED, 0, PART_ABORTED);
    assert_true(aborted.durable_abort);
    fold_refused(&none, WAL_PART_FORGOTTEN);
    fold_refused(&none, WAL_PART_HEURISTIC);
    fold_refused(&none, WAL_PART_COORDINATOR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_part_recover_fold__branch_in_doubt_and_its_ends),
        cmocka_unit_test(test_part_recover_fold__outcome_by_hand_until_forgotten),
        cmocka_unit_test(test_part_recover_fold__what_was_decided_meanwhile),
        cmocka_unit_test(test_part_recover_fold__one_phase_leaves_only_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
