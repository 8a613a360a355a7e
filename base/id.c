#include "base/id.h"

#include "base/tpc_assert.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

enum {
    COUNTER_MAX = 0xfff,
    COUNTER_SEED = 0x7ff, /* a fresh millisecond starts in the lower half, to leave room */
};

#define MS_MAX ((UINT64_C(1) << 48) - 1)

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static bool hyphen_before(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

bool tpc_id_parse(const char *text, size_t length, struct tpc_id *ret_id)
{
    if (length != TPC_ID_TEXT - 1) {
        return false;
    }
    struct tpc_id id;
    size_t at = 0;
    for (size_t i = 0; i < sizeof id.bytes; i++) {
        if (hyphen_before(i) && text[at++] != '-') {
            return false;
        }
        int high = hex_value(text[at++]);
        int low = hex_value(text[at++]);
        if (high < 0 || low < 0) {
            return false;
        }
        id.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *ret_id = id;
    return true;
}

char *tpc_id_format(const struct tpc_id *id, char out[TPC_ID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    char *at = out;
    for (size_t i = 0; i < sizeof id->bytes; i++) {
        if (hyphen_before(i)) {
            *at++ = '-';
        }
        *at++ = digits[id->bytes[i] >> 4];
        *at++ = digits[id->bytes[i] & 15];
    }
    *at = '\0';
    return out;
}

int tpc_id_compare(const struct tpc_id *a, const struct tpc_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

bool tpc_id_equal(const struct tpc_id *a, const struct tpc_id *b)
{
    return tpc_id_compare(a, b) == 0;
}

bool tpc_id_is_zero(const struct tpc_id *id)
{
    static const struct tpc_id zero;
    return tpc_id_equal(id, &zero);
}

static void random_bytes(void *out, size_t size)
{
    /* Up to 256 bytes come whole, and only a pool that is not ready yet is interrupted. */
    ssize_t got;
    do {
        got = getrandom(out, size, 0);
    } while (got < 0 && errno == EINTR);
    TPC_ASSERT(got == (ssize_t)size);
}

void tpc_id_random(struct tpc_id *out)
{
    random_bytes(out->bytes, sizeof out->bytes);
    out->bytes[6] = (uint8_t)(0x40 | (out->bytes[6] & 0x0f));
    out->bytes[8] = (uint8_t)(0x80 | (out->bytes[8] & 0x3f));
}

uint64_t tpc_random_u64(void)
{
    uint64_t value;
    random_bytes(&value, sizeof value);
    return value;
}

void tpc_id_gen_after(struct tpc_id_gen *gen, const struct tpc_id *id)
{
    uint64_t ms = 0;
    for (size_t i = 0; i < 6; i++) {
        ms = ms << 8 | id->bytes[i];
    }
    unsigned version = id->bytes[6] >> 4;
    uint16_t counter = (uint16_t)((id->bytes[6] & 0x0f) << 8 | id->bytes[7]);
    if (version > 7) {
        counter = COUNTER_MAX; /* nothing of ours in this millisecond would be greater */
    }
    if (ms > gen->last_ms || (ms == gen->last_ms && counter > gen->counter)) {
        gen->last_ms = ms;
        gen->counter = counter;
    }
}

static void write_head(uint64_t ms, uint16_t counter, struct tpc_id *out)
{
    TPC_ASSERT(ms <= MS_MAX);
    for (size_t i = 0; i < 6; i++) {
        out->bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    }
    out->bytes[6] = (uint8_t)(0x70 | counter >> 8);
    out->bytes[7] = (uint8_t)counter;
}

static void take_random(struct tpc_id_gen *gen, struct tpc_id *out)
{
    if (gen->left < sizeof out->bytes) {
        random_bytes(gen->random, sizeof gen->random);
        gen->left = sizeof gen->random;
    }
    gen->left = (uint16_t)(gen->left - sizeof out->bytes);
    memcpy(out->bytes, gen->random + gen->left, sizeof out->bytes);
}

void tpc_id_gen_next(struct tpc_id_gen *gen, uint64_t now_ms, struct tpc_id *out)
{
    take_random(gen, out);
    uint16_t seed = (uint16_t)((out->bytes[6] << 8 | out->bytes[7]) & COUNTER_SEED);
    if (now_ms > gen->last_ms) {
        gen->last_ms = now_ms;
        gen->counter = seed;
    } else if (gen->counter < COUNTER_MAX) {
        gen->counter++;
    } else {
        gen->last_ms++; /* the counter is used up: run ahead of the clock */
        gen->counter = seed;
    }
    write_head(gen->last_ms, gen->counter, out);
    out->bytes[8] = (uint8_t)(0x80 | (out->bytes[8] & 0x3f));
}

void tpc_id_gen_floor(const struct tpc_id_gen *gen, struct tpc_id *out)
{
    bool used_up = gen->counter == COUNTER_MAX;
    memset(out, 0, sizeof *out);
    write_head(gen->last_ms + used_up, used_up ? 0 : (uint16_t)(gen->counter + 1), out);
}
