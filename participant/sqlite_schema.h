/* What must be known of a database's tables to promise that a captured change still applies later:
 * primary keys, unique keys, foreign keys, triggers. Read anew whenever the schema changed. */
#ifndef ASSENT_PARTICIPANT_SQLITE_SCHEMA_H
#define ASSENT_PARTICIPANT_SQLITE_SCHEMA_H

#include "base/buf.h"
#include "base/id.h"
#include "base/table.h"
#include "participant/sqlite_arena.h"

struct sqlite3;
struct sqlite3_stmt;

enum part_collation { PART_COLL_BINARY, PART_COLL_NOCASE, PART_COLL_RTRIM, PART_COLL_OTHER };
enum part_affinity { PART_AFF_BLOB, PART_AFF_TEXT, PART_AFF_NUMERIC };

struct part_column {
    const char *name;   /* as declared */
    const char *quoted; /* ready for SQL text */
    enum part_affinity affinity;
    enum part_collation collation;
    bool generated;  /* stored: its value is seen, but never written */
    uint16_t number; /* among all columns of the table, those that are not stored too */
    /* Added with a default after rows were there, maybe: its old value may show as NULL. */
    bool has_default;
    /* SQLite takes it for a REAL when it shows the old value: a large integer loses digits. */
    bool shows_real;
};

/* Columns whose values together are a key: of the table itself, of a unique index, or the parent's
 * or child's side of a foreign key. */
struct part_key {
    struct tpc_id space; /* the lock that stands for all of its values */
    size_t count;
    const uint16_t *columns; /* in struct part_table.columns */
    const enum part_collation *collations;
    bool coarse;  /* the values cannot be told: lock the space */
    bool unseen;  /* nor whether they change */
    bool partial; /* a row may come under it by a change of other columns */
    /* Of a child's key: by which SQLite converts a value before it compares; NULL: as it is. */
    const enum part_affinity *conversions;
    const struct part_table *parent; /* of a child's key; its columns stand in the same order */
    struct part_key *next;
};

enum part_table_kind { PART_TABLE_ORDINARY, PART_TABLE_VIEW, PART_TABLE_VIRTUAL };

/* The highest key that SQLite made for a branch that is not committed, and its row. */
struct part_made_key {
    bool wanted; /* a statement lets SQLite make keys here */
    int64_t key;
    struct tpc_buf row; /* encoded cells; empty: none */
};

struct part_kept; /* a statement that applies changes, sqlite_apply.c */

struct part_table {
    const char *name;   /* as declared */
    const char *quoted; /* ready for SQL text */
    enum part_table_kind kind;
    bool without_rowid;
    bool strict;
    bool has_triggers;
    bool misnumbered;      /* the preupdate hook confuses its columns: it cannot be written */
    bool has_foreign_keys; /* on either side */
    struct tpc_id id;      /* of the table's lock */
    struct tpc_id shape;   /* digest of its columns and its primary key */
    size_t column_count;   /* without virtual generated columns, which are not stored */
    struct part_column *columns;
    struct part_key primary; /* count 0: none declared */
    bool makes_keys;         /* INTEGER PRIMARY KEY: SQLite gives one to a row that has none */
    int64_t root_page;
    size_t index_count; /* indexes of any kind */
    int64_t *index_pages;
    struct part_key *uniques;  /* without the primary key */
    struct part_key *children; /* foreign keys of this table: its columns, the parent's space */
    struct part_key *parents;  /* keys of this table that others refer to */
    struct part_kept *kept;    /* sqlite_apply.c's, most recently used first */
    struct part_made_key made; /* sqlite_keys.c's */
    const char *lower;         /* the hash key */
    UT_hash_handle hh;
};

/* Zero-initialise before use. */
struct part_schema {
    struct part_arena arena;
    struct part_table *tables;
};

/* Read everything. @foreign_keys: whether they are enforced; if not, they are not looked at. On
 * failure @schema is empty. TPC_EIO with SQLite's words, TPC_ENOMEM. */
TPC_NODISCARD enum tpc_rc part_schema_load(struct part_schema *schema, struct sqlite3 *db,
                                           bool foreign_keys, struct tpc_err *reterr);
/* The statements kept with the tables must have been finalized (part_apply_forget). */
void part_schema_done(struct part_schema *schema);
/* By name in any case, or NULL. */
struct part_table *part_schema_find(const struct part_schema *schema, const char *name);

enum part_affinity part_affinity_of(const char *declared_type);
/* "name" with quotes doubled, for SQL text. */
char *part_quote_name(struct part_arena *arena, const char *name);

#endif
