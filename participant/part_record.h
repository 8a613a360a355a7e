/* The participant's log records: bodies ⇄ structs (pure).
 *
 *   tag  kinds                          value
 *   1    all but HEURISTIC, FORGOTTEN   coordinator id, 16 bytes
 *   2    PREPARED                       start of the transaction, wall clock in µs
 *   3    all but COORDINATOR            when it was written, wall clock in µs
 *   4    PREPARED, ATTEMPT              what the resource needs to restore or prove the branch
 *   5    HEURISTIC                      outcome: 1 commit, 2 abort
 *   6    HEURISTIC                      who
 *   7    HEURISTIC                      why
 *   8    COORDINATOR                    generation
 *   9    COORDINATOR                    nonce, 16 bytes
 *   10   COORDINATOR                    where to ask, an URL
 *   11   COORDINATOR                    it has forgotten all below this gtid; left out: nothing */
#ifndef ASSENT_PARTICIPANT_PART_RECORD_H
#define ASSENT_PARTICIPANT_PART_RECORD_H

#include "participant/part_fsm.h"
#include "wal/record.h"

/* PREPARED, COMMITTED, ABORTED, HEURISTIC and FORGOTTEN; unused members are zero. */
struct part_record {
    struct tpc_id gtid;
    struct tpc_id coordinator_id;
    uint64_t began_us;
    uint64_t at_us;
    const void *payload; /* PREPARED */
    size_t payload_size;
    enum part_outcome heuristic; /* HEURISTIC */
    const char *operator_name;   /* HEURISTIC; not terminated when decoded; size 0: none */
    size_t operator_name_size;
    const char *reason;
    size_t reason_size;
};

/* Append a whole log record of @kind. */
TPC_NODISCARD enum tpc_rc part_record_write(struct tpc_buf *out, enum wal_kind kind,
                                            const struct part_record *record);
/* Everything in @ret_record points into the log record's bytes. TPC_ECORRUPT says what is off. */
TPC_NODISCARD enum tpc_rc part_record_read(const struct wal_record *log_record,
                                           struct part_record *ret_record, struct tpc_err *reterr);

/* COORDINATOR: who has spoken to us. In the place of the gtid stands a random key, by which the
 * record is erased when the next one is there. */
struct part_coordinator_record {
    struct tpc_id key; /* zero in logs of before: never erased */
    struct tpc_id id;
    uint64_t generation;
    struct tpc_id nonce;
    struct tpc_id forgotten_below;
    const char *url; /* not terminated when decoded */
    size_t url_size;
};
TPC_NODISCARD enum tpc_rc part_coordinator_write(struct tpc_buf *out,
                                                 const struct part_coordinator_record *coordinator);
TPC_NODISCARD enum tpc_rc part_coordinator_read(const struct wal_record *log_record,
                                                struct part_coordinator_record *ret_coordinator,
                                                struct tpc_err *reterr);

/* The recovery fold: feed @branch (zeroed before the first record of its gtid) with what @kind
 * means, through part_step. TPC_ECORRUPT when no run can have written these records in this order;
 * @branch is then as before. */
TPC_NODISCARD enum tpc_rc part_recover_fold(struct part_branch *branch, enum wal_kind kind,
                                            const struct part_record *record,
                                            struct tpc_err *reterr);

#endif
