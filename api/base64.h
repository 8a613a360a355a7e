/* Base64, RFC 4648 section 4: the standard alphabet, with padding. */
#ifndef ASSENT_API_BASE64_H
#define ASSENT_API_BASE64_H

#include "base/buf.h"

/* Strict: length a multiple of four, padding in place, no bits left over. @out NULL: only check;
 * else it has room for size / 4 * 3 bytes. */
TPC_NODISCARD bool api_base64_decode(const char *text, size_t size, char *out, size_t *ret_size);

void api_base64_write(struct tpc_buf *out, const void *data, size_t size);

#endif
