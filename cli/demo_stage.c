#include "cli/demo_stage.h"

#include "base/tpc_assert.h"
#include "cli/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READY_MS   30000
#define STOP_MS    20000
#define COMMAND_MS 60000

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

void cli_stage_fail(struct cli_stage *stage, const char *format, ...)
{
    va_list args;
    if (stage->failed) {
        return;
    }
    stage->failed = true;
    va_start(args, format);
    fflush(stdout);
    fputs("\nassent demo: ", stderr);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\nThe logs of the daemons are in %s\n", stage->directory);
    va_end(args);
}

static bool may_go_on(struct cli_stage *stage)
{
    if (interrupted) {
        cli_stage_fail(stage, "interrupted");
    }
    return !stage->failed;
}

void cli_stage_title(const struct cli_stage *stage, const char *text)
{
    if (!stage->failed) {
        printf("\n-- %s ", text);
        for (size_t i = strlen(text); i < 72; i++) {
            putchar('-');
        }
        puts("\n");
    }
}

void cli_stage_tell(const struct cli_stage *stage, const char *text)
{
    if (!stage->failed) {
        printf("%s\n\n", text);
    }
}

/* ---- The directory ---- */

bool cli_stage_open(struct cli_stage *stage)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    struct tpc_err err = {0};
    *stage = (struct cli_stage){0};
    enum tpc_rc rc =
        cli_scratch_make("demo", NULL, stage->directory, sizeof(stage->directory), &err);
    if (rc == TPC_OK) {
        rc = cli_programs_find(stage->programs, sizeof(stage->programs), &err);
        if (rc != TPC_OK) {
            cli_scratch_remove(stage->directory);
        }
    }
    if (rc != TPC_OK) {
        fprintf(stderr, "assent: %s\n", err.text);
        return false;
    }
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return true;
}

void cli_stage_write_file(struct cli_stage *stage, const char *name, const char *text)
{
    char path[512];
    if (!may_go_on(stage)) {
        return;
    }
    snprintf(path, sizeof(path), "%s/%s", stage->directory, name);
    FILE *file = fopen(path, "we");
    bool written = file != NULL && fputs(text, file) >= 0;
    if ((file != NULL && fclose(file) != 0) || !written) {
        cli_stage_fail(stage, "cannot write %s: %s", path, strerror(errno));
    }
}

/* ---- Processes ---- */

static void log_path(const struct cli_stage *stage, const struct cli_daemon *daemon, char out[512])
{
    snprintf(out, 512, "%s/%s.log", stage->directory, daemon->name);
}

static void show_words(const char *const *words, const char *after)
{
    fputs("$", stdout);
    for (size_t i = 0; words[i] != NULL; i++) {
        bool plain = strpbrk(words[i], " *;|&()'\"<>$") == NULL;
        printf(plain ? " %s" : " \"%s\"", words[i]);
    }
    puts(after);
    fflush(stdout);
}

/* In the child: never returns. Whatever happens to the demo, its children do not outlive it. */
_Noreturn static void become(const struct cli_stage *stage, int output, const char *const *words)
{
    TPC_ASSERT(words[0] != NULL);
    char path[512];
    char *argv[CLI_STAGE_WORDS + 1] = {NULL};
    for (size_t i = 0; i < CLI_STAGE_WORDS && words[i] != NULL; i++) {
        argv[i] = (char *)words[i];
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    int input = open("/dev/null", O_RDONLY);
    if (input < 0 || dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
        dup2(output, STDERR_FILENO) < 0 || chdir(stage->directory) != 0) {
        _exit(126);
    }
    snprintf(path, sizeof(path), "%s/%s", stage->programs, words[0]);
    if (access(path, X_OK) == 0) {
        execv(path, argv);
    } else {
        execvp(words[0], argv);
    }
    dprintf(STDERR_FILENO, "cannot run %s: %s; is it installed?\n", words[0], strerror(errno));
    _exit(127);
}

/* Wait for a child until the deadline; false when it still runs. */
static bool wait_for(pid_t pid, int milliseconds, int *ret_status)
{
    long long deadline = now_ms() + milliseconds;
    for (;;) {
        pid_t got = waitpid(pid, ret_status, WNOHANG);
        if (got != 0 && !(got < 0 && errno == EINTR)) {
            return got == pid;
        }
        if (now_ms() >= deadline) {
            return false;
        }
        nap();
    }
}

/* Show and keep what comes until the other end is closed. */
static void drain(struct cli_stage *stage, int from, struct tpc_buf *out)
{
    long long deadline = now_ms() + COMMAND_MS;
    char bytes[4096];
    ssize_t got = 1;
    while (got > 0) {
        struct pollfd ready = {.fd = from, .events = POLLIN};
        long long left = deadline - now_ms();
        if (!may_go_on(stage) || left <= 0 || poll(&ready, 1, (int)left) <= 0) {
            return;
        }
        got = read(from, bytes, sizeof(bytes));
        if (got > 0) {
            fwrite(bytes, 1, (size_t)got, stdout);
            tpc_buf_add(out, bytes, (size_t)got);
        }
    }
}

void cli_stage_run(struct cli_stage *stage, int expected, struct tpc_buf *ret_output,
                   const char *const *words)
{
    struct tpc_buf ignored = {0};
    struct tpc_buf *output = ret_output != NULL ? ret_output : &ignored;
    int ends[2];
    int status = 0;
    tpc_buf_clear(output);
    if (!may_go_on(stage)) {
        return;
    }
    show_words(words, "");
    if (pipe2(ends, O_CLOEXEC) != 0) {
        cli_stage_fail(stage, "cannot make a pipe: %s", strerror(errno));
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        become(stage, ends[1], words);
    }
    close(ends[1]);
    if (pid > 0) {
        drain(stage, ends[0], output);
        if (!wait_for(pid, stage->failed ? 0 : STOP_MS, &status)) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
        }
    }
    close(ends[0]);
    if (pid < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != expected) {
        cli_stage_fail(stage, "%s should end with status %d, and did with %d", words[0], expected,
                       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
    putchar('\n');
    tpc_buf_done(&ignored);
}

/* ---- Daemons ---- */

/* Does the log, from @from on, say ready, and where? */
static bool read_url(const char *path, off_t from, char *out, size_t size)
{
    char line[2048];
    bool found = false;
    FILE *file = fopen(path, "re");
    if (file == NULL || fseeko(file, from, SEEK_SET) != 0) {
        if (file != NULL) {
            fclose(file);
        }
        return false;
    }
    while (!found && fgets(line, sizeof(line), file) != NULL) {
        const char *url = strstr(line, " url=");
        if (strstr(line, "evt=daemon.ready ") != NULL && url != NULL &&
            strchr(line, '\n') != NULL) {
            url += strlen(" url=");
            snprintf(out, size, "%.*s", (int)strcspn(url, " \n"), url);
            found = true;
        }
    }
    fclose(file);
    return found;
}

static void wait_ready(struct cli_stage *stage, struct cli_daemon *daemon, const char *path,
                       off_t from)
{
    long long deadline = now_ms() + READY_MS;
    int status = 0;
    while (may_go_on(stage) && !read_url(path, from, daemon->url, sizeof(daemon->url))) {
        if (waitpid(daemon->pid, &status, WNOHANG) == daemon->pid) {
            daemon->pid = 0;
            cli_stage_fail(stage, "%s ended instead of getting ready", daemon->name);
        } else if (now_ms() >= deadline) {
            cli_stage_fail(stage, "%s does not get ready", daemon->name);
        }
        nap();
    }
}

void cli_stage_start(struct cli_stage *stage, struct cli_daemon *daemon, const char *const *words)
{
    char path[512];
    if (!may_go_on(stage)) {
        return;
    }
    show_words(words, " &");
    log_path(stage, daemon, path);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0) {
        cli_stage_fail(stage, "cannot write %s: %s", path, strerror(errno));
        return;
    }
    off_t from = lseek(log, 0, SEEK_END);
    daemon->pid = fork();
    if (daemon->pid == 0) {
        become(stage, log, words);
    }
    close(log);
    if (daemon->pid < 0) {
        daemon->pid = 0;
        cli_stage_fail(stage, "cannot start %s: %s", words[0], strerror(errno));
        return;
    }
    wait_ready(stage, daemon, path, from);
    if (!stage->failed) {
        printf("%s is ready at %s\n\n", words[0], daemon->url);
    }
}

void cli_stage_expect_killed(struct cli_stage *stage, struct cli_daemon *daemon)
{
    int status = 0;
    if (!may_go_on(stage)) {
        return;
    }
    if (!wait_for(daemon->pid, STOP_MS, &status)) {
        cli_stage_fail(stage, "%s should have died", daemon->name);
        return;
    }
    daemon->pid = 0;
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        cli_stage_fail(stage, "%s should have been killed", daemon->name);
    }
}

void cli_stage_stop(struct cli_stage *stage, struct cli_daemon *daemon)
{
    int status = 0;
    if (daemon->pid == 0) {
        return;
    }
    kill(daemon->pid, SIGTERM);
    if (!wait_for(daemon->pid, STOP_MS, &status)) {
        kill(daemon->pid, SIGKILL);
        waitpid(daemon->pid, &status, 0);
        cli_stage_fail(stage, "%s does not stop", daemon->name);
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        cli_stage_fail(stage, "%s did not stop in good order", daemon->name);
    }
    daemon->pid = 0;
}

/* The end of a daemon's log, where its own words about a failure are. */
static void show_log(const struct cli_stage *stage, const struct cli_daemon *daemon)
{
    char path[512], bytes[2048];
    if (daemon->name == NULL) {
        return;
    }
    log_path(stage, daemon, path);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        if (fseek(file, -(long)sizeof(bytes), SEEK_END) == 0) {
            (void)fgets(bytes, sizeof(bytes), file); /* the rest of a line */
        } else {
            rewind(file);
        }
        size_t got = fread(bytes, 1, sizeof(bytes), file);
        fprintf(stderr, "\n%s.log ends with:\n%.*s", daemon->name, (int)got, bytes);
        fclose(file);
    }
}

void cli_stage_stop_all(struct cli_stage *stage)
{
    for (size_t i = 0; i < CLI_STAGE_DAEMONS; i++) {
        cli_stage_stop(stage, &stage->daemons[i]);
    }
}

void cli_stage_close(struct cli_stage *stage, bool keep)
{
    cli_stage_stop_all(stage);
    for (size_t i = 0; i < CLI_STAGE_DAEMONS && stage->failed; i++) {
        show_log(stage, &stage->daemons[i]);
    }
    if (keep) {
        printf("Everything is still in %s\n", stage->directory);
    } else if (!stage->failed) {
        cli_scratch_remove(stage->directory);
    }
}
