#include "participant/refusal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void part_refuse(struct part_refusal *refusal, enum api_cause_code code, const char *format, ...)
{
    if (refusal->code != API_CAUSE_NONE) {
        return;
    }
    refusal->code = code;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(refusal->detail, sizeof(refusal->detail), format, args);
    va_end(args);
}

bool part_meets_expectation(struct part_refusal *refusal, const struct api_statement *statement,
                            uint64_t rows, bool read)
{
    if (!statement->has_expect ||
        (rows >= statement->expect_min && rows <= statement->expect_max)) {
        return true;
    }
    char expected[64];
    if (statement->expect_min == statement->expect_max) {
        (void)snprintf(expected, sizeof(expected), "%llu",
                       (unsigned long long)statement->expect_min);
    } else if (statement->expect_max == UINT64_MAX) {
        (void)snprintf(expected, sizeof(expected), "at least %llu",
                       (unsigned long long)statement->expect_min);
    } else {
        (void)snprintf(expected, sizeof(expected), "%llu to %llu",
                       (unsigned long long)statement->expect_min,
                       (unsigned long long)statement->expect_max);
    }
    part_refuse(refusal, API_CAUSE_EXPECTATION_FAILED, "expected %s row(s), the statement %s %llu",
                expected, read ? "returned" : "changed", (unsigned long long)rows);
    return false;
}

bool part_within_result_max(struct part_refusal *refusal, size_t size, uint64_t max)
{
    if (size > max) {
        part_refuse(refusal, API_CAUSE_NOT_SUPPORTED,
                    "the results are larger than this participant's limit of %llu bytes "
                    "(--result-max); ask for fewer rows",
                    (unsigned long long)max);
        return false;
    }
    return true;
}

void part_refusal_tell(const struct part_refusal *refusal, struct api_cause *cause)
{
    api_cause_done(cause);
    *cause = (struct api_cause){.code = refusal->code, .statement = refusal->statement};
    memcpy(cause->sqlstate, refusal->sqlstate, sizeof(cause->sqlstate));
    cause->detail = strdup(refusal->detail);
}
