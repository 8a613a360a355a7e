/* Circles of transactions.
 *
 * Every list tells who appended after whom (ww), who read what whom had appended (wr), and who
 * appended right after what whom had read (rw: the reader was overtaken). A circle of ww alone is a
 * dirty write (G0), one of ww and wr a circular information flow (G1c): neither can be when every
 * branch's work is done before the decision and no branch shows or gives up its rows before it.
 * With rw there may be circles, for no snapshot spans the databases: they are counted. */
#include "cli/crashtest/check_graph.h"
#include "cli/crashtest/check_index.h"

#include "base/memory.h"

#include <stdlib.h>

enum {
    CIRCLE_MAX = 64,  /* edges; longer ones are told without their steps */
    STARTS_MAX = 256, /* edges of one component from which its shortest circle is looked for */
    COUNTING_STEPS = 20000000, /* after which what is only counted is not looked for any more */
};

struct cycles {
    const struct cli_history *history;
    struct cli_findings *findings;
    struct cli_index index;
    struct cli_graph graph;
    struct cli_search search;
    size_t *components;
};

/* ---- Edges ---- */

static void add_edge(struct cycles *cycles, unsigned kind, size_t from, size_t to,
                     const struct cli_order *order, int64_t before, int64_t after)
{
    if (from != to) {
        cli_graph_add(&cycles->graph,
                      &(struct cli_edge){.from = from,
                                         .to = to,
                                         .kind = kind,
                                         .list = (size_t)(order - cycles->index.orders),
                                         .before = before,
                                         .after = after});
    }
}

static void add_writes(struct cycles *cycles, const struct cli_order *order)
{
    for (size_t i = 1; i < order->count; i++) {
        const struct cli_append *before = order->appends[i - 1], *after = order->appends[i];
        if (before != NULL && after != NULL) {
            add_edge(cycles, CLI_WW, before->txn, after->txn, order, before->value, after->value);
        }
    }
}

static void add_read(struct cycles *cycles, size_t txn, const struct cli_op *op)
{
    const struct cli_order *order = cli_index_order(&cycles->index, op->member, op->key);
    int64_t last = op->count > 0 ? op->values[op->count - 1] : 0;
    const struct cli_append *writer = op->count > 0 ? cli_index_append(&cycles->index, last) : NULL;
    if (writer != NULL && &cycles->index.orders[writer->list] == order) {
        add_edge(cycles, CLI_WR, writer->txn, txn, order, last, 0);
    }
    if (cli_order_has_prefix(order, op) && op->count < order->count &&
        order->appends[op->count] != NULL) {
        add_edge(cycles, CLI_RW, txn, order->appends[op->count]->txn, order, last,
                 order->values[op->count]);
    }
}

static void add_edges(struct cycles *cycles)
{
    for (size_t i = 0; i < cycles->index.order_count; i++) {
        add_writes(cycles, &cycles->index.orders[i]);
    }
    for (size_t i = 0; i < cycles->history->count; i++) {
        const struct cli_txn *txn = &cycles->history->txns[i];
        for (size_t j = 0; j < txn->op_count; j++) {
            if (txn->ops[j].kind == CLI_OP_READ && txn->ops[j].seen) {
                add_read(cycles, i, &txn->ops[j]);
            }
        }
    }
    cli_graph_finish(&cycles->graph);
}

/* ---- Words ---- */

static void tell_edge(const struct cycles *cycles, const struct cli_edge *edge, struct tpc_buf *out)
{
    const struct cli_order *order = &cycles->index.orders[edge->list];
    const char *from = cycles->history->txns[edge->from].name;
    const char *to = cycles->history->txns[edge->to].name;
    const char *member = cycles->history->members[order->member];
    long long key = (long long)order->key;
    switch (edge->kind) {
    case CLI_WW:
        tpc_buf_addf(out, "%s appended %lld right after %s appended %lld (ww, list %lld at %s)", to,
                     (long long)edge->after, from, (long long)edge->before, key, member);
        break;
    case CLI_WR:
        tpc_buf_addf(out, "%s read up to %lld of %s (wr, list %lld at %s)", to,
                     (long long)edge->before, from, key, member);
        break;
    default:
        tpc_buf_addf(out, "%s read up to %lld, before %s appended %lld (rw, list %lld at %s)", from,
                     (long long)edge->before, to, (long long)edge->after, key, member);
        break;
    }
}

static void tell(struct cycles *cycles, enum cli_anomaly anomaly, const size_t *edges, size_t count)
{
    struct tpc_buf words = {0};
    if (cycles->findings->counts[anomaly] >= CLI_FINDINGS_KEPT) {
        count = 0; /* counted alone */
    }
    for (size_t i = 0; i < count; i++) {
        const struct cli_edge *edge = &cycles->graph.edges[edges[i]];
        tpc_buf_addf(&words, "%s -> ", cycles->history->txns[edge->from].name);
    }
    tpc_buf_addf(&words, "%s", cycles->history->txns[cycles->graph.edges[edges[0]].from].name);
    for (size_t i = 0; i < count; i++) {
        tpc_buf_adds(&words, i == 0 ? ": " : "; ");
        tell_edge(cycles, &cycles->graph.edges[edges[i]], &words);
    }
    cli_find(cycles->findings, anomaly, "%s", words.data != NULL ? words.data : "");
    tpc_buf_done(&words);
}

/* ---- Circles ---- */

/* The shortest circle that begins with @edge and goes on over @kinds, of less than @length_max
 * edges; 0: none. */
static size_t circle_from(struct cycles *cycles, size_t edge, unsigned kinds, size_t length_max,
                          size_t *ret_edges)
{
    const struct cli_edge *start = &cycles->graph.edges[edge];
    ret_edges[0] = edge;
    size_t rest = cli_search_path(&cycles->search, kinds, cycles->components, start->to,
                                  start->from, length_max - 1, ret_edges + 1);
    return rest > 0 ? rest + 1 : 0;
}

/* Of one component: the best circle so far. */
struct best {
    size_t length; /* 0: none */
    unsigned starts;
    bool through; /* there is an edge of the kind that it must have */
    size_t edges[CIRCLE_MAX];
};

/* In the graph of edges of @kinds, tell of the shortest circle of each component that has an edge
 * of the kind @through inside (such an edge is always part of a circle). */
static void find_circles(struct cycles *cycles, unsigned kinds, unsigned through,
                         enum cli_anomaly anomaly)
{
    struct cli_graph *graph = &cycles->graph;
    size_t count = cli_graph_components(graph, kinds, cycles->components);
    struct best *best = NULL;
    size_t *slots = tpc_must_calloc(count + 1, sizeof(*slots)); /* 1 + index in best */
    size_t best_count = 0;
    for (size_t i = 0; i < graph->edge_count; i++) {
        const struct cli_edge *edge = &graph->edges[i];
        size_t component = cycles->components[edge->from];
        size_t edges[CIRCLE_MAX];
        if (edge->kind != through || component != cycles->components[edge->to]) {
            continue;
        }
        if (slots[component] == 0) {
            best = tpc_must_realloc(best, (best_count + 1) * sizeof(*best));
            best[best_count] = (struct best){0};
            slots[component] = ++best_count;
        }
        struct best *mine = &best[slots[component] - 1];
        size_t length_max = mine->length > 0 ? mine->length : CIRCLE_MAX + 1;
        if (mine->length == 2 || mine->starts++ >= STARTS_MAX) {
            continue;
        }
        size_t length = circle_from(cycles, i, kinds, length_max, edges);
        if (length > 0) {
            mine->length = length;
            for (size_t j = 0; j < length; j++) {
                mine->edges[j] = edges[j];
            }
        }
    }
    for (size_t i = 0; i < best_count; i++) {
        if (best[i].length > 0) {
            tell(cycles, anomaly, best[i].edges, best[i].length);
        } else {
            cli_find(cycles->findings, anomaly, "a circle of more than %d transactions",
                     CIRCLE_MAX);
        }
    }
    free(best);
    free(slots);
}

/* Circles with rw: with a single one when the rest of the way needs none. */
static void count_circles(struct cycles *cycles)
{
    struct cli_graph *graph = &cycles->graph;
    (void)cli_graph_components(graph, CLI_WW | CLI_WR | CLI_RW, cycles->components);
    for (size_t i = 0; i < graph->edge_count && cycles->search.steps < COUNTING_STEPS; i++) {
        const struct cli_edge *edge = &graph->edges[i];
        size_t edges[CIRCLE_MAX];
        if (edge->kind != CLI_RW ||
            cycles->components[edge->from] != cycles->components[edge->to]) {
            continue;
        }
        size_t length = circle_from(cycles, i, CLI_WW | CLI_WR, CIRCLE_MAX + 1, edges);
        enum cli_anomaly anomaly = length > 0 ? CLI_SINGLE : CLI_SKEW;
        if (length == 0) {
            length = circle_from(cycles, i, CLI_WW | CLI_WR | CLI_RW, CIRCLE_MAX + 1, edges);
        }
        if (length > 0) {
            tell(cycles, anomaly, edges, length);
        }
    }
}

void cli_check_cycles(const struct cli_history *history, struct cli_findings *findings)
{
    struct cycles cycles = {
        .history = history, .findings = findings, .graph = {.node_count = history->count}};
    cli_index_init(&cycles.index, history);
    add_edges(&cycles);
    cli_search_init(&cycles.search, &cycles.graph);
    cycles.components = tpc_must_calloc(history->count + 1, sizeof(size_t));
    find_circles(&cycles, CLI_WW, CLI_WW, CLI_DIRTY_WRITE);
    find_circles(&cycles, CLI_WW | CLI_WR, CLI_WR, CLI_CIRCULAR);
    cycles.search.steps = 0;
    count_circles(&cycles);
    free(cycles.components);
    cli_search_done(&cycles.search);
    cli_graph_done(&cycles.graph);
    cli_index_done(&cycles.index);
}
