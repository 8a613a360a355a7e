/* The records of a large log, which are read ahead by a thread. */
#include "tests/unit/wal/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORDS = 9000, GROUP = 500, BIG_EVERY = 1500, BIG = 300 << 10, STOP_AT = 5000 };

/* Some are larger than what is read at a time. */
static void *encode(unsigned number, size_t *ret_size)
{
    const size_t size = number % BIG_EVERY == 7 ? BIG : 20 + number % 100;
    char *word = malloc(size + 1);
    assert_non_null(word);
    memset(word, 'x', size);
    word[size] = '\0';
    word[snprintf(word, size, "record-%u-", number)] = 'x';
    void *data = encode_word((uint8_t)(number % 200), word, ret_size);
    free(word);
    return data;
}

static void append_all(void)
{
    struct wal_store *store = must_open(scratch);
    for (unsigned first = 0; first < RECORDS; first += GROUP) {
        struct wal_entry entries[GROUP] = {0};
        for (unsigned i = 0; i < GROUP; i++) {
            entries[i].data = encode(first + i, &entries[i].size);
        }
        must(store->ops->append(store, entries, GROUP, false, NULL));
        for (unsigned i = 0; i < GROUP; i++) {
            free((void *)entries[i].data);
        }
    }
    store->ops->close(store);
}

struct seen {
    unsigned count, stop_at;
};

static enum tpc_rc see(void *arg, uint64_t lsn, const void *data, size_t size,
                       struct tpc_err *reterr)
{
    struct seen *seen = arg;
    size_t expected_size;
    void *expected = encode(seen->count, &expected_size);
    assert_int_equal(lsn, seen->count + 1);
    assert_int_equal(size, expected_size);
    assert_memory_equal(data, expected, size);
    free(expected);
    return ++seen->count == seen->stop_at ? tpc_fail(reterr, TPC_EFULL, "enough") : TPC_OK;
}

static enum tpc_rc scan(struct seen *seen, struct tpc_err *reterr)
{
    check_beside_pages = 1;
    struct wal_store *store = must_open(scratch);
    enum tpc_rc rc = store->ops->scan(store, see, seen, reterr);
    store->ops->close(store);
    return rc;
}

static void test_scan__all_records_of_a_large_log_come_in_their_order(void **state)
{
    struct seen seen = {0};
    (void)state;
    append_all();
    must(scan(&seen, NULL));
    assert_int_equal(seen.count, RECORDS);
}

static void test_scan__nothing_comes_after_a_refusal(void **state)
{
    struct seen seen = {.stop_at = STOP_AT};
    struct tpc_err err = {0};
    (void)state;
    append_all();
    assert_int_equal(scan(&seen, &err), TPC_EFULL);
    assert_string_equal(err.text, "enough");
    assert_int_equal(seen.count, STOP_AT);
}

static void test_scan__a_damaged_record_comes_after_those_before_it(void **state)
{
    struct seen seen = {0};
    struct tpc_err err = {0};
    (void)state;
    append_all();
    const off_t at = find_last(in(scratch, "log.db"), "record-5000-", strlen("record-5000-"));
    assert_true(at > 0);
    flip_byte(in(scratch, "log.db"), at);
    assert_int_equal(scan(&seen, &err), TPC_ECORRUPT);
    assert_non_null(strstr(err.text, "checksum of record 5001 "));
    assert_int_equal(seen.count, STOP_AT);
}

int main(void)
{
#define READ_TEST(name) cmocka_unit_test_setup_teardown(name, scratch_set_up, scratch_tear_down)
    const struct CMUnitTest tests[] = {
        READ_TEST(test_scan__all_records_of_a_large_log_come_in_their_order),
        READ_TEST(test_scan__nothing_comes_after_a_refusal),
        READ_TEST(test_scan__a_damaged_record_comes_after_those_before_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
