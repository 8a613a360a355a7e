#include "cli/args.h"

#include "base/suggest.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_URL "http://127.0.0.1:7400"

enum { GLOBAL_URL, GLOBAL_OUTPUT, GLOBAL_HELP, GLOBAL_VERSION };

static const struct cli_flag global_flags[] = {
    [GLOBAL_URL] = {"url", "URL", "the coordinator (ASSENT_URL, else " DEFAULT_URL ")", 0},
    [GLOBAL_OUTPUT] = {"output", "FORMAT", "table, json or ndjson", 'o'},
    [GLOBAL_HELP] = {"help", NULL, "this", 'h'},
    [GLOBAL_VERSION] = {"version", NULL, "the version", 0},
    {NULL, NULL, NULL, 0},
};

struct parser {
    const struct cli_command *const *commands;
    struct cli_call *call;
    int argc;
    int at; /* the next of argv */
    char **argv;
};

static enum cli_exit complain(const struct cli_call *call, const char *what, const char *which,
                              const char *nearest)
{
    fprintf(stderr, "assent: %s%s%s%s\n", what, which != NULL ? " \"" : "",
            which != NULL ? which : "", which != NULL ? "\"" : "");
    if (nearest != NULL) {
        fprintf(stderr, "Did you mean \"%s\"?\n", nearest);
    }
    if (call->command != NULL) {
        fprintf(stderr, "See: assent %s%s%s --help\n", call->group != NULL ? call->group : "",
                call->group != NULL ? " " : "", call->command->name);
    } else {
        fprintf(stderr, "See: assent %s%s--help\n", call->group != NULL ? call->group : "",
                call->group != NULL ? " " : "");
    }
    return CLI_USAGE;
}

static bool same_group(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* ---- Words ---- */

static enum cli_exit unknown_command(struct parser *parser, const char *word)
{
    struct tpc_suggest suggest;
    tpc_suggest_init(&suggest, word, strlen(word));
    for (const struct cli_command *const *c = parser->commands; *c != NULL; c++) {
        if (same_group((*c)->group, parser->call->group)) {
            tpc_suggest_offer(&suggest, (*c)->name);
        } else if (parser->call->group == NULL) {
            tpc_suggest_offer(&suggest, (*c)->group);
        }
    }
    return complain(parser->call, "there is no command", word, suggest.nearest);
}

/* A word before the command is known: the command, the group it is in, or `help`. */
static enum cli_exit take_name(struct parser *parser, const char *word)
{
    struct cli_call *call = parser->call;
    for (const struct cli_command *const *c = parser->commands; *c != NULL; c++) {
        if (same_group((*c)->group, call->group) && strcmp((*c)->name, word) == 0) {
            call->command = *c;
            return CLI_OK;
        }
    }
    for (const struct cli_command *const *c = parser->commands; call->group == NULL && *c != NULL;
         c++) {
        if ((*c)->group != NULL && strcmp((*c)->group, word) == 0) {
            call->group = (*c)->group;
            return CLI_OK;
        }
    }
    if (call->group == NULL && strcmp(word, "help") == 0 && !call->help) {
        call->help = true;
        return CLI_OK;
    }
    return unknown_command(parser, word);
}

static enum cli_exit take_word(struct parser *parser, const char *word)
{
    struct cli_call *call = parser->call;
    if (call->command == NULL) {
        return take_name(parser, word);
    }
    if (call->word_count == call->command->words_max) {
        return complain(call, "one word too many:", word, NULL);
    }
    call->words[call->word_count++] = word;
    return CLI_OK;
}

/* ---- Flags ---- */

static const struct cli_flag *find_flag(const struct cli_flag *flags, const char *name,
                                        size_t length, char letter, size_t *ret_index)
{
    for (size_t i = 0; flags != NULL && flags[i].name != NULL; i++) {
        bool found = letter != 0 ? flags[i].letter == letter
                                 : strlen(flags[i].name) == length &&
                                       memcmp(flags[i].name, name, length) == 0;
        if (found) {
            *ret_index = i;
            return &flags[i];
        }
    }
    return NULL;
}

static enum cli_exit unknown_flag(struct parser *parser, const char *token, const char *name,
                                  size_t length)
{
    struct cli_call *call = parser->call;
    struct tpc_suggest suggest;
    tpc_suggest_init(&suggest, name, length);
    for (const struct cli_flag *f = global_flags; f->name != NULL; f++) {
        tpc_suggest_offer(&suggest, f->name);
    }
    for (const struct cli_flag *f = call->command != NULL ? call->command->flags : NULL;
         f != NULL && f->name != NULL; f++) {
        tpc_suggest_offer(&suggest, f->name);
    }
    char nearest[64];
    if (suggest.nearest != NULL) {
        snprintf(nearest, sizeof(nearest), "--%s", suggest.nearest);
    }
    return complain(call,
                    call->command == NULL ? "no flag that may stand before the command:"
                                          : "there is no flag",
                    token, suggest.nearest != NULL ? nearest : NULL);
}

bool cli_args_url(const char *text, char *out, size_t size)
{
    const char *scheme = strstr(text, "://") != NULL ? "" : "http://";
    int length = snprintf(out, size, "%s%s", scheme, text);
    bool fits = length > 0 && (size_t)length < size;
    while (fits && length > 0 && out[length - 1] == '/') {
        out[--length] = '\0';
    }
    bool known = strncmp(out, "http://", 7) == 0 || strncmp(out, "https://", 8) == 0;
    if (!fits || !known || strpbrk(out, " ?#") != NULL) {
        fprintf(stderr, "assent: \"%s\" is not a URL such as " DEFAULT_URL "\n", text);
        return false;
    }
    return true;
}

static enum cli_exit set_global(struct cli_call *call, size_t index, const char *value)
{
    static const char *const formats[] = {"table", "json", "ndjson"};
    switch (index) {
    case GLOBAL_URL:
        call->url_given = true;
        return cli_args_url(value, call->url, sizeof(call->url)) ? CLI_OK : CLI_USAGE;
    case GLOBAL_OUTPUT:
        for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
            if (strcmp(value, formats[i]) == 0) {
                call->format = (enum cli_format)i;
                return CLI_OK;
            }
        }
        return complain(call, "the output is table, json or ndjson, not", value, NULL);
    case GLOBAL_HELP:
        call->help = true;
        return CLI_OK;
    default:
        call->version = true;
        return CLI_OK;
    }
}

static bool may_be_repeated(const struct cli_flag *flag)
{
    static const char mark[] = "…";
    size_t length = flag->argument != NULL ? strlen(flag->argument) : 0;
    return length >= sizeof(mark) - 1 &&
           strcmp(flag->argument + length - (sizeof(mark) - 1), mark) == 0;
}

static enum cli_exit set_value(struct cli_call *call, const struct cli_flag *flag, size_t index,
                               const char *value, const char *token)
{
    bool many = may_be_repeated(flag);
    if (call->values[index] != NULL && !many) {
        return complain(call, "this flag is given twice:", token, NULL);
    }
    if (many && call->many_count == CLI_MANY_MAX) {
        return complain(call, "this flag is given too often:", token, NULL);
    }
    if (many) {
        call->many[call->many_count].flag = index;
        call->many[call->many_count++].value = value;
    }
    call->values[index] = value;
    return CLI_OK;
}

/* @attached is what followed in the same word, NULL when nothing did. */
static enum cli_exit take_flag(struct parser *parser, const char *token, const char *name,
                               size_t length, char letter, const char *attached)
{
    struct cli_call *call = parser->call;
    size_t index = 0;
    bool global = true;
    const struct cli_flag *flag = find_flag(global_flags, name, length, letter, &index);
    if (flag == NULL && call->command != NULL) {
        global = false;
        flag = find_flag(call->command->flags, name, length, letter, &index);
    }
    if (flag == NULL) {
        return unknown_flag(parser, token, name, length);
    }
    const char *value = "";
    if (flag->argument == NULL) {
        if (attached != NULL) {
            return complain(call, "this flag takes no value:", token, NULL);
        }
    } else if (attached != NULL) {
        value = attached;
    } else if (parser->at < parser->argc) {
        value = parser->argv[parser->at++];
    } else {
        return complain(call, "a value is missing after", token, NULL);
    }
    if (global) {
        return set_global(call, index, value);
    }
    return set_value(call, flag, index, value, token);
}

static enum cli_exit take_token(struct parser *parser, const char *token)
{
    if (token[0] != '-' || token[1] == '\0') {
        return take_word(parser, token);
    }
    if (token[1] != '-') {
        return take_flag(parser, token, token + 1, 1, token[1],
                         token[2] != '\0' ? token + 2 : NULL);
    }
    const char *equals = strchr(token, '=');
    size_t length = equals != NULL ? (size_t)(equals - token) - 2 : strlen(token) - 2;
    return take_flag(parser, token, token + 2, length, 0, equals != NULL ? equals + 1 : NULL);
}

enum cli_exit cli_args_parse(const struct cli_command *const *commands, int argc, char **argv,
                             struct cli_call *ret_call)
{
    *ret_call = (struct cli_call){.format = CLI_TABLE};
    struct parser parser = {
        .commands = commands, .call = ret_call, .argc = argc, .at = 1, .argv = argv};
    bool flags_ended = false;
    enum cli_exit result = CLI_OK;
    while (parser.at < argc && result == CLI_OK) {
        const char *token = argv[parser.at++];
        if (!flags_ended && strcmp(token, "--") == 0) {
            flags_ended = true;
        } else {
            result = flags_ended ? take_word(&parser, token) : take_token(&parser, token);
        }
    }
    if (result != CLI_OK || ret_call->help || ret_call->version) {
        return result;
    }
    if (ret_call->command == NULL) {
        cli_args_help(commands, ret_call, stderr);
        return CLI_USAGE;
    }
    if (ret_call->word_count < ret_call->command->words_min) {
        return complain(ret_call, "a word is missing:", ret_call->command->words, NULL);
    }
    if (ret_call->url[0] == '\0') {
        const char *url = getenv("ASSENT_URL");
        url = url != NULL && url[0] != '\0' ? url : DEFAULT_URL;
        result = cli_args_url(url, ret_call->url, sizeof(ret_call->url)) ? CLI_OK : CLI_USAGE;
    }
    return result;
}

/* ---- Help ---- */

static void print_flags(const struct cli_flag *flags, FILE *out)
{
    for (const struct cli_flag *f = flags; f != NULL && f->name != NULL; f++) {
        char spelling[64];
        snprintf(spelling, sizeof(spelling), "--%s%s%s", f->name, f->argument != NULL ? " " : "",
                 f->argument != NULL ? f->argument : "");
        if (f->letter != 0) {
            fprintf(out, "  -%c, %-20s %s\n", f->letter, spelling, f->help);
        } else {
            fprintf(out, "  %-24s %s\n", spelling, f->help);
        }
    }
}

static void print_commands(const struct cli_command *const *commands, const char *group, FILE *out)
{
    for (const struct cli_command *const *c = commands; *c != NULL; c++) {
        if (group != NULL && !same_group((*c)->group, group)) {
            continue;
        }
        char spelling[64];
        snprintf(spelling, sizeof(spelling), "%s%s%s%s%s", (*c)->group != NULL ? (*c)->group : "",
                 (*c)->group != NULL ? " " : "", (*c)->name, (*c)->words != NULL ? " " : "",
                 (*c)->words != NULL ? (*c)->words : "");
        fprintf(out, "  %-24s %s\n", spelling, (*c)->summary);
    }
}

static void help_of_command(const struct cli_command *command, FILE *out)
{
    bool question = command->summary[strlen(command->summary) - 1] == '?';
    fprintf(out, "usage: assent %s%s%s%s%s%s\n\n%s%s\n",
            command->group != NULL ? command->group : "", command->group != NULL ? " " : "",
            command->name, command->flags != NULL ? " [FLAG…]" : "",
            command->words != NULL ? " " : "", command->words != NULL ? command->words : "",
            command->summary, question ? "" : ".");
    if (command->detail != NULL) {
        fprintf(out, "\n%s", command->detail);
    }
    if (command->flags != NULL) {
        fputs("\nflags:\n", out);
        print_flags(command->flags, out);
    }
    fputs("\nflags of every command:\n", out);
    print_flags(global_flags, out);
}

void cli_args_help(const struct cli_command *const *commands, const struct cli_call *call,
                   FILE *out)
{
    if (call->command != NULL) {
        help_of_command(call->command, out);
        return;
    }
    fprintf(out, "usage: assent %s [FLAG…] [WORD…]\n\n",
            call->group != NULL ? call->group : "COMMAND");
    print_commands(commands, call->group, out);
    fputs("\nflags of every command, before or after it:\n", out);
    print_flags(global_flags, out);
    fputs(
        "\nexit status: 0 done or committed, 1 error, 2 usage, 3 aborted, 4 in doubt or a hazard,\n"
        "5 unreachable. `assent help COMMAND` says more about one.\n",
        out);
}

bool cli_args_duration(const char *flag, const char *text, unsigned long *ret_ms)
{
    static const struct {
        const char *unit;
        unsigned long ms;
    } units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    char *end = NULL;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (isdigit((unsigned char)text[0]) && errno == 0 && number <= 1000000) {
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
            if (strcmp(end, units[i].unit) == 0) {
                *ret_ms = number * units[i].ms;
                return true;
            }
        }
    }
    fprintf(stderr, "assent: --%s takes a time such as 250ms, 10s or 5m, not \"%s\"\n", flag, text);
    return false;
}

const char *cli_args_operator(const char *value, char *out, size_t size)
{
    char host[128] = "";
    const char *user = getenv("USER");
    if (value != NULL) {
        return value;
    }
    gethostname(host, sizeof(host) - 1);
    snprintf(out, size, "%s@%s", user != NULL && user[0] != '\0' ? user : "unknown", host);
    return out;
}
