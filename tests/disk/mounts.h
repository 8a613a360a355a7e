/* File systems of the test's own, in a mount namespace that ends with it. */
#ifndef ASSENT_TESTS_DISK_MOUNTS_H
#define ASSENT_TESTS_DISK_MOUNTS_H

#include "tests/disk/trial.h"

enum { MOUNTS_SKIPPED = 77 };

/* Once, before anything else. False, having said why, where this is not allowed. */
bool mounts_enter(void);
/* Run a command of the shell; false when it fails. What it says goes to stderr. */
bool mounts_run(const char *format, ...) TPC_PRINTF(1, 2);
/* Make the directory @path and mount a tmpfs of @size_bytes on it. */
void mounts_tmpfs(const char *path, size_t size_bytes);

/* Before its first start: keep the patient's log, or an agent's database, in @directory. */
void mounts_move_log(struct trial *trial, const char *directory);
void mounts_move_database(struct trial *trial, const char *directory);

#endif
