/* The captured change as bytes. All numbers are little-endian.
 *
 *   u8   version (1)
 *   u32  locks;   each: 16 bytes name, u8 modes
 *   u32  tables;  each: u16 length, name, u16 columns, 16 bytes part_table.shape (to notice that
 *        it was altered)
 *   u32  changes; each: u8 operation, u32 table, then
 *        INSERT  u16 count, count × (u16 column, cell after)
 *        DELETE  u16 count, count × (u16 column, cell before)
 *        UPDATE  u16 key count, cells of the primary key before;
 *                u16 count, count × (u16 column, cell before, cell after)
 *
 * Generated columns are left out, and a cell before is "any" where SQLite does not show it truly,
 * as with the old value of a column that was added with a default. Cells are as part_cell_encode
 * writes them. */
#include "participant/sqlite_internal.h"

#include <string.h>

#define VERSION     1
#define COLUMNS_MAX 2000

/* ---- Writing ---- */

static void add_u16(struct tpc_buf *out, size_t value)
{
    uint8_t bytes[2] = {(uint8_t)value, (uint8_t)(value >> 8)};
    tpc_buf_add(out, bytes, sizeof(bytes));
}

static void add_u32(struct tpc_buf *out, size_t value)
{
    uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                        (uint8_t)(value >> 24)};
    tpc_buf_add(out, bytes, sizeof(bytes));
}

static void set_u16(struct tpc_buf *out, size_t offset, size_t value)
{
    if (!out->failed) {
        out->data[offset] = (char)(uint8_t)value;
        out->data[offset + 1] = (char)(uint8_t)(value >> 8);
    }
}

static void set_u32(struct tpc_buf *out, size_t offset, size_t value)
{
    set_u16(out, offset, value & 0xffff);
    set_u16(out, offset + 2, value >> 16);
}

/* Tables get their numbers in order of first use; they are few. */
struct table_list {
    const struct part_table *items[256];
    size_t count;
};

static size_t number_of(struct table_list *list, const struct part_table *table)
{
    size_t i = list->count;
    while (i > 0 && list->items[i - 1] != table) {
        i--;
    }
    if (i > 0) {
        return i - 1;
    }
    if (list->count == sizeof(list->items) / sizeof(list->items[0])) {
        return SIZE_MAX;
    }
    list->items[list->count] = table;
    return list->count++;
}

static void write_row(struct tpc_buf *out, const struct part_change *change, bool after)
{
    const struct part_table *table = change->table;
    size_t count_at = out->size, count = 0;
    add_u16(out, 0);
    for (size_t i = 0; i < table->column_count; i++) {
        if (table->columns[i].generated) {
            continue;
        }
        count++;
        add_u16(out, i);
        part_cell_encode(out, after ? &change->after[i] : &change->before[i]);
    }
    set_u16(out, count_at, count);
}

static void write_update(struct tpc_buf *out, const struct part_change *change)
{
    const struct part_table *table = change->table;
    add_u16(out, table->primary.count);
    for (size_t i = 0; i < table->primary.count; i++) {
        part_cell_encode(out, &change->before[table->primary.columns[i]]);
    }
    size_t count_at = out->size, count = 0;
    add_u16(out, 0);
    for (size_t i = 0; i < table->column_count; i++) {
        if (!table->columns[i].generated &&
            !part_cell_equal(&change->before[i], &change->after[i])) {
            count++;
            add_u16(out, i);
            part_cell_encode(out, &change->before[i]);
            part_cell_encode(out, &change->after[i]);
        }
    }
    set_u16(out, count_at, count);
}

static bool is_nothing(const struct part_change *change)
{
    if (change->before == NULL || change->after == NULL) {
        return change->before == change->after;
    }
    for (size_t i = 0; i < change->table->column_count; i++) {
        if (!part_cell_equal(&change->before[i], &change->after[i])) {
            return false;
        }
    }
    return true;
}

static void write_change(struct tpc_buf *out, const struct part_change *change, size_t table)
{
    enum part_change_op op = change->before == NULL  ? PART_CHANGE_INSERT
                             : change->after == NULL ? PART_CHANGE_DELETE
                                                     : PART_CHANGE_UPDATE;
    tpc_buf_addc(out, (char)op);
    add_u32(out, table);
    if (op == PART_CHANGE_UPDATE) {
        write_update(out, change);
    } else {
        write_row(out, change, op == PART_CHANGE_INSERT);
    }
}

/* Rows that go make room for rows that come: deletions first. */
static size_t write_changes(struct tpc_buf *out, const struct part_capture *capture,
                            struct table_list *tables, bool deletions)
{
    size_t count = 0;
    for (const struct part_change *c = capture->first; c != NULL; c = c->next) {
        if (!is_nothing(c) && (c->after == NULL) == deletions) {
            write_change(out, c, number_of(tables, c->table));
            count++;
        }
    }
    return count;
}

bool part_payload_write(struct tpc_buf *out, const struct part_capture *capture)
{
    struct table_list tables = {0};
    tpc_buf_clear(out);
    tpc_buf_addc(out, VERSION);
    add_u32(out, capture->lock_count);
    for (size_t i = 0; i < capture->lock_count; i++) {
        tpc_buf_add(out, &capture->locks[i].name, sizeof(capture->locks[i].name));
        tpc_buf_addc(out, (char)capture->locks[i].modes);
    }
    for (const struct part_change *c = capture->first; c != NULL; c = c->next) {
        if (!is_nothing(c) && number_of(&tables, c->table) == SIZE_MAX) {
            return false;
        }
    }
    add_u32(out, tables.count);
    for (size_t i = 0; i < tables.count; i++) {
        size_t size = strlen(tables.items[i]->name);
        add_u16(out, size);
        tpc_buf_add(out, tables.items[i]->name, size);
        add_u16(out, tables.items[i]->column_count);
        tpc_buf_add(out, &tables.items[i]->shape, sizeof(tables.items[i]->shape));
    }
    size_t count_at = out->size;
    add_u32(out, 0);
    size_t count = write_changes(out, capture, &tables, true);
    count += write_changes(out, capture, &tables, false);
    set_u32(out, count_at, count);
    return !out->failed;
}

/* ---- Reading ---- */

static bool read_bytes(struct part_payload *payload, void *out, size_t size)
{
    if ((size_t)(payload->end - payload->at) < size) {
        return false;
    }
    memcpy(out, payload->at, size);
    payload->at += size;
    return true;
}

static bool read_u16(struct part_payload *payload, size_t *out)
{
    uint8_t bytes[2];
    bool ok = read_bytes(payload, bytes, sizeof(bytes));
    *out = ok ? (size_t)bytes[0] | (size_t)bytes[1] << 8 : 0;
    return ok;
}

static bool read_u32(struct part_payload *payload, size_t *out)
{
    size_t low, high;
    bool ok = read_u16(payload, &low) && read_u16(payload, &high);
    *out = ok ? low | high << 16 : 0;
    return ok;
}

static bool read_locks(struct part_payload *payload)
{
    size_t count;
    if (!read_u32(payload, &count) || count > (size_t)(payload->end - payload->at) / 17) {
        return false;
    }
    payload->locks = part_arena_alloc(&payload->arena, (count + 1) * sizeof(*payload->locks));
    for (size_t i = 0; payload->locks != NULL && i < count; i++) {
        struct part_lock *lock = &payload->locks[i];
        if (!read_bytes(payload, &lock->name, sizeof(lock->name)) ||
            !read_bytes(payload, &lock->modes, 1) || lock->modes == 0 || lock->modes > 15) {
            return false;
        }
    }
    payload->lock_count = count;
    return payload->locks != NULL;
}

static bool read_tables(struct part_payload *payload)
{
    size_t count;
    if (!read_u32(payload, &count) || count > (size_t)(payload->end - payload->at) / 4) {
        return false;
    }
    payload->tables = part_arena_alloc(&payload->arena, (count + 1) * sizeof(*payload->tables));
    for (size_t i = 0; payload->tables != NULL && i < count; i++) {
        struct part_payload_table *table = &payload->tables[i];
        size_t size, columns;
        if (!read_u16(payload, &size) || (size_t)(payload->end - payload->at) < size) {
            return false;
        }
        table->name = part_arena_copy(&payload->arena, payload->at, size);
        payload->at += size;
        if (table->name == NULL || !read_u16(payload, &columns) ||
            !read_bytes(payload, &table->shape, sizeof(table->shape))) {
            return false;
        }
        table->column_count = (uint16_t)columns;
    }
    payload->table_count = count;
    return payload->tables != NULL;
}

enum tpc_rc part_payload_open(struct part_payload *payload, const void *data, size_t size)
{
    *payload = (struct part_payload){.at = data,
                                     .end = (const uint8_t *)data + size,
                                     .arena.must = true,
                                     .change_arena.must = true};
    uint8_t version = 0;
    if (!read_bytes(payload, &version, 1) || version != VERSION || !read_locks(payload) ||
        !read_tables(payload) || !read_u32(payload, &payload->changes_left)) {
        return TPC_ECORRUPT;
    }
    return TPC_OK;
}

static bool read_cell(struct part_payload *payload, struct part_cell *out)
{
    return part_cell_decode(&payload->at, payload->end, out);
}

static bool read_key(struct part_payload *payload, struct part_payload_change *out)
{
    if (!read_u16(payload, &out->key_count) || out->key_count > COLUMNS_MAX) {
        return false;
    }
    out->key = part_arena_alloc(&payload->change_arena, (out->key_count + 1) * sizeof(*out->key));
    for (size_t i = 0; out->key != NULL && i < out->key_count; i++) {
        if (!read_cell(payload, &out->key[i])) {
            return false;
        }
    }
    return out->key != NULL;
}

static bool read_change(struct part_payload *payload, struct part_payload_change *out)
{
    uint8_t op = 0;
    if (!read_bytes(payload, &op, 1) || op < PART_CHANGE_INSERT || op > PART_CHANGE_DELETE ||
        !read_u32(payload, &out->table) || out->table >= payload->table_count) {
        return false;
    }
    out->op = (enum part_change_op)op;
    if ((op == PART_CHANGE_UPDATE && !read_key(payload, out)) || !read_u16(payload, &out->count) ||
        out->count > COLUMNS_MAX) {
        return false;
    }
    struct part_arena *arena = &payload->change_arena;
    out->columns = part_arena_alloc(arena, (out->count + 1) * sizeof(*out->columns));
    out->before = part_arena_alloc(arena, (out->count + 1) * sizeof(*out->before));
    out->after = part_arena_alloc(arena, (out->count + 1) * sizeof(*out->after));
    if (out->columns == NULL || out->before == NULL || out->after == NULL) {
        return false;
    }
    uint16_t columns = payload->tables[out->table].column_count;
    for (size_t i = 0; i < out->count; i++) {
        size_t column;
        if (!read_u16(payload, &column) || column >= columns ||
            (op != PART_CHANGE_INSERT && !read_cell(payload, &out->before[i])) ||
            (op != PART_CHANGE_DELETE && !read_cell(payload, &out->after[i]))) {
            return false;
        }
        out->columns[i] = (uint16_t)column;
    }
    return true;
}

bool part_payload_next(struct part_payload *payload, struct part_payload_change *out)
{
    *out = (struct part_payload_change){0};
    part_arena_reset(&payload->change_arena);
    if (payload->changes_left == 0 || !read_change(payload, out)) {
        return false;
    }
    payload->changes_left--;
    return true;
}

void part_payload_done(struct part_payload *payload)
{
    part_arena_done(&payload->arena);
    part_arena_done(&payload->change_arena);
    *payload = (struct part_payload){0};
}
