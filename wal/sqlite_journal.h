/* A look at log.db-wal without SQLite, which takes every damage in that file for the end of an
 * unfinished write and silently goes on without the rest. For the SQLite store only. */
#ifndef ASSENT_WAL_SQLITE_JOURNAL_H
#define ASSENT_WAL_SQLITE_JOURNAL_H

#include "base/rc.h"

#include <stdint.h>

enum wal_journal_state {
    WAL_JOURNAL_NONE,    /* no file, or an empty one */
    WAL_JOURNAL_USELESS, /* its header is damaged or unfinished: SQLite takes nothing from it */
    WAL_JOURNAL_GOOD,    /* perhaps with an unfinished transaction at its end */
    WAL_JOURNAL_HOLE,    /* a damaged frame with finished transactions behind it */
};

/* Read all of the file @name. It relies on each transaction being durable before the next begins
 * (synchronous=FULL): then what a crash may have left unfinished is the last transaction alone,
 * and a frame of the same round behind the end of a transaction behind a bad frame is proof of
 * damage. What cannot be told from an unfinished write: damage to the last transaction, and an end
 * cut off. @ret_frame: the bad frame of a hole, from 1. */
TPC_NODISCARD enum tpc_rc wal_journal_look(const char *name, enum wal_journal_state *ret_state,
                                           uint64_t *ret_frame, struct tpc_err *reterr);

#endif
