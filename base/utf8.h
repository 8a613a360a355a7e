/* Well-formed UTF-8, RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
#ifndef ASSENT_BASE_UTF8_H
#define ASSENT_BASE_UTF8_H

#include <stddef.h>

/* The length of the well-formed sequence of two to four bytes at @p, of which @left bytes may be
 * read (at least one); 0 when there is none. ASCII is left to the caller. */
static inline size_t tpc_utf8_sequence(const unsigned char *p, size_t left)
{
    unsigned char low = 0x80, high = 0xBF;
    size_t length;
    if (p[0] >= 0xC2 && p[0] <= 0xDF) {
        length = 2;
    } else if (p[0] >= 0xE0 && p[0] <= 0xEF) {
        length = 3;
        low = p[0] == 0xE0 ? 0xA0 : low;
        high = p[0] == 0xED ? 0x9F : high;
    } else if (p[0] >= 0xF0 && p[0] <= 0xF4) {
        length = 4;
        low = p[0] == 0xF0 ? 0x90 : low;
        high = p[0] == 0xF4 ? 0x8F : high;
    } else {
        return 0;
    }
    if (left < length || p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return length;
}

#endif
