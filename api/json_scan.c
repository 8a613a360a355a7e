#include "api/json_scan.h"

#include "base/utf8.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SAFE_INTEGER_MAX    UINT64_C(9007199254740991) /* 2^53 - 1 */
#define SAFE_INTEGER_DIGITS 16
#define ODD_CAPACITY_FIRST  8

struct scan {
    const unsigned char *text;
    size_t size, at;
    size_t numbers;
    struct api_odd_numbers odd;
    struct tpc_err *reterr;
};

static enum tpc_rc scan_value(struct scan *scan, unsigned depth);

static enum tpc_rc malformed(struct scan *scan, const char *what)
{
    return tpc_fail(scan->reterr, TPC_ESYNTAX, "malformed JSON at byte %zu: %s", scan->at, what);
}

static enum tpc_rc expected(struct scan *scan, const char *what)
{
    const char *found = scan->at == scan->size  ? "the end"
                        : !scan->text[scan->at] ? "a NUL byte"
                                                : "something else";
    return tpc_fail(scan->reterr, TPC_ESYNTAX, "malformed JSON at byte %zu: expected %s, found %s",
                    scan->at, what, found);
}

/* The byte at the scan's place; 0 at the end, which no rule of the grammar accepts. */
static unsigned char peek(const struct scan *scan)
{
    return scan->at < scan->size ? scan->text[scan->at] : 0;
}

static void skip_space(struct scan *scan)
{
    while (scan->at < scan->size) {
        unsigned char c = scan->text[scan->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
            return;
        }
        scan->at++;
    }
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

/* Four hexadecimal digits, or -1 with the place at the wrong one. */
static int scan_hex4(struct scan *scan)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = peek(scan);
        int digit;
        if (is_digit(c)) {
            digit = c - '0';
        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            digit = (c | 0x20) - 'a' + 10;
        } else {
            return -1;
        }
        value = value * 16 + digit;
        scan->at++;
    }
    return value;
}

/* After "\u". */
static enum tpc_rc scan_unicode_escape(struct scan *scan)
{
    int unit = scan_hex4(scan);
    if (unit < 0) {
        return expected(scan, "four hexadecimal digits after \\u");
    }
    if (unit == 0) {
        return malformed(scan, "a string must not hold a NUL character (send it as a blob)");
    }
    if (unit >= 0xDC00 && unit <= 0xDFFF) {
        return malformed(scan, "a low surrogate without its high surrogate");
    }
    if (unit < 0xD800 || unit > 0xDBFF) {
        return TPC_OK;
    }
    if (scan->size - scan->at < 2 || memcmp(scan->text + scan->at, "\\u", 2) != 0) {
        return malformed(scan, "a high surrogate without its low surrogate");
    }
    scan->at += 2;
    unit = scan_hex4(scan);
    if (unit < 0xDC00 || unit > 0xDFFF) {
        return malformed(scan, "a high surrogate without its low surrogate");
    }
    return TPC_OK;
}

/* After the backslash. */
static enum tpc_rc scan_escape(struct scan *scan)
{
    unsigned char c = peek(scan);
    if (c == 'u') {
        scan->at++;
        return scan_unicode_escape(scan);
    }
    if (!c || !strchr("\"\\/bfnrt", c)) {
        return expected(scan, "one of \" \\ / b f n r t u after a backslash");
    }
    scan->at++;
    return TPC_OK;
}

static enum tpc_rc scan_string(struct scan *scan)
{
    scan->at++; /* the quote */
    while (scan->at < scan->size) {
        unsigned char c = scan->text[scan->at];
        if (c == '"') {
            scan->at++;
            return TPC_OK;
        }
        if (c == '\\') {
            scan->at++;
            enum tpc_rc rc = scan_escape(scan);
            if (rc) {
                return rc;
            }
        } else if (c >= 0x80) {
            size_t length = tpc_utf8_sequence(scan->text + scan->at, scan->size - scan->at);
            if (length == 0) {
                return malformed(scan, "a string must be valid UTF-8");
            }
            scan->at += length;
        } else if (c < 0x20) {
            return malformed(scan, "a control character in a string must be escaped");
        } else {
            scan->at++;
        }
    }
    return malformed(scan, "the text ends inside a string");
}

static enum tpc_rc note_odd(struct scan *scan, size_t offset, size_t size)
{
    struct api_odd_numbers *odd = &scan->odd;
    if (odd->count == odd->capacity) {
        size_t capacity = odd->capacity ? odd->capacity * 2 : ODD_CAPACITY_FIRST;
        struct api_odd_number *items = realloc(odd->items, capacity * sizeof(*items));
        if (!items) {
            return tpc_fail(scan->reterr, TPC_ENOMEM, "no memory to read JSON");
        }
        odd->items = items;
        odd->capacity = capacity;
    }
    odd->items[odd->count++] =
        (struct api_odd_number){.ordinal = scan->numbers, .offset = offset, .size = size};
    return TPC_OK;
}

/* @digits: an integer's, without sign and leading zeros, at most API_JSON_NUMBER_MAX. */
static bool is_unsafe_integer(const unsigned char *digits, size_t count)
{
    if (count != SAFE_INTEGER_DIGITS) {
        return count > SAFE_INTEGER_DIGITS;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++) {
        value = value * 10 + (uint64_t)(digits[i] - '0');
    }
    return value > SAFE_INTEGER_MAX;
}

/* A number with an exponent, the only kind that can overflow within API_JSON_NUMBER_MAX. */
static bool overflows(const unsigned char *number, size_t size)
{
    char copy[API_JSON_NUMBER_MAX + 1];
    memcpy(copy, number, size);
    copy[size] = '\0';
    return !isfinite(strtod(copy, NULL));
}

static enum tpc_rc skip_digits(struct scan *scan)
{
    if (!is_digit(peek(scan))) {
        return expected(scan, "a digit");
    }
    while (is_digit(peek(scan))) {
        scan->at++;
    }
    return TPC_OK;
}

static enum tpc_rc scan_number(struct scan *scan)
{
    size_t start = scan->at;
    scan->at += peek(scan) == '-';
    size_t digits = scan->at;
    enum tpc_rc rc = skip_digits(scan);
    if (rc) {
        return rc;
    }
    size_t digit_count = scan->at - digits;
    if (scan->text[digits] == '0' && digit_count > 1) {
        scan->at = digits;
        return malformed(scan, "a number must not begin with a zero");
    }
    bool integer = true, exponent = false;
    if (peek(scan) == '.') {
        scan->at++;
        integer = false;
        rc = skip_digits(scan);
    }
    if (!rc && (peek(scan) | 0x20) == 'e') {
        scan->at++;
        exponent = true;
        scan->at += peek(scan) == '+' || peek(scan) == '-';
        rc = skip_digits(scan);
    }
    if (rc) {
        return rc;
    }
    size_t size = scan->at - start;
    if (size > API_JSON_NUMBER_MAX) {
        scan->at = start;
        return malformed(scan, "a number must not be longer than 63 characters");
    }
    bool odd = exponent ? overflows(scan->text + start, size)
                        : integer && is_unsafe_integer(scan->text + digits, digit_count);
    rc = odd ? note_odd(scan, start, size) : TPC_OK;
    scan->numbers++;
    return rc;
}

static enum tpc_rc scan_word(struct scan *scan, const char *word)
{
    size_t length = strlen(word);
    if (scan->size - scan->at < length || memcmp(scan->text + scan->at, word, length) != 0) {
        return expected(scan, "a value (strings and names stand in double quotes)");
    }
    scan->at += length;
    return TPC_OK;
}

/* Step over ',' (*ret_more true) or @close (false). */
static enum tpc_rc scan_separator(struct scan *scan, unsigned char close, bool *ret_more)
{
    skip_space(scan);
    unsigned char c = peek(scan);
    if (c != ',' && c != close) {
        return expected(scan, close == '}' ? "',' or '}'" : "',' or ']'");
    }
    scan->at++;
    *ret_more = c == ',';
    return TPC_OK;
}

static enum tpc_rc scan_name(struct scan *scan)
{
    skip_space(scan);
    if (peek(scan) != '"') {
        return expected(scan, "a member name in double quotes");
    }
    enum tpc_rc rc = scan_string(scan);
    if (rc) {
        return rc;
    }
    skip_space(scan);
    if (peek(scan) != ':') {
        return expected(scan, "':'");
    }
    scan->at++;
    return TPC_OK;
}

static enum tpc_rc scan_container(struct scan *scan, unsigned depth)
{
    bool object = scan->text[scan->at] == '{';
    unsigned char close = object ? '}' : ']';
    if (depth > API_JSON_DEPTH_MAX) {
        return malformed(scan, "nested deeper than 64 levels");
    }
    scan->at++;
    skip_space(scan);
    if (peek(scan) == close) {
        scan->at++;
        return TPC_OK;
    }
    bool more = true;
    while (more) {
        enum tpc_rc rc = object ? scan_name(scan) : TPC_OK;
        if (!rc) {
            rc = scan_value(scan, depth);
        }
        if (!rc) {
            rc = scan_separator(scan, close, &more);
        }
        if (rc) {
            return rc;
        }
    }
    return TPC_OK;
}

/* @depth: containers around this value. */
static enum tpc_rc scan_value(struct scan *scan, unsigned depth)
{
    skip_space(scan);
    switch (peek(scan)) {
    case '{':
    case '[':
        return scan_container(scan, depth + 1);
    case '"':
        return scan_string(scan);
    case 't':
        return scan_word(scan, "true");
    case 'f':
        return scan_word(scan, "false");
    case 'n':
        return scan_word(scan, "null");
    case '-':
        return scan_number(scan);
    default:
        return is_digit(peek(scan))
                   ? scan_number(scan)
                   : expected(scan, "a value (strings and names stand in double quotes)");
    }
}

enum tpc_rc api_json_scan(const char *text, size_t size, struct api_odd_numbers *ret_odd,
                          struct tpc_err *reterr)
{
    struct scan scan = {.text = (const unsigned char *)text, .size = size, .reterr = reterr};
    enum tpc_rc rc = scan_value(&scan, 0);
    if (!rc) {
        skip_space(&scan);
        if (scan.at < scan.size) {
            rc = malformed(&scan, "text after the end of the document");
        }
    }
    if (rc) {
        free(scan.odd.items);
        return rc;
    }
    *ret_odd = scan.odd;
    return TPC_OK;
}
