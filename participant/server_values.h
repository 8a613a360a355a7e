/* Values on their way to and from a database server as text. */
#ifndef ASSENT_PARTICIPANT_SERVER_VALUES_H
#define ASSENT_PARTICIPANT_SERVER_VALUES_H

#include "api/codec.h"

/* Append a number or truth value as the server reads it, and a NUL. */
void part_text_of(struct tpc_buf *out, const struct api_value *value);

/* Write a number that came as text, exactly: as a JSON number where a double holds all its digits,
 * else as a string. */
void part_write_decimal(struct tpc_buf *out, const char *text, size_t size);
/* An integer that came as text; what is none becomes a string. */
void part_write_integer(struct tpc_buf *out, const char *text, size_t size);
/* A floating-point number that came as text; what is not finite becomes a string. */
void part_write_real(struct tpc_buf *out, const char *text, size_t size);
void part_write_text(struct tpc_buf *out, const char *text, size_t size);

#endif
