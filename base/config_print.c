/* --print-config and --help. */
#include "base/config.h"
#include "base/config_internal.h"
#include "base/utf8.h"

#include <ctype.h>
#include <string.h>

enum { HELP_COLUMN = 28, HELP_WIDTH = 90 };

static const char hidden[] = "***";

/* Where the password in the URL that begins at @text ends, its `@`; NULL: it has none. */
static const char *password_end(const char *text)
{
    size_t authority = strcspn(text, "/?# \t\n");
    const char *at = memrchr(text, '@', authority);
    const char *colon = at == NULL ? NULL : memchr(text, ':', (size_t)(at - text));
    return colon == NULL ? NULL : at;
}

void tpc_config_mask(const char *text, struct tpc_buf *out)
{
    while (*text != '\0') {
        const char *end;
        if (strncmp(text, "://", 3) == 0 && (end = password_end(text + 3)) != NULL) {
            tpc_buf_add(out, text, 4 + strcspn(text + 3, ":"));
            tpc_buf_adds(out, hidden);
            text = end;
        } else if (strncasecmp(text, "password=", 9) == 0) {
            tpc_buf_add(out, text, 9);
            tpc_buf_adds(out, hidden);
            text += 9 + strcspn(text + 9, "&# \t\n");
        } else {
            tpc_buf_addc(out, *text++);
        }
    }
}

/* Whether @text means itself as a plain YAML scalar, in any place. */
static bool is_plain(const char *text)
{
    static const char *const nulls[] = {"null", "Null", "NULL"};
    for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++) {
        if (strcmp(text, nulls[i]) == 0) {
            return false;
        }
    }
    if (!isalnum((unsigned char)text[0]) && text[0] != '/' && text[0] != '.') {
        return false;
    }
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                 "/._:@+=-");
    return text[length] == '\0' && text[length - 1] != ':' && strncmp(text, "...", 3) != 0;
}

/* The code point of a well-formed sequence of @length bytes. */
static unsigned code_point(const unsigned char *s, size_t length)
{
    unsigned code = length == 2 ? s[0] & 0x1fU : length == 3 ? s[0] & 0x0fU : s[0] & 0x07U;
    for (size_t i = 1; i < length; i++) {
        code = code << 6 | (s[i] & 0x3fU);
    }
    return code;
}

/* What a YAML reader refuses, drops, or folds like the end of a line. */
static bool must_escape(unsigned code)
{
    return (code >= 0x80 && code <= 0x9f) || code == 0x2028 || code == 0x2029 || code == 0xfeff ||
           code == 0xfffe || code == 0xffff;
}

/* YAML cannot hold bytes that are no UTF-8: they are shown as U+FFFD. */
static void print_quoted(const unsigned char *s, FILE *out)
{
    fputc('"', out);
    while (*s != '\0') {
        size_t length = *s < 0x80 ? 1 : tpc_utf8_sequence(s, strnlen((const char *)s, 4));
        unsigned code = length > 1 ? code_point(s, length) : 0;
        if (length == 0) {
            fputs("\xef\xbf\xbd", out);
            length = 1;
        } else if (*s == '"' || *s == '\\') {
            fprintf(out, "\\%c", *s);
        } else if (*s < 0x20 || *s == 0x7f) {
            fprintf(out, "\\x%02x", *s);
        } else if (must_escape(code)) {
            fprintf(out, "\\u%04x", code);
        } else {
            fwrite(s, 1, length, out);
        }
        s += length;
    }
    fputc('"', out);
}

static void print_scalar(const char *text, bool secret, FILE *out)
{
    struct tpc_buf masked = {0};
    if (secret) {
        tpc_buf_adds(&masked, hidden);
    } else {
        tpc_config_mask(text, &masked);
    }
    const char *s = masked.data != NULL ? masked.data : "";
    if (is_plain(s)) {
        fputs(s, out);
    } else {
        print_quoted((const unsigned char *)s, out);
    }
    tpc_buf_done(&masked);
}

static void print_list(const struct tpc_opt *option, const struct tpc_list *list, FILE *out)
{
    fprintf(out, "%s:", option->yaml_name != NULL ? option->yaml_name : option->name);
    if (list->count == 0) {
        fputs(" []", out);
    }
    for (size_t i = 0; i < list->count; i++) {
        fputs("\n  - ", out);
        print_scalar(list->items[i], option->secret, out);
    }
    fputc('\n', out);
}

static void print_number(const struct tpc_opt *option, uint64_t value, FILE *out)
{
    struct tpc_buf text = {0};
    tpc_config_format(option, value, &text);
    fprintf(out, "%s: %s\n", option->name, text.data != NULL ? text.data : "");
    tpc_buf_done(&text);
}

void tpc_config_print(const struct tpc_opt *options, const void *settings, FILE *out)
{
    for (const struct tpc_opt *option = options; option->name != NULL; option++) {
        const char *string;
        switch (option->type) {
        case TPC_OPT_STRING:
            string = tpc_config_string(option, settings);
            if (string == NULL) {
                fprintf(out, "# %s: (unset)\n", option->name);
            } else {
                fprintf(out, "%s: ", option->name);
                print_scalar(string, option->secret, out);
                fputc('\n', out);
            }
            break;
        case TPC_OPT_LIST:
            print_list(option, tpc_config_list(option, settings), out);
            break;
        case TPC_OPT_UINT:
        case TPC_OPT_DURATION:
        case TPC_OPT_SIZE:
        case TPC_OPT_BOOL:
            print_number(option, tpc_config_number(option, settings), out);
            break;
        }
    }
}

/* Up to the next space, but a default stays with its word. */
static size_t word_length(const char *text)
{
    size_t skip = strncmp(text, "(default ", 9) == 0 ? 9 : 0;
    return skip + strcspn(text + skip, " ");
}

/* One entry: @flag on the left, and @text on the right, wrapped at spaces. */
static void print_entry(const char *flag, const char *text, FILE *out)
{
    int column = fprintf(out, "  %s", flag);
    if (column > HELP_COLUMN - 2 || *text == '\0') {
        fputc('\n', out);
        column = 0;
    }
    while (*text != '\0') {
        fprintf(out, "%*s", HELP_COLUMN - column, "");
        column = HELP_COLUMN;
        for (;;) {
            size_t word = word_length(text);
            fwrite(text, 1, word, out);
            column += (int)word;
            text += word + strspn(text + word, " ");
            if (*text == '\0' || column + 1 + (int)word_length(text) > HELP_WIDTH) {
                break;
            }
            fputc(' ', out);
            column++;
        }
        fputc('\n', out);
        column = 0;
    }
}

/* What follows the help in brackets. */
static void add_remarks(const struct tpc_opt *option, struct tpc_buf *text)
{
    if (option->type == TPC_OPT_LIST) {
        tpc_buf_adds(text, " (may be repeated");
        if (option->yaml_name != NULL) {
            tpc_buf_addf(text, "; `%s:` in the file", option->yaml_name);
        }
        tpc_buf_addc(text, ')');
    } else if (option->default_text != NULL && !option->secret &&
               strcmp(option->default_text, "false") != 0) {
        tpc_buf_addf(text, " (default %s)", option->default_text);
    }
}

static void print_option(const struct tpc_opt *option, FILE *out)
{
    struct tpc_buf flag = {0};
    struct tpc_buf text = {0};
    bool is_bool = option->type == TPC_OPT_BOOL;
    bool on = is_bool && option->default_text != NULL && strcmp(option->default_text, "true") == 0;
    if (option->letter != 0) {
        tpc_buf_addf(&flag, "-%c, ", option->letter);
    }
    tpc_buf_addf(&flag, "--%s%s", on ? "[no-]" : "", option->name);
    if (!is_bool) {
        tpc_buf_addf(&flag, " %s", option->argument != NULL ? option->argument : "VALUE");
    }
    tpc_buf_adds(&text, option->help != NULL ? option->help : "");
    add_remarks(option, &text);
    if (!flag.failed && !text.failed) {
        print_entry(flag.data, text.data + strspn(text.data, " "), out);
    }
    tpc_buf_done(&flag);
    tpc_buf_done(&text);
}

void tpc_config_help(const struct tpc_opt *options, const char *usage, FILE *out)
{
    bool failpoints = false;
    fprintf(out, "%s%s\nOptions:\n", usage,
            *usage != '\0' && usage[strlen(usage) - 1] == '\n' ? "" : "\n");
    for (const struct tpc_opt *option = options; option->name != NULL; option++) {
        print_option(option, out);
        failpoints = failpoints || strcmp(option->name, "failpoints") == 0;
    }
    fputs("\nGeneral:\n", out);
    print_entry("--config FILE", "read settings from this YAML file", out);
    print_entry("--check-config", "check the settings and exit", out);
    print_entry("--print-config", "print the settings as YAML, secrets hidden, and exit", out);
    if (failpoints) {
        print_entry("--list-failpoints", "print the names of the failpoints and exit", out);
    }
    print_entry("--version", "print the version and exit", out);
    print_entry("-h, --help", "print this and exit", out);
    fputs("\nEach --some-option is also ASSENT_SOME_OPTION in the environment and `some-option:`\n"
          "in the file. Flags beat the environment, which beats the file.\n",
          out);
}
