#include "tests/unit/base/unit.h"

#include "participant/sqlite_locks.h"

#include <string.h>

static struct tpc_id name_of(unsigned number)
{
    struct tpc_id id = {.bytes = {7}};
    id.bytes[15] = (uint8_t)number;
    return id;
}

static struct part_lock_owner owner_of(unsigned age)
{
    return (struct part_lock_owner){.gtid = name_of(age), .began_us = age};
}

static enum part_lock_answer ask(struct part_locks *locks, struct part_lock_owner *owner,
                                 unsigned name, uint8_t modes)
{
    struct part_lock lock = {.name = name_of(name), .modes = modes};
    enum part_lock_answer answer;
    assert_int_equal(part_locks_acquire(locks, owner, &lock, 1, &answer, NULL), TPC_OK);
    return answer;
}

static struct part_locks *make(void)
{
    struct part_locks *locks = NULL;
    assert_int_equal(part_locks_new(&locks), TPC_OK);
    return locks;
}

static void test_locks__modes_exclude_each_other_as_the_table_says(void **state)
{
    (void)state;
    static const uint8_t modes[] = {PART_LOCK_IS, PART_LOCK_IX, PART_LOCK_S, PART_LOCK_X};
    static const bool together[4][4] = {
        {true, true, true, false},
        {true, true, false, false},
        {true, false, true, false},
        {false, false, false, false},
    };
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < 4; j++) {
            struct part_locks *locks = make();
            struct part_lock_owner first = owner_of(1), second = owner_of(2);
            assert_int_equal(ask(locks, &first, 1, modes[i]), PART_LOCK_GRANTED);
            assert_int_equal(ask(locks, &second, 1, modes[j]),
                             together[i][j] ? PART_LOCK_GRANTED : PART_LOCK_DIE);
            part_locks_release(locks, &first);
            part_locks_release(locks, &second);
            part_locks_free(locks);
        }
    }
}

static enum part_lock_answer extend(struct part_locks *locks, struct part_lock_owner *owner,
                                    const struct part_lock *wanted, size_t count)
{
    enum part_lock_answer answer;
    assert_int_equal(part_locks_extend(locks, owner, wanted, count, &answer, NULL), TPC_OK);
    return answer;
}

static void test_locks__one_that_holds_asks_for_more(void **state)
{
    (void)state;
    const struct part_lock both[] = {{.name = name_of(1), .modes = PART_LOCK_S | PART_LOCK_X},
                                     {.name = name_of(2), .modes = PART_LOCK_X}};
    struct part_locks *locks = make();
    struct part_lock_owner first = owner_of(1), second = owner_of(2), third = owner_of(3);
    assert_int_equal(ask(locks, &first, 1, PART_LOCK_S), PART_LOCK_GRANTED);
    assert_int_equal(ask(locks, &second, 2, PART_LOCK_X), PART_LOCK_GRANTED);
    /* The older has to ask again, the younger to give up; both keep what they have. */
    assert_int_equal(extend(locks, &first, both, 2), PART_LOCK_WAIT);
    assert_int_equal(extend(locks, &second, both, 2), PART_LOCK_DIE);
    assert_int_equal(part_locks_held(locks), 2);
    assert_int_equal(ask(locks, &third, 1, PART_LOCK_X), PART_LOCK_DIE);
    part_locks_release(locks, &second);
    assert_int_equal(extend(locks, &first, both, 2), PART_LOCK_GRANTED);
    assert_int_equal(part_locks_held(locks), 2);
    assert_int_equal(ask(locks, &third, 1, PART_LOCK_IS), PART_LOCK_DIE);
    part_locks_release(locks, &first);
    assert_int_equal(ask(locks, &third, 1, PART_LOCK_X), PART_LOCK_GRANTED);
    part_locks_release(locks, &third);
    part_locks_free(locks);
}

static void test_locks__an_older_one_that_waits_takes_nothing_away(void **state)
{
    (void)state;
    const struct part_lock both[] = {{.name = name_of(1), .modes = PART_LOCK_S | PART_LOCK_X},
                                     {.name = name_of(2), .modes = PART_LOCK_S}};
    const struct part_lock more[] = {{.name = name_of(2), .modes = PART_LOCK_X}};
    struct part_locks *locks = make();
    struct part_lock_owner older = owner_of(1), old = owner_of(2), younger = owner_of(3);
    assert_int_equal(ask(locks, &younger, 1, PART_LOCK_X), PART_LOCK_GRANTED);
    assert_int_equal(ask(locks, &older, 1, PART_LOCK_X), PART_LOCK_WAIT);
    assert_int_equal(extend(locks, &younger, both, 1), PART_LOCK_GRANTED);
    assert_int_equal(extend(locks, &younger, both, 2), PART_LOCK_GRANTED);
    /* More than it has, while another waits for what it has: they would wait for each other. */
    assert_int_equal(ask(locks, &old, 2, PART_LOCK_X), PART_LOCK_WAIT);
    assert_int_equal(extend(locks, &younger, both, 2), PART_LOCK_GRANTED);
    assert_int_equal(extend(locks, &younger, more, 1), PART_LOCK_DIE);
    part_locks_release(locks, &younger);
    part_locks_release(locks, &old);
    part_locks_release(locks, &older);
    part_locks_free(locks);
}

static void test_locks__the_older_waits_and_the_younger_dies(void **state)
{
    (void)state;
    struct part_locks *locks = make();
    struct part_lock_owner holder = owner_of(5), older = owner_of(4), younger = owner_of(6);
    assert_int_equal(ask(locks, &holder, 1, PART_LOCK_X), PART_LOCK_GRANTED);
    assert_int_equal(ask(locks, &younger, 1, PART_LOCK_X), PART_LOCK_DIE);
    assert_int_equal(younger.state, PART_LOCK_IDLE);
    assert_int_equal(ask(locks, &older, 1, PART_LOCK_X), PART_LOCK_WAIT);
    uint64_t cursor = 0;
    assert_null(part_locks_next(locks, &cursor));
    part_locks_release(locks, &holder);
    assert_ptr_equal(part_locks_next(locks, &cursor), &older);
    assert_int_equal(ask(locks, &older, 1, PART_LOCK_X), PART_LOCK_GRANTED);
    assert_int_equal(part_locks_held(locks), 1);
    part_locks_release(locks, &older);
    assert_int_equal(part_locks_held(locks), 0);
    part_locks_free(locks);
}

static void test_locks__equal_age_is_decided_by_the_gtid(void **state)
{
    (void)state;
    struct part_locks *locks = make();
    struct part_lock_owner holder = owner_of(5), smaller = owner_of(4), larger = owner_of(6);
    smaller.began_us = larger.began_us = holder.began_us;
    assert_int_equal(ask(locks, &holder, 1, PART_LOCK_X), PART_LOCK_GRANTED);
    assert_int_equal(ask(locks, &larger, 1, PART_LOCK_X), PART_LOCK_DIE);
    assert_int_equal(ask(locks, &smaller, 1, PART_LOCK_X), PART_LOCK_WAIT);
    part_locks_release(locks, &holder);
    part_locks_release(locks, &smaller);
    part_locks_free(locks);
}

static void test_locks__all_or_nothing(void **state)
{
    (void)state;
    struct part_locks *locks = make();
    struct part_lock_owner holder = owner_of(1), second = owner_of(2), third = owner_of(3);
    assert_int_equal(ask(locks, &holder, 2, PART_LOCK_X), PART_LOCK_GRANTED);
    struct part_lock both[] = {{.name = name_of(1), .modes = PART_LOCK_X},
                               {.name = name_of(2), .modes = PART_LOCK_X}};
    enum part_lock_answer answer;
    const struct part_lock_owner *other = NULL;
    assert_int_equal(part_locks_acquire(locks, &second, both, 2, &answer, &other), TPC_OK);
    assert_int_equal(answer, PART_LOCK_DIE);
    assert_ptr_equal(other, &holder);
    assert_int_equal(ask(locks, &third, 1, PART_LOCK_X), PART_LOCK_GRANTED);
    part_locks_release(locks, &holder);
    part_locks_release(locks, &third);
    part_locks_free(locks);
}

/* Shared holders come and go; who wants it alone must get it some day. */
static void test_locks__arrivals_do_not_overtake_one_that_waits(void **state)
{
    (void)state;
    struct part_locks *locks = make();
    struct part_lock_owner reader = owner_of(5), writer = owner_of(4), late = owner_of(6),
                           oldest = owner_of(1);
    assert_int_equal(ask(locks, &reader, 1, PART_LOCK_S), PART_LOCK_GRANTED);
    assert_int_equal(ask(locks, &writer, 1, PART_LOCK_X), PART_LOCK_WAIT);
    assert_int_equal(ask(locks, &late, 1, PART_LOCK_S), PART_LOCK_DIE);
    assert_int_equal(ask(locks, &oldest, 1, PART_LOCK_S), PART_LOCK_GRANTED);
    part_locks_release(locks, &reader);
    part_locks_release(locks, &oldest);
    uint64_t cursor = 0;
    assert_ptr_equal(part_locks_next(locks, &cursor), &writer);
    assert_int_equal(ask(locks, &writer, 1, PART_LOCK_X), PART_LOCK_GRANTED);
    part_locks_release(locks, &writer);
    part_locks_free(locks);
}

static void test_locks__one_alone_waits_for_older_ones_in_order_of_arrival(void **state)
{
    (void)state;
    struct part_locks *locks = make();
    struct part_lock_owner holder = owner_of(1), first = owner_of(9), second = owner_of(8);
    first.alone = second.alone = true;
    assert_int_equal(ask(locks, &holder, 1, PART_LOCK_X), PART_LOCK_GRANTED);
    assert_int_equal(ask(locks, &first, 1, PART_LOCK_X), PART_LOCK_WAIT);
    assert_int_equal(ask(locks, &second, 1, PART_LOCK_X), PART_LOCK_WAIT);
    part_locks_release(locks, &holder);
    uint64_t cursor = 0;
    assert_ptr_equal(part_locks_next(locks, &cursor), &first);
    assert_int_equal(ask(locks, &first, 1, PART_LOCK_X), PART_LOCK_GRANTED);
    assert_null(part_locks_next(locks, &cursor));
    assert_ptr_equal(part_locks_queue(locks), &second);
    part_locks_release(locks, &first);
    part_locks_release(locks, &second);
    part_locks_free(locks);
}

/* Captured anew, it may meet somebody else; then it stands where it stood. */
static void test_locks__who_waits_again_keeps_its_place(void **state)
{
    (void)state;
    struct part_locks *locks = make();
    struct part_lock_owner a = owner_of(8), b = owner_of(9), first = owner_of(4),
                           second = owner_of(3);
    assert_int_equal(ask(locks, &a, 1, PART_LOCK_X), PART_LOCK_GRANTED);
    assert_int_equal(ask(locks, &b, 2, PART_LOCK_X), PART_LOCK_GRANTED);
    assert_int_equal(ask(locks, &first, 1, PART_LOCK_X), PART_LOCK_WAIT);
    assert_int_equal(ask(locks, &second, 2, PART_LOCK_X), PART_LOCK_WAIT);
    part_locks_release(locks, &a);
    uint64_t cursor = 0;
    assert_ptr_equal(part_locks_next(locks, &cursor), &first);
    assert_int_equal(ask(locks, &first, 2, PART_LOCK_X), PART_LOCK_WAIT);
    assert_ptr_equal(part_locks_queue(locks), &first);
    assert_ptr_equal(first.next, &second);
    part_locks_release(locks, &b);
    part_locks_release(locks, &first);
    part_locks_release(locks, &second);
    part_locks_free(locks);
}

/* At another participant the one that overtook may wait for the one that waits here: neither would
 * ever end. */
static void test_locks__who_comes_to_wait_for_an_older_one_dies(void **state)
{
    (void)state;
    struct part_locks *locks = make();
    struct part_lock_owner holder = owner_of(9), waiting = owner_of(5), oldest = owner_of(1),
                           alone = owner_of(7);
    struct part_lock both[] = {{.name = name_of(1), .modes = PART_LOCK_X},
                               {.name = name_of(2), .modes = PART_LOCK_X}};
    enum part_lock_answer answer;
    alone.alone = true;
    assert_int_equal(ask(locks, &holder, 1, PART_LOCK_X), PART_LOCK_GRANTED);
    assert_int_equal(part_locks_acquire(locks, &waiting, both, 2, &answer, NULL), TPC_OK);
    assert_int_equal(answer, PART_LOCK_WAIT);
    assert_int_equal(part_locks_acquire(locks, &alone, both, 2, &answer, NULL), TPC_OK);
    assert_int_equal(answer, PART_LOCK_WAIT);
    assert_false(part_locks_overtaken(locks));
    assert_int_equal(ask(locks, &oldest, 2, PART_LOCK_X), PART_LOCK_GRANTED);
    assert_true(part_locks_overtaken(locks));
    assert_false(part_locks_overtaken(locks));
    uint64_t cursor = 0;
    assert_ptr_equal(part_locks_next(locks, &cursor), &waiting);
    const struct part_lock_owner *other = NULL;
    assert_int_equal(part_locks_acquire(locks, &waiting, both, 2, &answer, &other), TPC_OK);
    assert_int_equal(answer, PART_LOCK_DIE);
    assert_ptr_equal(other, &oldest);
    assert_null(part_locks_next(locks, &cursor)); /* nobody waits for one that is alone */
    part_locks_release(locks, &holder);
    part_locks_release(locks, &oldest);
    assert_ptr_equal(part_locks_next(locks, &(uint64_t){0}), &alone);
    part_locks_free(locks);
}

static void test_locks__join_unites_the_modes_of_one_name(void **state)
{
    (void)state;
    struct part_lock list[] = {{.name = name_of(2), .modes = PART_LOCK_S},
                               {.name = name_of(1), .modes = PART_LOCK_X},
                               {.name = name_of(2), .modes = PART_LOCK_IX}};
    assert_int_equal(part_lock_join(list, 3), 2);
    assert_int_equal(list[0].modes, PART_LOCK_X);
    assert_int_equal(list[1].modes, PART_LOCK_S | PART_LOCK_IX);
    assert_int_equal(part_lock_join(list, 0), 0);
}

static bool waits_for_older(const struct part_lock_owner *a, const struct part_lock_owner *b,
                            uint8_t a_modes, uint8_t b_modes)
{
    bool older = b->began_us < a->began_us ||
                 (b->began_us == a->began_us && tpc_id_compare(&b->gtid, &a->gtid) < 0);
    return a->state == PART_LOCK_WAITING && b->state == PART_LOCK_HOLDING && !a->alone && older &&
           (((a_modes | b_modes) & PART_LOCK_X) != 0 ||
            (a_modes | b_modes) == (PART_LOCK_S | PART_LOCK_IX));
}

/* Random asking and releasing: no two holders ever exclude each other, everybody ends. */
static void test_locks__random_histories_are_safe_and_end(void **state)
{
    (void)state;
    enum { OWNERS = 40, NAMES = 6 };
    struct part_lock_owner owners[OWNERS];
    uint8_t modes[OWNERS];
    unsigned names[OWNERS];
    uint32_t seed = 12345;
    for (unsigned round = 0; round < 300; round++) {
        struct part_locks *locks = make();
        for (unsigned i = 0; i < OWNERS; i++) {
            seed = seed * 1664525u + 1013904223u;
            owners[i] = owner_of((seed >> 24) % 200);
            owners[i].gtid = name_of(i);
            owners[i].alone = (seed >> 20) % 4 == 0;
            modes[i] = (uint8_t)(1u << ((seed >> 16) % 4));
            names[i] = (seed >> 8) % NAMES;
            if (i >= 3 && (seed >> 13) % 3 == 0) {
                part_locks_release(locks, &owners[(seed >> 4) % i]);
            }
            (void)ask(locks, &owners[i], names[i], modes[i]);
            do {
                struct part_lock_owner *next;
                for (uint64_t cursor = 0; (next = part_locks_next(locks, &cursor)) != NULL;) {
                    size_t which = (size_t)(next - owners);
                    (void)ask(locks, next, names[which], modes[which]);
                }
            } while (part_locks_overtaken(locks));
            for (unsigned a = 0; a <= i; a++) {
                for (unsigned b = 0; b <= i; b++) {
                    assert_false(waits_for_older(&owners[a], &owners[b], modes[a], modes[b]) &&
                                 names[a] == names[b]);
                }
                for (unsigned b = 0; b < a; b++) {
                    bool both = owners[a].state == PART_LOCK_HOLDING &&
                                owners[b].state == PART_LOCK_HOLDING && names[a] == names[b];
                    assert_false(both && ((modes[a] | modes[b]) & PART_LOCK_X) != 0);
                    assert_false(both && (modes[a] | modes[b]) == (PART_LOCK_S | PART_LOCK_IX));
                }
            }
        }
        for (unsigned i = 0; i < OWNERS; i++) {
            part_locks_release(locks, &owners[i]);
        }
        assert_int_equal(part_locks_held(locks), 0);
        part_locks_free(locks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_locks__modes_exclude_each_other_as_the_table_says),
        cmocka_unit_test(test_locks__one_that_holds_asks_for_more),
        cmocka_unit_test(test_locks__an_older_one_that_waits_takes_nothing_away),
        cmocka_unit_test(test_locks__the_older_waits_and_the_younger_dies),
        cmocka_unit_test(test_locks__equal_age_is_decided_by_the_gtid),
        cmocka_unit_test(test_locks__all_or_nothing),
        cmocka_unit_test(test_locks__arrivals_do_not_overtake_one_that_waits),
        cmocka_unit_test(test_locks__one_alone_waits_for_older_ones_in_order_of_arrival),
        cmocka_unit_test(test_locks__who_waits_again_keeps_its_place),
        cmocka_unit_test(test_locks__who_comes_to_wait_for_an_older_one_dies),
        cmocka_unit_test(test_locks__join_unites_the_modes_of_one_name),
        cmocka_unit_test(test_locks__random_histories_are_safe_and_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
