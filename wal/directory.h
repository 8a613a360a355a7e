/* What lies beside the log file: the data directory, its lock, and the file IDENTITY. For the
 * stores in this folder only.
 *
 * IDENTITY is a few lines of text that name the log which belongs here, so that a log that is
 * missing, exchanged or set back is noticed instead of being taken for an empty one:
 *
 *   assent-identity 1
 *   role coordinator
 *   id 3f0f8a52-53b1-4a57-9a30-0d1c5a1d2c11
 *   generation 7
 *   nonce 5a0e9cf2-8c04-4ab7-8d0b-3e1c33c2f0a7
 *   crc 1f0c94e1
 *
 * It is replaced as a whole by rename. Generation 0 says that the log is being made and no start
 * has ever served from it. */
#ifndef ASSENT_WAL_DIRECTORY_H
#define ASSENT_WAL_DIRECTORY_H

#include "wal/wal.h"

#define WAL_ROLE_MAX 32 /* bytes of a role and its NUL */

struct wal_identity_file {
    char role[WAL_ROLE_MAX];
    struct tpc_id id;
    uint64_t generation;
    struct tpc_id nonce;
};

/* Make @path (0700) and the folders above it where missing, each made durable. */
TPC_NODISCARD enum tpc_rc wal_directory_make(const char *path, struct tpc_err *reterr);

/* Take DIR/LOCK for this process; it is held until @ret_fd is closed. TPC_EBUSY names the holder.
 */
TPC_NODISCARD enum tpc_rc wal_directory_lock(const char *path, int *ret_fd, struct tpc_err *reterr);

/* TPC_EMISSING when there is none (reterr then untouched), TPC_ECORRUPT, TPC_ENOTSUP, TPC_EIO. */
TPC_NODISCARD enum tpc_rc wal_identity_read(const char *path, struct wal_identity_file *ret_file,
                                            struct tpc_err *reterr);

/* Replace IDENTITY. Durable on return, as is every other name in the directory. */
TPC_NODISCARD enum tpc_rc wal_identity_write(const char *path, const struct wal_identity_file *file,
                                             struct tpc_err *reterr);

/* DIR/SET-BACK: somebody outside knows a later start of this log, so that it is an old copy. Until
 * the newest is put in its place no start may get as far as a generation that nobody knows yet.
 * The check: TPC_ESETBACK with what the file says, when there is one. */
TPC_NODISCARD enum tpc_rc wal_set_back_check(const char *path, struct tpc_err *reterr);
TPC_NODISCARD enum tpc_rc wal_set_back_write(const char *path, const char *why,
                                             struct tpc_err *reterr);

#endif
