#include "cli/remote.h"

#include "base/suggest.h"
#include "cli/out.h"

#include <stdio.h>
#include <string.h>

enum cli_exit cli_remote_init(struct cli_remote *remote, const struct cli_call *call)
{
    *remote = (struct cli_remote){.call = call, .http = cli_http_new()};
    if (remote->http == NULL) {
        fputs("assent: out of memory\n", stderr);
        return CLI_ERROR;
    }
    return CLI_OK;
}

void cli_remote_done(struct cli_remote *remote)
{
    cli_http_free(remote->http);
}

struct cli_peer cli_coordinator(const struct cli_remote *remote)
{
    return (struct cli_peer){.what = "the coordinator", .url = remote->call->url};
}

static void complain_unreachable(const struct cli_peer *peer, enum tpc_rc rc,
                                 const struct tpc_err *err)
{
    fprintf(stderr, "assent: %s %s%s%s at %s: %s\n",
            rc == TPC_EUNREACHABLE ? "cannot reach" : "no answer from", peer->what,
            peer->name != NULL ? " " : "", peer->name != NULL ? peer->name : "", peer->url,
            err->text);
    if (peer->name == NULL && rc == TPC_EUNREACHABLE) {
        fputs("Is assentd running there? Name another with --url or ASSENT_URL.\n", stderr);
    }
}

enum cli_exit cli_remote_send(struct cli_remote *remote, const struct cli_peer *peer,
                              const struct cli_request *request, int *ret_status,
                              struct api_json **ret_json, bool *ret_sent, bool quiet)
{
    struct tpc_err err = {0};
    struct tpc_buf url = {0};
    struct cli_answer answer = {0};
    struct api_json *json = NULL;
    struct cli_request whole = *request;

    tpc_buf_addf(&url, "%s%s", peer->url, request->url);
    whole.url = url.data;
    enum tpc_rc rc = url.failed ? tpc_fail(&err, TPC_ENOMEM, "out of memory")
                                : cli_http_do(remote->http, &whole, &answer, &err);
    bool sent = rc != TPC_EUNREACHABLE && rc != TPC_ENOMEM && rc != TPC_EINVAL;
    if (rc == TPC_OK && answer.body.size > 0) {
        rc = api_json_parse(answer.body.data, answer.body.size, &json, &err);
        if (rc != TPC_OK && !quiet) {
            fprintf(stderr, "assent: %s at %s answered %d with what is no JSON: %s\n", peer->what,
                    peer->url, answer.status, err.text);
        }
    } else if (rc != TPC_OK && !quiet) {
        complain_unreachable(peer, rc, &err);
    }
    int status = answer.status;
    cli_answer_done(&answer);
    tpc_buf_done(&url);
    if (ret_sent != NULL) {
        *ret_sent = sent;
    }
    if (rc != TPC_OK) {
        return rc == TPC_ESYNTAX || rc == TPC_ENOMEM || rc == TPC_EINVAL ? CLI_ERROR
                                                                         : CLI_UNREACHABLE;
    }
    *ret_status = status;
    *ret_json = json;
    return CLI_OK;
}

enum cli_exit cli_complain_problem(const struct cli_peer *peer, int status,
                                   const struct api_json *problem)
{
    const char *title = cli_json_text(problem, "title");
    const char *detail = cli_json_text(problem, "detail");
    const char *field = cli_json_text(problem, "field");
    fprintf(stderr, "assent: %s%s%s: %s%s%s%s%s\n", peer->what, peer->name != NULL ? " " : "",
            peer->name != NULL ? peer->name : "", title[0] != '\0' ? title : "refused",
            field[0] != '\0' ? ": " : "", field, detail[0] != '\0' ? ": " : "", detail);
    if (title[0] == '\0' && detail[0] == '\0') {
        fprintf(stderr, "It answered with status %d and no more words.\n", status);
    }
    return status >= 502 && status <= 504 ? CLI_UNREACHABLE : CLI_ERROR;
}

enum cli_exit cli_remote_get(struct cli_remote *remote, const struct cli_peer *peer,
                             const char *path, struct api_json **ret_json)
{
    struct cli_request request = {.method = "GET", .url = path};
    struct api_json *json = NULL;
    int status = 0;
    enum cli_exit result = cli_remote_send(remote, peer, &request, &status, &json, NULL, false);
    if (result == CLI_OK && (status != 200 || json == NULL)) {
        result = cli_complain_problem(peer, status, json);
        api_json_free(json);
    } else if (result == CLI_OK) {
        *ret_json = json;
    }
    return result;
}

enum cli_exit cli_each_item(struct cli_remote *remote, const struct cli_peer *peer,
                            const char *path, size_t items_max,
                            enum cli_exit (*visit)(void *arg, const struct api_json *item),
                            void *arg)
{
    struct tpc_buf page = {0};
    enum cli_exit result = CLI_OK;
    size_t seen = 0;
    tpc_buf_adds(&page, path);
    while (result == CLI_OK && page.size > 0 && !page.failed) {
        struct api_json *json = NULL;
        result = cli_remote_get(remote, peer, page.data, &json);
        tpc_buf_clear(&page);
        if (result != CLI_OK) {
            break;
        }
        const struct api_json *item = api_json_first(api_json_get(json, "items"));
        for (; item != NULL && result == CLI_OK && seen < items_max; item = api_json_next(item)) {
            result = visit(arg, item);
            seen++;
        }
        const char *cursor = cli_json_text(json, "next_cursor");
        if (cursor[0] != '\0' && seen < items_max) {
            tpc_buf_addf(&page, "%s%ccursor=", path, strchr(path, '?') != NULL ? '&' : '?');
            cli_http_escape(&page, cursor);
        }
        api_json_free(json);
    }
    if (page.failed) {
        fputs("assent: out of memory\n", stderr);
        result = CLI_ERROR;
    }
    tpc_buf_done(&page);
    return result;
}

struct visit_participant {
    enum cli_exit (*visit)(void *arg, const char *name, const char *url,
                           const struct api_json *entry);
    void *arg;
};

static enum cli_exit visit_entry(void *arg, const struct api_json *entry)
{
    struct visit_participant *inner = arg;
    return inner->visit(inner->arg, cli_json_text(entry, "name"), cli_json_text(entry, "url"),
                        entry);
}

enum cli_exit cli_each_participant(struct cli_remote *remote,
                                   enum cli_exit (*visit)(void *arg, const char *name,
                                                          const char *url,
                                                          const struct api_json *entry),
                                   void *arg)
{
    struct visit_participant inner = {.visit = visit, .arg = arg};
    struct cli_peer peer = cli_coordinator(remote);
    return cli_each_item(remote, &peer, "/v1/participants", SIZE_MAX, visit_entry, &inner);
}

struct find {
    const char *name;
    char *url;
    bool found;
    struct tpc_suggest suggest;
    char nearest[128];
};

static enum cli_exit find_by_name(void *arg, const char *name, const char *url,
                                  const struct api_json *entry)
{
    struct find *find = arg;
    (void)entry;
    if (strcmp(name, find->name) == 0) {
        find->found = true;
        snprintf(find->url, 512, "%s", url);
    }
    /* The registry's page does not outlive this visit, so the nearest name is copied. */
    const char *before = find->suggest.nearest;
    tpc_suggest_offer(&find->suggest, name);
    if (find->suggest.nearest != before) {
        snprintf(find->nearest, sizeof(find->nearest), "%s", name);
        find->suggest.nearest = find->nearest;
    }
    return CLI_OK;
}

enum cli_exit cli_find_participant(struct cli_remote *remote, const char *name, char *ret_url)
{
    struct find find = {.name = name, .url = ret_url};
    tpc_suggest_init(&find.suggest, name, strlen(name));
    enum cli_exit result = cli_each_participant(remote, find_by_name, &find);
    if (result == CLI_OK && !find.found) {
        fprintf(stderr, "assent: there is no participant \"%s\"\n", name);
        if (find.nearest[0] != '\0') {
            fprintf(stderr, "Did you mean \"%s\"?\n", find.nearest);
        } else {
            fputs("`assent agent ls` shows those there are.\n", stderr);
        }
        return CLI_ERROR;
    }
    return result;
}
