#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_FIRST = 64 };

void tpc_buf_done(struct tpc_buf *buf)
{
    free(buf->data);
    *buf = (struct tpc_buf){0};
}

void tpc_buf_clear(struct tpc_buf *buf)
{
    buf->size = 0;
    buf->failed = false;
    if (buf->data != NULL) {
        buf->data[0] = '\0';
    }
}

char *tpc_buf_reserve(struct tpc_buf *buf, size_t size)
{
    if (buf->failed) {
        return NULL;
    }
    if (size >= SIZE_MAX / 2 - buf->size) {
        buf->failed = true;
        return NULL;
    }
    size_t needed = buf->size + size + 1;
    if (needed > buf->capacity) {
        size_t capacity = buf->capacity < BUF_FIRST ? BUF_FIRST : buf->capacity;
        while (capacity < needed) {
            capacity *= 2;
        }
        char *data = realloc(buf->data, capacity);
        if (data == NULL) {
            buf->failed = true;
            return NULL;
        }
        buf->data = data;
        buf->capacity = capacity;
        data[buf->size] = '\0';
    }
    return buf->data + buf->size;
}

void tpc_buf_added(struct tpc_buf *buf, size_t size)
{
    buf->size += size;
    buf->data[buf->size] = '\0';
}

void tpc_buf_add(struct tpc_buf *buf, const void *data, size_t size)
{
    char *at = tpc_buf_reserve(buf, size);
    if (at != NULL && size > 0) {
        memcpy(at, data, size);
        tpc_buf_added(buf, size);
    }
}

void tpc_buf_adds(struct tpc_buf *buf, const char *text)
{
    tpc_buf_add(buf, text, strlen(text));
}

void tpc_buf_addc(struct tpc_buf *buf, char c)
{
    if (buf->capacity - buf->size < 2 || buf->failed) {
        tpc_buf_add(buf, &c, 1);
        return;
    }
    buf->data[buf->size++] = c;
    buf->data[buf->size] = '\0';
}

void tpc_buf_addf(struct tpc_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tpc_buf_vaddf(buf, format, args);
    va_end(args);
}

void tpc_buf_vaddf(struct tpc_buf *buf, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    char first[256];
    int length = vsnprintf(first, sizeof first, format, args);
    if (length < 0) {
        buf->failed = true;
    } else if ((size_t)length < sizeof first) {
        tpc_buf_add(buf, first, (size_t)length);
    } else {
        char *at = tpc_buf_reserve(buf, (size_t)length);
        if (at != NULL) {
            vsnprintf(at, (size_t)length + 1, format, again);
            tpc_buf_added(buf, (size_t)length);
        }
    }
    va_end(again);
}

void tpc_buf_consume(struct tpc_buf *buf, size_t size)
{
    if (size == 0) {
        return;
    }
    if (size > buf->size) {
        size = buf->size;
    }
    buf->size -= size;
    if (buf->data != NULL) {
        memmove(buf->data, buf->data + size, buf->size);
        buf->data[buf->size] = '\0';
    }
}

char *tpc_buf_take(struct tpc_buf *buf)
{
    char *data = buf->data;
    if (buf->failed) {
        free(data);
        data = NULL;
    } else if (data != NULL) {
        data[buf->size] = '\0';
    }
    *buf = (struct tpc_buf){0};
    return data;
}
