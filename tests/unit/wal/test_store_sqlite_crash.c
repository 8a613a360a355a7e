/* A life of the store, killed at each of its system calls in turn. */
#include "tests/unit/wal/support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS = 5, NO_PTRACE = 77 };

/* Open, append words with checkpoints in between, and tell of each as it is durable. */
static void life(const char *directory, int told)
{
    const struct wal_options options = {
        .directory = directory, .role = "coordinator", .checkpoint_pages = 5};
    struct wal_store *store = NULL;

    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
        _exit(NO_PTRACE);
    }
    (void)raise(SIGSTOP);
    if (wal_open(&options, &store, NULL) != TPC_OK) {
        _exit(1);
    }
    for (int i = 0; i < WORDS; i++) {
        const char word[2] = {(char)('a' + i), '\0'};
        if (append_word(store, 1, word, true) != TPC_OK || write(told, word, 1) != 1) {
            _exit(2);
        }
    }
    store->ops->close(store);
    _exit(0);
}

/* Run @pid and kill it when it is about to make its system call @number. True when it ended by
 * itself before that. */
static bool run_until(pid_t pid, unsigned number)
{
    int status, signal = 0;
    bool entering = false;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_PTRACE) {
        skip();
    }
    assert_true(WIFSTOPPED(status));
    assert_int_equal(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD), 0);
    for (;;) {
        assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, (intptr_t)signal), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            return true;
        }
        assert_true(WIFSTOPPED(status));
        signal = WSTOPSIG(status);
        if (signal != (SIGTRAP | 0x80)) {
            continue;
        }
        signal = 0;
        entering = !entering;
        if (entering && number-- == 0) {
            assert_int_equal(kill(pid, SIGKILL), 0);
            assert_int_equal(waitpid(pid, &status, 0), pid);
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
            return false;
        }
    }
}

/* How many words it told of before it was killed. */
static size_t run_life(const char *directory, unsigned number, bool *ret_ended)
{
    int told[2];
    char words[WORDS + 1];

    assert_int_equal(pipe2(told, O_CLOEXEC), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(60);
        life(directory, told[1]);
    }
    (void)close(told[1]);
    *ret_ended = run_until(pid, number);
    const ssize_t count = read(told[0], words, sizeof words);
    assert_true(count >= 0 && count <= WORDS);
    (void)close(told[0]);
    return (size_t)count;
}

/* Everything told is there; of the rest at most the one under way; the log opens and goes on. */
static void assert_recovers(const char *directory, size_t told, uint64_t *generation)
{
    struct wal_store *store = must_open(directory);
    const char *words = words_of(store);
    const size_t count = (strlen(words) + 1) / 2;

    assert_true(store->identity.generation > *generation);
    *generation = store->identity.generation;
    assert_true(count == told || count == told + 1);
    assert_memory_equal(words, "a b c d e", strlen(words));
    assert_int_equal(erase_all_of(store, 1), TPC_OK);
    assert_string_equal(words_of(store), "");
    store->ops->close(store);
}

static void test_store_sqlite_crash__at_each_system_call_of_the_first_life(void **state)
{
    char directory[2 * SCRATCH_MAX];
    bool ended = false;
    unsigned number = 0;

    (void)state;
    for (; !ended; number++) {
        uint64_t generation = 0;
        (void)snprintf(directory, sizeof directory, "%s/log", scratch);
        const size_t told = run_life(directory, number, &ended);
        assert_recovers(directory, told, &generation);
        remove_scratch(directory);
    }
    print_message("killed at %u system calls\n", number - 1);
    assert_true(number > 100);
}

/* Each life goes on with what the one before it left, so crashes of many kinds add up. */
static void test_store_sqlite_crash__at_each_system_call_of_a_later_life(void **state)
{
    bool ended = false;
    uint64_t generation = 0;

    (void)state;
    for (unsigned number = 0; !ended; number++) {
        const size_t told = run_life(scratch, number, &ended);
        /* Once more, killed while it recovers or soon after, when nothing was told before. */
        if (told == 0 && number % 2 == 1) {
            bool again;
            assert_true(run_life(scratch, number / 2, &again) == 0);
        }
        assert_recovers(scratch, told, &generation);
    }
    assert_true(generation > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_store_sqlite_crash__at_each_system_call_of_the_first_life, scratch_set_up,
            scratch_tear_down),
        cmocka_unit_test_setup_teardown(
            test_store_sqlite_crash__at_each_system_call_of_a_later_life, scratch_set_up,
            scratch_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
