/* Child processes: started, waited for within bounds, and gone when this process is, however it
 * ends. What cannot be carried out at all (no such program, no memory) ends the whole through
 * cli_die; what a child does is returned.
 *
 * A struct belongs to one thread at a time. The thread that starts a process must live as long as
 * it: the kernel kills the child with the thread. */
#ifndef ASSENT_CLI_CRASHTEST_PROC_H
#define ASSENT_CLI_CRASHTEST_PROC_H

#include "base/rc.h"

#include <stdint.h>
#include <sys/types.h>

enum {
    CLI_PATH_MAX = 256,
    CLI_ARGS_MAX = 48,
    CLI_START_MS = 60000, /* generous: a loaded machine is no failure */
    CLI_STOP_MS = 60000,
};

/* Say why on stderr, end every process that was started here, exit with 1. */
_Noreturn void cli_die(const char *format, ...) TPC_PRINTF(1, 2);

struct cli_proc {
    pid_t pid; /* 0: not running */
    int pidfd;
    int status;                  /* of waitpid, when it has ended */
    char out_path[CLI_PATH_MAX]; /* stdout and stderr, appended */
    long out_begin;              /* where this run's output begins in it */
    char url[80];                /* of the last `evt=daemon.ready` */
    /* For its next starts; borrowed, NULL-terminated; NULL: none. */
    const char *const *environment; /* "NAME=VALUE", beside ours */
    const char *const *wrapper;     /* a program by its path, and arguments before @args; it must
                                       become the program in the same process (strace -D) */
};

/* Run @args (NULL-terminated; args[0] is a path, or looked for on the PATH when it has no slash)
 * in a process group of its own, so that it and its children get our signals, and no Ctrl-C. Its
 * output goes to @out_path. */
void cli_proc_start(struct cli_proc *proc, const char *const *args, const char *out_path);

enum cli_ready { CLI_READY, CLI_ENDED, CLI_LATE };
/* Until it says `evt=daemon.ready`, until it has ended before that (then it is reaped), or until
 * @timeout_ms have passed. */
enum cli_ready cli_proc_wait_ready(struct cli_proc *proc, uint64_t timeout_ms);
/* Until it has ended. False after @timeout_ms. */
bool cli_proc_wait(struct cli_proc *proc, uint64_t timeout_ms);
bool cli_proc_has_ended(struct cli_proc *proc); /* reaps */
void cli_proc_signal(const struct cli_proc *proc, int number);
/* SIGKILL (also when it is stopped) and reap; nothing when it has ended. */
void cli_proc_kill(struct cli_proc *proc);
bool cli_proc_was_killed(const struct cli_proc *proc);     /* by SIGKILL */
bool cli_proc_ended_in_order(const struct cli_proc *proc); /* with status 0 */

/* Does its output, since it was started the last time, contain @text? */
bool cli_proc_said(const struct cli_proc *proc, const char *text);
/* All it said since then; the caller frees. */
char *cli_proc_output(const struct cli_proc *proc);

/* Start, wait for at most @timeout_ms (then it is killed), and return its exit status (128 + number
 * for a signal). */
int cli_proc_run(const char *const *args, const char *out_path, uint64_t timeout_ms);

#endif
