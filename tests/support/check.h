/* The invariants, checked after every fault run. Each checker objects in words, through
 * sup_object, to what it does not find as promised. */
#ifndef ASSENT_TESTS_SUPPORT_CHECK_H
#define ASSENT_TESTS_SUPPORT_CHECK_H

#include "tests/support/books.h"

struct sup_report {
    unsigned count;
    bool quiet;      /* count, but do not print: for the checkers' own tests */
    char last[1024]; /* the last objection */
};

void sup_object(struct sup_report *report, const char *format, ...) TPC_PRINTF(2, 3);

/* ---- The databases against each other and the clients' histories (check.c) ---- */

/* Of every transfer both legs are there, as they were asked for, or none. */
void sup_check_atomic(const struct sup_books *books, struct sup_report *report);
/* What was told is what the databases hold; and they hold nothing that nobody asked for. */
void sup_check_told(const struct sup_books *books, const struct sup_history *history,
                    struct sup_report *report);
/* Every account holds what it began with and each of its ledger rows once; every marker is there
 * once. */
void sup_check_once(const struct sup_books *books, struct sup_report *report);
void sup_check_sum(const struct sup_books *books, struct sup_report *report);
/* No hazard, no answer that the interface does not know, aborts for the reasons in @causes alone
 * (words separated by spaces; NULL: any). */
void sup_check_answers(const struct sup_history *history, const char *causes,
                       struct sup_report *report);

/* ---- The daemons, which must be running (check_daemons.c) ---- */

/* Within @timeout_ms nothing is in doubt: no prepared or heuristic branches at the participants, no
 * unfinished transactions at the coordinator. */
void sup_check_settled(struct sup_world *world, uint64_t timeout_ms, struct sup_report *report);
/* Transactions that are known by id are shown as they were told, and as the databases have them. */
void sup_check_shown(struct sup_world *world, const struct sup_books *books,
                     const struct sup_history *history, struct sup_report *report);
/* A transaction that touches every row commits at once: no lock is left. Leaves all as it was. */
void sup_check_unlocked(struct sup_world *world, struct sup_report *report);
/* Killed once more at rest and started again, the databases hold the same. */
void sup_check_restart(struct sup_world *world, struct sup_report *report);
/* `assent check` agrees. */
void sup_check_cli(struct sup_world *world, struct sup_report *report);

/* SIGTERM ends every daemon in good order; with a sanitizer that is also the search for leaks. */
void sup_check_stop(struct sup_world *world, struct sup_report *report);

/* All of them, in the order that shows most. @causes as for sup_check_answers. Nothing
 * runs afterwards. */
void sup_check_all(struct sup_world *world, const struct sup_history *history, const char *causes,
                   struct sup_report *report);

#endif
