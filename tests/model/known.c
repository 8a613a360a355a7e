#include "tests/model/known.h"

#include "base/tpc_assert.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* At that size several threads may add for a while before the table is too full. */
enum { SLOTS_MIN = 1 << 18 };

enum { STATE_BYTES = sizeof(struct known_print) + 2 * sizeof(uint32_t) + 1 };

/* ---- Memory ---- */

/* Pages are there once they are used. */
static void *reserve(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    TPC_ASSERT(memory != MAP_FAILED);
    return memory;
}

static void open_table(struct known *known, uint32_t mask)
{
    known->slot_mask = mask;
    known->slots = calloc((size_t)mask + 1, sizeof *known->slots);
    TPC_ASSERT(known->slots != NULL);
}

void known_init(struct known *known, size_t bytes)
{
    size_t max = bytes / STATE_BYTES;
    *known = (struct known){.max = max < KNOWN_NONE / 2 ? (uint32_t)max : KNOWN_NONE / 2};
    known->prints = reserve(known->max * sizeof *known->prints);
    known->parents = reserve(known->max * sizeof *known->parents);
    known->good = reserve(known->max * sizeof *known->good);
    known->moves = reserve(known->max);
    open_table(known, SLOTS_MIN - 1);
}

void known_done(struct known *known)
{
    (void)munmap(known->prints, known->max * sizeof *known->prints);
    (void)munmap(known->parents, known->max * sizeof *known->parents);
    (void)munmap(known->good, known->max * sizeof *known->good);
    (void)munmap(known->moves, known->max);
    free((void *)known->slots);
}

size_t known_bytes(const struct known *known)
{
    return (size_t)atomic_load(&known->used) * STATE_BYTES +
           ((size_t)known->slot_mask + 1) * sizeof *known->slots;
}

/* ---- Fingerprints ---- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

struct known_print known_fingerprint(const uint8_t *bytes, size_t size)
{
    struct known_print print = {UINT64_C(0x9e3779b97f4a7c15) ^ size, UINT64_C(0xc2b2ae3d27d4eb4f)};
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

/* ---- The table ---- */

bool known_is_crowded(const struct known *known)
{
    return atomic_load_explicit(&known->used, memory_order_relaxed) > known->slot_mask / 8 * 5;
}

bool known_is_full(const struct known *known, uint32_t more)
{
    return atomic_load_explicit(&known->used, memory_order_relaxed) + more > known->max;
}

void known_grow(struct known *known)
{
    uint32_t used = atomic_load(&known->used);
    free((void *)known->slots);
    open_table(known, known->slot_mask * 2 + 1);
    for (uint32_t i = 0; i < used; i++) {
        if (known->parents[i] == KNOWN_NONE) {
            continue;
        }
        uint32_t at = (uint32_t)known->prints[i].low & known->slot_mask;
        while (atomic_load_explicit(&known->slots[at], memory_order_relaxed) != 0) {
            at = (at + 1) & known->slot_mask;
        }
        atomic_store_explicit(&known->slots[at], i + 1, memory_order_relaxed);
    }
}

static uint32_t take_number(struct known *known, const struct known_print *print, uint32_t parent,
                            uint8_t move, uint32_t *spare)
{
    uint32_t state = *spare;
    if (state == KNOWN_NONE) {
        state = atomic_fetch_add(&known->used, 1);
        TPC_ASSERT(state < known->max);
    }
    known->prints[state] = *print;
    known->parents[state] = parent;
    known->moves[state] = move;
    return state;
}

/* A slot is filled once, with a state all of whose fields were written before. Two threads that
 * come with one new state meet at one free slot: one of them finds it taken, and looks again. */
uint32_t known_add(struct known *known, const struct known_print *print, uint32_t parent,
                   uint8_t move, uint32_t *spare, bool *ret_new)
{
    uint32_t at = (uint32_t)print->low & known->slot_mask;
    *ret_new = false;
    for (;;) {
        uint32_t found = atomic_load_explicit(&known->slots[at], memory_order_acquire);
        if (found == 0) {
            uint32_t state = take_number(known, print, parent, move, spare);
            if (atomic_compare_exchange_strong(&known->slots[at], &found, state + 1)) {
                *spare = KNOWN_NONE;
                *ret_new = true;
                return state;
            }
            known->parents[state] = KNOWN_NONE;
            *spare = state;
        }
        const struct known_print *other = &known->prints[found - 1];
        if (other->low == print->low && other->high == print->high) {
            return found - 1;
        }
        at = (at + 1) & known->slot_mask;
    }
}
