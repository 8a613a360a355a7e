/* What the databases hold, read from their files beside the daemons. */
#ifndef ASSENT_TESTS_SUPPORT_BOOKS_H
#define ASSENT_TESTS_SUPPORT_BOOKS_H

#include "tests/support/history.h"

struct sup_row {
    char name[SUP_NAME_MAX];
    bool from; /* else to */
    struct sup_leg leg;
    int64_t amount;
};

struct sup_bank {
    int64_t *balances; /* of account 1 at index 0 */
    size_t account_count;
    uint64_t markers, markers_twice; /* rows of _assent_applied; gtids that are there again */
};

struct sup_books {
    int64_t initial_balance; /* of every account */
    unsigned bank_count;
    struct sup_bank banks[SUP_AGENTS_MAX];
    struct sup_row *rows; /* all ledgers, by name */
    size_t row_count;
};

void sup_books_read(struct sup_books *books, const struct sup_world *world);
void sup_books_done(struct sup_books *books);
/* The rows of one transfer: the first, and how many; NULL when there is none. */
const struct sup_row *sup_books_find(const struct sup_books *books, const char *name,
                                     size_t *ret_count);
/* Everything that users of the databases see, as text; the caller frees. */
char *sup_books_print(const struct sup_books *books);

#endif
