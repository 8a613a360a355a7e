/* Why a branch came to nothing, while that is being found out; becomes a job's cause. */
#ifndef ASSENT_PARTICIPANT_REFUSAL_H
#define ASSENT_PARTICIPANT_REFUSAL_H

#include "api/codec.h"

struct part_refusal {
    enum api_cause_code code; /* API_CAUSE_NONE: it did not */
    int statement;            /* index; -1: none in particular */
    char sqlstate[6];         /* "" when there is none */
    char detail[768];
};

void part_refuse(struct part_refusal *refusal, enum api_cause_code code, const char *format, ...)
    TPC_PRINTF(3, 4); /* keeps the first */
/* False, and refused, when @rows, returned (@read) or changed, are not what was expected. */
bool part_meets_expectation(struct part_refusal *refusal, const struct api_statement *statement,
                            uint64_t rows, bool read);
/* False, and refused, when results of @size bytes are more than @max. */
bool part_within_result_max(struct part_refusal *refusal, size_t size, uint64_t max);
/* Into a job's cause, in place of what is there; without memory it has no detail. */
void part_refusal_tell(const struct part_refusal *refusal, struct api_cause *cause);

#endif
