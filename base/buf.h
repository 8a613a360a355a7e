/* A growable byte buffer that remembers running out of memory, so that a long build-up needs one
 * check at its end. Zero-initialise before use. */
#ifndef ASSENT_BASE_BUF_H
#define ASSENT_BASE_BUF_H

#include "base/rc.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct tpc_buf {
    char *data; /* NUL-terminated whenever not NULL; the NUL is not counted in size */
    size_t size;
    size_t capacity;
    bool failed; /* memory ran out: contents are incomplete */
};

void tpc_buf_done(struct tpc_buf *buf);
void tpc_buf_clear(struct tpc_buf *buf); /* keeps the storage; resets failed */
void tpc_buf_add(struct tpc_buf *buf, const void *data, size_t size);
void tpc_buf_adds(struct tpc_buf *buf, const char *text);
void tpc_buf_addc(struct tpc_buf *buf, char c);
void tpc_buf_addf(struct tpc_buf *buf, const char *format, ...) TPC_PRINTF(2, 3);
void tpc_buf_vaddf(struct tpc_buf *buf, const char *format, va_list args);
/* Remove the first @size bytes. */
void tpc_buf_consume(struct tpc_buf *buf, size_t size);
/* Make room for @size more bytes (and a NUL) and return where they go, or NULL; then tell with
 * tpc_buf_added how many were written. */
char *tpc_buf_reserve(struct tpc_buf *buf, size_t size);
void tpc_buf_added(struct tpc_buf *buf, size_t size);
/* Hand over the storage (caller frees) and reset; NULL when failed or never written. */
char *tpc_buf_take(struct tpc_buf *buf);

#endif
