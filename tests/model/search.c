/* The search keeps of each state a fingerprint of 128 bits, the state it was first reached from
 * with the number of the move, and where it goes when nothing goes wrong any more. Whole states are
 * kept only until their turn has come. A trace is told by making the moves again from the start.
 *
 * That two of n states have one fingerprint, so that one is overlooked, has a probability of about
 * n² / 2^129: below 10^-20 for a thousand million. */
#include "tests/model/search.h"

#include "base/clock.h"
#include "base/tpc_assert.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { RELEASE_BYTES = 64 << 20, PROGRESS_STATES = 1 << 20 };
#define NOBODY UINT32_MAX

struct print {
    uint64_t low, high;
};

struct search {
    const struct model_config *config;
    FILE *out;
    bool quiet, failed;
    uint32_t states_max, count;
    size_t packed_size, released;
    struct print *prints; /* by state */
    uint32_t *parents;    /* by state */
    uint32_t *good;       /* by state: NOBODY: all is done */
    uint8_t *moves;       /* by state: number of the move that led here */
    uint8_t *packed;      /* by state, until it has been expanded */
    uint32_t *slots;      /* hash table: 1 + state; 0: free */
    uint32_t slot_mask;
    uint64_t move_count;
};

static _Thread_local jmp_buf *on_assert;

/* In place of the one in base: the search tells how it came to this. */
_Noreturn void tpc_assert_fail(const char *expression, const char *file, int line,
                               const char *function)
{
    if (on_assert == NULL) {
        fprintf(stderr, "%s:%d: %s: %s\n", file, line, function, expression);
        abort();
    }
    model_blame("assertion failed at %s:%d, %s: %s", file, line, function, expression);
    longjmp(*on_assert, 1);
}

/* ---- Memory ---- */

/* Pages are there once they are used. */
static void *reserve(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    TPC_ASSERT(memory != MAP_FAILED);
    return memory;
}

static void open_search(struct search *search)
{
    size_t max = search->states_max;
    search->prints = reserve(max * sizeof *search->prints);
    search->parents = reserve(max * sizeof *search->parents);
    search->good = reserve(max * sizeof *search->good);
    search->moves = reserve(max);
    search->packed = reserve(max * search->packed_size);
    search->slot_mask = (1u << 16) - 1;
    search->slots = calloc(search->slot_mask + 1, sizeof *search->slots);
    TPC_ASSERT(search->slots != NULL);
}

static void close_search(struct search *search)
{
    size_t max = search->states_max;
    (void)munmap(search->prints, max * sizeof *search->prints);
    (void)munmap(search->parents, max * sizeof *search->parents);
    (void)munmap(search->good, max * sizeof *search->good);
    (void)munmap(search->moves, max);
    (void)munmap(search->packed, max * search->packed_size);
    free(search->slots);
}

/* The packed states before @state have been expanded. */
static void release(struct search *search, uint32_t state)
{
    size_t done = (size_t)state * search->packed_size / RELEASE_BYTES * RELEASE_BYTES;
    if (done > search->released) {
        (void)madvise(search->packed + search->released, done - search->released, MADV_DONTNEED);
        search->released = done;
    }
}

/* ---- Known states ---- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static struct print fingerprint(const uint8_t *bytes, size_t size)
{
    struct print print = {UINT64_C(0x9e3779b97f4a7c15) ^ size, UINT64_C(0xc2b2ae3d27d4eb4f)};
    for (size_t i = 0; i < size; i += 16) {
        uint64_t word[2] = {0, 0};
        memcpy(word, bytes + i, size - i < 16 ? size - i : 16);
        uint64_t low = mix(word[0] ^ print.low, word[1] ^ UINT64_C(0xa0761d6478bd642f));
        uint64_t high = mix(word[1] ^ print.high, word[0] ^ UINT64_C(0xe7037ed1a0b428db));
        print.low = low + (print.high << 31 | print.high >> 33);
        print.high = high ^ (print.low * UINT64_C(0x8ebc6af09c88c6e3));
    }
    print.low = mix(print.low ^ UINT64_C(0x589965cc75374cc3), print.high | 1);
    print.high = mix(print.high ^ UINT64_C(0x1d8e4e27c47d124f), print.low | 1);
    return print;
}

static void grow_table(struct search *search)
{
    uint32_t mask = search->slot_mask * 2 + 1;
    free(search->slots);
    search->slots = calloc((size_t)mask + 1, sizeof *search->slots);
    TPC_ASSERT(search->slots != NULL);
    search->slot_mask = mask;
    for (uint32_t i = 0; i < search->count; i++) {
        uint32_t at = (uint32_t)search->prints[i].low & mask;
        while (search->slots[at] != 0) {
            at = (at + 1) & mask;
        }
        search->slots[at] = i + 1;
    }
}

/* The number of the state, new or not. */
static uint32_t remember(struct search *search, const struct world *world, uint32_t parent,
                         uint8_t move)
{
    uint8_t packed[PACKED_MAX];
    model_pack(search->config, world, packed);
    const struct print print = fingerprint(packed, search->packed_size);
    uint32_t at = (uint32_t)print.low & search->slot_mask;
    for (; search->slots[at] != 0; at = (at + 1) & search->slot_mask) {
        const struct print *known = &search->prints[search->slots[at] - 1];
        if (known->low == print.low && known->high == print.high) {
            return search->slots[at] - 1;
        }
    }
    if (search->count == search->states_max) {
        return NOBODY;
    }
    uint32_t state = search->count++;
    search->slots[at] = state + 1;
    search->prints[state] = print;
    search->parents[state] = parent;
    search->moves[state] = move;
    memcpy(search->packed + (size_t)state * search->packed_size, packed, search->packed_size);
    if (search->count > search->slot_mask / 8 * 5) {
        grow_table(search);
    }
    return state;
}

/* ---- The story ---- */

struct teller {
    struct search *search;
    struct world world;
    uint8_t order[PARTS_MAX];
    unsigned steps;
};

static void begin_story(struct search *search, struct teller *teller)
{
    *teller = (struct teller){.search = search, .order = {0, 1, 2}};
}

static void tell_move(struct teller *teller, const struct model_move *move)
{
    const struct model_config *config = teller->search->config;
    fprintf(teller->search->out, "%4u  ", ++teller->steps);
    model_tell(teller->search->out, teller->order);
    model_tell_move(config, move);
    jmp_buf here, *before = on_assert;
    on_assert = &here;
    if (setjmp(here) == 0) {
        model_apply(config, &teller->world, move);
        model_check(config, &teller->world);
    }
    on_assert = before;
    model_tell(NULL, NULL);
    model_canonical(config, &teller->world, teller->order);
}

static void tell_path(struct teller *teller, uint32_t state)
{
    struct search *search = teller->search;
    uint32_t length = 0;
    for (uint32_t at = state; at != 0; at = search->parents[at]) {
        length++;
    }
    uint8_t *path = malloc(length + 1);
    TPC_ASSERT(path != NULL);
    for (uint32_t at = state, i = length; at != 0; at = search->parents[at]) {
        path[--i] = search->moves[at];
    }
    for (uint32_t i = 0; i < length; i++) {
        struct model_moves moves;
        model_moves(search->config, &teller->world, &moves);
        tell_move(teller, &moves.items[path[i]]);
    }
    free(path);
}

/* @last may be NULL. @loop: what goes on for ever after @state. */
static void complain(struct search *search, uint32_t state, const struct model_move *last,
                     uint32_t loop)
{
    search->failed = true;
    fprintf(search->out, "model %s: VIOLATION: %s\n", search->config->name, model_wrong());
    if (!search->quiet) {
        struct teller teller;
        begin_story(search, &teller);
        tell_path(&teller, state);
        if (last != NULL) {
            tell_move(&teller, last);
        }
        for (uint32_t i = 0; i < loop; i++) {
            struct model_move move;
            if (model_good_move(search->config, &teller.world, &move)) {
                tell_move(&teller, &move);
            }
        }
    }
    model_right();
}

/* ---- The search ---- */

static bool is_same(const struct model_move *one, const struct model_move *other)
{
    return memcmp(one, other, sizeof *one) == 0;
}

/* What comes of @move; what is wrong is left in model_wrong(). */
static void try_move(struct search *search, struct world *world, const struct model_move *move)
{
    jmp_buf here;
    on_assert = &here;
    if (setjmp(here) == 0) {
        model_apply(search->config, world, move);
        model_check(search->config, world);
    }
    on_assert = NULL;
    model_canonical(search->config, world, NULL);
}

static void expand(struct search *search, uint32_t state)
{
    struct world world, next;
    struct model_moves moves;
    struct model_move good;
    model_unpack(search->config, search->packed + (size_t)state * search->packed_size, &world);
    model_moves(search->config, &world, &moves);
    bool goes_on = model_good_move(search->config, &world, &good);
    search->good[state] = NOBODY;
    for (unsigned i = 0; i < moves.count && !search->failed; i++) {
        next = world;
        try_move(search, &next, &moves.items[i]);
        if (model_wrong() != NULL) {
            complain(search, state, &moves.items[i], 0);
            return;
        }
        uint32_t reached = remember(search, &next, state, (uint8_t)i);
        if (goes_on && is_same(&good, &moves.items[i])) {
            search->good[state] = reached;
        }
    }
    search->move_count += moves.count;
    if (!goes_on) {
        model_check_end(search->config, &world);
    } else if (search->good[state] == NOBODY && search->count < search->states_max) {
        model_blame("the good move is not one of those that are possible");
    }
    if (model_wrong() != NULL) {
        complain(search, state, NULL, 0);
    }
}

/* From every state the good moves have to come to an end. */
static void check_ends(struct search *search)
{
    enum { UNSEEN, ON_PATH, ENDS };
    uint8_t *marks = calloc(search->count, 1);
    TPC_ASSERT(marks != NULL);
    for (uint32_t state = 0; state < search->count && !search->failed; state++) {
        uint32_t at = state;
        while (at != NOBODY && marks[at] == UNSEEN) {
            marks[at] = ON_PATH;
            at = search->good[at];
        }
        if (at != NOBODY && marks[at] == ON_PATH) {
            model_blame("nothing goes wrong any more, and it goes on for ever");
            complain(search, at, NULL, 40);
        }
        for (at = state; at != NOBODY && marks[at] == ON_PATH; at = search->good[at]) {
            marks[at] = ENDS;
        }
    }
    free(marks);
}

static unsigned depth_of(const struct search *search)
{
    unsigned depth = 0;
    for (uint32_t at = search->count - 1; at != 0; at = search->parents[at]) {
        depth++;
    }
    return depth;
}

/* The most that the process has used so far. */
static double mebibytes(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

struct search_result search_run(const struct model_config *config, uint64_t states_max, FILE *out,
                                bool quiet)
{
    struct search search = {.config = config,
                            .out = out,
                            .quiet = quiet,
                            .states_max = (uint32_t)states_max,
                            .packed_size = model_pack_size(config)};
    uint64_t began_us = tpc_clock_mono_us();
    struct world world;
    memset(&world, 0, sizeof world);
    open_search(&search);
    model_right();
    (void)remember(&search, &world, 0, 0);
    for (uint32_t state = 0; state < search.count && !search.failed; state++) {
        if (search.count == search.states_max) {
            fprintf(out, "model %s: more than %u states: given up\n", config->name,
                    search.states_max);
            search.failed = true;
            break;
        }
        expand(&search, state);
        release(&search, state);
        if (state % PROGRESS_STATES == PROGRESS_STATES - 1) {
            fprintf(stderr, "model %s: %u of %u states expanded\n", config->name, state + 1,
                    search.count);
        }
    }
    if (!search.failed) {
        check_ends(&search);
    }
    struct search_result result = {.complete = !search.failed,
                                   .states = search.count,
                                   .moves = search.move_count,
                                   .depth = depth_of(&search),
                                   .mebibytes = mebibytes(),
                                   .seconds = (double)(tpc_clock_mono_us() - began_us) / 1e6};
    close_search(&search);
    return result;
}
