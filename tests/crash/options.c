#include "tests/crash/options.h"

#include "base/clock.h"
#include "base/id.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void usage(const char *program, const char *word)
{
    (void)fprintf(stderr,
                  "%s: '%s'?\nusage: %s [--seed N] [--count N] [--process NAME] [--point NAME] "
                  "[--scenario NAME] [--seconds N] [--full] [--keep]\n",
                  program, word, program);
    exit(2);
}

static uint64_t number(const char *program, const char *text)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0') {
        usage(program, text);
    }
    return value;
}

void crash_options_parse(struct crash_options *options, int argc, char **argv)
{
    options->seed = tpc_random_u64() % 1000000;
    options->began_ms = tpc_clock_mono_ms();
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(word, "--keep") == 0) {
            options->keep = true;
            continue;
        }
        if (strcmp(word, "--full") == 0) {
            options->full = true;
            continue;
        }
        if (value == NULL) {
            usage(argv[0], word);
        }
        i++;
        if (strcmp(word, "--seed") == 0) {
            options->seed = number(argv[0], value);
        } else if (strcmp(word, "--count") == 0) {
            options->count = number(argv[0], value);
        } else if (strcmp(word, "--seconds") == 0) {
            options->seconds = number(argv[0], value);
        } else if (strcmp(word, "--process") == 0) {
            options->process = value;
        } else if (strcmp(word, "--point") == 0) {
            options->point = value;
        } else if (strcmp(word, "--scenario") == 0) {
            options->scenario = value;
        } else {
            usage(argv[0], word);
        }
    }
    (void)printf("seed %llu\n", (unsigned long long)options->seed);
    (void)fflush(stdout);
}

bool crash_options_is_over(struct crash_options *options)
{
    bool over = options->seconds != 0 && options->point == NULL &&
                tpc_clock_mono_ms() > options->began_ms + options->seconds * 1000;
    if (over) {
        (void)snprintf(options->stopped, sizeof options->stopped, ", stopped after %llu s",
                       (unsigned long long)options->seconds);
    }
    return over;
}
