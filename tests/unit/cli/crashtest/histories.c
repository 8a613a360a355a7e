#include "tests/unit/cli/crashtest/histories.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- Words ---- */

/* The next word, or one of , ; : = alone; "" at the end. */
static const char *next_word(const char **at, char out[64])
{
    size_t size;
    *at += strspn(*at, " \n");
    size = strcspn(*at, " \n,;:=");
    if (size == 0 && **at != '\0') {
        size = 1;
    }
    assert_true(size < 64);
    memcpy(out, *at, size);
    out[size] = '\0';
    *at += size;
    return out;
}

static bool peek(const char *at, const char *word)
{
    char next[64];
    return strcmp(next_word(&at, next), word) == 0;
}

static bool take(const char **at, const char *word)
{
    char ignored[64];
    bool there = peek(*at, word);
    if (there) {
        next_word(at, ignored);
    }
    return there;
}

static bool is_number(const char *at)
{
    char word[64], *end;
    next_word(&at, word);
    (void)strtoll(word, &end, 10);
    return word[0] != '\0' && *end == '\0';
}

static int64_t number(const char **at)
{
    char word[64];
    assert_true(is_number(*at));
    return strtoll(next_word(at, word), NULL, 10);
}

static unsigned member(const struct cli_history *history, const char **at)
{
    char word[64];
    next_word(at, word);
    for (unsigned i = 0; i < history->member_count; i++) {
        if (strcmp(history->members[i], word) == 0) {
            return i;
        }
    }
    fail_msg("no member '%s'", word);
    return 0;
}

/* ---- Transactions ---- */

static enum cli_op_kind kind(const char **at)
{
    static const char *const names[] = {"append", "read", "move", "balances"};
    for (unsigned i = 0; i < CLI_OP_COUNT; i++) {
        if (take(at, names[i])) {
            return (enum cli_op_kind)i;
        }
    }
    fail_msg("no operation: %s", *at);
    return CLI_OP_COUNT;
}

static void make_op(const struct cli_history *history, const char **at, struct cli_txn *txn)
{
    enum cli_op_kind what = kind(at);
    unsigned where = member(history, at);
    int64_t key = what != CLI_OP_BALANCES ? number(at) : 0;
    bool writes = what == CLI_OP_APPEND || what == CLI_OP_MOVE;
    struct cli_op *op = cli_txn_add_op(txn, what, where, key, writes ? number(at) : 0);
    op->seen = take(at, "=");
    while (op->seen && is_number(*at)) {
        cli_op_add_value(op, number(at));
    }
}

static enum cli_told told(const char **at)
{
    if (take(at, "not-started")) {
        return CLI_TOLD_NOT_STARTED;
    }
    for (unsigned i = 0; i < CLI_TOLD_COUNT; i++) {
        if (take(at, cli_told_name((enum cli_told)i))) {
            return (enum cli_told)i;
        }
    }
    fail_msg("no outcome: %s", *at);
    return CLI_TOLD_UNKNOWN;
}

static void make_txn(struct cli_history *history, const char **at)
{
    static const int statuses[] = {0, 201, 409, 503};
    struct cli_txn txn = {.tries = 1};
    char name[64];
    (void)snprintf(txn.name, sizeof txn.name, "%.39s", next_word(at, name));
    txn.invoked = take(at, "beside") ? 0 : 2 * history->count + 1;
    txn.completed = 2 * history->count + 2;
    txn.impossible = take(at, "impossible");
    txn.keyed = take(at, "keyed");
    txn.told = told(at);
    txn.status = take(at, "status") ? (int)number(at) : statuses[txn.told];
    assert_true(take(at, ":"));
    do {
        make_op(history, at, &txn);
    } while (take(at, ","));
    cli_history_add(history, &txn);
}

void make_history(struct cli_history *history, const char *words)
{
    *history = (struct cli_history){
        .members = {"east", "west", "north"}, .member_count = 3, .seed = 7, .balance = 100};
    while (!peek(words, "")) {
        make_txn(history, &words);
        (void)take(&words, ";");
    }
}

/* ---- The end ---- */

void make_lists(struct cli_history *history, const char *words)
{
    history->final.has_lists = true;
    while (!peek(words, "")) {
        struct cli_op values = {0};
        struct cli_list list = {.member = member(history, &words), .key = number(&words)};
        assert_true(take(&words, ":"));
        while (is_number(words)) {
            cli_op_add_value(&values, number(&words));
        }
        list.count = values.count;
        list.values = values.values;
        cli_history_add_list(history, &list);
        (void)take(&words, ";");
    }
}

void make_bank(struct cli_history *history, const char *words)
{
    history->final.has_bank = true;
    for (unsigned i = 0; i < 4; i++) {
        cli_history_add_balance(history, i / 2, number(&words));
    }
    while (take(&words, ";")) {
        struct cli_row row = {0};
        char name[64];
        (void)snprintf(row.txn, sizeof row.txn, "%.39s", next_word(&words, name));
        row.member = member(history, &words);
        row.account = number(&words);
        row.amount = number(&words);
        cli_history_add_row(history, &row);
    }
    assert_true(peek(words, ""));
}

/* ---- What is found ---- */

static bool has_name(const char *names, const char *name)
{
    size_t size = strlen(name);
    for (const char *at = names; (at = strstr(at, name)) != NULL; at += size) {
        if ((at == names || at[-1] == ' ') && (at[size] == ' ' || at[size] == '\0')) {
            return true;
        }
    }
    return false;
}

void expect_findings(struct cli_history *history, const char *names)
{
    struct cli_findings findings = {0};
    bool right = true;
    cli_check_history(history, &findings);
    for (unsigned i = 0; i < CLI_ANOMALY_COUNT; i++) {
        bool expected = has_name(names, cli_anomaly_name((enum cli_anomaly)i));
        right = right && expected == (findings.counts[i] > 0);
    }
    for (size_t i = 0; i < findings.item_count && !right; i++) {
        print_message("%s: %s\n", cli_anomaly_name(findings.items[i].anomaly),
                      findings.items[i].text);
    }
    cli_findings_done(&findings);
    cli_history_done(history);
    if (!right) {
        fail_msg("expected '%s', and found the above", names);
    }
}
