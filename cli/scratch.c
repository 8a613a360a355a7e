#include "cli/scratch.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum tpc_rc cli_scratch_make(const char *what, const char *parent, char *out, size_t size,
                             struct tpc_err *reterr)
{
    const char *base = parent != NULL ? parent : getenv("TMPDIR");
    bool good = base != NULL && (base[0] == '/' || parent != NULL);
    int length = snprintf(out, size, "%s/assent-%s-XXXXXX", good ? base : "/tmp", what);
    if (length >= (int)size) {
        return tpc_fail(reterr, TPC_ETOOBIG, "%s: too long a path", base);
    }
    return mkdtemp(out) != NULL
               ? TPC_OK
               : tpc_fail(reterr, TPC_EIO, "cannot make %s: %s", out, strerror(errno));
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info, (void)type, (void)at;
    return remove(path);
}

void cli_scratch_remove(const char *directory)
{
    (void)nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

enum tpc_rc cli_programs_find(char *out, size_t size, struct tpc_err *reterr)
{
    ssize_t length = readlink("/proc/self/exe", out, size - 1);
    out[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(out, '/');
    if (slash == NULL) {
        return tpc_fail(reterr, TPC_EIO, "cannot find out where this program lies");
    }
    *slash = '\0';
    return TPC_OK;
}
