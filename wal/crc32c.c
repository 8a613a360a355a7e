/* CRC-32C (Castagnoli, reflected polynomial 0x82f63b78), eight bytes at a time (pure): by the
 * processor's own instruction where it has one, else from tables.
 *
 * The checksum of a byte is linear over XOR: the entry for any index is the XOR of the entries for
 * its bits. So each of the eight tables is built by the compiler from the eight entries for single
 * bits. */
#include "wal/record.h"

#include <string.h>

#define CRC_ENTRY(i, b0, b1, b2, b3, b4, b5, b6, b7)                                               \
    (((i)&1 ? (b0) : 0) ^ ((i)&2 ? (b1) : 0) ^ ((i)&4 ? (b2) : 0) ^ ((i)&8 ? (b3) : 0) ^           \
     ((i)&16 ? (b4) : 0) ^ ((i)&32 ? (b5) : 0) ^ ((i)&64 ? (b6) : 0) ^ ((i)&128 ? (b7) : 0))
#define CRC_4(i, ...)                                                                              \
    CRC_ENTRY(i, __VA_ARGS__), CRC_ENTRY((i) + 1, __VA_ARGS__), CRC_ENTRY((i) + 2, __VA_ARGS__),   \
        CRC_ENTRY((i) + 3, __VA_ARGS__)
#define CRC_16(i, ...)                                                                             \
    CRC_4(i, __VA_ARGS__), CRC_4((i) + 4, __VA_ARGS__), CRC_4((i) + 8, __VA_ARGS__),               \
        CRC_4((i) + 12, __VA_ARGS__)
#define CRC_64(i, ...)                                                                             \
    CRC_16(i, __VA_ARGS__), CRC_16((i) + 16, __VA_ARGS__), CRC_16((i) + 32, __VA_ARGS__),          \
        CRC_16((i) + 48, __VA_ARGS__)
#define CRC_TABLE(...)                                                                             \
    {                                                                                              \
        CRC_64(0, __VA_ARGS__), CRC_64(64, __VA_ARGS__), CRC_64(128, __VA_ARGS__),                 \
            CRC_64(192, __VA_ARGS__)                                                               \
    }

/* tables[k][b]: what byte b does to the checksum when k zero bytes follow it. */
static const uint32_t tables[8][256] = {
    CRC_TABLE(0xf26b8303u, 0xe13b70f7u, 0xc79a971fu, 0x8ad958cfu, 0x105ec76fu, 0x20bd8edeu,
              0x417b1dbcu, 0x82f63b78u),
    CRC_TABLE(0x13a29877u, 0x274530eeu, 0x4e8a61dcu, 0x9d14c3b8u, 0x3fc5f181u, 0x7f8be302u,
              0xff17c604u, 0xfbc3faf9u),
    CRC_TABLE(0xa541927eu, 0x4f6f520du, 0x9edea41au, 0x38513ec5u, 0x70a27d8au, 0xe144fb14u,
              0xc76580d9u, 0x8b277743u),
    CRC_TABLE(0xdd45aab8u, 0xbf672381u, 0x7b2231f3u, 0xf64463e6u, 0xe964b13du, 0xd725148bu,
              0xaba65fe7u, 0x52a0c93fu),
    CRC_TABLE(0x38116facu, 0x7022df58u, 0xe045beb0u, 0xc5670b91u, 0x8f2261d3u, 0x1ba8b557u,
              0x37516aaeu, 0x6ea2d55cu),
    CRC_TABLE(0xef306b19u, 0xdb8ca0c3u, 0xb2f53777u, 0x6006181fu, 0xc00c303eu, 0x85f4168du,
              0x0e045bebu, 0x1c08b7d6u),
    CRC_TABLE(0x68032cc8u, 0xd0065990u, 0xa5e0c5d1u, 0x4e2dfd53u, 0x9c5bfaa6u, 0x3d5b83bdu,
              0x7ab7077au, 0xf56e0ef4u),
    CRC_TABLE(0x493c7d27u, 0x9278fa4eu, 0x211d826du, 0x423b04dau, 0x847609b4u, 0x0d006599u,
              0x1a00cb32u, 0x34019664u),
};

static uint32_t load_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

uint32_t wal_crc32c_portable(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint32_t crc = UINT32_MAX;

    for (; size >= 8; size -= 8, bytes += 8) {
        const uint32_t low = crc ^ load_u32(bytes);
        const uint32_t high = load_u32(bytes + 4);
        crc = tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff] ^ tables[5][low >> 16 & 0xff] ^
              tables[4][low >> 24] ^ tables[3][high & 0xff] ^ tables[2][high >> 8 & 0xff] ^
              tables[1][high >> 16 & 0xff] ^ tables[0][high >> 24];
    }
    for (; size > 0; size--, bytes++) {
        crc = crc >> 8 ^ tables[0][(crc ^ *bytes) & 0xff];
    }
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(const uint8_t *bytes, size_t size)
{
    uint64_t crc = UINT32_MAX;

    for (; size >= 8; size -= 8, bytes += 8) {
        uint64_t eight;
        memcpy(&eight, bytes, sizeof eight);
        crc = __builtin_ia32_crc32di(crc, eight);
    }
    for (; size > 0; size--, bytes++) {
        crc = __builtin_ia32_crc32qi((uint32_t)crc, *bytes);
    }
    return ~(uint32_t)crc;
}

uint32_t wal_crc32c(const void *data, size_t size)
{
    return __builtin_cpu_supports("sse4.2") ? by_instruction(data, size)
                                            : wal_crc32c_portable(data, size);
}
#else
uint32_t wal_crc32c(const void *data, size_t size)
{
    return wal_crc32c_portable(data, size);
}
#endif
