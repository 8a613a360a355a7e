/* A directed graph of transactions, its strongly connected components and its shortest ways. */
#ifndef ASSENT_CLI_CRASHTEST_CHECK_GRAPH_H
#define ASSENT_CLI_CRASHTEST_CHECK_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The kinds of dependency, as bits so that a search may follow some of them. */
enum {
    CLI_WW = 1, /* @to appended right after @from */
    CLI_WR = 2, /* @to read up to what @from appended */
    CLI_RW = 4, /* @to appended right after what @from read */
};

struct cli_edge {
    size_t from, to; /* nodes */
    unsigned kind;
    size_t list;           /* of the index: where it is seen */
    int64_t before, after; /* WW, RW: the two values, 0: the list was empty; WR: before alone */
};

/* Zero-initialise with @node_count. */
struct cli_graph {
    size_t node_count;
    struct cli_edge *edges; /* heap; sorted by from once it is finished */
    size_t edge_count;
    size_t *first; /* heap; of node i: edges first[i] to first[i + 1] - 1 */
};

void cli_graph_add(struct cli_graph *graph, const struct cli_edge *edge);
void cli_graph_finish(struct cli_graph *graph); /* no edge is added afterwards */
void cli_graph_done(struct cli_graph *graph);

/* Number the components of the graph whose edges are of @kinds: R. Tarjan, "Depth-first search and
 * linear graph algorithms" (SIAM J. Comput. 1(2), 1972), without recursion. @ret_components has
 * room for every node. Returns how many there are. */
size_t cli_graph_components(const struct cli_graph *graph, unsigned kinds, size_t *ret_components);

/* For searches of one graph. */
struct cli_search {
    const struct cli_graph *graph;
    size_t *seen;   /* heap; in which search a node was last seen */
    size_t *edge;   /* heap; by which edge it was reached */
    size_t *queue;  /* heap */
    size_t number;  /* of searches */
    uint64_t steps; /* edges looked at, by all searches */
};
void cli_search_init(struct cli_search *search, const struct cli_graph *graph);
void cli_search_done(struct cli_search *search);
/* The shortest way from @from to @to over edges of @kinds between nodes of one component (NULL: any
 * nodes), of less than @length_max edges. Returns its length and writes the edges (indices) to
 * @ret_edges, which has room for that many; 0: there is none. @from and @to differ. */
size_t cli_search_path(struct cli_search *search, unsigned kinds, const size_t *components,
                       size_t from, size_t to, size_t length_max, size_t *ret_edges);

#endif
