/* Values on their way in and out of SQLite: parameters, results, and the rows of a captured
 * change. */
#ifndef ASSENT_PARTICIPANT_SQLITE_VALUES_H
#define ASSENT_PARTICIPANT_SQLITE_VALUES_H

#include "api/codec.h"
#include "participant/sqlite_arena.h"
#include "participant/sqlite_schema.h"

struct sqlite3_value;

enum part_cell_type {
    PART_CELL_NULL,
    PART_CELL_INT,
    PART_CELL_REAL,
    PART_CELL_TEXT,
    PART_CELL_BLOB,
    PART_CELL_ANY, /* in a captured change: the old value is not to be compared */
};

struct part_cell {
    uint8_t type; /* enum part_cell_type */
    union {
        int64_t integer;
        double real;
        struct {
            const void *data;
            size_t size;
        } bytes;
    };
};

/* Copy @value into @arena. */
TPC_NODISCARD enum tpc_rc part_cell_copy(struct part_arena *arena, struct sqlite3_value *value,
                                         struct part_cell *out);
bool part_cell_equal(const struct part_cell *a, const struct part_cell *b);
/* The bytes are bound as they lie: clear the bindings before they go away. SQLite's code. */
int part_cell_bind(struct sqlite3_stmt *stmt, int index, const struct part_cell *cell);

/* Exact, for the log. */
void part_cell_encode(struct tpc_buf *out, const struct part_cell *cell);
/* Reads at *@at, moves it on; the bytes stay where they are. False when there is no cell. */
TPC_NODISCARD bool part_cell_decode(const uint8_t **at, const uint8_t *end, struct part_cell *out);
/* So that values which are equal under @collation become equal bytes. */
void part_cell_normal(struct tpc_buf *out, const struct part_cell *cell,
                      enum part_collation collation);

/* Bind all parameters as they lie. SQLite's code. */
int part_bind_params(struct sqlite3_stmt *stmt, const struct api_statement *statement);
/* {"columns":[…],"rows":[ and the like, value by value. */
void part_write_columns(struct tpc_buf *out, struct sqlite3_stmt *stmt);
void part_write_row(struct tpc_buf *out, struct sqlite3_stmt *stmt);

#endif
