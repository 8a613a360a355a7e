#include "cli/crashtest/proc.h"

#include "base/buf.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
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

#include <linux/close_range.h>

enum { RUNNING_MAX = 256, VARIABLES_MAX = 512, LOOK_EVERY_MS = 2 };

/* What runs, so that it can be ended whatever becomes of us. */
static pid_t running[RUNNING_MAX];
static pthread_mutex_t running_mutex = PTHREAD_MUTEX_INITIALIZER;

static void note(pid_t pid, pid_t instead)
{
    bool found = false;
    (void)pthread_mutex_lock(&running_mutex);
    for (size_t i = 0; i < RUNNING_MAX && !found; i++) {
        if (running[i] == pid) {
            running[i] = instead;
            found = true;
        }
    }
    (void)pthread_mutex_unlock(&running_mutex);
    if (!found) {
        cli_die("more than %d processes", RUNNING_MAX);
    }
}

static void kill_all(void)
{
    (void)pthread_mutex_lock(&running_mutex);
    for (size_t i = 0; i < RUNNING_MAX; i++) {
        if (running[i] != 0) {
            (void)kill(-running[i], SIGKILL);
            (void)kill(running[i], SIGKILL);
            (void)waitpid(running[i], NULL, 0);
            running[i] = 0;
        }
    }
    (void)pthread_mutex_unlock(&running_mutex);
}

void cli_die(const char *format, ...)
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

static void end_with_us(void)
{
    (void)atexit(kill_all);
}

/* Between fork and exec: only what is safe after a fork from a process with threads. */
static _Noreturn void become(char *const *args, char *const *environment, int out_fd, pid_t parent)
{
    sigset_t none;
    int null_fd = open("/dev/null", O_RDONLY);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    if (setpgid(0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent &&
        dup2(null_fd, 0) == 0 && dup2(out_fd, 1) == 1 && dup2(out_fd, 2) == 2) {
        /* A connection that another thread has open must not stay open in the child. */
        (void)syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
        (void)execvpe(args[0], args, environment);
    }
    _exit(127);
}

/* Copy the words of @list (which may be NULL) to @out, which has @count of at most @max. */
static size_t append(char **out, size_t count, size_t max, const char *const *list)
{
    for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
        if (count == max) {
            cli_die("more than %zu arguments or variables", max);
        }
        out[count++] = (char *)list[i];
    }
    out[count] = NULL;
    return count;
}

void cli_proc_start(struct cli_proc *proc, const char *const *args, const char *out_path)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    extern char **environ;
    char *copy[CLI_ARGS_MAX + 1], *environment[VARIABLES_MAX + 1];
    (void)pthread_once(&once, end_with_us);
    size_t count = append(copy, 0, CLI_ARGS_MAX, proc->wrapper);
    (void)append(copy, count, CLI_ARGS_MAX, args);
    count = append(environment, 0, VARIABLES_MAX, proc->environment);
    (void)append(environment, count, VARIABLES_MAX, (const char *const *)environ);
    (void)snprintf(proc->out_path, sizeof proc->out_path, "%s", out_path);
    int out_fd = open(out_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (out_fd < 0) {
        cli_die("%s: %s", out_path, strerror(errno));
    }
    proc->out_begin = (long)lseek(out_fd, 0, SEEK_END);
    pid_t parent = getpid();
    proc->pid = fork();
    if (proc->pid == 0) {
        become(copy, environment, out_fd, parent);
    }
    (void)close(out_fd);
    if (proc->pid < 0) {
        cli_die("fork: %s", strerror(errno));
    }
    (void)setpgid(proc->pid, proc->pid); /* here too: a signal may be sent before it runs */
    note(0, proc->pid);
    proc->pidfd = (int)syscall(SYS_pidfd_open, proc->pid, 0);
    if (proc->pidfd < 0) {
        cli_die("pidfd_open: %s", strerror(errno));
    }
}

/* ---- Output ---- */

char *cli_proc_output(const struct cli_proc *proc)
{
    struct tpc_buf buf = {0};
    struct stat info;
    int fd = open(proc->out_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        cli_die("%s: %s", proc->out_path, strerror(errno));
    }
    size_t size = info.st_size > proc->out_begin ? (size_t)(info.st_size - proc->out_begin) : 0;
    char *to = tpc_buf_reserve(&buf, size + 1);
    ssize_t got = to != NULL ? pread(fd, to, size, proc->out_begin) : -1;
    (void)close(fd);
    if (got < 0) {
        cli_die("%s: cannot be read", proc->out_path);
    }
    to[got] = '\0';
    return buf.data;
}

bool cli_proc_said(const struct cli_proc *proc, const char *text)
{
    char *output = cli_proc_output(proc);
    bool said = strstr(output, text) != NULL;
    free(output);
    return said;
}

static bool find_url(struct cli_proc *proc)
{
    char *output = cli_proc_output(proc);
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

/* ---- Waiting ---- */

static void reap(struct cli_proc *proc)
{
    if (waitpid(proc->pid, &proc->status, 0) != proc->pid) {
        cli_die("waitpid: %s", strerror(errno));
    }
    note(proc->pid, 0);
    (void)close(proc->pidfd);
    proc->pid = 0;
}

bool cli_proc_wait(struct cli_proc *proc, uint64_t timeout_ms)
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

bool cli_proc_has_ended(struct cli_proc *proc)
{
    return cli_proc_wait(proc, 0);
}

enum cli_ready cli_proc_wait_ready(struct cli_proc *proc, uint64_t timeout_ms)
{
    uint64_t until_ms = tpc_clock_mono_ms() + timeout_ms;
    while (!find_url(proc)) {
        if (cli_proc_wait(proc, LOOK_EVERY_MS)) {
            return CLI_ENDED;
        }
        if (tpc_clock_mono_ms() >= until_ms) {
            return CLI_LATE;
        }
    }
    return CLI_READY;
}

/* ---- The end ---- */

void cli_proc_signal(const struct cli_proc *proc, int number)
{
    if (proc->pid != 0) {
        (void)kill(-proc->pid, number);
    }
}

void cli_proc_kill(struct cli_proc *proc)
{
    cli_proc_signal(proc, SIGKILL);
    if (!cli_proc_wait(proc, CLI_STOP_MS)) {
        cli_die("a killed process did not end; %s has what it said", proc->out_path);
    }
}

bool cli_proc_was_killed(const struct cli_proc *proc)
{
    return proc->pid == 0 && WIFSIGNALED(proc->status) && WTERMSIG(proc->status) == SIGKILL;
}

bool cli_proc_ended_in_order(const struct cli_proc *proc)
{
    return proc->pid == 0 && WIFEXITED(proc->status) && WEXITSTATUS(proc->status) == 0;
}

int cli_proc_run(const char *const *args, const char *out_path, uint64_t timeout_ms)
{
    struct cli_proc proc = {0};
    cli_proc_start(&proc, args, out_path);
    if (!cli_proc_wait(&proc, timeout_ms)) {
        cli_proc_kill(&proc);
    }
    return WIFEXITED(proc.status) ? WEXITSTATUS(proc.status) : 128 + WTERMSIG(proc.status);
}
