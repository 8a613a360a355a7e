#include "cli/crashtest/workload_internal.h"

enum {
    AMOUNT_MAX = 5,
    MONEY_NOBODY_HAS = 1000000000,
    OPS_MAX = 4,
    LIST_MEMBERS_MAX = 3,
    LISTS_AT_A_TIME = 5, /* few, so that transactions meet */
    TXNS_PER_LIST = 10,  /* then the next one takes its place, so that none gets long */
};

void cli_workload_default(struct cli_workload_options *options)
{
    static const struct cli_workload_options defaults = {.clients = 8,
                                                         .prefix = "t",
                                                         .accounts = 10,
                                                         .balance = 100,
                                                         .lists = 64,
                                                         .keyed_percent = 30,
                                                         .within_percent = 20,
                                                         .impossible_percent = 5,
                                                         .read_percent = 20,
                                                         .timeout_ms = 10000};
#define DEFAULT(name) options->name = options->name != 0 ? options->name : defaults.name
    DEFAULT(clients);
    DEFAULT(prefix);
    DEFAULT(accounts);
    DEFAULT(balance);
    DEFAULT(lists);
    DEFAULT(keyed_percent);
    DEFAULT(within_percent);
    DEFAULT(impossible_percent);
    DEFAULT(read_percent);
    DEFAULT(timeout_ms);
#undef DEFAULT
}

/* SplitMix64. */
static unsigned below(struct cli_chooser *chooser, unsigned bound)
{
    uint64_t z = chooser->random += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (unsigned)((z ^ (z >> 31)) % bound);
}

static bool chance(struct cli_chooser *chooser, int percent)
{
    return (int)below(chooser, 100) < percent;
}

static void choose_transfer(struct cli_chooser *chooser, struct cli_txn *txn)
{
    const struct cli_workload_options *options = chooser->options;
    unsigned members = options->member_count, accounts = options->accounts;
    unsigned from = below(chooser, members), from_account = below(chooser, accounts);
    unsigned to = from, to_account = below(chooser, accounts);
    if (members > 1 && !chance(chooser, options->within_percent)) {
        to = (from + 1 + below(chooser, members - 1)) % members;
    } else if (to_account == from_account) {
        to_account = (from_account + 1) % accounts; /* one row each in the ledger */
    }
    int64_t amount = 1 + (int64_t)below(chooser, AMOUNT_MAX);
    txn->impossible = chance(chooser, options->impossible_percent);
    amount += txn->impossible ? MONEY_NOBODY_HAS : 0;
    cli_txn_add_op(txn, CLI_OP_MOVE, from, 1 + from_account, -amount);
    if (to != from || to_account != from_account) {
        cli_txn_add_op(txn, CLI_OP_MOVE, to, 1 + to_account, amount);
    }
}

static void choose_bank(struct cli_chooser *chooser, struct cli_txn *txn)
{
    if (!chance(chooser, chooser->options->read_percent)) {
        choose_transfer(chooser, txn);
        return;
    }
    for (unsigned i = 0; i < chooser->options->member_count; i++) {
        cli_txn_add_op(txn, CLI_OP_BALANCES, i, 0, 0);
    }
}

static void choose_lists(struct cli_chooser *chooser, uint64_t number, struct cli_txn *txn)
{
    const struct cli_workload_options *options = chooser->options;
    unsigned first = below(chooser, options->member_count);
    unsigned spread = options->member_count < LIST_MEMBERS_MAX ? options->member_count
                                                               : (unsigned)LIST_MEMBERS_MAX;
    unsigned members = chance(chooser, options->within_percent) ? 1 : 1 + below(chooser, spread);
    unsigned ops = 1 + below(chooser, OPS_MAX);
    bool reads_only = chance(chooser, options->read_percent);
    for (unsigned i = 0; i < ops; i++) {
        unsigned member = (first + below(chooser, members)) % options->member_count;
        uint64_t list = number / TXNS_PER_LIST + below(chooser, LISTS_AT_A_TIME);
        int64_t key = 1 + (int64_t)(list % options->lists);
        bool read = reads_only || below(chooser, 2) == 0;
        cli_txn_add_op(txn, read ? CLI_OP_READ : CLI_OP_APPEND, member, key,
                       read ? 0 : (int64_t)chooser->next(chooser->arg));
    }
}

void cli_choose_txn(struct cli_chooser *chooser, uint64_t number, struct cli_txn *txn)
{
    const struct cli_workload_options *options = chooser->options;
    txn->keyed = chance(chooser, options->keyed_percent);
    bool both = options->kind == CLI_WORKLOAD_BOTH;
    if (both ? below(chooser, 2) == 0 : options->kind == CLI_WORKLOAD_BANK) {
        choose_bank(chooser, txn);
    } else {
        choose_lists(chooser, number, txn);
    }
}
