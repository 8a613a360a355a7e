#include "cli/branch_list.h"
#include "cli/out.h"
#include "cli/remote.h"

#include <stdio.h>
#include <string.h>

/* What a participant holds, counted. */
struct holdings {
    size_t in_doubt;
    size_t heuristic;
    double oldest_ms; /* of those in doubt */
};

static enum cli_exit count_branch(void *arg, const struct api_json *branch)
{
    struct holdings *holdings = arg;
    const char *state = cli_json_text(branch, "state");
    if (strcmp(state, "prepared") == 0) {
        double age_ms = api_json_number(api_json_get(branch, "age_ms"));
        holdings->in_doubt++;
        holdings->oldest_ms = age_ms > holdings->oldest_ms ? age_ms : holdings->oldest_ms;
    } else if (strncmp(state, "heuristic_", 10) == 0) {
        holdings->heuristic++;
    }
    return CLI_OK;
}

/* "ready", "not ready" or "unreachable" */
static const char *readiness(struct cli_remote *remote, const struct cli_peer *peer)
{
    struct cli_request request = {.method = "GET", .url = "/readyz", .timeout_ms = 5000};
    struct cli_answer answer = {0};
    struct tpc_buf url = {0};
    tpc_buf_addf(&url, "%s/readyz", peer->url);
    request.url = url.data;
    enum tpc_rc rc = url.failed ? TPC_ENOMEM : cli_http_do(remote->http, &request, &answer, NULL);
    const char *word = rc != TPC_OK ? "unreachable" : answer.status == 200 ? "ready" : "not ready";
    cli_answer_done(&answer);
    tpc_buf_done(&url);
    return word;
}

/* ---- ls ---- */

struct listing {
    struct cli_remote *remote;
    struct cli_listing list;
    bool unreachable;
};

static void add_json(struct cli_listing *list, const char *name, const char *url, const char *state,
                     const struct holdings *holdings)
{
    struct tpc_buf json = {0};
    api_jw_open(&json, '{');
    api_jw_key(&json, "name");
    api_jw_str(&json, name);
    api_jw_key(&json, "url");
    api_jw_str(&json, url);
    api_jw_key(&json, "state");
    api_jw_str(&json, state);
    if (holdings != NULL) {
        api_jw_key(&json, "in_doubt");
        api_jw_u64(&json, holdings->in_doubt);
        api_jw_key(&json, "heuristic");
        api_jw_u64(&json, holdings->heuristic);
        api_jw_key(&json, "oldest_age_ms");
        api_jw_double(&json, holdings->oldest_ms);
    }
    api_jw_close(&json, '}');
    cli_list_add(list, &json);
    tpc_buf_done(&json);
}

static void add_row(struct cli_table *table, const char *name, const char *url, const char *state,
                    const struct holdings *holdings)
{
    char age[32];
    cli_table_add(table, name);
    cli_table_add(table, url);
    cli_table_add(table, state);
    if (holdings == NULL) {
        cli_table_add(table, "?");
        cli_table_add(table, "?");
        cli_table_add(table, "?");
        return;
    }
    cli_table_addf(table, "%zu", holdings->in_doubt);
    cli_table_addf(table, "%zu", holdings->heuristic);
    cli_table_add(table, holdings->in_doubt > 0 ? cli_duration_text(holdings->oldest_ms, age) : "");
}

static enum cli_exit list_one(void *arg, const char *name, const char *url,
                              const struct api_json *entry)
{
    struct listing *listing = arg;
    struct cli_peer peer = {.what = "participant", .name = name, .url = url};
    struct holdings holdings = {0};
    (void)entry;
    const char *state = readiness(listing->remote, &peer);
    bool known =
        strcmp(state, "ready") == 0 && cli_each_item(listing->remote, &peer, "/v1/branches",
                                                     SIZE_MAX, count_branch, &holdings) == CLI_OK;
    listing->unreachable = listing->unreachable || !known;
    if (listing->list.format == CLI_TABLE) {
        add_row(&listing->list.table, name, url, state, known ? &holdings : NULL);
    } else {
        add_json(&listing->list, name, url, state, known ? &holdings : NULL);
    }
    return CLI_OK;
}

static enum cli_exit run_ls(const struct cli_call *call)
{
    static const char *const names[] = {"NAME", "URL", "STATE", "IN DOUBT", "HEURISTIC", "OLDEST"};
    struct cli_remote remote;
    struct listing listing = {.remote = &remote};
    enum cli_exit result = cli_remote_init(&remote, call);
    if (result != CLI_OK) {
        return result;
    }
    cli_list_begin(&listing.list, call->format, 6, names);
    result = cli_each_participant(&remote, list_one, &listing);
    if (result == CLI_OK) {
        cli_list_print(&listing.list);
    }
    cli_list_done(&listing.list);
    cli_remote_done(&remote);
    return result == CLI_OK && listing.unreachable ? CLI_UNREACHABLE : result;
}

const struct cli_command cli_agent_ls = {
    .group = "agent",
    .name = "ls",
    .summary = "list participants and what they hold",
    .detail = "Ends with 5 when one of them cannot be reached or is not ready.\n",
    .run = run_ls,
};

/* ---- show ---- */

static enum cli_exit run_show(const struct cli_call *call)
{
    char url[512];
    struct cli_remote remote;
    enum cli_exit result = cli_remote_init(&remote, call);
    if (result != CLI_OK) {
        return result;
    }
    result = cli_find_participant(&remote, call->words[0], url);
    if (result == CLI_OK) {
        struct cli_peer peer = {.what = "participant", .name = call->words[0], .url = url};
        const char *state = readiness(&remote, &peer);
        fprintf(stderr, "%s at %s: %s\n", peer.name, peer.url, state);
        struct cli_branch_list list;
        cli_branch_list_begin(&list, &remote, NULL);
        cli_branch_list_peer(&list, &peer);
        result = cli_branch_list_end(&list);
    }
    cli_remote_done(&remote);
    return result;
}

const struct cli_command cli_agent_show = {
    .group = "agent",
    .name = "show",
    .words = "NAME",
    .words_min = 1,
    .words_max = 1,
    .summary = "show a participant and its branches in doubt",
    .detail = "The branches are those in doubt, and those an operator ended by hand until they\n"
              "are forgotten. Ends with 5 when the participant cannot be reached.\n",
    .run = run_show,
};
