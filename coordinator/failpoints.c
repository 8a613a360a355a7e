#include "coordinator/failpoints.h"

struct tpc_failpoint coord_failpoints[COORD_FP_COUNT] = {
#define COORD_FAILPOINT_ENTRY(id, text) [COORD_FP_##id] = {.name = (text)},
    COORD_FAILPOINT_LIST(COORD_FAILPOINT_ENTRY)
#undef COORD_FAILPOINT_ENTRY
};
