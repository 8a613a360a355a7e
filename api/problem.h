/* Problem documents, RFC 9457. */
#ifndef ASSENT_API_PROBLEM_H
#define ASSENT_API_PROBLEM_H

#include "api/codec.h"

#define API_PROBLEM_CONTENT_TYPE "application/problem+json"

/* Start a document: type ("malformed", written as "urn:assent:problem:malformed"), title, status,
 * detail, and the JSON path `field` where there is one (NULL or "" : none). The caller may add
 * members and must close it with api_jw_close(out, '}'). */
void api_problem_begin(struct tpc_buf *out, const char *type, const char *title, int status,
                       const char *detail, const char *field);
/* A whole document from a refusal: malformed, invalid, too-large, …; sets *ret_status. */
void api_problem_refusal(struct tpc_buf *out, const struct api_refusal *refusal, int *ret_status);

#endif
