#include "cli/args.h"
#include "cli/branch_list.h"
#include "cli/out.h"
#include "cli/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a participant is called whose name is not known. */
#define DIRECT_NAME "(by address)"

struct each_peer {
    const char *name; /* NULL: all */
    bool found;
    void (*visit)(void *arg, const struct cli_peer *peer);
    void *arg;
};

static enum cli_exit visit_peer(void *arg, const char *name, const char *url,
                                const struct api_json *entry)
{
    struct each_peer *each = arg;
    (void)entry;
    if (each->name == NULL || strcmp(each->name, name) == 0) {
        struct cli_peer peer = {.what = "participant", .name = name, .url = url};
        each->visit(each->arg, &peer);
        each->found = true;
    }
    return CLI_OK;
}

/* Visit the participants that a command is about: all of the registry, one of it, or one by its
 * address, which needs no coordinator. */
static enum cli_exit each_peer(struct cli_remote *remote, const char *name, const char *url,
                               void (*visit)(void *arg, const struct cli_peer *peer), void *arg)
{
    struct each_peer each = {.name = name, .visit = visit, .arg = arg};
    if (url != NULL) {
        char whole[512];
        if (!cli_args_url(url, whole, sizeof(whole))) {
            return CLI_USAGE;
        }
        struct cli_peer peer = {
            .what = "participant", .name = name != NULL ? name : DIRECT_NAME, .url = whole};
        visit(arg, &peer);
        return CLI_OK;
    }
    enum cli_exit result = cli_each_participant(remote, visit_peer, &each);
    if (result == CLI_UNREACHABLE) {
        fputs("Without the coordinator, --agent URL names a participant.\n", stderr);
    }
    if (result == CLI_OK && name != NULL && !each.found) {
        char ignored[512];
        return cli_find_participant(remote, name, ignored);
    }
    return result;
}

/* ---- ls ---- */

enum { LS_PARTICIPANT, LS_STATE, LS_AGENT };

static void list_peer(void *arg, const struct cli_peer *peer)
{
    cli_branch_list_peer(arg, peer);
}

static enum cli_exit run_ls(const struct cli_call *call)
{
    struct cli_remote remote;
    struct cli_branch_list list;
    enum cli_exit result = cli_remote_init(&remote, call);
    if (result != CLI_OK) {
        return result;
    }
    cli_branch_list_begin(&list, &remote, call->values[LS_STATE]);
    result =
        each_peer(&remote, call->values[LS_PARTICIPANT], call->values[LS_AGENT], list_peer, &list);
    if (result == CLI_OK) {
        result = cli_branch_list_end(&list);
    } else {
        cli_list_done(&list.list);
    }
    cli_remote_done(&remote);
    return result;
}

static const struct cli_flag ls_flags[] = {
    [LS_PARTICIPANT] = {"participant", "NAME", "only of this one", 0},
    [LS_STATE] = {"state", "STATE", "prepared, heuristic_commit or heuristic_abort", 0},
    [LS_AGENT] = {"agent", "URL", "ask this one, without the coordinator", 0},
    {NULL, NULL, NULL, 0},
};

const struct cli_command cli_branch_ls = {
    .group = "branch",
    .name = "ls",
    .summary = "list branches in doubt, and those ended by hand",
    .detail = "Ends with 5 when a participant cannot be reached; the others are listed.\n",
    .flags = ls_flags,
    .run = run_ls,
};

/* ---- Finding the one participant that holds a branch ---- */

struct holder {
    struct cli_remote *remote;
    const char *gtid;
    const char *state; /* looked for, by how it starts */
    size_t count;
    enum cli_exit worst;
    char name[128];
    char url[512];
};

static void look_for_branch(void *arg, const struct cli_peer *peer)
{
    struct holder *holder = arg;
    struct tpc_buf path = {0};
    struct api_json *branch = NULL;
    int status = 0;
    tpc_buf_adds(&path, "/v1/branches/");
    cli_http_escape(&path, holder->gtid);
    struct cli_request request = {.method = "GET", .url = path.data};
    enum cli_exit result = path.failed ? CLI_ERROR
                                       : cli_remote_send(holder->remote, peer, &request, &status,
                                                         &branch, NULL, false);
    if (result == CLI_OK && status != 200 && status != 404) {
        result = cli_complain_problem(peer, status, branch);
    }
    if (result != CLI_OK) {
        holder->worst = result;
    } else if (status == 200 &&
               strncmp(cli_json_text(branch, "state"), holder->state, strlen(holder->state)) == 0) {
        holder->count++;
        snprintf(holder->name, sizeof(holder->name), "%s", peer->name);
        snprintf(holder->url, sizeof(holder->url), "%s", peer->url);
    }
    api_json_free(branch);
    tpc_buf_done(&path);
}

/* Exactly one, or words on stderr. */
static enum cli_exit find_holder(struct holder *holder, const char *name, const char *url)
{
    enum cli_exit result = each_peer(holder->remote, name, url, look_for_branch, holder);
    if (result != CLI_OK) {
        return result;
    }
    if (holder->count == 0) {
        fprintf(stderr, "assent: no participant %shas branch %s as %s\n",
                holder->worst != CLI_OK ? "that can be reached " : "", holder->gtid,
                strcmp(holder->state, "prepared") == 0 ? "in doubt" : "ended by hand");
        return holder->worst != CLI_OK ? holder->worst : CLI_ERROR;
    }
    if (holder->count > 1) {
        fprintf(stderr, "assent: %zu participants have branch %s; say which: --participant NAME\n",
                holder->count, holder->gtid);
        return CLI_USAGE;
    }
    return CLI_OK;
}

/* POST to the holder's branch; shows what it answers. */
static enum cli_exit post_to_holder(struct holder *holder, const char *verb,
                                    const struct tpc_buf *body)
{
    struct cli_peer peer = {.what = "participant", .name = holder->name, .url = holder->url};
    struct tpc_buf path = {0};
    struct api_json *answer = NULL;
    int status = 0;
    tpc_buf_adds(&path, "/v1/branches/");
    cli_http_escape(&path, holder->gtid);
    tpc_buf_adds(&path, verb);
    struct cli_request request = {
        .method = "POST", .url = path.data, .body = body->data, .body_size = body->size};
    enum cli_exit result =
        path.failed || body->failed
            ? CLI_ERROR
            : cli_remote_send(holder->remote, &peer, &request, &status, &answer, NULL, false);
    if (result == CLI_OK && (status < 200 || status > 299)) {
        result = cli_complain_problem(&peer, status, answer);
    } else if (result == CLI_OK && holder->remote->call->format != CLI_TABLE && answer != NULL) {
        cli_print_json(holder->remote->call->format, answer);
    } else if (result == CLI_OK) {
        const char *state = cli_json_text(answer, "state");
        printf("%s  %s  ", holder->name, holder->gtid);
        cli_print_state(state[0] != '\0' ? state : "done");
        putchar('\n');
    }
    api_json_free(answer);
    tpc_buf_done(&path);
    return result;
}

/* ---- resolve ---- */

enum {
    RESOLVE_COMMIT,
    RESOLVE_ABORT,
    RESOLVE_REASON,
    RESOLVE_OPERATOR,
    RESOLVE_PARTICIPANT,
    RESOLVE_AGENT,
    RESOLVE_FORCE
};

/* An operator who goes against a decision that is known makes the databases differ. Silence of the
 * coordinator is no objection: that is what resolving by hand is for. */
static enum cli_exit check_decision(struct cli_remote *remote, const char *gtid,
                                    const char *outcome)
{
    struct cli_peer peer = cli_coordinator(remote);
    struct tpc_buf path = {0};
    struct api_json *txn = NULL;
    int status = 0;
    enum cli_exit result = CLI_OK;
    tpc_buf_adds(&path, "/v1/transactions/");
    cli_http_escape(&path, gtid);
    struct cli_request request = {.method = "GET", .url = path.data, .timeout_ms = 5000};
    if (!path.failed &&
        cli_remote_send(remote, &peer, &request, &status, &txn, NULL, true) == CLI_OK &&
        status == 200) {
        const char *decided = cli_json_text(txn, "outcome");
        if (decided[0] != '\0' && strcmp(decided, outcome) != 0) {
            fprintf(stderr,
                    "assent: the coordinator decided %s, and the branch will end so by itself.\n"
                    "To %s it makes the databases differ; --force does it all the same.\n",
                    decided, outcome);
            result = CLI_ERROR;
        }
    }
    api_json_free(txn);
    tpc_buf_done(&path);
    return result;
}

static enum cli_exit run_resolve(const struct cli_call *call)
{
    char name[256];
    bool commit = call->values[RESOLVE_COMMIT] != NULL;
    const char *outcome = commit ? "commit" : "abort";
    const char *reason = call->values[RESOLVE_REASON];
    if (commit == (call->values[RESOLVE_ABORT] != NULL)) {
        fputs("assent: say one of --commit and --abort\n", stderr);
        return CLI_USAGE;
    }
    if (reason == NULL || reason[0] == '\0') {
        fputs("assent: --reason TEXT is missing; it is kept with the outcome\n", stderr);
        return CLI_USAGE;
    }
    struct cli_remote remote;
    enum cli_exit result = cli_remote_init(&remote, call);
    if (result != CLI_OK) {
        return result;
    }
    struct holder holder = {.remote = &remote, .gtid = call->words[0], .state = "prepared"};
    struct tpc_buf body = {0};
    result = find_holder(&holder, call->values[RESOLVE_PARTICIPANT], call->values[RESOLVE_AGENT]);
    if (result == CLI_OK && call->values[RESOLVE_FORCE] == NULL) {
        result = check_decision(&remote, holder.gtid, outcome);
    }
    if (result == CLI_OK) {
        api_jw_open(&body, '{');
        api_jw_key(&body, "outcome");
        api_jw_str(&body, outcome);
        api_jw_key(&body, "reason");
        api_jw_str(&body, reason);
        api_jw_key(&body, "operator");
        api_jw_str(&body, cli_args_operator(call->values[RESOLVE_OPERATOR], name, sizeof(name)));
        api_jw_close(&body, '}');
        result = post_to_holder(&holder, "/resolve", &body);
    }
    tpc_buf_done(&body);
    cli_remote_done(&remote);
    return result;
}

static const struct cli_flag resolve_flags[] = {
    [RESOLVE_COMMIT] = {"commit", NULL, "make the branch's work last", 0},
    [RESOLVE_ABORT] = {"abort", NULL, "undo it", 0},
    [RESOLVE_REASON] = {"reason", "TEXT", "why; required, and kept", 0},
    [RESOLVE_OPERATOR] = {"operator", "NAME", "who (USER@host)", 0},
    [RESOLVE_PARTICIPANT] = {"participant", "NAME", "where, when several hold it", 0},
    [RESOLVE_AGENT] = {"agent", "URL", "ask this one, without the coordinator", 0},
    [RESOLVE_FORCE] = {"force", NULL, "even against a decision that is known", 0},
    {NULL, NULL, NULL, 0},
};

const struct cli_command cli_branch_resolve = {
    .group = "branch",
    .name = "resolve",
    .words = "GTID",
    .words_min = 1,
    .words_max = 1,
    .summary = "end a branch in doubt by hand",
    .detail = "For when its coordinator is lost for good, or its locks cannot wait. If the\n"
              "decision was, or will be, another one, the databases differ from then on: that is\n"
              "a hazard, shown until it is forgotten by name.\n",
    .flags = resolve_flags,
    .run = run_resolve,
};

/* ---- forget ---- */

enum { FORGET_PARTICIPANT, FORGET_AGENT };

static enum cli_exit run_forget(const struct cli_call *call)
{
    struct cli_remote remote;
    enum cli_exit result = cli_remote_init(&remote, call);
    if (result != CLI_OK) {
        return result;
    }
    struct holder holder = {.remote = &remote, .gtid = call->words[0], .state = "heuristic_"};
    struct tpc_buf body = {0};
    result = find_holder(&holder, call->values[FORGET_PARTICIPANT], call->values[FORGET_AGENT]);
    if (result == CLI_OK) {
        result = post_to_holder(&holder, "/forget", &body);
    }
    cli_remote_done(&remote);
    return result;
}

static const struct cli_flag forget_flags[] = {
    [FORGET_PARTICIPANT] = {"participant", "NAME", "where, when several hold it", 0},
    [FORGET_AGENT] = {"agent", "URL", "ask this one, without the coordinator", 0},
    {NULL, NULL, NULL, 0},
};

const struct cli_command cli_branch_forget = {
    .group = "branch",
    .name = "forget",
    .words = "GTID",
    .words_min = 1,
    .words_max = 1,
    .summary = "forget a branch that was ended by hand",
    .detail = "Once the databases were brought in line again, where they had to be.\n",
    .flags = forget_flags,
    .run = run_forget,
};
