/* What the agent's log says of branches that a database server has committed or was about to: by
 * which number the server knows them. With it the server proves the outcome, and without it
 * nothing does. Recovery keeps those that were committed here, without a number. Compact, for there
 * may be a million of them. */
#ifndef ASSENT_PARTICIPANT_PROOFS_H
#define ASSENT_PARTICIPANT_PROOFS_H

#include "base/id.h"

struct part_proof {
    struct tpc_id gtid;
    uint64_t number; /* the server's, for its transaction; 0: unknown */
    bool committed;  /* for certain: nobody needs to be asked */
};

/* Zero-initialise. Entries move when others are added or removed. */
struct part_proofs {
    struct part_proof *slots; /* open addressing; a zero gtid: free */
    size_t count, capacity;
};

/* NULL when there is none. */
struct part_proof *part_proofs_find(const struct part_proofs *proofs, const struct tpc_id *gtid);
/* Find or add. Without memory the process ends. */
struct part_proof *part_proofs_get(struct part_proofs *proofs, const struct tpc_id *gtid);
void part_proofs_remove(struct part_proofs *proofs, const struct tpc_id *gtid);
void part_proofs_done(struct part_proofs *proofs);

#endif
