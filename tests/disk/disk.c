#include "tests/disk/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct disk disk = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static const char *const fault_names[] = {"none", "lose", "reorder", "tear",
                                          "lie",  "eio",  "enospc"};

static _Noreturn void refuse(const char *what)
{
    (void)fprintf(stderr, "faulty disk: %s\n", what);
    _exit(2);
}

static uint64_t number(const char *name)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : 0;
}

static enum disk_fault find_fault(const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof fault_names / sizeof fault_names[0]; i++) {
        if (strcmp(name, fault_names[i]) == 0) {
            return (enum disk_fault)i;
        }
    }
    refuse("ASSENT_DISK_FAULT?");
}

void disk_init(void)
{
    const char *path = getenv("ASSENT_DISK_STATE");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (path == NULL) {
        return;
    }
    disk.state = mmap(NULL, sizeof *disk.state, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (disk.state == MAP_FAILED) {
        refuse("ASSENT_DISK_STATE cannot be mapped");
    }
    (void)close(fd);
    disk.fault = find_fault(getenv("ASSENT_DISK_FAULT"));
    disk.at = number("ASSENT_DISK_AT");
    disk.again = number("ASSENT_DISK_AGAIN");
    disk.from = number("ASSENT_DISK_FROM");
    disk.seed = number("ASSENT_DISK_SEED");
    disk.sticky = number("ASSENT_DISK_STICKY") != 0;
    disk.eager = number("ASSENT_DISK_EAGER") != 0;
}

/* SplitMix64. */
uint64_t disk_random(void)
{
    uint64_t z = disk.seed += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static bool needs_room(enum disk_operation operation)
{
    return operation == DISK_CREATE || operation == DISK_WRITE || operation == DISK_SYNC ||
           operation == DISK_SHM_EXTEND;
}

bool disk_strikes(enum disk_operation operation)
{
    bool room = disk.fault == DISK_ENOSPC;
    if (disk.state == NULL || (disk.fault != DISK_EIO && !room) ||
        (room && !needs_room(operation))) {
        return false;
    }
    uint64_t index = atomic_fetch_add(&disk.state->operations, 1) + 1;
    bool strikes = disk.at != 0 && !atomic_load(&disk.state->lifted) &&
                   (index == disk.at || (disk.sticky && index > disk.at));
    if (strikes) {
        (void)atomic_fetch_add(&disk.state->strikes, 1);
        errno = room ? ENOSPC : EIO;
    }
    return strikes;
}

bool disk_lies(void)
{
    return disk.fault == DISK_LIE && !atomic_load(&disk.state->lifted) &&
           atomic_load(&disk.state->boundaries) >= disk.from;
}

static bool cuts_power(void)
{
    return disk.fault >= DISK_LOSE && disk.fault <= DISK_LIE;
}

void disk_boundary(void)
{
    if (disk.state == NULL) {
        return;
    }
    uint64_t index = atomic_fetch_add(&disk.state->boundaries, 1) + 1;
    bool here = index == disk.at || (disk.again != 0 && index == disk.at + disk.again);
    if (cuts_power() && here && !atomic_load(&disk.state->lifted)) {
        (void)atomic_fetch_add(&disk.state->strikes, 1);
        disk_lose();
        /* No buffer is flushed, no handler runs; nobody gets the mutex any more. */
        (void)kill(getpid(), SIGKILL);
        for (;;) {
            (void)pause();
        }
    }
}
