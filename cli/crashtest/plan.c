#include "cli/crashtest/plan.h"

#include "base/memory.h"
#include "base/suggest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRIES = 3, MESSAGE_TRIES = 2, STOPS = 2, STOPS_FULL = 8, STOP_EVERY = 7 };

static const char *const row_names[CLI_ROW_FAULTS] = {"nothing", "kill", "recovery", "server",
                                                      "stop"};
static const char *const row_texts[CLI_ROW_FAULTS] = {
    "a run without a fault", "SIGKILL at a failpoint", "SIGKILL again in the recovery from one",
    "SIGKILL of the database server of an agent that is at a failpoint",
    "SIGSTOP past the time-outs, then SIGCONT"};

const char *cli_row_name(unsigned row)
{
    return row < CLI_ROW_FAULTS ? row_names[row]
                                : cli_fault_name((enum cli_fault)(row - CLI_ROW_FAULTS));
}

const char *cli_row_text(unsigned row)
{
    return row < CLI_ROW_FAULTS ? row_texts[row]
                                : cli_fault_text((enum cli_fault)(row - CLI_ROW_FAULTS));
}

/* ---- The choice ---- */

static unsigned rows_of(const char *word, size_t size)
{
    if (size == 7 && memcmp(word, "network", 7) == 0) {
        return CLI_ROWS_ALL & ~((1U << CLI_ROW_FAULTS) - 1);
    }
    for (unsigned row = 0; row < CLI_ROW_COUNT; row++) {
        if (strlen(cli_row_name(row)) == size && memcmp(cli_row_name(row), word, size) == 0) {
            return 1U << row;
        }
    }
    return 0;
}

static void complain_of_row(const char *word, size_t size, struct tpc_err *reterr)
{
    struct tpc_suggest suggest;
    tpc_suggest_init(&suggest, word, size);
    tpc_suggest_offer(&suggest, "network");
    for (unsigned row = 0; row < CLI_ROW_COUNT; row++) {
        tpc_suggest_offer(&suggest, cli_row_name(row));
    }
    (void)tpc_fail(reterr, TPC_EINVAL, "--only does not know \"%.*s\"; did you mean \"%s\"?",
                   (int)size, word, suggest.nearest != NULL ? suggest.nearest : "kill");
}

unsigned cli_rows_parse(const char *words, struct tpc_err *reterr)
{
    unsigned rows = 0;
    do {
        size_t size = strcspn(words, ",");
        unsigned more = rows_of(words, size);
        if (more == 0) {
            complain_of_row(words, size, reterr);
            return 0;
        }
        rows |= more;
        words += size;
    } while (*words++ == ',');
    return rows;
}

bool cli_choice_point(struct cli_choice *choice, const char *text)
{
    size_t size = strcspn(text, "+@");
    char *rest = (char *)text + size;
    choice->start = *rest == '@' ? (unsigned)strtoul(rest + 1, &rest, 10) : 0;
    const char *again = *rest == '+' ? rest + 1 : "";
    bool fits = size > 0 && size < sizeof choice->point && strlen(again) < sizeof choice->again &&
                (*rest == '\0' || *rest == '+');
    if (fits) {
        (void)snprintf(choice->point, sizeof choice->point, "%.*s", (int)size, text);
        (void)snprintf(choice->again, sizeof choice->again, "%s", again);
    }
    return fits;
}

bool cli_choice_message(struct cli_choice *choice, const char *text)
{
    size_t size = strcspn(text, ":");
    char *end = "";
    choice->message = cli_message_parse(text, size);
    choice->number = 0;
    if (text[size] == ':') {
        choice->number = (unsigned)strtoul(text + size + 1, &end, 10);
    }
    return choice->message != CLI_MESSAGE_COUNT && *end == '\0' &&
           (text[size] == '\0' || choice->number > 0);
}

bool cli_plan_wants(const struct cli_plan *plan, unsigned row)
{
    return (plan->choice.rows & (1U << row)) != 0;
}

bool cli_plan_wants_messages(const struct cli_plan *plan)
{
    return plan->choice.rows >> CLI_ROW_FAULTS != 0;
}

static const char *node_name(const struct cli_setup *setup, unsigned node)
{
    return node == 0 ? "coordinator" : setup->specs[node - 1].name;
}

static bool is_chosen(const char *choice, const char *name)
{
    return choice == NULL || choice[0] == '\0' || strcmp(choice, name) == 0;
}

/* ---- What was found ---- */

void cli_plan_done(struct cli_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        free(plan->items[i].said);
        cli_hits_done(&plan->items[i].hits);
    }
    free(plan->items);
    free(plan->relapses);
    cli_hits_done(&plan->hits);
    *plan = (struct cli_plan){0};
}

void cli_plan_gather_hits(struct cli_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct cli_hits *hits = &plan->items[i].hits;
        size_t size = sizeof *hits->items, had = plan->hits.count;
        if (plan->items[i].row == CLI_ROW_NOTHING && hits->count > 0) {
            plan->hits.items = tpc_must_realloc(plan->hits.items, (had + hits->count) * size);
            memcpy(plan->hits.items + had, hits->items, hits->count * size);
            plan->hits.count += hits->count;
        }
    }
}

void cli_plan_note_messages(struct cli_plan *plan, unsigned scene_index, struct cli_proxy *proxy)
{
    for (unsigned link = 0; link < CLI_LINK_MEMBERS + plan->setup->spec_count; link++) {
        for (unsigned kind = 0; kind < CLI_MESSAGE_COUNT; kind++) {
            unsigned count = cli_proxy_count(proxy, link, (enum cli_message)kind);
            bool first =
                plan->messages[link][kind] == 0 || scene_index < plan->message_scenes[link][kind];
            if (first && count > 0) {
                plan->messages[link][kind] = count;
                plan->message_scenes[link][kind] = scene_index;
            }
        }
    }
}

static void note_relapse(struct cli_plan *plan, const struct cli_plot *death, const char *point)
{
    plan->relapses =
        tpc_must_realloc(plan->relapses, (plan->relapse_count + 1) * sizeof *plan->relapses);
    struct cli_relapse *relapse = &plan->relapses[plan->relapse_count++];
    *relapse = (struct cli_relapse){.death = *death};
    (void)snprintf(relapse->point, sizeof relapse->point, "%s", point);
}

static void gather_relapses(struct cli_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct cli_injection *item = &plan->items[i];
        for (size_t j = 0; item->row == CLI_ROW_KILL && j < item->hits.count; j++) {
            note_relapse(plan, &item->plot, item->hits.items[j].point);
        }
    }
}

/* ---- What is to be done ---- */

static void add_item(struct cli_plan *plan, unsigned row, const struct cli_plot *plot)
{
    plan->items = tpc_must_realloc(plan->items, (plan->count + 1) * sizeof *plan->items);
    plan->items[plan->count++] = (struct cli_injection){.row = row, .plot = *plot};
}

/* Without the proxy all failpoints are noted, with it the messages. */
void cli_plan_add_dry_runs(struct cli_plan *plan)
{
    bool kills = cli_plan_wants(plan, CLI_ROW_KILL) || cli_plan_wants(plan, CLI_ROW_RECOVERY) ||
                 cli_plan_wants(plan, CLI_ROW_SERVER);
    for (unsigned i = 0; cli_scenes[i].name != NULL; i++) {
        const struct cli_scene *scene = &cli_scenes[i];
        struct cli_plot plot = {.scene = scene, .scene_index = i, .trace = true};
        bool load = strcmp(scene->name, CLI_SCENE_LOAD) == 0;
        bool doubt = strcmp(scene->name, CLI_SCENE_DOUBT) == 0;
        if (!is_chosen(plan->choice.scene, scene->name) || !cli_scene_fits(scene, plan->setup)) {
            continue;
        }
        if (kills || plan->choice.rows == 1U << CLI_ROW_NOTHING ||
            (load && !cli_plan_wants_messages(plan))) {
            add_item(plan, CLI_ROW_NOTHING, &plot);
        }
        plot.trace = false;
        plot.proxied = true;
        if (cli_plan_wants_messages(plan) && (load || doubt)) {
            add_item(plan, CLI_ROW_NOTHING, &plot);
        }
    }
}

static struct cli_plot plot_of(const struct cli_hit *hit, unsigned start)
{
    struct cli_plot plot = {.scene = &cli_scenes[hit->scene],
                            .scene_index = hit->scene,
                            .node = hit->node,
                            .start = start};
    (void)snprintf(plot.point, sizeof plot.point, "%s", hit->point);
    return plot;
}

static bool is_at(const struct cli_hit *hit, unsigned node, const char *point)
{
    return hit->node == node && strcmp(hit->point, point) == 0;
}

/* At its first chance in the first scene; in full: in all scenes, in all starts. */
static void add_kill(struct cli_plan *plan, unsigned node, const char *point)
{
    bool found = false;
    for (size_t i = 0; i < plan->hits.count && (!found || plan->choice.full); i++) {
        const struct cli_hit *hit = &plan->hits.items[i];
        if (!is_at(hit, node, point)) {
            continue;
        }
        found = true;
        unsigned first = plan->choice.start != 0 ? plan->choice.start : hit->first_start;
        unsigned last = plan->choice.full ? hit->last_start : first;
        for (unsigned start = first; start <= last; start++) {
            struct cli_plot plot = plot_of(hit, start);
            (void)snprintf(plot.again, sizeof plot.again, "%s", plan->choice.again);
            add_item(plan, plan->choice.again[0] != '\0' ? CLI_ROW_RECOVERY : CLI_ROW_KILL, &plot);
        }
    }
    if (!found) {
        struct cli_plot plot = {.scene = &cli_scenes[0], .node = node};
        (void)snprintf(plot.point, sizeof plot.point, "%s", point);
        add_item(plan, CLI_ROW_KILL, &plot);
    }
}

/* Agents list the points of all resources, and those that we start ourselves wrap one. What a
 * server holds is prepared before our log says so; MariaDB's proof is in the database, and its
 * record lazy.
 */
static bool is_of_other_resource(const struct cli_plan *plan, unsigned node, const char *point)
{
    enum {
        FILE = 1 << CLI_NO_ENGINE,
        PG = 1 << CLI_ENGINE_POSTGRESQL,
        MARIA = 1 << CLI_ENGINE_MARIADB
    };
    static const struct {
        const char *prefix;
        unsigned engines;
    } all[] = {{"agent.pg.", PG},
               {"agent.maria.", MARIA},
               {"agent.db.", FILE},
               {"agent.prepared.", FILE},
               {"agent.start.prove", FILE | PG},
               {"agent.start.restore", FILE | PG}};
    const struct cli_spec *spec = node > 0 ? &plan->setup->specs[node - 1] : NULL;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strncmp(point, all[i].prefix, strlen(all[i].prefix)) == 0) {
            return spec != NULL && spec->url == NULL && (all[i].engines & 1U << spec->engine) == 0;
        }
    }
    return false;
}

bool cli_plan_is_like_earlier(const struct cli_setup *setup, unsigned node)
{
    for (unsigned i = 1; i < node; i++) {
        const struct cli_spec *spec = &setup->specs[node - 1], *other = &setup->specs[i - 1];
        if (spec->url == NULL && other->url == NULL && spec->engine == other->engine) {
            return true;
        }
    }
    return false;
}

/* At each point that the agent has passed, in the first scene that does. */
void cli_plan_add_servers(struct cli_plan *plan)
{
    for (size_t i = 0; i < plan->hits.count; i++) {
        const struct cli_hit *hit = &plan->hits.items[i];
        bool seen = hit->node == 0 || plan->setup->specs[hit->node - 1].engine == CLI_NO_ENGINE ||
                    !is_chosen(plan->choice.process, node_name(plan->setup, hit->node)) ||
                    !is_chosen(plan->choice.point, hit->point);
        for (size_t j = 0; j < i && !seen && !plan->choice.full; j++) {
            seen = is_at(&plan->hits.items[j], hit->node, hit->point);
        }
        if (!seen) {
            struct cli_plot plot = plot_of(hit, hit->first_start);
            plot.server = true;
            add_item(plan, CLI_ROW_SERVER, &plot);
        }
    }
}

void cli_plan_add_kills(struct cli_plan *plan, unsigned node, const char *names)
{
    if (names == NULL || !is_chosen(plan->choice.process, node_name(plan->setup, node))) {
        return;
    }
    while (*names != '\0') {
        char point[CLI_POINT_MAX];
        size_t size = strcspn(names, "\n");
        (void)snprintf(point, sizeof point, "%.*s", (int)size, names);
        names += size + (names[size] == '\n');
        if (is_chosen(plan->choice.point, point) && !is_of_other_resource(plan, node, point)) {
            add_kill(plan, node, point);
        }
    }
}

void cli_plan_add_stops(struct cli_plan *plan)
{
    unsigned index;
    const struct cli_scene *scene = cli_scene_find(CLI_SCENE_LOAD, &index);
    for (unsigned node = 0; node <= plan->setup->spec_count; node++) {
        const struct cli_spec *spec = node > 0 ? &plan->setup->specs[node - 1] : NULL;
        bool ours = spec == NULL || spec->url == NULL || spec->command != NULL;
        if (!ours || !is_chosen(plan->choice.process, node_name(plan->setup, node))) {
            continue;
        }
        for (unsigned i = 0; i < (plan->choice.full ? STOPS_FULL : STOPS); i++) {
            struct cli_plot plot = {.scene = scene,
                                    .scene_index = index,
                                    .node = node,
                                    .stop = true,
                                    .stop_after = i * STOP_EVERY};
            add_item(plan, CLI_ROW_STOP, &plot);
        }
    }
}

/* Who gets what comes over a link. */
static unsigned receiver(unsigned link)
{
    return link >= CLI_LINK_MEMBERS ? 1 + link - CLI_LINK_MEMBERS : 0;
}

static void add_faults(struct cli_plan *plan, const struct cli_plot *message)
{
    unsigned node = receiver(message->link);
    const struct cli_spec *spec = node > 0 ? &plan->setup->specs[node - 1] : NULL;
    bool ours = spec == NULL || spec->url == NULL || spec->command != NULL;
    for (unsigned fault = 0; fault < CLI_FAULT_COUNT; fault++) {
        bool kills = fault == CLI_FAULT_KILL_BEFORE || fault == CLI_FAULT_KILL_AFTER;
        bool two = fault == CLI_FAULT_REPEAT && message->message == CLI_MESSAGE_POST;
        struct cli_plot plot = *message;
        plot.fault = (enum cli_fault)fault;
        if (cli_plan_wants(plan, CLI_ROW_FAULTS + fault) && (ours || !kills) && !two) {
            add_item(plan, CLI_ROW_FAULTS + fault, &plot);
        }
    }
}

/* The first and one of the last (the very last may not come in the next run), or all. */
static bool is_wanted(const struct cli_plan *plan, unsigned number, unsigned count)
{
    unsigned late = count - count / 4;
    return plan->choice.number != 0 ? number == plan->choice.number
                                    : plan->choice.full || number == 1 || number == late;
}

void cli_plan_add_messages(struct cli_plan *plan)
{
    /* Of our own agents that are alike one is enough. */
    for (unsigned link = 0; link < CLI_LINK_MEMBERS + plan->setup->spec_count; link++) {
        unsigned node = receiver(link);
        bool chosen = is_chosen(plan->choice.process, node_name(plan->setup, node)) &&
                      !(cli_plan_is_like_earlier(plan->setup, node) &&
                        plan->choice.process == NULL && !plan->choice.full);
        for (unsigned kind = 0; chosen && kind < CLI_MESSAGE_COUNT; kind++) {
            unsigned count = plan->messages[link][kind], index = plan->message_scenes[link][kind];
            bool asked_for = plan->choice.message == CLI_MESSAGE_COUNT
                                 ? kind != CLI_MESSAGE_OTHER /* what is not of the protocol */
                                 : plan->choice.message == kind;
            for (unsigned number = 1; number <= count && asked_for; number++) {
                struct cli_plot plot = {.scene = &cli_scenes[index],
                                        .scene_index = index,
                                        .proxied = true,
                                        .node = node,
                                        .link = link,
                                        .message = (enum cli_message)kind,
                                        .number = number};
                if (is_wanted(plan, number, count)) {
                    add_faults(plan, &plot);
                }
            }
        }
    }
}

/* ---- Recovery ---- */

/* Nodes of one program have the same points. */
static bool are_alike(const struct cli_setup *setup, unsigned a, unsigned b)
{
    return a == b ||
           (a > 0 && b > 0 && setup->specs[a - 1].url == NULL && setup->specs[b - 1].url == NULL &&
            setup->specs[a - 1].engine == setup->specs[b - 1].engine);
}

static bool is_first_of_its_point(const struct cli_plan *plan, size_t at)
{
    const struct cli_relapse *relapse = &plan->relapses[at];
    for (size_t i = 0; i < at; i++) {
        if (strcmp(plan->relapses[i].point, relapse->point) == 0 &&
            are_alike(plan->setup, plan->relapses[i].death.node, relapse->death.node)) {
            return false;
        }
    }
    return true;
}

/* The @which-th of the deaths whose recovery passes the point of relapse @first; NULL beyond. */
static const struct cli_relapse *find_relapse(const struct cli_plan *plan, unsigned node,
                                              const char *point, size_t which)
{
    for (size_t i = 0; i < plan->relapse_count; i++) {
        const struct cli_relapse *relapse = &plan->relapses[i];
        if (strcmp(relapse->point, point) == 0 &&
            are_alike(plan->setup, relapse->death.node, node) && which-- == 0) {
            return relapse;
        }
    }
    return NULL;
}

static void add_recovery(struct cli_plan *plan, const struct cli_relapse *relapse)
{
    struct cli_plot plot = relapse->death;
    (void)snprintf(plot.again, sizeof plot.again, "%s", relapse->point);
    add_item(plan, CLI_ROW_RECOVERY, &plot);
}

void cli_plan_add_recoveries(struct cli_plan *plan)
{
    gather_relapses(plan);
    for (size_t i = 0; i < plan->relapse_count; i++) {
        if (plan->choice.full) {
            add_recovery(plan, &plan->relapses[i]);
        } else if (is_first_of_its_point(plan, i)) {
            /* Another death for each, and others with another seed. */
            const struct cli_relapse *first = &plan->relapses[i];
            size_t count = 0;
            while (find_relapse(plan, first->death.node, first->point, count) != NULL) {
                count++;
            }
            add_recovery(plan, find_relapse(plan, first->death.node, first->point,
                                            (plan->setup->seed + plan->count) % count));
        }
    }
}

void cli_plan_shuffle(struct cli_plan *plan, size_t first)
{
    uint64_t random = plan->setup->seed * 2 + 1;
    for (size_t i = plan->count; plan->choice.full && i > first + 1; i--) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        size_t other = first + (size_t)(random >> 33) % (i - first);
        struct cli_injection moved = plan->items[i - 1];
        plan->items[i - 1] = plan->items[other];
        plan->items[other] = moved;
    }
}

bool cli_plan_next_try(const struct cli_plan *plan, const struct cli_injection *item, unsigned try,
                       struct cli_plot *ret_plot)
{
    size_t which = try / TRIES;
    *ret_plot = item->plot;
    if (item->row >= CLI_ROW_FAULTS) { /* fewer messages may have come than in the dry run */
        return try < MESSAGE_TRIES;
    }
    if (which == 0) {
        return item->row != CLI_ROW_STOP || try == 0;
    }
    if (plan->choice.full || item->row == CLI_ROW_STOP || item->row == CLI_ROW_SERVER) {
        return false;
    }
    if (item->row == CLI_ROW_RECOVERY) {
        const struct cli_relapse *other =
            find_relapse(plan, item->plot.node, item->plot.again, which - 1);
        if (other != NULL) {
            *ret_plot = other->death;
            (void)snprintf(ret_plot->again, sizeof ret_plot->again, "%s", item->plot.again);
        }
        return other != NULL;
    }
    for (size_t i = 0; i < plan->hits.count; i++) {
        const struct cli_hit *hit = &plan->hits.items[i];
        if (is_at(hit, item->plot.node, item->plot.point) && which-- == 0) {
            *ret_plot = plot_of(hit, hit->first_start);
            return true;
        }
    }
    return false;
}

/* ---- In words ---- */

void cli_plot_print(const struct cli_setup *setup, unsigned row, const struct cli_plot *plot,
                    struct tpc_buf *out)
{
    tpc_buf_addf(out, "%s", cli_row_name(row));
    if (plot->number > 0) {
        tpc_buf_addf(out, " %s:%u to %s", cli_message_name(plot->message), plot->number,
                     node_name(setup, plot->node));
    } else if (row == CLI_ROW_NOTHING) {
        tpc_buf_addf(out, "%s", plot->proxied ? " through the proxy" : "");
    } else if (plot->stop) {
        tpc_buf_addf(out, " %s after %u", node_name(setup, plot->node), plot->stop_after);
    } else {
        tpc_buf_addf(out, " %s at %s", node_name(setup, plot->node), plot->point);
        if (plot->again[0] != '\0') {
            tpc_buf_addf(out, ", then at %s", plot->again);
        }
    }
    tpc_buf_addf(out, ", scene %s", plot->scene->name);
}

void cli_plot_flags(const struct cli_setup *setup, unsigned row, const struct cli_plot *plot,
                    struct tpc_buf *out)
{
    tpc_buf_addf(out, "--only %s --scene %s", cli_row_name(row), plot->scene->name);
    if (row != CLI_ROW_NOTHING) {
        tpc_buf_addf(out, " --process %s", node_name(setup, plot->node));
    }
    if (plot->number > 0) {
        tpc_buf_addf(out, " --message %s:%u", cli_message_name(plot->message), plot->number);
    } else if (plot->point[0] != '\0') {
        tpc_buf_addf(out, " --point %s", plot->point);
        if (plot->start > 1) {
            tpc_buf_addf(out, "@%u", plot->start);
        }
        tpc_buf_addf(out, "%s%s", plot->again[0] != '\0' ? "+" : "", plot->again);
    }
}
