/* A real database file in a directory of its own, wrapped by the SQLite resource. */
#ifndef ASSENT_TESTS_UNIT_PARTICIPANT_SQLITE_FIXTURE_H
#define ASSENT_TESTS_UNIT_PARTICIPANT_SQLITE_FIXTURE_H

#include "tests/unit/base/unit.h"

#include "participant/resource.h"

#include <semaphore.h>

struct sqlite3;

struct fx {
    char directory[64], path[96], url[112];
    struct part_resource_options options;
    struct part_resource *resource;
    struct sqlite3 *other; /* another program at the same file */
    sem_t woken;
};

/* Make the file with @schema and open (not start) the resource; options may be changed between
 * fx_init and fx_open. */
void fx_init(struct fx *fx, const char *schema);
void fx_open(struct fx *fx);
void fx_start(struct fx *fx);
void fx_setup(struct fx *fx, const char *schema); /* all three */
/* As after a crash or a clean end: close, with a new generation of the log open again. */
/* The next fx_open is with a new generation of the log. */
void fx_close(struct fx *fx);
void fx_reopen(struct fx *fx);
void fx_done(struct fx *fx);

struct tpc_id fx_id(unsigned number); /* a smaller number is older among equal ages */

/* Jobs. Each belongs to the test: fx_free. */
struct part_job *fx_job(enum part_job_kind kind, unsigned number);
struct api_statement *fx_add(struct part_job *job, const char *sql);
void fx_int(struct api_statement *statement, int64_t value); /* one more parameter */
void fx_text(struct api_statement *statement, const char *value);
void fx_submit(struct fx *fx, struct part_job *job);
bool fx_is_done(struct fx *fx, struct part_job *job); /* without waiting, but for the delivery */
enum part_job_outcome fx_wait(struct fx *fx, struct part_job *job);
void fx_free(struct part_job *job);

/* Prepare @sql (NULL-terminated list) as branch @number, as old as its number. */
struct part_job *fx_prepare(struct fx *fx, unsigned number, const char *const *sql);
#define FX_PREPARE(fx, number, ...)                                                                \
    fx_prepare((fx), (number), (const char *const[]){__VA_ARGS__, NULL})
/* The outcome alone. */
enum part_job_outcome fx_vote(struct fx *fx, unsigned number, const char *sql);
/* What was submitted before has been captured, or waits for locks. */
void fx_barrier(struct fx *fx);
enum part_job_outcome fx_end(struct fx *fx, enum part_job_kind kind, unsigned number);
/* A refused branch: its cause and words. */
void fx_refused(struct fx *fx, const char *sql, enum api_cause_code code, const char *words);

/* By the other program. */
int64_t fx_number(struct fx *fx, const char *sql);
int fx_exec(struct fx *fx, const char *sql); /* SQLite's code */
void fx_must(struct fx *fx, const char *sql);
/* All rows as text. */
void fx_dump(struct sqlite3 *db, const char *sql, struct tpc_buf *out);

#endif
