#include "api/base64.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The four characters at @text to @bytes (3 when not the last group); false when malformed. */
static bool decode_group(const char *text, size_t bytes, char *out)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < 4; i++) {
        int value = i <= bytes ? digit(text[i]) : text[i] == '=' ? 0 : -1;
        if (value < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)value;
    }
    if (bytes < 3 && (bits & (UINT32_C(0xFFFFFF) >> (8 * bytes))) != 0) {
        return false;
    }
    for (size_t i = 0; out && i < bytes; i++) {
        out[i] = (char)(bits >> (16 - 8 * i) & 0xFF);
    }
    return true;
}

bool api_base64_decode(const char *text, size_t size, char *out, size_t *ret_size)
{
    if (size % 4 != 0) {
        return false;
    }
    size_t done = 0;
    for (size_t i = 0; i < size; i += 4) {
        size_t bytes = 3;
        if (i + 4 == size) {
            bytes = text[i + 3] != '=' ? 3 : text[i + 2] != '=' ? 2 : 1;
        }
        if (!decode_group(text + i, bytes, out ? out + done : NULL)) {
            return false;
        }
        done += bytes;
    }
    *ret_size = done;
    return true;
}

void api_base64_write(struct tpc_buf *out, const void *data, size_t size)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < size; i += 3) {
        size_t bytes = size - i < 3 ? size - i : 3;
        uint32_t bits = (uint32_t)p[i] << 16;
        bits |= bytes > 1 ? (uint32_t)p[i + 1] << 8 : 0;
        bits |= bytes > 2 ? (uint32_t)p[i + 2] : 0;
        char group[4];
        for (size_t j = 0; j < 4; j++) {
            group[j] = j <= bytes ? alphabet[bits >> (18 - 6 * j) & 63] : '=';
        }
        tpc_buf_add(out, group, sizeof(group));
    }
}
