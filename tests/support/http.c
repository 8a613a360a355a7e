#include "tests/support/http.h"

#include "api/client.h"
#include "tests/support/proc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct blocking {
    struct api_call call;
    enum tpc_rc rc;
    bool done;
};

static void on_done(struct api_call *call, enum tpc_rc rc, const struct tpc_err *err)
{
    struct blocking *blocking = (struct blocking *)call;
    (void)err;
    blocking->rc = rc;
    blocking->done = true;
}

static void make_call(struct blocking *blocking)
{
    struct api_client *client;
    struct tpc_err err = {0};
    uv_loop_t loop;
    if (uv_loop_init(&loop) != 0) {
        sup_die("no loop");
    }
    if (api_client_new(&(struct api_client_options){.loop = &loop}, &client, &err) != TPC_OK ||
        api_client_start(client, &blocking->call) != TPC_OK) {
        sup_die("no HTTP client: %s", err.text);
    }
    while (!blocking->done) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    api_client_free(client);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop) != 0) {
        sup_die("the HTTP client left something open");
    }
}

void sup_http_at(const char *method, const char *base, const char *path, const char *header,
                 const char *body, uint32_t timeout_ms, struct sup_answer *ret_answer)
{
    char url[512];
    struct blocking blocking = {.call = {.method = method,
                                         .url = url,
                                         .header = header,
                                         .timeout_ms = timeout_ms,
                                         .on_done = on_done}};
    (void)snprintf(url, sizeof url, "%s%s", base, path);
    if (body != NULL) {
        tpc_buf_adds(&blocking.call.body, body);
    }
    make_call(&blocking);
    *ret_answer = (struct sup_answer){.rc = blocking.rc};
    if (blocking.rc == TPC_OK) {
        ret_answer->status = blocking.call.status;
        ret_answer->body = blocking.call.answer;
        blocking.call.answer = (struct tpc_buf){0};
        if (ret_answer->body.size > 0 &&
            api_json_parse(ret_answer->body.data, ret_answer->body.size, &ret_answer->json, NULL) !=
                TPC_OK) {
            ret_answer->json = NULL;
        }
    }
    api_call_done(&blocking.call);
}

void sup_answer_done(struct sup_answer *answer)
{
    tpc_buf_done(&answer->body);
    api_json_free(answer->json);
    *answer = (struct sup_answer){0};
}

int sup_http_status(const char *method, const char *base, const char *path, const char *body)
{
    struct sup_answer answer;
    sup_http_at(method, base, path, NULL, body, SUP_CALL_MS, &answer);
    int status = answer.status;
    sup_answer_done(&answer);
    return status;
}

/* ---- JSON ---- */

static const struct api_json *step_into(const struct api_json *json, const char *name)
{
    char *end;
    unsigned long index = strtoul(name, &end, 10);
    if (json == NULL || api_json_type(json) != API_JSON_ARRAY || *end != '\0') {
        return json != NULL ? api_json_get(json, name) : NULL;
    }
    const struct api_json *item = api_json_first(json);
    while (item != NULL && index-- > 0) {
        item = api_json_next(item);
    }
    return item;
}

const struct api_json *sup_json_at(const struct api_json *json, const char *path)
{
    while (*path != '\0') {
        char name[64];
        size_t size = strcspn(path, ".");
        (void)snprintf(name, sizeof name, "%.*s", (int)size, path);
        json = step_into(json, name);
        path += size + (path[size] == '.' ? 1 : 0);
    }
    return json;
}

const char *sup_json_text(const struct api_json *json, const char *path)
{
    const struct api_json *value = sup_json_at(json, path);
    const char *text = value != NULL ? api_json_string(value) : NULL;
    return text != NULL ? text : "";
}

/* ---- Metrics ---- */

static bool is_sample_of(const char *line, const char *name, const char *label)
{
    size_t size = strlen(name), length = strcspn(line, "\n");
    const char *found = label != NULL ? strstr(line, label) : line;
    return strncmp(line, name, size) == 0 && (line[size] == ' ' || line[size] == '{') &&
           found != NULL && (size_t)(found - line) < length;
}

double sup_metric(const char *base, const char *name, const char *label)
{
    struct sup_answer answer;
    double sum = -1;
    sup_http_at("GET", base, "/metrics", NULL, NULL, SUP_CALL_MS, &answer);
    for (const char *line = answer.status == 200 ? answer.body.data : ""; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        const char *value = line + length;
        while (value > line && value[-1] != ' ') {
            value--;
        }
        if (is_sample_of(line, name, label)) {
            sum = (sum < 0 ? 0 : sum) + strtod(value, NULL);
        }
        line += length + (line[length] == '\n' ? 1 : 0);
    }
    sup_answer_done(&answer);
    return sum;
}
