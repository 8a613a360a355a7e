#include "cli/branch_list.h"

#include <string.h>

void cli_branch_list_begin(struct cli_branch_list *list, struct cli_remote *remote,
                           const char *state)
{
    static const char *const names[] = {"PARTICIPANT", "GTID",        "STATE",
                                        "AGE",         "COORDINATOR", "LAST ERROR"};
    *list = (struct cli_branch_list){.remote = remote, .state = state};
    cli_list_begin(&list->list, remote->call->format, 6, names);
}

/* The branch as the participant describes it, and whose it is. */
static void add_json(struct cli_branch_list *list, const struct api_json *branch)
{
    struct tpc_buf json = {0};
    api_jw_open(&json, '{');
    api_jw_key(&json, "participant");
    api_jw_str(&json, list->participant);
    const struct api_json *member = api_json_first(branch);
    for (; member != NULL; member = api_json_next(member)) {
        if (strcmp(api_json_name(member), "participant") != 0) {
            struct tpc_buf value = {0};
            api_json_print(&value, member);
            api_jw_key(&json, api_json_name(member));
            api_jw_raw(&json, value.data, value.size);
            json.failed = json.failed || value.failed;
            tpc_buf_done(&value);
        }
    }
    api_jw_close(&json, '}');
    cli_list_add(&list->list, &json);
    tpc_buf_done(&json);
}

static enum cli_exit add_branch(void *arg, const struct api_json *branch)
{
    struct cli_branch_list *list = arg;
    struct cli_table *table = &list->list.table;
    const char *state = cli_json_text(branch, "state");
    if (list->state != NULL && strcmp(list->state, state) != 0) {
        return CLI_OK;
    }
    if (list->list.format != CLI_TABLE) {
        add_json(list, branch);
        return CLI_OK;
    }
    char age[32];
    const struct api_json *age_ms = api_json_get(branch, "age_ms");
    const struct api_json *coordinator = api_json_get(branch, "coordinator");
    bool object = api_json_type(coordinator) == API_JSON_OBJECT;
    cli_table_add(table, list->participant);
    cli_table_add(table, cli_json_text(branch, "gtid"));
    cli_table_add(table, state);
    cli_table_add(table, api_json_type(age_ms) == API_JSON_NUMBER
                             ? cli_duration_text(api_json_number(age_ms), age)
                             : "");
    cli_table_add(table, object ? cli_json_text(coordinator, "url")
                                : cli_json_text(branch, "coordinator"));
    cli_table_add(table, cli_json_text(branch, "last_error"));
    return CLI_OK;
}

void cli_branch_list_peer(struct cli_branch_list *list, const struct cli_peer *peer)
{
    list->participant = peer->name;
    enum cli_exit result =
        cli_each_item(list->remote, peer, "/v1/branches", SIZE_MAX, add_branch, list);
    if (result != CLI_OK && list->worst != CLI_ERROR) {
        list->worst = result;
    }
}

enum cli_exit cli_branch_list_end(struct cli_branch_list *list)
{
    cli_list_print(&list->list);
    cli_list_done(&list->list);
    return list->worst;
}
