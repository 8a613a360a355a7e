#include "cli/bench/load.h"

#include <ctype.h>
#include <string.h>

static const struct {
    const char *name, *what;
    unsigned members;
} loads[CLI_LOAD_COUNT] = {
#define CLI_LOAD_ROW(id, name, members, what) [CLI_LOAD_##id] = {name, what, members},
    CLI_LOAD_LIST(CLI_LOAD_ROW)
#undef CLI_LOAD_ROW
};

static const char *const sql_names[CLI_BENCH_SQLS] = {"sqlite", "postgresql", "mariadb"};

const char *cli_load_name(enum cli_load load)
{
    return loads[load].name;
}

const char *cli_load_what(enum cli_load load)
{
    return loads[load].what;
}

unsigned cli_load_members(enum cli_load load)
{
    return loads[load].members;
}

enum cli_load cli_load_parse(const char *name)
{
    unsigned i = 0;
    while (i < CLI_LOAD_COUNT && strcmp(loads[i].name, name) != 0) {
        i++;
    }
    return (enum cli_load)i;
}

const char *cli_bench_sql_name(enum cli_bench_sql sql)
{
    return sql_names[sql];
}

enum cli_bench_sql cli_bench_sql_parse(const char *name)
{
    unsigned i = 0;
    while (i < CLI_BENCH_SQLS && strcmp(sql_names[i], name) != 0) {
        i++;
    }
    return (enum cli_bench_sql)i;
}

/* ---- Tables ---- */

/* "assent_bench_NAME": several participants may share a database. */
static void add_table(struct tpc_buf *out, const struct cli_load_member *member)
{
    tpc_buf_adds(out, "assent_bench_");
    for (const char *c = member->name; *c != '\0'; c++) {
        tpc_buf_addc(out, isalnum((unsigned char)*c) ? (char)tolower((unsigned char)*c) : '_');
    }
}

void cli_load_drop(const struct cli_load_member *member, struct tpc_buf *out)
{
    tpc_buf_adds(out, "DROP TABLE IF EXISTS ");
    add_table(out, member);
    tpc_buf_adds(out, ";\n");
}

void cli_load_table(const struct cli_load_member *member, unsigned accounts, struct tpc_buf *out)
{
    cli_load_drop(member, out);
    tpc_buf_adds(out, "CREATE TABLE ");
    add_table(out, member);
    tpc_buf_addf(out, " (id INTEGER %sPRIMARY KEY, balance BIGINT NOT NULL)%s;\nINSERT INTO ",
                 member->sql == CLI_BENCH_SQLITE ? "" : "NOT NULL ",
                 member->sql == CLI_BENCH_MARIADB ? " ENGINE=InnoDB" : "");
    add_table(out, member);
    tpc_buf_adds(out, " (id, balance) ");
    switch (member->sql) {
    case CLI_BENCH_SQLITE:
        tpc_buf_addf(out,
                     "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %u)"
                     " SELECT i, %d FROM n;\n",
                     accounts, CLI_BENCH_BALANCE);
        break;
    case CLI_BENCH_POSTGRESQL:
        tpc_buf_addf(out, "SELECT i, %d FROM generate_series(1, %u) AS n(i);\n", CLI_BENCH_BALANCE,
                     accounts);
        break;
    case CLI_BENCH_MARIADB:
        tpc_buf_addf(out, "SELECT seq, %d FROM seq_1_to_%u;\n", CLI_BENCH_BALANCE, accounts);
        break;
    case CLI_BENCH_SQLS:
        break;
    }
}

void cli_load_query(const struct cli_load_member *member, struct tpc_buf *out)
{
    static const char *const integers[CLI_BENCH_SQLS] = {"INTEGER", "BIGINT", "SIGNED"};
    tpc_buf_addf(out, "SELECT count(*), max(id), CAST(sum(balance) AS %s) FROM ",
                 integers[member->sql]);
    add_table(out, member);
}

/* ---- Transactions ---- */

/* SplitMix64. */
static unsigned below(uint64_t *random, unsigned bound)
{
    uint64_t z = *random += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (unsigned)((z ^ (z >> 31)) % bound);
}

static void add_branch(const struct cli_load_options *options, unsigned index, char sign,
                       unsigned account, struct tpc_buf *out)
{
    const struct cli_load_member *member = &options->members[index];
    const char *mark = member->sql == CLI_BENCH_POSTGRESQL ? "$1" : "?";
    bool reads = options->load == CLI_LOAD_READ;
    tpc_buf_adds(out,
                 out->data[out->size - 1] == '[' ? "{\"participant\":\"" : ",{\"participant\":\"");
    tpc_buf_adds(out, member->name);
    tpc_buf_adds(out, reads ? "\",\"statements\":[{\"sql\":\"SELECT balance FROM "
                            : "\",\"statements\":[{\"sql\":\"UPDATE ");
    add_table(out, member);
    if (!reads) {
        tpc_buf_addf(out, " SET balance = balance %c 1", sign);
    }
    tpc_buf_addf(out, " WHERE id = %s\",\"params\":[%u],\"expect\":{\"rows\":1}}]}", mark, account);
}

static unsigned choose_account(const struct cli_load_options *options, uint64_t *random)
{
    unsigned accounts = options->accounts;
    if (options->load == CLI_LOAD_HOT && accounts > CLI_BENCH_HOT) {
        accounts = CLI_BENCH_HOT;
    }
    return 1 + below(random, accounts);
}

/* `wide`: the first half of all, seen from @from in a circle, gives, the second gets; of an odd
 * number the last does neither. */
static char wide_sign(const struct cli_load_options *options, const struct cli_load_move *move,
                      unsigned index)
{
    unsigned count = options->member_count, half = count / 2;
    unsigned place = (index + count - move->from) % count;
    return place < half ? '-' : place < 2 * half ? '+' : ' ';
}

struct cli_load_move cli_load_next(const struct cli_load_options *options, uint64_t *random,
                                   struct tpc_buf *out)
{
    unsigned count = options->member_count;
    struct cli_load_move move = {.from = below(random, count)};
    move.to = (move.from + 1 + (count > 2 ? below(random, count - 1) : 0)) % count;
    tpc_buf_clear(out);
    tpc_buf_adds(out, "{");
    if (options->decided) {
        tpc_buf_adds(out, "\"ack\":\"decided\",");
    }
    tpc_buf_addf(out, "\"timeout_ms\":%u,\"branches\":[", options->timeout_ms);
    if (options->load != CLI_LOAD_WIDE) {
        add_branch(options, move.from, '-', choose_account(options, random), out);
        add_branch(options, move.to, '+', choose_account(options, random), out);
    }
    for (unsigned i = 0; options->load == CLI_LOAD_WIDE && i < count; i++) {
        char sign = wide_sign(options, &move, i);
        if (sign != ' ') {
            add_branch(options, i, sign, choose_account(options, random), out);
        }
    }
    tpc_buf_adds(out, "]}");
    return move;
}

void cli_load_apply(const struct cli_load_options *options, const struct cli_load_move *move,
                    int64_t sums[CLI_BENCH_MEMBERS_MAX])
{
    switch (options->load) {
    case CLI_LOAD_TRANSFER:
    case CLI_LOAD_HOT:
        sums[move->from]--;
        sums[move->to]++;
        break;
    case CLI_LOAD_WIDE:
        for (unsigned i = 0; i < options->member_count; i++) {
            char sign = wide_sign(options, move, i);
            sums[i] += sign == '+' ? 1 : sign == '-' ? -1 : 0;
        }
        break;
    case CLI_LOAD_NOOP:
    case CLI_LOAD_READ:
    case CLI_LOAD_COUNT:
        break;
    }
}
