#include "tests/http/harness.h"

#include "base/buf.h"
#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Requests ---- */

static int connect_to(const char *url)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1))};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

int http_begin(const char *url, const char *method, const char *path, const char *headers,
               const char *body)
{
    struct tpc_buf request = {0};
    int fd = connect_to(url);
    if (fd >= 0) {
        tpc_buf_addf(&request, "%s %s HTTP/1.1\r\nHost: test\r\n%sContent-Length: %zu\r\n\r\n%s",
                     method, path, headers, strlen(body), body);
        for (size_t sent = 0; sent < request.size;) {
            ssize_t put = send(fd, request.data + sent, request.size - sent, MSG_NOSIGNAL);
            if (put <= 0) {
                break; /* what comes back, or not, tells */
            }
            sent += (size_t)put;
        }
        tpc_buf_done(&request);
    }
    return fd;
}

bool http_is_answered(int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    return poll(&ready, 1, 0) > 0;
}

static bool is_whole(const struct tpc_buf *got, size_t *ret_body)
{
    const char *end = got->size > 0 ? strstr(got->data, "\r\n\r\n") : NULL;
    const char *length = end != NULL ? strcasestr(got->data, "\r\nContent-Length:") : NULL;
    if (end == NULL) {
        return false;
    }
    *ret_body = (size_t)(end + 4 - got->data);
    size_t size = length != NULL && length < end ? strtoul(length + 17, NULL, 10) : 0;
    return got->size >= *ret_body + size;
}

void http_end(int fd, struct reply *reply)
{
    struct tpc_buf got = {0};
    size_t body = 0;
    bool whole = false;
    *reply = (struct reply){0};
    while (fd >= 0 && !whole) {
        char *room = tpc_buf_reserve(&got, 65536);
        ssize_t size = recv(fd, room, 65535, 0);
        if (size <= 0) {
            break;
        }
        room[size] = '\0';
        tpc_buf_added(&got, (size_t)size);
        whole = is_whole(&got, &body);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    reply->text = tpc_buf_take(&got);
    if (whole) {
        reply->status = atoi(reply->text + strlen("HTTP/1.1 "));
        reply->body = reply->text + body;
        (void)!api_json_parse(reply->body, strlen(reply->body), &reply->json, NULL);
    }
}

void http_call(const char *url, const char *method, const char *path, const char *headers,
               const char *body, struct reply *reply)
{
    http_end(http_begin(url, method, path, headers, body), reply);
}

void reply_done(struct reply *reply)
{
    api_json_free(reply->json);
    free(reply->text);
    *reply = (struct reply){0};
}

const char *reply_header(const struct reply *reply, const char *name, char *out, size_t size)
{
    size_t length = strlen(name);
    out[0] = '\0';
    for (const char *line = strstr(reply->text, "\r\n"); line != NULL && line + 2 < reply->body;
         line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, length) == 0 && line[2 + length] == ':') {
            const char *value = line + 3 + length;
            value += strspn(value, " ");
            (void)snprintf(out, size, "%.*s", (int)strcspn(value, "\r"), value);
        }
    }
    return out;
}

static const struct api_json *step_into(const struct api_json *value, const char *name)
{
    if (value == NULL || api_json_type(value) != API_JSON_ARRAY) {
        return value != NULL ? api_json_get(value, name) : NULL;
    }
    const struct api_json *item = api_json_first(value);
    for (int index = atoi(name); item != NULL && index > 0; index--) {
        item = api_json_next(item);
    }
    return item;
}

const char *reply_get(const struct reply *reply, const char *path)
{
    static char texts[8][512];
    static unsigned turn;
    char *text = texts[turn++ % 8];
    const struct api_json *value = reply->json;
    text[0] = '\0';
    while (*path != '\0') {
        char name[64];
        size_t size = strcspn(path, ".");
        (void)snprintf(name, sizeof name, "%.*s", (int)size, path);
        value = step_into(value, name);
        path += size + (path[size] == '.');
    }
    if (value != NULL && api_json_string(value) != NULL) {
        (void)snprintf(text, sizeof texts[0], "%s", api_json_string(value));
    } else if (value != NULL) {
        struct tpc_buf json = {0};
        api_json_print(&json, value);
        (void)snprintf(text, sizeof texts[0], "%.*s", (int)json.size, json.data);
        tpc_buf_done(&json);
    }
    return text;
}

/* ---- The stage ---- */

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info, (void)type, (void)walk;
    return remove(path);
}

int stage_setup(void **state)
{
    struct stage *stage = calloc(1, sizeof *stage);
    assert_non_null(stage);
    (void)snprintf(stage->directory, sizeof stage->directory, "/tmp/assent-http-XXXXXX");
    assert_non_null(mkdtemp(stage->directory));
    (void)snprintf(stage->data, sizeof stage->data, "%s/data", stage->directory);
    (void)snprintf(stage->out_path, sizeof stage->out_path, "%s/assentd.log", stage->directory);
    scripted_start(&stage->east);
    scripted_start(&stage->west);
    *state = stage;
    return 0;
}

/* That it ends with status 0 also says that no sanitizer has found anything. */
int stage_teardown(void **state)
{
    struct stage *stage = *state;
    if (stage->coord.pid != 0) {
        sup_proc_stop(&stage->coord);
    }
    scripted_stop(&stage->east);
    scripted_stop(&stage->west);
    (void)nftw(stage->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(stage);
    return 0;
}

static void start(struct stage *stage, const char *listen)
{
    char east[128], west[128];
    const char *args[FLAGS_MAX + 16] = {"assentd",  "--data",        stage->data,
                                        "--listen", listen,          "--participant",
                                        east,       "--participant", west};
    size_t count = 9;
    (void)snprintf(east, sizeof east, "east=%s", stage->east.url);
    (void)snprintf(west, sizeof west, "west=%s", stage->west.url);
    for (size_t i = 0; stage->flags[i] != NULL; i++) {
        args[count++] = stage->flags[i];
    }
    sup_proc_start(&stage->coord, args, stage->out_path);
}

static void wait_ready(struct stage *stage)
{
    if (!sup_proc_wait_ready(&stage->coord, SUP_START_MS)) {
        fail_msg("assentd ended before it was ready: %s", sup_proc_output(&stage->coord));
    }
    (void)snprintf(stage->url, sizeof stage->url, "%s", stage->coord.url);
}

void stage_start(struct stage *stage, const char *const *flags)
{
    for (size_t i = 0; flags != NULL && flags[i] != NULL; i++) {
        assert_true(i + 1 < FLAGS_MAX);
        stage->flags[i] = flags[i];
        stage->flags[i + 1] = NULL;
    }
    start(stage, "127.0.0.1:0");
    wait_ready(stage);
}

void stage_begin_restart(struct stage *stage)
{
    start(stage, stage->url + strlen("http://"));
}

void stage_end_restart(struct stage *stage)
{
    wait_ready(stage);
}

void stage_restart(struct stage *stage)
{
    stage_begin_restart(stage);
    stage_end_restart(stage);
}

void stage_call(struct stage *stage, const char *method, const char *path, const char *body,
                struct reply *reply)
{
    http_call(stage->url, method, path, "", body, reply);
}

int stage_begin(struct stage *stage, const char *headers, const char *body)
{
    return http_begin(stage->url, "POST", "/v1/transactions", headers, body);
}

void stage_submit(struct stage *stage, const char *headers, const char *body, struct reply *reply)
{
    http_end(stage_begin(stage, headers, body), reply);
}

void stage_get(struct stage *stage, const char *id, const char *query, struct reply *reply)
{
    char path[256];
    (void)snprintf(path, sizeof path, "/v1/transactions/%s%s", id, query);
    stage_call(stage, "GET", path, "", reply);
}

void stage_await_state(struct stage *stage, const char *id, const char *state)
{
    struct reply reply;
    uint64_t until_ms = tpc_clock_mono_ms() + UINT64_C(1000) * PATIENCE_S;
    bool reached = false;
    while (!reached && tpc_clock_mono_ms() < until_ms) {
        stage_get(stage, id, "?wait=50ms", &reply);
        reached = strcmp(reply_get(&reply, "state"), state) == 0;
        reply_done(&reply);
    }
    assert_true(reached);
}

void stage_newest(struct stage *stage, char out[TPC_ID_TEXT])
{
    struct reply reply;
    stage_call(stage, "GET", "/v1/transactions?limit=1", "", &reply);
    assert_int_equal(reply.status, 200);
    (void)snprintf(out, TPC_ID_TEXT, "%s", reply_get(&reply, "items.0.id"));
    assert_int_equal(strlen(out), TPC_ID_TEXT - 1);
    reply_done(&reply);
}

double stage_metric(struct stage *stage, const char *sample)
{
    struct reply reply;
    char wanted[128];
    stage_call(stage, "GET", "/metrics", "", &reply);
    assert_int_equal(reply.status, 200);
    (void)snprintf(wanted, sizeof wanted, "\n%s ", sample);
    const char *at = reply.body != NULL ? strstr(reply.body, wanted) : NULL;
    double value = at != NULL ? strtod(at + strlen(wanted), NULL) : -1;
    if (at == NULL) {
        fail_msg("no sample %s", sample);
    }
    reply_done(&reply);
    return value;
}
