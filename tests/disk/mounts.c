#include "tests/disk/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

bool mounts_enter(void)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        (void)printf("skipped: no mount namespace of our own here: %s\n", strerror(errno));
        return false;
    }
    return true;
}

bool mounts_run(const char *format, ...)
{
    char command[4 * SUP_PATH_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(command, sizeof command, format, args);
    va_end(args);
    return system(command) == 0;
}

void mounts_tmpfs(const char *path, size_t size_bytes)
{
    char options[64];
    (void)snprintf(options, sizeof options, "size=%zu", size_bytes);
    if (mkdir(path, 0700) != 0 || mount("tmpfs", path, "tmpfs", 0, options) != 0) {
        sup_die("%s: %s", path, strerror(errno));
    }
}

void mounts_move_log(struct trial *trial, const char *directory)
{
    (void)snprintf(trial->patient->data, sizeof trial->patient->data, "%.200s/data", directory);
}

void mounts_move_database(struct trial *trial, const char *directory)
{
    char before[SUP_PATH_MAX];
    memcpy(before, trial->patient->db_path, sizeof before);
    (void)snprintf(trial->patient->db_path, sizeof trial->patient->db_path, "%.200s/bank.db",
                   directory);
    if (!mounts_run("mv '%s' '%s'", before, trial->patient->db_path)) {
        sup_die("%s cannot be moved", before);
    }
}
