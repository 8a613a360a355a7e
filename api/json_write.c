/* The JSON writer: straight into a buffer, no tree. */
#include "api/json.h"

#include "base/tpc_assert.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAFE_INTEGER_MAX 9007199254740991.0 /* 2^53 - 1 */

/* What may stand before a value or key without a comma between. A value never ends in a space or a
 * line feed, so these stand for "a new line of a stream". */
static void separate(struct tpc_buf *out)
{
    if (out->size == 0) {
        return;
    }
    switch (out->data[out->size - 1]) {
    case '{':
    case '[':
    case ':':
    case ' ':
    case '\n':
        return;
    default:
        tpc_buf_addc(out, ',');
    }
}

void api_jw_open(struct tpc_buf *out, char bracket)
{
    TPC_ASSERT(bracket == '{' || bracket == '[');
    separate(out);
    tpc_buf_addc(out, bracket);
}

void api_jw_close(struct tpc_buf *out, char bracket)
{
    TPC_ASSERT(bracket == '}' || bracket == ']');
    tpc_buf_addc(out, bracket);
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

static void add_escaped(struct tpc_buf *out, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    static const char from[] = "\"\\\n\r\t\b\f";
    static const char to[] = "\"\\nrtbf";
    const char *found = c ? strchr(from, c) : NULL;
    if (found) {
        char text[2] = {'\\', to[found - from]};
        tpc_buf_add(out, text, sizeof(text));
    } else {
        char text[6] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
        tpc_buf_add(out, text, sizeof(text));
    }
}

static void add_string(struct tpc_buf *out, const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text;
    tpc_buf_addc(out, '"');
    for (size_t i = 0; i < size;) {
        size_t run = i;
        while (run < size && is_plain(p[run])) {
            run++;
        }
        if (run > i) {
            tpc_buf_add(out, text + i, run - i);
            i = run;
            continue;
        }
        size_t length = p[i] >= 0x80 ? tpc_utf8_sequence(p + i, size - i) : 0;
        if (length > 0) {
            tpc_buf_add(out, text + i, length);
            i += length;
        } else if (p[i] >= 0x80) {
            tpc_buf_adds(out, "\xEF\xBF\xBD"); /* U+FFFD for a byte that is no UTF-8 */
            i++;
        } else {
            add_escaped(out, p[i]);
            i++;
        }
    }
    tpc_buf_addc(out, '"');
}

void api_jw_key(struct tpc_buf *out, const char *name)
{
    separate(out);
    add_string(out, name, strlen(name));
    tpc_buf_addc(out, ':');
}

void api_jw_strn(struct tpc_buf *out, const char *text, size_t size)
{
    separate(out);
    add_string(out, text, size);
}

void api_jw_str(struct tpc_buf *out, const char *text)
{
    if (text) {
        api_jw_strn(out, text, strlen(text));
    } else {
        api_jw_null(out);
    }
}

static void add_decimal(struct tpc_buf *out, uint64_t value, bool negative)
{
    char text[24];
    char *p = text + sizeof(text);
    do {
        *--p = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    if (negative) {
        *--p = '-';
    }
    tpc_buf_add(out, p, (size_t)(text + sizeof(text) - p));
}

void api_jw_u64(struct tpc_buf *out, uint64_t value)
{
    separate(out);
    add_decimal(out, value, false);
}

void api_jw_i64(struct tpc_buf *out, int64_t value)
{
    separate(out);
    add_decimal(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, value < 0);
}

void api_jw_double(struct tpc_buf *out, double value)
{
    if (!isfinite(value)) {
        api_jw_null(out);
        return;
    }
    bool negative_zero = value == 0 && signbit(value);
    if (!negative_zero && fabs(value) <= SAFE_INTEGER_MAX && value == trunc(value)) {
        api_jw_i64(out, (int64_t)value);
        return;
    }
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    separate(out);
    tpc_buf_adds(out, text);
    if (!strpbrk(text, ".e")) {
        tpc_buf_adds(out, ".0"); /* else it would read back as an integer no double can hold */
    }
}

void api_jw_bool(struct tpc_buf *out, bool value)
{
    separate(out);
    tpc_buf_adds(out, value ? "true" : "false");
}

void api_jw_null(struct tpc_buf *out)
{
    separate(out);
    tpc_buf_adds(out, "null");
}

void api_jw_id(struct tpc_buf *out, const struct tpc_id *id)
{
    char text[TPC_ID_TEXT + 2];
    text[0] = '"';
    tpc_id_format(id, text + 1);
    text[TPC_ID_TEXT] = '"';
    separate(out);
    tpc_buf_add(out, text, TPC_ID_TEXT + 1);
}

void api_jw_raw(struct tpc_buf *out, const char *json, size_t size)
{
    separate(out);
    tpc_buf_add(out, json, size);
}
