/* What is begun, and what is refused at once, with 503 and Retry-After: refusing is cheap, and what
 * is begun and not ended in time has cost its work for nothing.
 *
 * A participant that has many prepares to answer is watched: how long will one more wait? As long
 * as those before it take at the pace of the last seconds, and if none was answered, longer than
 * that silence has lasted. More than half of the time-out is refused. So a participant that crawls
 * gets as much as it can do, and one that hangs a few that find out when it is back.
 *
 * What hangs is no burden for others: transactions at a silent participant do not count among those
 * that may be in flight, up to as many again; and it gets none of the last half of the connections.
 */
#include "coordinator/daemon.h"

#include "base/clock.h"

#include <string.h>

enum {
    BACKLOG = 64,           /* prepares; whoever has fewer is never behind */
    MARK_EVERY_MS = 500,    /* and the pace is that of COORD_PACE_MARKS of them */
    SILENT_MS = 1000,       /* without an answer, and a backlog */
    RETRY_AFTER_MAX_S = 30, /* */
};

static size_t waiting(const struct coord_member *member)
{
    const struct coord_lane *lane = &member->lanes[COORD_LANE_PREPARE];
    return lane->queued + lane->unanswered;
}

static void add_mark(struct coord_member *member, uint64_t now_ms)
{
    struct coord_pace *pace = &member->pace;
    if (pace->count == COORD_PACE_MARKS) {
        pace->count--;
        memmove(pace->marks, pace->marks + 1, pace->count * sizeof pace->marks[0]);
    }
    pace->marks[pace->count++] = (struct coord_pace_mark){
        .at_ms = now_ms, .answered = member->lanes[COORD_LANE_PREPARE].answered};
}

/* How long nothing has been heard of what it has to answer. */
static uint64_t silence_ms(const struct coord_member *member, uint64_t now_ms)
{
    if (member->pace.count == 0 || waiting(member) < BACKLOG) {
        return 0;
    }
    uint64_t since_ms = member->lanes[COORD_LANE_PREPARE].answered_ms;
    if (since_ms < member->pace.marks[0].at_ms) {
        since_ms = member->pace.marks[0].at_ms;
    }
    return now_ms - since_ms;
}

/* How long one more prepare will wait, by all appearances. */
static uint64_t expected_ms(struct coord_member *member)
{
    struct coord_pace *pace = &member->pace;
    uint64_t now_ms = tpc_clock_mono_ms();
    if (waiting(member) < BACKLOG) {
        pace->count = 0;
        return 0;
    }
    if (pace->count == 0 || now_ms - pace->marks[pace->count - 1].at_ms >= MARK_EVERY_MS) {
        add_mark(member, now_ms);
    }
    uint64_t span_ms = now_ms - pace->marks[0].at_ms;
    uint64_t answered = member->lanes[COORD_LANE_PREPARE].answered - pace->marks[0].answered;
    uint64_t silent_ms = silence_ms(member, now_ms);
    if (span_ms < MARK_EVERY_MS || answered == 0) {
        return silent_ms;
    }
    uint64_t wait_ms = waiting(member) * span_ms / answered;
    return wait_ms > silent_ms ? wait_ms : silent_ms;
}

/* Is what has to be left for others nearly used up? */
static bool is_scarce(const struct coord_daemon *daemon)
{
    const struct coord_settings *settings = daemon->settings;
    return daemon->kept_count[COORD_KEPT_UNFINISHED] >= settings->transactions_max ||
           daemon->waiters >= settings->connections_max / 2;
}

bool coord_member_has_room(struct coord_member *member, struct api_request *request,
                           uint64_t timeout_ms)
{
    uint64_t wait_ms = expected_ms(member);
    bool silent = silence_ms(member, tpc_clock_mono_ms()) >= SILENT_MS;
    if (wait_ms <= timeout_ms / 2 && !(silent && is_scarce(member->daemon))) {
        return true;
    }
    char seconds[24];
    uint64_t after_s = wait_ms > timeout_ms / 2 ? (wait_ms - timeout_ms / 2) / 1000 + 1 : 1;
    (void)snprintf(seconds, sizeof seconds, "%u",
                   (unsigned)(after_s < RETRY_AFTER_MAX_S ? after_s : RETRY_AFTER_MAX_S));
    member->daemon->stats.refused++;
    api_request_add_header(request, "Retry-After", seconds);
    coord_problem(
        request, 503, "unavailable", "Not now",
        "'%s' is behind: %zu branches wait for it, and one more would for %llu ms or more; "
        "nothing was started; try again",
        member->name, waiting(member), (unsigned long long)wait_ms);
    return false;
}

/* Of transactions, at participants that hang. */
static size_t held_by_silent(const struct coord_daemon *daemon)
{
    const struct coord_member *member, *next;
    uint64_t now_ms = tpc_clock_mono_ms();
    size_t held = 0;
    HASH_ITER (hh, daemon->members, member, next) {
        held += silence_ms(member, now_ms) >= SILENT_MS ? member->users : 0;
    }
    return held;
}

static bool is_full(const struct coord_daemon *daemon)
{
    size_t in_flight = daemon->kept_count[COORD_KEPT_UNFINISHED];
    uint64_t max = daemon->settings->transactions_max;
    if (in_flight < max) {
        return false;
    }
    size_t held = held_by_silent(daemon);
    return in_flight - (held < in_flight ? held : in_flight) >= max || in_flight >= 2 * max;
}

bool coord_has_room(struct coord_daemon *daemon, struct api_request *request, bool has_key)
{
    const struct coord_settings *settings = daemon->settings;
    const char *full = NULL;
    if (is_full(daemon)) {
        full =
            "as many transactions are in flight as are allowed (--transactions-max); nothing was "
            "started";
    } else if (daemon->waiters >= settings->waiters_max) {
        full =
            "as many requests wait for a transaction as are allowed (--waiters-max); nothing was "
            "started";
    } else if (has_key && HASH_COUNT(daemon->keys) >= settings->keys_max) {
        full =
            "as many Idempotency-Keys are known as are allowed (--keys-max, --retention); nothing "
            "was started";
    }
    if (full != NULL) {
        coord_unavailable(request, full);
        daemon->stats.refused++;
    }
    return full == NULL;
}
