/* A parameter all the way: JSON, SQLite, and back in a result row, which is JSON again. */
#include "tests/fuzz/codec.h"

#include "api/codec_read.h"
#include "participant/sqlite_values.h"

#include <sqlite3.h>
#include <stdlib.h>

static sqlite3_stmt *echo(void)
{
    static sqlite3 *db;
    static sqlite3_stmt *stmt;
    if (stmt == NULL) {
        TPC_ASSERT(sqlite3_open(":memory:", &db) == SQLITE_OK);
        TPC_ASSERT(sqlite3_prepare_v2(db, "SELECT ?1", -1, &stmt, NULL) == SQLITE_OK);
    }
    return stmt;
}

static bool read_value(const char *text, size_t size, struct api_value *out)
{
    struct api_json *root = NULL;
    struct api_refusal refusal = {0};
    if (api_json_parse(text, size, &root, NULL) != TPC_OK) {
        return false;
    }
    enum tpc_rc rc = api_value_read(root, NULL, out, &refusal);
    api_json_free(root);
    if (rc != TPC_OK) {
        fuzz_check_refusal(rc, &refusal);
    }
    return rc == TPC_OK;
}

static void free_value(struct api_value *value)
{
    if (value->type == API_TEXT || value->type == API_BLOB) {
        free(value->bytes.data);
    }
}

/* What SQLite shows of it: it has no booleans, and no NaN. */
static struct api_value as_stored(const struct api_value *value)
{
    return value->type == API_BOOL ? (struct api_value){.type = API_INT64, .int64 = value->boolean}
                                   : *value;
}

/* The row is an array of one value. */
static void check_row(const struct tpc_buf *row, const struct api_value *value)
{
    struct api_value shown = {0}, stored = as_stored(value);
    TPC_ASSERT(!row->failed && row->size > 2 && row->data[0] == '[');
    TPC_ASSERT(read_value(row->data + 1, row->size - 2, &shown));
    TPC_ASSERT(fuzz_value_same(&shown, &stored));
    free_value(&shown);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct api_value value = {0};
    if (!read_value((const char *)data, size, &value)) {
        return 0;
    }
    const struct api_statement statement = {.param_count = 1, .params = &value};
    struct tpc_buf row = {0};
    TPC_ASSERT(part_bind_params(echo(), &statement) == SQLITE_OK);
    TPC_ASSERT(sqlite3_step(echo()) == SQLITE_ROW);
    part_write_row(&row, echo());
    TPC_ASSERT(sqlite3_reset(echo()) == SQLITE_OK);
    check_row(&row, &value);
    sqlite3_clear_bindings(echo());
    free_value(&value);
    tpc_buf_done(&row);
    return 0;
}
