/* For tests of assentd as its users meet it: the real binary, requests byte by byte, and scripted
 * participants. */
#ifndef ASSENT_TESTS_HTTP_HARNESS_H
#define ASSENT_TESTS_HTTP_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/json.h"
#include "tests/http/scripted.h"
#include "tests/support/proc.h"

enum { PATIENCE_S = 20, FLAGS_MAX = 24 };

/* ---- Requests ---- */

struct reply {
    int status; /* 0: the connection ended before a whole answer was here */
    char *text; /* head and body, terminated */
    char *body;
    struct api_json *json; /* NULL: the body is none */
};

/* Send and do not wait; @headers are whole lines with "\r\n", or "". Returns the socket. */
int http_begin(const char *url, const char *method, const char *path, const char *headers,
               const char *body);
/* Read the answer and close; a second of silence is no end, PATIENCE_S are. */
void http_end(int fd, struct reply *reply);
/* True when an answer has begun to come, without waiting. */
bool http_is_answered(int fd);
void http_call(const char *url, const char *method, const char *path, const char *headers,
               const char *body, struct reply *reply);
void reply_done(struct reply *reply);
/* The value of a header in @out, "" when it is not there. */
const char *reply_header(const struct reply *reply, const char *name, char *out, size_t size);
/* The text of a member, by a path such as "branches.0.vote" or "hazard.0.actual"; "" when it is not
 * there, numbers and booleans as JSON has them, "null". In a buffer of its own, overwritten by the
 * 8th next call. */
const char *reply_get(const struct reply *reply, const char *path);

/* ---- The coordinator and two participants, east and west ---- */

struct stage {
    char directory[64];
    char data[96], out_path[96];
    const char *flags[FLAGS_MAX]; /* further ones, NULL-terminated */
    struct sup_proc coord;
    char url[80]; /* kept over restarts */
    struct scripted east, west;
};

int stage_setup(void **state);
int stage_teardown(void **state); /* everything stopped in good order, the directory removed */
/* @flags: further ones, NULL-terminated, or NULL; kept for restarts. */
void stage_start(struct stage *stage, const char *const *flags);
void stage_restart(struct stage *stage);       /* after a kill; waits until it is ready */
void stage_begin_restart(struct stage *stage); /* in two steps */
void stage_end_restart(struct stage *stage);
void stage_call(struct stage *stage, const char *method, const char *path, const char *body,
                struct reply *reply);
int stage_begin(struct stage *stage, const char *headers, const char *body);
void stage_submit(struct stage *stage, const char *headers, const char *body, struct reply *reply);
/* GET /v1/transactions/ID@query. */
void stage_get(struct stage *stage, const char *id, const char *query, struct reply *reply);
/* Ask until its state is @state; fails the test when that does not come. */
void stage_await_state(struct stage *stage, const char *id, const char *state);
/* The id of the newest transaction. */
void stage_newest(struct stage *stage, char out[TPC_ID_TEXT]);
double stage_metric(struct stage *stage, const char *sample); /* name and labels as printed */

/* A body with a statement at each; @more: further members such as ",\"ack\":\"decided\"". */
#define BOTH(more)                                                                                 \
    "{\"branches\":[{\"participant\":\"east\",\"statements\":[{\"sql\":\"x\"}]},"                  \
    "{\"participant\":\"west\",\"statements\":[{\"sql\":\"y\"}]}]" more "}"
#define ONE(more)                                                                                  \
    "{\"branches\":[{\"participant\":\"east\",\"statements\":[{\"sql\":\"x\"}]}]" more "}"

#define assert_reply(reply, path, text) assert_string_equal(reply_get((reply), (path)), (text))

#endif
