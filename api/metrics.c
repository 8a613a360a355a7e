#include "api/metrics.h"

#include "base/tpc_assert.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

void api_metric(struct tpc_buf *out, const char *name, const char *type, const char *help)
{
    tpc_buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void sample_name(struct tpc_buf *out, const char *name, const char *labels)
{
    tpc_buf_adds(out, name);
    if (labels != NULL && labels[0] != '\0') {
        tpc_buf_addc(out, '{');
        tpc_buf_adds(out, labels);
        tpc_buf_addc(out, '}');
    }
    tpc_buf_addc(out, ' ');
}

static void number(struct tpc_buf *out, double value)
{
    if (isnan(value)) {
        tpc_buf_adds(out, "NaN");
    } else if (isinf(value)) {
        tpc_buf_adds(out, value > 0 ? "+Inf" : "-Inf");
    } else {
        tpc_buf_addf(out, "%.15g", value);
    }
}

void api_metric_u64(struct tpc_buf *out, const char *name, const char *labels, uint64_t value)
{
    sample_name(out, name, labels);
    tpc_buf_addf(out, "%" PRIu64 "\n", value);
}

void api_metric_double(struct tpc_buf *out, const char *name, const char *labels, double value)
{
    sample_name(out, name, labels);
    number(out, value);
    tpc_buf_addc(out, '\n');
}

void api_metric_label(struct tpc_buf *out, const char *name, const char *value)
{
    if (out->size > 0 && out->data[out->size - 1] == '"') {
        tpc_buf_addc(out, ',');
    }
    tpc_buf_addf(out, "%s=\"", name);
    for (; *value != '\0'; value++) {
        switch (*value) {
        case '\\':
        case '"':
            tpc_buf_addc(out, '\\');
            tpc_buf_addc(out, *value);
            break;
        case '\n':
            tpc_buf_adds(out, "\\n");
            break;
        default:
            tpc_buf_addc(out, *value);
            break;
        }
    }
    tpc_buf_addc(out, '"');
}

void api_histogram_add(struct api_histogram *histogram, double value)
{
    size_t at = 0;
    while (at < histogram->bound_count && value > histogram->bounds[at]) {
        at++;
    }
    histogram->buckets[at]++;
    histogram->sum += value;
}

void api_histogram_write(struct tpc_buf *out, const char *name, const char *labels,
                         const struct api_histogram *histogram)
{
    const char *comma = labels != NULL && labels[0] != '\0' ? "," : "";
    const char *given = labels != NULL ? labels : "";
    uint64_t count = 0;

    TPC_ASSERT(histogram->bound_count < sizeof(histogram->buckets) / sizeof(uint64_t));
    for (size_t i = 0; i <= histogram->bound_count; i++) {
        count += histogram->buckets[i];
        tpc_buf_addf(out, "%s_bucket{%s%sle=\"", name, given, comma);
        number(out, i < histogram->bound_count ? histogram->bounds[i] : INFINITY);
        tpc_buf_addf(out, "\"} %" PRIu64 "\n", count);
    }
    tpc_buf_addf(out, "%s_sum", name);
    sample_name(out, "", labels);
    number(out, histogram->sum);
    tpc_buf_addf(out, "\n%s_count", name);
    sample_name(out, "", labels);
    tpc_buf_addf(out, "%" PRIu64 "\n", count);
}
