/* Blocking HTTP calls for tests. */
#ifndef ASSENT_TESTS_SUPPORT_HTTP_H
#define ASSENT_TESTS_SUPPORT_HTTP_H

#include "api/json.h"

enum { SUP_CALL_MS = 20000 };

struct sup_answer {
    enum tpc_rc rc; /* as api_call.on_done tells it */
    int status;     /* 0: no answer */
    struct tpc_buf body;
    struct api_json *json; /* the body when it is a JSON document, else NULL */
};

/* Call @base followed by @path ("" for none). @header ("Name: value") and @body may be NULL.
 * Whatever becomes of it is in @ret_answer, to be freed with sup_answer_done. */
void sup_http_at(const char *method, const char *base, const char *path, const char *header,
                 const char *body, uint32_t timeout_ms, struct sup_answer *ret_answer);
void sup_answer_done(struct sup_answer *answer);

/* The status alone; 0 when there was none. */
int sup_http_status(const char *method, const char *base, const char *path, const char *body);

/* "branches.0.state": the text of a member that is a string, else "". */
const char *sup_json_text(const struct api_json *json, const char *path);
const struct api_json *sup_json_at(const struct api_json *json, const char *path);

/* The sum of all samples whose name is @name (and, when @label is not NULL, whose labels contain
 * it) in GET /metrics of @base; -1 when there are none or nobody answers. */
double sup_metric(const char *base, const char *name, const char *label);

#endif
