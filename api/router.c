#include "api/router.h"

#include "base/tpc_assert.h"

#include <stdio.h>
#include <string.h>

enum { SEGMENTS_MAX = 8, PATH_MAX_SIZE = 2048, ALLOW_SIZE = 128 };

struct path {
    const char *segments[SEGMENTS_MAX];
    size_t count;
    char storage[PATH_MAX_SIZE];
};

static char hex(char c)
{
    return (char)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* Split at the slashes, then decode, so that an escaped slash does not divide. False when no
 * pattern can match. The server has checked the escapes. */
static bool split(const char *text, struct path *out)
{
    char *to = out->storage;

    if (text[0] != '/' || strlen(text) >= PATH_MAX_SIZE) {
        return false;
    }
    out->count = 0;
    while (*text != '\0') {
        if (*text == '/') {
            *to++ = '\0'; /* ends the segment before */
            if (out->count == SEGMENTS_MAX) {
                return false;
            }
            out->segments[out->count++] = to;
            text++;
        } else if (*text == '%') {
            *to++ = (char)(hex(text[1]) * 16 + hex(text[2]));
            text += 3;
        } else {
            *to++ = *text++;
        }
    }
    *to = '\0';
    return true;
}

static bool matches(const char *pattern, const struct path *path, const char *args[API_ROUTE_ARGS])
{
    size_t arg_count = 0, at = 0;

    while (*pattern == '/') {
        const char *name = pattern + 1;
        size_t size = strcspn(name, "/");
        if (at == path->count) {
            return false;
        }
        const char *segment = path->segments[at++];
        if (name[0] == '{') {
            TPC_ASSERT(arg_count < API_ROUTE_ARGS);
            if (segment[0] == '\0') {
                return false;
            }
            args[arg_count++] = segment;
        } else if (strlen(segment) != size || memcmp(segment, name, size) != 0) {
            return false;
        }
        pattern = name + size;
    }
    return at == path->count;
}

static void add_allowed(char *allow, const char *method)
{
    size_t used = strlen(allow);
    int size = snprintf(allow + used, ALLOW_SIZE - used, "%s%s%s", used > 0 ? ", " : "", method,
                        strcmp(method, "GET") == 0 ? ", HEAD" : "");
    TPC_ASSERT(size > 0 && (size_t)size < ALLOW_SIZE - used);
}

static void refuse(struct api_request *request, const char *allow)
{
    if (allow[0] == '\0') {
        api_respond_problem(request, 404, "not-found", "Not found",
                            "there is nothing at this path; see /openapi.json or the API "
                            "reference",
                            NULL);
        return;
    }
    char detail[ALLOW_SIZE + 64];
    (void)snprintf(detail, sizeof(detail), "this path understands: %s", allow);
    api_request_add_header(request, "Allow", allow);
    api_respond_problem(request, 405, "method-not-allowed", "Method not allowed", detail, NULL);
}

void api_route(const struct api_route *routes, void *arg, struct api_request *request)
{
    const char *method = api_request_method(request);
    char allow[ALLOW_SIZE] = "";
    struct path path;

    if (strcmp(method, "HEAD") == 0) {
        method = "GET"; /* the server leaves the body out */
    }
    if (!split(api_request_path(request), &path)) {
        refuse(request, allow);
        return;
    }
    for (const struct api_route *route = routes; route->method != NULL; route++) {
        const char *args[API_ROUTE_ARGS] = {"", ""};
        if (!matches(route->pattern, &path, args)) {
            continue;
        }
        if (strcmp(route->method, method) == 0) {
            route->handle(arg, request, args);
            return;
        }
        add_allowed(allow, route->method);
    }
    refuse(request, allow);
}
