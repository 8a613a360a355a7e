/* Parameters of statements and values of result rows. */
#include "api/base64.h"
#include "api/codec_read.h"

#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum tpc_rc read_number(const struct api_json *value, const struct api_at *at,
                               struct api_value *ret_value, struct api_refusal *reterr)
{
    double number = api_json_number(value);
    if (api_json_is_unsafe_integer(value)) {
        return api_refuse(reterr, at, TPC_EINVAL,
                          "is an integer that a double cannot hold for sure (beyond 2^53 - 1): "
                          "send it as {\"int64\": \"…\"}");
    }
    if (!isfinite(number)) {
        return api_refuse(reterr, at, TPC_EINVAL,
                          "is a number that a double cannot hold: at most 1.7976931348623157e308");
    }
    if (!ret_value) {
        return TPC_OK;
    }
    bool negative_zero = number == 0 && signbit(number);
    if (number == trunc(number) && fabs(number) <= (double)API_SAFE_INTEGER_MAX && !negative_zero) {
        *ret_value = (struct api_value){.type = API_INT64, .int64 = (int64_t)number};
    } else {
        *ret_value = (struct api_value){.type = API_DOUBLE, .real = number};
    }
    return TPC_OK;
}

static enum tpc_rc read_text(const struct api_json *value, struct api_value *ret_value,
                             struct api_refusal *reterr)
{
    if (!ret_value) {
        return TPC_OK;
    }
    const char *text = api_json_string(value);
    size_t size = strlen(text);
    char *copy = malloc(size + 1);
    if (!copy) {
        return api_refuse_memory(reterr);
    }
    memcpy(copy, text, size + 1);
    *ret_value = (struct api_value){.type = API_TEXT, .bytes = {.data = copy, .size = size}};
    return TPC_OK;
}

/* A decimal integer in the one way to write it: no sign '+', no leading zeros. */
static bool parse_int64(const char *text, int64_t *ret_value)
{
    const char *digits = text + (*text == '-');
    if (strspn(digits, "0123456789") != strlen(digits) || *digits == '\0' ||
        (*digits == '0' && strcmp(text, "0") != 0)) {
        return false;
    }
    errno = 0;
    intmax_t number = strtoimax(text, NULL, 10);
    if (errno || number < INT64_MIN || number > INT64_MAX) {
        return false;
    }
    *ret_value = number;
    return true;
}

static enum tpc_rc read_int64(const struct api_json *value, const struct api_at *at,
                              struct api_value *ret_value, struct api_refusal *reterr)
{
    const char *text;
    enum tpc_rc rc = api_string_read(value, at, &text, reterr);
    if (rc) {
        return rc;
    }
    int64_t number;
    if (!parse_int64(text, &number)) {
        return api_refuse(reterr, at, TPC_EINVAL,
                          "must be a decimal integer from -9223372036854775808 to "
                          "9223372036854775807 in a string, not \"%.40s\"",
                          text);
    }
    if (ret_value) {
        *ret_value = (struct api_value){.type = API_INT64, .int64 = number};
    }
    return TPC_OK;
}

static enum tpc_rc read_blob(const struct api_json *value, const struct api_at *at,
                             struct api_value *ret_value, struct api_refusal *reterr)
{
    const char *text;
    enum tpc_rc rc = api_string_read(value, at, &text, reterr);
    if (rc) {
        return rc;
    }
    size_t length = strlen(text), size = 0;
    char *data = NULL;
    if (ret_value && !(data = malloc(length / 4 * 3 + 1))) {
        return api_refuse_memory(reterr);
    }
    if (!api_base64_decode(text, length, data, &size)) {
        free(data);
        return api_refuse(reterr, at, TPC_EINVAL,
                          "must be base64 with the standard alphabet and padding (RFC 4648)");
    }
    if (ret_value) {
        data[size] = '\0';
        *ret_value = (struct api_value){.type = API_BLOB, .bytes = {.data = data, .size = size}};
    }
    return TPC_OK;
}

static enum tpc_rc read_typed(const struct api_json *value, const struct api_at *at,
                              struct api_value *ret_value, struct api_refusal *reterr)
{
    enum { INT64, BLOB, COUNT };
    static const char *const names[COUNT] = {"int64", "blob"};
    const struct api_json *member[COUNT];
    enum tpc_rc rc = api_members_read(
        value, at, &(struct api_members){.names = names, .count = COUNT}, member, reterr);
    if (rc) {
        return rc;
    }
    if (!member[INT64] == !member[BLOB]) {
        return api_refuse(reterr, at, TPC_EINVAL,
                          "must have one member: {\"int64\": \"…\"} or {\"blob\": \"base64\"}");
    }
    return member[INT64] ? read_int64(member[INT64], API_AT(at, names[INT64]), ret_value, reterr)
                         : read_blob(member[BLOB], API_AT(at, names[BLOB]), ret_value, reterr);
}

enum tpc_rc api_value_read(const struct api_json *value, const struct api_at *at,
                           struct api_value *ret_value, struct api_refusal *reterr)
{
    struct api_value simple = {.type = API_NULL};
    switch (api_json_type(value)) {
    case API_JSON_NUMBER:
        return read_number(value, at, ret_value, reterr);
    case API_JSON_STRING:
        return read_text(value, ret_value, reterr);
    case API_JSON_OBJECT:
        return read_typed(value, at, ret_value, reterr);
    case API_JSON_ARRAY:
        return api_refuse(reterr, at, TPC_EINVAL,
                          "must be a string, a number, true, false, null, {\"int64\": \"…\"} or "
                          "{\"blob\": \"base64\"}, not an array");
    case API_JSON_BOOL:
        simple = (struct api_value){.type = API_BOOL, .boolean = api_json_bool(value)};
        break;
    case API_JSON_NULL:
        break;
    }
    if (ret_value) {
        *ret_value = simple;
    }
    return TPC_OK;
}

static void write_int64(struct tpc_buf *out, int64_t value)
{
    if (value >= -(int64_t)API_SAFE_INTEGER_MAX && value <= (int64_t)API_SAFE_INTEGER_MAX) {
        api_jw_i64(out, value);
        return;
    }
    char text[32];
    (void)snprintf(text, sizeof(text), "%" PRId64, value);
    api_jw_open(out, '{');
    api_jw_key(out, "int64");
    api_jw_str(out, text);
    api_jw_close(out, '}');
}

static void write_blob(struct tpc_buf *out, const void *data, size_t size)
{
    api_jw_open(out, '{');
    api_jw_key(out, "blob");
    tpc_buf_addc(out, '"');
    api_base64_write(out, data, size);
    tpc_buf_addc(out, '"');
    api_jw_close(out, '}');
}

/* JSON holds no bytes that are no UTF-8, and its readers here no NUL. */
static bool is_json_text(const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0; i < size;) {
        size_t length = p[i] < 0x80 ? p[i] != '\0' : tpc_utf8_sequence(p + i, size - i);
        if (length == 0) {
            return false;
        }
        i += length;
    }
    return true;
}

void api_value_write(struct tpc_buf *out, const struct api_value *value)
{
    switch (value->type) {
    case API_NULL:
        api_jw_null(out);
        break;
    case API_BOOL:
        api_jw_bool(out, value->boolean);
        break;
    case API_INT64:
        write_int64(out, value->int64);
        break;
    case API_DOUBLE:
        api_jw_double(out, value->real);
        break;
    case API_TEXT:
        if (is_json_text(value->bytes.data, value->bytes.size)) {
            api_jw_strn(out, value->bytes.data, value->bytes.size);
        } else {
            write_blob(out, value->bytes.data, value->bytes.size); /* no byte is lost */
        }
        break;
    case API_BLOB:
        write_blob(out, value->bytes.data, value->bytes.size);
        break;
    }
}
