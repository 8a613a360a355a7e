#include "tests/support/proc.h"

#include "base/buf.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RUNNING_MAX = 64, VARIABLES_MAX = 512, LOOK_EVERY_MS = 2, SHOWN_BYTES = 4000 };

/* What runs, so that it can be ended whatever becomes of the test. */
static pid_t running[RUNNING_MAX];

static void note(pid_t pid, pid_t instead)
{
    for (size_t i = 0; i < RUNNING_MAX; i++) {
        if (running[i] == pid) {
            running[i] = instead;
            return;
        }
    }
    sup_die("more than %d processes", RUNNING_MAX);
}

static void kill_all(void)
{
    for (size_t i = 0; i < RUNNING_MAX; i++) {
        if (running[i] != 0) {
            (void)kill(running[i], SIGKILL);
            (void)waitpid(running[i], NULL, 0);
            running[i] = 0;
        }
    }
}

void sup_die(const char *format, ...)
{
    va_list args;
    (void)fflush(stdout);
    (void)fputs("FAILED: ", stderr);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    kill_all();
    exit(1);
}

/* ---- Start ---- */

static void find_program(const char *name, char out[SUP_PATH_MAX])
{
    const char *directory = getenv("ASSENT_BIN_DIR");
    (void)snprintf(out, SUP_PATH_MAX, "%s/%s",
                   directory != NULL && *directory != '\0' ? directory : SUP_BIN_DIR, name);
    if (access(out, X_OK) != 0) {
        sup_die("%s: %s (set ASSENT_BIN_DIR to where the programs are)", out, strerror(errno));
    }
}

/* Between fork and exec: only what is safe after a fork from a process with threads. */
static _Noreturn void become(char *const *args, char *const *environment, int out_fd, pid_t parent)
{
    sigset_t none;
    int null_fd = open("/dev/null", O_RDONLY);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent && dup2(null_fd, 0) == 0 &&
        dup2(out_fd, 1) == 1 && dup2(out_fd, 2) == 2) {
        (void)execve(args[0], args, environment);
    }
    _exit(127);
}

/* Copy the words of @list (which may be NULL) to @out, which has @count of at most @max. */
static size_t append(char **out, size_t count, size_t max, const char *const *list)
{
    for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
        if (count == max) {
            sup_die("more than %zu arguments or variables", max);
        }
        out[count++] = (char *)list[i];
    }
    out[count] = NULL;
    return count;
}

void sup_proc_start(struct sup_proc *proc, const char *const *args, const char *out_path)
{
    static bool at_exit;
    char program[SUP_PATH_MAX];
    char *copy[SUP_ARGS_MAX + 1], *environment[VARIABLES_MAX + 1];
    if (!at_exit) {
        at_exit = true;
        (void)atexit(kill_all);
    }
    find_program(args[0], program);
    size_t count = append(copy, 0, SUP_ARGS_MAX, proc->wrapper);
    (void)append(copy, count, SUP_ARGS_MAX, args);
    copy[count] = program;
    count = append(environment, 0, VARIABLES_MAX, proc->environment);
    (void)append(environment, count, VARIABLES_MAX, (const char *const *)environ);
    (void)snprintf(proc->out_path, sizeof proc->out_path, "%s", out_path);
    int out_fd = open(out_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (out_fd < 0) {
        sup_die("%s: %s", out_path, strerror(errno));
    }
    proc->out_begin = (long)lseek(out_fd, 0, SEEK_END);
    pid_t parent = getpid();
    proc->pid = fork();
    if (proc->pid == 0) {
        become(copy, environment, out_fd, parent);
    }
    (void)close(out_fd);
    if (proc->pid < 0) {
        sup_die("fork: %s", strerror(errno));
    }
    note(0, proc->pid);
    proc->pidfd = (int)syscall(SYS_pidfd_open, proc->pid, 0);
    if (proc->pidfd < 0) {
        sup_die("pidfd_open: %s", strerror(errno));
    }
}

/* ---- Output ---- */

char *sup_proc_output(const struct sup_proc *proc)
{
    struct tpc_buf buf = {0};
    struct stat info;
    int fd = open(proc->out_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        sup_die("%s: %s", proc->out_path, strerror(errno));
    }
    size_t size = info.st_size > proc->out_begin ? (size_t)(info.st_size - proc->out_begin) : 0;
    char *to = tpc_buf_reserve(&buf, size + 1);
    ssize_t got = to != NULL ? pread(fd, to, size, proc->out_begin) : -1;
    (void)close(fd);
    if (got < 0) {
        sup_die("%s: cannot be read", proc->out_path);
    }
    to[got] = '\0';
    return buf.data;
}

bool sup_proc_said(const struct sup_proc *proc, const char *text)
{
    char *output = sup_proc_output(proc);
    bool said = strstr(output, text) != NULL;
    free(output);
    return said;
}

static bool find_url(struct sup_proc *proc)
{
    char *output = sup_proc_output(proc);
    const char *ready = strstr(output, "evt=daemon.ready ");
    const char *url = ready != NULL ? strstr(ready, " url=") : NULL;
    size_t size = url != NULL ? strcspn(url + 5, " \n") : 0;
    /* A line that is not whole may be cut in the middle of the address. */
    bool whole = url != NULL && strchr(url, '\n') != NULL && size < sizeof proc->url;
    if (whole) {
        (void)snprintf(proc->url, sizeof proc->url, "%.*s", (int)size, url + 5);
    }
    free(output);
    return whole;
}

static _Noreturn void die_of(const struct sup_proc *proc, const char *what)
{
    char *output = sup_proc_output(proc);
    size_t size = strlen(output);
    sup_die("%s; %s ends with:\n%s", what, proc->out_path,
            output + (size > SHOWN_BYTES ? size - SHOWN_BYTES : 0));
}

/* ---- Waiting ---- */

static void reap(struct sup_proc *proc)
{
    if (waitpid(proc->pid, &proc->status, 0) != proc->pid) {
        sup_die("waitpid: %s", strerror(errno));
    }
    note(proc->pid, 0);
    (void)close(proc->pidfd);
    proc->pid = 0;
}

bool sup_proc_wait(struct sup_proc *proc, uint64_t timeout_ms)
{
    uint64_t until_ms = tpc_clock_mono_ms() + timeout_ms;
    while (proc->pid != 0) {
        uint64_t now_ms = tpc_clock_mono_ms();
        struct pollfd fd = {.fd = proc->pidfd, .events = POLLIN};
        int ready = poll(&fd, 1, now_ms < until_ms ? (int)(until_ms - now_ms) : 0);
        if (ready > 0) {
            reap(proc);
        } else if (ready == 0 || errno != EINTR) {
            return false;
        }
    }
    return true;
}

bool sup_proc_has_ended(struct sup_proc *proc)
{
    return sup_proc_wait(proc, 0);
}

bool sup_proc_wait_ready(struct sup_proc *proc, uint64_t timeout_ms)
{
    uint64_t until_ms = tpc_clock_mono_ms() + timeout_ms;
    while (!find_url(proc)) {
        if (sup_proc_wait(proc, LOOK_EVERY_MS)) {
            return false;
        }
        if (tpc_clock_mono_ms() >= until_ms) {
            die_of(proc, "a daemon did not get ready");
        }
    }
    return true;
}

/* ---- The end ---- */

void sup_proc_signal(const struct sup_proc *proc, int number)
{
    if (proc->pid != 0) {
        (void)kill(proc->pid, number);
    }
}

void sup_proc_kill(struct sup_proc *proc)
{
    sup_proc_signal(proc, SIGKILL);
    if (!sup_proc_wait(proc, SUP_STOP_MS)) {
        die_of(proc, "a killed process did not end");
    }
}

void sup_proc_stop(struct sup_proc *proc)
{
    sup_proc_signal(proc, SIGTERM);
    if (!sup_proc_wait(proc, SUP_STOP_MS)) {
        die_of(proc, "a daemon did not end after SIGTERM");
    }
    if (!WIFEXITED(proc->status) || WEXITSTATUS(proc->status) != 0) {
        die_of(proc, "a daemon did not end in good order after SIGTERM");
    }
}

void sup_proc_expect_good_end(const struct sup_proc *proc)
{
    bool good =
        sup_proc_was_killed(proc) || (WIFEXITED(proc->status) && WEXITSTATUS(proc->status) == 0);
    if (proc->pid == 0 && !good) {
        die_of(proc, "a daemon ended by itself");
    }
}

bool sup_proc_was_killed(const struct sup_proc *proc)
{
    return proc->pid == 0 && WIFSIGNALED(proc->status) && WTERMSIG(proc->status) == SIGKILL;
}

int sup_run(const char *const *args, const char *out_path)
{
    struct sup_proc proc = {0};
    sup_proc_start(&proc, args, out_path);
    if (!sup_proc_wait(&proc, SUP_STOP_MS)) {
        die_of(&proc, "a program did not end");
    }
    return WIFEXITED(proc.status) ? WEXITSTATUS(proc.status) : 128 + WTERMSIG(proc.status);
}
