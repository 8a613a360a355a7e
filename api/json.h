/* JSON: a reader (cJSON behind it, in json_read.c alone) and a writer into a tpc_buf. */
#ifndef ASSENT_API_JSON_H
#define ASSENT_API_JSON_H

#include "base/buf.h"
#include "base/id.h"

/* ---- Reading ----
 *
 * Strict RFC 8259: UTF-8 checked, NUL bytes, trailing text, duplicate member names and nesting
 * deeper than 64 refused; and integers that a double cannot hold are remembered as such, so that
 * no digit is lost in silence (api_json_is_unsafe_integer). A number too large for a double is not
 * finite (isfinite), one of more than 63 characters is refused. */

struct api_json; /* a value; borrowed from its document */

/* TPC_ESYNTAX with the offset, TPC_ENOMEM. Free *ret_root with api_json_free. */
TPC_NODISCARD enum tpc_rc api_json_parse(const char *text, size_t size, struct api_json **ret_root,
                                         struct tpc_err *reterr);
void api_json_free(struct api_json *root);

enum api_json_type {
    API_JSON_NULL,
    API_JSON_BOOL,
    API_JSON_NUMBER,
    API_JSON_STRING,
    API_JSON_ARRAY,
    API_JSON_OBJECT
};
enum api_json_type api_json_type(const struct api_json *value);
const char *api_json_type_name(enum api_json_type type);   /* "a string" */
const char *api_json_string(const struct api_json *value); /* NULL when it is none; no NUL inside */
double api_json_number(const struct api_json *value);
bool api_json_bool(const struct api_json *value);
bool api_json_is_unsafe_integer(const struct api_json *value);
/* True for an integral number in 0..2^53-1. */
bool api_json_u64(const struct api_json *value, uint64_t *ret_value);

/* NULL when absent or @object is none. */
const struct api_json *api_json_get(const struct api_json *object, const char *name);
size_t api_json_count(const struct api_json *array);
const struct api_json *api_json_first(const struct api_json *array_or_object);
const struct api_json *api_json_next(const struct api_json *value);
const char *api_json_name(const struct api_json *member); /* of an object's member */

/* Print @value compactly into @out, numbers so that they read back the same (those that a double
 * cannot hold in their own spelling). */
void api_json_print(struct tpc_buf *out, const struct api_json *value);

/* ---- Writing ----
 *
 * Commas are put by looking at the last byte: api_jw_key(buf, "a"); api_jw_str(buf, "x"). None is
 * put at the start of a buffer and after a space or line feed, so that a stream of lines works. */

void api_jw_open(struct tpc_buf *out, char bracket); /* '{' or '[' */
void api_jw_close(struct tpc_buf *out, char bracket);
void api_jw_key(struct tpc_buf *out, const char *name);
void api_jw_str(struct tpc_buf *out, const char *text); /* NULL: null; bad UTF-8 is replaced */
void api_jw_strn(struct tpc_buf *out, const char *text, size_t size);
void api_jw_u64(struct tpc_buf *out, uint64_t value); /* as a number: keep below 2^53 */
void api_jw_i64(struct tpc_buf *out, int64_t value);
/* The shortest that reads back the same, and never as an integer beyond 2^53; not finite: null. */
void api_jw_double(struct tpc_buf *out, double value);
void api_jw_bool(struct tpc_buf *out, bool value);
void api_jw_null(struct tpc_buf *out);
void api_jw_id(struct tpc_buf *out, const struct tpc_id *id);
/* One ready value, without white space at its end. */
void api_jw_raw(struct tpc_buf *out, const char *json, size_t size);

#endif
