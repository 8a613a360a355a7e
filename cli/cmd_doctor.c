#include "cli/args.h"
#include "cli/out.h"
#include "cli/remote.h"

#include <stdio.h>
#include <string.h>

enum { AGENT, RESOLVE, REASON, OPERATOR };

enum { ID_TEXT = 36 };

struct doctor {
    struct cli_remote *remote;
    const struct cli_call *call;
    const struct cli_peer *peer; /* that is visited */
    struct cli_listing list;
    size_t ours, ended;
    enum cli_exit worst;
};

/* The transaction in "assent:PARTICIPANT:COORDINATOR:TRANSACTION"; "" when there is none. */
static const char *transaction_of(const char *gid)
{
    const char *colon = strrchr(gid, ':');
    return colon != NULL && strncmp(gid, "assent:", 7) == 0 && strlen(colon + 1) == ID_TEXT
               ? colon + 1
               : "";
}

/* ---- Ending them ---- */

/* "commit", "abort", or "" while the coordinator has not decided or cannot say. */
static void ask_coordinator(struct doctor *doctor, const char *gtid, char ret_outcome[16])
{
    struct cli_peer peer = cli_coordinator(doctor->remote);
    struct tpc_buf path = {0};
    struct api_json *txn = NULL;
    int status = 0;
    ret_outcome[0] = '\0';
    tpc_buf_addf(&path, "/v1/transactions/%s", gtid);
    struct cli_request request = {.method = "GET", .url = path.data, .timeout_ms = 5000};
    if (!path.failed &&
        cli_remote_send(doctor->remote, &peer, &request, &status, &txn, NULL, true) == CLI_OK &&
        status == 200) {
        (void)snprintf(ret_outcome, 16, "%s", cli_json_text(txn, "outcome"));
    }
    api_json_free(txn);
    tpc_buf_done(&path);
}

static bool post(struct doctor *doctor, const char *gtid, const char *verb, const char *outcome)
{
    char name[256];
    struct tpc_buf path = {0}, body = {0};
    struct api_json *answer = NULL;
    int status = 0;
    const char *reason = doctor->call->values[REASON];
    tpc_buf_addf(&path, "/v1/branches/%s/%s", gtid, verb);
    api_jw_open(&body, '{');
    if (outcome != NULL) {
        api_jw_key(&body, "outcome");
        api_jw_str(&body, outcome);
    }
    api_jw_key(&body, "reason");
    api_jw_str(&body, reason != NULL ? reason : "assent agent doctor: as the coordinator decided");
    api_jw_key(&body, "operator");
    api_jw_str(&body, cli_args_operator(doctor->call->values[OPERATOR], name, sizeof(name)));
    api_jw_close(&body, '}');
    struct cli_request request = {
        .method = "POST", .url = path.data, .body = body.data, .body_size = body.size};
    bool done = !path.failed && !body.failed &&
                cli_remote_send(doctor->remote, doctor->peer, &request, &status, &answer, NULL,
                                false) == CLI_OK &&
                status == 200;
    api_json_free(answer);
    tpc_buf_done(&path);
    tpc_buf_done(&body);
    return done;
}

/* As the coordinator decided, and nothing else: what is not decided is left to it, or to
 * `assent branch resolve`. */
static bool end_as_decided(struct doctor *doctor, const char *gtid)
{
    char outcome[16];
    ask_coordinator(doctor, gtid, outcome);
    if (outcome[0] == '\0') {
        fprintf(stderr,
                "%s: the coordinator does not say how it ends. Left as it is; to decide by hand:\n"
                "  assent branch resolve %s --abort --reason TEXT\n",
                gtid, gtid);
        return false;
    }
    if (!post(doctor, gtid, "resolve", outcome)) {
        fprintf(stderr, "%s: the agent has ended it meanwhile, or is about to\n", gtid);
        return false;
    }
    (void)post(doctor, gtid, "forget", NULL); /* it is as was decided: nothing to be shown */
    fprintf(stderr, "%s: ended with %s, as the coordinator decided\n", gtid, outcome);
    return true;
}

/* ---- Showing them ---- */

static void add_names(struct tpc_buf *out, const struct api_json *array)
{
    for (const struct api_json *one = api_json_first(array); one != NULL;
         one = api_json_next(one)) {
        tpc_buf_addf(out, "%s%s", out->size > 0 ? ", " : "", api_json_string(one));
    }
}

static void add_row(struct doctor *doctor, const struct api_json *item, const char *whose)
{
    struct cli_table *table = &doctor->list.table;
    struct tpc_buf locks = {0};
    char age[32];
    const char *gid = cli_json_text(item, "gid"), *gtid = transaction_of(gid);
    add_names(&locks, api_json_get(item, "locks"));
    cli_table_add(table, doctor->peer->name);
    cli_table_add(table, whose);
    cli_table_add(table, gtid[0] != '\0' ? gtid : gid);
    cli_table_add(table, cli_duration_text(api_json_number(api_json_get(item, "age_ms")), age));
    cli_table_add(table, locks.data);
    cli_table_addf(table, "%zu", api_json_count(api_json_get(item, "blocks")));
    tpc_buf_done(&locks);
}

static void look_at(struct doctor *doctor, const struct api_json *item)
{
    const char *gid = cli_json_text(item, "gid");
    bool ours = api_json_bool(api_json_get(item, "ours"));
    const char *whose = ours                              ? "this agent's"
                        : strncmp(gid, "assent:", 7) == 0 ? "another agent's"
                                                          : "another program's";
    if (doctor->list.format == CLI_TABLE) {
        add_row(doctor, item, whose);
    } else {
        struct tpc_buf json = {0};
        api_json_print(&json, item);
        cli_list_add(&doctor->list, &json);
        tpc_buf_done(&json);
    }
    doctor->ours += ours;
    if (ours && doctor->call->values[RESOLVE] != NULL) {
        doctor->ended += end_as_decided(doctor, transaction_of(gid));
    }
}

static void visit(struct doctor *doctor, const struct cli_peer *peer)
{
    struct api_json *answer = NULL;
    enum cli_exit result = cli_remote_get(doctor->remote, peer, "/v1/doctor", &answer);
    doctor->peer = peer;
    if (result != CLI_OK) {
        doctor->worst = result;
        return;
    }
    const struct api_json *items = api_json_get(answer, "items");
    for (const struct api_json *item = api_json_first(items); item != NULL;
         item = api_json_next(item)) {
        look_at(doctor, item);
    }
    api_json_free(answer);
}

static enum cli_exit visit_registered(void *arg, const char *name, const char *url,
                                      const struct api_json *entry)
{
    struct doctor *doctor = arg;
    struct cli_peer peer = {.what = "participant", .name = name, .url = url};
    (void)entry;
    if (doctor->call->word_count == 0 || strcmp(doctor->call->words[0], name) == 0) {
        visit(doctor, &peer);
    }
    return CLI_OK;
}

static enum cli_exit visit_all(struct doctor *doctor)
{
    const struct cli_call *call = doctor->call;
    const char *name = call->word_count > 0 ? call->words[0] : NULL;
    char url[512];
    if (call->values[AGENT] != NULL) {
        if (!cli_args_url(call->values[AGENT], url, sizeof(url))) {
            return CLI_USAGE;
        }
        struct cli_peer peer = {
            .what = "participant", .name = name != NULL ? name : "(by address)", .url = url};
        visit(doctor, &peer);
        return CLI_OK;
    }
    enum cli_exit result = name != NULL ? cli_find_participant(doctor->remote, name, url) : CLI_OK;
    return result == CLI_OK ? cli_each_participant(doctor->remote, visit_registered, doctor)
                            : result;
}

static void explain(const struct doctor *doctor)
{
    size_t left = doctor->ours - doctor->ended;
    if (left > 0) {
        fprintf(
            stderr,
            "%zu of an agent's own: prepared and not ended, each holds its locks and keeps VACUUM\n"
            "from cleaning up. The agent asks its coordinator until it is told; --resolve ends\n"
            "those that are decided at once. What is another's is not touched.\n",
            left);
    }
}

static enum cli_exit run_doctor(const struct cli_call *call)
{
    static const char *const names[] = {"PARTICIPANT", "WHOSE", "TRANSACTION",
                                        "AGE",         "LOCKS", "BLOCKS"};
    struct cli_remote remote;
    struct doctor doctor = {.remote = &remote, .call = call};
    enum cli_exit result = cli_remote_init(&remote, call);
    if (result != CLI_OK) {
        return result;
    }
    cli_list_begin(&doctor.list, call->format, 6, names);
    result = visit_all(&doctor);
    if (result == CLI_OK) {
        cli_list_print(&doctor.list);
        explain(&doctor);
        result = doctor.worst;
    }
    if (result == CLI_OK && doctor.ours > doctor.ended) {
        result = CLI_IN_DOUBT;
    }
    cli_list_done(&doctor.list);
    cli_remote_done(&remote);
    return result;
}

static const struct cli_flag flags[] = {
    [AGENT] = {"agent", "URL", "ask this one, without the registry", 0},
    [RESOLVE] = {"resolve", NULL, "end those whose decision is known", 0},
    [REASON] = {"reason", "TEXT", "why, for the agent's log", 0},
    [OPERATOR] = {"operator", "NAME", "who (USER@host)", 0},
    {NULL, NULL, NULL, 0},
};

const struct cli_command cli_agent_doctor = {
    .group = "agent",
    .name = "doctor",
    .words = "[NAME]",
    .words_max = 1,
    .summary = "show what database servers hold prepared, and whom it blocks",
    .detail =
        "Of every participant, or of NAME: prepared transactions at its server, also those of\n"
        "others, with their age, the tables that they lock, and how many sessions wait for\n"
        "them. Ends with 4 when one of an agent's own is left, and with 5 when a participant\n"
        "cannot be reached.\n",
    .flags = flags,
    .run = run_doctor,
};
