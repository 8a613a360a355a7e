#include "tests/memory/nomem.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FRAMES = 24, EARLY_BYTES = 16384, ALIGNMENT = 16 };

static struct nomem_control *control;

static struct {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*aligned_alloc)(size_t, size_t);
} next;

/* What finding the next malloc allocates itself; never given back. */
static _Alignas(ALIGNMENT) unsigned char early[EARLY_BYTES];
static size_t early_used;
static bool finding;

static void *early_alloc(size_t size)
{
    size_t whole = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (whole > EARLY_BYTES - early_used) {
        return NULL;
    }
    void *memory = early + early_used;
    early_used += whole;
    return memory;
}

static bool is_early(const void *memory)
{
    const unsigned char *at = memory;
    return at >= early && at < early + EARLY_BYTES;
}

static void find_next(void)
{
    finding = true;
    *(void **)&next.calloc = dlsym(RTLD_NEXT, "calloc");
    *(void **)&next.realloc = dlsym(RTLD_NEXT, "realloc");
    *(void **)&next.free = dlsym(RTLD_NEXT, "free");
    *(void **)&next.posix_memalign = dlsym(RTLD_NEXT, "posix_memalign");
    *(void **)&next.aligned_alloc = dlsym(RTLD_NEXT, "aligned_alloc");
    *(void **)&next.malloc = dlsym(RTLD_NEXT, "malloc");
    finding = false;
}

static void *map_control(void)
{
    const char *path = getenv("NOMEM_CONTROL");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) {
        return NULL;
    }
    void *page = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    return page != MAP_FAILED ? page : NULL;
}

/* "nomem: WHAT NUMBER" and where we are, on stderr, without an allocation. */
static void say(const char *what, uint64_t number)
{
    void *frames[FRAMES];
    char text[64];
    size_t at = sizeof text, size = strlen(what);
    text[--at] = '\n';
    do {
        text[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    at -= size;
    memcpy(text + at, what, size);
    ssize_t ignored = write(STDERR_FILENO, text + at, sizeof text - at);
    (void)ignored;
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES), STDERR_FILENO);
}

/* It dies of it when it comes back: the handler was for once. */
static void on_fatal_signal(int number)
{
    say("nomem: signal ", (uint64_t)number);
}

/* The first backtrace loads a library, which allocates. */
__attribute__((constructor)) static void begin(void)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    struct sigaction action = {.sa_handler = on_fatal_signal, .sa_flags = (int)SA_RESETHAND};
    void *frames[FRAMES];
    (void)backtrace(frames, FRAMES);
    control = map_control();
    for (size_t i = 0; control != NULL && i < sizeof fatal / sizeof fatal[0]; i++) {
        (void)sigaction(fatal[i], &action, NULL);
    }
}

static bool fails(void)
{
    if (control == NULL || !atomic_load(&control->armed)) {
        return false;
    }
    uint64_t number = 1 + atomic_fetch_add(&control->seen, 1);
    uint64_t at = atomic_load(&control->fail_at);
    bool sticky = atomic_load(&control->sticky);
    if (at == 0 || number < at || (number > at && !sticky)) {
        return false;
    }
    if (atomic_fetch_add(&control->failed, 1) == 0) {
        say("nomem: allocation ", number);
    }
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    if (next.malloc == NULL) {
        if (finding) {
            return early_alloc(size);
        }
        find_next();
    }
    return fails() ? NULL : next.malloc(size);
}

void *calloc(size_t count, size_t size)
{
    if (next.malloc == NULL) {
        if (finding) {
            return early_alloc(count * size); /* zero from the start */
        }
        find_next();
    }
    return fails() ? NULL : next.calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    if (next.malloc == NULL) {
        find_next();
    }
    if (is_early(memory)) {
        void *moved = next.malloc(size);
        size_t most = (size_t)(early + EARLY_BYTES - (unsigned char *)memory);
        return moved != NULL ? memcpy(moved, memory, size < most ? size : most) : NULL;
    }
    return fails() ? NULL : next.realloc(memory, size);
}

void free(void *memory)
{
    if (memory != NULL && !is_early(memory)) {
        next.free(memory);
    }
}

int posix_memalign(void **ret_memory, size_t alignment, size_t size)
{
    return fails() ? ENOMEM : next.posix_memalign(ret_memory, alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : next.aligned_alloc(alignment, size);
}
