#include "participant/sqlite_schema.h"

#include "base/buf.h"
#include "base/hash.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define COLUMNS_MAX 2000 /* SQLite's own limit */
#define NOT_STORED  UINT16_MAX

/* A key under construction, while rows of a PRAGMA go by. */
struct draft {
    char number[16]; /* of the index or the foreign key; "": none begun */
    bool primary, partial, coarse, unseen, broken, integer;
    size_t count;
    uint16_t columns[COLUMNS_MAX], parent_columns[COLUMNS_MAX];
    enum part_collation collations[COLUMNS_MAX];
    bool converts;
    enum part_affinity conversions[COLUMNS_MAX];
};

struct load {
    struct part_schema *schema;
    sqlite3 *db;
    struct tpc_err *reterr;
    struct part_table *table;
    struct part_table *parent;
    uint16_t column_by_cid[COLUMNS_MAX];
    bool real_by_cid[COLUMNS_MAX];
    size_t cid_count;
    struct draft draft;
};

typedef enum tpc_rc row_fn(struct load *load, sqlite3_stmt *row);

static const char *column_text(sqlite3_stmt *row, int column)
{
    const char *text = (const char *)sqlite3_column_text(row, column);
    return text != NULL ? text : "";
}

static enum tpc_rc each_row(struct load *load, const char *sql, const char *argument, row_fn *visit)
{
    sqlite3_stmt *stmt = NULL;
    enum tpc_rc rc = TPC_OK;
    int sqlite_rc = sqlite3_prepare_v2(load->db, sql, -1, &stmt, NULL);
    if (sqlite_rc == SQLITE_OK && argument != NULL) {
        sqlite_rc = sqlite3_bind_text(stmt, 1, argument, -1, SQLITE_STATIC);
    }
    while (rc == TPC_OK && sqlite_rc == SQLITE_OK) {
        sqlite_rc = sqlite3_step(stmt);
        if (sqlite_rc == SQLITE_ROW) {
            sqlite_rc = SQLITE_OK;
            rc = visit(load, stmt);
        }
    }
    if (rc == TPC_OK && sqlite_rc != SQLITE_DONE) {
        rc =
            tpc_fail(load->reterr, TPC_EIO, "cannot read the schema: %s", sqlite3_errmsg(load->db));
    }
    sqlite3_finalize(stmt);
    return rc;
}

static char *lower_name(struct part_arena *arena, const char *name)
{
    char *out = part_arena_string(arena, name);
    for (char *c = out; c != NULL && *c != '\0'; c++) {
        if (*c >= 'A' && *c <= 'Z') {
            *c = (char)(*c - 'A' + 'a');
        }
    }
    return out;
}

char *part_quote_name(struct part_arena *arena, const char *name)
{
    char *out = part_arena_alloc(arena, 2 * strlen(name) + 3);
    if (out != NULL) {
        char *at = out;
        *at++ = '"';
        for (; *name != '\0'; name++) {
            if (*name == '"') {
                *at++ = '"';
            }
            *at++ = *name;
        }
        *at = '"';
    }
    return out;
}

/* The rules of "Determination Of Column Affinity" in SQLite's documentation. */
enum part_affinity part_affinity_of(const char *declared_type)
{
    if (strcasestr(declared_type, "INT") != NULL) {
        return PART_AFF_NUMERIC;
    }
    if (strcasestr(declared_type, "CHAR") != NULL || strcasestr(declared_type, "CLOB") != NULL ||
        strcasestr(declared_type, "TEXT") != NULL) {
        return PART_AFF_TEXT;
    }
    return strcasestr(declared_type, "BLOB") != NULL || *declared_type == '\0' ? PART_AFF_BLOB
                                                                               : PART_AFF_NUMERIC;
}

static bool is_real(const char *declared_type)
{
    return part_affinity_of(declared_type) == PART_AFF_NUMERIC &&
           strcasestr(declared_type, "INT") == NULL &&
           (strcasestr(declared_type, "REAL") != NULL ||
            strcasestr(declared_type, "FLOA") != NULL || strcasestr(declared_type, "DOUB") != NULL);
}

static enum part_collation collation_of(const char *name)
{
    return strcasecmp(name, "BINARY") == 0   ? PART_COLL_BINARY
           : strcasecmp(name, "NOCASE") == 0 ? PART_COLL_NOCASE
           : strcasecmp(name, "RTRIM") == 0  ? PART_COLL_RTRIM
                                             : PART_COLL_OTHER;
}

/* The name of the lock of a table, or of the values of some of its columns. */
static enum tpc_rc space_name(char kind, const struct part_table *table, const uint16_t *columns,
                              const enum part_collation *collations, size_t count,
                              struct tpc_id *out)
{
    struct tpc_buf buf = {0};
    tpc_buf_addc(&buf, kind);
    tpc_buf_add(&buf, table->lower, strlen(table->lower) + 1);
    for (size_t i = 0; i < count; i++) {
        tpc_buf_addf(&buf, "%u %d,", columns[i], (int)collations[i]);
    }
    bool failed = buf.failed;
    if (!failed) {
        tpc_digest(buf.data, buf.size, out);
    }
    tpc_buf_done(&buf);
    return failed ? TPC_ENOMEM : TPC_OK;
}

static enum tpc_rc name_shape(struct part_table *table)
{
    struct tpc_buf buf = {0};
    for (size_t i = 0; i < table->column_count; i++) {
        tpc_buf_addf(&buf, "%s%s,", table->columns[i].quoted,
                     table->columns[i].generated ? "=" : "");
    }
    for (size_t i = 0; i < table->primary.count; i++) {
        tpc_buf_addf(&buf, "%u,", table->primary.columns[i]);
    }
    bool failed = buf.failed;
    if (!failed) {
        tpc_digest(buf.data, buf.size, &table->shape);
    }
    tpc_buf_done(&buf);
    return failed ? TPC_ENOMEM : TPC_OK;
}

static enum tpc_rc fill_key(struct load *load, struct part_key *key)
{
    const struct draft *draft = &load->draft;
    struct part_arena *arena = &load->schema->arena;
    key->count = draft->count;
    key->columns = part_arena_copy(arena, draft->columns, draft->count * sizeof(*key->columns));
    key->collations =
        part_arena_copy(arena, draft->collations, draft->count * sizeof(*key->collations));
    key->coarse = draft->coarse || draft->unseen;
    key->unseen = draft->unseen;
    key->partial = draft->partial;
    for (size_t i = 0; i < draft->count; i++) {
        key->coarse |= draft->collations[i] == PART_COLL_OTHER;
    }
    return key->columns != NULL && key->collations != NULL ? TPC_OK : TPC_ENOMEM;
}

/* ---- Tables and columns ---- */

static enum tpc_rc on_table(struct load *load, sqlite3_stmt *row)
{
    struct part_arena *arena = &load->schema->arena;
    struct part_table *table = part_arena_alloc(arena, sizeof(*table));
    if (table == NULL) {
        return TPC_ENOMEM;
    }
    const char *type = column_text(row, 1);
    table->name = part_arena_string(arena, column_text(row, 0));
    table->kind = strcmp(type, "table") == 0  ? PART_TABLE_ORDINARY
                  : strcmp(type, "view") == 0 ? PART_TABLE_VIEW
                                              : PART_TABLE_VIRTUAL;
    table->without_rowid = sqlite3_column_int(row, 2) != 0;
    table->column_count = (size_t)sqlite3_column_int64(row, 3); /* at most; load_columns counts */
    table->strict = sqlite3_column_int(row, 4) != 0;
    table->quoted = table->name != NULL ? part_quote_name(arena, table->name) : NULL;
    table->lower = table->name != NULL ? lower_name(arena, table->name) : NULL;
    if (table->quoted == NULL || table->lower == NULL) {
        return TPC_ENOMEM;
    }
    HASH_ADD_KEYPTR(hh, load->schema->tables, table->lower, strlen(table->lower), table);
    return space_name('t', table, NULL, NULL, 0, &table->id);
}

static enum tpc_rc on_column(struct load *load, sqlite3_stmt *row)
{
    struct part_table *table = load->table;
    struct part_arena *arena = &load->schema->arena;
    int hidden = sqlite3_column_int(row, 3);
    if (load->cid_count == COLUMNS_MAX) {
        return TPC_ETOOBIG;
    }
    load->real_by_cid[load->cid_count] = is_real(column_text(row, 2));
    if (hidden == 2) { /* generated, not stored */
        load->column_by_cid[load->cid_count++] = NOT_STORED;
        return TPC_OK;
    }
    load->column_by_cid[load->cid_count++] = (uint16_t)table->column_count;
    struct part_column *column = &table->columns[table->column_count++];
    column->name = part_arena_string(arena, column_text(row, 1));
    column->quoted = part_quote_name(arena, column_text(row, 1));
    if (column->name == NULL || column->quoted == NULL) {
        return TPC_ENOMEM;
    }
    column->affinity = table->strict && strcasecmp(column_text(row, 2), "ANY") == 0
                           ? PART_AFF_BLOB
                           : part_affinity_of(column_text(row, 2));
    column->number = (uint16_t)(load->cid_count - 1);
    column->generated = hidden == 3;
    column->has_default = sqlite3_column_int(row, 4) != 0;
    const char *collation = NULL;
    sqlite3_table_column_metadata(load->db, "main", table->name, column->name, NULL, &collation,
                                  NULL, NULL, NULL);
    column->collation = collation_of(collation != NULL ? collation : "BINARY");
    int position = sqlite3_column_int(row, 5);
    if (position > 0) {
        load->draft.columns[position - 1] = (uint16_t)(table->column_count - 1);
        load->draft.collations[position - 1] = PART_COLL_BINARY;
        load->draft.integer = strcasecmp(column_text(row, 2), "INTEGER") == 0;
        load->draft.count++;
    }
    return TPC_OK;
}

static enum tpc_rc load_columns(struct load *load)
{
    struct part_table *table = load->table;
    table->columns =
        part_arena_alloc(&load->schema->arena, table->column_count * sizeof(struct part_column));
    table->column_count = 0;
    if (table->columns == NULL) {
        return TPC_ENOMEM;
    }
    load->draft = (struct draft){0};
    load->cid_count = 0;
    enum tpc_rc rc = each_row(load,
                              "SELECT cid, name, type, hidden, dflt_value IS NOT NULL, pk"
                              " FROM pragma_table_xinfo(?1) ORDER BY cid",
                              table->name, on_column);
    /* An INTEGER PRIMARY KEY is the rowid itself, and has no index: end_index looks. */
    table->makes_keys = load->draft.count == 1 && load->draft.integer && !table->without_rowid;
    return rc == TPC_OK ? fill_key(load, &table->primary) : rc;
}

/* ---- Unique keys ---- */

static enum tpc_rc end_index(struct load *load)
{
    struct draft *draft = &load->draft;
    struct part_table *table = load->table;
    if (draft->number[0] == '\0') {
        return TPC_OK;
    }
    if (draft->primary) {
        table->makes_keys = false;
        /* The index may compare otherwise than the columns do. */
        return draft->coarse ? TPC_OK : fill_key(load, &table->primary);
    }
    struct part_key *key = part_arena_alloc(&load->schema->arena, sizeof(*key));
    if (key == NULL || fill_key(load, key) != TPC_OK) {
        return TPC_ENOMEM;
    }
    key->next = table->uniques;
    table->uniques = key;
    return space_name('u', table, key->columns, key->collations, key->count, &key->space);
}

static enum tpc_rc on_index_column(struct load *load, sqlite3_stmt *row)
{
    struct draft *draft = &load->draft;
    const char *number = column_text(row, 0);
    if (strcmp(draft->number, number) != 0) {
        enum tpc_rc rc = end_index(load);
        if (rc != TPC_OK) {
            return rc;
        }
        *draft = (struct draft){0};
        (void)snprintf(draft->number, sizeof(draft->number), "%s", number);
        draft->primary = strcmp(column_text(row, 1), "pk") == 0;
        draft->partial = sqlite3_column_int(row, 2) != 0;
    }
    int cid = sqlite3_column_int(row, 3);
    /* An expression, the rowid, or a column whose value is not shown. */
    if (cid < 0 || (size_t)cid >= load->cid_count || load->column_by_cid[cid] == NOT_STORED) {
        draft->coarse = true;
        return TPC_OK;
    }
    draft->collations[draft->count] = collation_of(column_text(row, 4));
    draft->columns[draft->count++] = load->column_by_cid[cid];
    return TPC_OK;
}

static enum tpc_rc load_uniques(struct load *load)
{
    load->draft = (struct draft){0};
    enum tpc_rc rc = each_row(load,
                              "SELECT l.seq, l.origin, l.partial, x.cid, x.coll"
                              " FROM pragma_index_list(?1) l, pragma_index_xinfo(l.name) x"
                              " WHERE l.\"unique\" AND x.key ORDER BY l.seq, x.seqno",
                              load->table->name, on_index_column);
    return rc == TPC_OK ? end_index(load) : rc;
}

/* SQLite 3.40's preupdate hook counts columns in two ways: as they are declared, and as they are
 * stored. Where these differ it takes one column's affinity for another's, or the rowid for a
 * column's value. */
static void judge_numbers(struct load *load)
{
    struct part_table *table = load->table;
    const struct part_key *primary = &table->primary;
    bool is_rowid = table->makes_keys;
    table->misnumbered =
        is_rowid && table->columns[primary->columns[0]].number != primary->columns[0];
    size_t stored_at = primary->count; /* WITHOUT ROWID: the key is stored first */
    for (size_t i = 0; i < table->column_count; i++) {
        size_t at = i;
        for (size_t k = 0; table->without_rowid && k <= primary->count; k++) {
            if (k == primary->count) {
                at = stored_at++;
            } else if (primary->columns[k] == i) {
                at = k;
                break;
            }
        }
        struct part_column *column = &table->columns[i];
        column->shows_real = load->real_by_cid[at] && !load->real_by_cid[column->number] &&
                             !(is_rowid && primary->columns[0] == i);
    }
}

/* ---- Foreign keys ---- */

/* One name for the parent's key, in whatever order its children list the columns. */
static void sort_by_parent(struct draft *draft)
{
    for (size_t i = 1; i < draft->count; i++) {
        for (size_t j = i; j > 0 && draft->parent_columns[j] < draft->parent_columns[j - 1]; j--) {
            uint16_t parent = draft->parent_columns[j], child = draft->columns[j];
            enum part_collation collation = draft->collations[j];
            draft->parent_columns[j] = draft->parent_columns[j - 1];
            draft->columns[j] = draft->columns[j - 1];
            draft->collations[j] = draft->collations[j - 1];
            draft->parent_columns[j - 1] = parent;
            draft->columns[j - 1] = child;
            draft->collations[j - 1] = collation;
        }
    }
}

static enum tpc_rc add_parent_key(struct load *load, const struct tpc_id *space)
{
    for (struct part_key *key = load->parent->parents; key != NULL; key = key->next) {
        if (tpc_id_equal(&key->space, space)) {
            return TPC_OK;
        }
    }
    struct draft *draft = &load->draft;
    struct part_key *key = part_arena_alloc(&load->schema->arena, sizeof(*key));
    memcpy(draft->columns, draft->parent_columns, sizeof(draft->columns));
    draft->coarse = false;
    if (key == NULL || fill_key(load, key) != TPC_OK) {
        return TPC_ENOMEM;
    }
    key->space = *space;
    key->next = load->parent->parents;
    load->parent->parents = key;
    load->parent->has_foreign_keys = true;
    return TPC_OK;
}

static bool has_unstored(const uint16_t *columns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (columns[i] == NOT_STORED) {
            return true;
        }
    }
    return false;
}

static enum tpc_rc end_foreign_key(struct load *load)
{
    struct draft *draft = &load->draft;
    /* No such parent: SQLite refuses every use of such a key. */
    if (draft->number[0] == '\0' || draft->broken) {
        return TPC_OK;
    }
    if (has_unstored(draft->parent_columns, draft->count)) {
        draft->unseen = true; /* on both sides, and in a space for all such keys */
        draft->count = 0;
    }
    sort_by_parent(draft);
    bool child_unseen = draft->unseen || has_unstored(draft->columns, draft->count);
    for (size_t i = 0; i < draft->count && !child_unseen; i++) {
        const struct part_column *parent = &load->parent->columns[draft->parent_columns[i]];
        const struct part_column *child = &load->table->columns[draft->columns[i]];
        /* SQLite converts the child's value by the parent's affinity before it compares. */
        draft->conversions[i] = parent->affinity;
        draft->converts |= parent->affinity != child->affinity;
    }
    struct part_key *key = part_arena_alloc(&load->schema->arena, sizeof(*key));
    if (key == NULL || fill_key(load, key) != TPC_OK ||
        space_name('f', load->parent, draft->parent_columns, draft->collations, draft->count,
                   &key->space) != TPC_OK) {
        return TPC_ENOMEM;
    }
    key->coarse |= child_unseen;
    key->unseen = child_unseen;
    if (draft->converts) {
        key->conversions = part_arena_copy(&load->schema->arena, draft->conversions,
                                           draft->count * sizeof(*key->conversions));
        key->coarse |= key->conversions == NULL;
    }
    key->parent = load->parent;
    key->next = load->table->children;
    load->table->children = key;
    load->table->has_foreign_keys = true;
    return add_parent_key(load, &key->space);
}

static uint16_t column_named(const struct part_table *table, const char *name)
{
    for (size_t i = 0; i < table->column_count; i++) {
        if (strcasecmp(table->columns[i].name, name) == 0) {
            return (uint16_t)i;
        }
    }
    return NOT_STORED;
}

static enum tpc_rc on_foreign_key_column(struct load *load, sqlite3_stmt *row)
{
    struct draft *draft = &load->draft;
    const char *number = column_text(row, 0);
    if (strcmp(draft->number, number) != 0) {
        enum tpc_rc rc = end_foreign_key(load);
        if (rc != TPC_OK) {
            return rc;
        }
        *draft = (struct draft){0};
        (void)snprintf(draft->number, sizeof(draft->number), "%s", number);
        load->parent = part_schema_find(load->schema, column_text(row, 1));
        draft->broken = load->parent == NULL || load->parent->kind != PART_TABLE_ORDINARY;
    }
    bool named = sqlite3_column_type(row, 3) != SQLITE_NULL;
    if (draft->broken || draft->count == COLUMNS_MAX ||
        (!named && draft->count == load->parent->primary.count)) {
        draft->broken = true;
        return TPC_OK;
    }
    const struct part_key *primary = &load->parent->primary;
    size_t at = draft->count++;
    draft->columns[at] = column_named(load->table, column_text(row, 2));
    draft->parent_columns[at] =
        named ? column_named(load->parent, column_text(row, 3)) : primary->columns[at];
    /* The index of a primary key may compare otherwise than its columns do. */
    if (!named) {
        draft->collations[at] = primary->collations[at];
    } else if (draft->parent_columns[at] != NOT_STORED) {
        draft->collations[at] = load->parent->columns[draft->parent_columns[at]].collation;
    }
    return TPC_OK;
}

static enum tpc_rc load_foreign_keys(struct load *load)
{
    load->draft = (struct draft){0};
    enum tpc_rc rc = each_row(load,
                              "SELECT id, \"table\", \"from\", \"to\""
                              " FROM pragma_foreign_key_list(?1) ORDER BY id, seq",
                              load->table->name, on_foreign_key_column);
    return rc == TPC_OK ? end_foreign_key(load) : rc;
}

/* ---- All of it ---- */

static enum tpc_rc on_trigger(struct load *load, sqlite3_stmt *row)
{
    struct part_table *table = part_schema_find(load->schema, column_text(row, 0));
    if (table != NULL) {
        table->has_triggers = true;
    }
    return TPC_OK;
}

static enum tpc_rc on_root_page(struct load *load, sqlite3_stmt *row)
{
    struct part_table *table = part_schema_find(load->schema, column_text(row, 0));
    int64_t page = sqlite3_column_int64(row, 1);
    if (table == NULL) {
        return TPC_OK;
    }
    if (sqlite3_column_int(row, 2) == 0) {
        table->root_page = page;
        return TPC_OK;
    }
    size_t size = table->index_count * sizeof(page);
    int64_t *pages = part_arena_alloc(&load->schema->arena, size + sizeof(page));
    if (pages == NULL) {
        return TPC_ENOMEM;
    }
    if (size > 0) {
        memcpy(pages, table->index_pages, size);
    }
    pages[table->index_count++] = page;
    table->index_pages = pages;
    return TPC_OK;
}

static enum tpc_rc load_all(struct load *load, bool foreign_keys)
{
    enum tpc_rc rc = each_row(load,
                              "SELECT name, type, wr, ncol, strict FROM pragma_table_list"
                              " WHERE schema = 'main' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
                              NULL, on_table);
    struct part_table *table, *next;
    HASH_ITER (hh, load->schema->tables, table, next) {
        load->table = table;
        if (rc == TPC_OK && table->kind == PART_TABLE_ORDINARY) {
            rc = load_columns(load);
            rc = rc == TPC_OK ? load_uniques(load) : rc;
            rc = rc == TPC_OK ? name_shape(table) : rc;
            if (rc == TPC_OK) {
                judge_numbers(load);
            }
        }
    }
    HASH_ITER (hh, load->schema->tables, table, next) {
        load->table = table;
        if (rc == TPC_OK && foreign_keys && table->kind == PART_TABLE_ORDINARY) {
            rc = load_foreign_keys(load);
        }
    }
    rc = rc == TPC_OK ? each_row(load, "SELECT tbl_name FROM sqlite_schema WHERE type = 'trigger'",
                                 NULL, on_trigger)
                      : rc;
    return rc == TPC_OK ? each_row(load,
                                   "SELECT tbl_name, rootpage, type = 'index' FROM sqlite_schema"
                                   " WHERE rootpage > 0",
                                   NULL, on_root_page)
                        : rc;
}

enum tpc_rc part_schema_load(struct part_schema *schema, struct sqlite3 *db, bool foreign_keys,
                             struct tpc_err *reterr)
{
    part_schema_done(schema);
    struct load *load = calloc(1, sizeof(*load));
    enum tpc_rc rc = TPC_ENOMEM;
    if (load != NULL) {
        load->schema = schema;
        load->db = db;
        load->reterr = reterr;
        rc = load_all(load, foreign_keys);
    }
    free(load);
    if (rc != TPC_OK) {
        part_schema_done(schema);
        return tpc_fail(reterr, rc, "cannot read the schema: %s", tpc_rc_text(rc));
    }
    return TPC_OK;
}

void part_schema_done(struct part_schema *schema)
{
    HASH_CLEAR(hh, schema->tables);
    part_arena_done(&schema->arena);
}

struct part_table *part_schema_find(const struct part_schema *schema, const char *name)
{
    char lower[512];
    size_t size = strlen(name);
    struct part_table *table = NULL;
    if (size < sizeof(lower)) {
        for (size_t i = 0; i < size; i++) {
            lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] - 'A' + 'a' : name[i]);
        }
        HASH_FIND(hh, schema->tables, lower, size, table);
        return table;
    }
    for (table = schema->tables; table != NULL; table = table->hh.next) {
        if (strcasecmp(table->name, name) == 0) {
            return table;
        }
    }
    return NULL;
}
