/* Writes go to the files at once, since others read them (SQLite's own shared memory, our look at
 * the journal), and what they replaced is kept until it is synced. A power cut takes all of them
 * back, the newest first, and then makes those again that survive. */
#include "tests/disk/disk.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct change {
    struct change *older, *newer;
    char *path;
    int64_t file_size, offset, size, old_size;
    uint8_t *data; /* NULL: a truncation */
    uint8_t *old;
};

static struct change *newest, *oldest;

static void *must(void *memory)
{
    if (memory == NULL) {
        (void)fputs("faulty disk: out of memory\n", stderr);
        _exit(2);
    }
    return memory;
}

void disk_note(const char *path, int64_t file_size, int64_t offset, const void *data, int64_t size,
               void *take_old, int64_t old_size)
{
    struct change *change = must(calloc(1, sizeof *change));
    *change = (struct change){.older = newest,
                              .path = must(strdup(path)),
                              .file_size = file_size,
                              .offset = offset,
                              .size = size,
                              .old_size = old_size,
                              .old = take_old};
    if (data != NULL) {
        change->data = must(malloc((size_t)size + 1));
        memcpy(change->data, data, (size_t)size);
    }
    *(newest != NULL ? &newest->newer : &oldest) = change;
    newest = change;
}

static void drop(struct change *change)
{
    *(change->older != NULL ? &change->older->newer : &oldest) = change->newer;
    *(change->newer != NULL ? &change->newer->older : &newest) = change->older;
    free(change->path);
    free(change->data);
    free(change->old);
    free(change);
}

void disk_settle(const char *path)
{
    for (struct change *change = oldest, *next; change != NULL; change = next) {
        next = change->newer;
        if (strcmp(change->path, path) == 0) {
            drop(change);
        }
    }
}

/* ---- The power cut ---- */

static void put(int fd, const uint8_t *data, int64_t size, int64_t offset)
{
    if (size > 0 && pwrite(fd, data, (size_t)size, (off_t)offset) != (ssize_t)size) {
        (void)fputs("faulty disk: cannot write\n", stderr);
        _exit(2);
    }
}

static void cut(int fd, int64_t size)
{
    if (ftruncate(fd, (off_t)size) != 0) {
        (void)fputs("faulty disk: cannot truncate\n", stderr);
        _exit(2);
    }
}

static void take_back(const struct change *change, int fd)
{
    put(fd, change->old, change->old_size, change->offset);
    if (change->data != NULL && change->offset + change->size > change->file_size) {
        cut(fd, change->file_size);
    }
}

/* Sectors are where the disk has them: a write that is not aligned shares its first and last. */
static void make_torn(const struct change *change, int fd)
{
    for (int64_t at = 0; at < change->size;) {
        int64_t end =
            (change->offset + at) / DISK_SECTOR * DISK_SECTOR + DISK_SECTOR - change->offset;
        end = end < change->size ? end : change->size;
        if (disk_random() % 2 == 0) {
            put(fd, change->data + at, end - at, change->offset + at);
        } else {
            (void)atomic_fetch_add(&disk.state->lost, 1);
        }
        at = end;
    }
}

static void make_again(const struct change *change, int fd)
{
    if (disk.fault == DISK_TEAR && change->data != NULL) {
        make_torn(change, fd);
    } else if ((disk.fault != DISK_REORDER && disk.fault != DISK_TEAR) || disk_random() % 2 == 0) {
        (void)atomic_fetch_add(&disk.state->lost, 1);
    } else if (change->data != NULL) {
        put(fd, change->data, change->size, change->offset);
    } else {
        cut(fd, change->offset);
    }
}

static void with_file(const struct change *change, void (*act)(const struct change *change, int fd))
{
    int fd = open(change->path, O_RDWR | O_CLOEXEC);
    if (fd >= 0) { /* else it was deleted beside SQLite */
        act(change, fd);
        (void)close(fd);
    }
}

void disk_lose(void)
{
    for (const struct change *change = newest; change != NULL; change = change->older) {
        with_file(change, take_back);
    }
    for (const struct change *change = oldest; change != NULL; change = change->newer) {
        with_file(change, make_again);
    }
}
