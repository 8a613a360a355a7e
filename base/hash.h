/* A fingerprint of bytes, to tell whether a request is the one that was seen before. */
#ifndef ASSENT_BASE_HASH_H
#define ASSENT_BASE_HASH_H

#include "base/id.h"

#include <stddef.h>

/* SipHash-2-4 with 128 bits of output under a fixed, public key: the same on every start and every
 * machine, so it may be kept in a log. Against accident, not against an adversary who makes two
 * bodies collide on purpose: he would only cheat himself. */
void tpc_digest(const void *data, size_t size, struct tpc_id *out);

#endif
