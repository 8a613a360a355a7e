/* The table of branches, and what each of them holds. */
#include "participant/daemon.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/tpc_assert.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

/* Results that are kept for repeated prepares once nobody should need them any more. */
enum { RESULTS_KEPT = 4096 };

_Noreturn void part_halt(const char *why, const struct tpc_err *err)
{
    tpc_log(TPC_LOG_ERROR, "daemon.halt", tpc_kv_str("why", why),
            tpc_kv_str("error", err != NULL && err->text[0] != '\0' ? err->text : NULL),
            tpc_kv_str("advice", "the next start goes by what is in the log and the database"));
    tpc_log_flush();
    _exit(PART_EXIT_HALT);
}

void *part_alloc(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL) {
        part_halt("out of memory", NULL);
    }
    return memory;
}

char *part_strdup(const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL) {
        part_halt("out of memory", NULL);
    }
    return copy;
}

struct branch *part_table_find(const struct part_daemon *daemon, const struct tpc_id *gtid)
{
    struct branch *branch = NULL;
    HASH_FIND(hh, daemon->branches, gtid, sizeof *gtid, branch);
    return branch;
}

struct branch *part_table_add(struct part_daemon *daemon, const struct tpc_id *gtid)
{
    struct branch *branch = part_alloc(sizeof *branch);
    branch->gtid = *gtid;
    branch->daemon = daemon;
    branch->at_us = tpc_clock_wall_us();
    branch->cause.statement = -1;
    HASH_ADD(hh, daemon->branches, gtid, sizeof branch->gtid, branch);
    DL_APPEND(daemon->live, branch);
    daemon->live_count++;
    return branch;
}

/* Its client may be at work at another participant: the coordinator knows. If that says nothing the
 * branch is given up, so that its locks are not held for nobody. */
static void on_idle(struct work *work)
{
    struct branch *branch = work->branch;
    struct part_daemon *daemon = branch->daemon;
    if (work->overdue) {
        part_branch_give_up(branch, API_CAUSE_TIMEOUT,
                            "nobody went on with the interactive branch within its time-out, and "
                            "its coordinator did not answer");
        return;
    }
    work->overdue = true;
    part_ask(branch);
    tpc_timer_arm(&daemon->timers, &work->timer,
                  tpc_clock_mono_ms() + daemon->settings->ask_max_ms);
}

static void on_timer(struct tpc_timer *timer)
{
    struct work *work = (struct work *)((char *)timer - offsetof(struct work, timer));
    if (work->branch->fsm.state == PART_ACTIVE) {
        on_idle(work);
    } else {
        part_event_sure(work->branch, PART_EV_TIMER);
    }
}

void part_branch_give_up(struct branch *branch, enum api_cause_code code, const char *why)
{
    TPC_ASSERT(branch->fsm.state == PART_ACTIVE);
    api_cause_done(&branch->cause);
    branch->cause = (struct api_cause){.code = code, .statement = -1, .detail = part_strdup(why)};
    part_event_sure(branch, PART_EV_TIMER);
}

struct work *part_branch_work(struct branch *branch)
{
    if (branch->work == NULL) {
        branch->work = part_alloc(sizeof *branch->work);
        branch->work->branch = branch;
        branch->work->timer.fire = on_timer;
        branch->work->job.user = branch;
        branch->work->job.cause.statement = -1;
    }
    return branch->work;
}

static void free_work(struct branch *branch)
{
    struct work *work = branch->work;
    if (work == NULL) {
        return;
    }
    TPC_ASSERT(!work->job_busy && !work->force_busy);
    tpc_timer_cancel(&branch->daemon->timers, &work->timer);
    tpc_buf_done(&work->payload);
    free(work);
    branch->work = NULL;
}

static void drop_results(struct branch *branch)
{
    free(branch->results);
    branch->results = NULL;
    branch->results_size = 0;
}

void part_branch_set_error(struct branch *branch, const char *text)
{
    free(branch->last_error);
    branch->last_error = text != NULL ? part_strdup(text) : NULL;
}

void part_branch_free(struct branch *branch)
{
    struct part_daemon *daemon = branch->daemon;
    TPC_ASSERT(branch->steps == NULL && branch->votes == NULL && branch->acks == NULL &&
               branch->operators == NULL);
    free_work(branch);
    if (branch->ended) {
        DL_DELETE(daemon->ended, branch);
        daemon->ended_count--;
    } else {
        DL_DELETE(daemon->live, branch);
        daemon->live_count--;
    }
    HASH_DELETE(hh, daemon->branches, branch);
    drop_results(branch);
    api_cause_done(&branch->cause);
    free(branch->last_error);
    free(branch->by_hand.operator_name);
    free(branch->by_hand.reason);
    free(branch);
}

void part_branch_mark(struct branch *branch, bool ended)
{
    struct part_daemon *daemon = branch->daemon;
    if (branch->ended == ended) {
        return;
    }
    branch->ended = ended;
    if (ended) {
        DL_DELETE(daemon->live, branch);
        DL_APPEND(daemon->ended, branch);
        daemon->live_count--;
        daemon->ended_count++;
        branch->ended_ms = tpc_clock_mono_ms();
    } else {
        DL_DELETE(daemon->ended, branch);
        DL_APPEND(daemon->live, branch);
        daemon->ended_count--;
        daemon->live_count++;
    }
}

void part_branch_trim(struct branch *branch)
{
    free_work(branch);
    if (branch->results_size > RESULTS_KEPT) {
        drop_results(branch);
    }
    part_branch_set_error(branch, NULL);
}
