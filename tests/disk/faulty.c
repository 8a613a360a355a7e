#include "tests/disk/faulty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void set(struct faulty *faulty, const char *name, const char *value)
{
    if (faulty->variable_count == FAULTY_VARIABLES) {
        sup_die("more than %d variables", FAULTY_VARIABLES);
    }
    char *variable = faulty->variables[faulty->variable_count];
    (void)snprintf(variable, sizeof faulty->variables[0], "%s=%s", name, value);
    faulty->environment[faulty->variable_count++] = variable;
}

static void set_number(struct faulty *faulty, const char *name, uint64_t value)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    set(faulty, name, text);
}

static void map_state(struct faulty *faulty)
{
    char path[SUP_PATH_MAX];
    (void)snprintf(path, sizeof path, "%.200s/disk-state", faulty->trial.world.directory);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof *faulty->state) != 0) {
        sup_die("%s: %s", path, strerror(errno));
    }
    faulty->state = mmap(NULL, sizeof *faulty->state, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (faulty->state == MAP_FAILED) {
        sup_die("%s: %s", path, strerror(errno));
    }
    set(faulty, "ASSENT_DISK_STATE", path);
}

void faulty_open(struct faulty *faulty, unsigned patient, const struct faulty_plan *plan)
{
    char options[SUP_PATH_MAX];
    const char *asan = getenv("ASAN_OPTIONS");
    trial_open(&faulty->trial, patient);
    map_state(faulty);
    set(faulty, "LD_PRELOAD", FAULTY_DISK);
    set(faulty, "ASSENT_DISK_FAULT", plan->fault);
    set_number(faulty, "ASSENT_DISK_AT", plan->at);
    set_number(faulty, "ASSENT_DISK_AGAIN", plan->again);
    set_number(faulty, "ASSENT_DISK_FROM", plan->from);
    set_number(faulty, "ASSENT_DISK_SEED", plan->seed);
    set_number(faulty, "ASSENT_DISK_STICKY", plan->sticky);
    set_number(faulty, "ASSENT_DISK_EAGER", 1);
    /* Else that sanitizer insists on being loaded before us. */
    (void)snprintf(options, sizeof options, "verify_asan_link_order=0%s%.200s",
                   asan != NULL ? ":" : "", asan != NULL ? asan : "");
    set(faulty, "ASAN_OPTIONS", options);
    faulty->trial.patient->proc.environment = faulty->environment;
}

void faulty_lift(struct faulty *faulty)
{
    atomic_store(&faulty->state->lifted, 1);
}

void faulty_done(struct faulty *faulty, bool keep)
{
    trial_done(&faulty->trial, keep);
    (void)munmap(faulty->state, sizeof *faulty->state);
}
