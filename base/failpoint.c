#include "base/failpoint.h"

#include "base/log.h"
#include "base/suggest.h"
#include "base/tpc_assert.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { GROUPS_MAX = 16, COUNT_MAX = 1000000, DELAY_MAX_MS = 3600000 };

static struct {
    struct tpc_failpoint *points;
    size_t count;
} groups[GROUPS_MAX];
static size_t group_count;

static const char *const action_names[] = {
    [TPC_FP_OFF] = "off",     [TPC_FP_KILL] = "kill", [TPC_FP_ERROR] = "error",
    [TPC_FP_DELAY] = "delay", [TPC_FP_HANG] = "hang", [TPC_FP_TRACE] = "trace",
};

/* One "name=3*delay(200)", its words still in the caller's text. */
struct part {
    const char *name;
    size_t name_length;
    int action;
    int count;
    uint32_t delay_ms;
};

void tpc_fp_register(struct tpc_failpoint *points, size_t count)
{
    TPC_ASSERT(group_count < GROUPS_MAX);
    groups[group_count].points = points;
    groups[group_count].count = count;
    group_count++;
}

static struct tpc_failpoint *point_at(size_t index)
{
    for (size_t i = 0; i < group_count; i++) {
        if (index < groups[i].count) {
            return &groups[i].points[index];
        }
        index -= groups[i].count;
    }
    return NULL;
}

static void trim(const char **text, size_t *length)
{
    while (*length > 0 && strchr(" \t\n", **text) != NULL) {
        (*text)++;
        (*length)--;
    }
    while (*length > 0 && strchr(" \t\n", (*text)[*length - 1]) != NULL) {
        (*length)--;
    }
}

/* Digits at @text, at most @max; returns how many characters they are, or 0. */
static size_t parse_number(const char *text, size_t length, uint32_t max, uint32_t *ret_value)
{
    uint32_t value = 0;
    size_t i = 0;
    for (; i < length && text[i] >= '0' && text[i] <= '9'; i++) {
        value = value * 10 + (uint32_t)(text[i] - '0');
        if (value > max) {
            return 0;
        }
    }
    *ret_value = value;
    return i;
}

static bool parse_action(const char *text, size_t length, struct part *part)
{
    uint32_t value = 0;
    size_t digits = parse_number(text, length, COUNT_MAX, &value);
    part->count = -1;
    if (digits > 0 && digits < length && text[digits] == '*') {
        part->count = (int)value;
        text += digits + 1;
        length -= digits + 1;
    }
    size_t word = 0;
    while (word < length && text[word] != '(') {
        word++;
    }
    for (int i = TPC_FP_OFF; i <= TPC_FP_TRACE; i++) {
        if (strlen(action_names[i]) == word && memcmp(action_names[i], text, word) == 0) {
            part->action = i;
            if (i != TPC_FP_DELAY) {
                return word == length;
            }
            text += word;
            length -= word;
            if (length < 3 || text[length - 1] != ')') {
                return false;
            }
            digits = parse_number(text + 1, length - 2, DELAY_MAX_MS, &value);
            part->delay_ms = value;
            return digits == length - 2;
        }
    }
    return false;
}

static enum tpc_rc parse_part(const char *text, size_t length, struct part *part,
                              struct tpc_err *reterr)
{
    *part = (struct part){.name = text};
    const char *equals = memchr(text, '=', length);
    if (equals == NULL) {
        return tpc_fail(reterr, TPC_EINVAL, "failpoint \"%.*s\": expected NAME=ACTION", (int)length,
                        text);
    }
    part->name_length = (size_t)(equals - text);
    trim(&part->name, &part->name_length);
    const char *action = equals + 1;
    size_t action_length = length - (size_t)(action - text);
    trim(&action, &action_length);
    if (!parse_action(action, action_length, part)) {
        return tpc_fail(reterr, TPC_EINVAL,
                        "failpoint \"%.*s\": unknown action \"%.*s\"; expected kill, error, "
                        "delay(MS), hang, trace or off, or a count before it as in 3*error",
                        (int)part->name_length, part->name, (int)action_length, action);
    }
    return TPC_OK;
}

static bool names(const struct part *part, const struct tpc_failpoint *point)
{
    return (part->name_length == 1 && part->name[0] == '*') ||
           (strlen(point->name) == part->name_length &&
            memcmp(point->name, part->name, part->name_length) == 0);
}

static enum tpc_rc unknown_point(const struct part *part, struct tpc_err *reterr)
{
    struct tpc_suggest suggest;
    tpc_suggest_init(&suggest, part->name, part->name_length);
    struct tpc_failpoint *point;
    for (size_t i = 0; (point = point_at(i)) != NULL; i++) {
        tpc_suggest_offer(&suggest, point->name);
    }
    if (suggest.nearest != NULL) {
        return tpc_fail(reterr, TPC_EINVAL, "unknown failpoint \"%.*s\"; did you mean \"%s\"?",
                        (int)part->name_length, part->name, suggest.nearest);
    }
    return tpc_fail(reterr, TPC_EINVAL,
                    "unknown failpoint \"%.*s\"; --list-failpoints prints the names",
                    (int)part->name_length, part->name);
}

static enum tpc_rc apply(const struct part *part, bool check_only, struct tpc_err *reterr)
{
    bool found = false;
    struct tpc_failpoint *point;
    for (size_t i = 0; (point = point_at(i)) != NULL; i++) {
        if (!names(part, point)) {
            continue;
        }
        found = true;
        if (!check_only) {
            /* The action goes last: who sees it sees the rest. */
            atomic_store(&point->action, TPC_FP_OFF);
            atomic_store(&point->delay_ms, part->delay_ms);
            atomic_store(&point->left, part->count);
            atomic_store(&point->told, false);
            atomic_store(&point->action, part->count == 0 ? TPC_FP_OFF : part->action);
        }
    }
    return found ? TPC_OK : unknown_point(part, reterr);
}

static enum tpc_rc walk(const char *spec, bool check_only, struct tpc_err *reterr)
{
    while (*spec != '\0') {
        const char *text = spec;
        size_t length = strcspn(spec, ";");
        spec += length;
        spec += *spec == ';';
        trim(&text, &length);
        if (length == 0) {
            continue;
        }
        struct part part;
        enum tpc_rc rc = parse_part(text, length, &part, reterr);
        if (rc == TPC_OK) {
            rc = apply(&part, check_only, reterr);
        }
        if (rc != TPC_OK) {
            return rc;
        }
    }
    return TPC_OK;
}

enum tpc_rc tpc_fp_arm(const char *spec, struct tpc_err *reterr)
{
    enum tpc_rc rc = walk(spec, true, reterr);
    return rc == TPC_OK ? walk(spec, false, reterr) : rc;
}

static int compare_names(const void *a, const void *b)
{
    const char *const *left = a;
    const char *const *right = b;
    return strcmp(*left, *right);
}

void tpc_fp_list(void)
{
    size_t count = 0;
    for (size_t i = 0; i < group_count; i++) {
        count += groups[i].count;
    }
    const char **list = calloc(count + 1, sizeof *list);
    TPC_ASSERT(list != NULL);
    for (size_t i = 0; i < count; i++) {
        list[i] = point_at(i)->name;
    }
    qsort(list, count, sizeof *list, compare_names);
    for (size_t i = 0; i < count; i++) {
        puts(list[i]);
    }
    fflush(stdout);
    free(list);
}

/* Take one of the times that are left; false when none is. */
static bool take_turn(struct tpc_failpoint *point)
{
    int left = atomic_load(&point->left);
    while (left > 0) {
        if (atomic_compare_exchange_weak(&point->left, &left, left - 1)) {
            return true;
        }
    }
    return left < 0;
}

static void sleep_ms(uint32_t delay_ms)
{
    struct timespec left = {.tv_sec = delay_ms / 1000,
                            .tv_nsec = (long)(delay_ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

bool tpc_fp_act(struct tpc_failpoint *point)
{
    enum tpc_fp_action action = (enum tpc_fp_action)atomic_load(&point->action);
    if (action == TPC_FP_OFF || !take_turn(point)) {
        return false;
    }
    if (!atomic_exchange(&point->told, true)) {
        tpc_log(TPC_LOG_WARN, "failpoint.hit", tpc_kv_str("name", point->name),
                tpc_kv_str("action", action_names[action]));
    }
    switch (action) {
    case TPC_FP_KILL:
        kill(getpid(), SIGKILL);
        for (;;) {
            pause(); /* until the signal is delivered */
        }
    case TPC_FP_HANG:
        for (;;) {
            pause();
        }
    case TPC_FP_DELAY:
        sleep_ms(atomic_load(&point->delay_ms));
        return false;
    case TPC_FP_ERROR:
        return true;
    case TPC_FP_OFF:
    case TPC_FP_TRACE:
        break;
    }
    return false;
}
