/* Values on their way to MariaDB and back, in the binary protocol of prepared statements. */
#include "participant/maria_internal.h"
#include "participant/server_values.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BINARY_CHARSET = 63 };

/* ---- Parameters ---- */

struct maria_params {
    MYSQL_BIND *binds;
    struct api_value *values; /* borrowed bytes: the statement outlives its execution */
    unsigned long *sizes;
};

void maria_params_done(struct maria_session *session)
{
    if (session->params != NULL) {
        free(session->params->binds);
        free(session->params->values);
        free(session->params->sizes);
        free(session->params);
        session->params = NULL;
    }
}

static void bind(MYSQL_BIND *bind, struct api_value *value, unsigned long *size)
{
    switch (value->type) {
    case API_NULL:
        bind->buffer_type = MYSQL_TYPE_NULL;
        break;
    case API_BOOL:
        value->int64 = value->boolean;
        bind->buffer_type = MYSQL_TYPE_LONGLONG;
        bind->buffer = &value->int64;
        break;
    case API_INT64:
        bind->buffer_type = MYSQL_TYPE_LONGLONG;
        bind->buffer = &value->int64;
        break;
    case API_DOUBLE:
        bind->buffer_type = MYSQL_TYPE_DOUBLE;
        bind->buffer = &value->real;
        break;
    case API_TEXT:
    case API_BLOB:
        *size = value->bytes.size;
        bind->buffer_type = value->type == API_TEXT ? MYSQL_TYPE_STRING : MYSQL_TYPE_BLOB;
        bind->buffer = value->bytes.data;
        bind->buffer_length = *size;
        bind->length = size;
        break;
    }
}

bool maria_params_bind(struct maria_session *session, const struct api_statement *statement,
                       struct part_refusal *refusal)
{
    size_t count = statement->param_count;
    unsigned long wanted = mysql_stmt_param_count(session->stmt);
    if (wanted != count) {
        memcpy(refusal->sqlstate, "07001", sizeof "07001");
        part_refuse(refusal, API_CAUSE_SQL_ERROR,
                    "the statement has %lu placeholders (?), and %zu parameters came with it",
                    wanted, count);
        return false;
    }
    maria_params_done(session);
    struct maria_params *params = tpc_must_alloc(sizeof *params);
    *params = (struct maria_params){.binds = tpc_must_calloc(count + 1, sizeof *params->binds),
                                    .values = tpc_must_calloc(count + 1, sizeof *params->values),
                                    .sizes = tpc_must_calloc(count + 1, sizeof *params->sizes)};
    for (size_t i = 0; i < count; i++) {
        params->values[i] = statement->params[i];
        bind(&params->binds[i], &params->values[i], &params->sizes[i]);
    }
    session->params = params;
    if (count > 0 && mysql_stmt_bind_param(session->stmt, params->binds) != 0) {
        struct maria_error error;
        maria_error_take_stmt(&error, session->stmt);
        maria_refuse(refusal, &error);
        return false;
    }
    return true;
}

/* ---- Results ---- */

void maria_write_columns(struct tpc_buf *out, MYSQL_STMT *stmt)
{
    MYSQL_RES *columns = mysql_stmt_result_metadata(stmt);
    if (columns == NULL) {
        out->failed = true;
        return;
    }
    api_jw_key(out, "columns");
    api_jw_open(out, '[');
    for (unsigned i = 0; i < mysql_num_fields(columns); i++) {
        api_jw_str(out, mysql_fetch_field_direct(columns, i)->name);
    }
    api_jw_close(out, ']');
    api_jw_key(out, "rows");
    api_jw_open(out, '[');
    mysql_free_result(columns);
}

static void write_int(struct tpc_buf *out, int64_t number, bool is_unsigned)
{
    char text[24];
    if (is_unsigned && number < 0) {
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
        part_write_integer(out, text, strlen(text));
    } else {
        api_value_write(out, &(struct api_value){.type = API_INT64, .int64 = number});
    }
}

/* As short as tells it from its neighbours: a FLOAT has no more digits than nine. */
static void write_real(struct tpc_buf *out, double number, bool is_float)
{
    char text[40];
    for (int digits = is_float ? 6 : 15; digits <= (is_float ? 9 : 17); digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, number);
        if (is_float ? strtof(text, NULL) == (float)number : strtod(text, NULL) == number) {
            break;
        }
    }
    part_write_real(out, text, strlen(text));
}

static void write_bytes(struct tpc_buf *out, const MYSQL_FIELD *field, char *bytes, size_t size)
{
    uint64_t number = 0;
    switch ((int)field->type) {
    case MYSQL_TYPE_DECIMAL:
    case MYSQL_TYPE_NEWDECIMAL:
        part_write_decimal(out, bytes, size);
        return;
    case MYSQL_TYPE_BIT:
        for (size_t i = 0; i < size; i++) {
            number = number << 8 | (unsigned char)bytes[i];
        }
        write_int(out, (int64_t)number, true);
        return;
    case MYSQL_TYPE_TINY_BLOB:
    case MYSQL_TYPE_MEDIUM_BLOB:
    case MYSQL_TYPE_LONG_BLOB:
    case MYSQL_TYPE_BLOB:
    case MYSQL_TYPE_VARCHAR:
    case MYSQL_TYPE_VAR_STRING:
    case MYSQL_TYPE_STRING:
    case MYSQL_TYPE_GEOMETRY:
        if (field->charsetnr == BINARY_CHARSET) {
            api_value_write(
                out, &(struct api_value){.type = API_BLOB, .bytes = {.data = bytes, .size = size}});
            return;
        }
        break;
    default:
        break; /* times and dates, as MariaDB prints them */
    }
    part_write_text(out, bytes, size);
}

static bool fetch(MYSQL_STMT *stmt, unsigned column, enum enum_field_types type, void *buffer,
                  size_t size, unsigned long *ret_length, struct tpc_buf *out)
{
    my_bool is_null = 0, truncated = 0;
    MYSQL_BIND into = {.buffer_type = type,
                       .buffer = buffer,
                       .buffer_length = size,
                       .length = ret_length,
                       .is_null = &is_null,
                       .error = &truncated};
    if (mysql_stmt_fetch_column(stmt, &into, column, 0) != 0) {
        out->failed = true;
        return false;
    }
    if (is_null) {
        api_jw_null(out);
    }
    return !is_null;
}

static void write_text_column(struct tpc_buf *out, MYSQL_STMT *stmt, unsigned column,
                              const MYSQL_FIELD *field)
{
    char small[256], *bytes = small;
    unsigned long size = 0;
    if (!fetch(stmt, column, MYSQL_TYPE_STRING, small, sizeof small, &size, out)) {
        return;
    }
    if (size >= sizeof small) {
        bytes = tpc_must_malloc(size + 1);
        if (!fetch(stmt, column, MYSQL_TYPE_STRING, bytes, size + 1, &size, out)) {
            free(bytes);
            return;
        }
    }
    bytes[size] = '\0';
    write_bytes(out, field, bytes, size);
    if (bytes != small) {
        free(bytes);
    }
}

static void write_column(struct tpc_buf *out, MYSQL_STMT *stmt, unsigned column,
                         const MYSQL_FIELD *field)
{
    unsigned long size = 0;
    int64_t number = 0;
    double real = 0;
    switch ((int)field->type) {
    case MYSQL_TYPE_TINY:
    case MYSQL_TYPE_SHORT:
    case MYSQL_TYPE_INT24:
    case MYSQL_TYPE_LONG:
    case MYSQL_TYPE_LONGLONG:
    case MYSQL_TYPE_YEAR:
        if (fetch(stmt, column, MYSQL_TYPE_LONGLONG, &number, sizeof number, &size, out)) {
            write_int(out, number, (field->flags & UNSIGNED_FLAG) != 0);
        }
        break;
    case MYSQL_TYPE_FLOAT:
    case MYSQL_TYPE_DOUBLE:
        if (fetch(stmt, column, MYSQL_TYPE_DOUBLE, &real, sizeof real, &size, out)) {
            write_real(out, real, field->type == MYSQL_TYPE_FLOAT);
        }
        break;
    default:
        write_text_column(out, stmt, column, field);
        break;
    }
}

void maria_write_row(struct tpc_buf *out, MYSQL_STMT *stmt)
{
    MYSQL_RES *columns = mysql_stmt_result_metadata(stmt);
    if (columns == NULL) {
        out->failed = true;
        return;
    }
    api_jw_open(out, '[');
    for (unsigned i = 0; i < mysql_num_fields(columns); i++) {
        write_column(out, stmt, i, mysql_fetch_field_direct(columns, i));
    }
    api_jw_close(out, ']');
    mysql_free_result(columns);
}
