/* States as bytes. */
#include "tests/model/wlog.h"

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

static void sort_sides(const struct model_config *config, struct world *world,
                       struct model_names *names)
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
            uint8_t name = names->parts[k - 1];
            names->parts[k - 1] = names->parts[k];
            names->parts[k] = name;
        }
    }
}

static void swap_txns(const struct model_config *config, struct world *world,
                      struct model_names *names)
{
    struct ctxn txn = world->txns[0];
    struct wlog log = wlog_of_coord(config, world);
    world->txns[0] = world->txns[1];
    world->txns[1] = txn;
    wlog_swap_txns(&log);
    for (unsigned i = 0; i < config->parts; i++) {
        struct seat *seats = world->sides[i].seats, seat = seats[0];
        seats[0] = seats[1];
        seats[1] = seat;
        log = wlog_of_part(world, i);
        wlog_swap_txns(&log);
    }
    uint8_t name = names->txns[0];
    names->txns[0] = names->txns[1];
    names->txns[1] = name;
}

void model_canonical(const struct model_config *config, struct world *world,
                     struct model_names *names)
{
    struct model_names nobody = {0}, *all = names != NULL ? names : &nobody;
    sort_sides(config, world, all);
    if (config->txns != 2 || !config->dead) {
        return;
    }
    struct world other = *world;
    struct model_names other_names = *all;
    swap_txns(config, &other, &other_names);
    sort_sides(config, &other, &other_names);
    if (memcmp(&other, world, sizeof other) < 0) {
        *world = other;
        *all = other_names;
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
