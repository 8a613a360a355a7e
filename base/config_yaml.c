/* The settings file: one flat YAML mapping, read strictly by libyaml's events. What YAML can do
 * beyond that (anchors, aliases, tags, several documents, deeper nesting) is refused. */
#include "base/config_internal.h"
#include "base/suggest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { FILE_MAX_BYTES = 1024 * 1024, PLACE_BYTES = 400 };

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one; owned */
    bool has_event;
    const struct tpc_opt *options;
    void *settings;
    const char *path;
    struct tpc_err *reterr;
    size_t *seen_lines; /* by index of option: where its key stands; 0: not yet */
};

static enum tpc_rc fail_at(struct reader *r, yaml_mark_t mark, enum tpc_rc rc, const char *format,
                           ...) TPC_PRINTF(4, 5);

static enum tpc_rc fail_at(struct reader *r, yaml_mark_t mark, enum tpc_rc rc, const char *format,
                           ...)
{
    char words[300];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    return tpc_fail(r->reterr, rc, "%s:%zu:%zu: %s", r->path, mark.line + 1, mark.column + 1,
                    words);
}

static enum tpc_rc fail_parser(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem != NULL ? p->problem : "malformed YAML";
    if (p->error == YAML_MEMORY_ERROR) {
        return tpc_fail(r->reterr, TPC_ENOMEM, "%s: out of memory", r->path);
    }
    if (p->error == YAML_READER_ERROR) {
        return tpc_fail(r->reterr, TPC_ESYNTAX, "%s: %s, at byte %zu", r->path, problem,
                        p->problem_offset + 1);
    }
    if (p->context != NULL) {
        return fail_at(r, p->problem_mark, TPC_ESYNTAX, "%s %s", problem, p->context);
    }
    return fail_at(r, p->problem_mark, TPC_ESYNTAX, "%s", problem);
}

/* Go to the next event, refusing those that no settings file needs. */
static enum tpc_rc next(struct reader *r)
{
    if (r->has_event) {
        yaml_event_delete(&r->event);
        r->has_event = false;
    }
    if (yaml_parser_parse(&r->parser, &r->event) == 0) {
        return fail_parser(r);
    }
    r->has_event = true;
    const yaml_event_t *e = &r->event;
    const void *anchor = NULL;
    const void *tag = NULL;
    if (e->type == YAML_ALIAS_EVENT) {
        anchor = e->data.alias.anchor;
    } else if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
    }
    if (anchor != NULL) {
        return fail_at(r, e->start_mark, TPC_ESYNTAX, "anchors and aliases are not supported");
    }
    if (tag != NULL) {
        return fail_at(r, e->start_mark, TPC_ESYNTAX, "tags are not supported");
    }
    return TPC_OK;
}

static const char *scalar(const struct reader *r)
{
    return (const char *)r->event.data.scalar.value;
}

static bool is_null(const struct reader *r)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    if (r->event.type != YAML_SCALAR_EVENT ||
        r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE) {
        return false;
    }
    for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++) {
        if (strcmp(scalar(r), nulls[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* The current event must be a scalar that fits a C string. */
static enum tpc_rc check_scalar(struct reader *r, const char *name)
{
    if (r->event.type != YAML_SCALAR_EVENT) {
        return fail_at(r, r->event.start_mark, TPC_EINVAL, "%s: expected a plain value here", name);
    }
    if (is_null(r)) {
        return fail_at(r, r->event.start_mark, TPC_EINVAL, "%s has no value", name);
    }
    if (strlen(scalar(r)) != r->event.data.scalar.length) {
        return fail_at(r, r->event.start_mark, TPC_EINVAL, "%s: a NUL is not allowed", name);
    }
    return TPC_OK;
}

static enum tpc_rc set(struct reader *r, const struct tpc_opt *option, const char *name,
                       const char *text)
{
    char place[PLACE_BYTES];
    snprintf(place, sizeof place, "%.300s:%zu:%zu: %.64s", r->path, r->event.start_mark.line + 1,
             r->event.start_mark.column + 1, name);
    return tpc_config_set(option, r->settings, text, place, r->reterr);
}

/* `[a, b]`, entered at its start. */
static enum tpc_rc read_sequence(struct reader *r, const struct tpc_opt *option, const char *name)
{
    enum tpc_rc rc;
    while ((rc = next(r)) == TPC_OK && r->event.type != YAML_SEQUENCE_END_EVENT) {
        rc = check_scalar(r, name);
        if (rc == TPC_OK) {
            rc = set(r, option, name, scalar(r));
        }
        if (rc != TPC_OK) {
            break;
        }
    }
    return rc;
}

static bool list_has_key(const struct tpc_list *list, const char *key, size_t length)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strncmp(list->items[i], key, length) == 0 && list->items[i][length] == '=') {
            return true;
        }
    }
    return false;
}

/* One `east: http://…`, entered at its key; becomes "east=http://…". */
static enum tpc_rc read_pair(struct reader *r, const struct tpc_opt *option, const char *name,
                             struct tpc_buf *pair)
{
    enum tpc_rc rc = check_scalar(r, name);
    if (rc != TPC_OK) {
        return rc;
    }
    if (strchr(scalar(r), '=') != NULL) {
        return fail_at(r, r->event.start_mark, TPC_EINVAL, "%s: a name may not hold \"=\"", name);
    }
    if (list_has_key(tpc_config_list(option, r->settings), scalar(r), strlen(scalar(r)))) {
        return fail_at(r, r->event.start_mark, TPC_EINVAL, "%s: \"%.64s\" is given twice", name,
                       scalar(r));
    }
    tpc_buf_addf(pair, "%s=", scalar(r));
    rc = next(r);
    if (rc == TPC_OK) {
        rc = check_scalar(r, name);
    }
    if (rc != TPC_OK) {
        return rc;
    }
    tpc_buf_adds(pair, scalar(r));
    if (pair->failed) {
        return tpc_fail(r->reterr, TPC_ENOMEM, "%s: out of memory", r->path);
    }
    return set(r, option, name, pair->data);
}

static enum tpc_rc read_mapping(struct reader *r, const struct tpc_opt *option, const char *name)
{
    enum tpc_rc rc;
    while ((rc = next(r)) == TPC_OK && r->event.type != YAML_MAPPING_END_EVENT) {
        struct tpc_buf pair = {0};
        rc = read_pair(r, option, name, &pair);
        tpc_buf_done(&pair);
        if (rc != TPC_OK) {
            break;
        }
    }
    return rc;
}

static enum tpc_rc read_value(struct reader *r, const struct tpc_opt *option, const char *name)
{
    enum tpc_rc rc = next(r);
    if (rc != TPC_OK) {
        return rc;
    }
    if (option->type != TPC_OPT_LIST) {
        rc = check_scalar(r, name);
        return rc == TPC_OK ? set(r, option, name, scalar(r)) : rc;
    }
    tpc_config_unset(option, r->settings);
    if (r->event.type == YAML_SEQUENCE_START_EVENT) {
        return read_sequence(r, option, name);
    }
    if (r->event.type == YAML_MAPPING_START_EVENT) {
        return read_mapping(r, option, name);
    }
    return fail_at(r, r->event.start_mark, TPC_EINVAL, "%s: expected a list; [] is an empty one",
                   name);
}

static const struct tpc_opt *find_key(const struct reader *r, const char *key,
                                      const char **ret_name)
{
    for (const struct tpc_opt *option = r->options; option->name != NULL; option++) {
        if (option->yaml_name != NULL && strcmp(option->yaml_name, key) == 0) {
            *ret_name = option->yaml_name;
            return option;
        }
        if (strcmp(option->name, key) == 0) {
            *ret_name = option->name;
            return option;
        }
    }
    return NULL;
}

static enum tpc_rc unknown_key(struct reader *r)
{
    struct tpc_suggest suggest;
    tpc_suggest_init(&suggest, scalar(r), strlen(scalar(r)));
    for (const struct tpc_opt *option = r->options; option->name != NULL; option++) {
        tpc_suggest_offer(&suggest, option->yaml_name != NULL ? option->yaml_name : option->name);
    }
    if (suggest.nearest != NULL) {
        return fail_at(r, r->event.start_mark, TPC_EINVAL,
                       "unknown key \"%.64s\"; did you mean \"%s\"?", scalar(r), suggest.nearest);
    }
    return fail_at(r, r->event.start_mark, TPC_EINVAL,
                   "unknown key \"%.64s\"; --help prints the known ones", scalar(r));
}

/* One `key: value`, entered at its key. */
static enum tpc_rc read_setting(struct reader *r)
{
    if (r->event.type != YAML_SCALAR_EVENT) {
        return fail_at(r, r->event.start_mark, TPC_ESYNTAX, "expected the name of a setting");
    }
    const char *name = NULL;
    const struct tpc_opt *option = find_key(r, scalar(r), &name);
    if (option == NULL) {
        return unknown_key(r);
    }
    size_t *seen_line = &r->seen_lines[option - r->options];
    if (*seen_line != 0) {
        return fail_at(r, r->event.start_mark, TPC_EINVAL,
                       "duplicate key \"%s\", already given on line %zu", name, *seen_line);
    }
    *seen_line = r->event.start_mark.line + 1;
    return read_value(r, option, name);
}

static enum tpc_rc read_document(struct reader *r)
{
    enum tpc_rc rc = next(r);
    if (rc != TPC_OK) {
        return rc;
    }
    if (r->event.type != YAML_MAPPING_START_EVENT) {
        return is_null(r) ? TPC_OK
                          : fail_at(r, r->event.start_mark, TPC_ESYNTAX,
                                    "expected settings, one \"name: value\" a line");
    }
    while ((rc = next(r)) == TPC_OK && r->event.type != YAML_MAPPING_END_EVENT) {
        rc = read_setting(r);
        if (rc != TPC_OK) {
            break;
        }
    }
    return rc;
}

static enum tpc_rc read_stream(struct reader *r)
{
    enum tpc_rc rc = next(r); /* the start of the stream */
    if (rc == TPC_OK) {
        rc = next(r);
    }
    if (rc != TPC_OK || r->event.type == YAML_STREAM_END_EVENT) {
        return rc;
    }
    rc = read_document(r);
    if (rc == TPC_OK) {
        rc = next(r); /* the end of the document */
    }
    if (rc == TPC_OK) {
        rc = next(r);
    }
    if (rc == TPC_OK && r->event.type != YAML_STREAM_END_EVENT) {
        rc = fail_at(r, r->event.start_mark, TPC_ESYNTAX, "a second document is not allowed");
    }
    return rc;
}

static enum tpc_rc read_file(const char *path, struct tpc_buf *out, struct tpc_err *reterr)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return tpc_fail(reterr, TPC_EIO, "cannot open settings file %s: %s", path, strerror(errno));
    }
    enum tpc_rc rc = TPC_OK;
    char chunk[4096];
    size_t n;
    while (rc == TPC_OK && (n = fread(chunk, 1, sizeof chunk, file)) > 0) {
        tpc_buf_add(out, chunk, n);
        if (out->failed) {
            rc = tpc_fail(reterr, TPC_ENOMEM, "%s: out of memory", path);
        } else if (out->size > FILE_MAX_BYTES) {
            rc = tpc_fail(reterr, TPC_ETOOBIG, "%s: a settings file may have %d bytes at most",
                          path, FILE_MAX_BYTES);
        }
    }
    if (rc == TPC_OK && ferror(file)) {
        rc = tpc_fail(reterr, TPC_EIO, "cannot read settings file %s: %s", path, strerror(errno));
    }
    fclose(file);
    return rc;
}

enum tpc_rc tpc_config_load_yaml(const struct tpc_opt *options, void *settings, const char *path,
                                 struct tpc_err *reterr)
{
    struct reader r = {.options = options, .settings = settings, .path = path, .reterr = reterr};
    struct tpc_buf text = {0};
    size_t count = 0;
    while (options[count].name != NULL) {
        count++;
    }
    enum tpc_rc rc = read_file(path, &text, reterr);
    if (rc != TPC_OK) {
        goto out;
    }
    r.seen_lines = calloc(count + 1, sizeof *r.seen_lines);
    if (r.seen_lines == NULL || yaml_parser_initialize(&r.parser) == 0) {
        rc = tpc_fail(reterr, TPC_ENOMEM, "%s: out of memory", path);
        goto out;
    }
    yaml_parser_set_input_string(
        &r.parser, (const unsigned char *)(text.data != NULL ? text.data : ""), text.size);
    rc = read_stream(&r);
    if (r.has_event) {
        yaml_event_delete(&r.event);
    }
    yaml_parser_delete(&r.parser);
out:
    free(r.seen_lines);
    tpc_buf_done(&text);
    return rc;
}
