/* The names of states, events and effects, from the lists in part_fsm.h. */
#include "participant/part_fsm.h"

const char *part_state_name(enum part_state state)
{
    static const char *const names[] = {
#define NAME(name, text) [PART_##name] = #name,
        PART_STATE_LIST(NAME)
#undef NAME
    };
    return state < PART_STATE_COUNT ? names[state] : "?";
}

const char *part_state_text(enum part_state state)
{
    static const char *const texts[] = {
#define TEXT(name, text) [PART_##name] = (text),
        PART_STATE_LIST(TEXT)
#undef TEXT
    };
    return state < PART_STATE_COUNT ? texts[state] : "?";
}

const char *part_event_name(enum part_event_type type)
{
    static const char *const names[] = {
#define NAME(name) [PART_EV_##name] = #name,
        PART_EVENT_LIST(NAME)
#undef NAME
    };
    return type < PART_EVENT_COUNT ? names[type] : "?";
}

const char *part_effect_name(enum part_effect_type type)
{
    static const char *const names[] = {
#define NAME(name) [PART_FX_##name] = #name,
        PART_EFFECT_LIST(NAME)
#undef NAME
    };
    return type < PART_EFFECT_COUNT ? names[type] : "?";
}
