/* Settings: a YAML file up to the first 0xff, then flags that end with NUL. What is accepted is
 * printed so that it is accepted again, and means the same. */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/base/settings.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WORDS_MAX = 32, TEXT_MAX = 4096 };

/* A file without a place on disk, made once; @path is how to open it. */
static int memory_file(char *path, size_t size)
{
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("settings", MFD_CLOEXEC);
        TPC_ASSERT(fd >= 0);
        (void)unsetenv("ASSENT_CONFIG");
    }
    snprintf(path, size, "--config=/proc/self/fd/%d", fd);
    return fd;
}

static void write_file(int fd, const void *data, size_t size)
{
    TPC_ASSERT(ftruncate(fd, 0) == 0);
    TPC_ASSERT(pwrite(fd, data, size, 0) == (ssize_t)size);
}

/* Those flags but --config: the file is ours. */
static int split_words(char *text, size_t size, char **argv)
{
    int argc = 2;
    for (size_t at = 0; at < size && argc < WORDS_MAX; at += strlen(text + at) + 1) {
        if (strncmp(text + at, "--config", 8) != 0) {
            argv[argc++] = text + at;
        }
    }
    return argc;
}

static void print(const struct settings *settings, char **ret_text, size_t *ret_size)
{
    FILE *out = open_memstream(ret_text, ret_size);
    TPC_ASSERT(out != NULL);
    tpc_config_print(options, settings, out);
    TPC_ASSERT(fclose(out) == 0);
}

static void round_trip(const struct settings *settings, int fd, char **argv)
{
    struct settings again = {0};
    struct tpc_config_result result;
    struct tpc_err err = {0};
    char *first = NULL, *second = NULL;
    size_t first_size = 0, second_size = 0;
    print(settings, &first, &first_size);
    write_file(fd, first, first_size);
    TPC_ASSERT(tpc_config_load(options, &again, 2, argv, &result, &err) == TPC_OK);
    print(&again, &second, &second_size);
    TPC_ASSERT(fuzz_same(first, first_size, second, second_size));
    free(first);
    free(second);
    tpc_config_result_done(&result);
    tpc_config_done(options, &again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char config[64], words[TEXT_MAX + 1] = "";
    char *argv[WORDS_MAX + 1] = {(char[]){"fuzz"}, config};
    const uint8_t *mark = size > 0 ? memchr(data, 0xff, size) : NULL;
    size_t yaml_size = mark != NULL ? (size_t)(mark - data) : size;
    size_t words_size = mark != NULL ? size - yaml_size - 1 : 0;
    if (words_size > TEXT_MAX) {
        return 0;
    }
    int fd = memory_file(config, sizeof config);
    write_file(fd, data, yaml_size);
    if (words_size > 0) {
        memcpy(words, mark + 1, words_size);
    }
    struct settings settings = {0};
    struct tpc_config_result result;
    struct tpc_err err = {0};
    int argc = split_words(words, words_size, argv);
    if (tpc_config_load(options, &settings, argc, argv, &result, &err) != TPC_OK) {
        static const struct settings none;
        TPC_ASSERT(err.rc != TPC_OK && err.text[0] != '\0');
        TPC_ASSERT(memcmp(&settings, &none, sizeof none) == 0 && result.positional == NULL);
        return 0;
    }
    if (!result.help && !result.version && !result.list_failpoints) {
        round_trip(&settings, fd, argv);
    }
    tpc_config_result_done(&result);
    tpc_config_done(options, &settings);
    return 0;
}
