/* The request target: path and query. */
#include "api/server_internal.h"

#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that "%XX" stands for; -1 when it is malformed or NUL, which would cut the text. */
static int escaped(const char *text)
{
    int high = hex_digit(text[1]);
    int low = high < 0 ? -1 : hex_digit(text[2]);
    int byte = low < 0 ? -1 : high * 16 + low;
    return byte == 0 ? -1 : byte;
}

static bool path_is_sound(const char *path)
{
    for (const char *at = path; *at != '\0'; at++) {
        if (*at == '%' && escaped(at) < 0) {
            return false;
        }
    }
    return true;
}

/* Decode @from until one of @ends, writing text and NUL at @to. Moves both past it. */
static bool decode_until(const char **from, char **to, const char *ends, char *ret_end)
{
    const char *in = *from;
    char *out = *to;

    while (*in != '\0' && strchr(ends, *in) == NULL) {
        if (*in == '%') {
            int byte = escaped(in);
            if (byte < 0) {
                return false;
            }
            *out++ = (char)byte;
            in += 3;
        } else {
            *out++ = *in == '+' ? ' ' : *in;
            in++;
        }
    }
    *ret_end = *in;
    if (*in != '\0') {
        in++;
    }
    *out++ = '\0';
    *from = in;
    *to = out;
    return true;
}

/* "a=1&b" becomes "a\0" "1\0" "b\0" "\0" at @out, at most twice as long as @query. */
static bool decode_query(struct api_request *request, const char *query, char *out)
{
    char end = '&';

    while (*query != '\0') {
        if (*query == '&') {
            query++;
            continue;
        }
        if (!decode_until(&query, &out, "=&", &end)) {
            return false;
        }
        if (end == '=') {
            if (!decode_until(&query, &out, "&", &end)) {
                return false;
            }
        } else {
            *out++ = '\0';
        }
        request->query_count++;
    }
    return true;
}

/* "http://host/path" is allowed of any client (RFC 9112, section 3.2.2): only the path counts. */
static const char *skip_authority(const char *target)
{
    const char *host = NULL;
    if (strncasecmp(target, "http://", 7) == 0) {
        host = target + 7;
    } else if (strncasecmp(target, "https://", 8) == 0) {
        host = target + 8;
    }
    return host == NULL ? target : host + strcspn(host, "/?");
}

const char *api_server_target_split(struct api_request *request)
{
    struct tpc_buf *target = &request->target;
    const char *path = skip_authority(target->data);
    tpc_buf_consume(target, (size_t)(path - target->data));

    char *mark = strchr(target->data, '?');
    if (mark != NULL) {
        size_t raw_size = strlen(mark + 1) + 1;
        size_t path_size = (size_t)(mark - target->data);
        char *room = tpc_buf_reserve(target, 2 * raw_size + 1);
        if (room == NULL) {
            return "there is no memory for the query";
        }
        target->data[path_size] = '\0';
        request->query_offset = target->size + 1;
        if (!decode_query(request, target->data + path_size + 1,
                          target->data + request->query_offset)) {
            return "the query has a malformed percent-escape";
        }
    }
    if (target->data[0] != '/') {
        return "the request target must be a path that starts with /";
    }
    if (!path_is_sound(target->data)) {
        return "the path has a malformed percent-escape";
    }
    return NULL;
}

const char *api_request_path(const struct api_request *request)
{
    return request->target.data;
}

void api_request_each_query(const struct api_request *request,
                            void (*visit)(void *arg, const char *name, const char *value),
                            void *arg)
{
    const char *name = request->target.data + request->query_offset;
    for (size_t i = 0; i < request->query_count; i++) {
        const char *value = name + strlen(name) + 1;
        visit(arg, name, value);
        name = value + strlen(value) + 1;
    }
}

const char *api_request_query(const struct api_request *request, const char *name)
{
    const char *at = request->target.data + request->query_offset;
    for (size_t i = 0; i < request->query_count; i++) {
        const char *value = at + strlen(at) + 1;
        if (strcmp(at, name) == 0) {
            return value;
        }
        at = value + strlen(value) + 1;
    }
    return NULL;
}
