/* The captured change of a SQLite branch, read back and applied to a database. Whatever the bytes,
 * the answer is one of three, and a refusal has words. Bits of the first byte:
 *
 *   0  apply it carefully
 *   1  leave the shapes of tables alone; without it they are put right first, so that it is applied
 */
#include "tests/fuzz/fuzz.h"

#include "participant/sqlite_internal.h"

#include <sqlite3.h>
#include <stdlib.h>

static const char schema[] =
    "CREATE TABLE a(id INTEGER PRIMARY KEY, n INTEGER, t TEXT UNIQUE);"
    "CREATE TABLE w(k TEXT, l TEXT, v, d DEFAULT 7, PRIMARY KEY(k, l)) WITHOUT ROWID;"
    "CREATE TABLE g(id INTEGER PRIMARY KEY, n INT, m INT GENERATED ALWAYS AS (n + 1) STORED);"
    "INSERT INTO a VALUES(1, 10, 'x'), (2, 20, 'y');"
    "INSERT INTO w VALUES('k', 'l', 1.5, NULL);"
    "INSERT INTO g(id, n) VALUES(1, 1);";

static struct part_sqlite *open_database(void)
{
    static struct part_sqlite sqlite;
    if (sqlite.db == NULL) {
        TPC_ASSERT(sqlite3_open(":memory:", &sqlite.db) == SQLITE_OK);
        TPC_ASSERT(sqlite3_exec(sqlite.db, schema, NULL, NULL, NULL) == SQLITE_OK);
        TPC_ASSERT(part_schema_load(&sqlite.schema, sqlite.db, true, NULL) == TPC_OK);
    }
    return &sqlite;
}

static void check_cell(const struct part_cell *cell)
{
    struct tpc_buf out = {0};
    struct part_cell again;
    part_cell_encode(&out, cell);
    const uint8_t *at = (const uint8_t *)out.data, *end = at + out.size;
    TPC_ASSERT(part_cell_decode(&at, end, &again) && at == end);
    TPC_ASSERT(part_cell_equal(cell, &again));
    tpc_buf_done(&out);
}

static void check_change(const struct part_payload *payload,
                         const struct part_payload_change *change)
{
    TPC_ASSERT(change->table < payload->table_count);
    for (size_t i = 0; i < change->key_count; i++) {
        check_cell(&change->key[i]);
    }
    for (size_t i = 0; i < change->count; i++) {
        TPC_ASSERT(change->columns[i] < payload->tables[change->table].column_count);
        if (change->op != PART_CHANGE_INSERT) {
            check_cell(&change->before[i]);
        }
        if (change->op != PART_CHANGE_DELETE) {
            check_cell(&change->after[i]);
        }
    }
}

/* Whether it could be read to its end. */
static bool read_all(const void *data, size_t size)
{
    struct part_payload payload;
    struct part_payload_change change;
    bool whole = false;
    if (part_payload_open(&payload, data, size) == TPC_OK) {
        for (size_t i = 0; i < payload.lock_count; i++) {
            TPC_ASSERT(payload.locks[i].modes != 0);
        }
        while (part_payload_next(&payload, &change)) {
            check_change(&payload, &change);
        }
        whole = payload.changes_left == 0;
    }
    part_payload_done(&payload);
    return whole;
}

static size_t number_at(const uint8_t *bytes, size_t count)
{
    size_t number = 0;
    while (count-- > 0) {
        number = number << 8 | bytes[count];
    }
    return number;
}

static void put_right_shapes(const struct part_sqlite *sqlite, uint8_t *bytes, size_t size)
{
    char name[256];
    size_t at = 5 + 17 * (size >= 5 ? number_at(bytes + 1, 4) : 0);
    size_t left = at + 4 <= size ? number_at(bytes + at, 4) : 0;
    for (at += 4; left > 0 && at + 2 <= size; left--) {
        size_t length = number_at(bytes + at, 2);
        size_t shape_at = at + 2 + length + 2;
        if (length >= sizeof name || shape_at + sizeof(struct tpc_id) > size) {
            return;
        }
        memcpy(name, bytes + at + 2, length);
        name[length] = '\0';
        const struct part_table *table = part_schema_find(&sqlite->schema, name);
        if (table != NULL) {
            memcpy(bytes + shape_at, &table->shape, sizeof table->shape);
        }
        at = shape_at + sizeof(struct tpc_id);
    }
}

static void try_payload(struct part_sqlite *sqlite, const uint8_t *bytes, size_t size,
                        bool carefully)
{
    char detail[256] = "";
    bool whole = read_all(bytes, size);
    (void)part_apply_needs_quiet(sqlite, bytes, size);
    TPC_ASSERT(sqlite3_exec(sqlite->db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK);
    enum part_apply_result result =
        part_apply(sqlite, bytes, size, carefully, detail, sizeof detail);
    TPC_ASSERT(result == PART_APPLIED || result == PART_APPLY_CONFLICT);
    TPC_ASSERT(result == PART_APPLIED ? whole : detail[0] != '\0');
    TPC_ASSERT(sqlite3_exec(sqlite->db, "ROLLBACK", NULL, NULL, NULL) == SQLITE_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct part_sqlite *sqlite = open_database();
    if (size < 2) {
        return 0;
    }
    uint8_t *bytes = malloc(size - 1);
    TPC_ASSERT(bytes != NULL);
    memcpy(bytes, data + 1, size - 1);
    if ((data[0] & 2) == 0) {
        put_right_shapes(sqlite, bytes, size - 1);
    }
    try_payload(sqlite, bytes, size - 1, (data[0] & 1) != 0);
    free(bytes);
    return 0;
}
