/* States as bytes. */
#include "tests/model/world.h"

#include <stdarg.h>
#include <string.h>

/* ---- Bytes ---- */

static size_t side_size(const struct model_config *config)
{
    return offsetof(struct side, seats) + config->txns * sizeof(struct seat);
}

size_t model_pack_size(const struct model_config *config)
{
    return offsetof(struct world, sides) + config->parts * side_size(config);
}

void model_pack(const struct model_config *config, const struct world *world, uint8_t *out)
{
    size_t size = side_size(config);
    memcpy(out, world, offsetof(struct world, sides));
    out += offsetof(struct world, sides);
    for (unsigned i = 0; i < config->parts; i++, out += size) {
        memcpy(out, &world->sides[i], size);
    }
}

void model_unpack(const struct model_config *config, const uint8_t *bytes, struct world *out)
{
    size_t size = side_size(config);
    memset(out, 0, sizeof *out);
    memcpy(out, bytes, offsetof(struct world, sides));
    bytes += offsetof(struct world, sides);
    for (unsigned i = 0; i < config->parts; i++, bytes += size) {
        memcpy(&out->sides[i], bytes, size);
    }
}

void model_canonical(const struct model_config *config, struct world *world, uint8_t *order)
{
    size_t size = side_size(config);
    for (unsigned i = 1; i < config->parts; i++) {
        for (unsigned k = i; k > 0; k--) {
            struct side *one = &world->sides[k - 1], *other = &world->sides[k];
            if (memcmp(one, other, size) <= 0) {
                break;
            }
            struct side swap = *one;
            *one = *other;
            *other = swap;
            if (order != NULL) {
                uint8_t name = order[k - 1];
                order[k - 1] = order[k];
                order[k] = name;
            }
        }
    }
}

/* ---- Blame ---- */

static _Thread_local char wrong[256];

const char *model_wrong(void)
{
    return wrong[0] != '\0' ? wrong : NULL;
}

void model_right(void)
{
    wrong[0] = '\0';
}

void model_blame(const char *format, ...)
{
    va_list args;
    if (wrong[0] != '\0') {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(wrong, sizeof wrong, format, args);
    va_end(args);
}
