/* What the fuzz targets share. Each fuzz_NAME.c is one target: bytes in, and whatever must not be
 * asserts. It is linked with libFuzzer to look for such bytes (./run fuzz NAME), or with replay.c
 * to run what was found before (corpus/NAME, the test fuzz.NAME). */
#ifndef ASSENT_TESTS_FUZZ_FUZZ_H
#define ASSENT_TESTS_FUZZ_FUZZ_H

#include "base/tpc_assert.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An input eaten from its front; beyond the end there are zeros. */
struct fuzz_input {
    const uint8_t *at, *end;
};

static inline bool fuzz_more(const struct fuzz_input *in)
{
    return in->at < in->end;
}

static inline uint8_t fuzz_byte(struct fuzz_input *in)
{
    return fuzz_more(in) ? *in->at++ : 0;
}

static inline uint64_t fuzz_u64(struct fuzz_input *in)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value = value << 8 | fuzz_byte(in);
    }
    return value;
}

static inline unsigned fuzz_below(struct fuzz_input *in, unsigned bound)
{
    return fuzz_byte(in) % bound;
}

/* At most @max of the next bytes: as many as the first of them says, or all that are left. */
static inline const char *fuzz_bytes(struct fuzz_input *in, size_t max, size_t *ret_size)
{
    size_t size = fuzz_byte(in);
    size_t left = (size_t)(in->end - in->at);
    size = size < max ? size : max;
    size = size < left ? size : left;
    const char *bytes = (const char *)in->at;
    in->at += size;
    *ret_size = size;
    return bytes;
}

static inline bool fuzz_same(const void *a, size_t a_size, const void *b, size_t b_size)
{
    return a_size == b_size && (a_size == 0 || memcmp(a, b, a_size) == 0);
}

#endif
