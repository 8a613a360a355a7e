/* usage: fuzz_NAME FILE|DIRECTORY...; runs a target over files, in place of libFuzzer. Says how
 * many there were; a directory without any is an error, since then nothing would be tested. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static void fail(const char *path)
{
    perror(path);
    exit(2);
}

/* An allocation of exactly its size lets the address sanitizer see a read beyond the end. */
static unsigned run_file(const char *path)
{
    struct stat status;
    FILE *file = fopen(path, "rb");
    if (file == NULL || fstat(fileno(file), &status) != 0) {
        fail(path);
    }
    size_t size = (size_t)status.st_size;
    uint8_t *data = malloc(size + (size == 0));
    if (data == NULL || fread(data, 1, size, file) != size) {
        fail(path);
    }
    fclose(file);
    fprintf(stderr, "%s: %zu bytes\n", path, size);
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 1;
}

static unsigned run_directory(const char *path, DIR *directory)
{
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char file[4096];
        if (entry->d_name[0] != '.') {
            snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
            count += run_file(file);
        }
    }
    closedir(directory);
    return count;
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    for (int i = 1; i < argc; i++) {
        DIR *directory = opendir(argv[i]);
        unsigned found = directory != NULL ? run_directory(argv[i], directory) : run_file(argv[i]);
        if (found == 0) {
            fprintf(stderr, "%s: no files\n", argv[i]);
            return 2;
        }
        count += found;
    }
    printf("%u inputs\n", count);
    return count > 0 ? 0 : 2;
}
