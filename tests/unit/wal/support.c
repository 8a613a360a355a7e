#include "tests/unit/wal/support.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct tpc_id test_id(uint8_t n)
{
    struct tpc_id id = {{0}};

    id.bytes[0] = 0x42;
    id.bytes[15] = n;
    return id;
}

void make_scratch(char out[SCRATCH_MAX])
{
    const char *base = getenv("TMPDIR");

    (void)snprintf(out, SCRATCH_MAX, "%s/assent-wal-XXXXXX", base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(out));
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

void remove_scratch(const char *directory)
{
    assert_int_equal(nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

const char *in(const char *directory, const char *name)
{
    static char paths[4][2 * SCRATCH_MAX];
    static unsigned next;
    char *path = paths[next++ % 4];

    (void)snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

off_t size_of(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 ? status.st_size : -1;
}

static uint8_t *read_all(const char *path, size_t *ret_size)
{
    const off_t size = size_of(path);
    FILE *file = fopen(path, "rb");
    uint8_t *data;

    assert_non_null(file);
    assert_true(size >= 0);
    data = malloc((size_t)size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)size, file), (size_t)size);
    (void)fclose(file);
    *ret_size = (size_t)size;
    return data;
}

void copy_file(const char *from, const char *to)
{
    size_t size;
    uint8_t *data = read_all(from, &size);
    FILE *file = fopen(to, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    free(data);
}

void flip_byte(const char *path, off_t offset)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    (void)close(fd);
}

off_t find_last(const char *path, const void *data, size_t size)
{
    size_t all;
    uint8_t *bytes = read_all(path, &all);
    off_t found = -1;

    for (size_t i = 0; i + size <= all; i++) {
        if (memcmp(bytes + i, data, size) == 0) {
            found = (off_t)i;
        }
    }
    free(bytes);
    return found;
}

void *encode_word(uint8_t n, const char *word, size_t *ret_size)
{
    struct tpc_buf buf = {0};
    const struct tpc_id gtid = test_id(n);

    wal_record_begin(&buf, WAL_COORD_COMMIT, &gtid);
    wal_record_add_text(&buf, 1, word);
    assert_int_equal(wal_record_end(&buf, 0), TPC_OK);
    *ret_size = buf.size;
    return tpc_buf_take(&buf);
}

enum tpc_rc append_word(struct wal_store *store, uint8_t n, const char *word, bool force)
{
    struct wal_entry entry = {0};
    void *data = encode_word(n, word, &entry.size);
    enum tpc_rc rc;

    entry.data = data;
    rc = store->ops->append(store, &entry, 1, force, NULL);
    free(data);
    return rc;
}

enum tpc_rc erase_all_of(struct wal_store *store, uint8_t n)
{
    const struct tpc_id gtid = test_id(n);

    return store->ops->erase(store, &gtid, 1, NULL);
}

struct reading {
    char *out;
    uint64_t last_lsn;
};

static enum tpc_rc add_word(void *arg, uint64_t lsn, const void *data, size_t size,
                            struct tpc_err *reterr)
{
    struct reading *reading = arg;
    struct wal_record record;
    struct wal_field field;
    size_t offset = 0;
    const enum tpc_rc rc = wal_record_decode(data, size, &record, reterr);

    assert_true(lsn > reading->last_lsn);
    reading->last_lsn = lsn;
    if (rc == TPC_OK && wal_field_next(&record, &offset, &field)) {
        const size_t used = strlen(reading->out);
        (void)snprintf(reading->out + used, WORDS_MAX - used, "%s%.*s", used == 0 ? "" : " ",
                       (int)field.size, (const char *)field.value);
    }
    return rc;
}

const char *words_of(struct wal_store *store)
{
    static char words[WORDS_MAX];
    struct reading reading = {.out = words};
    struct tpc_err err = {0};

    words[0] = '\0';
    if (store->ops->scan(store, add_word, &reading, &err) != TPC_OK) {
        fail_msg("%s", err.text);
    }
    return words;
}

uint32_t check_beside_pages;

enum tpc_rc try_open(const char *directory, struct wal_store **ret_store, struct tpc_err *reterr)
{
    const struct wal_options options = {
        .directory = directory, .role = "coordinator", .check_beside_pages = check_beside_pages};

    return wal_open(&options, ret_store, reterr);
}

struct wal_store *must_open(const char *directory)
{
    struct wal_store *store = NULL;
    struct tpc_err err = {0};

    if (try_open(directory, &store, &err) != TPC_OK) {
        fail_msg("%s", err.text);
    }
    return store;
}

void assert_refused(const char *directory, enum tpc_rc rc, const char *needle)
{
    static const char *const advices[] = {"restore", "put back", "stop that", "end that",
                                          "give it", "see to",   "mend",      "install"};
    struct wal_store *store = NULL;
    struct tpc_err err = {0};
    bool advised = false;

    const enum tpc_rc got = try_open(directory, &store, &err);
    if (got == TPC_OK) {
        store->ops->close(store);
    }
    if (got != rc || strstr(err.text, needle) == NULL) {
        fail_msg("%s, \"%s\" instead of %s and \"%s\"", tpc_rc_name(got), err.text, tpc_rc_name(rc),
                 needle);
    }
    assert_int_equal(err.rc, rc);
    assert_non_null(strstr(err.text, directory));
    for (size_t i = 0; i < sizeof advices / sizeof *advices; i++) {
        advised = advised || strstr(err.text, advices[i]) != NULL;
    }
    assert_true(advised);
}

void in_another_process(void (*life)(const char *directory), const char *directory)
{
    const pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(60);
        life(directory);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) ||
                (WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

void must(enum tpc_rc rc)
{
    assert_int_equal(rc, TPC_OK);
}

void live(const char *directory, const char *word)
{
    struct wal_store *store = must_open(directory);

    must(append_word(store, 1, word, true));
    store->ops->close(store);
}

void assert_words(const char *directory, const char *words)
{
    struct wal_store *store = must_open(directory);

    assert_string_equal(words_of(store), words);
    store->ops->close(store);
}

void die(const char *directory)
{
    struct wal_store *store = must_open(directory);

    must(append_word(store, 1, "b", true));
    must(append_word(store, 2, "c", true));
    must(append_word(store, 3, "d", true));
    (void)kill(getpid(), SIGKILL);
}

char scratch[SCRATCH_MAX];

int scratch_set_up(void **state)
{
    (void)state;
    check_beside_pages = 0;
    make_scratch(scratch);
    return 0;
}

int scratch_tear_down(void **state)
{
    (void)state;
    remove_scratch(scratch);
    return 0;
}
