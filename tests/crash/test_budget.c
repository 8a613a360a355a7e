/* What each path costs in messages (each with its answer) and in forced writes, counted with one
 * client that does one thing after the other. */
#include "tests/support/http.h"
#include "tests/support/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { AGENTS = 3, TIMES = 20 };

static struct sup_world world;

/* Counters of all daemons. */
struct cost {
    double prepares, commits, aborts; /* sent by the coordinator */
    double received, votes;           /* prepares and outcomes, and votes, at participants */
    double coordinator_forces, agents_forces; /* forced writes */
    double ended;                             /* transactions */
};

static int begin(void **state)
{
    (void)state;
    sup_world_init(&world, &(struct sup_world_options){.agents = AGENTS});
    sup_world_start(&world);
    return 0;
}

static int end(void **state)
{
    (void)state;
    sup_world_done(&world, false);
    return 0;
}

static double metric(const struct sup_daemon *daemon, const char *name, const char *label)
{
    double value = sup_metric(sup_daemon_url(daemon), name, label);
    if (value < 0) {
        fail_msg("%s has no metric %s{%s}", daemon->name, name, label != NULL ? label : "");
    }
    return value;
}

static struct cost cost_now(void)
{
    const struct sup_daemon *coordinator = &world.coordinator;
    struct cost cost = {
        .prepares = metric(coordinator, "assent_messages_total", "prepare"),
        .commits = metric(coordinator, "assent_messages_total", "commit"),
        .aborts = metric(coordinator, "assent_messages_total", "abort"),
        .coordinator_forces = metric(coordinator, "assent_forced_writes_total", NULL),
        .ended = metric(coordinator, "assent_transactions_total", NULL),
    };
    for (unsigned i = 0; i < AGENTS; i++) {
        cost.received += metric(&world.agents[i], "assent_messages_total", NULL);
        cost.votes += metric(&world.agents[i], "assent_votes_total", NULL);
        cost.agents_forces += metric(&world.agents[i], "assent_forced_writes_total", NULL);
    }
    return cost;
}

/* Counters since @before, each for one of TIMES transactions. */
static struct cost cost_since(const struct cost *before)
{
    struct cost now = cost_now();
    return (struct cost){
        .prepares = (now.prepares - before->prepares) / TIMES,
        .commits = (now.commits - before->commits) / TIMES,
        .aborts = (now.aborts - before->aborts) / TIMES,
        .received = (now.received - before->received) / TIMES,
        .votes = (now.votes - before->votes) / TIMES,
        .coordinator_forces = (now.coordinator_forces - before->coordinator_forces) / TIMES,
        .agents_forces = (now.agents_forces - before->agents_forces) / TIMES,
        .ended = (now.ended - before->ended) / TIMES,
    };
}

/* Branches at the first agents: @writers that write, then @readers that only read; the last writer
 * refuses when @refused. */
static void submit(unsigned writers, unsigned readers, bool refused)
{
    struct tpc_buf body = {0};
    tpc_buf_adds(&body, "{\"branches\":[");
    for (unsigned i = 0; i < writers + readers; i++) {
        const char *sql = i < writers ? "UPDATE accounts SET balance = balance + 1 WHERE id = 1"
                                      : "SELECT balance FROM accounts";
        unsigned rows = i >= writers ? world.options.accounts : refused && i == writers - 1 ? 2 : 1;
        tpc_buf_addf(&body,
                     "%s{\"participant\":\"%s\",\"statements\":[{\"sql\":\"%s\","
                     "\"expect\":{\"rows\":%u}}]}",
                     i > 0 ? "," : "", world.agents[i].name, sql, rows);
    }
    tpc_buf_adds(&body, "]}");
    int status =
        sup_http_status("POST", sup_daemon_url(&world.coordinator), "/v1/transactions", body.data);
    assert_int_equal(status, refused ? 409 : 201);
    tpc_buf_done(&body);
}

static struct cost measure(unsigned writers, unsigned readers, bool refused)
{
    submit(writers, readers, refused); /* connections, first forces of an identity */
    struct cost before = cost_now();
    for (int i = 0; i < TIMES; i++) {
        submit(writers, readers, refused);
    }
    struct cost cost = cost_since(&before);
    (void)printf("%u writers, %u readers%s: %g prepares, %g commits, %g aborts, %g votes; forced: "
                 "%g at the coordinator, %g at the participants\n",
                 writers, readers, refused ? ", refused" : "", cost.prepares, cost.commits,
                 cost.aborts, cost.votes, cost.coordinator_forces, cost.agents_forces);
    assert_true(cost.ended == 1);
    assert_true(cost.received == cost.prepares + cost.commits + cost.aborts);
    assert_true(cost.votes == cost.prepares);
    return cost;
}

static void expect_messages(const struct cost *cost, unsigned prepares, unsigned commits,
                            unsigned aborts)
{
    assert_true(cost->prepares == prepares);
    assert_true(cost->commits == commits);
    assert_true(cost->aborts == aborts);
}

static void expect_forces(const struct cost *cost, unsigned coordinator, unsigned participants)
{
    assert_true(cost->coordinator_forces == coordinator);
    assert_true(cost->agents_forces == participants);
}

static void test_budget__commit_is_4n_messages_and_2n_plus_1_forces(void **state)
{
    (void)state;
    for (unsigned n = 2; n <= AGENTS; n++) {
        struct cost cost = measure(n, 0, false);
        expect_messages(&cost, n, n, 0);
        expect_forces(&cost, 1, 2 * n);
    }
}

static void test_budget__participant_that_only_reads_is_two_less(void **state)
{
    (void)state;
    struct cost cost = measure(2, 1, false);
    expect_messages(&cost, 3, 2, 0);
    expect_forces(&cost, 1, 4);
}

static void test_budget__all_only_read(void **state)
{
    (void)state;
    struct cost cost = measure(0, 3, false);
    expect_messages(&cost, 3, 0, 0);
    expect_forces(&cost, 0, 0);
}

static void test_budget__one_writer_is_one_phase(void **state)
{
    (void)state;
    struct cost cost = measure(1, 0, false);
    expect_messages(&cost, 1, 0, 0);
    expect_forces(&cost, 0, 1);
}

static void test_budget__abort_forces_nothing_at_the_coordinator(void **state)
{
    (void)state;
    struct cost cost = measure(AGENTS, 0, true);
    assert_true(cost.prepares == AGENTS);
    assert_true(cost.commits == 0);
    assert_true(cost.aborts <= AGENTS);
    assert_true(cost.coordinator_forces == 0);
    assert_true(cost.agents_forces <= AGENTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budget__commit_is_4n_messages_and_2n_plus_1_forces),
        cmocka_unit_test(test_budget__participant_that_only_reads_is_two_less),
        cmocka_unit_test(test_budget__all_only_read),
        cmocka_unit_test(test_budget__one_writer_is_one_phase),
        cmocka_unit_test(test_budget__abort_forces_nothing_at_the_coordinator),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
