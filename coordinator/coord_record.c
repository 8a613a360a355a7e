/* The bodies of the coordinator's records. On disk each is a sequence of fields (wal/record.h).
 *
 * COMMIT, PENDING and END:
 *
 *   tag
 *   1   id           16 bytes: of the transaction as the client knows it; left out: the gtid
 *   2   outcome      number: 1 commit, 0 abort; in END alone
 *   3   began        number: wall clock of the first attempt, µs
 *   4   ended        number: wall clock, µs; in END alone
 *   5   attempts     number, 1 or more
 *   6   one-phase    number: 1; left out: two-phase
 *   7   label        text; left out: none
 *   8   key          text: the Idempotency-Key; left out: none
 *   9   body digest  16 bytes, with a key
 *   10  branch       vote (1 byte), end (1), participant (16), name; one field a branch, in order
 *
 * MEMBER and NO_MEMBER:
 *
 *   1   name         text
 *   2   url          text; not in NO_MEMBER
 */
#include "coordinator/coord_record.h"

#include "base/tpc_assert.h"

#include <string.h>

enum record_tag {
    TAG_ID = 1,
    TAG_OUTCOME = 2,
    TAG_BEGAN = 3,
    TAG_ENDED = 4,
    TAG_ATTEMPTS = 5,
    TAG_ONE_PHASE = 6,
    TAG_LABEL = 7,
    TAG_KEY = 8,
    TAG_BODY_DIGEST = 9,
    TAG_BRANCH = 10,
};

enum member_tag { TAG_MEMBER_NAME = 1, TAG_MEMBER_URL = 2 };

enum { BRANCH_HEADER = 2 + sizeof(struct tpc_id), NAME_MAX_BYTES = 255 };

/* ---- Writing ---- */

static void add_text(struct tpc_buf *out, uint8_t tag, const char *text, size_t size)
{
    if (size != 0) {
        wal_record_add(out, tag, text, size);
    }
}

static void add_branch(struct tpc_buf *out, const struct coord_record_branch *branch)
{
    uint8_t value[BRANCH_HEADER + NAME_MAX_BYTES] = {(uint8_t)branch->vote, (uint8_t)branch->end};
    TPC_ASSERT(branch->name_size != 0 && branch->name_size <= NAME_MAX_BYTES);
    memcpy(value + 2, &branch->participant, sizeof branch->participant);
    memcpy(value + BRANCH_HEADER, branch->name, branch->name_size);
    wal_record_add(out, TAG_BRANCH, value, BRANCH_HEADER + branch->name_size);
}

enum tpc_rc coord_record_write(struct tpc_buf *out, enum wal_kind kind,
                               const struct coord_record *record)
{
    bool end = kind == WAL_COORD_END;
    TPC_ASSERT(end || kind == WAL_COORD_COMMIT || kind == WAL_COORD_PENDING);
    TPC_ASSERT(record->branch_count <= COORD_BRANCHES_MAX);
    size_t start = out->size;
    wal_record_begin(out, kind, &record->gtid);
    if (memcmp(&record->id, &record->gtid, sizeof record->id) != 0) {
        wal_record_add(out, TAG_ID, &record->id, sizeof record->id);
    }
    if (end) {
        wal_record_add_u64(out, TAG_OUTCOME, record->commit);
        wal_record_add_u64(out, TAG_ENDED, record->ended_us);
    }
    wal_record_add_u64(out, TAG_BEGAN, record->began_us);
    wal_record_add_u64(out, TAG_ATTEMPTS, record->attempts);
    if (record->one_phase) {
        wal_record_add_u64(out, TAG_ONE_PHASE, 1);
    }
    add_text(out, TAG_LABEL, record->label, record->label_size);
    if (record->has_key) {
        wal_record_add(out, TAG_KEY, record->key, record->key_size);
        wal_record_add(out, TAG_BODY_DIGEST, &record->body_digest, sizeof record->body_digest);
    }
    for (unsigned i = 0; i < record->branch_count; i++) {
        add_branch(out, &record->branches[i]);
    }
    return wal_record_end(out, start);
}

enum tpc_rc coord_member_write(struct tpc_buf *out, enum wal_kind kind,
                               const struct coord_member_record *member)
{
    static const struct tpc_id none;
    TPC_ASSERT(kind == WAL_COORD_MEMBER || kind == WAL_COORD_NO_MEMBER);
    size_t start = out->size;
    wal_record_begin(out, kind, &none);
    add_text(out, TAG_MEMBER_NAME, member->name, member->name_size);
    if (kind == WAL_COORD_MEMBER) {
        add_text(out, TAG_MEMBER_URL, member->url, member->url_size);
    }
    return wal_record_end(out, start);
}

/* ---- Reading ---- */

/* Why a field, or the whole, cannot be. */
static enum tpc_rc bad(const struct wal_record *log_record, struct tpc_err *reterr, const char *why)
{
    char gtid[TPC_ID_TEXT];
    return tpc_fail(reterr, TPC_ECORRUPT, "the log's record of kind %d of transaction %s: %s",
                    (int)log_record->kind, tpc_id_format(&log_record->gtid, gtid), why);
}

static bool read_number(const struct wal_field *field, uint64_t most, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (wal_field_u64(field, &value) != TPC_OK || value > most) {
        return false;
    }
    *ret_value = value;
    return true;
}

static bool read_flag(const struct wal_field *field, bool *ret_value)
{
    uint64_t value = 0;
    bool good = read_number(field, 1, &value);
    *ret_value = value == 1;
    return good;
}

static bool read_id(const struct wal_field *field, struct tpc_id *ret_id)
{
    if (field->size != sizeof *ret_id) {
        return false;
    }
    memcpy(ret_id, field->value, sizeof *ret_id);
    return true;
}

static bool read_text(const struct wal_field *field, const char **ret_text, size_t *ret_size)
{
    *ret_text = (const char *)field->value;
    *ret_size = field->size;
    return field->size == 0 || memchr(field->value, '\0', field->size) == NULL;
}

static bool read_branch(const struct wal_field *field, struct coord_record *out)
{
    if (out->branch_count == COORD_BRANCHES_MAX || field->size <= BRANCH_HEADER ||
        field->size > BRANCH_HEADER + NAME_MAX_BYTES || field->value[0] > COORD_VOTE_COMMITTED ||
        field->value[1] > COORD_END_OTHER) {
        return false;
    }
    struct coord_record_branch *branch = &out->branches[out->branch_count++];
    const struct wal_field name = {.value = field->value + BRANCH_HEADER,
                                   .size = field->size - BRANCH_HEADER};
    branch->vote = (enum coord_vote)field->value[0];
    branch->end = (enum coord_end)field->value[1];
    memcpy(&branch->participant, field->value + 2, sizeof branch->participant);
    return read_text(&name, &branch->name, &branch->name_size);
}

/* False: the value cannot be. A tag of a later version is left alone. */
static bool read_field(const struct wal_field *field, struct coord_record *out)
{
    uint64_t attempts = 0;
    switch (field->tag) {
    case TAG_ID:
        return read_id(field, &out->id);
    case TAG_OUTCOME:
        return read_flag(field, &out->commit);
    case TAG_BEGAN:
        return read_number(field, UINT64_MAX, &out->began_us);
    case TAG_ENDED:
        return read_number(field, UINT64_MAX, &out->ended_us);
    case TAG_ATTEMPTS:
        if (!read_number(field, UINT32_MAX, &attempts)) {
            return false;
        }
        out->attempts = (uint32_t)attempts;
        return attempts != 0;
    case TAG_ONE_PHASE:
        return read_flag(field, &out->one_phase);
    case TAG_LABEL:
        return read_text(field, &out->label, &out->label_size);
    case TAG_KEY:
        out->has_key = true;
        return read_text(field, &out->key, &out->key_size);
    case TAG_BODY_DIGEST:
        return read_id(field, &out->body_digest);
    case TAG_BRANCH:
        return read_branch(field, out);
    default:
        return true;
    }
}

/* What is wrong with a record as a whole, or NULL. @seen: a bit for each tag. */
static const char *wrong_with(enum wal_kind kind, const struct coord_record *record, uint64_t seen)
{
    const uint64_t of_end = TPC_BIT(TAG_OUTCOME) | TPC_BIT(TAG_ENDED);
    uint64_t needed = TPC_BIT(TAG_BEGAN) | TPC_BIT(TAG_ATTEMPTS);
    if (kind == WAL_COORD_END) {
        needed |= of_end;
    } else {
        needed |= TPC_BIT(TAG_BRANCH);
        if ((seen & of_end) != 0) {
            return "an outcome before the end";
        }
    }
    if ((seen & needed) != needed) {
        return "a field is missing";
    }
    if (record->has_key != ((seen & TPC_BIT(TAG_BODY_DIGEST)) != 0)) {
        return "a key without its digest";
    }
    if (record->one_phase ? record->branch_count != 1 || kind == WAL_COORD_COMMIT
                          : kind == WAL_COORD_PENDING) {
        return "one-phase does not go with it";
    }
    for (unsigned i = 0; kind == WAL_COORD_COMMIT && i < record->branch_count; i++) {
        enum coord_vote vote = record->branches[i].vote;
        if (vote != COORD_VOTE_YES && vote != COORD_VOTE_READ_ONLY) {
            return "a commit in spite of a branch's vote";
        }
    }
    return NULL;
}

enum tpc_rc coord_record_read(const struct wal_record *log_record, struct coord_record *ret_record,
                              struct tpc_err *reterr)
{
    struct coord_record record; /* as far as it is used: a restart reads millions */
    memset(&record, 0, offsetof(struct coord_record, branches));
    record.gtid = record.id = log_record->gtid;
    enum wal_kind kind = log_record->kind;
    if (kind != WAL_COORD_COMMIT && kind != WAL_COORD_PENDING && kind != WAL_COORD_END) {
        return bad(log_record, reterr, "this is not about a transaction");
    }
    if (tpc_id_is_zero(&record.gtid)) {
        return bad(log_record, reterr, "no transaction has this id");
    }
    record.commit = kind == WAL_COORD_COMMIT;
    uint64_t seen = 0;
    size_t offset = 0;
    struct wal_field field;
    while (wal_field_next(log_record, &offset, &field)) {
        uint64_t bit = field.tag < 64 ? TPC_BIT(field.tag) : 0;
        if (((seen & bit) != 0 && field.tag != TAG_BRANCH) || !read_field(&field, &record)) {
            return bad(log_record, reterr, "a field has a value that cannot be");
        }
        seen |= bit;
    }
    const char *wrong = wrong_with(kind, &record, seen);
    if (wrong != NULL) {
        return bad(log_record, reterr, wrong);
    }
    memcpy(ret_record, &record,
           offsetof(struct coord_record, branches) +
               record.branch_count * sizeof record.branches[0]);
    return TPC_OK;
}

enum tpc_rc coord_member_read(const struct wal_record *log_record,
                              struct coord_member_record *ret_member, struct tpc_err *reterr)
{
    struct coord_member_record member = {0};
    bool with_url = log_record->kind == WAL_COORD_MEMBER;
    if (!with_url && log_record->kind != WAL_COORD_NO_MEMBER) {
        return bad(log_record, reterr, "this is not about a participant");
    }
    size_t offset = 0;
    struct wal_field field;
    while (wal_field_next(log_record, &offset, &field)) {
        bool good = true;
        if (field.tag == TAG_MEMBER_NAME) {
            good = member.name == NULL && read_text(&field, &member.name, &member.name_size);
        } else if (field.tag == TAG_MEMBER_URL) {
            good = member.url == NULL && read_text(&field, &member.url, &member.url_size);
        }
        if (!good) {
            return bad(log_record, reterr, "a field has a value that cannot be");
        }
    }
    if (member.name_size == 0 || (with_url && member.url_size == 0)) {
        return bad(log_record, reterr, "a field is missing");
    }
    *ret_member = member;
    return TPC_OK;
}
