#include "cli/out.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BOLD   "\033[1m"
#define RED    "\033[31m"
#define GREEN  "\033[32m"
#define YELLOW "\033[33m"
#define PLAIN  "\033[0m"

static bool in_colour(void)
{
    const char *no_color = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    return isatty(STDOUT_FILENO) && (no_color == NULL || no_color[0] == '\0') &&
           (terminal == NULL || strcmp(terminal, "dumb") != 0);
}

/* The colour of a state, NULL when @word is none. */
static const char *colour_of(const char *word)
{
    static const struct {
        const char *word, *colour;
    } colours[] = {
        {"committed", GREEN},      {"commit", GREEN},    {"agrees", GREEN},
        {"ready", GREEN},          {"aborted", YELLOW},  {"abort", YELLOW},
        {"prepared", YELLOW},      {"in doubt", YELLOW}, {"committing", YELLOW},
        {"heuristic_commit", RED}, {"hazard", RED},      {"unreachable", RED},
        {"heuristic_abort", RED},  {"disagrees", RED},   {"not ready", YELLOW},
        {"pass", GREEN},           {"skip", YELLOW},     {"fail", RED},
    };
    for (size_t i = 0; i < sizeof(colours) / sizeof(colours[0]); i++) {
        if (strcmp(word, colours[i].word) == 0) {
            return colours[i].colour;
        }
    }
    return NULL;
}

static size_t width_of(const char *text)
{
    size_t width = 0;
    for (const char *c = text; *c != '\0'; c++) {
        width += ((unsigned char)*c & 0xc0) != 0x80;
    }
    return width;
}

/* Control characters, C1 ones (0x80..0x9f, in UTF-8 after 0xc2) among them, become '?'. */
static void add_shown(struct tpc_buf *out, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (*c < 0x20 || *c == 0x7f) {
            tpc_buf_addc(out, '?');
        } else if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) {
            tpc_buf_addc(out, '?');
            c++;
        } else {
            tpc_buf_addc(out, (char)*c);
        }
    }
}

void cli_table_begin(struct cli_table *table, size_t columns, const char *const *names)
{
    *table = (struct cli_table){.columns = columns};
    for (size_t i = 0; i < columns; i++) {
        cli_table_add(table, names[i]);
    }
}

void cli_table_add(struct cli_table *table, const char *text)
{
    size_t start = table->text.size;
    add_shown(&table->text, text == NULL || text[0] == '\0' ? "-" : text);
    tpc_buf_add(&table->text, "", 1);
    size_t column = table->cells++ % table->columns;
    if (!table->text.failed) {
        size_t width = width_of(table->text.data + start);
        if (width > table->widths[column]) {
            table->widths[column] = width;
        }
    }
}

void cli_table_addf(struct cli_table *table, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    cli_table_add(table, text);
}

void cli_table_print(const struct cli_table *table)
{
    bool colours = in_colour();
    const char *text = table->text.failed ? NULL : table->text.data;
    for (size_t i = 0; text != NULL && i < table->cells; i++) {
        size_t column = i % table->columns;
        const char *colour = !colours ? NULL : i < table->columns ? BOLD : colour_of(text);
        printf("%s%s%s", colour != NULL ? colour : "", text, colour != NULL ? PLAIN : "");
        if (column + 1 < table->columns) {
            printf("%*s", (int)(table->widths[column] - width_of(text) + 2), "");
        } else {
            putchar('\n');
        }
        text += strlen(text) + 1;
    }
}

void cli_table_done(struct cli_table *table)
{
    tpc_buf_done(&table->text);
}

void cli_print_state(const char *text)
{
    const char *colour = in_colour() ? colour_of(text) : NULL;
    struct tpc_buf shown = {0};
    add_shown(&shown, text);
    printf("%s%s%s", colour != NULL ? colour : "", shown.data != NULL ? shown.data : "",
           colour != NULL ? PLAIN : "");
    tpc_buf_done(&shown);
}

const char *cli_json_cell(struct tpc_buf *scratch, const struct api_json *value)
{
    if (value == NULL || api_json_type(value) == API_JSON_NULL) {
        return "";
    }
    if (api_json_type(value) == API_JSON_STRING) {
        return api_json_string(value);
    }
    tpc_buf_clear(scratch);
    api_json_print(scratch, value);
    return scratch->failed || scratch->data == NULL ? "" : scratch->data;
}

const char *cli_json_text(const struct api_json *object, const char *name)
{
    const struct api_json *value = api_json_get(object, name);
    const char *text = value != NULL ? api_json_string(value) : NULL;
    return text != NULL ? text : "";
}

static void indent(struct tpc_buf *out, size_t depth)
{
    tpc_buf_addf(out, "\n%*s", (int)(2 * depth), "");
}

/* Nesting is bounded by the parser. Arrays of plain values stay on one line. */
static void add_indented(struct tpc_buf *out, const struct api_json *value, size_t depth)
{
    bool object = api_json_type(value) == API_JSON_OBJECT;
    const struct api_json *item =
        object || api_json_type(value) == API_JSON_ARRAY ? api_json_first(value) : NULL;
    bool nested = object;
    for (const struct api_json *i = item; i != NULL && !nested; i = api_json_next(i)) {
        nested = api_json_type(i) == API_JSON_OBJECT || api_json_type(i) == API_JSON_ARRAY;
    }
    if (item == NULL || !nested) {
        api_json_print(out, value);
        return;
    }
    tpc_buf_addc(out, object ? '{' : '[');
    for (; item != NULL; item = api_json_next(item)) {
        indent(out, depth + 1);
        if (object) {
            struct tpc_buf name = {0};
            api_jw_str(&name, api_json_name(item));
            tpc_buf_addf(out, "%s: ", name.data != NULL ? name.data : "");
            tpc_buf_done(&name);
        }
        add_indented(out, item, depth + 1);
        if (api_json_next(item) != NULL) {
            tpc_buf_addc(out, ',');
        }
    }
    indent(out, depth);
    tpc_buf_addc(out, object ? '}' : ']');
}

void cli_print_json(enum cli_format format, const struct api_json *value)
{
    struct tpc_buf out = {0};
    if (format == CLI_JSON) {
        add_indented(&out, value, 0);
    } else {
        api_json_print(&out, value);
    }
    if (!out.failed && out.data != NULL) {
        puts(out.data);
    }
    tpc_buf_done(&out);
}

void cli_list_begin(struct cli_listing *list, enum cli_format format, size_t columns,
                    const char *const *names)
{
    *list = (struct cli_listing){.format = format};
    cli_table_begin(&list->table, columns, names);
    tpc_buf_adds(&list->json, "{\"items\":[");
}

void cli_list_add(struct cli_listing *list, const struct tpc_buf *json)
{
    if (json->failed || json->data == NULL) {
        list->json.failed = true;
    } else if (list->format == CLI_NDJSON) {
        puts(json->data);
    } else if (list->format == CLI_JSON) {
        api_jw_raw(&list->json, json->data, json->size);
    }
}

void cli_list_print(const struct cli_listing *list)
{
    struct tpc_buf whole = {0};
    struct api_json *parsed = NULL;
    switch (list->format) {
    case CLI_TABLE:
        cli_table_print(&list->table);
        break;
    case CLI_JSON:
        tpc_buf_add(&whole, list->json.data, list->json.size);
        tpc_buf_adds(&whole, "]}");
        if (!list->json.failed && !whole.failed &&
            api_json_parse(whole.data, whole.size, &parsed, NULL) == TPC_OK) {
            cli_print_json(CLI_JSON, parsed);
        }
        api_json_free(parsed);
        tpc_buf_done(&whole);
        break;
    case CLI_NDJSON:
        break;
    }
}

void cli_list_done(struct cli_listing *list)
{
    cli_table_done(&list->table);
    tpc_buf_done(&list->json);
}

const char *cli_duration_text(double ms, char out[32])
{
    static const struct {
        double below, divisor;
        const char *format;
    } steps[] = {{1000, 1, "%.1f ms"},
                 {10000, 1000, "%.1f s"},
                 {120000, 1000, "%.0f s"},
                 {7200000, 60000, "%.0f min"},
                 {172800000, 3600000, "%.0f h"}};
    const char *format = "%.0f d";
    double divisor = 86400000;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (ms < steps[i].below) {
            format = steps[i].format;
            divisor = steps[i].divisor;
            break;
        }
    }
    snprintf(out, 32, format, ms / divisor);
    return out;
}
