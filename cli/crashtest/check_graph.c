#include "cli/crashtest/check_graph.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

void cli_graph_add(struct cli_graph *graph, const struct cli_edge *edge)
{
    size_t count = graph->edge_count;
    if (count == 0 || (count & (count - 1)) == 0) {
        graph->edges =
            tpc_must_realloc(graph->edges, (count == 0 ? 1 : 2 * count) * sizeof(*graph->edges));
    }
    graph->edges[graph->edge_count++] = *edge;
}

/* Counting sort by from. */
void cli_graph_finish(struct cli_graph *graph)
{
    struct cli_edge *sorted = tpc_must_calloc(graph->edge_count + 1, sizeof(*sorted));
    size_t *next = tpc_must_calloc(graph->node_count + 1, sizeof(*next));
    graph->first = tpc_must_calloc(graph->node_count + 1, sizeof(*graph->first));
    for (size_t i = 0; i < graph->edge_count; i++) {
        graph->first[graph->edges[i].from + 1]++;
    }
    for (size_t i = 0; i < graph->node_count; i++) {
        graph->first[i + 1] += graph->first[i];
        next[i] = graph->first[i];
    }
    for (size_t i = 0; i < graph->edge_count; i++) {
        sorted[next[graph->edges[i].from]++] = graph->edges[i];
    }
    free(graph->edges);
    free(next);
    graph->edges = sorted;
}

void cli_graph_done(struct cli_graph *graph)
{
    free(graph->edges);
    free(graph->first);
    *graph = (struct cli_graph){0};
}

/* ---- Components ---- */

struct visit {
    size_t node, edge; /* the next of its edges */
};

struct tarjan {
    const struct cli_graph *graph;
    unsigned kinds;
    size_t *index, *low;  /* index 0: not visited */
    size_t *open;         /* stack of nodes whose component is not known */
    struct visit *visits; /* stack in place of the recursion */
    size_t open_count, visit_count, last_index, component_count;
    size_t *components; /* SIZE_MAX: not known */
};

static void enter(struct tarjan *tarjan, size_t node)
{
    tarjan->index[node] = tarjan->low[node] = ++tarjan->last_index;
    tarjan->open[tarjan->open_count++] = node;
    tarjan->visits[tarjan->visit_count++] =
        (struct visit){.node = node, .edge = tarjan->graph->first[node]};
}

static void leave(struct tarjan *tarjan)
{
    size_t node = tarjan->visits[--tarjan->visit_count].node;
    if (tarjan->low[node] == tarjan->index[node]) {
        size_t member;
        do {
            member = tarjan->open[--tarjan->open_count];
            tarjan->components[member] = tarjan->component_count;
        } while (member != node);
        tarjan->component_count++;
    }
    if (tarjan->visit_count > 0) {
        size_t parent = tarjan->visits[tarjan->visit_count - 1].node;
        if (tarjan->low[node] < tarjan->low[parent]) {
            tarjan->low[parent] = tarjan->low[node];
        }
    }
}

static void go_on(struct tarjan *tarjan)
{
    struct visit *visit = &tarjan->visits[tarjan->visit_count - 1];
    if (visit->edge == tarjan->graph->first[visit->node + 1]) {
        leave(tarjan);
        return;
    }
    const struct cli_edge *edge = &tarjan->graph->edges[visit->edge++];
    if ((edge->kind & tarjan->kinds) == 0) {
        return;
    }
    if (tarjan->index[edge->to] == 0) {
        enter(tarjan, edge->to);
    } else if (tarjan->components[edge->to] == SIZE_MAX &&
               tarjan->index[edge->to] < tarjan->low[edge->from]) {
        tarjan->low[edge->from] = tarjan->index[edge->to];
    }
}

size_t cli_graph_components(const struct cli_graph *graph, unsigned kinds, size_t *ret_components)
{
    size_t count = graph->node_count;
    struct tarjan tarjan = {.graph = graph, .kinds = kinds, .components = ret_components};
    tarjan.index = tpc_must_calloc(count + 1, sizeof(size_t));
    tarjan.low = tpc_must_calloc(count + 1, sizeof(size_t));
    tarjan.open = tpc_must_calloc(count + 1, sizeof(size_t));
    tarjan.visits = tpc_must_calloc(count + 1, sizeof(*tarjan.visits));
    for (size_t i = 0; i < count; i++) {
        ret_components[i] = SIZE_MAX;
    }
    for (size_t i = 0; i < count; i++) {
        if (tarjan.index[i] == 0) {
            enter(&tarjan, i);
        }
        while (tarjan.visit_count > 0) {
            go_on(&tarjan);
        }
    }
    free(tarjan.index);
    free(tarjan.low);
    free(tarjan.open);
    free(tarjan.visits);
    return tarjan.component_count;
}

/* ---- Ways ---- */

void cli_search_init(struct cli_search *search, const struct cli_graph *graph)
{
    *search = (struct cli_search){.graph = graph};
    search->seen = tpc_must_calloc(graph->node_count + 1, sizeof(size_t));
    search->edge = tpc_must_calloc(graph->node_count + 1, sizeof(size_t));
    search->queue = tpc_must_calloc(graph->node_count + 1, sizeof(size_t));
}

void cli_search_done(struct cli_search *search)
{
    free(search->seen);
    free(search->edge);
    free(search->queue);
    *search = (struct cli_search){0};
}

/* Back from @to; counts first, so that the edges can be written in their order. */
static size_t trace(const struct cli_search *search, size_t from, size_t to, size_t *ret_edges)
{
    const struct cli_edge *edges = search->graph->edges;
    size_t length = 0;
    for (size_t at = to; at != from; at = edges[search->edge[at]].from) {
        length++;
    }
    size_t left = length;
    for (size_t at = to; at != from; at = edges[search->edge[at]].from) {
        ret_edges[--left] = search->edge[at];
    }
    return length;
}

size_t cli_search_path(struct cli_search *search, unsigned kinds, const size_t *components,
                       size_t from, size_t to, size_t length_max, size_t *ret_edges)
{
    const struct cli_graph *graph = search->graph;
    size_t count = 0, depth = 0, depth_end = 1;
    search->number++;
    search->seen[from] = search->number;
    search->queue[count++] = from;
    for (size_t i = 0; i < count; i++) {
        if (i == depth_end) {
            depth++;
            depth_end = count;
        }
        if (depth + 1 >= length_max) {
            return 0;
        }
        size_t node = search->queue[i];
        for (size_t e = graph->first[node]; e < graph->first[node + 1]; e++) {
            const struct cli_edge *edge = &graph->edges[e];
            search->steps++;
            if ((edge->kind & kinds) == 0 || search->seen[edge->to] == search->number ||
                (components != NULL && components[edge->to] != components[from])) {
                continue;
            }
            search->seen[edge->to] = search->number;
            search->edge[edge->to] = e;
            if (edge->to == to) {
                return trace(search, from, to, ret_edges);
            }
            search->queue[count++] = edge->to;
        }
    }
    return 0;
}
