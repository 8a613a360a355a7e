/* Results of PostgreSQL, which come as text. */
#include "participant/pg_internal.h"
#include "participant/server_values.h"

#include <string.h>

/* Numbers of types in pg_type, which are the same everywhere. */
enum {
    TYPE_BOOL = 16,
    TYPE_BYTEA = 17,
    TYPE_INT8 = 20,
    TYPE_INT2 = 21,
    TYPE_INT4 = 23,
    TYPE_OID = 26,
    TYPE_FLOAT4 = 700,
    TYPE_FLOAT8 = 701,
    TYPE_NUMERIC = 1700,
};

void pg_write_columns(struct tpc_buf *out, const PGresult *result)
{
    api_jw_key(out, "columns");
    api_jw_open(out, '[');
    for (int i = 0; i < PQnfields(result); i++) {
        api_jw_str(out, PQfname(result, i));
    }
    api_jw_close(out, ']');
    api_jw_key(out, "rows");
    api_jw_open(out, '[');
}

static void write_bytes(struct tpc_buf *out, const char *text, size_t size)
{
    size_t count = 0;
    unsigned char *bytes = PQunescapeBytea((const unsigned char *)text, &count);
    if (bytes == NULL) {
        out->failed = true;
        return;
    }
    (void)size;
    api_value_write(out, &(struct api_value){.type = API_BLOB,
                                             .bytes = {.data = (char *)bytes, .size = count}});
    PQfreemem(bytes);
}

static void write_value(struct tpc_buf *out, Oid type, const char *text, size_t size)
{
    switch (type) {
    case TYPE_BOOL:
        api_jw_bool(out, text[0] == 't');
        break;
    case TYPE_INT2:
    case TYPE_INT4:
    case TYPE_INT8:
    case TYPE_OID:
        part_write_integer(out, text, size);
        break;
    case TYPE_FLOAT4:
    case TYPE_FLOAT8:
        part_write_real(out, text, size);
        break;
    case TYPE_NUMERIC:
        part_write_decimal(out, text, size);
        break;
    case TYPE_BYTEA:
        write_bytes(out, text, size);
        break;
    default:
        part_write_text(out, text, size);
        break;
    }
}

void pg_write_row(struct tpc_buf *out, const PGresult *result, int row)
{
    api_jw_open(out, '[');
    for (int i = 0; i < PQnfields(result); i++) {
        if (PQgetisnull(result, row, i)) {
            api_jw_null(out);
        } else {
            write_value(out, PQftype(result, i), PQgetvalue(result, row, i),
                        (size_t)PQgetlength(result, row, i));
        }
    }
    api_jw_close(out, ']');
}
