/* Are the pages of log.db whole? SQLite walks all of them, which takes it about as long as recovery
 * takes to read the records. So a large log is walked beside that, by a thread with a connection of
 * its own that knows of no locks and no log.db-wal (immutable=1): all is in log.db by then, and
 * nothing is written to it before the thread has ended, for appending waits for it. A small one is
 * walked at once. */
#include "wal/store_sqlite.h"

#include "base/memory.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ANSWER_MAX = 256, INTERRUPT_EVERY_NS = 10000000, SECOND_NS = 1000000000 };
#define QUICK_CHECK_CODE "error code="

struct wal_sqlite_check {
    struct wal_sqlite view; /* the path, and a connection of its own */
    pthread_t thread;
    struct tpc_err err; /* its rc is TPC_OK where all is well */
};

/* What quick_check says of a page that it could not read is no damage. */
static bool is_read_failure(const char *answer)
{
    const char *code = strstr(answer, QUICK_CHECK_CODE);

    return code != NULL &&
           (strtol(code + strlen(QUICK_CHECK_CODE), NULL, 10) & 0xff) == SQLITE_IOERR;
}

enum tpc_rc wal_sqlite_ask(const struct wal_sqlite *log, const char *sql, char *out,
                           size_t out_size, struct tpc_err *reterr)
{
    sqlite3_stmt *statement = NULL;
    enum tpc_rc rc = TPC_OK;
    int code = sqlite3_prepare_v2(log->db, sql, -1, &statement, NULL);

    (void)snprintf(out, out_size, "nothing");
    if (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *found = (const char *)sqlite3_column_text(statement, 0);
        (void)snprintf(out, out_size, "%s", found == NULL ? "nothing" : found);
    }
    while (code == SQLITE_ROW) {
        code = sqlite3_step(statement);
    }
    if (code != SQLITE_DONE) {
        rc = wal_sqlite_fail(log, "open", reterr);
    }
    (void)sqlite3_finalize(statement);
    return rc;
}

enum tpc_rc wal_sqlite_check(const struct wal_sqlite *log, struct tpc_err *reterr)
{
    char found[ANSWER_MAX];
    enum tpc_rc rc = wal_sqlite_ask(log, "PRAGMA quick_check(1)", found, sizeof found, reterr);

    if (rc != TPC_OK || strcmp(found, "ok") == 0) {
        return rc;
    }
    return is_read_failure(found)
               ? tpc_fail(reterr, TPC_EIO,
                          "cannot read %s/log.db: see to the disk, then start again (%s)",
                          log->path, found)
               : tpc_fail(reterr, TPC_ECORRUPT, "%s/log.db is damaged: " WAL_SQLITE_RESTORE " (%s)",
                          log->path, found);
}

/* ---- Beside the reading ---- */

static void *walk(void *arg)
{
    struct wal_sqlite_check *check = arg;

    check->err.rc = wal_sqlite_check(&check->view, &check->err);
    return NULL;
}

bool wal_sqlite_thread(pthread_t *ret_thread, void *(*run)(void *arg), void *arg, const char *name)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool good = pthread_create(ret_thread, NULL, run, arg) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (good) {
        (void)pthread_setname_np(*ret_thread, name);
    }
    return good;
}

/* As a URI, in which other characters than these may mean something. The caller frees it. */
static char *uri_of(const char *path)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "/-_.~";
    const size_t size = 3 * strlen(path) + sizeof "file:/log.db?immutable=1";
    char *uri = tpc_must_malloc(size);
    size_t at = (size_t)snprintf(uri, size, "file:");

    for (; *path != '\0'; path++) {
        at += (size_t)snprintf(uri + at, size - at, strchr(plain, *path) != NULL ? "%c" : "%%%02x",
                               (unsigned char)*path);
    }
    (void)snprintf(uri + at, size - at, "/log.db?immutable=1");
    return uri;
}

static enum tpc_rc open_beside(struct wal_sqlite_check *check, struct tpc_err *reterr)
{
    const int flags =
        SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_URI;
    char *uri = uri_of(check->view.path);
    enum tpc_rc rc = TPC_OK;

    if (sqlite3_open_v2(uri, &check->view.db, flags, NULL) != SQLITE_OK ||
        sqlite3_exec(check->view.db, "PRAGMA cell_size_check=ON", NULL, NULL, NULL) != SQLITE_OK) {
        rc = wal_sqlite_fail(&check->view, "open", reterr);
    }
    free(uri);
    return rc;
}

enum tpc_rc wal_sqlite_check_begin(struct wal_sqlite *log, struct tpc_err *reterr)
{
    struct wal_sqlite_check *check = tpc_must_alloc(sizeof *check);
    enum tpc_rc rc;

    check->view.path = log->path;
    rc = open_beside(check, reterr);
    if (rc == TPC_OK && wal_sqlite_thread(&check->thread, walk, check, "log check")) {
        log->check = check;
        return TPC_OK;
    }
    rc = rc == TPC_OK ? wal_sqlite_check(&check->view, reterr) : rc;
    (void)sqlite3_close(check->view.db);
    free(check);
    return rc;
}

/* An interrupt that comes before the statement has begun is lost. */
static void abandon_walk(const struct wal_sqlite_check *check)
{
    struct timespec until;

    do {
        sqlite3_interrupt(check->view.db);
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += INTERRUPT_EVERY_NS;
        until.tv_sec += until.tv_nsec / SECOND_NS;
        until.tv_nsec %= SECOND_NS;
    } while (pthread_timedjoin_np(check->thread, NULL, &until) == ETIMEDOUT);
}

void wal_sqlite_check_end(struct wal_sqlite *log, bool abandon)
{
    struct wal_sqlite_check *check = log->check;

    if (check == NULL) {
        return;
    }
    if (abandon) {
        abandon_walk(check);
    } else {
        (void)pthread_join(check->thread, NULL);
    }
    if (!abandon && check->err.rc != TPC_OK) {
        log->damage = log->failure = check->err;
    }
    (void)sqlite3_close(check->view.db);
    free(check);
    log->check = NULL;
}
