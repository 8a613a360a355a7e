#include "cli/args.h"
#include "cli/check.h"
#include "cli/out.h"

#include <string.h>
#include <time.h>

enum { CHECK_WAIT };

static const char *const verdict_words[] = {
    [CHECK_DISAGREES] = "disagrees",
    [CHECK_IN_DOUBT] = "in doubt",
    [CHECK_UNREACHABLE] = "unreachable",
    [CHECK_AGREES] = "agrees",
};

static const enum cli_exit verdict_exits[] = {
    [CHECK_DISAGREES] = CLI_ERROR,
    [CHECK_IN_DOUBT] = CLI_IN_DOUBT,
    [CHECK_UNREACHABLE] = CLI_UNREACHABLE,
    [CHECK_AGREES] = CLI_OK,
};

static const char *outcome_word(bool commit)
{
    return commit ? "committed" : "aborted";
}

/* ---- For people ---- */

static void print_participants(const struct check *check)
{
    static const char *const names[] = {"PARTICIPANT", "STATE",     "COMPARED",
                                        "IN DOUBT",    "HEURISTIC", "DISAGREE"};
    struct cli_table table;
    cli_table_begin(&table, 6, names);
    for (size_t i = 0; i < check->participant_count; i++) {
        const struct check_participant *p = &check->participants[i];
        cli_table_add(&table, p->name);
        cli_table_add(&table, p->reachable ? "reachable" : "unreachable");
        cli_table_addf(&table, "%zu", p->compared);
        cli_table_addf(&table, "%zu", p->in_doubt);
        cli_table_addf(&table, "%zu", p->heuristic);
        cli_table_addf(&table, "%zu", p->disagree);
    }
    cli_table_print(&table);
    cli_table_done(&table);
}

static size_t shown_count(const struct check *check)
{
    return check->disagreements < CHECK_SHOWN_MAX ? check->disagreements : CHECK_SHOWN_MAX;
}

static void print_disagreements(const struct check *check)
{
    static const char *const names[] = {"GTID", "DECIDED", "PARTICIPANT", "HAS IT"};
    struct cli_table table;
    char text[TPC_ID_TEXT];
    if (check->disagreements == 0) {
        return;
    }
    cli_table_begin(&table, 4, names);
    for (size_t i = 0; i < shown_count(check); i++) {
        const struct check_disagreement *d = &check->shown[i];
        cli_table_add(&table, tpc_id_format(&d->gtid, text));
        cli_table_add(&table, outcome_word(d->commit));
        cli_table_add(&table, check->participants[d->participant].name);
        cli_table_add(&table, d->state);
    }
    putchar('\n');
    cli_table_print(&table);
    cli_table_done(&table);
    if (check->disagreements > CHECK_SHOWN_MAX) {
        printf("and %zu more\n", check->disagreements - CHECK_SHOWN_MAX);
    }
}

static void print_verdict(const struct check *check, enum check_verdict verdict)
{
    putchar('\n');
    cli_print_state(verdict_words[verdict]);
    printf(": %zu committed, %zu aborted, %zu participant%s", check->committed, check->aborted,
           check->participant_count, check->participant_count == 1 ? "" : "s");
    if (check->not_ended > 0) {
        printf(", %zu not ended", check->not_ended);
    }
    if (check->hazards > 0) {
        printf(", %zu hazard%s", check->hazards, check->hazards == 1 ? "" : "s");
    }
    if (check->forgotten > 0) {
        printf(", %zu forgotten hazard%s", check->forgotten, check->forgotten == 1 ? "" : "s");
    }
    if (check->unregistered > 0) {
        printf(", %zu branches at participants that are not registered any more",
               check->unregistered);
    }
    putchar('\n');
}

/* ---- For programs ---- */

static void add_count(struct tpc_buf *json, const char *name, size_t count)
{
    api_jw_key(json, name);
    api_jw_u64(json, count);
}

static void add_text(struct tpc_buf *json, const char *name, const char *text)
{
    api_jw_key(json, name);
    api_jw_str(json, text);
}

static void add_participants(struct tpc_buf *json, const struct check *check)
{
    api_jw_key(json, "participants");
    api_jw_open(json, '[');
    for (size_t i = 0; i < check->participant_count; i++) {
        const struct check_participant *p = &check->participants[i];
        api_jw_open(json, '{');
        add_text(json, "name", p->name);
        add_text(json, "url", p->url);
        api_jw_key(json, "reachable");
        api_jw_bool(json, p->reachable);
        add_count(json, "compared", p->compared);
        add_count(json, "in_doubt", p->in_doubt);
        add_count(json, "heuristic", p->heuristic);
        add_count(json, "disagree", p->disagree);
        api_jw_close(json, '}');
    }
    api_jw_close(json, ']');
}

static void add_disagreements(struct tpc_buf *json, const struct check *check)
{
    char text[TPC_ID_TEXT];
    add_count(json, "disagreement_count", check->disagreements);
    api_jw_key(json, "disagreements");
    api_jw_open(json, '[');
    for (size_t i = 0; i < shown_count(check); i++) {
        const struct check_disagreement *d = &check->shown[i];
        api_jw_open(json, '{');
        add_text(json, "gtid", tpc_id_format(&d->gtid, text));
        add_text(json, "decided", outcome_word(d->commit));
        add_text(json, "participant", check->participants[d->participant].name);
        add_text(json, "state", d->state);
        api_jw_close(json, '}');
    }
    api_jw_close(json, ']');
}

static void print_report(const struct check *check, enum check_verdict verdict,
                         enum cli_format format)
{
    struct tpc_buf json = {0};
    struct api_json *parsed = NULL;
    api_jw_open(&json, '{');
    add_text(&json, "verdict", verdict_words[verdict]);
    api_jw_key(&json, "transactions");
    api_jw_open(&json, '{');
    add_count(&json, "committed", check->committed);
    add_count(&json, "aborted", check->aborted);
    add_count(&json, "not_ended", check->not_ended);
    add_count(&json, "hazards", check->hazards);
    api_jw_close(&json, '}');
    add_count(&json, "forgotten_branches", check->forgotten);
    add_count(&json, "unregistered_branches", check->unregistered);
    add_participants(&json, check);
    add_disagreements(&json, check);
    api_jw_close(&json, '}');
    if (!json.failed && api_json_parse(json.data, json.size, &parsed, NULL) == TPC_OK) {
        cli_print_json(format, parsed);
    }
    api_json_free(parsed);
    tpc_buf_done(&json);
}

/* ---- The command ---- */

static enum cli_exit check_once(struct cli_remote *remote, bool last, enum check_verdict *ret)
{
    struct check check;
    enum cli_exit result = cli_check_gather(&check, remote);
    if (result == CLI_OK) {
        *ret = cli_check_verdict(&check);
        bool settled = *ret == CHECK_AGREES || *ret == CHECK_DISAGREES;
        if ((settled || last) && remote->call->format != CLI_TABLE) {
            print_report(&check, *ret, remote->call->format);
        } else if (settled || last) {
            print_participants(&check);
            print_disagreements(&check);
            print_verdict(&check, *ret);
        }
    }
    cli_check_done(&check);
    return result;
}

static enum cli_exit run(const struct cli_call *call)
{
    static const struct timespec pause = {.tv_nsec = 200000000};
    unsigned long wait_ms = 0;
    struct timespec now, begin;
    struct cli_remote remote;
    if (call->values[CHECK_WAIT] != NULL &&
        !cli_args_duration("wait", call->values[CHECK_WAIT], &wait_ms)) {
        return CLI_USAGE;
    }
    enum cli_exit result = cli_remote_init(&remote, call);
    if (result != CLI_OK) {
        return result;
    }
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (bool last = false, again = true; again;) {
        enum check_verdict verdict = CHECK_AGREES;
        clock_gettime(CLOCK_MONOTONIC, &now);
        last = (double)(now.tv_sec - begin.tv_sec) * 1e3 +
                   (double)(now.tv_nsec - begin.tv_nsec) / 1e6 >=
               (double)wait_ms;
        result = check_once(&remote, last, &verdict);
        again = result == CLI_OK && !last &&
                (verdict == CHECK_IN_DOUBT || verdict == CHECK_UNREACHABLE);
        if (again) {
            nanosleep(&pause, NULL);
        } else if (result == CLI_OK) {
            result = verdict_exits[verdict];
        }
    }
    cli_remote_done(&remote);
    return result;
}

static const struct cli_flag flags[] = {
    [CHECK_WAIT] = {"wait", "TIME", "give what is in doubt so long to end (0s)", 0},
    {NULL, NULL, NULL, 0},
};

const struct cli_command cli_check = {
    .name = "check",
    .summary = "do the logs and the databases agree?",
    .detail =
        "Compares every transaction in the coordinator's log with what each participant says\n"
        "of its branch, but for branches whose hazard was forgotten (`assent tx forget`).\n\n"
        "Ends with 0 when all agree and nothing is open; 1 when a participant holds another\n"
        "outcome than was decided; 4 when something is in doubt, has not ended, was ended by\n"
        "hand or is a hazard; 5 when somebody cannot be asked.\n",
    .flags = flags,
    .run = run,
};
