/* Real processes for tests: started, waited for within bounds, and gone when the test is.
 *
 * What cannot be carried out (no such program, no memory) ends the test through sup_die. Not
 * thread-safe: one thread, the main one, starts and ends processes. */
#ifndef ASSENT_TESTS_SUPPORT_PROC_H
#define ASSENT_TESTS_SUPPORT_PROC_H

#include "base/rc.h"

#include <stdint.h>
#include <sys/types.h>

enum {
    SUP_PATH_MAX = 256,
    SUP_ARGS_MAX = 48,
    SUP_START_MS = 60000, /* generous: a loaded machine is no failure */
    SUP_STOP_MS = 60000,
};

/* Say why on stderr, end every process that was started here, exit with 1. */
_Noreturn void sup_die(const char *format, ...) TPC_PRINTF(1, 2);

struct sup_proc {
    pid_t pid; /* 0: not running */
    int pidfd;
    int status;                  /* of waitpid, when it has ended */
    char out_path[SUP_PATH_MAX]; /* stdout and stderr, appended */
    long out_begin;              /* where this run's output begins in it */
    char url[80];                /* of the last `evt=daemon.ready` */
    /* For its next starts; borrowed, NULL-terminated; NULL: none. */
    const char *const *environment; /* "NAME=VALUE", beside ours */
    const char *const *wrapper;     /* a program by its path, and arguments before @args; it must
                                       become the program in the same process (strace -D) */
};

/* Run @args (args[0] is one of our programs, by name, found in ASSENT_BIN_DIR or where the build
 * put them; NULL-terminated). Its output goes to @out_path. It gets SIGKILL when the test dies. */
void sup_proc_start(struct sup_proc *proc, const char *const *args, const char *out_path);
/* Until it says `evt=daemon.ready`; false when it ended before that (then it has been reaped).
 * Longer than @timeout_ms ends the test. */
bool sup_proc_wait_ready(struct sup_proc *proc, uint64_t timeout_ms);
/* Until it has ended. False after @timeout_ms. */
bool sup_proc_wait(struct sup_proc *proc, uint64_t timeout_ms);
bool sup_proc_has_ended(struct sup_proc *proc); /* reaps */
void sup_proc_signal(const struct sup_proc *proc, int number);
/* SIGKILL (also when it is stopped) and reap; nothing when it has ended. */
void sup_proc_kill(struct sup_proc *proc);
/* SIGTERM, wait, and insist on status 0. */
void sup_proc_stop(struct sup_proc *proc);
/* When it has ended by neither SIGKILL nor status 0 the test ends, and shows what it said. */
void sup_proc_expect_good_end(const struct sup_proc *proc);
bool sup_proc_was_killed(const struct sup_proc *proc); /* by SIGKILL */

/* Does its output, since it was started the last time, contain @text? */
bool sup_proc_said(const struct sup_proc *proc, const char *text);
/* All it said since then; the caller frees. */
char *sup_proc_output(const struct sup_proc *proc);

/* Start, wait (bounded), and return its exit status (128 + number for a signal). */
int sup_run(const char *const *args, const char *out_path);

#endif
