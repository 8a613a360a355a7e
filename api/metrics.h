/* Prometheus text exposition, version 0.0.4. */
#ifndef ASSENT_API_METRICS_H
#define ASSENT_API_METRICS_H

#include "base/buf.h"

#define API_METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* # HELP and # TYPE. @type: "counter", "gauge", "histogram". */
void api_metric(struct tpc_buf *out, const char *name, const char *type, const char *help);
/* A sample; @labels is ready text such as `outcome="commit"` or NULL (escape with
 * api_metric_label). */
void api_metric_u64(struct tpc_buf *out, const char *name, const char *labels, uint64_t value);
void api_metric_double(struct tpc_buf *out, const char *name, const char *labels, double value);
void api_metric_label(struct tpc_buf *out, const char *name, const char *value);

/* A histogram with fixed upper bounds in ascending order. */
struct api_histogram {
    const double *bounds;
    size_t bound_count;   /* at most 23 */
    uint64_t buckets[24]; /* not cumulated; the last is +Inf */
    double sum;
};
void api_histogram_add(struct api_histogram *histogram, double value);
void api_histogram_write(struct tpc_buf *out, const char *name, const char *labels,
                         const struct api_histogram *histogram);

#endif
