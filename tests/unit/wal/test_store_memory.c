#include "tests/unit/wal/support.h"

#include <stdlib.h>

static struct wal_store *new_store(void)
{
    const struct tpc_id id = test_id(200);
    struct wal_store *store = NULL;

    assert_int_equal(wal_memory_new(&id, &store), TPC_OK);
    return store;
}

static void test_store_memory__reads_back_in_order(void **state)
{
    struct wal_store *store = new_store();

    (void)state;
    assert_string_equal(words_of(store), "");
    must(append_word(store, 1, "a", true));
    must(append_word(store, 2, "b", false));
    must(append_word(store, 1, "c", false));
    assert_string_equal(words_of(store), "a b c");
    must(erase_all_of(store, 1));
    assert_string_equal(words_of(store), "b");
    store->ops->close(store);
}

static void test_store_memory__crash_keeps_what_was_forced(void **state)
{
    struct wal_store *store = new_store();

    (void)state;
    must(append_word(store, 1, "a", false));
    must(append_word(store, 2, "b", true)); /* takes a with it */
    must(append_word(store, 3, "c", false));
    assert_int_equal(wal_memory_unforced(store), 1);
    wal_memory_crash(store, 0);
    assert_int_equal(wal_memory_unforced(store), 0);
    assert_string_equal(words_of(store), "a b");
    store->ops->close(store);
}

static void test_store_memory__each_unforced_append_survives_by_its_bit(void **state)
{
    static const char *const expected[] = {"z",   "z a",   "z b",   "z a b",
                                           "z c", "z a c", "z b c", "z a b c"};
    (void)state;
    for (uint64_t survivors = 0; survivors < 8; survivors++) {
        struct wal_store *store = new_store();
        must(append_word(store, 9, "z", true));
        must(append_word(store, 1, "a", false));
        must(append_word(store, 2, "b", false));
        must(append_word(store, 3, "c", false));
        assert_int_equal(wal_memory_unforced(store), 3);
        wal_memory_crash(store, survivors);
        assert_string_equal(words_of(store), expected[survivors]);
        wal_memory_crash(store, 0);
        assert_string_equal(words_of(store), expected[survivors]);
        store->ops->close(store);
    }
}

static void test_store_memory__an_erasure_survives_by_its_bit(void **state)
{
    (void)state;
    for (uint64_t survivors = 0; survivors < 4; survivors++) {
        struct wal_store *store = new_store();
        must(append_word(store, 1, "a", true));
        must(append_word(store, 1, "b", false));
        must(erase_all_of(store, 1));
        assert_string_equal(words_of(store), "");
        wal_memory_crash(store, survivors);
        assert_string_equal(words_of(store), survivors == 0 ? "a" : survivors == 1 ? "a b" : "");
        store->ops->close(store);
    }
}

static void test_store_memory__a_group_survives_as_a_whole(void **state)
{
    const struct tpc_id gone = test_id(1);
    (void)state;
    for (uint64_t survivors = 0; survivors < 2; survivors++) {
        struct wal_store *store = new_store();
        struct wal_entry entries[3] = {0};
        must(append_word(store, 1, "a", true));
        void *b = encode_word(2, "b", &entries[0].size);
        void *c = encode_word(3, "c", &entries[2].size);
        entries[0].data = b;
        entries[1].erase = &gone;
        entries[1].erase_count = 1;
        entries[2].data = c;
        must(store->ops->append(store, entries, 3, false, NULL));
        wal_memory_crash(store, survivors);
        assert_string_equal(words_of(store), survivors == 0 ? "a" : "b c");
        free(b);
        free(c);
        store->ops->close(store);
    }
}

static void test_store_memory__more_than_64_unforced_are_lost_beyond_the_64th(void **state)
{
    struct wal_store *store = new_store();

    (void)state;
    for (int i = 0; i < 70; i++) {
        must(append_word(store, 1, i == 63 ? "x" : i == 64 ? "y" : "", false));
    }
    wal_memory_crash(store, UINT64_C(1) << 63);
    assert_string_equal(words_of(store), "x");
    store->ops->close(store);
}

static void test_store_memory__a_failed_force_poisons_until_the_restart(void **state)
{
    (void)state;
    for (int survives = 0; survives < 2; survives++) {
        struct wal_store *store = new_store();
        struct tpc_err err = {0};
        must(append_word(store, 1, "a", false));
        wal_memory_fail_next(store, survives != 0);
        assert_int_equal(append_word(store, 2, "b", true), TPC_EIO);
        assert_int_equal(append_word(store, 3, "c", true), TPC_EIO);
        assert_int_equal(store->ops->append(store, NULL, 0, true, &err), TPC_EIO);
        assert_int_equal(err.rc, TPC_EIO);
        assert_int_equal(erase_all_of(store, 1), TPC_EIO);
        wal_memory_crash(store, 0);
        wal_memory_restart(store);
        assert_string_equal(words_of(store), survives != 0 ? "b" : "");
        must(append_word(store, 4, "d", true));
        assert_string_equal(words_of(store), survives != 0 ? "b d" : "d");
        store->ops->close(store);
    }
}

static void test_store_memory__a_restart_is_a_new_generation(void **state)
{
    struct wal_store *store = new_store(), *again = new_store();
    const struct wal_identity first = store->identity;

    (void)state;
    assert_true(first.created);
    assert_int_equal(first.generation, 1);
    wal_memory_restart(store);
    assert_false(store->identity.created);
    assert_int_equal(store->identity.generation, 2);
    assert_true(tpc_id_equal(&store->identity.id, &first.id));
    assert_false(tpc_id_equal(&store->identity.nonce, &first.nonce));
    /* One history of calls ends in one state. */
    wal_memory_restart(again);
    assert_memory_equal(&again->identity.nonce, &store->identity.nonce, sizeof(struct tpc_id));
    store->ops->close(store);
    again->ops->close(again);
}

static void test_store_memory__a_clone_goes_its_own_way(void **state)
{
    struct wal_store *store = new_store(), *clone = NULL;

    (void)state;
    must(append_word(store, 1, "a", true));
    must(append_word(store, 2, "b", false));
    must(wal_memory_clone(store, &clone));
    wal_memory_crash(store, 0);
    must(append_word(store, 3, "c", false));
    assert_string_equal(words_of(store), "a c");
    assert_string_equal(words_of(clone), "a b");
    wal_memory_crash(clone, 1);
    assert_string_equal(words_of(clone), "a b");
    store->ops->close(store);
    clone->ops->close(clone);
}

static enum tpc_rc stop_at_once(void *arg, uint64_t lsn, const void *data, size_t size,
                                struct tpc_err *reterr)
{
    int *calls = arg;

    (void)lsn;
    (void)data;
    (void)size;
    (*calls)++;
    return tpc_fail(reterr, TPC_EPROTO, "enough");
}

static void test_store_memory__a_scan_stops_when_told(void **state)
{
    struct wal_store *store = new_store();
    int calls = 0;

    (void)state;
    must(append_word(store, 1, "a", true));
    must(append_word(store, 2, "b", true));
    assert_int_equal(store->ops->scan(store, stop_at_once, &calls, NULL), TPC_EPROTO);
    assert_int_equal(calls, 1);
    store->ops->close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_memory__reads_back_in_order),
        cmocka_unit_test(test_store_memory__crash_keeps_what_was_forced),
        cmocka_unit_test(test_store_memory__each_unforced_append_survives_by_its_bit),
        cmocka_unit_test(test_store_memory__an_erasure_survives_by_its_bit),
        cmocka_unit_test(test_store_memory__a_group_survives_as_a_whole),
        cmocka_unit_test(test_store_memory__more_than_64_unforced_are_lost_beyond_the_64th),
        cmocka_unit_test(test_store_memory__a_failed_force_poisons_until_the_restart),
        cmocka_unit_test(test_store_memory__a_restart_is_a_new_generation),
        cmocka_unit_test(test_store_memory__a_clone_goes_its_own_way),
        cmocka_unit_test(test_store_memory__a_scan_stops_when_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
