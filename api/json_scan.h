/* A strict check of JSON text before it is parsed; internal to the reader. */
#ifndef ASSENT_API_JSON_SCAN_H
#define ASSENT_API_JSON_SCAN_H

#include "base/rc.h"

#include <stddef.h>

#define API_JSON_DEPTH_MAX  64
#define API_JSON_NUMBER_MAX 63 /* characters; cJSON's own buffer */

/* A number whose double is not the number: an integer beyond 2^53 - 1, or one that overflows. */
struct api_odd_number {
    size_t ordinal;      /* among the numbers of the document, from 0 */
    size_t offset, size; /* of its spelling in the text */
};

struct api_odd_numbers {
    struct api_odd_number *items; /* heap, by rising ordinal */
    size_t count, capacity;
};

/* RFC 8259 to the letter: one value, no trailing text, UTF-8, surrogates in pairs; and no NUL even
 * when escaped, no nesting beyond API_JSON_DEPTH_MAX, no number longer than API_JSON_NUMBER_MAX.
 * TPC_ESYNTAX names the offset. The caller frees ret_odd->items. */
TPC_NODISCARD enum tpc_rc api_json_scan(const char *text, size_t size,
                                        struct api_odd_numbers *ret_odd, struct tpc_err *reterr);

#endif
