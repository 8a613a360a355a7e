#include "participant/server_values.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DOUBLE_DIGITS = 15 }; /* that survive a double, whatever they are */

void part_text_of(struct tpc_buf *out, const struct api_value *value)
{
    switch (value->type) {
    case API_BOOL:
        tpc_buf_adds(out, value->boolean ? "true" : "false");
        break;
    case API_INT64:
        tpc_buf_addf(out, "%" PRId64, value->int64);
        break;
    case API_DOUBLE:
        tpc_buf_addf(out, "%.17g", value->real);
        break;
    case API_NULL:
    case API_TEXT:
    case API_BLOB:
        break;
    }
    tpc_buf_addc(out, '\0');
}

void part_write_text(struct tpc_buf *out, const char *text, size_t size)
{
    const struct api_value value = {.type = API_TEXT,
                                    .bytes = {.data = (char *)text, .size = size}};
    api_value_write(out, &value);
}

void part_write_integer(struct tpc_buf *out, const char *text, size_t size)
{
    char *end;
    errno = 0;
    intmax_t number = strtoimax(text, &end, 10);
    if (errno != 0 || end != text + size || number < INT64_MIN || number > INT64_MAX) {
        part_write_text(out, text, size);
        return;
    }
    api_value_write(out, &(struct api_value){.type = API_INT64, .int64 = number});
}

void part_write_real(struct tpc_buf *out, const char *text, size_t size)
{
    char *end;
    double number = strtod(text, &end);
    if (end != text + size || !isfinite(number)) {
        part_write_text(out, text, size);
        return;
    }
    api_value_write(out, &(struct api_value){.type = API_DOUBLE, .real = number});
}

void part_write_decimal(struct tpc_buf *out, const char *text, size_t size)
{
    size_t digits = strspn(text + (*text == '-'), "0123456789.");
    if (digits + (*text == '-') != size || size == 0) {
        part_write_text(out, text, size); /* NaN, Infinity */
    } else if (strchr(text, '.') == NULL) {
        part_write_integer(out, text, size);
    } else if (digits - 1 <= DOUBLE_DIGITS) {
        api_jw_raw(out, text, size); /* with the zeros at its end */
    } else {
        part_write_text(out, text, size);
    }
}
