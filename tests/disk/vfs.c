#include "tests/disk/disk.h"

#include <dlfcn.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { EAGER_PAGES = 6, EAGER_FACTOR = 1000 };

struct shim {
    sqlite3_file file;
    const char *path; /* SQLite's, valid while it is open; NULL: a temporary file */
    sqlite3_file *below;
};

static sqlite3_vfs *unix_vfs;

static struct shim *shim_of(sqlite3_file *file)
{
    return (struct shim *)file;
}

static sqlite3_file *below(sqlite3_file *file)
{
    return shim_of(file)->below;
}

static void enter(void)
{
    (void)pthread_mutex_lock(&disk.mutex);
}

static int leave(int rc)
{
    int error = errno;
    (void)pthread_mutex_unlock(&disk.mutex);
    errno = error;
    return rc;
}

/* ---- Operations that a disk refuses or forgets ---- */

static int shim_read(sqlite3_file *file, void *out, int size, sqlite3_int64 offset)
{
    enter();
    if (disk_strikes(DISK_READ)) {
        return leave(SQLITE_IOERR_READ);
    }
    return leave(below(file)->pMethods->xRead(below(file), out, size, offset));
}

static bool may_be_lost(const struct shim *shim)
{
    return shim->path != NULL && disk.state != NULL && disk.fault >= DISK_LOSE &&
           disk.fault <= DISK_LIE;
}

/* Up to @size bytes from @offset, malloc'ed. */
static void *read_old(struct shim *shim, sqlite3_int64 offset, sqlite3_int64 size,
                      sqlite3_int64 file_size, sqlite3_int64 *ret_size)
{
    sqlite3_int64 there = offset < file_size ? file_size - offset : 0;
    there = there < size ? there : size;
    void *old = malloc((size_t)there + 1);
    if (old == NULL ||
        (there > 0 && shim->below->pMethods->xRead(shim->below, old, (int)there, offset) != 0)) {
        abort();
    }
    *ret_size = there;
    return old;
}

static void note(struct shim *shim, const void *data, sqlite3_int64 size, sqlite3_int64 offset)
{
    sqlite3_int64 file_size = 0, old_size;
    if (!may_be_lost(shim)) {
        return;
    }
    if (shim->below->pMethods->xFileSize(shim->below, &file_size) != SQLITE_OK) {
        abort();
    }
    void *old =
        read_old(shim, offset, data != NULL ? size : file_size - offset, file_size, &old_size);
    disk_note(shim->path, file_size, offset, data, size, old, old_size);
}

/* How much of a write that fails is there all the same: whole sectors of the disk. */
static int surviving_part(int size, sqlite3_int64 offset)
{
    sqlite3_int64 end = offset + (sqlite3_int64)(disk_random() % (uint64_t)(size + 1));
    end -= end % DISK_SECTOR;
    return end > offset ? (int)(end - offset) : 0;
}

static bool force_failed; /* of log.db-wal, in this process */

static bool is_log(const struct shim *shim)
{
    return shim->path != NULL && strstr(shim->path, "/log.db-wal") != NULL;
}

static int shim_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    enter();
    if (disk_strikes(DISK_WRITE)) {
        int error = errno, part = surviving_part(size, offset);
        if (part > 0) {
            (void)below(file)->pMethods->xWrite(below(file), data, part, offset);
        }
        errno = error;
        return leave(error == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE);
    }
    note(shim_of(file), data, size, offset);
    if (force_failed && is_log(shim_of(file))) {
        (void)atomic_fetch_add(&disk.state->overwritten, 1);
    }
    return leave(below(file)->pMethods->xWrite(below(file), data, size, offset));
}

static int shim_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    enter();
    if (disk_strikes(DISK_TRUNCATE)) {
        return leave(SQLITE_IOERR_TRUNCATE);
    }
    note(shim_of(file), NULL, 0, size);
    return leave(below(file)->pMethods->xTruncate(below(file), size));
}

static int shim_sync(sqlite3_file *file, int flags)
{
    enter();
    disk_boundary();
    if (disk_strikes(DISK_SYNC)) {
        force_failed = force_failed || is_log(shim_of(file));
        return leave(SQLITE_IOERR_FSYNC);
    }
    if (disk_lies()) {
        return leave(SQLITE_OK);
    }
    int rc = disk.unsynced ? SQLITE_OK : below(file)->pMethods->xSync(below(file), flags);
    if (rc == SQLITE_OK && may_be_lost(shim_of(file))) {
        disk_settle(shim_of(file)->path);
    }
    disk_boundary();
    return leave(rc);
}

static int shim_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    enter();
    if (disk_strikes(DISK_SIZE)) {
        return leave(SQLITE_IOERR_FSTAT);
    }
    return leave(below(file)->pMethods->xFileSize(below(file), ret_size));
}

static int shim_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **ret)
{
    enter();
    if (disk_strikes(extend ? DISK_SHM_EXTEND : DISK_SHM)) {
        return leave(errno == ENOSPC ? SQLITE_IOERR_SHMSIZE : SQLITE_IOERR_SHMMAP);
    }
    return leave(below(file)->pMethods->xShmMap(below(file), page, size, extend, ret));
}

/* ---- All others ---- */

static int shim_close(sqlite3_file *file)
{
    return below(file)->pMethods->xClose(below(file));
}

static int shim_lock(sqlite3_file *file, int level)
{
    return below(file)->pMethods->xLock(below(file), level);
}

static int shim_unlock(sqlite3_file *file, int level)
{
    return below(file)->pMethods->xUnlock(below(file), level);
}

static int shim_check_lock(sqlite3_file *file, int *ret_reserved)
{
    return below(file)->pMethods->xCheckReservedLock(below(file), ret_reserved);
}

static int shim_control(sqlite3_file *file, int operation, void *arg)
{
    return below(file)->pMethods->xFileControl(below(file), operation, arg);
}

static int shim_sector_size(sqlite3_file *file)
{
    return below(file)->pMethods->xSectorSize(below(file));
}

static int shim_characteristics(sqlite3_file *file)
{
    return below(file)->pMethods->xDeviceCharacteristics(below(file));
}

static int shim_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return below(file)->pMethods->xShmLock(below(file), offset, count, flags);
}

static void shim_shm_barrier(sqlite3_file *file)
{
    below(file)->pMethods->xShmBarrier(below(file));
}

static int shim_shm_unmap(sqlite3_file *file, int delete)
{
    return below(file)->pMethods->xShmUnmap(below(file), delete);
}

/* Version 2: no mapping of pages into memory, which nobody would see written. */
static const sqlite3_io_methods methods = {.iVersion = 2,
                                           .xClose = shim_close,
                                           .xRead = shim_read,
                                           .xWrite = shim_write,
                                           .xTruncate = shim_truncate,
                                           .xSync = shim_sync,
                                           .xFileSize = shim_size,
                                           .xLock = shim_lock,
                                           .xUnlock = shim_unlock,
                                           .xCheckReservedLock = shim_check_lock,
                                           .xFileControl = shim_control,
                                           .xSectorSize = shim_sector_size,
                                           .xDeviceCharacteristics = shim_characteristics,
                                           .xShmMap = shim_shm_map,
                                           .xShmLock = shim_shm_lock,
                                           .xShmBarrier = shim_shm_barrier,
                                           .xShmUnmap = shim_shm_unmap};

/* ---- The VFS ---- */

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                    int *ret_flags)
{
    struct shim *shim = shim_of(file);
    (void)vfs;
    *shim = (struct shim){.path = path, .below = (sqlite3_file *)(shim + 1)};
    enter();
    if (disk_strikes(flags & SQLITE_OPEN_CREATE ? DISK_CREATE : DISK_OPEN)) {
        return leave(SQLITE_CANTOPEN);
    }
    int rc = unix_vfs->xOpen(unix_vfs, path, shim->below, flags, ret_flags);
    if (shim->below->pMethods != NULL) {
        shim->file.pMethods = &methods;
    }
    return leave(rc);
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync_directory)
{
    (void)vfs;
    enter();
    if (disk_strikes(DISK_DELETE)) {
        return leave(SQLITE_IOERR_DELETE);
    }
    int rc = unix_vfs->xDelete(unix_vfs, path, disk.unsynced ? 0 : sync_directory);
    if (rc == SQLITE_OK) {
        disk_settle(path);
    }
    return leave(rc);
}

void disk_register(void)
{
    static sqlite3_vfs shim_vfs;
    unix_vfs = sqlite3_vfs_find(NULL);
    shim_vfs = *unix_vfs;
    shim_vfs.zName = "faulty";
    shim_vfs.pNext = NULL;
    shim_vfs.szOsFile = (int)sizeof(struct shim) + unix_vfs->szOsFile;
    shim_vfs.xOpen = vfs_open;
    shim_vfs.xDelete = vfs_delete;
    if (sqlite3_vfs_register(&shim_vfs, 1) != SQLITE_OK) {
        abort();
    }
}

/* ---- In front of SQLite's own functions of these names ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int (*real_open)(const char *, sqlite3 **, int, const char *);
static void *(*real_wal_hook)(sqlite3 *, int (*)(void *, sqlite3 *, const char *, int), void *);

/* A function pointer out of a data pointer, as POSIX has it. */
static void find(const char *name, void *ret_function)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) {
        abort();
    }
    memcpy(ret_function, &found, sizeof found);
}

static void begin(void)
{
    find("sqlite3_open_v2", (void *)&real_open);
    find("sqlite3_wal_hook", (void *)&real_wal_hook);
    disk_init();
    if (disk.state != NULL) {
        disk_register();
    }
}

int sqlite3_open_v2(const char *path, sqlite3 **ret_db, int flags, const char *vfs)
{
    (void)pthread_once(&once, begin);
    int rc = real_open(path, ret_db, flags, vfs);
    if (rc == SQLITE_OK && disk.eager) {
        (void)sqlite3_wal_autocheckpoint(*ret_db, EAGER_PAGES);
    }
    return rc;
}

/* The log counts its pages by this hook. */
static int (*log_hook)(void *, sqlite3 *, const char *, int);

static int on_commit(void *arg, sqlite3 *db, const char *name, int frames)
{
    return log_hook(arg, db, name, frames > EAGER_PAGES ? frames * EAGER_FACTOR : frames);
}

void *sqlite3_wal_hook(sqlite3 *db, int (*hook)(void *, sqlite3 *, const char *, int), void *arg)
{
    (void)pthread_once(&once, begin);
    if (!disk.eager || hook == NULL || sqlite3_db_filename(db, "main") == NULL ||
        strstr(sqlite3_db_filename(db, "main"), "/log.db") == NULL) {
        return real_wal_hook(db, hook, arg);
    }
    log_hook = hook;
    return real_wal_hook(db, on_commit, arg);
}
