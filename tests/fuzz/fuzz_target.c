/* What stands in a request line and in addresses: path, query, URLs, names, ids. The target reaches
 * the router, whose answers are only counted here: nobody waits for them. */
#include "tests/fuzz/fuzz.h"

#include "api/codec.h"
#include "api/router.h"
#include "api/server_internal.h"

#include <stdlib.h>

static unsigned answers;

/* In place of server_request.c and server_respond.c, which need a connection. */
const char *api_request_method(const struct api_request *request)
{
    return request->method;
}

void api_request_add_header(struct api_request *request, const char *name, const char *value)
{
    (void)request;
    TPC_ASSERT(name[0] != '\0' && value[0] != '\0');
}

void api_respond_problem(struct api_request *request, int status, const char *type,
                         const char *title, const char *detail, const char *field)
{
    (void)request, (void)type, (void)title, (void)detail, (void)field;
    TPC_ASSERT(status == 404 || status == 405);
    answers++;
}

static void handle(void *arg, struct api_request *request, const char *const args[API_ROUTE_ARGS])
{
    (void)arg, (void)request;
    for (unsigned i = 0; i < API_ROUTE_ARGS; i++) {
        (void)strlen(args[i]);
    }
    answers++;
}

static const struct api_route routes[] = {
    {"GET", "/v1/transactions", handle},
    {"POST", "/v1/transactions", handle},
    {"GET", "/v1/transactions/{id}", handle},
    {"POST", "/v1/transactions/{id}/abort", handle},
    {"PUT", "/v1/participants/{name}", handle},
    {"GET", "/v1/a/{x}/b/{y}", handle},
    {.method = NULL},
};

static void count(void *arg, const char *name, const char *value)
{
    size_t *seen = arg;
    *seen += 1 + 0 * (strlen(name) + strlen(value));
}

static void try_target(const char *text)
{
    struct api_request request = {.method = "GET"};
    tpc_buf_adds(&request.target, text);
    const char *wrong = api_server_target_split(&request);
    if (wrong != NULL) {
        TPC_ASSERT(wrong[0] != '\0');
    } else {
        size_t seen = 0;
        api_request_each_query(&request, count, &seen);
        TPC_ASSERT(seen == request.query_count);
        TPC_ASSERT(seen == 0 || request.query_offset < request.target.capacity);
        (void)api_request_query(&request, "limit");
        TPC_ASSERT(api_request_path(&request)[0] == '/');
        answers = 0;
        api_route(routes, NULL, &request);
        TPC_ASSERT(answers == 1);
    }
    tpc_buf_done(&request.target);
}

static void try_texts(const char *text, size_t size)
{
    struct server_address address;
    struct tpc_id id;
    struct tpc_err err = {0};
    char again[TPC_ID_TEXT];
    if (tpc_id_parse(text, size, &id)) {
        TPC_ASSERT(strncasecmp(tpc_id_format(&id, again), text, size) == 0);
    }
    if (api_url_check(text)) {
        TPC_ASSERT(strlen(text) <= 255 && strncmp(text, "http", 4) == 0);
    }
    if (api_name_check(text)) {
        TPC_ASSERT(strlen(text) >= 1 && strlen(text) <= 64);
    }
    if (api_server_address_parse(text, &address, &err) != TPC_OK) {
        TPC_ASSERT(err.text[0] != '\0');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    TPC_ASSERT(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    try_target(text);
    try_texts(text, size);
    free(text);
    return 0;
}
