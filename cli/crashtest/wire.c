#include "cli/crashtest/wire.h"

#include "api/json.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HEAD_MAX = 65536 };

static const char *const names[CLI_MESSAGE_COUNT] = {
#define CLI_MESSAGE_NAME(id, name) [id] = name,
    CLI_MESSAGE_LIST(CLI_MESSAGE_NAME)
#undef CLI_MESSAGE_NAME
};

const char *cli_message_name(enum cli_message message)
{
    return names[message];
}

enum cli_message cli_message_parse(const char *name, size_t size)
{
    unsigned i = 0;
    while (i < CLI_MESSAGE_COUNT &&
           (strlen(names[i]) != size || memcmp(names[i], name, size) != 0)) {
        i++;
    }
    return (enum cli_message)i;
}

/* ---- Where it ends ---- */

/* The size of the head with its empty line; 0: it is not whole. */
static size_t head_size(const char *data, size_t size)
{
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    return end != NULL ? (size_t)(end - data) + 4 : 0;
}

/* The value of a header, up to its line end; NULL: there is none. */
static const char *find_header(const char *head, size_t size, const char *name)
{
    size_t length = strlen(name);
    const char *line = head, *end = head + size;
    while ((line = memmem(line, (size_t)(end - line), "\r\n", 2)) != NULL) {
        line += 2;
        if ((size_t)(end - line) > length && strncasecmp(line, name, length) == 0 &&
            line[length] == ':') {
            line += length + 1;
            return line + strspn(line, " \t");
        }
    }
    return NULL;
}

/* Chunks of hexadecimal sizes, ended by one of size 0 and an empty line. */
static enum cli_whole whole_chunks(const char *data, size_t size, size_t at, size_t *ret_size)
{
    for (;;) {
        const char *line_end = memmem(data + at, size - at, "\r\n", 2);
        if (line_end == NULL) {
            return CLI_PART;
        }
        char *digits_end;
        unsigned long chunk = strtoul(data + at, &digits_end, 16);
        if (digits_end == data + at || chunk > (1UL << 30)) {
            return CLI_MALFORMED;
        }
        at = (size_t)(line_end - data) + 2 + chunk + 2;
        if (at > size) {
            return CLI_PART;
        }
        if (chunk == 0) { /* neither we nor our peers send trailers */
            *ret_size = at;
            return CLI_WHOLE;
        }
    }
}

static bool has_no_body(const char *data)
{
    int status = atoi(data + strcspn(data, " \r"));
    return status == 204 || status == 304;
}

enum cli_whole cli_wire_whole(const char *data, size_t size, bool answer, size_t *ret_size)
{
    size_t head = size > 0 ? head_size(data, size) : 0;
    if (head == 0) {
        return size > HEAD_MAX ? CLI_MALFORMED : CLI_PART;
    }
    const char *encoding = find_header(data, head, "Transfer-Encoding");
    if (encoding != NULL && strncasecmp(encoding, "chunked", 7) == 0) {
        return whole_chunks(data, size, head, ret_size);
    }
    const char *length = find_header(data, head, "Content-Length");
    if (length == NULL && answer && !has_no_body(data)) {
        return CLI_PART;
    }
    *ret_size = head + (length != NULL ? strtoul(length, NULL, 10) : 0);
    return *ret_size <= size ? CLI_WHOLE : CLI_PART;
}

/* ---- What it is ---- */

static bool begins(const char *data, size_t size, const char *text)
{
    size_t length = strlen(text);
    return size >= length && memcmp(data, text, length) == 0;
}

/* A batch: each message by its `op`. */
static void count_batch(const char *body, size_t size, unsigned *counts)
{
    struct api_json *json = NULL;
    if (api_json_parse(body, size, &json, NULL) != TPC_OK) {
        counts[CLI_MESSAGE_OTHER]++;
        return;
    }
    const struct api_json *messages = api_json_get(json, "messages");
    for (const struct api_json *m = messages != NULL ? api_json_first(messages) : NULL; m != NULL;
         m = api_json_next(m)) {
        const struct api_json *member = api_json_get(m, "op");
        const char *op = member != NULL ? api_json_string(member) : NULL;
        enum cli_message kind = op != NULL ? cli_message_parse(op, strlen(op)) : CLI_MESSAGE_COUNT;
        counts[kind <= CLI_MESSAGE_ABORT ? kind : CLI_MESSAGE_OTHER]++;
    }
    api_json_free(json);
}

void cli_wire_count(const char *data, size_t size, unsigned ret_counts[CLI_MESSAGE_COUNT])
{
    static const struct {
        const char *text;
        enum cli_message kind;
    } requests[] = {{"POST /v1/decisions ", CLI_MESSAGE_INQUIRY},
                    {"POST /v1/transactions ", CLI_MESSAGE_SUBMIT},
                    {"GET /v1/transactions/", CLI_MESSAGE_ASK},
                    {"GET /readyz ", CLI_MESSAGE_PROBE},
                    {"GET /livez ", CLI_MESSAGE_PROBE}};
    memset(ret_counts, 0, CLI_MESSAGE_COUNT * sizeof *ret_counts);
    /* Where a participant is reached below a path of its own, the path ends alike. */
    const char *line_end = memchr(data, '\r', size);
    const char *path =
        line_end != NULL ? memmem(data, (size_t)(line_end - data), "/v1/messages ", 13) : NULL;
    if (path != NULL) {
        size_t head = head_size(data, size);
        count_batch(data + head, size - head, ret_counts);
        return;
    }
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        if (begins(data, size, requests[i].text)) {
            bool keyed = find_header(data, head_size(data, size), "Idempotency-Key") != NULL;
            bool post = requests[i].kind == CLI_MESSAGE_SUBMIT && !keyed;
            ret_counts[post ? CLI_MESSAGE_POST : requests[i].kind]++;
            return;
        }
    }
    ret_counts[CLI_MESSAGE_OTHER]++;
}
