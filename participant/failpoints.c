#include "participant/failpoints.h"

struct tpc_failpoint part_failpoints[PART_FP_COUNT] = {
#define PART_FAILPOINT_ENTRY(id, text) [PART_FP_##id] = {.name = (text)},
    PART_FAILPOINT_LIST(PART_FAILPOINT_ENTRY)
#undef PART_FAILPOINT_ENTRY
};
