/* What the tests of this folder share: scratch directories, records that say a word, and a log
 * read back as a line of words. */
#ifndef ASSENT_TESTS_UNIT_WAL_SUPPORT_H
#define ASSENT_TESTS_UNIT_WAL_SUPPORT_H

#include "wal/record.h"
#include "wal/wal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#define SCRATCH_MAX 128
#define WORDS_MAX   1024

struct tpc_id test_id(uint8_t n);

/* Make a directory for one test, and remove it with all that is in it. */
void make_scratch(char out[SCRATCH_MAX]);
void remove_scratch(const char *directory);
/* For cmocka: a new one for each test, whose logs are opened as they are by default. */
extern char scratch[SCRATCH_MAX];
int scratch_set_up(void **state);
int scratch_tear_down(void **state);
/* "DIRECTORY/NAME", valid until the next call but three. */
const char *in(const char *directory, const char *name);
off_t size_of(const char *path); /* -1: no such file */
void copy_file(const char *from, const char *to);
/* Change one byte of a file. */
void flip_byte(const char *path, off_t offset);
/* Where @size bytes of @data are in a file, the last such place; -1: nowhere. */
off_t find_last(const char *path, const void *data, size_t size);

/* A malloc'ed record of transaction @n with the field 1 = @word. */
void *encode_word(uint8_t n, const char *word, size_t *ret_size);
enum tpc_rc append_word(struct wal_store *store, uint8_t n, const char *word, bool force);
enum tpc_rc erase_all_of(struct wal_store *store, uint8_t n);
/* All words of the log in order, with a space between; the result is static. */
const char *words_of(struct wal_store *store);

extern uint32_t check_beside_pages; /* of what is opened from here on; 0: the default */

/* Open @directory as a coordinator's log; the first asserts that it succeeds. */
struct wal_store *must_open(const char *directory);
enum tpc_rc try_open(const char *directory, struct wal_store **ret_store, struct tpc_err *reterr);
/* Opening fails with @rc and a text in which @needle, the directory and an advice are. */
void assert_refused(const char *directory, enum tpc_rc rc, const char *needle);

void must(enum tpc_rc rc); /* be TPC_OK */
/* One life that appends @word and ends well. */
void live(const char *directory, const char *word);
/* One that appends "b c d" and ends by SIGKILL, without coming back. */
void die(const char *directory);
/* A start finds these in the log. */
void assert_words(const char *directory, const char *words);

/* Run @life in another process, which ends by SIGKILL or its own end, and wait for that. */
void in_another_process(void (*life)(const char *directory), const char *directory);

#endif
