#include "tests/unit/base/unit.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "tests/unit/base/capture.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, HITS = 2000 };

static struct tpc_failpoint points[] = {
    {.name = "coord.decision.forced"},
    {.name = "coord.begin"},
    {.name = "agent.vote.send"},
};
static struct tpc_failpoint more[] = {{.name = "agent.apply"}};

static int disarm(void **state)
{
    (void)state;
    struct tpc_err err = {0};
    return tpc_fp_arm("*=off", &err) == TPC_OK ? 0 : -1;
}

static void arm(const char *spec)
{
    struct tpc_err err = {0};
    enum tpc_rc rc = tpc_fp_arm(spec, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(rc, TPC_OK);
}

/* Hit the point with its talk on stderr set aside. */
static bool hit(struct tpc_failpoint *point)
{
    struct capture capture;
    capture_begin(&capture, STDERR_FILENO);
    bool failed = tpc_fp_hit(point);
    free(capture_end(&capture));
    return failed;
}

static void test_fp_hit__unarmed_or_absent_does_nothing(void **state)
{
    (void)state;
    assert_false(tpc_fp_hit(NULL));
    assert_false(tpc_fp_hit(&points[0]));
}

static void test_fp_arm__error_fails_until_off(void **state)
{
    (void)state;
    arm(" coord.begin = error ; ");
    assert_true(hit(&points[1]));
    assert_true(hit(&points[1]));
    assert_false(hit(&points[0]));
    arm("coord.begin=off");
    assert_false(hit(&points[1]));
}

static void test_fp_arm__a_count_runs_out(void **state)
{
    (void)state;
    arm("coord.begin=2*error;agent.apply=0*error");
    assert_true(hit(&points[1]));
    assert_true(hit(&points[1]));
    assert_false(hit(&points[1]));
    assert_false(hit(&more[0]));
}

static void test_fp_arm__star_is_all_and_later_parts_win(void **state)
{
    (void)state;
    arm("*=error;coord.begin=off");
    assert_true(hit(&points[0]));
    assert_false(hit(&points[1]));
    assert_true(hit(&more[0]));
}

static void test_fp_arm__delay_waits(void **state)
{
    (void)state;
    arm("agent.vote.send=delay(30)");
    uint64_t before = tpc_clock_mono_us();
    assert_false(hit(&points[2]));
    assert_true(tpc_clock_mono_us() - before >= 30000);
}

static void test_fp_arm__trace_logs_once_and_does_nothing(void **state)
{
    (void)state;
    struct capture capture;
    arm("*=trace");
    capture_begin(&capture, STDERR_FILENO);
    bool first = tpc_fp_hit(&points[0]);
    bool second = tpc_fp_hit(&points[0]);
    char *text = capture_end(&capture);
    assert_false(first || second);
    char *line = strstr(text, " evt=failpoint.hit name=coord.decision.forced action=trace\n");
    assert_non_null(line);
    assert_null(strstr(line + 2, "evt="));
    free(text);
}

static void check_error(const char *spec, const char *expected)
{
    struct tpc_err err = {0};
    assert_int_equal(tpc_fp_arm(spec, &err), TPC_EINVAL);
    if (strstr(err.text, expected) == NULL) {
        fail_msg("\"%s\" says \"%s\", not \"%s\"", spec, err.text, expected);
    }
}

static void test_fp_arm__errors_name_the_part_and_arm_nothing(void **state)
{
    (void)state;
    check_error("coord.begin", "\"coord.begin\": expected NAME=ACTION");
    check_error("coord.begin=die", "\"coord.begin\": unknown action \"die\"");
    check_error("coord.begin=delay", "unknown action \"delay\"");
    check_error("coord.begin=delay()", "unknown action \"delay()\"");
    check_error("coord.begin=delay(x)", "unknown action");
    check_error("coord.begin=delay(99999999999)", "unknown action");
    check_error("coord.begin=kill(3)", "unknown action");
    check_error("coord.begin=99999999999*kill", "unknown action");
    check_error("coord.begin=*kill", "unknown action");
    check_error("coord.begin=", "unknown action \"\"");
    check_error("coord.begn=kill", "\"coord.begn\"; did you mean \"coord.begin\"?");
    check_error("zebra=kill", "--list-failpoints");
    check_error("coord.begin=error;zebra=kill", "zebra");
    assert_false(hit(&points[1]));
}

static void test_fp_list__is_sorted(void **state)
{
    (void)state;
    struct capture capture;
    capture_begin(&capture, STDOUT_FILENO);
    tpc_fp_list();
    char *text = capture_end(&capture);
    assert_string_equal(text, "agent.apply\nagent.vote.send\ncoord.begin\ncoord.decision.forced\n");
    free(text);
}

static void test_fp_hit__kill_is_sigkill_and_is_told_first(void **state)
{
    (void)state;
    struct capture capture;
    arm("coord.begin=1*kill");
    capture_begin(&capture, STDERR_FILENO);
    pid_t child = fork();
    if (child == 0) {
        tpc_log(TPC_LOG_INFO, "before", tpc_kv_int("n", 1));
        tpc_fp_hit(&points[1]);
        _exit(0);
    }
    int status = 0;
    pid_t waited = waitpid(child, &status, 0);
    char *text = capture_end(&capture);
    assert_int_equal(waited, child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    const char *before = strstr(text, "evt=before");
    assert_non_null(before);
    assert_non_null(strstr(before, "evt=failpoint.hit name=coord.begin action=kill\n"));
    free(text);
}

static void test_fp_hit__hang_does_not_return(void **state)
{
    (void)state;
    int fds[2];
    char text[200];
    assert_int_equal(pipe(fds), 0);
    arm("coord.begin=hang");
    pid_t child = fork();
    if (child == 0) {
        dup2(fds[1], STDERR_FILENO);
        tpc_fp_hit(&points[1]);
        _exit(0);
    }
    close(fds[1]);
    assert_true(read(fds[0], text, sizeof text) > 0); /* it is there */
    int status = 0;
    assert_int_equal(waitpid(child, &status, WNOHANG), 0);
    kill(child, SIGTERM);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    close(fds[0]);
}

static void *hit_often(void *arg)
{
    size_t *failed = arg;
    for (int i = 0; i < HITS; i++) {
        *failed += tpc_fp_hit(&points[2]);
    }
    return NULL;
}

static void test_fp_hit__threads_share_one_count(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    size_t failed[THREADS] = {0};
    struct capture capture;
    arm("agent.vote.send=1000*error");
    capture_begin(&capture, STDERR_FILENO);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, hit_often, &failed[i]), 0);
    }
    arm("coord.begin=delay(1)");
    size_t sum = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        sum += failed[i];
    }
    char *text = capture_end(&capture);
    assert_int_equal(sum, 1000);
    const char *line = strstr(text, "evt=failpoint.hit");
    assert_non_null(line);
    assert_null(strstr(line + 1, "evt=failpoint.hit"));
    free(text);
}

int main(void)
{
    tpc_fp_register(points, sizeof points / sizeof *points);
    tpc_fp_register(more, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fp_hit__unarmed_or_absent_does_nothing, disarm),
        cmocka_unit_test_setup(test_fp_arm__error_fails_until_off, disarm),
        cmocka_unit_test_setup(test_fp_arm__a_count_runs_out, disarm),
        cmocka_unit_test_setup(test_fp_arm__star_is_all_and_later_parts_win, disarm),
        cmocka_unit_test_setup(test_fp_arm__delay_waits, disarm),
        cmocka_unit_test_setup(test_fp_arm__trace_logs_once_and_does_nothing, disarm),
        cmocka_unit_test_setup(test_fp_arm__errors_name_the_part_and_arm_nothing, disarm),
        cmocka_unit_test_setup(test_fp_list__is_sorted, disarm),
        cmocka_unit_test_setup(test_fp_hit__kill_is_sigkill_and_is_told_first, disarm),
        cmocka_unit_test_setup(test_fp_hit__hang_does_not_return, disarm),
        cmocka_unit_test_setup(test_fp_hit__threads_share_one_count, disarm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
