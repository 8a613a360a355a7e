/* What the tests of the codec share. */
#ifndef ASSENT_TESTS_UNIT_API_CODEC_H
#define ASSENT_TESTS_UNIT_API_CODEC_H

#include "tests/unit/base/unit.h"

#include "api/problem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_A "0199c0de-7a11-7c3e-9f00-5a2b1c0d0001"
#define ID_B "0199c0de-7a11-7c3e-9f00-5a2b1c0d0002"
#define ID_C "3f2504e0-4f89-41d3-9a0c-0305e82c3301"

/* The refusal must have this code, field, and these words somewhere in its detail. */
static inline void assert_refusal(const struct api_refusal *refusal, enum tpc_rc rc,
                                  const char *field, const char *words, const char *body)
{
    if (refusal->rc != rc || strcmp(refusal->field, field) != 0 ||
        !strstr(refusal->detail, words)) {
        fail_msg("for %.200s\n  got %d \"%s\": %s\n  not %d \"%s\": %s", body, refusal->rc,
                 refusal->field, refusal->detail, rc, field, words);
    }
}

static inline struct tpc_id id_of(const char *text)
{
    struct tpc_id id;
    assert_true(tpc_id_parse(text, strlen(text), &id));
    return id;
}

static inline void assert_id(const struct tpc_id *id, const char *text)
{
    char found[TPC_ID_TEXT];
    assert_string_equal(tpc_id_format(id, found), text);
}

#endif
