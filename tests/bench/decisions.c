#include "tests/bench/decisions.h"

#include "tests/bench/yardstick.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct decision {
    uint64_t number;
    uint64_t client;
};

static struct {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t more;
    int file, ready;
    bool ended;
    unsigned queued_count, writing_count, durable_count;
    struct decision *queued, *writing; /* swapped: one is filled while the other is written */
    unsigned *durable;
    uint64_t forces;
} decisions = {.mutex = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

static void force(void)
{
    size_t size = decisions.writing_count * sizeof decisions.writing[0];
    if (write(decisions.file, decisions.writing, size) != (ssize_t)size ||
        fdatasync(decisions.file) != 0) {
        yardstick_die("the decisions cannot be written: %s", strerror(errno));
    }
    decisions.forces++;
}

static void *run(void *arg)
{
    (void)arg;
    (void)pthread_mutex_lock(&decisions.mutex);
    while (!decisions.ended) {
        if (decisions.queued_count == 0) {
            (void)pthread_cond_wait(&decisions.more, &decisions.mutex);
            continue;
        }
        struct decision *taken = decisions.queued;
        decisions.queued = decisions.writing;
        decisions.writing = taken;
        decisions.writing_count = decisions.queued_count;
        decisions.queued_count = 0;
        (void)pthread_mutex_unlock(&decisions.mutex);
        force();
        (void)pthread_mutex_lock(&decisions.mutex);
        for (unsigned i = 0; i < decisions.writing_count; i++) {
            decisions.durable[decisions.durable_count++] = (unsigned)decisions.writing[i].client;
        }
        (void)eventfd_write(decisions.ready, 1);
    }
    (void)pthread_mutex_unlock(&decisions.mutex);
    return NULL;
}

int decisions_open(const char *path, unsigned waiting_max)
{
    decisions.file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    decisions.ready = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    decisions.queued = calloc(waiting_max, sizeof *decisions.queued);
    decisions.writing = calloc(waiting_max, sizeof *decisions.writing);
    decisions.durable = calloc(waiting_max, sizeof *decisions.durable);
    if (decisions.file < 0 || decisions.ready < 0 || decisions.queued == NULL ||
        decisions.writing == NULL || decisions.durable == NULL ||
        pthread_create(&decisions.thread, NULL, run, NULL) != 0) {
        yardstick_die("%s: %s", path, strerror(errno));
    }
    return decisions.ready;
}

void decisions_add(uint64_t number, unsigned client)
{
    (void)pthread_mutex_lock(&decisions.mutex);
    decisions.queued[decisions.queued_count++] =
        (struct decision){.number = number, .client = client};
    (void)pthread_cond_signal(&decisions.more);
    (void)pthread_mutex_unlock(&decisions.mutex);
}

unsigned decisions_take(unsigned *ret_clients)
{
    eventfd_t ignored;
    (void)eventfd_read(decisions.ready, &ignored);
    (void)pthread_mutex_lock(&decisions.mutex);
    unsigned count = decisions.durable_count;
    memcpy(ret_clients, decisions.durable, count * sizeof *ret_clients);
    decisions.durable_count = 0;
    (void)pthread_mutex_unlock(&decisions.mutex);
    return count;
}

uint64_t decisions_close(void)
{
    (void)pthread_mutex_lock(&decisions.mutex);
    decisions.ended = true;
    (void)pthread_cond_signal(&decisions.more);
    (void)pthread_mutex_unlock(&decisions.mutex);
    (void)pthread_join(decisions.thread, NULL);
    (void)close(decisions.file);
    (void)close(decisions.ready);
    free(decisions.queued);
    free(decisions.writing);
    free(decisions.durable);
    return decisions.forces;
}
