#include "wal/directory.h"

#include "base/buf.h"
#include "base/tpc_assert.h"
#include "wal/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IDENTITY_MAX = 512, SET_BACK_MAX = 512 };

/* Make the names in directory @path durable. */
static enum tpc_rc sync_directory(const char *path, struct tpc_err *reterr)
{
    enum tpc_rc rc = TPC_OK;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) != 0) {
        rc = tpc_fail(reterr, TPC_EIO,
                      "cannot make the names in directory %s durable: %s: see to the disk or the "
                      "access rights, then start again",
                      path, strerror(errno));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc;
}

/* Make one folder, whose parent is the text before the last slash. */
static enum tpc_rc make_one(const char *path, struct tpc_err *reterr)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');

    if (mkdir(path, 0700) != 0) {
        return errno == EEXIST ? TPC_OK
                               : tpc_fail(reterr, TPC_EIO,
                                          "cannot make the data directory: %s: %s: name another "
                                          "place or mend the access rights",
                                          path, strerror(errno));
    }
    (void)snprintf(parent, sizeof parent, "%.*s", slash == NULL ? 1 : (int)(slash - path + 1),
                   slash == NULL ? "." : path);
    return sync_directory(parent, reterr);
}

enum tpc_rc wal_directory_make(const char *path, struct tpc_err *reterr)
{
    char part[PATH_MAX];
    struct stat status;
    const size_t length = strlen(path);

    if (length == 0 || length >= sizeof part - sizeof "/IDENTITY.new") {
        return tpc_fail(reterr, TPC_EINVAL, "the name of the data directory is %s",
                        length == 0 ? "empty" : "too long");
    }
    /* Without the slashes at its end, each would be a folder without a name. */
    memcpy(part, path, length + 1);
    for (size_t end = length; end > 1 && part[end - 1] == '/'; end--) {
        part[end - 1] = '\0';
    }
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        enum tpc_rc rc = make_one(part, reterr);
        *slash = '/';
        if (rc != TPC_OK) {
            return rc;
        }
    }
    enum tpc_rc rc = make_one(part, reterr);
    if (rc == TPC_OK && (stat(part, &status) != 0 || !S_ISDIR(status.st_mode))) {
        rc = tpc_fail(reterr, TPC_EINVAL,
                      "the data directory %s is no directory: name another place", path);
    }
    return rc;
}

static enum tpc_rc busy(const char *path, int fd, struct tpc_err *reterr)
{
    char holder[32] = {0};
    const ssize_t count = pread(fd, holder, sizeof holder - 1, 0);
    const long pid = count > 0 ? strtol(holder, NULL, 10) : 0;

    if (pid > 0) {
        return tpc_fail(reterr, TPC_EBUSY,
                        "the data directory %s is in use by process %ld: stop that one first, or "
                        "give this one a data directory of its own",
                        path, pid);
    }
    return tpc_fail(reterr, TPC_EBUSY,
                    "the data directory %s is in use by another process: stop that one first, or "
                    "give this one a data directory of its own",
                    path);
}

enum tpc_rc wal_directory_lock(const char *path, int *ret_fd, struct tpc_err *reterr)
{
    char name[PATH_MAX];
    char pid[32];
    int fd;

    (void)snprintf(name, sizeof name, "%s/LOCK", path);
    fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return tpc_fail(reterr, TPC_EIO,
                        "cannot open %s: %s: mend the access rights of the data directory", name,
                        strerror(errno));
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        enum tpc_rc rc =
            errno == EWOULDBLOCK
                ? busy(path, fd, reterr)
                : tpc_fail(reterr, TPC_EIO, "cannot lock %s: %s: use a file system that can lock",
                           name, strerror(errno));
        (void)close(fd);
        return rc;
    }
    /* The pid is for a message only; the lock does not need it. */
    const int length = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)length, 0) != length) {
        enum tpc_rc rc = tpc_fail(
            reterr, TPC_EIO, "cannot write %s: %s: make room on the disk or mend the access rights",
            name, strerror(errno));
        (void)close(fd);
        return rc;
    }
    *ret_fd = fd;
    return TPC_OK;
}

/* ---- IDENTITY ---- */

static int format_identity(const struct wal_identity_file *file, char *out, size_t size)
{
    char id[TPC_ID_TEXT], nonce[TPC_ID_TEXT];
    const int length =
        snprintf(out, size, "assent-identity 1\nrole %s\nid %s\ngeneration %" PRIu64 "\nnonce %s\n",
                 file->role, tpc_id_format(&file->id, id), file->generation,
                 tpc_id_format(&file->nonce, nonce));

    TPC_ASSERT(length > 0 && (size_t)length + sizeof "crc 01234567\n" <= size);
    const uint32_t crc = wal_crc32c(out, (size_t)length);
    return length + snprintf(out + length, size - (size_t)length, "crc %08" PRIx32 "\n", crc);
}

/* Exactly what format_identity would write, or false. */
static bool parse_identity(const char *text, size_t length, struct wal_identity_file *ret_file)
{
    struct wal_identity_file file = {0};
    char id[TPC_ID_TEXT], nonce[TPC_ID_TEXT], again[IDENTITY_MAX];

    if (sscanf(text, "assent-identity 1 role %31s id %36s generation %" SCNu64 " nonce %36s",
               file.role, id, &file.generation, nonce) != 4 ||
        !tpc_id_parse(id, strlen(id), &file.id) ||
        !tpc_id_parse(nonce, strlen(nonce), &file.nonce)) {
        return false;
    }
    if ((size_t)format_identity(&file, again, sizeof again) != length ||
        memcmp(text, again, length) != 0) {
        return false;
    }
    *ret_file = file;
    return true;
}

enum tpc_rc wal_identity_read(const char *path, struct wal_identity_file *ret_file,
                              struct tpc_err *reterr)
{
    char name[PATH_MAX];
    char text[IDENTITY_MAX];
    ssize_t count;
    int fd, error;

    (void)snprintf(name, sizeof name, "%s/IDENTITY", path);
    fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        return TPC_EMISSING;
    }
    count = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);
    error = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (count < 0) {
        return tpc_fail(reterr, TPC_EIO,
                        "cannot read %s: %s: mend the access rights or see to the disk", name,
                        strerror(error));
    }
    text[count] = '\0';
    if (parse_identity(text, (size_t)count, ret_file)) {
        return TPC_OK;
    }
    if (strncmp(text, "assent-identity ", 16) == 0 && strncmp(text + 16, "1\n", 2) != 0) {
        return tpc_fail(reterr, TPC_ENOTSUP,
                        "%s is damaged or was written by a newer release: install that release, "
                        "or restore the whole directory from a backup; delete nothing",
                        name);
    }
    return tpc_fail(reterr, TPC_ECORRUPT,
                    "%s is damaged, so nobody can tell whether the log beside it is whole: restore "
                    "the whole directory from a backup; delete nothing",
                    name);
}

static bool write_file(const char *name, const char *text, size_t length)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good;
    int error;

    if (fd < 0) {
        return false;
    }
    good = write(fd, text, length) == (ssize_t)length && fsync(fd) == 0;
    error = errno;
    good = close(fd) == 0 && good;
    errno = error;
    return good;
}

enum tpc_rc wal_identity_write(const char *path, const struct wal_identity_file *file,
                               struct tpc_err *reterr)
{
    char name[PATH_MAX], draft[PATH_MAX];
    char text[IDENTITY_MAX];
    const int length = format_identity(file, text, sizeof text);

    (void)snprintf(name, sizeof name, "%s/IDENTITY", path);
    (void)snprintf(draft, sizeof draft, "%s/IDENTITY.new", path);
    /* A crash up to the rename leaves the old IDENTITY as it was; a left-over draft is
     * overwritten by the next start. A crash after the rename and before the directory is
     * durable leaves the old or the new one, either whole. */
    if (!write_file(draft, text, (size_t)length) || rename(draft, name) != 0) {
        return tpc_fail(reterr, TPC_EIO,
                        "cannot write %s: %s: make room on the disk or mend the access rights, "
                        "then start again",
                        name, strerror(errno));
    }
    return sync_directory(path, reterr);
}

enum tpc_rc wal_set_back_check(const char *path, struct tpc_err *reterr)
{
    char name[PATH_MAX], why[SET_BACK_MAX];
    ssize_t count = 0;
    int fd;

    (void)snprintf(name, sizeof name, "%s/SET-BACK", path);
    fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        return TPC_OK;
    }
    /* That it is there is enough. */
    if (fd >= 0) {
        count = read(fd, why, sizeof why - 1);
        (void)close(fd);
    }
    why[count > 0 ? count : 0] = '\0';
    why[strcspn(why, "\n")] = '\0';
    return tpc_fail(reterr, TPC_ESETBACK,
                    "%s holds an old copy of the log, says %s%s%s%s: put the newest copy of the "
                    "whole directory in its place; where this one is the newest for certain, "
                    "remove that file",
                    path, name, *why != '\0' ? " (" : "", why, *why != '\0' ? ")" : "");
}

enum tpc_rc wal_set_back_write(const char *path, const char *why, struct tpc_err *reterr)
{
    char name[PATH_MAX], text[SET_BACK_MAX];
    const int length = snprintf(text, sizeof text, "%.*s\n", (int)sizeof text - 2, why);

    (void)snprintf(name, sizeof name, "%s/SET-BACK", path);
    if (!write_file(name, text, (size_t)length)) {
        return tpc_fail(reterr, TPC_EIO, "cannot write %s: %s", name, strerror(errno));
    }
    return sync_directory(path, reterr);
}
