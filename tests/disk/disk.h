/* A disk that forgets and fails, for one daemon: a SQLite VFS before the unix one, brought in by
 * LD_PRELOAD so that the program is the one that is shipped. It reads what it is to do from its
 * environment:
 *
 *   ASSENT_DISK_STATE  a file with a struct disk_state, shared with the driver, which outlives
 *                      restarts; without it the disk is a good one
 *   ASSENT_DISK_FAULT  none | lose | reorder | tear | lie | eio | enospc
 *   ASSENT_DISK_AT     at which boundary or operation, from 1
 *   ASSENT_DISK_AGAIN  another power cut, as many boundaries after the first; 0: none
 *   ASSENT_DISK_FROM   lie: from which boundary on syncs do nothing
 *   ASSENT_DISK_SEED   what survives of what was not synced, and how much of a failed write
 *   ASSENT_DISK_STICKY 1: also every later operation fails, until the state says `lifted`
 *   ASSENT_DISK_EAGER  1: copy the journals to the databases after every few pages, so that a short
 *                      run sees checkpoints
 *
 * Each xSync is two boundaries: the first before it, when nothing of the file's writes needs to
 * have reached the disk, the second after it. The power cut is the end of the process by SIGKILL,
 * after the files have been made to look as the disk would be found. */
#ifndef ASSENT_TESTS_DISK_DISK_H
#define ASSENT_TESTS_DISK_DISK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Written whole or not at all; SQLite relies on it as well. */
enum { DISK_SECTOR = 512 };

struct disk_state {
    _Atomic uint64_t boundaries; /* over all starts */
    _Atomic uint64_t operations; /* that the fault may strike */
    _Atomic uint64_t strikes;    /* power cuts and failed operations */
    _Atomic uint64_t lost;       /* writes that did not survive */
    /* Writes to log.db-wal after a sync of it failed, in the same process: only a new start may
     * decide what is there. */
    _Atomic uint64_t overwritten;
    _Atomic uint32_t lifted; /* by the driver: no more faults */
};

enum disk_fault {
    DISK_NONE,
    DISK_LOSE,    /* power cut: nothing survives that was not synced */
    DISK_REORDER, /* of the writes that were not synced any may survive */
    DISK_TEAR,    /* of their sectors any may */
    DISK_LIE,     /* syncs do nothing, and at the power cut all of it is lost */
    DISK_EIO,
    DISK_ENOSPC,
};

enum disk_operation {
    DISK_OPEN,
    DISK_CREATE,
    DISK_READ,
    DISK_WRITE,
    DISK_TRUNCATE,
    DISK_SYNC,
    DISK_SIZE,
    DISK_DELETE,
    DISK_SHM,
    DISK_SHM_EXTEND,
};

struct disk {
    pthread_mutex_t mutex; /* held around every operation, for ever at the power cut */
    struct disk_state *state;
    enum disk_fault fault;
    uint64_t at, again, from, seed;
    bool sticky, eager;
    bool unsynced; /* syncs succeed without a disk: for tests whose process does not die */
};

extern struct disk disk;

/* Read the environment. Before anything else; ends the process when it makes no sense. */
void disk_init(void);

/* All of these under the mutex. */

/* Shall this operation fail? errno is set then. */
bool disk_strikes(enum disk_operation operation);
/* Count a boundary; does not return when the power is cut here. */
void disk_boundary(void);
/* Does the next sync do nothing? */
bool disk_lies(void);
uint64_t disk_random(void);

/* ---- What was not synced (unsynced.c) ---- */

/* A write of @data at @offset is about to be made to @path, which has @file_size bytes, of which
 * @old (taken, malloc'ed) are the @old_size that will be overwritten. @data NULL: truncation to
 * @offset. */
void disk_note(const char *path, int64_t file_size, int64_t offset, const void *data, int64_t size,
               void *take_old, int64_t old_size);
/* All of @path has reached the disk, or it is no more. */
void disk_settle(const char *path);
/* Make all files look as after a power cut now. */
void disk_lose(void);

/* ---- The VFS (vfs.c) ---- */

void disk_register(void);

#endif
