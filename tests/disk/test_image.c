/* The power is cut under a real file system: an ext4 image that holds the log (and an agent's
 * database) is copied while it is mounted and written, and the daemon goes on from the copy.
 *
 * A copy that was read while the image changed is of no moment at all. So the daemon is stopped
 * first, and the image is read until it is twice the same: that is how it was at a moment between
 * the two. What the daemon had written and not synced is in its page cache and not in the image.
 *
 * Last, the daemons' disk lies about syncs, and the checks must object. */
#include "base/clock.h"
#include "tests/crash/options.h"
#include "tests/disk/faulty.h"
#include "tests/disk/mounts.h"
#include "tests/support/load.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    IMAGE_BYTES = 16 << 20,
    READS_MAX = 50,
    CUTS = 3,
    CUTS_FULL = 60,
    LIES_FROM = 24, /* after the start */
    ENDED_MAX = 24,
    PATIENCE_MS = 20000,
};

struct image {
    struct faulty faulty;
    bool lies;
    char path[SUP_PATH_MAX], copy[SUP_PATH_MAX], directory[SUP_PATH_MAX];
    uint8_t *bytes[2];
};

static bool mount_image(const char *path, const char *directory)
{
    return mounts_run("mount -o loop '%s' '%s'", path, directory);
}

static void read_image(const struct image *image, uint8_t *out)
{
    int fd = open(image->path, O_RDONLY | O_CLOEXEC);
    size_t size = 0;
    for (ssize_t got = 1; fd >= 0 && got > 0; size += (size_t)(got > 0 ? got : 0)) {
        got = pread(fd, out + size, IMAGE_BYTES - size, (off_t)size);
    }
    if (fd < 0 || size != IMAGE_BYTES) {
        sup_die("%s: %s", image->path, strerror(errno));
    }
    (void)close(fd);
}

static void take_copy(struct image *image)
{
    unsigned reads = 1;
    read_image(image, image->bytes[0]);
    read_image(image, image->bytes[1]);
    while (memcmp(image->bytes[0], image->bytes[1], IMAGE_BYTES) != 0) {
        if (++reads > READS_MAX) {
            sup_die("the image does not come to rest");
        }
        memcpy(image->bytes[0], image->bytes[1], IMAGE_BYTES);
        read_image(image, image->bytes[1]);
    }
    int fd = open(image->copy, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, image->bytes[0], IMAGE_BYTES) != IMAGE_BYTES || close(fd) != 0) {
        sup_die("%s: %s", image->copy, strerror(errno));
    }
}

/* False where it is not allowed. */
static bool image_open(struct image *image, unsigned patient)
{
    struct trial *trial = &image->faulty.trial;
    faulty_open(&image->faulty, patient, &(struct faulty_plan){.fault = "lie", .from = LIES_FROM});
    if (!image->lies) {
        trial->patient->proc.environment = NULL;
    }
    const char *world = trial->world.directory;
    (void)snprintf(image->path, sizeof image->path, "%.200s/image", world);
    (void)snprintf(image->copy, sizeof image->copy, "%.200s/image-copy", world);
    (void)snprintf(image->directory, sizeof image->directory, "%.200s/mounted", world);
    image->bytes[0] = malloc(IMAGE_BYTES);
    image->bytes[1] = malloc(IMAGE_BYTES);
    if (image->bytes[0] == NULL || image->bytes[1] == NULL) {
        sup_die("out of memory");
    }
    if (mkdir(image->directory, 0700) != 0 ||
        !mounts_run("truncate -s %d '%s'", IMAGE_BYTES, image->path) ||
        !mounts_run("PATH=$PATH:/usr/sbin:/sbin mkfs.ext4 -q -F '%s'", image->path) ||
        !mount_image(image->path, image->directory)) {
        return false;
    }
    mounts_move_log(trial, image->directory);
    if (patient > 0) {
        mounts_move_database(trial, image->directory);
    }
    return true;
}

/* Stopped at a moment that depends on nothing but the seed; whatever it was doing. */
static void cut(struct image *image, uint64_t moment)
{
    struct trial *trial = &image->faulty.trial;
    struct timespec pause = {.tv_nsec = (long)(moment % 8) * 1000000L};
    (void)nanosleep(&pause, NULL);
    sup_proc_signal(&trial->patient->proc, SIGSTOP);
    take_copy(image);
    sup_daemon_kill(trial->patient);
    if (umount2(image->directory, 0) != 0 || !mount_image(image->copy, image->directory)) {
        sup_die("%s: the copy cannot be mounted", image->copy);
    }
}

static bool run(struct image *image, uint64_t seed)
{
    struct trial *trial = &image->faulty.trial;
    uint64_t began_ms = tpc_clock_mono_ms(), ended = seed * 7 % ENDED_MAX;
    struct sup_load_options options = {.clients = 3,
                                       .seed = seed,
                                       .keyed_percent = 30,
                                       .within_percent = 20,
                                       .faults = true,
                                       .timeout_ms = 1500};
    trial_start(trial);
    struct sup_load *load = sup_load_begin(&trial->world, &options, &trial->history);
    (void)sup_load_wait(load, image->lies ? ENDED_MAX : ended, PATIENCE_MS);
    cut(image, seed);
    bool objected;
    if (image->lies) {
        sup_load_end(load, 0);
        objected = trial_objects(trial);
    } else {
        trial_start(trial);
        (void)sup_load_wait(load, ended + 4, PATIENCE_MS);
        sup_load_end(load, PATIENCE_MS);
        trial_close(trial);
        objected = trial->report.count > 0;
    }
    (void)printf("%s cut after %llu transfers%s: %zu of %zu committed, %u objections, %.1f s\n",
                 trial->patient->name, (unsigned long long)ended, image->lies ? ", with lies" : "",
                 sup_history_told(&trial->history, SUP_TOLD_COMMITTED), trial->history.count,
                 trial->report.count, (double)(tpc_clock_mono_ms() - began_ms) / 1000);
    (void)fflush(stdout);
    return objected;
}

static void image_done(struct image *image, bool keep)
{
    sup_daemon_kill(image->faulty.trial.patient);
    if (!keep) {
        (void)umount2(image->directory, MNT_DETACH);
    }
    free(image->bytes[0]);
    free(image->bytes[1]);
    faulty_done(&image->faulty, keep);
}

struct driver {
    struct crash_options options;
    unsigned cuts, failures;
    bool forbidden; /* no image can be mounted */
};

static void try(struct driver *driver, unsigned patient, uint64_t seed, bool lies)
{
    struct image image = {.faulty = {.trial = {.seed = seed}}, .lies = lies};
    if (driver->forbidden) {
        return;
    }
    if (!image_open(&image, patient)) {
        driver->forbidden = true;
    } else if (run(&image, seed) != lies) {
        driver->failures++;
        (void)fprintf(stderr, "%srun again with: --seed %llu --count 1\n",
                      lies ? "nobody noticed the lies; " : "", (unsigned long long)seed);
    }
    driver->cuts += !driver->forbidden && !lies;
    image_done(&image, driver->options.keep);
}

int main(int argc, char **argv)
{
    struct driver driver = {0};
    const struct crash_options *options = &driver.options;
    crash_options_parse(&driver.options, argc, argv);
    uint64_t cuts = options->count != 0 ? options->count : options->full ? CUTS_FULL : CUTS;
    if (!mounts_enter()) {
        return MOUNTS_SKIPPED;
    }
    for (uint64_t i = 0; i < cuts && !crash_options_is_over(&driver.options); i++) {
        try(&driver, 0, options->seed + i, false);
        try(&driver, 1, options->seed + i, false);
    }
    try(&driver, 0, options->seed + cuts, true);
    try(&driver, 1, options->seed + cuts, true);
    if (driver.forbidden) {
        (void)printf("skipped: no ext4 image can be made and mounted here\n");
        return MOUNTS_SKIPPED;
    }
    (void)printf("%u cuts, %u failures%s\n", driver.cuts, driver.failures, options->stopped);
    return driver.failures > 0 ? 1 : 0;
}
