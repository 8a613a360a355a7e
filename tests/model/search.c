/* The search goes level by level: the states that are one move further from the beginning than
 * those of the last level are the next one. Several threads share a level, so a state that is
 * reached on two ways of equal length may come to have one or the other for its trace; whatever is
 * counted, and the length of a trace, is the same each time.
 *
 * Whole states are kept only until their turn has come (pile.h), of the others what is in known.h.
 * A trace is told by making the moves again from the start. */
#include "tests/model/search.h"

#include "base/clock.h"
#include "base/tpc_assert.h"
#include "tests/model/known.h"
#include "tests/model/pile.h"
#include "tests/model/reduce.h"
#include "tests/model/step.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS_MAX = 16, PROGRESS_S = 10 };

/* Something that is wrong: after @last, or in @state itself. */
struct finding {
    bool is, has_last;
    unsigned loop; /* what goes on for ever after it */
    uint32_t state;
    struct model_move last;
    char text[256];
};

struct search {
    const struct model_config *config;
    const struct search_options *options;
    size_t packed_size, memory_bytes;
    unsigned worker_count, depth;
    uint64_t began_us, told_us, told_states;
    struct known known;
    pthread_mutex_t mutex;
    struct pile level;      /* under mutex, as are: */
    struct finding finding; /* the first of the level, as its states are sorted */
    _Atomic bool is_out_of_memory;
    _Atomic size_t pile_bytes;
    size_t peak_bytes;
};

struct worker {
    struct search *search;
    unsigned number;
    pthread_t thread; /* not of number 0, which is the caller's */
    struct pile next;
    uint32_t spare;
    uint64_t moves;
};

/* ---- The story ---- */

struct teller {
    const struct search *search;
    struct world world;
    struct model_names names;
    unsigned steps;
};

static void tell_move(struct teller *teller, const struct model_move *move)
{
    const struct model_config *config = teller->search->config;
    FILE *out = teller->search->options->out;
    fprintf(out, "%4u  ", ++teller->steps);
    model_tell(out, &teller->names);
    model_tell_move(config, move);
    (void)step_make(config, &teller->world, move, true, &teller->names);
    model_tell(NULL, NULL);
}

static void tell_path(struct teller *teller, uint32_t state)
{
    const struct known *known = &teller->search->known;
    uint32_t length = 0;
    for (uint32_t at = state; at != 0; at = known->parents[at]) {
        length++;
    }
    uint8_t *path = malloc(length + 1);
    TPC_ASSERT(path != NULL);
    for (uint32_t at = state, i = length; at != 0; at = known->parents[at]) {
        path[--i] = known->moves[at];
    }
    for (uint32_t i = 0; i < length; i++) {
        struct model_moves moves;
        model_moves(teller->search->config, &teller->world, &moves);
        tell_move(teller, &moves.items[path[i]]);
    }
    free(path);
}

static void tell_finding(const struct search *search)
{
    const struct finding *finding = &search->finding;
    fprintf(search->options->out, "model %s: VIOLATION: %s\n", search->config->name, finding->text);
    if (search->options->quiet) {
        return;
    }
    struct teller teller = {.search = search, .names = {{0, 1, 2}, {0, 1}}};
    tell_path(&teller, finding->state);
    if (finding->has_last) {
        tell_move(&teller, &finding->last);
    }
    if (model_wrong() != NULL) {
        fprintf(search->options->out, "      so: %s\n", model_wrong());
    }
    for (unsigned i = 0; i < finding->loop; i++) {
        struct model_moves moves;
        struct model_move move;
        model_moves(search->config, &teller.world, &moves);
        if (model_good_move(search->config, &teller.world, &moves, &move)) {
            tell_move(&teller, &move);
        }
    }
    model_right();
}

/* model_wrong() is what is wrong. Of several the one whose state is sorted first is kept. */
static void note_finding(struct search *search, uint32_t state, const struct model_move *last,
                         unsigned loop)
{
    const struct known_print *prints = search->known.prints;
    struct finding *finding = &search->finding;
    pthread_mutex_lock(&search->mutex);
    if (!finding->is || prints[state].low < prints[finding->state].low) {
        *finding = (struct finding){.is = true, .state = state, .loop = loop};
        if (last != NULL) {
            finding->has_last = true;
            finding->last = *last;
        }
        (void)snprintf(finding->text, sizeof finding->text, "%s", model_wrong());
    }
    pthread_mutex_unlock(&search->mutex);
    model_right();
}

/* ---- One state ---- */

static bool is_same(const struct model_move *one, const struct model_move *other)
{
    return memcmp(one, other, sizeof *one) == 0;
}

static uint32_t remember(struct worker *worker, const struct world *world, uint32_t parent,
                         uint8_t move)
{
    struct search *search = worker->search;
    uint8_t packed[PACKED_MAX];
    bool is_new = false;
    model_pack(search->config, world, packed);
    const struct known_print print = known_fingerprint(packed, search->packed_size);
    uint32_t state = known_add(&search->known, &print, parent, move, &worker->spare, &is_new);
    if (is_new) {
        size_t before = worker->next.bytes;
        pile_put(&worker->next, state, packed);
        atomic_fetch_add(&search->pile_bytes, worker->next.bytes - before);
    }
    return state;
}

static void expand(struct worker *worker, uint32_t state, const uint8_t *packed)
{
    struct search *search = worker->search;
    struct world world, next;
    struct model_moves moves;
    struct model_move good;
    model_unpack(search->config, packed, &world);
    model_moves(search->config, &world, &moves);
    bool goes_on = model_good_move(search->config, &world, &moves, &good);
    uint32_t good_state = KNOWN_NONE;
    for (unsigned i = 0; i < moves.count; i++) {
        bool is_good = goes_on && is_same(&good, &moves.items[i]);
        next = world;
        bool more = step_make(search->config, &next, &moves.items[i], is_good, NULL);
        if (model_wrong() != NULL) {
            note_finding(search, state, &moves.items[i], 0);
            return;
        }
        if (!more && !is_good) {
            continue;
        }
        uint32_t reached = remember(worker, &next, state, (uint8_t)i);
        if (is_good) {
            good_state = reached;
        }
    }
    search->known.good[state] = good_state;
    worker->moves += moves.count;
    if (!goes_on) {
        model_check_end(search->config, &world);
    } else if (good_state == KNOWN_NONE) {
        model_blame("the good move is not one of those that are possible");
    }
    if (model_wrong() != NULL) {
        note_finding(search, state, NULL, 0);
    }
}

/* ---- One level ---- */

static void tell_progress(struct search *search)
{
    uint64_t now_us = tpc_clock_mono_us();
    if (search->options->quiet || now_us - search->told_us < PROGRESS_S * UINT64_C(1000000)) {
        return;
    }
    uint64_t states = atomic_load(&search->known.used);
    size_t pile_bytes = atomic_load(&search->pile_bytes);
    fprintf(stderr,
            "model %s: %.0f s, depth %u, %.2f million states, %.0f a second, %.2f million "
            "waiting, %.0f MiB\n",
            search->config->name, (double)(now_us - search->began_us) / 1e6, search->depth,
            (double)states / 1e6,
            (double)(states - search->told_states) * 1e6 / (double)(now_us - search->told_us),
            (double)(pile_bytes / (search->packed_size + sizeof(uint32_t))) / 1e6,
            (double)(known_bytes(&search->known) + pile_bytes) / (1 << 20));
    search->told_us = now_us;
    search->told_states = states;
}

/* There is room for what comes of one state, and of one at each of the other threads. */
static bool has_room(struct search *search)
{
    const uint32_t more = THREADS_MAX * MOVES_MAX;
    size_t bytes = known_bytes(&search->known) + atomic_load(&search->pile_bytes);
    if (bytes > search->memory_bytes || known_is_full(&search->known, more)) {
        atomic_store(&search->is_out_of_memory, true);
    }
    return !atomic_load(&search->is_out_of_memory) && !known_is_crowded(&search->known);
}

static struct pile_block *next_block(struct search *search)
{
    pthread_mutex_lock(&search->mutex);
    struct pile_block *block = pile_pop(&search->level);
    pthread_mutex_unlock(&search->mutex);
    return block;
}

/* Until the level is done or there is no room. */
static void *work(void *arg)
{
    struct worker *worker = arg;
    struct search *search = worker->search;
    struct pile_block *block = next_block(search);
    while (block != NULL) {
        uint32_t state = 0;
        const uint8_t *packed = NULL;
        if (!has_room(search)) {
            pthread_mutex_lock(&search->mutex);
            pile_push(&search->level, block);
            pthread_mutex_unlock(&search->mutex);
            return NULL;
        }
        if (pile_take(&worker->next, block, &state, &packed)) {
            expand(worker, state, packed);
            continue;
        }
        free(block);
        atomic_fetch_sub(&search->pile_bytes, (size_t)PILE_BLOCK_BYTES);
        block = next_block(search);
        if (worker->number == 0) {
            tell_progress(search);
        }
    }
    return NULL;
}

static void work_together(struct search *search, struct worker *workers)
{
    for (unsigned i = 1; i < search->worker_count; i++) {
        TPC_ASSERT(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    (void)work(&workers[0]);
    for (unsigned i = 1; i < search->worker_count; i++) {
        TPC_ASSERT(pthread_join(workers[i].thread, NULL) == 0);
    }
    size_t bytes = known_bytes(&search->known) + atomic_load(&search->pile_bytes);
    search->peak_bytes = bytes > search->peak_bytes ? bytes : search->peak_bytes;
}

static bool goes_on(const struct search *search)
{
    return !search->finding.is && !search->is_out_of_memory;
}

static void search_levels(struct search *search, struct worker *workers)
{
    while (search->level.first != NULL && goes_on(search)) {
        work_together(search, workers);
        if (known_is_crowded(&search->known) && goes_on(search)) {
            known_grow(&search->known);
        }
        if (search->level.first != NULL) {
            continue;
        }
        for (unsigned i = 0; i < search->worker_count; i++) {
            pile_move(&search->level, &workers[i].next);
        }
        search->depth += search->level.first != NULL;
    }
}

/* ---- From every state the good moves have to come to an end ---- */

static void check_ends(struct search *search)
{
    enum { UNSEEN, ON_PATH, ENDS };
    const struct known *known = &search->known;
    uint8_t *marks = calloc(known->used, 1);
    TPC_ASSERT(marks != NULL);
    for (uint32_t state = 0; state < known->used && !search->finding.is; state++) {
        uint32_t at = known->parents[state] == KNOWN_NONE ? KNOWN_NONE : state;
        while (at != KNOWN_NONE && marks[at] == UNSEEN) {
            marks[at] = ON_PATH;
            at = known->good[at];
        }
        if (at != KNOWN_NONE && marks[at] == ON_PATH) {
            model_blame("nothing goes wrong any more, and it goes on for ever");
            note_finding(search, at, NULL, 40);
        }
        for (at = state; at != KNOWN_NONE && marks[at] == ON_PATH; at = known->good[at]) {
            marks[at] = ENDS;
        }
    }
    free(marks);
}

/* ---- The whole ---- */

static unsigned thread_count(unsigned wanted)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned count = wanted != 0 ? wanted : online > 0 ? (unsigned)online : 1;
    return count < THREADS_MAX ? count : THREADS_MAX;
}

static void open_search(struct search *search, struct worker *workers)
{
    const size_t default_bytes = (size_t)SEARCH_MEMORY_GIB << 30;
    size_t wanted = search->options->memory_bytes;
    search->memory_bytes = wanted != 0 ? wanted : default_bytes;
    search->packed_size = search->level.item_size = model_pack_size(search->config);
    search->worker_count = thread_count(search->options->threads);
    search->began_us = search->told_us = tpc_clock_mono_us();
    TPC_ASSERT(pthread_mutex_init(&search->mutex, NULL) == 0);
    known_init(&search->known, search->memory_bytes);
    for (unsigned i = 0; i < search->worker_count; i++) {
        workers[i] = (struct worker){.search = search,
                                     .number = i,
                                     .next.item_size = search->packed_size,
                                     .spare = KNOWN_NONE};
    }
}

static struct search_result close_search(struct search *search, struct worker *workers)
{
    struct search_result result = {
        .complete = goes_on(search),
        .states = search->known.used,
        .depth = search->depth,
        .mebibytes = (double)search->peak_bytes / (1 << 20),
        .seconds = (double)(tpc_clock_mono_us() - search->began_us) / 1e6,
    };
    for (unsigned i = 0; i < search->worker_count; i++) {
        result.states -= workers[i].spare != KNOWN_NONE;
        result.moves += workers[i].moves;
        pile_done(&workers[i].next);
    }
    pile_done(&search->level);
    known_done(&search->known);
    pthread_mutex_destroy(&search->mutex);
    return result;
}

struct search_result search_run(const struct model_config *config,
                                const struct search_options *options)
{
    struct search search = {.config = config, .options = options};
    struct worker workers[THREADS_MAX];
    struct world world;
    memset(&world, 0, sizeof world);
    open_search(&search, workers);
    model_right();
    TPC_ASSERT(reduce_applies(config));
    (void)remember(&workers[0], &world, 0, 0);
    pile_move(&search.level, &workers[0].next);
    search_levels(&search, workers);
    if (goes_on(&search)) {
        check_ends(&search);
    }
    if (search.finding.is) {
        tell_finding(&search);
    } else if (search.is_out_of_memory) {
        fprintf(options->out,
                "model %s: given up at depth %u: more than %zu MiB are needed (--memory GIB)\n",
                config->name, search.depth, search.memory_bytes >> 20);
    }
    return close_search(&search, workers);
}
