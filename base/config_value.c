/* Values of settings: from text to a member of the caller's struct, and back. */
#include "base/config_internal.h"
#include "base/tpc_assert.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* Formatting takes the last that fits, so the greatest and the usual spelling come last. */
static const struct unit duration_units[] = {
    {"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
};
static const struct unit size_units[] = {
    {"", 1},        {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"K", 1 << 10},
    {"k", 1 << 10}, {"m", 1 << 20},   {"M", 1 << 20},   {"g", 1 << 30},   {"G", 1 << 30},
};

#define LENGTH(array) (sizeof(array) / sizeof *(array))

static void *member(const struct tpc_opt *option, void *settings)
{
    return (char *)settings + option->offset;
}

static const void *const_member(const struct tpc_opt *option, const void *settings)
{
    return (const char *)settings + option->offset;
}

const char *tpc_config_string(const struct tpc_opt *option, const void *settings)
{
    return *(char *const *)const_member(option, settings);
}

uint64_t tpc_config_number(const struct tpc_opt *option, const void *settings)
{
    const void *at = const_member(option, settings);
    return option->type == TPC_OPT_BOOL ? *(const bool *)at : *(const uint64_t *)at;
}

const struct tpc_list *tpc_config_list(const struct tpc_opt *option, const void *settings)
{
    return const_member(option, settings);
}

/* Digits and then one of @units. */
static bool parse_with_unit(const char *text, const struct unit *units, size_t unit_count,
                            uint64_t *ret_value)
{
    uint64_t value = 0;
    const char *s = text;
    for (; *s >= '0' && *s <= '9'; s++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value)) {
            return false;
        }
    }
    if (s == text) {
        return false;
    }
    for (size_t i = 0; i < unit_count; i++) {
        if (strcmp(s, units[i].name) == 0) {
            if (__builtin_mul_overflow(value, units[i].factor, &value)) {
                return false;
            }
            *ret_value = value;
            return true;
        }
    }
    return false;
}

bool tpc_parse_duration(const char *text, uint64_t *ret_ms)
{
    return parse_with_unit(text, duration_units, LENGTH(duration_units), ret_ms);
}

bool tpc_parse_size(const char *text, uint64_t *ret_bytes)
{
    return parse_with_unit(text, size_units, LENGTH(size_units), ret_bytes);
}

static bool parse_bool(const char *text, bool *ret_value)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < LENGTH(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret_value = i % 2 == 1;
            return true;
        }
    }
    return false;
}

static void format_with_unit(uint64_t value, const struct unit *units, size_t unit_count,
                             struct tpc_buf *out)
{
    const struct unit *best = &units[0];
    for (size_t i = 1; i < unit_count; i++) {
        if (value % units[i].factor == 0 && value > 0) {
            best = &units[i];
        }
    }
    tpc_buf_addf(out, "%" PRIu64 "%s", value / best->factor, best->name);
}

void tpc_config_format(const struct tpc_opt *option, uint64_t value, struct tpc_buf *out)
{
    switch (option->type) {
    case TPC_OPT_UINT:
        tpc_buf_addf(out, "%" PRIu64, value);
        break;
    case TPC_OPT_DURATION:
        format_with_unit(value, duration_units, LENGTH(duration_units), out);
        break;
    case TPC_OPT_SIZE:
        format_with_unit(value, size_units, LENGTH(size_units), out);
        break;
    case TPC_OPT_BOOL:
        tpc_buf_adds(out, value != 0 ? "true" : "false");
        break;
    case TPC_OPT_STRING:
    case TPC_OPT_LIST:
        break;
    }
}

static enum tpc_rc fail_value(const struct tpc_opt *option, const char *text, const char *place,
                              const char *expected, struct tpc_err *reterr)
{
    if (option->secret) {
        return tpc_fail(reterr, TPC_EINVAL, "%s: expected %s", place, expected);
    }
    return tpc_fail(reterr, TPC_EINVAL, "%s: \"%.80s\" is not valid; expected %s", place, text,
                    expected);
}

static enum tpc_rc fail_range(const struct tpc_opt *option, const char *text, const char *place,
                              struct tpc_err *reterr)
{
    struct tpc_buf range = {0};
    if (option->max == 0) {
        tpc_buf_adds(&range, "at least ");
        tpc_config_format(option, option->min, &range);
    } else {
        tpc_config_format(option, option->min, &range);
        tpc_buf_adds(&range, " to ");
        tpc_config_format(option, option->max, &range);
    }
    enum tpc_rc rc =
        fail_value(option, text, place, range.data != NULL ? range.data : "another", reterr);
    tpc_buf_done(&range);
    return rc;
}

static enum tpc_rc set_number(const struct tpc_opt *option, void *settings, const char *text,
                              const char *place, struct tpc_err *reterr)
{
    static const struct unit none[] = {{"", 1}};
    uint64_t value = 0;
    if (option->type == TPC_OPT_DURATION) {
        if (!tpc_parse_duration(text, &value)) {
            return fail_value(option, text, place,
                              "a whole number with ms, s, m, h or d, as in 250ms or 10s", reterr);
        }
    } else if (option->type == TPC_OPT_SIZE) {
        if (!tpc_parse_size(text, &value)) {
            return fail_value(option, text, place,
                              "a whole number of bytes, or with k, M or G, as in 64k or 4M",
                              reterr);
        }
    } else if (!parse_with_unit(text, none, 1, &value)) {
        return fail_value(option, text, place, "a whole number", reterr);
    }
    if (value < option->min || (option->max != 0 && value > option->max)) {
        return fail_range(option, text, place, reterr);
    }
    *(uint64_t *)member(option, settings) = value;
    return TPC_OK;
}

static enum tpc_rc append(struct tpc_list *list, const char *text, const char *place,
                          struct tpc_err *reterr)
{
    char **items = reallocarray(list->items, list->count + 1, sizeof *items);
    if (items == NULL) {
        return tpc_fail(reterr, TPC_ENOMEM, "%s: out of memory", place);
    }
    list->items = items;
    items[list->count] = strdup(text);
    if (items[list->count] == NULL) {
        return tpc_fail(reterr, TPC_ENOMEM, "%s: out of memory", place);
    }
    list->count++;
    return TPC_OK;
}

static enum tpc_rc set_string(char **string, const char *text, const char *place,
                              struct tpc_err *reterr)
{
    char *copy = strdup(text);
    if (copy == NULL) {
        return tpc_fail(reterr, TPC_ENOMEM, "%s: out of memory", place);
    }
    free(*string);
    *string = copy;
    return TPC_OK;
}

enum tpc_rc tpc_config_set(const struct tpc_opt *option, void *settings, const char *text,
                           const char *place, struct tpc_err *reterr)
{
    switch (option->type) {
    case TPC_OPT_STRING:
        return set_string(member(option, settings), text, place, reterr);
    case TPC_OPT_LIST:
        return append(member(option, settings), text, place, reterr);
    case TPC_OPT_BOOL:
        if (!parse_bool(text, member(option, settings))) {
            return fail_value(option, text, place, "true or false", reterr);
        }
        return TPC_OK;
    case TPC_OPT_UINT:
    case TPC_OPT_DURATION:
    case TPC_OPT_SIZE:
        break;
    }
    return set_number(option, settings, text, place, reterr);
}

void tpc_config_unset(const struct tpc_opt *option, void *settings)
{
    void *at = member(option, settings);
    switch (option->type) {
    case TPC_OPT_STRING:
        free(*(char **)at);
        *(char **)at = NULL;
        break;
    case TPC_OPT_LIST: {
        struct tpc_list *list = at;
        for (size_t i = 0; i < list->count; i++) {
            free(list->items[i]);
        }
        free(list->items);
        *list = (struct tpc_list){0};
        break;
    }
    case TPC_OPT_BOOL:
        *(bool *)at = false;
        break;
    case TPC_OPT_UINT:
    case TPC_OPT_DURATION:
    case TPC_OPT_SIZE:
        *(uint64_t *)at = 0;
        break;
    }
}

void tpc_config_done(const struct tpc_opt *options, void *settings)
{
    for (const struct tpc_opt *option = options; option->name != NULL; option++) {
        tpc_config_unset(option, settings);
    }
}
