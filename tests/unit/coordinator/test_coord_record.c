#include "tests/unit/base/unit.h"

#include "base/hash.h"
#include "coordinator/coord_record.h"

#include <string.h>

static const struct tpc_id gtid = {{1, 2, 3}};

static struct coord_record_branch branch(const char *name, enum coord_vote vote, enum coord_end end)
{
    struct coord_record_branch made = {
        .name = name, .name_size = strlen(name), .vote = vote, .end = end};
    tpc_digest(name, strlen(name), &made.participant);
    return made;
}

static struct coord_record full_record(void)
{
    struct coord_record record = {.gtid = gtid,
                                  .id = {{9, 9}},
                                  .commit = true,
                                  .began_us = 1763632800123456,
                                  .attempts = 3,
                                  .label = "alice to bob, 30",
                                  .label_size = 16,
                                  .has_key = true,
                                  .key = "order-17",
                                  .key_size = 8,
                                  .body_digest = {{7}},
                                  .branch_count = 3};
    record.branches[0] = branch("east", COORD_VOTE_YES, COORD_END_NONE);
    record.branches[1] = branch("reader", COORD_VOTE_READ_ONLY, COORD_END_NONE);
    record.branches[2] = branch("west", COORD_VOTE_YES, COORD_END_NONE);
    return record;
}

static void assert_same_text(const char *a, size_t a_size, const char *b, size_t b_size)
{
    assert_int_equal(a_size, b_size);
    if (a_size > 0) {
        assert_memory_equal(a, b, a_size);
    }
}

static void assert_same(const struct coord_record *a, const struct coord_record *b)
{
    assert_memory_equal(&a->gtid, &b->gtid, sizeof a->gtid);
    assert_memory_equal(&a->id, &b->id, sizeof a->id);
    assert_int_equal(a->commit, b->commit);
    assert_int_equal(a->began_us, b->began_us);
    assert_int_equal(a->ended_us, b->ended_us);
    assert_int_equal(a->attempts, b->attempts);
    assert_int_equal(a->one_phase, b->one_phase);
    assert_same_text(a->label, a->label_size, b->label, b->label_size);
    assert_int_equal(a->has_key, b->has_key);
    assert_same_text(a->key, a->key_size, b->key, b->key_size);
    assert_memory_equal(&a->body_digest, &b->body_digest, sizeof a->body_digest);
    assert_int_equal(a->branch_count, b->branch_count);
    for (unsigned i = 0; i < a->branch_count; i++) {
        const struct coord_record_branch *x = &a->branches[i], *y = &b->branches[i];
        assert_same_text(x->name, x->name_size, y->name, y->name_size);
        assert_memory_equal(&x->participant, &y->participant, sizeof x->participant);
        assert_int_equal(x->vote, y->vote);
        assert_int_equal(x->end, y->end);
    }
}

static void assert_survives(enum wal_kind kind, const struct coord_record *record)
{
    struct tpc_buf bytes = {0};
    struct wal_record log_record;
    struct coord_record again;
    tpc_buf_adds(&bytes, "in front");
    assert_int_equal(coord_record_write(&bytes, kind, record), TPC_OK);
    assert_int_equal(wal_record_decode(bytes.data + 8, bytes.size - 8, &log_record, NULL), TPC_OK);
    assert_int_equal(log_record.kind, kind);
    assert_int_equal(coord_record_read(&log_record, &again, NULL), TPC_OK);
    assert_same(record, &again);
    tpc_buf_done(&bytes);
}

static void test_coord_record__comes_back_as_it_was(void **state)
{
    (void)state;
    struct coord_record record = full_record();
    assert_survives(WAL_COORD_COMMIT, &record);
    record.commit = false;
    record.ended_us = UINT64_MAX;
    record.branches[2].end = COORD_END_OTHER;
    assert_survives(WAL_COORD_END, &record);
    record = (struct coord_record){
        .gtid = gtid, .id = gtid, .one_phase = true, .attempts = 1, .branch_count = 1};
    record.branches[0] = branch("east", COORD_VOTE_NONE, COORD_END_NONE);
    assert_survives(WAL_COORD_PENDING, &record);
    record.commit = true;
    assert_survives(WAL_COORD_END, &record);
    record.branch_count = 0;
    record.one_phase = false;
    record.has_key = true; /* an empty one */
    assert_survives(WAL_COORD_END, &record);
}

static void test_coord_record__takes_64_branches_with_long_names(void **state)
{
    (void)state;
    static char name[256];
    struct coord_record record = full_record();
    memset(name, 'n', sizeof name - 1);
    record.branch_count = COORD_BRANCHES_MAX;
    for (unsigned i = 0; i < COORD_BRANCHES_MAX; i++) {
        record.branches[i] = branch(name, COORD_VOTE_YES, COORD_END_NONE);
    }
    assert_survives(WAL_COORD_COMMIT, &record);
}

/* ---- Records that nobody can have written ---- */

/* The fields of a good commit record, but @instead (with its tag) for that of its tag. */
static void add_fields(struct tpc_buf *out, uint8_t instead, const void *value, size_t size)
{
    static const char east[] = "\1\0"
                               "participant's id"
                               "east";
    static const struct {
        uint8_t tag;
        const char *value;
        size_t size;
    } good[] = {
        {3, "\1\0\0\0\0\0\0\0", 8},  {5, "\1\0\0\0\0\0\0\0", 8}, {7, "label", 5}, {8, "key", 3},
        {9, "digest of a body", 16}, {10, east, sizeof east - 1}};
    for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (good[i].tag != instead) {
            wal_record_add(out, good[i].tag, good[i].value, good[i].size);
        }
    }
    if (value != NULL) {
        wal_record_add(out, instead, value, size);
    }
}

static enum tpc_rc read_with(enum wal_kind kind, uint8_t tag, const void *value, size_t size)
{
    struct tpc_buf bytes = {0};
    struct wal_record log_record;
    struct coord_record record = {.attempts = 77};
    struct tpc_err err = {0};
    wal_record_begin(&bytes, kind, &gtid);
    add_fields(&bytes, tag, value, size);
    assert_int_equal(wal_record_end(&bytes, 0), TPC_OK);
    assert_int_equal(wal_record_decode(bytes.data, bytes.size, &log_record, NULL), TPC_OK);
    enum tpc_rc rc = coord_record_read(&log_record, &record, &err);
    if (rc != TPC_OK) {
        assert_int_equal(record.attempts, 77);
        assert_non_null(strstr(err.text, "01020300-"));
    }
    tpc_buf_done(&bytes);
    return rc;
}

static void test_coord_record__field_of_a_later_release_is_skipped(void **state)
{
    (void)state;
    assert_int_equal(read_with(WAL_COORD_COMMIT, 200, "what is new", 11), TPC_OK);
    assert_int_equal(read_with(WAL_COORD_COMMIT, 63, "", 0), TPC_OK);
}

static void test_coord_record__missing_field_is_damage(void **state)
{
    (void)state;
    static const uint8_t needed[] = {3, 5, 8, 9, 10};
    for (unsigned i = 0; i < sizeof needed; i++) {
        assert_int_equal(read_with(WAL_COORD_COMMIT, needed[i], NULL, 0), TPC_ECORRUPT);
    }
    assert_int_equal(read_with(WAL_COORD_COMMIT, 7, NULL, 0), TPC_OK);
    assert_int_equal(read_with(WAL_COORD_END, 7, NULL, 0), TPC_ECORRUPT); /* no outcome */
}

static void test_coord_record__impossible_value_is_damage(void **state)
{
    (void)state;
    static const struct {
        uint8_t tag;
        const char *value;
        size_t size;
    } rows[] = {
        {1, "short", 5},
        {2, "\2\0\0\0\0\0\0\0", 8},
        {3, "\1", 1},
        {5, "\0\0\0\0\0\0\0\0", 8},
        {5, "\0\0\0\0\1\0\0\0", 8},
        {6, "\2\0\0\0\0\0\0\0", 8},
        {6, "\1\0\0\0\0\0\0\0", 8}, /* a one-phase commit has no commit record */
        {7, "a\0b", 3},
        {9, "short", 5},
        {10, "\1\0participant's id", 18},      /* no name */
        {10, "\5\0participant's ideast", 22},  /* no such vote */
        {10, "\1\5participant's ideast", 22},  /* no such end */
        {10, "\2\0participant's ideast", 22},  /* committed in spite of a no */
        {10, "\1\0participant's id\0east", 23} /* a name with a NUL */
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum tpc_rc rc = read_with(WAL_COORD_COMMIT, rows[i].tag, rows[i].value, rows[i].size);
        if (rc != TPC_ECORRUPT) {
            fail_msg("row %u: %s", i, tpc_rc_name(rc));
        }
    }
    assert_int_equal(read_with(WAL_COORD_MEMBER, 200, "", 0), TPC_ECORRUPT);
    assert_int_equal(read_with(WAL_COORD_PENDING, 200, "", 0), TPC_ECORRUPT);
}

static void test_coord_record__field_twice_or_a_65th_branch_is_damage(void **state)
{
    (void)state;
    struct tpc_buf bytes = {0};
    struct wal_record log_record;
    struct coord_record record;
    for (unsigned round = 0; round < 2; round++) {
        tpc_buf_clear(&bytes);
        wal_record_begin(&bytes, WAL_COORD_COMMIT, &gtid);
        add_fields(&bytes, 200, "", 0);
        for (unsigned i = 0; round == 1 && i < COORD_BRANCHES_MAX; i++) {
            wal_record_add(&bytes, 10, "\1\0participant's ideast", 22);
        }
        if (round == 0) {
            wal_record_add(&bytes, 7, "again", 5);
        }
        assert_int_equal(wal_record_end(&bytes, 0), TPC_OK);
        assert_int_equal(wal_record_decode(bytes.data, bytes.size, &log_record, NULL), TPC_OK);
        assert_int_equal(coord_record_read(&log_record, &record, NULL), TPC_ECORRUPT);
    }
    tpc_buf_done(&bytes);
}

static void test_coord_record__transaction_without_an_id_is_damage(void **state)
{
    (void)state;
    struct tpc_buf bytes = {0};
    struct wal_record log_record;
    struct coord_record record = full_record();
    record.gtid = (struct tpc_id){{0}};
    assert_int_equal(coord_record_write(&bytes, WAL_COORD_COMMIT, &record), TPC_OK);
    assert_int_equal(wal_record_decode(bytes.data, bytes.size, &log_record, NULL), TPC_OK);
    assert_int_equal(coord_record_read(&log_record, &record, NULL), TPC_ECORRUPT);
    tpc_buf_done(&bytes);
}

/* ---- The registry ---- */

static void test_coord_member__comes_back_as_it_was(void **state)
{
    (void)state;
    static const char url[] = "http://127.0.0.1:7411";
    const struct coord_member_record member = {
        .name = "east", .name_size = 4, .url = url, .url_size = sizeof url - 1};
    for (int kind = WAL_COORD_MEMBER; kind <= WAL_COORD_NO_MEMBER; kind++) {
        bool with_url = kind == WAL_COORD_MEMBER;
        struct tpc_buf bytes = {0};
        struct wal_record log_record;
        struct coord_member_record again;
        assert_int_equal(coord_member_write(&bytes, (enum wal_kind)kind, &member), TPC_OK);
        assert_int_equal(wal_record_decode(bytes.data, bytes.size, &log_record, NULL), TPC_OK);
        assert_int_equal(coord_member_read(&log_record, &again, NULL), TPC_OK);
        assert_same_text(again.name, again.name_size, "east", 4);
        assert_same_text(again.url, again.url_size, url, with_url ? sizeof url - 1 : 0);
        tpc_buf_done(&bytes);
    }
}

static void test_coord_member__without_name_or_url_is_damage(void **state)
{
    (void)state;
    const struct coord_member_record rows[] = {
        {.url = "http://x", .url_size = 8},
        {.name = "east", .name_size = 4},
        {.name = "e\0st", .name_size = 4, .url = "x", .url_size = 1}};
    for (unsigned i = 0; i < 3; i++) {
        struct tpc_buf bytes = {0};
        struct wal_record log_record;
        struct coord_member_record again;
        assert_int_equal(coord_member_write(&bytes, WAL_COORD_MEMBER, &rows[i]), TPC_OK);
        assert_int_equal(wal_record_decode(bytes.data, bytes.size, &log_record, NULL), TPC_OK);
        assert_int_equal(coord_member_read(&log_record, &again, NULL), TPC_ECORRUPT);
        log_record.kind = WAL_COORD_COMMIT;
        assert_int_equal(coord_member_read(&log_record, &again, NULL), TPC_ECORRUPT);
        tpc_buf_done(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_coord_record__comes_back_as_it_was),
        cmocka_unit_test(test_coord_record__takes_64_branches_with_long_names),
        cmocka_unit_test(test_coord_record__field_of_a_later_release_is_skipped),
        cmocka_unit_test(test_coord_record__missing_field_is_damage),
        cmocka_unit_test(test_coord_record__impossible_value_is_damage),
        cmocka_unit_test(test_coord_record__field_twice_or_a_65th_branch_is_damage),
        cmocka_unit_test(test_coord_record__transaction_without_an_id_is_damage),
        cmocka_unit_test(test_coord_member__comes_back_as_it_was),
        cmocka_unit_test(test_coord_member__without_name_or_url_is_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
