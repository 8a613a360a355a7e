/* Settings from defaults, file, environment and flags, the weakest first. */
#include "base/config.h"

#include "base/config_internal.h"
#include "base/suggest.h"
#include "base/tpc_assert.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Flags that every program has beside its own options. */
enum special {
    SPECIAL_NONE,
    SPECIAL_CONFIG,
    SPECIAL_HELP,
    SPECIAL_VERSION,
    SPECIAL_CHECK,
    SPECIAL_PRINT,
    SPECIAL_FAILPOINTS,
};

static const char *const special_names[] = {
    [SPECIAL_CONFIG] = "config",      [SPECIAL_HELP] = "help",
    [SPECIAL_VERSION] = "version",    [SPECIAL_CHECK] = "check-config",
    [SPECIAL_PRINT] = "print-config", [SPECIAL_FAILPOINTS] = "list-failpoints",
};

struct loader {
    const struct tpc_opt *options;
    void *settings;
    int argc;
    char **argv;
    struct tpc_config_result *result;
    struct tpc_err *reterr;
    bool *seen;         /* by index of option: a list was begun by an earlier flag */
    const char *file;   /* of --config or ASSENT_CONFIG */
    bool specials_only; /* first time over the flags: look for the special ones */
    bool stop;          /* help and its like: nothing else matters */
};

/* One word that is a flag, taken apart. */
struct flag {
    const char *word;  /* as it stands, for messages */
    const char *name;  /* without hyphens */
    size_t length;     /* of name */
    const char *value; /* after `=`, or stuck to a letter; NULL: none */
};

static bool has_failpoints(const struct tpc_opt *options)
{
    for (; options->name != NULL; options++) {
        if (strcmp(options->name, "failpoints") == 0) {
            return true;
        }
    }
    return false;
}

static bool equals(const char *name, const char *word, size_t length)
{
    return strlen(name) == length && memcmp(name, word, length) == 0;
}

static const struct tpc_opt *find_flag(const struct loader *l, const struct flag *flag)
{
    bool short_form = flag->word[1] != '-';
    for (const struct tpc_opt *option = l->options; option->name != NULL; option++) {
        if (short_form ? option->letter != 0 && option->letter == flag->name[0]
                       : equals(option->name, flag->name, flag->length)) {
            return option;
        }
    }
    return NULL;
}

static enum special find_special(const struct loader *l, const struct flag *flag)
{
    if (strcmp(flag->word, "-h") == 0) {
        return SPECIAL_HELP;
    }
    if (flag->word[1] != '-') {
        return SPECIAL_NONE;
    }
    for (int i = SPECIAL_CONFIG; i <= SPECIAL_FAILPOINTS; i++) {
        if (equals(special_names[i], flag->name, flag->length) &&
            (i != SPECIAL_FAILPOINTS || has_failpoints(l->options))) {
            return (enum special)i;
        }
    }
    return SPECIAL_NONE;
}

static enum tpc_rc unknown_flag(const struct loader *l, const struct flag *flag)
{
    struct tpc_suggest suggest;
    tpc_suggest_init(&suggest, flag->name, flag->length);
    for (const struct tpc_opt *option = l->options; option->name != NULL; option++) {
        tpc_suggest_offer(&suggest, option->name);
    }
    for (int i = SPECIAL_CONFIG; i <= SPECIAL_FAILPOINTS; i++) {
        tpc_suggest_offer(&suggest, special_names[i]);
    }
    int length = (int)(flag->name + flag->length - flag->word);
    if (suggest.nearest != NULL) {
        return tpc_fail(l->reterr, TPC_EINVAL, "unknown flag %.*s; did you mean --%s?", length,
                        flag->word, suggest.nearest);
    }
    return tpc_fail(l->reterr, TPC_EINVAL, "unknown flag %.*s; --help prints the known ones",
                    length, flag->word);
}

/* The value of a flag that must have one: after the `=`, or the next word. */
static enum tpc_rc take_value(struct loader *l, struct flag *flag, const char *argument, int *index)
{
    if (flag->value != NULL) {
        return TPC_OK;
    }
    const char *next = *index + 1 < l->argc ? l->argv[*index + 1] : NULL;
    if (next == NULL || strncmp(next, "--", 2) == 0) {
        return tpc_fail(l->reterr, TPC_EINVAL, "%s needs a value: %s=%s", flag->word, flag->word,
                        argument != NULL ? argument : "VALUE");
    }
    flag->value = next;
    (*index)++;
    return TPC_OK;
}

static enum tpc_rc on_special(struct loader *l, enum special special, struct flag *flag, int *index)
{
    if (special == SPECIAL_CONFIG) {
        enum tpc_rc rc = take_value(l, flag, "FILE", index);
        l->file = flag->value;
        return rc;
    }
    if (flag->value != NULL) {
        return tpc_fail(l->reterr, TPC_EINVAL, "--%s takes no value", special_names[special]);
    }
    switch (special) {
    case SPECIAL_HELP:
        l->result->help = true;
        break;
    case SPECIAL_VERSION:
        l->result->version = true;
        break;
    case SPECIAL_CHECK:
        l->result->check_config = true;
        break;
    case SPECIAL_PRINT:
        l->result->print_config = true;
        break;
    case SPECIAL_FAILPOINTS:
        l->result->list_failpoints = true;
        break;
    case SPECIAL_CONFIG:
    case SPECIAL_NONE:
        break;
    }
    l->stop = l->result->help || l->result->version || l->result->list_failpoints;
    return TPC_OK;
}

static enum tpc_rc set_from_flag(struct loader *l, const struct tpc_opt *option, const char *value)
{
    char place[80];
    snprintf(place, sizeof place, "--%s", option->name);
    bool *seen = &l->seen[option - l->options];
    if (option->type == TPC_OPT_LIST && !*seen) {
        tpc_config_unset(option, l->settings);
    }
    *seen = true;
    return tpc_config_set(option, l->settings, value, place, l->reterr);
}

static enum tpc_rc on_flag(struct loader *l, struct flag *flag, int *index)
{
    enum special special = find_special(l, flag);
    if (special != SPECIAL_NONE) {
        return on_special(l, special, flag, index);
    }
    const struct tpc_opt *option = find_flag(l, flag);
    const char *implied = "true";
    if (option == NULL && flag->length > 3 && strncmp(flag->word, "--no-", 5) == 0) {
        struct flag positive = *flag;
        positive.name += 3;
        positive.length -= 3;
        option = find_flag(l, &positive);
        implied = "false";
        if (option != NULL && (option->type != TPC_OPT_BOOL || flag->value != NULL)) {
            option = NULL;
        }
    }
    if (option == NULL) {
        return unknown_flag(l, flag);
    }
    if (option->type == TPC_OPT_BOOL) {
        flag->value = flag->value != NULL ? flag->value : implied;
    } else {
        enum tpc_rc rc = take_value(l, flag, option->argument, index);
        if (rc != TPC_OK) {
            return rc;
        }
    }
    return l->specials_only ? TPC_OK : set_from_flag(l, option, flag->value);
}

static struct flag take_apart(const char *word)
{
    struct flag flag = {.word = word};
    if (word[1] != '-') {
        flag.name = word + 1;
        flag.length = 1;
        flag.value = word[2] != '\0' ? word + 2 : NULL;
        return flag;
    }
    flag.name = word + 2;
    flag.length = strcspn(flag.name, "=");
    flag.value = flag.name[flag.length] == '=' ? flag.name + flag.length + 1 : NULL;
    return flag;
}

static enum tpc_rc walk_flags(struct loader *l)
{
    bool ended = false;
    l->result->positional_count = 0;
    for (int i = 1; i < l->argc && !l->stop; i++) {
        const char *word = l->argv[i];
        if (ended || word[0] != '-' || word[1] == '\0') {
            l->result->positional[l->result->positional_count++] = word;
        } else if (strcmp(word, "--") == 0) {
            ended = true;
        } else {
            struct flag flag = take_apart(word);
            enum tpc_rc rc = on_flag(l, &flag, &i);
            if (rc != TPC_OK) {
                return rc;
            }
        }
    }
    return TPC_OK;
}

/* ASSENT_ADMIN_LISTEN of "admin-listen". */
static const char *variable_name(const char *name, char *out, size_t size)
{
    snprintf(out, size, "ASSENT_%s", name);
    for (char *s = out; *s != '\0'; s++) {
        *s = *s == '-' ? '_' : (char)toupper((unsigned char)*s);
    }
    return out;
}

static const char *variable(const char *name, char *out, size_t size)
{
    const char *value = getenv(variable_name(name, out, size));
    return value == NULL || *value == '\0' ? NULL : value;
}

static enum tpc_rc set_list_from_variable(struct loader *l, const struct tpc_opt *option,
                                          const char *value, const char *place)
{
    char *words = strdup(value);
    if (words == NULL) {
        return tpc_fail(l->reterr, TPC_ENOMEM, "%s: out of memory", place);
    }
    enum tpc_rc rc = TPC_OK;
    char *rest = NULL;
    for (char *word = strtok_r(words, ", \t\n", &rest); word != NULL && rc == TPC_OK;
         word = strtok_r(NULL, ", \t\n", &rest)) {
        rc = tpc_config_set(option, l->settings, word, place, l->reterr);
    }
    free(words);
    return rc;
}

static enum tpc_rc load_environment(struct loader *l)
{
    for (const struct tpc_opt *option = l->options; option->name != NULL; option++) {
        char name[80];
        char plural[80];
        const char *value = variable(option->name, name, sizeof name);
        const char *other =
            option->yaml_name == NULL ? NULL : variable(option->yaml_name, plural, sizeof plural);
        if (value != NULL && other != NULL) {
            return tpc_fail(l->reterr, TPC_EINVAL, "%s and %s are one setting; set only one", name,
                            plural);
        }
        if (value == NULL && other == NULL) {
            continue;
        }
        const char *place = value != NULL ? name : plural;
        value = value != NULL ? value : other;
        enum tpc_rc rc;
        if (option->type == TPC_OPT_LIST) {
            tpc_config_unset(option, l->settings);
            rc = set_list_from_variable(l, option, value, place);
        } else {
            rc = tpc_config_set(option, l->settings, value, place, l->reterr);
        }
        if (rc != TPC_OK) {
            return rc;
        }
    }
    return TPC_OK;
}

static enum tpc_rc load_defaults(struct loader *l)
{
    for (const struct tpc_opt *option = l->options; option->name != NULL; option++) {
        TPC_ASSERT(strlen(option->name) < 64);
        if (option->default_text != NULL) {
            enum tpc_rc rc =
                tpc_config_set(option, l->settings, option->default_text, option->name, l->reterr);
            TPC_ASSERT(rc == TPC_OK || rc == TPC_ENOMEM);
            if (rc != TPC_OK) {
                return rc;
            }
        }
    }
    return TPC_OK;
}

static enum tpc_rc load_all(struct loader *l)
{
    enum tpc_rc rc = load_defaults(l);
    if (rc != TPC_OK) {
        return rc;
    }
    l->specials_only = true;
    rc = walk_flags(l);
    if (rc != TPC_OK || l->stop) {
        return rc;
    }
    char name[80];
    l->file = l->file != NULL ? l->file : variable("config", name, sizeof name);
    if (l->file != NULL) {
        rc = tpc_config_load_yaml(l->options, l->settings, l->file, l->reterr);
    }
    if (rc == TPC_OK) {
        rc = load_environment(l);
    }
    if (rc == TPC_OK) {
        l->specials_only = false;
        rc = walk_flags(l);
    }
    return rc;
}

enum tpc_rc tpc_config_load(const struct tpc_opt *options, void *settings, int argc, char **argv,
                            struct tpc_config_result *ret_result, struct tpc_err *reterr)
{
    size_t count = 0;
    while (options[count].name != NULL) {
        count++;
    }
    struct loader l = {
        .options = options,
        .settings = settings,
        .argc = argc,
        .argv = argv,
        .result = ret_result,
        .reterr = reterr,
        .seen = calloc(count + 1, sizeof(bool)),
    };
    *ret_result = (struct tpc_config_result){0};
    ret_result->positional = calloc((size_t)argc + 1, sizeof *ret_result->positional);
    enum tpc_rc rc = l.seen != NULL && ret_result->positional != NULL
                         ? load_all(&l)
                         : tpc_fail(reterr, TPC_ENOMEM, "out of memory");
    free(l.seen);
    if (rc != TPC_OK) {
        tpc_config_result_done(ret_result);
        tpc_config_done(options, settings);
    }
    return rc;
}

void tpc_config_result_done(struct tpc_config_result *result)
{
    free(result->positional);
    *result = (struct tpc_config_result){0};
}
