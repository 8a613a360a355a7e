/* How it is found out: first what every participant holds in doubt; then page by page all
 * transactions of the log, and each participant is asked for the outcome of those that ended. A
 * transaction that ends meanwhile is compared or not, but never wrongly: what ended stays so. One
 * that is forgotten meanwhile is not compared: a participant forgets after the coordinator, so the
 * coordinator is asked once more about what a participant does not know. */
#include "cli/check.h"

#include "cli/out.h"
#include "cli/txn_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum cli_exit no_memory(void)
{
    fputs("assent: out of memory\n", stderr);
    return CLI_ERROR;
}

/* ---- Participants ---- */

static enum cli_exit add_participant(void *arg, const char *name, const char *url,
                                     const struct api_json *entry)
{
    struct check *check = arg;
    (void)entry;
    struct check_participant *more =
        realloc(check->participants, (check->participant_count + 1) * sizeof(*check->participants));
    if (more == NULL) {
        return no_memory();
    }
    check->participants = more;
    struct check_participant *participant = &more[check->participant_count++];
    *participant = (struct check_participant){
        .name = strdup(name),
        .url = strdup(url),
        .batch = malloc(CHECK_BATCH * sizeof(*participant->batch)),
    };
    return participant->name != NULL && participant->url != NULL && participant->batch != NULL
               ? CLI_OK
               : no_memory();
}

static struct cli_peer peer_of(const struct check_participant *participant)
{
    return (struct cli_peer){
        .what = "participant", .name = participant->name, .url = participant->url};
}

static enum cli_exit count_branch(void *arg, const struct api_json *branch)
{
    struct check_participant *participant = arg;
    const char *state = cli_json_text(branch, "state");
    if (strcmp(state, "prepared") == 0) {
        participant->in_doubt++;
    } else if (strncmp(state, "heuristic_", 10) == 0) {
        participant->heuristic++;
    }
    return CLI_OK;
}

/* ---- Comparing ---- */

/* "prepared" is neither: it is in doubt, and counted there. */
static bool contradicts(bool commit, const char *state)
{
    bool committed = strcmp(state, "committed") == 0 || strcmp(state, "heuristic_commit") == 0;
    bool prepared = strcmp(state, "prepared") == 0;
    return !prepared && committed != commit;
}

static void note_disagreement(struct check *check, struct check_participant *participant,
                              const struct check_branch *branch, const char *state)
{
    participant->disagree++;
    if (check->disagreements++ < CHECK_SHOWN_MAX) {
        struct check_disagreement *shown = &check->shown[check->disagreements - 1];
        shown->gtid = branch->gtid;
        shown->participant = (size_t)(participant - check->participants);
        shown->commit = branch->commit;
        snprintf(shown->state, sizeof(shown->state), "%s", state);
    }
}

static const struct api_json *find_gtid(const struct api_json *items, const struct tpc_id *gtid)
{
    for (const struct api_json *i = api_json_first(items); i != NULL; i = api_json_next(i)) {
        struct tpc_id id;
        const char *text = cli_json_text(i, "gtid");
        if (tpc_id_parse(text, strlen(text), &id) && tpc_id_equal(&id, gtid)) {
            return i;
        }
    }
    return NULL;
}

/* A disagreement that is not counted any more needs no question. */
static bool was_forgotten(struct check *check, const struct tpc_id *id)
{
    struct cli_peer coordinator = cli_coordinator(check->remote);
    struct api_json *answer = NULL;
    char path[64], text[TPC_ID_TEXT];
    int status = 0;
    if (check->disagreements >= CHECK_SHOWN_MAX) {
        return false;
    }
    snprintf(path, sizeof(path), "/v1/transactions/%s", tpc_id_format(id, text));
    struct cli_request request = {.method = "GET", .url = path};
    bool forgotten = cli_remote_send(check->remote, &coordinator, &request, &status, &answer, NULL,
                                     false) == CLI_OK &&
                     status == 404;
    api_json_free(answer);
    return forgotten;
}

/* Answers usually come in the order of the question. */
static void compare_batch(struct check *check, struct check_participant *participant,
                          const struct api_json *items)
{
    const struct api_json *next = api_json_first(items);
    for (size_t i = 0; i < participant->batch_count; i++) {
        const struct check_branch *branch = &participant->batch[i];
        struct tpc_id id;
        const char *text = cli_json_text(next, "gtid");
        const struct api_json *item = next;
        if (!tpc_id_parse(text, strlen(text), &id) || !tpc_id_equal(&id, &branch->gtid)) {
            item = find_gtid(items, &branch->gtid);
        }
        /* No answer about a branch is no knowledge of it. */
        const char *state = item != NULL ? cli_json_text(item, "state") : "unknown";
        bool wrong = contradicts(branch->commit, state);
        bool gone = wrong && strcmp(state, "unknown") == 0 && was_forgotten(check, &branch->id);
        participant->compared += !gone;
        if (wrong && !gone) {
            note_disagreement(check, participant, branch, state);
        }
        next = next != NULL ? api_json_next(next) : NULL;
    }
}

static enum cli_exit flush_batch(struct check *check, struct check_participant *participant)
{
    struct cli_peer peer = peer_of(participant);
    struct tpc_buf body = {0};
    struct api_json *answer = NULL;
    int status = 0;
    if (participant->batch_count == 0) {
        return CLI_OK;
    }
    api_jw_open(&body, '{');
    api_jw_key(&body, "gtids");
    api_jw_open(&body, '[');
    for (size_t i = 0; i < participant->batch_count; i++) {
        api_jw_id(&body, &participant->batch[i].gtid);
    }
    api_jw_close(&body, ']');
    api_jw_close(&body, '}');
    struct cli_request request = {
        .method = "POST", .url = "/v1/branches/lookup", .body = body.data, .body_size = body.size};
    enum cli_exit result = body.failed ? no_memory()
                                       : cli_remote_send(check->remote, &peer, &request, &status,
                                                         &answer, NULL, false);
    if (result == CLI_UNREACHABLE) {
        participant->reachable = false;
        result = CLI_OK;
    } else if (result == CLI_OK && status != 200) {
        cli_complain_problem(&peer, status, answer);
        participant->reachable = false;
    } else if (result == CLI_OK) {
        compare_batch(check, participant, api_json_get(answer, "items"));
    }
    participant->batch_count = 0;
    api_json_free(answer);
    tpc_buf_done(&body);
    return result;
}

static enum cli_exit add_branch(struct check *check, const struct api_json *branch,
                                const struct check_branch *what)
{
    const char *name = cli_json_text(branch, "participant");
    /* Who only read has nothing that could disagree. */
    if (strcmp(cli_json_text(branch, "vote"), "read_only") == 0) {
        return CLI_OK;
    }
    const struct api_json *forgotten = api_json_get(branch, "hazard_forgotten");
    if (forgotten != NULL && api_json_bool(forgotten)) {
        check->forgotten++;
        return CLI_OK;
    }
    for (size_t i = 0; i < check->participant_count; i++) {
        struct check_participant *participant = &check->participants[i];
        if (strcmp(participant->name, name) == 0) {
            if (!participant->reachable) {
                return CLI_OK;
            }
            participant->batch[participant->batch_count++] = *what;
            return participant->batch_count == CHECK_BATCH ? flush_batch(check, participant)
                                                           : CLI_OK;
        }
    }
    check->unregistered++;
    return CLI_OK;
}

static void show_progress(const struct check *check)
{
    size_t seen = check->committed + check->aborted;
    if (seen % CHECK_BATCH == 0 && seen > 0 && isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%zu transactions compared\033[K", seen);
    }
}

static enum cli_exit add_txn(void *arg, const struct api_json *txn)
{
    struct check *check = arg;
    struct check_branch what;
    const char *state = cli_json_text(txn, "state"), *id = cli_json_text(txn, "id");
    bool commit = strcmp(state, "committed") == 0;
    check->hazards += cli_txn_has_hazard(txn);
    if (!commit && strcmp(state, "aborted") != 0) {
        check->not_ended++;
        return CLI_OK;
    }
    check->committed += commit;
    check->aborted += !commit;
    show_progress(check);
    /* A transaction that was tried again has an id of its own for each attempt. */
    const char *text = cli_json_text(txn, "gtid");
    text = text[0] != '\0' ? text : id;
    what.commit = commit;
    if (!tpc_id_parse(text, strlen(text), &what.gtid) || !tpc_id_parse(id, strlen(id), &what.id)) {
        fprintf(stderr, "assent: the coordinator lists a transaction without a usable id\n");
        return CLI_ERROR;
    }
    enum cli_exit result = CLI_OK;
    const struct api_json *b = api_json_first(api_json_get(txn, "branches"));
    for (; b != NULL && result == CLI_OK; b = api_json_next(b)) {
        result = add_branch(check, b, &what);
    }
    return result;
}

enum cli_exit cli_check_gather(struct check *check, struct cli_remote *remote)
{
    *check =
        (struct check){.remote = remote, .shown = calloc(CHECK_SHOWN_MAX, sizeof(*check->shown))};
    struct cli_peer coordinator = cli_coordinator(remote);
    enum cli_exit result =
        check->shown != NULL ? cli_each_participant(remote, add_participant, check) : no_memory();
    for (size_t i = 0; i < check->participant_count && result == CLI_OK; i++) {
        struct check_participant *participant = &check->participants[i];
        struct cli_peer peer = peer_of(participant);
        participant->reachable = cli_each_item(remote, &peer, "/v1/branches", SIZE_MAX,
                                               count_branch, participant) == CLI_OK;
    }
    if (result == CLI_OK) {
        result = cli_each_item(remote, &coordinator, "/v1/transactions?limit=1000", SIZE_MAX,
                               add_txn, check);
    }
    for (size_t i = 0; i < check->participant_count && result == CLI_OK; i++) {
        result = flush_batch(check, &check->participants[i]);
    }
    if (check->committed + check->aborted >= CHECK_BATCH && isatty(STDERR_FILENO)) {
        fputs("\r\033[K", stderr);
    }
    return result;
}

enum check_verdict cli_check_verdict(const struct check *check)
{
    bool in_doubt = check->not_ended > 0 || check->hazards > 0;
    bool unreachable = check->unregistered > 0;
    for (size_t i = 0; i < check->participant_count; i++) {
        const struct check_participant *participant = &check->participants[i];
        in_doubt = in_doubt || participant->in_doubt > 0 || participant->heuristic > 0;
        unreachable = unreachable || !participant->reachable;
    }
    return check->disagreements > 0 ? CHECK_DISAGREES
           : in_doubt               ? CHECK_IN_DOUBT
           : unreachable            ? CHECK_UNREACHABLE
                                    : CHECK_AGREES;
}

void cli_check_done(struct check *check)
{
    for (size_t i = 0; i < check->participant_count; i++) {
        free(check->participants[i].name);
        free(check->participants[i].url);
        free(check->participants[i].batch);
    }
    free(check->participants);
    free(check->shown);
}
