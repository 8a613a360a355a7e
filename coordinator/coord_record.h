/* The coordinator's log records: bodies ⇄ structs (pure). */
#ifndef ASSENT_COORDINATOR_COORD_RECORD_H
#define ASSENT_COORDINATOR_COORD_RECORD_H

#include "coordinator/coord_fsm.h"
#include "wal/record.h"

/* A branch that has to be told the outcome, or was read-only (vote says which). */
struct coord_record_branch {
    const char *name; /* in the registry */
    size_t name_size; /* when decoded; not terminated then */
    struct tpc_id participant;
    enum coord_vote vote;
    enum coord_end end; /* in end records: the hazard's nature, else NONE */
};

/* COMMIT, PENDING and END carry the same body; END alone may leave out the key, and
 * of a two-phase transaction the branches. */
struct coord_record {
    struct tpc_id gtid; /* of the attempt that decided */
    struct tpc_id id;   /* of the transaction as the client knows it; equals gtid for attempt 1 */
    bool commit;        /* outcome; COMMIT: true; PENDING: unused */
    uint64_t began_us;  /* wall clock of the first attempt */
    uint64_t ended_us;  /* END: wall clock */
    uint32_t attempts;
    bool one_phase;
    const char *label; /* size 0: none; not terminated when decoded */
    size_t label_size;
    bool has_key;
    const char *key; /* the Idempotency-Key as sent */
    size_t key_size;
    struct tpc_id body_digest; /* of the request body under that key */
    unsigned branch_count;
    struct coord_record_branch branches[COORD_BRANCHES_MAX];
};

/* Append a whole log record of @kind (COMMIT, PENDING or END). */
TPC_NODISCARD enum tpc_rc coord_record_write(struct tpc_buf *out, enum wal_kind kind,
                                             const struct coord_record *record);
/* Everything in @ret_record points into the log record's bytes. TPC_ECORRUPT says what is off. */
TPC_NODISCARD enum tpc_rc coord_record_read(const struct wal_record *log_record,
                                            struct coord_record *ret_record,
                                            struct tpc_err *reterr);

/* MEMBER and NO_MEMBER: the registry. */
struct coord_member_record {
    const char *name;
    size_t name_size;
    const char *url;
    size_t url_size;
};
TPC_NODISCARD enum tpc_rc coord_member_write(struct tpc_buf *out, enum wal_kind kind,
                                             const struct coord_member_record *member);
TPC_NODISCARD enum tpc_rc coord_member_read(const struct wal_record *log_record,
                                            struct coord_member_record *ret_member,
                                            struct tpc_err *reterr);

/* The recovery fold: feed @txn (NULL for the first record of a gtid is not allowed: coord_init it
 * with record->branch_count) with what @kind means, through coord_step. TPC_ECORRUPT when the log
 * holds an order of records that no run can have written. */
TPC_NODISCARD enum tpc_rc coord_recover_fold(struct coord_txn *txn, enum wal_kind kind,
                                             const struct coord_record *record,
                                             struct tpc_err *reterr);

#endif
