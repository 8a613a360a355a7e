#include "participant/sqlite_values.h"

#include <sqlite3.h>
#include <string.h>

/* ---- Cells ---- */

enum tpc_rc part_cell_copy(struct part_arena *arena, struct sqlite3_value *value,
                           struct part_cell *out)
{
    *out = (struct part_cell){0};
    switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER:
        out->type = PART_CELL_INT;
        out->integer = sqlite3_value_int64(value);
        return TPC_OK;
    case SQLITE_FLOAT:
        out->type = PART_CELL_REAL;
        out->real = sqlite3_value_double(value);
        return TPC_OK;
    case SQLITE_NULL:
        out->type = PART_CELL_NULL;
        return TPC_OK;
    default:
        break;
    }
    bool text = sqlite3_value_type(value) == SQLITE_TEXT;
    const void *data = text ? (const void *)sqlite3_value_text(value) : sqlite3_value_blob(value);
    out->type = text ? PART_CELL_TEXT : PART_CELL_BLOB;
    out->bytes.size = (size_t)sqlite3_value_bytes(value);
    out->bytes.data = part_arena_copy(arena, data, out->bytes.size);
    return out->bytes.data != NULL ? TPC_OK : TPC_ENOMEM;
}

static uint64_t bits_of(double real)
{
    uint64_t bits;
    memcpy(&bits, &real, sizeof(bits));
    return bits;
}

bool part_cell_equal(const struct part_cell *a, const struct part_cell *b)
{
    if (a->type != b->type) {
        return false;
    }
    switch ((enum part_cell_type)a->type) {
    case PART_CELL_INT:
        return a->integer == b->integer;
    case PART_CELL_REAL:
        return bits_of(a->real) == bits_of(b->real);
    case PART_CELL_TEXT:
    case PART_CELL_BLOB:
        return a->bytes.size == b->bytes.size &&
               memcmp(a->bytes.data, b->bytes.data, a->bytes.size) == 0;
    case PART_CELL_NULL:
    case PART_CELL_ANY:
        break;
    }
    return true;
}

int part_cell_bind(struct sqlite3_stmt *stmt, int index, const struct part_cell *cell)
{
    switch ((enum part_cell_type)cell->type) {
    case PART_CELL_INT:
        return sqlite3_bind_int64(stmt, index, cell->integer);
    case PART_CELL_REAL:
        return sqlite3_bind_double(stmt, index, cell->real);
    case PART_CELL_TEXT:
        return sqlite3_bind_text64(stmt, index, cell->bytes.data, cell->bytes.size, SQLITE_STATIC,
                                   SQLITE_UTF8);
    case PART_CELL_BLOB:
        return sqlite3_bind_blob64(stmt, index, cell->bytes.data, cell->bytes.size, SQLITE_STATIC);
    case PART_CELL_NULL:
    case PART_CELL_ANY:
        break;
    }
    return sqlite3_bind_null(stmt, index);
}

static void add_u64(struct tpc_buf *out, uint64_t value)
{
    uint8_t bytes[8];
    for (unsigned i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    tpc_buf_add(out, bytes, sizeof(bytes));
}

/* Type, then 8 bytes for numbers, or 8 bytes of length and the bytes. */
void part_cell_encode(struct tpc_buf *out, const struct part_cell *cell)
{
    tpc_buf_addc(out, (char)cell->type);
    switch ((enum part_cell_type)cell->type) {
    case PART_CELL_INT:
        add_u64(out, (uint64_t)cell->integer);
        break;
    case PART_CELL_REAL:
        add_u64(out, bits_of(cell->real));
        break;
    case PART_CELL_TEXT:
    case PART_CELL_BLOB:
        add_u64(out, cell->bytes.size);
        tpc_buf_add(out, cell->bytes.data, cell->bytes.size);
        break;
    case PART_CELL_NULL:
    case PART_CELL_ANY:
        break;
    }
}

bool part_cell_decode(const uint8_t **at, const uint8_t *end, struct part_cell *out)
{
    *out = (struct part_cell){0};
    if (*at >= end || **at > PART_CELL_ANY) {
        return false;
    }
    out->type = *(*at)++;
    if (out->type == PART_CELL_NULL || out->type == PART_CELL_ANY) {
        return true;
    }
    if (end - *at < 8) {
        return false;
    }
    uint64_t word = 0;
    for (unsigned i = 0; i < 8; i++) {
        word |= (uint64_t) * (*at)++ << (8 * i);
    }
    if (out->type == PART_CELL_INT) {
        memcpy(&out->integer, &word, sizeof(word));
    } else if (out->type == PART_CELL_REAL) {
        memcpy(&out->real, &word, sizeof(word));
    } else {
        if ((uint64_t)(end - *at) < word) {
            return false;
        }
        out->bytes.data = *at;
        out->bytes.size = (size_t)word;
        *at += word;
    }
    return true;
}

static void normal_text(struct tpc_buf *out, const struct part_cell *cell,
                        enum part_collation collation)
{
    const char *text = cell->bytes.data;
    size_t size = cell->bytes.size;
    while (collation == PART_COLL_RTRIM && size > 0 && text[size - 1] == ' ') {
        size--;
    }
    tpc_buf_addc(out, PART_CELL_TEXT);
    add_u64(out, size);
    /* SQLite compares up to the first NUL only. */
    for (size_t i = 0; collation == PART_COLL_NOCASE && i < size && text[i] != '\0'; i++) {
        tpc_buf_addc(out, (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] - 'A' + 'a' : text[i]));
    }
    if (collation != PART_COLL_NOCASE) {
        tpc_buf_add(out, text, size);
    }
}

void part_cell_normal(struct tpc_buf *out, const struct part_cell *cell,
                      enum part_collation collation)
{
    if (cell->type == PART_CELL_TEXT) {
        normal_text(out, cell, collation);
        return;
    }
    /* 1.0 and 1 are one key. */
    if (cell->type == PART_CELL_REAL && cell->real >= -9223372036854775808.0 &&
        cell->real < 9223372036854775808.0 && (double)(int64_t)cell->real == cell->real) {
        struct part_cell integer = {.type = PART_CELL_INT, .integer = (int64_t)cell->real};
        part_cell_encode(out, &integer);
        return;
    }
    part_cell_encode(out, cell);
}

/* ---- Parameters and results ---- */

static int bind_value(sqlite3_stmt *stmt, int index, const struct api_value *value)
{
    switch (value->type) {
    case API_BOOL:
        return sqlite3_bind_int(stmt, index, value->boolean ? 1 : 0);
    case API_INT64:
        return sqlite3_bind_int64(stmt, index, value->int64);
    case API_DOUBLE:
        return sqlite3_bind_double(stmt, index, value->real);
    case API_TEXT:
        return sqlite3_bind_text64(stmt, index, value->bytes.data, value->bytes.size, SQLITE_STATIC,
                                   SQLITE_UTF8);
    case API_BLOB:
        return sqlite3_bind_blob64(stmt, index, value->bytes.data != NULL ? value->bytes.data : "",
                                   value->bytes.size, SQLITE_STATIC);
    case API_NULL:
        break;
    }
    return sqlite3_bind_null(stmt, index);
}

int part_bind_params(struct sqlite3_stmt *stmt, const struct api_statement *statement)
{
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < statement->param_count; i++) {
        rc = bind_value(stmt, (int)i + 1, &statement->params[i]);
    }
    return rc;
}

void part_write_columns(struct tpc_buf *out, struct sqlite3_stmt *stmt)
{
    api_jw_open(out, '[');
    for (int i = 0; i < sqlite3_column_count(stmt); i++) {
        api_jw_str(out, sqlite3_column_name(stmt, i));
    }
    api_jw_close(out, ']');
}

static struct api_value column_value(sqlite3_stmt *stmt, int column)
{
    switch (sqlite3_column_type(stmt, column)) {
    case SQLITE_INTEGER:
        return (struct api_value){.type = API_INT64, .int64 = sqlite3_column_int64(stmt, column)};
    case SQLITE_FLOAT:
        return (struct api_value){.type = API_DOUBLE, .real = sqlite3_column_double(stmt, column)};
    case SQLITE_TEXT:
        return (struct api_value){.type = API_TEXT,
                                  .bytes = {.data = (char *)sqlite3_column_text(stmt, column),
                                            .size = (size_t)sqlite3_column_bytes(stmt, column)}};
    case SQLITE_BLOB:
        return (struct api_value){.type = API_BLOB,
                                  .bytes = {.data = (char *)sqlite3_column_blob(stmt, column),
                                            .size = (size_t)sqlite3_column_bytes(stmt, column)}};
    default:
        return (struct api_value){.type = API_NULL};
    }
}

void part_write_row(struct tpc_buf *out, struct sqlite3_stmt *stmt)
{
    api_jw_open(out, '[');
    for (int i = 0; i < sqlite3_column_count(stmt); i++) {
        struct api_value value = column_value(stmt, i);
        api_value_write(out, &value);
    }
    api_jw_close(out, ']');
}
