#include "participant/proofs.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum { CAPACITY_FIRST = 256 };

/* The last bytes of a UUID are random. */
static size_t home_of(const struct part_proofs *proofs, const struct tpc_id *gtid)
{
    uint64_t bits;
    memcpy(&bits, gtid->bytes + 8, sizeof bits);
    return (size_t)(bits * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (proofs->capacity - 1);
}

/* Where it is, or the free slot where it would be. */
static struct part_proof *slot_of(const struct part_proofs *proofs, const struct tpc_id *gtid)
{
    size_t at = home_of(proofs, gtid);
    while (!tpc_id_is_zero(&proofs->slots[at].gtid) &&
           !tpc_id_equal(&proofs->slots[at].gtid, gtid)) {
        at = (at + 1) & (proofs->capacity - 1);
    }
    return &proofs->slots[at];
}

struct part_proof *part_proofs_find(const struct part_proofs *proofs, const struct tpc_id *gtid)
{
    if (proofs->count == 0) {
        return NULL;
    }
    struct part_proof *slot = slot_of(proofs, gtid);
    return tpc_id_is_zero(&slot->gtid) ? NULL : slot;
}

static void grow(struct part_proofs *proofs)
{
    struct part_proofs old = *proofs;
    proofs->capacity = old.capacity > 0 ? 2 * old.capacity : CAPACITY_FIRST;
    proofs->slots = tpc_must_calloc(proofs->capacity, sizeof *proofs->slots);
    for (size_t i = 0; i < old.capacity; i++) {
        if (!tpc_id_is_zero(&old.slots[i].gtid)) {
            *slot_of(proofs, &old.slots[i].gtid) = old.slots[i];
        }
    }
    free(old.slots);
}

struct part_proof *part_proofs_get(struct part_proofs *proofs, const struct tpc_id *gtid)
{
    if (4 * (proofs->count + 1) > 3 * proofs->capacity) {
        grow(proofs);
    }
    struct part_proof *slot = slot_of(proofs, gtid);
    if (tpc_id_is_zero(&slot->gtid)) {
        slot->gtid = *gtid;
        proofs->count++;
    }
    return slot;
}

void part_proofs_remove(struct part_proofs *proofs, const struct tpc_id *gtid)
{
    struct part_proof *found = part_proofs_find(proofs, gtid);
    if (found == NULL) {
        return;
    }
    /* Those behind it must stay reachable: each that may moves up into the gap. */
    size_t mask = proofs->capacity - 1, gap = (size_t)(found - proofs->slots);
    for (size_t at = (gap + 1) & mask; !tpc_id_is_zero(&proofs->slots[at].gtid);
         at = (at + 1) & mask) {
        size_t home = home_of(proofs, &proofs->slots[at].gtid);
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            proofs->slots[gap] = proofs->slots[at];
            gap = at;
        }
    }
    proofs->slots[gap] = (struct part_proof){0};
    proofs->count--;
}

void part_proofs_done(struct part_proofs *proofs)
{
    free(proofs->slots);
    *proofs = (struct part_proofs){0};
}
